//! A rename in two steps, where a source cannot be read beside its syncs: what came is taken in beside what went, one sync
//! lands it, and both are joined by key in landing.
//!
//! A table that keeps one row of each record has lost the old value by then. So the old values are kept before the sync, as
//! digests, and are forgotten as soon as they were compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::join::{Columns, Question, join};
use super::values::{Sampled, plain};
use crate::model::{Catalog, FieldPath, StreamName};

/// Fields of a stream that are taken in although they may be others under a new name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    /// Fields that the source had no more.
    pub gone: BTreeSet<FieldPath>,
    /// Fields that came meanwhile.
    pub came: BTreeSet<FieldPath>,
    /// The newest job whose rows were looked through; before the first comparison, the newest at all.
    pub job: i64,
    /// The old values; `None`: they were compared, or there are none.
    pub kept: Option<KeptValues>,
    /// What was compared before the drift changed; of those fields nothing is kept again.
    #[serde(default)]
    pub known: Sampled,
    /// What came of it; `None`: nothing was compared yet.
    pub compared: Option<Sampled>,
}

/// Of each connection, by stream.
pub type Arrivals = BTreeMap<StreamName, Arrival>;

/// Old values of records, each as a digest that says nothing but "the same".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptValues {
    salt: String,
    keys: Vec<String>,
    values: BTreeMap<FieldPath, Vec<Option<String>>>,
}

impl KeptValues {
    /// Of rows as they landed, the newest first; what is no row with a key is left out. `None` if nothing is left.
    pub fn of<'r>(
        rows: impl IntoIterator<Item = &'r str>,
        key: &[FieldPath],
        gone: &BTreeSet<FieldPath>,
        salt: String,
    ) -> Option<Self> {
        let mut kept = Self { salt, ..Self::default() };
        let mut seen = BTreeSet::new();
        for row in records(rows) {
            let Some(at) = kept.key(&row, key).filter(|at| seen.insert(at.clone())) else { continue };
            kept.keys.push(at);
            for path in gone {
                let value = kept.value(&row, path);
                kept.values.entry(path.clone()).or_default().push(value);
            }
        }
        (!kept.keys.is_empty()).then_some(kept)
    }

    /// Compares with rows that landed since, the newest first; `None` if there is none.
    pub fn compare<'r>(
        &self,
        rows: impl IntoIterator<Item = &'r str>,
        key: &[FieldPath],
        question: &Question,
    ) -> Option<Sampled> {
        let at: HashMap<&str, usize> = self.keys.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect();
        let (mut gone, mut present) = (Columns::new(), Columns::new());
        let (mut seen, mut landed) = (BTreeSet::new(), false);
        let has_values = |record: &usize| self.values.values().any(|values| values[*record].is_some());
        for row in records(rows) {
            landed = true;
            let record = self.key(&row, key).and_then(|key| at.get(key.as_str()));
            let Some(record) = record.filter(|at| has_values(at) && seen.insert(**at)) else { continue };
            for (path, values) in &self.values {
                gone.entry(path.clone()).or_default().push(values[*record].clone());
            }
            for path in &question.present {
                present.entry(path.clone()).or_default().push(self.value(&row, path));
            }
        }
        let asked = self.values.keys().cloned().collect();
        landed.then(|| Sampled { asked, joined: join(&gone, &present), ..Sampled::default() })
    }

    /// How many records they are of.
    pub fn records(&self) -> usize {
        self.keys.len()
    }

    fn key(&self, row: &Map<String, Value>, key: &[FieldPath]) -> Option<String> {
        let parts: Option<Vec<&Value>> =
            key.iter().map(|path| row.get(path.root()).filter(|part| !part.is_null())).collect();
        Some(self.digest(&serde_json::to_string(&parts?).ok()?))
    }

    fn value(&self, row: &Map<String, Value>, path: &FieldPath) -> Option<String> {
        let text = match row.get(path.root())? {
            Value::Null => return None,
            Value::String(text) => plain(text),
            other => plain(&other.to_string()),
        };
        Some(self.digest(&text))
    }

    /// Begins with a letter, so that it is read as nothing but a text.
    fn digest(&self, text: &str) -> String {
        let digest = Sha256::new_with_prefix(&self.salt).chain_update(text).finalize();
        format!("h{}", hex::encode(&digest[..8]))
    }
}

fn records<'r>(rows: impl IntoIterator<Item = &'r str>) -> impl Iterator<Item = Map<String, Value>> {
    rows.into_iter().filter_map(|row| serde_json::from_str(row).ok())
}

impl Arrival {
    /// Whether it is about the fields of a question.
    pub fn is_about(&self, question: &Question) -> bool {
        question.gone.iter().all(|path| self.gone.contains(path)) && question.optional().is_subset(&self.came)
    }

    /// Ends the waiting.
    pub fn found(&mut self, compared: Sampled) {
        self.kept = None;
        self.compared = Some(std::mem::take(&mut self.known).with(compared));
    }

    /// Whether it waits for a sync that lands what came.
    pub fn is_awaited(&self) -> bool {
        self.kept.is_some() && self.compared.is_none()
    }

    /// Whether a field that went is still approved, and still gone.
    pub fn is_open(&self, stream: &StreamName, lock: &Catalog, observed: &Catalog) -> bool {
        let (Some(lock), Some(observed)) = (lock.streams.get(stream), observed.streams.get(stream)) else {
            return false;
        };
        self.gone.iter().any(|path| lock.fields.contains_key(path) && !observed.fields.contains_key(path))
    }

    /// Whether a field came with it.
    pub fn has(&self, path: &FieldPath) -> bool {
        self.came.iter().any(|came| path.is_within(came))
    }

    /// Whether the lock has all that came.
    pub fn is_taken_in(&self, stream: &StreamName, lock: &Catalog) -> bool {
        lock.streams.get(stream).is_some_and(|lock| self.came.iter().all(|path| lock.fields.contains_key(path)))
    }
}

/// The lock with what is to be taken in now.
pub fn taken_in(lock: &Catalog, observed: &Catalog, arrivals: &Arrivals) -> Catalog {
    let awaited =
        arrivals.iter().filter(|(name, arrival)| arrival.is_awaited() && arrival.is_open(name, lock, observed));
    let mut lock = lock.clone();
    for (name, arrival) in awaited {
        let (Some(stream), Some(seen)) = (lock.streams.get_mut(name), observed.streams.get(name)) else { continue };
        for (path, field) in seen.fields.iter().filter(|(path, _)| arrival.has(path)) {
            stream.fields.entry(path.clone()).or_insert_with(|| field.clone());
        }
    }
    lock
}

/// The lock as it was before anything was taken in: what went is compared with what came as in any other drift.
pub fn before(lock: &Catalog, observed: &Catalog, arrivals: &Arrivals) -> Catalog {
    let mut before = lock.clone();
    for (name, arrival) in arrivals.iter().filter(|(name, arrival)| arrival.is_open(name, lock, observed)) {
        let (Some(stream), Some(seen)) = (before.streams.get_mut(name), observed.streams.get(name)) else { continue };
        let is_there = |path: &FieldPath| seen.fields.keys().any(|field| field.root() == path.root());
        stream.fields.retain(|path, _| !(arrival.has(path) && is_there(path)));
    }
    before
}

/// A catalog that began with [`before`], with all that the lock has taken in.
pub fn after(catalog: Catalog, lock: &Catalog, observed: &Catalog, arrivals: &Arrivals) -> Catalog {
    let mut after = catalog;
    for (name, arrival) in arrivals.iter().filter(|(name, arrival)| arrival.is_open(name, lock, observed)) {
        let (Some(stream), Some(lock)) = (after.streams.get_mut(name), lock.streams.get(name)) else { continue };
        let has = |path: &FieldPath| stream.fields.keys().any(|field| field.root() == path.root());
        let lost: Vec<_> = lock.fields.iter().filter(|(path, _)| arrival.has(path) && !has(path)).collect();
        stream.fields.extend(lost.into_iter().map(|(path, field)| (path.clone(), field.clone())));
    }
    after
}
