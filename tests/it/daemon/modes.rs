//! Modes that only look, exit codes, and plans that are kept in a file.

use std::time::Duration;

use aam::reconcile::Policy;
use aam::spec::{Mode, Schedule};

use crate::support::world::World;

/// Every object of the engine with its row version: equal only if nothing was written.
async fn engine(world: &World) -> Vec<String> {
    world.registry.list("SELECT to_jsonb(o)::text || o.xmin FROM aam_engine.objects o ORDER BY 1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_and_propose_make_no_commit_and_no_engine_write_and_say_needs_mode_manage() {
    for mode in ["observe", "propose"] {
        let mut world = World::with_crm("").await;
        let capped = ("AAM_ENGINE__MODE".to_owned(), mode.to_owned());
        world.env.push(capped.clone());
        for args in [&["plan"][..], &["apply"], &["status"]] {
            let ran = world.aam(args);
            assert_eq!(ran.code, 3, "{mode}: {ran:?}");
            let said = if args == ["apply"] { &ran.talk } else { &ran.out };
            assert!(said.contains("needs mode: manage: it does not exist in the engine yet"), "{mode}: {ran:?}");
        }
        assert!(engine(&world).await.is_empty());
        assert!(!world.registry.has("SELECT 1 FROM connections").await);

        // What exists already is looked at; commits, engine and version stay.
        world.env.clear();
        world.aam_is(0, &["apply"]);
        world.env.push(capped);
        let spec = world.read("connectors.d/crm.yaml");
        world.write(
            "connectors.d/crm.yaml",
            &format!("{spec}streams: {{public/accounts: {{mode: full_refresh_append}}}}\n"),
        );
        world.commit("another mode");
        let (objects, main) = (engine(&world).await, world.git(&["rev-parse", "main"]));
        let ran = world.aam(&["apply"]);
        assert!(
            ran.code == 3 && ran.talk.contains("needs mode: manage: update settings from its spec"),
            "{mode}: {ran:?}"
        );
        world.git(&["revert", "--no-edit", "HEAD"]);
        world.aam_is(0, &["apply"]);
        world.source.run("ALTER TABLE accounts ADD COLUMN website text, DROP COLUMN employees").await;
        world.aam_is(3, &["apply", "--look"]);
        assert_eq!(engine(&world).await, objects, "{mode}: an engine write");
        assert_eq!(world.git(&["rev-list", "--count", &format!("{main}..main")]), "1", "{mode}: a commit of its own");
        let branches = world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]);
        assert_eq!(branches, if mode == "observe" { "" } else { "aam/drift/default/crm" });
        assert_eq!(world.registry.one("SELECT status FROM drift_events").await, "pending");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_read_anew_reach_specs_that_did_not_change() {
    let world = World::with_crm("").await;
    let spec = world.read("connectors.d/crm.yaml");
    world.write("connectors.d/crm.yaml", &spec.replace("drift:\n  check: manual\n", ""));
    world.commit("look as the settings say");
    let app = world.open().await;
    let check = async || {
        let gathered = app.reconciler.gather(None).await.unwrap();
        gathered.desired().connections.values().next().unwrap().drift.check.clone()
    };
    let every = |minutes: u64| Schedule::Every(Duration::from_secs(60 * minutes));
    assert_eq!(check().await, every(15));
    let limits = app.reconciler.limits();
    let policy = Policy {
        engine: aam::spec::EngineKind::Embedded,
        mode_cap: Mode::Manage,
        look: every(5),
        limits,
        approval: Vec::new(),
        automatic: Default::default(),
        lease_ttl: Duration::from_secs(30),
        survey: chrono::TimeDelta::minutes(1),
        requests: aam::wiring::policy(&app.settings).requests,
    };
    app.reconciler.set_policy(policy);
    assert_eq!(check().await, every(5));
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_where_it_stands() {
    let world = World::with_crm("").await;
    let codes = |expected: i32| {
        for args in [&["plan"][..], &["status"], &["drift", "list"]] {
            world.aam_is(expected, args);
        }
    };
    codes(2);
    world.aam_is(0, &["apply"]);
    codes(0);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    codes(3);
    let renamed = format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", world.source.name);
    world.registry.run(&renamed).await;
    world.aam_is(4, &["apply", "--look"]);
    codes(4);
    assert!(world.aam(&["status"]).out.contains("could not look"));
    world.write("connectors.d/crm.yaml", "kind: conection\n");
    world.commit("a typo");
    world.aam_is(1, &["apply"]);
    codes(1);
    world.aam_is(64, &["apply", "--lok"]);
    // An open drift never turns a check red.
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.aam_is(0, &["check"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_plan_is_applied_as_it_is_or_not_at_all() {
    let world = World::with_crm("").await;
    let file = world.dir().join("plan.json");
    let file = file.to_str().unwrap();
    world.aam_is(2, &["plan", "--out", file]);
    let spec = world.read("connectors.d/crm.yaml");
    world.write("connectors.d/crm2.yaml", &spec);
    world.commit("one more");
    // Reading a commit keeps its good specs; nothing else may be written.
    let all = async || (world.registry.fingerprint(&["public.last_good_specs"]).await, world.git(&["for-each-ref"]));
    let before = all().await;
    let ran = world.aam(&["apply", file]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(all().await, before);
    assert!(ran.talk.contains("the plan moved, nothing was changed"), "{ran:?}");
    assert!(ran.out.contains("+ crm2  onboard"), "{ran:?}");
    assert!(!world.registry.has("SELECT 1 FROM connections").await);

    world.aam_is(2, &["plan", "--out", file]);
    world.aam_is(0, &["apply", file]);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM connections WHERE status = 'ACTIVE'").await, "2");
    world.write("garbage.json", "{}");
    assert!(world.aam(&["apply", "garbage.json"]).talk.contains("no plan that `aam plan --out` wrote"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_spec_rests_until_its_time_and_a_mended_one_is_tried_at_once() {
    let world = World::with_crm("").await;
    let good = world.read("connectors.d/crm.yaml");
    let bad = good.replace(&world.source.name, "nowhere");
    // First before it was ever onboarded, then while it runs.
    for _ in 0..2 {
        world.write("connectors.d/crm.yaml", &bad);
        world.commit("a wrong database");
        world.aam_is(1, &["apply"]);
        assert_eq!(world.registry.one("SELECT status || ' ' || failures FROM connections").await, "FAILED 1");
        let planned = world.aam(&["plan"]);
        assert!(planned.out.contains("failed: ") && planned.out.contains("again at"), "{planned:?}");
        // Who asks may have mended what no file shows.
        world.aam_is(1, &["apply"]);
        assert_eq!(world.registry.one("SELECT status || ' ' || failures FROM connections").await, "FAILED 2");
        assert!(world.aam_is(1, &["status"]).contains("failed: "));
        world.write("connectors.d/crm.yaml", &good);
        world.commit("the right one");
        world.aam_is(0, &["apply"]);
        assert_eq!(world.registry.one("SELECT status || ' ' || failures FROM connections").await, "ACTIVE 0");
        world.aam_is(0, &["status"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_off_before_active_becomes_active() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    for status in ["PENDING", "HEALING", "FAILED"] {
        world.registry.run(&format!("UPDATE connections SET status = '{status}'")).await;
        world.aam_is(0, &["apply"]);
        assert_eq!(world.registry.one("SELECT status FROM connections").await, "ACTIVE");
    }
}
