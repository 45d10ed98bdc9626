//! Commits on the tracked branch, wherever it is checked out and whatever the person is in the midst of.

use std::sync::Arc;

use aam::ports::{CommitOutcome, Repo};
use aam::repo::git::GitRepo;

use super::desk::{Desk, bump, draft, git, path, shown, try_git};

/// Commits the bump, expects success, and checks both promises: the branch moved by one commit on top, and the
/// person's status is as before.
async fn commits(desk: &Desk, repo: &GitRepo) {
    let (before, tip) = (desk.status(), desk.main());
    let outcome = repo.commit(&bump()).await.unwrap();
    let CommitOutcome::Committed(id) = outcome else { panic!("{outcome:?}") };
    assert_eq!(desk.main(), id.0);
    assert_eq!(desk.git(&["rev-parse", "main^"]), tip);
    assert_eq!(desk.git(&["show", "main:connectors.d/crm.lock.yaml"]), "version: 2");
    assert_eq!(desk.status(), before);
}

/// Expects a refusal that moved nothing, and returns its words without this machine's paths.
async fn refuses(desk: &Desk, repo: &GitRepo) -> String {
    let state = || {
        let index = std::fs::read(desk.top.join(".git/index")).unwrap();
        (desk.status(), desk.git(&["for-each-ref"]), desk.read("connectors.d/crm.lock.yaml"), index)
    };
    let before = state();
    let outcome = repo.commit(&bump()).await.unwrap();
    let CommitOutcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert!(before == state(), "something moved");
    assert!(!desk.state.join("unfinished.json").exists());
    why.replace(&desk.dir.path().canonicalize().unwrap().display().to_string(), "DIR")
}

#[tokio::test]
async fn branch_checked_out_in_the_watched_work_tree() {
    let desk = Desk::new();
    commits(&desk, &desk.open().await).await;
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 2\n");
    insta::assert_snapshot!(desk.git(&["log", "-1", "--format=%an <%ae>, %cn <%ce>%n%B"]), @r"
    aam <aam@localhost>, aam <aam@localhost>
    drift: accept one field

    crm.accounts gains a field.

    Aam-Connection: crm
    ");
}

#[tokio::test]
async fn branch_checked_out_in_another_work_tree() {
    let desk = Desk::new();
    let repo = desk.open().await;
    desk.git(&["switch", "--quiet", "-c", "feature"]);
    let other = desk.dir.path().join("other tree");
    desk.git(&["worktree", "add", "--quiet", other.to_str().unwrap(), "main"]);
    std::fs::write(other.join("notes.txt"), "dirty\n").unwrap();
    commits(&desk, &repo).await;
    assert_eq!(git(&other, &["status", "--porcelain"]), " M notes.txt");
    assert_eq!(std::fs::read_to_string(other.join("connectors.d/crm.lock.yaml")).unwrap(), "version: 2\n");
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\n");
}

#[tokio::test]
async fn branch_checked_out_nowhere() {
    let desk = Desk::new();
    let repo = desk.open().await;
    desk.git(&["switch", "--quiet", "-c", "feature"]);
    desk.write("connectors.d/crm.lock.yaml", "mine\n");
    commits(&desk, &repo).await;
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "mine\n");
}

#[tokio::test]
async fn detached_head_is_not_the_branch() {
    let desk = Desk::new();
    let repo = desk.open().await;
    desk.git(&["switch", "--quiet", "--detach"]);
    let head = desk.git(&["rev-parse", "HEAD"]);
    commits(&desk, &repo).await;
    assert_eq!(desk.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\n");
}

#[tokio::test]
async fn a_merge_or_rebase_or_pick_or_revert_or_bisect_in_progress_refuses() {
    let desk = Desk::new();
    desk.git(&["switch", "--quiet", "-c", "other"]);
    desk.write("notes.txt", "theirs\n");
    desk.commit_all("theirs");
    desk.git(&["switch", "--quiet", "main"]);
    desk.write("notes.txt", "ours\n");
    desk.commit_all("ours");
    desk.write("notes.txt", "more\n");
    desk.commit_all("more");
    let repo = desk.open().await;
    let mut words = Vec::new();
    for (begin, end) in [
        (&["merge", "other"][..], &["merge", "--abort"][..]),
        (&["rebase", "other"], &["rebase", "--abort"]),
        (&["cherry-pick", "other"], &["cherry-pick", "--abort"]),
        (&["revert", "--no-edit", "HEAD^"], &["revert", "--abort"]),
        (&["bisect", "start", "main", "main~2"], &["bisect", "reset"]),
    ] {
        try_git(&desk.top, begin);
        words.push(refuses(&desk, &repo).await);
        assert!(repo.info().await.unwrap().blocked.is_some(), "{begin:?}");
        desk.git(end);
    }
    assert_eq!(repo.info().await.unwrap().blocked, None);
    commits(&desk, &repo).await;
    insta::assert_snapshot!(words.join("\n"), @r"
    a merge is in progress in DIR/top
    a rebase of the branch is in progress in DIR/top
    a cherry-pick is in progress in DIR/top
    a revert is in progress in DIR/top
    a bisect of the branch is in progress in DIR/top
    ");
}

#[tokio::test]
async fn a_held_index_lock_refuses_and_a_short_one_is_waited_for() {
    let desk = Desk::new();
    let repo = desk.open().await;
    let lock = desk.top.join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    insta::assert_snapshot!(refuses(&desk, &repo).await, @"DIR/top/.git/index.lock is held; if no git is at work there, remove it");
    let gone = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        std::fs::remove_file(lock).unwrap();
    });
    commits(&desk, &repo).await;
    gone.await.unwrap();
}

#[tokio::test]
async fn uncommitted_work_on_our_paths_refuses() {
    const LOCK: &str = "connectors.d/crm.lock.yaml";
    let mut words = Vec::new();
    for case in ["edited", "staged", "deleted", "removed from the index", "overlooked", "marked to be skipped"] {
        let desk = Desk::new();
        let repo = desk.open().await;
        match case {
            "edited" => desk.write(LOCK, "mine\n"),
            "staged" => {
                desk.write(LOCK, "mine\n");
                desk.git(&["add", LOCK]);
            }
            "deleted" => std::fs::remove_file(desk.top.join(LOCK)).unwrap(),
            "removed from the index" => drop(desk.git(&["rm", "--quiet", "--cached", LOCK])),
            "overlooked" => {
                desk.git(&["update-index", "--assume-unchanged", LOCK]);
                desk.write(LOCK, "mine\n");
            }
            _ => {
                desk.git(&["update-index", "--skip-worktree", LOCK]);
                desk.write(LOCK, "mine\n");
            }
        }
        let (before, index) = (desk.read(LOCK), desk.git(&["ls-files", "--stage"]));
        words.push(format!("{case}: {}", refuses(&desk, &repo).await));
        assert_eq!((desk.read(LOCK), desk.git(&["ls-files", "--stage"])), (before, index));
    }
    insta::assert_snapshot!(words.join("\n"), @r"
    edited: connectors.d/crm.lock.yaml has uncommitted changes in DIR/top
    staged: connectors.d/crm.lock.yaml has uncommitted changes in DIR/top
    deleted: connectors.d/crm.lock.yaml has uncommitted changes in DIR/top
    removed from the index: connectors.d/crm.lock.yaml has uncommitted changes in DIR/top
    overlooked: git is told to overlook connectors.d/crm.lock.yaml in DIR/top
    marked to be skipped: git is told to overlook connectors.d/crm.lock.yaml in DIR/top
    ");
}

#[tokio::test]
async fn untracked_and_ignored_files_in_our_way_refuse() {
    let new = draft(&[("connectors.d/new.lock.yaml", None, Some("version: 1\n"))]);
    let mut words = Vec::new();
    for (ignored, there) in [("", "connectors.d/new.lock.yaml"), ("new.lock.yaml\n", "connectors.d/new.lock.yaml")] {
        let desk = Desk::new();
        let repo = desk.open().await;
        std::fs::write(desk.top.join(".git/info/exclude"), ignored).unwrap();
        desk.write(there, "mine\n");
        let (status, main) = (desk.status(), desk.main());
        let CommitOutcome::Refused(why) = repo.commit(&new).await.unwrap() else { panic!("it was committed") };
        assert_eq!((desk.status(), desk.main(), &*desk.read(there)), (status, main, "mine\n"));
        words.push(why.split(" in /").next().unwrap().to_owned());
    }
    insta::assert_snapshot!(words.join("\n"), @r"
    connectors.d/new.lock.yaml is untracked
    connectors.d/new.lock.yaml is ignored by git
    ");
}

#[tokio::test]
async fn uncommitted_work_elsewhere_is_kept_byte_for_byte() {
    let desk = Desk::new();
    for name in ["staged.txt", "unstaged.txt", "both.txt", "gone.txt", "moved.txt"] {
        desk.write(name, "first\n");
    }
    desk.commit_all("more");
    let repo = desk.open().await;
    desk.write("staged.txt", "staged\r\n");
    desk.write("both.txt", "staged\n");
    desk.write("connectors.d/new.yaml", "staged new\n");
    desk.git(&["add", "staged.txt", "both.txt", "connectors.d/new.yaml"]);
    desk.git(&["mv", "moved.txt", "there.txt"]);
    desk.write("both.txt", "unstaged\n");
    desk.write("unstaged.txt", "unstaged\n");
    desk.write("connectors.d/crm.yaml", "kind: connection # edited\n");
    desk.write("untracked.txt", "untracked\n");
    std::fs::remove_file(desk.top.join("gone.txt")).unwrap();
    // Touched, not changed: git's stat data is out of date for our own path.
    let touched = std::fs::File::options().write(true).open(desk.top.join("connectors.d/crm.lock.yaml")).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9_000_000)).unwrap();
    let diffs = || (desk.git(&["diff"]), desk.git(&["diff", "--cached"]));
    let before = diffs();
    commits(&desk, &repo).await;
    assert_eq!(diffs(), before);
    desk.git(&["commit", "--quiet", "-a", "-m", "mine"]);
    assert_eq!(desk.git(&["diff", "--name-only", "HEAD^", "HEAD", "--", "connectors.d/crm.lock.yaml"]), "");
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 2\n");
    assert_eq!(desk.status(), "?? untracked.txt");
}

#[tokio::test]
async fn configuration_below_the_top_of_a_larger_repository() {
    let desk = Desk::new();
    desk.write("ops/aam/connectors.d/crm.lock.yaml", "version: 1\n");
    desk.write("ops/aam/connectors.d/gone.yaml", "old\n");
    desk.write("ops/aam/mappings/crm.yaml", "kind: mapping\n");
    desk.commit_all("below");
    let repo = GitRepo::open(&desk.top.join("ops/aam"), None, &desk.state).await.unwrap();
    insta::assert_snapshot!(shown(&repo.committed().await.unwrap()), @r"
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/gone.yaml: old
    mappings/crm.yaml: kind: mapping
    ");
    let edits = draft(&[
        ("connectors.d/crm.lock.yaml", Some("version: 1\n"), Some("version: 2\n")),
        ("connectors.d/gone.yaml", Some("old\n"), None),
        ("drift/default/crm/4f1c.md", None, Some("# Drift\n")),
    ]);
    let outcome = repo.commit(&edits).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    insta::assert_snapshot!(desk.git(&["show", "--format=", "--name-status", "main"]), @r"
    M	ops/aam/connectors.d/crm.lock.yaml
    D	ops/aam/connectors.d/gone.yaml
    A	ops/aam/drift/default/crm/4f1c.md
    ");
    assert_eq!(desk.status(), "");
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\n");
    assert_eq!(repo.log(&path("connectors.d/crm.lock.yaml"), 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_race_with_a_person_leaves_their_commit_and_their_files() {
    let desk = Desk::new();
    let top = desk.top.clone();
    // A commit made elsewhere and pulled in behind our back: the index here does not take part.
    let theirs = move || {
        let tree = git(&top, &["rev-parse", "main^{tree}"]);
        let commit = git(&top, &["commit-tree", &tree, "-p", "main", "-m", "theirs"]);
        git(&top, &["update-ref", "refs/heads/main", &commit]);
    };
    let repo = desk.open().await.with_between(theirs);
    desk.write("notes.txt", "dirty\n");
    let before = desk.status();
    assert_eq!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Moved);
    assert_eq!(desk.git(&["log", "--format=%s"]), "theirs\nfirst");
    assert_eq!((desk.status(), &*desk.read("connectors.d/crm.lock.yaml")), (before, "version: 1\n"));
    commits(&desk, &desk.open().await).await;
}

#[tokio::test]
async fn a_race_with_commit_all_keeps_both() {
    let desk = Desk::new();
    let top = desk.top.clone();
    desk.write("notes.txt", "dirty\n");
    let repo = desk.open().await.with_between(move || drop(git(&top, &["commit", "--quiet", "-a", "-m", "theirs"])));
    assert_eq!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Moved);
    assert_eq!(desk.git(&["log", "--format=%s"]), "theirs\nfirst");
    assert_eq!((&*desk.status(), &*desk.read("notes.txt")), ("", "dirty\n"));
    // Their commit took our change along: the next try finds it done.
    let next = desk.open().await.commit(&bump()).await.unwrap();
    assert_eq!(next, CommitOutcome::Committed(aam::model::CommitId(desk.main())));
}

#[tokio::test]
async fn a_crash_between_files_and_ref_is_put_back() {
    for torn in [false, true] {
        let desk = Desk::new();
        let index = std::fs::read(desk.top.join(".git/index")).unwrap();
        let repo = Arc::new(desk.open().await.with_between(|| panic!("crash")));
        // Of another length: the index that is put in by hand below knows nothing of racing times.
        desk.write("notes.txt", "dirty and longer\n");
        let before = desk.status();
        let edits = draft(&[
            ("connectors.d/crm.lock.yaml", Some("version: 1\n"), Some("version: 2\n")),
            ("connectors.d/crm.yaml", Some("kind: connection\n"), None),
            ("drift/default/crm/4f1c.md", None, Some("# Drift\n")),
        ]);
        let crashed = tokio::spawn({
            let (repo, edits) = (repo.clone(), edits.clone());
            async move { repo.commit(&edits).await }
        });
        assert!(crashed.await.unwrap_err().is_panic());
        assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 2\n");
        if torn {
            // The machine went down when files were written and the index was not.
            std::fs::write(desk.top.join(".git/index"), &index).unwrap();
        }
        let repo = desk.open().await;
        assert_eq!(desk.status(), before, "torn: {torn}");
        assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\n");
        assert_eq!(desk.git(&["log", "--format=%s"]), "first");
        let outcome = repo.commit(&edits).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        assert_eq!(desk.status(), before);
    }
}

#[tokio::test]
async fn a_second_try_after_an_unknown_outcome_commits_once() {
    let desk = Desk::new();
    let repo = desk.open().await;
    let first = repo.commit(&bump()).await.unwrap();
    desk.write("notes.txt", "later\n");
    desk.commit_all("later");
    assert_eq!(repo.commit(&bump()).await.unwrap(), first);
    assert_eq!(desk.git(&["log", "--format=%s"]), "later\ndrift: accept one field\nfirst");
    desk.write("connectors.d/crm.lock.yaml", "version: 9\n");
    desk.commit_all("theirs");
    assert_eq!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Moved);
}

#[tokio::test]
async fn a_branch_without_a_commit_takes_the_first() {
    let desk = Desk::empty();
    let repo = desk.open().await;
    let empty = repo.committed().await.unwrap();
    assert_eq!((empty.commit, empty.files.len(), empty.unreadable.len()), (None, 0, 0));
    desk.write("mine.txt", "staged\n");
    desk.git(&["add", "mine.txt"]);
    let new = draft(&[("connectors.d/crm.lock.yaml", None, Some("version: 1\n"))]);
    let outcome = repo.commit(&new).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    assert_eq!(desk.status(), "A  mine.txt");
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\n");
}

#[tokio::test]
async fn a_shallow_clone_works_like_any_other() {
    let desk = Desk::new();
    desk.write("notes.txt", "second\n");
    desk.commit_all("second");
    let top = desk.dir.path().join("shallow");
    let url = format!("file://{}", desk.top.display());
    git(desk.dir.path(), &["clone", "--quiet", "--depth=1", &url, top.to_str().unwrap()]);
    let shallow =
        Desk { top: top.canonicalize().unwrap(), state: desk.dir.path().join("s2"), dir: desk.dir, own: desk.own };
    let repo = shallow.open().await;
    commits(&shallow, &repo).await;
    let fix = draft(&[("connectors.d/crm.lock.yaml", Some("version: 2\n"), Some("version: 3\n"))]);
    repo.propose("aam/drift/default/crm", &fix).await.unwrap();
    assert!(!repo.repair_branches().await.unwrap()[0].merged);
}

#[tokio::test]
async fn the_watched_work_tree_may_be_a_linked_one_or_keep_its_folder_elsewhere() {
    let desk = Desk::new();
    let linked = desk.dir.path().join("linked");
    desk.git(&["worktree", "add", "--quiet", "-b", "live", linked.to_str().unwrap()]);
    let repo = GitRepo::open(&linked, None, &desk.state).await.unwrap();
    assert_eq!(repo.info().await.unwrap().branch.as_deref(), Some("live"));
    assert!(matches!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
    assert_eq!(std::fs::read_to_string(linked.join("connectors.d/crm.lock.yaml")).unwrap(), "version: 2\n");

    let apart = desk.dir.path().join("apart");
    let store = desk.dir.path().join("store.git");
    let from = ["clone", "--quiet", "--separate-git-dir", store.to_str().unwrap(), desk.top.to_str().unwrap()];
    git(desk.dir.path(), &[&from[..], &[apart.to_str().unwrap()]].concat());
    let repo = GitRepo::open(&apart, None, &desk.dir.path().join("s3")).await.unwrap();
    assert!(matches!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(git(&apart, &["status", "--porcelain"]), "");
    assert_eq!(std::fs::read_to_string(apart.join("connectors.d/crm.lock.yaml")).unwrap(), "version: 2\n");
}

#[tokio::test]
async fn line_endings_of_the_work_tree_are_the_person_s() {
    let desk = Desk::new();
    desk.git(&["config", "core.autocrlf", "true"]);
    desk.git(&["rm", "--quiet", "--cached", "-r", "."]);
    desk.git(&["reset", "--quiet", "--hard"]);
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\r\n");
    commits(&desk, &desk.open().await).await;
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 2\r\n");
}

#[tokio::test]
async fn two_of_us_at_once_lose_nothing() {
    let desk = Desk::new();
    desk.write("notes.txt", "dirty and longer\n");
    let before = desk.status();
    let one = async |state: &str, file: &str| {
        let repo = GitRepo::open(&desk.top, None, &desk.dir.path().join(state)).await.unwrap();
        for n in 0..6 {
            let edit = draft(&[(&format!("connectors.d/{file}{n}.yaml"), None, Some("text\n"))]);
            let mut tries = 0;
            while !matches!(repo.commit(&edit).await.unwrap(), CommitOutcome::Committed(_)) {
                tries += 1;
                assert!(tries < 50, "{file}{n} is never committed");
            }
        }
    };
    tokio::join!(one("s1", "a"), one("s2", "b"));
    assert_eq!(desk.git(&["rev-list", "--count", "main"]), "13");
    assert_eq!(desk.status(), before);
}

#[tokio::test]
async fn a_repository_of_another_owner_is_read_all_the_same() {
    let desk = Desk::new();
    // Only root may give a folder away; others have nothing to test here.
    if std::os::unix::fs::chown(desk.top.join(".git"), Some(65534), Some(65534)).is_err() {
        return;
    }
    std::os::unix::fs::chown(&desk.top, Some(65534), Some(65534)).unwrap();
    assert!(!try_git(&desk.top, &["log"]).0, "git itself refuses");
    assert_eq!(desk.open().await.committed().await.unwrap().files.len(), 2);
}

#[tokio::test]
async fn a_record_of_another_clone_does_not_stop_us() {
    let desk = Desk::new();
    let gone = "1".repeat(40);
    std::fs::create_dir_all(&desk.state).unwrap();
    for text in [
        "{".to_owned(),
        format!(
            r#"{{"name":"refs/heads/main","old":"{gone}","new":"{gone}","work_trees":["{}"]}}"#,
            desk.top.display()
        ),
    ] {
        std::fs::write(desk.state.join("unfinished.json"), text).unwrap();
        std::fs::create_dir_all(desk.state.join("index-left")).unwrap();
        desk.open().await;
        assert!(!desk.state.join("unfinished.json").exists());
        assert!(!desk.state.join("index-left").exists());
    }
    commits(&desk, &desk.open().await).await;
}
