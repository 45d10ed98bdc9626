//! A person's world and its forge.

use aam::forge::Kind;

use super::tool::{BRANCH, played};
use crate::forge_standin::{Standin, TOKEN};
use crate::support::world::World;

/// A world whose repository is on a forge, with `crm` onboarded.
pub struct Team {
    pub world: World,
    pub forge: Standin,
}

impl Team {
    /// One whose branches the test pushes.
    pub async fn new(kind: Kind) -> Self {
        let team = Self::start(kind, "check = \"1s\"\n").await;
        team.world.aam_is(0, &["apply"]);
        team.world.git(&["push", "--quiet", "origin", "main"]);
        team
    }

    /// One where `aam` works with the forge's repository as its remote and pushes itself, with these settings, too.
    pub async fn remote(kind: Kind, settings: &str) -> Self {
        let mut team = Self::start(kind, &format!("check = \"1s\"\n{settings}")).await;
        team.world.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        team.plug();
        let remote = team.world.dir().join("remote.git").to_string_lossy().into_owned();
        team.world.env.push(("AAM_REPOSITORY__REMOTE".to_owned(), remote));
        team.world.aam_is(0, &["apply"]);
        team
    }

    /// Lets the remote be reached.
    pub fn plug(&self) {
        let dir = self.world.dir();
        std::os::unix::fs::symlink(dir.join("config.git"), dir.join("remote.git")).unwrap();
    }

    /// One with these settings, with `crm` declared.
    pub async fn start(kind: Kind, more: &str) -> Self {
        let bare = tempfile::tempdir().unwrap().keep();
        aam::wiring::install_tls();
        super::tool::git(&bare, &["init", "-q", "--bare", "-b", "main"]);
        let forge = Standin::start(played(kind), &bare).await;
        let word = format!("{kind:?}").to_lowercase();
        let settings = format!(
            "[forge]\nkind = \"{word}\"\nurl = \"{}\"\nproject = \"acme/config\"\ntoken = \"${{file:.aam/token}}\"\n{more}",
            forge.url,
        );
        let world = World::with_crm(&settings).await;
        std::fs::rename(&bare, world.dir().join("config.git")).unwrap();
        world.write(".aam/token", TOKEN);
        let bare = world.dir().join("config.git");
        forge.edit(|state| state.bare = crate::forge_standin::Bare::new(bare.clone()));
        world.git(&["remote", "add", "origin", &bare.to_string_lossy()]);
        Self { world, forge }
    }

    /// Looks at the source, pushes the repair branch if there is one, and lets `aam` go on.
    pub async fn drift(&self, sql: &str, code: i32) {
        self.world.source.run(sql).await;
        self.world.aam_is(code, &["apply", "--look"]);
        if self.world.try_git(&["rev-parse", "--verify", BRANCH]).0 {
            self.world.git(&["push", "--quiet", "--force", "origin", BRANCH]);
        }
        self.world.aam_is(code, &["apply"]);
    }

    /// What the registry knows of requests: number, state, who.
    pub async fn known(&self) -> String {
        self.world
            .registry
            .one("SELECT format('%s %s %s', number, state, coalesce(closed_by, '-')) FROM requests ORDER BY number")
            .await
    }

    /// How many requests there are.
    pub fn requests(&self) -> usize {
        self.forge.edit(|state| state.requests.len())
    }
}

impl Team {
    /// How many calls so far were no reads.
    pub fn writes(&self) -> usize {
        self.forge.edit(|state| state.calls.iter().filter(|call| !call.starts_with("GET")).count())
    }
}
