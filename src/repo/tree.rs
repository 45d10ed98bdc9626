//! Reads the specs, locks, mappings and drift files of a folder. What cannot be read is named and never fatal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::beneath::{open_dir, open_root, read_file};
use super::names::{self, FOLDERS, MAX_DEPTH, Verdict};
use crate::ports::{Snapshot, Unreadable};

/// All files together may hold this much (128 MiB); what comes after is named as unreadable. Bounds memory, whatever
/// the input.
pub(super) const MAX_TOTAL: u64 = 128 * 1024 * 1024;

/// Reads every file of ours below `root`. A folder that cannot be read stands in `unreadable` by its own path: nothing
/// is known of what lies below it. Fails only if the root itself cannot be opened.
pub fn read_tree(root: &Path) -> io::Result<Snapshot> {
    let root = open_root(root)?;
    let mut reader = Reader { snapshot: Snapshot::default(), total: 0 };
    for folder in FOLDERS {
        reader.folder(&root, folder.as_bytes(), folder.as_bytes(), 1);
    }
    Ok(reader.snapshot)
}

struct Reader {
    snapshot: Snapshot,
    total: u64,
}

impl Reader {
    fn bad(&mut self, path: &[u8], why: Unreadable) {
        self.snapshot.unreadable.insert(names::escape(path), why);
    }

    fn folder(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8], depth: usize) {
        if depth > MAX_DEPTH {
            return self.bad(path, names::too_deep());
        }
        let dir = match open_dir(parent, name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return,
            // With O_DIRECTORY the kernel says "not a directory" of a link, too.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let why = if is_link(parent, name) { Unreadable::Link } else { Unreadable::NotAFile };
                return self.bad(path, why);
            }
            Err(e) => return self.bad(path, Unreadable::Io(io::Error::from(e).to_string())),
        };
        let entries = match Dir::read_from(&dir) {
            Ok(entries) => entries,
            Err(e) => return self.bad(path, Unreadable::Io(io::Error::from(e).to_string())),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return self.bad(path, Unreadable::Io(io::Error::from(e).to_string())),
            };
            let name = entry.file_name().to_bytes();
            if names::is_leftover(name) {
                continue;
            }
            let below = [path, b"/", name].concat();
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&dir, name),
                known => known,
            };
            match kind {
                FileType::Directory if names::is_spec_name(name) => self.bad(&below, Unreadable::NotAFile),
                FileType::Directory => self.folder(&dir, name, &below, depth + 1),
                // Also without a spec's name: it may stand for a folder of specs.
                FileType::Symlink => self.bad(&below, Unreadable::Link),
                FileType::RegularFile => self.file(&dir, name, &below),
                _ if names::is_spec_name(name) => self.bad(&below, Unreadable::NotAFile),
                _ => {}
            }
        }
    }

    fn file(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) {
        let path = match names::judge_file(path) {
            Verdict::Ignore => return,
            Verdict::Bad(shown, why) => {
                self.snapshot.unreadable.insert(shown, why);
                return;
            }
            Verdict::Take(path) => path,
        };
        match read_file(dir, name) {
            Ok(None) => {}
            Ok(Some(content)) if self.total + content.len() as u64 > MAX_TOTAL => {
                self.bad(path.as_str().as_bytes(), over_total());
            }
            Ok(Some(content)) => {
                self.total += content.len() as u64;
                self.snapshot.files.insert(path, Arc::from(content));
            }
            Err(why) => self.bad(path.as_str().as_bytes(), why),
        }
    }
}

/// Why a file is left out when [`MAX_TOTAL`] is reached.
pub(super) fn over_total() -> Unreadable {
    Unreadable::Io(format!("all files together are larger than {} MiB", MAX_TOTAL / 1024 / 1024))
}

fn kind_of(dir: impl AsFd, name: &[u8]) -> FileType {
    rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

fn is_link(dir: impl AsFd, name: &[u8]) -> bool {
    kind_of(dir, name) == FileType::Symlink
}
