//! Whole repairs: catalogs and files in, edits and drift file out.

use std::collections::BTreeMap;

use similar::TextDiff;

use super::sample::{catalog, connection, mapping};
use super::*;
use crate::drift::followed;
use crate::drift::rename::Values;
use crate::model::{Catalog, ConnectionRef};
use crate::spec::{Connection, Desired, Rejection, Selection, StreamChoice, lock};

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
        ask_for_all: false,
    };
    let repair = draft(input).unwrap();
    assert_eq!(draft(input).unwrap(), repair, "the same input gives the same bytes");
    repair
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
    insta::assert_snapshot!(check("", &after), @r"
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
    insta::assert_snapshot!(about("## Evidence", "## Diff"), @r"
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
    connectors.d/crm.yaml  the spec names this stream
    mappings/crm.yaml:6  account is read from this stream
    mappings/crm.yaml:10  canonical field account.annual_revenue reads annual_rev
    mappings/crm.yaml:12  canonical field account.label reads annual_rev
    ```

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

/// The trap of what only went and came together.
#[test]
fn removed_and_added_fields_that_are_unrelated_are_no_rename() {
    let rest = "id integer!, name string, city string, active boolean, updated_at timestamp";
    let connection = connection(&catalog(&format!("{rest}, fax string")), mapping(MAPPING));
    let repair = drafted(&connection, "", &catalog(&format!("{rest}, rating integer")));
    let lines = |part: Option<Part>| {
        let part = part.unwrap();
        part.assessment.changes.iter().map(|one| crate::drift::line_of(&one.change)).collect::<Vec<_>>().join("; ")
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
    mappings/crm.yaml:10  canonical field account.annual_revenue reads annual_rev
    mappings/crm.yaml:12  canonical field account.label reads annual_rev
    mappings/crm.yaml:11  canonical field account.fax reads fax_number
    ```

    ## What it means for data

    - New rows carry no value for a field that is gone; canonical fields that only it feeds get no value from new rows.
    - New rows carry the value under the new name; with this repair it reaches the same canonical fields. A record whose values are unchanged gives no new event.

    ## What remains to do

    - account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead

    ## Diff

    ```diff
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

#[test]
fn a_long_drift_with_hostile_names_stays_readable() {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let many: Vec<String> = (0..50).map(|n| format!("f{n:02} string!")).collect();
    let hostile = "\"a```\\u{a}# <script>\\u{1b}[2J | \u{202e}\"";
    let after = format!("{BEFORE}, {}, {hostile} string!", many.join(", "));
    let part = drafted(&connection, "", &catalog(&after)).proposed.unwrap();
    let text = part.commit.edits.last().unwrap().after.clone().unwrap();
    assert!(text.contains("… and 11 more; the diff below has them."), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']) && !part.commit.body.contains(['\u{1b}', '\u{202e}']));
    // No line of its own, and the fence around it is longer than its backticks.
    assert!(!text.lines().any(|line| line.starts_with("# <script>")));
    assert!(text.contains("````diff"));
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
    insta::assert_snapshot!(after_rejecting(&fax, &format!("{no_fax}, zip_code integer")), @r"
    automatic: drift crm: + public/accounts.zip_code: integer
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      +      zip_code: integer
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
    insta::assert_snapshot!(after_rejecting(&zip, &format!("{BEFORE}, zip_code integer")), @r"
    automatic: nothing
    proposed: nothing
    rejected: drift crm: + public/accounts.zip_code: integer
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      +      zip_code: integer
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
    assert_eq!(part.notes, ["+ public/accounts.zone: string! was rejected by Ada: not yet"]);
}
