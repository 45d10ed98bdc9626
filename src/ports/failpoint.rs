//! Named places where the crash tests kill the process. Nothing at all in a release build.
//!
//! Each effect has five: `k1` before it is sent, `k2` sent and not applied, `k3` applied and not answered, `k4` answered
//! and not recorded, `k5` recorded and nothing after it begun. Who asks for an effect passes 1, 4 and 5
//! ([`sent`], [`recorded`], or [`written`] where the effect is its own record); who carries it out passes 2 and 3
//! ([`applied`]).
//!
//! In a development build, `AAM_FAILPOINT` names where to be killed: `commit_lock.k3` (the first pass), `commit_lock.k3#2`
//! (the second) or `#17` (the 17th pass of any point); with `AAM_FAILPOINT_STOP` it is stopped there instead, as by SIGSTOP, and
//! goes on when it is told to. `AAM_FAILPOINT_LOG` names a file that every pass is appended to.

/// Passes a place by its whole name.
#[cfg(not(debug_assertions))]
#[inline]
pub fn point(_name: &str) {}

/// Passes a place by its whole name.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::sync::Mutex;
    static PASSES: Mutex<(u64, BTreeMap<String, u64>)> = Mutex::new((0, BTreeMap::new()));
    let (mine, total) = {
        let mut passes = PASSES.lock().expect("no panic while held");
        let (all, by_name) = &mut *passes;
        *all += 1;
        let mine = by_name.entry(name.to_owned()).or_default();
        *mine += 1;
        (*mine, *all)
    };
    if let Some(log) = std::env::var_os("AAM_FAILPOINT_LOG")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(log)
    {
        // One write for each line, so that lines of threads do not mix.
        let _ = file.write_all(format!("{name}\n").as_bytes());
    }
    let Ok(armed) = std::env::var("AAM_FAILPOINT") else { return };
    let (at, nth) = armed.split_once('#').unwrap_or((&armed, "1"));
    let hit = if at.is_empty() { total } else { mine };
    if (at.is_empty() || at == name) && nth.parse() == Ok(hit) {
        if std::env::var_os("AAM_FAILPOINT_STOP").is_some() {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            return;
        }
        // As `kill -9`: no destructor runs, no buffer is flushed, children go on.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park(); // the signal comes within moments; nothing more happens until then
        }
    }
}

#[inline]
fn pass(effect: &str, place: u8) {
    if cfg!(debug_assertions) {
        point(&format!("{effect}.k{place}"));
    }
}

/// Asks for an effect: passes 1 before, 4 after. What follows records it and passes [`recorded`].
#[inline]
pub async fn sent<T>(effect: &str, send: impl Future<Output = T>) -> T {
    pass(effect, 1);
    let answer = send.await;
    pass(effect, 4);
    answer
}

/// Makes an effect happen: passes 2 before, 3 after.
#[inline]
pub async fn applied<T>(effect: &str, apply: impl Future<Output = T>) -> T {
    pass(effect, 2);
    let result = apply.await;
    pass(effect, 3);
    result
}

/// The outcome of an effect is recorded: passes 5.
#[inline]
pub fn recorded(effect: &str) {
    pass(effect, 5);
}

/// Asks for an effect that is its own record, a write to the registry: passes 1, 4 and 5.
#[inline]
pub async fn written<T>(effect: &str, write: impl Future<Output = T>) -> T {
    let answer = sent(effect, write).await;
    recorded(effect);
    answer
}
