//! A tenant sees and writes only its own rows, in every table there is or will be.

use super::*;

#[tokio::test]
async fn no_table_lets_a_tenant_see_or_write_anothers_rows() {
    let (registry, admin, options) = fresh().await;
    for (name, connection) in [("a", "crm"), ("b", "billing")] {
        let held = declared(&registry, name, connection).await;
        for (write, result) in write_everything(&registry, &held).await {
            result.unwrap_or_else(|e| panic!("{write}: {e}"));
        }
        registry.begin(&held, &intent(held.connection)).await.unwrap();
        registry.note(&held.tenant, &aam::model::CommitId(name.repeat(40))).await.unwrap();
    }
    let files = ["connectors.d/a/crm.yaml", "connectors.d/b/billing.yaml"];
    registry.set_last_good(&files.map(|f| (f.to_owned(), "x".to_owned())).into()).await.unwrap();

    let session = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::query("SELECT set_config('aam.tenant', 'a', false)").execute(&session).await.unwrap();
    let count = async |pool: &PgPool, sql: String| -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
    };
    for table in tables(&admin).await {
        let of = |tenant: &str| format!("SELECT count(*) FROM {table} WHERE tenant_id = '{tenant}'");
        assert_eq!(count(&session, of("b")).await, 0, "{table}: a sees rows of b");
        if count(&admin, of("b")).await > 0 {
            assert!(count(&session, of("a")).await > 0, "{table}: a does not see its own rows");
        }
        let insert = format!("INSERT INTO {table} (tenant_id) VALUES ('b')");
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&session).await.unwrap_err().to_string();
        assert!(error.contains("row-level security policy"), "{table}: a may write for b: {error}");
        let before = count(&admin, of("b")).await;
        let delete = format!("DELETE FROM {table} WHERE tenant_id = 'b'");
        if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(delete)).execute(&session).await {
            assert!(error.to_string().contains("append-only"), "{table}: {error}");
        }
        assert_eq!(count(&admin, of("b")).await, before, "{table}: a deletes rows of b");
    }
    sqlx::query("SELECT set_config('aam.tenant', '', false)").execute(&session).await.unwrap();
    assert_eq!(count(&session, "SELECT count(*) FROM connections".into()).await, 0, "no tenant set, no rows");
}

#[tokio::test]
async fn every_table_leads_its_key_and_indexes_with_the_tenant() {
    let (_, admin, _) = fresh().await;
    let other: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || ' on ' || i.indrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         JOIN pg_class t ON t.oid = i.indrelid
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
         WHERE t.relnamespace = 'public'::regnamespace AND a.attname <> 'tenant_id' AND t.relname <> '_sqlx_migrations'
         ORDER BY 1",
    )
    .fetch_all(&admin)
    .await
    .unwrap();
    // a connection's id is unique over all tenants: a copied lock is refused
    assert_eq!(other, ["connections_id_key on connections"]);
}

#[tokio::test]
async fn an_id_that_another_tenant_has_is_refused() {
    let (registry, _, _) = fresh().await;
    let first = declared(&registry, "a", "crm").await;
    let second = lease(&registry, "b", first.connection, "test").await.unwrap();
    let name = ConnectionRef::new(tenant("b"), "crm").unwrap();
    let error = registry.declare(&second, &name, &cause("declared")).await.unwrap_err();
    assert!(error.to_string().ends_with("belongs to a connection of another tenant: its lock was copied"), "{error}");
    assert_eq!(registry.connections().await.unwrap().len(), 1);
}
