//! What a spec may say depends on the engine.

use std::collections::BTreeMap;

use aam::spec::{AirbyteOptions, ConfigValue, EngineKind, Namespace, Schedule, StreamMode};

use super::{ID, Repo, brief, check, check_airbyte, connection};

/// A destination of Airbyte.
const LAKE: (&str, &str) = (
    "connectors.d/lake.yaml",
    "kind: destination\ntype: airbyte/destination-postgres\nconfig: {host: db, port: 5432, database: w, password: '${env:W}'}\n",
);

/// A connection that Airbyte can carry, with more lines behind it.
fn carried(more: &str) -> String {
    format!(
        "kind: connection\nsource: {{type: Postgres, config: {{host: db, anything: [1]}}}}\ndestination: lake\n{more}"
    )
}

fn of_airbyte(files: &[(&str, &str)]) -> Repo {
    Repo { engine: EngineKind::Airbyte, ..Repo::of(files) }
}

#[test]
fn every_setting_of_the_block_arrives() {
    let spec = carried(&format!(
        "airbyte:\n  id: {ID}\n  name: CRM to lake\n  namespace: ${{SOURCE_NAMESPACE}}_raw\n  prefix: crm_\n  passthrough:\n    \
         backfillPreference: enabled\n    notify: true\n    retries: 5\n    zip: 01234\n    quoted: \"5\"\n    nested: {{a: [1, x, ~]}}\n"
    ))
    .replace("anything: [1]}}", &format!("anything: [1]}}, airbyte: {{id: {}, name: CRM}}}}", ID.replace("8e11", "8e12")));
    let resolution = of_airbyte(&[("connectors.d/a.yaml", &spec), LAKE]).resolve();
    assert_eq!(brief(&resolution.diagnostics), "");
    let connection = resolution.desired.connections.values().next().unwrap();
    let AirbyteOptions { id, name, namespace, prefix, .. } = &connection.airbyte;
    assert_eq!(id.unwrap().to_string(), ID);
    assert_eq!((name.as_deref(), prefix.as_str()), (Some("CRM to lake"), "crm_"));
    assert_eq!(*namespace, Namespace::Custom("${SOURCE_NAMESPACE}_raw".into()));
    assert_eq!(connection.source.airbyte.name.as_deref(), Some("CRM"));
    assert_eq!(connection.source.airbyte.id.unwrap().to_string(), ID.replace("8e11", "8e12"));
    assert_eq!(connection.destination.airbyte, Default::default());
    insta::assert_snapshot!(serde_json::Value::from(connection.airbyte.passthrough_json()), @r#"{"backfillPreference":"enabled","nested":{"a":[1,"x",null]},"notify":true,"quoted":"5","retries":5,"zip":"01234"}"#);
    let json = serde_json::to_string(&[Namespace::Source, Namespace::default(), namespace.clone()]).unwrap();
    insta::assert_snapshot!(json, @r#"["source","destination",{"custom":"${SOURCE_NAMESPACE}_raw"}]"#);
}

#[test]
fn mistakes_in_the_block_are_named_with_what_to_write() {
    let spec = carried(
        "airbyte:\n  id: 12\n  name: \"\"\n  namespace: sourc\n  prefix: ${env:P}\n  pasthrough: {}\n  passthrough:\n    syncCatalog: {}\n    \
         scheduleType: cron\n    nonBreakingChangesPreference: ignore\n    format: ${SOURCE_NAMESPACE}\n    webhook: {secrets: ['${env:A}']}\n",
    );
    let env = carried("airbyte: {namespace: \"${env:X}_raw\"}\n");
    insta::assert_snapshot!(check_airbyte(&[("connectors.d/a.yaml", &spec), ("connectors.d/b.yaml", &env), LAKE]), @r#"
    error[AAM-S026]: `12` is no id of Airbyte
     --> connectors.d/a.yaml:5:7
      |
    5 |   id: 12
      |       ^^ expected a UUID
      = help: it is the last part of the address of the connection's page in Airbyte; `aam explain AAM-S026` has the background

    error[AAM-S026]: the display name is empty
     --> connectors.d/a.yaml:6:9
      |
    6 |   name: ""
      |         ^^
      = help: give it one, or remove the key; `aam explain AAM-S026` has the background

    warning[AAM-S011]: every table lands in a schema called `sourc`
     --> connectors.d/a.yaml:7:14
      |
    7 |   namespace: sourc
      |              ^^^^^
      = help: did you mean `source`? `aam explain AAM-S011` has the background

    error[AAM-S020]: `prefix` takes no references
     --> connectors.d/a.yaml:8:11
      |
    8 |   prefix: ${env:P}
      |           ^^^^^^^^ would be shown to everyone
      = help: write the prefix itself; the source's namespace goes into `namespace`; `aam explain AAM-S020` has the background

    error[AAM-S008]: `airbyte` has no key `pasthrough`
     --> connectors.d/a.yaml:9:3
      |
    9 |   pasthrough: {}
      |   ^^^^^^^^^^ unknown key
      = help: did you mean `passthrough`? `aam explain AAM-S008` has the background

    error[AAM-S029]: `passthrough` cannot set `syncCatalog`
      --> connectors.d/a.yaml:11:5
       |
    11 |     syncCatalog: {}
       |     ^^^^^^^^^^^ aam itself says this
       = help: write `streams:`; the lock holds the fields; `aam explain AAM-S029` has the background

    error[AAM-S029]: `passthrough` cannot set `scheduleType`
      --> connectors.d/a.yaml:12:5
       |
    12 |     scheduleType: cron
       |     ^^^^^^^^^^^^ aam itself says this
       = help: write `schedule:`; `aam explain AAM-S029` has the background

    error[AAM-S029]: `passthrough` cannot set `nonBreakingChangesPreference`
      --> connectors.d/a.yaml:13:5
       |
    13 |     nonBreakingChangesPreference: ignore
       |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ aam itself says this
       = help: `drift:` says what happens when the source changes; Airbyte itself is told to ignore it; `aam explain AAM-S029` has the background

    error[AAM-S020]: a reference needs a scheme before its name
      --> connectors.d/a.yaml:14:13
       |
    14 |     format: ${SOURCE_NAMESPACE}
       |             ^^^^^^^^^^^^^^^^^^^ not a reference that aam knows
       = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`; `$${` is a literal `${`; `aam explain AAM-S020` has the background

    error[AAM-S020]: `passthrough` takes no references
      --> connectors.d/a.yaml:15:25
       |
    15 |     webhook: {secrets: ***
       |                         ^^ would be shown to everyone
       = help: secrets go into `config:` of the source or destination; `aam explain AAM-S020` has the background

    error[AAM-S020]: a namespace knows only Airbyte's own placeholder
     --> connectors.d/b.yaml:4:22
      |
    4 | airbyte: {namespace: "${env:X}_raw"}
      |                      ^^^^^^^^^^^^^^ only `${SOURCE_NAMESPACE}`
      = help: secrets are no part of a namespace; `aam explain AAM-S020` has the background
    "#);
}

#[test]
fn what_only_airbyte_has_is_refused_with_the_embedded_engine() {
    let spec = connection(&format!(
        "schedule: {{quartz: 0 0 3 * * ?, timezone: Europe/Berlin}}\nairbyte: {{id: {ID}, prefix: x_}}\nstreams:\n  a: {{mode: full_refresh_update}}\n  \
         b: {{mode: incremental_soft_delete, cursor: at}}\n"
    ));
    let source = format!("kind: source\ntype: file\nconfig: {{path: /x}}\nairbyte: {{id: {ID}}}\n");
    let files = [("connectors.d/a.yaml", spec.as_str()), ("connectors.d/s.yaml", &source), super::WAREHOUSE];
    insta::assert_snapshot!(check(&files), @r#"
    error[AAM-S028]: the embedded engine does not run by Quartz expressions
     --> connectors.d/a.yaml:4:20
      |
    4 | schedule: {quartz: 0 0 3 * * ?, timezone: Europe/Berlin}
      |                    ^^^^^^^^^^^ not with `[engine] kind = "embedded"`
      = help: write `cron:` with five fields: minute hour day month weekday; `aam explain AAM-S028` has the background

    error[AAM-S028]: only the Airbyte engine adopts a connection that is there already
     --> connectors.d/a.yaml:5:15
      |
    5 | airbyte: {id: 0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11, prefix: x_}
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ not with `[engine] kind = "embedded"`
      = help: remove `id`, or set `[engine] kind = "airbyte"` in config/aam.toml; `aam explain AAM-S028` has the background

    error[AAM-S028]: the embedded engine has no mode full_refresh_update for `a`
     --> connectors.d/a.yaml:7:13
      |
    7 |   a: {mode: full_refresh_update}
      |             ^^^^^^^^^^^^^^^^^^^ not with `[engine] kind = "embedded"`
      = help: the nearest that it has is `full_refresh_overwrite`; `aam explain AAM-S028` has the background

    error[AAM-S028]: the embedded engine has no mode incremental_soft_delete for `b`
     --> connectors.d/a.yaml:8:13
      |
    8 |   b: {mode: incremental_soft_delete, cursor: at}
      |             ^^^^^^^^^^^^^^^^^^^^^^^ not with `[engine] kind = "embedded"`
      = help: the nearest that it has is `incremental_append_dedup`; `aam explain AAM-S028` has the background

    error[AAM-S028]: only the Airbyte engine adopts a source that is there already
     --> connectors.d/s.yaml:4:15
      |
    4 | airbyte: {id: 0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11}
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ not with `[engine] kind = "embedded"`
      = help: remove `id`, or set `[engine] kind = "airbyte"` in config/aam.toml; `aam explain AAM-S028` has the background
    "#);
}

#[test]
fn what_only_the_embedded_engine_has_is_refused_with_airbyte() {
    let source = "kind: source\ntype: airbyte\ncommand: [source-faker]\nmanifest: x.yaml\nconfig: {count: 1}\n";
    let looks = carried("drift: {check: {quartz: 0 0 3 * * ?}}\n");
    let types = ["airbyte/destination-postgres", "airbyte/source-postgres:3.6.1", "' '"]
        .map(|ty| format!("kind: source\ntype: {ty}\nconfig: {{password: hunter2}}\n"));
    let good = [
        "airbyte/source-postgres",
        "postgres",
        "Postgres",
        "decd338e-5647-4c0b-adf4-da0e75f5a750",
        "my.registry:5000/team/source-x",
    ]
    .map(|ty| format!("kind: source\ntype: {ty}\nconfig: {{user: x, port: default}}\n"));
    let names: Vec<String> = (0..8).map(|n| format!("connectors.d/t{n}.yaml")).collect();
    let mut files = vec![("connectors.d/s.yaml", source), ("connectors.d/a.yaml", &looks), LAKE];
    files.extend(names.iter().map(String::as_str).zip(types.iter().chain(&good).map(String::as_str)));
    insta::assert_snapshot!(check_airbyte(&files), @r#"
    error[AAM-S028]: aam looks by its own clock, which does not run by Quartz expressions
     --> connectors.d/a.yaml:4:25
      |
    4 | drift: {check: {quartz: 0 0 3 * * ?}}
      |                         ^^^^^^^^^^^
      = help: write `cron:` with five fields: minute hour day month weekday; `aam explain AAM-S028` has the background

    error[AAM-S028]: `type: airbyte` runs a program on this machine, which only the embedded engine does
     --> connectors.d/s.yaml:2:7
      |
    2 | type: airbyte
      |       ^^^^^^^ not with `[engine] kind = "airbyte"`
      = help: name the connector, for example `airbyte/source-postgres`; `aam explain AAM-S028` has the background

    error[AAM-S028]: `command` and `manifest` are for the embedded engine
     --> connectors.d/s.yaml:3:11
      |
    3 | command: [source-faker]
      |           ^^^^^^^^^^^^ not with `[engine] kind = "airbyte"`
      = help: remove it and name the connector in `type:`; Airbyte runs it; `aam explain AAM-S028` has the background

    error[AAM-S028]: `command` and `manifest` are for the embedded engine
     --> connectors.d/s.yaml:4:11
      |
    4 | manifest: x.yaml
      |           ^^^^^^ not with `[engine] kind = "airbyte"`
      = help: remove it and name the connector in `type:`; Airbyte runs it; `aam explain AAM-S028` has the background

    error[AAM-S022]: `airbyte/destination-postgres` is a destination, and stands as the source
     --> connectors.d/t0.yaml:2:7
      |
    2 | type: airbyte/destination-postgres
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: write `airbyte/source-postgres`; `aam explain AAM-S022` has the background

    error[AAM-S021]: a secret stands here in plain text
     --> connectors.d/t0.yaml:3:20
      |
    3 | config: {password: ***
      |                    ^^^ would be in git for ever
      = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed; `aam explain AAM-S021` has the background

    error[AAM-S022]: a connector is named without its version
     --> connectors.d/t1.yaml:2:7
      |
    2 | type: airbyte/source-postgres:3.6.1
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ Airbyte says which version runs
      = help: write `airbyte/source-postgres`; `aam explain AAM-S022` has the background

    error[AAM-S021]: a secret stands here in plain text
     --> connectors.d/t1.yaml:3:20
      |
    3 | config: {password: ***
      |                    ^^^ would be in git for ever
      = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed; `aam explain AAM-S021` has the background

    error[AAM-S022]: the connector has no name
     --> connectors.d/t2.yaml:2:7
      |
    2 | type: ' '
      |       ^^^
      = help: write its docker repository, for example `airbyte/source-postgres`; `aam explain AAM-S022` has the background

    error[AAM-S021]: a secret stands here in plain text
     --> connectors.d/t2.yaml:3:20
      |
    3 | config: {password: ***
      |                    ^^^ would be in git for ever
      = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed; `aam explain AAM-S021` has the background
    "#);
}

#[test]
fn a_schedule_that_airbyte_cannot_keep_is_told_with_what_to_write() {
    let schedules = [
        "{every: 30s}",
        "{every: 90s}",
        "{cron: 0 3 13 * FRI}",
        "{cron: '*/10 * * * * *'}",
        "{cron: 0 3 * * *, timezone: Etc/UTC}",
        "{quartz: 0 3 * * *, timezone: Etc/GMT+3}",
        "{quartz: 0 0 3 * * *}",
        "{every: 1h, timezone: Europe/Berlin}",
    ];
    let specs = schedules.map(|schedule| carried(&format!("schedule: {schedule}\n")));
    let names: Vec<String> = (0..schedules.len()).map(|n| format!("connectors.d/s{n}.yaml")).collect();
    let mut files = vec![LAKE];
    files.extend(names.iter().map(String::as_str).zip(specs.iter().map(String::as_str)));
    insta::assert_snapshot!(check_airbyte(&files), @r"
    error[AAM-S030]: Airbyte starts a sync once a minute at most
     --> connectors.d/s0.yaml:4:19
      |
    4 | schedule: {every: 30s}
      |                   ^^^
      = help: write `every: 1m` or more; `aam explain AAM-S030` has the background

    error[AAM-S030]: Airbyte counts in whole minutes
     --> connectors.d/s1.yaml:4:19
      |
    4 | schedule: {every: 90s}
      |                   ^^^
      = help: write `every: 1m` or `every: 2m`; `aam explain AAM-S030` has the background

    error[AAM-S030]: Airbyte cannot run by a day of the month and a day of the week at once
     --> connectors.d/s2.yaml:4:18
      |
    4 | schedule: {cron: 0 3 13 * FRI}
      |                  ^^^^^^^^^^^^
      = help: keep one of the two: `0 3 13 * *` or `0 3 * * FRI`; `aam explain AAM-S030` has the background

    error[AAM-S030]: Airbyte starts a sync once a minute at most
     --> connectors.d/s3.yaml:4:18
      |
    4 | schedule: {cron: '*/10 * * * * *'}
      |                  ^^^^^^^^^^^^^^^^
      = help: write one second, for example `0 * * * * *`; `aam explain AAM-S030` has the background

    error[AAM-S030]: Airbyte takes no time zone that begins with `Etc`: `Etc/UTC`
     --> connectors.d/s4.yaml:4:39
      |
    4 | schedule: {cron: 0 3 * * *, timezone: Etc/UTC}
      |                                       ^^^^^^^
      = help: write UTC; `aam explain AAM-S030` has the background

    error[AAM-S030]: a Quartz expression has six fields, or seven with the year; this one has 5
     --> connectors.d/s5.yaml:4:20
      |
    4 | schedule: {quartz: 0 3 * * *, timezone: Etc/GMT+3}
      |                    ^^^^^^^^^
      = help: second minute hour day month weekday, for example `0 0 3 * * ?`; five fields go with `cron`; `aam explain AAM-S030` has the background

    error[AAM-S030]: Airbyte takes no time zone that begins with `Etc`: `Etc/GMT+3`
     --> connectors.d/s5.yaml:4:41
      |
    4 | schedule: {quartz: 0 3 * * *, timezone: Etc/GMT+3}
      |                                         ^^^^^^^^^
      = help: name a place, for example Europe/Berlin, or UTC; `aam explain AAM-S030` has the background

    error[AAM-S030]: a Quartz expression has `?` for exactly one of the day of the month and the day of the week
     --> connectors.d/s6.yaml:4:20
      |
    4 | schedule: {quartz: 0 0 3 * * *}
      |                    ^^^^^^^^^^^
      = help: for example `0 0 3 * * ?` (each day) or `0 0 3 ? * MON-FRI`; `aam explain AAM-S030` has the background

    error[AAM-S027]: `timezone` goes with `cron` and `quartz` only
     --> connectors.d/s7.yaml:4:33
      |
    4 | schedule: {every: 1h, timezone: Europe/Berlin}
      |                                 ^^^^^^^^^^^^^ no use here
      = help: `aam explain AAM-S027` has the background
    ");
    // aam itself keeps any clock
    let looks = carried(
        "schedule: {quartz: 0 0 3 * * ?, timezone: Europe/Berlin}\ndrift: {check: {cron: 0 3 13 * FRI, timezone: Etc/UTC}}\n",
    );
    let resolution = of_airbyte(&[LAKE, ("connectors.d/a.yaml", &looks)]).resolve();
    assert_eq!(brief(&resolution.diagnostics), "");
    let schedule = &resolution.desired.connections.values().next().unwrap().schedule;
    assert_eq!(*schedule, Schedule::Quartz { expression: "0 0 3 * * ?".into(), timezone: chrono_tz::Europe::Berlin });
}

#[test]
fn every_mode_of_airbyte_has_a_word() {
    use StreamMode::*;
    let modes = [
        FullRefreshOverwrite,
        FullRefreshAppend,
        IncrementalAppend,
        IncrementalAppendDedup,
        FullRefreshOverwriteDeduped,
        FullRefreshAppendDedup,
        FullRefreshUpdate,
        FullRefreshSoftDelete,
        IncrementalOverwrite,
        IncrementalUpdate,
        IncrementalSoftDelete,
    ];
    let listed: String = modes.iter().map(|mode| format!("  {}: {{mode: {}}}\n", mode.word(), mode.word())).collect();
    let spec = carried(&format!("streams:\n{listed}"));
    let resolution = of_airbyte(&[LAKE, ("connectors.d/a.yaml", &spec)]).resolve();
    assert_eq!(brief(&resolution.diagnostics), "");
    let aam::spec::Selection::Listed(read) = &resolution.desired.connections.values().next().unwrap().streams else {
        panic!("streams are listed")
    };
    let read: BTreeMap<&str, StreamMode> = read.iter().map(|(name, c)| (name.name.as_str(), c.mode.unwrap())).collect();
    assert_eq!(read, modes.iter().map(|mode| (mode.word(), *mode)).collect());
    for mode in modes {
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.word());
    }
}

#[test]
fn salesforce_is_complete_before_any_call() {
    let bare = "kind: source\ntype: salesforce\n";
    let wrong = "kind: source\ntype: airbyte/source-salesforce\nconfig:\n  client_id: 3MVG9\n  client_secret: hunter2\n  refresh_tokn: ${env:T}\n  \
         auth_type: Password\n  is_sandbox: \"yes\"\n  start_date: 2024-02-30\n";
    insta::assert_snapshot!(check_airbyte(&[("connectors.d/bare.yaml", bare), ("connectors.d/wrong.yaml", wrong)]), @r#"
    error[AAM-S024]: the connector `airbyte/source-salesforce` needs the setting `client_id`
     --> connectors.d/bare.yaml:2:7
      |
    2 | type: salesforce
      |       ^^^^^^^^^^ below this one's `config:`
      = help: add `client_id:` below `config:`, the Consumer Key of the Connected App: Salesforce, Setup, App Manager, the app's View, Manage Consumer Details; `aam explain AAM-S024` has the background

    error[AAM-S024]: the connector `airbyte/source-salesforce` needs the setting `client_secret`
     --> connectors.d/bare.yaml:2:7
      |
    2 | type: salesforce
      |       ^^^^^^^^^^ below this one's `config:`
      = help: add `client_secret:` below `config:`, as `${env:NAME}`: the Consumer Secret, beside the Consumer Key of the Connected App (Setup, App Manager, View, Manage Consumer Details); `aam explain AAM-S024` has the background

    error[AAM-S024]: the connector `airbyte/source-salesforce` needs the setting `refresh_token`
     --> connectors.d/bare.yaml:2:7
      |
    2 | type: salesforce
      |       ^^^^^^^^^^ below this one's `config:`
      = help: add `refresh_token:` below `config:`, as `${env:NAME}`: sign in once by the OAuth web-server flow of the Connected App with the scopes `api` and `refresh_token`; the answer of /services/oauth2/token holds it (sandbox: at test.salesforce.com); `aam explain AAM-S024` has the background

    error[AAM-S024]: the connector `airbyte/source-salesforce` needs the setting `refresh_token`
     --> connectors.d/wrong.yaml:2:7
      |
    2 | type: airbyte/source-salesforce
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^ below this one's `config:`
      = help: add `refresh_token:` below `config:`, as `${env:NAME}`: sign in once by the OAuth web-server flow of the Connected App with the scopes `api` and `refresh_token`; the answer of /services/oauth2/token holds it (sandbox: at test.salesforce.com); `aam explain AAM-S024` has the background

    error[AAM-S021]: a secret stands here in plain text
     --> connectors.d/wrong.yaml:5:18
      |
    5 |   client_secret: ***
      |                  ^^^ would be in git for ever
      = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed; `aam explain AAM-S021` has the background

    warning[AAM-S023]: aam knows no setting `refresh_tokn` of the connector `airbyte/source-salesforce`
     --> connectors.d/wrong.yaml:6:3
      |
    6 |   refresh_tokn: ${env:T}
      |   ^^^^^^^^^^^^
      = help: did you mean `refresh_token`? `aam explain AAM-S023` has the background

    error[AAM-S025]: `auth_type` of the connector `airbyte/source-salesforce` must be one of Client
     --> connectors.d/wrong.yaml:7:14
      |
    7 |   auth_type: Password
      |              ^^^^^^^^ expected one of Client
      = help: `aam explain AAM-S025` has the background

    error[AAM-S025]: `is_sandbox` of the connector `airbyte/source-salesforce` must be `true` or `false`, unquoted
     --> connectors.d/wrong.yaml:8:15
      |
    8 |   is_sandbox: "yes"
      |               ^^^^^ expected `true` or `false`, unquoted
      = help: `aam explain AAM-S025` has the background

    error[AAM-S025]: `start_date` of the connector `airbyte/source-salesforce` must be a date, for example 2024-01-31 or 2024-01-31T00:00:00Z
     --> connectors.d/wrong.yaml:9:15
      |
    9 |   start_date: 2024-02-30
      |               ^^^^^^^^^^ expected a date, for example 2024-01-31 or 2024-01-31T00:00:00Z
      = help: `aam explain AAM-S025` has the background
    "#);
    for start in ["2024-01-31", "2024-01-31T00:00:00Z"] {
        for ty in ["salesforce", "Salesforce", "source-salesforce", "b117307c-14b6-41aa-9422-947e34922962"] {
            let spec = carried("").replace(
                "{type: Postgres, config: {host: db, anything: [1]}}",
                &format!(
                    "{{type: {ty}, config: {{client_id: 3MVG9, client_secret: '${{env:S}}', refresh_token: '${{env:T}}', \
                     is_sandbox: true, start_date: {start}, streams_criteria: [{{criteria: exacts, value: Account}}]}}}}"
                ),
            );
            let resolution = of_airbyte(&[LAKE, ("connectors.d/a.yaml", &spec)]).resolve();
            assert_eq!(brief(&resolution.diagnostics), "", "{ty} {start}");
            let source = &resolution.desired.connections.values().next().unwrap().source;
            assert_eq!(source.config["auth_type"], ConfigValue::Text("Client".into()));
        }
    }
}

#[test]
fn a_name_in_airbyte_is_that_of_one_source_or_destination() {
    let lake = |name: &str| LAKE.1.replace("config:", &format!("airbyte: {{name: {name}}}\nconfig:"));
    let files = [
        ("connectors.d/a.yaml", lake("Warehouse")),
        ("connectors.d/b.yaml", lake("Warehouse")),
        ("connectors.d/c.yaml", lake("lake")),
        ("connectors.d/lake.yaml", LAKE.1.to_owned()),
        // another kind, tenant or connector, and what is adopted by its id, is another object
        ("connectors.d/d.yaml", lake("Warehouse").replace("destination-postgres", "destination-lake")),
        ("connectors.d/e.yaml", lake("Warehouse").replace("name:", &format!("id: {ID}, name:"))),
        ("connectors.d/acme/a.yaml", lake("Warehouse")),
        ("connectors.d/s.yaml", lake("Warehouse").replace("destination", "source")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    insta::assert_snapshot!(check_airbyte(&files), @r"
    error[AAM-S031]: a destination of this connector is called `Warehouse` in Airbyte by `connectors.d/a.yaml` already
     --> connectors.d/b.yaml:3:17
      |
    3 | airbyte: {name: Warehouse}
      |                 ^^^^^^^^^ one object, one owner
      = help: give this one another name with `airbyte: {name: …}`; a source or destination that several connections share is written once, as `kind: source` or `kind: destination`; `aam explain AAM-S031` has the background

    error[AAM-S031]: a destination of this connector is called `lake` in Airbyte by `connectors.d/c.yaml` already
     --> connectors.d/lake.yaml:1:1
      |
    1 | kind: destination
      | ^^^^ one object, one owner
      = help: give this one another name with `airbyte: {name: …}`; a source or destination that several connections share is written once, as `kind: source` or `kind: destination`; `aam explain AAM-S031` has the background
    ");
    assert!(!check(&files[..2]).contains("AAM-S031"), "the embedded engine goes by no names");
}

#[test]
fn one_object_of_airbyte_has_one_owner() {
    let spec = carried(&format!("airbyte: {{id: {ID}}}\n"));
    insta::assert_snapshot!(check_airbyte(&[("connectors.d/a.yaml", &spec), ("connectors.d/b.yaml", &spec), LAKE]), @r"
    error[AAM-S031]: this object of Airbyte is adopted by `connectors.d/a.yaml` already
     --> connectors.d/b.yaml:4:15
      |
    4 | airbyte: {id: 0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11}
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ one object, one owner
      = help: a source or destination that several connections share is written once, as `kind: source` or `kind: destination`; `aam explain AAM-S031` has the background
    ");
}
