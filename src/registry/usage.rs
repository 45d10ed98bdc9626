//! How much events and syncs there were: what a drift would starve.
//!
//! Nothing is counted row by row over a week. Positions of a stream have no gaps and grow with time, so two searches along
//! them say how many events lie in the days asked for, and the newest of these say how many carry a field.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::PgRegistry;
use super::error::{Fail, transact};
use super::events::stream_of;
use crate::drift::radius::{Asked, Counted, Events, Usage};
use crate::model::{ConnectionId, FieldPath, Segment, StreamName};
use crate::ports::RegistryError;

const WHAT: &str = "counting events";

/// So many of the newest events of a stream are looked into: a share of one in a hundred is told to a tenth of it, and
/// reading them takes some tens of milliseconds.
const LOOKED_INTO: i64 = 5_000;

/// Counts.
pub(super) async fn count(
    registry: &PgRegistry,
    connection: ConnectionId,
    counted: Counted,
    asked: &Asked,
) -> Result<Usage, RegistryError> {
    transact(WHAT, move || async move {
        let mut usage = Usage { counted, events: BTreeMap::new(), synced: BTreeMap::new() };
        for (stream, from, to) in ranges(registry, connection, counted, asked).await? {
            let of_stream = events(registry, connection, &stream, from, to, asked).await?;
            usage.events.insert(stream, of_stream);
        }
        usage.synced = synced(registry, connection, counted.until, asked).await?;
        Ok(usage)
    })
    .await
}

fn names(asked: &Asked) -> Vec<String> {
    asked.keys().map(ToString::to_string).collect()
}

/// Of each stream that has events: the first position in the days, and the first after them.
async fn ranges(
    registry: &PgRegistry,
    connection: ConnectionId,
    counted: Counted,
    asked: &Asked,
) -> Result<Vec<(StreamName, i64, i64)>, Fail> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "WITH RECURSIVE search (tenant_id, stream, moment, low, high) AS (
             SELECT p.tenant_id, p.stream, m.moment, 1::bigint, p.last + 1
             FROM canonical_positions p CROSS JOIN unnest(ARRAY[$3::timestamptz, $4::timestamptz]) AS m (moment)
             WHERE p.tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
               AND p.connection_id = $1 AND p.stream = ANY ($2)
             UNION ALL
             SELECT s.tenant_id, s.stream, s.moment,
                    CASE WHEN found.late THEN s.low ELSE middle.position + 1 END,
                    CASE WHEN found.late THEN middle.position ELSE s.high END
             FROM search s
             CROSS JOIN LATERAL (SELECT (s.low + s.high) / 2 AS position) middle
             -- an event that is not kept any more is an old one
             CROSS JOIN LATERAL (SELECT coalesce((
                 SELECT e.at >= s.moment FROM canonical_streams e
                 WHERE e.tenant_id = s.tenant_id AND e.connection_id = $1 AND e.stream = s.stream
                   AND e.position = middle.position LIMIT 1), false) AS late) found
             WHERE s.low < s.high
         )
         SELECT stream, min(low), max(low) FROM search WHERE low = high GROUP BY stream",
    )
    .bind(connection.0)
    .bind(names(asked))
    .bind(counted.since)
    .bind(counted.until)
    .fetch_all(registry.pool())
    .await?;
    rows.into_iter().map(|(stream, from, to)| Ok((stream_of(&stream)?, from, to))).collect()
}

/// A canonical field that is looked for.
#[derive(Default)]
struct Wanted {
    entities: Vec<String>,
    /// As the mapping writes it; `None` for the entity as a whole.
    targets: Vec<Option<String>>,
    /// Where it lies in the event's data.
    outer: Vec<Option<String>>,
    inner: Vec<Option<String>>,
}

impl Wanted {
    fn of(asked: &Asked, stream: &StreamName) -> Self {
        let mut wanted = Self::default();
        for (entity, targets) in asked.get(stream).into_iter().flatten() {
            for target in std::iter::once(None).chain(targets.iter().map(Some)) {
                let (outer, inner) = target.map(|target| place(target)).unwrap_or_default();
                wanted.entities.push(entity.clone());
                wanted.targets.push(target.cloned());
                wanted.outer.push(outer);
                wanted.inner.push(inner);
            }
        }
        wanted
    }
}

/// `name` lies at the top, `extras.name` in `extras`.
fn place(target: &str) -> (Option<String>, Option<String>) {
    let extra = target.strip_prefix("extras.").and_then(|name| name.parse::<FieldPath>().ok());
    match extra.as_ref().map(FieldPath::segments) {
        Some([Segment::Name(name)]) => (Some("extras".to_owned()), Some(name.clone())),
        _ => (Some(target.to_owned()), None),
    }
}

/// Events of a stream between two positions, by entity.
async fn events(
    registry: &PgRegistry,
    connection: ConnectionId,
    stream: &StreamName,
    from: i64,
    to: i64,
    asked: &Asked,
) -> Result<BTreeMap<String, Events>, Fail> {
    let wanted = Wanted::of(asked, stream);
    let first = from.max(to - LOOKED_INTO);
    let rows: Vec<(String, Option<String>, i64)> = sqlx::query_as(
        "SELECT w.entity, w.target, count(*) FROM canonical_streams e
         JOIN unnest($5::text[], $6::text[], $7::text[], $8::text[]) AS w (entity, target, outer_name, inner_name)
           ON w.entity = e.entity
         WHERE e.tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
           AND e.connection_id = $1 AND e.stream = $2 AND e.position >= $3 AND e.position < $4
           AND (w.target IS NULL OR CASE WHEN w.inner_name IS NULL THEN e.data -> w.outer_name
                                         ELSE e.data -> w.outer_name -> w.inner_name END IS NOT NULL)
         GROUP BY w.entity, w.target",
    )
    .bind(connection.0)
    .bind(stream.to_string())
    .bind(first)
    .bind(to)
    .bind(&wanted.entities)
    .bind(&wanted.targets)
    .bind(&wanted.outer)
    .bind(&wanted.inner)
    .fetch_all(registry.pool())
    .await?;
    let scale = (to - from) as f64 / (to - first).max(1) as f64;
    let mut events: BTreeMap<String, Events> = BTreeMap::new();
    for (entity, target, count) in rows {
        let count = (count as f64 * scale).round() as u64;
        let of_entity = events.entry(entity).or_default();
        match target {
            Some(target) => drop(of_entity.carrying.insert(target, count)),
            None => of_entity.all = count,
        }
    }
    Ok(events)
}

/// The end of the last good sync that carried each stream. An engine that does not tell streams apart carried them all.
async fn synced(
    registry: &PgRegistry,
    connection: ConnectionId,
    until: DateTime<Utc>,
    asked: &Asked,
) -> Result<BTreeMap<StreamName, DateTime<Utc>>, Fail> {
    let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT s.stream, j.ended_at FROM unnest($2::text[]) AS s (stream)
         CROSS JOIN LATERAL (
             SELECT ended_at FROM job_history
             WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
               AND connection_id = $1 AND state = 'succeeded' AND ended_at <= $3
               AND (json_array_length(streams) = 0
                    OR EXISTS (SELECT FROM json_array_elements(streams) AS c WHERE c ->> 0 = s.stream))
             ORDER BY job_id DESC LIMIT 1
         ) j",
    )
    .bind(connection.0)
    .bind(names(asked))
    .bind(until)
    .fetch_all(registry.pool())
    .await?;
    rows.into_iter().map(|(stream, at)| Ok((stream_of(&stream)?, at))).collect()
}
