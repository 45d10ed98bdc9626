//! Addresses, tokens, versions and the shapes of errors.

use aam::engine::airbyte::error::Fate;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::standin::faults::{Fault, When};

#[tokio::test]
async fn whatever_is_outside_the_api_is_the_web_page_with_200() {
    let bench = Bench::new("1.8").await;
    for path in ["/", "/v1/health", "/workspaces/x", "/apiv1/health"] {
        let answer = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = answer.get(format!("{}{path}", bench.standin.url)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, "text/html"));
    }
    bench.finish();
}

#[tokio::test]
async fn one_token_serves_both_apis() {
    let bench = Bench::new("1.8").await;
    bench.api.workspaces().await.unwrap();
    bench.api.actors(SOURCE, bench.workspace).await.unwrap();
    assert_eq!(bench.standin.calls("POST /public/v1/applications/token"), 1);
    bench.finish();
}

#[tokio::test]
async fn a_token_lives_3_minutes_up_to_1_5_and_15_from_1_6() {
    for (version, life) in [("1.5", 180), ("1.6", 900)] {
        let bench = Bench::new(version).await;
        let body = json!({"client_id": "client", "client_secret": "secret", "grant_type": "client_credentials",
            "grant-type": "client_credentials"});
        let token = bench.public(Method::POST, "/applications/token", Some(body)).await.unwrap();
        assert_eq!(token["expires_in"], life);
        bench.finish();
    }
}

#[tokio::test]
async fn an_expired_token_is_401_and_a_new_one_is_fetched() {
    let bench = Bench::new("1.8").await;
    bench.api.workspaces().await.unwrap();
    bench.standin.edit(|state| state.tokens.clear());
    bench.api.workspaces().await.unwrap();
    assert_eq!(bench.standin.edit(|state| state.tokens_given), 2);
    let refused = bench.standin.log().iter().filter(|entry| entry.status == Some(401)).count();
    assert_eq!(refused, 1);
    bench.standin.script("POST /v1/sources/list", When::Always, Fault::RefuseToken);
    let error = bench.api.actors(SOURCE, bench.workspace).await.unwrap_err();
    assert_eq!(error.fate, Fate::Refused, "a second 401 is a real failure");
    assert_eq!(bench.standin.calls("POST /v1/sources/list"), 2);
    bench.finish();
}

#[tokio::test]
async fn bad_credentials_answer_400_or_401_or_500_depending_on_the_version() {
    for (version, status) in [("0.63", 500), ("1.0", 400), ("2.0", 400), ("2.1", 401)] {
        let bench = Bench::new(version).await;
        let body = json!({"client_id": "client", "client_secret": "wrong"});
        let url = format!("{}/api/v1/applications/token", bench.standin.url);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{version}");
        bench.finish();
    }
}

#[tokio::test]
async fn an_installation_without_authentication_needs_no_token() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|state| state.credentials = None);
    let api = client(&bench.standin.url, None);
    api.workspaces().await.unwrap();
    assert_eq!(api.client.instance().await.unwrap().auth, "none");
    bench.finish();
}

#[tokio::test]
async fn basic_auth_is_refused_from_1_0() {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (version, status) in [("0.63", 200), ("1.0", 401)] {
        let bench = Bench::new(version).await;
        let url = format!("{}/api/v1/source_definitions/list_for_workspace", bench.standin.url);
        let body = json!({"workspaceId": bench.workspace});
        let answer = http.post(url).basic_auth("airbyte", Some("password")).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{version}");
        bench.finish();
    }
}

#[tokio::test]
async fn a_reader_may_read_and_gets_403_for_writes_discovers_and_checks() {
    let bench = Bench::new("1.6").await;
    bench.standin.edit(|state| state.is_editor = false);
    bench.api.actors(SOURCE, bench.workspace).await.unwrap();
    let calls = [
        bench.post("/v1/sources/delete", json!({"sourceId": bench.source})).await,
        bench.post("/v1/sources/discover_schema", json!({"sourceId": bench.source})).await,
        bench.post("/v1/sources/check_connection", json!({"sourceId": bench.source})).await,
    ];
    for call in calls {
        assert_eq!(call.unwrap_err().fate, Fate::Answered(403));
    }
    bench.finish();
}

/// What an unknown source, a malformed id, an absent field and a busy connection are answered with.
async fn refusals(version: &str) -> String {
    let bench = Bench::new(version).await;
    bench.standin.edit(|state| state.hold_jobs = true);
    let connection = bench.connection("full_refresh", "overwrite").await;
    bench.api.sync(connection).await.unwrap();
    let unknown = Uuid::nil();
    let mut said = vec![
        bench.post("/v1/sources/get", json!({"sourceId": unknown})).await.unwrap_err(),
        bench.post("/v1/connections/sync", json!({"connectionId": connection})).await.unwrap_err(),
        bench.public(Method::GET, &format!("/sources/{unknown}"), None).await.unwrap_err(),
    ];
    let start = json!({"connectionId": connection, "jobType": "sync"});
    said.push(bench.public(Method::POST, "/jobs", Some(start)).await.unwrap_err());
    assert_eq!(bench.standin.violations(), Vec::<String>::new());
    said.push(bench.post("/v1/sources/get", json!({})).await.unwrap_err());
    said.push(bench.post("/v1/sources/get", json!({"sourceId": "x"})).await.unwrap_err());
    said.push(bench.post("/v1/nonsense/get", json!({})).await.unwrap_err());
    let said: Vec<String> =
        said.iter().map(|e| e.to_string().replace(&connection.to_string(), "<connection>")).collect();
    said.join("\n")
}

#[tokio::test]
async fn errors_have_the_shapes_of_their_api_and_version() {
    insta::assert_snapshot!(refusals("0.63").await, @r#"
    POST /v1/sources/get: 404 Could not find source 00000000-0000-0000-0000-000000000000 (IdNotFoundKnownException)
    POST /v1/connections/sync: 409 A sync is already running for: <connection> (ValueConflictKnownException)
    GET /public/sources/00000000-0000-0000-0000-000000000000: 404 {"status":404,"type":"about:blank"}
    POST /public/jobs: 409 A sync is already running for: <connection> (try-again-later)
    POST /v1/sources/get: 400 Required property 'sourceId' is missing (BadRequestException)
    POST /v1/sources/get: 422 an id is no UUID (UnprocessableEntity)
    POST /v1/nonsense/get: 404 Page Not Found
    "#);
    insta::assert_snapshot!(refusals("1.8").await, @"
    POST /v1/sources/get: 404 Could not find source 00000000-0000-0000-0000-000000000000 (IdNotFoundKnownException)
    POST /v1/connections/sync: 409 A sync is already running for: <connection> (ValueConflictKnownException)
    GET /public/sources/00000000-0000-0000-0000-000000000000: 404 no source 00000000-0000-0000-0000-000000000000 (source 00000000-0000-0000-0000-000000000000) (resource-not-found)
    POST /public/jobs: 409 A sync is already running for: <connection> (try-again-later)
    POST /v1/sources/get: 400 Required property 'sourceId' is missing (BadRequestException)
    POST /v1/sources/get: 422 an id is no UUID (UnprocessableEntity)
    POST /v1/nonsense/get: 404 Page Not Found
    ");
    insta::assert_snapshot!(refusals("2.0").await, @"
    POST /v1/sources/get: 404 Airbyte keeps the reason in its server log under errorId 9fbb4c33-87d6-5b7c-8e72-95bd5b2f5d33
    POST /v1/connections/sync: 409 A sync is already running for: <connection> (ValueConflictKnownException)
    GET /public/sources/00000000-0000-0000-0000-000000000000: 404 no source 00000000-0000-0000-0000-000000000000 (source 00000000-0000-0000-0000-000000000000) (resource-not-found)
    POST /public/jobs: 409 A sync is already running for: <connection> (try-again-later)
    POST /v1/sources/get: 400 Airbyte keeps the reason in its server log under errorId 466ff1f2-c0d9-58cb-9bbd-786b5dc8ca7f
    POST /v1/sources/get: 422 Airbyte keeps the reason in its server log under errorId 4ac610b0-9579-50a0-9542-a8bccb40cc2a
    POST /v1/nonsense/get: 404 Page Not Found
    ");
}

#[tokio::test]
async fn malformed_json_is_422_and_a_body_over_10_mb_is_413() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|state| state.credentials = None);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/v1/sources/get", bench.standin.url);
    for (body, status) in [("{".to_owned(), 422), (" ".repeat((10 << 20) + 1), 413)] {
        let answer = http.post(&url).header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
    bench.finish();
}

#[tokio::test]
async fn workspaces_list_exists_only_up_to_1_6() {
    for (version, there) in [("1.6", true), ("1.7", false)] {
        let bench = Bench::new(version).await;
        let found = bench.post("/v1/workspaces/list", json!({})).await;
        assert_eq!(found.is_ok(), there, "{version}");
        bench.finish();
    }
}

#[tokio::test]
async fn workspaces_are_read_to_the_last_page_whichever_api_there_is() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|state| {
        for n in 0..205 {
            state.add_workspace(&format!("w{n}"));
        }
    });
    assert_eq!(bench.api.workspaces().await.unwrap().len(), 206);
    // a proxy that lets the Config API through only
    bench.standin.script(
        "GET /public/v1/health",
        When::Always,
        Fault::Refuse(404, crate::standin::answer::Shape::Page),
    );
    let api = client(&bench.standin.url, Some(("client", "secret")));
    assert_eq!(api.workspaces().await.unwrap().len(), 206);
    bench.finish();
}

#[tokio::test]
async fn the_organization_is_always_the_nil_one() {
    let bench = Bench::new("1.8").await;
    let refused = Fault::Refuse(404, crate::standin::answer::Shape::Page);
    bench.standin.script("GET /public/v1/health", When::Always, refused);
    let api = client(&bench.standin.url, Some(("client", "secret")));
    assert_eq!(api.workspaces().await.unwrap().len(), 1);
    let other = json!({"organizationId": Uuid::from_u128(7), "pagination": {"pageSize": 20, "rowOffset": 0}});
    let error = bench.post("/v1/workspaces/list_by_organization_id", other).await.unwrap_err();
    assert_eq!(error.fate, Fate::Answered(404));
    bench.finish();
}

#[tokio::test]
async fn next_is_ignored_and_the_offset_raised_by_whole_pages_until_one_is_short() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|state| (0..205).map(|n| state.add_workspace(&format!("w{n}"))).count());
    assert_eq!(bench.api.workspaces().await.unwrap().len(), 206);
    let log = bench.standin.log();
    let pages: Vec<_> = log.iter().filter(|e| e.path == "/public/v1/workspaces").map(|e| e.query.as_str()).collect();
    assert_eq!(pages, ["limit=100&offset=0", "limit=100&offset=100", "limit=100&offset=200"]);
    bench.finish();
}

#[tokio::test]
async fn the_log_tells_reads_from_writes() {
    let bench = Bench::new("1.8").await;
    bench.api.workspaces().await.unwrap();
    bench.api.definitions(SOURCE, bench.workspace).await.unwrap();
    bench.api.actors(SOURCE, bench.workspace).await.unwrap();
    bench.api.check(SOURCE, bench.source).await.unwrap();
    bench.api.discover(bench.source).await.unwrap();
    bench.api.connections(bench.workspace).await.unwrap();
    assert_eq!(bench.standin.writes(), Vec::<String>::new());
    let id = bench.connection("full_refresh", "append").await;
    bench.api.jobs(id, 1).await.unwrap();
    bench.api.update_connection(json!({"connectionId": id, "name": "x"})).await.unwrap();
    bench.api.delete(ObjectKind::Connection, id).await.unwrap();
    bench.public(Method::DELETE, &format!("/sources/{}", bench.source), None).await.unwrap();
    insta::assert_snapshot!(bench.standin.writes().join("\n").replace(&bench.source.to_string(), "<source>"), @"
    POST /v1/connections/create
    POST /v1/web_backend/connections/update
    POST /v1/connections/delete
    DELETE /public/v1/sources/<source>
    ");
    bench.finish();
}
