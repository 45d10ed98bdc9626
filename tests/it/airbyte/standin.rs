//! The stand-in for Airbyte itself, asked through our own client: what the contract says of Airbyte is true of it.

mod actors;
mod connections;
mod discover;
mod engine;
mod faults;
mod jobs;
pub mod landing;
mod public;
mod reading;
mod session;

use std::time::Duration;

use aam::engine::airbyte::api::Airbyte;
use aam::engine::airbyte::client::{Access, Client, Kind, Manners};
use aam::engine::airbyte::error::ApiError;
use aam::ports::ObjectKind;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::standin::Standin;

/// A stand-in, a client of it, and one source, destination and workspace.
struct Bench {
    standin: Standin,
    api: Airbyte,
    workspace: Uuid,
    /// A Sample Data source of one stream, `users`.
    source: Uuid,
    destination: Uuid,
}

/// A client with its credentials; patient, as the machine may be busy.
fn client(url: &str, credentials: Option<(&str, &str)>) -> Airbyte {
    client_within(Duration::from_secs(20), url, credentials)
}

fn client_within(quick: Duration, url: &str, credentials: Option<(&str, &str)>) -> Airbyte {
    Airbyte::new(Client::new(access(quick, url, credentials)).unwrap())
}

fn access(quick: Duration, url: &str, credentials: Option<(&str, &str)>) -> Access {
    aam::wiring::install_tls();
    let credentials = credentials.map(|(id, secret)| (id.to_owned(), secret.to_owned().into()));
    let manners = Manners { calls_per_second: 1000, quick, check: quick, ..Manners::default() };
    Access { url: url.parse().unwrap(), credentials, manners }
}

impl Bench {
    async fn new(version: &str) -> Self {
        let standin = Standin::start(version).await;
        let api = client(&standin.url, Some(("client", "secret")));
        let (workspace, source, destination) = standin.edit(|state| {
            let source = state.add_actor("airbyte/source-faker", "faker", json!({"count": 10}));
            state.conduct(source).streams = vec![users()];
            let settings = json!({"host": "h", "port": 5432, "database": "d", "username": "u", "schema": "public"});
            (state.workspaces[0].id, source, state.add_actor("airbyte/destination-postgres", "warehouse", settings))
        });
        Self { standin, api, workspace, source, destination }
    }

    /// From now on no answer is waited for longer than a second.
    async fn hurry(&mut self) {
        self.api = client_within(Duration::from_secs(1), &self.standin.url, Some(("client", "secret")));
        self.api.workspaces().await.unwrap();
    }

    /// A call of the Config API, sent once.
    async fn post(&self, path: &str, body: Value) -> Result<Value, ApiError> {
        self.api.client.config(Kind::Write, path, &body).await
    }

    /// A call of the public API, sent once.
    async fn public(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ApiError> {
        self.api.client.public(Kind::Write, method, path, &[], body.as_ref()).await
    }

    /// A list of the public API.
    async fn listed(&self, path: &str, query: &[(&str, String)]) -> Value {
        self.api.client.public(Kind::Read, Method::GET, path, query, None).await.unwrap()
    }

    /// The entries of a fresh discover, all selected, in this mode.
    async fn entries(&self, sync: &str, destination: &str) -> (Value, Value) {
        let found = self.api.discover(self.source).await.unwrap();
        let mut streams = found.catalog.streams;
        for entry in &mut streams {
            entry["config"]["selected"] = json!(true);
            entry["config"]["syncMode"] = json!(sync);
            entry["config"]["destinationSyncMode"] = json!(destination);
            entry["config"]["cursorField"] = if sync == "incremental" { json!(["at"]) } else { json!([]) };
        }
        (json!({ "streams": streams }), json!(found.catalog_id))
    }

    /// A whole `ConnectionCreate`.
    async fn draft(&self, sync: &str, destination: &str) -> Value {
        let (catalog, id) = self.entries(sync, destination).await;
        json!({
            "sourceId": self.source, "destinationId": self.destination, "name": "users", "status": "active",
            "scheduleType": "manual", "sourceCatalogId": id, "nonBreakingChangesPreference": "ignore",
            "namespaceDefinition": "destination", "prefix": "", "syncCatalog": catalog,
        })
    }

    /// Makes a connection.
    async fn connection(&self, sync: &str, destination: &str) -> Uuid {
        let draft = self.draft(sync, destination).await;
        self.api.create_connection(&draft).await.unwrap().known.connection_id
    }

    /// Waits for the newest job of a connection to end; its status.
    async fn ended(&self, connection: Uuid) -> String {
        let look = async || {
            let job = self.api.jobs(connection, 1).await.unwrap().pop()?;
            job.has_ended().then_some(job.status)
        };
        crate::support::world::until("the job ends", 20, look).await
    }

    /// Sets the streams that the source shows.
    fn shows(&self, streams: Vec<Value>) {
        self.standin.edit(|state| state.conduct(self.source).streams = streams);
    }

    /// At the end: nothing broke the contract.
    pub fn finish(self) {
        self.standin.finish();
    }
}

/// The stream `users`.
fn users() -> Value {
    Standin::stream(
        "users",
        &json!({"id": {"type": "integer"}, "name": {"type": ["null", "string"]},
            "at": {"type": "string", "format": "date-time"}}),
    )
}

const SOURCE: ObjectKind = ObjectKind::Source;
