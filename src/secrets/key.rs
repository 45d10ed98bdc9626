//! The key of fingerprints: made once, readable by its owner only.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use secrecy::SecretString;

use crate::ports::SecretError;

/// The key in the file, which is made with a fresh one if it is not there.
pub(super) fn read_or_make(path: &Path) -> Result<SecretString, SecretError> {
    let failed = |why: String| SecretError { reference: path.display().to_string(), why };
    if let Some(key) = read(path).map_err(|e| failed(e.to_string()))? {
        return Ok(key);
    }
    make(path).map_err(|e| failed(e.to_string()))?;
    // read again: another process may have been first, and then its key counts
    read(path).map_err(|e| failed(e.to_string()))?.ok_or_else(|| failed("vanished while it was read".to_owned()))
}

fn read(path: &Path) -> std::io::Result<Option<SecretString>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() == 64 => Ok(Some(text.trim().into())),
        Ok(_) => Err(std::io::Error::other("does not hold 64 hex digits: restore it, or delete it to begin anew")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a new key whole or not at all, and never over one that is there.
fn make(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let key = random()?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?; // mode 0600
    writeln!(file, "{}", hex::encode(key))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() != ErrorKind::AlreadyExists => Err(e.error),
        _ => Ok(()),
    }
}

/// 256 bits of the system's generator.
fn random() -> std::io::Result<[u8; 32]> {
    use std::io::Read;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_closed() {
        use secrecy::ExposeSecret;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/fingerprint.key");
        let first = read_or_make(&path).unwrap();
        assert_eq!(first.expose_secret(), read_or_make(&path).unwrap().expose_secret());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "").unwrap();
        assert!(read_or_make(&path).is_err(), "an emptied key is not replaced in silence");
    }
}
