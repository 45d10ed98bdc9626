//! Commits: the person's wake the loop at once, `aam`'s leave the person's desk as it is.

use std::sync::Arc;
use std::time::Instant;

use aam::reconcile::{Ask, work_items};

use crate::support::world::{MAPPING, PERSON, World, until};

/// Time alone wakes this daemon too late for any test.
const BY_EVENTS_ONLY: &str = "[daemon]\ntick = \"10m\"\nrescan = \"10m\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_acted_on_within_two_seconds_and_an_uncommitted_edit_never() {
    let world = World::new(BY_EVENTS_ONLY).await;
    world.source.run("CREATE TABLE accounts (id int PRIMARY KEY)").await;
    world.write("connectors.d/warehouse.yaml", &world.destination());
    world.commit("warehouse");
    let daemon = world.daemon().await;

    world.write("connectors.d/crm.yaml", &world.connection(""));
    daemon.logged("not committed yet: crm: would onboard").await;
    let plan = world.aam_is(0, &["plan"]);
    assert!(plan.contains("Not committed yet, so it does not act:\n  crm: would onboard"), "{plan}");
    world.write("connectors.d/broken.yaml", "kind: connection\nsurce: {}\n");
    daemon.logged("not committed yet: connectors.d/broken.yaml:2:1: AAM-").await;
    assert!(!world.registry.has("SELECT 1 FROM connections").await, "an uncommitted edit acted");
    std::fs::remove_file(world.root.join("connectors.d/broken.yaml")).unwrap();

    let committed = Instant::now();
    world.commit("crm");
    until("the commit is acted on", 30, async || {
        world.registry.has("SELECT 1 FROM connections WHERE name = 'crm'").await.then_some(())
    })
    .await;
    let took = committed.elapsed();
    assert!(took.as_millis() < 2000, "acted on after {took:?}");
    until("the lock is committed", 30, async || {
        (world.committed("connectors.d/crm.lock.yaml") != "(none)").then_some(())
    })
    .await;
    // An edit of what runs already: shown, and nothing more.
    world.write("connectors.d/crm.yaml", &world.connection("on_delete: delete\n"));
    daemon.logged("not committed yet: crm: would update settings").await;
    world.write("connectors.d/crm.yaml", &world.connection("streams: {public/nothing: {}}\n"));
    daemon.logged("nothing").await;
    assert_eq!(world.registry.one("SELECT status FROM connections").await, "ACTIVE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_there_when_the_daemon_starts_is_shown() {
    let world = World::new(BY_EVENTS_ONLY).await;
    world.write("connectors.d/warehouse.yaml", &world.destination());
    world.commit("warehouse");
    world.write("connectors.d/crm.yaml", &world.connection(""));
    let daemon = world.daemon().await;
    daemon.logged("not committed yet: crm: would onboard").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_bot_commit_git_status_is_as_before_and_commit_a_leaves_the_bots_paths_alone() {
    let world = World::with_crm("").await;
    world.write("notes.txt", "one\n");
    world.commit("notes");
    // Dirty, staged, both, untracked and deleted files of the person, one of them a mapping.
    world.write("notes.txt", "staged\n");
    world.git(&["add", "notes.txt"]);
    world.write("notes.txt", "staged and edited\n");
    world.write("staged.txt", "new\n");
    world.git(&["add", "staged.txt"]);
    world.write("untracked.txt", "mine\n");
    world.write("mappings/crm.yaml", &format!("{MAPPING}# an edit of mine\n"));
    std::fs::remove_file(world.root.join("mappings/entities/account.yaml")).unwrap();
    let status = world.git(&["status", "--porcelain"]);
    let diff = (world.git(&["diff"]), world.git(&["diff", "--cached"]));
    assert_eq!(status.lines().count(), 5, "{status}");

    let mut bot_commits = Vec::new();
    let mut step = async |sql: &str, what: &str| {
        world.source.run(sql).await;
        let before = world.git(&["rev-parse", "main"]);
        world.aam(&["apply", "--look"]);
        let after = world.git(&["rev-parse", "main"]);
        assert_ne!(before, after, "{what}: no bot commit");
        assert_eq!(world.git(&["status", "--porcelain"]), status, "{what}");
        assert_eq!((world.git(&["diff"]), world.git(&["diff", "--cached"])), diff, "{what}");
        bot_commits.push(after);
    };
    step("SELECT 1", "onboarded").await;
    step("ALTER TABLE accounts ADD COLUMN website text", "an added column").await;
    step("ALTER TABLE accounts ADD COLUMN fax text", "another added column").await;

    // A proposal and its withdrawal leave the desk alone, too.
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    world.aam_is(3, &["apply", "--look"]);
    assert_eq!(world.git(&["status", "--porcelain"]), status, "a proposal");
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_region TO billing_state").await;
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(world.git(&["status", "--porcelain"]), status, "a withdrawal");

    world.git(&["commit", "--quiet", "-a", "-m", "mine"]);
    let mine = world.git(&["show", "--name-only", "--format=", "HEAD"]);
    assert_eq!(mine, "mappings/crm.yaml\nmappings/entities/account.yaml\nnotes.txt\nstaged.txt");
    let newest = bot_commits.last().unwrap();
    assert_eq!(world.git(&["rev-parse", "HEAD^"]), *newest);
    let ours = ["connectors.d", "drift"];
    assert_eq!(world.git(&[&["diff", "--name-only", newest, "HEAD", "--"][..], &ours].concat()), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_repair_that_a_person_reverts_stands_as_rejected() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    let lock = || world.committed("connectors.d/crm.lock.yaml");
    assert!(lock().contains("website"));
    world.git(&["revert", "--no-edit", "HEAD"]);
    let revert = world.git(&["rev-parse", "--short=10", "HEAD"]);

    // Not made again, by this look or the next, and a change beside it is not held up by it.
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["apply", "--look"]);
    let words = format!("rejected by {PERSON}: reverted by commit {revert}");
    assert!(!lock().contains("website"));
    assert!(world.aam_is(0, &["status"]).contains(&words));
    let listed = world.aam_is(0, &["drift", "list"]);
    assert!(listed.contains(" rejected, ") && listed.contains(&words), "{listed}");
    let shown = world.aam(&["drift", "show", "crm"]);
    let said = format!("reverted by commit {revert}; `aam drift approve crm` takes it all the same");
    assert!(shown.talk.contains(&said) && shown.out.contains("+ public/accounts.website: string"), "{shown:?}");
    assert!(
        world
            .aam(&["drift", "reject", "crm", "--reason", "no"])
            .talk
            .contains("rejected by Pat <pat@example.org> already")
    );
    world.source.run("ALTER TABLE accounts ADD COLUMN fax text").await;
    world.aam_is(0, &["apply", "--look"]);
    assert!(lock().contains("fax") && !lock().contains("website"), "{}", lock());
    assert!(world.aam_is(0, &["status"]).contains(&words));
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "");
    let tip = world.git(&["rev-parse", "main"]);
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(world.git(&["rev-parse", "main"]), tip, "nothing is left to do");

    // A person may still take it.
    assert!(world.committed("drift/default/crm/rejected.yaml").contains("website"));
    let approved = world.aam(&["drift", "approve", "crm"]);
    assert!(approved.talk.contains(&format!("(approved by {PERSON})")), "{approved:?}");
    // In one commit on top, which overrules the rejection: no branch that a turn between could withdraw.
    assert_eq!(world.git(&["rev-parse", "main^"]), tip);
    assert_eq!(world.git(&["show", "-s", "--format=%(trailers:key=Aam-Approved-By,valueonly)", "main"]).trim(), PERSON);
    assert_eq!(world.committed("drift/default/crm/rejected.yaml"), "(none)");
    assert!(lock().contains("website") && lock().contains("fax"));
    assert!(world.aam_is(0, &["status"]).contains("in sync"));
    assert_eq!(world.aam_is(0, &["drift", "list"]), "");
    let approved =
        world.registry.one("SELECT approved_by FROM sync_catalog_versions ORDER BY version DESC LIMIT 1").await;
    assert_eq!(approved, PERSON);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_repair_that_is_reverted_before_it_is_in_force_stands_as_rejected() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let app = world.open().await;
    app.reconciler.ask(Ask::Look, &"crm".parse().unwrap());
    let lock = || world.committed("connectors.d/crm.lock.yaml");
    while !lock().contains("website") {
        let gathered = Arc::new(app.reconciler.gather(None).await.unwrap());
        for item in work_items(&gathered, &gathered.plan()) {
            app.reconciler.execute(&gathered, &item).await;
        }
    }
    app.close().await.unwrap();
    world.git(&["revert", "--no-edit", "HEAD"]);
    let revert = world.git(&["rev-parse", "--short=10", "HEAD"]);

    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["apply", "--look"]);
    assert!(!lock().contains("website"), "{}", lock());
    let words = format!("rejected by {PERSON}: reverted by commit {revert}");
    assert!(world.aam_is(0, &["status"]).contains(&words));
    assert_eq!(
        world.registry.list("SELECT status || ': ' || cause FROM drift_events").await,
        [format!("rejected: {words}")]
    );
    // A kill between the commit of the rejection and its note in the registry leaves the drift open.
    world.registry.run("UPDATE drift_events SET status = 'approved', cause = 'rule:additive'").await;
    world.aam_is(0, &["apply"]);
    assert_eq!(
        world.registry.list("SELECT status || ': ' || cause FROM drift_events").await,
        [format!("rejected: {words}")]
    );
    assert_eq!(world.aam_is(0, &["apply"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_spec_takes_no_repair_back() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN ssn text").await;
    world.aam_is(0, &["apply", "--look"]);
    let lock = || world.committed("connectors.d/crm.lock.yaml");
    assert!(lock().contains("ssn"));
    world.write(
        "connectors.d/crm.yaml",
        &world.connection("mapping: crm\nstreams: {public/accounts: {fields: {exclude: [ssn]}}}\n"),
    );
    world.commit("never read it");
    world.aam_is(0, &["apply"]);
    assert!(!lock().contains("ssn"));
    world.write("connectors.d/crm.yaml", &world.connection("mapping: crm\n"));
    world.commit("read it after all");
    world.aam_is(0, &["apply"]);
    assert!(lock().contains("ssn"), "{}", lock());
    assert_eq!(world.committed("drift/default/crm/rejected.yaml"), "(none)");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rejections_only_keep_a_reverted_repair_from_being_made_again() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.write("drift/default/crm/rejected.yaml", "no: list\n");
    world.commit("broken");
    let ran = world.aam(&["sync", "crm"]);
    assert!(ran.out.contains("sync 1 succeeded, 3 rows"), "{ran:?}");
    assert!(world.aam(&["status"]).out.contains("rejected.yaml is no list of rejections"));
    assert!(!world.committed("connectors.d/crm.lock.yaml").contains("website"));
}
