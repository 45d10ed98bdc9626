//! Streams before and after, and what is found of them.

use super::*;
use crate::drift::{Change, compare, say};
use crate::spec::{FieldSelection, Selection, StreamChoice};

const FIELDS: &str =
    "id integer!, name string, annual_rev decimal(12,2), fax string, region string, updated_at timestamp";
const OTHERS: &str = "id integer!, total decimal(12,2), currency string, placed_at timestamp, account_id integer";

/// A stream a line: `public/accounts [id]: id integer!, name string`; the key may be left out.
fn catalog(lines: &[String]) -> Catalog {
    let stream = |line: &String| {
        let (head, fields) = line.split_once(": ").unwrap();
        let (name, key) = head.split_once(" [").unwrap_or((head, "]"));
        let key: Vec<&str> = key.trim_end_matches(']').split(',').filter(|part| !part.is_empty()).collect();
        let fields: serde_json::Map<String, serde_json::Value> =
            fields.split(", ").map(|f| f.rsplit_once(' ').unwrap()).map(|(k, v)| (k.to_owned(), v.into())).collect();
        (name.to_owned(), serde_json::json!({"key": key, "modes": ["full_refresh"], "fields": fields}))
    };
    let body: serde_json::Map<String, serde_json::Value> = lines.iter().map(stream).collect();
    Catalog::from_body(&body.into()).unwrap()
}

/// Streams by name, all with these fields.
fn all(names: &[&str], fields: &str) -> Vec<String> {
    names.iter().map(|name| format!("{name} [id]: {fields}")).collect()
}

/// The changes, with what was found of streams.
fn found(before: &[String], after: &[String]) -> String {
    let (before, after) = (catalog(before), catalog(after));
    let streams = Streams::of(&before, &after);
    let mut out = String::new();
    for change in compare(&before, &after) {
        out.push_str(&format!("{}\n", say(&change)));
        match &change {
            Change::StreamRenamed { stream, to } => {
                let (confidence, lines) = streams.judged(stream, to).unwrap();
                lines.iter().for_each(|line| out.push_str(&format!("    {line}\n")));
                out.push_str(&format!("    confidence {confidence:.2}\n"));
            }
            Change::StreamRemoved { stream } => {
                streams.candidates(stream).iter().for_each(|line| out.push_str(&format!("    {line}\n")));
            }
            _ => {}
        }
    }
    out
}

#[test]
fn equal_field_sets_are_one_stream_under_another_name() {
    let rest = all(&["public/orders"], OTHERS);
    let before = [all(&["public/accounts"], FIELDS), rest.clone()].concat();
    let after = [all(&["public/customers"], FIELDS), rest].concat();
    insta::assert_snapshot!(found(&before, &after), @r"
    ~ public/accounts -> public/customers  stream
        + fields: all 6 are the same
        - name: likeness 0.00
        + role: both have the key [id]
        + rivals: no other stream has these fields
        confidence 0.67
    ");
}

#[test]
fn a_stream_that_moves_to_another_namespace_is_found_by_its_own_name() {
    let small = "id integer!, name string";
    insta::assert_snapshot!(found(&all(&["public/tags"], small), &all(&["crm/tags"], small)), @r"
    ~ public/tags -> crm/tags  stream
        + fields: all 2 are the same
        + name: the same, in another namespace
        + role: both have the key [id]
        + rivals: no other stream has these fields
        confidence 0.97
    ");
}

#[test]
fn what_changed_inside_a_renamed_stream_is_told_beside_it() {
    let now = FIELDS.replace("annual_rev ", "annual_revenue ").replace("fax string", "fax integer");
    let more: String = ('a'..='n').map(|name| format!(", {name} string")).collect();
    let before = [format!("public/accounts [id]: {FIELDS}{more}")];
    let after = [format!("public/clients [id]: {now}, city string{more}")];
    insta::assert_snapshot!(found(&before, &after), @r"
    ~ public/accounts -> public/clients  stream
        + fields: 18 of 20 are the same, 1 of another type, 1 gone, 2 new
        - name: likeness 0.15
        + role: both have the key [id]
        + rivals: no other stream has these fields
        confidence 0.71
    ~ public/clients.annual_rev -> annual_revenue: decimal(12,2)
    + public/clients.city: string
    ~ public/clients.fax: string -> integer (values must be read in another way)
    ");
}

#[test]
fn of_two_equal_candidates_none_is_taken_and_both_are_named() {
    let before = all(&["public/accounts"], FIELDS);
    insta::assert_snapshot!(found(&before, &all(&["public/clients", "public/customers"], FIELDS)), @r"
    - public/accounts  stream
        = rivals: it may live on as public/clients (0.48)
        = rivals: it may live on as public/customers (0.34)
    + public/clients  stream with 6 fields
    + public/customers  stream with 6 fields
    ");
    let two = all(&["public/data_a", "public/data_b"], FIELDS);
    insta::assert_snapshot!(found(&two, &all(&["public/data_x", "public/data_y"], FIELDS)), @r"
    - public/data_a  stream
        = rivals: it may live on as public/data_x (0.32)
        = rivals: it may live on as public/data_y (0.32)
    - public/data_b  stream
        = rivals: it may live on as public/data_x (0.32)
        = rivals: it may live on as public/data_y (0.32)
    + public/data_x  stream with 6 fields
    + public/data_y  stream with 6 fields
    ");
}

#[test]
fn of_several_with_the_same_fields_the_names_may_tell() {
    let before = all(&["public/account", "public/contact"], FIELDS);
    let renames = |after: &[&str]| {
        let (before, after) = (catalog(&before), catalog(&all(after, FIELDS)));
        let streams = Streams::of(&before, &after);
        streams.renames().map(|(from, to)| format!("{from} -> {to}")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        renames(&["crm/account", "crm/contact"]),
        "public/account -> crm/account; public/contact -> crm/contact"
    );
    assert_eq!(
        renames(&["public/accounts", "public/contacts"]),
        "public/account -> public/accounts; public/contact -> public/contacts"
    );
}

#[test]
fn one_more_of_a_family_is_no_new_name() {
    let before = all(&["orders_2023", "orders_2024"], OTHERS);
    insta::assert_snapshot!(found(&before, &all(&["orders_2024", "orders_2025"], OTHERS)), @r"
    - orders_2023  stream
        = rivals: it may live on as orders_2025 (0.93)
    + orders_2025  stream with 5 fields
    ");
    // A copy that stays behind has nothing to do with the new name.
    let before = all(&["accounts", "accounts_archive"], FIELDS);
    let after = catalog(&all(&["customers", "accounts_archive"], FIELDS));
    assert_eq!(Streams::of(&catalog(&before), &after).renames().count(), 1);
}

#[test]
fn other_fields_are_another_stream() {
    let before = all(&["public/accounts"], FIELDS);
    assert_eq!(
        found(&before, &all(&["public/orders"], OTHERS)),
        "- public/accounts  stream\n+ public/orders  stream with 5 fields\n"
    );
    // Two fields that every table has say nothing.
    assert_eq!(
        found(&all(&["countries"], "id integer!, name string"), &all(&["tags"], "id integer!, name string")),
        "- countries  stream\n    = rivals: it may live on as tags (0.43)\n+ tags  stream with 2 fields\n"
    );
}

#[test]
fn a_listed_stream_is_followed_to_one_that_is_not_listed() {
    let excluded: Vec<&str> = FIELDS.split(", ").filter(|field| !field.starts_with("fax")).collect();
    let lock = catalog(&all(&["public/accounts"], &excluded.join(", ")));
    let fields = FieldSelection::Exclude(["fax".to_owned()].into());
    let choice = StreamChoice { fields, ..StreamChoice::default() };
    let selection = Selection::Listed([("accounts".parse().unwrap(), choice)].into());
    let seen = |names: &[&str]| {
        let whole = catalog(&[all(names, FIELDS), all(&["public/orders"], OTHERS)].concat());
        let observed = followed(&lock, &whole, &selection);
        observed.streams.iter().map(|(name, s)| format!("{name} {}", s.fields.len())).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(seen(&["public/accounts"]), "public/accounts 5");
    assert_eq!(seen(&["public/customers"]), "public/customers 5", "without what the spec excludes");
    assert_eq!(seen(&["public/customers", "public/clients"]), "", "of two equal ones none is followed");
    assert_eq!(seen(&["public/accounts", "public/customers"]), "public/accounts 5");
    let whole = catalog(&all(&["public/customers"], FIELDS));
    assert_eq!(followed(&lock, &whole, &Selection::All), whole);
}

#[test]
fn a_schema_of_many_streams_is_told_apart_by_fields_or_names() {
    let names: Vec<String> = (0..100).map(|n| format!("table_{n}")).collect();
    let of = |namespace: &str, own: bool| -> Catalog {
        let fields =
            |n: usize| format!("{FIELDS}, {}", if own { format!("own_{n} string") } else { "x string".into() });
        let line = |(n, name): (usize, &String)| format!("{namespace}/{name} [id]: {}", fields(n));
        catalog(&names.iter().enumerate().map(line).collect::<Vec<_>>())
    };
    for (own, count) in [(true, 100), (false, 100), (true, 20), (false, 20)] {
        let few = |catalog: Catalog| Catalog { streams: catalog.streams.into_iter().take(count).collect() };
        let (before, after) = (few(of("public", own)), few(of("crm", own)));
        let streams = Streams::of(&before, &after);
        assert!(streams.renames().all(|(from, to)| from.name == to.name));
        assert_eq!(streams.renames().count(), count);
    }
}
