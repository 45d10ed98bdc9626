//! The story that every run tells: what a person does, and the command that `aam` may be killed in.

use super::world::World;

/// One command and what a person did before it.
pub struct Step {
    pub name: &'static str,
    pub before: fn(&mut World),
    pub command: &'static [&'static str],
}

impl Step {
    /// The command that goes on after a kill: the same again. But a sync that has begun is only followed to its end, as a
    /// daemon would (asked for again, it would be a second one), and what is approved is not approved again. `jobs` were
    /// there before the step.
    pub fn again(&self, world: &World, jobs: &str) -> &'static [&'static str] {
        let open = world.ask(&world.registry, "SELECT effect FROM intents WHERE effect = 'sync'");
        let begun = !open.is_empty() || world.jobs() != jobs;
        let decided = !world.root().join(".aam/repairs/aam__drift__default__crm.json").exists();
        if (self.command == SYNC && begun) || (self.command == APPROVE && decided) { APPLY } else { self.command }
    }
}

const APPLY: &[&str] = &["apply"];
const LOOK: &[&str] = &["apply", "--look"];
const APPROVE: &[&str] = &["drift", "approve", "crm"];
const SYNC: &[&str] = &["sync", "crm"];

/// In a git repository.
pub const STORY: &[Step] = &[
    Step { name: "onboard", before: declare, command: APPLY },
    Step { name: "sync", before: nothing, command: SYNC },
    Step { name: "automatic", before: |w| source(w, "ALTER TABLE accounts ADD COLUMN website text"), command: LOOK },
    Step {
        name: "propose",
        before: |w| source(w, "ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region"),
        command: LOOK,
    },
    Step { name: "heal", before: |w| drop(w.git(&["merge", "-q", "aam/drift/default/crm"])), command: APPLY },
    Step { name: "sync again", before: change_rows, command: SYNC },
    Step {
        name: "retype",
        before: |w| source(w, "ALTER TABLE accounts ALTER COLUMN employees TYPE text"),
        command: LOOK,
    },
    Step {
        name: "withdraw",
        before: |w| source(w, "ALTER TABLE accounts ALTER COLUMN employees TYPE integer USING employees::integer"),
        command: LOOK,
    },
    Step { name: "settings", before: edit_settings, command: APPLY },
    Step { name: "retire", before: remove, command: &["apply", "--confirm-removals"] },
    Step { name: "resume", before: |w| drop(w.git(&["revert", "--no-edit", "HEAD"])), command: APPLY },
    Step { name: "rebuild", before: World::lose_registry, command: APPLY },
];

/// In a folder without git: every file is written by `aam` itself.
pub const FOLDER_STORY: &[Step] = &[
    Step { name: "onboard", before: declare, command: APPLY },
    Step { name: "automatic", before: |w| source(w, "ALTER TABLE accounts ADD COLUMN website text"), command: LOOK },
    Step {
        name: "propose",
        before: |w| source(w, "ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region"),
        command: LOOK,
    },
    Step { name: "approve", before: nothing, command: APPROVE },
];

/// With a mapping that refuses rows, and is mended.
pub const LETTERS_STORY: &[Step] = &[
    Step { name: "onboard", before: declare_refusing, command: APPLY },
    Step { name: "sync", before: nothing, command: SYNC },
    Step { name: "replay", before: mend, command: APPLY },
];

fn nothing(_: &mut World) {}

/// What the mapping of [`declare`] says, and what refuses rows instead: those of Texas, and all titles but one.
const REFUSING: [(&str, &str); 2] =
    [(", default: other", ""), ("title: title", "title: {from: title, values: {title 1: one}}")];

fn declare_refusing(world: &mut World) {
    declare(world);
    let mapping = world.read("mappings/crm.yaml").unwrap();
    world.write("mappings/crm.good", &mapping);
    let refusing = REFUSING.iter().fold(mapping, |text, (says, refuses)| text.replace(says, refuses));
    world.write("mappings/crm.yaml", &refusing);
    commit(world, "refuse some");
}

fn mend(world: &mut World) {
    let mapping = world.read("mappings/crm.good").unwrap();
    world.write("mappings/crm.yaml", &mapping);
    commit(world, "refuse none");
}

fn source(world: &mut World, sql: &str) {
    world.run(&world.source, sql);
}

fn commit(world: &World, subject: &str) {
    if world.root().join(".git").is_dir() {
        world.git(&["add", "-A"]);
        world.git(&["commit", "-q", "-m", subject]);
    }
}

fn declare(world: &mut World) {
    world.run(
        &world.source,
        "CREATE TABLE accounts (id int PRIMARY KEY, name text NOT NULL, billing_state text, employees int, updated_at timestamptz NOT NULL);
         INSERT INTO accounts SELECT i, 'Acme ' || i, (ARRAY['CA','NY','TX'])[1 + i % 3], i * 10, '2026-01-01Z'::timestamptz + i * interval '1 h'
             FROM generate_series(1, 12) AS i;
         CREATE TABLE contacts (id int PRIMARY KEY, email text, title text);
         INSERT INTO contacts SELECT i, 'p' || i || '@example.org', 'title ' || i FROM generate_series(1, 5) AS i;
         -- more than one batch (4 MiB) of rows that are only ever appended
         CREATE TABLE notes (id int PRIMARY KEY, body text);
         INSERT INTO notes SELECT i, repeat(i::text, 1500000) FROM generate_series(1, 5) AS i",
    );
    let (from, to) = (world.endpoint(&world.source), world.endpoint(&world.landing));
    world.write("connectors.d/warehouse.yaml", &format!("kind: destination\ntype: postgres\nconfig: {to}\n"));
    world.write(
        "connectors.d/crm.yaml",
        &format!(
            "kind: connection\nsource:\n  type: postgres\n  config: {from}\ndestination: warehouse\nschedule: manual\nstreams:\n  \
             public/accounts: {{mode: incremental_append_dedup, cursor: updated_at}}\n  \
             public/contacts: {{mode: full_refresh_overwrite}}\n  \
             public/notes: {{mode: incremental_append, cursor: id}}\nmapping: crm\ndrift:\n  check: {{every: 30d}}\n"
        ),
    );
    world.write(
        "mappings/crm.yaml",
        "kind: mapping\nsystem: crm\nentities:\n  account:\n    stream: public/accounts\n    key: id\n    fields:\n      \
         name: name\n      region: {from: billing_state, values: {CA: west, NY: east}, default: other}   # by hand\n  \
         contact:\n    stream: public/contacts\n    key: id\n    fields: {email: email, title: title}\n",
    );
    world.write(
        "mappings/entities/account.yaml",
        "kind: entity\ndescription: A company\nfields:\n  name: {type: string}\n  region: {type: string}\n",
    );
    world.write(
        "mappings/entities/contact.yaml",
        "kind: entity\ndescription: A person\nfields:\n  email: {type: string}\n  title: {type: string}\n",
    );
    commit(world, "declare crm");
}

fn change_rows(world: &mut World) {
    world.run(
        &world.source,
        "INSERT INTO accounts VALUES (21, 'New', 'CA', 5, '2026-02-01Z', 'new.example');
         UPDATE accounts SET billing_region = 'NY', updated_at = '2026-02-02Z' WHERE id = 3;
         UPDATE contacts SET title = 'changed' WHERE id = 2;
         DELETE FROM contacts WHERE id = 4;
         INSERT INTO contacts VALUES (6, 'p6@example.org', 'new');
         INSERT INTO notes VALUES (6, 'short'), (7, 'shorter')",
    );
}

fn edit_settings(world: &mut World) {
    let spec = world.read("connectors.d/crm.yaml").unwrap();
    let spec =
        spec.replace("public/contacts: {mode: full_refresh_overwrite}", "public/contacts: {mode: full_refresh_append}");
    world.write("connectors.d/crm.yaml", &spec);
    commit(world, "append contacts");
}

fn remove(world: &mut World) {
    world.git(&["rm", "-q", "connectors.d/crm.yaml"]);
    commit(world, "remove crm");
}
