//! Files as a source: every format, growth, rewriting, globs.

use std::path::Path;

use aam::model::StreamName;
use aam::ports::{EngineRead, JobState};
use aam::spec::StreamMode::{FullRefreshOverwrite, IncrementalAppend};
use serde_json::json;

use super::harness::{Bench, handle, lines};
use crate::support::write;

async fn bench(dir: &Path) -> Bench {
    Bench::reading(handle("exports", "file", json!({"path": dir.to_str().unwrap()}))).await
}

/// The streams with their fields, one per line.
async fn shown(bench: &Bench) -> String {
    let catalog = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    let fields = |s: &aam::model::Stream| {
        let mut all: Vec<String> = s.columns().iter().map(|(p, f)| format!("{p}: {}", f.shape())).collect();
        all.extend(s.fields.iter().filter(|(p, _)| p.parent().is_some()).map(|(p, f)| format!("{p}: {}", f.shape())));
        all.join(", ")
    };
    catalog.streams.iter().map(|(n, s)| format!("{n} ({}) {}", s.cursor, fields(s))).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_format_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "comma.csv",
        "\u{feff}id,name,zip,at,big,,name\n1,\"a, \"\"b\"\"\",01234,2024-01-01T10:00:00Z,12345678901234567890,x,y\n2,,5,2024-01-02 10:00:00+02,1,,\n",
    );
    write(dir.path(), "semi.csv", "a;b\n1,5;true\n2,5;FALSE\n");
    write(dir.path(), "bare.tsv", "1\tx\n2\ty\n");
    write(
        dir.path(),
        "sub/lines.ndjson",
        "{\"id\": 1, \"o\": {\"k\": [1, 2.5]}}\n\n{\"id\": 12345678901234567890123456789012345678901, \"o\": null, \"s\": \"x\"}\n",
    );
    write(dir.path(), "array.json", "[{\"m\": 1}, {\"m\": \"x\"}]");
    std::fs::write(dir.path().join("latin.csv"), [0xff, 0xfe, b'a', 0, b'\n', 0, 0xe9, 0, b'\n', 0]).unwrap();
    write(dir.path(), ".hidden.csv", "no\n1\n");
    let bench = bench(dir.path()).await;
    insta::assert_snapshot!(shown(&bench).await, @r#"
    array (source_defined) m: integer|string
    bare (source_defined) column_1: integer, column_2: string
    comma (source_defined) id: integer, name: string, zip: string, at: timestamp_tz, big: number, column_6: string, name_2: string
    latin (source_defined) a: string
    lines (source_defined) id: number, o: object, s: string, o.k: array, o.k[]: number
    semi (source_defined) a: string, b: boolean
    "#);
    let mut streams = Vec::new();
    for name in ["comma", "semi", "bare", "lines", "array", "latin"] {
        streams.push(bench.stream(name, FullRefreshOverwrite).await);
    }
    let id = bench.configure(streams).await;
    bench.sync_ok(&id).await;
    let mut rows = Vec::new();
    for name in ["comma", "semi", "bare", "lines", "array", "latin"] {
        rows.extend(bench.landed(name, 100).await);
    }
    insta::assert_snapshot!(rows.join("\n"), @r#"
    {"id":1,"name":"a, \"b\"","zip":"01234","at":"2024-01-01T10:00:00+00:00","big":12345678901234567890,"column_6":"x","name_2":"y"}
    {"id":2,"name":null,"zip":"5","at":"2024-01-02T08:00:00+00:00","big":1,"column_6":null,"name_2":null}
    {"a":"1,5","b":true}
    {"a":"2,5","b":false}
    {"column_1":1,"column_2":"x"}
    {"column_1":2,"column_2":"y"}
    {"id":1,"o":{"k": [1, 2.5]},"s":null}
    {"id":12345678901234567890123456789012345678901,"o":null,"s":"x"}
    {"m":1}
    {"m":"x"}
    {"a":"é"}
    "#);
}

#[tokio::test]
async fn a_grown_file_gives_only_its_new_rows_and_a_rewritten_one_all() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "orders.csv", "id,what\n1,a\n2,b");
    let bench = bench(dir.path()).await;
    let id = bench.configure(vec![bench.stream("orders", IncrementalAppend).await]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 2);
    assert_eq!(bench.sync_ok(&id).await.rows, 0, "nothing is new");
    write(dir.path(), "orders.csv", "id,what\r\n1,a\r\n2,b\r\n3,c\r\n");
    assert_eq!(bench.sync_ok(&id).await.rows, 1, "other line endings make no row new");
    write(dir.path(), "orders.csv", "id,what\n1,a\n2,CHANGED\n3,c\n");
    assert_eq!(bench.sync_ok(&id).await.rows, 3, "a rewritten file is read anew");
    write(dir.path(), "orders.csv", "id,what\n1,a\n");
    assert_eq!(bench.sync_ok(&id).await.rows, 1, "a shortened file is a rewritten one");
    write(dir.path(), "orders.csv", "id\n1\n2\n");
    let job = bench.sync(&id).await;
    assert_eq!(job.state, JobState::Failed);
    insta::assert_snapshot!(job.error.unwrap(), @"reading stream orders of exports: the source has no field what any more");
}

#[tokio::test]
async fn values_that_do_not_fit_are_nulled_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "t.csv", "id,at,flag\n1,2024-01-01,true\n");
    let bench = bench(dir.path()).await;
    let id = bench.configure(vec![bench.stream("t", IncrementalAppend).await]).await;
    bench.sync_ok(&id).await;
    write(dir.path(), "t.csv", "id,at,flag\n1,2024-01-01,true\nx,never,2\n99999999999999999999,2024-01-02,false\n");
    bench.sync_ok(&id).await;
    let sql = "SELECT ROW(id, at, flag, _airbyte_meta -> 'changes')::text FROM public.t ORDER BY _airbyte_raw_id";
    insta::assert_snapshot!(lines(&bench.landing, sql).await, @r#"
    (1,2024-01-01,t,[])
    (,,,"[{""field"": ""id"", ""change"": ""NULLED"", ""reason"": ""DESTINATION_SERIALIZATION_ERROR""}, {""field"": ""at"", ""change"": ""NULLED"", ""reason"": ""DESTINATION_SERIALIZATION_ERROR""}, {""field"": ""flag"", ""change"": ""NULLED"", ""reason"": ""DESTINATION_SERIALIZATION_ERROR""}]")
    (,2024-01-02,f,"[{""field"": ""id"", ""change"": ""NULLED"", ""reason"": ""DESTINATION_FIELD_SIZE_LIMITATION""}]")
    "#);
}

#[tokio::test]
async fn files_of_one_stem_are_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    for month in ["01", "02"] {
        write(dir.path(), &format!("{month}/orders.csv"), &format!("id\n{month}0\n"));
    }
    write(dir.path(), "other.csv", "x\n1\n");
    let config = json!({"path": dir.path().to_str().unwrap(), "globs": ["*/orders.csv"], "header": "true"});
    let bench = Bench::reading(handle("exports", "file", config)).await;
    insta::assert_snapshot!(shown(&bench).await, @"orders (source_defined) id: string");
    let id = bench.configure(vec![bench.stream("orders", IncrementalAppend).await]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 2);
    write(dir.path(), "03/orders.csv", "id\n30\n");
    assert_eq!(bench.sync_ok(&id).await.rows, 1);
    let job = bench.engine.jobs(&id, 1).await.unwrap().remove(0);
    assert_eq!(job.streams, vec![(StreamName::bare("orders"), 1)]);
}

#[tokio::test]
async fn globs_that_are_no_list_are_refused() {
    for globs in [json!("*.csv"), json!({"orders": "*.csv"}), json!([["*.csv"]])] {
        let bench = Bench::reading(handle("exports", "file", json!({"path": "/tmp", "globs": globs}))).await;
        let error = bench.engine.discover(&bench.source_handle).await.unwrap_err();
        assert_eq!(error.to_string(), "settings of exports: `globs` must be a list of texts");
    }
}

/// `kinds.xlsx`, `.xls` and `.ods` hold the same cells, but that LibreOffice writes booleans into `.xls` as numbers:
/// `tests/fixtures/files/README.md` says how they were made.
#[tokio::test]
async fn every_kind_of_workbook_reads_alike() {
    for ending in ["xlsx", "xls", "ods"] {
        let book = format!("{}/tests/fixtures/files/kinds.{ending}", env!("CARGO_MANIFEST_DIR"));
        let bench = Bench::reading(handle("exports", "file", json!({"path": book}))).await;
        let catalog = shown(&bench).await.replace("won: integer", "won: boolean");
        insta::allow_duplicates! {
            insta::assert_snapshot!(catalog, @r#"
            kinds (source_defined) id: integer, amount: number, day: date, at: timestamp, clock: string, lasts: string, won: boolean, zip: string, twice: integer, ratio: number
            kinds_More (source_defined) x: string, y: string
            "#);
        }
        let streams = vec![
            bench.stream("kinds", FullRefreshOverwrite).await,
            bench.stream("kinds_More", FullRefreshOverwrite).await,
        ];
        let id = bench.configure(streams).await;
        bench.sync_ok(&id).await;
        let meta = lines(&bench.landing, "SELECT _airbyte_meta::text FROM public.kinds ORDER BY id").await;
        let landed = [bench.landed("kinds", 10).await, bench.landed("kinds_More", 10).await].concat().join("\n");
        let landed = landed.replace("\"won\":1", "\"won\":true").replace("\"won\":0", "\"won\":false");
        insta::allow_duplicates! {
            insta::assert_snapshot!(format!("{landed}\n{meta}"), @r##"
            {"id":1,"amount":10.5,"day":"2024-02-29","at":"2024-02-29T13:30:15","clock":"09:05:00","lasts":"25:30:00","won":true,"zip":"01234","twice":2,"ratio":10.5}
            {"id":2,"amount":-7,"day":"1999-12-31","at":"2024-03-01T00:00:00","clock":"23:59:59","lasts":"01:30:00","won":false,"zip":null,"twice":4,"ratio":null}
            {"id":3,"amount":1000000000000000,"day":null,"at":null,"clock":null,"lasts":null,"won":null,"zip":"#7","twice":6,"ratio":null}
            {"x":"a b","y":"a b!"}
            {"changes": [], "sync_id": 1}
            {"changes": [{"field": "ratio", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}], "sync_id": 1}
            {"changes": [{"field": "ratio", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}], "sync_id": 1}
            "##);
        }
    }
}

#[tokio::test]
async fn flags_and_errors_of_old_workbooks_are_understood() {
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/files/flags.xls");
    let bench = Bench::reading(handle("exports", "file", json!({"path": book}))).await;
    insta::assert_snapshot!(shown(&bench).await, @"flags (source_defined) id: integer, won: boolean, left: number");
    let id = bench.configure(vec![bench.stream("flags", FullRefreshOverwrite).await]).await;
    bench.sync_ok(&id).await;
    insta::assert_snapshot!(bench.landed("flags", 10).await.join("\n"), @r#"
    {"id":1,"won":true,"left":3.5}
    {"id":2,"won":false,"left":null}
    {"id":3,"won":null,"left":4}
    "#);
}

#[tokio::test]
async fn every_sheet_of_a_workbook_is_a_stream() {
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/files/book.xlsx");
    let bench = Bench::reading(handle("exports", "file", json!({"path": book}))).await;
    insta::assert_snapshot!(shown(&bench).await, @r#"
    book (source_defined) id: integer, amount: number, closed: date, won: boolean, zip: string
    book_More (source_defined) x: string
    "#);
    let id = bench.configure(vec![bench.stream("book", IncrementalAppend).await]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 2);
    assert_eq!(bench.sync_ok(&id).await.rows, 0);
    insta::assert_snapshot!(bench.landed("book", 10).await.join("\n"), @r#"
    {"id":1,"amount":10.5,"closed":"2024-02-29","won":true,"zip":"01234"}
    {"id":2,"amount":7,"closed":"2024-03-01","won":false,"zip":null}
    "#);
}
