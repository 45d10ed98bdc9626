//! `aam clear` and `aam cancel`: what happens only to what a person names.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::act;
use super::{Context, Exit};
use crate::diag::escape;
use crate::http::{Control, OutcomeLine, Request};
use crate::model::{ConnectionRef, StreamName};
use crate::plan::JobState;
use crate::ports::ObjectKind;
use crate::reconcile::{Gathered, carried};
use crate::wiring::{self, App};

/// Delete what landed of streams; their next sync reads them from the beginning
///
/// Rows at the source and canonical events stay. Nothing else in aam ever deletes landed rows.
#[derive(Debug, Args)]
pub struct Clear {
    /// The connection
    connection: String,
    /// The streams, by name
    #[arg(required = true, value_name = "STREAM")]
    streams: Vec<String>,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// Stop a connection's running sync at its next commit
///
/// What was committed stays; the next sync goes on from there.
#[derive(Debug, Args)]
pub struct Cancel {
    /// The connection
    connection: String,
}

/// Runs `aam clear`.
pub async fn clear(args: &Clear, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| {
        let row = act::connection(app, &args.connection).await?;
        let gathered = app.reconciler.gather(None).await?;
        let streams = streams(&gathered, &row.name, &args.streams)?;
        let names = streams.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if args.dry_run {
            context.out.say(&format!("- {}  landed rows of {}\nnothing was deleted", row.name, escape(&names)));
            return Ok(Exit::InSync);
        }
        let person = app.repo().person().await?;
        let job = app.reconciler.clear(&gathered, &row.name, &streams, &person).await?;
        let ended = match job.zip(row.objects.get(&ObjectKind::Connection)) {
            Some((job, id)) => Some(end_of(app, id, job).await?),
            None => None,
        };
        let failed = ended.is_some_and(|state| state != JobState::Succeeded);
        let text = match failed {
            true => format!("! {}  job {} did not succeed: its engine says why", row.name, job.unwrap_or_default()),
            false => format!("- {}  landed rows of {}", row.name, escape(&names)),
        };
        act::print(context, &json!({"connection": row.name, "streams": streams, "job": job}), &text)?;
        Ok(if failed { Exit::Failed } else { Exit::InSync })
    })
    .await
}

/// Waits for a job that is not a sync.
async fn end_of(app: &App, id: &crate::plan::EngineId, job: i64) -> anyhow::Result<JobState> {
    loop {
        let jobs = app.reconciler.doors().engine.jobs(id, 20).await?;
        match jobs.iter().find(|one| one.id == job) {
            Some(one) if one.state == JobState::Running => tokio::time::sleep(Duration::from_secs(1)).await,
            Some(one) => return Ok(one.state),
            None => bail!("job {job} is not among the newest jobs of the connection any more"),
        }
    }
}

/// Runs `aam cancel`.
pub async fn cancel(args: &Cancel, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| {
        let row = act::connection(app, &args.connection).await?;
        let by = app.repo().person().await?;
        let line = match Control::find(&wiring::control_socket(&app.state)?)? {
            // its process runs the job
            Some(daemon) => {
                let answer = daemon.ask(&Request::Cancel { connection: row.name.clone(), by }).await?;
                answer.outcomes.into_iter().next().context("the daemon did not say what became of it")?
            }
            None => {
                let gathered = app.reconciler.gather(None).await?;
                OutcomeLine::of_cancel(&row.name, app.reconciler.cancel(&gathered, &row.name, &by).await)
            }
        };
        if let Some(why) = &line.reason {
            bail!("{}", escape(why).into_owned());
        }
        let text = match line.outcome.as_str() {
            "applied" => format!("~ {}  {}", row.name, line.step),
            _ => format!("= {}  no sync runs", row.name),
        };
        act::print(context, &line, &text)?;
        Ok(Exit::InSync)
    })
    .await
}

/// The carried streams that are meant: by full name, or by the bare name of one alone.
pub(super) fn streams(
    gathered: &Gathered,
    name: &ConnectionRef,
    wanted: &[String],
) -> anyhow::Result<BTreeSet<StreamName>> {
    let connection = gathered.desired().connections.get(name);
    let carried = carried(connection.with_context(|| format!("connection {name} is not declared"))?)?;
    let mut found = BTreeSet::new();
    for text in wanted {
        let full = carried.iter().find(|stream| stream.to_string() == *text);
        let mut bare = carried.iter().filter(|stream| stream.name == *text);
        match (full, bare.next(), bare.next()) {
            (Some(stream), ..) | (None, Some(stream), None) => drop(found.insert(stream.clone())),
            (None, Some(_), Some(_)) => {
                bail!("connection {name} carries several streams called {text}: write its full name")
            }
            (None, None, _) => {
                let known = carried.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                bail!("connection {name} carries no stream {text}; it carries {known}")
            }
        }
    }
    Ok(found)
}
