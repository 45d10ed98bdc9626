//! Which streams and fields a connection carries, and how each stream is read.

use std::collections::BTreeMap;

use crate::model::{Catalog, Cursor, FieldPath, Stream, StreamName, SyncMode};

use super::read::nearest;
use super::{Connection, FieldSelection, Selection, StreamChoice, StreamMode};

/// A choice that the source cannot meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectProblem {
    /// The stream as the spec names it.
    pub stream: StreamName,
    /// Where in the choices of that stream: `cursor`, `key`, `mode`, `fields`; empty for the stream itself.
    pub at: &'static str,
    /// The word that is wrong, if it is one of several below `at`.
    pub word: Option<String>,
    /// What is wrong.
    pub message: String,
    /// Words beside the caret.
    pub label: Option<String>,
    /// What was observed.
    pub observed: Option<String>,
    /// The likely mend.
    pub help: Option<String>,
    /// Whether `aam lock` may mend it: the lock does not know the stream or field yet.
    pub unlocked: bool,
}

/// One stream of a connection, with every choice made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlan {
    /// Its full name at the source.
    pub name: StreamName,
    /// How it is read and written.
    pub mode: StreamMode,
    /// The cursor in use.
    pub cursor: Option<FieldPath>,
    /// The key in use; empty if none.
    pub key: Vec<FieldPath>,
    /// Facts from the lock, with only the carried fields.
    pub schema: Stream,
}

/// What a connection carries of a source's catalog; a listed stream or field that the source does not have is a problem.
/// For onboarding and `aam lock`.
pub fn select(catalog: &Catalog, selection: &Selection) -> Result<Catalog, Vec<SelectProblem>> {
    let mut problems = Vec::new();
    let selected = pick(catalog, selection, &mut problems);
    if problems.is_empty() { Ok(selected) } else { Err(problems) }
}

/// The same for a look: what the source no longer has is simply not there, for that is drift and no typing error.
pub fn select_present(catalog: &Catalog, selection: &Selection) -> Catalog {
    pick(catalog, selection, &mut Vec::new())
}

fn pick(catalog: &Catalog, selection: &Selection, problems: &mut Vec<SelectProblem>) -> Catalog {
    let Selection::Listed(listed) = selection else { return catalog.clone() };
    let mut streams = BTreeMap::new();
    for (asked, choice) in listed {
        match find(catalog, asked) {
            Ok(name) => {
                let stream = &catalog.streams[name];
                check_fields(asked, stream, &choice.fields, problems);
                streams.insert(name.clone(), carried(stream, &choice.fields));
            }
            Err(problem) => problems.push(*problem),
        }
    }
    Catalog { streams }
}

/// The stream that a name in a spec means: the full name, or a bare name that only one stream has.
pub(super) fn find<'c>(catalog: &'c Catalog, asked: &StreamName) -> Result<&'c StreamName, Box<SelectProblem>> {
    if let Some((name, _)) = catalog.streams.get_key_value(asked) {
        return Ok(name);
    }
    let bare = |name: &&StreamName| asked.namespace.is_none() && name.name == asked.name;
    let found: Vec<&StreamName> = catalog.streams.keys().filter(bare).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let mut problem = problem(asked, "", None, format!("the source has no stream `{asked}`"));
            problem.unlocked = true;
            let names: Vec<String> = catalog.streams.keys().map(ToString::to_string).collect();
            let bares = catalog.streams.keys().map(|n| n.name.as_str());
            let near = nearest(&asked.to_string(), names.iter().map(String::as_str).chain(bares));
            problem.help = near.map(|near| format!("did you mean `{near}`?"));
            problem.observed = Some(some_of(names));
            Err(Box::new(problem))
        }
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            let mut problem = problem(asked, "", None, format!("several streams are called `{asked}`"));
            problem.help = Some(format!("write one of {}", names.join(", ")));
            Err(Box::new(problem))
        }
    }
}

fn check_fields(asked: &StreamName, stream: &Stream, fields: &FieldSelection, problems: &mut Vec<SelectProblem>) {
    let (FieldSelection::Include(names) | FieldSelection::Exclude(names)) = fields else { return };
    let known = top_names(stream);
    for name in names.iter().filter(|n| !known.contains(&n.as_str())) {
        let mut problem =
            problem(asked, "fields", Some(name.clone()), format!("stream `{asked}` has no field `{name}`"));
        problem.unlocked = true;
        problem.help = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        problem.observed = Some(some_of(known.iter().map(ToString::to_string).collect()));
        problems.push(problem);
    }
}

fn top_names(stream: &Stream) -> Vec<&str> {
    stream.fields.keys().filter(|p| p.segments().len() == 1).map(FieldPath::root).collect()
}

/// A stream with only the carried fields. Facts about key and cursor stay as the source said them.
pub(crate) fn carried(stream: &Stream, fields: &FieldSelection) -> Stream {
    let keep = |path: &FieldPath| match fields {
        FieldSelection::All => true,
        FieldSelection::Include(names) => names.contains(path.root()),
        FieldSelection::Exclude(names) => !names.contains(path.root()),
    };
    let fields = stream.fields.iter().filter(|(path, _)| keep(path)).map(|(p, f)| (p.clone(), f.clone())).collect();
    Stream { fields, ..stream.clone() }
}

/// Mode, cursor and key of every stream that the lock and the spec both have. A stream that is only in the spec waits for
/// `aam lock`; one that is only in the lock is not carried any more.
pub fn configure(connection: &Connection, lock_catalog: &Catalog) -> Result<Vec<StreamPlan>, Vec<SelectProblem>> {
    let mut problems = Vec::new();
    let mut plans = Vec::new();
    let default = StreamChoice::default();
    let wanted: Vec<(&StreamName, &StreamName, &StreamChoice)> = match &connection.streams {
        Selection::All => lock_catalog.streams.keys().map(|name| (name, name, &default)).collect(),
        Selection::Listed(listed) => {
            let find = |(asked, choice)| match find(lock_catalog, asked) {
                Ok(name) => Some((asked, name, choice)),
                Err(problem) if problem.unlocked => None,
                Err(problem) => {
                    problems.push(*problem);
                    None
                }
            };
            listed.iter().filter_map(find).collect()
        }
    };
    for (asked, name, choice) in wanted {
        let schema = carried(&lock_catalog.streams[name], &choice.fields);
        let before = problems.len();
        let plan = plan_stream(asked, name, choice, schema, &mut problems);
        plans.extend(plan.filter(|_| problems.len() == before));
    }
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    if problems.is_empty() { Ok(plans) } else { Err(problems) }
}

fn plan_stream(
    asked: &StreamName,
    name: &StreamName,
    choice: &StreamChoice,
    schema: Stream,
    problems: &mut Vec<SelectProblem>,
) -> Option<StreamPlan> {
    // The source's own key serves only if all of it is carried; a key that a person chose must be.
    let own = || if schema.key.iter().all(|p| schema.fields.contains_key(p)) { schema.key.clone() } else { Vec::new() };
    let key = choice.key.clone().unwrap_or_else(own);
    for part in &key {
        check_column(asked, "key", "key", part, &schema, problems);
    }
    if let Some(cursor) = &choice.cursor {
        check_column(asked, "cursor", "cursor", cursor, &schema, problems);
    }
    let cursor = usable_cursor(asked, choice, &schema, problems);
    let incremental = schema.modes.contains(&SyncMode::Incremental);
    let path = match (&cursor, &schema.cursor) {
        (Some(CursorInUse::Chosen(path) | CursorInUse::Suggested(path)), _) => Some(path.clone()),
        (Some(CursorInUse::Own), Cursor::SourceDefined(path)) => path.clone(),
        _ => None,
    };
    // What the source says of fields inside others is no use to rows in columns: another mode is the best then. What a person
    // chose is taken at their word, and refused below.
    let follows = match &cursor {
        Some(CursorInUse::Own) => choice.cursor.is_some() || !path.as_ref().is_some_and(is_nested),
        Some(CursorInUse::Chosen(_)) => true,
        Some(CursorInUse::Suggested(_)) | None => false,
    };
    let keyed = !key.is_empty() && (choice.key.is_some() || !key.iter().any(is_nested));
    let best = match (follows && incremental, keyed) {
        (true, true) => StreamMode::IncrementalAppendDedup,
        (true, false) => StreamMode::IncrementalAppend,
        (false, _) => StreamMode::FullRefreshOverwrite,
    };
    let mode = choice.mode.unwrap_or(best);
    let reads = mode.reads();
    if !schema.modes.contains(&reads) {
        let mut p =
            problem(asked, "mode", None, format!("the source cannot read stream `{asked}` by {}", reads.as_str()));
        p.observed = Some(some_of(schema.modes.iter().map(|m| m.as_str().to_owned()).collect()));
        problems.push(p);
    } else if reads == SyncMode::Incremental && cursor.is_none() {
        let mut p = problem(asked, "mode", None, format!("stream `{asked}` needs a cursor to be read by increments"));
        p.help = Some("add `cursor:` with a field that grows, for example updated_at".into());
        problems.push(p);
    }
    if mode.dedups() && key.is_empty() {
        let mut p = problem(asked, "mode", None, format!("stream `{asked}` has no key to keep the newest row of"));
        p.help = Some("add `key:`, or choose incremental_append".into());
        problems.push(p);
    }
    let cursor = path.filter(|_| reads == SyncMode::Incremental);
    if let Some(cursor) = cursor.as_ref().filter(|cursor| is_nested(cursor)) {
        let help = "choose full_refresh_overwrite or full_refresh_append, or a cursor that is a field of its own";
        refuse_nested(asked, ("cursor", choice.cursor.is_some()), cursor, help, problems);
    }
    if let Some(part) = key.iter().find(|part| mode == StreamMode::IncrementalAppendDedup && is_nested(part)) {
        let help = "choose incremental_append, or a key of fields of their own";
        refuse_nested(asked, ("key", choice.key.is_some()), part, help, problems);
    }
    Some(StreamPlan { name: name.clone(), mode, cursor, key, schema })
}

/// Whether a field lies inside another, where no column of a landing table is.
fn is_nested(path: &FieldPath) -> bool {
    path.segments().len() > 1
}

fn refuse_nested(
    asked: &StreamName,
    (role, chosen): (&'static str, bool),
    path: &FieldPath,
    help: &str,
    problems: &mut Vec<SelectProblem>,
) {
    let (at, word) = if chosen { (role, Some(path.to_string())) } else { ("mode", None) };
    let message =
        format!("the {role} `{path}` of stream `{asked}` lies inside another field, and rows land by columns");
    let mut p = problem(asked, at, word, message);
    p.help = Some(help.into());
    problems.push(p);
}

/// Where the cursor of an incremental read comes from.
enum CursorInUse {
    /// The source keeps its own.
    Own,
    /// A person chose it.
    Chosen(FieldPath),
    /// The source suggests it; used only when a person asks for an incremental mode.
    Suggested(FieldPath),
}

fn usable_cursor(
    asked: &StreamName,
    choice: &StreamChoice,
    schema: &Stream,
    problems: &mut Vec<SelectProblem>,
) -> Option<CursorInUse> {
    match (&choice.cursor, &schema.cursor) {
        (None, Cursor::SourceDefined(_)) => Some(CursorInUse::Own),
        (Some(chosen), Cursor::SourceDefined(Some(own))) if chosen == own => Some(CursorInUse::Own),
        (Some(chosen), Cursor::Any(_)) => Some(CursorInUse::Chosen(chosen.clone())),
        (None, Cursor::Any(Some(suggested))) => Some(CursorInUse::Suggested(suggested.clone())),
        (None, Cursor::None | Cursor::Any(None)) => None,
        (Some(_), Cursor::SourceDefined(_)) => {
            refuse_cursor(asked, "keeps its own cursor", problems);
            Some(CursorInUse::Own)
        }
        (Some(_), Cursor::None) => {
            refuse_cursor(asked, "cannot be read by increments", problems);
            None
        }
    }
}

fn refuse_cursor(asked: &StreamName, why: &str, problems: &mut Vec<SelectProblem>) {
    let mut p = problem(asked, "cursor", None, format!("stream `{asked}` {why}"));
    p.help = Some("remove `cursor`".into());
    problems.push(p);
}

/// A chosen field must be there, and carried.
fn check_column(
    asked: &StreamName,
    at: &'static str,
    role: &str,
    path: &FieldPath,
    schema: &Stream,
    problems: &mut Vec<SelectProblem>,
) {
    if schema.fields.contains_key(path) {
        return;
    }
    let known: Vec<String> = schema.fields.keys().map(ToString::to_string).collect();
    let text = path.to_string();
    let message = format!("stream `{asked}` uses a {role} field that it does not carry");
    let mut p = problem(asked, at, Some(text.clone()), message);
    p.label = Some(format!("no such field in `{asked}`"));
    p.help = nearest(&text, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
    p.observed = Some(some_of(known));
    problems.push(p);
}

fn problem(stream: &StreamName, at: &'static str, word: Option<String>, message: String) -> SelectProblem {
    SelectProblem {
        stream: stream.clone(),
        at,
        word,
        message,
        label: None,
        observed: None,
        help: None,
        unlocked: false,
    }
}

/// The first names of a list, for a note.
fn some_of(names: Vec<String>) -> String {
    /// More than these nobody reads.
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let text = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}
