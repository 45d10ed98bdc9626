//! Deletes derived from a table that was replaced: what has a live event but no row any more is gone at the source.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::page::{Content, Origin, hash_of};
use super::{CanonicalError, PAGE, Run};
use crate::mapping::key_text;
use crate::ports::{EventBatch, Landing, Op};

impl Run<'_> {
    /// Appends a delete for each live record without a row; gives how many. Called when all rows are read.
    pub(super) async fn derive_deletes(&self, landing: &dyn Landing, job: i64) -> Result<u64, CanonicalError> {
        let (work, stream, entity) = (self.work, &self.stream.stream, self.stream.mapping.entity());
        let live = self.store.live_keys(work.lease.connection, stream, entity).await;
        let mut gone = live.map_err(|e| self.stored(e))?;
        if gone.is_empty() {
            return Ok(0);
        }
        let rows = landing.keys(work.place, self.landed_stream()).await;
        let rows = rows.map_err(|e| self.landed(e))?;
        // a row whose key cannot be one lies in the dead letters and never had an event
        let present: HashSet<String> = rows.iter().filter_map(|key| key_text(key.iter().map(Some)).ok()).collect();
        gone.retain(|key| !present.contains(key));
        gone.sort_unstable(); // the same order in each run, so that a run cut short is continued with the same positions
        for keys in gone.chunks(PAGE as usize) {
            self.append_deletes(keys, job).await?;
        }
        Ok(gone.len() as u64)
    }

    async fn append_deletes(&self, keys: &[String], job: i64) -> Result<(), CanonicalError> {
        let (stream, entity) = (&self.stream.stream, self.stream.mapping.entity());
        let heads = self.store.heads(self.work.lease.connection, stream, entity, keys).await;
        let mut heads = heads.map_err(|e| self.stored(e))?;
        let mut data = self.last_data(keys.to_vec()).await?;
        let now = self.clock.now();
        let read_by = self.stream.mapping.digest().to_owned();
        let mut batch = EventBatch { overtaken: keys.to_vec(), read_by, ..EventBatch::default() };
        for key in keys {
            let raw_id = heads.remove(key).map(|head| head.raw_id).unwrap_or_default();
            let data = data.remove(key).unwrap_or_else(|| Value::Object(Map::new()));
            let hash = hash_of(Op::Delete, &data, &Map::new());
            let content = Content { op: Op::Delete, data, unknown_fields: Value::Object(Map::new()), hash };
            let origin = Origin { raw_id: &raw_id, sync_id: job, extracted_at: now };
            batch.events.push(self.event(key.clone(), content, &origin, now));
        }
        self.append(&batch).await
    }
}
