//! Which version is played, and which calls and habits that version has.

use std::str::FromStr;
use std::time::Duration;

/// `1.8`; a patch level changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(format!("`{text}` is no version such as 1.8")),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.0", self.0, self.1)
    }
}

impl Version {
    /// How long a token lives.
    pub fn token_life(self) -> Duration {
        Duration::from_secs(if self < Self(1, 6) { 3 * 60 } else { 15 * 60 })
    }

    /// User name and password are taken instead of a token.
    pub fn takes_basic_auth(self) -> bool {
        self < Self(1, 0)
    }

    /// The status of wrong credentials at the token call.
    pub fn bad_credentials(self) -> u16 {
        match self {
            v if v < Self(1, 0) => 500,
            v if v <= Self(2, 0) => 400,
            _ => 401,
        }
    }

    /// The public API answers failures of its own with `about:blank`.
    pub fn has_the_old_public_server(self) -> bool {
        self < Self(1, 0)
    }

    /// Tags, and connections that carry them.
    pub fn has_tags(self) -> bool {
        self >= Self(1, 4)
    }

    /// `workspaces/list`.
    pub fn has_workspaces_list(self) -> bool {
        self <= Self(1, 6)
    }

    /// `commands/*`.
    pub fn has_commands(self) -> bool {
        self >= Self(1, 7)
    }

    /// Lists of sources and destinations come in pages of 20.
    pub fn pages_actors(self) -> bool {
        self >= Self(1, 8)
    }

    /// Errors of the Config API say no more than an id.
    pub fn hides_errors(self) -> bool {
        self >= Self(2, 0)
    }

    /// `catalogs/diff`, the job status `queued`.
    pub fn is_after_2_0(self) -> bool {
        self > Self(2, 0)
    }

    /// The destination modes that this version knows.
    pub fn destination_modes(self) -> Vec<&'static str> {
        let mut modes = vec!["append", "overwrite", "append_dedup"];
        if self >= Self(1, 0) {
            modes.push("overwrite_dedup");
        }
        if self >= Self(1, 8) {
            modes.extend(["update", "soft_delete"]);
        }
        modes
    }
}
