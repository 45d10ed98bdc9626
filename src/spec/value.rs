//! Connector settings as written, and the references to secrets in them.
//!
//! `${env:NAME}`, `${file:/path}` and `${credential:NAME}` are references; `$${` writes a literal `${`.

use serde_json::{Map, Number, Value as Json};

use crate::diag::{Diagnostic, quoted};

use super::mask::{mask_url, names_secret};
use super::read::nearest;
use super::source::{Problems, Span};
use super::yaml::{Node, Value};
use super::{Config, ConfigValue, SecretRef, TemplatePart};

/// Reads a `config:` or `passthrough:` map. A plain text under a key that looks secret is a problem.
pub fn read_config(node: &Node, to: &mut Problems<'_>) -> Option<Config> {
    let entries = super::read::map(node, "a map of settings", to)?;
    Some(
        entries.iter().map(|(key, value)| (key.text.clone(), read_value(value, names_secret(&key.text), to))).collect(),
    )
}

/// Reads one value; `secret` if its key says that it is one. A map below such a key (`credentials:`) names its own.
fn read_value(node: &Node, secret: bool, to: &mut Problems<'_>) -> ConfigValue {
    match &node.value {
        Value::List(items) => ConfigValue::List(items.iter().map(|item| read_value(item, secret, to)).collect()),
        Value::Map(entries) => {
            let value = |(key, value): &(super::yaml::Key, Node)| {
                (key.text.clone(), read_value(value, names_secret(&key.text), to))
            };
            ConfigValue::Map(entries.iter().map(value).collect())
        }
        Value::Scalar { .. } if node.is_null() => ConfigValue::Null,
        Value::Scalar { text, plain } => {
            let value = read_text(text, *plain, &node.span, to);
            if !matches!(value, ConfigValue::Template(_)) && (secret && !is_harmless(text) || mask_url(text).is_some())
            {
                plain_secret(&node.span, to);
            }
            value
        }
    }
}

/// Settings as JSON, scalars typed as YAML's core rules have them; what holds a reference to a secret is `masked`.
pub(super) fn shown_map(config: &Config, masked: &str) -> Map<String, Json> {
    config.iter().map(|(key, value)| (key.clone(), shown(value, masked))).collect()
}

fn shown(value: &ConfigValue, masked: &str) -> Json {
    match value {
        ConfigValue::Null => Json::Null,
        ConfigValue::Template(_) => Json::String(masked.to_owned()),
        ConfigValue::Plain(text) => plain_json(text),
        ConfigValue::Text(text) => Json::String(text.clone()),
        ConfigValue::List(items) => items.iter().map(|item| shown(item, masked)).collect(),
        ConfigValue::Map(map) => Json::Object(shown_map(map, masked)),
    }
}

/// A bare scalar: boolean, number or text. `01234` and `1_000` are text: no JSON writes a number so.
fn plain_json(text: &str) -> Json {
    match text {
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        _ => serde_json::from_str::<Number>(text)
            .ok()
            .filter(|number| number.to_string() == text)
            .map_or_else(|| Json::String(text.to_owned()), Json::Number),
    }
}

/// Flags and lengths under a secret-looking key (`token_ttl: 30`) are not secrets.
fn is_harmless(text: &str) -> bool {
    text.is_empty() || matches!(text, "true" | "false") || (text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether [`read_config`] has refused this plain text already, by the name of its key.
pub fn is_refused_by_name(key: &str, text: &str) -> bool {
    names_secret(key) && !is_harmless(text)
}

/// Adds the problem of a secret in plain text.
pub fn plain_secret(span: &Span, to: &mut Problems<'_>) {
    let d = Diagnostic::error("AAM-S021", "a secret stands here in plain text").label("would be in git for ever");
    let help =
        "write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed";
    to.add(span, d.help(help));
}

fn read_text(text: &str, plain: bool, span: &Span, to: &mut Problems<'_>) -> ConfigValue {
    if !text.contains("${") {
        return if plain { ConfigValue::Plain(text.to_owned()) } else { ConfigValue::Text(text.to_owned()) };
    }
    match parse_template(text) {
        Ok(parts) => match <[TemplatePart; 1]>::try_from(parts) {
            Ok([TemplatePart::Text(text)]) => ConfigValue::Text(text),
            Ok([part]) => ConfigValue::Template(vec![part]),
            Err(parts) => ConfigValue::Template(parts),
        },
        Err(problem) => {
            to.add(span, problem);
            // A broken reference is still no plain text: one problem is enough.
            ConfigValue::Template(Vec::new())
        }
    }
}

/// A text without references, its `$${` as `${`; `None` if it holds a reference.
pub fn literal(text: &str) -> Option<String> {
    match parse_template(text).ok()?.as_slice() {
        [] => Some(String::new()),
        [TemplatePart::Text(text)] => Some(text.clone()),
        _ => None,
    }
}

/// A text as it is written where references are read: the inverse of [`literal`].
pub fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// [`escaped`] for every text in a value.
pub fn escaped_value(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(escaped(text)),
        Value::Array(items) => items.iter().map(escaped_value).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), escaped_value(value))).collect(),
        other => other.clone(),
    }
}

/// Whether settings take a text below this key only as a reference.
pub fn needs_reference(key: &str, text: &str) -> bool {
    is_refused_by_name(key, text) || mask_url(text).is_some()
}

/// Splits a text at its references.
fn parse_template(text: &str) -> Result<Vec<TemplatePart>, Diagnostic> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            literal.push_str(before);
            literal.push_str("${");
            rest = after;
            continue;
        }
        literal.push_str(before);
        let Some((inner, behind)) = after.split_once('}') else {
            let d = Diagnostic::error("AAM-S020", "a reference that begins with `${` does not end");
            return Err(d.label("`}` is missing").help("write `$${` for a literal `${`"));
        };
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
        }
        parts.push(TemplatePart::Secret(parse_reference(inner)?));
        rest = behind;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(TemplatePart::Text(literal));
    }
    Ok(parts)
}

/// `scheme:argument`.
fn parse_reference(inner: &str) -> Result<SecretRef, Diagnostic> {
    const SCHEMES: &[&str] = &["env", "file", "credential"];
    let wrong = |why: String| Diagnostic::error("AAM-S020", why).label("not a reference that aam knows");
    let Some((scheme, argument)) = inner.split_once(':') else {
        let d = wrong("a reference needs a scheme before its name".into());
        return Err(d.help("write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`; `$${` is a literal `${`"));
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let bad = |why: &str| Err(wrong(format!("`{scheme}` in a reference {why}")));
    match scheme {
        "env"
            if argument.starts_with(|c: char| c.is_ascii_digit())
                || argument.is_empty()
                || !argument.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
        {
            bad("needs the name of a variable: letters, digits and `_`")
        }
        "env" => Ok(SecretRef::Env(argument.to_owned())),
        "file" if !argument.starts_with('/') || argument.split('/').any(|p| p == "..") => {
            bad("needs an absolute path without `..`")
        }
        "file" => Ok(SecretRef::File(argument.to_owned())),
        "credential" if argument.is_empty() || argument.starts_with('.') || !argument.chars().all(name) => {
            bad("needs a name of letters, digits, `.`, `_` and `-`")
        }
        "credential" => Ok(SecretRef::Credential(argument.to_owned())),
        _ => {
            let d = wrong(format!("no secret store has the scheme {}", quoted(scheme)));
            Err(match nearest(scheme, SCHEMES.iter().copied()) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.note(format!("known: {}", SCHEMES.join(", "))),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match parse_template(text) {
            Ok(parts) => format!("{parts:?}"),
            Err(d) => format!("{}: {}", d.code, d.message),
        }
    }

    #[test]
    fn references_and_literals() {
        insta::assert_snapshot!(["a${env:X}b", "$${env:X}", "$$ ${file:/run/x}", "${credential:crm.pw}"].map(parsed).join("\n"), @r#"
        [Text("a"), Secret(Env("X")), Text("b")]
        [Text("${env:X}")]
        [Text("$$ "), Secret(File("/run/x"))]
        [Secret(Credential("crm.pw"))]
        "#);
        insta::assert_snapshot!(["${env:X", "${X}", "${evn:X}", "${env:}", "${file:../x}", "${credential:../x}"].map(parsed).join("\n"), @r"
        AAM-S020: a reference that begins with `${` does not end
        AAM-S020: a reference needs a scheme before its name
        AAM-S020: no secret store has the scheme `evn`
        AAM-S020: `env` in a reference needs the name of a variable: letters, digits and `_`
        AAM-S020: `file` in a reference needs an absolute path without `..`
        AAM-S020: `credential` in a reference needs a name of letters, digits, `.`, `_` and `-`
        ");
    }
}
