//! Dates and points in time as text, from the forms that sources use to one canonical form.
//!
//! Dates: `2024-03-31`, `20240331`, and the date part of any timestamp, as written. Timestamps: ISO 8601 / RFC 3339
//! with `T` or a blank, with or without seconds and fraction (a point or a comma, at most nine digits), with `Z`,
//! ` UTC`, `±hh`, `±hhmm` or `±hh:mm`, and without any zone, which is read as UTC; a date alone is its midnight.
//! Only the years 0001 to 9999 have an RFC 3339 form; `infinity` and dates BC have none.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::number;

/// Numbers below this are seconds since 1970 (until the year 5138), those below a thousand times this milliseconds.
const SECONDS_END: i128 = 100_000_000_000;

/// The canonical date, `2024-03-31`.
pub(super) fn date(text: &str) -> Option<String> {
    let (date, rest) = read_date(text.trim())?;
    // what follows must be a time, or this is no date at all
    if !rest.is_empty() {
        timestamp(text)?;
    }
    Some(date.format("%Y-%m-%d").to_string())
}

/// The canonical point in time: RFC 3339 in UTC, the fraction without superfluous zeros.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let (date, rest) = read_date(text.trim())?;
    let (time, zone) =
        if rest.is_empty() { (NaiveTime::MIN, "") } else { read_time(rest.strip_prefix(['T', 't', ' '])?)? };
    let offset = read_zone(zone)?;
    show(NaiveDateTime::new(date, time).checked_sub_signed(TimeDelta::minutes(offset))?)
}

/// The point in time that a number means: seconds since 1970, or milliseconds from 10¹¹ on.
pub(super) fn epoch(text: &str) -> Option<String> {
    let decimal = number::decimal(text)?;
    let (whole, fraction) = decimal.split_once('.').unwrap_or((&decimal, ""));
    if fraction.len() > 9 {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let fraction: i128 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    let fraction = if decimal.starts_with('-') { -fraction } else { fraction };
    let nanos = match whole.abs() {
        n if n < SECONDS_END => whole * 1_000_000_000 + fraction,
        n if n < SECONDS_END * 1000 => whole * 1_000_000 + fraction / 1000,
        _ => return None,
    };
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    show(DateTime::<Utc>::from_timestamp(seconds, rest)?.naive_utc())
}

fn show(at: NaiveDateTime) -> Option<String> {
    if !(1..=9999).contains(&at.year()) {
        return None;
    }
    let mut text = at.format("%Y-%m-%dT%H:%M:%S").to_string();
    let nanos = chrono::Timelike::nanosecond(&at);
    if nanos > 0 {
        text.push('.');
        text.push_str(format!("{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    Some(text)
}

/// A date and what follows it.
fn read_date(text: &str) -> Option<(NaiveDate, &str)> {
    let (year, text) = digits(text, 4)?;
    let (month, day, rest) = match text.strip_prefix('-') {
        Some(text) => {
            let (month, text) = digits(text, 2)?;
            let (day, rest) = digits(text.strip_prefix('-')?, 2)?;
            (month, day, rest)
        }
        None => {
            let (month, text) = digits(text, 2)?;
            let (day, rest) = digits(text, 2)?;
            (month, day, rest)
        }
    };
    // a fifth digit of the day, or a further one of the year, is another format
    if rest.starts_with(|c: char| c.is_ascii_digit()) || year == 0 {
        return None;
    }
    Some((NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?, rest))
}

/// A time of day and what follows it.
fn read_time(text: &str) -> Option<(NaiveTime, &str)> {
    let (hour, text) = digits(text, 2)?;
    let (minute, text) = digits(text.strip_prefix(':')?, 2)?;
    let Some(text) = text.strip_prefix(':') else {
        return Some((NaiveTime::from_hms_opt(hour, minute, 0)?, text));
    };
    let (second, text) = digits(text, 2)?;
    let Some(fraction) = text.strip_prefix(['.', ',']) else {
        return Some((NaiveTime::from_hms_opt(hour, minute, second)?, text));
    };
    let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (fraction, rest) = fraction.split_at(length);
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some((NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?, rest))
}

/// The offset from UTC in minutes.
fn read_zone(text: &str) -> Option<i64> {
    let text = text.trim_start();
    if text.is_empty() || text.eq_ignore_ascii_case("z") || text.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, text) = digits(&text[1..], 2)?;
    let minutes = match text.strip_prefix(':').unwrap_or(text) {
        "" => 0,
        text => match digits(text, 2)? {
            (minutes, "") => minutes,
            _ => return None,
        },
    };
    (hours < 24 && minutes < 60).then_some(sign * i64::from(hours * 60 + minutes))
}

/// Exactly `count` digits as a number, and what follows.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let (head, rest) = text.split_at_checked(count)?;
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((head.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(read: fn(&str) -> Option<String>, given: &[&str]) -> String {
        given.iter().map(|g| format!("{g} -> {}\n", read(g).unwrap_or_else(|| "-".into()))).collect()
    }

    #[test]
    fn dates() {
        insta::assert_snapshot!(table(date, &[
            "2024-03-31", " 2024-03-31 ", "20240331", "2024-02-30", "2024-3-1", "31.03.2024", "03/31/2024",
            "2024-03-31T23:30:00-08:00", "2024-03-31 rubbish", "0044-03-15 BC", "0000-01-01", "12024-01-01", "infinity", "",
        ]), @r"
        2024-03-31 -> 2024-03-31
         2024-03-31  -> 2024-03-31
        20240331 -> 2024-03-31
        2024-02-30 -> -
        2024-3-1 -> -
        31.03.2024 -> -
        03/31/2024 -> -
        2024-03-31T23:30:00-08:00 -> 2024-03-31
        2024-03-31 rubbish -> -
        0044-03-15 BC -> -
        0000-01-01 -> -
        12024-01-01 -> -
        infinity -> -
         -> -
        ");
    }

    #[test]
    fn timestamps() {
        insta::assert_snapshot!(table(timestamp, &[
            "2024-03-31T01:02:03Z", "2024-03-31 01:02:03.123456+00", "2024-03-31T01:02:03.120+02:00", "2024-03-31 01:02",
            "2024-03-31", "20240331T01:02:03", "2024-03-31T23:59:59-0800", "2024-03-31 01:02:03 UTC",
            "2024-03-31T01:02:03,5", "2024-03-31T01:02:03.123456789Z", "2024-03-31T01:02:03.1234567890Z", "2024-03-31T25:00:00Z",
            "2024-03-31T01:02:60Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "infinity", "now", "2024-03-31T", "é",
        ]), @r"
        2024-03-31T01:02:03Z -> 2024-03-31T01:02:03Z
        2024-03-31 01:02:03.123456+00 -> 2024-03-31T01:02:03.123456Z
        2024-03-31T01:02:03.120+02:00 -> 2024-03-30T23:02:03.12Z
        2024-03-31 01:02 -> 2024-03-31T01:02:00Z
        2024-03-31 -> 2024-03-31T00:00:00Z
        20240331T01:02:03 -> 2024-03-31T01:02:03Z
        2024-03-31T23:59:59-0800 -> 2024-04-01T07:59:59Z
        2024-03-31 01:02:03 UTC -> 2024-03-31T01:02:03Z
        2024-03-31T01:02:03,5 -> 2024-03-31T01:02:03.5Z
        2024-03-31T01:02:03.123456789Z -> 2024-03-31T01:02:03.123456789Z
        2024-03-31T01:02:03.1234567890Z -> -
        2024-03-31T25:00:00Z -> -
        2024-03-31T01:02:60Z -> -
        0001-01-01T00:00:00+01:00 -> -
        9999-12-31T23:59:59-01:00 -> -
        infinity -> -
        now -> -
        2024-03-31T -> -
        é -> -
        ");
    }

    #[test]
    fn epochs() {
        insta::assert_snapshot!(table(epoch, &[
            "0", "1711846923", "1711846923.5", "1711846923123", "-1", "-0.5", "99999999999", "100000000000", "1e9",
            "99999999999999", "100000000000000", "NaN",
        ]), @r"
        0 -> 1970-01-01T00:00:00Z
        1711846923 -> 2024-03-31T01:02:03Z
        1711846923.5 -> 2024-03-31T01:02:03.5Z
        1711846923123 -> 2024-03-31T01:02:03.123Z
        -1 -> 1969-12-31T23:59:59Z
        -0.5 -> 1969-12-31T23:59:59.5Z
        99999999999 -> 5138-11-16T09:46:39Z
        100000000000 -> 1973-03-03T09:46:40Z
        1e9 -> 2001-09-09T01:46:40Z
        99999999999999 -> 5138-11-16T09:46:39.999Z
        100000000000000 -> -
        NaN -> -
        ");
    }
}
