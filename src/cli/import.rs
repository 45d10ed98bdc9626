//! `aam import airbyte`: what Airbyte holds as specs and locks, and the proof that they say just that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{Context, Exit, act};
use crate::diag::{Severity, escape};
use crate::model::{RepoPath, TenantId};
use crate::ports::{EngineConnection, EngineId, ObjectKind};
use crate::spec::{Connection, EngineKind, Input, Mode, Resolution, Schedule, resolve};
use crate::wiring;
use crate::wiring::import::{Files, LeftOut, Looker, draft, put_new};

/// Where the references are listed that a person has to fill.
const TODO: &str = "import/secrets.todo.yaml";

/// Write specs and locks of what an installation holds already
#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    Airbyte(Airbyte),
}

/// Write a spec and a lock for each connection of Airbyte
///
/// Nothing is written to Airbyte, and no connector runs. Every spec has `mode: observe`. A file that is there is never
/// overwritten: stopped, the command goes on where it was when it is called again. It ends with a proof: the plan of each
/// connection is empty, else the exit code is 1.
#[derive(Debug, Args)]
struct Airbyte {
    /// Import this workspace as this tenant; may be given several times
    ///
    /// Without it the workspaces of [airbyte.workspaces], or the only one as the tenant `default`.
    #[arg(long = "workspace", value_name = "ID=TENANT", value_parser = workspace)]
    workspaces: Vec<(Uuid, String)>,
    /// Say what would be written and prove it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

fn workspace(text: &str) -> Result<(Uuid, String), String> {
    let (id, tenant) = text.split_once('=').ok_or("expected ID=TENANT")?;
    let id = id.parse().map_err(|_| format!("{id} is no id of a workspace"))?;
    let tenant = TenantId::new(tenant).map_err(|e| e.to_string())?;
    Ok((id, tenant.as_str().to_owned()))
}

/// Runs `aam import`.
pub async fn run(args: &Import, context: &Context) -> anyhow::Result<Exit> {
    let From::Airbyte(args) = &args.from;
    let settings = wiring::settings(&context.root, context.config.as_deref())?;
    if settings.engine.kind != EngineKind::Airbyte {
        bail!("the engine is not Airbyte: set `kind = \"airbyte\"` below [engine] in config/aam.toml");
    }
    let mut workspaces = BTreeMap::new();
    for (id, tenant) in &args.workspaces {
        let double = workspaces.values().any(|known| known == id) || workspaces.insert(tenant.clone(), *id).is_some();
        if double {
            bail!("one tenant, one workspace: {id}={tenant} is given beside another");
        }
    }
    let root = context.root.join(&settings.repository.root);
    let looker = Looker::open(&settings, &root, &workspaces)?;
    let found = looker.holdings().await?;
    let files = files(&root)?;

    let mut job = Job { looker, import: draft(&found, &files), differing: BTreeMap::new() };
    job.prove_before(&files);
    let todo = job.todo(&files_text(&root));
    if !args.dry_run {
        job.write(&root, todo.as_deref())?;
        job.prove_after(&self::files(&root)?);
    }
    job.report(args.dry_run, context)?;
    let unset: Vec<_> =
        workspaces.iter().filter(|(tenant, id)| settings.airbyte.workspaces.get(*tenant) != Some(*id)).collect();
    if !unset.is_empty() {
        let lines: Vec<_> = unset.iter().map(|(tenant, id)| format!("{tenant} = \"{id}\"")).collect();
        context.out.say(&format!("Next: in config/aam.toml, below [airbyte.workspaces]: {}", lines.join(", ")));
    }
    Ok(if job.differing.is_empty() && job.import.left_out.is_empty() { Exit::InSync } else { Exit::Failed })
}

fn files(root: &Path) -> anyhow::Result<Files> {
    let read = wiring::read_worktree(root);
    Ok(read.with_context(|| format!("reading the configuration repository {}", root.display()))?.files)
}

/// The list of references as it stands.
fn files_text(root: &Path) -> Option<String> {
    std::fs::read_to_string(root.join(TODO)).ok()
}

/// An import on its way.
struct Job {
    looker: Looker,
    import: wiring::import::Import,
    /// What a plan would write, by spec.
    differing: BTreeMap<String, Vec<String>>,
}

impl Job {
    /// Resolves the files and compares what they say with what is live. What stands against each connection, by its id.
    fn prove(&self, files: &Files) -> BTreeMap<RepoPath, Vec<String>> {
        let input = Input {
            files,
            unreadable: &BTreeMap::new(),
            last_good: &BTreeMap::new(),
            engine: EngineKind::Airbyte,
            mode_cap: Mode::Manage,
            look: Schedule::Every(Duration::from_secs(24 * 3600)),
        };
        let Resolution { desired, diagnostics, .. } = resolve(&input);
        let connections: BTreeMap<&RepoPath, &Connection> =
            desired.connections.values().map(|c| (&c.path, c)).collect();
        let mut against = BTreeMap::new();
        let new = self.import.connections.iter().map(|c| {
            let of = [&c.path, &c.lock_path, &c.ends[0], &c.ends[1]].map(RepoPath::as_str);
            (&c.path, of.to_vec(), &c.live, true)
        });
        let there = self.import.there.iter().map(|(path, live)| (path, vec![path.as_str()], live, false));
        for (path, of, live, is_new) in new.chain(there) {
            let found = match connections.get(path) {
                // what a person has changed since is for `aam plan` to say
                Some(connection) if !is_new && connection.mode != Mode::Observe => continue,
                Some(connection) => self.unlike(connection, live),
                None => {
                    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error);
                    let errors = errors.filter(|d| d.place.as_ref().is_some_and(|p| of.contains(&p.file.as_str())));
                    let mut said: Vec<String> = errors.map(|d| format!("{} {}", d.code, d.message)).collect();
                    if said.is_empty() {
                        said.push("`aam check` refuses it".to_owned());
                    }
                    said
                }
            };
            if !found.is_empty() {
                against.insert(path.clone(), found);
            }
        }
        against
    }

    fn unlike(&self, connection: &Connection, live: &EngineConnection) -> Vec<String> {
        let end = |kind, id: &EngineId| self.import.ends.get(&(kind, id.clone()));
        let source = end(ObjectKind::Source, &live.is.source);
        let Some((source, destination)) = source.zip(end(ObjectKind::Destination, &live.is.destination)) else {
            return vec!["its source or its destination is gone".to_owned()];
        };
        let against = self.looker.unlike(connection, live, [source, destination]);
        against.unwrap_or_else(|error| vec![error.to_string()])
    }

    /// The proof in memory: what a spec cannot say as it is, is not written.
    fn prove_before(&mut self, files: &Files) {
        let mut all = files.clone();
        let mut add = |path: &RepoPath, text: &str| {
            all.entry(path.clone()).or_insert_with(|| Arc::from(text.as_bytes()));
        };
        for end in &self.import.endpoints {
            add(&end.path, &end.text);
        }
        for connection in &self.import.connections {
            add(&connection.path, &connection.spec);
            add(&connection.lock_path, &connection.lock);
        }
        let against = self.prove(&all);
        let import = &mut self.import;
        import.connections.retain(|connection| {
            let Some(why) = against.get(&connection.path) else { return true };
            import.left_out.push(LeftOut {
                display: connection.display.clone(),
                id: connection.live.id.0.clone(),
                why: why.join("; "),
            });
            false
        });
        let used: BTreeSet<&RepoPath> = import.connections.iter().flat_map(|c| &c.ends).collect();
        import.endpoints.retain(|end| used.contains(&end.path));
        self.differing = self.of_there(against);
    }

    fn of_there(&self, against: BTreeMap<RepoPath, Vec<String>>) -> BTreeMap<String, Vec<String>> {
        let there = against.into_iter().filter(|(path, _)| self.import.there.contains_key(path));
        there.map(|(path, why)| (path.to_string(), why)).collect()
    }

    /// The proof of what lies on the disk.
    fn prove_after(&mut self, files: &Files) {
        self.differing = self.prove(files).into_iter().map(|(path, why)| (path.to_string(), why)).collect();
    }

    /// The list of references with those that it lacks, unless it has all. It holds no value.
    fn todo(&self, before: &Option<String>) -> Option<String> {
        let mut text = before.clone().unwrap_or_else(|| {
            "# What the imported sources and destinations refer to. This file holds no secret, and aam does not read it.\n\
             # Give each variable to `aam run` (systemd: EnvironmentFile=), or write ${file:/path} or ${credential:NAME} into the\n\
             # spec instead. With `mode: observe` none is needed; with `mode: manage` all of a connection are.\n"
                .to_owned()
        });
        let mut added = before.is_none();
        let mut any = false;
        for end in &self.import.endpoints {
            for secret in &end.secrets {
                any = true;
                let line = format!("{}:\n", secret.variable);
                if before.as_ref().is_some_and(|text| text.contains(&line)) {
                    continue;
                }
                added = true;
                let at = crate::spec::lock::scalar(&secret.at, false);
                text.push_str(&format!("{line}  used_in: {}\n  at: {at}\n", end.path));
                if secret.shown {
                    text.push_str("  # Airbyte shows this one: its name alone says that it is secret\n");
                }
            }
        }
        (any && added).then_some(text)
    }

    /// Ends before connections, a lock before its spec: stopped anywhere, what is there makes sense.
    fn write(&self, root: &Path, todo: Option<&str>) -> anyhow::Result<()> {
        let put = |path: &RepoPath, text: &str| {
            put_new(root, path, text).map(drop).with_context(|| format!("writing {path}"))
        };
        if let Some(text) = todo {
            let path = RepoPath::new(TODO)?;
            if !put_new(root, &path, text).with_context(|| format!("writing {path}"))? {
                super::lock::replace(&root.join(TODO), text).with_context(|| format!("writing {path}"))?;
            }
        }
        for end in &self.import.endpoints {
            put(&end.path, &end.text)?;
        }
        for connection in &self.import.connections {
            put(&connection.lock_path, &connection.lock)?;
            put(&connection.path, &connection.spec)?;
        }
        Ok(())
    }

    fn report(&self, dry_run: bool, context: &Context) -> anyhow::Result<()> {
        let import = &self.import;
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let ends = |kind| import.endpoints.iter().filter(|end| end.kind == kind).count();
        let secrets: usize = import.endpoints.iter().map(|end| end.secrets.len()).sum();
        let mut text = String::new();
        for connection in &import.connections {
            text.push_str(&format!("+ {}  {}\n", connection.path, escape(&connection.display)));
        }
        for left in &import.left_out {
            text.push_str(&format!("! {}  {}: not imported: {}\n", left.id, escape(&left.display), escape(&left.why)));
        }
        for (path, why) in &self.differing {
            text.push_str(&format!("! {path}  its plan is not empty: {}\n", escape(&why.join("; "))));
        }
        let value = json!({
            "written": !dry_run,
            "connections": import.connections.iter().map(|c| json!({"name": c.name, "display": c.display, "id": c.live.id, "path": c.path, "lock": c.lock_path})).collect::<Vec<_>>(),
            "endpoints": import.endpoints.iter().map(|e| json!({"kind": e.kind, "path": e.path})).collect::<Vec<_>>(),
            "secrets": import.endpoints.iter().flat_map(|e| &e.secrets).map(|s| &s.variable).collect::<Vec<_>>(),
            "there": import.there.keys().collect::<Vec<_>>(),
            "left_out": import.left_out.iter().map(|l| json!({"display": l.display, "id": l.id, "why": l.why})).collect::<Vec<_>>(),
            "differing": self.differing,
        });
        act::print(context, &value, &text)?;
        let would = if dry_run { " would be written" } else { " written" };
        context.out.say(&format!(
            "Import: {}, {}, {}{would}; {} there already, {} left out",
            count(import.connections.len(), "connection"),
            count(ends(ObjectKind::Source), "source"),
            count(ends(ObjectKind::Destination), "destination"),
            import.there.len(),
            import.left_out.len(),
        ));
        let proved = import.connections.len() + import.there.len() - self.differing.len();
        context.out.say(&format!(
            "Proof: the plans of {} are empty, of {} not; nothing was written to Airbyte",
            count(proved, "connection"),
            self.differing.len()
        ));
        if dry_run {
            context.out.say("nothing was written");
            return Ok(());
        }
        if secrets > 0 {
            context.out.say(&format!(
                "Next: {} has {} to set before a connection is managed",
                TODO,
                count(secrets, "secret")
            ));
        }
        if !import.connections.is_empty() {
            context.out.say("Next: `git add connectors.d import`, `aam check`, commit, and `aam run`: it observes and writes nothing");
        }
        Ok(())
    }
}
