//! `aam import airbyte`: the real binary against an installation that people filled by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::ground;
use crate::standin::Standin;
use crate::standin::connections;
use crate::support::world::World;

/// Stored in the stand-in behind masks; must be seen nowhere.
const CANARY: &str = "c4nary-S3cret/value+1";

pub(super) struct Bench {
    pub(super) world: World,
    pub(super) standin: Standin,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let mut world = World::new("").await;
        let standin = Standin::start("1.8").await;
        // connectors with the settings of PostgreSQL's that connect to nothing
        standin.edit(|state| {
            for (of, repository) in
                [("source-postgres", "airbyte/source-crm"), ("destination-postgres", "airbyte/destination-lake")]
            {
                let mut own = state.definitions.iter().find(|d| d.repository.ends_with(of)).unwrap().clone();
                own.id = state.new_id();
                own.repository = repository.into();
                own.name = repository.into();
                state.definitions.push(own);
            }
        });
        world.env = ground::environment(&standin.url);
        Self { world, standin }
    }

    pub(super) fn warehouse(&self, name: &str) -> Uuid {
        let settings = json!({"host": "dw.example.com", "port": 5432, "database": "dw", "username": "aam",
            "password": CANARY, "schema": "public"});
        self.standin.edit(|state| state.add_actor("airbyte/destination-lake", name, settings))
    }

    pub(super) fn source(&self, name: &str) -> Uuid {
        let settings = json!({"host": "crm.example.com", "port": 5432, "database": "01234", "username": "true",
            "password": CANARY, "schemas": ["public"], "jdbc_url_params": "a=${b}&c",
            "ssl_mode": {"mode": "verify-ca", "ca_certificate": CANARY},
            "tunnel_method": {"tunnel_method": "SSH_KEY_AUTH", "tunnel_host": "hop", "ssh_key": CANARY}});
        self.standin.edit(|state| {
            let id = state.add_actor("airbyte/source-crm", name, settings);
            state.conduct(id).streams =
                [accounts(), small("weird.na/me"), small("orders"), small("notes")].map(|e| e["stream"].clone()).into();
            id
        })
    }

    /// A connection as a person saved it, `more` laid over it.
    pub(super) fn connect(&self, name: &str, ends: (Uuid, Uuid), streams: &[Value], more: &Value) -> Uuid {
        let mut body = json!({"name": name, "sourceId": ends.0, "destinationId": ends.1, "status": "active",
            "scheduleType": "manual", "namespaceDefinition": "destination", "syncCatalog": {"streams": streams}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.standin.edit(|state| connections::create(state, &body).map_err(|_| "refused").unwrap())
    }

    /// From now on git decides of this connection; all secrets are at hand.
    fn raise(&mut self, path: &str) {
        let secrets = self.world.read("import/secrets.todo.yaml");
        let names = secrets.lines().filter(|line| line.starts_with("AIRBYTE_")).map(|line| line.replace(':', ""));
        self.world.env.extend(names.map(|name| (name, CANARY.to_owned())));
        self.world.env.push(("AAM_ENGINE__MODE".into(), "manage".into()));
        self.world.write(path, &self.world.read(path).replace("mode: observe", "mode: manage"));
        self.world.commit("git decides");
    }

    fn files(&self) -> String {
        let mut out = String::new();
        let all = self.world.git(&["ls-files", "--others", "--exclude-standard"]);
        for path in all.lines() {
            out.push_str(&format!("== {path}\n{}", self.world.read(path)));
        }
        out
    }

    pub(super) fn finish(self) {
        let all = format!("{}{:?}", self.world.git(&["log", "-p"]), self.files());
        assert!(!all.contains(CANARY));
        self.standin.finish();
    }
}

pub(super) fn accounts() -> Value {
    let properties = json!({"id": {"type": "integer"}, "name": {"type": ["null", "string"]},
        "updated_at": {"type": ["string", "null"], "format": "date-time"}, "ssn": {"type": ["null", "string"]}});
    let mut stream = Standin::stream("accounts", &properties);
    stream["namespace"] = json!("public");
    entry(&stream, "incremental", "append_dedup", &json!(["updated_at"]), &json!([["id"]]))
}

fn entry(stream: &Value, sync: &str, destination: &str, cursor: &Value, key: &Value) -> Value {
    json!({"config": {"selected": true, "aliasName": stream["name"], "syncMode": sync,
        "destinationSyncMode": destination, "cursorField": cursor, "primaryKey": key, "fieldSelectionEnabled": false,
        "selectedFields": [], "mappers": []}, "stream": stream})
}

/// One stream of two fields.
pub(super) fn small(name: &str) -> Value {
    let stream = Standin::stream(name, &json!({"id": {"type": "integer"}, "note": {"type": ["null", "string"]}}));
    entry(&stream, "full_refresh", "overwrite", &json!(["note"]), &json!([]))
}

/// Three connections of two sources, with all that people do.
async fn mixed() -> Bench {
    let bench = Bench::new().await;
    let (crm, warehouse) = (bench.source("CRM"), bench.warehouse("Warehouse"));
    let faker = json!({"count": 10});
    let faker = bench.standin.edit(|state| {
        let id = state.add_actor("airbyte/source-faker", "Warehouse", faker);
        state.conduct(id).streams = vec![small("users")["stream"].clone()];
        id
    });
    let mut selective = accounts();
    selective["config"]["fieldSelectionEnabled"] = json!(true);
    selective["config"]["selectedFields"] =
        json!([{"fieldPath": ["id"]}, {"fieldPath": ["name"]}, {"fieldPath": ["updated_at"]}]);
    selective["config"]["mappers"] = json!([{"type": "hashing", "mapperConfiguration":
        {"targetField": "name", "method": "SHA-256", "fieldNameSuffix": "_hashed"}}]);
    let tag = bench.standin.edit(|state| {
        let (id, workspace) = (state.new_id(), state.workspaces[0].id);
        state.tags.push(crate::standin::state::Tag { id, workspace, name: "team-a".into(), color: "112233".into() });
        json!({"tagId": id, "workspaceId": workspace, "name": "team-a", "color": "112233"})
    });
    bench.connect(
        "CRM → Warehouse",
        (crm, warehouse),
        &[selective, small("weird.na/me")],
        &json!({"scheduleType": "cron", "scheduleData": {"cron": {"cronExpression": "0 30 2 ? * MON-FRI",
            "cronTimeZone": "Europe/Berlin"}}, "prefix": "raw_", "namespaceDefinition": "customformat",
            "namespaceFormat": "${SOURCE_NAMESPACE}_x", "tags": [tag], "nonBreakingChangesPreference": "propagate_columns",
            "backfillPreference": "enabled", "resourceRequirements": {"cpu_limit": "2", "memory_limit": "1Gi"}}),
    );
    bench.connect(
        "'quoted\"\n- [x]: ../${HOME} # \u{202e}",
        (crm, warehouse),
        &[entry(&small("orders")["stream"], "full_refresh", "overwrite_dedup", &json!([]), &json!([["id"]]))],
        &json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": {"timeUnit": "months", "units": 1}},
            "namespaceDefinition": "source", "status": "inactive"}),
    );
    bench.connect("Warehouse", (faker, warehouse), &[small("users")], &json!({}));
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_workspace_is_written_as_it_is_and_observed_without_a_write() {
    let bench = mixed().await;
    let world = &bench.world;
    let dry = world.aam(&["import", "airbyte", "--dry-run"]);
    assert_eq!((dry.code, bench.files().as_str()), (0, ""), "{dry:#?}");
    let ran = world.aam(&["import", "airbyte"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, dry.out.as_str()), "{ran:#?}");
    insta::assert_snapshot!(format!("{}{}", ran.out, ran.talk), @r#"
    + connectors.d/crm-warehouse.yaml  CRM → Warehouse
    + connectors.d/quoted-x-home.yaml  'quoted"\n- [x]: ../${HOME} # \u{202e}
    + connectors.d/warehouse.yaml  Warehouse
    Import: 3 connections, 2 sources, 1 destination written; 0 there already, 0 left out
    Proof: the plans of 3 connections are empty, of 0 not; nothing was written to Airbyte
    Next: import/secrets.todo.yaml has 4 secrets to set before a connection is managed
    Next: `git add connectors.d import`, `aam check`, commit, and `aam run`: it observes and writes nothing
    "#);
    insta::assert_snapshot!(bench.files(), @r#"
    == connectors.d/crm-warehouse.lock.yaml
    # Written by aam. The approved schema of connection crm-warehouse; a change is approved by merging it.
    id: e87f6c47-77de-5782-b3d3-4d481035f221
    version: 1
    fingerprint: s1:5766e74b6892bf94b605f26115f9e189ee8f1a3fd22ad47ba9f544bb6c2281c0
    streams:
      '"weird.na/me"':
        key: [id]
        cursor: any
        modes: [full_refresh, incremental]
        fields:
          id: integer
          note: string
      public/accounts:
        key: [id]
        cursor: any
        modes: [full_refresh, incremental]
        fields:
          id: integer
          name: string
          updated_at: timestamp_tz
    == connectors.d/crm-warehouse.yaml
    # Imported from Airbyte. `mode: manage` lets git decide from then on; `aam plan` says what that writes.
    # Airbyte acts on changes of the source by itself now (propagate_columns); with `mode: manage` it is told to ignore them.
    kind: connection
    mode: observe
    source: crm
    destination: warehouse-destination
    schedule: {quartz: '0 30 2 ? * MON-FRI', timezone: Europe/Berlin}
    streams:
      '"weird.na/me"': {mode: full_refresh_overwrite, key: []}
      # Airbyte maps or hashes fields of this one on their way; aam leaves that as it is.
      public/accounts: {mode: incremental_append_dedup, cursor: updated_at, fields: {include: [id, name, updated_at]}}
    airbyte:
      id: 81c7fcfb-63e8-51ec-8dbd-c2ee92120a10
      name: 'CRM → Warehouse'
      namespace: '${SOURCE_NAMESPACE}_x'
      prefix: raw_
      passthrough:
        backfillPreference: enabled
        notifySchemaChanges: false
        notifySchemaChangesByEmail: false
        onDemandEnabled: false
        resourceRequirements:
          cpu_limit: '2'
          memory_limit: '1Gi'
    == connectors.d/crm.yaml
    # Imported from Airbyte.
    kind: source
    type: airbyte/source-crm
    config:
      database: '01234'
      host: crm.example.com
      jdbc_url_params: 'a=$${b}&c'
      password: '${env:AIRBYTE_CRM_PASSWORD}'
      port: 5432
      schemas: [public]
      ssl_mode:
        ca_certificate: '${env:AIRBYTE_CRM_SSL_MODE_CA_CERTIFICATE}'
        mode: verify-ca
      tunnel_method:
        ssh_key: '${env:AIRBYTE_CRM_TUNNEL_METHOD_SSH_KEY}'
        tunnel_host: hop
        tunnel_method: SSH_KEY_AUTH
      username: 'true'
    airbyte:
      id: ddab2e5a-b29b-5db4-93b6-d69dd0771f72
      name: CRM
    == connectors.d/quoted-x-home.lock.yaml
    # Written by aam. The approved schema of connection quoted-x-home; a change is approved by merging it.
    id: 39cc1f8e-c066-5327-b4ac-3ba6e0a72deb
    version: 1
    fingerprint: s1:f607dcb5b00964c0f7cc8028ad438a0578bc83d46ae21950d0695da858557eb4
    streams:
      orders:
        key: [id]
        cursor: any
        modes: [full_refresh, incremental]
        fields:
          id: integer
          note: string
    == connectors.d/quoted-x-home.yaml
    # Imported from Airbyte. `mode: manage` lets git decide from then on; `aam plan` says what that writes.
    kind: connection
    mode: observe
    source: crm
    destination: warehouse-destination
    schedule: {every: 30d}
    streams:
      orders: {mode: full_refresh_overwrite_deduped}
    airbyte:
      id: 6a96e8f2-6b09-57aa-8b70-a7fcf1145b43
      name: "'quoted\"\n- [x]: ../$${HOME} # \U0000202e"
      status: inactive
      namespace: source
      passthrough:
        backfillPreference: disabled
        notifySchemaChanges: false
        notifySchemaChangesByEmail: false
        onDemandEnabled: false
    == connectors.d/warehouse-destination.yaml
    # Imported from Airbyte.
    kind: destination
    type: airbyte/destination-lake
    config:
      database: dw
      host: dw.example.com
      password: '${env:AIRBYTE_WAREHOUSE_DESTINATION_PASSWORD}'
      port: 5432
      schema: public
      username: aam
    airbyte:
      id: 5b4b9538-1ee5-5496-9560-ae93af305fbb
      name: Warehouse
    == connectors.d/warehouse-source.yaml
    # Imported from Airbyte.
    kind: source
    type: airbyte/source-faker
    config:
      count: 10
    airbyte:
      id: 526fecf0-650d-5749-9b4c-8f2c3c87d865
      name: Warehouse
    == connectors.d/warehouse.lock.yaml
    # Written by aam. The approved schema of connection warehouse; a change is approved by merging it.
    id: 524850a7-5e59-55b3-aa73-36adc061ee9e
    version: 1
    fingerprint: s1:d11d1793623a514b241ffe6313403986b925bc63def9b446b8cf0d67976849c2
    streams:
      users:
        key: [id]
        cursor: any
        modes: [full_refresh, incremental]
        fields:
          id: integer
          note: string
    == connectors.d/warehouse.yaml
    # Imported from Airbyte. `mode: manage` lets git decide from then on; `aam plan` says what that writes.
    kind: connection
    mode: observe
    source: warehouse-source
    destination: warehouse-destination
    schedule: manual
    streams:
      users: {mode: full_refresh_overwrite, key: []}
    airbyte:
      id: 62a97ec0-2f3e-528b-9a90-b48d01f709d5
      name: Warehouse
      namespace: destination
      passthrough:
        backfillPreference: disabled
        notifySchemaChanges: false
        notifySchemaChangesByEmail: false
        onDemandEnabled: false
    == import/secrets.todo.yaml
    # What the imported sources and destinations refer to. This file holds no secret, and aam does not read it.
    # Give each variable to `aam run` (systemd: EnvironmentFile=), or write ${file:/path} or ${credential:NAME} into the
    # spec instead. With `mode: observe` none is needed; with `mode: manage` all of a connection are.
    AIRBYTE_CRM_PASSWORD:
      used_in: connectors.d/crm.yaml
      at: config.password
    AIRBYTE_CRM_SSL_MODE_CA_CERTIFICATE:
      used_in: connectors.d/crm.yaml
      at: config.ssl_mode.ca_certificate
    AIRBYTE_CRM_TUNNEL_METHOD_SSH_KEY:
      used_in: connectors.d/crm.yaml
      at: config.tunnel_method.ssh_key
    AIRBYTE_WAREHOUSE_DESTINATION_PASSWORD:
      used_in: connectors.d/warehouse-destination.yaml
      at: config.password
    "#);
    let discovers = || bench.standin.edit(|state| state.actors.iter().map(|a| a.conduct.discovers).collect::<Vec<_>>());
    assert_eq!(discovers(), [0, 0, 0]);
    assert_eq!(world.aam(&["check"]).talk, "Check: 9 files, 3 connections, 0 errors, 0 warnings\n");
    world.commit("Airbyte as it is");

    let planned = world.aam(&["plan"]);
    insta::assert_snapshot!(format!("{}\n{}", planned.code, planned.out), @"
    2
    + crm-warehouse  adopt: it is in the engine already, nothing is written there
    + quoted-x-home  adopt: it is in the engine already, nothing is written there
    + warehouse      adopt: it is in the engine already, nothing is written there
    Plan: 3 to create, 0 to update, 0 to remove, 0 waiting for a person, 0 unchanged
    ");
    world.aam_is(0, &["apply"]);
    let planned = world.aam(&["plan"]);
    insta::assert_snapshot!(format!("{}\n{}", planned.code, planned.out), @"
    0
    = crm-warehouse  in sync
    = quoted-x-home  in sync
    = warehouse      in sync
    Plan: 0 to create, 0 to update, 0 to remove, 0 waiting for a person, 3 unchanged
    ");
    assert_eq!(discovers(), [1, 0, 1], "one look at each source, however many connections read it");
    assert_eq!(bench.standin.writes(), [""; 0]);
    bench.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn raised_to_manage_it_writes_what_the_plan_says() {
    let mut bench = mixed().await;
    bench.world.aam_is(0, &["import", "airbyte"]);
    bench.world.commit("Airbyte as it is");
    bench.world.aam_is(0, &["apply"]);
    bench.raise("connectors.d/crm-warehouse.yaml");
    let world = &bench.world;
    let planned = world.aam(&["plan"]);
    insta::assert_snapshot!(format!("{}\n{}", planned.code, planned.out), @r#"
    2
    ~ crm-warehouse  update settings from its spec: nonBreakingChangesPreference: "propagate_columns" → "ignore"; source crm and destination warehouse-destination with their settings and secrets
    = quoted-x-home  in sync
    = warehouse      in sync
    Plan: 0 to create, 1 to update, 0 to remove, 0 waiting for a person, 2 unchanged
    "#);
    assert_eq!(bench.standin.writes(), [""; 0]);
    world.aam_is(0, &["apply"]);
    insta::assert_snapshot!(bench.standin.writes().join("\n"), @"
    POST /v1/sources/update
    POST /v1/destinations/update
    POST /v1/web_backend/connections/update
    ");
    let sent = bench.standin.log().into_iter().find(|e| e.path.ends_with("web_backend/connections/update")).unwrap();
    let mut sent = sent.body;
    sent["connectionId"] = json!("…");
    insta::assert_snapshot!(sent.to_string(), @r#"{"connectionId":"…","nonBreakingChangesPreference":"ignore","skipReset":true}"#);
    let planned = world.aam(&["plan"]);
    assert_eq!(planned.code, 0, "{planned:#?}");
    bench.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_system_disabled_before_it_was_adopted_is_told_and_never_enabled() {
    let mut bench = Bench::new().await;
    // what a command does is told by itself, also where no survey comes after it
    ground::set(&mut bench.world, &[("AAM_AIRBYTE__SURVEY", "1h")]);
    let ends = (bench.source("CRM"), bench.warehouse("Warehouse"));
    let id = bench.connect("Sales", ends, &[accounts()], &json!({"nonBreakingChangesPreference": "propagate_columns"}));
    bench.world.aam_is(0, &["import", "airbyte"]);
    bench.world.commit("Airbyte as it is");
    bench.standin.edit(|state| {
        let connection = state.connection_mut(id).unwrap();
        connection.status = "inactive".into();
        connection.breaking = true;
    });
    let is_told = |bench: &Bench, why: &str| {
        let ran = bench.world.aam(&["apply"]);
        assert!(ran.code == 3 && format!("{}{}", ran.out, ran.talk).contains(why), "{ran:?}");
    };
    is_told(&bench, "stopped in the engine: Airbyte disabled it for a breaking change of its source");
    bench.raise("connectors.d/sales.yaml");
    // Airbyte forgets with an update why it did so
    is_told(&bench, "live edit: status changed in the engine");
    let live = bench.standin.edit(|state| {
        let connection = state.connection_mut(id).unwrap();
        format!("{} {}", connection.status, connection.preference)
    });
    assert_eq!(live, "inactive ignore", "the rest is written");
    bench.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_are_imported_by_pages() {
    let bench = Bench::new().await;
    let warehouse = bench.warehouse("Warehouse");
    let sources: Vec<Uuid> = (0..50).map(|n| bench.source(&format!("Source {n}"))).collect();
    for n in 0..1000 {
        bench.connect(
            &format!("Connection {n}"),
            (sources[n % 50], warehouse),
            &[accounts(), small("notes")],
            &json!({}),
        );
    }
    let ran = bench.world.aam(&["import", "airbyte", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    insta::assert_snapshot!(ran.talk, @"
    Import: 1000 connections, 50 sources, 1 destination written; 0 there already, 0 left out
    Proof: the plans of 1000 connections are empty, of 0 not; nothing was written to Airbyte
    Next: import/secrets.todo.yaml has 151 secrets to set before a connection is managed
    Next: `git add connectors.d import`, `aam check`, commit, and `aam run`: it observes and writes nothing
    ");
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    let written = |ending: &str| {
        let all = std::fs::read_dir(bench.world.root.join("connectors.d")).unwrap();
        all.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(ending)).count()
    };
    assert_eq!((value["connections"].as_array().unwrap().len(), value["differing"].clone()), (1000, json!({})));
    assert_eq!((written(".lock.yaml"), written(".yaml")), (1000, 2051));
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    bench.standin.log().iter().for_each(|entry| *calls.entry(entry.name()).or_default() += 1);
    let calls: Vec<_> = calls.iter().map(|(name, count)| format!("{count} {name}")).collect();
    insta::assert_snapshot!(calls.join("\n"), @"
    1 GET /public/v1/health
    1 GET /public/v1/workspaces
    1 GET /v1/health
    1 GET /v1/instance_configuration
    1 POST /public/v1/applications/token
    1 POST /v1/connections/list
    1 POST /v1/destination_definitions/list_for_workspace
    1 POST /v1/destinations/list
    1 POST /v1/source_definitions/list_for_workspace
    1 POST /v1/sources/list
    ");
    assert_eq!(bench.standin.writes(), [""; 0]);
    bench.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_called_again_it_goes_on() {
    let bench = mixed().await;
    let world = &bench.world;
    world.aam_is(0, &["import", "airbyte"]);
    let whole = bench.files();
    // as a kill would leave it: some files, and one that was being written
    std::fs::remove_file(world.root.join("connectors.d/warehouse.yaml")).unwrap();
    std::fs::remove_file(world.root.join("connectors.d/crm-warehouse.yaml")).unwrap();
    std::fs::remove_file(world.root.join("connectors.d/crm.yaml")).unwrap();
    world.write("connectors.d/.aam-write.tmp", "kind: conn");
    world.aam_is(0, &["import", "airbyte"]);
    assert_eq!(bench.files(), whole);

    // a file that a person edited is left alone
    let path = "connectors.d/crm.yaml";
    let edited = world.read(path).replace("${env:AIRBYTE_CRM_PASSWORD}", "${file:/run/secrets/crm}");
    world.write(path, &edited);
    let ran = world.aam(&["import", "airbyte"]);
    assert_eq!((ran.code, world.read(path)), (0, edited), "{ran:#?}");
    insta::assert_snapshot!(ran.talk, @"
    Import: 0 connections, 0 sources, 0 destinations written; 3 there already, 0 left out
    Proof: the plans of 3 connections are empty, of 0 not; nothing was written to Airbyte
    ");
    bench.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_spec_can_say_is_left_out_and_shown_as_unowned() {
    let bench = mixed().await;
    let warehouse = bench.standin.edit(|state| state.connections[0].destination);
    let crm = bench.standin.edit(|state| state.connections[0].source);
    bench.connect("Empty", (crm, warehouse), &[], &json!({}));
    let odd = bench.connect("Odd", (crm, warehouse), &[small("orders")], &json!({}));
    bench.standin.edit(|state| {
        let connection = state.connection_mut(odd).map_err(|_| "gone").unwrap();
        connection.schedule_type = "cron".into();
        connection.schedule_data = json!({"cron": {"cronExpression": "0 0 3 * * ?", "cronTimeZone": "Mars/Olympus"}});
    });
    let world = &bench.world;
    let ran = world.aam(&["import", "airbyte"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let left: Vec<&str> = ran.out.lines().filter(|line| line.starts_with('!')).map(|line| &line[38..]).collect();
    insta::assert_snapshot!(left.join("\n"), @"
    Empty: not imported: it carries no stream
    Odd: not imported: no time zone that aam knows is called `Mars/Olympus`
    ");
    world.commit("Airbyte as it is");
    world.aam_is(0, &["apply"]);
    let shown = world.aam(&["status"]).out;
    let shown: Vec<&str> = shown.lines().skip_while(|line| !line.contains("nobody declared")).collect();
    let shown: Vec<&str> = shown.iter().map(|line| line.rsplit_once("  ").map_or(*line, |(line, _)| line)).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    2 in the engine that nobody declared; aam does not touch them:
      connection   Empty
      connection   Odd
    ");
    bench.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_become_tenants_by_name() {
    let bench = mixed().await;
    let id = bench.standin.edit(|state| {
        state.add_workspace("Other");
        state.workspaces[0].id
    });
    let ran = bench.world.aam(&["import", "airbyte", "--dry-run"]);
    assert!(ran.code == 1 && ran.talk.contains("[airbyte.workspaces]"), "{ran:#?}");
    let ran = bench.world.aam(&["import", "airbyte", "--workspace", &format!("{id}=acme")]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    insta::assert_snapshot!(ran.out, @r#"
    + connectors.d/acme/crm-warehouse.yaml  CRM → Warehouse
    + connectors.d/acme/quoted-x-home.yaml  'quoted"\n- [x]: ../${HOME} # \u{202e}
    + connectors.d/acme/warehouse.yaml  Warehouse
    "#);
    assert!(bench.world.read("import/secrets.todo.yaml").contains("AIRBYTE_ACME_CRM_PASSWORD"), "{}", bench.files());
    assert!(ran.talk.contains(&format!("acme = \"{id}\"")), "{}", ran.talk);
    let usage = bench.world.aam(&["import", "airbyte", "--workspace", "acme"]);
    assert_eq!(usage.code, 64);
    bench.finish();
}
