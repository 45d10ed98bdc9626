//! Airbyte connectors as programs: a small one in shell, with every habit that the protocol allows.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aam::engine::embedded::EmbeddedEngine;
use aam::ports::{EngineRead, EngineWrite, JobState, Remedy, ResolvedConfig};
use aam::spec::StreamMode::{self, FullRefreshOverwrite, IncrementalAppend, IncrementalAppendDedup};
use serde_json::{Value, json};

use super::harness::{Bench, allowed, handle, lines, run};

/// Emits the rows `at`..`total`, a state after every `every`; what the settings say may go wrong does.
const CONNECTOR: &str = r#"#!/bin/sh
verb=$1; shift
while [ $# -gt 0 ]; do case $1 in --config) config=$2;; --catalog) catalog=$2;; --state) state=$2;; --manifest-path) manifest=$2;; esac; shift; done
[ "$verb" = spec ] && echo '{"type":"SPEC","spec":{"connectionSpecification":{"properties":{"api_key":{"airbyte_secret":true}}}}}'
[ -n "$config" ] || exit 0
setting() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" "$config"; }
here=$(setting here)
stat -c '%a' "$(dirname "$config")" >"$here/mode"; env >"$here/env"; echo "$manifest" >"$here/manifest"; dirname "$config" >"$here/folder"
echo '{"type":"LOG","log":{"level":"INFO","message":"starting"}}'
echo 'a line that is no message'
echo 'words on standard error' >&2
wrong=$(setting wrong)
case $verb:$wrong in
  check:bad) echo '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"wrong key hunter2secret"}}' ;;
  check:crash) echo '{"type":"LOG","log":{"level":"FATAL","message":"a bug"}}'; exit 1 ;;
  check:usage) echo 'usage: connector' >&2; exit 2 ;;
  check:silent) ;;
  check:long) cat "$here/stderr" >&2; exit 1 ;;
  check:*) echo '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED","message":null}}' ;;
  discover:nothing) ;;
  discover:*) echo '{"type":"CATALOG","catalog":{"streams":[{"name":"things","namespace":null,"supported_sync_modes":["full_refresh","incremental"],"source_defined_cursor":true,"default_cursor_field":["id"],"source_defined_primary_key":[["id"]],"json_schema":{"properties":{"id":{"type":"integer"},"name":{"type":["string","null"]},"big":{"type":["null","number"]},"deep":{"type":"object","properties":{"a":{"type":"string"}}}}}}]}}' ;;
  read:orphan) sleep 1000 >/dev/null 2>&1 & echo $! >"$here/child"; exit 1 ;;
  read:garbled)
    echo '{"type": "RECORD", "record": {"stream": "things", "data": {"id": NaN}, "emitted_at": 1}}'
    echo '{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"things"},"stream_state":{"at":1}}}}' ;;
  read:hang) sleep 1000 & echo $! >"$here/child"; wait ;;
  read:*)
    at=$(sed -n 's/.*"at":\([0-9]*\).*/\1/p' "$state"); total=$(setting total); every=$(setting every); die=$(setting die)
    awk -v at="${at:-0}" -v total="$total" -v every="$every" -v die="$die" 'BEGIN {
      pad = sprintf("%200s", ""); gsub(/ /, "é", pad)
      for (i = at + 1; i <= total; i++) {
        printf "{\"type\":\"RECORD\",\"record\":{\"stream\":\"things\",\"namespace\":null,\"data\":{\"id\":%d,\"name\":\"tab\\there %s\",\"big\":12345678901234567890.%06d,\"deep\":{\"a\":\"x\"},\"undeclared\":1},\"emitted_at\":1}}\n", i, pad, i
        if (die && i == die) exit 1
        if (i % every == 0) printf "{\"type\":\"STATE\",\"state\":{\"type\":\"STREAM\",\"stream\":{\"stream_descriptor\":{\"name\":\"things\"},\"stream_state\":{\"at\":%d}},\"sourceStats\":{\"recordCount\":5.0}}}\n", i
      }
    }' || { echo '{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1.5,"error":{"message":"the API went away","failure_type":"transient_error"}}}'; exit 1; }
    [ "$wrong" = incomplete ] && status=INCOMPLETE || status=COMPLETE
    echo '{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"things"},"status":"'$status'"}}}' ;;
esac
"#;

struct Program {
    folder: tempfile::TempDir,
    command: String,
}

impl Program {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connector");
        std::fs::write(&path, CONNECTOR).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self { command: path.to_str().unwrap().to_owned(), folder }
    }

    async fn bench(&self, settings: Value) -> Bench {
        let mut settings = settings;
        settings["here"] = json!(self.folder.path());
        settings["api_key"] = json!("hunter2secret");
        let config = json!({"command": [self.command], "config": settings});
        let mut bench = Bench::reading(handle("things", "airbyte", config)).await;
        bench.engine = EmbeddedEngine::open(bench.registry.clone(), allowed(vec![self.command.clone()])).await.unwrap();
        bench
    }

    fn set(&self, bench: &mut Bench, settings: Value) {
        let mut settings = settings;
        settings["here"] = json!(self.folder.path());
        bench.source_handle = handle("things", "airbyte", json!({"command": [self.command], "config": settings}));
    }

    fn noted(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}

const SUMS: &str = "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || coalesce(max(id), 0) || ' ' || count(DISTINCT _airbyte_raw_id) FROM things";

#[tokio::test]
async fn a_connector_is_checked_discovered_and_read() {
    let program = Program::new();
    let bench = program.bench(json!({"total": 3, "every": 2})).await;
    bench.engine.check(&bench.source_handle).await.unwrap();
    let id = bench.configure(vec![bench.stream("things", FullRefreshOverwrite).await]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 3);
    let rows = "SELECT id || ' ' || left(name, 9) || ' ' || big || ' ' || deep FROM things ORDER BY id";
    insta::assert_snapshot!(lines(&bench.landing, rows).await, @r#"
    1 tab	here  12345678901234567890.000001 {"a": "x"}
    2 tab	here  12345678901234567890.000002 {"a": "x"}
    3 tab	here  12345678901234567890.000003 {"a": "x"}
    "#);
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, SUMS).await, "3 3 3 3");
}

#[tokio::test]
async fn secrets_lie_in_a_closed_folder_that_goes() {
    let program = Program::new();
    let bench = program.bench(json!({})).await;
    bench.engine.check(&bench.source_handle).await.unwrap();
    assert_eq!(program.noted("mode").trim(), "700");
    assert!(!Path::new(program.noted("folder").trim()).exists());
    let environment = program.noted("env");
    assert!(environment.contains("PATH=") && !environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept() {
    let left = tempfile::Builder::new().prefix("aam-connector-").tempdir().unwrap().keep();
    let used = tempfile::Builder::new().prefix("aam-connector-").tempdir().unwrap();
    std::fs::write(left.join("in-use"), "").unwrap();
    let in_use = std::fs::File::create(used.path().join("in-use")).unwrap();
    in_use.lock().unwrap();
    let program = Program::new();
    let bench = program.bench(json!({})).await;
    bench.engine.check(&bench.source_handle).await.unwrap();
    assert!(!left.exists() && used.path().exists());
}

#[tokio::test]
async fn errors_say_what_the_connector_said() {
    let program = Program::new();
    let mut bench = program.bench(json!({})).await;
    let mut said = Vec::new();
    for wrong in ["bad", "crash", "usage", "silent"] {
        program.set(&mut bench, json!({"wrong": wrong}));
        said.push(bench.engine.check(&bench.source_handle).await.unwrap_err());
    }
    program.set(&mut bench, json!({"api_key": "open"}));
    said.push(bench.engine.check(&bench.source_handle).await.unwrap_err());
    program.set(&mut bench, json!({"wrong": "nothing"}));
    said.push(bench.engine.discover(&bench.source_handle).await.unwrap_err());
    let settings = said.iter().map(|e| e.remedy == Remedy::Person).collect::<Vec<_>>();
    assert_eq!(settings, [true, false, true, false, true, false]);
    let said: Vec<String> = said.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @"
    check of source things: wrong key ***
    check of source things: a bug
    check of source things: usage: connector
    check of source things: the connector said neither succeeded nor failed
    check of source things: `api_key` is a secret: write a reference, for example ${env:NAME}, and not the value
    discover of source things: the connector printed no catalog
    ");
}

#[tokio::test]
async fn a_secret_of_several_lines_on_standard_error_is_masked_before_its_last_line_is_taken() {
    let program = Program::new();
    let mut bench = program.bench(json!({})).await;
    program.set(&mut bench, json!({"wrong": "long"}));
    let key = format!("BEGIN\n{}END", "c2VjcmV0\n".repeat(100));
    let settings = bench.source_handle.config.expose().clone();
    bench.source_handle.config = ResolvedConfig::new(settings, vec![key.clone().into()], String::new());
    let mut said = Vec::new();
    for after in [0, 4000] {
        let words = format!("no login with {key}{}", ".".repeat(after));
        std::fs::write(program.folder.path().join("stderr"), words).unwrap();
        said.push(bench.engine.check(&bench.source_handle).await.unwrap_err().to_string().replace("....", ""));
    }
    insta::assert_snapshot!(said.join("\n"), @"
    check of source things: no login with ***
    check of source things: no login with ***...
    ");
}

#[tokio::test]
async fn only_programs_that_the_settings_name_are_run() {
    let program = Program::new();
    let bench = program.bench(json!({})).await;
    let settings = json!({"here": program.folder.path()});
    let refused = |command: Value| handle("x", "airbyte", json!({"command": command, "config": settings}));
    let mut said = Vec::new();
    for command in [json!(["/bin/rm"]), json!([]), json!("rm")] {
        said.push(bench.engine.check(&refused(command)).await.unwrap_err().to_string());
    }
    let engine = EmbeddedEngine::open(bench.registry.clone(), allowed(vec!["no-such-program".into()])).await.unwrap();
    said.push(engine.check(&refused(json!(["no-such-program"]))).await.unwrap_err().to_string());
    insta::assert_snapshot!(said.join("\n"), @"
    source x: the program /bin/rm may not be run: add it to `[engine] commands` in config/aam.toml of this machine
    source x: `command` is empty
    source x: `command` must be a list of texts
    source x: there is no program no-such-program on this machine: write its whole path, or install it where PATH leads
    ");
    assert!(program.noted("env").is_empty(), "nothing ran");

    // An entry with arguments allows the program with these first, and nothing else.
    let bound = vec![format!("{} check", program.command)];
    let engine = EmbeddedEngine::open(bench.registry.clone(), allowed(bound)).await.unwrap();
    for (command, may_run) in [(json!([program.command]), false), (json!([program.command, "check"]), true)] {
        assert_eq!(engine.check(&refused(command)).await.is_ok(), may_run);
    }
}

#[tokio::test]
async fn a_manifest_lies_below_the_configuration_root() {
    let program = Program::new();
    let bench = program.bench(json!({})).await;
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    crate::support::write(root.path(), "manifests/tickets.yaml", "version: 1\n");
    crate::support::write(outside.path(), "secret.yaml", "version: 1\n");
    std::os::unix::fs::symlink(outside.path(), root.path().join("elsewhere")).unwrap();
    let allowed = aam::connector::Programs { allowed: vec![program.command.clone()], root: root.path().to_owned() };
    let engine = EmbeddedEngine::open(bench.registry.clone(), allowed).await.unwrap();
    let absolute = root.path().join("manifests/tickets.yaml");
    let given = ["manifests/tickets.yaml", "tickets.yaml", "manifests", "elsewhere/secret.yaml", "../x.yaml"];
    let mut said = String::new();
    for manifest in given.into_iter().chain(absolute.to_str()) {
        let config =
            json!({"command": [program.command], "manifest": manifest, "config": {"here": program.folder.path()}});
        let told = match engine.check(&handle("x", "airbyte", config)).await {
            Ok(()) => format!("runs with {}\n", program.noted("manifest").trim()),
            Err(error) => format!("{error}\n"),
        };
        said.push_str(&told.replace(root.path().to_str().unwrap(), "ROOT"));
    }
    insta::assert_snapshot!(said, @"
    runs with ROOT/manifests/tickets.yaml
    source x: manifest tickets.yaml: there is no such file below the configuration root
    source x: manifest manifests: it is no file
    source x: manifest elsewhere/secret.yaml: a link leads out of the configuration root
    source x: manifest ../x.yaml: it does not lie below the configuration root
    source x: manifest ROOT/manifests/tickets.yaml: it does not lie below the configuration root
    ");
}

/// A connector that dies between two states: what landed behind the last one comes once.
async fn dies_and_goes_on(mode: StreamMode) {
    let program = Program::new();
    // rows of about 500 bytes: several batches, with and without a state in them
    let mut bench = program.bench(json!({"total": 40000, "every": 9000, "die": 30000})).await;
    let id = bench.configure(vec![bench.stream("things", mode).await]).await;
    let job = bench.sync(&id).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.unwrap().contains("the API went away"));
    program.set(&mut bench, json!({"total": 40000, "every": 9000}));
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, SUMS).await, "40000 40000 40000 40000");
    program.set(&mut bench, json!({"total": 40005, "every": 9000}));
    bench.sync_ok(&id).await;
    assert!(lines(&bench.landing, SUMS).await.contains(" 40005 40005 "));
}

#[tokio::test]
async fn an_append_goes_on_at_the_last_state() {
    dies_and_goes_on(IncrementalAppend).await;
}

#[tokio::test]
async fn a_dedup_goes_on_at_the_last_state() {
    dies_and_goes_on(IncrementalAppendDedup).await;
}

#[tokio::test]
async fn an_incomplete_stream_is_a_failure_and_keeps_its_rows() {
    let program = Program::new();
    let mut bench = program.bench(json!({"total": 10, "every": 5, "wrong": "incomplete"})).await;
    let id = bench.configure(vec![bench.stream("things", IncrementalAppend).await]).await;
    let job = bench.sync(&id).await;
    assert_eq!(job.state, JobState::Failed);
    program.set(&mut bench, json!({"total": 12, "every": 5}));
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, SUMS).await, "12 12 12 12");
}

#[tokio::test]
async fn a_source_that_delivers_little_at_a_time_gets_on() {
    let program = Program::new();
    let mut bench = program.bench(json!({"total": 100, "every": 10, "die": 45})).await;
    let id = bench.configure(vec![bench.stream("things", IncrementalAppend).await]).await;
    assert_eq!(bench.sync(&id).await.state, JobState::Failed);
    assert_eq!(lines(&bench.landing, SUMS).await, "40 40 40 40", "up to the last state");
    program.set(&mut bench, json!({"total": 100, "every": 10, "die": 85}));
    assert_eq!(bench.sync(&id).await.state, JobState::Failed);
    assert_eq!(lines(&bench.landing, SUMS).await, "80 80 80 80");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_never_passed_over() {
    let program = Program::new();
    let bench = program.bench(json!({"wrong": "garbled"})).await;
    let id = bench.configure(vec![bench.stream("things", IncrementalAppend).await]).await;
    let job = bench.sync(&id).await;
    assert_eq!(job.state, JobState::Failed);
    insta::assert_snapshot!(job.error.unwrap(), @"reading stream things of source things: a record or state is no JSON (column 66)");
}

#[tokio::test]
async fn a_child_that_outlives_its_connector_is_killed() {
    let program = Program::new();
    let bench = program.bench(json!({"wrong": "orphan"})).await;
    let id = bench.configure(vec![bench.stream("things", FullRefreshOverwrite).await]).await;
    bench.sync(&id).await;
    gone(&PathBuf::from("/proc").join(program.noted("child").trim())).await;
}

/// Rows of a killed job that lie behind its position are not read, and go when the next job begins.
#[tokio::test]
async fn open_rows_of_a_killed_job_are_neither_read_nor_doubled() {
    let program = Program::new();
    let mut bench = program.bench(json!({"total": 20, "every": 10})).await;
    let id = bench.configure(vec![bench.stream("things", IncrementalAppend).await]).await;
    bench.sync_ok(&id).await;
    // as kill -9 leaves it between two batches: five more rows, no position behind them
    run(
        &bench.landing,
        "INSERT INTO things SELECT 'ffffffff-ffff-7fff-bfff-ffffffffff0' || id, _airbyte_extracted_at,
             jsonb_set(_airbyte_meta, '{sync_id}', '2'), _airbyte_generation_id, big, deep, id + 100, name
         FROM things WHERE id < 6;
         UPDATE airbyte_internal.aam_engine_state SET job = 2, open_job = 2, finished = false,
             last_raw_id = 'ffffffff-ffff-7fff-bfff-ffffffffff05'",
    )
    .await;
    assert_eq!(bench.landed("things", 100).await.len(), 20);
    program.set(&mut bench, json!({"total": 30, "every": 10}));
    run(&bench.registry, "SELECT setval(pg_get_serial_sequence('aam_engine.jobs', 'id'), 2)").await;
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, "SELECT count(*) || ' ' || max(id) FROM things").await, "30 30");
}

#[tokio::test]
async fn a_stop_kills_it_with_its_children() {
    let program = Program::new();
    let bench = program.bench(json!({"wrong": "hang"})).await;
    let id = bench.configure(vec![bench.stream("things", FullRefreshOverwrite).await]).await;
    bench.engine.start_sync(&bench.order(&id)).await.unwrap();
    let child = loop {
        let child = program.noted("child");
        if child.ends_with('\n') {
            break PathBuf::from("/proc").join(child.trim());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(child.exists());
    bench.engine.shutdown().await;
    gone(&child).await;
}

async fn gone(child: &Path) {
    for _ in 0..200 {
        if !child.exists() || std::fs::read_to_string(child.join("stat")).is_ok_and(|stat| stat.contains(") Z ")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} still runs", child.display());
}
