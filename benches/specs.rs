//! `aam check` and a plan that finds nothing to do, over 1,000 and 10,000 files, as ratios to reading the same files and
//! parsing them with plain serde in the same run. Fails if `aam check` takes more memory than it may.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
#![allow(dead_code, reason = "the plain shapes are only parsed")]

mod timing;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use aam::diag::Diagnostic;
use aam::model::{Catalog, CommitId, ConnectionId};
use aam::plan::{ConnectionRow, ConnectionStatus, EngineId, Facts, Limits, Look, ObjectKind, World};
use aam::spec::{Desired, Input, Lock, Mode, Schedule, lock, resolve};
use chrono::Utc;
use serde::Deserialize;
use uuid::Uuid;

use timing::best;

/// Streams in each spec and lock, so that a spec and its lock are about 2 KiB each.
const STREAMS: usize = 6;
/// Each connection's look and sync are far in the future.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What anyone would write to read the same files: no places, no checks.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading them is measured")]
struct PlainConnection {
    kind: String,
    source: PlainSource,
    destination: String,
    schedule: BTreeMap<String, String>,
    streams: BTreeMap<String, PlainChoice>,
    #[serde(default)]
    mapping: Option<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading them is measured")]
struct PlainSource {
    r#type: String,
    config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading them is measured")]
struct PlainChoice {
    mode: String,
    cursor: String,
    key: Vec<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading them is measured")]
struct PlainLock {
    id: String,
    version: u32,
    fingerprint: String,
    streams: BTreeMap<String, PlainStream>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading them is measured")]
struct PlainStream {
    key: Vec<String>,
    cursor: String,
    modes: Vec<String>,
    fields: BTreeMap<String, String>,
}

/// What the whole process may hold at most, whatever the input.
const MAX_PEAK_MIB: f64 = 256.0;

fn main() -> ExitCode {
    let peaks = [1_000, 10_000].map(measure);
    if peaks.iter().any(|peak| *peak > MAX_PEAK_MIB) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the figures and returns the peak of `aam check` in MiB.
fn measure(files: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (written, bytes) = write_repository(root, files / 2);
    reset_peak();
    let plain = best(|| {
        for (path, is_lock) in &written {
            let text = std::fs::read_to_string(path).unwrap();
            if *is_lock {
                black_box(read_lock(&text));
            } else {
                black_box(read_connection(&text));
            }
        }
    });
    let plain_peak = peak_mib();
    reset_peak();
    let check_time = best(|| drop(black_box(check(root))));
    let check_peak = peak_mib();
    let (desired, diagnostics) = check(root);
    assert!(diagnostics.is_empty(), "{:?}", diagnostics.first());
    let rows: Vec<ConnectionRow> = desired.connections.values().map(row).collect();
    let plan_time = best(|| plan(&desired, &rows));
    let (git_first, git_again) = committed(root);
    let ratio = |time: Duration| time.as_secs_f64() / plain.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{} files, {:.1} KiB each", written.len(), bytes as f64 / 1024.0 / written.len() as f64);
    println!("  plain serde         {:8.1} ms  {:5.2}   peak {plain_peak:.0} MiB", ms(plain), 1.0);
    println!(
        "  aam check           {:8.1} ms  {:5.2}   peak {check_peak:.0} MiB (limit {MAX_PEAK_MIB}{}), time limit for 10,000: 2000 ms",
        ms(check_time),
        ratio(check_time),
        if check_peak > MAX_PEAK_MIB { ", OVER" } else { "" }
    );
    println!("  no-op plan          {:8.1} ms  {:5.2}", ms(plan_time), ratio(plan_time));
    println!("  committed, first    {:8.1} ms  {:5.2}   (through git)", ms(git_first), ratio(git_first));
    println!("  committed, again    {:8.1} ms  {:5.2}", ms(git_again), ratio(git_again));
    check_peak
}

fn read_connection(text: &str) -> PlainConnection {
    serde_yaml::from_str(text).unwrap()
}

fn read_lock(text: &str) -> PlainLock {
    serde_yaml::from_str(text).unwrap()
}

/// What `aam check` does but for printing.
fn check(root: &Path) -> (Desired, Vec<Diagnostic>) {
    let snapshot = aam::wiring::read_worktree(root).unwrap();
    let input = Input {
        files: &snapshot.files,
        unreadable: &snapshot.unreadable,
        last_good: &BTreeMap::new(),
        engine: aam::spec::EngineKind::Embedded,
        mode_cap: Mode::Manage,
        look: Schedule::Every(DAY),
    };
    let mut resolution = resolve(&input);
    resolution.diagnostics.extend(aam::mapping::check(&resolution.desired));
    (resolution.desired, resolution.diagnostics)
}

/// A turn's plan where nothing moved since the last one.
fn plan(desired: &Desired, rows: &[ConnectionRow]) {
    let facts: BTreeMap<ConnectionId, Facts> =
        rows.iter().map(|row| (row.id, Facts { secrets: row.secrets.clone().map(Ok), ..Facts::default() })).collect();
    let limits = Limits { max_open: 5, budget_min: 3, budget_percent: 10, confirmed: aam::plan::Confirmed::Nothing };
    let commit = CommitId("0".repeat(40));
    let world = World {
        commit: Some(&commit),
        desired,
        rows,
        drifts: &[],
        facts: &facts,
        drives_itself: false,
        engine_down: None,
        remote_down: None,
        behind: None,
        limits: &limits,
        now: Utc::now(),
    };
    let plan = aam::plan::plan(&world);
    assert!(plan.is_empty(), "{}", aam::plan::render(&plan));
    black_box(plan.digest());
}

/// Reads the committed state through git, for the first time and again.
fn committed(root: &Path) -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let state = tempfile::tempdir().unwrap();
        let repo = aam::repo::open(root, Some("main"), state.path()).await.unwrap().repo(None);
        let start = Instant::now();
        black_box(repo.committed().await.unwrap());
        let first = start.elapsed();
        let start = Instant::now();
        black_box(repo.committed().await.unwrap());
        (first, start.elapsed())
    })
}

/// A connection that stands as its spec and lock say.
fn row(connection: &aam::spec::Connection) -> ConnectionRow {
    let lock = connection.lock.as_ref().unwrap();
    let now = Utc::now();
    ConnectionRow {
        id: lock.id,
        name: connection.name.clone(),
        status: ConnectionStatus::Active,
        reason: None,
        retry_at: None,
        failures: 0,
        objects: BTreeMap::from([(ObjectKind::Connection, EngineId("1".into()))]),
        version: lock.version,
        fingerprint: Some(lock.fingerprint.clone()),
        applied_digest: Some(connection.digest.clone()),
        secrets: Some("s".into()),
        look: Some(Look { at: now, seen: Ok(lock.fingerprint.clone()) }),
        last_sync_at: Some(now),
        last_ended_job: None,
        normalized_job: None,
        created_at: now,
        paused: false,
        troubles: BTreeMap::new(),
        tried: None,
        held: Default::default(),
    }
}

/// A committed repository with so many connections, each a spec and a lock; their paths, and the bytes of all.
fn write_repository(root: &Path, connections: usize) -> (Vec<(PathBuf, bool)>, usize) {
    for folder in ["connectors.d", "mappings/entities"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let entity = include_str!("../mappings/entities/account.yaml");
    let fixed = [
        (
            "connectors.d/warehouse.yaml",
            "kind: destination\ntype: postgres\nconfig: {host: db.example.org, database: w, username: aam}\n",
        ),
        (
            "mappings/crm.yaml",
            "kind: mapping\nsystem: crm\nentities:\n  account:\n    stream: public/accounts_0\n    key: id\n    fields: {name: name}\n",
        ),
        ("mappings/entities/account.yaml", entity),
    ];
    fixed.iter().for_each(|(path, text)| std::fs::write(root.join(path), text).unwrap());
    let mut written = Vec::new();
    let mut bytes = 0;
    for n in 0..connections {
        for (name, text) in [(format!("c{n}.yaml"), spec(n)), (format!("c{n}.lock.yaml"), lock_text(n))] {
            let path = root.join("connectors.d").join(&name);
            bytes += text.len();
            std::fs::write(&path, text).unwrap();
            written.push((path, name.ends_with(".lock.yaml")));
        }
    }
    for arguments in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-qm", "all"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]).args(arguments);
        assert!(git.current_dir(root).status().unwrap().success());
    }
    (written, bytes)
}

fn spec(n: usize) -> String {
    let mut text = format!(
        "# Connection {n}: what the team that owns it wants the others to know about it, in a line or two, as people do.\n\
         kind: connection\nsource:\n  type: postgres\n  config:\n    host: db{n}.example.org\n    database: crm\n    \
         username: aam\n    password: ${{env:CRM_PASSWORD_{n}}}\ndestination: warehouse\n\
         schedule: {{cron: \"0 */6 * * *\", timezone: Europe/Berlin}}\nmapping: crm\nstreams:\n"
    );
    for stream in 0..STREAMS {
        text.push_str(&format!(
            "  # stream {stream} is read by increments, since it is far too large to be read as a whole every time;\n  \
             # its owner promises that `updated_at` grows with every change of a row, and that rows are never deleted\n  \
             public/accounts_{stream}:\n    mode: incremental_append_dedup\n    cursor: updated_at\n    key: [id]\n"
        ));
    }
    text
}

fn lock_text(n: usize) -> String {
    let fields = serde_json::json!({
        "id": "integer!", "name": "string!", "billing_state": "string", "annual_revenue": "decimal(12,2)",
        "employee_count": "integer", "created_at": "timestamp_tz!", "updated_at": "timestamp_tz!", "website": "string",
        "owner_id": "integer", "is_deleted": "boolean",
    });
    let stream = serde_json::json!({
        "key": ["id"], "cursor": "any(updated_at)", "modes": ["full_refresh", "incremental"], "fields": fields,
    });
    let streams: serde_json::Map<_, _> =
        (0..STREAMS).map(|s| (format!("public/accounts_{s}"), stream.clone())).collect();
    let catalog = Catalog::from_body(&serde_json::Value::Object(streams)).unwrap();
    let id = ConnectionId(Uuid::from_u128(0x0195_b6f0_7c1e_7d44_9a53_0000_0000_0000 + n as u128));
    let lock = lock::sealed(Lock { id, version: 1, fingerprint: catalog.fingerprint(), catalog });
    lock::render(&lock, &format!("c{n}"))
}

/// Begins the measurement of the peak anew, where the system can.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that was resident since, in MiB; 0 where the system does not tell.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
