//! The registry against a real PostgreSQL.

mod managed;
mod port;
mod tenants;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aam::drift::Change;
use aam::drift::rename::{Arrival, Arrivals};
use aam::model::{Catalog, ConnectionId, ConnectionRef, Fingerprint, TenantId};
use aam::ports::*;
use aam::registry::PgRegistry;
use aam::spec::Rejection;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

use crate::support;

/// A registry on a fresh database whose owner is no superuser, so that row-level security holds; and a pool that sees
/// everything.
async fn fresh() -> (PgRegistry, PgPool, PgConnectOptions) {
    let admin = support::database().await;
    let pool = PgPoolOptions::new().max_connections(3).connect_with(admin.clone()).await.unwrap();
    sqlx::raw_sql(
        "SELECT pg_advisory_lock(1);
         DO $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'registry_owner') THEN
                 CREATE ROLE registry_owner LOGIN;
             END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
         END $$;
         SELECT pg_advisory_unlock(1);
         DO $$ BEGIN EXECUTE format('GRANT ALL ON DATABASE %I TO registry_owner', current_database()); END $$;
         GRANT ALL ON SCHEMA public TO registry_owner",
    )
    .execute(&pool)
    .await
    .unwrap();
    let options = admin.username("registry_owner");
    (PgRegistry::open(options.clone()).await.unwrap(), pool, options)
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn cause(summary: &str) -> Cause {
    Cause { actor: "aam".into(), summary: summary.into(), detail: json!({}) }
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn catalog(fields: &[&str]) -> Catalog {
    let fields: BTreeMap<_, _> = fields.iter().map(|f| (*f, "string")).collect();
    Catalog::from_body(&json!({"accounts": {"modes": ["full_refresh"], "fields": fields}})).unwrap()
}

fn fingerprint(fields: &[&str]) -> Fingerprint {
    catalog(fields).fingerprint()
}

async fn lease(registry: &PgRegistry, tenant_name: &str, connection: ConnectionId, holder: &str) -> Option<Lease> {
    registry.lease(&tenant(tenant_name), connection, holder, Duration::from_secs(30)).await.unwrap()
}

/// A declared connection and its lease.
async fn declared(registry: &PgRegistry, tenant_name: &str, name: &str) -> Lease {
    let held = lease(registry, tenant_name, ConnectionId(Uuid::now_v7()), "test").await.unwrap();
    let name = ConnectionRef::new(tenant(tenant_name), name).unwrap();
    registry.declare(&held, &name, &cause("declared")).await.unwrap();
    held
}

fn version(number: u32, fields: &[&str], drift: Option<Uuid>) -> CatalogVersion {
    CatalogVersion {
        version: number,
        fingerprint: fingerprint(fields),
        body: catalog(fields).body(),
        at: time("2026-01-02T03:04:05Z"),
        commit: None,
        approved_by: "rule:additive".into(),
        drift,
    }
}

fn drift(connection: ConnectionId, added: &str) -> DriftRow {
    DriftRow {
        id: Uuid::now_v7(),
        connection,
        base: fingerprint(&["id"]),
        target: fingerprint(&["id", added]),
        status: DriftStatus::Pending,
        changes: vec![
            Change::FieldAdded {
                stream: "accounts".parse().unwrap(),
                field: added.parse().unwrap(),
                after: "string".into(),
            },
            Change::StreamRemoved { stream: aam::model::StreamName::bare("od\0d") },
        ],
        confidence: 0.75,
        automatic: "yes".into(),
        branch: None,
        opened_at: time("2026-01-02T03:04:05Z"),
        changed_at: time("2026-01-02T03:04:05Z"),
        cause: "seen".into(),
    }
}

fn request(connection: ConnectionId, number: u64) -> RequestRow {
    RequestRow {
        connection,
        project: "forge.example.org/acme/config".into(),
        number,
        url: format!("https://forge.example.org/acme/config/pull/{number}"),
        branch: "aam/drift/default/crm".into(),
        subject: Subject::Drift,
        drift: Some(Uuid::from_u128(7)),
        target: fingerprint(&["id", "b"]).to_string(),
        changes: vec!["+ accounts.\u{0}: string".into()],
        by_rule: None,
        state: RequestStanding::Open,
        approvals: Vec::new(),
        by: None,
        commit: None,
        reason: None,
        opened_at: time("2026-01-02T03:04:05Z"),
        changed_at: time("2026-01-02T03:04:05Z"),
    }
}

fn rejection() -> Rejection {
    Rejection {
        fingerprint: fingerprint(&["id", "b"]),
        by: "Ada".into(),
        at: "2026-01-02T03:04:05Z".into(),
        reason: "no\u{0}".into(),
        changes: vec!["+ accounts.\u{0}: string".into()],
    }
}

fn job(id: i64) -> Job {
    Job {
        id,
        state: JobState::Running,
        started_at: time("2026-01-02T03:04:05Z"),
        ended_at: None,
        attempts: 1,
        rows: 10,
        bytes: 100,
        streams: vec![("accounts".parse().unwrap(), 10)],
        error: None,
    }
}

fn intent(connection: ConnectionId) -> Intent {
    Intent {
        id: Uuid::now_v7(),
        connection,
        effect: "create_source".into(),
        key: "aam/x".into(),
        detail: json!({"n": 1}),
        at: time("2026-01-02T03:04:05Z"),
    }
}

/// Does everything that a lease allows; gives the names of the writes and what came of each.
async fn write_everything(registry: &PgRegistry, held: &Lease) -> Vec<(&'static str, Result<(), RegistryError>)> {
    let id = held.connection;
    let name = ConnectionRef::new(held.tenant.clone(), "renamed").unwrap();
    let look = Look { at: time("2026-02-01T00:00:00Z"), seen: Ok(fingerprint(&["id"])) };
    let (catalog, raw) = (catalog(&["id"]), json!({"streams": ["\u{0}", 1e40]}));
    let cause = cause("test");
    let begun = intent(id);
    let object = EngineId("engine-1".into());
    let failed = ConnectionStatus::Failed;
    let arrivals = Arrivals::from([("accounts".parse().unwrap(), Arrival::default())]);
    vec![
        ("renew", registry.renew(held, Duration::from_secs(30)).await),
        ("declare", registry.declare(held, &name, &cause).await),
        ("set_status", registry.set_status(held, failed, Some("no"), None, false, &cause).await),
        ("set_object", registry.set_object(held, ObjectKind::Source, Some(&object), &cause).await),
        ("set_applied", registry.set_applied(held, "digest", Some("secrets"), &cause).await),
        ("set_last_sync", registry.set_last_sync(held, look.at).await),
        ("record_look", registry.record_look(held, &look, Some((&catalog, &raw))).await),
        ("set_arrivals", registry.set_arrivals(held, &arrivals).await),
        ("put_drift", registry.put_drift(held, &drift(id, "b"), &cause).await),
        ("put_request", registry.put_request(held, &request(id, 7), &cause).await),
        ("set_rejections", registry.set_rejections(held, &[rejection()], &cause).await),
        ("record_version", registry.record_version(held, &version(1, &["id"], None), &cause).await),
        ("begin", registry.begin(held, &begun).await),
        ("record_job", registry.record_job(held, &job(1)).await),
        ("settle", registry.settle(held, begun.id).await),
    ]
}

/// Every table of the registry.
async fn tables(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> '_sqlx_migrations'
         ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Every row of every table with the transaction that wrote it: equal before and after means that nothing was written.
async fn state(pool: &PgPool) -> BTreeMap<String, Vec<String>> {
    let mut state = BTreeMap::new();
    for table in tables(pool).await {
        let sql = format!("SELECT ctid::text || ' ' || xmin::text || ' ' || t::text FROM {table} t ORDER BY 1");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        state.insert(table, rows);
    }
    state
}

#[tokio::test]
async fn two_appends_at_the_turn_of_a_month_make_its_partition_once() {
    let (_registry, pool, _) = fresh().await;
    let make = "SELECT ensure_canonical_partitions('2031-05-05T00:00:00Z')";
    let mut first = pool.begin().await.unwrap();
    sqlx::query(make).execute(&mut *first).await.unwrap();
    let other = pool.clone();
    let second = tokio::spawn(async move { sqlx::query(make).execute(&other).await });
    // until it waits for the first one's lock
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() == 0 {
        assert!(!second.is_finished(), "it did not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.commit().await.unwrap();
    second.await.unwrap().unwrap();
}
