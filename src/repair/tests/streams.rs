//! Streams that have another name.

use super::*;
use crate::spec::{Selection, StreamChoice};

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
