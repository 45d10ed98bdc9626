//! Going back to an earlier version: what it commits, what it refuses, what a pin holds, and what becomes of data.

use crate::support::world::{MAPPING, World};

const SPEC: &str = "connectors.d/crm.yaml";
const MAP: &str = "mappings/crm.yaml";

/// A world at version 2: a column came, and the mapping takes it.
async fn at_two(more: &str) -> World {
    let world = World::with_crm("").await;
    let spec = world.read(SPEC);
    world.write(SPEC, &format!("{spec}{more}"));
    world.git(&["add", "--all"]);
    world.git(&["commit", "--quiet", "--allow-empty", "-m", "choices"]);
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    world.aam_is(0, &["apply", "--look"]);
    world.write(MAP, &MAPPING.replace("employees: employees", "employees: employees\n      extras.website: website"));
    world.commit("the site is of use");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world
}

fn head(world: &World) -> String {
    world.git(&["rev-parse", "main"])
}

async fn versions(world: &World) -> String {
    world.registry.list("SELECT version::text FROM sync_catalog_versions ORDER BY version").await.join(" ")
}

const BACK: &[&str] = &["rollback", "crm", "--to", "1", "--reason", "the site broke a report", "--until", "2099-12-31"];

fn and<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_commit_brings_schema_and_mapping_back_and_a_pin_keeps_them() {
    let world = at_two("").await;
    let before = head(&world);
    let shown = world.aam_is(0, &and(BACK, &["--dry-run"]));
    let shown: Vec<&str> = shown.lines().map(|line| line.split(" was at ").next().unwrap()).collect();
    let shown = shown.join("\n");
    insta::assert_snapshot!(shown, @"
    ~ crm  version 1 again, as version 3 (436c90fc), pinned until 2099-12-31
          - public/accounts.website: string
        public/accounts  is read whole, as by every sync (full_refresh_overwrite, key id); 6 rows landed so far
            column website goes from landing with its values by the next sync
        mappings/crm.yaml becomes what it
    ");
    assert_eq!((head(&world), versions(&world).await.as_str()), (before.clone(), "1 2"), "a dry run writes nothing");

    world.aam_is(0, BACK);
    assert_eq!(world.git(&["rev-list", "--count", &format!("{before}..main")]), "1");
    let message = world.git(&["log", "-1", "--format=%B"]);
    assert!(
        message
            .starts_with("rollback crm: version 1 again\n\nthe site broke a report\n\npublic/accounts is read whole"),
        "{message}"
    );
    assert!(
        message.ends_with(
            "Aam-Cause: rollback to version 1 by Pat <pat@example.org>\nAam-Approved-By: Pat <pat@example.org>"
        ),
        "{message}"
    );
    assert_eq!(world.read(MAP), MAPPING, "the mapping of that moment, byte by byte");
    let lock = world.read("connectors.d/crm.lock.yaml");
    assert!(lock.contains("version: 3\n") && !lock.contains("website"), "{lock}");
    assert!(
        world.read(SPEC).ends_with(
            "pin: {by: 'Pat <pat@example.org>', reason: the site broke a report, until: 2099-12-31, version: 1}\n"
        ),
        "{}",
        world.read(SPEC)
    );
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(versions(&world).await, "1 2 3");
    assert_eq!(
        world.registry.one("SELECT approved_by FROM sync_catalog_versions WHERE version = 3").await,
        crate::support::world::PERSON
    );

    // what came is still looked for and shown, and neither committed nor asked
    let back = head(&world);
    world.aam_is(0, &["apply", "--look"]);
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!((head(&world), world.git(&["branch", "--list", "aam/*"]).as_str()), (back.clone(), ""));
    let status = world.aam_is(0, &["status"]);
    assert!(
        status.contains("PINNED at version 1 until 2099-12-31 by Pat <pat@example.org>: the site broke a report"),
        "{status}"
    );
    assert!(status.contains("drift") && status.contains("is not asked"), "{status}");
    assert!(world.aam_is(0, &["drift", "list"]).contains("public/accounts.website"));
    world.aam_is(0, &["sync", "crm"]);
    assert!(!world.warehouse.has("SELECT website FROM public.accounts").await, "the column went with the sync");

    // when it is over it is as ever
    world.write(SPEC, &world.read(SPEC).replace("2099-12-31", "2020-12-31"));
    world.commit("the pin has an end");
    let check = world.aam(&["check"]);
    assert!(check.code == 0 && check.out.contains("warning[AAM-S033]: the pin at version 1 ended"), "{check:?}");
    world.aam_is(0, &["apply"]);
    assert_eq!(versions(&world).await, "1 2 3 4");
    assert!(!world.git(&["ls-files"]).contains("rejected.yaml"), "a rollback is no rejection");
    let status = world.aam_is(0, &["status"]);
    assert!(!status.contains("PINNED") && status.contains("AAM-S033"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_no_longer_has_is_refused_by_name() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam_is(0, &["drift", "approve", "crm"]);
    let before = head(&world);
    let ran = world.aam(BACK);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("! crm  stream public/accounts: the source has no employees any more: canonical field account.extras.employees reads employees"), "{ran:?}");
    assert!(ran.talk.contains("connection crm is not rolled back; nothing was changed"), "{ran:?}");
    assert_eq!((head(&world), versions(&world).await.as_str()), (before, "1 2"));

    for (args, why) in [
        (vec!["rollback", "crm", "--to", "2", "--reason", "x"], "the schema of version 2 is in force already"),
        (
            vec!["rollback", "crm", "--to", "9", "--reason", "x"],
            "there is no version 9: `aam history crm` lists 1 to 2",
        ),
        (vec!["rollback", "crm", "--to", "1", "--reason", "x", "--until", "2020-01-01"], "is over already"),
        (vec!["rollback", "crm", "--to", "1", "--reason", "x", "--until", "soon"], "neither a day"),
        (vec!["rollback", "crm", "--to", "1", "--reason", " "], "--reason is empty"),
    ] {
        let ran = world.aam(&args);
        assert!(ran.code == 1 && ran.talk.contains(why), "{args:?}: {ran:?}");
    }
    // it came back
    world.source.run("ALTER TABLE accounts ADD COLUMN employees int").await;
    world.aam_is(0, &["apply", "--look"]);
    assert_eq!(versions(&world).await, "1 2 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn landed_rows_go_only_where_their_stream_is_named() {
    let choice = |key: &str| {
        format!(
            "streams:\n  # by whom\n  accounts: {{mode: incremental_append_dedup, cursor: updated_at, key: [{key}]}}\n"
        )
    };
    let world = at_two(&choice("id")).await;
    world.write(SPEC, &world.read(SPEC).replace("key: [id]", "key: [name]"));
    world.commit("another key");
    world.aam_is(0, &["apply"]);
    let (before, rows) = (head(&world), "SELECT count(*)::text FROM public.accounts");
    let ran = world.aam(BACK);
    assert_eq!(ran.code, 1, "{ran:?}");
    let why = "stream public/accounts: its key becomes id and was name, by which the rows that landed are told apart; \
               to have what landed of it deleted, add `--i-accept-clear public/accounts`";
    assert!(ran.out.contains(why), "{ran:?}");
    assert_eq!((head(&world), world.warehouse.one(rows).await.as_str()), (before, "3"));

    let wrong = world.aam(&and(BACK, &["--i-accept-clear", "public/others"]));
    assert!(wrong.code == 1 && wrong.talk.contains("leave out `--i-accept-clear public/others`"), "{wrong:?}");

    world.aam_is(0, &and(BACK, &["--i-accept-clear", "public/accounts"]));
    assert!(world.read(SPEC).contains(&choice("id")), "comments and all: {}", world.read(SPEC));
    assert!(!world.warehouse.has("SELECT 1 FROM public.accounts").await, "cleared");
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.warehouse.one(rows).await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_commit_may_be_made_a_branch_is_offered_and_gone_once_it_is_merged() {
    let world = at_two("").await;
    let before = head(&world);
    // a person is at work on the spec
    world.write(SPEC, &format!("{}# not yet\n", world.read(SPEC)));
    let ran = world.aam(BACK);
    assert!(ran.code == 0 && ran.talk.contains("merge aam/drift/rollback-of/default/crm"), "{ran:?}");
    assert_eq!(head(&world), before);
    world.git(&["checkout", "--quiet", SPEC]);
    world.aam_is(0, &["apply", "--look"]);
    let branch = "aam/drift/rollback-of/default/crm";
    assert_eq!(world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]), branch);
    world.aam_is(0, &and(BACK, &["--branch"]));
    world.git(&["merge", "--quiet", "--no-ff", "-m", "back", branch]);
    world.aam_is(0, &["apply"]);
    assert_eq!((versions(&world).await.as_str(), world.git(&["branch", "--list", "aam/*"]).as_str()), ("1 2 3", ""));
    assert!(world.aam_is(0, &["status"]).contains("PINNED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_connection_keeps_an_open_repair_from_being_asked() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts ADD COLUMN site text NOT NULL DEFAULT ''").await;
    world.aam_is(3, &["apply", "--look"]);
    let branches = || world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]);
    assert_eq!(branches(), "aam/drift/default/crm");
    let spec = world.read(SPEC);
    world.write(SPEC, &format!("{spec}pin: {{version: 1, until: 2099-12-31, reason: audit, by: Kim}}\n"));
    world.commit("nothing moves during the audit");
    world.aam_is(0, &["apply"]);
    assert_eq!(branches(), "");
    assert!(world.aam_is(0, &["status"]).contains("PINNED at version 1 until 2099-12-31 by Kim: audit"));
    // what breaks is still kept out
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(0, &["apply", "--look"]);
    assert!(world.aam_is(0, &["status"]).contains("held back from syncs: public/accounts"));
    world.write(SPEC, &spec);
    world.commit("the audit is over");
    world.aam_is(3, &["apply"]);
    assert_eq!(branches(), "aam/drift/default/crm");

    world.write(SPEC, &format!("{spec}pin: {{version: none, until: soon, reason: audit, by: Kim}}\n"));
    let check = world.aam(&["check"]);
    assert!(check.code == 1 && check.out.matches("error[AAM-S032]").count() == 2, "{check:?}");
}
