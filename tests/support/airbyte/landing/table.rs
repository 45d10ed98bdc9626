//! Tables, their columns and types, and SQL text that both forms need.

use serde_json::Value;
use sqlx::PgPool;

use super::{Load, names};

/// A table of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// A data column.
pub struct Column {
    /// The field in the JSON.
    pub field: String,
    /// Its name, cleaned.
    pub name: String,
    /// Its type in SQL.
    pub ty: &'static str,
}

impl Table {
    /// For SQL.
    pub fn sql(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.name))
    }

    /// The columns that it has; none if it is not there.
    pub async fn columns(&self, pool: &PgPool) -> Result<Vec<(String, String)>, sqlx::Error> {
        let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
             JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        sqlx::query_as(sql).persistent(false).bind(&self.schema).bind(&self.name).fetch_all(pool).await
    }
}

/// Quoted.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quoted.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Runs one or more statements.
pub async fn run(pool: &PgPool, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(pool).await.map(drop)
}

/// The data columns of a stream. 2.x cuts names and has a fixed scale, 3.x shortens them with a hash.
pub fn columns(load: &Load) -> Vec<Column> {
    let properties = load.stream["jsonSchema"]["properties"].as_object().into_iter().flatten();
    let column = |(field, schema): (&String, &Value)| Column {
        field: field.clone(),
        name: names::identifier(field, load.is_direct),
        ty: sql_type(schema, load.is_direct),
    };
    properties.map(column).collect()
}

/// Defines, for this session, a function that tells whether a text can be read as a type.
pub const FITS: &str = "CREATE OR REPLACE FUNCTION pg_temp.fits(value text, type text) RETURNS boolean LANGUAGE plpgsql AS \
    $$ BEGIN EXECUTE format('SELECT %L::%s', value, type); RETURN true; EXCEPTION WHEN OTHERS THEN RETURN false; END $$";

/// The value of a column in the record `doc`; what does not fit its type is NULL.
pub fn value(column: &Column, doc: &str) -> String {
    let (field, ty) = (literal(&column.field), column.ty);
    match ty {
        "jsonb" => format!("nullif({doc} -> {field}, 'null')"),
        "varchar" => format!("{doc} ->> {field}"),
        _ => format!("CASE WHEN pg_temp.fits({doc} ->> {field}, '{ty}') THEN ({doc} ->> {field})::{ty} END"),
    }
}

/// `_airbyte_meta` of the record `doc`: what did not fit, by its original name.
pub fn meta(columns: &[Column], doc: &str, sync_id: &str, reason: &str) -> String {
    let change = |column: &Column| {
        let (field, ty) = (literal(&column.field), column.ty);
        format!(
            ", CASE WHEN {doc} ->> {field} IS NOT NULL AND NOT pg_temp.fits({doc} ->> {field}, '{ty}') THEN \
             jsonb_build_object('field', {field}, 'change', 'NULLED', 'reason', '{reason}') END"
        )
    };
    let typed = columns.iter().filter(|c| !["jsonb", "varchar"].contains(&c.ty)).map(change);
    format!(
        "jsonb_build_object('sync_id', {sync_id}, 'changes', to_jsonb(array_remove(ARRAY[NULL::jsonb{}], NULL)))",
        typed.collect::<String>()
    )
}

/// Each item written by `one`, each with a comma in front.
pub fn each(columns: &[Column], one: impl Fn(&Column) -> String) -> String {
    columns.iter().map(|c| format!(", {}", one(c))).collect()
}

fn sql_type(schema: &Value, is_direct: bool) -> &'static str {
    let words: Vec<&str> = match &schema["type"] {
        Value::String(word) => vec![word],
        Value::Array(words) => words.iter().filter_map(Value::as_str).filter(|w| *w != "null").collect(),
        _ => vec![],
    };
    let hint = schema["airbyte_type"].as_str().unwrap_or_default();
    let without_zone = hint.ends_with("_without_timezone");
    match (words.as_slice(), schema["format"].as_str()) {
        (["string"], Some("date")) => "date",
        (["string"], Some("date-time")) if without_zone => "timestamp",
        (["string"], Some("date-time")) => "timestamptz",
        (["string"], Some("time")) if without_zone => "time",
        (["string"], Some("time")) => "timetz",
        (["string"], _) => "varchar",
        (["integer"], _) => "bigint",
        (["number"], _) if hint == "integer" => "bigint",
        (["number"], _) if is_direct => "decimal",
        (["number"], _) => "numeric(38,9)",
        (["boolean"], _) => "boolean",
        _ => "jsonb",
    }
}
