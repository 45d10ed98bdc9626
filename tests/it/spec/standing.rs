//! Many files together: references, last good versions, modes, digests, and ten thousand files.

use std::time::{Duration, Instant};

use aam::diag::Severity;
use aam::diag::render::{Theme, terminal};
use aam::model::{RepoPath, Unreadable};
use aam::spec::lock::render;
use aam::spec::{EngineKind, Input, Mode, Resolution, Schedule, resolve};

use super::{ID, Repo, WAREHOUSE, brief, check, connection, lock_of};

#[test]
fn references_resolve_in_the_own_tenant_and_then_in_default() {
    let own = WAREHOUSE.1.replace("database: w", "database: own");
    let repo = Repo::of(&[
        WAREHOUSE,
        ("connectors.d/acme/warehouse.yaml", &own),
        ("connectors.d/acme/a.yaml", &connection("")),
        ("connectors.d/other/b.yaml", &connection("")),
        (
            "connectors.d/c.yaml",
            &connection("mapping: warehouse\n").replace("destination: warehouse", "destination: a"),
        ),
    ]);
    let resolution = repo.resolve();
    let ends: Vec<_> =
        resolution.desired.connections.values().map(|c| format!("{} -> {}", c.name, c.destination.name)).collect();
    assert_eq!(ends, ["acme/a -> acme/warehouse", "other/b -> warehouse"]);
    insta::assert_snapshot!(brief(&resolution.diagnostics), @r#"
    connectors.d/c.yaml:3:14 AAM-S015 no destination is called `a`
    connectors.d/c.yaml:4:10 AAM-S015 no mapping is called `warehouse`
    "#);
    assert_eq!(resolution.desired.broken.iter().map(ToString::to_string).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn the_last_good_version_stays_in_force_until_the_file_is_mended() {
    let mut repo =
        Repo::of(&[WAREHOUSE]).with("connectors.d/crm.yaml", connection("schedule: {every: 6h}\n").as_bytes());
    repo = repo.with("connectors.d/other.yaml", connection("").as_bytes());
    assert!(repo.settle().diagnostics.is_empty());
    let in_force = |r: &Resolution| {
        let stale: Vec<_> = r.desired.stale.iter().map(ToString::to_string).collect();
        let names: Vec<_> = r.desired.connections.values().map(|c| format!("{} {:?}", c.name, c.schedule)).collect();
        format!("{} | stale {} | broken {}", names.join(", "), stale.join(", "), r.desired.broken.len())
    };
    let whole = in_force(&repo.resolve());

    for broken in ["", "kind: connection\nmode: [", &connection("mode: manged\n"), &connection("mapping: none\n")] {
        let mut edited = repo.clone().with("connectors.d/crm.yaml", broken.as_bytes());
        for _ in 0..2 {
            let resolution = edited.settle();
            assert_eq!(in_force(&resolution), whole.replace("stale ", "stale connectors.d/crm.yaml"), "{broken}");
            let text = terminal(&resolution.diagnostics, Theme::PLAIN);
            assert!(text.contains("stays in force"), "{text}");
        }
        let mended = edited.with("connectors.d/crm.yaml", connection("schedule: {every: 6h}\n").as_bytes()).settle();
        assert_eq!(in_force(&mended), whole);
    }

    // A folder that cannot be read is not an empty one.
    let mut hidden = repo.clone();
    hidden.files.clear();
    hidden.unreadable.insert("connectors.d".into(), Unreadable::Io("permission denied".into()));
    let resolution = hidden.settle();
    assert_eq!(resolution.desired.connections.len(), 2);
    assert_eq!(hidden.settle().desired.stale.len(), 3);
    hidden.last_good.clear();
    assert!(hidden.resolve().desired.unread.contains("connectors.d"));

    // A file that is gone is gone; a broken one without a good version is absent, and said to be broken.
    let mut gone = repo.clone();
    gone.files.remove(&RepoPath::new("connectors.d/crm.yaml").unwrap());
    let resolution = gone.with("connectors.d/new.yaml", b"kind: connection\n").settle();
    assert_eq!(resolution.desired.connections.len(), 1);
    assert_eq!(resolution.desired.broken.iter().map(ToString::to_string).collect::<Vec<_>>(), ["new"]);
}

#[test]
fn one_broken_destination_stops_only_those_that_use_it() {
    let repo = Repo::of(&[
        WAREHOUSE,
        ("connectors.d/lake.yaml", "kind: destination\ntype: postgres\n"),
        ("connectors.d/a.yaml", &connection("")),
        ("connectors.d/b.yaml", &connection("").replace("warehouse", "lake")),
    ]);
    let resolution = repo.resolve();
    assert_eq!(resolution.desired.connections.keys().map(ToString::to_string).collect::<Vec<_>>(), ["a"]);
    insta::assert_snapshot!(brief(&resolution.diagnostics), @r#"
    connectors.d/b.yaml:3:14 AAM-S015 `lake` is named as the destination, but it is broken itself
    connectors.d/lake.yaml:2:7 AAM-S024 the connector `postgres` needs the setting `database`
    connectors.d/lake.yaml:2:7 AAM-S024 the connector `postgres` needs the setting `host`
    connectors.d/lake.yaml:2:7 AAM-S024 the connector `postgres` needs the setting `username`
    "#);
}

#[test]
fn ten_thousand_files_are_read_in_one_go() {
    let mut repo = Repo::of(&[WAREHOUSE]);
    let filler = format!("# {}\n", "x".repeat(78)).repeat(22);
    for n in 0..10_000 {
        repo = repo.with(
            &format!("connectors.d/t{}/c{n}.yaml", n % 100),
            connection(&format!("schedule: {{every: 6h}}\n{filler}")).as_bytes(),
        );
    }
    let begin = Instant::now();
    let resolution = repo.resolve();
    let took = begin.elapsed();
    assert_eq!((resolution.desired.connections.len(), resolution.diagnostics.len()), (10_000, 0));
    assert_eq!(resolution.good.len(), 10_001);
    // 2 s in a release build on a quiet machine.
    let limit = if cfg!(debug_assertions) { 40 } else { 2 };
    assert!(took < Duration::from_secs(limit), "took {took:?}");
}

#[test]
fn the_same_files_give_the_same_diagnostics() {
    let files = [("connectors.d/b.yaml", "kind: x\n"), ("connectors.d/a.yaml", "mode: x\n"), WAREHOUSE];
    let mut turned = files;
    turned.reverse();
    assert_eq!(check(&files), check(&turned));
    assert!(Repo::of(&files).resolve().diagnostics.iter().all(|d| d.severity == Severity::Error));
}

#[test]
fn every_code_of_specs_and_locks_is_raised_by_some_file() {
    let endless = "kind: mapping\nsystem: x\nentities: {a: {stream: s, fields: {}}}\n";
    let lock = render(&lock_of(ID), "x");
    let conn = |more: &str| connection(more);
    let bad: Vec<(String, String)> = [
        ("connectors.d/s001.yaml", "kind: [".to_owned()),
        ("connectors.d/s002.yaml", "kind: \u{1}".to_owned()),
        ("connectors.d/s003.yaml", "a".repeat(2 << 20)),
        ("connectors.d/s004.yaml", String::new()),
        ("connectors.d/s005.yaml", conn("airbyte: {<<: {a: b}}\n")),
        ("connectors.d/s006.yaml", conn("mode: manage\nmode: manage\n")),
        ("connectors.d/s007.yaml", endless.to_owned()),
        ("connectors.d/s008.yaml", conn("modee: manage\n")),
        ("connectors.d/s009.yaml", conn("mode: [manage]\n")),
        ("connectors.d/s010.yaml", "kind: connection\n".to_owned()),
        ("connectors.d/s011.yaml", conn("mode: all\n")),
        ("connectors.d/s012.yml", conn("")),
        ("connectors.d/s013.yaml", conn("")),
        ("connectors.d/S013.yaml", conn("")),
        ("connectors.d/s014.yaml", conn("streams: {orders: {cursor: x}, s: {}}\n")),
        ("connectors.d/s014.lock.yaml", lock.replace("b8e11", "b8e14")),
        ("connectors.d/s015.yaml", conn("mapping: x\n")),
        ("connectors.d/s017.yaml", conn("schedule: sometimes\n")),
        ("connectors.d/s018.yaml", conn("schedule: {every: 0s}\n")),
        ("connectors.d/s019.yaml", conn("drift: {threshold: 85}\n")),
        ("connectors.d/s020.yaml", conn("airbyte: {passthrough: {x: '${X}'}}\n")),
        ("connectors.d/s021.yaml", conn("airbyte: {passthrough: {client_secret: hunter2}}\n")),
        ("connectors.d/s022.yaml", "kind: source\ntype: postgress\n".to_owned()),
        ("connectors.d/s023.yaml", "kind: source\ntype: file\nconfig: {path: /x, pth: y, format: cvs}\n".to_owned()),
        ("connectors.d/s024.yaml", "kind: source\ntype: file\n".to_owned()),
        ("connectors.d/s026.yaml", conn("streams: [a/b/c]\n")),
        ("connectors.d/s027.yaml", conn("schedule: {every: 1h, quartz: x}\n")),
        ("connectors.d/s028.yaml", conn("schedule: {quartz: 0 0 3 * * ?}\n")),
        ("connectors.d/s029.yaml", conn("airbyte: {passthrough: {status: inactive}}\n")),
        ("connectors.d/s032.yaml", conn("pin: {version: 0, until: soon, reason: x, by: y}\n")),
        ("connectors.d/l001.lock.yaml", lock.replace("id: integer!", "id: integer")),
        ("connectors.d/l002.lock.yaml", lock.replace("version: 1", "version: -1")),
        ("connectors.d/l003.lock.yaml", lock.clone()),
        ("connectors.d/l004.lock.yaml", lock),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into();
    let files: Vec<(&str, &str)> = bad.iter().map(|(p, t)| (p.as_str(), t.as_str())).chain([WAREHOUSE]).collect();
    let mut raised: std::collections::BTreeSet<_> =
        Repo::of(&files).resolve().diagnostics.iter().map(|d| d.code).collect();
    let adopt = format!("airbyte: {{id: {ID}}}\n");
    let (s030, s031) = (conn("schedule: {every: 90s}\n"), conn(&adopt));
    let files =
        [("connectors.d/s030.yaml", s030.as_str()), ("connectors.d/a.yaml", &s031), ("connectors.d/s031.yaml", &s031)];
    let airbyte = Repo { engine: EngineKind::Airbyte, ..Repo::of(&files) };
    raised.extend(airbyte.resolve().diagnostics.iter().map(|d| d.code));
    let over = conn("pin: {version: 1, until: 2020-01-31, reason: x, by: y}\n");
    let pinned = Repo::of(&[("connectors.d/s033.yaml", over.as_str()), WAREHOUSE]).resolve().desired;
    raised.extend(aam::spec::ended_pins(&pinned, chrono::Utc::now()).iter().map(|d| d.code));
    let known = aam::diag::codes::all().map(|c| c.code).filter(|c| c.starts_with("AAM-S") || c.starts_with("AAM-L"));
    assert_eq!(raised, known.collect());
}

#[test]
fn the_engine_caps_every_mode_and_a_digest_changes_with_what_a_person_edits() {
    let repo = Repo::of(&[
        WAREHOUSE,
        ("connectors.d/a.yaml", &connection("")),
        ("connectors.d/b.yaml", &connection("mode: observe\n")),
    ]);
    let capped = resolve(&Input {
        files: &repo.files,
        unreadable: &repo.unreadable,
        last_good: &repo.last_good,
        engine: EngineKind::Embedded,
        mode_cap: Mode::Propose,
        look: Schedule::Manual,
    });
    let modes: Vec<_> = capped.desired.connections.values().map(|c| (c.mode, c.drift.check.clone())).collect();
    assert_eq!(modes, [(Mode::Propose, Schedule::Manual), (Mode::Observe, Schedule::Manual)]);

    let digests = |repo: &Repo| repo.resolve().desired.connections.into_values().map(|c| c.digest).collect::<Vec<_>>();
    let before = digests(&repo);
    let lock = render(&lock_of(ID), "a");
    assert_eq!(digests(&repo.clone().with("connectors.d/a.lock.yaml", lock.as_bytes())), before);
    let edited = digests(&repo.clone().with("connectors.d/a.yaml", connection("# a comment\n").as_bytes()));
    assert!(edited[0] != before[0] && edited[1] == before[1]);
    let warehouse = format!("{}# more\n", WAREHOUSE.1);
    assert!(digests(&repo.with(WAREHOUSE.0, warehouse.as_bytes())).iter().zip(&before).all(|(a, b)| a != b));
}
