//! The embedded engine on real PostgreSQL: every row that the source has is in landing, once, exactly.

mod faker;
mod files;
pub mod harness;
mod postgres;
mod programs;
mod published;
mod resume;
mod tickets;
mod tls;
