//! The blast radius of a drift: which entities and fields starve and how many events a day that is, which columns of landing
//! go, which streams wait, and who else feeds the same.
//!
//! What specs, mappings and locks say is worked out here. What only the world knows is handed in: [`Usage`], which the
//! registry counts, and [`Tables`], which the engine names.

#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Assessment, Change, Hit, Impact, is_stream};
use crate::model::{ConnectionRef, FieldPath, StreamName};
use crate::spec::{Connection, Desired, Mode, WhenBreaking};

/// What a drift reaches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Radius {
    /// Lines of mapping and spec that need what changed, the starving first.
    pub places: Vec<Place>,
    /// Tables and columns of the destination that will not stay as they are.
    pub columns: Vec<Column>,
    /// Streams with a change that breaks a mapping or a sync.
    pub streams: Vec<Reached>,
    /// Of which days the rates are.
    pub counted: Option<Counted>,
}

/// A line that needs what changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// File, line, and what stands there. A canonical field with what it reads is the step of lineage that ends.
    #[serde(flatten)]
    pub impact: Impact,
    /// The stream that changed.
    pub stream: StreamName,
    /// What becomes of it.
    pub effect: Effect,
    /// For a stream that an entity is read from: the canonical fields that it feeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Whether records without a value go to the dead letters.
    pub required: bool,
    /// Events a day that carried the canonical field, or were of the entity, before the drift; three digits count.
    pub events_per_day: Option<f64>,
    /// Connections of other sources that feed the same: they go on.
    pub also_fed_by: Vec<ConnectionRef>,
}

/// What becomes of a place that needs what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// What it needs is gone.
    Starves,
    /// What it needs has another name, which the repair follows.
    Follows,
    /// What it needs is of another form.
    Differs,
}

/// A table of the destination, or a column of it, that will not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Column {
    /// The table, with its schema where the spec tells it.
    pub table: String,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What becomes of a table or column with the first sync after approval.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// The destination drops the column.
    Dropped {
        /// Which.
        column: String,
    },
    /// The destination drops the column and adds another one.
    Replaced {
        /// Which.
        column: String,
        /// By which.
        by: String,
    },
    /// The column may get another type.
    Retyped {
        /// Which.
        column: String,
    },
    /// The JSON in it has another form.
    Inside {
        /// Which.
        column: String,
    },
    /// The table gets no more rows.
    Rests,
}

impl Fate {
    /// Which column it is of.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Dropped { column }
            | Self::Replaced { column, .. }
            | Self::Retyped { column }
            | Self::Inside { column } => Some(column),
            Self::Rests => None,
        }
    }
}

/// A stream with a change that breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Which.
    pub stream: StreamName,
    /// What becomes of its syncs until the drift is decided.
    pub syncs: Syncs,
    /// Entities that are read from it.
    pub entities: Vec<String>,
    /// The end of the last good sync that carried it, before the drift was seen.
    pub synced_at: Option<DateTime<Utc>>,
}

/// What becomes of a stream's syncs until its drift is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syncs {
    /// It is left out of syncs.
    Held,
    /// It goes on; what is missing is null.
    GoesOn,
    /// There is nothing to read any more.
    Stops,
    /// `aam` has no hand in them: the connection's mode forbids it.
    LeftAlone,
}

/// Of which days rates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// From when.
    pub since: DateTime<Utc>,
    /// Until when: the drift was first seen then.
    pub until: DateTime<Utc>,
}

impl Counted {
    /// The week before that moment, or what there is of it since a connection was declared.
    pub fn before(until: DateTime<Utc>, declared: DateTime<Utc>) -> Self {
        Self { since: declared.max(until - TimeDelta::days(7)).min(until), until }
    }

    /// How long, in days; at least one.
    fn length(&self) -> f64 {
        ((self.until - self.since).num_seconds() as f64 / 86_400.0).max(1.0)
    }

    /// How many days, begun ones counted whole; at least one.
    pub fn days(&self) -> u32 {
        let seconds = (self.until - self.since).num_seconds();
        u32::try_from((seconds + 86_399) / 86_400).unwrap_or(1).max(1)
    }
}

/// What of streams is to be counted: their entities, and of these the canonical fields.
pub type Asked = BTreeMap<StreamName, BTreeMap<String, BTreeSet<String>>>;

/// What the registry counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// In which days.
    pub counted: Counted,
    /// By stream and entity.
    pub events: BTreeMap<StreamName, BTreeMap<String, Events>>,
    /// The end of the last good sync that carried the stream, before those days ended.
    pub synced: BTreeMap<StreamName, DateTime<Utc>>,
}

/// Events of an entity, from one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// All of them.
    pub all: u64,
    /// Those in which a canonical field had a value.
    pub carrying: BTreeMap<String, u64>,
}

/// Where streams land.
pub type Tables = BTreeMap<StreamName, Table>;

/// Where a stream lands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The table, with its schema where the spec tells it.
    pub name: String,
    /// Top-level field → column.
    pub columns: BTreeMap<String, String>,
}

/// What a radius is worked out from besides the changes.
pub struct Surroundings<'a> {
    /// The connection with its mapping.
    pub connection: &'a Connection,
    /// All of them, and the entities.
    pub desired: &'a Desired,
    /// Where the approved catalog lands.
    pub tables: &'a Tables,
    /// Where it would land after approval.
    pub tables_after: &'a Tables,
    /// What was counted, if anything was.
    pub usage: Option<&'a Usage>,
}

/// What is to be counted for these changes.
pub fn asked(assessment: &Assessment) -> Asked {
    let mut asked = Asked::new();
    for change in &assessment.changes {
        let stream = assessment.stream_before(&change.change);
        if change.severity.is_breaking() {
            asked.entry(stream.clone()).or_default();
        }
        for (entity, target) in change.impact.iter().filter_map(|i| Some((i.hit.entity()?, target(&i.hit)))) {
            let entities = asked.entry(stream.clone()).or_default();
            entities.entry(entity.to_owned()).or_default().extend(target.map(str::to_owned));
        }
    }
    asked
}

/// Works out what these changes reach.
pub fn radius(assessment: &Assessment, around: &Surroundings<'_>) -> Radius {
    let columns: BTreeSet<Column> = assessment.changes.iter().filter_map(|c| around.column(&c.change)).collect();
    Radius {
        places: around.places(assessment),
        columns: columns.into_iter().collect(),
        streams: around.streams(assessment),
        counted: around.usage.map(|usage| usage.counted),
    }
}

fn target(hit: &Hit) -> Option<&str> {
    match hit {
        Hit::Canonical { target, .. } => Some(target),
        _ => None,
    }
}

/// What becomes of places that need what changed so.
fn effect(change: &Change) -> Effect {
    match change {
        Change::FieldRemoved { .. } | Change::StreamRemoved { .. } => Effect::Starves,
        Change::FieldRenamed { .. } | Change::StreamRenamed { .. } => Effect::Follows,
        _ => Effect::Differs,
    }
}

impl Surroundings<'_> {
    fn places(&self, assessment: &Assessment) -> Vec<Place> {
        // Several changes may touch one line: a rename and what lies inside it.
        let mut found: BTreeMap<(&Impact, &StreamName), Effect> = BTreeMap::new();
        for change in &assessment.changes {
            let stream = assessment.stream_before(&change.change);
            for impact in &change.impact {
                let effect = match change.lives_on {
                    Some(_) => Effect::Follows,
                    None => effect(&change.change),
                };
                let worst = found.entry((impact, stream)).or_insert(effect);
                *worst = effect.min(*worst);
            }
        }
        let mut places: Vec<Place> =
            found.into_iter().map(|((impact, stream), effect)| self.place(impact, stream, effect)).collect();
        places.sort_by_key(|place| place.effect);
        places
    }

    fn place(&self, impact: &Impact, stream: &StreamName, effect: Effect) -> Place {
        let (entity, target) = (impact.hit.entity(), target(&impact.hit));
        let fields = match &impact.hit {
            Hit::EntityStream { entity } => self.fed(self.connection, entity),
            _ => Vec::new(),
        };
        let spec = entity.zip(target).and_then(|(e, t)| self.desired.entities.get(e)?.fields.get(t));
        Place {
            impact: impact.clone(),
            stream: stream.clone(),
            effect,
            fields,
            required: spec.is_some_and(|field| field.required),
            events_per_day: entity.and_then(|entity| self.rate(stream, entity, target)),
            also_fed_by: entity.map(|entity| self.also_fed_by(entity, target)).unwrap_or_default(),
        }
    }

    /// Canonical fields of an entity that a connection's mapping feeds.
    fn fed(&self, connection: &Connection, entity: &str) -> Vec<String> {
        let entries = connection.mapping.iter().flat_map(|m| &m.entities).filter(|e| e.entity.value == entity);
        entries.flat_map(|entry| entry.fields.iter().map(|field| field.target.value.clone())).collect()
    }

    /// Other connections of the tenant that feed the field, or the entity. One of the same source has the same drift.
    fn also_fed_by(&self, entity: &str, target: Option<&str>) -> Vec<ConnectionRef> {
        let feeds = |other: &Connection| match target {
            Some(target) => self.fed(other, entity).iter().any(|fed| fed == target),
            None => other.mapping.iter().any(|m| m.entities.iter().any(|e| e.entity.value == entity)),
        };
        let own = self.connection;
        let others = self.desired.connections.values().filter(|other| {
            other.name.tenant == own.name.tenant && other.source.name != own.source.name && feeds(other)
        });
        others.map(|other| other.name.clone()).collect()
    }

    fn rate(&self, stream: &StreamName, entity: &str, target: Option<&str>) -> Option<f64> {
        let usage = self.usage?;
        let events = usage.events.get(stream).and_then(|entities| entities.get(entity));
        let count = match (events, target) {
            (None, _) => 0,
            (Some(events), None) => events.all,
            (Some(events), Some(target)) => events.carrying.get(target).copied().unwrap_or(0),
        };
        Some(three_digits(count as f64 / usage.counted.length()))
    }

    fn column(&self, change: &Change) -> Option<Column> {
        let table = self.tables.get(change.stream())?;
        let named = |path: &FieldPath| table.columns.get(path.root()).cloned();
        let nested = |path: &FieldPath| path.segments().len() > 1;
        let fate = match change {
            Change::StreamRemoved { .. } | Change::StreamRenamed { .. } => Fate::Rests,
            Change::FieldRemoved { field, .. }
            | Change::FieldRenamed { from: field, .. }
            | Change::FieldRetyped { field, .. }
                if nested(field) =>
            {
                Fate::Inside { column: named(field)? }
            }
            Change::FieldRemoved { field, .. } => Fate::Dropped { column: named(field)? },
            Change::FieldRetyped { field, .. } => Fate::Retyped { column: named(field)? },
            Change::FieldRenamed { from, to, .. } => {
                let by = self.tables_after.get(change.stream())?.columns.get(to.root())?;
                Fate::Replaced { column: named(from)?, by: by.clone() }
            }
            _ => return None,
        };
        Some(Column { table: table.name.clone(), fate })
    }

    fn streams(&self, assessment: &Assessment) -> Vec<Reached> {
        let changes = &assessment.changes;
        let breaking = changes.iter().filter(|c| c.severity.is_breaking());
        let breaking: BTreeSet<&StreamName> = breaking.map(|c| assessment.stream_before(&c.change)).collect();
        let gone = |stream: &StreamName| {
            changes.iter().any(|c| match &c.change {
                Change::StreamRemoved { stream: gone } | Change::StreamRenamed { stream: gone, .. } => gone == stream,
                _ => false,
            })
        };
        let syncs = |stream: &StreamName| match self.connection.drift.when_breaking {
            _ if self.connection.mode < Mode::Manage => Syncs::LeftAlone,
            WhenBreaking::HoldStream => Syncs::Held,
            WhenBreaking::Continue if gone(stream) => Syncs::Stops,
            WhenBreaking::Continue => Syncs::GoesOn,
        };
        let entities = |stream: &StreamName| {
            let entries = self.connection.mapping.iter().flat_map(|mapping| &mapping.entities);
            entries.filter(|e| is_stream(&e.stream.value, stream)).map(|e| e.entity.value.clone()).collect()
        };
        let synced = |stream: &StreamName| self.usage.and_then(|usage| usage.synced.get(stream).copied());
        breaking
            .into_iter()
            .map(|stream| Reached {
                stream: stream.clone(),
                syncs: syncs(stream),
                entities: entities(stream),
                synced_at: synced(stream),
            })
            .collect()
    }
}

/// A rate as far as it says something: the count may be of a sample.
fn three_digits(rate: f64) -> f64 {
    if rate == 0.0 {
        return rate;
    }
    let digits = 2 - rate.log10().floor() as i32;
    let shift = 10_f64.powi(digits.abs());
    if digits >= 0 { (rate * shift).round() / shift } else { (rate / shift).round() * shift }
}
