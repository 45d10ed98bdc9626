//! A daemon's manners: signals, one per state folder, commands beside it.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use crate::support::world::{World, until};

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_beside_a_daemon_through_its_socket_which_only_its_owner_opens() {
    let world = World::with_crm("").await;
    let daemon = world.daemon().await;
    let socket = aam::wiring::control_socket(&world.root.join(".aam")).unwrap();
    let mode = socket.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM canonical_streams").await, "3");
    // The daemon did it: its holder wrote the job, and its log tells.
    daemon.logged("connection crm: sync 1 landed 3 rows").await;
    daemon.logged("connection crm: 3 upserts, 0 deletes, 0 dead letters from job 1").await;
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam_is(0, &["drift", "reject", "crm", "--reason", "we need it"]);
    world.aam_is(0, &["plan"]);

    let second = world.aam(&["run"]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.talk.contains("a daemon runs already"), "{second:?}");
    world.aam_is(0, &["apply"]);
    let (code, took) = daemon.stop().await;
    assert!(code == 0 && took < Duration::from_secs(10), "exit code {code} after {took:?}");
    // Without the daemon the same command works by itself.
    world.aam_is(0, &["sync", "crm"]);
    let third = world.daemon().await;
    assert_eq!(third.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_the_settings_and_keeps_the_old_ones_if_they_are_bad() {
    let world = World::with_crm("").await;
    let settings = world.read("config/aam.toml");
    world.write("config/aam.toml", &format!("{settings}\n[engine]\nmode = \"observe\"\n"));
    let daemon = world.daemon().await;
    assert!(world.aam(&["apply"]).talk.contains("needs mode: manage"));

    world.write("config/aam.toml", &format!("{settings}\n[engine]\nmode = \"manege\"\n"));
    daemon.signal("HUP");
    daemon.logged("settings not reloaded, the old ones stay in force").await;
    assert!(!world.registry.has("SELECT 1 FROM connections").await);

    world.write("config/aam.toml", &settings);
    daemon.signal("HUP");
    daemon.logged("settings reloaded").await;
    until("the new settings act", 30, async || {
        world.registry.has("SELECT 1 FROM connections WHERE status = 'ACTIVE'").await.then_some(())
    })
    .await;
    assert_eq!(daemon.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_running_sync_at_a_commit_and_the_next_start_goes_on() {
    let world = World::with_crm("").await;
    // A source that takes its time: each row that is read sleeps a little.
    world
        .source
        .run(
            "INSERT INTO accounts SELECT i, 'n' || i, 'CA', i FROM generate_series(4, 60000) i;
             CREATE FUNCTION slow(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 FROM pg_sleep(0.0002)';
             CREATE VIEW tardy AS SELECT slow(id) AS id, name FROM accounts",
        )
        .await;
    world.write("mappings/crm.yaml", &world.read("mappings/crm.yaml").replace("public/accounts", "public/tardy"));
    let spec = world.read("connectors.d/crm.yaml").replace("mapping: crm\n", "streams: {public/tardy: {}}\n");
    world.write("connectors.d/crm.yaml", &spec);
    world.commit("a slow source");
    let daemon = world.daemon().await;
    world.aam_is(0, &["apply"]);
    let mut asking = world.start(&["sync", "crm"]);
    until("the sync runs", 30, async || {
        world.registry.has("SELECT 1 FROM aam_engine.jobs WHERE state = 'running'").await.then_some(())
    })
    .await;
    let (code, took) = daemon.stop().await;
    assert!(code == 0 && took < Duration::from_secs(10), "exit code {code} after {took:?}");
    assert!(!asking.wait().unwrap().success(), "who asked is told that the daemon went");
    assert!(world.registry.has("SELECT 1 FROM intents WHERE effect = 'sync'").await, "the sync was over already");

    world.source.run("CREATE OR REPLACE FUNCTION slow(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1'").await;
    let daemon = world.daemon().await;
    daemon.logged("connection crm: sync 1 landed 60000 rows").await;
    let landed = "SELECT count(*) || ' ' || count(DISTINCT id) FROM public.tardy";
    assert_eq!(world.warehouse.one(landed).await, "60000 60000");
    assert_eq!(daemon.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_no_longer_than_its_grace_even_if_a_step_hangs() {
    let world = World::with_crm("[daemon]\nshutdown_grace = \"1s\"\n").await;
    let daemon = world.daemon().await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    // Somebody holds the landing table, so the next sync hangs in the midst of a write.
    let mut held = world.warehouse.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE public.accounts IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let mut asking = world.start(&["sync", "crm"]);
    until("the sync hangs", 30, async || {
        world
            .warehouse
            .has("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
            .await
            .then_some(())
    })
    .await;
    let (code, took) = daemon.stop().await;
    assert!(code == 0 && took < Duration::from_secs(6), "exit code {code} after {took:?}");
    asking.wait().unwrap();
    held.rollback().await.unwrap();
    let daemon = world.daemon().await;
    daemon.logged("connection crm: sync 2 landed").await;
    assert_eq!(world.warehouse.one("SELECT count(*) || ' ' || count(DISTINCT id) FROM accounts").await, "3 3");
    assert_eq!(daemon.stop().await.0, 0);
}

/// A port that passes everything on to the cluster until it is `stuck`: then it accepts and never answers.
async fn proxy(stuck: Arc<AtomicBool>) -> u16 {
    async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, stuck: Arc<AtomicBool>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            if stuck.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let _ = to.write_all(&buffer[..n]).await;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = UnixStream::connect(crate::support::cluster().join(".s.PGSQL.5432")).await.unwrap();
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_read, far_write, stuck.clone()));
            tokio::spawn(pass(far_read, near_write, stuck.clone()));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_daemon_whose_registry_hangs() {
    let world = World::with_crm("[daemon]\ntick = \"1s\"\n").await;
    let stuck = Arc::new(AtomicBool::new(false));
    let through = format!("postgres://postgres@127.0.0.1:{}/{}", proxy(stuck.clone()).await, world.registry.name);
    let settings = world.read("config/aam.toml").replace(&world.registry_url(), &through);
    world.write("config/aam.toml", &settings);
    let daemon = world.daemon().await;
    world.aam_is(0, &["apply"]);
    stuck.store(true, Ordering::Relaxed);
    // It asks for status as the daemon does, so it hangs when the daemon does.
    let mut asking = world.start(&["status"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(asking.try_wait().unwrap().is_none(), "the registry answers");
    let (code, took) = daemon.stop().await;
    assert!(code == 0 && took < Duration::from_secs(5), "exit code {code} after {took:?}");
    asking.kill().unwrap();
    asking.wait().unwrap();
}
