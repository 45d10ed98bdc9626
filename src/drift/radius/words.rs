//! A blast radius in words: whole for drift files, in a few lines for plans and lists.

use super::{Column, Counted, Effect, Fate, Place, Radius, Reached, Syncs};
use crate::drift::Hit;

/// So many lines of each kind say enough in a plan.
const BRIEF: usize = 3;

/// One thing: where it is, and what there is to say of it, part by part.
pub type Item = (String, Vec<String>);

impl Radius {
    /// Lines of mapping and spec.
    pub fn place_words(&self) -> Vec<Item> {
        let days = self.counted.map_or(1, |counted| counted.days());
        self.places.iter().map(|place| (where_it_is(place), of_place(place, days))).collect()
    }

    /// Tables and columns.
    pub fn column_words(&self) -> Vec<Item> {
        self.columns.chunk_by(alike).map(of_columns).collect()
    }

    /// Streams that break.
    pub fn stream_words(&self) -> Vec<Item> {
        self.streams.iter().map(|reached| (reached.stream.to_string(), of_stream(reached))).collect()
    }

    /// Of which days the rates are, if there are any.
    pub fn counted_words(&self) -> Option<String> {
        let rated = self.places.iter().any(|place| place.events_per_day.is_some());
        self.counted.filter(|_| rated).map(|counted| format!("Events are counted in {}.", span(&counted)))
    }

    /// Everything in at most a dozen lines.
    pub fn brief(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (items, what) in [
            (self.place_words(), ("place", "places")),
            (self.column_words(), ("column", "columns")),
            (self.stream_words(), ("stream", "streams")),
        ] {
            let more = items.len().saturating_sub(BRIEF);
            out.extend(items.into_iter().take(BRIEF).map(|(place, parts)| format!("{place}  {}", parts.join("; "))));
            if more > 0 {
                out.push(format!("… and {more} more {}", if more == 1 { what.0 } else { what.1 }));
            }
        }
        out
    }
}

fn where_it_is(Place { impact, .. }: &Place) -> String {
    if impact.line == 0 { impact.file.to_string() } else { format!("{}:{}", impact.file, impact.line) }
}

fn of_place(place: &Place, days: u32) -> Vec<String> {
    let hit = &place.impact.hit;
    let effect = match (hit, place.effect) {
        (Hit::Canonical { .. }, Effect::Starves) => "starves",
        (Hit::EntityStream { .. }, Effect::Starves) => "gets no new events",
        (_, Effect::Starves) => "it is gone",
        (_, Effect::Follows) => "the repair follows the new name",
        (Hit::Canonical { .. }, Effect::Differs) => "may get other values",
        (_, Effect::Differs) => "it is another one now",
    };
    let fields = match place.fields.len() {
        0 => String::new(),
        count => format!(" for its {count} field{}", plural(count)),
    };
    let mut parts = vec![format!("{}: {effect}{fields}", hit.words())];
    parts.extend(place.events_per_day.map(|rate| {
        let carried = if matches!(hit, Hit::Canonical { .. }) { " carried it" } else { "" };
        format!("{}{carried}", rate_words(rate, days))
    }));
    match place.also_fed_by.as_slice() {
        [] => {}
        [one] => parts.push(format!("{one} feeds it, too, and goes on")),
        [one, more @ ..] => parts.push(format!("{one} and {} more feed it, too, and go on", more.len())),
    }
    parts
}

fn rate_words(rate: f64, days: u32) -> String {
    if rate == 0.0 {
        return "no events".to_owned();
    }
    if rate < 1.0 {
        let events = (rate * f64::from(days)).round().max(1.0) as u64;
        return format!("{events} event{} in {days} days", plural(events as usize));
    }
    let shown = if rate < 10.0 { format!("{}", (rate * 10.0).round() / 10.0) } else { thousands(rate.round() as u64) };
    format!("about {shown} event{} a day", if shown == "1" { "" } else { "s" })
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Columns of one table with the same fate.
fn of_columns(columns: &[Column]) -> Item {
    const AFTER: &str = "by the first sync after approval";
    let names: Vec<&str> = columns.iter().filter_map(|column| column.fate.column()).collect();
    let shown = names.iter().take(BRIEF).copied().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(BRIEF);
    let named = match (names.len(), more) {
        (1, _) => format!("column {shown}"),
        (_, 0) => format!("columns {shown}"),
        _ => format!("columns {shown} and {more} more"),
    };
    let parts = match &columns[0].fate {
        Fate::Dropped { .. } => vec![format!("{named}: dropped {AFTER}, with the values")],
        Fate::Replaced { by, .. } => vec![
            format!("{named}: dropped {AFTER}, which adds {by}"),
            format!("rows that are not read again hold no value in {by}"),
        ],
        Fate::Retyped { .. } => vec![format!("{named}: another type {AFTER}, if the old one does not hold the values")],
        Fate::Inside { .. } => vec![format!("{named}: the JSON has another form")],
        Fate::Rests => vec!["gets no more rows; those that landed stay".to_owned()],
    };
    (columns[0].table.clone(), parts)
}

/// Whether two columns are told together.
fn alike(a: &Column, b: &Column) -> bool {
    let same = std::mem::discriminant(&a.fate) == std::mem::discriminant(&b.fate);
    a.table == b.table && same && !matches!(a.fate, Fate::Replaced { .. })
}

fn of_stream(reached: &Reached) -> Vec<String> {
    let syncs = match reached.syncs {
        Syncs::Held => "left out of syncs until this is decided; the first sync after that catches up",
        Syncs::GoesOn => "goes on syncing (`when_breaking: continue`); what is missing is null",
        Syncs::Stops => "can no longer be read",
        Syncs::LeftAlone => "its syncs are not aam's in this mode: they go on, or fail",
    };
    let mut parts = vec![syncs.to_owned()];
    if matches!(reached.syncs, Syncs::Held | Syncs::Stops) && !reached.entities.is_empty() {
        let verb = if reached.entities.len() == 1 { "gets" } else { "get" };
        parts.push(format!("{} {verb} no new events from it meanwhile", reached.entities.join(", ")));
    }
    parts.extend(reached.synced_at.map(|at| format!("last synced {}", at.format("%Y-%m-%d %H:%M UTC"))));
    parts
}

fn span(counted: &Counted) -> String {
    let days = counted.days();
    let until = counted.until.format("%Y-%m-%d %H:%M UTC");
    let days = if days == 1 { "day".to_owned() } else { format!("{days} days") };
    format!("the {days} before {until}, when this was first seen")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
