//! Airbyte as the engine.

mod client;
mod doctor;
mod import;
mod landing;
mod live;
mod standin;
mod tour;
