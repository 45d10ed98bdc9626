//! Forges: the three adapters against stand-ins over real bare repositories.

mod app;
mod clients;
mod emulated;
mod faults;
mod hours;
mod languages;
mod office;
mod random;
mod story;
mod tool;
mod unshown;
