//! Execution planes: what moves rows from sources into landing.

pub mod airbyte;
pub mod embedded;
mod names;
