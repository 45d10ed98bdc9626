//! Sampling for a drift: the source is read from its beginning, only keys and the fields that came, and stopped soon; of
//! the records that were seen, the fields that went are looked up in landing.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;

use super::EmbeddedEngine;
use super::table::Column;
use crate::connector::copy_text::unescape;
use crate::connector::postgres::ident;
use crate::connector::{self, BatchSink, How, ReadOrder, database_error, failure};
use crate::model::{FieldPath, FieldType, Stream};
use crate::ports::{EngineError, Remedy, SampleOrder, Sampled, Sampler};

/// Records that are looked at: enough that one wrong in a hundred shows, few enough for one statement.
const RECORDS: usize = 2_000;
/// A source that needs longer is not sampled.
const LONGEST: Duration = Duration::from_secs(60);

/// A record of the source: its key, then the fields that came.
type Seen = Vec<Option<String>>;

#[async_trait]
impl Sampler for EmbeddedEngine {
    async fn sample(&self, order: &SampleOrder) -> Result<Option<Sampled>, EngineError> {
        let is_column = |path: &&FieldPath| path.parent().is_none();
        let (gone, new): (Vec<_>, Vec<_>) =
            (order.gone.iter().filter(is_column).collect(), order.new.iter().filter(is_column).collect());
        if order.key.is_empty() || !order.key.iter().all(|path| is_column(&path)) || gone.is_empty() || new.is_empty() {
            return Ok(None);
        }
        let Some((pool, table, entry)) = self.landed(&order.place.destination, &order.stream).await? else {
            return Ok(None);
        };
        let column = |path: &FieldPath| entry.columns.iter().find(|column| column.field == path.root());
        let landed: Option<Vec<&Column>> = order.key.iter().map(column).collect();
        let Some(key) = landed.filter(|key| key.iter().all(|column| column.sql_type != "jsonb")) else {
            return Ok(None);
        };
        let gone: Vec<(&FieldPath, &Column)> =
            gone.into_iter().filter_map(|path| Some((path, column(path)?))).collect();
        let seen = self.read_some(order, &new).await?;
        if seen.is_empty() || gone.is_empty() {
            return Ok(None);
        }

        let wrong = |e: sqlx::Error| {
            database_error(&order.place.destination, format!("sampling landing of {}", order.stream), &e)
        };
        let sql = lookup(&table.sql(), &key, &gone);
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        for at in 0..key.len() {
            query = query.bind(seen.iter().map(|record| record[at].clone()).collect::<Vec<_>>());
        }
        let rows = query.fetch_all(&pool).await.map_err(wrong)?;
        let mut sampled = Sampled::default();
        for row in rows {
            let number: i64 = row.try_get(0).map_err(wrong)?;
            let record = usize::try_from(number - 1).ok().and_then(|at| seen.get(at));
            let Some(record) = record else { continue };
            for (at, (path, _)) in gone.iter().enumerate() {
                sampled.gone.entry((*path).clone()).or_default().push(row.try_get(at + 1).map_err(wrong)?);
            }
            for (at, path) in new.iter().enumerate() {
                sampled.new.entry((*path).clone()).or_default().push(record[key.len() + at].clone());
            }
        }
        Ok((!sampled.gone.is_empty()).then_some(sampled))
    }
}

impl EmbeddedEngine {
    /// The first records of the source.
    async fn read_some(&self, order: &SampleOrder, new: &[&FieldPath]) -> Result<Vec<Seen>, EngineError> {
        let what = || format!("sampling stream {} of {}", order.stream, order.source.name);
        let typed = |path: &FieldPath, of: &Stream| {
            let ty = of.fields.get(path).map_or(FieldType::Any, |field| field.ty.clone());
            (path.root().to_owned(), ty)
        };
        let key = order.key.iter().map(|path| typed(path, &order.before));
        let read = ReadOrder {
            stream: order.stream.clone(),
            columns: key.chain(new.iter().map(|path| typed(path, &order.now))).collect(),
            missing_as_null: true,
            schema: order.now.clone(),
            how: How::Full,
            state: None,
        };
        let source = connector::open(&order.source, &self.shared.programs)?;
        let (sink, mut batches) = BatchSink::channel();
        let take = async move {
            let mut seen: Vec<Seen> = Vec::new();
            while let Some(batch) = batches.recv().await {
                let lines = batch.rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                seen.extend(lines.map(|line| line.split(|byte| *byte == b'\t').map(unescape).collect()));
                if seen.len() >= RECORDS {
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
        Ok(seen.into_iter().filter(|record| record.len() == order.key.len() + new.len()).collect())
    }
}

/// Of each wanted key the newest row: its number among the wanted, and the fields that went.
fn lookup(table: &str, key: &[&Column], gone: &[(&FieldPath, &Column)]) -> String {
    let wanted: Vec<String> =
        key.iter().enumerate().map(|(at, column)| format!("${}::text[]::{}[]", at + 1, column.sql_type)).collect();
    let names: Vec<String> = (0..key.len()).map(|at| format!("k{at}")).collect();
    let same: Vec<String> =
        key.iter().zip(&names).map(|(column, name)| format!("t.{} = w.{name}", ident(&column.name))).collect();
    let values: Vec<String> = gone.iter().map(|(_, column)| format!("t.{}::text", ident(&column.name))).collect();
    format!(
        "SELECT DISTINCT ON (w.n) w.n, {} FROM unnest({}) WITH ORDINALITY AS w ({}, n) JOIN {table} t ON {} \
         ORDER BY w.n, t._airbyte_raw_id COLLATE \"C\" DESC",
        values.join(", "),
        wanted.join(", "),
        names.join(", "),
        same.join(" AND ")
    )
}
