//! `aam sync`: bring a connection's rows over now.

use anyhow::bail;
use clap::Args;

use super::act::{self, Settle};
use super::{Context, Exit};
use crate::diag::escape;
use crate::plan::JobState;
use crate::wiring::{self, App};

/// Sync connections now and normalize what landed
///
/// Through the daemon if one runs. Exit code 0: every sync succeeded, 1: one did not.
#[derive(Debug, Args)]
pub struct Sync {
    /// The connections
    #[arg(required = true)]
    connections: Vec<String>,
    /// Read this stream anew from its beginning; what landed stays until it is replaced. May be given several times
    #[arg(long, value_name = "STREAM")]
    refresh: Vec<String>,
}

/// Runs `aam sync`.
pub async fn run(args: &Sync, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| sync(args, app, context).await).await
}

async fn sync(args: &Sync, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let mut rows = Vec::new();
    for name in &args.connections {
        let row = act::connection(app, name).await?;
        let last = app.registry().jobs(row.id, 1).await?.pop().map(|job| job.id);
        rows.push((row, last));
    }
    let sync = rows.iter().map(|(row, _)| row.name.clone()).collect();
    let mut refresh = Vec::new();
    if !args.refresh.is_empty() {
        let [(row, _)] = rows.as_slice() else {
            bail!("--refresh names streams of one connection: name only that one")
        };
        let gathered = app.reconciler.gather(None).await?;
        refresh.push((row.name.clone(), super::by_name::streams(&gathered, &row.name, &args.refresh)?));
    }
    let answer = act::settle(app, Settle { sync, refresh, ..Settle::default() }, context).await?;
    let mut exit = Exit::InSync;
    let mut jobs = Vec::new();
    for (row, last) in &rows {
        // The newest job from before the ask tells nothing: then no sync was started.
        let job = app.registry().jobs(row.id, 1).await?.pop().filter(|job| Some(job.id) != *last);
        let failed = job.as_ref().is_none_or(|job| job.state != JobState::Succeeded);
        exit = exit.and(if failed { Exit::Failed } else { Exit::InSync });
        jobs.push((row.name.to_string(), job));
    }
    let mut text = String::new();
    for (name, job) in &jobs {
        match job {
            None => text.push_str(&format!("! {name}  no sync was started (`aam status` says why)\n")),
            Some(job) => {
                let state = format!("{:?}", job.state).to_lowercase();
                let error = job.error.as_ref().map(|e| format!(": {}", escape(e))).unwrap_or_default();
                text.push_str(&format!(
                    "{} {name}  sync {} {state}, {} rows, {} bytes{error}\n",
                    if job.error.is_some() { '!' } else { '=' },
                    job.id,
                    job.rows,
                    job.bytes
                ));
                for (stream, rows) in &job.streams {
                    text.push_str(&format!("    {}  {rows} rows\n", escape(&stream.to_string())));
                }
            }
        }
    }
    act::print(context, &jobs, &text)?;
    for outcome in answer.outcomes.iter().filter(|o| matches!(o.outcome.as_str(), "failed" | "skipped")) {
        context.out.say(&format!(
            "! {}: {}: {}",
            outcome.connection,
            outcome.step,
            escape(outcome.reason.as_deref().unwrap_or_default())
        ));
    }
    Ok(exit)
}
