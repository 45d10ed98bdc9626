//! Which table a stream's rows are in.
//!
//! Names are computed from the stream, never parsed back, so temporary tables are never met. What is there under those
//! names decides the form; a version number would not, since a table outlives the version that made it.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::destination::Destination;
use crate::engine::names::{self, Naming, TableName};
use crate::model::StreamName;
use crate::ports::LandingPlace;

/// A table that a stream may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: TableName,
    /// Whether its rows are JSON.
    pub is_raw: bool,
}

/// A table as it is.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Changes when another table takes its name.
    pub oid: i64,
    /// Changes when it is rewritten, too.
    pub file: i64,
    /// The role that made it.
    pub owner: String,
    /// The role that reads it.
    pub reader: String,
    /// Whether its rows are JSON.
    pub is_raw: bool,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    sql_type: String,
    not_null: bool,
}

/// The tables that a stream may have, the best first. The newer version's come first: the older version's stay behind as
/// they were when the newer one took other names. Where there are typed rows, the JSON beside them is their past.
pub fn candidates(place: &LandingPlace, destination: &Destination<'_>, stream: &StreamName) -> Vec<Candidate> {
    let mut carried = place.streams.clone();
    let at = carried.iter().position(|name| name == stream).unwrap_or_else(|| {
        carried.push(stream.clone());
        carried.len() - 1
    });
    let streams: Vec<_> = carried.iter().map(|name| destination.handed_over(place, name)).collect();
    let raw = |naming: Naming, schema: &str, name: &str| naming.raw_table(&destination.internal, schema, name);
    let [new] = names::apart(&streams, |s, n| [Naming::Hashed.table(s, n)])[at].clone();
    let [new_raw] = names::apart(&streams, |s, n| [raw(Naming::Hashed, s, n)])[at].clone();
    // the older version wrote both, and kept both apart
    let [old, old_raw] = names::apart(&streams, |s, n| [Naming::Cut.table(s, n), raw(Naming::Cut, s, n)])[at].clone();
    let mut all: Vec<Candidate> = [(new, false), (old, false), (new_raw, true), (old_raw, true)]
        .map(|(name, is_raw)| Candidate { name, is_raw })
        .into();
    all.sort_by_key(|candidate| candidate.is_raw != destination.raw_only);
    all
}

/// The first of these tables that is there and has its form.
pub async fn find(db: &mut PgConnection, candidates: &[Candidate]) -> Result<Option<Table>, sqlx::Error> {
    let sql = "SELECT n.nspname::text, c.relname::text, c.oid::bigint, c.relfilenode::bigint,
                   pg_get_userbyid(c.relowner)::text, current_user::text,
                   array_agg(a.attname::text ORDER BY a.attnum), array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum),
                   array_agg(a.attnotnull ORDER BY a.attnum)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
                   AND (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))
               GROUP BY n.oid, c.oid";
    let schemas: Vec<&str> = candidates.iter().map(|c| c.name.schema.as_str()).collect();
    let names: Vec<&str> = candidates.iter().map(|c| c.name.name.as_str()).collect();
    let rows = sqlx::query(sql).persistent(false).bind(&schemas).bind(&names).fetch_all(db).await?;
    let mut tables = Vec::new();
    for row in &rows {
        let (names, types): (Vec<String>, Vec<String>) = (row.try_get(6)?, row.try_get(7)?);
        let columns = names.into_iter().zip(types).zip(row.try_get::<Vec<bool>, _>(8)?);
        let columns: Vec<Column> =
            columns.map(|((name, sql_type), not_null)| Column { name, sql_type, not_null }).collect();
        tables.push(Table {
            name: TableName { schema: row.try_get(0)?, name: row.try_get(1)? },
            oid: row.try_get(2)?,
            file: row.try_get(3)?,
            owner: row.try_get(4)?,
            reader: row.try_get(5)?,
            is_raw: columns.iter().any(|c| c.name == "_airbyte_data"),
            columns,
        });
    }
    let fits = |candidate: &Candidate| {
        let table = tables.iter().find(|t| t.name == candidate.name && t.is_raw == candidate.is_raw)?;
        // a table that somebody else made of the raw one may have its name, but not these
        (table.has("_airbyte_raw_id") && table.has("_airbyte_extracted_at")).then(|| table.clone())
    };
    Ok(candidates.iter().find_map(fits))
}

impl Table {
    /// Whether it has this column.
    pub fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.name == name)
    }

    /// Whether no row lacks a value there.
    pub fn never_null(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.name == name && c.not_null)
    }

    /// Whether the column holds JSON already.
    pub fn is_json(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.name == name && c.sql_type == "jsonb")
    }

    /// The column of each field that has one. A table keeps the names of the version that made its columns, so the rule
    /// that explains more of them holds for all.
    pub fn columns_of(&self, fields: &[String]) -> Vec<(String, String)> {
        let by = |naming: Naming| -> Vec<(String, String)> {
            let columns = naming.columns(fields.iter().map(String::as_str));
            fields.iter().cloned().zip(columns).filter(|(_, column)| self.has(column)).collect()
        };
        let (old, new) = (by(Naming::Cut), by(Naming::Hashed));
        if old.len() > new.len() { old } else { new }
    }
}
