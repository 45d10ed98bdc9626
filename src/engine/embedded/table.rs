//! The form of landing tables: columns, types, indexes, and how a table follows a changed schema.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgConnection;

pub use super::names::META;
use super::names::{Naming, TableName};
use crate::connector::postgres::ident;
use crate::model::FieldType;
use crate::ports::ConfiguredStream;

/// A data column of a landing table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The field's name at the source.
    pub field: String,
    /// The column's name.
    pub name: String,
    /// The column's type, as PostgreSQL names it.
    pub sql_type: String,
}

/// The column type for a field type.
pub fn sql_type(ty: &FieldType) -> &'static str {
    match ty {
        FieldType::Boolean => "boolean",
        FieldType::Integer => "bigint",
        FieldType::Number | FieldType::Decimal { .. } => "numeric",
        FieldType::String(_) | FieldType::Binary => "character varying",
        FieldType::Date => "date",
        FieldType::Time => "time without time zone",
        FieldType::TimeTz => "time with time zone",
        FieldType::Timestamp => "timestamp without time zone",
        FieldType::TimestampTz => "timestamp with time zone",
        FieldType::Object | FieldType::Array | FieldType::Map | FieldType::Any | FieldType::Union(_) => "jsonb",
    }
}

/// The data columns of a stream, in the schema's order.
pub fn columns(stream: &ConfiguredStream) -> Vec<Column> {
    let fields = stream.schema.columns();
    let names = Naming::Hashed.columns(fields.iter().map(|(path, _)| path.root()));
    let column = |((path, field), name): ((&crate::model::FieldPath, &crate::model::Field), String)| Column {
        field: path.root().to_owned(),
        name,
        sql_type: sql_type(&field.ty).to_owned(),
    };
    fields.into_iter().zip(names).map(column).collect()
}

/// All columns of a table in order, quoted and joined.
pub fn column_list(columns: &[Column]) -> String {
    let meta = META.iter().map(|(name, _)| ident(name));
    meta.chain(columns.iter().map(|c| ident(&c.name))).collect::<Vec<_>>().join(", ")
}

/// `CREATE TABLE` for these columns.
pub fn create(table: &TableName, columns: &[Column]) -> String {
    let meta = META.iter().map(|(name, ty)| format!("{} {ty} NOT NULL", ident(name)));
    let data = columns.iter().map(|c| format!("{} {}", ident(&c.name), c.sql_type));
    format!("CREATE TABLE {} ({})", table.sql(), meta.chain(data).collect::<Vec<_>>().join(", "))
}

/// The indexes: Airbyte's, and one along which landing is read (see `raw_id`).
pub fn indexes(table: &TableName, key: &[String], cursor: Option<&str>) -> Vec<String> {
    let on = |columns: String| format!("CREATE INDEX ON {} ({columns})", table.sql());
    let mut all = vec![on("_airbyte_extracted_at".into()), on("_airbyte_raw_id COLLATE \"C\"".into())];
    if !key.is_empty() {
        // an index holds at most 32 columns
        let parts = key.iter().map(String::as_str).chain(cursor).take(31).map(ident);
        all.push(on(parts.chain(["_airbyte_extracted_at".to_owned()]).collect::<Vec<_>>().join(", ")));
    }
    all
}

/// A table's columns with their types, precision left out; empty if it does not exist.
pub async fn existing(db: &mut PgConnection, table: &TableName) -> Result<Vec<(String, String)>, sqlx::Error> {
    let sql = "SELECT a.attname::text, format_type(a.atttypid, NULL) FROM pg_attribute a
               JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = sqlx::query(sql).bind(&table.schema).bind(&table.name).fetch_all(db).await?;
    rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect()
}

/// The statement that makes an existing table one with these columns; `None` if it is that already, an error if it is no
/// landing table. Columns that the stream does not carry any more are dropped, as Airbyte does.
pub fn alter(table: &TableName, old: &[(String, String)], new: &[Column]) -> Result<Option<String>, String> {
    if let Some((missing, _)) = META.iter().find(|(name, _)| !old.iter().any(|(o, _)| o == name)) {
        return Err(format!("table {} is no landing table: it has no column {missing}", table.sql()));
    }
    let mut actions = Vec::new();
    for (name, _) in old.iter().filter(|(o, _)| !META.iter().any(|(m, _)| m == o)) {
        if !new.iter().any(|c| c.name == *name) {
            actions.push(format!("DROP COLUMN {}", ident(name)));
        }
    }
    for column in new {
        let (name, ty) = (ident(&column.name), &column.sql_type);
        match old.iter().find(|(o, _)| *o == column.name) {
            None => actions.push(format!("ADD COLUMN {name} {ty}")),
            Some((_, was)) if was == ty => {}
            Some((_, was)) => {
                let using = match (was.as_str(), ty.as_str()) {
                    (_, "jsonb") => format!("to_jsonb({name})"),
                    ("jsonb", _) => format!("({name} #>> '{{}}')::{ty}"),
                    _ => format!("{name}::text::{ty}"),
                };
                actions.push(format!("ALTER COLUMN {name} TYPE {ty} USING {using}"));
            }
        }
    }
    Ok((!actions.is_empty()).then(|| format!("ALTER TABLE {} {}", table.sql(), actions.join(", "))))
}
