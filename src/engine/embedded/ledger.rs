//! The ledger: one row per landing table, in the destination itself, changed only in the transaction that changes the
//! table.
//!
//! It holds how far the source is read, so rows and position are committed together or not at all: after a kill at any
//! point the next read goes on exactly behind the last landed row. A destination that is restored from a backup brings
//! its own position along. The registry keeps no position.

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::names::TableName;
use super::table::Column;
use crate::model::StreamName;

/// Serialises the creation of schemas and tables among daemons that share a destination.
const CREATE: &str = "
    SELECT pg_advisory_xact_lock(hashtextextended('aam landing ddl', 0));
    CREATE SCHEMA IF NOT EXISTS airbyte_internal;
    CREATE TABLE IF NOT EXISTS airbyte_internal.aam_engine_state (
        schema_name text NOT NULL, table_name text NOT NULL,
        connection uuid NOT NULL, namespace text, stream text NOT NULL,
        job bigint NOT NULL, finished boolean NOT NULL, rows bigint NOT NULL, bytes bigint NOT NULL,
        state jsonb, generation bigint NOT NULL, last_raw_id uuid, mark uuid, open_job bigint NOT NULL, indexed boolean NOT NULL, columns jsonb NOT NULL,
        PRIMARY KEY (schema_name, table_name))";

/// What is known of a landing table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The connection that writes it; no other may.
    pub connection: Uuid,
    /// The job that last wrote it.
    pub job: i64,
    /// Whether that job is done with it.
    pub finished: bool,
    /// Rows that this job committed.
    pub rows: i64,
    /// Bytes that this job committed.
    pub bytes: i64,
    /// Where the source is read up to.
    pub state: Option<Value>,
    /// `_airbyte_generation_id`
    pub generation: i64,
    /// The greatest raw id ever given.
    pub last_raw_id: Option<Uuid>,
    /// The greatest raw id when the source was read up to `state`: rows of the job beyond it are read again after a cut.
    pub mark: Option<Uuid>,
    /// The first job that may have landed rows beyond it.
    pub open_job: i64,
    /// Whether the table has its indexes.
    pub indexed: bool,
    /// Field → column.
    pub columns: Vec<Column>,
}

impl FromRow<'_, sqlx::postgres::PgRow> for Entry {
    fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            connection: row.try_get("connection")?,
            job: row.try_get("job")?,
            finished: row.try_get("finished")?,
            rows: row.try_get("rows")?,
            bytes: row.try_get("bytes")?,
            state: row.try_get::<Option<Json<Value>>, _>("state")?.map(|s| s.0),
            generation: row.try_get("generation")?,
            last_raw_id: row.try_get("last_raw_id")?,
            mark: row.try_get("mark")?,
            open_job: row.try_get("open_job")?,
            indexed: row.try_get("indexed")?,
            columns: row.try_get::<Json<Vec<Column>>, _>("columns")?.0,
        })
    }
}

/// Makes the schema of the table and the ledger itself. Within the caller's transaction.
pub async fn create(db: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let schema = crate::connector::postgres::ident(schema);
    let sql = format!("{CREATE}; CREATE SCHEMA IF NOT EXISTS {schema}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(db).await.map(|_| ())
}

/// Whether this destination has a ledger.
pub async fn exists(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('airbyte_internal.aam_engine_state') IS NOT NULL").fetch_one(db).await
}

/// The table's entry.
pub async fn load(db: &mut PgConnection, table: &TableName) -> Result<Option<Entry>, sqlx::Error> {
    let sql = "SELECT connection, job, finished, rows, bytes, state, generation, last_raw_id, mark, open_job, indexed, columns
               FROM airbyte_internal.aam_engine_state WHERE schema_name = $1 AND table_name = $2";
    sqlx::query_as(sql).bind(&table.schema).bind(&table.name).fetch_optional(db).await
}

/// The table of a stream within a schema.
pub async fn find(
    db: &mut PgConnection,
    schema: &str,
    stream: &StreamName,
) -> Result<Option<(TableName, Entry)>, sqlx::Error> {
    let sql =
        "SELECT connection, job, finished, rows, bytes, state, generation, last_raw_id, mark, open_job, indexed, columns, table_name
               FROM airbyte_internal.aam_engine_state
               WHERE schema_name = $1 AND stream = $2 AND namespace IS NOT DISTINCT FROM $3";
    let row = sqlx::query(sql).bind(schema).bind(&stream.name).bind(&stream.namespace).fetch_optional(db).await?;
    row.map(|row| {
        let table = TableName { schema: schema.to_owned(), name: row.try_get("table_name")? };
        Ok((table, Entry::from_row(&row)?))
    })
    .transpose()
}

/// Writes the entry whole.
pub async fn save(
    db: &mut PgConnection,
    table: &TableName,
    stream: &StreamName,
    entry: &Entry,
) -> Result<(), sqlx::Error> {
    let sql = "
        INSERT INTO airbyte_internal.aam_engine_state (schema_name, table_name, connection, namespace, stream, job,
            finished, rows, bytes, state, generation, last_raw_id, mark, open_job, indexed, columns)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        ON CONFLICT (schema_name, table_name) DO UPDATE SET
            connection = excluded.connection, namespace = excluded.namespace, stream = excluded.stream,
            job = excluded.job, finished = excluded.finished, rows = excluded.rows, bytes = excluded.bytes,
            state = excluded.state, generation = excluded.generation, last_raw_id = excluded.last_raw_id,
            mark = excluded.mark, open_job = excluded.open_job, indexed = excluded.indexed, columns = excluded.columns";
    sqlx::query(sql)
        .bind(&table.schema)
        .bind(&table.name)
        .bind(entry.connection)
        .bind(&stream.namespace)
        .bind(&stream.name)
        .bind(entry.job)
        .bind(entry.finished)
        .bind(entry.rows)
        .bind(entry.bytes)
        .bind(entry.state.as_ref().map(Json))
        .bind(entry.generation)
        .bind(entry.last_raw_id)
        .bind(entry.mark)
        .bind(entry.open_job)
        .bind(entry.indexed)
        .bind(Json(&entry.columns))
        .execute(db)
        .await
        .map(|_| ())
}
