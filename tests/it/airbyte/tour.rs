//! The whole loop with Airbyte as the engine: the real binary against the stand-in, which reads and writes real databases
//! and holds every request and every answer against Airbyte's own documents.

use super::ground;
use crate::standin::Standin;
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::support::world::World;

/// `AAM_SECRET_CRM` holds it, and it must be seen nowhere.
const CANARY: &str = "c4nary-S3cret/value+1";

/// A world whose engine is a stand-in.
pub(super) struct Tour {
    pub(super) world: World,
    pub(super) standin: Standin,
}

impl Tour {
    pub(super) async fn new(version: &str) -> Self {
        let mut world = World::with_crm("").await;
        let standin = Standin::start(version).await;
        world.env = ground::environment(&standin.url);
        ground::set(&mut world, &[("AAM_ENGINE__MODE", "manage"), ("AAM_SECRET_CRM", CANARY)]);
        ground::declare(&world, "manual");
        Self { world, standin }
    }

    /// What is in Airbyte, a line each.
    pub(super) fn holds(&self) -> String {
        self.standin.edit(|state| {
            let actors = state.actors.iter().map(|a| format!("{:?} {}", a.side, a.name));
            let connections = state.connections.iter().filter(|c| c.status != "deprecated").map(|c| {
                let mut names: Vec<_> =
                    c.entries.iter().map(|s| s["stream"]["name"].as_str().unwrap_or("?").to_owned()).collect();
                names.sort();
                format!("Connection {} {} {}", c.name, c.status, names.join(","))
            });
            actors.chain(connections).collect::<Vec<_>>().join("\n")
        })
    }

    pub(super) async fn finish(self) {
        ground::holds_no_secret(&self.world, "", &[CANARY]).await;
        self.standin.finish();
    }
}

/// What a server has beside the Config API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// The public API, and it tells its version.
    Everything,
    /// Nothing of both: a proxy lets through only what it must.
    Nothing,
}

impl Tour {
    /// Takes away what a server need not have.
    fn shows(&self, beside: Beside) {
        if beside == Beside::Nothing {
            for call in ["GET /public/*", "POST /public/*", "GET /v1/instance_configuration"] {
                self.standin.script(call, When::Always, Fault::Refuse(404, Shape::Page));
            }
        }
    }

    /// How often the public API was asked for more than whether it is there.
    fn asked_public(&self) -> usize {
        let log = self.standin.log();
        log.iter().filter(|entry| entry.path.starts_with("/public") && !entry.path.ends_with("/health")).count()
    }
}

async fn tour(version: &str, beside: Beside) {
    let tour = Tour::new(version).await;
    tour.shows(beside);
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    insta::allow_duplicates! {
        insta::assert_snapshot!(tour.holds(), @"
        Source crm
        Destination warehouse
        Connection crm active accounts
        ");
    }
    assert_eq!(world.registry.one("SELECT status || ' ' || version FROM connections").await, "ACTIVE 1");
    let writes = tour.standin.writes();
    let again = world.aam(&["apply"]);
    assert_eq!((again.code, tour.standin.writes()), (0, writes), "nothing to do writes nothing: {again:?}");

    // a sync lands rows, and they become events
    world.aam_is(0, &["sync", "crm"]);
    let events = "SELECT record_key || ' ' || (data ->> 'name') FROM canonical_streams ORDER BY position";
    let events = world.registry.list(events).await.join("\n");
    insta::allow_duplicates! {
        insta::assert_snapshot!(events, @"
        [1] Acme
        [2] Bolt
        [3] Cord
        ");
    }

    // an added column is accepted by rule and brought to Airbyte
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let ran = world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, 0, "{ran:?} {}", world.aam(&["drift", "show", "crm"]).out);
    assert_eq!(world.registry.one("SELECT status || ' ' || version FROM connections").await, "ACTIVE 2");

    // a column that the mapping uses is renamed: it waits for a sync, and since three records prove nothing, the stream is held
    // until a person merges the repair
    world.source.run("ALTER TABLE accounts RENAME COLUMN name TO account_name").await;
    let ran = world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    world.aam(&["sync", "crm"]);
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    world.git(&["merge", "--quiet", "aam/drift/default/crm"]);
    let plan = world.aam(&["plan"]);
    insta::allow_duplicates! {
        insta::assert_snapshot!(plan.out, @r#"
        ~ crm  update catalog to version 4 (582518b1): status: "inactive" → "active"; stream public/accounts: nothing → {"cursor":null,"fields":"6 d28015db37183975","key":["id"],"mode":"full_refresh_overwrite"} (its next sync reads it from the beginning)
        Plan: 0 to create, 1 to update, 0 to remove, 0 waiting for a person, 0 unchanged
        "#);
    }
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 0, "{ran:?}\n{}\n{}", world.aam(&["status"]).out, world.git(&["log", "-p", "-3"]));
    assert_eq!(world.registry.one("SELECT status || ' ' || version FROM connections").await, "ACTIVE 4");
    assert_eq!(world.registry.one("SELECT count(*)::text FROM dead_letters").await, "0", "what waited is read");

    // a rejected one is remembered
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    assert_eq!(world.aam(&["apply", "--look"]).code, 3);
    world.aam_is(0, &["drift", "reject", "crm", "--reason", "the column comes back"]);
    let ran = world.aam(&["apply", "--look"]);
    assert!(ran.code == 0, "{ran:?}");

    // its spec goes, and with `on_delete: delete` the connection in Airbyte too
    let spec = world.read("connectors.d/crm.yaml");
    world.write("connectors.d/crm.yaml", &format!("{spec}on_delete: delete\n"));
    world.commit("goes with its spec");
    world.aam(&["apply"]);
    world.git(&["rm", "--quiet", "connectors.d/crm.yaml", "connectors.d/crm.lock.yaml"]);
    world.commit("gone");
    world.aam_is(0, &["apply", "--confirm-removals"]);
    assert!(!tour.holds().contains("Connection"), "{}", tour.holds());
    assert_eq!(tour.asked_public() > 0, beside == Beside::Everything);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_on_1_8() {
    tour("1.8", Beside::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_on_a_server_without_commands_and_tags() {
    tour("1.0", Beside::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_on_a_server_whose_errors_are_ids() {
    tour("2.1", Beside::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_where_only_the_config_api_answers() {
    tour("1.8", Beside::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_where_only_an_old_config_api_answers() {
    tour("1.6", Beside::Nothing).await;
}
