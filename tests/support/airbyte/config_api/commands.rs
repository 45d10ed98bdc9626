//! The form of check and discover that holds no request open, from 1.7 on. Ids are the client's: the same id again runs
//! nothing again.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::answer::{Answer, Call, Trouble, uuid};
use super::super::discover;
use super::super::server::Shared;
use super::super::state::{Command, Side};
use super::actors::{check_output, discover_output};

/// `commands/*`.
pub fn answer(shared: &Arc<Shared>, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    if !shared.state().version.has_commands() {
        return Err(Trouble::NoSuchCall);
    }
    let id = call.text("id")?.to_owned();
    match verb {
        "run/discover" => {
            let source = call.id("actor_id")?;
            let mut state = shared.state();
            state.actor_mut(Side::Source, source)?;
            if !state.commands.contains_key(&id) {
                state.commands.insert(id.clone(), Command { status: "running", output: Value::Null });
                let (shared, id) = (shared.clone(), id.clone());
                tokio::spawn(async move {
                    // without a job id a run is marked manual, hence always fresh
                    let found = discover::with_cache(&shared, source, false).await;
                    let mut state = shared.state();
                    let output = discover_output(&state, &id, found);
                    let command = state.commands.get_mut(&id).expect("inserted before");
                    if command.status != "cancelled" {
                        *command = Command { status: "completed", output };
                    }
                });
            }
            Ok(Answer::ok(json!({"id": id})))
        }
        "run/check" => {
            let actor = uuid(call.field("actor_id")?)?;
            let mut state = shared.state();
            let found = state.actors.iter().find(|a| a.id == actor && !a.deleted);
            let output = check_output(&id, found.ok_or_else(|| Trouble::Absent("actor", actor.to_string()))?);
            state.commands.entry(id.clone()).or_insert(Command { status: "completed", output });
            Ok(Answer::ok(json!({"id": id})))
        }
        "status" | "output/discover" | "output/check" | "cancel" => {
            let mut state = shared.state();
            // an unknown id is no 404
            let command = state.commands.get_mut(&id).ok_or(Trouble::Forbidden)?;
            match verb {
                "status" => Ok(Answer::ok(json!({"id": id, "status": command.status}))),
                "cancel" => {
                    command.status = "cancelled";
                    Ok(Answer::ok(json!({"id": id})))
                }
                _ if command.status == "completed" => Ok(Answer::ok(command.output.clone())),
                _ => Err(Trouble::Absent("output of command", id)),
            }
        }
        _ => Err(Trouble::NoSuchCall),
    }
}
