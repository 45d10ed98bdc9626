//! Makes a playground. Each part is there already or is made whole, so that a run that was cut off can be taken up.

use std::path::Path;

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection};

use super::super::init::{GITATTRIBUTES, GITIGNORE, git, write_new};
use super::super::{Context, Exit};
use super::{MAKING, READY, mark, marker, state};
use crate::wiring::sample::{SampleCluster, close};

/// What is written. `@SOCKET@` and `@EXPORTS@` become the folders of this playground.
const FILES: &[(&str, &str)] = &[
    ("config/aam.toml", include_str!("../../../playground/aam.toml")),
    ("connectors.d/crm.yaml", include_str!("../../../playground/crm.yaml")),
    ("connectors.d/exports.yaml", include_str!("../../../playground/exports.yaml")),
    ("connectors.d/warehouse.yaml", include_str!("../../../playground/warehouse.yaml")),
    ("mappings/crm.yaml", include_str!("../../../mappings/crm.yaml")),
    ("mappings/exports.yaml", include_str!("../../../mappings/exports.yaml")),
    ("mappings/entities/account.yaml", include_str!("../../../mappings/entities/account.yaml")),
    ("mappings/entities/contact.yaml", include_str!("../../../mappings/entities/contact.yaml")),
    ("mappings/entities/opportunity.yaml", include_str!("../../../mappings/entities/opportunity.yaml")),
    (".gitattributes", GITATTRIBUTES),
    (".gitignore", GITIGNORE),
    ("exports/contacts.csv", include_str!("../../../playground/contacts.csv")),
    ("exports/tickets.ndjson", include_str!("../../../playground/tickets.ndjson")),
];

/// The tables of the sample CRM and their rows.
const CRM: &str = include_str!("../../../playground/crm.sql");

/// Runs `aam playground init`.
pub(super) async fn init(dir: &Path, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    match mark(dir)? {
        Some(mark) if mark == READY => {
            context.out.say(&format!("= the playground {} is there already; nothing was changed", dir.display()));
            return Ok(Exit::InSync);
        }
        None if !is_free(dir)? => bail!("{} is not empty and is no playground: nothing was touched", dir.display()),
        _ => {}
    }
    if dry_run {
        FILES.iter().for_each(|(path, _)| context.out.say(&format!("+ {path}")));
        context.out.say("+ a git repository\n+ the databases crm and warehouse\nnothing was written");
        return Ok(Exit::InSync);
    }
    let state = state(dir);
    std::fs::create_dir_all(&state).with_context(|| format!("making {}", state.display()))?;
    let dir = &std::fs::canonicalize(dir)?;
    note(dir, MAKING)?;
    let cluster = SampleCluster::start(&self::state(dir)).await?;
    let made = make(dir, &cluster, context).await;
    cluster.stop().await?;
    made?;
    note(dir, READY)?;
    context.out.say(&format!("= the playground {} is ready", dir.display()));
    Ok(Exit::InSync)
}

fn note(dir: &Path, mark: &str) -> anyhow::Result<()> {
    let file = marker(dir);
    std::fs::write(&file, mark).with_context(|| format!("writing {}", file.display()))
}

/// Whether nothing is there, or an empty folder.
fn is_free(dir: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("opening {}", dir.display())),
    }
}

async fn make(dir: &Path, cluster: &SampleCluster, context: &Context) -> anyhow::Result<()> {
    load(cluster).await?;
    context.out.say("+ the databases crm and warehouse");
    let socket = quoted(&cluster.socket()?)?;
    let exports = quoted(&dir.join("exports"))?;
    for (path, text) in FILES {
        let text = text.replace("@SOCKET@", &socket).replace("@EXPORTS@", &exports);
        if write_new(&dir.join(path), &text)? {
            context.out.say(&format!("+ {path}"));
        }
    }
    if !dir.join(".git").exists() {
        git(dir, &["init", "--quiet", "--initial-branch=main"])?;
    }
    if git(dir, &["rev-parse", "--quiet", "--verify", "HEAD"]).is_err() {
        for (key, value) in [("user.name", "Playground Person"), ("user.email", "person@example.com")] {
            if git(dir, &["config", key]).is_err() {
                git(dir, &["config", "--local", key, value])?;
            }
        }
        git(dir, &["add", "--all"])?;
        let message = "--message=playground: a sample CRM, exports and a warehouse";
        git(dir, &["-c", "commit.gpgsign=false", "commit", "--quiet", message])?;
        context.out.say("+ a git repository, branch main, with the first commit");
    }
    Ok(())
}

/// The databases; the sample is loaded whole or not at all.
async fn load(cluster: &SampleCluster) -> anyhow::Result<()> {
    close(cluster.connect("warehouse").await?).await;
    let mut crm = cluster.connect("crm").await?;
    let loaded = async {
        let mut all = crm.begin().await?;
        let empty: bool =
            sqlx::query_scalar("SELECT to_regclass('public.accounts') IS NULL").fetch_one(&mut *all).await?;
        if empty {
            sqlx::raw_sql(AssertSqlSafe(CRM)).execute(&mut *all).await?;
        }
        all.commit().await
    };
    let loaded = loaded.await;
    close(crm).await;
    loaded.context("loading the sample CRM")
}

/// A path as a YAML text, whatever is in it.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8: choose another folder", path.display()))?;
    Ok(serde_json::to_string(text)?)
}
