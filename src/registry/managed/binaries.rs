//! The PostgreSQL binaries on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{START, broken};
use crate::ports::RegistryError;

/// What a folder must hold to be of use.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// A folder of PostgreSQL binaries and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

/// The binaries for a cluster: of the data's own major version if it has one, else the newest.
pub(super) fn find(data_major: Option<u32>) -> Result<Binaries, RegistryError> {
    let found: Vec<Binaries> = folders().into_iter().filter_map(inspect).collect();
    choose(found, data_major).map_err(|why| broken(START, why))
}

fn choose(found: Vec<Binaries>, data_major: Option<u32>) -> Result<Binaries, String> {
    let debian = Path::new("/etc/debian_version").exists();
    match data_major {
        // folders come in rising order of preference
        Some(major) => found.into_iter().rfind(|b| b.major == major).ok_or_else(|| {
            let package = if debian { format!("`apt-get install postgresql-{major}`") } else { hint() };
            format!("the private cluster was made by PostgreSQL {major}, which is not on this machine: {package}")
        }),
        // max_by_key takes the last of equals
        None => found.into_iter().max_by_key(|b| b.major).ok_or_else(|| {
            let mend = if debian { "`apt-get install postgresql`".to_owned() } else { hint() };
            format!(
                "there are no PostgreSQL server binaries on this machine: {mend}, or set [registry] url to a database"
            )
        }),
    }
}

fn hint() -> String {
    "install the PostgreSQL server package of your system (postgresql-server, or `brew install postgresql`)".to_owned()
}

/// Where binaries may be, the preferred places last.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|p| p.is_absolute()).collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(debian.map(|version| version.path().join("bin")));
    folders
}

fn inspect(folder: PathBuf) -> Option<Binaries> {
    if !NEEDED.iter().all(|name| folder.join(name).is_file()) {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let major = major_in(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries { folder, major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → 15
fn major_in(version: &str) -> Option<u32> {
    let number = version.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_all_forms() {
        let forms = ["postgres (PostgreSQL) 15.18 (Debian 15.18-0)", "postgres (PostgreSQL) 19beta1", "nothing"];
        assert_eq!(forms.map(major_in), [Some(15), Some(19), None]);
    }

    #[test]
    fn data_decides_the_version_and_otherwise_the_newest_is_taken() {
        let at = |folder: &str, major| Binaries { folder: PathBuf::from(folder), major };
        let found = || vec![at("/a", 16), at("/b", 15), at("/c", 16)];
        assert_eq!(choose(found(), None).unwrap().folder, Path::new("/c"));
        assert_eq!(choose(found(), Some(15)).unwrap().folder, Path::new("/b"));
        assert_eq!(choose(found(), Some(16)).unwrap().folder, Path::new("/c"));
        assert!(choose(found(), Some(14)).unwrap_err().contains("made by PostgreSQL 14"));
        assert!(choose(Vec::new(), None).unwrap_err().contains("set [registry] url"));
    }
}
