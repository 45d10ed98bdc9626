//! The plan of a merge, as the comment of a request: what merging one state into another would change, and what would be done
//! then. Pure: the same states and plans give the same bytes.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ConnectionPlan, Plan, Standing, describe, needs_person};
use crate::diag::{Diagnostic, Severity};
use crate::drift::{compare, say};
use crate::model::{CommitId, ConnectionRef, TenantId};
use crate::repair::markdown::{Room, code, fitting_lines, shortened};
use crate::repair::said;
use crate::spec::schedule::period_text;
use crate::spec::{Connection, Desired, MappingSpec, Schedule, Selection};

/// No forge refuses a comment of this size.
pub const MOST_BYTES: usize = 60_000;
/// What the specs change.
const CHANGES: Room = Room { lines: 300, bytes: 20_000 };
/// What would be done.
const STEPS: Room = Room { lines: 200, bytes: 20_000 };
/// What is wrong with the files, and what a reader should know.
const PROBLEMS: Room = Room { lines: 60, bytes: 8_000 };
/// Headings, names and sentences.
const FIXED: usize = 4_000;
const _: () = assert!(FIXED + CHANGES.bytes + STEPS.bytes + 2 * PROBLEMS.bytes <= MOST_BYTES);
/// A revision's name has at most so many bytes here.
const NAME: usize = 200;

/// A merge that is looked at.
#[derive(Debug)]
pub struct Review<'a> {
    /// What is merged into, as the reader calls it, with its commit where that is to be told.
    pub base: (&'a str, Option<&'a CommitId>),
    /// What is merged, the same.
    pub head: (&'a str, &'a CommitId),
    /// The specs as they are.
    pub before: &'a Desired,
    /// What is wrong with them.
    pub problems_before: &'a [Diagnostic],
    /// The specs after the merge.
    pub after: &'a Desired,
    /// What is wrong with them.
    pub problems_after: &'a [Diagnostic],
    /// The plan as it is, and as it would be; or why nothing is known of engine, sources and registry.
    pub plans: Result<(&'a Plan, &'a Plan), &'a str>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// What a review says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What the specs change, by what they change.
    pub changes: Vec<(String, Vec<String>)>,
    /// What would be done besides what is planned anyway; `None` if that is not known.
    pub steps: Option<Vec<String>>,
    /// Problems that come with the merge: whether it is an error, and in words.
    pub problems: Vec<(bool, String)>,
    /// What else a reader should know.
    pub notes: Vec<String>,
    /// SHA-256 (hex) over what is merged and all of the above: the same merge that would do the same.
    pub digest: String,
}

impl Findings {
    /// Whether files would be broken by the merge.
    pub fn is_broken(&self) -> bool {
        self.errors() > 0
    }

    /// Whether the merge is no matter of ours: nothing of what we read changes, and nothing would be done for it.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.problems.is_empty() && self.steps.as_ref().is_none_or(Vec::is_empty)
    }

    fn errors(&self) -> usize {
        self.problems.iter().filter(|(error, _)| *error).count()
    }

    /// One line, with the digest.
    pub fn describe(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let what = match (self.errors(), &self.steps) {
            (0, Some(steps)) if steps.is_empty() => "nothing more to do".to_owned(),
            (0, Some(steps)) => count(steps.len(), "step"),
            (0, None) => format!("{} changed", count(self.changes.len(), "item")),
            (errors, _) => count(errors, "error"),
        };
        format!("plan {}: {what}", self.digest)
    }
}

/// Compares the two states and the two plans.
pub fn find(review: &Review<'_>) -> Findings {
    let changes = changes(review.before, review.after);
    let known: BTreeSet<_> = review.problems_before.iter().map(what).collect();
    let new = review.problems_after.iter().filter(|problem| !known.contains(&what(problem)));
    let problems = new.map(|d| (d.severity == Severity::Error, in_words(d))).collect();
    let steps = review.plans.ok().map(|(now, then)| steps(now, then));
    let mut found = Findings { changes, steps, problems, notes: review.notes.clone(), digest: String::new() };
    let json = serde_json::to_vec(&(review.head.1, &found)).expect("findings are plain data");
    found.digest = hex::encode(Sha256::digest(&json));
    found
}

/// The comment.
pub fn markdown(review: &Review<'_>, found: &Findings) -> String {
    let name = |name: &str, commit: Option<&CommitId>| {
        let commit = commit.map(|commit| format!(" ({})", code(commit.short()))).unwrap_or_default();
        format!("{}{commit}", code(&shortened(name, NAME)))
    };
    let (head, base) = (name(review.head.0, Some(review.head.1)), name(review.base.0, review.base.1));
    let mut out = format!("### aam plan\n\nMerging {head} into {base}.\n");
    section(
        &mut out,
        "What is wrong",
        &found.problems.iter().map(|(_, text)| said(text)).collect::<Vec<_>>(),
        PROBLEMS,
    );
    let mut lines = Vec::new();
    for (name, changes) in &found.changes {
        lines.push(code(name));
        lines.extend(changes.iter().map(|change| format!("  - {}", said(change))));
    }
    if lines.is_empty() {
        out.push_str("\nNo spec, lock, mapping or entity changes.\n");
    }
    section(&mut out, "What the files change", &lines, CHANGES);
    match (&found.steps, review.plans) {
        (Some(steps), _) if steps.is_empty() => out.push_str("\nNothing more would be done than is planned already.\n"),
        (Some(steps), _) => {
            let steps: Vec<String> = steps.iter().map(|step| said(step)).collect();
            section(&mut out, "What would be done", &steps, STEPS);
        }
        (None, Err(why)) => out.push_str(&format!(
            "\nThis is said of the two states of the files alone. Engine, sources and registry could not be looked at: {}\n",
            said(&shortened(why, 300))
        )),
        (None, Ok(_)) => {}
    }
    section(&mut out, "To know", &found.notes.iter().map(|note| said(note)).collect::<Vec<_>>(), PROBLEMS);
    out.push_str(&format!(
        "\nDigest of the {}: `{}`\n",
        if found.steps.is_some() { "plan" } else { "changes" },
        found.digest
    ));
    out
}

fn section(out: &mut String, title: &str, lines: &[String], room: Room) {
    if lines.is_empty() {
        return;
    }
    let listed: Vec<String> =
        lines.iter().map(|line| if line.starts_with("  - ") { line.clone() } else { format!("- {line}") }).collect();
    let (kept, left) = fitting_lines(&listed, room);
    out.push_str(&format!("\n#### {title}\n\n{}\n", kept.join("\n")));
    if left > 0 {
        out.push_str(&format!("- … and {left} more lines\n"));
    }
}

/// What would be done besides, and where it would wait for a person.
fn steps(now: &Plan, then: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for connection in &then.connections {
        let planned = now.connections.iter().find(|c| c.name == connection.name);
        let new = connection.steps.iter().filter(|step| !step.is_routine());
        let new = new.filter(|step| !planned.is_some_and(|planned| planned.steps.contains(step)));
        lines.extend(new.map(|step| format!("{}: {}", connection.name, step.describe())));
        // a sync that runs just now is no matter of the merge
        if let Standing::Finishing { then, .. } = &connection.standing
            && !planned.is_some_and(|planned| will(planned, then))
        {
            lines.push(format!("{}: {then}", connection.name));
        }
        let moved = planned.is_none_or(|planned| planned.standing != connection.standing);
        if moved && (needs_person(&connection.standing) || matches!(connection.standing, Standing::Unseen { .. })) {
            lines.push(format!("{}: {}", connection.name, describe(&connection.standing)));
        }
    }
    lines.extend(then.refused.iter().filter(|_| then.refused != now.refused).cloned());
    lines
}

/// Whether a step in these words is planned, now or after a sync that runs.
fn will(plan: &ConnectionPlan, words: &str) -> bool {
    let later = matches!(&plan.standing, Standing::Finishing { then, .. } if then == words);
    later || plan.steps.iter().any(|step| step.describe() == words)
}

fn what(d: &Diagnostic) -> (Option<&str>, &'static str, &str) {
    (d.place.as_ref().map(|place| place.file.as_str()), d.code, d.message.as_str())
}

fn in_words(d: &Diagnostic) -> String {
    let word = if d.severity == Severity::Error { "error" } else { "warning" };
    let place = d.place.as_ref().map(|p| format!("{}:{}:{}: ", p.file, p.line, p.column)).unwrap_or_default();
    let help = d.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{word} {}: {place}{}{help}", d.code, d.message)
}

/// What differs between two states of the specs, by name.
fn changes(before: &Desired, after: &Desired) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    let names: BTreeSet<&ConnectionRef> = before.connections.keys().chain(after.connections.keys()).collect();
    for name in names {
        let lines = match (before.connections.get(name), after.connections.get(name)) {
            (None, Some(new)) => vec![format!("new connection, {}", mode(new))],
            (Some(_), None) if after.broken.contains(name) => vec!["its spec cannot be used any more".to_owned()],
            (Some(old), None) => vec![format!("its spec goes (`on_delete: {}`)", word(&old.on_delete))],
            (Some(old), Some(new)) => of_connection(old, new),
            (None, None) => Vec::new(),
        };
        if !lines.is_empty() {
            all.push((format!("connection {name}"), lines));
        }
    }
    let names: BTreeSet<&(TenantId, String)> = before.mappings.keys().chain(after.mappings.keys()).collect();
    for name in names {
        let (old, new) = (before.mappings.get(name), after.mappings.get(name));
        let lines = of_mapping(old.map(|m| &**m), new.map(|m| &**m));
        if !lines.is_empty() {
            all.push((format!("mapping {}", ConnectionRef { tenant: name.0.clone(), name: name.1.clone() }), lines));
        }
    }
    let names: BTreeSet<&String> = before.entities.keys().chain(after.entities.keys()).collect();
    for name in names {
        let line = match (before.entities.get(name), after.entities.get(name)) {
            (None, Some(_)) => "new entity",
            (Some(_), None) => "goes",
            (old, new) if old != new => "its fields change",
            _ => continue,
        };
        all.push((format!("entity {name}"), vec![line.to_owned()]));
    }
    all
}

fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn in_a_word(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Manual => "manual".to_owned(),
        Schedule::Every(period) => format!("every {}", period_text(*period)),
        Schedule::Cron { expression, timezone } => format!("cron {expression} ({timezone})"),
        Schedule::Quartz { expression, timezone } => format!("quartz {expression} ({timezone})"),
    }
}

fn mode(connection: &Connection) -> String {
    let (mode, source) = (word(&connection.mode), &connection.source);
    format!("mode {mode}, from {} ({}) to {}", source.name, source.connector, connection.destination.name)
}

fn of_connection(old: &Connection, new: &Connection) -> Vec<String> {
    let mut lines = Vec::new();
    let mut changed = |what: &str, was: String, is: String| {
        if was != is {
            lines.push(format!("{what}: {was} → {is}"));
        }
    };
    changed("mode", word(&old.mode), word(&new.mode));
    changed("on_delete", word(&old.on_delete), word(&new.on_delete));
    changed("on_live_edit", word(&old.on_live_edit), word(&new.on_live_edit));
    changed("schedule", in_a_word(&old.schedule), in_a_word(&new.schedule));
    let pin = |c: &Connection| {
        c.pin.as_ref().map_or_else(|| "none".to_owned(), |pin| format!("version {} until {}", pin.version, pin.until))
    };
    changed("pin", pin(old), pin(new));
    let mapping = |c: &Connection| c.mapping.as_ref().map_or_else(|| "none".to_owned(), |m| m.path.to_string());
    changed("mapping", mapping(old), mapping(new));
    for (end, was, is) in [("source", &old.source, &new.source), ("destination", &old.destination, &new.destination)] {
        changed(end, format!("{} ({})", was.name, was.connector), format!("{} ({})", is.name, is.connector));
        let keys: BTreeSet<&String> = was.config.keys().chain(is.config.keys()).collect();
        let other = keys.into_iter().filter(|key| was.config.get(*key) != is.config.get(*key));
        // values may be anybody's business: their names say enough
        lines_of_settings(end, other, &mut changed);
    }
    if old.drift != new.drift {
        lines.push("what is done about drift changes".to_owned());
    }
    if old.airbyte != new.airbyte {
        lines.push("what Airbyte is told besides changes".to_owned());
    }
    lines.extend(of_streams(&old.streams, &new.streams));
    match (&old.lock, &new.lock) {
        (Some(was), Some(is)) if was.fingerprint != is.fingerprint => {
            lines.push(format!(
                "approved schema: version {} ({}) → {} ({})",
                was.version,
                was.fingerprint.short(),
                is.version,
                is.fingerprint.short()
            ));
            lines.extend(compare(&was.catalog, &is.catalog).iter().map(say));
        }
        (None, Some(is)) => lines.push(format!("approved schema: version {} ({})", is.version, is.fingerprint.short())),
        (Some(_), None) => lines.push("its lock goes: it is written anew from the version in force".to_owned()),
        _ => {}
    }
    lines
}

fn lines_of_settings<'k>(
    end: &str,
    keys: impl Iterator<Item = &'k String>,
    changed: &mut impl FnMut(&str, String, String),
) {
    for key in keys {
        changed(&format!("{end} setting {key}"), "as before".to_owned(), "another value".to_owned());
    }
}

fn of_streams(old: &Selection, new: &Selection) -> Vec<String> {
    match (old, new) {
        (Selection::All, Selection::All) => Vec::new(),
        (Selection::All, Selection::Listed(_)) => vec!["streams: all → those that are listed".to_owned()],
        (Selection::Listed(_), Selection::All) => vec!["streams: those that are listed → all".to_owned()],
        (Selection::Listed(old), Selection::Listed(new)) => {
            let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            let line = |name| match (old.get(name), new.get(name)) {
                (None, Some(_)) => Some(format!("stream {name} comes")),
                (Some(_), None) => Some(format!("stream {name} goes")),
                (was, is) if was != is => Some(format!("stream {name}: its mode, cursor, key or fields change")),
                _ => None,
            };
            names.into_iter().filter_map(line).collect()
        }
    }
}

fn of_mapping(old: Option<&MappingSpec>, new: Option<&MappingSpec>) -> Vec<String> {
    match (old, new) {
        (None, Some(_)) => vec!["new mapping".to_owned()],
        (Some(_), None) => vec!["goes".to_owned()],
        (Some(old), Some(new)) if old.text != new.text => {
            let fields = |mapping: &MappingSpec| -> Vec<(String, String)> {
                let entries = mapping.entities.iter().flat_map(|entry| {
                    entry
                        .fields
                        .iter()
                        .map(|field| (format!("{}.{}", entry.entity.value, field.target.value), rule(field)))
                });
                entries.collect()
            };
            let (was, is) = (fields(old), fields(new));
            let of = |all: &[(String, String)], name: &String| {
                all.iter().find(|(other, _)| other == name).map(|(_, rule)| rule.clone())
            };
            let names: BTreeSet<&String> = was.iter().chain(&is).map(|(name, _)| name).collect();
            let line = |name: &String| match (of(&was, name), of(&is, name)) {
                (None, Some(rule)) => Some(format!("{name} comes: {rule}")),
                (Some(_), None) => Some(format!("{name} goes")),
                (Some(was), Some(is)) if was != is => Some(format!("{name}: {was} → {is}")),
                _ => None,
            };
            let mut lines: Vec<String> = names.into_iter().filter_map(line).collect();
            if lines.is_empty() {
                lines.push("its text changes".to_owned());
            }
            lines
        }
        _ => Vec::new(),
    }
}

fn rule(field: &crate::spec::FieldMapping) -> String {
    use crate::spec::MappingRule::{Expr, From, Path};
    match &field.rule {
        Path(path) => path.value.to_string(),
        From { from, cast, values, default } => {
            let cast = cast.as_ref().map(|cast| format!(" as {}", cast.value)).unwrap_or_default();
            let values: Vec<String> =
                values.iter().map(|(is, becomes)| format!("{}: {}", is.value, becomes.value)).collect();
            let values = if values.is_empty() { String::new() } else { format!(" by {{{}}}", values.join(", ")) };
            let default = default.as_ref().map(|default| format!(", else {}", default.value)).unwrap_or_default();
            format!("{}{cast}{values}{default}", from.value)
        }
        Expr(text) => text.value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    #[test]
    fn a_sync_that_runs_just_now_changes_nothing_of_what_a_merge_would_do() {
        let plan = |standing, steps| {
            let connection = ConnectionPlan { name: "crm".parse().unwrap(), id: None, standing, steps, radius: None };
            Plan { commit: None, connections: vec![connection], refused: None }
        };
        let update = Step::ApplySettings { digest: "d".into(), secrets: "s".into(), writes: Vec::new() };
        let waits = || Standing::Finishing { syncing: true, then: update.describe() };
        let (idle, busy) = (plan(Standing::InSync, Vec::new()), plan(Standing::InSync, vec![Step::FollowSync]));
        let (changes, later) = (plan(Standing::Changing, vec![update.clone()]), plan(waits(), vec![Step::FollowSync]));
        assert_eq!(steps(&idle, &changes), ["crm: update settings from its spec"]);
        assert_eq!(steps(&busy, &later), steps(&idle, &changes));
        assert_eq!(steps(&changes, &later), [""; 0], "planned anyway");
    }
}
