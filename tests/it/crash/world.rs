//! One small world for a run: a configuration repository, a registry, a source and a destination, all of its own.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::runtime::Runtime;

use crate::support::{cluster, database, write};

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By the armed kill point.
    Killed,
}

pub struct World {
    folder: tempfile::TempDir,
    runtime: Runtime,
    /// The databases, superuser.
    pub registry: PgPool,
    pub source: PgPool,
    pub landing: PgPool,
    /// What the last command said.
    pub said: String,
}

impl World {
    /// Databases and an empty repository (`git`), or an empty folder.
    pub fn new(git: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pool = || async { PgPoolOptions::new().max_connections(1).connect_with(database().await).await.unwrap() };
        let (registry, source, landing) = runtime.block_on(async { (pool().await, pool().await, pool().await) });
        let world = Self { folder, runtime, registry, source, landing, said: String::new() };
        world.write(".gitignore", "/.aam\n/config\n");
        world.use_registry();
        if git {
            world.git(&["init", "-q", "-b", "main"]);
        }
        world
    }

    fn use_registry(&self) {
        let url = format!("postgres:///{}?host={}&user=postgres", name_of(&self.registry), cluster().display());
        // A dead process' lease is waited for: the shorter it is, the shorter the tests.
        let settings =
            format!("[registry]\nurl = \"{url}\"\n[daemon]\nlease_ttl = \"300ms\"\n[log]\nlevel = \"warn\"\n");
        self.write("config/aam.toml", &settings);
    }

    /// The registry is lost: an empty one takes its place.
    pub fn lose_registry(&mut self) {
        let options = self.runtime.block_on(database());
        self.registry = self.runtime.block_on(PgPoolOptions::new().max_connections(1).connect_with(options)).unwrap();
        self.use_registry();
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, path: &str, text: &str) {
        write(self.root(), path, text);
    }

    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root().join(path)).ok()
    }

    /// `host`, `database` and `username` of an endpoint's configuration.
    pub fn endpoint(&self, pool: &PgPool) -> String {
        format!("{{host: {}, database: {}, username: postgres}}", cluster().display(), name_of(pool))
    }

    /// Statements in a database.
    pub fn run(&self, pool: &PgPool, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        self.runtime.block_on(sqlx::raw_sql(sql).execute(pool)).unwrap();
    }

    /// The rows of a query with one column of text, a line each.
    pub fn ask(&self, pool: &PgPool, sql: &str) -> String {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        let rows: Vec<Option<String>> = self.runtime.block_on(sqlx::query_scalar(sql).fetch_all(pool)).unwrap();
        rows.into_iter().map(|row| row.unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// How many jobs the engine has.
    pub fn jobs(&self) -> String {
        let known = self.ask(&self.registry, "SELECT to_regclass('aam_engine.jobs')::text");
        if known.is_empty() {
            "0".to_owned()
        } else {
            self.ask(&self.registry, "SELECT count(*)::text FROM aam_engine.jobs")
        }
    }

    /// The library's view of the registry.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// What a person does with git; gives what it printed.
    pub fn git(&self, args: &[&str]) -> String {
        let output = self.command("git").args(args).output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {args:?}: {talk}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.root()).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Pat").env(format!("GIT_{who}_EMAIL"), "pat@example.org");
        }
        command
    }

    fn aam(&self, args: &[&str], point: Option<&str>) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_aam"));
        command.args(args).stdin(Stdio::null()).env("AAM_FAILPOINT_LOG", self.log_path());
        if let Some(point) = point {
            command.env("AAM_FAILPOINT", point);
        }
        command
    }

    fn log_path(&self) -> PathBuf {
        self.root().join(".git/passes").parent().filter(|git| git.is_dir()).map_or_else(
            || self.root().join("config/passes"), // hidden from the folder's reader, too
            |git| git.join("passes"),
        )
    }

    /// Runs a command to its end, or to the armed point.
    pub fn aam_until(&mut self, args: &[&str], point: Option<&str>) -> Ended {
        let mut command = self.aam(args, point);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        let pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let reading = std::thread::spawn(move || {
            let (mut out, mut err) = pipes;
            let talking = std::thread::spawn(move || std::io::read_to_string(&mut err).unwrap_or_default());
            let out = std::io::read_to_string(&mut out).unwrap_or_default();
            out + &talking.join().unwrap()
        });
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("aam {args:?} with {point:?} hangs: {}", reading.join().unwrap());
                }
                None => std::thread::sleep(Duration::from_millis(3)),
            }
        };
        self.said = reading.join().unwrap();
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (_, Some(9)) => Ended::Killed,
            _ => panic!("aam {args:?} ended with {status}: {}", self.said),
        }
    }

    /// The points passed since the last call.
    pub fn passes(&self) -> Vec<String> {
        let path = self.log_path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    /// Starts the daemon.
    pub fn daemon(&self, point: Option<&str>) -> std::process::Child {
        self.aam(&["run"], point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Tells a daemon to stop.
    pub fn terminate(&self, daemon: &std::process::Child) {
        let pid = rustix::process::Pid::from_child(daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

fn name_of(pool: &PgPool) -> String {
    pool.connect_options().get_database().unwrap().to_owned()
}
