//! What sampled values say about a rename, as data: whoever samples fills it in, this module only weighs it.
//!
//! A sampler takes records that landed before the change and looks the same ones up as they are now; [`super::join`] counts
//! for each pair how often the old field's landed value and the present value of another field are the same. Pairs are every
//! field that went × every field that came, and, so that copies are seen, every field that went × every field that *stayed*.
//! Where there is nothing to join by (no key, or none that is on both sides), profiles of both sides are compared instead; they
//! raise or lower confidence, and never make a repair automatic.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::profile::Alike;
use crate::model::{FieldPath, StreamName};

/// Everything that was sampled for one drift, by stream. Empty: names and types only.
pub type Values = BTreeMap<StreamName, Sampled>;

/// What was sampled of one stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Fields that went and whose values were asked for, whether any were found or not.
    #[serde(default)]
    pub asked: BTreeSet<FieldPath>,
    /// Whether values wait for a sync that lands them.
    #[serde(default, skip_serializing)]
    pub awaited: bool,
    /// Pairs whose values were joined by key: (the field that went, a field that came or stayed).
    #[serde(default)]
    pub joined: Vec<JoinedPair>,
    /// Pairs of a field that went and one that came, by how alike their values look: where nothing can be joined.
    #[serde(default)]
    pub alike: Vec<AlikePair>,
}

/// A pair of fields with how alike the values of landed rows and of the source look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlikePair {
    /// The field that went.
    pub from: FieldPath,
    /// The field that came.
    pub to: FieldPath,
    /// What both profiles have in common.
    pub alike: Alike,
}

/// A pair of fields with the values of the same keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinedPair {
    /// The field that went.
    pub from: FieldPath,
    /// The field that came, or one that stayed.
    pub to: FieldPath,
    /// What was counted.
    pub joined: Joined,
}

/// Counts over sampled keys. `keys = equal + differing + one_null + both_null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// Keys whose row was found on both sides.
    pub keys: u64,
    /// Both have a value, the same by [`same_value`].
    pub equal: u64,
    /// Both have a value, and not the same.
    pub differing: u64,
    /// One side has a value, the other null.
    pub one_null: u64,
    /// Neither has a value; says nothing.
    pub both_null: u64,
    /// Distinct old values among the keys, null not counted.
    pub distinct: u64,
    /// How often two random keys hold the same old value: the sum of the squared shares of all old values, 0 to 1. What
    /// two unrelated fields of like content agree on by chance; 1 for a constant.
    pub chance: f64,
}

/// Fewest keys with a value on either side that say anything: of fewer, one edit more or less would decide.
const LEAST_COUNTED: u64 = 20;
/// Fewest keys with a value on either side that prove anything.
const LEAST_KEYS: u64 = 40;
/// Least share of equal values that proves a rename: room for edits and nulls since the old rows were landed.
const LEAST_EQUAL: f64 = 0.88;
/// How far the share must be ahead of every rival on the same keys. Near copies (a billing and a shipping address) differ in
/// one row of ten or less, so the margin is far above what separates them.
const LEAST_LEAD: f64 = 0.25;
/// Fewest distinct values, and most agreement by chance, of values that tell fields apart.
const LEAST_DISTINCT: u64 = 10;
const MOST_CHANCE: f64 = 0.2;
/// Share of equal values of a true rename, for weighing: what is left after edits, nulls and changes of format.
const EXPECTED: f64 = 0.93;
/// A key counts as one eighth of an independent observation, and at most this many keys count: rows of one table have much in
/// common.
const MOST_WEIGHED: f64 = 200.0;
const PER_KEY: f64 = 1.0 / 8.0;
/// Most that values add to or take from the log-odds.
const MOST_WEIGHT: f64 = 9.0;
/// What a pair loses in log-odds for being behind another pair of one of its fields, per share of rows, and at most: of two near
/// copies the better one is the likelier, and a hundredth (0.6) may be chance.
const BEHIND: f64 = 60.0;
const MOST_BEHIND: f64 = 6.0;
/// What is left of the weight where a field that stayed holds the values, too: what came may be a copy of that one.
const COPIED: f64 = 0.6;

impl Joined {
    /// Keys that say something: at least one side has a value.
    pub fn compared(&self) -> u64 {
        self.equal + self.differing + self.one_null
    }

    /// Share of equal values among them; 0 if there are none.
    pub fn share(&self) -> f64 {
        if self.compared() == 0 { 0.0 } else { self.equal as f64 / self.compared() as f64 }
    }

    /// Whether they are enough to say anything.
    pub fn counts(&self) -> bool {
        self.compared() >= LEAST_COUNTED
    }

    /// Log-likelihood ratio of "renamed" over "unrelated, of like content", damped and bounded: log-odds to add.
    pub fn weight(&self) -> f64 {
        if !self.counts() {
            return 0.0;
        }
        let chance = self.chance.clamp(0.02, 0.98);
        let share = self.share();
        let per_key = share * (EXPECTED / chance).ln() + (1.0 - share) * ((1.0 - EXPECTED) / (1.0 - chance)).ln();
        // Where nearly all rows agree by chance, agreement is no evidence, and one difference is no disproof.
        let telling = if chance > EXPECTED { 0.0 } else { per_key };
        (telling * (self.compared() as f64).min(MOST_WEIGHED) * PER_KEY).clamp(-MOST_WEIGHT, MOST_WEIGHT)
    }

    /// Why these values prove no rename; `None` if they do. `rival` is the best share of any other pair of either field.
    pub fn doubt(&self, rival: Option<Rival<'_>>) -> Option<String> {
        let compared = self.compared();
        if compared < LEAST_KEYS {
            return Some(format!("only {compared} joined keys have a value, fewer than {LEAST_KEYS}"));
        }
        if self.share() < LEAST_EQUAL {
            let (share, least) = (percent(self.share()), percent(LEAST_EQUAL));
            return Some(format!("{share} of the joined values are equal, fewer than {least}"));
        }
        if self.distinct < LEAST_DISTINCT || self.chance > MOST_CHANCE {
            return Some(format!(
                "its values tell little: {} distinct ones, and two rows agree by chance in {} of cases",
                self.distinct,
                percent(self.chance)
            ));
        }
        let rival = rival.filter(|rival| self.share() - rival.share < LEAST_LEAD)?;
        Some(format!("{} holds the same values in {} of rows, too", rival.name, percent(rival.share)))
    }
}

/// Another pair of one of the two fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rival<'a> {
    /// The other field.
    pub name: &'a FieldPath,
    /// Its share of equal values.
    pub share: f64,
}

impl Sampled {
    /// Values that wait for a sync.
    pub fn awaited() -> Self {
        Self { awaited: true, ..Self::default() }
    }

    /// What was joined of a pair.
    pub fn pair(&self, from: &FieldPath, to: &FieldPath) -> Option<&Joined> {
        self.joined.iter().find(|pair| pair.from == *from && pair.to == *to).map(|pair| &pair.joined)
    }

    /// How alike the values of a pair look, where nothing was joined.
    pub fn alike(&self, from: &FieldPath, to: &FieldPath) -> Option<&Alike> {
        self.alike.iter().find(|pair| pair.from == *from && pair.to == *to).map(|pair| &pair.alike)
    }

    /// The best rival of a pair: another field that the old one's values are found in, or another that went whose values are
    /// found in the new one.
    pub fn rival(&self, from: &FieldPath, to: &FieldPath) -> Option<Rival<'_>> {
        let other = |pair: &'_ &JoinedPair| (pair.from == *from) != (pair.to == *to);
        let rivals = self.joined.iter().filter(other).map(|pair| {
            let name = if pair.from == *from { &pair.to } else { &pair.from };
            Rival { name, share: pair.joined.share() }
        });
        rivals.max_by(|a, b| a.share.total_cmp(&b.share).then_with(|| b.name.cmp(a.name)))
    }

    /// The log-odds that values add to a pair: joined ones where there are any, else profiles.
    pub(super) fn weight(&self, from: &FieldPath, to: &FieldPath, stayed: &[FieldPath]) -> f64 {
        if let Some(joined) = self.pair(from, to).filter(|joined| joined.counts()) {
            let share = joined.share();
            let counted = |field| self.pair(from, field).filter(|joined| joined.counts());
            let copied = stayed.iter().filter_map(counted).map(Joined::share);
            let told = if copied.fold(0.0, f64::max) > share - LEAST_LEAD { COPIED } else { 1.0 };
            let is_rival = |pair: &&JoinedPair| (pair.from == *from) != (pair.to == *to) && !stayed.contains(&pair.to);
            let counted = self.joined.iter().filter(|pair| pair.joined.counts());
            let ahead = counted.filter(is_rival).map(|pair| pair.joined.share()).fold(share, f64::max);
            let weight = joined.weight();
            let weight = if weight > 0.0 { weight * told } else { weight };
            return weight - (BEHIND * (ahead - share)).min(MOST_BEHIND);
        }
        self.alike(from, to).map_or(0.0, Alike::weight)
    }
}

/// A share as people read it. Never rounded up to all.
pub(super) fn percent(share: f64) -> String {
    let shown = (share * 1000.0).floor() / 10.0;
    if shown.fract() == 0.0 { format!("{shown:.0} %") } else { format!("{shown:.1} %") }
}

/// Whether two values are the same but for their writing: blanks around and within, case, zeros behind a number's point,
/// separators of dates (`2026-01-05T08:00:00Z`, `2026-01-05 08:00:00+00`), and the parts of a time that are zero.
pub fn same_value(a: &str, b: &str) -> bool {
    a == b || plain(a) == plain(b)
}

/// The form in which values are compared; equal for values that [`same_value`] takes for the same.
pub fn plain(value: &str) -> String {
    let words: Vec<String> = value.split_whitespace().map(str::to_lowercase).collect();
    let text = words.join(" ");
    number(&text).or_else(|| time(&text)).unwrap_or(text)
}

/// A plain decimal number without needless zeros and sign; not so long a text that it must be an identifier.
fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // `007` and `01234` are codes, not numbers
    if whole.is_empty() || !is(whole) || !is(part) || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let part = part.trim_end_matches('0');
    let point = if part.is_empty() { "" } else { "." };
    let out = format!("{sign}{whole}{point}{part}");
    Some(if out == "-0" { "0".to_owned() } else { out })
}

/// A date, with a time unless that is midnight; offsets other than zero stay as they are.
fn time(text: &str) -> Option<String> {
    let date = text.get(..10)?;
    let shape = |text: &str, at: usize| text.as_bytes()[at].is_ascii_digit();
    let separators = date.as_bytes()[4] == date.as_bytes()[7] && matches!(date.as_bytes()[4], b'-' | b'/' | b'.');
    if !separators || !date.is_ascii() || [0, 1, 2, 3, 5, 6, 8, 9].iter().any(|at| !shape(date, *at)) {
        return None;
    }
    let date = date.replace(['/', '.'], "-");
    let rest = text[10..].trim_start_matches(['t', ' ']);
    let rest = ["z", "+00:00", "+0000", "+00", " utc"].iter().find_map(|zone| rest.strip_suffix(zone)).unwrap_or(rest);
    let rest = match rest.split_once('.') {
        Some((seconds, part)) if part.bytes().all(|b| b == b'0') => seconds,
        _ => rest,
    };
    let rest = rest.trim();
    Some(if rest.is_empty() || rest.trim_end_matches(":00") == "00" { date } else { format!("{date} {rest}") })
}
