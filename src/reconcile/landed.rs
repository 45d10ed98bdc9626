//! By which mapping landed rows are read.
//!
//! While the lock in force is the committed one, by the committed mapping: an edit of a mapping counts from the next page on.
//! A merge may replace lock and mapping together while a sync runs or its rows wait; these rows hold the old fields, so they
//! are read by the lock and the mapping that the sync began with. An intent keeps that mapping until its rows are normalized.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Gathered, Reconciler, StepError};
use crate::drift::{Change, stream_now};
use crate::mapping::{CompiledMapping, compile, mapping_digest};
use crate::model::{Catalog, FileEdit, RepoPath, StreamName};
use crate::ports::{ConnectionRow, Intent};
use crate::spec::{self, Connection, EntityMapping, EntitySpec, MappingSpec, Mode, Schedule, StreamMode};

/// The effect of an intent that is open from before a sync until its rows are normalized.
pub(super) const LANDED: &str = "normalize";

/// What the rows of a sync land under, as its intent keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Landed {
    mapping: RepoPath,
    /// The texts of the mapping and of its entities.
    files: BTreeMap<RepoPath, String>,
    modes: Vec<(StreamName, StreamMode)>,
    /// Streams that are read from their beginning.
    #[serde(default)]
    pub(super) refresh: BTreeSet<StreamName>,
    /// Streams that are left out, because they were held when the sync began.
    #[serde(default)]
    pub(super) held: BTreeSet<StreamName>,
}

/// A mapping that is ready to map.
pub(super) struct Mapped {
    pub(super) mapping: Arc<MappingSpec>,
    /// In the order of the mapping's file.
    pub(super) streams: Vec<MappedStream>,
    /// All streams of the connection, mapped or not.
    pub(super) carried: Vec<StreamName>,
}

/// A stream that a mapping reads.
pub(super) struct MappedStream {
    pub(super) name: StreamName,
    pub(super) mapping: CompiledMapping,
    pub(super) mode: StreamMode,
    /// Its top-level fields, in the order of the catalog.
    pub(super) fields: Vec<String>,
}

/// The last ended job, if its rows are not normalized yet.
pub(super) fn unnormalized(row: &ConnectionRow) -> Option<i64> {
    row.last_ended_job.filter(|job| row.normalized_job.is_none_or(|normalized| normalized < *job))
}

/// The same, unless nothing reads these rows.
pub(super) fn to_normalize(row: &ConnectionRow, connection: &Connection, intents: &[Intent]) -> Option<i64> {
    let read = connection.mapping.is_some() || intents.iter().any(|intent| intent.effect == LANDED);
    unnormalized(row).filter(|_| read)
}

/// Whether an intent is open because its effect goes on, and not because a crash left it.
pub(super) fn is_expected(intent: &Intent, syncing: bool, row: &ConnectionRow) -> bool {
    match intent.effect.as_str() {
        "sync" => true,
        LANDED => syncing || unnormalized(row).is_some(),
        _ => false,
    }
}

/// What the rows of a sync that begins now land under; `None` without a mapping.
pub(super) fn in_force(
    gathered: &Gathered,
    connection: &Connection,
    refresh: &BTreeSet<StreamName>,
) -> Result<Option<Landed>, StepError> {
    let (Some(mapping), Some(lock)) = (&connection.mapping, &connection.lock) else { return Ok(None) };
    let entities = mapping.entities.iter().filter_map(|entry| gathered.desired().entities.get(&entry.entity.value));
    let paths = entities.map(|entity| &entity.path).chain([&mapping.path]);
    let good = &gathered.resolved.good;
    let files = paths.filter_map(|path| Some((path.clone(), good.get(path.as_str())?.clone()))).collect();
    let (mapping, modes) = (mapping.path.clone(), modes(connection, &lock.catalog)?);
    Ok(Some(Landed { mapping, files, modes, refresh: refresh.clone(), held: gathered.held(connection) }))
}

fn modes(connection: &Connection, catalog: &Catalog) -> Result<Vec<(StreamName, StreamMode)>, StepError> {
    let plans =
        spec::configure(connection, catalog).map_err(|problems| StepError::Spec(spec::describe_problems(&problems)))?;
    Ok(plans.into_iter().map(|plan| (plan.name, plan.mode)).collect())
}

/// By which mapping each stream becomes each entity, as the committed state has it: [`CompiledMapping::digest`].
pub(super) fn digests(gathered: &Gathered, connection: &Connection) -> Vec<(StreamName, String, String)> {
    let (Some(mapping), Some(lock)) = (&connection.mapping, &connection.lock) else { return Vec::new() };
    let Ok(modes) = modes(connection, &lock.catalog) else { return Vec::new() };
    let entries = entries(mapping, &gathered.desired().entities, &modes);
    entries
        .map(|(_, entity, stream, _)| (stream.clone(), entity.name.clone(), mapping_digest(mapping, entity)))
        .collect()
}

/// A mapping's entries with their entities and the streams that they read.
fn entries<'a>(
    mapping: &'a MappingSpec,
    entities: &'a BTreeMap<String, Arc<EntitySpec>>,
    modes: &'a [(StreamName, StreamMode)],
) -> impl Iterator<Item = (&'a EntityMapping, &'a EntitySpec, &'a StreamName, StreamMode)> {
    mapping.entities.iter().filter_map(|entry| {
        let (stream, mode) = modes.iter().find(|(name, _)| names_stream(&entry.stream.value, name))?;
        Some((entry, &**entities.get(&entry.entity.value)?, stream, *mode))
    })
}

impl Reconciler {
    /// The mapping that the connection's landed rows are read by; `None` if they are not mapped at all.
    pub(super) async fn mapped_by(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
    ) -> Result<Option<Mapped>, StepError> {
        if connection.lock.as_ref().is_none_or(|lock| row.fingerprint.as_ref() != Some(&lock.fingerprint))
            && let Some(landed) = self.landed(row).await?
            && let Some(catalog) = self.recorded_catalog(row).await?
        {
            match landed.compile(&catalog) {
                Ok(mapped) => return Ok(Some(mapped)),
                // It never mapped a row: only what a person made of it since can.
                Err(why) => {
                    tracing::warn!(connection.name = %connection.name, "connection {}: rows that landed before the merge are read by the merged mapping, because the one before cannot be used: {why}", connection.name);
                }
            }
        }
        let (Some(mapping), Some(lock)) = (&connection.mapping, &connection.lock) else { return Ok(None) };
        let modes = modes(connection, &lock.catalog)?;
        compile_all(mapping, &gathered.desired().entities, &lock.catalog, &modes).map(Some)
    }

    /// What the last sync landed under, while its rows are not normalized.
    pub(super) async fn landed(&self, row: &ConnectionRow) -> Result<Option<Landed>, StepError> {
        let newest = self.doors.registry.intents(Some(row.id)).await?.into_iter().rfind(|i| i.effect == LANDED);
        Ok(newest.and_then(|intent| serde_json::from_value(intent.detail).ok()))
    }
}

impl Landed {
    /// What rows would land under with these edits, in streams with the names that they have after the changes.
    pub(super) fn edited(mut self, edits: &[FileEdit], changes: &[Change]) -> Self {
        for edit in edits {
            if let (Some(text), Some(after)) = (self.files.get_mut(&edit.path), &edit.after) {
                text.clone_from(after);
            }
        }
        for (name, _) in &mut self.modes {
            *name = stream_now(changes, name).clone();
        }
        self
    }

    pub(super) fn compile(self, catalog: &Catalog) -> Result<Mapped, StepError> {
        let files = self.files.into_iter().map(|(path, text)| (path, Arc::from(text.into_bytes()))).collect();
        let read = spec::resolve(&spec::Input {
            files: &files,
            unreadable: &BTreeMap::new(),
            last_good: &BTreeMap::new(),
            engine: spec::EngineKind::Embedded,
            mode_cap: Mode::Observe,
            look: Schedule::Manual,
        });
        let mapping = read.desired.mappings.values().find(|mapping| mapping.path == self.mapping);
        let mapping = mapping.ok_or_else(|| StepError::Spec(format!("{} cannot be read", self.mapping)))?;
        compile_all(mapping, &read.desired.entities, catalog, &self.modes)
    }
}

fn compile_all(
    mapping: &Arc<MappingSpec>,
    entities: &BTreeMap<String, Arc<EntitySpec>>,
    catalog: &Catalog,
    modes: &[(StreamName, StreamMode)],
) -> Result<Mapped, StepError> {
    let mut streams = Vec::new();
    for (entry, entity, stream, mode) in entries(mapping, entities, modes) {
        let schema = catalog.streams.get(stream);
        let compiled = compile(mapping, entry, entity, schema).map_err(|problems| {
            let first = problems.first().map_or_else(String::new, |problem| problem.message.clone());
            StepError::Spec(format!("{}: {first}; `aam check` shows all", mapping.path))
        })?;
        let columns = schema.map(|schema| schema.columns()).unwrap_or_default();
        let fields = columns.into_iter().map(|(path, _)| path.root().to_owned()).collect();
        streams.push(MappedStream { name: stream.clone(), mapping: compiled, mode, fields });
    }
    let carried = modes.iter().map(|(name, _)| name.clone()).collect();
    Ok(Mapped { mapping: mapping.clone(), streams, carried })
}

/// Whether a mapping's stream means this one: the full name, or the bare name.
fn names_stream(written: &StreamName, name: &StreamName) -> bool {
    written == name || (written.namespace.is_none() && written.name == name.name)
}
