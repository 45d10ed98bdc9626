//! The destination's database, as the settings of Airbyte's `destination-postgres` describe it.

use serde_json::{Map, Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::connector::postgres::{COMMON_KEYS, connect, options};
use crate::connector::{Settings, failure};
use crate::drift::radius::Tables;
use crate::engine::names;
use crate::model::{Catalog, StreamName};
use crate::ports::{EndpointHandle, EngineError, LandingPlace, Remedy, ResolvedConfig};
use crate::spec::{Connection, Namespace};

/// What stands for the stream's namespace in a namespace format.
const SOURCE_NAMESPACE: &str = "${SOURCE_NAMESPACE}";

/// A destination with its settings read.
pub struct Destination<'a> {
    /// Name and secrets, for errors.
    pub endpoint: &'a EndpointHandle,
    /// Where raw tables are.
    pub internal: String,
    /// Whether rows land as JSON only.
    pub raw_only: bool,
    schema: String,
    options: PgConnectOptions,
    /// The settings that are those of every PostgreSQL, without the secrets' list.
    reached: EndpointHandle,
}

impl<'a> Destination<'a> {
    /// Reads Airbyte's settings. Those that only Airbyte needs for writing are passed over.
    pub fn open(endpoint: &'a EndpointHandle) -> Result<Self, EngineError> {
        let wrong = |why: &str| {
            let why = format!("{why}; aam reads landed rows from the destination's database itself");
            failure(endpoint, format!("destination {}", endpoint.name), &why, Remedy::Person)
        };
        if !is_postgres(&endpoint.connector) {
            return Err(wrong(&format!(
                "events are made from `destination-postgres` only, not `{}`",
                endpoint.connector
            )));
        }
        let Some(config) = endpoint.config.expose().as_object() else { return Err(wrong("settings are missing")) };
        if !matches!(config.get("tunnel_method").map(|tunnel| &tunnel["tunnel_method"]), None | Some(Value::Null)) {
            let method = config["tunnel_method"]["tunnel_method"].as_str().unwrap_or_default();
            if method != "NO_TUNNEL" {
                return Err(wrong(&format!("`tunnel_method` is {method}, through which aam cannot go")));
            }
        }
        let text = |key: &str, default: &str| {
            config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
        };
        let reached = EndpointHandle {
            config: ResolvedConfig::new(reached(config), Vec::new(), String::new()),
            ..endpoint.clone()
        };
        let options = options(&Settings::open(&reached, COMMON_KEYS)?)?;
        Ok(Self {
            endpoint,
            internal: text("raw_data_schema", "airbyte_internal"),
            raw_only: config.get("disable_type_dedupe").and_then(Value::as_bool).unwrap_or(false),
            schema: text("schema", "public"),
            options,
            reached,
        })
    }

    /// Connects.
    pub async fn connect(&self) -> Result<PgConnection, EngineError> {
        let mask = |e: EngineError| EngineError { why: self.endpoint.config.mask(&e.why), ..e };
        connect(&self.reached, &self.options).await.map_err(mask)
    }

    /// The namespace and the name under which Airbyte hands a stream to the destination.
    pub fn handed_over(&self, place: &LandingPlace, stream: &StreamName) -> (String, String) {
        let namespace = namespace_of(&place.namespace, stream).unwrap_or_else(|| self.schema.clone());
        (namespace, format!("{}{}", place.prefix, stream.name))
    }
}

/// The namespace that Airbyte gives a stream; `None` is the destination's own.
fn namespace_of(namespace: &Namespace, stream: &StreamName) -> Option<String> {
    let own = stream.namespace.as_deref().unwrap_or_default();
    let given = match namespace {
        Namespace::Source => own.to_owned(),
        Namespace::Destination => String::new(),
        Namespace::Custom(format) => format.replace(SOURCE_NAMESPACE, own),
    };
    Some(given).filter(|given| !given.trim().is_empty())
}

/// Whether a connector is Airbyte's PostgreSQL destination, whose names these are.
fn is_postgres(connector: &str) -> bool {
    connector == "postgres" || connector.ends_with("destination-postgres")
}

/// Where a catalog lands, as far as a spec tells it.
pub fn told(connection: &Connection, catalog: &Catalog) -> Tables {
    let (destination, options) = (&connection.destination, &connection.airbyte);
    let raw_only = names::setting(&destination.config, "disable_type_dedupe", "false") != Some("false");
    if !is_postgres(&destination.connector) || raw_only {
        return Tables::new();
    }
    let own = names::setting(&destination.config, "schema", "public").map(str::to_owned);
    names::told(catalog, |stream| {
        (namespace_of(&options.namespace, stream).or_else(|| own.clone()), format!("{}{}", options.prefix, stream.name))
    })
}

/// Airbyte's settings as those of every PostgreSQL endpoint here.
fn reached(config: &Map<String, Value>) -> Value {
    let mut settings: Map<String, Value> = config
        .iter()
        .filter(|(key, _)| COMMON_KEYS.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    match settings.get_mut("ssl_mode") {
        Some(Value::Object(tls)) => drop(tls.remove("client_key_password")),
        Some(_) => {}
        // the switch from before there were modes
        None if config.get("ssl") == Some(&json!(true)) => drop(settings.insert("ssl_mode".into(), json!("require"))),
        None => {}
    }
    Value::Object(settings)
}
