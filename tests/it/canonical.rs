//! Landing to canonical events: the pipeline over a fake landing, with the real store in PostgreSQL.

mod letters;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use aam::canonical::{Counts, StreamWork, Summary, Work, normalize};
use aam::mapping::{CompiledMapping, compile};
use aam::model::{ConnectionId, ConnectionRef, RepoPath, StreamName};
use aam::ports::{
    Cause, Clock, DeadLetter, EndpointHandle, EngineError, EventBatch, EventFilter, EventStore, LandedStream, Landing,
    LandingCursor, LandingPage, LandingPlace, LandingRow, Lease, Registry, RegistryError, ResolvedConfig,
};
use aam::registry::PgRegistry;
use aam::spec::{At, EntityField, EntityMapping, EntitySpec, FieldMapping, MappingRule, MappingSpec, Namespace};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database;

// --- the world: landing as lists of rows, a clock that goes a second per look

#[derive(Default)]
struct FakeLanding {
    streams: Mutex<BTreeMap<StreamName, Vec<(i64, Value)>>>,
    /// Rows per page; 0: as many as asked for.
    page: usize,
    /// After so many reads the reader never answers: what is under way then can only be dropped.
    hangs_after: Mutex<Option<usize>>,
}

impl FakeLanding {
    fn land(&self, stream: &str, job: i64, rows: &[Value]) {
        let rows = rows.iter().map(|row| (job, row.clone()));
        self.streams.lock().unwrap().entry(stream.parse().unwrap()).or_default().extend(rows);
    }

    /// A sync that replaces the table.
    fn replace(&self, stream: &str, job: i64, rows: &[Value]) {
        let mut streams = self.streams.lock().unwrap();
        let table = streams.entry(stream.parse().unwrap()).or_default();
        // what was there before stays readable for cursors by position, but is no row of the table any more
        table.iter_mut().for_each(|(_, row)| *row = Value::Null);
        table.extend(rows.iter().map(|row| (job, row.clone())));
    }
}

#[async_trait]
impl Landing for FakeLanding {
    async fn read(
        &self,
        _: &LandingPlace,
        stream: LandedStream<'_>,
        after: Option<&LandingCursor>,
        limit: u32,
    ) -> Result<LandingPage, EngineError> {
        let hang = match self.hangs_after.lock().unwrap().as_mut() {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if hang {
            std::future::pending::<()>().await;
        }
        let start = after.map_or(0, |c| c.0.as_u64().unwrap()) as usize;
        let streams = self.streams.lock().unwrap();
        let all = streams.get(stream.name).map_or(&[][..], Vec::as_slice);
        let limit = if self.page == 0 { limit as usize } else { self.page };
        let end = all.len().min(start + limit);
        let rows = all[start..end].iter().enumerate().filter(|(_, (_, row))| !row.is_null());
        let rows = rows.map(|(n, (job, row))| LandingRow {
            raw_id: format!("raw-{}", start + n),
            extracted_at: DateTime::from_timestamp(1_700_000_000 + *job, 0).unwrap(),
            sync_id: *job,
            // a text is the row's JSON as it is
            data: serde_json::value::RawValue::from_string(match row {
                Value::String(text) => text.clone(),
                row => row.to_string(),
            })
            .unwrap(),
        });
        Ok(LandingPage { rows: rows.collect(), next: LandingCursor(json!(end)), done: end == all.len() })
    }

    async fn keys(&self, _: &LandingPlace, stream: LandedStream<'_>) -> Result<Vec<Vec<Value>>, EngineError> {
        let streams = self.streams.lock().unwrap();
        let rows = streams.get(stream.name).into_iter().flatten().filter(|(_, row)| row.is_object());
        Ok(rows.map(|(_, row)| stream.key.iter().map(|k| row[k.root()].clone()).collect()).collect())
    }
}

struct FakeClock(Mutex<DateTime<Utc>>);

impl Clock for FakeClock {
    fn now(&self) -> DateTime<Utc> {
        let mut now = self.0.lock().unwrap();
        *now += TimeDelta::seconds(1);
        *now
    }
}

pub struct World {
    registry: PgRegistry,
    landing: FakeLanding,
    clock: FakeClock,
    lease: Lease,
    name: ConnectionRef,
    pool: sqlx::PgPool,
}

pub async fn world() -> World {
    let options = database().await;
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect_with(options.clone()).await.unwrap();
    let registry = PgRegistry::open(options).await.unwrap();
    let name: ConnectionRef = "crm".parse().unwrap();
    let id = ConnectionId(Uuid::from_u128(7));
    let lease = registry.lease(&name.tenant, id, "test", Duration::from_secs(600)).await.unwrap().unwrap();
    let cause = Cause { actor: "test".into(), summary: "test".into(), detail: Value::Null };
    registry.declare(&lease, &name, &cause).await.unwrap();
    let start = DateTime::parse_from_rfc3339("2026-11-21T10:00:00Z").unwrap().to_utc();
    World { registry, landing: FakeLanding::default(), clock: FakeClock(Mutex::new(start)), lease, name, pool }
}

fn at<T>(value: T) -> At<T> {
    At { value, line: 1, column: 1, span: 0..0 }
}

/// A mapping of `accounts` to the entity account: `fields` as `canonical=source`.
pub fn mapping(key: &[&str], fields: &[(&str, &str)], deleted_when: Option<&str>) -> (MappingSpec, CompiledMapping) {
    let entry = EntityMapping {
        entity: at("account".into()),
        stream: at(StreamName::bare("accounts")),
        key: key.iter().map(|k| at(k.parse().unwrap())).collect(),
        fields: fields
            .iter()
            .map(|(to, from)| FieldMapping {
                target: at((*to).into()),
                rule: MappingRule::Path(at(from.parse().unwrap())),
            })
            .collect(),
        deleted_when: deleted_when.map(|e| at(e.into())),
    };
    let field = |ty: &str, required| EntityField { ty: ty.into(), required, pii: false, description: None };
    let entity = EntitySpec {
        name: "account".into(),
        path: RepoPath::new("mappings/entities/account.yaml").unwrap(),
        fields: [("name", field("string", true)), ("revenue", field("decimal", false))]
            .map(|(n, f)| (n.into(), f))
            .into(),
    };
    let digest = format!("{fields:?}");
    let spec = MappingSpec {
        name: "crm".into(),
        path: RepoPath::new("mappings/crm.yaml").unwrap(),
        text: "kind: mapping\n".into(),
        digest,
        system: "crm".into(),
        entities: vec![entry],
    };
    let compiled = compile(&spec, &spec.entities[0], &entity, None).unwrap();
    (spec, compiled)
}

/// A place that [`FakeLanding`] does not look at.
fn nowhere() -> LandingPlace {
    let destination = EndpointHandle {
        id: None,
        name: "warehouse".into(),
        tenant: Default::default(),
        airbyte: Default::default(),
        connector: "postgres".into(),
        config: ResolvedConfig::new(Value::Null, Vec::new(), String::new()),
    };
    LandingPlace { destination, namespace: Namespace::default(), prefix: String::new(), streams: Vec::new() }
}

/// What is to be done for a stream with this mapping; nothing is known to have been read whole.
pub fn work_of(stream: StreamName, mapping: &(MappingSpec, CompiledMapping)) -> StreamWork<'_> {
    let fields = ["id", "name", "a", "b", "c", "x", "gone"].map(str::to_owned).to_vec();
    let gone = Vec::new();
    StreamWork { stream, fields, mapping: &mapping.1, replaced_by: None, reread_by: None, gone, undecided: Vec::new() }
}

impl World {
    async fn run(&self, mapping: &(MappingSpec, CompiledMapping), stream: &str, replaced_by: Option<i64>) -> Counts {
        self.try_run(mapping, stream, replaced_by).await.unwrap().total()
    }

    /// Over another landing.
    pub async fn run_over(
        &self,
        landing: &dyn Landing,
        place: &LandingPlace,
        (spec, _): &(MappingSpec, CompiledMapping),
        stream: StreamWork<'_>,
    ) -> Result<Summary, aam::canonical::CanonicalError> {
        let work = Work {
            lease: &self.lease,
            connection: &self.name,
            place,
            catalog_version: 1,
            mapping: spec,
            streams: vec![stream],
        };
        normalize(landing, &self.registry, &self.clock, &work, &|_| {}).await
    }

    async fn try_run(
        &self,
        mapping: &(MappingSpec, CompiledMapping),
        stream: &str,
        replaced_by: Option<i64>,
    ) -> Result<Summary, aam::canonical::CanonicalError> {
        let stream = StreamWork { replaced_by, reread_by: replaced_by, ..work_of(stream.parse().unwrap(), mapping) };
        self.run_over(&self.landing, &nowhere(), mapping, stream).await
    }

    /// The events, one per line, as a person would check them.
    pub async fn events(&self) -> String {
        let events = self.registry.events(&EventFilter { limit: 1000, ..EventFilter::default() }).await.unwrap();
        let line = |e: &aam::ports::CanonicalEvent| {
            assert_eq!(e.id, e.id_at(e.position));
            let op = serde_json::to_value(e.op).unwrap();
            let op = op.as_str().unwrap();
            format!(
                "{} {} {op} {} data {} unknown {} from {} of job {}\n",
                e.stream, e.position, e.record_key, e.data, e.unknown_fields, e.lineage.raw_id, e.lineage.sync_id
            )
        };
        events.iter().map(line).collect()
    }

    async fn ids(&self) -> Vec<Uuid> {
        let events = self.registry.events(&EventFilter { limit: 1000, ..EventFilter::default() }).await.unwrap();
        events.iter().map(|e| e.id).collect()
    }

    async fn letters(&self) -> (Vec<DeadLetter>, u64) {
        self.registry.dead_letters(self.lease.connection, 100).await.unwrap()
    }
}

const PLAIN: &[(&str, &str)] = &[("name", "name"), ("revenue", "rev")];

#[tokio::test]
async fn a_record_that_goes_from_a_to_b_and_back_gives_three_events() {
    let world = world().await;
    let mapping = mapping(&["id"], PLAIN, None);
    let row = |name: &str, rev: Value| json!({"id": 1, "name": name, "rev": rev, "note": "n"});
    // within one page, and with a change that is none: 10.50 is 10.5
    world.landing.land(
        "accounts",
        1,
        &[row("A", json!("10.50")), row("A", json!("10.5")), row("B", json!(1)), row("A", json!("10.5"))],
    );
    assert_eq!(
        world.run(&mapping, "accounts", None).await,
        Counts { rows: 4, upserts: 3, deletes: 0, dead_letters: 0 }
    );
    // and across pages: unchanged gives none
    world.landing.land("accounts", 2, &[row("A", json!("10.5")), json!({"id": 2, "name": "Z"})]);
    world.run(&mapping, "accounts", None).await;
    insta::assert_snapshot!(world.events().await, @r#"
    accounts 1 upsert [1] data {"name":"A","revenue":"10.5"} unknown {"note":"n"} from raw-0 of job 1
    accounts 2 upsert [1] data {"name":"B","revenue":"1"} unknown {"note":"n"} from raw-2 of job 1
    accounts 3 upsert [1] data {"name":"A","revenue":"10.5"} unknown {"note":"n"} from raw-3 of job 1
    accounts 4 upsert [2] data {"name":"Z"} unknown {} from raw-5 of job 2
    "#);
    assert_eq!(world.run(&mapping, "accounts", None).await, Counts::default());
}

#[tokio::test]
async fn a_rename_that_changes_no_value_gives_no_event() {
    let world = world().await;
    world.landing.land("accounts", 1, &[json!({"id": 1, "name": "A", "rev": 5, "x": {"y": 1}})]);
    world.run(&mapping(&["id"], PLAIN, None), "accounts", None).await;
    world.landing.land("accounts", 2, &[json!({"id": 1, "title": "A", "turnover": "5.0", "x": {"y": 1}, "new": null})]);
    let renamed = mapping(&["id"], &[("name", "title"), ("revenue", "turnover")], None);
    assert_eq!(world.run(&renamed, "accounts", None).await, Counts { rows: 1, ..Counts::default() });
    world.landing.land("accounts", 3, &[json!({"id": 1, "title": "A", "turnover": 6, "x": {"y": 1}})]);
    world.run(&renamed, "accounts", None).await;
    let events = world.registry.events(&EventFilter { limit: 10, ..EventFilter::default() }).await.unwrap();
    let lineage: Vec<_> = events.iter().map(|e| format!("{:?}", e.lineage.fields)).collect();
    insta::assert_snapshot!(lineage.join("\n"), @r#"
    {"name": ["name"], "revenue": ["rev"]}
    {"name": ["title"], "revenue": ["turnover"]}
    "#);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM mapping_registry").fetch_one(&world.pool).await.unwrap();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn marked_and_missing_records_are_deleted_once_and_may_come_back() {
    let world = world().await;
    let mapping = mapping(&["id"], PLAIN, Some("gone"));
    let row = |id: i64, gone: bool| json!({"id": id, "name": format!("n{id}"), "gone": gone});
    world.landing.replace("accounts", 1, &[row(1, false), row(2, false), row(3, true)]);
    world.run(&mapping, "accounts", Some(1)).await;
    world.landing.replace("accounts", 2, &[row(1, true), json!({"id": 1, "gone": "yes"})]);
    world.run(&mapping, "accounts", Some(2)).await;
    world.landing.replace("accounts", 3, &[row(2, false)]);
    world.run(&mapping, "accounts", Some(3)).await;
    world.landing.replace("accounts", 4, &[]);
    assert_eq!(world.run(&mapping, "accounts", None).await.deletes, 0, "no successful sync, no derived delete");
    assert_eq!(world.run(&mapping, "accounts", Some(4)).await.deletes, 1);
    assert_eq!(world.run(&mapping, "accounts", Some(4)).await.deletes, 0);
    insta::assert_snapshot!(world.events().await, @r#"
    accounts 1 upsert [1] data {"name":"n1"} unknown {} from raw-0 of job 1
    accounts 2 upsert [2] data {"name":"n2"} unknown {} from raw-1 of job 1
    accounts 3 delete [1] data {"name":"n1"} unknown {} from raw-3 of job 2
    accounts 4 delete [2] data {"name":"n2"} unknown {} from raw-1 of job 2
    accounts 5 upsert [2] data {"name":"n2"} unknown {} from raw-5 of job 3
    accounts 6 delete [2] data {"name":"n2"} unknown {} from raw-5 of job 4
    "#);
}

#[tokio::test]
async fn what_cannot_be_mapped_or_stored_is_a_dead_letter_and_the_rest_goes_on() {
    let world = world().await;
    let mapping = mapping(&["id"], PLAIN, None);
    world.landing.land(
        "accounts",
        1,
        &[
            json!({"id": 1, "name": "good"}),
            json!({"id": 2, "rev": "much"}),
            json!({"name": "no key", "rev": "NaN"}),
            json!(r#"{"id": 4, "name": "nul \u0000"}"#),
            json!(r#"{"id": 5, "name": "half \ud800"}"#),
            json!(r#"{"id": 6, "name": "big", "x": 1e200000}"#),
            json!({"id": "k".repeat(3000), "name": "long key"}),
            json!({"id": 8, "name": "good too"}),
        ],
    );
    let counts = Counts { rows: 8, upserts: 2, deletes: 0, dead_letters: 6 };
    assert_eq!(world.run(&mapping, "accounts", None).await, counts);
    // read again from the start, as after a lost cursor: no letter and no event is doubled
    sqlx::query("DELETE FROM landing_cursors").execute(&world.pool).await.unwrap();
    world.run(&mapping, "accounts", None).await;
    let (mut letters, count) = world.letters().await;
    assert_eq!((count, world.ids().await.len()), (6, 2));
    letters.sort_by(|a, b| a.raw_id.cmp(&b.raw_id));
    let short = |text: String| if text.len() > 80 { format!("({} characters)", text.len()) } else { text };
    let text: String = letters
        .iter()
        .map(|l| {
            format!(
                "{} {} {}: {}\n",
                l.raw_id,
                short(l.record_key.clone().unwrap_or("-".into())),
                short(l.record.to_string()),
                l.reason
            )
        })
        .collect();
    insta::assert_snapshot!(text, @r#"
    raw-1 [2] {"id":2,"rev":"much"}: revenue: text `much` is no decimal
    name: is required, and the record has no value for it
    raw-2 - {"name":"no key","rev":"NaN"}: key: the record has no single value in `id`
    revenue: text `NaN` is no decimal
    raw-3 [4] {"id":4,"name":"nul \u0000"}: name: holds U+0000, which cannot be stored
    raw-4 - "{\"id\": 5, \"name\": \"half \\ud800\"}": the record is no JSON object: unexpected end of hex escape at line 1 column 31
    raw-5 [6] {"id":6,"name":"big","x":1e+200000}: x: is a number out of range, which cannot be stored
    raw-6 (3004 characters) (3027 characters): key: is longer than 1000 bytes
    "#);
}

#[tokio::test]
async fn without_a_key_each_landed_row_is_a_record() {
    let world = world().await;
    let mapping = mapping(&[], PLAIN, None);
    world.landing.land("accounts", 1, &[json!({"name": "A"}), json!({"name": "A"})]);
    world.run(&mapping, "accounts", Some(1)).await;
    insta::assert_snapshot!(world.events().await, @r#"
    accounts 1 upsert raw-0 data {"name":"A"} unknown {} from raw-0 of job 1
    accounts 2 upsert raw-1 data {"name":"A"} unknown {} from raw-1 of job 1
    "#);
}

#[tokio::test]
async fn a_run_cut_short_anywhere_is_continued_with_the_same_ids() {
    let rows: Vec<Value> = (0..20).map(|n| json!({"id": n % 7, "name": format!("n{n}")})).collect();
    let mapping = mapping(&["id"], PLAIN, None);
    let whole = world().await;
    whole.landing.land("accounts", 1, &rows);
    whole.run(&mapping, "accounts", Some(1)).await;
    let expected = whole.ids().await;
    assert_eq!(expected.len(), 20);
    for reads in 0..5 {
        let mut world = world().await;
        world.landing.page = 5;
        world.landing.land("accounts", 1, &rows);
        *world.landing.hangs_after.lock().unwrap() = Some(reads);
        // where it hangs it is cut off soon; else it must come to its end however busy the machine is
        let patience = if reads < 4 { Duration::from_millis(400) } else { Duration::from_secs(60) };
        let cut = tokio::time::timeout(patience, world.try_run(&mapping, "accounts", Some(1))).await;
        assert_eq!(cut.is_err(), reads < 4, "it was to stop after {reads} pages");
        *world.landing.hangs_after.lock().unwrap() = None;
        world.run(&mapping, "accounts", Some(1)).await;
        assert_eq!(world.ids().await, expected, "cut after {reads} pages");
    }
}

#[tokio::test]
async fn positions_have_no_gap_in_each_of_two_streams() {
    let mut world = world().await;
    world.landing.page = 3;
    let mapping = mapping(&["id"], PLAIN, None);
    for job in 1..4 {
        for stream in ["accounts", "\"b/c\"/accounts"] {
            let rows: Vec<Value> = (0..5).map(|n| json!({"id": n, "name": format!("{job}")})).collect();
            world.landing.land(stream, job, &rows);
            world.run(&mapping, stream, None).await;
        }
    }
    let positions: Vec<(String, Vec<i64>)> = sqlx::query_as(
        "SELECT stream, array_agg(position ORDER BY position) FROM canonical_streams GROUP BY stream ORDER BY stream",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(positions.len(), 2);
    for (stream, positions) in positions {
        assert_eq!(positions, (1..=15).collect::<Vec<_>>(), "{stream}");
    }
}

#[tokio::test]
async fn events_can_neither_be_changed_nor_removed_and_months_have_partitions() {
    let world = world().await;
    let mapping = mapping(&["id"], PLAIN, None);
    world.landing.land("accounts", 1, &[json!({"id": 1, "name": "A"})]);
    world.run(&mapping, "accounts", None).await;
    *world.clock.0.lock().unwrap() += TimeDelta::days(40);
    world.landing.land("accounts", 2, &[json!({"id": 1, "name": "B"})]);
    world.run(&mapping, "accounts", None).await;
    for table in ["canonical_streams", "canonical_streams_2026_11", "canonical_streams_default"] {
        let rows = ["UPDATE {} SET op = 'delete'", "DELETE FROM {}", "TRUNCATE {}"];
        for sql in rows.iter().filter(|sql| table != "canonical_streams_default" || sql.starts_with("TRUNCATE")) {
            let sql = sql.replace("{}", table);
            let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&world.pool).await;
            assert!(refused.unwrap_err().to_string().contains("append-only"), "{sql}");
        }
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || CASE WHEN c.relrowsecurity AND c.relforcerowsecurity THEN '' ELSE ' open' END
                || ': ' || (SELECT count(*) FROM canonical_streams s WHERE s.tableoid = c.oid)
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'canonical_streams'::regclass ORDER BY c.relname",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    insta::assert_snapshot!(tables.join("\n"), @r"
    canonical_streams_2026_11: 1
    canonical_streams_2026_12: 1
    canonical_streams_2027_01: 0
    canonical_streams_2027_02: 0
    canonical_streams_default: 0
    ");
}

#[tokio::test]
async fn a_holder_whose_lease_is_gone_appends_nothing() {
    let world = world().await;
    let mapping = mapping(&["id"], PLAIN, None);
    world.landing.land("accounts", 1, &[json!({"id": 1, "name": "A"})]);
    world.registry.release(&world.lease).await.unwrap();
    world
        .registry
        .lease(&world.lease.tenant, world.lease.connection, "other", Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    let error = world.try_run(&mapping, "accounts", None).await.unwrap_err();
    assert!(
        matches!(error, aam::canonical::CanonicalError::Store { source: RegistryError::LeaseLost(_), .. }),
        "{error:?}"
    );
    assert_eq!((world.ids().await.len(), world.letters().await.1), (0, 0));
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let world = world().await;
    let mapping = mapping(&["id"], PLAIN, None);
    world.landing.land("accounts", 1, &[json!({"id": 1, "name": "A"})]);
    world.run(&mapping, "accounts", None).await;
    let stream = StreamName::bare("accounts");
    let mut event = world.registry.events(&EventFilter { limit: 1, ..EventFilter::default() }).await.unwrap().remove(0);
    event.data = json!({"name": "\u{0}"}); // refused by the database
    let cursor = Some(LandingCursor(json!(99)));
    let batch = EventBatch { events: vec![event], cursor, ..EventBatch::default() };
    world.registry.append(&world.lease, &stream, "account", &batch).await.unwrap_err();
    let cursor = world.registry.cursor(world.lease.connection, &stream, "account").await.unwrap();
    assert_eq!((cursor, world.ids().await.len()), (Some(LandingCursor(json!(1))), 1));
}
