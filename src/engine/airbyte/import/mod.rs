//! What Airbyte holds as specs and locks. Reading is a handful of lists; the rest is pure: the same installation and the same
//! files give the same texts. Nothing is written to Airbyte and no connector runs: a lock holds the schema with which its
//! connection was saved, cut to the fields that it carries.
//!
//! `naming` finds a file name for each object, `text` writes the files.

mod naming;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::AirbyteEngine;
use super::api::{Actor, Connection as Live, Definition, Kept};
use super::engine::{engine_id, unread};
use super::told::{choose_definition, told};
use crate::model::{Catalog, ConnectionId, ConnectionRef, RepoPath, TenantId};
use crate::ports::{ConfiguredStream, EngineConnection, EngineEndpoint, EngineError, EngineId, ObjectKind};
use crate::spec::names::{lock_path, spec_path};
use crate::spec::{self, Lock};
use naming::Names;

/// What lies in the configuration repository.
pub type Files = BTreeMap<RepoPath, Arc<[u8]>>;

/// Everything in the workspaces that are imported.
#[derive(Debug, Clone, Default)]
pub struct Found {
    workspaces: Vec<Workspace>,
}

#[derive(Debug, Clone)]
struct Workspace {
    tenant: TenantId,
    sources: BTreeMap<Uuid, End>,
    destinations: BTreeMap<Uuid, End>,
    connections: Vec<Held>,
}

/// A source or destination.
#[derive(Debug, Clone)]
struct End {
    id: Uuid,
    name: String,
    connector: String,
    settings: Value,
}

impl End {
    fn told(&self) -> EngineEndpoint {
        EngineEndpoint { name: self.name.clone(), config: self.settings.clone() }
    }
}

/// A connection, and the same in our words if there are words for it.
#[derive(Debug, Clone)]
struct Held {
    live: Kept<Live>,
    told: Result<EngineConnection, String>,
}

/// What would be written.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// Sources and destinations that connections below use.
    pub endpoints: Vec<ImportedEnd>,
    /// Connections, by name.
    pub connections: Vec<Imported>,
    /// Those whose spec is there already, by its path.
    pub there: BTreeMap<RepoPath, EngineConnection>,
    /// Those that cannot be declared.
    pub left_out: Vec<LeftOut>,
    /// Every source and destination as it is in Airbyte.
    pub ends: BTreeMap<(ObjectKind, EngineId), EngineEndpoint>,
}

/// A new `kind: source` or `kind: destination`.
#[derive(Debug, Clone)]
pub struct ImportedEnd {
    /// Which of the two.
    pub kind: ObjectKind,
    /// Where it is written.
    pub path: RepoPath,
    /// Its text.
    pub text: String,
    /// The references that stand in it for values that git must not hold.
    pub secrets: Vec<Secret>,
}

/// A value that git must not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The variable that its reference names.
    pub variable: String,
    /// Where in the spec it stands: `config.password`.
    pub at: String,
    /// Whether Airbyte shows the value: only its name says that it is a secret.
    pub shown: bool,
}

/// A new connection with its lock.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its name in git.
    pub name: ConnectionRef,
    /// Its name in Airbyte.
    pub display: String,
    /// Where its spec is written.
    pub path: RepoPath,
    /// Its spec.
    pub spec: String,
    /// Where its lock is written.
    pub lock_path: RepoPath,
    /// Its lock.
    pub lock: String,
    /// The specs of its source and its destination.
    pub ends: [RepoPath; 2],
    /// As it is in Airbyte.
    pub live: EngineConnection,
}

/// A connection that is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in Airbyte.
    pub display: String,
    /// Its id in Airbyte.
    pub id: String,
    /// Why.
    pub why: String,
}

impl AirbyteEngine {
    /// Lists everything that an import is made from.
    pub async fn holdings(&self) -> Result<Found, EngineError> {
        let what = "reading what Airbyte holds";
        let mut found = Found::default();
        for (tenant, workspace) in self.tenants().await? {
            let mut ends = [BTreeMap::new(), BTreeMap::new()];
            for (kind, ends) in [ObjectKind::Source, ObjectKind::Destination].into_iter().zip(&mut ends) {
                let definitions = self.api().definitions(kind, workspace).await.map_err(|e| unread(what, &e))?;
                let actors = self.api().actors(kind, workspace).await.map_err(|e| unread(what, &e))?;
                ends.extend(actors.into_iter().map(|a| (a.known.id, end(kind, a.known, &definitions))));
            }
            let [sources, destinations] = ends;
            let mut connections = self.list_connections(what, workspace).await?;
            // by age, so that a name keeps its owner when others take it, too
            connections.sort_by_key(|c| (c.known.created_at, c.known.connection_id));
            let connections = connections.into_iter().map(|live| Held { told: told(&live), live }).collect::<Vec<_>>();
            found.workspaces.push(Workspace { tenant, sources, destinations, connections });
        }
        Ok(found)
    }
}

/// The repository names the connector, unless several have it or the spec's words do not take it: then its id does.
fn end(kind: ObjectKind, actor: Actor, definitions: &[Definition]) -> End {
    let repository = definitions.iter().find(|d| d.id == actor.definition).map(|d| d.docker_repository.clone());
    let prefix = format!("{}-", kind.word());
    let names_it = |repository: &String| {
        let image = repository.rsplit('/').next().unwrap_or_default();
        image.starts_with(&prefix)
            && !repository.contains(':')
            && choose_definition(kind, definitions, repository).is_ok_and(|d| d.id == actor.definition)
    };
    End {
        id: actor.id,
        name: actor.name,
        connector: repository.filter(names_it).unwrap_or_else(|| actor.definition.to_string()),
        settings: actor.connection_configuration,
    }
}

/// What is to be written beside the files that are there. A file that adopts an object already stays as it is.
pub fn draft(found: &Found, files: &Files) -> Import {
    let mut names = Names::of(files);
    let mut import = Import::default();
    for workspace in &found.workspaces {
        draft_workspace(workspace, &mut names, &mut import);
        for (kind, ends) in
            [(ObjectKind::Source, &workspace.sources), (ObjectKind::Destination, &workspace.destinations)]
        {
            import.ends.extend(ends.values().map(|end| ((kind, engine_id(end.id)), end.told())));
        }
    }
    import.connections.sort_by(|a, b| a.name.cmp(&b.name));
    import.endpoints.sort_by(|a, b| a.path.cmp(&b.path));
    import
}

fn draft_workspace(workspace: &Workspace, names: &mut Names, import: &mut Import) {
    let tenant = &workspace.tenant;
    let mut wanted = Vec::new();
    for held in &workspace.connections {
        let known = &held.live.known;
        let ends = workspace.sources.get(&known.source_id).zip(workspace.destinations.get(&known.destination_id));
        let told = held.told.clone().and_then(|told| {
            let ends = ends.ok_or("its source or its destination is not in the workspace's lists")?;
            match told.is.streams.is_empty() {
                true => Err("it carries no stream".to_owned()),
                false => Ok((told, ends)),
            }
        });
        match (told, names.path_of(known.connection_id)) {
            (Ok((told, _)), Some(path)) => drop(import.there.insert(path.clone(), told)),
            (Ok((told, ends)), None) => {
                let name = names.take(tenant, &known.name, "", known.connection_id);
                wanted.push((held, told, ends, name));
            }
            (Err(why), _) => {
                import.left_out.push(LeftOut {
                    display: known.name.clone(),
                    id: known.connection_id.to_string(),
                    why: crate::diag::escape(&why).into_owned(),
                });
            }
        }
    }
    // connections choose their names first: they are what people speak of
    let mut paths: BTreeMap<Uuid, RepoPath> = BTreeMap::new();
    let used = |of: fn(&(&End, &End)) -> Uuid| wanted.iter().map(|w| of(&w.2)).collect::<BTreeSet<_>>();
    let (sources, destinations) = (used(|ends| ends.0.id), used(|ends| ends.1.id));
    for (kind, used, ends) in [
        (ObjectKind::Destination, destinations, &workspace.destinations),
        (ObjectKind::Source, sources, &workspace.sources),
    ] {
        for id in used {
            if let Some(path) = names.path_of(id) {
                paths.insert(id, path.clone());
                continue;
            }
            let end = &ends[&id];
            let name = names.take(tenant, &end.name, kind.word(), id);
            let path = spec_path(&name);
            paths.insert(id, path.clone());
            let (text, secrets) = text::endpoint(kind, end, |place| names.variable(&name, place));
            import.endpoints.push(ImportedEnd { kind, path, text, secrets });
        }
    }
    for (held, told, (source, destination), name) in wanted {
        let ends = [source, destination].map(|end| paths[&end.id].clone());
        match text::connection(&held.live, &told.is, ends.each_ref().map(stem)) {
            Ok(spec) => import.connections.push(Imported {
                display: held.live.known.name.clone(),
                path: spec_path(&name),
                spec,
                lock_path: lock_path(&spec_path(&name)),
                lock: lock(held.live.known.connection_id, &told.is.streams, &name),
                name,
                ends,
                live: told,
            }),
            Err(why) => import.left_out.push(LeftOut {
                display: held.live.known.name.clone(),
                id: held.live.known.connection_id.to_string(),
                why,
            }),
        }
    }
}

fn stem(path: &RepoPath) -> &str {
    path.file_name().strip_suffix(".yaml").unwrap_or(path.file_name())
}

/// The schema that the connection was saved with. Its identity follows from Airbyte's, so that an import that is made again
/// is the same.
fn lock(id: Uuid, streams: &[ConfiguredStream], name: &ConnectionRef) -> String {
    let streams = streams.iter().map(|stream| (stream.name.clone(), stream.schema.clone())).collect();
    let catalog = Catalog { streams };
    let lock = Lock {
        id: ConnectionId(Uuid::new_v5(&id, b"aam import")),
        version: 1,
        fingerprint: catalog.fingerprint(),
        catalog,
    };
    spec::lock::render(&lock, &name.to_string())
}
