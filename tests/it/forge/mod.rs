//! Forges: the three adapters against stand-ins over real bare repositories.

mod app;
mod beside;
mod clients;
mod emulated;
mod faults;
mod hours;
mod labels;
mod languages;
mod offered;
mod office;
mod plans;
mod random;
mod story;
mod team;
mod tool;
mod unshown;
