//! What is counted of events and syncs.

use aam::drift::radius::{Asked, Counted};

use super::*;

/// Events of a stream, one a minute, the last at `until`; every fourth has a fax, the newest 2,000 an extra.
async fn tell(admin: &PgPool, held: &Lease, stream: &str, count: i32, until: &str) {
    sqlx::query(
        "INSERT INTO canonical_streams (tenant_id, connection_id, stream, position, at, id, entity, record_key, op, source,
                                        meta, data, unknown_fields, lineage)
         SELECT $1, $2, $3, n, $5::timestamptz - make_interval(mins => $4 - n), gen_random_uuid(), 'account', n::text,
                'upsert', 'crm', '{}', '{\"name\": \"n\"}'::jsonb || CASE WHEN n % 4 = 0 THEN '{\"fax\": \"1\"}'::jsonb ELSE '{}' END
                || CASE WHEN n > $4 - 2000 THEN '{\"extras\": {\"a.b\": 1}}'::jsonb ELSE '{}' END, '{}', '{}'
         FROM generate_series(1, $4) AS n",
    )
    .bind(held.tenant.as_str())
    .bind(held.connection.0)
    .bind(stream)
    .bind(count)
    .bind(time(until))
    .execute(admin)
    .await
    .unwrap();
    sqlx::query("INSERT INTO canonical_positions (tenant_id, connection_id, stream, last) VALUES ($1, $2, $3, $4)")
        .bind(held.tenant.as_str())
        .bind(held.connection.0)
        .bind(stream)
        .bind(i64::from(count))
        .execute(admin)
        .await
        .unwrap();
}

fn asked(streams: &[&str]) -> Asked {
    let fields = ["name", "fax", "extras.\"a.b\"", "phone"].map(str::to_owned).into();
    let entities = BTreeMap::from([("account".to_owned(), fields)]);
    streams.iter().map(|stream| (stream.parse().unwrap(), entities.clone())).collect()
}

fn shown(usage: &aam::drift::radius::Usage) -> String {
    let mut out = String::new();
    for (stream, entities) in &usage.events {
        for (entity, events) in entities {
            out.push_str(&format!("{stream} {entity}: {} {:?}\n", events.all, events.carrying));
        }
    }
    usage.synced.iter().for_each(|(stream, at)| out.push_str(&format!("{stream} synced {at}\n")));
    out
}

#[tokio::test]
async fn events_of_some_days_are_counted_and_the_share_with_a_field_is_estimated() {
    let (registry, admin, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let other = declared(&registry, "b", "crm").await;
    tell(&admin, &held, "few", 1_000, "2026-01-10T00:00:00Z").await;
    tell(&admin, &held, "many", 20_000, "2026-01-20T00:00:00Z").await;
    tell(&admin, &other, "few", 10, "2026-01-10T00:00:00Z").await;
    let at = |until: &str| Counted { since: time(until) - chrono::TimeDelta::days(7), until: time(until) };
    let asked = asked(&["few", "many", "never"]);

    // Of both all that there were before that moment, an event a minute.
    let before = registry.usage(held.connection, at("2026-01-10T00:00:00Z"), &asked).await.unwrap();
    insta::assert_snapshot!(shown(&before), @r#"
    few account: 999 {"extras.\"a.b\"": 999, "fax": 249, "name": 999}
    many account: 5599 {"fax": 1400, "name": 5599}
    "#);
    // What comes later changes nothing of it.
    sqlx::query("UPDATE canonical_positions SET last = 20001 WHERE stream = 'many'").execute(&admin).await.unwrap();
    assert_eq!(registry.usage(held.connection, at("2026-01-10T00:00:00Z"), &asked).await.unwrap(), before);
    // The newest have what older ones had not, and are taken for all.
    insta::assert_snapshot!(shown(&registry.usage(held.connection, at("2026-01-20T00:00:00Z"), &asked).await.unwrap()), @r#"many account: 10080 {"extras.\"a.b\"": 4030, "fax": 2520, "name": 10080}"#);
}

#[tokio::test]
async fn the_last_good_sync_of_a_stream_is_the_one_that_carried_it() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let ended = |id: i64, minute: u32, state: JobState, streams: &[&str]| Job {
        state,
        ended_at: Some(time(&format!("2026-01-01T00:{minute:02}:00Z"))),
        streams: streams.iter().map(|stream| (stream.parse().unwrap(), 0)).collect(),
        ..job(id)
    };
    for job in [
        ended(1, 1, JobState::Succeeded, &["few", "many"]),
        ended(2, 2, JobState::Succeeded, &["few"]),
        ended(3, 3, JobState::Failed, &["many"]),
        ended(4, 9, JobState::Succeeded, &["few", "many"]),
    ] {
        registry.record_job(&held, &job).await.unwrap();
    }
    let counted = |until: &str| Counted { since: time("2026-01-01T00:00:00Z"), until: time(until) };
    let asked = asked(&["few", "many"]);
    let early = registry.usage(held.connection, counted("2026-01-01T00:05:00Z"), &asked).await.unwrap();
    insta::assert_snapshot!(shown(&early), @r#"
    few synced 2026-01-01 00:02:00 UTC
    many synced 2026-01-01 00:01:00 UTC
    "#);
    let late = ended(5, 10, JobState::Succeeded, &[]);
    registry.record_job(&held, &late).await.unwrap();
    let late = registry.usage(held.connection, counted("2026-01-01T00:10:00Z"), &asked).await.unwrap();
    insta::assert_snapshot!(shown(&late), @r#"
    few synced 2026-01-01 00:10:00 UTC
    many synced 2026-01-01 00:10:00 UTC
    "#);
}
