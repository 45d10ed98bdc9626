//! The branches that are open for review, and what their requests should say.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Gathered, Reconciler, TurnError};
use crate::drift::line_of;
use crate::model::ConnectionRef;
use crate::plan::requests::{Offer, Subject};
use crate::ports::{ConnectionRow, ConnectionStatus, DriftStatus, Forge, RepairBranch, RequestDraft, mark};
use crate::repair::{self, RequestText};

impl Reconciler {
    /// Every branch that aam offers.
    pub(super) async fn offers(&self, gathered: &Gathered, forge: &dyn Forge) -> Result<Vec<Offer>, TurnError> {
        let Some(base) = &gathered.info.branch else { return Ok(Vec::new()) };
        let branches = self.doors.repo.repair_branches().await?.into_iter().filter(|branch| !branch.merged);
        let branches: BTreeMap<String, RepairBranch> = branches.map(|branch| (branch.name.clone(), branch)).collect();
        let mut offers = Vec::new();
        if branches.is_empty() {
            return Ok(offers);
        }
        for row in gathered.rows.iter().filter(|row| row.status != ConnectionStatus::Retired) {
            offers.extend(self.drift_offer(gathered, forge, row, (&branches, base)).await?);
            for subject in Subject::ALL {
                let branch = branch_of(subject, &row.name).and_then(|name| branches.get(&name));
                if let Some(branch) = branch {
                    offers.push(self.branch_offer(gathered, forge, row, (subject, branch, base)).await?);
                }
            }
        }
        Ok(offers)
    }

    /// The repair of a connection's drift.
    async fn drift_offer(
        &self,
        gathered: &Gathered,
        forge: &dyn Forge,
        row: &ConnectionRow,
        (branches, base): (&BTreeMap<String, RepairBranch>, &str),
    ) -> Result<Option<Offer>, TurnError> {
        let is_pending = |status| status == DriftStatus::Pending;
        let drift = gathered.drifts.iter().find(|drift| drift.connection == row.id && is_pending(drift.status));
        let Some(drift) = drift else { return Ok(None) };
        let Some(branch) = drift.branch.as_ref().and_then(|name| branches.get(name)) else { return Ok(None) };
        // What is out of date here is proposed anew by the next turn, and told then.
        let current = gathered.open_drift(row.id).is_some_and(|(target, _)| target == drift.target);
        let (true, Some(file)) = (current, gathered.drift_file(row.id)) else { return Ok(None) };
        let Ok(path) = repair::drift_path(&row.name, &drift.target) else { return Ok(None) };
        let stale = branch.edited && self.doors.repo.file_at(&branch.tip, &path).await?.is_none();
        let mut rule = None;
        if let Some(drifted) = gathered.drifted(row.id)
            && let Some((_, draft)) = drifted.proposed()
            && branch.name == repair::rule_branch(&row.name)
            // Nobody else's commit, nor another one of ours.
            && self.carries(branch, &draft).await?
        {
            rule.clone_from(&drifted.by_rule);
        }
        let link = forge.link(&branch.name, path.as_str());
        let text = repair::request_text(&row.name, (&file, &link), rule.as_deref(), forge.longest_text());
        Ok(Some(Offer {
            connection: row.name.clone(),
            id: row.id,
            subject: Subject::Drift,
            drift: Some(drift.id),
            target: drift.target.to_string(),
            changes: drift.changes.iter().map(line_of).collect(),
            tip: branch.tip.clone(),
            stale,
            draft: self.request_draft(branch, base, text, rule.is_some()),
            rule,
        }))
    }

    /// What is offered beside a drift. Each says what its branch holds; one that moved on without its branch, because a person
    /// committed there, is told.
    async fn branch_offer(
        &self,
        gathered: &Gathered,
        forge: &dyn Forge,
        row: &ConnectionRow,
        (subject, branch, base): (Subject, &RepairBranch, &str),
    ) -> Result<Offer, TurnError> {
        let message = self.doors.repo.branch_message(&branch.name).await?;
        let diff = self.doors.repo.branch_diff(&branch.name).await?;
        let live = gathered.facts.get(&row.id).and_then(|facts| facts.live_offer.as_ref());
        let moved = live.filter(|live| subject == Subject::LiveEdit && branch.edited && live.moved);
        let target = match subject {
            // Asked for again, it is another one, though it holds the same.
            Subject::Rollback => branch.tip.to_string(),
            Subject::Drift | Subject::LiveEdit | Subject::Lock | Subject::Rejection => {
                hex::encode(Sha256::digest(&diff))
            }
        };
        let said = match (subject, moved) {
            (Subject::LiveEdit, Some(live)) => live.draft.body.as_str(),
            // Its subject and a line between come first.
            (Subject::LiveEdit, None) => message.split_once("\n\n").map_or("", |(_, body)| body),
            _ => "",
        };
        let is_said = |line: &&str| !line.trim().is_empty() && !line.starts_with("Aam-");
        let text = subject.text(&row.name, (&branch.name, &message, &diff), forge.longest_text());
        Ok(Offer {
            connection: row.name.clone(),
            id: row.id,
            subject,
            drift: None,
            target,
            changes: said.lines().filter(is_said).map(str::to_owned).collect(),
            tip: branch.tip.clone(),
            stale: moved.is_some(),
            rule: None,
            draft: self.request_draft(branch, base, text, false),
        })
    }

    /// One that the forge merges by itself is no draft: it would not.
    fn request_draft(&self, branch: &RepairBranch, base: &str, text: RequestText, by_itself: bool) -> RequestDraft {
        let policy = self.policy().requests;
        RequestDraft {
            head: branch.name.clone(),
            base: base.to_owned(),
            title: text.title,
            body: format!("{}\n{}", text.body, mark(&text.digest)),
            labels: policy.labels,
            draft: policy.draft && !by_itself,
        }
    }
}

/// The branch of what is offered beside a drift.
pub(super) fn branch_of(subject: Subject, connection: &ConnectionRef) -> Option<String> {
    Some(match subject {
        Subject::Drift => return None,
        Subject::Rollback => repair::rollback_branch(connection),
        Subject::LiveEdit => repair::live_branch(connection),
        Subject::Lock => repair::lock_branch(connection),
        Subject::Rejection => repair::rejection_branch(connection),
    })
}
