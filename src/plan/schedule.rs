//! When a schedule is due next. Pure: the last start and the time now come in as arguments.
//!
//! A slot is due when it lies after the last start. Slots that passed while nobody looked are made up for once, not one
//! by one; a clock that was set back starts nothing twice, since the last start then lies ahead of now.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cron::Cron;
use cron::parser::{CronParser, Seconds};
use sha2::{Digest, Sha256};

use crate::spec::Schedule;

/// The first instant, later than the last start, at which the schedule is due; in the past if that was missed. `None` if
/// it never is: by hand only, Quartz (which is the engine's own affair), or a date that does not exist.
///
/// Without a last start the slot is counted from now and so moves on with it: a loop that asks again and again hands in
/// the moment at which it first knew the connection.
///
/// `spread_key` places the slots of `Every`: each key has its own phase, so that many connections do not fire at once.
pub fn next_after(
    schedule: &Schedule,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    spread_key: &str,
) -> Option<DateTime<Utc>> {
    match schedule {
        Schedule::Manual | Schedule::Quartz { .. } => None,
        Schedule::Every(period) => next_every(*period, last, now, spread_key),
        Schedule::Cron { expression, timezone } => {
            let after = last.unwrap_or(now).with_timezone(timezone);
            let cron = parse(expression)?;
            cron.find_next_occurrence(&after, false).ok().map(|slot| slot.with_timezone(&Utc))
        }
    }
}

/// Five fields, or six with seconds first.
fn parse(expression: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Optional).build().parse(expression).ok()
}

/// Slots lie at the key's phase plus whole periods since 1970. One that never ran has its first slot within a period from
/// now; a start that was asked for between slots does not move them.
fn next_every(
    period: Duration,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    spread_key: &str,
) -> Option<DateTime<Utc>> {
    let period = i64::try_from(period.as_millis()).ok()?.max(1);
    let hash = Sha256::digest(spread_key);
    let hash = u64::from_be_bytes(hash[..8].try_into().ok()?);
    let phase = i64::try_from(hash % period.unsigned_abs()).ok()?;
    let after = last.unwrap_or(now).timestamp_millis();
    let slot = (after - phase).div_euclid(period).checked_add(1)?.checked_mul(period)?.checked_add(phase)?;
    // within the last slot's own millisecond the division rounds down, so the result is always later than `after`
    DateTime::from_timestamp_millis(slot).filter(|slot| *slot - last.unwrap_or(now) > TimeDelta::zero())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn cron(expression: &str, zone: &str) -> Schedule {
        Schedule::Cron { expression: expression.to_owned(), timezone: zone.parse().unwrap() }
    }

    /// The next slots on the zone's own clock.
    fn slots(expression: &str, zone: &str, from: &str, count: usize) -> String {
        let schedule = cron(expression, zone);
        let zone: chrono_tz::Tz = zone.parse().unwrap();
        let mut last = at(from);
        let mut out = Vec::new();
        for _ in 0..count {
            last = next_after(&schedule, Some(last), last, "").unwrap();
            out.push(last.with_timezone(&zone).format("%d %H:%M%z").to_string());
        }
        out.join(", ")
    }

    #[test]
    fn a_missing_hour_delays_and_a_double_hour_does_not_repeat_in_berlin() {
        let zone = "Europe/Berlin";
        insta::assert_snapshot!(slots("30 2 * * *", zone, "2026-03-28T12:00:00Z", 2), @"29 03:00+0200, 30 02:30+0200");
        insta::assert_snapshot!(slots("30 2 * * *", zone, "2026-10-24T12:00:00Z", 2), @"25 02:30+0200, 26 02:30+0100");
        insta::assert_snapshot!(slots("*/30 * * * *", zone, "2026-10-24T23:45:00Z", 5), @"25 02:00+0200, 25 02:30+0200, 25 02:00+0100, 25 02:30+0100, 25 03:00+0100");
    }

    #[test]
    fn the_same_in_new_york() {
        let zone = "America/New_York";
        insta::assert_snapshot!(slots("30 2 * * *", zone, "2026-03-07T12:00:00Z", 2), @"08 03:00-0400, 09 02:30-0400");
        insta::assert_snapshot!(slots("30 1 * * *", zone, "2026-10-31T12:00:00Z", 2), @"01 01:30-0400, 02 01:30-0500");
        insta::assert_snapshot!(slots("*/30 * * * *", zone, "2026-11-01T04:45:00Z", 5), @"01 01:00-0400, 01 01:30-0400, 01 01:00-0500, 01 01:30-0500, 01 02:00-0500");
    }

    #[test]
    fn the_same_on_lord_howe_where_the_clock_moves_by_half_an_hour() {
        let zone = "Australia/Lord_Howe";
        insta::assert_snapshot!(slots("15 2 * * *", zone, "2026-10-03T01:00:00Z", 2), @"04 02:30+1100, 05 02:15+1100");
        insta::assert_snapshot!(slots("45 1 * * *", zone, "2026-04-04T01:00:00Z", 2), @"05 01:45+1100, 06 01:45+1030");
        insta::assert_snapshot!(slots("*/15 * * * *", zone, "2026-04-04T14:20:00Z", 5), @"05 01:30+1100, 05 01:45+1100, 05 01:30+1030, 05 01:45+1030, 05 02:00+1030");
    }

    #[test]
    fn both_lengths_names_and_vixie_rules_are_read() {
        insta::assert_snapshot!(slots("15 30 4 * * *", "UTC", "2026-01-01T00:00:00Z", 1), @"01 04:30+0000");
        insta::assert_snapshot!(slots("0 0 * * 1", "UTC", "2026-01-01T00:00:00Z", 1), @"05 00:00+0000");
        insta::assert_snapshot!(slots("0 0 13 * FRI", "UTC", "2026-01-01T00:00:00Z", 3), @"02 00:00+0000, 09 00:00+0000, 13 00:00+0000");
        assert_eq!(next_after(&cron("0 0 31 2 *", "UTC"), None, at("2026-01-01T00:00:00Z"), ""), None);
    }

    #[test]
    fn what_was_missed_fires_once() {
        let schedule = cron("0 * * * *", "UTC");
        let now = at("2026-01-05T10:20:00Z");
        let due = next_after(&schedule, Some(at("2026-01-01T00:00:00Z")), now, "").unwrap();
        assert!(due <= now);
        assert_eq!(next_after(&schedule, Some(now), now, ""), Some(at("2026-01-05T11:00:00Z")));
    }

    #[test]
    fn a_clock_set_back_fires_nothing_twice() {
        let last = at("2026-01-05T10:00:00Z");
        for schedule in [cron("0 * * * *", "UTC"), Schedule::Every(Duration::from_secs(3600))] {
            let due = next_after(&schedule, Some(last), last - TimeDelta::hours(3), "x").unwrap();
            assert!(due > last);
        }
    }

    #[test]
    fn a_hundred_connections_do_not_fire_at_once() {
        let (schedule, now) = (Schedule::Every(Duration::from_secs(900)), at("2026-01-05T10:00:00Z"));
        let due = |n: u32| next_after(&schedule, None, now, &format!("connection {n}")).unwrap();
        let seconds: BTreeSet<i64> = (0..100).map(|n| due(n).timestamp()).collect();
        assert!(seconds.len() > 80, "{}", seconds.len());
        assert!(seconds.iter().all(|s| *s - now.timestamp() <= 900));
    }

    #[test]
    fn by_hand_and_quartz_are_never_due() {
        let now = at("2026-01-05T10:00:00Z");
        assert_eq!(next_after(&Schedule::Manual, None, now, ""), None);
        assert_eq!(
            next_after(&Schedule::Quartz { expression: "0 0 3 * * ?".into(), timezone: chrono_tz::UTC }, None, now, ""),
            None
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Looking at any moments, a year's slots of an hourly and a quarter-hourly schedule are all met, each once.
        #[test]
        fn over_a_year_no_slot_is_skipped_or_doubled(
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
            minutes in prop::sample::select(vec![15_i64, 30, 60]),
            start in 0_i64..525_600,
        ) {
            let expression = if minutes == 60 { "0 * * * *".to_owned() } else { format!("*/{minutes} * * * *") };
            let schedule = cron(&expression, zone);
            let tz: chrono_tz::Tz = zone.parse().unwrap();
            let mut last = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
            for _ in 0..2000 {
                let slot = next_after(&schedule, Some(last), last, "").unwrap();
                // every minute between two slots shows a time that the expression does not name
                let wall = |t: DateTime<Utc>| chrono::Timelike::minute(&t.with_timezone(&tz));
                let mut minute = last - TimeDelta::seconds(last.timestamp() % 60) + TimeDelta::minutes(1);
                while minute < slot {
                    prop_assert!(i64::from(wall(minute)) % minutes != 0, "{minute} skipped");
                    minute += TimeDelta::minutes(1);
                }
                prop_assert_eq!(i64::from(wall(slot)) % minutes, 0);
                last = slot;
            }
        }

        #[test]
        fn every_has_one_slot_in_each_period(period_s in 1_u64..100_000, last in 0_i64..4_000_000_000_000, key in "[a-z]{0,8}") {
            let schedule = Schedule::Every(Duration::from_secs(period_s));
            let last = DateTime::from_timestamp_millis(last).unwrap();
            let slot = next_after(&schedule, Some(last), last, &key).unwrap();
            let period = TimeDelta::seconds(i64::try_from(period_s).unwrap());
            prop_assert!(slot > last && slot - last <= period);
            prop_assert_eq!(next_after(&schedule, Some(slot), slot, &key), Some(slot + period));
        }
    }
}
