//! One page: from rows to events, and to what `letters` makes of the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{CanonicalError, Counts, Run, storable};
use crate::mapping::{Rejected, content_hash};
use crate::model::FieldPath;
use crate::ports::{CanonicalEvent, EventBatch, LandingRow, Lineage, Op, RecordHead};

/// Keys are part of an index row, which PostgreSQL limits to 2,704 bytes together with tenant, stream and entity.
const LONGEST_KEY: usize = 1_000;

/// What a row says about its record.
struct Said<'a> {
    row: &'a LandingRow,
    key: String,
    op: Op,
    data: Map<String, Value>,
    unknown_fields: Map<String, Value>,
    /// Of an upsert.
    hash: String,
}

/// Where a record stands while the page is gone through.
struct Standing {
    op: Op,
    hash: String,
    /// The event of this page that put it there; `None`: it was so before.
    event: Option<usize>,
}

impl Run<'_> {
    /// Maps rows in the order of landing and compares them with what their records are by now. `again`: they are those of dead
    /// letters.
    pub(super) async fn map_page(
        &self,
        rows: &[LandingRow],
        again: bool,
    ) -> Result<(EventBatch, Counts), CanonicalError> {
        let mut batch = EventBatch { read_by: self.stream.mapping.digest().to_owned(), ..EventBatch::default() };
        let (mut said, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut newest = HashMap::new();
        let now = self.clock.now();
        for (place, row) in rows.iter().enumerate() {
            let mapped = self.map_row(row);
            match if again { mapped.and_then(|said| self.unless_renamed(row, said)) } else { mapped } {
                Ok(one) => {
                    newest.insert(one.key.clone(), place);
                    said.push(one);
                }
                Err(rejected) => refused.push((place, row, rejected)),
            }
        }
        for (place, row, rejected) in refused {
            let overtaken = rejected.key.as_ref().and_then(|key| newest.get(key)).is_some_and(|newer| *newer > place);
            if !overtaken {
                batch.dead_letters.push(self.dead_letter(row, rejected, again, now));
            }
        }
        if !self.stream.mapping.key().is_empty() {
            batch.overtaken = newest.into_keys().collect(); // without a key each row is a record of its own
        }
        let mut counts =
            Counts { rows: rows.len() as u64, dead_letters: batch.dead_letters.len() as u64, ..Counts::default() };
        let heads = self.heads(&said).await?;
        let mut last_data = self.data_for_deletes(&said, &heads).await?;
        let mut standing: HashMap<String, Standing> = heads
            .into_iter()
            .map(|(key, head)| (key, Standing { op: head.op, hash: head.hash, event: None }))
            .collect();
        for one in said {
            let before = standing.get(&one.key);
            let (data, hash) = match (one.op, before) {
                (Op::Upsert, Some(before)) if before.hash == one.hash => continue,
                (Op::Upsert, _) => (Value::Object(one.data), one.hash),
                // what is unknown or gone already cannot go
                (Op::Delete, None | Some(Standing { op: Op::Delete, .. })) => continue,
                (Op::Delete, Some(before)) => {
                    let data = match before.event {
                        Some(event) => batch.events[event].data.clone(),
                        None => last_data.remove(&one.key).unwrap_or_else(|| Value::Object(Map::new())),
                    };
                    let hash = hash_of(one.op, &data, &one.unknown_fields);
                    (data, hash)
                }
            };
            match one.op {
                Op::Upsert => counts.upserts += 1,
                Op::Delete => counts.deletes += 1,
            }
            let now_stands = Standing { op: one.op, hash: hash.clone(), event: Some(batch.events.len()) };
            standing.insert(one.key.clone(), now_stands);
            let content = Content { op: one.op, data, unknown_fields: Value::Object(one.unknown_fields), hash };
            batch.events.push(self.event(one.key, content, &Origin::of(one.row), now));
        }
        Ok((batch, counts))
    }

    fn map_row<'r>(&self, row: &'r LandingRow) -> Result<Said<'r>, Rejected> {
        let mapped = self.stream.mapping.apply(row.data.get())?;
        let key = mapped.key.unwrap_or_else(|| row.raw_id.clone());
        let op = if mapped.deleted { Op::Delete } else { Op::Upsert };
        let mut reasons = storable::check(&mapped.data);
        reasons.extend(storable::check(&mapped.unknown_fields));
        reasons.extend(self.undecided(row));
        if key.len() > LONGEST_KEY {
            reasons.push(format!("key: is longer than {LONGEST_KEY} bytes"));
        }
        if !reasons.is_empty() {
            return Err(Rejected::because(Some(key), reasons));
        }
        let hash = match op {
            Op::Upsert => content_hash(word(op), &mapped.data, &mapped.unknown_fields),
            Op::Delete => String::new(), // covers the last data, which is looked up later
        };
        Ok(Said { row, key, op, data: mapped.data, unknown_fields: mapped.unknown_fields, hash })
    }

    /// A row that landed under other names than the mapping reads by now would map to less than it says: it holds what the
    /// stream no longer has, and lacks what is read instead.
    fn unless_renamed<'r>(&self, row: &LandingRow, mapped: Said<'r>) -> Result<Said<'r>, Rejected> {
        let record = serde_json::from_str::<Map<String, Value>>(row.data.get()).unwrap_or_default();
        let mapping = self.stream.mapping;
        let lacks: BTreeSet<&FieldPath> = mapping.reads().filter(|path| !record.contains_key(path.root())).collect();
        if lacks.is_empty() || record.keys().all(|name| self.stream.fields.contains(name)) {
            return Ok(mapped);
        }
        let key = (!mapping.key().is_empty()).then_some(mapped.key);
        Err(Rejected { key, reasons: Vec::new(), lacks: lacks.into_iter().cloned().collect() })
    }

    /// A row that lacks what the mapping reads, while that may be the same as others that came, waits: mapped now, it would say
    /// that the value is gone. Others say nothing yet: what came may be filled later.
    fn undecided(&self, row: &LandingRow) -> Vec<String> {
        let reads = |field: &FieldPath| self.stream.mapping.reads().any(|path| path.is_within(field));
        let undecided: Vec<_> = self.stream.undecided.iter().filter(|one| reads(&one.gone)).collect();
        if undecided.is_empty() {
            return Vec::new();
        }
        let record = serde_json::from_str::<Map<String, Value>>(row.data.get()).unwrap_or_default();
        let has = |field: &FieldPath| record.get(field.root()).is_some_and(|value| !value.is_null());
        let open = undecided.into_iter().filter(|one| !has(&one.gone)).map(|one| {
            let came: Vec<String> = one.came.iter().map(|came| format!("`{came}`")).collect();
            format!("`{}` may be {} by now: drift {} is undecided", one.gone, came.join(" or "), one.drift)
        });
        open.collect()
    }

    async fn heads(&self, said: &[Said<'_>]) -> Result<BTreeMap<String, RecordHead>, CanonicalError> {
        let keys: BTreeSet<&String> = said.iter().map(|s| &s.key).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys: Vec<String> = keys.into_iter().cloned().collect();
        let entity = self.stream.mapping.entity();
        let heads = self.store.heads(self.work.lease.connection, &self.stream.stream, entity, &keys).await;
        heads.map_err(|e| self.stored(e))
    }

    /// The last data of records that the page may delete.
    async fn data_for_deletes(
        &self,
        said: &[Said<'_>],
        heads: &BTreeMap<String, RecordHead>,
    ) -> Result<BTreeMap<String, Value>, CanonicalError> {
        let alive = |key: &String| heads.get(key).is_some_and(|h| h.op == Op::Upsert);
        let deleted = said.iter().filter(|s| s.op == Op::Delete && alive(&s.key)).map(|s| s.key.clone());
        let keys: BTreeSet<String> = deleted.collect();
        self.last_data(keys.into_iter().collect()).await
    }

    pub(super) async fn last_data(&self, keys: Vec<String>) -> Result<BTreeMap<String, Value>, CanonicalError> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let entity = self.stream.mapping.entity();
        let data = self.store.last_data(self.work.lease.connection, &self.stream.stream, entity, &keys).await;
        data.map_err(|e| self.stored(e))
    }

    pub(super) fn event(
        &self,
        record_key: String,
        content: Content,
        origin: &Origin<'_>,
        at: DateTime<Utc>,
    ) -> CanonicalEvent {
        let Content { op, data, unknown_fields, hash } = content;
        CanonicalEvent {
            id: Uuid::nil(),
            position: 0,
            connection: self.work.lease.connection,
            connection_name: self.work.connection.clone(),
            stream: self.stream.stream.clone(),
            entity: self.stream.mapping.entity().to_owned(),
            system: self.work.mapping.system.clone(),
            record_key,
            op,
            data,
            unknown_fields,
            hash,
            extracted_at: origin.extracted_at,
            at,
            lineage: Lineage {
                raw_id: origin.raw_id.to_owned(),
                sync_id: origin.sync_id,
                catalog_version: self.work.catalog_version,
                mapping: self.work.mapping.digest.clone(),
                fields: self.stream.mapping.lineage().clone(),
            },
        }
    }
}

/// What the hash covers, and the hash.
pub(super) struct Content {
    pub op: Op,
    pub data: Value,
    pub unknown_fields: Value,
    pub hash: String,
}

/// The row an event comes from.
pub(super) struct Origin<'a> {
    pub raw_id: &'a str,
    pub sync_id: i64,
    pub extracted_at: DateTime<Utc>,
}

impl<'a> Origin<'a> {
    fn of(row: &'a LandingRow) -> Self {
        Self { raw_id: &row.raw_id, sync_id: row.sync_id, extracted_at: row.extracted_at }
    }
}

/// The hash of an event's content.
pub(super) fn hash_of(op: Op, data: &Value, unknown_fields: &Map<String, Value>) -> String {
    let empty = Map::new();
    content_hash(word(op), data.as_object().unwrap_or(&empty), unknown_fields)
}

fn word(op: Op) -> &'static str {
    match op {
        Op::Upsert => "upsert",
        Op::Delete => "delete",
    }
}
