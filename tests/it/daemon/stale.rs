//! A plan that another process outran while its daemon slept is not carried out.

use std::sync::Arc;

use aam::plan::Step;
use aam::reconcile::{Ask, Gathered, OutcomeKind, Reconciler, WorkItem, work_items};

use crate::support::world::World;

/// Looks at the source, and plans what follows from it.
async fn planned(reconciler: &Reconciler) -> (Arc<Gathered>, WorkItem) {
    reconciler.ask(Ask::Look, &"crm".parse().unwrap());
    for _ in 0..2 {
        let gathered = Arc::new(reconciler.gather_to_act(None).await.unwrap());
        let item = work_items(&gathered, &gathered.plan()).remove(0);
        match item {
            WorkItem::Look(_) => drop(reconciler.execute(&gathered, &item).await),
            WorkItem::Connection(_) => return (gathered, item),
        }
    }
    panic!("nothing follows from the look");
}

/// Another process looks at the source, and does no more.
async fn look_as_another(world: &World) {
    let app = world.open().await;
    app.reconciler.ask(Ask::Look, &"crm".parse().unwrap());
    let gathered = Arc::new(app.reconciler.gather_to_act(None).await.unwrap());
    let item = work_items(&gathered, &gathered.plan()).remove(0);
    assert!(matches!(item, WorkItem::Look(_)), "{}", item.describe());
    app.reconciler.execute(&gathered, &item).await;
    app.close().await.unwrap();
}

async fn is_busy(reconciler: &Reconciler, (gathered, item): &(Arc<Gathered>, WorkItem)) {
    let outcomes = reconciler.execute(gathered, item).await;
    let kinds: Vec<_> = outcomes.iter().map(|outcome| &outcome.kind).collect();
    assert_eq!(kinds, [&OutcomeKind::Busy], "{}", item.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_saw_or_decided_meanwhile_is_planned_anew() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    let app = world.open().await;
    let reconciler = &app.reconciler;

    // The source is back at what it was: no rule takes in what was there for a moment.
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let stale = planned(reconciler).await;
    let repairs = |item: &WorkItem| match item {
        WorkItem::Connection(plan) => plan.steps.iter().any(|step| matches!(step, Step::CommitRepair { .. })),
        WorkItem::Look(_) => false,
    };
    assert!(repairs(&stale.1), "{}", stale.1.describe());
    world.source.run("ALTER TABLE accounts DROP COLUMN website").await;
    look_as_another(&world).await;
    is_busy(reconciler, &stale).await;
    assert!(!world.committed("connectors.d/crm.lock.yaml").contains("website"));

    // Another one noted the drift.
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    let stale = planned(reconciler).await;
    world.aam_is(3, &["apply"]);
    is_busy(reconciler, &stale).await;

    // Somebody rejected something.
    world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    let stale = planned(reconciler).await;
    let fingerprint = format!("s1:{}", "0".repeat(64));
    let rejected =
        format!("[{{\"fingerprint\": \"{fingerprint}\", \"by\": \"Pat\", \"at\": \"\", \"reason\": \"no\"}}]");
    world.registry.run(&format!("UPDATE connections SET rejections = '{rejected}'")).await;
    is_busy(reconciler, &stale).await;
    app.close().await.unwrap();
}
