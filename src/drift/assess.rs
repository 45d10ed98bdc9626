//! Judges every change: which rule it falls under, how bad it is, whether it may be taken in without a person, and what it
//! touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::compare::{renames_in, stream_before};
use super::findings::{Finding, findings, old_name};
use super::impact::{self, Hit, Impact};
use super::rename::{Line, Values};
use super::rules::{self, Rule, Severity};
use super::{Change, Grade, grade};
use crate::model::{Catalog, Field, FieldPath, FieldType, Stream, StreamName, SyncMode};
use crate::spec::{Connection, EntitySpec, Selection};

/// Whether a change may be taken in without a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// It may.
    Yes,
    /// The gate that forbids it, in words: completes "a person decides, because …".
    No(String),
    /// Only proof is missing, in the same words: a rename whose values do not tell enough or were not sampled, or a field
    /// that came and could be what went.
    Unproven(String),
}

impl Automatic {
    /// Why a person decides, if one does.
    pub fn gate(&self) -> Option<&str> {
        match self {
            Self::Yes => None,
            Self::No(gate) | Self::Unproven(gate) => Some(gate),
        }
    }
}

/// A change with its judgement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessed {
    /// The change.
    pub change: Change,
    /// Its rule, `AAM-D006`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it may be taken in without a person.
    pub automatic: Automatic,
    /// Probability that a reviewer would take it as it is, 0 to 1.
    pub confidence: f64,
    /// What it touches.
    pub impact: Vec<Impact>,
    /// Of a rename: what spoke for and against it; of a field that went: who could be its new name.
    pub evidence: Vec<Line>,
    /// Of a field that went: the one that stayed and holds the same values, joined by key. A person may go on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lives_on: Option<FieldPath>,
    /// Of a field that went, or goes by another name: whether values could make a rename of it automatic. It is no key or
    /// cursor, and feeds nothing personal.
    #[serde(skip)]
    pub provable: bool,
}

impl Assessed {
    /// Whether it may wait until a sync has landed what the fields that went are compared with.
    pub fn waits(&self, gone: &BTreeSet<FieldPath>) -> bool {
        match &self.change {
            Change::FieldRemoved { field, .. } | Change::FieldRenamed { from: field, .. } if gone.contains(field) => {
                self.provable
            }
            _ => !self.severity.is_breaking(),
        }
    }
}

/// More entities than this are never changed without a person, however sure the rename is: so much at once is worth a look.
const MOST_ENTITIES: usize = 3;

/// All changes of a drift, judged; in the order of [`super::compare`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Assessment {
    /// The changes.
    pub changes: Vec<Assessed>,
}

impl Assessment {
    /// Confidence of the whole: that of its least certain change; 1 without changes.
    pub fn confidence(&self) -> f64 {
        self.changes.iter().map(|c| c.confidence).fold(1.0, f64::min)
    }

    /// The worst severity.
    pub fn severity(&self) -> Severity {
        self.changes.iter().map(|c| c.severity).max().unwrap_or(Severity::None)
    }

    /// Yes if every change is automatic, else the first gate that forbids one; missing proof counts last.
    pub fn automatic(&self) -> Automatic {
        let mut gates = self.changes.iter().map(|c| &c.automatic).filter(|automatic| **automatic != Automatic::Yes);
        let first = gates.clone().find(|automatic| matches!(automatic, Automatic::No(_))).or_else(|| gates.next());
        first.cloned().unwrap_or(Automatic::Yes)
    }

    /// Whether a stream may go on until values of the fields that went are compared: nothing else breaks it.
    pub fn may_wait(&self, stream: &StreamName, gone: &BTreeSet<FieldPath>) -> bool {
        self.changes.iter().filter(|c| self.stream_before(&c.change) == stream).all(|c| c.waits(gone))
    }

    /// The stream of one of the changes, by its name before them.
    pub fn stream_before<'a>(&'a self, change: &'a Change) -> &'a StreamName {
        let renamed = self.changes.iter().find_map(|c| match &c.change {
            Change::StreamRenamed { stream, to } if to == change.stream() => Some(stream),
            _ => None,
        });
        renamed.unwrap_or(change.stream())
    }
}

/// What judging needs besides the changes.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The approved catalog; places of fields are used where they are known.
    pub lock: &'a Catalog,
    /// What the source showed, as far as selected.
    pub observed: &'a Catalog,
    /// All that the source showed, where it is known: a listed stream that went may live on as one that is not listed.
    pub whole: Option<&'a Catalog>,
    /// The connection with its mapping.
    pub connection: &'a Connection,
    /// Canonical entities: which fields are personal.
    pub entities: &'a BTreeMap<String, Arc<EntitySpec>>,
    /// What was sampled, the same as [`super::compare_with`] was given; without any, renames are judged by names and types.
    pub values: &'a Values,
}

/// Judges the changes of [`super::compare`].
pub fn assess(changes: &[Change], scene: Scene<'_>) -> Assessment {
    let judge = Judge { scene, changes };
    let mut findings = findings(changes, scene);
    let assess = |(at, change)| judge.assess(change, findings.remove(&at).unwrap_or_default());
    Assessment { changes: changes.iter().enumerate().map(assess).collect() }
}

struct Judge<'a> {
    scene: Scene<'a>,
    changes: &'a [Change],
}

/// A verdict before impact and gates: the rule, the severity, and the rule's own gate, if it has one.
type Verdict = (Rule, Severity, Option<String>);

impl Judge<'_> {
    fn assess(&self, change: &Change, finding: Finding) -> Assessed {
        let impact = self.impact(change);
        let (rule, severity, gate) = self.verdict(change, &impact);
        let barred = self.gate(change, &impact);
        let went = matches!(change, Change::FieldRemoved { .. } | Change::FieldRenamed { .. });
        let provable = went && severity != Severity::BreakingForSync && barred.is_none();
        let gate = gate.or(barred);
        let confidence = finding.confidence.unwrap_or(rule.confidence);
        let proof = || finding.doubt.map_or(Automatic::Yes, Automatic::Unproven);
        let automatic = gate.map_or_else(proof, Automatic::No);
        let (change, evidence) = (change.clone(), finding.lines);
        // A key or cursor is chosen by a person, whatever holds the same values.
        let plain = !impact.iter().any(|i| is_key_or_cursor(&i.hit));
        let lives_on = finding.lives_on.filter(|_| plain);
        Assessed { change, rule: rule.code, severity, automatic, confidence, impact, evidence, lives_on, provable }
    }

    fn verdict(&self, change: &Change, impact: &[Impact]) -> Verdict {
        use Severity::{Additive, BreakingForMapping, BreakingForSync, None as Nothing};
        let broken = match impact.iter().any(|i| matches!(i.hit, Hit::ChosenKey | Hit::ChosenCursor)) {
            true => BreakingForSync,
            false if impact.is_empty() => Nothing,
            false => BreakingForMapping,
        };
        let (rule, severity, gate) = match change {
            Change::StreamAdded { .. } => {
                let listed = self.scene.connection.streams != Selection::All;
                let listed = listed.then(|| "the spec lists its streams one by one".to_owned());
                return (rules::STREAM_ADDED, Additive, listed);
            }
            Change::StreamRenamed { .. } => (
                rules::STREAM_RENAMED,
                BreakingForSync,
                Some("a stream with another name is read from its beginning, and its records are told anew"),
            ),
            Change::StreamRemoved { .. } => {
                (rules::STREAM_REMOVED, BreakingForSync, Some("a stream that is gone may be out of sight only"))
            }
            Change::FieldAdded { after, .. } if after.ends_with('!') => (
                rules::FIELD_ADDED_REQUIRED,
                Additive,
                Some("a field that is never null has no value in rows landed before"),
            ),
            Change::FieldAdded { .. } => (rules::FIELD_ADDED, Additive, None),
            Change::FieldRemoved { .. } => {
                (rules::FIELD_REMOVED, broken, Some("what went may live on under another name"))
            }
            Change::FieldRenamed { before, after, .. } => (rules::FIELD_RENAMED, broken, misfit(before, after)),
            Change::FieldRetyped { before, after, grade, .. } => match grade {
                Grade::Widened if is_plain_widening(before, after) => (rules::WIDENED, Additive, None),
                Grade::Widened => (rules::WIDENED, Additive, Some("only a widened integer is taken in by itself")),
                Grade::Narrowed => (rules::NARROWED, broken, Some("a narrowed type may not fit rows landed before")),
                Grade::Reinterpreted => (rules::REINTERPRETED, broken, Some("values must be read in another way")),
            },
            Change::NullabilityChanged { nullable: true, .. } => {
                (rules::NULLABLE, broken, Some("a mapping may now meet a record without a value"))
            }
            Change::NullabilityChanged { .. } => {
                (rules::NOT_NULL, Nothing, Some("only additive changes are taken in by themselves"))
            }
            Change::KeyChanged { .. } => {
                (rules::KEY_CHANGED, BreakingForSync, Some("records are told apart by the key"))
            }
            Change::CursorChanged { lost: true, .. } => {
                (rules::CURSOR_LOST, BreakingForSync, Some("incremental reading stops working"))
            }
            Change::CursorChanged { .. } => {
                (rules::CURSOR_CHANGED, Nothing, Some("a cursor decides which rows are read"))
            }
            Change::SyncModesChanged { before, after, .. } if before.is_subset(after) => {
                (rules::MODE_ADDED, Additive, None)
            }
            Change::SyncModesChanged { stream, before, .. } => {
                let severity = if self.reads_in(stream, before) { BreakingForSync } else { Nothing };
                (rules::MODE_REMOVED, severity, Some("the stream may have to be read in another way"))
            }
        };
        (rule, severity, gate.map(str::to_owned))
    }

    /// Gates that hold for every change, whatever its rule.
    fn gate(&self, change: &Change, impact: &[Impact]) -> Option<String> {
        let old = stream_before(self.changes, change.stream());
        if old != change.stream() {
            return Some(format!("it lies inside {}, whose rename a person decides", change.stream()));
        }
        let field = change.field()?;
        let renames = renames_in(self.changes, change.stream());
        if let Some((_, to)) = renames.iter().find(|(_, to)| field.is_within(to)) {
            return Some(format!("it lies inside {to}, whose rename a person decides"));
        }
        if matches!(change, Change::FieldAdded { .. }) {
            return None;
        }
        let stream = self.scene.lock.streams.get(old)?;
        if names_field(stream, field) || impact.iter().any(|i| is_key_or_cursor(&i.hit)) {
            return Some("it is part of a key or cursor".to_owned());
        }
        let touched: BTreeSet<&str> = impact.iter().filter_map(|i| i.hit.entity()).collect();
        if touched.len() > MOST_ENTITIES {
            return Some(format!("it affects {} entities, more than {MOST_ENTITIES}", touched.len()));
        }
        impact.iter().find_map(|i| match &i.hit {
            Hit::Canonical { entity, target, .. } => self
                .scene
                .entities
                .get(entity)
                .and_then(|spec| spec.fields.get(target))
                .filter(|field| field.pii)
                .map(|_| format!("it feeds {entity}.{target}, which is personal")),
            _ => None,
        })
    }

    fn impact(&self, change: &Change) -> Vec<Impact> {
        let connection = self.scene.connection;
        // People's files have the old names.
        let stream = stream_before(self.changes, change.stream());
        let mut found = match change {
            Change::StreamAdded { .. }
            | Change::FieldAdded { .. }
            | Change::NullabilityChanged { nullable: false, .. } => Vec::new(),
            Change::StreamRemoved { .. } | Change::StreamRenamed { .. } => impact::of_stream(connection, stream),
            Change::KeyChanged { .. } | Change::CursorChanged { .. } => {
                let fields = impact::choice(connection, stream);
                let names = fields.is_some_and(|c| c.key.is_some() || c.cursor.is_some());
                if names { impact::of_stream(connection, stream) } else { Vec::new() }
            }
            Change::SyncModesChanged { .. } => Vec::new(),
            Change::FieldRemoved { field, .. }
            | Change::FieldRetyped { field, .. }
            | Change::NullabilityChanged { field, .. }
            | Change::FieldRenamed { from: field, .. } => {
                impact::of_field(connection, stream, &self.old_name(change, field))
            }
        };
        found.sort();
        found.dedup();
        found
    }

    /// The field's path before any rename around it.
    fn old_name(&self, change: &Change, field: &FieldPath) -> FieldPath {
        old_name(field, self.changes, change.stream())
    }

    /// Whether the stream is, or may be, read in a mode that is gone.
    fn reads_in(&self, stream: &StreamName, before: &BTreeSet<SyncMode>) -> bool {
        let old = stream_before(self.changes, stream);
        let chosen = impact::choice(self.scene.connection, old).and_then(|choice| choice.mode);
        let after = self.scene.observed.streams.get(stream).map(|s| &s.modes);
        let gone = |mode: SyncMode| before.contains(&mode) && !after.is_some_and(|modes| modes.contains(&mode));
        match chosen {
            Some(mode) => gone(mode.reads()),
            None => true,
        }
    }
}

/// Why a renamed field's new type keeps the rename from being automatic.
fn misfit(before: &str, after: &str) -> Option<&'static str> {
    let (Ok(was), Ok(is)) = (Field::from_shape(before), Field::from_shape(after)) else {
        return Some("its type cannot be read");
    };
    if was.ty == is.ty || is_plain_widening(&was.ty, &is.ty) {
        return (is.nullable && !was.nullable).then_some("a mapping may now meet a record without a value");
    }
    Some(match grade(&was.ty, &is.ty).grade {
        Grade::Widened => "only a widened integer is taken in by itself",
        Grade::Narrowed => "a narrowed type may not fit rows landed before",
        Grade::Reinterpreted => "values must be read in another way",
    })
}

/// The one change of type that is taken in by itself.
fn is_plain_widening(before: &FieldType, after: &FieldType) -> bool {
    *before == FieldType::Integer && matches!(after, FieldType::Number | FieldType::Decimal { .. })
}

fn names_field(stream: &Stream, field: &FieldPath) -> bool {
    let cursor = super::compare::cursor_field(&stream.cursor);
    stream.key.iter().chain(cursor).any(|path| path.is_within(field))
}

/// Whether a change is, or may be, of a key or cursor, also where the spec has followed it by now. A key that lost a field does
/// not name it any more.
pub(crate) fn is_of_key_or_cursor(change: &Change, before: &Catalog, connection: &Connection) -> bool {
    let stream = change.stream();
    let choice = impact::choice(connection, stream);
    let chosen = match change {
        Change::FieldRemoved { .. } => choice.is_some_and(|choice| choice.key.is_some()),
        Change::FieldRenamed { to, .. } => {
            let named = choice.map(|choice| choice.key.iter().flatten().chain(&choice.cursor));
            named.is_some_and(|mut named| named.any(|path| path.is_within(to)))
        }
        _ => return false,
    };
    let named = |field| before.streams.get(stream).is_some_and(|stream| names_field(stream, field));
    chosen || change.field().is_some_and(named)
}

fn is_key_or_cursor(hit: &Hit) -> bool {
    matches!(hit, Hit::ChosenKey | Hit::ChosenCursor | Hit::RecordKey { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{compare, line_of, say};
    use crate::repair::sample;
    use crate::spec::{EntityField, StreamChoice};

    const MAPPING: &str = "\
entities:
  account:
    stream: public/accounts
    key: id
    fields:
      name: name
      mail: {from: email}
      label: {expr: 'name ~ address.city'}
    deleted_when: gone
";

    fn assessed(before: &Catalog, after: &Catalog, choose: fn(&mut Connection)) -> Assessment {
        let mut connection = sample::connection(before, sample::mapping(MAPPING));
        choose(&mut connection);
        let field = EntityField { ty: "string".into(), required: false, pii: true, description: None };
        let path = crate::model::RepoPath::new("mappings/entities/account.yaml").unwrap();
        let entity = EntitySpec { name: "account".into(), path, fields: [("mail".to_owned(), field)].into() };
        let entities = [("account".to_owned(), Arc::new(entity))].into();
        let (lock, observed, entities, values) = (before, after, &entities, &Values::new());
        assess(
            &compare(before, after),
            Scene { lock, observed, whole: None, connection: &connection, entities, values },
        )
    }

    /// One entry for each change: what is said, and how it is judged.
    fn judged(before: &Catalog, after: &Catalog, choose: fn(&mut Connection)) -> String {
        let mut out = String::new();
        for one in assessed(before, after, choose).changes {
            let gate = one.automatic.gate().map_or_else(|| "automatic".to_owned(), |gate| format!("a person: {gate}"));
            out.push_str(&format!(
                "{}\n    {} {:?} {:.2} {gate}\n",
                say(&one.change),
                one.rule,
                one.severity,
                one.confidence
            ));
            for impact in &one.impact {
                out.push_str(&format!("    {}:{} {}\n", impact.file, impact.line, impact.hit.words()));
            }
        }
        out
    }

    fn fields(before: &str, after: &str) -> String {
        judged(&sample::catalog(before), &sample::catalog(after), |_| {})
    }

    #[test]
    fn what_may_wait_for_values_is_no_key_and_not_personal_and_nothing_else_breaks() {
        let may_wait = |before: &str, after: &str, gone: &str, key: &str| {
            let of = |text: &str| {
                let mut catalog = sample::catalog(text);
                let stream = catalog.streams.values_mut().next().unwrap();
                stream.key = key.split_whitespace().map(FieldPath::top).collect();
                catalog
            };
            let gone = gone.split_whitespace().map(FieldPath::top).collect();
            assessed(&of(before), &of(after), |_| {}).may_wait(&"public/accounts".parse().unwrap(), &gone)
        };
        let rest = "code string, gone boolean, address object, address.city string, email string, id integer!";
        let (before, after) = (format!("{rest}, name string"), format!("{rest}, title string"));
        assert!(may_wait(&before, &after, "name", ""));
        assert!(!may_wait(&before, &after, "", ""), "nothing is asked about it");
        assert!(
            !may_wait(&before, &after.replace("id integer", "account_id integer"), "name id", ""),
            "a record's key"
        );
        assert!(!may_wait(&before, &after.replace("code ", "codes "), "name code", "code"), "the source's key");
        assert!(may_wait(&before, &after.replace("code ", "codes "), "name code", ""));
        assert!(!may_wait(&before, &after.replace("email ", "mail "), "name email", ""), "personal");
        assert!(!may_wait(&before, &after.replace("gone boolean", "gone string"), "name", ""), "another type");
        assert!(!may_wait(&before, &after.replace("address.city string, ", ""), "name", ""), "a nested field");
    }

    #[test]
    fn a_key_that_the_spec_has_followed_is_one_still() {
        let told = |before: &str, after: &str, key: &str, choice: StreamChoice| {
            let (mut before, after) = (sample::catalog(before), sample::catalog(after));
            before.streams.values_mut().next().unwrap().key = key.split_whitespace().map(FieldPath::top).collect();
            let mut connection = sample::connection(&after, sample::mapping(MAPPING));
            connection.streams = Selection::Listed([("public/accounts".parse().unwrap(), choice)].into());
            let changes = compare(&before, &after).into_iter();
            let of_key = changes.filter(|change| is_of_key_or_cursor(change, &before, &connection));
            of_key.map(|change| line_of(&change)).collect::<Vec<_>>().join("; ")
        };
        let path = FieldPath::top;
        let chosen = |key: Option<&str>, cursor: Option<&str>| StreamChoice {
            key: key.map(|key| vec![path(key.to_owned())]),
            cursor: cursor.map(|cursor| path(cursor.to_owned())),
            ..StreamChoice::default()
        };
        let (before, after) = ("id integer!, annual_rev decimal(12,2)", "id integer!, annual_revenue decimal(12,2)");
        let renamed = "~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)";
        assert_eq!(told(before, after, "", chosen(None, None)), "");
        assert_eq!(told(before, after, "", chosen(Some("annual_revenue"), None)), renamed);
        assert_eq!(told(before, after, "", chosen(None, Some("annual_revenue"))), renamed);
        assert_eq!(told(before, after, "", chosen(Some("id"), None)), "", "another is the key");
        assert_eq!(told(before, after, "annual_rev", chosen(None, None)), renamed, "the source's");
        let (went, gone) = ("id integer!", "- public/accounts.annual_rev: decimal(12,2)");
        assert_eq!(told(before, went, "", chosen(None, None)), "");
        assert_eq!(told(before, went, "", chosen(Some("id"), None)), gone, "it may have been part of it");
    }

    #[test]
    fn fields_that_come_and_go() {
        let (before, after) =
            ("id integer!, name string, fax string", "id integer!, name string, rating integer, region date!");
        insta::assert_snapshot!(fields(before, after), @r"
        - public/accounts.fax: string
            AAM-D005 None 0.60 a person: what went may live on under another name
        + public/accounts.rating: integer
            AAM-D003 Additive 0.98 automatic
        + public/accounts.region: date!
            AAM-D004 Additive 0.93 a person: a field that is never null has no value in rows landed before
        ");
    }

    #[test]
    fn only_an_integer_that_feeds_nothing_personal_is_widened_by_itself() {
        let before = "id integer!, a integer, b decimal(4,2), c number, d string, email integer, name string";
        let after = "id number!, a number, b decimal(8,2), c integer, d timestamp_tz, email number, name string!";
        insta::assert_snapshot!(fields(before, after), @r"
        ~ public/accounts.a: integer -> number (widened: every integer is a number)
            AAM-D007 Additive 0.97 automatic
        ~ public/accounts.b: decimal(4,2) -> decimal(8,2) (widened: the new decimal has at least as many digits on both sides of the point)
            AAM-D007 Additive 0.97 a person: only a widened integer is taken in by itself
        ~ public/accounts.c: number -> integer (narrowed: only some of the old values are values of the new type)
            AAM-D008 None 0.75 a person: a narrowed type may not fit rows landed before
        ~ public/accounts.d: string -> timestamp_tz (values must be read in another way)
            AAM-D009 None 0.70 a person: values must be read in another way
        ~ public/accounts.email: integer -> number (widened: every integer is a number)
            AAM-D007 Additive 0.97 a person: it feeds account.mail, which is personal
            mappings/crm.yaml:7 canonical field account.mail reads email
        ~ public/accounts.id: integer -> number (widened: every integer is a number)
            AAM-D007 Additive 0.97 a person: it is part of a key or cursor
            mappings/crm.yaml:4 it is part of the record key of account
        ~ public/accounts.name: never null now
            AAM-D011 None 0.95 a person: only additive changes are taken in by themselves
        ");
    }

    #[test]
    fn a_renamed_object_takes_what_lies_in_it_along() {
        let before = "id integer!, address object, address.city string, address.zip string";
        let after =
            "id integer!, addresses object, addresses.city string!, addresses.zip string, addresses.street string";
        insta::assert_snapshot!(fields(before, after), @r"
        ~ public/accounts.address -> addresses: object
            AAM-D006 BreakingForMapping 0.90 a person: only values joined by key could prove a rename
            mappings/crm.yaml:8 canonical field account.label reads address.city
        ~ public/accounts.addresses.city: never null now
            AAM-D011 None 0.95 a person: only additive changes are taken in by themselves
        + public/accounts.addresses.street: string
            AAM-D003 Additive 0.98 a person: it lies inside addresses, whose rename a person decides
        ");
    }

    #[test]
    fn what_the_spec_chose_counts() {
        let (before, after) =
            ("id integer!, changed timestamp, ssn string", "id integer!, changed_at timestamp, name string");
        insta::assert_snapshot!(judged(&sample::catalog(before), &sample::catalog(after), |connection| {
            let choice = StreamChoice { cursor: Some(FieldPath::top("changed")), ..StreamChoice::default() };
            connection.streams = Selection::Listed([("accounts".parse().unwrap(), choice)].into());
        }), @"
        ~ public/accounts.changed -> changed_at: timestamp
            AAM-D006 BreakingForSync 0.86 a person: it is part of a key or cursor
            connectors.d/crm.yaml:0 it is the cursor that the spec chose
        + public/accounts.name: string
            AAM-D003 Additive 0.98 a person: it may be the new name of ssn
        - public/accounts.ssn: string
            AAM-D005 None 0.60 a person: what went may live on under another name
        ");
    }

    #[test]
    fn keys_cursors_modes_and_streams() {
        let before = body(
            r#"{"a": {"key": ["id"], "cursor": "any(at)", "modes": ["full_refresh"], "fields": {"id": "integer!", "at": "timestamp"}},
                "b": {"cursor": "any(x)", "modes": ["full_refresh", "incremental"], "fields": {"x": "string", "y": "date"}},
                "public/accounts": {"modes": ["full_refresh"], "fields": {}}}"#,
        );
        let after = body(
            r#"{"a": {"key": ["id", "at"], "modes": ["full_refresh", "incremental"], "fields": {"id": "integer!", "at": "timestamp"}},
                "b": {"cursor": "any(y)", "modes": ["full_refresh"], "fields": {"x": "string", "y": "date"}},
                "c": {"modes": ["full_refresh"], "fields": {"x": "string"}}}"#,
        );
        insta::assert_snapshot!(judged(&before, &after, |_| {}), @r"
        ~ a  key: [id] -> [id, at]
            AAM-D012 BreakingForSync 0.50 a person: records are told apart by the key
        ! a  cursor: any(at) -> none
            AAM-D014 BreakingForSync 0.50 a person: incremental reading stops working
        + a  modes: full_refresh -> full_refresh, incremental
            AAM-D015 Additive 0.97 automatic
        ~ b  cursor: any(x) -> any(y)
            AAM-D013 None 0.70 a person: a cursor decides which rows are read
        ! b  modes: full_refresh, incremental -> full_refresh
            AAM-D016 BreakingForSync 0.50 a person: the stream may have to be read in another way
        + c  stream with 1 field
            AAM-D001 Additive 0.95 automatic
        - public/accounts  stream
            AAM-D002 BreakingForSync 0.60 a person: a stream that is gone may be out of sight only
            mappings/crm.yaml:3 account is read from this stream
        ");
    }

    #[test]
    fn changes_inside_a_renamed_stream_are_judged_by_what_read_the_old_one() {
        let rest = "b string, c string, d string, e date, f date, g date";
        let before = sample::catalog(&format!("id integer!, name string, email string, a integer, {rest}"));
        let after =
            sample::catalog(&format!("id integer!, full_name string, email string!, a number, {rest}, new string"));
        let streams = after.streams.into_values().map(|stream| ("public/customer_accounts".parse().unwrap(), stream));
        insta::assert_snapshot!(judged(&before, &Catalog { streams: streams.collect() }, |connection| {
            connection.streams = Selection::Listed([("accounts".parse().unwrap(), StreamChoice::default())].into());
        }), @r"
        ~ public/accounts -> public/customer_accounts  stream
            AAM-D017 BreakingForSync 0.79 a person: a stream with another name is read from its beginning, and its records are told anew
            connectors.d/crm.yaml:0 the spec names this stream
            mappings/crm.yaml:3 account is read from this stream
        ~ public/customer_accounts.a: integer -> number (widened: every integer is a number)
            AAM-D007 Additive 0.97 a person: it lies inside public/customer_accounts, whose rename a person decides
        ~ public/customer_accounts.email: never null now
            AAM-D011 None 0.95 a person: only additive changes are taken in by themselves
        ~ public/customer_accounts.name -> full_name: string
            AAM-D006 BreakingForMapping 0.73 a person: it lies inside public/customer_accounts, whose rename a person decides
            mappings/crm.yaml:6 canonical field account.name reads name
            mappings/crm.yaml:8 canonical field account.label reads name
        + public/customer_accounts.new: string
            AAM-D003 Additive 0.98 a person: it lies inside public/customer_accounts, whose rename a person decides
        ");
    }

    /// A catalog from the body of a lock.
    fn body(text: &str) -> Catalog {
        Catalog::from_body(&serde_json::from_str(text).unwrap()).unwrap()
    }

    /// Streams, each with the parts of a lock that are given.
    fn orders(facts: &str) -> Catalog {
        let fields =
            r#""fields": {"id": "integer!", "region": "string", "updated_at": "timestamp", "changed_at": "timestamp"}"#;
        let modes = if facts.contains("modes") { "" } else { r#""modes": ["full_refresh"], "# };
        body(&format!("{{\"public/orders\": {{{facts}{modes}{fields}}}}}"))
    }

    /// For each rule a catalog before and after.
    fn example(code: &str) -> (Catalog, Catalog) {
        let of = |before: &str, after: &str| (sample::catalog(before), sample::catalog(after));
        let order = |before: &str, after: &str| {
            let of = |field: &str| {
                body(&format!("{{\"public/orders\": {{\"modes\": [\"full_refresh\"], \"fields\": {{{field}}}}}}}"))
            };
            (of(before), of(after))
        };
        let invoices = || {
            let fields: Vec<String> = (0..12).map(|n| format!("\"f{n}\": \"string\"")).collect();
            let text = format!(
                "{{\"public/invoices\": {{\"modes\": [\"full_refresh\"], \"fields\": {{{}}}}}}}",
                fields.join(",")
            );
            body(&text)
        };
        match code {
            "AAM-D001" => (Catalog::default(), invoices()),
            "AAM-D002" => (invoices(), Catalog::default()),
            "AAM-D003" => of("id integer!", "id integer!, website string"),
            "AAM-D004" => of("id integer!", "id integer!, region string!"),
            "AAM-D005" => of("id integer!, fax string", "id integer!"),
            "AAM-D006" => of("id integer!, annual_rev decimal(12,2)", "id integer!, annual_revenue decimal(12,2)"),
            "AAM-D007" => order(r#""total": "integer""#, r#""total": "decimal(21,2)""#),
            "AAM-D008" => order(r#""total": "number""#, r#""total": "integer""#),
            "AAM-D009" => order(r#""placed": "string""#, r#""placed": "timestamp_tz""#),
            "AAM-D010" => of("id integer!, name string!", "id integer!, name string"),
            "AAM-D011" => of("id integer!, name string", "id integer!, name string!"),
            "AAM-D012" => (orders(r#""key": ["id"], "#), orders(r#""key": ["id", "region"], "#)),
            "AAM-D013" => (orders(r#""cursor": "any(updated_at)", "#), orders(r#""cursor": "any(changed_at)", "#)),
            "AAM-D014" => (orders(r#""cursor": "any(updated_at)", "#), orders("")),
            "AAM-D015" => (orders(""), orders(r#""modes": ["full_refresh", "incremental"], "#)),
            "AAM-D016" => (orders(r#""modes": ["full_refresh", "incremental"], "#), orders("")),
            "AAM-D017" => {
                let accounts = sample::catalog("id integer!, name string, fax string, region string");
                let stream = accounts.streams.values().next().unwrap().clone();
                let streams = [("public/customers".parse().unwrap(), stream)].into();
                (accounts, Catalog { streams })
            }
            _ => panic!("{code} has no example here"),
        }
    }

    #[test]
    fn every_rule_is_explained_with_an_example_that_it_judges() {
        for (code, title, text) in crate::drift::CODES {
            assert!(code.starts_with("AAM-D0") && !title.is_empty(), "{code}");
            let (lock, observed) = example(code);
            let (connection, entities) = (sample::connection(&lock, sample::mapping(MAPPING)), BTreeMap::new());
            let (lock, observed, connection, entities) = (&lock, &observed, &connection, &entities);
            let scene = Scene { lock, observed, whole: None, connection, entities, values: &Values::new() };
            let changes = assess(&compare(lock, observed), scene).changes;
            let told: Vec<_> =
                changes.iter().map(|one| (one.rule, format!("Example: `{}`", line_of(&one.change)))).collect();
            let [(rule, example)] = told.as_slice() else { panic!("{code}: {told:?}") };
            assert!(rule == code && text.ends_with(example), "{code} {text}: {told:?}");
        }
    }
}
