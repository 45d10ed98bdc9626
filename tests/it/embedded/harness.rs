//! A source, a destination and an engine, each in a database of its own, and short ways to ask them.

use std::collections::BTreeSet;
use std::time::Duration;

use aam::connector::Programs;
use aam::engine::embedded::EmbeddedEngine;
use aam::model::{ConnectionId, Cursor, FieldPath, StreamName};
use aam::ports::{
    ConfiguredStream, ConnectionDraft, EndpointHandle, EngineId, EngineRead, EngineWrite, Job, JobState, LandedStream,
    Landing, LandingCursor, LandingPage, LandingPlace, OwnerKey, ResolvedConfig, SyncOrder,
};
use aam::spec::{Namespace, StreamMode};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

use crate::support::{cluster, database};

/// The three databases and the engine between them.
pub struct Bench {
    pub source: PgPool,
    pub landing: PgPool,
    pub registry: PgPool,
    pub engine: EmbeddedEngine,
    pub source_handle: EndpointHandle,
    pub destination_handle: EndpointHandle,
    pub connection: ConnectionId,
}

pub async fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(5).connect_with(options.clone()).await.unwrap()
}

pub fn handle(name: &str, connector: &str, config: Value) -> EndpointHandle {
    let fingerprint = config.to_string();
    let config = ResolvedConfig::new(config, vec!["hunter2secret".into()], fingerprint);
    EndpointHandle {
        id: None,
        name: name.into(),
        tenant: Default::default(),
        connector: connector.into(),
        config,
        airbyte: Default::default(),
    }
}

pub fn postgres_handle(name: &str, options: &PgConnectOptions) -> EndpointHandle {
    let config = json!({
        "host": cluster().to_str().unwrap(), "username": "postgres", "password": "hunter2secret",
        "database": options.get_database().unwrap(),
    });
    handle(name, "postgres", config)
}

/// These programs and no others; manifests below the working folder.
pub fn allowed(programs: Vec<String>) -> Programs {
    Programs { allowed: programs, root: ".".into() }
}

/// Runs statements.
pub async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}

/// The rows of a query that returns one text column, one per line.
pub async fn lines(pool: &PgPool, sql: &str) -> String {
    let rows: Vec<Option<String>> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).persistent(false).fetch_all(pool).await.unwrap();
    rows.into_iter().map(|r| r.unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>().join("\n")
}

impl Bench {
    pub async fn new() -> Self {
        let source = database().await;
        let source_handle = postgres_handle("crm", &source);
        let mut bench = Self::reading(source_handle).await;
        bench.source = pool(&source).await;
        bench
    }

    /// With a source that is no database of ours.
    pub async fn reading(source_handle: EndpointHandle) -> Self {
        let (landing, registry) = (database().await, database().await);
        aam::registry::PgRegistry::open(registry.clone()).await.unwrap();
        let registry = pool(&registry).await;
        Self {
            source: pool(&landing).await,
            landing: pool(&landing).await,
            engine: EmbeddedEngine::open(registry.clone(), Programs::default()).await.unwrap(),
            registry,
            source_handle,
            destination_handle: postgres_handle("warehouse", &landing),
            connection: ConnectionId(Uuid::now_v7()),
        }
    }

    /// The stream as it is now at the source, in this mode, with the source's key and the suggested cursor.
    pub async fn stream(&self, name: &str, mode: StreamMode) -> ConfiguredStream {
        let catalog = self.engine.discover(&self.source_handle).await.unwrap().catalog;
        let name: StreamName = name.parse().unwrap();
        let schema = catalog.streams.get(&name).unwrap_or_else(|| panic!("no {name} in {catalog:?}")).clone();
        let cursor = match &schema.cursor {
            Cursor::Any(Some(path)) if !matches!(mode, StreamMode::FullRefreshOverwrite) => Some(path.clone()),
            _ => None,
        };
        ConfiguredStream { name, mode, cursor, key: schema.key.clone(), schema }
    }

    /// Creates the connection, or replaces its streams.
    pub async fn configure(&self, streams: Vec<ConfiguredStream>) -> EngineId {
        let owner = OwnerKey("connection".into());
        let draft = ConnectionDraft {
            options: std::collections::BTreeMap::new(),
            name: "crm".into(),
            source: EngineId("s".into()),
            destination: EngineId("d".into()),
            streams: streams.clone(),
            enabled: true,
            settings: Default::default(),
        };
        let id = match self.engine.find_connection(&owner, &draft, None).await.unwrap().pop() {
            Some(aam::ports::Candidate { id, .. }) => {
                self.engine.update_connection(&id, &draft, &ResolvedConfig::nothing()).await.unwrap();
                id
            }
            None => {
                self.engine.create_connection(&owner, &draft, &ResolvedConfig::nothing()).await.unwrap().await.unwrap()
            }
        };
        assert_eq!(self.engine.connection(&id).await.unwrap().unwrap().is.streams, streams);
        id
    }

    pub fn order(&self, engine_id: &EngineId) -> SyncOrder {
        SyncOrder {
            connection: self.connection,
            engine_id: engine_id.clone(),
            source: self.source_handle.clone(),
            destination: self.destination_handle.clone(),
            held: BTreeSet::new(),
            missing_as_null: false,
            request: Uuid::now_v7(),
            after: 0,
            refresh: BTreeSet::new(),
        }
    }

    /// Runs a sync to its end.
    pub async fn sync(&self, engine_id: &EngineId) -> Job {
        let order = self.order(engine_id);
        self.engine.start_sync(&order).await.unwrap();
        self.ended(engine_id).await
    }

    /// A sync that must succeed.
    pub async fn sync_ok(&self, engine_id: &EngineId) -> Job {
        let job = self.sync(engine_id).await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Succeeded, None));
        job
    }

    /// Waits for the newest job to end.
    pub async fn ended(&self, engine_id: &EngineId) -> Job {
        for _ in 0..6000 {
            let job = self.engine.jobs(engine_id, 1).await.unwrap().remove(0);
            if job.state != JobState::Running {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the job did not end");
    }

    /// A page of a stream's landed rows.
    pub async fn read(&self, stream: &StreamName, after: Option<&LandingCursor>, limit: u32) -> LandingPage {
        self.engine.read(&place(&self.destination_handle), landed(stream, &[]), after, limit).await.unwrap()
    }

    /// All landed rows of a stream as the pipeline reads them, in pages of this size.
    pub async fn landed(&self, stream: &str, page: u32) -> Vec<String> {
        let stream: StreamName = stream.parse().unwrap();
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let read = self.read(&stream, cursor.as_ref(), page).await;
            rows.extend(read.rows.into_iter().map(|r| r.data.get().to_owned()));
            cursor = Some(read.next);
            if read.done {
                return rows;
            }
        }
    }
}

/// A destination that lands by its own settings.
pub fn place(destination: &EndpointHandle) -> LandingPlace {
    let namespace = Namespace::default();
    LandingPlace { destination: destination.clone(), namespace, prefix: String::new(), streams: Vec::new() }
}

/// A stream with this key.
pub fn landed<'a>(name: &'a StreamName, key: &'a [FieldPath]) -> LandedStream<'a> {
    LandedStream { name, fields: &[], key }
}

pub fn top(name: &str) -> FieldPath {
    FieldPath::top(name)
}
