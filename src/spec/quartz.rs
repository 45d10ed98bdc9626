//! Cron in Quartz's words: what Airbyte runs by. Pure text; no clock.
//!
//! Quartz has seconds first, exactly one `?` in the two fields of days, and counts Sunday as 1. Days of the week are
//! written by name, which means the same on both sides.

use std::time::Duration;

use chrono_tz::Tz;
use cron::parser::{CronParser, Seconds};

use crate::diag::quoted;

use super::Schedule;

/// Airbyte's clock: a run of a schedule that is not a whole number of these cannot be asked for.
const MINUTE: Duration = Duration::from_secs(60);

/// Days as Quartz names them, Sunday first.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Why a schedule cannot be run by Airbyte, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotAirbyte {
    /// What is wrong.
    pub why: String,
    /// The likely mend.
    pub help: String,
}

fn no(why: impl Into<String>, help: impl Into<String>) -> NotAirbyte {
    NotAirbyte { why: why.into(), help: help.into() }
}

/// A schedule as Airbyte keeps it: cron becomes Quartz, the rest stays. Two schedules that are equal in this form are one
/// to Airbyte, so desired and live are compared in it.
pub fn airbyte_form(schedule: &Schedule) -> Result<Schedule, NotAirbyte> {
    match schedule {
        Schedule::Manual => Ok(Schedule::Manual),
        Schedule::Every(period) => check_period(*period).map(|()| schedule.clone()),
        Schedule::Cron { expression, timezone } => {
            check_zone(*timezone)?;
            Ok(Schedule::Quartz { expression: quartz_of(expression)?, timezone: *timezone })
        }
        Schedule::Quartz { expression, timezone } => {
            check_zone(*timezone)?;
            check_quartz(expression).map(|()| schedule.clone())
        }
    }
}

/// Airbyte refuses zones whose name begins with `Etc`.
pub(super) fn check_zone(zone: Tz) -> Result<(), NotAirbyte> {
    let name = zone.name();
    if name.starts_with("Etc") {
        let help = match name {
            "Etc/UTC" | "Etc/UCT" | "Etc/Zulu" | "Etc/Universal" | "Etc/GMT" | "Etc/Greenwich" => "write UTC",
            _ => "name a place, for example Europe/Berlin, or UTC",
        };
        return Err(no(format!("Airbyte takes no time zone that begins with `Etc`: {}", quoted(name)), help));
    }
    Ok(())
}

/// Whole minutes, at least one.
pub(super) fn check_period(period: Duration) -> Result<(), NotAirbyte> {
    let seconds = period.as_secs();
    if period.is_zero() || period < MINUTE {
        return Err(no("Airbyte starts a sync once a minute at most", "write `every: 1m` or more"));
    }
    if !seconds.is_multiple_of(60) || period.subsec_nanos() != 0 {
        let below = seconds / 60;
        let help = format!("write `every: {below}m` or `every: {}m`", below + 1);
        return Err(no("Airbyte counts in whole minutes", help));
    }
    Ok(())
}

/// What can be told of a Quartz expression without asking Airbyte.
pub(super) fn check_quartz(expression: &str) -> Result<(), NotAirbyte> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if !(6..=7).contains(&fields.len()) {
        let why = format!("a Quartz expression has six fields, or seven with the year; this one has {}", fields.len());
        return Err(no(
            why,
            "second minute hour day month weekday, for example `0 0 3 * * ?`; five fields go with `cron`",
        ));
    }
    if (fields[3] == "?") == (fields[5] == "?") {
        let why = "a Quartz expression has `?` for exactly one of the day of the month and the day of the week";
        return Err(no(why, "for example `0 0 3 * * ?` (each day) or `0 0 3 ? * MON-FRI`"));
    }
    Ok(())
}

/// A cron expression of five or six fields that [`super::schedule::check_cron`] takes, as Quartz writes it.
pub fn quartz_of(expression: &str) -> Result<String, NotAirbyte> {
    let spelled = spelled_out(expression);
    let words = spelled.to_ascii_uppercase();
    let fields: Vec<&str> = words.split_whitespace().collect();
    let (second, rest) = match fields.as_slice() {
        five if five.len() == 5 => ("0", five),
        [second, five @ ..] if five.len() == 5 => (*second, five),
        _ => return Err(no("a cron expression has five fields, or six with seconds first", "write `0 3 * * *`")),
    };
    if !second.parse::<u8>().is_ok_and(|n| n < 60) {
        let help = format!("write one second, for example `0 {}`", rest.join(" "));
        return Err(no("Airbyte starts a sync once a minute at most", help));
    }
    let [minute, hour, day, month, weekday] = rest else { unreachable!("five fields were counted") };
    let any = |field: &str| matches!(field, "*" | "?");
    let (day, weekday) = match (any(day), any(weekday)) {
        (true, true) => ("*".to_owned(), "?".to_owned()),
        (false, true) => (day_of_month(day)?, "?".to_owned()),
        (true, false) => ("?".to_owned(), day_of_week(weekday, &words)?),
        (false, false) => {
            let why = "Airbyte cannot run by a day of the month and a day of the week at once";
            let help = format!(
                "keep one of the two: `{minute} {hour} {day} {month} *` or `{minute} {hour} * {month} {weekday}`"
            );
            return Err(no(why, help));
        }
    };
    let any = |field: &str| if field == "?" { "*".to_owned() } else { field.to_owned() };
    Ok(format!("{second} {} {} {day} {} {weekday}", any(minute), any(hour), any(month)))
}

/// `@daily` and its like as fields.
fn spelled_out(expression: &str) -> String {
    match expression.trim().to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * SUN",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => expression,
    }
    .to_owned()
}

/// `L` and `15W` stand alone in Quartz.
fn day_of_month(field: &str) -> Result<String, NotAirbyte> {
    if field.contains(['L', 'W']) && field.contains([',', '-', '/']) {
        let why = format!("Airbyte takes no list of days with `L` or `W`: {}", quoted(field));
        return Err(no(why, "keep one of the days, or declare `quartz:` with an expression of your own"));
    }
    Ok(field.to_owned())
}

/// By name, in ascending order; three or more in a row as a range.
fn day_of_week(field: &str, whole: &str) -> Result<String, NotAirbyte> {
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let Ok(parsed) = parser.parse(whole) else {
        return Err(no("this is no cron expression", "write `0 3 * * *`"));
    };
    let days = &parsed.pattern.days_of_week;
    if days.has_modifiers() || field.contains(['#', 'L', '+']) {
        return special_day(field);
    }
    let values: Vec<usize> = days.values().into_iter().map(usize::from).filter(|day| *day < DAYS.len()).collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let run = values[at..].iter().enumerate().take_while(|(i, day)| **day == values[at] + i).count();
        if run >= 3 {
            out.push(format!("{}-{}", DAYS[values[at]], DAYS[values[at + run - 1]]));
            at += run;
        } else {
            out.push(DAYS[values[at]].to_owned());
            at += 1;
        }
    }
    Ok(out.join(","))
}

/// `MON#2` (the second Monday) and `FRI#L` or `5L` (the last Friday).
fn special_day(field: &str) -> Result<String, NotAirbyte> {
    let other = || {
        let why = format!("Airbyte cannot run by the weekdays {}", quoted(field));
        no(why, "write a list of days (`MON,FRI`), or one of `MON#2` and `FRI#L`")
    };
    let (day, which) =
        field.split_once('#').or_else(|| field.strip_suffix('L').map(|day| (day, "L"))).ok_or_else(other)?;
    let number = match day.parse::<usize>() {
        Ok(number) if number <= 7 => number % 7,
        _ => DAYS.iter().position(|name| *name == day).ok_or_else(other)?,
    } + 1;
    match which {
        "L" => Ok(format!("{number}L")),
        "1" | "2" | "3" | "4" | "5" => Ok(format!("{number}#{which}")),
        _ => Err(other()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::schedule::check_cron;

    fn shown(expression: &str) -> String {
        assert_eq!(check_cron(expression), Ok(()), "{expression}");
        match quartz_of(expression) {
            Ok(quartz) => format!("{expression} = {quartz}"),
            Err(NotAirbyte { why, help }) => format!("{expression} ! {why}; {help}"),
        }
    }

    #[test]
    fn cron_in_the_words_of_quartz() {
        let all = [
            "*/15 * * * *",
            "0 */6 * * *",
            "30 2 * * MON-FRI",
            "30 2 * * 1-5",
            "0 3 * * 0",
            "0 3 * * 7",
            "0 3 * * 5-7",
            "0 3 * * 1,3,5",
            "0 3 * * */2",
            "0 3 1,15 * *",
            "0 3 L * *",
            "0 3 15W * ?",
            "0 3 1-7/2 jan-mar *",
            "0 3 * * mon#2",
            "0 3 * * 5L",
            "0 3 * * FRI#L",
            "10 0 3 * * *",
            "@daily",
            "@weekly",
            "* * * * *",
            "0 3 * * 0-6",
        ];
        insta::assert_snapshot!(all.map(shown).join("\n"), @r"
        */15 * * * * = 0 */15 * * * ?
        0 */6 * * * = 0 0 */6 * * ?
        30 2 * * MON-FRI = 0 30 2 ? * MON-FRI
        30 2 * * 1-5 = 0 30 2 ? * MON-FRI
        0 3 * * 0 = 0 0 3 ? * SUN
        0 3 * * 7 = 0 0 3 ? * SUN
        0 3 * * 5-7 = 0 0 3 ? * SUN,FRI,SAT
        0 3 * * 1,3,5 = 0 0 3 ? * MON,WED,FRI
        0 3 * * */2 = 0 0 3 ? * SUN,TUE,THU,SAT
        0 3 1,15 * * = 0 0 3 1,15 * ?
        0 3 L * * = 0 0 3 L * ?
        0 3 15W * ? = 0 0 3 15W * ?
        0 3 1-7/2 jan-mar * = 0 0 3 1-7/2 JAN-MAR ?
        0 3 * * mon#2 = 0 0 3 ? * 2#2
        0 3 * * 5L = 0 0 3 ? * 6L
        0 3 * * FRI#L = 0 0 3 ? * 6L
        10 0 3 * * * = 10 0 3 * * ?
        @daily = 0 0 0 * * ?
        @weekly = 0 0 0 ? * SUN
        * * * * * = 0 * * * * ?
        0 3 * * 0-6 = 0 0 3 ? * SUN-SAT
        ");
        let not = ["*/30 * * * * *", "0 3 13 * FRI", "0 3 */2 * MON", "0 3 1,L * *", "0 3 * * MON#2,TUE#1"];
        insta::assert_snapshot!(not.map(shown).join("\n"), @r"
        */30 * * * * * ! Airbyte starts a sync once a minute at most; write one second, for example `0 * * * * *`
        0 3 13 * FRI ! Airbyte cannot run by a day of the month and a day of the week at once; keep one of the two: `0 3 13 * *` or `0 3 * * FRI`
        0 3 */2 * MON ! Airbyte cannot run by a day of the month and a day of the week at once; keep one of the two: `0 3 */2 * *` or `0 3 * * MON`
        0 3 1,L * * ! Airbyte takes no list of days with `L` or `W`: `1,L`; keep one of the days, or declare `quartz:` with an expression of your own
        0 3 * * MON#2,TUE#1 ! Airbyte cannot run by the weekdays `MON#2,TUE#1`; write a list of days (`MON,FRI`), or one of `MON#2` and `FRI#L`
        ");
    }

    fn field(low: u8, high: u8) -> impl Strategy<Value = String> {
        let one = (low..=high, low..=high, 1..4u8).prop_flat_map(move |(a, b, step)| {
            let (a, b) = (a.min(b), a.max(b));
            prop_oneof![
                Just(format!("{a}")),
                Just(format!("{a}-{b}")),
                Just(format!("{a}-{b}/{step}")),
                Just(format!("*/{step}"))
            ]
        });
        let list = prop::collection::vec(one, 1..4).prop_map(|parts| parts.join(","));
        prop_oneof![1 => Just("*".to_owned()), 2 => list]
    }

    fn any_cron() -> impl Strategy<Value = String> {
        let days = prop_oneof![
            field(1, 28).prop_map(|day| (day, "*".to_owned())),
            field(0, 7).prop_map(|weekday| ("*".to_owned(), weekday)),
        ];
        (field(0, 59), field(0, 23), days, field(1, 12))
            .prop_map(|(minute, hour, (day, weekday), month)| format!("{minute} {hour} {day} {month} {weekday}"))
    }

    proptest! {
        /// A second reader of Quartz's words sees the same times.
        #[test]
        fn quartz_means_what_cron_meant(expression in any_cron()) {
            prop_assume!(check_cron(&expression).is_ok());
            let quartz = quartz_of(&expression).unwrap();
            prop_assert_eq!(check_quartz(&quartz), Ok(()));
            let ours = CronParser::builder().seconds(Seconds::Optional).build().parse(&expression).unwrap().pattern;
            let reader = CronParser::builder().seconds(Seconds::Required).alternative_weekdays(true).build();
            let theirs = reader.parse(&quartz).unwrap().pattern;
            prop_assert_eq!(theirs.seconds.values(), vec![0]);
            for (ours, theirs) in [
                (ours.minutes, theirs.minutes), (ours.hours, theirs.hours), (ours.days, theirs.days),
                (ours.months, theirs.months), (ours.days_of_week, theirs.days_of_week),
            ] {
                // the reader leaves a second Sunday behind where every day is meant
                let theirs: Vec<u16> = theirs.values().into_iter().filter(|n| *n != 7 || ours.values().contains(n)).collect();
                prop_assert_eq!(ours.values(), theirs, "{}", quartz);
            }
        }
    }
}
