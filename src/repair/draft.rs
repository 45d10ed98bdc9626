//! Drafts the repair of a drift: what is automatic as one commit, the rest as one proposal on top of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lock::edit_lock;
use super::mapping::{StreamEdits, edit_mapping};
use super::offers::offers;
use super::streams::NewName;
use super::trial::Trial;
use crate::drift::rename::{Arrivals, Values, arrival};
use crate::drift::{Assessed, Assessment, Automatic, Change, Radius, Scene, apply, assess, compare_with};
use crate::drift::{line_of, renamed, renames_in, say, stream_now, with_places};
use crate::model::{
    Catalog, CommitDraft, ConnectionRef, FieldPath, FileEdit, Fingerprint, NameError, RepoPath, StreamName,
};
use crate::spec::{Connection, Desired, Lock, Rejection, RepairPolicy};

/// What a repair is drafted from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The committed state: entities, and who else uses a mapping.
    pub desired: &'a Desired,
    /// The connection, with its mapping and policy.
    pub connection: &'a Connection,
    /// Its lock.
    pub lock: &'a Lock,
    /// The lock file as committed.
    pub lock_text: &'a str,
    /// The connection's spec as committed.
    pub spec_text: &'a str,
    /// All committed files, for drift files that are there already.
    pub files: &'a BTreeMap<RepoPath, Arc<[u8]>>,
    /// What the source showed, as far as the connection selects it: [`crate::drift::followed`].
    pub observed: &'a Catalog,
    /// All that the source showed.
    pub whole: &'a Catalog,
    /// Catalogs that the source showed, newest first: they know the places of the lock's fields.
    pub past: &'a [Catalog],
    /// What was sampled of the source and of landing, to judge renames by.
    pub values: &'a Values,
    /// Fields that are, or were, taken in before it is known whose values they hold.
    pub arrivals: &'a Arrivals,
    /// Why nothing may be committed by rule, whatever the policy says: completes "a person decides, because …".
    pub ask: Option<&'a str>,
}

/// The repair of a drift. No part: there is no drift.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    /// All changes, judged against the lock.
    pub assessment: Assessment,
    /// What is committed without a person.
    pub automatic: Option<Part>,
    /// What a person decides; its edits begin where those of `automatic` end. Without what was rejected, as far as it can
    /// go without.
    pub proposed: Option<Part>,
    /// What was rejected, where nothing else is to be decided; its edits begin where those of `automatic` end.
    pub rejected: Option<Part>,
    /// What is decided when a sync has landed what it is compared with, and is left out of `proposed` until then.
    pub waiting: Vec<Assessed>,
}

/// One commit of a repair.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its changes, judged.
    pub assessment: Assessment,
    /// The lock it leads to.
    pub lock: Lock,
    /// The drift file; [`Repair::tell`] writes it.
    pub drift_path: RepoPath,
    /// What it reaches; [`Repair::tell`] works it out.
    pub radius: Radius,
    /// What came of it on landed records; `None` while it was not tried.
    pub trials: Option<Vec<Trial>>,
    /// Fingerprint of the lock that it begins with.
    pub(super) base: Fingerprint,
    /// Committed by rules, without a person.
    pub(super) taken_in: bool,
    /// Whether comments in the lock are lost with it.
    loses_comments: bool,
    /// What it cannot do, in words; also in the drift file. After a merge `aam check` may ask for these.
    pub notes: Vec<String>,
    /// The commit.
    pub commit: CommitDraft,
}

impl Repair {
    /// What would be committed now, and what a person would be asked.
    pub fn offered(&self) -> impl Iterator<Item = &Part> {
        [&self.automatic, &self.proposed].into_iter().flatten()
    }

    /// The same, to be completed.
    pub fn offered_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        [&mut self.automatic, &mut self.proposed].into_iter().flatten()
    }
}

impl Part {
    /// Fingerprint of the lock that it begins with.
    pub fn base(&self) -> &Fingerprint {
        &self.base
    }

    /// Whether records are mapped otherwise with it, or since its changes.
    pub fn remaps(&self, connection: &Connection) -> bool {
        let Some(mapping) = &connection.mapping else { return false };
        let touched = self.assessment.changes.iter().flat_map(|change| &change.impact);
        touched.map(|impact| &impact.file).chain(self.commit.edits.iter().map(|e| &e.path)).any(|p| *p == mapping.path)
    }
}

/// Drafts the repair, all but the files that explain it: see [`Repair::tell`]. Pure: the same input gives the same bytes.
pub fn draft(input: Input<'_>) -> Result<Repair, NameError> {
    let connection = input.connection;
    let judge = |lock: &Catalog| {
        let (observed, entities, values) = (input.observed, &input.desired.entities, input.values);
        let before = &with_places(&arrival::before(lock, observed, input.arrivals), input.past);
        let changes = compare_with(before, observed, values);
        let scene = Scene { lock: before, observed, whole: Some(input.whole), connection, entities, values };
        let mut assessment = assess(&changes, scene);
        let is_in = |change: &Change| match change {
            Change::FieldAdded { stream, field, .. } => {
                lock.streams.get(stream).is_some_and(|stream| stream.fields.contains_key(field))
            }
            _ => false,
        };
        assessment.changes.retain(|c| !is_in(&c.change));
        hold_back(input, &mut assessment);
        assessment
    };
    let assessment = judge(&input.lock.catalog);
    let is_rejected = |c: &Assessed| rejection_of(input, &c.change).is_some();
    let passes = |c: &Assessed| c.automatic == Automatic::Yes && !is_rejected(c);
    let mut base = Base { lock: input.lock.clone(), lock_text: input.lock_text.to_owned() };
    let mut automatic = None;
    let (taken, catalog) = match arriving(input, &passes) {
        Some(arriving) => arriving,
        None => {
            let taken: Vec<_> = assessment.changes.iter().filter(|c| passes(c)).cloned().collect();
            let catalog = carried_out(input, &base, &taken);
            (taken, catalog)
        }
    };
    if !taken.is_empty() {
        let part = part(input, &base, catalog, Assessment { changes: taken }, true)?;
        if input.ask.is_none() && part.loses_comments {
            return draft(Input { ask: Some("comments in the lock would be lost"), ..input });
        }
        if let Some(text) = part.commit.edits.first().and_then(|edit| edit.after.clone()) {
            base = Base { lock: part.lock.clone(), lock_text: text };
        }
        automatic = Some(part);
    }
    let rest = judge(&base.lock.catalog).changes;
    let draft_of = |changes: Vec<Assessed>| {
        let catalog = carried_out(input, &base, &changes);
        part(input, &base, catalog, Assessment { changes }, false)
    };
    let open = rest.iter().filter(|c| !is_rejected(c)).cloned();
    let (mut waiting, mut open): (Vec<Assessed>, Vec<Assessed>) = open.partition(|c| waits(input, c));
    if open.is_empty() {
        std::mem::swap(&mut waiting, &mut open);
    }
    let (mut proposed, mut rejected) = (None, None);
    if rest.is_empty() {
        // Nothing is left.
    } else if open.is_empty() {
        rejected = Some(draft_of(rest)?);
    } else if base.lock.fingerprint.is_of(&carried_out(input, &base, &open)) {
        // What cannot go without a rejected change brings it up again.
        proposed = Some(draft_of(rest)?);
    } else {
        proposed = Some(draft_of(open)?);
    }
    Ok(Repair { assessment, automatic, proposed, rejected, waiting })
}

/// Whether a change is decided when a sync has landed what it is compared with.
fn waits(input: Input<'_>, change: &Assessed) -> bool {
    let stream = change.change.stream();
    let arrival = input.arrivals.get(stream).filter(|_| input.values.get(stream).is_some_and(|values| values.awaited));
    arrival.is_some_and(|arrival| change.waits(&arrival.gone))
}

/// The first step of renames whose values wait for a sync: what came is taken in as if nothing had gone; not in a stream in
/// which a part of it is a person's. `None` if there is none to be made.
fn arriving(input: Input<'_>, passes: &dyn Fn(&Assessed) -> bool) -> Option<(Vec<Assessed>, Catalog)> {
    let (lock, connection) = (&input.lock.catalog, input.connection);
    let judged = |arrivals: &Arrivals| {
        let catalog = arrival::taken_in(lock, input.observed, arrivals);
        let (values, entities) = (&Values::new(), &input.desired.entities);
        let changes = compare_with(lock, &catalog, values);
        let scene = Scene { lock, observed: &catalog, whole: None, connection, entities, values };
        let mut assessment = assess(&changes, scene);
        hold_back(input, &mut assessment);
        (assessment.changes, catalog)
    };
    let (changes, _) = judged(input.arrivals);
    let mut arrivals = input.arrivals.clone();
    for change in changes.iter().filter(|c| !passes(c)) {
        arrivals.remove(change.change.stream());
    }
    let (changes, catalog) = judged(&arrivals);
    (!changes.is_empty()).then_some((changes, catalog))
}

/// The lock with these changes.
fn carried_out(input: Input<'_>, base: &Base, changes: &[Assessed]) -> Catalog {
    let (lock, observed, arrivals) = (&base.lock.catalog, input.observed, input.arrivals);
    let before = arrival::before(lock, observed, arrivals);
    arrival::after(apply(&before, &plain(changes), observed), lock, observed, arrivals)
}

/// Leaves to a person what could be automatic but not in this connection.
fn hold_back(input: Input<'_>, assessment: &mut Assessment) {
    for change in assessment.changes.iter_mut().filter(|c| c.automatic == Automatic::Yes) {
        if let Some(why) = held_back(input, change) {
            change.automatic = Automatic::No(why);
        }
    }
}

/// Why a change that could be automatic is a person's in this connection, if it is.
fn held_back(input: Input<'_>, change: &Assessed) -> Option<String> {
    let connection = input.connection;
    if let Some(why) = input.ask {
        return Some(why.to_owned());
    }
    if connection.drift.repair == RepairPolicy::Propose {
        return Some("the connection's policy asks for everything".to_owned());
    }
    let threshold = connection.drift.threshold;
    if change.confidence < threshold {
        return Some(format!("its confidence of {:.2} is below the threshold of {threshold:.2}", change.confidence));
    }
    let mapping = connection.mapping.as_ref()?;
    if !change.impact.iter().any(|impact| impact.file == mapping.path) {
        return None;
    }
    let other = others_with(input, &mapping.path).next()?;
    Some(format!("{other} uses {} too, and its source may not have changed", mapping.path))
}

/// Other connections that are mapped by the same file.
fn others_with<'a>(input: Input<'a>, mapping: &'a RepoPath) -> impl Iterator<Item = &'a ConnectionRef> {
    let others = input.desired.connections.values().filter(move |other| {
        other.name != input.connection.name && other.mapping.as_ref().is_some_and(|m| m.path == *mapping)
    });
    others.map(|other| &other.name)
}

/// The last rejection that names a change.
pub fn rejection_of<'a>(input: Input<'a>, change: &Change) -> Option<&'a Rejection> {
    let line = line_of(change);
    let rejections = input.desired.rejected.get(&input.connection.name)?;
    rejections.iter().rfind(|rejection| rejection.changes.contains(&line))
}

fn plain(changes: &[Assessed]) -> Vec<Change> {
    changes.iter().map(|c| c.change.clone()).collect()
}

/// The lock that a part begins with.
struct Base {
    lock: Lock,
    lock_text: String,
}

fn part(
    input: Input<'_>,
    base: &Base,
    catalog: Catalog,
    assessment: Assessment,
    taken_in: bool,
) -> Result<Part, NameError> {
    let connection = input.connection;
    let edit = edit_lock(&base.lock_text, &base.lock, catalog, &connection.name.to_string());
    let mut notes = Vec::new();
    if edit.lost_annotations {
        notes.push("comments in the lock are lost, because one stands on a line that changes".to_owned());
    }
    let mut edits = vec![FileEdit {
        path: connection.lock_path.clone(),
        before: Some(base.lock_text.clone()),
        after: Some(edit.text),
    }];
    let by_stream = stream_edits(input, &assessment, &base.lock.catalog, &edit.lock.catalog);
    mapping_edit(input, &going_on(&assessment, &by_stream, &mut notes), &mut edits, &mut notes);
    super::chosen::edit(input.connection, input.spec_text, &by_stream, &mut edits, &mut notes);
    gone_streams(input.connection, &assessment, &mut notes);
    notes.extend(offers(input.desired, connection, &assessment, &edit.lock.catalog));
    for (change, rejection) in assessment.changes.iter().filter_map(|c| Some((c, rejection_of(input, &c.change)?))) {
        notes.push(format!("{} was rejected by {}: {}", line_of(&change.change), rejection.by, rejection.reason));
    }
    overruled_edit(input, &assessment, &mut edits, &mut notes);
    let target = edit.lock.fingerprint.clone();
    let drift_path = drift_path(&connection.name, &target)?;
    let commit = commit(&connection.name, &target, &assessment, taken_in, edits);
    let (base, radius, loses_comments) = (base.lock.fingerprint.clone(), Radius::default(), edit.lost_annotations);
    let lock = edit.lock;
    Ok(Part { assessment, lock, drift_path, radius, trials: None, base, taken_in, loses_comments, notes, commit })
}

/// What happened in each stream, in the words of people's files: old names.
fn stream_edits(
    input: Input<'_>,
    assessment: &Assessment,
    before: &Catalog,
    after: &Catalog,
) -> Vec<(StreamName, StreamEdits)> {
    let changes = plain(&assessment.changes);
    let mut edits: BTreeMap<StreamName, StreamEdits> = BTreeMap::new();
    for (name, stream) in &before.streams {
        let new = stream_now(&changes, name);
        let Some(now) = after.streams.get(new) else { continue };
        let renames = renames_in(&changes, new);
        let gone = |path: &&FieldPath| !now.fields.contains_key(&renamed(path, &renames));
        let removed: Vec<FieldPath> = stream.fields.keys().filter(gone).cloned().collect();
        let to = (new != name).then(|| NewName::of(new, input.whole));
        if to.is_some() || !renames.is_empty() || !removed.is_empty() {
            edits.insert(name.clone(), StreamEdits { to, renames, removed });
        }
    }
    edits.into_iter().collect()
}

/// What a mapping is told: where a field that stayed holds the values of one that went, it goes on with that one.
fn going_on(
    assessment: &Assessment,
    by_stream: &[(StreamName, StreamEdits)],
    notes: &mut Vec<String>,
) -> Vec<(StreamName, StreamEdits)> {
    let mut by_stream = by_stream.to_vec();
    for change in &assessment.changes {
        let (Change::FieldRemoved { field, .. }, Some(to)) = (&change.change, &change.lives_on) else { continue };
        let before = assessment.stream_before(&change.change);
        let Some((stream, edits)) = by_stream.iter_mut().find(|(name, _)| name == before) else { continue };
        edits.removed.retain(|path| !path.is_within(field));
        edits.renames.push((field.clone(), to.clone()));
        if !change.impact.is_empty() {
            notes.push(format!(
                "{stream}.{to} stayed and holds the same values as {field}: with this repair the mapping goes on with it. Before \
                 merging you may take these entries out instead"
            ));
        }
    }
    by_stream
}

fn mapping_edit(
    input: Input<'_>,
    by_stream: &[(StreamName, StreamEdits)],
    edits: &mut Vec<FileEdit>,
    notes: &mut Vec<String>,
) {
    let Some(mapping) = &input.connection.mapping else { return };
    let edit = edit_mapping(mapping, by_stream);
    let touched = edit.text.is_some() || !edit.notes.is_empty();
    notes.extend(edit.notes);
    for field in &edit.starved {
        let required = field.split_once('.').and_then(|(entity, target)| {
            input.desired.entities.get(entity)?.fields.get(target).map(|field| field.required)
        });
        let then = if required == Some(true) {
            "it is required, so records will go to the dead letters until it is mapped anew"
        } else {
            "new events carry no value for it until it is mapped anew"
        };
        notes.push(format!(
            "{field} starves: its source is gone and its entry is taken out; {then}. Before merging you may map it to another field instead"
        ));
    }
    if touched {
        for other in others_with(input, &mapping.path) {
            notes.push(format!(
                "{other} uses {} too, under a lock of its own: its source may not have changed",
                mapping.path
            ));
        }
    }
    if let Some(text) = edit.text {
        let before = Some(mapping.text.to_string());
        edits.push(FileEdit { path: mapping.path.clone(), before, after: Some(text) });
    }
}

/// Whoever approves what was rejected overrules the rejection: its lines go with the same commit.
fn overruled_edit(input: Input<'_>, assessment: &Assessment, edits: &mut Vec<FileEdit>, notes: &mut Vec<String>) {
    let connection = &input.connection.name;
    let overruled = assessment.changes.iter().filter(|c| rejection_of(input, &c.change).is_some());
    let overruled: Vec<String> = overruled.map(|c| line_of(&c.change)).collect();
    let Ok(path) = super::rejected_path(connection) else { return };
    let text = input.files.get(&path).map(|bytes| String::from_utf8_lossy(bytes));
    match super::overrule(connection, text.as_deref(), &overruled) {
        Ok(edit) => edits.extend(edit),
        Err(why) => notes.push(why),
    }
}

fn gone_streams(connection: &Connection, assessment: &Assessment, notes: &mut Vec<String>) {
    let gone = assessment.changes.iter().filter(|c| matches!(c.change, Change::StreamRemoved { .. }));
    for (change, impact) in gone.flat_map(|c| c.impact.iter().map(move |impact| (&c.change, impact))) {
        let place = if impact.file == connection.path {
            "the spec".to_owned()
        } else {
            format!("{}:{}", impact.file, impact.line)
        };
        notes.push(format!(
            "take stream {} out of {place}, or `aam check` will refuse it: {}",
            change.stream(),
            impact.hit.words()
        ));
    }
}

fn commit(
    connection: &ConnectionRef,
    target: &Fingerprint,
    assessment: &Assessment,
    taken_in: bool,
    edits: Vec<FileEdit>,
) -> CommitDraft {
    let changes = &assessment.changes;
    let what = match changes.as_slice() {
        [one] => say(&one.change),
        _ => format!("{} changes of the source", changes.len()),
    };
    let subject: String = super::markdown::visible(&format!("drift {connection}: {what}"), false);
    let subject =
        if subject.chars().count() > 100 { subject.chars().take(99).chain(['…']).collect() } else { subject };
    let body: String =
        changes.iter().take(40).map(|c| format!("{}\n", super::markdown::visible(&say(&c.change), false))).collect();
    let more = changes.len().saturating_sub(40);
    let body = if more > 0 { format!("{body}… and {more} more\n") } else { body };
    let mut rules: Vec<&str> = changes.iter().map(|c| c.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let cause = if taken_in { format!("rule {}", rules.join(" ")) } else { format!("drift {}", rules.join(" ")) };
    let trailers = [
        ("Aam-Connection", connection.to_string()),
        ("Aam-Drift", target.to_string()),
        ("Aam-Confidence", format!("{:.2}", assessment.confidence())),
        ("Aam-Cause", cause),
    ];
    let trailers = trailers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    CommitDraft { subject, body, trailers, edits }
}

/// `aam/drift/<tenant>/<connection>`: the one repair branch of a connection.
pub fn branch(connection: &ConnectionRef) -> String {
    format!("aam/drift/{}/{}", connection.tenant, connection.name)
}

/// The branch of a rollback that a person is to merge. No connection of a tenant has such a branch for its drifts, unless
/// somebody calls a tenant `rollback-of`.
pub fn rollback_branch(connection: &ConnectionRef) -> String {
    format!("aam/drift/rollback-of/{}/{}", connection.tenant, connection.name)
}

/// The branch that carries to git what people changed in the engine.
pub fn live_branch(connection: &ConnectionRef) -> String {
    format!("aam/drift/live-edit-of/{}/{}", connection.tenant, connection.name)
}

/// The branch of a repair that a rule takes in by a request. Nothing else is ever offered on it: what a forge was told to merge
/// by itself never becomes something that a person is to decide.
pub fn rule_branch(connection: &ConnectionRef) -> String {
    format!("aam/drift/by-rule-of/{}/{}", connection.tenant, connection.name)
}

/// The branch of a lock that the tracked branch does not take.
pub fn lock_branch(connection: &ConnectionRef) -> String {
    format!("aam/drift/lock-of/{}/{}", connection.tenant, connection.name)
}

/// The branch of rejections that the tracked branch does not take.
pub fn rejection_branch(connection: &ConnectionRef) -> String {
    format!("aam/drift/rejection-of/{}/{}", connection.tenant, connection.name)
}

/// Every branch that may be made for a connection, the drift's first.
pub fn branches(connection: &ConnectionRef) -> [String; 6] {
    let of = [branch, rule_branch, rollback_branch, live_branch, lock_branch, rejection_branch];
    of.map(|name| name(connection))
}

/// `drift/<tenant>/<connection>/<short fingerprint>.md`
pub fn drift_path(connection: &ConnectionRef, target: &Fingerprint) -> Result<RepoPath, NameError> {
    RepoPath::new(&format!("drift/{}/{}/{}.md", connection.tenant, connection.name, target.short()))
}
