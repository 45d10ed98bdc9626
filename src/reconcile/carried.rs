//! Live edits on their way: carried to git as a branch, or written back, as the connection's spec says.
//!
//! What was offered once and went unmerged is not offered again, and what flips to and fro is left alone; both is kept beside
//! what was agreed with the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::live::{NAME, STATUS};
use super::resolved::{Files, resolve};
use super::{Gathered, OutcomeKind, Reconciler, StepError, TurnError, by_aam};
use crate::mapping::find_stream;
use crate::model::{CommitDraft, FieldPath, FileEdit, RepoPath, StreamName, SyncMode};
use crate::plan::{Agreed, LiveOffer, Properties, same};
use crate::ports::{ConnectionRow, Lease, RepairBranch, Snapshot, recorded};
use crate::repair::{self, set_entry};
use crate::spec::names::spec_path;
use crate::spec::{Connection, FieldSelection, Selection, StreamChoice, escaped_value};

/// A property that a person changed so often within [`HOUR`] is not written any more: somebody else sets it too.
const FLIPS: usize = 3;
const HOUR: TimeDelta = TimeDelta::hours(1);

/// An edit of a file: where, and what is to stand there.
type Spelled = (RepoPath, Vec<String>, Option<Value>);

impl Reconciler {
    /// What carries the edits of a connection to git; `None` where nothing of them can be said in its files.
    pub(super) async fn live_offer(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        (edited, branch): (&[String], Option<&RepairBranch>),
    ) -> Result<Option<LiveOffer>, TurnError> {
        let surveyed = self.surveyed();
        let Some(seen) = surveyed.of(row.id) else { return Ok(None) };
        let Some(Ok(wanted)) = self.wanted(connection, row) else { return Ok(None) };
        // what is said of this connection alone decides
        let mut files = gathered.resolved.files.clone();
        let own = [
            &connection.path,
            &connection.lock_path,
            &spec_path(&connection.source.name),
            &spec_path(&connection.destination.name),
        ]
        .map(Clone::clone);
        files.retain(|path, _| own.contains(path) || path.as_str().starts_with("mappings/"));
        let (mut said, mut unsaid, mut wants) = (Vec::new(), Vec::new(), wanted.clone());
        for property in edited {
            match self.carry(connection, row, (&files, &wants), (property, &seen.properties)) {
                Some((after, becomes)) => {
                    (files, wants) = (after, becomes);
                    said.push(property.clone());
                }
                None => unsaid.push(property.clone()),
            }
        }
        let Some(draft) = draft(connection, &gathered.resolved.files, &files, (&said, &wanted, &seen.properties))
        else {
            return Ok(None);
        };
        let digest = digest(&draft);
        let current = match branch {
            Some(branch) => self.carries(branch, &draft).await?,
            None => false,
        };
        let offered = seen.agreed.as_ref().and_then(|agreed| agreed.offered.as_ref()) == Some(&digest);
        let moved = !offered;
        Ok(Some(LiveOffer {
            branch: repair::live_branch(&connection.name),
            current,
            edited: branch.is_some_and(|branch| branch.edited),
            moved,
            declined: offered && branch.is_none(),
            digest,
            unsaid,
            draft,
        }))
    }

    /// The files with one more property as it is live, and what git then wants; `None` if no spec says exactly that.
    fn carry(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        (files, wanted): (&Files, &Properties),
        (property, live): (&String, &Properties),
    ) -> Option<(Files, Properties)> {
        let is = live.get(property);
        let forms = self.spelled(connection, property, (is, wanted.get(property)));
        forms.into_iter().find_map(|entries| {
            let mut files = files.clone();
            for (path, at, value) in entries {
                let text = String::from_utf8(files.get(&path)?.to_vec()).ok()?;
                let at: Vec<&str> = at.iter().map(String::as_str).collect();
                files.insert(path, set_entry(&text, &at, value.as_ref())?.into_bytes().into());
            }
            let snapshot = Snapshot { files: files.clone(), ..Snapshot::default() };
            let (resolved, _) = resolve(snapshot, &BTreeMap::new(), &self.policy());
            let becomes = self.wanted(resolved.desired.connections.get(&connection.name)?, row)?.ok()?;
            let mut expected = wanted.clone();
            match is {
                Some(value) => drop(expected.insert(property.clone(), value.clone())),
                None => drop(expected.remove(property)),
            }
            let names: BTreeSet<&String> = becomes.keys().chain(expected.keys()).collect();
            let exact = names.into_iter().all(|name| same(becomes.get(name), expected.get(name)));
            exact.then_some((files, becomes))
        })
    }

    /// The edits that may say that a property is so, the plainest first.
    fn spelled(
        &self,
        connection: &Connection,
        property: &str,
        (is, was): (Option<&Value>, Option<&Value>),
    ) -> Vec<Vec<Spelled>> {
        let here = |at: &[&str], value: Option<Value>| {
            (connection.path.clone(), at.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>(), value)
        };
        let end = ["source", "destination"]
            .into_iter()
            .find_map(|end| Some((end, property.strip_prefix(end)?.strip_prefix(' ')?)));
        if let Some((end, rest)) = end {
            let endpoint = if end == "source" { &connection.source } else { &connection.destination };
            let inline = endpoint.name == connection.name;
            let path = if inline { connection.path.clone() } else { spec_path(&endpoint.name) };
            let inside = match rest.strip_prefix("config.") {
                // a name with a dot in it is quoted there
                Some(setting) if !setting.contains('"') => ["config"].into_iter().chain(setting.split('.')).collect(),
                None if rest == NAME => vec!["airbyte", NAME],
                _ => return Vec::new(),
            };
            let at = inline.then_some(end).into_iter().chain(inside).map(str::to_owned).collect();
            return vec![vec![(path, at, is.map(escaped_value))]];
        }
        if let Some(stream) = property.strip_prefix("stream ") {
            return self.spelled_stream(connection, stream, (is, was)).unwrap_or_default();
        }
        match (property, is) {
            (NAME, Some(name)) => vec![vec![here(&["airbyte", NAME], Some(escaped_value(name)))]],
            (STATUS, Some(status)) => {
                let rests = (status == "inactive").then(|| status.clone());
                vec![vec![here(&["airbyte", STATUS], rests)]]
            }
            (setting, value) => {
                let spelled = self.doors.engine.spelled(setting, value.unwrap_or(&Value::Null));
                spelled.map(|(at, value)| vec![(connection.path.clone(), at, value)]).into_iter().collect()
            }
        }
    }

    /// The choice of a stream, among all of them where the spec lists none by name. Which fields are carried is not told by a digest.
    fn spelled_stream(
        &self,
        connection: &Connection,
        stream: &str,
        (is, was): (Option<&Value>, Option<&Value>),
    ) -> Option<Vec<Vec<Spelled>>> {
        let lock = connection.lock.as_ref()?;
        let means =
            |asked: &StreamName| find_stream(&lock.catalog, asked).is_some_and(|(name, _)| name.to_string() == stream);
        let mut all: BTreeMap<StreamName, StreamChoice> = match &connection.streams {
            Selection::All => lock.catalog.streams.keys().map(|name| (name.clone(), StreamChoice::default())).collect(),
            Selection::Listed(listed) => listed.clone(),
        };
        let asked = all.keys().find(|asked| means(asked))?.clone();
        let becomes = match (is, was) {
            (Some(is), Some(was)) if is["fields"] == was["fields"] => Some(chosen(all[&asked].clone(), is, was)?),
            (None, Some(_)) => None,
            _ => return None,
        };
        let at = |below: &[&str]| ["streams"].iter().chain(below).map(|part| (*part).to_owned()).collect::<Vec<_>>();
        let alone = becomes.as_ref().map(choice_value);
        match becomes {
            Some(choice) => drop(all.insert(asked.clone(), choice)),
            None => drop(all.remove(&asked)),
        }
        let whole = all.iter().map(|(name, choice)| (name.to_string(), choice_value(choice))).collect();
        // one entry where the spec has entries, else all of them
        Some(vec![
            vec![(connection.path.clone(), at(&[&asked.to_string()]), alone)],
            vec![(connection.path.clone(), at(&[]), Some(Value::Object(whole)))],
        ])
    }

    /// Opens the branch that carries live edits to git, or brings it up to date.
    pub(super) async fn propose_live(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        (branch, digest, draft): (&str, &str, &CommitDraft),
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let open = self.sent_under(lease, "propose", self.doors.repo.propose(branch, draft)).await??;
        let mut agreed = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
        agreed.offered = Some(digest.to_owned());
        self.doors.registry.set_agreed(lease, &agreed, &row.held).await?;
        let cause = by_aam(
            format!("connection {}: what changed in the engine is offered on {branch}", connection.name),
            json!({"branch": branch, "tip": open.tip, "subject": draft.subject}),
        );
        self.doors.registry.audit(&lease.tenant, "live.proposed", Some(row.id), &cause).await?;
        self.note_live(row.id, agreed, |_| false, Properties::new());
        recorded("propose");
        self.ask_requests();
        Ok(OutcomeKind::Applied)
    }

    /// Lets git's values win over these edits: what is live counts as agreed, and what git wants waits for it, as if a person had
    /// taken the edit back. The settings are written by the next step. What flips is left alone instead.
    pub(super) async fn revert_live(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        properties: &BTreeSet<String>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let surveyed = self.surveyed();
        let (Some(seen), Some(wanted)) = (surveyed.of(row.id), self.wanted(connection, row)) else {
            return Ok(OutcomeKind::Skipped("the engine was not looked at yet".into()));
        };
        let (wanted, live, now) = (wanted?, &seen.properties, self.doors.clock.now());
        let mut agreed = self.doors.registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
        for property in properties {
            let (is, git) = (live.get(property), wanted.get(property));
            let flips = agreed.flips.entry(property.clone()).or_default();
            flips.retain(|at| *at > now - HOUR);
            flips.push(now);
            let frozen = flips.len() >= FLIPS;
            let (action, what) = match frozen {
                true => (
                    "live.frozen",
                    format!("{property} changed {FLIPS} times within an hour: it is not written any more"),
                ),
                false => ("live.reverted", format!("{property} changed in the engine: git's value is written back")),
            };
            match frozen {
                true => {
                    agreed.flips.remove(property);
                    agreed.frozen.insert(property.clone(), git.cloned().unwrap_or_default());
                }
                false => {
                    agreed.frozen.remove(property);
                    match is {
                        Some(value) => drop(agreed.applied.insert(property.clone(), value.clone())),
                        None => drop(agreed.applied.remove(property)),
                    }
                    agreed.waiting.insert(property.clone(), git.cloned().unwrap_or_default());
                }
            }
            let cause = by_aam(
                format!("connection {}: {what}", connection.name),
                json!({"property": property, "live": is, "git": git}),
            );
            self.doors.registry.audit(&lease.tenant, action, Some(row.id), &cause).await?;
        }
        self.doors.registry.set_agreed(lease, &agreed, &row.held).await?;
        self.note_live(row.id, agreed, |_| false, Properties::new());
        Ok(OutcomeKind::Applied)
    }
}

/// The edits that are not left alone, and those that are, because they flip and git says the same since.
pub(super) fn thawed(
    edited: &[String],
    agreed: Option<&Agreed>,
    wanted: &Properties,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let is_frozen = |property: &&String| {
        let frozen = agreed.and_then(|agreed| agreed.frozen.get(*property));
        frozen.is_some_and(|then| *then == wanted.get(*property).cloned().unwrap_or_default())
    };
    let (frozen, free): (Vec<&String>, Vec<&String>) = edited.iter().partition(is_frozen);
    (free.into_iter().cloned().collect(), frozen.into_iter().cloned().collect())
}

/// A choice with mode, cursor and key as they are live.
fn chosen(mut choice: StreamChoice, is: &Value, was: &Value) -> Option<StreamChoice> {
    choice.mode = serde_json::from_value(is["mode"].clone()).ok()?;
    if is["cursor"] != was["cursor"] {
        choice.cursor = is["cursor"].as_str().map(str::parse).transpose().ok()?;
    }
    if is["key"] != was["key"] {
        let parts = is["key"].as_array()?.iter().map(|part| part.as_str()?.parse().ok());
        choice.key = Some(parts.collect::<Option<Vec<_>>>()?);
    }
    if choice.mode.is_some_and(|mode| mode.reads() == SyncMode::FullRefresh && !mode.dedups()) {
        choice.cursor = None;
    }
    Some(choice)
}

fn choice_value(choice: &StreamChoice) -> Value {
    let mut map = Map::new();
    let paths = |paths: &[FieldPath]| json!(paths.iter().map(ToString::to_string).collect::<Vec<_>>());
    map.extend(choice.mode.map(|mode| ("mode".to_owned(), json!(mode.word()))));
    map.extend(choice.cursor.as_ref().map(|cursor| ("cursor".to_owned(), json!(cursor.to_string()))));
    map.extend(choice.key.as_ref().map(|key| ("key".to_owned(), paths(key))));
    match &choice.fields {
        FieldSelection::All => {}
        FieldSelection::Include(names) => drop(map.insert("fields".into(), json!({"include": names}))),
        FieldSelection::Exclude(names) => drop(map.insert("fields".into(), json!({"exclude": names}))),
    }
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

fn draft(
    connection: &Connection,
    before: &Files,
    after: &Files,
    (said, wanted, live): (&[String], &Properties, &Properties),
) -> Option<CommitDraft> {
    let text = |bytes: &Arc<[u8]>| String::from_utf8_lossy(bytes).into_owned();
    let changed = after.iter().filter(|(path, bytes)| before.get(*path) != Some(bytes));
    let edits: Vec<FileEdit> = changed
        .map(|(path, bytes)| FileEdit {
            path: path.clone(),
            before: before.get(path).map(text),
            after: Some(text(bytes)),
        })
        .collect();
    if edits.is_empty() {
        return None;
    }
    let name = &connection.name;
    let short = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let visible = |text: String| repair::markdown::visible(&text, false);
    let line = |property: &String| {
        let (git, is) = (short(wanted.get(property)), short(live.get(property)));
        visible(format!("{property}: git says {git}, the engine has {is}"))
    };
    let body = said.iter().map(|property| format!("{}\n", line(property))).collect();
    let trailers = vec![("Aam-Connection".into(), name.to_string()), ("Aam-Cause".into(), "live edit".to_owned())];
    Some(CommitDraft { subject: visible(format!("live edit {name}: {}", said.join(", "))), body, trailers, edits })
}

fn digest(draft: &CommitDraft) -> String {
    let mut digest = Sha256::new();
    for edit in &draft.edits {
        digest.update(format!("{}\n{}\n", edit.path, edit.after.as_deref().unwrap_or_default()));
    }
    hex::encode(digest.finalize())
}
