//! Any PostgreSQL as a source: tables, partitioned tables as one, views and materialized views of several schemas.
//!
//! Everything is read in read-only transactions, and with settings that make text output the same on every server.
//! A stream is one COPY out of one snapshot, ordered so that it can be taken up after every batch.

mod catalog;
mod connect;
mod position;
mod read;
mod types;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;

pub use connect::{COMMON_KEYS, connect, ident, literal, options};

use super::{BatchSink, Connector, ReadOrder, Settings, database_error};
use crate::model::json_schema;
use crate::ports::{Discovered, EndpointHandle, EngineError};

/// A PostgreSQL source.
pub struct Postgres {
    endpoint: EndpointHandle,
    options: PgConnectOptions,
    /// Only these schemas; `None`: all that are not the system's.
    schemas: Option<Vec<String>>,
}

impl Postgres {
    /// Checks the settings; connects to nothing yet.
    pub fn open(endpoint: &EndpointHandle) -> Result<Self, EngineError> {
        let keys: Vec<&str> = COMMON_KEYS.iter().copied().chain(["schemas"]).collect();
        let settings = Settings::open(endpoint, &keys)?;
        let schemas = settings.list("schemas")?.filter(|s| !s.is_empty());
        Ok(Self { endpoint: endpoint.clone(), options: options(&settings)?, schemas })
    }

    fn error(&self, what: &str) -> impl Fn(sqlx::Error) -> EngineError {
        let what = format!("{what} {}", self.endpoint.name);
        move |e| database_error(&self.endpoint, what.clone(), &e)
    }
}

#[async_trait]
impl Connector for Postgres {
    async fn check(&self) -> Result<(), EngineError> {
        let mut connection = connect(&self.endpoint, &self.options).await?;
        let wrong = self.error("checking source");
        connect::begin_reading(&mut connection).await.map_err(&wrong)?;
        if let Some(schemas) = &self.schemas {
            let missing = catalog::missing_schemas(&mut connection, schemas).await.map_err(&wrong)?;
            if !missing.is_empty() {
                let settings = Settings::open(&self.endpoint, &[COMMON_KEYS, &["schemas"]].concat())?;
                let names = missing.iter().map(|s| super::clean(s)).collect::<Vec<_>>().join(", ");
                return Err(
                    settings.wrong("schemas", &format!("names schemas that the database does not have: {names}"))
                );
            }
        }
        Ok(())
    }

    async fn discover(&self) -> Result<Discovered, EngineError> {
        let mut connection = connect(&self.endpoint, &self.options).await?;
        let wrong = self.error("discovering source");
        connect::begin_reading(&mut connection).await.map_err(&wrong)?;
        let found = catalog::relations(&mut connection, self.schemas.as_deref(), None).await.map_err(&wrong)?;
        let catalog = catalog::catalog(&found);
        Ok(Discovered { raw: json_schema::airbyte_catalog(&catalog), catalog })
    }

    async fn read(&self, order: &ReadOrder, sink: BatchSink) -> Result<(), EngineError> {
        let mut connection = connect(&self.endpoint, &self.options).await?;
        read::read(&self.endpoint, &mut connection, order, &sink).await
    }
}
