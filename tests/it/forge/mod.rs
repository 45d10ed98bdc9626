//! Forges: the three adapters against stand-ins over real bare repositories.

mod app;
mod clients;
mod emulated;
mod faults;
mod labels;
mod languages;
mod plans;
mod story;
mod team;
mod tool;
