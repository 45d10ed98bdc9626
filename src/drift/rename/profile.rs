//! Value profiles: what is known of a field's values where nothing can be joined by key, and how alike two of them are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the values of a field look like, over some hundred rows. Texts are as [`super::plain`] writes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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

    /// How alike two profiles are, 0 to 1: the mean over what both know.
    pub fn likeness(&self, other: &Self) -> f64 {
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        let near = |a: f64, b: f64| 1.0 - (a - b).abs() / a.abs().max(b.abs()).max(1.0);
        let filled = |p: &Self| p.rows - p.nulls.min(p.rows);
        let alphabet: f64 = self.alphabet.iter().zip(&other.alphabet).map(|(a, b)| a.min(*b)).sum();
        let mut parts = vec![
            1.0 - (share(self.nulls, self.rows) - share(other.nulls, other.rows)).abs(),
            1.0 - (share(self.distinct, filled(self)) - share(other.distinct, filled(other))).abs(),
            near(self.length.1, other.length.1),
            alphabet,
            overlap(&self.patterns, &other.patterns),
            overlap(&self.top, &other.top),
        ];
        match (self.range, other.range) {
            (Some(a), Some(b)) => parts.push((near(a.0, b.0) + near(a.1, b.1)) / 2.0),
            (None, None) => {}
            _ => parts.push(0.0),
        }
        parts.iter().sum::<f64>() / parts.len() as f64
    }

    /// Log-odds that the likeness of two profiles adds to a pair: none at 0.6, which unrelated fields of one type often reach.
    pub(super) fn weight(&self, other: &Self) -> f64 {
        let few = |p: &Self| p.rows.saturating_sub(p.nulls) < LEAST_VALUES;
        if few(self) || few(other) {
            return 0.0;
        }
        ((self.likeness(other) - 0.6) * 5.0).clamp(-MOST_WEIGHT, MOST_WEIGHT)
    }
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
    let common: f64 = a.iter().filter_map(|(key, share)| Some(share.min(*b.get(key)?))).sum();
    let all = a.values().sum::<f64>().max(b.values().sum());
    if all == 0.0 { 0.0 } else { common / all }
}
