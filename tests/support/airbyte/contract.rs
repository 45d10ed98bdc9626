//! Airbyte's own OpenAPI documents as the judge of every request and answer.
//!
//! The documents are not part of this project: they are looked for in the folder that `AAM_AIRBYTE` names, else in
//! `../shared/airbyte`. They are read once per process, and each schema is compiled when it is first needed.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Call, Payload, Shape};

/// The two documents.
pub struct Contract {
    config: Value,
    public: Value,
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Calls of older versions that the documents do not have any more.
const GONE: [&str; 1] = ["/v1/workspaces/list"];

/// A place of a document: the operation, and which part of it is meant.
struct Operation<'a> {
    document: &'a Value,
    name: String,
    operation: &'a Value,
}

impl Contract {
    /// The documents of this process; `None`, said aloud once, where they are not at hand.
    #[expect(clippy::print_stdout, reason = "a skipped check is said where tests say it")]
    pub fn get() -> Option<&'static Self> {
        static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
        let folder = || match std::env::var_os("AAM_AIRBYTE") {
            Some(folder) => PathBuf::from(folder),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/airbyte"),
        };
        let contract = CONTRACT.get_or_init(|| Self::read(&folder()));
        if contract.is_none() {
            println!("SKIPPED: contract: Airbyte's OpenAPI documents are not at hand; set AAM_AIRBYTE to their folder");
        }
        contract.as_ref()
    }

    fn read(folder: &Path) -> Option<Self> {
        let document = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).ok()?;
            // a megabyte of examples is no attack
            let options = serde_yaml::options! { budget: None, with_snippet: false };
            let document: Value = serde_yaml::from_str_with_options(&text, options).expect("a document is YAML");
            Some(patched(document))
        };
        Some(Self {
            config: document("config-api.yaml")?,
            public: document("public-api.yaml")?,
            compiled: Mutex::default(),
        })
    }

    /// What is wrong with a request; nothing is good.
    pub fn check_request(&self, call: &Call) -> Vec<String> {
        // of a call that is not there, the answer tells
        let Some(operation) = self.operation(call) else { return Vec::new() };
        let mut wrong = Vec::new();
        let schema = &operation.operation["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_null() {
            wrong.extend(self.check(&operation, "request", schema, &call.body));
        }
        let parameters = operation.operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let known = |name: &str| parameters.iter().find(|p| p["in"] == "query" && p["name"] == name);
        for (name, value) in &call.query {
            match known(name) {
                None => wrong.push(format!("{} request: no parameter `{name}`", call.name())),
                Some(parameter) if parameter["schema"]["type"] == "integer" && value.parse::<u32>().is_err() => {
                    wrong.push(format!("{} request: `{name}` is no number", call.name()));
                }
                Some(_) => {}
            }
        }
        for parameter in parameters.iter().filter(|p| p["in"] == "query" && p["required"] == true) {
            let name = parameter["name"].as_str().unwrap_or_default();
            if call.query(name).is_none() {
                wrong.push(format!("{} request: lacks the parameter `{name}`", call.name()));
            }
        }
        wrong
    }

    /// What is wrong with an answer. The documents describe errors as one version gives them; an error is good in any
    /// shape that a version has.
    pub fn check_answer(&self, call: &Call, answer: &Answer) -> Vec<String> {
        let Some(operation) = self.operation(call) else {
            let known = answer.status >= 300 || GONE.contains(&call.path.as_str());
            return if known { vec![] } else { vec![format!("{}: no such call in the documents", call.name())] };
        };
        let place = format!("{} answer {}", operation.name, answer.status);
        let Payload::Json(body) = &answer.body else { return Vec::new() };
        if answer.status >= 300 {
            return if Shape::is_one(body) { vec![] } else { vec![format!("{place}: no shape of an error: {body}")] };
        }
        let described = &operation.operation["responses"][answer.status.to_string()];
        if described.is_null() {
            return vec![format!("{place}: no such status in the document")];
        }
        let schema = &described["content"]["application/json"]["schema"];
        if schema.is_null() {
            vec![]
        } else {
            self.check(&operation, &format!("answer {}", answer.status), schema, body)
        }
    }

    fn operation(&self, call: &Call) -> Option<Operation<'_>> {
        let (document, path) = match call.path.strip_prefix("/public/v1") {
            Some(path) => (&self.public, path),
            None => (&self.config, call.path.as_str()),
        };
        let paths = document["paths"].as_object()?;
        let (template, operations) = match paths.get_key_value(path) {
            Some(found) => found,
            None => paths.iter().find(|(template, _)| fits(template, path))?,
        };
        let operation = operations.get(call.method.to_lowercase())?;
        Some(Operation { document, name: format!("{} {template}", call.method), operation })
    }

    fn check(&self, operation: &Operation<'_>, part: &str, schema: &Value, value: &Value) -> Vec<String> {
        let place = format!("{} {part}", operation.name);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = compiled.entry(place.clone()).or_insert_with(|| {
            let schema = bundle(operation.document, schema, part == "request");
            let validator = jsonschema::options().with_draft(Draft::Draft4).build(&schema);
            Arc::new(validator.unwrap_or_else(|e| panic!("the schema of {place} does not compile: {e}")))
        });
        let validator = validator.clone();
        drop(compiled);
        // the values may be secrets of a test, which is where they may be seen
        validator.iter_errors(value).map(|e| format!("{place}: at `{}`: {e}", e.instance_path())).collect()
    }
}

/// `/jobs/{jobId}` fits `/jobs/7`.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(path).all(|(t, p)| *t == p || t.starts_with('{'))
}

/// The documents' own defects, mended: here and nowhere else.
fn patched(mut document: Value) -> Value {
    let schemas = &mut document["components"]["schemas"];
    let mut not_required = |schema: &str, field: &str| {
        if let Some(required) = schemas.get_mut(schema).and_then(|s| s.get_mut("required")?.as_array_mut()) {
            required.retain(|name| name != field);
        }
    };
    // requires a property that it forbids
    not_required("AirbyteStream", "json_schema");
    // the property is declared as `grant-type`
    not_required("ApplicationTokenRequestWithGrant", "grant_type");
    // lacking when a connection is named
    not_required("SourceDiscoverSchemaRead", "jobInfo");
    // not set by the newest servers
    not_required("InstanceConfigurationResponse", "defaultWorkspaceId");
    not_required("InstanceConfigurationResponse", "licenseStatus");
    if let Some(token) = schemas.get_mut("ApplicationTokenRequestWithGrant") {
        token["properties"]["grant_type"] = json!({"type": "string"});
    }
    // a hashing mapper fits the schema of a filtering one, too
    if let Some(mapper) = schemas.get_mut("MapperConfiguration").and_then(Value::as_object_mut)
        && let Some(forms) = mapper.remove("oneOf")
    {
        mapper.insert("anyOf".into(), forms);
    }
    // deleted ones say so
    if let Some(states) = schemas.get_mut("ActorStatus").and_then(|s| s.get_mut("enum")?.as_array_mut()) {
        states.push(json!("deprecated"));
    }
    document
}

/// A schema with everything that it refers to, as JSON Schema. A `strict` one takes no keys that it does not name: servers
/// ignore them, so that a misspelt one goes unnoticed.
fn bundle(document: &Value, schema: &Value, strict: bool) -> Value {
    let mut needed: BTreeSet<String> = BTreeSet::new();
    let mut root = converted(schema, strict, &mut needed);
    let mut definitions = Map::new();
    while let Some(name) = needed.iter().find(|name| !definitions.contains_key(*name)).cloned() {
        let named = &document["components"]["schemas"][&name];
        definitions.insert(name, converted(named, strict, &mut needed));
    }
    root["definitions"] = Value::Object(definitions);
    if let Some(target) = root.get("$ref").cloned() {
        // beside a reference, other keys do not count
        return json!({"allOf": [{"$ref": target}], "definitions": root["definitions"]});
    }
    root
}

/// OpenAPI 3.0's dialect in the words of JSON Schema, draft 4, which it comes from.
fn converted(schema: &Value, strict: bool, needed: &mut BTreeSet<String>) -> Value {
    let Some(object) = schema.as_object() else { return json!({}) };
    if let Some(name) = object.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/components/schemas/"))
    {
        needed.insert(name.to_owned());
        return json!({"$ref": format!("#/definitions/{name}")});
    }
    let mut out = Map::new();
    for (key, value) in object {
        match key.as_str() {
            "properties" => {
                let below = value.as_object().into_iter().flatten();
                let below = below.map(|(name, schema)| (name.clone(), converted(schema, strict, needed)));
                out.insert(key.clone(), below.collect());
            }
            "allOf" | "anyOf" | "oneOf" => {
                let below = value.as_array().into_iter().flatten();
                out.insert(key.clone(), below.map(|schema| converted(schema, strict, needed)).collect());
            }
            "items" => drop(out.insert(key.clone(), converted(value, strict, needed))),
            "additionalProperties" if value.is_object() => {
                out.insert(key.clone(), converted(value, strict, needed));
            }
            "format" if value.as_str().is_some_and(|f| f.eq_ignore_ascii_case("uuid")) => {
                out.insert("pattern".into(), json!("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"));
            }
            "required" if value.as_array().is_none_or(Vec::is_empty) => {}
            "type"
            | "enum"
            | "required"
            | "additionalProperties"
            | "minimum"
            | "maximum"
            | "exclusiveMinimum"
            | "exclusiveMaximum"
            | "minLength"
            | "maxLength"
            | "minItems"
            | "maxItems"
            | "uniqueItems"
            | "pattern" => {
                out.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    let is_open = ["additionalProperties", "allOf", "anyOf", "oneOf"].iter().all(|key| !out.contains_key(*key));
    if strict && is_open && out.contains_key("properties") {
        out.insert("additionalProperties".into(), json!(false));
    }
    if object.get("nullable") == Some(&json!(true)) {
        return json!({"anyOf": [{"type": "null"}, out]});
    }
    Value::Object(out)
}
