//! Finds renames among the fields that went and the fields that came.
//!
//! Each pair is looked at ([`FEATURES`]), scored by a fitted [`Model`], and the best pairing of the whole level is taken,
//! "no partner" being one of the choices. Confidence is the calibrated probability that a reviewer takes the rename as it
//! is; sampled values ([`Values`]), where there are any, raise or lower it and alone can prove a rename. How all of it was
//! measured: `docs/drift-evidence.md`.

pub mod arrival;
mod assign;
mod contrast;
mod evidence;
mod features;
mod join;
mod judged;
mod level;
mod model;
mod names;
mod profile;
mod shortlist;
#[cfg(test)]
mod tests;
mod told;
mod values;
mod words;

pub use arrival::{Arrival, Arrivals, KeptValues};
pub use evidence::{About, Counts, Line};
pub use features::FEATURES;
pub(super) use features::name_likeness;
pub use join::{Columns, Question, join, questions};
pub use judged::{Judged, LEAST, Match, assigned, least_confidence, looked_at};
pub use level::{Kept, Level, Member, Role};
pub use model::{Judge, Model, Node, Tree, probability, standing};
pub use profile::{Alike, Profile};
pub use values::{AlikePair, Joined, JoinedPair, Sampled, Values, plain, same_value};
