//! The public API: REST below `/public/v1`, ids in the path, filters in the query.

mod actors;
mod connections;
mod jobs;

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Answer, Call, Payload, Trouble};
use super::config_api::tags;
use super::server::Shared;
use super::state::{Side, State, Workspace};

/// Objects per page, unless asked otherwise.
const PAGE: usize = 20;
/// The address of the server inside its cluster, which `next` points at.
const INSIDE: &str = "http://localhost:8001/api/public/v1";

/// Answers a call of this API.
pub async fn answer(shared: &Arc<Shared>, call: &Call) -> Result<Answer, Trouble> {
    let Some(path) = call.path.strip_prefix("/public/v1/") else { return Err(Trouble::NoSuchCall) };
    let parts: Vec<&str> = path.split('/').collect();
    let side = |word: &str| if word.starts_with("source") { Side::Source } else { Side::Destination };
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["health"]) => {
            Ok(Answer { status: 200, body: Payload::Plain("Successful operation"), headers: Vec::new() })
        }
        ("GET", ["workspaces"]) => {
            let state = shared.state();
            page(call, "workspaces", state.workspaces.iter().map(workspace).collect())
        }
        ("POST", ["workspaces"]) => {
            let mut state = shared.state();
            let id = state.add_workspace(call.text("name")?);
            Ok(Answer::ok(workspace(state.workspace(id)?)))
        }
        ("GET", ["workspaces", id]) => Ok(Answer::ok(workspace(shared.state().workspace(path_id(id)?)?))),
        ("GET", ["workspaces", id, "definitions", sides @ ("sources" | "destinations")]) => {
            definitions(&shared.state(), call, path_id(id)?, side(sides))
        }
        (_, [sides @ ("sources" | "destinations"), rest @ ..]) => {
            actors::answer(&mut shared.state(), call, side(sides), rest)
        }
        (_, ["connections", rest @ ..]) => connections::answer(shared, call, rest).await,
        ("GET", ["streams"]) => connections::streams(shared, call).await,
        (_, ["jobs", rest @ ..]) => jobs::answer(shared, call, rest),
        ("GET", ["tags"]) if shared.state().version.has_tags() => {
            let (state, of) = (shared.state(), workspace_filter(call)?);
            let all = state.tags.iter().filter(|t| of.is_none_or(|of| of == t.workspace)).map(tags::read);
            Ok(Answer::ok(json!({"data": all.collect::<Vec<_>>()})))
        }
        ("POST", ["tags"]) if shared.state().version.has_tags() => tags::create(&mut shared.state(), call),
        _ => Err(Trouble::NoSuchCall),
    }
}

fn workspace(workspace: &Workspace) -> Value {
    json!({"workspaceId": workspace.id, "name": workspace.name, "dataResidency": "auto", "notifications": {}})
}

fn definitions(state: &State, call: &Call, workspace: Uuid, side: Side) -> Result<Answer, Trouble> {
    state.workspace(workspace)?;
    let all = state.definitions.iter().filter(|d| d.side == side).map(|d| {
        json!({"id": d.id, "name": d.name, "dockerRepository": d.repository, "dockerImageTag": d.tag,
            "documentationUrl": "https://example.org/connector"})
    });
    page(call, "definitions", all.collect())
}

/// An id of the path.
fn path_id(text: &str) -> Result<Uuid, Trouble> {
    text.parse().map_err(|_| Trouble::Problem(400, "bad-request", format!("{text} is no UUID")))
}

/// The workspace that a list is asked for: the first of them.
fn workspace_filter(call: &Call) -> Result<Option<Uuid>, Trouble> {
    call.query("workspaceIds").map(path_id).transpose()
}

fn number(call: &Call, name: &str, default: usize) -> Result<usize, Trouble> {
    let wrong = || Trouble::Problem(400, "bad-request", format!("{name} is out of range"));
    call.query(name).map_or(Ok(default), |text| text.parse().map_err(|_| wrong()))
}

/// `limit` and `offset`.
fn window(call: &Call) -> Result<(usize, usize), Trouble> {
    let (limit, offset) = (number(call, "limit", PAGE)?, number(call, "offset", 0)?);
    if !(1..=100).contains(&limit) {
        return Err(Trouble::Problem(400, "bad-request", "limit must be 1 to 100".into()));
    }
    Ok((limit, offset))
}

/// A page. `next` points into the cluster, and is there for every page that holds something; without it, it is empty or,
/// for the first page, absent.
fn page(call: &Call, what: &str, all: Vec<Value>) -> Result<Answer, Trouble> {
    let (limit, offset) = window(call)?;
    Ok(paged(what, limit, offset, all.into_iter().skip(offset).take(limit).collect()))
}

fn paged(what: &str, limit: usize, offset: usize, data: Vec<Value>) -> Answer {
    let link = |offset: usize| json!(format!("{INSIDE}/{what}?limit={limit}&offset={offset}"));
    let mut answer = json!({"next": "", "previous": ""});
    if !data.is_empty() {
        answer["next"] = link(offset + limit);
    } else if offset == 0 {
        answer = json!({});
    }
    if offset > 0 {
        answer["previous"] = link(offset.saturating_sub(limit));
    }
    answer["data"] = Value::Array(data);
    Answer::ok(answer)
}
