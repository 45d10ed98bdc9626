//! What changes reach: catalogs and a mapping in, lines out.

use std::sync::Arc;

use super::*;
use crate::drift::rename::Values;
use crate::drift::{Scene, assess, compare};
use crate::model::{Catalog, RepoPath};
use crate::repair::sample;
use crate::spec::{EntityField, EntitySpec, MappingSpec};

const MAPPING: &str = "\
entities:
  account:
    stream: public/accounts
    key: id
    fields:
      name: name
      revenue: annual_rev
      city: address.city
      label: {expr: 'name ~ address.city'}
    deleted_when: gone
";

const BEFORE: &str =
    "id integer!, name string, annual_rev decimal(12,2), address object, address.city string, gone boolean";

/// Where a stream lands in these tests: field `x` in column `c_x`.
fn tables(catalog: &Catalog) -> Tables {
    let columns = |stream: &crate::model::Stream| {
        stream.columns().iter().map(|(path, _)| (path.root().to_owned(), format!("c_{}", path.root()))).collect()
    };
    catalog
        .streams
        .iter()
        .map(|(name, s)| (name.clone(), Table { name: "crm.accounts".into(), columns: columns(s) }))
        .collect()
}

fn all_words(radius: &Radius) -> Vec<String> {
    let items = [radius.place_words(), radius.column_words(), radius.stream_words()].concat();
    items.into_iter().map(|(place, parts)| format!("{place}  {}", parts.join("; "))).collect()
}

struct Case {
    desired: Desired,
    connection: Connection,
    before: Catalog,
}

impl Case {
    fn new() -> Self {
        let before = sample::catalog(BEFORE);
        let connection = sample::connection(&before, sample::mapping(MAPPING));
        let field = EntityField { ty: "string".into(), required: true, pii: false, description: None };
        let path = RepoPath::new("mappings/entities/account.yaml").unwrap();
        let entity = EntitySpec { name: "account".into(), path, fields: [("name".to_owned(), field)].into() };
        let mut desired = Desired::default();
        desired.entities.insert("account".to_owned(), Arc::new(entity));
        desired.connections.insert(connection.name.clone(), connection.clone());
        Self { desired, connection, before }
    }

    /// Another connection with a source of its own unless it is named.
    fn beside(mut self, name: &str, source: Option<&str>, mapping: MappingSpec) -> Self {
        let mut other = self.connection.clone();
        other.name = name.parse().unwrap();
        other.source.name = source.unwrap_or(name).parse().unwrap();
        other.mapping = Some(Arc::new(mapping));
        self.desired.connections.insert(other.name.clone(), other);
        self
    }

    fn radius(&self, after: &Catalog, usage: Option<&Usage>) -> Radius {
        let (entities, connection) = (&self.desired.entities, &self.connection);
        let values = &Values::new();
        let scene = Scene { lock: &self.before, observed: after, whole: None, connection, entities, values };
        let assessment = assess(&compare(&self.before, after), scene);
        let (tables, tables_after) = (&tables(&self.before), &tables(after));
        radius(&assessment, &Surroundings { connection, desired: &self.desired, tables, tables_after, usage })
    }

    fn shown(&self, after: &str, usage: Option<&Usage>) -> String {
        let radius = self.radius(&sample::catalog(after), usage);
        let mut out = all_words(&radius);
        out.extend(radius.counted_words());
        out.join("\n")
    }
}

fn usage(days: i64, all: u64, carrying: &[(&str, u64)]) -> Usage {
    let until: DateTime<Utc> = "2026-11-20T14:03:00Z".parse().unwrap();
    let carrying = carrying.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    let stream: StreamName = "public/accounts".parse().unwrap();
    let events = [("account".to_owned(), Events { all, carrying })].into();
    let synced = [(stream.clone(), until - TimeDelta::minutes(5))].into();
    Usage { counted: Counted::before(until, until - TimeDelta::days(days)), events: [(stream, events)].into(), synced }
}

#[test]
fn what_starves_what_follows_and_how_much_that_is() {
    let after = BEFORE.replace("annual_rev ", "annual_revenue ").replace(", gone boolean", "");
    let usage = usage(90, 20_000, &[("revenue", 8_680)]);
    insta::assert_snapshot!(Case::new().shown(&after, Some(&usage)), @r#"
    mappings/crm.yaml:10  deleted_when of account reads it: it is gone; about 2,860 events a day
    mappings/crm.yaml:7  canonical field account.revenue reads annual_rev: the repair follows the new name; about 1,240 events a day carried it
    crm.accounts  column c_gone: dropped by the first sync after approval, with the values
    crm.accounts  column c_annual_rev: dropped by the first sync after approval, which adds c_annual_revenue; rows that are not read again hold no value in c_annual_revenue
    public/accounts  left out of syncs until this is decided; the first sync after that catches up; account gets no new events from it meanwhile; last synced 2026-11-20 13:58 UTC
    Events are counted in the 7 days before 2026-11-20 14:03 UTC, when this was first seen.
    "#);
}

#[test]
fn what_lies_inside_a_column_stays_in_it() {
    let after = BEFORE.replace("address.city string", "address.town binary");
    insta::assert_snapshot!(Case::new().shown(&after, None), @r#"
    mappings/crm.yaml:8  canonical field account.city reads address.city: starves
    mappings/crm.yaml:9  canonical field account.label reads address.city: starves
    crm.accounts  column c_address: the JSON has another form
    public/accounts  left out of syncs until this is decided; the first sync after that catches up; account gets no new events from it meanwhile
    "#);
}

#[test]
fn a_stream_that_went_starves_the_whole_entity() {
    let case = Case::new();
    let radius = case.radius(&Catalog::default(), Some(&usage(90, 3, &[])));
    insta::assert_snapshot!(all_words(&radius).join("\n"), @r#"
    mappings/crm.yaml:3  account is read from this stream: gets no new events for its 4 fields; 3 events in 7 days
    crm.accounts  gets no more rows; those that landed stay
    public/accounts  left out of syncs until this is decided; the first sync after that catches up; account gets no new events from it meanwhile; last synced 2026-11-20 13:58 UTC
    "#);
    assert_eq!(radius.places[0].fields, ["name", "revenue", "city", "label"]);
}

#[test]
fn a_stream_under_another_name_takes_its_entity_along() {
    let mut after = sample::catalog(BEFORE);
    let stream = after.streams.remove(&"public/accounts".parse().unwrap()).unwrap();
    after.streams.insert("public/customers".parse().unwrap(), stream);
    let radius = Case::new().radius(&after, Some(&usage(90, 21, &[])));
    insta::assert_snapshot!(all_words(&radius).join("\n"), @"
    mappings/crm.yaml:3  account is read from this stream: the repair follows the new name for its 4 fields; about 3 events a day
    crm.accounts  gets no more rows; those that landed stay
    public/accounts  left out of syncs until this is decided; the first sync after that catches up; account gets no new events from it meanwhile; last synced 2026-11-20 13:58 UTC
    ");
}

#[test]
fn who_feeds_the_same_from_another_source_is_named() {
    let feeds = |field: &str| {
        sample::mapping(&format!("entities:\n  account:\n    stream: t\n    fields:\n      {field}: x\n"))
    };
    let case = Case::new()
        .beside("billing", None, feeds("revenue"))
        .beside("other-field", None, feeds("name"))
        .beside("same-source", Some("crm"), feeds("revenue"))
        .beside("acme/other-tenant", None, feeds("revenue"));
    let radius = case.radius(&sample::catalog(&BEFORE.replace("annual_rev decimal(12,2), ", "")), None);
    let names: Vec<String> = radius.places[0].also_fed_by.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["billing"]);
    assert_eq!(radius.place_words()[0].1[1], "billing feeds it, too, and goes on");
}

#[test]
fn policy_and_mode_decide_what_becomes_of_syncs() {
    let no_rev = sample::catalog(&BEFORE.replace("annual_rev decimal(12,2), ", ""));
    let mut case = Case::new();
    let syncs = |case: &Case, after: &Catalog| case.radius(after, None).streams[0].syncs;
    assert_eq!(syncs(&case, &no_rev), Syncs::Held);
    case.connection.drift.when_breaking = WhenBreaking::Continue;
    assert_eq!(syncs(&case, &no_rev), Syncs::GoesOn);
    assert_eq!(syncs(&case, &Catalog::default()), Syncs::Stops);
    case.connection.mode = Mode::Propose;
    assert_eq!(syncs(&case, &no_rev), Syncs::LeftAlone);
}

#[test]
fn rates_are_told_as_far_as_they_are_known() {
    let shown = |days: i64, count: u64| {
        let after = BEFORE.replace("annual_rev decimal(12,2), ", "");
        let radius = Case::new().radius(&sample::catalog(&after), Some(&usage(days, count, &[("revenue", count)])));
        let words = &radius.place_words()[0].1[1];
        format!("{days} days, {count}: {words} ({:?})", radius.places[0].events_per_day.unwrap())
    };
    let all = [(90, 0), (90, 1), (90, 6), (90, 7), (90, 30), (90, 8_680), (2, 8_680), (0, 12), (90, 12_345_678)];
    insta::assert_snapshot!(all.map(|(days, count)| shown(days, count)).join("\n"), @r#"
    90 days, 0: no events carried it (0.0)
    90 days, 1: 1 event in 7 days carried it (0.143)
    90 days, 6: 6 events in 7 days carried it (0.857)
    90 days, 7: about 1 event a day carried it (1.0)
    90 days, 30: about 4.3 events a day carried it (4.29)
    90 days, 8680: about 1,240 events a day carried it (1240.0)
    2 days, 8680: about 4,340 events a day carried it (4340.0)
    0 days, 12: about 12 events a day carried it (12.0)
    90 days, 12345678: about 1,760,000 events a day carried it (1760000.0)
    "#);
}

#[test]
fn only_what_a_change_touches_is_counted() {
    let case = Case::new();
    let after = sample::catalog(&BEFORE.replace("annual_rev decimal(12,2), ", ""));
    let (entities, connection) = (&case.desired.entities, &case.connection);
    let values = &Values::new();
    let scene = Scene { lock: &case.before, observed: &after, whole: None, connection, entities, values };
    let asked = asked(&assess(&compare(&case.before, &after), scene));
    insta::assert_snapshot!(serde_json::to_string(&asked).unwrap(), @r#"{"public/accounts":{"account":["revenue"]}}"#);
}
