//! Unknown outcomes, told one by one: what may be there is looked for before anything is sent again.

use std::time::Duration;

use super::bed::{Bed, Phase};
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::standin::state::State;
use crate::support::world::until;

/// The ids of what was made twice.
fn ids(bed: &Bed, kind: &str) -> Vec<String> {
    let of = |state: &mut State| -> Vec<String> {
        match kind {
            "connection" => {
                state.connections.iter().filter(|c| c.status == "active").map(|c| c.id.to_string()).collect()
            }
            "source" => {
                state.actors.iter().filter(|a| !a.deleted && a.name == "crm").map(|a| a.id.to_string()).collect()
            }
            _ => state.actors.iter().filter(|a| !a.deleted && a.name != "crm").map(|a| a.id.to_string()).collect(),
        }
    };
    bed.standin.edit(of)
}

/// What a person deletes in the web page.
fn delete(bed: &Bed, kind: &str, id: &str) {
    bed.standin.edit(|state| {
        for actor in state.actors.iter_mut().filter(|a| a.id.to_string() == id) {
            actor.deleted = true;
        }
        for connection in state.connections.iter_mut().filter(|c| c.id.to_string() == id) {
            connection.status = "deprecated".into();
        }
    });
    assert_eq!(ids(bed, kind).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_twice_stops_the_connection_with_both_named() {
    // without an answer, and with one
    let faults = [Fault::TwiceCut, Fault::Twice];
    let all =
        ["source", "destination", "connection"].into_iter().flat_map(|kind| faults.clone().map(|fault| (kind, fault)));
    for (kind, fault) in all {
        let bed = Bed::new().await;
        bed.standin.script(&format!("POST /v1/{kind}s/create"), When::Nth(1), fault);
        let ran = bed.aam(&["apply"]);
        assert_eq!(ran.code, 1, "{kind}: {ran:#?}");
        let writes = bed.standin.writes();
        let both = ids(&bed, kind);
        assert_eq!(both.len(), 2, "{kind}");
        for _ in 0..2 {
            bed.the_wait_passes().await;
            let ran = bed.aam(&["apply"]);
            assert_eq!(ran.code, 1, "{kind}: {ran:#?}");
            let status = bed.aam(&["status"]);
            for id in &both {
                assert!(status.out.contains(id.as_str()), "{kind} {id}: {status:#?}");
            }
        }
        assert_eq!(bed.standin.writes(), writes, "{kind}: nothing else is written");
        delete(&bed, kind, &both[0]);
        bed.recover(Phase::Onboard).await;
        assert_eq!(ids(&bed, kind), both[1..], "{kind}: the other is adopted");
        bed.end_state().await;
        bed.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_ask_may_still_be_answered_no_second_one_is_sent() {
    let bed = Bed::new().await;
    bed.standin.script("POST /v1/connections/create", When::Nth(1), Fault::Hang);
    let ran = bed.aam(&["apply"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let asked = |bed: &Bed| bed.standin.calls("POST /v1/connections/create");
    let ran = bed.aam(&["apply"]);
    assert!(ran.code == 1 && ran.out.contains("another one is made after"), "{ran:#?}");
    assert_eq!(asked(&bed), 1);
    bed.the_wait_passes().await;
    assert_eq!((bed.aam(&["apply"]).code, asked(&bed)), (0, 2));
    bed.end_state().await;
    bed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_asked_for_without_an_answer_is_paused_or_deleted_with_its_spec() {
    let late = Fault::ApplyLate(Duration::from_millis(2500));
    for (fault, on_delete, left) in [(Fault::CutAfter, "pause", "inactive"), (late, "delete", "deprecated")] {
        let bed = Bed::new().await;
        let path = "connectors.d/crm.yaml";
        let more = format!("airbyte: {{name: CRM to warehouse}}\non_delete: {on_delete}\n");
        bed.world.write(path, &format!("{}{more}", bed.world.read(path)));
        bed.world.commit("what becomes of it");
        bed.standin.script("POST /v1/connections/create", When::Nth(1), fault);
        assert_eq!(bed.aam(&["apply"]).code, 1);
        std::fs::remove_file(bed.world.root.join(path)).unwrap();
        bed.world.commit("crm goes");
        let gone = async || {
            bed.aam(&["apply", "--confirm-removals"]);
            bed.world.registry.has("SELECT 1 FROM connections WHERE status = 'RETIRED'").await.then_some(())
        };
        until("it is retired", 30, gone).await;
        let statuses = bed.standin.edit(|s| s.connections.iter().map(|c| c.status.clone()).collect::<Vec<_>>());
        assert_eq!((statuses, bed.world.registry.has("SELECT 1 FROM intents").await), (vec![left.to_owned()], false));
        bed.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_asked_for_without_an_answer_is_let_go_of_with_its_spec() {
    let bed = Bed::new().await;
    bed.standin.script("POST /v1/sources/create", When::Nth(1), Fault::Hang);
    assert_eq!(bed.aam(&["apply"]).code, 1);
    std::fs::remove_file(bed.world.root.join("connectors.d/crm.yaml")).unwrap();
    bed.world.commit("crm goes");
    let ran = bed.aam(&["apply", "--confirm-removals"]);
    assert!(ran.code == 1 && ran.out.contains("stays in the engine if it appears"), "{ran:#?}");
    bed.the_wait_passes().await;
    assert_eq!(bed.aam(&["apply", "--confirm-removals"]).code, 0);
    assert_eq!(bed.world.registry.one("SELECT status FROM connections").await, "RETIRED");
    assert!(!bed.world.registry.has("SELECT 1 FROM intents").await);
    bed.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_create_that_failed_is_told_as_long_as_it_may_appear() {
    let bed = Bed::new().await;
    bed.standin.script("POST /v1/sources/create", When::Always, Fault::Refuse(500, Shape::Hidden));
    for _ in 0..2 {
        assert_eq!(bed.aam(&["apply"]).code, 1);
    }
    assert_eq!(bed.standin.calls("POST /v1/sources/create"), 1);
    let status = bed.aam(&["status"]);
    assert!(status.out.contains("errorId") && status.out.contains("another one is made after"), "{status:#?}");
    assert!(!status.out.contains("without an answer"), "{status:#?}");
    bed.standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_stopped_before_it_was_found_is_not_started() {
    let bed = Bed::new().await;
    bed.standin.script("POST /v1/connections/create", When::Nth(1), Fault::CutAfter);
    assert_eq!(bed.aam(&["apply"]).code, 1);
    bed.standin.edit(|state| {
        state.connections[0].status = "inactive".into();
        state.connections[0].breaking = true;
    });
    for _ in 0..2 {
        let ran = bed.aam(&["apply"]);
        assert_eq!(
            (ran.code, bed.standin.edit(|s| s.connections[0].status.clone())),
            (3, "inactive".into()),
            "{ran:#?}"
        );
    }
    assert_eq!(bed.standin.calls("POST /v1/connections/create"), 1);
    bed.standin.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_was_asked_for_without_an_answer_runs_once() {
    for fault in [Fault::CutAfter, Fault::ApplyLate(Duration::from_millis(1500)), Fault::Hang] {
        let bed = Bed::new().await;
        bed.recover(Phase::Onboard).await;
        bed.standin.script("POST /v1/connections/sync", When::Nth(1), fault.clone());
        bed.aam(&["sync", "crm"]);
        bed.recover(Phase::Sync).await;
        assert_eq!(bed.standin.edit(|state| state.jobs.len()), 1, "{fault:?}");
        bed.end_state().await;
        bed.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_were_sent_without_an_answer_are_sent_again() {
    for fault in [Fault::CutAfter, Fault::Hang] {
        let bed = Bed::new().await;
        bed.recover(Phase::Onboard).await;
        let spec =
            bed.world.read("connectors.d/crm.yaml").replace("schemas: [public]", "schemas: [public], ssl: false");
        bed.world.write("connectors.d/crm.yaml", &spec);
        bed.world.commit("another setting");
        bed.standin.script("POST /v1/sources/update", When::Nth(1), fault.clone());
        let ran = bed.aam(&["apply"]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        bed.status_tells_the_truth(&ran);
        bed.recover(Phase::Onboard).await;
        assert_eq!((ids(&bed, "source").len(), ids(&bed, "connection").len()), (1, 1), "{fault:?}");
        bed.finish().await;
    }
}
