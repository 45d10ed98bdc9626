//! Dead letters go by themselves once what refused them is mended.

use crate::support::world::{MAPPING, World};

/// Two coasts and no default: the third account is refused.
fn narrow() -> String {
    MAPPING.replace(", default: other", "")
}

async fn refused() -> World {
    let world = World::with_crm("").await;
    world.write("mappings/crm.yaml", &narrow());
    world.commit("two coasts only");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world
}

const EVENTS: &str = "SELECT concat_ws(' ', position, record_key, data->>'name', data->>'region') FROM canonical_streams ORDER BY position";

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_mapping_maps_what_it_refused() {
    let world = refused().await;
    let dead = world.aam_is(0, &["events", "crm", "--dead"]);
    let (reason, mapping) = dead.trim().rsplit_once(" (mapping ").unwrap();
    assert_eq!(
        reason,
        "! account public/accounts [3]: region: text `TX` is not in the values table, which has no default"
    );
    let known = "SELECT name FROM mapping_registry WHERE digest LIKE '";
    assert_eq!(world.registry.one(&format!("{known}{}%'", mapping.trim_end_matches(')'))).await, "mappings/crm.yaml");
    assert_eq!(world.aam_is(0, &["plan"]).lines().next(), Some("= crm  in sync"));

    // Another mapping that refuses it, too, tries once.
    world.write("mappings/crm.yaml", &format!("# no other coast\n{}", narrow()));
    world.commit("a comment");
    let step = "map 1 dead letter again: its mapping has changed";
    assert!(world.aam_is(2, &["status"]).contains(&format!("~      {step}")));
    assert_eq!(world.aam_is(0, &["apply"]), format!("~ crm  {step} (applied)\n"));
    assert_eq!(world.aam_is(0, &["apply"]), "");

    world.write("mappings/crm.yaml", MAPPING);
    world.commit("the rest is other");
    assert!(world.aam_is(2, &["plan"]).starts_with(&format!("~ crm  {step}\n")));
    assert_eq!(world.aam_is(0, &["apply"]), format!("~ crm  {step} (applied)\n"));
    assert_eq!(world.registry.list(EVENTS).await, ["1 [1] Acme west", "2 [2] Bolt east", "3 [3] Cord other"]);
    assert_eq!(world.registry.one("SELECT count(*)::text FROM dead_letters").await, "0");
    assert_eq!(world.aam_is(0, &["apply"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_needs_no_word_for_it_and_an_edited_entity_counts_too() {
    let world = refused().await;
    let daemon = world.daemon().await;
    let entity = "mappings/entities/account.yaml";
    world.write(entity, &world.read(entity).replace("name: {type: string, required: true}", "name: {type: string}"));
    world.commit("an account may have no name");
    daemon.logged("connection crm: 1 dead letters mapped again: 0 events, 1 stay").await;
    world.write("mappings/crm.yaml", MAPPING);
    world.commit("the rest is other");
    world.git(&["revert", "--no-edit", "HEAD~1"]);
    daemon.logged("connection crm: 1 dead letters mapped again: 1 events, 0 stay").await;
    assert_eq!(world.registry.list(EVENTS).await.last().unwrap(), "3 [3] Cord other");
    assert_eq!(daemon.stop().await.0, 0);
}

/// A required field is renamed at the source, and the stream goes on: its rows land without the value. The repair brings the
/// name, a refresh the values, and nobody has to clear anything.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_landed_without_a_renamed_field_wait_until_they_are_read_again() {
    let world = World::with_crm("").await;
    let mode = "streams:\n  public/accounts: {mode: incremental_append_dedup, cursor: updated_at}\n";
    let spec = world.connection(&format!("  when_breaking: continue\nmapping: crm\n{mode}"));
    world.write("connectors.d/crm.yaml", &spec);
    world.commit("go on whatever happens");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    let source = "ALTER TABLE accounts RENAME COLUMN name TO account_name;
        UPDATE accounts SET account_name = 'Acme & Sons', updated_at = '2026-02-01Z' WHERE id = 1;
        INSERT INTO accounts VALUES (4, 'Dune', 'CA', 5, '2026-02-01Z')";
    world.source.run(source).await;
    world.aam_is(3, &["apply", "--look"]);
    world.aam(&["sync", "crm"]);
    let drift = world.registry.one("SELECT left(split_part(target, ':', 2), 8) FROM drift_events").await;
    let reason = format!(
        "name: is required, and the record has no value for it; `name` is gone at the source: drift {drift}. When its repair is in \
         force, `aam sync crm --refresh public/accounts` reads the record again"
    );
    let dead = world.aam_is(0, &["events", "crm", "--dead"]);
    assert!(dead.contains(&format!("account public/accounts [4]: {reason} (mapping")), "{dead}");
    // What stood there stays as it is: a row without a value is no news.
    assert_eq!(world.registry.list(EVENTS).await, ["1 [1] Acme west", "2 [2] Bolt east", "3 [3] Cord other"]);

    world.git(&["merge", "--quiet", "aam/drift/default/crm"]);
    let applied = world.aam_is(0, &["apply"]);
    assert!(applied.contains("dead letters again: their mapping has changed (applied)"), "{applied}");
    let dead = world.aam_is(0, &["events", "crm", "--dead"]);
    let reason = "`account_name` was not carried yet when the row landed: `aam sync crm --refresh public/accounts` reads it again";
    assert!(dead.contains(reason) && !dead.contains("is gone"), "{dead}");
    // A plain sync reads what is newer only.
    world.aam_is(0, &["sync", "crm"]);
    assert_ne!(world.registry.one("SELECT count(*)::text FROM dead_letters").await, "0");

    world.aam_is(0, &["sync", "crm", "--refresh", "public/accounts"]);
    assert_eq!(world.aam_is(0, &["events", "crm", "--dead"]), "");
    let mut events = world.registry.list(EVENTS).await.split_off(3);
    events.iter_mut().for_each(|event| *event = event.split_once(' ').unwrap().1.to_owned());
    events.sort();
    assert_eq!(events, ["[1] Acme & Sons west", "[4] Dune west"]);
    assert_eq!(world.aam_is(0, &["apply"]), "");
}
