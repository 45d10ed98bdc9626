//! Reading what Airbyte's PostgreSQL destination landed: one test for each thing that must never go wrong there.

mod awkward;
mod events;
mod following;
mod names;

use aam::engine::airbyte::landing::AirbyteLanding;
use aam::model::{FieldPath, StreamName};
use aam::ports::{
    EndpointHandle, EngineError, LandedStream, Landing, LandingCursor, LandingPage, LandingPlace, LandingRow, Newest,
    NewestRows as _, ResolvedConfig,
};
use aam::spec::Namespace;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;

use crate::embedded::harness::{pool, run};
use crate::support;

/// A destination's database, and the stream `users` of it as far as it was read.
struct Desk {
    db: PgPool,
    place: LandingPlace,
    stream: StreamName,
    fields: Vec<String>,
    key: Vec<FieldPath>,
    cursor: Option<LandingCursor>,
    /// Rows per page.
    page: u32,
}

/// The meta columns of 3.x.
const META: &str = "_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL, \
    _airbyte_meta jsonb NOT NULL, _airbyte_generation_id bigint NOT NULL";

/// The columns of the raw tables of 2.x.
const RAW: &str = "_airbyte_raw_id varchar PRIMARY KEY, _airbyte_data jsonb, \
    _airbyte_extracted_at timestamptz DEFAULT now(), _airbyte_loaded_at timestamptz, _airbyte_meta jsonb, \
    _airbyte_generation_id bigint";

/// `landed.users` as 3.x makes it.
fn users() -> String {
    format!("CREATE TABLE landed.users ({META}, id bigint, name varchar)")
}

/// A row for `landed.users`: raw id, second of extraction, job, id and name.
fn user(raw: &str, second: u32, job: i64, id: i64, name: &str) -> String {
    user_of("landed.users", raw, second, job, id, name)
}

fn user_of(table: &str, raw: &str, second: u32, job: i64, id: i64, name: &str) -> String {
    format!(
        "INSERT INTO {table} (_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, _airbyte_generation_id, id, name) \
         VALUES ('{raw}', '2026-01-01 00:00:{second:02}Z', '{{\"sync_id\": {job}, \"changes\": []}}', 0, {id}, '{name}')"
    )
}

/// A destination with Airbyte's settings.
fn destination(config: Value) -> EndpointHandle {
    let config = ResolvedConfig::new(config, vec!["hunter2secret".into()], String::new());
    EndpointHandle {
        id: None,
        name: "dwh".into(),
        tenant: Default::default(),
        connector: "postgres".into(),
        config,
        airbyte: Default::default(),
    }
}

fn settings(db: &PgPool) -> Value {
    json!({"host": support::cluster(), "port": 5432, "username": "postgres", "password": "hunter2secret",
        "database": db.connect_options().get_database().unwrap(), "schema": "landed", "raw_data_schema": "airbyte_internal",
        "ssl": false, "ssl_mode": {"mode": "disable"}, "tunnel_method": {"tunnel_method": "NO_TUNNEL"},
        "disable_type_dedupe": false, "drop_cascade": false, "cdc_deletion_mode": "Hard delete", "jdbc_url_params": "a=b"})
}

impl Desk {
    async fn new() -> Self {
        let desk = Self::of(pool(&support::database().await).await);
        run(&desk.db, "CREATE SCHEMA landed; CREATE SCHEMA airbyte_internal").await;
        desk
    }

    fn of(db: PgPool) -> Self {
        let place = LandingPlace {
            destination: destination(settings(&db)),
            namespace: Namespace::Destination,
            prefix: String::new(),
            streams: Vec::new(),
        };
        let fields = ["id", "name"].map(str::to_owned).into();
        Self { db, place, stream: "users".parse().unwrap(), fields, key: Vec::new(), cursor: None, page: 100 }
    }

    /// With the table `landed.users`.
    async fn with_users() -> Self {
        let desk = Self::new().await;
        run(&desk.db, &users()).await;
        desk
    }

    fn fields(mut self, fields: &[&str]) -> Self {
        self.fields = fields.iter().map(|field| (*field).to_owned()).collect();
        self
    }

    fn setting(&mut self, key: &str, value: Value) {
        let mut config = self.place.destination.config.expose().clone();
        config[key] = value;
        self.place.destination = destination(config);
    }

    async fn run(&self, sql: &str) {
        run(&self.db, sql).await;
    }

    fn landed(&self) -> LandedStream<'_> {
        LandedStream { name: &self.stream, fields: &self.fields, key: &self.key }
    }

    async fn try_page(&self) -> Result<LandingPage, EngineError> {
        AirbyteLanding.read(&self.place, self.landed(), self.cursor.as_ref(), self.page).await
    }

    /// The next page, one row per line; moves the cursor, as if it was stored.
    async fn page(&mut self) -> String {
        let page = self.try_page().await.unwrap();
        self.cursor = Some(page.next);
        text(&page.rows)
    }

    /// All that is new, as the pipeline asks for it.
    async fn news(&mut self) -> String {
        let mut all = Vec::new();
        for _ in 0..50 {
            let page = self.try_page().await.unwrap();
            let is_end = page.rows.is_empty() && self.cursor.as_ref() == Some(&page.next);
            all.extend(page.rows);
            self.cursor = Some(page.next);
            if page.done || is_end {
                return text(&all);
            }
        }
        panic!("it never ends: {}", text(&all));
    }

    async fn keys(&self) -> Result<String, EngineError> {
        let mut keys = AirbyteLanding.keys(&self.place, self.landed()).await?;
        keys.sort_by_key(|key| json!(key).to_string());
        Ok(json!(keys).to_string())
    }
}

fn text(rows: &[LandingRow]) -> String {
    let line = |row: &LandingRow| format!("{} of job {}: {}", row.raw_id, row.sync_id, row.data);
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn masked_error(error: &EngineError) -> String {
    let text = format!("{error} [{:?}]", error.remedy);
    text.replace(&format!("{:?}", support::cluster()), "<cluster>")
}
