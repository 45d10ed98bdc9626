//! What fails about the plans on people's requests, which belongs to no connection: a file of the state folder, as for the
//! remote, so that commands tell what the daemon met.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ports::Trouble;

/// The file.
const FILE: &str = "forge.json";

/// A trouble and whose it is.
#[derive(PartialEq, Serialize, Deserialize)]
struct Note {
    project: String,
    trouble: Trouble,
}

/// What was noted of a project.
pub(super) fn read(state: &Path, project: &str) -> Option<Trouble> {
    let note: Note = serde_json::from_slice(&std::fs::read(state.join(FILE)).ok()?).ok()?;
    (note.project == project).then_some(note.trouble)
}

/// Notes it, or that nothing fails. What cannot be written is told in the log alone.
pub(super) fn write(state: &Path, project: &str, trouble: Option<&Trouble>) {
    if read(state, project).as_ref() == trouble {
        return;
    }
    let path = state.join(FILE);
    let written = || -> std::io::Result<()> {
        let Some(trouble) = trouble else { return std::fs::remove_file(&path) };
        let mut file = tempfile::NamedTempFile::new_in(state)?;
        let note = Note { project: project.to_owned(), trouble: trouble.clone() };
        serde_json::to_writer(&mut file, &note)?;
        file.persist(&path)?;
        Ok(())
    };
    if let Err(error) = written() {
        tracing::warn!("writing {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_one_project_and_goes_with_its_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let at = chrono::DateTime::UNIX_EPOCH;
        let trouble = Trouble { reason: "403".to_owned(), since: at, failures: 1, retry_at: at };
        write(dir.path(), "github.com/acme/config", Some(&trouble));
        assert_eq!(read(dir.path(), "github.com/acme/config"), Some(trouble));
        assert_eq!(read(dir.path(), "github.com/acme/other"), None);
        write(dir.path(), "github.com/acme/config", None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
