//! Hostile names, settings and hooks: nothing but git starts, nothing is taken for an option.

use std::os::unix::fs::PermissionsExt;

use aam::model::CommitId;
use aam::ports::{CommitOutcome, Repo};
use aam::repo::git::GitRepo;

use super::desk::{Desk, bump, draft, path};

#[tokio::test]
async fn names_are_never_options() {
    let desk = Desk::new();
    for branch in ["--upload-pack=x", "-d", "a..b", "x y", "a\nb", "@{-1}", ""] {
        assert!(GitRepo::open(&desk.top, Some(branch), &desk.state).await.is_err(), "{branch:?}");
    }
    let repo = desk.open().await;
    let names = [
        "connectors.d/--force.yaml",
        "-rf.yaml",
        "connectors.d/a\nb.yaml",
        "connectors.d/\x1b[2J\"'.yaml",
        ":(top)x",
        "*",
    ];
    let edits: Vec<_> = names.iter().map(|n| (*n, None, Some("text\n"))).collect();
    let outcome = repo.commit(&draft(&edits)).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    assert_eq!(desk.status(), "");
    for name in names {
        assert_eq!(desk.read(name), "text\n");
        assert_eq!(repo.log(&path(name), 5).await.unwrap().len(), 1, "{name:?}");
        let head = CommitId(desk.main());
        assert_eq!(repo.file_at(&head, &path(name)).await.unwrap().as_deref(), Some("text\n"));
    }
    for commit in ["--help", "main", "HEAD", "-x", ""] {
        assert!(repo.file_at(&CommitId(commit.to_owned()), &path("notes.txt")).await.is_err(), "{commit:?}");
    }
}

#[tokio::test]
async fn hooks_filters_and_monitors_of_the_repository_do_not_run() {
    let elsewhere = nothing_runs("*.txt filter=evil diff=evil merge=evil\n").await;
    assert!(matches!(elsewhere, CommitOutcome::Committed(_)), "{elsewhere:?}");
    let CommitOutcome::Refused(why) = nothing_runs("*.yaml filter=evil diff=evil merge=evil\n").await else {
        panic!("a filtered file was written raw");
    };
    insta::assert_snapshot!(why.split(", in /").next().unwrap(), @"connectors.d/crm.lock.yaml goes through the git filter `evil`, which aam does not run");
}

async fn nothing_runs(attributes: &str) -> CommitOutcome {
    let desk = Desk::new();
    let mark = desk.dir.path().join("ran");
    let script = desk.dir.path().join("script");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$0 $*\" >> {}\ncat\n", mark.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    desk.write(".gitattributes", attributes);
    desk.commit_all("attributes");
    let hooks = desk.top.join(".git/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for hook in ["reference-transaction", "post-index-change", "post-checkout", "post-merge", "pre-commit"] {
        std::fs::copy(&script, hooks.join(hook)).unwrap();
    }
    let run = script.to_str().unwrap();
    let keys = [
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "diff.external",
        "diff.evil.textconv",
        "diff.evil.command",
        "merge.evil.driver",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "gpg.program",
        "core.askPass",
        "credential.helper",
        "sequence.editor",
    ];
    for key in keys {
        desk.git(&["config", key, run]);
    }
    for (key, value) in [("commit.gpgSign", "true"), ("log.showSignature", "true"), ("filter.evil.required", "true")] {
        desk.git(&["config", key, value]);
    }
    let _ = std::fs::remove_file(&mark);
    let repo = desk.open().await;
    repo.committed().await.unwrap();
    repo.info().await.unwrap();
    // Touched, so that git would read (and filter) it again.
    for name in ["connectors.d/crm.lock.yaml", "notes.txt"] {
        let file = std::fs::File::options().write(true).open(desk.top.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9_000_000)).unwrap();
    }
    let outcome = repo.commit(&bump()).await.unwrap();
    repo.propose("aam/drift/default/x", &draft(&[("connectors.d/x.yaml", None, Some("x\n"))])).await.unwrap();
    repo.repair_branches().await.unwrap();
    repo.branch_diff("aam/drift/default/x").await.unwrap();
    repo.approve("aam/drift/default/x", "Pat").await.unwrap();
    repo.log(&path("connectors.d/crm.lock.yaml"), 5).await.unwrap();
    let ran = std::fs::read_to_string(&mark).unwrap_or_default();
    assert_eq!(ran, "", "after {outcome:?}");
    outcome
}
