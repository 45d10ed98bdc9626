//! Making and changing sources and destinations, for both APIs.

use serde_json::Value;
use uuid::Uuid;

use super::answer::Trouble;
use super::definitions::{check_settings, mask, unmask};
use super::state::{Actor, Side, State};

/// Makes one. The settings are held against the connector's specification; nothing is connected to.
pub fn create(
    state: &mut State,
    side: Side,
    workspace: Uuid,
    definition: Uuid,
    name: &str,
    settings: &Value,
) -> Result<Uuid, Trouble> {
    state.workspace(workspace)?;
    check_settings(&state.definition(side, definition)?.spec, settings)?;
    Ok(state.insert_actor(side, definition, workspace, name, settings.clone()))
}

/// Replaces name and settings, or merges the settings into the stored ones. A mask keeps the stored secret.
pub fn update(
    state: &mut State,
    side: Side,
    id: Uuid,
    name: Option<&str>,
    settings: Option<&Value>,
    merges: bool,
) -> Result<(), Trouble> {
    let actor = state.actor_mut(side, id)?.clone();
    let spec = &state.definition(side, actor.definition)?.spec;
    let settings = match settings {
        None => actor.settings,
        Some(new) => {
            let new = unmask(spec, &actor.settings, new);
            if merges { merged(actor.settings, new) } else { new }
        }
    };
    check_settings(spec, &settings)?;
    let actor = state.actor_mut(side, id)?;
    actor.settings = settings;
    if let Some(name) = name {
        name.clone_into(&mut actor.name);
    }
    Ok(())
}

fn merged(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Object(mut old), Value::Object(new)) => {
            for (key, value) in new {
                let kept = old.remove(&key).unwrap_or_default();
                old.insert(key, merged(kept, value));
            }
            Value::Object(old)
        }
        (_, new) => new,
    }
}

/// The settings as both APIs show them.
pub fn shown_settings(state: &State, actor: &Actor) -> Value {
    let spec = state.definition(actor.side, actor.definition).map(|d| d.spec.clone()).unwrap_or_default();
    mask(&spec, &actor.settings)
}

/// Settings that a check or a change proposes, with stored secrets behind the masks.
pub fn proposed(state: &State, actor: &Actor, settings: &Value) -> Result<Value, Trouble> {
    Ok(unmask(&state.definition(actor.side, actor.definition)?.spec, &actor.settings, settings))
}
