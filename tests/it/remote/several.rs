//! Several daemons, each with a state folder of its own, on one remote and one registry.

use std::path::PathBuf;

use super::ground::BRANCH;
use super::story::{at, world};
use crate::repo::desk::{git, try_git};
use crate::support::world::{Daemon, World, until};

/// Daemons `a`, `b` and `c`, as far as they were started.
struct Several {
    world: World,
    origin: PathBuf,
}

impl Several {
    /// What a daemon of that name finds in its environment.
    fn env(&self, name: &str) -> (String, String) {
        let state = self.world.dir().canonicalize().unwrap().join(format!("state-{name}"));
        ("AAM_STATE__DIRECTORY".to_owned(), state.to_str().unwrap().to_owned())
    }

    /// The same key of fingerprints for all.
    fn share_key(&self) {
        for name in ["a", "b", "c"] {
            let state = PathBuf::from(self.env(name).1);
            std::fs::create_dir_all(&state).unwrap();
            std::fs::write(state.join("fingerprint.key"), format!("{}\n", "5".repeat(64))).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(state.join("fingerprint.key"), private).unwrap();
        }
    }

    /// Does something as the one of that name, with more in its environment.
    fn like<T>(&mut self, name: &str, more: &[(&str, &str)], act: impl FnOnce(&World) -> T) -> T {
        let before = self.world.env.clone();
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.world.env.extend([self.env(name)].into_iter().chain(more));
        let acted = act(&self.world);
        self.world.env = before;
        acted
    }

    async fn daemon(&mut self, name: &str, more: &[(&str, &str)]) -> Daemon {
        let daemon = self.like(name, more, World::start_daemon);
        until("the daemon runs", 60, async || daemon.log().contains("aam is running").then_some(())).await;
        daemon
    }

    /// Looks at the sources as each of them, once the others let go of what they work on.
    fn all_look(&mut self, code: i32) {
        for name in ["a", "b", "c"] {
            self.like(name, &[], |world| {
                for _ in 0..20 {
                    let ran = world.aam(&["apply", "--look"]);
                    if ran.code == code {
                        return;
                    }
                    assert!(ran.out.contains("another process works on this connection"), "{ran:#?}");
                }
                panic!("the others never let go");
            });
        }
    }

    /// Where the clone of the one of that name has the tracked branch.
    fn head(&self, name: &str) -> String {
        let clone = PathBuf::from(self.env(name).1).join("repository.git");
        try_git(&clone, &["rev-parse", "refs/remotes/origin/main"]).1
    }

    /// Waits for a query's only value.
    async fn is(&self, what: &str, sql: &str, wanted: &str) {
        let holds = format!("SELECT FROM (SELECT ({sql})) AS told (value) WHERE value = '{wanted}'");
        until(what, 60, async || self.world.registry.has(&holds).await.then_some(())).await;
    }

    /// All that was made for good: one line for each kind.
    async fn made(&self) -> String {
        let rows = "SELECT concat_ws(' ', 'declared', (SELECT count(*) FROM connections),
            'versions', (SELECT count(*) FROM sync_catalog_versions), 'drifts', (SELECT count(*) FROM drift_events),
            'objects', (SELECT count(*) FROM aam_engine.objects), 'jobs', (SELECT count(*) FROM aam_engine.jobs),
            'noted commits', (SELECT count(*) FROM audit_log WHERE action = 'repo.committed'),
            'ended syncs', (SELECT count(*) FROM audit_log WHERE action = 'sync.ended'),
            'events', (SELECT count(*) FROM canonical_streams), 'intents', (SELECT count(*) FROM intents))";
        let commits = git(&self.origin, &["rev-list", "--count", "main"]);
        let branches = git(&self.origin, &["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/aam"]);
        format!("{}\ncommits {commits}\n{branches}", self.world.registry.one(rows).await)
    }
}

/// `crm`, that syncs each hour and so once while a test runs; nothing is onboarded.
async fn several(more: &[(&str, &str)]) -> Several {
    let (mut world, origin) = world("").await;
    let spec = world.read("connectors.d/crm.yaml").replace("schedule: manual", "schedule: {every: 1h}");
    world.write("connectors.d/crm.yaml", &spec);
    world.commit("by schedule");
    world.git(&["push", "--quiet"]);
    world.env.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let several = Several { world, origin };
    several.share_key();
    several
}

const SETTLED: &str = "SELECT format('%s %s %s', count(*), count(*) FILTER (WHERE status = 'ACTIVE'),
    (SELECT count(*) FROM job_history WHERE state = 'succeeded')) FROM connections";

#[tokio::test(flavor = "multi_thread")]
async fn three_daemons_share_the_work_and_do_nothing_twice() {
    let mut several = several(&[("AAM_REPOSITORY__FETCH", "1d"), ("AAM_DAEMON__LEASE_TTL", "5s")]).await;
    let spec = several.world.read("connectors.d/crm.yaml");
    for n in 1..6 {
        several
            .world
            .source
            .run(&format!("CREATE TABLE t{n} (id int PRIMARY KEY, name text); INSERT INTO t{n} VALUES (1, 'x')"))
            .await;
        let spec = spec.replace("mapping: crm\n", &format!("streams: {{public/t{n}: {{}}}}\n"));
        several.world.write(&format!("connectors.d/c{n}.yaml"), &spec);
    }
    several.world.write("connectors.d/crm.yaml", &format!("{spec}streams: {{public/accounts: {{}}}}\n"));
    several.world.commit("five more");
    several.world.git(&["push", "--quiet"]);
    let (a, b) = (several.daemon("a", &[]).await, several.daemon("b", &[]).await);
    let c = several.daemon("c", &[]).await;
    several.is("all are at work", SETTLED, "6 6 6").await;
    several.is("nothing is left open", "SELECT count(*)::text FROM intents", "0").await;
    let jobs =
        "SELECT format('%s %s %s', count(*), max(attempts), string_agg(DISTINCT state, ',')) FROM aam_engine.jobs";
    assert_eq!(several.world.registry.one(jobs).await, "6 1 succeeded");
    let made = several.made().await;
    assert!(
        made.starts_with("declared 6 versions 6 drifts 0 objects 13 jobs 6 noted commits 6 ended syncs 6 events 3 "),
        "{made}"
    );
    assert_eq!(git(&several.origin, &["log", "--format=%an", "main"]).lines().filter(|by| *by == "aam").count(), 6);

    // What only adds is committed once, and in force once: who has not fetched it does not go back.
    several.world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    several.all_look(0);
    let versions = "SELECT string_agg(v.version::text, ' ' ORDER BY v.version) FROM sync_catalog_versions v
                    JOIN connections c ON c.id = v.connection_id WHERE name = 'crm'";
    assert_eq!(several.world.registry.one(versions).await, "1 2");
    // The rest is one branch, which nobody writes again and nobody takes for a person's.
    several.world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    several.like("b", &[], |world| world.aam_is(3, &["apply", "--look"]));
    let tip = git(&several.origin, &["rev-parse", BRANCH]);
    several.all_look(3);
    assert_eq!(git(&several.origin, &["rev-parse", BRANCH]), tip);
    several.world.git(&["pull", "--quiet"]);
    several.world.git(&["merge", "--quiet", "--no-edit", "--no-ff", &format!("origin/{BRANCH}")]);
    several.world.git(&["push", "--quiet"]);
    // One of them hears of it; the others see that it acted.
    a.signal("HUP");
    several.is("the merge is in force", versions, "1 2 3").await;
    let gone = async || (!try_git(&several.origin, &["rev-parse", "--verify", "--quiet", BRANCH]).0).then_some(());
    until("the branch goes", 60, gone).await;
    let main = git(&several.origin, &["rev-parse", "main"]);
    for name in ["a", "b", "c"] {
        until("all have it", 60, async || (several.head(name) == main).then_some(())).await;
    }
    let settings = "SELECT count(*)::text FROM audit_log WHERE action = 'connection.applied'";
    let before = several.world.registry.one(settings).await;
    several.all_look(0);
    assert_eq!(several.world.registry.one(versions).await, "1 2 3", "nobody went back");
    assert_eq!(several.world.registry.one(settings).await, before, "nobody took a secret for another");
    for daemon in [a, b, c] {
        assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
        assert_eq!(daemon.stop().await.0, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_goes_on_with_the_sync_of_one_that_was_killed() {
    let mut several = several(&[("AAM_DAEMON__LEASE_TTL", "2s")]).await;
    let spec = several.world.read("connectors.d/crm.yaml").replace("{every: 1h}", "manual");
    several.world.write("connectors.d/crm.yaml", &spec);
    several.world.commit("by hand");
    several.world.git(&["push", "--quiet"]);
    let mut a = several.daemon("a", &[("AAM_FAILPOINT", "land_batch.k4")]).await;
    several.is("it is onboarded", "SELECT format('%s', string_agg(status, ',')) FROM connections", "ACTIVE").await;
    let _b = several.daemon("b", &[]).await;
    let mut asking = several.like("a", &[], |world| world.start(&["sync", "crm"]));
    until("the daemon is killed", 60, async || a.ended()).await;
    // How long others wait, at most, is what the killed one said last; the default is such that 15 s are enough.
    let left = "SELECT concat_ws(' ', (SELECT bool_and(alive_until < clock_timestamp() + interval '2 s') FROM aam_engine.jobs),
                (SELECT bool_and(expires_at < clock_timestamp() + interval '2 s') FROM leases WHERE holder IS NOT NULL AND expires_at < now() + interval '30 s'))";
    assert!(several.world.registry.one(left).await.starts_with('t'));
    asking.wait().unwrap();
    several.is("the other ends it", SETTLED, "1 1 1").await;
    several.is("nothing is left open", "SELECT count(*)::text FROM intents", "0").await;
    let jobs = "SELECT format('%s %s %s %s', count(*), max(attempts), max(state), max(rows)) FROM aam_engine.jobs";
    assert_eq!(several.world.registry.one(jobs).await, "1 2 succeeded 3");
    assert_eq!(
        several.world.warehouse.one("SELECT format('%s %s', count(*), count(DISTINCT id)) FROM accounts").await,
        "3 3"
    );
    assert_eq!(several.world.registry.one("SELECT count(*)::text FROM canonical_streams").await, "3");
}

/// A daemon that is stopped at this point until another has done everything, and then goes on, does nothing more, and says
/// what was refused.
async fn stopped_at(point: &str, drift: bool, refused: &str) {
    let mut several = several(&[("AAM_DAEMON__LEASE_TTL", "1s"), ("AAM_REPOSITORY__FETCH", "500ms")]).await;
    let stop = [("AAM_FAILPOINT", point), ("AAM_FAILPOINT_STOP", "1")];
    let slept = several.like("a", &stop, World::start_daemon);
    let mut asking = None;
    if drift {
        several.is("it is at work", SETTLED, "1 1 1").await;
        several.world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
        asking = Some(several.like("a", &[], |world| world.start(&["apply", "--look"])));
    }
    until("it is stopped", 60, async || slept.is_stopped().then_some(())).await;
    let other = several.daemon("b", &[]).await;
    several.is("the other does everything", SETTLED, "1 1 1").await;
    if drift {
        several.is("it is offered", "SELECT count(*)::text FROM drift_events WHERE branch IS NOT NULL", "1").await;
    }
    several.is("nothing is left open", "SELECT count(*)::text FROM intents", "0").await;
    let made = several.made().await;
    assert!(at(&several.origin, "connectors.d/crm.lock.yaml").contains("version: 1"), "{made}");
    slept.signal("CONT");
    slept.logged(refused).await;
    assert_eq!(other.stop().await.0, 0);
    // It works on.
    several.like("a", &[], |world| world.aam_is(if drift { 3 } else { 0 }, &["apply", "--look"]));
    asking.into_iter().for_each(|mut asking| drop(asking.wait()));
    assert_eq!(several.made().await, made, "{point}");
    let jobs = "SELECT string_agg(DISTINCT state, ',') FROM aam_engine.jobs";
    assert_eq!(several.world.registry.one(jobs).await, "succeeded", "{point}");
    assert_eq!(slept.stop().await.0, 0);
}

/// A lease that is another's.
const LOST: &str = "went to another holder";

/// A job that is another's.
const TAKEN: &str = "it ended, or another process goes on with it";

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_before_its_push_pushes_nothing() {
    stopped_at("commit_lock.k1", false, LOST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_in_a_sync_lands_nothing_and_ends_no_job_of_others() {
    stopped_at("land_batch.k1", false, TAKEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_before_it_offers_a_repair_offers_none() {
    stopped_at("propose.k1", true, LOST).await;
}

/// Every point at which an effect is about to leave the process, or has.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_slept_anywhere_does_nothing_twice() {
    if std::env::var_os("AAM_CRASH").is_none_or(|which| which != "all") {
        return;
    }
    let asked = ["create_source.k1", "create_connection.k1", "create_connection.k4", "start_sync.k1", "start_sync.k4"];
    for point in asked.into_iter().chain(["write_commit.k4", "push.k2", "push.k3"]) {
        stopped_at(point, false, LOST).await;
    }
    for point in ["land_batch.k2", "finish_table.k1", "end_job.k1"] {
        stopped_at(point, false, TAKEN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_knows_secrets_by_another_key_waits_and_says_so() {
    let mut several = several(&[]).await;
    std::fs::remove_dir_all(several.env("b").1).unwrap();
    let a = several.daemon("a", &[]).await;
    several.is("it is at work", SETTLED, "1 1 1").await;
    let settings = "SELECT count(*)::text FROM audit_log WHERE action = 'connection.applied'";
    let before = several.world.registry.one(settings).await;
    let b = several.daemon("b", &[]).await;
    b.logged("copy `fingerprint.key` from the other's state folder").await;
    assert_eq!(b.stop().await.0, 0);
    assert_eq!(several.world.registry.one(settings).await, before);
    assert_eq!(a.stop().await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_remote_is_down_goes_on_with_what_is_here_and_back_to_nothing() {
    let mut several = several(&[]).await;
    several.like("a", &[], |world| world.aam_is(0, &["apply"]));
    let noted = "SELECT commit_id FROM tracked_branches";
    let (before, head) = (git(&several.origin, &["rev-parse", "main^"]), several.head("a"));
    assert_eq!(several.world.registry.one(noted).await, head);
    let away = several.origin.with_extension("away");

    // Killed between its fetch and its word of it: nobody has anything newer.
    several.world.registry.run(&format!("UPDATE tracked_branches SET commit_id = '{before}'")).await;
    std::fs::rename(&several.origin, &away).unwrap();
    several.like("a", &[], |world| world.aam_is(4, &["apply", "--look"]));
    assert_eq!(several.world.registry.one(noted).await, head);

    // Another one acted on a newer state, and is gone.
    std::fs::rename(&away, &several.origin).unwrap();
    several.world.git(&["pull", "--quiet"]);
    let spec = several.world.read("connectors.d/crm.yaml");
    several.world.write("connectors.d/crm.yaml", &spec.replace("{every: 1h}", "{every: 2h}"));
    several.world.commit("newer");
    several.world.git(&["push", "--quiet"]);
    several.like("b", &[], |world| world.aam_is(0, &["apply"]));
    std::fs::rename(&several.origin, &away).unwrap();
    let digests = "SELECT string_agg(concat_ws(' ', name, status, applied_digest), ',' ORDER BY name) FROM connections";
    let applied = several.world.registry.one(digests).await;
    let ran = several.like("a", &[], |world| world.aam(&["apply", "--look"]));
    assert!(format!("{ran:?}").contains("which cannot be fetched"), "{ran:?}");
    assert_eq!(several.world.registry.one(digests).await, applied, "{ran:?}");
}
