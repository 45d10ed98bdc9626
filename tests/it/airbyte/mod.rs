//! Airbyte as the engine.

mod client;
mod doctor;
mod landing;
mod standin;
mod tour;
