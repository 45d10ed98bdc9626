//! The last good content of each spec file.

use std::collections::BTreeMap;

use super::PgRegistry;
use super::error::transact;
use crate::model::{DEFAULT_TENANT, TenantId};
use crate::ports::{RegistryError, applied};

/// The last good content by path.
pub(super) async fn last_good(registry: &PgRegistry) -> Result<BTreeMap<String, String>, RegistryError> {
    let rows: Vec<(String, String)> = transact("reading last good specs", move || async move {
        Ok(sqlx::query_as("SELECT path, content FROM last_good_specs").fetch_all(registry.pool()).await?)
    })
    .await?;
    Ok(rows.into_iter().collect())
}

/// Replaces the set; writes only what differs.
pub(super) async fn set_last_good(
    registry: &PgRegistry,
    files: &BTreeMap<String, String>,
) -> Result<(), RegistryError> {
    transact("recording last good specs", move || async move {
        let (paths, contents): (Vec<&str>, Vec<&str>) = files.iter().map(|(p, c)| (p.as_str(), c.as_str())).unzip();
        let tenants: Vec<&str> = paths.iter().map(|path| tenant_of(path)).collect();
        let mut tx = registry.pool().begin().await?;
        sqlx::query("DELETE FROM last_good_specs WHERE path <> ALL ($1)").bind(&paths).execute(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO last_good_specs AS l (tenant_id, path, content)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
             ON CONFLICT (tenant_id, path) DO UPDATE SET content = excluded.content, at = now()
             WHERE l.content <> excluded.content",
        )
        .bind(&tenants)
        .bind(&paths)
        .bind(&contents)
        .execute(&mut *tx)
        .await?;
        applied("set_last_good", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Whose a file is: `connectors.d/acme/crm.yaml` and `mappings/acme/crm.yaml` are acme's, entities belong to all.
pub(super) fn tenant_of(path: &str) -> &str {
    match path.split('/').collect::<Vec<_>>()[..] {
        [_, tenant, _, ..] if tenant != "entities" && TenantId::new(tenant).is_ok() => tenant,
        _ => DEFAULT_TENANT,
    }
}

#[cfg(test)]
mod tests {
    use super::tenant_of;

    #[test]
    fn a_folder_is_a_tenant() {
        let tenants = ["connectors.d/crm.yaml", "connectors.d/acme/crm.lock.yaml", "mappings/entities/account.yaml"];
        assert_eq!(tenants.map(tenant_of), ["default", "acme", "default"]);
    }
}
