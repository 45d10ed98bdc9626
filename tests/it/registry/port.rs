//! What the port promises.

use super::*;

#[tokio::test]
async fn a_holder_that_slept_writes_nothing() {
    let (registry, admin, _) = fresh().await;
    let old = declared(&registry, "a", "crm").await;
    assert_eq!(lease(&registry, "a", old.connection, "other").await, None, "it is held");
    sqlx::query("UPDATE leases SET expires_at = now() - interval '1 second'").execute(&admin).await.unwrap();
    let new = lease(&registry, "a", old.connection, "other").await.unwrap();
    assert!(new.fence > old.fence);

    let before = state(&admin).await;
    for (write, result) in write_everything(&registry, &old).await {
        assert!(matches!(result, Err(RegistryError::LeaseLost(id)) if id == old.connection), "{write}: {result:?}");
    }
    registry.release(&old).await.unwrap();
    assert_eq!(state(&admin).await, before);
    for (write, result) in write_everything(&registry, &new).await {
        result.unwrap_or_else(|e| panic!("{write}: {e}"));
    }
}

#[tokio::test]
async fn the_fence_grows_with_each_holder_and_not_with_renewals() {
    let (registry, admin, _) = fresh().await;
    let id = ConnectionId(Uuid::now_v7());
    let first = lease(&registry, "a", id, "one").await.unwrap();
    assert_eq!(lease(&registry, "a", id, "one").await.unwrap(), first);
    sqlx::query("UPDATE leases SET expires_at = now() - interval '1 second'").execute(&admin).await.unwrap();
    assert_eq!(lease(&registry, "a", id, "one").await.unwrap(), first, "expired, but nobody took it");
    registry.release(&first).await.unwrap();
    let second = lease(&registry, "a", id, "one").await.unwrap();
    assert!(second.fence > first.fence);
    assert!(lease(&registry, "b", id, "two").await.is_some(), "tenants do not share leases");
}

#[tokio::test]
async fn of_many_takers_one_wins() {
    let (registry, _, _) = fresh().await;
    let id = ConnectionId(Uuid::now_v7());
    let holders: Vec<String> = (0..6).map(|n| format!("holder {n}")).collect();
    let taken = futures_util::future::join_all(holders.iter().map(|h| lease(&registry, "a", id, h))).await;
    assert_eq!(taken.iter().flatten().count(), 1);
}

#[tokio::test]
async fn writing_the_same_again_writes_nothing() {
    let (registry, admin, _) = fresh().await;
    let held = declared(&registry, "a", "renamed").await;
    let look = Look { at: time("2026-02-01T00:00:00Z"), seen: Err("no route".into()) };
    let drift = drift(held.connection, "b");
    let files = BTreeMap::from([("connectors.d/crm.yaml".to_owned(), "kind: connection".to_owned())]);
    let name = ConnectionRef::new(tenant("a"), "renamed").unwrap();
    let (retry, id) = (Some(time("2026-02-01T00:00:00.123456789Z")), EngineId("e".into()));
    let again = async || {
        let cause = cause("again");
        registry.declare(&held, &name, &cause).await.unwrap();
        registry.set_status(&held, ConnectionStatus::Failed, Some("no"), retry, false, &cause).await.unwrap();
        registry.set_object(&held, ObjectKind::Source, Some(&id), &cause).await.unwrap();
        registry.set_object(&held, ObjectKind::Destination, None, &cause).await.unwrap();
        registry.set_applied(&held, "digest", Some("secrets"), &cause).await.unwrap();
        registry.set_last_sync(&held, look.at).await.unwrap();
        registry.put_drift(&held, &drift, &cause).await.unwrap();
        registry.record_version(&held, &version(1, &["id"], None), &cause).await.unwrap();
        registry.record_job(&held, &job(1)).await.unwrap();
        registry.set_last_good(&files).await.unwrap();
    };
    again().await;
    let before = state(&admin).await;
    again().await;
    assert_eq!(state(&admin).await, before);
    registry.record_look(&held, &look, None).await.unwrap();
    let rows = registry.connections().await.unwrap();
    assert_eq!(rows[0].look, Some(look));
    assert_eq!((rows[0].failures, rows[0].objects.len()), (1, 1));
}

#[tokio::test]
async fn a_failure_that_repeats_counts_and_running_resets() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let set = async |status, reason, minute: u32| {
        let retry = (minute > 0).then(|| time(&format!("2026-01-01T00:{minute:02}:00Z")));
        registry.set_status(&held, status, reason, retry, false, &cause("x")).await.unwrap();
        registry.connections().await.unwrap()[0].failures
    };
    assert_eq!(set(ConnectionStatus::Failed, Some("no"), 1).await, 1);
    assert_eq!(set(ConnectionStatus::Failed, Some("no"), 2).await, 2);
    assert_eq!(set(ConnectionStatus::Healing, None, 0).await, 2);
    assert_eq!(set(ConnectionStatus::Failed, Some("no"), 3).await, 3);
    assert_eq!(set(ConnectionStatus::Active, None, 0).await, 0);
    let actions: Vec<String> =
        registry.audit_log(&held.tenant, None, 10).await.unwrap().into_iter().rev().map(|e| e.action).collect();
    let status = "connection.status";
    assert_eq!(actions, ["connection.declared", status, status, status, status], "a new time alone is no transition");
}

#[tokio::test]
async fn leases_of_connections_that_were_never_declared_go_when_they_are_stale() {
    let (registry, admin, _) = fresh().await;
    let kept = declared(&registry, "a", "crm").await;
    let stale = lease(&registry, "a", ConnectionId(Uuid::now_v7()), "killed").await.unwrap();
    let old = "UPDATE leases SET expires_at = now() - interval '2 hours'";
    sqlx::query(old).execute(&admin).await.unwrap();
    let held = lease(&registry, "b", ConnectionId(Uuid::now_v7()), "alive").await.unwrap();
    registry.drop_stale_leases().await.unwrap();
    let left: Vec<Uuid> = sqlx::query_scalar("SELECT connection_id FROM leases").fetch_all(&admin).await.unwrap();
    assert!(left.contains(&kept.connection.0) && left.contains(&held.connection.0), "{left:?}");
    assert!(!left.contains(&stale.connection.0), "{left:?}");
}

#[tokio::test]
async fn versions_have_no_gap() {
    let (registry, admin, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let record = async |number, fields: &[&str], drift| {
        registry.record_version(&held, &version(number, fields, drift), &cause("v")).await.map_err(|e| e.to_string())
    };
    let skipped = "registry: recording a catalog version: version 2 cannot follow version 0";
    assert_eq!(record(2, &["id"], None).await.unwrap_err(), skipped);
    record(1, &["id"], None).await.unwrap();
    record(1, &["id"], None).await.unwrap();
    assert!(record(1, &["id", "b"], None).await.is_err(), "the same number with another fingerprint");
    let drift = drift(held.connection, "b");
    registry.put_drift(&held, &drift, &cause("d")).await.unwrap();
    record(2, &["id", "b"], Some(drift.id)).await.unwrap();
    assert_eq!(registry.drifts(None, false).await.unwrap()[0].status, DriftStatus::Repaired);
    assert_eq!(registry.drifts(None, true).await.unwrap(), []);
    let versions = registry.versions(held.connection).await.unwrap();
    assert_eq!(versions, [version(1, &["id"], None), version(2, &["id", "b"], Some(drift.id))]);
    let row = registry.connections().await.unwrap().remove(0);
    assert_eq!((row.version, row.fingerprint), (2, Some(fingerprint(&["id", "b"]))));

    let gap = "UPDATE sync_catalog_versions SET version = 4 WHERE version = 2";
    let error = sqlx::query(gap).execute(&admin).await.unwrap_err().to_string();
    assert!(error.contains("foreign key"), "{error}");
}

#[tokio::test]
async fn one_drift_is_pending_and_comes_back_whole() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let (first, second) = (drift(held.connection, "b"), drift(held.connection, "c"));
    registry.put_drift(&held, &first, &cause("seen")).await.unwrap();
    assert_eq!(registry.drifts(Some(held.connection), true).await.unwrap(), std::slice::from_ref(&first));
    registry.put_drift(&held, &second, &cause("seen")).await.unwrap();
    assert_eq!(registry.drifts(None, true).await.unwrap(), std::slice::from_ref(&second));
    let rejected = DriftRow { status: DriftStatus::Rejected, ..second };
    registry.put_drift(&held, &rejected, &cause("no")).await.unwrap();
    let log = registry.audit_log(&held.tenant, Some(held.connection), 10).await.unwrap();
    let actions: Vec<&str> = log.iter().rev().map(|e| e.action.as_str()).collect();
    assert_eq!(actions, ["connection.declared", "drift.opened", "drift.withdrawn", "drift.opened", "drift.rejected"]);
}

#[tokio::test]
async fn a_catalog_comes_back_with_places_and_descriptions() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let mut seen = catalog(&["id", "od\u{1}d"]);
    for (place, field) in (0..).zip(seen.streams.values_mut().flat_map(|s| s.fields.values_mut())) {
        (field.place, field.description) = (Some(place), Some("NUL \0, quote \"".into()));
    }
    let raw: serde_json::Value = serde_json::from_str("{\"n\": 1e500, \"s\": \"\\u0000\"}").unwrap();
    let look = Look { at: time("2026-02-01T00:00:00Z"), seen: Ok(seen.fingerprint()) };
    registry.record_look(&held, &look, Some((&seen, &raw))).await.unwrap();
    assert_eq!(registry.observed(held.connection, &seen.fingerprint()).await.unwrap(), Some(seen));
    assert_eq!(registry.observed(held.connection, &fingerprint(&["x"])).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_sampled_of_a_stream_holds_while_it_stays_as_it_is() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let catalog = |streams: &[(&str, &str)]| {
        let body = |(name, field): &(&str, &str)| {
            ((*name).to_owned(), serde_json::json!({"modes": ["full_refresh"], "fields": {(*field): "string"}}))
        };
        Catalog::from_body(&streams.iter().map(body).collect::<serde_json::Map<_, _>>().into()).unwrap()
    };
    let show = async |day: u32, catalog: &Catalog| {
        let look = Look { at: time(&format!("2026-02-{day:02}T00:00:00Z")), seen: Ok(catalog.fingerprint()) };
        registry.record_look(&held, &look, Some((catalog, &serde_json::json!({})))).await.unwrap();
        catalog.fingerprint()
    };
    let known = async |of: &Fingerprint| {
        let sampled = registry.sampled(held.connection, of).await.unwrap();
        let trials = registry.trials(held.connection, of).await.unwrap();
        format!(
            "{:?} {:?}",
            sampled.keys().map(ToString::to_string).collect::<Vec<_>>(),
            trials.keys().collect::<Vec<_>>()
        )
    };
    let (renamed, back) = (catalog(&[("a", "area"), ("b", "x")]), catalog(&[("a", "region"), ("b", "x")]));
    let of = show(1, &renamed).await;
    let sampled = ["a", "b"].map(|stream| (stream.parse().unwrap(), Default::default()));
    registry.set_sampled(&held, &of, &sampled.into()).await.unwrap();
    let trial = |stream: &str| aam::repair::Trial {
        stream: stream.parse().unwrap(),
        entity: "account".into(),
        records: 1,
        before: Default::default(),
        unrepaired: Default::default(),
        repaired: Default::default(),
        unfinished: None,
    };
    let trials = ["a", "b"].map(|stream| (format!("repair of {stream}"), vec![trial(stream)]));
    registry.set_trials(&held, &of, &trials.into()).await.unwrap();
    show(2, &renamed).await;
    insta::assert_snapshot!(known(&of).await, @r#"["a", "b"] ["repair of a", "repair of b"]"#);
    // another stream comes
    let more = show(3, &catalog(&[("a", "area"), ("b", "x"), ("c", "y")])).await;
    insta::assert_snapshot!(known(&more).await, @r#"["a", "b"] ["repair of a", "repair of b"]"#);
    // the rename is taken back, and another field gets that name
    let of = show(4, &back).await;
    insta::assert_snapshot!(known(&of).await, @r#"["b"] ["repair of b"]"#);
    let of = show(5, &renamed).await;
    insta::assert_snapshot!(known(&of).await, @r#"["b"] ["repair of b"]"#);
}

#[tokio::test]
async fn intents_jobs_and_last_good_specs_come_back() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let begun = intent(held.connection);
    registry.begin(&held, &begun).await.unwrap();
    registry.begin(&held, &begun).await.unwrap();
    assert_eq!(registry.intents(Some(held.connection)).await.unwrap(), std::slice::from_ref(&begun));
    registry.settle(&held, begun.id).await.unwrap();
    assert_eq!(registry.intents(None).await.unwrap(), []);

    let done = Job { state: JobState::Failed, error: Some("cut\0off".into()), ..job(2) };
    for job in [job(1), job(2), done.clone()] {
        registry.record_job(&held, &job).await.unwrap();
    }
    let stored = Job { error: Some("cut\u{fffd}off".into()), ..done };
    assert_eq!(registry.jobs(held.connection, 10).await.unwrap(), [stored.clone(), job(1)]);
    assert_eq!(registry.jobs(held.connection, 1).await.unwrap(), [stored]);

    let files = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "x".to_owned())).collect::<BTreeMap<_, _>>();
    registry.set_last_good(&files(&["connectors.d/a.yaml", "connectors.d/acme/b.yaml"])).await.unwrap();
    registry.set_last_good(&files(&["connectors.d/acme/b.yaml"])).await.unwrap();
    assert_eq!(registry.last_good().await.unwrap(), files(&["connectors.d/acme/b.yaml"]));
    registry.set_last_good(&files(&[])).await.unwrap();
    assert_eq!(registry.last_good().await.unwrap(), files(&[]));
}

#[tokio::test]
async fn the_audit_chain_holds_under_many_writers_and_shows_a_change() {
    let (registry, admin, _) = fresh().await;
    let numbers: serde_json::Value = serde_json::from_str("{\"n\": 1.50, \"big\": 12345678901234567890123}").unwrap();
    let cause = Cause { actor: "Ann <ann@x>".into(), summary: "a\0b".into(), detail: numbers.clone() };
    let (t, other) = (tenant("a"), tenant("b"));
    futures_util::future::join_all((0..20).map(|_| registry.audit(&t, "x", None, &cause)))
        .await
        .into_iter()
        .for_each(|added| added.unwrap());
    registry.audit(&other, "x", None, &cause).await.unwrap();
    let log = registry.audit_log(&t, None, 100).await.unwrap();
    assert_eq!(log.iter().map(|e| e.position).collect::<Vec<_>>(), (1..=20).rev().collect::<Vec<_>>());
    assert_eq!(log[0].detail, numbers);
    assert_eq!(registry.verify_audit(&t).await.unwrap(), None);
    assert_eq!(registry.verify_audit(&other).await.unwrap(), None);

    for change in ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
        let error = sqlx::query(change).execute(&admin).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{change}: {error}");
    }
    sqlx::raw_sql(
        "ALTER TABLE audit_log DISABLE TRIGGER append_only;
         UPDATE audit_log SET summary = 'forged' WHERE tenant_id = 'a' AND position = 7",
    )
    .execute(&admin)
    .await
    .unwrap();
    assert_eq!(registry.verify_audit(&t).await.unwrap(), Some(7));
    sqlx::raw_sql("DELETE FROM audit_log WHERE tenant_id = 'a' AND position = 3").execute(&admin).await.unwrap();
    assert_eq!(registry.verify_audit(&t).await.unwrap(), Some(3));
    assert_eq!(registry.verify_audit(&other).await.unwrap(), None);
}

#[tokio::test]
async fn a_database_of_a_newer_aam_is_refused_and_a_read_only_one_is_no_error_of_ours() {
    let (registry, admin, options) = fresh().await;
    PgRegistry::open(options.clone()).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '', 0)")
        .execute(&admin)
        .await
        .unwrap();
    let error = PgRegistry::open(options).await.unwrap_err();
    assert!(error.to_string().contains("schema version 9999"), "{error}");
    assert_eq!(error.remedy(), Remedy::Person);

    let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&admin).await.unwrap();
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    sqlx::raw_sql(sqlx::AssertSqlSafe(read_only)).execute(&admin).await.unwrap();
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = 'registry_owner'",
    )
    .execute(&admin)
    .await
    .unwrap();
    let error = registry.audit(&tenant("a"), "x", None, &cause("x")).await.unwrap_err();
    assert!(error.to_string().contains("the server is read-only"), "{error}");
    assert_eq!(error.remedy(), Remedy::Retry);
}

#[tokio::test]
async fn a_url_never_shows_in_an_error() {
    for url in ["postgres://u:s3cret@[::1/x", "postgres://u:s3cret@127.0.0.1:1/x?connect_timeout=1"] {
        let error = PgRegistry::connect(url).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn a_lost_race_is_run_again_and_a_lasting_one_is_for_later() {
    let (registry, admin, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    // sequences keep their count when a transaction is rolled back
    sqlx::raw_sql(
        "CREATE SEQUENCE tries; CREATE SEQUENCE losses START 5;
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO registry_owner;
         CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('tries') <= (SELECT last_value FROM losses) THEN
                 RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER lose BEFORE INSERT ON job_history FOR EACH ROW EXECUTE FUNCTION lose()",
    )
    .execute(&admin)
    .await
    .unwrap();
    registry.record_job(&held, &job(1)).await.unwrap();
    let tries: i64 = sqlx::query_scalar("SELECT last_value FROM tries").fetch_one(&admin).await.unwrap();
    assert_eq!(tries, 6);
    sqlx::query("SELECT setval('losses', 1000)").execute(&admin).await.unwrap();
    let error = registry.record_job(&held, &job(2)).await.unwrap_err();
    assert_eq!(error.to_string(), "registry: recording a job: lost (SQLSTATE 40001)");
    assert_eq!(error.remedy(), Remedy::Retry);
}

#[tokio::test]
async fn a_request_is_noted_as_it_is_now_and_only_one_of_each_subject_is_open() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    let open = request(held.connection, 7);
    registry.put_request(&held, &open, &cause("opened")).await.unwrap();
    assert_eq!(registry.requests(&open.project, true).await.unwrap(), std::slice::from_ref(&open));
    assert!(registry.put_request(&held, &request(held.connection, 8), &cause("two")).await.is_err());
    let merged = RequestRow {
        state: RequestStanding::Merged,
        approvals: vec!["grace".into()],
        by: Some("linus".into()),
        commit: Some(aam::model::CommitId("1".repeat(40))),
        reason: Some("fine".into()),
        ..open.clone()
    };
    registry.put_request(&held, &merged, &cause("merged")).await.unwrap();
    registry.put_request(&held, &request(held.connection, 8), &cause("two")).await.unwrap();
    assert_eq!(registry.requests(&open.project, false).await.unwrap(), [merged, request(held.connection, 8)]);
    assert_eq!(registry.requests(&open.project, true).await.unwrap().len(), 1);
    let by_rule = ByRule { rule: "additive".into(), tip: aam::model::CommitId("2".repeat(40)), told: true };
    let beside = RequestRow {
        subject: Subject::LiveEdit,
        drift: None,
        target: "a digest".into(),
        by_rule: Some(by_rule),
        ..request(held.connection, 9)
    };
    registry.put_request(&held, &beside, &cause("beside")).await.unwrap();
    assert_eq!(registry.requests(&open.project, true).await.unwrap(), [request(held.connection, 8), beside]);
    assert_eq!(registry.requests("elsewhere", false).await.unwrap(), []);
    let log = registry.audit_log(&held.tenant, Some(held.connection), 10).await.unwrap();
    let actions: Vec<&str> = log.iter().map(|line| line.action.as_str()).filter(|a| a.starts_with("request")).collect();
    assert_eq!(actions, ["request.open", "request.open", "request.merged", "request.open"]);
}

#[tokio::test]
async fn rejections_that_git_lacks_are_kept_whole_until_they_are_replaced() {
    let (registry, _, _) = fresh().await;
    let held = declared(&registry, "a", "crm").await;
    assert!(registry.rejections().await.unwrap().is_empty());
    let kept = Rejection { reason: "no".into(), ..rejection() };
    registry.set_rejections(&held, std::slice::from_ref(&kept), &cause("kept")).await.unwrap();
    assert_eq!(registry.rejections().await.unwrap(), [(held.connection, vec![kept])].into());
    registry.set_rejections(&held, &[], &cause("in git")).await.unwrap();
    assert!(registry.rejections().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_was_lost_is_not_taken_anew_by_renewing_it() {
    let (registry, admin, _) = fresh().await;
    let old = declared(&registry, "a", "crm").await;
    let ttl = Duration::from_secs(30);
    sqlx::query("UPDATE leases SET expires_at = now() - interval '1 second'").execute(&admin).await.unwrap();
    registry.renew(&old, ttl).await.unwrap();
    assert_eq!(lease(&registry, "a", old.connection, "other").await, None, "it ended, and nobody had taken it");
    sqlx::query("UPDATE leases SET expires_at = now() - interval '1 second'").execute(&admin).await.unwrap();
    let new = lease(&registry, "a", old.connection, "other").await.unwrap();
    registry.release(&new).await.unwrap();
    let renewed = registry.renew(&old, ttl).await;
    assert!(matches!(renewed, Err(RegistryError::LeaseLost(id)) if id == old.connection), "{renewed:?}");
    let holder: Option<String> = sqlx::query_scalar("SELECT holder FROM leases").fetch_one(&admin).await.unwrap();
    assert_eq!(holder, None, "who slept is in nobody's way");
}

#[tokio::test]
async fn our_commits_are_known_for_a_year() {
    let (registry, admin, _) = fresh().await;
    let ids = |list: &[&str]| list.iter().map(|id| id.repeat(40)).collect::<BTreeSet<String>>();
    let note = async |id: &str| registry.note(&tenant("a"), &aam::model::CommitId(id.repeat(40))).await.unwrap();
    note("1").await;
    note("1").await;
    note("2").await;
    assert_eq!(registry.among(&ids(&["1", "2", "3"])).await.unwrap(), ids(&["1", "2"]));
    let age = format!("UPDATE own_commits SET at = at - interval '366 days' WHERE commit_id = '{}'", "1".repeat(40));
    sqlx::query(sqlx::AssertSqlSafe(age)).execute(&admin).await.unwrap();
    note("4").await;
    assert_eq!(registry.among(&ids(&["1", "2", "4"])).await.unwrap(), ids(&["2", "4"]));
}

#[tokio::test]
async fn where_the_branch_is_is_noted_by_who_knew_where_it_was() {
    let (registry, _, _) = fresh().await;
    let commit = |id: &str| aam::model::CommitId(id.repeat(40));
    assert_eq!(registry.tracked("main").await.unwrap(), None);
    assert!(registry.track("main", None, &commit("1")).await.unwrap());
    assert!(!registry.track("main", None, &commit("2")).await.unwrap());
    assert!(registry.track("main", Some(&commit("1")), &commit("3")).await.unwrap());
    assert!(!registry.track("main", Some(&commit("1")), &commit("2")).await.unwrap(), "somebody was quicker");
    assert_eq!(registry.tracked("main").await.unwrap(), Some(commit("3")));
    assert_eq!(registry.tracked("other").await.unwrap(), None);
}
