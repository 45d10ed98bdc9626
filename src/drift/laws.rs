//! Laws of [`super::compare`] and [`super::apply`] over random catalogs, whole and broken ones.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::compare::cursor_field;
use super::grade::permits;
use super::{Change, apply, compare};
use crate::model::{Catalog, ConnectionId, Cursor, Field, FieldPath, FieldType, Segment, Stream, StreamName, SyncMode};
use crate::spec::{Lock, lock};

fn segment() -> impl Strategy<Value = Segment> {
    let names = select(vec!["id", "name", "full_name", "fullName", "addr", "address", "a.b", "x y", "qty", "Qty"]);
    prop_oneof![8 => names.prop_map(|n| Segment::Name(n.to_owned())), 1 => Just(Segment::Items), 1 => Just(Segment::Values)]
}

fn path() -> impl Strategy<Value = FieldPath> {
    prop::collection::vec(segment(), 1..4).prop_filter_map("begins with a name", FieldPath::from_segments)
}

fn ty() -> impl Strategy<Value = FieldType> {
    let types = ["integer", "number", "string", "string<uuid>", "object", "array", "map", "any", "object|string"];
    select(types.to_vec()).prop_map(|t| t.parse().unwrap())
}

/// Any fields at all, also `a.b` without `a`.
fn stream() -> impl Strategy<Value = Stream> {
    let fields = prop::collection::btree_map(path(), (ty(), any::<bool>()), 0..9);
    (fields, any::<[Index; 3]>(), any::<[bool; 4]>()).prop_map(|(fields, at, flags)| {
        let fields: BTreeMap<FieldPath, Field> =
            fields.into_iter().map(|(path, (ty, nullable))| (path, Field::new(ty, nullable))).collect();
        let paths: Vec<FieldPath> = fields.keys().cloned().collect();
        let pick = |at: Index| (!paths.is_empty()).then(|| at.get(&paths).clone());
        let cursor = match (flags[0], flags[1]) {
            (true, true) => Cursor::Any(pick(at[0])),
            (true, false) => Cursor::SourceDefined(pick(at[0])),
            _ => Cursor::None,
        };
        let key = if flags[2] { [pick(at[1]), pick(at[2])].into_iter().flatten().collect() } else { Vec::new() };
        let modes = if flags[3] { [SyncMode::FullRefresh].into() } else { [SyncMode::Incremental].into() };
        Stream { key, cursor, modes, fields }
    })
}

/// With every parent there and of a type that can hold what lies in it.
fn whole(mut stream: Stream) -> Stream {
    for path in stream.fields.keys().cloned().collect::<Vec<_>>() {
        let mut inner = path;
        while let Some(parent) = inner.parent() {
            let segment = inner.segments().last().unwrap().clone();
            let field = stream.fields.entry(parent.clone()).or_insert(Field::new(FieldType::Any, true));
            if !permits(&field.ty, &segment) {
                field.ty = FieldType::Any;
            }
            inner = parent;
        }
    }
    stream
}

fn catalog(stream: impl Strategy<Value = Stream>) -> impl Strategy<Value = Catalog> {
    prop::collection::btree_map(select(vec!["a", "b"]).prop_map(StreamName::bare), stream, 0..3)
        .prop_map(|streams| Catalog { streams })
}

/// Two catalogs that have nothing to do with each other, or one and its streams in another namespace, a field less in each.
fn pair<S: Strategy<Value = Stream>>(stream: fn() -> S) -> impl Strategy<Value = (Catalog, Catalog)> {
    let moved = (catalog(stream()), any::<Index>(), any::<bool>()).prop_map(|(before, at, drops)| {
        let to = |name: &StreamName| StreamName::within("n", &name.name);
        let streams = before.streams.iter().map(|(name, stream)| (to(name), without(stream.clone(), at, drops)));
        let after = Catalog { streams: streams.collect() };
        (before, after)
    });
    prop_oneof![2 => (catalog(stream()), catalog(stream())), 1 => moved]
}

fn without(mut stream: Stream, at: Index, drops: bool) -> Stream {
    let paths: Vec<FieldPath> = stream.fields.keys().cloned().collect();
    let gone = (drops && !paths.is_empty()).then(|| at.get(&paths).clone());
    if let Some(gone) = gone {
        stream.fields.retain(|path, _| !path.is_within(&gone));
        stream.key.retain(|path| !path.is_within(&gone));
        if cursor_field(&stream.cursor).is_some_and(|path| path.is_within(&gone)) {
            stream.cursor = Cursor::None;
        }
    }
    stream
}

fn whole_stream() -> impl Strategy<Value = Stream> {
    stream().prop_map(whole)
}

fn holds_together(catalog: &Catalog) -> Result<(), String> {
    for stream in catalog.streams.values() {
        for path in stream.fields.keys() {
            let Some(parent) = path.parent() else { continue };
            let segment = path.segments().last().unwrap();
            match stream.fields.get(&parent) {
                None => return Err(format!("{path} lies in a field that is not there")),
                Some(field) if !permits(&field.ty, segment) => return Err(format!("{path} lies in a {}", field.ty)),
                Some(_) => {}
            }
        }
        let named = cursor_field(&stream.cursor);
        if let Some(path) = stream.key.iter().chain(named).find(|path| !stream.fields.contains_key(path)) {
            return Err(format!("key or cursor {path} is no field"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn all_changes_lead_to_what_was_observed((a, b) in pair(stream)) {
        let changes = compare(&a, &b);
        prop_assert_eq!(apply(&a, &changes, &b).fingerprint(), b.fingerprint(), "{:#?}", changes);
        prop_assert_eq!(changes.is_empty(), a.fingerprint() == b.fingerprint());
        let reversed: Vec<Change> = changes.into_iter().rev().collect();
        prop_assert_eq!(apply(&a, &reversed, &b).fingerprint(), b.fingerprint());
    }

    #[test]
    fn what_an_older_algorithm_sealed_is_no_drift_by_the_new_one((a, b) in pair(whole_stream)) {
        let (old, new) = (a.old_fingerprint(), a.fingerprint());
        prop_assert_ne!(&old, &new);
        // A stored catalog with the fingerprint that it got then, read and compared now.
        let stored = Lock { id: ConnectionId(uuid::Uuid::nil()), version: 1, fingerprint: old.clone(), catalog: a.clone() };
        let read = lock::read("a.lock.yaml", &lock::render(&stored, "a")).unwrap();
        prop_assert_eq!(&read.fingerprint, &old);
        prop_assert!(read.fingerprint.is_of(&a) && compare(&read.catalog, &a).is_empty());
        prop_assert_eq!(read.fingerprint.is_of(&b), new.is_of(&b));
    }

    #[test]
    fn some_changes_lead_to_a_catalog_that_holds_together((a, b) in pair(whole_stream), mask in any::<u64>()) {
        let mut changes = compare(&a, &b);
        let mut at = 0;
        changes.retain(|_| { at += 1; mask >> (at % 64) & 1 == 1 });
        let some = apply(&a, &changes, &b);
        prop_assert_eq!(holds_together(&some), Ok(()), "{:#?}", changes);
        // What was left out is still to be done, and then it is done.
        let rest = compare(&some, &b);
        prop_assert_eq!(apply(&some, &rest, &b).fingerprint(), b.fingerprint());
    }

    #[test]
    fn a_stream_that_only_moved_is_renamed_and_nothing_else(a in catalog(whole_stream())) {
        let moved = a.streams.iter().map(|(name, stream)| (StreamName::within("n", &name.name), stream.clone()));
        let changes = compare(&a, &Catalog { streams: moved.collect() });
        // A stream without fields has nothing that could be recognized.
        let renamed = a.streams.values().filter(|stream| !stream.fields.is_empty()).count();
        let told = changes.iter().filter(|change| matches!(change, Change::StreamRenamed { .. })).count();
        prop_assert!(told == renamed && changes.len() == renamed + 2 * (a.streams.len() - renamed), "{:#?}", changes);
    }

    #[test]
    fn comparing_with_itself_gives_nothing(a in catalog(stream())) {
        prop_assert_eq!(compare(&a, &a), vec![]);
    }
}
