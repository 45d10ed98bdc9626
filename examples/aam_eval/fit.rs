//! Fits the parameters of rename detection on labelled cases, and judges cases with parameters that never saw their project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};

use aam::drift::rename::{FEATURES, Judge, assigned, least_confidence, looked_at, probability, standing};

use super::boost::{self, Settings};
use super::corpus::{Case, Kind};
use super::logistic;

/// See [`Settings`].
const SETTINGS: Settings =
    Settings { trees: 180, depth: 3, rate: 0.05, rows: 0.6, features: 0.3, least: 1.0, calm: 2.0 };
/// Parts that the projects are dealt into, to get scores of cases by trees that did not see their project.
const PARTS: usize = 5;
/// Penalty of the final curve's factors.
const PENALTY: f64 = 1.0;

/// Where the likeness of names is among the features.
static LIKENESS: LazyLock<usize> =
    LazyLock::new(|| FEATURES.iter().position(|name| *name == "likeness").expect("it is a feature"));

/// What is known of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    Renamed,
    Other,
    /// Neither right nor wrong.
    Unknown,
}

/// A case as numbers.
#[derive(Debug)]
pub struct Sample {
    pub project: String,
    /// `[gone][new][feature]`
    pub features: Vec<Vec<Vec<f64>>>,
    /// `[gone][new]`
    pub labels: Vec<Vec<Label>>,
    /// Renames among the labels.
    pub renames: usize,
}

impl Sample {
    pub fn of(case: &Case) -> Self {
        let level = case.level();
        let label = |from: &str, to: &str| {
            let named = case.changes.iter().find(|change| {
                change.kind == Kind::Renamed && change.from.as_deref() == Some(from) && change.to.as_deref() == Some(to)
            });
            match named {
                Some(change) if change.evidence.is_some() => Label::Unknown,
                Some(_) => Label::Renamed,
                None if case.renames_labelled => Label::Other,
                None => Label::Unknown,
            }
        };
        let labels: Vec<Vec<Label>> = level
            .gone
            .iter()
            .map(|from| level.new.iter().map(|to| label(from.path.root(), to.path.root())).collect())
            .collect();
        let renames = labels.iter().flatten().filter(|label| **label == Label::Renamed).count();
        Self { project: case.project.clone(), features: looked_at(&level), labels, renames }
    }

    fn scores(&self, judge: &Judge) -> Vec<Vec<f64>> {
        self.features.iter().map(|row| row.iter().map(|pair| judge.score(pair)).collect()).collect()
    }
}

/// Fits both steps: trees on all pairs, and the final curve on pairs of best assignments by trees that did not see them.
pub fn judge(samples: &[&Sample], seed: u64) -> Judge {
    let projects: BTreeSet<&str> = samples.iter().map(|sample| sample.project.as_str()).collect();
    let part_of: BTreeMap<&str, usize> = projects.iter().enumerate().map(|(at, name)| (*name, at % PARTS)).collect();
    let (mut rows, mut positive) = (Vec::new(), Vec::new());
    for part in 0..PARTS.min(projects.len()) {
        let of_part = |sample: &&&Sample| part_of[sample.project.as_str()] == part;
        let others: Vec<&Sample> = samples.iter().filter(|s| !of_part(s)).copied().collect();
        let trees = grown(&others, seed);
        for sample in samples.iter().filter(of_part) {
            let scores = sample.scores(&trees);
            for (i, j) in assigned(&scores) {
                if sample.labels[i][j] != Label::Unknown {
                    rows.push(standing(&scores, i, j));
                    positive.push(sample.labels[i][j] == Label::Renamed);
                }
            }
        }
    }
    let (factors, offset) = logistic::fit(&rows, &positive, PENALTY);
    let factors = factors.into_iter().map(boost::round).collect();
    Judge { factors, offset: boost::round(offset), ..grown(samples, seed) }
}

fn grown(samples: &[&Sample], seed: u64) -> Judge {
    let (mut rows, mut positive): (Vec<&[f64]>, Vec<bool>) = (Vec::new(), Vec::new());
    for sample in samples {
        let pairs = sample.features.iter().flatten().zip(sample.labels.iter().flatten());
        for (features, label) in pairs.filter(|(_, label)| **label != Label::Unknown) {
            rows.push(features);
            positive.push(*label == Label::Renamed);
        }
    }
    let (start, trees) = boost::fit(&rows, &positive, SETTINGS, seed);
    Judge { trees, start, ..Judge::default() }
}

/// One pair that the detection would make.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whether it is told as a rename: likely enough for names that are so alike.
    pub told: bool,
    pub gone: usize,
    pub new: usize,
    pub label: Label,
    pub confidence: f64,
}

/// All pairs of the best assignment of a case.
pub fn found(sample: &Sample, judge: &Judge) -> Vec<Found> {
    let scores = sample.scores(judge);
    let found = |(gone, new): (usize, usize)| {
        let confidence = probability(judge.settled(&standing(&scores, gone, new)));
        let told = confidence >= least_confidence(sample.features[gone][new][*LIKENESS]);
        Found { told, gone, new, label: sample.labels[gone][new], confidence }
    };
    assigned(&scores).into_iter().map(found).collect()
}

/// Fits without each project in turn and judges that project: what was found in each case.
pub fn leave_one_out(samples: &[Sample], seed: u64) -> Vec<Vec<Found>> {
    let projects: BTreeSet<&str> = samples.iter().map(|sample| sample.project.as_str()).collect();
    let queue = Mutex::new(projects.into_iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(project) = queue.lock().expect("no worker panics").next() else { break };
                    let others: Vec<&Sample> = samples.iter().filter(|s| s.project != project).collect();
                    let judge = judge(&others, seed);
                    let own = samples.iter().enumerate().filter(|(_, s)| s.project == project);
                    let found: Vec<_> = own.map(|(at, sample)| (at, found(sample, &judge))).collect();
                    results.lock().expect("no worker panics").extend(found);
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no worker panics");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, found)| found).collect()
}
