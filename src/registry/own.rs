//! Commits that `aam` made, and where the tracked branch was when it was last acted on.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::PgRegistry;
use super::error::transact;
use crate::model::{CommitId, DEFAULT_TENANT, TenantId};
use crate::ports::{OwnCommits, RegistryError, applied, written};

#[async_trait]
impl OwnCommits for PgRegistry {
    async fn note(&self, tenant: &TenantId, commit: &CommitId) -> Result<(), RegistryError> {
        written("note_own", note(self, tenant, commit)).await
    }

    async fn among(&self, commits: &BTreeSet<String>) -> Result<BTreeSet<String>, RegistryError> {
        let asked: Vec<&str> = commits.iter().map(String::as_str).collect();
        let asked = &asked;
        transact("reading which commits are ours", move || async move {
            let sql = "SELECT commit_id FROM own_commits WHERE commit_id = ANY ($1)";
            let found: Vec<String> = sqlx::query_scalar(sql).bind(asked).fetch_all(self.pool()).await?;
            Ok(found.into_iter().collect())
        })
        .await
    }
}

async fn note(registry: &PgRegistry, tenant: &TenantId, commit: &CommitId) -> Result<(), RegistryError> {
    transact("noting a commit as ours", move || async move {
        let mut tx = registry.begin_for(tenant).await?;
        // A repair branch that old is one commit with known edits, by which it is found to be ours; a lock that old is in force.
        sqlx::query("DELETE FROM own_commits WHERE tenant_id = $1 AND at < now() - interval '1 year'")
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO own_commits (tenant_id, commit_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(tenant.as_str())
            .bind(&commit.0)
            .execute(&mut *tx)
            .await?;
        applied("note_own", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Where a branch was when somebody last acted on it.
pub(super) async fn tracked(registry: &PgRegistry, branch: &str) -> Result<Option<CommitId>, RegistryError> {
    transact("reading where the branch was", move || async move {
        let sql = "SELECT commit_id FROM tracked_branches WHERE tenant_id = $1 AND branch = $2";
        let query = sqlx::query_scalar(sql).bind(DEFAULT_TENANT).bind(branch);
        Ok(query.fetch_optional(registry.pool()).await?.map(CommitId))
    })
    .await
}

/// Notes that it is at `now` and no longer at `before`; `false` if somebody else noted another place meanwhile.
pub(super) async fn track(
    registry: &PgRegistry,
    branch: &str,
    before: Option<&CommitId>,
    now: &CommitId,
) -> Result<bool, RegistryError> {
    transact("noting where the branch is", move || async move {
        let done = sqlx::query(
            "INSERT INTO tracked_branches AS t (tenant_id, branch, commit_id) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, branch) DO UPDATE SET commit_id = excluded.commit_id WHERE t.commit_id = $4",
        )
        .bind(DEFAULT_TENANT)
        .bind(branch)
        .bind(&now.0)
        .bind(before.map(|commit| &commit.0))
        .execute(registry.pool())
        .await?;
        Ok(done.rows_affected() > 0)
    })
    .await
}
