//! Connections: listed whole, read, made and changed.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::pages::{ENDLESS, PAGES_MAX, another, broken, lacking};
use super::{Airbyte, Connection, Kept};
use crate::engine::airbyte::client::Kind;
use crate::engine::airbyte::error::{ApiError, Fate};

/// Connections on a page: a catalog may have megabytes.
const CATALOGS_AT_ONCE: usize = 50;

impl Airbyte {
    /// Every connection of a workspace.
    pub async fn connections(&self, workspace: Uuid) -> Result<Vec<Kept<Connection>>, ApiError> {
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        let take = |texts: Vec<Box<RawValue>>| {
            let before = seen.len();
            for text in texts {
                let one = serde_json::from_str(text.get()).map_err(|_| lacking("/v1/connections/list"))?;
                let one: Kept<Connection> = one;
                // one that comes twice is not two
                if seen.insert(one.known.connection_id) {
                    all.push(one);
                }
            }
            Ok(seen.len() > before)
        };
        self.connection_texts(workspace, take).await?;
        Ok(all)
    }

    /// Every connection of a workspace, deleted ones too, each in the words in which it came. They come with their whole
    /// catalogs: where one answer would be too large, they are asked for page by page. `take` says whether something on a
    /// page was new.
    pub async fn connection_texts(
        &self,
        workspace: Uuid,
        mut take: impl FnMut(Vec<Box<RawValue>>) -> Result<bool, ApiError> + Send,
    ) -> Result<(), ApiError> {
        #[derive(Deserialize)]
        struct Listed {
            connections: Option<Vec<Box<RawValue>>>,
        }
        let path = "/v1/connections/list";
        match self.client.config::<Listed>(Kind::Read, path, &json!({"workspaceId": workspace})).await {
            Err(e) if e.fate == Fate::TooLarge => {}
            found => {
                take(found?.connections.ok_or_else(|| broken("connections", path))?)?;
                return Ok(());
            }
        }
        let path = "/v1/connections/list_paginated";
        for page in 0..PAGES_MAX {
            let rows = json!({"pageSize": CATALOGS_AT_ONCE, "rowOffset": page * CATALOGS_AT_ONCE});
            let body = json!({"workspaceIds": [workspace], "userId": Uuid::nil(), "pagination": rows});
            let found: Listed = self.client.config(Kind::Read, path, &body).await?;
            let found = found.connections.ok_or_else(|| broken("connections", path))?;
            let is_last = found.len() < CATALOGS_AT_ONCE;
            match (take(found)?, is_last) {
                (_, true) => return Ok(()),
                (true, false) => {}
                (false, false) => break,
            }
        }
        Err(ApiError::new(path, Fate::Garbled, ENDLESS))
    }

    /// A connection by id; `None` if it is deleted.
    pub async fn connection(&self, id: Uuid) -> Result<Option<Kept<Connection>>, ApiError> {
        let path = "/v1/connections/get";
        let found: Result<Kept<Connection>, _> =
            self.client.config(Kind::Read, path, &json!({"connectionId": id})).await;
        match found {
            Ok(found) if found.known.connection_id != id => Err(another(path)),
            Ok(found) if found.known.status == "deprecated" => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a connection from a whole `ConnectionCreate`.
    pub async fn create_connection(&self, body: &Value) -> Result<Kept<Connection>, ApiError> {
        let path = "/v1/connections/create";
        let made: Kept<Connection> = self.client.config(Kind::Write, path, body).await?;
        let is = json!({
            "name": made.known.name, "sourceId": made.known.source_id, "destinationId": made.known.destination_id,
        });
        let asked = ["name", "sourceId", "destinationId"].iter().all(|key| is[*key] == body[*key]);
        if asked { Ok(made) } else { Err(another(path)) }
    }

    /// Changes a connection: what is absent stays, a `syncCatalog` replaces the whole. Never clears data, and starts no job.
    pub async fn update_connection(&self, mut body: Value) -> Result<(), ApiError> {
        // without it, streams that changed are refreshed or cleared
        body["skipReset"] = json!(true);
        self.client.config::<Value>(Kind::Write, "/v1/web_backend/connections/update", &body).await.map(drop)
    }
}
