//! The integration tests: one binary, one private PostgreSQL cluster for all of them.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/forge/mod.rs"]
mod forge_standin;
#[path = "../support/airbyte/mod.rs"]
mod standin;
mod support;
mod tidy;

mod airbyte;
mod canonical;
mod cli;
mod crash;
mod daemon;
mod docs;
mod embedded;
mod forge;
mod playground;
mod registry;
mod remote;
mod repo;
mod review;
mod rollback;
mod samples;
mod spec;
mod unit;
mod watch;
