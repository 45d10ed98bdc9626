//! `aam plan`: what would be done, and why.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Context, Exit, Format, act};
use crate::wiring::{self, App};

/// Show what would be done, and what edits that are not committed yet would change
///
/// Changes nothing. Exit code 0: in sync, 2: changes pending, 3: a person must decide, 4: a source could not be looked at.
#[derive(Debug, Default, Args)]
pub struct Plan {
    /// Also write the plan to FILE: `aam apply FILE` carries out exactly that
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `aam plan`.
pub async fn run(args: &Plan, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| show(args, app, context).await).await
}

async fn show(args: &Plan, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let gathered = app.reconciler.gather(None).await?;
    let plan = gathered.plan();
    let uncommitted = app.reconciler.uncommitted(&gathered).await?;
    let report = app.reconciler.report(&gathered).await?;
    match context.out.format {
        Format::Json => context.out.data(&serde_json::to_string_pretty(
            &json!({"digest": plan.digest(), "plan": plan, "uncommitted": uncommitted}),
        )?),
        Format::Human => {
            context.out.data(&crate::diag::escape_lines(&crate::plan::render(&plan)));
            if !uncommitted.is_empty() {
                context.out.data("Not committed yet, so it does not act:");
                uncommitted.iter().for_each(|line| context.out.data(&format!("  {}", crate::diag::escape(line))));
            }
        }
    }
    report.problems.iter().for_each(|problem| context.out.say(&crate::diag::escape(problem)));
    if let Some(file) = &args.out {
        let text = serde_json::to_string_pretty(&json!({"digest": plan.digest(), "plan": plan}))?;
        std::fs::write(file, text).with_context(|| format!("writing the plan to {}", file.display()))?;
    }
    Ok(act::exit_of(&report))
}
