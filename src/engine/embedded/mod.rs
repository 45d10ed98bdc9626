//! The embedded engine: runs connectors in process and lands their rows in PostgreSQL, in the form of Airbyte's tables.
//!
//! Who keeps what: `store` the objects and jobs (registry), `ledger` how far each table is (destination, in the rows' own
//! transactions), nobody any settings: those come with each call. A job is one supervised task; a kill at any point
//! leaves a running job, which [`EngineWrite::start_sync`] with the same request goes on with.

mod destination;
mod ledger;
mod raw_id;
mod reader;
mod run;
mod sample;
mod store;
mod stream;
mod table;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::destination::Destination;
use self::run::Ended;
use self::store::StoredDraft;
use super::names;
use crate::connector::{self, Programs};
use crate::drift::radius::Tables;
use crate::model::Catalog;
use crate::ports::{
    Ask, Candidate, ClearOrder, ConfiguredStream, ConnectionDraft, Discovered, EndpointHandle, EngineConnection,
    EngineEndpoint, EngineError, EngineId, EngineRead, EngineWrite, Job, JobState, Manner, ObjectKind, OwnerKey,
    Remedy, ResolvedConfig, Survey, SyncOrder, written,
};
use crate::spec::Connection;

/// So long a job stays with a process that is not heard of, unless somebody says otherwise (10 s).
const TTL: Duration = Duration::from_secs(10);

/// The embedded engine. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct EmbeddedEngine {
    shared: Arc<Shared>,
}

/// What the tasks of an engine share.
pub(crate) struct Shared {
    pool: PgPool,
    /// What may be run as a connector.
    programs: Programs,
    tasks: TaskTracker,
    /// The daemon stops: finish the running batch, leave the job as running.
    stop: CancellationToken,
    /// So long a job stays with a process that is not heard of.
    ttl: Duration,
    /// Jobs that run in this process.
    running: Mutex<HashMap<i64, CancellationToken>>,
    /// Pools for reading landing, by destination and settings.
    landing: Mutex<HashMap<String, PgPool>>,
}

/// A failure of the engine's own records.
fn records_error(what: &str, error: &sqlx::Error) -> EngineError {
    EngineError {
        what: what.to_owned(),
        why: connector::clean(&error.to_string()),
        remedy: Remedy::Retry,
        retry_after: None,
    }
}

fn person(what: &str, why: String) -> EngineError {
    EngineError { what: what.to_owned(), why, remedy: Remedy::Person, retry_after: None }
}

impl EmbeddedEngine {
    /// Opens the engine on the registry's database, which has the schema `aam_engine` already. `programs` are those
    /// that specs may name as connectors.
    pub async fn open(pool: PgPool, programs: Programs) -> Result<Self, EngineError> {
        sqlx::query("SELECT FROM aam_engine.jobs LIMIT 0")
            .execute(&pool)
            .await
            .map_err(|e| records_error("opening the embedded engine", &e))?;
        let shared = Shared {
            pool,
            programs,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            ttl: TTL,
            running: Mutex::default(),
            landing: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Lets a job go to another process when its own was not heard of for so long.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        Arc::get_mut(&mut self.shared).expect("nobody shares it yet").ttl = ttl;
        self
    }

    /// Stops all jobs at their next commit and waits for them. Their jobs stay as running; the next start goes on.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// A pool for reading a destination's landing; few connections, soon given back.
    fn landing_pool(&self, destination: &Destination) -> PgPool {
        let key = format!("{} {}", destination.endpoint.name, destination.endpoint.config.fingerprint());
        let mut pools = self.shared.landing.lock().unwrap_or_else(PoisonError::into_inner);
        pools
            .entry(key)
            .or_insert_with(|| {
                PgPoolOptions::new()
                    .max_connections(2)
                    .acquire_timeout(Duration::from_secs(30))
                    .idle_timeout(Duration::from_secs(20))
                    .after_connect(|db, _| Box::pin(async move { set_utc(db).await }))
                    .connect_lazy_with(destination.options.clone())
            })
            .clone()
    }

    /// Starts the task of a job that is recorded as running.
    fn spawn(&self, order: SyncOrder, streams: Vec<ConfiguredStream>, job: Job) {
        let shared = Arc::clone(&self.shared);
        let stop = shared.stop.child_token();
        shared.running().insert(job.id, stop.clone());
        let id = job.id;
        self.shared.tasks.spawn(async move {
            let mut work = {
                let (shared, stop, job) = (Arc::clone(&shared), stop.clone(), job.clone());
                // a task of its own, so that a panic ends the job and not the supervisor
                tokio::spawn(async move { Box::pin(run::run(&shared, &order, &streams, job, &stop)).await })
            };
            let worked = tokio::select! {
                worked = &mut work => worked,
                () = shared.keep(&job, &stop) => work.await,
            };
            let ended = match worked {
                Ok(ended) => ended,
                Err(_) if shared.stop.is_cancelled() => Ended::CutShort,
                Err(error) => Ended::With(JobState::Failed, Some(format!("the engine failed: {error}"))),
            };
            let noted = match ended {
                Ended::With(state, error) => {
                    written("end_job", store::end(&shared.pool, &job, state, error.as_deref())).await
                }
                // another process need not wait
                Ended::CutShort => store::stay_alive(&shared.pool, &job, Duration::ZERO).await,
            };
            match noted {
                Ok(true) => {}
                Ok(false) => tracing::warn!(job.id = id, "job {id}: it ended, or another process goes on with it"),
                // it stays as running and is gone on with, which finds nothing left to do
                Err(error) => tracing::error!(job.id = id, "job {id}: its end could not be noted: {error}"),
            }
            shared.running().remove(&id);
        });
    }
}

async fn set_utc(db: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'").execute(db).await.map(|_| ())
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<i64, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a job that runs here be heard of, until it is this process' no more: then it stops at its next commit.
    async fn keep(&self, job: &Job, stop: &CancellationToken) {
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            match store::stay_alive(&self.pool, job, self.ttl).await {
                Ok(true) => {}
                Ok(false) => return stop.cancel(),
                Err(error) => tracing::warn!(job.id = job.id, "job {}: it cannot be heard of: {error}", job.id),
            }
        }
    }
}

/// Tries a source's credentials and reachability; needs no records of the engine, so it works without a registry.
pub async fn check_source(source: &EndpointHandle, programs: &Programs) -> Result<(), EngineError> {
    connector::open(source, programs)?.check().await
}

/// The same for a destination.
pub async fn check_destination(destination: &EndpointHandle) -> Result<(), EngineError> {
    Destination::open(destination)?.check().await
}

#[async_trait]
impl EngineRead for EmbeddedEngine {
    async fn check(&self, source: &EndpointHandle) -> Result<(), EngineError> {
        check_source(source, &self.shared.programs).await
    }

    async fn check_destination(&self, destination: &EndpointHandle) -> Result<(), EngineError> {
        check_destination(destination).await
    }

    async fn discover(&self, source: &EndpointHandle) -> Result<Discovered, EngineError> {
        connector::open(source, &self.shared.programs)?.discover().await
    }

    fn manner(&self) -> Manner {
        Manner { drives_itself: false, late: Duration::ZERO }
    }

    fn settings(&self, _: &Connection) -> Result<BTreeMap<String, Value>, EngineError> {
        Ok(BTreeMap::new())
    }

    fn tables(&self, connection: &Connection, catalog: &Catalog) -> Tables {
        Destination::told(&connection.destination.config, catalog)
    }

    async fn find_endpoint(
        &self,
        kind: ObjectKind,
        owner: &OwnerKey,
        _: &EndpointHandle,
    ) -> Result<Vec<Candidate>, EngineError> {
        self.find(kind, owner).await
    }

    async fn find_connection(
        &self,
        owner: &OwnerKey,
        _: &ConnectionDraft,
        _: Option<&EngineId>,
    ) -> Result<Vec<Candidate>, EngineError> {
        self.find(ObjectKind::Connection, owner).await
    }

    async fn survey(&self) -> Result<Survey, EngineError> {
        Ok(Survey::default())
    }

    async fn endpoint(&self, _: ObjectKind, _: &EngineId) -> Result<Option<EngineEndpoint>, EngineError> {
        Ok(None)
    }

    async fn connection(&self, id: &EngineId) -> Result<Option<EngineConnection>, EngineError> {
        let wrong = |e: sqlx::Error| records_error("reading a connection", &e);
        let draft = store::draft(&self.shared.pool, id).await.map_err(wrong)?;
        Ok(draft.map(|is| EngineConnection { id: id.clone(), is, stopped: None }))
    }

    async fn jobs(&self, id: &EngineId, limit: u32) -> Result<Vec<Job>, EngineError> {
        store::jobs(&self.shared.pool, id, limit).await.map_err(|e| records_error("reading jobs", &e))
    }
}

#[async_trait]
impl EngineWrite for EmbeddedEngine {
    async fn create_endpoint<'a>(
        &'a self,
        kind: ObjectKind,
        owner: &'a OwnerKey,
        handle: &'a EndpointHandle,
    ) -> Result<Ask<'a>, EngineError> {
        check_settings(kind, handle, &self.shared.programs)?;
        Ok(Box::pin(async move {
            let created = store::create(&self.shared.pool, kind, owner, &handle.name, None).await;
            created.map_err(|e| records_error(&format!("creating {}", handle.name), &e))
        }))
    }

    async fn update_endpoint(
        &self,
        kind: ObjectKind,
        id: &EngineId,
        handle: &EndpointHandle,
    ) -> Result<(), EngineError> {
        check_settings(kind, handle, &self.shared.programs)?;
        let what = format!("updating {}", handle.name);
        let there = store::update(&self.shared.pool, kind, id, &handle.name, None).await;
        match there.map_err(|e| records_error(&what, &e))? {
            true => Ok(()),
            false => Err(person(&what, "the engine has no such object".to_owned())),
        }
    }

    async fn create_connection<'a>(
        &'a self,
        owner: &'a OwnerKey,
        draft: &'a ConnectionDraft,
        _: &'a ResolvedConfig,
    ) -> Result<Ask<'a>, EngineError> {
        let stored = StoredDraft::from(draft);
        Ok(Box::pin(async move {
            let (pool, kind) = (&self.shared.pool, ObjectKind::Connection);
            let created = store::create(pool, kind, owner, &draft.name, Some(&stored)).await;
            created.map_err(|e| records_error(&format!("creating connection {}", draft.name), &e))
        }))
    }

    async fn update_connection(
        &self,
        id: &EngineId,
        draft: &ConnectionDraft,
        _: &ResolvedConfig,
    ) -> Result<(), EngineError> {
        let what = format!("updating connection {}", draft.name);
        let stored = StoredDraft::from(draft);
        let there = store::update(&self.shared.pool, ObjectKind::Connection, id, &draft.name, Some(&stored)).await;
        match there.map_err(|e| records_error(&what, &e))? {
            true => Ok(()),
            false => Err(person(&what, "the engine has no such connection".to_owned())),
        }
    }

    async fn delete(&self, kind: ObjectKind, id: &EngineId) -> Result<(), EngineError> {
        store::delete(&self.shared.pool, kind, id).await.map_err(|e| records_error("deleting an object", &e))
    }

    async fn start_sync(&self, order: &SyncOrder) -> Result<Job, EngineError> {
        let what = format!("starting a sync of {}", order.source.name);
        let wrong = |e: sqlx::Error| records_error(&what, &e);
        let pool = &self.shared.pool;
        if self.shared.stop.is_cancelled() {
            return Err(EngineError {
                what,
                why: "the engine is stopping".to_owned(),
                remedy: Remedy::Retry,
                retry_after: None,
            });
        }
        let draft = store::draft(pool, &order.engine_id).await.map_err(wrong)?;
        let draft = draft.ok_or_else(|| person(&what, "the engine has no such connection".to_owned()))?;
        let job = match store::job_of(pool, order).await.map_err(wrong)? {
            Some(job) if job.state != JobState::Running || self.shared.running().contains_key(&job.id) => {
                return Ok(job);
            }
            Some(job) => match store::again(pool, job.id, self.shared.ttl).await.map_err(wrong)? {
                Some(job) => job,
                // another process runs it, or was not silent for long enough
                None => return Ok(job),
            },
            None if !draft.enabled => return Err(person(&what, "the connection is paused".to_owned())),
            None => {
                self.clear_the_way(order, &what).await?;
                store::begin(pool, order, self.shared.ttl).await.map_err(wrong)?
            }
        };
        self.spawn(order.clone(), draft.streams, job.clone());
        Ok(job)
    }

    async fn clear(&self, order: &ClearOrder) -> Result<Option<i64>, EngineError> {
        let destination = Destination::open(&order.destination)?;
        let tables = destination.tables(order.carried.iter());
        for (stream, table) in order.carried.iter().zip(&tables).filter(|(stream, _)| order.streams.contains(*stream)) {
            stream::clear(&destination, stream, table).await?;
        }
        Ok(None)
    }

    async fn cancel(&self, id: &EngineId, job: i64) -> Result<bool, EngineError> {
        let token = self.shared.running().get(&job).cloned();
        if let Some(token) = token {
            token.cancel();
            return Ok(true);
        }
        let wrong = |e: sqlx::Error| records_error("cancelling a job", &e);
        let orphan = store::running(&self.shared.pool, id).await.map_err(wrong)?.filter(|j| j.id == job);
        match orphan {
            // whoever runs it elsewhere hears of it and stops
            Some(orphan) => store::end(&self.shared.pool, &orphan, JobState::Cancelled, None).await.map_err(wrong),
            None => Ok(false),
        }
    }
}

impl EmbeddedEngine {
    async fn find(&self, kind: ObjectKind, owner: &OwnerKey) -> Result<Vec<Candidate>, EngineError> {
        let found = store::find(&self.shared.pool, kind, owner).await;
        let found = found.map_err(|e| records_error("looking for an object", &e))?;
        Ok(found.into_iter().map(|id| Candidate { id, marked: true, made: None }).collect())
    }

    /// Refuses a second job beside one that runs, here or elsewhere; ends one that a crash left behind and nobody asks for any more.
    async fn clear_the_way(&self, order: &SyncOrder, what: &str) -> Result<(), EngineError> {
        let wrong = |e: sqlx::Error| records_error(what, &e);
        let Some(other) = store::running(&self.shared.pool, &order.engine_id).await.map_err(wrong)? else {
            return Ok(());
        };
        let here = self.shared.running().contains_key(&other.id);
        if here || store::is_heard_of(&self.shared.pool, other.id).await.map_err(wrong)? {
            let why = format!("job {} of this connection is running", other.id);
            return Err(EngineError { what: what.to_owned(), why, remedy: Remedy::Retry, retry_after: None });
        }
        let why = "cut off; a later job goes on from its last commit";
        store::end(&self.shared.pool, &other, JobState::Failed, Some(why)).await.map_err(wrong).map(drop)
    }
}

/// Settings are checked before an object is made of them, so that a mistake is told at once.
fn check_settings(kind: ObjectKind, handle: &EndpointHandle, programs: &Programs) -> Result<(), EngineError> {
    match kind {
        ObjectKind::Source => connector::open(handle, programs).map(|_| ()),
        ObjectKind::Destination => Destination::open(handle).map(|_| ()),
        ObjectKind::Connection => Err(person("creating an endpoint", "a connection is none".to_owned())),
    }
}
