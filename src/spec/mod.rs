//! Specs: raw → checked → resolved. Later code sees only [`Desired`].
//!
//! A file goes through `yaml` (text → tree with places), `raw` (tree → the shape that `aam schema` publishes), `check`
//! (everything one file can tell for itself) and `resolve` (references, last good versions, locks). Each stage adds what
//! it finds to one list and goes on.

mod airbyte;
mod check;
pub mod connectors;
mod desired;
pub mod lock;
mod mask;
pub mod names;
mod pin;
pub mod quartz;
mod raw;
mod read;
mod reselect;
mod resolve;
pub mod schedule;
pub mod schema;
mod select;
mod source;
mod value;
mod yaml;

pub use check::{airbyte_id_of, pin_of, removal_of};
pub use desired::*;
pub use pin::{Pin, end_of, ended_pins};
pub use reselect::{describe_problems, reselect};
pub use resolve::{Input, Resolution, resolve};
pub(crate) use select::carried;
pub use select::{SelectProblem, StreamPlan, configure, select, select_present};
pub use value::{escaped, escaped_value, needs_reference};
pub use yaml::MAX_BYTES;
