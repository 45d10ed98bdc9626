//! Finds renames among the fields that went and the fields that came.
//!
//! A pair counts when its score is high enough and clearly ahead of every other pair of the same two fields: two fields
//! that fit a third one equally well are no rename of either.

use std::collections::BTreeSet;

use super::{Grade, grade};
use crate::model::{Field, FieldPath};

/// Least score of a rename. Chosen on real schema histories together with the weights: best balance of found and wrong.
const LEAST: f64 = 0.64;
/// How far a pair must be ahead of the next best pair of either of its fields.
const LEAD: f64 = 0.04;

/// The renames among fields that went and fields that came, each field in at most one, best first.
pub(super) fn pairs(gone: &[(FieldPath, &Field)], new: &[(FieldPath, &Field)]) -> Vec<(FieldPath, FieldPath)> {
    let mut scored: Vec<(f64, usize, usize)> = Vec::new();
    for (i, (from, was)) in gone.iter().enumerate() {
        for (j, (to, is)) in new.iter().enumerate() {
            scored.push((score(from, was, to, is), i, j));
        }
    }
    // Best first; equal scores in the order of the paths, so that the same input gives the same output.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let (mut used_from, mut used_to) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    for &(score, i, j) in scored.iter().take_while(|(score, ..)| *score >= LEAST) {
        if used_from.contains(&i) || used_to.contains(&j) {
            continue;
        }
        let rival = |&&(_, a, b): &&(f64, usize, usize)| {
            ((a == i) != (b == j)) && !used_from.contains(&a) && !used_to.contains(&b)
        };
        let runner_up = scored.iter().filter(rival).map(|(s, ..)| *s).fold(0.0, f64::max);
        if score - runner_up < LEAD {
            continue;
        }
        used_from.insert(i);
        used_to.insert(j);
        found.push((gone[i].0.clone(), new[j].0.clone()));
    }
    found
}

/// How likely it is that a field that went lives on in one that came: 0 to 1.
pub(super) fn score(from: &FieldPath, was: &Field, to: &FieldPath, is: &Field) -> f64 {
    let name = name_likeness(from.leaf(), to.leaf());
    let ty = match grade(&was.ty, &is.ty) {
        _ if was.ty == is.ty => 1.0,
        graded if graded.grade == Grade::Widened => 0.8,
        graded if graded.grade == Grade::Narrowed => 0.7,
        _ => 0.2,
    };
    let nullable = if was.nullable == is.nullable { 1.0 } else { 0.5 };
    let plain = 0.6 * name + 0.32 * ty + 0.08 * nullable;
    match (was.place, is.place) {
        // A database keeps the place of a renamed column and appends new ones.
        (Some(a), Some(b)) if a == b => plain + (1.0 - plain) * 0.3,
        (Some(_), Some(_)) => plain * 0.8,
        _ => plain,
    }
}

/// How alike two names are, 0 to 1, whatever their case, separators and order of words.
fn name_likeness(a: &str, b: &str) -> f64 {
    let (words_a, words_b) = (words(a), words(b));
    if words_a.is_empty() || words_b.is_empty() {
        return if a == b { 1.0 } else { 0.0 };
    }
    let (joined_a, joined_b) = (words_a.concat(), words_b.concat());
    if joined_a == joined_b {
        return 1.0;
    }
    let letters =
        strsim::jaro_winkler(&joined_a, &joined_b) * 0.5 + strsim::normalized_levenshtein(&joined_a, &joined_b) * 0.5;
    let shared = shared_words(&words_a, &words_b);
    letters.max(shared).min(0.97)
}

/// The words of a name in lower case: split at separators, at `aB`, and between letters and digits.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last: Option<char> = None;
    for c in name.chars() {
        let fresh = match last {
            Some(l) if l.is_alphanumeric() => {
                (l.is_lowercase() && c.is_uppercase()) || (l.is_numeric() != c.is_numeric())
            }
            _ => true,
        };
        if c.is_alphanumeric() {
            if fresh {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        last = Some(c);
    }
    words
}

/// Words in common, weighted by length: equal ones, abbreviations (`rev` of `revenue`) and near misses.
fn shared_words(a: &[String], b: &[String]) -> f64 {
    let weight = |word: &String| word.chars().count() as f64;
    let best = |word: &String, others: &[String]| {
        others.iter().map(|other| word_likeness(word, other)).fold(0.0, f64::max) * weight(word)
    };
    let total: f64 = a.iter().chain(b).map(weight).sum();
    let common: f64 = a.iter().map(|w| best(w, b)).sum::<f64>() + b.iter().map(|w| best(w, a)).sum::<f64>();
    common / total
}

fn word_likeness(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.chars().count() >= 3 && long.starts_with(short) {
        return 0.9;
    }
    if short.chars().count() >= 3 && abbreviates(short, long) {
        return 0.75;
    }
    let near = strsim::normalized_levenshtein(a, b);
    if near >= 0.75 { near } else { 0.0 }
}

/// Whether `short` is `long` with letters left out, from the same first letter on (`qty` of `quantity`).
fn abbreviates(short: &str, long: &str) -> bool {
    let mut rest = long.chars();
    short.chars().next() == long.chars().next() && short.chars().all(|c| rest.any(|other| other == c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name type [place]`, separated by commas.
    fn fields(text: &str) -> Vec<(FieldPath, Field)> {
        let one = |text: &str| {
            let mut parts = text.split_whitespace();
            let path = FieldPath::top(parts.next().unwrap());
            let mut field = Field::from_shape(parts.next().unwrap()).unwrap();
            field.place = parts.next().map(|place| place.parse().unwrap());
            (path, field)
        };
        text.split(',').map(one).collect()
    }

    fn found(gone: &str, new: &str) -> String {
        let (gone, new) = (fields(gone), fields(new));
        let borrow =
            |fields: &'static [(FieldPath, Field)]| fields.iter().map(|(p, f)| (p.clone(), f)).collect::<Vec<_>>();
        let pairs = pairs(&borrow(gone.leak()), &borrow(new.leak()));
        pairs.iter().map(|(a, b)| format!("{a} -> {b}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn case_separators_order_and_abbreviations_are_seen_through() {
        assert_eq!(found("createdAt timestamp", "created_at timestamp"), "createdAt -> created_at");
        assert_eq!(found("annual_rev number", "annual_revenue number"), "annual_rev -> annual_revenue");
        assert_eq!(
            found("qty integer, name string", "quantity integer, full_name string"),
            "qty -> quantity, name -> full_name"
        );
        assert_eq!(found("state string", "billing_state string"), "state -> billing_state");
    }

    #[test]
    fn unlike_fields_and_ties_are_no_renames() {
        assert_eq!(found("fax string", "website string"), "");
        assert_eq!(found("active boolean", "activated_by integer"), "");
        assert_eq!(found("phone string", "phone_a string, phone_b string"), "");
    }

    #[test]
    fn place_decides_where_it_is_known() {
        assert_eq!(found("phone string 3", "phone_a string 3, phone_b string 9"), "phone -> phone_a");
    }
}
