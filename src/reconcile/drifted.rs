//! The drift of one connection, worked out from its lock and the source's catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::text_of;
use crate::canonical::Undecided;
use crate::drift::rename::{Arrivals, Question, Values, arrival, questions};
use crate::drift::{Assessed, Automatic, Change, Radius, Severity};
use crate::model::{Catalog, CommitDraft, Fingerprint, RepoPath, StreamName};
use crate::ports::{DriftRow, DriftStatus};
use crate::repair::{self, Input, Part, Repair};
use crate::spec::{Connection, Desired, Lock, Mode, Rejection};

/// The rule that commits such changes by itself, as audit and catalog versions name it.
pub(super) fn rule_of(changes: &[Change]) -> &'static str {
    let renames = changes.iter().any(|change| matches!(change, Change::FieldRenamed { .. }));
    if renames { "rename" } else { "additive" }
}

/// A difference between lock and source, with its repair.
pub(super) struct Drifted {
    pub(super) repair: Repair,
    /// The rule that takes in all of what is proposed, by a request.
    pub(super) by_rule: Option<String>,
    /// The last rejection that names what was rejected.
    rejection: Option<Rejection>,
    /// The lock's fingerprint.
    pub(super) base: Fingerprint,
    /// When the source was looked at so.
    pub(super) seen_at: DateTime<Utc>,
    /// The fields whose values would tell more.
    pub(super) questions: BTreeMap<StreamName, Question>,
    /// Those of them that wait for a sync.
    pub(super) awaited: BTreeSet<StreamName>,
    /// Those of them whose old values could be kept, and were not yet.
    pub(super) unkept: BTreeSet<StreamName>,
    /// Whether keeping them fails for now: names and types propose meanwhile.
    keeping_fails: bool,
    /// What was taken in of streams whose fields are undecided, and what may be taken in.
    pub(super) arrivals: Arrivals,
    /// Whether a part of the repair that remaps records was not tried on landed ones.
    pub(super) untried: bool,
}

/// What a source shows, and what the registry knows that helps to tell who is whom.
pub(super) struct Seen<'a> {
    /// When it was looked at.
    pub(super) at: DateTime<Utc>,
    /// All of it.
    pub(super) whole: &'a Catalog,
    /// What of it the connection carries: [`crate::drift::followed`].
    pub(super) observed: Catalog,
    /// Catalogs that it showed, newest first.
    pub(super) past: Vec<Catalog>,
    /// What was sampled since it shows what it shows.
    pub(super) values: Values,
    /// What is, or was, taken in before it was known whose values it holds.
    pub(super) arrivals: Arrivals,
    /// Whether values may be kept, to be compared once a sync has landed the others.
    pub(super) may_keep: bool,
    /// Whether nothing can be committed for now.
    pub(super) remote_down: bool,
    /// Whether that fails for now.
    pub(super) keeping_fails: bool,
}

impl Drifted {
    /// `ask`: why nothing may be committed by rule now, as [`Input::ask`].
    pub(super) fn work_out(
        connection: &Connection,
        lock: &Lock,
        seen: &Seen<'_>,
        files: &BTreeMap<RepoPath, Arc<[u8]>>,
        desired: &Desired,
        ask: Option<&str>,
    ) -> Option<Self> {
        let (lock_text, spec_text) = (text_of(files, &connection.lock_path)?, text_of(files, &connection.path)?);
        let input = Input {
            desired,
            connection,
            lock,
            lock_text: &lock_text,
            spec_text: &spec_text,
            files,
            observed: &seen.observed,
            whole: seen.whole,
            past: &seen.past,
            values: &seen.values,
            arrivals: &seen.arrivals,
            ask: ask.or((connection.mode < Mode::Manage).then_some("the connection's mode is not `manage`")),
        };
        let repair = repair::draft(input).expect("names of a resolved connection make a path");
        let rejected = repair.rejected.as_ref().and_then(|part| part.assessment.changes.first());
        let rejection = rejected.and_then(|first| repair::rejection_of(input, &first.change)).cloned();
        let before = arrival::before(&lock.catalog, &seen.observed, &seen.arrivals);
        let questions = questions(&before, &seen.observed, &seen.values);
        let mut arrivals = seen.arrivals.clone();
        arrivals.retain(|name, arrival| arrival.is_open(name, &lock.catalog, &seen.observed));
        let is_about = |name: &StreamName, question: &Question| {
            arrivals.get(name).is_some_and(|arrival| arrival.is_about(question))
        };
        // what is not taken in, whatever kept it from that, is not landed
        let coming = repair.automatic.as_ref().filter(|_| !seen.remote_down);
        let carried = coming.map_or(&lock.catalog, |part| &part.lock.catalog);
        let awaited = |name: &StreamName| {
            let is_coming = |a: &arrival::Arrival| a.is_awaited() && a.is_taken_in(name, carried);
            connection.mode == Mode::Manage && arrivals.get(name).is_some_and(is_coming)
        };
        let may_wait = |name: &StreamName, question: &Question| {
            repair.assessment.may_wait(name, &question.gone.iter().cloned().collect())
        };
        let unkept = questions.iter().filter(|(name, question)| {
            seen.may_keep && !question.optional().is_empty() && !is_about(name, question) && may_wait(name, question)
        });
        Some(Self {
            rejection,
            base: lock.fingerprint.clone(),
            seen_at: seen.at,
            awaited: questions.keys().filter(|name| awaited(name)).cloned().collect(),
            unkept: unkept.map(|(name, _)| name.clone()).collect(),
            keeping_fails: seen.keeping_fails,
            questions,
            untried: false,
            by_rule: None,
            arrivals,
            repair,
        })
    }

    /// Whether its stream goes on, although it breaks something: a sync brings what is compared.
    fn opens(&self, change: &Assessed) -> bool {
        let stream = self.repair.assessment.stream_before(&change.change);
        if self.unkept.contains(stream) && !self.keeping_fails {
            let gone = self.questions.get(stream).map(|question| question.gone.iter().cloned().collect());
            return gone.is_some_and(|gone| change.waits(&gone));
        }
        self.awaits(change)
    }

    /// Whether it is decided when a sync has landed what is compared.
    fn awaits(&self, change: &Assessed) -> bool {
        let stream = self.repair.assessment.stream_before(&change.change);
        let arrival = self.arrivals.get(stream).filter(|_| self.awaited.contains(stream));
        arrival.is_some_and(|arrival| change.waits(&arrival.gone))
    }

    /// Whether all of what a person would decide waits for a sync first.
    pub(super) fn awaits_sync(&self) -> bool {
        let Some(part) = &self.repair.proposed else { return false };
        part.assessment.changes.iter().all(|c| self.awaits(c))
    }

    /// Of a stream, the fields that went and may be others under a new name, unless a person said no. Rows that landed since
    /// are read when it is decided.
    pub(super) fn undecided(&self, stream: &StreamName) -> Vec<Undecided> {
        let Repair { automatic, proposed, waiting, .. } = &self.repair;
        let (Some(arrival), Some(part)) = (self.arrivals.get(stream), proposed.as_ref().or(automatic.as_ref())) else {
            return Vec::new();
        };
        let drift = part.lock.fingerprint.short().to_owned();
        let changes = [proposed, automatic].into_iter().flatten().flat_map(|part| &part.assessment.changes);
        let gone = changes.chain(waiting).filter(|c| c.change.stream() == stream).filter_map(|c| match &c.change {
            Change::FieldRemoved { field, .. } | Change::FieldRenamed { from: field, .. } => Some(field),
            _ => None,
        });
        let undecided = gone.filter(|field| arrival.gone.contains(field)).map(|gone| Undecided {
            gone: gone.clone(),
            came: arrival.came.iter().cloned().collect(),
            drift: drift.clone(),
        });
        undecided.collect()
    }

    /// What is committed without a person: the lock's fingerprint after it, the rule, the commit.
    pub(super) fn automatic(&self) -> Option<(Fingerprint, String, CommitDraft)> {
        let part = self.repair.automatic.as_ref()?;
        let target = part.lock.fingerprint.clone();
        let rule = rule_of(&self.changes(&target));
        Some((target, rule.to_owned(), part.commit.clone()))
    }

    /// What the lock becomes by a rule, committed or by a request.
    pub(super) fn taken_in(&self) -> Option<Fingerprint> {
        let by_request = self.repair.proposed.as_ref().filter(|_| self.by_rule.is_some());
        self.repair.automatic.as_ref().or(by_request).map(|part| part.lock.fingerprint.clone())
    }

    /// The rule that takes all of it in; `None` where a part is a person's.
    pub(super) fn rule(&self) -> Option<String> {
        let (_, rule, _) = self.automatic().filter(|_| self.repair.proposed.is_none())?;
        Some(rule)
    }

    /// What a person decides.
    pub(super) fn proposed(&self) -> Option<(Fingerprint, CommitDraft)> {
        self.repair.proposed.as_ref().map(|part| (part.lock.fingerprint.clone(), part.commit.clone()))
    }

    /// What stands as rejected: the lock's fingerprint if it were taken all the same, the commit, and the rejection.
    pub(super) fn rejected(&self) -> Option<(Fingerprint, CommitDraft, &Rejection)> {
        let part = self.repair.rejected.as_ref()?;
        Some((part.lock.fingerprint.clone(), part.commit.clone(), self.rejection.as_ref()?))
    }

    /// The part that leads to this fingerprint.
    fn part(&self, target: &Fingerprint) -> Option<&Part> {
        [&self.repair.automatic, &self.repair.proposed, &self.repair.rejected]
            .into_iter()
            .flatten()
            .find(|part| part.lock.fingerprint == *target)
    }

    /// The changes of the part with that target.
    pub(super) fn changes(&self, target: &Fingerprint) -> Vec<Change> {
        self.part(target)
            .map(|part| part.assessment.changes.iter().map(|c| c.change.clone()).collect())
            .unwrap_or_default()
    }

    /// Probability that a reviewer would take the part as it is.
    pub(super) fn confidence(&self, target: &Fingerprint) -> f64 {
        self.part(target).map_or(0.0, |part| part.assessment.confidence())
    }

    /// `yes`, or the gate that forbids an automatic repair.
    pub(super) fn gate(&self, target: &Fingerprint) -> String {
        let automatic = self.part(target).map(|part| part.assessment.automatic());
        automatic.as_ref().and_then(Automatic::gate).unwrap_or("yes").to_owned()
    }

    /// Since when the drift towards this fingerprint is known, `open` being the connection's drifts: a pending one that has a
    /// change in common went over into it when something else changed, too.
    pub(super) fn known_since<'a>(
        &self,
        target: &Fingerprint,
        open: impl Iterator<Item = &'a DriftRow>,
    ) -> DateTime<Utc> {
        let changes = self.changes(target);
        let pending: Vec<&DriftRow> = open.filter(|drift| drift.status == DriftStatus::Pending).collect();
        let same = pending.iter().find(|drift| drift.target == *target).map(|drift| drift.opened_at);
        let shares = |drift: &&&DriftRow| drift.changes.iter().any(|change| changes.contains(change));
        let older = || pending.iter().filter(shares).map(|drift| drift.opened_at).min();
        same.or_else(older).unwrap_or(self.seen_at)
    }

    /// The fingerprint of what a person decides, or rejected, and what it reaches.
    pub(super) fn decided(&self) -> Option<(&Fingerprint, &Radius)> {
        let part = self.repair.proposed.as_ref().or(self.repair.rejected.as_ref())?;
        Some((&part.lock.fingerprint, &part.radius))
    }

    /// The drift file of what waits for a person, or else of what was rejected, or of what is automatic.
    pub(super) fn file(&self) -> Option<&str> {
        let Repair { automatic, proposed, rejected, .. } = &self.repair;
        let part = proposed.as_ref().or(rejected.as_ref()).or(automatic.as_ref())?;
        part.commit.edits.iter().find(|edit| edit.path == part.drift_path)?.after.as_deref()
    }

    /// Streams with a change that breaks their mapping or their sync, by the names that the lock has; but for those that wait
    /// for a sync.
    pub(super) fn breaking_streams(&self) -> BTreeSet<StreamName> {
        let breaking = self.repair.assessment.changes.iter().filter(|c| c.severity.is_breaking() && !self.opens(c));
        breaking.map(|c| self.repair.assessment.stream_before(&c.change).clone()).collect()
    }

    /// By which rule the automatic part is taken in, and how bad it is.
    pub(super) fn automatic_severity(&self) -> Option<(&'static str, Severity)> {
        let part = self.repair.automatic.as_ref()?;
        Some((rule_of(&self.changes(&part.lock.fingerprint)), part.assessment.severity()))
    }

    /// How bad that is which a person decides, or rejected.
    pub(super) fn decided_severity(&self) -> Option<Severity> {
        let part = self.repair.proposed.as_ref().or(self.repair.rejected.as_ref())?;
        Some(part.assessment.severity())
    }

    /// The same, as far as the source no longer has what they need.
    pub(super) fn streams_without_source(&self) -> BTreeSet<StreamName> {
        let breaking = self.repair.assessment.changes.iter().filter(|c| c.severity.is_breaking());
        let lacking = breaking.filter(|c| c.change.takes_away());
        lacking.map(|c| self.repair.assessment.stream_before(&c.change).clone()).collect()
    }

    /// Whether what is automatic breaks a mapping or a sync.
    pub(super) fn automatic_breaks(&self) -> bool {
        self.repair.automatic.as_ref().is_some_and(|part| part.assessment.severity().is_breaking())
    }
}
