//! Which table and which columns: computed from the stream, never parsed back.

use super::*;

/// A table of 3.x with these columns and one row that holds their numbers.
async fn table(desk: &Desk, name: &str, columns: &[&str]) {
    let defined: String = columns.iter().map(|c| format!(", \"{c}\" bigint")).collect();
    let listed: String = columns.iter().map(|c| format!(", \"{c}\"")).collect();
    let values: String = (1..=columns.len()).map(|n| format!(", {n}")).collect();
    desk.run(&format!(
        "CREATE TABLE {name} ({META}{defined});
         INSERT INTO {name} (_airbyte_raw_id, _airbyte_extracted_at, _airbyte_meta, _airbyte_generation_id{listed})
         VALUES ('{}', now(), '{{}}', 0{values})",
        name.replace('"', "").replace("landed.", "")
    ))
    .await;
}

#[tokio::test]
async fn names_longer_than_63_end_in_a_hash_in_3_and_are_cut_in_2() {
    let long = format!("{}_amount", "x".repeat(60));
    for name in [format!("{}_26224247", "x".repeat(54)), long[..63].to_owned()] {
        let mut desk = Desk::new().await.fields(&[&long]);
        desk.stream = StreamName::bare(long.clone());
        table(&desk, &format!("landed.\"{name}\""), &[&name]).await;
        assert_eq!(desk.news().await, format!("{name} of job 0: {{\"{long}\":1}}"));
    }
}

#[tokio::test]
async fn a_leading_digit_gets_an_underscore_in_3_and_the_old_table_stays_behind() {
    let mut desk = Desk::new().await.fields(&["1st"]);
    desk.stream = StreamName::bare("2024");
    table(&desk, "landed.\"2024\"", &["1st"]).await;
    assert_eq!(desk.news().await, r#"2024 of job 0: {"1st":1}"#);
    table(&desk, "landed.\"_2024\"", &["_1st"]).await;
    assert_eq!(desk.news().await, r#"_2024 of job 0: {"1st":1}"#);
}

#[tokio::test]
async fn two_columns_of_one_name_are_numbered_in_the_schemas_order() {
    let mut desk = Desk::new().await.fields(&["a b", "a_b", "a-b", "A b"]);
    table(&desk, "landed.users", &["A_b", "a_b_2", "a_b_1", "a_b"]).await;
    assert_eq!(desk.news().await, r#"users of job 0: {"a b":4,"a_b":3,"a-b":2,"A b":1}"#);
}

#[tokio::test]
async fn a_table_keeps_the_column_names_of_the_version_that_made_it() {
    let mut desk = Desk::new().await.fields(&["1a", "_1a"]);
    table(&desk, "landed.users", &["1a", "_1a"]).await;
    assert_eq!(desk.news().await, r#"users of job 0: {"1a":1,"_1a":2}"#);
}

#[tokio::test]
async fn two_streams_of_one_table_name_are_told_apart_by_their_order_in_the_catalog() {
    let mut desk = Desk::new().await.fields(&["id"]);
    let (crm, shop): (StreamName, StreamName) = ("crm/users".parse().unwrap(), "shop/users".parse().unwrap());
    table(&desk, "landed.users", &["id"]).await;
    // sha1("landed&airbyte&users")
    table(&desk, "landed.users_dd3", &["id"]).await;
    desk.place.streams = vec![shop.clone(), crm.clone()];
    let mut shown = Vec::new();
    for stream in [crm, shop] {
        (desk.stream, desk.cursor) = (stream.clone(), None);
        shown.push(format!("{stream} is {}", desk.news().await));
    }
    insta::assert_snapshot!(shown.join("\n"), @r#"
    crm/users is users_dd3 of job 0: {"id":1}
    shop/users is users of job 0: {"id":1}
    "#);
}

#[tokio::test]
async fn namespace_and_prefix_say_where_the_table_is() {
    let mut desk = Desk::new().await.fields(&["id"]);
    desk.run("CREATE SCHEMA shop; CREATE SCHEMA from_shop").await;
    for (name, namespace, prefix) in [
        ("landed.users", Namespace::Destination, ""),
        ("shop.crm_users", Namespace::Source, "crm_"),
        ("from_shop.users", Namespace::Custom("from_${SOURCE_NAMESPACE}".into()), ""),
        ("shop.x_users", Namespace::Custom("${SOURCE_NAMESPACE}".into()), "x "),
    ] {
        table(&desk, name, &["id"]).await;
        desk.stream = "shop/users".parse().unwrap();
        (desk.place.namespace, desk.place.prefix, desk.cursor) = (namespace, prefix.into(), None);
        assert_eq!(desk.news().await, format!(r#"{name} of job 0: {{"id":1}}"#).replace("landed.", ""));
    }
    // no namespace, and a format that leaves nothing: the destination's own schema
    desk.stream = "users".parse().unwrap();
    desk.place.prefix.clear();
    for namespace in [Namespace::Source, Namespace::Custom(" ${SOURCE_NAMESPACE}".into())] {
        (desk.place.namespace, desk.cursor) = (namespace, None);
        assert_eq!(desk.news().await, r#"users of job 0: {"id":1}"#);
    }
}

#[tokio::test]
async fn temporary_tables_are_never_read() {
    let mut desk = Desk::new().await.fields(&["id"]);
    // those of 3.x end in the hash of the raw name of `users_airbyte_tmp`
    for name in ["users_airbyte_tmp", "users_ab_soft_reset", "landedusersb250e883cebd9c5f301921f741b9ba10"] {
        table(&desk, &format!("landed.{name}"), &["id"]).await;
    }
    desk.run(&format!(
        "CREATE TABLE airbyte_internal.landed_raw__stream_users_airbyte_tmp ({RAW});
         INSERT INTO airbyte_internal.landed_raw__stream_users_airbyte_tmp VALUES ('r', '{{\"id\": 1}}')"
    ))
    .await;
    assert_eq!(desk.news().await, "");
}

#[tokio::test]
async fn hostile_names_are_only_names() {
    let mut desk = Desk::new().await.fields(&["id'); DROP SCHEMA landed; --", "\\\" \u{1} 日"]);
    desk.stream = StreamName::bare("users\"; DROP SCHEMA landed CASCADE; --");
    table(&desk, "landed.\"users___DROP_SCHEMA_landed_CASCADE____\"", &["id____DROP_SCHEMA_landed____", "______"])
        .await;
    insta::assert_snapshot!(desk.news().await, @r#"users___DROP_SCHEMA_landed_CASCADE____ of job 0: {"id'); DROP SCHEMA landed; --":1,"\\\" \u0001 日":2}"#);
}
