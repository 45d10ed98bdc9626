//! Where everything stands: the one report that command line, socket and logs show.

mod report;

pub use report::{ConnectionReport, Pinned, PlansTrouble, Report, Sources, Unowned};
