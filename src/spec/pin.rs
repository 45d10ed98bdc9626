//! A pin: the approved schema of a connection stays as it is for a while, whatever its source shows.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use crate::diag::{Diagnostic, Place, quoted};

use super::Desired;
use super::raw::RawPin;
use super::source::Problems;

/// The approved schema stays as it is, until a person or time ends that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The catalog version whose schema stays.
    pub version: u32,
    /// As written.
    pub until: String,
    /// When it ends: after that day, or at that time.
    pub ends: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub by: String,
    /// Where the spec says until when.
    place: Place,
}

impl Pin {
    /// Whether it is not over.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        now < self.ends
    }
}

/// When a pin ends that says this: after the whole day (UTC), or at an RFC 3339 time.
pub fn end_of(until: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(until) {
        return Some(at.to_utc());
    }
    let day = NaiveDate::parse_from_str(until, "%Y-%m-%d").ok()?;
    Some(day.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN).and_utc())
}

pub(super) fn check_pin(raw: &RawPin, to: &mut Problems<'_>) -> Option<Pin> {
    let version = raw.version.value.parse::<u32>().ok().filter(|version| *version > 0);
    if version.is_none() {
        let d = Diagnostic::error("AAM-S032", format!("{} is no catalog version", quoted(&raw.version.value)));
        to.add(&raw.version.place(), d.label("expected a whole number from 1").help("`aam history` lists them"));
    }
    let ends = end_of(&raw.until.value);
    if ends.is_none() {
        let d = Diagnostic::error("AAM-S032", format!("{} is no end of a pin", quoted(&raw.until.value)));
        let d = d.label("expected a day or an RFC 3339 time");
        to.add(&raw.until.place(), d.help("write the last day of it, for example `until: 2026-12-31`"));
    }
    let place = to.source.place(&raw.until.place());
    let (reason, by, until) = (raw.reason.value.clone(), raw.by.value.clone(), raw.until.value.clone());
    Some(Pin { version: version?, until, ends: ends?, reason, by, place })
}

/// A warning for each pin that is over: it has no effect any more, and a reader would think that it has.
pub fn ended_pins(desired: &Desired, now: DateTime<Utc>) -> Vec<Diagnostic> {
    let pins = desired.connections.values().filter_map(|connection| connection.pin.as_ref());
    let ended = pins.filter(|pin| !pin.holds(now)).map(|pin| {
        Diagnostic::warning("AAM-S033", format!("the pin at version {} ended with {}", pin.version, quoted(&pin.until)))
            .label("no effect any more")
            .help("remove `pin`, or give it a later `until`")
            .at(pin.place.clone())
    });
    ended.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_to_its_end() {
        let end = |until| end_of(until).map(|end| end.to_rfc3339());
        assert_eq!(end("2026-12-31").as_deref(), Some("2027-01-01T00:00:00+00:00"));
        assert_eq!(end("2026-12-31T12:00:00+02:00").as_deref(), Some("2026-12-31T10:00:00+00:00"));
        assert_eq!([end("31.12.2026"), end("soon"), end("2026-13-01"), end("262142-12-31")], [const { None }; 4]);
    }
}
