//! An hour in which Airbyte does not answer, on a clock that jumps: one notice, nothing lost, nothing claimed that cannot be
//! known, and few calls. Twenty connections; two hundred with `AAM_FAULTS=all`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aam::reconcile::Reconciler;

use crate::standin::Standin;
use crate::standin::faults::{Fault, When};
use crate::support::clock::Ahead;
use crate::support::world::World;

impl Ahead {
    /// Ten seconds pass, for the wall clock and for the client's breaker.
    async fn pass(&self) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
        self.0.fetch_add(10, Ordering::SeqCst);
    }
}

/// A world of so many connections that share source and destination.
async fn world_of(count: usize, standin: &Standin) -> World {
    aam::wiring::install_tls();
    standin.edit(|state| state.credentials = None);
    let world = World::new(&format!(
        "[engine]\nkind = \"airbyte\"\nmode = \"manage\"\n[airbyte]\nurl = \"{}\"\ncalls_per_second = 500\nsurvey = \"30s\"\n",
        standin.url
    ))
    .await;
    world.source.run("CREATE TABLE accounts (id int PRIMARY KEY, name text NOT NULL)").await;
    let host = crate::support::cluster().display();
    let config = |name: &str| format!("host: {host}, port: 5432, database: {name}, username: postgres");
    let (from, to) = (config(&world.source.name), config(&world.warehouse.name));
    world.write(
        "connectors.d/crm.yaml",
        &format!("kind: source\ntype: postgres\nconfig: {{{from}, schemas: [public]}}\n"),
    );
    world.write(
        "connectors.d/warehouse.yaml",
        &format!("kind: destination\ntype: postgres\nconfig: {{{to}, schema: public}}\n"),
    );
    for n in 0..count {
        world.write(&format!("connectors.d/c{n}.yaml"), SPEC);
    }
    world.commit("all of them");
    world
}

const SPEC: &str = "kind: connection\nsource: crm\ndestination: warehouse\nschedule: manual\ndrift:\n  check: manual\n";

#[tokio::test]
async fn after_an_hour_of_silence_there_is_one_notice_and_nothing_is_lost() {
    let all = std::env::var_os("AAM_FAULTS").is_some_and(|which| which == "all");
    let count = if all { 200 } else { 20 };
    let standin = Standin::start("1.8").await;
    let world = world_of(count, &standin).await;
    let app = world.open().await;
    let clock = Ahead::default();
    let mut doors = app.reconciler.doors().clone();
    doors.clock = Arc::new(clock.clone());
    let reconciler = Reconciler::new(doors, aam::wiring::policy(&app.settings), "test".into());
    // as in a daemon
    reconciler.survey_apart();
    let turn = async || {
        reconciler.survey().await.unwrap();
        reconciler.settle(None, |_| {}).await.unwrap().0
    };
    let standings = async || {
        let report = reconciler.report(&*turn().await).await.unwrap();
        report.connections.iter().map(|c| c.summary.clone()).collect::<Vec<_>>()
    };
    let notices = async |action: &str| {
        let sql = format!("SELECT count(*)::text FROM audit_log WHERE action = 'engine.{action}'");
        world.registry.one(&sql).await
    };
    let all_are = |what: &[String], word: &str| {
        assert_eq!(what.len(), count);
        assert!(what.iter().all(|one| one.contains(word)), "{word}: {what:#?}");
    };
    all_are(&standings().await, "in sync");
    assert_eq!(standin.edit(|s| (s.actors.len(), s.connections.len())), (2, count), "one source for all");

    // an hour: each call is cut off
    standin.script("*", When::Always, Fault::CutBefore);
    let calls = standin.log().len();
    let at = |standin: &Standin| standin.edit(|s| s.connections.iter().filter(|c| c.schedule_type == "basic").count());
    for round in 0..360 {
        clock.pass().await;
        match round {
            100 => {
                world.write("connectors.d/c7.yaml", &SPEC.replace("schedule: manual", "schedule: {every: 6h}"));
                world.commit("sync c7 each six hours");
            }
            50 | 200 => all_are(&standings().await, "not seen since"),
            _ => drop(turn().await),
        }
    }
    let calls = standin.log().len() - calls;
    assert!(calls < 90, "{calls} calls in an hour: more than the breaker allows");
    assert_eq!((notices("unreachable").await.as_str(), notices("back").await.as_str()), ("1", "0"));
    assert_eq!(at(&standin), 0);
    assert!(world.git(&["log", "--format=%s", "-1"]).contains("c7"));

    // it is back: found within a minute, and only what there is to do is done
    standin.heal();
    let calls = standin.log().len();
    for _ in 0..8 {
        clock.pass().await;
        turn().await;
    }
    assert_eq!((notices("unreachable").await.as_str(), notices("back").await.as_str()), ("1", "1"));
    all_are(&standings().await, "in sync");
    assert_eq!(at(&standin), 1, "the commit of that hour is acted on");
    let calls = standin.log().len() - calls;
    assert!(calls < 60, "{calls} calls to catch up with one change");
    standin.finish();
}
