//! Dispatches the steps of a plan, one connection at a time under its lease, and keeps what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Gathered, Reconciler, StepError, TurnError, by_aam};
use crate::model::{ConnectionId, ConnectionRef};
use crate::plan::{ConnectionPlan, Plan, Step};
use crate::ports::{ConnectionRow, ConnectionStatus, Lease, RegistryError, sent};
use crate::spec::Connection;

/// Beyond its end, a dead process' lease is waited for this long.
const GRACE: Duration = Duration::from_secs(1);

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whose.
    pub connection: ConnectionRef,
    /// What was to be done.
    pub step: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: OutcomeKind,
    /// Until when a failed step rests; absent where nothing, or the connection's own retry time, says so.
    pub retry_at: Option<DateTime<Utc>>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
pub enum OutcomeKind {
    /// It changed something.
    Applied,
    /// It was so already.
    Unchanged,
    /// Another process works on the connection; it is tried again.
    Busy,
    /// It was left for later, and why.
    Skipped(String),
    /// It failed, and why.
    Failed(String),
}

/// A piece of a plan that runs by itself: one connection, or one source that several connections look at.
#[derive(Debug, Clone)]
pub enum WorkItem {
    /// Discover one source for these connections.
    Look(Vec<ConnectionRef>),
    /// The other steps of one connection.
    Connection(ConnectionPlan),
}

impl WorkItem {
    /// Connections that are busy while it runs.
    pub fn connections(&self) -> Vec<ConnectionRef> {
        match self {
            Self::Look(names) => names.clone(),
            Self::Connection(plan) => vec![plan.name.clone()],
        }
    }

    /// What it does, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Look(_) => Step::Look.describe(),
            Self::Connection(plan) => plan.steps.iter().map(Step::describe).collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether what follows in it waits for the step with this description.
    fn holds_back(&self, step: &str) -> bool {
        match self {
            Self::Look(_) => false,
            Self::Connection(plan) => plan.steps.iter().any(|s| s.holds_back() && s.describe() == step),
        }
    }

    /// Whether the step with this description, refused, is offered as a branch in its place.
    fn offers_instead(&self, step: &str) -> bool {
        match self {
            Self::Look(_) => false,
            Self::Connection(plan) => {
                plan.steps.iter().any(|s| matches!(s, Step::CommitRepair { .. }) && s.describe() == step)
            }
        }
    }

    /// What is left of it without the steps that rest, if anything.
    pub fn without(self, rests: impl Fn(&ConnectionRef, &Step) -> bool) -> Option<Self> {
        match self {
            Self::Look(mut names) => {
                names.retain(|name| !rests(name, &Step::Look));
                (!names.is_empty()).then_some(Self::Look(names))
            }
            Self::Connection(mut plan) => {
                plan.steps.retain(|step| !rests(&plan.name, step));
                (!plan.steps.is_empty()).then_some(Self::Connection(plan))
            }
        }
    }
}

/// Splits a plan into items that may run side by side. Looks come first: what they find is planned anew.
pub fn work_items(gathered: &Gathered, plan: &Plan) -> Vec<WorkItem> {
    let mut looks: BTreeMap<&ConnectionRef, BTreeSet<ConnectionRef>> = BTreeMap::new();
    let mut items = Vec::new();
    let mut looking = BTreeSet::new();
    for connection_plan in &plan.connections {
        let Some(connection) = gathered.desired().connections.get(&connection_plan.name) else { continue };
        if connection_plan.steps.contains(&Step::Look) && !connection_plan.steps.iter().any(Step::holds_back) {
            looks.entry(&connection.source.name).or_default().insert(connection.name.clone());
        }
    }
    for connection in gathered.desired().connections.values() {
        // Whoever shares the source is looked at with it, due or not.
        if let Some(names) = looks.get_mut(&connection.source.name)
            && gathered.row_of(connection).is_some_and(|row| row.version > 0)
        {
            names.insert(connection.name.clone());
        }
    }
    for names in looks.into_values() {
        looking.extend(names.iter().cloned());
        items.push(WorkItem::Look(names.into_iter().collect()));
    }
    for connection_plan in &plan.connections {
        let steps: Vec<Step> = connection_plan.steps.iter().filter(|step| **step != Step::Look).cloned().collect();
        if !steps.is_empty() && !looking.contains(&connection_plan.name) {
            items.push(WorkItem::Connection(ConnectionPlan { steps, ..connection_plan.clone() }));
        }
    }
    items
}

impl Reconciler {
    /// Carries one item out. Failures become outcomes and the connection's status; other items go on.
    pub async fn execute(&self, gathered: &Arc<Gathered>, item: &WorkItem) -> Vec<Outcome> {
        match item {
            WorkItem::Look(names) => self.look(gathered, names).await,
            WorkItem::Connection(plan) => self.execute_connection(gathered, plan).await,
        }
    }

    async fn execute_connection(&self, gathered: &Arc<Gathered>, plan: &ConnectionPlan) -> Vec<Outcome> {
        self.forget_secrets(Some(&plan.name));
        let outcome =
            |step: &Step, kind| Outcome { connection: plan.name.clone(), step: step.describe(), kind, retry_at: None };
        let troubles = plan.id.and_then(|id| gathered.row(id)).map(|row| row.troubles.clone()).unwrap_or_default();
        let (lease, naming) = match self.take_leases(gathered, plan).await {
            Ok(Some(leases)) => leases,
            Ok(None) => return plan.steps.first().map(|step| outcome(step, OutcomeKind::Busy)).into_iter().collect(),
            Err(error) => {
                return plan
                    .steps
                    .first()
                    .map(|s| outcome(s, OutcomeKind::Failed(error.to_string())))
                    .into_iter()
                    .collect();
            }
        };
        self.tried(&plan.name);
        let work = async {
            let mut outcomes = Vec::new();
            for step in &plan.steps {
                let done = match self.execute_step(gathered, plan, step, &lease).await {
                    Err(wait @ (StepError::Moving(_) | StepError::Busy(_))) => {
                        Ok(OutcomeKind::Skipped(wait.to_string()))
                    }
                    other => other,
                };
                match done {
                    Ok(kind) => {
                        let skipped = matches!(kind, OutcomeKind::Skipped(_));
                        outcomes.push(outcome(step, kind));
                        if skipped && step.holds_back() {
                            break;
                        }
                    }
                    Err(error) => {
                        let mut failed = outcome(step, OutcomeKind::Failed(error.to_string()));
                        tracing::warn!(connection.name = %plan.name, "connection {}: {}: {error}", plan.name, failed.step);
                        if is_vital(step) {
                            self.note_failure(gathered, plan, step, &lease, &error).await;
                        } else {
                            failed.retry_at = Some(self.next_try(&troubles, step, &error, &lease));
                        }
                        outcomes.push(failed);
                        if step.holds_back() || matches!(error, StepError::Registry(_)) {
                            break;
                        }
                    }
                }
            }
            self.note_troubles(&troubles, &outcomes, &lease).await;
            outcomes
        };
        let leases: Vec<Lease> = std::iter::once(lease.clone()).chain(naming).collect();
        let outcomes = Box::pin(self.with_renewal(&leases, work)).await;
        for lease in &leases {
            if let Err(error) = self.doors.registry.release(lease).await {
                tracing::warn!(connection.name = %plan.name, "connection {}: giving its lease back: {error}", plan.name);
            }
        }
        outcomes
    }

    /// The lease of a connection; of a new one also the lease of its name, which stands for it until its row is there:
    /// two processes must not give one new connection two identities.
    async fn take_leases(
        &self,
        gathered: &Gathered,
        plan: &ConnectionPlan,
    ) -> Result<Option<(Lease, Option<Lease>)>, RegistryError> {
        if let Some(id) = plan.id {
            let Some(lease) = self.take_lease(&plan.name, id).await? else { return Ok(None) };
            if !self.is_as_planned(gathered, plan, id).await? {
                // another daemon was here since: planned again
                return self.doors.registry.release(&lease).await.map(|()| None);
            }
            return Ok(Some((lease, None)));
        }
        let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, plan.name.to_string().as_bytes());
        let Some(naming) = self.take_lease(&plan.name, ConnectionId(name)).await? else { return Ok(None) };
        let planned_with = |id| gathered.row(id).is_some();
        let rows = self.doors.registry.connections_named(&plan.name).await?;
        let lease = match rows.iter().any(|row| !planned_with(row.id)) {
            true => None,
            false => self.take_lease(&plan.name, ConnectionId(uuid::Uuid::now_v7())).await?,
        };
        match lease {
            Some(lease) => Ok(Some((lease, Some(naming)))),
            None => self.doors.registry.release(&naming).await.map(|()| None),
        }
    }

    async fn execute_step(
        &self,
        gathered: &Arc<Gathered>,
        plan: &ConnectionPlan,
        step: &Step,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let row = self.fresh_row(lease.connection).await?;
        if let Step::Retire { on_delete } = step {
            let row = row.ok_or_else(|| StepError::Spec(format!("connection {} is not in the registry", plan.name)))?;
            return self.retire(&row, *on_delete, lease).await;
        }
        let connection = gathered
            .desired()
            .connections
            .get(&plan.name)
            .ok_or_else(|| StepError::Spec(format!("connection {} is declared no more", plan.name)))?;
        match step {
            Step::Onboard { .. } => return self.onboard(gathered, connection, row.as_ref(), lease).await,
            Step::Adopt => return self.adopt(connection, row.as_ref(), lease).await,
            _ => {}
        }
        let row = row.ok_or_else(|| StepError::Spec(format!("connection {} is not in the registry", plan.name)))?;
        match step {
            Step::Onboard { .. } | Step::Adopt | Step::Retire { .. } => unreachable!("answered above"),
            Step::Look => Ok(OutcomeKind::Unchanged),
            Step::Rename { from } => {
                self.leave_branches_of(from).await?;
                let cause =
                    by_aam(format!("connection {from} is now called {}", connection.name), json!({"from": from}));
                self.doors.registry.declare(lease, &connection.name, &cause).await?;
                Ok(OutcomeKind::Applied)
            }
            Step::Settle => self.settle_left_over(connection, &row, lease).await,
            Step::Resume => self.resume(connection, &row, lease).await,
            Step::Heal { to, .. } => {
                let held = self.to_hold(gathered, connection);
                self.heal(connection, &row, to, &held, lease).await
            }
            Step::ApplySettings { digest, secrets, .. } => {
                let held = self.to_hold(gathered, connection);
                self.apply_settings(connection, &row, digest, secrets, &held, lease).await
            }
            Step::Hold { streams } => match &connection.lock {
                Some(lock) => self.hold(connection, &row, lock, streams, lease).await,
                None => Ok(OutcomeKind::Skipped("its lock is not committed yet".into())),
            },
            Step::NoteSync { job } => self.note_sync(gathered, connection, &row, *job, lease).await,
            Step::CommitLock { why, draft } => self.commit_lock(connection, why, draft, lease).await,
            Step::CommitRejection { by, why, draft } => self.commit_rejection(connection, by, why, draft, lease).await,
            Step::OfferRejection { branch, draft } => self.offer_rejection(connection, (branch, draft), lease).await,
            Step::NoteRejections { rejections } => self.note_rejections(gathered, connection, rejections, lease).await,
            Step::Keep => self.keep(gathered, connection, &row, lease).await,
            Step::Sample => self.sample(gathered, connection, &row, lease).await,
            Step::Try => self.try_repair(gathered, connection, &row, lease).await,
            Step::CommitRepair { target, rule, draft } => {
                self.commit_repair(gathered, connection, target, rule, draft, lease).await
            }
            Step::Propose { target, branch, draft } => {
                let proposed = self.propose(gathered, connection, target, branch, draft, lease).await?;
                if let Some(drifted) = gathered.drifted.get(&row.id) {
                    self.forget_kept(drifted, &row, lease).await?;
                }
                Ok(proposed)
            }
            Step::NoteDrift { target, why } => self.note_drift(gathered, connection, target, why, lease).await,
            Step::CloseDrift { drift, branch, why } => {
                let closed = self.close_drift(&connection.name, *drift, branch.as_deref(), why, lease).await?;
                if let Some(lock) = &connection.lock {
                    self.forget_arrivals(&row, &lock.catalog, lease).await?;
                }
                Ok(closed)
            }
            Step::ProposeLive { branch, digest, draft } => {
                self.propose_live(connection, &row, (branch, digest, draft), lease).await
            }
            Step::RevertLive { properties } => self.revert_live(connection, &row, properties, lease).await,
            Step::LeaveBranch { branch, why } => self.leave_branch(&connection.name, branch, *why, lease).await,
            Step::FollowSync => self.follow_sync(gathered, connection, &row, lease).await,
            Step::Sync => self.start_sync(gathered, connection, &row, lease).await,
            Step::Normalize { job } => self.normalize(gathered, connection, &row, *job, lease).await,
            Step::Replay { .. } => self.replay(gathered, connection, &row, lease).await,
        }
    }

    /// Writes the failure of a vital step into the connection's status.
    async fn note_failure(
        &self,
        gathered: &Gathered,
        plan: &ConnectionPlan,
        step: &Step,
        lease: &Lease,
        error: &StepError,
    ) {
        if matches!(error, StepError::Registry(_)) {
            return;
        }
        let Ok(Some(row)) = self.fresh_row(lease.connection).await else { return };
        let reason = error.to_string();
        let retry_at = error.retry_at(self.doors.clock.now(), row.failures, lease.connection);
        let cause = by_aam(format!("{}: {reason}", step.describe()), json!({"step": step.describe()}));
        let tried = gathered.desired().connections.get(&plan.name).map(|connection| {
            let secrets = self.secrets_of(connection).ok();
            crate::plan::attempt(connection, secrets.as_deref())
        });
        let write = async {
            let registry = &self.doors.registry;
            registry
                .set_status(lease, ConnectionStatus::Failed, Some(&reason), Some(retry_at), row.paused, &cause)
                .await?;
            match &tried {
                Some(tried) => registry.set_tried(lease, tried).await,
                None => Ok(()),
            }
        };
        if let Err(error) = write.await {
            tracing::error!(connection.name = %plan.name, "connection {}: recording its failure: {error}", plan.name);
        }
    }

    pub(super) async fn take_lease(
        &self,
        name: &ConnectionRef,
        id: ConnectionId,
    ) -> Result<Option<Lease>, RegistryError> {
        self.doors.registry.lease(&name.tenant, id, &self.holder, self.policy().lease_ttl).await
    }

    /// Renews leases at a third of their life while the work goes on; a lost lease shows at the work's next write.
    pub(super) async fn with_renewal<T>(&self, leases: &[Lease], work: impl Future<Output = T>) -> T {
        let ttl = self.policy().lease_ttl;
        let done = CancellationToken::new();
        // Never cut off in the midst of a renewal: that could leave a pooled connection inside a transaction.
        let renew = async {
            let mut held: Vec<&Lease> = leases.iter().collect();
            while tokio::time::timeout(ttl / 3, done.cancelled()).await.is_err() {
                let mut still = Vec::new();
                for lease in held {
                    let renewed = self.doors.registry.renew(lease, ttl).await;
                    if let Err(error) = &renewed {
                        tracing::warn!(connection.id = %lease.connection, "connection {}: renewing its lease: {error}", lease.connection);
                    }
                    if !matches!(renewed, Err(RegistryError::LeaseLost(_))) {
                        still.push(lease);
                    }
                }
                held = still;
            }
        };
        let work = async {
            let result = work.await;
            done.cancel();
            result
        };
        tokio::join!(work, renew).0
    }

    /// Asks for an effect outside of the registry ([`sent`]), unless the lease went to another holder: who slept would act on
    /// what was so before. What is left is the moment between this question and the effect.
    pub(super) async fn sent_under<T>(
        &self,
        lease: &Lease,
        effect: &str,
        send: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        let ttl = self.policy().lease_ttl;
        let asking = async {
            self.doors.registry.renew(lease, ttl).await?;
            Ok(send.await)
        };
        sent(effect, asking).await
    }

    pub(super) async fn fresh_row(&self, id: ConnectionId) -> Result<Option<ConnectionRow>, RegistryError> {
        self.doors.registry.connection(id).await
    }

    /// Plans and carries out until nothing but waiting is left: what commands do without a daemon. A connection with a
    /// failed or skipped step rests, or that step alone if nothing waits for it; a running sync is followed to its end. A lease in the way is waited for as long as
    /// that of a killed process may last. `report` hears of each outcome as it comes.
    pub async fn settle(
        &self,
        limits: Option<&crate::plan::Limits>,
        mut report: impl FnMut(&Outcome),
    ) -> Result<(Arc<Gathered>, Vec<Outcome>), TurnError> {
        let mut all = Vec::new();
        let mut resting: BTreeSet<ConnectionRef> = BTreeSet::new();
        let mut resting_steps: BTreeSet<(ConnectionRef, String)> = BTreeSet::new();
        let patience = Instant::now() + self.policy().lease_ttl + GRACE;
        // Onboard, look, repair, heal, sync, normalize: no connection needs more rounds that change something.
        let mut rounds = 20;
        while rounds > 0 {
            let gathered = Arc::new(self.gather_to_act(limits).await?);
            let items: Vec<WorkItem> = work_items(&gathered, &gathered.plan())
                .into_iter()
                .filter(|item| !item.connections().iter().all(|name| resting.contains(name)))
                .filter_map(|item| item.without(|name, step| resting_steps.contains(&(name.clone(), step.describe()))))
                .collect();
            if items.is_empty() {
                let apart = self.surveys_apart.load(Ordering::Relaxed);
                if apart || !self.requests_due() {
                    return Ok((gathered, all));
                }
                if !self.requests().await? {
                    // What failed there is in the rows.
                    return Ok((Arc::new(self.gather(limits).await?), all));
                }
                rounds -= 1;
                continue;
            }
            let mut changed = false;
            for item in &items {
                for outcome in self.execute(&gathered, item).await {
                    match &outcome.kind {
                        OutcomeKind::Busy if Instant::now() < patience => continue,
                        OutcomeKind::Failed(_) | OutcomeKind::Skipped(_)
                            if !item.holds_back(&outcome.step) || item.offers_instead(&outcome.step) =>
                        {
                            resting_steps.insert((outcome.connection.clone(), outcome.step.clone()));
                        }
                        OutcomeKind::Busy | OutcomeKind::Failed(_) | OutcomeKind::Skipped(_) => {
                            resting.insert(outcome.connection.clone());
                        }
                        OutcomeKind::Applied => changed = true,
                        OutcomeKind::Unchanged => {}
                    }
                    report(&outcome);
                    all.push(outcome);
                }
            }
            if changed {
                rounds -= 1;
            } else {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok((Arc::new(self.gather(limits).await?), all))
    }
}

/// Whether the connection cannot do without it: one that fails ends in status `FAILED`.
fn is_vital(step: &Step) -> bool {
    matches!(
        step,
        Step::Onboard { .. }
            | Step::Adopt
            | Step::Heal { .. }
            | Step::ApplySettings { .. }
            | Step::Resume
            | Step::Retire { .. }
    )
}

/// The engine's object names and owner marks for a connection.
pub(super) fn owner_of_connection(connection: &Connection, id: ConnectionId) -> String {
    format!("connection:{}:{id}", connection.name.tenant)
}
