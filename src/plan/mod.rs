//! The plan: what would be done for each connection and why, as a value. Pure: facts come in as arguments.
//!
//! A plan is complete (it fixes every choice, down to the bytes of a commit), printable and comparable: `aam apply` makes
//! it anew and refuses if its digest moved. It knows nothing of engines, databases or git; [`crate::reconcile`] carries
//! its steps out.

pub mod approval;
mod behind;
mod drifts;
mod edits;
mod lifecycle;
mod live;
mod planner;
mod render;
pub mod requests;
pub mod review;
mod row;
pub mod schedule;
mod step;
mod world;

#[cfg(test)]
mod tests;

pub use live::{Agreed, Live, MADE_ANEW, MASKED, Part, Properties, of_git, same};
pub use planner::{attempt, plan};
pub use render::{describe, needs_person, render, waits_for_rows};
pub use row::*;
pub use step::{Closing, ConnectionPlan, Leaving, Noting, Plan, Standing, Step};
pub use world::{Behind, Confirmed, Facts, Limits, LiveOffer, RepairFacts, Unrecorded, World};
