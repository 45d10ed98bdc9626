//! Locks: whole, with a spec, with an id of their own; and they read back as they were written.

use std::collections::BTreeMap;

use aam::diag::render::{Theme, terminal};
use aam::model::{Catalog, ConnectionId, Cursor, Field, FieldPath, FieldType, Segment, Stream, StreamName, SyncMode};
use aam::spec::Lock;
use aam::spec::lock::{read, render, seal};
use proptest::prelude::*;

use super::{ID, Repo, WAREHOUSE, connection, lock_of};

#[test]
fn a_lock_must_be_whole_belong_to_a_spec_and_have_its_own_id() {
    let text = render(&lock_of(ID), "x");
    let odd = text.replace("total: decimal(10,2)", "total: decimal(12,2)");
    let wrong = text.replace("id: integer!", "id: interger!").replace("version: 1", "version: 0");
    let other = render(&lock_of("0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e12"), "x");
    let c = connection("");
    let repo = Repo::of(&[
        WAREHOUSE,
        ("connectors.d/a.yaml", &c),
        ("connectors.d/a.lock.yaml", &odd),
        ("connectors.d/b.yaml", &c),
        ("connectors.d/b.lock.yaml", &text),
        ("connectors.d/copy.yaml", &c),
        ("connectors.d/copy.lock.yaml", &text),
        ("connectors.d/gone.lock.yaml", &other),
        ("connectors.d/w.yaml", &c),
        ("connectors.d/w.lock.yaml", &wrong),
    ]);
    let resolution = repo.resolve();
    insta::assert_snapshot!(terminal(&resolution.diagnostics, Theme::PLAIN), @r#"
    error[AAM-L001]: the lock's body and its fingerprint differ
     --> connectors.d/a.lock.yaml:4:14
      |
    4 | fingerprint: s1:2b658ddc3966563508121a0fc3e246aa7a23057d0861ab47c25e60388ca77acb
      |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the body below has s1:31a82b15…
      = somebody edited or merged this file by hand; what the source is compared with is not what was approved
      = help: look at `git log -p` of this file, then `aam lock --seal a` if the body is right; `aam explain AAM-L001` has the background

    error[AAM-L003]: this lock has the id of `connectors.d/b.lock.yaml`
     --> connectors.d/copy.lock.yaml:2:1
      |
    2 | id: 0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11
      | ^^ one id, one connection
      = help: a copied connection must not keep the lock of the first: remove this lock, `aam` writes a new one; `aam explain AAM-L003` has the background

    warning[AAM-L004]: no connection is called `gone`, but it has a lock
     --> connectors.d/gone.lock.yaml
      = help: move the lock with its spec, or remove it; `aam explain AAM-L004` has the background

    error[AAM-L002]: the lock holds `0`: no version: a whole number from 1
     --> connectors.d/w.lock.yaml:3:10
      |
    3 | version: 0
      |          ^
      = help: take the file from an earlier commit: `git log -p` shows who changed it; `aam explain AAM-L002` has the background

    error[AAM-L002]: the lock holds `interger!`: `interger` is no field type; known are boolean, integer, number, decimal(p,s), string, string<format>, date, time, time_tz, timestamp, timestamp_tz, binary, object, array, map, any and unions a|b
      --> connectors.d/w.lock.yaml:12:11
       |
    12 |       id: interger!
       |           ^^^^^^^^^
       = help: take the file from an earlier commit: `git log -p` shows who changed it; `aam explain AAM-L002` has the background
    "#);
    // None of them may look like "not onboarded yet".
    let with_lock: Vec<_> =
        resolution.desired.connections.values().map(|c| (c.name.to_string(), c.lock.is_some())).collect();
    assert_eq!(with_lock, [("b".to_owned(), true)]);
    assert_eq!(resolution.desired.broken.len(), 3);

    let whole = seal("a.lock.yaml", &odd).unwrap();
    assert_eq!(whole.lines().count(), odd.lines().count());
    assert_eq!(whole.lines().zip(odd.lines()).filter(|(a, b)| a != b).count(), 1);
    assert_eq!(
        read("a.lock.yaml", &whole).unwrap().catalog.fingerprint(),
        read("a.lock.yaml", &whole).unwrap().fingerprint
    );
}

fn names() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "null",
        "~",
        "NO",
        "true",
        "yes",
        "0x1f",
        "1e400",
        "12:30:45",
        "2026-01-01",
        "<<",
        "*x",
        "&x",
        "!!t",
        "- a",
        "a: b",
        "a #b",
        "---",
        "...",
        "{{ x }}",
        "'",
        "\"",
        "\\",
        "\n",
        "a\r\nb",
        "[]",
        "a.b",
        "tags[]",
        "%",
        "@x",
        "`",
        "|",
        ">",
        "?",
        "é",
        "\u{2028}",
        "\u{feff}",
        "\u{202e}",
        "😀",
        " a ",
        "\u{0}",
        "\u{85}",
        "\u{fffe}",
    ]);
    prop_oneof![odd.prop_map(str::to_owned), "[a-z]{1,6}", ".{1,8}"]
}

prop_compose! {
    fn streams()(
        namespace in prop::option::of(names()),
        name in names(),
        fields in prop::collection::btree_map((names(), prop::option::of(names()), any::<bool>()), (0..8usize, any::<bool>()), 0..6),
        any_cursor in any::<bool>(),
    ) -> (StreamName, Stream) {
        let types = ["integer", "string", "decimal(40,2)", "string<uuid>", "integer|string", "object", "any", "timestamp_tz"];
        let field = |((name, inner, items), (ty, nullable)): ((String, Option<String>, bool), (usize, bool))| {
            let mut path = FieldPath::top(name);
            if items { path = path.child(Segment::Items); }
            if let Some(inner) = inner { path = path.child(Segment::Name(inner)); }
            (path, Field::new(types[ty].parse::<FieldType>().unwrap(), nullable))
        };
        let fields: BTreeMap<FieldPath, Field> = fields.into_iter().map(field).collect();
        let first = fields.keys().next().cloned();
        let stream = Stream {
            key: first.iter().cloned().collect(),
            cursor: if any_cursor { Cursor::Any(first) } else { Cursor::SourceDefined(None) },
            modes: [SyncMode::FullRefresh].into(),
            fields,
        };
        (StreamName { namespace, name }, stream)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_lock_reads_back_as_it_was_written(streams in prop::collection::btree_map(names(), streams(), 0..4), version in 1..u32::MAX) {
        let catalog = Catalog { streams: streams.into_values().collect() };
        let lock = Lock { id: ConnectionId(ID.parse().unwrap()), version, fingerprint: catalog.fingerprint(), catalog };
        let text = render(&lock, "crm");
        prop_assert_eq!(read("crm.lock.yaml", &text), Ok(lock));
    }

    #[test]
    fn any_bytes_end_in_diagnostics_with_valid_places(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_places(&bytes)?;
    }

    #[test]
    fn any_cut_or_splice_of_a_spec_ends_in_diagnostics_with_valid_places(
        cut in 0..2000usize, splice in "[\\[\\]{}:,&*!|>'\"%@`#\\-\\t\\n a-zé\u{2028}]{0,12}",
    ) {
        let mut text = include_str!("../../../connectors.d/crm.yaml").to_owned();
        let at = (0..=cut.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap();
        check_places(&text.as_bytes()[..at])?;
        text.insert_str(at, &splice);
        check_places(text.as_bytes())?;
    }
}

fn check_places(bytes: &[u8]) -> Result<(), TestCaseError> {
    for path in [
        "connectors.d/x.yaml",
        "connectors.d/x.lock.yaml",
        "mappings/x.yaml",
        "mappings/entities/x.yaml",
        "drift/default/x/rejected.yaml",
    ] {
        let resolution = Repo::of(&[WAREHOUSE]).with(path, bytes).resolve();
        for d in &resolution.diagnostics {
            let place = d.place.as_ref().expect("every problem of a file has a place");
            if place.line > 0 {
                prop_assert!(place.column > 0 && place.width > 0);
                let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
                let line = text.split('\n').nth(place.line as usize - 1).map(str::to_owned);
                let line = line.expect("the line is in the file");
                let shown = place.text.replace("***", "");
                prop_assert!(
                    place.text.contains("***") || line.trim_start_matches('\u{feff}').starts_with(shown.trim_end()),
                    "{line:?} {place:?}"
                );
            }
            prop_assert!(aam::diag::codes::all().any(|c| c.code == d.code), "{} is not explained", d.code);
        }
        terminal(&resolution.diagnostics, Theme::COLOR);
    }
    Ok(())
}
