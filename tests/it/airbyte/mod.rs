//! Airbyte as the engine.

mod client;
mod import;
mod landing;
mod standin;
mod tour;
