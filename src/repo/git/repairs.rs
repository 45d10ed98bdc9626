//! Repair branches: made, updated in place, told apart from a person's, merged and removed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::GitRepo;
use super::checkout::Move;
use super::command::Call;
use super::objects::{Edited, message};
use super::own::{tenant_of, tenant_of_branch};
use super::remote::Pushed;
use crate::model::CommitId;
use crate::ports::{APPROVED_BY, CommitDraft, CommitOutcome, RepairBranch, RepoError, applied, written};
use crate::repo::names::escape;
use crate::repo::{REPAIR_PREFIX, check_repair_branch, lock_state, may_heal, needs_person};

/// Fields of a branch: its name, its tip, and whether a work tree has it checked out.
const BRANCH_FORMAT: &str = "--format=%(refname) %(objectname) %(if)%(worktreepath)%(then)used%(else)free%(end)";

/// So many commits are looked through for the content of a branch, and so many of its files.
const RECENT: usize = 20;

/// How a branch stands to the tracked branch.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    merged: bool,
    /// Commits that the tracked branch lacks.
    beyond: Vec<String>,
}

impl GitRepo {
    async fn standing(&self, tracked: &str, branch: &str) -> Result<Standing, RepoError> {
        let key = (tracked.to_owned(), branch.to_owned());
        let known = self.cache().standing.get(&key).cloned();
        if let Some(standing) = known {
            return Ok(standing);
        }
        let beyond: Vec<String> = Call::objects(&self.common, "listing commits of a repair branch")
            .args(["rev-list", branch, "--not", tracked, "--"])
            .text()
            .await?
            .lines()
            .map(str::to_owned)
            .collect();
        let merged = beyond.is_empty() || self.came_in(tracked, branch).await?;
        let standing = Standing { merged, beyond };
        let mut cache = self.cache();
        // A few branches at one tip each; what is older is of no use.
        cache.standing.retain(|(at, _), _| at == tracked);
        cache.standing.insert(key, standing.clone());
        Ok(standing)
    }

    /// Whether merging the branch would change nothing, or would have changed nothing after one of the commits that touched its
    /// files since it began: what came in may have changed since.
    async fn came_in(&self, tracked: &str, branch: &str) -> Result<bool, RepoError> {
        if self.is_squashed(tracked, branch).await? {
            return Ok(true);
        }
        let what = "looking for what a repair branch brought";
        let fork = Call::objects(&self.common, what).args(["merge-base", tracked, branch]).done().await?;
        if fork.code != 0 {
            return Ok(false);
        }
        let paths = self.changed_paths(&super::command::text_of(what, fork.out)?, branch).await?;
        let since = Call::objects(&self.common, what)
            .args(["rev-list", "--first-parent", &format!("--max-count={RECENT}"), tracked, "--not", branch, "--"])
            // What brought the branch touched each of them.
            .args(paths.iter().take(RECENT).map(|path| OsStr::from_bytes(path)))
            .text()
            .await?;
        for commit in since.lines() {
            if self.is_squashed(commit, branch).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether merging the branch would change nothing: its content came in by a squash, a cherry-pick or by hand.
    async fn is_squashed(&self, tracked: &str, branch: &str) -> Result<bool, RepoError> {
        let what = "comparing a repair branch";
        let merged = Call::objects(&self.common, what)
            .args(["merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", tracked, branch])
            .done()
            .await?;
        // Conflicts, or a history that has nothing to do with ours: not merged.
        if merged.code != 0 {
            return Ok(false);
        }
        let tree = self.tree_of(tracked).await?;
        Ok(merged.out.split(|b| *b == 0).next().is_some_and(|t| t == tree.as_bytes()))
    }

    async fn tree_of(&self, commit: &str) -> Result<String, RepoError> {
        Call::objects(&self.common, "reading a commit")
            .args(["rev-parse", "--verify", &format!("{commit}^{{tree}}")])
            .text()
            .await
    }

    async fn is_edited(&self, standing: &Standing) -> Result<bool, RepoError> {
        let beyond: BTreeSet<String> = standing.beyond.iter().cloned().collect();
        Ok(self.own_among(beyond.clone()).await? != beyond)
    }

    pub(super) async fn list_branches(&self) -> Result<Vec<RepairBranch>, RepoError> {
        let tracked = self.tip(&self.tracked_ref()).await?;
        let refs = Call::objects(&self.common, "listing repair branches")
            .args(["for-each-ref", BRANCH_FORMAT, &self.head_ref(REPAIR_PREFIX)])
            .text()
            .await?;
        let mut found = Vec::new();
        for line in refs.lines() {
            let [name, tip, used] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            let Some(name) = name.strip_prefix(&self.head_ref("")).map(str::to_owned) else { continue };
            let standing = match &tracked {
                Some(tracked) => self.standing(tracked, tip).await?,
                None => Standing { merged: false, beyond: vec![tip.to_owned()] },
            };
            let stays = used == "used" || self.cache().kept.contains(&(name.clone(), tip.to_owned()));
            let tip = CommitId(tip.to_owned());
            found.push((RepairBranch { name, tip, merged: standing.merged, edited: false, stays }, standing.beyond));
        }
        // one question, however many branches there are
        let own = self.own_among(found.iter().flat_map(|(_, beyond)| beyond).cloned().collect()).await?;
        let told = |(branch, beyond): (RepairBranch, Vec<String>)| RepairBranch {
            edited: !beyond.iter().all(|commit| own.contains(commit)),
            ..branch
        };
        Ok(found.into_iter().map(told).collect())
    }

    /// `None`: somebody else moved the branch at the same time.
    pub(super) async fn propose_branch(
        &self,
        branch: &str,
        draft: &CommitDraft,
    ) -> Result<Option<RepairBranch>, RepoError> {
        check_repair_branch(branch)?;
        let what = || format!("proposing {branch}");
        let _lock = lock_state(&self.state_dir).await?;
        if let Some(why) = self.recover().await? {
            return Err(may_heal(what(), why));
        }
        let base = self.tip(&self.tracked_ref()).await?;
        let base = base.ok_or_else(|| needs_person(what(), "the tracked branch has no commit yet"))?;
        let tree = match self.edit_tree(Some(&base), &draft.edits).await? {
            Edited::Tree(tree) => tree,
            Edited::Already => return Err(may_heal(what(), "the tracked branch holds these edits already")),
            Edited::Odd(why) => return Err(needs_person(what(), why)),
            Edited::Differs(path) => {
                let path = escape(path.as_str().as_bytes());
                return Err(may_heal(what(), format!("{path} has changed since the repair was drafted")));
            }
        };
        let name = self.head_ref(branch);
        let tip = self.tip(&name).await?;
        let as_it_is = |tip: &str, standing: &Standing, edited| RepairBranch {
            name: branch.to_owned(),
            tip: CommitId(tip.to_owned()),
            merged: standing.merged,
            edited,
            stays: false,
        };
        if let Some(tip) = &tip {
            let standing = self.standing(&base, tip).await?;
            // Merged, a person's commits live on in the tracked branch.
            if self.is_edited(&standing).await?
                && !standing.merged
                && !self.is_what_we_write(tip, &standing, draft).await?
            {
                return Ok(Some(as_it_is(tip, &standing, true)));
            }
            if self.raw_commit(tip).await? == (tree.clone(), vec![base.clone()], message(draft)) {
                return Ok(Some(as_it_is(tip, &standing, false)));
            }
        }
        let made = (tenant_of(&draft.edits), message(draft));
        match (self.commit_to(&name, tip.as_deref(), &tree, &[&base], made).await?, tip) {
            (Move::Done(commit), _) => {
                Ok(Some(as_it_is(&commit, &Standing { merged: false, beyond: Vec::new() }, false)))
            }
            (Move::Refused(why), Some(_)) if self.remote.is_some() => Err(needs_person(what(), why)),
            // A person has it checked out and works there: it stays as it is until they are done.
            (Move::Refused(_), Some(tip)) => Ok(Some(as_it_is(&tip, &self.standing(&base, &tip).await?, false))),
            (Move::Refused(why), None) => Err(needs_person(what(), why)),
            (Move::Raced, _) => Ok(None),
        }
    }

    /// Whether a branch that is not known as ours is one commit with exactly these edits: then it is ours, and the registry
    /// was lost.
    async fn is_what_we_write(&self, tip: &str, standing: &Standing, draft: &CommitDraft) -> Result<bool, RepoError> {
        let (_, parents, _) = self.raw_commit(tip).await?;
        let ([only], [parent]) = (&standing.beyond[..], &parents[..]) else { return Ok(false) };
        if only != tip || !matches!(self.edit_tree(Some(tip), &draft.edits).await?, Edited::Already) {
            return Ok(false);
        }
        let changed: BTreeSet<Vec<u8>> = self.changed_paths(parent, tip).await?.into_iter().collect();
        let ours: BTreeSet<Vec<u8>> = draft.edits.iter().map(|e| self.path_from_top(&e.path).into_bytes()).collect();
        let same = changed.is_subset(&ours);
        if same {
            self.note_own(&tenant_of(&draft.edits), tip).await?;
        }
        Ok(same)
    }

    /// Tree, parents and message of a commit.
    async fn raw_commit(&self, commit: &str) -> Result<(String, Vec<String>, String), RepoError> {
        let what = "reading a commit";
        let raw = Call::objects(&self.common, what).args(["cat-file", "commit", commit]).bytes().await?;
        let raw = String::from_utf8_lossy(&raw).into_owned();
        let (head, message) = raw.split_once("\n\n").unwrap_or((&raw, ""));
        let values = |key: &str| -> Vec<String> {
            head.lines().filter_map(|l| l.strip_prefix(key)).map(str::to_owned).collect()
        };
        Ok((values("tree ").concat(), values("parent "), message.to_owned()))
    }

    pub(super) async fn withdraw_branch(&self, branch: &str) -> Result<(), RepoError> {
        check_repair_branch(branch)?;
        let what = || format!("withdrawing {branch}");
        let _lock = lock_state(&self.state_dir).await?;
        let name = self.head_ref(branch);
        let Some(tip) = self.tip(&name).await? else { return Ok(()) };
        if let Some(tracked) = self.tip(&self.tracked_ref()).await? {
            let standing = self.standing(&tracked, &tip).await?;
            // Merged, a person's commits live on in the tracked branch, also where a squash gave them another id.
            if self.is_edited(&standing).await? && !standing.merged {
                return Err(needs_person(what(), "it holds commits of a person and is left alone"));
            }
        }
        match self.checkouts(&name).await? {
            Ok(checkouts) if checkouts.is_empty() => {}
            Ok(_) => return Err(needs_person(what(), "it is checked out in a work tree")),
            Err(why) => return Err(needs_person(what(), why)),
        }
        if let Some(remote) = &self.remote {
            return match self.push_and_fetch(remote, &name, Some(&tip), None).await? {
                Pushed::Done => Ok(()),
                Pushed::Raced => Err(may_heal(what(), "somebody else moved it at the same time")),
                Pushed::Refused(why) => {
                    self.cache().kept.insert((branch.to_owned(), tip));
                    Err(needs_person(what(), why))
                }
            };
        }
        let delete = Call::objects(&self.common, what()).args(["update-ref", "-d", &name, &tip]);
        let deleted = written("delete_ref", applied("delete_ref", delete.done())).await?;
        match self.tip(&name).await? {
            None => Ok(()),
            Some(_) => Err(may_heal(what(), format!("git does not remove it: {}", deleted.err))),
        }
    }

    pub(super) async fn approve_branch(&self, branch: &str, approver: &str) -> Result<CommitOutcome, RepoError> {
        check_repair_branch(branch)?;
        let _lock = lock_state(&self.state_dir).await?;
        if let Some(why) = self.recover().await? {
            return Ok(CommitOutcome::Refused(why));
        }
        let tracked = self.tracked_ref();
        let Some(base) = self.tip(&tracked).await? else {
            return Ok(CommitOutcome::Refused("the tracked branch has no commit yet".to_owned()));
        };
        let Some(tip) = self.tip(&self.head_ref(branch)).await? else {
            return Ok(CommitOutcome::Refused(format!("there is no branch {branch}")));
        };
        if self.is_ancestor(&tip, &base).await? {
            return Ok(CommitOutcome::Committed(CommitId(base)));
        }
        let merged = Call::objects(&self.common, format!("merging {branch}"))
            .args(["merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", &base, &tip])
            .done()
            .await?;
        let parts: Vec<&[u8]> = merged.out.split(|b| *b == 0).filter(|p| !p.is_empty()).collect();
        let (0 | 1, Some((tree, conflicts))) = (merged.code, parts.split_first()) else {
            return Ok(CommitOutcome::Refused(format!("git does not merge {branch}: {}", merged.err)));
        };
        if merged.code == 1 {
            let paths: BTreeSet<String> = conflicts.iter().map(|p| escape(p)).collect();
            let paths = paths.into_iter().collect::<Vec<_>>().join(", ");
            return Ok(CommitOutcome::Refused(format!("{branch} conflicts with {} in {paths}", self.branch)));
        }
        let message = message(&CommitDraft {
            subject: format!("Merge branch '{branch}'"),
            body: String::new(),
            trailers: vec![(APPROVED_BY.to_owned(), approver.to_owned())],
            edits: Vec::new(),
        });
        let tree = String::from_utf8_lossy(tree);
        let made = (tenant_of_branch(branch), message);
        Ok(match self.commit_to(&tracked, Some(&base), &tree, &[&base, &tip], made).await? {
            Move::Done(commit) => CommitOutcome::Committed(CommitId(commit)),
            Move::Raced => CommitOutcome::Moved,
            Move::Refused(why) => CommitOutcome::Refused(why),
        })
    }

    pub(super) async fn message_of_branch(&self, branch: &str) -> Result<String, RepoError> {
        check_repair_branch(branch)?;
        let (Some(tip), Some(tracked)) =
            (self.tip(&self.head_ref(branch)).await?, self.tip(&self.tracked_ref()).await?)
        else {
            return Ok(String::new());
        };
        let Some(first) = self.standing(&tracked, &tip).await?.beyond.pop() else { return Ok(String::new()) };
        Ok(self.raw_commit(&first).await?.2)
    }

    pub(super) async fn diff_branch(&self, branch: &str) -> Result<String, RepoError> {
        check_repair_branch(branch)?;
        let what = format!("comparing {branch}");
        let tip = self.tip(&self.head_ref(branch)).await?;
        let tip = tip.ok_or_else(|| needs_person(&*what, "there is no such branch"))?;
        let base = match self.tip(&self.tracked_ref()).await? {
            Some(tracked) => {
                let done = Call::objects(&self.common, &*what).args(["merge-base", &tracked, &tip]).done().await?;
                if done.code == 0 { super::command::text_of(&*what, done.out)? } else { tracked }
            }
            None => self.empty_tree.clone(),
        };
        let call = Call::objects(&self.common, what)
            .args(["diff-tree", "-p", "-r", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames"])
            .args(["--src-prefix=a/", "--dst-prefix=b/"]);
        let call = if self.prefix.is_empty() { call } else { call.arg(format!("--relative={}", self.prefix)) };
        let out = call.args([&base, &tip]).bytes().await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}
