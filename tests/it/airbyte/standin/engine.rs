//! What the engine door sends, and what it never sends, told by the stand-in's log.

use aam::engine::airbyte::{AirbyteEngine, Place};
use aam::model::{ConnectionId, TenantId};
use aam::ports::{
    ConfiguredStream, EndpointHandle, EngineId, EngineRead as _, EngineWrite as _, Remedy, ResolvedConfig, SyncOrder,
};
use aam::spec::StreamMode;
use serde_json::json;

use super::*;
use crate::standin::faults::{Fault, When};
use crate::support::world::until;

fn engine(bench: &Bench) -> AirbyteEngine {
    let place = Place { workspaces: [].into(), tag: "aam".into() };
    let access = access(Duration::from_secs(20), &bench.standin.url, Some(("client", "secret")));
    AirbyteEngine::new(access, place).unwrap()
}

fn handle(connector: &str, id: Uuid) -> EndpointHandle {
    EndpointHandle {
        id: Some(EngineId(id.to_string())),
        name: "faker".into(),
        tenant: TenantId::default(),
        connector: connector.into(),
        config: ResolvedConfig::nothing(),
        airbyte: aam::spec::ActorOptions::default(),
    }
}

fn source(bench: &Bench) -> EndpointHandle {
    handle("airbyte/source-faker", bench.source)
}

fn id(connection: Uuid) -> EngineId {
    EngineId(connection.to_string())
}

/// The body of the newest update of a connection.
fn updated(bench: &Bench) -> Value {
    let log = bench.standin.log();
    log.into_iter().rfind(|e| e.path == "/v1/web_backend/connections/update").unwrap().body
}

#[tokio::test]
async fn an_update_sends_only_what_differs_and_leaves_operations_untouched() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("incremental", "append_dedup").await;
    let operations = json!([Uuid::from_u128(7)]);
    let set = |s: &mut crate::standin::state::State| {
        s.connection_mut(connection).unwrap().other.insert("operationIds".into(), operations.clone())
    };
    bench.standin.edit(set);
    let engine = engine(&bench);
    let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
    draft.name = "renamed".into();
    engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap();
    assert_eq!(updated(&bench), json!({"connectionId": connection, "name": "renamed", "skipReset": true}));
    let kept = bench.standin.edit(|s| s.connection(connection).unwrap().other["operationIds"].clone());
    assert_eq!(kept, operations);
    bench.finish();
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_after_a_write_says_for_how_long() {
    let bench = Bench::new("1.8").await;
    bench.standin.script("POST /v1/sources/create", When::Nth(1), Fault::RetryAfter(429, "120".into()));
    let owner = aam::ports::OwnerKey("default/faker".into());
    let (engine, source) = (engine(&bench), source(&bench));
    let ask = engine.create_endpoint(SOURCE, &owner, &source).await.unwrap();
    assert_eq!(bench.standin.writes().len(), 0, "nothing is sent before it is asked for");
    let error = ask.await.unwrap_err();
    assert_eq!((error.remedy, error.retry_after), (Remedy::Retry, Some(Duration::from_secs(120))), "{error}");
    bench.finish();
}

#[tokio::test]
async fn an_edit_that_comes_while_a_catalog_is_read_is_not_written_over() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("incremental", "append").await;
    let engine = engine(&bench);
    let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
    draft.streams[0].mode = StreamMode::FullRefreshAppend;
    let slow = Fault::Latency(Duration::from_millis(700));
    bench.standin.script("POST /v1/sources/discover_schema", When::Nth(1), slow);
    let hashing = json!([{"type": "hashing", "mapperConfiguration": {"targetField": "name", "method": "SHA-256",
        "fieldNameSuffix": "_hashed"}}]);
    let mappers = || bench.standin.edit(|s| s.connection(connection).unwrap().entries[0]["config"]["mappers"].clone());
    let by_hand = async {
        let asked = async || (bench.standin.calls("POST /v1/sources/discover_schema") > 0).then_some(());
        until("the catalog is asked for", 10, asked).await;
        bench.standin.edit(|s| {
            s.connection_mut(connection).unwrap().entries[0]["config"]["mappers"] = hashing.clone();
        });
    };
    let (live, none) = (id(connection), ResolvedConfig::nothing());
    let (said, ()) = tokio::join!(engine.update_connection(&live, &draft, &none), by_hand);
    let error = said.unwrap_err();
    assert_eq!((error.remedy, mappers()), (Remedy::Retry, hashing.clone()), "{error}");
    insta::assert_snapshot!(error, @"updating connection users: somebody changed it in Airbyte meanwhile: nothing was written, and the next try begins with what is there now");
    assert_eq!(bench.standin.calls("POST /v1/web_backend/connections/update"), 0);

    draft.options = engine.connection(&live).await.unwrap().unwrap().is.options;
    engine.update_connection(&live, &draft, &none).await.unwrap();
    assert_eq!(mappers()[0]["mapperConfiguration"], hashing[0]["mapperConfiguration"]);
    bench.finish();
}

#[tokio::test]
async fn a_schema_that_field_selection_cut_down_is_no_change() {
    let bench = Bench::new("1.8").await;
    let mut draft = bench.draft("full_refresh", "append").await;
    let config = &mut draft["syncCatalog"]["streams"][0]["config"];
    config["fieldSelectionEnabled"] = json!(true);
    config["selectedFields"] = json!([{"fieldPath": ["id"]}, {"fieldPath": ["at"]}]);
    let connection = bench.api.create_connection(&draft).await.unwrap().known.connection_id;
    let engine = engine(&bench);
    // a discover is compared with a discover: this one has what the connection does not show
    let seen = engine.discover(&source(&bench)).await.unwrap().catalog;
    let (name, schema) = seen.streams.into_iter().next().unwrap();
    let mut carried = ConfiguredStream {
        name,
        mode: StreamMode::FullRefreshAppend,
        cursor: None,
        key: engine.connection(&id(connection)).await.unwrap().unwrap().is.streams[0].key.clone(),
        schema,
    };
    assert!(carried.schema.fields.keys().any(|path| path.root() == "name"));
    carried.schema.fields.retain(|path, _| path.root() != "name");
    let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
    draft.streams = vec![carried];
    draft.name = "renamed".into();
    engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap();
    assert!(updated(&bench).get("syncCatalog").is_none());
    bench.finish();
}

#[tokio::test]
async fn what_the_kept_catalog_lacks_is_asked_of_the_source_before_a_schema_is_made_up() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("full_refresh", "append").await;
    let mut with_a_phone = users();
    with_a_phone["jsonSchema"]["properties"]["phone"] = json!({"type": "string"});
    bench.shows(vec![with_a_phone]);
    let engine = engine(&bench);
    let seen = engine.discover(&source(&bench)).await.unwrap().catalog;
    let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
    draft.streams[0].schema = seen.streams.into_values().next().unwrap();
    bench.standin.script("POST /v1/sources/discover_schema", When::Always, Fault::NoStreams);
    let before = bench.standin.discovers(bench.source);
    engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap();
    let sent = &updated(&bench)["syncCatalog"]["streams"][0]["stream"]["jsonSchema"]["properties"];
    assert_eq!(sent["phone"], json!({"type": "string"}), "as it came: made up, it would be one that may be null");
    assert_eq!(bench.standin.discovers(bench.source), before + 1);
    // what it carries already needs no look
    draft.name = "renamed".into();
    draft.streams[0].mode = StreamMode::FullRefreshOverwrite;
    engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap();
    assert_eq!(bench.standin.discovers(bench.source), before + 1);
    bench.finish();
}

#[tokio::test]
async fn a_retype_is_sent_as_it_was_discovered_whatever_the_kept_catalog_has() {
    for empty in [false, true] {
        let bench = Bench::new("1.8").await;
        let connection = bench.connection("full_refresh", "append").await;
        let mut retyped = users();
        retyped["jsonSchema"]["properties"]["name"] = json!({"type": "integer"});
        bench.shows(vec![retyped]);
        let engine = engine(&bench);
        let seen = engine.discover(&source(&bench)).await.unwrap().catalog;
        // the server keeps that of before
        bench.standin.edit(|s| s.fetches.pop());
        if empty {
            bench.standin.script("POST /v1/sources/discover_schema", When::Always, Fault::NoStreams);
        }
        let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
        draft.streams[0].schema = seen.streams.into_values().next().unwrap();
        let before = bench.standin.discovers(bench.source);
        engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap();
        let sent = &updated(&bench)["syncCatalog"]["streams"][0]["stream"]["jsonSchema"]["properties"];
        assert_eq!(sent["name"], json!({"type": "integer"}), "as it came, kept empty: {empty}");
        assert_eq!(bench.standin.discovers(bench.source), before + 1, "kept empty: {empty}");
        bench.finish();
    }
}

#[tokio::test]
async fn a_kept_catalog_without_its_id_costs_a_look_and_holds_nothing_up() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let connection = bench.connection("full_refresh", "append").await;
    bench.standin.script("POST /v1/sources/discover_schema", When::Always, Fault::Renamed);
    let (engine, live, none) = (engine(&bench), id(connection), ResolvedConfig::nothing());
    let mut draft = engine.connection(&live).await.unwrap().unwrap().is;
    draft.streams[0].mode = StreamMode::FullRefreshOverwrite;
    engine.update_connection(&live, &draft, &none).await.unwrap();
    let known = bench.standin.edit(|s| s.catalogs[0].id);
    assert_eq!(updated(&bench)["sourceCatalogId"], json!(known));

    // a source that is away is no reason to go on with a stream
    bench.standin.edit(|s| s.conduct(bench.source).discover_fails = Some("it is away".into()));
    draft.streams.truncate(1);
    engine.update_connection(&live, &draft, &none).await.unwrap();
    let sent = updated(&bench);
    assert_eq!((sent["syncCatalog"]["streams"].as_array().unwrap().len(), sent.get("sourceCatalogId")), (1, None));
    // what is known from nowhere is not made up
    draft.streams[0].schema.fields.values_mut().for_each(|field| field.nullable = !field.nullable);
    let error = engine.update_connection(&live, &draft, &none).await.unwrap_err();
    insta::assert_snapshot!(error, @"updating connection users: it is away");
    bench.finish();
}

#[tokio::test]
async fn of_one_source_one_discover_runs_at_a_time() {
    for version in ["1.6", "1.8"] {
        let bench = Bench::new(version).await;
        bench.standin.edit(|s| s.conduct(bench.source).discover_takes = Duration::from_millis(100));
        let (engine, source) = (engine(&bench), source(&bench));
        let looks = tokio::join!(engine.discover(&source), engine.discover(&source), engine.discover(&source));
        assert!(looks.0.is_ok() && looks.1.is_ok() && looks.2.is_ok());
        assert_eq!(bench.standin.edit(|s| s.conduct(bench.source).discovering_most), 1, "{version}");
        bench.finish();
    }
}

#[tokio::test]
async fn streams_that_the_server_does_not_preselect_are_seen_all_the_same() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let seen = engine(&bench).discover(&source(&bench)).await.unwrap();
    assert!(seen.raw["streams"].as_array().unwrap().iter().all(|entry| entry["config"]["selected"] == false));
    assert_eq!(seen.catalog.streams.len(), 2);
    bench.finish();
}

#[tokio::test]
async fn another_order_of_streams_types_and_modes_is_no_change() {
    let bench = Bench::new("1.8").await;
    let mut orders = users();
    orders["name"] = json!("orders");
    bench.shows(vec![users(), orders]);
    let engine = engine(&bench);
    let one = engine.discover(&source(&bench)).await.unwrap();
    // the second run lists everything the other way round
    bench.standin.edit(|s| s.catalogs.clear());
    let two = engine.discover(&source(&bench)).await.unwrap();
    assert_ne!(one.raw["streams"], two.raw["streams"]);
    assert_eq!(one.catalog, two.catalog);
    bench.finish();
}

#[tokio::test]
async fn a_mode_that_the_destination_lacks_is_refused_before_anything_is_written() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("full_refresh", "append").await;
    let engine = engine(&bench);
    let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
    draft.streams[0].mode = StreamMode::FullRefreshSoftDelete;
    let writes = bench.standin.writes();
    let owner = aam::ports::OwnerKey("default/users".into());
    let refused = [
        engine.create_connection(&owner, &draft, &ResolvedConfig::nothing()).await.err().unwrap(),
        engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.remedy, Remedy::Person);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error.why, @"stream users is to be written by soft_delete, but its destination knows only overwrite, append, append_dedup");
        }
    }
    assert_eq!(bench.standin.writes(), writes);

    // one that is live already is none of ours
    bench.standin.edit(|s| {
        s.connection_mut(connection).unwrap().entries[0]["config"]["destinationSyncMode"] = json!("soft_delete");
    });
    draft.name = "renamed".into();
    engine.update_connection(&id(connection), &draft, &ResolvedConfig::nothing()).await.unwrap();
    bench.finish();
}

#[tokio::test]
async fn a_long_secret_that_a_connector_repeats_is_masked_before_its_words_are_cut() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("full_refresh", "append").await;
    let engine = engine(&bench);
    let key = format!("-----BEGIN KEY-----\n{}-----END KEY-----", "c2VjcmV0 \"x\"\n".repeat(60));
    let config = ResolvedConfig::new(json!({"key": key}), vec![key.clone().into()], String::new());
    bench.standin.edit(|s| {
        // another image: nothing is answered from the store
        s.definitions.iter_mut().for_each(|d| d.tag = "99.0.0".into());
        s.conduct(bench.source).discover_fails = Some(format!("no login with {key}: refused"));
    });
    let mut draft = engine.connection(&id(connection)).await.unwrap().unwrap().is;
    draft.streams[0].mode = StreamMode::FullRefreshOverwrite;
    let owner = aam::ports::OwnerKey("default/users".into());
    let source = EndpointHandle { config: config.clone(), ..source(&bench) };
    let said = [
        engine.create_connection(&owner, &draft, &config).await.err().unwrap(),
        engine.update_connection(&id(connection), &draft, &config).await.unwrap_err(),
        engine.discover(&source).await.unwrap_err(),
    ];
    insta::assert_snapshot!(said.map(|error| error.to_string()).join("\n"), @"
    creating connection users: no login with ***: refused
    updating connection users: no login with ***: refused
    discovering source faker: no login with ***: refused
    ");
    bench.finish();
}

#[tokio::test]
async fn the_connector_of_a_source_is_never_changed_by_an_update() {
    let bench = Bench::new("1.8").await;
    let of_another = handle("airbyte/source-postgres", bench.source);
    let error = engine(&bench).update_endpoint(SOURCE, &id(bench.source), &of_another).await.unwrap_err();
    assert_eq!(error.remedy, Remedy::Person);
    insta::assert_snapshot!(error.why, @"it is of another connector in Airbyte than airbyte/source-postgres, and that cannot be changed there: declare a new one beside it and remove the old one");
    assert_eq!(bench.standin.writes(), Vec::<String>::new());
    bench.finish();
}

#[tokio::test]
async fn a_start_that_is_409_attaches_to_the_job_that_runs() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.hold_jobs = true);
    let connection = bench.connection("full_refresh", "append").await;
    let running = bench.api.sync(connection).await.unwrap().id;
    let order = SyncOrder {
        connection: ConnectionId(Uuid::nil()),
        engine_id: id(connection),
        source: source(&bench),
        destination: handle("airbyte/destination-postgres", bench.destination),
        held: [].into(),
        missing_as_null: false,
        request: Uuid::nil(),
        after: running,
        refresh: Default::default(),
    };
    assert_eq!(engine(&bench).start_sync(&order).await.unwrap().id, running);
    assert_eq!(bench.standin.edit(|s| s.jobs.len()), 1);
    bench.standin.edit(|s| s.hold_jobs = false);
    bench.ended(connection).await;
    bench.finish();
}

#[tokio::test]
async fn the_version_that_a_workspace_is_pinned_to_is_seen_as_its_own_list_alone_has_it() {
    let bench = Bench::new("1.8").await;
    let found = engine(&bench).definition(SOURCE, bench.workspace, "airbyte/source-faker").await.unwrap();
    bench.standin.edit(|s| s.pins.insert((bench.workspace, found.id), "0.1.0".into()));
    let pinned = engine(&bench).definition(SOURCE, bench.workspace, "airbyte/source-faker").await.unwrap();
    assert_eq!(pinned.docker_image_tag, "0.1.0");
    let all = bench.post("/v1/source_definitions/list", json!({})).await.unwrap();
    let all = all["sourceDefinitions"].as_array().unwrap();
    let same = all.iter().find(|d| d["sourceDefinitionId"] == json!(found.id)).unwrap();
    assert_eq!(same["dockerImageTag"], json!(found.docker_image_tag), "it ignores the pin");
    bench.finish();
}
