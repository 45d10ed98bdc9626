//! Updates of requests that a forge takes without effect: a label that it refuses or cuts, for example. One that would be sent
//! again, word for word, to a request that shows what it showed before, is not sent again.

use std::collections::BTreeMap;

use super::Reconciler;
use crate::plan::requests::{Doing, RequestAction};
use crate::ports::{ForgeRequest, RequestDraft};

/// By request: what it was to say when it was last updated, and what it showed.
pub(super) type Sent = BTreeMap<u64, (RequestDraft, ForgeRequest)>;

impl Reconciler {
    /// Whether an action was carried out before and changed nothing.
    pub(super) fn is_vain(&self, action: &RequestAction, open: &[ForgeRequest]) -> bool {
        let Doing::Update { number, what, offer } = &action.what else { return false };
        let cache = self.cache.lock().expect("no panic while held");
        let sent = cache.sent.get(number);
        let as_before = sent.is_some_and(|(draft, shown)| *draft == offer.draft && open.contains(shown));
        // which repair it is stands in the registry
        as_before && !what.contains(&"repair")
    }

    /// Remembers an update that was sent.
    pub(super) fn note_update(&self, action: &RequestAction, open: &[ForgeRequest]) {
        let Doing::Update { number, offer, .. } = &action.what else { return };
        let sent = &mut self.cache.lock().expect("no panic while held").sent;
        sent.retain(|number, _| open.iter().any(|shown| shown.number == *number));
        if let Some(shown) = open.iter().find(|shown| shown.number == *number) {
            sent.insert(*number, (offer.draft.clone(), shown.clone()));
        }
    }
}
