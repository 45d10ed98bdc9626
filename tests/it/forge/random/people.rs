//! What people do in a random story: with git, in the browser, and by commands.

use super::play::Play;
use crate::forge_standin::Standing;

/// How many kinds of edits there are.
pub const EDITS: usize = 5;
/// How many kinds of commits on a repair branch there are.
pub const REVIEWS: usize = 3;
/// How many commands there are.
pub const COMMANDS: usize = 4;

const SPEC: &str = "connectors.d/crm.yaml";
const MAP: &str = "mappings/crm.yaml";
const OTHER: &str = "connectors.d/sales.yaml";

/// A mapping that needs nothing but the key.
const MENDED: &str = "\
kind: mapping
system: crm
entities:
  account:
    stream: public/accounts
    key: id
    fields:
      name: {expr: '\"number \" ~ id'}
";

impl Play {
    /// Brings the person's checkout to the tracked branch, without a trace of what was tried there before.
    fn sit_down(&self) {
        self.office.world.git(&["fetch", "--quiet", "--prune", "origin"]);
        self.office.world.git(&["reset", "--quiet", "--hard"]);
        self.office.world.git(&["switch", "--quiet", "main"]);
        self.office.world.git(&["reset", "--quiet", "--hard", "origin/main"]);
    }

    fn change(&self, path: &str, change: impl FnOnce(String) -> String) {
        self.office.world.write(path, &change(self.office.world.read(path)));
    }

    /// Commits what is there to commit, and pushes it.
    fn push(&mut self, subject: &str, to: &str) {
        self.office.world.git(&["add", "--all"]);
        if self.office.world.try_git(&["commit", "--quiet", "-m", subject]).0 {
            self.office.world.git(&["push", "--quiet", "origin", &format!("HEAD:{to}")]);
        }
    }

    pub fn edit(&mut self, edit: usize) {
        self.sit_down();
        let n = self.count;
        match edit {
            0 => self.change(MAP, |text| format!("{text}# note {n}\n")),
            1 => self.change(MAP, |text| match text.contains("default: other") {
                true => text.replace("default: other", "default: none"),
                false => text.replace("default: none", "default: other"),
            }),
            2 => self.change(SPEC, |text| format!("{text}# note {n}\n")),
            3 => self.change(MAP, |text| {
                let line = "      extras.number: id\n";
                match text.contains(line) {
                    true => text.replace(line, ""),
                    false => text.replace("    fields:\n", &format!("    fields:\n{line}")),
                }
            }),
            // Whoever rolled back has seen enough.
            _ => self.change(SPEC, |text| text.split_inclusive('\n').filter(|l| !l.starts_with("pin:")).collect()),
        }
        self.push(&format!("edit {n}"), "main");
    }

    /// Mends a mapping that lost what it must have: whoever merged that sees it.
    pub fn mend(&mut self) {
        self.sit_down();
        let text = self.office.world.read(MAP);
        if !text.lines().any(|line| line.trim_start().starts_with("name:")) {
            self.office.world.write(MAP, MENDED);
            self.push("mend the mapping", "main");
        }
    }

    pub fn toggle(&mut self) {
        self.sit_down();
        if self.office.world.root.join(OTHER).exists() {
            std::fs::remove_file(self.office.world.root.join(OTHER)).unwrap();
        } else {
            self.office.world.write(OTHER, &self.office.world.connection(""));
        }
        self.push("sales", "main");
    }

    /// A repair branch on the forge, if there is one.
    fn branch(&self) -> Option<String> {
        self.sit_down();
        let listed =
            self.office.world.git(&["for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin/aam"]);
        listed.lines().next().map(str::to_owned)
    }

    pub fn review(&mut self, review: usize) {
        let Some(branch) = self.branch() else { return };
        self.office.world.git(&["switch", "--quiet", "--detach", &format!("origin/{branch}")]);
        let before = self.office.world.git(&["rev-parse", "HEAD"]);
        let n = self.count;
        match review {
            0 => self.office.world.write("notes.txt", &format!("{n}\n")),
            1 => self.change(MAP, |text| format!("# reviewed {n}\n{text}")),
            _ => {
                if !self.office.world.try_git(&["merge", "--quiet", "--no-edit", "origin/main"]).0 {
                    self.office.world.git(&["merge", "--abort"]);
                    return;
                }
                self.office.world.git(&["push", "--quiet", "origin", &format!("HEAD:{branch}")]);
            }
        }
        self.push(&format!("review {n}"), &branch);
        let commit = self.office.world.git(&["rev-parse", "HEAD"]);
        if commit != before {
            self.office.tell(format!("    {commit} on {branch}"));
            self.theirs.push(commit);
        }
    }

    /// What people merge or delete themselves is not lost.
    fn let_go(&mut self, branch: &str) {
        let on = self.office.world.git(&["rev-list", &format!("origin/{branch}")]);
        self.theirs.retain(|commit| !on.contains(commit));
    }

    pub fn merge_by_git(&mut self, how: u8) {
        let Some(branch) = self.branch() else { return };
        let there = format!("origin/{branch}");
        let merged = match how {
            0 => self.office.world.try_git(&["merge", "--quiet", "--ff-only", &there]).0,
            1 => self.office.world.try_git(&["merge", "--quiet", "--no-ff", "--no-edit", &there]).0,
            2 => {
                self.office.world.try_git(&["merge", "--quiet", "--squash", &there]).0
                    && self.office.world.try_git(&["commit", "--quiet", "-m", "squashed"]).0
            }
            _ => self.office.world.try_git(&["cherry-pick", &format!("origin/main..{there}")]).0,
        };
        self.office.tell(format!("    merged {branch}: {merged}"));
        if merged {
            self.office.world.git(&["push", "--quiet", "origin", "HEAD:main"]);
            self.let_go(&branch);
        }
    }

    pub fn merge(&mut self, how: u8) {
        let Some((number, branch)) = self.office.open_requests().into_iter().next() else { return };
        self.sit_down();
        let merged = self.office.forge.edit(|state| match how {
            0 | 1 => state.merge(number, "grace", how == 1),
            _ => state.rebase(number, "grace"),
        });
        self.office.tell(format!("    merged request {number} of {branch}: {merged}"));
        if merged {
            self.let_go(&branch);
        }
    }

    pub fn close(&mut self, word: bool) {
        let Some((number, branch)) = self.office.open_requests().into_iter().next() else { return };
        self.office.tell(format!("    closed request {number} of {branch}"));
        self.declined = true;
        self.office.forge.edit(|state| {
            if word {
                state.comment(number, "grace", "not like this");
            }
            state.close(number, "grace");
        });
    }

    pub fn reopen(&mut self) {
        let opened = self.office.forge.edit(|state| {
            let closed = state.requests.iter().rfind(|request| request.state == Standing::Closed)?.number;
            state.reopen(closed).then_some(closed)
        });
        self.office.tell(format!("    opened again: {opened:?}"));
    }

    pub fn delete_branch(&mut self) {
        let Some(branch) = self.branch() else { return };
        self.let_go(&branch);
        self.office.forge.edit(|state| state.bare.delete(&branch));
    }

    pub async fn command(&mut self, command: usize) {
        let newest = "SELECT coalesce(max(v.version), 1)::text FROM sync_catalog_versions v JOIN connections c
                      ON c.id = v.connection_id WHERE c.name = 'crm'";
        let to = self.office.world.registry.one(newest).await.parse::<u32>().unwrap().saturating_sub(1).to_string();
        let args: &[&str] = match command {
            0 | 1 => &["drift", "approve", "crm"],
            2 => &["drift", "reject", "crm", "--reason", "no"],
            _ => &["rollback", "crm", "--to", &to, "--reason", "it broke a report"],
        };
        self.declined |= command >= 2;
        let ran = self.office.world.aam(args);
        self.office.tell(format!("    aam {args:?}: {ran:#?}"));
    }
}
