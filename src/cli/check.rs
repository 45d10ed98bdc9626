//! `aam check`: everything that can be known without network, database or secret.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{Context, Exit, Format};
use crate::diag::render::{Summary, Theme, json, terminal};
use crate::diag::{Diagnostic, Severity};
use crate::spec::{Desired, Input, Mode, Resolution, Schedule, resolve};
use crate::wiring;

/// Check all specs, locks and mappings as they lie in the work tree
///
/// Needs no network, database or secret. Exit code 0: usable (warnings may remain), 1: not.
#[derive(Debug, Args)]
pub struct Check {}

/// Runs `aam check`.
pub fn run(_: &Check, context: &Context) -> anyhow::Result<Exit> {
    let settings = wiring::settings(&context.root, context.config.as_deref())?;
    let root = context.root.join(&settings.repository.root);
    let snapshot = wiring::read_worktree(&root)
        .with_context(|| format!("reading the configuration repository {}", root.display()))?;
    let files = snapshot.files.len() + snapshot.unreadable.len();
    let input = Input {
        files: &snapshot.files,
        unreadable: &snapshot.unreadable,
        last_good: &BTreeMap::new(),
        engine: settings.engine.kind,
        mode_cap: Mode::Manage,
        look: Schedule::Every(Duration::from_secs(900)),
    };
    let Resolution { desired, mut diagnostics, .. } = resolve(&input);
    diagnostics.extend(crate::mapping::check(&desired));
    diagnostics.sort();
    report(&diagnostics, Summary::of(&diagnostics, files), &desired, context);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    Ok(if failed { Exit::Failed } else { Exit::InSync })
}

fn report(diagnostics: &[Diagnostic], summary: Summary, desired: &Desired, context: &Context) {
    match context.out.format {
        Format::Json => context.out.data(&json(diagnostics, summary)),
        Format::Human => context.out.data(&terminal(diagnostics, Theme::COLOR)),
    }
    if summary.files == 0 {
        context.out.say(&format!("Check: no files below {}; `aam init` begins a repository", context.root.display()));
        return;
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    context.out.say(&format!(
        "Check: {}, {}, {}, {}",
        count(summary.files, "file"),
        count(desired.connections.len(), "connection"),
        count(summary.errors, "error"),
        count(summary.warnings, "warning"),
    ));
}
