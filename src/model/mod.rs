//! The words everything else is said in: names, catalogs, field types, fingerprints and changes. No I/O.

mod catalog;
mod edit;
mod fingerprint;
mod ids;
pub mod json_schema;
mod path;
mod remote;
mod types;

pub use catalog::{Catalog, Cursor, Field, Stream, SyncMode};
pub use edit::{CommitDraft, FileEdit};
pub use fingerprint::{BodyError, Fingerprint};
pub use ids::{
    CommitId, ConnectionId, ConnectionRef, DEFAULT_TENANT, NameError, RepoPath, StreamName, TenantId, Unreadable,
};
pub use path::{FieldPath, PathError, Segment, quote_name, split_quoted};
pub use remote::{RemoteInfo, RemoteTrouble, RemoteUrl, RemoteUrlError, Rewritten, Transport};
pub use types::{FieldType, StringFormat, TypeError};
