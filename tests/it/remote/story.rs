//! The whole way through the binary: a person with a checkout, a bare repository that both push to, and `aam`.

use std::path::PathBuf;

use super::ground::{BRANCH, executable};
use crate::repo::desk::{git, try_git};
use crate::support::world::World;

/// A world whose repository has a remote that `aam` works with; the person's checkout is `root`.
pub async fn world(settings: &str) -> (World, PathBuf) {
    let mut world = World::with_crm(settings).await;
    let origin = world.dir().canonicalize().unwrap().join("origin.git");
    git(world.dir(), &["clone", "--quiet", "--bare", world.root.to_str().unwrap(), origin.to_str().unwrap()]);
    world.git(&["remote", "add", "origin", origin.to_str().unwrap()]);
    world.git(&["fetch", "--quiet", "origin"]);
    world.git(&["branch", "--quiet", "--set-upstream-to=origin/main"]);
    world.env.push(("AAM_REPOSITORY__REMOTE".to_owned(), origin.to_str().unwrap().to_owned()));
    (world, origin)
}

/// A file on the remote's `main`; `(none)` if it is not there.
pub fn at(origin: &std::path::Path, path: &str) -> String {
    let (there, text) = try_git(origin, &["show", &format!("main:{path}")]);
    if there { text } else { "(none)".to_owned() }
}

/// Whether the remote has the repair branch.
pub fn offered(origin: &std::path::Path) -> bool {
    try_git(origin, &["rev-parse", "--verify", "--quiet", BRANCH]).0
}

const LOCK: &str = "connectors.d/crm.lock.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn what_aam_commits_goes_to_the_remote_and_a_merge_there_heals() {
    let (world, origin) = world("").await;
    world.aam_is(0, &["apply"]);
    assert!(at(&origin, LOCK).contains("version: 1"));
    assert_eq!((world.committed(LOCK), world.git(&["status", "--porcelain"])), ("(none)".into(), String::new()));
    world.git(&["pull", "--quiet"]);
    // An edit at the desk is checked against what was fetched, and shown.
    let spec = world.read("connectors.d/crm.yaml");
    let edited = format!("{spec}streams: {{public/accounts: {{mode: full_refresh_append}}}}\n");
    world.write("connectors.d/crm.yaml", &edited);
    assert!(world.aam_is(0, &["plan"]).contains("crm: would update settings from its spec"));
    world.write("connectors.d/crm.yaml", &spec);
    // What only adds is committed by its rule.
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    assert!(at(&origin, LOCK).contains("website"));
    assert_eq!(world.registry.one("SELECT count(*)::text FROM sync_catalog_versions").await, "2");
    // The rest is a branch there; a person merges it there.
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    assert!(offered(&origin));
    world.git(&["pull", "--quiet"]);
    world.git(&["merge", "--quiet", "--no-edit", "--no-ff", &format!("origin/{BRANCH}")]);
    assert_eq!(world.aam(&["apply"]).code, 3, "merged here alone it is not committed");
    world.git(&["push", "--quiet"]);
    world.aam_is(0, &["apply"]);
    assert!(!offered(&origin) && !at(&origin, LOCK).contains("employees"));
    let approved = "SELECT actor FROM audit_log WHERE summary LIKE '%approved%' ORDER BY position DESC LIMIT 1";
    assert!(world.registry.one(approved).await.contains("Pat"), "{}", world.registry.one(approved).await);
    let status = world.aam_is(0, &["status"]);
    assert!(status.contains(&format!("remote {}: fetched 2", origin.display())), "{status}");
    let doctor = world.aam(&["doctor"]).out;
    assert!(doctor.contains(&format!("pass     remote: {}, fetched 2", origin.display())), "{doctor}");
    assert!(doctor.contains("pass     push: the remote would take a repair branch"), "{doctor}");
    // From the command line: on the remote's newest state, and pushed.
    world.source.run("ALTER TABLE accounts DROP COLUMN website").await;
    world.aam_is(3, &["apply", "--look"]);
    world.write("notes.txt", "meanwhile\n");
    world.commit("meanwhile");
    world.git(&["push", "--quiet"]);
    world.aam_is(0, &["drift", "approve", "crm"]);
    assert!(!offered(&origin) && !at(&origin, LOCK).contains("website") && at(&origin, "notes.txt") == "meanwhile");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_remote_refuses_is_offered_as_a_branch() {
    let (world, origin) = world("").await;
    world.aam_is(0, &["apply"]);
    executable(&origin.join("hooks/pre-receive"), "grep -q refs/heads/main || exit 0; echo protected >&2; exit 1");
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let applied = world.aam(&["apply", "--look"]);
    assert_eq!(applied.code, 3, "{applied:?}");
    assert!(applied.out.contains("the remote refuses it (pre-receive hook declined): protected"), "{applied:?}");
    assert!(offered(&origin) && !at(&origin, LOCK).contains("website"));
    // A person who may merges it.
    std::fs::remove_file(origin.join("hooks/pre-receive")).unwrap();
    world.git(&["pull", "--quiet"]);
    world.git(&["merge", "--quiet", "--ff-only", &format!("origin/{BRANCH}")]);
    world.git(&["push", "--quiet"]);
    world.aam_is(0, &["apply"]);
    assert!(!offered(&origin) && at(&origin, LOCK).contains("website"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_is_down_keeps_nothing_from_going_on_but_what_is_pushed() {
    let (world, origin) = world("").await;
    world.aam_is(0, &["apply"]);
    let away = origin.with_extension("away");
    std::fs::rename(&origin, &away).unwrap();
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    let applied = world.aam(&["apply", "--look"]);
    assert_eq!(applied.code, 4, "{applied:?}");
    assert!(applied.talk.contains("cannot be looked at since") && !applied.out.contains("failed"), "{applied:?}");
    // Rows land all the same.
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM canonical_streams").await, "3");
    let status = world.aam_is(4, &["status"]);
    assert!(status.contains("stays in force, `aam run` tries again at 2"), "{status}");
    assert!(status.contains("! crm  ACTIVE   version 1"), "{status}");
    let doctor = world.aam(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("fail     push: "), "{doctor:?}");
    std::fs::rename(&away, &origin).unwrap();
    world.aam_is(0, &["apply"]);
    assert!(at(&origin, LOCK).contains("website"));
    world.aam_is(0, &["status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_remote_is_refused_before_anything_starts() {
    let mut world = World::new("").await;
    let mark = world.dir().join("ran");
    let touch = format!("touch {}", mark.display());
    for remote in [
        format!("--upload-pack={touch}"),
        format!("ext::sh -c {touch}"),
        format!("ssh://-oProxyCommand={}/x", touch.replace(' ', "${IFS}")),
        "ssh://git@host/--upload-pack=x".to_owned(),
        "http://git.example.com/x.git".to_owned(),
        "https://pat:s3cret@git.example.com/x.git".to_owned(),
    ] {
        world.env = vec![("AAM_REPOSITORY__REMOTE".to_owned(), remote.clone())];
        let ran = world.aam(&["status"]);
        assert!(
            ran.code == 1 && ran.talk.contains("AAM-C002") && ran.talk.contains("`repository.remote`: "),
            "{ran:?}"
        );
    }
    for (key, value) in [("BRANCH", format!("--upload-pack={touch}")), ("ROOT", "../elsewhere".to_owned())] {
        let remote = ("AAM_REPOSITORY__REMOTE".to_owned(), "/srv/x.git".to_owned());
        world.env = vec![remote, (format!("AAM_REPOSITORY__{key}"), value)];
        let ran = world.aam(&["status"]);
        assert!(ran.code == 1 && ran.talk.contains(&format!("`repository.{}`: ", key.to_lowercase())), "{ran:?}");
    }
    assert!(!mark.exists());
}
