//! A repository with a remote: its clone, what is pushed and read back, and every way in which that goes wrong.

mod clone;
mod daemon;
mod ground;
mod hook;
mod http;
mod races;
mod several;
mod ssh;
mod story;
mod trouble;
