//! Airbyte as the engine.

mod client;
mod landing;
mod standin;
