//! Mappings from their text to records and diagnostics.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::{Field, FieldPath, RepoPath, Stream, StreamName};
use crate::spec::{At, EntityField, EntityMapping, EntitySpec, FieldMapping, MappingRule, MappingSpec};

/// A mapping file of lines `target: source`, `target: source | as=… | default=… | A=b`, `target: expr …`, `key: …`,
/// `deleted_when: …`; places are those of the text.
fn mapping(text: &str) -> MappingSpec {
    let node = |value: &str| {
        let start = value.as_ptr() as usize - text.as_ptr() as usize;
        let line_start = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let line = u32::try_from(text[..start].matches('\n').count() + 1).unwrap();
        let column = u32::try_from(text[line_start..start].chars().count() + 1).unwrap();
        At { value: value.to_owned(), line, column, span: start..start + value.len() }
    };
    let path = |value: &str| {
        let At { value, line, column, span } = node(value);
        At { value: value.parse::<FieldPath>().unwrap(), line, column, span }
    };
    let stream = At { value: StreamName::bare("accounts"), line: 1, column: 1, span: 0..0 };
    let entity = At { value: "account".to_owned(), line: 1, column: 1, span: 0..7 };
    let mut entry = EntityMapping { entity, stream, key: Vec::new(), fields: Vec::new(), deleted_when: None };
    for (target, rule) in text.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        match (target, rule.strip_prefix("expr ")) {
            ("key", _) => entry.key = rule.split(", ").map(path).collect(),
            ("deleted_when", _) => entry.deleted_when = Some(node(rule)),
            (_, Some(expr)) => {
                entry.fields.push(FieldMapping { target: node(target), rule: MappingRule::Expr(node(expr)) });
            }
            _ => {
                let mut parts = rule.split(" | ");
                let from = path(parts.next().unwrap());
                let (mut cast, mut default, mut values) = (None, None, Vec::new());
                for (name, value) in parts.clone().map(|p| p.split_once('=').unwrap()) {
                    match name {
                        "as" => cast = Some(node(value)),
                        "default" => default = Some(node(value)),
                        _ => values.push((node(name), node(value))),
                    }
                }
                let rule = match parts.next() {
                    None => MappingRule::Path(from),
                    Some(_) => MappingRule::From { from, cast, values, default },
                };
                entry.fields.push(FieldMapping { target: node(target), rule });
            }
        }
    }
    let path = RepoPath::new("mappings/crm.yaml").unwrap();
    MappingSpec {
        name: "crm".into(),
        path,
        text: text.into(),
        digest: "d".into(),
        system: "crm".into(),
        entities: vec![entry],
    }
}

fn entity() -> EntitySpec {
    let fields = [
        ("name", "string", true),
        ("region", "string", false),
        ("revenue", "decimal", false),
        ("size", "integer", false),
        ("active", "boolean", false),
        ("founded", "date", false),
        ("created_at", "timestamp", false),
        ("address", "object", false),
        ("skus", "array", false),
    ];
    let field = |ty: &str, required| EntityField { ty: ty.into(), required, pii: false, description: None };
    EntitySpec {
        name: "account".into(),
        path: RepoPath::new("mappings/entities/account.yaml").unwrap(),
        fields: fields.iter().map(|(name, ty, required)| ((*name).to_owned(), field(ty, *required))).collect(),
    }
}

fn compiled(text: &str) -> CompiledMapping {
    let spec = mapping(text);
    compile(&spec, &spec.entities[0], &entity(), None).unwrap()
}

/// Against an entity that requires nothing.
fn relaxed(text: &str) -> CompiledMapping {
    let spec = mapping(text);
    let mut entity = entity();
    entity.fields.values_mut().for_each(|f| f.required = false);
    compile(&spec, &spec.entities[0], &entity, None).unwrap()
}

const ALL: &str = "account:
key: id
name: name
region: state | CA=west | 7=seven | default=other
revenue: rev | as=decimal
size: staff | as=integer
active: on
founded: since | as=date | default=1900-01-01
created_at: made
address: extra.address
skus: orders[].sku
extras.note: extra.note
extras.full: expr extra.first ~ ' ' ~ name
deleted_when: gone";

#[test]
fn records_become_canonical() {
    let mapping = compiled(ALL);
    let records = [
        json!({"id": 1, "name": "A", "state": "CA", "rev": "1.50", "staff": 7.0, "on": true, "since": "20240331", "made": "2024-03-31 10:00+02",
               "extra": {"address": {"c": 1}, "note": [1], "first": "F", "rest": 2}, "orders": [{"sku": "a", "n": 1}, {"n": 2}], "new": "x", "null": null}),
        json!({"id": "k", "name": "B", "state": 7, "extra": {"first": "F"}}),
        json!({"id": 3, "gone": "t", "rev": "not looked at", "why": "tombstone"}),
        json!({"id": 4, "rev": "much", "on": "true", "made": "infinity", "extra": {}}),
        json!({"id": null, "name": 5, "extra": {"first": "F"}}),
        json!([1]),
    ];
    let text: String = records
        .iter()
        .map(|record| match mapping.apply(&record.to_string()) {
            Ok(m) => format!(
                "{} deleted={} {} unknown {}\n",
                m.key.unwrap(),
                m.deleted,
                Value::Object(m.data),
                Value::Object(m.unknown_fields)
            ),
            Err(r) => format!("rejected {:?}: {}\n", r.key, r.reasons.join("; ")),
        })
        .collect();
    insta::assert_snapshot!(text, @r#"
    [1] deleted=false {"active":true,"address":{"c":1},"created_at":"2024-03-31T08:00:00Z","extras":{"full":"F A","note":[1]},"founded":"2024-03-31","name":"A","region":"west","revenue":"1.5","size":7,"skus":["a",null]} unknown {"extra":{"rest":2},"new":"x","orders":[{"n":1},{"n":2}]}
    ["k"] deleted=false {"extras":{"full":"F B"},"founded":"1900-01-01","name":"B","region":"seven"} unknown {}
    [3] deleted=true {} unknown {"why":"tombstone"}
    rejected Some("[4]"): revenue: text `much` cannot become decimal; active: text `true` is no boolean; created_at: text `infinity` is no timestamp; extras.full: undefined value: `extra.first` is undefined; name: is required, and the record has no value for it
    rejected None: key: the record has no single value in `id`; name: `5` is no string
    rejected None: the record is no JSON object: invalid type: sequence, expected a map at line 1 column 0
    "#);
}

#[test]
fn every_fault_is_found_at_its_place() {
    let spec = mapping(
        "account:
key: idd
nmae: name
region: stat
revenue: made
size: staff | as=int
active: on | as=string
founded: since | as=date | default=soon
created_at: expr made ~ nothing
skus: expr a ~
extras.a.b: staff
region: state",
    );
    let mut stream = Stream::default();
    for (name, ty) in [
        ("id", "integer"),
        ("name", "string"),
        ("state", "string"),
        ("made", "timestamp_tz"),
        ("staff", "integer"),
        ("on", "boolean"),
        ("since", "string"),
    ] {
        stream.fields.insert(FieldPath::top(name), Field::new(ty.parse().unwrap(), true));
    }
    let found = compile(&spec, &spec.entities[0], &entity(), Some(&stream)).unwrap_err();
    let text: String = found
        .iter()
        .map(|d| {
            let place = d.place.as_ref().unwrap();
            assert!(CODES.iter().any(|(code, _, _)| *code == d.code));
            format!(
                "{}:{} {} {} [{}] {}\n",
                place.line,
                place.column,
                d.code,
                d.message,
                place.text,
                d.help.clone().unwrap_or_default()
            )
        })
        .collect();
    insta::assert_snapshot!(text, @r"
    3:1 AAM-M003 entity account has no field `nmae` [nmae: name] did you mean `name`?; `extras.nmae` takes a field that the entity does not have
    4:9 AAM-M006 the stream has no field `stat` [region: stat] did you mean `state`?
    5:10 AAM-M007 source field `made` is timestamp_tz, the canonical field is decimal [revenue: made] an expression (`{expr: …}`) can build the value
    6:18 AAM-M008 `as: int` names no type that a value can be cast to [size: staff | as=int] 
    7:17 AAM-M007 the cast gives string, the canonical field is boolean [active: on | as=string] 
    8:36 AAM-M009 the value does not fit the canonical field: text `soon` cannot become date [founded: since | as=date | default=soon] 
    9:25 AAM-M006 the expression uses `nothing`, which the stream does not have [created_at: expr made ~ nothing] 
    10:14 AAM-M010 the expression cannot be read [skus: expr a ~] expressions are those of minijinja: names, `~` joins texts, `if … else …`, filters
    11:1 AAM-M012 `extras.a.b` is no canonical field: after `extras.` comes one name; quote a name that holds a dot [extras.a.b: staff] 
    12:1 AAM-M004 canonical field `region` is given twice [region: state] 
    1:1 AAM-M005 required field `name` of entity account is not mapped [account:] add `name:` below `fields:`, or drop `required` in mappings/entities/account.yaml
    2:6 AAM-M006 the stream has no field `idd` [key: idd] did you mean `id`?
    ");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        "[a-z]{1,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Every leaf with its path.
fn leaves(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => map.iter().for_each(|(k, v)| leaves(v, &format!("{path}.{k}"), into)),
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(n, v)| leaves(v, &format!("{path}.{n}"), into));
        }
        leaf => into.push(format!("{path}={leaf}")),
    }
}

proptest! {
    #[test]
    fn nothing_is_dropped(record in prop::collection::btree_map("[a-e]", json_value(), 0..5)) {
        let mapping = relaxed("account:\nextras.a: a\nextras.b: b.c\nextras.c: c[].a\nextras.d: d{}.b");
        let record: Map<String, Value> = record.into_iter().collect();
        let mapped = mapping.apply(&Value::Object(record.clone()).to_string()).unwrap();
        let mut all = Vec::new();
        leaves(&Value::Object(record.clone()), "", &mut all);
        let mut unknown = Vec::new();
        leaves(&Value::Object(mapped.unknown_fields), "", &mut unknown);
        // what the paths take, told apart from the code under test
        let by_rule = |leaf: &str| {
            let at: Vec<&str> = leaf.split('=').next().unwrap().split('.').skip(1).collect();
            match at[..] {
                ["a", ..] => true,
                ["b", "c", ..] => record["b"].is_object(),
                ["c", _, "a", ..] => record["c"].is_array(),
                ["d", _, "b", ..] => record["d"].is_object(),
                ["c"] => record["c"] == json!([]),
                ["d"] => record["d"] == json!({}),
                _ => false,
            }
        };
        for leaf in all {
            prop_assert!(unknown.contains(&leaf) || by_rule(&leaf), "{} is lost", leaf);
        }
    }
}

#[test]
fn the_digest_moves_with_what_decides_a_records_fate_and_with_nothing_else() {
    let (spec, known) = (mapping("crm\nname: n\nkey: id"), entity());
    let digest = mapping_digest(&spec, &known);
    let of = |change: &dyn Fn(&mut EntityField)| {
        let mut entity = entity();
        change(entity.fields.get_mut("region").unwrap());
        mapping_digest(&spec, &entity)
    };
    assert_eq!(compile(&spec, &spec.entities[0], &known, None).unwrap().digest(), digest);
    assert_eq!(of(&|field| (field.pii, field.description) = (true, Some("where it is".into()))), digest);
    assert_ne!(of(&|field| field.required = true), digest);
    assert_ne!(of(&|field| field.ty = "integer".into()), digest);
    assert_ne!(mapping_digest(&MappingSpec { digest: "another".into(), ..spec.clone() }, &known), digest);
}
