//! The shared checker: what must hold at the end of every run, and the end state as text.

use std::fmt::Write as _;

use aam::model::Catalog;
use aam::ports::Registry as _;
use aam::registry::PgRegistry;

use super::world::{Ended, World};

/// Everything that must be the same with and without kills. Ids, times and job numbers are left out.
pub fn end_state(world: &World) -> String {
    let mut text = String::new();
    let mut part = |title: &str, body: String| writeln!(text, "== {title}\n{}", body.trim_end()).unwrap();
    let registry = |sql: &str| world.ask(&world.registry, sql);
    part("connections", registry(
        "SELECT concat_ws('|', name, status, 'reason ' || reason, 'failures ' || failures, 'version ' || version, fingerprint,
             'paused ' || paused, (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(objects) AS k), look_seen,
             'applied ' || (applied_digest IS NOT NULL AND secrets IS NOT NULL), 'synced ' || (last_sync_at IS NOT NULL),
             'all normalized ' || (normalized_job IS NOT DISTINCT FROM (SELECT max(job_id) FROM job_history)))
         FROM connections ORDER BY name"));
    part("catalog versions", registry(
        "SELECT concat_ws('|', version, fingerprint, approved_by, 'commit ' || (commit_id IS NOT NULL), 'drift ' || (drift_id IS NOT NULL))
         FROM sync_catalog_versions ORDER BY version"));
    part("drifts", registry(
        "SELECT concat_ws('|', status, base, target, automatic, branch, (SELECT string_agg(change::text, ' ' ORDER BY place)
             FROM schema_changes c WHERE c.drift_id = d.id)) FROM drift_events d ORDER BY opened_at"));
    part("catalogs seen", registry("SELECT fingerprint FROM observed_catalogs ORDER BY 1"));
    part("specs kept", specs_kept(world));
    part("open intents", registry("SELECT effect || ' ' || key FROM intents"));
    part(
        "jobs",
        registry(
            "SELECT DISTINCT 'registry ' || state FROM job_history UNION SELECT DISTINCT 'engine ' || state FROM aam_engine.jobs ORDER BY 1",
        ),
    );
    // What an engine's object was found to be, instead of made, is told differently.
    part("audit", registry(
        "SELECT DISTINCT concat_ws('|', action, actor, summary) FROM (SELECT action, actor, CASE
             WHEN action IN ('connection.object', 'drift.approved') THEN '' WHEN action = 'sync.ended' THEN 'succeeded ' || (summary LIKE '%succeeded%')
             WHEN summary LIKE '%lock committed%' THEN 'lock committed'
             WHEN action = 'drift.withdrawn' THEN detail ->> 'replaced_by' IS NULL || '' ELSE summary END AS summary FROM audit_log) a ORDER BY 1"));
    part("doubled audit lines", registry(
        "SELECT concat_ws('|', action, detail ->> 'commit', detail ->> 'job', detail ->> 'version', count(*)) FROM audit_log
         WHERE action IN ('repo.committed', 'sync.ended', 'catalog.version', 'connection.declared')
         GROUP BY action, detail ->> 'commit', detail ->> 'job', detail ->> 'version' HAVING count(*) > 1"));
    part(
        "engine objects",
        registry(
            "SELECT concat_ws('|', kind, owner, name, draft #- '{source}' #- '{destination}') FROM aam_engine.objects ORDER BY 1",
        ),
    );
    part("dangling references", registry(
        "SELECT 'connection ' || o.id FROM aam_engine.objects o WHERE kind = 'connection' AND 2 <> (SELECT count(*)
             FROM aam_engine.objects e WHERE (e.kind, e.id::text) IN (('source', o.draft ->> 'source'), ('destination', o.draft ->> 'destination')))
         UNION ALL
         SELECT 'row of ' || name FROM connections c, jsonb_each_text(objects) AS e (kind, id)
             WHERE NOT EXISTS (SELECT FROM aam_engine.objects o WHERE (o.kind, o.id::text) = (e.kind, e.id))"));
    part("events", registry(
        "SELECT concat_ws('|', stream, position, entity, record_key, op, data, unknown_fields, lineage ->> 'catalog_version')
         FROM canonical_streams ORDER BY stream, position"));
    part(
        "dead letters",
        registry("SELECT concat_ws('|', stream, entity, record_key, reason) FROM dead_letters ORDER BY 1"),
    );
    part("landing", landing(world));
    if world.root().join(".git").is_dir() {
        part("branches", world.git(&["for-each-ref", "--format=%(refname) %(subject)", "refs/heads"]));
        part("history", world.git(&["log", "--format=%s (%an)", "main"]));
        part("work tree", world.git(&["status", "--short"]));
    }
    part("files", files(world));
    part("left in the state folder", left_over(world));
    without_ids(world, &text)
}

/// The files whose last good version the registry keeps. That of a removed spec goes with the first turn after its removal
/// was done, which is another command where a kill came between.
fn specs_kept(world: &World) -> String {
    let kept = world.ask(&world.registry, "SELECT path FROM last_good_specs ORDER BY 1");
    let there = kept.lines().filter(|path| world.root().join(path).exists());
    there.map(|path| format!("{path}\n")).collect()
}

fn landing(world: &World) -> String {
    let tables = world.ask(&world.landing,
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'airbyte_internal') ORDER BY 1");
    let mut text = String::new();
    for table in tables.lines() {
        let rows = world.ask(&world.landing, &format!(
            "SELECT left(t::text, 200) || md5(t::text) FROM (SELECT to_jsonb(x) - '{{_airbyte_raw_id,_airbyte_extracted_at,_airbyte_meta}}'::text[]
                 || jsonb_build_object('changes', x._airbyte_meta -> 'changes') AS t FROM {table} x) y ORDER BY 1"));
        let unique = world
            .ask(&world.landing, &format!("SELECT (count(*) = count(DISTINCT _airbyte_raw_id))::text FROM {table}"));
        writeln!(text, "{table}, raw ids unique {unique}\n{rows}").unwrap();
    }
    let ledger = "SELECT concat_ws('|', table_name, 'finished ' || finished, 'indexed ' || indexed) FROM airbyte_internal.aam_engine_state ORDER BY 1";
    if !tables.is_empty() {
        text += &world.ask(&world.landing, ledger);
    }
    text
}

/// Every file that `aam` reads or writes, as it lies there.
fn files(world: &World) -> String {
    let mut text = String::new();
    for folder in ["connectors.d", "mappings", "drift"] {
        let entries = walkdir::WalkDir::new(world.root().join(folder)).sort_by_file_name().into_iter();
        for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_file()) {
            let path = entry.path().strip_prefix(world.root()).unwrap().display().to_string();
            writeln!(text, "-- {path}\n{}", world.read(&path).unwrap()).unwrap();
        }
    }
    text
}

/// Files of unfinished work.
fn left_over(world: &World) -> String {
    let entries = walkdir::WalkDir::new(world.root().join(".aam")).into_iter().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("unfinished") || name.starts_with("index-") || name.ends_with(".tmp"))
        .collect()
}

/// Ids, times and places of this run by words.
fn without_ids(world: &World, text: &str) -> String {
    let mut text = text.to_owned();
    for (i, id) in world
        .ask(&world.registry, "SELECT id::text FROM connections UNION ALL SELECT id::text FROM drift_events")
        .lines()
        .enumerate()
    {
        text = text.replace(id, if i == 0 { "<connection>" } else { "<drift>" });
    }
    for pool in [&world.source, &world.landing] {
        text = text.replace(&world.endpoint(pool), "<endpoint>");
    }
    // `2026-11-22 03:10 UTC`, of drift files
    let mut parts: Vec<String> = text.split(" UTC").map(str::to_owned).collect();
    let times = parts.len() - 1;
    for part in &mut parts[..times] {
        part.truncate(part.len().saturating_sub("2026-11-22 03:10".len()));
    }
    parts.join("<time>")
}

/// What must hold whatever happened before. `I…` as in the fault plan.
pub fn check_invariants(world: &mut World, exit: i32) {
    let doubled = world.ask(
        &world.registry,
        "SELECT kind || ' ' || owner FROM aam_engine.objects GROUP BY kind, owner HAVING count(*) > 1",
    );
    assert_eq!(doubled, "", "I1: one engine object for each owner");
    let gaps = world.ask(
        &world.registry,
        "SELECT connection_id || ' ' || stream FROM canonical_streams GROUP BY connection_id, stream
         HAVING min(position) <> 1 OR max(position) <> count(*) OR count(DISTINCT id) <> count(*)",
    );
    assert_eq!(gaps, "", "I3: positions without gap, every event once");
    let registry =
        PgRegistry::clone(&world.block_on(PgRegistry::open((*world.registry.connect_options()).clone())).unwrap());
    world.block_on(async {
        for row in registry.connections().await.unwrap() {
            let versions = registry.versions(row.id).await.unwrap();
            for (version, n) in versions.iter().zip(1..) {
                assert_eq!(version.version, n, "I2: versions without gap");
                let recomputed = Catalog::from_body(&version.body).unwrap().fingerprint();
                assert_eq!(recomputed, version.fingerprint, "I2: a version's fingerprint is that of its body");
            }
            assert_eq!(versions.last().map_or(0, |v| v.version), row.version, "I2: the row knows the last version");
        }
        assert_eq!(
            registry.verify_audit(&aam::model::TenantId::default()).await.unwrap(),
            None,
            "the audit chain holds"
        );
    });
    let before = everything(world);
    match world.aam_until(&["apply"], None) {
        Ended::Exit(code) => assert_eq!(code, exit, "I6: a further apply ends as the last: {}", world.said),
        Ended::Killed => panic!("nothing was armed"),
    }
    assert_eq!(everything(world), before, "I6: a further apply writes nothing");
    world.passes();
}

/// Each row of each table with the transaction that wrote it, and the repository's refs.
fn everything(world: &World) -> String {
    let mut text = String::new();
    for pool in [&world.registry, &world.landing] {
        let tables = world.ask(pool, "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1");
        for table in tables.lines() {
            let sum = world.ask(pool, &format!("SELECT concat(count(*), ' ', md5(string_agg(x.xmin::text || x::text, ' ' ORDER BY x::text))) FROM {table} x"));
            writeln!(text, "{table} {sum}").unwrap();
        }
    }
    if world.root().join(".git").is_dir() {
        text += &world.git(&["for-each-ref"]);
    }
    text + &files(world)
}
