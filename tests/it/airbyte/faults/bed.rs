//! One small world whose engine is a stand-in, with short deadlines: what was printed is kept, the end is told as text.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::ground;
use crate::standin::Standin;
use crate::standin::state::Side;
use crate::support::world::{Ran, World};

/// Secrets of the databases and of Airbyte itself: they must be seen nowhere.
const CANARIES: [&str; 2] = ["c4nary-S3cret/value+1", "c4nary-Cli3nt/value+2"];
/// How often a person, or the daemon, tries again.
const TRIES: usize = 8;

/// What happens to the connection, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `crm` is made.
    Onboard,
    /// A column more, which a rule accepts.
    Heal,
    /// A sync by hand.
    Sync,
}

pub const PHASES: [Phase; 3] = [Phase::Onboard, Phase::Heal, Phase::Sync];

/// The world.
pub struct Bed {
    pub world: World,
    pub standin: Standin,
    printed: Mutex<String>,
}

impl Bed {
    /// Declared and committed, nothing onboarded.
    pub async fn new() -> Self {
        let mut world = World::with_crm("").await;
        let standin = Standin::start("1.8").await;
        standin.edit(|state| state.credentials = Some(("client".into(), CANARIES[1].into())));
        world.env = ground::environment(&standin.url);
        let more = [
            ("AAM_ENGINE__MODE", "manage"),
            ("AAM_AIRBYTE__DEADLINE", "1s"),
            ("AAM_AIRBYTE__CHECK_DEADLINE", "2s"),
            ("AAM_AIRBYTE__DISCOVER_DEADLINE", "3s"),
            ("AAM_DAEMON__LEASE_TTL", "1s"),
            ("AIRBYTE_SECRET", CANARIES[1]),
            ("AAM_SECRET_CRM", CANARIES[0]),
        ];
        ground::set(&mut world, &more);
        ground::declare(&world, "{every: 6h}");
        Self { world, standin, printed: Mutex::default() }
    }

    /// Runs `aam`; a crash fails the test.
    pub fn aam(&self, args: &[&str]) -> Ran {
        let ran = self.aam_or_killed(args);
        assert!(ran.code >= 0 && !ran.talk.contains("panicked"), "aam {args:?}: {ran:?}");
        ran
    }

    /// Runs `aam`, which may be killed.
    pub fn aam_or_killed(&self, args: &[&str]) -> Ran {
        let ran = self.world.aam(args);
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.push_str(&ran.out);
        printed.push_str(&ran.talk);
        ran
    }

    /// What a person does before the phase.
    pub async fn before(&self, phase: Phase) {
        if phase == Phase::Heal {
            self.world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
        }
    }

    /// The command of the phase. A sync that was begun is only followed: asked for again, it would be a second one.
    pub async fn command(&self, phase: Phase) -> &'static [&'static str] {
        match phase {
            Phase::Onboard => &["apply"],
            Phase::Heal => &["apply", "--look"],
            Phase::Sync => {
                let begun = "SELECT 1 FROM intents UNION SELECT 1 FROM job_history";
                if self.world.registry.has(begun).await { &["apply"] } else { &["sync", "crm"] }
            }
        }
    }

    /// Tries again as often as a person would, and waits where `aam` says so.
    pub async fn recover(&self, phase: Phase) {
        self.recover_within(phase, Duration::ZERO).await;
    }

    /// The same where lists lack for so long what was made: no wait passes before they show it.
    pub async fn recover_within(&self, phase: Phase, lag: Duration) {
        let shown = tokio::time::Instant::now() + lag;
        let mut last = None;
        for _ in 0..TRIES {
            let ran = self.aam(self.command(phase).await);
            let open = self.world.registry.list("SELECT effect || ' ' || detail::text FROM intents").await;
            let done = phase != Phase::Sync || self.world.registry.has("SELECT 1 FROM job_history").await;
            if ran.code == 0 && open.is_empty() && done {
                return;
            }
            if !open.is_empty() {
                match &last {
                    None => tokio::time::sleep(Duration::from_millis(2500)).await,
                    Some(_) => {
                        tokio::time::sleep_until(shown).await;
                        self.the_wait_passes().await;
                    }
                }
            }
            last = Some((ran, open));
        }
        panic!("still not well: {last:#?}");
    }

    /// What was asked for without an answer comes no more.
    pub async fn the_wait_passes(&self) {
        self.world.registry.run("UPDATE intents SET at = at - interval '16 minutes'").await;
    }

    /// Status says no better than the last command ended.
    pub fn status_tells_the_truth(&self, failed: &Ran) {
        let status = self.aam(&["status"]);
        // one that could not look at the engine leaves nothing behind: a status that can, tells what it sees
        let only_unseen = failed.code == 4 && failed.talk.contains("not seen since");
        if !only_unseen {
            assert!(status.code != 0, "status is too good: {status:#?} after {failed:#?}");
        }
        // the reason of the last step that failed, whole
        let reason = failed.out.lines().rev().find_map(|line| line.split_once("(failed: ")?.1.strip_suffix(')'));
        if let Some(reason) = reason {
            assert!(status.out.contains(reason), "status tells another reason: {status:#?} after {failed:#?}");
        }
    }

    /// What is in Airbyte, a line each, without ids.
    fn in_airbyte(&self) -> String {
        self.standin.edit(|state| {
            let mut text = String::new();
            for actor in state.actors.iter().filter(|a| !a.deleted) {
                writeln!(text, "{:?} {} {}", actor.side, actor.name, actor.settings).unwrap();
            }
            for c in state.connections.iter().filter(|c| c.status != "deprecated") {
                let tags: Vec<_> = c.tags.iter().map(|tag| tag["name"].clone()).collect();
                let parts = [
                    state.actor(Side::Source, c.source).map(|a| a.name.clone()).unwrap_or_default(),
                    state.actor(Side::Destination, c.destination).map(|a| a.name.clone()).unwrap_or_default(),
                ];
                writeln!(
                    text,
                    "Connection {} {} of {parts:?} {} {} {} {:?} {} {tags:?} known catalog {}",
                    c.name,
                    c.status,
                    c.schedule_type,
                    c.schedule_data,
                    c.namespace_definition,
                    c.prefix,
                    c.preference,
                    c.source_catalog.is_some(),
                )
                .unwrap();
                for mut entry in c.entries.iter().cloned() {
                    // a set
                    if let Some(modes) = entry["stream"]["supportedSyncModes"].as_array_mut() {
                        modes.sort_by_key(ToString::to_string);
                    }
                    writeln!(text, "  {entry}").unwrap();
                }
            }
            let tags: Vec<_> = state.tags.iter().map(|tag| &tag.name).collect();
            let jobs: Vec<_> = state.jobs.iter().map(|job| (job.kind, job.status)).collect();
            writeln!(text, "Tags {tags:?}\nJobs {jobs:?}").unwrap();
            text
        })
    }

    /// Everything that must be the same with and without faults. Ids and times are left out.
    pub async fn end_state(&self) -> String {
        let mut text = format!("== Airbyte\n{}", self.in_airbyte());
        let queries = [
            ("connections", "SELECT concat_ws('|', name, status, 'reason ' || reason, 'failures ' || failures, version, fingerprint,
                 'paused ' || paused, (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(objects) AS k), look_seen,
                 'applied ' || (applied_digest IS NOT NULL AND secrets IS NOT NULL)) FROM connections ORDER BY name"),
            ("catalog versions", "SELECT concat_ws('|', version, fingerprint, approved_by, 'commit ' || (commit_id IS NOT NULL),
                 'drift ' || (drift_id IS NOT NULL)) FROM sync_catalog_versions ORDER BY version"),
            ("drifts", "SELECT concat_ws('|', status, base, target, automatic, branch) FROM drift_events ORDER BY opened_at"),
            ("open intents", "SELECT effect || ' ' || key FROM intents"),
            ("jobs", "SELECT concat_ws('|', job_id, state) FROM job_history ORDER BY job_id"),
            ("events", "SELECT concat_ws('|', stream, position, record_key, op, data) FROM canonical_streams ORDER BY position"),
            ("doubled audit lines", "SELECT concat_ws('|', action, detail ->> 'commit', detail ->> 'job', detail ->> 'version', count(*))
                 FROM audit_log WHERE action IN ('repo.committed', 'sync.ended', 'catalog.version', 'connection.declared')
                 GROUP BY action, detail ->> 'commit', detail ->> 'job', detail ->> 'version' HAVING count(*) > 1"),
        ];
        for (title, sql) in queries {
            writeln!(text, "== {title}\n{}", self.world.registry.one(sql).await).unwrap();
        }
        let git = [&["status", "--porcelain"][..], &["rev-list", "--count", "main"], &["branch", "--list"]];
        for args in git {
            writeln!(text, "== git {args:?}\n{}", self.world.git(args)).unwrap();
        }
        writeln!(text, "== lock\n{}", self.world.committed("connectors.d/crm.lock.yaml")).unwrap();
        for id in self.world.registry.list("SELECT id::text FROM connections").await {
            text = text.replace(&id, "<connection>");
        }
        for db in [&self.world.source, &self.world.warehouse] {
            text = text.replace(&format!("\"{}\"", db.name), "<database>");
        }
        self.rows_name_what_is_there().await;
        text
    }

    /// The registry's ids are those of the objects in Airbyte.
    async fn rows_name_what_is_there(&self) {
        let recorded =
            self.world.registry.list("SELECT value FROM connections, jsonb_each_text(objects) ORDER BY key").await;
        let there = self.standin.edit(|state| {
            let connection = state.connections.iter().filter(|c| c.status != "deprecated");
            let ids = connection.flat_map(|c| [c.id, c.destination, c.source]);
            ids.map(|id| id.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(recorded, there, "connection, destination and source of the row");
    }

    /// At the end: no secret anywhere, the contract kept, and a further run writes nothing in Airbyte.
    pub async fn finish(self) {
        let (writes, commit) = (self.standin.writes(), self.world.git(&["rev-parse", "HEAD"]));
        let again = self.aam(&["apply"]);
        assert_eq!(again.code, 0, "{again:#?}");
        assert_eq!((self.standin.writes(), self.world.git(&["rev-parse", "HEAD"])), (writes, commit), "{again:#?}");
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ground::holds_no_secret(&self.world, &printed, &CANARIES).await;
        let violations = self.standin.violations();
        assert!(violations.is_empty(), "the contract was broken:\n{}", violations.join("\n"));
    }
}
