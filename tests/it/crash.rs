//! Crash points (fault plan, section 2): kill -9 at each, run the command again, and the end is as if nothing had been.
//!
//! `story` is what happens, `world` where, `check` what must hold, `table` every point. One run tells the whole story and
//! is killed in each of its commands. The normal test kills at every named point once, at several of one command in a
//! run; with `AAM_CRASH=all` every single pass of every point gets a run of its own.
#![cfg(debug_assertions)]
#![allow(clippy::print_stderr)]

mod check;
mod story;
mod table;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::story::{FOLDER_STORY, LETTERS_STORY, STORY, Step};
use self::table::{FOLDER_TABLE, LETTERS_TABLE, Point, TABLE};
use self::world::{Ended, World};

/// Kills in one step of one run, where each point need not have a run of its own.
const SEVERAL: usize = 12;

/// What the undisturbed run looks like after each step: exit code and end state.
struct Undisturbed {
    steps: Vec<(i32, String)>,
}

/// Tells the story without kills; gives what it looks like and what each step passed.
fn tell(story: &[Step], git: bool) -> (Undisturbed, Vec<Vec<String>>) {
    let mut world = World::new(git);
    let (mut steps, mut passes) = (Vec::new(), Vec::new());
    for step in story {
        (step.before)(&mut world);
        let exit = match world.aam_until(step.command, None) {
            Ended::Exit(code) => code,
            Ended::Killed => panic!("nothing was armed"),
        };
        assert!([0, 3].contains(&exit), "{}: exit {exit}: {}", step.name, world.said);
        passes.push(world.passes());
        steps.push((exit, check::end_state(&world)));
        if std::env::var_os("AAM_CRASH_SHOW").is_some() {
            eprintln!("#### {} {exit}\n{}\n{}", step.name, world.said, steps.last().unwrap().1);
        }
    }
    let exit = steps.last().unwrap().0;
    check::check_invariants(&mut world, exit);
    (Undisturbed { steps }, passes)
}

/// Tells the story with up to `kills` kills in each step. `points` are what is left to be killed at, for each step.
fn tell_killed(
    story: &[Step],
    git: bool,
    undisturbed: &Undisturbed,
    points: &[Mutex<Vec<Point>>],
    kills: usize,
) -> usize {
    let mut world = World::new(git);
    let mut killed_at: Vec<String> = Vec::new();
    let mut total = 0;
    for (i, step) in story.iter().enumerate() {
        if total == 0 && points[i..].iter().all(|of| of.lock().unwrap().is_empty()) {
            return 0; // nothing to be seen any more
        }
        (step.before)(&mut world);
        let jobs = world.jobs();
        let (mut killed, mut after) = (0, 0);
        let exit = loop {
            let armed = (killed < kills).then(|| take(&points[i], after, killed > 0)).flatten();
            let command = if killed > 0 { step.again(&world, &jobs) } else { step.command };
            match (world.aam_until(command, armed.as_ref().map(|p| p.name.as_str())), armed) {
                (Ended::Killed, Some(point)) => {
                    killed += 1;
                    after = point.place + 1;
                    killed_at.push(format!("{} in {}", point.name, step.name));
                }
                (Ended::Killed, None) => panic!("{}: killed without a kill point", step.name),
                (Ended::Exit(code), None) => break code,
                // A second kill in one step may find its effect done already: it gets its turn in another run.
                (Ended::Exit(code), Some(point)) if killed > 0 => {
                    points[i].lock().unwrap().push(point);
                    break code;
                }
                (Ended::Exit(_), Some(point)) => panic!("{}: {} was not passed: {}", step.name, point.name, world.said),
            }
        };
        total += killed;
        let (expected_exit, expected) = &undisturbed.steps[i];
        assert_eq!(exit, *expected_exit, "{}: exit code after kills at {killed_at:?}: {}", step.name, world.said);
        let state = check::end_state(&world);
        assert!(state == *expected, "{}: after kills at {killed_at:?}:\n{}", step.name, difference(expected, &state));
    }
    check::check_invariants(&mut world, undisturbed.steps.last().unwrap().0);
    total
}

/// The next point to be killed at, not before `after`; a second one in a step only where the first pass is meant.
fn take(points: &Mutex<Vec<Point>>, after: usize, second: bool) -> Option<Point> {
    let mut points = points.lock().unwrap();
    points.sort_by_key(|point| point.place);
    let at = points.iter().position(|point| point.place >= after && !(second && point.name.contains('#')))?;
    Some(points.remove(at))
}

fn difference(expected: &str, state: &str) -> String {
    similar::TextDiff::from_lines(expected, state)
        .unified_diff()
        .context_radius(1)
        .header("undisturbed", "killed")
        .to_string()
}

/// Kills at every point that `wanted` keeps, in as many runs as it takes.
fn matrix(story: &'static [Step], table: &str, git: bool, wanted: impl Fn(&Point) -> bool, kills: usize) {
    let (undisturbed, passes) = tell(story, git);
    table::compare(story, table, &passes);
    let points: Vec<Mutex<Vec<Point>>> = table::points(story, table)
        .into_iter()
        .map(|of| Mutex::new(of.into_iter().filter(&wanted).collect()))
        .collect();
    let wanted: usize = points.iter().map(|of| of.lock().unwrap().len()).sum();
    let (kills_done, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while points.iter().any(|of| !of.lock().unwrap().is_empty()) {
                    runs.fetch_add(1, Ordering::Relaxed);
                    let done = tell_killed(story, git, &undisturbed, &points, kills);
                    kills_done.fetch_add(done, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(kills_done.into_inner(), wanted, "every point was killed at");
    eprintln!("{wanted} kills in {} runs", runs.into_inner());
}

fn all() -> bool {
    std::env::var_os("AAM_CRASH").is_some_and(|which| which == "all")
}

/// Every named point once, wherever in the story it comes first.
fn once(story: &[Step], table: &str) -> impl Fn(&Point) -> bool + use<> {
    let mut first: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (i, of) in table::points(story, table).into_iter().enumerate() {
        for point in of {
            first.entry(point.name.split('#').next().unwrap().to_owned()).or_insert((i, point.name));
        }
    }
    move |point| first.values().any(|(step, name)| *step == point.step && *name == point.name)
}

#[test]
fn a_killed_daemon_goes_on_where_it_was() {
    let step = &STORY[0];
    let mut world = World::new(true);
    (step.before)(&mut world);
    assert!(matches!(world.aam_until(step.command, None), Ended::Exit(0)), "{}", world.said);
    let undisturbed = check::end_state(&world);
    for point in
        ["declare.k3", "create_source.k3", "create_connection.k2", "record_version.k3", "move_ref.k2", "commit_lock.k4"]
    {
        let mut world = World::new(true);
        (step.before)(&mut world);
        let killed = world.daemon(Some(point)).wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9), "{point}");
        let mut daemon = world.daemon(None);
        let began = Instant::now();
        let state = loop {
            let state = check::end_state(&world);
            if state == undisturbed || began.elapsed() > Duration::from_secs(30) {
                break state;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        world.terminate(&daemon);
        assert!(daemon.wait().unwrap().success(), "{point}: a daemon that is told to stop ends well");
        assert!(state == undisturbed, "{point}:\n{}", difference(&undisturbed, &state));
        check::check_invariants(&mut world, 0);
    }
}

#[test]
fn killed_anywhere_the_story_ends_as_undisturbed() {
    if all() {
        matrix(STORY, TABLE, true, |_| true, 1);
    } else {
        matrix(STORY, TABLE, true, once(STORY, TABLE), SEVERAL);
    }
}

#[test]
fn killed_anywhere_a_folder_without_git_ends_as_undisturbed() {
    if all() {
        matrix(FOLDER_STORY, FOLDER_TABLE, false, |_| true, 1);
    } else {
        matrix(FOLDER_STORY, FOLDER_TABLE, false, once(FOLDER_STORY, FOLDER_TABLE), SEVERAL);
    }
}

#[test]
fn killed_anywhere_each_dead_letter_is_answered_once() {
    matrix(LETTERS_STORY, LETTERS_TABLE, true, |point| LETTERS_STORY[point.step].name == "replay", 1);
}
