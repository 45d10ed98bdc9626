//! A whole world for `aam` in a temporary folder: a git repository of a person, a registry, a source and a warehouse on the
//! shared cluster, and the real binary. Nothing of this machine's settings reaches it; everything goes when it is dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// The person who works in the repository.
pub const PERSON: &str = "Pat <pat@example.org>";

/// A repository with `config/aam.toml`, three databases, and what runs the binary there.
pub struct World {
    dir: tempfile::TempDir,
    /// The person's work tree and `aam`'s root.
    pub root: PathBuf,
    /// `aam`'s own database.
    pub registry: Db,
    /// What connections read.
    pub source: Db,
    /// Where rows land.
    pub warehouse: Db,
    /// What commands and daemons find in their environment.
    pub env: Vec<(String, String)>,
}

/// A database of the shared cluster.
pub struct Db {
    /// Its name.
    pub name: String,
    /// A few connections as superuser.
    pub pool: PgPool,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// stdout: data.
    pub out: String,
    /// stderr: talk.
    pub talk: String,
}

impl Db {
    async fn fresh() -> Self {
        Self::of(super::database().await).await
    }

    async fn of(options: PgConnectOptions) -> Self {
        let name = options.get_database().unwrap().to_owned();
        let pool = PgPoolOptions::new().max_connections(3).min_connections(0).connect_lazy_with(options);
        Self { name, pool }
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// Runs a statement in a transaction that stays open until it is dropped.
    pub async fn hold(&self, sql: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let mut held = self.pool.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut *held).await.unwrap();
        held
    }

    /// The first column of each row; it must be text.
    pub async fn list(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&self.pool).await.unwrap()
    }

    /// The first column of the only row; it must be text.
    pub async fn one(&self, sql: &str) -> String {
        self.list(sql).await.join("\n")
    }

    /// Whether a statement gives a row at all. An error counts as none: the table may not be there yet.
    pub async fn has(&self, sql: &str) -> bool {
        let found = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_optional(&self.pool).await;
        found.is_ok_and(|row| row.is_some())
    }

    /// Every table with its number of rows and a digest over rows and their row versions: equal only if nothing was
    /// written in between, not even the same value again. `except` names tables or `table.column`s that do not count.
    pub async fn fingerprint(&self, except: &[&str]) -> Vec<String> {
        let tables = self
            .list(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                 WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND schemaname NOT LIKE 'pg_temp%'
                 ORDER BY 1",
            )
            .await;
        let mut out = Vec::new();
        for table in tables.iter().filter(|t| !except.contains(&t.as_str())) {
            let dropped: String = except
                .iter()
                .filter_map(|e| e.strip_prefix(&format!("{table}:")))
                .map(|column| format!(" - '{column}'"))
                .collect();
            // xmin tells a rewritten row, but for tables of which a column may move.
            let version = if dropped.is_empty() { "t.xmin::text" } else { "''" };
            let digest = format!(
                "SELECT format('{table} %s %s', count(*), md5(coalesce(string_agg({version} || (to_jsonb(t){dropped})::text, \
                 ',' ORDER BY to_jsonb(t)::text), ''))) FROM {table} t"
            );
            out.push(self.one(&digest).await);
        }
        out
    }
}

impl World {
    /// A repository with one commit that holds `config/aam.toml`; `settings` is added to it.
    pub async fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("top");
        std::fs::create_dir(&root).unwrap();
        let (registry, source, warehouse) = (Db::fresh().await, Db::fresh().await, Db::fresh().await);
        let world = Self { dir, root, registry, source, warehouse, env: Vec::new() };
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.git(&["config", "user.name", "Pat"]);
        world.git(&["config", "user.email", "pat@example.org"]);
        world.write("config/aam.toml", &format!("{settings}\n[registry]\nurl = \"{}\"\n", world.registry_url()));
        world.write(".gitignore", "/.aam/\n");
        world.commit("settings");
        world
    }

    /// [`World::new`] with destination `warehouse`, connection `crm` of a table `accounts` with three rows, its mapping and
    /// entity; all committed, nothing onboarded.
    pub async fn with_crm(settings: &str) -> Self {
        let world = Self::new(settings).await;
        world.source.run(ACCOUNTS).await;
        world.write("connectors.d/warehouse.yaml", &world.destination());
        world.write("connectors.d/crm.yaml", &world.connection("mapping: crm\n"));
        world.write("mappings/crm.yaml", MAPPING);
        world.write("mappings/entities/account.yaml", include_str!("../../../mappings/entities/account.yaml"));
        world.commit("crm");
        world
    }

    /// The registry's URL.
    pub fn registry_url(&self) -> String {
        format!("postgres://postgres@localhost/{}?host={}", self.registry.name, super::cluster().display())
    }

    /// Throws the registry away and gives an empty one instead.
    pub async fn lose_registry(&mut self) {
        let url = self.registry_url();
        self.registry = Db::fresh().await;
        let settings = self.read("config/aam.toml").replace(&url, &self.registry_url());
        self.write("config/aam.toml", &settings);
    }

    /// A `kind: destination` for the warehouse.
    pub fn destination(&self) -> String {
        format!("kind: destination\ntype: postgres\nconfig: {}\n", self.config(&self.warehouse))
    }

    /// A `kind: connection` that reads the source by hand only; `more` is added at its end.
    pub fn connection(&self, more: &str) -> String {
        format!(
            "kind: connection\nsource:\n  type: postgres\n  config: {}\ndestination: warehouse\nschedule: manual\ndrift:\n  check: manual\n{more}",
            self.config(&self.source)
        )
    }

    /// A connector's settings for one of the databases.
    pub fn config(&self, db: &Db) -> String {
        format!("{{host: {}, database: {}, username: postgres}}", super::cluster().display(), db.name)
    }

    /// Writes a file of the work tree.
    pub fn write(&self, path: &str, text: &str) {
        super::write(&self.root, path, text);
    }

    /// Reads a file of the work tree; `(none)` if there is none.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap_or_else(|_| "(none)".to_owned())
    }

    /// Runs git as the person.
    pub fn git(&self, args: &[&str]) -> String {
        let (ok, text) = self.try_git(args);
        assert!(ok, "git {args:?}: {text}");
        text
    }

    /// Runs git as the person; whether it worked, and what it said.
    pub fn try_git(&self, args: &[&str]) -> (bool, String) {
        let out = self.command("git").args(args).env("GIT_EDITOR", "true").output().unwrap();
        let text = if out.status.success() { out.stdout } else { [out.stdout, out.stderr].concat() };
        (out.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// Commits everything as the person and gives the commit's id.
    pub fn commit(&self, subject: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A file on the tracked branch; `(none)` if there is none.
    pub fn committed(&self, path: &str) -> String {
        let (there, text) = self.try_git(&["show", &format!("refs/heads/main:{path}")]);
        if there { text } else { "(none)".to_owned() }
    }

    /// A program in the repository with an environment of its own.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path()).env("TZ", "UTC");
        command.env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `aam`.
    pub fn aam(&self, args: &[&str]) -> Ran {
        let out = self.command(env!("CARGO_BIN_EXE_aam")).args(args).output().unwrap();
        Ran {
            code: out.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&out.stdout).into_owned(),
            talk: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// Runs `aam` and gives its data; any other exit code than this one is a failure of the test.
    pub fn aam_is(&self, code: i32, args: &[&str]) -> String {
        let ran = self.aam(args);
        assert_eq!(ran.code, code, "aam {args:?}: {ran:#?}");
        ran.out
    }

    /// Starts `aam` without waiting for it; what it prints is dropped.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_aam"));
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts a daemon and waits until it runs.
    pub async fn daemon(&self) -> Daemon {
        let daemon = self.start_daemon();
        until("the daemon runs", 30, async || daemon.log().contains("aam is running").then_some(())).await;
        daemon
    }

    /// Starts a daemon.
    pub fn start_daemon(&self) -> Daemon {
        let log = self.dir.path().join(format!("daemon-{}.log", uuid::Uuid::now_v7()));
        let mut command = self.command(env!("CARGO_BIN_EXE_aam"));
        let child = command.arg("run").stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Daemon { child, log }
    }

    /// A whole `aam` in this process, with the world's settings.
    pub async fn open(&self) -> aam::wiring::App {
        aam::wiring::open(&self.root, None).await.unwrap()
    }

    /// The folder that holds everything of this world.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A running `aam run`; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Everything it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a line with this text was logged.
    pub async fn logged(&self, text: &str) {
        let seen = async || self.log().contains(text).then_some(());
        if tokio::time::timeout(Duration::from_secs(30), poll(seen)).await.is_err() {
            panic!("never logged: {text}\n{}", self.log());
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it is stopped, as by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, `TERM` for example.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends SIGTERM and gives the exit code and how long it took; killed by a signal is -1.
    pub async fn stop(mut self) -> (i32, Duration) {
        let began = Instant::now();
        self.signal("TERM");
        let code = until("the daemon ends", 30, async || self.child.try_wait().unwrap()).await.code().unwrap_or(-1);
        (code, began.elapsed())
    }
}

/// Waits until `check` gives a value; fails the test after so many seconds.
pub async fn until<T>(what: &str, seconds: u64, check: impl AsyncFnMut() -> Option<T>) -> T {
    let Ok(found) = tokio::time::timeout(Duration::from_secs(seconds), poll(check)).await else {
        panic!("after {seconds} s still not: {what}");
    };
    found
}

async fn poll<T>(mut check: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = check().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The source's table of [`World::with_crm`].
const ACCOUNTS: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, name text NOT NULL, billing_state text, employees int,
        updated_at timestamptz DEFAULT '2026-01-01T00:00:00Z');
    INSERT INTO accounts VALUES (1, 'Acme', 'CA', 10), (2, 'Bolt', 'NY', 20), (3, 'Cord', 'TX', 30);
";

/// A mapping with a person's layout and comments, which a repair must leave alone.
pub const MAPPING: &str = "\
# How we read the CRM.   Ask Pat before you change it.
kind:   mapping
system: crm
entities:
  account:
    stream: public/accounts   # the only one
    key: id
    fields:
      name:   name
      # two coasts
      region: {from: billing_state, values: {CA: west, NY: east}, default: other}   # keep this comment
      extras.employees: employees


# the end
";
