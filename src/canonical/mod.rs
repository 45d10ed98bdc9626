//! The canonical pipeline: landed rows become canonical events.
//!
//! A page of landing is read, mapped, compared with the last event of each of its records, and appended as one batch
//! together with the landing cursor. Whatever happens in between, the next call begins at the stored cursor and makes the
//! same events with the same positions and ids. Streams that are replaced at each sync are then compared with what the
//! table still holds: a record that is gone there gets a delete.
//!
//! Runs under the connection's lease and while no job of the connection runs. A new mapping version applies to rows read
//! from then on (but a lock that replaces another waits until older rows are read), and to dead letters: what another mapping
//! refused is mapped again before newer rows are. What was mapped stays as it is.

mod deletes;
mod letters;
mod page;
mod storable;

use crate::mapping::CompiledMapping;
use crate::model::{ConnectionRef, FieldPath, StreamName};
use crate::ports::{
    Clock, EngineError, EventBatch, EventStore, LandedStream, Landing, LandingPlace, Lease, RegistryError, Remedy,
};
use crate::spec::MappingSpec;

/// Rows per page: large enough that the four queries of a page do not show, small enough to stay within a few
/// megabytes of memory.
const PAGE: u32 = 5_000;

/// What is to be done for a connection.
#[derive(Debug)]
pub struct Work<'a> {
    /// The right to write for the connection.
    pub lease: &'a Lease,
    /// Its name now.
    pub connection: &'a ConnectionRef,
    /// Where its rows land.
    pub place: &'a LandingPlace,
    /// The catalog version in force.
    pub catalog_version: u32,
    /// The mapping in force.
    pub mapping: &'a MappingSpec,
    /// Its entries, with the streams they read. Always in the same order (that of the mapping's file), because positions
    /// are given out in it.
    pub streams: Vec<StreamWork<'a>>,
}

/// One stream that becomes one entity.
#[derive(Debug)]
pub struct StreamWork<'a> {
    /// The stream's full name, as it landed.
    pub stream: StreamName,
    /// Its top-level fields, in the order of its schema.
    pub fields: Vec<String>,
    /// How it is mapped.
    pub mapping: &'a CompiledMapping,
    /// For a stream that is replaced at each sync and whose last sync succeeded: that sync's job. Records that are missing
    /// from the table get a delete then. `None` derives no deletes.
    pub replaced_by: Option<i64>,
    /// The last sync's job, if it read the whole stream and succeeded: dead letters of earlier jobs are answered by what it
    /// brought. `None` leaves them.
    pub reread_by: Option<i64>,
    /// Fields that the source has no more while a drift is undecided, and that drift in short.
    pub gone: Vec<(FieldPath, String)>,
    /// Fields that may go by another name by now: whose rows wait until that is decided.
    pub undecided: Vec<Undecided>,
}

/// A field that went and may be one of others that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// The field.
    pub gone: FieldPath,
    /// The others.
    pub came: Vec<FieldPath>,
    /// The drift in which it is open, in short.
    pub drift: String,
}

/// How far a stream is; told after each page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Which stream.
    pub stream: &'a StreamName,
    /// Which entity.
    pub entity: &'a str,
    /// What was done so far.
    pub counts: Counts,
}

/// What became of landed rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Events for new and changed records.
    pub upserts: u64,
    /// Events for records that are gone.
    pub deletes: u64,
    /// Rows that could not be mapped.
    pub dead_letters: u64,
}

/// What became of dead letters that another mapping refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters mapped again.
    pub letters: u64,
    /// Events they became. What a newer row overtook, or what changes nothing, becomes none.
    pub events: u64,
    /// Letters that stay, with their new reason.
    pub stay: u64,
}

/// What a call did, by stream and entity in the order of the work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Stream, entity and counts.
    pub streams: Vec<(StreamName, String, Counts)>,
    /// All streams' dead letters.
    pub replayed: Replayed,
}

impl Summary {
    /// The sums over all streams.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (_, _, counts) in &self.streams {
            total.add(*counts);
        }
        total
    }
}

impl Replayed {
    fn add(&mut self, other: Self) {
        self.letters += other.letters;
        self.events += other.events;
        self.stay += other.stay;
    }
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.rows += other.rows;
        self.upserts += other.upserts;
        self.deletes += other.deletes;
        self.dead_letters += other.dead_letters;
    }
}

/// Why a call ended early. What was appended before stays, and the next call goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Landing could not be read.
    #[error("reading the landed rows of {stream}")]
    Landing {
        /// The stream.
        stream: StreamName,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// Events could not be read or appended.
    #[error("storing the canonical events of {stream}")]
    Store {
        /// The stream.
        stream: StreamName,
        /// What the registry said.
        #[source]
        source: RegistryError,
    },
}

impl CanonicalError {
    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Landing { source, .. } => source.remedy,
            Self::Store { source, .. } => source.remedy(),
        }
    }
}

/// Brings the canonical events of every stream up to what has landed. Writes nothing when nothing has.
pub async fn normalize(
    landing: &dyn Landing,
    store: &dyn EventStore,
    clock: &dyn Clock,
    work: &Work<'_>,
    progress: &(dyn Fn(Progress<'_>) + Send + Sync),
) -> Result<Summary, CanonicalError> {
    let mut summary = Summary::default();
    for stream in &work.streams {
        let run = Run { store, clock, work, stream };
        summary.replayed.add(run.replay().await?);
        let counts = run.normalize(landing, progress).await?;
        summary.streams.push((stream.stream.clone(), stream.mapping.entity().to_owned(), counts));
    }
    Ok(summary)
}

/// Maps again the dead letters of every stream that another mapping refused; landed rows are left for later. Writes nothing
/// where there are none.
pub async fn replay(store: &dyn EventStore, clock: &dyn Clock, work: &Work<'_>) -> Result<Replayed, CanonicalError> {
    let mut replayed = Replayed::default();
    for stream in &work.streams {
        replayed.add(Run { store, clock, work, stream }.replay().await?);
    }
    Ok(replayed)
}

/// One stream of one call.
struct Run<'a> {
    store: &'a dyn EventStore,
    clock: &'a dyn Clock,
    work: &'a Work<'a>,
    stream: &'a StreamWork<'a>,
}

impl Run<'_> {
    async fn normalize(
        &self,
        landing: &dyn Landing,
        progress: &(dyn Fn(Progress<'_>) + Send + Sync),
    ) -> Result<Counts, CanonicalError> {
        let (stream, entity) = (&self.stream.stream, self.stream.mapping.entity());
        let mut counts = Counts::default();
        let cursor = self.store.cursor(self.work.lease.connection, stream, entity).await;
        let mut cursor = cursor.map_err(|e| self.stored(e))?;
        loop {
            let page = landing.read(self.work.place, self.landed_stream(), cursor.as_ref(), PAGE).await;
            let page = page.map_err(|e| self.landed(e))?;
            if page.rows.is_empty() && cursor.as_ref() == Some(&page.next) {
                break; // nothing new: nothing is written, not even the cursor
            }
            let (mut batch, page_counts) = self.map_page(&page.rows, false).await?;
            batch.cursor = Some(page.next.clone());
            self.append(&batch).await?;
            counts.add(page_counts);
            progress(Progress { stream, entity, counts });
            cursor = Some(page.next);
            if page.done {
                break;
            }
        }
        if let Some(job) = self.stream.replaced_by.filter(|_| !self.stream.mapping.key().is_empty()) {
            counts.deletes += self.derive_deletes(landing, job).await?;
            progress(Progress { stream, entity, counts });
        }
        if let Some(job) = self.stream.reread_by {
            let forgotten = self.store.forget_letters(self.work.lease, stream, entity, job).await;
            forgotten.map_err(|e| self.stored(e))?;
        }
        Ok(counts)
    }

    /// Appends a batch; the mapping of its events and letters is on record before.
    async fn append(&self, batch: &EventBatch) -> Result<(), CanonicalError> {
        let (work, stream) = (self.work, &self.stream.stream);
        if !batch.events.is_empty() || !batch.dead_letters.is_empty() {
            let spec = work.mapping;
            let recorded = self.store.record_mapping(spec.path.as_str(), &spec.digest, &spec.text).await;
            recorded.map_err(|e| self.stored(e))?;
        }
        let appended = self.store.append(work.lease, stream, self.stream.mapping.entity(), batch).await;
        appended.map_err(|e| self.stored(e))
    }

    fn landed_stream(&self) -> LandedStream<'_> {
        LandedStream { name: &self.stream.stream, fields: &self.stream.fields, key: self.stream.mapping.key() }
    }

    fn landed(&self, source: EngineError) -> CanonicalError {
        CanonicalError::Landing { stream: self.stream.stream.clone(), source }
    }

    fn stored(&self, source: RegistryError) -> CanonicalError {
        CanonicalError::Store { stream: self.stream.stream.clone(), source }
    }
}
