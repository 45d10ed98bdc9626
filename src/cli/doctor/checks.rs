//! The checks of `aam doctor`, in the order of start-up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{TimeDelta, Utc};

use super::{Check, airbyte, forge, sources};
use crate::diag::Severity;
use crate::http::{Control, Request};
use crate::model::{RemoteInfo, TenantId};
use crate::ports::{Registry, Repo, Snapshot};
use crate::settings::Settings;
use crate::spec::{EngineKind, Input, Resolution, resolve};
use crate::wiring;
use crate::wiring::probe::{self, Answering, Below};

/// A check that takes longer than this says so instead of waiting on (10 s): a person sits in front of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks that differ by more (5 s) make schedules, leases and `looked at` times hard to believe.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// Runs every check.
pub(super) async fn all(base: &Path, settings: &Settings) -> Vec<Check> {
    let state = base.join(&settings.state.directory);
    let root = probe::root(base, settings);
    let root = match std::fs::canonicalize(&root) {
        Ok(root) => root,
        Err(error) => {
            let found = format!("{}: {error}", root.display());
            let mend = "set [repository] root to the folder that holds connectors.d, or run `aam init` there";
            return vec![Check::fail("repository", found, mend), git(base).await, state_folder(&state).await];
        }
    };
    let mut checks = vec![git(&root).await];
    let snapshot = repository(base, &root, settings, &state, &mut checks).await;
    let resolution = snapshot.as_ref().map(|snapshot| specs(snapshot, settings, &mut checks));
    checks.push(state_folder(&state).await);
    // Not closed before the end: sources and destinations may lie in the private cluster, as on the playground.
    let answering = registry(settings, &root, &state, &mut checks).await;
    checks.push(daemon(&state).await);
    checks.push(watches(base, settings).await);
    checks.extend(forge::check(settings, &root).await);
    let desired = resolution.as_ref().map(|resolution| &resolution.desired);
    let engine = match settings.engine.kind {
        EngineKind::Embedded => sources::Engine::Embedded,
        EngineKind::Airbyte => match airbyte::check(settings, &root, desired, &mut checks).await {
            Some(installation) => sources::Engine::Airbyte(Box::new(installation)),
            None => sources::Engine::Unseen,
        },
    };
    match desired {
        Some(desired) => checks.extend(sources::check_all(desired, &engine, settings, &root).await),
        None => checks.push(Check::skipped("sources and destinations", "the repository cannot be read")),
    }
    if let Some(answering) = answering
        && let Err(error) = answering.close().await
    {
        checks.push(Check::fail("registry", error.to_string(), "read the log that the message names"));
    }
    checks
}

/// The `git` program.
pub(super) async fn git(root: &Path) -> Check {
    match probe::git_version(root).await {
        Ok(version) => Check::pass("git", format!("version {version}")),
        Err(error) => {
            Check::fail("git", error.to_string(), "install git 2.38 or newer (Debian: `apt-get install git`)")
        }
    }
}

/// Who commits here, where the branch stands, and the files that act.
async fn repository(
    base: &Path,
    root: &Path,
    settings: &Settings,
    state: &Path,
    to: &mut Vec<Check>,
) -> Option<Snapshot> {
    const NAME: &str = "repository";
    // Where no state folder is yet, none is made for a look.
    let scratch = tempfile::tempdir().ok()?;
    let state = if state.is_dir() { state } else { scratch.path() };
    let opened = async {
        let repo = probe::repository(base, settings, state).await?;
        Ok::<_, crate::ports::RepoError>((repo.info().await?, repo))
    };
    let (info, repo) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            to.push(Check::fail(NAME, error.to_string(), "mend what git says, or run `aam init` in a new folder"));
            return None;
        }
    };
    if let Some(remote) = &info.remote {
        remote_checks(base, settings, state, remote, to).await;
    }
    let head = info.head.as_ref().map_or("without a commit", |head| head.short());
    let place = match &info.branch {
        Some(branch) => format!("{} at {}, branch {branch} {head}", info.kind, root.display()),
        None => format!("{} at {}", info.kind, root.display()),
    };
    to.push(match &info.blocked {
        None => Check::pass(NAME, place),
        Some(why) => {
            Check::fail(NAME, format!("{place}: {why}"), "finish or abort that; until then aam commits nothing")
        }
    });
    to.push(identity(&*repo, &info.kind).await);
    match repo.committed().await {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            to.push(Check::fail("specs", error.to_string(), "mend what git says"));
            None
        }
    }
}

/// How the remote stood when it was last looked at, and whether it would take a push.
async fn remote_checks(base: &Path, settings: &Settings, state: &Path, remote: &RemoteInfo, to: &mut Vec<Check>) {
    const MEND: &str = "mend what the message says: the address, the network, or the rights of the key or token";
    let fetched = remote
        .fetched_at
        .map_or_else(|| "never fetched".to_owned(), |at| format!("fetched {}", at.format("%Y-%m-%d %H:%M:%S")));
    let found = format!("{}, {fetched}", remote.url);
    to.push(match &remote.trouble {
        Some(trouble) => Check::fail("remote", format!("{found}: {}", trouble.why), MEND),
        None => Check::pass("remote", found),
    });
    let tried = tokio::time::timeout(PATIENCE, probe::may_push(base, settings, state)).await;
    to.push(match tried {
        Ok(Ok(Ok(()))) => Check::pass("push", "the remote would take a repair branch"),
        Ok(Ok(Err(why))) => Check::fail("push", why, "let the key or token write to branches below aam/drift/"),
        Ok(Err(error)) => Check::fail("push", error.why, MEND),
        Err(_) => Check::fail("push", format!("no answer for {} s", PATIENCE.as_secs()), MEND),
    });
}

async fn identity(repo: &dyn Repo, kind: &str) -> Check {
    const NAME: &str = "identity";
    match repo.person().await {
        Ok(person) if kind == "git" && !person.contains('@') => {
            let mend = "`git config user.name` and `user.email`: approvals and rejections carry them";
            Check::warn(NAME, format!("approvals are signed {person}, git knows no name and mail"), mend)
        }
        Ok(person) => Check::pass(NAME, format!("approvals and rejections are signed {person}")),
        Err(error) => Check::fail(NAME, error.to_string(), "`git config user.name` and `git config user.email`"),
    }
}

fn specs(snapshot: &Snapshot, settings: &Settings, to: &mut Vec<Check>) -> Resolution {
    let look = crate::spec::Schedule::Every(settings.drift.check);
    let input = Input {
        files: &snapshot.files,
        unreadable: &snapshot.unreadable,
        last_good: &BTreeMap::new(),
        engine: settings.engine.kind,
        mode_cap: settings.engine.mode,
        look,
    };
    let mut resolution = resolve(&input);
    resolution.diagnostics.extend(crate::mapping::check(&resolution.desired));
    let errors = resolution.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let files = snapshot.files.len() + snapshot.unreadable.len();
    let found =
        format!("{files} committed files, {} connections, {errors} errors", resolution.desired.connections.len());
    to.push(match (errors, files) {
        (0, 0) => Check::warn("specs", found, "`aam init` writes examples; commit a connection to begin"),
        (0, _) => Check::pass("specs", found),
        _ => Check::fail("specs", found, "`aam check` shows each with its line; commit the correction"),
    });
    resolution
}

async fn state_folder(state: &Path) -> Check {
    const NAME: &str = "state folder";
    let shown = state.display();
    if !state.exists() {
        return Check::skipped(NAME, format!("{shown} is not made yet; the first command makes it"));
    }
    if let Err(error) = tempfile::Builder::new().prefix(".doctor").tempfile_in(state) {
        let mend = "give the user that runs aam the right to write there, or set [state] directory to another folder";
        return Check::fail(NAME, format!("{shown}: {error}"), mend);
    }
    let ignore = "add the folder to .gitignore: it holds caches and the private database";
    match probe::folder_in_git(state).await {
        Ok(Below::Tracked(files)) => {
            let mend = "`git rm -r --cached` it and add it to .gitignore: it holds caches and the private database";
            Check::fail(NAME, format!("{files} files below {shown} are committed"), mend)
        }
        Ok(Below::Open) => Check::warn(NAME, format!("git does not ignore {shown}"), ignore),
        Ok(Below::Ignored | Below::Outside) | Err(_) => Check::pass(NAME, format!("{shown} can be written")),
    }
}

/// The database, its clock and its audit log; for a private cluster also the binaries. What answered, still open.
async fn registry(settings: &Settings, root: &Path, state: &Path, to: &mut Vec<Check>) -> Option<Answering> {
    const NAME: &str = "registry";
    match settings.registry.url {
        Some(_) => to.push(Check::skipped("PostgreSQL binaries", "[registry] url names a database")),
        None => to.push(match probe::binaries(state) {
            Ok((folder, major)) => Check::pass("PostgreSQL binaries", format!("{major} in {}", folder.display())),
            Err(error) => Check::fail("PostgreSQL binaries", error.to_string(), "install what the message names"),
        }),
    }
    // Longer than the cluster's own patience with a server that replays its log.
    let asked = tokio::time::timeout(Duration::from_secs(90), probe::registry(settings, root, state)).await;
    let answering = match asked {
        Ok(Ok(Some(answering))) => answering,
        Ok(Ok(None)) => {
            to.push(Check::skipped(NAME, "the private cluster is not made yet; the first command makes it"));
            skip_rest("there is no registry yet", to);
            return None;
        }
        Ok(Err(error)) => {
            let mend = match settings.registry.url {
                Some(_) => "start that database, or correct [registry] url and the secrets in it",
                None => "read the log that the message names; a full disk and a changed owner are the usual causes",
            };
            to.push(Check::fail(NAME, format!("{error:#}"), mend));
            skip_rest("the registry does not answer", to);
            return None;
        }
        Err(_) => {
            to.push(Check::fail(
                NAME,
                "no answer for 90 s",
                "see whether the database is overloaded or replays its log",
            ));
            skip_rest("the registry does not answer", to);
            return None;
        }
    };
    let facts = &answering.facts;
    let found = format!("PostgreSQL {}, schema version {} of {}", facts.server, facts.schema, facts.newest);
    to.push(match facts.schema.cmp(&facts.newest) {
        std::cmp::Ordering::Greater => Check::fail(NAME, found, "run an aam that is as new as the database"),
        std::cmp::Ordering::Less => Check::warn(NAME, found, "the next command or `aam run` migrates it"),
        std::cmp::Ordering::Equal => Check::pass(NAME, found),
    });
    to.push(if facts.bypasses_rls {
        let mend = "use a role with NOSUPERUSER NOBYPASSRLS, so that the database itself keeps tenants apart";
        Check::warn("row-level security", "the role is exempt from it", mend)
    } else {
        Check::pass("row-level security", "holds for the role")
    });
    let ahead = Utc::now() - facts.now;
    to.push(if ahead.abs() > CLOCK_SKEW {
        let found = format!("this machine is {} s ahead of the database", ahead.num_seconds());
        Check::fail("clock", found, "set both by NTP: schedules and leases count on one time")
    } else {
        Check::pass("clock", "agrees with the database's")
    });
    match &answering.registry {
        Some(registry) => to.push(audit(&**registry).await),
        None => to.push(Check::skipped("audit log", "the schema is of another version")),
    }
    Some(answering)
}

fn skip_rest(why: &str, to: &mut Vec<Check>) {
    to.extend(["row-level security", "clock", "audit log"].map(|name| Check::skipped(name, why)));
}

async fn audit(registry: &dyn Registry) -> Check {
    const NAME: &str = "audit log";
    let verify = async {
        let rows = registry.connections().await?;
        let mut tenants: BTreeSet<TenantId> = rows.into_iter().map(|row| row.name.tenant).collect();
        tenants.insert(TenantId::default());
        for tenant in &tenants {
            if let Some(position) = registry.verify_audit(tenant).await? {
                return Ok(Err((tenant.clone(), position)));
            }
        }
        Ok::<_, crate::ports::RegistryError>(Ok(tenants.len()))
    };
    match verify.await {
        Ok(Ok(tenants)) => Check::pass(NAME, format!("every line fits its hash, in {tenants} tenants")),
        Ok(Err((tenant, position))) => {
            let found = format!("line {position} of tenant {tenant} does not fit its hash: it was changed");
            Check::fail(
                NAME,
                found,
                "compare with a backup of the database; who can write to audit_log outside of aam?",
            )
        }
        Err(error) => Check::fail(NAME, error.to_string(), "see the check of the registry"),
    }
}

async fn daemon(state: &Path) -> Check {
    const NAME: &str = "daemon";
    let socket = wiring::control_socket(&std::fs::canonicalize(state).unwrap_or_else(|_| state.to_owned()));
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => {
            return Check::fail(NAME, error.to_string(), "remove it, or use a state folder that is less deep");
        }
    };
    let control = match Control::find(&socket) {
        Ok(Some(control)) => control,
        Ok(None) => return Check::skipped(NAME, "none runs; `aam run` starts one, commands work without"),
        Err(error) => return Check::fail(NAME, format!("{:#}", anyhow::Error::from(error)), "restart the daemon"),
    };
    match tokio::time::timeout(PATIENCE, control.ask(&Request::Status)).await {
        Ok(Ok(answer)) => Check::pass(NAME, format!("runs, with {} connections", answer.report.connections.len())),
        Ok(Err(error)) => {
            let found = format!("{:#}", anyhow::Error::from(error));
            Check::fail(NAME, found, "read its log; restart it if it does not recover")
        }
        Err(_) => {
            let found = format!("does not answer on {} within {} s", socket.display(), PATIENCE.as_secs());
            Check::warn(NAME, found, "it may be in a long turn; read its log")
        }
    }
}

async fn watches(base: &Path, settings: &Settings) -> Check {
    const NAME: &str = "file watches";
    let folders: Vec<PathBuf> = match wiring::watch_paths(base, settings).await {
        Ok(paths) => {
            let specs = probe::spec_folders().map(|name| paths.root.join(name));
            let refs = paths.git_common_dir.map(|dir| dir.join("refs/heads"));
            specs.chain(refs).filter(|dir| dir.is_dir()).collect()
        }
        Err(error) => return Check::skipped(NAME, format!("{error:#}")),
    };
    let limit = |name: &str| std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
    let (watches, instances) = (limit("max_user_watches"), limit("max_user_instances"));
    let limits = match (watches.trim(), instances.trim()) {
        ("", _) | (_, "") => String::new(),
        (watches, instances) => format!(" (limits: {watches} watches, {instances} instances per user)"),
    };
    match probe::watch(&folders) {
        Ok(()) => Check::pass(NAME, format!("{} folders can be watched{limits}", folders.len())),
        Err(why) => {
            let mend = "`sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512`; \
                        until then the daemon looks at the files by [daemon] rescan";
            Check::fail(NAME, format!("{why}{limits}"), mend)
        }
    }
}
