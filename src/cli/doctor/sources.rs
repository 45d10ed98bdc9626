//! Whether the secrets of every source and destination are at hand, and whether each answers.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;

use super::Check;
use super::checks::PATIENCE;
use crate::settings::Settings;
use crate::spec::{Desired, Endpoint};
use crate::wiring::probe::{self, Installation};

/// What tries them.
pub(super) enum Engine {
    /// `aam` itself.
    Embedded,
    /// Airbyte runs the connectors' checks; nothing is made or changed there.
    Airbyte(Box<Installation>),
    /// Airbyte, which cannot be asked.
    Unseen,
}

/// One check for each, all at the same time; several connections that share one have it checked once.
pub(super) async fn check_all(desired: &Desired, engine: &Engine, settings: &Settings, root: &Path) -> Vec<Check> {
    let mut endpoints: BTreeMap<String, (&Endpoint, bool)> = BTreeMap::new();
    for connection in desired.connections.values() {
        endpoints.insert(format!("source {}", connection.source.name), (&connection.source, true));
        endpoints.insert(format!("destination {}", connection.destination.name), (&connection.destination, false));
    }
    if endpoints.is_empty() {
        return vec![Check::skipped("sources and destinations", "no connection is declared")];
    }
    let checks =
        endpoints.iter().map(|(name, (endpoint, is_source))| check(name, endpoint, *is_source, engine, settings, root));
    join_all(checks).await
}

async fn check(
    name: &str,
    endpoint: &Endpoint,
    is_source: bool,
    engine: &Engine,
    settings: &Settings,
    root: &Path,
) -> Check {
    let handle = match probe::resolve(endpoint, root) {
        Ok(handle) => handle,
        Err(error) => {
            return Check::fail(
                name,
                error.to_string(),
                "give aam the secret; the daemon needs it in its own environment",
            );
        }
    };
    let tried = async {
        match (engine, is_source) {
            (Engine::Embedded, true) => probe::check_source(&handle, settings, root).await,
            (Engine::Embedded, false) => probe::check_destination(&handle).await,
            (Engine::Airbyte(airbyte), true) => airbyte.check_source(&handle).await,
            (Engine::Airbyte(airbyte), false) => airbyte.check_destination(&handle).await,
            (Engine::Unseen, _) => Ok(()),
        }
    };
    match engine {
        Engine::Unseen => {
            return Check::skipped(name, "its secrets are at hand; Airbyte, which would try it, cannot be asked");
        }
        Engine::Airbyte(airbyte) if airbyte.workspace(&handle.tenant).await.is_err() => {
            return Check::skipped(name, "its secrets are at hand; its tenant has no workspace, see above");
        }
        _ => {}
    }
    match (tokio::time::timeout(PATIENCE, tried).await, engine) {
        (Ok(Ok(())), Engine::Airbyte(_)) => {
            Check::pass(name, format!("{} answers Airbyte's check of its settings", endpoint.connector))
        }
        (Ok(Ok(())), _) => Check::pass(name, format!("{} answers", endpoint.connector)),
        (Ok(Err(error)), Engine::Airbyte(_)) if error.why.contains(": 403 ") => {
            let found = handle.config.mask(&error.to_string());
            Check::fail(
                name,
                found,
                "give the application the role of an editor: Airbyte lets no reader run a connector",
            )
        }
        (Ok(Err(error)), _) => {
            let found = handle.config.mask(&error.to_string());
            Check::fail(name, found, "correct its settings or secrets, or start what it names")
        }
        // Airbyte starts a pod for each
        (Err(_), Engine::Airbyte(_)) => {
            let found = format!("its check still runs in Airbyte after {} s", PATIENCE.as_secs());
            Check::warn(name, found, "ask again later; it is done when it answers at once")
        }
        (Err(_), _) => {
            let found = format!("no answer within {} s", PATIENCE.as_secs());
            Check::fail(name, found, "see whether it runs and whether a firewall lies between")
        }
    }
}
