//! The engine's connection, which other people may change too: written and read back property by property, but for what
//! a person changed there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ends::{ENDS, live_end, wanted_ends};
use super::onboard::draft_of;
use super::sync::Began;
use super::{Gathered, OutcomeKind, Reconciler, StepError, by_aam};
use crate::model::StreamName;
use crate::plan::{Agreed, Part, Properties, of_git, same};
use crate::ports::{
    ConfiguredStream, ConnectionDraft, ConnectionRow, ConnectionStatus, EngineConnection, EngineEndpoint, EngineId,
    EngineRead, Intent, JobState, Lease, ObjectKind, ResolvedConfig, recorded,
};
use crate::spec::{Connection, Lock};

/// The effect of an intent to change the engine's connection.
pub(super) const UPDATE: &str = "update_connection";
pub(super) const NAME: &str = "name";
pub(super) const STATUS: &str = "status";

/// What an update was to bring about, as its intent keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Update {
    /// What is there afterwards.
    pub(super) target: Properties,
    /// What git wants.
    pub(super) wanted: Properties,
    /// What is not written, because a person changed it.
    pub(super) edited: BTreeSet<String>,
}

impl Update {
    pub(super) fn detail(&self) -> Value {
        serde_json::to_value(self).expect("properties are plain data")
    }

    /// `None` of an intent that is none of an update.
    pub(super) fn read(intent: &Intent) -> Option<Self> {
        serde_json::from_value(intent.detail.clone()).ok()
    }
}

/// What git owns of a connection.
pub(super) fn properties(draft: &ConnectionDraft) -> Properties {
    let mut all: Properties = draft.settings.clone();
    all.insert(NAME.into(), json!(draft.name));
    all.insert(STATUS.into(), json!(if draft.enabled { "active" } else { "inactive" }));
    all.extend(draft.streams.iter().map(|stream| (stream_property(&stream.name), stream_value(stream))));
    all
}

/// What git owns of a connection and its ends.
fn whole(draft: &ConnectionDraft, connection: &Connection) -> Properties {
    let mut all = properties(draft);
    all.extend(wanted_ends(connection));
    all
}

fn stream_property(name: &StreamName) -> String {
    format!("stream {name}")
}

fn is_stream(property: &str) -> bool {
    property.starts_with("stream ")
}

/// Choices as they are, fields as their number and digest: a registry row is no place for whole schemas.
fn stream_value(stream: &ConfiguredStream) -> Value {
    let mut digest = Sha256::new();
    for (path, field) in &stream.schema.fields {
        digest.update(format!("{path}: {}\n", field.shape()));
    }
    let digest = hex::encode(digest.finalize());
    let paths = |paths: &[crate::model::FieldPath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "mode": stream.mode, "cursor": stream.cursor.as_ref().map(ToString::to_string), "key": paths(&stream.key),
        "fields": format!("{} {}", stream.schema.fields.len(), &digest[..16]),
    })
}

/// The draft with these properties as they are live.
fn keep(draft: &ConnectionDraft, live: &ConnectionDraft, edited: &BTreeSet<String>) -> ConnectionDraft {
    let mut kept = draft.clone();
    for name in edited {
        match name.as_str() {
            NAME => kept.name.clone_from(&live.name),
            STATUS => kept.enabled = live.enabled,
            name if is_stream(name) => {
                kept.streams.retain(|stream| stream_property(&stream.name) != name);
                kept.streams.extend(live.streams.iter().find(|s| stream_property(&s.name) == name).cloned());
            }
            name => {
                kept.settings.remove(name);
                kept.settings.extend(live.settings.get(name).map(|value| (name.to_owned(), value.clone())));
            }
        }
    }
    kept.streams.sort_by(|a, b| a.name.cmp(&b.name));
    kept
}

/// What is live and what is wanted where they differ, a line each.
pub(super) fn differences(live: &Properties, wanted: &Properties) -> Vec<String> {
    let live = &of_git(live, wanted);
    differing(live, wanted).map(|(name, is, becomes)| line(name, is, becomes)).collect()
}

/// The same for what is written, each stream with what it does to its data: what a person changed stays.
pub(super) fn differences_but(live: &Properties, wanted: &Properties, edited: &BTreeSet<String>) -> Vec<String> {
    let live = &of_git(live, wanted);
    let written = differing(live, wanted).filter(|(name, ..)| !edited.contains(*name));
    let told = |(name, is, becomes): (&String, Option<&Value>, Option<&Value>)| match is_stream(name) {
        true => format!("{} ({})", line(name, is, becomes), data_effect(is, becomes)),
        false => line(name, is, becomes),
    };
    written.map(told).collect()
}

/// The properties whose values differ, with both.
fn differing<'a>(
    live: &'a Properties,
    wanted: &'a Properties,
) -> impl Iterator<Item = (&'a String, Option<&'a Value>, Option<&'a Value>)> {
    let names: BTreeSet<&String> = live.keys().chain(wanted.keys()).collect();
    let both = names.into_iter().map(|name| (name, live.get(name), wanted.get(name)));
    both.filter(|(_, is, becomes)| !same(*is, *becomes))
}

fn line(name: &str, is: Option<&Value>, becomes: Option<&Value>) -> String {
    let short = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    format!("{name}: {} → {}", short(is), short(becomes))
}

/// What a change of a stream does to its data. No update clears anything; but Airbyte forgets how far a stream was read whose
/// way of reading changes, and what is read whole may replace what landed.
fn data_effect(is: Option<&Value>, becomes: Option<&Value>) -> &'static str {
    let mode = |stream: Option<&Value>| stream.and_then(|stream| stream["mode"].as_str()).map(str::to_owned);
    let is_whole = |mode: &Option<String>| mode.as_deref().map(|mode| mode.starts_with("full_refresh"));
    let (was, now) = (mode(is), mode(becomes));
    match (&was, &now) {
        (_, None) => "what landed of it stays",
        (None, Some(_)) => "its next sync reads it from the beginning",
        (Some(_), Some(to)) if was != now && to.starts_with("full_refresh_overwrite") => {
            "its next sync reads it from the beginning and replaces what landed"
        }
        _ if is_whole(&was) != is_whole(&now) => "its next sync reads it from the beginning; what landed stays",
        _ => "what landed stays, nothing is read again",
    }
}

/// What would be written to an adopted connection to bring it to its spec and lock: empty if it is as they say. The same
/// comparison as adoption and planning make.
pub fn unlike<E: EngineRead + ?Sized>(
    engine: &E,
    connection: &Connection,
    live: &ConnectionDraft,
    ends: [&EngineEndpoint; 2],
) -> Result<Vec<String>, StepError> {
    for (endpoint, is) in [(&connection.source, &live.source), (&connection.destination, &live.destination)] {
        if endpoint.airbyte.id.is_none_or(|declared| declared.to_string() != is.0) {
            return Err(StepError::Spec(format!("in the engine it uses {}, not {} as declared", is.0, endpoint.name)));
        }
    }
    let Some(lock) = &connection.lock else { return Err(StepError::Spec("it has no lock".into())) };
    let ids = (&live.source, &live.destination);
    let wanted = whole(&draft_of(engine, connection, ids, &lock.catalog, &BTreeSet::new())?, connection);
    let mut is = properties(live);
    is.extend(ENDS.into_iter().zip(ends).flat_map(|(kind, end)| live_end(kind, end)));
    Ok(differences(&is, &wanted))
}

impl Reconciler {
    /// What git wants of the engine's connection; `None` while the engine has not all of its objects.
    pub(super) fn wanted(&self, connection: &Connection, row: &ConnectionRow) -> Option<Result<Properties, StepError>> {
        self.wanted_but(connection, row, &row.held)
    }

    /// The same with these streams left out.
    pub(super) fn wanted_but(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        held: &BTreeSet<StreamName>,
    ) -> Option<Result<Properties, StepError>> {
        let (source, destination) = (row.objects.get(&ObjectKind::Source)?, row.objects.get(&ObjectKind::Destination)?);
        let catalog = &connection.lock.as_ref()?.catalog;
        let draft = self.draft(connection, source, destination, catalog, held);
        Some(draft.map(|draft| whole(&draft, connection)))
    }

    /// Takes over what the engine has already, as the spec names it. Nothing is written there.
    pub(super) async fn adopt(
        &self,
        connection: &Connection,
        row: Option<&ConnectionRow>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let registry = &self.doors.registry;
        let (Some(id), Some(lock)) = (connection.airbyte.id, &connection.lock) else {
            return Ok(OutcomeKind::Skipped("its spec names no connection of the engine any more".into()));
        };
        let id = EngineId(id.to_string());
        let seen = self.live(&id, &connection.name.to_string()).await?;
        let EngineConnection { is: live, stopped, .. } = &seen;
        for (endpoint, is) in [(&connection.source, &live.source), (&connection.destination, &live.destination)] {
            if endpoint.airbyte.id.is_some_and(|declared| declared.to_string() != is.0) {
                let why = format!(
                    "connection {}: in the engine it uses {}, not {} as declared",
                    connection.name, is.0, endpoint.name
                );
                return Err(StepError::Spec(why));
            }
        }
        if row.is_none() {
            let cause = by_aam(
                format!("connection {} declared in {}", connection.name, connection.path),
                json!({"spec": connection.path}),
            );
            registry.declare(lease, &connection.name, &cause).await?;
        }
        let objects = [
            (ObjectKind::Source, &live.source),
            (ObjectKind::Destination, &live.destination),
            (ObjectKind::Connection, &id),
        ];
        for (kind, id) in objects {
            let word = kind.word();
            let cause = by_aam(format!("{word} of {} adopted", connection.name), json!({"id": id}));
            registry.set_object(lease, kind, Some(id), &cause).await?;
        }
        let row = self
            .fresh_row(lease.connection)
            .await?
            .ok_or_else(|| StepError::Spec("it vanished from the registry".into()))?;
        self.record_history(connection, &row, &lock.catalog, lease).await?;
        let draft = self.draft(connection, &live.source, &live.destination, &lock.catalog, &BTreeSet::new())?;
        let mut is = of_git(&properties(live), &properties(&draft));
        let ends = self.found_ends(connection, [&live.source, &live.destination]).await?;
        is.extend(ends.clone());
        let wanted = whole(&draft, connection);
        // that the engine stopped it by itself is agreed with nobody: else the first write would start it again
        let mut stops = BTreeSet::new();
        if stopped.is_some() && draft.enabled {
            is.insert(STATUS.to_owned(), wanted[STATUS].clone());
            stops.insert(STATUS.to_owned());
        }
        let unlike = differences_but(&is, &wanted, &stops);
        let agreed = Agreed { applied: is, ..Agreed::default() };
        registry.set_agreed(lease, &agreed, &BTreeSet::new()).await?;
        if unlike.is_empty() {
            let cause = by_aam(
                format!("connection {}: the engine is as its spec says", connection.name),
                json!({"digest": connection.digest}),
            );
            registry.set_applied(lease, &connection.digest, None, &cause).await?;
        }
        let cause = by_aam(
            format!("connection {} adopted with {} streams", connection.name, lock.catalog.streams.len()),
            json!({"id": id}),
        );
        registry.set_status(lease, ConnectionStatus::Active, None, None, false, &cause).await?;
        self.note_adopted(&row, &id, (seen, ends), &agreed).await;
        Ok(OutcomeKind::Applied)
    }

    /// Follows a job that the engine started by itself, as if it had been asked for.
    pub(super) async fn note_sync(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        job: i64,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        if self.open_sync(row).await?.is_some() || row.last_ended_job.is_some_and(|known| known >= job) {
            return Ok(OutcomeKind::Unchanged);
        }
        self.begin_sync(gathered, connection, &Began::new(job - 1, BTreeSet::new()), lease).await?;
        Ok(OutcomeKind::Applied)
    }

    /// Brings the engine's connection to the draft under an intent and compares what it shows afterwards. Sending the same
    /// update twice is harmless, so a crash between needs no more than the next turn. The intent stays until what was agreed is
    /// noted: else our own update would look like a person's. What a person changed in the
    /// engine is left as it is; the names of these properties. `of_source` as the engine wants it.
    pub(super) async fn update_and_read_back(
        &self,
        row: &ConnectionRow,
        (draft, of_source): (&ConnectionDraft, &ResolvedConfig),
        held: &BTreeSet<StreamName>,
        lease: &Lease,
    ) -> Result<BTreeSet<String>, StepError> {
        let Some(id) = row.objects.get(&ObjectKind::Connection) else {
            return Err(StepError::Spec(format!("connection {} is not in the engine yet", row.name)));
        };
        let shared = self.doors.engine.manner().drives_itself;
        let live = self.live(id, &draft.name).await?;
        let (mut agreed, edited) = match shared {
            true => {
                let agreed = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id);
                // of what was found there, whatever differs is somebody's
                let none = agreed.as_ref().is_none_or(|a| a.applied.keys().all(|name| Part::of(name) == Part::Ends));
                let found = Agreed::after(agreed.as_ref(), Part::Connection, &properties(draft), &BTreeSet::new());
                let agreed = if none { found } else { agreed.unwrap_or_default() };
                let edited = agreed.edited(&properties(draft), &properties(&live.is));
                (Some(agreed), edited)
            }
            false => (None, BTreeSet::new()),
        };
        let mut target = keep(draft, &live.is, &edited);
        let carries = |draft: &ConnectionDraft, name: &StreamName| draft.streams.iter().any(|s| s.name == *name);
        target.options = agreed.as_ref().map(|agreed| agreed.kept.clone()).unwrap_or_default();
        target.options.retain(|name, _| !carries(&live.is, name));
        target.options.extend(live.is.options.clone());
        let mut kept = target.options.clone();
        kept.retain(|name, _| !carries(&target, name));
        let same = |is: &ConnectionDraft| match shared {
            true => of_git(&properties(is), &properties(&target)) == properties(&target),
            false => *is == target,
        };
        let mut is = live.is;
        let differs = !same(&is);
        if differs {
            self.refuse_while_moving(id, shared).await?;
            if let Some(agreed) =
                agreed.as_mut().filter(|agreed| kept.keys().any(|name| !agreed.kept.contains_key(name)))
            {
                agreed.kept.extend(kept.clone());
                self.doors.registry.set_agreed(lease, agreed, &row.held).await?;
            }
            let update = Update { target: properties(&target), wanted: properties(draft), edited: edited.clone() };
            self.begin(lease, UPDATE, &id.0, update.detail()).await?;
            self.sent_under(lease, UPDATE, self.doors.engine.update_connection(id, &target, of_source)).await??;
            is = self.live(id, &draft.name).await?.is;
            let mut lacks = differences(&properties(&is), &properties(&target));
            let lost = target.options.keys().filter(|name| carries(&is, name) && !is.options.contains_key(*name));
            lacks.extend(lost.map(|name| format!("stream {name}: its mappers are lost")));
            if !same(&is) || !lacks.is_empty() {
                let differs = lacks.join("; ");
                return Err(StepError::ReadBack { what: format!("connection {}", draft.name), differs });
            }
        }
        if shared {
            let mut agreed = Agreed::after(agreed.as_ref(), Part::Connection, &properties(draft), &edited);
            agreed.kept = kept;
            self.doors.registry.set_agreed(lease, &agreed, held).await?;
            self.note_live(row.id, agreed, |name| Part::of(name) == Part::Connection, properties(&is));
        }
        for intent in self.doors.registry.intents(Some(row.id)).await? {
            if intent.effect == UPDATE || intent.effect.starts_with("create_") {
                self.doors.registry.settle(lease, intent.id).await?;
            }
        }
        if differs {
            recorded(UPDATE);
        }
        Ok(edited)
    }

    /// An update of which no answer came: if the engine is as it was to be, that is what was agreed, and not somebody's edit.
    pub(super) async fn look_up_update(
        &self,
        intent: &Intent,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let Some(Update { target, wanted, edited }) = Update::read(intent) else { return Ok(()) };
        let id = EngineId(intent.key.clone());
        let Some(live) = self.doors.engine.connection(&id).await? else { return Ok(()) };
        if self.doors.engine.manner().drives_itself && of_git(&properties(&live.is), &target) == target {
            let before = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id);
            let agreed = Agreed::after(before.as_ref(), Part::Connection, &wanted, &edited);
            self.doors.registry.set_agreed(lease, &agreed, &row.held).await?;
        }
        self.forget_live(row.id);
        Ok(())
    }

    async fn live(&self, id: &EngineId, name: &str) -> Result<EngineConnection, StepError> {
        let live = self.doors.engine.connection(id).await?;
        live.ok_or_else(|| StepError::Gone { what: format!("connection {name}"), id: id.0.clone() })
    }

    /// An engine that starts syncs by itself may have started one since it was looked at.
    pub(super) async fn refuse_while_moving(&self, id: &EngineId, shared: bool) -> Result<(), StepError> {
        let newest = if shared { self.doors.engine.jobs(id, 1).await?.pop() } else { None };
        match newest.filter(|job| job.state == JobState::Running) {
            Some(job) => Err(StepError::Moving(job.id)),
            None => Ok(()),
        }
    }

    /// Streams that the engine's connection must leave out because a breaking drift waits.
    pub(super) fn to_hold(&self, gathered: &Gathered, connection: &Connection) -> BTreeSet<StreamName> {
        match gathered.row_of(connection).filter(|_| self.doors.engine.manner().drives_itself) {
            Some(row) => gathered.to_hold(row.id),
            None => BTreeSet::new(),
        }
    }

    /// Leaves exactly these streams out of the engine's connection. The others go on; nothing is cleared, and what is taken in
    /// again goes on from where it was.
    pub(super) async fn hold(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        lock: &Lock,
        held: &BTreeSet<StreamName>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let (source, destination) = self.handles(connection, row)?;
        let draft = self.connection_draft(connection, &source, &destination, &lock.catalog, held)?;
        let edited = self.update_and_read_back(row, (&draft, &source.config), held, lease).await?;
        let names = |streams: &BTreeSet<StreamName>| streams.iter().map(ToString::to_string).collect::<Vec<_>>();
        // one that a person changed in the engine stays as it is there
        let out = held.iter().filter(|stream| !edited.contains(&stream_property(stream))).cloned().collect();
        let summary = match BTreeSet::is_empty(&out) {
            true => format!("connection {}: every stream syncs again", connection.name),
            false => {
                format!(
                    "connection {}: {} left out until their drift is decided",
                    connection.name,
                    names(&out).join(", ")
                )
            }
        };
        let cause = by_aam(summary, json!({"held": names(&out), "before": names(&row.held)}));
        self.doors.registry.audit(&lease.tenant, "connection.held", Some(row.id), &cause).await?;
        Ok(OutcomeKind::Applied)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::StreamMode;

    fn draft(streams: &[&str], enabled: bool) -> ConnectionDraft {
        let stream = |name: &&str| ConfiguredStream {
            name: StreamName::bare(*name),
            mode: StreamMode::IncrementalAppend,
            cursor: None,
            key: Vec::new(),
            schema: crate::model::Stream::default(),
        };
        ConnectionDraft {
            options: BTreeMap::new(),
            name: "crm".into(),
            source: EngineId("s".into()),
            destination: EngineId("d".into()),
            streams: streams.iter().map(stream).collect(),
            enabled,
            settings: BTreeMap::from([("schedule".to_owned(), json!("manual"))]),
        }
    }

    #[test]
    fn what_is_written_of_a_stream_says_what_it_does_to_its_data() {
        use StreamMode::{FullRefreshAppend, FullRefreshOverwrite, IncrementalAppend, IncrementalAppendDedup};

        let of = |modes: &[(&str, StreamMode)]| {
            let mut all = draft(&modes.iter().map(|(name, _)| *name).collect::<Vec<_>>(), true);
            for (stream, (_, mode)) in all.streams.iter_mut().zip(modes) {
                stream.mode = *mode;
            }
            properties(&all)
        };
        let live = of(&[
            ("a", IncrementalAppend),
            ("b", IncrementalAppend),
            ("c", IncrementalAppend),
            ("gone", FullRefreshAppend),
        ]);
        let wanted = of(&[
            ("a", IncrementalAppendDedup),
            ("b", FullRefreshAppend),
            ("c", FullRefreshOverwrite),
            ("new", FullRefreshAppend),
        ]);
        let told = differences_but(&live, &wanted, &BTreeSet::new());
        let effects: Vec<String> =
            told.iter().map(|line| format!("{} {}", &line[..10], &line[line.find(" (").unwrap()..])).collect();
        insta::assert_snapshot!(effects.join("\n"), @"
        stream a:   (what landed stays, nothing is read again)
        stream b:   (its next sync reads it from the beginning; what landed stays)
        stream c:   (its next sync reads it from the beginning and replaces what landed)
        stream gon  (what landed of it stays)
        stream new  (its next sync reads it from the beginning)
        ");
        let none = differences_but(&live, &wanted, &wanted.keys().chain(live.keys()).cloned().collect());
        assert_eq!(none, [""; 0]);
    }

    #[test]
    fn an_edited_property_goes_back_as_it_is_live() {
        let live = ConnectionDraft {
            settings: BTreeMap::from([("schedule".to_owned(), json!("hourly"))]),
            ..draft(&["b", "c"], false)
        };
        let edited = ["schedule", "stream b", "stream c", "status"].map(str::to_owned).into();
        let kept = keep(&draft(&["a", "b"], true), &live, &edited);
        let mut expected = properties(&live);
        expected.extend(properties(&draft(&["a"], false)).remove_entry("stream a"));
        assert_eq!(properties(&kept), expected);
    }
}
