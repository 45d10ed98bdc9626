//! The source and the destination of a connection in an engine that other people use too: what git says of them is sent
//! where the engine has it otherwise, but for what a person changed there.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::live::differences;
use super::{Reconciler, StepError};
use crate::model::ConnectionId;
use crate::plan::{Agreed, MASKED, Part, Properties, of_git};
use crate::ports::{
    ConnectionRow, EndpointHandle, EngineEndpoint, EngineId, Intent, Lease, ObjectKind, OwnerKey, recorded, sent,
};
use crate::spec::{Connection, Endpoint};

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
    format!("{} config.{}", kind.word(), path.join("."))
}

/// Every setting that is no map, with its path. A list is one setting, and masked if it holds something masked.
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
            value => all.push((vec![key.clone()], value.clone())),
        }
    }
    all
}

/// The settings to send: git's, but for edited ones, which stay as they are; and what git never said anything about.
fn settings_to_send(kind: ObjectKind, git: &Value, live: &Value, agreed: &Agreed, edited: &BTreeSet<String>) -> Value {
    let (empty, mut all) = (Map::new(), git.as_object().cloned().unwrap_or_default());
    let live = live.as_object().unwrap_or(&empty);
    for (key, value) in live {
        let name = property(kind, std::slice::from_ref(key));
        let was_git = |known: &String| known.strip_prefix(&name).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        if !all.contains_key(key) && !agreed.applied.keys().any(was_git) {
            all.insert(key.clone(), value.clone());
        }
    }
    let mut all = Value::Object(all);
    for (path, _) in leaves(all.as_object().unwrap_or(&empty)).into_iter().chain(leaves(live)) {
        if edited.contains(&property(kind, &path)) {
            put(&mut all, &path, at(live, &path));
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
                    sent(&update(kind), engine.update_endpoint(kind, id, handle)).await?;
                    recorded(&update(kind));
                }
            }
            return Ok(());
        }
        for (kind, handle) in ENDS.into_iter().zip([source, destination]) {
            let Some(id) = &handle.id else { continue };
            let work = async {
                let rotated = self.is_rotated(row, kind, id, handle).await?;
                self.update_end(connection, row, (kind, id), handle, rotated, lease).await
            };
            self.alone_with(kind, end_of(connection, kind), work).await?;
        }
        Ok(())
    }

    /// Whether the engine does not have these settings with these secrets yet: neither this connection nor another one with
    /// the same source or destination brought them there.
    async fn is_rotated(
        &self,
        row: &ConnectionRow,
        kind: ObjectKind,
        id: &EngineId,
        handle: &EndpointHandle,
    ) -> Result<bool, StepError> {
        let has = |row: &ConnectionRow| {
            let known = row.secrets.as_deref().and_then(|known| known.split_once(':'));
            let known =
                known.map(|(source, destination)| if kind == ObjectKind::Source { source } else { destination });
            known == Some(handle.config.fingerprint())
        };
        if has(row) {
            return Ok(false);
        }
        let rows = self.doors.registry.connections().await?;
        Ok(!rows.iter().any(|row| row.objects.get(&kind) == Some(id) && has(row)))
    }

    /// Brings one end to what its spec says where the engine has it otherwise, or where its secrets are new. `row` holds what
    /// was agreed before.
    pub(super) async fn update_end(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        (kind, id): (ObjectKind, &EngineId),
        handle: &EndpointHandle,
        rotated: bool,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let what = format!("{} {}", kind.word(), handle.name);
        let wanted = wanted_end(kind, end_of(connection, kind));
        let live = self.end(kind, id, &what).await?;
        let is = live_end(kind, &live);
        let agreed = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
        let edited = agreed.edited(&wanted, &is);
        let mut target = wanted.clone();
        for name in &edited {
            target.remove(name);
            target.extend(is.get(name).map(|value| (name.clone(), value.clone())));
        }
        let dropped = |name: &&String| agreed.applied.contains_key(*name) && !wanted.contains_key(*name);
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
            let detail = json!({"target": target, "wanted": wanted, "edited": edited});
            let intent = self.begin(lease, &update(kind), &id.0, detail).await?;
            sent(&update(kind), self.doors.engine.update_endpoint(kind, id, &handle)).await?;
            let differs = differences(&live_end(kind, &self.end(kind, id, &what).await?), &target);
            if !differs.is_empty() {
                return Err(StepError::ReadBack { what, differs: differs.join("; ") });
            }
            self.doors.registry.settle(lease, intent).await?;
            recorded(&update(kind));
        }
        let agreed = self.agree_on_end(row, kind, &wanted, &edited, lease).await?;
        let now = if as_wanted { is } else { target };
        self.note_live(row.id, agreed, |name| is_of(kind, name), now);
        Ok(())
    }

    /// What is agreed of one end; the other one stays as it was agreed.
    async fn agree_on_end(
        &self,
        row: &ConnectionRow,
        kind: ObjectKind,
        wanted: &Properties,
        edited: &BTreeSet<String>,
        lease: &Lease,
    ) -> Result<Agreed, StepError> {
        let before = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
        let other = |name: &str| Part::of(name) == Part::Ends && !is_of(kind, name);
        let mut all = wanted.clone();
        all.extend(before.applied.iter().filter(|(name, _)| other(name)).map(|(n, v)| (n.clone(), v.clone())));
        let mut after = Agreed::after(Some(&before), Part::Ends, &all, edited);
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
        let told = |key: &str| intent.detail.get(key).cloned().unwrap_or_default();
        let (Ok(target), Ok(wanted), Ok(edited)) = (
            serde_json::from_value::<Properties>(told("target")),
            serde_json::from_value::<Properties>(told("wanted")),
            serde_json::from_value::<BTreeSet<String>>(told("edited")),
        ) else {
            return Ok(());
        };
        let Some(live) = self.doors.engine.endpoint(kind, &EngineId(intent.key.clone())).await? else { return Ok(()) };
        if differences(&live_end(kind, &live), &target).is_empty() {
            self.agree_on_end(row, kind, &wanted, &edited, lease).await?;
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
            let live = self.end(kind, id, &format!("{} {}", kind.word(), end_of(connection, kind).name)).await?;
            all.extend(live_end(kind, &live));
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
        let Some(lease) = self.take_lease(&end.name, of_owner).await? else {
            return Err(StepError::Busy(format!("{} {}", kind.word(), end.name)));
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
        assert_eq!(all, json!({"host": "b", "ssl": {"mode": "prefer"}, "password": "p", "new": {"x": 1}}));
    }

    #[test]
    fn a_list_with_a_secret_says_nothing() {
        let config = json!({"keys": ["a", {"token": MASKED}], "hosts": ["h"], "none": {}});
        let told = leaves(config.as_object().unwrap());
        let told: Vec<String> = told.iter().map(|(path, value)| format!("{} = {value}", path.join("."))).collect();
        assert_eq!(told, ["keys = \"**********\"", "hosts = [\"h\"]", "none = {}"]);
    }
}
