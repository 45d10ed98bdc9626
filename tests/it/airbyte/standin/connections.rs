//! What the server makes of a connection that is sent, and what a change of it does.

use aam::engine::airbyte::error::Fate;
use serde_json::json;

use super::*;
use crate::standin::faults::{Fault, When};

/// The draft with this in its only entry's configuration.
async fn drafted(bench: &Bench, config: Value) -> Value {
    let mut draft = bench.draft("full_refresh", "overwrite").await;
    let entry = draft["syncCatalog"]["streams"][0]["config"].as_object_mut().unwrap();
    for (key, value) in config.as_object().unwrap().clone() {
        if value.is_null() {
            entry.remove(&key)
        } else {
            entry.insert(key, value)
        };
    }
    draft
}

async fn live(bench: &Bench, id: Uuid) -> Value {
    bench.api.connection(id).await.unwrap().unwrap().raw
}

#[tokio::test]
async fn unselected_streams_are_dropped_and_shown_by_the_web_page_only() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let mut draft = bench.draft("full_refresh", "overwrite").await;
    for entry in draft["syncCatalog"]["streams"].as_array_mut().unwrap() {
        entry["config"]["selected"] = json!(entry["stream"]["name"] == "users");
    }
    let made = bench.api.create_connection(&draft).await.unwrap().known;
    assert_eq!(made.sync_catalog.streams.len(), 1);
    assert_eq!(live(&bench, made.connection_id).await["syncCatalog"]["streams"].as_array().unwrap().len(), 1);
    let body = json!({"connectionId": made.connection_id});
    let page = bench.post("/v1/web_backend/connections/get", body).await.unwrap();
    assert_eq!(page["syncCatalog"]["streams"].as_array().unwrap().len(), 2);
    bench.finish();
}

#[tokio::test]
async fn a_missing_selected_is_dereferenced_as_null() {
    let bench = Bench::new("1.8").await;
    let draft = drafted(&bench, json!({"selected": null})).await;
    assert_eq!(bench.api.create_connection(&draft).await.unwrap_err().fate, Fate::Answered(500));
    bench.finish();
}

#[tokio::test]
async fn the_server_fills_in_defaults_ids_and_an_order_of_its_own() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let mapper = json!({"type": "hashing", "mapperConfiguration":
        {"targetField": "name", "method": "SHA-256", "fieldNameSuffix": "_hashed"}});
    let mut draft = bench.draft("full_refresh", "overwrite").await;
    draft["syncCatalog"]["streams"].as_array_mut().unwrap().sort_by_key(|e| e["stream"]["name"].to_string());
    for entry in draft["syncCatalog"]["streams"].as_array_mut().unwrap() {
        entry["config"] = json!({"selected": true, "syncMode": "full_refresh", "destinationSyncMode": "append",
            "mappers": [mapper]});
    }
    let id = bench.api.create_connection(&draft).await.unwrap().known.connection_id;
    let streams = live(&bench, id).await["syncCatalog"]["streams"].clone();
    let names = [&streams[0]["stream"]["name"], &streams[1]["stream"]["name"]];
    assert_eq!(names, ["users", "orders"], "sent the other way round");
    let config = &streams[0]["config"];
    assert_eq!((&config["aliasName"], &config["primaryKey"]), (&json!("users"), &json!([])));
    assert!(config["mappers"][0]["id"].is_string());
    bench.finish();
}

#[tokio::test]
async fn duplicate_streams_and_unknown_modes_are_refused() {
    let bench = Bench::new("1.7").await;
    let mut draft = bench.draft("full_refresh", "overwrite").await;
    let streams = draft["syncCatalog"]["streams"].as_array_mut().unwrap();
    streams.push(streams[0].clone());
    assert_eq!(bench.api.create_connection(&draft).await.unwrap_err().fate, Fate::Answered(400));
    let draft = drafted(&bench, json!({"destinationSyncMode": "soft_delete"})).await;
    assert_eq!(bench.api.create_connection(&draft).await.unwrap_err().fate, Fate::Answered(422), "from 1.8");
    bench.finish();
}

#[tokio::test]
async fn a_snake_case_schema_becomes_a_stream_without_one() {
    let bench = Bench::new("1.8").await;
    let mut draft = bench.draft("full_refresh", "overwrite").await;
    let stream = draft["syncCatalog"]["streams"][0]["stream"].as_object_mut().unwrap();
    let schema = stream.remove("jsonSchema").unwrap();
    stream.insert("json_schema".into(), schema);
    let id = bench.api.create_connection(&draft).await.unwrap().known.connection_id;
    assert!(live(&bench, id).await["syncCatalog"]["streams"][0]["stream"].get("jsonSchema").is_none());
    assert_eq!(bench.standin.has_contract(), !bench.standin.violations().is_empty());
    bench.finish();
}

#[tokio::test]
async fn field_selection_cuts_the_stored_schema_and_must_keep_cursor_and_key() {
    let bench = Bench::new("1.8").await;
    let select = |names: &[&str]| json!(names.iter().map(|n| json!({"fieldPath": [n]})).collect::<Vec<_>>());
    let config = json!({"fieldSelectionEnabled": true, "selectedFields": select(&["id", "at"])});
    let draft = drafted(&bench, config).await;
    let id = bench.api.create_connection(&draft).await.unwrap().known.connection_id;
    let stream = &live(&bench, id).await["syncCatalog"]["streams"][0]["stream"];
    let kept: Vec<&String> = stream["jsonSchema"]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(kept, ["at", "id"]);
    let wrong = [
        ("append", select(&["id"]), "the cursor"),
        ("append_dedup", select(&["at"]), "the key"),
        ("append", json!([{"fieldPath": ["at", "x"]}]), "one path element only"),
    ];
    for (mode, fields, why) in wrong {
        let config = json!({"syncMode": "incremental", "cursorField": ["at"], "destinationSyncMode": mode,
            "fieldSelectionEnabled": true, "selectedFields": fields});
        let draft = drafted(&bench, config).await;
        assert_eq!(bench.api.create_connection(&draft).await.unwrap_err().fate, Fate::Answered(400), "{why}");
    }
    bench.finish();
}

#[tokio::test]
async fn an_update_leaves_what_is_absent_and_replaces_the_whole_catalog() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let id = bench.connection("full_refresh", "append").await;
    bench.post("/v1/connections/update", json!({"connectionId": id, "name": "renamed"})).await.unwrap();
    let after = live(&bench, id).await;
    assert_eq!((&after["name"], after["syncCatalog"]["streams"].as_array().unwrap().len()), (&json!("renamed"), 2));
    let one = json!([after["syncCatalog"]["streams"][0]]);
    let body = json!({"connectionId": id, "syncCatalog": {"streams": one}});
    bench.post("/v1/connections/update", body).await.unwrap();
    let after = live(&bench, id).await;
    assert_eq!((&after["name"], after["syncCatalog"]["streams"].as_array().unwrap().len()), (&json!("renamed"), 1));
    bench.finish();
}

#[tokio::test]
async fn a_schedule_is_checked_as_quartz_does() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "append").await;
    let cron = async |expression: &str, zone: &str| {
        let data = json!({"cron": {"cronExpression": expression, "cronTimeZone": zone}});
        let body = json!({"connectionId": id, "scheduleType": "cron", "scheduleData": data});
        bench.post("/v1/connections/update", body).await.map(drop).map_err(|e| e.code)
    };
    for good in ["0 0 3 * * ?", "0 0/15 * ? * MON-FRI", "0 0 3 L * ?", "0 30 3 ? * 6#3 2030"] {
        assert_eq!(cron(good, "Europe/Berlin").await, Ok(()), "{good}");
    }
    for bad in ["0 3 * * *", "0 0 3 * * *", "0 0 3 ? * ?", "0 0 25 * * ?", "0 x 3 * * ?"] {
        assert_eq!(cron(bad, "UTC").await, Err("cron-validation/invalid-expression".into()), "{bad}");
    }
    assert_eq!(cron("* * * * * ?", "UTC").await, Err("cron-validation/under-one-hour-not-allowed".into()));
    assert_eq!(cron("0 0 3 * * ?", "Etc/UTC").await, Err("cron-validation/invalid-timezone".into()));
    let basic = json!({"connectionId": id, "scheduleType": "basic",
        "scheduleData": {"basicSchedule": {"units": 24, "timeUnit": "hours"}}});
    bench.post("/v1/connections/update", basic).await.unwrap();
    let old = json!({"connectionId": id, "schedule": {"units": 24, "timeUnit": "hours"}});
    assert_eq!(bench.post("/v1/connections/update", old.clone()).await.unwrap_err().fate, Fate::Answered(400));
    let mut draft = bench.draft("full_refresh", "append").await;
    draft["schedule"] = old["schedule"].clone();
    assert_eq!(
        bench.api.create_connection(&draft).await.unwrap_err().fate,
        Fate::Answered(400),
        "not with scheduleType"
    );
    bench.finish();
}

#[tokio::test]
async fn a_locked_connection_cannot_be_changed() {
    let bench = Bench::new("2.1").await;
    let id = bench.connection("full_refresh", "append").await;
    bench.standin.edit(|s| s.connection_mut(id).unwrap().status = "locked".into());
    let error = bench.api.update_connection(json!({"connectionId": id, "name": "x"})).await.unwrap_err();
    assert_eq!((error.fate, error.code.as_str()), (Fate::Answered(409), "connection/locked"));
    bench.finish();
}

#[tokio::test]
async fn a_deleted_connection_still_answers_get_with_status_deprecated() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "append").await;
    bench.api.delete(ObjectKind::Connection, id).await.unwrap();
    let raw = bench.post("/v1/connections/get", json!({"connectionId": id})).await.unwrap();
    assert_eq!(raw["status"], "deprecated");
    assert!(bench.api.connection(id).await.unwrap().is_none());
    assert!(bench.api.connections(bench.workspace).await.unwrap().is_empty());
    let path = format!("/connections/{id}");
    assert_eq!(bench.public(Method::GET, &path, None).await.unwrap()["status"], "deprecated");
    bench.finish();
}

#[tokio::test]
async fn connections_list_is_not_paged_and_the_web_pages_list_is() {
    let bench = Bench::new("1.8").await;
    let draft = bench.draft("full_refresh", "append").await;
    bench.standin.edit(|s| {
        for _ in 0..25 {
            crate::standin::connections::create(s, &draft).unwrap();
        }
    });
    assert_eq!(bench.api.connections(bench.workspace).await.unwrap().len(), 25);
    let body = json!({"workspaceId": bench.workspace});
    let page = bench.post("/v1/web_backend/connections/list", body).await.unwrap();
    assert_eq!(page["connections"].as_array().unwrap().len(), 20);
    let rows = json!({"workspaceIds": [bench.workspace], "userId": Uuid::nil(),
        "pagination": {"pageSize": 10, "rowOffset": 20}});
    let page = bench.post("/v1/connections/list_paginated", rows).await.unwrap();
    assert_eq!(page["connections"].as_array().unwrap().len(), 5);
    bench.finish();
}

#[tokio::test]
async fn a_list_that_is_too_large_for_one_answer_comes_in_pages() {
    let bench = Bench::new("1.8").await;
    let draft = bench.draft("full_refresh", "append").await;
    bench.standin.edit(|s| {
        for _ in 0..55 {
            crate::standin::connections::create(s, &draft).unwrap();
        }
    });
    let too_much = Fault::Body(" ".repeat((64 << 20) + 1));
    bench.standin.script("POST /v1/connections/list", When::Always, too_much);
    assert_eq!(bench.api.connections(bench.workspace).await.unwrap().len(), 55);
    bench.standin.script("POST /v1/connections/list_paginated", When::Always, Fault::FirstPage);
    assert!(bench.api.connections(bench.workspace).await.is_err(), "it goes in circles");
    bench.standin.heal();
    bench.finish();
}

#[tokio::test]
async fn tags_exist_from_1_4_have_unique_names_and_replace_each_other() {
    let old = Bench::new("1.3").await;
    let tag = json!({"workspaceId": old.workspace, "name": "aam", "color": "00AAFF"});
    assert_eq!(old.post("/v1/tags/create", tag).await.unwrap_err().fate, Fate::Answered(404));
    old.finish();
    let bench = Bench::new("1.4").await;
    let tag = json!({"workspaceId": bench.workspace, "name": "aam", "color": "00AAFF"});
    let made = bench.post("/v1/tags/create", tag.clone()).await.unwrap();
    assert_eq!(bench.post("/v1/tags/create", tag.clone()).await.unwrap_err().fate, Fate::Answered(409));
    assert_eq!(bench.public(Method::POST, "/tags", Some(tag)).await.unwrap_err().fate, Fate::Answered(409));
    let long = json!({"workspaceId": bench.workspace, "name": "x".repeat(31), "color": "00AAFF"});
    assert_eq!(bench.post("/v1/tags/create", long).await.unwrap_err().fate, Fate::Answered(400));
    let listed = bench.post("/v1/tags/list", json!({"workspaceId": bench.workspace})).await.unwrap();
    assert_eq!(listed, json!([made]));
    let id = bench.connection("full_refresh", "append").await;
    let update = async |tags: Value| bench.api.update_connection(json!({"connectionId": id, "tags": tags})).await;
    update(json!([made])).await.unwrap();
    assert_eq!(bench.api.connection(id).await.unwrap().unwrap().known.tags, std::slice::from_ref(&made));
    let filter = [("tagIds", made["tagId"].as_str().unwrap().to_owned())];
    assert_eq!(bench.listed("/connections", &filter).await["data"].as_array().unwrap().len(), 1);
    update(json!([])).await.unwrap();
    assert!(bench.api.connection(id).await.unwrap().unwrap().known.tags.is_empty());
    bench.finish();
}

#[tokio::test]
async fn an_update_without_skip_reset_can_clear_data() {
    // whether the destination knows refreshes → the job that starts by itself
    for (refreshes, kind) in [(true, "refresh"), (false, "reset_connection")] {
        let bench = Bench::new("1.8").await;
        bench.standin.edit(|s| s.definitions.iter_mut().for_each(|d| d.refreshes = refreshes));
        let id = bench.connection("full_refresh", "append").await;
        let mut streams = live(&bench, id).await["syncCatalog"].clone();
        streams["streams"][0]["config"]["destinationSyncMode"] = json!("overwrite");
        let body = json!({"connectionId": id, "syncCatalog": streams, "skipReset": true});
        bench.post("/v1/web_backend/connections/update", body).await.unwrap();
        assert!(bench.api.jobs(id, 5).await.unwrap().is_empty(), "with skipReset nothing is cleared");
        streams["streams"][0]["config"]["destinationSyncMode"] = json!("append");
        let body = json!({"connectionId": id, "syncCatalog": streams});
        bench.post("/v1/web_backend/connections/update", body).await.unwrap();
        assert_eq!(bench.api.jobs(id, 5).await.unwrap()[0].kind, kind);
        bench.ended(id).await;
        bench.finish();
    }
}

#[tokio::test]
async fn a_person_makes_edits_and_stops_connections_with_the_web_page() {
    let bench = Bench::new("1.8").await;
    let draft = bench.draft("full_refresh", "append").await;
    let made = bench.post("/v1/web_backend/connections/create", draft).await.unwrap();
    let id = &made["connectionId"];
    assert_eq!(made["source"]["sourceId"], json!(bench.source));
    let stop = json!({"connectionId": id, "name": "by hand", "status": "inactive"});
    bench.post("/v1/web_backend/connections/update", stop).await.unwrap();
    let seen = bench.api.connections(bench.workspace).await.unwrap();
    assert_eq!((seen[0].known.name.as_str(), seen[0].known.status.as_str()), ("by hand", "inactive"));
    bench.standin.edit(|s| s.connections[0].prefix = "edited_".into());
    assert_eq!(live(&bench, seen[0].known.connection_id).await["prefix"], "edited_");
    bench.finish();
}

#[tokio::test]
async fn our_update_never_starts_a_job() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "append").await;
    let mut streams = live(&bench, id).await["syncCatalog"].clone();
    streams["streams"][0]["config"]["destinationSyncMode"] = json!("overwrite");
    bench.api.update_connection(json!({"connectionId": id, "syncCatalog": streams})).await.unwrap();
    assert!(bench.api.jobs(id, 5).await.unwrap().is_empty());
    bench.finish();
}

#[tokio::test]
async fn nothing_reactivates_a_stopped_connection_but_its_status() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("incremental", "append_dedup").await;
    bench.standin.edit(|s| {
        let connection = s.connection_mut(id).unwrap();
        (connection.status, connection.breaking) = ("inactive".into(), true);
    });
    let catalog = live(&bench, id).await["syncCatalog"].clone();
    bench.post("/v1/connections/update", json!({"connectionId": id, "syncCatalog": catalog})).await.unwrap();
    let now = bench.api.connection(id).await.unwrap().unwrap().known;
    assert_eq!((now.status.as_str(), now.breaking_change), ("inactive", true), "the flag is untouched");
    bench.api.update_connection(json!({"connectionId": id, "syncCatalog": catalog})).await.unwrap();
    let now = bench.api.connection(id).await.unwrap().unwrap().known;
    assert_eq!((now.status.as_str(), now.breaking_change), ("inactive", false), "the flag is recomputed");
    bench.api.update_connection(json!({"connectionId": id, "status": "active"})).await.unwrap();
    assert_eq!(bench.api.connection(id).await.unwrap().unwrap().known.status, "active");
    bench.finish();
}
