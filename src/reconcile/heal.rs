//! Healing: an approved catalog is brought to the engine, read back, and recorded as the next version.

use std::collections::BTreeSet;

use serde_json::json;

use super::landed::to_normalize;
use super::onboard::join_secrets;
use super::{OutcomeKind, Reconciler, StepError, by_aam};
use crate::model::{Catalog, Fingerprint, StreamName};
use crate::ports::{
    CatalogVersion, Cause, ConnectionRow, ConnectionStatus, DriftStatus, Lease, LogEntry, ObjectKind, RepoError,
};
use crate::spec::{Connection, Lock};

/// Why the engine's connection is left as it is, though the plan knew of no sync.
const SYNC_BEGAN: &str = "a sync began meanwhile";

impl Reconciler {
    /// `HEALING` → update the engine → read back → version n+1 → `ACTIVE`. Each part may have happened already.
    pub(super) async fn heal(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        to: &Fingerprint,
        held: &BTreeSet<StreamName>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let registry = &self.doors.registry;
        let Some(lock) = connection.lock.as_ref().filter(|lock| lock.fingerprint == *to) else {
            return Ok(OutcomeKind::Skipped("the lock moved on meanwhile".into()));
        };
        let intents = registry.intents(Some(row.id)).await?;
        if intents.iter().any(|intent| intent.effect == "sync") {
            return Ok(OutcomeKind::Skipped(SYNC_BEGAN.into()));
        }
        if row.fingerprint.as_ref() != Some(to) && to_normalize(row, connection, &intents).is_some() {
            return Ok(OutcomeKind::Skipped("rows landed meanwhile that are not normalized yet".into()));
        }
        self.finish_rule_commit(connection, to, lease).await?;
        let brought = self.brought_by(connection, lock).await?;
        let commit = brought.as_ref().map(|entry| entry.commit.clone());
        let by = match brought {
            Some(entry) => self.approver_of(connection, row, lock, entry).await?.shown().to_owned(),
            None => "unknown".to_owned(),
        };
        // What was rejected may be approved all the same.
        let undecided = [DriftStatus::Pending, DriftStatus::Rejected];
        let drifts = registry.drifts(Some(row.id), false).await?;
        let answered = drifts.into_iter().filter(|drift| {
            drift.target == *to && (drift.status == DriftStatus::Approved || undecided.contains(&drift.status))
        });
        // They come newest first; what is open goes before what was rejected once.
        let drift = answered.min_by_key(|drift| drift.status == DriftStatus::Rejected);
        // What a rule committed was approved by the rule, whoever pushed or moved the branch.
        let rule =
            drift.as_ref().filter(|drift| drift.status == DriftStatus::Approved).map(|drift| drift.cause.clone());
        let approver = rule.filter(|cause| cause.starts_with("rule:")).unwrap_or(by);
        if let Some(drift) = drift.as_ref().filter(|d| undecided.contains(&d.status)) {
            let mut approved = drift.clone();
            approved.status = DriftStatus::Approved;
            approved.changed_at = self.doors.clock.now();
            approved.cause = format!("merged by {approver}");
            let cause = Cause {
                actor: approver.clone(),
                summary: format!("connection {}: drift {} approved", connection.name, to.short()),
                detail: json!({"drift": drift.id, "commit": commit, "fingerprint": to}),
            };
            registry.put_drift(lease, &approved, &cause).await?;
        }
        let cause = by_aam(
            format!("connection {} is healing to {}", connection.name, to.short()),
            json!({"to": to, "commit": commit}),
        );
        registry.set_status(lease, ConnectionStatus::Healing, None, None, false, &cause).await?;

        let (source, destination) = self.handles(connection, row)?;
        let draft = self.connection_draft(connection, &source, &destination, &lock.catalog, held)?;
        self.update_and_read_back(row, (&draft, &source.config), held, lease).await?;

        self.await_later_syncs(row, &lock.catalog, lease).await?;
        if row.fingerprint.as_ref() == Some(to) {
            return self.activate(connection, row.version, lease).await;
        }
        let version = CatalogVersion {
            version: row.version + 1,
            fingerprint: to.clone(),
            body: lock.catalog.body(),
            at: self.doors.clock.now(),
            commit,
            approved_by: approver.clone(),
            drift: drift.map(|d| d.id),
        };
        let cause = Cause {
            actor: approver,
            summary: format!(
                "connection {}: catalog version {} ({}) in force",
                connection.name,
                version.version,
                to.short()
            ),
            detail: json!({"version": version.version, "fingerprint": to}),
        };
        registry.record_version(lease, &version, &cause).await?;
        self.forget_arrivals(row, &lock.catalog, lease).await?;
        self.activate(connection, version.version, lease).await
    }

    async fn activate(&self, connection: &Connection, version: u32, lease: &Lease) -> Result<OutcomeKind, StepError> {
        let cause = by_aam(format!("connection {} is active on catalog version {version}", connection.name), json!({}));
        self.doors.registry.set_status(lease, ConnectionStatus::Active, None, None, false, &cause).await?;
        Ok(OutcomeKind::Applied)
    }

    /// Settings of source, destination and streams, from the spec.
    pub(super) async fn apply_settings(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        digest: &str,
        secrets: &str,
        held: &BTreeSet<StreamName>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let (source, destination) = self.handles(connection, row)?;
        if join_secrets(&source, &destination) != secrets {
            return Ok(OutcomeKind::Skipped("a secret changed meanwhile".into()));
        }
        if self.open_sync(row).await?.is_some() {
            return Ok(OutcomeKind::Skipped(SYNC_BEGAN.into()));
        }
        let Some(lock) = &connection.lock else {
            return Ok(OutcomeKind::Skipped("its lock is not committed yet".into()));
        };
        let keeps = self.doors.engine.manner().drives_itself;
        if let Some(id) = row.objects.get(&ObjectKind::Connection) {
            self.refuse_while_moving(id, keeps).await?;
        }
        self.update_ends(connection, row, (&source, &destination), lease).await?;
        let catalog = served_catalog(lock, connection);
        let draft = self.connection_draft(connection, &source, &destination, &catalog, held)?;
        self.update_and_read_back(row, (&draft, &source.config), held, lease).await?;
        let cause = by_aam(
            format!("connection {}: settings from {} applied", connection.name, connection.path),
            json!({"digest": digest}),
        );
        self.doors.registry.set_applied(lease, digest, Some(secrets), &cause).await?;
        if row.status != ConnectionStatus::Active {
            let cause = by_aam(format!("connection {} is active again", connection.name), json!({}));
            self.doors.registry.set_status(lease, ConnectionStatus::Active, None, None, false, &cause).await?;
        }
        Ok(OutcomeKind::Applied)
    }

    /// A paused or retired connection whose spec is back.
    pub(super) async fn resume(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let (source, destination) = self.handles(connection, row)?;
        // A lock that went with the spec is written again from the version in force.
        let catalog = match &connection.lock {
            Some(lock) => Some(lock.catalog.clone()),
            None => self.recorded_catalog(row).await?,
        };
        if let Some(catalog) = catalog {
            let draft = self.connection_draft(connection, &source, &destination, &catalog, &row.held)?;
            self.update_and_read_back(row, (&draft, &source.config), &row.held, lease).await?;
        }
        let cause = by_aam(format!("connection {} resumed: its spec is back", connection.name), json!({}));
        self.doors.registry.set_status(lease, ConnectionStatus::Active, None, None, false, &cause).await?;
        Ok(OutcomeKind::Applied)
    }

    /// The commit that brought this fingerprint onto the tracked branch.
    pub(super) async fn brought_by(&self, connection: &Connection, lock: &Lock) -> Result<Option<LogEntry>, RepoError> {
        let mut found = None;
        for entry in self.doors.repo.log(&connection.lock_path, 20).await? {
            let text = self.doors.repo.file_at(&entry.commit, &connection.lock_path).await?;
            let same = text
                .and_then(|text| crate::spec::lock::read(connection.lock_path.as_str(), &text).ok())
                .is_some_and(|l| l.fingerprint == lock.fingerprint);
            if !same {
                break;
            }
            found = Some(entry);
        }
        Ok(found)
    }
}

/// The catalog that the engine should carry: the lock's, as far as the spec still selects it.
fn served_catalog(lock: &Lock, connection: &Connection) -> Catalog {
    crate::spec::select(&lock.catalog, &connection.streams).unwrap_or_else(|_| lock.catalog.clone())
}
