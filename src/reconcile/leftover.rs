//! What a crash left: intents whose outcome nobody noted. The outcome is looked up, noted once, and the intent settled.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::by_name::CLEAR;
use super::ends::end_updated_by;
use super::landed::is_expected;
use super::live::UPDATE;
use super::{OutcomeKind, Reconciler, StepError, by_aam};
use crate::model::{CommitDraft, CommitId, RepoPath};
use crate::ports::{Cause, ConnectionRow, Intent, Lease};
use crate::spec::Connection;

/// The effect of an intent to commit to the tracked branch.
const COMMIT: &str = "commit";

impl Reconciler {
    /// Looks up every interrupted effect but a sync, which is followed, and the rows of one, which are normalized. Engine
    /// objects are found by their owner mark and compared by the steps that make them, so their intents tell nothing more;
    /// that of an update tells it from a person's edit.
    pub(super) async fn settle_left_over(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        if let Some(lock) = &connection.lock {
            self.finish_rule_commit(connection, &lock.fingerprint, lease).await?;
        }
        let intents = self.doors.registry.intents(Some(row.id)).await?;
        let syncing = intents.iter().any(|intent| intent.effect == "sync");
        for intent in intents {
            if is_expected(&intent, syncing, row) {
                continue;
            }
            if intent.effect == COMMIT {
                self.look_up_commit(&intent, lease).await?;
            }
            if intent.effect == CLEAR {
                self.look_up_clear(&intent, row, lease).await?;
            }
            if intent.effect == UPDATE {
                self.look_up_update(&intent, row, lease).await?;
            }
            if let Some(kind) = end_updated_by(&intent.effect) {
                self.look_up_end(kind, &intent, row, lease).await?;
            }
            self.doors.registry.settle(lease, intent.id).await?;
        }
        Ok(OutcomeKind::Applied)
    }

    /// Notes that a commit is about to be made.
    pub(super) async fn begin_commit(
        &self,
        draft: &CommitDraft,
        summary: &str,
        lease: &Lease,
    ) -> Result<uuid::Uuid, StepError> {
        let Some(edit) = draft.edits.first() else {
            return Err(StepError::Spec(format!("`{}` changes no file", draft.subject)));
        };
        let detail = json!({"subject": draft.subject, "content": digest(edit.after.as_deref()), "summary": summary});
        self.begin(lease, COMMIT, edit.path.as_str(), detail).await
    }

    /// Notes a commit that was made, and settles its intent.
    pub(super) async fn end_commit(
        &self,
        intent: uuid::Uuid,
        commit: &CommitId,
        subject: &str,
        summary: &str,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let cause = by_aam(summary, json!({"commit": commit, "subject": subject}));
        self.audit_once(lease, "repo.committed", "commit", &cause).await?;
        Ok(self.doors.registry.settle(lease, intent).await?)
    }

    /// Finds the commit that an intent announced by the content it gave the file.
    async fn look_up_commit(&self, intent: &Intent, lease: &Lease) -> Result<(), StepError> {
        let text = |key: &str| intent.detail[key].as_str().unwrap_or_default();
        let Ok(path) = RepoPath::new(&intent.key) else { return Ok(()) };
        for entry in self.doors.repo.log(&path, 20).await? {
            let content = self.doors.repo.file_at(&entry.commit, &path).await?;
            if entry.subject == text("subject") && digest(content.as_deref()) == text("content") {
                let cause = by_aam(text("summary"), json!({"commit": entry.commit, "subject": entry.subject}));
                return self.audit_once(lease, "repo.committed", "commit", &cause).await;
            }
        }
        Ok(())
    }

    /// Adds an audit line unless one of the newest lines has the same action and the same `key` in its detail.
    pub(super) async fn audit_once(
        &self,
        lease: &Lease,
        action: &str,
        key: &str,
        cause: &Cause,
    ) -> Result<(), StepError> {
        let newest = self.doors.registry.audit_log(&lease.tenant, Some(lease.connection), 50).await?;
        if newest.iter().any(|line| line.action == action && line.detail[key] == cause.detail[key]) {
            return Ok(());
        }
        Ok(self.doors.registry.audit(&lease.tenant, action, Some(lease.connection), cause).await?)
    }
}

fn digest(content: Option<&str>) -> String {
    content.map_or_else(|| "absent".to_owned(), |text| hex::encode(Sha256::digest(text)))
}
