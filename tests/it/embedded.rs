//! The embedded engine on real PostgreSQL: every row that the source has is in landing, once, exactly.

mod by_name;
mod faker;
mod files;
pub mod harness;
mod postgres;
mod programs;
mod published;
mod resume;
mod sample;
mod tickets;
mod tls;
