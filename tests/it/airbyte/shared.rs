//! Sources and destinations that several connections share: one object each, and nobody's change is lost to a sibling.

use serde_json::json;

use super::ground::set;
use super::tour::Tour;
use crate::standin::faults::{Fault, When};
use crate::standin::state::{Actor, Side};
use crate::support::world::until;

impl Tour {
    /// With `connectors.d/src.yaml` in place of an inline source, and no connection yet.
    async fn with_source() -> Self {
        let tour = Self::new("1.8").await;
        let world = &tour.world;
        let crm = world.read("connectors.d/crm.yaml");
        let config = crm.lines().find(|line| line.starts_with("  config: ")).unwrap().trim();
        world.write("connectors.d/src.yaml", &format!("kind: source\ntype: postgres\n{config}\n"));
        std::fs::remove_file(world.root.join("connectors.d/crm.yaml")).unwrap();
        tour
    }

    fn connect(&self, name: &str, destination: &str) {
        let spec = format!(
            "kind: connection\nsource: src\ndestination: {destination}\nschedule: manual\ndrift:\n  check: manual\n\
             airbyte: {{prefix: {name}_}}\n"
        );
        self.world.write(&format!("connectors.d/{name}.yaml"), &spec);
        self.world.commit(&format!("declare {name}"));
    }

    fn end<T>(&self, side: Side, read: impl FnOnce(&mut Actor) -> T) -> T {
        self.standin.edit(|state| read(state.actors.iter_mut().find(|actor| actor.side == side).unwrap()))
    }

    fn actors(&self) -> (usize, usize) {
        let count = |side: Side| self.standin.edit(|s| s.actors.iter().filter(|actor| actor.side == side).count());
        (count(Side::Source), count(Side::Destination))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_makes_one_source_and_one_destination_for_all() {
    let tour = Tour::with_source().await;
    tour.standin.script("POST /v1/sources/list", When::Always, Fault::Latency(std::time::Duration::from_millis(300)));
    for name in ["a", "b", "c", "d", "e", "f"] {
        tour.connect(name, "warehouse");
    }
    let daemon = tour.world.daemon().await;
    let active = "SELECT count(*)::text FROM connections WHERE status = 'ACTIVE'";
    until("all six are active", 90, async || (tour.world.registry.one(active).await == "6").then_some(())).await;
    assert_eq!(tour.actors(), (1, 1), "{:?}", tour.standin.writes());
    daemon.stop().await;
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_destination_is_refused_and_the_shared_one_stays_what_it_is() {
    let tour = Tour::with_source().await;
    let world = &tour.world;
    tour.connect("crm", "warehouse");
    tour.connect("other", "warehouse");
    world.aam_is(0, &["apply"]);
    let lake = world.read("connectors.d/warehouse.yaml").replace("schema: public", "schema: lake");
    world.write("connectors.d/lake.yaml", &lake);
    let writes = tour.standin.writes();
    tour.connect("crm", "lake");
    let ran = world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let said = world.aam(&["status", "crm"]).out;
    assert!(said.contains("the engine cannot move a connection to another destination"), "{said}");
    assert_eq!(tour.standin.writes(), writes);
    assert_eq!(tour.end(Side::Destination, |a| a.settings["schema"].clone()), "public");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_a_declared_connection_has_is_taken_over_by_no_other_spec() {
    let tour = Tour::with_source().await;
    let world = &tour.world;
    let config = world.read("connectors.d/src.yaml").replace("kind: source\n", "").replace('\n', "\n  ");
    let spec = |name: &str, port: &str| {
        let source =
            format!("  airbyte: {{name: {name}}}\n  {}", config.replace("port: 5432", port)).trim_end().to_owned();
        format!(
            "kind: connection\nsource:\n{source}\ndestination: warehouse\nschedule: manual\ndrift:\n  check: manual\n"
        )
    };
    world.write("connectors.d/a.yaml", &spec("CRM", "port: 5432"));
    world.commit("declare a");
    world.aam_is(0, &["apply"]);
    // the first one goes by another name from now on; in Airbyte a person keeps the old one
    world.write("connectors.d/a.yaml", &spec("Sales", "port: 5432"));
    world.commit("another name");
    world.aam_is(0, &["apply"]);
    tour.end(Side::Source, |actor| actor.name = "CRM".into());
    world.write("connectors.d/b.yaml", &spec("CRM", "port: 5432, jdbc_url_params: b=1"));
    world.commit("declare b");
    let writes = tour.standin.writes();
    let ran = world.aam(&["apply"]);
    assert_eq!((ran.code, tour.standin.writes()), (1, writes), "{ran:?}");
    let id = tour.end(Side::Source, |actor| actor.id.to_string());
    let said = world.aam(&["status", "b"]).out.replace(&id, "<id>");
    let why = "source b: <id> in the engine is that of a, and one object has one owner: give this one another name";
    assert!(said.contains(why), "{said}");
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sibling_leaves_a_persons_change_and_brings_a_new_secret() {
    let mut tour = Tour::with_source().await;
    let spec = tour.world.read("connectors.d/src.yaml").replace("port: 5432", "port: 5432, jdbc_url_params: a=1");
    tour.world.write("connectors.d/src.yaml", &spec);
    tour.connect("crm", "warehouse");
    tour.world.aam_is(0, &["apply"]);
    tour.end(Side::Source, |a| a.settings["jdbc_url_params"] = json!("b=2"));
    set(&mut tour.world, &[("AAM_SECRET_CRM", "another")]);
    tour.connect("aaa", "warehouse");
    let ran = tour.world.aam(&["apply"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(tour.end(Side::Source, |a| a.settings["jdbc_url_params"].clone()), "b=2");
    for side in [Side::Source, Side::Destination] {
        assert_eq!(tour.end(side, |a| a.settings["password"].clone()), "another");
    }
    // back again: nobody's memory of the old one keeps it from being sent
    std::fs::remove_file(tour.world.root.join("connectors.d/aaa.yaml")).unwrap();
    std::fs::remove_file(tour.world.root.join("connectors.d/aaa.lock.yaml")).unwrap();
    tour.world.commit("aaa goes");
    tour.world.aam(&["apply"]);
    for secret in ["a third", "another"] {
        set(&mut tour.world, &[("AAM_SECRET_CRM", secret)]);
        tour.world.aam(&["apply"]);
        assert_eq!(tour.end(Side::Destination, |a| a.settings["password"].clone()), secret);
    }
    tour.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_airbyte_shows_is_not_told_and_an_edit_is_no_write_of_the_plan() {
    let tour = Tour::with_source().await;
    let spec = tour.world.read("connectors.d/src.yaml").replace("port: 5432", "port: 5432, jdbc_url_params: a=1");
    tour.world.write("connectors.d/src.yaml", &spec);
    tour.connect("crm", "warehouse");
    tour.world.aam_is(0, &["apply"]);
    tour.end(Side::Source, |a| a.settings["jdbc_url_params"] = json!("proxy=http://u:hunter2secret@proxy"));
    tour.world.write("connectors.d/src.yaml", &spec.replace("a=1", "c=3"));
    tour.world.commit("other parameters");
    for args in [&["plan"][..], &["plan", "--format", "json"], &["apply"], &["status"]] {
        let ran = tour.world.aam(args);
        let said = format!("{}{}", ran.out, ran.talk);
        assert!(!said.contains("hunter2secret"), "{said}");
    }
    tour.end(Side::Source, |a| a.settings["jdbc_url_params"] = json!("b=2"));
    let said = tour.world.aam(&["plan"]).out;
    assert!(!said.contains("→"), "it is not written: {said}");
    tour.finish().await;
}
