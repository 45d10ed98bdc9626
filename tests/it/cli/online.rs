//! The commands that need a registry, through the binary: the text for people, and the keys that machines rely on.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::world::World;

/// Every key of a value, one path for each line; `[]` is any item. Below `data`, `detail` and `edits` lies what a step or
/// record brings along.
fn keys(json: &str) -> String {
    fn walk(path: &str, value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                let path = format!("{path}.{key}");
                let key = key.as_str();
                if !matches!(key, "data" | "detail" | "edits" | "body" | "fields" | "unknown_fields" | "changes") {
                    walk(&path, value, into);
                }
                into.insert(path);
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(&format!("{path}[]"), item, into)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk("", &serde_json::from_str(json).unwrap(), &mut found);
    found.into_iter().collect::<Vec<_>>().join("\n")
}

/// The text with placeholders for what differs from run to run: times, ids, fingerprints of commits.
fn steady(world: &World, text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for line in text.replace(&world.source.name, "SOURCE").replace(&world.warehouse.name, "WAREHOUSE").lines() {
        let words = line.split(' ').map(|word| {
            let core = word.trim_matches(|c: char| "(),:[]".contains(c));
            let hex = |n: usize| core.len() == n && core.bytes().all(|b| b.is_ascii_hexdigit());
            let is_time = core.len() >= 19 && core.starts_with("20") && core.contains('T');
            let is_clock = core.len() == 8 && core.matches(':').count() == 2;
            let is_day = core.len() == 10 && core.matches('-').count() == 2;
            match () {
                () if is_time => word.replace(core, "TIME"),
                () if is_clock => word.replace(core, "CLOCK"),
                () if is_day => word.replace(core, "DAY"),
                () if hex(10) && core.bytes().any(|b| b.is_ascii_digit()) => word.replace(core, "COMMIT"),
                () => word.to_owned(),
            }
        });
        out.push(words.collect::<Vec<_>>().join(" "));
    }
    out.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_from_plan_to_events() {
    let world = World::with_crm("").await;
    let text = |code: i32, args: &[&str]| steady(&world, &world.aam_is(code, args));
    let json = |code: i32, args: &[&str]| keys(&world.aam_is(code, &[args, &["--format", "json"]].concat()));

    insta::assert_snapshot!(text(2, &["plan"]), @r#"
    + crm  onboard: check, create, discover, write its lock
    Plan: 1 to create, 0 to update, 0 to remove, 0 waiting for a person, 0 unchanged
    "#);
    insta::assert_snapshot!(json(2, &["plan"]), @"
    .digest
    .plan
    .plan.commit
    .plan.connections
    .plan.connections[].id
    .plan.connections[].name
    .plan.connections[].radius
    .plan.connections[].standing
    .plan.connections[].standing.standing
    .plan.connections[].steps
    .plan.connections[].steps[].lock
    .plan.connections[].steps[].step
    .plan.refused
    .uncommitted
    ");
    insta::assert_snapshot!(text(2, &["status"]), @r#"
    main at COMMIT
    ~ crm  -        no catalog: changing
    ~      onboard: check, create, discover, write its lock
    "#);
    insta::assert_snapshot!(text(0, &["apply"]), @"~ crm  onboard: check, create, discover, write its lock (applied)");
    insta::assert_snapshot!(json(0, &["apply"]), @"
    .outcomes
    .refused
    .report
    .report.blocked
    .report.branch
    .report.commit
    .report.connections
    .report.connections[].dead_letters
    .report.connections[].drift
    .report.connections[].fingerprint
    .report.connections[].held
    .report.connections[].job
    .report.connections[].looked_at
    .report.connections[].name
    .report.connections[].pending
    .report.connections[].pin
    .report.connections[].radius
    .report.connections[].stale
    .report.connections[].standing
    .report.connections[].status
    .report.connections[].summary
    .report.connections[].troubles
    .report.connections[].unseen
    .report.connections[].version
    .report.invalid
    .report.plans
    .report.problems
    .report.refused
    .report.remote
    .report.unowned
    ");
    insta::assert_snapshot!(text(0, &["plan"]), @r#"
    = crm  in sync
    Plan: 0 to create, 0 to update, 0 to remove, 0 waiting for a person, 1 unchanged
    "#);
    insta::assert_snapshot!(text(0, &["sync", "crm"]), @r#"
    = crm  sync 1 succeeded, 3 rows, 108 bytes
        public/accounts  3 rows
    "#);
    insta::assert_snapshot!(json(0, &["sync", "crm"]), @r#"
    [][].attempts
    [][].bytes
    [][].ended_at
    [][].error
    [][].id
    [][].rows
    [][].started_at
    [][].state
    [][].streams
    "#);
    insta::assert_snapshot!(text(0, &["events"]), @r#"
    1  crm  upsert  account [1]  {"extras":{"employees":10},"name":"Acme","region":"west"}
    2  crm  upsert  account [2]  {"extras":{"employees":20},"name":"Bolt","region":"east"}
    3  crm  upsert  account [3]  {"extras":{"employees":30},"name":"Cord","region":"other"}
    "#);
    insta::assert_snapshot!(json(0, &["events", "crm", "--limit", "1"]), @r#"
    [].at
    [].connection
    [].connection_name
    [].data
    [].entity
    [].extracted_at
    [].hash
    [].id
    [].lineage
    [].lineage.catalog_version
    [].lineage.fields
    [].lineage.mapping
    [].lineage.raw_id
    [].lineage.sync_id
    [].op
    [].position
    [].record_key
    [].stream
    [].system
    [].unknown_fields
    "#);
    assert_eq!(world.aam_is(0, &["events", "crm", "--dead"]), "");
    insta::assert_snapshot!(text(0, &["status"]), @r#"
    main at COMMIT
    = crm  ACTIVE   version 1 (436c90fc): in sync, looked DAY CLOCK, sync 2 succeeded (3 rows)
    "#);
    insta::assert_snapshot!(json(0, &["status"]), @"
    .blocked
    .branch
    .commit
    .connections
    .connections[].dead_letters
    .connections[].drift
    .connections[].fingerprint
    .connections[].held
    .connections[].job
    .connections[].job.attempts
    .connections[].job.bytes
    .connections[].job.ended_at
    .connections[].job.error
    .connections[].job.id
    .connections[].job.rows
    .connections[].job.started_at
    .connections[].job.state
    .connections[].job.streams
    .connections[].looked_at
    .connections[].name
    .connections[].pending
    .connections[].pin
    .connections[].radius
    .connections[].stale
    .connections[].standing
    .connections[].status
    .connections[].summary
    .connections[].troubles
    .connections[].unseen
    .connections[].version
    .invalid
    .plans
    .problems
    .refused
    .remote
    .unowned
    ");
    insta::assert_snapshot!(text(0, &["history", "crm"]), @r#"
    Versions of crm
        1  436c90fc  TIME  by Pat <pat@example.org>
    Events
      TIME  connection.declared  connection crm declared in connectors.d/crm.yaml [aam]
      TIME  connection.object  source crm created in the engine [aam]
      TIME  connection.object  destination warehouse created in the engine [aam]
      TIME  connection.object  connection crm created in the engine [aam]
      TIME  catalog.version  connection crm: catalog version 1 (436c90fc) recorded [aam]
      TIME  connection.applied  connection crm: settings applied [aam]
      TIME  connection.status  connection crm onboarded with 1 streams [aam]
      TIME  repo.committed  connection crm: lock committed (onboarded) [aam]
      TIME  sync.ended  connection crm: sync 1 succeeded with 3 rows [aam]
      TIME  sync.ended  connection crm: sync 2 succeeded with 3 rows [aam]
    "#);
    insta::assert_snapshot!(json(0, &["history", "crm", "--verify"]), @r#"
    .audit
    .audit[].action
    .audit[].actor
    .audit[].at
    .audit[].connection
    .audit[].detail
    .audit[].hash
    .audit[].position
    .audit[].summary
    .broken_at
    .versions
    .versions[].approved_by
    .versions[].at
    .versions[].body
    .versions[].changes
    .versions[].commit
    .versions[].drift
    .versions[].fingerprint
    .versions[].version
    "#);
    assert_eq!(world.aam_is(0, &["diff", "crm"]), "");

    let ran = world.aam(&["history", "nobody"]);
    assert_eq!((ran.code, ran.talk.as_str()), (1, "error: no connection nobody; known are crm\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drift_in_list_diff_and_status() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    let text = |code: i32, args: &[&str]| steady(&world, &world.aam_is(code, args));
    let json = |code: i32, args: &[&str]| keys(&world.aam_is(code, &[args, &["--format", "json"]].concat()));

    assert_eq!(world.aam_is(0, &["drift", "list"]), "");
    world.aam_is(3, &["apply", "--look"]);
    insta::assert_snapshot!(text(3, &["drift", "list"]), @"
    ! crm  88bad3e5 pending, opened TIME, 1 changes, confidence 0.98, automatic: only values joined by key could prove a rename, branch aam/drift/default/crm (seen by a look)
        ~ public/accounts.billing_state -> billing_region: string
          mappings/crm.yaml:11  canonical field account.region reads billing_state: the repair follows the new name; no events carried it
          public.accounts  column billing_state: dropped by the first sync after approval, which adds billing_region; rows that are not read again hold no value in billing_region
          public/accounts  left out of syncs until this is decided; the first sync after that catches up; account gets no new events from it meanwhile
    ");
    insta::assert_snapshot!(json(3, &["drift", "list"]), @"
    [].automatic
    [].base
    [].branch
    [].cause
    [].changed_at
    [].changes
    [].confidence
    [].connection
    [].id
    [].opened_at
    [].radius
    [].radius.columns
    [].radius.columns[].by
    [].radius.columns[].column
    [].radius.columns[].fate
    [].radius.columns[].table
    [].radius.counted
    [].radius.counted.since
    [].radius.counted.until
    [].radius.places
    [].radius.places[].also_fed_by
    [].radius.places[].effect
    [].radius.places[].events_per_day
    [].radius.places[].file
    [].radius.places[].hit
    [].radius.places[].hit.entity
    [].radius.places[].hit.kind
    [].radius.places[].hit.reads
    [].radius.places[].hit.target
    [].radius.places[].line
    [].radius.places[].required
    [].radius.places[].stream
    [].radius.streams
    [].radius.streams[].entities
    [].radius.streams[].stream
    [].radius.streams[].synced_at
    [].radius.streams[].syncs
    [].status
    [].target
    ");
    insta::assert_snapshot!(json(0, &["drift", "show", "crm"]), @"
    .drift
    .drift.automatic
    .drift.base
    .drift.branch
    .drift.cause
    .drift.changed_at
    .drift.changes
    .drift.confidence
    .drift.connection
    .drift.id
    .drift.opened_at
    .drift.status
    .drift.target
    .file
    .radius
    .radius.columns
    .radius.columns[].by
    .radius.columns[].column
    .radius.columns[].fate
    .radius.columns[].table
    .radius.counted
    .radius.counted.since
    .radius.counted.until
    .radius.places
    .radius.places[].also_fed_by
    .radius.places[].effect
    .radius.places[].events_per_day
    .radius.places[].file
    .radius.places[].hit
    .radius.places[].hit.entity
    .radius.places[].hit.kind
    .radius.places[].hit.reads
    .radius.places[].hit.target
    .radius.places[].line
    .radius.places[].required
    .radius.places[].stream
    .radius.streams
    .radius.streams[].entities
    .radius.streams[].stream
    .radius.streams[].synced_at
    .radius.streams[].syncs
    .rejection
    ");
    insta::assert_snapshot!(text(3, &["status"]), @r#"
    main at COMMIT
    ! crm  ACTIVE   version 1 (436c90fc): drift 88bad3e5 awaits review on aam/drift/default/crm, looked DAY CLOCK, held back from syncs: public/accounts
    "#);
    insta::assert_snapshot!(text(3, &["plan"]), @"
    ! crm  drift 88bad3e5 awaits review on aam/drift/default/crm
          mappings/crm.yaml:11  canonical field account.region reads billing_state: the repair follows the new name; no events carried it
          public.accounts  column billing_state: dropped by the first sync after approval, which adds billing_region; rows that are not read again hold no value in billing_region
          public/accounts  left out of syncs until this is decided; the first sync after that catches up; account gets no new events from it meanwhile
    Plan: 0 to create, 0 to update, 0 to remove, 1 waiting for a person, 0 unchanged
    ");
    insta::assert_snapshot!(text(0, &["diff", "crm"]), @r#"
    --- version 1
    +++ source as last seen
    @@ -4,7 +4,7 @@
         cursor: any(updated_at)
         modes: [full_refresh, incremental]
         fields:
    -      billing_state: string
    +      billing_region: string
           employees: integer
           id: integer!
           name: string!
    "#);
    insta::assert_snapshot!(json(0, &["diff", "crm"]), @r#"
    .changes
    .diff
    .from
    .to
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_tells_a_machine_what_came_of_it() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    let value = |args: &[&str]| -> Value {
        serde_json::from_str(&world.aam_is(0, &[args, &["--format", "json"]].concat())).unwrap()
    };
    let told = |answer: &Value| {
        assert_eq!(answer["refused"], Value::Null);
        let crm = &answer["report"]["connections"][0];
        let steps = answer["outcomes"].as_array().unwrap().iter();
        let steps = steps.map(|o| format!("{}: {} {}\n", o["connection"], o["step"], o["outcome"]));
        format!("{}{} {}", steps.collect::<String>(), crm["standing"], crm["summary"])
    };
    insta::assert_snapshot!(told(&value(&["drift", "reject", "crm", "--reason", "not yet"])), @r#"
    "crm": "close drift: rejected by Pat <pat@example.org>: not yet" "applied"
    "rejected" "drift 05cfa034 rejected by Pat <pat@example.org>: not yet"
    "#);
    let shown = value(&["drift", "show", "crm"]);
    insta::assert_snapshot!(keys(&shown["rejection"].to_string()), @r#"
    .at
    .by
    .changes
    .fingerprint
    .reason
    "#);
    assert_eq!(shown["drift"]["status"], "rejected");
    assert!(shown["file"].as_str().unwrap().contains("- public/accounts.employees: integer"));
    insta::assert_snapshot!(told(&value(&["drift", "approve", "crm"])), @r#"
    "crm": "update catalog to version 2 (05cfa034)" "applied"
    "in_sync" "in sync"
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_extends_for_an_edit_what_the_daemon_would_commit() {
    let world = World::with_crm("").await;
    world.source.run("CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2))").await;
    let spec = world.connection(
        "streams:\n  public/accounts: {fields: {include: [id, name, billing_state, employees]}}\nmapping: crm\n",
    );
    world.write("connectors.d/crm.yaml", &spec);
    world.commit("fewer fields");
    world.aam_is(0, &["apply"]);
    let path = "connectors.d/crm.lock.yaml";
    let before = world.read(path);
    assert_eq!(world.aam_is(0, &["lock", "crm"]), "");
    assert_eq!(world.read(path), before);

    // Beside the edit the source has drifted; only what the edit names is taken.
    world.source.run("ALTER TABLE accounts ADD website text").await;
    world.write("connectors.d/crm.yaml", &spec.replace("\nmapping", "\n  public/orders: {}\nmapping"));
    let diff = world.aam_is(0, &["lock", "crm", "--dry-run"]);
    insta::assert_snapshot!(diff, @r#"
    --- lock
    +++ lock for the spec
    @@ -8,3 +8,10 @@
           employees: integer
           id: integer!
           name: string!
    +  public/orders:
    +    key: [id]
    +    cursor: any
    +    modes: [full_refresh, incremental]
    +    fields:
    +      id: integer!
    +      total: decimal(10,2)
    "#);
    assert_eq!(world.read(path), before, "a dry run writes nothing");
    let ran = world.aam(&["lock", "crm", "--offline"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let extended = world.read(path);
    assert_eq!(ran.talk, "~ connectors.d/crm.lock.yaml  written; commit it with the spec\n");
    assert!(extended.contains("version: 2\n") && extended.contains("public/orders") && !extended.contains("website"));
    assert_eq!(world.aam(&["check"]).code, 0);

    // The daemon writes the same bytes by itself.
    world.write(path, &before);
    world.commit("orders too");
    world.aam(&["apply"]);
    assert_eq!(world.committed(path), extended.trim_end());

    let ran = world.aam(&["lock", "nobody"]);
    assert_eq!((ran.code, ran.talk.contains("there is no connection nobody")), (1, true), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_goes_on_when_something_fails() {
    let mut world = World::with_crm("").await;
    let statuses = |world: &World, code: i32| {
        let value: Value = serde_json::from_str(&world.aam_is(code, &["doctor", "--format", "json"])).unwrap();
        assert!(
            value["settings"].as_array().unwrap().iter().any(|s| s["key"] == "registry.url" && s["value"] == "***")
        );
        let checks = value["checks"].as_array().unwrap().iter();
        let line = |c: &Value| {
            assert!(c["status"] != "fail" || c["mend"].is_string(), "{c} has no mend");
            format!("{} {}", c["status"].as_str().unwrap(), c["check"].as_str().unwrap())
        };
        checks.map(line).collect::<Vec<_>>().join("\n")
    };
    world.aam_is(0, &["apply"]);
    insta::assert_snapshot!(statuses(&world, 0), @r#"
    pass git
    pass repository
    pass identity
    pass specs
    pass state folder
    skipped PostgreSQL binaries
    pass registry
    warn row-level security
    pass clock
    pass audit log
    skipped daemon
    pass file watches
    pass destination warehouse
    pass source crm
    "#);
    world
        .registry
        .run("ALTER TABLE audit_log DISABLE TRIGGER ALL; UPDATE audit_log SET summary = 'another' WHERE position = 1")
        .await;
    world.write(
        "connectors.d/crm.yaml",
        &world.connection("mapping: crm\n").replace("username: postgres", "username: \"${env:NOT_THERE}\""),
    );
    world.write("connectors.d/bad.yaml", "kind: connection\nsuorce: x\n");
    world.commit("break it");
    insta::assert_snapshot!(statuses(&world, 1), @r#"
    pass git
    pass repository
    pass identity
    fail specs
    pass state folder
    skipped PostgreSQL binaries
    pass registry
    warn row-level security
    pass clock
    fail audit log
    skipped daemon
    pass file watches
    pass destination warehouse
    fail source crm
    "#);
    world.env.push(("AAM_REGISTRY__URL".into(), "postgres://postgres@127.0.0.1:1/none".into()));
    insta::assert_snapshot!(statuses(&world, 1), @r#"
    pass git
    pass repository
    pass identity
    fail specs
    pass state folder
    skipped PostgreSQL binaries
    fail registry
    skipped row-level security
    skipped clock
    skipped audit log
    skipped daemon
    pass file watches
    pass destination warehouse
    fail source crm
    "#);
}
