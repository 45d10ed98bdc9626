//! Rejections that are in force and that git does not hold yet, because the tracked branch did not take their commit: kept in
//! the registry, joined with what git says, and offered as a branch until they are written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::resolved::Resolved;
use super::{Gathered, OutcomeKind, Reconciler, StepError, TurnError, by_aam, text_of};
use crate::drift::{compare, line_of};
use crate::model::{Catalog, CommitDraft, ConnectionId, ConnectionRef, FileEdit};
use crate::plan::Unrecorded;
use crate::ports::{ConnectionRow, Lease, RepairBranch, recorded};
use crate::repair;
use crate::spec::{Connection, Mode, Rejection};

/// By connection.
pub(super) type Rejections = BTreeMap<ConnectionId, Vec<Rejection>>;

/// A committed state joined with rejections, kept while both are the same.
pub(super) struct Joined {
    from: (Arc<Resolved>, Rejections),
    with: Arc<Resolved>,
}

impl Reconciler {
    /// The committed state as if git held these rejections.
    pub(super) fn joined(
        &self,
        resolved: Arc<Resolved>,
        rows: &[ConnectionRow],
        rejections: &Rejections,
    ) -> Arc<Resolved> {
        if rejections.is_empty() {
            return resolved;
        }
        let mut cache = self.cache.lock().expect("no panic while held");
        if let Some(known) = &cache.with_rejections
            && Arc::ptr_eq(&known.from.0, &resolved)
            && known.from.1 == *rejections
        {
            return known.with.clone();
        }
        let mut desired = (*resolved.desired).clone();
        for (id, more) in rejections {
            if let Some(row) = rows.iter().find(|row| row.id == *id) {
                desired.rejected.entry(row.name.clone()).or_default().extend(more.iter().cloned());
            }
        }
        let mut with = (*resolved).clone();
        with.desired = Arc::new(desired);
        let with = Arc::new(with);
        cache.with_rejections = Some(Joined { from: (resolved, rejections.clone()), with: with.clone() });
        with
    }

    /// Lets a rejection be in force though git does not hold it.
    pub(super) async fn keep_rejection(
        &self,
        name: &ConnectionRef,
        rejection: &Rejection,
        why: &str,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let mut known = self.doors.registry.rejections().await?.remove(&lease.connection).unwrap_or_default();
        if known.iter().any(|known| rejection.changes.iter().all(|change| known.changes.contains(change))) {
            return Ok(());
        }
        known.push(rejection.clone());
        let cause = by_aam(
            format!(
                "connection {name}: {} was rejected by {}; the tracked branch does not take the commit: {why}",
                rejection.fingerprint.short(),
                rejection.by
            ),
            json!({"fingerprint": rejection.fingerprint, "by": rejection.by, "reason": rejection.reason}),
        );
        Ok(self.doors.registry.set_rejections(lease, &known, &cause).await?)
    }

    /// The same for a person at the command line.
    pub async fn reject_here(&self, row: &ConnectionRow, rejection: &Rejection, why: &str) -> Result<(), StepError> {
        let lease = self.wait_for_lease(&row.name, row.id).await?;
        let kept = self.keep_rejection(&row.name, rejection, why, &lease).await;
        self.doors.registry.release(&lease).await?;
        kept
    }

    /// What becomes of a connection's rejections that git does not hold yet.
    pub(super) async fn unrecorded(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        branch: Option<&RepairBranch>,
    ) -> Result<Option<Unrecorded>, TurnError> {
        let path = repair::rejected_path(&connection.name).expect("names of a resolved connection make a path");
        // What a branch says is an offer, whoever pushed it: it counts once it is merged.
        let Some(noted) = gathered.unrecorded.get(&row.id) else {
            return Ok(branch.map(|_| Unrecorded { over: true, note: None, offer: None }));
        };
        let approved = self.newest_changes(connection, row).await?;
        let before = text_of(&gathered.resolved.files, &path);
        let (mut text, mut left, mut first) = (before.clone(), Vec::new(), None);
        for mut rejection in noted.iter().cloned() {
            rejection.changes.retain(|change| !approved.contains(change));
            if rejection.changes.is_empty() {
                continue;
            }
            match repair::reject(&connection.name, text.as_deref(), &rejection) {
                Ok(None) => continue,
                Ok(Some(mut draft)) => {
                    text = draft.edits.pop().and_then(|edit| edit.after);
                    first.get_or_insert(draft);
                }
                // The file is in no state to be added to: `aam check` tells of it.
                Err(_) => {}
            }
            left.push(rejection);
        }
        let draft = first.map(|draft| CommitDraft { edits: vec![FileEdit { path, before, after: text }], ..draft });
        let mut offer = None;
        if let Some(draft) = draft.filter(|_| connection.mode >= Mode::Propose && !branch.is_some_and(|b| b.edited)) {
            let current = match branch {
                Some(branch) => self.carries(branch, &draft).await?,
                None => false,
            };
            offer = (!current).then(|| (repair::rejection_branch(&connection.name), draft));
        }
        let over = left.is_empty();
        let note = (left != *noted).then_some(left);
        Ok(Some(Unrecorded { over, note, offer }))
    }

    /// What the newest version changed, if it is the lock's.
    pub(super) async fn newest_changes(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
    ) -> Result<Vec<String>, TurnError> {
        let in_force = connection.lock.as_ref().is_some_and(|lock| row.fingerprint.as_ref() == Some(&lock.fingerprint));
        if !in_force {
            return Ok(Vec::new());
        }
        let versions = self.doors.registry.versions(row.id).await?;
        let [.., before, now] = &versions[..] else { return Ok(Vec::new()) };
        let (Ok(before), Ok(now)) = (Catalog::from_body(&before.body), Catalog::from_body(&now.body)) else {
            return Ok(Vec::new());
        };
        Ok(compare(&before, &now).iter().map(line_of).collect())
    }

    /// Opens the branch that writes rejections down, or brings it up to date.
    pub(super) async fn offer_rejection(
        &self,
        connection: &Connection,
        (branch, draft): (&str, &CommitDraft),
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let open = self.sent_under(lease, "propose", self.doors.repo.propose(branch, draft)).await??;
        let cause = by_aam(
            format!("connection {}: a rejection is offered on {branch}", connection.name),
            json!({"branch": branch, "tip": open.tip}),
        );
        self.doors.registry.audit(&lease.tenant, "rejection.proposed", Some(lease.connection), &cause).await?;
        recorded("propose");
        self.ask_requests();
        Ok(OutcomeKind::Applied)
    }

    /// Notes which rejections git does not hold, unless a person rejected something else since that was planned.
    pub(super) async fn note_rejections(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        rejections: &[Rejection],
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let known = self.doors.registry.rejections().await?.remove(&lease.connection);
        if known.as_ref() != gathered.unrecorded.get(&lease.connection) {
            return Ok(OutcomeKind::Skipped("something was rejected meanwhile; planned again".into()));
        }
        let summary =
            format!("connection {}: git does not hold {} of its rejections", connection.name, rejections.len());
        let cause = by_aam(summary, json!({"rejections": rejections.len()}));
        self.doors.registry.set_rejections(lease, rejections, &cause).await?;
        Ok(OutcomeKind::Applied)
    }
}
