//! What `[airbyte]` must and must not hold.

use crate::diag::{Diagnostic, Place};
use crate::model::TenantId;
use crate::spec::EngineKind;

use super::Settings;

/// Longest name of a tag that Airbyte takes.
const TAG_MAX: usize = 30;

/// Where the pair of id and secret comes from.
const WHENCE: &str =
    "`abctl local credentials` shows client id and secret; the web page makes more under Settings, Applications";

/// Everything that is missing or cannot be, at once. `place` finds the place of a key that a file sets.
pub(super) fn check(settings: &Settings, place: impl Fn(&str) -> Option<Place>) -> Vec<Diagnostic> {
    let airbyte = &settings.airbyte;
    let mut problems = Vec::new();
    let mut add = |key: &str, problem: Diagnostic| problems.push(Diagnostic { place: place(key), ..problem });
    let wrong = |key: &str, why: &str| Diagnostic::error("AAM-C002", format!("`{key}`: {why}"));

    if settings.engine.kind == EngineKind::Airbyte {
        let given = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.trim().is_empty());
        let (url, id, secret) = (given(&airbyte.url), given(&airbyte.client_id), given(&airbyte.client_secret));
        let missing = |key: &str, help: String| {
            let text = format!("the engine is Airbyte, and `airbyte.{key}` is not set");
            Diagnostic::error("AAM-C004", text).help(help)
        };
        if !url {
            let help = "the address of the web page, for example `url = \"http://localhost:8000\"` (`abctl local status` shows it)";
            add("engine.kind", missing("url", help.to_owned()));
        }
        // Only with the address given does the lack of both mean that authentication is switched off.
        if !id && (secret || !url) {
            add(
                "engine.kind",
                missing("client_id", format!("{WHENCE}; leave both out if authentication is switched off")),
            );
        }
        if !secret && (id || !url) {
            let help = format!("as `client_secret = \"${{env:AIRBYTE_CLIENT_SECRET}}\"`; {WHENCE}");
            add("engine.kind", missing("client_secret", help));
        }
    }
    if let Some(url) = airbyte.url.as_deref().filter(|url| !url.trim().is_empty() && !url.starts_with("${")) {
        let authority = url.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        let good = url.starts_with("http://") || url.starts_with("https://");
        if !good || authority.is_none_or(str::is_empty) {
            let why = "an address that begins with http:// or https:// is expected";
            add("airbyte.url", wrong("airbyte.url", why).help("for example `http://localhost:8000`"));
        } else if authority.is_some_and(|authority| authority.contains('@')) {
            add("airbyte.url", wrong("airbyte.url", "an address without a user is expected").help(WHENCE));
        }
    }
    for tenant in airbyte.workspaces.keys() {
        if let Err(why) = TenantId::new(tenant) {
            add("airbyte.workspaces", wrong("airbyte.workspaces", &why.to_string()));
        }
    }
    if airbyte.tag.chars().count() > TAG_MAX {
        let why = format!("Airbyte's tags have at most {TAG_MAX} characters");
        add("airbyte.tag", wrong("airbyte.tag", &why));
    }
    problems
}

/// A secret that stands in a file or on the command line as it is; `None` if every `${` in it is a reference and there is one.
pub(super) fn plain_secret(key: &str, text: &str) -> Option<Diagnostic> {
    let references = text.split("${").skip(1);
    let known = |reference: &str| {
        let inner = reference.split_once('}').map(|(inner, _)| inner);
        inner
            .and_then(|inner| inner.split_once(':'))
            .is_some_and(|(scheme, name)| matches!(scheme, "env" | "file" | "credential") && !name.is_empty())
    };
    if text.trim().is_empty() || text.contains("${") && references.clone().all(known) {
        return None;
    }
    let d = Diagnostic::error("AAM-C005", format!("`{key}`: a secret stands here in plain text"));
    Some(d.help(
        "write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed",
    ))
}
