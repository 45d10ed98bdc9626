//! The messages of the Airbyte protocol that a source prints, one JSON object per line.
//!
//! What is no JSON, or of no known type, is no message and never an error. Keys that are not known are passed over.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What a line says, as far as it matters here.
#[derive(Debug)]
pub enum Message<'a> {
    /// A row.
    Record(Record<'a>),
    /// Where reading can go on: the payload, opaque but for whose it is.
    State(Value),
    /// What `check` found.
    Status {
        /// `SUCCEEDED`
        succeeded: bool,
        /// Why not.
        why: Option<String>,
    },
    /// What the settings must be: a JSON Schema.
    Specification(Value),
    /// What `discover` found: an `AirbyteCatalog`.
    Catalog(Value),
    /// A failure, in words for people.
    Failure {
        /// The words.
        why: String,
        /// Whether the settings are to blame, so that trying again does not help.
        settings: bool,
    },
    /// How far a stream is: `STARTED`, `RUNNING`, `COMPLETE`, `INCOMPLETE`.
    Progress(String),
    /// A log line that tells of trouble.
    Trouble(String),
    /// The connector wants its settings replaced, for example by a rotated token.
    NewSettings,
    /// A record or a state that cannot be read: passing over it would lose a row.
    Unreadable(String),
}

/// A row.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// The stream's name.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// Top-level values, each as it was printed: a number keeps all its digits.
    #[serde(borrow)]
    pub data: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    record: Option<Record<'a>>,
    #[serde(default)]
    state: Option<Value>,
    #[serde(default)]
    log: Option<Log>,
    #[serde(default, rename = "connectionStatus")]
    status: Option<Status>,
    #[serde(default)]
    catalog: Option<Value>,
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    trace: Option<Trace>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "connectionSpecification")]
    settings: Value,
}

#[derive(Deserialize)]
struct Log {
    level: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Trace {
    #[serde(default)]
    error: Option<TraceError>,
    #[serde(default)]
    stream_status: Option<StreamStatus>,
}

#[derive(Deserialize)]
struct TraceError {
    message: String,
    #[serde(default)]
    failure_type: Option<String>,
}

#[derive(Deserialize)]
struct StreamStatus {
    status: String,
}

/// Reads a line; `None` if it is no message or none that matters.
pub fn read(line: &[u8]) -> Option<Message<'_>> {
    let line: Line<'_> = match serde_json::from_slice(line) {
        Ok(line) => line,
        // Its beginning says what it was to be; serde's words may repeat values.
        Err(e) if begins_a_row(line) => {
            return Some(Message::Unreadable(format!("a record or state is no JSON (column {})", e.column())));
        }
        Err(_) => return None,
    };
    match line.kind.as_ref() {
        "RECORD" => line.record.map(Message::Record),
        "STATE" => line.state.map(Message::State),
        "SPEC" => line.spec.map(|spec| Message::Specification(spec.settings)),
        "CATALOG" => line.catalog.map(Message::Catalog),
        "CONNECTION_STATUS" => {
            line.status.map(|s| Message::Status { succeeded: s.status == "SUCCEEDED", why: s.message })
        }
        "TRACE" => {
            let trace = line.trace?;
            let failure = trace.error.map(|e| Message::Failure {
                why: e.message,
                settings: e.failure_type.as_deref() == Some("config_error"),
            });
            failure.or_else(|| trace.stream_status.map(|s| Message::Progress(s.status)))
        }
        "LOG" => {
            line.log.filter(|log| matches!(log.level.as_str(), "FATAL" | "ERROR")).map(|l| Message::Trouble(l.message))
        }
        "CONTROL" => Some(Message::NewSettings),
        _ => None,
    }
}

/// Whether a line that is no JSON began as a record or a state. A half line of a killed program has no end and never gets
/// here.
fn begins_a_row(line: &[u8]) -> bool {
    let head: Vec<u8> = line.iter().take(200).copied().filter(|b| !b.is_ascii_whitespace()).collect();
    [&b"{\"type\":\"RECORD\""[..], b"{\"type\":\"STATE\""].iter().any(|kind| head.starts_with(kind))
}

/// Keeps the latest state of each stream, in the form that the next read takes: a list of payloads.
pub fn keep(states: &mut Vec<Value>, state: Value) {
    let of = |state: &Value| state.get("stream").and_then(|stream| stream.get("stream_descriptor")).cloned();
    let owner = of(&state);
    // a global state, and one of the old form, stands for everything before it
    states.retain(|old| owner.is_some() && of(old).is_some() && of(old) != owner);
    states.push(state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_of_real_connectors_are_understood() {
        let lines = [
            r#"{"type":"LOG","log":{"level":"INFO","message":"Check succeeded"}}"#,
            r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object"},"documentationUrl":null}}"#,
            r#"{"type": "LOG", "log": {"level": "FATAL", "message": "boom", "stack_trace": null}}"#,
            r#"{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}"#,
            r#"{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"Config validation error"}}"#,
            r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1795216391111.686,"stream_status":{"stream_descriptor":{"name":"products"},"status":"STARTED"}}}"#,
            r#"{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1.5,"error":{"message":"no","failure_type":"config_error"}}}"#,
            r#"{"type":"TRACE","trace":{"type":"ESTIMATE","emitted_at":1,"estimate":{"name":"a","type":"STREAM"}}}"#,
            r#"{"type":"RECORD","record":{"stream":"a\"b","namespace":null,"data":{"n":12345678901234567890.10,"s":"x"},"emitted_at":1}}"#,
            r#"{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"seed":42}},"sourceStats":{"recordCount":5.0}}}"#,
            r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1,"connectorConfig":{"config":{}}}}"#,
            r#"{"type":"DESTINATION_CATALOG"}"#,
            "plain text",
            r#"{"type":"RECORD","record":{"stream":"cut"#,
            r#"{"type": "RECORD", "record": {"stream": "a", "data": {"n": NaN}, "emitted_at": 1}}"#,
            "",
        ];
        let shown: Vec<String> = lines.iter().map(|line| format!("{:?}", read(line.as_bytes()))).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        None
        Some(Specification(Object {"type": String("object")}))
        Some(Trouble("boom"))
        Some(Status { succeeded: true, why: None })
        Some(Status { succeeded: false, why: Some("Config validation error") })
        Some(Progress("STARTED"))
        Some(Failure { why: "no", settings: true })
        None
        Some(Record(Record { stream: "a\"b", data: {"n": RawValue(12345678901234567890.10), "s": RawValue("x")} }))
        Some(State(Object {"sourceStats": Object {"recordCount": Number(5.0)}, "stream": Object {"stream_descriptor": Object {"name": String("users")}, "stream_state": Object {"seed": Number(42)}}, "type": String("STREAM")}))
        Some(NewSettings)
        None
        None
        Some(Unreadable("a record or state is no JSON (column 40)"))
        Some(Unreadable("a record or state is no JSON (column 60)"))
        None
        "#);
    }

    #[test]
    fn the_latest_state_of_each_stream_is_kept() {
        let of = |name: &str, at: u32| json!({"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": {"at": at}}});
        let mut states = Vec::new();
        for state in [of("a", 1), of("b", 1), of("a", 2)] {
            keep(&mut states, state);
        }
        assert_eq!(states, [of("b", 1), of("a", 2)]);
        let global = json!({"type": "GLOBAL", "global": {}});
        keep(&mut states, global.clone());
        assert_eq!(states, [global]);
    }
}
