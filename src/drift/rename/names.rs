//! How alike two names are: split into words, seen through case, separators, inflection, abbreviation and common synonyms.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::words::{ABBREVIATIONS, SYNONYMS};

/// A field's name as its words, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The words, in order; empty for a name without letters and digits.
    pub words: Vec<String>,
    /// The words without anything between them.
    pub joined: String,
}

impl Name {
    pub fn of(name: &str) -> Self {
        let words = words(name);
        let joined = words.concat();
        Self { words, joined }
    }

    /// The name without the words of the table's name at its beginning, if any other word is left.
    pub fn without_prefix(&self, table: &Name) -> Self {
        let same = |(a, b): &(&String, &String)| stem(a) == stem(b);
        let shared = self.words.iter().zip(&table.words).take_while(same).count();
        let words = if shared < self.words.len() { self.words[shared..].to_vec() } else { self.words.clone() };
        let joined = words.concat();
        Self { words, joined }
    }
}

/// The words of a name in lower case: split at separators, at `aB` and `ABc`, and between letters and digits.
pub(super) fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    for (at, c) in letters.iter().enumerate() {
        if !c.is_alphanumeric() {
            continue;
        }
        let before = at.checked_sub(1).map(|at| letters[at]).filter(|c| c.is_alphanumeric());
        let after = letters.get(at + 1);
        let starts = before.is_none_or(|last| {
            let camel = c.is_uppercase() && (last.is_lowercase() || after.is_some_and(|next| next.is_lowercase()));
            (camel && !last.is_numeric()) || last.is_numeric() != c.is_numeric()
        });
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// How alike two words are, 0 to 1: the same, inflected, abbreviated, beginning alike, misspelt, or with one meaning.
pub(super) fn word_likeness(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    if stem(a) == stem(b) || related(&SHORT, a, b) {
        return 0.95;
    }
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let letters = short.chars().count();
    if letters >= 3 && long.starts_with(short) {
        return 0.9;
    }
    let near = strsim::normalized_levenshtein(a, b);
    if near >= 0.75 {
        return near;
    }
    if letters >= 3 && abbreviates(short, long) {
        return 0.75;
    }
    let shared = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    if shared >= 4 && 2 * shared >= long.chars().count() {
        return 0.7;
    }
    if related(&LIKE, a, b) { 0.6 } else { 0.0 }
}

/// The lines of a list that a word stands in, by its stem.
type Lines = HashMap<&'static str, Vec<usize>>;

static SHORT: LazyLock<Lines> = LazyLock::new(|| lines(ABBREVIATIONS));
static LIKE: LazyLock<Lines> = LazyLock::new(|| lines(SYNONYMS));

fn lines(list: &'static [&'static [&'static str]]) -> Lines {
    let mut lines = Lines::new();
    for (at, line) in list.iter().enumerate() {
        for word in *line {
            lines.entry(stem(word)).or_default().push(at);
        }
    }
    lines
}

/// Whether both words stand in one line of a list.
fn related(lines: &Lines, a: &str, b: &str) -> bool {
    let of = |word| lines.get(stem(word)).map(Vec::as_slice).unwrap_or_default();
    of(a).iter().any(|line| of(b).contains(line))
}

/// The word without a common English ending; too short a rest keeps it.
pub(super) fn stem(word: &str) -> &str {
    for ending in ["ings", "ing", "ies", "ied", "ers", "es", "ed", "er", "s", "y", "e"] {
        if let Some(rest) = word.strip_suffix(ending).filter(|rest| rest.len() >= 3) {
            return rest;
        }
    }
    word
}

/// Whether `short` is `long` with letters left out, from the same first letter on (`qty` of `quantity`).
fn abbreviates(short: &str, long: &str) -> bool {
    let mut rest = long.chars();
    short.chars().next() == long.chars().next() && short.chars().all(|c| rest.any(|other| other == c))
}

/// The pairs of neighbouring letters that two texts share, as a share of all they have (Dice's coefficient): 0 to 1.
pub(super) fn shared_letters(a: &str, b: &str) -> f64 {
    strsim::sorensen_dice(a, b)
}

/// What differs between two names once the words that begin and end both are taken away: (of the first, of the second).
pub(super) fn difference<'n>(a: &'n Name, b: &'n Name) -> (&'n [String], &'n [String]) {
    let least = a.words.len().min(b.words.len());
    let front = a.words.iter().zip(&b.words).take_while(|(a, b)| a == b).count();
    let back = a.words.iter().rev().zip(b.words.iter().rev()).take(least - front).take_while(|(a, b)| a == b).count();
    (&a.words[front..a.words.len() - back], &b.words[front..b.words.len() - back])
}
