//! Any source connector of Airbyte, run as a program by the connector protocol: no Airbyte server is needed.
//!
//! Each call is a run of its own: `check`, `discover`, and `read` of one stream. A row counts as read only once the
//! connector has printed a state behind it; what landed after the last state is taken out and read again.

mod message;
mod process;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::copy_text::{NULL, push_escaped};
use super::{BATCH_BYTES, Batch, BatchSink, Connector, How, Position, ReadOrder, failure};
use crate::model::{Catalog, FieldType, json_schema};
use crate::ports::{Discovered, EndpointHandle, EngineError, Remedy};
use message::Message;
use process::Running;

/// Connectors try a network that does not answer for a while themselves.
const CHECK: Duration = Duration::from_secs(5 * 60);
/// A discover of thousands of tables takes minutes.
const DISCOVER: Duration = Duration::from_secs(15 * 60);
/// A read that prints nothing for so long is stuck; connectors that wait for a rate limit log that they do.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// A connector as a program.
pub struct Airbyte {
    endpoint: EndpointHandle,
    command: Vec<String>,
    more: Vec<String>,
    settings: Value,
}

/// How a run went, beside what it printed for us.
#[derive(Default)]
struct Heard {
    failure: Option<(String, bool)>,
    trouble: Option<String>,
    status: Option<(bool, Option<String>)>,
    progress: Option<String>,
    new_settings: bool,
}

impl Airbyte {
    /// Checks that the program is there and may be run: `allowed` is what the settings of the daemon list. A spec alone
    /// must not decide what runs on this machine.
    pub fn open(endpoint: &EndpointHandle, allowed: &[String]) -> Result<Self, EngineError> {
        let wrong = |why: String| failure(endpoint, format!("source {}", endpoint.name), &why, Remedy::Person);
        let given = endpoint.config.expose();
        let command: Vec<String> = serde_json::from_value(given["command"].clone())
            .map_err(|_| wrong("`command` must be a list of texts".into()))?;
        let Some(program) = command.first() else { return Err(wrong("`command` is empty".into())) };
        if !allowed.contains(program) {
            return Err(wrong(format!(
                "the program {program} may not be run: add it to `[engine] commands` in config/aam.toml of this machine"
            )));
        }
        if process::find(program).is_none() {
            return Err(wrong(format!("there is no program {program} on this machine; install the connector first")));
        }
        let more = match given.get("manifest").and_then(Value::as_str) {
            Some(path) => {
                let path = std::path::absolute(path).map_err(|e| wrong(format!("manifest {path}: {e}")))?;
                vec!["--manifest-path".to_owned(), path.to_string_lossy().into_owned()]
            }
            None => Vec::new(),
        };
        let settings = given.get("config").filter(|config| !config.is_null()).cloned().unwrap_or_else(|| json!({}));
        Ok(Self { endpoint: endpoint.clone(), command, more, settings })
    }

    fn error(&self, what: &str, why: &str, remedy: Remedy) -> EngineError {
        failure(&self.endpoint, format!("{what} {}", self.endpoint.name), why, remedy)
    }

    fn start(&self, verb: &str, files: &[(&str, &Value)]) -> std::io::Result<Running> {
        let files: Vec<_> = std::iter::once(("config", &self.settings)).chain(files.iter().copied()).collect();
        Running::start(&self.command, verb, &files, &self.more)
    }

    /// Runs `check` or `discover` to its end; the last catalog.
    async fn ask(&self, verb: &str, deadline: Duration) -> Result<(Heard, Option<Value>), EngineError> {
        let what = format!("{verb} of source");
        let io = |e: std::io::Error| self.error(&what, &e.to_string(), Remedy::Retry);
        let mut running = self.start(verb, &[]).map_err(io)?;
        let (mut heard, mut catalog) = (Heard::default(), None);
        let whole = async {
            while let Some(line) = running.line().await? {
                match message::read(line) {
                    Some(Message::Catalog(found)) => catalog = Some(found),
                    Some(other) => heard.take(&other),
                    None => {}
                }
            }
            running.wait().await
        };
        let Ok(code) = tokio::time::timeout(deadline, whole).await else {
            running.end().await;
            return Err(self.error(
                &what,
                &format!("it did not end within {} minutes", deadline.as_secs() / 60),
                Remedy::Retry,
            ));
        };
        let code = code.map_err(io)?;
        self.judge(&what, &heard, code, &running.tail())?;
        Ok((heard, catalog))
    }

    /// An error unless the program ended well.
    fn judge(&self, what: &str, heard: &Heard, code: Option<i32>, tail: &str) -> Result<(), EngineError> {
        if heard.new_settings {
            tracing::warn!(
                source.name = %self.endpoint.name,
                "source {}: its connector replaced its settings (a rotated token, say); aam keeps no secrets, so update the \
                 secret that the spec refers to", self.endpoint.name
            );
        }
        if code == Some(0) && heard.status.as_ref().is_none_or(|(succeeded, _)| *succeeded) {
            return Ok(());
        }
        let status = heard.status.as_ref().filter(|(succeeded, _)| !succeeded);
        let told = heard.failure.as_ref().map(|(why, _)| why.as_str());
        let told = told.or_else(|| status.and_then(|(_, why)| why.as_deref())).or(heard.trouble.as_deref());
        let told = told.or_else(|| tail.lines().last()).filter(|why| !why.trim().is_empty());
        let ended = match code {
            Some(code) => format!("it ended with exit code {code} and gave no reason"),
            None => "it was killed".to_owned(),
        };
        let settings =
            status.is_some() || heard.failure.as_ref().is_some_and(|(_, settings)| *settings) || code == Some(2);
        let remedy = if settings { Remedy::Person } else { Remedy::Retry };
        Err(self.error(what, told.unwrap_or(&ended), remedy))
    }
}

impl Heard {
    fn take(&mut self, message: &Message<'_>) {
        match message {
            Message::Failure { why, settings } => self.failure = Some((why.clone(), *settings)),
            Message::Trouble(why) => self.trouble = Some(why.clone()),
            Message::Status { succeeded, why } => self.status = Some((*succeeded, why.clone())),
            Message::Progress(status) => self.progress = Some(status.clone()),
            Message::NewSettings => self.new_settings = true,
            Message::Record(_) | Message::State(_) | Message::Catalog(_) => {}
        }
    }
}

#[async_trait]
impl Connector for Airbyte {
    async fn check(&self) -> Result<(), EngineError> {
        let (heard, _) = self.ask("check", CHECK).await?;
        match heard.status {
            Some((true, _)) => Ok(()),
            _ => Err(self.error("check of source", "the connector said neither succeeded nor failed", Remedy::Retry)),
        }
    }

    async fn discover(&self) -> Result<Discovered, EngineError> {
        let (_, raw) = self.ask("discover", DISCOVER).await?;
        let raw =
            raw.ok_or_else(|| self.error("discover of source", "the connector printed no catalog", Remedy::Retry))?;
        let streams = raw.get("streams").and_then(Value::as_array).into_iter().flatten();
        let catalog = Catalog { streams: streams.filter_map(json_schema::stream_from_airbyte).collect() };
        Ok(Discovered { catalog, raw })
    }

    async fn read(&self, order: &ReadOrder, sink: BatchSink) -> Result<(), EngineError> {
        let what = format!("reading stream {} of source", order.stream);
        let io = |e: std::io::Error| self.error(&what, &e.to_string(), Remedy::Retry);
        let catalog = configured(order);
        let state = order.state.clone().unwrap_or_else(|| json!([]));
        let mut running = self.start("read", &[("catalog", &catalog), ("state", &state)]).map_err(io)?;
        let mut states: Vec<Value> = state.as_array().cloned().unwrap_or_default();
        let (mut heard, mut batch) = (Heard::default(), Batch::default());
        loop {
            let Ok(line) = tokio::time::timeout(SILENCE, running.line()).await else {
                running.end().await;
                let why = format!("it printed nothing for {} minutes", SILENCE.as_secs() / 60);
                return Err(self.error(&what, &why, Remedy::Retry));
            };
            let Some(line) = line.map_err(io)? else { break };
            match message::read(line) {
                Some(Message::Record(record)) if record.stream == order.stream.name => {
                    write_row(&mut batch.rows, order, &record.data);
                    batch.count += 1;
                    batch.position = Position::Open;
                    if batch.rows.len() >= BATCH_BYTES && sink.send(std::mem::take(&mut batch)).await.is_err() {
                        return Ok(());
                    }
                }
                Some(Message::State(state)) => {
                    message::keep(&mut states, state);
                    // a full read begins anew: its states are of no use to another run
                    if order.how != How::Full {
                        batch.position = Position::After(Value::Array(states.clone()));
                    }
                    // a batch that ends at a state is worth a commit only if it is large enough
                    if batch.rows.len() >= BATCH_BYTES / 4 && sink.send(std::mem::take(&mut batch)).await.is_err() {
                        return Ok(());
                    }
                }
                Some(other) => heard.take(&other),
                None => {}
            }
        }
        let code = running.wait().await.map_err(io)?;
        let complete = heard.progress.as_deref().is_none_or(|status| status == "COMPLETE");
        // what was read up to the last state stays, however the rest went
        let sent = sink.send(batch).await;
        self.judge(&what, &heard, code, &running.tail())?;
        if !complete && sent.is_ok() {
            return Err(self.error(
                &what,
                "the connector did not complete the stream; has it still got it?",
                Remedy::Retry,
            ));
        }
        Ok(())
    }
}

/// A `ConfiguredAirbyteCatalog` of one stream.
fn configured(order: &ReadOrder) -> Value {
    let one = Catalog { streams: BTreeMap::from([(order.stream.clone(), order.schema.clone())]) };
    let stream = json_schema::airbyte_catalog(&one)["streams"][0].take();
    let mut entry = Map::from_iter([
        ("stream".to_owned(), stream),
        ("destination_sync_mode".to_owned(), json!("append")),
        ("primary_key".to_owned(), json!([])),
        ("cursor_field".to_owned(), json!([])),
    ]);
    let mode = match &order.how {
        How::Full => "full_refresh",
        How::New(cursor) => {
            if let Some(cursor) = cursor {
                entry.insert("cursor_field".into(), json!([cursor.root()]));
            }
            "incremental"
        }
    };
    entry.insert("sync_mode".into(), json!(mode));
    json!({"streams": [entry]})
}

/// One line of COPY text. Values are passed on as they were printed.
fn write_row(out: &mut Vec<u8>, order: &ReadOrder, data: &BTreeMap<std::borrow::Cow<'_, str>, &RawValue>) {
    for (place, (field, ty)) in order.columns.iter().enumerate() {
        if place > 0 {
            out.push(b'\t');
        }
        let is_json =
            matches!(ty, FieldType::Object | FieldType::Array | FieldType::Map | FieldType::Any | FieldType::Union(_));
        match data.get(field.as_str()).map(|value| value.get()) {
            None | Some("null") => out.extend_from_slice(NULL),
            Some(text) if text.starts_with('"') && !is_json => {
                let text: String = serde_json::from_str(text).unwrap_or_default();
                push_escaped(out, text.as_bytes());
            }
            Some(text) => push_escaped(out, text.as_bytes()),
        }
    }
    out.push(b'\n');
}
