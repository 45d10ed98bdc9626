//! The forms, and values that break naive readers.

use super::*;
use crate::airbyte::standin::landing::Pipe;

#[tokio::test]
async fn both_versions_tables_are_read_as_they_are_written() {
    for version in ["3.0.6", "2.4.0"] {
        let pipe = Pipe::new(version, "incremental", "append_dedup").await;
        pipe.sync().await;
        let mut desk = Desk::of(pipe.to.clone()).fields(&["at", "id", "name", "score"]);
        desk.key = vec![FieldPath::top("id")];
        let data = |news: String| {
            let lines = news.lines().map(|line| line.split_once(' ').unwrap().1.to_owned());
            lines.collect::<Vec<_>>().join("\n").replace("1.500000000", "1.5").replace("2.000000000", "2")
        };
        assert_eq!(
            data(desk.news().await),
            "of job 1: {\"at\":\"2026-01-01T00:00:00\",\"id\":1,\"name\":\"Ann\",\"score\":1.5}\n\
             of job 1: {\"at\":\"2026-01-02T00:00:00\",\"id\":2,\"name\":\"Bob\",\"score\":null}",
            "{version}"
        );
        pipe.change("UPDATE users SET name = 'Anna', at = '2026-02-01', score = 2 WHERE id = 1").await;
        pipe.sync().await;
        let anna = r#"of job 2: {"at":"2026-02-01T00:00:00","id":1,"name":"Anna","score":2}"#;
        assert_eq!(data(desk.news().await), anna, "{version}");
        assert_eq!(desk.keys().await.unwrap(), "[[1],[2]]");
        pipe.finish();
    }
}

#[tokio::test]
async fn raw_only_rows_come_with_everything_the_source_said() {
    // 2.x, of before there was meta, and 3.x, whose name for it ends in a hash
    let long = "u".repeat(60);
    for (stream, table, columns) in [
        (
            "users",
            "landed_raw__stream_users".to_owned(),
            "_airbyte_raw_id varchar, _airbyte_data jsonb, _airbyte_extracted_at timestamptz",
        ),
        ("Users_", "landed_raw__stream_users_".to_owned(), RAW),
        (long.as_str(), format!("landed_raw__stream_{}_13306604", "u".repeat(35)), RAW),
        (long.as_str(), format!("landed_raw__stream_{}", "u".repeat(44)), RAW),
    ] {
        let mut desk = Desk::new().await;
        desk.stream = StreamName::bare(stream);
        desk.key = vec!["id".parse().unwrap(), "at.home".parse().unwrap()];
        desk.run(&format!(
            "CREATE TABLE airbyte_internal.{table} ({columns});
             INSERT INTO airbyte_internal.{table} (_airbyte_raw_id, _airbyte_data)
             VALUES ('r', '{{\"id\": 1, \"more\": [1.50], \"at\": {{\"home\": true}}}}')"
        ))
        .await;
        assert_eq!(desk.news().await, r#"r of job 0: {"at": {"home": true}, "id": 1, "more": [1.50]}"#, "{stream}");
        assert_eq!(desk.keys().await.unwrap(), "[[1,true]]");
    }
}

#[tokio::test]
async fn typed_rows_come_before_raw_ones_unless_only_raw_ones_are_written() {
    let mut desk = Desk::with_users().await;
    desk.run(&user("typed", 1, 1, 1, "Ann")).await;
    desk.run(&format!(
        "CREATE TABLE airbyte_internal.landed_raw__stream_users ({RAW});
         INSERT INTO airbyte_internal.landed_raw__stream_users VALUES ('raw', '{{\"id\": 1}}')"
    ))
    .await;
    assert_eq!(desk.news().await, r#"typed of job 1: {"id":1,"name":"Ann"}"#);
    desk.setting("disable_type_dedupe", json!(true));
    assert_eq!(desk.news().await, r#"raw of job 0: {"id": 1}"#);
}

#[tokio::test]
async fn a_table_that_is_not_airbytes_is_passed_over() {
    let mut desk = Desk::new().await;
    desk.run(&format!(
        "CREATE TABLE landed.users (id int, name text); INSERT INTO landed.users VALUES (7, 'model');
         CREATE TABLE airbyte_internal.landed_raw__stream_users ({RAW});
         INSERT INTO airbyte_internal.landed_raw__stream_users VALUES ('raw', '{{\"id\": 1}}')"
    ))
    .await;
    assert_eq!(desk.news().await, r#"raw of job 0: {"id": 1}"#);
}

#[tokio::test]
async fn errors_in_meta_of_old_rows_and_none_at_all_are_job_0() {
    let mut desk = Desk::new().await;
    desk.run(&users().replace("_airbyte_meta jsonb NOT NULL", "_airbyte_meta jsonb")).await;
    for (raw, meta) in [
        ("a", "'{\"errors\": [\"bad\"]}'"),
        ("b", "NULL"),
        ("c", "'{\"changes\": []}'"),
        ("d", "'[]'"),
        ("e", "'{\"sync_id\": null}'"),
        ("f", "'{\"sync_id\": 12}'"),
    ] {
        desk.run(&format!("INSERT INTO landed.users VALUES ('{raw}', '2026-01-01', {meta}, 0, 1, NULL)")).await;
    }
    let jobs: Vec<String> = desk.news().await.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(jobs.join(", "), "a of job 0, b of job 0, c of job 0, d of job 0, e of job 0, f of job 12");
}

#[tokio::test]
async fn values_stay_exact() {
    let mut desk = Desk::new().await.fields(&["n", "u", "t", "tz", "d", "gone", "text"]);
    desk.run(&format!(
        "CREATE TABLE landed.users ({META}, n numeric, u jsonb, t timestamp, tz timestamptz, d date, text varchar, extra int);
         INSERT INTO landed.users VALUES
         ('a', '2026-01-01', '{{}}', 0, 12345678901234567890123456789.000000000000000000012300, '\"union\"', 'infinity',
          '2026-06-01 12:00:00.123456+02', '0044-03-15 BC', E'\\\\ \" \\n é', 1),
         ('b', '2026-01-02', '{{}}', 0, 'NaN', '{{\"k\": 1.10}}', NULL, NULL, NULL, NULL, 2)"
    ))
    .await;
    insta::assert_snapshot!(desk.news().await, @r#"
    a of job 0: {"n":12345678901234567890123456789.000000000000000000012300,"u":"union","t":"infinity","tz":"2026-06-01T10:00:00.123456+00:00","d":"0044-03-15 BC","text":"\\ \" \n é"}
    b of job 0: {"n":"NaN","u":{"k": 1.10},"t":null,"tz":null,"d":null,"text":null}
    "#);
}

#[tokio::test]
async fn keys_leave_out_rows_that_are_marked_as_deleted() {
    let mut desk = Desk::new().await.fields(&["Id", "_ab_cdc_deleted_at"]);
    desk.key = vec![FieldPath::top("Id")];
    desk.run(&format!(
        "CREATE TABLE landed.users ({META}, \"Id\" bigint, _ab_cdc_deleted_at timestamptz);
         INSERT INTO landed.users VALUES ('a', now(), '{{}}', 0, 1, NULL), ('b', now(), '{{}}', 0, 2, now())"
    ))
    .await;
    assert_eq!(desk.keys().await.unwrap(), "[[1]]");
    assert_eq!(desk.news().await.lines().count(), 2);
    desk.key = vec![FieldPath::top("other")];
    insta::assert_snapshot!(desk.keys().await.unwrap_err(), @r#"reading landing of users: the key other has no column in "landed"."users"; choose a key that has landed"#);
}

#[tokio::test]
async fn grants_lost_at_a_swap_are_told_with_what_mends_them_for_good() {
    let mut desk = Desk::with_users().await;
    let name = format!("reader_{}", desk.db.connect_options().get_database().unwrap());
    desk.run(&format!(
        "CREATE ROLE \"{name}\" LOGIN; GRANT USAGE ON SCHEMA landed TO \"{name}\"; GRANT SELECT ON landed.users TO \"{name}\""
    ))
    .await;
    desk.setting("username", json!(name));
    desk.run(&user("a", 1, 1, 1, "Ann")).await;
    assert_eq!(desk.news().await.lines().count(), 1);
    desk.run(&format!("DROP TABLE landed.users; {}", users())).await;
    let error = desk.try_page().await.unwrap_err();
    insta::assert_snapshot!(masked_error(&error).replace(&name, "reader"), @r#"reading landing of users: permission denied for table users; Airbyte loses grants whenever it replaces a table, so run as "postgres": GRANT USAGE ON SCHEMA "landed" TO "reader"; GRANT SELECT ON ALL TABLES IN SCHEMA "landed" TO "reader"; ALTER DEFAULT PRIVILEGES FOR ROLE "postgres" IN SCHEMA "landed" GRANT SELECT ON TABLES TO "reader" [Person]"#);
    let mend = error.why.split_once("run as \"postgres\": ").unwrap().1;
    desk.run(mend).await;
    assert_eq!(desk.news().await, "");
    desk.run(&format!("DROP TABLE landed.users; {}; {}", users(), user("b", 1, 2, 1, "Ann"))).await;
    assert_eq!(desk.news().await.lines().count(), 1);
    desk.run(&format!("DROP OWNED BY \"{name}\"; DROP ROLE \"{name}\"")).await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_said() {
    let mut desk = Desk::with_users().await;
    let mut said = Vec::new();
    for (key, value) in [
        ("tunnel_method", json!({"tunnel_method": "SSH_KEY_AUTH", "ssh_key": "hunter2secret"})),
        ("host", Value::Null),
        ("database", json!("nothing_hunter2secret")),
    ] {
        let before = desk.place.clone();
        desk.setting(key, value);
        said.push(masked_error(&desk.try_page().await.unwrap_err()));
        desk.place = before;
    }
    desk.place.destination.connector = "airbyte/destination-bigquery".into();
    said.push(masked_error(&desk.try_page().await.unwrap_err()));
    desk.place.destination.connector = "postgres".into();
    desk.cursor = Some(LandingCursor(json!({"raw_id": "x"})));
    said.push(masked_error(&desk.try_page().await.unwrap_err()));
    insta::assert_snapshot!(said.join("\n"), @"
    destination dwh: `tunnel_method` is SSH_KEY_AUTH, through which aam cannot go; aam reads landed rows from the destination's database itself [Person]
    settings of dwh: `host` is missing [Person]
    connecting to dwh: database \"nothing_***\" does not exist (3D000) [Person]
    destination dwh: events are made from `destination-postgres` only, not `airbyte/destination-bigquery`; aam reads landed rows from the destination's database itself [Person]
    reading landing of users: the stored cursor cannot be read: missing field `table` [Person]
    ");
}
