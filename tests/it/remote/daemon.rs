//! A running daemon: it looks at the remote on its interval, on SIGHUP and when a webhook says so; and a kill between push
//! and record.

use super::ground::executable;
use super::story::{at, world};
use crate::repo::desk::git;
use crate::support::world::{Daemon, World, until};

/// Pushes a spec edit as the person.
fn push_edit(world: &World, text: &str) -> String {
    world.git(&["pull", "--quiet"]);
    let spec = world.connection(&format!("mapping: crm\n# {text}\n"));
    world.write("connectors.d/crm.yaml", &spec);
    let commit = world.commit(text);
    world.git(&["push", "--quiet"]);
    commit
}

async fn applies(world: &World, commit: &str) {
    let short = &commit[..8];
    until("the commit is in force", 30, async || {
        let status = world.aam(&["status"]);
        (status.out.starts_with(&format!("main at {short}")) && status.code == 0).then_some(())
    })
    .await;
}

async fn settled(world: &World) -> Daemon {
    world.aam_is(0, &["apply"]);
    let daemon = world.daemon().await;
    world.aam_is(0, &["apply"]);
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remote_is_looked_at_on_the_interval() {
    let (mut world, _) = world("").await;
    world.env.push(("AAM_REPOSITORY__FETCH".to_owned(), "200ms".to_owned()));
    let daemon = settled(&world).await;
    applies(&world, &push_edit(&world, "seen by itself")).await;
    daemon.logged("the remote moved").await;
    assert_eq!(daemon.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_signed_webhook_look_at_the_remote_and_nothing_else_does() {
    let (mut world, _) = world("").await;
    for (name, value) in [
        ("AAM_REPOSITORY__FETCH", "1d"),
        ("AAM_HTTP__LISTEN", "127.0.0.1:0"),
        ("AAM_REPOSITORY__WEBHOOK_SECRET", "${env:HOOK}"),
        ("HOOK", "It's a Secret to Everybody"),
    ] {
        world.env.push((name.to_owned(), value.to_owned()));
    }
    let daemon = settled(&world).await;
    applies(&world, &{
        let commit = push_edit(&world, "by signal");
        daemon.signal("HUP");
        commit
    })
    .await;
    let url = until("the port is told", 10, async || {
        let log = daemon.log();
        let (_, rest) = log.split_once("webhooks are taken at ")?;
        Some(rest.lines().next().unwrap().to_owned())
    })
    .await;
    let commit = push_edit(&world, "by webhook");
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    aam::wiring::install_tls();
    let client = reqwest::Client::new();
    let post = async |url: &str, signature: Option<&str>, body: &'static str| {
        let request = client.post(url).body(body);
        let request = signature.into_iter().fold(request, |r, s| r.header("X-Hub-Signature-256", s));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let empty = |status: u16| (status, String::new());
    assert_eq!(post(&url, None, "Hello, World!").await, empty(401));
    assert_eq!(post(&url, Some(signature), "Hello, World?").await, empty(401));
    let other = url.replace("/hooks/git", "/v1/ask");
    assert_eq!(post(&other, Some(signature), "Hello, World!").await, empty(404));
    assert_eq!(client.get(&url).send().await.unwrap().status().as_u16(), 404);
    let status = world.aam(&["status"]).out;
    assert!(!status.starts_with(&format!("main at {}", &commit[..8])), "nobody looked: {status}");
    // Those who only hold the port open are in nobody's way.
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let _idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    assert_eq!(post(&url, Some(signature), "Hello, World!").await, empty(204));
    applies(&world, &commit).await;
    assert!(!daemon.log().contains("Secret to Everybody"));
    assert_eq!(daemon.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_goes_and_comes_back_is_told_once_each() {
    let (mut world, origin) = world("").await;
    world.env.push(("AAM_REPOSITORY__FETCH".to_owned(), "200ms".to_owned()));
    let daemon = settled(&world).await;
    let away = origin.with_extension("away");
    std::fs::rename(&origin, &away).unwrap();
    daemon.logged("what was fetched before stays in force").await;
    assert!(world.aam_is(4, &["status"]).contains("cannot be looked at since"));
    std::fs::rename(&away, &origin).unwrap();
    daemon.signal("HUP");
    daemon.logged("the remote can be looked at again").await;
    world.aam_is(0, &["status"]);
    assert_eq!(daemon.log().matches("stays in force").count(), 1, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_push_and_record_pushes_nothing_twice() {
    let (mut world, origin) = world("").await;
    world.env.push(("AAM_DAEMON__LEASE_TTL".to_owned(), "1s".to_owned()));
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    // The remote has it, and its answer is late.
    let (arrived, go_on) = (world.dir().join("arrived"), world.dir().join("go-on"));
    let wait = format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.1; done", arrived.display(), go_on.display());
    executable(&origin.join("hooks/post-receive"), &wait);
    let mut applying = world.start(&["apply", "--look"]);
    until("the push has arrived", 30, async || arrived.exists().then_some(())).await;
    applying.kill().unwrap();
    applying.wait().unwrap();
    std::fs::write(&go_on, "").unwrap();
    let pushed = git(&origin, &["rev-parse", "main"]);
    assert!(at(&origin, "connectors.d/crm.lock.yaml").contains("website"));
    world.aam_is(0, &["apply"]);
    assert_eq!(git(&origin, &["rev-parse", "main"]), pushed);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM sync_catalog_versions").await, "2");
    assert_eq!(world.registry.one("SELECT count(*)::text FROM intents").await, "0");
}
