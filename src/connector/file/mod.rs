//! Files as a source: CSV and its kin, Excel, NDJSON and JSON arrays; one file, or a folder with globs.
//!
//! Settings: `path` (a file or a folder), `globs` (a list of patterns), `format` (csv, tsv, excel, ndjson, json; auto: by
//! extension), `delimiter`, `encoding`, `header` (auto, true, false). One stream per file stem; the sheets of a workbook
//! after the first are streams of their own, `stem_sheet`.
//!
//! New rows only once: the position of a file is how many rows are done and a hash over them. A file that begins with
//! the same rows gives only what follows; any other is a rewritten file and is read anew. Rows are compared, not bytes: a
//! renamed column or another line ending makes no row new.

mod decode;
mod infer;
mod locate;
mod read;
mod rows;
mod schema;

use async_trait::async_trait;

pub use locate::Layout;

use super::{BatchSink, Connector, ReadOrder, Settings, failure};
use crate::model::json_schema;
use crate::ports::{Discovered, EndpointHandle, EngineError, Remedy};

/// A file source.
pub struct File {
    endpoint: EndpointHandle,
    layout: Layout,
}

impl File {
    /// Checks the settings; opens no file yet.
    pub fn open(endpoint: &EndpointHandle) -> Result<Self, EngineError> {
        let settings = Settings::open(endpoint, &["path", "globs", "format", "delimiter", "encoding", "header"])?;
        Ok(Self { endpoint: endpoint.clone(), layout: Layout::from(&settings)? })
    }

    /// Runs file work on a thread where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce(&Layout) -> Result<T, String> + Send + 'static,
    ) -> Result<T, EngineError> {
        let layout = self.layout.clone();
        let done = tokio::task::spawn_blocking(move || work(&layout)).await;
        let wrong = |why: &str| failure(&self.endpoint, what, why, Remedy::Person);
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(why)) => Err(wrong(&why)),
            Err(panic) => Err(wrong(&format!("the connector failed: {panic}"))),
        }
    }
}

#[async_trait]
impl Connector for File {
    async fn check(&self) -> Result<(), EngineError> {
        let what = format!("checking source {}", self.endpoint.name);
        self.blocking(what, |layout| layout.streams().map(|_| ())).await
    }

    async fn discover(&self) -> Result<Discovered, EngineError> {
        let what = format!("discovering source {}", self.endpoint.name);
        let catalog = self.blocking(what, schema::discover).await?;
        Ok(Discovered { raw: json_schema::airbyte_catalog(&catalog), catalog })
    }

    async fn read(&self, order: &ReadOrder, sink: BatchSink) -> Result<(), EngineError> {
        let what = format!("reading stream {} of {}", order.stream, self.endpoint.name);
        let order = order.clone();
        self.blocking(what, move |layout| read::read(layout, &order, &sink)).await
    }
}
