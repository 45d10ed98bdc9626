//! Reading a path out of a record, and taking away what was read.

use serde_json::{Map, Value};

use crate::model::{FieldPath, Segment};

/// The value at a path; `None` where there is none, or where the record has another shape there. Below a `[]` or `{}`
/// the values of all items are gathered in a list, with null where an item has none.
pub(super) fn read(record: &Map<String, Value>, path: &FieldPath) -> Option<Value> {
    let (first, rest) = path.segments().split_first()?;
    let Segment::Name(name) = first else { return None };
    below(record.get(name)?, rest)
}

fn below(value: &Value, rest: &[Segment]) -> Option<Value> {
    let Some((first, rest)) = rest.split_first() else {
        return (!value.is_null()).then(|| value.clone());
    };
    let gather = |items: &mut dyn Iterator<Item = &Value>| {
        Some(Value::Array(items.map(|item| below(item, rest).unwrap_or(Value::Null)).collect()))
    };
    match (first, value) {
        (Segment::Name(name), Value::Object(map)) => below(map.get(name)?, rest),
        (Segment::Items, Value::Array(items)) => gather(&mut items.iter()),
        (Segment::Values, Value::Object(map)) => gather(&mut map.values()),
        _ => None,
    }
}

/// Takes what [`read`] finds at the path out of the record. Objects and lists that are empty because of it go too.
pub(super) fn take(record: &mut Map<String, Value>, path: &FieldPath) {
    take_named(record, path.segments(), false);
}

/// Takes what an expression uses at the path: a value that is no object on the way there (`name.upper()`) goes whole.
pub(super) fn take_used(record: &mut Map<String, Value>, path: &FieldPath) {
    take_named(record, path.segments(), true);
}

/// Whether the value itself is used up.
fn take_below(value: &mut Value, rest: &[Segment], used: bool) -> bool {
    let Some((first, inner)) = rest.split_first() else { return true };
    match (first, value) {
        (Segment::Name(_), Value::Object(map)) => take_named(map, rest, used),
        (Segment::Items, Value::Array(items)) => all(items.iter_mut(), inner, used),
        (Segment::Values, Value::Object(map)) => all(map.values_mut(), inner, used),
        (_, value) => used && !value.is_object(),
    }
}

/// Takes from every item; items that are used up stay (as empty objects) while others do not, to keep the places.
fn all<'a>(items: impl Iterator<Item = &'a mut Value>, rest: &[Segment], used: bool) -> bool {
    let mut all_gone = true;
    for item in items {
        all_gone &= take_below(item, rest, used);
    }
    all_gone
}

/// Whether the object is empty because something was taken.
fn take_named(map: &mut Map<String, Value>, path: &[Segment], used: bool) -> bool {
    let Some((Segment::Name(name), rest)) = path.split_first() else { return false };
    let Some(value) = map.get_mut(name) else { return false };
    if !take_below(value, rest, used) {
        return false;
    }
    map.remove(name);
    map.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &str, path: &str) -> String {
        let mut record: Map<String, Value> = serde_json::from_str(record).unwrap();
        let path: FieldPath = path.parse().unwrap();
        let value = read(&record, &path);
        take(&mut record, &path);
        format!("{} | {}", value.map_or("-".into(), |v| v.to_string()), Value::Object(record))
    }

    #[test]
    fn what_is_read_is_taken_and_nothing_else() {
        let record = r#"{"a":{"b":1,"c":null,"d":{"e":2}},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"tags":["p","q"],"by":{"k":{"v":1},"l":{"v":2}},"we.ird":5,"e":{},"none":[]}"#;
        let paths = [
            "a",
            "a.b",
            "a.c",
            "a.d.e",
            "a.x",
            "a.b.c",
            "list[].x",
            "list[].x.z",
            "tags[]",
            "tags",
            "by{}.v",
            "\"we.ird\"",
            "e.x",
            "none[]",
            "missing",
        ];
        let text: String = paths.iter().map(|p| format!("{p}: {}\n", check(record, p))).collect();
        insta::assert_snapshot!(text, @r#"
        a: {"b":1,"c":null,"d":{"e":2}} | {"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        a.b: 1 | {"a":{"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        a.c: - | {"a":{"b":1,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        a.d.e: 2 | {"a":{"b":1,"c":null},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        a.x: - | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        a.b.c: - | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        list[].x: [1,null,4] | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"y":2},{"y":3},{}],"none":[],"tags":["p","q"],"we.ird":5}
        list[].x.z: [null,null,null] | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        tags[]: ["p","q"] | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"we.ird":5}
        tags: ["p","q"] | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"we.ird":5}
        by{}.v: [1,2] | {"a":{"b":1,"c":null,"d":{"e":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        "we.ird": 5 | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"]}
        e.x: - | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        none[]: [] | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"tags":["p","q"],"we.ird":5}
        missing: - | {"a":{"b":1,"c":null,"d":{"e":2}},"by":{"k":{"v":1},"l":{"v":2}},"e":{},"list":[{"x":1,"y":2},{"y":3},{"x":4}],"none":[],"tags":["p","q"],"we.ird":5}
        "#);
    }
}
