//! What is to be sampled for a drift, and what is counted of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::profile::Profile;
use super::values::{AlikePair, Joined, JoinedPair, Sampled, Values, plain};
use crate::model::{Catalog, FieldPath, StreamName};

/// Values of each field, record by record: the n-th values are of the same record. `None` is null.
pub type Columns = BTreeMap<FieldPath, Vec<Option<String>>>;

/// The fields of one stream whose values would tell who is whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Fields that the source no longer has.
    pub gone: Vec<FieldPath>,
    /// Fields that it has, those that came and those that stayed.
    pub present: Vec<FieldPath>,
    /// Those that came.
    pub came: BTreeSet<FieldPath>,
    /// Those of them that are never null.
    pub required: BTreeSet<FieldPath>,
}

impl Question {
    /// What may be taken in before it is known whose values it holds.
    pub fn optional(&self) -> BTreeSet<FieldPath> {
        self.came.difference(&self.required).cloned().collect()
    }
}

/// What to ask of a source: by stream where fields of the record itself went while others came or stayed, unless they were
/// asked for before.
pub fn questions(lock: &Catalog, observed: &Catalog, known: &Values) -> BTreeMap<StreamName, Question> {
    let mut questions = BTreeMap::new();
    for (name, before) in &lock.streams {
        let Some(now) = observed.streams.get(name) else { continue };
        let tops =
            |of: &BTreeMap<FieldPath, _>| of.keys().filter(|p| p.parent().is_none()).cloned().collect::<Vec<_>>();
        let gone: Vec<FieldPath> = tops(&before.fields).into_iter().filter(|p| !now.fields.contains_key(p)).collect();
        let present = tops(&now.fields);
        let came: BTreeSet<FieldPath> =
            present.iter().filter(|path| !before.fields.contains_key(path)).cloned().collect();
        let asked = known.get(name).is_some_and(|sampled| gone.iter().all(|path| sampled.asked.contains(path)));
        if !present.is_empty() && !gone.is_empty() && !asked {
            let required = came.iter().filter(|path| !now.fields[*path].nullable).cloned().collect();
            questions.insert(name.clone(), Question { gone, present, came, required });
        }
    }
    questions
}

/// Counts every field that went against every one that is there, record by record.
pub fn join(gone: &Columns, present: &Columns) -> Vec<JoinedPair> {
    let mut words = HashMap::new();
    let mut numbered = |columns: &Columns| -> Vec<(FieldPath, Vec<Option<usize>>)> {
        let mut number = |value: &Option<String>| {
            let next = words.len();
            value.as_ref().map(|value| *words.entry(plain(value)).or_insert(next))
        };
        columns.iter().map(|(path, values)| (path.clone(), values.iter().map(&mut number).collect())).collect()
    };
    let (gone, present) = (numbered(gone), numbered(present));
    let pair = |(from, old): &(FieldPath, Vec<_>), (to, new): &(FieldPath, Vec<_>)| JoinedPair {
        from: from.clone(),
        to: to.clone(),
        joined: count(old, new),
    };
    gone.iter().flat_map(|old| present.iter().map(move |new| pair(old, new))).collect()
}

/// Both lists are of the same records.
fn count(old: &[Option<usize>], new: &[Option<usize>]) -> Joined {
    let mut joined = Joined::default();
    let mut counts: HashMap<usize, u64> = HashMap::new();
    for (a, b) in old.iter().zip(new) {
        joined.keys += 1;
        match (a, b) {
            (Some(a), Some(b)) if a == b => joined.equal += 1,
            (Some(_), Some(_)) => joined.differing += 1,
            (None, None) => joined.both_null += 1,
            _ => joined.one_null += 1,
        }
        if let Some(a) = a {
            *counts.entry(*a).or_default() += 1;
        }
    }
    let all: u64 = counts.values().sum();
    joined.distinct = counts.len() as u64;
    joined.chance = counts.values().map(|count| (*count as f64 / all.max(1) as f64).powi(2)).sum();
    joined
}

impl Sampled {
    /// What came of a question for which nothing could be had.
    pub fn nothing(question: &Question) -> Self {
        Self { asked: question.gone.iter().cloned().collect(), ..Self::default() }
    }

    /// Together with what was found out of other fields.
    pub fn with(mut self, other: Self) -> Self {
        self.asked.extend(other.asked);
        self.joined.extend(other.joined);
        self.alike.extend(other.alike);
        self
    }

    /// What came of a question, by the values of the same records.
    pub fn joined(question: &Question, gone: &Columns, present: &Columns) -> Self {
        Self { joined: join(gone, present), ..Self::nothing(question) }
    }

    /// What came of a question, by the values of some records that landed and of some that are at the source now.
    pub fn apart(question: &Question, gone: &Columns, present: &Columns) -> Self {
        let profile = |values: &Vec<Option<String>>| Profile::of(values.iter().map(Option::as_deref));
        let came = present.iter().filter(|(path, _)| question.came.contains(*path));
        let came: Vec<(&FieldPath, Profile)> = came.map(|(path, values)| (path, profile(values))).collect();
        let pairs = gone.iter().flat_map(|(from, values)| {
            let before = profile(values);
            let pair = move |(to, after): &(&FieldPath, Profile)| AlikePair {
                from: from.clone(),
                to: (*to).clone(),
                alike: before.beside(after),
            };
            came.iter().map(pair).collect::<Vec<_>>()
        });
        Self { alike: pairs.collect(), ..Self::nothing(question) }
    }
}
