//! Renames where a source cannot be read beside its syncs: what came is taken in, one sync lands it, and values joined by key in
//! landing decide.

use super::faults::block_on;
use super::tour::Tour;
use crate::support::world::World;

/// Sixty accounts, synced, each with a number of employees of its own.
async fn synced(streams: &str) -> Tour {
    synced_from(streams, "").await
}

/// The same, of a table to which this was done before.
async fn synced_from(streams: &str, before: &str) -> Tour {
    let tour = Tour::new("1.8").await;
    tour.world.source.run(before).await;
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

/// Whether old values wait for a comparison.
async fn keeps_digests(world: &World) -> bool {
    world
        .registry
        .has("SELECT 1 FROM arrivals, jsonb_each(streams::jsonb) s WHERE s.value ->> 'kept' IS NOT NULL")
        .await
}

/// What a person, or the vendor, does to the column that `extras.employees` reads.
const RENAME: &str = "ALTER TABLE accounts RENAME COLUMN employees TO headcount";

/// Renames the column that `extras.employees` reads, and looks: what came is taken in.
async fn renamed(world: &World) {
    world.source.run(RENAME).await;
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
    assert!(!keeps_digests(world).await, "no digest is left");

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
    assert!(!keeps_digests(world).await, "nobody waits any more");
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
    world.source.run(RENAME).await;
    world.source.run(other).await;
    world.aam_is(3, &["apply", "--look"]);
    let status = world.aam_is(3, &["status"]);
    assert!(status.contains("awaits review") && status.contains("held back from syncs: public/accounts"), "{status}");
    assert!(!keeps_digests(world).await);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_began_before_the_engine_knew_of_what_came_answers_nothing() {
    let mut tour = synced("").await;
    tour.world.source.run(RENAME).await;
    tour.world.env.push(("AAM_FAILPOINT".into(), "update_connection.k1".into()));
    let ran = tour.world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, -1, "{ran:?}");
    tour.world.env.pop();
    let world = &tour.world;
    assert!(world.committed("connectors.d/crm.lock.yaml").contains("headcount: "), "taken in, and not told to Airbyte");
    // by the schedule there, with the catalog as it was: its rows have neither field
    tour.standin.start_job(tour.standin.edit(|s| s.connections[0].id));
    for _ in 0..2 {
        world.aam_is(2, &["apply"]);
    }
    assert!(world.aam_is(2, &["status"]).contains("waits for one sync to compare values"));
    assert!(keeps_digests(world).await);
    world.aam_is(0, &["sync", "crm"]);
    world.aam_is(0, &["apply"]);
    let file = world.git(&["show", "--format=", "HEAD", "--", "drift"]);
    assert!(file.contains("of 63 keys, 63 hold the same value (100 %)"), "{file}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_edit_takes_away_leaves_nothing_to_compare_by() {
    let keyed = "streams:\n  accounts: {mode: full_refresh_append, key: [id]}\n";
    let tour = synced_from(keyed, "ALTER TABLE accounts DROP CONSTRAINT accounts_pkey").await;
    let world = &tour.world;
    world.source.run(RENAME).await;
    world.aam_is(2, &["apply", "--look"]);
    assert!(keeps_digests(world).await);
    let spec = world.read("connectors.d/crm.yaml").replace(", key: [id]", "");
    world.write("connectors.d/crm.yaml", &spec);
    world.commit("nothing tells its rows apart");
    world.aam(&["sync", "crm"]);
    world.aam_is(3, &["apply"]);
    let status = world.aam_is(3, &["status"]);
    assert!(status.contains("awaits review") && status.contains("held back from syncs: public/accounts"), "{status}");
    assert!(!keeps_digests(world).await, "nobody can compare them any more");
    tour.finish().await;
}

/// A rename in two steps, killed at this point of each effect; `None` kills nowhere. The end.
async fn told(place: Option<u8>) -> String {
    let mut tour = synced("").await;
    tour.world.source.run(RENAME).await;
    let mut said = Vec::new();
    let mut kill = |world: &mut World, effects: &[&str], command: &[&str]| {
        for effect in effects.iter().filter(|_| place.is_some()) {
            // what is written to the registry alone has no places between asked and answered
            let place = place.map(|place| if effect == &"set_agreed" && matches!(place, 2 | 3) { 1 } else { place });
            let point = format!("{effect}.k{}", place.unwrap_or_default());
            world.env.push(("AAM_FAILPOINT".into(), point.clone()));
            let ran = world.aam(command);
            assert_eq!(ran.code, -1, "{point} was not passed: {ran:?}");
            said.push((point, ran.out));
            world.env.pop();
        }
    };
    // what git does has no place between asked and answered, but those of its parts
    let commit = if matches!(place, Some(2 | 3)) { "move_ref" } else { "commit_repair" };
    // kept; taken in; told to Airbyte; agreed; counted from there
    let first = ["set_arrivals", commit, "update_connection", "set_agreed", "set_arrivals"];
    kill(&mut tour.world, &first, &["apply", "--look"]);
    tour.world.aam_is(2, &["apply", "--look"]);
    assert!(tour.world.aam_is(2, &["status"]).contains("waits for one sync to compare values"));
    tour.standin.start_job(tour.standin.edit(|s| s.connections[0].id));
    // compared; repaired; told to Airbyte; agreed
    kill(&mut tour.world, &["set_arrivals", commit, "update_connection", "set_agreed"], &["apply"]);
    let world = &tour.world;
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 0, "{ran:#?} after {said:#?}");
    world.aam_is(0, &["apply", "--look"]);
    let rows = "SELECT concat_ws('|', status, version, fingerprint, (SELECT count(*) FROM intents),
                (SELECT string_agg(concat_ws(' ', d.status, d.base, d.target), ', ' ORDER BY d.opened_at) FROM drift_events d),
                (SELECT count(*) FROM job_history)) FROM connections";
    let end = [
        events(world).await,
        world.registry.one(rows).await,
        format!("digests {}", keeps_digests(world).await),
        tour.holds(),
        world.git(&["log", "--format=%an: %s"]),
        world.committed("connectors.d/crm.lock.yaml").lines().filter(|line| !line.starts_with("id:")).collect(),
        world.committed("mappings/crm.yaml"),
    ];
    tour.finish().await;
    end.join("\n")
}

#[test]
fn a_crash_at_any_point_of_both_steps_changes_no_end() {
    let all = std::env::var_os("AAM_CRASH").is_some_and(|which| which == "all");
    let places = if all { vec![1, 2, 3, 4, 5] } else { vec![3] };
    std::thread::scope(|scope| {
        let run = |place| scope.spawn(move || block_on(told(place)));
        let (undisturbed, runs) =
            (run(None), places.into_iter().map(|place| (place, run(Some(place)))).collect::<Vec<_>>());
        let undisturbed = undisturbed.join().unwrap();
        for (place, end) in runs {
            assert_eq!(end.join().unwrap(), undisturbed, "k{place}");
        }
    });
}
