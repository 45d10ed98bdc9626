//! A turn of the loop that finds nothing to do, with 200 and 1,000 managed connections in an Airbyte (the tests' stand-in), as
//! a ratio to what no way to do the same can leave out: the same requests sent by a plain HTTP client, the specs read and
//! parsed with plain serde if they are read at all, and git asked the same questions. Fails where the ratio of a turn with 1,000
//! is above its limit, of the first, which reads everything, or of a later one of the daemon; or where the number of calls
//! grows otherwise than with the pages of Airbyte's lists.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use aam::wiring::App;
use serde_json::{Value, json};

use airbyte::{Standin, connections};
use support::world::World;

#[path = "../tests/support/airbyte/mod.rs"]
mod airbyte;
#[path = "../tests/it/support/mod.rs"]
mod support;

/// How much longer than the bare parts a turn may take with 1,000 connections.
const LIMIT: f64 = 3.0;
/// Connections that share a source: so few that the sources of 1,000 are more than a page.
const SHARING: usize = 5;
/// Sources on a page of their list.
const PAGE: usize = 100;
/// Runs of each kind; the best counts.
const RUNS: usize = 5;

fn main() -> ExitCode {
    aam::wiring::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let few = measure(200).await;
        let many = measure(1_000).await;
        println!(
            "{} calls of the first turn with 200 connections, {} with 1,000; the first turn {:.2}, a later one {:.2} times the bare parts, limit {LIMIT}",
            few.calls[0], many.calls[0], many.first, many.again
        );
        // connections come in one answer, there is one destination, and nothing ran: of sources alone there are more pages
        let more = pages(1_000 / SHARING) - pages(200 / SHARING);
        let by_pages = many.calls == few.calls.map(|calls| calls + more);
        if !by_pages {
            println!("1,000 connections have {more} pages more than 200");
        }
        let good = by_pages && many.first <= LIMIT && many.again <= LIMIT;
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}

/// Pages of a list: after one that is full another is asked for.
fn pages(items: usize) -> usize {
    items / PAGE + 1
}

/// What a number of connections showed.
struct Measured {
    /// Calls of the first turn, and of a later one.
    calls: [usize; 2],
    /// Time of the first turn, which reads everything, by that of its bare parts.
    first: f64,
    /// Time of a later turn of the daemon by that of its bare parts.
    again: f64,
}

async fn measure(connections: usize) -> Measured {
    let began = Instant::now();
    let (world, standin) = managed(connections).await;
    println!("{connections} connections under management ({:.0} s to bring them there)", began.elapsed().as_secs_f64());

    let writes = standin.writes();
    // as a command does: everything is read for the first time
    let mut whole = Best::default();
    for _ in 0..RUNS {
        let app = world.open().await;
        whole.take(turn(&app, &standin).await);
        app.close().await.unwrap();
    }
    let bare = replay(&standin, &whole.requests).await
        + least(|| read_specs(&world.root))
        + least(|| {
            ask_git(&world.root);
            read_git(&world.root);
        });
    let first = report("first turn", &whole, bare);

    // as the daemon does, when it looks at Airbyte again
    let app = world.open().await;
    turn(&app, &standin).await;
    let mut later = Best::default();
    for _ in 0..RUNS {
        later.take(turn(&app, &standin).await);
    }
    app.close().await.unwrap();
    let bare = replay(&standin, &later.requests).await + least(|| ask_git(&world.root));
    let again = report("later turn", &later, bare);

    assert_eq!(standin.writes(), writes, "a turn that finds nothing to do writes nothing");
    Measured { calls: [whole.requests.len(), later.requests.len()], first, again }
}

fn report(what: &str, turn: &Best, bare: Duration) -> f64 {
    let ratio = turn.time.as_secs_f64() / bare.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "  {what}  {:7.1} ms  {:3} calls  {ratio:5.2} times the bare parts ({:.1} ms)",
        ms(turn.time),
        turn.requests.len(),
        ms(bare)
    );
    ratio
}

/// A request as the stand-in noted it: method, path, query and body.
type Request = (String, String, String, Value);

/// The quickest of some turns.
struct Best {
    time: Duration,
    requests: Vec<Request>,
}

impl Default for Best {
    fn default() -> Self {
        Self { time: Duration::MAX, requests: Vec::new() }
    }
}

impl Best {
    fn take(&mut self, (time, requests): (Duration, Vec<Request>)) {
        if time < self.time {
            *self = Self { time, requests };
        }
    }
}

/// One turn with a look at the whole of Airbyte, and what was asked for it.
async fn turn(app: &App, standin: &Standin) -> (Duration, Vec<Request>) {
    let before = standin.log().len();
    // the last look at Airbyte has to be older than `survey`
    tokio::time::sleep(Duration::from_millis(5)).await;
    let start = Instant::now();
    let gathered = app.reconciler.gather_to_act(None).await.unwrap();
    let plan = gathered.plan();
    let time = start.elapsed();
    assert!(plan.is_empty(), "{}", aam::plan::render(&plan));
    let requests = standin.log().into_iter().skip(before);
    (time, requests.map(|entry| (entry.method, entry.path, entry.query, entry.body)).collect())
}

/// The time of the same requests, one after the other, by a client that looks at no answer.
async fn replay(standin: &Standin, requests: &[Request]) -> Duration {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for (method, path, query, body) in requests {
            let mut request = client.request(method.parse().unwrap(), format!("{}/api{path}?{query}", standin.url));
            if !body.is_null() {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap().error_for_status().unwrap();
            black_box(answer.bytes().await.unwrap());
        }
        best = best.min(start.elapsed());
    }
    best
}

fn least(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..RUNS).map(time).min().unwrap()
}

/// Reads and parses every spec and lock.
fn read_specs(root: &Path) {
    for file in std::fs::read_dir(root.join("connectors.d")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        black_box(serde_yaml::from_str::<Value>(&text).unwrap());
    }
}

/// Where the tracked branch is, which work trees have it, and which repairs are open.
fn ask_git(root: &Path) {
    git(root, &["rev-parse", "--verify", "--quiet", "refs/heads/main^{commit}"], &[]);
    git(root, &["worktree", "list", "--porcelain"], &[]);
    git(root, &["for-each-ref", "refs/heads/aam/drift"], &[]);
}

/// Every file of the tracked branch.
fn read_git(root: &Path) {
    let listed = git(root, &["ls-tree", "-r", "--format=%(objectname)", "refs/heads/main"], &[]);
    black_box(git(root, &["cat-file", "--batch"], &listed));
}

fn git(root: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(root).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = git.spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let out = running.wait_with_output().unwrap();
        assert!(out.status.success());
        out.stdout
    })
}

/// A repository that manages so many connections of an Airbyte, as `aam import airbyte` wrote it and a person committed it.
async fn managed(count: usize) -> (World, Standin) {
    let standin = Standin::unjudged("1.8").await;
    standin.edit(|state| fill(state, count));
    let settings = format!(
        "[engine]\nkind = \"airbyte\"\nmode = \"manage\"\n\n[airbyte]\nurl = \"{}\"\nsurvey = \"1ms\"\ncalls_per_second = 1000000\n",
        standin.url
    );
    let world = World::new(&settings).await;
    let ran = world.aam(&["import", "airbyte"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    for file in std::fs::read_dir(world.root.join("connectors.d")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("mode: observe", "mode: manage")).unwrap();
    }
    world.commit("git decides");
    world.aam_is(0, &["apply"]);
    (world, standin)
}

/// Sources, a destination and connections as people made them. None has a secret, and none can be reached.
fn fill(state: &mut airbyte::state::State, count: usize) {
    state.credentials = None;
    let nowhere = "airbyte/destination-nowhere";
    let mut own = state.definitions.iter().find(|d| d.repository == "airbyte/source-faker").unwrap().clone();
    own.id = state.new_id();
    own.side = state.definitions.iter().find(|d| d.repository == "airbyte/destination-postgres").unwrap().side;
    (own.repository, own.name) = (nowhere.into(), nowhere.into());
    state.definitions.push(own);
    let destination = state.add_actor(nowhere, "Warehouse", json!({"count": 1}));
    let fields: BTreeMap<String, Value> =
        (0..20).map(|n| (format!("field_{n}"), json!({"type": ["null", "string"]}))).collect();
    let mut properties = json!({"id": {"type": "integer"}});
    properties.as_object_mut().unwrap().extend(fields);
    let streams: Vec<Value> = (0..4).map(|n| Standin::stream(&format!("stream_{n}"), &properties)).collect();
    let mut source = None;
    for n in 0..count {
        if n % SHARING == 0 {
            let id = state.add_actor("airbyte/source-faker", &format!("Source {n}"), json!({"count": 10}));
            state.conduct(id).streams = streams.clone();
            source = Some(id);
        }
        let entries: Vec<Value> = streams.iter().map(entry).collect();
        let body = json!({"name": format!("Connection {n}"), "sourceId": source, "destinationId": destination,
            "status": "active", "scheduleType": "manual", "namespaceDefinition": "destination",
            "syncCatalog": {"streams": entries}});
        connections::create(state, &body).map_err(|_| "refused").unwrap();
    }
}

fn entry(stream: &Value) -> Value {
    json!({"config": {"selected": true, "aliasName": stream["name"], "syncMode": "full_refresh",
        "destinationSyncMode": "overwrite", "cursorField": [], "primaryKey": [], "fieldSelectionEnabled": false,
        "selectedFields": [], "mappers": []}, "stream": stream})
}
