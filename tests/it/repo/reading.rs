//! What is read of a commit and of a work tree, and what is named as unreadable.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use aam::ports::{CommitOutcome, Repo};
use aam::repo::tree::read_tree;

use super::desk::{Desk, bump, git, shown};

/// Fills a root with every odd thing a folder can hold.
fn odd_things(top: &std::path::Path) {
    let specs = top.join("connectors.d");
    std::fs::create_dir_all(&specs).unwrap();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, specs.join(name)).unwrap();
    link("crm.yaml", "link.yaml");
    link("/etc/passwd", "outside.yaml");
    link("loop.yaml", "loop.yaml");
    link("/etc", "tenant");
    link("nowhere", ".#crm.yaml");
    std::fs::create_dir(specs.join("folder.yaml")).unwrap();
    std::fs::write(specs.join("folder.yaml/inner.yaml"), "inner\n").unwrap();
    std::fs::write(specs.join("large.yaml"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    std::fs::write(specs.join("limit.yml"), vec![b'x'; 1024 * 1024]).unwrap();
    std::fs::write(specs.join("empty.yaml"), "").unwrap();
    std::fs::write(specs.join(".crm.yaml.swp"), "swap").unwrap();
    std::fs::write(specs.join("crm.yaml~"), "backup").unwrap();
    std::fs::write(specs.join("other.txt"), "none of ours").unwrap();
    std::fs::write(specs.join("-rf.yaml"), "dash\n").unwrap();
    for name in [&b"new\nline.yaml"[..], b"esc\x1b[2J.yaml", b"latin\xff.yaml", b"quo\"te'.yaml"] {
        std::fs::write(specs.join(std::ffi::OsStr::from_bytes(name)), "odd\n").unwrap();
    }
    let deep = top.join("drift").join("d/".repeat(40));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("x.md"), "deep").unwrap();
    std::fs::write(top.join("drift/shallow.md"), "shallow\n").unwrap();
}

fn without_bulk(text: &str) -> String {
    let short = |l: &str| if l.len() > 1000 { format!("{}…", &l[..30]) } else { l.to_owned() };
    text.lines().map(short).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn odd_files_are_named_and_the_rest_is_read_alike_from_commit_and_work_tree() {
    let desk = Desk::new();
    odd_things(&desk.top);
    desk.commit_all("odd");
    let repo = desk.open().await;
    let committed = without_bulk(&shown(&repo.committed().await.unwrap()));
    assert_eq!(without_bulk(&shown(&repo.worktree().await.unwrap())), committed);
    insta::assert_snapshot!(committed, @r#"
    connectors.d/-rf.yaml: dash
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/crm.yaml: kind: connection
    connectors.d/empty.yaml: 
    connectors.d/limit.yml: xxxxxx…
    connectors.d/quo"te'.yaml: odd
    drift/shallow.md: shallow
    connectors.d/esc\u{1b}[2J.yaml: Name
    connectors.d/folder.yaml: NotAFile
    connectors.d/large.yaml: TooLarge(1048577)
    connectors.d/latin\xff.yaml: Name
    connectors.d/link.yaml: Link
    connectors.d/loop.yaml: Link
    connectors.d/new\nline.yaml: Name
    connectors.d/outside.yaml: Link
    connectors.d/tenant: Link
    drift/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d: Io("lies below more than 32 folders")
    "#);
}

#[tokio::test]
async fn fifos_sockets_and_links_above_files_do_not_stop_reading() {
    let dir = tempfile::tempdir().unwrap();
    crate::support::write(dir.path(), "connectors.d/crm.yaml", "one\n");
    let specs = dir.path().join("connectors.d");
    let mkfifo = std::process::Command::new("mkfifo").arg(specs.join("fifo.yaml")).status().unwrap();
    assert!(mkfifo.success());
    let _socket = std::os::unix::net::UnixListener::bind(specs.join("socket.yaml")).unwrap();
    std::os::unix::fs::symlink("connectors.d", dir.path().join("mappings")).unwrap();
    std::fs::write(dir.path().join("drift"), "a file where a folder should be").unwrap();
    insta::assert_snapshot!(shown(&read_tree(dir.path()).unwrap()), @r"
    connectors.d/crm.yaml: one
    connectors.d/fifo.yaml: NotAFile
    connectors.d/socket.yaml: NotAFile
    drift: NotAFile
    mappings: Link
    ");
    assert!(read_tree(&dir.path().join("none")).is_err(), "a missing root is an error, not an empty one");
}

#[tokio::test]
async fn a_file_without_permission_is_unreadable_not_absent() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    crate::support::write(dir.path(), "connectors.d/crm.yaml", "one\n");
    let file = dir.path().join("connectors.d/crm.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    let snapshot = read_tree(dir.path()).unwrap();
    // Root reads it all the same; for others it must be named.
    let may_read = std::fs::read(&file).is_ok();
    assert_eq!(snapshot.files.len(), usize::from(may_read));
    assert_eq!(snapshot.unreadable.len(), usize::from(!may_read));
}

#[tokio::test]
async fn submodules_are_named() {
    let desk = Desk::new();
    let commit = desk.main();
    for at in ["connectors.d/sub", "connectors.d/sub.yaml"] {
        desk.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{at}")]);
    }
    desk.git(&["commit", "--quiet", "-m", "sub"]);
    insta::assert_snapshot!(shown(&desk.open().await.committed().await.unwrap()), @r"
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/crm.yaml: kind: connection
    connectors.d/sub: NotAFile
    connectors.d/sub.yaml: NotAFile
    ");
}

#[tokio::test]
async fn ten_thousand_files_in_two_seconds() {
    let desk = Desk::new();
    let text = "x".repeat(2048);
    for i in 0..10_000 {
        desk.write(&format!("connectors.d/t{}/c{i}.yaml", i % 100), &format!("{i}{text}"));
    }
    let start = Instant::now();
    assert_eq!(read_tree(&desk.top).unwrap().files.len(), 10_002);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "the work tree took {took:?}");
    desk.commit_all("many");
    let repo = desk.open().await;
    let start = Instant::now();
    assert_eq!(repo.committed().await.unwrap().files.len(), 10_002);
    let first = start.elapsed();
    assert!(first < Duration::from_secs(20), "the commit took {first:?}");
    let start = Instant::now();
    repo.committed().await.unwrap();
    let again = start.elapsed();
    assert!(again < first / 2, "unchanged, it took {again:?} after {first:?}");
}

#[tokio::test]
async fn moving_a_spec_with_its_lock_shows_as_the_new_paths() {
    let desk = Desk::new();
    let repo = desk.open().await;
    repo.committed().await.unwrap();
    std::fs::create_dir(desk.top.join("connectors.d/acme")).unwrap();
    for file in ["crm.yaml", "crm.lock.yaml"] {
        desk.git(&["mv", &format!("connectors.d/{file}"), &format!("connectors.d/acme/{file}")]);
    }
    let before = shown(&repo.committed().await.unwrap());
    desk.git(&["commit", "--quiet", "-m", "move"]);
    insta::assert_snapshot!(format!("{before}\n--\n{}", shown(&repo.committed().await.unwrap())), @r"
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/crm.yaml: kind: connection
    --
    connectors.d/acme/crm.lock.yaml: version: 1
    connectors.d/acme/crm.yaml: kind: connection
    ");
}

#[tokio::test]
async fn only_what_is_committed_on_the_tracked_branch_acts() {
    let desk = Desk::new();
    let repo = desk.open().await;
    desk.write("connectors.d/new.yaml", "staged\n");
    desk.git(&["add", "--all"]);
    desk.write("connectors.d/crm.yaml", "edited\n");
    let committed = shown(&repo.committed().await.unwrap());
    desk.git(&["switch", "--quiet", "-c", "feature"]);
    desk.commit_all("on a feature branch");
    assert_eq!(shown(&repo.committed().await.unwrap()), committed);
    insta::assert_snapshot!(committed, @r"
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/crm.yaml: kind: connection
    ");
    insta::assert_snapshot!(shown(&repo.worktree().await.unwrap()), @r"
    connectors.d/crm.lock.yaml: version: 1
    connectors.d/crm.yaml: edited
    connectors.d/new.yaml: staged
    ");
    // A tag of the same name must not hide the branch.
    desk.git(&["tag", "main", "feature"]);
    assert_eq!(shown(&desk_open_on(&desk, "main").await.committed().await.unwrap()), committed);
}

async fn desk_open_on(desk: &Desk, branch: &str) -> aam::repo::git::GitRepo {
    aam::repo::git::GitRepo::open(&desk.top, Some(branch), &desk.state).await.unwrap()
}

#[tokio::test]
async fn the_tracked_branch_is_configured_or_that_of_head() {
    let desk = Desk::new();
    assert_eq!(desk.open().await.info().await.unwrap().branch.as_deref(), Some("main"));
    desk.git(&["branch", "release"]);
    let repo = desk_open_on(&desk, "release").await;
    assert!(matches!(repo.commit(&bump()).await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(desk.git(&["show", "release:connectors.d/crm.lock.yaml"]), "version: 2");
    assert_eq!(desk.read("connectors.d/crm.lock.yaml"), "version: 1\n");
    desk.git(&["switch", "--quiet", "--detach"]);
    assert_eq!(desk.open().await.info().await.unwrap().branch.as_deref(), Some("main"), "what the first start saw");
    std::fs::remove_dir_all(&desk.state).unwrap();
    let open = aam::repo::git::GitRepo::open(&desk.top, None, &desk.state).await;
    insta::assert_snapshot!(open.err().unwrap().why, @"HEAD is detached; check a branch out, or set `branch` in [repository]");
}

#[tokio::test]
async fn a_person_is_named_by_git_s_settings() {
    let desk = Desk::new();
    git(&desk.top, &["config", "user.name", "Pat <Doe>"]);
    git(&desk.top, &["config", "user.email", "pat@example.org"]);
    assert_eq!(desk.open().await.person().await.unwrap(), "Pat Doe <pat@example.org>");
}
