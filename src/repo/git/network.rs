//! What a call over the network gets: one transport, checked host keys, and a password that only a pipe carries.
//!
//! The pipe lies in a folder of its own that only this user may enter. Nothing is written to a disk: git asks a helper
//! of one line, which reads the pipe, and this process writes to whoever reads. So the password is in no argument, no
//! environment and no file, and git is told of the helper for the one place that the password is for.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use super::command::Call;
use crate::model::{RemoteUrl, Transport};
use crate::ports::RepoError;
use crate::repo::{io_error, needs_person};

/// Folders below the state folder that hold a pipe while git runs.
pub(super) const PIPES: &str = "password-";

/// Folders below the state folder that become the clone.
pub(super) const MAKING: &str = "repository-";

/// How often a reader of the pipe is looked for.
const PAUSE: Duration = Duration::from_millis(20);

/// User and password for a remote that is reached by HTTP, read anew for each call: a rotated one counts at once. The
/// error says in words what cannot be read.
pub type Login = Box<dyn Fn() -> Result<Option<(String, SecretString)>, String> + Send + Sync>;

/// How a remote is reached.
pub struct Access {
    /// Where it is.
    pub url: RemoteUrl,
    /// The private key for ssh; without it the user's own keys and agent.
    pub ssh_key: Option<PathBuf>,
    /// The hosts' public keys; without it the files of the user and of the system.
    pub known_hosts: Option<PathBuf>,
    /// For HTTP.
    pub login: Login,
}

impl Access {
    /// Lets a call use the network for this remote, and nothing else.
    pub(super) fn open(&self, call: Call, state_dir: &Path) -> Result<Call, RepoError> {
        let protocol = match self.url.transport() {
            Transport::Ssh => "ssh",
            Transport::Https => "https",
            Transport::Http => "http",
            Transport::Local => "file",
        };
        let settings = [
            ("credential.helper", ""),
            ("http.followRedirects", "false"),
            ("http.sslVerify", "true"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", "60"),
            ("push.pushOption", ""),
            ("push.gpgSign", "false"),
            ("transfer.credentialsInUrl", "die"),
        ];
        let call = settings.iter().fold(call, |call, (name, value)| call.setting(*name, *value));
        let call = call.env("GIT_ALLOW_PROTOCOL", protocol);
        if self.url.transport() == Transport::Ssh {
            return Ok(call.env("GIT_SSH_COMMAND", self.ssh_command()?).env("GIT_SSH_VARIANT", "ssh"));
        }
        let Some(origin) = self.url.origin() else { return Ok(call) };
        let login = (self.login)().map_err(|why| needs_person(format!("signing in at {}", self.url), why))?;
        let Some((user, password)) = login else { return Ok(call) };
        let pipe = PasswordPipe::new(state_dir, &user, &password)?;
        let helper = format!("!f() {{ test \"$1\" = get && cat {}; }}; f", quoted(&pipe.path.to_string_lossy()));
        Ok(call.setting(format!("credential.{origin}.helper"), helper).password(pipe))
    }

    /// Host keys are always checked, nobody is asked, and no settings file adds a program.
    fn ssh_command(&self) -> Result<String, RepoError> {
        let mut words: Vec<String> = ["ssh", "-F", "/dev/null"].map(str::to_owned).to_vec();
        let mut set = |option: String| words.extend(["-o".to_owned(), quoted(&option)]);
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "ConnectTimeout=10",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
            "ControlPath=none",
            "ClearAllForwardings=yes",
        ] {
            set(option.to_owned());
        }
        if let Some(key) = &self.ssh_key {
            set("IdentitiesOnly=yes".to_owned());
            set(format!("IdentityFile={}", for_ssh(key)?));
        }
        if let Some(known) = &self.known_hosts {
            set(format!("UserKnownHostsFile={}", for_ssh(known)?));
            set("GlobalKnownHostsFile=/dev/null".to_owned());
        }
        Ok(words.join(" "))
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A path for an option of ssh, which reads quotes and `%`.
fn for_ssh(path: &Path) -> Result<String, RepoError> {
    let what = "preparing ssh";
    let text = path.to_str().ok_or_else(|| needs_person(what, "the path of a key is not UTF-8"))?;
    if text.contains(['"', '\\']) || text.chars().any(char::is_control) {
        return Err(needs_person(what, "the path of a key holds a quote, a backslash or a control character"));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

/// A pipe that gives user and password to whoever of this user reads it, while it is served.
pub(super) struct PasswordPipe {
    _folder: tempfile::TempDir,
    path: PathBuf,
    text: SecretString,
}

impl PasswordPipe {
    fn new(state_dir: &Path, user: &str, password: &SecretString) -> Result<Self, RepoError> {
        let what = "signing in at the remote";
        if [user, password.expose_secret()].iter().any(|text| text.contains(['\n', '\r', '\0'])) {
            return Err(needs_person(what, "user or password hold a line break"));
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(PIPES).permissions(private).tempdir_in(state_dir);
        let folder = folder.map_err(|e| io_error(what, &e))?;
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(|e| io_error(what, &e.into()))?;
        let text = format!("username={user}\npassword={}\n", password.expose_secret());
        Ok(Self { _folder: folder, path, text: text.into() })
    }

    /// Answers readers for ever.
    pub(super) async fn serve(&self) -> Infallible {
        loop {
            // Fails while nobody reads.
            if let Ok(mut writer) = pipe::OpenOptions::new().open_sender(&self.path) {
                // A helper that was killed reads no more.
                let _ = writer.write_all(self.text.expose_secret().as_bytes()).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Removes what a kill left, and lets go whoever still waits for a pipe.
pub(super) fn sweep(state_dir: &Path) {
    for entry in std::fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = [PIPES, MAKING].iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if ours && is_over(&entry.path()) {
            drop(pipe::OpenOptions::new().open_sender(entry.path().join("pipe")));
            // What stays is swept at the next start.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether what one call made can be of use no more: it is older than any call may last.
pub(super) fn is_over(path: &Path) -> bool {
    let made = path.symlink_metadata().and_then(|m| m.modified());
    made.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > super::remote::FETCH_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_checks_host_keys_and_paths_stay_one_word() {
        let access = |key: &str| Access {
            url: RemoteUrl::parse("ssh://git@host/x").unwrap(),
            ssh_key: Some(key.into()),
            known_hosts: Some("/etc/it's 100%/known".into()),
            login: Box::new(|| Ok(None)),
        };
        insta::assert_snapshot!(access("/k y").ssh_command().unwrap(), @r#"ssh -F /dev/null -o 'BatchMode=yes' -o 'StrictHostKeyChecking=yes' -o 'UpdateHostKeys=no' -o 'ConnectTimeout=10' -o 'ServerAliveInterval=5' -o 'ServerAliveCountMax=3' -o 'ControlPath=none' -o 'ClearAllForwardings=yes' -o 'IdentitiesOnly=yes' -o 'IdentityFile="/k y"' -o 'UserKnownHostsFile="/etc/it'\''s 100%%/known"' -o 'GlobalKnownHostsFile=/dev/null'"#);
        assert!(access("/k\" -o ProxyCommand=x").ssh_command().is_err());
    }
}
