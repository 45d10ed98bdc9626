//! Sampling: the values of fields that went and of fields that are there now, of the same records; and, where a source cannot
//! be read beside its syncs, the rows that landed last.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{EndpointHandle, EngineError, LandedStream, LandingPlace, LandingRow};
use crate::model::{FieldPath, Stream, StreamName};

/// What to sample of a stream whose fields changed.
#[derive(Debug, Clone)]
pub struct SampleOrder {
    /// Where the present values are.
    pub source: EndpointHandle,
    /// Where rows with the old values landed.
    pub place: LandingPlace,
    /// The stream.
    pub stream: StreamName,
    /// What tells its records apart, before and after.
    pub key: Vec<FieldPath>,
    /// The stream as it was approved.
    pub before: Stream,
    /// The stream as the source shows it.
    pub now: Stream,
    /// Fields that the source no longer has.
    pub gone: Vec<FieldPath>,
    /// Fields that it has, those that came and those that stayed.
    pub present: Vec<FieldPath>,
}

/// What could be had of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Samples {
    /// Records that landed and are still at the source: the n-th values of both sides are of the same record.
    Joined(Records),
    /// Records that landed, and records of the source: nobody knows which are the same.
    Apart(Records),
}

/// Values by field, each list as long as there are records: the n-th values are of the same record. `None` is null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Of fields that the source no longer has, as they landed last.
    pub gone: BTreeMap<FieldPath, Vec<Option<String>>>,
    /// Of fields that it has, as they are now.
    pub present: BTreeMap<FieldPath, Vec<Option<String>>>,
}

/// Looks at values; changes nothing.
#[async_trait]
pub trait Sampler: Send + Sync {
    /// Some records that landed, and some of the source; the same ones, if they can be told apart. `None` where nothing has
    /// landed, or nothing is at the source.
    async fn sample(&self, order: &SampleOrder) -> Result<Option<Samples>, EngineError>;
}

/// Which of the newest rows are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Newest<'a> {
    /// Those with a value in one of these top-level fields.
    Holding(&'a [String]),
    /// Those of jobs after this one.
    After(i64),
}

/// Gives the rows of a landing table that were written last; changes nothing.
#[async_trait]
pub trait NewestRows: Send + Sync {
    /// These fields of at most so many, the newest first, and fewer where they are long; none if there is no table.
    async fn newest(
        &self,
        place: &LandingPlace,
        stream: LandedStream<'_>,
        wanted: Newest<'_>,
        fields: &BTreeSet<String>,
        limit: u32,
    ) -> Result<Vec<LandingRow>, EngineError>;
}
