//! `tags/*`, from 1.4 on.

use serde_json::{Value, json};

use super::super::answer::{Answer, Call, Trouble};
use super::super::state::{State, Tag};

/// As both APIs show it.
pub fn read(tag: &Tag) -> Value {
    json!({"tagId": tag.id, "workspaceId": tag.workspace, "name": tag.name, "color": tag.color})
}

/// `tags/list` and `tags/create`.
pub fn answer(state: &mut State, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    if !state.version.has_tags() {
        return Err(Trouble::NoSuchCall);
    }
    let workspace = call.id("workspaceId")?;
    match verb {
        "list" => Ok(Answer::ok(state.tags.iter().filter(|t| t.workspace == workspace).map(read).collect())),
        "create" => create(state, call),
        _ => Err(Trouble::NoSuchCall),
    }
}

/// Makes a tag; its name must be new in the workspace.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Trouble> {
    let (workspace, name, color) = (call.id("workspaceId")?, call.text("name")?, call.text("color")?);
    state.workspace(workspace)?;
    let is_color = color.len() == 6 && color.chars().all(|c| c.is_ascii_hexdigit());
    if name.is_empty() || name.chars().count() > 30 || !is_color {
        return Err(Trouble::Problem(400, "tag-invalid", "a name of 30 characters and six hex digits".into()));
    }
    if state.tags.iter().any(|t| t.workspace == workspace && t.name == name) {
        return Err(Trouble::Problem(409, "tag-already-exists", format!("Tag {name} already exists")));
    }
    let tag = Tag { id: state.new_id(), workspace, name: name.to_owned(), color: color.to_owned() };
    let answer = Answer::ok(read(&tag));
    state.tags.push(tag);
    Ok(answer)
}
