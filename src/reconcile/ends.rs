//! The source and the destination of a connection in an engine that other people use too: what git says of them is sent
//! where the engine has it otherwise, but for what a person changed there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::live::{Update, differences};
use super::{Reconciler, StepError};
use crate::model::ConnectionId;
use crate::plan::{Agreed, MASKED, Part, Properties, of_git, same};
use crate::ports::{
    ConnectionRow, EndpointHandle, EngineEndpoint, EngineId, Intent, Lease, ObjectKind, OwnerKey, recorded,
};
use crate::spec::{Connection, Endpoint, needs_reference};

/// Source and destination, in the order in which they are made.
pub(super) const ENDS: [ObjectKind; 2] = [ObjectKind::Source, ObjectKind::Destination];

pub(super) fn end_of(connection: &Connection, kind: ObjectKind) -> &Endpoint {
    if kind == ObjectKind::Source { &connection.source } else { &connection.destination }
}

/// The effect of an intent to change a source or a destination.
fn update(kind: ObjectKind) -> String {
    format!("update_{}", kind.word())
}

/// Which end an effect changes, if it changes one.
pub(super) fn end_updated_by(effect: &str) -> Option<ObjectKind> {
    ENDS.into_iter().find(|kind| update(*kind) == effect)
}

/// What git owns of the ends of a connection.
pub(super) fn wanted_ends(connection: &Connection) -> Properties {
    ENDS.into_iter().flat_map(|kind| wanted_end(kind, end_of(connection, kind))).collect()
}

fn wanted_end(kind: ObjectKind, end: &Endpoint) -> Properties {
    let name = end.airbyte.name.clone().unwrap_or_else(|| end.name.to_string());
    properties(kind, &name, &end.shown(MASKED))
}

/// What the engine shows of an end.
pub(super) fn live_end(kind: ObjectKind, live: &EngineEndpoint) -> Properties {
    properties(kind, &live.name, live.config.as_object().unwrap_or(&Map::new()))
}

fn properties(kind: ObjectKind, name: &str, config: &Map<String, Value>) -> Properties {
    let settings = leaves(config).into_iter().map(|(path, value)| (property(kind, &path), value));
    settings.chain([(format!("{} name", kind.word()), json!(name))]).collect()
}

/// Whether a property is one of this end.
pub(super) fn is_of(kind: ObjectKind, name: &str) -> bool {
    name.strip_prefix(kind.word()).is_some_and(|rest| rest.starts_with(' '))
}

fn property(kind: ObjectKind, path: &[String]) -> String {
    let part = |key: &String| if key.contains('.') { format!("{key:?}") } else { key.clone() };
    format!("{} config.{}", kind.word(), path.iter().map(part).collect::<Vec<_>>().join("."))
}

/// Every setting that is no map, with its path. Null is none. A list is one setting, and masked if it holds something masked;
/// so is a value that must not be told, whoever wrote it there.
fn leaves(config: &Map<String, Value>) -> Vec<(Vec<String>, Value)> {
    let mut all = Vec::new();
    for (key, value) in config {
        match value {
            Value::Object(below) if !below.is_empty() => {
                let below = leaves(below).into_iter();
                all.extend(below.map(|(path, value)| ([vec![key.clone()], path].concat(), value)));
            }
            Value::Array(items) if items.iter().any(|item| item.to_string().contains(MASKED)) => {
                all.push((vec![key.clone()], json!(MASKED)));
            }
            Value::String(text) if needs_reference(key, text) => all.push((vec![key.clone()], json!(MASKED))),
            Value::Null => {}
            value => all.push((vec![key.clone()], value.clone())),
        }
    }
    all
}

/// The settings to send: git's, but for edited ones, which stay as they are; and what git never said anything about.
fn settings_to_send(kind: ObjectKind, git: &Value, live: &Value, agreed: &Agreed, edited: &BTreeSet<String>) -> Value {
    let (empty, live) = (Map::new(), live.as_object());
    let (git, live) = (git.as_object().unwrap_or(&empty), live.unwrap_or(&empty));
    let mut all = Value::Object(merged(kind, &[], git, live, agreed));
    let mut paths: Vec<Vec<String>> = leaves(live).into_iter().map(|(path, _)| path).collect();
    paths.extend(leaves(git).into_iter().map(|(path, _)| path));
    for path in paths {
        if edited.contains(&property(kind, &path)) {
            put(&mut all, &path, at(live, &path));
        }
    }
    all
}

/// Git's map with what it never named in the live one. Within a setting that git changes, it decides all: it may be another
/// branch of a choice, which takes other keys.
fn merged(
    kind: ObjectKind,
    path: &[String],
    git: &Map<String, Value>,
    live: &Map<String, Value>,
    agreed: &Agreed,
) -> Map<String, Value> {
    let within = |key: &String| [path, std::slice::from_ref(key)].concat();
    let mut all = git.clone();
    for (key, value) in live {
        let name = property(kind, &within(key));
        let is_within = |known: &str| known.strip_prefix(&name).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        match (git.get(key), value) {
            (None, value) if !agreed.applied.keys().any(|known| is_within(known)) => {
                all.insert(key.clone(), value.clone());
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) => {
                let mut wanted = leaves(ours)
                    .into_iter()
                    .map(|(rest, value)| (property(kind, &[within(key), rest].concat()), value));
                let is_changed = wanted.any(|(name, value)| {
                    agreed.applied.get(&name).is_some_and(|applied| !same(Some(applied), Some(&value)))
                });
                if !is_changed {
                    all.insert(key.clone(), Value::Object(merged(kind, &within(key), ours, theirs, agreed)));
                }
            }
            _ => {}
        }
    }
    all
}

fn at<'v>(config: &'v Map<String, Value>, path: &[String]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    let value = config.get(first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_object()?, rest) }
}

fn put(config: &mut Value, path: &[String], value: Option<&Value>) {
    let Some((last, way)) = path.split_last() else { return };
    let mut object = config;
    for key in way {
        if !object[key].is_object() {
            object[key] = json!({});
        }
        object = &mut object[key];
    }
    match (object.as_object_mut(), value) {
        (Some(object), Some(value)) => drop(object.insert(last.clone(), value.clone())),
        (Some(object), None) => drop(object.remove(last)),
        (None, _) => {}
    }
}

impl Reconciler {
    /// Brings source and destination to what their specs say. An engine that does not drive itself is told of both at
    /// once; else what is new is tried, sent and read back.
    pub(super) async fn update_ends(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        (source, destination): (&EndpointHandle, &EndpointHandle),
        lease: &Lease,
    ) -> Result<(), StepError> {
        let engine = &self.doors.engine;
        if !engine.manner().drives_itself {
            engine.check(source).await?;
            engine.check_destination(destination).await?;
            for (kind, handle) in ENDS.into_iter().zip([source, destination]) {
                if let Some(id) = &handle.id {
                    self.sent_under(lease, &update(kind), engine.update_endpoint(kind, id, handle)).await??;
                    recorded(&update(kind));
                }
            }
            return Ok(());
        }
        for (kind, handle) in ENDS.into_iter().zip([source, destination]) {
            let Some(id) = &handle.id else { continue };
            let work = self.update_end(connection, row, (kind, id), handle, lease);
            self.alone_with(kind, end_of(connection, kind), work).await?;
        }
        Ok(())
    }

    /// Brings one end to what its spec says where the engine has it otherwise, or where its secrets are new. `row` holds what
    /// was agreed before.
    pub(super) async fn update_end(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        (kind, id): (ObjectKind, &EngineId),
        handle: &EndpointHandle,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let registry = &self.doors.registry;
        let fingerprint = handle.config.fingerprint();
        let rotated = registry.sent_settings(&lease.tenant, kind, id).await?.as_deref() != Some(fingerprint);
        let what = format!("{} {}", kind.word(), handle.name);
        let wanted = wanted_end(kind, end_of(connection, kind));
        let live = self.end(kind, id, &what).await?;
        let is = live_end(kind, &live);
        let agreed = self.agreed_on_end(row, kind, id).await?;
        let edited = agreed.edited(&wanted, &is);
        let mut target = wanted.clone();
        for name in &edited {
            target.remove(name);
            target.extend(is.get(name).map(|value| (name.clone(), value.clone())));
        }
        let dropped = |name: &&String| agreed.applied.contains_key(*name) && !wanted.contains_key(*name);
        let mut sent = None;
        let as_wanted = differences(&is, &target).is_empty() && !is.keys().any(|name| dropped(&name));
        if rotated || !as_wanted {
            let mut handle = handle.clone();
            if edited.contains(&format!("{} name", kind.word())) {
                handle.airbyte.name = Some(live.name.clone());
            }
            let config = settings_to_send(kind, handle.config.expose(), &live.config, &agreed, &edited);
            let complete = !config.to_string().contains(MASKED);
            handle.config = handle.config.with(config);
            match kind {
                ObjectKind::Source if complete => self.doors.engine.check(&handle).await?,
                ObjectKind::Destination if complete => self.doors.engine.check_destination(&handle).await?,
                // what only the engine knows in full is checked there, after the update
                _ => {}
            }
            let sending = Update { target: target.clone(), wanted: wanted.clone(), edited: edited.clone() };
            sent = Some(self.begin(lease, &update(kind), &id.0, sending.detail()).await?);
            self.sent_under(lease, &update(kind), self.doors.engine.update_endpoint(kind, id, &handle)).await??;
            let differs = differences(&live_end(kind, &self.end(kind, id, &what).await?), &target);
            if !differs.is_empty() {
                return Err(StepError::ReadBack { what, differs: differs.join("; ") });
            }
            registry.set_sent_settings(lease, kind, id, fingerprint).await?;
        }
        let agreed = self.agree_on_end(row, kind, &agreed, (&wanted, &edited), lease).await?;
        // only now: else our own update would look like a person's
        if let Some(intent) = sent {
            registry.settle(lease, intent).await?;
            recorded(&update(kind));
        }
        let now = if as_wanted { is } else { target };
        self.note_live(row.id, agreed, |name| is_of(kind, name), now);
        Ok(())
    }

    /// What was agreed about an end with this connection, or else with another one that has the same.
    async fn agreed_on_end(&self, row: &ConnectionRow, kind: ObjectKind, id: &EngineId) -> Result<Agreed, StepError> {
        let registry = &self.doors.registry;
        let knows = |agreed: &Agreed| agreed.applied.keys().any(|name| is_of(kind, name));
        let own = registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
        if knows(&own) {
            return Ok(own);
        }
        let rows = registry.connections().await?;
        for sibling in rows.iter().filter(|other| other.objects.get(&kind) == Some(id)) {
            if let Some(agreed) = registry.agreed(Some(sibling.id)).await?.remove(&sibling.id).filter(knows) {
                return Ok(agreed);
            }
        }
        Ok(own)
    }

    /// What is agreed of one end; the other one stays as it was agreed.
    async fn agree_on_end(
        &self,
        row: &ConnectionRow,
        kind: ObjectKind,
        agreed: &Agreed,
        (wanted, edited): (&Properties, &BTreeSet<String>),
        lease: &Lease,
    ) -> Result<Agreed, StepError> {
        let before = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
        let other = |name: &str| Part::of(name) == Part::Ends && !is_of(kind, name);
        let mut all = wanted.clone();
        all.extend(before.applied.iter().filter(|(name, _)| other(name)).map(|(n, v)| (n.clone(), v.clone())));
        let mut known = before.clone();
        for (name, value) in agreed.applied.iter().filter(|(name, _)| is_of(kind, name)) {
            known.applied.insert(name.clone(), value.clone());
        }
        let mut after = Agreed::after(Some(&known), Part::Ends, &all, edited);
        after.waiting.extend(before.waiting.into_iter().filter(|(name, _)| other(name)));
        self.doors.registry.set_agreed(lease, &after, &row.held).await?;
        Ok(after)
    }

    /// An update of an end of which no answer came: if the engine is as it was to be, that is what was agreed.
    pub(super) async fn look_up_end(
        &self,
        kind: ObjectKind,
        intent: &Intent,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let Some(Update { target, wanted, edited }) = Update::read(intent) else { return Ok(()) };
        let Some(live) = self.doors.engine.endpoint(kind, &EngineId(intent.key.clone())).await? else { return Ok(()) };
        if differences(&live_end(kind, &live), &target).is_empty() {
            let agreed = self.agreed_on_end(row, kind, &EngineId(intent.key.clone())).await?;
            self.agree_on_end(row, kind, &agreed, (&wanted, &edited), lease).await?;
        }
        self.forget_live(row.id);
        Ok(())
    }

    async fn end(&self, kind: ObjectKind, id: &EngineId, what: &str) -> Result<EngineEndpoint, StepError> {
        let live = self.doors.engine.endpoint(kind, id).await?;
        live.ok_or_else(|| StepError::Gone { what: what.to_owned(), id: id.0.clone() })
    }

    /// What the engine shows of the ends of a connection that is found there, and of it what git owns.
    pub(super) async fn found_ends(
        &self,
        connection: &Connection,
        ids: [&EngineId; 2],
    ) -> Result<Properties, StepError> {
        let mut all = Properties::new();
        for (kind, id) in ENDS.into_iter().zip(ids) {
            let live = match self.surveyed().endpoint(kind, id) {
                Some(seen) => live_end(kind, seen),
                None => {
                    let what = format!("{} {}", kind.word(), end_of(connection, kind).name);
                    live_end(kind, &self.end(kind, id, &what).await?)
                }
            };
            all.extend(live);
        }
        let wanted = wanted_ends(connection);
        let mut all = of_git(&all, &wanted);
        // what the spec keeps secret is told to nobody
        for (name, value) in wanted.iter().filter(|(_, value)| *value == MASKED) {
            all.entry(name.clone()).and_modify(|live| live.clone_from(value));
        }
        Ok(all)
    }

    /// Does something to a source or destination that several connections may need at the same moment, each under a
    /// lease of its own.
    pub(super) async fn alone_with<T>(
        &self,
        kind: ObjectKind,
        end: &Endpoint,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let owner = owner_of(kind, end);
        let of_owner = ConnectionId(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, owner.0.as_bytes()));
        // each task is a holder of its own: those of one process exclude each other, too
        let holder = format!("{}#{}", self.holder, uuid::Uuid::now_v7());
        let ttl = self.policy().lease_ttl;
        // that of a process that was killed holds until its time is over
        let until = Instant::now() + ttl + Duration::from_secs(1);
        let lease = loop {
            match self.doors.registry.lease(&end.name.tenant, of_owner, &holder, ttl).await? {
                Some(lease) => break lease,
                None if Instant::now() < until => tokio::time::sleep(Duration::from_millis(200)).await,
                None => return Err(StepError::Busy(format!("{} {}", kind.word(), end.name))),
            }
        };
        let done = Box::pin(self.with_renewal(std::slice::from_ref(&lease), work)).await;
        self.doors.registry.release(&lease).await?;
        done
    }
}

/// The owner key of a source or destination.
pub(super) fn owner_of(kind: ObjectKind, end: &Endpoint) -> OwnerKey {
    OwnerKey(format!("{}:{}:{}", kind.word(), end.name.tenant, end.name.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_never_named_and_what_a_person_changed_stay() {
        let git = json!({"host": "b", "ssl": {"mode": "require"}, "password": "p"});
        let live = json!({"host": "a", "ssl": {"mode": "prefer", "extra": 1}, "port": 5433, "password": MASKED, "new": {"x": 1}});
        let agreed = Agreed {
            applied: properties(ObjectKind::Source, "crm", json!({"port": 5432, "host": "a"}).as_object().unwrap()),
            ..Agreed::default()
        };
        let edited = BTreeSet::from(["source config.ssl.mode".to_owned()]);
        let all = settings_to_send(ObjectKind::Source, &git, &live, &agreed, &edited);
        // the port was git's, and git dropped it
        let kept = json!({"host": "b", "ssl": {"mode": "prefer", "extra": 1}, "password": "p", "new": {"x": 1}});
        assert_eq!(all, kept);

        let applied = properties(ObjectKind::Source, "crm", json!({"ssl": {"mode": "allow"}}).as_object().unwrap());
        let agreed = Agreed { applied, ..Agreed::default() };
        let all = settings_to_send(ObjectKind::Source, &git, &live, &agreed, &BTreeSet::new());
        assert_eq!(all["ssl"], json!({"mode": "require"}), "another branch of a choice takes other keys");
    }

    #[test]
    fn a_list_with_a_secret_says_nothing() {
        let config = json!({"keys": ["a", {"token": MASKED}], "hosts": ["h"], "none": {}});
        let told = leaves(config.as_object().unwrap());
        let told: Vec<String> = told.iter().map(|(path, value)| format!("{} = {value}", path.join("."))).collect();
        assert_eq!(told, ["hosts = [\"h\"]", "keys = \"**********\"", "none = {}"]);
    }
}
