//! Reads a table's rows as JSON, all or those beyond the cursor.

use serde_json::Value;

use super::super::discover::connect;
use super::Load;
use super::table::{Table, ident, literal};

/// The name of the cursor's value beside the columns.
const AT: &str = "_stand_in_at";

/// The rows, and the greatest value of the cursor among them.
pub async fn read(
    settings: &Value,
    load: &Load,
    limit: Option<u64>,
) -> Result<(Vec<String>, Option<String>), sqlx::Error> {
    let schema = load.key.0.as_deref().unwrap_or("public");
    let pool = connect(settings).await?;
    let table = Table { schema: schema.to_owned(), name: load.key.1.clone() };
    let present = table.columns(&pool).await?;
    // a column that is gone is left out, and lands as NULL
    let fields = load.stream["jsonSchema"]["properties"].as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| present.iter().any(|(column, _)| column == *name));
    let fields = fields.map(|(name, _)| format!("s.{}", ident(name)));
    let mut columns = fields.collect::<Vec<_>>().join(", ");
    if columns.is_empty() {
        columns = "NULL AS nothing".into();
    }
    let incremental = load.config["syncMode"] == "incremental";
    let cursor = match load.cursor() {
        Some(column) => format!("s.{}", ident(column)),
        // a source that defines its cursor goes by row versions
        None if incremental => "s.xmin::text::bigint".to_owned(),
        None => "NULL".to_owned(),
    };
    let mut sql = format!("SELECT {cursor}::text AS {AT}, {columns} FROM {}.{} s", ident(schema), ident(&load.key.1));
    if incremental {
        if let Some(seen) = &load.before.cursor {
            sql += &format!(" WHERE {cursor} > {}", literal(seen));
        }
        sql += &format!(" ORDER BY {cursor} NULLS FIRST");
    }
    if let Some(limit) = limit {
        sql += &format!(" LIMIT {limit}");
    }
    let sql = format!("SELECT (to_jsonb(t) - '{AT}')::text, t.{AT} FROM ({sql}) t");
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_all(&pool).await?;
    pool.close().await;
    let last = rows.iter().rev().find_map(|(_, at)| at.clone()).filter(|_| incremental);
    Ok((rows.into_iter().map(|(row, _)| row).collect(), last))
}
