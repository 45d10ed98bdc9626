//! What holds after each move of a random story, and what at its end.

use std::collections::{BTreeMap, BTreeSet};

use aam::plan::{ConnectionStatus, DriftStatus};

use super::play::Play;
use crate::forge::tool::git;
use crate::repo::desk::try_git;

/// What may change while nothing changes: when was looked, and who held the lease for that.
const LOOKS_ONLY: &[&str] = &["public.connections:look_at", "public.leases"];

/// Lines that came or went.
pub fn unlike(before: &[String], now: &[String]) -> String {
    let gone = before.iter().filter(|line| !now.contains(line)).map(|line| format!("- {line}"));
    let came = now.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(came).collect::<Vec<_>>().join("\n")
}

impl Play {
    fn at_remote(&self, args: &[&str]) -> String {
        git(&self.office.world.dir().join("config.git"), args)
    }

    fn is_at_remote(&self, args: &[&str]) -> bool {
        try_git(&self.office.world.dir().join("config.git"), args).0
    }

    /// Repair branches on the forge.
    fn branches(&self) -> Vec<String> {
        let listed = self.at_remote(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/aam"]);
        listed.lines().map(str::to_owned).collect()
    }

    /// Whether a branch holds commits of people that the tracked branch lacks.
    fn is_theirs(&self, branch: &str) -> bool {
        let beyond = self.at_remote(&["rev-list", &format!("main..{branch}")]);
        self.theirs.iter().any(|commit| beyond.contains(commit))
    }

    /// What is written anywhere: rows but for the times of looks, branches, and calls that change something.
    pub async fn everything(&self) -> Vec<String> {
        let mut all = self.office.world.registry.fingerprint(LOOKS_ONLY).await;
        all.extend(self.at_remote(&["for-each-ref"]).lines().map(str::to_owned));
        let writes = |state: &mut crate::forge_standin::State| -> Vec<String> {
            state.calls.iter().filter(|call| !call.starts_with("GET")).cloned().collect()
        };
        all.extend(self.office.forge.edit(writes).into_iter().enumerate().map(|(nth, call)| format!("{nth} {call}")));
        all
    }

    pub async fn check(&mut self) {
        self.no_commit_is_lost();
        self.nothing_is_there_twice();
        self.all_in_force_is_approved().await;
        let rejected = self.at_remote(&["ls-tree", "-r", "--name-only", "main", "drift/"]).contains("rejected.yaml");
        assert!(self.declined || !rejected, "nobody rejected anything");
    }

    fn no_commit_is_lost(&mut self) {
        let now = self.at_remote(&["rev-parse", "main"]);
        assert!(self.is_at_remote(&["merge-base", "--is-ancestor", &self.tip, &now]), "{} is not in main", self.tip);
        let passed = self.at_remote(&["rev-list", &now, "--not", &format!("{}^@", self.tip)]);
        let held = std::mem::take(&mut self.theirs);
        for commit in held {
            if !self.at_remote(&["for-each-ref", "--contains", &commit]).is_empty() {
                self.theirs.push(commit);
                continue;
            }
            // The branch may go when all of it came in by another way.
            let came_in = passed.lines().any(|main| {
                let merged = try_git(
                    &self.office.world.dir().join("config.git"),
                    &["merge-tree", "--write-tree", main, &commit],
                );
                merged == (true, self.at_remote(&["rev-parse", &format!("{main}^{{tree}}")]))
            });
            assert!(came_in, "a person's commit {commit} is lost");
        }
        self.tip = now;
    }

    fn nothing_is_there_twice(&self) {
        let open: Vec<String> = self.office.open_requests().into_iter().map(|(_, branch)| branch).collect();
        assert_eq!(open.iter().collect::<BTreeSet<_>>().len(), open.len(), "two requests of one repair: {open:?}");
        self.office.forge.edit(|state| {
            for request in &state.requests {
                let ours = request.comments.iter().filter(|c| c.author == "aam-bot" && !c.system).map(|c| &c.body);
                let ours: Vec<&String> = ours.collect();
                assert_eq!(ours.iter().collect::<BTreeSet<_>>().len(), ours.len(), "said twice: {ours:#?}");
            }
        });
    }

    async fn all_in_force_is_approved(&self) {
        let unapproved = "
            SELECT format('version %s of %s, approved by %s', v.version, v.connection_id, v.approved_by)
            FROM sync_catalog_versions v
            WHERE v.version > 1 AND (v.approved_by IN ('', 'unknown') OR NOT EXISTS (
                SELECT FROM audit_log a WHERE a.connection_id = v.connection_id AND a.actor = v.approved_by
                    AND a.detail->>'fingerprint' = v.fingerprint AND (a.detail->>'version')::int = v.version))";
        assert_eq!(self.office.world.registry.one(unapproved).await, "");
        let unnamed = "
            SELECT format('drift %s, %s: %s', d.id, d.status, d.cause) FROM drift_events d
            WHERE d.status IN ('approved', 'repaired') AND NOT EXISTS (
                SELECT FROM audit_log a WHERE a.connection_id = d.connection_id AND a.actor NOT IN ('', 'unknown')
                    AND a.detail->>'fingerprint' = d.target)";
        assert_eq!(self.office.world.registry.one(unnamed).await, "");
    }

    pub async fn check_end(&mut self) {
        let branches = self.branches();
        let open: BTreeMap<String, u64> =
            self.office.open_requests().into_iter().map(|(n, branch)| (branch, n)).collect();
        let theirs: BTreeSet<String> = branches.iter().filter(|branch| self.is_theirs(branch)).cloned().collect();
        let locks: BTreeMap<String, String> = ["crm", "sales"]
            .into_iter()
            .filter_map(|name| {
                let path = format!("main:connectors.d/{name}.lock.yaml");
                let there = self.is_at_remote(&["cat-file", "-e", &format!("main:connectors.d/{name}.yaml")]);
                there.then(|| (name.to_owned(), self.at_remote(&["show", &path])))
            })
            .collect();
        let reconciler = self.office.reconciler().await;
        let registry = reconciler.doors().registry.clone();
        let drifts = registry.drifts(None, false).await.unwrap();
        let pending: BTreeSet<String> =
            drifts.iter().filter(|d| d.status == DriftStatus::Pending).filter_map(|d| d.branch.clone()).collect();
        for drift in &drifts {
            assert_ne!(drift.status, DriftStatus::Approved, "never healed: {drift:#?}");
        }
        for branch in &branches {
            assert!(pending.contains(branch) || theirs.contains(branch), "{branch} is left over");
        }
        for branch in &pending {
            assert!(branches.contains(branch), "{branch} is not offered");
            assert!(open.contains_key(branch) || theirs.contains(branch), "{branch} has no request");
        }
        for branch in open.keys() {
            assert!(pending.contains(branch) || theirs.contains(branch), "a request of {branch} is left over");
        }
        assert_eq!(registry.intents(None).await.unwrap(), []);
        for row in registry.connections().await.unwrap() {
            assert!(row.troubles.is_empty(), "{}: {:#?}", row.name, row.troubles);
            assert_eq!(registry.verify_audit(&row.name.tenant).await.unwrap(), None);
            let Some(text) = locks.get(row.name.name.as_str()).filter(|_| row.status != ConnectionStatus::Retired)
            else {
                assert_eq!(row.status, ConnectionStatus::Retired, "{}", row.name);
                continue;
            };
            let lock = aam::spec::lock::read("lock.yaml", &format!("{text}\n")).unwrap();
            assert_eq!((row.status, &row.reason), (ConnectionStatus::Active, &None), "{}", row.name);
            assert_eq!(
                (row.version, row.fingerprint.as_ref()),
                (lock.version, Some(&lock.fingerprint)),
                "{}",
                row.name
            );
        }
    }
}
