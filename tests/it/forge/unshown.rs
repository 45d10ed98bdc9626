//! A forge that does not show for a while what it has, and one that does not have it any more.

use aam::plan::requests::TROUBLE;

use super::office::Office;
use crate::forge_standin::{Fault, Kind};

async fn known(office: &Office) -> String {
    let known = "SELECT format('%s %s %s', number, state, reason) FROM requests ORDER BY number";
    office.world.registry.one(known).await
}

async fn troubles(office: &Office) -> String {
    office.world.registry.one("SELECT troubles::text FROM connections").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_not_shown_for_a_while_is_waited_for() {
    let mut office = Office::open(Kind::GitLab).await;
    office.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    office.look().await;
    office.forge.edit(|state| {
        state.comment(1, "grace", "not yet");
        state.close(1, "grace");
    });
    let gone = Fault::Answer(404, Vec::new(), r#"{"message":"404 Not Found"}"#.to_owned());
    office.forge.script("GET /projects/acme%2Fconfig/merge_requests/1", 2, gone);
    office.turn().await;
    let told = troubles(&office).await;
    assert!(told.contains("request 1 of aam/drift/default/crm: not found: the forge does not show it"), "{told}");
    assert!(told.contains("retry_at"), "{told}");
    office.turn().await;
    assert_eq!(troubles(&office).await, told, "it rests meanwhile");
    assert_eq!(known(&office).await, "1 open ");
    office.pass(3600);
    office.turn().await;
    assert_eq!(known(&office).await, "1 rejected not yet");
    assert_eq!((office.forge.edit(|state| state.requests.len()), troubles(&office).await.as_str()), (1, "{}"));
    office.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_hour_begins_when_it_is_not_shown_whatever_failed_before() {
    let mut office = Office::open(Kind::GitLab).await;
    office.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    office.look().await;
    let down = r#"{"reason": "the forge was down", "since": "2026-01-01T00:00:00Z", "failures": 3, "retry_at": "2026-01-01T00:00:00Z"}"#;
    let failed = format!("UPDATE connections SET troubles = json_build_object('{TROUBLE}', '{down}'::json)");
    office.world.registry.run(&failed).await;
    office.forge.edit(|state| state.requests[0].head = "aam/drift/default/other".to_owned());
    for _ in 0..2 {
        office.turn().await;
        assert_eq!(known(&office).await, "1 open ");
        office.pass(1800);
    }
    office.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_stays_away_counts_as_gone_and_another_is_opened() {
    let mut office = Office::open(Kind::GitLab).await;
    office.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    office.look().await;
    office.forge.edit(|state| state.requests[0].head = "aam/drift/default/other".to_owned());
    for expected in ["1 open ", "1 closed the forge does not know it any more"] {
        office.turn().await;
        assert_eq!(known(&office).await, expected);
        office.pass(3601);
    }
    office.turn().await;
    assert!(known(&office).await.ends_with("\n2 open "), "{}", known(&office).await);
    assert_eq!(troubles(&office).await, "{}");
    office.stop().await;
}
