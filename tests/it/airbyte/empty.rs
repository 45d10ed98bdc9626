//! A source that shows no stream at all: it may just come up, or have lost a role for a moment, so a second look decides.

use super::tour::Tour;
use crate::support::world::World;

/// Its only table is where no look goes.
async fn hide(world: &World) {
    world.source.run("CREATE SCHEMA IF NOT EXISTS elsewhere; ALTER TABLE accounts SET SCHEMA elsewhere").await;
}

async fn show(world: &World) {
    world.source.run("ALTER TABLE elsewhere.accounts SET SCHEMA public").await;
}

const STANDS: &str = "SELECT status || ' ' || version FROM connections";

/// Declared while its source shows nothing: the first try fails and makes no connection.
async fn doubted() -> Tour {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    hide(world).await;
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let status = world.aam(&["status"]);
    assert_eq!(status.code, 1, "{status:?}");
    let why = "the source showed no stream at all; it is looked at again";
    assert!(status.out.contains("FAILED") && status.out.contains(why), "{status:?}");
    assert_eq!(world.git(&["ls-files", "connectors.d/*.lock.yaml"]), "");
    assert!(!tour.holds().contains("Connection"), "{}", tour.holds());
    tour
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_shows_its_streams_the_second_time_is_onboarded_as_any_other() {
    let tour = doubted().await;
    show(&tour.world).await;
    tour.world.aam_is(0, &["apply"]);
    assert_eq!(tour.world.registry.one(STANDS).await, "ACTIVE 1");
    assert!(tour.holds().contains("Connection crm active accounts"), "{}", tour.holds());
    assert!(tour.world.committed("connectors.d/crm.lock.yaml").contains("accounts"));
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_as_empty_the_second_time_is_taken_as_it_is() {
    let tour = doubted().await;
    let world = &tour.world;
    let ran = world.aam(&["apply"]);
    assert!(ran.out.contains("crm  onboard: check, create, discover, write its lock (applied)"), "{ran:?}");
    assert_eq!(world.registry.one(STANDS).await, "ACTIVE 1");
    let lock = world.committed("connectors.d/crm.lock.yaml");
    assert!(lock.trim_end().ends_with("streams: {}"), "{lock}");
    // only the mapping, which wants a stream of it, is told
    let status = world.aam(&["status"]);
    assert!(status.code == 1 && status.out.contains("= crm  ACTIVE   version 1"), "{status:?}");
    assert!(status.out.contains("AAM-M002 no connection that uses this mapping has a stream"), "{status:?}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_onboarded_is_looked_at_again_before_that_is_believed() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    let standing = async || world.registry.one("SELECT look_seen::text FROM connections").await;
    let before = standing().await;
    hide(world).await;
    let ran = world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("could not look: the source showed no stream at all; it is looked at again"), "{ran:?}");
    assert!(tour.holds().contains("active accounts"), "{}", tour.holds());
    assert!(!world.registry.has("SELECT 1 FROM drift_events").await);
    let looks = tour.standin.calls("POST /v1/commands/run/discover");
    world.aam(&["apply"]);
    assert_eq!(tour.standin.calls("POST /v1/commands/run/discover"), looks, "not before a while");

    // it was the source that was away
    show(world).await;
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(standing().await, before);

    // twice in a row is no accident; the second look comes by itself, also where looks are by hand
    hide(world).await;
    assert_eq!(world.aam(&["apply", "--look"]).code, 4);
    world.registry.run("UPDATE connections SET look_at = look_at - interval '6 minutes'").await;
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(world.registry.one("SELECT string_agg(status, ' ') FROM drift_events").await, "pending");
    assert!(tour.holds().contains("inactive"), "{}", tour.holds());
    tour.finish().await;
}
