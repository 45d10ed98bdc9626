//! Others push at the same time, refuse, or end us half-way.

use aam::ports::{CommitOutcome, Remedy, Repo};

use super::ground::{BRANCH, Ground, head};
use crate::repo::desk::{bump, git};

#[tokio::test]
async fn who_was_slower_commits_on_what_the_other_pushed() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let theirs = ground.push("notes.txt", "theirs\n");
    let CommitOutcome::Committed(commit) = repo.commit(&bump()).await.unwrap() else { panic!("not committed") };
    assert_eq!((ground.at_origin("main"), ground.at_origin("main^")), (commit.0, theirs));
    assert_eq!(ground.origin_file("notes.txt"), "theirs");
}

#[tokio::test]
async fn who_was_slower_on_the_same_file_plans_again() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let theirs = ground.push("connectors.d/crm.lock.yaml", "version: 7\n");
    assert_eq!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Moved);
    assert_eq!((ground.at_origin("main"), head(&repo).await), (theirs.clone(), theirs), "and it is here to plan with");
}

#[tokio::test]
async fn a_branch_that_moves_with_every_try_is_tried_three_times() {
    let ground = Ground::new();
    let repo = ground.open().await;
    // As somebody who is quicker each time: the branch moves on between what the remote showed and what it is asked.
    let log = ground.dir.path().join("pushes");
    let move_on = format!(
        "cat >/dev/null; echo push >> '{}'; unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
         new=$(GIT_AUTHOR_NAME=Q GIT_AUTHOR_EMAIL=q GIT_COMMITTER_NAME=Q GIT_COMMITTER_EMAIL=q \
           git commit-tree -p main -m quicker 'main^{{tree}}') && git update-ref refs/heads/main \"$new\"",
        log.display()
    );
    ground.hook("pre-receive", &move_on);
    assert_eq!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Moved);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "push\n".repeat(3));
    assert_eq!(ground.origin_file("connectors.d/crm.lock.yaml"), "version: 1");
}

#[tokio::test]
async fn a_refusal_by_policy_says_what_the_remote_said_and_a_branch_may_go() {
    let ground = Ground::new();
    let repo = ground.open().await;
    ground.hook("pre-receive", "grep -q refs/heads/main || exit 0; echo 'POLICY: ask \x1b[2JPat' >&2; exit 1");
    let CommitOutcome::Refused(why) = repo.commit(&bump()).await.unwrap() else { panic!("not refused") };
    insta::assert_snapshot!(why, @r"the remote refuses it (pre-receive hook declined): POLICY: ask \u{1b}[2JPat");
    assert!(repo.info().await.unwrap().remote.unwrap().trouble.is_none(), "that is no trouble of the way");
    let branch = repo.propose(BRANCH, &bump()).await.unwrap();
    assert_eq!(ground.at_origin(BRANCH), branch.tip.0);
    ground.hook("pre-receive", "echo closed >&2; exit 1");
    let error = repo.withdraw(BRANCH).await.unwrap_err();
    insta::assert_snapshot!(format!("{error}"), @"withdrawing aam/drift/default/crm: the remote refuses it (pre-receive hook declined): closed");
    assert_eq!(error.remedy, Remedy::Person);
    assert!(repo.repair_branches().await.unwrap()[0].stays, "it is not asked for at each turn");
}

#[tokio::test]
async fn what_was_pushed_by_who_was_ended_then_is_found_and_not_pushed_twice() {
    let ground = Ground::new();
    let ended = ground.open().await.with_between(|| panic!("ended between push and fetch"));
    let died = tokio::spawn(async move { ended.commit(&bump()).await });
    assert!(died.await.unwrap_err().is_panic());
    let pushed = ground.at_origin("main");
    assert_eq!(ground.origin_file("connectors.d/crm.lock.yaml"), "version: 2");
    let again = ground.open().await;
    assert_ne!(head(&again).await, pushed, "it was not read back");
    let CommitOutcome::Committed(commit) = again.commit(&bump()).await.unwrap() else { panic!("not found") };
    assert_eq!((commit.0, ground.at_origin("main")), (pushed.clone(), pushed));
    assert_eq!(git(&ground.origin, &["rev-list", "--count", "main"]), "2");
}
