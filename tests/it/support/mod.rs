//! What the tests share: a real PostgreSQL cluster that cannot outlive the test process.
#![allow(dead_code)]

pub mod clock;
pub mod world;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// Starts `initdb` and `postgres` under a shell that waits on its standard input: when this process ends, however it
/// ends, the pipe closes, the shell stops the server and removes the folder. Its arguments: a folder of files for the data
/// folder, and more options of `postgres`.
const CLUSTER: &str = r#"
set -eu
files=$1
shift
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)")
dir=$(mktemp -d /tmp/aam-test-pg.XXXXXX)
as=
if [ "$(id -u)" = 0 ]; then as="runuser -u postgres --"; chown postgres "$dir"; fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -A trust -U postgres --no-sync -E UTF8 --locale=C >/dev/null
for file in "$files"/*; do
  [ -e "$file" ] || continue
  cat "$file" | $as sh -c 'umask 077; cat >"$1"' - "$dir/data/${file##*/}"
done
$as "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c shared_buffers=32MB \
  -c max_connections=200 -c wal_level=logical "$@" >"$dir/log" 2>&1 </dev/null &
pid=$!
# `runuser` does not pass the signal on, so it goes to the postmaster itself.
trap 'kill -INT $(head -n 1 "$dir/data/postmaster.pid") 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do grep -qs "^ready" "$dir/data/postmaster.pid" && break; sleep 0.1; done
echo "$dir"
cat >/dev/null
"#;

/// The socket folder of the cluster that all tests of this process share.
pub fn cluster() -> &'static Path {
    static CLUSTER_DIR: OnceLock<PathBuf> = OnceLock::new();
    CLUSTER_DIR.get_or_init(|| start_cluster(Path::new("/nonexistent"), &[]))
}

/// Starts another cluster, with these files in its data folder and these options; its socket folder.
#[expect(clippy::zombie_processes, reason = "it outlives every test and ends with this process")]
pub fn start_cluster(files: &Path, options: &[&str]) -> PathBuf {
    let mut shell = Command::new("sh")
        .args(["-c", CLUSTER, "sh"])
        .arg(files)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.trim().is_empty(), "PostgreSQL did not start: install Debian's `postgresql` package");
    std::mem::forget(shell.stdin.take()); // closed by the kernel when this process ends
    PathBuf::from(line.trim())
}

/// A fresh, empty database of the shared cluster, by its connect options (superuser `postgres`).
pub async fn database() -> PgConnectOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let admin = PgConnectOptions::new_without_pgpass().socket(cluster()).username("postgres");
    let pool = PgPoolOptions::new().max_connections(1).connect_with(admin.clone().database("postgres")).await.unwrap();
    // Copying files takes half as long as logging every page; before PostgreSQL 15 there was no choice.
    let made = |how: &str| sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}{how}"));
    if sqlx::raw_sql(made(" STRATEGY file_copy")).execute(&pool).await.is_err() {
        sqlx::raw_sql(made("")).execute(&pool).await.unwrap();
    }
    pool.close().await;
    admin.database(&name)
}

/// A pool on a fresh database.
pub async fn pool() -> PgPool {
    PgPoolOptions::new().max_connections(5).connect_with(database().await).await.unwrap()
}

/// Writes a file, making its folders.
pub fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}
