//! Whether what is on the tracked branch was approved by somebody who may: `[approval]` of the settings.

use super::drifted::Drifted;
use super::publish::COMMIT_REPAIR;
use super::{Gathered, Reconciler, TurnError};
use crate::drift::rename::Values;
use crate::drift::{Scene, Severity, assess, compare, is_of_key_or_cursor};
use crate::model::{Catalog, ConnectionRef, RepoPath};
use crate::plan::approval::{Approved, Approver, objection};
use crate::ports::{ConnectionRow, DriftRow, DriftStatus, Intent, LogEntry};
use crate::spec::{Connection, Lock};

impl Reconciler {
    /// Whether a rule may take in what is automatic; so, too, where nothing is.
    pub(super) fn may_approve(&self, connection: &Connection, drifted: &Drifted) -> bool {
        let Some((rule, severity)) = drifted.automatic_severity() else { return true };
        let paths = paths(connection);
        let approved = Approved { tenant: &connection.name.tenant, paths: &paths, severity };
        objection(&self.policy().approval, approved, &[Approver::rule(rule)]).is_none()
    }

    /// Whether a rule may take in what only adds.
    pub(super) fn may_take_in(&self, connection: &Connection) -> bool {
        let paths = paths(connection);
        let approved = Approved { tenant: &connection.name.tenant, paths: &paths, severity: Severity::Additive };
        objection(&self.policy().approval, approved, &[Approver::rule("additive")]).is_none()
    }

    /// Why this person may not approve what waits, or stands as rejected, for a connection.
    pub fn objection_to(&self, gathered: &Gathered, name: &ConnectionRef, approver: &str) -> Option<String> {
        let connection = gathered.desired().connections.get(name)?;
        let severity = gathered.drifted(gathered.row_of(connection)?.id)?.decided_severity()?;
        let paths = paths(connection);
        let approved = Approved { tenant: &name.tenant, paths: &paths, severity };
        objection(&self.policy().approval, approved, &[Approver::by_git(approver)])
    }

    /// Why the lock on the tracked branch does not come into force, though it is there: nobody who may has approved it.
    pub(super) async fn unapproved(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        intents: &[Intent],
    ) -> Result<Option<String>, TurnError> {
        let rules = self.policy().approval;
        let Some(lock) = connection.lock.as_ref().filter(|lock| {
            !rules.is_empty() && row.fingerprint.as_ref().is_some_and(|in_force| *in_force != lock.fingerprint)
        }) else {
            return Ok(None);
        };
        let Some(before) = self.doors.registry.versions(row.id).await?.pop() else { return Ok(None) };
        let Ok(before) = Catalog::from_body(&before.body) else { return Ok(None) };
        let scene = Scene {
            lock: &before,
            observed: &lock.catalog,
            whole: None,
            connection,
            entities: &gathered.desired().entities,
            values: &Values::default(),
        };
        let changes = assess(&compare(&before, &lock.catalog), scene).changes;
        // Mapping and spec have followed already, so nobody can tell any more what read a field that went.
        let worst = changes.iter().map(|change| match change.severity {
            Severity::Additive => Severity::Additive,
            _ if is_of_key_or_cursor(&change.change, &before, connection) => Severity::BreakingForSync,
            other => other.max(Severity::BreakingForMapping),
        });
        let paths = paths(connection);
        let severity = worst.max().unwrap_or(Severity::None);
        let approved = Approved { tenant: &connection.name.tenant, paths: &paths, severity };
        let by = self.approvers(connection, row, lock, intents).await?;
        Ok(objection(&rules, approved, &by).map(|why| {
            format!("the lock on the branch is not in force: {why}; revert it, and let one of them merge it anew")
        }))
    }

    /// Who brought this lock onto the tracked branch.
    async fn approvers(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        lock: &Lock,
        intents: &[Intent],
    ) -> Result<Vec<Approver>, TurnError> {
        // cut off between the rule's commit and its note
        let begun = intents.iter().filter(|intent| intent.effect == COMMIT_REPAIR);
        let begun = begun.filter_map(|intent| serde_json::from_value::<DriftRow>(intent.detail.clone()).ok());
        let drifts = self.doors.registry.drifts(Some(row.id), true).await?;
        let mut noted = drifts.into_iter().chain(begun);
        let rule = noted.find(|drift| drift.target == lock.fingerprint && drift.status == DriftStatus::Approved);
        if let Some(rule) = rule.as_ref().and_then(|drift| drift.cause.strip_prefix("rule:")) {
            return Ok(vec![Approver::rule(rule)]);
        }
        let brought = self.brought_by(connection, lock).await?;
        Ok(brought.map(|entry| Approver::by_git(&LogEntry::vouched_approver(entry))).into_iter().collect())
    }
}

/// What the rules' paths are about.
fn paths(connection: &Connection) -> Vec<&RepoPath> {
    let own = [&connection.path, &connection.lock_path];
    own.into_iter().chain(connection.mapping.as_ref().map(|mapping| &mapping.path)).collect()
}
