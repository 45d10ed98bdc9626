//! One call of the `git` program: a clean environment, no hooks, no prompts, a time limit, killed on drop with all that it
//! started. No network, unless `network` opens it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::network::PasswordPipe;
use crate::ports::RepoError;
use crate::repo::names::escape;
use crate::repo::{io_error, may_heal, needs_person};

/// A call that takes longer is killed (60 s): local work on a large repository takes a second.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Settings that win over the repository's own, so that nothing but git starts and nothing is rewritten on the side.
const SETTINGS: &[(&str, &str)] = &[
    // A repository of another owner: hooks, file monitor and filters are off, so nothing of theirs runs.
    ("safe.directory", "*"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("log.showSignature", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("core.quotePath", "true"),
    ("advice.detachedHead", "false"),
];

/// Who commits.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub name: String,
    pub mail: String,
}

/// What a finished call left.
#[derive(Debug)]
pub(super) struct Done {
    pub code: i32,
    pub out: Vec<u8>,
    /// Escaped, at most 2,000 characters.
    pub err: String,
}

/// A call being put together. Works below `dir`.
pub(super) struct Call {
    what: String,
    dir: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    settings: Vec<(String, String)>,
    stdin: Vec<u8>,
    limit: Duration,
    password: Option<PasswordPipe>,
}

impl Call {
    /// A call that finds the repository from the folder it runs in.
    pub fn within(dir: &Path, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            dir: dir.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            settings: Vec::new(),
            stdin: Vec::new(),
            limit: TIME_LIMIT,
            password: None,
        }
    }

    /// A call on objects and refs alone: no work tree, no index, and no attributes of the work tree.
    pub fn objects(common: &Path, what: impl Into<String>) -> Self {
        Self::within(common, what).env("GIT_DIR", common).setting("core.attributesFile", "/dev/null")
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    pub fn settings(mut self, settings: &[(String, String)]) -> Self {
        self.settings.extend_from_slice(settings);
        self
    }

    pub fn identity(self, who: &Identity) -> Self {
        self.env("GIT_AUTHOR_NAME", &who.name)
            .env("GIT_AUTHOR_EMAIL", &who.mail)
            .env("GIT_COMMITTER_NAME", &who.name)
            .env("GIT_COMMITTER_EMAIL", &who.mail)
    }

    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = bytes;
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Serves a password while it runs.
    pub fn password(mut self, pipe: PasswordPipe) -> Self {
        self.password = Some(pipe);
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.args(&self.args).current_dir(&self.dir);
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b"GIT_") || bytes == b"LANGUAGE" {
                command.env_remove(&name);
            }
        }
        let no_answer = "/bin/false";
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", no_answer)
            .env("SSH_ASKPASS", no_answer)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_PAGER", "cat")
            .env("GIT_EDITOR", no_answer)
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none");
        let own = self.settings.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let settings: Vec<_> = SETTINGS.iter().copied().chain(own).collect();
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (i, (name, value)) in settings.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{i}"), name).env(format!("GIT_CONFIG_VALUE_{i}"), value);
        }
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Its own group: Ctrl-C in the terminal ends us in order, and not git half-way through a checkout.
        command.process_group(0);
        command
    }

    /// Runs it to its end, whatever its exit code.
    pub async fn done(self) -> Result<Done, RepoError> {
        // Many calls wait inside each other; what one holds meanwhile is kept apart.
        Box::pin(self.run()).await
    }

    async fn run(self) -> Result<Done, RepoError> {
        let mut child = self.command().spawn().map_err(|e| {
            if e.kind() == std::io::ErrorKind::NotFound && self.dir.is_dir() {
                needs_person(&*self.what, "the program `git` is not installed")
            } else {
                io_error(&*self.what, &e)
            }
        })?;
        let group = Group::of(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = self.stdin;
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A git that stops reading has its reason on stderr.
                let _ = stdin.write_all(&input).await;
            }
        };
        let read_out = async move {
            let mut bytes = Vec::new();
            match stdout {
                Some(mut pipe) => pipe.read_to_end(&mut bytes).await.map(|_| bytes),
                None => Ok(bytes),
            }
        };
        let read_err = async move {
            let mut bytes = Vec::new();
            match stderr {
                Some(mut pipe) => pipe.read_to_end(&mut bytes).await.map(|_| bytes),
                None => Ok(bytes),
            }
        };
        let password = self.password;
        let served = async {
            match &password {
                Some(pipe) => pipe.serve().await,
                None => std::future::pending().await,
            }
        };
        let all = async {
            tokio::select! {
                all = async { tokio::join!(feed, read_out, read_err, child.wait()) } => all,
                never = served => match never {},
            }
        };
        let Ok(((), out, err, status)) = tokio::time::timeout(self.limit, all).await else {
            return Err(may_heal(self.what, format!("git took longer than {} s", self.limit.as_secs())));
        };
        group.ended();
        let status = status.map_err(|e| io_error(&*self.what, &e))?;
        let out = out.map_err(|e| io_error(&*self.what, &e))?;
        let err = err.map_err(|e| io_error(&*self.what, &e))?;
        let lines: Vec<String> = err.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(escape).collect();
        let err: String = lines.join("; ").chars().take(2000).collect();
        Ok(Done { code: status.code().unwrap_or(-1), out, err })
    }

    /// Runs it; anything but exit code 0 is an error with git's own words.
    pub async fn bytes(self) -> Result<Vec<u8>, RepoError> {
        let what = self.what.clone();
        let done = self.done().await?;
        if done.code == 0 { Ok(done.out) } else { Err(done.error(what)) }
    }

    /// Runs it; its output as text without the final line break.
    pub async fn text(self) -> Result<String, RepoError> {
        let what = self.what.clone();
        text_of(what, self.bytes().await?)
    }
}

impl Done {
    /// git's own words as an error.
    pub fn error(&self, what: impl Into<String>) -> RepoError {
        let busy = self.err.contains(".lock") || self.err.contains("cannot lock");
        let why = if self.err.is_empty() { format!("git ended with code {}", self.code) } else { self.err.clone() };
        if busy { may_heal(what, why) } else { needs_person(what, why) }
    }
}

/// The processes of a call; killed when dropped before its end.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Output as text without its final line break.
pub(super) fn text_of(what: impl Into<String>, bytes: Vec<u8>) -> Result<String, RepoError> {
    let mut text = String::from_utf8(bytes).map_err(|_| needs_person(what, "a path is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
