//! What the built-in connectors take in their `config`. The connectors read the same keys. Of Airbyte's connectors only
//! those stand here that are checked without a server; what the others take only their own specification says.

use crate::diag::{Diagnostic, quoted};

use super::airbyte::not_with;
use super::check::PROGRAM;
use super::read::{Text, nearest};
use super::source::Problems;
use super::value::{is_refused_by_name, plain_secret, read_config};
use super::yaml::{Key, Node, Value};
use super::{Config, ConfigValue, EngineKind};

/// A connector of the embedded engine, as far as specs care.
#[derive(Debug)]
pub struct ConnectorSpec {
    /// Its name in `type:`.
    pub name: &'static str,
    /// What it takes as a source.
    pub source: Option<&'static [Setting]>,
    /// What it takes as a destination.
    pub destination: Option<&'static [Setting]>,
}

/// One setting of a connector.
#[derive(Debug)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// What it holds.
    pub kind: SettingKind,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it is a secret: only a reference is taken.
    pub secret: bool,
}

/// What a setting holds.
#[derive(Debug, Clone, Copy)]
pub enum SettingKind {
    /// Text.
    Text,
    /// Exactly one character, or `\t`.
    Character,
    /// A whole number within these bounds.
    Integer(u64, u64),
    /// A list of texts.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`, unquoted.
    Boolean,
    /// `2024-01-31`, or with a time of day in UTC: `2024-01-31T00:00:00Z`.
    Date,
    /// A certificate or a key in PEM form.
    Pem,
    /// One of these words, or a map with these settings.
    ChoiceOrMap(&'static [&'static str], &'static [Setting]),
}

const fn optional(key: &'static str, kind: SettingKind) -> Setting {
    Setting { key, kind, required: false, secret: false }
}

const fn required(key: &'static str, kind: SettingKind) -> Setting {
    Setting { key, kind, required: true, secret: false }
}

const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// The words are Airbyte's.
const SSL_MODE: SettingKind = SettingKind::ChoiceOrMap(
    SSL_MODES,
    &[
        required("mode", SettingKind::Choice(SSL_MODES)),
        optional("ca_certificate", SettingKind::Pem),
        optional("client_certificate", SettingKind::Pem),
        Setting { key: "client_key", kind: SettingKind::Pem, required: false, secret: true },
    ],
);
/// An hour: a longer wait for a connection helps nobody.
const TIMEOUT: SettingKind = SettingKind::Integer(1, 3600);
const PORT: SettingKind = SettingKind::Integer(1, 65535);

/// The known connectors. `host` may be a folder: then it is a unix socket's.
pub const CONNECTORS: &[ConnectorSpec] = &[
    ConnectorSpec {
        name: "postgres",
        source: Some(&[
            required("host", SettingKind::Text),
            optional("port", PORT),
            required("database", SettingKind::Text),
            required("username", SettingKind::Text),
            Setting { key: "password", kind: SettingKind::Text, required: false, secret: true },
            optional("schemas", SettingKind::List),
            optional("ssl_mode", SSL_MODE),
            optional("connect_timeout_s", TIMEOUT),
        ]),
        destination: Some(&[
            required("host", SettingKind::Text),
            optional("port", PORT),
            required("database", SettingKind::Text),
            required("username", SettingKind::Text),
            Setting { key: "password", kind: SettingKind::Text, required: false, secret: true },
            optional("schema", SettingKind::Text),
            optional("namespace", SettingKind::Choice(&["source", "destination"])),
            optional("ssl_mode", SSL_MODE),
            optional("connect_timeout_s", TIMEOUT),
        ]),
    },
    ConnectorSpec {
        name: "file",
        source: Some(&[
            required("path", SettingKind::Text),
            optional("globs", SettingKind::List),
            optional("format", SettingKind::Choice(&["auto", "csv", "tsv", "ndjson", "json", "excel"])),
            optional("delimiter", SettingKind::Character),
            optional("encoding", SettingKind::Text),
            optional("header", SettingKind::Choice(&["auto", "true", "false"])),
        ]),
        destination: None,
    },
];

/// A connector of Airbyte that is checked without a server.
#[derive(Debug)]
pub struct AirbyteConnector {
    /// Its image without a tag.
    pub repository: &'static str,
    /// The name that Airbyte shows.
    pub title: &'static str,
    /// Its definition's id, the same in every installation.
    pub definition: &'static str,
    /// What it takes. Others are Airbyte's affair: the server checks them against the connector's specification.
    pub settings: &'static [Setting],
    /// What `aam` fills in where a spec does not say it.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Where to get the values, by setting.
    pub whence: &'static [(&'static str, &'static str)],
}

/// Sources of Airbyte that are checked without a server.
pub const AIRBYTE_SOURCES: &[AirbyteConnector] = &[AirbyteConnector {
    repository: "airbyte/source-salesforce",
    title: "Salesforce",
    definition: "b117307c-14b6-41aa-9422-947e34922962",
    settings: &[
        required("client_id", SettingKind::Text),
        Setting { key: "client_secret", kind: SettingKind::Text, required: true, secret: true },
        Setting { key: "refresh_token", kind: SettingKind::Text, required: true, secret: true },
        optional("auth_type", SettingKind::Choice(&["Client"])),
        optional("is_sandbox", SettingKind::Boolean),
        optional("start_date", SettingKind::Date),
        optional("force_use_bulk_api", SettingKind::Boolean),
        optional("stream_slice_step", SettingKind::Text),
        optional("lookback_window", SettingKind::Text),
    ],
    fixed: &[("auth_type", "Client")],
    whence: &[
        (
            "client_id",
            "the Consumer Key of the Connected App: Salesforce, Setup, App Manager, the app's View, Manage Consumer Details",
        ),
        (
            "client_secret",
            "as `${env:NAME}`: the Consumer Secret, beside the Consumer Key of the Connected App (Setup, App Manager, View, \
             Manage Consumer Details)",
        ),
        (
            "refresh_token",
            "as `${env:NAME}`: sign in once by the OAuth web-server flow of the Connected App with the scopes `api` and \
             `refresh_token`; the answer of /services/oauth2/token holds it (sandbox: at test.salesforce.com)",
        ),
    ],
}];

impl AirbyteConnector {
    /// Whether a `type:` names it: the repository, its short forms, the name, or the definition.
    pub fn is(&self, name: &str) -> bool {
        let image = self.repository.rsplit('/').next().unwrap_or(self.repository);
        let short = image.split_once('-').map_or(image, |(_, short)| short);
        [self.repository, image, short, self.title, self.definition].iter().any(|form| form.eq_ignore_ascii_case(name))
    }
}

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Where rows come from.
    Source,
    /// Where they land.
    Destination,
}

impl End {
    /// The word for people, and the `kind:`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// Reads and checks an endpoint's settings. A connector that is not built in is only warned about: an engine may have it.
pub fn check_config(end: End, connector: &Text, config: Option<&Node>, to: &mut Problems<'_>) -> Config {
    let read = config.and_then(|node| read_config(node, to)).unwrap_or_default();
    let Some(known) = CONNECTORS.iter().find(|c| c.name == connector.value) else {
        unknown_connector(end, connector, to);
        return read;
    };
    let settings = match end {
        End::Source => known.source,
        End::Destination => known.destination,
    };
    let Some(settings) = settings else {
        let d = Diagnostic::error("AAM-S022", format!("the connector `{}` is no {}", known.name, end.word()));
        to.add(&connector.place(), d.label("reads only"));
        return read;
    };
    check_settings(known.name, settings, config, &read, to);
    for setting in missing(settings, &read) {
        let text = format!("the connector `{}` needs the setting `{}`", known.name, setting.key);
        let d = Diagnostic::error("AAM-S024", text).help(format!("add `{}:` below `config:`", setting.key));
        to.add(&connector.place(), d.label("below this one's `config:`"));
    }
    read
}

/// Reads an endpoint's settings for Airbyte. Which connectors there are, and what they take, the server knows; here it is
/// checked what can be told without it.
pub fn check_airbyte_config(end: End, connector: &Text, config: Option<&Node>, to: &mut Problems<'_>) -> Config {
    let mut read = config.and_then(|node| read_config(node, to)).unwrap_or_default();
    check_airbyte_name(end, connector, to);
    let known = AIRBYTE_SOURCES.iter().find(|known| end == End::Source && known.is(&connector.value));
    let Some(known) = known else { return read };
    let name = known.repository;
    for (key, node) in config.and_then(entries).unwrap_or_default() {
        match known.settings.iter().find(|s| s.key == key.text) {
            Some(setting) => check_setting(name, setting, key, node, &read[&key.text], to),
            None => {
                let Some(near) = nearest(&key.text, known.settings.iter().map(|s| s.key)) else { continue };
                let text = format!("aam knows no setting {} of the connector `{name}`", quoted(&key.text));
                to.add(&key.span, Diagnostic::warning("AAM-S023", text).help(format!("did you mean `{near}`?")));
            }
        }
    }
    for setting in missing(known.settings, &read) {
        let text = format!("the connector `{name}` needs the setting `{}`", setting.key);
        let d = Diagnostic::error("AAM-S024", text).label("below this one's `config:`");
        let whence = known.whence.iter().find(|(key, _)| *key == setting.key).map(|(_, whence)| *whence);
        let help = whence.map_or(String::new(), |whence| format!(", {whence}"));
        to.add(&connector.place(), d.help(format!("add `{}:` below `config:`{help}", setting.key)));
    }
    for (key, value) in known.fixed {
        read.entry((*key).to_owned()).or_insert_with(|| ConfigValue::Text((*value).to_owned()));
    }
    read
}

fn entries(node: &Node) -> Option<&[(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

/// What can be told of a connector's name without asking the server.
fn check_airbyte_name(end: End, connector: &Text, to: &mut Problems<'_>) {
    let name = connector.value.trim();
    let wrong = |text: String| Diagnostic::error("AAM-S022", text);
    let other = match end {
        End::Source => End::Destination,
        End::Destination => End::Source,
    };
    let image = name.rsplit('/').next().unwrap_or(name);
    if name == PROGRAM {
        let why = "`type: airbyte` runs a program on this machine, which only the embedded engine does";
        let help = format!("name the connector, for example `airbyte/{}-postgres`", end.word());
        not_with(EngineKind::Airbyte, connector, why, &help, to);
    } else if name.is_empty() {
        let help = format!("write its docker repository, for example `airbyte/{}-postgres`", end.word());
        to.add(&connector.place(), wrong("the connector has no name".into()).help(help));
    } else if let Some((repository, _)) = name.split_once(':').filter(|(repository, _)| repository.contains('/')) {
        let d = wrong("a connector is named without its version".into()).label("Airbyte says which version runs");
        to.add(&connector.place(), d.help(format!("write {}", quoted(repository))));
    } else if image.starts_with(&format!("{}-", other.word())) {
        let d = wrong(format!("{} is a {}, and stands as the {}", quoted(name), other.word(), end.word()));
        to.add(
            &connector.place(),
            d.help(format!(
                "write {}",
                quoted(&name.replace(&format!("{}-", other.word()), &format!("{}-", end.word())))
            )),
        );
    }
}

fn missing<'s>(settings: &'s [Setting], read: &Config) -> impl Iterator<Item = &'s Setting> {
    settings.iter().filter(|s| s.required && !read.contains_key(s.key))
}

/// Checks each setting that is there.
fn check_settings(connector: &str, settings: &[Setting], map: Option<&Node>, read: &Config, to: &mut Problems<'_>) {
    let Some(Value::Map(entries)) = map.map(|node| &node.value) else { return };
    for (key, node) in entries {
        match settings.iter().find(|s| s.key == key.text) {
            Some(setting) => check_setting(connector, setting, key, node, &read[&key.text], to),
            None => unknown_setting(connector, settings, key, to),
        }
    }
}

fn unknown_connector(end: End, connector: &Text, to: &mut Problems<'_>) {
    let built_in =
        CONNECTORS.iter().filter(|c| if end == End::Source { c.source.is_some() } else { c.destination.is_some() });
    let names: Vec<_> = built_in.map(|c| c.name).collect();
    let text = format!("the embedded engine has no {} connector {}", end.word(), quoted(&connector.value));
    let d = Diagnostic::warning("AAM-S022", text).note(format!("built in: {}", names.join(", ")));
    let d = match nearest(&connector.value, names) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.help("fine, if the Airbyte engine is used and has it"),
    };
    to.add(&connector.place(), d);
}

fn unknown_setting(connector: &str, settings: &[Setting], key: &Key, to: &mut Problems<'_>) {
    let text = format!("the connector `{connector}` has no setting {}", quoted(&key.text));
    let d = Diagnostic::error("AAM-S023", text).label("unknown setting");
    let d = match nearest(&key.text, settings.iter().map(|s| s.key)) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.note(format!("known: {}", settings.iter().map(|s| s.key).collect::<Vec<_>>().join(", "))),
    };
    to.add(&key.span, d);
}

/// Checks one setting's form. References are taken everywhere but in lists: what they hold is not known here.
fn check_setting(
    connector: &str,
    setting: &Setting,
    key: &Key,
    node: &Node,
    value: &ConfigValue,
    to: &mut Problems<'_>,
) {
    if let (ConfigValue::Map(read), SettingKind::ChoiceOrMap(_, settings)) = (value, setting.kind) {
        check_settings(connector, settings, Some(node), read, to);
        for missing in missing(settings, read) {
            let text = format!("`{}` of the connector `{connector}` needs the setting `{}`", setting.key, missing.key);
            to.add(&key.span, Diagnostic::error("AAM-S024", text).help(format!("add `{}:` below it", missing.key)));
        }
        return;
    }
    let expected = match setting.kind {
        SettingKind::Text => "text".to_owned(),
        SettingKind::Character => "one character".to_owned(),
        SettingKind::Integer(low, high) => format!("a whole number from {low} to {high}"),
        SettingKind::List => "a list of texts".to_owned(),
        SettingKind::Choice(words) | SettingKind::ChoiceOrMap(words, _) => format!("one of {}", words.join(", ")),
        SettingKind::Boolean => "`true` or `false`, unquoted".to_owned(),
        SettingKind::Date => "a date, for example 2024-01-31 or 2024-01-31T00:00:00Z".to_owned(),
        SettingKind::Pem => "PEM text, for example `${file:/path/to/it.pem}`".to_owned(),
    };
    let good = match (value, setting.kind) {
        // what a reference gives is text
        (ConfigValue::Template(_), kind) => !matches!(kind, SettingKind::List | SettingKind::Boolean),
        (ConfigValue::Plain(text), SettingKind::Boolean) => matches!(text.as_str(), "true" | "false"),
        (ConfigValue::List(items), SettingKind::List) => {
            items.iter().all(|i| matches!(i, ConfigValue::Plain(_) | ConfigValue::Text(_)))
        }
        (ConfigValue::Plain(text) | ConfigValue::Text(text), kind) => match kind {
            SettingKind::Text => !text.is_empty(),
            SettingKind::Character => text.chars().count() == 1 || text == "\\t",
            SettingKind::Integer(low, high) => text.parse().is_ok_and(|n: u64| (low..=high).contains(&n)),
            SettingKind::List | SettingKind::Boolean => false,
            SettingKind::Date => is_date(text),
            SettingKind::Choice(words) | SettingKind::ChoiceOrMap(words, _) => words.contains(&text.as_str()),
            SettingKind::Pem => text.contains("-----BEGIN "),
        },
        _ => false,
    };
    if !good {
        let text = format!("`{}` of the connector `{connector}` must be {expected}", setting.key);
        let d = Diagnostic::error("AAM-S025", text).label(format!("expected {expected}"));
        let near = match (value, setting.kind) {
            (
                ConfigValue::Plain(text) | ConfigValue::Text(text),
                SettingKind::Choice(words) | SettingKind::ChoiceOrMap(words, _),
            ) => nearest(text, words.iter().copied()),
            _ => None,
        };
        let d = match (near, setting.kind) {
            (Some(near), _) => d.help(format!("did you mean `{near}`?")),
            (None, SettingKind::List) => d.help(format!("write `{}: [one, another]`", setting.key)),
            _ => d,
        };
        to.add(&node.span, d);
    } else if let (true, ConfigValue::Plain(text) | ConfigValue::Text(text)) = (setting.secret, value)
        && !is_refused_by_name(&key.text, text)
    {
        plain_secret(&node.span, to);
    }
}

/// As Airbyte's connectors take it: no offset, no fractions.
fn is_date(text: &str) -> bool {
    let day = |text: &str| text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
    match text.split_once('T') {
        None => day(text),
        Some((date, time)) => {
            day(date) && time.len() == 9 && chrono::NaiveTime::parse_from_str(time, "%H:%M:%SZ").is_ok()
        }
    }
}
