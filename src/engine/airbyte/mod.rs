//! Airbyte as the engine: a client of its two HTTP APIs, and a reader of what its PostgreSQL destination landed.

pub mod api;
pub mod breaker;
pub mod catalog;
pub mod client;
pub mod error;
pub mod landing;
