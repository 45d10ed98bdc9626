//! Choices of streams, modes, cursors, keys and fields.

use aam::model::{Catalog, FieldPath};
use aam::spec::lock::render;

use super::{ID, Repo, WAREHOUSE, brief, check, connection, lock_of};

#[test]
fn choices_are_checked_against_the_lock() {
    let spec = connection("streams:\n  orders:\n    cursor: updatd_at\n    key: [id, nmber]\n  orderz: {}\n");
    let files =
        [WAREHOUSE, ("connectors.d/shop.yaml", &spec), ("connectors.d/shop.lock.yaml", &render(&lock_of(ID), "shop"))];
    insta::assert_snapshot!(check(&files), @r#"
    error[AAM-S014]: stream `orders` uses a cursor field that it does not carry
     --> connectors.d/shop.yaml:6:13
      |
    6 |     cursor: updatd_at
      |             ^^^^^^^^^ no such field in `orders`
      = in the lock: customer_id, id, total, updated_at (catalog 2b658ddc)
      = help: did you mean `updated_at`? `aam explain AAM-S014` has the background

    error[AAM-S014]: stream `orders` uses a key field that it does not carry
     --> connectors.d/shop.yaml:7:15
      |
    7 |     key: [id, nmber]
      |               ^^^^^ no such field in `orders`
      = in the lock: customer_id, id, total, updated_at (catalog 2b658ddc)
      = help: `aam explain AAM-S014` has the background

    warning[AAM-S016]: the lock has no stream `orderz`
     --> connectors.d/shop.yaml:8:3
      |
    8 |   orderz: {}
      |   ^^^^^^
      = new here? `aam lock shop` looks at the source and adds it
      = in the lock: public/orders (catalog 2b658ddc)
      = help: did you mean `orders`? `aam explain AAM-S016` has the background
    "#);
}

/// A source with two streams called `orders`, one of them with everything that can be chosen.
fn shop() -> Catalog {
    Catalog::from_body(&serde_json::json!({
        "public/orders": {"key": ["id"], "cursor": "any(updated_at)", "modes": ["full_refresh", "incremental"],
            "fields": {"id": "integer!", "updated_at": "timestamp_tz", "address": "object", "address.city": "string", "ssn": "string"}},
        "old/orders": {"modes": ["full_refresh"], "fields": {"id": "integer"}},
        "public/log": {"cursor": "source_defined", "modes": ["full_refresh", "incremental"], "fields": {"line": "string"}}
    }))
    .unwrap()
}

/// The connection that these lines make.
fn shop_connection(streams: &str) -> aam::spec::Connection {
    let mut resolution = Repo::of(&[WAREHOUSE, ("connectors.d/shop.yaml", &connection(streams))]).resolve();
    assert!(resolution.diagnostics.is_empty(), "{}", brief(&resolution.diagnostics));
    resolution.desired.connections.pop_first().unwrap().1
}

/// Mode, cursor, key and fields of every stream, or the problems.
fn configured(streams: &str) -> String {
    configured_with(streams, &shop())
}

fn configured_with(streams: &str, lock: &Catalog) -> String {
    let connection = shop_connection(streams);
    match aam::spec::configure(&connection, lock) {
        Ok(plans) => plans
            .iter()
            .map(|p| {
                let names =
                    |paths: Vec<&FieldPath>| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                let cursor = p.cursor.as_ref().map(ToString::to_string).unwrap_or_default();
                let fields = names(p.schema.fields.keys().collect());
                format!("{} {:?} cursor({cursor}) key({}) {fields}\n", p.name, p.mode, names(p.key.iter().collect()))
            })
            .collect(),
        Err(problems) => problems.iter().map(|p| format!("{} {} {p}\n", p.stream, p.at)).collect(),
    }
}

#[test]
fn every_stream_gets_the_best_mode_that_was_not_chosen_otherwise() {
    let all = [
        "",
        "streams: [log, old/orders]\n",
        "streams: {public/orders: {cursor: updated_at, fields: {exclude: [ssn, address]}}}\n",
        "streams: {public/orders: {mode: incremental_append, key: [id, ssn]}, log: {mode: full_refresh_append}}\n",
        "streams: {public/orders: {fields: {include: [id, address]}}, soon: {}}\n",
        "streams: {orders: {}}\n",
        "streams: {old/orders: {mode: incremental_append}, log: {mode: incremental_append_dedup, cursor: line}}\n",
        "streams: {public/orders: {cursor: updated_at, fields: {exclude: [id]}}}\n",
        "streams: {public/orders: {key: [ssn], cursor: updated_at, fields: {exclude: [ssn, updated_at]}}}\n",
    ];
    let shown: String = all.map(|streams| format!("[{}]\n{}", streams.trim(), configured(streams))).concat();
    insta::assert_snapshot!(shown, @r#"
    []
    old/orders FullRefreshOverwrite cursor() key() id
    public/log IncrementalAppend cursor() key() line
    public/orders FullRefreshOverwrite cursor() key(id) address,address.city,id,ssn,updated_at
    [streams: [log, old/orders]]
    old/orders FullRefreshOverwrite cursor() key() id
    public/log IncrementalAppend cursor() key() line
    [streams: {public/orders: {cursor: updated_at, fields: {exclude: [ssn, address]}}}]
    public/orders IncrementalAppendDedup cursor(updated_at) key(id) id,updated_at
    [streams: {public/orders: {mode: incremental_append, key: [id, ssn]}, log: {mode: full_refresh_append}}]
    public/log FullRefreshAppend cursor() key() line
    public/orders IncrementalAppend cursor(updated_at) key(id,ssn) address,address.city,id,ssn,updated_at
    [streams: {public/orders: {fields: {include: [id, address]}}, soon: {}}]
    public/orders FullRefreshOverwrite cursor() key(id) address,address.city,id
    [streams: {orders: {}}]
    orders  several streams are called `orders`
    [streams: {old/orders: {mode: incremental_append}, log: {mode: incremental_append_dedup, cursor: line}}]
    log cursor stream `log` keeps its own cursor
    log mode stream `log` has no key to keep the newest row of
    old/orders mode the source cannot read stream `old/orders` by incremental
    [streams: {public/orders: {cursor: updated_at, fields: {exclude: [id]}}}]
    public/orders IncrementalAppend cursor(updated_at) key() address,address.city,ssn,updated_at
    [streams: {public/orders: {key: [ssn], cursor: updated_at, fields: {exclude: [ssn, updated_at]}}}]
    public/orders key stream `public/orders` uses a key field that it does not carry
    public/orders cursor stream `public/orders` uses a cursor field that it does not carry
    "#);
}

#[test]
fn a_cursor_or_key_inside_another_field_is_left_alone_unless_it_is_chosen() {
    let lock = Catalog::from_body(&serde_json::json!({
        "events": {"key": ["id"], "cursor": "source_defined(meta.at)", "modes": ["full_refresh", "incremental"],
            "fields": {"id": "integer!", "meta": "object", "meta.at": "timestamp_tz"}},
        "tags": {"key": ["owner.id"], "cursor": "source_defined(at)", "modes": ["full_refresh", "incremental"],
            "fields": {"at": "timestamp_tz", "owner": "object", "owner.id": "integer"}},
        "notes": {"cursor": "any(meta.at)", "modes": ["full_refresh", "incremental"],
            "fields": {"meta": "object", "meta.at": "timestamp_tz"}}
    }))
    .unwrap();
    let all = [
        "",
        "streams: {events: {mode: full_refresh_append}, tags: {mode: incremental_append, key: [owner.id]}}\n",
        "streams: {events: {mode: incremental_append}, tags: {mode: incremental_append_dedup}}\n",
        "streams: {events: {cursor: meta.at}, tags: {key: [owner.id]}, notes: {cursor: meta.at}}\n",
        "streams: {notes: {mode: incremental_append}}\n",
    ];
    let shown: String =
        all.map(|streams| format!("[{}]\n{}", streams.trim(), configured_with(streams, &lock))).concat();
    insta::assert_snapshot!(shown, @r"
    []
    events FullRefreshOverwrite cursor() key(id) id,meta,meta.at
    notes FullRefreshOverwrite cursor() key() meta,meta.at
    tags IncrementalAppend cursor(at) key(owner.id) at,owner,owner.id
    [streams: {events: {mode: full_refresh_append}, tags: {mode: incremental_append, key: [owner.id]}}]
    events FullRefreshAppend cursor() key(id) id,meta,meta.at
    tags IncrementalAppend cursor(at) key(owner.id) at,owner,owner.id
    [streams: {events: {mode: incremental_append}, tags: {mode: incremental_append_dedup}}]
    events mode the cursor `meta.at` of stream `events` lies inside another field, and rows land by columns
    tags mode the key `owner.id` of stream `tags` lies inside another field, and rows land by columns
    [streams: {events: {cursor: meta.at}, tags: {key: [owner.id]}, notes: {cursor: meta.at}}]
    events cursor the cursor `meta.at` of stream `events` lies inside another field, and rows land by columns
    notes cursor the cursor `meta.at` of stream `notes` lies inside another field, and rows land by columns
    tags key the key `owner.id` of stream `tags` lies inside another field, and rows land by columns
    [streams: {notes: {mode: incremental_append}}]
    notes mode the cursor `meta.at` of stream `notes` lies inside another field, and rows land by columns
    ");
}

#[test]
fn selecting_is_strict_for_people_and_lenient_for_looks() {
    let connection = shop_connection("streams: {log: {fields: {exclude: [lien]}}, public/order: {}, orders: {}}\n");
    let problems = aam::spec::select(&shop(), &connection.streams).unwrap_err();
    let shown: String = problems
        .iter()
        .map(|p| format!("{p} ({})\n", p.help.clone().or(p.observed.clone()).unwrap_or_default()))
        .collect();
    insta::assert_snapshot!(shown, @r#"
    stream `log` has no field `lien` (did you mean `line`?)
    several streams are called `orders` (write one of old/orders, public/orders)
    the source has no stream `public/order` (did you mean `public/orders`?)
    "#);
    let present = aam::spec::select_present(&shop(), &connection.streams);
    assert_eq!(present.streams.keys().map(ToString::to_string).collect::<Vec<_>>(), ["public/log"]);
    assert_eq!(aam::spec::select(&shop(), &aam::spec::Selection::All), Ok(shop()));
}
