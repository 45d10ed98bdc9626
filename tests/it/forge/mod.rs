//! Forges: the three adapters against stand-ins over real bare repositories.

mod app;
mod clients;
mod emulated;
mod faults;
mod languages;
mod offered;
mod story;
mod tool;
