//! One file: raw → checked. Every function checks one thing and adds all it finds.

mod connection;
mod mapping;

use std::sync::Arc;

use crate::diag::{Diagnostic, quoted};
use crate::model::{ConnectionRef, Fingerprint, RepoPath};

use super::airbyte::{check_actor, not_with};
use super::connectors::{End, check_airbyte_config, check_config};
use super::names::Role;
use super::raw::{RawActor, RawConnection, RawDestination, RawEntity, RawLock, RawMapping, RawRejection, RawSource};
use super::read::{FromNode, Text, nearest};
use super::source::{Problems, Source};
use super::value::read_config;
use super::yaml::{self, Node};
use super::{
    ActorOptions, Config, ConfigValue, EngineKind, EntitySpec, Lock, MappingSpec, Mode, OnDelete, Pin, Rejection, lock,
};

pub(super) use connection::{CheckedConnection, EndpointChoice};

/// A file that can be used for itself; what it refers to is looked up later.
#[derive(Debug, Clone)]
pub(super) enum Checked {
    /// `kind: connection`
    Connection(Box<CheckedConnection>),
    /// `kind: source` or `kind: destination`
    Endpoint(End, CheckedEndpoint),
    /// `kind: mapping`
    Mapping(Arc<MappingSpec>),
    /// `kind: entity`
    Entity(Arc<EntitySpec>),
    /// A lock that is whole.
    Lock(Box<Lock>),
    /// `rejected.yaml`
    Rejected(Vec<Rejection>),
}

/// A connector and its settings.
#[derive(Debug, Clone)]
pub(super) struct CheckedEndpoint {
    /// The connector.
    pub connector: String,
    /// Its settings.
    pub config: Config,
    /// What the Airbyte engine is told besides.
    pub airbyte: ActorOptions,
}

/// What a spec says about a source or destination.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// The connector.
    pub connector: &'a Text,
    /// Its program.
    pub program: Program<'a>,
    /// Its settings.
    pub config: Option<&'a Node>,
    /// Its `airbyte:` block.
    pub airbyte: Option<&'a RawActor>,
}

impl CheckedEndpoint {
    /// An endpoint of an engine's connector, or of a program that speaks Airbyte's connector protocol.
    pub(super) fn read(end: End, engine: EngineKind, written: Written<'_>, to: &mut Problems<'_>) -> Self {
        let Written { connector, program, config, airbyte } = written;
        let airbyte = check_actor(airbyte, end.word(), engine, to);
        let config = match connector.value.as_str() {
            _ if engine == EngineKind::Airbyte => {
                for stray in [program.command.and_then(<[Text]>::first), program.manifest].into_iter().flatten() {
                    let help = "remove it and name the connector in `type:`; Airbyte runs it";
                    not_with(engine, stray, "`command` and `manifest` are for the embedded engine", help, to);
                }
                check_airbyte_config(end, connector, config, to)
            }
            PROGRAM if end == End::Source => program.check(connector, config, to),
            _ => {
                if let Some(stray) = program.command.and_then(<[Text]>::first).or(program.manifest) {
                    let d = Diagnostic::error("AAM-S023", format!("only a source of `type: {PROGRAM}` runs a program"));
                    to.add(&stray.place(), d.help("remove `command` and `manifest`, or correct the type"));
                }
                check_config(end, connector, config, to)
            }
        };
        Self { connector: connector.value.clone(), config, airbyte }
    }
}

/// The connector that is any program.
pub(super) const PROGRAM: &str = "airbyte";

/// What a source says about the program that reads it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Program<'a> {
    /// The program and its first arguments.
    pub command: Option<&'a [Text]>,
    /// A declarative manifest.
    pub manifest: Option<&'a Text>,
}

impl Program<'_> {
    /// Its settings as the connector takes them: `command`, `manifest`, and the program's own below `config`.
    fn check(self, connector: &Text, config: Option<&Node>, to: &mut Problems<'_>) -> Config {
        let command = self.command.unwrap_or_default();
        if command.is_empty() {
            let d = Diagnostic::error("AAM-S024", format!("`type: {PROGRAM}` needs `command`: the program to run"));
            to.add(&connector.place(), d.help("add it beside `type:`, for example `command: [source-faker]`"));
        }
        if let Some(manifest) = self.manifest
            && RepoPath::new(&manifest.value).is_err()
        {
            let text = format!("the manifest {} does not lie below the configuration root", quoted(&manifest.value));
            let d = Diagnostic::error("AAM-S025", text).label("expected a relative path without `.` and `..`");
            to.add(
                &manifest.place(),
                d.help("put the file beside the specs, for example `manifest: manifests/tickets.yaml`"),
            );
        }
        let text = |text: &Text| ConfigValue::Text(text.value.clone());
        let mut whole = Config::from([("command".to_owned(), ConfigValue::List(command.iter().map(text).collect()))]);
        whole.extend(self.manifest.map(|manifest| ("manifest".to_owned(), text(manifest))));
        let config = config.and_then(|node| read_config(node, to));
        whole.extend(config.map(|config| ("config".to_owned(), ConfigValue::Map(config))));
        whole
    }
}

/// What a connection's spec says about its own removal and how far `aam` may go, where the rest of it no longer matters.
pub fn removal_of(path: &RepoPath, text: &str) -> Option<(OnDelete, Mode)> {
    let source = Source { file: path.as_str().into(), text: text.into() };
    // what is asked here is the same with every engine
    let (role, mut problems) = (super::names::role(path.as_str()).ok()?, Problems::of(&source));
    match check_file(path, &role, &source, EngineKind::Embedded, &mut problems)? {
        Checked::Connection(connection) => Some((connection.on_delete, connection.mode)),
        _ => None,
    }
}

/// The pin of a connection's spec, if the file can be read.
pub fn pin_of(path: &RepoPath, text: &str) -> Option<Pin> {
    let source = Source { file: path.as_str().into(), text: text.into() };
    let (role, mut problems) = (super::names::role(path.as_str()).ok()?, Problems::of(&source));
    match check_file(path, &role, &source, EngineKind::Embedded, &mut problems)? {
        Checked::Connection(connection) => connection.pin,
        _ => None,
    }
}

/// The object of Airbyte that a spec adopts, whatever else is wrong with the file.
pub fn airbyte_id_of(path: &RepoPath, text: &str) -> Option<uuid::Uuid> {
    let source = Source { file: path.as_str().into(), text: text.into() };
    let (role, mut problems) = (super::names::role(path.as_str()).ok()?, Problems::of(&source));
    match check_file(path, &role, &source, EngineKind::Airbyte, &mut problems)? {
        Checked::Connection(connection) => connection.airbyte.id,
        Checked::Endpoint(_, endpoint) => endpoint.airbyte.id,
        _ => None,
    }
}

/// Reads and checks one file. Only if the problems say that it is usable may the result be used; a broken connection comes
/// back for its references.
pub(super) fn check_file(
    path: &RepoPath,
    role: &Role,
    source: &Source,
    engine: EngineKind,
    to: &mut Problems<'_>,
) -> Option<Checked> {
    let node = yaml::parse(source, to);
    if node.as_ref().map_or(to.is_usable(), Node::is_null) {
        let d = Diagnostic::error("AAM-S004", "the file is empty, or holds only comments");
        to.add_whole(d.help("remove the file, or begin it with `kind:`"));
        return None;
    }
    let node = node?;
    match role {
        Role::Spec(name) => check_spec(name, &node, engine, to),
        Role::Lock(name) => {
            RawLock::read(&node, to).and_then(|raw| lock::check(&raw, name, to)).map(|l| Checked::Lock(Box::new(l)))
        }
        Role::Mapping(name) => {
            expect_kind(&node, &["mapping"], "mappings", to)?;
            let raw = RawMapping::read(&node, to)?;
            mapping::check_mapping(&raw, &name.name, path, source, to).map(|m| Checked::Mapping(Arc::new(m)))
        }
        Role::Entity(name) => {
            expect_kind(&node, &["entity"], "mappings/entities", to)?;
            let raw = RawEntity::read(&node, to)?;
            Some(Checked::Entity(Arc::new(mapping::check_entity(&raw, name, path, to))))
        }
        Role::Rejected(_) => {
            let raw = Vec::<RawRejection>::read(&node, to)?;
            Some(Checked::Rejected(raw.iter().filter_map(|line| check_rejection(line, to)).collect()))
        }
        Role::Other => None,
    }
}

fn check_spec(name: &ConnectionRef, node: &Node, engine: EngineKind, to: &mut Problems<'_>) -> Option<Checked> {
    match expect_kind(node, &["connection", "source", "destination"], "connectors.d", to)?.as_str() {
        "connection" => {
            let raw = RawConnection::read(node, to)?;
            Some(Checked::Connection(Box::new(connection::check_connection(name, &raw, engine, to))))
        }
        "source" => {
            let raw = RawSource::read(node, to)?;
            let program = Program { command: raw.command.as_deref(), manifest: raw.manifest.as_ref() };
            let config = raw.config.as_ref().map(|f| &f.0);
            let written = Written { connector: &raw.r#type, program, config, airbyte: raw.airbyte.as_ref() };
            let read = CheckedEndpoint::read(End::Source, engine, written, to);
            Some(Checked::Endpoint(End::Source, read))
        }
        _ => {
            let raw = RawDestination::read(node, to)?;
            let (program, config) = (Program::default(), raw.config.as_ref().map(|f| &f.0));
            let written = Written { connector: &raw.r#type, program, config, airbyte: raw.airbyte.as_ref() };
            let read = CheckedEndpoint::read(End::Destination, engine, written, to);
            Some(Checked::Endpoint(End::Destination, read))
        }
    }
}

/// The `kind:` of a file, if it is one that its folder may hold.
fn expect_kind(node: &Node, allowed: &[&str], folder: &str, to: &mut Problems<'_>) -> Option<String> {
    const ALL: &[&str] = &["connection", "source", "destination", "mapping", "entity"];
    super::read::map(node, "a map that begins with `kind:`", to)?;
    let help = format!("files in `{folder}` begin with `kind: {}`", allowed.join("`, `kind: "));
    let Some(kind) = node.get("kind") else {
        let near = match &node.value {
            yaml::Value::Map(entries) => entries.iter().find(|(k, _)| nearest(&k.text, ["kind"]).is_some()),
            _ => None,
        };
        let span = near.map_or(super::source::Span { end: node.span.start + 1, ..node.span }, |(k, _)| k.span);
        let d = Diagnostic::error("AAM-S007", "the file does not say its `kind`").label("`kind:` is missing");
        to.add(&span, d.help(help));
        return None;
    };
    let kind = Text::read(kind, to)?;
    if allowed.contains(&kind.value.as_str()) {
        return Some(kind.value);
    }
    let d = if ALL.contains(&kind.value.as_str()) {
        Diagnostic::error("AAM-S007", format!("`kind: {}` does not belong into `{folder}`", kind.value)).help(help)
    } else {
        let d = Diagnostic::error("AAM-S007", format!("no kind is called {}", quoted(&kind.value)));
        match nearest(&kind.value, allowed.iter().copied()) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help(help),
        }
    };
    to.add(&kind.place(), d);
    None
}

fn check_rejection(raw: &RawRejection, to: &mut Problems<'_>) -> Option<Rejection> {
    let fingerprint = parse::<Fingerprint>(&raw.fingerprint, to)?;
    let (by, at, reason) = (raw.by.value.clone(), raw.at.value.clone(), raw.reason.value.clone());
    if let Err(e) = chrono::DateTime::parse_from_rfc3339(&at) {
        let d = Diagnostic::error("AAM-S026", format!("{} is no RFC 3339 time: {e}", quoted(&at)));
        to.add(&raw.at.place(), d);
    }
    let changes = raw.changes.iter().map(|change| change.value.clone()).collect();
    Some(Rejection { fingerprint, by, at, reason, changes })
}

/// Parses a text by its type's own rules.
pub(super) fn parse<T>(text: &Text, to: &mut Problems<'_>) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match text.value.parse() {
        Ok(value) => Some(value),
        Err(why) => {
            to.add(&text.place(), Diagnostic::error("AAM-S026", why.to_string()));
            None
        }
    }
}
