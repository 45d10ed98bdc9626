//! Figures of rename detection on labelled schema changes, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use aam::drift::rename::{LEAST, Model};
use anyhow::ensure;
use serde_json::{Value, json};

use super::Fit;
use super::corpus::{self, Case};
use super::fit::{self, Found, Label, Sample};
use super::kinds::{self, Kinds};

/// Confidences at which precision and recall are told.
const THRESHOLDS: [f64; 6] = [LEAST, 0.5, 0.6, 0.7, 0.85, 0.95];
/// Bins of the reliability table.
const BINS: usize = 10;

/// All figures of a file.
pub struct Figures {
    ordered: Renames,
    unordered: Renames,
    kinds: Kinds,
    fit: &'static str,
}

/// What the detection found, and what there was to find, in all and by project.
struct Renames {
    stated: usize,
    found: Vec<Found>,
    projects: BTreeMap<String, (usize, Vec<Found>)>,
}

/// Judges a file with and without the order of fields.
pub fn measure(file: &Path, fit: Fit) -> anyhow::Result<Figures> {
    let lopo = matches!(fit, Fit::Lopo);
    let cases: Vec<Case> = corpus::read(file)?.collect::<anyhow::Result<_>>()?;
    let (ordered, by_case) = renames(&cases, lopo, true)?;
    let mut kinds = Kinds::new();
    for (case, found) in cases.iter().zip(&by_case) {
        let level = case.level();
        let name = |found: &Found| {
            let (from, to) = (&level.gone[found.gone].path, &level.new[found.new].path);
            (from.root().to_owned(), to.root().to_owned())
        };
        let renames: Vec<_> = found.iter().filter(|found| found.told).map(name).collect();
        kinds::add(&mut kinds, case, &renames);
    }
    kinds::finish(&mut kinds);
    let cases: Vec<Case> = cases.into_iter().map(Case::without_order).collect();
    let (unordered, _) = renames(&cases, lopo, false)?;
    Ok(Figures { ordered, unordered, kinds, fit: if lopo { "leave-one-project-out" } else { "shipped" } })
}

fn renames(cases: &[Case], lopo: bool, ordered: bool) -> anyhow::Result<(Renames, Vec<Vec<Found>>)> {
    let samples: Vec<Sample> = cases.iter().map(Sample::of).collect();
    let by_case = if lopo {
        let projects = samples.iter().map(|sample| &sample.project).collect::<BTreeSet<_>>();
        ensure!(projects.len() > 1, "leaving one project out needs two projects; `--fit shipped` does not");
        fit::leave_one_out(&samples, super::SEED)
    } else {
        let model = Model::shipped();
        let judge = if ordered { &model.ordered } else { &model.unordered };
        samples.iter().map(|sample| fit::found(sample, judge)).collect()
    };
    let mut renames = Renames { stated: 0, found: Vec::new(), projects: BTreeMap::new() };
    for (sample, found) in samples.iter().zip(&by_case) {
        let found = found.iter().filter(|found| found.label != Label::Unknown);
        let project = renames.projects.entry(sample.project.clone()).or_default();
        renames.stated += sample.renames;
        project.0 += sample.renames;
        renames.found.extend(found.clone().cloned());
        project.1.extend(found.cloned());
    }
    Ok((renames, by_case))
}

/// Precision, recall and F1 of what is told as a rename with a confidence of at least so much.
fn at(stated: usize, found: &[Found], least: f64) -> (f64, f64, f64) {
    let taken: Vec<&Found> = found.iter().filter(|found| found.told && found.confidence >= least).collect();
    let right = taken.iter().filter(|found| found.label == Label::Renamed).count() as f64;
    let precision = right / taken.len().max(1) as f64;
    let recall = right / stated.max(1) as f64;
    let f1 = if right == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    (precision, recall, f1)
}

/// One bin: how many, their mean confidence, and the share that is right.
fn bins(found: &[Found]) -> Vec<(usize, f64, f64)> {
    let bin = |found: &Found| ((found.confidence * BINS as f64) as usize).min(BINS - 1);
    let of_bin = |at: usize| {
        let here: Vec<&Found> = found.iter().filter(|found| bin(found) == at).collect();
        let count = here.len().max(1) as f64;
        let sum: f64 = here.iter().map(|found| found.confidence).sum();
        let right = here.iter().filter(|found| found.label == Label::Renamed).count() as f64;
        (here.len(), sum / count, right / count)
    };
    (0..BINS).map(of_bin).collect()
}

/// Expected calibration error: how far confidence is from the share that is right, on average over all pairs of best
/// pairings, likely or not (Guo et al. 2017; ten bins of equal width).
fn ece(found: &[Found]) -> f64 {
    let off: f64 =
        bins(found).iter().map(|(count, confidence, right)| *count as f64 * (confidence - right).abs()).sum();
    off / found.len().max(1) as f64
}

impl Figures {
    /// The figures for machines.
    pub fn json(&self) -> Value {
        let one = |renames: &Renames| {
            let (precision, recall, f1) = at(renames.stated, &renames.found, LEAST);
            let (precision_085, recall_085, _) = at(renames.stated, &renames.found, 0.85);
            json!({"f1": f1, "precision": precision, "recall": recall,
                   "precision_085": precision_085, "recall_085": recall_085})
        };
        json!({"rename": one(&self.ordered), "rename_no_order": one(&self.unordered),
               "ece": ece(&self.ordered.found), "kinds": self.kinds})
    }

    /// The figures for people.
    pub fn text(&self) -> String {
        let mut out = format!(
            "Parameters: {}. A pair is told as a rename from a confidence of {LEAST} on, if the names have\nsomething in common; else from a higher one.\n",
            self.fit
        );
        for (title, renames) in [("with the order of fields", &self.ordered), ("without order", &self.unordered)] {
            let _ = writeln!(out, "\nRenames {title}: {} stated", renames.stated);
            out.push_str("  confidence  precision  recall     F1\n");
            for least in THRESHOLDS {
                let (precision, recall, f1) = at(renames.stated, &renames.found, least);
                let _ = writeln!(out, "     >= {least:.2}      {precision:.3}   {recall:.3}  {f1:.3}");
            }
            let _ = writeln!(out, "  calibration: ECE {:.3} over {} pairs", ece(&renames.found), renames.found.len());
            out.push_str("  confidence   pairs   mean  right\n");
            for (at, (count, confidence, right)) in bins(&renames.found).into_iter().enumerate() {
                let low = at as f64 / BINS as f64;
                let _ = writeln!(out, "   {low:.1} - {:.1}  {count:6}  {confidence:.3}  {right:.3}", low + 0.1);
            }
            out.push_str("  project                                       stated  precision  recall     F1\n");
            for (project, (stated, found)) in &renames.projects {
                let (precision, recall, f1) = at(*stated, found, LEAST);
                let _ = writeln!(out, "  {project:44}  {stated:6}      {precision:.3}   {recall:.3}  {f1:.3}");
            }
        }
        out.push_str(
            "\nKinds of change, with the order of fields\n  kind            stated   found  precision  recall\n",
        );
        for (kind, tally) in &self.kinds {
            let kind = format!("{kind:?}");
            let _ = writeln!(
                out,
                "  {kind:14}  {:6}  {:6}      {:.3}   {:.3}",
                tally.stated, tally.found, tally.precision, tally.recall
            );
        }
        out
    }
}
