//! An object of Airbyte has one owner: two specs that mean the same one would undo each other's work for ever.

use std::collections::HashMap;

use uuid::Uuid;

use crate::diag::{Diagnostic, quoted};
use crate::model::{ConnectionRef, RepoPath};
use crate::spec::EngineKind;
use crate::spec::check::{Checked, CheckedEndpoint, EndpointChoice};
use crate::spec::connectors::End;
use crate::spec::names::Role;
use crate::spec::source::Span;

use super::{Entry, Input, oldest_first};

const WRITTEN_ONCE: &str =
    "a source or destination that several connections share is written once, as `kind: source` or `kind: destination`";

/// Refuses an id that two specs adopt.
pub(super) fn refuse_shared_adoptions(entries: &mut [Entry], input: &Input<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut first: HashMap<Uuid, RepoPath> = HashMap::new();
    for i in oldest_first(entries, input) {
        let entry = &entries[i];
        let mut shared = Vec::new();
        for id in entry.checked.as_ref().map(adopted).unwrap_or_default() {
            match first.get(&id) {
                Some(other) => shared.push((id, other.clone())),
                None => drop(first.insert(id, entry.path.clone())),
            }
        }
        for (id, other) in &shared {
            let id = id.to_string();
            let at = entry.source.text.to_ascii_lowercase().find(&id).unwrap_or(0);
            let span = entry.source.span_at(at);
            let end = span.start + u32::try_from(id.len()).unwrap_or(1);
            let text = format!("this object of Airbyte is adopted by {} already", quoted(other.as_str()));
            let d = Diagnostic::error("AAM-S031", text).label("one object, one owner");
            diagnostics.push(d.help(WRITTEN_ONCE).at(entry.source.place(&Span { end, ..span })));
        }
        if !shared.is_empty() {
            entries[i].checked = None;
        }
    }
}

/// The ids that a file adopts.
fn adopted(checked: &Checked) -> Vec<Uuid> {
    match checked {
        Checked::Connection(connection) => {
            let inline = |choice: &EndpointChoice| match choice {
                EndpointChoice::Inline(inline) => inline.airbyte.id,
                EndpointChoice::Named(_) => None,
            };
            let ids = [connection.airbyte.id, inline(&connection.source), inline(&connection.destination)];
            ids.into_iter().flatten().collect()
        }
        Checked::Endpoint(_, endpoint) => endpoint.airbyte.id.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Refuses two sources, or two destinations, that would be one object: Airbyte knows what `aam` made by its name and its
/// connector.
pub(super) fn refuse_shared_names(entries: &mut [Entry], input: &Input<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if input.engine != EngineKind::Airbyte {
        return;
    }
    let mut first: HashMap<(End, String, String, String), RepoPath> = HashMap::new();
    for i in oldest_first(entries, input) {
        let entry = &entries[i];
        let (Role::Spec(of), Some(checked)) = (&entry.role, &entry.checked) else { continue };
        let mut shared = Vec::new();
        for (end, endpoint) in made(checked) {
            let name = name_of(of, endpoint);
            let object = (end, of.tenant.to_string(), endpoint.connector.clone(), name.clone());
            match first.get(&object) {
                Some(other) => shared.push((end, name, other.clone())),
                None => drop(first.insert(object, entry.path.clone())),
            }
        }
        for (end, name, other) in &shared {
            let at = entry.source.text.find(name.as_str()).unwrap_or(0);
            let span = entry.source.span_at(at);
            let end_of_name = span.start + u32::try_from(name.len()).unwrap_or(1);
            let text = format!(
                "a {} of this connector is called {} in Airbyte by {} already",
                end.word(),
                quoted(name),
                quoted(other.as_str())
            );
            let d = Diagnostic::error("AAM-S031", text).label("one object, one owner");
            let help = format!("give this one another name with `airbyte: {{name: …}}`; {WRITTEN_ONCE}");
            diagnostics.push(d.help(help).at(entry.source.place(&Span { end: end_of_name, ..span })));
        }
        if !shared.is_empty() {
            entries[i].checked = None;
        }
    }
}

/// The sources and destinations that a file declares and that are not adopted by their id.
fn made(checked: &Checked) -> Vec<(End, &CheckedEndpoint)> {
    let all = match checked {
        Checked::Connection(connection) => {
            let ends = [(End::Source, &connection.source), (End::Destination, &connection.destination)];
            let mut inline = Vec::new();
            for (end, choice) in ends {
                if let EndpointChoice::Inline(endpoint) = choice {
                    inline.push((end, endpoint));
                }
            }
            inline
        }
        Checked::Endpoint(end, endpoint) => vec![(*end, endpoint)],
        _ => Vec::new(),
    };
    all.into_iter().filter(|(_, endpoint)| endpoint.airbyte.id.is_none()).collect()
}

/// What it is called in Airbyte.
fn name_of(of: &ConnectionRef, endpoint: &CheckedEndpoint) -> String {
    endpoint.airbyte.name.clone().unwrap_or_else(|| of.to_string())
}
