//! A small connection for tests, made from its files' texts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::chosen::scalars_of;
use super::yaml::Step;
use crate::model::{Catalog, ConnectionId, RepoPath};
use crate::spec::*;

/// A mapping from its text, places included; understands what these tests write.
pub(crate) fn mapping(text: &str) -> MappingSpec {
    let mut entities: Vec<EntityMapping> = Vec::new();
    for (at, span, value) in scalars_of(text) {
        let keys: Vec<String> = at
            .iter()
            .map(|step| match step {
                Step::Key(key) => key.clone(),
                Step::Item(item) => item.to_string(),
            })
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let line = u32::try_from(text[..span.start].matches('\n').count() + 1).unwrap();
        let node = At { value: value.clone(), line, column: 1, span: span.clone() };
        fn path(node: &At<String>) -> At<crate::model::FieldPath> {
            At { value: node.value.parse().unwrap(), line: node.line, column: 1, span: node.span.clone() }
        }
        let ["entities", name, rest @ ..] = keys.as_slice() else { continue };
        if *rest == ["stream"] {
            entities.push(EntityMapping {
                entity: At { value: (*name).to_owned(), ..node.clone() },
                stream: At { value: value.parse().unwrap(), line, column: 1, span },
                key: Vec::new(),
                fields: Vec::new(),
                deleted_when: None,
            });
            continue;
        }
        let entity = entities.last_mut().unwrap();
        let target = |name: &str| {
            let start = text[..node.span.start].rfind(name).unwrap();
            At { value: name.to_owned(), line, column: 1, span: start..start + name.len() }
        };
        match rest {
            ["key"] | ["key", _] => entity.key.push(path(&node)),
            ["deleted_when"] => entity.deleted_when = Some(node),
            ["fields", field] => {
                entity.fields.push(FieldMapping { target: target(field), rule: MappingRule::Path(path(&node)) });
            }
            ["fields", field, "from"] => {
                let rule = MappingRule::From { from: path(&node), cast: None, values: Vec::new(), default: None };
                entity.fields.push(FieldMapping { target: target(field), rule });
            }
            ["fields", field, "expr"] => {
                entity.fields.push(FieldMapping { target: target(field), rule: MappingRule::Expr(node.clone()) });
            }
            _ => {}
        }
    }
    let path = RepoPath::new("mappings/crm.yaml").unwrap();
    let (name, digest, system) = ("crm".to_owned(), "00".to_owned(), "crm".to_owned());
    MappingSpec { name, path, text: text.into(), digest, system, entities }
}

/// A catalog of one stream `public/accounts` with key `id`, written as in a lock: `id integer!, name string`.
pub(crate) fn catalog(fields: &str) -> Catalog {
    let fields: serde_json::Map<String, serde_json::Value> =
        fields.split(", ").map(|f| f.rsplit_once(' ').unwrap()).map(|(k, v)| (k.to_owned(), v.into())).collect();
    let body = serde_json::json!({"public/accounts": {"key": ["id"], "modes": ["full_refresh"], "fields": fields}});
    Catalog::from_body(&body).unwrap()
}

/// A connection `crm` with that lock and mapping.
pub(crate) fn connection(catalog: &Catalog, mapping: MappingSpec) -> Connection {
    let endpoint = |connector: &str| Endpoint {
        name: "crm".parse().unwrap(),
        connector: connector.to_owned(),
        config: BTreeMap::new(),
        airbyte: Default::default(),
    };
    let lock = Lock {
        id: ConnectionId(uuid::Uuid::from_u128(7)),
        version: 1,
        fingerprint: catalog.fingerprint(),
        catalog: catalog.clone(),
    };
    Connection {
        name: "crm".parse().unwrap(),
        path: RepoPath::new("connectors.d/crm.yaml").unwrap(),
        lock_path: RepoPath::new("connectors.d/crm.lock.yaml").unwrap(),
        digest: String::new(),
        mode: Mode::Manage,
        source: endpoint("postgres"),
        destination: endpoint("postgres"),
        schedule: Schedule::Manual,
        streams: Selection::All,
        mapping: Some(Arc::new(mapping)),
        drift: DriftPolicy {
            check: Schedule::Every(Duration::from_secs(900)),
            repair: RepairPolicy::Auto,
            threshold: 0.85,
            when_breaking: WhenBreaking::HoldStream,
        },
        on_live_edit: OnLiveEdit::Propose,
        pin: None,
        on_delete: OnDelete::Pause,
        lock: Some(lock),
        airbyte: Default::default(),
    }
}
