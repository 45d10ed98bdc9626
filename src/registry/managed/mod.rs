//! The private cluster: a PostgreSQL of our own, on a unix socket below the state directory, for when no URL is set.
//!
//! Several processes share it. `<state>/postgres.lock` is held while one starts or stops it; everyone who uses it holds
//! `<state>/postgres.users` shared, and the last to leave stops it. Locks go with their process, so one that was killed
//! leaves the server running and nothing else, and the next joins it.

mod binaries;
mod place;

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::error::{classify, escape};
use crate::ports::RegistryError;
use binaries::Binaries;
pub use place::private_folder_for;
use place::{Place, at};

const START: &str = "starting the private PostgreSQL";
const STOP: &str = "stopping the private PostgreSQL";

/// Who may do anything in the cluster; nobody connects so but [`ManagedCluster::ensure_database`].
const SUPERUSER: &str = "postgres";
/// Who owns the databases: no superuser, so that row-level security holds.
const OWNER: &str = "aam";
/// How long a server may take to come up; after a crash it replays its log first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Written on every start: the place of the socket may have changed. The folder's mode is the lock, so everyone who gets
/// in is trusted. `fsync` stays on: this is where everything lives that is not in git.
const SETTINGS: &str = "\
listen_addresses = ''
port = 5432
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 32MB
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
logging_collector = off
";

/// A running private cluster that this process uses.
#[derive(Debug)]
pub struct ManagedCluster {
    place: Place,
    users: File,
}

impl ManagedCluster {
    /// Starts the cluster of a state directory, or joins the running one; makes it if there is none.
    pub async fn start(state_dir: &Path) -> Result<Self, RegistryError> {
        let state_dir = state_dir.to_owned();
        let cluster = blocking(START, move || {
            let (place, _only_one) = locked(&state_dir)?;
            start_if_down(&place)?;
            let users = open(&place.state.join("postgres.users"))?;
            users.lock_shared().map_err(|e| at(&place.state, &e))?;
            Ok(Self { place, users })
        })
        .await?;
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// How to connect to one of its databases, as their owner.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        self.options_as(OWNER, database)
    }

    fn options_as(&self, user: &str, database: &str) -> PgConnectOptions {
        // Set what PG* variables of the environment may have set otherwise.
        PgConnectOptions::new_without_pgpass()
            .socket(&self.place.socket)
            .port(5432)
            .username(user)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Makes a database, and the role that owns it, if they are not there.
    pub async fn ensure_database(&self, name: &str) -> Result<(), RegistryError> {
        const WHAT: &str = "making a database in the private PostgreSQL";
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(broken(WHAT, format!("{name:?} is no database name: a-z, 0-9 and _ only")));
        }
        let work = async {
            let mut connection = self.options_as(SUPERUSER, "postgres").connect().await?;
            // Two processes may come here at once.
            sqlx::query("SELECT pg_advisory_lock(hashtextextended('aam.ensure_database', 0))")
                .execute(&mut connection)
                .await?;
            sqlx::raw_sql(
                "DO $$ BEGIN
                     IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'aam') THEN
                         CREATE ROLE aam LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
                     END IF;
                 END $$",
            )
            .execute(&mut connection)
            .await?;
            let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
            if !known {
                // `name` was checked above: nothing in it needs quoting
                let create = format!("CREATE DATABASE \"{name}\" OWNER {OWNER}");
                sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await?;
            }
            connection.close().await
        };
        work.await.map_err(|e| classify(WHAT, &e))
    }

    /// Leaves the cluster; the last user stops it. Whether it was stopped.
    pub async fn stop(self) -> Result<bool, RegistryError> {
        blocking(STOP, move || {
            let _only_one = lock(&self.place.state)?;
            drop(self.users);
            let users = open(&self.place.state.join("postgres.users"))?;
            if users.try_lock().is_err() {
                return Ok(false);
            }
            stop_if_up(&self.place)
        })
        .await
    }

    /// Whether a state directory has a cluster, running or not.
    pub fn is_made(state_dir: &Path) -> bool {
        state_dir.join("postgres/data").exists() || state_dir.join("postgres.path").exists()
    }

    /// The folder and major version of the binaries that the cluster of a state directory uses.
    pub fn binaries(state_dir: &Path) -> Result<(PathBuf, u32), RegistryError> {
        let recorded = fs::read_to_string(state_dir.join("postgres.path")).ok();
        let base = recorded.map_or_else(|| state_dir.join("postgres"), |path| PathBuf::from(path.trim()));
        let major = fs::read_to_string(base.join("data/PG_VERSION")).ok().and_then(|v| v.trim().parse().ok());
        binaries::find(major).map(|found| (found.folder, found.major))
    }

    /// Stops the cluster of a state directory whoever uses it. Whether it was running.
    pub async fn stop_running(state_dir: &Path) -> Result<bool, RegistryError> {
        let state_dir = state_dir.to_owned();
        blocking(STOP, move || {
            if !state_dir.join("postgres").exists() && !state_dir.join("postgres.path").exists() {
                return Ok(false);
            }
            let (place, _only_one) = locked(&state_dir)?;
            stop_if_up(&place)
        })
        .await
    }

    /// Stops the cluster of a state directory whoever uses it, and deletes it with everything in it.
    pub async fn remove(state_dir: &Path) -> Result<(), RegistryError> {
        Self::stop_running(state_dir).await?;
        let state_dir = state_dir.to_owned();
        blocking(STOP, move || {
            if !state_dir.join("postgres").exists() && !state_dir.join("postgres.path").exists() {
                return Ok(());
            }
            let (place, _only_one) = locked(&state_dir)?;
            for folder in [&place.socket, &place.base] {
                match fs::remove_dir_all(folder) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(at(folder, &e)),
                    _ => {}
                }
            }
            match fs::remove_file(place.state.join("postgres.path")) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(at(&place.state, &e)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn wait_until_ready(&self) -> Result<(), RegistryError> {
        let began = Instant::now();
        loop {
            let tried = async {
                let connection = self.options_as(SUPERUSER, "postgres").connect().await?;
                PgConnection::close(connection).await
            };
            match tried.await {
                Ok(()) => return Ok(()),
                Err(e) if began.elapsed() > PATIENCE => return Err(classify(START, &e)),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Runs what waits on files and processes away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| broken(what, e.to_string()))?
}

fn broken(what: &'static str, why: String) -> RegistryError {
    RegistryError::Broken { what, why }
}

fn open(path: &Path) -> Result<File, RegistryError> {
    File::options().create(true).append(true).open(path).map_err(|e| at(path, &e))
}

/// Where the cluster of a state directory lies, and the lock that keeps others from starting or stopping it meanwhile.
fn locked(state_dir: &Path) -> Result<(Place, File), RegistryError> {
    let state = place::make_state(state_dir)?;
    let lock = lock(&state)?;
    Ok((place::prepare(state)?, lock))
}

fn lock(state: &Path) -> Result<File, RegistryError> {
    let path = state.join("postgres.lock");
    let file = open(&path)?;
    file.lock().map_err(|e| at(&path, &e))?;
    Ok(file)
}

fn is_up(place: &Place) -> bool {
    UnixStream::connect(place.socket.join(".s.PGSQL.5432")).is_ok()
}

fn start_if_down(place: &Place) -> Result<(), RegistryError> {
    if is_up(place) {
        return Ok(());
    }
    let data = place.base.join("data");
    let major = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|v| v.trim().parse().ok());
    let binaries = binaries::find(major)?;
    if major.is_none() {
        initialise(place, &binaries)?;
    }
    remove_stale_pid(&data);
    let settings = format!("{SETTINGS}unix_socket_directories = '{}'\n", place.socket.display());
    for (file, text) in [("aam.conf", settings.as_str()), ("pg_hba.conf", "local all all trust\n")] {
        replace(&data.join(file), text, place)?;
    }
    let wait = PATIENCE.as_secs().to_string();
    run(place, &binaries, "pg_ctl", &["start", "-D", "data", "-l", "log", "-s", "-w", "-t", &wait], START)
}

/// Makes the data folder aside and moves it into place when it is whole.
fn initialise(place: &Place, binaries: &Binaries) -> Result<(), RegistryError> {
    let (half, data) = (place.base.join("data.new"), place.base.join("data"));
    if half.exists() {
        fs::remove_dir_all(&half).map_err(|e| at(&half, &e))?;
    }
    tracing::info!("making a private PostgreSQL {} cluster in {}", binaries.major, place.base.display());
    let arguments = ["-D", "data.new", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C"];
    run(place, binaries, "initdb", &arguments, START)?;
    let settings = half.join("postgresql.conf");
    let text = fs::read_to_string(&settings).map_err(|e| at(&settings, &e))?;
    replace(&settings, &format!("{text}\ninclude 'aam.conf'\n"), place)?;
    fs::rename(&half, &data).map_err(|e| at(&data, &e))
}

/// After a crash of the machine the file may name a process that is something else by now; PostgreSQL would then refuse
/// to start.
fn remove_stale_pid(data: &Path) {
    let file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else { return };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if Path::new("/proc/self").exists() && command.trim() != "postgres" && fs::remove_file(&file).is_ok() {
        tracing::warn!("removed {}: process {pid} is no PostgreSQL", file.display());
    }
}

fn replace(path: &Path, text: &str, place: &Place) -> Result<(), RegistryError> {
    fs::write(path, text).map_err(|e| at(path, &e))?;
    if place.user != place::ourselves() {
        std::os::unix::fs::chown(path, Some(place.user.uid), Some(place.user.gid)).map_err(|e| at(path, &e))?;
    }
    Ok(())
}

fn stop_if_up(place: &Place) -> Result<bool, RegistryError> {
    if !is_up(place) {
        return Ok(false);
    }
    let major = fs::read_to_string(place.base.join("data/PG_VERSION")).ok().and_then(|v| v.trim().parse().ok());
    let binaries = binaries::find(major)?;
    // fast: SIGINT to the server, which ends its sessions and writes everything down
    run(place, &binaries, "pg_ctl", &["stop", "-D", "data", "-m", "fast", "-s", "-w", "-t", "60"], STOP)?;
    Ok(true)
}

/// Runs one of PostgreSQL's tools in the cluster's folder as its user.
fn run(
    place: &Place,
    binaries: &Binaries,
    tool: &str,
    arguments: &[&str],
    what: &'static str,
) -> Result<(), RegistryError> {
    let mut command = Command::new(binaries.folder.join(tool));
    command
        .args(arguments)
        // PG* variables of the caller must not reach the server
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", binaries.folder.display()))
        .env("LC_ALL", "C")
        .current_dir(&place.base)
        .stdin(Stdio::null())
        // a Ctrl-C at the terminal is for us, not for the server
        .process_group(0);
    if place.user != place::ourselves() {
        command.uid(place.user.uid).gid(place.user.gid);
    }
    let output = command.output().map_err(|e| broken(what, format!("{tool}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let log = fs::read_to_string(place.base.join("log")).unwrap_or_default();
    let tail = |text: &str| text.lines().rev().take(5).map(escape).collect::<Vec<_>>();
    let mut lines = tail(&log);
    lines.reverse();
    let mut heard = tail(said.trim());
    heard.reverse();
    let log = place.base.join("log");
    Err(broken(what, format!("{tool}: {}; {} ends with: {}", heard.join(" | "), log.display(), lines.join(" | "))))
}
