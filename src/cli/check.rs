//! `aam check`: everything that can be known without network, database or secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{Context, Exit, Format};
use crate::diag::render::{Summary, Theme, json, terminal};
use crate::diag::{Diagnostic, Place, Severity, quoted};
use crate::model::RepoPath;
use crate::spec::{ConfigValue, Desired, Input, Mode, Resolution, Schedule, ended_pins, names, resolve};
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
    diagnostics.extend(ended_pins(&desired, chrono::Utc::now()));
    diagnostics.extend(misplaced_manifests(&desired, &snapshot.files, &root));
    diagnostics.sort();
    diagnostics.dedup();
    report(&diagnostics, Summary::of(&diagnostics, files), &desired, context);
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    Ok(if failed { Exit::Failed } else { Exit::InSync })
}

/// Manifests that are no files below the configuration root. Only the disk tells: a link may lead out of it.
fn misplaced_manifests(
    desired: &Desired,
    files: &BTreeMap<RepoPath, Arc<[u8]>>,
    root: &std::path::Path,
) -> Vec<Diagnostic> {
    let sources = desired.connections.values().map(|connection| &connection.source);
    let misplaced = sources.filter(|source| source.connector == "airbyte").filter_map(|source| {
        let Some(ConfigValue::Text(manifest)) = source.config.get("manifest") else { return None };
        let why = wiring::probe::manifest_problem(root, manifest)?;
        let path = names::spec_path(&source.name);
        let text = files.get(&path).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let d = Diagnostic::error("AAM-S025", format!("the manifest {} cannot be used: {why}", quoted(manifest)));
        Some(d.at(place_of(&path, &text, manifest)))
    });
    misplaced.collect()
}

/// The line that names the manifest, where it has one of its own; else the file.
fn place_of(path: &RepoPath, text: &str, manifest: &str) -> Place {
    let mut place = Place { file: path.to_string(), line: 0, column: 1, width: 1, text: String::new() };
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("manifest:")
            && let Some(at) = line.find(manifest)
        {
            let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(1);
            let (column, width) = (count(&line[..at]) + 1, count(manifest));
            place = Place { line: number, column, width, text: line.to_owned(), ..place };
        }
    }
    place
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
