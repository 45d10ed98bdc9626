//! What is planned, case by case: specs and locks as text, what the registry remembers, and the plan as it is printed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::model::{Catalog, CommitDraft, ConnectionId, ConnectionRef, Fingerprint, RepoPath};
use crate::spec::{Desired, Input, Lock, Mode, OnDelete, Rejection, Schedule, lock, resolve};

/// Connections that stand as their specs and locks say; a test changes one thing and looks at the plan.
struct Case {
    desired: Desired,
    rows: Vec<ConnectionRow>,
    drifts: Vec<DriftRow>,
    facts: BTreeMap<ConnectionId, Facts>,
    limits: Limits,
    remote_down: Option<&'static str>,
    behind: Option<Behind>,
}

fn now() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn id(n: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(n))
}

/// A fingerprint that begins with this digit.
fn shows(digit: char) -> Fingerprint {
    format!("s1:{}", digit.to_string().repeat(64)).parse().unwrap()
}

fn draft(subject: &str) -> CommitDraft {
    CommitDraft { subject: subject.into(), body: String::new(), trailers: Vec::new(), edits: Vec::new() }
}

fn proposed(digit: char) -> RepairFacts {
    RepairFacts {
        automatic: None,
        taken_back: Ok(None),
        proposed: Some((shows(digit), draft("repair"))),
        rejected: None,
        rejection_noted: false,
        by_rule: None,
        branch: "aam/drift/x".into(),
        branch_current: false,
        breaking: false,
        automatic_breaking: false,
        awaits_sync: false,
        radius: crate::drift::Radius::default(),
    }
}

fn rejection(reason: &str) -> Rejection {
    let (by, at) = ("Pat".to_owned(), String::new());
    Rejection { fingerprint: shows('b'), by, at, reason: reason.to_owned(), changes: Vec::new() }
}

fn drift(connection: ConnectionId, digit: char, branch: Option<&str>) -> DriftRow {
    DriftRow {
        id: Uuid::from_u128(77),
        connection,
        base: shows('0'),
        target: shows(digit),
        status: DriftStatus::Pending,
        changes: Vec::new(),
        confidence: 0.5,
        automatic: "no".into(),
        branch: branch.map(str::to_owned),
        opened_at: now(),
        changed_at: now(),
        cause: "seen".into(),
    }
}

impl Case {
    /// Connections with these lines at the end of their specs; in sync. Numbered from 1 in this order.
    fn of(connections: &[(&str, &str)]) -> Self {
        let mut files = BTreeMap::new();
        let mut write = |path: String, text: String| {
            files.insert(RepoPath::new(&path).unwrap(), Arc::from(text.into_bytes()));
        };
        write(
            "connectors.d/w.yaml".into(),
            "kind: destination\ntype: postgres\nconfig: {host: h, database: d, username: u}\n".into(),
        );
        for (n, (name, more)) in connections.iter().enumerate() {
            let body = serde_json::json!({"t": {"modes": ["full_refresh"], "fields": {"id": "integer!"}}});
            let catalog = Catalog::from_body(&body).unwrap();
            let fingerprint = catalog.fingerprint();
            let lock = Lock { id: id(n as u128 + 1), version: 1, fingerprint, catalog };
            write(
                format!("connectors.d/{name}.yaml"),
                format!(
                    "kind: connection\nsource: {{type: file, config: {{path: /x}}}}\ndestination: w\n\
                     schedule: manual\ndrift: {{check: manual}}\n{more}"
                ),
            );
            write(format!("connectors.d/{name}.lock.yaml"), lock::render(&lock, name));
        }
        let resolution = resolve(&Input {
            files: &files,
            unreadable: &BTreeMap::new(),
            last_good: &BTreeMap::new(),
            engine: Default::default(),
            mode_cap: Mode::Manage,
            look: Schedule::Every(Duration::from_secs(900)),
        });
        let mut case = Self {
            desired: resolution.desired,
            rows: Vec::new(),
            drifts: Vec::new(),
            facts: BTreeMap::new(),
            remote_down: None,
            behind: None,
            limits: Limits { max_open: 5, budget_min: 3, budget_percent: 10, confirmed: Confirmed::Nothing },
        };
        assert_eq!(case.desired.connections.len(), connections.len(), "{:?}", resolution.diagnostics);
        for connection in case.desired.connections.values() {
            let lock = connection.lock.as_ref().unwrap();
            case.facts.insert(lock.id, Facts { secrets: Some(Ok("s".into())), ..Facts::default() });
            case.rows.push(ConnectionRow {
                id: lock.id,
                name: connection.name.clone(),
                status: ConnectionStatus::Active,
                reason: None,
                retry_at: None,
                failures: 0,
                objects: BTreeMap::from([(ObjectKind::Connection, EngineId("c".into()))]),
                version: 1,
                fingerprint: Some(lock.fingerprint.clone()),
                applied_digest: Some(connection.digest.clone()),
                tried: None,
                secrets: Some("s".into()),
                look: Some(Look { at: now(), seen: Ok(lock.fingerprint.clone()) }),
                last_sync_at: Some(now()),
                last_ended_job: None,
                normalized_job: None,
                created_at: now(),
                paused: false,
                troubles: BTreeMap::new(),
                held: Default::default(),
            });
        }
        case
    }

    /// One connection, `crm`.
    fn crm(more: &str) -> Self {
        Self::of(&[("crm", more)])
    }

    fn row(&mut self) -> &mut ConnectionRow {
        &mut self.rows[0]
    }

    fn facts(&mut self) -> &mut Facts {
        self.facts.get_mut(&id(1)).unwrap()
    }

    fn plan(&self) -> Plan {
        plan(&World {
            drives_itself: false,
            engine_down: None,
            remote_down: self.remote_down,
            behind: self.behind.as_ref(),
            commit: None,
            desired: &self.desired,
            rows: &self.rows,
            drifts: &self.drifts,
            facts: &self.facts,
            limits: &self.limits,
            now: now(),
        })
    }

    /// The plan without its last line, which counts.
    fn text(&self) -> String {
        let text = render(&self.plan());
        text.lines().filter(|line| !line.starts_with("Plan:")).map(|line| format!("{line}\n")).collect()
    }

    fn after(mut self, change: impl FnOnce(&mut Self)) -> String {
        change(&mut self);
        self.text()
    }
}

#[test]
fn what_agrees_plans_to_nothing() {
    let case = Case::crm("");
    assert!(case.plan().is_empty());
    insta::assert_snapshot!(render(&case.plan()), @r"
    = crm  in sync
    Plan: 0 to create, 0 to update, 0 to remove, 0 waiting for a person, 1 unchanged
    ");
}

#[test]
fn a_new_connection_is_onboarded_if_its_mode_allows() {
    insta::assert_snapshot!(Case::crm("").after(|c| c.rows.clear()), @"+ crm  onboard from its lock: check, create");
    let unlocked = |c: &mut Case| {
        c.rows.clear();
        c.desired.connections.values_mut().for_each(|c| c.lock = None);
    };
    insta::assert_snapshot!(Case::crm("").after(unlocked), @"+ crm  onboard: check, create, discover, write its lock");
    insta::assert_snapshot!(Case::crm("mode: propose\n").after(unlocked), @"! crm  needs mode: manage: it does not exist in the engine yet");
    // half-way: what is missing is made
    insta::assert_snapshot!(Case::crm("").after(|c| c.row().objects.clear()), @"+ crm  onboard from its lock: check, create");
}

#[test]
fn the_engine_follows_lock_and_spec() {
    let all = |c: &mut Case| {
        c.row().name = "old".parse().unwrap();
        c.row().paused = true;
        c.row().fingerprint = Some(shows('0'));
        c.row().applied_digest = Some("other".into());
        c.facts().lock = Some(("its version lags behind".into(), draft("lock")));
    };
    insta::assert_snapshot!(Case::crm("").after(all), @r"
    ~ crm  take the new name (was old)
    ~ crm  resume: its spec is back
    ~ crm  update catalog to version 2 (279ce447)
    ~ crm  update settings from its spec
    ~ crm  commit lock: its version lags behind
    ");
    // what is written is told once, with what it does to data
    let told = |c: &mut Case| {
        c.row().fingerprint = Some(shows('0'));
        c.facts().writes = vec!["stream a: 1 → 2 (what landed stays)".into()];
    };
    insta::assert_snapshot!(Case::crm("").after(told), @"~ crm  update catalog to version 2 (279ce447): stream a: 1 → 2 (what landed stays)");
    let secret = |c: &mut Case| c.row().secrets = Some("old".into());
    insta::assert_snapshot!(Case::crm("").after(secret), @"~ crm  update settings from its spec");
    let approved = |c: &mut Case| c.row().fingerprint = Some(shows('0'));
    insta::assert_snapshot!(Case::crm("mode: propose\n").after(approved), @"! crm  needs mode: manage: update catalog to version 2 (279ce447)");
}

#[test]
fn what_landed_is_finished_with_before_another_lock_comes_into_force() {
    let merged = |c: &mut Case| c.row().fingerprint = Some(shows('0'));
    let syncing = |c: &mut Case| {
        merged(c);
        c.facts().syncing = true;
    };
    insta::assert_snapshot!(Case::crm("").after(syncing), @r"
    ~ crm  waits until the running sync has ended, then: update catalog to version 2 (279ce447)
    . crm  follow the running sync
    ");
    // A paused connection follows no sync.
    let paused = |c: &mut Case| {
        syncing(c);
        c.row().paused = true;
    };
    insta::assert_snapshot!(Case::crm("").after(paused), @r"
    ~ crm  resume: its spec is back
    . crm  follow the running sync
    ");
    let only_paused = |c: &mut Case| {
        c.row().paused = true;
        c.facts().syncing = true;
    };
    insta::assert_snapshot!(Case::crm("").after(only_paused), @r"
    ~ crm  resume: its spec is back
    . crm  follow the running sync
    ");
    let landed = |c: &mut Case| {
        merged(c);
        c.row().applied_digest = None;
        c.facts().unnormalized = Some(7);
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(landed), @r"
    ~ crm  waits until the rows of the last sync are normalized, then: update catalog to version 2 (279ce447)
    . crm  normalize rows of job 7
    ");
    // Settings leave the lock in force alone.
    let settings = |c: &mut Case| {
        c.row().applied_digest = None;
        c.facts().unnormalized = Some(7);
    };
    insta::assert_snapshot!(Case::crm("").after(settings), @r"
    ~ crm  update settings from its spec
    . crm  normalize rows of job 7
    ");
    let automatic = |breaking: bool| {
        move |c: &mut Case| {
            let automatic = Some((shows('a'), "additive".into(), draft("repair")));
            c.facts().repair = Some(RepairFacts { automatic, automatic_breaking: breaking, ..proposed('b') });
            c.facts().syncing = true;
        }
    };
    insta::assert_snapshot!(Case::crm("").after(automatic(true)), @r"
    ~ crm  waits until the running sync has ended, then: commit repair aaaaaaaa (rule:additive)
    . crm  follow the running sync
    ");
    insta::assert_snapshot!(Case::crm("").after(automatic(false)), @r"
    ~ crm  commit repair aaaaaaaa (rule:additive)
    . crm  follow the running sync
    ");
    // What follows from a lock is planned once it is in force.
    let healing = |c: &mut Case| {
        automatic(false)(c);
        c.facts().syncing = false;
        merged(c);
    };
    insta::assert_snapshot!(Case::crm("").after(healing), @"~ crm  update catalog to version 2 (279ce447)");
}

#[test]
fn what_a_crash_cut_off_is_gone_on_with() {
    let unsettled = |c: &mut Case| c.facts().unsettled = true;
    insta::assert_snapshot!(Case::crm("").after(unsettled), @r"
    = crm  in sync
    . crm  look up what became of interrupted effects
    ");
    insta::assert_snapshot!(Case::crm("mode: propose\n").after(unsettled), @"= crm  in sync");
    let with_drift = |c: &mut Case| {
        unsettled(c);
        c.facts().repair = Some(proposed('b'));
    };
    insta::assert_snapshot!(Case::crm("").after(with_drift), @r"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    . crm  look up what became of interrupted effects
    ~ crm  open repair bbbbbbbb on aam/drift/x
    ");
    // The version is recorded already, but what the engine carries is uncertain.
    let healing = |c: &mut Case| c.row().status = ConnectionStatus::Healing;
    insta::assert_snapshot!(Case::crm("").after(healing), @"~ crm  update catalog to version 1 (279ce447)");
    let unrecorded = |c: &mut Case| {
        healing(c);
        c.row().fingerprint = Some(shows('0'));
    };
    insta::assert_snapshot!(Case::crm("").after(unrecorded), @"~ crm  update catalog to version 2 (279ce447)");
    insta::assert_snapshot!(Case::crm("mode: observe\n").after(healing), @"! crm  needs mode: manage: update catalog to version 1 (279ce447)");
    let pending = |c: &mut Case| c.row().status = ConnectionStatus::Pending;
    insta::assert_snapshot!(Case::crm("").after(pending), @"+ crm  onboard from its lock: check, create");
    insta::assert_snapshot!(Case::crm("mode: propose\n").after(pending), @"! crm  needs mode: manage: it does not exist in the engine yet");
}

#[test]
fn a_person_must_act_first() {
    let secret = |c: &mut Case| c.facts().secrets = Some(Err("secret ${env:P}: not set".into()));
    insta::assert_snapshot!(Case::crm("").after(secret), @"! crm  blocked: secret ${env:P}: not set");
    let choice = |c: &mut Case| c.facts().blocked = Some("no stream `x`".into());
    insta::assert_snapshot!(Case::crm("").after(choice), @"! crm  blocked: no stream `x`");
}

#[test]
fn a_failed_connection_rests_until_its_time_or_a_change() {
    let failed = |retry: i64| {
        move |c: &mut Case| {
            c.row().status = ConnectionStatus::Failed;
            c.row().reason = Some("refused".into());
            c.row().retry_at = Some(now() + TimeDelta::seconds(retry));
            let tried = attempt(c.desired.connections.values().next().unwrap(), Some("s"));
            c.row().tried = Some(tried);
        }
    };
    insta::assert_snapshot!(Case::crm("").after(failed(5)), @"= crm  failed: refused (again at 2026-01-01T12:00:05Z)");
    insta::assert_snapshot!(Case::crm("").after(failed(0)), @"~ crm  update settings from its spec");
    let mended = |c: &mut Case| {
        failed(5)(c);
        c.facts().secrets = Some(Ok("new".into()));
    };
    insta::assert_snapshot!(Case::crm("").after(mended), @"~ crm  update settings from its spec");
    let asked = |c: &mut Case| {
        failed(5)(c);
        c.facts().again = true;
    };
    insta::assert_snapshot!(Case::crm("").after(asked), @"~ crm  update settings from its spec");
}

#[test]
fn looks_and_syncs_follow_schedules_and_asks() {
    let asked = |c: &mut Case| {
        c.facts().look_asked = true;
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(asked), @r"
    = crm  in sync
    . crm  look at the source
    . crm  sync
    ");
    // A branch that cannot be opened or closed keeps nothing from being read.
    let beside_drift = |c: &mut Case| {
        asked(c);
        c.facts().repair = Some(proposed('b'));
    };
    insta::assert_snapshot!(Case::crm("").after(beside_drift), @r"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    . crm  look at the source
    ~ crm  open repair bbbbbbbb on aam/drift/x
    . crm  sync
    ");
    let beside_settings = |c: &mut Case| {
        asked(c);
        c.row().applied_digest = None;
    };
    insta::assert_snapshot!(Case::crm("").after(beside_settings), @r"
    . crm  look at the source
    ~ crm  update settings from its spec
    ");
    let running = |c: &mut Case| c.facts().syncing = true;
    insta::assert_snapshot!(Case::crm("").after(running), @r"
    = crm  in sync
    . crm  follow the running sync
    ");
    // Begun is followed to its end, whatever else keeps the connection.
    insta::assert_snapshot!(Case::crm("mode: observe\n").after(running), @r"
    = crm  in sync
    . crm  follow the running sync
    ");
    let unapplied = |c: &mut Case| {
        running(c);
        c.row().applied_digest = None;
    };
    insta::assert_snapshot!(Case::crm("mode: propose\n").after(unapplied), @r"
    ! crm  needs mode: manage: update settings from its spec
    . crm  follow the running sync
    ");
    let without_secret = |c: &mut Case| {
        running(c);
        c.facts().secrets = Some(Err("secret ${env:P}: not set".into()));
    };
    insta::assert_snapshot!(Case::crm("").after(without_secret), @"! crm  blocked: secret ${env:P}: not set");
    let landed = |c: &mut Case| c.facts().unnormalized = Some(7);
    insta::assert_snapshot!(Case::crm("").after(landed), @r"
    = crm  in sync
    . crm  normalize rows of job 7
    ");
    // In `observe` nothing but looks is done.
    insta::assert_snapshot!(Case::crm("mode: observe\n").after(asked), @r"
    = crm  in sync
    . crm  look at the source
    ");
    let unseen = |c: &mut Case| c.row().look = Some(Look { at: now(), seen: Err("refused".into()) });
    insta::assert_snapshot!(Case::crm("").after(unseen), @"= crm  could not look: refused");
}

#[test]
fn a_source_is_looked_at_once_in_a_period() {
    let looked = |minutes: i64| {
        move |c: &mut Case| {
            let at = now() - TimeDelta::minutes(minutes);
            c.row().look.as_mut().expect("looked at").at = at;
            let every = Schedule::Every(Duration::from_secs(900));
            c.desired.connections.values_mut().for_each(|c| c.drift.check = every.clone());
        }
    };
    insta::assert_snapshot!(Case::crm("").after(looked(14)), @"= crm  in sync");
    insta::assert_snapshot!(Case::crm("").after(looked(15)), @r"
    = crm  in sync
    . crm  look at the source
    ");
}

#[test]
fn values_are_compared_before_anything_is_offered() {
    let unsampled = |c: &mut Case| {
        c.facts().repair = Some(proposed('b'));
        c.facts().unsampled = true;
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(unsampled), @"
    ~ crm  compare values of the fields that changed
    . crm  sync
    ");
    // Where they cannot be had for now, the rest goes on.
    let failing = |c: &mut Case| {
        unsampled(c);
        let trouble = Trouble { reason: "refused".into(), since: now(), failures: 1, retry_at: now() };
        c.row().troubles.insert(Step::Sample.describe(), trouble);
    };
    insta::assert_snapshot!(Case::crm("").after(failing), @"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    ~ crm  compare values of the fields that changed
    ~ crm  open repair bbbbbbbb on aam/drift/x
    . crm  sync
    ");
}

#[test]
fn old_values_are_kept_before_a_sync_may_replace_them() {
    let unkept = |c: &mut Case| {
        c.facts().repair = Some(proposed('b'));
        c.facts().unkept = true;
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(unkept), @"~ crm  keep what landed of the fields that went, to compare it with the next sync");
    // Rows that move, or are not read yet, come first.
    let landed = |c: &mut Case| {
        unkept(c);
        c.facts().unnormalized = Some(8);
    };
    insta::assert_snapshot!(Case::crm("").after(landed), @"
    ~ crm  waits until the rows of the last sync are normalized, then: keep what landed of the fields that went, to compare it with the next sync
    . crm  normalize rows of job 8
    ");
    // What landed is compared before anything else is kept.
    let uncompared = |c: &mut Case| {
        unkept(c);
        c.facts().uncompared = true;
    };
    insta::assert_snapshot!(Case::crm("").after(uncompared), @"
    ~ crm  compare values of the fields that changed
    . crm  sync
    ");
    let failing = |c: &mut Case| {
        unkept(c);
        let trouble = Trouble { reason: "refused".into(), since: now(), failures: 1, retry_at: now() };
        c.row().troubles.insert(Step::Keep.describe(), trouble);
    };
    insta::assert_snapshot!(Case::crm("").after(failing), @"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    ~ crm  keep what landed of the fields that went, to compare it with the next sync
    ~ crm  open repair bbbbbbbb on aam/drift/x
    . crm  sync
    ");
}

#[test]
fn what_came_is_taken_in_between_syncs_and_nobody_is_asked_before_the_next_one() {
    let taken_in = |c: &mut Case| {
        let automatic = Some((shows('c'), "additive".to_owned(), draft("+ headcount")));
        c.facts().repair = Some(RepairFacts { automatic, ..proposed('b') });
        c.facts().awaiting = true;
        c.facts().unnormalized = Some(8);
    };
    insta::assert_snapshot!(Case::crm("").after(taken_in), @"
    ~ crm  waits until the rows of the last sync are normalized, then: commit repair cccccccc (rule:additive)
    . crm  normalize rows of job 8
    ");
    let waits = |c: &mut Case| {
        c.facts().repair = Some(RepairFacts { awaits_sync: true, ..proposed('b') });
        c.facts().awaiting = true;
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(waits), @"
    ~ crm  drift bbbbbbbb waits for one sync to compare values
    . crm  note drift bbbbbbbb (waits for one sync to compare values)
    . crm  sync
    ");
    let landed = |c: &mut Case| {
        waits(c);
        c.facts().uncompared = true;
        c.facts().unnormalized = Some(8);
    };
    insta::assert_snapshot!(Case::crm("").after(landed), @"
    ~ crm  compare values of the fields that changed
    . crm  normalize rows of job 8
    ");
}

#[test]
fn a_repair_is_tried_before_it_is_offered() {
    let untried = |c: &mut Case| {
        c.facts().repair = Some(proposed('b'));
        c.facts().untried = true;
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(untried), @"
    ~ crm  try the repair on landed records
    . crm  sync
    ");
    // Where landing cannot be read for now, it is offered untried.
    let failing = |c: &mut Case| {
        untried(c);
        let trouble = Trouble { reason: "refused".into(), since: now(), failures: 1, retry_at: now() };
        c.row().troubles.insert(Step::Try.describe(), trouble);
    };
    insta::assert_snapshot!(Case::crm("").after(failing), @"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    ~ crm  try the repair on landed records
    ~ crm  open repair bbbbbbbb on aam/drift/x
    . crm  sync
    ");
}

#[test]
fn drift_is_committed_proposed_or_only_noted() {
    let automatic = |c: &mut Case| {
        let automatic = Some((shows('a'), "additive".into(), draft("repair")));
        c.facts().repair = Some(RepairFacts { automatic, ..proposed('b') });
    };
    insta::assert_snapshot!(Case::crm("").after(automatic), @"~ crm  commit repair aaaaaaaa (rule:additive)");
    let reverted = |c: &mut Case| {
        automatic(c);
        let rejection = rejection("reverted by commit 1234");
        c.facts().repair.as_mut().unwrap().taken_back = Ok(Some((rejection, draft("reject"))));
    };
    insta::assert_snapshot!(Case::crm("").after(reverted), @"~ crm  commit rejection: the automatic repair was reverted by commit 1234");
    // A revert that cannot be noted keeps only the repair from being made again.
    let not_noted = |c: &mut Case| {
        reverted(c);
        c.facts().repair.as_mut().unwrap().taken_back = Err("cannot commit".into());
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(not_noted), @r"
    ! crm  blocked: cannot commit
    . crm  sync
    ");
    let open = |c: &mut Case| c.facts().repair = Some(proposed('b'));
    insta::assert_snapshot!(Case::crm("").after(open), @r"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    ~ crm  open repair bbbbbbbb on aam/drift/x
    ");
    insta::assert_snapshot!(Case::crm("mode: propose\n").after(automatic), @r"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    ~ crm  open repair bbbbbbbb on aam/drift/x
    ");
    insta::assert_snapshot!(Case::crm("mode: observe\n").after(open), @r"
    ! crm  drift bbbbbbbb (mode observe: reported only)
    . crm  note drift bbbbbbbb (observed)
    ");
    let opened = |c: &mut Case| {
        c.facts().repair = Some(RepairFacts { branch_current: true, ..proposed('b') });
        c.facts().branch = Some(("aam/drift/x".into(), false));
        c.drifts.push(drift(id(1), 'b', Some("aam/drift/x")));
    };
    insta::assert_snapshot!(Case::crm("").after(opened), @"! crm  drift bbbbbbbb awaits review on aam/drift/x");
    let edited = |c: &mut Case| {
        opened(c);
        c.facts().branch = Some(("aam/drift/x".into(), true));
    };
    insta::assert_snapshot!(Case::crm("").after(edited), @"! crm  drift bbbbbbbb awaits review on aam/drift/x, edited by a person");
    let moved_on = |c: &mut Case| {
        opened(c);
        c.facts().repair = Some(proposed('d'));
    };
    insta::assert_snapshot!(Case::crm("").after(moved_on), @r"
    ~ crm  drift dddddddd awaits review on aam/drift/x
    ~ crm  open repair dddddddd on aam/drift/x
    ");
}

#[test]
fn drift_that_is_over_is_closed() {
    let back = |c: &mut Case| {
        c.facts().branch = Some(("aam/drift/x".into(), false));
        c.drifts.push(drift(id(1), 'b', Some("aam/drift/x")));
    };
    insta::assert_snapshot!(Case::crm("").after(back), @"~ crm  close drift: the source and the lock agree");
    let unseen = |c: &mut Case| {
        back(c);
        c.row().look = Some(Look { at: now(), seen: Err("refused".into()) });
    };
    insta::assert_snapshot!(Case::crm("").after(unseen), @"= crm  could not look: refused");
    let rejected = |c: &mut Case| {
        back(c);
        c.facts().repair =
            Some(RepairFacts { proposed: None, rejected: Some((shows('b'), rejection("no"))), ..proposed('b') });
    };
    insta::assert_snapshot!(Case::crm("").after(rejected), @"~ crm  close drift: rejected by Pat: no");
    // A branch that is checked out stays until it is left.
    let kept = |c: &mut Case| {
        back(c);
        c.drifts.clear();
        c.facts().branch_in_use = true;
    };
    insta::assert_snapshot!(Case::crm("").after(kept), @"= crm  in sync");
    let rejected_and_kept = |c: &mut Case| {
        rejected(c);
        c.drifts.clear();
        c.facts().branch_in_use = true;
        c.facts().repair.as_mut().unwrap().rejection_noted = true;
    };
    insta::assert_snapshot!(Case::crm("").after(rejected_and_kept), @"= crm  drift bbbbbbbb rejected by Pat: no");
    // What was asked was more than what was rejected, and is gone from the source.
    let more = |c: &mut Case| {
        rejected(c);
        c.drifts[0].target = shows('c');
    };
    insta::assert_snapshot!(Case::crm("").after(more), @"~ crm  close drift: the source and the lock agree");
    let unknown = |c: &mut Case| {
        rejected(c);
        c.facts().branch = None;
        c.drifts.clear();
    };
    insta::assert_snapshot!(Case::crm("").after(unknown), @r"
    = crm  drift bbbbbbbb rejected by Pat: no
    . crm  note drift bbbbbbbb (rejected by Pat: no)
    ");
    let remembered = |c: &mut Case| {
        unknown(c);
        c.facts().repair.as_mut().unwrap().rejection_noted = true;
    };
    insta::assert_snapshot!(Case::crm("").after(remembered), @"= crm  drift bbbbbbbb rejected by Pat: no");
}

#[test]
fn only_so_many_repairs_are_open_and_the_worst_go_first() {
    let mut case = Case::of(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")]);
    case.limits.max_open = 3;
    for n in 1..=5 {
        case.facts.get_mut(&id(n)).unwrap().repair = Some(proposed('b'));
    }
    // c is open already, e breaks syncs, d waits since yesterday; a and b are new
    case.facts.get_mut(&id(3)).unwrap().branch = Some(("aam/drift/x".into(), false));
    case.facts.get_mut(&id(5)).unwrap().repair.as_mut().unwrap().breaking = true;
    let yesterday = now() - TimeDelta::days(1);
    case.drifts.push(DriftRow { opened_at: yesterday, ..drift(id(4), 'b', None) });
    insta::assert_snapshot!(case.text(), @r"
    ! a  drift bbbbbbbb waits: as many repairs as `max_open` allows are open
    . a  note drift bbbbbbbb (waiting)
    ! b  drift bbbbbbbb waits: as many repairs as `max_open` allows are open
    . b  note drift bbbbbbbb (waiting)
    ~ c  drift bbbbbbbb awaits review on aam/drift/x
    ~ c  open repair bbbbbbbb on aam/drift/x
    ~ d  drift bbbbbbbb awaits review on aam/drift/x
    ~ d  open repair bbbbbbbb on aam/drift/x
    ~ e  drift bbbbbbbb awaits review on aam/drift/x
    ~ e  open repair bbbbbbbb on aam/drift/x
    ");
}

#[test]
fn what_is_gone_is_retired_within_the_change_budget() {
    let gone = |names: &[&str], change: fn(&mut Case)| {
        let all: Vec<(String, &str)> = (1..=8).map(|n| (format!("c{n}"), "")).collect();
        let all: Vec<(&str, &str)> = all.iter().map(|(name, more)| (name.as_str(), *more)).collect();
        let mut case = Case::of(&all);
        for name in names {
            case.desired.connections.remove(&name.parse::<ConnectionRef>().unwrap());
        }
        change(&mut case);
        case.text().lines().filter(|line| !line.starts_with("= ")).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(gone(&["c1", "c2", "c3"], |c| c.facts().removal = Some((OnDelete::Delete, Mode::Manage))), @r"
    - c1  delete from the engine: its spec is gone
    - c2  pause: its spec is gone
    - c3  pause: its spec is gone
    ");
    let four = &["c1", "c2", "c3", "c4"];
    insta::assert_snapshot!(gone(four, |_| ()), @r"
    ! c1  blocked: 4 of 8 specs are gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ! c2  blocked: 4 of 8 specs are gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ! c3  blocked: 4 of 8 specs are gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ! c4  blocked: 4 of 8 specs are gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ! 4 of 8 specs are gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ");
    assert_eq!(gone(four, |c| c.limits.confirmed = Confirmed::All).lines().filter(|l| l.starts_with('-')).count(), 4);
    assert_eq!(gone(four, |c| c.limits.budget_percent = 50).lines().filter(|l| l.starts_with('-')).count(), 4);
    // Even within the budget, all at once is never taken for a wish.
    insta::assert_snapshot!(Case::crm("").after(|c| c.desired.connections.clear()), @r"
    ! crm  blocked: every spec is gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ! every spec is gone, the change budget is 3: nothing is removed until `aam apply --confirm-removals`
    ");
    let over = |c: &mut Case| {
        c.desired.connections.clear();
        c.row().status = ConnectionStatus::Retired;
    };
    insta::assert_snapshot!(Case::crm("").after(over), @"= crm  retired: its spec is gone");
    let broken = |c: &mut Case| {
        c.desired.connections.clear();
        c.desired.broken.insert("crm".parse().unwrap());
        c.desired.broken.insert("new".parse().unwrap());
    };
    insta::assert_snapshot!(Case::crm("").after(broken), @r"
    = crm  its spec is broken: see `aam check`
    = new  its spec is broken: see `aam check`
    ");
    // A folder that could not be read says nothing about what lies below it.
    let unread = |c: &mut Case| {
        c.desired.connections.clear();
        c.row().name = "acme/crm".parse().unwrap();
        c.desired.unread.insert("connectors.d/acme".into());
    };
    insta::assert_snapshot!(Case::crm("").after(unread), @"= acme/crm  its spec is broken: see `aam check`");
}

#[test]
fn dead_letters_wait_for_the_mapping_that_is_in_force() {
    let letters = |c: &mut Case| c.facts().to_replay = 3;
    insta::assert_snapshot!(Case::crm("").after(letters), @"~ crm  map 3 dead letters again: their mapping has changed");
    let asked = |c: &mut Case| {
        letters(c);
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(asked), @r"
    ~ crm  map 3 dead letters again: their mapping has changed
    . crm  sync
    ");
    // Rows that wait take the letters with them.
    let landed = |c: &mut Case| {
        letters(c);
        c.facts().unnormalized = Some(7);
    };
    insta::assert_snapshot!(Case::crm("").after(landed), @r"
    = crm  in sync
    . crm  normalize rows of job 7
    ");
    let syncing = |c: &mut Case| {
        letters(c);
        c.facts().syncing = true;
    };
    insta::assert_snapshot!(Case::crm("").after(syncing), @r"
    = crm  in sync
    . crm  follow the running sync
    ");
    let merged = |c: &mut Case| {
        letters(c);
        c.row().fingerprint = Some(shows('0'));
    };
    insta::assert_snapshot!(Case::crm("").after(merged), @"~ crm  update catalog to version 2 (279ce447)");
    insta::assert_snapshot!(Case::crm("mode: observe\n").after(letters), @"= crm  in sync");
}

#[test]
fn what_a_rule_takes_in_by_a_request_waits_for_the_forge_and_for_no_place() {
    let by_rule = |c: &mut Case| {
        c.limits.max_open = 0;
        c.facts().repair = Some(RepairFacts { by_rule: Some("additive".into()), ..proposed('b') });
    };
    let mut case = Case::crm("");
    by_rule(&mut case);
    insta::assert_snapshot!(case.text(), @"~ crm  open repair bbbbbbbb on aam/drift/x");
    let plan = case.plan();
    carry_out(&mut case, &plan);
    insta::assert_snapshot!(case.text(), @"~ crm  drift bbbbbbbb is taken in by rule:additive once the forge has merged aam/drift/x");
    case.facts().branch = Some(("aam/drift/x".into(), true));
    insta::assert_snapshot!(case.text(), @"! crm  drift bbbbbbbb awaits review on aam/drift/x, edited by a person");
}

#[test]
fn a_rejection_that_git_lacks_is_noted_before_anything_is_asked_and_then_offered() {
    let mut case = Case::crm("");
    case.facts().repair = Some(proposed('b'));
    let offer = Some(("aam/drift/rejection-of/default/crm".to_owned(), draft("reject")));
    let note = Some(vec![rejection("no")]);
    case.facts().unrecorded = Some(Unrecorded { over: false, note, offer });
    insta::assert_snapshot!(case.text(), @"
    . crm  note that git lacks 1 rejections
    ~ crm  offer the rejection on aam/drift/rejection-of/default/crm
    ");
    let plan = case.plan();
    carry_out(&mut case, &plan);
    insta::assert_snapshot!(case.text(), @"
    ~ crm  drift bbbbbbbb awaits review on aam/drift/x
    ~ crm  open repair bbbbbbbb on aam/drift/x
    ");
}

/// Carries a plan out on the rows as the loop would, as far as that needs no engine and no repository.
fn carry_out(case: &mut Case, plan: &Plan) {
    for planned in &plan.connections {
        let connection = case.desired.connections.values().find(|c| c.name == planned.name).cloned();
        let row = case.rows.iter_mut().find(|row| Some(row.id) == planned.id).unwrap();
        let facts = case.facts.get_mut(&row.id).unwrap();
        for step in &planned.steps {
            match step {
                Step::Rename { .. } => row.name = planned.name.clone(),
                Step::Settle => facts.unsettled = false,
                Step::Resume => (row.paused, row.status) = (false, ConnectionStatus::Active),
                Step::Heal { to, version, .. } => (row.fingerprint, row.version) = (Some(to.clone()), *version),
                Step::ApplySettings { digest, secrets, .. } => {
                    (row.applied_digest, row.secrets) = (Some(digest.clone()), Some(secrets.clone()));
                    facts.live = Live::Same;
                }
                Step::CommitLock { .. } => facts.lock = None,
                Step::Keep => facts.unkept = false,
                Step::Sample => (facts.unsampled, facts.uncompared) = (false, false),
                Step::Try => facts.untried = false,
                Step::CommitRejection { .. } => facts.repair.as_mut().unwrap().taken_back = Ok(None),
                Step::CommitRepair { .. } => facts.repair = None,
                Step::OfferRejection { .. } => facts.unrecorded.as_mut().unwrap().offer = None,
                Step::NoteRejections { .. } => facts.unrecorded.as_mut().unwrap().note = None,
                Step::Propose { branch, target, .. } => {
                    facts.branch = Some((branch.clone(), false));
                    facts.repair.as_mut().unwrap().branch_current = true;
                    let row = DriftRow { target: target.clone(), ..drift(row.id, 'b', Some(branch)) };
                    case.drifts.retain(|d| d.connection != row.connection);
                    case.drifts.push(row);
                }
                Step::NoteDrift { target, .. } => {
                    case.drifts.push(DriftRow { target: target.clone(), ..drift(row.id, 'b', None) });
                }
                Step::CloseDrift { drift, .. } => {
                    facts.branch = None;
                    case.drifts.retain(|d| Some(d.id) != *drift);
                }
                Step::ProposeLive { .. } => facts.live_offer.as_mut().unwrap().current = true,
                Step::RevertLive { .. } => (facts.live, facts.reverts) = (Live::Free, Default::default()),
                Step::LeaveBranch { branch, .. } => {
                    facts.live_branch = facts.live_branch.take().filter(|(name, _)| name != branch);
                    facts.merged.retain(|merged| merged != branch);
                    facts.left.retain(|left| left != branch);
                    facts.branch = facts.branch.take().filter(|(name, _)| name != branch);
                }
                Step::Retire { .. } => row.status = ConnectionStatus::Retired,
                Step::Look => (facts.look_asked, row.look.as_mut().unwrap().at) = (false, now()),
                Step::Sync => facts.sync_asked = false,
                Step::FollowSync => facts.syncing = false,
                Step::Normalize { .. } => (facts.unnormalized, facts.to_replay) = (None, 0),
                Step::Replay { .. } => facts.to_replay = 0,
                Step::Hold { streams } => row.held = streams.clone(),
                Step::NoteSync { .. } => (facts.started, facts.syncing) = (None, true),
                Step::Onboard { .. } | Step::Adopt => {
                    unreachable!("no case below begins without a row: {connection:?}")
                }
            }
        }
    }
}

#[test]
fn carrying_a_plan_out_ends_in_an_empty_plan() {
    let mut case =
        Case::of(&[("a", ""), ("b", ""), ("c", "mode: observe\n"), ("d", ""), ("e", ""), ("f", ""), ("g", "")]);
    let at = |case: &mut Case, n: u128| case.rows.iter().position(|row| row.id == id(n)).unwrap();
    let row = at(&mut case, 1);
    case.rows[row].paused = true;
    case.rows[row].name = "before".parse().unwrap();
    case.rows[row].fingerprint = Some(shows('0'));
    case.rows[row].applied_digest = None;
    case.facts.get_mut(&id(2)).unwrap().repair = Some(proposed('b'));
    case.facts.get_mut(&id(3)).unwrap().repair = Some(proposed('b'));
    case.facts.get_mut(&id(4)).unwrap().repair = Some(proposed('b'));
    case.limits.max_open = 1;
    case.facts.get_mut(&id(5)).unwrap().branch = Some(("aam/drift/x".into(), false));
    case.facts.get_mut(&id(6)).unwrap().look_asked = true;
    case.facts.get_mut(&id(6)).unwrap().sync_asked = true;
    case.desired.connections.remove(&"g".parse::<ConnectionRef>().unwrap());
    let first = case.plan();
    assert!(!first.is_empty());
    assert_eq!(first, case.plan(), "the same world gives the same plan");
    for _ in 0..3 {
        let plan = case.plan();
        carry_out(&mut case, &plan);
    }
    let last = case.plan();
    assert!(last.is_empty(), "{}", render(&last));
    assert_ne!(first.digest(), last.digest());
}

#[test]
fn a_plan_goes_through_json_and_time_alone_does_not_move_its_digest() {
    let mut case = Case::crm("");
    case.facts().repair = Some(proposed('b'));
    let plan = case.plan();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    let digest = plan.digest();
    case.facts().look_asked = true;
    assert_eq!(case.plan().digest(), digest);
    case.facts().repair = Some(proposed('d'));
    assert_ne!(case.plan().digest(), digest);
}

#[test]
fn a_remote_that_is_down_withholds_what_is_pushed_and_nothing_else() {
    let down = |c: &mut Case| {
        c.remote_down = Some("the remote is down");
        c.facts().sync_asked = true;
    };
    let automatic = |c: &mut Case| {
        let automatic = Some((shows('a'), "additive".into(), draft("repair")));
        c.facts().repair = Some(RepairFacts { automatic, ..proposed('b') });
        c.facts().sync_asked = true;
    };
    insta::assert_snapshot!(Case::crm("").after(automatic), @"~ crm  commit repair aaaaaaaa (rule:additive)");
    let withheld = |c: &mut Case| {
        automatic(c);
        down(c);
    };
    insta::assert_snapshot!(Case::crm("").after(withheld), @r"
    = crm  could not look: the remote is down
    . crm  sync
    ");
    let offered = |c: &mut Case| {
        c.facts().repair = Some(proposed('b'));
        down(c);
    };
    insta::assert_snapshot!(Case::crm("").after(offered), @r"
    ! crm  drift bbbbbbbb awaits review on aam/drift/x
    . crm  sync
    ");
    insta::assert_snapshot!(Case::crm("").after(down), @r"
    = crm  in sync
    . crm  sync
    ");
}

#[test]
fn what_an_older_state_says_is_withheld_and_rows_go_on_where_nothing_changed() {
    let behind = |maps_alike| {
        move |c: &mut Case| {
            c.behind = Some(Behind { why: "it is not here".into(), maps_alike });
            c.facts().sync_asked = true;
        }
    };
    insta::assert_snapshot!(Case::crm("").after(behind(true)), @r"
    = crm  could not look: it is not here
    . crm  sync
    ");
    let landed = |maps_alike| {
        move |c: &mut Case| {
            behind(maps_alike)(c);
            c.facts().unnormalized = Some(7);
        }
    };
    insta::assert_snapshot!(Case::crm("").after(landed(true)), @r"
    = crm  could not look: it is not here
    . crm  normalize rows of job 7
    ");
    insta::assert_snapshot!(Case::crm("").after(landed(false)), @"= crm  could not look: it is not here");
    let another_lock = |c: &mut Case| {
        behind(true)(c);
        c.facts().look_asked = true;
        c.row().fingerprint = Some(shows('0'));
    };
    insta::assert_snapshot!(Case::crm("").after(another_lock), @"= crm  could not look: it is not here");
    let another_name = |c: &mut Case| {
        behind(true)(c);
        c.row().name = "sales".parse().unwrap();
    };
    insta::assert_snapshot!(Case::crm("").after(another_name), @"= crm  could not look: it is not here");
    let gone = |c: &mut Case| {
        behind(true)(c);
        c.desired.connections.clear();
        c.limits.confirmed = Confirmed::All;
    };
    insta::assert_snapshot!(Case::crm("").after(gone), @"= crm  could not look: it is not here");
    let drifted = |c: &mut Case| {
        behind(true)(c);
        c.facts().repair = Some(proposed('b'));
    };
    insta::assert_snapshot!(Case::crm("").after(drifted), @r"
    = crm  could not look: it is not here
    . crm  sync
    ");
}

#[test]
fn an_update_whose_answer_is_looked_up_is_not_offered_as_an_edit() {
    let interrupted = |c: &mut Case| {
        c.facts().unsettled = true;
        c.facts().live = Live::Edited(vec!["schedule".into()]);
    };
    insta::assert_snapshot!(Case::crm("").after(interrupted), @r"
    = crm  in sync
    . crm  look up what became of interrupted effects
    ");
}
