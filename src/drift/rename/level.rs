//! One level of a stream before and after: what a pair of names is judged against.

use std::collections::HashMap;

use super::names::{Name, difference, stem};
use crate::model::{Field, FieldPath};

/// Of so many names that stayed and share a word, the first ones are looked at.
const MOST_SIBLINGS: usize = 32;

/// What a field is in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Nothing special.
    #[default]
    Plain,
    /// It is, or lies around, a part of the key that the source defines.
    Key,
    /// It is the cursor that the source names.
    Cursor,
}

/// A field that went or came.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Where it lies; the last step names it.
    pub path: FieldPath,
    /// Its shape.
    pub field: &'a Field,
    /// What it is in its stream.
    pub role: Role,
}

/// A field that is on both sides under one name.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Where it lies.
    pub path: FieldPath,
    /// Its place before, where the source keeps places.
    pub before: Option<u32>,
    /// Its place after.
    pub after: Option<u32>,
}

/// The fields directly inside a record, or inside one object of it, before and after.
#[derive(Debug, Clone, Default)]
pub struct Level<'a> {
    /// The stream's name, without its namespace.
    pub table: &'a str,
    /// What stayed.
    pub kept: Vec<Kept>,
    /// What went.
    pub gone: Vec<Member<'a>>,
    /// What came.
    pub new: Vec<Member<'a>>,
}

/// A field that went or came, with what is the same for all its pairs.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub member: &'a Member<'a>,
    pub name: Name,
    /// The name without the table's words in front.
    pub own: Name,
    pub spot: Option<Spot>,
}

/// Where a field stands among those that stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    /// The field that stayed and stands before it, as its index in [`Level::kept`]; `None` at the beginning.
    pub previous: Option<usize>,
    /// The one behind it; `None` at the end.
    pub next: Option<usize>,
    /// How many others that went (or came) stand between `previous` and it.
    pub rank: usize,
    /// How many that went (or came) stand between `previous` and `next`, with it.
    pub crowd: usize,
    /// Its place itself.
    pub place: u32,
}

impl Spot {
    /// Whether both stand between the same two fields that stayed, with the same number of others of the gap before them.
    pub fn same_place(self, other: Self) -> bool {
        (self.previous, self.next, self.rank) == (other.previous, other.next, other.rank)
    }
}

/// A level with all that is worked out once.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub gone: Vec<Prepared<'a>>,
    pub new: Vec<Prepared<'a>>,
    pub kept: Vec<Name>,
    /// The stream's name.
    pub table: Name,
    /// The names that stayed and hold a word, by its stem, as indexes of `kept`.
    stayed: HashMap<String, Vec<usize>>,
    /// Names of the level, before and after, that hold a word, by its stem.
    holders: HashMap<String, usize>,
    /// Names of the level, before and after.
    pub names: usize,
    /// How many fields that went would follow the same replacement of words, by the words and what comes in their place.
    replaced: HashMap<(String, String), usize>,
    /// Share of what came that stands behind all that stayed; 0 where places are not known. A database appends.
    pub appended: f64,
}

impl<'a> Context<'a> {
    pub fn of(level: &'a Level<'a>) -> Self {
        let table = Name::of(level.table);
        let before: Vec<Option<u32>> = level.kept.iter().map(|kept| kept.before).collect();
        let after: Vec<Option<u32>> = level.kept.iter().map(|kept| kept.after).collect();
        let gone = prepared(&level.gone, &table, &before);
        let new = prepared(&level.new, &table, &after);
        let kept: Vec<Name> = level.kept.iter().map(|kept| Name::of(kept.path.leaf())).collect();
        let mut holders: HashMap<String, usize> = HashMap::new();
        for name in kept.iter().chain(gone.iter().chain(&new).map(|p| &p.name)) {
            let mut stems: Vec<&str> = name.words.iter().map(|word| stem(word)).collect();
            stems.sort_unstable();
            stems.dedup();
            for stem in stems {
                *holders.entry(stem.to_owned()).or_default() += 1;
            }
        }
        let mut stayed: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, name) in kept.iter().enumerate() {
            name.words.iter().for_each(|word| stayed.entry(stem(word).to_owned()).or_default().push(at));
        }
        let names = kept.len() + gone.len() + new.len();
        let replaced = replacements(&gone, &new);
        let tail = new.iter().filter(|p| p.spot.is_some_and(|spot| spot.next.is_none())).count();
        let appended = if new.is_empty() { 0.0 } else { tail as f64 / new.len() as f64 };
        Self { gone, new, kept, table, stayed, holders, names, replaced, appended }
    }

    /// How much a word says, 0 to 1: 1 if at most `own` names hold it (those of the pair itself), 0 if all names of the table do.
    pub fn weight(&self, word: &str, own: usize) -> f64 {
        let others = self.holders.get(stem(word)).copied().unwrap_or(0).saturating_sub(own);
        let all = self.names as f64 + 1.0;
        (all / (others as f64 + 1.0)).ln() / all.ln()
    }

    /// Whether a name that stayed holds the word.
    pub fn stays(&self, word: &str) -> bool {
        self.stayed.contains_key(stem(word))
    }

    /// Names that stayed and share a word with this one; of a word that many hold, the first ones.
    pub fn siblings<'s>(&'s self, name: &'s Name) -> impl Iterator<Item = &'s Name> {
        let of = |word: &String| self.stayed.get(stem(word)).map(Vec::as_slice).unwrap_or_default();
        name.words.iter().flat_map(move |word| of(word).iter().take(MOST_SIBLINGS)).map(|at| &self.kept[*at])
    }

    /// How many fields that went would get a name that came by the same replacement of words as this pair.
    pub fn replaced_alike(&self, i: usize, j: usize) -> usize {
        let key = replacement(&self.gone[i].name, &self.new[j].name);
        key.and_then(|key| self.replaced.get(&key).copied()).unwrap_or(0)
    }
}

fn prepared<'a>(members: &'a [Member<'a>], table: &Name, kept: &[Option<u32>]) -> Vec<Prepared<'a>> {
    let mut by_place: Vec<(u32, usize)> = kept.iter().enumerate().filter_map(|(at, p)| Some(((*p)?, at))).collect();
    by_place.sort_unstable();
    // The gap of a field: how many that stayed stand before it.
    let gap = |place: u32| by_place.partition_point(|(other, _)| *other < place);
    let gaps: Vec<Option<(usize, u32)>> = members.iter().map(|m| m.field.place.map(|p| (gap(p), p))).collect();
    let spot = |gap: usize, place: u32| {
        let inside = || gaps.iter().flatten().filter(|(other, _)| *other == gap);
        Spot {
            previous: gap.checked_sub(1).map(|at| by_place[at].1),
            next: by_place.get(gap).map(|(_, at)| *at),
            rank: inside().filter(|(_, other)| *other < place).count(),
            crowd: inside().count(),
            place,
        }
    };
    members
        .iter()
        .zip(&gaps)
        .map(|(member, gap)| {
            let name = Name::of(member.path.leaf());
            let own = name.without_prefix(table);
            Prepared { member, name, own, spot: gap.map(|(gap, place)| spot(gap, place)) }
        })
        .collect()
}

/// The words that differ between two names which have something in common, as a key.
fn replacement(a: &Name, b: &Name) -> Option<(String, String)> {
    let (from, to) = difference(a, b);
    let common = from.len() < a.words.len() && to.len() < b.words.len();
    common.then(|| (from.join(" "), to.join(" ")))
}

fn replacements(gone: &[Prepared<'_>], new: &[Prepared<'_>]) -> HashMap<(String, String), usize> {
    let mut counts = HashMap::new();
    for from in gone {
        let mut keys: Vec<_> = new.iter().filter_map(|to| replacement(&from.name, &to.name)).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
    }
    counts
}
