//! Follows references: connections with their endpoints, mapping and lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::diag::{Diagnostic, quoted};
use crate::model::{ConnectionRef, TenantId};

use super::super::check::{Checked, CheckedConnection, CheckedEndpoint, EndpointChoice};
use super::super::connectors::End;
use super::super::names::{Role, lock_path};
use super::super::read::{Text, nearest};
use super::super::source::{Problems, Source};
use super::super::{Connection, Desired, DriftPolicy, Endpoint, Lock, MappingSpec};
use super::{Draft, Entry, Input, choices, last_good, names_of};

/// Everything that can be referred to, by name.
struct Index<'e> {
    endpoints: BTreeMap<ConnectionRef, (End, CheckedEndpoint, Arc<str>)>,
    mappings: BTreeMap<ConnectionRef, Arc<MappingSpec>>,
    locks: BTreeMap<ConnectionRef, Option<&'e Lock>>,
    /// What a name is that cannot be used: `is a connection`, `is broken itself`.
    unfit: BTreeMap<ConnectionRef, &'static str>,
}

/// Fills `desired` from the entries, but for the locks: they are large, and handed over at the end. A connection whose
/// references fail goes back to its last good content, if that helps.
pub(super) fn assemble(
    entries: &mut [Entry],
    drafts: &[Draft],
    input: &Input<'_>,
    desired: &mut Desired,
    diagnostics: &mut Vec<Diagnostic>,
) {
    desired.broken = names_of(entries);
    let index = index(entries, desired);
    warn_of_lonely_locks(entries, diagnostics);
    for draft in drafts {
        let mut problems = Problems::of(&draft.source);
        follow(&draft.name, &draft.connection, &index, &mut Sha256::new(), &mut problems);
        diagnostics.extend(problems.into_list());
    }
    let mut replaced = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let (Role::Spec(name), Some(Checked::Connection(checked))) = (&entry.role, &entry.checked) else { continue };
        if let Some(connection) = build(name, entry, checked, &index, input, diagnostics) {
            desired.connections.insert(name.clone(), connection);
            continue;
        }
        let older = last_good(&entry.path, &entry.role, input).filter(|older| older.source.text != entry.source.text);
        let built = older.and_then(|older| {
            let Some(Checked::Connection(checked)) = &older.checked else { return None };
            Some((build(name, &older, checked, &index, input, &mut Vec::new())?, older))
        });
        replaced.push(match built {
            Some((connection, older)) => {
                desired.connections.insert(name.clone(), connection);
                (i, Some(older))
            }
            None => {
                desired.broken.insert(name.clone());
                (i, None)
            }
        });
    }
    for (i, older) in replaced {
        match older {
            Some(older) => entries[i] = older,
            None => entries[i].checked = None,
        }
    }
}

fn index<'e>(entries: &'e [Entry], desired: &mut Desired) -> Index<'e> {
    let mut index =
        Index { endpoints: BTreeMap::new(), mappings: BTreeMap::new(), locks: BTreeMap::new(), unfit: BTreeMap::new() };
    for entry in entries {
        match (&entry.role, &entry.checked) {
            (Role::Spec(name), Some(Checked::Endpoint(end, endpoint))) => {
                index.endpoints.insert(name.clone(), (*end, endpoint.clone(), entry.source.text.clone()));
            }
            (Role::Spec(name), Some(_)) => {
                index.unfit.insert(name.clone(), "is a connection");
            }
            (Role::Spec(name) | Role::Mapping(name), None) => {
                index.unfit.insert(name.clone(), "is broken itself");
            }
            (Role::Mapping(name), Some(Checked::Mapping(mapping))) => {
                index.mappings.insert(name.clone(), mapping.clone());
                desired.mappings.insert((name.tenant.clone(), name.name.clone()), mapping.clone());
            }
            (Role::Entity(name), Some(Checked::Entity(entity))) => {
                desired.entities.insert(name.clone(), entity.clone());
            }
            (Role::Lock(name), Some(Checked::Lock(lock))) => {
                index.locks.insert(name.clone(), Some(lock.as_ref()));
            }
            (Role::Lock(name), None) => {
                index.locks.insert(name.clone(), None);
            }
            (Role::Rejected(name), Some(Checked::Rejected(lines))) => {
                desired.rejected.insert(name.clone(), lines.clone());
            }
            _ => {}
        }
    }
    index
}

/// A lock whose spec is gone, or never was a connection.
fn warn_of_lonely_locks(entries: &[Entry], diagnostics: &mut Vec<Diagnostic>) {
    let specs: BTreeMap<&ConnectionRef, &Option<Checked>> = entries
        .iter()
        .filter_map(|e| if let Role::Spec(name) = &e.role { Some((name, &e.checked)) } else { None })
        .collect();
    for entry in entries {
        let Role::Lock(name) = &entry.role else { continue };
        if matches!(specs.get(name), Some(None | Some(Checked::Connection(_)))) {
            continue;
        }
        let d = Diagnostic::warning(
            "AAM-L004",
            format!("no connection is called {}, but it has a lock", quoted(&name.to_string())),
        );
        diagnostics.push(d.help("move the lock with its spec, or remove it").at(entry.source.whole()));
    }
}

/// What a connection refers to; `None` after a problem.
struct References {
    source: Option<Endpoint>,
    destination: Option<Endpoint>,
    mapping: Option<Option<Arc<MappingSpec>>>,
}

/// Looks all references up, and hashes the files they lead to.
fn follow(
    name: &ConnectionRef,
    checked: &CheckedConnection,
    index: &Index<'_>,
    hash: &mut Sha256,
    to: &mut Problems<'_>,
) -> References {
    References {
        source: endpoint(End::Source, name, &checked.source, index, hash, to),
        destination: endpoint(End::Destination, name, &checked.destination, index, hash, to),
        mapping: match &checked.mapping {
            None => Some(None),
            Some(text) => mapping(name, text, index, to).map(Some),
        },
    }
}

/// One connection without its lock; `None` after at least one problem.
fn build(
    name: &ConnectionRef,
    entry: &Entry,
    checked: &CheckedConnection,
    index: &Index<'_>,
    input: &Input<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Connection> {
    let source_text: &Source = &entry.source;
    let mut problems = Problems::of(source_text);
    let mut hash = Sha256::new();
    hash_text(&mut hash, &source_text.text);
    let References { source, destination, mapping } = follow(name, checked, index, &mut hash, &mut problems);
    let lock = index.locks.get(name);
    let connection = (|| {
        // A lock that is there but broken is no "not onboarded yet": its own problem is told at its own place.
        if matches!(lock, Some(None)) {
            return None;
        }
        Some(Connection {
            name: name.clone(),
            path: entry.path.clone(),
            lock_path: lock_path(&entry.path),
            digest: hex::encode(hash.finalize()),
            mode: checked.mode.min(input.mode_cap),
            source: source?,
            destination: destination?,
            schedule: checked.schedule.clone(),
            streams: checked.streams.clone(),
            mapping: mapping?,
            drift: DriftPolicy {
                check: checked.drift.check.clone().unwrap_or_else(|| input.look.clone()),
                repair: checked.drift.repair,
                threshold: checked.drift.threshold,
                when_breaking: checked.drift.when_breaking,
            },
            on_delete: checked.on_delete,
            on_live_edit: checked.on_live_edit,
            pin: checked.pin.clone(),
            lock: None,
            airbyte: checked.airbyte.clone(),
        })
    })();
    if let (Some(connection), Some(Some(lock))) = (&connection, lock) {
        choices::check_choices(connection, lock, &mut problems);
    }
    let usable = problems.is_usable();
    diagnostics.extend(problems.into_list());
    connection.filter(|_| usable)
}

/// Length first, so that moving text from one file to the next changes the digest.
fn hash_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

/// The name in the own tenant, then in `default`.
fn candidates(of: &ConnectionRef, name: &str) -> Vec<ConnectionRef> {
    let own = ConnectionRef { tenant: of.tenant.clone(), name: name.to_owned() };
    let shared = ConnectionRef { tenant: TenantId::default(), name: name.to_owned() };
    if own == shared { vec![own] } else { vec![own, shared] }
}

fn endpoint(
    end: End,
    of: &ConnectionRef,
    choice: &EndpointChoice,
    index: &Index<'_>,
    hash: &mut Sha256,
    to: &mut Problems<'_>,
) -> Option<Endpoint> {
    let text = match choice {
        EndpointChoice::Inline(inline) => {
            return Some(Endpoint {
                name: of.clone(),
                connector: inline.connector.clone(),
                config: inline.config.clone(),
                airbyte: inline.airbyte.clone(),
            });
        }
        EndpointChoice::Named(text) => text,
    };
    let candidates = candidates(of, &text.value);
    for name in &candidates {
        match index.endpoints.get(name) {
            Some((found, endpoint, text)) if *found == end => {
                hash_text(hash, text);
                let CheckedEndpoint { connector, config, airbyte } = endpoint.clone();
                return Some(Endpoint { name: name.clone(), connector, config, airbyte });
            }
            _ => {}
        }
    }
    let reason = candidates.iter().find_map(|name| match index.endpoints.get(name) {
        Some((found, ..)) => Some(format!("is a {}", found.word())),
        None => index.unfit.get(name).map(|why| (*why).to_owned()),
    });
    let known = index
        .endpoints
        .iter()
        .filter(|(name, (e, ..))| *e == end && in_reach(of, name))
        .map(|(name, _)| name.name.as_str());
    unknown(end.word(), text, reason, known, to);
    None
}

fn mapping(of: &ConnectionRef, text: &Text, index: &Index<'_>, to: &mut Problems<'_>) -> Option<Arc<MappingSpec>> {
    let candidates = candidates(of, &text.value);
    if let Some(found) = candidates.iter().find_map(|name| index.mappings.get(name)) {
        return Some(found.clone());
    }
    let broken = |name: &ConnectionRef| index.unfit.get(name).filter(|why| **why == "is broken itself");
    let reason = candidates.iter().find_map(broken).map(|why| (*why).to_owned());
    let known = index.mappings.keys().filter(|name| in_reach(of, name)).map(|name| name.name.as_str());
    unknown("mapping", text, reason, known, to);
    None
}

fn in_reach(of: &ConnectionRef, name: &ConnectionRef) -> bool {
    name.tenant == of.tenant || name.tenant == TenantId::default()
}

fn unknown<'w>(
    what: &str,
    text: &Text,
    reason: Option<String>,
    known: impl Iterator<Item = &'w str>,
    to: &mut Problems<'_>,
) {
    let name = quoted(&text.value);
    if let Some(reason) = reason {
        let d = Diagnostic::error("AAM-S015", format!("{name} is named as the {what}, but it {reason}"));
        to.add(&text.place(), d.label(format!("must be a {what} that can be used")));
        return;
    }
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let d = Diagnostic::error("AAM-S015", format!("no {what} is called {name}")).label("unknown name");
    let d = match nearest(&text.value, known.iter().copied()) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => d.note(format!("there is no {what} in reach of this tenant")),
        None => d.note(format!("in reach: {}", known.iter().take(12).copied().collect::<Vec<_>>().join(", "))),
    };
    to.add(&text.place(), d);
}
