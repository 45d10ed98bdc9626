//! What a change of type means for values: whether old ones fit the new type, the new ones the old, or neither.

use super::Grade;
use crate::model::{FieldType, Segment};

/// Digits before the point that hold every 64-bit integer: what sources call an integer fits a decimal of that size.
const INTEGER_DIGITS: u32 = 19;

/// A grade with its reason in words, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graded {
    /// The grade.
    pub grade: Grade,
    /// Why; completes a sentence: "because …".
    pub reason: &'static str,
}

/// Grades a change of type.
pub fn grade(before: &FieldType, after: &FieldType) -> Graded {
    if let Some(reason) = fits(before, after) {
        return Graded { grade: Grade::Widened, reason };
    }
    if fits(after, before).is_some() {
        return Graded { grade: Grade::Narrowed, reason: "only some of the old values are values of the new type" };
    }
    Graded { grade: Grade::Reinterpreted, reason: "values must be read in another way" }
}

/// Why every value of `inner` is a value of `outer`, unchanged; `None` if one is not.
fn fits(inner: &FieldType, outer: &FieldType) -> Option<&'static str> {
    use FieldType::{Any, Decimal, Integer, Number, String, Union};
    let whole_digits = |precision: u32, scale: u32| precision.saturating_sub(scale);
    match (inner, outer) {
        (a, b) if a == b => Some("it is the same type"),
        (_, Any) => Some("anything is allowed now"),
        (Union(members), outer) => {
            members.iter().all(|m| fits(m, outer).is_some()).then_some("every type it could have is still allowed")
        }
        (inner, Union(members)) => {
            members.iter().any(|m| fits(inner, m).is_some()).then_some("the old type is one of those allowed now")
        }
        (Integer, Number) => Some("every integer is a number"),
        (Integer, Decimal { precision, scale }) => (whole_digits(*precision, *scale) >= INTEGER_DIGITS)
            .then_some("the decimal has room for every 64-bit integer"),
        (Decimal { .. }, Number) => Some("every decimal is a number"),
        (Decimal { scale: 0, .. }, Integer) => Some("a decimal without digits after the point is an integer"),
        (Decimal { precision: p, scale: s }, Decimal { precision, scale }) => (scale >= s
            && whole_digits(*precision, *scale) >= whole_digits(*p, *s))
        .then_some("the new decimal has at least as many digits on both sides of the point"),
        (String(Some(_)), String(None)) => Some("text of a stated format is text"),
        _ => None,
    }
}

/// Whether a field of that type can hold fields below it in that way.
pub(super) fn permits(ty: &FieldType, segment: &Segment) -> bool {
    match ty {
        FieldType::Any => true,
        FieldType::Object => matches!(segment, Segment::Name(_)),
        FieldType::Array => *segment == Segment::Items,
        FieldType::Map => *segment == Segment::Values,
        FieldType::Union(members) => members.iter().any(|m| permits(m, segment)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grades(pairs: &[(&str, &str)]) -> String {
        let line = |(a, b): &(&str, &str)| {
            let graded = grade(&a.parse().unwrap(), &b.parse().unwrap());
            format!("{a} -> {b}: {:?}, {}", graded.grade, graded.reason)
        };
        pairs.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn types_are_graded_with_a_reason() {
        insta::assert_snapshot!(grades(&[
            ("integer", "number"),
            ("integer", "decimal(19,0)"),
            ("integer", "decimal(19,2)"),
            ("decimal(10,2)", "decimal(12,2)"),
            ("decimal(10,2)", "decimal(12,4)"),
            ("decimal(10,2)", "decimal(11,4)"),
            ("decimal(9,0)", "integer"),
            ("string<uuid>", "string"),
            ("string", "string<uuid>"),
            ("string", "integer|string"),
            ("integer", "boolean|number"),
            ("integer|string", "string"),
            ("integer|string", "boolean|integer|string"),
            ("object", "any"),
            ("integer", "string"),
            ("date", "timestamp"),
            ("timestamp", "timestamp_tz"),
        ]), @r"
integer -> number: Widened, every integer is a number
integer -> decimal(19,0): Widened, the decimal has room for every 64-bit integer
integer -> decimal(19,2): Reinterpreted, values must be read in another way
decimal(10,2) -> decimal(12,2): Widened, the new decimal has at least as many digits on both sides of the point
decimal(10,2) -> decimal(12,4): Widened, the new decimal has at least as many digits on both sides of the point
decimal(10,2) -> decimal(11,4): Reinterpreted, values must be read in another way
decimal(9,0) -> integer: Widened, a decimal without digits after the point is an integer
string<uuid> -> string: Widened, text of a stated format is text
string -> string<uuid>: Narrowed, only some of the old values are values of the new type
string -> integer|string: Widened, the old type is one of those allowed now
integer -> boolean|number: Widened, the old type is one of those allowed now
integer|string -> string: Narrowed, only some of the old values are values of the new type
integer|string -> boolean|integer|string: Widened, every type it could have is still allowed
object -> any: Widened, anything is allowed now
integer -> string: Reinterpreted, values must be read in another way
date -> timestamp: Reinterpreted, values must be read in another way
timestamp -> timestamp_tz: Reinterpreted, values must be read in another way
");
    }
}
