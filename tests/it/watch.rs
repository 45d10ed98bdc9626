//! The watcher: one wake per burst, whatever people and editors do to files and folders.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aam::daemon::watch::{Wake, WatchPaths, Watcher};
use tokio::sync::mpsc::Receiver;

const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    _dir: tempfile::TempDir,
    root: PathBuf,
    _watcher: Watcher,
    wakes: Receiver<Wake>,
}

fn write(root: &Path, path: &str, text: &str) {
    crate::support::write(root, path, text);
}

/// A root with one spec, watched as the daemon does.
fn scene(prepare: impl FnOnce(&Path), git: bool) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write(&root, "connectors.d/crm.yaml", "one");
    prepare(&root);
    let paths = WatchPaths { root: root.clone(), git_common_dir: git.then(|| root.join(".git")) };
    let (watcher, wakes) = Watcher::start(&paths, Duration::from_millis(150), Duration::from_secs(1), HOUR);
    Scene { _dir: dir, root, _watcher: watcher, wakes }
}

impl Scene {
    /// How many wakes come until half a second passes without one.
    async fn wakes(&mut self) -> usize {
        let mut count = 0;
        while let Ok(Some(Wake)) = tokio::time::timeout(Duration::from_millis(500), self.wakes.recv()).await {
            count += 1;
        }
        count
    }

    fn git(&self, args: &[&str]) {
        run(&self.root, args);
    }
}

fn run(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=Pat", "-c", "user.email=pat@example.org"];
    assert!(Command::new("git").args(identity).args(args).current_dir(dir).output().unwrap().status.success());
}

fn init(root: &Path) {
    run(root, &["init", "--quiet", "--initial-branch=main"]);
    run(root, &["add", "--all"]);
    run(root, &["commit", "--quiet", "-m", "first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_one_wake_however_the_editor_does_it() {
    let mut scene = scene(|_| {}, false);
    let spec = scene.root.join("connectors.d/crm.yaml");
    std::fs::write(&spec, "two").unwrap();
    assert_eq!(scene.wakes().await, 1, "a plain write");
    // vim: probe, backup by rename, write anew, remove the backup
    std::fs::write(scene.root.join("connectors.d/4913"), "").unwrap();
    std::fs::remove_file(scene.root.join("connectors.d/4913")).unwrap();
    std::fs::rename(&spec, scene.root.join("connectors.d/crm.yaml~")).unwrap();
    std::fs::write(&spec, "three").unwrap();
    std::fs::remove_file(scene.root.join("connectors.d/crm.yaml~")).unwrap();
    assert_eq!(scene.wakes().await, 1, "a save with a backup file");
    std::fs::write(scene.root.join("connectors.d/.crm.tmp"), "four").unwrap();
    std::fs::rename(scene.root.join("connectors.d/.crm.tmp"), &spec).unwrap();
    assert_eq!(scene.wakes().await, 1, "a save by rename");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_no_wake() {
    let mut scene = scene(|_| {}, false);
    aam::repo::tree::read_tree(&scene.root).unwrap();
    std::fs::read(scene.root.join("connectors.d/crm.yaml")).unwrap();
    write(&scene.root, "target/debug/out.yaml", "not ours");
    assert_eq!(scene.wakes().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_200_files_is_one_wake_there_and_back() {
    let prepare = |root: &Path| {
        init(root);
        run(root, &["switch", "--quiet", "-c", "many"]);
        for i in 0..200 {
            write(root, &format!("connectors.d/t{}/c{i}.yaml", i % 7), "kind: connection");
        }
        run(root, &["add", "--all"]);
        run(root, &["commit", "--quiet", "-m", "many"]);
        run(root, &["switch", "--quiet", "main"]);
    };
    let mut scene = scene(prepare, true);
    scene.git(&["switch", "--quiet", "many"]);
    assert_eq!(scene.wakes().await, 1, "there");
    scene.git(&["switch", "--quiet", "main"]);
    assert_eq!(scene.wakes().await, 1, "back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_may_go_come_back_and_come_late() {
    let mut scene = scene(|_| {}, false);
    std::fs::remove_dir_all(scene.root.join("connectors.d")).unwrap();
    assert_eq!(scene.wakes().await, 1, "it goes");
    write(&scene.root, "connectors.d/acme/crm.yaml", "two");
    assert_eq!(scene.wakes().await, 1, "it comes back");
    write(&scene.root, "connectors.d/acme/crm.yaml", "three");
    assert_eq!(scene.wakes().await, 1, "it is watched again");
    write(&scene.root, "mappings/crm.yaml", "kind: mapping");
    assert_eq!(scene.wakes().await, 1, "a folder that was missing");
    write(&scene.root, "mappings/crm.yaml", "kind: mapping # edited");
    assert_eq!(scene.wakes().await, 1, "it is watched, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_root_is_watched() {
    let mut scene = scene(|_| {}, false);
    let next = scene.root.with_file_name("next");
    write(&next, "connectors.d/crm.yaml", "two");
    std::fs::rename(&scene.root, scene.root.with_file_name("old")).unwrap();
    std::fs::rename(&next, &scene.root).unwrap();
    assert_eq!(scene.wakes().await, 1, "the swap");
    write(&scene.root, "connectors.d/crm.yaml", "three");
    assert_eq!(scene.wakes().await, 1, "the new one");
    std::fs::write(scene.root.with_file_name("old").join("connectors.d/crm.yaml"), "nobody looks").unwrap();
    assert_eq!(scene.wakes().await, 0, "the old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_a_wake_and_the_rest_of_git_is_none() {
    let mut scene = scene(init, true);
    scene.git(&["commit", "--quiet", "--allow-empty", "-m", "second"]);
    assert_eq!(scene.wakes().await, 1, "a commit");
    scene.git(&["branch", "aam/drift/default/crm"]);
    assert_eq!(scene.wakes().await, 1, "a branch in new folders");
    scene.git(&["branch", "--force", "aam/drift/default/crm", "HEAD^"]);
    assert_eq!(scene.wakes().await, 1, "that branch moves");
    scene.git(&["pack-refs", "--all"]);
    assert_eq!(scene.wakes().await, 1, "packed refs");
    write(&scene.root, "notes.txt", "none of ours");
    scene.git(&["add", "notes.txt"]);
    assert_eq!(scene.wakes().await, 0, "objects and index");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_writer_does_not_hold_wakes_back() {
    let mut scene = scene(|_| {}, false);
    let root = scene.root.clone();
    let writer = tokio::spawn(async move {
        for i in 0..60 {
            write(&root, "connectors.d/crm.yaml", &i.to_string());
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let first = tokio::time::timeout(Duration::from_millis(1600), scene.wakes.recv()).await;
    assert_eq!(first.expect("a wake within a second of the first write"), Some(Wake));
    assert!(!writer.is_finished(), "the wake came in the midst");
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_watches_left_it_looks_each_second() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "connectors.d/crm.yaml", "one");
    let paths = WatchPaths { root: dir.path().to_owned(), git_common_dir: None };
    let (_watcher, mut wakes) = Watcher::start_polling(&paths, HOUR);
    let quiet = tokio::time::timeout(Duration::from_millis(1500), wakes.recv()).await;
    assert!(quiet.is_err(), "a wake without a change");
    write(dir.path(), "connectors.d/crm.yaml", "two, longer");
    let wake = tokio::time::timeout(Duration::from_millis(2500), wakes.recv()).await;
    assert_eq!(wake.expect("a wake after a change"), Some(Wake));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescan_wakes_without_any_event() {
    let dir = tempfile::tempdir().unwrap();
    let paths = WatchPaths { root: dir.path().to_owned(), git_common_dir: None };
    let fast = Duration::from_millis(50);
    let (_watcher, mut wakes) = Watcher::start(&paths, fast, fast, Duration::from_millis(300));
    for _ in 0..2 {
        let wake = tokio::time::timeout(Duration::from_secs(2), wakes.recv()).await;
        assert_eq!(wake.expect("a wake"), Some(Wake));
    }
}
