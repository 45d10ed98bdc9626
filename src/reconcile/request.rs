//! Carries out one action on a request, under its connection's lease and with an intent before each effect.
//!
//! Each is safe to repeat: a request that was opened is found among the open ones, a comment has a mark by which it is found,
//! and a closing is compared with what is shown.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Reconciler, StepError, text_of};
use crate::model::{ConnectionId, ConnectionRef};
use crate::plan::requests::{Doing, Offer, RequestAction, Subject};
use crate::ports::{
    ByRule, Cause, CommitOutcome, Forge, ForgeError, Lease, Merging, RegistryError, Remedy, RequestRow,
    RequestStanding, WITHDRAWN, mark, recorded,
};
use crate::repair;
use crate::spec::Rejection;

/// Characters of a person's reason that are kept.
const REASON: usize = 2_000;

/// What an action came to.
pub(super) struct Acted {
    /// Whether the committed state changed, or what stands beside it.
    pub(super) committed: bool,
    /// Whether it came to nothing yet.
    pub(super) later: bool,
}

impl Reconciler {
    /// The connection's lease, of a holder that the steps of this process wait for as for another process.
    pub(super) async fn request_lease(
        &self,
        name: &ConnectionRef,
        id: ConnectionId,
    ) -> Result<Option<Lease>, RegistryError> {
        let holder = format!("{}:requests", self.holder);
        self.doors.registry.lease(&name.tenant, id, &holder, self.policy().lease_ttl).await
    }

    /// `None`: somebody else works on the connection.
    pub(super) async fn act_on_request<'a>(
        &self,
        forge: &dyn Forge,
        action: &RequestAction,
        row: impl Fn(u64) -> Option<&'a RequestRow>,
    ) -> Result<Option<Acted>, StepError> {
        let Some(lease) = self.request_lease(&action.connection, action.id).await? else { return Ok(None) };
        let acting = self.act_with(forge, action, row, &lease);
        let acted = Box::pin(self.with_renewal(std::slice::from_ref(&lease), acting)).await;
        if let Err(error) = self.doors.registry.release(&lease).await {
            tracing::warn!(connection.name = %action.connection, "connection {}: giving its lease back: {error}", action.connection);
        }
        acted.map(Some)
    }

    async fn act_with<'a>(
        &self,
        forge: &dyn Forge,
        action: &RequestAction,
        row: impl Fn(u64) -> Option<&'a RequestRow>,
        lease: &Lease,
    ) -> Result<Acted, StepError> {
        let known = |number: u64| row(number).cloned().expect("actions are about rows that were handed in");
        match &action.what {
            Doing::Open(offer) => {
                let detail = json!({"head": offer.draft.head, "base": offer.draft.base, "target": offer.target});
                let opened = self.effect("open_request", &offer.draft.head, detail, lease, forge.open(&offer.draft));
                let request = opened.await?;
                self.put_request(action, &self.new_row(forge, offer, request.number, &request.url), lease).await?;
                recorded("open_request");
            }
            Doing::Adopt { number, url, offer } => {
                self.put_request(action, &self.new_row(forge, offer, *number, url), lease).await?;
            }
            Doing::Update { number, what, offer } => {
                let update = forge.update(*number, &offer.draft, what);
                self.effect("update_request", &number.to_string(), Value::Null, lease, update).await?;
                let (drift, target, branch) = (offer.drift, offer.target.clone(), offer.draft.head.clone());
                let row = RequestRow { drift, target, branch, ..known(*number) };
                self.put_request(action, &row, lease).await?;
                recorded("update_request");
            }
            Doing::Tell { number, text, offer } => {
                let word = match offer.stale {
                    // One comment, however often it moves on.
                    true => "stale".to_owned(),
                    false => format!("changes:{}", &hex::encode(Sha256::digest(text))[..16]),
                };
                let text = format!("{}\n{}", repair::request_comment(moved_on(offer), text), mark(&word));
                let tell = forge.upsert_comment(*number, &word, &text);
                self.effect("tell_request", &number.to_string(), Value::Null, lease, tell).await?;
                let mut row = RequestRow { changes: offer.changes.clone(), ..known(*number) };
                if !offer.stale {
                    (row.drift, row.target) = (offer.drift, offer.target.clone());
                }
                self.put_request(action, &row, lease).await?;
                recorded("tell_request");
            }
            Doing::Automate { number, by_rule } => {
                // Noted first: a forge may merge at once, and healing is to know by which rule it was.
                let judged = Some(ByRule { told: false, ..by_rule.clone() });
                let row = known(*number);
                if row.by_rule != judged {
                    self.put_request(action, &RequestRow { by_rule: judged, ..row.clone() }, lease).await?;
                }
                let detail = json!({"rule": by_rule.rule, "tip": by_rule.tip});
                let asked = forge.automate(*number, &by_rule.tip);
                match self.effect("automate_request", &number.to_string(), detail, lease, asked).await? {
                    Merging::Later => return Ok(Acted { committed: false, later: true }),
                    Merging::ByItself => {}
                }
                self.put_request(action, &RequestRow { by_rule: Some(by_rule.clone()), ..row }, lease).await?;
                recorded("automate_request");
            }
            Doing::LeaveToPeople { number } => {
                let leave = forge.leave_to_people(*number);
                self.effect("leave_request", &number.to_string(), Value::Null, lease, leave).await?;
                self.put_request(action, &RequestRow { by_rule: None, ..known(*number) }, lease).await?;
            }
            Doing::Close { number, reason } => {
                let sentence = "Nothing is to be decided here any more, so `aam` closes this request:";
                let text = format!("{}\n{}", repair::request_comment(sentence, reason), mark(WITHDRAWN));
                let close = async {
                    forge.upsert_comment(*number, WITHDRAWN, &text).await?;
                    forge.close(*number).await
                };
                self.effect("close_request", &number.to_string(), Value::Null, lease, close).await?;
                let state = RequestStanding::Withdrawn;
                let row = RequestRow { state, reason: Some(reason.clone()), ..known(*number) };
                self.put_request(action, &row, lease).await?;
                recorded("close_request");
            }
            Doing::NoteMerged { number, by, commit, approvals } => {
                let (by, commit, approvals) = (by.clone(), commit.clone(), approvals.clone());
                let row = RequestRow { state: RequestStanding::Merged, by, commit, approvals, ..known(*number) };
                self.put_request(action, &row, lease).await?;
                // A lock that waits for this person's approval is looked at again.
                return Ok(Acted { committed: true, later: false });
            }
            Doing::NoteClosed { number, by, why } => {
                let (by, reason) = (by.clone(), Some(why.clone()));
                let row = RequestRow { state: RequestStanding::Closed, by, reason, ..known(*number) };
                self.put_request(action, &row, lease).await?;
            }
            Doing::Reject { number, by, reason, approvals } => {
                let row = known(*number);
                let reason: String = reason.chars().take(REASON).collect();
                let committed = self.reject_by_request(action, &row, by, &reason, lease).await?;
                let (by, reason) = (Some(by.clone()), Some(reason));
                let state = RequestStanding::Rejected;
                let row = RequestRow { state, by, reason, approvals: approvals.clone(), ..row };
                self.put_request(action, &row, lease).await?;
                recorded("reject_request");
                return Ok(Acted { committed, later: false });
            }
            Doing::Decline { number, by, reason, approvals } => {
                let row = known(*number);
                self.leave_declined(&row, lease).await?;
                let (by, reason) = (Some(by.clone()), Some(reason.chars().take(REASON).collect()));
                let state = RequestStanding::Rejected;
                let row = RequestRow { state, by, reason, approvals: approvals.clone(), ..row };
                self.put_request(action, &row, lease).await?;
                recorded("decline_request");
                return Ok(Acted { committed: true, later: false });
            }
            Doing::Wait => {}
        }
        Ok(Acted { committed: false, later: false })
    }

    /// An effect with its intent. The intent stays where the outcome is not known: what it was is seen at the next look.
    async fn effect<T>(
        &self,
        effect: &str,
        key: &str,
        detail: Value,
        lease: &Lease,
        doing: impl Future<Output = Result<T, ForgeError>>,
    ) -> Result<T, StepError> {
        let intent = self.begin(lease, effect, key, detail).await?;
        let done = self.sent_under(lease, effect, doing).await?;
        if !matches!(&done, Err(error) if error.remedy() == Remedy::Look) {
            self.doors.registry.settle(lease, intent).await?;
        }
        Ok(done?)
    }

    /// Removes the branch of what is not wanted; a person's own commits on it stay. A lock and a rejection are due all the same,
    /// and stay on theirs.
    async fn leave_declined(&self, row: &RequestRow, lease: &Lease) -> Result<(), StepError> {
        if matches!(row.subject, Subject::Lock | Subject::Rejection) {
            return Ok(());
        }
        match self.sent_under(lease, "withdraw", self.doors.repo.withdraw(&row.branch)).await? {
            Err(error) if error.remedy == Remedy::Person => {
                tracing::info!(connection.id = %row.connection, "connection {}: {error}", row.connection);
                Ok(())
            }
            withdrawn => Ok(withdrawn?),
        }
    }

    /// Commits the rejection of what a request showed, as `aam drift reject` does; whether it was not in force yet. Where the
    /// tracked branch does not take it, it is in force all the same, and offered to be written down.
    async fn reject_by_request(
        &self,
        action: &RequestAction,
        row: &RequestRow,
        by: &str,
        reason: &str,
        lease: &Lease,
    ) -> Result<bool, StepError> {
        let name = &action.connection;
        let rejection = Rejection {
            fingerprint: row.target.parse().map_err(StepError::Spec)?,
            by: format!("{by} ({})", row.url),
            at: self.doors.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            reason: reason.to_owned(),
            changes: row.changes.clone(),
        };
        let path = repair::rejected_path(name).map_err(|e| StepError::Spec(e.to_string()))?;
        let existing = text_of(&self.doors.repo.committed().await?.files, &path);
        let draft = repair::reject(name, existing.as_deref(), &rejection).map_err(StepError::Spec)?;
        let Some(draft) = draft else { return Ok(false) };
        let summary = format!("connection {name}: rejected on the forge ({})", row.url);
        let intent = self.begin_commit(&draft, &summary, lease).await?;
        match self.sent_under(lease, "reject_request", self.doors.repo.commit(&draft)).await?? {
            CommitOutcome::Committed(commit) => {
                self.end_commit(intent, &commit, &draft.subject, &summary, lease).await?;
                Ok(true)
            }
            CommitOutcome::Moved => {
                self.doors.registry.settle(lease, intent).await?;
                Err(StepError::Busy(format!("the rejection of {name}, while the tracked branch moved,")))
            }
            CommitOutcome::Refused(why) => {
                self.keep_rejection(name, &rejection, &why, lease).await?;
                self.doors.registry.settle(lease, intent).await?;
                Ok(true)
            }
        }
    }

    fn new_row(&self, forge: &dyn Forge, offer: &Offer, number: u64, url: &str) -> RequestRow {
        let now = self.doors.clock.now();
        RequestRow {
            connection: offer.id,
            project: forge.project().to_owned(),
            number,
            url: url.to_owned(),
            branch: offer.draft.head.clone(),
            subject: offer.subject,
            drift: offer.drift,
            target: offer.target.clone(),
            changes: offer.changes.clone(),
            by_rule: None,
            state: RequestStanding::Open,
            approvals: Vec::new(),
            by: None,
            commit: None,
            reason: None,
            opened_at: now,
            changed_at: now,
        }
    }

    /// Notes a request with an audit line that names who, where and what.
    async fn put_request(&self, action: &RequestAction, row: &RequestRow, lease: &Lease) -> Result<(), StepError> {
        let row = RequestRow { changed_at: self.doors.clock.now(), ..row.clone() };
        let actor = row.by.as_ref().map_or_else(|| "aam".to_owned(), |by| format!("{by} ({})", row.project));
        let detail = json!({
            "request": row.url, "subject": row.subject, "fingerprint": row.target, "drift": row.drift, "by": row.by,
            "approvals": row.approvals, "commit": row.commit, "reason": row.reason,
        });
        let summary = format!("connection {}: {}", action.connection, action.describe());
        Ok(self.doors.registry.put_request(lease, &row, &Cause { actor, summary, detail }).await?)
    }
}

/// What a comment on changes begins with.
fn moved_on(offer: &Offer) -> &'static str {
    match (offer.subject, offer.stale) {
        (Subject::Drift, false) => "The source moved on: what this request repairs has changed.",
        (Subject::Drift, true) => {
            "The source moved on, and this branch is out of date: it holds commits of a person, so `aam` leaves it as it is. Merge \
             it, and the rest is asked anew; or delete the branch, and all of it is."
        }
        (_, false) => "What this request is about has changed.",
        (_, true) => {
            "What this request is about has changed, and this branch is out of date: it holds commits of a person, so `aam` leaves \
             it as it is. Delete the branch to have it made anew."
        }
    }
}
