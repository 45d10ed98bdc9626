//! Airbyte as the engine.

mod by_name;
mod client;
#[cfg(feature = "failpoints")]
mod crash;
mod doctor;
mod faults;
mod ground;
mod import;
mod landing;
mod live;
mod observed;
mod renamed;
mod sent;
mod shared;
mod standin;
mod tour;
