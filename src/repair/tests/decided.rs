//! What was decided before, or waits: rejected changes, and fields that wait for a sync.

use super::*;
use crate::drift::Assessed;
use crate::drift::rename::{Arrival, KeptValues, Sampled};
use crate::model::FieldPath;
use crate::spec::Rejection;

/// The repair when these changes were rejected.
fn drafted_rejecting(changes: &[&str], connection: &Connection, observed: &Catalog) -> Repair {
    let rejection = Rejection {
        fingerprint: connection.lock.as_ref().unwrap().fingerprint.clone(),
        by: "Ada".to_owned(),
        at: "2026-01-02T03:04:05Z".to_owned(),
        reason: "not yet".to_owned(),
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
    };
    let rejected = [(connection.name.clone(), vec![rejection])].into();
    drafted_in(&Desired { rejected, ..Desired::default() }, connection, "", observed)
}

/// What is left to do when these changes were rejected.
fn after_rejecting(changes: &[&str], after: &str) -> String {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let repair = drafted_rejecting(changes, &connection, &catalog(after));
    let shown =
        |part| shown(part).lines().filter(|l| !l.starts_with("Aam-")).map(|l| format!("{l}\n")).collect::<String>();
    format!(
        "automatic: {}proposed: {}rejected: {}",
        shown(repair.automatic.as_ref()),
        shown(repair.proposed.as_ref()),
        shown(repair.rejected.as_ref())
    )
}

#[test]
fn a_rejection_holds_for_its_changes_whatever_comes_beside_them() {
    let no_fax = BEFORE.replace("fax_number string, ", "");
    let fax = ["- public/accounts.fax_number: string"];
    insta::assert_snapshot!(after_rejecting(&fax, &no_fax), @r"
    automatic: nothing
    proposed: nothing
    rejected: drift crm: - public/accounts.fax_number: string
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      fax_number: string
    mappings/crm.yaml
      -      fax: fax_number
    note: account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead
    note: - public/accounts.fax_number: string was rejected by Ada: not yet
    ");
    // What only adds is taken in, and nothing is asked.
    insta::assert_snapshot!(after_rejecting(&fax, &format!("{no_fax}, zip_code integer")), @"
    automatic: drift crm: + public/accounts.zip_code: integer
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      +      zip_code: integer
    note: unmapped: public/accounts.zip_code; values are kept in unknown_fields until a mapping takes them
    proposed: nothing
    rejected: drift crm: - public/accounts.fax_number: string
    connectors.d/crm.lock.yaml
      -version: 2
      +version: 3
      -      fax_number: string
    mappings/crm.yaml
      -      fax: fax_number
    note: account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead
    note: - public/accounts.fax_number: string was rejected by Ada: not yet
    ");
    // Something new is asked without it.
    let renamed = no_fax.replace("annual_rev ", "annual_revenue ");
    insta::assert_snapshot!(after_rejecting(&fax, &renamed), @r#"
    automatic: nothing
    proposed: drift crm: ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      -      annual_rev: decimal(12,2)
      +      annual_revenue: decimal(12,2)
    mappings/crm.yaml
      -      annual_revenue: {from: annual_rev, as: decimal}
      +      annual_revenue: {from: annual_revenue, as: decimal}
      -      label: {expr: 'name ~ " " ~ annual_rev'}
      +      label: {expr: 'name ~ " " ~ annual_revenue'}
    rejected: nothing
    "#);
    // An addition that was rejected is not taken in.
    let zip = ["+ public/accounts.zip_code: integer"];
    insta::assert_snapshot!(after_rejecting(&zip, &format!("{BEFORE}, zip_code integer")), @"
    automatic: nothing
    proposed: nothing
    rejected: drift crm: + public/accounts.zip_code: integer
    connectors.d/crm.lock.yaml
      -version: 1
      +version: 2
      +      zip_code: integer
    note: unmapped: public/accounts.zip_code; values are kept in unknown_fields until a mapping takes them
    note: + public/accounts.zip_code: integer was rejected by Ada: not yet
    ");
}

#[test]
fn what_cannot_go_without_a_rejected_change_brings_it_up_again() {
    let body = |key: &[&str], more: &[&str]| {
        let fields: serde_json::Map<String, serde_json::Value> =
            ["id", "name"].iter().chain(more).map(|name| ((*name).to_owned(), "string!".into())).collect();
        let body = serde_json::json!({"public/accounts": {"key": key, "modes": ["full_refresh"], "fields": fields}});
        Catalog::from_body(&body).unwrap()
    };
    let connection = connection(&body(&["id"], &[]), mapping(MAPPING));
    let zone = ["+ public/accounts.zone: string!"];
    let part = drafted_rejecting(&zone, &connection, &body(&["id", "zone"], &["zone"])).proposed.unwrap();
    assert_eq!(part.assessment.changes.len(), 2);
    assert!(part.notes.contains(&"+ public/accounts.zone: string! was rejected by Ada: not yet".to_owned()));
}

/// Two streams.
fn both(accounts: &str, tickets: &str) -> Catalog {
    let mut both = catalog(accounts);
    let tickets = catalog(tickets).streams.into_values().next().unwrap();
    both.streams.insert("public/tickets".parse().unwrap(), tickets);
    both
}

/// The repair while values of `(stream, gone, came)` wait for a sync.
fn drafted_awaiting(lock: &Catalog, observed: &Catalog, awaited: &[(&str, &str, &str)], rejected: &str) -> Repair {
    let connection = connection(lock, mapping(MAPPING));
    let (mut arrivals, mut values) = (Arrivals::new(), Values::new());
    for (stream, gone, came) in awaited {
        let (gone, came) = ([FieldPath::top(*gone)].into(), [FieldPath::top(*came)].into());
        let kept = KeptValues::of([r#"{"id": 1}"#], &[FieldPath::top("id")], &gone, "salt".to_owned());
        let arrival = Arrival { gone, came, kept, ..Arrival::default() };
        let stream: StreamName = stream.parse().unwrap();
        if arrival.is_taken_in(&stream, lock) {
            values.insert(stream.clone(), Sampled::awaited());
        }
        arrivals.insert(stream, arrival);
    }
    let lock = connection.lock.clone().unwrap();
    let rejection = Rejection {
        fingerprint: lock.fingerprint.clone(),
        by: "Ada".to_owned(),
        at: String::new(),
        reason: "not yet".to_owned(),
        changes: vec![rejected.to_owned()],
    };
    let rejected = [(connection.name.clone(), vec![rejection])].into();
    let input = Input {
        desired: &Desired { rejected, ..Desired::default() },
        connection: &connection,
        lock: &lock,
        lock_text: &lock::render(&lock, "crm"),
        spec_text: "",
        files: &BTreeMap::new(),
        observed,
        whole: observed,
        past: &[],
        values: &values,
        arrivals: &arrivals,
        ask: None,
    };
    draft(input).unwrap()
}

fn lines<'a>(changes: impl IntoIterator<Item = &'a Assessed>) -> String {
    changes.into_iter().map(|c| line_of(&c.change)).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_waits_for_a_sync_is_asked_later_and_keeps_no_other_change() {
    let lock = both("id integer!, fax_number string, tele string, size integer", "id integer!, title string");
    let awaited = [("public/accounts", "fax_number", "tele")];
    let asked = |accounts: &str, tickets: &str| {
        let repair = drafted_awaiting(&lock, &both(accounts, tickets), &awaited, "");
        let proposed = repair.proposed.map(|part| lines(&part.assessment.changes)).unwrap_or_default();
        format!("{proposed}, later {}", lines(&repair.waiting))
    };
    let (accounts, went) = ("id integer!, tele string, size integer", "- public/accounts.fax_number: string");
    assert_eq!(asked(accounts, "id integer!, title string"), format!("{went}, later "));
    assert_eq!(asked(accounts, "id integer!"), format!("- public/tickets.title: string, later {went}"));
}

#[test]
fn a_rejected_field_keeps_only_its_own_stream_from_the_first_step() {
    let lock = both("id integer!, fax_number string", "id integer!, title string");
    let observed = both("id integer!, tele string", "id integer!, subject string");
    let awaited = [("public/accounts", "fax_number", "tele"), ("public/tickets", "title", "subject")];
    let first = |rejected: &str| {
        let repair = drafted_awaiting(&lock, &observed, &awaited, rejected);
        repair.automatic.map(|part| lines(&part.assessment.changes)).unwrap_or_default()
    };
    assert_eq!(first(""), "+ public/accounts.tele: string; + public/tickets.subject: string");
    assert_eq!(first("+ public/tickets.subject: string"), "+ public/accounts.tele: string");
}
