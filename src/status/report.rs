//! The one report of where everything stands, for command line, socket and logs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Severity};
use crate::drift::Radius;
use crate::model::{CommitId, ConnectionRef, Fingerprint, RemoteInfo, StreamName};
use crate::plan::{
    ConnectionPlan, ConnectionRow, ConnectionStatus, DriftRow, Job, JobState, ObjectKind, Plan, Standing, Step,
    Trouble, describe, needs_person, requests, waits_for_rows,
};

/// Where everything stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The committed state it is about.
    pub commit: Option<CommitId>,
    /// The tracked branch.
    pub branch: Option<String>,
    /// Why bot commits are kept out now, if they are.
    pub blocked: Option<String>,
    /// How the repository's remote stands, if it has one.
    #[serde(default)]
    pub remote: Option<RemoteInfo>,
    /// What fails about the plans on people's requests, if something does.
    #[serde(default)]
    pub plans: Option<PlansTrouble>,
    /// By name.
    pub connections: Vec<ConnectionReport>,
    /// Errors and warnings in the committed files, as one line each: place, code, message.
    pub problems: Vec<String>,
    /// Whether one of them is an error.
    pub invalid: bool,
    /// Why removals are withheld, if they are.
    pub refused: Option<String>,
    /// Objects of the engine that nobody declared: never touched.
    #[serde(default)]
    pub unowned: Vec<Unowned>,
}

/// Plans that could not be told on the requests of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlansTrouble {
    /// Where: `github.com/acme/config`.
    pub project: String,
    /// What fails.
    pub trouble: Trouble,
}

/// An object of the engine that nobody declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unowned {
    /// What it is.
    pub kind: ObjectKind,
    /// What it is called there.
    pub name: String,
    /// Its id there.
    pub id: String,
}

/// Where one connection stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Its name.
    pub name: ConnectionRef,
    /// `PENDING`, `ACTIVE`, …; absent before the registry knows it.
    pub status: Option<ConnectionStatus>,
    /// What the plan says about it.
    #[serde(flatten)]
    pub standing: Standing,
    /// The same in words.
    pub summary: String,
    /// Steps that would be done now.
    pub pending: Vec<String>,
    /// Steps that fail while the rest runs, and when they are tried again.
    pub troubles: BTreeMap<String, Trouble>,
    /// The catalog version in force.
    pub version: u32,
    /// Its fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// When its source was last looked at.
    pub looked_at: Option<DateTime<Utc>>,
    /// Why the last look saw nothing, if so.
    pub unseen: Option<String>,
    /// Whether its spec is broken and the last good version in force.
    pub stale: bool,
    /// Its pin, while it holds.
    #[serde(default)]
    pub pin: Option<Pinned>,
    /// Its open drift.
    pub drift: Option<DriftRow>,
    /// What its drift reaches.
    #[serde(default)]
    pub radius: Option<Box<Radius>>,
    /// Its newest job.
    pub job: Option<Job>,
    /// Streams that a breaking drift holds back from syncs.
    pub held: Vec<StreamName>,
    /// How many records lie in the dead letters.
    pub dead_letters: u64,
}

/// A pin that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The catalog version whose schema stays.
    pub version: u32,
    /// As the spec says it.
    pub until: String,
    /// When it ends.
    pub ends: DateTime<Utc>,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a report is made from besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// What the registry remembers.
    pub rows: &'a [ConnectionRow],
    /// Open drifts.
    pub drifts: &'a [DriftRow],
    /// Problems of the committed files.
    pub diagnostics: &'a [Diagnostic],
    /// Connections whose last good version is in force instead of their file.
    pub stale: &'a [ConnectionRef],
}

impl Report {
    /// Joins a plan with what the registry remembers. Jobs and dead letters are filled in by the caller.
    pub fn new(plan: &Plan, sources: Sources<'_>) -> Self {
        let rows: BTreeMap<_, _> = sources.rows.iter().map(|row| (row.id, row)).collect();
        // Of several the first counts: they come newest first.
        let drifts: BTreeMap<_, _> = sources.drifts.iter().rev().map(|drift| (drift.connection, drift)).collect();
        let connections = plan.connections.iter().map(|connection| {
            let row = connection.id.and_then(|id| rows.get(&id).copied());
            let look = row.and_then(|row| row.look.as_ref());
            ConnectionReport {
                name: connection.name.clone(),
                status: row.map(|row| row.status),
                standing: connection.standing.clone(),
                summary: describe(&connection.standing),
                pending: connection.steps.iter().filter(|s| !s.is_routine()).map(Step::describe).collect(),
                troubles: row.map(|row| troubles(connection, row)).unwrap_or_default(),
                version: row.map_or(0, |row| row.version),
                fingerprint: row.and_then(|row| row.fingerprint.clone()),
                looked_at: look.map(|look| look.at),
                unseen: look.and_then(|look| look.seen.clone().err()),
                stale: sources.stale.contains(&connection.name),
                pin: None,
                drift: connection.id.and_then(|id| drifts.get(&id)).map(|drift| (*drift).clone()),
                radius: connection.radius.clone(),
                job: None,
                held: Vec::new(),
                dead_letters: 0,
            }
        });
        Self {
            commit: plan.commit.clone(),
            branch: None,
            blocked: None,
            remote: None,
            plans: None,
            connections: connections.collect(),
            problems: sources.diagnostics.iter().map(one_line).collect(),
            invalid: sources.diagnostics.iter().any(|d| d.severity == Severity::Error),
            refused: plan.refused.clone(),
            unowned: Vec::new(),
        }
    }

    /// The exit code of `plan`, `apply`, `status` and `drift list`: 1 > 4 > 3 > 2 > 0.
    pub fn exit_code(&self) -> u8 {
        // What a retired connection saw or did last is history.
        let live = || self.connections.iter().filter(|c| !matches!(c.standing, Standing::Retired));
        let any = |test: &dyn Fn(&ConnectionReport) -> bool| live().any(test);
        if self.invalid
            || self.plans.is_some()
            || any(&|c| matches!(c.standing, Standing::Failed { .. } | Standing::Broken))
            || any(&|c| c.sync_failed() || !c.troubles.is_empty())
        {
            1
        } else if self.remote.as_ref().is_some_and(|remote| remote.trouble.is_some())
            || any(&|c| c.unseen.is_some() || matches!(c.standing, Standing::Unseen { .. }))
        {
            4
        } else if self.refused.is_some() || any(&|c| needs_person(&c.standing)) {
            3
        } else if any(&|c| !c.pending.is_empty() || waits_for_rows(&c.standing)) {
            2
        } else {
            0
        }
    }
}

impl ConnectionReport {
    /// Whether its newest sync failed.
    pub fn sync_failed(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.state == JobState::Failed)
    }
}

/// What failed and is still to be done.
fn troubles(connection: &ConnectionPlan, row: &ConnectionRow) -> BTreeMap<String, Trouble> {
    let planned = connection.steps.iter().map(Step::describe).chain([requests::TROUBLE.to_owned()]);
    planned.filter_map(|step| row.troubles.get(&step).map(|trouble| (step, trouble.clone()))).collect()
}

fn one_line(diagnostic: &Diagnostic) -> String {
    match &diagnostic.place {
        Some(place) => {
            format!("{}:{}:{}: {} {}", place.file, place.line, place.column, diagnostic.code, diagnostic.message)
        }
        None => format!("{} {}", diagnostic.code, diagnostic.message),
    }
}
