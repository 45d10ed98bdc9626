//! `aam doctor` with Airbyte as the engine: what it finds, how to mend it, and that it writes nothing.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;

use super::ground;
use crate::standin::Standin;
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::support::world::World;

/// A repository with a source and a destination as Airbyte's connectors want them.
async fn world(url: &str) -> World {
    let mut world = World::with_crm("").await;
    world.env = ground::environment(url);
    ground::set(&mut world, &[("CRM_PASSWORD", "c4nary")]);
    source(&world, "password: \"${env:CRM_PASSWORD}\"");
    let warehouse = settings(&world.warehouse.name, "password: \"${env:CRM_PASSWORD}\", schema: public");
    world.write("connectors.d/warehouse.yaml", &format!("kind: destination\ntype: postgres\nconfig: {warehouse}\n"));
    world.commit("by Airbyte");
    world
}

fn settings(database: &str, more: &str) -> String {
    let host = crate::support::cluster().display();
    format!("{{host: {host}, port: 5432, database: {database}, username: postgres, {more}}}")
}

/// Writes the connection with these settings of its source beside the usual ones.
fn source(world: &World, more: &str) {
    let text = format!(
        "kind: connection\nsource:\n  type: postgres\n  config: {}\ndestination: warehouse\nschedule: manual\nmapping: crm\n",
        settings(&world.source.name, more)
    );
    world.write("connectors.d/crm.yaml", &text);
}

fn set(world: &mut World, name: &str, value: Option<&str>) {
    world.env.retain(|(known, _)| known != name);
    world.env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
}

/// What it says about Airbyte, sources and destinations.
fn doctor(world: &World, url: &str, code: i32) -> String {
    let ran = world.aam(&["doctor"]);
    assert_eq!(ran.code, code, "{}", ran.out);
    assert!(!format!("{ran:?}").contains("c4nary"), "{ran:?}");
    let about = ["airbyte", "source", "destination", "settings", "everything"];
    let mut out = Vec::new();
    let mut shown = false;
    for line in ran.out.lines().skip_while(|line| line.contains(" = ")) {
        if !line.starts_with(' ') {
            let check = line.split_once("  ").map_or("", |(_, rest)| rest.trim_start());
            shown = about.iter().any(|word| check.starts_with(word));
        }
        if shown {
            out.push(line.replace(url, "http://airbyte"));
        }
    }
    out.join("\n")
}

/// A server that passes on what lies below `/data/airbyte`, and has a page of its own for the rest.
async fn proxy(to: &str) -> String {
    aam::wiring::install_tls();
    let to = to.to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let pass = async move |request: Request| {
        let (head, body) = request.into_parts();
        let Some(rest) = head.uri.path_and_query().and_then(|p| p.as_str().strip_prefix("/data/airbyte")) else {
            return Response::builder()
                .header("content-type", "text/html")
                .body(Body::from("<html>data</html>"))
                .unwrap();
        };
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let mut headers = head.headers;
        headers.remove("host");
        let sent = http.request(head.method, format!("{to}{rest}")).headers(headers).body(body).send().await.unwrap();
        let kind = sent.headers()["content-type"].clone();
        let answer = Response::builder().status(sent.status()).header("content-type", kind);
        answer.body(Body::from(sent.bytes().await.unwrap())).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(pass)).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_the_installation_and_tries_the_settings_without_writing() {
    let standin = Standin::start("1.8").await;
    let mut world = world(&standin.url).await;
    insta::assert_snapshot!(doctor(&world, &standin.url, 0), @"
    pass     airbyte: version 1.8.0 (community) at http://airbyte/api, authentication simple, Config and public API answer
    pass     airbyte credentials: they may read, 0 connections were seen; [engine] mode is observe: nothing is written
    pass     airbyte workspaces: tenant default: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1)
    pass     destination warehouse: postgres answers Airbyte's check of its settings
    pass     source crm: postgres answers Airbyte's check of its settings
    ");
    set(&mut world, "AAM_ENGINE__MODE", Some("manage"));
    let said = doctor(&world, &standin.url, 0);
    insta::assert_snapshot!(said.lines().find(|line| line.contains("credentials")).unwrap(), @"pass     airbyte credentials: they may read, 0 connections were seen; [engine] mode is manage: that takes the role of an editor, as the checks of sources and destinations below do");
    assert_eq!(standin.writes(), Vec::<String>::new());
    standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_behind_a_proxys_prefix_without_authentication() {
    let standin = Standin::start("1.0").await;
    standin.edit(|state| state.credentials = None);
    let proxy = proxy(&standin.url).await;
    let mut world = world(&format!("{proxy}/data/airbyte/")).await;
    set(&mut world, "AAM_AIRBYTE__CLIENT_ID", None);
    set(&mut world, "AAM_AIRBYTE__CLIENT_SECRET", None);
    insta::assert_snapshot!(doctor(&world, &proxy, 0), @"
    pass     airbyte: version 1.0.0 (community) at http://airbyte/data/airbyte/api, authentication none, Config and public API answer
    pass     airbyte credentials: none are set, and none are asked for, 0 connections were seen; [engine] mode is observe: nothing is written
    pass     airbyte workspaces: tenant default: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1)
    pass     destination warehouse: postgres answers Airbyte's check of its settings
    pass     source crm: postgres answers Airbyte's check of its settings
    ");
    set(&mut world, "AAM_AIRBYTE__URL", Some(&proxy));
    insta::assert_snapshot!(doctor(&world, &proxy, 1), @"
    fail     airbyte: GET /v1/health: a web page came instead of an answer of the API: set [airbyte] url to the address of the API
             mend: correct [airbyte] url: the address of Airbyte's web page, without what follows the host but with a proxy's prefix
    skipped  airbyte credentials: Airbyte does not answer
    skipped  airbyte workspaces: Airbyte does not answer
    skipped  destination warehouse: its secrets are at hand; Airbyte, which would try it, cannot be asked
    skipped  source crm: its secrets are at hand; Airbyte, which would try it, cannot be asked
    ");
    standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_of_which_only_the_config_api_answers() {
    let standin = Standin::start("1.6").await;
    for call in ["GET /public/*", "POST /public/*", "GET /v1/instance_configuration"] {
        standin.script(call, When::Always, Fault::Refuse(404, Shape::Page));
    }
    let world = world(&standin.url).await;
    insta::assert_snapshot!(doctor(&world, &standin.url, 0), @"
    pass     airbyte: version unknown at http://airbyte/api, authentication not told, only the Config API answers
    pass     airbyte credentials: they may read, 0 connections were seen; [engine] mode is observe: nothing is written
    pass     airbyte workspaces: tenant default: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1)
    pass     destination warehouse: postgres answers Airbyte's check of its settings
    pass     source crm: postgres answers Airbyte's check of its settings
    ");
    assert_eq!(standin.calls("GET /public/v1/health"), 1, "asked once");
    standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missing_setting_is_named_at_once() {
    let mut world = world("").await;
    set(&mut world, "AAM_AIRBYTE__URL", None);
    set(&mut world, "AAM_AIRBYTE__CLIENT_ID", None);
    set(&mut world, "AAM_AIRBYTE__CLIENT_SECRET", None);
    insta::assert_snapshot!(doctor(&world, "http://airbyte", 1), @r#"
    fail     settings: the settings cannot be used
             error[AAM-C004]: the engine is Airbyte, and `airbyte.url` is not set
               = help: the address of the web page, for example `url = "http://localhost:8000"` (`abctl local status` shows it); `aam explain AAM-C004` has the background
             
             error[AAM-C004]: the engine is Airbyte, and `airbyte.client_id` is not set
               = help: `abctl local credentials` shows client id and secret; the web page makes more under Settings, Applications; leave both out if authentication is switched off; `aam explain AAM-C004` has the background
             
             error[AAM-C004]: the engine is Airbyte, and `airbyte.client_secret` is not set
               = help: as `client_secret = "${env:AIRBYTE_CLIENT_SECRET}"`; `abctl local credentials` shows client id and secret; the web page makes more under Settings, Applications; `aam explain AAM-C004` has the background
             mend: correct the settings; `aam explain` has the background of each code
    skipped  everything else: it depends on the settings
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_named() {
    let standin = Standin::start("1.8").await;
    let mut world = world(&standin.url).await;
    set(&mut world, "AIRBYTE_SECRET", None);
    insta::assert_snapshot!(doctor(&world, &standin.url, 1), @"
    fail     airbyte: secret ${env:AIRBYTE_SECRET}: the variable AIRBYTE_SECRET is not set where aam runs
             mend: correct [airbyte]; the secrets that it refers to must be in aam's own environment
    skipped  airbyte credentials: the settings cannot be used
    skipped  airbyte workspaces: the settings cannot be used
    skipped  destination warehouse: its secrets are at hand; Airbyte, which would try it, cannot be asked
    skipped  source crm: its secrets are at hand; Airbyte, which would try it, cannot be asked
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_or_the_credentials_are_wrong_or_missing() {
    let mut world = world("http://127.0.0.1:1").await;
    insta::assert_snapshot!(doctor(&world, "http://127.0.0.1:1", 1), @"
    fail     airbyte: GET /v1/health: no connection to Airbyte: Connection refused (os error 111)
             mend: start Airbyte (`abctl local status` shows it), or correct [airbyte] url
    skipped  airbyte credentials: Airbyte does not answer
    skipped  airbyte workspaces: Airbyte does not answer
    skipped  destination warehouse: its secrets are at hand; Airbyte, which would try it, cannot be asked
    skipped  source crm: its secrets are at hand; Airbyte, which would try it, cannot be asked
    ");
    for version in ["1.8", "2.1"] {
        let standin = Standin::start(version).await;
        set(&mut world, "AAM_AIRBYTE__URL", Some(&standin.url));
        set(&mut world, "AIRBYTE_SECRET", Some("another"));
        let said = doctor(&world, &standin.url, 1);
        assert!(said.contains("fail     airbyte credentials: POST /public/applications/token: "), "{said}");
        assert!(said.contains("mend: correct [airbyte] client_id and client_secret"), "{said}");
        standin.finish();
    }
    let standin = Standin::start("1.8").await;
    set(&mut world, "AAM_AIRBYTE__URL", Some(&standin.url));
    set(&mut world, "AAM_AIRBYTE__CLIENT_ID", None);
    set(&mut world, "AAM_AIRBYTE__CLIENT_SECRET", None);
    insta::assert_snapshot!(doctor(&world, &standin.url, 1), @"
    pass     airbyte: version 1.8.0 (community) at http://airbyte/api, authentication simple, Config and public API answer
    fail     airbyte credentials: GET /public/workspaces: 401 Unauthorized
             mend: set [airbyte] client_id and client_secret: this installation asks for them; `abctl local credentials` shows both
    skipped  airbyte workspaces: Airbyte does not let us look
    skipped  destination warehouse: its secrets are at hand; Airbyte, which would try it, cannot be asked
    skipped  source crm: its secrets are at hand; Airbyte, which would try it, cannot be asked
    ");
    standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_that_are_none_several_or_of_other_tenants() {
    let standin = Standin::start("1.8").await;
    let mut world = world(&standin.url).await;
    let workspaces =
        |said: String| said.lines().skip_while(|l| !l.contains("workspaces")).collect::<Vec<_>>().join("\n");
    standin.edit(|state| state.add_workspace("Team B"));
    insta::assert_snapshot!(workspaces(doctor(&world, &standin.url, 1)), @r#"
    fail     airbyte workspaces: tenant default: Airbyte has 2 workspaces, and none is chosen for it
             mend: write TENANT = "ID" below [airbyte.workspaces]; these are there: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1), Team B (42237cea-43ac-5b5f-abf0-96ab0df6ffd2)
    skipped  destination warehouse: its secrets are at hand; its tenant has no workspace, see above
    skipped  source crm: its secrets are at hand; its tenant has no workspace, see above
    "#);
    let first = standin.edit(|state| state.workspaces[0].id);
    let map = format!("{{default = \"{first}\", acme = \"00000000-0000-0000-0000-00000000dead\"}}");
    set(&mut world, "AAM_AIRBYTE__WORKSPACES", Some(&map));
    insta::assert_snapshot!(workspaces(doctor(&world, &standin.url, 1)), @r#"
    fail     airbyte workspaces: tenant acme: there is no workspace 00000000-0000-0000-0000-00000000dead for these credentials
             tenant default: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1)
             mend: write TENANT = "ID" below [airbyte.workspaces]; these are there: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1), Team B (42237cea-43ac-5b5f-abf0-96ab0df6ffd2)
    pass     destination warehouse: postgres answers Airbyte's check of its settings
    pass     source crm: postgres answers Airbyte's check of its settings
    "#);
    set(&mut world, "AAM_AIRBYTE__WORKSPACES", None);
    standin.edit(|state| state.workspaces.clear());
    insta::assert_snapshot!(workspaces(doctor(&world, &standin.url, 1)), @"
    fail     airbyte workspaces: tenant default: Airbyte shows no workspace to these credentials
             mend: make one in Airbyte, or use credentials that see one
    skipped  destination warehouse: its secrets are at hand; its tenant has no workspace, see above
    skipped  source crm: its secrets are at hand; its tenant has no workspace, see above
    ");
    standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_specification_misses_is_said_before_anything_is_tried() {
    let standin = Standin::start("1.8").await;
    let world = world(&standin.url).await;
    standin.edit(|state| {
        let mut orders = state.definitions[0].clone();
        (orders.id, orders.name, orders.repository) = (uuid::Uuid::nil(), "Orders".into(), "acme/source-orders".into());
        state.definitions.push(orders);
    });
    source(&world, "schemas: [public]");
    let text = world.read("connectors.d/crm.yaml").replace("port: 5432, ", "").replace("username: postgres, ", "");
    // a connector that aam itself knows nothing of
    let text = text.replace("type: postgres", "type: acme/source-orders");
    world.write("connectors.d/crm.yaml", &text);
    world.commit("less");
    let checked = |said: String| said.lines().skip_while(|l| !l.contains("source crm")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(checked(doctor(&world, &standin.url, 1)), @"
    fail     source crm: checking source crm: `port` is missing; `username` is missing
             mend: correct its settings or secrets, or start what it names
    ");
    source(&world, "password: \"${env:CRM_PASSWORD}\"");
    world.commit("all of it");
    let no = r#"{"status": "failed", "message": "password c4nary was refused", "jobInfo": {"succeeded": true}}"#;
    standin.script("POST /v1/scheduler/sources/check_connection", When::Always, Fault::Body(no.to_owned()));
    insta::assert_snapshot!(checked(doctor(&world, &standin.url, 1)), @"
    fail     source crm: checking source crm: password *** was refused
             mend: correct its settings or secrets, or start what it names
    ");
    assert_eq!(standin.writes(), Vec::<String>::new());
    standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_check_is_said_to_run_and_a_reader_to_lack_the_role() {
    let standin = Standin::start("1.8").await;
    let world = world(&standin.url).await;
    standin.script(
        "POST /v1/scheduler/sources/check_connection",
        When::Always,
        Fault::Latency(Duration::from_secs(60)),
    );
    standin.script(
        "POST /v1/scheduler/destinations/check_connection",
        When::Always,
        Fault::Refuse(403, Shape::Framework),
    );
    insta::assert_snapshot!(doctor(&world, &standin.url, 1), @"
    pass     airbyte: version 1.8.0 (community) at http://airbyte/api, authentication simple, Config and public API answer
    pass     airbyte credentials: they may read, 0 connections were seen; [engine] mode is observe: nothing is written
    pass     airbyte workspaces: tenant default: Default Workspace (5248f2a1-f3c9-51a7-a15d-d334f42abea1)
    fail     destination warehouse: checking destination warehouse: POST /v1/scheduler/destinations/check_connection: 403 a fault of the script (scripted)
             mend: give the application the role of an editor: Airbyte lets no reader run a connector
    look     source crm: its check still runs in Airbyte after 10 s
             mend: ask again later; it is done when it answers at once
    ");
}
