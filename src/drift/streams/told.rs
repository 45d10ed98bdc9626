//! Tells what spoke for and against a stream's new name.

use super::shape::Common;
use super::{Pair, Streams};
use crate::drift::rename::{About, Counts, Line};
use crate::model::{FieldPath, StreamName};

/// Other candidates below this confidence are not told of.
const LEAST_TOLD: f64 = 0.1;
/// How many other candidates are told of.
const MOST_TOLD: usize = 3;

impl Streams<'_> {
    /// How sure a rename is, and what was seen; `None` for streams that were not compared.
    pub fn judged(&self, from: &StreamName, to: &StreamName) -> Option<(f64, Vec<Line>)> {
        let pair = self.pairs.iter().find(|pair| self.is(pair, from, to))?;
        let mut lines = vec![fields(&pair.common), self.name(pair)];
        lines.extend(self.key(pair));
        lines.extend(self.cursor(pair));
        lines.push(self.others(pair));
        Some((self.confidence(pair), lines))
    }

    /// For a stream that went without a partner: who could be it, best first.
    pub fn candidates(&self, from: &StreamName) -> Vec<Line> {
        let of = self.pairs.iter().filter(|pair| self.gone[pair.gone].name == from);
        let told = self.ranked(of).into_iter().map(|(confidence, pair)| {
            let seen = format!("it may live on as {} ({confidence:.2})", self.came[pair.came].name);
            Line::new(About::Rivals, Counts::Neither, seen)
        });
        told.collect()
    }

    /// For a stream that came without a partner: which ones that went without one it may be, and how likely each is.
    pub fn claims(&self, to: &StreamName) -> Vec<(f64, &StreamName)> {
        let taken: Vec<&StreamName> = self.renames().map(|(from, _)| from).collect();
        let of = self.pairs.iter().filter(|pair| self.came[pair.came].name == to);
        let open = of.filter(|pair| !taken.contains(&self.gone[pair.gone].name));
        open.map(|pair| (self.confidence(pair), self.gone[pair.gone].name)).collect()
    }

    fn is(&self, pair: &Pair, from: &StreamName, to: &StreamName) -> bool {
        self.gone[pair.gone].name == from && self.came[pair.came].name == to
    }

    /// The likeliest pairs that are worth telling.
    fn ranked<'p>(&self, pairs: impl Iterator<Item = &'p Pair>) -> Vec<(f64, &'p Pair)> {
        let mut ranked: Vec<(f64, &Pair)> = pairs.map(|pair| (self.confidence(pair), pair)).collect();
        ranked.retain(|(confidence, _)| *confidence >= LEAST_TOLD);
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1.gone, a.1.came).cmp(&(b.1.gone, b.1.came))));
        ranked.truncate(MOST_TOLD);
        ranked
    }

    fn name(&self, pair: &Pair) -> Line {
        let (from, to) = (self.gone[pair.gone].name, self.came[pair.came].name);
        if from.name == to.name {
            return Line::new(About::Name, Counts::For, "the same, in another namespace");
        }
        let counts = match pair.name {
            alike if alike >= 0.6 => Counts::For,
            alike if alike >= 0.35 => Counts::Neither,
            _ => Counts::Against,
        };
        Line::new(About::Name, counts, format!("likeness {:.2}", pair.name))
    }

    fn key(&self, pair: &Pair) -> Option<Line> {
        let (before, after) = (&self.gone[pair.gone].stream.key, &self.came[pair.came].stream.key);
        let list = |key: &[FieldPath]| key.iter().map(FieldPath::to_string).collect::<Vec<_>>().join(", ");
        if before.is_empty() && after.is_empty() {
            return None;
        }
        Some(if before == after {
            Line::new(About::Role, Counts::For, format!("both have the key [{}]", list(before)))
        } else {
            let seen = format!("the key was [{}], and is [{}]", list(before), list(after));
            Line::new(About::Role, Counts::Against, seen)
        })
    }

    fn cursor(&self, pair: &Pair) -> Option<Line> {
        let (before, after) = (&self.gone[pair.gone].stream.cursor, &self.came[pair.came].stream.cursor);
        // The same word says little: a source says it of most streams.
        let seen = || format!("the cursor was {before}, and is {after}");
        (before != after).then(|| Line::new(About::Role, Counts::Neither, seen()))
    }

    fn others(&self, pair: &Pair) -> Line {
        let ranked = self.ranked(self.rivals(pair));
        if ranked.is_empty() {
            return Line::new(About::Rivals, Counts::For, "no other stream has these fields");
        }
        let name = |rival: &Pair| match rival.gone == pair.gone {
            true => self.came[rival.came].name,
            false => self.gone[rival.gone].name,
        };
        let told: Vec<String> = ranked.iter().map(|(p, rival)| format!("{} ({p:.2})", name(rival))).collect();
        let own = self.confidence(pair);
        let seen = format!("this pair {own:.2}; other candidates: {}", told.join(", "));
        Line::new(About::Rivals, Counts::Against, seen)
    }
}

fn fields(common: &Common) -> Line {
    let Common { before, after, paths, typed } = *common;
    if before == after && typed == before {
        return Line::new(About::Fields, Counts::For, format!("all {before} are the same"));
    }
    let mut seen = format!("{typed} of {before} are the same");
    for (count, what) in [(paths - typed, "of another type"), (before - paths, "gone"), (after - paths, "new")] {
        if count > 0 {
            seen.push_str(&format!(", {count} {what}"));
        }
    }
    Line::new(About::Fields, Counts::For, seen)
}
