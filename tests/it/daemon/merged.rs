//! A merge that comes while a sync runs or before its rows are normalized.

use std::sync::Arc;

use aam::plan::Step;
use aam::reconcile::{Ask, Outcome, OutcomeKind, WorkItem, work_items};
use aam::wiring::App;

use crate::support::world::{World, until};

/// One turn: carries out what is planned, as far as `wanted`.
async fn turn(app: &App, wanted: impl Fn(&WorkItem) -> bool) -> Vec<Outcome> {
    let gathered = Arc::new(app.reconciler.gather(None).await.unwrap());
    let mut outcomes = Vec::new();
    for item in work_items(&gathered, &gathered.plan()).iter().filter(|item| wanted(item)) {
        outcomes.extend(app.reconciler.execute(&gathered, item).await);
    }
    outcomes
}

const EVENTS: &str = "SELECT record_key || ' ' || (data->>'region') FROM canonical_streams ORDER BY position";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_landed_before_a_rename_was_merged_are_read_by_the_mapping_before_it() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.registry.list(EVENTS).await, ["[1] west", "[2] east", "[3] other"]);

    // Rows land under the old name; nobody has followed the sync yet.
    world.source.run("UPDATE accounts SET billing_state = 'NY', updated_at = now() WHERE id = 1").await;
    world.source.run("INSERT INTO accounts VALUES (4, 'Dune', 'CA', 5, now())").await;
    let app = world.open().await;
    app.reconciler.ask(Ask::Sync, &"crm".parse().unwrap());
    turn(&app, |_| true).await;
    let ended = "SELECT 1 FROM aam_engine.jobs HAVING count(*) = 2 AND bool_and(state = 'succeeded')";
    until("the second job ends", 30, async || world.registry.has(ended).await.then_some(())).await;

    // The source renames the column, and a person merges the repair at once.
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    app.reconciler.ask(Ask::Look, &"crm".parse().unwrap());
    turn(&app, |item| matches!(item, WorkItem::Look(_))).await;
    turn(&app, |_| true).await;
    // values are compared by now; the repair is tried and offered while the rows still wait
    for _ in ["try", "offer"] {
        let gathered = Arc::new(app.reconciler.gather(None).await.unwrap());
        for item in work_items(&gathered, &gathered.plan()) {
            let item = item.without(|_, step| matches!(step, Step::Normalize { .. })).unwrap();
            app.reconciler.execute(&gathered, &item).await;
        }
    }
    app.close().await.unwrap();
    world.git(&["merge", "--quiet", "aam/drift/default/crm"]);

    let status = world.aam_is(2, &["status"]);
    let waits = "waits until the rows of the last sync are normalized, then: update catalog to version 2";
    assert!(
        status.starts_with("main at ") && status.contains(&format!("~ crm  ACTIVE   version 1 (436c90fc): {waits}")),
        "{status}"
    );
    let applied = world.aam_is(0, &["apply"]);
    let order = ["normalize rows of job 2 (applied)", "update catalog to version 2"].map(|step| applied.find(step));
    assert!(order[0].is_some() && order[0] < order[1], "{applied}");
    let after = ["[1] west", "[2] east", "[3] other", "[1] east", "[4] west"];
    assert_eq!(world.registry.list(EVENTS).await, after);
    let versions = "SELECT lineage->>'catalog_version' FROM canonical_streams ORDER BY position";
    assert_eq!(world.registry.list(versions).await, ["1"; 5]);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM intents").await, "0");
    // The same rows under the new name are no news.
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.registry.list(EVENTS).await, after);
}

/// What becomes of the planned step that begins like this, when `meanwhile` happened since it was planned.
async fn outcome_after(world: &World, step: &str, meanwhile: &str) -> OutcomeKind {
    let app = world.open().await;
    let gathered = Arc::new(app.reconciler.gather(None).await.unwrap());
    world.registry.run(meanwhile).await;
    let mut found = None;
    for item in work_items(&gathered, &gathered.plan()) {
        let outcomes = app.reconciler.execute(&gathered, &item).await;
        found = found.or(outcomes.into_iter().find(|outcome| outcome.step.starts_with(step)));
    }
    app.close().await.unwrap();
    found.expect("it is planned").kind
}

/// A sync that another process began.
const BEGAN: &str = "INSERT INTO intents SELECT tenant_id, gen_random_uuid(), id, effect, 'request', '{}', now()
                     FROM connections, unnest(ARRAY['normalize', 'sync']) AS effect";

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_did_since_the_plan_was_made_is_respected() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    let skipped = |why: &str| OutcomeKind::Skipped(why.to_owned());
    let spec = world.read("connectors.d/crm.yaml");
    world.write(
        "connectors.d/crm.yaml",
        &format!("{spec}streams: {{public/accounts: {{mode: full_refresh_append}}}}\n"),
    );
    world.commit("another mode");
    assert_eq!(outcome_after(&world, "update settings", BEGAN).await, skipped("a sync began meanwhile"));
    world.registry.run("DELETE FROM intents").await;
    world.aam_is(0, &["apply"]);

    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.git(&["merge", "--quiet", "--ff-only", "aam/drift/default/crm"]);
    assert_eq!(outcome_after(&world, "update catalog", BEGAN).await, skipped("a sync began meanwhile"));
    world.registry.run("DELETE FROM intents").await;
    let landed = "UPDATE connections SET normalized_job = NULL";
    // what a plan was made from is not so any more: it is planned anew
    assert_eq!(outcome_after(&world, "update catalog", landed).await, OutcomeKind::Busy);

    assert_eq!(outcome_after(&world, "normalize rows", BEGAN).await, OutcomeKind::Applied);
    assert_eq!(world.registry.list("SELECT effect FROM intents ORDER BY 1").await, ["normalize", "sync"]);
    world.registry.run(&format!("DELETE FROM intents; {landed}")).await;
    let normalized = "UPDATE connections SET normalized_job = 5";
    assert_eq!(outcome_after(&world, "normalize rows", normalized).await, OutcomeKind::Busy);
    assert_eq!(world.registry.one("SELECT normalized_job::text FROM connections").await, "5");
}
