//! What only the public API does.

use aam::engine::airbyte::error::Fate;
use serde_json::json;

use super::*;

/// A connection through the public API, of these streams.
async fn create(bench: &Bench, more: Value) -> Result<Value, ApiError> {
    let mut body = json!({"sourceId": bench.source, "destinationId": bench.destination, "name": "users"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bench.public(Method::POST, "/connections", Some(body)).await
}

fn streams(stream: &Value) -> Value {
    json!({"configurations": {"streams": [stream]}})
}

#[tokio::test]
async fn next_points_into_the_cluster_and_is_there_for_every_page_that_holds_something() {
    let bench = Bench::new("1.8").await;
    let of = ("workspaceIds", bench.workspace.to_string());
    let page = bench.listed("/sources", std::slice::from_ref(&of)).await;
    assert!(page["next"].as_str().unwrap().starts_with("http://localhost:8001/api/public/v1/sources"));
    let beyond = bench.listed("/sources", &[of.clone(), ("offset", "20".into())]).await;
    assert_eq!((&beyond["next"], &beyond["data"]), (&json!(""), &json!([])));
    let empty = bench.listed("/jobs", &[]).await;
    assert!(empty.get("next").is_none(), "sometimes absent");
    bench.finish();
}

#[tokio::test]
async fn a_page_is_20_unless_asked_and_100_at_most() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| {
        for n in 0..30 {
            s.add_actor("airbyte/source-faker", &format!("s{n}"), json!({}));
        }
    });
    let count = |page: &Value| page["data"].as_array().unwrap().len();
    assert_eq!(count(&bench.listed("/sources", &[]).await), 20);
    assert_eq!(count(&bench.listed("/sources", &[("limit", "100".into())]).await), 31);
    for limit in ["0", "101"] {
        let query = [("limit", limit.to_owned())];
        let refused = bench.api.client.public::<Value>(Kind::Read, Method::GET, "/sources", &query, None).await;
        assert_eq!(refused.unwrap_err().fate, Fate::Answered(400));
    }
    bench.finish();
}

#[tokio::test]
async fn creating_without_streams_takes_only_what_the_server_preselects() {
    let bench = Bench::new("1.8").await;
    let sole = create(&bench, json!({})).await.unwrap();
    assert_eq!(sole["configurations"]["streams"].as_array().unwrap().len(), 1);
    assert_eq!(sole["namespaceDefinition"], "destination", "another default than the Config API's");
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    bench.api.discover(bench.source).await.unwrap();
    let none = create(&bench, json!({})).await.unwrap();
    assert_eq!(none["configurations"]["streams"], json!([]));
    bench.finish();
}

#[tokio::test]
async fn new_streams_are_not_found_until_the_cache_is_ignored() {
    let bench = Bench::new("1.8").await;
    bench.api.discover(bench.source).await.unwrap();
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let wanted = streams(&json!({"name": "orders", "syncMode": "full_refresh_append"}));
    let error = create(&bench, wanted.clone()).await.unwrap_err();
    assert!(error.sentence.contains("No streams found"), "{error}");
    let query = [("sourceId", bench.source.to_string()), ("ignoreCache", "true".into())];
    let found = bench.listed("/streams", &query).await;
    assert_eq!(found[0]["syncModes"], Value::Null, "only with a destination");
    assert!(found[0]["propertyFields"].as_array().unwrap().contains(&json!(["id"])), "paths, no types");
    let made = create(&bench, wanted).await.unwrap();
    assert_eq!(made["configurations"]["streams"][0]["syncMode"], "full_refresh_append");
    bench.finish();
}

#[tokio::test]
async fn a_failed_discover_is_500_here() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.conduct(bench.source).discover_fails = Some("no route".into()));
    assert_eq!(create(&bench, json!({})).await.unwrap_err().fate, Fate::Answered(500));
    bench.finish();
}

#[tokio::test]
async fn selected_fields_are_answered_empty_for_all_and_refused_empty() {
    let bench = Bench::new("1.8").await;
    let made = create(&bench, streams(&json!({"name": "users"}))).await.unwrap();
    let stream = made["configurations"]["streams"][0].clone();
    assert_eq!(stream["selectedFields"], json!([]));
    assert_eq!(create(&bench, streams(&stream)).await.unwrap_err().fate, Fate::Answered(400));
    bench.finish();
}

#[tokio::test]
async fn a_cron_answers_with_utc_appended_and_is_refused_with_it() {
    let bench = Bench::new("1.8").await;
    let cron = |expression: &str| {
        let mut more = streams(&json!({"name": "users"}));
        more["schedule"] = json!({"scheduleType": "cron", "cronExpression": expression});
        more
    };
    let made = create(&bench, cron("0 0 3 * * ?")).await.unwrap();
    assert_eq!(made["schedule"]["cronExpression"], "0 0 3 * * ? UTC");
    for bad in ["0 0 3 * * ? UTC", "0 3 * * *", "0/5 0 3 * * ?", "0 0/5 3 * * ? 2030"] {
        assert_eq!(create(&bench, cron(bad)).await.unwrap_err().fate, Fate::Answered(400), "{bad}");
    }
    bench.finish();
}

#[tokio::test]
async fn a_basic_schedule_reads_back_and_cannot_be_sent() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "append").await;
    let basic = json!({"connectionId": id, "scheduleType": "basic",
        "scheduleData": {"basicSchedule": {"units": 24, "timeUnit": "hours"}}});
    bench.api.update_connection(basic).await.unwrap();
    let path = format!("/connections/{id}");
    let read = bench.public(Method::GET, &path, None).await.unwrap();
    assert_eq!(read["schedule"], json!({"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}));
    let sent = bench.public(Method::PATCH, &path, Some(json!({"schedule": {"scheduleType": "basic"}}))).await;
    assert_eq!(sent.unwrap_err().fate, Fate::Answered(422));
    assert_eq!(bench.standin.has_contract(), !bench.standin.violations().is_empty());
    bench.finish();
}

#[tokio::test]
async fn what_the_source_defines_must_not_be_sent_otherwise() {
    let bench = Bench::new("1.8").await;
    let mut stream = users();
    stream["sourceDefinedCursor"] = json!(true);
    bench.shows(vec![stream]);
    let wrong = [
        json!({"name": "users", "syncMode": "incremental_append", "cursorField": ["at"]}),
        json!({"name": "users", "syncMode": "incremental_deduped_history", "primaryKey": [["name"]]}),
    ];
    for stream in wrong {
        assert_eq!(create(&bench, streams(&stream)).await.unwrap_err().fate, Fate::Answered(400));
    }
    let right = json!({"name": "users", "syncMode": "incremental_deduped_history", "primaryKey": [["id"]]});
    create(&bench, streams(&right)).await.unwrap();
    bench.finish();
}

#[tokio::test]
async fn words_differ_between_the_apis() {
    let bench = Bench::new("1.8").await;
    let mut more = streams(&json!({"name": "users"}));
    more["namespaceDefinition"] = json!("custom_format");
    more["namespaceFormat"] = json!("x_${SOURCE_NAMESPACE}");
    more["nonBreakingSchemaUpdatesBehavior"] = json!("disable_connection");
    let made = create(&bench, more).await.unwrap();
    assert_eq!(made["namespaceDefinition"], "custom_format");
    let id = made["connectionId"].as_str().unwrap().parse().unwrap();
    let config = bench.api.connection(id).await.unwrap().unwrap().raw;
    assert_eq!(
        (&config["namespaceDefinition"], &config["nonBreakingChangesPreference"]),
        (&json!("customformat"), &json!("disable"))
    );
    bench.finish();
}

#[tokio::test]
async fn a_pair_of_modes_without_a_joint_value_is_answered_without_one() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("incremental", "overwrite").await;
    let read = bench.public(Method::GET, &format!("/connections/{id}"), None).await.unwrap();
    assert!(read["configurations"]["streams"][0].get("syncMode").is_none());
    bench.finish();
}

#[tokio::test]
async fn on_patch_an_empty_list_is_ignored_and_another_replaces_all() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let made = create(&bench, streams(&json!({"name": "users"}))).await.unwrap();
    let path = format!("/connections/{}", made["connectionId"].as_str().unwrap());
    let patch = async |streams: Value| {
        let body = json!({"configurations": {"streams": streams}});
        bench.public(Method::PATCH, &path, Some(body)).await.unwrap()["configurations"]["streams"].clone()
    };
    assert_eq!(patch(json!([])).await[0]["name"], "users");
    let after = patch(json!([{"name": "orders"}])).await;
    assert_eq!((after.as_array().unwrap().len(), &after[0]["name"]), (1, &json!("orders")));
    bench.public(Method::DELETE, &path, None).await.unwrap();
    assert_eq!(bench.listed("/connections", &[]).await["data"], json!([]));
    bench.finish();
}
