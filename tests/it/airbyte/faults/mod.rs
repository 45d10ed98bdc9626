//! The fault matrix of the Airbyte engine (fault plan, section 3.1): the real binary against the stand-in, one fault at
//! one call, and then the end is as if nothing had been.
//!
//! The calls are those of a faultless run, the faults those of `menu`. `scripts/test` runs a sample that has every call
//! and every fault; `AAM_FAULTS=all` runs every fault at every call, and for each call a fault that lasts.

pub mod bed;
mod doubled;
mod down;
mod late;
mod menu;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use self::bed::{Bed, PHASES, Phase};
use self::menu::{Dish, menu};
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::support::world::Ran;

/// Worlds side by side.
const WORKERS: usize = 3;

/// What a phase is without faults.
struct Faultless {
    phase: Phase,
    /// Each call with how often it comes, in order of the first.
    calls: Vec<(String, u32)>,
    end: String,
}

/// One fault at one call.
#[derive(Clone)]
struct Cell {
    label: String,
    call: String,
    when: When,
    fault: Fault,
    /// Lists lack for so long what was made, before and after the script is over.
    lag: Option<Duration>,
}

/// Runs something that awaits, with the stand-in on a thread of its own.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(work)
}

async fn faultless() -> Vec<Faultless> {
    let bed = Bed::new().await;
    let mut all = Vec::new();
    for phase in PHASES {
        bed.before(phase).await;
        let before = bed.standin.log().len();
        let ran = bed.aam(bed.command(phase).await);
        assert_eq!(ran.code, 0, "{phase:?}: {ran:#?}");
        let mut calls: Vec<(String, u32)> = Vec::new();
        for entry in &bed.standin.log()[before..] {
            match calls.iter_mut().find(|(name, _)| *name == entry.name()) {
                Some((_, times)) => *times += 1,
                None => calls.push((entry.name(), 1)),
            }
        }
        all.push(Faultless { phase, calls, end: bed.end_state().await });
    }
    bed.finish().await;
    all
}

/// Every call with every fault; which of its passes differs from fault to fault.
fn every(calls: &[(String, u32)]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (call, times) in calls {
        let fitting = menu().into_iter().filter(|dish| dish.fits(call));
        for (n, dish) in (0..).zip(fitting) {
            let nth = n % times + 1;
            let label = format!("{} at {call} #{nth}", dish.name);
            cells.push(Cell { label, call: call.clone(), when: When::Nth(nth), fault: dish.fault, lag: dish.lag });
        }
        let (label, fault) = (format!("503 at every {call}"), Fault::Refuse(503, Shape::Page));
        cells.push(Cell { label, call: call.clone(), when: When::Always, fault, lag: None });
    }
    cells
}

/// Every call once and, where `every_fault` is wanted, every fault once, paired the same way each time; `shift` pairs the
/// phases differently. A write meets the faults that lose its answer.
fn sample(calls: &[(String, u32)], shift: usize, every_fault: bool) -> Vec<Cell> {
    let menu = menu();
    let fits_some = |i: &usize| calls.iter().any(|(call, _)| menu[*i].fits(call));
    let mut left: Vec<usize> = (0..menu.len()).map(|i| (i + shift) % menu.len()).filter(fits_some).collect();
    let wanted = if every_fault { left.len().max(calls.len()) } else { calls.len() };
    let loses = |i: &usize| menu[*i].loses_answers();
    let mut cells = Vec::new();
    for (n, (call, times)) in calls.iter().cycle().take(3 * wanted).enumerate() {
        if cells.len() >= wanted {
            break;
        }
        let fits = |i: &&usize| menu[**i].fits(call);
        let is_write = ["/create", "/update", "/sync"].iter().any(|end| call.ends_with(end));
        let best = left.iter().filter(|i| is_write && loses(i)).find(fits).or_else(|| left.iter().find(fits)).copied();
        // when all are used up, a call gets the first that fits
        let spare = || (n < calls.len()).then(|| (0..menu.len()).find(|i| menu[*i].fits(call))).flatten();
        let Some(i) = best.or_else(spare) else { continue };
        left.retain(|one| *one != i);
        let nth = u32::try_from(cells.len()).unwrap() % times + 1;
        let Dish { name, fault, lag, .. } = &menu[i];
        let label = format!("{name} at {call} #{nth}");
        cells.push(Cell { label, call: call.clone(), when: When::Nth(nth), fault: fault.clone(), lag: *lag });
    }
    cells
}

/// Tells the phases one after the other, each with its fault.
async fn tell(faultless: &[Faultless], cells: &[Option<Cell>], now: &Mutex<String>) {
    let bed = Bed::new().await;
    let last = cells.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
    for (is, cell) in faultless.iter().zip(&cells[..last]) {
        bed.before(is.phase).await;
        if let Some(cell) = cell {
            *now.lock().unwrap() = format!("{:?}: {}", is.phase, cell.label);
            let lag = || {
                if let Some(time) = cell.lag {
                    bed.standin.script(&cell.call.replace("/create", "/list*"), When::Always, Fault::Lag(time));
                }
            };
            bed.standin.script(&cell.call, cell.when, cell.fault.clone());
            lag();
            let ran: Ran = bed.aam(bed.command(is.phase).await);
            // a sync that was not started is no state of the connection
            if ran.code != 0 && is.phase != Phase::Sync {
                bed.status_tells_the_truth(&ran);
            }
            bed.standin.heal();
            lag();
        }
        bed.recover_within(is.phase, cell.as_ref().and_then(|cell| cell.lag).unwrap_or_default()).await;
        let end = bed.end_state().await;
        assert!(end == is.end, "the end differs:\n{}", difference(&is.end, &end));
    }
    bed.finish().await;
}

fn difference(expected: &str, is: &str) -> String {
    let diff = similar::TextDiff::from_lines(expected, is);
    diff.unified_diff().context_radius(1).header("faultless", "after the fault").to_string()
}

#[test]
fn after_any_fault_the_end_is_that_of_a_faultless_run() {
    let faultless = block_on(faultless());
    let all = std::env::var_os("AAM_FAULTS").is_some_and(|which| which == "all");
    let cells: Vec<Vec<Cell>> = (0..)
        .zip(&faultless)
        .map(|(n, is)| if all { every(&is.calls) } else { sample(&is.calls, n * 11, n == 0) })
        .collect();
    let only = std::env::var("AAM_FAULTS_ONLY").unwrap_or_default();
    let runs = cells.iter().map(Vec::len).max().unwrap_or(0);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs {
                        break;
                    }
                    let mine: Vec<_> = cells.iter().map(|of| of.get(run).cloned()).collect();
                    if !only.is_empty() && !mine.iter().flatten().any(|cell| cell.label.contains(&only)) {
                        continue;
                    }
                    let now = Mutex::new(String::new());
                    let told = catch_unwind(AssertUnwindSafe(|| block_on(tell(&faultless, &mine, &now))));
                    if let Err(why) = told {
                        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                        let text = format!("#### {}\n{why}", now.lock().unwrap());
                        println!("world {run} of {runs}: {text}");
                        failures.lock().unwrap().insert(run, text);
                    } else if run % 50 == 49 {
                        println!("{} of {runs} worlds", run + 1);
                    }
                }
            });
        }
    });
    let counts: Vec<String> = faultless
        .iter()
        .zip(&cells)
        .map(|(is, cells)| format!("{:?}: {} calls, {} cells", is.phase, is.calls.len(), cells.len()))
        .collect();
    println!("{} faults; {}; {runs} worlds", menu().len(), counts.join("; "));
    let failures = failures.into_inner().unwrap();
    let texts: Vec<String> = failures.into_values().collect();
    assert!(texts.is_empty(), "{} of {runs} worlds:\n{}", texts.len(), texts.join("\n\n"));
}
