//! Reading a connector's settings: typed, with unknown keys refused.

use serde_json::{Map, Value};

use super::clean;
use crate::ports::{EndpointHandle, EngineError, Remedy};

/// A connector's settings while they are read.
pub struct Settings<'a> {
    endpoint: &'a EndpointHandle,
    values: &'a Map<String, Value>,
}

impl<'a> Settings<'a> {
    /// Opens the settings; a key that is not in `known` is an error that names the nearest one.
    pub fn open(endpoint: &'a EndpointHandle, known: &[&str]) -> Result<Self, EngineError> {
        let Some(values) = endpoint.config.expose().as_object() else {
            return Err(wrong(endpoint, "must be named values".into()));
        };
        Self::of(endpoint, values, known)
    }

    fn of(endpoint: &'a EndpointHandle, values: &'a Map<String, Value>, known: &[&str]) -> Result<Self, EngineError> {
        if let Some(key) = values.keys().find(|key| !known.contains(&key.as_str())) {
            let nearest = known.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key)));
            let hint = nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            return Err(wrong(endpoint, format!("`{}` is no setting of {}{hint}", clean(key), endpoint.connector)));
        }
        Ok(Self { endpoint, values })
    }

    /// An error about one setting; never holds its value.
    pub fn wrong(&self, key: &str, why: &str) -> EngineError {
        wrong(self.endpoint, format!("`{key}` {why}"))
    }

    /// The value as it stands, if it is there and not null.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|v| !v.is_null())
    }

    /// A text; numbers and booleans count as their text.
    pub fn text(&self, key: &str) -> Result<Option<String>, EngineError> {
        self.value(key).map(|v| scalar(v).ok_or_else(|| self.wrong(key, "must be a text"))).transpose()
    }

    /// A text that must be there.
    pub fn needed(&self, key: &str) -> Result<String, EngineError> {
        self.text(key)?.filter(|t| !t.is_empty()).ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// A value that is parsed from its text.
    pub fn parsed<T: std::str::FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>, EngineError> {
        self.text(key)?.map(|t| t.parse().map_err(|_| self.wrong(key, &format!("must be {expected}")))).transpose()
    }

    /// Named values below a key, read as settings are; `None` if the key holds anything else.
    pub fn map(&self, key: &str, known: &[&str]) -> Result<Option<Settings<'a>>, EngineError> {
        self.value(key).and_then(Value::as_object).map(|values| Self::of(self.endpoint, values, known)).transpose()
    }

    /// A list of texts.
    pub fn list(&self, key: &str) -> Result<Option<Vec<String>>, EngineError> {
        let item = |v: &Value| scalar(v).ok_or_else(|| self.wrong(key, "must be a list of texts"));
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(items)) => items.iter().map(item).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(self.wrong(key, "must be a list of texts")),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn wrong(endpoint: &EndpointHandle, why: String) -> EngineError {
    EngineError { what: format!("settings of {}", endpoint.name), why, remedy: Remedy::Person, retry_after: None }
}
