//! Bad and missing files: a bad one stops only what it declares, a missing one is never "all gone".

use aam::http::{Control, Request};
use serde_json::Value;

use crate::support::world::{World, until};

/// `n` connections c00, c01, … that share one source and one table; onboarded.
async fn many(n: usize, settings: &str) -> World {
    let world = World::new(settings).await;
    world.source.run("CREATE TABLE accounts (id int PRIMARY KEY)").await;
    world.write("connectors.d/warehouse.yaml", &world.destination());
    let source = format!("kind: source\ntype: postgres\nconfig: {}\n", world.config(&world.source));
    world.write("connectors.d/crm.yaml", &source);
    for i in 0..n {
        world.write(&path(i), SPEC);
    }
    world.commit("all of them");
    world.aam_is(0, &["apply"]);
    world
}

const SPEC: &str = "kind: connection\nsource: crm\ndestination: warehouse\nschedule: manual\ndrift: {check: manual}\n";

fn path(i: usize) -> String {
    format!("connectors.d/c{i:02}.yaml")
}

fn status(world: &World, code: i32) -> Value {
    serde_json::from_str(&world.aam_is(code, &["status", "--format", "json"])).unwrap()
}

/// How many connections have this status and, in the engine, may run.
async fn count(world: &World, status: &str) -> String {
    let sql = format!("SELECT count(*)::text FROM connections WHERE status = '{status}'");
    world.registry.one(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_among_fifty_keeps_its_last_good_spec_and_the_others_go_on() {
    let world = many(50, "").await;
    world.write(&path(7), "kind: connection\nsource: crm\ndestinaton: warehouse\n");
    world.write(&path(8), &format!("{SPEC}on_delete: delete\n"));
    world.commit("a typo in c07, a change of c08");
    let applied = world.aam_is(1, &["apply"]);
    assert_eq!(applied, "~ c08  update settings from its spec (applied)\n");
    let report = status(&world, 1);
    let stale: Vec<&str> = report["connections"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["stale"] == true)
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(stale, ["c07"]);
    assert!(report["problems"][0].as_str().unwrap().starts_with("connectors.d/c07.yaml:"), "{}", report["problems"]);
    assert_eq!(count(&world, "ACTIVE").await, "50");

    // It still works by its last good version, and the others see what is new at the source.
    world.aam_is(0, &["sync", "c07"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN name text").await;
    world.aam_is(1, &["apply", "--look"]);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM connections WHERE version = 2").await, "50");

    world.write(&path(7), SPEC);
    world.commit("mended");
    world.aam_is(0, &["apply"]);
    assert!(status(&world, 0)["connections"].as_array().unwrap().iter().all(|c| c["stale"] == false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_folder_is_never_all_gone_until_a_person_confirms() {
    let world = many(2, "").await;
    world.git(&["rm", "--quiet", "-r", "connectors.d"]);
    world.commit("oops");
    for args in [&["apply"][..], &["status"], &["plan"]] {
        let ran = world.aam(args);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(args == ["apply"] || ran.out.contains("every spec is gone"), "{ran:?}");
    }
    assert_eq!(count(&world, "ACTIVE").await, "2");
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.aam_is(0, &["apply"]);
    assert_eq!(count(&world, "ACTIVE").await, "2");

    world.git(&["rm", "--quiet", "-r", "connectors.d"]);
    world.commit("really");
    world.aam_is(0, &["apply", "--confirm-removals"]);
    assert_eq!(count(&world, "RETIRED").await, "2");
    // Without a commit, a missing folder means nothing at all.
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.aam_is(0, &["apply"]);
    std::fs::remove_dir_all(world.root.join("connectors.d")).unwrap();
    world.aam_is(0, &["apply"]);
    assert_eq!(count(&world, "ACTIVE").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_shrinks_by_more_than_the_budget_waits_for_a_person() {
    let world = many(5, "").await;
    (0..4).for_each(|i| std::fs::remove_file(world.root.join(path(i))).unwrap());
    world.commit("four of five");
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(count(&world, "ACTIVE").await, "5");
    assert!(world.aam_is(3, &["status"]).contains("4 of 5 specs are gone, the change budget is 3"));
    world.aam_is(0, &["apply", "--confirm-removals"]);
    assert_eq!((count(&world, "ACTIVE").await, count(&world, "RETIRED").await), ("1".into(), "4".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_holds_for_the_removals_of_its_plan_and_for_none_that_come_later() {
    let world = many(10, "").await;
    let daemon = world.daemon().await;
    world.aam_is(0, &["sync", "c09"]);
    // A sync that hangs keeps the command that confirms waiting.
    let mut held = world.warehouse.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE public.accounts IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let mut syncing = world.start(&["sync", "c09"]);
    let running = "SELECT 1 FROM aam_engine.jobs WHERE state = 'running'";
    until("the sync runs", 30, async || world.registry.has(running).await.then_some(())).await;
    let remove = |some: std::ops::Range<usize>| {
        some.for_each(|i| std::fs::remove_file(world.root.join(path(i))).unwrap());
        world.commit("some go");
    };
    remove(0..4);
    let mut confirming = world.start(&["apply", "--confirm-removals"]);
    until("four are gone", 30, async || (count(&world, "RETIRED").await == "4").then_some(())).await;
    remove(4..8);
    aam::wiring::install_tls();
    let control = Control::find(&aam::wiring::control_socket(&world.root.join(".aam")).unwrap()).unwrap().unwrap();
    let report = control.ask(&Request::Status).await.unwrap().report;
    assert!(confirming.try_wait().unwrap().is_none(), "the command ended too early for this test");
    assert!(report.refused.unwrap().contains("4 of 6 specs are gone"));
    assert_eq!(count(&world, "RETIRED").await, "4");
    held.rollback().await.unwrap();
    confirming.wait().unwrap();
    syncing.wait().unwrap();
    assert_eq!(world.aam(&["apply"]).code, 3);
    assert_eq!(count(&world, "RETIRED").await, "4");
    assert_eq!(daemon.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_spec_that_goes_is_paused_or_deleted_as_it_said_and_resumes_when_it_is_back() {
    let world = many(10, "").await;
    world.write(&path(1), &format!("{SPEC}on_delete: delete\n"));
    world.commit("c01 would be deleted");
    world.aam_is(0, &["apply"]);
    let engine = "SELECT count(*)::text FROM aam_engine.objects WHERE kind = 'connection'";
    assert_eq!(world.registry.one(engine).await, "10");
    for (i, left) in [(0, "10"), (1, "9")] {
        let id = world.registry.one(&format!("SELECT id::text FROM connections WHERE name = 'c{i:02}'")).await;
        std::fs::remove_file(world.root.join(path(i))).unwrap();
        world.commit("one goes");
        world.aam_is(0, &["apply"]);
        let row = format!("SELECT status || ' ' || paused FROM connections WHERE id = '{id}'");
        assert_eq!(world.registry.one(&row).await, if i == 0 { "RETIRED true" } else { "RETIRED false" });
        assert_eq!(world.registry.one(engine).await, left);
        let ran = world.aam(&["sync", &format!("c{i:02}")]);
        assert_eq!(ran.code, 1, "a retired connection does not sync: {ran:?}");

        world.git(&["revert", "--no-edit", "HEAD"]);
        world.aam_is(0, &["apply"]);
        assert_eq!(world.registry.one(&row).await, "ACTIVE false");
        assert_eq!(world.registry.one(engine).await, "10");
        if i == 0 {
            world.aam_is(0, &["sync", "c00"]);
        }
    }
    assert_eq!(world.registry.one("SELECT count(*)::text FROM connections").await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_comes_back_without_its_lock_runs_again() {
    let world = many(1, "").await;
    world.git(&["rm", "--quiet", &path(0), "connectors.d/c00.lock.yaml"]);
    world.commit("both go");
    world.aam_is(0, &["apply", "--confirm-removals"]);
    // Edited, too: the lock is written first, its settings follow.
    world.write(&path(0), &format!("{SPEC}streams: {{public/accounts: {{mode: full_refresh_append}}}}\n"));
    world.commit("the spec is back");
    world.aam_is(0, &["apply"]);
    assert_ne!(world.committed("connectors.d/c00.lock.yaml"), "(none)");
    world.aam_is(0, &["sync", "c00"]);
    let enabled = "SELECT (draft->>'enabled') FROM aam_engine.objects WHERE kind = 'connection'";
    assert_eq!(world.registry.list(enabled).await, ["true"]);
}
