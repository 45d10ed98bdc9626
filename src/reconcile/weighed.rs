//! The two states of a merge, each resolved by itself: what a command and the daemon tell of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Policy;
use super::resolved::resolve;
use crate::diag::Diagnostic;
use crate::ports::{Merge, Snapshot};
use crate::spec::Desired;

/// A state of the files, with no earlier version in force for what is broken.
pub struct State {
    /// The specs.
    pub desired: Arc<Desired>,
    /// What is wrong with the files.
    pub problems: Vec<Diagnostic>,
}

impl State {
    /// Resolves files.
    pub fn of(files: &Snapshot, policy: &Policy) -> Self {
        let (resolved, _) = resolve(files.clone(), &BTreeMap::new(), policy);
        Self { desired: resolved.desired, problems: resolved.diagnostics }
    }
}

/// What a reader of a merge's plan should know of the merge.
pub fn notes_of(merge: &Merge) -> Vec<String> {
    let both = merge.both.iter().map(|path| format!("{path} changed on both sides: it is taken as the head has it"));
    let unrelated = "this clone knows no common past of the two: the head is taken as it is; fetch the whole history";
    both.chain((!merge.related).then(|| unrelated.to_owned())).collect()
}
