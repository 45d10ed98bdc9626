//! A commit that the repository refuses is tried later and later, and what is shown stays the same meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aam::plan::{Standing, Step};
use aam::ports::Clock;
use aam::reconcile::{Ask, Doors, Reconciler, work_items};
use chrono::{DateTime, Utc};

use crate::support::world::World;

/// A clock that the test turns.
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap()
    }
}

/// One turn: whether the refused commit was tried, and where the connection was shown to stand before.
async fn turn(reconciler: &Reconciler) -> (bool, Standing) {
    let gathered = Arc::new(reconciler.gather(None).await.unwrap());
    let mut report = reconciler.report(&gathered).await.unwrap();
    let plan = gathered.plan();
    for item in work_items(&gathered, &plan) {
        reconciler.execute(&gathered, &item).await;
    }
    let tried = plan.connections[0]
        .steps
        .iter()
        .any(|step| matches!(step, Step::CommitRepair { .. } | Step::CommitRejection { .. }));
    (tried, report.connections.remove(0).standing)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_is_tried_later_and_later_and_its_standing_stays() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    let lock = world.read("connectors.d/crm.lock.yaml");
    world.write("connectors.d/crm.lock.yaml", &format!("{lock}# in the way\n"));
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let app = world.open().await;
    let clock = Arc::new(Turned(AtomicI64::new(Utc::now().timestamp())));
    let doors = Doors { clock: clock.clone(), ..app.reconciler.doors().clone() };
    let reconciler = Reconciler::new(doors, aam::wiring::policy(&app.settings), "refused".into());
    reconciler.ask(Ask::Look, &"crm".parse().unwrap());
    assert!(!turn(&reconciler).await.0, "a look comes first");
    assert!(turn(&reconciler).await.0, "it is refused");
    assert!(!turn(&reconciler).await.0, "a branch is offered");
    let mut tried_at = Vec::new();
    for second in 1..=80 {
        clock.0.fetch_add(1, Ordering::Relaxed);
        let (tried, standing) = turn(&reconciler).await;
        assert!(matches!(standing, Standing::AwaitingReview { .. }), "second {second}, tried: {tried}");
        tried_at.extend(tried.then_some(second));
    }
    assert_eq!(tried_at, [10, 30, 70]);
    reconciler.try_again();
    assert!(turn(&reconciler).await.0);

    // The person gets out of the way: the branch moves, so it is tried at once.
    world.write("connectors.d/crm.lock.yaml", &lock);
    world.git(&["commit", "--quiet", "--allow-empty", "-m", "done"]);
    assert!(turn(&reconciler).await.0);
    assert!(world.committed("connectors.d/crm.lock.yaml").contains("website"));
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_rejection_is_tried_later_and_later_and_shown_as_blocked() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    let rejected = "drift/default/crm/rejected.yaml";
    world.write(rejected, "# in the way\n");
    let app = world.open().await;
    let clock = Arc::new(Turned(AtomicI64::new(Utc::now().timestamp())));
    let doors = Doors { clock: clock.clone(), ..app.reconciler.doors().clone() };
    let reconciler = Reconciler::new(doors, aam::wiring::policy(&app.settings), "refused".into());
    assert!(!turn(&reconciler).await.0, "the engine follows the revert first");
    assert!(!turn(&reconciler).await.0, "and the lock gets the version of that");
    assert!(turn(&reconciler).await.0, "it is refused");
    assert!(!turn(&reconciler).await.0, "it rests");
    let mut tried_at = Vec::new();
    for second in 1..=80 {
        clock.0.fetch_add(1, Ordering::Relaxed);
        let (tried, standing) = turn(&reconciler).await;
        assert!(matches!(standing, Standing::Blocked { .. }), "second {second}: {standing:?}");
        tried_at.extend(tried.then_some(second));
    }
    assert_eq!(tried_at, [10, 30, 70]);
    std::fs::remove_file(world.root.join(rejected)).unwrap();
    reconciler.try_again();
    assert!(turn(&reconciler).await.0);
    assert!(world.committed(rejected).contains("website"));
    assert!(!world.committed("connectors.d/crm.lock.yaml").contains("website"));
    assert!(matches!(turn(&reconciler).await.1, Standing::Rejected { .. }));
    app.close().await.unwrap();
}
