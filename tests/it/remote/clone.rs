//! What the clone shows, what is pushed from it, and the repair branches of the remote.

use aam::model::CommitId;
use aam::ports::{CommitOutcome, Repo};
use aam::repo::git::{GitRepo, Remote};

use super::ground::{BRANCH, Ground, executable, head};
use crate::repo::desk::{bump, draft, git, path, shown, try_git};

#[tokio::test]
async fn what_was_fetched_is_what_is_committed() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let first = "connectors.d/crm.lock.yaml: version: 1\nconnectors.d/crm.yaml: kind: connection";
    assert_eq!(shown(&repo.committed().await.unwrap()), first);
    ground.push("connectors.d/crm.yaml", "kind: connection # second\n");
    assert_eq!(shown(&repo.committed().await.unwrap()), first, "nobody fetched it");
    assert!(repo.fetch().await.unwrap());
    assert!(!repo.fetch().await.unwrap(), "nothing moved since");
    assert!(shown(&repo.committed().await.unwrap()).ends_with("# second"));
    let info = repo.info().await.unwrap();
    assert_eq!((info.branch.as_deref(), info.blocked), (Some("main"), None));
    let remote = info.remote.unwrap();
    assert!(remote.trouble.is_none() && remote.rewritten.is_none() && remote.fetched_at < remote.next_at);
    assert_eq!(shown(&repo.worktree().await.unwrap()), shown(&repo.committed().await.unwrap()));
}

#[tokio::test]
async fn a_commit_is_pushed_and_read_back() {
    for format in ["sha1", "sha256"] {
        let ground = Ground::with(&[&format!("--object-format={format}")]);
        let repo = ground.open().await;
        let before = head(&repo).await;
        let CommitOutcome::Committed(commit) = repo.commit(&bump()).await.unwrap() else { panic!("not committed") };
        assert_eq!((ground.at_origin("main"), head(&repo).await), (commit.0.clone(), commit.0.clone()));
        assert_eq!(ground.at_origin("main^"), before);
        assert_eq!(ground.origin_file("connectors.d/crm.lock.yaml"), "version: 2");
        let log = repo.log(&path("connectors.d/crm.lock.yaml"), 5).await.unwrap();
        assert_eq!((log.len(), log[0].by.as_str(), log[0].own), (2, "aam <aam@localhost>", true));
        // The same again is there already.
        assert_eq!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(commit));
    }
}

#[tokio::test]
async fn a_repair_branch_is_pushed_updated_merged_and_taken_away() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let first = repo.propose(BRANCH, &bump()).await.unwrap();
    assert_eq!(ground.at_origin(BRANCH), first.tip.0);
    assert_eq!(repo.propose(BRANCH, &bump()).await.unwrap(), first, "it is that already");
    // The base moves on: the same branch, one commit on the new tip.
    let base = ground.push("notes.txt", "more\n");
    repo.fetch().await.unwrap();
    let second = repo.propose(BRANCH, &bump()).await.unwrap();
    assert_eq!((ground.at_origin(BRANCH), ground.at_origin(&format!("{BRANCH}^"))), (second.tip.0.clone(), base));
    assert!(repo.branch_diff(BRANCH).await.unwrap().contains("+version: 2"));
    // A person merges it on the remote.
    ground.git(&["fetch", "--quiet"]);
    ground.git(&["merge", "--quiet", "--no-edit", "--no-ff", &format!("origin/{BRANCH}")]);
    ground.git(&["push", "--quiet"]);
    assert!(!repo.repair_branches().await.unwrap()[0].merged, "nobody fetched it");
    repo.fetch().await.unwrap();
    let merged = &repo.repair_branches().await.unwrap()[0];
    assert!(merged.merged && !merged.edited);
    repo.withdraw(BRANCH).await.unwrap();
    repo.withdraw(BRANCH).await.unwrap();
    assert_eq!((ground.at_origin(BRANCH), repo.repair_branches().await.unwrap()), ("(none)".to_owned(), Vec::new()));
}

#[tokio::test]
async fn a_person_s_commit_on_the_remote_s_branch_is_left_alone_and_merged_with_it() {
    let ground = Ground::new();
    let repo = ground.open().await;
    repo.propose(BRANCH, &bump()).await.unwrap();
    ground.git(&["fetch", "--quiet"]);
    ground.git(&["switch", "--quiet", "--track", &format!("origin/{BRANCH}")]);
    let by_hand = ground.push("connectors.d/crm.yaml", "kind: connection # by hand\n");
    // Not fetched yet: the remote has the last word, and then it is here.
    let other = draft(&[("connectors.d/crm.lock.yaml", Some("version: 1\n"), Some("version: 3\n"))]);
    let kept = repo.propose(BRANCH, &other).await.unwrap();
    assert_eq!((kept.edited, kept.tip.0), (true, by_hand.clone()));
    assert_eq!(ground.at_origin(BRANCH), by_hand);
    assert!(repo.withdraw(BRANCH).await.is_err());
    assert_eq!(ground.at_origin(BRANCH), by_hand);
    assert!(matches!(repo.approve(BRANCH, "Pat <pat@example.org>").await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(ground.origin_file("connectors.d/crm.yaml"), "kind: connection # by hand");
    assert_eq!(ground.origin_file("connectors.d/crm.lock.yaml"), "version: 2");
    repo.withdraw(BRANCH).await.unwrap();
    assert_eq!(ground.at_origin(BRANCH), "(none)");
}

#[tokio::test]
async fn a_branch_that_others_removed_is_gone_and_its_name_may_become_a_folder() {
    let ground = Ground::new();
    let repo = ground.open().await;
    repo.propose("aam/drift/acme", &bump()).await.unwrap();
    ground.git(&["push", "--quiet", "origin", ":aam/drift/acme", "main:aam/drift/acme/crm"]);
    assert!(repo.fetch().await.unwrap());
    let names: Vec<String> = repo.repair_branches().await.unwrap().into_iter().map(|branch| branch.name).collect();
    assert_eq!(names, ["aam/drift/acme/crm"]);
    // Names that nobody of ours gives are not fetched.
    let hostile = "refs/heads/aam/drift/-x/--upload-pack=y";
    git(&ground.origin, &["update-ref", hostile, "main"]);
    repo.fetch().await.unwrap();
    assert_eq!(repo.repair_branches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_tree_below_the_root_counts() {
    let ground = Ground::new();
    ground.push("pipelines/connectors.d/shop.yaml", "kind: connection\n");
    let remote = Remote::new(Ground::access(ground.origin.to_str().unwrap()), std::time::Duration::from_secs(60));
    let repo = GitRepo::open_clone(remote, "pipelines/".into(), None, None, &ground.state).await.unwrap();
    assert_eq!(shown(&repo.committed().await.unwrap()), "connectors.d/shop.yaml: kind: connection");
    let lock = draft(&[("connectors.d/shop.lock.yaml", None, Some("version: 1\n"))]);
    assert!(matches!(repo.commit(&lock).await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(ground.origin_file("pipelines/connectors.d/shop.lock.yaml"), "version: 1");
}

#[tokio::test]
async fn a_remote_that_is_shallow_itself_is_used_like_any_other() {
    let ground = Ground::new();
    ground.push("notes.txt", "second\n");
    let whole = format!("file://{}", ground.origin.display());
    let shallow = ground.dir.path().canonicalize().unwrap().join("shallow.git");
    git(ground.dir.path(), &["clone", "--quiet", "--bare", "--depth=1", &whole, shallow.to_str().unwrap()]);
    let repo = ground.open_with(Ground::access(shallow.to_str().unwrap())).await.unwrap();
    let CommitOutcome::Committed(commit) = repo.commit(&bump()).await.unwrap() else { panic!("not committed") };
    assert_eq!(git(&shallow, &["rev-parse", "main"]), commit.0);
    repo.propose(BRANCH, &draft(&[("mappings/x.yaml", None, Some("x\n"))])).await.unwrap();
    assert!(!repo.repair_branches().await.unwrap()[0].edited);
    assert_eq!(repo.log(&path("connectors.d/crm.lock.yaml"), 5).await.unwrap().len(), 2);
}

#[tokio::test]
async fn names_are_never_options_and_nothing_of_the_clone_runs() {
    let ground = Ground::new();
    let mark = ground.dir.path().join("ran");
    for branch in ["--upload-pack=touch /tmp/x", "-d", "a..b", "x y", "a\nb", "@{-1}", "aam/drift/x", ""] {
        let remote = Remote::new(Ground::access(ground.origin.to_str().unwrap()), std::time::Duration::from_secs(60));
        let opened = GitRepo::open_clone(remote, String::new(), None, Some(branch), &ground.state).await;
        assert!(opened.is_err(), "{branch:?}");
    }
    ground.git(&["branch", "--quiet", "other"]);
    let repo = ground.open().await;
    let clone = ground.state.join("repository.git");
    let script = format!("echo \"$0 $*\" >> '{}'", mark.display());
    for hook in ["reference-transaction", "pre-push", "post-update", "pre-receive"] {
        executable(&clone.join("hooks").join(hook), &script);
    }
    let program = ground.dir.path().join("program");
    executable(&program, &script);
    for key in ["core.fsmonitor", "core.sshCommand", "credential.helper", "core.askPass", "remote.origin.uploadpack"] {
        git(&clone, &["config", key, program.to_str().unwrap()]);
    }
    ground.push("notes.txt", "second\n");
    repo.fetch().await.unwrap();
    assert!(matches!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(_)));
    repo.propose(BRANCH, &draft(&[("mappings/x.yaml", None, Some("x\n"))])).await.unwrap();
    repo.withdraw(BRANCH).await.unwrap();
    assert_eq!(std::fs::read_to_string(&mark).unwrap_or_default(), "");
    // What is redirected to a program is refused by git itself.
    git(&clone, &["config", &format!("url.ext::{} .insteadOf", program.display()), ground.origin.to_str().unwrap()]);
    assert!(repo.fetch().await.unwrap_err().why.contains("transport 'ext' not allowed"));
    assert_eq!(std::fs::read_to_string(&mark).unwrap_or_default(), "");
    assert!(try_git(&ground.origin, &["rev-parse", "main"]).0);
}

#[tokio::test]
async fn what_a_person_asks_to_merge_is_fetched_by_its_id_and_nothing_else_is_an_id() {
    let ground = Ground::new();
    let repo = ground.open().await;
    let base = CommitId(head(&repo).await);
    ground.git(&["switch", "--quiet", "--create", "feature"]);
    let tip = CommitId(ground.push("connectors.d/new.yaml", "kind: connection\n"));
    let merge = repo.merge_of(&base, &tip).await.unwrap().unwrap();
    let new: Vec<_> = merge.after.files.keys().filter(|path| !merge.before.files.contains_key(*path)).collect();
    assert_eq!((new.len(), new[0].as_str(), merge.related), (1, "connectors.d/new.yaml", true));
    assert_eq!(repo.committed().await.unwrap().commit, Some(base.clone()));
    assert!(repo.merge_of(&base, &CommitId("1".repeat(40))).await.unwrap().is_none());
    for odd in ["--upload-pack=x", "refs/heads/feature", "HEAD", "", &"x".repeat(40)] {
        let error = repo.merge_of(&base, &CommitId(odd.to_owned())).await.unwrap_err();
        assert!(error.why.contains("is no id of one"), "{odd}: {error}");
    }
    let refs = git(&ground.state.join("repository.git"), &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs, "refs/remotes/origin/main");
}

#[tokio::test]
async fn what_another_daemon_made_is_ours_and_what_nobody_noted_is_a_persons() {
    let mut ground = Ground::new();
    let first = ground.open().await;
    let branch = first.propose(BRANCH, &bump()).await.unwrap();
    let CommitOutcome::Committed(commit) =
        first.commit(&draft(&[("mappings/x.yaml", None, Some("x\n"))])).await.unwrap()
    else {
        panic!("not committed")
    };
    let mut told = Vec::new();
    for known in [true, false] {
        ground.state = ground.state.with_extension(known.to_string());
        ground.own = if known { ground.own } else { Default::default() };
        let other = ground.open().await;
        let log = other.log(&path("mappings/x.yaml"), 1).await.unwrap().remove(0);
        assert_eq!(log.commit, commit);
        told.push((log.recorded, !other.repair_branches().await.unwrap()[0].edited));
        // It goes on with the branch either way: it holds what would be written.
        let updated = other.propose(BRANCH, &bump()).await.unwrap();
        assert!(!updated.edited && updated.tip != branch.tip, "{updated:?}");
    }
    assert_eq!(told, [(true, true), (false, false)]);
}

#[tokio::test]
async fn two_who_offer_the_same_at_once_offer_it_once() {
    let ground = Ground::new();
    let one = ground.open().await;
    let other = ground.open_with(Ground::access(ground.origin.to_str().unwrap())).await.unwrap();
    let first = one.propose(BRANCH, &bump()).await.unwrap();
    // as if it had not been fetched
    git(&ground.state.join("repository.git"), &["update-ref", "-d", &format!("refs/remotes/origin/{BRANCH}")]);
    assert_eq!(other.propose(BRANCH, &bump()).await.unwrap(), first);
    assert_eq!(ground.at_origin(BRANCH), first.tip.0);
}
