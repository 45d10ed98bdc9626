//! Onboarding: credentials → source → destination → discover → connection → version 1 → lock.
//!
//! Every part looks first for what an earlier, interrupted try left behind, so a second object is never made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::ask::{Found, Wanted, asked_as, names};
use super::drifted::rule_of;
use super::ends::{ENDS, end_of, owner_of};
use super::execute::owner_of_connection;
use super::live::properties;
use super::look::is_doubtful;
use super::reverted::is_by_rule;
use super::{Gathered, OutcomeKind, Reconciler, StepError, by_aam};
use crate::drift::compare;
use crate::model::{Catalog, CommitDraft, FileEdit, StreamName};
use crate::plan::{Agreed, NO_STREAMS, Part, Properties};
use crate::ports::{
    CatalogVersion, ConnectionDraft, ConnectionRow, ConnectionStatus, EndpointHandle, EngineId, EngineRead, Lease,
    Look, ObjectKind, OwnerKey, ResolvedConfig, recorded, sent,
};
use crate::spec::{self, Connection, Endpoint, Lock};

impl Reconciler {
    pub(super) async fn onboard(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: Option<&ConnectionRow>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let registry = &self.doors.registry;
        if row.is_none() {
            let cause = by_aam(
                format!("connection {} declared in {}", connection.name, connection.path),
                json!({"spec": connection.path}),
            );
            registry.declare(lease, &connection.name, &cause).await?;
        }
        let row = self
            .fresh_row(lease.connection)
            .await?
            .ok_or_else(|| StepError::Spec(format!("connection {} vanished from the registry", connection.name)))?;
        let mut source = self.handle(&connection.source)?;
        let mut destination = self.handle(&connection.destination)?;
        self.doors.engine.check(&source).await?;
        self.doors.engine.check_destination(&destination).await?;
        for (kind, handle) in ENDS.into_iter().zip([&mut source, &mut destination]) {
            handle.id = Some(self.ensure_endpoint(gathered, kind, connection, &row, handle, lease).await?);
        }

        let catalog = match &connection.lock {
            Some(lock) => lock.catalog.clone(),
            None => self.first_catalog(connection, &row, &source, lease).await?,
        };
        self.ensure_connection(connection, &row, &source, &destination, &catalog, lease).await?;
        if self.doors.engine.manner().drives_itself {
            // What was adopted may differ; what was made is read back.
            let row = self.fresh_row(lease.connection).await?.expect("declared above");
            let draft = self.connection_draft(connection, &source, &destination, &catalog, &BTreeSet::new())?;
            self.update_and_read_back(&row, (&draft, &source.config), &BTreeSet::new(), lease).await?;
        }
        self.record_history(connection, &row, &catalog, lease).await?;
        let secrets = join_secrets(&source, &destination);
        let cause =
            by_aam(format!("connection {}: settings applied", connection.name), json!({"digest": connection.digest}));
        registry.set_applied(lease, &connection.digest, Some(&secrets), &cause).await?;
        let row = self.fresh_row(lease.connection).await?.expect("declared above");
        let cause = by_aam(
            format!("connection {} onboarded with {} streams", connection.name, catalog.streams.len()),
            json!({"version": row.version}),
        );
        registry.set_status(lease, ConnectionStatus::Active, None, None, false, &cause).await?;
        if connection.lock.is_none() {
            let lock = spec::lock::sealed(Lock {
                id: lease.connection,
                version: row.version,
                fingerprint: catalog.fingerprint(),
                catalog,
            });
            let draft = lock_draft(connection, None, &lock, "onboarded");
            if let OutcomeKind::Skipped(why) = self.commit_lock(connection, "onboarded", &draft, lease).await? {
                tracing::warn!(connection.name = %connection.name, "connection {}: its lock waits: {why}", connection.name);
            }
        }
        Ok(OutcomeKind::Applied)
    }

    /// The newest catalog version that the registry holds.
    pub(super) async fn recorded_catalog(&self, row: &ConnectionRow) -> Result<Option<Catalog>, StepError> {
        let Some(version) = self.doors.registry.versions(row.id).await?.pop() else { return Ok(None) };
        let read = Catalog::from_body(&version.body);
        Ok(Some(read.map_err(|e| StepError::Spec(format!("catalog version {}: {e}", version.version)))?))
    }

    /// What the lock will hold first: the version that an interrupted try recorded, else what the source shows now.
    async fn first_catalog(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        source: &EndpointHandle,
        lease: &Lease,
    ) -> Result<Catalog, StepError> {
        if let Some(catalog) = self.recorded_catalog(row).await? {
            return Ok(catalog);
        }
        let discovered = sent("discover", self.doors.engine.discover(source)).await?;
        let doubtful = is_doubtful(connection, row.look.as_ref(), &discovered.catalog);
        let seen = if doubtful { Err(NO_STREAMS.to_owned()) } else { Ok(discovered.catalog.fingerprint()) };
        let look = Look { at: self.doors.clock.now(), seen };
        let catalog = (!doubtful).then_some((&discovered.catalog, &discovered.raw));
        self.doors.registry.record_look(lease, &look, catalog).await?;
        recorded("discover");
        if doubtful {
            return Err(StepError::Spec(NO_STREAMS.to_owned()));
        }
        spec::select(&discovered.catalog, &connection.streams)
            .map_err(|problems| StepError::Spec(spec::describe_problems(&problems)))
    }

    /// Version 1, or for a lock that is older than this registry every version that git still holds. What an interrupted
    /// try recorded is gone on from.
    pub(super) async fn record_history(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        catalog: &Catalog,
        lease: &Lease,
    ) -> Result<(), StepError> {
        if row.fingerprint.as_ref().is_some_and(|known| known.is_of(catalog)) {
            return Ok(());
        }
        let mut past: Vec<CatalogVersion> = Vec::new();
        if connection.lock.is_some() {
            let mut log = self.doors.repo.log(&connection.lock_path, 1000).await?;
            log.reverse();
            let mut before = None;
            for entry in log {
                let Some(text) = self.doors.repo.file_at(&entry.commit, &connection.lock_path).await? else { continue };
                let Ok(lock) = spec::lock::read(connection.lock_path.as_str(), &text) else { continue };
                if past.last().is_some_and(|last| last.fingerprint == lock.fingerprint) {
                    continue;
                }
                let ruled = before.filter(|before| is_by_rule(&entry, connection, before, &lock));
                let rule = ruled.map(|before| rule_of(&compare(&before, &lock.catalog)));
                past.push(CatalogVersion {
                    version: past.len() as u32 + 1,
                    fingerprint: lock.fingerprint.clone(),
                    body: lock.catalog.body(),
                    at: entry.at,
                    commit: Some(entry.commit),
                    approved_by: match rule {
                        Some(rule) => format!("rule:{rule}"),
                        None => entry.approved_by.unwrap_or(entry.by),
                    },
                    drift: None,
                });
                before = Some(lock.catalog);
            }
        }
        if past.last().is_none_or(|last| !last.fingerprint.is_of(catalog)) {
            let by = self
                .doors
                .repo
                .log(&connection.path, 1)
                .await?
                .pop()
                .map_or_else(|| "aam".to_owned(), |entry| entry.by);
            past.push(CatalogVersion {
                version: past.len() as u32 + 1,
                fingerprint: catalog.fingerprint(),
                body: catalog.body(),
                at: self.doors.clock.now(),
                commit: None,
                approved_by: by,
                drift: None,
            });
        }
        let recorded = row.version as usize;
        if recorded > 0 && past.get(recorded - 1).map(|version| &version.fingerprint) != row.fingerprint.as_ref() {
            return Ok(()); // git tells another past by now: what is missing is healed
        }
        for version in past.iter().skip(recorded) {
            let cause = by_aam(
                format!(
                    "connection {}: catalog version {} ({}) recorded",
                    connection.name,
                    version.version,
                    version.fingerprint.short()
                ),
                json!({"version": version.version, "fingerprint": version.fingerprint}),
            );
            self.doors.registry.record_version(lease, version, &cause).await?;
        }
        Ok(())
    }

    /// Resolves an endpoint's secrets.
    pub(super) fn handle(&self, endpoint: &Endpoint) -> Result<EndpointHandle, StepError> {
        Ok(self.handle_with(endpoint, self.doors.secrets.resolve(&endpoint.config)?))
    }

    pub(super) fn handle_with(&self, endpoint: &Endpoint, config: ResolvedConfig) -> EndpointHandle {
        EndpointHandle {
            id: None,
            name: endpoint.name.to_string(),
            tenant: endpoint.name.tenant.clone(),
            connector: endpoint.connector.clone(),
            config,
            airbyte: endpoint.airbyte.clone(),
        }
    }

    /// Resolves both endpoints and fills in the engine's ids from the row.
    pub(super) fn handles(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
    ) -> Result<(EndpointHandle, EndpointHandle), StepError> {
        let mut source = self.handle(&connection.source)?;
        let mut destination = self.handle(&connection.destination)?;
        source.id = row.objects.get(&ObjectKind::Source).cloned();
        destination.id = row.objects.get(&ObjectKind::Destination).cloned();
        Ok((source, destination))
    }

    /// The engine's source or destination: as recorded, found by its owner mark, or created.
    async fn ensure_endpoint(
        &self,
        gathered: &Gathered,
        kind: ObjectKind,
        connection: &Connection,
        row: &ConnectionRow,
        handle: &EndpointHandle,
        lease: &Lease,
    ) -> Result<EngineId, StepError> {
        let shares = self.doors.engine.manner().drives_itself;
        let known = row.objects.get(&kind);
        if let Some(id) = known.filter(|_| !shares) {
            return Ok(id.clone());
        }
        let endpoint = end_of(connection, kind);
        let owner = owner_of(kind, endpoint);
        let make = async {
            let id = match known {
                Some(id) => id.clone(),
                None => {
                    let in_engine = handle.airbyte.name.as_deref().unwrap_or(&handle.name);
                    let asked = self.asked(kind, &owner, lease).await?;
                    let found = match self.shared(gathered, kind, endpoint).await? {
                        Some(id) => Found::of(id),
                        None => {
                            let mut found = Found::default();
                            found.add(in_engine, self.doors.engine.find_endpoint(kind, &owner, handle).await?, &asked);
                            for other in names(&asked).into_iter().filter(|other| other != in_engine) {
                                let mut before = handle.clone();
                                before.airbyte.name = Some(other.clone());
                                let of_other = self.doors.engine.find_endpoint(kind, &owner, &before).await?;
                                found.add(&other, of_other, &asked);
                            }
                            if shares {
                                self.refuse_owned(gathered, kind, endpoint, &found).await?;
                            }
                            found
                        }
                    };
                    let (owner, name, properties) = (&owner, &handle.name, Properties::new());
                    let wanted = Wanted { kind, owner, name, in_engine, properties };
                    let create = || self.doors.engine.create_endpoint(kind, owner, handle);
                    let look = || self.doors.engine.find_endpoint(kind, owner, handle);
                    let (id, made) = self.ensure_object(&wanted, (found, &asked), lease, create, look).await?;
                    if made && shares {
                        let fingerprint = handle.config.fingerprint();
                        self.doors.registry.set_sent_settings(lease, kind, &id, fingerprint).await?;
                    }
                    id
                }
            };
            if shares {
                // what was found may differ from what its spec says
                self.update_end(connection, row, (kind, &id), handle, lease).await?;
            }
            Ok(id)
        };
        match shares {
            true => self.alone_with(kind, endpoint, make).await,
            false => make.await, // creating the same one twice gives one
        }
    }

    /// What another connection has of the same source or destination.
    async fn shared(
        &self,
        gathered: &Gathered,
        kind: ObjectKind,
        endpoint: &Endpoint,
    ) -> Result<Option<EngineId>, StepError> {
        if !self.doors.engine.manner().drives_itself {
            return Ok(None);
        }
        let uses = |connection: &&Connection| end_of(connection, kind).name == endpoint.name;
        let names: BTreeSet<_> = gathered.desired().connections.values().filter(uses).map(|c| &c.name).collect();
        let rows = self.doors.registry.connections().await?;
        let mut ids = rows.iter().filter(|row| names.contains(&row.name)).filter_map(|row| row.objects.get(&kind));
        Ok(ids.next().cloned())
    }

    /// Refuses what a declared connection has as its source or destination of another name: that one alone says what it is.
    async fn refuse_owned(
        &self,
        gathered: &Gathered,
        kind: ObjectKind,
        endpoint: &Endpoint,
        found: &Found,
    ) -> Result<(), StepError> {
        for row in self.doors.registry.connections().await? {
            if row.status == ConnectionStatus::Retired {
                continue; // one of the same name may have taken its place
            }
            let Some(id) = row.objects.get(&kind).filter(|id| found.ids().any(|one| one == *id)) else { continue };
            let Some(connection) = gathered.desired().connections.get(&row.name) else { continue };
            let owner = end_of(connection, kind);
            if owner.name != endpoint.name {
                let what = format!("{} {}", kind.word(), endpoint.name);
                return Err(StepError::Owned { what, id: id.0.clone(), owner: owner.name.to_string() });
            }
        }
        Ok(())
    }

    async fn ensure_connection(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        source: &EndpointHandle,
        destination: &EndpointHandle,
        catalog: &Catalog,
        lease: &Lease,
    ) -> Result<EngineId, StepError> {
        let draft = self.connection_draft(connection, source, destination, catalog, &BTreeSet::new())?;
        if let Some(id) = row.objects.get(&ObjectKind::Connection) {
            return Ok(id.clone());
        }
        let owner = OwnerKey(owner_of_connection(connection, lease.connection));
        let adopted = connection.airbyte.id.map(|id| EngineId(id.to_string()));
        let (kind, name) = (ObjectKind::Connection, connection.name.to_string());
        let asked = self.asked(kind, &owner, lease).await?;
        let mut found = Found::default();
        found.add(&draft.name, self.doors.engine.find_connection(&owner, &draft, adopted.as_ref()).await?, &asked);
        for other in names(&asked).into_iter().filter(|other| *other != draft.name) {
            let before = ConnectionDraft { name: other.clone(), ..draft.clone() };
            found.add(&other, self.doors.engine.find_connection(&owner, &before, adopted.as_ref()).await?, &asked);
        }
        let properties = properties(&draft);
        let wanted = Wanted { kind, owner: &owner, name: &name, in_engine: &draft.name, properties };
        let create = || self.doors.engine.create_connection(&owner, &draft, &source.config);
        let look = || self.doors.engine.find_connection(&owner, &draft, None);
        let (id, made) = self.ensure_object(&wanted, (found, &asked), lease, create, look).await?;
        if (made || !asked.is_empty()) && self.doors.engine.manner().drives_itself {
            // from here on, whatever differs from what was asked for is somebody's, also if the spec moves on before this is
            // over, and that the engine stopped it is agreed with nobody
            let of_ask = if made { None } else { asked_as(&asked) };
            let is = of_ask.unwrap_or(wanted.properties);
            let before = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id);
            let agreed = Agreed::after(before.as_ref(), Part::Connection, &is, &BTreeSet::new());
            self.doors.registry.set_agreed(lease, &agreed, &BTreeSet::new()).await?;
        }
        Ok(id)
    }

    pub(super) fn connection_draft(
        &self,
        connection: &Connection,
        source: &EndpointHandle,
        destination: &EndpointHandle,
        catalog: &Catalog,
        held: &BTreeSet<StreamName>,
    ) -> Result<ConnectionDraft, StepError> {
        let id = |handle: &EndpointHandle| {
            handle.id.clone().ok_or_else(|| StepError::Spec(format!("{} is not in the engine yet", handle.name)))
        };
        self.draft(connection, &id(source)?, &id(destination)?, catalog, held)
    }

    /// The engine's connection as git wants it.
    pub(super) fn draft(
        &self,
        connection: &Connection,
        source: &EngineId,
        destination: &EngineId,
        catalog: &Catalog,
        held: &BTreeSet<StreamName>,
    ) -> Result<ConnectionDraft, StepError> {
        draft_of(&*self.doors.engine, connection, (source, destination), catalog, held)
    }
}

/// The engine's connection as git wants it, between these two ends.
pub(super) fn draft_of<E: EngineRead + ?Sized>(
    engine: &E,
    connection: &Connection,
    (source, destination): (&EngineId, &EngineId),
    catalog: &Catalog,
    held: &BTreeSet<StreamName>,
) -> Result<ConnectionDraft, StepError> {
    let streams =
        spec::configure(connection, catalog).map_err(|problems| StepError::Spec(spec::describe_problems(&problems)))?;
    let mut streams: Vec<_> = streams.into_iter().map(super::configured).collect();
    streams.retain(|stream| !held.contains(&stream.name));
    Ok(ConnectionDraft {
        options: BTreeMap::new(),
        name: connection.airbyte.name.clone().unwrap_or_else(|| connection.name.to_string()),
        source: source.clone(),
        destination: destination.clone(),
        // a connection without streams is refused by engines: it rests
        enabled: !connection.airbyte.inactive && (!streams.is_empty() || held.is_empty()),
        streams,
        settings: engine.settings(connection)?,
    })
}

/// One keyed fingerprint over both endpoints.
pub(super) fn join_secrets(source: &EndpointHandle, destination: &EndpointHandle) -> String {
    format!("{}:{}", source.config.fingerprint(), destination.config.fingerprint())
}

/// The commit that writes a lock.
pub(super) fn lock_draft(connection: &Connection, before: Option<String>, lock: &Lock, why: &str) -> CommitDraft {
    CommitDraft {
        subject: format!("aam: write lock of {} (version {})", connection.name, lock.version),
        body: String::new(),
        trailers: vec![("Aam-Connection".into(), connection.name.to_string()), ("Aam-Cause".into(), why.to_owned())],
        edits: vec![FileEdit {
            path: connection.lock_path.clone(),
            before,
            after: Some(spec::lock::render(lock, &connection.name.to_string())),
        }],
    }
}
