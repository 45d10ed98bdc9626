//! What a connector's specification (a JSON Schema) wants of settings, told all at once before anything is sent. Airbyte's
//! server, or the connector itself, checks the rest.

use serde_json::Value;

use crate::ports::ResolvedConfig;

/// What is missing from `settings`, and what is secret and yet stands in the spec as it is; a sentence each, without values.
/// `config` is what the settings are part of, with what of it was a reference.
pub fn problems(specification: &Value, settings: &Value, config: &ResolvedConfig) -> Vec<String> {
    let mut problems = Vec::new();
    look(specification, settings, "", config, &mut problems);
    problems.sort();
    problems.dedup();
    problems
}

fn look(schema: &Value, value: &Value, path: &str, config: &ResolvedConfig, problems: &mut Vec<String>) {
    let Some(settings) = value.as_object() else {
        if let (Some(true), Some(text)) = (schema["airbyte_secret"].as_bool(), value.as_str())
            && !text.is_empty()
            && !config.has_secret(text)
        {
            problems
                .push(format!("`{path}` is a secret: write a reference, for example ${{env:NAME}}, and not the value"));
        }
        return;
    };
    let schema = one_of(schema, value).unwrap_or(schema);
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !settings.contains_key(name) {
            let about = &schema["properties"][name];
            let said = about["description"].as_str().or(about["title"].as_str());
            let said = said.map(|text| format!(" ({})", plain(text))).unwrap_or_default();
            problems.push(format!("`{}` is missing{said}", join(path, name)));
        }
    }
    for (name, value) in settings {
        look(&schema["properties"][name], value, &join(path, name), config, problems);
    }
}

/// Of several forms of an object the one whose constants the settings have.
fn one_of<'s>(schema: &'s Value, value: &Value) -> Option<&'s Value> {
    let forms = schema["oneOf"].as_array()?;
    let has_constants = |form: &&Value| {
        let properties = form["properties"].as_object();
        let constants = properties.into_iter().flatten().filter_map(|(name, p)| Some((name, p.get("const")?)));
        let mut constants = constants.peekable();
        constants.peek().is_some() && constants.all(|(name, constant)| value.get(name) == Some(constant))
    };
    forms.iter().find(has_constants)
}

fn join(path: &str, name: &str) -> String {
    let name = crate::diag::escape(name);
    if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") }
}

/// The first sentence of a connector's description without its HTML.
fn plain(text: &str) -> String {
    let mut inside = false;
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            '\n' | '\r' => plain.push(' '),
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    let sentence = plain.split(". ").next().unwrap_or_default().trim().trim_end_matches('.');
    crate::diag::escape(&sentence.chars().take(120).collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_missing_is_named_at_once_and_a_plain_secret_is_refused() {
        let salesforce = json!({"required": ["client_id", "client_secret", "refresh_token"], "properties": {
            "client_id": {"description": "Enter your Salesforce developer application's <a href=\"x\">Client ID</a>. And more."},
            "client_secret": {"airbyte_secret": true, "title": "Client Secret"},
            "refresh_token": {"airbyte_secret": true}}});
        let config = |value| ResolvedConfig::new(value, vec!["s3cret".into()], String::new());
        let told = |value: Value| problems(&salesforce, &value, &config(value.clone())).join("\n");
        insta::assert_snapshot!(told(json!({})), @"
        `client_id` is missing (Enter your Salesforce developer application's Client ID)
        `client_secret` is missing (Client Secret)
        `refresh_token` is missing
        ");
        insta::assert_snapshot!(told(json!({"client_id": "i", "client_secret": "s3cret", "refresh_token": "plain"})), @"`refresh_token` is a secret: write a reference, for example ${env:NAME}, and not the value");
    }

    #[test]
    fn of_several_forms_the_chosen_one_counts() {
        let schema = json!({"properties": {"tunnel": {"oneOf": [
            {"properties": {"kind": {"const": "none"}}},
            {"required": ["host"], "properties": {"kind": {"const": "ssh"}, "key": {"airbyte_secret": true}}}]}}});
        let config = ResolvedConfig::new(json!({"tunnel": {"kind": "ssh", "key": "open"}}), vec![], String::new());
        insta::assert_snapshot!(problems(&schema, config.expose(), &config).join("\n"), @"
        `tunnel.host` is missing
        `tunnel.key` is a secret: write a reference, for example ${env:NAME}, and not the value
        ");
    }
}
