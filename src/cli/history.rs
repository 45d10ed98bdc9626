//! `aam history`, `aam diff`: catalog versions, what happened, and what changed between two.

use anyhow::Context as _;
use chrono::SecondsFormat;
use clap::Args;
use serde_json::json;

use super::{Context, Exit, act};
use crate::diag::{escape, escape_lines};
use crate::drift::Change;
use crate::model::Catalog;
use crate::ports::CatalogVersion;
use crate::wiring::{self, App};

/// Show a connection's catalog versions and everything that happened to it
#[derive(Debug, Args)]
pub struct History {
    /// The connection
    connection: String,
    /// At most so many lines of what happened, the newest
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Recompute the audit log's hash chain and fail if a line was changed
    #[arg(long)]
    verify: bool,
}

/// So many changes of a version are told.
const CHANGES: usize = 12;

/// A version as machines see it.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    version: &'a CatalogVersion,
    /// What it changed.
    changes: Vec<Change>,
}

/// Runs `aam history`.
pub async fn run(args: &History, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| history(args, app, context).await).await
}

async fn history(args: &History, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let row = act::connection(app, &args.connection).await?;
    let versions = app.registry().versions(row.id).await?;
    let mut audit = app.registry().audit_log(&row.name.tenant, Some(row.id), args.limit).await?;
    let broken = if args.verify { app.registry().verify_audit(&row.name.tenant).await? } else { None };
    audit.reverse();
    let mut text = format!("Versions of {}\n", row.name);
    let mut told = Vec::with_capacity(versions.len());
    let mut before: Option<Catalog> = None;
    for version in &versions {
        let commit = version.commit.as_ref().map(|c| format!(", commit {}", c.short())).unwrap_or_default();
        let at = version.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        text.push_str(&format!(
            "  {:>3}  {}  {at}  by {}{commit}\n",
            version.version,
            version.fingerprint.short(),
            escape(&version.approved_by)
        ));
        let catalog = Catalog::from_body(&version.body).ok();
        let changes = match (&before, &catalog) {
            (Some(before), Some(catalog)) => crate::drift::compare(before, catalog),
            _ => Vec::new(),
        };
        for change in changes.iter().take(CHANGES) {
            text.push_str(&format!("         {}\n", escape(&crate::drift::say(change))));
        }
        if changes.len() > CHANGES {
            let (more, n) = (changes.len() - CHANGES, version.version);
            text.push_str(&format!("         … and {more} more: `aam diff {} {} {n}`\n", row.name, n - 1));
        }
        before = catalog;
        told.push(Told { version, changes });
    }
    text.push_str("Events\n");
    for entry in &audit {
        let at = entry.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        text.push_str(&format!("  {at}  {}  {} [{}]\n", entry.action, escape(&entry.summary), escape(&entry.actor)));
    }
    act::print(context, &json!({"versions": told, "audit": audit, "broken_at": broken}), &text)?;
    if let Some(position) = broken {
        context.out.say(&format!("error: the audit log was changed: line {position} does not fit its hash"));
        return Ok(Exit::Failed);
    }
    if args.verify {
        context.out.say("audit log: every line fits its hash");
    }
    Ok(Exit::InSync)
}

/// Show what changed between two catalog versions
///
/// Without versions: between the newest and the source as last seen.
#[derive(Debug, Args)]
pub struct Diff {
    /// The connection
    connection: String,
    /// The older version; without it, the newest
    from: Option<u32>,
    /// The newer version; without it, the source as last seen
    to: Option<u32>,
}

/// Runs `aam diff`.
pub async fn run_diff(args: &Diff, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| diff(args, app, context).await).await
}

async fn diff(args: &Diff, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let row = act::connection(app, &args.connection).await?;
    let versions = app.registry().versions(row.id).await?;
    let version = |wanted: u32| -> anyhow::Result<(Catalog, String)> {
        let known = || format!("connection {} has versions 1 to {}", row.name, versions.len());
        let found = versions.iter().find(|v| v.version == wanted).with_context(known)?;
        Ok((Catalog::from_body(&found.body)?, format!("version {wanted}")))
    };
    let from = version(args.from.unwrap_or(row.version))?;
    let to = match args.to {
        Some(to) => version(to)?,
        None => {
            let gathered = app.reconciler.gather(None).await?;
            let seen = app.reconciler.seen(&gathered, row.id).await?;
            let seen =
                seen.with_context(|| format!("the source of {} was not seen yet; `aam apply --look` looks", row.name))?;
            (seen, "source as last seen".to_owned())
        }
    };
    let diff = crate::drift::render_diff(&from.0, &to.0, (&from.1, &to.1));
    let changes = crate::drift::compare(&from.0, &to.0);
    act::print(context, &json!({"from": from.1, "to": to.1, "changes": changes, "diff": diff}), &escape_lines(&diff))?;
    if changes.is_empty() {
        context.out.say(&format!("{} and {} are the same", from.1, to.1));
    }
    Ok(Exit::InSync)
}
