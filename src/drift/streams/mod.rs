//! Finds streams that go by another name: one went, one came, and their fields are the same or nearly.
//!
//! Field sets are the evidence; names and keys tell which of several with the same fields it is. Who has no clear lead is not
//! taken, but told ([`Streams::candidates`]). Nothing here makes a repair automatic. Of big catalogs only the likely pairs are
//! looked at ([`shortlist`]), so that the work grows with the number of fields.

mod followed;
mod shape;
mod shortlist;
#[cfg(test)]
mod tests;
mod told;

pub use followed::followed;
pub(super) use followed::reach;

use super::rename::{LEAST, name_likeness};
use crate::model::{Catalog, Stream, StreamName};
use shape::{Common, Shape};

/// Least share of fields in common: below it, one stream went and another came.
const LEAST_SHARE: f64 = 0.8;
/// How far a pair must be ahead of every other of its streams, in log-odds: twice as likely.
const LEAST_LEAD: f64 = 0.7;
/// A stream that stayed, has the same fields and a name this much like that of the one that came, at least, makes it one more of
/// a family (`orders_2024`, `orders_2025`) and no new name.
const FAMILY: f64 = 0.5;

// No corpus says what became of streams, so the weights are set by hand, in log-odds.
/// The same fields, and nothing else known.
const SAME_FIELDS: f64 = 0.9;
/// For each tenth of the fields that differs.
const PER_TENTH: f64 = -0.5;
/// Names that are alike, in proportion; and more for the very same one, in another namespace: of `a/t_1` and `a/t_2` with the
/// same fields, `b/t_1` is the first.
const ALIKE_NAME: f64 = 2.2;
const SAME_NAME: f64 = 1.5;
/// The fewer fields they have in common, the less that says: this divided by their number.
const FEW_FIELDS: f64 = -3.0;
/// The source defines the same key, or another one.
const SAME_KEY: f64 = 0.3;
const OTHER_KEY: f64 = -0.7;

/// A stream with its name.
#[derive(Debug, Clone, Copy)]
struct Side<'a> {
    name: &'a StreamName,
    stream: &'a Stream,
}

/// A stream that went and one that could be it.
#[derive(Debug)]
struct Pair {
    gone: usize,
    came: usize,
    common: Common,
    /// Likeness of the names without their namespaces.
    name: f64,
    /// How likely it is by itself, in log-odds.
    score: f64,
    /// Whether a stream that stayed looks more like the one that came than the one that went does.
    family: bool,
}

/// The streams that went and came between two catalogs, and which could be the same.
#[derive(Debug)]
pub(super) struct Streams<'a> {
    gone: Vec<Side<'a>>,
    came: Vec<Side<'a>>,
    pairs: Vec<Pair>,
    /// Indexes of the pairs of each stream that went, and of each that came.
    of_gone: Vec<Vec<usize>>,
    of_came: Vec<Vec<usize>>,
    /// Indexes of the pairs that are renames.
    taken: Vec<usize>,
}

impl<'a> Streams<'a> {
    /// Judges the streams that only one of the catalogs has.
    pub fn of(before: &'a Catalog, after: &'a Catalog) -> Self {
        let sides = |of: &'a Catalog, other: &'a Catalog, both: bool| -> Vec<Side<'a>> {
            let all = of.streams.iter().filter(|(name, _)| other.streams.contains_key(name) == both);
            all.map(|(name, stream)| Side { name, stream }).collect()
        };
        let (gone, came) = (sides(before, after, false), sides(after, before, false));
        let nothing = gone.is_empty() || came.is_empty();
        let pairs = if nothing { Vec::new() } else { pairs(&gone, &came, &sides(after, before, true)) };
        let (mut of_gone, mut of_came) = (vec![Vec::new(); gone.len()], vec![Vec::new(); came.len()]);
        for (at, pair) in pairs.iter().enumerate() {
            of_gone[pair.gone].push(at);
            of_came[pair.came].push(at);
        }
        let mut streams = Self { gone, came, pairs, of_gone, of_came, taken: Vec::new() };
        streams.taken = (0..streams.pairs.len()).filter(|at| streams.is_rename(&streams.pairs[*at])).collect();
        streams
    }

    /// The renames: pairs that are likely enough and clearly ahead of every other pair of either stream.
    pub fn renames(&self) -> impl Iterator<Item = (&'a StreamName, &'a StreamName)> {
        self.taken.iter().map(|at| &self.pairs[*at]).map(|pair| (self.gone[pair.gone].name, self.came[pair.came].name))
    }

    fn is_rename(&self, pair: &Pair) -> bool {
        let leads = self.rivals(pair).all(|rival| pair.score >= rival.score + LEAST_LEAD);
        leads && !pair.family && self.confidence(pair) >= LEAST
    }

    /// Probability that a reviewer takes it: rivals take from each other, since one stream has one partner.
    fn confidence(&self, pair: &Pair) -> f64 {
        let most = |of: &dyn Fn(&Pair) -> bool| {
            self.rivals(pair).filter(|rival| of(rival)).map(|rival| rival.score.exp()).fold(0.0, f64::max)
        };
        let odds = pair.score.exp();
        odds / (1.0 + odds + most(&|rival| rival.gone == pair.gone) + most(&|rival| rival.came == pair.came))
    }

    /// The other pairs of either stream.
    fn rivals<'p>(&'p self, pair: &'p Pair) -> impl Iterator<Item = &'p Pair> {
        let either = self.of_gone[pair.gone].iter().chain(&self.of_came[pair.came]).map(|at| &self.pairs[*at]);
        either.filter(|other| (other.gone == pair.gone) != (other.came == pair.came))
    }
}

/// The pairs whose fields are the same or nearly.
fn pairs(gone: &[Side<'_>], came: &[Side<'_>], stayed: &[Side<'_>]) -> Vec<Pair> {
    let seen: Vec<Side<'_>> = came.iter().chain(stayed).copied().collect();
    let (mut old, mut new) = (vec![None; gone.len()], vec![None; seen.len()]);
    let mut alike: Vec<Vec<(usize, Common)>> = vec![Vec::new(); gone.len()];
    for (i, j) in shortlist::shortlist(gone, &seen) {
        let common = shape(&mut old, i, gone).common(shape(&mut new, j, &seen));
        if common.share() >= LEAST_SHARE {
            alike[i].push((j, common));
        }
    }
    let mut pairs = Vec::new();
    for (i, partners) in alike.iter().enumerate() {
        let (there, kept): (Vec<_>, Vec<_>) = partners.iter().copied().partition(|(j, _)| *j < came.len());
        for (j, common) in there {
            let to = &came[j].name.name;
            let name = name_likeness(&gone[i].name.name, to);
            let near = |(other, _): &(usize, Common)| name_likeness(to, &seen[*other].name.name) >= name.max(FAMILY);
            let family = name < 1.0 && kept.iter().any(near);
            let score = score(gone[i].stream, came[j].stream, &common, name);
            pairs.push(Pair { gone: i, came: j, common, name, score, family });
        }
    }
    pairs
}

/// Works out a stream's shape once.
fn shape<'s>(shapes: &'s mut [Option<Shape>], at: usize, sides: &[Side<'_>]) -> &'s Shape {
    shapes[at].get_or_insert_with(|| Shape::of(sides[at].stream))
}

fn score(before: &Stream, after: &Stream, common: &Common, name: f64) -> f64 {
    let key = match (before.key.is_empty() && after.key.is_empty(), before.key == after.key) {
        (true, _) => 0.0,
        (false, true) => SAME_KEY,
        (false, false) => OTHER_KEY,
    };
    let fields = SAME_FIELDS + PER_TENTH * 10.0 * (1.0 - common.share()) + FEW_FIELDS / common.paths as f64;
    let name = ALIKE_NAME * name + if name < 1.0 { 0.0 } else { SAME_NAME };
    fields + name + key
}
