//! Puts a file in place: whole or not at all, never through a link, mode and owner kept.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::model::RepoPath;
use crate::ports::{RepoError, Unreadable, point};
use crate::repo::beneath::{self, open_parent};
use crate::repo::names::escape;
use crate::repo::{io_error, needs_person};

/// The file's bytes; `None` if there is none.
pub(super) fn read(root: &Path, path: &RepoPath) -> Result<Option<Vec<u8>>, RepoError> {
    let what = || format!("reading {}", escape(path.as_str().as_bytes()));
    let Some(dir) = open_parent(root, path, false).map_err(|e| io_error(what(), &e))? else { return Ok(None) };
    beneath::read_file(&dir, path.file_name().as_bytes()).map_err(|why| {
        let why = match why {
            Unreadable::Link => "it is a symbolic link".to_owned(),
            Unreadable::NotAFile => "it is no file".to_owned(),
            Unreadable::TooLarge(size) => format!("it is too large ({size} bytes)"),
            Unreadable::Name => "its name cannot be used".to_owned(),
            Unreadable::Io(why) => why,
        };
        needs_person(what(), why)
    })
}

/// Writes a file below the root, or removes it. After a crash it holds the old or the new content.
pub(super) fn put(root: &Path, path: &RepoPath, content: Option<&str>) -> Result<(), RepoError> {
    let what = || format!("writing {}", escape(path.as_str().as_bytes()));
    put_beneath(root, path, content).map_err(|e| io_error(what(), &e))
}

fn put_beneath(root: &Path, path: &RepoPath, content: Option<&str>) -> io::Result<()> {
    let name = path.file_name();
    let Some(dir) = open_parent(root, path, content.is_some())? else { return Ok(()) };
    let Some(content) = content else {
        return match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) => Ok(rustix::fs::fsync(&dir)?),
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        };
    };
    let old = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Some(stat),
        Ok(_) => return Err(io::Error::other("something that is no file stands there")),
        Err(Errno::NOENT) => None,
        Err(e) => return Err(e.into()),
    };
    // Hidden, so that no reader takes it for a spec; one of a crash is written over.
    let temporary = ".aam-write.tmp";
    match rustix::fs::unlinkat(&dir, temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&dir, temporary, flags, Mode::from_raw_mode(0o666))?);
    let written = (|| {
        file.write_all(content.as_bytes())?;
        point("put_file.written");
        if let Some(old) = old {
            keep_owner(&file, old.st_uid, old.st_gid)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(old.st_mode & 0o7777))?;
        }
        file.sync_all()?;
        point("put_file.k2");
        rustix::fs::renameat(&dir, temporary, &dir, name)?;
        point("put_file.k3");
        io::Result::Ok(())
    })();
    if written.is_err() {
        // Left behind it would be written over by the next try.
        let _ = rustix::fs::unlinkat(&dir, temporary, AtFlags::empty());
    }
    written?;
    Ok(rustix::fs::fsync(&dir)?)
}

fn keep_owner(file: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let now = rustix::fs::fstat(&file)?;
    if (now.st_uid, now.st_gid) != (uid, gid) {
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}

/// Writes a file of our own whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}
