//! One short transaction on one table: a page of rows, or all keys.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection, Row};

use super::cursor::{Identity, Mark, Pass, Position, Seen};
use super::destination::Destination;
use super::tables::{Candidate, Table, find};
use crate::connector::postgres::{ident, literal};
use crate::connector::{database_error, failure};
use crate::model::{FieldPath, Segment};
use crate::ports::{EngineError, LandedStream, LandingCursor, LandingPage, LandingRow, Newest, Remedy};

/// The lock comes before the snapshot: an older snapshot would show a table that was swapped in since as empty, without an
/// error. An open reader keeps Airbyte from replacing the table, so one that gets no lock or no end soon gives up.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '5min';
    SET LOCAL search_path = ''; SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex';
    SET LOCAL standard_conforming_strings = on; SET LOCAL client_encoding = 'UTF8'";

/// So much of the newest rows is read at most: whoever compares them holds them in memory.
const MOST_BYTES: usize = 32 << 20;

/// A stream's table, locked against being swapped.
pub struct Reading<'a> {
    destination: &'a Destination<'a>,
    stream: LandedStream<'a>,
    db: PgConnection,
    server: String,
    table: Table,
    /// The oldest transaction that runs.
    oldest: i64,
    /// The newest that the snapshot may show.
    newest: i64,
}

impl<'a> Reading<'a> {
    /// Finds the stream's table and locks it; `None` if there is none yet.
    pub async fn begin(
        destination: &'a Destination<'a>,
        candidates: &[Candidate],
        stream: LandedStream<'a>,
    ) -> Result<Option<Self>, EngineError> {
        let mut db = destination.connect().await?;
        let what = || format!("reading landing of {}", stream.name);
        let wrong = |e: sqlx::Error| database_error(destination.endpoint, what(), &e);
        let Some(table) = find(&mut db, candidates).await.map_err(wrong)? else { return Ok(None) };
        let server = server(&mut db).await.map_err(wrong)?;
        let sql = format!("{BEGIN}; LOCK TABLE {} IN ACCESS SHARE MODE", table.name.sql());
        if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut db).await {
            let is_refused = error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("42501"));
            return Err(if is_refused { refused(destination, what(), &error, &table) } else { wrong(error) });
        }
        let candidate = Candidate { name: table.name, is_raw: table.is_raw };
        let Some(table) = find(&mut db, &[candidate]).await.map_err(wrong)? else {
            let why = "its table was changed at this moment";
            return Err(failure(destination.endpoint, what(), why, Remedy::Retry));
        };
        let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                          pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1";
        let row = sqlx::query(sql).persistent(false).fetch_one(&mut db).await.map_err(wrong)?;
        let (oldest, newest) = (row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?);
        tracing::debug!(stream = %stream.name, table = %table.name.sql(), "reading landing of {}", stream.name);
        Ok(Some(Self { destination, stream, db, server, table, oldest, newest }))
    }

    /// Gives the lock and the connection back.
    pub async fn end(self) {
        // what is read is read; an end that fails ends, too
        drop(self.db.close().await);
    }

    /// The next page after the mark.
    pub async fn page(&mut self, mark: Option<Mark>, limit: u32) -> Result<LandingPage, EngineError> {
        let table = Identity { server: self.server.clone(), oid: self.table.oid, file: self.table.file };
        let mut mark = match mark {
            Some(mark) => mark.for_table(table, self.oldest),
            None => Mark::new(table, None),
        };
        let is_first = mark.pass.is_none();
        let pass = match mark.pass.take() {
            Some(pass) => pass,
            None => {
                let (rows, seen) = self.look(&mark).await?;
                if rows == 0 {
                    if mark.is_aging(self.oldest) {
                        mark.given = Some(seen);
                    }
                    return Ok(LandingPage { rows: Vec::new(), next: cursor(&mark), done: true });
                }
                if !self.needs_newest_only(&mark).await? {
                    mark.again = None;
                }
                Pass { seen, after: None }
            }
        };
        let sql = self.page_sql(&mark, &pass, limit);
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_all(&mut self.db).await;
        let rows = rows.map_err(|e| self.wrong(&e))?;
        let given = rows.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let is_whole = given == rows.len();
        let after = rows[..given].last().map(position).transpose().map_err(|e| self.wrong(&e))?;
        let rows = rows[..given].iter().map(row).collect::<Result<_, _>>().map_err(|e| self.wrong(&e))?;
        if is_whole {
            (mark.given, mark.again) = (Some(pass.seen), None);
        } else {
            mark.pass = Some(Pass { after: after.or(pass.after), ..pass });
        }
        // what was changed since the pass began is for the next one to find
        Ok(LandingPage { rows, next: cursor(&mark), done: is_whole && is_first })
    }

    /// The key values of every row but those marked as deleted.
    pub async fn keys(&mut self) -> Result<Vec<Vec<Value>>, EngineError> {
        let key = self.key()?.ok_or_else(|| self.failed("the stream has no key"))?;
        let deleted = "_ab_cdc_deleted_at";
        let alive = match self.table.is_raw {
            true => format!("_airbyte_data ->> '{deleted}' IS NULL"),
            false if self.table.has(deleted) => format!("{deleted} IS NULL"),
            false => "true".to_owned(),
        };
        let sql = format!("SELECT {key} FROM {} WHERE {alive}", self.table.name.sql());
        let query = sqlx::query_scalar::<_, Json<Vec<Value>>>(sqlx::AssertSqlSafe(sql)).persistent(false);
        let keys = query.fetch_all(&mut self.db).await.map_err(|e| self.wrong(&e))?;
        Ok(keys.into_iter().map(|key| key.0).collect())
    }

    /// These fields of the newest rows of those that are wanted, the newest first; as many as [`MOST_BYTES`] hold.
    pub async fn newest(
        &mut self,
        wanted: Newest<'_>,
        fields: &BTreeSet<String>,
        limit: u32,
    ) -> Result<Vec<LandingRow>, EngineError> {
        let (table, at, job) = (self.table.name.sql(), self.at(), self.job());
        let condition = match wanted {
            Newest::After(after) => format!("{job} > {after}"),
            Newest::Holding(fields) => {
                let holds: Vec<String> = match self.table.is_raw {
                    true => fields.iter().map(|f| format!("_airbyte_data ->> {} IS NOT NULL", literal(f))).collect(),
                    false => {
                        let columns = self.table.columns_of(self.stream.fields).into_iter();
                        let held = columns.filter(|(field, _)| fields.contains(field));
                        held.map(|(_, column)| format!("{} IS NOT NULL", ident(&column))).collect()
                    }
                };
                if holds.is_empty() {
                    return Ok(Vec::new());
                }
                holds.join(" OR ")
            }
        };
        let sql = format!(
            "SELECT _airbyte_raw_id, {at} AS shown_at, {job} AS job, {} AS data FROM {table} WHERE {condition} \
             ORDER BY {at} DESC, ctid DESC LIMIT {limit}",
            self.data_of(fields)
        );
        let rows = read_newest(&mut self.db, sql).await;
        rows.map_err(|e| self.wrong(&e))
    }

    /// How many rows are new, and what this snapshot shows.
    async fn look(&mut self, mark: &Mark) -> Result<(i64, Seen), EngineError> {
        let (xid, oldest) = (self.xid(), self.oldest);
        let sql = format!(
            "SELECT count(*) FILTER (WHERE {}),
                    coalesce(array_agg(DISTINCT {xid}) FILTER (WHERE {xid} >= {oldest}), '{{}}'), coalesce(max({}), 0)
             FROM {}",
            self.is_new(mark),
            self.job(),
            self.table.name.sql()
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(&mut self.db).await;
        let read = |row: PgRow| {
            let job = row.try_get::<i64, _>(2)?.max(mark.again.unwrap_or(0));
            let job = job.max(mark.given.as_ref().map_or(0, |given| given.job));
            Ok((row.try_get(0)?, Seen { below: oldest, also: row.try_get(1)?, job }))
        };
        row.and_then(read).map_err(|e| self.wrong(&e))
    }

    /// Whether rows were given before, out of another table, that are not the newest of their record.
    async fn needs_newest_only(&mut self, mark: &Mark) -> Result<bool, EngineError> {
        // without its key's columns each row is a record
        let (Some(again), Ok(Some(key))) = (mark.again, self.key()) else { return Ok(false) };
        let (table, job) = (self.table.name.sql(), self.job());
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {table} WHERE {job} <= {again})
                AND EXISTS (SELECT FROM {table} GROUP BY {key} HAVING count(*) > 1)"
        );
        let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(&mut self.db).await;
        found.map_err(|e| self.wrong(&e))
    }

    /// One row more than asked for, so that the end is known. Oldest first, and within a batch as it was written. No
    /// column given has the name of one that is ordered by, or its text would be.
    fn page_sql(&self, mark: &Mark, pass: &Pass, limit: u32) -> String {
        let (table, at, job) = (self.table.name.sql(), self.at(), self.job());
        let mut conditions = vec![pass.seen.holds(&self.xid()), self.is_new(mark)];
        if let Some(Position { at: last, ctid }) = &pass.after {
            let (last, ctid) = (literal(last), literal(ctid));
            // the first half can use Airbyte's index
            conditions.push(format!("{at} >= {last} AND ({at}, ctid) > ({last}::timestamptz, {ctid}::tid)"));
        }
        if let (Some(again), Ok(Some(key))) = (mark.again, self.key()) {
            conditions.push(format!(
                "({job} > {again} OR ctid IN (SELECT DISTINCT ON ({key}) ctid FROM {table} \
                 ORDER BY {key}, {at} DESC, ctid DESC))"
            ));
        }
        format!(
            "SELECT _airbyte_raw_id, {at} AS shown_at, {job} AS job, {} AS data, {at}::text AS place_at, ctid::text AS place \
             FROM {table} WHERE {} ORDER BY {at}, ctid LIMIT {}",
            self.data(),
            conditions.join(" AND "),
            i64::from(limit) + 1
        )
    }

    /// The transaction that wrote a row, in full: `xmin` shows its lower half.
    fn xid(&self) -> String {
        let newest = self.newest;
        format!("({newest} - (({newest} - xmin::text::bigint) & 4294967295))")
    }

    fn is_new(&self, mark: &Mark) -> String {
        mark.given.as_ref().map_or("true".to_owned(), |given| format!("NOT {}", given.holds(&self.xid())))
    }

    fn at(&self) -> &'static str {
        match self.table.never_null("_airbyte_extracted_at") {
            true => "_airbyte_extracted_at",
            false => "coalesce(_airbyte_extracted_at, 'epoch')",
        }
    }

    /// The job that delivered a row; 0 where old rows do not say.
    fn job(&self) -> &'static str {
        match self.table.has("_airbyte_meta") {
            true => {
                "(CASE WHEN jsonb_typeof(_airbyte_meta -> 'sync_id') = 'number' \
                  THEN (_airbyte_meta ->> 'sync_id')::bigint ELSE 0 END)"
            }
            false => "0::bigint",
        }
    }

    /// A row's data as one JSON object built by the server: numbers stay exact.
    fn data(&self) -> String {
        if self.table.is_raw {
            return "coalesce(_airbyte_data::text, '{}')".to_owned();
        }
        let columns = self.table.columns_of(self.stream.fields).into_iter();
        object(columns.map(|(field, column)| (field, self.value(&column))))
    }

    /// The same, of these fields only.
    fn data_of(&self, fields: &BTreeSet<String>) -> String {
        if self.table.is_raw {
            return object(fields.iter().map(|f| (f.clone(), format!("(_airbyte_data -> {})::text", literal(f)))));
        }
        let columns = self.table.columns_of(self.stream.fields).into_iter().filter(|(field, _)| fields.contains(field));
        object(columns.map(|(field, column)| (field, self.value(&column))))
    }

    fn value(&self, column: &str) -> String {
        match self.table.is_json(column) {
            true => format!("{}::text", ident(column)),
            false => format!("to_json({})::text", ident(column)),
        }
    }

    /// The key values as a JSON list; `None` if the stream has no key.
    fn key(&self) -> Result<Option<String>, EngineError> {
        if self.stream.key.is_empty() {
            return Ok(None);
        }
        let columns = self.table.columns_of(self.stream.fields);
        let part = |path: &FieldPath| {
            let mut names = path.segments().iter().map(|segment| match segment {
                Segment::Name(name) => Some(name),
                Segment::Items | Segment::Values => None,
            });
            let mut sql = match self.table.is_raw {
                true => "_airbyte_data".to_owned(),
                false => {
                    let root = names.next()??;
                    format!("to_jsonb({})", ident(&columns.iter().find(|(field, _)| field == root)?.1))
                }
            };
            for name in names {
                sql.push_str(&format!(" -> {}::text", literal(name?)));
            }
            Some(sql)
        };
        let parts = self.stream.key.iter().map(|path| {
            part(path).ok_or_else(|| {
                let table = self.table.name.sql();
                self.failed(&format!("the key {path} has no column in {table}; choose a key that has landed"))
            })
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(format!("jsonb_build_array({})", parts.join(", "))))
    }

    fn what(&self) -> String {
        format!("reading landing of {}", self.stream.name)
    }

    fn wrong(&self, error: &sqlx::Error) -> EngineError {
        database_error(self.destination.endpoint, self.what(), error)
    }

    fn failed(&self, why: &str) -> EngineError {
        failure(self.destination.endpoint, self.what(), why, Remedy::Person)
    }
}

fn cursor(mark: &Mark) -> LandingCursor {
    LandingCursor(serde_json::to_value(mark).expect("a mark is plain data"))
}

/// Reads rows until they are enough.
async fn read_newest(db: &mut PgConnection, sql: String) -> Result<Vec<LandingRow>, sqlx::Error> {
    let mut shown = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch(db);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(next) = shown.try_next().await? {
        let next = row(&next)?;
        bytes += next.data.get().len();
        if bytes > MOST_BYTES && !rows.is_empty() {
            break;
        }
        rows.push(next);
    }
    Ok(rows)
}

/// Fields with the SQL of their JSON, as one JSON object in SQL.
fn object(fields: impl Iterator<Item = (String, String)>) -> String {
    let part = |(field, value): (String, String)| {
        let key = serde_json::to_string(&field).expect("a text is JSON");
        format!("{} || coalesce({value}, 'null')", literal(&format!("{key}:")))
    };
    let parts: Vec<String> = fields.map(part).collect();
    // an array instead of a row type, because field names may be longer than a column name can be
    format!("'{{' || array_to_string(ARRAY[{}]::text[], ',') || '}}'", parts.join(", "))
}

fn row(row: &PgRow) -> Result<LandingRow, sqlx::Error> {
    Ok(LandingRow {
        raw_id: row.try_get(0)?,
        extracted_at: row.try_get::<DateTime<Utc>, _>(1)?,
        sync_id: row.try_get(2)?,
        data: RawValue::from_string(row.try_get(3)?).map_err(|e| sqlx::Error::Decode(e.into()))?,
    })
}

fn position(row: &PgRow) -> Result<Position, sqlx::Error> {
    Ok(Position { at: row.try_get(4)?, ctid: row.try_get(5)? })
}

/// Tells a server from one that was restored or took over: there, the same numbers are other transactions.
async fn server(db: &mut PgConnection) -> Result<String, sqlx::Error> {
    let sql = "SELECT format('%s/%s/%s', system_identifier, timeline_id, (SELECT oid FROM pg_database WHERE datname = current_database()))
               FROM pg_control_system(), pg_control_checkpoint()";
    match sqlx::query_scalar(sql).persistent(false).fetch_one(db).await {
        // a hosted server may keep this to itself; the table's own identity must do then
        Err(sqlx::Error::Database(e)) if matches!(e.code().as_deref(), Some("42501" | "42883")) => Ok("unknown".into()),
        done => done,
    }
}

/// A refusal, with what gives the right and lets it outlive the next swap.
fn refused(destination: &Destination<'_>, what: String, error: &sqlx::Error, table: &Table) -> EngineError {
    let (owner, reader, schema) = (ident(&table.owner), ident(&table.reader), ident(&table.name.schema));
    let message = error.as_database_error().map(|e| e.message()).unwrap_or_default();
    let why = format!(
        "{message}; Airbyte loses grants whenever it replaces a table, so run as {owner}: \
         GRANT USAGE ON SCHEMA {schema} TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}; \
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}"
    );
    failure(destination.endpoint, what, &why, Remedy::Person)
}
