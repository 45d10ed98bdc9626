//! Questions about git and a folder that need no opened repository; `aam doctor` asks them.

use std::path::Path;

use super::command::Call;
use super::escape;
use crate::ports::RepoError;
use crate::repo::needs_person;

/// The version of the `git` program; one that is too old is an error (`merge-tree --write-tree` came with 2.38).
pub async fn version(dir: &Path) -> Result<String, RepoError> {
    let text = Call::within(dir, "asking git for its version").arg("version").text().await?;
    let number = escape(text.split(' ').nth(2).unwrap_or_default().as_bytes());
    let mut parts = number.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (2, 38) {
        return Err(needs_person("using git", format!("version {number} is too old; 2.38 or newer is needed")));
    }
    Ok(number)
}

/// What git makes of a folder and what lies below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// No work tree of git holds it.
    Outside,
    /// It is ignored: nothing below it is ever committed by accident.
    Ignored,
    /// `git add --all` would take what lies there.
    Open,
    /// So many files below it are committed or about to be.
    Tracked(usize),
}

/// Where a folder lies within its work tree: empty at the top, else `deploy/config/`.
pub async fn prefix(folder: &Path) -> Result<String, RepoError> {
    Call::within(folder, "asking git where a folder lies").args(["rev-parse", "--show-prefix"]).text().await
}

/// Asks git about a folder that exists.
pub async fn below(folder: &Path) -> Result<Below, RepoError> {
    let what = "asking git about a folder";
    let listed = Call::within(folder, what).args(["ls-files", "-z"]).done().await?;
    if listed.code != 0 {
        return Ok(Below::Outside);
    }
    match listed.out.split(|b| *b == 0).filter(|path| !path.is_empty()).count() {
        0 => {
            // Asked of a file below it: of the folder that git stands in, it says nothing.
            // `check-ignore` refuses to run with literal pathspecs.
            let asked = Call::within(folder, what).env("GIT_LITERAL_PATHSPECS", "0");
            let ignored = asked.args(["check-ignore", "--quiet", "any"]).done().await?;
            Ok(if ignored.code == 0 { Below::Ignored } else { Below::Open })
        }
        files => Ok(Below::Tracked(files)),
    }
}
