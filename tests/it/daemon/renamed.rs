//! A renamed column with a mapping, from the branch to healed, however the person merges.

use crate::support::world::{PERSON, World};

/// Onboards, syncs, renames a mapped column at the source and looks.
async fn renamed() -> World {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    world.aam_is(3, &["apply", "--look"]);
    world
}

/// Added and removed lines of a file's diff, its header aside.
fn changed_lines(diff: &str) -> Vec<&str> {
    let header = |line: &&str| !line.starts_with("---") && !line.starts_with("+++");
    diff.lines().filter(|line| line.starts_with(['-', '+'])).filter(header).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_is_one_line_in_lock_and_mapping_and_one_drift_file() {
    let world = renamed().await;
    let branch = "aam/drift/default/crm";
    let names = world.git(&["diff", "--name-status", "main", branch]);
    let drift_file = names.lines().find_map(|line| line.strip_prefix("A\t")).unwrap().to_owned();
    insta::assert_snapshot!(names.replace(&drift_file, "drift/default/crm/[drift].md"), @r"
    M	connectors.d/crm.lock.yaml
    A	drift/default/crm/[drift].md
    M	mappings/crm.yaml
    ");
    let lock = world.git(&["diff", "-U0", "main", branch, "--", "connectors.d/crm.lock.yaml"]);
    let lock: Vec<&str> = changed_lines(&lock).iter().map(|line| line.split("s1:").next().unwrap()).collect();
    insta::assert_snapshot!(lock.join("\n"), @r"
    -version: 1
    -fingerprint: 
    +version: 2
    +fingerprint: 
    -      billing_state: string
    +      billing_region: string
    ");
    let mapping = world.git(&["diff", "-U0", "main", branch, "--", "mappings/crm.yaml"]);
    insta::assert_snapshot!(changed_lines(&mapping).join("\n"), @r"
    -      region: {from: billing_state, values: {CA: west, NY: east}, default: other}   # keep this comment
    +      region: {from: billing_region, values: {CA: west, NY: east}, default: other}   # keep this comment
    ");
    let report = world.git(&["show", &format!("{branch}:{drift_file}")]);
    assert!(report.contains("billing_region") && report.contains("billing_state"), "{report}");
    // Nothing of it is in force yet.
    assert_eq!(world.git(&["diff", "--name-only", "main"]), "");
    assert!(world.committed("connectors.d/crm.lock.yaml").contains("version: 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_forward_heals() {
    merged_heals(&[&["merge", "--quiet", "--ff-only", "aam/drift/default/crm"]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_commit_heals() {
    merged_heals(&[&["merge", "--quiet", "--no-ff", "--no-edit", "aam/drift/default/crm"]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_squashed_merge_heals() {
    let commit = ["commit", "--quiet", "-m", "take the new column"];
    merged_heals(&[&["merge", "--quiet", "--squash", "aam/drift/default/crm"], &commit]).await;
}

async fn merged_heals(merge: &[&[&str]]) {
    let world = renamed().await;
    let events = "SELECT count(*)::text FROM canonical_streams";
    assert_eq!(world.registry.one(events).await, "3");
    for command in merge {
        world.git(command);
    }
    let merged = world.git(&["rev-parse", "HEAD"]);
    world.aam_is(0, &["apply"]);

    let status: serde_json::Value = serde_json::from_str(&world.aam_is(0, &["status", "--format", "json"])).unwrap();
    let crm = &status["connections"][0];
    assert_eq!((&crm["status"], &crm["version"], &crm["standing"]), (&"ACTIVE".into(), &2.into(), &"in_sync".into()));
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "", "the branch is gone");
    assert_eq!(world.git(&["status", "--porcelain"]), "");

    // A changed and a new row reach the same canonical field under the new name; the other two are no news.
    world.source.run("UPDATE accounts SET billing_region = 'NY', updated_at = now() WHERE id = 1").await;
    world.source.run("INSERT INTO accounts VALUES (4, 'Dune', 'CA', 5, now())").await;
    world.aam_is(0, &["sync", "crm"]);
    let last = "SELECT record_key || ' ' || (data->>'region') FROM canonical_streams ORDER BY position";
    assert_eq!(world.registry.list(last).await, ["[1] west", "[2] east", "[3] other", "[1] east", "[4] west"]);

    // History, audit and git log tell one story: version 2, this commit, this person.
    let history: serde_json::Value =
        serde_json::from_str(&world.aam_is(0, &["history", "crm", "--verify", "--format", "json"])).unwrap();
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[1]["version"], &versions[1]["approved_by"]), (&2.into(), &PERSON.into()));
    let commit = versions[1]["commit"].as_str().unwrap();
    let touching = world.git(&["log", "--first-parent", "--format=%H", "main", "--", "connectors.d/crm.lock.yaml"]);
    assert!(touching.lines().any(|c| c == commit), "{commit} is none of the lock's commits:\n{touching}");
    assert!(world.try_git(&["merge-base", "--is-ancestor", commit, &merged]).0);
    let lock = world.git(&["show", &format!("{commit}:connectors.d/crm.lock.yaml")]);
    assert!(lock.contains(versions[1]["fingerprint"].as_str().unwrap()) && lock.contains("version: 2"));
    let audit = history["audit"].as_array().unwrap();
    let approved = audit.iter().find(|entry| entry["summary"].as_str().unwrap().ends_with(" approved")).unwrap();
    assert_eq!((&approved["actor"], &approved["detail"]["commit"]), (&PERSON.into(), &commit.into()));
    assert_eq!(world.registry.one("SELECT status FROM drift_events").await, "repaired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table_is_proposed_and_read_from_its_beginning() {
    let world = World::with_crm("").await;
    let spec = world.connection("streams:\n  accounts: # the only one\nmapping: crm\n");
    world.write("connectors.d/crm.yaml", &spec);
    world.commit("one stream");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world
        .source
        .run("CREATE TABLE notes (id integer PRIMARY KEY, text text); ALTER TABLE accounts RENAME TO customers")
        .await;
    world.aam_is(3, &["apply", "--look"]);
    let diff = world.git(&["diff", "-U0", "main", "aam/drift/default/crm", "--", "mappings", "connectors.d"]);
    let diff: Vec<&str> = changed_lines(&diff).iter().map(|line| line.split("s1:").next().unwrap()).collect();
    insta::assert_snapshot!(diff.join("\n"), @r"
    -version: 1
    -fingerprint: 
    +version: 2
    +fingerprint: 
    -  public/accounts:
    +  public/customers:
    -  accounts: # the only one
    +  customers: # the only one
    -    stream: public/accounts   # the only one
    +    stream: public/customers   # the only one
    ");
    let status = world.aam_is(3, &["status"]);
    assert!(status.contains("held back from syncs: public/accounts\n"), "{status}");

    // Another stream: its rows and events begin anew, those of the old one stay.
    world.aam_is(0, &["drift", "approve", "crm"]);
    assert!(world.aam_is(0, &["status"]).contains("in sync"));
    world.aam_is(0, &["sync", "crm"]);
    let events = "SELECT stream || ' ' || count(*) || ' from ' || min(position) FROM canonical_streams GROUP BY stream ORDER BY 1";
    let all = ["public/accounts 3 from 1", "public/customers 3 from 1"];
    assert_eq!(world.registry.list(events).await, all);
    assert_eq!(world.warehouse.one("SELECT count(*)::text FROM public.accounts").await, "3");

    // Back under its old name it goes on where it was left: what did not change is no news.
    world.source.run("ALTER TABLE customers RENAME TO accounts").await;
    world.source.run("UPDATE accounts SET billing_state = 'NY', updated_at = now() WHERE id = 1").await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam_is(0, &["drift", "approve", "crm"]);
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.registry.list(events).await, ["public/accounts 4 from 1", all[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_person_commented_does_not_keep_its_repair_from_being_drafted_anew() {
    let world = renamed().await;
    let app = world.open().await;
    app.reconciler.settle(None, |_| {}).await.unwrap();
    let lock = world.read("connectors.d/crm.lock.yaml");
    world.write("connectors.d/crm.lock.yaml", &format!("# ask Pat first\n{lock}"));
    world.commit("a comment");
    world.git(&["branch", "-D", "aam/drift/default/crm"]);
    let (_, outcomes) = app.reconciler.settle(None, |_| {}).await.unwrap();
    let kinds: Vec<_> = outcomes.iter().map(|outcome| &outcome.kind).collect();
    assert_eq!(kinds, [&aam::reconcile::OutcomeKind::Applied]);
    assert!(world.git(&["show", "aam/drift/default/crm:connectors.d/crm.lock.yaml"]).starts_with("# ask Pat first\n"));
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_branch_that_cannot_move_is_left_until_later() {
    let world = renamed().await;
    let other = world.dir().join("review");
    world.git(&["worktree", "add", "--quiet", other.to_str().unwrap(), "aam/drift/default/crm"]);
    std::fs::write(other.join("mappings/crm.yaml"), "kind: mapping # not done yet\n").unwrap();
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_region TO region").await;
    let tip = world.git(&["rev-parse", "aam/drift/default/crm"]);
    let ran = world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(ran.out.matches("open repair").count(), 1, "{ran:?}");
    assert!(ran.out.contains("is checked out with edits in its way"), "{ran:?}");
    assert_eq!(world.git(&["rev-parse", "aam/drift/default/crm"]), tip);
    // Nor does it keep rows from being read.
    let ran = world.aam(&["sync", "crm"]);
    assert!(ran.talk.contains("open repair"), "{ran:?}");
    assert_eq!(world.registry.list("SELECT state FROM aam_engine.jobs").await, ["succeeded", "succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_holds_while_other_things_change() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam_is(0, &["drift", "reject", "crm", "--reason", "it comes back"]);
    assert!(
        world
            .committed("drift/default/crm/rejected.yaml")
            .ends_with("  changes:\n    - \"- public/accounts.employees: integer\"")
    );
    let lock = || world.committed("connectors.d/crm.lock.yaml");

    // What only adds is taken in, and what was rejected is not asked again.
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    assert!(lock().contains("website") && lock().contains("employees"), "{}", lock());
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "");
    assert!(world.aam_is(0, &["status"]).contains(&format!("rejected by {PERSON}: it comes back")));
    assert_eq!(
        world.registry.list("SELECT status FROM drift_events ORDER BY opened_at").await,
        ["rejected", "repaired"]
    );
    let tip = world.git(&["rev-parse", "main"]);
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(world.git(&["rev-parse", "main"]), tip, "nothing is left to do");

    // What is new is asked alone, and its merge leaves the rejection in force.
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    world.aam_is(3, &["apply", "--look"]);
    let diff = world.git(&["diff", "-U0", "main", "aam/drift/default/crm", "--", "mappings", "connectors.d"]);
    assert!(diff.contains("billing_region") && !diff.contains("employees"), "{diff}");
    world.aam_is(0, &["drift", "approve", "crm"]);
    assert!(lock().contains("billing_region") && lock().contains("employees"), "{}", lock());
    assert!(world.aam_is(0, &["status"]).contains(&format!("rejected by {PERSON}: it comes back")));
    // The rejected change may be taken all the same.
    world.aam_is(0, &["drift", "approve", "crm"]);
    assert!(!lock().contains("employees"), "{}", lock());
    assert!(world.aam_is(0, &["status"]).contains("in sync"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rejected_and_is_merged_by_hand_is_rejected_no_more() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    let repair = world.git(&["rev-parse", "aam/drift/default/crm"]);
    world.aam_is(0, &["drift", "reject", "crm", "--reason", "it comes back"]);
    world.git(&["merge", "--quiet", "--no-edit", &repair]);
    let rejected = "drift/default/crm/rejected.yaml";
    assert!(world.committed(rejected).contains("employees"));
    let applied = world.aam_is(0, &["apply"]);
    assert!(applied.contains("commit lock: what was rejected is approved by now (applied)"), "{applied}");
    assert_eq!(world.committed(rejected), "(none)");
    assert_eq!(world.registry.list("SELECT status FROM drift_events").await, ["repaired"]);
    assert!(world.aam_is(0, &["status"]).contains("in sync"));
    assert_eq!(world.aam_is(0, &["apply"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_answers_the_drift_that_is_open_and_not_one_that_was_rejected_once() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    // As another process with a clock of its own would have noted it.
    let columns = "connection_id, base, target, confidence, automatic, changed_at";
    world
        .registry
        .run(&format!(
            "INSERT INTO drift_events (tenant_id, id, status, opened_at, cause, {columns})
             SELECT tenant_id, gen_random_uuid(), 'rejected', opened_at + interval '1 s', 'no', {columns} FROM drift_events"
        ))
        .await;
    world.git(&["merge", "--quiet", "aam/drift/default/crm"]);
    world.aam_is(0, &["apply"]);
    let statuses = "SELECT status FROM drift_events ORDER BY opened_at";
    assert_eq!(world.registry.list(statuses).await, ["repaired", "rejected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_that_was_cut_off_before_it_was_noted_closes_its_drift_whatever_else_changed() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam_is(0, &["drift", "reject", "crm", "--reason", "it comes back"]);
    // As a kill between the commit and the note leaves it.
    let cut_off = "UPDATE drift_events SET status = 'pending', cause = 'seen by a look' WHERE status = 'rejected'";
    let statuses = "SELECT status FROM drift_events ORDER BY opened_at";
    world.registry.run(cut_off).await;
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(world.registry.list(statuses).await, ["rejected", "repaired"]);
    world.registry.run(cut_off).await;
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    world.aam_is(3, &["apply", "--look"]);
    assert_eq!(world.registry.list(statuses).await, ["rejected", "repaired", "pending"]);
    assert_eq!(world.aam_is(3, &["apply"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drift_is_over_though_its_branch_is_checked_out_and_that_is_said_once() {
    let world = renamed().await;
    let (branch, other) = ("aam/drift/default/crm", world.dir().join("review"));
    world.git(&["worktree", "add", "--quiet", other.to_str().unwrap(), branch]);
    let daemon = world.daemon().await;
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_region TO billing_state").await;
    let ran = world.aam(&["apply", "--look"]);
    assert!(ran.out.contains("close drift: the source and the lock agree (skipped: withdrawing"), "{ran:?}");
    assert!(!world.aam_is(0, &["apply"]).contains("close drift"));
    assert_eq!(world.registry.one("SELECT status FROM drift_events").await, "withdrawn");
    assert_eq!(daemon.log().matches("is checked out in a work tree").count(), 1, "{}", daemon.log());
    world.git(&["worktree", "remove", other.to_str().unwrap()]);
    world.aam_is(0, &["apply"]);
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_retired_connection_saw_last_is_no_reason_to_worry() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.registry.run(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", world.source.name)).await;
    world.aam_is(4, &["apply", "--look"]);
    world.git(&["rm", "--quiet", "connectors.d/crm.yaml", "connectors.d/crm.lock.yaml"]);
    world.commit("crm is no more");
    world.aam_is(0, &["apply", "--confirm-removals"]);
    world.aam_is(0, &["status"]);
}
