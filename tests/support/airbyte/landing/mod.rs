//! Moves the rows of one stream from a real PostgreSQL into another, in the tables of the destination's version.

mod direct;
mod names;
mod source;
mod table;
mod typed;

use serde_json::Value;

use super::definitions::{DESTINATION_POSTGRES, SOURCE_POSTGRES};
use super::discover::connect;
use super::state::{Actor, Connection, Progress, StreamKey};

/// What an attempt has to do with a stream.
#[derive(Debug, Clone)]
pub struct Load {
    /// Which stream.
    pub key: StreamKey,
    stream: Value,
    config: Value,
    source: Option<Value>,
    destination: Option<Value>,
    is_direct: bool,
    target: (String, String),
    mode: Mode,
    reads: bool,
    before: Progress,
    sync_id: i64,
}

/// What becomes of rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Append,
    Dedup,
    Replace,
}

/// What an attempt did.
#[derive(Debug, Clone, Default)]
pub struct Landed {
    /// Rows.
    pub rows: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// What to remember of the stream.
    pub progress: Progress,
}

impl Load {
    /// The next sync of a stream as its connection configures it.
    pub fn new(
        connection: &Connection,
        entry: &Value,
        source: &Actor,
        destination: &Actor,
        tag: &str,
        job: i64,
    ) -> Self {
        let (stream, config) = (entry["stream"].clone(), entry["config"].clone());
        let key = super::catalog::key(&stream);
        let schema = || destination.settings["schema"].as_str().unwrap_or("public").to_owned();
        let namespace = match connection.namespace_definition.as_str() {
            "source" => key.0.clone().unwrap_or_else(schema),
            "customformat" => {
                let format = connection.namespace_format.clone().unwrap_or_default();
                format.replace("${SOURCE_NAMESPACE}", key.0.as_deref().unwrap_or_default())
            }
            _ => schema(),
        };
        let before = connection.progress.get(&key).cloned().unwrap_or_default();
        let mode = match config["destinationSyncMode"].as_str() {
            Some("append_dedup") => Mode::Dedup,
            Some("overwrite") => Mode::Replace,
            _ => Mode::Append,
        };
        let real = |actor: &Actor, id| (actor.definition == id).then(|| actor.settings.clone());
        Self {
            source: real(source, SOURCE_POSTGRES),
            destination: real(destination, DESTINATION_POSTGRES),
            is_direct: !tag.starts_with(['0', '1', '2']),
            target: (namespace, format!("{}{}", connection.prefix, key.1)),
            key,
            stream,
            config,
            mode,
            reads: true,
            before,
            sync_id: job,
        }
    }

    /// Empties the table, and reads nothing.
    pub fn clear(&mut self) {
        self.refresh(true);
        self.reads = false;
    }

    /// Reads the source from its beginning, into a new generation; `truncates` removes what is not found again.
    pub fn refresh(&mut self, truncates: bool) {
        self.before.cursor = None;
        self.before.generation += 1;
        if truncates {
            self.mode = Mode::Replace;
        }
    }

    /// The cursor's column, where the mode goes by one.
    fn cursor(&self) -> Option<&str> {
        self.config["cursorField"][0].as_str().filter(|_| self.config["syncMode"] == "incremental")
    }

    /// The top-level columns of the key.
    fn primary_key(&self) -> Vec<&str> {
        self.config["primaryKey"].as_array().into_iter().flatten().filter_map(|path| path[0].as_str()).collect()
    }
}

/// Does it; after `limit` rows no more are read, and nothing is remembered.
pub async fn land(load: &Load, limit: Option<u64>) -> Result<Landed, sqlx::Error> {
    let mut load = load.clone();
    if load.mode == Mode::Replace && load.reads {
        load.before.generation += 1;
    }
    let (rows, cursor) = match &load.source {
        Some(settings) if load.reads => source::read(settings, &load, limit).await?,
        _ => (Vec::new(), None),
    };
    let bytes = rows.iter().map(|row| row.len() as u64).sum();
    let landed = Landed {
        rows: rows.len() as u64,
        bytes,
        progress: Progress { cursor: cursor.or(load.before.cursor.take()), generation: load.before.generation },
    };
    // other connectors only play at it
    let (Some(_), Some(settings)) = (&load.source, &load.destination) else { return Ok(landed) };
    let pool = connect(settings).await?;
    let page = format!("[{}]", rows.join(","));
    // a replacement that broke off leaves the table as it was
    if load.mode != Mode::Replace || limit.is_none() {
        if load.is_direct {
            direct::write(&pool, &load, &page).await?;
        } else {
            typed::write(&pool, &load, &page).await?;
        }
    }
    pool.close().await;
    Ok(landed)
}
