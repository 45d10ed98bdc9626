//! Looks at the source, the catalogs seen, and the versions a connection ran.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, audit, connections, drift, word};
use crate::model::{Catalog, CommitId, ConnectionId, FieldPath, Fingerprint};
use crate::ports::{CatalogVersion, Cause, Lease, Look, RegistryError, applied};
use crate::repair::Trials;

/// What a fingerprint does not cover, by stream and field.
type Notes = BTreeMap<String, BTreeMap<String, Note>>;

#[derive(Serialize, Deserialize)]
struct Note {
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

fn notes_of(catalog: &Catalog) -> Notes {
    let noted = catalog.streams.iter().map(|(name, stream)| {
        let fields = stream.fields.iter().filter(|(_, f)| f.place.is_some() || f.description.is_some());
        let note = |(path, field): (&FieldPath, &crate::model::Field)| {
            (path.to_string(), Note { place: field.place, description: field.description.clone() })
        };
        (name.to_string(), fields.map(note).collect::<BTreeMap<_, _>>())
    });
    noted.filter(|(_, fields)| !fields.is_empty()).collect()
}

fn annotated(what: &'static str, body: &Value, notes: Notes) -> Result<Catalog, Fail> {
    let mut catalog = Catalog::from_body(body).map_err(|e| Fail::broken(what, e.to_string()))?;
    annotate(&mut catalog, notes);
    Ok(catalog)
}

fn annotate(catalog: &mut Catalog, mut notes: Notes) {
    for (name, stream) in &mut catalog.streams {
        let Some(mut fields) = notes.remove(&name.to_string()) else { continue };
        for (path, field) in &mut stream.fields {
            if let Some(note) = fields.remove(&path.to_string()) {
                field.place = note.place;
                field.description = note.description;
            }
        }
    }
}

/// Notes a look. The catalog is kept under its own fingerprint; one that is there is touched only if places,
/// descriptions or the connector's words differ.
pub(super) async fn record_look(
    registry: &PgRegistry,
    lease: &Lease,
    look: &Look,
    catalog: Option<(&Catalog, &Value)>,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording a look";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let before = Shown::last(&mut tx, lease).await?;
        let updated = sqlx::query(
            "UPDATE connections SET look_at = $3, look_seen = $4::text::json WHERE tenant_id = $1 AND id = $2",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(look.at)
        .bind(word::json(&look.seen)?)
        .execute(&mut *tx)
        .await?;
        if updated.rows_affected() == 0 {
            return Err(connections::undeclared(WHAT, lease));
        }
        if let Some((catalog, raw)) = catalog {
            keep(&mut tx, lease, look.at, catalog, raw).await?;
            Shown::carry_over(before, &mut tx, lease).await?;
        }
        applied("record_look", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Takes over the look of another connection of the same source, with its catalog.
pub(super) async fn copy_look(registry: &PgRegistry, lease: &Lease, from: ConnectionId) -> Result<(), RegistryError> {
    transact("taking over a look", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let before = Shown::last(&mut tx, lease).await?;
        sqlx::query(
            "WITH look AS (
                 UPDATE connections AS c SET look_at = o.look_at, look_seen = o.look_seen FROM connections AS o
                 WHERE c.tenant_id = $1 AND c.id = $2 AND o.tenant_id = $1 AND o.id = $3
                 RETURNING o.look_seen ->> 'Ok' AS fingerprint)
             INSERT INTO observed_catalogs (tenant_id, connection_id, fingerprint, body, notes, raw, first_seen_at)
             SELECT tenant_id, $2, fingerprint, body, notes, raw, first_seen_at
             FROM observed_catalogs JOIN look USING (fingerprint) WHERE tenant_id = $1 AND connection_id = $3
             ON CONFLICT DO NOTHING",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(from.0)
        .execute(&mut *tx)
        .await?;
        Shown::carry_over(before, &mut tx, lease).await?;
        applied("record_look", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// A catalog that a source showed, with what was found out then.
#[derive(sqlx::FromRow)]
struct Shown {
    fingerprint: String,
    body: Json<Map<String, Value>>,
    sampled: Option<Json<Map<String, Value>>>,
    trials: Option<Json<Trials>>,
}

impl Shown {
    /// The last one.
    async fn last(tx: &mut PgConnection, lease: &Lease) -> Result<Option<Self>, Fail> {
        let sql = "SELECT fingerprint, body, sampled, trials FROM observed_catalogs
                   WHERE tenant_id = $1 AND connection_id = $2 ORDER BY coalesce(seen_at, first_seen_at) DESC LIMIT 1";
        let query = sqlx::query_as(sql).bind(lease.tenant.as_str()).bind(lease.connection.0);
        Ok(query.fetch_optional(tx).await?)
    }

    /// What was found out of a stream holds while it stays as it is, whatever else the source shows, and no longer: when an
    /// earlier catalog comes back, other things may bear the same names.
    async fn carry_over(before: Option<Self>, tx: &mut PgConnection, lease: &Lease) -> Result<(), Fail> {
        let Some(before) = before else { return Ok(()) };
        let sql = "SELECT o.fingerprint, o.body, o.sampled, o.trials FROM observed_catalogs o
                   JOIN connections c ON c.tenant_id = o.tenant_id AND c.id = o.connection_id
                   WHERE o.tenant_id = $1 AND o.connection_id = $2 AND o.fingerprint = c.look_seen ->> 'Ok'";
        let query = sqlx::query_as::<_, Self>(sql).bind(lease.tenant.as_str()).bind(lease.connection.0);
        let Some(now) = query.fetch_optional(&mut *tx).await?.filter(|now| now.fingerprint != before.fingerprint)
        else {
            return Ok(());
        };
        let stays = |stream: &str| before.body.get(stream) == now.body.get(stream);
        let mut sampled = before.sampled.map(|Json(sampled)| sampled).unwrap_or_default();
        sampled.retain(|stream, _| stays(stream));
        let mut trials = before.trials.map(|Json(trials)| trials).unwrap_or_default();
        trials.retain(|_, trials| !trials.is_empty() && trials.iter().all(|trial| stays(&trial.stream.to_string())));
        sqlx::query(
            "UPDATE observed_catalogs AS o SET seen_at = c.look_at, sampled = $4::text::json, trials = $5::text::json
             FROM connections AS c
             WHERE c.tenant_id = o.tenant_id AND c.id = o.connection_id
               AND o.tenant_id = $1 AND o.connection_id = $2 AND o.fingerprint = $3",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(now.fingerprint)
        .bind(word::json(&sampled)?)
        .bind(word::json(&trials)?)
        .execute(tx)
        .await?;
        Ok(())
    }
}

async fn keep(
    tx: &mut PgConnection,
    lease: &Lease,
    at: DateTime<Utc>,
    catalog: &Catalog,
    raw: &Value,
) -> Result<(), Fail> {
    sqlx::query(
        "INSERT INTO observed_catalogs AS o (tenant_id, connection_id, fingerprint, body, notes, raw, first_seen_at)
         VALUES ($1, $2, $3, $4::text::json, $5::text::json, $6::text::json, $7)
         ON CONFLICT (tenant_id, connection_id, fingerprint) DO UPDATE SET notes = excluded.notes, raw = excluded.raw
         -- json has no equality; the same value is always written as the same text
         WHERE (o.notes::text, o.raw::text) <> (excluded.notes::text, excluded.raw::text)",
    )
    .bind(lease.tenant.as_str())
    .bind(lease.connection.0)
    .bind(catalog.fingerprint().as_str())
    .bind(word::json(&catalog.body())?)
    .bind(word::json(&notes_of(catalog))?)
    .bind(word::json(raw)?)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The catalog last seen with that fingerprint.
pub(super) async fn observed(
    registry: &PgRegistry,
    connection: ConnectionId,
    fingerprint: &Fingerprint,
) -> Result<Option<Catalog>, RegistryError> {
    const WHAT: &str = "reading an observed catalog";
    transact(WHAT, move || async move {
        let row: Option<(Json<Value>, Json<Notes>)> =
            sqlx::query_as("SELECT body, notes FROM observed_catalogs WHERE connection_id = $1 AND fingerprint = $2")
                .bind(connection.0)
                .bind(fingerprint.as_str())
                .fetch_optional(registry.pool())
                .await?;
        row.map(|(body, notes)| annotated(WHAT, &body, notes.0)).transpose()
    })
    .await
}

/// The catalogs last seen, the newest first.
pub(super) async fn past(
    registry: &PgRegistry,
    connection: ConnectionId,
    limit: u32,
) -> Result<Vec<Catalog>, RegistryError> {
    const WHAT: &str = "reading the catalogs that a source showed";
    transact(WHAT, move || async move {
        let rows: Vec<(Json<Value>, Json<Notes>)> = sqlx::query_as(
            "SELECT body, notes FROM observed_catalogs WHERE connection_id = $1 ORDER BY first_seen_at DESC LIMIT $2",
        )
        .bind(connection.0)
        .bind(i64::from(limit))
        .fetch_all(registry.pool())
        .await?;
        rows.into_iter().map(|(body, notes)| annotated(WHAT, &body, notes.0)).collect()
    })
    .await
}

/// What was found out while a source showed a catalog; the names are those of columns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beside {
    Sampled,
    Trials,
}

impl Beside {
    fn column(self) -> &'static str {
        match self {
            Self::Sampled => "sampled",
            Self::Trials => "trials",
        }
    }
}

/// What was found out when the source showed that catalog; the default if nothing was.
pub(super) async fn beside<T: DeserializeOwned + Default + Send + Unpin + 'static>(
    registry: &PgRegistry,
    what: Beside,
    connection: ConnectionId,
    fingerprint: &Fingerprint,
) -> Result<T, RegistryError> {
    transact("reading what was found out of a source", move || async move {
        let column = what.column();
        let sql = format!("SELECT {column} FROM observed_catalogs WHERE connection_id = $1 AND fingerprint = $2");
        let query = sqlx::query_scalar::<_, Option<Json<T>>>(sqlx::AssertSqlSafe(sql));
        let row = query.bind(connection.0).bind(fingerprint.as_str()).fetch_optional(registry.pool()).await?;
        Ok(row.flatten().map(|Json(found)| found).unwrap_or_default())
    })
    .await
}

/// Keeps what was found out beside the catalog that the source showed.
pub(super) async fn set_beside(
    registry: &PgRegistry,
    what: Beside,
    lease: &Lease,
    fingerprint: &Fingerprint,
    found: &(impl Serialize + Sync),
) -> Result<(), RegistryError> {
    transact("keeping what was found out of a source", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let column = what.column();
        let sql = format!(
            "UPDATE observed_catalogs SET {column} = $4::text::json
             WHERE tenant_id = $1 AND connection_id = $2 AND fingerprint = $3"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(lease.tenant.as_str()).bind(lease.connection.0);
        query.bind(fingerprint.as_str()).bind(word::json(found)?).execute(&mut *tx).await?;
        applied(&format!("set_{column}"), tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Adds version n+1, makes it the current one and closes its drift. The version that is there already, with the same
/// fingerprint, changes nothing: a resumed heal may record it again.
pub(super) async fn record_version(
    registry: &PgRegistry,
    lease: &Lease,
    version: &CatalogVersion,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording a catalog version";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let current: i32 =
            sqlx::query_scalar("SELECT version FROM connections WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
                .bind(lease.tenant.as_str())
                .bind(lease.connection.0)
                .fetch_optional(&mut *tx)
                .await?
                .ok_or_else(|| connections::undeclared(WHAT, lease))?;
        let number = i32::try_from(version.version).map_err(|_| Fail::broken(WHAT, "the number is too large"))?;
        if number == current && fingerprint_of(&mut tx, lease, number).await? == version.fingerprint.as_str() {
            return Ok(());
        }
        if number != current + 1 {
            return Err(Fail::broken(WHAT, format!("version {number} cannot follow version {current}")));
        }
        insert_version(&mut tx, lease, number, version).await?;
        sqlx::query("UPDATE connections SET version = $3, fingerprint = $4 WHERE tenant_id = $1 AND id = $2")
            .bind(lease.tenant.as_str())
            .bind(lease.connection.0)
            .bind(number)
            .bind(version.fingerprint.as_str())
            .execute(&mut *tx)
            .await?;
        let repaired = match version.drift {
            Some(id) => drift::close_as_repaired(&mut tx, lease, id, version.at, cause).await?,
            None => false,
        };
        audit::append(&mut tx, &lease.tenant, "catalog.version", Some(lease.connection), cause).await?;
        if repaired {
            audit::append(&mut tx, &lease.tenant, "drift.repaired", Some(lease.connection), cause).await?;
        }
        applied("record_version", tx.commit()).await?;
        Ok(())
    })
    .await
}

async fn fingerprint_of(tx: &mut PgConnection, lease: &Lease, version: i32) -> Result<String, Fail> {
    Ok(sqlx::query_scalar(
        "SELECT coalesce((SELECT fingerprint FROM sync_catalog_versions
                          WHERE tenant_id = $1 AND connection_id = $2 AND version = $3), '')",
    )
    .bind(lease.tenant.as_str())
    .bind(lease.connection.0)
    .bind(version)
    .fetch_one(tx)
    .await?)
}

async fn insert_version(
    tx: &mut PgConnection,
    lease: &Lease,
    number: i32,
    version: &CatalogVersion,
) -> Result<(), Fail> {
    sqlx::query(
        "INSERT INTO sync_catalog_versions
             (tenant_id, connection_id, version, fingerprint, body, at, commit_id, approved_by, drift_id)
         VALUES ($1, $2, $3, $4, $5::text::json, $6, $7, $8, $9)",
    )
    .bind(lease.tenant.as_str())
    .bind(lease.connection.0)
    .bind(number)
    .bind(version.fingerprint.as_str())
    .bind(word::json(&version.body)?)
    .bind(version.at)
    .bind(version.commit.as_ref().map(|c| c.0.as_str()))
    .bind(audit::storable(&version.approved_by))
    .bind(version.drift)
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    version: i32,
    fingerprint: String,
    body: Json<Value>,
    at: DateTime<Utc>,
    commit_id: Option<String>,
    approved_by: String,
    drift_id: Option<Uuid>,
}

/// All versions, oldest first.
pub(super) async fn versions(
    registry: &PgRegistry,
    connection: ConnectionId,
) -> Result<Vec<CatalogVersion>, RegistryError> {
    const WHAT: &str = "reading catalog versions";
    transact(WHAT, move || async move {
        let rows: Vec<VersionRow> = sqlx::query_as(
            "SELECT version, fingerprint, body, at, commit_id, approved_by, drift_id
             FROM sync_catalog_versions WHERE connection_id = $1 ORDER BY version",
        )
        .bind(connection.0)
        .fetch_all(registry.pool())
        .await?;
        let read = |row: VersionRow| {
            Ok(CatalogVersion {
                version: u32::try_from(row.version).unwrap_or(0),
                fingerprint: row.fingerprint.parse().map_err(|e: String| Fail::broken(WHAT, e))?,
                body: row.body.0,
                at: row.at,
                commit: row.commit_id.map(CommitId),
                approved_by: row.approved_by,
                drift: row.drift_id,
            })
        };
        rows.into_iter().map(read).collect()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Field, FieldType, Stream, StreamName};

    #[test]
    fn notes_bring_back_what_the_body_leaves_out() {
        let mut catalog = Catalog::default();
        let stream: &mut Stream = catalog.streams.entry(StreamName::within("public", "a/b")).or_default();
        let mut id = Field::new("integer".parse::<FieldType>().unwrap(), false);
        id.place = Some(3);
        stream.fields.insert("id".parse().unwrap(), id.clone());
        id.place = None;
        id.description = Some("who \"it\" is".to_owned());
        stream.fields.insert("\"weird.name\"".parse().unwrap(), id.clone());
        id.description = None;
        stream.fields.insert("plain".parse().unwrap(), id);

        let mut again = Catalog::from_body(&catalog.body()).unwrap();
        assert_ne!(again, catalog);
        annotate(&mut again, notes_of(&catalog));
        assert_eq!(again, catalog);
    }
}
