//! Airbyte as the engine.

mod client;
#[cfg(feature = "failpoints")]
mod crash;
mod faults;
mod landing;
mod live;
mod standin;
mod tour;
