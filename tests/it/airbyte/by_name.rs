//! Refresh and clear happen only to streams that a person names; a running job is cancelled when she says so.

use super::tour::Tour;
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::support::world::until;

const JOBS: &str = "SELECT state || ' ' || rows FROM job_history ORDER BY job_id";

#[tokio::test(flavor = "multi_thread")]
async fn refresh_and_clear_only_by_name() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.source.run("CREATE TABLE notes (id int PRIMARY KEY, body text); INSERT INTO notes VALUES (1, 'a')").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    let by_name = |tour: &Tour| {
        let writes = tour.standin.writes();
        writes.into_iter().filter(|w| w.contains("refresh") || w.contains("clear")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(by_name(&tour), "");

    let ran = world.aam(&["sync", "crm", "--refresh", "acounts"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.talk.trim(), @"error: connection crm carries no stream acounts; it carries public/accounts, public/notes");
    let ran = world.aam(&["sync", "crm", "--refresh", "accounts"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(by_name(&tour), "POST /v1/connections/refresh");
    insta::assert_snapshot!(world.registry.list(JOBS).await.join("\n"), @"
    succeeded 4
    succeeded 3
    ");

    let table = "SELECT coalesce((SELECT count(*)::text FROM public.accounts), 'none')";
    assert_eq!(world.warehouse.one(table).await, "3");
    world.aam_is(0, &["clear", "crm", "accounts", "--dry-run"]);
    assert_eq!(world.warehouse.one(table).await, "3");
    let said = world.aam_is(0, &["clear", "crm", "accounts"]);
    insta::assert_snapshot!(said.trim(), @"- crm  landed rows of public/accounts");
    assert_eq!(world.warehouse.one(table).await, "0");
    assert_eq!(world.warehouse.one("SELECT count(*)::text FROM public.notes").await, "1");
    let audit = "SELECT summary FROM audit_log WHERE action = 'connection.cleared'";
    assert_eq!(world.registry.one(audit).await, "connection crm: landed rows of public/accounts deleted");
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.warehouse.one(table).await, "3");
    assert_eq!(by_name(&tour), "POST /v1/connections/refresh, POST /v1/connections/clear/stream");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_without_an_answer_is_looked_for_and_noted() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    tour.standin.script("POST /v1/connections/clear/stream", When::Nth(1), Fault::CutAfter);
    assert_eq!(world.aam(&["clear", "crm", "accounts"]).code, 1);
    let audit = "SELECT summary || ' by job ' || (detail ->> 'job') FROM audit_log WHERE action = 'connection.cleared'";
    assert_eq!(world.registry.list(audit).await, [""; 0]);
    let ended = async || {
        let job =
            tour.standin.edit(|s| s.jobs.iter().find(|job| job.kind == "clear").map(|job| (job.id, job.has_ended())));
        job.filter(|(_, ended)| *ended).map(|(id, _)| id)
    };
    let job = until("the rows are deleted", 30, ended).await;
    world.aam_is(0, &["apply"]);
    assert_eq!(
        world.registry.list(audit).await,
        [format!("connection crm: landed rows of public/accounts deleted by job {job}")]
    );
    assert!(!world.registry.has("SELECT 1 FROM intents WHERE effect = 'clear'").await);
    assert_eq!(tour.standin.calls("POST /v1/connections/clear/stream"), 1);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_refresh_is_told_and_a_plain_sync_goes_on() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    tour.standin.edit(|s| s.definitions.iter_mut().for_each(|one| one.refreshes = false));
    let ran = world.aam(&["sync", "crm", "--refresh", "accounts"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.talk.contains("its destination cannot refresh in Airbyte: `aam clear CONNECTION STREAM…`"), "{ran:?}");
    world.aam_is(0, &["sync", "crm"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sync_is_cancelled() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    assert_eq!(world.aam_is(0, &["cancel", "crm"]).trim(), "= crm  no sync runs");
    let lock = world.source.hold("LOCK TABLE accounts").await;
    let mut sync = world.start(&["sync", "crm"]);
    let running = async || (world.registry.list(JOBS).await == ["running 0"]).then_some(());
    until("the sync runs", 30, running).await;
    let said = world.aam_is(0, &["cancel", "crm"]);
    assert!(said.starts_with("~ crm  cancel job "), "{said}");
    assert_eq!(sync.wait().unwrap().code(), Some(1));
    assert_eq!(world.registry.list(JOBS).await, ["cancelled 0"]);
    drop(lock);
    world.aam_is(0, &["sync", "crm"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_refused_later_blocks_nothing() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    tour.standin.script("POST /v1/connections/refresh", When::Nth(1), Fault::Refuse(409, Shape::Known));
    tour.standin.edit(|s| s.definitions.iter_mut().for_each(|one| one.refreshes = false));
    assert_eq!(world.aam(&["sync", "crm", "--refresh", "accounts"]).code, 1);
    // what was asked is asked again, and refused for good
    world.aam(&["apply"]);
    let open = "SELECT count(*)::text FROM intents WHERE effect = 'sync'";
    assert_eq!(world.registry.one(open).await, "0");
    world.aam_is(0, &["sync", "crm"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_could_not_be_had_is_none_for_later() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.aam_is(0, &["apply"]);
    let status = |status: &str| tour.standin.edit(|s| s.connections[0].status = status.into());
    let daemon = world.daemon().await;
    status("inactive");
    assert_eq!(world.aam(&["sync", "crm", "--refresh", "accounts"]).code, 1);
    status("active");
    world.aam_is(0, &["sync", "crm"]);
    assert!(!tour.standin.writes().iter().any(|write| write.contains("refresh")), "{:?}", tour.standin.writes());
    daemon.stop().await;
    tour.finish().await;
}
