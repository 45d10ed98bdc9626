//! Live edits: what a person changed in the engine's own UI, found by a three-way comparison of what was applied last, what
//! git wants, and what is live, property by property.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::StreamName;

/// What git owns of an engine's connection: `name`, `status`, `schedule`, `stream public/accounts`, … and of its ends:
/// `source name`, `source config.host`, … and their values.
pub type Properties = BTreeMap<String, Value>;

/// What stands for a value that is not shown: a secret as Airbyte shows it, and as it is told here. It says nothing, so it
/// differs from no other value.
pub const MASKED: &str = "**********";

/// How a person has it made anew what somebody deleted in the engine.
pub const MADE_ANEW: &str = "to have it made anew, remove spec and lock of each connection that has it, commit, run `aam apply`, \
                             put them back, commit, and run `aam apply` again";

/// The two parts that are written apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The connection itself.
    Connection,
    /// Its source and destination.
    Ends,
}

impl Part {
    /// Which part a property belongs to.
    pub fn of(property: &str) -> Self {
        let of_an_end = property.starts_with("source ") || property.starts_with("destination ");
        if of_an_end { Self::Ends } else { Self::Connection }
    }
}

/// Whether two values are the same, as far as both are shown.
pub fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let masked = |value: &Value| value == MASKED;
    one == other || matches!((one, other), (Some(one), Some(other)) if masked(one) || masked(other))
}

/// What was agreed with the engine when it was last written and read back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// As applied last.
    pub applied: Properties,
    /// What git wants instead and was not written, because a person had changed it in the engine; null: that it goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: Properties,
    /// What the engine held of streams that it leaves out for now, by name, in its own words: given back with them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<StreamName, Value>,
    /// Digest of the edit of the spec that was offered last for what people changed: one that was declined is not offered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// When git's value was written back lately, by property.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flips: BTreeMap<String, Vec<DateTime<Utc>>>,
    /// What flipped so often that it is left alone, with what git wanted then (null: that it goes): until git wants something else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frozen: Properties,
}

/// How the engine's connection stands to what was agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Live {
    /// It was not looked at, or nothing was agreed yet: says nothing.
    #[default]
    Unknown,
    /// As agreed.
    Same,
    /// A person took an edit back: what waited for that can be written.
    Free,
    /// A person changed these properties: they are not written.
    Edited(Vec<String>),
    /// It could not be looked at; why.
    Unseen(String),
    /// The engine stopped it by itself; why.
    Stopped(String),
    /// The engine has it no more.
    Gone,
}

/// What of a live connection git owns: every stream, and what else it says something about.
pub fn of_git(live: &Properties, wanted: &Properties) -> Properties {
    let owned = |(name, _): &(&String, &Value)| name.starts_with("stream ") || wanted.contains_key(*name);
    live.iter().filter(owned).map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Agreed {
    /// What is agreed once `wanted`, which is all of one part, was written but for the edited properties. The other part
    /// stays as it was agreed.
    pub fn after(before: Option<&Self>, part: Part, wanted: &Properties, edited: &BTreeSet<String>) -> Self {
        let mut agreed = before.cloned().unwrap_or_default();
        agreed.applied.retain(|name, _| Part::of(name) != part);
        agreed.waiting.retain(|name, _| Part::of(name) != part);
        let before = |name: &String| before.and_then(|agreed| agreed.applied.get(name));
        for name in wanted.keys().chain(edited) {
            match edited.contains(name) {
                false => drop(agreed.applied.insert(name.clone(), wanted[name].clone())),
                true => {
                    agreed.applied.extend(before(name).map(|value| (name.clone(), value.clone())));
                    agreed.waiting.insert(name.clone(), wanted.get(name).cloned().unwrap_or_default());
                }
            }
        }
        agreed.waiting.retain(|name, value| !same(agreed.applied.get(name), Some(&*value).filter(|v| !v.is_null())));
        agreed
    }

    /// The properties that a person changed: live is neither as applied last nor as wanted. What git newly owns was never
    /// applied, so its value is nobody's edit; but for streams, which git owned all along.
    pub fn edited(&self, wanted: &Properties, live: &Properties) -> BTreeSet<String> {
        let live = &of_git(live, wanted);
        let differs = |name: &&String| {
            let is = live.get(*name);
            // what git did not own before has nobody's edit
            let owned = self.applied.contains_key(*name) || name.starts_with("stream ");
            owned && !same(is, self.applied.get(*name)) && !same(is, wanted.get(*name))
        };
        live.keys().chain(self.applied.keys()).filter(differs).cloned().collect()
    }

    /// How live stands to it, as long as git wants the same.
    pub fn compare(&self, live: &Properties) -> Live {
        let mut wanted = self.applied.clone();
        wanted.extend(self.waiting.clone());
        wanted.retain(|_, value| !value.is_null());
        let edited = self.edited(&wanted, live);
        let free = self.waiting.keys().any(|name| same(live.get(name), self.applied.get(name)));
        match (edited.is_empty(), free) {
            (_, true) => Live::Free,
            (true, false) => Live::Same,
            (false, false) => Live::Edited(edited.into_iter().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    #[test]
    fn an_edit_is_kept_until_a_person_takes_it_back_or_git_follows() {
        let applied = properties(&[("schedule", "6h"), ("prefix", "")]);
        let agreed = Agreed::after(None, Part::Connection, &applied, &BTreeSet::new());
        assert_eq!(agreed.compare(&applied), Live::Same);
        let live = properties(&[("schedule", "1h"), ("prefix", "")]);
        assert_eq!(agreed.compare(&live), Live::Edited(vec!["schedule".into()]));

        let wanted = properties(&[("schedule", "12h"), ("prefix", "x_")]);
        let edited = agreed.edited(&wanted, &live);
        let partly = Agreed::after(Some(&agreed), Part::Connection, &wanted, &edited);
        let live = properties(&[("schedule", "1h"), ("prefix", "x_")]);
        assert_eq!(partly.compare(&live), Live::Edited(vec!["schedule".into()]), "the other one was written");

        let back = properties(&[("schedule", "6h"), ("prefix", "x_")]);
        assert_eq!(partly.compare(&back), Live::Free);
        let followed = properties(&[("schedule", "1h"), ("prefix", "x_")]);
        assert!(partly.edited(&followed, &live).is_empty(), "git follows the edit");
        assert_eq!(
            Agreed::after(Some(&partly), Part::Connection, &followed, &BTreeSet::new()).compare(&live),
            Live::Same
        );
    }

    #[test]
    fn what_git_newly_owns_is_no_edit() {
        let agreed = Agreed::after(None, Part::Connection, &properties(&[("schedule", "6h")]), &BTreeSet::new());
        let live = properties(&[("schedule", "6h"), ("preference", "propagate")]);
        let wanted = properties(&[("schedule", "6h"), ("preference", "ignore")]);
        assert_eq!(agreed.compare(&live), Live::Same);
        assert!(agreed.edited(&wanted, &live).is_empty());
    }

    #[test]
    fn what_is_not_shown_is_no_edit_and_the_parts_are_apart() {
        let ends = properties(&[("source config.host", "a"), ("source config.password", MASKED)]);
        let agreed = Agreed::after(None, Part::Ends, &ends, &BTreeSet::new());
        let agreed = Agreed::after(Some(&agreed), Part::Connection, &properties(&[("prefix", "")]), &BTreeSet::new());
        let live = properties(&[("source config.host", MASKED), ("source config.password", "shown"), ("prefix", "")]);
        assert_eq!(agreed.compare(&live), Live::Same);
        let live = properties(&[("source config.host", "b"), ("source config.password", MASKED), ("prefix", "")]);
        assert_eq!(agreed.compare(&live), Live::Edited(vec!["source config.host".into()]));
    }

    #[test]
    fn what_a_person_adds_or_removes_is_an_edit() {
        let agreed = Agreed::after(None, Part::Connection, &properties(&[("stream a", "1")]), &BTreeSet::new());
        let live = properties(&[("stream b", "1")]);
        assert_eq!(agreed.compare(&live), Live::Edited(vec!["stream a".into(), "stream b".into()]));
        let partly = Agreed::after(
            Some(&agreed),
            Part::Connection,
            &properties(&[("stream a", "1")]),
            &["stream b".to_owned()].into(),
        );
        assert_eq!(partly.compare(&live), Live::Edited(vec!["stream a".into(), "stream b".into()]));
        assert_eq!(partly.compare(&properties(&[("stream a", "1")])), Live::Same);
    }
}
