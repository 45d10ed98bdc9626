//! Content filters of a work tree: programs that the repository's settings name. We never start one.
//!
//! They are switched off for every call that reads or writes files, and a path that goes through one is not written:
//! its raw content would show as changed to the person.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::command::Call;
use crate::ports::RepoError;
use crate::repo::names::escape;

/// The names of the filters that are configured.
pub(super) struct Filters(BTreeSet<String>);

impl Filters {
    /// Asks git for them.
    pub async fn of(work_tree: &Path) -> Result<Self, RepoError> {
        let what = "reading git's settings";
        let done = Call::within(work_tree, what)
            .args(["config", "-z", "--name-only", "--get-regexp", "^filter\\..*\\.(clean|smudge|process)$"])
            .done()
            .await?;
        // Code 1: there is none.
        if !matches!(done.code, 0 | 1) {
            return Err(done.error(what));
        }
        let names = done.out.split(|b| *b == 0).filter_map(|key| {
            let key = std::str::from_utf8(key).ok()?.strip_prefix("filter.")?;
            key.rsplit_once('.').map(|(name, _)| name.to_owned())
        });
        Ok(Self(names.collect()))
    }

    /// Settings that switch all of them off.
    pub fn off(&self) -> Vec<(String, String)> {
        let off = |name: &String| {
            let key = |key: &str, value: &str| (format!("filter.{name}.{key}"), value.to_owned());
            [key("clean", ""), key("smudge", ""), key("process", ""), key("required", "false")]
        };
        self.0.iter().flat_map(off).collect()
    }

    /// The first of the paths that goes through a filter, and the filter's name.
    pub async fn on(&self, work_tree: &Path, paths: &[&OsStr]) -> Result<Option<(String, String)>, RepoError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let out = Call::within(work_tree, "reading git's attributes")
            .args(["check-attr", "-z", "filter", "--"])
            .args(paths)
            .bytes()
            .await?;
        let fields: Vec<&[u8]> = out.split(|b| *b == 0).collect();
        Ok(fields.chunks_exact(3).find_map(|record| {
            let name = String::from_utf8_lossy(record[2]).into_owned();
            self.0.contains(&name).then(|| (escape(record[0]), escape(name.as_bytes())))
        }))
    }
}
