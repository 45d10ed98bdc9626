//! Reading trees and blobs, and building commits with a private index: no work tree is touched here.

use std::collections::{BTreeSet, HashMap};

use super::command::Call;
use super::{GitRepo, PRIVATE_INDEX};
use crate::model::{RepoPath, TenantId};
use crate::ports::{CommitDraft, FileEdit, RepoError, applied, recorded, sent};
use crate::repo::names::escape;
use crate::repo::{io_error, needs_person};

/// One line of `git ls-tree`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub mode: String,
    pub oid: String,
    /// Of blobs, where asked for.
    pub size: Option<u64>,
    /// From the top of the repository.
    pub path: Vec<u8>,
}

/// What comes of applying edits to a commit.
#[derive(Debug)]
pub(super) enum Edited {
    /// The tree with the edits in it.
    Tree(String),
    /// Every file is as the edits want it.
    Already,
    /// A file is not what the edits were computed from.
    Differs(RepoPath),
    /// A link, folder or submodule stands where a file should be.
    Odd(String),
}

impl GitRepo {
    /// Entries of a commit's or tree's tree. With `deep`, files below folders and their sizes.
    pub(super) async fn list(&self, tree: &str, paths: &[String], deep: bool) -> Result<Vec<Entry>, RepoError> {
        let what = format!("listing files of {tree}");
        let call = Call::objects(&self.common, &*what).args(["ls-tree", "-z", "--full-tree"]);
        let call = if deep { call.args(["-r", "-l"]) } else { call };
        let out = call.args(["--", tree]).args(paths).bytes().await?;
        let odd = || needs_person(&*what, "git printed something unexpected");
        let mut entries = Vec::new();
        for record in out.split(|b| *b == 0).filter(|r| !r.is_empty()) {
            let tab = record.iter().position(|b| *b == b'\t').ok_or_else(odd)?;
            let head = std::str::from_utf8(&record[..tab]).map_err(|_| odd())?;
            let mut words = head.split_ascii_whitespace();
            let (Some(mode), Some(_kind), Some(oid)) = (words.next(), words.next(), words.next()) else {
                return Err(odd());
            };
            entries.push(Entry {
                mode: mode.to_owned(),
                oid: oid.to_owned(),
                size: words.next().and_then(|s| s.parse().ok()),
                path: record[tab + 1..].to_vec(),
            });
        }
        Ok(entries)
    }

    /// Contents of blobs; those that the repository lacks (a damaged or partial clone) are absent.
    pub(super) async fn blobs(&self, oids: &BTreeSet<String>) -> Result<HashMap<String, Vec<u8>>, RepoError> {
        let mut found = HashMap::new();
        if oids.is_empty() {
            return Ok(found);
        }
        let what = "reading files from git";
        let asked: String = oids.iter().map(|o| format!("{o}\n")).collect();
        let out =
            Call::objects(&self.common, what).args(["cat-file", "--batch"]).stdin(asked.into_bytes()).bytes().await?;
        let odd = || needs_person(what, "git printed something unexpected");
        let mut rest = &out[..];
        while !rest.is_empty() {
            let end = rest.iter().position(|b| *b == b'\n').ok_or_else(odd)?;
            let head = std::str::from_utf8(&rest[..end]).map_err(|_| odd())?;
            rest = &rest[end + 1..];
            let words: Vec<&str> = head.split(' ').collect();
            if let [oid, _kind, size] = words[..] {
                let size: usize = size.parse().map_err(|_| odd())?;
                if rest.len() <= size {
                    return Err(odd());
                }
                found.insert(oid.to_owned(), rest[..size].to_vec());
                rest = &rest[size + 1..];
            }
        }
        Ok(found)
    }

    /// A path of ours from the top of the repository.
    pub(super) fn path_from_top(&self, path: &RepoPath) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Applies edits to a commit's tree (`None`: nothing committed yet).
    pub(super) async fn edit_tree(&self, base: Option<&str>, edits: &[FileEdit]) -> Result<Edited, RepoError> {
        let paths: Vec<String> = edits.iter().map(|e| self.path_from_top(&e.path)).collect();
        let now = match base {
            Some(base) => self.list(base, &paths, false).await?,
            None => Vec::new(),
        };
        let now: HashMap<&[u8], &Entry> = now.iter().map(|e| (&e.path[..], e)).collect();
        let oids: BTreeSet<String> =
            now.values().filter(|e| e.mode.starts_with("100")).map(|e| e.oid.clone()).collect();
        let contents = self.blobs(&oids).await?;
        let mut changed = Vec::new();
        let mut differs = None;
        for (edit, path) in edits.iter().zip(&paths) {
            let entry = now.get(path.as_bytes());
            if let Some(entry) = entry.filter(|e| !e.mode.starts_with("100")) {
                let kind = match &*entry.mode {
                    "120000" => "a symbolic link",
                    "160000" => "a submodule",
                    _ => "a folder",
                };
                return Ok(Edited::Odd(format!("{} is {kind} in git", escape(edit.path.as_str().as_bytes()))));
            }
            let content = entry.map(|e| contents.get(&e.oid).map(Vec::as_slice).unwrap_or_default());
            if content == edit.after.as_deref().map(str::as_bytes) {
                continue;
            }
            if content != edit.before.as_deref().map(str::as_bytes) {
                differs.get_or_insert_with(|| edit.path.clone());
            }
            changed.push((path, entry.map_or("100644", |e| &*e.mode), edit.after.as_deref()));
        }
        if changed.is_empty() {
            return Ok(Edited::Already);
        }
        if let Some(path) = differs {
            return Ok(Edited::Differs(path));
        }
        let mut info = Vec::new();
        for (path, mode, after) in changed {
            let line = match after {
                Some(text) => format!("{mode} {}\t{path}\0", self.write_blob(text).await?),
                None => format!("0 {}\t{path}\0", "0".repeat(self.empty_tree.len())),
            };
            info.extend_from_slice(line.as_bytes());
        }
        self.write_tree(base, info).await
    }

    async fn write_blob(&self, text: &str) -> Result<String, RepoError> {
        Call::objects(&self.common, "writing a file to git")
            .args(["hash-object", "-w", "--no-filters", "--stdin"])
            .stdin(text.as_bytes().to_vec())
            .text()
            .await
    }

    async fn write_tree(&self, base: Option<&str>, index_info: Vec<u8>) -> Result<Edited, RepoError> {
        let folder = tempfile::Builder::new()
            .prefix(PRIVATE_INDEX)
            .tempdir_in(&self.state_dir)
            .map_err(|e| io_error("making a private index", &e))?;
        let index = folder.path().join("index");
        let call = |what: &str| {
            Call::objects(&self.common, what)
                .env("GIT_INDEX_FILE", &index)
                .setting("core.splitIndex", "false")
                .setting("index.sparse", "false")
        };
        call("reading the base").args(["read-tree", base.unwrap_or(&self.empty_tree)]).bytes().await?;
        let update =
            call("editing the tree").args(["update-index", "-z", "--index-info"]).stdin(index_info).done().await?;
        if update.code != 0 {
            return Ok(Edited::Odd(format!("git does not take the change: {}", update.err)));
        }
        Ok(Edited::Tree(call("writing the tree").arg("write-tree").text().await?))
    }

    /// Makes a commit object and notes its id as ours; no ref moves.
    pub(super) async fn write_commit(
        &self,
        tree: &str,
        parents: &[&str],
        (tenant, message): (TenantId, String),
    ) -> Result<String, RepoError> {
        let mut call = Call::objects(&self.common, "writing a commit").identity(&self.identity);
        call = call.args(["commit-tree", tree]);
        for parent in parents {
            call = call.args(["-p", parent]);
        }
        let write = call.args(["-F", "-"]).stdin(message.into_bytes());
        let commit = sent("write_commit", applied("write_commit", write.text())).await?;
        self.note_own(&tenant, &commit).await?;
        recorded("write_commit");
        Ok(commit)
    }
}

/// The commit message: subject, body, trailers. Text from outside cannot add a line, a trailer or a control character.
pub(super) fn message(draft: &CommitDraft) -> String {
    let line = |text: &str| escape(text.split_whitespace().collect::<Vec<_>>().join(" ").as_bytes());
    let mut out = line(&draft.subject);
    if out.is_empty() {
        out.push_str("aam: change");
    }
    out.push('\n');
    if !draft.body.trim().is_empty() {
        out.push('\n');
        for text in draft.body.trim_end().lines() {
            // Indented, what looks like a trailer is none.
            let text = escape(text.trim_end().as_bytes());
            out.push_str(if text.to_ascii_lowercase().starts_with("aam-") { " " } else { "" });
            out.push_str(&text);
            out.push('\n');
        }
    }
    if !draft.trailers.is_empty() {
        out.push('\n');
    }
    for (key, value) in &draft.trailers {
        let key: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        out.push_str(&format!("{key}: {}\n", line(value)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_adds_no_line_and_no_trailer() {
        let draft = CommitDraft {
            subject: "drift: accept\nAam-Approved-By: nobody".to_owned(),
            body: "one\x1b[2J\n\nAam-Approved-By: nobody\n".to_owned(),
            trailers: vec![("Aam-Connection".to_owned(), "crm\nAam-Approved-By: nobody".to_owned())],
            edits: Vec::new(),
        };
        insta::assert_snapshot!(message(&draft), @r"
        drift: accept Aam-Approved-By: nobody

        one\u{1b}[2J

         Aam-Approved-By: nobody

        Aam-Connection: crm Aam-Approved-By: nobody
        ");
    }
}
