//! Whole repairs: catalogs and files in, edits and drift file out.

use std::collections::BTreeMap;

use similar::TextDiff;

use super::sample::{catalog, connection, mapping};
use super::*;
use crate::drift::radius::{Counted, Events, Table, Tables, Usage};
use crate::drift::rename::{Arrivals, Values};
use crate::drift::{followed, line_of};
use crate::model::{Catalog, ConnectionRef, RepoPath, StreamName};
use crate::spec::{Connection, Desired, EntityField, EntitySpec, lock};

mod decided;
mod drift_file;
mod streams;

const MAPPING: &str = "\
# how the crm maps
kind: mapping
system: crm
entities:
  account:
    stream: public/accounts
    key: id
    fields:
      name: name                      # the display name
      annual_revenue: {from: annual_rev, as: decimal}
      fax: fax_number
      label: {expr: 'name ~ \" \" ~ annual_rev'}
    deleted_when: is_deleted
";

const BEFORE: &str =
    "id integer!, name string, annual_rev decimal(12,2), fax_number string, is_deleted boolean, size integer";

fn drafted(connection: &Connection, spec_text: &str, observed: &Catalog) -> Repair {
    drafted_among(&["crm"], connection, spec_text, observed)
}

/// With several connections that share everything but the name.
fn drafted_among(names: &[&str], connection: &Connection, spec_text: &str, observed: &Catalog) -> Repair {
    let mut desired = Desired::default();
    for name in names {
        let name: ConnectionRef = name.parse().unwrap();
        desired.connections.insert(name.clone(), Connection { name, ..connection.clone() });
    }
    drafted_in(&desired, connection, spec_text, observed)
}

fn drafted_in(desired: &Desired, connection: &Connection, spec_text: &str, whole: &Catalog) -> Repair {
    let lock = connection.lock.clone().unwrap();
    let lock_text = lock::render(&lock, "crm");
    let input = Input {
        desired,
        connection,
        lock: &lock,
        lock_text: &lock_text,
        spec_text,
        files: &BTreeMap::new(),
        observed: &followed(&lock.catalog, whole, &connection.streams),
        whole,
        past: &[],
        values: &Values::new(),
        arrivals: &Arrivals::new(),
        ask: None,
    };
    let usage = usage();
    let told = || {
        let mut repair = draft(input).unwrap();
        repair.tell(&Telling { desired, connection, files: &BTreeMap::new(), tables: &tables, usage: Some(&usage) });
        repair
    };
    let repair = told();
    assert_eq!(told(), repair, "the same input gives the same bytes");
    repair
}

/// A week in which 8,680 events of accounts had a revenue and 2 a fax.
fn usage() -> Usage {
    let counted = Counted::before("2026-11-20T14:03:00Z".parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
    let carrying =
        [("annual_revenue", 8_680), ("label", 8_700), ("fax", 2)].map(|(name, n)| (name.to_owned(), n)).into();
    let stream: StreamName = "public/accounts".parse().unwrap();
    let events = [("account".to_owned(), Events { all: 9_000, carrying })].into();
    let synced = [(stream.clone(), "2026-11-20T13:58:00Z".parse().unwrap())].into();
    Usage { counted, events: [(stream, events)].into(), synced }
}

/// Every stream lands in a table of its own name, fields in columns of theirs.
fn tables(catalog: &Catalog) -> Tables {
    let table = |stream: &crate::model::Stream, name: &StreamName| Table {
        name: name.to_string().replace('/', "."),
        columns: stream.columns().iter().map(|(path, _)| (path.root().to_owned(), path.root().to_owned())).collect(),
    };
    catalog.streams.iter().map(|(name, stream)| (name.clone(), table(stream, name))).collect()
}

/// The changed lines of every edit but the drift file.
fn shown(part: Option<&Part>) -> String {
    let Some(part) = part else { return "nothing".to_owned() };
    let mut out = format!("{}\n", part.commit.subject);
    for (key, value) in part.commit.trailers.iter().filter(|(key, _)| key != "Aam-Drift") {
        out.push_str(&format!("{key}: {value}\n"));
    }
    for edit in part.commit.edits.iter().filter(|edit| edit.path != part.drift_path) {
        out.push_str(&format!("{}\n", edit.path));
        let (before, after) = (edit.before.as_deref().unwrap(), edit.after.as_deref().unwrap());
        let diff = TextDiff::from_lines(before, after).unified_diff().context_radius(0).to_string();
        let lines = diff.lines().filter(|l| !l.starts_with("@@") && !l.contains("fingerprint:"));
        out.extend(lines.map(|line| format!("  {line}\n")));
    }
    out.extend(part.notes.iter().map(|note| format!("note: {note}\n")));
    out
}

fn check(spec_text: &str, after: &str) -> String {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let repair = drafted(&connection, spec_text, &catalog(after));
    format!("automatic: {}proposed: {}", shown(repair.automatic.as_ref()), shown(repair.proposed.as_ref()))
}

#[test]
fn a_rename_changes_one_line_in_the_lock_and_every_use_in_the_mapping() {
    let after = BEFORE.replace("annual_rev ", "annual_revenue ");
    insta::assert_snapshot!(check("", &after), @r#"
    automatic: nothingproposed: drift crm: ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)
    Aam-Connection: crm
    Aam-Confidence: 0.86
    Aam-Cause: drift AAM-D006
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      annual_rev: decimal(12,2)
      +      annual_revenue: decimal(12,2)
    mappings/crm.yaml
      -      annual_revenue: {from: annual_rev, as: decimal}
      +      annual_revenue: {from: annual_revenue, as: decimal}
      -      label: {expr: 'name ~ " " ~ annual_rev'}
      +      label: {expr: 'name ~ " " ~ annual_revenue'}
    "#);
}

#[test]
fn additive_changes_go_first_and_the_rest_is_proposed_on_top() {
    let after = BEFORE.replace("fax_number string, ", "website string, ").replace("size integer", "size number");
    insta::assert_snapshot!(check("", &after), @"
    automatic: drift crm: ~ public/accounts.size: integer -> number (widened: every integer is a number)
    Aam-Connection: crm
    Aam-Confidence: 0.97
    Aam-Cause: rule AAM-D007
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      size: integer
      +      size: number
    proposed: drift crm: 2 changes of the source
    Aam-Connection: crm
    Aam-Confidence: 0.60
    Aam-Cause: drift AAM-D003 AAM-D005
    connectors.d/crm.lock.yaml
      -version: 2
      +version: 3
      -      fax_number: string
      +      website: string
    mappings/crm.yaml
      -      fax: fax_number
    note: account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead
    note: unmapped: public/accounts.website; values are kept in unknown_fields until a mapping takes them
    ");
}

#[test]
fn no_drift_needs_no_repair() {
    insta::assert_snapshot!(check("", BEFORE), @"automatic: nothingproposed: nothing");
}

#[test]
fn a_name_that_yaml_would_misread_is_quoted() {
    let after = BEFORE.replace("annual_rev ", "\"annual: rev #1\" ");
    insta::assert_snapshot!(check("", &after), @r#"
    automatic: nothingproposed: drift crm: ~ public/accounts.annual_rev -> "annual: rev #1": decimal(12,2)
    Aam-Connection: crm
    Aam-Confidence: 0.85
    Aam-Cause: drift AAM-D006
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      annual_rev: decimal(12,2)
      +      '"annual: rev #1"': decimal(12,2)
    mappings/crm.yaml
      -      annual_revenue: {from: annual_rev, as: decimal}
      +      annual_revenue: {from: '"annual: rev #1"', as: decimal}
      -      label: {expr: 'name ~ " " ~ annual_rev'}
      +      label: {expr: 'name ~ " " ~ record["annual: rev #1"]'}
    "#);
}

#[test]
fn the_spec_follows_a_rename_too() {
    let spec = "kind: connection\nstreams:\n  accounts:\n    cursor: annual_rev # grows\n    key: [id, 'annual_rev']\n    \
                fields: {exclude: [fax, annual_rev]}\n";
    let after = BEFORE.replace("annual_rev ", "annual_revenue ");
    insta::assert_snapshot!(check(spec, &after), @r#"
    automatic: nothingproposed: drift crm: ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)
    Aam-Connection: crm
    Aam-Confidence: 0.86
    Aam-Cause: drift AAM-D006
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      annual_rev: decimal(12,2)
      +      annual_revenue: decimal(12,2)
    mappings/crm.yaml
      -      annual_revenue: {from: annual_rev, as: decimal}
      +      annual_revenue: {from: annual_revenue, as: decimal}
      -      label: {expr: 'name ~ " " ~ annual_rev'}
      +      label: {expr: 'name ~ " " ~ annual_revenue'}
    connectors.d/crm.yaml
      -    cursor: annual_rev # grows
      -    key: [id, 'annual_rev']
      -    fields: {exclude: [fax, annual_rev]}
      +    cursor: annual_revenue # grows
      +    key: [id, 'annual_revenue']
      +    fields: {exclude: [fax, annual_revenue]}
    "#);
}

/// BEFORE under another name, as the source shows it now.
fn moved(to: &str, fields: &str) -> Catalog {
    let streams = catalog(fields).streams.into_values().map(|stream| (to.parse().unwrap(), stream));
    Catalog { streams: streams.collect() }
}

#[test]
fn two_removed_and_two_added_fields_of_one_type_are_never_automatic_and_both_candidates_are_shown() {
    let before = "id integer!, name string, phone_a string, phone_b string";
    let connection = connection(&catalog(before), mapping(MAPPING));
    let after = "id integer!, name string, phone_c string, phone_d string";
    let repair = drafted(&connection, "", &catalog(after));
    assert_eq!(repair.automatic, None);
    let file = repair.proposed.unwrap().commit.edits.last().unwrap().after.clone().unwrap();
    insta::assert_snapshot!(file.split("## Evidence").nth(1).unwrap().split("## What").next().unwrap().trim(), @r"
    ```text
    - public/accounts.phone_a: string
        = rivals: it may live on as phone_c (0.22)
        = rivals: it may live on as phone_d (0.22)
        confidence 0.60; not automatic: what went may live on under another name
    - public/accounts.phone_b: string
        = rivals: it may live on as phone_c (0.22)
        = rivals: it may live on as phone_d (0.22)
        confidence 0.60; not automatic: what went may live on under another name
    ```
    ");
    // The same with streams.
    let observed = Catalog {
        streams: ["public/clients", "public/customers"].iter().flat_map(|to| moved(to, BEFORE).streams).collect(),
    };
    let repair = drafted(&connection, "", &observed);
    let connection = self::connection(&catalog(BEFORE), mapping(MAPPING));
    assert!(repair.automatic.is_some(), "other fields are other streams");
    let repair = drafted(&connection, "", &observed);
    assert_eq!(repair.automatic, None);
    let file = repair.proposed.unwrap().commit.edits.last().unwrap().after.clone().unwrap();
    insta::assert_snapshot!(file.split("## Evidence").nth(1).unwrap().split("## What").next().unwrap().trim(), @r"
    ```text
    - public/accounts  stream
        = rivals: it may live on as public/clients (0.48)
        = rivals: it may live on as public/customers (0.34)
        confidence 0.60; not automatic: a stream that is gone may be out of sight only
    ```
    ");
}

#[test]
fn a_field_that_came_is_offered_to_a_canonical_field_of_its_name_or_said_to_be_unmapped() {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let mut desired = Desired::default();
    let field = |ty: &str| EntityField { ty: ty.into(), required: false, pii: false, description: None };
    let fields = [("name", "string"), ("web_site", "string"), ("employees", "integer"), ("founded", "date")];
    let entity = EntitySpec {
        name: "account".into(),
        path: RepoPath::new("mappings/entities/account.yaml").unwrap(),
        fields: fields.into_iter().map(|(name, ty)| (name.to_owned(), field(ty))).collect(),
    };
    desired.entities.insert("account".to_owned(), std::sync::Arc::new(entity));
    desired.connections.insert(connection.name.clone(), connection.clone());
    let notes = |more: &str| {
        let repair = drafted_in(&desired, &connection, "", &catalog(&format!("{BEFORE}, {more}")));
        repair.offered().flat_map(|part| part.notes.clone()).collect::<Vec<_>>().join("\n")
    };
    // `founded` is of another type, `name` has a source, and what lies inside `geo` goes with it
    insta::assert_snapshot!(notes("Website string, founded object, Name string, geo object, geo.lat number, employees integer!"), @r#"
    account.web_site has no source from this stream yet, and public/accounts.Website may be it: to map it, put "web_site: Website" under fields of account in mappings/crm.yaml
    unmapped: public/accounts.Name, public/accounts.founded, public/accounts.geo; values are kept in unknown_fields until a mapping takes them
    account.employees has no source from this stream yet, and public/accounts.employees may be it: to map it, put "employees: employees" under fields of account in mappings/crm.yaml
    "#);
    let many: Vec<String> = (0..9).map(|n| format!("custom_{n} string")).collect();
    insta::assert_snapshot!(notes(&many.join(", ")), @"unmapped: public/accounts.custom_0, public/accounts.custom_1, public/accounts.custom_2, public/accounts.custom_3, public/accounts.custom_4, public/accounts.custom_5 and 3 more; values are kept in unknown_fields until a mapping takes them");
}

#[test]
fn a_lock_that_an_older_algorithm_sealed_gives_no_repair_until_something_changes() {
    let mut connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let lock = connection.lock.as_mut().unwrap();
    lock.fingerprint = lock.catalog.old_fingerprint();
    let repair = drafted(&connection, "", &catalog(BEFORE));
    assert_eq!((repair.automatic, repair.proposed, repair.rejected), (None, None, None));
    let repair = drafted(&connection, "", &catalog(&format!("{BEFORE}, website string")));
    assert_eq!(repair.automatic.unwrap().lock.fingerprint, catalog(&format!("{BEFORE}, website string")).fingerprint());
}

/// The trap of what only went and came together.
#[test]
fn removed_and_added_fields_that_are_unrelated_are_no_rename() {
    let rest = "id integer!, name string, city string, active boolean, updated_at timestamp";
    let connection = connection(&catalog(&format!("{rest}, fax string")), mapping(MAPPING));
    let repair = drafted(&connection, "", &catalog(&format!("{rest}, rating integer")));
    let lines = |part: Option<Part>| {
        let part = part.unwrap();
        part.assessment.changes.iter().map(|one| line_of(&one.change)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(lines(repair.automatic), "+ public/accounts.rating: integer");
    assert_eq!(lines(repair.proposed), "- public/accounts.fax: string");
}

#[test]
fn a_lock_edit_of_every_name_is_verified() {
    for name in ["\"a: b\"", "\"x # y\"", "\"it's\"", "\"\\u{85}\"", "yes", "01", "\"[]\"", "\"\u{2028}\"", "\"\""] {
        let old = connection(&catalog(BEFORE), mapping(MAPPING)).lock.unwrap();
        let new = catalog(&format!("{BEFORE}, {name} string"));
        let edit = edit_lock(&lock::render(&old, "crm"), &old, new, "crm");
        assert!(!edit.lost_annotations, "{name}: {}", edit.text);
    }
}

#[test]
fn who_else_uses_the_mapping_is_said() {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let after = catalog(&BEFORE.replace("annual_rev ", "annual_revenue "));
    let part = drafted_among(&["crm", "acme/crm"], &connection, "", &after).proposed.unwrap();
    assert_eq!(
        part.notes,
        ["acme/crm uses mappings/crm.yaml too, under a lock of its own: its source may not have changed"]
    );
}

#[test]
fn what_another_connection_is_mapped_by_is_not_changed_by_rule() {
    let before = BEFORE.replace("size integer", "annual_size integer");
    let mapping_text = MAPPING.replace("fax: fax_number", "fax: annual_size");
    let connection = connection(&catalog(&before), mapping(&mapping_text));
    let after = catalog(&before.replace("annual_size integer", "annual_size number"));
    let gate = |names: &[&str]| {
        let repair = drafted_among(names, &connection, "", &after);
        (repair.automatic.is_some(), repair.assessment.automatic().gate().unwrap_or("yes").to_owned())
    };
    assert_eq!(gate(&["crm"]), (true, "yes".to_owned()));
    let other = "acme/crm uses mappings/crm.yaml too, and its source may not have changed";
    assert_eq!(gate(&["crm", "acme/crm"]), (false, other.to_owned()));
}

#[test]
fn a_comment_that_would_be_lost_keeps_a_rule_from_the_lock() {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let mut input_lock = lock::render(connection.lock.as_ref().unwrap(), "crm");
    input_lock = input_lock.replace("version: 1\n", "version: 1  # frozen for the audit\n");
    let observed = catalog(&format!("{BEFORE}, website string"));
    let desired = Desired::default();
    let repair = draft(Input {
        desired: &desired,
        connection: &connection,
        lock: connection.lock.as_ref().unwrap(),
        lock_text: &input_lock,
        spec_text: "",
        files: &BTreeMap::new(),
        observed: &observed,
        whole: &observed,
        past: &[],
        values: &Values::new(),
        arrivals: &Arrivals::new(),
        ask: None,
    })
    .unwrap();
    assert!(repair.automatic.is_none());
    let part = repair.proposed.unwrap();
    assert_eq!(part.assessment.automatic().gate(), Some("comments in the lock would be lost"));
    assert!(part.notes[0].starts_with("comments in the lock are lost"), "{:?}", part.notes);
}
