//! Repairs: the edits of lock, mapping and spec that answer a drift, and the file that explains them. Pure.
//!
//! Every edit of a file that people write changes only the bytes it must, and is verified by reading the file before
//! and after; an edit that cannot be verified is left out and said so.

mod chosen;
mod draft;
mod entry;
mod expr;
mod file;
mod lock;
mod mapping;
pub(crate) mod markdown;
mod offers;
mod rejected;
mod request;
mod rollback;
#[cfg(test)]
pub(crate) mod sample;
mod streams;
mod tell;
#[cfg(test)]
mod tests;
mod trial;
mod yaml;

pub use draft::{
    Input, Part, Repair, branch, branches, draft, drift_path, live_branch, lock_branch, rejection_branch, rejection_of,
    rollback_branch, rule_branch,
};
pub(crate) use entry::set as set_entry;
pub use lock::{LockEdit, edit_lock};
pub use rejected::{overrule, reject, rejected_path, rejections};
pub(crate) use request::said;
pub use request::{Offered, RequestText, offer_text, request_comment, request_text};
pub use rollback::{Basis, Effect, Moment, NextSync, Rollback, Way, Wish, roll_back};
pub use tell::Telling;
pub use trial::{Outcome, Trial, Trials, try_out};
