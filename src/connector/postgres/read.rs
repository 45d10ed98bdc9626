//! Reading one relation: one COPY out of one snapshot, cut into batches.

use futures_util::TryStreamExt;
use sqlx::postgres::PgConnection;

use super::catalog::{self, Column, Relation};
use super::connect::{begin_reading, ident, literal};
use super::position::{Along, Position};
use crate::connector::Position::After;
use crate::connector::copy_text::{push_escaped, split_last, unescape};
use crate::connector::{BATCH_BYTES, Batch, BatchSink, How, ReadOrder, database_error, failure};
use crate::model::FieldPath;
use crate::ports::{EndpointHandle, EngineError, Remedy};

/// How the rows are ordered, and thus where reading can go on.
enum Order {
    /// By nothing: a read that is cut off begins anew.
    None,
    /// Along the key.
    Key(Vec<Column>),
    /// Along the cursor.
    Cursor(Column),
}

/// Reads the ordered stream to its end.
pub async fn read(
    endpoint: &EndpointHandle,
    connection: &mut PgConnection,
    order: &ReadOrder,
    sink: &BatchSink,
) -> Result<(), EngineError> {
    let what = format!("reading stream {} of {}", order.stream, endpoint.name);
    let wrong = |e: sqlx::Error| database_error(endpoint, what.clone(), &e);
    let person = |why: String| failure(endpoint, what.clone(), &why, Remedy::Person);
    begin_reading(connection).await.map_err(wrong)?;
    let schema = order.stream.namespace.clone().unwrap_or_else(|| "public".to_owned());
    let found = catalog::relations(connection, Some(std::slice::from_ref(&schema)), Some(&order.stream.name))
        .await
        .map_err(wrong)?;
    let relation = found
        .get(&(schema.clone(), order.stream.name.clone()))
        .ok_or_else(|| person("the source has no such table, or the user may not read it".to_owned()))?;
    let along = plan_order(relation, &order.how).map_err(&person)?;
    let position = order
        .state
        .clone()
        .map(serde_json::from_value::<Position>)
        .transpose()
        .map_err(|e| person(format!("the stored position cannot be read: {e}")))?;
    let position = position.filter(|p| fits(p, &along));
    let sql = statement(&schema, relation, order, &along, position.as_ref()).map_err(&person)?;
    let ended = copy(connection, &sql, &along, position, sink).await.map_err(wrong)?;
    if ended {
        // nothing was written: only the snapshot ends
        sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map_err(wrong)?;
    }
    Ok(())
}

/// Whether a position lies on this order. One of another cursor, or of another kind of read, says nothing here.
fn fits(position: &Position, along: &Order) -> bool {
    match (position, along) {
        (Position::Key(_), Order::Key(_)) => true,
        (Position::Cursor { field, .. }, Order::Cursor(cursor)) => *field == cursor.name,
        _ => false,
    }
}

fn column<'a>(relation: &'a Relation, name: &str) -> Result<&'a Column, String> {
    let found = relation.columns.iter().find(|c| c.name == name);
    found.ok_or_else(|| format!("the source has no field {} any more", FieldPath::top(name)))
}

fn plan_order(relation: &Relation, how: &How) -> Result<Order, String> {
    match how {
        How::Full if relation.key.is_empty() => Ok(Order::None),
        How::Full => {
            relation.key.iter().map(|k| column(relation, k).cloned()).collect::<Result<_, _>>().map(Order::Key)
        }
        How::New(None) => Err("incremental reading of a table needs a cursor field".to_owned()),
        How::New(Some(cursor)) if cursor.segments().len() > 1 => {
            Err(format!("the cursor {cursor} lies inside another field; a table's cursor must be a column"))
        }
        How::New(Some(cursor)) => column(relation, cursor.root()).cloned().map(Order::Cursor),
    }
}

/// The COPY statement: the ordered columns, then the columns that the order goes along, as text.
fn statement(
    schema: &str,
    relation: &Relation,
    order: &ReadOrder,
    along: &Order,
    position: Option<&Position>,
) -> Result<String, String> {
    let mut select = Vec::new();
    for (name, target) in &order.columns {
        match column(relation, name) {
            Ok(column) => select.push(column.ty.select(&format!("t.{}", ident(name)), target)),
            Err(_) if order.missing_as_null => select.push("NULL".to_owned()),
            Err(gone) => return Err(gone),
        }
    }
    let cast = |c: &Column, value: &str| format!("{}::{}", literal(value), c.sql_type);
    let (mut filter, mut sort) = (String::new(), String::new());
    match along {
        Order::None => {}
        Order::Key(key) => {
            let names: Vec<String> = key.iter().map(|c| format!("t.{}", ident(&c.name))).collect();
            select.extend(names.iter().map(|n| format!("{n}::text")));
            sort = format!(" ORDER BY {}", names.join(", "));
            if let Some(Position::Key(after)) = position {
                if after.len() != key.len() {
                    return Err("the table's key is another one than when this read began".to_owned());
                }
                let values: Vec<String> = key.iter().zip(after).map(|(c, v)| cast(c, v)).collect();
                filter = format!(" WHERE ({}) > ({})", names.join(", "), values.join(", "));
            }
        }
        Order::Cursor(cursor) => {
            let name = format!("t.{}", ident(&cursor.name));
            select.push(format!("{name}::text"));
            sort = format!(" ORDER BY {name}{}", if cursor.nullable { " NULLS FIRST" } else { "" });
            if let Some(Position::Cursor { at: Some(at), .. }) = position {
                (filter, sort) = (format!(" WHERE {name} >= {}", cast(cursor, at)), format!(" ORDER BY {name}"));
            }
        }
    }
    let table = format!("{}.{}", ident(schema), ident(&order.stream.name));
    Ok(format!("COPY (SELECT {} FROM {table} t{filter}{sort}) TO STDOUT", select.join(", ")))
}

/// A batch while it grows.
struct Growing<'a> {
    along: &'a Order,
    extras: usize,
    ties: Along,
    last_key: Vec<u8>,
    batch: Batch,
}

/// Runs the COPY and sends its rows; `false` if the receiver went away.
async fn copy(
    connection: &mut PgConnection,
    sql: &str,
    along: &Order,
    position: Option<Position>,
    sink: &BatchSink,
) -> Result<bool, sqlx::Error> {
    let extras = match along {
        Order::None => 0,
        Order::Key(key) => key.len(),
        Order::Cursor(_) => 1,
    };
    let ties = match position {
        Some(Position::Cursor { at, seen, beyond, .. }) => {
            let mut escaped = Vec::new();
            match &at {
                Some(at) => push_escaped(&mut escaped, at.as_bytes()),
                None => escaped.extend_from_slice(crate::connector::copy_text::NULL),
            }
            Along::from(seen, beyond, escaped)
        }
        _ => Along::default(),
    };
    let mut growing = Growing { along, extras, ties, last_key: Vec::new(), batch: Batch::default() };
    let mut stream = connection.copy_out_raw(sql).await?;
    let mut partial = Vec::new(); // the protocol does not promise whole lines in a message
    while let Some(chunk) = stream.try_next().await? {
        for piece in chunk.split_inclusive(|b| *b == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) if partial.is_empty() => growing.add(line),
                Some(line) => {
                    partial.extend_from_slice(line);
                    growing.add(&partial);
                    partial.clear();
                }
                None => partial.extend_from_slice(piece),
            }
        }
        if growing.batch.rows.len() >= BATCH_BYTES && sink.send(growing.take()).await.is_err() {
            return Ok(false);
        }
    }
    drop(stream);
    Ok(growing.batch.count == 0 || sink.send(growing.take()).await.is_ok())
}

impl Growing<'_> {
    fn add(&mut self, line: &[u8]) {
        let row = if self.extras == 0 {
            line
        } else {
            let (row, extra) = cut(line, self.extras);
            match self.along {
                Order::Cursor(_) if !self.ties.wants(extra, row, self.batch.rows.len()) => return,
                Order::Key(_) => {
                    self.last_key.clear();
                    self.last_key.extend_from_slice(extra);
                }
                _ => {}
            }
            row
        };
        self.batch.rows.extend_from_slice(row);
        self.batch.rows.push(b'\n');
        self.batch.count += 1;
    }

    fn take(&mut self) -> Batch {
        let position = match self.along {
            Order::None => None,
            Order::Key(_) => {
                let (_, fields) = split_last(&self.last_key, self.extras);
                Some(Position::Key(fields.into_iter().filter_map(unescape).collect()))
            }
            Order::Cursor(cursor) => self.ties.position(&cursor.name, &self.batch.rows),
        };
        let mut batch = std::mem::take(&mut self.batch);
        self.batch.rows.reserve(BATCH_BYTES + BATCH_BYTES / 8);
        if let Some(position) = position {
            batch.position = After(serde_json::to_value(position).expect("a position is plain data"));
        }
        batch
    }
}

/// Cuts the last `count` fields off a line; both parts without the tab between them.
fn cut(line: &[u8], count: usize) -> (&[u8], &[u8]) {
    let at = line.iter().enumerate().rev().filter(|(_, b)| **b == b'\t').nth(count - 1).map(|(at, _)| at);
    at.map_or((&[], line), |at| (&line[..at], &line[at + 1..]))
}
