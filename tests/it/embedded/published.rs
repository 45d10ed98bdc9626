//! Published connectors, run as the programs that they are: what `source-faker` does not show. `source-file` and
//! `source-hardcoded-records` read whole, each built with another generation of Airbyte's kit; `source-declarative-manifest`
//! runs a connector that is a YAML file against an API that the test serves. `scripts/test-long` installs them.

use std::path::Path;
use std::time::Duration;

use aam::connector::Programs;
use aam::engine::embedded::EmbeddedEngine;
use aam::ports::{EngineRead, EngineWrite, JobState, Remedy};
use aam::spec::StreamMode::{FullRefreshOverwrite, IncrementalAppendDedup};
use serde_json::{Value, json};

use super::harness::{Bench, handle, lines};
use super::tickets::Tickets;

/// Where a published connector is, by the variable that says so.
#[expect(clippy::print_stdout, reason = "scripts/checks.sh looks for it")]
pub fn program(variable: &str, name: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        println!("SKIPPED: {name}: {variable} does not say where it is (scripts/lib.sh: connector)");
    }
    found
}

/// A source that is this program with these settings; `more` is laid beside them. Manifests lie below `root`.
async fn reading(program: &str, settings: Value, more: Value, root: &Path) -> Bench {
    let mut config = json!({"command": [program], "config": settings});
    config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let mut bench = Bench::reading(handle("published", "airbyte", config)).await;
    bench.engine = engine(&bench, program, root).await;
    bench
}

async fn engine(bench: &Bench, program: &str, root: &Path) -> EmbeddedEngine {
    let programs = Programs { allowed: vec![program.to_owned()], root: root.to_owned() };
    EmbeddedEngine::open(bench.registry.clone(), programs).await.unwrap()
}

#[tokio::test]
async fn source_file_reads_a_csv_whole_and_shows_how_the_file_changes() {
    let Some(program) = program("AAM_SOURCE_FILE", "source-file") else { return };
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("items.csv");
    let settings = json!({"dataset_name": "items", "format": "csv", "url": csv, "provider": {"storage": "local"},
        "reader_options": "{}"});
    let bench = reading(&program, settings, json!({}), folder.path()).await;
    let missing = bench.engine.check(&bench.source_handle).await.unwrap_err();
    assert!(missing.remedy == Remedy::Person && missing.why.contains("No such file"), "{missing}");

    std::fs::write(&csv, "id,name,price,paid\n1,\"a, b\",1.25,true\n2,,,\n3,ü\u{1f600},-2,false\n").unwrap();
    bench.engine.check(&bench.source_handle).await.unwrap();
    let id = bench.configure(vec![bench.stream("items", FullRefreshOverwrite).await]).await;
    for _ in 0..2 {
        assert_eq!(bench.sync_ok(&id).await.rows, 3);
    }
    let rows = "SELECT concat_ws('|', id, coalesce(name, 'null'), coalesce(price::text, 'null'),
                    coalesce(paid, 'null')) FROM items ORDER BY id";
    insta::assert_snapshot!(lines(&bench.landing, rows).await, @"
    1|a, b|1.25|true
    2|null|null|null
    3|ü😀|-2.0|false
    ");

    std::fs::write(&csv, "id,price,discount\n1,cheap,0.5\n").unwrap();
    let seen = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    let fields: Vec<String> =
        seen.streams.values().flat_map(|s| &s.fields).map(|(name, f)| format!("{name}: {}", f.ty)).collect();
    insta::assert_snapshot!(fields.join("\n"), @"
    discount: number
    id: number
    price: string
    ");
}

#[tokio::test]
async fn source_hardcoded_records_reads_streams_of_any_shape() {
    let Some(program) = program("AAM_SOURCE_HARDCODED_RECORDS", "source-hardcoded-records") else { return };
    let bench = reading(&program, json!({"count": 20_000}), json!({}), Path::new(".")).await;
    bench.engine.check(&bench.source_handle).await.unwrap();
    let catalog = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    let mut streams = Vec::new();
    for name in catalog.streams.keys() {
        streams.push(bench.stream(&name.to_string(), FullRefreshOverwrite).await);
    }
    let id = bench.configure(streams).await;
    let job = bench.sync_ok(&id).await;
    assert_eq!(job.rows, 20_000 * catalog.streams.len() as u64);
    let rows = "SELECT (SELECT count(*) FROM products) || ' ' || (SELECT count(*) FROM customers) || ' '
        || (SELECT count(*) FROM customers WHERE jsonb_typeof(default_address) = 'object') || ' '
        || (SELECT count(*) FROM dummy_fields) || ' ' || (SELECT count(*) FROM products WHERE created_at IS NULL)";
    assert_eq!(lines(&bench.landing, rows).await, "20000 20000 20000 20000 0");
    let nulled = "SELECT sum(jsonb_array_length(_airbyte_meta -> 'changes'))::text FROM customers";
    assert_eq!(lines(&bench.landing, nulled).await, "0", "every value fits its column");
}

/// A manifest as the connector builder writes it: an API with pages and a cursor, read a day at a time.
const MANIFEST: &str = r#"
version: "6.0.0"
type: DeclarativeSource
check: {type: CheckStream, stream_names: [tickets]}
streams:
  - type: DeclarativeStream
    name: tickets
    primary_key: [id]
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: "{{ config['base_url'] }}"
        path: /tickets
        http_method: GET
        authenticator: {type: BearerAuthenticator, api_token: "{{ config['api_key'] }}"}
        request_parameters:
          since: "{{ stream_interval['start_time'] }}"
          until: "{{ stream_interval['end_time'] }}"
      record_selector: {type: RecordSelector, extractor: {type: DpathExtractor, field_path: [data]}}
      paginator:
        type: DefaultPaginator
        page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: offset}
        page_size_option: {type: RequestOption, inject_into: request_parameter, field_name: limit}
        pagination_strategy: {type: OffsetIncrement, page_size: 20}
    incremental_sync:
      type: DatetimeBasedCursor
      cursor_field: updated_at
      cursor_datetime_formats: ["%Y-%m-%dT%H:%M:%SZ"]
      datetime_format: "%Y-%m-%dT%H:%M:%SZ"
      start_datetime: "2026-01-01T00:00:00Z"
      end_datetime: "{{ config['until'] }}"
      step: P1D
      cursor_granularity: PT1S
    schema_loader:
      type: InlineSchemaLoader
      schema:
        type: object
        properties:
          id: {type: integer}
          subject: {type: ["null", string]}
          priority: {type: ["null", integer]}
          requester: {type: ["null", object], properties: {email: {type: ["null", string]}}}
          updated_at: {type: string, format: date-time}
spec:
  type: Spec
  connection_specification:
    type: object
    required: [base_url, api_key, until]
    properties:
      base_url: {type: string}
      api_key: {type: string, airbyte_secret: true}
      until: {type: string}
"#;

/// A source that is [`MANIFEST`], and the folder that it lies in.
async fn of_tickets(program: &str, tickets: &Tickets) -> (Bench, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    crate::support::write(root.path(), "manifests/tickets.yaml", MANIFEST);
    let settings = json!({"base_url": tickets.url, "api_key": "hunter2secret", "until": "2026-01-10T23:59:59Z"});
    let bench = reading(program, settings, json!({"manifest": "manifests/tickets.yaml"}), root.path()).await;
    (bench, root)
}

const COUNT: &str = "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || count(requester ->> 'email') FROM tickets";

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_read_by_pages_and_goes_on_where_it_was_killed() {
    let Some(program) = program("AAM_DECLARATIVE_MANIFEST", "source-declarative-manifest") else { return };
    let tickets = Tickets::serve(10, 50).await;
    let (mut bench, root) = of_tickets(&program, &tickets).await;
    bench.engine.check(&bench.source_handle).await.unwrap();
    let stream = bench.stream("tickets", IncrementalAppendDedup).await;
    assert_eq!(format!("{} {}", stream.key[0], stream.schema.cursor), "id source_defined(updated_at)");
    let id = bench.configure(vec![stream]).await;

    // the API stops answering in the middle, and the engine is stopped while it waits
    tickets.hang_from("2026-01-08");
    let order = bench.order(&id);
    bench.engine.start_sync(&order).await.unwrap();
    tickets.somebody_waits().await;
    while bench.engine.jobs(&id, 1).await.unwrap()[0].rows == 0 {
        assert_eq!(bench.engine.jobs(&id, 1).await.unwrap()[0].state, JobState::Running);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.engine.shutdown().await;
    tickets.answer_again();
    let before = tickets.asked_since().len();
    bench.engine = engine(&bench, &program, root.path()).await;
    bench.engine.start_sync(&order).await.unwrap();
    let ended = bench.ended(&id).await;
    assert_eq!((ended.state, ended.error, ended.attempts), (JobState::Succeeded, None, 2));
    assert_eq!(lines(&bench.landing, COUNT).await, "500 500 500");
    let asked = &tickets.asked_since()[before..];
    assert!(asked.iter().all(|since| since.as_str() > "2026-01-02"), "it began at its state: {asked:?}");

    // and then only what is new; the last second is asked for again, as cursors are inclusive
    let before = tickets.asked_since().len();
    tickets.add("2026-01-10T23:59:58Z");
    let new = bench.sync_ok(&id).await;
    assert!((1..=2).contains(&new.rows), "{new:?}");
    assert_eq!(lines(&bench.landing, COUNT).await, "501 501 501");
    assert!(tickets.asked_since()[before..].iter().all(|since| since.as_str() > "2026-01-10"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_was_refused_is_told_and_read_later() {
    let Some(program) = program("AAM_DECLARATIVE_MANIFEST", "source-declarative-manifest") else { return };
    let tickets = Tickets::serve(10, 50).await;
    let (bench, _root) = of_tickets(&program, &tickets).await;
    let id = bench.configure(vec![bench.stream("tickets", IncrementalAppendDedup).await]).await;
    tickets.refuse_from("2026-01-08");
    bench.engine.start_sync(&bench.order(&id)).await.unwrap();
    let failed = bench.ended(&id).await;
    let why = failed.error.unwrap();
    assert!(failed.state == JobState::Failed && why.contains("403") && !why.contains("hunter2secret"), "{why}");
    let kept = lines(&bench.landing, "SELECT count(*)::text FROM tickets").await;
    assert!((50..=350).contains(&kept.parse::<u32>().unwrap()), "{kept} rows up to the last state");
    tickets.answer_again();
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, COUNT).await, "500 500 500");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_may_stand_in_the_settings_and_a_value_that_does_not_fit_is_told() {
    let Some(program) = program("AAM_DECLARATIVE_MANIFEST", "source-declarative-manifest") else { return };
    let tickets = Tickets::serve(1, 3).await;
    tickets.add("2026-01-01T23:00:00Z");
    let manifest: Value = serde_yaml::from_str(MANIFEST).unwrap();
    let settings = json!({"base_url": tickets.url, "api_key": "hunter2secret", "until": "2026-01-10T23:59:59Z",
        "__injected_declarative_manifest": manifest.clone()});
    let bench = reading(&program, settings, json!({}), Path::new(".")).await;
    bench.engine.check(&bench.source_handle).await.unwrap();
    let wrong = json!({"base_url": tickets.url, "api_key": "open", "__injected_declarative_manifest": manifest});
    let wrong = handle("published", "airbyte", json!({"command": [program], "config": wrong}));
    insta::assert_snapshot!(bench.engine.check(&wrong).await.unwrap_err(), @"check of source published: `api_key` is a secret: write a reference, for example ${env:NAME}, and not the value; `until` is missing");
    assert!(tickets.asked_since().iter().all(|since| !since.is_empty()), "nothing was sent with them");

    let id = bench.configure(vec![bench.stream("tickets", FullRefreshOverwrite).await]).await;
    bench.sync_ok(&id).await;
    // the added one has a word where the manifest promises a number
    let rows = "SELECT id || ' ' || coalesce(priority::text, 'null') || ' ' || (_airbyte_meta -> 'changes')
        FROM tickets ORDER BY id";
    insta::assert_snapshot!(lines(&bench.landing, rows).await, @r#"
    0 0 []
    1 1 []
    2 2 []
    3 null [{"field": "priority", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}]
    "#);
}
