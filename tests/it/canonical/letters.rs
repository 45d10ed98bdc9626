//! Dead letters that are mapped again: in order, once for each mapping, never an old value over a newer one.

use aam::canonical::{Replayed, replay};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

/// Maps `name` from this column.
fn by(column: &str) -> (MappingSpec, CompiledMapping) {
    mapping(&["id"], &[("name", column)], Some("gone"))
}

impl World {
    /// Only the dead letters.
    async fn replay(&self, mapping: &(MappingSpec, CompiledMapping), stream: &str) -> Replayed {
        self.replay_with(mapping, work_of(stream.parse().unwrap(), mapping)).await
    }

    async fn replay_with(&self, (spec, _): &(MappingSpec, CompiledMapping), stream: StreamWork<'_>) -> Replayed {
        let place = nowhere();
        let work = Work {
            lease: &self.lease,
            connection: &self.name,
            place: &place,
            catalog_version: 2,
            mapping: spec,
            streams: vec![stream],
        };
        replay(&self.registry, &self.clock, &work).await.unwrap()
    }

    async fn rows_of(&self, stream: &str, sql: &str) -> Vec<String> {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).bind(stream).fetch_all(&self.pool).await.unwrap()
    }

    /// Letters in their order, with the reason.
    async fn waiting(&self) -> String {
        let sql = "SELECT concat_ws(' ', raw_id, record_key, reason) FROM dead_letters WHERE stream = $1 ORDER BY seq";
        self.rows_of("accounts", sql).await.join("\n")
    }

    /// Every row of the tables that events and letters are in, with the transaction that wrote it.
    async fn written(&self) -> String {
        let mut all = Vec::new();
        for table in ["dead_letters", "canonical_streams", "canonical_heads", "landing_cursors", "mapping_registry"] {
            let sql = format!("SELECT '{table} ' || xmin::text || t::text FROM {table} t ORDER BY 1");
            all.extend(sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap());
        }
        all.join("\n")
    }
}

#[tokio::test]
async fn what_a_mended_mapping_maps_becomes_the_events_that_it_should_have_been() {
    let world = world().await;
    world.landing.land(
        "accounts",
        3,
        &[json!({"id": 1, "a": "A"}), json!({"id": 2, "b": "B"}), json!({"id": 2, "b": "C"})],
    );
    world.landing.land("accounts", 4, &[json!({"id": 3, "c": "D"})]);
    world.run(&by("a"), "accounts", None).await;
    assert_eq!(world.replay(&by("a"), "accounts").await, Replayed::default(), "the same mapping has said no already");

    assert_eq!(world.replay(&by("b"), "accounts").await, Replayed { letters: 3, events: 2, stay: 1 });
    insta::assert_snapshot!(world.events().await, @r#"
    accounts 1 upsert [1] data {"name":"A"} unknown {} from raw-0 of job 3
    accounts 2 upsert [2] data {"name":"B"} unknown {} from raw-1 of job 3
    accounts 3 upsert [2] data {"name":"C"} unknown {} from raw-2 of job 3
    "#);
    let event = world.registry.events(&EventFilter { limit: 1, ..EventFilter::default() }).await.unwrap().remove(0);
    assert_eq!(event.extracted_at, DateTime::from_timestamp(1_700_000_003, 0).unwrap(), "when the row was read");
    assert_eq!((event.lineage.catalog_version, event.lineage.mapping), (2, by("b").0.digest));

    // What stays says why by the new mapping, and is left alone until there is another.
    let (letters, _) = world.letters().await;
    assert_eq!((letters[0].raw_id.as_str(), &letters[0].mapping), ("raw-3", &by("b").0.digest));
    let before = world.written().await;
    assert_eq!(world.replay(&by("b"), "accounts").await, Replayed::default());
    assert_eq!(world.run(&by("b"), "accounts", None).await, Counts::default());
    assert_eq!(world.written().await, before, "nothing was written");
    assert_eq!(world.replay(&by("c"), "accounts").await, Replayed { letters: 1, events: 1, stay: 0 });
    assert_eq!(world.waiting().await, "");
}

#[tokio::test]
async fn a_letter_goes_with_the_next_mapped_row_of_its_record_though_that_makes_no_event() {
    let world = world().await;
    let row = |id: i64, name: Value| json!({"id": id, "a": name, "gone": false});
    world.landing.land("accounts", 1, &[row(1, json!("A")), row(2, json!("A"))]);
    // refused and overtaken within a page, and refused for later
    world.landing.land(
        "accounts",
        2,
        &[row(1, Value::Null), row(1, json!("A")), row(2, Value::Null), row(3, Value::Null)],
    );
    world.run(&by("a"), "accounts", None).await;
    insta::assert_snapshot!(world.waiting().await, @r"
    raw-4 [2] name: is required, and the record has no value for it
    raw-5 [3] name: is required, and the record has no value for it
    ");
    // unchanged, and deleted without ever having been there
    world.landing.land("accounts", 3, &[row(2, json!("A")), json!({"id": 3, "gone": true})]);
    assert_eq!(world.run(&by("a"), "accounts", None).await, Counts { rows: 2, ..Counts::default() });
    assert_eq!(world.waiting().await, "");
    assert_eq!(world.ids().await.len(), 2);
}

#[tokio::test]
async fn a_letter_from_before_a_rename_is_not_mapped_by_the_new_names() {
    let world = world().await;
    world.landing.land("accounts", 1, &[json!({"id": 1, "b": "B", "old_x": 5}), json!({"id": 2, "b": "B"})]);
    world.run(&by("a"), "accounts", None).await;
    // `old_x` is `x` by now: the first record would lose it, the second never had it
    let renamed = mapping(&["id"], &[("name", "b"), ("extras.x", "x")], None);
    assert_eq!(world.replay(&renamed, "accounts").await, Replayed { letters: 2, events: 1, stay: 1 });
    insta::assert_snapshot!(world.waiting().await, @"raw-0 [1] `x` was not carried yet when the row landed: `aam sync crm --refresh accounts` reads it again");
    assert_eq!(world.replay(&renamed, "accounts").await, Replayed::default());
}

#[tokio::test]
async fn letters_come_before_the_rows_that_landed_since() {
    let world = world().await;
    world.landing.land("accounts", 1, &[json!({"id": 1, "b": "old"})]);
    world.run(&by("a"), "accounts", None).await;
    world.landing.land("accounts", 2, &[json!({"id": 1, "b": "new"})]);
    world.run(&by("b"), "accounts", None).await;
    insta::assert_snapshot!(world.events().await, @r#"
    accounts 1 upsert [1] data {"name":"old"} unknown {} from raw-0 of job 1
    accounts 2 upsert [1] data {"name":"new"} unknown {} from raw-1 of job 2
    "#);
}

#[tokio::test]
async fn a_row_without_a_key_or_without_readable_json_is_mapped_again_too() {
    let world = world().await;
    let unreadable = json!(r#"{"id": 2, "b": "half \ud800"}"#);
    world.landing.land("accounts", 1, &[json!({"b": "A"}), unreadable, json!({"id": 3, "b": 1.10, "x": 1e300})]);
    world.run(&by("a"), "accounts", None).await;
    let keyless = mapping(&[], &[("name", "b")], None);
    assert_eq!(world.replay(&keyless, "accounts").await, Replayed { letters: 3, events: 1, stay: 2 });
    insta::assert_snapshot!(world.events().await, @r#"accounts 1 upsert raw-0 data {"name":"A"} unknown {} from raw-0 of job 1"#);
    insta::assert_snapshot!(world.waiting().await, @r"
    raw-1 the record is no JSON object: unexpected end of hex escape at line 1 column 28
    raw-2 name: `1.1` is no string
    ");
}

#[tokio::test]
async fn a_stream_that_was_read_whole_answers_all_letters_from_before() {
    let world = world().await;
    let bad = |id: Value| json!({"id": id, "b": "x"});
    // a record that is gone afterwards, one that comes again, one without a key
    world.landing.replace("accounts", 1, &[bad(json!(1)), bad(json!(2)), bad(Value::Null)]);
    world.run(&by("a"), "accounts", Some(1)).await;
    assert_eq!(world.letters().await.1, 3);
    // not all of it was read: nothing goes but what a newer row says
    world.landing.land("accounts", 2, &[json!({"id": 2, "a": "A"})]);
    world.run(&by("a"), "accounts", None).await;
    assert_eq!(world.letters().await.1, 2);
    world.landing.replace("accounts", 3, &[json!({"id": 2, "a": "A"}), bad(json!(4))]);
    world.run(&by("a"), "accounts", Some(3)).await;
    insta::assert_snapshot!(world.waiting().await, @"raw-5 [4] name: is required, and the record has no value for it");
    // nor does anything come back that is gone at the source
    world.run(&by("b"), "accounts", Some(3)).await;
    insta::assert_snapshot!(world.events().await, @r#"
    accounts 1 upsert [2] data {"name":"A"} unknown {} from raw-3 of job 2
    accounts 2 upsert [4] data {"name":"x"} unknown {} from raw-5 of job 3
    "#);
}

#[tokio::test]
async fn letters_from_before_they_kept_their_order_are_not_mapped_again() {
    let world = world().await;
    world.landing.land("accounts", 1, &[json!({"id": 1, "b": "A"}), json!({"id": 2, "b": "B"})]);
    world.run(&by("a"), "accounts", None).await;
    let old = "UPDATE dead_letters SET extracted_at = NULL, sync_id = NULL, mapping = NULL, refused_by = NULL";
    sqlx::query(old).execute(&world.pool).await.unwrap();
    assert_eq!(world.registry.refusals().await.unwrap().len(), 0);
    assert_eq!(world.replay(&by("b"), "accounts").await, Replayed::default());
    world.landing.land("accounts", 2, &[json!({"id": 2, "b": "C"})]);
    world.run(&by("b"), "accounts", None).await;
    insta::assert_snapshot!(world.waiting().await, @"raw-0 [1] name: is required, and the record has no value for it");
    assert_eq!(world.letters().await.0[0].mapping, "");
}

#[tokio::test]
async fn the_reason_says_what_became_of_the_field_and_what_brings_it() {
    let world = world().await;
    world.landing.land("accounts", 1, &[json!({"id": 1, "a": null}), json!({"id": null, "a": "A"})]);
    let gone = vec![("a".parse().unwrap(), "a4a9f7b7".to_owned()), ("id".parse().unwrap(), "a4a9f7b7".to_owned())];
    let old = by("a");
    let work = StreamWork { gone, ..work_of(StreamName::bare("accounts"), &old) };
    world.run_over(&world.landing, &nowhere(), &old, work).await.unwrap();
    insta::assert_snapshot!(world.waiting().await, @r"
    raw-0 [1] name: is required, and the record has no value for it
    `a` is gone at the source: drift a4a9f7b7. When its repair is in force, `aam sync crm --refresh accounts` reads the record again
    raw-1 key: the record has no single value in `id`
    `id` is gone at the source: drift a4a9f7b7. When its repair is in force, `aam sync crm --refresh accounts` reads the record again
    ");
    world.replay(&by("b"), "accounts").await;
    insta::assert_snapshot!(world.waiting().await, @r"
    raw-0 [1] name: is required, and the record has no value for it
    `b` was not carried yet when the row landed: `aam sync crm --refresh accounts` reads it again
    raw-1 key: the record has no single value in `id`
    name: is required, and the record has no value for it
    `b` was not carried yet when the row landed: `aam sync crm --refresh accounts` reads it again
    ");
}

#[tokio::test]
async fn many_letters_go_in_batches_and_keep_their_order() {
    let world = world().await;
    // the first version of each record is never mapped, the second is; they lie in different batches
    let row = |n: i64| if n < 3_000 { json!({"id": n % 3_000}) } else { json!({"id": n % 3_000, "b": n.to_string()}) };
    world.landing.land("accounts", 1, &(0..6_000).map(row).collect::<Vec<_>>());
    world.run(&by("a"), "accounts", None).await;
    assert_eq!(world.letters().await.1, 6_000);
    assert_eq!(world.replay(&by("b"), "accounts").await, Replayed { letters: 6_000, events: 3_000, stay: 1_000 });
    assert_eq!(world.letters().await.1, 0, "what stayed was overtaken by the second batch");
    let sql = "SELECT record_key || data::text FROM canonical_streams WHERE stream = $1 ORDER BY position";
    let expected: Vec<String> = (0..3_000).map(|n| format!("[{n}]{{\"name\": \"{}\"}}", n + 3_000)).collect();
    assert_eq!(world.rows_of("accounts", sql).await, expected);
}

// --- any order of rows, letters and mappings

const COLUMNS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Move {
    Land(Row),
    Normalize,
    /// Another mapping: `name` from that column.
    Mapping(usize),
    Replay,
}

/// A version of one of a few records. It has a value from the column `from` on, so that a later column maps all that an
/// earlier one does, and more.
#[derive(Debug, Clone)]
struct Row {
    id: u8,
    from: usize,
    gone: bool,
    /// The value of others, too, so that it may be no news.
    same: bool,
}

impl Row {
    fn name(&self, n: usize) -> String {
        if self.same { "same".to_owned() } else { format!("v{n}") }
    }

    fn landed(&self, n: usize) -> Value {
        let value = |column| if column >= self.from { json!(self.name(n)) } else { Value::Null };
        json!({"id": self.id, "a": value(0), "b": value(1), "c": value(2), "gone": self.gone})
    }

    fn is_mapped_by(&self, column: usize) -> bool {
        self.gone || column >= self.from
    }
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let row = (0..3_u8, 0..4_usize, prop::bool::weighted(0.15), prop::bool::weighted(0.2));
    let row = row.prop_map(|(id, from, gone, same)| Row { id, from, gone, same });
    let one = prop_oneof![
        6 => row.prop_map(Move::Land),
        3 => Just(Move::Normalize),
        2 => (0..COLUMNS.len()).prop_map(Move::Mapping),
        2 => Just(Move::Replay),
    ];
    prop::collection::vec(one, 1..30)
}

/// The newest row of each record that a mapping maps, among the first so many.
fn newest(rows: &[Row], column: usize) -> BTreeMap<u8, usize> {
    rows.iter().enumerate().filter(|(_, row)| row.is_mapped_by(column)).map(|(n, row)| (row.id, n)).collect()
}

/// `repairs`: mappings only change to one that maps more.
async fn play(world: &World, stream: &str, moves: Vec<Move>, repairs: bool) {
    let mappings = COLUMNS.map(by);
    let (mut rows, mut read, mut column) = (Vec::<Row>::new(), 0, 0);
    // a row once mapped stays mapped; what waits gives way to it, or comes after it
    let mut last: BTreeMap<u8, usize> = BTreeMap::new();
    for one in moves.into_iter().chain([Move::Normalize]) {
        match one {
            Move::Land(row) => {
                world.landing.land(stream, 1, &[row.landed(rows.len())]);
                rows.push(row);
                continue;
            }
            Move::Mapping(to) => {
                column = if repairs { column.max(to) } else { to };
                continue;
            }
            Move::Normalize => {
                read = rows.len();
                world.run(&mappings[column], stream, None).await;
            }
            Move::Replay => {
                world.replay(&mappings[column], stream).await;
            }
        }
        for (id, n) in newest(&rows[..read], column) {
            let held = last.entry(id).or_insert(n);
            *held = (*held).max(n);
        }
    }
    if repairs {
        assert_eq!(last, newest(&rows, column), "as if all had been mapped by the last mapping");
    }

    let sql = "SELECT concat_ws(' ', record_key, op, data ->> 'name', lineage ->> 'raw_id') FROM canonical_streams
               WHERE stream = $1 ORDER BY position";
    let mut stands: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for event in world.rows_of(stream, sql).await {
        let [key, op, name, raw_id] = event.split(' ').collect::<Vec<_>>()[..] else { panic!("{event}") };
        let n: usize = raw_id.strip_prefix("raw-").unwrap().parse().unwrap();
        let before = stands.insert(key.to_owned(), (format!("{op} {name}"), n));
        assert!(before.is_none_or(|(_, before)| before < n), "an older row after a newer one: {event}");
    }
    for id in 0..3 {
        let is = stands.get(&format!("[{id}]")).map(|(is, _)| is.clone()).filter(|is| is.starts_with("upsert"));
        let should = last.get(&id).filter(|n| !rows[**n].gone).map(|n| format!("upsert {}", rows[*n].name(*n)));
        assert_eq!(is, should, "record {id} of {rows:?}");
    }
    let waiting = rows.iter().enumerate().filter(|(n, row)| last.get(&row.id).is_none_or(|last| n > last));
    let waiting: Vec<String> = waiting.map(|(n, _)| format!("raw-{n}")).collect();
    let letters = world.rows_of(stream, "SELECT raw_id FROM dead_letters WHERE stream = $1 ORDER BY seq").await;
    assert_eq!(letters, waiting, "every row was mapped, was overtaken, or waits: {rows:?}");
}

#[test]
fn the_newest_row_that_was_ever_mapped_wins_whatever_the_order() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut world = runtime.block_on(world());
    world.landing.page = 3;
    let cases = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let played = TestRunner::new(config).run(&(moves(), any::<bool>()), |(moves, repairs)| {
        cases.set(cases.get() + 1);
        runtime.block_on(play(&world, &format!("s{}", cases.get()), moves, repairs));
        Ok(())
    });
    played.unwrap_or_else(|error| panic!("{error}"));
}
