//! Questions about the past: who changed a file, what it was, who works here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::GitRepo;
use super::command::Call;
use crate::model::{CommitId, RepoPath};
use crate::ports::{CommitDraft, LogEntry, RepoError};
use crate::repo::names::escape;
use crate::repo::{beneath, needs_person};

/// Fields of one log record: id, committer's name and mail, time, subject, approvers, all trailers.
const LOG_FORMAT: &str = "--format=%H%x00%cn%x00%ce%x00%ct%x00%s\
                          %x00%(trailers:key=Aam-Approved-By,valueonly,separator=%x0A)\
                          %x00%(trailers:only,unfold,separator=%x0A)";

impl GitRepo {
    /// The commit that gave the draft's files the content they have at `tip`.
    pub(super) async fn last_touch(&self, tip: &str, draft: &CommitDraft) -> Result<CommitId, RepoError> {
        let paths: Vec<String> = draft.edits.iter().map(|e| self.path_from_top(&e.path)).collect();
        if paths.is_empty() {
            return Ok(CommitId(tip.to_owned()));
        }
        let found = Call::objects(&self.common, "looking for the commit of a change")
            .args(["rev-list", "-n", "1", tip, "--"])
            .args(paths)
            .text()
            .await?;
        Ok(CommitId(if found.is_empty() { tip.to_owned() } else { found }))
    }

    pub(super) async fn read_log(&self, path: &RepoPath, limit: u32) -> Result<Vec<LogEntry>, RepoError> {
        let what = format!("reading the history of {}", escape(path.as_str().as_bytes()));
        let Some(tip) = self.tip(&self.tracked_ref()).await? else { return Ok(Vec::new()) };
        // First parents: a merge counts as one change of this branch, with its approver.
        let out = Call::objects(&self.common, &*what)
            .args(["log", "-z", "--no-color", "--no-show-signature", "--no-mailmap", "--first-parent"])
            .args(["-n", &limit.to_string(), LOG_FORMAT, &tip, "--", &self.path_from_top(path)])
            .bytes()
            .await?;
        let movers = self.movers().await?;
        let aam = format!("{} <{}>", self.identity.name, self.identity.mail);
        let fields: Vec<&[u8]> = out.split(|b| *b == 0).collect();
        let recorded =
            self.own_among(fields.chunks_exact(7).map(|record| escape(record[0].trim_ascii())).collect()).await?;
        fields
            .chunks_exact(7)
            .map(|record| {
                let text: Vec<String> = record.iter().map(|f| escape(f.trim_ascii())).collect();
                let seconds = text[3].parse().ok().and_then(|s| DateTime::<Utc>::from_timestamp(s, 0));
                let approver = record[5].split(|b| *b == b'\n').map(escape).find(|a| !a.is_empty());
                let by = format!("{} <{}>", text[1], text[2]);
                Ok(LogEntry {
                    own: by == aam && approver.is_none(),
                    recorded: recorded.contains(&*text[0]),
                    commit: CommitId(text[0].clone()),
                    by,
                    at: seconds.ok_or_else(|| needs_person(&*what, "a commit has no valid time"))?,
                    subject: text[4].clone(),
                    approved_by: approver,
                    trailers: trailers(record[6]),
                    moved_by: movers.get(&text[0]).cloned(),
                })
            })
            .collect()
    }

    /// Tips that the tracked branch had, with who moved it there; newest moves win.
    async fn movers(&self) -> Result<BTreeMap<String, String>, RepoError> {
        let done = Call::objects(&self.common, "reading who moved the branch")
            .args(["log", "-z", "-g", "-n", "200", "--no-color", "--format=%H%x00%gn <%ge>", &self.tracked_ref(), "--"])
            .done()
            .await?;
        // No reflog (a fresh clone, or switched off) is no error: then nobody knows.
        let fields: Vec<&[u8]> = if done.code == 0 { done.out.split(|b| *b == 0).collect() } else { Vec::new() };
        let pairs =
            fields.chunks_exact(2).rev().map(|pair| (escape(pair[0].trim_ascii()), escape(pair[1].trim_ascii())));
        Ok(pairs.collect())
    }

    pub(super) async fn read_file_at(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<String>, RepoError> {
        let shown = escape(path.as_str().as_bytes());
        let what = format!("reading {shown} at {}", escape(commit.short().as_bytes()));
        if !(4..=64).contains(&commit.0.len()) || !commit.0.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(needs_person(what, "that is no commit id"));
        }
        let Some(entry) = self.list(&commit.0, &[self.path_from_top(path)], false).await?.pop() else {
            return Ok(None);
        };
        if !entry.mode.starts_with("100") {
            return Err(needs_person(what, "it is no file there"));
        }
        let mut found = self.blobs(&BTreeSet::from([entry.oid.clone()])).await?;
        let content = found.remove(&entry.oid).ok_or_else(|| needs_person(&*what, "git lacks the object"))?;
        if content.len() as u64 > beneath::MAX_FILE {
            return Err(needs_person(what, "it is larger than 1 MiB"));
        }
        String::from_utf8(content).map(Some).map_err(|_| needs_person(what, "it is not UTF-8"))
    }

    pub(super) async fn read_person(&self) -> Result<String, RepoError> {
        // The work tree of a person that goes with a clone knows more than the clone.
        let desk = self.remote.is_some() && !self.root.as_os_str().is_empty();
        let ask = async |key: &str| -> Result<Option<String>, RepoError> {
            let what = "asking git who works here";
            let call = if desk { Call::within(&self.root, what) } else { Call::objects(&self.git_dir, what) };
            let done = call.args(["config", "--get", key]).done().await?;
            let text = String::from_utf8_lossy(&done.out).trim().to_owned();
            Ok(Some(text).filter(|t| done.code == 0 && !t.is_empty()))
        };
        Ok(person(ask("user.name").await?, ask("user.email").await?))
    }
}

/// `Key: value`, one a line.
fn trailers(lines: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(lines);
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (escape(key.trim().as_bytes()), escape(value.trim().as_bytes()))).collect()
}

/// `Name <mail>` from what git knows, filled up from the system user.
pub(in crate::repo) fn person(name: Option<String>, mail: Option<String>) -> String {
    let user = || {
        ["USER", "LOGNAME"]
            .iter()
            .find_map(|v| std::env::var(v).ok().filter(|u| !u.is_empty()))
            .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
    };
    let clean = |text: String| escape(text.replace(['<', '>'], "").trim().as_bytes());
    let name = clean(name.unwrap_or_else(user));
    let mail = clean(mail.unwrap_or_else(|| format!("{}@localhost", user().replace(' ', ""))));
    format!("{name} <{mail}>")
}
