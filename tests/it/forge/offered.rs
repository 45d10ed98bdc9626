//! Every branch that aam offers has one request, and what people do with it is what happens: on a protected branch, for
//! rollbacks and locks, and for what a rule takes in.

use std::os::unix::fs::PermissionsExt;

use aam::forge::Kind;

use super::team::Team;
use super::tool::{BRANCH, KINDS};
use crate::forge_standin::{Standing, State};

const RULE: &str = "aam/drift/by-rule-of/default/crm";
const BACK: &str = "aam/drift/rollback-of/default/crm";
const LOCK: &str = "aam/drift/lock-of/default/crm";
const REJECTION: &str = "aam/drift/rejection-of/default/crm";
const BY_REQUEST: &str = "[approval]\nautomatic = \"request\"\n";

impl Team {
    /// From now on nobody pushes to `main`; what is merged on the forge gets there.
    fn protect(&self) {
        let hook = self.world.dir().join("config.git/hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\ngrep -q refs/heads/main || exit 0; echo protected >&2; exit 1\n").unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn run(&self, sql: &str) {
        self.world.source.run(sql).await;
        self.world.aam(&["apply", "--look"]);
    }

    fn apply(&self) {
        self.world.aam(&["apply"]);
    }

    fn heads(&self) -> String {
        let of = |state: &mut State| {
            let open = state.requests.iter().filter(|request| request.state == Standing::Open);
            open.map(|request| request.head.clone()).collect::<Vec<_>>().join(" ")
        };
        self.forge.edit(of)
    }

    fn close(&self, number: u64, word: &str) {
        self.forge.edit(|state| {
            state.comment(number, "grace", word);
            state.close(number, "grace");
        });
    }

    fn merge(&self, number: u64) {
        assert!(self.forge.edit(|state| state.merge(number, "linus", false)));
    }

    fn has(&self, branch: &str) -> bool {
        self.forge.edit(|state| state.bare.tip(branch).is_some())
    }

    async fn one(&self, sql: &str) -> String {
        self.world.registry.one(sql).await
    }

    async fn versions(&self) -> String {
        self.one("SELECT max(version)::text FROM sync_catalog_versions").await
    }

    async fn approver(&self) -> String {
        let sql = "SELECT regexp_replace(approved_by, 'http.*/', '') FROM sync_catalog_versions ORDER BY version DESC LIMIT 1";
        self.one(sql).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_protected_branch_requests_approve_and_reject() {
    let mut team = Team::remote(Kind::GitHub, "").await;
    team.protect();
    team.run("ALTER TABLE accounts ADD COLUMN website text").await;
    assert_eq!(team.heads(), BRANCH, "what a rule may not commit is asked");
    team.merge(1);
    team.apply();
    assert_eq!((team.versions().await.as_str(), team.has(BRANCH)), ("2", false));

    team.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    assert_eq!(team.heads(), BRANCH);
    team.close(2, "it is used");
    for _ in 0..3 {
        team.apply();
        assert_eq!(team.heads(), REJECTION, "it is in force at once, and offered once to be written down");
    }
    assert_eq!(team.known().await, "1 merged linus\n2 rejected grace\n3 open -");
    assert_eq!((team.requests(), team.has(BRANCH)), (3, false));
    let status = team.world.aam(&["status"]).out;
    assert!(status.contains("rejected by grace (") && status.contains("it is used"), "{status}");
    assert_eq!(team.one("SELECT troubles::text FROM connections").await, "{}");

    // The registry goes; the branch alone decides nothing until it is merged.
    team.world.lose_registry().await;
    for _ in 0..3 {
        team.world.aam(&["apply", "--look"]);
        assert_eq!(team.heads().split(' ').next(), Some(REJECTION));
        assert_eq!(team.one("SELECT rejections::text FROM connections").await, "[]");
    }
    team.merge(3);
    for _ in 0..3 {
        team.apply();
    }
    assert_eq!((team.heads().as_str(), team.has(REJECTION)), ("", false));
    assert_eq!(team.one("SELECT rejections::text FROM connections").await, "[]");
    team.world.git(&["pull", "--quiet"]);
    assert!(team.world.read("drift/default/crm/rejected.yaml").contains("it is used"));
    let status = team.world.aam(&["status"]).out;
    assert!(status.contains("rejected by grace ("), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_pushes_rejects_nothing() {
    let team = Team::remote(Kind::GitHub, "").await;
    team.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    assert_eq!(team.heads(), BRANCH);
    team.world.git(&["fetch", "--quiet"]);
    team.world.git(&["checkout", "--quiet", "-b", "mine", "origin/main"]);
    let (change, digest) = (team.one("SELECT changes::json->>0 FROM requests").await, "b".repeat(64));
    let forged = format!(
        "- fingerprint: s1:{digest}\n  by: Ada\n  at: 2026-01-02T03:04:05Z\n  reason: hidden\n  changes: ['{change}']\n"
    );
    team.world.write("drift/default/crm/rejected.yaml", &forged);
    team.world.commit("hidden");
    team.world.git(&["push", "--quiet", "origin", &format!("mine:{REJECTION}")]);
    for _ in 0..3 {
        team.apply();
        assert_eq!(
            team.heads(),
            format!("{BRANCH} {REJECTION}"),
            "it is an offer as any, and the drift is asked still"
        );
    }
    assert_eq!(team.one("SELECT rejections::text FROM connections").await, "[]");
    assert_eq!(team.one("SELECT string_agg(status::text, ' ') FROM drift_events").await.to_lowercase(), "pending");
}

/// On a protected branch, what overrules a rejection is offered as any lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_that_is_overruled_is_asked_once_to_be_taken_out() {
    let team = Team::remote(Kind::GitHub, "").await;
    team.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.git(&["fetch", "--quiet"]);
    team.world.git(&["branch", "--quiet", "--no-track", "drafted", &format!("origin/{BRANCH}")]);
    team.close(1, "it is used");
    team.apply();
    team.world.git(&["pull", "--quiet"]);
    assert!(team.world.read("drift/default/crm/rejected.yaml").contains("it is used"));
    team.world.git(&["merge", "--quiet", "--no-edit", "drafted"]);
    team.world.git(&["push", "--quiet"]);
    team.protect();
    for _ in 0..3 {
        team.apply();
        assert_eq!((team.heads().as_str(), team.requests(), team.has(LOCK)), (LOCK, 2, true));
    }
    team.merge(2);
    team.world.aam_is(0, &["apply"]);
    team.world.aam_is(0, &["apply"]);
    assert_eq!((team.heads().as_str(), team.has(LOCK), team.requests()), ("", false, 2));
    team.world.git(&["pull", "--quiet"]);
    assert_eq!(team.world.committed("drift/default/crm/rejected.yaml"), "(none)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_the_branch_refuses_is_asked_once() {
    let team = Team::remote(Kind::Gitea, "").await;
    team.world.git(&["pull", "--quiet"]);
    team.world.git(&["rm", "--quiet", "connectors.d/crm.lock.yaml"]);
    team.world.git(&["commit", "--quiet", "-m", "by mistake"]);
    team.world.git(&["push", "--quiet"]);
    team.protect();
    for _ in 0..2 {
        team.apply();
        assert_eq!((team.heads().as_str(), team.requests()), (LOCK, 1));
    }
    team.close(1, "no");
    for _ in 0..3 {
        team.apply();
        assert_eq!((team.heads().as_str(), team.requests(), team.has(LOCK)), ("", 1, true));
    }
    assert_eq!(team.known().await, "1 rejected grace");
    let told = format!("{:?}", team.world.aam(&["apply"]));
    assert!(told.contains("cannot commit") && told.contains("protected"), "{told}");
    team.forge.edit(|state| state.request(1).state = Standing::Open);
    team.apply();
    assert_eq!(team.known().await, "1 open -", "it is asked again when somebody says so");
    team.merge(1);
    team.world.aam_is(0, &["apply"]);
    team.world.aam_is(0, &["apply"]);
    assert_eq!((team.known().await.as_str(), team.has(LOCK)), ("1 merged linus", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_a_request_that_people_merge_or_decline() {
    let team = Team::remote(Kind::GitLab, "").await;
    team.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let back = |reason: &str| team.world.aam_is(0, &["rollback", "crm", "--to", "1", "--reason", reason, "--branch"]);
    back("a @team report broke");
    team.apply();
    assert_eq!(team.heads(), BACK);
    let (title, body) = team.forge.edit(|state| (state.request(1).title.clone(), state.request(1).body.clone()));
    assert_eq!(title, "Rollback of crm");
    let told = body.split("## How to decide").next().unwrap_or_default();
    assert!(told.contains("a @team report broke") && told.contains("public/accounts"), "{body}");
    assert!(body.contains("-      website: string"), "{body}");
    team.close(1, "not now");
    for _ in 0..2 {
        team.apply();
        assert_eq!((team.heads().as_str(), team.requests(), team.has(BACK)), ("", 1, false));
    }
    let detail = team.one("SELECT detail->>'reason' FROM audit_log WHERE action = 'request.rejected'").await;
    assert_eq!((detail.as_str(), team.known().await.as_str()), ("not now", "1 rejected grace"));
    // Asked for again, it is asked again.
    back("it broke another one");
    team.apply();
    assert_eq!((team.heads().as_str(), team.requests()), (BACK, 2));
    team.merge(2);
    team.apply();
    team.apply();
    assert_eq!((team.versions().await.as_str(), team.has(BACK)), ("3", false));
    assert_eq!(team.known().await, "1 rejected grace\n2 merged linus");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_takes_in_merges_by_itself_once_its_checks_are_good() {
    for kind in KINDS {
        let team = Team::remote(kind, BY_REQUEST).await;
        team.protect();
        team.forge.edit(|state| state.required = vec!["ci".to_owned()]);
        team.run("ALTER TABLE accounts ADD COLUMN website text").await;
        team.apply();
        assert_eq!((team.heads().as_str(), team.known().await.as_str()), (RULE, "1 open -"), "{kind:?}");
        assert_eq!(team.forge.edit(|state| state.request(1).auto.clone()).as_deref(), Some("aam-bot"), "{kind:?}");
        let status = team.world.aam(&["status"]);
        assert!(
            status.code == 2 && status.out.contains("is taken in by rule:additive once the forge has"),
            "{status:?}"
        );
        team.forge.edit(|state| state.pass(RULE, "ci"));
        team.world.aam(&["apply"]);
        team.world.aam_is(0, &["apply"]);
        let url = if kind == Kind::Gitea { "pulls/1" } else { "/1" };
        let by = team.one("SELECT approved_by FROM sync_catalog_versions ORDER BY version DESC LIMIT 1").await;
        assert!(by.starts_with("rule:additive (http://") && by.ends_with(&format!("{url})")), "{kind:?}: {by}");
        let audit =
            team.one("SELECT actor FROM audit_log WHERE summary LIKE '%approved' ORDER BY position DESC LIMIT 1");
        assert_eq!(audit.await, by, "{kind:?}");
        assert_eq!((team.has(RULE), team.known().await.as_str()), (false, "1 merged aam-bot"), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_takes_back_or_changes_is_no_rules_any_more() {
    let team = Team::remote(Kind::GitHub, BY_REQUEST).await;
    // Nothing is asked of a merge: GitHub takes no auto-merge then, and it is merged.
    team.run("ALTER TABLE accounts ADD COLUMN website text").await;
    team.apply();
    team.apply();
    assert_eq!(
        (team.approver().await.as_str(), team.known().await.as_str()),
        ("rule:additive (1)", "1 merged aam-bot")
    );
    team.world.git(&["pull", "--quiet"]);
    team.world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    team.world.git(&["push", "--quiet"]);
    for _ in 0..3 {
        team.apply();
    }
    assert_eq!((team.heads().as_str(), team.requests()), ("", 1), "a revert is a rejection");

    // A person's commit on the branch is nothing that a rule judged.
    team.forge.edit(|state| state.required = vec!["ci".to_owned()]);
    team.run("ALTER TABLE accounts ADD COLUMN fax text").await;
    team.apply();
    assert_eq!(team.forge.edit(|state| state.request(2).auto.clone()).as_deref(), Some("aam-bot"));
    team.world.git(&["fetch", "--quiet"]);
    team.world.git(&["checkout", "--quiet", "-b", "mine", &format!("origin/{RULE}")]);
    let mapping = team.world.read("mappings/crm.yaml");
    team.world.write("mappings/crm.yaml", &format!("{mapping}# seen\n"));
    team.world.commit("seen");
    team.world.git(&["push", "--quiet", "origin", &format!("mine:{RULE}")]);
    team.apply();
    assert_eq!(team.forge.edit(|state| state.request(2).auto.clone()), None, "people decide now");
    team.forge.edit(|state| state.pass(RULE, "ci"));
    team.apply();
    assert_eq!(team.heads(), RULE);
    team.merge(2);
    team.apply();
    team.apply();
    let by = team.approver().await;
    assert!(!by.starts_with("rule:") && team.versions().await == "4", "{by}");

    // What turns into a person's goes to the other branch, where nothing merges by itself.
    team.run("ALTER TABLE accounts ADD COLUMN site text").await;
    team.apply();
    assert_eq!(team.heads(), RULE);
    team.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    for _ in 0..2 {
        team.apply();
    }
    assert_eq!((team.heads().as_str(), team.has(RULE)), (BRANCH, false));
    assert_eq!(team.forge.edit(|state| state.request(4).auto.clone()), None);
}

/// A rule and Linus may approve.
const RULES: &str =
    "[approval]\nautomatic = \"request\"\n[[approval.rules]]\napprovers = [\"forge:linus\", \"rule:additive\"]\n";

impl Team {
    /// Somebody pushes lock, spec and mapping as they were at a commit; what `aam status` says then.
    fn push_files_of(&self, commit: &str) -> String {
        self.world.git(&["pull", "--quiet"]);
        self.world.git(&["checkout", "--quiet", commit, "--", "connectors.d", "mappings"]);
        self.world.git(&["commit", "--quiet", "-m", "by Eve"]);
        self.world.git(&["push", "--quiet"]);
        self.apply();
        self.apply();
        self.world.aam(&["status"]).out
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_offered_and_a_person_rejected_is_approved_by_no_rule() {
    let team = Team::remote(Kind::GitHub, RULES).await;
    team.forge.edit(|state| state.required = vec!["ci".to_owned()]);
    team.run("ALTER TABLE accounts ADD COLUMN website text").await;
    team.apply();
    assert_eq!(team.heads(), RULE);
    let judged = team.forge.edit(|state| state.bare.tip(RULE)).unwrap();
    team.world.git(&["fetch", "--quiet"]);
    team.close(1, "no");
    team.apply();
    assert_eq!(team.known().await, "1 rejected grace");
    let status = team.push_files_of(&judged);
    assert!(status.contains("the lock on the branch is not in force"), "{status}");
    assert_eq!(team.versions().await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_approved_one_step_and_not_the_way_back_to_it() {
    let team = Team::remote(Kind::GitHub, RULES).await;
    team.run("ALTER TABLE accounts ADD COLUMN website text").await;
    team.apply();
    team.apply();
    assert_eq!(team.approver().await, "rule:additive (1)");
    let judged = team.forge.edit(|state| state.bare.tip("main")).unwrap();
    team.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.merge(2);
    team.apply();
    team.apply();
    assert_eq!((team.versions().await.as_str(), team.approver().await.as_str()), ("3", "linus (2)"));
    let status = team.push_files_of(&judged);
    assert!(status.contains("the lock on the branch is not in force"), "{status}");
    assert_eq!(team.versions().await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_merges_nothing_by_itself_is_told_and_people_merge() {
    let team = Team::remote(Kind::GitHub, BY_REQUEST).await;
    team.forge.edit(|state| (state.required, state.auto_merge) = (vec!["ci".to_owned()], false));
    team.run("ALTER TABLE accounts ADD COLUMN website text").await;
    team.apply();
    let status = team.world.aam(&["status"]);
    assert!(status.code == 1 && status.out.contains("`Allow auto-merge` is off"), "{status:?}");
    assert_eq!(team.heads(), RULE);
    team.forge.edit(|state| state.pass(RULE, "ci"));
    team.merge(1);
    team.world.aam(&["apply"]);
    team.world.aam_is(0, &["apply"]);
    assert_eq!(team.approver().await, "rule:additive (1)", "it is just what the rule judged, whoever merged it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_a_person_edited_says_once_that_it_is_out_of_date() {
    let team = Team::remote(Kind::Gitea, "").await;
    team.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.git(&["fetch", "--quiet"]);
    team.world.git(&["checkout", "--quiet", "-b", "mine", &format!("origin/{BRANCH}")]);
    team.world.write("notes.txt", "why\n");
    team.world.commit("why");
    team.world.git(&["push", "--quiet", "origin", &format!("mine:{BRANCH}")]);
    let comments = || -> Vec<String> {
        team.forge.edit(|state| state.request(1).comments.iter().map(|comment| comment.body.clone()).collect())
    };
    team.apply();
    assert_eq!(comments().len(), 0, "it says what its branch holds");
    for (sql, word) in [("ALTER TABLE accounts DROP COLUMN name", "accounts.name"), ("SELECT 1", "accounts.name")] {
        team.run(sql).await;
        team.apply();
        let said = comments();
        assert!(
            said.len() == 1 && said[0].contains("this branch is out of date") && said[0].contains(word),
            "{said:?}"
        );
    }
    assert_eq!((team.requests(), team.known().await.as_str()), (1, "1 open -"));
}
