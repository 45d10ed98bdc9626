//! Records per second of the mapping, as a ratio to parsing the same bytes into untyped JSON values.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod timing;

use std::hint::black_box;

use aam::mapping::{compile, content_hash};
use aam::model::{RepoPath, StreamName};
use aam::spec::{At, EntityField, EntityMapping, EntitySpec, FieldMapping, MappingRule, MappingSpec};

use timing::best_on_processor as best;

fn at<T>(value: T) -> At<T> {
    At { value, line: 1, column: 1, span: 0..0 }
}

fn main() {
    let records: Vec<String> = (0..100_000)
        .map(|n| {
            format!(
                r#"{{"id":{n},"name":"Account {n}","billing_state":"{}","annual_rev":{n}.50,"employee_count":{},"created_at":"2024-03-31T10:{:02}:00Z","address":{{"street":"Main Street {n}","city":"Town"}},"is_deleted":false,"note":"kept as it is, {n}","owner":null}}"#,
                if n % 2 == 0 { "CA" } else { "NY" },
                n % 1000,
                n % 60
            )
        })
        .collect();
    let path = |to: &str, from: &str| FieldMapping {
        target: at(to.into()),
        rule: MappingRule::Path(at(from.parse().unwrap())),
    };
    let long = |to: &str, from: &str, values: &[(&str, &str)], default: Option<&str>| FieldMapping {
        target: at(to.into()),
        rule: MappingRule::From {
            from: at(from.parse().unwrap()),
            cast: None,
            values: values.iter().map(|(a, b)| (at((*a).into()), at((*b).into()))).collect(),
            default: default.map(|d| at(d.into())),
        },
    };
    let mut fields = vec![
        path("name", "name"),
        path("created_at", "created_at"),
        path("annual_revenue", "annual_rev"),
        path("city", "address.city"),
        path("extras.employees", "employee_count"),
        long("region", "billing_state", &[("CA", "west"), ("NY", "east")], Some("other")),
    ];
    let types = [
        ("name", "string"),
        ("created_at", "timestamp"),
        ("annual_revenue", "decimal"),
        ("city", "string"),
        ("region", "string"),
        ("full", "string"),
    ];
    let entity = EntitySpec {
        name: "account".into(),
        path: RepoPath::new("mappings/entities/account.yaml").unwrap(),
        fields: types
            .iter()
            .map(|(n, ty)| {
                ((*n).into(), EntityField { ty: (*ty).into(), required: false, pii: false, description: None })
            })
            .collect(),
    };
    let bytes: usize = records.iter().map(String::len).sum();
    let parsing = best(|| {
        records
            .iter()
            .for_each(|r| drop(black_box(serde_json::from_slice::<serde_json::Value>(r.as_bytes()).unwrap())));
    });
    for (name, deleted_when, expression) in [
        ("operations", None, None),
        ("with deleted_when and expr", Some("is_deleted"), Some("address.street ~ ', ' ~ address.city")),
    ] {
        if let Some(expression) = expression {
            fields.push(FieldMapping { target: at("full".into()), rule: MappingRule::Expr(at(expression.into())) });
        }
        let entry = EntityMapping {
            entity: at("account".into()),
            stream: at(StreamName::bare("accounts")),
            key: vec![at("id".parse().unwrap())],
            fields: fields.clone(),
            deleted_when: deleted_when.map(|e: &str| at(e.into())),
        };
        let spec = MappingSpec {
            name: "crm".into(),
            path: RepoPath::new("mappings/crm.yaml").unwrap(),
            text: "".into(),
            digest: String::new(),
            system: "crm".into(),
            entities: vec![entry],
        };
        let mapping = compile(&spec, &spec.entities[0], &entity, None).unwrap();
        let mapped = best(|| {
            for record in &records {
                let mapped = mapping.apply(record).unwrap();
                black_box(content_hash("upsert", &mapped.data, &mapped.unknown_fields));
            }
        });
        println!(
            "mapping ({name}): {:.0} records/s, {:.1} MB/s, {:.2} times the time of parsing to serde_json::Value",
            records.len() as f64 / mapped.as_secs_f64(),
            bytes as f64 / 1e6 / mapped.as_secs_f64(),
            mapped.as_secs_f64() / parsing.as_secs_f64()
        );
    }
}
