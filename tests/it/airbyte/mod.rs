//! Airbyte as the engine.

mod client;
mod doctor;
mod landing;
mod live;
mod standin;
mod tour;
