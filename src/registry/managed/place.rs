//! Where the private cluster lies and whose it is.
//!
//! PostgreSQL refuses to run as root. Run by root, the cluster belongs to the user `postgres` (else `nobody`), who must be
//! able to walk to its folder; where that is not so (a checkout below a closed home), it lies below `/var/lib/aam`, and
//! `<state>/postgres.path` says so.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{START, broken};
use crate::ports::RegistryError;

/// Longest path of a unix socket, without the final NUL.
const SOCKET_PATH_MAX: usize = 107;
const SOCKET_FILE: &str = "/.s.PGSQL.5432";

/// A system user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The state directory, absolute.
    pub(super) state: PathBuf,
    /// Holds `data`, `log` and usually the socket; mode 0700.
    pub(super) base: PathBuf,
    /// The socket's folder; mode 0700.
    pub(super) socket: PathBuf,
    /// Who runs the server.
    pub(super) user: User,
}

/// Finds or makes the folders below a state directory that [`make_state`] returned. Its caller holds the lock: a folder of
/// another user is made in two steps.
pub(super) fn prepare(state: PathBuf) -> Result<Place, RegistryError> {
    let us = ourselves();
    let pointer = state.join("postgres.path");
    let recorded = match fs::read_to_string(&pointer) {
        Ok(path) => Some(PathBuf::from(path.trim())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(at(&pointer, &e)),
    };
    let usual = recorded.clone().unwrap_or_else(|| state.join("postgres"));
    let user = match fs::metadata(usual.join("data")) {
        Ok(data) => User { uid: data.uid(), gid: data.gid() },
        Err(_) if us.uid == 0 => server_user(),
        Err(_) => us,
    };
    if us.uid != 0 && user != us && user.uid != us.uid {
        let why = format!("{} belongs to user {}: run aam as that user", usual.display(), user.uid);
        return Err(broken(START, why));
    }
    let base = if us.uid != 0 || recorded.is_some() || walkable(&state, user) {
        usual
    } else {
        let elsewhere = Path::new("/var/lib/aam").join(key_of(&state));
        make_open(Path::new("/var/lib/aam"))?;
        if !walkable(Path::new("/var/lib/aam"), user) {
            let why = format!(
                "user {} can reach neither {} nor /var/lib/aam, and PostgreSQL does not run as root: \
                 open one of them, or run aam as another user",
                user.uid,
                state.display()
            );
            return Err(broken(START, why));
        }
        fs::write(&pointer, format!("{}\n", elsewhere.display())).map_err(|e| at(&pointer, &e))?;
        elsewhere
    };
    make_private(&base, user).map_err(|e| at(&base, &e))?;
    let socket = if fits(&base) {
        base.clone()
    } else {
        let short = short_folder(&base, user);
        make_private(&short, user).map_err(|e| at(&short, &e))?;
        short
    };
    if !fits(&socket) {
        return Err(broken(START, format!("{} is too long for a unix socket: set TMPDIR=/tmp", socket.display())));
    }
    Ok(Place { state, base, socket, user })
}

/// Who runs this process.
pub(super) fn ourselves() -> User {
    User { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// The state directory, absolute.
pub(super) fn make_state(state_dir: &Path) -> Result<PathBuf, RegistryError> {
    make_open(state_dir)?;
    fs::canonicalize(state_dir).map_err(|e| at(state_dir, &e))
}

/// Makes a folder that others may walk through but not look into, whatever the umask; one that is there stays as it is.
/// It comes into being with its mode: another process must not find it half made.
fn make_open(folder: &Path) -> Result<(), RegistryError> {
    let Some(parent) = folder.parent().filter(|_| !folder.exists()) else { return Ok(()) };
    let make = || {
        fs::create_dir_all(parent)?;
        let half = tempfile::Builder::new().prefix(".aam-").tempdir_in(parent)?;
        fs::set_permissions(&half, fs::Permissions::from_mode(0o711))?;
        match fs::rename(half.path(), folder) {
            Ok(()) => {
                let _ = half.keep();
                Ok(())
            }
            Err(_) if folder.is_dir() => Ok(()),
            Err(e) => Err(e),
        }
    };
    make().map_err(|e| at(folder, &e))
}

/// `postgres` if the machine knows that user, else `nobody`.
fn server_user() -> User {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let fields: Vec<&str> = passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some(User { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    };
    ids("postgres").or_else(|| ids("nobody")).unwrap_or(User { uid: 65534, gid: 65534 })
}

/// Whether the user may walk down to the folder, judged by mode bits.
fn walkable(folder: &Path, user: User) -> bool {
    folder.ancestors().all(|dir| {
        fs::metadata(dir).is_ok_and(|meta| {
            let bit = match () {
                () if meta.uid() == user.uid => 0o100,
                () if meta.gid() == user.gid => 0o010,
                () => 0o001,
            };
            meta.mode() & bit != 0
        })
    })
}

/// The folder with a short name that stands for one whose path is too long for a socket.
fn short_folder(long: &Path, user: User) -> PathBuf {
    std::env::temp_dir().join(format!("aam-{}-{}", user.uid, key_of(long)))
}

/// A folder that only we may enter, in place of one whose path is too long for a socket.
pub fn private_folder_for(long: &Path) -> io::Result<PathBuf> {
    let short = short_folder(long, ourselves());
    match make_private(&short, ourselves()) {
        Ok(()) => Ok(short),
        Err(e) => Err(io::Error::new(e.kind(), format!("{}: {e}", short.display()))),
    }
}

/// A folder that only the user may enter. One that is there must be such a folder already: in a shared place like `/tmp`
/// somebody else may have put it there.
fn make_private(folder: &Path, user: User) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) if user != ourselves() => std::os::unix::fs::chown(folder, Some(user.uid), Some(user.gid)),
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(folder)?;
            if !meta.is_dir() || meta.uid() != user.uid {
                return Err(io::Error::other(format!("is there but is no folder of user {}", user.uid)));
            }
            if meta.mode() & 0o077 != 0 {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
            }
            Ok(())
        }
        Err(e) => Err(e),
    }
}

/// Whether a socket in this folder has a usable path: short, and of characters that need no quoting in the settings.
fn fits(folder: &Path) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-".contains(b);
    let bytes = folder.as_os_str().as_encoded_bytes();
    bytes.len() + SOCKET_FILE.len() <= SOCKET_PATH_MAX && bytes.iter().all(plain)
}

/// A short name for a path.
fn key_of(path: &Path) -> String {
    hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..8])
}

/// A file system error with its path.
pub(super) fn at(path: &Path, error: &io::Error) -> RegistryError {
    broken(START, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_needs_a_short_and_plain_path() {
        assert!(fits(Path::new("/srv/app/.aam/postgres")));
        assert!(!fits(Path::new(&format!("/{}", "x".repeat(93)))));
        assert!(fits(Path::new(&format!("/{}", "x".repeat(92)))));
        assert!(!fits(Path::new("/srv/it's/.aam/postgres")));
    }

    #[test]
    fn a_closed_folder_on_the_way_is_noticed() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let stranger = User { uid: 4242, gid: 4242 };
        assert!(walkable(&inner, stranger));
        fs::set_permissions(top.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!walkable(&inner, stranger));
        assert!(walkable(&inner, ourselves()));
    }
}
