//! Definitions, sources and destinations.

use aam::engine::airbyte::api::RunError;
use serde_json::json;

use super::*;
use crate::standin::definitions::MASK;

const SALESFORCE: &str = "airbyte/source-salesforce";

fn salesforce() -> Value {
    json!({"client_id": "a", "client_secret": "b", "refresh_token": "c"})
}

async fn definition(bench: &Bench, kind: ObjectKind, repository: &str) -> Uuid {
    let all = bench.api.definitions(kind, bench.workspace).await.unwrap();
    all.into_iter().find(|d| d.docker_repository == repository).unwrap().id
}

#[tokio::test]
async fn definitions_have_ids_that_are_stable_for_years() {
    let bench = Bench::new("1.8").await;
    assert_eq!(
        definition(&bench, SOURCE, "airbyte/source-postgres").await.to_string(),
        "decd338e-5647-4c0b-adf4-da0e75f5a750"
    );
    assert_eq!(
        definition(&bench, ObjectKind::Destination, "airbyte/destination-postgres").await.to_string(),
        "25c5221d-dce2-4163-ade9-739ef790f503"
    );
    let path = format!("/workspaces/{}/definitions/sources", bench.workspace);
    let public = bench.public(Method::GET, &path, None).await.unwrap();
    let postgres = public["data"].as_array().unwrap().iter().find(|d| d["name"] == "Postgres").unwrap();
    assert_eq!(postgres["id"], "decd338e-5647-4c0b-adf4-da0e75f5a750", "the public API calls it `id`");
    bench.finish();
}

#[tokio::test]
async fn a_specification_marks_secrets_and_tells_a_destinations_modes() {
    let bench = Bench::new("1.8").await;
    let of = definition(&bench, SOURCE, SALESFORCE).await;
    let body = json!({"sourceDefinitionId": of, "workspaceId": bench.workspace});
    let spec = bench.post("/v1/source_definition_specifications/get", body).await.unwrap();
    assert_eq!(spec["connectionSpecification"]["properties"]["client_secret"]["airbyte_secret"], true);
    let of = definition(&bench, ObjectKind::Destination, "airbyte/destination-postgres").await;
    let body = json!({"destinationDefinitionId": of, "workspaceId": bench.workspace});
    let spec = bench.post("/v1/destination_definition_specifications/get", body).await.unwrap();
    assert_eq!(spec["supportedDestinationSyncModes"], json!(["overwrite", "append", "append_dedup"]));
    bench.finish();
}

#[tokio::test]
async fn creation_holds_the_settings_against_the_specification_and_does_not_connect() {
    for version in ["1.8", "2.0"] {
        let bench = Bench::new(version).await;
        let of = definition(&bench, SOURCE, "airbyte/source-postgres").await;
        let nowhere = json!({"host": "nowhere.invalid", "port": 1, "database": "d", "username": "u"});
        bench.api.create_actor(SOURCE, bench.workspace, of, "crm", &nowhere).await.unwrap();
        let wrong = json!({"host": "h", "port": "x", "database": "d", "username": "u"});
        let error = bench.api.create_actor(SOURCE, bench.workspace, of, "crm", &wrong).await.unwrap_err();
        match version {
            "1.8" => assert_eq!(error.field.as_deref(), Some("connectionConfiguration.port"), "{error}"),
            _ => assert_eq!(error.code, "errorId", "{error}"),
        }
        bench.finish();
    }
}

#[tokio::test]
async fn secrets_come_back_masked_and_the_mask_sent_back_keeps_them() {
    let bench = Bench::new("1.8").await;
    let of = definition(&bench, SOURCE, SALESFORCE).await;
    let made = bench.api.create_actor(SOURCE, bench.workspace, of, "sf", &salesforce()).await.unwrap().known;
    let masked = json!({"client_id": "a", "client_secret": MASK, "refresh_token": MASK});
    assert_eq!(made.connection_configuration, masked);
    assert_eq!(MASK.len(), 10);
    bench.api.update_actor(SOURCE, made.id, "sf", &masked).await.unwrap();
    let stored =
        |bench: &Bench| bench.standin.edit(|s| s.actors.iter().find(|a| a.id == made.id).unwrap().settings.clone());
    assert_eq!(stored(&bench), salesforce());
    let path = format!("/sources/{}", made.id);
    assert_eq!(bench.public(Method::GET, &path, None).await.unwrap()["configuration"], masked);
    let body =
        json!({"name": "sf", "configuration": {"client_id": "z", "client_secret": MASK, "refresh_token": "new"}});
    bench.public(Method::PUT, &path, Some(body)).await.unwrap();
    assert_eq!(stored(&bench), json!({"client_id": "z", "client_secret": "b", "refresh_token": "new"}));
    bench.finish();
}

#[tokio::test]
async fn update_replaces_and_partial_update_merges() {
    let bench = Bench::new("1.8").await;
    let settings = |bench: &Bench| {
        bench.standin.edit(|s| s.actors.iter().find(|a| a.id == bench.source).unwrap().settings.clone())
    };
    bench.api.update_actor(SOURCE, bench.source, "new name", &json!({"seed": 1})).await.unwrap();
    assert_eq!(settings(&bench), json!({"seed": 1}));
    let body = json!({"sourceId": bench.source, "connectionConfiguration": {"count": 5}});
    bench.post("/v1/sources/partial_update", body).await.unwrap();
    assert_eq!(settings(&bench), json!({"seed": 1, "count": 5}));
    let patch = json!({"configuration": {"always_updated": true}});
    bench.public(Method::PATCH, &format!("/sources/{}", bench.source), Some(patch)).await.unwrap();
    assert_eq!(settings(&bench), json!({"seed": 1, "count": 5, "always_updated": true}));
    bench.finish();
}

#[tokio::test]
async fn pages_of_20_hide_the_rest_from_1_8() {
    for (version, shown) in [("1.7", 31), ("1.8", 20)] {
        let bench = Bench::new(version).await;
        bench.standin.edit(|s| {
            for n in 0..30 {
                s.add_actor("airbyte/source-faker", &format!("s{n}"), json!({}));
            }
        });
        let careless = bench.post("/v1/sources/list", json!({"workspaceId": bench.workspace})).await.unwrap();
        assert_eq!(careless["sources"].as_array().unwrap().len(), shown, "{version}");
        assert_eq!(bench.api.actors(SOURCE, bench.workspace).await.unwrap().len(), 31);
        bench.finish();
    }
}

#[tokio::test]
async fn a_cursor_is_the_id_of_the_last_item_seen() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| {
        for n in 0..250 {
            s.add_actor("airbyte/source-faker", &format!("s{n}"), json!({}));
        }
    });
    assert_eq!(bench.api.actors(SOURCE, bench.workspace).await.unwrap().len(), 251);
    assert_eq!(bench.standin.calls("POST /v1/sources/list"), 3);
    bench.finish();
}

#[tokio::test]
async fn a_full_page_may_be_the_last() {
    for version in ["1.7", "1.8"] {
        let bench = Bench::new(version).await;
        bench.standin.edit(|s| {
            for n in 0..99 {
                s.add_actor("airbyte/source-faker", &format!("s{n}"), json!({}));
            }
        });
        assert_eq!(bench.api.actors(SOURCE, bench.workspace).await.unwrap().len(), 100, "{version}");
        bench.finish();
    }
}

#[tokio::test]
async fn names_are_not_unique_and_no_create_is_idempotent() {
    let bench = Bench::new("1.8").await;
    let of = definition(&bench, SOURCE, SALESFORCE).await;
    let one = bench.api.create_actor(SOURCE, bench.workspace, of, "same", &salesforce()).await.unwrap().known.id;
    let two = bench.api.create_actor(SOURCE, bench.workspace, of, "same", &salesforce()).await.unwrap().known.id;
    assert_ne!(one, two);
    bench.finish();
}

#[tokio::test]
async fn deleting_a_source_deletes_its_connections_and_get_answers_on() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("full_refresh", "overwrite").await;
    bench.api.delete(SOURCE, bench.source).await.unwrap();
    let answer = bench.post("/v1/sources/get", json!({"sourceId": bench.source})).await.unwrap();
    assert_eq!((&answer["status"], &answer["connectionConfiguration"]), (&json!("deprecated"), &json!({})));
    assert!(bench.api.actor(SOURCE, bench.source).await.unwrap().is_none());
    assert!(bench.api.actors(SOURCE, bench.workspace).await.unwrap().is_empty());
    assert!(bench.api.connection(connection).await.unwrap().is_none());
    bench.api.delete(SOURCE, bench.source).await.unwrap();
    bench.finish();
}

#[tokio::test]
async fn a_check_is_200_either_way_and_a_broken_one_has_no_status() {
    let bench = Bench::new("1.8").await;
    bench.api.check(SOURCE, bench.source).await.unwrap();
    bench.standin.edit(|s| s.conduct(bench.source).check_fails = Some("no route".into()));
    let failed = bench.api.check(SOURCE, bench.source).await;
    assert!(matches!(failed, Err(RunError::Connector(why)) if why == "no route"));
    let body = json!({"sourceId": bench.source, "name": "faker", "connectionConfiguration": {"count": 3}});
    let answer = bench.post("/v1/sources/check_connection_for_update", body).await.unwrap();
    assert_eq!(answer["status"], "failed");
    bench.standin.edit(|s| s.conduct(bench.source).check_breaks = Some("pod evicted".into()));
    let answer = bench.post("/v1/sources/check_connection", json!({"sourceId": bench.source})).await.unwrap();
    assert!(answer.get("status").is_none());
    let broke = bench.api.check(SOURCE, bench.source).await;
    assert!(matches!(broke, Err(RunError::Connector(why)) if why == "pod evicted"));
    let of = definition(&bench, SOURCE, SALESFORCE).await;
    bench.api.check_settings(SOURCE, bench.workspace, of, &salesforce()).await.unwrap();
    bench.finish();
}

#[tokio::test]
async fn an_unknown_source_type_is_a_400_of_the_public_api() {
    let bench = Bench::new("1.8").await;
    let create = |kind: &str| {
        let configuration = json!({"sourceType": kind, "count": 1});
        Some(json!({"name": "n", "workspaceId": bench.workspace, "configuration": configuration}))
    };
    let made = bench.public(Method::POST, "/sources", create("faker")).await.unwrap();
    assert_eq!(made["sourceType"], "faker");
    let error = bench.public(Method::POST, "/sources", create("nonsense")).await.unwrap_err();
    assert_eq!(error.code, "value-not-found");
    let id = made["sourceId"].as_str().unwrap();
    bench.public(Method::DELETE, &format!("/sources/{id}"), None).await.unwrap();
    bench.finish();
}
