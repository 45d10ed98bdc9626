//! Direct load, 3.x: one table per stream, meta columns first.

use sqlx::PgPool;

use super::table::{Column, FITS, Table, columns, each, ident, literal, meta, run, value};
use super::{Load, Mode, names};

const META: &str = "_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, \
    _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint NOT NULL";
const META_NAMES: &str = "_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, _airbyte_generation_id";

/// Writes a page of rows, a JSON list.
pub async fn write(pool: &PgPool, load: &Load, page: &str) -> Result<(), sqlx::Error> {
    let (schema, name) = (names::identifier(&load.target.0, true), names::identifier(&load.target.1, true));
    let temporary = Table { name: names::temporary(&schema, &name), schema: schema.clone() };
    let table = Table { schema, name };
    let columns = columns(load);
    run(pool, &format!("CREATE SCHEMA IF NOT EXISTS {}", ident(&table.schema))).await?;
    let present = table.columns(pool).await?;
    if present.is_empty() {
        create(pool, &table, &columns).await?;
    } else if load.mode != Mode::Replace {
        alter(pool, &table, &columns, &present).await?;
    }
    match load.mode {
        Mode::Append => insert(pool, &table, load, &columns, page).await,
        Mode::Replace => {
            fill_temporary(pool, &temporary, load, &columns, page).await?;
            let swap = format!(
                "BEGIN; DROP TABLE {}; ALTER TABLE {} RENAME TO {}; COMMIT",
                table.sql(),
                temporary.sql(),
                ident(&table.name)
            );
            run(pool, &swap).await
        }
        Mode::Dedup => {
            fill_temporary(pool, &temporary, load, &columns, page).await?;
            upsert(pool, &table, &temporary, load, &columns).await
        }
    }
}

async fn create(pool: &PgPool, table: &Table, columns: &[Column]) -> Result<(), sqlx::Error> {
    let data = each(columns, |c| format!("{} {}", ident(&c.name), c.ty));
    run(pool, &format!("CREATE TABLE {} ({META}{data})", table.sql())).await
}

async fn fill_temporary(
    pool: &PgPool,
    temporary: &Table,
    load: &Load,
    columns: &[Column],
    page: &str,
) -> Result<(), sqlx::Error> {
    run(pool, &format!("DROP TABLE IF EXISTS {}", temporary.sql())).await?;
    create(pool, temporary, columns).await?;
    insert(pool, temporary, load, columns, page).await
}

/// Columns that the stream does not have are dropped, whoever made them.
async fn alter(
    pool: &PgPool,
    table: &Table,
    columns: &[Column],
    present: &[(String, String)],
) -> Result<(), sqlx::Error> {
    let mut changes = Vec::new();
    for (name, _) in present.iter().filter(|(name, _)| !META_NAMES.split(", ").any(|meta| meta == name)) {
        if !columns.iter().any(|c| c.name == *name) {
            changes.push(format!("DROP COLUMN {}", ident(name)));
        }
    }
    for column in columns {
        let (name, ty) = (ident(&column.name), column.ty);
        match present.iter().find(|(name, _)| *name == column.name) {
            None => changes.push(format!("ADD COLUMN {name} {ty}")),
            Some((_, is)) if long(ty) != is.split('(').next().unwrap_or_default() => {
                changes.push(format!("ALTER COLUMN {name} TYPE {ty} USING {name}::text::{ty}"));
            }
            Some(_) => {}
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    run(pool, &format!("ALTER TABLE {} {}", table.sql(), changes.join(", "))).await
}

/// A type's name as the catalog tells it, without precision.
fn long(ty: &str) -> &str {
    match ty {
        "varchar" => "character varying",
        "decimal" => "numeric",
        "timestamptz" => "timestamp with time zone",
        "timestamp" => "timestamp without time zone",
        "timetz" => "time with time zone",
        "time" => "time without time zone",
        other => other,
    }
}

async fn insert(pool: &PgPool, table: &Table, load: &Load, columns: &[Column], page: &str) -> Result<(), sqlx::Error> {
    run(pool, FITS).await?;
    let sql = format!(
        "INSERT INTO {} ({META_NAMES}{}) SELECT gen_random_uuid()::text, date_trunc('milliseconds', clock_timestamp()), \
         {}, {}{} FROM jsonb_array_elements({}::jsonb) AS r",
        table.sql(),
        each(columns, |c| ident(&c.name)),
        meta(columns, "r", &load.sync_id.to_string(), "DESTINATION_SERIALIZATION_ERROR"),
        load.before.generation,
        each(columns, |c| value(c, "r")),
        literal(page),
    );
    run(pool, &sql).await
}

/// The best row of each key: the one with the greater cursor, then the later. In place, so that a record keeps its row.
async fn upsert(
    pool: &PgPool,
    table: &Table,
    temporary: &Table,
    load: &Load,
    columns: &[Column],
) -> Result<(), sqlx::Error> {
    let name = |field: &str| columns.iter().find(|c| c.field == field).map(|c| ident(&c.name));
    let key: Vec<String> = load.primary_key().into_iter().filter_map(name).collect();
    let cursor = load.cursor().and_then(name).unwrap_or_else(|| "_airbyte_extracted_at".into());
    let same: Vec<String> = key.iter().map(|k| format!("t.{k} IS NOT DISTINCT FROM b.{k}")).collect();
    let same = same.join(" AND ");
    let data = each(columns, |c| ident(&c.name));
    let set = META_NAMES.split(", ").map(str::to_owned).chain(columns.iter().map(|c| ident(&c.name)));
    let set: Vec<String> = set.map(|c| format!("{c} = b.{c}")).collect();
    let sql = format!(
        "BEGIN; \
         CREATE TEMPORARY TABLE best ON COMMIT DROP AS SELECT DISTINCT ON ({key}) * FROM {from} \
           ORDER BY {key}, {cursor} DESC NULLS LAST, _airbyte_extracted_at DESC; \
         UPDATE {to} t SET {set} FROM best b WHERE {same} AND (t.{cursor} IS NULL OR b.{cursor} > t.{cursor} \
           OR b.{cursor} = t.{cursor} AND b._airbyte_extracted_at > t._airbyte_extracted_at); \
         INSERT INTO {to} ({META_NAMES}{data}) SELECT {META_NAMES}{data} FROM best b \
           WHERE NOT EXISTS (SELECT FROM {to} t WHERE {same}); \
         DROP TABLE {from}; COMMIT",
        key = key.join(", "),
        from = temporary.sql(),
        to = table.sql(),
        set = set.join(", "),
    );
    run(pool, &sql).await
}
