//! A rename that values prove is repaired without a person; whatever they leave open is a person's.

use crate::support::world::{PERSON, World};

/// Sixty accounts, synced, each with a number of employees of its own.
async fn synced() -> World {
    let world = World::with_crm("").await;
    let accounts = "INSERT INTO accounts SELECT n, 'account ' || n, (ARRAY['CA', 'NY', 'TX'])[1 + n % 3], 1000 + 7 * n
                    FROM generate_series(4, 63) n";
    world.source.run(accounts).await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world
}

const EVENTS: &str = "SELECT count(*)::text FROM canonical_streams";

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_values_prove_is_repaired_by_itself() {
    let world = synced().await;
    let events = world.registry.one(EVENTS).await;
    world.source.run("ALTER TABLE accounts RENAME COLUMN employees TO headcount").await;
    let ran = world.aam_is(0, &["apply", "--look"]);
    insta::assert_snapshot!(ran, @"
    ~ crm  look at the source (applied)
    ~ crm  compare values of the fields that changed (applied)
    ~ crm  try the repair on landed records (applied)
    ~ crm  commit repair 89983416 (rule:rename) (applied)
    ~ crm  update catalog to version 2 (89983416) (applied)
    ");
    insta::assert_snapshot!(world.git(&["show", "-U0", "--format=%an: %s%n%b", "HEAD", "--", "mappings"]), @"
    aam: drift crm: ~ public/accounts.employees -> headcount: integer
    ~ public/accounts.employees -> headcount: integer

    Aam-Connection: crm
    Aam-Drift: s1:89983416133ea8acdbec4187c221155ae992c69ab7267196139cb21de0bac26f
    Aam-Confidence: 1.00
    Aam-Cause: rule AAM-D006


    diff --git a/mappings/crm.yaml b/mappings/crm.yaml
    index a870d5d..83302c2 100644
    --- a/mappings/crm.yaml
    +++ b/mappings/crm.yaml
    @@ -12 +12 @@ entities:
    -      extras.employees: employees
    +      extras.employees: headcount
    ");
    let file = world.git(&["show", "--format=", "HEAD", "--", "drift"]);
    assert!(file.contains("of 63 keys, 63 hold the same value (100 %)"), "{file}");
    assert!(file.contains("undo") || file.contains("git revert"), "{file}");

    // The rows are the same under the new name: no event.
    world.source.run("UPDATE accounts SET name = 'other' WHERE id = 1").await;
    world.aam_is(0, &["sync", "crm"]);
    assert_eq!(world.registry.one(EVENTS).await, format!("{}", events.parse::<u32>().unwrap() + 1));
    let last = "SELECT data #>> '{extras,employees}' FROM canonical_streams ORDER BY position DESC LIMIT 1";
    assert_eq!(world.registry.one(last).await, "10");

    // A person takes it back: it is not made again.
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.aam(&["apply", "--look"]);
    let rejected = world.committed("drift/default/crm/rejected.yaml");
    assert!(rejected.contains("employees -> headcount") && rejected.contains(PERSON), "{rejected}");
    assert!(world.committed("mappings/crm.yaml").contains("extras.employees: employees"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_tell_little_and_copies_are_a_persons() {
    let world = synced().await;
    world
        .source
        .run(
            "ALTER TABLE accounts RENAME COLUMN billing_state TO state;
             ALTER TABLE accounts RENAME COLUMN employees TO staff;
             ALTER TABLE accounts ADD COLUMN headcount int;
             UPDATE accounts SET headcount = staff",
        )
        .await;
    world.aam_is(3, &["apply", "--look"]);
    let told = world.aam_is(0, &["drift", "show", "crm"]);
    let evidence = told.split("## ").find(|part| part.starts_with("Evidence")).unwrap_or(&told);
    insta::assert_snapshot!(evidence, @"
    Evidence

    ```text
    ~ public/accounts.billing_state -> state: string
        = name: state in common, billing is gone; likeness 0.56
        + type: both are string
        + place: both stand between name and updated_at
        + rivals: no other field could be the partner
        + values: of 63 keys, 63 hold the same value (100 %), 0 another, 0 a value on one side only, 0 none; 3 distinct values
        + values: next best is employees, the same in 0 % of rows
        confidence 1.00; not automatic: its values tell little: 3 distinct ones, and two rows agree by chance in 33.3 % of cases
    ~ public/accounts.employees -> staff: integer
        - name: no word in common, staff for employees; likeness 0.30
        + type: both are integer, as is another that came
        + place: both stand between name and updated_at
        + rivals: no other field could be the partner
        + values: of 63 keys, 63 hold the same value (100 %), 0 another, 0 a value on one side only, 0 none; 63 distinct values
        - values: next best is headcount, the same in 100 % of rows
        confidence 1.00; not automatic: headcount holds the same values in 100 % of rows, too
    ```
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_landed_rows_names_propose() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.source.run("ALTER TABLE accounts RENAME COLUMN employees TO employee_count").await;
    world.aam_is(3, &["apply", "--look"]);
    let told = world.aam_is(0, &["drift", "show", "crm"]);
    assert!(told.contains("values could not be joined"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_values_cannot_be_had_for_now_names_propose_and_values_follow() {
    let world = synced().await;
    world.source.run("ALTER TABLE accounts RENAME COLUMN employees TO employee_count").await;
    let warehouse = &world.warehouse.name;
    let open = async |is| world.registry.run(&format!("ALTER DATABASE \"{warehouse}\" ALLOW_CONNECTIONS {is}")).await;
    open(false).await;
    let ran = world.aam(&["apply", "--look"]);
    assert!(ran.code == 1 && ran.out.contains("compare values of the fields that changed (failed"), "{ran:?}");
    assert!(world.git(&["branch", "--list", "aam/*"]).contains("aam/drift/default/crm"), "{ran:?}");
    open(true).await;
    world.aam_is(0, &["apply"]);
    assert!(world.committed("mappings/crm.yaml").contains("extras.employees: employee_count"));
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_stayed_and_was_filled_beside_the_one_that_went_is_offered() {
    let world = synced().await;
    world.source.run("ALTER TABLE accounts ADD COLUMN staff int; UPDATE accounts SET staff = employees").await;
    world.aam_is(0, &["apply", "--look"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    world.aam_is(3, &["apply", "--look"]);
    let told = world.aam_is(0, &["drift", "show", "crm"]);
    let line = "+ values: staff stayed and holds its values: of 63 keys, 63 hold the same value (100 %)";
    assert!(told.contains(line) && told.contains("what went may live on under another name"), "{told}");
    let diff = world.git(&["diff", "-U0", "main", "aam/drift/default/crm", "--", "mappings"]);
    assert!(diff.contains("+      extras.employees: staff"), "{diff}");
    world.aam_is(0, &["drift", "approve", "crm"]);
    world.source.run("UPDATE accounts SET name = 'other' WHERE id = 1").await;
    world.aam_is(0, &["sync", "crm"]);
    let last = "SELECT data #>> '{extras,employees}' FROM canonical_streams ORDER BY position DESC LIMIT 1";
    assert_eq!(world.registry.one(last).await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_profiles_are_evidence_and_never_prove() {
    let world = World::with_crm("").await;
    let accounts = "ALTER TABLE accounts DROP CONSTRAINT accounts_pkey;
                    INSERT INTO accounts SELECT n, 'account ' || n, 'CA', 1000 + 7 * n FROM generate_series(4, 63) n";
    world.source.run(accounts).await;
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world.source.run("ALTER TABLE accounts RENAME COLUMN employees TO headcount").await;
    world.aam_is(3, &["apply", "--look"]);
    let told = world.aam_is(0, &["drift", "show", "crm"]);
    let evidence = told.split("## ").find(|part| part.starts_with("Evidence")).unwrap_or(&told);
    insta::assert_snapshot!(evidence, @"
    Evidence

    ```text
    ~ public/accounts.employees -> headcount: integer
        - name: no word in common, headcount for employees; likeness 0.30
        + type: both are integer
        + place: both stand between billing_state and updated_at
        + rivals: no other field could be the partner
        + values: likeness 1.00 of 63 values before and 63 now: no value in 0 % and 0 %, distinct 100 % and 100 %, length 3.9 and 3.9; in common are characters 100 %, patterns 100 %, frequent values 100 %, range 100 %
        confidence 0.99; not automatic: only values joined by key could prove a rename
    ```
    ");
    let kept = world.registry.one("SELECT string_agg(sampled::text, '') FROM observed_catalogs").await;
    assert!(kept.contains("alike") && !kept.contains("1028"), "shares and no values: {kept}");
}
