//! Schedules and durations.

use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use cron::parser::{CronParser, Seconds};

use crate::diag::{Diagnostic, quoted};

use super::airbyte::not_with;
use super::quartz::{self, NotAirbyte};
use super::raw::{RawSchedule, RawTimes};
use super::read::{Text, nearest};
use super::source::Problems;
use super::{EngineKind, Schedule};

/// Shortest time between two syncs or looks: below it a run would meet itself.
const SHORTEST: Duration = Duration::from_secs(1);

/// Longest: beyond a year it is a typing error.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads `90s`, `15m`, `6h`, `1d`, `2w`, also joined (`1h30m`).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is no duration; write a number with s, m, h, d or w, for example 15m", quoted(text));
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest[digits..].chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            _ => return Err(wrong()),
        };
        seconds = number.checked_mul(unit).and_then(|n| seconds.checked_add(n)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    Ok(Duration::from_secs(seconds))
}

/// A period as a spec says it, in the largest unit that fits.
pub fn period_text(period: Duration) -> String {
    let seconds = period.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    let fits = units.iter().find(|(_, size)| seconds.is_multiple_of(*size));
    fits.map_or_else(|| format!("{seconds}s"), |(unit, size)| format!("{}{unit}", seconds / size))
}

/// Checks a cron expression of five or six fields.
pub fn check_cron(expression: &str) -> Result<(), String> {
    let fields = expression.split_whitespace().count();
    if !expression.starts_with('@') && !(5..=6).contains(&fields) {
        return Err(format!("a cron expression has five fields, or six with seconds first; this one has {fields}"));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let cron = parser.parse(expression).map_err(|e| format!("no cron expression: {}", reason(&e.to_string())))?;
    let from = chrono::DateTime::<chrono::Utc>::UNIX_EPOCH;
    cron.find_next_occurrence(&from, false).map(|_| ()).map_err(|_| "this time never comes".to_owned())
}

/// The library's sentence in our form: lower case, no full stop.
fn reason(sentence: &str) -> String {
    let sentence = sentence.strip_prefix("Component error: ").unwrap_or(sentence).trim_end_matches('.');
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// Whose clock starts what a schedule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunBy {
    /// `aam` itself, whatever the engine is: a look.
    Aam,
    /// The engine: a sync.
    Engine(EngineKind),
}

/// Checks a schedule and says everything that is wrong with it.
pub fn check_schedule(raw: &RawSchedule, by: RunBy, to: &mut Problems<'_>) -> Option<Schedule> {
    match raw {
        RawSchedule::Word(word) if word.value == "manual" => Some(Schedule::Manual),
        RawSchedule::Word(word) => {
            let d = Diagnostic::error("AAM-S017", format!("{} is no schedule", quoted(&word.value)));
            let help = if parse_duration(&word.value).is_ok() {
                format!("write `{{every: {}}}`", word.value)
            } else if check_cron(&word.value).is_ok() {
                "write `{cron: \"…\"}`".to_owned()
            } else {
                "write `manual`, `{every: 6h}` or `{cron: \"0 6 * * *\", timezone: Europe/Berlin}`".to_owned()
            };
            to.add(&word.place(), d.help(help));
            None
        }
        RawSchedule::Times(times, at) => check_times(times, at, by, to),
    }
}

fn check_times(times: &RawTimes, at: &Text, by: RunBy, to: &mut Problems<'_>) -> Option<Schedule> {
    let RawTimes { cron, timezone, every, quartz } = times;
    let given = [cron, every, quartz].into_iter().flatten().count();
    if given != 1 {
        let what = if given == 0 { "none of them is given" } else { "more than one is given" };
        let d = Diagnostic::error("AAM-S027", format!("a schedule has one of `cron`, `every` and `quartz`; {what}"));
        to.add(&at.place(), d);
        return None;
    }
    if let (Some(zone), Some(_)) = (timezone, every) {
        let d = Diagnostic::error("AAM-S027", "`timezone` goes with `cron` and `quartz` only");
        to.add(&zone.place(), d.label("no use here"));
    }
    let airbyte = by == RunBy::Engine(EngineKind::Airbyte);
    if let Some(every) = every {
        let period = check_every(every, to)?;
        if airbyte && let Err(why) = quartz::check_period(period) {
            refuse(every, why, to);
        }
        return Some(Schedule::Every(period));
    }
    let zone = timezone.as_ref().map_or(Some(Tz::UTC), |zone| check_zone(zone, to));
    if let (true, Some(text), Some(zone)) = (airbyte, timezone, zone)
        && let Err(why) = quartz::check_zone(zone)
    {
        refuse(text, why, to);
    }
    if let Some(quartz) = quartz {
        if airbyte {
            if let Err(why) = quartz::check_quartz(&quartz.value) {
                refuse(quartz, why, to);
            }
        } else {
            let who = if by == RunBy::Aam { "aam looks by its own clock, which" } else { "the embedded engine" };
            let why = format!("{who} does not run by Quartz expressions");
            not_with_clock(by, quartz, &why, to);
        }
        return Some(Schedule::Quartz { expression: quartz.value.clone(), timezone: zone? });
    }
    let expression = cron.as_ref()?;
    if let Err(why) = check_cron(&expression.value) {
        let d = Diagnostic::error("AAM-S017", why).help("minute hour day month weekday, for example `0 6 * * MON-FRI`");
        to.add(&expression.place(), d);
        return None;
    }
    if airbyte && let Err(why) = quartz::quartz_of(&expression.value) {
        refuse(expression, why, to);
    }
    Some(Schedule::Cron { expression: expression.value.clone(), timezone: zone? })
}

/// Adds a schedule that Airbyte cannot keep.
fn refuse(at: &Text, NotAirbyte { why, help }: NotAirbyte, to: &mut Problems<'_>) {
    to.add(&at.place(), Diagnostic::error("AAM-S030", why).help(help));
}

fn not_with_clock(by: RunBy, at: &Text, why: &str, to: &mut Problems<'_>) {
    const HELP: &str = "write `cron:` with five fields: minute hour day month weekday";
    match by {
        RunBy::Aam => to.add(&at.place(), Diagnostic::error("AAM-S028", why).help(HELP)),
        RunBy::Engine(engine) => not_with(engine, at, why, HELP, to),
    }
}

fn check_every(text: &Text, to: &mut Problems<'_>) -> Option<Duration> {
    let problem = match parse_duration(&text.value) {
        Ok(duration) if (SHORTEST..=LONGEST).contains(&duration) => return Some(duration),
        Ok(_) => Diagnostic::error("AAM-S018", format!("{} is not between 1s and 366d", quoted(&text.value))),
        Err(why) => Diagnostic::error("AAM-S018", why),
    };
    to.add(&text.place(), problem);
    None
}

fn check_zone(text: &Text, to: &mut Problems<'_>) -> Option<Tz> {
    if let Ok(zone) = Tz::from_str(&text.value) {
        return Some(zone);
    }
    let d = Diagnostic::error("AAM-S017", format!("no time zone is called {}", quoted(&text.value)));
    let near = nearest(&text.value, chrono_tz::TZ_VARIANTS.iter().map(|z| z.name()));
    let help = near.map_or("use a name of the IANA list, for example Europe/Berlin".to_owned(), |n| {
        format!("did you mean `{n}`?")
    });
    to.add(&text.place(), d.help(help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |t| parse_duration(t).map(|d| d.as_secs()).ok();
        assert_eq!(
            ["15m", "6h", "1d", "1h30m", "2w", "90s"].map(seconds),
            [Some(900), Some(21600), Some(86400), Some(5400), Some(1_209_600), Some(90)]
        );
        for text in ["", "15", "m", "1.5h", "-1h", "15 m", "1y", "99999999999999999999d", "18446744073709551615w", "5é"]
        {
            assert!(parse_duration(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn cron_expressions() {
        for good in ["*/15 * * * *", "0 0 */6 * * *", "30 2 * * MON-FRI", "@daily", "0 0 L * *"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for bad in ["", "* * * *", "60 * * * *", "0 0 31 2 *", "0 0 3 * * ? 2026", "a b c d e"] {
            assert!(check_cron(bad).is_err(), "{bad} was taken");
        }
    }
}
