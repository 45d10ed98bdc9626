//! Connectors: the sources that the embedded engine can read, each behind the one small trait [`Connector`].
//!
//! A connector hands over rows as lines of PostgreSQL's COPY text form, in batches, each with the position at which
//! reading goes on after it. What a row becomes in landing, and when a position counts as reached, is the engine's
//! business.

mod airbyte;
pub mod copy_text;
mod error;
mod file;
pub mod postgres;
mod settings;
pub mod specification;

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc;

pub use airbyte::manifest;
pub use error::{clean, database_error, failure};
pub use settings::Settings;

use crate::model::{FieldPath, FieldType, Stream, StreamName};
use crate::ports::{Discovered, EndpointHandle, EngineError, Remedy};

/// A source that can be looked at and read. Holds its own copy of the settings; every call connects afresh.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Tries whether the source can be reached and read.
    async fn check(&self) -> Result<(), EngineError>;
    /// Reads the catalog.
    async fn discover(&self) -> Result<Discovered, EngineError>;
    /// Reads a stream from `state` on and sends it in batches. Returns when all is sent, or early, with `Ok`, when the
    /// receiver is gone.
    async fn read(&self, order: &ReadOrder, sink: BatchSink) -> Result<(), EngineError>;
}

/// What to read of one stream.
#[derive(Debug, Clone)]
pub struct ReadOrder {
    /// The stream.
    pub stream: StreamName,
    /// The top-level fields to send, in this order, with the type that landing expects.
    pub columns: Vec<(String, FieldType)>,
    /// Whether a field that the source no longer has is null rather than an error.
    pub missing_as_null: bool,
    /// The approved facts about the stream.
    pub schema: Stream,
    /// Read only what is new since `state`, by this cursor or by the source's own position.
    pub how: How,
    /// Where the last committed batch ended; `None` begins at the start.
    pub state: Option<Value>,
}

/// How a stream is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Everything; a state is only for going on after an interruption of the same read.
    Full,
    /// What is new since the state; the cursor is a top-level field, or absent where the source keeps its position.
    New(Option<FieldPath>),
}

/// Some rows, and where reading goes on after them.
#[derive(Debug, Default)]
pub struct Batch {
    /// COPY text: one line per row with the ordered columns, each ended by `\n`.
    pub rows: Vec<u8>,
    /// How many lines.
    pub count: u64,
    /// Where to go on.
    pub position: Position,
}

/// Where reading can be taken up behind a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Position {
    /// Not behind this batch. If the read is cut off, what landed since the last position, or since the beginning, is
    /// taken out and read again.
    #[default]
    Open,
    /// Here: the connector's own words.
    After(Value),
}

/// Rows are sent on when a batch has grown to this size: large enough that a commit costs little beside its COPY, small
/// enough that three of them (one being read, one waiting, one being written) are no burden.
pub const BATCH_BYTES: usize = 4 << 20;

/// Where a connector sends its batches.
#[derive(Debug, Clone)]
pub struct BatchSink(mpsc::Sender<Batch>);

/// The receiver of the batches is gone: stop reading.
#[derive(Debug)]
pub struct Stopped;

impl BatchSink {
    /// A sink and its receiver, with room for one waiting batch.
    pub fn channel() -> (Self, mpsc::Receiver<Batch>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// Sends a batch, waiting for room.
    pub async fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.0.send(batch).await.map_err(|_| Stopped)
    }

    /// Sends a batch from a blocking thread.
    pub fn blocking_send(&self, batch: Batch) -> Result<(), Stopped> {
        self.0.blocking_send(batch).map_err(|_| Stopped)
    }
}

/// The connectors there are.
pub const CONNECTORS: &[&str] = &["airbyte", "file", "postgres"];

/// What connectors that are programs may use of this machine.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    /// Those that may be run.
    pub allowed: Vec<String>,
    /// The configuration root: manifests lie below it.
    pub root: PathBuf,
}

/// The connector for a source, its settings checked.
pub fn open(source: &EndpointHandle, programs: &Programs) -> Result<Box<dyn Connector>, EngineError> {
    match source.connector.as_str() {
        "airbyte" => Ok(Box::new(airbyte::Airbyte::open(source, programs)?)),
        "postgres" => Ok(Box::new(postgres::Postgres::open(source)?)),
        "file" => Ok(Box::new(file::File::open(source)?)),
        other => Err(EngineError {
            what: format!("source {}", source.name),
            why: format!("the embedded engine has no connector `{}`; it has {}", clean(other), CONNECTORS.join(", ")),
            remedy: Remedy::Person,
            retry_after: None,
        }),
    }
}
