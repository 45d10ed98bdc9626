//! Where a remote repository is, checked; and how the last look at it went.

use core::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The address of a remote repository. Holds no secret, and nothing in it can be taken for an option or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    text: String,
    transport: Transport,
    authority: String,
}

/// How a remote is reached. No other way is ever used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `ssh://`
    Ssh,
    /// `https://`
    Https,
    /// `http://`, to this machine only.
    Http,
    /// A folder of this machine.
    Local,
}

/// Why a text is no address of a remote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RemoteUrlError(String);

impl RemoteUrl {
    /// Checks an address. A path without a scheme must be absolute.
    pub fn parse(text: &str) -> Result<Self, RemoteUrlError> {
        let wrong = |why: &str| Err(RemoteUrlError(why.to_owned()));
        if text.chars().any(char::is_control) {
            return wrong("it holds a control character");
        }
        if text.starts_with('-') {
            return wrong("it begins with `-`");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.contains("::") {
                return wrong("that is a helper of git, and helpers are programs: use ssh://, https:// or a path");
            }
            if !text.starts_with('/') {
                return wrong("write ssh://git@HOST/PATH, https://HOST/PATH or an absolute path");
            }
            return Ok(Self { text: text.to_owned(), transport: Transport::Local, authority: String::new() });
        };
        let transport = match scheme {
            "ssh" => Transport::Ssh,
            "https" => Transport::Https,
            "http" => Transport::Http,
            "file" => Transport::Local,
            _ => return wrong("only ssh://, https://, file:// and absolute paths are used"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if path.trim_matches('/').is_empty() {
            return wrong("it names no repository: the path is missing");
        }
        if path.trim_start_matches('/').starts_with('-') {
            return wrong("its path begins with `-`");
        }
        if transport == Transport::Local {
            return match authority {
                "" => Ok(Self { text: text.to_owned(), transport, authority: String::new() }),
                _ => wrong("file:// takes no host: write file:///PATH"),
            };
        }
        if text.contains(char::is_whitespace) || path.contains(['?', '#']) {
            return wrong("it holds a space, `?` or `#`");
        }
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        match (transport, user) {
            (_, None) => {}
            (Transport::Ssh, Some(user)) if is_user(user) => {}
            (Transport::Ssh, _) => return wrong("its user is no name: letters, digits, `.`, `_` and `-` are"),
            _ => {
                return wrong("it holds a user: write `username`, and `password` as a reference to a secret, instead");
            }
        }
        let Some(host) = host_of(place) else {
            return wrong("its host is none: a name, or an IP address, and perhaps a port");
        };
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if transport == Transport::Http && !here {
            return wrong("http:// would show what it carries to everybody on the way: write https://");
        }
        Ok(Self { text: text.to_owned(), transport, authority: place.to_owned() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Scheme, host and port of one that is reached by HTTP: what a password is for.
    pub fn origin(&self) -> Option<String> {
        match self.transport {
            Transport::Https => Some(format!("https://{}", self.authority)),
            Transport::Http => Some(format!("http://{}", self.authority)),
            Transport::Ssh | Transport::Local => None,
        }
    }

    /// Host and path, of one that is reached by a network.
    pub fn server(&self) -> Option<(&str, &str)> {
        let (_, path) = self.text.split_once("://")?.1.split_once('/')?;
        Some((host_of(&self.authority)?, path)).filter(|_| self.transport != Transport::Local)
    }

    /// The folder, of one on this machine.
    pub fn folder(&self) -> Option<&Path> {
        let local = self.transport == Transport::Local;
        local.then(|| Path::new(self.text.strip_prefix("file://").unwrap_or(&self.text)))
    }
}

impl std::fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_user(user: &str) -> bool {
    user.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The host of `host`, `host:port` or `[ipv6]:port`, if all of it is well formed.
fn host_of(place: &str) -> Option<&str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port.is_empty().then_some(None).or_else(|| port.strip_prefix(':').map(Some))?)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let named = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    let ported = port.is_none_or(|port| !port.is_empty() && port.parse::<u16>().is_ok());
    (named && ported).then_some(host)
}

/// How the remote of the repository stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteInfo {
    /// Its address.
    pub url: String,
    /// When it was last seen.
    pub fetched_at: Option<DateTime<Utc>>,
    /// Why it cannot be looked at now; what was fetched before stays in force.
    pub trouble: Option<RemoteTrouble>,
    /// That the tracked branch was moved there to a commit that does not follow from the one before.
    pub rewritten: Option<Rewritten>,
    /// When it is looked at next by itself.
    pub next_at: Option<DateTime<Utc>>,
}

/// A remote that cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTrouble {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, in words.
    pub why: String,
    /// How often in a row.
    pub failures: u32,
}

/// A history that somebody rewrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// When that was seen.
    pub at: DateTime<Utc>,
    /// The tip before.
    pub from: String,
    /// The tip since.
    pub to: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_an_option_or_a_command_is_an_address() {
        let texts = [
            "ssh://git@git.example.com/team/config.git",
            "ssh://git@[::1]:2222/config.git",
            "https://git.example.com:8443/team/config.git",
            "http://127.0.0.1:8080/config.git",
            "file:///srv/config.git",
            "/srv/my config.git",
            "http://git.example.com/config.git",
            "https://u:s3cret@git.example.com/config.git",
            "git@git.example.com:config.git",
            "git://git.example.com/config.git",
            "ext::sh -c touch% /tmp/x",
            "ext::ssh://x",
            "--upload-pack=touch /tmp/x",
            "ssh://-oProxyCommand=touch/x",
            "ssh://%2doProxyCommand=touch/x",
            "ssh://-l@host/x",
            "ssh://git@host/-x",
            "ssh://git@host:0x16/x",
            "ssh://git@host/",
            "https://host/x?y",
            "file://host/x",
            "../config.git",
            "/srv/a\nb",
            "",
        ];
        let shown = texts.map(|text| match RemoteUrl::parse(text) {
            Ok(url) => format!("{text}: {:?} {:?}", url.transport(), url.origin()),
            Err(why) => format!("{text:?}: {why}"),
        });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        ssh://git@git.example.com/team/config.git: Ssh None
        ssh://git@[::1]:2222/config.git: Ssh None
        https://git.example.com:8443/team/config.git: Https Some("https://git.example.com:8443")
        http://127.0.0.1:8080/config.git: Http Some("http://127.0.0.1:8080")
        file:///srv/config.git: Local None
        /srv/my config.git: Local None
        "http://git.example.com/config.git": http:// would show what it carries to everybody on the way: write https://
        "https://u:s3cret@git.example.com/config.git": it holds a user: write `username`, and `password` as a reference to a secret, instead
        "git@git.example.com:config.git": write ssh://git@HOST/PATH, https://HOST/PATH or an absolute path
        "git://git.example.com/config.git": only ssh://, https://, file:// and absolute paths are used
        "ext::sh -c touch% /tmp/x": that is a helper of git, and helpers are programs: use ssh://, https:// or a path
        "ext::ssh://x": only ssh://, https://, file:// and absolute paths are used
        "--upload-pack=touch /tmp/x": it begins with `-`
        "ssh://-oProxyCommand=touch/x": its host is none: a name, or an IP address, and perhaps a port
        "ssh://%2doProxyCommand=touch/x": its host is none: a name, or an IP address, and perhaps a port
        "ssh://-l@host/x": its user is no name: letters, digits, `.`, `_` and `-` are
        "ssh://git@host/-x": its path begins with `-`
        "ssh://git@host:0x16/x": its host is none: a name, or an IP address, and perhaps a port
        "ssh://git@host/": it names no repository: the path is missing
        "https://host/x?y": it holds a space, `?` or `#`
        "file://host/x": file:// takes no host: write file:///PATH
        "../config.git": write ssh://git@HOST/PATH, https://HOST/PATH or an absolute path
        "/srv/a\nb": it holds a control character
        "": write ssh://git@HOST/PATH, https://HOST/PATH or an absolute path
        "#);
    }
}
