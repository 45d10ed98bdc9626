//! Whether what is on the tracked branch was approved by somebody who may: `[approval]` of the settings.

use super::drifted::Drifted;
use super::publish::COMMIT_REPAIR;
use super::{Gathered, Reconciler, TurnError};
use crate::drift::rename::Values;
use crate::drift::{Scene, Severity, assess, compare, is_of_key_or_cursor};
use crate::model::{Catalog, CommitId, ConnectionRef, RepoPath};
use crate::plan::approval::{Approved, Approver, objection};
use crate::ports::{
    ConnectionRow, DriftRow, DriftStatus, Intent, LogEntry, RegistryError, RepoError, RequestRow, RequestStanding,
};
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
        let by = match self.rule_of(row, lock, intents).await? {
            Some(rule) => Some(Approver::rule(&rule)),
            None => match self.brought_by(connection, lock).await? {
                Some(entry) => Some(self.approver_of(connection, row, lock, entry).await?),
                None => None,
            },
        };
        let mend = match self.doors.repo.info().await?.remote {
            None => "revert it, and let one of them merge it anew",
            Some(_) => "revert it, and let one of them merge its request or run `aam drift approve`",
        };
        let why = objection(&rules, approved, by.as_slice());
        Ok(why.map(|why| format!("the lock on the branch is not in force: {why}; {mend}")))
    }

    /// The rule that took this lock in, if one did.
    async fn rule_of(&self, row: &ConnectionRow, lock: &Lock, intents: &[Intent]) -> Result<Option<String>, TurnError> {
        // cut off between the rule's commit and its note
        let begun = intents.iter().filter(|intent| intent.effect == COMMIT_REPAIR);
        let begun = begun.filter_map(|intent| serde_json::from_value::<DriftRow>(intent.detail.clone()).ok());
        let drifts = self.doors.registry.drifts(Some(row.id), true).await?;
        let mut noted = drifts.into_iter().chain(begun);
        let rule = noted.find(|drift| drift.target == lock.fingerprint && drift.status == DriftStatus::Approved);
        Ok(rule.and_then(|drift| drift.cause.strip_prefix("rule:").map(str::to_owned)))
    }

    /// Who approved by this commit: a rule by a request, or else a person. What comes from a remote was written by anybody who
    /// may push: there only what `aam` committed for somebody here counts, and whom the forge says that it merged the request.
    pub(super) async fn approver_of(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        lock: &Lock,
        entry: LogEntry,
    ) -> Result<Approver, TurnError> {
        let requests = match &self.doors.forge {
            Some(forge) => self.doors.registry.requests(forge.project(), false).await?,
            None => Vec::new(),
        };
        let own = || requests.iter().filter(|request| request.connection == row.id);
        for request in own().filter(|request| request.target == lock.fingerprint.as_str()) {
            if let Some(by_rule) = &request.by_rule
                && self.judged_this(row, lock, request).await?
                && self.brings_just(connection, &entry.commit, &by_rule.tip).await?
            {
                return Ok(Approver::rule_by_request(&by_rule.rule, &request.url));
            }
        }
        let is_local = self.doors.repo.info().await?.remote.is_none();
        if is_local || (entry.recorded && entry.approved_by.is_some()) {
            return Ok(Approver::by_git(&entry.vouched_approver()));
        }
        for request in own().filter(|request| request.state == RequestStanding::Merged) {
            if let (Some(login), Some(merged)) = (&request.by, &request.commit)
                && (*merged == entry.commit || self.ends_in(connection, lock, request, (&entry.commit, merged)).await?)
            {
                return Ok(Approver::by_forge(login, &request.url));
            }
        }
        Ok(Approver::by_word(&entry.vouched_approver()))
    }

    /// Whether the rule of a request judged the step from what is in force to this lock, and nobody closed it since. From
    /// another version the same lock is another change.
    async fn judged_this(&self, row: &ConnectionRow, lock: &Lock, request: &RequestRow) -> Result<bool, RegistryError> {
        if !matches!(request.state, RequestStanding::Open | RequestStanding::Merged) {
            return Ok(false);
        }
        let drifts = self.doors.registry.drifts(Some(row.id), false).await?;
        let drift = drifts.into_iter().find(|drift| Some(drift.id) == request.drift);
        Ok(drift.is_some_and(|drift| drift.target == lock.fingerprint && row.fingerprint.as_ref() == Some(&drift.base)))
    }

    /// Whether a merge without a merge commit brought a lock: the forge names the last of the commits, and the lock came with
    /// an earlier one. Only for the lock that the request asks for: who merged that approved it.
    async fn ends_in(
        &self,
        connection: &Connection,
        lock: &Lock,
        request: &RequestRow,
        (brought, last): (&CommitId, &CommitId),
    ) -> Result<bool, RepoError> {
        if request.target != lock.fingerprint.as_str() {
            return Ok(false);
        }
        // What the forge names may not be here yet, or no more.
        let Ok(Some(text)) = self.doors.repo.file_at(last, &connection.lock_path).await else { return Ok(false) };
        let there = crate::spec::lock::read(connection.lock_path.as_str(), &text);
        Ok(there.is_ok_and(|there| there.fingerprint == lock.fingerprint)
            && self.doors.repo.holds(last, brought).await?)
    }

    /// Whether a commit brought lock, mapping and spec as a rule judged them on its branch: what others added there, or merged
    /// in beside it, is not the rule's.
    async fn brings_just(
        &self,
        connection: &Connection,
        commit: &CommitId,
        judged: &CommitId,
    ) -> Result<bool, TurnError> {
        for path in paths(connection) {
            // What was judged is known here no more where the clone was made anew.
            let Ok(wanted) = self.doors.repo.file_at(judged, path).await else { return Ok(false) };
            if self.doors.repo.file_at(commit, path).await? != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the rules' paths are about.
fn paths(connection: &Connection) -> Vec<&RepoPath> {
    let own = [&connection.path, &connection.lock_path];
    own.into_iter().chain(connection.mapping.as_ref().map(|mapping| &mapping.path)).collect()
}
