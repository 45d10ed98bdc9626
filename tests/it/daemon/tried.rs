//! A repair that changes how records are mapped is tried on landed ones before it is offered.

use crate::support::world::World;

async fn synced() -> World {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world
}

/// That section of the drift file.
fn told(world: &World) -> String {
    let file = world.aam_is(0, &["drift", "show", "crm"]);
    let section = file.split("## ").find(|part| part.starts_with("Tried on landed records"));
    section.unwrap_or_else(|| panic!("not tried: {file}")).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_says_what_becomes_of_landed_records() {
    let world = synced().await;
    world.source.run("ALTER TABLE accounts RENAME COLUMN name TO account_name").await;
    let ran = world.aam_is(3, &["apply", "--look"]);
    insta::assert_snapshot!(ran.lines().take_while(|line| line.starts_with('~')).collect::<Vec<_>>().join("\n"), @"
    ~ crm  look at the source (applied)
    ~ crm  compare values of the fields that changed (applied)
    ~ crm  try the repair on landed records (applied)
    ~ crm  open repair 5b1c5352 on aam/drift/default/crm (applied)
    ");
    insta::assert_snapshot!(told(&world), @"
    Tried on landed records

    ```text
    public/accounts as account: 3 landed records
        before the change                    3 mapped
        since then, by the mapping as it is  0 mapped, 3 dead letters (name 3)
        since then, with this repair         3 mapped, all as before
    ```
    ");
    let branch = "aam/drift/default/crm";
    let tip = world.git(&["rev-parse", branch]);
    assert!(world.git(&["show", "--format=", branch, "--", "drift"]).contains("Tried on landed records"));

    // What was tried stays tried, until the mapping is another one.
    world.source.run("UPDATE accounts SET account_name = 'other'").await;
    world.aam_is(3, &["apply", "--look"]);
    assert_eq!(world.git(&["rev-parse", branch]), tip);
    let mapping = world.committed("mappings/crm.yaml");
    world.write("mappings/crm.yaml", &mapping.replace("name:   name\n", "name:   {from: name, default: none}\n"));
    world.commit("a default");
    let ran = world.aam_is(3, &["apply"]);
    assert!(ran.contains("try the repair on landed records (applied)"), "{ran}");
    insta::assert_snapshot!(told(&world), @"
    Tried on landed records

    ```text
    public/accounts as account: 3 landed records
        before the change                    3 mapped
        since then, by the mapping as it is  3 mapped, 0 as before; another value or none: name 3
        since then, with this repair         3 mapped, all as before
    ```
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_to_finish_is_said() {
    let world = synced().await;
    world.source.run("ALTER TABLE accounts DROP COLUMN name").await;
    world.aam_is(3, &["apply", "--look"]);
    insta::assert_snapshot!(told(&world), @"
    Tried on landed records

    ```text
    public/accounts as account: 3 landed records
        before the change                    3 mapped
        since then, by the mapping as it is  0 mapped, 3 dead letters (name 3)
        since then, with this repair         none yet: mappings/crm.yaml: required field `name` of entity account is not mapped; `aam check` shows all
    ```
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_sync_there_is_nothing_to_try_it_on() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    world.aam_is(3, &["apply", "--look"]);
    insta::assert_snapshot!(told(&world), @"
    Tried on landed records

    No records have landed to try it on.
    ");
}
