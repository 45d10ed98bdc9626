//! `aam status`: where everything stands.

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Args;

use super::{Context, Exit, act};
use crate::diag::escape;
use crate::http::Answer;
use crate::model::{ConnectionRef, RemoteInfo, Rewritten};
use crate::plan::{Job, Standing, Trouble, needs_person, waits_for_rows};
use crate::status::{ConnectionReport, PlansTrouble, Report, Unowned};
use crate::wiring;

/// Show where every connection stands, or one
///
/// Exit code 0: in sync, 1: something is invalid or failed, 2: changes pending, 3: a person must decide, 4: a source could
/// not be looked at.
#[derive(Debug, Args)]
pub struct Status {
    /// Only this connection
    connection: Option<ConnectionRef>,
}

/// Runs `aam status`.
pub async fn run(args: &Status, context: &Context) -> anyhow::Result<Exit> {
    let report = wiring::with_app(&context.root, context.config.as_deref(), async |app| {
        let gathered = app.reconciler.gather(None).await?;
        Ok(app.reconciler.report(&gathered).await?)
    });
    let mut report = report.await?;
    if let Some(name) = &args.connection {
        report.connections.retain(|connection| connection.name == *name);
        report.unowned.clear();
        if report.connections.is_empty() {
            bail!("no connection {name}: `aam status` shows all");
        }
    }
    act::print(context, &report, &text(&report))?;
    Ok(act::exit_of(&report))
}

fn text(report: &Report) -> String {
    let commit = report.commit.as_ref().map_or("no commit yet", |commit| commit.short());
    let mut out = format!("{} at {commit}\n", report.branch.as_deref().unwrap_or("folder"));
    if let Some(why) = &report.blocked {
        out.push_str(&format!("! aam cannot commit now: {}\n", escape(why)));
    }
    out.push_str(&report.remote.as_ref().map(remote).unwrap_or_default());
    out.push_str(&report.plans.as_ref().map(|plans| plans_words(plans) + "\n").unwrap_or_default());
    let width = report.connections.iter().map(|c| c.name.to_string().len()).max().unwrap_or(0);
    for connection in &report.connections {
        out.push_str(&line(connection, width));
    }
    if let Some(why) = &report.refused {
        out.push_str(&format!("! {why}\n"));
    }
    for problem in &report.problems {
        out.push_str(&format!("! {}\n", escape(problem)));
    }
    out + &unowned(&report.unowned)
}

/// How the repository's remote stands: a line, and another one if its history was rewritten.
fn remote(remote: &RemoteInfo) -> String {
    let at = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S").to_string();
    let seen = remote.fetched_at.map_or_else(|| "never".to_owned(), at);
    let next = remote.next_at.map_or_else(|| "at the next start".to_owned(), |next| format!("at {}", at(next)));
    let mut out = match &remote.trouble {
        None => format!("remote {}: fetched {seen}\n", escape(&remote.url)),
        Some(trouble) => format!(
            "! remote {}: cannot be looked at since {}: {}; what was fetched before ({seen}) stays in force, `aam run` tries \
             again {next}, `aam apply` now\n",
            escape(&remote.url),
            at(trouble.since),
            escape(&trouble.why)
        ),
    };
    if let Some(Rewritten { at: when, from, to }) = &remote.rewritten {
        let short = |id: &str| escape(&id.chars().take(8).collect::<String>()).into_owned();
        out.push_str(&format!(
            "! its history was rewritten: {} of {} does not follow from {}, which was in force before; what it says is applied. \
             If that was not meant, push {} there again\n",
            short(to),
            at(*when),
            short(from),
            short(from)
        ));
    }
    out
}

/// What of the engine nobody declared.
fn unowned(all: &[Unowned]) -> String {
    /// More of them nobody reads; `--format json` has all.
    const SHOWN: usize = 20;
    if all.is_empty() {
        return String::new();
    }
    let mut out = format!("{} in the engine that nobody declared; aam does not touch them:\n", all.len());
    for one in all.iter().take(SHOWN) {
        let kind = format!("{:?}", one.kind).to_lowercase();
        out.push_str(&format!("  {kind:11}  {}  {}\n", escape(&one.name), one.id));
    }
    if all.len() > SHOWN {
        out.push_str(&format!("  and {} more\n", all.len() - SHOWN));
    }
    out
}

fn line(c: &ConnectionReport, width: usize) -> String {
    let wrong = matches!(c.standing, Standing::Failed { .. } | Standing::Broken | Standing::Unseen { .. });
    let sign = if wrong || needs_person(&c.standing) || c.sync_failed() || !c.held.is_empty() || !c.troubles.is_empty()
    {
        '!'
    } else if c.pending.is_empty() && !waits_for_rows(&c.standing) {
        '='
    } else {
        '~'
    };
    let status = c.status.map_or_else(|| "-".to_owned(), |status| format!("{status:?}").to_uppercase());
    let catalog = c
        .fingerprint
        .as_ref()
        .map_or_else(|| "no catalog".to_owned(), |f| format!("version {} ({})", c.version, f.short()));
    let mut parts = vec![escape(&c.summary).into_owned()];
    parts.extend(c.stale.then(|| "its spec is broken, the last good version is in force".to_owned()));
    if let Some(at) = c.looked_at {
        parts.push(format!("looked {}", at.format("%Y-%m-%d %H:%M:%S")));
    }
    parts.extend(c.job.as_ref().map(job_words));
    if !c.held.is_empty() {
        let held: Vec<String> = c.held.iter().map(|stream| escape(&stream.to_string()).into_owned()).collect();
        parts.push(format!("held back from syncs: {}", held.join(", ")));
    }
    if c.dead_letters > 0 {
        parts.push(format!("{} dead letters", c.dead_letters));
    }
    let mut out = format!("{sign} {:width$}  {status:8} {catalog}: {}\n", c.name.to_string(), parts.join(", "));
    if let Some(pin) = &c.pin {
        out.push_str(&format!(
            "! {:width$}  PINNED at version {} until {} by {}: {}; what its source changes is not repaired meanwhile\n",
            "",
            pin.version,
            escape(&pin.until),
            escape(&pin.by),
            escape(&pin.reason)
        ));
    }
    for step in &c.pending {
        out.push_str(&format!("~ {:width$}  {step}\n", ""));
    }
    for (step, trouble) in &c.troubles {
        out.push_str(&format!("! {:width$}  {}\n", "", trouble_words(step, trouble)));
    }
    out
}

fn trouble_words(step: &str, trouble: &Trouble) -> String {
    let at = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S").to_string();
    let times = if trouble.failures == 1 { "once".to_owned() } else { format!("{} times", trouble.failures) };
    format!(
        "{} failed {times} since {}: {}; `aam run` tries again at {}, `aam apply` now",
        escape(step),
        at(trouble.since),
        escape(&trouble.reason),
        at(trouble.retry_at)
    )
}

fn plans_words(PlansTrouble { project, trouble }: &PlansTrouble) -> String {
    format!("! {}", trouble_words(&format!("tell plans on the requests of {project}"), trouble))
}

fn job_words(job: &Job) -> String {
    let state = format!("{:?}", job.state).to_lowercase();
    match &job.error {
        Some(error) => format!("sync {} {state}: {}", job.id, escape(error)),
        None => format!("sync {} {state} ({} rows)", job.id, job.rows),
    }
}

/// Says on stderr why the end is not well, after a command that did something else. A failure among its outcomes was told.
pub(super) fn say_attention(answer: &Answer, context: &Context) {
    let told = |c: &ConnectionReport| answer.outcomes.iter().any(|o| o.connection == c.name && o.outcome == "failed");
    for c in &answer.report.connections {
        let wrong = match c.standing {
            Standing::Unseen { .. } => true,
            Standing::Failed { .. } => !told(c),
            _ => needs_person(&c.standing),
        };
        if wrong {
            context.out.say(&format!("! {}: {}", c.name, escape(&c.summary)));
        }
        if let Some(job) = c.job.as_ref().filter(|_| c.sync_failed() && !told(c)) {
            context.out.say(&format!("! {}: {}", c.name, job_words(job)));
        }
        for (step, trouble) in c.troubles.iter().filter(|_| !told(c)) {
            context.out.say(&format!("! {}: {}", c.name, trouble_words(step, trouble)));
        }
    }
    if let Some(line) = answer.report.remote.as_ref().filter(|r| r.trouble.is_some() || r.rewritten.is_some()) {
        remote(line).lines().for_each(|line| context.out.say(line));
    }
    if let Some(plans) = &answer.report.plans {
        context.out.say(&plans_words(plans));
    }
    if answer.report.invalid {
        context.out.say("! some files cannot be used (`aam check` says which and why)");
    }
}
