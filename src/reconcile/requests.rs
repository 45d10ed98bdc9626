//! Requests on a forge: looks at what is there, plans, carries out. Beside the turns, so that a forge that is down delays
//! nothing; what fails is a trouble of the connections that it is about, with the time of the next try.
//!
//! Level-triggered like a turn: everything is read afresh, and a pass that was cut off is made good by the next one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Gathered, Reconciler, StepError, TurnError};
use crate::model::{CommitId, ConnectionId, ConnectionRef, RepoPath};
use crate::plan::requests::{Doing, Offer, RequestAction, RequestFacts, Subject, TROUBLE, plan_requests};
use crate::ports::{
    DriftRow, DriftStatus, Forge, ForgeError, ForgeRequest, RequestRow, RequestStanding, Review, Trouble,
};
use crate::repair;

/// A forge notes by itself, within moments, that a request's branch came in: so long it may take.
const MERGE_SEEN: TimeDelta = TimeDelta::minutes(1);

/// What waits for another holder of a lease is looked at again this soon.
const SOON: TimeDelta = TimeDelta::seconds(5);

/// A request that is not shown counts as gone after so long.
const GONE_AFTER: TimeDelta = TimeDelta::hours(1);

/// Said of one until then.
const UNSHOWN: &str = "the forge does not show it; in an hour it counts as gone";

/// So many commits of a lock are looked through for a merge that the forge told of.
const RECENT: u32 = 20;

/// What the settings say about requests.
#[derive(Debug, Clone)]
pub struct RequestPolicy {
    /// Labels that each has.
    pub labels: BTreeSet<String>,
    /// Whether they are opened as drafts.
    pub draft: bool,
    /// How often they are looked at.
    pub every: TimeDelta,
    /// Whether the plan is told on the requests of people.
    pub plan: bool,
}

/// When requests are looked at next.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    next: Option<DateTime<Utc>>,
    /// Until when the forge is left alone after a failure, whatever changes here.
    rests: Option<DateTime<Utc>>,
    failures: u32,
    /// A repair was offered, changed or withdrawn since the last look.
    asked: bool,
    /// A person asks to try again what failed.
    again: bool,
}

impl Rhythm {
    /// Due at once, with everything that failed.
    pub(super) fn again() -> Self {
        Self { again: true, ..Self::default() }
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.rests.is_none_or(|until| now >= until) && (self.asked || self.next.is_none_or(|next| now >= next))
    }
}

/// What a pass came to.
#[derive(Default)]
struct Passed {
    /// Whether the committed state changed.
    committed: bool,
    /// Whether what failed is tried before its time.
    again: bool,
    /// Whether something waits for a lease.
    waits: bool,
    /// What failed, and for whom.
    failed: Vec<(Vec<ConnectionId>, StepError)>,
    /// All requests that are open, ours and those of people.
    open: Option<Vec<ForgeRequest>>,
}

/// What the forge shows.
struct Shown {
    open: Vec<ForgeRequest>,
    ended: BTreeMap<u64, Option<(ForgeRequest, Review)>>,
    tips: BTreeMap<String, Option<CommitId>>,
}

impl Reconciler {
    /// Looks at the requests on the forge if that is due; whether the committed state changed by that.
    pub async fn requests(&self) -> Result<bool, TurnError> {
        let Some(forge) = self.doors.forge.clone() else { return Ok(false) };
        let (now, every) = (self.doors.clock.now(), self.policy().requests.every);
        let again = {
            let mut cache = self.cache.lock().expect("no panic while held");
            if !cache.requests.is_due(now) {
                return Ok(false);
            }
            cache.requests.asked = false;
            // Whatever fails from here on, it is not tried again at once.
            cache.requests.next = Some(now + every);
            std::mem::take(&mut cache.requests.again)
        };
        let gathered = self.gather(None).await?;
        let rows = self.doors.registry.requests(forge.project(), true).await?;
        let offers = self.offers(&gathered, &*forge).await?;
        let concerned: BTreeSet<ConnectionId> =
            offers.iter().map(|offer| offer.id).chain(rows.iter().map(|row| row.connection)).collect();
        let mut passed = Passed { again, ..Passed::default() };
        if !concerned.is_empty()
            && let Err(error) = Box::pin(self.pass(&gathered, &*forge, rows, offers, &mut passed)).await
        {
            match error {
                StepError::Registry(error) => return Err(error.into()),
                StepError::Repo(error) => return Err(error.into()),
                error => passed.failed.push((concerned.into_iter().collect(), error)),
            }
        }
        let mut rests = self.note_request_troubles(&gathered, &passed).await?;
        if rests.is_none() && !passed.committed {
            rests = self.tell_plans(&gathered, &*forge, passed.open.take(), passed.again).await?;
        }
        let mut cache = self.cache.lock().expect("no panic while held");
        let rhythm = &mut cache.requests;
        if passed.waits {
            rhythm.next = Some(now + every.min(SOON));
        }
        rhythm.rests = rests;
        rhythm.failures = if rests.is_some() { rhythm.failures + 1 } else { 0 };
        Ok(passed.committed)
    }

    /// The requests are looked at soon: a repair was offered, changed or withdrawn.
    pub(super) fn ask_requests(&self) {
        self.cache.lock().expect("no panic while held").requests.asked = true;
    }

    /// Whether a look at them is due.
    pub fn requests_due(&self) -> bool {
        let now = self.doors.clock.now();
        self.doors.forge.is_some() && self.cache.lock().expect("no panic while held").requests.is_due(now)
    }

    /// One look, and everything that follows from it.
    async fn pass(
        &self,
        gathered: &Gathered,
        forge: &dyn Forge,
        rows: Vec<RequestRow>,
        offers: Vec<Offer>,
        passed: &mut Passed,
    ) -> Result<(), StepError> {
        let mut shown = look(forge, &rows, &offers).await?;
        passed.open = Some(shown.open.clone());
        await_unshown(gathered, &rows, &mut shown, passed);
        let mut facts = self.request_facts(gathered, forge, rows, offers, shown).await?;
        let mut actions = plan_requests(&facts);
        let mut gathered = gathered;
        let fresh;
        // A merge by another way closes a request, too: what is committed by now decides, not what was before the look. And
        // what was merged is no offer any more. Beside a drift, of which the registry tells, only the branch tells what is
        // offered: another daemon may have pushed it, and told of it, since this one fetched.
        let hangs = |action: &RequestAction| match &action.what {
            Doing::Reject { .. } | Doing::Decline { .. } | Doing::NoteMerged { .. } => true,
            Doing::Update { offer, .. } => offer.subject != Subject::Drift && !self.is_vain(action, &facts.open),
            Doing::Tell { offer, .. } => offer.subject != Subject::Drift,
            Doing::Close { number, .. } => {
                facts.rows.iter().any(|row| row.number == *number && row.subject != Subject::Drift)
            }
            _ => false,
        };
        if actions.iter().any(hangs) {
            match self.doors.repo.fetch().await {
                Ok(_) => {
                    fresh = self.gather(None).await?;
                    gathered = &fresh;
                    let RequestFacts { rows, open, ended, tips, .. } = facts;
                    let offers = self.offers(gathered, forge).await?;
                    facts = self.request_facts(gathered, forge, rows, offers, Shown { open, ended, tips }).await?;
                    actions = plan_requests(&facts);
                }
                // Status tells of the remote; what hangs on it stays as it is until a later look.
                Err(error) => {
                    tracing::debug!("what became of requests is decided once the remote can be looked at: {error}");
                    actions.retain(|action| !hangs(action));
                }
            }
        }
        for action in actions {
            let waits = gathered.row(action.id).and_then(|row| row.troubles.get(TROUBLE));
            // What people decided, or what keeps the forge from deciding, waits for nothing that fails beside it.
            let rests = matches!(
                action.what,
                Doing::Open(_)
                    | Doing::Adopt { .. }
                    | Doing::Update { .. }
                    | Doing::Tell { .. }
                    | Doing::Automate { .. }
                    | Doing::Close { .. }
            );
            if rests && waits.is_some_and(|trouble| trouble.retry_at > gathered.now) && !passed.again {
                continue;
            }
            // A push of ours asks for a look by itself.
            if action.what == Doing::Wait || self.is_vain(&action, &facts.open) {
                continue;
            }
            let row = |number: u64| facts.rows.iter().find(|row| row.number == number);
            match Box::pin(self.act_on_request(forge, &action, row)).await {
                Ok(Some(acted)) if acted.later => {}
                Ok(Some(acted)) => {
                    // One that nothing is asked of is merged by now.
                    passed.waits |= matches!(action.what, Doing::Automate { .. });
                    tracing::info!(connection.name = %action.connection, "connection {}: {}", action.connection, action.describe());
                    self.note_update(&action, &facts.open);
                    if matches!(action.what, Doing::Open(_)) {
                        passed.open = None; // there is one more
                    }
                    passed.committed |= acted.committed;
                }
                Ok(None) => passed.waits = true,
                Err(StepError::Forge(error)) if error.is_about_the_forge() => return Err(error.into()),
                Err(error) => passed.failed.push((vec![action.id], error)),
            }
        }
        Ok(())
    }

    async fn request_facts(
        &self,
        gathered: &Gathered,
        forge: &dyn Forge,
        rows: Vec<RequestRow>,
        offers: Vec<Offer>,
        shown: Shown,
    ) -> Result<RequestFacts, StepError> {
        let locks = gathered.desired().connections.values().filter_map(|connection| connection.lock.as_ref());
        let mut over = BTreeMap::new();
        for row in rows.iter().filter(|row| !offers.iter().any(|offer| offer.is_of(row))) {
            let why = match row.subject {
                Subject::Drift => self.drift_over(gathered, row).await?,
                Subject::Rollback | Subject::LiveEdit | Subject::Lock | Subject::Rejection => {
                    self.offer_over(gathered, row).await?
                }
            };
            over.extend(why.map(|why| ((row.connection, row.subject), why)));
        }
        let mut known = Vec::new();
        if !offers.is_empty() {
            known = self.doors.registry.requests(forge.project(), false).await?;
        }
        let newest = |offer: &Offer| {
            let past = known.iter().filter(|row| row.state != RequestStanding::Open && offer.is_of(row));
            past.max_by_key(|row| row.number).cloned()
        };
        let past: Vec<RequestRow> = offers.iter().filter_map(newest).collect();
        Ok(RequestFacts {
            names: gathered.rows.iter().map(|row| (row.id, row.name.clone())).collect(),
            locks: locks.map(|lock| (lock.id, lock.fingerprint.clone())).collect(),
            over,
            merged: self.merged_elsewhere(gathered, &offers, &past).await?,
            past,
            offers,
            rows,
            open: shown.open,
            ended: shown.ended,
            tips: shown.tips,
        })
    }

    /// Why a drift is over that nothing is offered for, if so.
    async fn drift_over(&self, gathered: &Gathered, row: &RequestRow) -> Result<Option<String>, StepError> {
        let drifts = self.doors.registry.drifts(Some(row.connection), false).await?;
        let drift = drifts.iter().find(|drift| Some(drift.id) == row.drift);
        // One that another took the place of is followed by its request, once that is offered.
        let replaced = drifts.iter().any(|drift| drift.status == DriftStatus::Pending)
            && drift.is_some_and(|drift| drift.status == DriftStatus::Withdrawn);
        Ok(if replaced { None } else { ending(drift, gathered.now) })
    }

    /// Why a branch beside a drift's is offered no more. One that came in is left to the forge to see for a moment.
    async fn offer_over(&self, gathered: &Gathered, row: &RequestRow) -> Result<Option<String>, StepError> {
        let path = gathered.row(row.connection).and_then(|known| path_of(gathered, row.subject, &known.name));
        let newest = match path {
            Some(path) => self.doors.repo.log(&path, 1).await?.pop(),
            None => None,
        };
        let fresh = newest.is_some_and(|entry| (gathered.now - entry.at).abs() < MERGE_SEEN);
        Ok((!fresh).then(|| "what it offers is committed, or asked for no more".to_owned()))
    }

    /// Branches whose newest request was merged by a commit that has not come here yet.
    async fn merged_elsewhere(
        &self,
        gathered: &Gathered,
        offers: &[Offer],
        past: &[RequestRow],
    ) -> Result<BTreeSet<String>, StepError> {
        let mut merged = BTreeSet::new();
        for offer in offers {
            // A drift's request is about that one drift, the others are about what they ask for. What does not come within the
            // hour does not come that way: history was rewritten, or the file moved.
            let same = |row: &&RequestRow| match offer.drift {
                Some(_) => row.drift == offer.drift,
                None => row.target == offer.target,
            };
            let recent = |row: &&RequestRow| gathered.now < row.changed_at + GONE_AFTER;
            let newest = past.iter().filter(|row| offer.is_of(row)).find(|row| same(row) && recent(row));
            let merge = newest.filter(|row| row.state == RequestStanding::Merged).and_then(|row| row.commit.as_ref());
            if let (Some(commit), Some(path)) = (merge, path_of(gathered, offer.subject, &offer.connection)) {
                let here = self.doors.repo.log(&path, RECENT).await?;
                if !here.iter().any(|entry| entry.commit == *commit) {
                    merged.insert(offer.draft.head.clone());
                }
            }
        }
        Ok(merged)
    }

    /// Keeps which connections' requests fail, and forgets those that got through. Until when the forge as a whole is left
    /// alone, if it is.
    async fn note_request_troubles(
        &self,
        gathered: &Gathered,
        Passed { failed, again, .. }: &Passed,
    ) -> Result<Option<DateTime<Utc>>, TurnError> {
        let now = self.doors.clock.now();
        let mut rests = None;
        for row in &gathered.rows {
            let known = row.troubles.get(TROUBLE);
            let error = failed.iter().find(|(ids, _)| ids.contains(&row.id)).map(|(_, error)| error);
            let rested = known.is_some_and(|trouble| trouble.retry_at > now) && error.is_none() && !again;
            if (known.is_none() && error.is_none()) || rested {
                continue;
            }
            let Some(lease) = self.request_lease(&row.name, row.id).await? else { continue };
            // Read again: a step may have noted others meanwhile.
            let mut troubles = self.fresh_row(row.id).await?.map(|row| row.troubles).unwrap_or_default();
            match error {
                None => drop(troubles.remove(TROUBLE)),
                Some(error) => {
                    let failures = known.map_or(0, |trouble| trouble.failures);
                    // How long a request is not shown counts by itself, whatever failed before.
                    let apart = |trouble: &&Trouble| !is_unshown(error) || trouble.reason == error.to_string();
                    let trouble = Trouble {
                        reason: error.to_string(),
                        since: known.filter(apart).map_or(now, |trouble| trouble.since),
                        failures: failures + 1,
                        retry_at: error.retry_at(now, failures, row.id),
                    };
                    if known.is_none_or(|known| known.reason != trouble.reason) {
                        tracing::warn!(connection.name = %row.name, "connection {}: {TROUBLE}: {error}", row.name);
                    }
                    troubles.insert(TROUBLE.to_owned(), trouble);
                }
            }
            self.doors.registry.set_troubles(&lease, &troubles).await?;
            self.doors.registry.release(&lease).await?;
        }
        let failures = self.cache.lock().expect("no panic while held").requests.failures;
        for (ids, error) in failed {
            if let (StepError::Forge(forge), Some(id)) = (error, ids.first())
                && forge.is_about_the_forge()
            {
                rests = Some(error.retry_at(now, failures, *id));
            }
        }
        Ok(rests)
    }
}

/// What the forge shows of everything that a plan needs.
async fn look(forge: &dyn Forge, rows: &[RequestRow], offers: &[Offer]) -> Result<Shown, StepError> {
    let open = forge.open_requests("").await?;
    let (mut ended, mut tips) = (BTreeMap::new(), BTreeMap::new());
    let is = |row: &RequestRow, shown: &ForgeRequest| shown.number == row.number && shown.head == row.branch;
    for row in rows.iter().filter(|row| !open.iter().any(|shown| is(row, shown))) {
        // A number that is another's by now, after a project was made anew, is none of ours.
        let read = match forge.request(row.number).await?.filter(|request| is(row, request)) {
            None => None,
            Some(request) => {
                let review = forge.review(row.number).await?;
                Some((request, review))
            }
        };
        ended.insert(row.number, read);
    }
    for offer in offers.iter().filter(|offer| !rows.iter().any(|row| offer.is_of(row))) {
        if !open.iter().any(|shown| shown.head == offer.draft.head && shown.base == offer.draft.base) {
            tips.insert(offer.draft.head.clone(), forge.tip(&offer.draft.head).await?);
        }
    }
    Ok(Shown { open, ended, tips })
}

/// A request that the forge does not show is waited for, as a trouble of its connection, before it counts as gone: what a forge
/// says for a moment must not turn a decision of people into none.
fn await_unshown(gathered: &Gathered, rows: &[RequestRow], shown: &mut Shown, passed: &mut Passed) {
    for row in rows {
        if !matches!(shown.ended.get(&row.number), Some(None)) {
            continue;
        }
        let call = format!("request {} of {}", row.number, row.branch);
        let why = UNSHOWN.to_owned();
        let error = StepError::from(ForgeError::NotFound { call, why });
        let known = gathered.row(row.connection).and_then(|row| row.troubles.get(TROUBLE));
        let known = known.filter(|trouble| trouble.reason == error.to_string());
        if known.is_some_and(|trouble| gathered.now - trouble.since >= GONE_AFTER) {
            continue;
        }
        shown.ended.remove(&row.number);
        if known.is_none_or(|trouble| trouble.retry_at <= gathered.now) || passed.again {
            passed.failed.push((vec![row.connection], error));
        }
    }
}

fn is_unshown(error: &StepError) -> bool {
    matches!(error, StepError::Forge(ForgeError::NotFound { why, .. }) if why == UNSHOWN)
}

/// Why a request's drift is over, if it is.
fn ending(drift: Option<&DriftRow>, now: DateTime<Utc>) -> Option<String> {
    let Some(drift) = drift else { return Some("its drift is not known any more".to_owned()) };
    match drift.status {
        DriftStatus::Pending => None,
        DriftStatus::Approved | DriftStatus::Repaired if now < drift.changed_at + MERGE_SEEN => None,
        DriftStatus::Approved | DriftStatus::Repaired => Some("what it asks for is committed".to_owned()),
        DriftStatus::Rejected => Some(format!("rejected: {}", drift.cause)),
        DriftStatus::Withdrawn => Some(format!("withdrawn: {}", drift.cause)),
        DriftStatus::Failed => Some(format!("the repair failed: {}", drift.cause)),
    }
}

/// The file by which it is told whether what a branch offers came in.
fn path_of(gathered: &Gathered, subject: Subject, name: &ConnectionRef) -> Option<RepoPath> {
    let connection = gathered.desired().connections.get(name)?;
    match subject {
        Subject::Drift | Subject::Rollback | Subject::Lock => Some(connection.lock_path.clone()),
        Subject::LiveEdit => Some(connection.path.clone()),
        Subject::Rejection => repair::rejected_path(name).ok(),
    }
}
