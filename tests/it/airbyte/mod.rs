//! Airbyte as the engine.

mod client;
