//! The port, question by question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::catalogs::Beside;
use super::{
    PgRegistry, arrivals, audit, catalogs, connections, drift, intents, jobs, leases, own, requests, specs, usage,
};
use crate::drift::radius::{Asked, Counted, Usage};
use crate::drift::rename::{Arrivals, Values};
use crate::model::{Catalog, CommitId, ConnectionId, ConnectionRef, Fingerprint, StreamName, TenantId};
use crate::ports::{
    Agreed, AuditEntry, CatalogVersion, Cause, ConnectionRow, ConnectionStatus, DriftRow, EngineId, Intent, Job, Lease,
    Look, ObjectKind, Registry, RegistryError, RequestRow, Trouble, written,
};
use crate::repair::Trials;
use crate::spec::Rejection;

#[async_trait]
impl Registry for PgRegistry {
    async fn lease(
        &self,
        tenant: &TenantId,
        connection: ConnectionId,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, RegistryError> {
        written("lease", leases::take(self, tenant, connection, holder, ttl)).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), RegistryError> {
        leases::renew(self, lease, ttl).await
    }

    async fn drop_stale_leases(&self) -> Result<(), RegistryError> {
        leases::drop_stale(self).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), RegistryError> {
        written("release", leases::release(self, lease)).await
    }

    async fn connections(&self) -> Result<Vec<ConnectionRow>, RegistryError> {
        connections::all(self).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>, RegistryError> {
        connections::one(self, id).await
    }

    async fn connections_named(&self, name: &ConnectionRef) -> Result<Vec<ConnectionRow>, RegistryError> {
        connections::named(self, name).await
    }

    async fn declare(&self, lease: &Lease, name: &ConnectionRef, cause: &Cause) -> Result<(), RegistryError> {
        written("declare", connections::declare(self, lease, name, cause)).await
    }

    async fn set_status(
        &self,
        lease: &Lease,
        status: ConnectionStatus,
        reason: Option<&str>,
        retry_at: Option<DateTime<Utc>>,
        paused: bool,
        cause: &Cause,
    ) -> Result<(), RegistryError> {
        written("set_status", connections::set_status(self, lease, status, reason, retry_at, paused, cause)).await
    }

    async fn set_object(
        &self,
        lease: &Lease,
        kind: ObjectKind,
        id: Option<&EngineId>,
        cause: &Cause,
    ) -> Result<(), RegistryError> {
        written("set_object", connections::set_object(self, lease, kind, id, cause)).await
    }

    async fn set_applied(
        &self,
        lease: &Lease,
        digest: &str,
        secrets: Option<&str>,
        cause: &Cause,
    ) -> Result<(), RegistryError> {
        written("set_applied", connections::set_applied(self, lease, digest, secrets, cause)).await
    }

    async fn set_tried(&self, lease: &Lease, tried: &str) -> Result<(), RegistryError> {
        connections::set_tried(self, lease, tried).await
    }

    async fn set_troubles(&self, lease: &Lease, troubles: &BTreeMap<String, Trouble>) -> Result<(), RegistryError> {
        connections::set_troubles(self, lease, troubles).await
    }

    async fn agreed(&self, connection: Option<ConnectionId>) -> Result<BTreeMap<ConnectionId, Agreed>, RegistryError> {
        connections::agreed(self, connection).await
    }

    async fn sent_settings(
        &self,
        tenant: &TenantId,
        kind: ObjectKind,
        id: &EngineId,
    ) -> Result<Option<String>, RegistryError> {
        connections::sent_settings(self, tenant, kind, id).await
    }

    async fn set_sent_settings(
        &self,
        lease: &Lease,
        kind: ObjectKind,
        id: &EngineId,
        fingerprint: &str,
    ) -> Result<(), RegistryError> {
        connections::set_sent_settings(self, lease, kind, id, fingerprint).await
    }

    async fn set_agreed(
        &self,
        lease: &Lease,
        agreed: &Agreed,
        held: &BTreeSet<StreamName>,
    ) -> Result<(), RegistryError> {
        written("set_agreed", connections::set_agreed(self, lease, agreed, held)).await
    }

    async fn set_normalized(&self, lease: &Lease, job: i64) -> Result<(), RegistryError> {
        written("set_normalized", connections::set_normalized(self, lease, job)).await
    }

    async fn set_last_sync(&self, lease: &Lease, at: DateTime<Utc>) -> Result<(), RegistryError> {
        written("set_last_sync", connections::set_last_sync(self, lease, at)).await
    }

    async fn record_look(
        &self,
        lease: &Lease,
        look: &Look,
        catalog: Option<(&Catalog, &Value)>,
    ) -> Result<(), RegistryError> {
        written("record_look", catalogs::record_look(self, lease, look, catalog)).await
    }

    async fn copy_look(&self, lease: &Lease, from: ConnectionId) -> Result<(), RegistryError> {
        written("record_look", catalogs::copy_look(self, lease, from)).await
    }

    async fn observed(
        &self,
        connection: ConnectionId,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Catalog>, RegistryError> {
        catalogs::observed(self, connection, fingerprint).await
    }

    async fn past_catalogs(&self, connection: ConnectionId, limit: u32) -> Result<Vec<Catalog>, RegistryError> {
        catalogs::past(self, connection, limit).await
    }

    async fn sampled(&self, connection: ConnectionId, fingerprint: &Fingerprint) -> Result<Values, RegistryError> {
        catalogs::beside(self, Beside::Sampled, connection, fingerprint).await
    }

    async fn trials(&self, connection: ConnectionId, fingerprint: &Fingerprint) -> Result<Trials, RegistryError> {
        catalogs::beside(self, Beside::Trials, connection, fingerprint).await
    }

    async fn set_trials(&self, lease: &Lease, fingerprint: &Fingerprint, trials: &Trials) -> Result<(), RegistryError> {
        written("set_trials", catalogs::set_beside(self, Beside::Trials, lease, fingerprint, trials)).await
    }

    async fn set_sampled(
        &self,
        lease: &Lease,
        fingerprint: &Fingerprint,
        values: &Values,
    ) -> Result<(), RegistryError> {
        written("set_sampled", catalogs::set_beside(self, Beside::Sampled, lease, fingerprint, values)).await
    }

    async fn arrivals(&self, connection: ConnectionId) -> Result<Arrivals, RegistryError> {
        arrivals::of(self, connection).await
    }

    async fn set_arrivals(&self, lease: &Lease, arrivals: &Arrivals) -> Result<(), RegistryError> {
        written("set_arrivals", arrivals::set(self, lease, arrivals)).await
    }

    async fn record_version(
        &self,
        lease: &Lease,
        version: &CatalogVersion,
        cause: &Cause,
    ) -> Result<(), RegistryError> {
        written("record_version", catalogs::record_version(self, lease, version, cause)).await
    }

    async fn versions(&self, connection: ConnectionId) -> Result<Vec<CatalogVersion>, RegistryError> {
        catalogs::versions(self, connection).await
    }

    async fn put_drift(&self, lease: &Lease, drift: &DriftRow, cause: &Cause) -> Result<(), RegistryError> {
        written("put_drift", drift::put(self, lease, drift, cause)).await
    }

    async fn drifts(&self, connection: Option<ConnectionId>, open: bool) -> Result<Vec<DriftRow>, RegistryError> {
        drift::list(self, connection, open).await
    }

    async fn put_request(&self, lease: &Lease, request: &RequestRow, cause: &Cause) -> Result<(), RegistryError> {
        written("put_request", requests::put(self, lease, request, cause)).await
    }

    async fn requests(&self, project: &str, open: bool) -> Result<Vec<RequestRow>, RegistryError> {
        requests::list(self, project, open).await
    }

    async fn rejections(&self) -> Result<BTreeMap<ConnectionId, Vec<Rejection>>, RegistryError> {
        requests::rejections(self).await
    }

    async fn set_rejections(
        &self,
        lease: &Lease,
        rejections: &[Rejection],
        cause: &Cause,
    ) -> Result<(), RegistryError> {
        written("set_rejections", requests::set_rejections(self, lease, rejections, cause)).await
    }

    async fn begin(&self, lease: &Lease, intent: &Intent) -> Result<(), RegistryError> {
        written("begin", intents::begin(self, lease, intent)).await
    }

    async fn settle(&self, lease: &Lease, intent: Uuid) -> Result<(), RegistryError> {
        written("settle", intents::settle(self, lease, intent)).await
    }

    async fn intents(&self, connection: Option<ConnectionId>) -> Result<Vec<Intent>, RegistryError> {
        intents::unsettled(self, connection).await
    }

    async fn record_job(&self, lease: &Lease, job: &Job) -> Result<(), RegistryError> {
        written("record_job", jobs::record(self, lease, job)).await
    }

    async fn jobs(&self, connection: ConnectionId, limit: u32) -> Result<Vec<Job>, RegistryError> {
        jobs::newest(self, connection, limit).await
    }

    async fn newest_jobs(&self) -> Result<BTreeMap<ConnectionId, Job>, RegistryError> {
        jobs::newest_of_each(self).await
    }

    async fn usage(&self, connection: ConnectionId, counted: Counted, asked: &Asked) -> Result<Usage, RegistryError> {
        usage::count(self, connection, counted, asked).await
    }

    async fn tracked(&self, branch: &str) -> Result<Option<CommitId>, RegistryError> {
        own::tracked(self, branch).await
    }

    async fn track(&self, branch: &str, before: Option<&CommitId>, now: &CommitId) -> Result<bool, RegistryError> {
        own::track(self, branch, before, now).await
    }

    async fn last_good(&self) -> Result<BTreeMap<String, String>, RegistryError> {
        specs::last_good(self).await
    }

    async fn set_last_good(&self, files: &BTreeMap<String, String>) -> Result<(), RegistryError> {
        written("set_last_good", specs::set_last_good(self, files)).await
    }

    async fn audit(
        &self,
        tenant: &TenantId,
        action: &str,
        connection: Option<ConnectionId>,
        cause: &Cause,
    ) -> Result<(), RegistryError> {
        written("audit", audit::add(self, tenant, action, connection, cause)).await
    }

    async fn audit_log(
        &self,
        tenant: &TenantId,
        connection: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, RegistryError> {
        audit::newest(self, tenant, connection, limit).await
    }

    async fn verify_audit(&self, tenant: &TenantId) -> Result<Option<i64>, RegistryError> {
        audit::verify(self, tenant).await
    }
}
