//! Mappings: how a source's records become canonical records. Pure.
//!
//! [`check`] types every mapping against the entities and against the locks of the connections that use it;
//! [`compile`] turns one `entities:` entry into a [`CompiledMapping`], once; [`CompiledMapping::apply`] maps a record.
//!
//! What a mapping promises: nothing is dropped. Each value of a record either fed a canonical field, the key, an
//! expression or `deleted_when`, or it is in `unknown_fields`. A null is no value: it neither fills a canonical field
//! nor counts as an unknown one, so that a new column without values changes no record.
//!
//! Names of source fields occur in `unknown_fields` only. Canonical data therefore stays the same when a source field
//! is renamed and the mapping follows, and [`content_hash`] then finds no new version.

mod apply;
mod check;
pub mod codes;
mod compile;
mod convert;
mod expression;
mod hash;
mod number;
mod place;
mod select;
#[cfg(test)]
mod tests;
mod time;

pub use apply::{Mapped, Rejected};
pub use check::{Coverage, check, coverage, find_stream};
pub use codes::CODES;
pub use compile::{CompiledMapping, compile};
pub use convert::ValueType;
pub use hash::{content_hash, key_text, mapping_digest};
