//! Syncing one stream: prepare the table, commit batch after batch, finish.
//!
//! Every change of a landing table is in one transaction with its ledger row (see `ledger`), so a kill between any two
//! statements leaves table and position in agreement. A full refresh that replaces the table fills a temporary one
//! beside it and swaps at the end.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::destination::Destination;
use super::ledger::{self, Entry};
use super::names::{self, TableName};
use super::raw_id::RawIds;
use super::table::{self, Column};
use super::writer::{self, Frame};
use crate::connector::{Batch, BatchSink, Connector, How, Position, ReadOrder, database_error, failure};
use crate::model::{FieldPath, StreamName, SyncMode};
use crate::ports::{ConfiguredStream, EngineError, Remedy, applied, recorded, sent, written};
use crate::spec::StreamMode;

/// Marks a position in the ledger as one within a whole copy that is appended.
const COPY: &str = "aam_copy";

/// One stream of one job.
pub struct StreamSync<'a> {
    /// The connection's identity for life.
    pub connection: Uuid,
    /// The job.
    pub job: i64,
    /// Which attempt at it this is.
    pub attempt: u32,
    /// Where rows land.
    pub destination: &'a Destination,
    /// The stream.
    pub stream: &'a ConfiguredStream,
    /// Its landing table.
    pub table: &'a TableName,
    /// Whether a field that the source no longer has is null rather than an error.
    pub missing_as_null: bool,
    /// Whether it is read from its beginning, wherever the last job ended.
    pub anew: bool,
    /// Stops at the next commit.
    pub stop: &'a CancellationToken,
}

/// How far a stream is, within its job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed.
    pub bytes: u64,
}

/// Hears of every commit.
#[async_trait::async_trait]
pub trait Report: Send + Sync {
    /// The stream has come so far.
    async fn committed(&mut self, progress: Progress) -> Result<(), EngineError>;
    /// An error once the job ended or is another process'.
    async fn is_ours(&self) -> Result<(), EngineError>;
    /// Whether another connection that wrote the table is still in use.
    async fn is_alive(&self, connection: Uuid) -> Result<bool, EngineError>;
    /// The table was last written by a job with a greater number: the registry is a new or an older one. Makes the
    /// next jobs' numbers greater, because `sync_id` must never fall.
    async fn outrun(&self, job: i64) -> Result<(), EngineError>;
}

/// A stream that is ready to take batches.
struct Prepared {
    entry: Entry,
    columns: Vec<Column>,
    /// Where batches go: the table, or the one that will replace it.
    target: TableName,
    key: Vec<String>,
    cursor: Option<String>,
}

/// What the name of a session begins with that lands rows of a connection; the job and the attempt follow.
fn session(connection: Uuid) -> String {
    format!("aam sync {connection} ")
}

/// Ends the session of a process that ran an earlier job of this connection, or attempt at it, and slept: whoever began later goes
/// on. Whoever else has the table is waited for.
async fn end_sleeper(sync: &StreamSync<'_>, db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE
               CASE WHEN application_name ~ ('^' || $1 || '[0-9]+[.][0-9]+$')
                    THEN string_to_array(substr(application_name, length($1) + 1), '.')::bigint[] < ARRAY[$3, $4] END
               AND pid IN (
                   SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND (classid::bigint << 32) | objid::bigint = hashtextextended($2, 1))";
    let query = sqlx::query(sql).bind(session(sync.connection)).bind(sync.table.sql());
    query.bind(sync.job).bind(i64::from(sync.attempt)).execute(db).await.map(drop)
}

/// Keeps another daemon out of the table. A killed process's session ends within moments.
async fn lock(
    destination: &Destination,
    stream: &StreamName,
    table: &TableName,
    db: &mut PgConnection,
) -> Result<(), EngineError> {
    let what = || format!("landing stream {stream} in {}", destination.endpoint.name);
    let sql = "SELECT pg_try_advisory_lock(hashtextextended($1, 1))";
    for _ in 0..100 {
        let got = sqlx::query_scalar::<_, bool>(sql).bind(table.sql()).fetch_one(&mut *db).await;
        if got.map_err(|e| database_error(&destination.endpoint, what(), &e))? {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let why = format!("another process is writing {}", table.sql());
    Err(failure(&destination.endpoint, what(), &why, Remedy::Retry))
}

/// Drops what landed of a stream. Its ledger stays, so that ids and generations count on; the next sync, which finds no
/// table, begins anew.
pub async fn clear(destination: &Destination, stream: &StreamName, table: &TableName) -> Result<(), EngineError> {
    let mut db = destination.connect().await?;
    lock(destination, stream, table, &mut db).await?;
    let sql = format!("DROP TABLE IF EXISTS {}, {}", table.sql(), names::temporary(table).sql());
    let dropped = applied("clear", sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut db)).await;
    let wrong = |e: sqlx::Error| database_error(&destination.endpoint, format!("clearing stream {stream}"), &e);
    dropped.map_err(wrong)?;
    // the lock goes with the session either way
    let _ = db.close().await;
    Ok(())
}

impl StreamSync<'_> {
    fn wrong(&self, error: &sqlx::Error) -> EngineError {
        let what = format!("landing stream {} in {}", self.stream.name, self.destination.endpoint.name);
        database_error(&self.destination.endpoint, what, error)
    }

    fn person(&self, why: &str) -> EngineError {
        failure(&self.destination.endpoint, format!("landing stream {}", self.stream.name), why, Remedy::Person)
    }

    /// Runs the stream to its end, or to the next commit after a stop. `Ok(true)` if it is done.
    pub async fn run(&self, source: &Arc<dyn Connector>, report: &mut dyn Report) -> Result<bool, EngineError> {
        let mut db = self.destination.connect().await?;
        let name = "SELECT set_config('application_name', $1, false)";
        let session = format!("{}{}.{}", session(self.connection), self.job, self.attempt);
        let named = sqlx::query(name).bind(session).execute(&mut db).await;
        named.map_err(|e| self.wrong(&e))?;
        if let Err(error) = end_sleeper(self, &mut db).await {
            tracing::debug!("a session that slept could not be ended: {error}");
        }
        self.lock(&mut db).await?;
        report.is_ours().await?;
        if self.stop.is_cancelled() {
            return Ok(false);
        }
        let mut prepared = written("prepare_table", self.prepare(&mut db, report)).await?;
        report.committed(progress(&prepared.entry)).await?;
        if !prepared.entry.finished {
            let carried = self.carry(&mut db, &mut prepared, source, report).await;
            if !matches!(carried, Ok(true)) {
                self.leave_nothing_open(&mut db, &mut prepared).await;
                return carried;
            }
            written("finish_table", self.finish(&mut db, &mut prepared)).await.map_err(|e| self.wrong(&e))?;
        }
        // the lock goes with the session either way
        let _ = db.close().await;
        Ok(true)
    }

    async fn lock(&self, db: &mut PgConnection) -> Result<(), EngineError> {
        lock(self.destination, &self.stream.name, self.table, db).await
    }

    fn columns_of(&self, paths: &[FieldPath], columns: &[Column], what: &str) -> Result<Vec<String>, EngineError> {
        paths
            .iter()
            .map(|path| {
                let column = columns.iter().find(|c| path.segments().len() == 1 && c.field == path.root());
                let why = || self.person(&format!("the {what} {path} is none of the top-level fields that it carries"));
                column.map(|c| c.name.clone()).ok_or_else(why)
            })
            .collect()
    }

    async fn prepare(&self, db: &mut PgConnection, report: &dyn Report) -> Result<Prepared, EngineError> {
        let wrong = |e: sqlx::Error| self.wrong(&e);
        let columns = table::columns(self.stream);
        if columns.is_empty() {
            return Err(self.person("it carries no fields"));
        }
        if !self.stream.mode.is_embedded() {
            return Err(self.person(&format!("the embedded engine has no mode {}", self.stream.mode.word())));
        }
        let cursor = self.columns_of(self.stream.cursor.as_slice(), &columns, "cursor")?.pop();
        let key = match self.stream.mode {
            StreamMode::IncrementalAppendDedup => self.columns_of(&self.stream.key, &columns, "key")?,
            _ => Vec::new(),
        };
        if self.stream.mode == StreamMode::IncrementalAppendDedup && key.is_empty() {
            return Err(self.person("mode incremental_append_dedup needs a key, and it has none"));
        }
        let mut tx = db.begin().await.map_err(wrong)?;
        ledger::create(&mut tx, &self.table.schema).await.map_err(wrong)?;
        let existing = table::existing(&mut tx, self.table).await.map_err(wrong)?;
        let old = ledger::load(&mut tx, self.table).await.map_err(wrong)?;
        if let Some(old) = &old {
            self.check_owner(old, report).await?;
        }
        let replaces = self.stream.mode == StreamMode::FullRefreshOverwrite;
        let target = if replaces { names::temporary(self.table) } else { self.table.clone() };
        let mut entry = self.entry(&mut tx, old, &existing).await?;
        entry.columns.clone_from(&columns);
        if entry.finished {
            return Ok(Prepared { entry, columns, target, key, cursor });
        }
        if replaces {
            self.prepare_replacement(&mut tx, &target, &columns, &mut entry).await?;
        } else {
            self.prepare_table(&mut tx, &existing, &columns, &mut entry).await?;
        }
        ledger::save(&mut tx, self.table, &self.stream.name, &entry).await.map_err(wrong)?;
        applied("prepare_table", tx.commit()).await.map_err(wrong)?;
        if !key.is_empty() {
            let sql = format!("CREATE TEMP TABLE aam_stage (LIKE {}) ON COMMIT DELETE ROWS", self.table.sql());
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *db).await.map_err(wrong)?;
        }
        Ok(Prepared { entry, columns, target, key, cursor })
    }

    async fn check_owner(&self, old: &Entry, report: &dyn Report) -> Result<(), EngineError> {
        if old.job > self.job {
            report.outrun(old.job).await?;
            return Err(EngineError {
                what: format!("landing stream {}", self.stream.name),
                why: format!(
                    "its table was last written by job {}, and this is job {}; later jobs count on",
                    old.job, self.job
                ),
                remedy: Remedy::Retry,
                retry_after: None,
            });
        }
        if old.connection != self.connection && report.is_alive(old.connection).await? {
            return Err(self.person(&format!(
                "table {} belongs to another connection ({}); two connections never write one table: give one of them a \
                 destination with `namespace: destination` and a `schema` of its own",
                self.table.sql(),
                old.connection
            )));
        }
        Ok(())
    }

    /// The ledger entry with which this job begins or goes on.
    async fn entry(
        &self,
        db: &mut PgConnection,
        old: Option<Entry>,
        existing: &[(String, String)],
    ) -> Result<Entry, EngineError> {
        let there = !existing.is_empty();
        let mut entry = match old {
            Some(mut old) if old.connection == self.connection && old.job == self.job => {
                let replaces = self.stream.mode == StreamMode::FullRefreshOverwrite;
                if !there && !replaces && !old.finished {
                    (old.state, old.rows, old.bytes, old.indexed) = (None, 0, 0, false);
                }
                return Ok(old);
            }
            Some(old) => old,
            None => self.found(db, there).await?,
        };
        let incremental =
            matches!(self.stream.mode, StreamMode::IncrementalAppend | StreamMode::IncrementalAppendDedup);
        let unswapped =
            !table::existing(db, &names::temporary(self.table)).await.map_err(|e| self.wrong(&e))?.is_empty();
        // a table that a person dropped, and one taken over, begin anew; so does one whose last position lies in rows that
        // were never swapped in
        let cut_copy = !entry.finished && entry.state.as_ref().is_some_and(|state| state.get(COPY).is_some());
        if !incremental
            || self.anew
            || cut_copy
            || !there
            || entry.connection != self.connection
            || (unswapped && !entry.finished)
        {
            entry.state = None;
        }
        entry.indexed &= there;
        if self.stream.mode == StreamMode::FullRefreshAppend && there && cut_copy && entry.connection == self.connection
        {
            self.take_out_copy(db, entry.job).await.map_err(|e| self.wrong(&e))?;
        }
        let was_finished = entry.finished;
        (entry.connection, entry.job, entry.finished, entry.rows, entry.bytes) =
            (self.connection, self.job, false, 0, 0);
        if was_finished {
            (entry.mark, entry.open_job) = (entry.last_raw_id, self.job);
        }
        if self.stream.mode == StreamMode::FullRefreshOverwrite {
            entry.generation += 1;
        }
        Ok(entry)
    }

    /// What the ledger holds of a position: one within a whole copy that is appended is marked, because only this very job may
    /// go on from it.
    fn noted(&self, position: &Value) -> Value {
        match self.stream.mode {
            StreamMode::FullRefreshAppend => json!({ COPY: position }),
            _ => position.clone(),
        }
    }

    /// The position that the ledger holds.
    fn position(&self, entry: &Entry) -> Option<Value> {
        let state = entry.state.as_ref()?;
        Some(state.get(COPY).unwrap_or(state).clone())
    }

    /// Takes out what is there of a copy whose job ended before it was whole. The next job brings a whole one, and each copy
    /// in the table is of one finished job. Going on where the other stopped would join two states of the source, and a
    /// source that changed its key could never be gone on with.
    async fn take_out_copy(&self, db: &mut PgConnection, job: i64) -> Result<(), sqlx::Error> {
        let sql = format!("DELETE FROM {} WHERE (_airbyte_meta ->> 'sync_id')::bigint = $1", self.table.sql());
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(job).execute(db).await.map(|_| ())
    }

    /// An entry for a table that has none: what an existing table tells about its own past.
    async fn found(&self, db: &mut PgConnection, there: bool) -> Result<Entry, EngineError> {
        let (mut generation, mut last) = (0, None);
        if there {
            let sql = format!(
                "SELECT coalesce(max(_airbyte_generation_id), 0), max(_airbyte_raw_id COLLATE \"C\") FROM {}",
                self.table.sql()
            );
            let row: (i64, Option<String>) =
                sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(db).await.map_err(|e| self.wrong(&e))?;
            (generation, last) = (row.0, row.1.and_then(|id| id.parse().ok()));
        }
        Ok(Entry {
            connection: self.connection,
            job: self.job,
            finished: true,
            rows: 0,
            bytes: 0,
            state: None,
            generation,
            last_raw_id: last,
            mark: last,
            open_job: self.job,
            indexed: false,
            columns: Vec::new(),
        })
    }

    /// The temporary table: kept if this job can go on filling it, else made anew.
    async fn prepare_replacement(
        &self,
        db: &mut PgConnection,
        target: &TableName,
        columns: &[Column],
        entry: &mut Entry,
    ) -> Result<(), EngineError> {
        let wrong = |e: sqlx::Error| self.wrong(&e);
        let old = table::existing(db, target).await.map_err(wrong)?;
        let fits = !old.is_empty() && table::alter(target, &old, columns) == Ok(None);
        if !(entry.state.is_some() && fits) {
            let sql = format!("DROP TABLE IF EXISTS {}; {}", target.sql(), table::create(target, columns));
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(db).await.map_err(wrong)?;
            (entry.state, entry.rows, entry.bytes) = (None, 0, 0);
            return Ok(());
        }
        self.take_out_open_rows(db, target, entry).await.map_err(wrong)
    }

    /// The table itself: made, or brought to the stream's columns. Rows that a cut-off read of this very job left are
    /// taken out if that read cannot be taken up where it stopped.
    async fn prepare_table(
        &self,
        db: &mut PgConnection,
        existing: &[(String, String)],
        columns: &[Column],
        entry: &mut Entry,
    ) -> Result<(), EngineError> {
        let wrong = |e: sqlx::Error| self.wrong(&e);
        let statement = if existing.is_empty() {
            Some(table::create(self.table, columns))
        } else {
            table::alter(self.table, existing, columns).map_err(|why| self.person(&why))?
        };
        if let Some(sql) = statement {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *db).await.map_err(wrong)?;
        }
        if !entry.indexed && self.stream.mode == StreamMode::IncrementalAppendDedup {
            self.index(db, self.table, entry, columns).await.map_err(wrong)?;
        }
        self.take_out_open_rows(db, self.table, entry).await.map_err(wrong)
    }

    /// Takes out the rows that landed behind the position at which this job goes on. A merge by key needs no such care:
    /// reading a row twice leaves one.
    async fn take_out_open_rows(
        &self,
        db: &mut PgConnection,
        table: &TableName,
        entry: &mut Entry,
    ) -> Result<(), sqlx::Error> {
        if self.stream.mode == StreamMode::IncrementalAppendDedup || entry.last_raw_id == entry.mark {
            return Ok(());
        }
        let mark = entry.mark.map(|mark| mark.to_string()).unwrap_or_default();
        // never more than what this engine landed since: other rows may lie in a table that was taken over
        let sql = format!(
            "DELETE FROM {} WHERE _airbyte_raw_id COLLATE \"C\" > $1 AND (_airbyte_meta ->> 'sync_id')::bigint BETWEEN $2 AND $3",
            table.sql()
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(mark).bind(entry.open_job).bind(self.job);
        let gone = query.execute(db).await?.rows_affected();
        entry.rows = (entry.rows - i64::try_from(gone).unwrap_or(0)).max(0);
        if entry.rows == 0 {
            entry.bytes = 0;
        }
        Ok(())
    }

    /// A read that ended early leaves no row that the next one brings again. What fails here is made good when the next
    /// job prepares the table.
    async fn leave_nothing_open(&self, db: &mut PgConnection, prepared: &mut Prepared) {
        let work = async {
            let mut tx = db.begin().await?;
            let mut entry = prepared.entry.clone();
            self.take_out_open_rows(&mut tx, &prepared.target, &mut entry).await?;
            (entry.mark, entry.open_job) = (entry.last_raw_id, self.job);
            ledger::save(&mut tx, self.table, &self.stream.name, &entry).await?;
            tx.commit().await
        };
        if let Err(error) = Box::pin(work).await {
            tracing::warn!("stream {}: rows behind the last position wait for the next job: {error}", self.stream.name);
        }
    }

    async fn index(
        &self,
        db: &mut PgConnection,
        on: &TableName,
        entry: &mut Entry,
        columns: &[Column],
    ) -> Result<(), sqlx::Error> {
        let name = |path: &FieldPath| columns.iter().find(|c| c.field == path.root()).map(|c| c.name.clone());
        let dedup = self.stream.mode == StreamMode::IncrementalAppendDedup;
        let key: Vec<String> = self.stream.key.iter().filter(|_| dedup).filter_map(name).collect();
        let cursor = self.stream.cursor.as_ref().and_then(name);
        let sql = table::indexes(on, &key, cursor.as_deref()).join("; ");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(db).await?;
        entry.indexed = true;
        Ok(())
    }

    /// Reads and writes batch after batch; `false` if stopped before the end.
    async fn carry(
        &self,
        db: &mut PgConnection,
        prepared: &mut Prepared,
        source: &Arc<dyn Connector>,
        report: &mut dyn Report,
    ) -> Result<bool, EngineError> {
        let fields = self.stream.schema.columns();
        let order = ReadOrder {
            stream: self.stream.name.clone(),
            columns: fields.iter().map(|(path, field)| (path.root().to_owned(), field.ty.clone())).collect(),
            missing_as_null: self.missing_as_null,
            schema: self.stream.schema.clone(),
            how: match self.stream.mode.reads() {
                SyncMode::FullRefresh => How::Full,
                SyncMode::Incremental => How::New(self.stream.cursor.clone()),
            },
            state: self.position(&prepared.entry),
        };
        let (sink, mut batches) = BatchSink::channel();
        let source = Arc::clone(source);
        let reading = tokio::spawn(async move { source.read(&order, sink).await });
        let written = self.write_all(db, prepared, &mut batches, report).await;
        drop(batches);
        if !matches!(written, Ok(true)) {
            // writing ended early: a source that keeps silent for long must not hold up a stop
            reading.abort();
        }
        let read = reading.await;
        if !written? {
            return Ok(false);
        }
        read.map_err(|e| self.person(&format!("the connector failed: {e}")))??;
        Ok(true)
    }

    async fn write_all(
        &self,
        db: &mut PgConnection,
        prepared: &mut Prepared,
        batches: &mut mpsc::Receiver<Batch>,
        report: &mut dyn Report,
    ) -> Result<bool, EngineError> {
        let mut ids = RawIds::after(prepared.entry.last_raw_id);
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                next = batches.recv() => Some(next),
            };
            match next {
                None => return Ok(false),
                Some(None) => return Ok(true),
                Some(Some(batch)) => {
                    sent("land_batch", self.write(db, prepared, &batch, &mut ids)).await.map_err(|e| self.wrong(&e))?;
                    report.committed(progress(&prepared.entry)).await?;
                    recorded("land_batch");
                }
            }
        }
    }

    /// One batch, one transaction.
    async fn write(
        &self,
        db: &mut PgConnection,
        prepared: &mut Prepared,
        batch: &Batch,
        ids: &mut RawIds,
    ) -> Result<(), sqlx::Error> {
        let entry = &prepared.entry;
        let at = chrono::Utc::now();
        let frame = Frame { job: self.job, generation: entry.generation, at, columns: &prepared.columns };
        let data = frame.rows(batch, ids);
        let mut next = entry.clone();
        next.rows += i64::try_from(batch.count).unwrap_or(0);
        next.bytes += i64::try_from(batch.rows.len()).unwrap_or(0);
        next.last_raw_id = Some(ids.last());
        if let Position::After(state) = &batch.position {
            next.state = Some(self.noted(state));
            next.mark = next.last_raw_id;
        }
        let mut tx = db.begin().await?;
        if batch.count > 0 {
            if prepared.key.is_empty() {
                writer::load(&mut tx, &prepared.target.sql(), &frame, &data).await?;
            } else {
                writer::load(&mut tx, "pg_temp.aam_stage", &frame, &data).await?;
                let (key, cursor) = (&prepared.key, prepared.cursor.as_deref());
                let sql = writer::merge(&prepared.target, "pg_temp.aam_stage", &prepared.columns, key, cursor);
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
            }
        }
        ledger::save(&mut tx, self.table, &self.stream.name, &next).await?;
        applied("land_batch", tx.commit()).await?;
        prepared.entry = next;
        Ok(())
    }

    /// Swaps, indexes, and notes the stream as done, all in one transaction.
    async fn finish(&self, db: &mut PgConnection, prepared: &mut Prepared) -> Result<(), sqlx::Error> {
        let mut entry = prepared.entry.clone();
        let replaces = prepared.target != *self.table;
        let mut tx = db.begin().await?;
        // a reader that never ends must not hold the daemon for ever
        sqlx::raw_sql("SET LOCAL lock_timeout = '60s'").execute(&mut *tx).await?;
        if replaces || !entry.indexed {
            self.index(&mut tx, &prepared.target, &mut entry, &prepared.columns).await?;
        }
        if replaces {
            let swap = format!(
                "DROP TABLE IF EXISTS {}; ALTER TABLE {} RENAME TO {}",
                self.table.sql(),
                prepared.target.sql(),
                crate::connector::postgres::ident(&self.table.name)
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(swap)).execute(&mut *tx).await?;
        }
        entry.finished = true;
        if matches!(self.stream.mode, StreamMode::FullRefreshOverwrite | StreamMode::FullRefreshAppend) {
            entry.state = None;
        }
        ledger::save(&mut tx, self.table, &self.stream.name, &entry).await?;
        applied("finish_table", tx.commit()).await?;
        prepared.entry = entry;
        Ok(())
    }
}

fn progress(entry: &Entry) -> Progress {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Progress { rows: count(entry.rows), bytes: count(entry.bytes) }
}
