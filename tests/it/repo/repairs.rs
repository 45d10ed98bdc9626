//! Repair branches: proposed, updated, approved, merged in every way, withdrawn, and left to the person who edits one.

use std::sync::Arc;

use aam::ports::{CommitOutcome, Repo};

use super::desk::{Desk, bump, draft, path, try_git};

const BRANCH: &str = "aam/drift/default/crm";
const LOCK: &str = "connectors.d/crm.lock.yaml";

fn bump_to(n: u32) -> aam::ports::CommitDraft {
    draft(&[(LOCK, Some("version: 1\n"), Some(&format!("version: {n}\n")))])
}

#[tokio::test]
async fn a_branch_is_one_commit_on_the_tip_and_is_written_once() {
    let desk = Desk::new();
    let repo = desk.open().await;
    let first = repo.propose(BRANCH, &bump()).await.unwrap();
    assert_eq!(desk.git(&["rev-parse", BRANCH]), first.tip.0);
    assert_eq!(desk.git(&["rev-parse", &format!("{BRANCH}^")]), desk.main());
    let refs = desk.git(&["for-each-ref"]);
    let again = desk.open().await.propose(BRANCH, &bump()).await.unwrap();
    assert_eq!((again, desk.git(&["for-each-ref"])), (first.clone(), refs));
    // The source moves on: same branch, one commit.
    let second = repo.propose(BRANCH, &bump_to(3)).await.unwrap();
    assert_ne!(second.tip, first.tip);
    // The base moves on: same again.
    desk.write("notes.txt", "second\n");
    desk.commit_all("second");
    repo.propose(BRANCH, &bump_to(3)).await.unwrap();
    assert_eq!(desk.git(&["rev-parse", &format!("{BRANCH}^")]), desk.main());
    assert_eq!(repo.repair_branches().await.unwrap().len(), 1);
    insta::assert_snapshot!(repo.branch_diff(BRANCH).await.unwrap(), @r"
    diff --git a/connectors.d/crm.lock.yaml b/connectors.d/crm.lock.yaml
    index b825518..0a70aff 100644
    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    @@ -1 +1 @@
    -version: 1
    +version: 3
    ");
    repo.withdraw(BRANCH).await.unwrap();
    repo.withdraw(BRANCH).await.unwrap();
    assert_eq!(repo.repair_branches().await.unwrap(), []);
    assert_eq!(desk.status(), "");
}

#[tokio::test]
async fn a_person_s_commit_on_the_branch_is_left_alone() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    desk.git(&["switch", "--quiet", BRANCH]);
    desk.write("connectors.d/crm.yaml", "kind: connection # by hand\n");
    desk.commit_all("by hand");
    desk.git(&["switch", "--quiet", "main"]);
    let tip = desk.git(&["rev-parse", BRANCH]);
    let kept = repo.propose(BRANCH, &bump_to(3)).await.unwrap();
    assert_eq!((kept.edited, &kept.tip.0), (true, &tip));
    assert!(repo.repair_branches().await.unwrap()[0].edited);
    insta::assert_snapshot!(repo.withdraw(BRANCH).await.unwrap_err().to_string(), @"withdrawing aam/drift/default/crm: it holds commits of a person and is left alone");
    assert_eq!(desk.git(&["rev-parse", BRANCH]), tip);
    // Approving takes it with what the person added.
    assert!(matches!(repo.approve(BRANCH, "Pat <pat@example.org>").await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(desk.read("connectors.d/crm.yaml"), "kind: connection # by hand\n");
}

#[tokio::test]
async fn a_person_s_commit_that_was_squashed_with_the_repair_goes_with_the_branch() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    desk.git(&["switch", "--quiet", BRANCH]);
    desk.write("connectors.d/crm.yaml", "kind: connection # by hand\n");
    desk.commit_all("by hand");
    desk.git(&["switch", "--quiet", "main"]);
    desk.git(&["merge", "--quiet", "--squash", BRANCH]);
    desk.git(&["commit", "--quiet", "-m", "squashed"]);
    // It goes, too, when what came in has changed since, and the next repair takes its place.
    desk.write(LOCK, "version: 7\n");
    desk.commit_all("more");
    let branch = repo.repair_branches().await.unwrap().remove(0);
    assert!(branch.merged && branch.edited);
    let next = repo.propose(BRANCH, &draft(&[(LOCK, Some("version: 7\n"), Some("version: 8\n"))])).await.unwrap();
    assert!(!next.edited && desk.git(&["rev-parse", BRANCH]) == next.tip.0);
    desk.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &branch.tip.0]);
    repo.withdraw(BRANCH).await.unwrap();
    assert_eq!(repo.repair_branches().await.unwrap(), []);
}

#[tokio::test]
async fn what_is_checked_out_at_a_start_does_not_decide_what_is_tracked() {
    let desk = Desk::new();
    desk.open().await.propose(BRANCH, &bump()).await.unwrap();
    for branch in [BRANCH, "feature"] {
        desk.git(&["switch", "--quiet", "--force-create", branch, branch.strip_prefix("f").map_or(branch, |_| "main")]);
        assert_eq!(desk.open().await.info().await.unwrap().branch.as_deref(), Some("main"));
    }
    // Renamed away, there is nothing to go back to: what is checked out counts, but never a repair.
    desk.git(&["branch", "--move", "main", "trunk"]);
    assert_eq!(desk.open().await.info().await.unwrap().branch.as_deref(), Some("feature"));
    std::fs::remove_dir_all(&desk.state).unwrap();
    desk.git(&["switch", "--quiet", BRANCH]);
    let Err(error) = aam::repo::git::GitRepo::open(&desk.top, None, &desk.state).await else { panic!("tracked") };
    assert!(error.to_string().contains("is a repair, which acts only once it is merged"), "{error}");
}

#[tokio::test]
async fn a_trailer_and_our_name_make_no_commit_ours() {
    let desk = Desk::new();
    let repo = desk.open().await;
    desk.git(&["switch", "--quiet", "-c", BRANCH]);
    desk.write("notes.txt", "forged\n");
    desk.git(&["add", "--all"]);
    let ours = ["-c", "user.name=aam", "-c", "user.email=aam@localhost"];
    let commit = ["commit", "--quiet", "-m", "drift: x\n\nAam-Connection: crm", "--author=aam <aam@localhost>"];
    desk.git(&[&ours[..], &commit].concat());
    desk.git(&["switch", "--quiet", "main"]);
    assert!(repo.propose(BRANCH, &bump()).await.unwrap().edited);
    assert!(repo.withdraw(BRANCH).await.is_err());
}

#[tokio::test]
async fn a_lost_state_folder_or_registry_does_not_lose_our_branch() {
    for registry_is_lost in [false, true] {
        let mut desk = Desk::new();
        desk.open().await.propose(BRANCH, &bump()).await.unwrap();
        std::fs::remove_dir_all(&desk.state).unwrap();
        if registry_is_lost {
            desk.own = Arc::default();
        }
        desk.write("notes.txt", "second\n");
        desk.commit_all("second");
        let repo = desk.open().await;
        assert_eq!(repo.repair_branches().await.unwrap()[0].edited, registry_is_lost);
        let branch = repo.propose(BRANCH, &bump()).await.unwrap();
        assert!(!branch.edited);
        assert!(!repo.repair_branches().await.unwrap()[0].edited);
        assert_eq!(desk.git(&["rev-parse", &format!("{BRANCH}^")]), desk.main());
    }
}

#[tokio::test]
async fn a_branch_that_a_person_has_checked_out_moves_only_when_clean() {
    let desk = Desk::new();
    let repo = desk.open().await;
    let first = repo.propose(BRANCH, &bump()).await.unwrap();
    desk.git(&["switch", "--quiet", BRANCH]);
    let second = repo.propose(BRANCH, &bump_to(3)).await.unwrap();
    assert_ne!(second.tip, first.tip);
    assert_eq!((&*desk.read(LOCK), &*desk.status()), ("version: 3\n", ""));
    desk.write(LOCK, "version: 3 # mine\n");
    let commits =
        || desk.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]).matches("commit").count();
    let before = commits();
    let third = repo.propose(BRANCH, &bump_to(4)).await.unwrap();
    assert_eq!(commits(), before, "a refusal leaves no commit behind");
    assert_eq!((third.tip, third.edited), (second.tip, false));
    assert_eq!(desk.read(LOCK), "version: 3 # mine\n");
    assert!(repo.withdraw(BRANCH).await.is_err());
}

#[tokio::test]
async fn every_way_of_merging_is_recognised() {
    let squashed = ["squash", "squash with more on top", "squash with the same changed on top"];
    for way in [&["fast-forward", "merge commit", "cherry-pick", "not"][..], &squashed].concat() {
        let desk = Desk::new();
        let repo = desk.open().await;
        repo.propose(BRANCH, &bump()).await.unwrap();
        match way {
            "fast-forward" => drop(desk.git(&["merge", "--quiet", "--ff-only", BRANCH])),
            "merge commit" => drop(desk.git(&["merge", "--quiet", "--no-ff", "-m", "merge", BRANCH])),
            way if squashed.contains(&way) => {
                desk.git(&["merge", "--quiet", "--squash", BRANCH]);
                desk.git(&["commit", "--quiet", "-m", "squashed"]);
                if way != "squash" {
                    desk.write(if way.contains("same") { LOCK } else { "notes.txt" }, "more\n");
                    desk.commit_all("more");
                }
            }
            "cherry-pick" => {
                desk.write("notes.txt", "before\n");
                desk.commit_all("before");
                desk.git(&["cherry-pick", BRANCH]);
            }
            _ => {
                desk.write("notes.txt", "elsewhere\n");
                desk.commit_all("elsewhere");
            }
        }
        let branch = repo.repair_branches().await.unwrap().remove(0);
        assert_eq!((branch.merged, branch.edited), (way != "not", false), "{way}");
        repo.withdraw(BRANCH).await.unwrap();
        assert_eq!(desk.status(), "", "{way}");
    }
}

#[tokio::test]
async fn a_branch_of_ours_goes_on_after_a_merge() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    desk.git(&["merge", "--quiet", "--ff-only", BRANCH]);
    let next = draft(&[(LOCK, Some("version: 2\n"), Some("version: 3\n"))]);
    let branch = repo.propose(BRANCH, &next).await.unwrap();
    assert_eq!((branch.merged, branch.edited), (false, false));
    assert_eq!(desk.git(&["show", &format!("{BRANCH}:{LOCK}")]), "version: 3");
}

#[tokio::test]
async fn approval_is_a_merge_with_its_approver() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    desk.write("notes.txt", "dirty\n");
    let outcome = repo.approve(BRANCH, "Pat <pat@example.org>\nAam-Approved-By: Mallory").await.unwrap();
    let CommitOutcome::Committed(id) = outcome else { panic!("{outcome:?}") };
    assert_eq!(desk.main(), id.0);
    assert_eq!((&*desk.read(LOCK), &*desk.status()), ("version: 2\n", " M notes.txt"));
    assert_eq!(desk.git(&["rev-list", "--count", "--merges", "main"]), "1");
    insta::assert_snapshot!(desk.git(&["log", "-1", "--format=%B"]), @r"
    Merge branch 'aam/drift/default/crm'

    Aam-Approved-By: Pat <pat@example.org> Aam-Approved-By: Mallory
    ");
    let log = repo.log(&path(LOCK), 10).await.unwrap();
    let lines: Vec<_> = log.iter().map(|l| format!("{} | {} | {:?}", l.by, l.subject, l.approved_by)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    aam <aam@localhost> | Merge branch 'aam/drift/default/crm' | Some("Pat <pat@example.org> Aam-Approved-By: Mallory")
    Pat <pat@example.org> | first | None
    "#);
    assert_eq!(repo.file_at(&log[1].commit, &path(LOCK)).await.unwrap().as_deref(), Some("version: 1\n"));
    assert_eq!(repo.file_at(&log[1].commit, &path("drift/none.md")).await.unwrap(), None);
    // Again is no second merge.
    assert_eq!(repo.approve(BRANCH, "Pat").await.unwrap(), CommitOutcome::Committed(id));
    assert!(repo.repair_branches().await.unwrap()[0].merged);
}

#[tokio::test]
async fn approval_that_conflicts_or_is_in_the_way_is_refused() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    desk.write(LOCK, "version: 1 # dirty\n");
    let mut words = Vec::new();
    let CommitOutcome::Refused(why) = repo.approve(BRANCH, "Pat").await.unwrap() else { panic!() };
    words.push(why.split(" in /").next().unwrap().to_owned());
    desk.write(LOCK, "version: 7\n");
    desk.commit_all("seven");
    for branch in [BRANCH, "aam/drift/default/none"] {
        let CommitOutcome::Refused(why) = repo.approve(branch, "Pat").await.unwrap() else { panic!() };
        words.push(why);
    }
    insta::assert_snapshot!(words.join("\n"), @r"
    connectors.d/crm.lock.yaml has uncommitted changes
    aam/drift/default/crm conflicts with main in connectors.d/crm.lock.yaml
    there is no branch aam/drift/default/none
    ");
    assert_eq!((desk.git(&["log", "-1", "--format=%s"]), desk.status()), ("seven".to_owned(), String::new()));
}

#[tokio::test]
async fn two_branches_do_not_disturb_each_other_and_a_repair_never_deletes_a_person_s_branch() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    let other = draft(&[("connectors.d/crm.yaml", Some("kind: connection\n"), Some("kind: connection # x\n"))]);
    repo.propose("aam/drift/acme/billing", &other).await.unwrap();
    assert!(matches!(repo.approve(BRANCH, "Pat").await.unwrap(), CommitOutcome::Committed(_)));
    assert!(matches!(repo.approve("aam/drift/acme/billing", "Pat").await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(desk.read("connectors.d/crm.yaml"), "kind: connection # x\n");
    for name in ["main", "feature", "aam/drift", "aam/drift/", "aam/drift/../../heads/main", "aam/drift/--x", "-d"] {
        assert!(repo.withdraw(name).await.is_err(), "{name}");
        assert!(repo.propose(name, &bump()).await.is_err(), "{name}");
    }
    assert!(try_git(&desk.top, &["rev-parse", "--verify", "main"]).0);
}

#[tokio::test]
async fn a_branch_of_another_history_is_listed_and_left() {
    let desk = Desk::new();
    let repo = desk.open().await;
    let tree = desk.git(&["rev-parse", "main^{tree}"]);
    let root = desk.git(&["commit-tree", &tree, "-m", "unrelated"]);
    desk.git(&["branch", BRANCH, &root]);
    let branch = repo.repair_branches().await.unwrap().remove(0);
    assert_eq!((branch.merged, branch.edited), (false, true));
    assert!(matches!(repo.approve(BRANCH, "Pat").await.unwrap(), CommitOutcome::Refused(_)));
}
