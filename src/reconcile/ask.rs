//! Asking the engine for a new object, once: what is there already is adopted, an intent is written last before the ask is
//! sent, and while an ask may still have its effect no second one is sent.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Reconciler, StepError, by_aam};
use crate::ports::{
    Ask, Candidate, EngineError, EngineId, Intent, Lease, ObjectKind, OwnerKey, Remedy, recorded, sent,
};

/// In an intent's detail: the ask was sent, and no answer came.
pub(super) const UNANSWERED: &str = "unanswered";

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
    pub(super) async fn ensure_object<'a, F>(
        &self,
        kind: ObjectKind,
        owner: &OwnerKey,
        (name, in_engine): (&str, &str),
        (found, asked): (Vec<Candidate>, &[Intent]),
        lease: &Lease,
        create: impl FnOnce() -> F,
    ) -> Result<(EngineId, bool), StepError>
    where
        F: Future<Output = Result<Ask<'a>, EngineError>>,
    {
        let effect = effect(kind);
        let what = format!("{} {name}", kind.word());
        let (id, how, made) = match ours(&what, found, !asked.is_empty())? {
            Some(Candidate { id, marked: true }) => (id, "found by its owner mark and adopted", false),
            Some(Candidate { id, marked: false }) => (id, "found after an ask without an answer and adopted", false),
            None => {
                asked.last().map_or(Ok(()), |asked| self.refuse_too_early(&what, asked))?;
                let ask = create().await?;
                (self.send(&effect, owner, in_engine, lease, ask).await?, "created", true)
            }
        };
        let cause = by_aam(format!("{what} {how} in the engine"), json!({"id": id, "owner": owner}));
        self.doors.registry.set_object(lease, kind, Some(&id), &cause).await?;
        for intent in self.doors.registry.intents(Some(lease.connection)).await? {
            if intent.effect == effect && intent.key == owner.0 {
                self.doors.registry.settle(lease, intent.id).await?;
            }
        }
        recorded(&effect);
        Ok((id, made))
    }

    /// While an earlier ask may still have its effect, no second one is sent.
    pub(super) fn refuse_too_early(&self, what: &str, asked: &Intent) -> Result<(), StepError> {
        let until = asked.at + self.doors.engine.manner().late;
        if self.doors.clock.now() >= until {
            return Ok(());
        }
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Err(StepError::Unanswered { what: what.to_owned(), asked: text(asked.at), until: text(until) })
    }

    /// No answer came to an ask that was sent: its intent stays, marked, as of now.
    pub(super) async fn mark_unanswered(
        &self,
        lease: &Lease,
        intent: uuid::Uuid,
        (effect, key): (&str, &str),
        mut detail: serde_json::Value,
    ) -> Result<(), StepError> {
        detail[UNANSWERED] = json!(true);
        self.begin(lease, effect, key, detail).await?;
        Ok(self.doors.registry.settle(lease, intent).await?)
    }

    /// Asks for a new object under an intent, which is written last before the ask is sent: without one, nothing was sent. An
    /// ask without an answer leaves it behind, and so does a crash: of that nobody knows how far the ask came.
    async fn send(
        &self,
        effect: &str,
        owner: &OwnerKey,
        name: &str,
        lease: &Lease,
        ask: Ask<'_>,
    ) -> Result<EngineId, StepError> {
        let intent = self.begin(lease, effect, &owner.0, json!({"name": name})).await?;
        let error = match sent(effect, ask).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        match error.remedy {
            Remedy::Look => {
                self.mark_unanswered(lease, intent, (effect, &owner.0), json!({"name": name})).await?;
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

fn effect(kind: ObjectKind) -> String {
    format!("create_{}", kind.word())
}

/// The other names in the engine under which it was asked for: a spec may change while no answer comes.
pub(super) fn other_names(asked: &[Intent], name: &str) -> BTreeSet<String> {
    let names = asked.iter().filter_map(|intent| intent.detail["name"].as_str());
    names.filter(|other| *other != name).map(str::to_owned).collect()
}

/// Adds what was found in another way, each once.
pub(super) fn join(found: &mut Vec<Candidate>, more: Vec<Candidate>) {
    for one in more {
        if !found.iter().any(|known| known.id == one.id) {
            found.push(one);
        }
    }
}

/// The one object that is ours among those that may be: by its mark, or, once it was asked for, by name and parts.
pub(super) fn ours(what: &str, found: Vec<Candidate>, asked: bool) -> Result<Option<Candidate>, StepError> {
    let marked: Vec<Candidate> = found.iter().filter(|one| one.marked).cloned().collect();
    let mut fitting = if marked.is_empty() { found } else { marked };
    let ids = |of: &[Candidate]| of.iter().map(|one| one.id.0.clone()).collect();
    match fitting.len() {
        0 => Ok(None),
        1 if asked || fitting[0].marked => Ok(fitting.pop()),
        _ if asked || fitting[0].marked => Err(StepError::Ambiguous { what: what.to_owned(), ids: ids(&fitting) }),
        _ => Err(StepError::Taken { what: what.to_owned(), ids: ids(&fitting) }),
    }
}
