//! What other people do in Airbyte meanwhile: edits of what git owns, connections that the system disabled, jobs that its own
//! schedule starts, deleted ones; and streams that are held because a breaking drift waits.

use serde_json::json;

use super::tour::Tour;
use crate::forge_standin::{Kind, Standin, TOKEN};
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::standin::state::{Actor, Connection, Side};

impl Tour {
    /// Onboarded, with everything read.
    async fn onboarded() -> Self {
        let tour = Self::new("1.8").await;
        tour.world.aam_is(0, &["apply"]);
        tour
    }

    /// Changes the connection as a person does in the web page.
    fn by_hand(&self, change: impl FnOnce(&mut Connection)) {
        self.standin.edit(|state| change(&mut state.connections[0]));
    }

    /// Reads or changes the source as a person does in the web page.
    fn source<T>(&self, change: impl FnOnce(&mut Actor) -> T) -> T {
        self.standin.edit(|state| change(state.actors.iter_mut().find(|actor| actor.side == Side::Source).unwrap()))
    }

    fn look(&self) -> (String, String) {
        self.standin.edit(|state| {
            let connection = &state.connections[0];
            (connection.status.clone(), connection.schedule_data.to_string())
        })
    }

    fn write_spec(&self, from: &str, to: &str) {
        let spec = self.world.read("connectors.d/crm.yaml");
        assert!(spec.contains(from), "{spec}");
        self.world.write("connectors.d/crm.yaml", &spec.replace(from, to));
        self.world.commit("a spec edit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_edit_is_told_and_never_written_over_until_a_person_decides() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    let every = |hours: u32| json!({"basicSchedule": {"units": hours, "timeUnit": "hours"}});
    tour.by_hand(|c| (c.schedule_type, c.schedule_data) = ("basic".into(), every(1)));
    let writes = tour.standin.writes().len();
    for args in [&["plan"][..], &["apply"], &["status"]] {
        let ran = world.aam(args);
        assert_eq!(ran.code, 3, "{ran:?}");
        let said = format!("{}{}", ran.out, ran.talk);
        assert!(said.contains("live edit: schedule changed in the engine"), "{said}");
    }

    // another property goes on: what a person did not touch is written, what she did is not
    tour.write_spec("mapping: crm\n", "mapping: crm\nairbyte: {prefix: x_}\n");
    assert_eq!(world.aam(&["apply"]).code, 3);
    assert_eq!(tour.standin.edit(|s| s.connections[0].prefix.clone()), "x_");
    assert_eq!(tour.look().1, every(1).to_string());

    // git follows the edit
    tour.write_spec("schedule: manual", "schedule: {every: 1h}");
    world.aam_is(0, &["apply"]);
    assert_eq!(tour.look().1, every(1).to_string());

    // an edit that is taken back in Airbyte is over, too; what waited for it is written
    tour.by_hand(|c| c.schedule_data = every(3));
    tour.write_spec("{every: 1h}", "{every: 6h}");
    assert_eq!(world.aam(&["apply"]).code, 3);
    assert_eq!(tour.look().1, every(3).to_string());
    tour.by_hand(|c| c.schedule_data = every(1));
    world.aam_is(0, &["apply"]);
    assert_eq!(tour.look().1, every(6).to_string());
    assert_eq!(tour.standin.writes().len(), writes + 2, "{:?}", tour.standin.writes());
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_answered_and_not_done_is_never_believed() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    let answered = Fault::Refuse(200, Shape::Known);
    tour.standin.script("POST /v1/web_backend/connections/update", When::Always, answered);
    tour.write_spec("schedule: manual", "schedule: {every: 6h}");
    let ran = world.aam(&["apply"]);
    assert!(
        ran.code == 1 && ran.out.contains("read back after the update, the engine shows something else"),
        "{ran:?}"
    );
    assert_eq!(world.aam(&["status"]).code, 1);
    tour.standin.heal();
    world.aam_is(0, &["apply"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_system_disabled_is_never_silently_enabled() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    tour.by_hand(|c| {
        c.status = "inactive".into();
        c.breaking = true;
    });
    let ran = world.aam(&["status"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.out.contains("stopped in the engine: Airbyte disabled it for a breaking change of its source"),
        "{ran:?}"
    );
    // not even by a spec edit
    tour.write_spec("schedule: manual", "schedule: {every: 6h}");
    assert_eq!(world.aam(&["apply"]).code, 3);
    assert_eq!(tour.look().0, "inactive");
    tour.by_hand(|c| c.status = "active".into());
    world.aam_is(0, &["apply"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_somebody_deleted_is_told_and_not_made_anew() {
    let tour = Tour::onboarded().await;
    tour.by_hand(|c| c.status = "deprecated".into());
    let writes = tour.standin.writes();
    let ran = tour.world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.talk.contains("somebody deleted it there"), "{ran:?}");
    assert_eq!(tour.standin.writes(), writes);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_is_made_anew_as_the_advice_says() {
    for side in [Side::Source, Side::Destination] {
        let tour = Tour::onboarded().await;
        let world = &tour.world;
        tour.standin.edit(|s| {
            let id = s.actors.iter().find(|actor| actor.side == side).unwrap().id;
            s.delete_actor(side, id).map_err(|_| "gone").unwrap();
        });
        let ran = world.aam(&["apply"]);
        assert!(ran.code == 3 && ran.talk.contains("somebody deleted it there; to have it made anew"), "{ran:?}");
        let files = ["connectors.d/crm.yaml", "connectors.d/crm.lock.yaml"].map(|file| (file, world.read(file)));
        for (file, _) in &files {
            std::fs::remove_file(world.root.join(file)).unwrap();
        }
        world.commit("crm goes");
        world.aam(&["apply", "--confirm-removals"]);
        for (file, text) in &files {
            world.write(file, text);
        }
        world.commit("crm comes back");
        world.aam_is(0, &["apply"]);
        let there = tour.standin.edit(|s| s.actors.iter().filter(|actor| !actor.deleted).count());
        assert_eq!((there, tour.holds().contains("Connection crm active accounts")), (2, true), "{}", tour.holds());
        tour.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_airbytes_schedule_starts_is_followed_and_its_rows_become_events() {
    let tour = Tour::onboarded().await;
    let connection = tour.standin.edit(|s| s.connections[0].id);
    tour.standin.start_job(connection);
    tour.world.aam_is(0, &["apply"]);
    assert_eq!(tour.world.registry.one("SELECT count(*)::text FROM canonical_streams").await, "3");
    assert_eq!(tour.world.registry.one("SELECT job_id || ' ' || state FROM job_history").await, "1 succeeded");
    let writes = tour.standin.writes();
    tour.world.aam_is(0, &["apply"]);
    assert_eq!(tour.standin.writes(), writes, "it is followed once");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_held_while_the_others_sync_and_goes_on_once_decided() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.source.run("CREATE TABLE notes (id int PRIMARY KEY, body text)").await;
    world.aam_is(0, &["apply"]);
    assert!(tour.holds().contains("accounts,notes"), "{}", tour.holds());

    world.source.run("ALTER TABLE accounts DROP COLUMN name").await;
    let ran = world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("leave out public/accounts until their drift is decided; no data is cleared"), "{ran:?}");
    assert!(tour.holds().contains("active notes"), "{}", tour.holds());
    let clears =
        |writes: &[String]| writes.iter().any(|w| w.contains("clear") || w.contains("reset") || w.contains("refresh"));
    world.aam(&["sync", "crm"]);

    world.git(&["merge", "--quiet", "aam/drift/default/crm"]);
    world.aam(&["apply"]);
    assert!(tour.holds().contains("accounts,notes"), "{}", tour.holds());
    assert!(!clears(&tour.standin.writes()), "{:?}", tour.standin.writes());
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_held_gets_its_mappers_back_with_its_rows() {
    let tour = Tour::new("1.8").await;
    let world = &tour.world;
    world.source.run("CREATE TABLE notes (id int PRIMARY KEY, body text)").await;
    world.aam_is(0, &["apply"]);
    let hashing = json!([{"type": "hashing", "mapperConfiguration": {"targetField": "owner", "method": "SHA-256",
        "fieldNameSuffix": "_hashed"}}]);
    tour.by_hand(|c| {
        let accounts = c.entries.iter_mut().find(|e| e["stream"]["name"] == "accounts").unwrap();
        accounts["config"]["mappers"] = hashing.clone();
    });
    assert!(tour.holds().contains("accounts,notes"), "{}", tour.holds());
    let kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                WHERE attrelid = 'accounts'::regclass AND attname = 'name'";
    let kind = world.source.one(kind).await;
    world.source.run("ALTER TABLE accounts DROP COLUMN name").await;
    assert_eq!(world.aam(&["apply", "--look"]).code, 3);
    assert!(tour.holds().contains("active notes"), "{}", tour.holds());

    world.source.run(&format!("ALTER TABLE accounts ADD COLUMN name {kind}")).await;
    let ran = world.aam(&["apply", "--look"]);
    assert!(tour.holds().contains("accounts,notes"), "{ran:?} {}", tour.holds());
    let mapped = tour.standin.edit(|s| {
        let entries = s.connections[0].entries.iter();
        let accounts = entries
            .filter(|e| e["stream"]["name"] == "accounts")
            .map(|e| e["config"]["mappers"][0]["mapperConfiguration"].clone());
        accounts.collect::<Vec<_>>()
    });
    assert_eq!(mapped, [hashing[0]["mapperConfiguration"].clone()]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_mappers_hold_a_secret_is_never_left_out_silently() {
    let tour = Tour::onboarded().await;
    let secret = json!([{"type": "encryption", "mapperConfiguration": {"targetField": "name", "algorithm": "AES",
        "fieldNameSuffix": "_e", "mode": "CBC", "padding": "PKCS5Padding", "key": "**********"}}]);
    tour.by_hand(|c| c.entries[0]["config"]["mappers"] = secret.clone());
    tour.world.source.run("ALTER TABLE accounts DROP COLUMN name").await;
    let ran = tour.world.aam(&["apply", "--look"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("stream public/accounts has mappers with a secret in Airbyte"), "{ran:?}");
    assert_eq!(tour.standin.edit(|s| s.connections[0].entries[0]["config"]["mappers"].clone()), secret);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_a_person_changed_is_told_and_a_new_secret_leaves_her_change() {
    let mut tour = Tour::new("1.8").await;
    tour.write_spec("port: 5432", "port: 5432, jdbc_url_params: a=1");
    tour.world.aam_is(0, &["apply"]);
    let by_hand = |tour: &Tour, key: &str, value: &str| tour.source(|s| s.settings[key] = json!(value));
    by_hand(&tour, "jdbc_url_params", "b=2");
    by_hand(&tour, "added_by_her", "x");
    let writes = tour.standin.writes().len();
    for args in [&["plan"][..], &["apply"], &["status"]] {
        let ran = tour.world.aam(args);
        assert_eq!(ran.code, 3, "{ran:?}");
        let said = format!("{}{}", ran.out, ran.talk);
        assert!(said.contains("live edit: source config.jdbc_url_params changed in the engine"), "{said}");
    }
    assert_eq!(tour.standin.writes().len(), writes);

    // a new secret and a new name are sent; what a person changed or added is not written over
    super::ground::set(&mut tour.world, &[("AAM_SECRET_CRM", "another")]);
    tour.write_spec("source:\n", "source:\n  airbyte: {name: CRM of sales}\n");
    assert_eq!(tour.world.aam(&["apply"]).code, 3);
    let told = |tour: &Tour| {
        tour.source(|s| format!("{} {} {}", s.name, s.settings["jdbc_url_params"], s.settings["added_by_her"]))
    };
    assert_eq!(told(&tour), r#"CRM of sales "b=2" "x""#);
    assert_eq!(tour.source(|s| s.settings["password"].clone()), "another");

    // git follows, and then changes it itself; what git drops goes
    tour.write_spec("jdbc_url_params: a=1", "jdbc_url_params: b=2");
    tour.world.aam_is(0, &["apply"]);
    tour.write_spec("jdbc_url_params: b=2", "jdbc_url_params: c=3");
    tour.world.aam_is(0, &["apply"]);
    assert_eq!(told(&tour), r#"CRM of sales "c=3" "x""#);
    tour.write_spec(", jdbc_url_params: c=3", "");
    tour.world.aam_is(0, &["apply"]);
    assert_eq!(told(&tour), r#"CRM of sales null "x""#);
    let ran = tour.world.aam(&["plan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_of_a_shared_destination_is_sent_once() {
    let mut tour = Tour::onboarded().await;
    let other = tour.world.read("connectors.d/crm.yaml").replace("mapping: crm\n", "");
    tour.world.write("connectors.d/other.yaml", &other);
    tour.world.commit("another connection to the same warehouse");
    tour.world.aam_is(0, &["apply"]);
    let updates = |tour: &Tour| {
        let writes = tour.standin.writes();
        ["sources", "destinations"].map(|of| writes.iter().filter(|w| w.contains(&format!("{of}/update"))).count())
    };
    assert_eq!(updates(&tour), [0, 0]);
    super::ground::set(&mut tour.world, &[("AAM_SECRET_CRM", "another")]);
    tour.world.aam_is(0, &["apply"]);
    assert_eq!(updates(&tour), [2, 1], "{:?}", tour.standin.writes());
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_survives_that_its_spec_goes_and_comes_back() {
    let tour = Tour::onboarded().await;
    let every = json!({"basicSchedule": {"units": 1, "timeUnit": "hours"}});
    tour.by_hand(|c| (c.schedule_type, c.schedule_data) = ("basic".into(), every.clone()));
    let world = &tour.world;
    let spec = world.read("connectors.d/crm.yaml");
    let lock = world.read("connectors.d/crm.lock.yaml");
    for file in ["connectors.d/crm.yaml", "connectors.d/crm.lock.yaml"] {
        std::fs::remove_file(world.root.join(file)).unwrap();
    }
    world.commit("crm goes");
    world.aam(&["apply", "--confirm-removals"]);
    assert_eq!(tour.look().0, "inactive");
    world.write("connectors.d/crm.yaml", &spec);
    world.write("connectors.d/crm.lock.yaml", &lock);
    world.commit("crm comes back");
    let ran = world.aam(&["apply"]);
    assert_eq!((ran.code, tour.look()), (3, ("active".to_owned(), every.to_string())), "{ran:?}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_system_disabled_is_not_enabled_by_the_return_of_its_spec() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    tour.by_hand(|c| {
        c.status = "inactive".into();
        c.breaking = true;
    });
    let files = ["connectors.d/crm.yaml", "connectors.d/crm.lock.yaml"].map(|file| (file, world.read(file)));
    for (file, _) in &files {
        std::fs::remove_file(world.root.join(file)).unwrap();
    }
    world.commit("crm goes");
    let writes = tour.standin.writes();
    world.aam(&["apply", "--confirm-removals"]);
    for (file, text) in &files {
        world.write(file, text);
    }
    world.commit("crm comes back");
    let ran = world.aam(&["apply"]);
    assert_eq!((ran.code, tour.look().0, tour.standin.writes()), (3, "inactive".to_owned(), writes), "{ran:?}");
    let said = world.aam(&["status"]).out;
    assert!(said.contains("stopped in the engine: Airbyte disabled it for a breaking change of its source"), "{said}");
    tour.by_hand(|c| c.status = "active".into());
    world.aam_is(0, &["apply"]);
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_git_follows_is_over_for_one_that_is_only_observed_too() {
    let tour = Tour::onboarded().await;
    let id = tour.standin.edit(|s| s.connections[0].id);
    tour.write_spec("mapping: crm\n", &format!("mapping: crm\nmode: observe\nairbyte: {{id: {id}}}\n"));
    tour.world.aam_is(0, &["apply"]);
    let writes = tour.standin.writes();
    tour.by_hand(|c| {
        c.schedule_type = "basic".into();
        c.schedule_data = json!({"basicSchedule": {"units": 1, "timeUnit": "hours"}});
    });
    assert_eq!(tour.world.aam(&["status"]).code, 3);
    tour.write_spec("schedule: manual", "schedule: {every: 1h}");
    tour.world.aam_is(0, &["apply"]);
    let ran = tour.world.aam(&["status"]);
    assert_eq!((ran.code, tour.standin.writes()), (0, writes), "{ran:?}");
    tour.finish().await;
}

const CARRIED: &str = "aam/drift/live-edit-of/default/crm";

#[tokio::test(flavor = "multi_thread")]
async fn a_live_edit_is_carried_to_git_once_and_over_when_it_is_merged() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    let every = |hours: u32| json!({"basicSchedule": {"units": hours, "timeUnit": "hours"}});
    let branches = || world.git(&["branch", "--list", "aam/*", "--format=%(refname:short)"]);
    let spec = world.read("connectors.d/crm.yaml");
    let writes = tour.standin.writes();
    tour.by_hand(|c| {
        (c.schedule_type, c.schedule_data, c.prefix) = ("basic".into(), every(1), "x_".into());
        c.status = "inactive".into();
    });
    for _ in 0..2 {
        let ran = world.aam(&["apply"]);
        assert!(ran.code == 3 && ran.talk.contains("merge aam/drift/live-edit-of/default/crm to keep it"), "{ran:?}");
        assert_eq!(branches(), CARRIED);
    }
    let told = world.git(&["log", "-1", "--format=%B", CARRIED]);
    assert!(
        told.contains("prefix: git says \"\", the engine has \"x_\"") && told.contains("Aam-Cause: live edit"),
        "{told}"
    );
    assert_eq!(world.git(&["diff", "--name-only", "main", CARRIED]), "connectors.d/crm.yaml");
    let carried = world.git(&["show", &format!("{CARRIED}:connectors.d/crm.yaml")]);
    assert_eq!(
        carried,
        format!(
            "{}airbyte: {{prefix: x_, status: inactive}}",
            spec.replace("schedule: manual", "schedule: {every: 1h}")
        ),
    );
    world.git(&["merge", "--quiet", "--no-ff", "-m", "as it is", CARRIED]);
    world.aam_is(0, &["apply"]);
    assert_eq!((tour.look().1, branches().as_str()), (every(1).to_string(), ""));
    assert_eq!(tour.standin.writes(), writes, "git followed, nothing was written");

    // declined: it stays shown and is not offered again
    tour.by_hand(|c| c.schedule_data = every(2));
    assert_eq!((world.aam(&["apply"]).code, branches().as_str()), (3, CARRIED));
    world.git(&["branch", "-D", CARRIED]);
    let ran = world.aam(&["apply"]);
    assert!(ran.code == 3 && ran.talk.contains("live edit: schedule") && !ran.talk.contains("to keep it"), "{ran:?}");
    assert_eq!(branches(), "");
    // another edit is; taken back, its branch goes
    tour.by_hand(|c| c.schedule_data = every(3));
    assert_eq!((world.aam(&["apply"]).code, branches().as_str()), (3, CARRIED));
    tour.by_hand(|c| c.schedule_data = every(1));
    world.aam_is(0, &["apply"]);
    assert_eq!(branches(), "");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_edit_is_a_request_and_one_that_was_closed_is_not_asked_again() {
    let mut tour = Tour::onboarded().await;
    let bare = tour.world.dir().join("config.git");
    tour.world.git(&["clone", "--quiet", "--bare", ".", &bare.to_string_lossy()]);
    let forge = Standin::start(Kind::GitLab, &bare).await;
    let settings = [
        ("AAM_FORGE__KIND", "gitlab"),
        ("AAM_FORGE__URL", forge.url.as_str()),
        ("AAM_FORGE__PROJECT", "acme/config"),
        ("AAM_FORGE__TOKEN", "${env:FORGE_TOKEN}"),
        ("FORGE_TOKEN", TOKEN),
    ];
    tour.world.env.extend(settings.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let world = &tour.world;
    // People push the branch: here `aam` shares a checkout with them.
    let edit = |hours: u32| {
        tour.by_hand(|c| {
            c.schedule_type = "basic".into();
            c.schedule_data = json!({"basicSchedule": {"units": hours, "timeUnit": "hours"}});
        });
        world.aam(&["apply"]);
        world.git(&["push", "--quiet", "--force", &bare.to_string_lossy(), CARRIED]);
        world.aam(&["apply"]);
    };
    edit(1);
    let shown = |number: u64| forge.edit(|state| state.request(number).clone());
    assert_eq!(shown(1).title, "Live edit of crm");
    assert!(
        shown(1).body.contains("schedule: git says") && shown(1).body.contains("+schedule: {every: 1h}"),
        "{}",
        shown(1).body
    );
    edit(2);
    assert!(shown(1).body.contains("+schedule: {every: 2h}"), "{}", shown(1).body);
    let said: Vec<String> = shown(1).comments.into_iter().map(|comment| comment.body).collect();
    assert!(said.len() == 1 && said[0].contains("What this request is about has changed."), "{said:?}");
    forge.edit(|state| {
        state.comment(1, "grace", "six hours are right");
        state.close(1, "grace");
    });
    for _ in 0..3 {
        let ran = world.aam(&["apply"]);
        assert!(ran.code == 3 && ran.talk.contains("it was offered, and that was declined"), "{ran:?}");
        assert_eq!(world.git(&["branch", "--list", "aam/*"]), "");
        assert_eq!(forge.edit(|state| state.requests.len()), 1);
    }
    edit(3);
    assert_eq!(forge.edit(|state| state.requests.len()), 2, "another edit is asked");
    assert!(forge.edit(|state| state.merge(2, "linus", false)));
    world.git(&["pull", "--quiet", &bare.to_string_lossy(), "main"]);
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["apply"]);
    let known = "SELECT string_agg(format('%s %s %s %s', number, subject, state, closed_by), ', ' ORDER BY number) FROM requests";
    assert_eq!(world.registry.one(known).await, "1 live_edit rejected grace, 2 live_edit merged linus");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_spec_says_is_told_beside_what_is_carried() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    tour.by_hand(|c| {
        c.prefix = "y_".into();
        c.preference = "propagate_columns".into();
    });
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.talk.contains("to keep it; no spec says this of nonBreakingChangesPreference"), "{ran:?}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gits_value_is_written_back_where_the_spec_says_so_until_it_flips() {
    let tour = Tour::onboarded().await;
    let world = &tour.world;
    let every = |hours: u32| json!({"basicSchedule": {"units": hours, "timeUnit": "hours"}});
    tour.write_spec("mapping: crm\n", "mapping: crm\non_live_edit: revert\n");
    world.aam_is(0, &["apply"]);
    let audit = "SELECT action FROM audit_log WHERE action LIKE 'live.%' ORDER BY position";
    for hours in 1..3 {
        tour.by_hand(|c| (c.schedule_type, c.schedule_data) = ("basic".into(), every(hours)));
        world.aam_is(0, &["apply"]);
        assert!(!tour.look().1.contains("hours"), "{:?}", tour.look());
    }
    assert_eq!(world.registry.list(audit).await, ["live.reverted", "live.reverted"]);
    tour.by_hand(|c| (c.schedule_type, c.schedule_data) = ("basic".into(), every(3)));
    for _ in 0..2 {
        let ran = world.aam(&["apply"]);
        assert!(ran.code == 3 && ran.talk.contains("schedule changed again and again and is left alone"), "{ran:?}");
    }
    assert_eq!(tour.look().1, every(3).to_string());
    assert_eq!(world.registry.list(audit).await, ["live.reverted", "live.reverted", "live.frozen"]);
    assert_eq!(world.git(&["branch", "--list", "aam/*"]), "");
    // a commit that gives it another value ends that
    tour.write_spec("schedule: manual", "schedule: {every: 6h}");
    world.aam_is(0, &["apply"]);
    assert_eq!(tour.look().1, every(6).to_string());

    // only where everything may be written
    tour.write_spec("mapping: crm\n", "mapping: crm\nmode: propose\n");
    world.aam(&["apply"]);
    tour.by_hand(|c| c.schedule_data = every(8));
    assert_eq!(world.aam(&["apply"]).code, 3);
    assert_eq!(tour.look().1, every(8).to_string());
    tour.finish().await;
}
