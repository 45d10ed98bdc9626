//! Drift: every difference between an approved catalog and what the source shows now, classified and scored. Pure.
//!
//! [`compare`] lists the changes, [`assess`] judges each (rule, severity, gate, confidence, what it breaks), [`apply`]
//! carries all or some of them out on the approved catalog, so that a repair can take the automatic ones alone.

mod apply;
mod assess;
mod change;
mod compare;
mod diff;
mod expr;
mod findings;
mod grade;
mod impact;
#[cfg(test)]
mod laws;
mod places;
pub mod radius;
pub mod rename;
mod rules;
mod say;
mod sides;
mod streams;
#[cfg(test)]
mod tests;
mod tree;

pub use apply::apply;
pub(crate) use assess::is_of_key_or_cursor;
pub use assess::{Assessed, Assessment, Automatic, Scene, assess};
pub use change::*;
pub use compare::{compare, compare_with};
pub(crate) use compare::{renamed, renames_in, stream_now};
pub use diff::render_diff;
pub(crate) use expr::{Use, is_identifier, uses, variables};
pub use grade::{Graded, grade};
pub(crate) use impact::hits_of_field;
pub(crate) use impact::is_stream;
pub use impact::{Hit, Impact};
pub use places::with_places;
pub use radius::Radius;
pub use rules::{CODES, Severity};
pub(crate) use say::retyped;
pub use say::{line_of, say};
pub use streams::followed;
