//! PostgreSQL as a source: types, names, modes, changes of schema.

use aam::ports::{EngineRead, EngineWrite, Landing, SyncOrder};
use aam::spec::StreamMode::{FullRefreshAppend, FullRefreshOverwrite, IncrementalAppend, IncrementalAppendDedup};

use super::harness::{Bench, landed, lines, place, run, top};

/// A table with every common type and values that break naive readers.
const HOSTILE: &str = r#"
    CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS hstore;
    CREATE TYPE mood AS ENUM ('sad', 'happy, "very"');
    CREATE DOMAIN cents AS numeric(12,2) NOT NULL DEFAULT 0;
    CREATE TYPE pair AS (a int, b text);
    CREATE TABLE everything (
        id int8 PRIMARY KEY, i2 int2, i4 int4 NOT NULL, n numeric, n40 numeric(40,2), f4 float4, f8 float8, m money,
        t text, v varchar(20), c char(5), ci citext, u uuid, b bool, d date, tm time, tz timetz, ts timestamp,
        tstz timestamptz, iv interval, by bytea, j json, jb jsonb, ai int4[], at text[], atz timestamptz[],
        e mood, dom cents, r int4range, ip inet, net cidr, x xml, h hstore, p point, cp pair, bits bit(3)
    );
    COMMENT ON COLUMN everything.t IS 'Free text';
    INSERT INTO everything (id, i4) VALUES (1, 0);
    INSERT INTO everything VALUES (2, -32768, 2147483647, 'NaN', 12345678901234567890123456789012345678.91, 'Infinity',
        1e300, '-12345.67', E'tab\t nl\n cr\r bs\\ quote'' "dq" \\N 😀', '\N', 'ab', 'CaSe', gen_random_uuid(), true,
        'infinity', '24:00:00', '23:59:59.999999+14', '4713-01-01 00:00:00 BC', '-infinity', '1 year 2 mons -3 days',
        '\x00ff5c0a', '{"b": 1, "a": [1, null]}', '{"n": 1234567890123456789012345678901234567890.5}',
        '{1,NULL,3}', ARRAY['a"b', E'c\\d', NULL, '😀'], ARRAY['infinity'::timestamptz], 'happy, "very"', 7.5, '[1,5)',
        '10.0.0.1/8', '10.0.0.0/8', '<a>b</a>', 'k=>"v w"', '(1,2)', '(7,"x,y")', B'101');
    INSERT INTO everything (id, i4, n, f8, t, d, ts, tstz, ai) VALUES (3, -1, 'Infinity', 'NaN', repeat('x', 1000000),
        '5874897-12-31', '294276-12-31 23:59:59.999999', '4714-11-24 00:00:00+00 BC', '{{1,2},{3,4}}');
"#;

#[tokio::test]
async fn the_catalog_names_every_type() {
    let bench = Bench::new().await;
    run(&bench.source, HOSTILE).await;
    let found = bench.engine.discover(&bench.source_handle).await.unwrap();
    let stream = &found.catalog.streams[&"public/everything".parse().unwrap()];
    let mut shown: Vec<String> = stream.columns().iter().map(|(p, f)| format!("{p}: {}", f.shape())).collect();
    shown
        .extend(stream.fields.iter().filter(|(p, _)| p.parent().is_some()).map(|(p, f)| format!("{p}: {}", f.shape())));
    shown.push(format!(
        "key {:?} cursor {}",
        stream.key.iter().map(ToString::to_string).collect::<Vec<_>>(),
        stream.cursor
    ));
    insta::assert_snapshot!(shown.join("\n"), @r#"
    id: integer!
    i2: integer
    i4: integer!
    n: number
    n40: decimal(40,2)
    f4: number
    f8: number
    m: number
    t: string
    v: string
    c: string
    ci: string
    u: string<uuid>
    b: boolean
    d: date
    tm: time
    tz: time_tz
    ts: timestamp
    tstz: timestamp_tz
    iv: string
    by: binary
    j: any
    jb: any
    ai: array
    at: array
    atz: array
    e: string
    dom: decimal(12,2)!
    r: string
    ip: string
    net: string
    x: string
    h: string
    p: string
    cp: object
    bits: string
    ai[]: integer
    at[]: string
    atz[]: timestamp_tz
    key ["id"] cursor any
    "#);
    assert_eq!(stream.fields[&top("t")].description.as_deref(), Some("Free text"));
    assert_eq!(aam::model::json_schema::airbyte_catalog(&found.catalog), found.raw);
}

#[tokio::test]
async fn every_value_lands_as_it_is() {
    let bench = Bench::new().await;
    run(&bench.source, HOSTILE).await;
    let id = bench.configure(vec![bench.stream("public/everything", FullRefreshOverwrite).await]).await;
    let job = bench.sync_ok(&id).await;
    assert_eq!(job.rows, 3);
    // both sides as text, with what differs by intent made alike: JSON, base64, money
    let expected = lines(
        &bench.source,
        "SET timezone = 'UTC'; SELECT ROW(id, i2, i4, n, n40, f4::text::numeric, f8::text::numeric, m::numeric, t, v, c, ci::text,
            u, b, d, tm, tz, ts, tstz, iv, translate(encode(by, 'base64'), E'\n', ''), j::jsonb, jb, to_jsonb(ai), to_jsonb(at),
            to_jsonb(atz), e, dom, r, ip, net, x, h, p, to_jsonb(cp), bits)::text FROM everything ORDER BY id"
            .trim_start_matches("SET timezone = 'UTC'; "),
    )
    .await;
    let landed = lines(
        &bench.landing,
        "SELECT ROW(id, i2, i4, n, n40, f4, f8, m, t, v, c, ci, u, b, d, tm, tz, ts, tstz, iv, by, j, jb, ai, at, atz,
            e, dom, r, ip, net, x, h, p, cp, bits)::text FROM everything ORDER BY id",
    )
    .await;
    assert_eq!(landed, expected);
    let changes = "SELECT DISTINCT (_airbyte_meta -> 'changes')::text FROM everything";
    assert_eq!(lines(&bench.landing, changes).await, "[]");
    let read = bench.landed("public/everything", 2).await;
    assert_eq!(read.len(), 3);
    assert!(read[1].contains(r#""n40":12345678901234567890123456789012345678.91"#), "{}", read[1]);
    assert!(read[1].contains(r#""jb":{"n": 1234567890123456789012345678901234567890.5}"#), "{}", read[1]);
    assert!(read[1].contains(r#""n":"NaN""#), "{}", read[1]);
}

#[tokio::test]
async fn ties_and_infinite_cursors_are_neither_lost_nor_doubled() {
    let bench = Bench::new().await;
    let sql = "CREATE TABLE t (id int PRIMARY KEY, updated_at timestamptz);
        INSERT INTO t VALUES (1, NULL), (2, '2024-01-01'), (3, '2024-01-02'), (9, 'infinity')";
    run(&bench.source, sql).await;
    let id = bench.configure(vec![bench.stream("public/t", IncrementalAppend).await]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 4);
    assert_eq!(bench.sync_ok(&id).await.rows, 0);
    run(&bench.source, "INSERT INTO t VALUES (4, '2024-01-02'), (5, '2024-01-03')").await;
    assert_eq!(bench.sync_ok(&id).await.rows, 2, "a late row at the last cursor value comes, once");
    run(&bench.source, "INSERT INTO t VALUES (6, 'infinity')").await;
    assert_eq!(bench.sync_ok(&id).await.rows, 1);
    assert_eq!(lines(&bench.landing, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await, "1 2 3 4 5 6 9");
}

#[tokio::test]
async fn dedup_keeps_the_newest_row_of_each_key_and_the_reader_sees_it_again() {
    let bench = Bench::new().await;
    let sql = "CREATE TABLE t (id int PRIMARY KEY, updated_at timestamp NOT NULL, v text);
        INSERT INTO t VALUES (1, '2024-01-01', 'a'), (2, '2024-01-01', 'b')";
    run(&bench.source, sql).await;
    let id = bench.configure(vec![bench.stream("public/t", IncrementalAppendDedup).await]).await;
    bench.sync_ok(&id).await;
    let first = bench.read(&"public/t".parse().unwrap(), None, 10).await;
    run(&bench.source, "UPDATE t SET v = 'c', updated_at = '2024-01-02' WHERE id = 1").await;
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, "SELECT id || v FROM t ORDER BY id").await, "1c\n2b");
    let stream = "public/t".parse().unwrap();
    let then = bench.read(&stream, Some(&first.next), 10).await;
    let data: Vec<&str> = then.rows.iter().map(|r| r.data.get()).collect();
    assert_eq!(data, [r#"{"id":1,"updated_at":"2024-01-02T00:00:00","v":"c"}"#]);
    assert!(then.done);
    let place = place(&bench.destination_handle);
    let keys = bench.engine.keys(&place, landed(&stream, &[top("id")])).await.unwrap();
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn a_replaced_table_shows_deletes_and_is_never_half_there() {
    let bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)").await;
    let id = bench.configure(vec![bench.stream("public/t", FullRefreshOverwrite).await]).await;
    bench.sync_ok(&id).await;
    run(&bench.source, "DELETE FROM t WHERE id = 2").await;
    bench.sync_ok(&id).await;
    let sql = "SELECT id || ' generation ' || _airbyte_generation_id FROM t ORDER BY id";
    assert_eq!(lines(&bench.landing, sql).await, "1 generation 2\n3 generation 2");
    run(&bench.source, "DROP TABLE t").await;
    let job = bench.sync(&id).await;
    insta::assert_snapshot!(job.error.unwrap(), @"reading stream public/t of crm: the source has no such table, or the user may not read it");
    assert_eq!(
        lines(&bench.landing, "SELECT count(*)::text FROM t").await,
        "2",
        "a failed sync leaves the table alone"
    );
}

#[tokio::test]
async fn a_changed_schema_changes_the_table() {
    let bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE t (id int PRIMARY KEY, gone text, n int); INSERT INTO t VALUES (1, 'x', 7)").await;
    let id = bench.configure(vec![bench.stream("public/t", FullRefreshAppend).await]).await;
    bench.sync_ok(&id).await;
    let change = "ALTER TABLE t DROP COLUMN gone, ADD COLUMN fresh bool DEFAULT true, ALTER COLUMN n TYPE text";
    run(&bench.source, change).await;
    let job = bench.sync(&id).await;
    insta::assert_snapshot!(job.error.unwrap(), @"reading stream public/t of crm: the source has no field gone any more");
    bench.configure(vec![bench.stream("public/t", FullRefreshAppend).await]).await;
    bench.sync_ok(&id).await;
    let sql = "SELECT ROW(id, n, fresh)::text FROM t ORDER BY _airbyte_raw_id";
    assert_eq!(lines(&bench.landing, sql).await, "(1,7,)\n(1,7,t)");
    let types =
        "SELECT string_agg(attname || ' ' || format_type(atttypid, NULL), ', ' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped";
    insta::assert_snapshot!(lines(&bench.landing, types).await, @"_airbyte_raw_id character varying, _airbyte_extracted_at timestamp with time zone, _airbyte_meta jsonb, _airbyte_generation_id bigint, id bigint, n character varying, fresh boolean");
}

#[tokio::test]
async fn hostile_names_land_and_come_back() {
    let bench = Bench::new().await;
    let long = "n".repeat(60) + "éé";
    run(
        &bench.source,
        &format!(
            r#"CREATE SCHEMA "we""ird é"; CREATE TABLE "we""ird é"."2 tables; --" (
               "a""b'c\" int PRIMARY KEY, "a b" text, "a_b" text, "1st" text, "{}" text, "ORDER" text, "_airbyte_meta" text);
               INSERT INTO "we""ird é"."2 tables; --" VALUES (1, 'x', 'y', 'z', 'long', 'o', 'mine')"#,
            &long[..60]
        ),
    )
    .await;
    let catalog = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    let name = catalog.streams.keys().next().unwrap().to_string();
    let id = bench.configure(vec![bench.stream(&name, FullRefreshOverwrite).await]).await;
    bench.sync_ok(&id).await;
    insta::assert_snapshot!(bench.landed(&name, 5).await.join("\n"), @r#"{"a\"b'c\\":1,"a b":"x","a_b":"y","1st":"z","nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn":"long","ORDER":"o","_airbyte_meta":"mine"}"#);
    let tables =
        "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema LIKE 'we%'";
    insta::assert_snapshot!(lines(&bench.landing, tables).await, @"we_ird_e._2_tables____");
}

#[tokio::test]
async fn two_connections_never_write_one_table() {
    let mut bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let id = bench.configure(vec![bench.stream("public/t", FullRefreshOverwrite).await]).await;
    bench.sync_ok(&id).await;
    bench.connection = aam::model::ConnectionId(uuid::Uuid::now_v7());
    let job = bench.sync(&id).await;
    assert!(job.error.unwrap().contains("belongs to another connection"));
}

#[tokio::test]
async fn errors_hold_no_secret() {
    let mut bench = Bench::new().await;
    bench.source_handle = super::harness::handle(
        "crm",
        "postgres",
        serde_json::json!({"host": "/nowhere", "username": "hunter2secret", "passwort": "hunter2secret"}),
    );
    let error = bench.engine.check(&bench.source_handle).await.unwrap_err();
    insta::assert_snapshot!(error, @"settings of crm: `passwort` is no setting of postgres; did you mean `password`?");
    assert!(bench.engine.check_destination(&bench.destination_handle).await.is_ok());
    let stored = "SELECT (SELECT string_agg(o::text, '') FROM aam_engine.objects o)";
    assert!(!lines(&bench.registry, stored).await.contains("hunter2"));
}

#[tokio::test]
async fn two_who_create_one_destination_at_once_share_it() {
    use aam::ports::{EngineRead, EngineWrite, ObjectKind, OwnerKey};
    let bench = Bench::new().await;
    let owner = OwnerKey("aam/default/warehouse".into());
    let create =
        async || bench.engine.create_endpoint(ObjectKind::Destination, &owner, &bench.destination_handle).await?.await;
    let (one, other) = tokio::join!(create(), create());
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(
        bench.engine.find_endpoint(ObjectKind::Destination, &owner, &bench.destination_handle).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn another_cursor_begins_anew() {
    let bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE t (id int PRIMARY KEY, updated_at timestamp NOT NULL)").await;
    run(
        &bench.source,
        "INSERT INTO t SELECT g, '2024-01-01'::timestamp + g * interval '1 d' FROM generate_series(1, 5) g",
    )
    .await;
    let mut stream = bench.stream("public/t", IncrementalAppendDedup).await;
    let id = bench.configure(vec![stream.clone()]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 5);
    stream.cursor = Some(top("id"));
    bench.configure(vec![stream]).await;
    assert_eq!(bench.sync_ok(&id).await.rows, 5);
    assert_eq!(lines(&bench.landing, "SELECT count(*)::text FROM t").await, "5");
}

#[tokio::test]
async fn a_lost_registry_never_makes_job_numbers_fall() {
    let mut bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let id = bench.configure(vec![bench.stream("public/t", FullRefreshAppend).await]).await;
    bench.sync_ok(&id).await;
    bench.sync_ok(&id).await;
    let last = bench.sync_ok(&id).await.id;
    run(&bench.registry, "DROP SCHEMA aam_engine CASCADE").await;
    run(&bench.registry, include_str!("../../../migrations/0003_engine.sql")).await;
    run(&bench.registry, "ALTER TABLE aam_engine.jobs ADD COLUMN alive_until timestamptz NOT NULL DEFAULT now()").await;
    bench.engine =
        aam::engine::embedded::EmbeddedEngine::open(bench.registry.clone(), aam::connector::Programs::default())
            .await
            .unwrap();
    let id = bench.configure(vec![bench.stream("public/t", FullRefreshAppend).await]).await;
    assert!(bench.sync(&id).await.error.unwrap().contains("later jobs count on"));
    assert_eq!(bench.sync_ok(&id).await.id, last + 1);
    assert_eq!(bench.landed("public/t", 10).await.len(), 4);
}

#[tokio::test]
async fn a_missing_field_is_null_where_the_policy_is_to_continue() {
    let bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE t (id int PRIMARY KEY, gone text); INSERT INTO t VALUES (1, 'x')").await;
    let id = bench.configure(vec![bench.stream("public/t", FullRefreshOverwrite).await]).await;
    run(&bench.source, "ALTER TABLE t DROP COLUMN gone").await;
    let order = SyncOrder { missing_as_null: true, ..bench.order(&id) };
    bench.engine.start_sync(&order).await.unwrap();
    assert_eq!(bench.ended(&id).await.error, None);
    assert_eq!(lines(&bench.landing, "SELECT id || ' ' || coalesce(gone, 'null') FROM t").await, "1 null");
}
