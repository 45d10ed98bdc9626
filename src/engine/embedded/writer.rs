//! Writing batches into a landing table: COPY, and where values do not fit, a slow way that nulls exactly those.

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::postgres::PgConnection;

use super::names::TableName;
use super::raw_id::RawIds;
use super::table::{Column, META, column_list};
use crate::connector::Batch;
use crate::connector::postgres::{ident, literal};

/// COPY data goes to the server in pieces of this size.
const PIECE: usize = 256 << 10;

/// Everything a batch needs beside its rows.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// The job: `sync_id` in `_airbyte_meta`.
    pub job: i64,
    /// `_airbyte_generation_id`
    pub generation: i64,
    /// `_airbyte_extracted_at`
    pub at: DateTime<Utc>,
    /// The data columns.
    pub columns: &'a [Column],
}

impl Frame<'_> {
    fn meta(&self) -> String {
        format!(r#"{{"changes": [], "sync_id": {}}}"#, self.job)
    }

    fn extracted(&self) -> String {
        self.at.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// The batch as COPY text with the meta columns before each row's own.
    pub fn rows(&self, batch: &Batch, ids: &mut RawIds) -> Vec<u8> {
        let meta = format!("\t{}\t{}\t{}\t", self.extracted(), self.meta(), self.generation);
        let count = usize::try_from(batch.count).unwrap_or(0);
        let mut out = Vec::with_capacity(batch.rows.len() + count * (meta.len() + 36));
        ids.refresh();
        for line in batch.rows.split_inclusive(|b| *b == b'\n') {
            ids.push_next(&mut out);
            out.extend_from_slice(meta.as_bytes());
            out.extend_from_slice(line);
        }
        out
    }
}

/// Sends COPY text. Nothing here is cancelled midway: on an error the COPY is ended before returning.
async fn copy(db: &mut PgConnection, sql: &str, data: &[u8]) -> Result<(), sqlx::Error> {
    let mut copy = db.copy_in_raw(sql).await?;
    for piece in data.chunks(PIECE) {
        if let Err(error) = copy.send(piece).await {
            let _ = copy.abort("the data could not be sent").await; // the first error is the one to tell
            return Err(error);
        }
    }
    copy.finish().await.map(|_| ())
}

/// Whether the server refused the data, not the connection or the statement.
fn is_about_values(error: &sqlx::Error) -> bool {
    // 22 data exception, 23 constraint, 54000 too large
    error.as_database_error().and_then(|e| e.code()).is_some_and(|c| c.starts_with("22") || c == "54000")
}

/// Loads a batch into `target` (quoted), within the caller's transaction.
pub async fn load(db: &mut PgConnection, target: &str, frame: &Frame<'_>, data: &[u8]) -> Result<(), sqlx::Error> {
    let sql = format!("COPY {target} ({}) FROM STDIN", column_list(frame.columns));
    sqlx::raw_sql("SAVEPOINT fast").execute(&mut *db).await?;
    match copy(db, &sql, data).await {
        Err(error) if is_about_values(&error) => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT fast").execute(&mut *db).await?;
            load_what_fits(db, target, frame, data).await
        }
        other => other,
    }
}

/// Tells whether a text is a value of a type, by asking the type itself. One function per type of the table.
fn fits_function(sql_type: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION pg_temp.{}(v text) RETURNS boolean LANGUAGE plpgsql AS $f$
         BEGIN PERFORM v::{sql_type}; RETURN true; EXCEPTION WHEN data_exception OR program_limit_exceeded
         THEN RETURN false; END $f$;",
        fits(sql_type)
    )
}

fn fits(sql_type: &str) -> String {
    ident(&format!("aam_fits {sql_type}"))
}

/// Loads the rows as text first, then what fits its column; what does not becomes null and is noted in the row's meta.
async fn load_what_fits(
    db: &mut PgConnection,
    target: &str,
    frame: &Frame<'_>,
    data: &[u8],
) -> Result<(), sqlx::Error> {
    let names: Vec<String> = (0..META.len() + frame.columns.len()).map(|i| format!("c{i}")).collect();
    let mut setup = fits_function("numeric");
    for ty in frame.columns.iter().map(|c| c.sql_type.as_str()).collect::<std::collections::BTreeSet<_>>() {
        setup.push_str(&fits_function(ty));
    }
    setup.push_str(&format!("CREATE TEMP TABLE aam_text ({} text) ON COMMIT DROP", names.join(" text, ")));
    sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(&mut *db).await?;
    copy(db, "COPY pg_temp.aam_text FROM STDIN", data).await?;
    let insert = insert_what_fits(target, frame.columns, &names);
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut *db).await?;
    sqlx::raw_sql("DROP TABLE pg_temp.aam_text").execute(db).await.map(|_| ())
}

fn insert_what_fits(target: &str, columns: &[Column], names: &[String]) -> String {
    let (mut values, mut changes) = (Vec::new(), Vec::new());
    for (column, raw) in columns.iter().zip(&names[META.len()..]) {
        let ty = &column.sql_type;
        if ty == "character varying" {
            values.push(raw.clone());
            continue;
        }
        let fit = format!("pg_temp.{}({raw})", fits(ty));
        values.push(format!("CASE WHEN {fit} THEN {raw}::{ty} END"));
        let reason = if ty == "bigint" {
            let whole = format!("pg_temp.{}({raw})", fits("numeric"));
            format!(
                "CASE WHEN {whole} AND {raw} !~ '[.eENn]' THEN 'DESTINATION_FIELD_SIZE_LIMITATION' \
                 ELSE 'DESTINATION_SERIALIZATION_ERROR' END"
            )
        } else {
            "'DESTINATION_SERIALIZATION_ERROR'".to_owned()
        };
        changes.push(format!(
            "CASE WHEN {raw} IS NOT NULL AND NOT {fit} THEN \
             jsonb_build_object('field', {}::text, 'change', 'NULLED', 'reason', {reason}) END",
            literal(&column.field)
        ));
    }
    let changes = if changes.is_empty() { "NULL::jsonb".to_owned() } else { changes.join(", ") };
    let meta = format!("jsonb_set(c2::jsonb, '{{changes}}', to_jsonb(array_remove(ARRAY[{changes}]::jsonb[], NULL)))");
    let first = ["c0", "c1::timestamptz", &meta, "c3::bigint"];
    let select = first.into_iter().map(str::to_owned).chain(values).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {target} ({}) SELECT {select} FROM pg_temp.aam_text", column_list(columns))
}

/// The statement that merges the staged rows into the table: of each key the row with the greatest cursor, nulls last,
/// then the one delivered last. A row in the table goes only for one that is at least as new.
pub fn merge(table: &TableName, stage: &str, columns: &[Column], key: &[String], cursor: Option<&str>) -> String {
    let all = column_list(columns);
    let key: Vec<String> = key.iter().map(|k| ident(k)).collect();
    let same = key.iter().map(|k| format!("t.{k} = b.{k}")).collect::<Vec<_>>().join(" AND ");
    let newest = cursor.map(|c| format!("{} DESC NULLS LAST, ", ident(c))).unwrap_or_default();
    let newer = cursor.map(|c| {
        let c = ident(c);
        format!(" AND (t.{c} IS NULL OR b.{c} >= t.{c})")
    });
    let names = META.iter().map(|(name, _)| *name).chain(columns.iter().map(|c| c.name.as_str())).map(ident);
    let set = names.map(|c| format!("{c} = b.{c}")).collect::<Vec<_>>().join(", ");
    let keys = key.join(", ");
    format!(
        "WITH b AS MATERIALIZED (SELECT DISTINCT ON ({keys}) * FROM {stage} \
           ORDER BY {keys}, {newest}_airbyte_extracted_at DESC, _airbyte_raw_id COLLATE \"C\" DESC), \
         u AS (UPDATE {t} t SET {set} FROM b WHERE {same}{newer}) \
         INSERT INTO {t} ({all}) SELECT {all} FROM b WHERE NOT EXISTS (SELECT FROM {t} t WHERE {same})",
        t = table.sql(),
        newer = newer.unwrap_or_default(),
    )
}
