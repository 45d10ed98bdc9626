//! `aam lock`: extends a lock for an edit of its spec, or makes it whole again after a merge by hand.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;

use super::{Context, Exit, Format, act};
use crate::diag::escape_lines;
use crate::diag::render::{Summary, Theme, json as json_of, terminal};
use crate::model::ConnectionRef;
use crate::spec::lock::seal;
use crate::spec::names::{lock_path, spec_path};
use crate::wiring::{self, App};

/// Extend a lock for an edit of its spec
///
/// Streams and fields that the spec newly names come from the source, those that it no longer names go; all else stays as it
/// was approved. The daemon does the same when an edit is committed; with this, spec and lock go into one commit. A
/// connection without a lock gets its first.
#[derive(Debug, Args)]
pub struct Lock {
    /// The connections: `crm`, or `acme/billing` below a tenant
    #[arg(required = true, value_name = "CONNECTION")]
    connections: Vec<ConnectionRef>,
    /// Take the source as it was last seen, instead of looking at it
    #[arg(long)]
    offline: bool,
    /// Only write the fingerprint that belongs to the body as it stands
    ///
    /// After a merge by hand the body of a lock and its fingerprint may differ; `aam check` then refuses it. Look at the
    /// body first: sealing it says that this is the approved schema.
    #[arg(long, conflicts_with = "offline")]
    seal: bool,
    /// Say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs `aam lock`.
pub async fn run(args: &Lock, context: &Context) -> anyhow::Result<Exit> {
    if args.seal {
        return seal_all(args, context);
    }
    wiring::with_app(&context.root, context.config.as_deref(), async |app| extend(args, app, context).await).await
}

async fn extend(args: &Lock, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let root = context.root.join(&app.settings.repository.root);
    let gathered = app.reconciler.gather(None).await?;
    let mut text = String::new();
    let mut values = Vec::new();
    for name in &args.connections {
        let lock = app.reconciler.relock(&gathered, name, args.offline).await?;
        let changes = crate::drift::compare(&lock.from, &lock.to);
        let diff = crate::drift::render_diff(&lock.from, &lock.to, ("lock", "lock for the spec"));
        let writes = lock.after.filter(|after| lock.before.as_ref() != Some(after));
        if let (Some(after), false) = (&writes, args.dry_run) {
            replace(&root.join(lock.path.as_str()), after).with_context(|| format!("writing {}", lock.path))?;
        }
        context.out.say(&match (&writes, args.dry_run) {
            (None, _) => format!("= {}  holds what the spec selects already", lock.path),
            (Some(_), true) => format!("~ {}  would be written", lock.path),
            (Some(_), false) => format!("~ {}  written; commit it with the spec", lock.path),
        });
        text.push_str(&escape_lines(&diff));
        let written = writes.is_some() && !args.dry_run;
        values
            .push(json!({"connection": name, "path": lock.path, "written": written, "changes": changes, "diff": diff}));
    }
    act::print(context, &values, &text)?;
    Ok(Exit::InSync)
}

fn seal_all(args: &Lock, context: &Context) -> anyhow::Result<Exit> {
    let root = wiring::config_root(&context.root, context.config.as_deref())?;
    let mut exit = Exit::InSync;
    for name in &args.connections {
        let path = lock_path(&spec_path(name));
        let file = root.join(path.as_str());
        let before = std::fs::read_to_string(&file).with_context(|| format!("reading {path}"))?;
        match seal(path.as_str(), &before) {
            Ok(after) if after == before => context.out.say(&format!("= {path}  whole already")),
            Ok(after) => {
                if !args.dry_run {
                    replace(&file, &after).with_context(|| format!("writing {path}"))?;
                }
                let would = if args.dry_run { "would be sealed" } else { "sealed; commit it" };
                context.out.say(&format!("~ {path}  {would}"));
            }
            Err(problems) => {
                match context.out.format {
                    Format::Human => context.out.data(&terminal(&problems, Theme::COLOR)),
                    Format::Json => context.out.data(&json_of(&problems, Summary::of(&problems, 1))),
                }
                exit = exit.and(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

/// Old content or new content, never half of it: a file beside it, flushed, then renamed over. The mode is kept.
pub(super) fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().ok_or_else(|| anyhow!("the file has no folder"))?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    let mode = match std::fs::metadata(file) {
        Ok(old) => old.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    new.as_file().set_permissions(mode)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(std::fs::File::open(folder)?.sync_all()?)
}
