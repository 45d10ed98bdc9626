//! Every effect of the story with how often each of its five points is passed: the crash points, as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::story::Step;

/// A place to be killed at.
#[derive(Debug, Clone)]
pub struct Point {
    /// As `AAM_FAILPOINT` takes it.
    pub name: String,
    /// The index of the step it is in.
    pub step: usize,
    /// Orders the points of a step.
    pub place: usize,
}

/// Effects that are polled, or go on beside others: how often differs from run to run.
const POLLED: &[&str] = &["lease", "release", "record_job"];

/// `step:` and below it `effect`, then the passes of k1 to k5 (`+`: at least one).
///
/// `discover` only reads. What a commit to the repository does is told by the effects within it (`write_commit`,
/// `update_work_tree`, `move_ref`, `delete_ref`, `put_file`): they pass its k2 and k3.
pub const TABLE: &str = include_str!("git.points");

/// The same for a folder without git.
pub const FOLDER_TABLE: &str = include_str!("folder.points");

/// The same for [`super::story::LETTERS_STORY`].
pub const LETTERS_TABLE: &str = include_str!("letters.points");

/// The passes of a run in the table's form.
fn render(story: &[Step], passes: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (step, passes) in story.iter().zip(passes) {
        writeln!(text, "{}:", step.name).unwrap();
        let mut effects: Vec<&str> = Vec::new();
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for pass in passes {
            let (effect, place) = pass.rsplit_once('.').unwrap();
            *counts.entry((effect, place)).or_default() += 1;
            if !effects.contains(&effect) {
                effects.push(effect);
            }
        }
        for effect in effects {
            let mut line = format!("  {effect}");
            for place in ["k1", "k2", "k3", "k4", "k5"] {
                match counts.remove(&(effect, place)) {
                    Some(_) if POLLED.contains(&effect) => line.push_str(" +"),
                    count => write!(line, " {}", count.unwrap_or(0)).unwrap(),
                }
            }
            let more = counts.iter().filter(|((of, _), _)| *of == effect);
            more.for_each(|((_, place), count)| write!(line, " {place}={count}").unwrap());
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

/// The lines in steps; a job's points come beside others, so their order within a step does not count.
fn sorted(table: &str) -> Vec<(&str, &str)> {
    let mut step = "";
    let mut lines = Vec::new();
    for line in table.trim().lines() {
        if line.ends_with(':') { step = line } else { lines.push((step, line)) }
    }
    lines.sort_unstable();
    lines
}

/// Every point of the table is passed in the undisturbed run, and no other.
pub fn compare(story: &[Step], table: &str, passes: &[Vec<String>]) {
    let passed = render(story, passes);
    assert!(sorted(&passed) == sorted(table), "the points passed are not those of the table; they are:\n{passed}");
}

/// The points of each step.
pub fn points(story: &[Step], table: &str) -> Vec<Vec<Point>> {
    let mut points: Vec<Vec<Point>> = story.iter().map(|_| Vec::new()).collect();
    let mut step = 0;
    for (place, line) in table.trim().lines().enumerate() {
        if let Some(name) = line.strip_suffix(':') {
            step = story.iter().position(|s| s.name == name).unwrap();
            continue;
        }
        let mut words = line.split_whitespace();
        let effect = words.next().unwrap();
        for (word, k) in words.zip(1..) {
            let (suffix, count) = word.split_once('=').map_or((format!("k{k}"), word), |(p, c)| (p.to_owned(), c));
            for n in 1..=count.parse().unwrap_or(1) {
                let name = format!("{effect}.{suffix}");
                let name = if n == 1 { name } else { format!("{name}#{n}") };
                points[step].push(Point { name, step, place });
            }
        }
    }
    points
}
