//! Any source connector of Airbyte, run as a program by the connector protocol: no Airbyte server is needed.
//!
//! Each call is a run of its own: `spec`, `check`, `discover`, and `read` of one stream. A row counts as read only once the
//! connector has printed a state behind it; what landed after the last state is taken out and read again.

mod message;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::copy_text::{NULL, is_json, push_escaped};
use super::specification;
use super::{BATCH_BYTES, Batch, BatchSink, Connector, How, Position, Programs, ReadOrder, Stopped, failure};
use crate::model::{Catalog, RepoPath, json_schema};
use crate::ports::{Discovered, EndpointHandle, EngineError, Remedy};
use message::Message;
use process::Running;

/// A specification comes with the program: nothing is asked of anybody.
const SPEC: Duration = Duration::from_secs(60);
/// Connectors try a network that does not answer for a while themselves.
const CHECK: Duration = Duration::from_secs(5 * 60);
/// A discover of thousands of tables takes minutes.
const DISCOVER: Duration = Duration::from_secs(15 * 60);
/// A read that prints nothing for so long is stuck; connectors that wait for a rate limit log that they do.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// Where the runner of manifests takes one from the settings, if it is given no file.
const INJECTED: &str = "__injected_declarative_manifest";

/// A connector as a program.
pub struct Airbyte {
    endpoint: EndpointHandle,
    command: Vec<String>,
    /// The file of a connector that is a manifest; the program is its runner.
    manifest: Option<PathBuf>,
    settings: Value,
}

/// Where a manifest lies: a file below the configuration root, also by way of links.
pub fn manifest(root: &Path, path: &str) -> Result<PathBuf, String> {
    let path = RepoPath::new(path).map_err(|_| "it does not lie below the configuration root".to_owned())?;
    let real = |path: PathBuf| std::fs::canonicalize(path);
    let found = real(root.join(path.as_str())).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file below the configuration root".to_owned(),
        _ => e.to_string(),
    })?;
    let root = real(root.to_owned()).map_err(|e| e.to_string())?;
    match found {
        found if !found.starts_with(&root) => Err("a link leads out of the configuration root".to_owned()),
        found if !found.is_file() => Err("it is no file".to_owned()),
        found => Ok(found),
    }
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
    /// Checks that the program is there and may be run: `programs` is what the settings of the daemon list. A spec alone
    /// must not decide what runs on this machine, nor which of its files is read.
    pub fn open(endpoint: &EndpointHandle, programs: &Programs) -> Result<Self, EngineError> {
        let wrong = |why: String| failure(endpoint, format!("source {}", endpoint.name), &why, Remedy::Person);
        let given = endpoint.config.expose();
        let command: Vec<String> = serde_json::from_value(given["command"].clone())
            .map_err(|_| wrong("`command` must be a list of texts".into()))?;
        let Some(program) = command.first() else { return Err(wrong("`command` is empty".into())) };
        // an entry with arguments allows the program with these first
        let begins =
            |entry: &String| command.iter().map(String::as_str).take(entry.split(' ').count()).eq(entry.split(' '));
        if !programs.allowed.iter().any(begins) {
            return Err(wrong(format!(
                "the program {program} may not be run: add it to `[engine] commands` in config/aam.toml of this machine"
            )));
        }
        if process::find(program).is_none() {
            let why = "write its whole path, or install it where PATH leads";
            return Err(wrong(format!("there is no program {program} on this machine: {why}")));
        }
        let manifest = given
            .get("manifest")
            .and_then(Value::as_str)
            .map(|path| manifest(&programs.root, path).map_err(|why| wrong(format!("manifest {path}: {why}"))));
        let manifest = manifest.transpose()?;
        let settings = given.get("config").filter(|config| !config.is_null()).cloned().unwrap_or_else(|| json!({}));
        Ok(Self { endpoint: endpoint.clone(), command, manifest, settings })
    }

    fn error(&self, what: &str, why: &str, remedy: Remedy) -> EngineError {
        failure(&self.endpoint, format!("{what} {}", self.endpoint.name), why, remedy)
    }

    /// Starts the program with the settings and these files.
    fn start(&self, verb: &str, files: &[(&str, &Value)]) -> std::io::Result<Running> {
        let files: Vec<_> = std::iter::once(("config", &self.settings)).chain(files.iter().copied()).collect();
        let manifest = self.manifest.iter().flat_map(|path| ["--manifest-path".into(), path.clone().into_os_string()]);
        Running::start(&self.command, verb, &files, &manifest.collect::<Vec<_>>())
    }

    /// What the settings must be; `None` where the connector does not tell, for then its check decides alone. The runner
    /// of manifests knows only what all manifests have in common, so the manifest itself is asked.
    async fn specification(&self) -> Option<Value> {
        let manifest = match &self.manifest {
            Some(path) => serde_yaml::from_str(&std::fs::read_to_string(path).ok()?).ok(),
            None => self.settings.get(INJECTED).cloned(),
        };
        if let Some(manifest) = manifest {
            return Value::pointer(&manifest, "/spec/connection_specification").cloned();
        }
        let mut running = Running::start(&self.command, "spec", &[], &[]).ok()?;
        let mut told = None;
        let whole = async {
            while let Ok(Some(line)) = running.line().await {
                if let Some(Message::Specification(schema)) = message::read(line) {
                    told = Some(schema);
                }
            }
        };
        if tokio::time::timeout(SPEC, whole).await.is_err() {
            running.end().await;
        }
        told
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
        let tail = self.endpoint.config.mask(tail);
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
            Message::Record(_)
            | Message::State(_)
            | Message::Specification(_)
            | Message::Catalog(_)
            | Message::Unreadable(_) => {}
        }
    }
}

#[async_trait]
impl Connector for Airbyte {
    /// Names everything that the specification wants and the settings lack, before the connector tries them.
    async fn check(&self) -> Result<(), EngineError> {
        if let Some(asked) = self.specification().await {
            let problems = specification::problems(&asked, &self.settings, &self.endpoint.config);
            if !problems.is_empty() {
                return Err(self.error("check of source", &problems.join("; "), Remedy::Person));
            }
        }
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
        // "could not look" is never "everything is gone"
        let streams = raw.get("streams").and_then(Value::as_array);
        let streams =
            streams.ok_or_else(|| self.error("discover of source", "its catalog has no streams", Remedy::Retry))?;
        let catalog = Catalog { streams: streams.iter().filter_map(json_schema::stream_from_airbyte).collect() };
        Ok(Discovered { catalog, raw })
    }

    async fn read(&self, order: &ReadOrder, sink: BatchSink) -> Result<(), EngineError> {
        let what = format!("reading stream {} of source", order.stream);
        let io = |e: std::io::Error| self.error(&what, &e.to_string(), Remedy::Retry);
        let catalog = configured(order);
        // a position of another connector says nothing here
        let state = order.state.clone().filter(Value::is_array).unwrap_or_else(|| json!([]));
        let mut running = self.start("read", &[("catalog", &catalog), ("state", &state)]).map_err(io)?;
        let mut rows = Rows::new(order, &sink, state.as_array().cloned().unwrap_or_default());
        let mut heard = Heard::default();
        let ended = self.listen(&what, &mut running, &mut rows, &mut heard).await;
        let complete = heard.progress.as_deref().is_none_or(|status| status == "COMPLETE");
        let judged = match ended {
            Ok(None) => return Ok(()), // nobody listens any more
            Ok(Some(code)) => self.judge(&what, &heard, code, &running.tail()),
            Err(error) => Err(error),
        };
        let why = "the connector did not complete the stream; has it still got it?";
        let judged = judged.and_then(|()| if complete { Ok(()) } else { Err(self.error(&what, why, Remedy::Retry)) });
        // what was read up to the last state stays, however the rest went
        rows.finish(judged.is_ok()).await;
        judged
    }
}

impl Airbyte {
    /// Takes rows and states until the program ends; its exit code (`None` inside: a signal), or `None` if the rows' receiver
    /// is gone.
    async fn listen(
        &self,
        what: &str,
        running: &mut Running,
        rows: &mut Rows<'_>,
        heard: &mut Heard,
    ) -> Result<Option<Option<i32>>, EngineError> {
        let io = |e: std::io::Error| self.error(what, &e.to_string(), Remedy::Retry);
        loop {
            let Ok(line) = tokio::time::timeout(SILENCE, running.line()).await else {
                running.end().await;
                let why = format!("it printed nothing for {} minutes", SILENCE.as_secs() / 60);
                return Err(self.error(what, &why, Remedy::Retry));
            };
            let Some(line) = line.map_err(io)? else { break };
            let went_on = match message::read(line) {
                Some(Message::Record(record)) => rows.add(&record).await,
                Some(Message::State(state)) => rows.state(state).await,
                Some(Message::Unreadable(why)) => return Err(self.error(what, &why, Remedy::Person)),
                Some(other) => {
                    heard.take(&other);
                    Ok(())
                }
                None => Ok(()),
            };
            if went_on.is_err() {
                return Ok(None);
            }
        }
        running.wait().await.map_err(io).map(Some)
    }
}

/// Rows on their way to the sink. Those up to the last state are sent with it; only a batch without any state goes open.
struct Rows<'a> {
    order: &'a ReadOrder,
    sink: &'a BatchSink,
    states: Vec<Value>,
    batch: Batch,
    /// Bytes and rows of the batch that the last state covers.
    covered: Option<(usize, u64)>,
    sent_at: tokio::time::Instant,
}

/// A slow source's rows do not wait longer than this for a batch to fill.
const WAIT: Duration = Duration::from_secs(10);

impl<'a> Rows<'a> {
    fn new(order: &'a ReadOrder, sink: &'a BatchSink, states: Vec<Value>) -> Self {
        Self { order, sink, states, batch: Batch::default(), covered: None, sent_at: tokio::time::Instant::now() }
    }

    async fn add(&mut self, record: &message::Record<'_>) -> Result<(), Stopped> {
        if record.stream != self.order.stream.name {
            return Ok(());
        }
        write_row(&mut self.batch.rows, self.order, &record.data);
        self.batch.count += 1;
        if self.batch.rows.len() < BATCH_BYTES {
            return Ok(());
        }
        match self.covered {
            Some(_) => self.send_covered().await,
            None => self.sink.send(std::mem::take(&mut self.batch)).await,
        }
    }

    async fn state(&mut self, state: Value) -> Result<(), Stopped> {
        message::keep(&mut self.states, state);
        // a full read begins anew: its states are of no use to another run
        if self.order.how == How::Full {
            return Ok(());
        }
        self.covered = Some((self.batch.rows.len(), self.batch.count));
        if self.batch.rows.len() >= BATCH_BYTES / 4 || self.sent_at.elapsed() >= WAIT {
            return self.send_covered().await;
        }
        Ok(())
    }

    /// Sends what the last state covers and keeps the rest.
    async fn send_covered(&mut self) -> Result<(), Stopped> {
        let Some((bytes, count)) = self.covered.take() else { return Ok(()) };
        let rest =
            Batch { rows: self.batch.rows.split_off(bytes), count: self.batch.count - count, ..Batch::default() };
        let mut batch = std::mem::replace(&mut self.batch, rest);
        batch.count = count;
        batch.position = Position::After(Value::Array(self.states.clone()));
        self.sent_at = tokio::time::Instant::now();
        self.sink.send(batch).await
    }

    /// The end: after a good one everything counts, else what the last state covers. A receiver that is gone wants neither.
    async fn finish(mut self, well: bool) {
        let _ = self.send_covered().await;
        if well {
            let _ = self.sink.send(self.batch).await;
        }
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
        match data.get(field.as_str()).map(|value| value.get()) {
            None | Some("null") => out.extend_from_slice(NULL),
            Some(printed) if printed.starts_with('"') && !is_json(ty) => {
                // a text that is no Unicode (half a surrogate pair) stays as it was printed
                let text: Option<String> = serde_json::from_str(printed).ok();
                push_escaped(out, text.as_deref().unwrap_or(printed).as_bytes());
            }
            Some(text) => push_escaped(out, text.as_bytes()),
        }
    }
    out.push(b'\n');
}
