//! What the stand-in holds: its own truth, which tests may look into and change by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::answer::Trouble;
use super::version::Version;

/// Everything.
#[derive(Debug)]
pub struct State {
    /// Decides which calls exist.
    pub version: Version,
    /// Client id and secret; `None` is an installation without authentication.
    pub credentials: Option<(String, String)>,
    /// Whether the token's role may write and run connectors.
    pub is_editor: bool,
    /// How long a token lives.
    pub token_life: Duration,
    /// Valid tokens and when they end.
    pub tokens: BTreeMap<String, Instant>,
    /// Tokens given out so far.
    pub tokens_given: u32,
    /// The first is the default one.
    pub workspaces: Vec<Workspace>,
    /// Connectors.
    pub definitions: Vec<Definition>,
    /// The version that a workspace is held at, by workspace and connector.
    pub pins: BTreeMap<(Uuid, Uuid), String>,
    /// Sources and destinations, deleted ones too.
    pub actors: Vec<Actor>,
    /// Connections, deleted ones too.
    pub connections: Vec<Connection>,
    /// Stored catalogs of sources, never changed.
    pub catalogs: Vec<Catalog>,
    /// The catalog of each discover that ran, oldest first.
    pub fetches: Vec<Fetch>,
    /// Of every kind, oldest first.
    pub jobs: Vec<Job>,
    /// Of all workspaces.
    pub tags: Vec<Tag>,
    /// By the id that the client chose.
    pub commands: BTreeMap<String, Command>,
    /// How long each attempt of a job takes at least.
    pub job_takes: Duration,
    /// Whether jobs stay in `running` until this is taken back.
    pub hold_jobs: bool,
    /// How long a job stays `incomplete` before its next attempt.
    pub retry_pause: Duration,
    ids: u64,
}

/// A workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its id.
    pub id: Uuid,
    /// Not unique.
    pub name: String,
}

/// Source or destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Reads.
    Source,
    /// Writes.
    Destination,
}

impl Side {
    /// `source`, as it opens the names of fields.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// A connector.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Stable for years for those of Airbyte's own.
    pub id: Uuid,
    /// What it makes.
    pub side: Side,
    /// `Postgres`
    pub name: String,
    /// `airbyte/source-postgres`
    pub repository: String,
    /// Its version.
    pub tag: String,
    /// The JSON Schema of its settings.
    pub spec: Value,
    /// Whether a destination can refresh streams; one that cannot is cleared instead.
    pub refreshes: bool,
    /// How a destination can write.
    pub modes: Vec<&'static str>,
}

/// A source or destination.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Its id.
    pub id: Uuid,
    /// Which of the two.
    pub side: Side,
    /// Its connector.
    pub definition: Uuid,
    /// Where it is.
    pub workspace: Uuid,
    /// Not unique.
    pub name: String,
    /// Secrets in clear.
    pub settings: Value,
    /// Seconds since 1970.
    pub created_at: i64,
    /// For lists that lag behind.
    pub born: Instant,
    /// Still answered by `get`.
    pub deleted: bool,
    /// What its connector does.
    pub conduct: Conduct,
}

/// What a test makes a connector do.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// The streams of a source that reads no real database, in the Config API's form.
    pub streams: Vec<Value>,
    /// A discover fails with this.
    pub discover_fails: Option<String>,
    /// A discover takes as long.
    pub discover_takes: Duration,
    /// Discovers that ran.
    pub discovers: u32,
    /// Discovers that run now.
    pub discovering: u32,
    /// The most that ever ran side by side.
    pub discovering_most: u32,
    /// A check says no with this.
    pub check_fails: Option<String>,
    /// A check's own job breaks: the answer has no status.
    pub check_breaks: Option<String>,
    /// The next attempts to sync fail like this, in order; then they succeed.
    pub attempts: VecDeque<Failing>,
}

/// An attempt that fails.
#[derive(Debug, Clone)]
pub struct Failing {
    /// With this message.
    pub why: String,
    /// After so many rows have landed.
    pub after_rows: u64,
}

/// A stored catalog.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub source: Uuid,
    /// In the Config API's form, without configuration.
    pub streams: Vec<Value>,
}

/// A discover that ran.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Of which source.
    pub source: Uuid,
    /// Image tag and settings: what a cached answer must agree with.
    pub key: String,
    /// What it found.
    pub catalog: Uuid,
    /// Seconds since 1970.
    pub at: i64,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its id.
    pub id: Uuid,
    /// Not unique.
    pub name: String,
    /// What is read.
    pub source: Uuid,
    /// Where rows go.
    pub destination: Uuid,
    /// `active`, `inactive`, `deprecated`, `locked`.
    pub status: String,
    /// Why the system changed the status.
    pub status_reason: Option<String>,
    /// The selected streams with their configuration.
    pub entries: Vec<Value>,
    /// `manual`, `basic`, `cron`.
    pub schedule_type: String,
    /// `null` for `manual`.
    pub schedule_data: Value,
    /// `source`, `destination`, `customformat`.
    pub namespace_definition: String,
    /// For `customformat`.
    pub namespace_format: Option<String>,
    /// Before each table's name.
    pub prefix: String,
    /// Set by a discover that named this connection.
    pub breaking: bool,
    /// The stored catalog that it was saved with.
    pub source_catalog: Option<Uuid>,
    /// `ignore`, `disable`, `propagate_columns`, `propagate_fully`.
    pub preference: String,
    /// `enabled`, `disabled`.
    pub backfill: String,
    /// Whole, as sent.
    pub tags: Vec<Value>,
    /// `notifySchemaChanges` and its like: kept as sent.
    pub other: BTreeMap<String, Value>,
    /// Seconds since 1970.
    pub created_at: i64,
    /// For lists that lag behind.
    pub born: Instant,
    /// What is remembered of each stream between syncs.
    pub progress: BTreeMap<StreamKey, Progress>,
    /// Streams to clear before the next sync.
    pub resets: BTreeSet<StreamKey>,
}

/// Namespace and name.
pub type StreamKey = (Option<String>, String);

/// What is remembered of a stream between syncs.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The greatest cursor value, as text.
    pub cursor: Option<String>,
    /// Raised by each overwrite.
    pub generation: i64,
}

/// A job of a connection.
#[derive(Debug, Clone)]
pub struct Job {
    /// Counts up.
    pub id: i64,
    /// Whose.
    pub connection: Uuid,
    /// `sync`, `reset_connection`, `refresh`, `clear`.
    pub kind: &'static str,
    /// `pending`, `queued`, `running`, `incomplete`, `failed`, `succeeded`, `cancelled`.
    pub status: &'static str,
    /// Streams of a refresh, clear or reset.
    pub streams: Vec<StreamKey>,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    /// Whether it shall end.
    pub cancel: bool,
}

impl Job {
    /// `incomplete` has not ended: a retry follows.
    pub fn has_ended(&self) -> bool {
        matches!(self.status, "failed" | "succeeded" | "cancelled")
    }
}

/// An attempt of a job.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// `running`, `failed`, `succeeded`.
    pub status: &'static str,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub ended_at: Option<i64>,
    /// Rows that arrived, by stream.
    pub rows: BTreeMap<StreamKey, u64>,
    /// Their bytes.
    pub bytes: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Attempt {
    /// Rows of all streams.
    pub fn row_count(&self) -> u64 {
        self.rows.values().sum()
    }
}

/// A tag.
#[derive(Debug, Clone)]
pub struct Tag {
    /// Its id.
    pub id: Uuid,
    /// Where it is.
    pub workspace: Uuid,
    /// At most 30 characters, unique in the workspace.
    pub name: String,
    /// Six hex digits.
    pub color: String,
}

/// A command of the form that holds no request open.
#[derive(Debug, Clone)]
pub struct Command {
    /// `pending`, `running`, `completed`, `cancelled`.
    pub status: &'static str,
    /// The output once completed.
    pub output: Value,
}

impl State {
    /// A fresh installation with its default workspace and the connectors.
    pub fn new(version: Version) -> Self {
        let mut state = Self {
            version,
            credentials: Some(("client".into(), "secret".into())),
            is_editor: true,
            token_life: version.token_life(),
            tokens: BTreeMap::new(),
            tokens_given: 0,
            workspaces: Vec::new(),
            definitions: super::definitions::all(),
            pins: BTreeMap::new(),
            actors: Vec::new(),
            connections: Vec::new(),
            catalogs: Vec::new(),
            fetches: Vec::new(),
            jobs: Vec::new(),
            tags: Vec::new(),
            commands: BTreeMap::new(),
            job_takes: Duration::ZERO,
            hold_jobs: false,
            retry_pause: Duration::from_millis(20),
            ids: 0,
        };
        state.add_workspace("Default Workspace");
        state
    }

    /// A new id: the same in every run.
    pub fn new_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("stand-in/{}", self.ids).as_bytes())
    }

    /// Makes a workspace.
    pub fn add_workspace(&mut self, name: &str) -> Uuid {
        let id = self.new_id();
        self.workspaces.push(Workspace { id, name: name.to_owned() });
        id
    }

    /// Makes a source or destination of a connector such as `airbyte/source-faker`, as a person would.
    pub fn add_actor(&mut self, repository: &str, name: &str, settings: Value) -> Uuid {
        let definition = self.definitions.iter().find(|d| d.repository == repository);
        let (definition, side) = definition.map(|d| (d.id, d.side)).expect("a connector that the stand-in has");
        let workspace = self.workspaces[0].id;
        self.insert_actor(side, definition, workspace, name, settings)
    }

    /// The row of a source or destination.
    pub fn insert_actor(&mut self, side: Side, definition: Uuid, workspace: Uuid, name: &str, settings: Value) -> Uuid {
        let id = self.new_id();
        self.actors.push(Actor {
            id,
            side,
            definition,
            workspace,
            name: name.to_owned(),
            settings,
            created_at: now(),
            born: Instant::now(),
            deleted: false,
            conduct: Conduct::default(),
        });
        id
    }

    /// The workspace of this id.
    pub fn workspace(&self, id: Uuid) -> Result<&Workspace, Trouble> {
        self.workspaces.iter().find(|w| w.id == id).ok_or_else(|| absent("workspace", id))
    }

    /// The connector of this id.
    pub fn definition(&self, side: Side, id: Uuid) -> Result<&Definition, Trouble> {
        let found = self.definitions.iter().find(|d| d.id == id && d.side == side);
        found.ok_or_else(|| absent("connector definition", id))
    }

    /// The source or destination of this id, deleted or not.
    pub fn actor(&self, side: Side, id: Uuid) -> Result<&Actor, Trouble> {
        self.actors.iter().find(|a| a.id == id && a.side == side).ok_or_else(|| absent(side.word(), id))
    }

    /// The source or destination of this id.
    pub fn actor_mut(&mut self, side: Side, id: Uuid) -> Result<&mut Actor, Trouble> {
        let found = self.actors.iter_mut().find(|a| a.id == id && a.side == side && !a.deleted);
        found.ok_or_else(|| absent(side.word(), id))
    }

    /// What a source does: for tests.
    pub fn conduct(&mut self, actor: Uuid) -> &mut Conduct {
        &mut self.actors.iter_mut().find(|a| a.id == actor).expect("an actor of this id").conduct
    }

    /// The connection of this id, deleted or not.
    pub fn connection(&self, id: Uuid) -> Result<&Connection, Trouble> {
        self.connections.iter().find(|c| c.id == id).ok_or_else(|| absent("connection", id))
    }

    /// The connection of this id, deleted or not.
    pub fn connection_mut(&mut self, id: Uuid) -> Result<&mut Connection, Trouble> {
        self.connections.iter_mut().find(|c| c.id == id).ok_or_else(|| absent("connection", id))
    }

    /// The workspace of a connection: that of its source.
    pub fn workspace_of(&self, connection: &Connection) -> Uuid {
        self.actor(Side::Source, connection.source).map_or(Uuid::nil(), |a| a.workspace)
    }

    /// The stored catalog of this id.
    pub fn catalog(&self, id: Uuid) -> Option<&Catalog> {
        self.catalogs.iter().find(|c| c.id == id)
    }

    /// The newest discover of a source.
    pub fn newest_fetch(&self, source: Uuid) -> Option<&Fetch> {
        self.fetches.iter().rev().find(|f| f.source == source)
    }

    /// The newest job of a connection.
    pub fn newest_job(&self, connection: Uuid) -> Option<&Job> {
        self.jobs.iter().rev().find(|j| j.connection == connection)
    }

    /// The job of a connection that has not ended.
    pub fn running_job(&self, connection: Uuid) -> Option<&Job> {
        self.jobs.iter().rev().find(|j| j.connection == connection && !j.has_ended())
    }

    /// Deletes a source or destination, and with it its connections.
    pub fn delete_actor(&mut self, side: Side, id: Uuid) -> Result<(), Trouble> {
        let actor = self.actor_mut(side, id)?;
        actor.deleted = true;
        actor.settings = serde_json::json!({});
        for connection in &mut self.connections {
            if connection.source == id || connection.destination == id {
                connection.status = "deprecated".into();
            }
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// The refusal of an unknown id.
pub fn absent(kind: &'static str, id: Uuid) -> Trouble {
    Trouble::Absent(kind, id.to_string())
}
