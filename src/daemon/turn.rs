//! One turn after the other: gather, plan, start what is not busy; collect what ended; answer who asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::{Answer, Asked, OutcomeLine, Request};
use crate::model::{ConnectionId, ConnectionRef};
use crate::plan::{Confirmed, Limits, Plan, Step};
use crate::reconcile::{Ask, Gathered, Outcome, OutcomeKind, Reconciler, WorkItem, work_items};

use super::tasks::{Finished, Tasks};

/// How long a connection is left alone after a bug of ours ended its step.
const PANIC_REST: Duration = Duration::from_secs(60);

/// A command that waits until nothing is left to do.
struct Waiter {
    asked: Asked,
    outcomes: Vec<OutcomeLine>,
    /// Removals that it confirmed, while they are planned.
    confirmed: BTreeSet<ConnectionId>,
    /// Connections that were not yet seen at rest since the ask; absent before the first turn. It only shrinks, so that
    /// a busy neighbour never keeps a command waiting.
    restless: Option<BTreeSet<ConnectionRef>>,
}

/// The daemon's state between turns. Nothing of it must survive a crash.
pub(super) struct Loop {
    reconciler: Arc<Reconciler>,
    tasks: Tasks,
    /// Until when a connection is left alone, and whether it rests because a step was skipped or failed.
    resting: BTreeMap<ConnectionRef, (Instant, bool)>,
    /// Until when a failed step is left alone while the rest of its connection goes on.
    resting_steps: BTreeMap<(ConnectionRef, String), Instant>,
    waiters: Vec<Waiter>,
    last: Option<Arc<Gathered>>,
    last_turn: Option<(Instant, Duration)>,
    last_error: Option<String>,
    shown_uncommitted: Vec<String>,
}

impl Loop {
    pub(super) fn new(reconciler: Arc<Reconciler>, looks_at_once: usize) -> Self {
        Self {
            reconciler,
            tasks: Tasks::new(looks_at_once),
            resting: BTreeMap::new(),
            resting_steps: BTreeMap::new(),
            waiters: Vec::new(),
            last: None,
            last_turn: None,
            last_error: None,
            shown_uncommitted: Vec::new(),
        }
    }

    /// The next ended item; pending for ever while none runs.
    pub(super) async fn next_done(&mut self) -> Finished {
        self.tasks.next().await
    }

    pub(super) fn finished(&mut self, done: &Finished) {
        let now = Instant::now();
        // each look at a sync that runs elsewhere is a call
        let far = self.reconciler.doors().engine.manner().drives_itself;
        let pace = if far { Duration::from_secs(3) } else { Duration::from_millis(300) };
        for name in &done.connections {
            let rests = done.outcomes.iter().filter(|o| o.connection == *name).map(|o| rest_after(&o.kind, pace));
            let worst = rests.chain(done.panicked.then_some((PANIC_REST, true))).max();
            match worst {
                Some((rest, stuck)) if rest > Duration::ZERO => {
                    self.resting.insert(name.clone(), (now + rest, stuck));
                }
                _ => {
                    self.resting.remove(name);
                }
            }
        }
        let clock = self.reconciler.doors().clock.now();
        for outcome in &done.outcomes {
            if let Some(rest) = outcome.retry_at.and_then(|at| (at - clock).to_std().ok()) {
                self.resting_steps.insert((outcome.connection.clone(), outcome.step.clone()), now + rest);
            }
        }
        for waiter in &mut self.waiters {
            waiter
                .outcomes
                .extend(done.outcomes.iter().filter(|o| o.kind != OutcomeKind::Unchanged).map(OutcomeLine::from));
        }
    }

    /// A tick: a turn only when it is cheap or something is due soon, so that a big idle set costs little.
    pub(super) async fn tick(&mut self) {
        let idle = self.waiters.is_empty() && self.tasks.is_empty() && self.resting.is_empty();
        let rested = self.last_turn.is_none_or(|(at, took)| at.elapsed() >= took * 20);
        if !idle || rested {
            self.turn().await;
        } else if let Err(error) = self.reconciler.share_key().await {
            // the next turn says so
            tracing::debug!("{error}");
        }
    }

    /// Gathers, plans, starts. A registry or repository that does not answer is reported once and tried each tick.
    pub(super) async fn turn(&mut self) {
        let began = Instant::now();
        let limits = self.limits();
        let gathered = async {
            self.reconciler.share_key().await?;
            self.reconciler.gather_to_act(Some(&limits)).await
        };
        let gathered = match gathered.await {
            Ok(gathered) => Arc::new(gathered),
            Err(error) => {
                let text = error.to_string();
                if self.last_error.as_ref() != Some(&text) {
                    tracing::error!("{text}; tried again each tick");
                }
                self.last_error = Some(text);
                self.last_turn = Some((began, began.elapsed()));
                return;
            }
        };
        if self.last_error.take().is_some() {
            tracing::info!("registry and repository answer again");
        }
        self.log_problems(&gathered);
        self.resting.retain(|_, (until, _)| *until > began);
        self.resting_steps.retain(|_, until| *until > began);
        let mut paced: BTreeSet<ConnectionRef> = BTreeSet::new();
        let mut busy = self.tasks.busy();
        let plan = gathered.plan();
        self.forget_confirmed(&plan);
        let rests = |name: &ConnectionRef, step: &Step| {
            !self.resting_steps.is_empty() && self.resting_steps.contains_key(&(name.clone(), step.describe()))
        };
        let items = work_items(&gathered, &plan).into_iter();
        let mut looks = Vec::new();
        for item in items.filter_map(|item| item.without(rests)).collect::<Vec<_>>() {
            let names = item.connections();
            if names.iter().any(|name| busy.contains(name)) {
                continue;
            }
            if names.iter().any(|name| self.resting.contains_key(name)) {
                if names.iter().any(|name| self.resting.get(name).is_some_and(|(_, stuck)| !stuck)) {
                    paced.extend(names);
                }
                continue;
            }
            if matches!(item, WorkItem::Look(_)) {
                busy.extend(names.iter().cloned());
                looks.push(names);
                continue;
            }
            if self.tasks.is_full() {
                paced.extend(names);
                continue;
            }
            busy.extend(names);
            self.tasks.start(item.clone(), execute(&self.reconciler, &gathered, item));
        }
        let (reconciler, with) = (self.reconciler.clone(), gathered.clone());
        self.tasks.look(looks, Box::new(move |item| Box::pin(execute(&reconciler, &with, item))));
        let first = self.last.replace(gathered.clone()).is_none();
        self.last_turn = Some((began, began.elapsed()));
        busy.extend(paced);
        self.answer_waiters(&gathered, &busy).await;
        if first {
            self.show_uncommitted().await;
        }
    }

    fn limits(&self) -> Limits {
        let confirmed: BTreeSet<_> = self.waiters.iter().flat_map(|waiter| &waiter.confirmed).copied().collect();
        let confirmed = if confirmed.is_empty() { Confirmed::Nothing } else { Confirmed::Only(confirmed) };
        Limits { confirmed, ..self.reconciler.limits() }
    }

    /// A confirmed removal that is carried out, or whose spec is back, needs a new word the next time.
    fn forget_confirmed(&mut self, plan: &Plan) {
        if plan.refused.is_none() {
            let planned = plan.removals();
            self.waiters.iter_mut().for_each(|waiter| waiter.confirmed.retain(|id| planned.contains(id)));
        }
    }

    /// Takes a command's ask: answers at once, or when nothing is left to do.
    pub(super) async fn asked(&mut self, asked: Asked) {
        self.reconciler.forget_secrets(None);
        let Request::Settle { look, sync, refresh, digest, confirm_removals } = &asked.request else {
            self.turn().await;
            if let Some(gathered) = self.last.clone() {
                match asked.request.clone() {
                    // an engine may answer only once the job has stopped: the turns go on meanwhile
                    Request::Cancel { connection, by } => {
                        let reconciler = self.reconciler.clone();
                        tokio::spawn(async move {
                            let done = reconciler.cancel(&gathered, &connection, &by).await;
                            let outcomes = vec![OutcomeLine::of_cancel(&connection, done)];
                            reply(&reconciler, asked, &gathered, outcomes, None).await;
                        });
                    }
                    _ => self.reply(asked, &gathered, Vec::new(), None).await,
                }
            }
            return;
        };
        let confirmed = match self.reconciler.agree(digest.as_deref(), *confirm_removals).await {
            Ok(Ok(Limits { confirmed: Confirmed::Only(ids), .. })) => ids,
            Ok(Ok(_)) => BTreeSet::new(),
            Ok(Err(moved)) => {
                let why = crate::plan::render(&moved.plan());
                self.reply(asked, &Arc::from(moved), Vec::new(), Some(why)).await;
                return;
            }
            Err(error) => {
                tracing::error!("a command's ask could not be answered: {error}");
                return;
            }
        };
        look.iter().for_each(|name| self.reconciler.ask(Ask::Look, name));
        sync.iter().for_each(|name| self.reconciler.ask(Ask::Sync, name));
        refresh.iter().for_each(|(name, streams)| self.reconciler.ask_refresh(name, streams.clone()));
        if digest.is_none() {
            self.reconciler.try_again();
        }
        self.resting.clear();
        self.resting_steps.clear();
        self.waiters.push(Waiter { asked, outcomes: Vec::new(), confirmed, restless: None });
        self.turn().await;
    }

    /// Answers who waited for nothing but connections that are at rest by now.
    async fn answer_waiters(&mut self, gathered: &Arc<Gathered>, active: &BTreeSet<ConnectionRef>) {
        for mut waiter in std::mem::take(&mut self.waiters) {
            let restless = waiter.restless.get_or_insert_with(|| active.clone());
            restless.retain(|name| active.contains(name));
            if restless.is_empty() {
                self.reply(waiter.asked, gathered, waiter.outcomes, None).await;
            } else {
                self.waiters.push(waiter);
            }
        }
    }

    async fn reply(&self, asked: Asked, gathered: &Arc<Gathered>, outcomes: Vec<OutcomeLine>, refused: Option<String>) {
        reply(&self.reconciler, asked, gathered, outcomes, refused).await;
    }

    /// Logs problems of the committed files when they change.
    fn log_problems(&self, gathered: &Gathered) {
        let before = self.last.as_ref().map(|last| last.diagnostics()).unwrap_or_default();
        for problem in gathered.diagnostics().iter().filter(|problem| !before.contains(problem)) {
            let place =
                problem.place.as_ref().map(|p| format!("{}:{}:{}: ", p.file, p.line, p.column)).unwrap_or_default();
            tracing::warn!("{place}{} {}", problem.code, problem.message);
        }
        if !before.is_empty() && gathered.diagnostics().is_empty() {
            tracing::info!("every spec is valid again");
        }
    }

    /// Logs check and plan of edits that are not committed: they act only once they are.
    pub(super) async fn show_uncommitted(&mut self) {
        let Some(gathered) = self.last.clone() else { return };
        match self.reconciler.uncommitted(&gathered).await {
            Ok(lines) => {
                if lines != self.shown_uncommitted {
                    lines.iter().for_each(|line| tracing::info!("not committed yet: {line}"));
                }
                self.shown_uncommitted = lines;
            }
            Err(error) => tracing::warn!("the work tree could not be read: {error}"),
        }
    }

    /// Waits for running items; those who asked are told by the closed socket that the daemon stops.
    pub(super) async fn drain(&mut self) {
        self.waiters.clear();
        self.tasks.drain().await;
    }
}

/// Carries an item of a turn out.
fn execute(
    reconciler: &Arc<Reconciler>,
    gathered: &Arc<Gathered>,
    item: WorkItem,
) -> impl Future<Output = Vec<Outcome>> + Send + 'static {
    let (reconciler, gathered) = (reconciler.clone(), gathered.clone());
    async move { reconciler.execute(&gathered, &item).await }
}

async fn reply(
    reconciler: &Reconciler,
    asked: Asked,
    gathered: &Arc<Gathered>,
    outcomes: Vec<OutcomeLine>,
    refused: Option<String>,
) {
    match reconciler.report(gathered).await {
        // The command may have gone away meanwhile: nothing is lost by that.
        Ok(report) => drop(asked.answer.send(Answer { report, outcomes, refused })),
        Err(error) => tracing::error!("a command's ask could not be answered: {error}"),
    }
}

/// How long a connection is left alone after an outcome, and whether it is stuck rather than just paced: `pace` apart.
fn rest_after(kind: &OutcomeKind, pace: Duration) -> (Duration, bool) {
    match kind {
        OutcomeKind::Applied => (Duration::ZERO, false),
        OutcomeKind::Unchanged => (pace, false),
        OutcomeKind::Busy | OutcomeKind::Skipped(_) => (Duration::from_secs(2), true),
        OutcomeKind::Failed(_) => (Duration::from_secs(5), true),
    }
}
