//! Faults by script, seen through our client.

use std::collections::BTreeSet;
use std::time::Instant;

use aam::engine::airbyte::error::Fate;
use serde_json::json;

use super::*;
use crate::standin::answer::Shape;
use crate::standin::faults::{Fault, When};
use crate::standin::state::{Side, State};
use crate::support::world::until;

const CREATE: &str = "POST /v1/sources/create";
const LIST: &str = "POST /v1/sources/list";

impl Bench {
    /// Makes a source named `late`.
    async fn create(&self) -> Result<(), ApiError> {
        let of = self.standin.edit(|s| s.actors[0].definition);
        self.api.create_actor(SOURCE, self.workspace, of, "late", &json!({})).await.map(drop)
    }

    /// Whether it exists.
    fn is_there(&self) -> bool {
        self.standin.edit(|s| s.actors.iter().any(|a| a.name == "late"))
    }

    async fn list(&self) -> Result<usize, ApiError> {
        Ok(self.api.actors(SOURCE, self.workspace).await?.len())
    }
}

#[tokio::test]
async fn a_refused_write_has_not_happened_and_a_denied_one_has() {
    for (fault, applied) in [(Fault::Refuse(500, Shape::Known), false), (Fault::Deny(504, Shape::Page), true)] {
        let bench = Bench::new("1.8").await;
        bench.standin.script(CREATE, When::First(1), fault);
        let error = bench.create().await.unwrap_err();
        assert!(error.may_have_happened(), "the client cannot tell: {error}");
        assert_eq!(bench.is_there(), applied);
        bench.finish();
    }
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_a_write_is_applied() {
    for (fault, applied) in [(Fault::CutBefore, false), (Fault::CutAfter, true)] {
        let bench = Bench::new("1.8").await;
        bench.standin.script(CREATE, When::Always, fault);
        let error = bench.create().await.unwrap_err();
        assert_eq!((error.fate, bench.is_there()), (Fate::Unknown, applied), "{error}");
        assert_eq!(bench.standin.calls(CREATE), 1, "a write is sent once");
        assert_eq!(bench.standin.log().last().unwrap().status, None);
        bench.finish();
    }
}

#[tokio::test]
async fn a_hang_is_before_the_header_or_in_the_body() {
    for (fault, applied) in [(Fault::Hang, false), (Fault::HangInBody(0), true), (Fault::HangInBody(9), true)] {
        let mut bench = Bench::new("1.8").await;
        bench.hurry().await;
        bench.standin.script(CREATE, When::Always, fault);
        let error = bench.create().await.unwrap_err();
        assert_eq!((error.fate, bench.is_there()), (Fate::Unknown, applied), "{error}");
        bench.finish();
    }
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let bench = Bench::new("1.8").await;
    bench.standin.script(LIST, When::First(2), Fault::CutInBody(20));
    assert_eq!(bench.list().await.unwrap(), 1, "a read is tried again");
    assert_eq!(bench.standin.calls(LIST), 3);
    bench.finish();
}

#[tokio::test]
async fn an_effect_can_come_after_the_client_gave_up() {
    let mut bench = Bench::new("1.8").await;
    bench.hurry().await;
    bench.standin.script(CREATE, When::Nth(1), Fault::ApplyLate(Duration::from_millis(300)));
    assert_eq!(bench.create().await.unwrap_err().fate, Fate::Unknown);
    assert!(!bench.is_there(), "not yet");
    until("it happens", 5, async || bench.is_there().then_some(())).await;
    bench.finish();
}

#[tokio::test]
async fn wrong_json_is_garbled() {
    for body in ["null", "[]", "{\"sources\": null}", "{\"sources\": [{\"sourceId\": 7}]}", "{", "<html>"] {
        let bench = Bench::new("1.8").await;
        bench.standin.script(LIST, When::Always, Fault::Body(body.into()));
        let error = bench.list().await.unwrap_err();
        assert_eq!(error.fate, Fate::Garbled, "{body}: {error}");
        bench.finish();
    }
}

#[tokio::test]
async fn a_list_repeats_or_misses_an_item() {
    let bench = Bench::new("1.8").await;
    bench.standin.script(LIST, When::Nth(1), Fault::RepeatItem);
    bench.standin.script(LIST, When::Nth(2), Fault::MissingItem(0));
    assert_eq!((bench.list().await.unwrap(), bench.list().await.unwrap()), (1, 0), "what comes twice counts once");
    assert_eq!(bench.list().await.unwrap(), 1);
    bench.connection("full_refresh", "append").await;
    bench.standin.script("POST /v1/connections/list", When::Always, Fault::RepeatItem);
    assert_eq!(bench.api.connections(bench.workspace).await.unwrap().len(), 1);
    bench.finish();
}

#[tokio::test]
async fn lists_lag_behind_what_was_created() {
    let bench = Bench::new("1.8").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    bench.standin.script(LIST, When::Always, Fault::Lag(Duration::from_millis(400)));
    bench.create().await.unwrap();
    assert_eq!(bench.list().await.unwrap(), 1);
    until("the list has it", 5, async || (bench.list().await.unwrap() == 2).then_some(())).await;
    bench.finish();
}

#[tokio::test]
async fn an_answer_comes_later() {
    let bench = Bench::new("1.8").await;
    bench.standin.script(LIST, When::Always, Fault::Latency(Duration::from_millis(300)));
    let began = Instant::now();
    bench.list().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    bench.finish();
}

#[tokio::test]
async fn retry_after_is_sent_with_a_429() {
    let bench = Bench::new("1.8").await;
    bench.standin.script(LIST, When::Nth(1), Fault::RetryAfter(429, "1".into()));
    let began = Instant::now();
    bench.list().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    bench.finish();
}

#[tokio::test]
async fn faults_last_for_some_calls_for_some_time_or_until_healed() {
    let bench = Bench::new("1.8").await;
    let status = async || bench.create().await.map_or_else(|e| e.fate, |()| Fate::Answered(200));
    let (bad, good) = (Fate::Answered(400), Fate::Answered(200));
    let refuse = || Fault::Refuse(400, Shape::Framework);
    bench.standin.script("POST /v1/sources/*", When::Nth(2), refuse());
    assert_eq!([status().await, status().await, status().await], [good, bad, good]);
    bench.standin.heal();
    bench.standin.script(CREATE, When::For(Duration::from_millis(300)), refuse());
    assert_eq!([status().await, status().await], [bad, bad]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status().await, good);
    bench.standin.script(CREATE, When::Always, refuse());
    assert_eq!(status().await, bad);
    bench.standin.heal();
    assert_eq!(status().await, good);
    bench.finish();
}

#[tokio::test]
async fn a_server_of_some_bytes_a_second_does_not_hold_the_client_for_ever() {
    let mut bench = Bench::new("1.8").await;
    bench.hurry().await;
    bench.standin.script(CREATE, When::Always, Fault::Drip(Duration::from_millis(200)));
    assert_eq!(bench.create().await.unwrap_err().fate, Fate::Unknown);
    bench.finish();
}

#[tokio::test]
async fn a_create_happens_twice() {
    let bench = Bench::new("1.8").await;
    bench.standin.script(CREATE, When::Always, Fault::Twice);
    bench.create().await.unwrap();
    assert_eq!(bench.list().await.unwrap(), 3);
    bench.finish();
}

#[tokio::test]
async fn what_is_deleted_between_two_pages_hides_no_other() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| {
        for n in 0..150 {
            s.add_actor("airbyte/source-faker", &format!("s{n}"), json!({}));
        }
    });
    bench.standin.script(LIST, When::Nth(2), Fault::Latency(Duration::from_millis(500)));
    let delete = async {
        let second = async || bench.standin.log().into_iter().find(|entry| !entry.body["cursor"].is_null());
        let last = until("the second page is asked for", 5, second).await.body["cursor"].clone();
        let gone = |s: &mut State| s.delete_actor(Side::Source, last.as_str().unwrap().parse().unwrap()).is_ok();
        assert!(bench.standin.edit(gone), "the one that the next page begins behind");
    };
    let (listed, ()) = tokio::join!(bench.api.actors(SOURCE, bench.workspace), delete);
    let listed: BTreeSet<Uuid> = listed.unwrap().iter().map(|actor| actor.known.id).collect();
    let there: BTreeSet<Uuid> = bench
        .standin
        .edit(|s| s.actors.iter().filter(|a| a.side == Side::Source && !a.deleted).map(|a| a.id).collect());
    assert_eq!((there.len(), there.difference(&listed).count()), (150, 0));
    bench.finish();
}

#[tokio::test]
async fn pages_that_go_in_circles_are_an_error() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| {
        for n in 0..150 {
            s.add_actor("airbyte/source-faker", &format!("s{n}"), json!({}));
            s.add_workspace(&format!("w{n}"));
        }
    });
    bench.standin.script(LIST, When::Always, Fault::FirstPage);
    bench.standin.script("GET /public/v1/workspaces", When::Always, Fault::FirstPage);
    let errors = [bench.list().await.map(drop).unwrap_err(), bench.api.workspaces().await.map(drop).unwrap_err()];
    assert_eq!(errors.map(|e| e.fate), [Fate::Garbled; 2], "half a list never looks whole");
    assert_eq!(bench.standin.calls(LIST), 2);
    bench.finish();
}

#[tokio::test]
async fn an_answer_that_breaks_the_contract_is_told_with_the_calls_name() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "append").await;
    bench.standin.edit(|s| s.connection_mut(id).unwrap().status = "resting".into());
    let read = bench.api.connection(id).await.unwrap().unwrap();
    assert_eq!(read.known.status, "resting", "a word of a later version is kept");
    let violations = bench.standin.violations();
    assert_eq!(
        bench.standin.has_contract(),
        violations.iter().any(|v| v.starts_with("POST /v1/connections/get answer 200: at "))
    );
    bench.finish();
}
