//! Sampling for a drift: the source is read from its beginning and stopped soon; of the records that were seen, the fields
//! that went are looked up in landing.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::EmbeddedEngine;
use super::table::Column;
use crate::connector::copy_text::unescape;
use crate::connector::postgres::ident;
use crate::connector::{self, BatchSink, How, ReadOrder, database_error, failure};
use crate::model::{FieldPath, FieldType, Stream};
use crate::ports::{EngineError, Records, Remedy, SampleOrder, Sampler, Samples};

/// Records that are looked at: enough that one wrong in a hundred shows, few enough for one statement.
const RECORDS: usize = 2_000;
/// So much of a source is held in memory at most, or a batch more.
const BYTES: usize = 32 << 20;
/// A source that needs longer is not sampled.
const LONGEST: Duration = Duration::from_secs(60);

/// A record of the source: its key, then its other fields.
type Seen = Vec<Option<String>>;

#[async_trait]
impl Sampler for EmbeddedEngine {
    async fn sample(&self, order: &SampleOrder) -> Result<Option<Samples>, EngineError> {
        let is_column = |path: &&FieldPath| path.parent().is_none();
        let columns = |paths: &'_ [FieldPath]| paths.iter().filter(is_column).cloned().collect::<Vec<_>>();
        let (gone, present) = (columns(&order.gone), columns(&order.present));
        let Some((pool, table, entry)) = self.landed(&order.place.destination, &order.stream).await? else {
            return Ok(None);
        };
        let column = |path: &FieldPath| entry.columns.iter().find(|column| column.field == path.root());
        let gone: Vec<(&FieldPath, &Column)> = gone.iter().filter_map(|path| Some((path, column(path)?))).collect();
        if gone.is_empty() || present.is_empty() {
            return Ok(None);
        }
        let landed: Option<Vec<&Column>> = order.key.iter().map(column).collect();
        let tells = |key: &Vec<&Column>| {
            let is_plain = |column: &&Column| column.sql_type != "jsonb";
            !key.is_empty() && columns(&order.key).len() == key.len() && key.iter().all(is_plain)
        };
        let key = landed.filter(tells);
        let of_key: &[FieldPath] = if key.is_some() { &order.key } else { &[] };
        let others = present.iter().filter(|path| !of_key.contains(path));
        let read: Vec<&FieldPath> = of_key.iter().chain(others).collect();
        let seen = self.read_some(order, &read, of_key.len()).await?;
        if seen.is_empty() {
            return Ok(None);
        }

        let wrong = |e: sqlx::Error| {
            database_error(&order.place.destination, format!("sampling landing of {}", order.stream), &e)
        };
        let take = |row: &PgRow, records: &mut Records| {
            for (at, (path, _)) in gone.iter().enumerate() {
                let value = row.try_get(at + 1).map_err(wrong)?;
                records.gone.entry((*path).clone()).or_default().push(value);
            }
            Ok::<_, EngineError>(())
        };
        let show = |record: &Seen, records: &mut Records| {
            for (path, value) in read.iter().zip(record).filter(|(path, _)| present.contains(path)) {
                records.present.entry((*path).clone()).or_default().push(value.clone());
            }
        };
        if let Some(key) = key {
            let sql = lookup(&table.sql(), &key, &gone);
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
            for at in 0..key.len() {
                query = query.bind(seen.iter().map(|record| record[at].clone()).collect::<Vec<_>>());
            }
            let mut records = Records::default();
            for row in query.fetch_all(&pool).await.map_err(wrong)? {
                let number: i64 = row.try_get(0).map_err(wrong)?;
                let record = usize::try_from(number - 1).ok().and_then(|at| seen.get(at));
                let Some(record) = record else { continue };
                take(&row, &mut records)?;
                show(record, &mut records);
            }
            if !records.gone.is_empty() {
                return Ok(Some(Samples::Joined(records)));
            }
        }
        let query = sqlx::query(sqlx::AssertSqlSafe(latest(&table.sql(), &gone))).persistent(false);
        let mut records = Records::default();
        for row in query.fetch_all(&pool).await.map_err(wrong)? {
            take(&row, &mut records)?;
        }
        seen.iter().for_each(|record| show(record, &mut records));
        Ok((!records.gone.is_empty()).then_some(Samples::Apart(records)))
    }
}

impl EmbeddedEngine {
    /// The first records of the source: so many fields of its key, then other fields.
    async fn read_some(
        &self,
        order: &SampleOrder,
        fields: &[&FieldPath],
        key: usize,
    ) -> Result<Vec<Seen>, EngineError> {
        let what = || format!("sampling stream {} of {}", order.stream, order.source.name);
        let typed = |path: &FieldPath, of: &Stream| {
            let ty = of.fields.get(path).map_or(FieldType::Any, |field| field.ty.clone());
            (path.root().to_owned(), ty)
        };
        let typed = |(at, path)| if at < key { typed(path, &order.before) } else { typed(path, &order.now) };
        let read = ReadOrder {
            stream: order.stream.clone(),
            columns: fields.iter().copied().enumerate().map(typed).collect(),
            missing_as_null: true,
            schema: order.now.clone(),
            how: How::Full,
            state: None,
        };
        let source = connector::open(&order.source, &self.shared.programs)?;
        let (sink, mut batches) = BatchSink::channel();
        let take = async move {
            let mut seen: Vec<Seen> = Vec::new();
            let mut bytes = 0;
            while let Some(batch) = batches.recv().await {
                bytes += batch.rows.len();
                let lines = batch.rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                seen.extend(lines.map(|line| line.split(|byte| *byte == b'\t').map(unescape).collect()));
                if seen.len() >= RECORDS || bytes >= BYTES {
                    break;
                }
            }
            // whatever else the connector has is not wanted
            drop(batches);
            seen.truncate(RECORDS);
            seen
        };
        let send = async {
            let read = source.read(&read, sink.clone()).await;
            drop(sink);
            read
        };
        let (read, seen) = tokio::time::timeout(LONGEST, async { tokio::join!(send, take) })
            .await
            .map_err(|_| failure(&order.source, what(), "it took longer than a minute", Remedy::Retry))?;
        read?;
        Ok(seen.into_iter().filter(|record| record.len() == fields.len()).collect())
    }
}

/// The fields that went in the newest rows, those left out that landed after they went.
fn latest(table: &str, gone: &[(&FieldPath, &Column)]) -> String {
    let values: Vec<String> = gone.iter().map(|(_, column)| format!("{}::text", ident(&column.name))).collect();
    let (id, values) = ("_airbyte_raw_id COLLATE \"C\"", values.join(", "));
    format!(
        "SELECT 0::bigint, {values} FROM {table}
         WHERE {id} <= (SELECT max({id}) FROM {table} WHERE num_nonnulls({values}) > 0) ORDER BY {id} DESC LIMIT {RECORDS}"
    )
}

/// Of each wanted key a row: its number among the wanted, and the fields that went. The newest one that has a value in
/// them: what landed after they went has none.
fn lookup(table: &str, key: &[&Column], gone: &[(&FieldPath, &Column)]) -> String {
    let wanted: Vec<String> =
        key.iter().enumerate().map(|(at, column)| format!("${}::text[]::{}[]", at + 1, column.sql_type)).collect();
    let names: Vec<String> = (0..key.len()).map(|at| format!("k{at}")).collect();
    let same: Vec<String> =
        key.iter().zip(&names).map(|(column, name)| format!("t.{} = w.{name}", ident(&column.name))).collect();
    let values: Vec<String> = gone.iter().map(|(_, column)| format!("t.{}::text", ident(&column.name))).collect();
    format!(
        "SELECT DISTINCT ON (w.n) w.n, {values} FROM unnest({}) WITH ORDINALITY AS w ({}, n) JOIN {table} t ON {} \
         ORDER BY w.n, num_nonnulls({values}) = 0, t._airbyte_raw_id COLLATE \"C\" DESC",
        wanted.join(", "),
        names.join(", "),
        same.join(" AND "),
        values = values.join(", "),
    )
}
