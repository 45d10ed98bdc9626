//! Reading `pg_catalog`: relations with their columns and keys, and the catalog made of them.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{FromRow, Row};

use super::types::{PgType, Resolved, Types, resolve};
use crate::model::{Catalog, Cursor, Field, FieldPath, FieldType, Segment, Stream, StreamName, SyncMode};

/// A table, partitioned table, view, materialized view or foreign table.
#[derive(Debug, Clone, Default)]
pub struct Relation {
    /// Columns in order.
    pub columns: Vec<Column>,
    /// The primary key, else the smallest unique index over columns that are not null; empty if there is none.
    pub key: Vec<String>,
}

/// A column that the user may read.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Resolved,
    /// Its type as PostgreSQL writes it, schema and all.
    pub sql_type: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Its comment.
    pub comment: Option<String>,
}

#[derive(FromRow)]
struct ColumnRow {
    schema: String,
    relation: String,
    name: String,
    not_null: bool,
    type_oid: i64,
    typmod: i32,
    sql_type: String,
    comment: Option<String>,
}

/// Relations that the user may read, partitions and members of extensions left out. `$2` asks for a single one.
const COLUMNS: &str = "
    SELECT n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS name, a.attnotnull AS not_null,
           a.atttypid::int8 AS type_oid, a.atttypmod::int4 AS typmod, format_type(a.atttypid, a.atttypmod) AS sql_type,
           col_description(c.oid, a.attnum) AS comment
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND ($1::text[] IS NULL OR n.nspname = ANY ($1::text[]))
      AND ($2::text IS NULL OR c.relname = $2::text)
      AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2, a.attnum";

/// Unique indexes that identify a row: whole, on plain columns, none of them null; the primary key first.
const KEYS: &str = "
    SELECT n.nspname::text AS schema, c.relname::text AS relation,
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                 WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS columns
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND ($1::text[] IS NULL OR n.nspname = ANY ($1::text[]))
      AND ($2::text IS NULL OR c.relname = $2::text)
      AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                      WHERE k.place <= i.indnkeyatts AND a.attnotnull IS NOT TRUE)
    ORDER BY i.indisprimary DESC, i.indnkeyatts, x.relname";

const TYPES: &str = "
    SELECT oid::int8 AS oid, typname::text AS name, typtype::text AS kind, typbasetype::int8 AS base,
           typtypmod::int4 AS typmod, typnotnull AS not_null,
           CASE WHEN typcategory = 'A' AND typlen = -1 THEN typelem::int8 ELSE 0 END AS element
    FROM pg_type";

/// Relations by schema and name; all of the schemas, or the one asked for.
pub async fn relations(
    connection: &mut PgConnection,
    schemas: Option<&[String]>,
    one: Option<&str>,
) -> Result<BTreeMap<(String, String), Relation>, sqlx::Error> {
    let types = types(connection).await?;
    let rows: Vec<ColumnRow> = sqlx::query_as(COLUMNS).bind(schemas).bind(one).fetch_all(&mut *connection).await?;
    let mut found: BTreeMap<(String, String), Relation> = BTreeMap::new();
    for row in rows {
        let ty = resolve(&types, row.type_oid, row.typmod);
        let nullable = !(row.not_null || ty.not_null);
        let column = Column { name: row.name, ty, sql_type: row.sql_type, nullable, comment: row.comment };
        found.entry((row.schema, row.relation)).or_default().columns.push(column);
    }
    let rows = sqlx::query(KEYS).bind(schemas).bind(one).fetch_all(&mut *connection).await?;
    for row in rows {
        let (schema, relation, columns): (String, String, Vec<String>) =
            (row.try_get("schema")?, row.try_get("relation")?, row.try_get("columns")?);
        if let Some(relation) = found.get_mut(&(schema, relation)) {
            let readable = columns.iter().all(|k| relation.columns.iter().any(|c| c.name == *k));
            if relation.key.is_empty() && readable {
                relation.key = columns;
            }
        }
    }
    Ok(found)
}

async fn types(connection: &mut PgConnection) -> Result<Types, sqlx::Error> {
    let rows = sqlx::query(TYPES).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let ty = PgType {
                name: row.try_get("name")?,
                kind: row.try_get("kind")?,
                base: row.try_get("base")?,
                typmod: row.try_get("typmod")?,
                element: row.try_get("element")?,
                not_null: row.try_get("not_null")?,
            };
            Ok((row.try_get("oid")?, ty))
        })
        .collect()
}

/// Which of these schemas the database does not have.
pub async fn missing_schemas(connection: &mut PgConnection, schemas: &[String]) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT s FROM unnest($1::text[]) s WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = s)";
    sqlx::query_scalar(sql).bind(schemas).fetch_all(connection).await
}

/// The catalog of these relations.
pub fn catalog(relations: &BTreeMap<(String, String), Relation>) -> Catalog {
    let streams = relations.iter().map(|((schema, name), r)| (StreamName::within(schema, name), stream(r)));
    Catalog { streams: streams.collect() }
}

fn stream(relation: &Relation) -> Stream {
    let mut stream = Stream {
        key: relation.key.iter().map(FieldPath::top).collect(),
        modes: [SyncMode::FullRefresh].into(),
        ..Stream::default()
    };
    for (place, column) in (0..).zip(&relation.columns) {
        let path = FieldPath::top(&column.name);
        if let Some(items) = &column.ty.items {
            stream.fields.insert(path.child(Segment::Items), Field::new(items.clone(), true));
        }
        let mut field = Field::new(column.ty.ty.clone(), column.nullable);
        (field.place, field.description) = (Some(place), column.comment.clone());
        stream.fields.insert(path, field);
    }
    if relation.columns.iter().any(|c| orders(&c.ty.ty)) {
        stream.modes.insert(SyncMode::Incremental);
        stream.cursor = Cursor::Any(suggestion(relation).map(FieldPath::top));
    }
    stream
}

/// Whether values of the type have an order that a cursor can follow.
fn orders(ty: &FieldType) -> bool {
    use FieldType::{Date, Decimal, Integer, Number, String, Timestamp, TimestampTz};
    matches!(ty, Integer | Number | Decimal { .. } | Date | Timestamp | TimestampTz | String(_))
}

/// Names under which systems keep the time of a row's last change, the commonest first.
const CHANGE_TIMES: &[&str] =
    &["updated_at", "modified_at", "last_modified", "last_modified_at", "updated_on", "modified_on", "systemmodstamp"];

fn suggestion(relation: &Relation) -> Option<&str> {
    CHANGE_TIMES.iter().find_map(|name| {
        let is_time = |c: &&Column| matches!(c.ty.ty, FieldType::Timestamp | FieldType::TimestampTz);
        let column = relation.columns.iter().filter(is_time).find(|c| c.name.eq_ignore_ascii_case(name))?;
        Some(column.name.as_str())
    })
}
