//! Whether the forge answers, who we are there, and whether we may open requests. Everything here reads.

use std::path::Path;

use super::Check;
use super::checks::PATIENCE;
use crate::ports::{Forge, ForgeAccess, ForgeError};
use crate::settings::Settings;
use crate::wiring;

const NAME: &str = "forge";

/// The forge that the settings name, if they name one.
pub(super) async fn check(settings: &Settings, root: &Path) -> Option<Check> {
    let forge = match wiring::forge(settings, root, &root.join(&settings.state.directory), "") {
        Ok(forge) => forge?,
        Err(error) => {
            let mend = "correct [forge]; the secrets that it refers to must be in aam's own environment";
            return Some(Check::fail(NAME, format!("{error:#}"), mend));
        }
    };
    Some(match tokio::time::timeout(PATIENCE, forge.access()).await {
        Ok(Ok(access)) => allowed(&*forge, &access),
        Ok(Err(error)) => Check::fail(NAME, format!("{}: {error}", forge.project()), mend(&error)),
        Err(_) => {
            let found = format!("{}: no answer within {} s", forge.project(), PATIENCE.as_secs());
            Check::fail(NAME, found, "correct [forge] url, or see whether the forge can be reached from here")
        }
    })
}

fn allowed(forge: &dyn Forge, access: &ForgeAccess) -> Check {
    let who =
        access.login.as_deref().map_or_else(|| "credentials that do not tell who they are".to_owned(), str::to_owned);
    let version = access.version.as_deref().map(|version| format!(", version {version}")).unwrap_or_default();
    let found = format!("{} as {who}{version}", forge.project());
    match access.may_write {
        Some(true) => Check::pass(NAME, format!("{found}: may push branches and open requests")),
        Some(false) => Check::fail(
            NAME,
            format!("{found}: may read only"),
            "give the token's user or role the right to write to the project, and the token the scope for it",
        ),
        None => Check::pass(NAME, format!("{found}: whether it may open requests is told only by opening one")),
    }
}

fn mend(error: &ForgeError) -> &'static str {
    match error {
        ForgeError::Credentials { .. } => {
            "correct [forge] token (or app_id, installation_id and private_key), or make a new one"
        }
        ForgeError::Forbidden { .. } => "give the token the scopes that docs/approvals.md names",
        ForgeError::NotFound { .. } => "correct [forge] project, or let the token see it",
        ForgeError::RateLimited { .. } => "wait; a token of its own has a limit of its own",
        ForgeError::Unreachable { .. } | ForgeError::Exists { .. } | ForgeError::Invalid { .. } => {
            "correct [forge] kind and url: the address of its web page"
        }
    }
}
