//! Jobs of connections: started, listed, cancelled.

use serde_json::{Value, json};
use uuid::Uuid;

use super::pages::{PAGE, another, lacking, list, pages};
use super::{Airbyte, ApiJob};
use crate::engine::airbyte::client::Kind;
use crate::engine::airbyte::error::{ApiError, Fate, said};

impl Airbyte {
    /// Starts a sync. While one runs it is refused with 409.
    pub async fn sync(&self, connection: Uuid) -> Result<ApiJob, ApiError> {
        let path = "/v1/connections/sync";
        let answer: Value = self.client.config(Kind::Write, path, &json!({"connectionId": connection})).await?;
        let job = job(&answer).ok_or_else(|| ApiError::new(path, Fate::Garbled, "the answer names no job"))?;
        if job.connection.is_some_and(|of| of != connection) { Err(another(path)) } else { Ok(job) }
    }

    /// Starts a job that reads these streams anew and keeps their rows until they are replaced; `None` where the destination
    /// cannot. While a job runs it is refused with 409.
    pub async fn refresh(&self, connection: Uuid, streams: &[Value]) -> Result<Option<ApiJob>, ApiError> {
        let path = "/v1/connections/refresh";
        let body = json!({"connectionId": connection, "refreshMode": "Merge", "streams": streams});
        let answer: Value = self.client.config(Kind::Write, path, &body).await?;
        match job(&answer) {
            Some(job) if job.connection.is_some_and(|of| of != connection) => Err(another(path)),
            found => Ok(found),
        }
    }

    /// Starts a job that deletes what landed of these streams.
    pub async fn clear(&self, connection: Uuid, streams: &[Value]) -> Result<ApiJob, ApiError> {
        let path = "/v1/connections/clear/stream";
        let body = json!({"connectionId": connection, "streams": streams});
        let answer: Value = self.client.config(Kind::Write, path, &body).await?;
        job(&answer).ok_or_else(|| ApiError::new(path, Fate::Garbled, "the answer names no job"))
    }

    /// The newest jobs of a connection, newest first.
    pub async fn jobs(&self, connection: Uuid, limit: u32) -> Result<Vec<ApiJob>, ApiError> {
        let body = json!({
            "configTypes": ["sync", "reset_connection", "clear", "refresh"], "configId": connection,
            "pagination": {"pageSize": limit, "rowOffset": 0},
        });
        let path = "/v1/jobs/list";
        let answer: Value = self.client.config(Kind::Read, path, &body).await?;
        jobs_of(answer, path)
    }

    /// The jobs of these workspaces that changed since then, newest change first, to the last page.
    pub async fn jobs_since(
        &self,
        workspaces: &[Uuid],
        since: chrono::DateTime<chrono::Utc>,
    ) -> Result<Vec<ApiJob>, ApiError> {
        let path = "/v1/jobs/list_for_workspaces";
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let page = async |offset: usize| {
            let body = json!({
                "configTypes": ["sync", "reset_connection", "clear", "refresh"], "workspaceIds": workspaces,
                "updatedAtStart": since, "orderByField": "updatedAt", "orderByMethod": "DESC",
                "pagination": {"pageSize": PAGE, "rowOffset": offset},
            });
            jobs_of(self.client.config(Kind::Read, path, &body).await?, path)
        };
        pages(page, |job: &ApiJob| job.id).await
    }

    /// Cancels a job, if it is still the one that runs; whether it was: cancelling acts on whatever the connection runs now.
    pub async fn cancel(&self, connection: Uuid, id: i64) -> Result<bool, ApiError> {
        // one that waits behind it may be newer
        let jobs = self.jobs(connection, 20).await?;
        let running = jobs.iter().filter(|job| !job.has_ended()).min_by_key(|job| job.id);
        if running.is_none_or(|job| job.id != id) {
            return Ok(false);
        }
        self.client.config::<Value>(Kind::Write, "/v1/jobs/cancel", &json!({ "id": id })).await.map(|_| true)
    }
}

/// A list of jobs, whole: one that is passed over may be the one that runs, and would make its page look like the last.
fn jobs_of(answer: Value, path: &str) -> Result<Vec<ApiJob>, ApiError> {
    let jobs: Vec<Value> = list("jobs", answer, path)?;
    jobs.iter().map(|one| job(one).ok_or_else(|| lacking(path))).collect()
}

/// `{"job": {…}, "attempts": […]}`; attempts may be wrapped once more.
fn job(answer: &Value) -> Option<ApiJob> {
    let job = answer.get("job")?;
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let attempts: Vec<&Value> = answer.get("attempts").and_then(Value::as_array).into_iter().flatten().collect();
    let last = attempts.last().map(|attempt| attempt.get("attempt").unwrap_or(attempt));
    let why = last.and_then(|attempt| attempt["failureSummary"]["failures"][0]["externalMessage"].as_str());
    let stats = |aggregated: &str, of_attempt: &str| {
        let told = [&job["aggregatedStats"][aggregated], last.map_or(&Value::Null, |last| &last[of_attempt])];
        told.into_iter().find_map(Value::as_u64).unwrap_or_default()
    };
    Some(ApiJob {
        id: job.get("id")?.as_i64()?,
        connection: job.get("configId").and_then(Value::as_str).and_then(|id| id.parse().ok()),
        status: job.get("status")?.as_str()?.to_owned(),
        kind: job.get("configType").and_then(Value::as_str).unwrap_or("sync").to_owned(),
        created_at: number(&job["createdAt"]),
        updated_at: number(&job["updatedAt"]),
        rows: stats("recordsCommitted", "recordsSynced"),
        bytes: stats("bytesCommitted", "bytesSynced"),
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        failure: why.and_then(said),
    })
}
