//! Going back to an earlier catalog version, because a person asks for it: what is known is gathered, [`crate::repair`] works it
//! out, and one commit or one branch carries it to git. The loop does the rest, as with any approved lock.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::{Gathered, Reconciler, StepError};
use crate::model::{Catalog, CommitId, ConnectionRef, StreamName};
use crate::plan::ConnectionStatus;
use crate::ports::{APPROVED_BY, CatalogVersion, Cause, CommitOutcome, ConnectionRow, recorded};
use crate::repair::{self, Basis, Moment, Rollback, Wish};
use crate::spec::{self, Connection, Mode, RepairPolicy, WhenBreaking};

/// So far back the commits of a lock are asked for.
const LOG: u32 = 200;
/// So many jobs tell how many rows landed.
const JOBS: u32 = 10_000;

/// What became of a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RolledBack {
    /// The tracked branch holds it.
    Committed {
        /// The commit.
        commit: CommitId,
    },
    /// A branch is to be merged.
    Proposed {
        /// Which.
        branch: String,
        /// Why it was not committed.
        why: String,
    },
}

impl Reconciler {
    /// Works out what a rollback would do. Changes nothing.
    pub async fn plan_rollback(
        &self,
        gathered: &Gathered,
        name: &ConnectionRef,
        to: u32,
        wish: Wish<'_>,
    ) -> Result<Rollback, StepError> {
        let (connection, row) = onboarded(gathered, name)?;
        let refuse = |why: String| Err(StepError::Spec(format!("connection {name}: {why}")));
        let Some(lock) = &connection.lock else { return refuse("its lock is not committed yet".into()) };
        if row.fingerprint.as_ref() != Some(&lock.fingerprint) || row.status == ConnectionStatus::Healing {
            return refuse("its lock is not in force yet: `aam apply` first".into());
        }
        let versions = self.doors.registry.versions(row.id).await?;
        let Some(version) = versions.iter().find(|version| version.version == to) else {
            return refuse(format!("there is no version {to}: `aam history {name}` lists 1 to {}", versions.len()));
        };
        if version.fingerprint == lock.fingerprint {
            return refuse(format!("the schema of version {to} is in force already"));
        }
        let catalog = match Catalog::from_body(&version.body) {
            Ok(catalog) => catalog,
            Err(error) => return refuse(format!("version {to} cannot be read: {error}")),
        };
        let Some(observed) = self.look_catalog(row).await? else {
            return refuse("its source was not seen yet, or could not be: `aam apply --look` looks".into());
        };
        let moment = self.moment_of(connection, version).await?;
        let policy = self.policy();
        let specs = spec::Input {
            files: &gathered.resolved.files,
            unreadable: &BTreeMap::new(),
            last_good: &gathered.resolved.good,
            engine: policy.engine,
            mode_cap: policy.mode_cap,
            look: policy.look,
        };
        let basis = Basis {
            specs: &specs,
            connection,
            lock,
            version: to,
            catalog: &catalog,
            moment: moment.as_ref(),
            observed: &observed,
            reads_all: !gathered.drives_itself && connection.drift.when_breaking == WhenBreaking::HoldStream,
            rows: &self.landed_rows(gathered, row, [&lock.catalog, &catalog]).await?,
        };
        Ok(repair::roll_back(basis, wish))
    }

    /// The files at the commit that brought a version.
    async fn moment_of(&self, connection: &Connection, version: &CatalogVersion) -> Result<Option<Moment>, StepError> {
        let repo = &self.doors.repo;
        let mut commit = version.commit.clone();
        if commit.is_none() {
            for entry in repo.log(&connection.lock_path, LOG).await? {
                let text = repo.file_at(&entry.commit, &connection.lock_path).await?;
                let lock = text.and_then(|text| spec::lock::read(connection.lock_path.as_str(), &text).ok());
                let Some(lock) = lock else { continue };
                if lock.version < version.version {
                    break;
                }
                if lock.version == version.version && lock.fingerprint == version.fingerprint {
                    commit = Some(entry.commit);
                }
            }
        }
        let Some(commit) = commit else { return Ok(None) };
        let mapping = match &connection.mapping {
            Some(mapping) => repo.file_at(&commit, &mapping.path).await?,
            None => None,
        };
        let spec = repo.file_at(&commit, &connection.path).await?;
        Ok(Some(Moment { commit, spec, mapping }))
    }

    /// Rows that landed of each stream so far. Where the engine starts jobs by itself, only of those that were followed.
    async fn landed_rows(
        &self,
        gathered: &Gathered,
        row: &ConnectionRow,
        catalogs: [&Catalog; 2],
    ) -> Result<BTreeMap<StreamName, u64>, StepError> {
        let mut rows = BTreeMap::new();
        if !gathered.drives_itself {
            rows.extend(catalogs.into_iter().flat_map(|catalog| catalog.streams.keys().map(|name| (name.clone(), 0))));
        }
        for job in self.doors.registry.jobs(row.id, JOBS).await? {
            for (stream, landed) in job.streams {
                *rows.entry(stream).or_default() += landed;
            }
        }
        Ok(rows)
    }

    /// Commits a rollback as the person's doing; where that may not be, or is not possible, a branch offers it.
    pub async fn roll_back(
        &self,
        gathered: &Gathered,
        name: &ConnectionRef,
        rollback: &Rollback,
        (by, as_branch): (&str, bool),
    ) -> Result<RolledBack, StepError> {
        let (connection, row) = onboarded(gathered, name)?;
        let why = match (connection.mode, connection.drift.repair) {
            (Mode::Observe, _) => {
                let why = format!("connection {name} is in `mode: observe`: nothing is committed or proposed for it");
                return Err(StepError::Spec(why));
            }
            (Mode::Propose, _) => Some("the connection is in `mode: propose`".to_owned()),
            (Mode::Manage, RepairPolicy::Propose) => Some("its policy is `repair: propose`".to_owned()),
            (Mode::Manage, RepairPolicy::Auto) => as_branch.then(|| "a branch was asked for".to_owned()),
        };
        let lease = self.wait_for_lease(name, row.id).await?;
        let work = async {
            let summary = format!("connection {name}: rolled back to version {} by {by}", rollback.to);
            let mut draft = rollback.commit.clone();
            draft.trailers.push((APPROVED_BY.to_owned(), by.to_owned()));
            let why = match why {
                Some(why) => why,
                None => {
                    let intent = self.begin_commit(&draft, &summary, &lease).await?;
                    match self.sent_under(&lease, "commit_rollback", self.doors.repo.commit(&draft)).await?? {
                        CommitOutcome::Committed(commit) => {
                            self.end_commit(intent, &commit, &draft.subject, &summary, &lease).await?;
                            recorded("commit_rollback");
                            return Ok(RolledBack::Committed { commit });
                        }
                        CommitOutcome::Moved => {
                            self.doors.registry.settle(&lease, intent).await?;
                            let why = "the tracked branch moved meanwhile; run the command again";
                            return Err(StepError::Spec(why.to_owned()));
                        }
                        CommitOutcome::Refused(why) => {
                            self.doors.registry.settle(&lease, intent).await?;
                            why
                        }
                    }
                }
            };
            let branch = repair::rollback_branch(name);
            // whoever merges it approves it
            let open = self.doors.repo.propose(&branch, &rollback.commit).await?;
            if open.edited {
                return Err(StepError::Spec(format!(
                    "{branch} holds commits of a person and is left alone: merge or remove it"
                )));
            }
            let cause = Cause {
                actor: by.to_owned(),
                summary: format!("connection {name}: rollback to version {} offered on {branch}", rollback.to),
                detail: json!({"branch": branch, "tip": open.tip, "version": rollback.to, "fingerprint": rollback.fingerprint}),
            };
            self.doors.registry.audit(&lease.tenant, "rollback.proposed", Some(row.id), &cause).await?;
            self.ask_requests();
            Ok(RolledBack::Proposed { branch, why })
        };
        let done = Box::pin(self.with_renewal(std::slice::from_ref(&lease), work)).await;
        self.doors.registry.release(&lease).await?;
        done
    }
}

fn onboarded<'g>(
    gathered: &'g Gathered,
    name: &ConnectionRef,
) -> Result<(&'g Connection, &'g ConnectionRow), StepError> {
    let connection = gathered.desired().connections.get(name);
    let found = connection.and_then(|connection| Some((connection, gathered.row_of(connection)?)));
    found.filter(|(_, row)| row.version > 0).ok_or_else(|| {
        StepError::Spec(format!("connection {name} is not onboarded: `aam plan` says what it waits for"))
    })
}
