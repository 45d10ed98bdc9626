//! `aam plan`: what would be done, and why.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Context, Exit, Format, act};
use crate::plan::review::{Review, find, markdown};
use crate::reconcile::{State, notes_of};
use crate::wiring::{self, App};

/// Show what would be done, and what edits that are not committed yet would change
///
/// Changes nothing. Exit code 0: in sync, 2: changes pending, 3: a person must decide, 4: a source could not be looked at.
#[derive(Debug, Default, Args)]
pub struct Plan {
    /// Also write the plan to FILE: `aam apply FILE` carries out exactly that
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show what merging --head into this revision would do; with `--format markdown` as the comment of a request
    ///
    /// Reads the two revisions of this clone and writes nothing. Where the registry cannot be reached, as on a CI runner, it says
    /// what the files change. Exit code 0, or 1 if files would be broken by the merge.
    #[arg(long, value_name = "REF", requires = "head", conflicts_with = "out")]
    base: Option<String>,
    /// The revision to be merged
    #[arg(long, value_name = "REF", requires = "base")]
    head: Option<String>,
}

impl Plan {
    /// Whether it is about a merge.
    pub(super) fn is_review(&self) -> bool {
        self.base.is_some()
    }
}

/// Runs `aam plan`.
pub async fn run(args: &Plan, context: &Context) -> anyhow::Result<Exit> {
    if let (Some(base), Some(head)) = (&args.base, &args.head) {
        return review(base, head, context).await;
    }
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

/// What a merge would do.
async fn review(base: &str, head: &str, context: &Context) -> anyhow::Result<Exit> {
    let settings = wiring::settings(&context.root, context.config.as_deref())?;
    let merge = wiring::merge_of(&context.root.join(&settings.repository.root), base, head).await?;
    let policy = wiring::policy(&settings);
    let (before, after) = (State::of(&merge.before, &policy), State::of(&merge.after, &policy));
    let plans = match wiring::can_look(&context.root, &settings) {
        Ok(()) => {
            let looked = wiring::with_app(&context.root, context.config.as_deref(), async |app| {
                let gathered = app.reconciler.gather(None).await?;
                Ok((gathered.plan(), app.reconciler.plan_if(&gathered, merge.after.clone())))
            });
            looked.await.map_err(|error| format!("{error:#}"))
        }
        Err(why) => Err(why),
    };
    let review = Review {
        base: (base, Some(&merge.base)),
        head: (head, &merge.head),
        before: &before.desired,
        problems_before: &before.problems,
        after: &after.desired,
        problems_after: &after.problems,
        plans: plans.as_ref().map(|(now, then)| (now, then)).map_err(String::as_str),
        notes: notes_of(&merge),
    };
    let found = find(&review);
    match context.out.format {
        Format::Json => context.out.data(&serde_json::to_string_pretty(&found)?),
        Format::Human => context.out.data(&markdown(&review, &found)),
    }
    Ok(if found.is_broken() { Exit::Failed } else { Exit::InSync })
}
