//! Rows that really move, in the tables of both versions of the destination.

use serde_json::json;
use sqlx::PgPool;

use super::*;
use crate::embedded::harness::lines;
use crate::standin::state::Failing;
use crate::support;

/// A connection between two databases.
pub struct Pipe {
    bench: Bench,
    from: PgPool,
    pub to: PgPool,
    connection: Uuid,
}

impl Pipe {
    pub async fn new(destination: &str, sync: &str, mode: &str) -> Self {
        let mut bench = Bench::new("1.8").await;
        let (from, to) = (support::database().await, support::database().await);
        let settings = |options: &sqlx::postgres::PgConnectOptions| {
            json!({"host": support::cluster(), "port": 5432, "username": "postgres", "schema": "landed",
                "database": options.get_database().unwrap()})
        };
        (bench.source, bench.destination) = bench.standin.edit(|s| {
            s.definitions.iter_mut().filter(|d| d.repository.ends_with("destination-postgres")).for_each(|d| {
                destination.clone_into(&mut d.tag);
            });
            (
                s.add_actor("airbyte/source-postgres", "crm", settings(&from)),
                s.add_actor("airbyte/destination-postgres", "dwh", settings(&to)),
            )
        });
        let (from, to) = (PgPool::connect_with(from).await.unwrap(), PgPool::connect_with(to).await.unwrap());
        let pipe = Self { bench, from, to, connection: Uuid::nil() };
        pipe.change(
            "CREATE TABLE users (id int PRIMARY KEY, name text, at timestamp, score numeric);
             INSERT INTO users VALUES (1, 'Ann', '2026-01-01', 1.5), (2, 'Bob', '2026-01-02', NULL)",
        )
        .await;
        let connection = pipe.bench.connection(sync, mode).await;
        Self { connection, ..pipe }
    }

    pub fn finish(self) {
        self.bench.finish();
    }

    pub async fn change(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&self.from).await.unwrap();
    }

    /// Runs a sync; rows of its last attempt.
    pub async fn sync(&self) -> u64 {
        self.bench.api.sync(self.connection).await.unwrap();
        let status = self.bench.ended(self.connection).await;
        let job = self.bench.api.jobs(self.connection, 1).await.unwrap().remove(0);
        assert_eq!(status, "succeeded", "{job:?}");
        job.rows
    }

    /// The landed rows, one per line.
    async fn rows(&self) -> String {
        let sql = "SELECT format('%s %s %s %s', id, name, at, score) FROM landed.users ORDER BY 1";
        lines(&self.to, sql).await
    }

    async fn columns(&self, table: &str) -> String {
        let sql = format!(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN '!' ELSE '' END,
             ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        lines(&self.to, &sql).await
    }
}

#[tokio::test]
async fn direct_load_has_its_meta_columns_first_and_no_raw_table() {
    let pipe = Pipe::new("3.0.6", "full_refresh", "overwrite").await;
    assert_eq!(pipe.sync().await, 2);
    insta::assert_snapshot!(pipe.columns("landed.users").await, @"_airbyte_raw_id character varying!, _airbyte_extracted_at timestamp with time zone!, _airbyte_meta jsonb!, _airbyte_generation_id bigint!, at timestamp without time zone, id bigint, name character varying, score numeric");
    assert_eq!(pipe.rows().await, "1 Ann 2026-01-01 00:00:00 1.5\n2 Bob 2026-01-02 00:00:00 ");
    let sql = "SELECT (_airbyte_meta ->> 'sync_id') || _airbyte_meta::text FROM landed.users WHERE id = 1";
    assert_eq!(lines(&pipe.to, sql).await, r#"1{"changes": [], "sync_id": 1}"#);
    let raw = "SELECT count(*)::text FROM information_schema.schemata WHERE schema_name = 'airbyte_internal'";
    assert_eq!(lines(&pipe.to, raw).await, "0");
    pipe.bench.finish();
}

#[tokio::test]
async fn raw_and_typed_has_its_meta_columns_last_beside_a_raw_table() {
    let pipe = Pipe::new("2.4.0", "full_refresh", "overwrite").await;
    assert_eq!(pipe.sync().await, 2);
    insta::assert_snapshot!(pipe.columns("landed.users").await, @"at timestamp without time zone, id bigint, name character varying, score numeric(38,9), _airbyte_raw_id character varying(36)!, _airbyte_extracted_at timestamp with time zone!, _airbyte_meta jsonb!, _airbyte_generation_id bigint");
    insta::assert_snapshot!(pipe.columns("airbyte_internal.landed_raw__stream_users").await, @"_airbyte_raw_id character varying!, _airbyte_data jsonb, _airbyte_extracted_at timestamp with time zone, _airbyte_loaded_at timestamp with time zone, _airbyte_meta jsonb, _airbyte_generation_id bigint");
    assert_eq!(pipe.rows().await, "1 Ann 2026-01-01 00:00:00 1.500000000\n2 Bob 2026-01-02 00:00:00 ");
    let raw = "SELECT count(_airbyte_loaded_at)::text FROM airbyte_internal.landed_raw__stream_users";
    assert_eq!(lines(&pipe.to, raw).await, "2");
    pipe.bench.finish();
}

#[tokio::test]
async fn a_full_refresh_overwrites_or_appends() {
    for version in ["3.0.6", "2.4.0"] {
        for (mode, rows) in [("overwrite", "3"), ("append", "5")] {
            let pipe = Pipe::new(version, "full_refresh", mode).await;
            pipe.sync().await;
            pipe.change("INSERT INTO users VALUES (3, 'Cid', '2026-01-03', 2)").await;
            assert_eq!(pipe.sync().await, 3);
            assert_eq!(lines(&pipe.to, "SELECT count(*)::text FROM landed.users").await, rows, "{version} {mode}");
            pipe.bench.finish();
        }
    }
}

#[tokio::test]
async fn an_incremental_sync_brings_what_is_beyond_the_cursor_and_dedup_keeps_the_best_of_each_key() {
    for (version, score) in [("3.0.6", "2"), ("2.4.0", "2.000000000")] {
        for mode in ["append", "append_dedup"] {
            let pipe = Pipe::new(version, "incremental", mode).await;
            pipe.sync().await;
            pipe.change("UPDATE users SET name = 'Anna', at = '2026-02-01', score = 2 WHERE id = 1").await;
            assert_eq!(pipe.sync().await, 1);
            assert_eq!(pipe.sync().await, 0);
            let anna = format!("1 Anna 2026-02-01 00:00:00 {score}");
            let rows = pipe.rows().await;
            assert!(rows.contains(&anna), "{rows}");
            assert_eq!(rows.lines().count(), if mode == "append" { 3 } else { 2 }, "{version} {mode}");
            pipe.bench.finish();
        }
    }
}

#[tokio::test]
async fn a_changed_schema_alters_the_table_and_drops_columns_that_are_not_in_the_stream() {
    for version in ["3.0.6", "2.4.0"] {
        let pipe = Pipe::new(version, "incremental", "append_dedup").await;
        pipe.sync().await;
        pipe.change(
            "ALTER TABLE users DROP score; ALTER TABLE users ADD phone text;
            INSERT INTO users VALUES (3, 'Cid', '2026-03-01', '030')",
        )
        .await;
        let (catalog, id) = pipe.bench.entries("incremental", "append_dedup").await;
        let update = json!({"connectionId": pipe.connection, "syncCatalog": catalog, "sourceCatalogId": id});
        pipe.bench.api.update_connection(update).await.unwrap();
        assert_eq!(pipe.sync().await, 1, "the position stays");
        let columns = pipe.columns("landed.users").await;
        assert!(columns.contains("phone character varying") && !columns.contains("score"), "{columns}");
        let sql = "SELECT format('%s %s', id, phone) FROM landed.users ORDER BY 1";
        assert_eq!(lines(&pipe.to, sql).await, "1 \n2 \n3 030", "{version}");
        pipe.bench.finish();
    }
}

#[tokio::test]
async fn a_changed_sync_mode_reads_everything_again() {
    let pipe = Pipe::new("3.0.6", "incremental", "append").await;
    pipe.sync().await;
    for (sync, rows) in [("full_refresh", 2), ("incremental", 2)] {
        let (catalog, id) = pipe.bench.entries(sync, "append").await;
        let update = json!({"connectionId": pipe.connection, "syncCatalog": catalog, "sourceCatalogId": id});
        pipe.bench.post("/v1/connections/update", update).await.unwrap();
        assert_eq!(pipe.sync().await, rows);
    }
    pipe.bench.finish();
}

#[tokio::test]
async fn a_failed_attempt_leaves_rows_that_the_next_delivers_again() {
    let pipe = Pipe::new("3.0.6", "incremental", "append").await;
    pipe.bench.standin.edit(|s| {
        s.conduct(pipe.bench.source).attempts = [Failing { why: "evicted".into(), after_rows: 1 }].into();
    });
    pipe.sync().await;
    assert_eq!(lines(&pipe.to, "SELECT string_agg(id::text, ',' ORDER BY id) FROM landed.users").await, "1,1,2");
    pipe.bench.finish();
}

#[tokio::test]
async fn a_merge_refresh_raises_the_generation_and_a_clear_empties_the_table() {
    for version in ["3.0.6", "2.4.0"] {
        let pipe = Pipe::new(version, "incremental", "append_dedup").await;
        pipe.sync().await;
        let refresh = json!({"connectionId": pipe.connection, "refreshMode": "Merge",
            "streams": [{"streamName": "users", "streamNamespace": "public"}]});
        pipe.bench.post("/v1/connections/refresh", refresh).await.unwrap();
        assert_eq!(pipe.bench.ended(pipe.connection).await, "succeeded");
        let sql = "SELECT string_agg(id || ':' || _airbyte_generation_id, ',' ORDER BY id) FROM landed.users";
        assert_eq!(lines(&pipe.to, sql).await, "1:1,2:1", "{version}");
        pipe.bench.post("/v1/connections/clear", json!({"connectionId": pipe.connection})).await.unwrap();
        assert_eq!(pipe.bench.ended(pipe.connection).await, "succeeded");
        assert_eq!(lines(&pipe.to, "SELECT count(*)::text FROM landed.users").await, "0");
        assert_eq!(pipe.sync().await, 2, "from the beginning");
        pipe.bench.finish();
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_null_with_a_reason_and_a_column_that_is_gone_is_null() {
    for (version, reason) in [("3.0.6", "DESTINATION_SERIALIZATION_ERROR"), ("2.4.0", "DESTINATION_TYPECAST_ERROR")] {
        let pipe = Pipe::new(version, "full_refresh", "overwrite").await;
        pipe.change(
            "ALTER TABLE users ALTER score TYPE text; UPDATE users SET score = 'many' WHERE id = 1;
            ALTER TABLE users DROP name",
        )
        .await;
        assert_eq!(pipe.sync().await, 2);
        let sql =
            "SELECT format('%s %s %s %s', id, name, score, _airbyte_meta -> 'changes') FROM landed.users ORDER BY id";
        let nulled = format!(r#"{{"field": "score", "change": "NULLED", "reason": "{reason}"}}"#);
        let rows = lines(&pipe.to, sql).await.replace(&nulled, "<nulled>");
        assert_eq!(rows, "1   [<nulled>]\n2   []");
        pipe.bench.finish();
    }
}

#[tokio::test]
async fn a_view_lands_below_the_prefix_in_the_sources_namespace() {
    let pipe = Pipe::new("3.0.6", "full_refresh", "overwrite").await;
    pipe.change("CREATE VIEW seen AS SELECT 7 AS one").await;
    let (catalog, id) = pipe.bench.entries("full_refresh", "overwrite").await;
    let update = json!({"connectionId": pipe.connection, "syncCatalog": catalog, "sourceCatalogId": id,
        "namespaceDefinition": "customformat", "namespaceFormat": "from_${SOURCE_NAMESPACE}", "prefix": "crm_"});
    pipe.bench.api.update_connection(update).await.unwrap();
    assert_eq!(pipe.sync().await, 3);
    assert_eq!(lines(&pipe.to, "SELECT one::text FROM from_public.crm_seen").await, "7");
    pipe.bench.finish();
}
