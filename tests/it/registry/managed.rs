//! The private cluster: made, joined, left, found again after a crash.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use aam::registry::ManagedCluster;

use super::*;

/// A state directory that the server's user can reach; the server goes with it.
struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // a test that failed half-way must not leave a server behind
        let pid = std::fs::read_to_string(self.path().join("postgres/data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = std::process::Command::new("kill").args(["-QUIT", pid]).status();
        }
    }
}

#[tokio::test]
async fn it_is_made_shared_and_stopped_by_the_last_to_leave() {
    let state = State::new();
    let path = state.path();
    let (one, two) = tokio::join!(ManagedCluster::start(&path), ManagedCluster::start(&path));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (a, b) = tokio::join!(one.ensure_database("aam"), two.ensure_database("aam"));
    a.and(b).unwrap();
    assert!(one.ensure_database("x\"y").await.is_err());
    let registry = PgRegistry::open(one.options("aam")).await.unwrap();
    declared(&registry, "a", "crm").await;
    let pool = PgPoolOptions::new().connect_with(two.options("aam")).await.unwrap();
    let facts: (bool, String, String) = sqlx::query_as(
        "SELECT rolsuper OR rolbypassrls, current_setting('fsync'), current_setting('listen_addresses')
         FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(facts, (false, "on".to_owned(), String::new()));
    let mode = std::fs::metadata(state.path().join("postgres")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    drop(registry);
    pool.close().await;
    assert!(!one.stop().await.unwrap(), "the other still uses it");
    assert!(two.stop().await.unwrap());
    assert!(!ManagedCluster::stop_running(&state.path()).await.unwrap());
}

#[tokio::test]
async fn it_is_found_again_after_a_crash() {
    let state = State::new();
    let first = ManagedCluster::start(&state.path()).await.unwrap();
    first.ensure_database("aam").await.unwrap();
    let registry = PgRegistry::open(first.options("aam")).await.unwrap();
    declared(&registry, "a", "crm").await;
    drop((registry, first)); // as kill -9 does: the server goes on
    let second = ManagedCluster::start(&state.path()).await.unwrap();
    let registry = PgRegistry::open(second.options("aam")).await.unwrap();
    assert_eq!(registry.connections().await.unwrap().len(), 1);
    drop(registry);

    // the machine went down: the server is gone, its pid file names some other process
    let file = state.path().join("postgres/data/postmaster.pid");
    let pid_file = std::fs::read_to_string(&file).unwrap();
    assert!(second.stop().await.unwrap());
    let (_, rest) = pid_file.split_once('\n').unwrap();
    std::fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    let third = ManagedCluster::start(&state.path()).await.unwrap();
    let registry = PgRegistry::open(third.options("aam")).await.unwrap();
    assert_eq!(registry.connections().await.unwrap().len(), 1);
    drop((registry, third));
    assert!(ManagedCluster::stop_running(&state.path()).await.unwrap());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_no_obstacle() {
    let state = State::new();
    let long = state.path().join("a long folder's name ".repeat(6).trim());
    std::fs::create_dir_all(&long).unwrap();
    let cluster = ManagedCluster::start(&long).await.unwrap();
    let socket = cluster.options("aam").get_socket().unwrap().clone();
    assert!(!socket.starts_with(&long));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    cluster.ensure_database("aam").await.unwrap();
    assert!(cluster.stop().await.unwrap());
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn run_by_root_in_a_closed_folder_it_lies_elsewhere() {
    let state = State::new();
    std::fs::set_permissions(state.0.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root has this trouble");
        return;
    }
    let cluster = ManagedCluster::start(&state.path()).await.unwrap();
    cluster.ensure_database("aam").await.unwrap();
    let recorded = std::fs::read_to_string(state.path().join("postgres.path")).unwrap();
    assert!(recorded.starts_with("/var/lib/aam/"), "{recorded}");
    let again = ManagedCluster::start(&state.path()).await.unwrap();
    assert_eq!(again.options("aam").get_socket(), cluster.options("aam").get_socket());
    drop(again);
    assert!(cluster.stop().await.unwrap());
    std::fs::remove_dir_all(recorded.trim()).unwrap();
}
