//! Airbyte as the engine: a client of its two HTTP APIs, and a reader of what its PostgreSQL destination landed.

pub mod api;
pub mod breaker;
pub mod catalog;
pub mod client;
mod engine;
pub mod error;
pub mod import;
pub mod landing;
mod said;
pub mod schedule;
mod seen;
mod told;

pub use engine::{AirbyteEngine, Place};
