//! Rows that Airbyte's PostgreSQL destination landed, as the canonical pipeline wants them.
//!
//! `destination` is the database as Airbyte's settings describe it, `tables` finds a stream's table in any of the forms
//! that the destination writes, `cursor` knows what of it was given already, `read` asks for the rest. Airbyte's tables are
//! only ever read: nothing is added to them, and no lock is held longer than one page takes.

mod cursor;
mod destination;
mod read;
mod tables;

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;

pub use self::destination::told;

use self::cursor::Mark;
use self::destination::Destination;
use self::read::Reading;
use self::tables::candidates;
use crate::connector::failure;
use crate::ports::{
    EngineError, LandedStream, Landing, LandingCursor, LandingPage, LandingPlace, LandingRow, Newest, NewestRows,
    Remedy,
};

/// Reads what Airbyte's `destination-postgres` landed, of version 2 or 3. Keeps nothing: each call connects anew.
#[derive(Debug, Clone, Copy, Default)]
pub struct AirbyteLanding;

#[async_trait]
impl Landing for AirbyteLanding {
    async fn read(
        &self,
        place: &LandingPlace,
        stream: LandedStream<'_>,
        after: Option<&LandingCursor>,
        limit: u32,
    ) -> Result<LandingPage, EngineError> {
        let mark = match after {
            Some(cursor) => cursor.read::<Option<Mark>>().map_err(|why| {
                failure(&place.destination, format!("reading landing of {}", stream.name), &why, Remedy::Person)
            })?,
            None => None,
        };
        let destination = Destination::open(&place.destination)?;
        let tables = candidates(place, &destination, stream.name);
        let Some(mut reading) = Reading::begin(&destination, &tables, stream).await? else {
            let next = after.cloned().unwrap_or(LandingCursor(Value::Null));
            return Ok(LandingPage { rows: Vec::new(), next, done: true });
        };
        let page = reading.page(mark, limit).await;
        reading.end().await;
        page
    }

    async fn keys(&self, place: &LandingPlace, stream: LandedStream<'_>) -> Result<Vec<Vec<Value>>, EngineError> {
        let destination = Destination::open(&place.destination)?;
        let tables = candidates(place, &destination, stream.name);
        let Some(mut reading) = Reading::begin(&destination, &tables, stream).await? else { return Ok(Vec::new()) };
        let keys = reading.keys().await;
        reading.end().await;
        keys
    }
}

#[async_trait]
impl NewestRows for AirbyteLanding {
    async fn newest(
        &self,
        place: &LandingPlace,
        stream: LandedStream<'_>,
        wanted: Newest<'_>,
        fields: &BTreeSet<String>,
        limit: u32,
    ) -> Result<Vec<LandingRow>, EngineError> {
        let destination = Destination::open(&place.destination)?;
        let tables = candidates(place, &destination, stream.name);
        let Some(mut reading) = Reading::begin(&destination, &tables, stream).await? else { return Ok(Vec::new()) };
        let rows = reading.newest(wanted, fields, limit).await;
        reading.end().await;
        rows
    }
}
