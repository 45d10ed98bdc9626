//! Pairs of names that say they are two things: a billing address is no shipping address, however many rows agree.

use super::names::{Name, stem};

/// What is named in one line are different things of one kind; words of one thing are separated by blanks. General English
/// of data models.
const CONTRASTS: &[&[&str]] = &[
    &["billing", "shipping delivery", "mailing", "home", "work office", "primary", "secondary"],
    &["created create", "updated update modified changed", "deleted delete", "published", "closed", "expired"],
    &["first", "last", "middle", "second", "third"],
    &["next", "previous prev"],
    &["start started begin", "end ended finish finished stop"],
    &["from source", "to target destination"],
    &["min minimum", "max maximum", "average avg mean", "median"],
    &["sender", "receiver recipient"],
    &["buyer payer", "seller payee"],
    &["in incoming inbound", "out outgoing outbound"],
    &["old original", "new current"],
    &["gross", "net", "tax", "discount", "subtotal"],
    &["planned expected estimated forecast", "actual"],
    &["latitude lat", "longitude lng lon"],
    &["width", "height", "depth"],
    &["left", "right"],
    &["top", "bottom"],
    &["day", "week", "month", "quarter", "year"],
    &["parent", "child"],
    &["open", "close", "high", "low"],
];

/// Words that name something made of another field: whoever has them beside it is a second field.
const DERIVED: &[&str] = &[
    "normalized",
    "normalised",
    "sanitized",
    "cleaned",
    "clean",
    "formatted",
    "raw",
    "hash",
    "hashed",
    "masked",
    "encrypted",
];

/// The two words by which names stand against each other: each has one that the other lacks.
pub(super) fn contrast<'n>(a: &'n Name, b: &'n Name) -> Option<(&'n str, &'n str)> {
    let lacks = |name: &Name, word: &str| name.words.iter().all(|other| stem(other) != stem(word));
    let only_b = || b.words.iter().filter(|word| lacks(a, word));
    let only_a = || a.words.iter().filter(|word| lacks(b, word));
    let opposite = only_a().find_map(|one| {
        let other = only_b().find(|other| CONTRASTS.iter().any(|line| differ(line, one, other)))?;
        Some((one.as_str(), other.as_str()))
    });
    opposite.or_else(|| {
        // `phone`, `phone_normalized`: nothing else differs
        let is_derived = |word: &&String| DERIVED.contains(&word.as_str());
        let word = match (only_a().next(), only_b().next()) {
            (Some(word), None) | (None, Some(word)) => word,
            _ => return None,
        };
        is_derived(&word).then_some((word.as_str(), "what it is made of"))
    })
}

/// Whether both words stand in the line, for two things.
fn differ(line: &[&str], a: &str, b: &str) -> bool {
    let at = |word: &str| line.iter().position(|thing| thing.split(' ').any(|other| stem(other) == stem(word)));
    matches!((at(a), at(b)), (Some(a), Some(b)) if a != b)
}
