//! The whole way: a drift becomes a request, people decide on the forge, and that is what happens here. The branches are
//! pushed by the test, as a remote would do.

use aam::forge::Kind;

use super::team::Team;
use super::tool::BRANCH;
use crate::forge_standin::Fault;
use crate::support::world::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_request_is_a_rejection_with_its_last_comment() {
    let team = Team::new(Kind::GitHub).await;
    team.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.aam_is(3, &["apply", "--look"]);
    assert_eq!(team.requests(), 0, "the branch is not on the forge yet");
    team.drift("SELECT 1", 3).await;
    let (title, body) = team.forge.edit(|state| (state.request(1).title.clone(), state.request(1).body.clone()));
    assert_eq!(title, "Drift of crm: 1 change, 1 breaking");
    assert!(body.contains("billing_state") && body.contains("aam drift reject crm --reason"), "{body}");
    assert_eq!(team.known().await, "1 open -");

    // In place, and nothing twice.
    let before = team.writes();
    team.world.aam_is(3, &["apply"]);
    assert_eq!(team.writes(), before, "what is as it should be is not written");
    team.drift("ALTER TABLE accounts DROP COLUMN name", 3).await;
    let (title, said) = team.forge.edit(|state| {
        let request = state.request(1);
        (request.title.clone(), request.comments.iter().map(|c| c.body.clone()).collect::<Vec<_>>())
    });
    assert_eq!(title, "Drift of crm: 2 changes, 2 breaking");
    assert!(said.len() == 1 && said[0].contains("new: ") && said[0].contains("name"), "{said:?}");

    // A forge that is down stops nothing and is told.
    team.forge.script("", 9, Fault::Answer(500, Vec::new(), "{}".to_owned()));
    let down = team.world.aam(&["apply"]);
    assert_eq!(down.code, 1, "{down:#?}");
    let status = team.world.aam(&["status"]);
    assert!(status.out.contains("bring its request on the forge up to date"), "{status:#?}");
    team.forge.heal();
    team.world.aam_is(3, &["apply"]);
    let troubles = team.world.registry.one("SELECT troubles::text FROM connections").await;
    assert_eq!(troubles, "{}");

    let _daemon = team.world.daemon().await;
    team.forge.edit(|state| {
        state.comment(1, "grace", "keep it: \"region\" is used by `billing`\nask me");
        state.close(1, "grace");
    });
    let rejected = "drift/default/crm/rejected.yaml";
    let text = until("the rejection is committed", 60, async || {
        Some(team.world.committed(rejected)).filter(|text| text != "(none)")
    })
    .await;
    assert!(text.contains(r#"reason: "keep it: \"region\" is used by `billing`\u000aask me""#), "{text}");
    assert!(text.contains("by: \"grace (http://"), "{text}");
    until("it is noted", 60, async || (team.known().await == "1 rejected grace").then_some(())).await;
    until("the branch goes", 60, async || (!team.world.try_git(&["rev-parse", BRANCH]).0).then_some(())).await;
    assert_eq!(team.requests(), 1);
    let audit = team.world.registry.one("SELECT actor FROM audit_log WHERE action = 'request.rejected'").await;
    assert!(audit.starts_with("grace (127.0.0.1:"), "{audit}");
    assert_eq!(team.world.registry.one("SELECT count(*)::text FROM intents").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_squashed_request_is_an_approval_and_no_rejection() {
    let team = Team::new(Kind::GitLab).await;
    team.drift("ALTER TABLE accounts DROP COLUMN billing_state", 3).await;
    team.forge.edit(|state| {
        state.review(1, "grace", true, "");
        assert!(state.merge(1, "linus", true));
    });
    // Not pulled yet, and the branch is there again: nothing is asked a second time.
    team.world.git(&["push", "--quiet", "--force", "origin", BRANCH]);
    team.world.aam_is(3, &["apply"]);
    team.world.source.run("SELECT 1").await;
    team.world.aam_is(3, &["apply", "--look"]);
    assert_eq!((team.known().await.as_str(), team.requests()), ("1 merged linus", 1));
    team.world.git(&["pull", "--quiet", "origin", "main"]);
    team.world.aam_is(0, &["apply"]);
    assert_eq!(team.known().await, "1 merged linus");
    let detail = "SELECT detail->>'approvals' || ' ' || (detail->>'request' LIKE '%/merge_requests/1')::text || ' ' || length(detail->>'commit')
                  FROM audit_log WHERE action = 'request.merged'";
    assert_eq!(team.world.registry.one(detail).await, r#"["grace"] true 40"#);
    assert_eq!(team.world.committed("drift/default/crm/rejected.yaml"), "(none)");
    assert_eq!(team.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_closed_with_a_reason_when_the_source_changes_back_and_a_deleted_branch_is_no_rejection() {
    let team = Team::new(Kind::GitLab).await;
    team.drift("ALTER TABLE accounts DROP COLUMN billing_state", 3).await;
    assert_eq!(team.known().await, "1 open -");
    // Somebody tidies up: it is offered again.
    team.forge.edit(|state| state.bare.delete(BRANCH));
    team.world.aam_is(3, &["apply"]);
    assert_eq!(team.known().await, "1 closed aam-bot");
    team.drift("SELECT 1", 3).await;
    assert_eq!(team.known().await, "1 closed aam-bot\n2 open -");
    assert_eq!(team.world.committed("drift/default/crm/rejected.yaml"), "(none)");
    team.drift("ALTER TABLE accounts ADD COLUMN billing_state text", 0).await;
    let (state, said) = team.forge.edit(|state| {
        let request = state.request(2);
        (request.state, request.comments.iter().map(|c| c.body.clone()).collect::<Vec<_>>().join("\n"))
    });
    assert_eq!(state, crate::forge_standin::Standing::Closed);
    assert!(said.contains("withdrawn: "), "{said}");
    assert_eq!(team.known().await, "1 closed aam-bot\n2 withdrawn -");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_remote_only_the_forge_says_who_approved() {
    let rules = "[[approval.rules]]\napprovers = [\"grace@example.org\", \"forge:grace\"]\n";
    let team = Team::remote(Kind::GitHub, rules).await;
    team.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.aam_is(3, &["apply", "--look"]);
    assert_eq!(team.known().await, "1 open -");
    // Whoever may push can write whatever they like into a commit.
    for (key, value) in [("user.name", "Grace"), ("user.email", "grace@example.org")] {
        team.world.git(&["config", key, value]);
    }
    team.world.git(&["pull", "--quiet"]);
    let trailer = "merge\n\nAam-Approved-By: Grace <grace@example.org>";
    team.world.git(&["merge", "--quiet", "--no-ff", "-m", trailer, &format!("origin/{BRANCH}")]);
    team.world.git(&["push", "--quiet"]);
    team.world.aam_is(3, &["apply"]);
    let status = team.world.aam(&["status"]).out;
    let why = "aam-bot (http";
    assert!(status.contains(why) && status.contains("may not approve it"), "the forge saw who pushed: {status}");
    team.world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    team.world.git(&["push", "--quiet"]);
    team.world.aam_is(3, &["apply"]);
    team.world.aam_is(3, &["apply"]);
    assert_eq!(team.known().await, "1 merged aam-bot\n2 open -");
    team.forge.edit(|state| assert!(state.merge(2, "grace", false)));
    team.world.aam_is(0, &["apply"]);
    let by =
        "SELECT regexp_replace(approved_by, 'http.*/', '') FROM sync_catalog_versions ORDER BY version DESC LIMIT 1";
    assert_eq!(team.world.registry.one(by).await, "grace (2)");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_rebases_a_request_approved_it_whoever_committed_on_its_branch() {
    let team = Team::remote(Kind::GitHub, "[[approval.rules]]\napprovers = [\"forge:grace\"]\n").await;
    team.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.aam_is(3, &["apply", "--look"]);
    team.world.git(&["fetch", "--quiet"]);
    team.world.git(&["checkout", "--quiet", "-b", "mine", &format!("origin/{BRANCH}")]);
    let mapping = team.world.read("mappings/crm.yaml");
    team.world.write("mappings/crm.yaml", &format!("{mapping}# seen\n"));
    team.world.commit("seen");
    team.world.git(&["push", "--quiet", "origin", &format!("mine:{BRANCH}")]);
    team.forge.edit(|state| assert!(state.rebase(1, "grace")));
    team.world.aam(&["apply"]);
    team.world.aam_is(0, &["apply"]);
    let by = "SELECT version || ' ' || regexp_replace(approved_by, 'http.*/', '') FROM sync_catalog_versions ORDER BY version DESC LIMIT 1";
    assert_eq!(team.world.registry.one(by).await, "2 grace (1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_waits_for_a_remote_that_is_down_and_is_no_failure() {
    let team = Team::remote(Kind::Gitea, "").await;
    team.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.aam_is(3, &["apply", "--look"]);
    assert_eq!(team.known().await, "1 open -");
    team.forge.edit(|state| {
        state.comment(1, "grace", "not yet");
        state.close(1, "grace");
    });
    std::fs::remove_file(team.world.dir().join("remote.git")).unwrap();
    team.world.aam_is(4, &["apply"]);
    assert_eq!(team.known().await, "1 open -", "it may have been merged by another way");
    assert_eq!(team.world.registry.one("SELECT troubles::text FROM connections").await, "{}");
    team.plug();
    team.world.aam(&["apply"]);
    assert_eq!(team.known().await, "1 rejected grace");
}
