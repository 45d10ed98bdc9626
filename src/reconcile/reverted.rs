//! Automatic repairs that a person took back: a `git revert` of one, or its undoing by hand, is a word like any rejection.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};

use super::drifted::Drifted;
use super::{Gathered, Reconciler, TurnError, text_of};
use crate::drift::rename::Values;
use crate::drift::{Automatic, Change, Scene, assess, compare, line_of};
use crate::model::{Catalog, CommitDraft, CommitId, FileEdit, Fingerprint};
use crate::ports::{CatalogVersion, ConnectionRow, LogEntry};
use crate::repair;
use crate::spec::{self, Connection, Lock, Mode, Rejection};

/// So far back the commits of a lock are asked for.
const LOG: u32 = 200;

impl Reconciler {
    /// The rejection of what would be made automatically once more, and its commit; the inner error: `rejected.yaml` is in no
    /// state to be added to.
    pub(super) async fn taken_back(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        drifted: &Drifted,
    ) -> Result<Result<Option<(Rejection, CommitDraft)>, String>, TurnError> {
        let Some(target) = drifted.taken_in() else { return Ok(Ok(None)) };
        let versions = self.doors.registry.versions(row.id).await?;
        let log = self.doors.repo.log(&connection.lock_path, LOG).await?;
        let mut answers: BTreeSet<CommitId> =
            log.into_iter().filter(|entry| entry.own).map(|entry| entry.commit).collect();
        let changes = drifted.changes(&target);
        let recorded = loop {
            let Some((changes, version)) = taken_back(&versions, &answers, &changes) else { break None };
            match &version.commit {
                Some(commit)
                    if self.brings_a_pin(connection, commit).await?
                        || self.brings_its_drift(connection, version, commit).await? =>
                {
                    answers.insert(commit.clone());
                }
                _ => break Some((changes, Undoing::from(version))),
            }
        };
        let found = match recorded {
            Some(found) => Some(found),
            None => self.taken_back_unhealed(gathered, connection, &changes).await?,
        };
        let Some((changes, undoing)) = found else { return Ok(Ok(None)) };
        let rejection = rejection(target, &changes, undoing);
        let path = repair::rejected_path(&connection.name).expect("names of a resolved connection make a path");
        let draft = repair::reject(&connection.name, text_of(&gathered.resolved.files, &path).as_deref(), &rejection);
        Ok(draft.map(|draft| draft.map(|draft| (rejection, draft))))
    }

    /// What is to be taken out of `rejected.yaml` because the catalog in force carries it: a merge by hand approved it all the
    /// same, from a branch drafted before the rejection or by an edit of the lock.
    pub(super) async fn overruled(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
    ) -> Result<Option<FileEdit>, TurnError> {
        let Some(rejections) = gathered.desired().rejected.get(&connection.name) else { return Ok(None) };
        if connection.mode < Mode::Manage {
            return Ok(None);
        }
        let brought = self.newest_changes(connection, row).await?;
        // A rejection of what the newest version brought cannot be younger than that version: it would be about a change
        // that the lock carries already.
        if !rejections.iter().any(|rejection| rejection.changes.iter().any(|change| brought.contains(change))) {
            return Ok(None);
        }
        let path = repair::rejected_path(&connection.name).expect("names of a resolved connection make a path");
        let text = text_of(&gathered.resolved.files, &path);
        // A file that a person laid out in another way is left to them; the line does no more than it did.
        Ok(repair::overrule(&connection.name, text.as_deref(), &brought).unwrap_or_default())
    }

    /// Whether a commit leaves the connection pinned: then it took changes back for a while only.
    async fn brings_a_pin(&self, connection: &Connection, commit: &CommitId) -> Result<bool, TurnError> {
        let text = self.doors.repo.file_at(commit, &connection.path).await?;
        Ok(text.is_some_and(|text| spec::pin_of(&connection.path, &text).is_some()))
    }

    /// Whether a version's commit brought the file of the drift that it answers: versions that a rebuilt registry read from
    /// git name no drift. An undoing leads back to a file that lies there already, or to none.
    async fn brings_its_drift(
        &self,
        connection: &Connection,
        version: &CatalogVersion,
        commit: &CommitId,
    ) -> Result<bool, TurnError> {
        let path = repair::drift_path(&connection.name, &version.fingerprint)
            .expect("names of a resolved connection make a path");
        Ok(self.doors.repo.log(&path, LOG).await?.iter().any(|entry| entry.commit == *commit))
    }

    /// The changes that a rule committed and a person took back before they came into force: no version tells of them, but
    /// the drift that the rule approved does.
    async fn taken_back_unhealed(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        changes: &[Change],
    ) -> Result<Option<(Vec<Change>, Undoing)>, TurnError> {
        let Some(lock) = &connection.lock else { return Ok(None) };
        let mut drifts =
            gathered.drifts.iter().filter(|drift| drift.connection == lock.id && drift.is_unhealed(&lock.fingerprint));
        let Some(drift) = drifts.find(|drift| changes.iter().any(|change| drift.changes.contains(change))) else {
            return Ok(None);
        };
        let taken = changes.iter().filter(|change| drift.changes.contains(change)).cloned().collect();
        let undoing = match self.brought_by(connection, lock).await? {
            Some(entry) if entry.own => return Ok(None),
            Some(entry) => Undoing::from(entry),
            None => Undoing { commit: None, by: "unknown".to_owned(), at: drift.changed_at },
        };
        Ok(Some((taken, undoing)))
    }
}

/// Whether a rule approved what a commit brought, as far as git alone can tell: a rebuilt registry has no drift that says so.
///
/// What a commit says of itself proves nothing, so three must agree: `aam` made it and no person's approval is in it; its
/// trailers name this connection, this fingerprint and a rule; and it changes nothing but what a rule may take in. Were all
/// of that forged, a revert of it would count as a rejection, which `aam drift approve` overrules; and where one is in doubt
/// (`aam` had another name then, the spec makes more of a field now), the repair is made once more, as before any rejection.
/// Nothing that nobody approved comes into force either way: that lock is on the tracked branch already.
pub(super) fn is_by_rule(entry: &LogEntry, connection: &Connection, before: &Catalog, lock: &Lock) -> bool {
    let says = |key: &str| entry.trailers.get(key).map_or("", String::as_str);
    let named = says("Aam-Connection") == connection.name.to_string()
        && says("Aam-Drift") == lock.fingerprint.as_str()
        && says("Aam-Cause").starts_with("rule ");
    if !(entry.own && named) {
        return false;
    }
    // Which fields are personal may be another matter by now.
    let entities = BTreeMap::new();
    let (observed, entities, values) = (&lock.catalog, &entities, &Values::new());
    let scene = Scene { lock: before, observed, whole: None, connection, entities, values };
    // The values that proved a rename are the registry's.
    !matches!(assess(&compare(before, observed), scene).automatic(), Automatic::No(_))
}

/// The commit that takes out what is approved by now; the lock's own, where one is due.
pub(super) fn overruling(
    connection: &Connection,
    due: Option<(String, CommitDraft)>,
    edit: FileEdit,
) -> (String, CommitDraft) {
    let why = "what was rejected is approved by now";
    let (why, mut draft) = due.unwrap_or_else(|| {
        let subject = format!("drift {}: {why}", connection.name);
        let trailers =
            vec![("Aam-Connection".into(), connection.name.to_string()), ("Aam-Cause".into(), why.to_owned())];
        (why.to_owned(), CommitDraft { subject, body: String::new(), trailers, edits: Vec::new() })
    });
    draft.edits.push(edit);
    (why, draft)
}

/// How a repair was taken back.
struct Undoing {
    commit: Option<CommitId>,
    by: String,
    at: DateTime<Utc>,
}

impl From<&CatalogVersion> for Undoing {
    fn from(version: &CatalogVersion) -> Self {
        Self { commit: version.commit.clone(), by: version.approved_by.clone(), at: version.at }
    }
}

impl From<LogEntry> for Undoing {
    fn from(entry: LogEntry) -> Self {
        Self { commit: Some(entry.commit.clone()), at: entry.at, by: entry.approver() }
    }
}

fn rejection(fingerprint: Fingerprint, changes: &[Change], undoing: Undoing) -> Rejection {
    Rejection {
        fingerprint,
        by: undoing.by,
        at: undoing.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        reason: match &undoing.commit {
            Some(commit) => format!("reverted by commit {}", commit.short()),
            None => "undone by hand".to_owned(),
        },
        changes: changes.iter().map(line_of).collect(),
    }
}

/// The changes that a rule made once and a person took back since, and the version that did. A version that answers a drift
/// took nothing back: there the source itself had changed back, as with a commit that `answers` one. Nor did one from a
/// commit of `aam`'s own, which is in `answers`, too: it follows an edit of the spec, which may be undone again.
fn taken_back<'v>(
    versions: &'v [CatalogVersion],
    answers: &BTreeSet<CommitId>,
    changes: &[Change],
) -> Option<(Vec<Change>, &'v CatalogVersion)> {
    let catalogs: Vec<Catalog> = versions.iter().map_while(|v| Catalog::from_body(&v.body).ok()).collect();
    // What each version changed, and what it would take to go back.
    let steps: Vec<(Vec<Change>, Vec<Change>)> =
        catalogs.windows(2).map(|pair| (compare(&pair[0], &pair[1]), compare(&pair[1], &pair[0]))).collect();
    let took_back = |change: &Change| {
        let at = steps.iter().rposition(|(_, back)| back.contains(change))?;
        let made = steps[..at].iter().rposition(|(made, _)| made.contains(change))?;
        let undone = &versions[at + 1];
        let by_person = undone.drift.is_none()
            && !undone.commit.as_ref().is_some_and(|commit| answers.contains(commit))
            && versions[made + 1].approved_by.starts_with("rule:");
        by_person.then_some(at + 1)
    };
    let newest = changes.iter().filter_map(took_back).max()?;
    let taken = changes.iter().filter(|change| took_back(change) == Some(newest)).cloned().collect();
    Some((taken, &versions[newest]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(fields: &[&str]) -> Catalog {
        let fields: serde_json::Map<String, serde_json::Value> =
            fields.iter().map(|name| ((*name).to_owned(), "string".into())).collect();
        Catalog::from_body(&serde_json::json!({"t": {"modes": ["full_refresh"], "fields": fields}})).unwrap()
    }

    /// Versions as `fields by who`, one that answers a drift with a `!` at its end.
    fn check(history: &[&str], observed: &[&str]) -> String {
        let version = |(n, text): (usize, &&str)| {
            let (fields, by) = text.trim_end_matches('!').split_once(" by ").unwrap();
            let catalog = catalog(&fields.split(' ').collect::<Vec<_>>());
            CatalogVersion {
                version: n as u32 + 1,
                fingerprint: catalog.fingerprint(),
                body: catalog.body(),
                at: "2026-01-01T00:00:00Z".parse().unwrap(),
                commit: Some(CommitId(format!("{n}").repeat(40))),
                approved_by: by.to_owned(),
                drift: text.ends_with('!').then(uuid::Uuid::nil),
            }
        };
        let versions: Vec<CatalogVersion> = history.iter().enumerate().map(version).collect();
        let lock = Catalog::from_body(&versions.last().unwrap().body).unwrap();
        let own = versions.iter().filter(|v| v.approved_by == "aam").filter_map(|v| v.commit.clone()).collect();
        match taken_back(&versions, &own, &compare(&lock, &catalog(observed))) {
            Some((changes, by)) => {
                let rejection = rejection(lock.fingerprint(), &changes, by.into());
                format!("{}: {} {}", rejection.changes.join(", "), rejection.by, rejection.reason)
            }
            None => "nothing".to_owned(),
        }
    }

    #[test]
    fn only_what_a_person_undid_is_taken_back() {
        let plain = ["id by Pat", "id fax by rule:additive!", "id by Pat"];
        insta::assert_snapshot!(check(&plain, &["fax", "id", "site"]), @"+ t.fax: string: Pat reverted by commit 2222222222");
        let later = [
            "id by Pat",
            "id fax by rule:additive!",
            "id fax site by rule:additive!",
            "id site by Kim",
            "id site x by Pat",
        ];
        insta::assert_snapshot!(check(&later, &["fax", "id", "site", "x"]), @"+ t.fax: string: Kim reverted by commit 3333333333");
        // The source took it away itself and brings it again.
        assert_eq!(check(&["id by Pat", "id fax by rule:additive!", "id by Pat!"], &["fax", "id"]), "nothing");
        // It went with an edit of the spec.
        assert_eq!(check(&["id by Pat", "id fax by rule:additive!", "id by aam"], &["fax", "id"]), "nothing");
        // A person had put it there.
        assert_eq!(check(&["id by Pat", "id fax by Pat!", "id by Pat"], &["fax", "id"]), "nothing");
        assert_eq!(check(&["id by Pat"], &["fax", "id"]), "nothing");
    }
}
