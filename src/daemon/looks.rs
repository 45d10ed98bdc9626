//! Looks that wait for a place, and which of them comes next.
//!
//! A discover takes seconds or, of a few sources, minutes. One of those begun last would be waited for alone, so the longest
//! comes first: what a source took the last time is what it is expected to take. With that, a round of looks ends little
//! later than the larger of its longest look and of the sum of all by the number of places.
//!
//! Of the first round nothing is known. No place is empty before the last look begins, so it ends within
//! `sum / places + longest * (1 - 1 / places)` whatever the order. No order promises less: while looks differ in nothing, the
//! one begun last may be the longest. Only places beyond those of the settings, or looks broken off and begun again, would help.
//! With the four places of the default, where one look in twenty is slow, that is at most 1.05 times what it must be, as long as
//! the others take 5 s and the slow ones up to 475 s.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::ConnectionRef;

/// The connections that share a source: one discover for all of them.
pub(super) type Look = Vec<ConnectionRef>;

/// What waits, in the order in which it begins.
#[derive(Default)]
pub(super) struct Looks {
    waiting: VecDeque<Look>,
    /// How long the last look at the source of each connection took. Forgotten when the process ends: a round later it is
    /// known again.
    took: BTreeMap<ConnectionRef, Duration>,
}

impl Looks {
    /// Replaces what waits by what a new turn found due.
    pub(super) fn wait(&mut self, mut looks: Vec<Look>) {
        looks.sort_by_cached_key(|look| std::cmp::Reverse(self.expected(look)));
        self.waiting = looks.into();
    }

    /// The one that comes next.
    pub(super) fn next(&mut self) -> Option<Look> {
        self.waiting.pop_front()
    }

    /// Remembers how long a look took, however it went: the one that ran into its deadline is the longest of all.
    pub(super) fn note(&mut self, look: &Look, took: Duration) {
        self.took.extend(look.iter().map(|name| (name.clone(), took)));
    }

    /// A source that was never looked at may take any time, so it counts as the longest.
    fn expected(&self, look: &Look) -> Duration {
        look.iter().map(|name| self.took.get(name).copied().unwrap_or(Duration::MAX)).max().unwrap_or_default()
    }
}
