//! What a discover answers and does, and that the contract is really held.

use aam::engine::airbyte::api::RunError;
use aam::engine::airbyte::catalog;
use aam::engine::airbyte::error::Fate;
use aam::model::StreamName;
use serde_json::json;

use super::*;
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::support;

fn with_a_phone() -> Value {
    let mut stream = users();
    stream["jsonSchema"]["properties"]["phone"] = json!({"type": "string"});
    stream
}

fn without(field: &str) -> Value {
    let mut stream = users();
    stream["jsonSchema"]["properties"].as_object_mut().unwrap().remove(field);
    stream
}

#[tokio::test]
async fn a_failed_discover_is_http_200_without_a_catalog() {
    for version in ["1.6", "1.8"] {
        let bench = Bench::new(version).await;
        bench.standin.edit(|s| s.conduct(bench.source).discover_fails = Some("no such host".into()));
        let body = json!({"sourceId": bench.source, "disable_cache": true});
        let answer = bench.post("/v1/sources/discover_schema", body).await.unwrap();
        assert_eq!(answer["jobInfo"]["succeeded"], false);
        assert!(answer.get("catalog").is_none());
        let failed = bench.api.discover(bench.source).await;
        assert!(matches!(failed, Err(RunError::Connector(why)) if why == "no such host"));
        bench.finish();
    }
}

#[tokio::test]
async fn a_million_streams_are_no_catalog() {
    let bench = Bench::new("1.8").await;
    let body = format!("{{\"catalog\": {{\"streams\": [{}{{}}]}}}}", "{},".repeat(999_999));
    bench.standin.script("POST /v1/commands/output/discover", When::Nth(1), Fault::Body(body));
    let Err(RunError::Api(error)) = bench.api.discover(bench.source).await else { panic!("it was read") };
    assert_eq!(error.to_string(), "a discover: a catalog of 1000000 streams, more than 200000");
    assert_eq!(error.fate, Fate::Garbled);
    assert_eq!(bench.api.discover(bench.source).await.unwrap().catalog.streams.len(), 1);
    bench.finish();
}

#[tokio::test]
async fn discover_without_disable_cache_is_a_cache_hit() {
    let bench = Bench::new("1.8").await;
    let ask = async |body: Value| bench.post("/v1/sources/discover_schema", body).await.unwrap();
    let first = ask(json!({"sourceId": bench.source})).await;
    assert_eq!(first["jobInfo"]["configId"], json!(bench.source), "nothing was cached yet");
    bench.shows(vec![with_a_phone()]);
    let hit = ask(json!({"sourceId": bench.source})).await;
    assert_eq!(hit["catalogId"], first["catalogId"]);
    let info = &hit["jobInfo"];
    assert_eq!(
        (&info["configId"], &info["createdAt"], &info["endedAt"]),
        (&json!("NoConfiguration"), &json!(0), &json!(0))
    );
    let fresh = ask(json!({"sourceId": bench.source, "disable_cache": true})).await;
    assert_ne!(fresh["catalogId"], first["catalogId"]);
    assert_eq!(bench.standin.discovers(bench.source), 2);
    bench.finish();
}

#[tokio::test]
async fn a_misspelt_disable_cache_is_silently_ignored_and_breaks_the_contract() {
    let bench = Bench::new("1.8").await;
    for _ in 0..2 {
        let body = json!({"sourceId": bench.source, "disableCache": true});
        bench.post("/v1/sources/discover_schema", body).await.unwrap();
    }
    assert_eq!(bench.standin.discovers(bench.source), 1);
    let violations = bench.standin.violations();
    if bench.standin.has_contract() {
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(
            violations[0].starts_with("POST /v1/sources/discover_schema request")
                && violations[0].contains("disableCache")
        );
    }
    bench.finish();
}

#[tokio::test]
async fn new_settings_or_a_new_image_are_not_answered_from_the_cache() {
    let bench = Bench::new("1.8").await;
    let ask = async || bench.post("/v1/sources/discover_schema", json!({"sourceId": bench.source})).await.unwrap();
    ask().await;
    bench.api.update_actor(SOURCE, bench.source, "faker", &json!({"count": 11})).await.unwrap();
    ask().await;
    bench.standin.edit(|s| s.definitions.iter_mut().for_each(|d| d.tag = "99.0.0".into()));
    ask().await;
    ask().await;
    assert_eq!(bench.standin.discovers(bench.source), 3);
    bench.finish();
}

#[tokio::test]
async fn identical_catalogs_of_a_source_share_an_id_though_nothing_keeps_its_order() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let one = bench.api.discover(bench.source).await.unwrap();
    let two = bench.api.discover(bench.source).await.unwrap();
    assert_eq!(one.catalog_id, two.catalog_id);
    let three = bench.post("/v1/sources/discover_schema", json!({"sourceId": bench.source})).await.unwrap();
    assert_eq!(three["catalog"]["streams"].as_array().unwrap().len(), 2);
    bench.finish();
}

#[tokio::test]
async fn only_a_sole_stream_is_selected_by_the_server() {
    let bench = Bench::new("1.8").await;
    let selected = async || {
        let found = bench.api.discover(bench.source).await.unwrap().catalog.streams;
        found.iter().map(|e| e["config"]["selected"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(selected().await, [true]);
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    assert_eq!(selected().await, [false, false]);
    bench.finish();
}

/// A connection that keys by `id` and goes by `at`, with the catalog id that it was saved with.
async fn saved(bench: &Bench, preference: &str) -> Uuid {
    let mut draft = bench.draft("incremental", "append_dedup").await;
    draft["nonBreakingChangesPreference"] = json!(preference);
    bench.api.create_connection(&draft).await.unwrap().known.connection_id
}

#[tokio::test]
async fn a_connection_id_on_discover_can_pause_a_connection() {
    // what changed, preference → breaking, status
    let cases = [
        (users(), "disable", false, "active"),
        (with_a_phone(), "ignore", false, "active"),
        (with_a_phone(), "disable", false, "inactive"),
        (without("name"), "ignore", false, "active"),
        (without("at"), "ignore", true, "inactive"),
    ];
    for (shown, preference, breaking, status) in cases {
        let bench = Bench::new("1.8").await;
        let connection = saved(&bench, preference).await;
        bench.shows(vec![shown.clone()]);
        let body = json!({"sourceId": bench.source, "connectionId": connection, "disable_cache": true});
        let answer = bench.post("/v1/sources/discover_schema", body).await.unwrap();
        assert!(answer.get("jobInfo").is_none(), "this code path lacks it");
        assert_eq!(
            (&answer["breakingChange"], &answer["connectionStatus"]),
            (&json!(breaking), &json!(status)),
            "{shown}"
        );
        let now = bench.api.connection(connection).await.unwrap().unwrap().known;
        assert_eq!((now.breaking_change, now.status.as_str()), (breaking, status));
        bench.finish();
    }
}

#[tokio::test]
async fn a_diff_comes_only_with_a_connection_id_and_a_fresh_run() {
    let bench = Bench::new("1.8").await;
    let connection = saved(&bench, "ignore").await;
    for (named, fresh) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut body = json!({"sourceId": bench.source, "disable_cache": fresh});
        if named {
            body["connectionId"] = json!(connection);
        }
        let answer = bench.post("/v1/sources/discover_schema", body).await.unwrap();
        let has = ["catalogDiff", "breakingChange", "connectionStatus"].map(|key| answer.get(key).is_some());
        assert_eq!(has, [named && fresh; 3], "{named} {fresh}");
    }
    bench.finish();
}

#[tokio::test]
async fn a_refreshed_catalog_of_the_web_page_has_the_same_effect() {
    let bench = Bench::new("1.8").await;
    let connection = saved(&bench, "ignore").await;
    bench.shows(vec![without("at")]);
    let body = json!({"connectionId": connection, "withRefreshedCatalog": true});
    let answer = bench.post("/v1/web_backend/connections/get", body).await.unwrap();
    assert_eq!((&answer["status"], &answer["schemaChange"]), (&json!("inactive"), &json!("breaking")));
    assert_eq!(
        answer["catalogDiff"]["transforms"][0]["updateStream"]["fieldTransforms"][0]["fieldName"],
        json!(["at"])
    );
    bench.finish();
}

#[tokio::test]
async fn our_discover_never_pauses_anything() {
    for version in ["1.6", "1.8"] {
        let bench = Bench::new(version).await;
        let connection = saved(&bench, "disable").await;
        bench.shows(vec![without("at")]);
        bench.api.discover(bench.source).await.unwrap();
        assert_eq!(bench.api.connection(connection).await.unwrap().unwrap().known.status, "active");
        let discovers = ["POST /v1/sources/discover_schema", "POST /v1/commands/run/discover"];
        assert!(bench.standin.writes().iter().all(|w| !discovers.contains(&w.as_str())));
        bench.finish();
    }
}

#[tokio::test]
async fn a_fresh_discover_shows_as_a_change_of_connections_built_on_an_older_catalog() {
    let bench = Bench::new("1.8").await;
    let connection = saved(&bench, "ignore").await;
    let mut draft = bench.draft("full_refresh", "overwrite").await;
    draft.as_object_mut().unwrap().remove("sourceCatalogId");
    let without_id = bench.api.create_connection(&draft).await.unwrap().known.connection_id;
    bench.shows(vec![with_a_phone()]);
    let change = async |id: Uuid| {
        bench.post("/v1/web_backend/connections/get", json!({"connectionId": id})).await.unwrap()["schemaChange"]
            .clone()
    };
    assert_eq!(change(connection).await, "no_change");
    bench.api.discover(bench.source).await.unwrap();
    assert_eq!(change(connection).await, "non_breaking");
    assert_eq!(change(without_id).await, "no_change", "always, for one saved without `sourceCatalogId`");
    bench.finish();
}

#[tokio::test]
async fn catalogs_are_compared_without_side_effects_after_2_0() {
    for (version, there) in [("2.0", false), ("2.1", true)] {
        let bench = Bench::new(version).await;
        let connection = saved(&bench, "disable").await;
        let old = bench.api.discover(bench.source).await.unwrap().catalog_id;
        bench.shows(vec![without("at")]);
        let new = bench.api.discover(bench.source).await.unwrap().catalog_id;
        let mut body = json!({"current_catalog_id": old, "new_catalog_id": new, "persist_changes": false});
        let answer = bench.post("/v1/catalogs/diff", body.clone()).await;
        assert_eq!(answer.is_ok(), there, "{version}");
        if let Ok(answer) = answer {
            assert_eq!(answer["schema_change"], "no_change", "only added and removed streams without a connection");
            body["connection_id"] = json!(connection);
            let answer = bench.post("/v1/catalogs/diff", body).await.unwrap();
            assert_eq!(answer["schema_change"], "breaking");
        }
        assert_eq!(bench.api.connection(connection).await.unwrap().unwrap().known.status, "active");
        bench.finish();
    }
}

#[tokio::test]
async fn a_changed_type_a_removed_column_and_a_removed_stream_never_break_for_airbyte() {
    let bench = Bench::new("2.1").await;
    let connection = saved(&bench, "ignore").await;
    let old = bench.api.discover(bench.source).await.unwrap().catalog_id;
    let mut retyped = users();
    retyped["jsonSchema"]["properties"]["name"] = json!({"type": "integer"});
    let other = Standin::stream("others", &json!({"id": {"type": "integer"}}));
    for streams in [vec![retyped], vec![without("name")], vec![other]] {
        bench.shows(streams);
        let new = bench.api.discover(bench.source).await.unwrap().catalog_id;
        let body = json!({"current_catalog_id": old, "new_catalog_id": new, "connection_id": connection, "persist_changes": false});
        assert_eq!(bench.post("/v1/catalogs/diff", body).await.unwrap()["schema_change"], "non_breaking");
    }
    bench.finish();
}

#[tokio::test]
async fn two_discovers_of_one_source_are_not_rejected() {
    let bench = Bench::new("1.6").await;
    bench.standin.edit(|s| s.conduct(bench.source).discover_takes = Duration::from_millis(100));
    let (one, two) = tokio::join!(bench.api.discover(bench.source), bench.api.discover(bench.source));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(bench.standin.edit(|s| s.conduct(bench.source).discovering_most), 2);
    bench.finish();
}

#[tokio::test]
async fn a_discover_goes_on_after_the_client_gave_up_and_is_found_later() {
    let mut bench = Bench::new("1.6").await;
    bench.hurry().await;
    bench.standin.edit(|s| s.conduct(bench.source).discover_takes = Duration::from_millis(1500));
    let body = json!({"sourceId": bench.source, "disable_cache": true});
    assert_eq!(bench.post("/v1/sources/discover_schema", body).await.unwrap_err().fate, Fate::Unknown);
    let found = support::world::until("the catalog is there", 10, async || {
        let body = json!({"sourceId": bench.source});
        let answer = bench.post("/v1/sources/most_recent_source_actor_catalog", body).await.unwrap();
        answer.get("catalog").cloned()
    });
    let found = found.await;
    assert!(found["streams"][0]["json_schema"].is_object(), "the protocol's form: {found}");
    bench.finish();
}

#[tokio::test]
async fn commands_exist_from_1_7_are_always_fresh_and_run_once_per_id() {
    let old = Bench::new("1.6").await;
    let run = json!({"id": "mine", "actor_id": old.source});
    assert_eq!(old.post("/v1/commands/run/discover", run).await.unwrap_err().fate, Fate::Answered(404));
    old.finish();
    let bench = Bench::new("1.7").await;
    bench.api.discover(bench.source).await.unwrap();
    bench.api.discover(bench.source).await.unwrap();
    assert_eq!(bench.standin.discovers(bench.source), 2, "always fresh");
    assert_eq!(bench.standin.calls("POST /v1/sources/discover_schema"), 0);
    let run = json!({"id": "mine", "actor_id": bench.source});
    for _ in 0..3 {
        bench.post("/v1/commands/run/discover", run.clone()).await.unwrap();
    }
    assert_eq!(bench.standin.discovers(bench.source), 3, "the id is ours");
    let check = json!({"id": "a check", "actor_id": bench.source});
    bench.post("/v1/commands/run/check", check).await.unwrap();
    let output = bench.post("/v1/commands/output/check", json!({"id": "a check"})).await.unwrap();
    assert_eq!(output["status"], "succeeded");
    bench.finish();
}

#[tokio::test]
async fn a_discover_that_outlives_its_deadline_is_gone_on_with() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.conduct(bench.source).discover_takes = Duration::from_secs(2));
    let mut access = access(Duration::from_secs(20), &bench.standin.url, Some(("client", "secret")));
    access.manners.discover = Duration::from_millis(300);
    let api = Airbyte::new(Client::new(access).unwrap());
    let error = api.discover(bench.source).await.unwrap_err();
    insta::assert_snapshot!(error, @"POST /v1/commands/status: the discover still runs; its result is looked for at the next look");
    let look = async || api.discover(bench.source).await.ok();
    let found = support::world::until("the result is there", 10, look).await;
    assert_eq!((found.catalog.streams.len(), bench.standin.discovers(bench.source)), (1, 1), "it ran once");

    // one that the server forgot, and one of other settings, are begun anew
    for forgets in [true, false] {
        api.discover(bench.source).await.unwrap_err();
        let before = bench.standin.discovers(bench.source);
        bench.standin.edit(|s| s.conduct(bench.source).discover_takes = Duration::ZERO);
        match forgets {
            true => bench.standin.script("POST /v1/commands/status", When::First(1), Fault::Refuse(403, Shape::Known)),
            false => drop(api.update_actor(SOURCE, bench.source, "faker", &json!({"count": 11})).await.unwrap()),
        }
        api.discover(bench.source).await.unwrap();
        assert_eq!(bench.standin.discovers(bench.source), before + 1);
        bench.standin.edit(|s| s.conduct(bench.source).discover_takes = Duration::from_secs(2));
    }
    bench.finish();
}

#[tokio::test]
async fn no_more_discovers_run_side_by_side_than_the_settings_allow() {
    for version in ["1.6", "1.8"] {
        let bench = Bench::new(version).await;
        let sources = bench.standin.edit(|state| {
            let new = |n: i32| state.add_actor("airbyte/source-faker", &format!("faker {n}"), json!({"count": n}));
            let sources: Vec<Uuid> = (0..6).map(new).collect();
            for source in &sources {
                state.conduct(*source).discover_takes = Duration::from_millis(300);
            }
            sources
        });
        let mut access = access(Duration::from_secs(20), &bench.standin.url, Some(("client", "secret")));
        access.manners.slow_slots = 2;
        let api = Airbyte::new(Client::new(access).unwrap());
        let all = futures_util::future::join_all(sources.iter().map(|source| api.discover(*source)));
        let running = || bench.standin.edit(|s| s.actors.iter().map(|actor| actor.conduct.discovering).sum::<u32>());
        let mut most = 0;
        let watch = async {
            loop {
                most = most.max(running());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            found = all => assert!(found.iter().all(Result::is_ok)),
            () = watch => unreachable!("it never ends"),
        }
        assert_eq!(most, 2, "{version}");
        bench.finish();
    }
}

#[tokio::test]
async fn an_unknown_command_is_403() {
    let bench = Bench::new("1.8").await;
    for verb in ["status", "output/discover", "output/check"] {
        let error = bench.post(&format!("/v1/commands/{verb}"), json!({"id": "unknown"})).await.unwrap_err();
        assert_eq!(error.fate, Fate::Answered(403));
    }
    bench.finish();
}

#[tokio::test]
async fn a_postgres_source_shows_what_its_database_has_now() {
    let bench = Bench::new("1.8").await;
    let options = support::database().await;
    let pool = sqlx::PgPool::connect_with(options.clone()).await.unwrap();
    let sql = "CREATE SCHEMA shop; CREATE TABLE shop.orders (a int, b bigint, c numeric(9,2), d text, e timestamptz,
        f timestamp, g date, h boolean, i jsonb, j int[], PRIMARY KEY (b, a)); CREATE VIEW shop.seen AS SELECT 1 AS one";
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    let settings = json!({"host": support::cluster(), "port": 5432, "username": "postgres",
        "database": options.get_database().unwrap(), "schemas": ["shop"]});
    let source = bench.standin.edit(|s| s.add_actor("airbyte/source-postgres", "shop", settings));
    let found = bench.api.discover(source).await.unwrap();
    let catalog = catalog::catalog(&found.catalog.streams);
    let orders: StreamName = "shop/orders".parse().unwrap();
    let key: Vec<String> = catalog.streams[&orders].key.iter().map(ToString::to_string).collect();
    assert_eq!((catalog.streams.len(), key), (2, vec!["b".to_owned(), "a".to_owned()]));
    let fields: Vec<String> =
        catalog.streams[&orders].fields.iter().map(|(path, field)| format!("{path}: {}", field.shape())).collect();
    insta::assert_snapshot!(fields.join("\n"), @"
    a: integer
    b: integer
    c: number
    d: string
    e: timestamp_tz
    f: timestamp
    g: date
    h: boolean
    i: object
    j: array
    j[]: integer!
    ");
    sqlx::raw_sql("ALTER TABLE shop.orders ADD k uuid").execute(&pool).await.unwrap();
    let again = bench.api.discover(source).await.unwrap();
    assert_ne!(again.catalog_id, found.catalog_id);
    sqlx::raw_sql("DROP SCHEMA shop CASCADE").execute(&pool).await.unwrap();
    assert!(bench.api.discover(source).await.unwrap().catalog.streams.is_empty(), "an empty catalog is no failure");
    bench.finish();
}
