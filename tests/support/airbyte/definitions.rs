//! The connectors that the stand-in has, with settings in our own words: as much of them as the calls look at.

use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::answer::Trouble;
use super::state::{Definition, Side};

/// What a secret looks like from outside; sent back, the stored one is kept.
pub const MASK: &str = "**********";

/// The source that reads a real database.
pub const SOURCE_POSTGRES: Uuid = uuid!("decd338e-5647-4c0b-adf4-da0e75f5a750");
/// The destination that writes one.
pub const DESTINATION_POSTGRES: Uuid = uuid!("25c5221d-dce2-4163-ade9-739ef790f503");

/// All of them.
pub fn all() -> Vec<Definition> {
    let secret = || json!({"type": "string", "airbyte_secret": true});
    let text = || json!({"type": "string"});
    let postgres = json!({
        "host": text(), "port": {"type": "integer", "minimum": 0, "maximum": 65536, "default": 5432},
        "database": text(), "username": text(), "password": secret(), "jdbc_url_params": text(),
        "ssl": {"type": "boolean"},
        "ssl_mode": {"type": "object", "oneOf": [
            {"properties": {"mode": {"type": "string", "enum": ["disable", "allow", "prefer", "require"]}},
                "required": ["mode"]},
            {"properties": {"mode": {"type": "string", "enum": ["verify-ca", "verify-full"]}, "ca_certificate": secret(),
                "client_key": secret()}, "required": ["mode", "ca_certificate"]},
        ]},
        "tunnel_method": {"type": "object", "oneOf": [
            {"properties": {"tunnel_method": {"const": "NO_TUNNEL"}}, "required": ["tunnel_method"]},
            {"properties": {"tunnel_method": {"const": "SSH_KEY_AUTH"}, "tunnel_host": text(), "ssh_key": secret()},
                "required": ["tunnel_method", "tunnel_host", "ssh_key"]},
        ]},
    });
    let with = |more: Value| {
        let mut properties = postgres.clone();
        properties.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        properties
    };
    let schemas = json!({"type": "array", "items": {"type": "string"}, "minItems": 0, "default": ["public"]});
    vec![
        Definition {
            id: SOURCE_POSTGRES,
            side: Side::Source,
            name: "Postgres".into(),
            repository: "airbyte/source-postgres".into(),
            tag: "3.7.0".into(),
            spec: json!({"type": "object", "required": ["host", "port", "database", "username"],
                "properties": with(json!({"schemas": schemas, "replication_method": {"type": "object"}}))}),
            refreshes: false,
            modes: vec![],
        },
        Definition {
            id: uuid!("dfd88b22-b603-4c3d-aad7-3701784586b1"),
            side: Side::Source,
            name: "Sample Data".into(),
            repository: "airbyte/source-faker".into(),
            tag: "7.0.0".into(),
            spec: json!({"type": "object", "properties": {
                "count": {"type": "integer", "minimum": 1, "default": 1000}, "seed": {"type": "integer"},
                "always_updated": {"type": "boolean"}}}),
            refreshes: false,
            modes: vec![],
        },
        Definition {
            id: uuid!("b117307c-14b6-41aa-9422-947e34922962"),
            side: Side::Source,
            name: "Salesforce".into(),
            repository: "airbyte/source-salesforce".into(),
            tag: "2.7.0".into(),
            spec: json!({"type": "object", "required": ["client_id", "client_secret", "refresh_token"], "properties": {
                "client_id": text(), "client_secret": secret(), "refresh_token": secret(),
                "is_sandbox": {"type": "boolean"}, "start_date": text()}}),
            refreshes: false,
            modes: vec![],
        },
        Definition {
            id: DESTINATION_POSTGRES,
            side: Side::Destination,
            name: "Postgres".into(),
            repository: "airbyte/destination-postgres".into(),
            tag: "3.0.6".into(),
            spec: json!({"type": "object", "required": ["host", "port", "database", "username", "schema"],
                "properties": with(json!({"schema": {"type": "string", "default": "public"},
                    "raw_data_schema": text(), "disable_type_dedupe": {"type": "boolean"},
                    "drop_cascade": {"type": "boolean"}, "unconstrained_number": {"type": "boolean"},
                    "cdc_deletion_mode": text()}))}),
            refreshes: true,
            modes: vec!["overwrite", "append", "append_dedup"],
        },
    ]
}

/// The settings with every secret hidden.
pub fn mask(spec: &Value, settings: &Value) -> Value {
    let mut masked = settings.clone();
    each_secret(spec, &mut masked, &mut |_, value| {
        if value.is_string() {
            *value = json!(MASK);
        }
    });
    masked
}

/// New settings in which a mask stands for the secret stored at the same place.
pub fn unmask(spec: &Value, stored: &Value, new: &Value) -> Value {
    let mut unmasked = new.clone();
    each_secret(spec, &mut unmasked, &mut |path, value| {
        let kept = path.iter().try_fold(stored, |at, key| at.get(*key));
        if let (true, Some(kept)) = (value == MASK, kept) {
            *value = kept.clone();
        }
    });
    unmasked
}

/// Calls `visit` with the path and value of each secret, in all branches of a `oneOf`.
fn each_secret(spec: &Value, settings: &mut Value, visit: &mut impl FnMut(&[&str], &mut Value)) {
    fn walk<'s>(
        spec: &'s Value,
        value: &mut Value,
        path: &mut Vec<&'s str>,
        visit: &mut impl FnMut(&[&str], &mut Value),
    ) {
        if spec["airbyte_secret"] == true {
            visit(path, value);
        }
        for (key, below) in spec["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get_mut(key) {
                path.push(key);
                walk(below, value, path, visit);
                path.pop();
            }
        }
        for branch in spec["oneOf"].as_array().into_iter().flatten() {
            walk(branch, value, path, visit);
        }
    }
    walk(spec, settings, &mut Vec::new(), visit);
}

/// Whether the connector takes these settings. It is not connected to.
pub fn check_settings(spec: &Value, settings: &Value) -> Result<(), Trouble> {
    let validator = jsonschema::validator_for(spec).expect("the connectors' specifications are schemas");
    match validator.iter_errors(settings).next() {
        None => Ok(()),
        Some(error) => {
            let path = error.instance_path().to_string().trim_start_matches('/').replace('/', ".");
            // the text of a real server repeats the value, too
            Err(Trouble::Settings(path, error.to_string()))
        }
    }
}
