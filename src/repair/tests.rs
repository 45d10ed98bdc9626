//! Whole repairs: catalogs and files in, edits and drift file out.

use std::collections::BTreeMap;

use similar::TextDiff;

use super::sample::{catalog, connection, mapping};
use super::*;
use crate::drift::radius::{Counted, Events, Table, Tables, Usage};
use crate::drift::rename::{Arrival, Arrivals, KeptValues, Sampled, Values};
use crate::drift::{Assessed, followed, line_of};
use crate::model::{Catalog, ConnectionRef, FieldPath, RepoPath, StreamName};
use crate::spec::{Connection, Desired, EntityField, EntitySpec, Rejection, Selection, StreamChoice, lock};

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

fn listed(names: &[&str]) -> Selection {
    Selection::Listed(names.iter().map(|name| (name.parse().unwrap(), StreamChoice::default())).collect())
}

#[test]
fn a_renamed_stream_is_followed_in_lock_mapping_and_spec() {
    let spec = "kind: connection\nstreams:\n  # the big one\n  accounts: # asked for by sales\n    cursor: annual_rev\n  \
                'public/contacts': {}\nmapping: crm\n";
    let mut connection = connection(&catalog(BEFORE), mapping(MAPPING));
    connection.streams = listed(&["accounts", "public/contacts"]);
    let observed = moved("public/customer_accounts", &BEFORE.replace("annual_rev ", "annual_revenue "));
    let part = drafted(&connection, spec, &observed).proposed;
    insta::assert_snapshot!(shown(part.as_ref()), @r#"
    drift crm: 2 changes of the source
    Aam-Connection: crm
    Aam-Confidence: 0.77
    Aam-Cause: drift AAM-D006 AAM-D017
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -  public/accounts:
      +  public/customer_accounts:
      -      annual_rev: decimal(12,2)
      +      annual_revenue: decimal(12,2)
    mappings/crm.yaml
      -    stream: public/accounts
      +    stream: public/customer_accounts
      -      annual_revenue: {from: annual_rev, as: decimal}
      +      annual_revenue: {from: annual_revenue, as: decimal}
      -      label: {expr: 'name ~ " " ~ annual_rev'}
      +      label: {expr: 'name ~ " " ~ annual_revenue'}
    connectors.d/crm.yaml
      -  accounts: # asked for by sales
      -    cursor: annual_rev
      +  customer_accounts: # asked for by sales
      +    cursor: annual_revenue
    "#);
    let file = part.unwrap().commit.edits.last().unwrap().after.clone().unwrap();
    let about = |from: &str, to: &str| file.split(from).nth(1).unwrap().split(to).next().unwrap().trim().to_owned();
    insta::assert_snapshot!(about("## Evidence", "## Diff"), @"
    ```text
    ~ public/accounts -> public/customer_accounts  stream
        + fields: 5 of 6 are the same, 1 gone, 1 new
        + name: likeness 0.65
        + role: both have the key [id]
        + rivals: no other stream has these fields
        confidence 0.77; not automatic: a stream with another name is read from its beginning, and its records are told anew
    ~ public/customer_accounts.annual_rev -> annual_revenue: decimal(12,2)
        + name: annual, rev in common, revenue for rev; likeness 0.89
        + type: both are decimal(12,2)
        + rivals: no other field could be the partner
        = values: no values were compared
        confidence 0.86; not automatic: it lies inside public/customer_accounts, whose rename a person decides
    ```

    ## What it touches

    ```text
    connectors.d/crm.yaml  the spec names this stream: the repair follows the new name
    mappings/crm.yaml:6  account is read from this stream: the repair follows the new name for its 4 fields
        about 1,290 events a day
    mappings/crm.yaml:10  canonical field account.annual_revenue reads annual_rev: the repair follows the new name
        about 1,240 events a day carried it
    mappings/crm.yaml:12  canonical field account.label reads annual_rev: the repair follows the new name
        about 1,240 events a day carried it
    public.accounts  gets no more rows; those that landed stay
    public/accounts  left out of syncs until this is decided; the first sync after that catches up
        account gets no new events from it meanwhile
        last synced 2026-11-20 13:58 UTC
    ```

    Events are counted in the 7 days before 2026-11-20 14:03 UTC, when this was first seen.

    ## What it means for data

    - Under another name it is another stream: it lands in a table of its own and is read from its beginning, and each of its records gives an event anew, at positions from 1.
    - Landed rows, events and read positions of the old name stay as they are. Nothing says there that a record is gone: whoever reads events by stream goes on with the new one.
    ");
}

#[test]
fn a_renamed_stream_is_written_as_its_old_name_was() {
    let shown = |spec: &str, names: &[&str], to: &str| {
        let mut connection = connection(&catalog(BEFORE), mapping(MAPPING));
        connection.streams = listed(names);
        let part = drafted(&connection, spec, &moved(to, BEFORE)).proposed.unwrap();
        let changed =
            |edit: &&crate::model::FileEdit| edit.path != connection.lock_path && edit.path != part.drift_path;
        let mut out = String::new();
        for edit in part.commit.edits.iter().filter(changed) {
            let diff = TextDiff::from_lines(edit.before.as_deref().unwrap(), edit.after.as_deref().unwrap());
            let diff = diff.unified_diff().context_radius(0).to_string();
            let lines = diff
                .lines()
                .filter(|line| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++"));
            out.extend(lines.map(|line| format!("{line}\n")));
        }
        out.extend(part.notes.iter().map(|note| format!("note: {note}\n")));
        out
    };
    insta::assert_snapshot!(shown("streams: [accounts, contacts] # both\n", &["accounts", "contacts"], "public/clients"), @r"
    -    stream: public/accounts
    +    stream: public/clients
    -streams: [accounts, contacts] # both
    +streams: [clients, contacts] # both
    ");
    insta::assert_snapshot!(shown("streams:\n  \"public/accounts\": {}\n", &["public/accounts"], "public/my clients"), @r#"
    -    stream: public/accounts
    +    stream: public/my clients
    -  "public/accounts": {}
    +  "public/my clients": {}
    "#);
    // A bare name means the one in another namespace already.
    insta::assert_snapshot!(shown("streams: {accounts: }\n", &["accounts"], "crm/accounts"), @r"
    -    stream: public/accounts
    +    stream: crm/accounts
    ");
    insta::assert_snapshot!(shown("streams:\n  accounts:\n  clients:\n", &["accounts", "clients"], "public/clients"), @r"
    -    stream: public/accounts
    +    stream: public/clients
    note: take stream accounts out of connectors.d/crm.yaml, which lists clients already
    ");
}

/// The trap of an ambiguous swap.
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
fn of_equal_candidates_that_the_spec_does_not_list_both_are_named() {
    let mut connection = connection(&catalog(BEFORE), mapping(MAPPING));
    connection.streams = listed(&["accounts"]);
    let whole = Catalog {
        streams: ["public/clients", "public/customers"].iter().flat_map(|to| moved(to, BEFORE).streams).collect(),
    };
    let repair = drafted(&connection, "streams: [accounts]\n", &whole);
    let [gone] = repair.assessment.changes.as_slice() else { panic!("{:#?}", repair.assessment) };
    assert!(matches!(&gone.change, crate::drift::Change::StreamRemoved { .. }));
    let told: Vec<String> = gone.evidence.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["= rivals: it may live on as public/clients (0.48)", "= rivals: it may live on as public/customers (0.34)"]
    );
}

#[test]
fn a_drift_file_tells_everything() {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let after = BEFORE.replace("annual_rev ", "annual_revenue ").replace("fax_number string, ", "");
    let repair = drafted(&connection, "", &catalog(&after));
    let part = repair.proposed.unwrap();
    let text = part.commit.edits.last().unwrap().after.clone().unwrap();
    insta::assert_snapshot!(text, @r#"
    ---
    connection: "crm"
    drift: s1:1bc40952e9c43cc6475d8a4ec0758674c9d1ea60047f3b273360e1d8be831cca
    base: s1:80c1d455f53c86b6dca646bc4088519e6f3df55eddc49339371ef80a72091391
    version: 2
    changes: 2
    breaking: 2
    severity: breaking_for_mapping
    confidence: 0.60
    automatic: "no: what went may live on under another name"
    ---

    # Drift of crm: 2 changes

    ```diff
    ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)   [AAM-D006]
    - public/accounts.fax_number: string   [AAM-D005]
    ```

    What a code means: `aam explain CODE`.

    ## Evidence

    ```text
    ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)
        + name: annual, rev in common, revenue for rev; likeness 0.89
        + type: both are decimal(12,2)
        + rivals: no other field could be the partner
        = values: no values were compared
        confidence 0.66; not automatic: only values joined by key could prove a rename
    ```

    ## What it touches

    ```text
    mappings/crm.yaml:11  canonical field account.fax reads fax_number: starves
        2 events in 7 days carried it
    mappings/crm.yaml:10  canonical field account.annual_revenue reads annual_rev: the repair follows the new name
        about 1,240 events a day carried it
    mappings/crm.yaml:12  canonical field account.label reads annual_rev: the repair follows the new name
        about 1,240 events a day carried it
    public.accounts  column fax_number: dropped by the first sync after approval, with the values
    public.accounts  column annual_rev: dropped by the first sync after approval, which adds annual_revenue
        rows that are not read again hold no value in annual_revenue
    public/accounts  left out of syncs until this is decided; the first sync after that catches up
        account gets no new events from it meanwhile
        last synced 2026-11-20 13:58 UTC
    ```

    Events are counted in the 7 days before 2026-11-20 14:03 UTC, when this was first seen.

    ## What it means for data

    - New rows carry no value for a field that is gone; canonical fields that only it feeds get no value from new rows.
    - New rows carry the value under the new name; with this repair it reaches the same canonical fields. A record whose values are unchanged gives no new event.

    ## What remains to do

    - account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead

    ## Diff

    ```diff
    --- a/mappings/crm.yaml
    +++ b/mappings/crm.yaml
    @@ -8,6 +8,5 @@
         fields:
           name: name                      # the display name
    -      annual_revenue: {from: annual_rev, as: decimal}
    -      fax: fax_number
    -      label: {expr: 'name ~ " " ~ annual_rev'}
    +      annual_revenue: {from: annual_revenue, as: decimal}
    +      label: {expr: 'name ~ " " ~ annual_revenue'}
         deleted_when: is_deleted
    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    @@ -1,6 +1,6 @@
     # Written by aam. The approved schema of connection crm; a change is approved by merging it.
     id: 00000000-0000-0000-0000-000000000007
    -version: 1
    -fingerprint: s1:80c1d455f53c86b6dca646bc4088519e6f3df55eddc49339371ef80a72091391
    +version: 2
    +fingerprint: s1:1bc40952e9c43cc6475d8a4ec0758674c9d1ea60047f3b273360e1d8be831cca
     streams:
       public/accounts:
    @@ -8,6 +8,5 @@
         modes: [full_refresh]
         fields:
    -      annual_rev: decimal(12,2)
    -      fax_number: string
    +      annual_revenue: decimal(12,2)
           id: integer!
           is_deleted: boolean
    ```

    ## How to decide

    A person decides, because what went may live on under another name.

    To approve, merge the branch `aam/drift/default/crm`:

    ```sh
    git merge aam/drift/default/crm      # or: aam drift approve crm
    ```

    To reject, and not be asked again for these changes:

    ```sh
    aam drift reject crm --reason "…"
    ```
    "#);
}

/// The drift file of what is proposed.
fn file_of(before: &Catalog, after: &Catalog) -> String {
    let connection = connection(before, mapping(MAPPING));
    let part = drafted(&connection, "", after).proposed.unwrap();
    let text = part.commit.edits.last().unwrap().after.clone().unwrap();
    assert!(text.len() <= file::MOST_BYTES, "{} bytes", text.len());
    assert!(!(text.clone() + &part.commit.body).contains(['\u{1b}', '\u{202e}']));
    text
}

/// Streams `public/t00`, `public/t01`, … with `fields` fields each, beside the accounts.
fn wide(accounts: &str, streams: usize, fields: impl Fn(usize, usize) -> String) -> Catalog {
    let mut all = catalog(accounts);
    for stream in 0..streams {
        let fields = (0..30).map(|n| fields(stream, n)).filter(|field| !field.is_empty());
        let fields: Vec<String> = std::iter::once("id integer!".to_owned()).chain(fields).collect();
        let one = catalog(&fields.join(", ")).streams.into_values().next().unwrap();
        all.streams.insert(format!("public/t{stream:03}").parse().unwrap(), one);
    }
    all
}

#[test]
fn forty_changes_are_folded_by_rule_below_what_breaks() {
    let before = wide(BEFORE, 2, |_, n| if n < 15 { format!("f{n:02} integer!") } else { String::new() });
    let no_fax = BEFORE.replace("fax_number string, ", "");
    let after = wide(&no_fax, 2, |stream, n| match (stream, n) {
        (0, ..15) => format!("f{n:02} integer"),
        (1, ..15) => format!("f{n:02} integer!"),
        (1, 15..) => format!("g{n:02} string!"),
        (0, 15..25) => format!("g{n:02} string!"),
        _ => String::new(),
    });
    let text = file_of(&before, &after);
    let (what, rest) =
        text.split_once("\n## Evidence").unwrap_or_else(|| text.split_once("\n## What it touches").unwrap());
    insta::assert_snapshot!(what, @r#"
    ---
    connection: "crm"
    drift: s1:2455f7e1d77d2ac2b4f62e8d746bafc32ae938244fc205ab7b9f41157b218f4a
    base: s1:59e1a9ac737d36649252af8cb7b59a48f05206ee100b70774577d09b9f78b984
    version: 2
    changes: 41
    breaking: 1
    severity: breaking_for_mapping
    confidence: 0.60
    automatic: "no: what went may live on under another name"
    ---

    # Drift of crm: 41 changes

    1 of them breaks what is in use:

    ```diff
    - public/accounts.fax_number: string   [AAM-D005]
    ```

    <details>
    <summary>25 fields added that are never null in 2 streams [AAM-D004]</summary>

    ```diff
    + public/t000.g15: string!
    + public/t000.g16: string!
    + public/t000.g17: string!
    + public/t000.g18: string!
    + public/t000.g19: string!
    + public/t000.g20: string!
    + public/t000.g21: string!
    + public/t000.g22: string!
    + public/t000.g23: string!
    + public/t000.g24: string!
    + public/t001.g15: string!
    + public/t001.g16: string!
    + public/t001.g17: string!
    + public/t001.g18: string!
    + public/t001.g19: string!
    + public/t001.g20: string!
    + public/t001.g21: string!
    + public/t001.g22: string!
    + public/t001.g23: string!
    + public/t001.g24: string!
    + public/t001.g25: string!
    + public/t001.g26: string!
    + public/t001.g27: string!
    + public/t001.g28: string!
    + public/t001.g29: string!
    ```

    </details>

    <details>
    <summary>15 fields may be null now [AAM-D010]</summary>

    ```diff
    ~ public/t000.f00: may be null now
    ~ public/t000.f01: may be null now
    ~ public/t000.f02: may be null now
    ~ public/t000.f03: may be null now
    ~ public/t000.f04: may be null now
    ~ public/t000.f05: may be null now
    ~ public/t000.f06: may be null now
    ~ public/t000.f07: may be null now
    ~ public/t000.f08: may be null now
    ~ public/t000.f09: may be null now
    ~ public/t000.f10: may be null now
    ~ public/t000.f11: may be null now
    ~ public/t000.f12: may be null now
    ~ public/t000.f13: may be null now
    ~ public/t000.f14: may be null now
    ```

    </details>

    What a code means: `aam explain CODE`.
    "#);
    let diff = rest.split_once("## Diff").unwrap().1.split_once("## How to decide").unwrap().0;
    let diff: Vec<&str> = diff.lines().take(30).collect();
    insta::assert_snapshot!(diff.join("\n"), @r#"


    ```diff
    --- a/mappings/crm.yaml
    +++ b/mappings/crm.yaml
    @@ -9,5 +9,4 @@
           name: name                      # the display name
           annual_revenue: {from: annual_rev, as: decimal}
    -      fax: fax_number
           label: {expr: 'name ~ " " ~ annual_rev'}
         deleted_when: is_deleted
    ```

    <details>
    <summary>The lock: 81 lines</summary>

    ```diff
    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    @@ -1,6 +1,6 @@
     # Written by aam. The approved schema of connection crm; a change is approved by merging it.
     id: 00000000-0000-0000-0000-000000000007
    -version: 1
    -fingerprint: s1:59e1a9ac737d36649252af8cb7b59a48f05206ee100b70774577d09b9f78b984
    +version: 2
    +fingerprint: s1:2455f7e1d77d2ac2b4f62e8d746bafc32ae938244fc205ab7b9f41157b218f4a
     streams:
       public/accounts:
    @@ -9,5 +9,4 @@
         fields:
    "#);
}

#[test]
fn three_thousand_changes_have_a_bounded_file_that_says_where_the_rest_is() {
    // 100 streams: the first two lose 30 fields each and get others, the rest get 30 each.
    let before = wide(BEFORE, 100, |stream, n| if stream < 2 { format!("old_{n:02} integer") } else { String::new() });
    let after = wide(&BEFORE.replace("fax_number string, ", ""), 100, |stream, n| match stream {
        ..2 => format!("zz{} binary!", "q".repeat(n + 1)),
        _ => format!("field_{n:02} string!"),
    });
    let text = file_of(&before, &after);
    // Of lines that begin alike one is enough.
    let alike = |a: &&str, b: &&str| ["+ ", "- "].iter().any(|sign| a.starts_with(sign) && b.starts_with(sign));
    let lines: Vec<&str> = text.lines().collect();
    let lines: Vec<&str> = lines.chunk_by(alike).map(|run| run[0]).collect();
    let shown = |from: &str, to: &str| {
        let start = lines.iter().position(|line| line.starts_with(from)).unwrap();
        let end = lines.iter().position(|line| line.starts_with(to)).unwrap();
        lines[start..end].join("\n")
    };
    insta::assert_snapshot!(shown("# Drift", "## What it touches"), @r#"
    # Drift of crm: 3061 changes

    1 of them breaks what is in use:

    ```diff
    - public/accounts.fax_number: string   [AAM-D005]
    ```

    <details>
    <summary>3000 fields added that are never null in 100 streams [AAM-D004]</summary>

    ```diff
    + public/t000  30: zzq, zzqq, zzqqq, zzqqqq, …
    ```

    … and 40 more lines; `git show aam/drift/default/crm` has all.

    </details>

    <details>
    <summary>60 fields gone that nothing uses in 2 streams [AAM-D005]</summary>

    ```diff
    - public/t000  30: old_00, old_01, old_02, old_03, …
    ```

    </details>

    What a code means: `aam explain CODE`.
    "#);
    insta::assert_snapshot!(shown("## What it touches", "## What it means"), @r#"
    ## What it touches

    ```text
    mappings/crm.yaml:11  canonical field account.fax reads fax_number: starves
        2 events in 7 days carried it
    public.accounts  column fax_number: dropped by the first sync after approval, with the values
    public.t000  columns old_00, old_01, old_02 and 27 more: dropped by the first sync after approval, with the values
    public.t001  columns old_00, old_01, old_02 and 27 more: dropped by the first sync after approval, with the values
    public/accounts  left out of syncs until this is decided; the first sync after that catches up
        account gets no new events from it meanwhile
        last synced 2026-11-20 13:58 UTC
    ```

    Events are counted in the 7 days before 2026-11-20 14:03 UTC, when this was first seen.
    "#);
    assert!(text.len() < 40_000, "{} bytes", text.len());
    assert!(text.contains("more lines; `git show aam/drift/default/crm` has all."), "{text}");
}

#[test]
fn hostile_names_stay_text_and_do_not_grow_the_file() {
    let hostile = "\"a```\\u{a}# <script></details>\\u{1b}[2J | \u{202e}\"";
    let many: Vec<String> = (0..50).map(|n| format!("f{n:02} string!")).collect();
    let text = file_of(&catalog(BEFORE), &catalog(&format!("{BEFORE}, {}, {hostile} string!", many.join(", "))));
    // No line of its own, and the fence around it is longer than its backticks.
    assert!(!text.lines().any(|line| line.starts_with("# <script>") || line.starts_with("<script")));
    assert!(text.contains("````diff"));
    assert_eq!(text.matches("<details>").count(), text.matches("\n</details>\n").count());
    insta::assert_snapshot!(text.lines().find(|line| line.contains("script")).unwrap(), @r#"+ public/accounts  51: "a```\u{a}# <script></details>\u{1b}[2J | \u{202e}", f00, f01, f02, …"#);

    let long: Vec<String> =
        (0..200).map(|n| format!("{}{n:03} string!", "ab`".repeat(700).replace('`', "_"))).collect();
    file_of(&catalog(BEFORE), &catalog(&format!("{BEFORE}, {}", long.join(", "))));
    let gone: Vec<String> = (0..200).map(|n| format!("{}{n:03} string", "x".repeat(1_900))).collect();
    file_of(&catalog(&format!("{BEFORE}, {}", gone.join(", "))), &catalog(&BEFORE.replace("fax_number string, ", "")));
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

/// The repair when these changes were rejected.
fn drafted_rejecting(changes: &[&str], connection: &Connection, observed: &Catalog) -> Repair {
    let rejection = Rejection {
        fingerprint: connection.lock.as_ref().unwrap().fingerprint.clone(),
        by: "Ada".to_owned(),
        at: "2026-01-02T03:04:05Z".to_owned(),
        reason: "not yet".to_owned(),
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let rejected = [(connection.name.clone(), vec![rejection])].into();
    drafted_in(&Desired { rejected, ..Desired::default() }, connection, "", observed)
}

/// What is left to do when these changes were rejected.
fn after_rejecting(changes: &[&str], after: &str) -> String {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let repair = drafted_rejecting(changes, &connection, &catalog(after));
    let shown =
        |part| shown(part).lines().filter(|l| !l.starts_with("Aam-")).map(|l| format!("{l}\n")).collect::<String>();
    format!(
        "automatic: {}proposed: {}rejected: {}",
        shown(repair.automatic.as_ref()),
        shown(repair.proposed.as_ref()),
        shown(repair.rejected.as_ref())
    )
}

#[test]
fn a_rejection_holds_for_its_changes_whatever_comes_beside_them() {
    let no_fax = BEFORE.replace("fax_number string, ", "");
    let fax = ["- public/accounts.fax_number: string"];
    insta::assert_snapshot!(after_rejecting(&fax, &no_fax), @r"
    automatic: nothing
    proposed: nothing
    rejected: drift crm: - public/accounts.fax_number: string
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      fax_number: string
    mappings/crm.yaml
      -      fax: fax_number
    note: account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead
    note: - public/accounts.fax_number: string was rejected by Ada: not yet
    ");
    // What only adds is taken in, and nothing is asked.
    insta::assert_snapshot!(after_rejecting(&fax, &format!("{no_fax}, zip_code integer")), @"
    automatic: drift crm: + public/accounts.zip_code: integer
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      +      zip_code: integer
    note: unmapped: public/accounts.zip_code; values are kept in unknown_fields until a mapping takes them
    proposed: nothing
    rejected: drift crm: - public/accounts.fax_number: string
    connectors.d/crm.lock.yaml
      -version: 2
      +version: 3
      -      fax_number: string
    mappings/crm.yaml
      -      fax: fax_number
    note: account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead
    note: - public/accounts.fax_number: string was rejected by Ada: not yet
    ");
    // Something new is asked without it.
    let renamed = no_fax.replace("annual_rev ", "annual_revenue ");
    insta::assert_snapshot!(after_rejecting(&fax, &renamed), @r#"
    automatic: nothing
    proposed: drift crm: ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)
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
    rejected: nothing
    "#);
    // An addition that was rejected is not taken in.
    let zip = ["+ public/accounts.zip_code: integer"];
    insta::assert_snapshot!(after_rejecting(&zip, &format!("{BEFORE}, zip_code integer")), @"
    automatic: nothing
    proposed: nothing
    rejected: drift crm: + public/accounts.zip_code: integer
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      +      zip_code: integer
    note: unmapped: public/accounts.zip_code; values are kept in unknown_fields until a mapping takes them
    note: + public/accounts.zip_code: integer was rejected by Ada: not yet
    ");
}

#[test]
fn what_cannot_go_without_a_rejected_change_brings_it_up_again() {
    let body = |key: &[&str], more: &[&str]| {
        let fields: serde_json::Map<String, serde_json::Value> =
            ["id", "name"].iter().chain(more).map(|name| ((*name).to_owned(), "string!".into())).collect();
        let body = serde_json::json!({"public/accounts": {"key": key, "modes": ["full_refresh"], "fields": fields}});
        Catalog::from_body(&body).unwrap()
    };
    let connection = connection(&body(&["id"], &[]), mapping(MAPPING));
    let zone = ["+ public/accounts.zone: string!"];
    let part = drafted_rejecting(&zone, &connection, &body(&["id", "zone"], &["zone"])).proposed.unwrap();
    assert_eq!(part.assessment.changes.len(), 2);
    assert!(part.notes.contains(&"+ public/accounts.zone: string! was rejected by Ada: not yet".to_owned()));
}

/// Two streams.
fn both(accounts: &str, tickets: &str) -> Catalog {
    let mut both = catalog(accounts);
    let tickets = catalog(tickets).streams.into_values().next().unwrap();
    both.streams.insert("public/tickets".parse().unwrap(), tickets);
    both
}

/// The repair while values of `(stream, gone, came)` wait for a sync.
fn drafted_awaiting(lock: &Catalog, observed: &Catalog, awaited: &[(&str, &str, &str)], rejected: &str) -> Repair {
    let connection = connection(lock, mapping(MAPPING));
    let (mut arrivals, mut values) = (Arrivals::new(), Values::new());
    for (stream, gone, came) in awaited {
        let (gone, came) = ([FieldPath::top(*gone)].into(), [FieldPath::top(*came)].into());
        let kept = KeptValues::of([r#"{"id": 1}"#], &[FieldPath::top("id")], &gone, "salt".to_owned());
        let arrival = Arrival { gone, came, kept, ..Arrival::default() };
        let stream: StreamName = stream.parse().unwrap();
        if arrival.is_taken_in(&stream, lock) {
            values.insert(stream.clone(), Sampled::awaited());
        }
        arrivals.insert(stream, arrival);
    }
    let lock = connection.lock.clone().unwrap();
    let rejection = Rejection {
        fingerprint: lock.fingerprint.clone(),
        by: "Ada".to_owned(),
        at: String::new(),
        reason: "not yet".to_owned(),
        changes: vec![rejected.to_owned()],
    };
    let rejected = [(connection.name.clone(), vec![rejection])].into();
    let input = Input {
        desired: &Desired { rejected, ..Desired::default() },
        connection: &connection,
        lock: &lock,
        lock_text: &lock::render(&lock, "crm"),
        spec_text: "",
        files: &BTreeMap::new(),
        observed,
        whole: observed,
        past: &[],
        values: &values,
        arrivals: &arrivals,
        ask: None,
    };
    draft(input).unwrap()
}

fn lines<'a>(changes: impl IntoIterator<Item = &'a Assessed>) -> String {
    changes.into_iter().map(|c| line_of(&c.change)).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_waits_for_a_sync_is_asked_later_and_keeps_no_other_change() {
    let lock = both("id integer!, fax_number string, tele string, size integer", "id integer!, title string");
    let awaited = [("public/accounts", "fax_number", "tele")];
    let asked = |accounts: &str, tickets: &str| {
        let repair = drafted_awaiting(&lock, &both(accounts, tickets), &awaited, "");
        let proposed = repair.proposed.map(|part| lines(&part.assessment.changes)).unwrap_or_default();
        format!("{proposed}, later {}", lines(&repair.waiting))
    };
    let (accounts, went) = ("id integer!, tele string, size integer", "- public/accounts.fax_number: string");
    assert_eq!(asked(accounts, "id integer!, title string"), format!("{went}, later "));
    assert_eq!(asked(accounts, "id integer!"), format!("- public/tickets.title: string, later {went}"));
}

#[test]
fn a_rejected_field_keeps_only_its_own_stream_from_the_first_step() {
    let lock = both("id integer!, fax_number string", "id integer!, title string");
    let observed = both("id integer!, tele string", "id integer!, subject string");
    let awaited = [("public/accounts", "fax_number", "tele"), ("public/tickets", "title", "subject")];
    let first = |rejected: &str| {
        let repair = drafted_awaiting(&lock, &observed, &awaited, rejected);
        repair.automatic.map(|part| lines(&part.assessment.changes)).unwrap_or_default()
    };
    assert_eq!(first(""), "+ public/accounts.tele: string; + public/tickets.subject: string");
    assert_eq!(first("+ public/tickets.subject: string"), "+ public/accounts.tele: string");
}
