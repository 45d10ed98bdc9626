//! A remote that is looked at, fetched from and pushed to by its address. No remote is configured in the clone, so that no
//! settings file says where anything goes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::GitRepo;
use super::command::{Call, Done};
use super::network::Access;
use crate::ports::RepoError;
use crate::repo::names::escape;
use crate::repo::{REPAIR_PREFIX, check_repair_branch, lock_file, may_heal, needs_person};

/// A look at the remote that takes longer is given up (1 min).
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// A fetch that takes longer is given up (30 min): a large history over a slow line. One that stands still ends by itself.
pub(super) const FETCH_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A fetch of one commit that takes longer is given up (2 min): what a person did on a branch.
const COMMIT_LIMIT: Duration = Duration::from_secs(120);

/// A push that takes longer is given up (2 min): one commit, and what hooks of the remote take.
const PUSH_LIMIT: Duration = Duration::from_secs(120);

/// The remote of a repository.
pub struct Remote {
    pub(super) access: Access,
    /// How often it is looked at by itself.
    pub(super) interval: Duration,
    /// One look or fetch at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Remote {
    /// Nothing is sent yet.
    pub fn new(access: Access, interval: Duration) -> Self {
        Self { access, interval, turn: tokio::sync::Mutex::default() }
    }
}

/// What a remote shows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The branch that its `HEAD` points to.
    pub default_branch: Option<String>,
    /// Tips by full name: of the branch that was asked for, and of repair branches.
    pub tips: BTreeMap<String, String>,
}

/// What became of a push.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The remote has it.
    Done,
    /// The branch is not where it was there; nothing moved.
    Raced,
    /// The remote does not allow it, in words; nothing moved.
    Refused(String),
}

/// Looks at a remote, from a clone or, before there is one, from the state folder.
pub(super) async fn look(call: Call, remote: &Remote, branch: Option<&str>) -> Result<Seen, RepoError> {
    let what = looking(remote);
    let wanted = branch.map(|branch| format!("refs/heads/{branch}"));
    let done = call
        .limit(LOOK_LIMIT)
        .args([
            "ls-remote",
            "--symref",
            "--",
            remote.access.url.as_str(),
            "HEAD",
            &format!("refs/heads/{REPAIR_PREFIX}*"),
        ])
        .args(&wanted)
        .done()
        .await?;
    if done.code != 0 {
        return Err(unreachable(what, &done));
    }
    let mut seen = Seen::default();
    for line in String::from_utf8_lossy(&done.out).lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(branch) = value.strip_prefix("ref: refs/heads/").filter(|_| name == "HEAD") {
            seen.default_branch = Some(branch.to_owned());
        }
        // A pattern also finds names that end like it.
        let repair = name.strip_prefix("refs/heads/").is_some_and(|short| check_repair_branch(short).is_ok());
        if repair || wanted.as_deref() == Some(name) || name == "HEAD" && value.bytes().all(|b| b.is_ascii_hexdigit()) {
            seen.tips.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(seen)
}

/// What is being done, for errors.
pub(super) fn looking(remote: &Remote) -> String {
    format!("looking at the remote {}", remote.access.url)
}

fn fetching(remote: &Remote) -> String {
    format!("fetching from {}", remote.access.url)
}

impl GitRepo {
    /// A call on the clone that may reach the remote.
    pub(super) fn reach(&self, remote: &Remote, what: impl Into<String>) -> Result<Call, RepoError> {
        remote.access.open(Call::objects(&self.common, what), &self.state_dir)
    }

    /// Fetches branches, by short name.
    pub(super) async fn fetch_branches(&self, remote: &Remote, branches: &[String]) -> Result<(), RepoError> {
        let refspecs = branches.iter().map(|b| format!("+refs/heads/{b}:{}", self.head_ref(b))).collect();
        let done = self.fetch_what(remote, refspecs, FETCH_LIMIT).await?;
        if done.code == 0 { Ok(()) } else { Err(unreachable(fetching(remote), &done)) }
    }

    /// Brings a commit here that the remote has, by its id and without a ref; false: it has no such commit.
    pub(super) async fn fetch_commit(&self, commit: &str) -> Result<bool, RepoError> {
        let Some(remote) = &self.remote else { return Ok(false) };
        let _turn = remote.turn.lock().await;
        let _alone = lock_file(&self.state_dir.join("remote.lock")).await?;
        let done = self.fetch_what(remote, vec![commit.to_owned()], COMMIT_LIMIT).await?;
        let unknown = ["not our ref", "unadvertised object", "couldn't find remote ref"];
        match done.code {
            0 => Ok(true),
            _ if unknown.iter().any(|words| done.err.contains(words)) => Ok(false),
            _ => Err(unreachable(fetching(remote), &done)),
        }
    }

    async fn fetch_what(&self, remote: &Remote, refspecs: Vec<String>, limit: Duration) -> Result<Done, RepoError> {
        self.reach(remote, fetching(remote))?
            .limit(limit)
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"])
            // One that is shallow itself has no more to give.
            .args(["--no-recurse-submodules", "--update-shallow", "--", remote.access.url.as_str()])
            .args(refspecs)
            .done()
            .await
    }

    /// Moves a branch of the remote from `old` (`None`: it is not there) to `new` (`None`: it goes), and nothing if it is
    /// elsewhere by now: with a lease it is compared even where a push would be a fast-forward, because somebody took a
    /// commit back. What is pushed to the tracked branch always follows from `old`, so nothing is ever overwritten there.
    pub(super) async fn push(
        &self,
        remote: &Remote,
        branch: &str,
        old: Option<&str>,
        new: Option<&str>,
    ) -> Result<Pushed, RepoError> {
        let lease = format!("--force-with-lease=refs/heads/{branch}:{}", old.unwrap_or_default());
        self.push_with(remote, branch, new, &[&lease]).await
    }

    /// Whether a push of the tracked branch's tip to a repair branch would be allowed, as far as a remote says without one.
    pub(super) async fn try_push(&self, remote: &Remote) -> Result<Pushed, RepoError> {
        let tip = self.tip(&self.tracked_ref()).await?;
        self.push_with(remote, &format!("{REPAIR_PREFIX}doctor"), tip.as_deref(), &["--dry-run"]).await
    }

    async fn push_with(
        &self,
        remote: &Remote,
        branch: &str,
        new: Option<&str>,
        options: &[&str],
    ) -> Result<Pushed, RepoError> {
        let what = format!("pushing {branch} to {}", remote.access.url);
        let done = self
            .reach(remote, &*what)?
            .limit(PUSH_LIMIT)
            .args(["push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed"])
            .args(["--recurse-submodules=no"])
            .args(options)
            .args(["--", remote.access.url.as_str(), &format!("{}:refs/heads/{branch}", new.unwrap_or_default())])
            .done()
            .await?;
        judge(what, &done)
    }
}

/// What git said of a push.
fn judge(what: String, done: &Done) -> Result<Pushed, RepoError> {
    let out = String::from_utf8_lossy(&done.out);
    if let Some(line) = out.lines().find(|line| line.starts_with("!\t")) {
        let summary = line.rsplit('\t').next().unwrap_or_default();
        let reason = summary.split_once('(').map_or(summary, |(_, rest)| rest.trim_end_matches(')'));
        // Two who push at once find the branch locked or elsewhere; only a decision of the remote is one.
        let raced = ["failed to update ref", "cannot lock ref", "incorrect old value", "reference already exists"];
        if summary.starts_with("[rejected]") || raced.iter().any(|words| reason.contains(words)) {
            return Ok(Pushed::Raced);
        }
        if summary.starts_with("[remote rejected]") {
            let said: Vec<&str> =
                done.err.split("; ").filter_map(|l| l.strip_prefix("remote: ")).map(str::trim).collect();
            let said: String = said.join(" ").trim().chars().take(500).collect();
            let said = if said.is_empty() { said } else { format!(": {said}") };
            return Ok(Pushed::Refused(format!("the remote refuses it ({}){said}", escape(reason.as_bytes()))));
        }
    } else if done.code == 0 {
        return Ok(Pushed::Done);
    }
    let denies = ["error: 403", "denied to", "not allowed", "read only", "read-only", "service not enabled"];
    if let Some(said) = done.err.split("; ").find(|line| denies.iter().any(|words| line.contains(words))) {
        return Ok(Pushed::Refused(format!("the remote allows no push: {said}")));
    }
    Err(unreachable(what, done))
}

/// Why a remote cannot be reached, with what to do about it where git's words are known.
fn unreachable(what: String, done: &Done) -> RepoError {
    let known = [
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            "the host shows another key than the one that is known: somebody may be in between. If the host was set up anew, correct known_hosts",
        ),
        (
            "Host key verification failed",
            "the host's key is not known: put it into the file that [repository] known_hosts names (`ssh-keyscan HOST` prints it; compare it with what its owner says)",
        ),
        ("Permission denied (", "the host does not accept the key: see [repository] ssh_key"),
        ("Authentication failed", "it does not accept [repository] username and password"),
        ("could not read Username", "it wants a name and a password: set [repository] username and password"),
        ("error: 403", "it does not let us read (403): see the rights of [repository] username"),
        ("returned error: 30", "it moved to another address: write that one"),
    ];
    for (words, why) in known {
        if done.err.contains(words) {
            return needs_person(what, why);
        }
    }
    let boilerplate = ["Please make sure you have the correct access rights", "and the repository exists."];
    let lines: Vec<&str> = done.err.split("; ").filter(|l| !boilerplate.iter().any(|b| l.starts_with(b))).collect();
    match lines.join("; ") {
        said if said.is_empty() => may_heal(what, format!("git ended with code {}", done.code)),
        said => may_heal(what, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_of_a_push_is_one_of_four_things() {
        let cases = [
            (0, "To x\n*\tabc:refs/heads/y\t[new branch]\nDone\n", ""),
            (1, "!\tabc:refs/heads/y\t[rejected] (stale info)\n", "error: failed to push some refs"),
            (1, "!\tabc:refs/heads/y\t[rejected] (fetch first)\n", ""),
            (
                1,
                "!\tabc:refs/heads/y\t[remote rejected] (cannot lock ref 'refs/heads/y': is at 1 but expected 2)\n",
                "",
            ),
            (
                1,
                "!\tabc:refs/heads/y\t[remote rejected] (pre-receive hook declined)\n",
                "remote: error: GH006: Protected branch; remote: ask Pat; To x",
            ),
            (128, "", "fatal: unable to access 'https://h/': The requested URL returned error: 403"),
            (128, "", "ERROR: The key you are authenticating with has been marked as read only."),
            (128, "", "git@h: Permission denied (publickey).; fatal: Could not read from remote repository."),
            (
                128,
                "",
                "ssh: connect to host h port 22: Connection refused; Please make sure you have the correct access rights",
            ),
            (1, "!\tabc:refs/heads/y\t[remote failure] (remote failed to report status)\n", ""),
        ];
        let shown = cases.map(|(code, out, err)| {
            let done = Done { code, out: out.as_bytes().to_vec(), err: err.to_owned() };
            match judge("pushing y".into(), &done) {
                Ok(pushed) => format!("{pushed:?}"),
                Err(error) => format!("{:?}: {error}", error.remedy),
            }
        });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        Done
        Raced
        Raced
        Raced
        Refused("the remote refuses it (pre-receive hook declined): error: GH006: Protected branch ask Pat")
        Refused("the remote allows no push: fatal: unable to access 'https://h/': The requested URL returned error: 403")
        Refused("the remote allows no push: ERROR: The key you are authenticating with has been marked as read only.")
        Person: pushing y: the host does not accept the key: see [repository] ssh_key
        Retry: pushing y: ssh: connect to host h port 22: Connection refused
        Retry: pushing y: git ended with code 1
        "#);
    }
}
