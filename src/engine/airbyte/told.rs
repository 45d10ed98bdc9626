//! What Airbyte says of its objects, in our words, and the settings of ours as its requests have them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::api::{Actor, ApiJob, Connection as Live, Definition, Kept};
use super::catalog;
use super::engine::engine_id;
use super::error::shown;
use super::schedule::{from_airbyte, to_airbyte};
use crate::model::StreamName;
use crate::ports::{ConnectionDraft, EngineConnection, EngineEndpoint, Job, JobState, ObjectKind};

/// What a connection is, in our words.
pub(super) fn told(live: &Kept<Live>) -> Result<EngineConnection, String> {
    let known = &live.known;
    let streams = catalog::configured(&known.sync_catalog.streams)?;
    let enabled = known.status == "active";
    let stopped = match (known.status.as_str(), &known.status_reason) {
        ("active", _) => None,
        ("inactive", reason) if known.breaking_change => {
            let said = reason.as_deref().map(|r| format!(" ({})", crate::diag::escape(r))).unwrap_or_default();
            Some(format!("Airbyte disabled it for a breaking change of its source{said}"))
        }
        ("inactive", Some(reason)) => Some(format!("Airbyte disabled it: {}", crate::diag::escape(reason))),
        ("inactive", None) => None,
        (other, _) => Some(format!("its status in Airbyte is {}", crate::diag::escape(other))),
    };
    let is = ConnectionDraft {
        name: known.name.clone(),
        source: engine_id(known.source_id),
        destination: engine_id(known.destination_id),
        streams,
        enabled,
        settings: live_settings(&live.raw),
        options: catalog::options(&known.sync_catalog.streams),
    };
    Ok(EngineConnection { id: engine_id(known.connection_id), is, stopped })
}

/// What a source or destination is, in our words. Airbyte's mask of a secret is ours.
pub(super) fn told_endpoint(actor: Actor) -> EngineEndpoint {
    EngineEndpoint { name: actor.name, config: actor.connection_configuration }
}

/// The connector that is meant: by id, docker repository, its short form, or the name that Airbyte shows.
pub(super) fn choose_definition(kind: ObjectKind, all: &[Definition], connector: &str) -> Result<Definition, String> {
    let by = |fits: &dyn Fn(&Definition) -> bool| all.iter().filter(|d| fits(d)).cloned().collect::<Vec<_>>();
    let short = format!("airbyte/{}-{connector}", kind.word());
    let ways: [&dyn Fn(&Definition) -> bool; 4] = [
        &|d| d.id.to_string() == connector,
        &|d| d.docker_repository == connector,
        &|d| d.docker_repository == short,
        &|d| d.name.to_lowercase() == connector.to_lowercase(),
    ];
    for way in ways {
        match by(way).as_slice() {
            [] => {}
            [one] => return Ok(one.clone()),
            many => {
                let ids: Vec<_> = many.iter().map(|d| format!("{} ({})", d.id, d.docker_repository)).collect();
                return Err(format!("Airbyte has {} of them: name one by its id: {}", many.len(), ids.join(", ")));
            }
        }
    }
    Err(format!(
        "it is none of the {} {} connectors of the workspace; write its docker repository (`{short}`), its name in Airbyte \
         or its id as `type:`",
        all.len(),
        kind.word()
    ))
}

/// What git owns of a connection beside name, status and streams, as it is live.
pub(super) fn live_settings(raw: &Value) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::new();
    let keys = raw
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| !value.is_null() && !MODELLED.contains(&key.as_str()));
    settings.extend(keys.map(|(key, value)| (key.clone(), value.clone())));
    settings.insert("schedule".into(), schedule_of(raw));
    settings.insert("namespace".into(), namespace_of(raw));
    settings.insert("prefix".into(), json!(raw["prefix"].as_str().unwrap_or_default()));
    settings
}

/// Keys of a connection that are told elsewhere, or that only the server sets.
const MODELLED: [&str; 22] = [
    "connectionId",
    "name",
    "sourceId",
    "destinationId",
    "status",
    "statusReason",
    "syncCatalog",
    "schedule",
    "scheduleType",
    "scheduleData",
    "namespaceDefinition",
    "namespaceFormat",
    "prefix",
    "breakingChange",
    "sourceCatalogId",
    "tags",
    "created_at",
    "createdAt",
    "workspaceId",
    "source",
    "destination",
    "latestSyncJobStatus",
];

/// In the form that we would send, so that one schedule in two units is no change; what we have no word for as it is.
fn schedule_of(raw: &Value) -> Value {
    let (kind, data) = (&raw["scheduleType"], &raw["scheduleData"]);
    let ours = from_airbyte(kind.as_str(), data).ok().and_then(|schedule| to_airbyte(&schedule).ok());
    ours.unwrap_or_else(|| json!({"scheduleType": kind, "scheduleData": data}))
}

fn namespace_of(raw: &Value) -> Value {
    let definition = raw["namespaceDefinition"].as_str().unwrap_or("source");
    match (definition, raw["namespaceFormat"].as_str()) {
        ("customformat", format) => {
            json!({"namespaceDefinition": definition, "namespaceFormat": format.unwrap_or_default()})
        }
        _ => json!({ "namespaceDefinition": definition }),
    }
}

/// The keys of a request: schedule and namespace are several.
pub(super) fn flat(settings: &BTreeMap<String, Value>, which: impl Fn(&str, &Value) -> bool) -> Map<String, Value> {
    let mut body = Map::new();
    for (key, value) in settings.iter().filter(|(key, value)| which(key, value)) {
        match (key.as_str(), value) {
            ("schedule" | "namespace", Value::Object(parts)) => body.extend(parts.clone()),
            _ => drop(body.insert(key.clone(), value.clone())),
        }
    }
    body
}

/// Streams as requests name them.
pub(super) fn named(streams: &BTreeSet<StreamName>) -> Vec<Value> {
    let one = |stream: &StreamName| match &stream.namespace {
        Some(namespace) => json!({"streamName": stream.name, "streamNamespace": namespace}),
        None => json!({"streamName": stream.name}),
    };
    streams.iter().map(one).collect()
}

pub(super) fn moves_rows(job: &ApiJob) -> bool {
    matches!(job.kind.as_str(), "sync" | "refresh")
}

/// What a job is, in our words; `mask` takes secrets out of what a connector said of its failure.
pub(super) fn told_job(job: &ApiJob, mask: impl Fn(&str) -> String) -> Job {
    let time = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    Job {
        id: job.id,
        state: match job.status.as_str() {
            "succeeded" => JobState::Succeeded,
            "failed" => JobState::Failed,
            "cancelled" => JobState::Cancelled,
            // `incomplete` too: a retry follows
            _ => JobState::Running,
        },
        started_at: time(job.created_at),
        ended_at: job.has_ended().then(|| time(job.updated_at)),
        attempts: job.attempts,
        rows: job.rows,
        bytes: job.bytes,
        streams: Vec::new(),
        error: match job.status.as_str() {
            "failed" => Some(job.failure.as_deref().map_or("Airbyte gave no reason".into(), |why| shown(&mask(why)))),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn definition(id: u128, name: &str, repository: &str) -> Definition {
        Definition {
            id: Uuid::from_u128(id),
            name: name.into(),
            docker_repository: repository.into(),
            docker_image_tag: "1".into(),
        }
    }

    #[test]
    fn a_connector_is_found_by_its_repository_first_and_by_its_name_in_any_case_then() {
        let all = [
            // a name that is another one's repository
            definition(1, "airbyte/source-crm", "acme/crm"),
            definition(2, "Customers", "airbyte/source-crm"),
            definition(3, "crm", "acme/other"),
        ];
        let found = |connector: &str| choose_definition(ObjectKind::Source, &all, connector).map(|d| d.id.as_u128());
        assert_eq!(found("airbyte/source-crm"), Ok(2));
        assert_eq!(found("crm"), Ok(2), "its short form");
        assert_eq!(found("CUSTOMERS"), Ok(2));
        assert_eq!(found("Crm"), Ok(3));
        assert_eq!(found(&Uuid::from_u128(3).to_string()), Ok(3));
    }

    #[test]
    fn two_connectors_that_match_are_refused_with_both_named() {
        let all = [definition(1, "CRM", "acme/one"), definition(2, "crm", "acme/two")];
        insta::assert_snapshot!(choose_definition(ObjectKind::Source, &all, "crm").unwrap_err(), @"Airbyte has 2 of them: name one by its id: 00000000-0000-0000-0000-000000000001 (acme/one), 00000000-0000-0000-0000-000000000002 (acme/two)");
    }
}
