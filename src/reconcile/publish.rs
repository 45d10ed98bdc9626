//! What goes to the repository: locks and automatic repairs as commits, the rest as repair branches.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::drifted::Drifted;
use super::{Gathered, Offered, OutcomeKind, Reconciler, Refusal, StepError, by_aam};
use crate::model::{CommitDraft, ConnectionRef, Fingerprint};
use crate::plan::{Closing, Leaving, Noting};
use crate::ports::{Cause, CommitOutcome, DriftRow, DriftStatus, Lease, Remedy, recorded};
use crate::spec::Connection;

/// The effect of an automatic repair's commit, in intents.
pub(super) const COMMIT_REPAIR: &str = "commit_repair";

/// How long a refused commit rests before it is tried again; doubled with each refusal, up to 32 times that.
const REFUSED_REST: TimeDelta = TimeDelta::seconds(10);

impl Reconciler {
    pub(super) async fn commit_lock(
        &self,
        connection: &Connection,
        why: &str,
        draft: &CommitDraft,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let summary = format!("connection {}: lock committed ({why})", connection.name);
        let intent = self.begin_commit(draft, &summary, lease).await?;
        let outcome = self.sent_under(lease, "commit_lock", self.doors.repo.commit(draft)).await??;
        let recorded_as = self.after_commit(connection, draft, outcome, (intent, &summary), lease).await;
        recorded("commit_lock");
        recorded_as
    }

    /// Commits the rejection of a repair that a person took back. Until it is committed, that repair is not made again.
    pub(super) async fn commit_rejection(
        &self,
        connection: &Connection,
        by: &str,
        why: &str,
        draft: &CommitDraft,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let summary = format!("connection {}: an automatic repair was {why}: it stands as rejected", connection.name);
        let intent = self.begin_commit(draft, &summary, lease).await?;
        let refused = match self.sent_under(lease, "commit_rejection", self.doors.repo.commit(draft)).await?? {
            CommitOutcome::Committed(commit) => {
                self.cache.lock().expect("no panic while held").refused.remove(&lease.connection);
                self.close_unhealed(
                    connection,
                    Closing::Rejection { by: by.to_owned(), reason: why.to_owned() },
                    lease,
                )
                .await?;
                self.end_commit(intent, &commit, &draft.subject, &summary, lease).await?;
                recorded("commit_rejection");
                return Ok(OutcomeKind::Applied);
            }
            CommitOutcome::Moved => "the branch moved on meanwhile; planned again".to_owned(),
            CommitOutcome::Refused(refused) if self.doors.repo.info().await?.remote.is_some() => {
                let text = draft.edits.first().and_then(|edit| edit.after.as_deref()).unwrap_or_default();
                if let Some(rejection) = crate::repair::rejections(text).pop() {
                    self.keep_rejection(&connection.name, &rejection, &refused, lease).await?;
                }
                self.doors.registry.settle(lease, intent).await?;
                return Ok(OutcomeKind::Applied);
            }
            CommitOutcome::Refused(why) => self.refuse(draft, &why, Offered::Nowhere, lease),
        };
        self.doors.registry.settle(lease, intent).await?;
        Ok(OutcomeKind::Skipped(refused))
    }

    /// Closes what a rule approved and a person took back before it came into force.
    async fn close_unhealed(&self, connection: &Connection, why: Closing, lease: &Lease) -> Result<(), StepError> {
        let Some(lock) = &connection.lock else { return Ok(()) };
        for drift in self.doors.registry.drifts(Some(lease.connection), true).await? {
            if drift.is_unhealed(&lock.fingerprint) {
                self.close_drift(&connection.name, Some(drift.id), None, &why, lease).await?;
            }
        }
        Ok(())
    }

    /// Records a commit that went through; keeps a refused one for a while and offers it as a branch instead.
    async fn after_commit(
        &self,
        connection: &Connection,
        draft: &CommitDraft,
        outcome: CommitOutcome,
        (intent, summary): (Uuid, &str),
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        if !matches!(outcome, CommitOutcome::Committed(_)) {
            self.doors.registry.settle(lease, intent).await?;
        }
        match outcome {
            CommitOutcome::Committed(commit) => {
                self.cache.lock().expect("no panic while held").refused.remove(&lease.connection);
                self.end_commit(intent, &commit, &draft.subject, summary, lease).await?;
                Ok(OutcomeKind::Applied)
            }
            CommitOutcome::Moved => Ok(OutcomeKind::Skipped("the branch moved on meanwhile; planned again".into())),
            CommitOutcome::Refused(why) => {
                let reason = self.refuse(draft, &why, Offered::AsBranch, lease);
                match self.doors.repo.propose(&crate::repair::lock_branch(&connection.name), draft).await {
                    Ok(_) => self.ask_requests(),
                    Err(error) => {
                        tracing::warn!(connection.name = %connection.name, "connection {}: offering a branch: {error}", connection.name);
                    }
                }
                Ok(OutcomeKind::Skipped(reason))
            }
        }
    }

    /// Commits what is automatic, under an intent that holds the drift: were this process killed after the commit, healing
    /// would still know by which rule it was approved. A refused commit leaves no trace but the refusal; the whole drift is
    /// proposed instead.
    pub(super) async fn commit_repair(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        target: &Fingerprint,
        rule: &str,
        draft: &CommitDraft,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let Some(drifted) = gathered.drifted(lease.connection) else {
            return Ok(OutcomeKind::Skipped("the source moved on meanwhile".into()));
        };
        for stale in self.doors.registry.intents(Some(lease.connection)).await? {
            if stale.effect == COMMIT_REPAIR {
                self.doors.registry.settle(lease, stale.id).await?;
            }
        }
        let mut row = self.drift_row(&drifted, target, None, lease).await?;
        row.status = DriftStatus::Approved;
        row.cause = format!("rule:{rule}");
        let detail = serde_json::to_value(&row).expect("a drift is plain data");
        let intent = self.begin(lease, COMMIT_REPAIR, target.as_str(), detail).await?;
        let summary = format!("connection {}: repair {} committed", connection.name, target.short());
        let commit = self.begin_commit(draft, &summary, lease).await?;
        let outcome = self.sent_under(lease, "commit_repair", self.doors.repo.commit(draft)).await??;
        if let CommitOutcome::Committed(_) = &outcome {
            self.approve_by_rule(connection, &row, lease).await?;
        }
        self.doors.registry.settle(lease, intent).await?;
        if let CommitOutcome::Refused(why) = outcome {
            self.doors.registry.settle(lease, commit).await?;
            return Ok(OutcomeKind::Skipped(self.refuse(draft, &why, Offered::AsBranch, lease)));
        }
        let done = self.after_commit(connection, draft, outcome, (commit, &summary), lease).await;
        recorded("commit_repair");
        done
    }

    /// Notes a drift that its rule approved.
    async fn approve_by_rule(&self, connection: &Connection, row: &DriftRow, lease: &Lease) -> Result<(), StepError> {
        let cause = Cause {
            actor: row.cause.clone(),
            summary: format!("connection {}: drift {} repaired by {}", connection.name, row.target.short(), row.cause),
            detail: json!({"drift": row.id, "fingerprint": row.target}),
        };
        Ok(self.doors.registry.put_drift(lease, row, &cause).await?)
    }

    /// Finishes a rule's commit that was cut off before it was noted.
    pub(super) async fn finish_rule_commit(
        &self,
        connection: &Connection,
        to: &Fingerprint,
        lease: &Lease,
    ) -> Result<(), StepError> {
        for intent in self.doors.registry.intents(Some(lease.connection)).await? {
            if intent.effect != COMMIT_REPAIR {
                continue;
            }
            if let Some(row) = serde_json::from_value::<DriftRow>(intent.detail).ok().filter(|row| row.target == *to) {
                self.approve_by_rule(connection, &row, lease).await?;
            }
            self.doors.registry.settle(lease, intent.id).await?;
        }
        Ok(())
    }

    /// Remembers a refused commit; the reason in words.
    fn refuse(&self, draft: &CommitDraft, why: &str, offered: Offered, lease: &Lease) -> String {
        let hint = match offered {
            Offered::AsBranch => "; the same is offered as a repair branch",
            Offered::Nowhere => "",
        };
        let reason = format!("cannot commit `{}`: {why}{hint}", draft.subject);
        let mut cache = self.cache.lock().expect("no panic while held");
        let commit = cache.resolution.as_ref().and_then(|resolution| resolution.commit.clone());
        let before = cache.refused.remove(&lease.connection);
        let times = before.as_ref().map_or(0, |before| before.times);
        let until = self.doors.clock.now() + REFUSED_REST * (1 << times.min(5));
        let standing = before.and_then(|before| before.standing);
        let refusal = Refusal { until, why: reason.clone(), commit, offered, times: times + 1, standing };
        cache.refused.insert(lease.connection, refusal);
        reason
    }

    /// Opens the repair branch, or brings it up to date, and notes the drift with it.
    pub(super) async fn propose(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        target: &Fingerprint,
        branch: &str,
        draft: &CommitDraft,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let Some(drifted) = gathered.drifted(lease.connection) else {
            return Ok(OutcomeKind::Skipped("the source moved on meanwhile".into()));
        };
        let opened = self.sent_under(lease, "propose", self.doors.repo.propose(branch, draft)).await??;
        let row = self.drift_row(&drifted, target, Some(branch), lease).await?;
        let cause = by_aam(
            format!("connection {}: drift {} awaits review on {branch}", connection.name, target.short()),
            json!({"drift": row.id, "tip": opened.tip, "changes": row.changes.len(), "confidence": row.confidence}),
        );
        self.doors.registry.put_drift(lease, &row, &cause).await?;
        recorded("propose");
        self.ask_requests();
        if !opened.edited && !self.carries(&opened, draft).await? {
            let why =
                format!("{branch} is checked out with edits in its way: commit or undo them, or leave the branch");
            return Ok(OutcomeKind::Skipped(why));
        }
        tracing::info!(connection.name = %connection.name, "connection {}: drift {} awaits review on {branch}", connection.name, target.short());
        Ok(OutcomeKind::Applied)
    }

    pub(super) async fn note_drift(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        target: &Fingerprint,
        why: &Noting,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let Some(drifted) = gathered.drifted(lease.connection) else {
            return Ok(OutcomeKind::Skipped("the source moved on meanwhile".into()));
        };
        let mut row = self.drift_row(&drifted, target, None, lease).await?;
        if let Noting::Rejected { .. } = why {
            row.status = DriftStatus::Rejected;
            row.cause = why.describe();
        }
        let cause = by_aam(
            format!("connection {}: drift {} seen ({})", connection.name, target.short(), why.describe()),
            json!({"drift": row.id}),
        );
        self.doors.registry.put_drift(lease, &row, &cause).await?;
        Ok(OutcomeKind::Applied)
    }

    /// Removes the branch, then closes the drift: a crash between leaves a drift without a branch, which is planned again. A
    /// branch that a person has checked out stays until they leave it; that is logged once, with the closing.
    pub(super) async fn close_drift(
        &self,
        connection: &ConnectionRef,
        drift: Option<Uuid>,
        branch: Option<&str>,
        why: &Closing,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let mut kept = None;
        if let Some(branch) = branch {
            match self.sent_under(lease, "withdraw", self.doors.repo.withdraw(branch)).await? {
                Err(error) if error.remedy == Remedy::Person => kept = Some(error),
                withdrawn => withdrawn?,
            }
        }
        let open = self.doors.registry.drifts(Some(lease.connection), true).await?;
        if let Some(mut row) = open.into_iter().find(|row| Some(row.id) == drift) {
            row.status = match why {
                Closing::Rejection { .. } => DriftStatus::Rejected,
                Closing::Agreement | Closing::Removal => DriftStatus::Withdrawn,
            };
            row.branch = None;
            row.changed_at = self.doors.clock.now();
            row.cause = why.describe();
            let cause = by_aam(
                format!("connection {connection}: drift {} closed: {}", row.target.short(), row.cause),
                json!({"drift": row.id}),
            );
            self.doors.registry.put_drift(lease, &row, &cause).await?;
            if let Some(error) = &kept {
                tracing::warn!(connection.name = %connection, "connection {connection}: {error}");
            }
        }
        if branch.is_some() {
            recorded("withdraw");
        }
        self.ask_requests();
        Ok(kept.map_or(OutcomeKind::Applied, |error| OutcomeKind::Skipped(error.to_string())))
    }

    /// Removes the branches of a name that its connection left; those with a person's own commits stay theirs.
    pub(super) async fn leave_branches_of(&self, name: &ConnectionRef) -> Result<(), StepError> {
        let ours = crate::repair::branches(name);
        for open in self.doors.repo.repair_branches().await? {
            if ours.contains(&open.name) && !open.edited {
                self.doors.repo.withdraw(&open.name).await?;
            }
        }
        Ok(())
    }

    /// Removes a branch that has nothing more to say; one that a person has checked out, or committed to, stays.
    pub(super) async fn leave_branch(
        &self,
        name: &ConnectionRef,
        branch: &str,
        why: Leaving,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        match self.sent_under(lease, "withdraw", self.doors.repo.withdraw(branch)).await? {
            Err(error) if error.remedy == Remedy::Person => return Ok(OutcomeKind::Skipped(error.to_string())),
            withdrawn => withdrawn?,
        }
        if why == Leaving::Over {
            let mut agreed = self.doors.registry.agreed(Some(lease.connection)).await?.remove(&lease.connection);
            if let (Some(agreed), Some(row)) = (&mut agreed, self.fresh_row(lease.connection).await?) {
                // the same edit made again is offered again
                agreed.offered = None;
                self.doors.registry.set_agreed(lease, agreed, &row.held).await?;
                self.note_live(row.id, agreed.clone(), |_| false, Default::default());
            }
        }
        let cause = by_aam(format!("connection {name}: branch {branch} removed: {}", why.describe()), json!({}));
        self.doors.registry.audit(&lease.tenant, "repair.withdrawn", Some(lease.connection), &cause).await?;
        recorded("withdraw");
        self.ask_requests();
        Ok(OutcomeKind::Applied)
    }

    /// The row of the pending drift with that target, or a new one.
    async fn drift_row(
        &self,
        drifted: &Drifted,
        target: &Fingerprint,
        branch: Option<&str>,
        lease: &Lease,
    ) -> Result<DriftRow, StepError> {
        let now = self.doors.clock.now();
        let open = self.doors.registry.drifts(Some(lease.connection), true).await?;
        let opened_at = drifted.known_since(target, open.iter());
        let known = open.into_iter().find(|row| row.target == *target && row.status == DriftStatus::Pending);
        Ok(DriftRow {
            id: known.as_ref().map_or_else(Uuid::now_v7, |row| row.id),
            connection: lease.connection,
            base: drifted.base.clone(),
            target: target.clone(),
            status: DriftStatus::Pending,
            changes: drifted.changes(target),
            confidence: drifted.confidence(target),
            automatic: drifted.gate(target),
            branch: branch.map(str::to_owned),
            opened_at,
            changed_at: now,
            cause: "seen by a look".into(),
        })
    }
}
