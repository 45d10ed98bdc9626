//! `[approval]`: what somebody approved who may not is on the branch and not in force.

use crate::support::world::World;

const RULES: &str = "[[approval.rules]]\napprovers = [\"maria@example.com\"]\n";
const BRANCH: &str = "aam/drift/default/crm";

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_approve_brings_a_lock_into_force() {
    let world = World::with_crm(RULES).await;
    world.aam_is(0, &["apply"]);
    let status = || {
        let shown = world.aam(&["status"]).out;
        let line = shown.lines().find(|line| line.contains(" crm ")).unwrap_or_default();
        line.split(", looked").next().unwrap_or_default().to_owned()
    };
    let version = async || world.registry.one("SELECT version::text FROM connections").await;

    // no rule is named, so none approves: also what only adds is asked
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(3, &["apply", "--look"]);
    insta::assert_snapshot!(status(), @"! crm  ACTIVE   version 1 (436c90fc): drift 3c695b26 awaits review on aam/drift/default/crm");

    // Pat may not, by command …
    let ran = world.aam(&["drift", "approve", "crm"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.talk.trim(), @"error: aam/drift/default/crm was not merged: Pat <pat@example.org> may not approve it: [approval] asks for one of maria@example.com");
    // … nor by a merge that says that it is Maria's
    world.git(&["merge", "--quiet", "--no-ff", "-m", "merge\n\nAam-Approved-By: Maria <maria@example.com>", BRANCH]);
    world.aam_is(3, &["apply"]);
    insta::assert_snapshot!(status(), @"! crm  ACTIVE   version 1 (436c90fc): blocked: the lock on the branch is not in force: Pat <pat@example.org> may not approve it: [approval] asks for one of maria@example.com; revert it, and let one of them merge it anew");
    assert_eq!(version().await, "1");

    // taken back, it is asked again; merged by Maria it counts
    world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    world.aam_is(3, &["apply"]);
    world.git(&["config", "user.name", "Maria"]);
    world.git(&["config", "user.email", "maria@example.com"]);
    world.aam_is(0, &["drift", "approve", "crm"]);
    assert_eq!(version().await, "2");
    let by = "SELECT approved_by FROM sync_catalog_versions ORDER BY version DESC LIMIT 1";
    assert_eq!(world.registry.one(by).await, "Maria <maria@example.com>");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_aam_may_be_let_approve() {
    let rules = RULES.replace("[\"maria", "[\"rule:additive\", \"maria");
    let world = World::with_crm(&rules).await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(world.registry.one("SELECT version::text FROM connections").await, "2");
}
