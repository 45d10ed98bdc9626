//! Watches the configuration and the branches of its repository, and wakes the loop: once per burst of changes.
//!
//! Events are hints. A wake says that something may have changed and carries nothing: whoever is woken reads everything
//! afresh. Our own reading and commits raise events, too; whoever is woken then finds nothing to do.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Folders below the root whose files matter; watched as trees.
const FOLDERS: [&str; 4] = ["connectors.d", "mappings", "drift", "config"];

/// How often the files are compared where the system has no watches left.
const POLL: Duration = Duration::from_secs(1);

/// Something may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake;

/// What to watch.
#[derive(Debug, Clone)]
pub struct WatchPaths {
    /// The configuration root; it and its folders may come, go and be swapped.
    pub root: PathBuf,
    /// The folder that all work trees of the git repository share; only `HEAD`, `packed-refs` and `refs` in it are
    /// watched.
    pub git_common_dir: Option<PathBuf>,
}

/// A running watch; ends when dropped.
#[derive(Debug)]
pub struct Watcher {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    /// Starts watching. A wake comes when nothing has changed for `quiet`, at the latest `burst_max` after the first
    /// change, and in any case every `rescan`: network mounts raise no events. At most one wake waits in the channel.
    pub fn start(
        paths: &WatchPaths,
        quiet: Duration,
        burst_max: Duration,
        rescan: Duration,
    ) -> (Self, mpsc::Receiver<Wake>) {
        Self::run(paths, Timing { quiet, burst_max, rescan }, Eyes::open)
    }

    /// Watches by looking each second, as [`Watcher::start`] does where the system has no watches left: for tests.
    #[doc(hidden)]
    pub fn start_polling(paths: &WatchPaths, rescan: Duration) -> (Self, mpsc::Receiver<Wake>) {
        let timing = Timing { quiet: Duration::ZERO, burst_max: Duration::ZERO, rescan };
        Self::run(paths, timing, |targets, signal, hints| {
            let mut eyes = Eyes { targets, signal, _hints: hints, watcher: None, seen: 0 };
            eyes.poll(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
            eyes
        })
    }

    fn run(
        paths: &WatchPaths,
        timing: Timing,
        open: impl FnOnce(Arc<Targets>, Arc<Signal>, mpsc::Sender<()>) -> Eyes,
    ) -> (Self, mpsc::Receiver<Wake>) {
        let (wakes, receiver) = mpsc::channel(1);
        let (hints, hinted) = mpsc::channel(1);
        let signal = Arc::new(Signal { moved: AtomicBool::new(false) });
        let eyes = open(Arc::new(Targets::new(paths)), signal, hints);
        (Self { task: tokio::spawn(watch(eyes, hinted, wakes, timing)) }, receiver)
    }
}

struct Timing {
    quiet: Duration,
    burst_max: Duration,
    rescan: Duration,
}

async fn watch(mut eyes: Eyes, mut hinted: mpsc::Receiver<()>, wakes: mpsc::Sender<Wake>, timing: Timing) {
    let mut next_scan = Instant::now() + timing.rescan;
    loop {
        let look_again = if eyes.polls() { next_scan.min(Instant::now() + POLL) } else { next_scan };
        tokio::select! {
            () = wakes.closed() => return,
            hint = hinted.recv() => {
                if hint.is_some() {
                    settle(&mut hinted, &timing).await;
                }
                // New folders are watched before the wake: what is written into them later is seen, what was
                // written before is read by whoever is woken.
                eyes.follow();
            }
            () = tokio::time::sleep_until(look_again) => {
                let due = Instant::now() >= next_scan;
                if due {
                    next_scan = Instant::now() + timing.rescan;
                    eyes.rearm();
                }
                if !eyes.changed() && !due {
                    continue;
                }
            }
        }
        // Full means that a wake waits already, and that is as good as two.
        let _ = wakes.try_send(Wake);
    }
}

/// Waits until a burst is over.
async fn settle(hinted: &mut mpsc::Receiver<()>, timing: &Timing) {
    let end = Instant::now() + timing.burst_max;
    loop {
        let pause = (Instant::now() + timing.quiet).min(end);
        match tokio::time::timeout_at(pause, hinted.recv()).await {
            Ok(Some(())) if Instant::now() < end => {}
            _ => return,
        }
    }
}

/// Paths to watch and which events among them count.
struct Targets {
    root: PathBuf,
    git: Option<PathBuf>,
    /// Whether the root is a link: then every change beside it may be a swap of what it leads to.
    linked: bool,
    watched: Vec<(PathBuf, RecursiveMode)>,
}

impl Targets {
    fn new(paths: &WatchPaths) -> Self {
        let root = std::path::absolute(&paths.root).unwrap_or_else(|_| paths.root.clone());
        let linked = root.symlink_metadata().is_ok_and(|m| m.is_symlink());
        let mut watched = Vec::new();
        watched.extend(root.parent().map(|p| (p.to_owned(), RecursiveMode::NonRecursive)));
        watched.push((root.clone(), RecursiveMode::NonRecursive));
        watched.extend(FOLDERS.iter().map(|f| (root.join(f), RecursiveMode::Recursive)));
        if let Some(git) = &paths.git_common_dir {
            watched.push((git.clone(), RecursiveMode::NonRecursive));
            watched.push((git.join("refs"), RecursiveMode::NonRecursive));
            watched.push((git.join("refs/heads"), RecursiveMode::Recursive));
        }
        Self { root, git: paths.git_common_dir.clone(), linked, watched }
    }

    fn counts(&self, path: &Path) -> bool {
        if let Some(inside) = self.git.as_ref().and_then(|git| path.strip_prefix(git).ok()) {
            let lock = inside.extension().is_some_and(|e| e == "lock");
            return !lock && ["HEAD", "packed-refs", "refs"].iter().any(|name| inside.starts_with(name));
        }
        match path.strip_prefix(&self.root) {
            Ok(inside) if inside.as_os_str().is_empty() => true,
            Ok(inside) => FOLDERS.iter().any(|f| inside.starts_with(f)),
            Err(_) => self.linked && path.parent() == self.root.parent(),
        }
    }

    /// Whether a watched folder itself may have come or gone.
    fn moves(&self, path: &Path) -> bool {
        self.linked && path.parent() == self.root.parent() || self.watched.iter().any(|(p, _)| p == path)
    }

    /// Names, times and sizes of everything watched.
    fn signature(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let mut note = |path: &Path| {
            use std::os::unix::fs::MetadataExt;
            path.hash(&mut hash);
            if let Ok(m) = path.symlink_metadata() {
                // Folders change with what does not count, such as lock files.
                let of_file = (m.mtime(), m.mtime_nsec(), m.size());
                (m.dev(), m.ino(), (!m.is_dir()).then_some(of_file)).hash(&mut hash);
            }
        };
        for (path, mode) in &self.watched {
            if *mode == RecursiveMode::Recursive {
                let entries = walkdir::WalkDir::new(path).sort_by_file_name();
                entries.into_iter().flatten().filter(|e| self.counts(e.path())).for_each(|e| note(e.path()));
            }
        }
        note(&self.root);
        if let Some(git) = &self.git {
            note(&git.join("HEAD"));
            note(&git.join("packed-refs"));
        }
        hash.finish()
    }
}

/// What the watching thread tells beside its hints.
struct Signal {
    /// A watched folder came or went.
    moved: AtomicBool,
}

/// How changes are seen: by the system's events, or by looking.
struct Eyes {
    targets: Arc<Targets>,
    signal: Arc<Signal>,
    /// Kept so that the channel stays open while polling.
    _hints: mpsc::Sender<()>,
    /// None: polling.
    watcher: Option<RecommendedWatcher>,
    seen: u64,
}

impl Eyes {
    fn open(targets: Arc<Targets>, signal: Arc<Signal>, hints: mpsc::Sender<()>) -> Self {
        let handler = {
            let (targets, signal, hints) = (targets.clone(), signal.clone(), hints.clone());
            move |event: notify::Result<notify::Event>| {
                let counts = match event {
                    // Our own reading raises these.
                    Ok(event) if matches!(event.kind, EventKind::Access(_)) => false,
                    Ok(event) => {
                        if event.need_rescan() || event.paths.iter().any(|p| targets.moves(p)) {
                            signal.moved.store(true, Ordering::Release);
                        }
                        event.need_rescan() || event.paths.iter().any(|p| targets.counts(p))
                    }
                    Err(_) => true,
                };
                if counts {
                    // Full means that a hint waits already.
                    let _ = hints.try_send(());
                }
            }
        };
        let config = Config::default().with_follow_symlinks(false);
        let mut eyes = Self { targets, signal, _hints: hints, watcher: None, seen: 0 };
        match RecommendedWatcher::new(handler, config) {
            Ok(watcher) => {
                eyes.watcher = Some(watcher);
                eyes.rearm();
            }
            Err(e) => eyes.poll(&e),
        }
        eyes
    }

    fn polls(&self) -> bool {
        self.watcher.is_none()
    }

    /// Goes over to polling, for good.
    fn poll(&mut self, why: &notify::Error) {
        tracing::warn!(
            "no file watches left ({why}): looking at the files each second instead; raise fs.inotify.max_user_watches"
        );
        self.watcher = None;
        self.seen = self.targets.signature();
    }

    /// Whether polling finds a change.
    fn changed(&mut self) -> bool {
        if !self.polls() {
            return false;
        }
        let now = self.targets.signature();
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Watches folders that came or were swapped since.
    fn follow(&mut self) {
        if self.signal.moved.swap(false, Ordering::AcqRel) {
            self.rearm();
        }
    }

    /// Watches every target anew: a watch follows a folder that is moved away, and ends silently with one that goes.
    fn rearm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut exhausted = None;
        for (path, mode) in &self.targets.watched {
            // Not watched yet, or gone: both are fine.
            let _ = watcher.unwatch(path);
            match watcher.watch(path, *mode) {
                Err(e) if is_exhausted(&e) => exhausted = Some(e),
                // Missing: the folder above it is watched.
                _ => {}
            }
        }
        if let Some(e) = exhausted {
            self.poll(&e);
        }
    }
}

/// Whether the system's limits on watches or open files are reached.
fn is_exhausted(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(e) => {
            let limits = [rustix::io::Errno::NOSPC, rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
            limits.iter().any(|l| e.raw_os_error() == Some(l.raw_os_error()))
        }
        _ => false,
    }
}
