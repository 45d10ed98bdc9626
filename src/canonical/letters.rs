//! Dead letters: why a row became one, and its way back when the mapping that refused it has changed.
//!
//! A letter lies behind the last mapped row of its record, always: a row that is mapped takes older letters of its record with
//! it. So what is mapped again, in the order of landing and before any newer row, is never older than what there is.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{CanonicalError, PAGE, Replayed, Run};
use crate::mapping::Rejected;
use crate::model::FieldPath;
use crate::ports::{DeadLetter, LandingRow};

impl Run<'_> {
    /// Maps again what another mapping refused. Each batch is one transaction: its letters go, or say why they stay, together
    /// with the events that they become.
    pub(super) async fn replay(&self) -> Result<Replayed, CanonicalError> {
        let (connection, stream) = (self.work.lease.connection, &self.stream.stream);
        let (entity, digest) = (self.stream.mapping.entity(), self.stream.mapping.digest());
        let mut replayed = Replayed::default();
        let mut after = 0;
        loop {
            let letters = self.store.refused_by_others(connection, stream, entity, digest, after, PAGE).await;
            let letters = letters.map_err(|e| self.stored(e))?;
            let Some((last, _)) = letters.last() else { return Ok(replayed) };
            after = *last;
            let rows: Vec<LandingRow> = letters.into_iter().map(|(_, letter)| landed_row(letter)).collect();
            let (mut batch, counts) = self.map_page(&rows, true).await?;
            let stay: HashSet<&str> = batch.dead_letters.iter().map(|letter| letter.raw_id.as_str()).collect();
            let go = rows.iter().filter(|row| !stay.contains(row.raw_id.as_str()));
            batch.answered = go.map(|row| row.raw_id.clone()).collect();
            self.append(&batch).await?;
            replayed.letters += counts.rows;
            replayed.events += counts.upserts + counts.deletes;
            replayed.stay += counts.dead_letters;
        }
    }

    pub(super) fn dead_letter(
        &self,
        row: &LandingRow,
        rejected: Rejected,
        again: bool,
        at: DateTime<Utc>,
    ) -> DeadLetter {
        let raw = row.data.get();
        // a record that is no readable JSON (half a surrogate pair, too deep) is kept as its text
        let record = serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.to_owned()));
        let mut reasons = rejected.reasons.clone();
        reasons.extend(self.why_it_lacks(&rejected, &record, again));
        DeadLetter {
            stream: self.stream.stream.clone(),
            entity: self.stream.mapping.entity().to_owned(),
            raw_id: row.raw_id.clone(),
            record_key: rejected.key,
            reason: reasons.join("\n"),
            record,
            at,
            extracted_at: row.extracted_at,
            sync_id: row.sync_id,
            mapping: self.work.mapping.digest.clone(),
            refused_by: self.stream.mapping.digest().to_owned(),
        }
    }

    /// What is known of the values that a record has not, and what brings them: one reason for each field.
    fn why_it_lacks(&self, rejected: &Rejected, record: &Value, again: bool) -> Vec<String> {
        let refresh = format!("`aam sync {} --refresh {}`", self.work.connection, self.stream.stream);
        let reason = |path: &FieldPath| {
            let gone = self.stream.gone.iter().find(|(gone, _)| path.is_within(gone));
            if let Some((_, drift)) = gone {
                return Some(format!(
                    "`{path}` is gone at the source: drift {drift}. When its repair is in force, {refresh} reads the record again"
                ));
            }
            // a row has all fields that its sync carried, null or not; but where rows land as JSON the source may leave some out
            let landed_without = again && record.as_object().is_some_and(|record| !record.contains_key(path.root()));
            landed_without
                .then(|| format!("`{path}` was not carried yet when the row landed: {refresh} reads it again"))
        };
        rejected.lacks.iter().filter_map(reason).collect()
    }
}

/// The row that a letter was.
fn landed_row(letter: DeadLetter) -> LandingRow {
    let text = match &letter.record {
        Value::String(text) => text.clone(), // as `dead_letter` keeps what it cannot read
        record => record.to_string(),
    };
    let data = RawValue::from_string(text)
        .unwrap_or_else(|_| to_raw_value(&letter.record).expect("JSON values always serialize"));
    LandingRow { raw_id: letter.raw_id, extracted_at: letter.extracted_at, sync_id: letter.sync_id, data }
}
