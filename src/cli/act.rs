//! How commands act: through a running daemon if there is one, else by themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Context, Exit, Format};
use crate::http::{Answer, Control, OutcomeLine, Request};
use crate::model::{ConnectionRef, StreamName};
use crate::plan::JobState;
use crate::reconcile::{Ask, OutcomeKind};
use crate::status::Report;
use crate::wiring::{self, App};

/// Asks to carry out what is planned, and waits until nothing but waiting is left.
#[derive(Debug, Clone, Default)]
pub(super) struct Settle {
    pub(super) look: Vec<ConnectionRef>,
    pub(super) sync: Vec<ConnectionRef>,
    pub(super) refresh: Vec<(ConnectionRef, BTreeSet<StreamName>)>,
    pub(super) digest: Option<String>,
    pub(super) confirm_removals: bool,
}

/// Carries out, showing progress of running syncs on a terminal.
pub(super) async fn settle(app: &App, ask: Settle, context: &Context) -> anyhow::Result<Answer> {
    let bar = progress_bar(context);
    let watch = watch_jobs(app, &bar);
    let answer = tokio::select! {
        answer = settle_quietly(app, ask) => answer,
        () = watch => unreachable!("watching never ends"),
    };
    bar.finish_and_clear();
    answer
}

async fn settle_quietly(app: &App, ask: Settle) -> anyhow::Result<Answer> {
    let Settle { look, sync, refresh, digest, confirm_removals } = ask;
    // A remote that cannot be looked at is told with the report, and what is here goes on.
    let _ = app.repo().fetch().await;
    if let Some(daemon) = Control::find(&wiring::control_socket(&app.state)?)? {
        return Ok(daemon.ask(&Request::Settle { look, sync, refresh, digest, confirm_removals }).await?);
    }
    let limits = match app.reconciler.agree(digest.as_deref(), confirm_removals).await? {
        Ok(limits) => limits,
        Err(moved) => {
            let refused = Some(crate::plan::render(&moved.plan()));
            return Ok(Answer { report: app.reconciler.report(&moved).await?, outcomes: Vec::new(), refused });
        }
    };
    look.iter().for_each(|name| app.reconciler.ask(Ask::Look, name));
    sync.iter().for_each(|name| app.reconciler.ask(Ask::Sync, name));
    refresh.iter().for_each(|(name, streams)| app.reconciler.ask_refresh(name, streams.clone()));
    if digest.is_none() {
        app.reconciler.try_again();
    }
    let (gathered, outcomes) = app.reconciler.settle(Some(&limits), |_| {}).await?;
    let outcomes = outcomes.iter().filter(|o| o.kind != OutcomeKind::Unchanged).map(OutcomeLine::from).collect();
    Ok(Answer { report: app.reconciler.report(&gathered).await?, outcomes, refused: None })
}

/// A spinner on a terminal; hidden elsewhere, with `--quiet` and for machines.
fn progress_bar(context: &Context) -> ProgressBar {
    let hidden = context.verbosity < 0 || context.out.format == Format::Json;
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar
}

async fn watch_jobs(app: &App, bar: &ProgressBar) {
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (Ok(rows), Ok(jobs)) = (app.registry().connections().await, app.registry().newest_jobs().await) else {
            continue;
        };
        let mut running = Vec::new();
        for row in rows {
            if let Some(job) = jobs.get(&row.id).filter(|job| job.state == JobState::Running) {
                running.push(format!("{}: {} rows, {} kB", row.name, job.rows, job.bytes / 1000));
            }
        }
        bar.set_message(if running.is_empty() { "working".into() } else { running.join("  ") });
        bar.tick();
    }
}

/// Prints what was carried out: data, one line each.
pub(super) fn print_outcomes(answer: &Answer, context: &Context) {
    let width = answer.outcomes.iter().map(|o| o.connection.to_string().len()).max().unwrap_or(0);
    for outcome in &answer.outcomes {
        let sign = match outcome.outcome.as_str() {
            "applied" => '~',
            "failed" => '!',
            _ => '.',
        };
        let reason = outcome.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let text =
            format!("{sign} {:width$}  {} ({}{reason})", outcome.connection.to_string(), outcome.step, outcome.outcome);
        context.out.data(&crate::diag::escape(&text));
    }
}

/// The exit code of a report.
pub(super) fn exit_of(report: &Report) -> Exit {
    match report.exit_code() {
        0 => Exit::InSync,
        2 => Exit::Pending,
        3 => Exit::Decide,
        4 => Exit::Unseen,
        _ => Exit::Failed,
    }
}

/// The connection that an argument names; the error lists what there is.
pub(super) async fn connection(app: &App, name: &str) -> anyhow::Result<crate::plan::ConnectionRow> {
    let wanted: ConnectionRef = name.parse()?;
    let rows = app.registry().connections().await?;
    let known: Vec<String> = rows.iter().map(|row| row.name.to_string()).collect();
    let found = rows.into_iter().rfind(|row| row.name == wanted);
    found.with_context(|| match known.as_slice() {
        [] => format!("no connection {name}: nothing is onboarded yet (`aam plan` shows what is declared)"),
        _ => format!("no connection {name}; known are {}", known.join(", ")),
    })
}

/// Prints a value for machines, or its text for people.
pub(super) fn print(context: &Context, value: &impl serde::Serialize, text: &str) -> anyhow::Result<()> {
    match context.out.format {
        Format::Json => context.out.data(&serde_json::to_string_pretty(value)?),
        Format::Human => context.out.data(text),
    }
    Ok(())
}
