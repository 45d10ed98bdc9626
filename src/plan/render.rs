//! Prints a plan: a sign, the connection, what would happen; ends with a count.

use super::{Plan, Standing, Step};

/// The text of `aam plan`. The same plan gives the same bytes.
pub fn render(plan: &Plan) -> String {
    let width = plan.connections.iter().map(|c| c.name.to_string().len()).max().unwrap_or(0);
    let mut out = String::new();
    let (mut create, mut update, mut remove, mut person, mut unchanged) = (0, 0, 0, 0, 0);
    for connection in &plan.connections {
        let changes = connection.steps.iter().filter(|step| !step.is_routine()).count();
        let sign = match connection.steps.iter().find(|step| !step.is_routine()) {
            Some(Step::Onboard { .. } | Step::Adopt) => {
                create += 1;
                '+'
            }
            Some(Step::Retire { .. }) => {
                remove += 1;
                '-'
            }
            Some(_) => {
                update += 1;
                '~'
            }
            None if needs_person(&connection.standing) => {
                person += 1;
                '!'
            }
            None if waits_for_rows(&connection.standing) => {
                update += 1;
                '~'
            }
            None => {
                unchanged += 1;
                '='
            }
        };
        let name = connection.name.to_string();
        if changes == 0 || needs_person(&connection.standing) {
            out.push_str(&format!("{sign} {name:width$}  {}\n", describe(&connection.standing)));
        }
        for step in &connection.steps {
            let sign = if step.is_routine() { '.' } else { sign };
            out.push_str(&format!("{sign} {name:width$}  {}\n", step.describe()));
        }
        let radius = connection.radius.as_ref().filter(|_| awaits_decision(&connection.standing));
        out.extend(radius.iter().flat_map(|radius| radius.brief()).map(|line| format!("      {line}\n")));
    }
    if let Some(why) = &plan.refused {
        out.push_str(&format!("! {why}\n"));
    }
    out.push_str(&format!(
        "Plan: {create} to create, {update} to update, {remove} to remove, {person} waiting for a person, {unchanged} unchanged\n"
    ));
    out
}

/// Whether something is done by itself once rows have moved, or the forge has merged.
pub fn waits_for_rows(standing: &Standing) -> bool {
    matches!(standing, Standing::Finishing { .. } | Standing::AwaitingSync { .. } | Standing::AwaitingMerge { .. })
}

/// Whether a drift waits for a person.
fn awaits_decision(standing: &Standing) -> bool {
    matches!(
        standing,
        Standing::AwaitingReview { .. } | Standing::Waiting { .. } | Standing::Drifted { .. } | Standing::Pinned { .. }
    )
}

/// Whether a person must decide before anything more happens.
pub fn needs_person(standing: &Standing) -> bool {
    matches!(
        standing,
        Standing::AwaitingReview { .. }
            | Standing::Waiting { .. }
            | Standing::Drifted { .. }
            | Standing::Blocked { .. }
            | Standing::NeedsManage { .. }
            | Standing::LiveEdit { .. }
            | Standing::Stopped { .. }
    )
}

/// Where it stands, for people.
pub fn describe(standing: &Standing) -> String {
    match standing {
        Standing::InSync => "in sync".into(),
        Standing::Changing => "changing".into(),
        Standing::Finishing { syncing: true, then } => format!("waits until the running sync has ended, then: {then}"),
        Standing::Finishing { syncing: false, then } => {
            format!("waits until the rows of the last sync are normalized, then: {then}")
        }
        Standing::AwaitingReview { branch, target, edited } => {
            let edited = if *edited { ", edited by a person" } else { "" };
            format!("drift {} awaits review on {branch}{edited}", target.short())
        }
        Standing::AwaitingMerge { branch, target, rule } => {
            format!("drift {} is taken in by rule:{rule} once the forge has merged {branch}", target.short())
        }
        Standing::Waiting { target } => {
            format!("drift {} waits: as many repairs as `max_open` allows are open", target.short())
        }
        Standing::AwaitingSync { target } => {
            format!("drift {} waits for one sync to compare values", target.short())
        }
        Standing::Rejected { target, by, reason } => format!("drift {} rejected by {by}: {reason}", target.short()),
        Standing::Pinned { target, version, until, by, reason } => {
            format!(
                "pinned at version {version} until {until} by {by}: {reason}; drift {} is not asked",
                target.short()
            )
        }
        Standing::Drifted { target } => format!("drift {} (mode observe: reported only)", target.short()),
        Standing::NeedsManage { what } => format!("needs mode: manage: {what}"),
        Standing::Blocked { reason } => format!("blocked: {reason}"),
        Standing::Unseen { reason } => format!("could not look: {reason}"),
        Standing::Failed { reason, retry_at: Some(at) } => format!("failed: {reason} (again at {at})"),
        Standing::Failed { reason, retry_at: None } => format!("failed: {reason}"),
        Standing::LiveEdit { properties, branch, unsaid, frozen, declined } => {
            let mut text = format!(
                "live edit: {} changed in the engine, not written until it is taken back there or follows in git",
                properties.join(", ")
            );
            if let Some(branch) = branch {
                text.push_str(&format!("; merge {branch} to keep it"));
            }
            if *declined {
                text.push_str(
                    "; it was offered, and that was declined: say it in the spec yourself, or have git's value written back with \
                     `on_live_edit: revert`",
                );
            }
            if !unsaid.is_empty() {
                text.push_str(&format!("; no spec says this of {}", unsaid.join(", ")));
            }
            if !frozen.is_empty() {
                let names = frozen.join(", ");
                text.push_str(&format!(
                    "; {names} changed again and again and is left alone until a commit gives it another value or it is taken back"
                ));
            }
            text
        }
        Standing::Stopped { reason } => format!("stopped in the engine: {reason}; it is never started again by itself"),
        Standing::Retired => "retired: its spec is gone".into(),
        Standing::Broken => "its spec is broken: see `aam check`".into(),
    }
}
