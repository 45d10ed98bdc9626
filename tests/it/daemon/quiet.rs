//! Nothing to do writes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aam::ports::Clock;
use aam::reconcile::{Doors, Reconciler, work_items};
use chrono::{DateTime, Utc};

use crate::support::world::World;

/// What may change while nothing changes: when was looked, and who held the lease for that.
const LOOKS_ONLY: &[&str] = &["public.connections:look_at", "public.leases"];

/// Everything that a run may write, outside the work tree's reflogs: rows, refs, index and files.
async fn everything(world: &World) -> Vec<String> {
    let mut all = world.registry.fingerprint(LOOKS_ONLY).await;
    all.extend(world.warehouse.fingerprint(&[]).await);
    all.push(world.git(&["for-each-ref"]));
    all.push(world.git(&["status", "--porcelain", "--ignored=no"]));
    all.push(world.git(&["count-objects"]));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_apply_writes_nothing() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    let before = everything(&world).await;
    assert!(
        before.iter().any(|line| line.starts_with("public.canonical_streams") && line.contains(" 3 ")),
        "{before:?}"
    );
    for args in [&["apply"][..], &["apply", "--look"], &["plan"], &["status"], &["drift", "list"]] {
        world.aam_is(3, args);
        assert_eq!(everything(&world).await, before, "aam {args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_read_write_nothing_even_after_a_commit() {
    let world = World::with_crm("").await;
    world.aam_is(2, &["plan", "--out", ".aam/plan.json"]);
    assert!(!world.registry.has("SELECT 1 FROM last_good_specs").await);
    world.aam_is(0, &["apply"]);
    world.write("connectors.d/crm.yaml", &format!("{}on_delete: delete\n", world.read("connectors.d/crm.yaml")));
    world.commit("an edit");
    let before = world.registry.fingerprint(&[]).await;
    for args in [&["plan"][..], &["status"], &["drift", "list"]] {
        world.aam_is(2, args);
        assert_eq!(world.registry.fingerprint(&[]).await, before, "aam {args:?}");
    }
    assert!(world.aam(&["apply", ".aam/plan.json"]).talk.contains("the plan moved, nothing was changed"));
    assert_eq!(world.registry.fingerprint(&[]).await, before, "a refused plan");
    world.aam_is(0, &["apply"]);
    assert!(world.registry.has("SELECT 1 FROM last_good_specs WHERE content LIKE '%on_delete: delete%'").await);
}

/// A clock that the test turns.
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_five_second_ticks_writes_nothing_but_look_times() {
    let world = World::with_crm("").await;
    let every = world.connection("mapping: crm\n").replace("check: manual", "check: {every: 5m}");
    world.write("connectors.d/crm.yaml", &every);
    world.commit("look each five minutes");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    let app = world.open().await;
    let clock = Arc::new(Turned(AtomicI64::new(Utc::now().timestamp())));
    let doors = Doors { clock: clock.clone(), ..app.reconciler.doors().clone() };
    let reconciler = Reconciler::new(doors, aam::wiring::policy(&app.settings), "hour".into());
    let (mut looks, before) = (0, everything(&world).await);
    let looked = "SELECT look_at::text FROM connections";
    let first_look = world.registry.one(looked).await;
    for second in (0..3600).step_by(5) {
        clock.0.fetch_add(5, Ordering::Relaxed);
        let gathered = Arc::new(reconciler.gather(None).await.unwrap());
        for item in work_items(&gathered, &gathered.plan()) {
            looks += 1;
            reconciler.execute(&gathered, &item).await;
            assert_eq!(everything(&world).await, before, "second {second}: {item:?}");
        }
    }
    assert_eq!(everything(&world).await, before);
    assert!((11..=13).contains(&looks), "{looks} looks in an hour of one each five minutes");
    assert_ne!(world.registry.one(looked).await, first_look, "the looks' times are kept");
    app.close().await.unwrap();
}
