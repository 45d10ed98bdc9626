//! What goes on while a newer committed state is in force and cannot be fetched.

use super::{Behind, ConnectionPlan, ConnectionRow, Standing, Step};
use crate::spec::Connection;

/// Keeps what moves the rows of a connection that the engine has just as this older state says, and withholds the rest:
/// whatever else this state says may be over.
pub(super) fn wait_for_newer(
    behind: &Behind,
    connection: Option<&Connection>,
    row: Option<&ConnectionRow>,
    plan: &mut ConnectionPlan,
) {
    let is_ours = connection.zip(row).is_some_and(|(connection, row)| is_as_here(connection, row));
    let goes_on = |step: &Step| match step {
        Step::Normalize { .. } => behind.maps_alike,
        step => *step == Step::Look || step.carries_rows(),
    };
    let before = plan.steps.len();
    plan.steps.retain(|step| is_ours && goes_on(step));
    if plan.steps.len() < before || plan.standing == Standing::InSync {
        plan.standing = Standing::Unseen { reason: behind.why.clone() };
    }
}

/// Whether the newer state changed nothing of it that is in force already.
fn is_as_here(connection: &Connection, row: &ConnectionRow) -> bool {
    let locked = connection.lock.as_ref().map(|lock| &lock.fingerprint);
    row.name == connection.name
        && row.applied_digest.as_ref() == Some(&connection.digest)
        && row.fingerprint.as_ref() == locked
}
