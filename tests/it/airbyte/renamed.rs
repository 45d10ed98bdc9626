//! Renames where a source cannot be read beside its syncs: what came is taken in, one sync lands it, and values joined by key in
//! landing decide.

use super::tour::Tour;
use crate::support::world::World;

/// Sixty accounts, synced, each with a number of employees of its own.
async fn synced(streams: &str) -> Tour {
    let tour = Tour::new("1.8").await;
    let spec = tour.world.read("connectors.d/crm.yaml");
    tour.world.write("connectors.d/crm.yaml", &format!("{spec}{streams}"));
    tour.world.git(&["commit", "--quiet", "--allow-empty", "--all", "-m", "its streams"]);
    let accounts = "INSERT INTO accounts SELECT n, 'account ' || n, (ARRAY['CA', 'NY', 'TX'])[1 + n % 3], 1000 + 7 * n
                    FROM generate_series(4, 63) n";
    tour.world.source.run(accounts).await;
    tour.world.aam_is(0, &["apply"]);
    tour.world.aam_is(0, &["sync", "crm"]);
    assert_eq!(events(&tour.world).await, "63 events, 0 without employees, 0 letters");
    tour
}

async fn events(world: &World) -> String {
    let sql = "SELECT format('%s events, %s without employees, %s letters', count(*),
                      count(*) FILTER (WHERE data #>> '{extras,employees}' IS NULL), (SELECT count(*) FROM dead_letters))
               FROM canonical_streams";
    world.registry.one(sql).await
}

/// Renames the column that `extras.employees` reads, and looks: what came is taken in.
async fn renamed(world: &World) {
    world.source.run("ALTER TABLE accounts RENAME COLUMN employees TO headcount").await;
    let ran = world.aam(&["apply", "--look"]);
    let steps: Vec<&str> = ran.out.lines().map(|line| line.trim_start_matches("~ crm  ")).collect();
    let steps: Vec<&str> = steps.iter().map(|step| step.split(['(', '[']).next().unwrap().trim()).collect();
    insta::allow_duplicates! {
        insta::assert_snapshot!(steps.join("\n"), @"
        look at the source
        keep what landed of the fields that went, to compare it with the next sync
        try the repair on landed records
        commit repair cc84841d
        update catalog to version 2
        note drift a181d63a
        ");
    }
    assert_eq!(ran.code, 2, "{ran:?}");
    let lock = world.committed("connectors.d/crm.lock.yaml");
    assert!(lock.contains("headcount: ") && lock.contains("employees: "), "{lock}");
    assert!(world.committed("mappings/crm.yaml").contains("extras.employees: employees"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_waits_for_one_sync_and_is_repaired_by_what_landed() {
    let tour = synced("").await;
    let world = &tour.world;
    renamed(world).await;
    let waits = "waits for one sync to compare values";
    let status = world.aam_is(2, &["status"]);
    assert!(status.contains(waits) && !status.contains("held back"), "{status}");
    let told = world.aam_is(0, &["drift", "show", "crm"]);
    assert!(told.contains(waits) && told.contains("employees -> headcount"), "{told}");
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "", "nobody is asked");
    let kept = world.registry.one("SELECT streams::text FROM arrivals").await;
    assert!(kept.contains("\"h") && !kept.contains("account "), "digests and no values: {kept}");
    // As often as anybody asks meanwhile.
    world.aam_is(2, &["apply", "--look"]);
    assert_eq!(world.git(&["rev-list", "--count", "--author=aam", "HEAD"]), "2", "the lock, and one field more");

    world.source.run("UPDATE accounts SET name = 'other' WHERE id = 1").await;
    world.aam_is(0, &["sync", "crm"]);
    world.aam_is(0, &["apply"]);
    insta::assert_snapshot!(world.git(&["show", "-U0", "--format=%an: %s", "HEAD", "--", "mappings", "connectors.d"])
        .lines().filter(|line| line.starts_with(['+', '-', 'a'])).map(|line| line.split("s1:").next().unwrap())
        .collect::<Vec<_>>().join("\n"), @"
    aam: drift crm: ~ public/accounts.employees -> headcount: integer
    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    -version: 2
    -fingerprint: 
    +version: 3
    +fingerprint: 
    -      employees: integer
    --- a/mappings/crm.yaml
    +++ b/mappings/crm.yaml
    -      extras.employees: employees
    +      extras.employees: headcount
    ");
    let file = world.git(&["show", "--format=", "HEAD", "--", "drift"]);
    assert!(file.contains("of 63 keys, 63 hold the same value (100 %)"), "{file}");
    assert_eq!(events(world).await, "64 events, 0 without employees, 0 letters");
    let last = "SELECT record_key || ' ' || (data ->> 'name') FROM canonical_streams ORDER BY position DESC LIMIT 1";
    assert_eq!(world.registry.one(last).await, "[1] other");
    assert!(world.aam_is(0, &["status"]).contains("in sync"));
    assert!(!world.registry.one("SELECT streams::text FROM arrivals").await.contains("\"h"), "no digest is left");

    // A person takes it back: it is not made again.
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.aam_is(3, &["apply", "--look"]);
    assert!(world.committed("mappings/crm.yaml").contains("extras.employees: employees"));
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_table_keeps_one_row_of_each_record_the_old_values_were_kept() {
    let tour = synced("streams:\n  accounts: {mode: incremental_append_dedup, cursor: updated_at}\n").await;
    let world = &tour.world;
    renamed(world).await;
    // Nothing of the stream lands: it goes on waiting.
    world.aam_is(0, &["sync", "crm"]);
    world.aam_is(2, &["apply"]);
    world.source.run("UPDATE accounts SET updated_at = now() WHERE id <= 50").await;
    world.aam(&["sync", "crm"]);
    world.aam_is(0, &["apply"]);
    let gone = "SELECT count(*)::text FROM public.accounts WHERE id <= 50 AND employees IS NOT NULL";
    assert_eq!(world.warehouse.one(gone).await, "0", "landing has no old value of them");
    let file = world.git(&["show", "--format=", "HEAD", "--", "drift"]);
    assert!(file.contains("of 50 keys, 50 hold the same value (100 %)"), "{file}");
    assert!(world.committed("mappings/crm.yaml").contains("extras.employees: headcount"));
    // The cursor's column is not mapped: each record that it moved in gives an event.
    assert_eq!(events(world).await, "113 events, 0 without employees, 0 letters");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_takes_the_first_step_back_is_asked() {
    let tour = synced("").await;
    let world = &tour.world;
    renamed(world).await;
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.aam_is(3, &["apply", "--look"]);
    assert!(world.committed("drift/default/crm/rejected.yaml").contains("+ public/accounts.headcount: integer"));
    let status = world.aam_is(3, &["status"]);
    assert!(status.contains("awaits review") && status.contains("held back from syncs: public/accounts"), "{status}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_are_a_persons_and_rows_wait() {
    let tour = synced("").await;
    let world = &tour.world;
    renamed(world).await;
    world.source.run("UPDATE accounts SET headcount = 1 + id % 20, updated_at = now()").await;
    world.aam(&["sync", "crm"]);
    world.aam_is(3, &["apply"]);
    let told = world.aam_is(0, &["drift", "show", "crm"]);
    assert!(told.contains("- public/accounts.employees: ") && told.contains("## How to decide"), "{told}");
    let mapping = world.git(&["diff", "main", "aam/drift/default/crm", "--", "mappings"]);
    assert!(!mapping.contains("+      extras.employees"), "{mapping}");
    let status = world.aam_is(3, &["status"]);
    assert!(status.contains("held back from syncs: public/accounts"), "{status}");
    // No event says that the number is gone; rows wait until a person says what it is.
    assert_eq!(events(world).await, "63 events, 0 without employees, 63 letters");
    let letter = "SELECT DISTINCT split_part(reason, ':', 1) FROM dead_letters";
    assert_eq!(world.registry.one(letter).await, "`employees` may be `headcount` by now");
    world.git(&["merge", "--quiet", "aam/drift/default/crm"]);
    let mapping = world.read("mappings/crm.yaml");
    world.write(
        "mappings/crm.yaml",
        &mapping.replace("    fields:\n", "    fields:\n      extras.employees: headcount\n"),
    );
    world.commit("it is counted anew");
    world.aam_is(0, &["apply"]);
    assert_eq!(events(world).await, "126 events, 0 without employees, 0 letters");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_back_leaves_the_mapping_as_it_was() {
    let tour = synced("").await;
    let world = &tour.world;
    renamed(world).await;
    world.source.run("ALTER TABLE accounts RENAME COLUMN headcount TO employees").await;
    world.aam_is(3, &["apply", "--look"]);
    let diff = world.git(&["diff", "-U0", "main", "aam/drift/default/crm", "--", "connectors.d", "mappings"]);
    assert!(diff.contains("-      headcount: ") && !diff.contains("mappings"), "{diff}");
    world.source.run("UPDATE accounts SET employees = 3, updated_at = now() WHERE id = 1").await;
    world.aam(&["sync", "crm"]);
    assert_eq!(events(world).await, "64 events, 0 without employees, 0 letters");
    world.aam_is(0, &["drift", "approve", "crm"]);
    assert!(world.aam_is(0, &["status"]).contains("in sync"));
    assert_eq!(world.registry.one("SELECT count(*)::text FROM arrivals").await, "0");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_say_nothing_of_what_came_wait_too() {
    let tour = synced("").await;
    let world = &tour.world;
    world.source.run("ALTER TABLE accounts DROP COLUMN employees; ALTER TABLE accounts ADD COLUMN tier int").await;
    world.aam_is(2, &["apply", "--look"]);
    world.source.run("UPDATE accounts SET name = 'other', updated_at = now() WHERE id <= 5").await;
    world.aam(&["sync", "crm"]);
    world.aam_is(3, &["apply"]);
    assert_eq!(events(world).await, "63 events, 0 without employees, 63 letters");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_breaks_in_the_stream_is_asked_at_once() {
    let tour = synced("").await;
    let world = &tour.world;
    let other = "ALTER TABLE accounts ALTER COLUMN billing_state TYPE date USING NULL::date";
    world.source.run("ALTER TABLE accounts RENAME COLUMN employees TO headcount").await;
    world.source.run(other).await;
    world.aam_is(3, &["apply", "--look"]);
    let status = world.aam_is(3, &["status"]);
    assert!(status.contains("awaits review") && status.contains("held back from syncs: public/accounts"), "{status}");
    assert_eq!(world.registry.one("SELECT count(*)::text FROM arrivals WHERE streams::text LIKE '%\"h%'").await, "0");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lowers_the_mode_waits_for_nothing() {
    let tour = synced("").await;
    let world = &tour.world;
    renamed(world).await;
    let spec = world.read("connectors.d/crm.yaml");
    world.write("connectors.d/crm.yaml", &format!("{spec}mode: propose\n"));
    world.commit("by hand from now on");
    world.aam(&["apply"]);
    world.aam_is(3, &["apply"]);
    let status = world.aam_is(3, &["status"]);
    assert!(
        !status.contains("waits for one sync") && status.contains("held back from syncs: public/accounts"),
        "{status}"
    );
    tour.finish().await;
}
