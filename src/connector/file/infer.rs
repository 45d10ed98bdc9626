//! What type a column of texts has: the narrowest that holds every value, in whatever order they come.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::model::FieldType;

/// What the values of a column have in common. Joining is associative and commutative, so row order does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// No value yet.
    #[default]
    Empty,
    /// true or false
    Boolean,
    /// A whole number that a 64-bit column holds.
    Integer,
    /// Any number; larger whole numbers too, without loss.
    Number,
    /// `2024-02-29`
    Date,
    /// `2024-02-29T12:00:00`, also with a blank
    Timestamp,
    /// The same with `Z` or an offset.
    TimestampTz,
    /// Anything else.
    Text,
}

impl Kind {
    /// The kind that holds the values of both.
    pub fn join(self, other: Self) -> Self {
        use Kind::{Date, Empty, Integer, Number, Text, Timestamp};
        match (self, other) {
            (a, b) if a == b => a,
            (Empty, a) | (a, Empty) => a,
            (Integer, Number) | (Number, Integer) => Number,
            (Date, Timestamp) | (Timestamp, Date) => Timestamp,
            _ => Text,
        }
    }

    /// In the words of a catalog.
    pub fn field_type(self) -> FieldType {
        match self {
            Self::Boolean => FieldType::Boolean,
            Self::Integer => FieldType::Integer,
            Self::Number => FieldType::Number,
            Self::Date => FieldType::Date,
            Self::Timestamp => FieldType::Timestamp,
            Self::TimestampTz => FieldType::TimestampTz,
            Self::Empty | Self::Text => FieldType::String(None),
        }
    }

    /// The kind of one text.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        match bytes.first() {
            None => Self::Empty,
            Some(b't' | b'T' | b'f' | b'F') => {
                let flag = text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
                if flag { Self::Boolean } else { Self::Text }
            }
            Some(b'0'..=b'9') if bytes.len() >= 10 && bytes[4] == b'-' => time(text),
            Some(b'0'..=b'9' | b'-') => number(text),
            _ => Self::Text,
        }
    }
}

/// Whole and decimal numbers as JSON writes them. A leading zero or plus means an identifier, not a number; an exponent
/// counts only beside a point (`1.5E+10`), because `12e5` is more often a code.
fn number(text: &str) -> Kind {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) || fraction.is_some_and(|f| !all_digits(f)) {
        return Kind::Text;
    }
    if let Some(exponent) = exponent {
        let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        // beyond this no numeric holds it
        let ok = fraction.is_some() && all_digits(power) && power.parse::<u32>().is_ok_and(|p| p < 1000);
        return if ok { Kind::Number } else { Kind::Text };
    }
    if fraction.is_none() && text != "-0" && text.parse::<i64>().is_ok() {
        return Kind::Integer;
    }
    // numeric holds far more, but nobody counts with such a number
    if text == "-0" || whole.len() > 1000 { Kind::Text } else { Kind::Number }
}

/// Dates and timestamps in ISO 8601 as databases write them.
fn time(text: &str) -> Kind {
    let Some((date, rest)) = text.split_at_checked(10) else { return Kind::Text };
    if NaiveDate::parse_from_str(date, "%Y-%m-%d").is_err() {
        return Kind::Text;
    }
    if rest.is_empty() {
        return Kind::Date;
    }
    let strict = rest.len() >= 6 && matches!(rest.as_bytes()[0], b'T' | b' ') && rest.as_bytes()[3] == b':';
    if !strict {
        return Kind::Text;
    }
    let plain = text.replacen(' ', "T", 1);
    if ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"].iter().any(|f| NaiveDateTime::parse_from_str(&plain, f).is_ok()) {
        return Kind::Timestamp;
    }
    let zoned = plain.strip_suffix(" UTC").map_or_else(|| plain.clone(), |t| format!("{t}Z"));
    let zoned = zoned.strip_suffix('Z').map_or_else(|| zoned.clone(), |t| format!("{t}+00:00"));
    let forms = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    if forms.iter().any(|f| DateTime::parse_from_str(&zoned, f).is_ok()) { Kind::TimestampTz } else { Kind::Text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_what_they_look_like() {
        let texts = [
            "",
            "true",
            "FALSE",
            "yes",
            "0",
            "-7",
            "007",
            "+5",
            "-0",
            "9223372036854775807",
            "9223372036854775808",
            "1234567890123456789012345678901234567890",
            "1.10",
            ".5",
            "1.",
            "1.5E+10",
            "12e5",
            "NaN",
            "2024-02-29",
            "2023-02-29",
            "2024-02-29T12:00:00",
            "2024-02-29 12:00",
            "2020-12-30 3:15:52",
            "2024-02-29T12:00:00.123Z",
            "2024-02-29 12:00:00+02",
            "2024-02-29 12:00:00 UTC",
            "2024-02-29x",
            " 5",
        ];
        let shown: Vec<String> = texts.iter().map(|t| format!("{t:?} {:?}", Kind::of(t))).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        "" Empty
        "true" Boolean
        "FALSE" Boolean
        "yes" Text
        "0" Integer
        "-7" Integer
        "007" Text
        "+5" Text
        "-0" Text
        "9223372036854775807" Integer
        "9223372036854775808" Number
        "1234567890123456789012345678901234567890" Number
        "1.10" Number
        ".5" Text
        "1." Text
        "1.5E+10" Number
        "12e5" Text
        "NaN" Text
        "2024-02-29" Date
        "2023-02-29" Text
        "2024-02-29T12:00:00" Timestamp
        "2024-02-29 12:00" Timestamp
        "2020-12-30 3:15:52" Text
        "2024-02-29T12:00:00.123Z" TimestampTz
        "2024-02-29 12:00:00+02" TimestampTz
        "2024-02-29 12:00:00 UTC" TimestampTz
        "2024-02-29x" Text
        " 5" Text
        "#);
    }

    proptest! {
        #[test]
        fn row_order_never_matters(mut texts in prop::collection::vec(
            prop_oneof!["", "true", "[0-9]{1,25}", "-?[0-9]{1,3}\\.[0-9]{1,3}", "20[0-9]{2}-0[1-9]-[012][0-9]",
                "2024-01-01[T ]1[0-9]:00:00Z?", "[a-z]{1,3}"], 0..12), seed in any::<u64>())
        {
            let join = |texts: &[String]| texts.iter().fold(Kind::Empty, |k, t| k.join(Kind::of(t)));
            let before = join(&texts);
            let len = texts.len();
            for i in 0..len {
                texts.swap(i, usize::try_from(seed.rotate_left(u32::try_from(i).unwrap()) % len as u64).unwrap());
            }
            prop_assert_eq!(join(&texts), before);
            let (left, right) = texts.split_at(len / 2);
            prop_assert_eq!(join(left).join(join(right)), before);
        }
    }
}
