//! Whether the secrets of every source and destination are at hand, and whether each answers.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;

use super::Check;
use super::checks::PATIENCE;
use crate::settings::Settings;
use crate::spec::{Desired, Endpoint};
use crate::wiring::probe;

/// One check for each, all at the same time; several connections that share one have it checked once.
pub(super) async fn check_all(desired: &Desired, settings: &Settings, root: &Path) -> Vec<Check> {
    let mut endpoints: BTreeMap<String, (&Endpoint, bool)> = BTreeMap::new();
    for connection in desired.connections.values() {
        endpoints.insert(format!("source {}", connection.source.name), (&connection.source, true));
        endpoints.insert(format!("destination {}", connection.destination.name), (&connection.destination, false));
    }
    if endpoints.is_empty() {
        return vec![Check::skipped("sources and destinations", "no connection is declared")];
    }
    join_all(endpoints.iter().map(|(name, (endpoint, is_source))| check(name, endpoint, *is_source, settings, root)))
        .await
}

async fn check(name: &str, endpoint: &Endpoint, is_source: bool, settings: &Settings, root: &Path) -> Check {
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
        if is_source {
            probe::check_source(&handle, settings, root).await
        } else {
            probe::check_destination(&handle).await
        }
    };
    match tokio::time::timeout(PATIENCE, tried).await {
        Ok(Ok(())) => Check::pass(name, format!("{} answers", endpoint.connector)),
        Ok(Err(error)) => {
            let found = handle.config.mask(&error.to_string());
            Check::fail(name, found, "correct its settings or secrets, or start what it names")
        }
        Err(_) => {
            let found = format!("no answer within {} s", PATIENCE.as_secs());
            Check::fail(name, found, "see whether it runs and whether a firewall lies between")
        }
    }
}
