//! `aam rollback`: go back to an earlier catalog version.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use chrono::Days;
use clap::Args;
use serde_json::json;

use super::act::{self, Settle};
use super::{Context, Exit, Format};
use crate::diag::escape;
use crate::model::{ConnectionRef, StreamName};
use crate::reconcile::RolledBack;
use crate::repair::{Effect, Rollback, Wish};
use crate::wiring::{self, App};

/// Days that a pin lasts if nobody says how long: time to mend what was wrong, and an end that comes.
const PINNED_DAYS: u64 = 30;

/// Go back to an earlier catalog version, and stay there for a while
///
/// One commit, as your doing: the old schema as a new version, the mapping and the stream choices of its moment, and a pin that
/// keeps drift from being repaired until it ends. What that does to data is said first. Where the connection only proposes, or
/// the repository takes no commit, it is a branch to merge.
#[derive(Debug, Args)]
pub struct GoBack {
    /// The connection
    connection: ConnectionRef,
    /// The version to go back to; `aam history` and `aam diff` show them
    #[arg(long, value_name = "VERSION")]
    to: u32,
    /// Why: the next person reads it
    #[arg(long)]
    reason: String,
    /// The last day of the pin, or an RFC 3339 time; without it, 30 days from now
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    /// Delete what landed of this stream, where going back needs that. May be given several times
    #[arg(long, value_name = "STREAM")]
    i_accept_clear: Vec<StreamName>,
    /// Make a branch to be merged instead of a commit
    #[arg(long)]
    branch: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs `aam rollback`.
pub async fn run(args: &GoBack, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| roll_back(args, app, context).await).await
}

async fn roll_back(args: &GoBack, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let name = act::connection(app, &args.connection.to_string()).await?.name;
    let until = until(args, app)?;
    if args.reason.trim().is_empty() {
        bail!("--reason is empty: the next person needs to know why");
    }
    let by = app.repo().person().await?;
    let gathered = app.reconciler.gather(None).await?;
    let may_clear: BTreeSet<StreamName> = args.i_accept_clear.iter().cloned().collect();
    let wish = Wish { by: &by, reason: &args.reason, until: &until, may_clear: &may_clear };
    let plan = app.reconciler.plan_rollback(&gathered, &name, args.to, wish).await?;
    let to_clear = plan.to_clear();
    if let Some(stream) = may_clear.iter().find(|stream| !to_clear.contains(stream)) {
        bail!("nothing that landed of stream {stream} needs to be cleared: leave out `--i-accept-clear {stream}`");
    }
    let text = describe(&plan, &name, &until);
    if !plan.refusals.is_empty() || args.dry_run {
        act::print(context, &json!({"plan": plan, "done": null}), &text)?;
        return Ok(match plan.refusals.is_empty() {
            true => {
                context.out.say("nothing was changed");
                Exit::InSync
            }
            false => {
                context.out.say(&format!("error: connection {name} is not rolled back; nothing was changed"));
                Exit::Failed
            }
        });
    }
    if context.out.format == Format::Human {
        context.out.data(&text);
    }
    let done = app.reconciler.roll_back(&gathered, &name, &plan, (&by, args.branch)).await?;
    let exit = match &done {
        RolledBack::Proposed { branch, why } => {
            context.out.say(&format!("! {name}  {}: merge {branch}", escape(why)));
            for stream in &to_clear {
                context
                    .out
                    .say(&format!("! {name}  once it is merged: aam clear {name} {}", escape(&stream.to_string())));
            }
            Exit::InSync
        }
        RolledBack::Committed { commit } => {
            context.out.say(&format!("~ {name}  committed as {}", commit.short()));
            take_effect(app, context, (&name, &by), &plan).await?
        }
    };
    if context.out.format == Format::Json {
        act::print(context, &json!({"plan": plan, "done": done}), "")?;
    }
    Ok(exit)
}

/// Lets the commit come into force, then deletes what was accepted to go.
async fn take_effect(
    app: &App,
    context: &Context,
    (name, by): (&ConnectionRef, &str),
    plan: &Rollback,
) -> anyhow::Result<Exit> {
    let answer = act::settle(app, Settle::default(), context).await?;
    if context.out.format == Format::Human {
        act::print_outcomes(&answer, context);
    }
    let failed = answer.outcomes.iter().any(|o| o.connection == *name && o.outcome == "failed");
    let exit = if failed { Exit::Failed } else { Exit::InSync };
    let to_clear = plan.to_clear();
    if to_clear.is_empty() {
        return Ok(exit);
    }
    let names = to_clear.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let later = || format!("what landed is not deleted yet: `aam clear {name} {names}`");
    let row = app.registry().connections_named(name).await?.pop().with_context(later)?;
    if row.fingerprint.as_ref() != Some(&plan.fingerprint) {
        context.out.say(&format!("! {name}  is not in force yet (`aam status` says why); {}", escape(&later())));
        return Ok(exit.and(Exit::Failed));
    }
    let gathered = app.reconciler.gather(None).await?;
    let job = app.reconciler.clear(&gathered, name, &to_clear, by).await.with_context(later)?;
    context.out.say(&format!("- {name}  landed rows of {}", escape(&names)));
    if let Some(job) = job {
        context.out.say(&format!("= {name}  the engine does it as job {job}"));
    }
    Ok(exit)
}

fn until(args: &GoBack, app: &App) -> anyhow::Result<String> {
    let now = app.reconciler.doors().clock.now();
    let Some(until) = &args.until else {
        let day = now.checked_add_days(Days::new(PINNED_DAYS)).context("the clock is at the end of time")?;
        return Ok(day.format("%Y-%m-%d").to_string());
    };
    let ends = crate::spec::end_of(until)
        .with_context(|| format!("--until {} is neither a day (2026-12-31) nor an RFC 3339 time", escape(until)))?;
    if ends <= now {
        bail!("--until {until} is over already: a pin that has ended keeps nothing");
    }
    Ok(until.clone())
}

fn describe(plan: &Rollback, name: &ConnectionRef, until: &str) -> String {
    let mut out = format!(
        "~ {name}  version {} again, as version {} ({}), pinned until {}\n",
        plan.to,
        plan.becomes,
        plan.fingerprint.short(),
        escape(until)
    );
    for change in &plan.changes {
        out.push_str(&format!("      {}\n", escape(change)));
    }
    for effect in &plan.effects {
        out.push_str(&format!("    {}\n", escape(&effect_line(effect))));
        for column in &effect.columns {
            out.push_str(&format!("        {}\n", escape(column)));
        }
        if let Some(why) = &effect.clear {
            out.push_str(&format!("        - what landed is deleted: {}\n", escape(why)));
        }
    }
    for note in &plan.notes {
        out.push_str(&format!("    {}\n", escape(note)));
    }
    for refusal in &plan.refusals {
        out.push_str(&format!("! {name}  {}\n", escape(refusal)));
    }
    out
}

fn effect_line(effect: &Effect) -> String {
    let way = match (&effect.now, &effect.then) {
        (Some(now), Some(then)) if now == then => format!(" ({})", now.describe()),
        (Some(now), Some(then)) => format!(" ({}; was {})", then.describe(), now.describe()),
        (None, Some(then)) => format!(" ({}; was not carried)", then.describe()),
        (_, None) => String::new(),
    };
    let rows = match effect.rows {
        Some(1) => "; 1 row landed so far".to_owned(),
        Some(rows) => format!("; {rows} rows landed so far"),
        None => String::new(),
    };
    format!("{}  {}{way}{rows}", effect.stream, effect.next_sync.describe())
}
