//! Names and identifiers as types, so that two strings cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::path::{quote_name, split_quoted};

/// The tenant of connections that lie directly in `connectors.d`; no folder may carry this name.
pub const DEFAULT_TENANT: &str = "default";

/// A name that cannot be used as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?}: {why}")]
pub struct NameError {
    /// Which kind of name, for example `tenant`.
    pub what: &'static str,
    /// The name as given.
    pub given: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Accepts `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 100 bytes: safe as a file name, a branch part and an SQL value.
fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > 100 {
        "is longer than 100 bytes"
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "must begin with an ASCII letter or digit"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        "may hold only ASCII letters, digits, `.`, `_` and `-`"
    } else if name.ends_with('.') || name.contains("..") || name.ends_with(".lock") {
        "is not allowed in a git branch name (`..`, a final `.` or `.lock`)"
    } else {
        return Ok(());
    };
    Err(NameError { what, given: name.to_owned(), why })
}

/// A tenant: a folder below `connectors.d`, or `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// Checks and wraps a tenant's name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_name("tenant", name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(DEFAULT_TENANT.to_owned())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What people call a connection: `crm` in the default tenant, `acme/billing` elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionRef {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The stem of its spec's file name.
    pub name: String,
}

impl ConnectionRef {
    /// Checks and joins tenant and name.
    pub fn new(tenant: TenantId, name: &str) -> Result<Self, NameError> {
        check_name("connection", name)?;
        Ok(Self { tenant, name: name.to_owned() })
    }
}

impl fmt::Display for ConnectionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant.as_str() == DEFAULT_TENANT {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.tenant, self.name)
        }
    }
}

impl FromStr for ConnectionRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            None => Self::new(TenantId::default(), text),
            Some((tenant, name)) => Self::new(TenantId::new(tenant)?, name),
        }
    }
}

impl Serialize for ConnectionRef {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnectionRef {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The identity of a connection for life: written into its lock, kept when the spec is moved with its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub Uuid);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream as the source names it. Shown as `public/accounts`; a part holding `/`, `.` or a quote is quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    /// The schema, database or folder; absent for sources that have none.
    pub namespace: Option<String>,
    /// The stream's own name.
    pub name: String,
}

impl StreamName {
    /// A stream without a namespace.
    pub fn bare(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// A stream within a namespace.
    pub fn within(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", quote_name(namespace))?;
        }
        f.write_str(&quote_name(&self.name))
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why| NameError { what: "stream", given: text.to_owned(), why };
        let mut parts = split_quoted(text, '/').ok_or(wrong("has a quote that is not closed"))?;
        if parts.iter().any(String::is_empty) {
            return Err(wrong("has an empty part"));
        }
        match parts.len() {
            1 => Ok(Self::bare(parts.remove(0))),
            2 => Ok(Self::within(parts.remove(0), parts.remove(0))),
            _ => Err(wrong("has more than one `/`; quote a part that holds one")),
        }
    }
}

impl Serialize for StreamName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A git commit id, or the content hash of a plain folder's state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub String);

impl CommitId {
    /// The first ten characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file's path relative to the configuration root: `/` between parts, no `..`, never absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoPath(String);

impl RepoPath {
    /// Checks a relative path: no empty, `.`, `..` or `.git` part, no NUL or backslash.
    pub fn new(path: &str) -> Result<Self, NameError> {
        let bad_part = |p: &str| matches!(p, "" | "." | "..") || p.eq_ignore_ascii_case(".git");
        let why = if path.contains('\0') || path.contains('\\') {
            "holds a NUL or a backslash"
        } else if path.split('/').any(bad_part) {
            "is absolute, or has an empty, `.`, `..` or `.git` part"
        } else {
            return Ok(Self(path.to_owned()));
        };
        Err(NameError { what: "path", given: path.to_owned(), why })
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Larger than the limit (1 MiB); holds its size in bytes.
    TooLarge(u64),
    /// A symbolic link, or below one.
    Link,
    /// A FIFO, socket, device, submodule or a folder with a spec's name.
    NotAFile,
    /// Its name is not UTF-8, holds control characters, or is otherwise no [`RepoPath`].
    Name,
    /// The system said no.
    Io(String),
}
