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

    // Another one could not look since: nobody knows whether what a rule would take in is there still.
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let stale = planned(reconciler).await;
    let repairs = |item: &WorkItem| match item {
        WorkItem::Connection(plan) => plan.steps.iter().any(|step| matches!(step, Step::CommitRepair { .. })),
        WorkItem::Look(_) => false,
    };
    assert!(repairs(&stale.1), "{}", stale.1.describe());
    world.registry.run("UPDATE connections SET look_seen = '{\"Err\": \"gone\"}'").await;
    is_busy(reconciler, &stale).await;
    assert!(!world.committed("connectors.d/crm.lock.yaml").contains("website"));
    world.source.run("ALTER TABLE accounts DROP COLUMN website").await;

    // Another one noted the drift.
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    let stale = planned(reconciler).await;
    world.aam_is(3, &["apply"]);
    is_busy(reconciler, &stale).await;

    // Somebody rejected something.
    world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    let stale = planned(reconciler).await;
    let fingerprint = format!("s1:{}", "0".repeat(64));
    let rejected = format!(
        "[{{\"fingerprint\": \"{fingerprint}\", \"by\": \"Pat\", \"at\": \"\", \"reason\": \"no\", \"changes\": []}}]"
    );
    world.registry.run(&format!("UPDATE connections SET rejections = '{rejected}'")).await;
    is_busy(reconciler, &stale).await;
    app.close().await.unwrap();
}
