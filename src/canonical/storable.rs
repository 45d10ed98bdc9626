//! What PostgreSQL's `jsonb` cannot hold: U+0000, and numbers beyond `numeric`. Found before a batch is sent, because one
//! such value would fail all of it.

use serde_json::{Map, Value};

/// Shorter numbers without an exponent always fit.
const SURELY_SHORT: usize = 1_000;
/// Digits after the point that `numeric` keeps; also a safe limit for what stands before it.
const MOST_DIGITS: i64 = 16_000;

/// One reason for each value that cannot be stored, with its top-level field.
pub(super) fn check(fields: &Map<String, Value>) -> Vec<String> {
    let mut reasons = Vec::new();
    for (name, value) in fields {
        let why = if name.contains('\0') { Some("has U+0000 in its name") } else { problem(value) };
        reasons.extend(why.map(|why| format!("{}: {why}, which cannot be stored", name.escape_debug())));
    }
    reasons
}

fn problem(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null | Value::Bool(_) => None,
        Value::String(text) => text.contains('\0').then_some("holds U+0000"),
        Value::Number(n) => (!fits(n.as_str())).then_some("is a number out of range"),
        Value::Array(items) => items.iter().find_map(problem),
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            if name.contains('\0') { Some("has U+0000 in a name inside it") } else { problem(value) }
        }),
    }
}

fn fits(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    if exponent == "0" && mantissa.len() < SURELY_SHORT {
        return true;
    }
    let length = i64::try_from(mantissa.len()).unwrap_or(i64::MAX);
    exponent.parse::<i64>().is_ok_and(|e| e.saturating_abs().saturating_add(length) <= MOST_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_is_named() {
        let long = "9".repeat(20_000);
        let record = format!(
            r#"{{"a":"x\u0000y","b":{{"c\u0000":1}},"c":[1,["\u0000"]],"d":1e20000,"e":1e-20000,"f":{long},"g\u0000":1,
                "h":"fine \\u0000","i":1e300,"j":12345678901234567890123456789012345678901234567890.5}}"#
        );
        let record: Map<String, Value> = serde_json::from_str(&record).unwrap();
        insta::assert_snapshot!(check(&record).join("\n"), @r"
        a: holds U+0000, which cannot be stored
        b: has U+0000 in a name inside it, which cannot be stored
        c: holds U+0000, which cannot be stored
        d: is a number out of range, which cannot be stored
        e: is a number out of range, which cannot be stored
        f: is a number out of range, which cannot be stored
        g\0: has U+0000 in its name, which cannot be stored
        ");
    }
}
