//! Raw and typed, 2.x: every record as JSON in a raw table, and a final table made from it, meta columns last.

use sqlx::PgPool;

use super::names::{cut, identifier, raw_table};
use super::table::{Column, FITS, Table, columns, each, ident, literal, meta, run, value};
use super::{Load, Mode};

const RAW: &str = "_airbyte_raw_id varchar PRIMARY KEY, _airbyte_data jsonb, \
    _airbyte_extracted_at timestamptz DEFAULT now(), _airbyte_loaded_at timestamptz, _airbyte_meta jsonb, \
    _airbyte_generation_id bigint";
const META: &str = "_airbyte_raw_id varchar(36) NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, \
    _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint";
const META_NAMES: &str = "_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, _airbyte_generation_id";

/// Writes a page of rows, a JSON list.
pub async fn write(pool: &PgPool, load: &Load, page: &str) -> Result<(), sqlx::Error> {
    let settings = load.destination.as_ref().expect("a real destination");
    let internal = settings["raw_data_schema"].as_str().unwrap_or("airbyte_internal").to_lowercase();
    let (namespace, name) = &load.target;
    let raw = Table { schema: internal, name: raw_table(namespace, name) };
    let table = Table { schema: identifier(namespace, false), name: identifier(name, false) };
    let columns = columns(load);
    for schema in [&raw.schema, &table.schema] {
        run(pool, &format!("CREATE SCHEMA IF NOT EXISTS {}", ident(schema))).await?;
    }
    run(pool, &format!("CREATE TABLE IF NOT EXISTS {} ({RAW})", raw.sql())).await?;
    if load.mode == Mode::Replace {
        return replace(pool, load, &raw, &table, &columns, page).await;
    }
    insert_raw(pool, &raw, load, page).await?;
    let present = table.columns(pool).await?;
    if !present.iter().map(|(name, _)| name.as_str()).eq(names(&columns)) {
        // a changed schema rebuilds the table from everything that ever came
        let fresh = Table { name: cut(&format!("{}_ab_soft_reset", table.name)), ..table.clone() };
        create(pool, &fresh, &columns).await?;
        run(pool, &format!("UPDATE {} SET _airbyte_loaded_at = NULL", raw.sql())).await?;
        move_over(pool, load, &raw, &fresh, &columns).await?;
        return swap(pool, &table, &fresh).await;
    }
    move_over(pool, load, &raw, &table, &columns).await
}

fn names(columns: &[Column]) -> impl Iterator<Item = &str> {
    columns.iter().map(|c| c.name.as_str()).chain(META_NAMES.split(", "))
}

async fn replace(
    pool: &PgPool,
    load: &Load,
    raw: &Table,
    table: &Table,
    columns: &[Column],
    page: &str,
) -> Result<(), sqlx::Error> {
    let temporary = |of: &Table| Table { name: cut(&format!("{}_airbyte_tmp", of.name)), ..of.clone() };
    let (fresh_raw, fresh) = (temporary(raw), temporary(table));
    run(pool, &format!("DROP TABLE IF EXISTS {0}; CREATE TABLE {0} ({RAW})", fresh_raw.sql())).await?;
    create(pool, &fresh, columns).await?;
    insert_raw(pool, &fresh_raw, load, page).await?;
    move_over(pool, load, &fresh_raw, &fresh, columns).await?;
    swap(pool, raw, &fresh_raw).await?;
    swap(pool, table, &fresh).await
}

async fn create(pool: &PgPool, table: &Table, columns: &[Column]) -> Result<(), sqlx::Error> {
    let data: String = columns.iter().map(|c| format!("{} {}, ", ident(&c.name), c.ty)).collect();
    run(pool, &format!("DROP TABLE IF EXISTS {0}; CREATE TABLE {0} ({data}{META})", table.sql())).await
}

async fn swap(pool: &PgPool, table: &Table, fresh: &Table) -> Result<(), sqlx::Error> {
    let (old, new) = (table.sql(), fresh.sql());
    run(pool, &format!("BEGIN; DROP TABLE IF EXISTS {old}; ALTER TABLE {new} RENAME TO {}; COMMIT", ident(&table.name)))
        .await
}

async fn insert_raw(pool: &PgPool, raw: &Table, load: &Load, page: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO {} SELECT gen_random_uuid()::text, record, date_trunc('milliseconds', clock_timestamp()), NULL, \
         '{{\"sync_id\": {}, \"changes\": []}}'::jsonb, {} FROM jsonb_array_elements({}::jsonb) AS record",
        raw.sql(),
        load.sync_id,
        load.before.generation,
        literal(page)
    );
    run(pool, &sql).await
}

/// What is raw and not loaded yet becomes rows; of a key only the best one stays.
async fn move_over(
    pool: &PgPool,
    load: &Load,
    raw: &Table,
    table: &Table,
    columns: &[Column],
) -> Result<(), sqlx::Error> {
    run(pool, FITS).await?;
    let doc = "r._airbyte_data";
    let mut sql = format!(
        "BEGIN; INSERT INTO {to} ({META_NAMES}{names}) SELECT r._airbyte_raw_id, r._airbyte_extracted_at, {meta}, \
         r._airbyte_generation_id{values} FROM {from} r WHERE r._airbyte_loaded_at IS NULL;",
        to = table.sql(),
        from = raw.sql(),
        names = each(columns, |c| ident(&c.name)),
        meta = meta(columns, doc, "(r._airbyte_meta ->> 'sync_id')::bigint", "DESTINATION_TYPECAST_ERROR"),
        values = each(columns, |c| value(c, doc)),
    );
    let name = |field: &str| columns.iter().find(|c| c.field == field).map(|c| ident(&c.name));
    let key: Vec<String> = load.primary_key().into_iter().filter_map(name).collect();
    if load.config["destinationSyncMode"] == "append_dedup" && !key.is_empty() {
        let cursor = load.cursor().and_then(name).unwrap_or_else(|| "_airbyte_extracted_at".into());
        sql += &format!(
            "DELETE FROM {to} WHERE _airbyte_raw_id IN (SELECT _airbyte_raw_id FROM (SELECT _airbyte_raw_id, \
             row_number() OVER (PARTITION BY {key} ORDER BY {cursor} DESC NULLS LAST, _airbyte_extracted_at DESC) AS n \
             FROM {to}) numbered WHERE n > 1);",
            to = table.sql(),
            key = key.join(", "),
        );
    }
    sql += &format!("UPDATE {} SET _airbyte_loaded_at = now() WHERE _airbyte_loaded_at IS NULL; COMMIT", raw.sql());
    run(pool, &sql).await
}
