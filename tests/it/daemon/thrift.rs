//! A turn over many connections asks no more questions than one over few.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use aam::ports::{Clock, ResolvedConfig, SecretError, Secrets};
use aam::reconcile::{Doors, Reconciler};
use aam::spec::Config;
use chrono::{DateTime, Utc};
use tracing::span;

use crate::support::world::World;

/// Counts statements: sqlx tells of each.
struct Statements(Arc<AtomicUsize>);

impl tracing::Subscriber for Statements {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Counts how often secrets are resolved.
struct Counted(Arc<dyn Secrets>, AtomicUsize);

impl Secrets for Counted {
    fn resolve(&self, config: &Config) -> Result<ResolvedConfig, SecretError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.resolve(config)
    }
}

/// A clock that the test turns.
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap()
    }
}

/// Statements and resolved secrets of a turn with its report: of the first, of a second at once, and of one half a minute
/// later.
async fn costs(world: &World) -> [(usize, usize); 3] {
    let app = world.open().await;
    let statements = Arc::new(AtomicUsize::new(0));
    let clock = Arc::new(Turned(AtomicI64::new(Utc::now().timestamp())));
    let secrets = Arc::new(Counted(app.reconciler.doors().secrets.clone(), AtomicUsize::new(0)));
    let doors = Doors { clock: clock.clone(), secrets: secrets.clone(), ..app.reconciler.doors().clone() };
    let reconciler = Reconciler::new(doors, aam::wiring::policy(&app.settings), "thrift".into());
    let counting = tracing::subscriber::set_default(Statements(statements.clone()));
    let mut costs = [(0, 0); 3];
    for (cost, (later, times)) in costs.iter_mut().zip([(0, 1), (0, 3), (30, 1)]) {
        clock.0.fetch_add(later, Ordering::Relaxed);
        let mut asked = Vec::new();
        for _ in 0..times {
            // Tests beside this one may have found at this moment that nobody listens.
            tracing::callsite::rebuild_interest_cache();
            let gathered = reconciler.gather(None).await.unwrap();
            reconciler.report(&gathered).await.unwrap();
            asked.push(statements.swap(0, Ordering::Relaxed));
        }
        // a pool that has to connect anew says so among the statements
        *cost = (asked.into_iter().min().unwrap(), secrets.1.swap(0, Ordering::Relaxed));
    }
    drop(counting);
    app.close().await.unwrap();
    costs
}

// One thread: the subscriber counts what is asked from the thread that set it.
#[tokio::test]
async fn more_connections_are_no_more_questions_and_secrets_are_not_read_each_turn() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    let few = costs(&world).await;
    assert_eq!([few[0].1, few[1].1, few[2].1], [2, 0, 2], "source and destination, once in half a minute");
    assert!(few[1].0 > 0 && few[1].0 < 12, "{few:?}");
    let spec = world.read("connectors.d/crm.yaml");
    (0..9).for_each(|i| world.write(&format!("connectors.d/more{i}.yaml"), &spec));
    world.commit("nine more");
    world.aam_is(0, &["apply"]);
    let many = costs(&world).await;
    assert_eq!([many[0].1, many[1].1, many[2].1], [20, 0, 20]);
    assert_eq!(many[1].0, few[1].0, "statements of a turn");
}
