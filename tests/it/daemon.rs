//! The loop's promises, through the real binary on real git and PostgreSQL: each test is named for what it holds.

mod approval;
mod canary;
mod commits;
mod files;
mod letters;
mod memory;
mod merged;
mod modes;
mod quiet;
mod random;
mod refused;
mod renamed;
mod sampled;
mod signals;
mod stale;
mod thrift;
mod tried;
mod troubles;
