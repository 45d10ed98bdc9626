//! `/sources` and `/destinations`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::actors;
use super::super::answer::{Answer, Call, Trouble};
use super::super::state::{Actor, Definition, Side, State, absent};
use super::{page, path_id, workspace_filter};

/// Everything below them.
pub fn answer(state: &mut State, call: &Call, side: Side, rest: &[&str]) -> Result<Answer, Trouble> {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let of = workspace_filter(call)?;
            let with_deleted = call.query("includeDeleted") == Some("true");
            let wanted = |a: &&Actor| {
                a.side == side
                    && of.is_none_or(|of| of == a.workspace)
                    && (with_deleted || !a.deleted)
                    && a.born.elapsed() >= call.lag
            };
            let all = state.actors.iter().filter(wanted).map(|a| read(state, a)).collect();
            page(call, &format!("{}s", side.word()), all)
        }
        ("POST", []) => {
            let (definition, settings) = settings(state, call, side)?;
            let definition = match call.maybe_id("definitionId")?.or(definition) {
                Some(definition) => definition,
                None => return Err(Trouble::Missing("definitionId".into())),
            };
            let (workspace, name) = (call.id("workspaceId")?, call.text("name")?);
            let id = actors::create(state, side, workspace, definition, name, &settings)?;
            Ok(Answer::ok(read(state, state.actor(side, id)?)))
        }
        ("GET", [id]) => Ok(Answer::ok(read(state, state.actor(side, path_id(id)?)?))),
        ("PUT" | "PATCH", [id]) => {
            let id = path_id(id)?;
            let merges = call.method == "PATCH";
            let settings = match call.body.get("configuration") {
                None if merges => None,
                None => return Err(Trouble::Missing("configuration".into())),
                Some(_) => Some(settings(state, call, side)?.1),
            };
            actors::update(state, side, id, call.body["name"].as_str(), settings.as_ref(), merges)?;
            Ok(Answer::ok(read(state, state.actor(side, id)?)))
        }
        ("DELETE", [id]) => {
            state.delete_actor(side, path_id(id)?)?;
            Ok(Answer::empty())
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

/// The settings without `sourceType`, which only this API has, and the connector that it names.
fn settings(state: &State, call: &Call, side: Side) -> Result<(Option<Uuid>, Value), Trouble> {
    let mut settings = call.field("configuration")?.clone();
    let word = settings.as_object_mut().and_then(|s| s.remove(&format!("{}Type", side.word())));
    let Some(word) = word.as_ref().and_then(Value::as_str) else { return Ok((None, settings)) };
    let found = state.definitions.iter().find(|d| d.side == side && type_word(d) == word);
    match found {
        Some(definition) => Ok((Some(definition.id), settings)),
        // from a fixed table in the server
        None => Err(Trouble::Problem(400, "value-not-found", format!("no connector of the type {word}"))),
    }
}

/// `postgres`
fn type_word(definition: &Definition) -> &str {
    let name = definition.repository.rsplit('/').next().unwrap_or_default();
    name.split_once('-').map_or(name, |(_, word)| word)
}

fn read(state: &State, actor: &Actor) -> Value {
    let word = actor.side.word();
    let definition = state.definition(actor.side, actor.definition).map(type_word);
    json!({
        format!("{word}Id"): actor.id, "name": actor.name, format!("{word}Type"): definition.unwrap_or_default(),
        "definitionId": actor.definition, "workspaceId": actor.workspace, "createdAt": actor.created_at,
        "configuration": actors::shown_settings(state, actor),
    })
}

/// The refusal of a source that is not there any more.
pub fn live(state: &State, side: Side, id: Uuid) -> Result<&Actor, Trouble> {
    state.actor(side, id).ok().filter(|a| !a.deleted).ok_or_else(|| absent(side.word(), id))
}
