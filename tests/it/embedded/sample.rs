//! Values of fields that went and of fields that came, side by side.

use std::path::Path;

use aam::model::FieldPath;
use aam::ports::{EndpointHandle, EngineRead, Records, SampleOrder, Sampler, Samples};
use aam::spec::StreamMode::{FullRefreshAppend, IncrementalAppendDedup};
use serde_json::json;

use super::harness::{Bench, handle, place, run};

/// What a sampling gives, a record a line.
fn told(sampled: &Records) -> String {
    let columns: Vec<_> = sampled.gone.iter().chain(&sampled.present).collect();
    let records = columns.first().map_or(0, |(_, values)| values.len());
    let line = |at: usize| {
        let value = |(path, values): &(&FieldPath, &Vec<Option<String>>)| {
            format!("{path}={}", values[at].as_deref().unwrap_or("NULL"))
        };
        columns.iter().map(value).collect::<Vec<_>>().join(" ")
    };
    (0..records).map(line).collect::<Vec<_>>().join("\n")
}

impl Bench {
    async fn joined(&self, order: &SampleOrder) -> Records {
        match self.engine.sample(order).await.unwrap() {
            Some(Samples::Joined(records)) => records,
            other => panic!("not joined: {other:?}"),
        }
    }

    /// What changed of a stream since `before` was synced.
    async fn changed(&self, before: &aam::ports::ConfiguredStream) -> SampleOrder {
        let now = self.engine.discover(&self.source_handle).await.unwrap().catalog.streams[&before.name].clone();
        let missing = |of: &aam::model::Stream, from: &aam::model::Stream| -> Vec<FieldPath> {
            of.fields.keys().filter(|path| !from.fields.contains_key(*path)).cloned().collect()
        };
        SampleOrder {
            source: self.source_handle.clone(),
            place: place(&self.destination_handle),
            stream: before.name.clone(),
            key: before.key.clone(),
            gone: missing(&before.schema, &now),
            present: now.fields.keys().cloned().collect(),
            before: before.schema.clone(),
            now,
        }
    }
}

#[tokio::test]
async fn landed_values_stand_beside_those_of_the_source() {
    let bench = Bench::new().await;
    run(
        &bench.source,
        "CREATE TABLE accounts (region text, id numeric, rev numeric, fax text, updated_at timestamptz, PRIMARY KEY (region, id));
         INSERT INTO accounts SELECT 'r' || n % 2, n / 2.0, n * 10, NULL, '2026-01-01' FROM generate_series(1, 5) n",
    )
    .await;
    let stream = bench.stream("public/accounts", IncrementalAppendDedup).await;
    let stream = aam::ports::ConfiguredStream { cursor: Some("updated_at".parse().unwrap()), ..stream };
    let id = bench.configure(vec![stream.clone()]).await;
    bench.sync_ok(&id).await;
    run(
        &bench.source,
        "ALTER TABLE accounts RENAME COLUMN rev TO revenue; ALTER TABLE accounts DROP COLUMN fax, ADD COLUMN site text;
         UPDATE accounts SET revenue = 99, site = E'a\\tb' WHERE id = 1; DELETE FROM accounts WHERE id = 2;
         INSERT INTO accounts VALUES ('new', 77, 7, '2026-01-01')",
    )
    .await;
    let order = bench.changed(&stream).await;
    let sampled = bench.joined(&order).await;
    insta::assert_snapshot!(told(&sampled), @"
    fax=NULL rev=20 id=1.00000000000000000000 region=r0 revenue=99 site=a	b updated_at=2026-01-01 00:00:00+00
    fax=NULL rev=10 id=0.50000000000000000000 region=r1 revenue=10 site=NULL updated_at=2026-01-01 00:00:00+00
    fax=NULL rev=30 id=1.5000000000000000 region=r1 revenue=30 site=NULL updated_at=2026-01-01 00:00:00+00
    fax=NULL rev=50 id=2.5000000000000000 region=r1 revenue=50 site=NULL updated_at=2026-01-01 00:00:00+00
    ");

    // Without a key both sides stand apart; and so they do where no key is on both sides.
    let keyless = SampleOrder { key: Vec::new(), ..order.clone() };
    let Some(Samples::Apart(apart)) = bench.engine.sample(&keyless).await.unwrap() else { panic!("joined by nothing") };
    let values = |of: &[Option<String>]| {
        let mut values: Vec<_> = of.iter().map(|value| value.clone().unwrap_or("NULL".into())).collect();
        values.sort();
        values.join(" ")
    };
    assert_eq!(values(&apart.gone[&"rev".parse().unwrap()]), "10 20 30 40 50");
    assert_eq!(values(&apart.present[&"revenue".parse().unwrap()]), "10 30 50 7 99");
    run(&bench.source, "UPDATE accounts SET id = id + 1000").await;
    assert!(
        matches!(bench.engine.sample(&order).await.unwrap(), Some(Samples::Apart(other)) if other.gone == apart.gone)
    );
}

#[tokio::test]
async fn of_what_landed_several_times_the_newest_counts_and_a_large_source_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let write = |header: &str, from: u32| {
        let rows: String = (0..60_000).map(|n| format!("{n},{}\n", n + from)).collect();
        std::fs::write(folder.path().join("things.csv"), format!("{header}\n{rows}")).unwrap();
    };
    let bench = Bench::reading(files(folder.path())).await;
    write("id,old", 0);
    let mut stream = bench.stream("things", FullRefreshAppend).await;
    stream.key = vec!["id".parse().unwrap()];
    let id = bench.configure(vec![stream.clone()]).await;
    bench.sync_ok(&id).await;
    write("id,old", 5);
    bench.sync_ok(&id).await;
    write("id,new", 5);
    let sampled = bench.joined(&bench.changed(&stream).await).await;
    assert_eq!(sampled.gone.values().next().unwrap().len(), 2_000);
    assert_eq!(sampled.gone.values().next(), sampled.present.get(&"new".parse().unwrap()));
}

fn files(folder: &Path) -> EndpointHandle {
    handle("files", "file", json!({ "path": folder.to_str().unwrap() }))
}
