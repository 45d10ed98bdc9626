//! All files of one state → [`Desired`] and everything that is wrong with them.
//!
//! A bad file stops only what it declares: its last good content stays in force until it is mended. What has no last good
//! content is absent and listed in [`Desired::broken`], so that nobody takes it for removed.

mod choices;
mod connect;
mod owners;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::diag::{Diagnostic, Place, Severity, escape, quoted};
use crate::model::{ConnectionRef, RepoPath, Unreadable};

use super::check::{Checked, CheckedConnection, check_file};
use super::names::{Role, role};
use super::source::{Problems, Source};
use super::yaml::{MAX_BYTES, decode};
use super::{Desired, EngineKind, Mode, Schedule};

/// What specs are resolved from.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Contents by path.
    pub files: &'a BTreeMap<RepoPath, Arc<[u8]>>,
    /// What is there but could not be read; a folder stands for everything below it.
    pub unreadable: &'a BTreeMap<String, Unreadable>,
    /// The last good content of each file, as the last resolution returned it.
    pub last_good: &'a BTreeMap<String, String>,
    /// `[engine] kind`: what specs may say depends on it.
    pub engine: EngineKind,
    /// `[engine] mode`: no connection goes further.
    pub mode_cap: Mode,
    /// How often to look where a spec does not say.
    pub look: Schedule,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// What is in force.
    pub desired: Desired,
    /// All problems of all files, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The content in force of each file, to be kept for the next time.
    pub good: BTreeMap<String, String>,
}

/// One file with what is in force of it.
#[derive(Debug)]
struct Entry {
    path: RepoPath,
    role: Role,
    /// The text in force, or the broken one.
    source: Source,
    checked: Option<Checked>,
    /// Whether the last good content stands in for the file.
    stale: bool,
}

/// A broken connection: never in force, but its references are looked up, so that all its problems are told at once.
#[derive(Debug)]
struct Draft {
    name: ConnectionRef,
    source: Source,
    connection: Box<CheckedConnection>,
}

/// Resolves specs, locks, mappings, entities and rejections.
pub fn resolve(input: &Input<'_>) -> Resolution {
    let mut diagnostics = Vec::new();
    let mut entries = Vec::with_capacity(input.files.len());
    let mut drafts = Vec::new();
    for (path, bytes) in input.files {
        entries.extend(read_file(path, bytes, input, &mut drafts, &mut diagnostics));
    }
    entries.extend(read_unreadable(input, &mut diagnostics));
    refuse_lookalikes(&mut entries, input, &mut diagnostics);
    refuse_shared_ids(&mut entries, input, &mut diagnostics);
    owners::refuse_shared_adoptions(&mut entries, input, &mut diagnostics);
    owners::refuse_shared_names(&mut entries, input, &mut diagnostics);

    let mut desired = Desired { unread: input.unreadable.keys().cloned().collect(), ..Desired::default() };
    connect::assemble(&mut entries, &drafts, input, &mut desired, &mut diagnostics);

    let mut good = BTreeMap::new();
    for Entry { path, role, source, checked, stale } in entries {
        if checked.is_some() {
            good.insert(path.to_string(), source.text.to_string());
        } else if let Some(text) = input.last_good.get(path.as_str()) {
            good.insert(path.to_string(), text.clone());
        }
        if stale {
            desired.stale.insert(path);
        }
        if let (Role::Lock(name), Some(Checked::Lock(lock))) = (role, checked)
            && let Some(connection) = desired.connections.get_mut(&name)
        {
            connection.lock = Some(*lock);
        }
    }
    for d in diagnostics.iter_mut().filter(|d| d.severity == Severity::Error) {
        let is_stale = |p: &Place| desired.stale.iter().any(|s| s.as_str() == p.file);
        if d.place.as_ref().is_some_and(is_stale) {
            d.notes.push("until this is mended, the last good version of the file stays in force".into());
        }
    }
    diagnostics.sort();
    diagnostics.dedup();
    Resolution { desired, diagnostics, good }
}

/// Reads one file, or what was last good of it.
fn read_file(
    path: &RepoPath,
    bytes: &[u8],
    input: &Input<'_>,
    drafts: &mut Vec<Draft>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Entry> {
    let role = match role(path.as_str()) {
        Ok(Role::Other) => return None,
        Ok(role) => role,
        Err(problem) => {
            diagnostics.push(problem.at(whole(path.as_str())));
            return None;
        }
    };
    match decode(path.as_str(), bytes) {
        Ok(text) => {
            let source = Source { file: path.as_str().into(), text: text.into() };
            let mut problems = Problems::of(&source);
            let checked = check_file(path, &role, &source, input.engine, &mut problems);
            let usable = problems.is_usable();
            diagnostics.extend(problems.into_list());
            let checked = match (usable, checked) {
                (true, checked) => checked,
                (false, checked) => {
                    if let (Role::Spec(name), Some(Checked::Connection(connection))) = (&role, checked) {
                        drafts.push(Draft { name: name.clone(), source: source.clone(), connection });
                    }
                    if let Some(entry) = last_good(path, &role, input) {
                        return Some(entry);
                    }
                    None
                }
            };
            Some(Entry { path: path.clone(), role, source, checked, stale: false })
        }
        Err(problem) => {
            diagnostics.push(problem);
            Some(last_good(path, &role, input).unwrap_or_else(|| unusable(path, role)))
        }
    }
}

/// The last good content of a path, if there is one and it is still good.
fn last_good(path: &RepoPath, role: &Role, input: &Input<'_>) -> Option<Entry> {
    let text = input.last_good.get(path.as_str())?;
    let source = Source { file: path.as_str().into(), text: text.as_str().into() };
    let mut problems = Problems::of(&source);
    let checked = check_file(path, role, &source, input.engine, &mut problems).filter(|_| problems.is_usable())?;
    Some(Entry { path: path.clone(), role: role.clone(), source, checked: Some(checked), stale: true })
}

fn unusable(path: &RepoPath, role: Role) -> Entry {
    let source = Source { file: path.as_str().into(), text: "".into() };
    Entry { path: path.clone(), role, source, checked: None, stale: false }
}

fn whole(file: &str) -> Place {
    Place { file: file.to_owned(), line: 0, column: 0, width: 1, text: String::new() }
}

/// Files that are there but could not be read, and what is known of those below unreadable folders.
fn read_unreadable(input: &Input<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (path, why) in input.unreadable {
        let known = role(path);
        if known == Ok(Role::Other) && *why == Unreadable::NotAFile && !path.ends_with(".yaml") {
            continue;
        }
        diagnostics.push(unreadable(why).at(whole(path)));
        let below = format!("{path}/");
        let hidden = input.last_good.keys().filter(|p| *p == path || p.starts_with(&below));
        let mut seen = false;
        for path in hidden.filter_map(|p| RepoPath::new(p).ok()).filter(|p| !input.files.contains_key(p)) {
            if entries.iter().any(|e| e.path == path) {
                continue;
            }
            if let Ok(role) = role(path.as_str()) {
                entries.push(last_good(&path, &role, input).unwrap_or_else(|| unusable(&path, role)));
                seen = true;
            }
        }
        if let (false, Ok(role), Ok(path)) = (seen, known, RepoPath::new(path)) {
            entries.push(unusable(&path, role));
        }
    }
    entries
}

fn unreadable(why: &Unreadable) -> Diagnostic {
    let d = |text: String, help: &str| Diagnostic::error("AAM-S003", text).help(help);
    match why {
        Unreadable::TooLarge(size) => d(
            format!("the file has {size} bytes; at most {MAX_BYTES} are read"),
            "split it: one connection, mapping or entity per file",
        ),
        Unreadable::Link => d("a symbolic link is not followed".into(), "put the file itself here"),
        Unreadable::NotAFile => d("this is not a regular file".into(), "put a file here, or give it another name"),
        Unreadable::Name => d("this name cannot be used".into(), "rename it: ASCII letters, digits, `.`, `_` and `-`"),
        Unreadable::Io(error) => d(format!("the file cannot be read: {}", escape(error)), "check its owner and mode"),
    }
}

/// Names that differ only in case are one file on some machines. The one that was in force first stays.
fn refuse_lookalikes(entries: &mut [Entry], input: &Input<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut first: HashMap<String, RepoPath> = HashMap::new();
    for i in oldest_first(entries, input) {
        let folded = entries[i].path.as_str().to_lowercase();
        let Some(other) = first.get(&folded) else {
            first.insert(folded, entries[i].path.clone());
            continue;
        };
        let text = format!("the name differs from {} in case only", quoted(other.as_str()));
        diagnostics.push(
            Diagnostic::error("AAM-S013", text).help("rename one of the two").at(whole(entries[i].path.as_str())),
        );
        entries[i].checked = None;
    }
}

/// Two locks with one id would be two connections with one identity: usually a copied pair of files.
fn refuse_shared_ids(entries: &mut [Entry], input: &Input<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut first: HashMap<crate::model::ConnectionId, RepoPath> = HashMap::new();
    for i in oldest_first(entries, input) {
        let Some(Checked::Lock(lock)) = &entries[i].checked else { continue };
        let Some(other) = first.get(&lock.id) else {
            first.insert(lock.id, entries[i].path.clone());
            continue;
        };
        let span = entries[i].source.span_at(entries[i].source.text.find("id:").unwrap_or(0));
        let place = entries[i].source.place(&super::source::Span { end: span.start + 2, ..span });
        let text = format!("this lock has the id of {}", quoted(other.as_str()));
        let help = "a copied connection must not keep the lock of the first: remove this lock, `aam` writes a new one";
        diagnostics.push(Diagnostic::error("AAM-L003", text).label("one id, one connection").help(help).at(place));
        entries[i].checked = None;
    }
}

/// Indexes of entries, those that were in force before first.
fn oldest_first(entries: &[Entry], input: &Input<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|i| (!input.last_good.contains_key(entries[*i].path.as_str()), *i));
    order
}

/// Names of specs and locks, for those that need to know what is there but broken.
fn names_of(entries: &[Entry]) -> BTreeSet<ConnectionRef> {
    let broken = |e: &Entry| match &e.role {
        Role::Spec(name) | Role::Lock(name) if e.checked.is_none() => Some(name.clone()),
        _ => None,
    };
    entries.iter().filter_map(broken).collect()
}
