//! `aam apply`: carry out what is planned.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::act::{self, Settle};
use super::{Context, Exit};
use crate::wiring;

/// Carry out what is planned, through the daemon if one runs
///
/// Ends when nothing but waiting is left. With PLAN, only if the plan is still the one in that file; otherwise it says what
/// moved and changes nothing.
#[derive(Debug, Args)]
pub struct Apply {
    /// A plan that `aam plan --out` wrote
    plan: Option<PathBuf>,
    /// Look at every source first, due or not
    #[arg(long)]
    look: bool,
    /// Confirm removals beyond the change budget
    #[arg(long)]
    confirm_removals: bool,
    /// Only show the plan
    #[arg(long)]
    dry_run: bool,
}

#[derive(serde::Deserialize)]
struct PlanFile {
    digest: String,
}

/// Runs `aam apply`.
pub async fn run(args: &Apply, context: &Context) -> anyhow::Result<Exit> {
    let digest = match &args.plan {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading the plan {}", file.display()))?;
            let plan: PlanFile = serde_json::from_str(&text)
                .with_context(|| format!("{} is no plan that `aam plan --out` wrote", file.display()))?;
            Some(plan.digest)
        }
    };
    if args.dry_run {
        return super::plan::run(&super::plan::Plan::default(), context).await;
    }
    let answer = wiring::with_app(&context.root, context.config.as_deref(), async |app| {
        let rows = if args.look { app.registry().connections().await? } else { Vec::new() };
        let look = rows.into_iter().map(|row| row.name).collect();
        act::settle(app, Settle { look, digest, confirm_removals: args.confirm_removals, ..Settle::default() }, context)
            .await
    });
    let answer = answer.await?;
    if let Some(now) = &answer.refused {
        context.out.say("the plan moved, nothing was changed; now it is:");
        context.out.data(&crate::diag::escape_lines(now));
        return Ok(Exit::Failed);
    }
    match context.out.format {
        super::Format::Json => context.out.data(&serde_json::to_string_pretty(&answer)?),
        super::Format::Human => act::print_outcomes(&answer, context),
    }
    let failed = answer.outcomes.iter().any(|outcome| outcome.outcome == "failed");
    let changed = answer.outcomes.iter().filter(|outcome| outcome.outcome == "applied").count();
    context.out.say(&format!("Apply: {changed} steps done{}", if failed { ", some failed" } else { "" }));
    super::status::say_attention(&answer, context);
    let exit = act::exit_of(&answer.report);
    Ok(if failed { exit.and(Exit::Failed) } else { exit })
}
