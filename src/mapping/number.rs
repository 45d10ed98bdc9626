//! Exact numbers as text: no float ever stands between a source's number and its canonical form.

/// More digits than PostgreSQL's `numeric` takes before the point (131,072); its `jsonb` refuses longer numbers.
const MAX_DIGITS: usize = 131_072;
/// Digits that `numeric` takes after the point.
const MAX_SCALE: usize = 16_383;

/// The one text of a decimal number: no exponent, no superfluous zero, no plus sign, no negative zero. Equal numbers
/// have equal texts. `None` for what is no finite decimal number, or one longer than PostgreSQL's `numeric` takes.
pub(super) fn decimal(text: &str) -> Option<String> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        None => (rest, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    // where the point stands, counted from the first significant digit
    let point = i64::try_from(whole.len()).ok()? - i64::try_from(digits.len() - significant.len()).ok()?;
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let point = point.checked_add(exponent)?;
    let length = i64::try_from(significant.len()).ok()?;
    if point > MAX_DIGITS as i64 || length - point > MAX_SCALE as i64 {
        return None;
    }
    let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
    let sign = if negative { "-" } else { "" };
    Some(if point <= 0 {
        format!("{sign}0.{}{significant}", zeros(-point))
    } else if point >= length {
        format!("{sign}{significant}{}", zeros(point - length))
    } else {
        let (whole, fraction) = significant.split_at(usize::try_from(point).ok()?);
        format!("{sign}{whole}.{fraction}")
    })
}

/// The one text of a whole number; `None` for anything else.
pub(super) fn integer(text: &str) -> Option<String> {
    let plain = text.strip_prefix('-').unwrap_or(text);
    if plain.bytes().all(|b| b.is_ascii_digit()) && !plain.starts_with('0') && !plain.is_empty() && plain.len() < 40 {
        return Some(text.to_owned()); // the common case, without a detour
    }
    decimal(text).filter(|d| !d.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_one_text() {
        let shown = |text: &str| decimal(text).unwrap_or_else(|| "-".into());
        let given = [
            "1",
            "+1",
            "1.0",
            "01.50",
            "1.50e2",
            "1e-3",
            "-0",
            "-0.0",
            "0.10",
            ".5",
            "5.",
            "1E+2",
            "123456789012345678901234567890123456789.25",
            "1e131071",
            "1e131072",
            "1e-16383",
            "1e-16384",
            "1e99999999999999999999",
            "NaN",
            "Infinity",
            "",
            "-",
            ".",
            "1,5",
            "0x10",
            "1 ",
        ];
        let text: String = given
            .iter()
            .map(|g| {
                let d = shown(g);
                let d = if d.len() > 60 { format!("({} characters)", d.len()) } else { d };
                format!("{g} -> {d}\n")
            })
            .collect();
        insta::assert_snapshot!(text, @r"
        1 -> 1
        +1 -> 1
        1.0 -> 1
        01.50 -> 1.5
        1.50e2 -> 150
        1e-3 -> 0.001
        -0 -> 0
        -0.0 -> 0
        0.10 -> 0.1
        .5 -> 0.5
        5. -> 5
        1E+2 -> 100
        123456789012345678901234567890123456789.25 -> 123456789012345678901234567890123456789.25
        1e131071 -> (131072 characters)
        1e131072 -> -
        1e-16383 -> (16385 characters)
        1e-16384 -> -
        1e99999999999999999999 -> -
        NaN -> -
        Infinity -> -
         -> -
        - -> -
        . -> -
        1,5 -> -
        0x10 -> -
        1  -> -
        ");
    }

    #[test]
    fn whole_numbers_are_whole() {
        let given = [
            "7",
            "-7",
            "007",
            "7.0",
            "7e2",
            "7.5",
            "0",
            "-0",
            "12345678901234567890123456789012345678901234567890",
            "x",
            "-",
        ];
        let text: String =
            given.iter().map(|g| format!("{g} -> {}\n", integer(g).unwrap_or_else(|| "-".into()))).collect();
        insta::assert_snapshot!(text, @r"
        7 -> 7
        -7 -> -7
        007 -> 7
        7.0 -> 7
        7e2 -> 700
        7.5 -> -
        0 -> 0
        -0 -> 0
        12345678901234567890123456789012345678901234567890 -> 12345678901234567890123456789012345678901234567890
        x -> -
        - -> -
        ");
    }
}
