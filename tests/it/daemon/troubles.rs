//! A step that fails beside a running connection is tried later and later, and everyone can see it.

use std::sync::Arc;

use aam::reconcile::work_items;

use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_keeps_failing_is_shown_and_tried_later_and_later() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world
        .registry
        .run(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER no_room BEFORE INSERT ON canonical_streams FOR EACH ROW EXECUTE FUNCTION no_room()",
        )
        .await;
    let failed = world.aam(&["sync", "crm"]);
    assert!(failed.talk.contains("normalize rows of job 1"), "{failed:?}");
    for args in [&["status"][..], &["status", "crm"]] {
        let status = world.aam_is(1, args);
        assert!(status.contains("normalize rows of job 1 failed once since "), "{status}");
        assert!(status.contains("no room") && status.contains("`aam apply` now"), "{status}");
    }
    assert_eq!(world.aam(&["status", "nobody"]).code, 1);

    let app = world.open().await;
    let mut last = 0;
    for tried in 2..6 {
        let gathered = Arc::new(app.reconciler.gather(None).await.unwrap());
        let items = work_items(&gathered, &gathered.plan());
        let outcome = app.reconciler.execute(&gathered, &items[0]).await.remove(0);
        let rest = (outcome.retry_at.unwrap() - chrono::Utc::now()).num_seconds();
        assert!(rest > last, "try {tried} rests {rest} s, the one before {last} s");
        last = rest;
        let left =
            items[0].clone().without(|name, step| name == &outcome.connection && step.describe() == outcome.step);
        assert!(left.is_none(), "nothing else is to be done: {left:?}");
    }
    app.close().await.unwrap();
    assert!(world.aam_is(1, &["status"]).contains("failed 5 times since"));

    world.registry.run("DROP TRIGGER no_room ON canonical_streams").await;
    world.aam_is(0, &["apply"]);
    assert!(!world.aam_is(0, &["status"]).contains("failed"));
    assert_eq!(world.registry.one("SELECT troubles::text FROM connections").await, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_connection_is_tried_again_when_the_lease_of_a_killed_process_ends() {
    let mut world = World::with_crm("").await;
    world.env.push(("AAM_DAEMON__LEASE_TTL".into(), "1s".into()));
    let source = &world.source.name;
    let open = async |is| world.registry.run(&format!("ALTER DATABASE \"{source}\" ALLOW_CONNECTIONS {is}")).await;
    open(false).await;
    assert_eq!(world.aam(&["apply"]).code, 1);
    open(true).await;
    let lease = "UPDATE leases SET holder = 'killed', expires_at = now() + interval '1 second'
                 WHERE connection_id IN (SELECT id FROM connections)";
    world.registry.run(lease).await;
    world.aam_is(0, &["apply"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_with_a_failure_of_earlier_is_told_which() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world.registry.run("UPDATE job_history SET state = 'failed', error = 'the disk was full'").await;
    world.write("connectors.d/other.yaml", "kind: nothing\n");
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "-m", "other"]);
    let ran = world.aam(&["apply"]);
    insta::assert_snapshot!(format!("{} {}", ran.code, ran.talk), @r"
    1 Apply: 0 steps done
    ! crm: sync 1 failed: the disk was full
    ! some files cannot be used (`aam check` says which and why)
    ");
}
