//! What outlives the registry, and what a lost lease keeps apart.

use std::sync::Arc;
use std::time::Duration;

use aam::ports::{Lease, RegistryError};
use aam::reconcile::{Ask, OutcomeKind, Policy, Reconciler, work_items};

use crate::support::world::{PERSON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_and_every_version_are_remembered_by_a_rebuilt_registry() {
    let mut world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam_is(0, &["drift", "reject", "crm", "--reason", "a mistake at the source"]);
    let told = |world: &World| {
        let history = world.aam_is(0, &["history", "crm", "--format", "json", "--verify"]);
        let history: serde_json::Value = serde_json::from_str(&history).unwrap();
        let versions = history["versions"].as_array().unwrap().clone();
        versions.iter().map(|v| format!("{} {}", v["version"], v["fingerprint"])).collect::<Vec<_>>()
    };
    let (versions, id) = (told(&world), world.registry.one("SELECT id::text FROM connections").await);
    assert_eq!(versions.len(), 2);
    let refs = world.git(&["for-each-ref"]);

    world.lose_registry().await;
    world.aam_is(0, &["apply", "--look"]);
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(told(&world), versions);
    assert_eq!(world.registry.one("SELECT id::text FROM connections").await, id);
    assert_eq!(world.git(&["for-each-ref"]), refs, "a new ask, or a commit");
    let status = world.aam_is(0, &["status"]);
    assert!(status.contains(&format!("rejected by {PERSON}: a mistake at the source")), "{status}");

    // Something else at the source is a new question.
    world.source.run("ALTER TABLE accounts DROP COLUMN website").await;
    world.aam_is(3, &["apply", "--look"]);
    assert_eq!(world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]), "aam/drift/default/crm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_registry_knows_a_revert_of_an_automatic_repair_from_a_source_that_changed_back() {
    let mut world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    let lock = |world: &World| world.committed("connectors.d/crm.lock.yaml");
    for column in ["fax", "website"] {
        world.source.run(&format!("ALTER TABLE accounts ADD COLUMN {column} text")).await;
        world.aam_is(0, &["apply", "--look"]);
    }
    for merge in ["--ff-only", "--no-ff"] {
        world.source.run("ALTER TABLE accounts DROP COLUMN fax").await;
        world.aam_is(3, &["apply", "--look"]);
        world.git(&["merge", "--quiet", merge, "aam/drift/default/crm"]);
        world.aam_is(0, &["apply"]);
        // The source brings it again: nobody had refused it.
        world.lose_registry().await;
        world.aam_is(0, &["apply"]);
        world.source.run("ALTER TABLE accounts ADD COLUMN fax text").await;
        world.aam_is(0, &["apply", "--look"]);
        assert!(lock(&world).contains("fax"), "{}", world.aam(&["status"]).out);
    }
    let approved = "SELECT approved_by FROM sync_catalog_versions ORDER BY version";
    let bot = "aam <aam@localhost>";
    assert_eq!(
        world.registry.list(approved).await,
        [bot, "rule:additive", "rule:additive", bot, "rule:additive", PERSON, "rule:additive"]
    );

    world.lose_registry().await;
    world.aam_is(0, &["apply"]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    let revert = world.git(&["rev-parse", "--short=10", "HEAD"]);
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["apply", "--look"]);
    assert!(!lock(&world).contains("fax") && lock(&world).contains("website"), "{}", lock(&world));
    let words = format!("rejected by {PERSON}: reverted by commit {revert}");
    assert!(world.aam_is(0, &["status"]).contains(&words));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_branch_is_no_rejection() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.git(&["branch", "-D", "aam/drift/default/crm"]);
    world.aam_is(3, &["apply"]);
    assert_eq!(world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]), "aam/drift/default/crm");
    assert_eq!(world.registry.list("SELECT status FROM drift_events").await, ["pending"]);
}

/// Another process on the same registry and repository, as its own engine and holder.
async fn another(world: &World, holder: &str, lease_ttl: Duration) -> (aam::wiring::App, Arc<Reconciler>) {
    let app = world.open().await;
    let policy = Policy { lease_ttl, ..aam::wiring::policy(&app.settings) };
    let reconciler = Reconciler::new(app.reconciler.doors().clone(), policy, holder.to_owned());
    (app, Arc::new(reconciler))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_has_no_effect() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    let (app, paused) = another(&world, "paused", Duration::from_millis(300)).await;
    let (other_app, other) = another(&world, "other", Duration::from_secs(60)).await;
    let registry = paused.doors().registry.clone();
    let row = registry.connections().await.unwrap().remove(0);
    let lease = |who: &'static str| {
        let (registry, tenant, id) = (registry.clone(), row.name.tenant.clone(), row.id);
        let ttl = Duration::from_millis(if who == "paused" { 300 } else { 60_000 });
        async move { registry.lease(&tenant, id, who, ttl).await.unwrap() }
    };

    // While one holds it, the other does nothing.
    let held: Lease = lease("other").await.unwrap();
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    paused.ask(Ask::Look, &row.name);
    let gathered = Arc::new(paused.gather(None).await.unwrap());
    let items = work_items(&gathered, &gathered.plan());
    let outcomes = paused.execute(&gathered, &items[0]).await;
    assert_eq!(outcomes[0].kind, OutcomeKind::Busy, "{outcomes:?}");
    registry.release(&held).await.unwrap();

    // Paused in the midst: it took the lease, slept for longer than that holds, and another took over.
    let stale: Lease = lease("paused").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    other.ask(Ask::Look, &row.name);
    let (_, outcomes) = other.settle(None, |_| {}).await.unwrap();
    assert!(
        outcomes.iter().any(|o| o.step.starts_with("commit repair") && o.kind == OutcomeKind::Applied),
        "{outcomes:?}"
    );
    let before = (world.registry.fingerprint(&[]).await, world.git(&["for-each-ref"]));
    let cause = aam::ports::Cause { actor: "paused".into(), summary: "too late".into(), detail: serde_json::json!({}) };
    let refused = registry.set_applied(&stale, "digest", Some("secrets"), &cause).await;
    assert!(matches!(refused, Err(RegistryError::LeaseLost { .. })), "{refused:?}");
    // The same through a plan that was made before: nothing is done twice, nothing is undone.
    for item in &items {
        paused.execute(&gathered, item).await;
    }
    let (_, outcomes) = paused.settle(None, |_| {}).await.unwrap();
    assert!(outcomes.iter().all(|o| o.kind == OutcomeKind::Unchanged), "{outcomes:?}");
    assert_eq!(world.git(&["for-each-ref"]), before.1);
    let (now, then) = (world.registry.fingerprint(&["public.connections:look_at", "public.leases"]).await, before.0);
    let differing: Vec<_> = now.iter().filter(|t| !then.contains(t) && !t.starts_with("public.connections")).collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert_eq!(world.registry.one("SELECT version::text FROM connections").await, "2");
    drop((gathered, paused, other));
    app.close().await.unwrap();
    other_app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_of_one_registry_share_the_work_and_do_nothing_twice() {
    let world = World::with_crm("").await;
    for i in 0..4 {
        world.write(&format!("connectors.d/c{i}.yaml"), &world.connection(""));
    }
    world.commit("five connections");
    let (app, one) = another(&world, "one", Duration::from_secs(5)).await;
    let (other_app, two) = another(&world, "two", Duration::from_secs(5)).await;
    let both = tokio::join!(one.settle(None, |_| {}), two.settle(None, |_| {}));
    both.0.unwrap();
    both.1.unwrap();
    one.settle(None, |_| {}).await.unwrap();
    let rows = "SELECT status || version || coalesce(reason, '') FROM connections";
    assert_eq!(world.registry.list(rows).await, ["ACTIVE1"; 5]);
    let objects = "SELECT string_agg(kind || n, ',' ORDER BY kind) FROM (SELECT kind, count(*) AS n FROM aam_engine.objects GROUP BY 1) t";
    assert_eq!(world.registry.one(objects).await, "connection5,destination1,source5");
    let locks = world.git(&["log", "--format=%s", "--grep", "write lock"]);
    assert_eq!(locks.lines().count(), 5, "{locks}");
    drop((one, two));
    app.close().await.unwrap();
    other_app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_spec_under_the_name_of_one_that_moved_is_a_new_connection() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    let id = world.registry.one("SELECT id::text FROM connections").await;
    world.git(&["mv", "connectors.d/crm.yaml", "connectors.d/sales.yaml"]);
    world.git(&["mv", "connectors.d/crm.lock.yaml", "connectors.d/sales.lock.yaml"]);
    world.write("connectors.d/crm.yaml", &world.connection("on_delete: delete\n"));
    world.commit("crm is now sales, and there is a new crm");
    world.aam_is(0, &["apply"]);
    let rows = "SELECT name || ' ' || status || ' ' || (id::text = '{id}') FROM connections ORDER BY 1";
    assert_eq!(world.registry.list(&rows.replace("{id}", &id)).await, ["crm ACTIVE false", "sales ACTIVE true"]);
    assert!(world.committed("connectors.d/sales.lock.yaml").contains(&id));
    assert!(!world.committed("connectors.d/crm.lock.yaml").contains(&id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_follows_its_connection_to_a_new_name_and_goes_with_its_spec() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    let branches = || world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]);
    assert_eq!(branches(), "aam/drift/default/crm");
    world.git(&["mv", "connectors.d/crm.yaml", "connectors.d/sales.yaml"]);
    world.git(&["mv", "connectors.d/crm.lock.yaml", "connectors.d/sales.lock.yaml"]);
    world.commit("crm is now sales");
    world.aam_is(3, &["apply"]);
    assert_eq!(branches(), "aam/drift/default/sales");
    let drifts = "SELECT status || ' ' || coalesce(branch, '-') FROM drift_events";
    assert_eq!(world.registry.list(drifts).await, ["pending aam/drift/default/sales"]);
    world.git(&["rm", "--quiet", "connectors.d/sales.yaml"]);
    world.commit("no more sales");
    world.aam_is(0, &["apply", "--confirm-removals"]);
    assert_eq!(branches(), "");
    assert_eq!(world.registry.list(drifts).await, ["withdrawn -"]);
}
