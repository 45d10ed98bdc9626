//! A stand-in for Airbyte: a server with state that speaks both of its HTTP APIs to the letter, for the calls that `aam`
//! makes and those that a person makes with the web page.
//!
//! Its own truth can be looked into and changed by hand ([`Standin::edit`]), it counts every call, fails by script
//! ([`Standin::script`]), reads and writes real PostgreSQL databases where its sources and destinations name one, and
//! holds every request and every answer against Airbyte's OpenAPI documents where they are at hand ([`Standin::finish`]).
#![allow(dead_code, reason = "tests and the example each use a part")]

mod actors;
pub mod answer;
mod catalog;
mod config_api;
pub mod connections;
mod contract;
pub mod definitions;
mod diff;
mod discover;
pub mod faults;
mod jobs;
mod landing;
mod log;
mod public_api;
mod quartz;
mod server;
pub mod state;
mod tokens;
mod version;
mod wire;

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use faults::{Fault, Rule, When};
use log::Entry;
use server::Shared;
use state::State;

pub use version::Version;

/// A running stand-in; it ends when it is dropped.
pub struct Standin {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
    /// Where it answers: `http://127.0.0.1:4711`.
    pub url: String,
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Standin {
    /// Plays this version, `1.8`, on a free port.
    pub async fn start(version: &str) -> Self {
        Self::on(0, version.parse().expect("a version")).await.expect("a free port")
    }

    /// Plays this version on a free port and holds nothing against the documents: for benchmarks, since a judge takes longer
    /// than both sides.
    pub async fn unjudged(version: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        Self::serve(listener, version.parse().expect("a version"), None).expect("an address")
    }

    /// Plays this version on this port.
    pub async fn on(port: u16, version: Version) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        Self::serve(listener, version, contract::Contract::get())
    }

    fn serve(
        listener: tokio::net::TcpListener,
        version: Version,
        judge: Option<&'static contract::Contract>,
    ) -> std::io::Result<Self> {
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Shared::new(State::new(version), judge);
        let task = tokio::spawn(server::serve(listener, shared.clone()));
        Ok(Self { shared, task, url })
    }

    /// Looks into the truth, or changes it by hand.
    pub fn edit<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state())
    }

    /// Adds a rule: these calls fail like this.
    pub fn script(&self, call: &str, when: When, fault: Fault) {
        self.shared.rules().push(Rule::new(call, when, fault));
    }

    /// Takes all rules back.
    pub fn heal(&self) {
        self.shared.rules().clear();
    }

    /// Applies the calls that were withheld: late, but all the same.
    pub async fn apply_withheld(&self) {
        self.shared.apply_withheld().await;
    }

    /// Every call so far.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log().clone()
    }

    /// How often this was called: `POST /v1/sources/list`.
    pub fn calls(&self, name: &str) -> usize {
        self.shared.log().iter().filter(|entry| entry.name() == name).count()
    }

    /// The calls that ask for a change.
    pub fn writes(&self) -> Vec<String> {
        self.shared.log().iter().filter(|entry| entry.is_write()).map(Entry::name).collect()
    }

    /// How often the source's connector ran a discover.
    pub fn discovers(&self, source: Uuid) -> u32 {
        self.edit(|state| state.conduct(source).discovers)
    }

    /// Starts a sync as Airbyte's own schedule does.
    pub fn start_job(&self, connection: Uuid) {
        let started = jobs::start(&self.shared, connection, "sync", Default::default(), false);
        started.unwrap_or_else(|_| panic!("the sync of {connection} is refused"));
    }

    /// Whether Airbyte's documents are at hand.
    pub fn has_contract(&self) -> bool {
        contract::Contract::get().is_some()
    }

    /// What broke the contract so far; forgotten by that.
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.violations())
    }

    /// To be called at the end of a test: fails if a request or an answer broke the contract.
    pub fn finish(self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the contract was broken:\n{}", violations.join("\n"));
    }

    /// The stream of a source that a test sets, in the Config API's form: with a key `id`.
    pub fn stream(name: &str, properties: &Value) -> Value {
        serde_json::json!({
            "name": name, "jsonSchema": {"type": "object", "properties": properties},
            "supportedSyncModes": ["full_refresh", "incremental"], "sourceDefinedCursor": false,
            "defaultCursorField": [], "sourceDefinedPrimaryKey": [["id"]], "isResumable": true,
        })
    }
}
