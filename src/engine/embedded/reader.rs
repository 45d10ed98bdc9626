//! Reading landed rows, page by page, as the canonical pipeline wants them.
//!
//! The order is that of delivery. Raw ids grow strictly within a table over all jobs (see `raw_id`), so (sync id, raw id)
//! and raw id alone order rows alike, and one index serves. A row that is written again (dedup, overwrite) gets a new raw
//! id, so "greater than the last raw id read" is exactly what came since: no row can appear below it later, because a
//! page is only read while no job of the connection runs, and ids are given within the writing transaction of the
//! one writer of the table.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Row};

use super::EmbeddedEngine;
use super::destination::Destination;
use super::ledger::{self, Entry};
use super::names::{Naming, TableName};
use super::table::{self, Column};
use crate::connector::postgres::{ident, literal};
use crate::connector::{database_error, failure};
use crate::model::{FieldPath, StreamName, quote_name};
use crate::ports::{
    EndpointHandle, EngineError, LandedStream, Landing, LandingCursor, LandingPage, LandingPlace, LandingRow, Remedy,
};

/// What is inside a [`LandingCursor`]: the last row read.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    sync_id: i64,
    raw_id: String,
}

/// Stands for "nothing read yet": below every id.
const NOTHING: &str = "";

#[async_trait]
impl Landing for EmbeddedEngine {
    async fn read(
        &self,
        place: &LandingPlace,
        stream: LandedStream<'_>,
        after: Option<&LandingCursor>,
        limit: u32,
    ) -> Result<LandingPage, EngineError> {
        let (destination, stream) = (&place.destination, stream.name);
        let mark = match after {
            Some(cursor) => cursor
                .read()
                .map_err(|why| failure(destination, format!("reading landing of {stream}"), &why, Remedy::Person))?,
            None => Mark { sync_id: 0, raw_id: NOTHING.to_owned() },
        };
        let wrong = |e: sqlx::Error| database_error(destination, format!("reading landing of {stream}"), &e);
        let Some((pool, table, entry)) = self.landed(destination, stream).await? else {
            return Ok(LandingPage { rows: Vec::new(), next: cursor(&mark), done: true });
        };
        // the one statement takes its snapshot after it has its lock: it never sees a swapped table as empty
        let sql = page(&table, &entry.columns);
        // what a job landed behind its last position, before it was cut off, may be taken out again
        let open = (!entry.finished).then(|| entry.mark.map(|mark| mark.to_string()).unwrap_or_default());
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).bind(&mark.raw_id).bind(i64::from(limit));
        let query = query.bind(open).bind(entry.open_job).bind(entry.job);
        let rows = query.fetch_all(&pool).await.map_err(wrong)?;
        let rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let done = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows.last().map(|r| Mark { sync_id: r.sync_id, raw_id: r.raw_id.clone() }).unwrap_or(mark);
        Ok(LandingPage { next: cursor(&next), rows, done })
    }

    async fn keys(&self, place: &LandingPlace, stream: LandedStream<'_>) -> Result<Vec<Vec<Value>>, EngineError> {
        let (destination, key, stream) = (&place.destination, stream.key, stream.name);
        let what = || format!("reading keys of {stream}");
        let wrong = |e: sqlx::Error| database_error(destination, what(), &e);
        let Some((pool, table, entry)) = self.landed(destination, stream).await? else { return Ok(Vec::new()) };
        let parts: Vec<String> =
            key.iter().map(|path| key_part(path, &entry.columns)).collect::<Result<_, _>>().map_err(|path| {
                let why = format!("the key {path} is not among the fields that landed");
                failure(destination, what(), &why, Remedy::Person)
            })?;
        let sql = format!("SELECT json_build_array({}) FROM {}", parts.join(", "), table.sql());
        let query = sqlx::query_scalar::<_, Json<Vec<Value>>>(sqlx::AssertSqlSafe(sql)).persistent(false);
        Ok(query.fetch_all(&pool).await.map_err(wrong)?.into_iter().map(|k| k.0).collect())
    }
}

fn cursor(mark: &Mark) -> LandingCursor {
    LandingCursor(serde_json::to_value(mark).expect("a mark is plain data"))
}

fn row(row: &PgRow) -> Result<LandingRow, sqlx::Error> {
    let data: String = row.try_get(3)?;
    Ok(LandingRow {
        raw_id: row.try_get(0)?,
        extracted_at: row.try_get::<DateTime<Utc>, _>(1)?,
        sync_id: row.try_get(2)?,
        data: RawValue::from_string(data).map_err(|e| sqlx::Error::Decode(e.into()))?,
    })
}

/// A key value as JSON; a path into an object goes through its JSON.
fn key_part(path: &FieldPath, columns: &[Column]) -> Result<String, FieldPath> {
    let column = columns.iter().find(|c| c.field == path.root()).ok_or_else(|| path.clone())?;
    let mut sql = format!("to_json({})", ident(&column.name));
    for segment in &path.segments()[1..] {
        let crate::model::Segment::Name(name) = segment else { return Err(path.clone()) };
        sql.push_str(&format!(" -> {}::text", literal(name)));
    }
    Ok(sql)
}

/// One page of rows, each with its data as one JSON object built by the server: numbers stay exact.
/// An array instead of a row type, because field names may be longer than a column name can be.
fn page(table: &TableName, columns: &[Column]) -> String {
    let part = |c: &Column| {
        let key = serde_json::to_string(&c.field).expect("a text is JSON");
        let value = match c.sql_type.as_str() {
            "jsonb" => format!("{}::text", ident(&c.name)),
            _ => format!("to_json({})::text", ident(&c.name)),
        };
        format!("{} || coalesce({value}, 'null')", literal(&format!("{key}:")))
    };
    let parts = columns.iter().map(part).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT _airbyte_raw_id, _airbyte_extracted_at, coalesce((_airbyte_meta ->> 'sync_id')::bigint, 0), \
                '{{' || array_to_string(ARRAY[{parts}]::text[], ',') || '}}' \
         FROM {} WHERE _airbyte_raw_id COLLATE \"C\" > $1 \
             AND ($3::text IS NULL OR _airbyte_raw_id COLLATE \"C\" <= $3 \
                  OR coalesce((_airbyte_meta ->> 'sync_id')::bigint, 0) NOT BETWEEN $4 AND $5) \
         ORDER BY _airbyte_raw_id COLLATE \"C\" LIMIT $2",
        table.sql()
    )
}

impl EmbeddedEngine {
    /// The landing table of a stream, if it exists.
    pub(super) async fn landed(
        &self,
        destination: &EndpointHandle,
        stream: &StreamName,
    ) -> Result<Option<(PgPool, TableName, Entry)>, EngineError> {
        let opened = Destination::open(destination)?;
        let wrong = |e: sqlx::Error| database_error(destination, format!("reading landing of {stream}"), &e);
        let pool = self.landing_pool(&opened);
        let mut db = pool.acquire().await.map_err(wrong)?;
        if !ledger::exists(&mut db).await.map_err(wrong)? {
            return Ok(None);
        }
        let schema = Naming::Hashed.identifier(&opened.schema_of(stream));
        let Some((table, mut entry)) = ledger::find(&mut db, &schema, stream).await.map_err(wrong)? else {
            return Ok(None);
        };
        let existing = table::existing(&mut db, &table).await.map_err(wrong)?;
        // an unfinished replacement: the ledger knows the new columns already, the table still has the old ones
        entry.columns.retain(|c| existing.iter().any(|(name, _)| *name == c.name));
        for column in &mut entry.columns {
            if let Some((_, sql_type)) = existing.iter().find(|(name, _)| *name == column.name) {
                column.sql_type.clone_from(sql_type);
            }
        }
        tracing::debug!(stream = %stream, table = %quote_name(&table.name), "reading landing of {stream}");
        Ok((!existing.is_empty()).then_some((pool, table, entry)))
    }
}
