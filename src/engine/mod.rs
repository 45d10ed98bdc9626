//! Execution planes: what moves rows from sources into landing.

pub mod embedded;
