//! Logs on standard error: for eyes, or one JSON object per line.
//!
//! No masking happens here: secrets are kept out of log calls by their types.

use std::fmt::{self, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::settings::{Log, LogFormat};

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("setting up logs: {0}")]
pub struct TelemetryError(String);

/// Sends the logs of this process to standard error. Once per process.
pub fn start(log: &Log) -> Result<(), TelemetryError> {
    let subscriber = subscriber(log, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|e| TelemetryError(e.to_string()))
}

fn subscriber<W>(log: &Log, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // sqlx repeats the server's notices at info; they say nothing to the person who reads this log.
    let filter = EnvFilter::try_new(format!("sqlx=warn,{}", log.level))
        .map_err(|e| TelemetryError(format!("[log] level {:?}: {e}", log.level)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    Ok(match log.format {
        LogFormat::Human => Box::new(builder.event_format(Human).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// `2026-01-02T03:04:05.678Z  INFO connection crm: in sync`: the message names the thing, so its fields are left out.
struct Human;

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(out, "{now} {:>5} {}", event.metadata().level(), escape(&message.0))
    }
}

struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}"); // writing to a String cannot fail
        }
    }
}

/// Makes control characters visible: text from outside must not move the cursor or fake a line.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        let sink = Sink::default();
        let make = {
            let sink = sink.clone();
            move || sink.clone()
        };
        let log = Log { level: "info".to_owned(), format };
        tracing::subscriber::with_default(subscriber(&log, make).unwrap(), || {
            tracing::info!(connection.id = 7, "crm said {}", "no\x1b[2J\nINFO all is well");
            tracing::debug!("not shown");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn control_characters_cannot_fake_a_line() {
        let text = logged(LogFormat::Human);
        assert_eq!(text.split_once(' ').unwrap().1, " INFO crm said no\\u{1b}[2J\\nINFO all is well\n");
    }

    #[test]
    fn json_is_one_object_per_line_with_fields() {
        let line: serde_json::Value = serde_json::from_str(logged(LogFormat::Json).trim_end()).unwrap();
        assert_eq!(line["connection.id"], 7);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_wrong_level_is_named() {
        let log = Log { level: "aam=loud".to_owned(), format: LogFormat::Human };
        assert!(subscriber(&log, io::stderr).err().unwrap().to_string().contains("aam=loud"));
    }
}
