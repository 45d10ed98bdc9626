//! A repair on records that landed: each is turned into what the source sends since its change, then mapped as the mapping
//! stands and as the repair makes it, and compared with what it gave before. Kept are counts, never values.
//!
//! Names are what can be followed so: what a changed type does to values shows only once such values have landed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::markdown::{Room, fence, fitting};
use crate::drift::{Change, renames_in};
use crate::mapping::{CompiledMapping, Mapped, Rejected};
use crate::model::{FieldPath, Segment, StreamName};

/// What came of the records of one stream as one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The stream, by the name it landed under.
    pub stream: StreamName,
    /// The entity.
    pub entity: String,
    /// How many records were tried.
    pub records: u64,
    /// As they landed, by the mapping as it is.
    pub before: Outcome,
    /// As the source sends them now, by the mapping as it is.
    pub unrepaired: Outcome,
    /// As the source sends them now, by the repaired mapping.
    pub repaired: Outcome,
    /// Why the repaired mapping cannot map anything: something in it is left to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
}

/// What a mapping made of records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Records that it maps; the others would be dead letters.
    pub mapped: u64,
    /// What refuses records: `key`, `deleted_when` or a canonical field, and in how many.
    pub refused_by: BTreeMap<String, u64>,
    /// Mapped records whose key and canonical data are those of before.
    pub same: u64,
    /// Canonical fields with another value than before, or none, and in how many records.
    pub differs: BTreeMap<String, u64>,
}

/// What came of repairs, by what they are of.
pub type Trials = BTreeMap<String, Vec<Trial>>;

/// Tries a repair. `changes` are those that it answers; `stream` is the name that the records landed under, `now` the one that
/// the source has for it. `after` may be why the repaired mapping cannot be used.
pub fn try_out<'a>(
    (stream, now): (&StreamName, &StreamName),
    changes: &[Change],
    (before, after): (&CompiledMapping, Result<&CompiledMapping, &str>),
    records: impl IntoIterator<Item = &'a str>,
) -> Trial {
    let mut trial = Trial {
        stream: stream.clone(),
        entity: before.entity().to_owned(),
        records: 0,
        before: Outcome::default(),
        unrepaired: Outcome::default(),
        repaired: Outcome::default(),
        unfinished: after.err().map(str::to_owned),
    };
    for record in records.into_iter().filter(|record| !has_landed_since(record, changes, now)) {
        trial.records += 1;
        let landed = before.apply(record);
        let present = as_now(record, changes, now);
        trial.before.count(&landed, &landed);
        trial.unrepaired.count(&before.apply(&present), &landed);
        if let Ok(after) = after {
            trial.repaired.count(&after.apply(&present), &landed);
        }
    }
    trial
}

impl Outcome {
    fn count(&mut self, outcome: &Result<Mapped, Rejected>, before: &Result<Mapped, Rejected>) {
        let mapped = match outcome {
            Ok(mapped) => mapped,
            Err(rejected) => {
                // what follows the colon may quote a value
                let by = rejected.reasons.iter().map(|reason| reason.split(':').next().unwrap_or_default());
                by.collect::<BTreeSet<_>>().into_iter().for_each(|by| one_more(&mut self.refused_by, by));
                return;
            }
        };
        self.mapped += 1;
        let Ok(before) = before else { return };
        let fields: BTreeSet<&String> = mapped.data.keys().chain(before.data.keys()).collect();
        let differing: Vec<&&String> = fields.iter().filter(|f| mapped.data.get(**f) != before.data.get(**f)).collect();
        let whole = (mapped.key != before.key).then_some("key");
        let whole = whole.into_iter().chain((mapped.deleted != before.deleted).then_some("deleted_when"));
        let named: Vec<&str> = whole.chain(differing.into_iter().map(|field| field.as_str())).collect();
        self.same += u64::from(named.is_empty());
        named.into_iter().for_each(|name| one_more(&mut self.differs, name));
    }
}

fn one_more(counts: &mut BTreeMap<String, u64>, name: &str) {
    *counts.entry(name.to_owned()).or_default() += 1;
}

impl Trial {
    /// Whether the repair gives of every record what there was before.
    pub fn is_as_before(&self) -> bool {
        self.unfinished.is_none() && self.repaired.same == self.before.mapped
    }
}

/// Whether the record has a value that there was none of before these changes: it landed since, and shows nothing of before.
fn has_landed_since(record: &str, changes: &[Change], stream: &StreamName) -> bool {
    let Ok(mut data) = serde_json::from_str::<Map<String, Value>>(record) else { return false };
    let renames = renames_in(changes, stream);
    let mut since = false;
    for change in changes.iter().filter(|change| change.stream() == stream) {
        let (Change::FieldAdded { field, .. } | Change::FieldRenamed { to: field, .. }) = change else { continue };
        // a name that changed hands was there before
        if renames.iter().all(|(from, _)| from != field) {
            at_parent(&mut data, field, &mut |object, name| since |= object.get(name).is_some_and(|v| !v.is_null()));
        }
    }
    since
}

/// The record as the source sends it since these changes.
fn as_now(record: &str, changes: &[Change], stream: &StreamName) -> String {
    let Ok(mut data) = serde_json::from_str::<Map<String, Value>>(record) else { return record.to_owned() };
    let renames = renames_in(changes, stream);
    let gone = changes.iter().filter_map(|change| match change {
        Change::FieldRemoved { stream: of, field, .. } if of == stream => Some(field),
        _ => None,
    });
    let gone: Vec<&FieldPath> = gone.collect();
    let depth = |path: &FieldPath| path.segments().len();
    let deepest = renames.iter().map(|(from, _)| from).chain(gone.iter().copied()).map(depth).max().unwrap_or(0);
    // Outermost first, as paths inside what was renamed have its new name. Names may change places, so of one depth all values
    // are taken before one is put back.
    for at in 1..=deepest {
        for field in gone.iter().filter(|field| depth(field) == at) {
            at_parent(&mut data, field, &mut |object, name| drop(object.remove(name)));
        }
        let here: Vec<_> = renames.iter().filter(|(from, _)| depth(from) == at).collect();
        let taken = |nth: usize| format!("\0{nth}");
        for (nth, (from, _)) in here.iter().enumerate() {
            at_parent(&mut data, from, &mut |object, name| move_to(object, name, taken(nth)));
        }
        for (nth, (from, to)) in here.iter().enumerate() {
            let Some(Segment::Name(new)) = to.segments().last() else { continue };
            at_parent(&mut data, from, &mut |object, _| move_to(object, &taken(nth), new.clone()));
        }
    }
    Value::Object(data).to_string()
}

fn move_to(object: &mut Map<String, Value>, from: &str, to: String) {
    if let Some(value) = object.remove(from) {
        object.insert(to, value);
    }
}

/// Does something to every object that holds the field, with the field's name in it.
fn at_parent(record: &mut Map<String, Value>, field: &FieldPath, act: &mut dyn FnMut(&mut Map<String, Value>, &str)) {
    within(record, field.segments(), act);
}

fn within(object: &mut Map<String, Value>, path: &[Segment], act: &mut dyn FnMut(&mut Map<String, Value>, &str)) {
    match path {
        [Segment::Name(name)] => act(object, name),
        [Segment::Name(name), rest @ ..] => {
            if let Some(value) = object.get_mut(name) {
                below(value, rest, act);
            }
        }
        _ => {}
    }
}

fn below(value: &mut Value, path: &[Segment], act: &mut dyn FnMut(&mut Map<String, Value>, &str)) {
    match (path, value) {
        ([Segment::Name(_), ..], Value::Object(object)) => within(object, path, act),
        ([Segment::Items, rest @ ..], Value::Array(items)) => items.iter_mut().for_each(|item| below(item, rest, act)),
        ([Segment::Values, rest @ ..], Value::Object(map)) => map.values_mut().for_each(|v| below(v, rest, act)),
        _ => {}
    }
}

/// Room for the trials of a drift file, and for the fields of a line.
pub(super) const ROOM: Room = Room { lines: 24, bytes: 3_000 };
const FIELDS: usize = 4;

/// Trials in words, as a section of the drift file.
pub(super) fn told(trials: &[Trial]) -> String {
    let blocks: Vec<Vec<String>> = trials.iter().filter(|trial| trial.records > 0).map(block).collect();
    if blocks.is_empty() {
        return "No records have landed to try it on.\n".to_owned();
    }
    let (kept, left) = fitting(&blocks, ROOM);
    let mut out = fence("text", &kept.join("\n"));
    if left > 0 {
        out.push_str(&format!("\n… and {left} more.\n"));
    }
    out
}

fn block(trial: &Trial) -> Vec<String> {
    let line = |what: &str, outcome: &Outcome, compared: bool| {
        let refused = trial.records - outcome.mapped;
        let mut parts = vec![format!("{} mapped", outcome.mapped)];
        if refused > 0 {
            let noun = if refused == 1 { "dead letter" } else { "dead letters" };
            parts.push(format!("{refused} {noun} ({})", counted(&outcome.refused_by)));
        }
        if compared && outcome.mapped > 0 {
            parts.push(match outcome.same {
                same if same == outcome.mapped => "all as before".to_owned(),
                same => format!("{same} as before; another value or none: {}", counted(&outcome.differs)),
            });
        }
        format!("    {what:<37}{}", parts.join(", "))
    };
    let repaired = match &trial.unfinished {
        None => line("since then, with this repair", &trial.repaired, true),
        Some(why) => format!("    {:<37}none yet: {why}", "since then, with this repair"),
    };
    let noun = if trial.records == 1 { "record" } else { "records" };
    vec![
        format!("{} as {}: {} landed {noun}", trial.stream, trial.entity, trial.records),
        line("before the change", &trial.before, false),
        line("since then, by the mapping as it is", &trial.unrepaired, true),
        repaired,
    ]
}

fn counted(by: &BTreeMap<String, u64>) -> String {
    let mut by: Vec<(&String, &u64)> = by.iter().collect();
    by.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let shown: Vec<String> = by.iter().take(FIELDS).map(|(name, count)| format!("{name} {count}")).collect();
    let more = if by.len() > FIELDS { format!(", {} more", by.len() - FIELDS) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drift::rename::Values;
    use crate::drift::{Scene, assess, compare};
    use crate::mapping::compile;
    use crate::model::{Catalog, RepoPath};
    use crate::repair::sample::{catalog, connection, mapping};
    use crate::spec::{EntityField, EntitySpec, MappingSpec};

    const MAPPING: &str = "\
entities:
  account:
    stream: public/accounts
    key: id
    fields:
      name: name
      revenue: annual_rev
      city: address.city
    deleted_when: gone
";

    const BEFORE: &str =
        "id integer!, name string, annual_rev integer, address object, address.city string, gone boolean";

    const RECORDS: [&str; 4] = [
        r#"{"id": 1, "name": "Acme", "annual_rev": 10, "address": {"city": "Bonn"}, "gone": false}"#,
        r#"{"id": 2, "name": "Bolt", "annual_rev": null, "address": null, "gone": false}"#,
        r#"{"id": 3, "name": null, "annual_rev": 30, "address": {"city": "Ulm"}, "gone": false}"#,
        r#"{"id": 4, "name": "Deck", "annual_rev": 40, "address": {"city": "Kiel"}, "gone": true}"#,
    ];

    fn compiled(mapping: &MappingSpec, catalog: &Catalog) -> Result<CompiledMapping, String> {
        let field = |required| EntityField { ty: "string".into(), required, pii: false, description: None };
        let integer = EntityField { ty: "integer".into(), ..field(false) };
        let fields = [("name", field(true)), ("revenue", integer), ("city", field(false))];
        let entity = EntitySpec {
            name: "account".into(),
            path: RepoPath::new("mappings/entities/account.yaml").unwrap(),
            fields: fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect(),
        };
        compile(mapping, &mapping.entities[0], &entity, catalog.streams.values().next())
            .map_err(|problems| problems[0].message.clone())
    }

    /// What is told of a repair to `mapping_after` once the source has the fields of `after`.
    fn tried(after: &str, mapping_after: &str) -> (Trial, String) {
        let (before, after) = (catalog(BEFORE), catalog(after));
        let connection = connection(&before, mapping(MAPPING));
        let values = Values::new();
        let entities: BTreeMap<String, Arc<EntitySpec>> = BTreeMap::new();
        let scene = Scene {
            lock: &before,
            observed: &after,
            whole: None,
            connection: &connection,
            entities: &entities,
            values: &values,
        };
        let changes: Vec<Change> =
            assess(&compare(&before, &after), scene).changes.into_iter().map(|c| c.change).collect();
        let name: StreamName = "public/accounts".parse().unwrap();
        let (was, is) = (compiled(&mapping(MAPPING), &before).unwrap(), compiled(&mapping(mapping_after), &after));
        let mappings = (&was, is.as_ref().map_err(String::as_str));
        let trial = try_out((&name, &name), &changes, mappings, RECORDS);
        let told = told(std::slice::from_ref(&trial));
        (trial, told)
    }

    #[test]
    fn a_rename_that_the_repair_follows_gives_what_there_was() {
        let after = BEFORE.replace("annual_rev ", "annual_revenue ").replace("address.city", "address.town");
        let followed = MAPPING.replace("annual_rev", "annual_revenue").replace("address.city", "address.town");
        let (trial, told) = tried(&after, &followed);
        assert!(trial.is_as_before());
        insta::assert_snapshot!(told, @"
        ```text
        public/accounts as account: 4 landed records
            before the change                    3 mapped, 1 dead letter (name 1)
            since then, by the mapping as it is  3 mapped, 1 dead letter (name 1), 2 as before; another value or none: city 1, revenue 1
            since then, with this repair         3 mapped, 1 dead letter (name 1), all as before
        ```
        ");
        // Broken: the repair misses a place.
        let (trial, told) = tried(&after, &followed.replace("address.town", "address.city"));
        assert!(!trial.is_as_before());
        insta::assert_snapshot!(told, @"
        ```text
        public/accounts as account: 4 landed records
            before the change                    3 mapped, 1 dead letter (name 1)
            since then, by the mapping as it is  3 mapped, 1 dead letter (name 1), 2 as before; another value or none: city 1, revenue 1
            since then, with this repair         none yet: the stream has no field `address.city`
        ```
        ");
    }

    #[test]
    fn what_landed_since_shows_nothing_of_before() {
        let renamed = [rename("name", "label")];
        let landed = |record: &str| has_landed_since(record, &renamed, &stream());
        assert!(landed(r#"{"id": 1, "name": null, "label": "Acme"}"#));
        assert!(!landed(r#"{"id": 1, "name": "Acme", "label": null}"#) && !landed(RECORDS[0]));
        let swapped = [rename("name", "city"), rename("city", "name")];
        assert!(!has_landed_since(r#"{"name": "Acme", "city": "Bonn"}"#, &swapped, &stream()));
    }

    #[test]
    fn names_that_change_places_take_their_values_along() {
        let swapped = vec![
            rename("name", "annual_rev"),
            rename("annual_rev", "name"),
            Change::FieldRemoved { stream: stream(), field: "gone".parse().unwrap(), before: "boolean".into() },
        ];
        insta::assert_snapshot!(
            as_now(RECORDS[0], &swapped, &stream()),
            @r#"{"address":{"city":"Bonn"},"annual_rev":"Acme","id":1,"name":10}"#
        );
        let nested = [rename("address", "place"), rename("place.city", "place.town")];
        insta::assert_snapshot!(as_now(RECORDS[0], &nested, &stream()), @r#"{"annual_rev":10,"gone":false,"id":1,"name":"Acme","place":{"town":"Bonn"}}"#);
        let items = r#"{"lines": [{"sku": "a"}, {"sku": "b", "n": 1}], "by": {"x": {"sku": "c"}}}"#;
        let deep = [rename("lines[].sku", "lines[].code"), rename("by{}.sku", "by{}.code")];
        insta::assert_snapshot!(as_now(items, &deep, &stream()), @r#"{"by":{"x":{"code":"c"}},"lines":[{"code":"a"},{"code":"b","n":1}]}"#);
    }

    fn stream() -> StreamName {
        "public/accounts".parse().unwrap()
    }

    fn rename(from: &str, to: &str) -> Change {
        Change::FieldRenamed {
            stream: stream(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            before: "string".into(),
            after: "string".into(),
        }
    }

    #[test]
    fn what_starves_is_counted_and_what_is_required_becomes_a_dead_letter() {
        let without =
            |line: &str| MAPPING.lines().filter(|l| l.trim() != line).map(|l| format!("{l}\n")).collect::<String>();
        let (trial, told) = tried(&BEFORE.replace("annual_rev integer, ", ""), &without("revenue: annual_rev"));
        assert!(!trial.is_as_before());
        insta::assert_snapshot!(told, @"
        ```text
        public/accounts as account: 4 landed records
            before the change                    3 mapped, 1 dead letter (name 1)
            since then, by the mapping as it is  3 mapped, 1 dead letter (name 1), 2 as before; another value or none: revenue 1
            since then, with this repair         3 mapped, 1 dead letter (name 1), 2 as before; another value or none: revenue 1
        ```
        ");
        let (trial, told) = tried(&BEFORE.replace("name string, ", ""), &without("name: name"));
        assert!(!trial.is_as_before());
        insta::assert_snapshot!(told, @"
        ```text
        public/accounts as account: 4 landed records
            before the change                    3 mapped, 1 dead letter (name 1)
            since then, by the mapping as it is  1 mapped, 3 dead letters (name 3), all as before
            since then, with this repair         none yet: required field `name` of entity account is not mapped
        ```
        ");
    }

    #[test]
    fn no_value_of_a_record_is_told() {
        let (trial, told) = tried(&BEFORE.replace("name string", "label string"), MAPPING);
        let stored = serde_json::to_string(&trial).unwrap();
        for value in ["Acme", "Bonn", "Deck"] {
            assert!(!told.contains(value) && !stored.contains(value), "{told} {stored}");
        }
    }
}
