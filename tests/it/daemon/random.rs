//! Random sequences of what the source, the person and `aam` do: at the end lock, registry and engine agree.

use aam::model::Catalog;
use aam::plan::{ConnectionStatus, Limits};
use aam::ports::ObjectKind;
use aam::reconcile::Ask;
use aam::wiring::App;
use proptest::prelude::*;

use crate::support::world::World;

/// One move; numbers choose columns, modes and moments.
#[derive(Debug, Clone)]
enum Move {
    AddColumn(usize),
    DropColumn(usize),
    RenameColumn(usize, usize),
    RetypeColumn(usize, usize),
    Look,
    Merge(u8),
    Reject,
    Edit(usize),
    RevertLock(usize),
    DeleteLock,
    DeleteSpec,
    RestoreSpec,
    Rename,
    Notes,
    Dirty,
    Restart,
    Sync,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let column = || 0..COLUMNS.len();
    let one = prop_oneof![
        3 => column().prop_map(Move::AddColumn),
        3 => column().prop_map(Move::DropColumn),
        3 => (column(), column()).prop_map(|(a, b)| Move::RenameColumn(a, b)),
        3 => (column(), 0..TYPES.len()).prop_map(|(c, t)| Move::RetypeColumn(c, t)),
        6 => Just(Move::Look),
        4 => (0..4_u8).prop_map(Move::Merge),
        1 => Just(Move::Reject),
        2 => (0..EDITS.len()).prop_map(Move::Edit),
        2 => (0..3_usize).prop_map(Move::RevertLock),
        1 => Just(Move::DeleteLock),
        1 => Just(Move::DeleteSpec),
        1 => Just(Move::RestoreSpec),
        1 => Just(Move::Rename),
        1 => Just(Move::Notes),
        1 => Just(Move::Dirty),
        1 => Just(Move::Restart),
        1 => Just(Move::Sync),
    ];
    prop::collection::vec(one, 6..18)
}

const COLUMNS: [&str; 5] = ["name", "billing_state", "employees", "website", "fax"];
const TYPES: [&str; 4] = ["text", "integer", "bigint", "timestamptz"];

/// What a person writes at the end of the spec.
const EDITS: [&str; 5] = [
    "",
    "streams: {public/accounts: {mode: full_refresh_append}}\n",
    "streams: {public/accounts: {mode: full_refresh_overwrite}, public/contacts: {}}\n",
    "drift: {check: manual, repair: propose}\n",
    "streams: {public/accounts: {fields: {exclude: [fax]}}}\n",
];

/// A world under random moves, with `aam` in process.
struct Play {
    world: World,
    app: Option<App>,
    /// Where the spec is now, without ending.
    name: &'static str,
    /// Commits of the person, which nothing may lose.
    mine: Vec<String>,
    /// What `aam` did, for whoever reads a failure.
    told: Vec<String>,
}

impl Play {
    async fn begin() -> Self {
        let world = World::new("").await;
        world
            .source
            .run(
                "CREATE TABLE accounts (id int PRIMARY KEY, name text, billing_state text, employees int);
                 INSERT INTO accounts SELECT i, 'n' || i, 's' || i % 3, i FROM generate_series(1, 9) i;
                 CREATE TABLE contacts (id int PRIMARY KEY, email text)",
            )
            .await;
        world.write("connectors.d/warehouse.yaml", &world.destination());
        let mut play = Self { world, app: None, name: "crm", mine: Vec::new(), told: Vec::new() };
        play.write_spec(0);
        play.commit("crm");
        play.settle().await;
        play
    }

    fn spec(&self) -> String {
        format!("connectors.d/{}.yaml", self.name)
    }

    fn lock(&self) -> String {
        format!("connectors.d/{}.lock.yaml", self.name)
    }

    fn write_spec(&self, edit: usize) {
        let plain = self.world.connection("");
        let plain =
            if EDITS[edit].starts_with("drift") { plain.replace("drift:\n  check: manual\n", "") } else { plain };
        self.world.write(&self.spec(), &format!("{plain}{}", EDITS[edit]));
    }

    /// Commits the person's changes of specs, locks and notes, if there are any.
    fn commit(&mut self, subject: &str) {
        self.world.git(&["add", "--all", "connectors.d"]);
        self.world.try_git(&["add", "notes.txt"]);
        if self.world.try_git(&["commit", "--quiet", "-m", subject]).0 {
            self.mine.push(self.world.git(&["rev-parse", "HEAD"]));
        }
    }

    async fn app(&mut self) -> &App {
        if self.app.is_none() {
            self.app = Some(self.world.open().await);
        }
        self.app.as_ref().unwrap()
    }

    /// Plans and carries out until nothing but waiting is left. A person confirms what the budget refuses: the one
    /// connection that goes is all there is.
    async fn settle(&mut self) {
        let app = self.app().await;
        let limits = Limits { confirmed: aam::plan::Confirmed::All, ..app.reconciler.limits() };
        let mut told = Vec::new();
        app.reconciler.settle(Some(&limits), |outcome| told.push(format!("{outcome:?}"))).await.unwrap();
        self.told.append(&mut told);
    }

    async fn look(&mut self) {
        let app = self.app().await;
        for row in app.registry().connections().await.unwrap() {
            app.reconciler.ask(Ask::Look, &row.name);
        }
        self.settle().await;
    }

    /// Runs a statement; what the table's shape does not allow is no move.
    async fn alter(&self, sql: String) {
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER TABLE accounts {sql}")))
            .execute(&self.world.source.pool)
            .await;
    }

    fn merge(&mut self, how: u8) {
        let branches = self.world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]);
        let Some(branch) = branches.lines().next() else { return };
        let before = self.world.git(&["rev-parse", "HEAD"]);
        let worked = match how {
            0 => self.world.try_git(&["merge", "--quiet", "--ff-only", branch]).0,
            1 => self.world.try_git(&["merge", "--quiet", "--no-ff", "--no-edit", branch]).0,
            2 => {
                self.world.try_git(&["merge", "--quiet", "--squash", branch]).0
                    && self.world.try_git(&["commit", "--quiet", "-m", "squashed"]).0
            }
            _ => self.world.try_git(&["cherry-pick", branch]).0,
        };
        if !worked {
            for undo in
                [&["merge", "--abort"][..], &["cherry-pick", "--abort"], &["reset", "--quiet", "--hard", &before]]
            {
                self.world.try_git(undo);
            }
        } else if self.world.git(&["rev-parse", "HEAD"]) != before {
            self.mine.push(self.world.git(&["rev-parse", "HEAD"]));
        }
    }

    async fn carry_out(&mut self, step: &Move) {
        self.one(step).await;
        // Reverting a move brings the old name back.
        let other = if self.name == "crm" { "sales" } else { "crm" };
        if self.world.root.join(format!("connectors.d/{other}.yaml")).exists() {
            self.name = other;
        }
    }

    async fn one(&mut self, step: &Move) {
        self.told.push(format!("- {step:?}"));
        match step {
            Move::AddColumn(c) => self.alter(format!("ADD COLUMN {} text", COLUMNS[*c])).await,
            Move::DropColumn(c) => self.alter(format!("DROP COLUMN {}", COLUMNS[*c])).await,
            Move::RenameColumn(a, b) => self.alter(format!("RENAME COLUMN {} TO {}", COLUMNS[*a], COLUMNS[*b])).await,
            Move::RetypeColumn(c, t) => {
                self.alter(format!("ALTER COLUMN {} TYPE {} USING NULL", COLUMNS[*c], TYPES[*t])).await;
            }
            Move::Look => self.look().await,
            Move::Merge(how) => {
                self.merge(*how);
                self.settle().await;
            }
            Move::Reject => {
                let before = self.world.git(&["rev-parse", "main"]);
                self.close().await;
                self.world.aam(&["drift", "reject", self.name, "--reason", "no"]);
                let after = self.world.git(&["rev-list", &format!("{before}..main")]);
                self.mine.extend(after.lines().map(str::to_owned));
            }
            Move::Edit(e) => {
                if self.world.root.join(self.spec()).exists() {
                    self.write_spec(*e);
                    self.commit("edit the spec");
                    self.settle().await;
                }
            }
            Move::RevertLock(nth) => {
                let log = self.world.git(&["log", "--no-merges", "--format=%H", "--", &self.lock()]);
                if let Some(commit) = log.lines().nth(*nth) {
                    if self.world.try_git(&["revert", "--no-edit", commit]).0 {
                        self.mine.push(self.world.git(&["rev-parse", "HEAD"]));
                    } else {
                        self.world.try_git(&["revert", "--abort"]);
                    }
                    self.settle().await;
                }
            }
            Move::DeleteLock => {
                let _ = std::fs::remove_file(self.world.root.join(self.lock()));
                self.commit("no lock");
                self.settle().await;
            }
            Move::DeleteSpec => {
                let _ = std::fs::remove_file(self.world.root.join(self.spec()));
                self.commit("no spec");
                self.settle().await;
            }
            Move::RestoreSpec => {
                if !self.world.root.join(self.spec()).exists() {
                    self.write_spec(0);
                    self.commit("the spec is back");
                    self.settle().await;
                }
            }
            Move::Rename => {
                let (spec, lock) = (self.spec(), self.lock());
                let there =
                    [&spec, &lock].iter().all(|path| self.world.try_git(&["ls-files", "--error-unmatch", path]).0);
                if there {
                    self.name = if self.name == "crm" { "sales" } else { "crm" };
                    self.world.git(&["mv", "-f", &spec, &self.spec()]);
                    self.world.git(&["mv", "-f", &lock, &self.lock()]);
                    self.commit("another name");
                    self.settle().await;
                }
            }
            Move::Notes => {
                self.world.write("notes.txt", &format!("{}", self.mine.len()));
                self.commit("notes");
            }
            Move::Dirty => self.world.write("dirty.txt", &format!("{}", self.mine.len())),
            Move::Restart => self.close().await,
            Move::Sync => {
                let name = self.name.parse().unwrap();
                self.app().await.reconciler.ask(Ask::Sync, &name);
                self.settle().await;
            }
        }
    }

    async fn close(&mut self) {
        if let Some(app) = self.app.take() {
            app.close().await.unwrap();
        }
    }

    /// The end: the spec is there and valid, everything is looked at and settled.
    async fn end(mut self) {
        if !self.world.root.join(self.spec()).exists() {
            self.carry_out(&Move::RestoreSpec).await;
        }
        self.carry_out(&Move::Edit(0)).await;
        self.close().await;
        self.look().await;
        self.settle().await;
        self.check().await;
        self.close().await;
        let again = self.world.aam(&["plan"]);
        let idle = again.out.contains("Plan: 0 to create, 0 to update, 0 to remove");
        assert!(idle && !again.out.contains("failed:"), "something is pending still, or failed: {again:?}");
    }

    async fn check(&mut self) {
        let (name, lock_path, told) = (self.name.to_owned(), self.lock(), self.told.join("\n"));
        let world_lock = self.world.committed(&lock_path);
        let lock = aam::spec::lock::read(&lock_path, &format!("{world_lock}\n"))
            .unwrap_or_else(|e| panic!("the committed lock is not whole: {e:?}\n{world_lock}"));
        let app = self.app().await;
        let rows = app.registry().connections().await.unwrap();
        let row = rows.iter().find(|row| row.id == lock.id).expect("the lock's connection is in the registry");
        assert_eq!((row.name.to_string(), row.status), (name, ConnectionStatus::Active), "{:?}", row.reason);
        let others: Vec<_> = rows.iter().filter(|r| r.id != row.id && r.status != ConnectionStatus::Retired).collect();
        assert!(others.is_empty(), "left over: {others:?}");
        assert_eq!(
            (row.version, row.fingerprint.as_ref()),
            (lock.version, Some(&lock.fingerprint)),
            "lock and registry\n{told}"
        );
        let versions = app.registry().versions(row.id).await.unwrap();
        let numbers: Vec<u32> = versions.iter().map(|v| v.version).collect();
        assert_eq!(numbers, (1..=row.version).collect::<Vec<_>>(), "versions have a gap");
        assert_eq!(versions.last().unwrap().fingerprint, lock.fingerprint);
        let live =
            app.reconciler.doors().engine.connection(&row.objects[&ObjectKind::Connection]).await.unwrap().unwrap();
        assert!(live.is.enabled, "paused in the engine");
        let streams = live.is.streams.iter().map(|s| (s.name.clone(), s.schema.clone())).collect();
        assert_eq!(Catalog { streams }.body(), lock.catalog.body(), "engine and lock");
        assert_eq!(app.registry().verify_audit(&row.name.tenant).await.unwrap(), None);
        assert!(app.registry().intents(None).await.unwrap().is_empty(), "an effect is left open");
        let branches = self.world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]);
        assert!(branches.lines().count() <= 1, "one repair per connection: {branches}");
        for commit in &self.mine {
            let kept = self.world.try_git(&["merge-base", "--is-ancestor", commit, "main"]).0;
            assert!(kept, "a commit of the person is lost: {commit}");
        }
        let status = self.world.git(&["status", "--porcelain"]);
        assert!(status.is_empty() || status == "?? dirty.txt", "{status}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 8, failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn random_drifts_merges_edits_and_reverts_end_with_lock_registry_and_engine_in_agreement(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::begin().await;
            for step in &moves {
                play.carry_out(step).await;
            }
            play.end().await;
        });
    }
}
