//! What people are shown: the report, and what uncommitted edits would do.

use std::collections::BTreeSet;

use super::{Gathered, Reconciler, TurnError, resolved};
use crate::model::{ConnectionId, ConnectionRef};
use crate::plan::{Confirmed, ConnectionPlan, Limits, Plan, Step};
use crate::ports::Snapshot;
use crate::spec;
use crate::status::{ConnectionReport, Pinned, PlansTrouble, Report, Sources, Unowned};

impl Reconciler {
    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.policy().limits
    }

    /// The limits for a command that holds to a plan, or confirms removals: those that are planned now, and none that come
    /// later. The inner error: the plan is another one by now, this one.
    pub async fn agree(
        &self,
        digest: Option<&str>,
        confirm_removals: bool,
    ) -> Result<Result<Limits, Box<Gathered>>, TurnError> {
        let mut limits = self.limits();
        if confirm_removals {
            limits.confirmed = Confirmed::All;
        } else if digest.is_none() {
            return Ok(Ok(limits));
        }
        let gathered = self.gather(Some(&limits)).await?;
        let plan = gathered.plan();
        if digest.is_some_and(|expected| plan.digest() != expected) {
            return Ok(Err(Box::new(gathered)));
        }
        if confirm_removals {
            limits.confirmed = Confirmed::Only(plan.removals());
        }
        Ok(Ok(limits))
    }

    /// Where everything stands, with the newest job and the dead letters of each connection.
    pub async fn report(&self, gathered: &Gathered) -> Result<Report, TurnError> {
        let plan = gathered.plan();
        let stale: Vec<ConnectionRef> = gathered
            .desired()
            .connections
            .values()
            .filter(|c| gathered.desired().stale.contains(&c.path))
            .map(|c| c.name.clone())
            .collect();
        let mut diagnostics = gathered.diagnostics().to_vec();
        diagnostics.extend(spec::ended_pins(gathered.desired(), gathered.now));
        let sources =
            Sources { rows: &gathered.rows, drifts: &gathered.drifts, diagnostics: &diagnostics, stale: &stale };
        let mut report = Report::new(&plan, sources);
        let mut jobs = self.doors.registry.newest_jobs().await?;
        let dead_letters = self.doors.events.dead_letter_counts().await?;
        report.branch = gathered.info.branch.clone();
        report.blocked = gathered.info.blocked.clone();
        report.remote = gathered.info.remote.clone();
        report.plans = self.doors.forge.as_ref().and_then(|forge| {
            let (project, trouble) = (forge.project().to_owned(), forge.trouble()?);
            Some(PlansTrouble { project, trouble })
        });
        report.unowned = self.undeclared(gathered);
        for (connection, planned) in report.connections.iter_mut().zip(&plan.connections) {
            if let Some(declared) = gathered.desired().connections.get(&planned.name) {
                connection.held = gathered.held(declared).into_iter().collect();
                let pin = declared.pin.as_ref().filter(|pin| pin.holds(gathered.now));
                connection.pin = pin.map(|pin| Pinned {
                    version: pin.version,
                    until: pin.until.clone(),
                    ends: pin.ends,
                    by: pin.by.clone(),
                    reason: pin.reason.clone(),
                });
            }
            if let Some(id) = planned.id {
                self.keep_standing(id, planned, connection);
                connection.job = jobs.remove(&id);
                connection.dead_letters = dead_letters.get(&id).copied().unwrap_or(0);
            }
        }
        Ok(report)
    }

    /// What of the engine neither the registry nor a spec knows.
    fn undeclared(&self, gathered: &Gathered) -> Vec<Unowned> {
        let declared: BTreeSet<String> = gathered
            .desired()
            .connections
            .values()
            .flat_map(|c| [c.airbyte.id, c.source.airbyte.id, c.destination.airbyte.id])
            .flatten()
            .map(|id| id.to_string())
            .collect();
        let all = self.unowned().into_iter().filter(|(_, id, _)| !declared.contains(&id.0));
        all.map(|(kind, id, name)| Unowned { kind, name, id: id.0 }).collect()
    }

    /// Where a connection with a refused commit stands is shown as it was while that commit is tried again.
    fn keep_standing(&self, id: ConnectionId, planned: &ConnectionPlan, shown: &mut ConnectionReport) {
        let mut cache = self.cache.lock().expect("no panic while held");
        let Some(refusal) = cache.refused.get_mut(&id) else { return };
        let commits = |step: &Step| {
            matches!(step, Step::CommitLock { .. } | Step::CommitRepair { .. } | Step::CommitRejection { .. })
        };
        if !planned.steps.iter().any(commits) {
            refusal.standing = Some(planned.standing.clone());
        } else if let Some(standing) = &refusal.standing {
            shown.standing = standing.clone();
            shown.summary = crate::plan::describe(standing);
        }
    }

    /// The plan that would follow if these files were committed now.
    pub fn plan_if(&self, gathered: &Gathered, files: Snapshot) -> Plan {
        gathered.plan_with(&resolved::resolve(files, &gathered.resolved.good, &self.policy()).0)
    }

    /// Check and plan of the work tree where it differs from the committed state, a line each.
    pub async fn uncommitted(&self, gathered: &Gathered) -> Result<Vec<String>, TurnError> {
        let snapshot = self.doors.repo.worktree().await?;
        if snapshot.files == gathered.resolved.files {
            return Ok(Vec::new());
        }
        let last_good = self.doors.registry.last_good().await?;
        let (edited, _) = resolved::resolve(snapshot, &last_good, &self.policy());
        let mut lines: Vec<String> = edited
            .diagnostics
            .iter()
            .filter(|problem| !gathered.resolved.diagnostics.contains(problem))
            .map(|problem| {
                let place =
                    problem.place.as_ref().map(|p| format!("{}:{}:{}: ", p.file, p.line, p.column)).unwrap_or_default();
                format!("{place}{} {}", problem.code, problem.message)
            })
            .collect();
        let before = gathered.plan();
        let after = gathered.plan_with(&edited);
        for connection in after.connections {
            let planned = before.connections.iter().find(|c| c.name == connection.name);
            for step in connection
                .steps
                .iter()
                .filter(|step| !step.is_routine() && !planned.is_some_and(|p| p.steps.contains(step)))
            {
                lines.push(format!("{}: would {}", connection.name, step.describe()));
            }
        }
        Ok(lines)
    }
}
