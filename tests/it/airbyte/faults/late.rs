//! A server that makes what it was asked for long after nobody waits any more: 1 s, 30 s or 11 min after the client gave up,
//! or was killed. It is looked for, and found; a second one is never asked for.

use serde_json::json;

use super::bed::{Bed, Phase};
use crate::standin::faults::{Fault, When};
use crate::standin::state::Side;
use crate::support::world::until;

const KINDS: [&str; 3] = ["source", "destination", "connection"];
/// So many seconds after the ask the next looks come.
const LATER: [u32; 3] = [660, 1, 30];

/// How the ask ends for who asked.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The deadline is over.
    GivenUp,
    /// `kill -9` while the request is under way.
    Killed,
}

/// How often the object of this kind was asked for.
fn asks(bed: &Bed, kind: &str) -> usize {
    bed.standin.calls(&format!("POST /v1/{kind}s/create"))
}

/// Asks for the next object, without an answer.
async fn ask(bed: &Bed, kind: &str, end: End) {
    match end {
        End::GivenUp => assert_eq!(bed.aam(&["apply"]).code, 1),
        End::Killed => killed_at(bed, &format!("POST /v1/{kind}s/create")).await,
    }
    assert_eq!(asks(bed, kind), 1, "{kind} {end:?}");
}

/// Runs `aam apply` and kills it when this call has come.
async fn killed_at(bed: &Bed, call: &str) {
    let mut child = bed.world.start(&["apply"]);
    until(call, 30, async || (bed.standin.calls(call) > 0).then_some(())).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Onboards; each object comes late, by as much as `shift` says.
async fn tell(end: End, shift: usize) {
    let bed = Bed::new().await;
    for kind in KINDS {
        bed.standin.script(&format!("POST /v1/{kind}s/create"), When::Nth(1), Fault::Withhold);
    }
    for (n, kind) in KINDS.iter().enumerate() {
        ask(&bed, kind, end).await;
        let later = LATER[(n + shift) % LATER.len()];
        bed.world.registry.run(&format!("UPDATE intents SET at = at - interval '{later} seconds'")).await;
        let ran = bed.aam(&["apply"]);
        assert!(ran.code == 1 && ran.out.contains("another one is made after"), "{kind} {end:?} {later}: {ran:#?}");
        assert_eq!(asks(&bed, kind), 1, "{kind} {end:?} {later}");
        bed.standin.apply_withheld().await;
    }
    bed.recover(Phase::Onboard).await;
    assert_eq!(KINDS.map(|kind| asks(&bed, kind)), [1; 3], "{end:?}: what came late was adopted");
    assert_eq!(bed.standin.edit(|state| (state.actors.len(), state.connections.len())), (2, 1), "{end:?}");
    bed.end_state().await;
    bed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_late_is_found_and_never_asked_for_again() {
    let all = std::env::var_os("AAM_FAULTS").is_some_and(|which| which == "all");
    for end in [End::GivenUp, End::Killed] {
        for shift in 0..if all { LATER.len() } else { 1 } {
            tell(end, shift).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_by_another_name_is_found_too() {
    let bed = Bed::new().await;
    let files = ["connectors.d/warehouse.yaml", "connectors.d/crm.yaml"];
    for kind in ["destination", "connection"] {
        bed.standin.script(&format!("POST /v1/{kind}s/create"), When::Nth(1), Fault::Withhold);
    }
    for (kind, file) in ["destination", "connection"].iter().zip(files) {
        ask(&bed, kind, End::Killed).await;
        bed.world.write(file, &format!("{}airbyte: {{name: new name}}\n", bed.world.read(file)));
        bed.world.commit("another name");
        assert_eq!((bed.aam(&["apply"]).code, asks(&bed, kind)), (1, 1), "{kind}");
        bed.standin.apply_withheld().await;
    }
    bed.recover(Phase::Onboard).await;
    let names = bed.standin.edit(|state| {
        let actors = state.actors.iter().map(|actor| actor.name.clone());
        actors.chain(state.connections.iter().map(|connection| connection.name.clone())).collect::<Vec<_>>()
    });
    assert_eq!(names, ["crm", "new name", "new name"], "each once, by its new name");
    bed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_by_another_name_is_not_taken_for_what_was_asked_for() {
    let bed = Bed::new().await;
    let call = "POST /v1/destinations/create";
    bed.standin.script(call, When::Nth(1), Fault::Withhold);
    ask(&bed, "destination", End::Killed).await;
    let file = "connectors.d/warehouse.yaml";
    bed.world.write(file, &format!("{}airbyte: {{name: new name}}\n", bed.world.read(file)));
    bed.world.commit("another name");
    // a person's own, of the same connector
    let hers = bed.standin.edit(|state| {
        let definition = state.definitions.iter().find(|d| d.side == Side::Destination && d.name == "Postgres");
        let (definition, workspace) = (definition.unwrap().id, state.workspaces[0].id);
        state.insert_actor(Side::Destination, definition, workspace, "new name", json!({"host": "hers"}))
    });
    let writes = bed.standin.writes();
    let ran = bed.aam(&["apply"]);
    assert!(
        ran.code == 1 && ran.out.contains("which aam did not make") && ran.out.contains(&hers.to_string()),
        "{ran:#?}"
    );
    assert_eq!(bed.standin.writes(), writes);
    // what was asked for comes: that one is ours
    bed.standin.apply_withheld().await;
    bed.recover(Phase::Onboard).await;
    let settings = bed.standin.edit(|state| state.actor(Side::Destination, hers).unwrap().settings.clone());
    assert_eq!((settings, asks(&bed, "destination")), (json!({"host": "hers"}), 1));
    bed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_the_ask_is_not_taken_for_what_was_asked_for() {
    let bed = Bed::new().await;
    bed.standin.script("POST /v1/destinations/create", When::Nth(1), Fault::Hang);
    ask(&bed, "destination", End::Killed).await;
    // a person calls an old one of hers the same
    let made = bed.standin.edit(|state| {
        let definition = state.definitions.iter().find(|d| d.side == Side::Destination && d.name == "Postgres");
        let (definition, workspace) = (definition.unwrap().id, state.workspaces[0].id);
        let id = state.insert_actor(Side::Destination, definition, workspace, "warehouse", json!({"host": "hers"}));
        let actor = state.actors.iter_mut().find(|actor| actor.id == id).unwrap();
        actor.created_at -= 86_400;
        id
    });
    let writes = bed.standin.writes();
    for _ in 0..2 {
        let ran = bed.aam(&["apply"]);
        assert!(
            ran.code == 1 && ran.out.contains("which aam did not make") && ran.out.contains(&made.to_string()),
            "{ran:#?}"
        );
        bed.the_wait_passes().await;
    }
    assert_eq!(bed.standin.writes(), writes);
    bed.standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_status_says_until_when_it_is_looked_for() {
    let bed = Bed::new().await;
    bed.standin.script("POST /v1/sources/create", When::Nth(1), Fault::Withhold);
    killed_at(&bed, "POST /v1/sources/create").await;
    let ends = "SELECT to_char((at + interval '15 minutes') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM intents";
    let until = bed.world.registry.one(ends).await;
    bed.aam(&["apply"]);
    let status = bed.aam(&["status"]);
    assert!(status.out.contains(&format!("another one is made after {until}")), "{until}: {status:#?}");
    // it never comes
    bed.the_wait_passes().await;
    bed.recover(Phase::Onboard).await;
    assert_eq!(asks(&bed, "source"), 2);
    bed.end_state().await;
    bed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_an_ask_was_sent_costs_no_wait() {
    let bed = Bed::new().await;
    // what is read before a connection is asked for
    let read = "POST /v1/sources/discover_schema";
    bed.standin.script(read, When::Nth(1), Fault::Hang);
    killed_at(&bed, read).await;
    assert_eq!(asks(&bed, "connection"), 0);
    let ran = bed.aam(&["apply"]);
    assert_eq!((ran.code, asks(&bed, "connection")), (0, 1), "{ran:#?}");
    bed.end_state().await;
    bed.finish().await;
}
