//! Every call that came, and what was answered.

use serde_json::Value;

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `POST`
    pub method: String,
    /// Below `/api`, without the query.
    pub path: String,
    /// The query as sent.
    pub query: String,
    /// `null` without one.
    pub body: Value,
    /// `None` while it is not answered, and for ever if it was cut.
    pub status: Option<u16>,
}

/// The calls that change nothing, by the end of their path. All others that are not `GET` write.
const READS: [&str; 17] = [
    "/get",
    "/list",
    "/list_paginated",
    "/list_by_organization_id",
    "/list_for_workspace",
    "/list_for_workspaces",
    "/status",
    "/token",
    "/get_light",
    "/get_without_logs",
    "/check_connection",
    "/check_connection_for_update",
    "/discover_schema",
    "/most_recent_source_actor_catalog",
    "/check",
    "/discover",
    "/diff",
];

impl Entry {
    /// `POST /v1/sources/list`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it asks for a change. A discover that names a connection does: it can pause it.
    pub fn is_write(&self) -> bool {
        let reads = self.method == "GET" || READS.iter().any(|end| self.path.ends_with(end));
        let names_a_connection = self.path.ends_with("/discover_schema") && self.body.get("connectionId").is_some();
        let asks = |key: &str| self.body.get(key) == Some(&Value::Bool(true));
        let refreshes = asks("withRefreshedCatalog") || asks("persist_changes");
        !reads || names_a_connection || refreshes
    }
}
