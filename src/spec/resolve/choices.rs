//! A connection's choices of streams and fields against its lock.

use crate::diag::Diagnostic;
use crate::model::StreamName;

use super::super::select::{SelectProblem, configure, select};
use super::super::source::{Problems, Span};
use super::super::yaml::{self, Node, Value};
use super::super::{Connection, FieldSelection, Lock, Selection};

/// Adds what the lock says against the choices. What only the source can tell is a warning.
pub(super) fn check_choices(connection: &Connection, lock: &Lock, to: &mut Problems<'_>) {
    let mut found: Vec<(SelectProblem, bool)> = Vec::new();
    if let Err(problems) = configure(connection, &lock.catalog) {
        found.extend(problems.into_iter().map(|p| (p, true)));
    }
    if let Err(problems) = select(&lock.catalog, &connection.streams) {
        let waits = |p: &SelectProblem| p.unlocked && !(p.at == "fields" && is_excluded(connection, &p.stream));
        found.extend(problems.into_iter().filter(waits).map(|p| (p, false)));
    }
    if found.is_empty() {
        return;
    }
    // Places are looked up only now: a connection without problems is read once.
    let mut nothing = Problems::of(to.source);
    let root = yaml::parse(to.source, &mut nothing);
    let short = lock.fingerprint.short();
    for (problem, wrong) in found {
        let span = root.as_ref().and_then(|root| find(root, &problem)).unwrap_or_default();
        let d = if wrong {
            Diagnostic::error("AAM-S014", problem.message)
        } else {
            let d = Diagnostic::warning("AAM-S016", problem.message.replace("the source has no", "the lock has no"));
            d.note(format!("new here? `aam lock {}` looks at the source and adds it", connection.name))
        };
        let d = if let Some(label) = problem.label { d.label(label) } else { d };
        let d = if let Some(seen) = problem.observed {
            d.note(format!("in the lock: {seen} (catalog {short})"))
        } else {
            d
        };
        let d = if let Some(help) = problem.help { d.help(help) } else { d };
        to.add(&span, d);
    }
}

/// An excluded field is not in the lock: that it is missing there says nothing.
fn is_excluded(connection: &Connection, stream: &StreamName) -> bool {
    match &connection.streams {
        Selection::Listed(listed) => listed.get(stream).is_some_and(|c| matches!(c.fields, FieldSelection::Exclude(_))),
        Selection::All => false,
    }
}

/// Where in the spec a problem lies: as near as the file can tell.
fn find(root: &Node, problem: &SelectProblem) -> Option<Span> {
    let means = |text: &str| text.parse::<StreamName>().is_ok_and(|name| name == problem.stream);
    match &root.get("streams")?.value {
        Value::Map(entries) => {
            let (key, choice) = entries.iter().find(|(key, _)| means(&key.text))?;
            let Some(node) = choice.get(problem.at) else { return Some(key.span) };
            Some(problem.word.as_deref().and_then(|word| find_word(node, word)).unwrap_or(match node.value {
                Value::Scalar { .. } => node.span,
                _ => key.span,
            }))
        }
        Value::List(items) => {
            items.iter().find(|i| matches!(&i.value, Value::Scalar { text, .. } if means(text))).map(|i| i.span)
        }
        Value::Scalar { .. } => None,
    }
}

fn find_word(node: &Node, word: &str) -> Option<Span> {
    match &node.value {
        Value::Scalar { text, .. } => (text == word).then_some(node.span),
        Value::List(items) => items.iter().find_map(|item| find_word(item, word)),
        Value::Map(entries) => entries.iter().find_map(|(_, value)| find_word(value, word)),
    }
}
