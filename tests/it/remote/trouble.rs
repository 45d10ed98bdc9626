//! A remote that is down, rewritten, or lacks the branch: what was fetched before stays in force, and it is said.

use aam::ports::{CommitOutcome, Remedy, Repo};

use super::ground::{BRANCH, Ground, head};
use crate::repo::desk::{bump, git, shown};

#[tokio::test]
async fn a_remote_that_is_down_is_told_and_caught_up_with() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let before = shown(&repo.committed().await.unwrap());
    let away = ground.origin.with_extension("away");
    std::fs::rename(&ground.origin, &away).unwrap();
    let error = repo.fetch().await.unwrap_err();
    assert_eq!(error.remedy, Remedy::Retry);
    let failed = repo.commit(&bump()).await.unwrap_err();
    assert!(failed.to_string().contains("does not appear to be a git repository"), "{failed}");
    let remote = repo.info().await.unwrap().remote.unwrap();
    let trouble = remote.trouble.unwrap();
    assert_eq!((trouble.failures, &trouble.why), (2, &failed.why));
    let rest = remote.next_at.unwrap() - trouble.since;
    assert!((20..300).contains(&rest.num_seconds()), "it rests longer each time: {rest}");
    assert_eq!(shown(&repo.committed().await.unwrap()), before);
    // Whoever starts now goes on with what is here.
    assert_eq!(shown(&ground.open().await.committed().await.unwrap()), before);
    std::fs::rename(&away, &ground.origin).unwrap();
    ground.push("notes.txt", "meanwhile\n");
    assert!(repo.fetch().await.unwrap());
    assert!(repo.info().await.unwrap().remote.unwrap().trouble.is_none());
    assert!(matches!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(_)));
}

#[tokio::test]
async fn nothing_is_taken_for_empty_before_the_first_fetch() {
    let ground = Ground::new();
    std::fs::rename(&ground.origin, ground.origin.with_extension("away")).unwrap();
    let url = ground.origin.to_str().unwrap();
    let Err(error) = ground.open_with(Ground::access(url)).await else { panic!("opened without anything fetched") };
    assert!(error.to_string().starts_with(&format!("looking at the remote {url}: ")), "{error}");
    let empty = ground.dir.path().join("empty.git");
    git(ground.dir.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "empty.git"]);
    let Err(error) = ground.open_with(Ground::access(empty.to_str().unwrap())).await else {
        panic!("opened an empty one")
    };
    assert_eq!(error.why, "it names no default branch: set [repository] branch");
}

#[tokio::test]
async fn what_a_crash_of_the_machine_left_in_the_clone_goes() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let leave = |path: &str| {
        let path = ground.state.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path).unwrap().set_modified(old).unwrap();
        path
    };
    let lock = leave("repository.git/refs/remotes/origin/main.lock");
    let pipe = leave("password-x/pipe");
    std::fs::File::open(pipe.parent().unwrap()).unwrap().set_modified(old).unwrap();
    let second = ground.push("notes.txt", "second\n");
    assert!(repo.fetch().await.is_err() && !lock.exists());
    repo.fetch().await.unwrap();
    assert_eq!(head(&repo).await, second);
    ground.open().await;
    assert!(!pipe.exists());
}

#[tokio::test]
async fn a_rewritten_history_is_told_and_nothing_is_pushed_over_it() {
    let ground = Ground::new();
    let first = ground.git(&["rev-parse", "HEAD"]);
    let second = ground.push("notes.txt", "second\n");
    let repo = ground.open().await;
    // The last commit is taken back; whoever does not look would bring it again, as a fast-forward.
    git(&ground.origin, &["update-ref", "refs/heads/main", &first]);
    let CommitOutcome::Committed(commit) = repo.commit(&bump()).await.unwrap() else { panic!("not committed") };
    assert_eq!((ground.at_origin("main"), ground.at_origin("main^")), (commit.0.clone(), first));
    assert_eq!(ground.origin_file("notes.txt"), "notes");
    // Another history altogether.
    ground.git(&["fetch", "--quiet"]);
    let orphan = git(&ground.desk, &["commit-tree", "-m", "again", &format!("{second}^{{tree}}")]);
    ground.git(&["push", "--quiet", "--force", "origin", &format!("{orphan}:main")]);
    assert!(repo.fetch().await.unwrap());
    let told = repo.info().await.unwrap().remote.unwrap().rewritten.unwrap();
    assert_eq!((&told.from, &told.to), (&commit.0, &orphan));
    assert_eq!(head(&repo).await, orphan, "what is committed there is what acts");
    assert!(matches!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(ground.at_origin("main^"), orphan);
    assert!(repo.info().await.unwrap().remote.unwrap().rewritten.is_some(), "our own commit does not hide it");
    // A person brings what was lost back.
    ground.git(&["fetch", "--quiet"]);
    ground.git(&["switch", "--quiet", "--detach", "origin/main"]);
    let lost = ["merge", "--quiet", "--no-edit", "--allow-unrelated-histories", "--strategy=ours", &told.from];
    ground.git(&lost);
    ground.git(&["push", "--quiet", "origin", "HEAD:main"]);
    repo.fetch().await.unwrap();
    assert!(repo.info().await.unwrap().remote.unwrap().rewritten.is_none());
}

#[tokio::test]
async fn a_renamed_branch_is_told_with_its_new_name_and_the_last_state_stays() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let before = (head(&repo).await, shown(&repo.committed().await.unwrap()));
    git(&ground.origin, &["branch", "--move", "main", "trunk"]);
    let error = repo.fetch().await.unwrap_err();
    insta::assert_snapshot!(error.why, @"the branch main is not there; its default branch is trunk: was it renamed? Set [repository] branch");
    assert_eq!(error.remedy, Remedy::Person);
    assert_eq!((head(&repo).await, shown(&repo.committed().await.unwrap())), before);
    git(&ground.origin, &["branch", "--move", "trunk", "main"]);
    git(&ground.origin, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    ground.git(&["push", "--quiet", "origin", "main:other"]);
    assert!(!repo.fetch().await.unwrap());
    // Deleted, and nothing in its place.
    git(&ground.origin, &["update-ref", "-d", "refs/heads/main"]);
    insta::assert_snapshot!(repo.fetch().await.unwrap_err().why, @"the branch main is not there: push it, or set [repository] branch");
    assert_eq!((head(&repo).await, shown(&repo.committed().await.unwrap())), before);
    assert!(repo.commit(&bump()).await.is_err() && repo.propose(BRANCH, &bump()).await.is_err());
    assert_eq!(ground.at_origin("main"), "(none)", "it is not brought back");
}
