//! Going back to an earlier catalog version: which commit does it, what it does to data, and what speaks against it.
//!
//! Versions never go back: the old schema becomes the next version, with the mapping and the stream choices of its moment,
//! and a pin keeps it there for a while. Pure: what git, registry and source say comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::entry;
use super::lock::edit_lock;
use super::markdown::visible;
use crate::diag::{Diagnostic, Severity};
use crate::drift::{hits_of_field, say};
use crate::mapping;
use crate::model::{
    Catalog, CommitDraft, CommitId, Cursor, FieldPath, FileEdit, Fingerprint, RepoPath, Stream, StreamName, SyncMode,
};
use crate::spec::{self, Connection, Desired, Lock, StreamMode, StreamPlan};

/// What a rollback is drafted from.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// The committed state, and what it was resolved from.
    pub specs: &'a spec::Input<'a>,
    /// The connection as it is declared.
    pub connection: &'a Connection,
    /// Its lock: the version in force.
    pub lock: &'a Lock,
    /// The version to go back to.
    pub version: u32,
    /// Its schema.
    pub catalog: &'a Catalog,
    /// The commit that brought it, where git knows.
    pub moment: Option<&'a Moment>,
    /// All that the source showed last.
    pub observed: &'a Catalog,
    /// Whether a sync reads every field of a stream, so that it fails if one is gone.
    pub reads_all: bool,
    /// Rows that landed of each stream so far, as far as the registry remembers.
    pub rows: &'a BTreeMap<StreamName, u64>,
}

/// The files at the commit that brought a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The commit.
    pub commit: CommitId,
    /// The connection's spec; `None` if it lay elsewhere.
    pub spec: Option<String>,
    /// The mapping that the connection names today; `None` if it was not there.
    pub mapping: Option<String>,
}

/// Who wants it, why, and until when it stays.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// `Name <mail>`.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
    /// As the pin will say it.
    pub until: &'a str,
    /// Streams whose landed rows may be cleared.
    pub may_clear: &'a BTreeSet<StreamName>,
}

/// A rollback, worked out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rollback {
    /// The version to go back to.
    pub to: u32,
    /// The version that it becomes.
    pub becomes: u32,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// What changes between the version in force and the old one, a line each.
    pub changes: Vec<String>,
    /// What it does to the data of each stream.
    pub effects: Vec<Effect>,
    /// Why it cannot be done; empty if it can.
    pub refusals: Vec<String>,
    /// What a person should know besides.
    pub notes: Vec<String>,
    /// The commit.
    #[serde(skip)]
    pub commit: CommitDraft,
}

/// What becomes of the data of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The stream.
    pub stream: StreamName,
    /// How it is read and written now; `None` if it is not carried.
    pub now: Option<Way>,
    /// The same afterwards.
    pub then: Option<Way>,
    /// Rows that landed of it so far.
    pub rows: Option<u64>,
    /// What its next sync does.
    pub next_sync: NextSync,
    /// Why what landed must be cleared first, if it must.
    pub clear: Option<String>,
    /// What becomes of its columns in landing, a line each.
    pub columns: Vec<String>,
}

/// How a stream is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Mode.
    pub mode: StreamMode,
    /// Cursor in use.
    pub cursor: Option<FieldPath>,
    /// Key in use.
    pub key: Vec<FieldPath>,
}

/// Where the next sync of a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NextSync {
    /// Where the last one ended.
    GoesOn,
    /// It reads all of it, as each of its syncs does.
    ReadsAll,
    /// At the beginning: a refresh.
    Refreshes,
    /// It is not carried any more; what landed stays.
    Never,
}

impl NextSync {
    /// The same for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::GoesOn => "goes on where it is",
            Self::ReadsAll => "is read whole, as by every sync",
            Self::Refreshes => "is read from its beginning by the next sync",
            Self::Never => "is not carried any more; what landed stays",
        }
    }
}

impl Way {
    fn of(plan: &StreamPlan) -> Self {
        Self { mode: plan.mode, cursor: plan.cursor.clone(), key: plan.key.clone() }
    }

    /// `incremental_append, cursor updated_at, key id`.
    pub fn describe(&self) -> String {
        let mut parts = vec![self.mode.word().to_owned()];
        parts.extend(self.cursor.as_ref().map(|cursor| format!("cursor {cursor}")));
        if !self.key.is_empty() {
            parts.push(format!("key {}", listed(&self.key)));
        }
        parts.join(", ")
    }
}

impl Rollback {
    /// The streams that must be cleared.
    pub fn to_clear(&self) -> BTreeSet<StreamName> {
        self.effects.iter().filter(|effect| effect.clear.is_some()).map(|effect| effect.stream.clone()).collect()
    }
}

/// Works a rollback out.
pub fn roll_back(from: Basis<'_>, wish: Wish<'_>) -> Rollback {
    let name = from.connection.name.to_string();
    let (mut refusals, mut notes) = (Vec::new(), Vec::new());
    let texts = from.specs.files;
    let text = |path: &RepoPath| texts.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let lock_text = text(&from.connection.lock_path).unwrap_or_default();
    let edit = edit_lock(&lock_text, from.lock, from.catalog.clone(), &name);
    let mut edits =
        vec![FileEdit { path: from.connection.lock_path.clone(), before: Some(lock_text), after: Some(edit.text) }];
    let spec_text = text(&from.connection.path).unwrap_or_default();
    match spec_edit(from, wish, &spec_text, &mut notes) {
        Some(after) => {
            edits.push(FileEdit { path: from.connection.path.clone(), before: Some(spec_text), after: Some(after) })
        }
        None => refusals.push(format!(
            "{} is laid out so that no pin can be written into it: write it in block style, one key a line",
            from.connection.path
        )),
    }
    mapping_edit(from, &mut edits, &mut notes);

    let files = with(texts, &edits);
    let (before, after) = (resolved(from.specs, texts), resolved(from.specs, &files));
    let known: BTreeSet<_> = before.1.iter().map(what).collect();
    let new = after.1.iter().filter(|d| d.severity == Severity::Error && !known.contains(&what(d)));
    refusals.extend(new.map(|d| {
        let place = d.place.as_ref().map(|place| format!("{}: ", place.file)).unwrap_or_default();
        format!("then `aam check` would say: {place}{} {}", d.code, d.message)
    }));
    let mut effects = Vec::new();
    if let Some(then) = after.0.connections.get(&from.connection.name) {
        let now = spec::configure(from.connection, &from.lock.catalog).unwrap_or_default();
        match spec::configure(then, from.catalog) {
            Ok(plans) => {
                for plan in &plans {
                    lacks(from, then, plan, &mut refusals, &mut notes);
                }
                effects = data_effects(from, &now, &plans);
            }
            Err(problems) => refusals.push(spec::describe_problems(&problems)),
        }
    }
    let unanswered = effects.iter().filter(|e| !wish.may_clear.contains(&e.stream));
    let unanswered = unanswered.filter_map(|e| Some((&e.stream, e.clear.as_ref()?)));
    refusals.extend(unanswered.map(|(stream, why)| {
        format!("stream {stream}: {why}; to have what landed of it deleted, add `--i-accept-clear {stream}`")
    }));
    let changes = crate::drift::compare(&from.lock.catalog, from.catalog).iter().map(say).collect();
    let (becomes, fingerprint) = (edit.lock.version, edit.lock.fingerprint);
    let commit = commit(from, wish, &fingerprint, &effects, edits);
    Rollback { to: from.version, becomes, fingerprint, changes, effects, refusals, notes, commit }
}

/// The spec with the stream choices of the version's moment and the pin; `None` if that cannot be written.
fn spec_edit(from: Basis<'_>, wish: Wish<'_>, text: &str, notes: &mut Vec<String>) -> Option<String> {
    let mut edited = text.to_owned();
    match from.moment.and_then(|moment| moment.spec.as_ref()) {
        Some(then) => match entry::take_over(text, "streams", then) {
            Some(taken) => edited = taken,
            None => notes.push(format!("{}: `streams` is to be brought back by hand", from.connection.path)),
        },
        None => notes.push(format!(
            "git does not know the spec of version {}: stream choices and mapping stay as they are",
            from.version
        )),
    }
    let pin = json!({"version": from.version, "until": wish.until, "reason": wish.reason, "by": wish.by});
    entry::set(&edited, &["pin"], Some(&pin))
}

fn mapping_edit(from: Basis<'_>, edits: &mut Vec<FileEdit>, notes: &mut Vec<String>) {
    let (Some(mapping), Some(moment)) = (&from.connection.mapping, from.moment) else { return };
    let Some(then) = &moment.mapping else {
        notes.push(format!("{} was not there with version {}: it stays as it is", mapping.path, from.version));
        return;
    };
    if **then == *mapping.text {
        return;
    }
    edits.push(FileEdit {
        path: mapping.path.clone(),
        before: Some(mapping.text.to_string()),
        after: Some(then.clone()),
    });
    notes.push(format!("{} becomes what it was at {}", mapping.path, moment.commit.short()));
}

type Files = BTreeMap<RepoPath, Arc<[u8]>>;

fn with(files: &Files, edits: &[FileEdit]) -> Files {
    let mut files = files.clone();
    for FileEdit { path, after, .. } in edits {
        match after {
            Some(text) => drop(files.insert(path.clone(), text.as_bytes().into())),
            None => drop(files.remove(path)),
        }
    }
    files
}

fn resolved(input: &spec::Input<'_>, files: &Files) -> (Desired, Vec<Diagnostic>) {
    let spec::Resolution { desired, mut diagnostics, .. } = spec::resolve(&spec::Input { files, ..input.clone() });
    diagnostics.extend(mapping::check(&desired));
    (desired, diagnostics)
}

/// A problem, wherever its lines have moved to.
fn what(d: &Diagnostic) -> (Option<&str>, &'static str, &str) {
    (d.place.as_ref().map(|place| place.file.as_str()), d.code, d.message.as_str())
}

/// What the source no longer has of what a stream needs.
fn lacks(from: Basis<'_>, then: &Connection, plan: &StreamPlan, refusals: &mut Vec<String>, notes: &mut Vec<String>) {
    let name = &plan.name;
    let Some(shown) = from.observed.streams.get(name) else {
        refusals.push(format!("stream {name}: the source does not show it any more"));
        return;
    };
    for path in gone(&plan.schema, shown) {
        let mut uses = Vec::new();
        if plan.key.iter().any(|key| key.is_within(path)) {
            uses.push("it is part of its key".to_owned());
        }
        if plan.cursor.as_ref().is_some_and(|cursor| cursor.is_within(path)) {
            uses.push("it is its cursor".to_owned());
        }
        uses.extend(hits_of_field(then, name, path));
        if from.reads_all && path.parent().is_none() {
            uses.push("every sync reads it (`drift: {when_breaking: continue}` takes what is gone as null)".to_owned());
        }
        uses.dedup();
        match uses.as_slice() {
            [] => notes.push(format!("stream {name}: the source has no {path} any more; nothing uses it")),
            uses => refusals.push(format!("stream {name}: the source has no {path} any more: {}", uses.join("; "))),
        }
    }
    let reads = plan.mode.reads();
    let own_cursor = plan.cursor.is_none() && reads == SyncMode::Incremental;
    if !shown.modes.contains(&reads) || (own_cursor && shown.cursor == Cursor::None) {
        refusals.push(format!("stream {name}: the source cannot be read any more as {} does", plan.mode.word()));
    }
}

/// The fields that a source shows no more, without those inside another one that is gone.
fn gone<'s>(then: &'s Stream, shown: &Stream) -> Vec<&'s FieldPath> {
    let gone = |path: &FieldPath| !shown.fields.contains_key(path);
    let all: Vec<&FieldPath> = then.fields.keys().filter(|path| gone(path)).collect();
    let outermost = |path: &&&FieldPath| !all.iter().any(|other| *other != **path && path.is_within(other));
    all.iter().filter(outermost).copied().collect()
}

fn data_effects(from: Basis<'_>, now: &[StreamPlan], then: &[StreamPlan]) -> Vec<Effect> {
    let find = |plans: &'_ [StreamPlan], name: &StreamName| plans.iter().position(|plan| plan.name == *name);
    let names: BTreeSet<&StreamName> = now.iter().chain(then).map(|plan| &plan.name).collect();
    let effect = |name: &StreamName| {
        let (is, becomes) = (find(now, name).map(|at| &now[at]), find(then, name).map(|at| &then[at]));
        let next_sync = match (is, becomes) {
            (_, None) => NextSync::Never,
            (_, Some(becomes)) if becomes.mode.reads() == SyncMode::FullRefresh => NextSync::ReadsAll,
            (Some(is), Some(becomes)) if is.mode.reads() == SyncMode::Incremental && is.cursor == becomes.cursor => {
                NextSync::GoesOn
            }
            _ => NextSync::Refreshes,
        };
        let (clear, columns) = match (is, becomes) {
            (Some(is), Some(becomes)) => (needs_clear(is, becomes, next_sync), columns(is, becomes)),
            _ => (None, Vec::new()),
        };
        let rows = from.rows.get(name).copied();
        // of what never landed nothing is lost
        let clear = clear.filter(|_| rows != Some(0));
        let (stream, now, then) = (name.clone(), is.map(Way::of), becomes.map(Way::of));
        Effect { stream, now, then, rows, next_sync, clear, columns }
    };
    names.into_iter().map(effect).collect()
}

/// Why what landed of a stream must go before it is read in another way.
fn needs_clear(is: &StreamPlan, becomes: &StreamPlan, next: NextSync) -> Option<String> {
    if is.key != becomes.key && (is.mode.dedups() || becomes.mode.dedups()) {
        let (was, key) = (listed(&is.key), listed(&becomes.key));
        return Some(format!("its key becomes {key} and was {was}, by which the rows that landed are told apart"));
    }
    if becomes.mode.mirrors() && !is.mode.mirrors() {
        return Some(format!("with {} its next sync replaces what landed", becomes.mode.word()));
    }
    let comes_again = next == NextSync::Refreshes && !becomes.mode.dedups() && !becomes.mode.mirrors();
    comes_again.then(|| "it is read from its beginning, so that every row would land twice".to_owned())
}

fn columns(is: &StreamPlan, becomes: &StreamPlan) -> Vec<String> {
    let top = |stream: &Stream| -> BTreeMap<String, String> {
        stream.columns().iter().map(|(path, field)| (path.root().to_owned(), field.shape())).collect()
    };
    let (was, is) = (top(&is.schema), top(&becomes.schema));
    let dropped = was.keys().filter(|name| !is.contains_key(*name));
    let dropped = dropped.map(|name| format!("column {name} goes from landing with its values by the next sync"));
    let rest = is.iter().filter_map(|(name, shape)| match was.get(name) {
        None => Some(format!("column {name} comes; rows that landed have no value for it until they are read again")),
        Some(before) if before.trim_end_matches('!') != shape.trim_end_matches('!') => {
            Some(format!("column {name} becomes {shape} and was {before}"))
        }
        Some(_) => None,
    });
    dropped.chain(rest).collect()
}

fn listed(paths: &[FieldPath]) -> String {
    match paths {
        [] => "none".to_owned(),
        paths => paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn commit(
    from: Basis<'_>,
    wish: Wish<'_>,
    fingerprint: &Fingerprint,
    effects: &[Effect],
    edits: Vec<FileEdit>,
) -> CommitDraft {
    let name = &from.connection.name;
    let mut body = format!("{}\n\n", visible(wish.reason, false));
    for effect in effects {
        body.push_str(&format!("{}\n", visible(&format!("{} {}", effect.stream, effect.next_sync.describe()), false)));
    }
    let trailers = [
        ("Aam-Connection", name.to_string()),
        ("Aam-Drift", fingerprint.to_string()),
        ("Aam-Cause", format!("rollback to version {} by {}", from.version, wish.by)),
    ];
    let trailers = trailers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    CommitDraft { subject: format!("rollback {name}: version {} again", from.version), body, trailers, edits }
}
