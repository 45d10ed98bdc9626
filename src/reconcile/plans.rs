//! The plan of what people ask to merge, told on their requests: one comment, kept up to date in place, and a status of the
//! head commit. Our own requests get the status alone; their text says the rest.
//!
//! Planning reads two states of the files and what was gathered: nothing in a person's branch is run, and no secret that it
//! names is read. What was told is remembered in memory only; after a restart it is compared with what the forge shows.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::weighed::{State, notes_of};
use super::{Gathered, Reconciler, StepError, TurnError};
use crate::model::{CommitId, ConnectionId, TenantId};
use crate::plan::Plan;
use crate::plan::review::{Findings, Review, find, markdown};
use crate::ports::{
    CheckState, CommitStatus, Forge, ForgeError, ForgeRequest, Lease, OwnComment, RegistryError, RepoError, Trouble,
    carries, mark,
};

/// The name of the status.
const CONTEXT: &str = "aam/plan";
/// The mark of the comment.
const WORD: &str = "plan";
/// Branches below it are ours.
const OURS: &str = "aam/";
/// So many requests are told of in one look, two writes each: GitHub takes 80 writes in a minute, and others write, too.
const AT_ONCE: usize = 10;
/// What is planned anyway changes with each sync: a plan is worked out anew for that after so long only.
const STAYS: TimeDelta = TimeDelta::minutes(10);

/// What was told, by request; and what fails about the forge as a whole.
#[derive(Default)]
pub(super) struct Plans {
    told: BTreeMap<u64, Told>,
    whole: Option<Trouble>,
}

/// What was told of a request.
struct Told {
    head: CommitId,
    base: CommitId,
    /// Digest of what was planned without it.
    planned: String,
    at: DateTime<Utc>,
    /// Digest that the forge shows.
    digest: Option<String>,
    trouble: Option<Trouble>,
}

/// What all requests merge into.
struct Base<'a> {
    gathered: &'a Gathered,
    commit: &'a CommitId,
    plan: Plan,
    planned: String,
    state: OnceLock<State>,
}

/// What is to be told of a request.
struct News {
    request: ForgeRequest,
    head: CommitId,
    text: String,
    found: Findings,
}

impl Plans {
    fn is_due(&self, number: u64, head: &CommitId, base: &Base<'_>, again: bool) -> bool {
        let Some(told) = self.told.get(&number) else { return true };
        let now = base.gathered.now;
        let tried_again = |trouble: &Trouble| again || trouble.retry_at <= now;
        told.head != *head
            || told.base != *base.commit
            || (told.planned != base.planned && now >= told.at + STAYS)
            || told.trouble.as_ref().is_some_and(tried_again)
    }

    /// What fails, as one.
    fn trouble(&self) -> Option<Trouble> {
        let failing = self.told.iter().filter_map(|(number, told)| Some((number, told.trouble.as_ref()?)));
        let others = failing.clone().count().saturating_sub(1);
        let others = if others > 0 { format!(" (and {others} other requests)") } else { String::new() };
        let next = failing.min_by_key(|(_, trouble)| trouble.retry_at).map(|(number, trouble)| Trouble {
            reason: format!("request {number}: {}{others}", trouble.reason),
            ..trouble.clone()
        });
        self.whole.clone().or(next)
    }
}

/// What failed, after what failed before.
fn failed_again(before: Option<&Trouble>, error: &StepError, now: DateTime<Utc>) -> Trouble {
    let failures = before.map_or(0, |trouble| trouble.failures);
    let mend = match error {
        StepError::Forge(ForgeError::Forbidden { .. } | ForgeError::NotFound { .. }) => {
            "; give the token the rights that docs/approvals.md names, or set [forge] plan = false"
        }
        _ => "",
    };
    Trouble {
        reason: format!("{error}{mend}"),
        since: before.map_or(now, |trouble| trouble.since),
        failures: failures + 1,
        retry_at: error.retry_at(now, failures, ConnectionId(Uuid::nil())),
    }
}

impl Reconciler {
    /// Tells the plan of each open request that merges into the tracked branch, where it is news. `open`: the requests, if they
    /// were listed already; `again`: what failed is tried before its time. Until when the forge is left alone, if it is.
    pub(super) async fn tell_plans(
        &self,
        gathered: &Gathered,
        forge: &dyn Forge,
        open: Option<Vec<ForgeRequest>>,
        again: bool,
    ) -> Result<Option<DateTime<Utc>>, TurnError> {
        let mut rests = None;
        if self.policy().requests.plan {
            match self.try_to_tell(gathered, forge, open, again).await {
                Ok(()) => self.cache.lock().expect("no panic while held").plans.whole = None,
                Err(StepError::Registry(error)) => return Err(error.into()),
                Err(error) => {
                    let whole = &mut self.cache.lock().expect("no panic while held").plans.whole;
                    let trouble = failed_again(whole.as_ref(), &error, self.doors.clock.now());
                    rests = Some(trouble.retry_at);
                    *whole = Some(trouble);
                }
            }
        } else {
            self.cache.lock().expect("no panic while held").plans = Plans::default();
        }
        let trouble = self.cache.lock().expect("no panic while held").plans.trouble();
        let known = forge.trouble();
        if let Some(trouble) = &trouble
            && known.is_none_or(|known| known.reason != trouble.reason)
        {
            tracing::warn!("plans on requests of {}: {}", forge.project(), trouble.reason);
        }
        forge.note(trouble.as_ref());
        Ok(rests)
    }

    /// The error is about the forge as a whole.
    async fn try_to_tell(
        &self,
        gathered: &Gathered,
        forge: &dyn Forge,
        open: Option<Vec<ForgeRequest>>,
        again: bool,
    ) -> Result<(), StepError> {
        let (Some(branch), Some(commit)) = (&gathered.info.branch, &gathered.info.head) else { return Ok(()) };
        if gathered.remote_down.is_some() {
            return Ok(()); // status tells of it, and commits of others cannot be fetched
        }
        let open = match open {
            Some(open) => open,
            None => forge.open_requests("").await?,
        };
        let plan = gathered.plan();
        let base = Base { gathered, commit, planned: plan.digest(), plan, state: OnceLock::new() };
        let due: Vec<(ForgeRequest, CommitId)> = {
            let plans = &mut self.cache.lock().expect("no panic while held").plans;
            plans.told.retain(|number, _| open.iter().any(|request| request.number == *number));
            let here = open.into_iter().filter(|request| request.base == *branch);
            let here = here.filter_map(|request| Some((request.tip.clone()?, request)));
            let due = here.filter(|(head, request)| plans.is_due(request.number, head, &base, again));
            due.map(|(head, request)| (request, head)).collect()
        };
        let mut news = Vec::new();
        for (request, head) in due {
            if news.len() == AT_ONCE {
                break;
            }
            match self.news_of(&base, request, head).await {
                Ok(one) => news.extend(one),
                // A remote that hangs holds up each: the rest waits for the next look.
                Err(()) => break,
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        // Two daemons that begin at once would each add a comment.
        let Some(lease) = self.forge_lease(forge).await? else { return Ok(()) };
        let (ttl, numbers) = (self.policy().lease_ttl, news.iter().map(|one| one.request.number).collect::<Vec<_>>());
        let telling = async {
            for one in news {
                self.doors.registry.renew(&lease, ttl).await?;
                match send(forge, &one).await {
                    Err(error) if error.is_about_the_forge() => return Err(error.into()),
                    sent => self.remember(
                        &base,
                        &one.request,
                        one.head,
                        sent.map(|()| one.found.digest).map_err(Into::into),
                    ),
                }
            }
            Ok(self.doors.registry.renew(&lease, ttl).await?)
        };
        let told = Box::pin(self.with_renewal(std::slice::from_ref(&lease), telling)).await;
        self.doors.registry.release(&lease).await?;
        if !matches!(told, Err(StepError::Registry(RegistryError::LeaseLost(_)))) {
            return told;
        }
        // Whoever slept may have told what was so before, over what another daemon told since.
        let plans = &mut self.cache.lock().expect("no panic while held").plans;
        plans.told.retain(|number, _| !numbers.contains(number));
        Ok(())
    }

    /// The lease of a forge's project: it stands for a connection that nobody can declare.
    async fn forge_lease(&self, forge: &dyn Forge) -> Result<Option<Lease>, RegistryError> {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(format!("plans on {}", forge.project()))[..16]);
        let (id, holder) = (ConnectionId(Uuid::from_bytes(id)), format!("{}:plans", self.holder));
        self.doors.registry.lease(&TenantId::default(), id, &holder, self.policy().lease_ttl).await
    }

    /// What is to be told of a request; what is not is remembered, and so is what keeps it from being planned.
    async fn news_of(&self, base: &Base<'_>, request: ForgeRequest, head: CommitId) -> Result<Option<News>, ()> {
        let shown = {
            let plans = &self.cache.lock().expect("no panic while held").plans;
            plans.told.get(&request.number).and_then(|told| told.digest.clone())
        };
        let known = match self.plan_of(base, &request, &head).await {
            Ok(Some((text, found))) if shown.as_ref() != Some(&found.digest) => {
                return Ok(Some(News { request, head, text, found }));
            }
            Ok(Some((_, found))) => Ok(found.digest),
            // without a remote only what is here is planned: it may come
            Ok(None) if base.gathered.info.remote.is_none() => return Ok(None),
            Ok(None) => Err(StepError::Spec(format!(
                "its commit {} is not at [repository] remote: is that the repository of [forge] project?",
                head.short()
            ))),
            Err(error) => {
                self.remember(base, &request, head, Err(error.into()));
                return Err(());
            }
        };
        self.remember(base, &request, head, known);
        Ok(None)
    }

    /// Remembers what the forge shows of a request, or why it does not.
    fn remember(&self, base: &Base<'_>, request: &ForgeRequest, head: CommitId, shown: Result<String, StepError>) {
        let told = &mut self.cache.lock().expect("no panic while held").plans.told;
        let failed = told.remove(&request.number).and_then(|told| told.trouble);
        let (digest, trouble) = match shown {
            Ok(digest) => (Some(digest), None),
            Err(error) => (None, Some(failed_again(failed.as_ref(), &error, self.doors.clock.now()))),
        };
        let (base, planned, at) = (base.commit.clone(), base.planned.clone(), base.gathered.now);
        told.insert(request.number, Told { head, base, planned, at, digest, trouble });
    }

    /// What merging a request would do, as its comment; `None`: its commit is not here.
    async fn plan_of(
        &self,
        base: &Base<'_>,
        request: &ForgeRequest,
        head: &CommitId,
    ) -> Result<Option<(String, Findings)>, RepoError> {
        let Some(merge) = self.doors.repo.merge_of(base.commit, head).await? else { return Ok(None) };
        let policy = self.policy();
        let before = base.state.get_or_init(|| State::of(&merge.before, &policy));
        let after = State::of(&merge.after, &policy);
        let notes = notes_of(&merge);
        let then = self.plan_if(base.gathered, merge.after);
        let review = Review {
            base: (&request.base, None),
            head: (&request.head, head),
            before: &before.desired,
            problems_before: &before.problems,
            after: &after.desired,
            problems_after: &after.problems,
            plans: Ok((&base.plan, &then)),
            notes,
        };
        let found = find(&review);
        Ok(Some((markdown(&review, &found), found)))
    }
}

/// Sends comment and status; one that is forbidden keeps the other from nobody. A merge that is no matter of ours gets no
/// comment, unless one is there: the repository may hold much besides.
async fn send(forge: &dyn Forge, News { request, head, text, found }: &News) -> Result<(), ForgeError> {
    let mut commented = Ok(());
    if !request.head.starts_with(OURS) {
        commented = comment(forge, request.number, text, found).await;
        if commented.as_ref().is_err_and(ForgeError::is_about_the_forge) {
            return commented;
        }
    }
    let status = CommitStatus {
        context: CONTEXT.to_owned(),
        state: if found.is_broken() { CheckState::Failure } else { CheckState::Success },
        description: found.describe(),
    };
    forge.set_status(head, &status).await?;
    commented
}

async fn comment(forge: &dyn Forge, number: u64, text: &str, found: &Findings) -> Result<(), ForgeError> {
    let is_plan = |comment: &OwnComment| carries(&comment.text, WORD);
    // Where nobody knows which are ours, there would be one more with each push.
    let Some(own) = forge.own_comments(number).await? else { return Ok(()) };
    if found.is_nothing() && !own.iter().any(is_plan) {
        return Ok(());
    }
    forge.upsert_comment(number, WORD, &format!("{text}\n{}", mark(WORD))).await
}
