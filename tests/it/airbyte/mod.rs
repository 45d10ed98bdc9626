//! Airbyte as the engine.

mod by_name;
mod client;
#[cfg(debug_assertions)]
mod crash;
mod doctor;
mod empty;
mod faults;
mod ground;
mod import;
mod landing;
mod live;
mod observed;
mod renamed;
mod sent;
mod sentences;
mod shared;
mod standin;
mod tour;
mod wire;
