//! `aam drift`: list, show, approve, reject.

use anyhow::{Context as _, bail};
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use serde_json::json;

use super::act::{self, Settle};
use super::{Context, Exit};
use crate::diag::{escape, escape_lines};
use crate::drift::Radius;
use crate::plan::{DriftRow, DriftStatus};
use crate::ports::{APPROVED_BY, CommitOutcome, written};
use crate::reconcile::Gathered;
use crate::spec::Rejection;
use crate::wiring::{self, App};

/// List, show and decide drifts
#[derive(Debug, Args)]
pub struct Drift {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List open drifts and standing rejections, or all there ever were
    List {
        /// Also those that are over
        #[arg(long)]
        all: bool,
    },
    /// Show a connection's open drift: changes, impact, evidence, diff
    Show {
        /// The connection
        connection: String,
    },
    /// Merge a connection's repair branch, with you as approver
    ///
    /// The same as `git merge` of the branch, with a trailer that names you; waits until the connection is healed.
    Approve {
        /// The connection
        connection: String,
    },
    /// Reject what the source shows now
    ///
    /// Commits a line of drift/TENANT/CONNECTION/rejected.yaml, so that these changes are not asked for again.
    Reject {
        /// The connection
        connection: String,
        /// Why: the next person reads it
        #[arg(long)]
        reason: String,
    },
}

/// Runs `aam drift`.
pub async fn run(args: &Drift, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| match &args.command {
        Command::List { all } => list(app, *all, context).await,
        Command::Show { connection } => show(app, connection, context).await,
        Command::Approve { connection } => approve(app, connection, context).await,
        Command::Reject { connection, reason } => reject(app, connection, reason, context).await,
    })
    .await
}

async fn list(app: &App, all: bool, context: &Context) -> anyhow::Result<Exit> {
    let rows = app.registry().connections().await?;
    let gathered = app.reconciler.gather(None).await?;
    let drifts: Vec<DriftRow> =
        app.registry().drifts(None, false).await?.into_iter().filter(|drift| all || stands(drift, &gathered)).collect();
    let mut text = String::new();
    for drift in &drifts {
        let name = rows
            .iter()
            .find(|row| row.id == drift.connection)
            .map_or_else(|| drift.connection.to_string(), |row| row.name.to_string());
        let status = format!("{:?}", drift.status).to_lowercase();
        let sign = if drift.status == DriftStatus::Pending { '!' } else { '=' };
        let branch = drift.branch.as_ref().map(|b| format!(", branch {b}")).unwrap_or_default();
        let opened = drift.opened_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        text.push_str(&format!(
            "{sign} {name}  {} {status}, opened {opened}, {} changes, confidence {:.2}, automatic: {}{branch} ({})\n",
            drift.target.short(),
            drift.changes.len(),
            drift.confidence,
            escape(&drift.automatic),
            escape(&drift.cause)
        ));
        for change in &drift.changes {
            text.push_str(&format!("    {}\n", escape(&crate::drift::say(change))));
        }
        for line in radius_of(drift, &gathered).iter().flat_map(|radius| radius.brief()) {
            text.push_str(&format!("      {}\n", escape(&line)));
        }
    }
    let listed: Vec<Listed<'_>> =
        drifts.iter().map(|drift| Listed { drift, radius: radius_of(drift, &gathered) }).collect();
    act::print(context, &listed, &text)?;
    Ok(act::exit_of(&app.reconciler.report(&gathered).await?))
}

/// A drift as machines see it.
#[derive(serde::Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    drift: &'a DriftRow,
    /// What it reaches, while it stands.
    radius: Option<&'a Radius>,
}

fn radius_of<'a>(drift: &DriftRow, gathered: &'a Gathered) -> Option<&'a Radius> {
    gathered.radius(drift.connection).filter(|(target, _)| **target == drift.target).map(|(_, radius)| radius)
}

/// Whether a drift is open, or rejected and still what the source shows.
fn stands(drift: &DriftRow, gathered: &Gathered) -> bool {
    match drift.status {
        DriftStatus::Pending | DriftStatus::Approved => true,
        DriftStatus::Rejected => {
            gathered.rejected_drift(drift.connection).is_some_and(|(changes, ..)| changes == drift.changes)
        }
        DriftStatus::Withdrawn | DriftStatus::Repaired | DriftStatus::Failed => false,
    }
}

async fn show(app: &App, name: &str, context: &Context) -> anyhow::Result<Exit> {
    let row = act::connection(app, name).await?;
    let gathered = app.reconciler.gather(None).await?;
    let Some(file) = gathered.drift_file(row.id) else {
        context.out.say(&format!("connection {}: no open drift", row.name));
        return Ok(Exit::InSync);
    };
    let drift = app.registry().drifts(Some(row.id), false).await?.into_iter().find(|drift| stands(drift, &gathered));
    let rejection = gathered.rejected_drift(row.id).map(|(_, rejection, _)| rejection);
    if let Some(Rejection { by, at, reason, .. }) = rejection {
        context.out.say(&format!(
            "! rejected by {} at {at}: {}; `aam drift approve {name}` takes it all the same",
            escape(by),
            escape(reason)
        ));
    }
    let radius = gathered.radius(row.id).map(|(_, radius)| radius);
    let shown = json!({"drift": drift, "rejection": rejection, "radius": radius, "file": file});
    act::print(context, &shown, &escape_lines(&file))?;
    Ok(Exit::InSync)
}

async fn approve(app: &App, name: &str, context: &Context) -> anyhow::Result<Exit> {
    let row = act::connection(app, name).await?;
    let open = app.repo().repair_branches().await?;
    // What a rule takes in by a request may be approved by a person, too.
    let [asked, by_rule, ..] = crate::repair::branches(&row.name);
    let is_open = |branch: &str| open.iter().any(|open| open.name == branch);
    let branch = if is_open(&by_rule) && !is_open(&asked) { by_rule } else { asked };
    let approver = app.repo().person().await?;
    let gathered = app.reconciler.gather(None).await?;
    if let Some(why) = app.reconciler.objection_to(&gathered, &row.name, &approver) {
        bail!("{branch} was not merged: {}", escape(&why));
    }
    let (outcome, what) = if is_open(&branch) {
        (written("approve", app.repo().approve(&branch, &approver)).await?, branch)
    } else {
        let Some((_, rejection, mut draft)) = gathered.rejected_drift(row.id) else {
            bail!(
                "connection {}: no open repair ({branch} does not exist); `aam drift list` shows what waits",
                row.name
            );
        };
        let what = format!("what {} had rejected", escape(&rejection.by));
        // Committed and not proposed first: for what is rejected a daemon's turn in between would withdraw the branch.
        draft.trailers.push((APPROVED_BY.to_owned(), approver.clone()));
        (written("approve", app.repo().commit(&draft)).await?, what)
    };
    match outcome {
        CommitOutcome::Committed(commit) => {
            context.out.say(&format!("merged {what} as {} (approved by {})", commit.short(), escape(&approver)))
        }
        CommitOutcome::Moved => bail!("the tracked branch moved meanwhile; run the command again"),
        CommitOutcome::Refused(why) => bail!("{what} was not merged: {why}"),
    }
    finish(app, context).await
}

async fn reject(app: &App, name: &str, reason: &str, context: &Context) -> anyhow::Result<Exit> {
    let row = act::connection(app, name).await?;
    let gathered = app.reconciler.gather(None).await?;
    let (target, changes) = gathered.open_drift(row.id).with_context(|| match gathered.rejected_drift(row.id) {
        Some((_, rejection, _)) => format!("connection {}: rejected by {} already", row.name, escape(&rejection.by)),
        None => format!("connection {}: there is no drift to reject", row.name),
    })?;
    let rejection = Rejection {
        fingerprint: target.clone(),
        by: app.repo().person().await?,
        at: app.reconciler.doors().clock.now().to_rfc3339_opts(SecondsFormat::Secs, true),
        reason: reason.to_owned(),
        changes: changes.iter().map(crate::drift::line_of).collect(),
    };
    let path = crate::repair::rejected_path(&row.name)?;
    let committed = app.repo().committed().await?;
    let existing = committed.files.get(&path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let draft = crate::repair::reject(&row.name, existing.as_deref(), &rejection).map_err(anyhow::Error::msg)?;
    if let Some(draft) = draft {
        match written("commit_rejection", app.repo().commit(&draft)).await? {
            CommitOutcome::Committed(commit) => {
                context.out.say(&format!("rejected {} in {} ({path})", target.short(), commit.short()))
            }
            CommitOutcome::Moved => bail!("the tracked branch moved meanwhile; run the command again"),
            // A remote that does not take it does not take it later either.
            CommitOutcome::Refused(why) if app.repo().info().await?.remote.is_some() => {
                app.reconciler.reject_here(&row, &rejection, &why).await?;
                let branch = crate::repair::rejection_branch(&row.name);
                context.out.say(&format!("rejected {}; {why}: merge {branch} to have it in git", target.short()));
            }
            CommitOutcome::Refused(why) => bail!("the rejection was not committed: {why}"),
        }
    } else {
        context.out.say(&format!("{} is rejected already", target.short()));
    }
    finish(app, context).await
}

/// Lets the decision take effect and shows what happened.
async fn finish(app: &App, context: &Context) -> anyhow::Result<Exit> {
    let answer = act::settle(app, Settle::default(), context).await?;
    match context.out.format {
        super::Format::Json => context.out.data(&serde_json::to_string_pretty(&answer)?),
        super::Format::Human => act::print_outcomes(&answer, context),
    }
    Ok(if answer.outcomes.iter().any(|o| o.outcome == "failed") { Exit::Failed } else { Exit::InSync })
}
