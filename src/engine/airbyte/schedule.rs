//! Schedules as Airbyte's two APIs write them, to and from our words.
//!
//! Airbyte knows three: by hand, a period in units, and a Quartz expression in a time zone. What we call cron is sent as
//! Quartz and comes back as Quartz; so compare in [`airbyte_form`], in which both are one.

use std::time::Duration;

use chrono_tz::Tz;
use serde_json::{Value, json};

pub use crate::spec::quartz::{NotAirbyte, airbyte_form};

use crate::diag::quoted;
use crate::spec::Schedule;

/// Seconds of each unit. Airbyte itself counts a month as 30 days, so that days say the same.
const UNITS: [(&str, u64); 5] =
    [("minutes", 60), ("hours", 3600), ("days", 86_400), ("weeks", 7 * 86_400), ("months", 30 * 86_400)];

/// The units that are sent; older versions do not have the others.
const SENT: usize = 3;

/// `scheduleType` and, unless by hand, `scheduleData`, to be merged into a connection that is created or updated.
pub fn to_airbyte(schedule: &Schedule) -> Result<Value, NotAirbyte> {
    Ok(match airbyte_form(schedule)? {
        Schedule::Manual => json!({"scheduleType": "manual"}),
        Schedule::Every(period) => {
            let seconds = period.as_secs();
            let (unit, size) =
                *UNITS[..SENT].iter().rev().find(|(_, size)| seconds.is_multiple_of(*size)).unwrap_or(&UNITS[0]);
            json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": {"timeUnit": unit, "units": seconds / size}}})
        }
        Schedule::Quartz { expression, timezone } | Schedule::Cron { expression, timezone } => {
            let cron = json!({"cronExpression": expression, "cronTimeZone": timezone.name()});
            json!({"scheduleType": "cron", "scheduleData": {"cron": cron}})
        }
    })
}

/// What the Config API says of a connection's schedule. An error is a sentence: nothing of ours says the same.
pub fn from_airbyte(kind: Option<&str>, data: &Value) -> Result<Schedule, String> {
    match kind {
        Some("manual") => Ok(Schedule::Manual),
        Some("basic") => {
            let basic = &data["basicSchedule"];
            let unit = basic["timeUnit"].as_str().unwrap_or_default();
            period(basic["units"].as_u64(), unit)
                .ok_or_else(|| format!("a schedule that is no period: {}", shown(data)))
        }
        Some("cron") => {
            let cron = &data["cron"];
            quartz(&cron["cronExpression"], cron["cronTimeZone"].as_str())
        }
        Some(other) => Err(format!("schedules of the kind {} are not known", quoted(other))),
        None => Err("the connection does not say when it runs".to_owned()),
    }
}

/// What the public API says: `schedule` with `scheduleType`, and `cronExpression` (the zone behind it) or `basicTiming`
/// (`Every 24 hours`).
pub fn from_public(schedule: &Value) -> Result<Schedule, String> {
    match schedule["scheduleType"].as_str() {
        Some("cron") => quartz(&schedule["cronExpression"], None),
        Some("basic") => {
            let timing = schedule["basicTiming"].as_str().unwrap_or_default().to_ascii_lowercase();
            let words: Vec<&str> = timing.split_whitespace().collect();
            let read = match words.as_slice() {
                ["every", units, unit] => period(units.parse().ok(), unit),
                _ => None,
            };
            read.ok_or_else(|| format!("a schedule that is no period: {}", shown(schedule)))
        }
        kind => from_airbyte(kind, &Value::Null),
    }
}

fn period(units: Option<u64>, unit: &str) -> Option<Schedule> {
    let same = |name: &str| unit == name || name.strip_suffix('s') == Some(unit);
    let (_, size) = UNITS.iter().find(|(name, _)| same(name))?;
    let seconds = units.filter(|units| *units > 0)?.checked_mul(*size)?;
    Some(Schedule::Every(Duration::from_secs(seconds)))
}

/// The expression verbatim. Answers of the public API have the zone behind it.
fn quartz(expression: &Value, zone: Option<&str>) -> Result<Schedule, String> {
    let text = expression.as_str().map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| "a cron schedule without an expression".to_owned())?;
    let behind = text.rsplit_once(char::is_whitespace).filter(|(before, last)| {
        before.split_whitespace().count() >= 6 && last.contains(|c: char| c.is_ascii_alphabetic())
    });
    let behind = behind.and_then(|(before, last)| Some((before.trim_end(), last.parse::<Tz>().ok()?)));
    let (text, told) = match behind {
        Some((before, zone)) => (before, Some(zone)),
        None => (text, None),
    };
    let timezone = match zone.map(str::trim).filter(|zone| !zone.is_empty()) {
        Some(zone) => zone.parse().map_err(|_| format!("no time zone that aam knows is called {}", quoted(zone)))?,
        None => told.unwrap_or(Tz::UTC),
    };
    Ok(Schedule::Quartz { expression: text.to_owned(), timezone })
}

/// A short text of what was not understood.
fn shown(value: &Value) -> String {
    quoted(&value.to_string().chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cron(expression: &str, timezone: Tz) -> Schedule {
        Schedule::Cron { expression: expression.to_owned(), timezone }
    }

    #[test]
    fn each_is_sent_in_the_largest_unit_that_fits() {
        let every = |seconds| Schedule::Every(Duration::from_secs(seconds));
        let all = [
            Schedule::Manual,
            every(900),
            every(5400),
            every(6 * 3600),
            every(14 * 86_400),
            cron("30 2 * * 1-5", Tz::Europe__Berlin),
            Schedule::Quartz { expression: "0 0 3 ? * 2#1 2030".into(), timezone: Tz::UTC },
        ];
        insta::assert_snapshot!(all.map(|s| to_airbyte(&s).unwrap().to_string()).join("\n"), @r#"
        {"scheduleType":"manual"}
        {"scheduleData":{"basicSchedule":{"timeUnit":"minutes","units":15}},"scheduleType":"basic"}
        {"scheduleData":{"basicSchedule":{"timeUnit":"minutes","units":90}},"scheduleType":"basic"}
        {"scheduleData":{"basicSchedule":{"timeUnit":"hours","units":6}},"scheduleType":"basic"}
        {"scheduleData":{"basicSchedule":{"timeUnit":"days","units":14}},"scheduleType":"basic"}
        {"scheduleData":{"cron":{"cronExpression":"0 30 2 ? * MON-FRI","cronTimeZone":"Europe/Berlin"}},"scheduleType":"cron"}
        {"scheduleData":{"cron":{"cronExpression":"0 0 3 ? * 2#1 2030","cronTimeZone":"UTC"}},"scheduleType":"cron"}
        "#);
    }

    #[test]
    fn what_airbyte_cannot_keep_is_said() {
        let every = |seconds| Schedule::Every(Duration::from_secs(seconds));
        let all = [
            every(30),
            every(90),
            cron("0 3 13 * FRI", Tz::UTC),
            cron("0 3 * * *", Tz::Etc__UTC),
            Schedule::Quartz { expression: "0 3 * * *".into(), timezone: Tz::UTC },
        ];
        let said = |s: Schedule| to_airbyte(&s).map_err(|e| format!("{e}; {}", e.help)).unwrap_err();
        insta::assert_snapshot!(all.map(said).join("\n"), @r"
        Airbyte starts a sync once a minute at most; write `every: 1m` or more
        Airbyte counts in whole minutes; write `every: 1m` or `every: 2m`
        Airbyte cannot run by a day of the month and a day of the week at once; keep one of the two: `0 3 13 * *` or `0 3 * * FRI`
        Airbyte takes no time zone that begins with `Etc`: `Etc/UTC`; write UTC
        a Quartz expression has six fields, or seven with the year; this one has 5; second minute hour day month weekday, for example `0 0 3 * * ?`; five fields go with `cron`
        ");
    }

    #[test]
    fn both_apis_are_read() {
        let read = |r: Result<Schedule, String>| match r {
            Ok(schedule) => format!("{schedule:?}"),
            Err(why) => format!("! {why}"),
        };
        let basic = |unit: &str, units: i64| json!({"basicSchedule": {"timeUnit": unit, "units": units}});
        let config = [
            (Some("manual"), Value::Null),
            (Some("basic"), basic("weeks", 2)),
            (Some("basic"), basic("months", 1)),
            (Some("basic"), basic("days", 0)),
            (Some("basic"), basic("fortnights", 1)),
            (Some("cron"), json!({"cron": {"cronExpression": "0 0 3 * * ?", "cronTimeZone": "Europe/Berlin"}})),
            (Some("cron"), json!({"cron": {"cronExpression": "0 0 3 * * ?", "cronTimeZone": "Mars/Olympus"}})),
            (Some("cron"), json!({"cron": {}})),
            (Some("lunar"), Value::Null),
            (None, Value::Null),
        ];
        let public = [
            json!({"scheduleType": "manual"}),
            json!({"scheduleType": "basic", "basicTiming": "Every 24 hours"}),
            json!({"scheduleType": "basic", "basicTiming": "Every 1 day"}),
            json!({"scheduleType": "cron", "cronExpression": "0 0 3 * * ? UTC"}),
            json!({"scheduleType": "cron", "cronExpression": "0 0 3 ? * MON 2030 Europe/Berlin"}),
            json!({"scheduleType": "cron", "cronExpression": "0 0 3 ? * MON"}),
        ];
        let config = config.iter().map(|(kind, data)| read(from_airbyte(*kind, data)));
        let all: Vec<String> = config.chain(public.iter().map(|p| read(from_public(p)))).collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        Manual
        Every(1209600s)
        Every(2592000s)
        ! a schedule that is no period: `{"basicSchedule":{"timeUnit":"days","units":0}}`
        ! a schedule that is no period: `{"basicSchedule":{"timeUnit":"fortnights","units":1}}`
        Quartz { expression: "0 0 3 * * ?", timezone: Europe/Berlin }
        ! no time zone that aam knows is called `Mars/Olympus`
        ! a cron schedule without an expression
        ! schedules of the kind `lunar` are not known
        ! the connection does not say when it runs
        Manual
        Every(86400s)
        Every(86400s)
        Quartz { expression: "0 0 3 * * ?", timezone: UTC }
        Quartz { expression: "0 0 3 ? * MON 2030", timezone: Europe/Berlin }
        Quartz { expression: "0 0 3 ? * MON", timezone: UTC }
        "#);
    }

    fn schedule() -> impl Strategy<Value = Schedule> {
        let zone = prop::sample::select(vec![Tz::UTC, Tz::Europe__Berlin, Tz::America__New_York]);
        let cron =
            (0..60u8, 0..24u8, prop::sample::select(vec!["* * *", "1,15 * *", "* * 0", "* 3 1-5", "* * 6-7", "L * *"]));
        prop_oneof![
            Just(Schedule::Manual),
            (1..500_000u64).prop_map(|minutes| Schedule::Every(Duration::from_secs(60 * minutes))),
            (cron, zone.clone()).prop_map(|((minute, hour, rest), timezone)| Schedule::Cron {
                expression: format!("{minute} {hour} {rest}"),
                timezone
            }),
            (prop::sample::select(vec!["0 0 3 * * ?", "0 0/30 8-10 ? * 6L 2030"]), zone)
                .prop_map(|(expression, timezone)| Schedule::Quartz { expression: expression.into(), timezone }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_sent_comes_back_as_no_change(schedule in schedule()) {
            let sent = to_airbyte(&schedule).unwrap();
            let back = from_airbyte(sent["scheduleType"].as_str(), &sent["scheduleData"]).unwrap();
            prop_assert_eq!(airbyte_form(&back), airbyte_form(&schedule));
            prop_assert_eq!(to_airbyte(&back).unwrap(), sent);
            // The public API's answer for the same connection.
            if let Schedule::Quartz { expression, timezone } = &back {
                let text = format!("{expression} {}", timezone.name());
                prop_assert_eq!(from_public(&json!({"scheduleType": "cron", "cronExpression": text})), Ok(back));
            }
        }
    }
}
