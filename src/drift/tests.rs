//! Fields before and after, as a lock has them, and the changes in words.

use super::{compare, say};
use crate::model::Catalog;

/// Fields as `id integer!, lines array, lines[].sku string`; before a `;` the key, behind another one the cursor.
fn catalog(text: &str) -> Catalog {
    let mut parts = text.split("; ");
    let fields: serde_json::Map<String, serde_json::Value> = parts
        .next()
        .unwrap()
        .split(", ")
        .map(|f| f.rsplit_once(' ').unwrap())
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
    let mut stream = serde_json::json!({"modes": ["full_refresh"], "fields": fields});
    if let Some(key) = parts.next() {
        stream["key"] = key.split(", ").collect();
    }
    if let Some(cursor) = parts.next() {
        stream["cursor"] = cursor.into();
    }
    Catalog::from_body(&serde_json::json!({"t": stream})).unwrap()
}

fn changes(before: &str, after: &str) -> String {
    compare(&catalog(before), &catalog(after)).iter().map(|change| format!("{}\n", say(change))).collect()
}

#[test]
fn nested_fields_are_compared_where_they_lie() {
    let before =
        "address object, address.geo object, address.geo.lat number, address.geo.long number, address.zip integer";
    let after = "address object!, address.geo object, address.geo.lat integer, address.geo.lng number, address.zip string, address.floor integer";
    insta::assert_snapshot!(changes(before, after), @r"
    ~ t.address: never null now
    + t.address.floor: integer
    ~ t.address.geo.lat: number -> integer (narrowed: only some of the old values are values of the new type)
    ~ t.address.geo.long -> address.geo.lng: number
    ~ t.address.zip: integer -> string (values must be read in another way)
    ");
}

#[test]
fn what_lies_in_an_added_or_removed_field_goes_with_it() {
    let (before, after) =
        ("id integer, geo object, geo.x number, geo.y number", "id integer, tags array, tags[] object, tags[].on date");
    insta::assert_snapshot!(changes(before, after), @r"
    - t.geo: object
    + t.tags: array
    ");
}

#[test]
fn arrays_of_objects_and_maps_are_compared_inside() {
    let before = "lines array, lines[] object, lines[].sku string, lines[].qty integer, prices map, prices{} number";
    let after = "lines array, lines[] object, lines[].sku string!, lines[].quantity integer, prices map, prices{} object, prices{}.net number";
    insta::assert_snapshot!(changes(before, after), @r"
    ~ t.lines[].qty -> lines[].quantity: integer
    ~ t.lines[].sku: never null now
    ~ t.prices{}: number -> object (values must be read in another way)
    ");
}

#[test]
fn an_object_that_becomes_a_list_of_objects_is_one_change() {
    let before = "owner object, owner.name string, owner.email string";
    insta::assert_snapshot!(changes(before, "owner array, owner[] object, owner[].name string, owner[].email string"), @"~ t.owner: object -> array (values must be read in another way)");
    insta::assert_snapshot!(changes(before, "owner map, owner{} string"), @"~ t.owner: object -> map (values must be read in another way)");
    insta::assert_snapshot!(changes(before, "owner string"), @"~ t.owner: object -> string (values must be read in another way)");
}

#[test]
fn unions_widen_and_narrow_by_their_members() {
    let before = "a string, b integer|string, c object, c.x string, d integer|string, e integer|string";
    let after = "a integer|string, b string, c object|string, c.x string, d boolean|string, e any";
    insta::assert_snapshot!(changes(before, after), @r"
    ~ t.a: string -> integer|string (widened: the old type is one of those allowed now)
    ~ t.b: integer|string -> string (narrowed: only some of the old values are values of the new type)
    ~ t.c: object -> string|object (widened: the old type is one of those allowed now)
    ~ t.d: integer|string -> boolean|string (values must be read in another way)
    ~ t.e: integer|string -> any (widened: anything is allowed now)
    ");
}

#[test]
fn several_changes_of_one_field_stay_together() {
    let before = "annual_rev decimal(12,2), id integer, zip integer, address object, address.street_nm string";
    let after =
        "annual_revenue decimal(12,2)!, id integer, zip string!, addresses object, addresses.street_name string!";
    insta::assert_snapshot!(changes(before, after), @r"
    ~ t.address -> addresses: object
    ~ t.addresses.street_nm -> addresses.street_name: string -> string!
    ~ t.annual_rev -> annual_revenue: decimal(12,2) -> decimal(12,2)!
    ~ t.zip: integer -> string (values must be read in another way)
    ~ t.zip: never null now
    ");
}

#[test]
fn a_rename_carries_its_retype() {
    let placed = |text: &str| {
        let mut catalog = catalog(text);
        for (place, field) in (0..).zip(text.split(", ")) {
            let path = field.rsplit_once(' ').unwrap().0.parse().unwrap();
            catalog.streams.values_mut().next().unwrap().fields.get_mut(&path).unwrap().place = Some(place);
        }
        catalog
    };
    let before = placed("id integer, name string, total_amt integer, city string, x date");
    let after = placed("id integer, name string, total_amount number!, city string, x date");
    let lines: String = compare(&before, &after).iter().map(|change| format!("{}\n", say(change))).collect();
    assert_eq!(lines, "~ t.total_amt -> total_amount: integer -> number! (widened: every integer is a number)\n");
}

#[test]
fn key_and_cursor_follow_a_rename_and_else_are_told() {
    let before = "account_id integer!, region string, changed_at timestamp; account_id; source_defined(changed_at)";
    let of =
        |after: &str| changes(before, &format!("account_no integer!, region string, changed_on timestamp; {after}"));
    insta::assert_snapshot!(of("account_no; source_defined(changed_on)"), @r"
    ~ t.account_id -> account_no: integer!
    ~ t.changed_at -> changed_on: timestamp
    ");
    insta::assert_snapshot!(of("account_no, region; source_defined"), @r"
    ~ t  key: [account_no] -> [account_no, region]
    ~ t  cursor: source_defined(changed_on) -> source_defined
    ~ t.account_id -> account_no: integer!
    ~ t.changed_at -> changed_on: timestamp
    ");
    insta::assert_snapshot!(changes(before, "account_id integer!, region string; region; none"), @r"
    ~ t  key: [account_id] -> [region]
    ! t  cursor: source_defined(changed_at) -> none
    - t.changed_at: timestamp
    ");
}
