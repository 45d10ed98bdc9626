//! An installation that is only observed, as an import leaves it.

use serde_json::json;
use uuid::Uuid;

use super::import::{Bench, accounts, small};
use crate::support::world::until;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connections_are_observed_without_a_write_and_with_one_discover_a_source() {
    let bench = Bench::new().await;
    let warehouse = bench.warehouse("Warehouse");
    let sources: Vec<Uuid> = (0..20).map(|n| bench.source(&format!("Source {n}"))).collect();
    for n in 0..200 {
        bench.connect(&format!("C{n}"), (sources[n % 20], warehouse), &[accounts(), small("notes")], &json!({}));
    }
    bench.world.aam_is(0, &["import", "airbyte"]);
    bench.world.commit("Airbyte as it is");
    let seen = "SELECT count(*)::text FROM connections WHERE status = 'ACTIVE' AND look_at IS NOT NULL";
    for start in 0..2 {
        let before = bench.standin.log().len();
        let daemon = bench.world.daemon().await;
        until("all are seen", 120, async || (bench.world.registry.one(seen).await == "200").then_some(())).await;
        // some surveys and turns more
        let surveys = |from: usize| {
            bench.standin.log()[from..].iter().filter(|e| e.name() == "POST /v1/connections/list").count()
        };
        until("it looks again and again", 60, async || (surveys(before) > 5).then_some(())).await;
        daemon.stop().await;
        assert_eq!(bench.standin.writes(), [""; 0], "start {start}");
        assert!(sources.iter().all(|id| bench.standin.discovers(*id) == 1), "start {start}");
        // a look a day is for all connections of a source
        bench.world.registry.run("UPDATE connections SET look_at = look_at - interval '23 hours 30 minutes'").await;
    }
    bench.finish();
}
