//! Airbyte as the engine.

mod client;
mod landing;
mod live;
mod standin;
mod tour;
