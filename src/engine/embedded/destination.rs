//! A destination: a PostgreSQL database in which tables land.

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::names::{self, Naming, TableName};
use crate::connector::postgres::{COMMON_KEYS, connect, options};
use crate::connector::{Settings, database_error};
use crate::drift::radius::Tables;
use crate::model::{Catalog, StreamName};
use crate::ports::{EndpointHandle, EngineError, Remedy};
use crate::spec::Config;

/// A destination with its settings checked.
#[derive(Debug)]
pub struct Destination {
    /// Name and secrets, for errors.
    pub endpoint: EndpointHandle,
    /// How to connect.
    pub options: PgConnectOptions,
    schema: String,
    own_schema_only: bool,
}

/// Text forms that do not depend on the server, and the destination's own limits on time out of the way.
const SESSION: &str = "SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET client_encoding = 'UTF8';
    SET client_min_messages = error; SET search_path = public";

impl Destination {
    /// Checks the settings: those of every PostgreSQL, `schema` (default `public`) for streams without a namespace, and
    /// `namespace`: `source` (default) lands each stream in a schema named as at the source, `destination` lands all in
    /// `schema`.
    pub fn open(endpoint: &EndpointHandle) -> Result<Self, EngineError> {
        if endpoint.connector != "postgres" {
            return Err(EngineError {
                what: format!("destination {}", endpoint.name),
                why: "the embedded engine lands in `postgres` only".to_owned(),
                remedy: Remedy::Person,
                retry_after: None,
            });
        }
        let settings = Settings::open(endpoint, &[COMMON_KEYS, &["schema", "namespace"]].concat())?;
        let own_schema_only = match settings.text("namespace")?.as_deref() {
            None | Some("source") => false,
            Some("destination") => true,
            Some(_) => return Err(settings.wrong("namespace", "must be `source` or `destination`")),
        };
        Ok(Self {
            endpoint: endpoint.clone(),
            options: options(&settings)?,
            schema: settings.text("schema")?.unwrap_or_else(|| "public".to_owned()),
            own_schema_only,
        })
    }

    /// A connection of its own, with its session set.
    pub async fn connect(&self) -> Result<PgConnection, EngineError> {
        let mut db = connect(&self.endpoint, &self.options).await?;
        sqlx::raw_sql(SESSION).execute(&mut db).await.map_err(|e| self.error(&e))?;
        Ok(db)
    }

    fn error(&self, error: &sqlx::Error) -> EngineError {
        database_error(&self.endpoint, format!("destination {}", self.endpoint.name), error)
    }

    /// The schema in which a stream lands, as it is asked for.
    pub fn schema_of(&self, stream: &StreamName) -> String {
        let namespace = stream.namespace.clone().filter(|_| !self.own_schema_only);
        namespace.unwrap_or_else(|| self.schema.clone())
    }

    /// The tables of these streams.
    pub fn tables<'a>(&self, streams: impl Iterator<Item = &'a StreamName>) -> Vec<TableName> {
        let streams: Vec<_> = streams.map(|s| (self.schema_of(s), s.name.clone())).collect();
        let table = |schema: &str, name: &str| [Naming::Hashed.table(schema, name)];
        names::apart(&streams, table).into_iter().map(|[table]| table).collect()
    }

    /// Where a catalog lands, as far as a spec tells it.
    pub fn told(config: &Config, catalog: &Catalog) -> Tables {
        let own = names::setting(config, "schema", "public");
        let namespace = names::setting(config, "namespace", "source");
        names::told(catalog, |stream| {
            let schema = match (namespace, &stream.namespace) {
                (Some("source"), Some(namespace)) => Some(namespace.clone()),
                (None, Some(_)) => None,
                _ => own.map(str::to_owned),
            };
            (schema, stream.name.clone())
        })
    }

    /// Tries whether schemas and tables can be made, leaving nothing behind.
    pub async fn check(&self) -> Result<(), EngineError> {
        let mut db = self.connect().await?;
        let mut tx = db.begin().await.map_err(|e| self.error(&e))?;
        super::ledger::create(&mut tx, &Naming::Hashed.identifier(&self.schema)).await.map_err(|e| self.error(&e))?;
        let probe = TableName { schema: Naming::Hashed.identifier(&self.schema), name: "_aam_check".to_owned() };
        let sql = format!("CREATE TABLE {} (); CREATE TEMP TABLE aam_check ()", probe.sql());
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.map_err(|e| self.error(&e))?;
        tx.rollback().await.map_err(|e| self.error(&e))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::ports::ResolvedConfig;
    use crate::spec::connectors::{CONNECTORS, Setting, SettingKind};

    /// Values that `aam check` takes for a setting, one of each form.
    fn taken(setting: &Setting) -> Vec<Value> {
        let of_each = |settings: &[Setting]| settings.iter().map(|s| (s.key.to_owned(), taken(s)[0].clone())).collect();
        match setting.kind {
            SettingKind::Text if setting.key == "encoding" => vec![json!("windows-1252")],
            SettingKind::Text => vec![json!("text")],
            SettingKind::Character => vec![json!(";"), json!("\\t")],
            SettingKind::Integer(low, high) => vec![json!(low), json!(high)],
            SettingKind::List => vec![json!(["a", "b"])],
            SettingKind::Choice(words) => words.iter().map(|word| json!(word)).collect(),
            SettingKind::Boolean => vec![json!(true), json!(false)],
            SettingKind::Date => vec![json!("2024-01-31")],
            SettingKind::Pem => vec![json!("-----BEGIN CERTIFICATE-----")],
            SettingKind::ChoiceOrMap(words, settings) => {
                words.iter().map(|word| json!(word)).chain([Value::Object(of_each(settings))]).collect()
            }
        }
    }

    /// What `aam check` lets through must not fail at the first look or sync.
    #[test]
    fn every_setting_that_the_check_takes_is_taken_here() {
        for connector in CONNECTORS {
            for (is_source, settings) in [(true, connector.source), (false, connector.destination)] {
                let settings = settings.unwrap_or_default();
                let all: Map<String, Value> =
                    settings.iter().map(|s| (s.key.to_owned(), taken(s)[0].clone())).collect();
                for setting in settings {
                    for value in taken(setting) {
                        let mut config = all.clone();
                        config.insert(setting.key.to_owned(), value);
                        let endpoint = EndpointHandle {
                            id: None,
                            name: connector.name.to_owned(),
                            tenant: Default::default(),
                            airbyte: Default::default(),
                            connector: connector.name.to_owned(),
                            config: ResolvedConfig::new(Value::Object(config), Vec::new(), String::new()),
                        };
                        let opened = match is_source {
                            true => crate::connector::open(&endpoint, &crate::connector::Programs::default()).map(drop),
                            false => Destination::open(&endpoint).map(drop),
                        };
                        opened.unwrap_or_else(|error| panic!("{} {}: {error}", connector.name, setting.key));
                    }
                }
            }
        }
    }
}
