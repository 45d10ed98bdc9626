//! Airbyte as the engine.

mod client;
mod standin;
