//! What a source's connector finds: the tables of a real PostgreSQL, or the streams that a test has set.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use uuid::Uuid;

use super::definitions::SOURCE_POSTGRES;
use super::server::Shared;
use super::state::{Catalog, Fetch, Side, State, now};

/// How a discover ended.
#[derive(Debug, Clone)]
pub enum Found {
    /// The connector ran; its catalog is stored under this id.
    Fresh(Uuid),
    /// Answered from what an earlier run stored.
    Cached(Uuid),
    /// The connector failed.
    Failed(String),
}

/// Runs the connector, or takes the newest catalog that was found with the same settings and image.
pub async fn with_cache(shared: &Arc<Shared>, source: Uuid, may_be_cached: bool) -> Found {
    let (actor, key) = {
        let mut state = shared.state();
        let Ok(actor) = state.actor(Side::Source, source).cloned() else {
            return Found::Failed("no such source".into());
        };
        let tag = state.definition(Side::Source, actor.definition).map(|d| d.tag.clone()).unwrap_or_default();
        let key = format!("{tag} {}", actor.settings);
        let cached = state.fetches.iter().rev().find(|f| f.source == source && f.key == key);
        if let (true, Some(fetch)) = (may_be_cached, cached) {
            return Found::Cached(fetch.catalog);
        }
        let conduct = state.conduct(source);
        conduct.discovers += 1;
        conduct.discovering += 1;
        conduct.discovering_most = conduct.discovering_most.max(conduct.discovering);
        (actor, key)
    };
    tokio::time::sleep(actor.conduct.discover_takes).await;
    let found = match &actor.conduct.discover_fails {
        Some(why) => Err(why.clone()),
        None if actor.definition == SOURCE_POSTGRES => postgres(&actor.settings).await.map_err(|e| e.to_string()),
        None => Ok(actor.conduct.streams.clone()),
    };
    let mut state = shared.state();
    state.conduct(source).discovering -= 1;
    match found {
        Ok(streams) => Found::Fresh(store(&mut state, source, key, shuffled(streams, actor.conduct.discovers))),
        Err(why) => Found::Failed(why),
    }
}

/// Keeps a catalog. One that says the same as an earlier one of the source shares its id.
fn store(state: &mut State, source: Uuid, key: String, streams: Vec<Value>) -> Uuid {
    let same = state.catalogs.iter().find(|c| c.source == source && sorted(&c.streams) == sorted(&streams));
    let id = match same.map(|c| c.id) {
        Some(id) => id,
        None => {
            let id = state.new_id();
            state.catalogs.push(Catalog { id, source, streams });
            id
        }
    };
    state.fetches.push(Fetch { source, key, catalog: id, at: now() });
    id
}

fn sorted(streams: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = streams.iter().map(|s| ordered(s).to_string()).collect();
    texts.sort();
    texts
}

/// With the members of every list of words sorted.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), ordered(v))).collect(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let mut items = items.clone();
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        Value::Array(items) => items.iter().map(ordered).collect(),
        other => other.clone(),
    }
}

/// Nothing in an answer has an order: streams turn, and every other run lists types, modes and required fields backwards.
fn shuffled(mut streams: Vec<Value>, runs: u32) -> Vec<Value> {
    if !streams.is_empty() {
        let by = runs as usize % streams.len();
        streams.rotate_left(by);
    }
    fn backwards(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, below) in fields {
                    match below
                        .as_array_mut()
                        .filter(|_| ["type", "required", "supportedSyncModes"].contains(&key.as_str()))
                    {
                        Some(words) => words.reverse(),
                        None => backwards(below),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(backwards),
            _ => {}
        }
    }
    if runs % 2 == 1 {
        streams.iter_mut().for_each(backwards);
    }
    streams
}

/// A connection to the database that a connector's settings name. A host that is a path is a socket's folder.
pub async fn connect(settings: &Value) -> Result<PgPool, sqlx::Error> {
    let text = |key: &str| settings[key].as_str().unwrap_or_default();
    let mut options = PgConnectOptions::new_without_pgpass().username(text("username")).database(text("database"));
    options = if text("host").starts_with('/') { options.socket(text("host")) } else { options.host(text("host")) };
    options = options.port(settings["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(5432));
    options = options.ssl_mode(PgSslMode::Prefer);
    if !text("password").is_empty() {
        options = options.password(text("password"));
    }
    let patience = std::time::Duration::from_secs(10);
    PgPoolOptions::new().max_connections(1).acquire_timeout(patience).connect_with(options).await
}

/// The columns of all tables and views of the schemas, with their place in the primary key.
const COLUMNS: &str = "
    SELECT n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS name,
           format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS type,
           coalesce(array_position(k.conkey, a.attnum), 0) AS key_place
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ANY($1)
    ORDER BY n.nspname, c.relname, a.attnum";

async fn postgres(settings: &Value) -> Result<Vec<Value>, sqlx::Error> {
    let schemas =
        settings["schemas"].as_array().filter(|s| !s.is_empty()).cloned().unwrap_or_else(|| vec![json!("public")]);
    let schemas: Vec<String> = schemas.iter().filter_map(|s| Some(s.as_str()?.to_owned())).collect();
    let pool = connect(settings).await?;
    let rows = sqlx::query(COLUMNS).persistent(false).bind(schemas).fetch_all(&pool).await?;
    pool.close().await;
    let defines_cursor = settings["replication_method"]["method"].as_str().is_some_and(|m| m != "Standard");
    let mut streams: Vec<(Value, Vec<(i32, String)>)> = Vec::new();
    for row in rows {
        let (schema, relation): (String, String) = (row.try_get("schema")?, row.try_get("relation")?);
        let (name, ty): (String, String) = (row.try_get("name")?, row.try_get("type")?);
        let key_place: i32 = row.try_get("key_place")?;
        let is_new =
            streams.last().is_none_or(|(s, _)| s["name"] != relation.as_str() || s["namespace"] != schema.as_str());
        if is_new {
            let stream = json!({
                "name": relation, "namespace": schema, "jsonSchema": {"type": "object", "properties": {}},
                "supportedSyncModes": ["full_refresh", "incremental"], "sourceDefinedCursor": defines_cursor,
                "defaultCursorField": [], "sourceDefinedPrimaryKey": [], "isResumable": true,
            });
            streams.push((stream, Vec::new()));
        }
        let (stream, key) = streams.last_mut().expect("pushed just now");
        stream["jsonSchema"]["properties"][&name] = json_schema(&ty);
        if key_place > 0 {
            key.push((key_place, name));
        }
    }
    let finish = |(mut stream, mut key): (Value, Vec<(i32, String)>)| {
        key.sort();
        stream["isResumable"] = json!(!key.is_empty());
        stream["sourceDefinedPrimaryKey"] = key.iter().map(|(_, name)| json!([name])).collect();
        stream
    };
    Ok(streams.into_iter().map(finish).collect())
}

/// A column's type as the connector describes it: never nullable, integers as numbers with a hint.
fn json_schema(ty: &str) -> Value {
    if let Some(items) = ty.strip_suffix("[]") {
        return json!({"type": "array", "items": json_schema(items)});
    }
    let text = |format: &str, hint: &str| json!({"type": "string", "format": format, "airbyte_type": hint});
    match ty {
        "boolean" => json!({"type": "boolean"}),
        "smallint" | "integer" | "bigint" | "oid" => json!({"type": "number", "airbyte_type": "integer"}),
        "real" | "double precision" | "numeric" | "money" => json!({"type": "number"}),
        "date" => json!({"type": "string", "format": "date"}),
        "timestamp without time zone" => text("date-time", "timestamp_without_timezone"),
        "timestamp with time zone" => text("date-time", "timestamp_with_timezone"),
        "time without time zone" => text("time", "time_without_timezone"),
        "time with time zone" => text("time", "time_with_timezone"),
        "bytea" => json!({"type": "string", "contentEncoding": "base64"}),
        "json" | "jsonb" => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    }
}
