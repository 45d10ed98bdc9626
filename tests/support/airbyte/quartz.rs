//! Cron expressions as Quartz takes them: seconds first, six or seven parts, and never both kinds of day.

use super::answer::Trouble;

/// The limits of each part; a seventh is the year.
const PARTS: [(&str, u32, u32); 7] = [
    ("seconds", 0, 59),
    ("minutes", 0, 59),
    ("hours", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 1, 7),
    ("year", 1970, 2099),
];

/// Refuses what Quartz or Airbyte refuses; `is_public` has stricter rules for the seconds.
pub fn check(expression: &str, zone: &str, is_public: bool) -> Result<(), Trouble> {
    let refuse = |code: &'static str, why: String| Err(Trouble::Problem(400, code, why));
    let parts: Vec<&str> = expression.split_whitespace().collect();
    if !(6..=7).contains(&parts.len()) {
        let why = format!("Cron expression '{expression}' has {} parts; expected 6 or 7", parts.len());
        return refuse("cron-validation/invalid-expression", why);
    }
    if (parts[3] == "?") == (parts[5] == "?") {
        let why = "exactly one of day-of-month and day-of-week must be ?".to_owned();
        return refuse("cron-validation/invalid-expression", why);
    }
    for (part, (name, least, most)) in parts.iter().zip(PARTS) {
        let named = matches!(name, "month" | "day of week");
        if !part.split(',').all(|piece| is_good(piece, least, most, named)) {
            return refuse("cron-validation/invalid-expression", format!("'{part}' is no valid {name}"));
        }
    }
    let plain = |part: &str| part.parse::<u32>().is_ok();
    if !plain(parts[0]) {
        return refuse("cron-validation/under-one-hour-not-allowed", "runs are closer than a minute".into());
    }
    if is_public && parts.len() == 7 && !plain(parts[1]) {
        return refuse("cron-validation/invalid-expression", "minutes must be a plain number".into());
    }
    if zone.starts_with("Etc") || zone.parse::<chrono_tz::Tz>().is_err() {
        return refuse("cron-validation/invalid-timezone", format!("'{zone}' is no time zone"));
    }
    Ok(())
}

/// `*`, `?`, `5`, `1-5`, `*/10`, `0/15`, `L`, `15W`, `6#3`; `MON`, `JAN-MAR` where there are names.
fn is_good(piece: &str, least: u32, most: u32, named: bool) -> bool {
    let (range, step) = piece.split_once('/').map_or((piece, None), |(range, step)| (range, Some(step)));
    if step.is_some_and(|step| step.parse::<u32>().is_err()) {
        return false;
    }
    let word = |text: &str| named && text.len() == 3 && text.chars().all(|c| c.is_ascii_alphabetic());
    let number = |text: &str| word(text) || text.parse::<u32>().is_ok_and(|n| (least..=most).contains(&n));
    let special = |text: &str| {
        let text = text.trim_end_matches(['L', 'W']);
        text.is_empty() || text.split_once('#').map_or_else(|| number(text), |(day, _)| number(day))
    };
    match range.split_once('-') {
        _ if range == "*" || range == "?" => true,
        Some((from, to)) => number(from) && number(to),
        None => special(range),
    }
}
