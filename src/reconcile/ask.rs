//! Asking the engine for a new object, once: what is there already is adopted, an intent is written last before the ask is
//! sent, and while an ask may still have its effect no second one is sent.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Reconciler, StepError, by_aam};
use crate::plan::Properties;
use crate::ports::{Ask, Candidate, EngineError, EngineId, Intent, Lease, ObjectKind, OwnerKey, Remedy, recorded};

/// In an intent's detail: the ask was sent, and no answer came.
pub(super) const UNANSWERED: &str = "unanswered";
/// In an intent's detail: the name in the engine that was asked for.
const NAME: &str = "name";
/// In an intent's detail: when it was asked for.
const SINCE: &str = "since";
/// In an intent's detail: how the ask ended, if it came to an end.
const WHY: &str = "why";
/// In an intent's detail: what of it git owned when it was asked for.
const AS: &str = "as";
/// By how much the engine's clock may be behind ours.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// An object that is made if it is not there.
pub(super) struct Wanted<'w> {
    pub(super) kind: ObjectKind,
    pub(super) owner: &'w OwnerKey,
    /// In the specs.
    pub(super) name: &'w str,
    /// In the engine.
    pub(super) in_engine: &'w str,
    /// What of it git owns, if anything.
    pub(super) properties: Properties,
}

impl Wanted<'_> {
    fn what(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }
}

/// What the engine has that may be the one that is wanted.
#[derive(Default)]
pub(super) struct Found {
    /// By its owner mark, or by the spec.
    marked: Vec<EngineId>,
    /// Of a name that was asked for, and not there before.
    asked: Vec<EngineId>,
    /// Somebody else's of that name.
    others: Vec<EngineId>,
}

impl Found {
    /// What another connection has already.
    pub(super) fn of(id: EngineId) -> Self {
        Self { marked: vec![id], ..Self::default() }
    }

    /// Adds what the engine has of this name, each once.
    pub(super) fn add(&mut self, name: &str, found: Vec<Candidate>, asked: &[Intent]) {
        let of_name = asked.iter().filter(|intent| intent.detail[NAME] == json!(name));
        let since = of_name.map(since).min();
        for one in found {
            let came_after = |since: DateTime<Utc>| one.made.is_none_or(|made| made >= since - SKEW);
            let kind = match since {
                _ if one.marked => &mut self.marked,
                Some(since) if came_after(since) => &mut self.asked,
                _ => &mut self.others,
            };
            if !kind.contains(&one.id) {
                kind.push(one.id);
            }
        }
    }

    /// What was made just now.
    fn made(id: EngineId) -> Self {
        Self { asked: vec![id], ..Self::default() }
    }

    /// Refuses more than one that is ours.
    fn refuse_twins(mut self, what: &str) -> Result<(), StepError> {
        self.marked.retain(|id| !self.asked.contains(id));
        self.asked.append(&mut self.marked);
        self.ours(what).map(drop)
    }

    /// Every one.
    pub(super) fn ids(&self) -> impl Iterator<Item = &EngineId> {
        self.marked.iter().chain(&self.asked).chain(&self.others)
    }

    /// The same where none is made any more: somebody else's are in nobody's way.
    pub(super) fn but_others(self) -> Self {
        Self { others: Vec::new(), ..self }
    }

    /// The one that is ours, and whether its mark says so; without a mark, only what came after it was asked for is.
    pub(super) fn ours(self, what: &str) -> Result<Option<(EngineId, bool)>, StepError> {
        let is_marked = !self.marked.is_empty();
        let mut fitting = if is_marked { self.marked } else { self.asked };
        match fitting.len() {
            0 if self.others.is_empty() => Ok(None),
            0 => Err(StepError::Taken { what: what.to_owned(), ids: texts(self.others) }),
            1 => Ok(fitting.pop().map(|id| (id, is_marked))),
            _ => Err(StepError::Ambiguous { what: what.to_owned(), ids: texts(fitting) }),
        }
    }
}

fn texts(ids: Vec<EngineId>) -> Vec<String> {
    ids.into_iter().map(|id| id.0).collect()
}

/// When it was asked for; an intent that is marked begins anew.
fn since(intent: &Intent) -> DateTime<Utc> {
    serde_json::from_value(intent.detail[SINCE].clone()).unwrap_or(intent.at)
}

impl Reconciler {
    /// What was asked for without an answer, oldest first.
    pub(super) async fn asked(
        &self,
        kind: ObjectKind,
        owner: &OwnerKey,
        lease: &Lease,
    ) -> Result<Vec<Intent>, StepError> {
        let of = (!self.doors.engine.manner().drives_itself).then_some(lease.connection);
        let mut asked = self.doors.registry.intents(of).await?;
        asked.retain(|intent| intent.effect == effect(kind) && intent.key == owner.0);
        Ok(asked)
    }

    /// Adopts the one that was found, or creates it under an intent; then records it. Its id, and whether it was created.
    /// The intent keeps the name in the engine beside our own.
    pub(super) async fn ensure_object<'a, C, L>(
        &self,
        wanted: &Wanted<'_>,
        (found, asked): (Found, &[Intent]),
        lease: &Lease,
        create: impl FnOnce() -> C,
        look: impl FnOnce() -> L,
    ) -> Result<(EngineId, bool), StepError>
    where
        C: Future<Output = Result<Ask<'a>, EngineError>>,
        L: Future<Output = Result<Vec<Candidate>, EngineError>>,
    {
        let (effect, what) = (effect(wanted.kind), wanted.what());
        let (id, how, made) = match found.ours(&what)? {
            Some((id, true)) => (id, "found by its owner mark and adopted", false),
            Some((id, false)) => (id, "found after an ask without an answer and adopted", false),
            None => {
                asked.last().map_or(Ok(()), |asked| self.refuse_too_early(&what, asked))?;
                let ask = create().await?;
                let id = self.send(wanted, lease, ask).await?;
                if !self.doors.engine.manner().late.is_zero() {
                    // something in between may have sent the ask twice
                    let asked = self.asked(wanted.kind, wanted.owner, lease).await?;
                    let mut found = Found::made(id.clone());
                    found.add(wanted.in_engine, look().await?, &asked);
                    found.refuse_twins(&what)?;
                }
                (id, "created", true)
            }
        };
        let cause = by_aam(format!("{what} {how} in the engine"), json!({"id": id, "owner": wanted.owner}));
        self.doors.registry.set_object(lease, wanted.kind, Some(&id), &cause).await?;
        for intent in self.doors.registry.intents(Some(lease.connection)).await? {
            if intent.effect == effect && intent.key == wanted.owner.0 {
                self.doors.registry.settle(lease, intent.id).await?;
            }
        }
        recorded(&effect);
        Ok((id, made))
    }

    /// While an earlier ask may still have its effect, no second one is sent.
    pub(super) fn refuse_too_early(&self, what: &str, asked: &Intent) -> Result<(), StepError> {
        self.may_appear(asked).map_or(Ok(()), |until| {
            let then = format!("another one is made after {until} if it does not appear");
            Err(unanswered(what, asked, then))
        })
    }

    /// The same of one whose spec is gone; what becomes of it then.
    pub(super) fn refuse_to_let_go(&self, what: &str, asked: &Intent, becomes: &str) -> Result<(), StepError> {
        self.may_appear(asked).map_or(Ok(()), |until| {
            Err(unanswered(what, asked, format!("it is looked for until {until}, and {becomes}")))
        })
    }

    /// Until when what was asked for may still appear, RFC 3339.
    fn may_appear(&self, asked: &Intent) -> Option<String> {
        let until = asked.at + self.doors.engine.manner().late;
        (self.doors.clock.now() < until).then(|| rfc3339(until))
    }

    /// No answer came to an ask that was sent, or none that tells how it is now: its intent stays, marked, as of now.
    pub(super) async fn mark_unanswered(
        &self,
        lease: &Lease,
        intent: uuid::Uuid,
        (effect, key): (&str, &str),
        (mut detail, error): (serde_json::Value, &EngineError),
    ) -> Result<(), StepError> {
        detail[UNANSWERED] = json!(true);
        detail[WHY] = json!(error.why);
        self.begin(lease, effect, key, detail).await?;
        Ok(self.doors.registry.settle(lease, intent).await?)
    }

    /// Asks for a new object under an intent, which is written last before the ask is sent: without one, nothing was sent. An
    /// ask without an answer leaves it behind, and so does a crash: of that nobody knows how far the ask came.
    async fn send(&self, wanted: &Wanted<'_>, lease: &Lease, ask: Ask<'_>) -> Result<EngineId, StepError> {
        let (effect, key) = (effect(wanted.kind), &wanted.owner.0);
        let mut detail = json!({NAME: wanted.in_engine, SINCE: self.doors.clock.now()});
        if !wanted.properties.is_empty() {
            detail[AS] = json!(wanted.properties);
        }
        let intent = self.begin(lease, &effect, key, detail.clone()).await?;
        let error = match self.sent_under(lease, &effect, ask).await? {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        match error.remedy {
            Remedy::Look => {
                self.mark_unanswered(lease, intent, (&effect, key), (detail, &error)).await?;
            }
            // An engine that may answer late has said that nothing happened; one that never does need not.
            Remedy::Retry | Remedy::Person if !self.doors.engine.manner().late.is_zero() => {
                self.doors.registry.settle(lease, intent).await?;
            }
            Remedy::Retry | Remedy::Person => {}
        }
        Err(error.into())
    }

    /// Writes the intent of an effect that is about to be sent.
    pub(super) async fn begin(
        &self,
        lease: &Lease,
        effect: &str,
        key: &str,
        detail: serde_json::Value,
    ) -> Result<uuid::Uuid, StepError> {
        let intent = Intent {
            id: uuid::Uuid::now_v7(),
            connection: lease.connection,
            effect: effect.to_owned(),
            key: key.to_owned(),
            detail,
            at: self.doors.clock.now(),
        };
        self.doors.registry.begin(lease, &intent).await?;
        Ok(intent.id)
    }
}

pub(super) fn effect(kind: ObjectKind) -> String {
    format!("create_{}", kind.word())
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn unanswered(what: &str, asked: &Intent, then: String) -> StepError {
    let ended = match asked.detail[WHY].as_str() {
        Some(why) => format!("and may have been made all the same ({why})"),
        None => "without an answer".to_owned(),
    };
    StepError::Unanswered { what: what.to_owned(), asked: rfc3339(asked.at), ended, then }
}

/// The names in the engine under which it was asked for: a spec may change while no answer comes.
pub(super) fn names(asked: &[Intent]) -> BTreeSet<String> {
    asked.iter().filter_map(|intent| intent.detail[NAME].as_str()).map(str::to_owned).collect()
}

/// What of it git owned when it was last asked for.
pub(super) fn asked_as(asked: &[Intent]) -> Option<Properties> {
    let of = |intent: &Intent| serde_json::from_value(intent.detail.get(AS)?.clone()).ok();
    asked.iter().rev().find_map(of)
}
