//! Judges generated drifts whose values were joined by key.

use std::path::Path;

use aam::drift::rename::{Columns, Judged, Kept, Level, Member, Role, Sampled, join};
use aam::model::{Field, FieldPath, FieldType};
use anyhow::ensure;

use super::generate::{Column, Drift, drift};
use super::tables::{Pool, pools};

/// Confidence from which a repair may be automatic: the default of `drift.threshold`.
const THRESHOLD: f64 = 0.85;

/// What must be reached on generated drifts.
const LEAST_PRECISION: f64 = 0.995;
const LEAST_RECALL: f64 = 0.97;

/// What came of all drifts.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    pub drifts: usize,
    pub renames: usize,
    pub found: usize,
    pub right: usize,
    pub automatic: usize,
    pub wrong_automatic: usize,
    seed: u64,
}

/// Generates and judges so many drifts, on all cores.
pub fn measure(seed: u64, drifts: usize, tables: Option<&Path>) -> anyhow::Result<Figures> {
    let pools = pools(tables)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let one = |worker: usize| {
        let mut figures = Figures::default();
        (worker..drifts).step_by(workers).for_each(|number| judge(&pools, seed, number, &mut figures));
        figures
    };
    let parts: Vec<Figures> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || one(worker))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no worker panics")).collect()
    });
    let sum = |of: fn(&Figures) -> usize| parts.iter().map(of).sum();
    Ok(Figures {
        drifts,
        renames: sum(|f| f.renames),
        found: sum(|f| f.found),
        right: sum(|f| f.right),
        automatic: sum(|f| f.automatic),
        wrong_automatic: sum(|f| f.wrong_automatic),
        seed,
    })
}

fn judge(pools: &[Pool], seed: u64, number: usize, figures: &mut Figures) {
    let drift = drift(pools, seed, number as u64);
    let before: Vec<Field> = drift.before.iter().map(field).collect();
    let after: Vec<Field> = drift.after.iter().map(field).collect();
    let level = level(&drift, &before, &after);
    let sampled = sample(&drift, &level);
    let judged = Judged::of(&level, Some(&sampled));
    figures.renames += drift.renames.len();
    for found in judged.matches() {
        let (from, to) = (level.gone[found.gone].path.root(), level.new[found.new].path.root());
        let right = drift.renames.iter().any(|(old, new)| old == from && new == to);
        let automatic = found.confidence >= THRESHOLD && judged.doubt(found.gone, found.new).is_none();
        figures.found += 1;
        figures.right += usize::from(right);
        figures.automatic += usize::from(automatic);
        figures.wrong_automatic += usize::from(automatic && !right);
    }
}

fn level<'a>(drift: &Drift, before: &'a [Field], after: &'a [Field]) -> Level<'a> {
    let has = |columns: &[Column], name: &str| columns.iter().any(|column| column.name == name);
    let path = |column: &Column| FieldPath::top(column.name.as_str());
    let members = |columns: &[Column], others: &[Column], fields: &'a [Field]| -> Vec<Member<'a>> {
        let alone = columns.iter().zip(fields).filter(|(column, _)| !has(others, &column.name));
        alone.map(|(column, field)| Member { path: path(column), field, role: Role::Plain }).collect()
    };
    let kept = drift.before.iter().filter(|column| has(&drift.after, &column.name));
    Level {
        table: "accounts",
        kept: kept.map(|column| Kept { path: path(column), before: None, after: None }).collect(),
        gone: members(&drift.before, &drift.after, before),
        new: members(&drift.after, &drift.before, after),
    }
}

/// The type that a file connector would see.
fn field(column: &Column) -> Field {
    let all = |is: fn(&str) -> bool| column.values.iter().flatten().all(|value| is(value.trim()));
    let ty = if all(|value| matches!(value, "true" | "false")) {
        FieldType::Boolean
    } else if all(|value| value.parse::<f64>().is_ok()) {
        FieldType::Number
    } else {
        FieldType::String(None)
    };
    Field::new(ty, true)
}

/// What a sampler supplies: every field that went, against every one that came or stayed.
fn sample(drift: &Drift, level: &Level<'_>) -> Sampled {
    let column = |columns: &[Column], path: &FieldPath| -> Vec<Option<String>> {
        let found = columns.iter().find(|column| column.name == path.root());
        found.map(|column| column.values.clone()).unwrap_or_default()
    };
    let others: Vec<&FieldPath> =
        level.new.iter().map(|member| &member.path).chain(level.kept.iter().map(|kept| &kept.path)).collect();
    let now: Columns = others.iter().map(|path| ((*path).clone(), column(&drift.after, path))).collect();
    let gone = level.gone.iter().map(|member| (member.path.clone(), column(&drift.before, &member.path))).collect();
    Sampled { joined: join(&gone, &now), ..Sampled::default() }
}

impl Figures {
    /// Share of what was found that is right.
    pub fn precision(&self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }

    /// Share of the renames that were found.
    pub fn recall(&self) -> f64 {
        self.right as f64 / self.renames.max(1) as f64
    }

    /// What must hold: no wrong automatic repair, and nearly all renames found, nearly none invented.
    pub fn hold(&self) -> anyhow::Result<()> {
        ensure!(self.wrong_automatic == 0, "{} automatic repairs are wrong", self.wrong_automatic);
        ensure!(self.precision() >= LEAST_PRECISION, "precision {:.4} is below {LEAST_PRECISION}", self.precision());
        ensure!(self.recall() >= LEAST_RECALL, "recall {:.4} is below {LEAST_RECALL}", self.recall());
        Ok(())
    }

    /// The figures for people.
    pub fn text(&self) -> String {
        format!(
            "{} drifts (seed {}), {} renames\nprecision {:.4}  recall {:.4}\nautomatic {} ({:.1} % of the renames), \
             of them wrong {}\n",
            self.drifts,
            self.seed,
            self.renames,
            self.precision(),
            self.recall(),
            self.automatic,
            100.0 * self.automatic as f64 / self.renames.max(1) as f64,
            self.wrong_automatic
        )
    }
}
