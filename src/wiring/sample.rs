//! The private cluster as the playground sees it: a place for sample databases.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};

use crate::registry::ManagedCluster;

/// The private cluster of a playground, shared with its daemon if one runs. [`SampleCluster::stop`] when done.
pub struct SampleCluster(ManagedCluster);

impl SampleCluster {
    /// Starts or joins the cluster of a state folder.
    pub async fn start(state: &Path) -> anyhow::Result<Self> {
        Ok(Self(ManagedCluster::start(state).await?))
    }

    /// The folder of its unix socket.
    pub fn socket(&self) -> anyhow::Result<PathBuf> {
        self.0.options("postgres").get_socket().cloned().context("the private PostgreSQL has no unix socket")
    }

    /// Makes the database if it is not there, and connects as its owner.
    pub async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        self.0.ensure_database(database).await?;
        let connection = self.0.options(database).connect().await;
        connection.with_context(|| format!("connecting to the playground's database {database}"))
    }

    /// Leaves the cluster; it stops when nobody else uses it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.0.stop().await?;
        Ok(())
    }

    /// Stops the cluster of a state folder whoever uses it, and deletes it with all of its databases.
    pub async fn remove(state: &Path) -> anyhow::Result<()> {
        Ok(ManagedCluster::remove(state).await?)
    }
}

/// Ends a connection in good order; what went wrong with it before is the better error.
pub async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!("closing a connection to the playground's database: {error}");
    }
}
