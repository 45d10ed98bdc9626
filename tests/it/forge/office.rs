//! A team's repository on a forge, with `aam` beside it in this process: on a clock that the test turns, and a remote that can
//! be unplugged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aam::reconcile::{Ask, Doors, Reconciler};
use aam::wiring::App;

use super::tool::git;
use crate::forge_standin::{Bare, Kind, Request, Standin, Standing, TOKEN};
use crate::support::clock::Ahead;
use crate::support::world::World;

/// A running `aam`, in process.
struct Daemon {
    app: App,
    reconciler: Reconciler,
}

/// The whole of it; what happened is told when a test fails.
pub struct Office {
    pub world: World,
    pub forge: Standin,
    clock: Ahead,
    daemon: Option<Daemon>,
    told: Vec<String>,
}

impl Drop for Office {
    #[expect(clippy::print_stderr, reason = "whoever reads a failure needs the story")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}:\n{}", self.forge.edit(|state| state.kind), self.told.join("\n"));
        }
    }
}

impl Office {
    /// `crm` is onboarded.
    pub async fn open(kind: Kind) -> Self {
        aam::wiring::install_tls();
        let world = World::with_crm("").await;
        let (bare, remote) = (world.dir().join("config.git"), world.dir().join("remote.git"));
        git(world.dir(), &["init", "-q", "--bare", "-b", "main", "config.git"]);
        let forge = Standin::start(kind, &bare).await;
        let (token, word) = (world.dir().join("token"), format!("{kind:?}").to_lowercase());
        std::fs::write(&token, TOKEN).unwrap();
        let settings = format!(
            "[forge]\nkind = \"{word}\"\nurl = \"{}\"\nproject = \"acme/config\"\ntoken = \"${{file:{}}}\"\ncheck = \"1s\"\n\
             [repository]\nremote = \"{}\"\n{}",
            forge.url,
            token.display(),
            remote.display(),
            world.read("config/aam.toml")
        );
        world.write("config/aam.toml", &settings);
        world.commit("settings");
        world.git(&["remote", "add", "origin", &bare.to_string_lossy()]);
        world.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        forge.edit(|state| state.bare = Bare::new(bare));
        let mut office = Self { world, forge, clock: Ahead::default(), daemon: None, told: Vec::new() };
        office.plug(true);
        office.turn().await;
        office
    }

    pub fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    /// Lets the remote be reached by `aam`, or not.
    pub fn plug(&self, reached: bool) {
        let remote = self.world.dir().join("remote.git");
        match reached {
            true if remote.exists() => {}
            true => std::os::unix::fs::symlink(self.world.dir().join("config.git"), remote).unwrap(),
            false => drop(std::fs::remove_file(remote)),
        }
    }

    pub fn is_plugged(&self) -> bool {
        self.world.dir().join("remote.git").exists()
    }

    async fn daemon(&mut self) -> &Daemon {
        if self.daemon.is_none() {
            let app = self.world.open().await;
            let doors = Doors { clock: Arc::new(self.clock.clone()), ..app.reconciler.doors().clone() };
            let reconciler = Reconciler::new(doors, aam::wiring::policy(&app.settings), format!("{}", self.told.len()));
            // Its doing is told step by step.
            reconciler.survey_apart();
            self.daemon = Some(Daemon { app, reconciler });
        }
        self.daemon.as_ref().unwrap()
    }

    pub async fn reconciler(&mut self) -> &Reconciler {
        &self.daemon().await.reconciler
    }

    /// Seconds pass.
    pub fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// `aam` stops; with the next thing that it does it starts again.
    pub async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.app.close().await.unwrap();
        }
    }

    async fn fetch(&mut self) {
        let fetched = self.reconciler().await.doors().repo.fetch().await;
        self.tell(format!("    fetch: {fetched:?}"));
    }

    /// Carries out what is planned; the forge is left alone.
    pub async fn settle(&mut self) {
        let settled = self.reconciler().await.settle(None, |_| {}).await;
        match settled {
            Ok((_, outcomes)) => {
                for outcome in outcomes {
                    self.tell(format!("    {}: {}: {:?}", outcome.connection, outcome.step, outcome.kind));
                }
            }
            Err(error) => self.tell(format!("    settle: {error}")),
        }
    }

    /// Looks at the forge; whether the committed state changed by that.
    pub async fn requests(&mut self) -> bool {
        self.pass(2);
        let calls = self.forge.edit(|state| state.calls.len());
        let looked = self.reconciler().await.requests().await;
        let calls: Vec<String> = self.forge.edit(|state| state.calls[calls..].to_vec());
        self.tell(format!("    requests: {:?}, {calls:?}", looked.as_ref().map_err(ToString::to_string)));
        looked.unwrap_or_default()
    }

    /// What the daemon does on each wake.
    pub async fn turn(&mut self) {
        self.fetch().await;
        self.settle().await;
        if self.requests().await {
            self.settle().await;
        }
    }

    /// Looks at the sources, whether that is due or not.
    pub async fn look(&mut self) {
        let reconciler = self.reconciler().await;
        for row in reconciler.doors().registry.connections().await.unwrap() {
            reconciler.ask(Ask::Look, &row.name);
        }
        self.turn().await;
    }

    /// The requests of `aam` that are open: number and branch.
    pub fn open_requests(&self) -> Vec<(u64, String)> {
        let is_open = |request: &&Request| request.state == Standing::Open;
        self.forge.edit(|state| state.requests.iter().filter(is_open).map(|r| (r.number, r.head.clone())).collect())
    }
}
