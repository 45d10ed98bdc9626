//! Sampling: the values of fields that went and of fields that are there now, of the same records.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{EndpointHandle, EngineError, LandingPlace};
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
    /// Some records that landed and are still at the source. `None` where that cannot be had: nothing has landed, or the
    /// records cannot be told apart.
    async fn sample(&self, order: &SampleOrder) -> Result<Option<Records>, EngineError>;
}
