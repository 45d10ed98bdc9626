//! Value profiles: what is known of a field's values where nothing can be joined by key, and how alike two of them are. A
//! profile knows values, so it is not kept; what is kept of two of them is shares.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::values::percent;

/// What the values of a field look like, over some hundred rows. Texts are as [`super::plain`] writes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Rows looked at.
    pub rows: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Distinct values.
    pub distinct: u64,
    /// Least, mean and greatest length, in characters.
    pub length: (u64, f64, u64),
    /// Shares of letters, digits and other characters among all, adding up to 1.
    pub alphabet: [f64; 3],
    /// The most frequent shapes of values (`a` for letters, `9` for digits, runs written once), with their shares.
    pub patterns: BTreeMap<String, f64>,
    /// Least and greatest value, if all are numbers.
    pub range: Option<(f64, f64)>,
    /// The most frequent values, with their shares.
    pub top: BTreeMap<String, f64>,
}

/// Two profiles side by side: of the field that went, and of the one that came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// Values on each side.
    pub values: (u64, u64),
    /// Shares of rows without a value.
    pub nulls: (f64, f64),
    /// Distinct values as shares of all.
    pub distinct: (f64, f64),
    /// Mean lengths, in characters.
    pub length: (f64, f64),
    /// Letters, digits and other characters in common, 0 to 1.
    pub alphabet: f64,
    /// Shapes of values in common.
    pub patterns: f64,
    /// Most frequent values in common.
    pub top: f64,
    /// Where both are numbers, how near their ends are; 0 if only one side has numbers.
    pub range: Option<f64>,
}

/// Most that profiles add to or take from the log-odds: like content is common among unrelated fields.
const MOST_WEIGHT: f64 = 1.5;
/// Fewest values on either side that make a profile.
const LEAST_VALUES: u64 = 20;
/// How many patterns and values a profile keeps.
const KEPT: usize = 8;

impl Profile {
    /// The profile of values as rows hold them; `None` for null.
    pub fn of<'v>(values: impl IntoIterator<Item = Option<&'v str>>) -> Self {
        let mut profile = Self::default();
        let (mut counts, mut shapes) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        let (mut characters, mut kinds, mut numbers) = (0_u64, [0_u64; 3], Vec::new());
        for value in values {
            profile.rows += 1;
            let Some(value) = value else {
                profile.nulls += 1;
                continue;
            };
            let value = super::plain(value);
            let length = value.chars().count() as u64;
            let (least, _, most) = profile.length;
            let first = counts.is_empty();
            profile.length = (if first { length } else { least.min(length) }, 0.0, most.max(length));
            characters += length;
            for c in value.chars() {
                let kind = if c.is_alphabetic() { 0 } else { 2 - usize::from(c.is_numeric()) };
                kinds[kind] += 1;
            }
            numbers.extend(value.parse::<f64>().ok().filter(|number| number.is_finite()));
            *shapes.entry(shape(&value)).or_default() += 1;
            *counts.entry(value).or_default() += 1;
        }
        let filled = profile.rows - profile.nulls;
        profile.distinct = counts.len() as u64;
        profile.length.1 = characters as f64 / filled.max(1) as f64;
        profile.alphabet = kinds.map(|count| count as f64 / characters.max(1) as f64);
        if filled > 0 && numbers.len() as u64 == filled {
            let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            profile.range = Some((least, numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
        }
        profile.patterns = most_frequent(shapes, filled);
        profile.top = most_frequent(counts, filled);
        profile
    }

    /// This profile of a field that went beside that of one that came.
    pub fn beside(&self, other: &Self) -> Alike {
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        let filled = |p: &Self| p.rows - p.nulls.min(p.rows);
        Alike {
            values: (filled(self), filled(other)),
            nulls: (share(self.nulls, self.rows), share(other.nulls, other.rows)),
            distinct: (share(self.distinct, filled(self)), share(other.distinct, filled(other))),
            length: (self.length.1, other.length.1),
            alphabet: self.alphabet.iter().zip(&other.alphabet).map(|(a, b)| a.min(*b)).sum(),
            patterns: overlap(&self.patterns, &other.patterns),
            top: overlap(&self.top, &other.top),
            range: match (self.range, other.range) {
                (Some(a), Some(b)) => Some((near(a.0, b.0) + near(a.1, b.1)) / 2.0),
                (None, None) => None,
                _ => Some(0.0),
            },
        }
    }
}

impl Alike {
    /// How alike they are, 0 to 1: the mean over what both know.
    pub fn likeness(&self) -> f64 {
        let same = |(a, b): (f64, f64)| 1.0 - (a - b).abs();
        let mut parts = vec![
            same(self.nulls),
            same(self.distinct),
            near(self.length.0, self.length.1),
            self.alphabet,
            self.patterns,
            self.top,
        ];
        parts.extend(self.range);
        parts.iter().sum::<f64>() / parts.len() as f64
    }

    /// Log-odds that the likeness adds to a pair: none at 0.6, which unrelated fields of one type often reach.
    pub(super) fn weight(&self) -> f64 {
        if self.values.0.min(self.values.1) < LEAST_VALUES {
            return 0.0;
        }
        ((self.likeness() - 0.6) * 5.0).clamp(-MOST_WEIGHT, MOST_WEIGHT)
    }
}

impl fmt::Display for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.values;
        write!(f, "likeness {:.2} of {before} values before and {after} now: ", self.likeness())?;
        let both = |(a, b): (f64, f64)| format!("{} and {}", percent(a), percent(b));
        write!(f, "no value in {}, distinct {}, ", both(self.nulls), both(self.distinct))?;
        write!(
            f,
            "length {:.1} and {:.1}; in common are characters {}, ",
            self.length.0,
            self.length.1,
            percent(self.alphabet)
        )?;
        write!(f, "patterns {}, frequent values {}", percent(self.patterns), percent(self.top))?;
        self.range.map_or(Ok(()), |range| write!(f, ", range {}", percent(range)))
    }
}

/// How near two numbers are, 0 to 1.
fn near(a: f64, b: f64) -> f64 {
    1.0 - ((a - b).abs() / a.abs().max(b.abs()).max(1.0)).min(1.0)
}

/// `a` for a run of letters, `9` for a run of digits, everything else as it is.
fn shape(value: &str) -> String {
    let mut shape = String::new();
    for c in value.chars().take(60) {
        let c = if c.is_alphabetic() { 'a' } else { c };
        let c = if c.is_numeric() { '9' } else { c };
        if !matches!(c, 'a' | '9') || !shape.ends_with(c) {
            shape.push(c);
        }
    }
    shape
}

fn most_frequent(counts: BTreeMap<String, u64>, all: u64) -> BTreeMap<String, f64> {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.into_iter().take(KEPT).map(|(value, count)| (value, count as f64 / all.max(1) as f64)).collect()
}

/// Shares in common; 1 if both are empty.
fn overlap(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> f64 {
    if a.is_empty() && b.is_empty() {
        return 1.0;
    }
    let common = a.iter().filter_map(|(key, share)| Some(share.min(*b.get(key)?))).fold(0.0, |all, one| all + one);
    let all = a.values().sum::<f64>().max(b.values().sum());
    if all == 0.0 { 0.0 } else { common / all }
}
