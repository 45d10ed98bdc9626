//! Following new rows: nothing is lost, nothing is told without end.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_stream_without_a_table_yet_has_no_rows_and_the_first_ones_are_read_when_it_comes() {
    let mut desk = Desk::new().await;
    assert_eq!(desk.news().await, "");
    assert_eq!(desk.keys().await.unwrap(), "[]");
    desk.run(&users()).await;
    assert_eq!(desk.news().await, "");
    desk.run(&user("a", 1, 1, 1, "Ann")).await;
    assert_eq!(desk.news().await, r#"a of job 1: {"id":1,"name":"Ann"}"#);
}

#[tokio::test]
async fn what_is_unchanged_moves_no_cursor() {
    let mut desk = Desk::with_users().await;
    desk.run(&user("a", 1, 1, 1, "Ann")).await;
    desk.news().await;
    let before = desk.cursor.clone();
    desk.run("CREATE TABLE other ()").await;
    desk.run("VACUUM ANALYZE landed.users").await;
    assert_eq!(desk.news().await, "");
    assert_eq!(desk.cursor, before);
}

#[tokio::test]
async fn a_row_committed_late_below_the_maximum_is_read() {
    let mut desk = Desk::with_users().await;
    // in a savepoint, too: its rows carry a transaction number of their own, which no snapshot lists
    let mut late = desk.db.begin().await.unwrap();
    for sql in [user("late", 1, 1, 1, "Ann"), "SAVEPOINT s".into(), user("saved", 2, 1, 2, "Bob"), "RELEASE s".into()] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *late).await.unwrap();
    }
    desk.run(&user("early", 3, 1, 3, "Cid")).await;
    assert_eq!(desk.news().await, r#"early of job 1: {"id":3,"name":"Cid"}"#);
    late.commit().await.unwrap();
    insta::assert_snapshot!(desk.news().await, @r#"
    late of job 1: {"id":1,"name":"Ann"}
    saved of job 1: {"id":2,"name":"Bob"}
    "#);
    assert_eq!(desk.news().await, "");
}

#[tokio::test]
async fn a_long_transaction_elsewhere_brings_no_row_twice() {
    let mut desk = Desk::with_users().await;
    desk.page = 2;
    let mut long = desk.db.begin().await.unwrap();
    sqlx::raw_sql("CREATE TABLE other ()").execute(&mut *long).await.unwrap();
    for n in 1..=5 {
        desk.run(&user(&format!("r{n}"), n, 1, i64::from(n), "x")).await;
    }
    assert_eq!(desk.news().await.lines().count(), 5);
    desk.run(&user("r6", 1, 2, 6, "x")).await;
    assert_eq!(desk.news().await, r#"r6 of job 2: {"id":6,"name":"x"}"#);
    long.commit().await.unwrap();
    assert_eq!(desk.news().await, "");
}

#[tokio::test]
async fn an_upsert_in_place_is_seen_even_if_it_moves_the_time_backwards() {
    let mut desk = Desk::with_users().await;
    desk.run(&format!("{}; {}", user("a", 10, 1, 1, "Ann"), user("b", 20, 1, 2, "Bob"))).await;
    desk.news().await;
    desk.run(
        "UPDATE landed.users SET name = 'Anna', _airbyte_raw_id = 'c', _airbyte_meta = '{\"sync_id\": 2}',
         _airbyte_extracted_at = '2025-01-01' WHERE id = 1",
    )
    .await;
    assert_eq!(desk.news().await, r#"c of job 2: {"id":1,"name":"Anna"}"#);
}

/// Makes a new `landed.users` and puts it in the place of the old one, as Airbyte does.
fn swap(rows: &[String]) -> String {
    let filled: String = rows.iter().map(|row| format!("{};", row.replace("landed.users", "landed.fresh"))).collect();
    format!(
        "{}; {filled} BEGIN; DROP TABLE landed.users; ALTER TABLE landed.fresh RENAME TO users; COMMIT",
        users().replace("landed.users", "landed.fresh")
    )
}

#[tokio::test]
async fn a_swapped_in_table_is_read_whole_even_in_the_same_generation() {
    let mut desk = Desk::with_users().await;
    desk.run(&format!("{}; {}", user("a", 1, 1, 1, "Ann"), user("b", 2, 1, 2, "Bob"))).await;
    desk.news().await;
    desk.run(&swap(&[user("c", 1, 2, 1, "Ann"), user("d", 2, 2, 3, "Cid")])).await;
    insta::assert_snapshot!(desk.news().await, @r#"
    c of job 2: {"id":1,"name":"Ann"}
    d of job 2: {"id":3,"name":"Cid"}
    "#);
    desk.key = vec![FieldPath::top("id")];
    assert_eq!(desk.keys().await.unwrap(), "[[1],[3]]");
}

#[tokio::test]
async fn an_older_snapshot_never_sees_a_swapped_table_as_empty() {
    let mut desk = Desk::with_users().await;
    desk.run(&user("a", 1, 1, 1, "Ann")).await;
    desk.news().await;
    let statements = swap(&[user("b", 1, 2, 2, "Bob")]);
    let (before, swapping) = statements.split_once("BEGIN;").unwrap();
    desk.run(before).await;
    let mut swap = desk.db.begin().await.unwrap();
    let swapping = swapping.replace("COMMIT", "");
    sqlx::raw_sql(sqlx::AssertSqlSafe(swapping)).execute(&mut *swap).await.unwrap();
    // the reader waits for the lock; only then does it look
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let db = desk.db.clone();
    let commit = async {
        let is_waiting = async || {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&db).await.unwrap();
            (count > 0).then_some(())
        };
        support::world::until("the reader waits", 20, is_waiting).await;
        swap.commit().await.unwrap();
    };
    let (news, ()) = tokio::join!(desk.news(), commit);
    assert_eq!(news, r#"b of job 2: {"id":2,"name":"Bob"}"#);
}

#[tokio::test]
async fn a_reader_that_gets_no_lock_gives_up_and_none_is_left_behind() {
    let mut desk = Desk::with_users().await;
    desk.run(&user("a", 1, 1, 1, "Ann")).await;
    let mut swap = desk.db.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE landed.users").execute(&mut *swap).await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), desk.try_page()).await.unwrap().unwrap_err();
    insta::assert_snapshot!(masked_error(&error), @"reading landing of users: canceling statement due to lock timeout (55P03) [Retry]");
    swap.rollback().await.unwrap();
    assert_eq!(desk.news().await.lines().count(), 1);
    let left = "SELECT count(*)::text FROM pg_locks WHERE relation = 'landed.users'::regclass";
    let is_free = async || (crate::embedded::harness::lines(&desk.db, left).await == "0").then_some(());
    support::world::until("no lock is left", 20, is_free).await;
}

#[tokio::test]
async fn a_rewritten_table_is_read_again() {
    for rewrite in ["ALTER TABLE landed.users ALTER id TYPE numeric", "VACUUM FULL landed.users"] {
        let mut desk = Desk::with_users().await;
        desk.run(&user("a", 1, 1, 1, "Ann")).await;
        desk.news().await;
        desk.run(rewrite).await;
        assert_eq!(desk.news().await, r#"a of job 1: {"id":1,"name":"Ann"}"#, "{rewrite}");
        assert_eq!(desk.news().await, "", "{rewrite}");
    }
}

#[tokio::test]
async fn of_rows_given_before_only_the_newest_of_each_record_comes_again() {
    let mut desk = Desk::with_users().await;
    desk.key = vec![FieldPath::top("id")];
    for (raw, second, job, id, name) in
        [("a1", 1, 1, 1, "A"), ("b1", 1, 1, 2, "B"), ("a2", 5, 2, 1, "AA"), ("a3", 9, 3, 1, "AAA")]
    {
        desk.run(&user(raw, second, job, id, name)).await;
    }
    assert_eq!(desk.news().await.lines().count(), 4);
    desk.run("ALTER TABLE landed.users ALTER id TYPE numeric").await;
    // and what a new job brought comes whole
    desk.run(&format!("{}; {}", user("b2", 20, 4, 2, "BB"), user("b3", 21, 4, 2, "BBB"))).await;
    desk.page = 2;
    insta::assert_snapshot!(desk.news().await, @r#"
    a3 of job 3: {"id":1,"name":"AAA"}
    b2 of job 4: {"id":2,"name":"BB"}
    b3 of job 4: {"id":2,"name":"BBB"}
    "#);
    desk.run(&user("a4", 22, 5, 1, "A")).await;
    assert_eq!(desk.news().await, r#"a4 of job 5: {"id":1,"name":"A"}"#);
}

#[tokio::test]
async fn another_server_or_too_long_a_pause_begins_anew() {
    let mut desk = Desk::with_users().await;
    desk.run(&user("a", 1, 1, 1, "Ann")).await;
    desk.news().await;
    let stored = desk.cursor.clone().unwrap().0;
    for (path, value) in [
        ("/table/server", json!("elsewhere/1/5")),
        ("/given/below", json!(-(1_i64 << 31))),
        ("/given/below", json!(1_i64 << 40)),
    ] {
        let mut other = stored.clone();
        *other.pointer_mut(path).unwrap() = value;
        desk.cursor = Some(LandingCursor(other));
        assert_eq!(desk.news().await.lines().count(), 1, "{path}");
        assert_eq!(desk.news().await, "", "{path}");
    }
}

#[tokio::test]
async fn pages_of_one_moment_go_on_after_a_kill_and_are_the_same_when_read_twice() {
    let mut desk = Desk::with_users().await;
    desk.page = 3;
    for n in 0..8 {
        // many ties in time
        desk.run(&user(&format!("r{n}"), n / 4, 1, i64::from(n), "x")).await;
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        let again = text(&desk.try_page().await.unwrap().rows);
        let page = desk.page().await;
        assert_eq!(page, again);
        all.push(page);
    }
    let order: Vec<&str> = all.iter().flat_map(|page| page.lines()).map(|line| &line[..2]).collect();
    assert_eq!(order, ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"]);
    assert_eq!(desk.news().await, "");
}

#[tokio::test]
async fn what_changes_while_a_pass_is_under_way_comes_in_the_next_one() {
    let mut desk = Desk::with_users().await;
    desk.page = 2;
    for n in 0..5 {
        desk.run(&user(&format!("r{n}"), 10 + n, 1, i64::from(n), "x")).await;
    }
    assert_eq!(desk.page().await.lines().count(), 2);
    // killed here; a job that ran in between moved a row below the place reached, and removed and added one
    desk.run(
        "UPDATE landed.users SET name = 'y', _airbyte_extracted_at = '2025-01-01' WHERE id = 4;
         DELETE FROM landed.users WHERE id = 3",
    )
    .await;
    desk.run(&user("r9", 1, 2, 9, "z")).await;
    insta::assert_snapshot!(desk.news().await, @r#"
    r2 of job 1: {"id":2,"name":"x"}
    r4 of job 1: {"id":4,"name":"y"}
    r9 of job 2: {"id":9,"name":"z"}
    "#);
    assert_eq!(desk.news().await, "");
}

#[tokio::test]
async fn a_table_replaced_while_a_pass_is_under_way_is_read_from_its_beginning() {
    let mut desk = Desk::with_users().await;
    desk.page = 1;
    desk.run(&format!("{}; {}", user("a", 1, 1, 1, "Ann"), user("b", 2, 1, 2, "Bob"))).await;
    desk.page().await;
    desk.run(&swap(&[user("c", 1, 2, 1, "Ann"), user("d", 2, 2, 3, "Cid")])).await;
    insta::assert_snapshot!(desk.news().await, @r#"
    c of job 2: {"id":1,"name":"Ann"}
    d of job 2: {"id":3,"name":"Cid"}
    "#);
}

#[tokio::test]
async fn of_the_newest_rows_so_many_are_read_as_32_mib_hold() {
    let desk = Desk::with_users().await;
    for n in 1..=5 {
        desk.run(&user(&format!("r{n}"), n, 1, i64::from(n), "")).await;
    }
    let fields = ["id", "name"].map(str::to_owned).into();
    let newest = async |limit: u32| -> Vec<String> {
        let rows = AirbyteLanding.newest(&desk.place, desk.landed(), Newest::After(0), &fields, limit).await.unwrap();
        rows.into_iter().map(|row| row.raw_id).collect()
    };
    assert_eq!(newest(4).await, ["r5", "r4", "r3", "r2"]);
    desk.run("UPDATE landed.users SET name = repeat('x', 10 << 20)").await;
    assert_eq!(newest(4).await, ["r5", "r4", "r3"], "a fourth would be more");
    desk.run("UPDATE landed.users SET name = repeat('x', 40 << 20)").await;
    assert_eq!(newest(4).await, ["r5"], "one is read, however long");
}
