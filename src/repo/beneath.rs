//! Opening files below a root handle, one part of the path at a time and never through a link.
//!
//! One name at a time with `O_NOFOLLOW` is what `openat2` does with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, and works
//! on every kernel: a link swapped in between check and open is refused by the open itself.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::model::RepoPath;
use crate::ports::Unreadable;

/// Larger files are not read (1 MiB): a spec is a few kilobytes.
pub(super) const MAX_FILE: u64 = 1024 * 1024;

/// Opens the root itself; it may be a link (container platforms mount settings so).
pub(super) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a folder by its name in another.
pub(super) fn open_dir(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Reads a file by its name in a folder; `None` if it is gone. Never waits on a FIFO, never opens a device for long.
pub(super) fn read_file(parent: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::MLINK) => return Err(Unreadable::Link),
        Err(Errno::NXIO | Errno::NODEV | Errno::ISDIR) => return Err(Unreadable::NotAFile),
        Err(e) => return Err(Unreadable::Io(io::Error::from(e).to_string())),
    };
    let failed = |e: io::Error| Unreadable::Io(e.to_string());
    let stat = rustix::fs::fstat(&fd).map_err(|e| failed(e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Unreadable::NotAFile);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > MAX_FILE {
        return Err(Unreadable::TooLarge(size));
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    // One byte more than allowed: it may have grown since its size was read.
    File::from(fd).take(MAX_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(Unreadable::TooLarge(content.len() as u64));
    }
    Ok(Some(content))
}

/// Writes a file that is not there yet, whole or not at all; `false` if something stands there already.
pub fn put_new(root: &Path, path: &RepoPath, text: &str) -> io::Result<bool> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let dir = open_parent(root, path, true)?.ok_or_else(gone)?;
    // Hidden, so that no reader takes it for a spec; one of a crash is written over.
    let temporary = ".aam-write.tmp";
    let forget = || match rustix::fs::unlinkat(&dir, temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(io::Error::from(e)),
    };
    forget()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&dir, temporary, flags, Mode::from_raw_mode(0o666))?);
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
    // A link to a name that is taken fails, where a rename would replace what stands there.
    let linked =
        written.and_then(|()| match rustix::fs::linkat(&dir, temporary, &dir, path.file_name(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(e.into()),
        });
    forget()?;
    linked
}

/// Opens the folder that holds `path`; with `create`, makes the folders that are missing. `None` if there is none.
pub(super) fn open_parent(root: &Path, path: &RepoPath, create: bool) -> io::Result<Option<OwnedFd>> {
    let mut dir = open_root(root)?;
    let mut parts: Vec<&str> = path.as_str().split('/').collect();
    parts.pop();
    for part in parts {
        dir = match open_dir(&dir, part.as_bytes()) {
            Ok(next) => next,
            Err(Errno::NOENT) if create => {
                match rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
                rustix::fs::fsync(&dir)?;
                open_dir(&dir, part.as_bytes())?
            }
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
    }
    Ok(Some(dir))
}
