//! What `aam` says to Airbyte over a whole life of a connection, and what stands nowhere in it.

use std::path::Path;

use serde_json::{Value, json};

use super::tour::Tour;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_would_choose_otherwise_is_always_sent() {
    let tour = Tour::new("1.8").await;
    tour.world.aam_is(0, &["apply"]);
    let log = tour.standin.log();
    let body = &log.iter().find(|entry| entry.path == "/v1/connections/create").unwrap().body;
    let words = ["status", "scheduleType", "nonBreakingChangesPreference", "namespaceDefinition", "prefix"];
    let said = words.map(|key| body[key].as_str().unwrap_or("-"));
    assert_eq!(said, ["active", "manual", "ignore", "destination", ""]);
    assert!(body.get("scheduleData").is_none(), "by hand needs none");

    let streams = body["syncCatalog"]["streams"].as_array().unwrap();
    let catalog = body["sourceCatalogId"].as_str().unwrap().parse().unwrap();
    let stored = tour.standin.edit(|state| state.catalog(catalog).unwrap().streams.clone());
    assert_eq!(streams.len(), 1);
    for entry in streams {
        let discovered = stored.iter().find(|stream| stream["name"] == entry["stream"]["name"]).unwrap();
        assert_eq!(entry["stream"]["jsonSchema"], discovered["jsonSchema"], "as it was discovered");
        assert_eq!(entry["config"]["selected"], true);
    }
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_config_api_is_asked_for_what_only_it_has() {
    let tour = Tour::new("1.8").await;
    tour.world.aam_is(0, &["apply"]);
    tour.world.aam_is(0, &["sync", "crm"]);
    tour.world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    tour.world.aam_is(0, &["apply", "--look"]);
    let mut public: Vec<_> = tour.standin.log().into_iter().map(|entry| entry.path).collect();
    public.retain(|path| path.starts_with("/public"));
    public.sort();
    public.dedup();
    assert_eq!(public, ["/public/v1/applications/token", "/public/v1/health", "/public/v1/workspaces"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_discover_names_a_connection_and_no_update_lacks_skip_reset() {
    let tour = Tour::new("1.6").await;
    tour.world.aam_is(0, &["apply"]);
    tour.world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    tour.world.aam_is(0, &["apply", "--look"]);
    let bodies = |path: &str| -> Vec<Value> {
        let log = tour.standin.log().into_iter();
        log.filter(|entry| entry.path == path).map(|entry| entry.body).collect()
    };
    let discovers = bodies("/v1/sources/discover_schema");
    assert!(discovers.iter().any(|body| body["disable_cache"] == true), "{discovers:?}");
    assert!(discovers.iter().all(|body| body.get("connectionId").is_none() && body.get("disable_cache").is_some()));
    let updates = bodies("/v1/web_backend/connections/update");
    assert!(!updates.is_empty() && updates.iter().all(|body| body["skipReset"] == json!(true)), "{updates:?}");
    tour.finish().await;
}

/// What the contract forbids, or what it warns of without need for us.
const FORBIDDEN: [(&str, &str); 7] = [
    ("/jobs/create", "it first fails every running job of the connection"),
    ("connections/search", "it spans all workspaces"),
    ("sources/search", "it spans all workspaces and compares masks"),
    ("connections/reset", "it deletes the destination's data"),
    ("withRefreshedCatalog", "it can pause the connection"),
    ("disableCache", "it is silently ignored: the key is `disable_cache`"),
    ("list_latest", "it asks a registry on the internet"),
];

#[test]
fn calls_that_the_contract_forbids_are_nowhere_in_the_product() {
    fn look(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let hits = FORBIDDEN.iter().filter(|(call, _)| text.contains(call));
            found.extend(hits.map(|(call, why)| format!("{} has {call}: {why}", path.display())));
        }
    }
    let mut found = Vec::new();
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine"), &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
