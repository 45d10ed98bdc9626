//! Puts the layers together and says where each value came from.
//!
//! Each value is first tried alone on top of the defaults: so every wrong one is found, not only the first, and serde
//! alone decides what fits.

use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::Value;

use super::place::{entries, place};
use super::{Settings, airbyte, forge, repository};
use crate::diag::{Diagnostic, Place};
use crate::plan::approval;
use crate::spec::EngineKind;

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 6] = [
    "registry.url",
    "airbyte.client_secret",
    "repository.password",
    "repository.webhook_secret",
    "forge.token",
    "forge.private_key",
];

/// Keys that a file or a flag may set to references only: all but the URL, which has other parts.
const REFERENCES: &[&str] = SECRET_KEYS.split_at(1).1;

/// Keys whose value is a table of names that a person chose.
const TABLES: [&str; 2] = ["airbyte.workspaces", "approval.rules"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// `config/aam.toml:12`
    File(String),
    /// The variable's name.
    Env(String),
    /// The flag's name.
    Flag(String),
    /// The other setting that says it.
    Setting(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(at) => f.write_str(at),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Setting(key) => write!(f, "as {key} says"),
        }
    }
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// As text; `***` for a secret.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Every setting in force, by key.
pub type Origins = Vec<Setting>;

/// A value given on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// `section.key`.
    pub key: &'static str,
    /// As given.
    pub value: String,
    /// What the person typed, `--root`.
    pub name: &'static str,
}

/// A value that somebody set.
struct Given {
    key: String,
    value: Value,
    origin: Origin,
    /// Where, if a file sets it.
    place: Option<Place>,
}

impl Settings {
    /// Reads and joins the layers. `file` absent means `config/aam.toml` below `root`, which need not exist. Of the
    /// environment only `AAM_SECTION__KEY` counts. All problems come at once.
    pub fn load(
        root: &Path,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<(Self, Origins), Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut given = from_file(root, file, &mut problems);
        let mut environment: Vec<_> = environment.into_iter().collect();
        environment.sort();
        for (name, text) in environment {
            let Some(path) = name.strip_prefix("AAM_").filter(|path| path.contains("__")) else { continue };
            let key = path.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Env(name.clone());
            given.extend(from_text(&key, &text, origin, &format!("variable {name}"), &mut problems));
        }
        for flag in flags {
            let origin = Origin::Flag(flag.name.to_owned());
            given.extend(from_text(flag.key, &flag.value, origin, &format!("flag {}", flag.name), &mut problems));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let join = |given: &[Given], defaults: Figment| -> Result<Self, Vec<Diagnostic>> {
            let figment = given.iter().fold(defaults, |figment, g| figment.merge((g.key.as_str(), g.value.clone())));
            figment.extract().map_err(|e| vec![Diagnostic::error("AAM-C002", e.kind.to_string())])
        };
        // what nobody sets follows the engine, whichever layer names it
        let kind = join(&given, defaults(EngineKind::Embedded))?.engine.kind;
        let derived = forge::derived(&join(&given, defaults(kind))?, root);
        given.extend(derived.into_iter().map(|(key, value)| Given {
            key: key.to_owned(),
            value: Value::from(value),
            origin: Origin::Setting("repository.remote"),
            place: None,
        }));
        let settings = join(&given, defaults(kind))?;
        let place = |key: &str| given.iter().rev().find(|g| g.key == key).and_then(|g| g.place.clone());
        problems.extend(approval(&settings, place("approval.rules")));
        problems.extend(repository::check(&settings, root, place));
        problems.extend(airbyte::check(&settings, place));
        problems.extend(forge::check(&settings, place));
        problems.extend(by_request(&settings, place("approval.automatic")));
        for Given { key, value, place, .. } in given.iter().filter(|g| !matches!(g.origin, Origin::Env(_))) {
            if REFERENCES.contains(&key.as_str())
                && let Some(problem) = value.as_str().and_then(|text| airbyte::plain_secret(key, text))
            {
                problems.push(Diagnostic { place: place.clone(), ..problem });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let origins = origins(&settings, &given);
        Ok((settings, origins))
    }
}

/// What `[approval]` must not hold.
fn approval(settings: &Settings, place: Option<Place>) -> Option<Diagnostic> {
    let rules = &settings.approval.rules;
    let why = match approval::broken_glob(rules) {
        None if rules.iter().any(|rule| rule.approvers.is_empty()) => "a rule names no `approvers`".to_owned(),
        broken => broken?,
    };
    Some(Diagnostic { place, ..Diagnostic::error("AAM-C002", format!("`approval.rules`: {why}")) })
}

/// What is to be merged by itself needs somebody who does.
fn by_request(settings: &Settings, place: Option<Place>) -> Option<Diagnostic> {
    if settings.approval.automatic == approval::Way::Commit || settings.forge.kind.is_some() {
        return None;
    }
    let why = "`approval.automatic = \"request\"` needs a forge, which merges the requests by itself";
    let problem = Diagnostic::error("AAM-C004", why).help("set [forge], or leave it at \"commit\"");
    Some(Diagnostic { place, ..problem })
}

fn defaults(kind: EngineKind) -> Figment {
    Figment::from(Serialized::defaults(Settings::defaults_of(kind)))
}

/// Every key with its value in force, in the order of the sections.
fn flat(settings: &Settings) -> Vec<(String, serde_json::Value)> {
    let value = serde_json::to_value(settings).expect("settings are plain data");
    let sections = value.as_object().into_iter().flatten();
    let keys = sections.flat_map(|(section, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, v)| (format!("{section}.{key}"), v.clone()))
    });
    keys.collect()
}

fn origins(settings: &Settings, given: &[Given]) -> Origins {
    let origin = |key: &str| given.iter().rev().find(|g| g.key == key).map_or(Origin::Default, |g| g.origin.clone());
    let setting = |(key, value): (String, serde_json::Value)| {
        let shown = match &value {
            serde_json::Value::Null => String::new(),
            _ if SECRET_KEYS.contains(&key.as_str()) => "***".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Setting { origin: origin(&key), key, value: shown }
    };
    flat(settings).into_iter().map(setting).collect()
}

fn from_file(root: &Path, file: Option<&Path>, problems: &mut Vec<Diagnostic>) -> Vec<Given> {
    let shown = file.unwrap_or(Path::new("config/aam.toml")).display().to_string();
    let text = match std::fs::read_to_string(root.join(&shown)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && file.is_none() => return Vec::new(),
        Err(e) => {
            problems.push(Diagnostic::error("AAM-C003", format!("the settings in {shown} cannot be read: {e}")));
            return Vec::new();
        }
    };
    let entries = match entries(&text) {
        Ok(entries) => entries,
        Err((at, why)) => {
            problems.push(Diagnostic::error("AAM-C003", format!("no TOML: {why}")).at(place(&shown, &text, &at)));
            return Vec::new();
        }
    };
    let mut given = Vec::new();
    for entry in entries {
        let at = || place(&shown, &text, &entry.at);
        // read with the table that it stands in
        if TABLES.iter().any(|table| entry.key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))) {
            continue;
        }
        let sections = flat(&Settings::default());
        let is_section = sections.iter().any(|(key, _)| key.starts_with(&format!("{}.", entry.key)));
        if entry.is_table && is_section {
            continue;
        }
        // below an unknown section every key is unknown: the section alone is named
        if problems
            .iter()
            .any(|p: &Diagnostic| p.label.as_ref().is_some_and(|l| entry.key.starts_with(&format!("{l}."))))
        {
            continue;
        }
        if let Some(problem) = unknown(&entry.key, "key") {
            problems.push(problem.label(entry.key.clone()).at(at()));
            continue;
        }
        let Some(value) = value_at(&text, &entry.key) else { continue };
        match misfit(&entry.key, &value) {
            None => {
                let origin = Origin::File(format!("{shown}:{}", at().line));
                let place = Some(place(&shown, &text, &entry.value));
                given.push(Given { key: entry.key, value, origin, place });
            }
            Some(why) => problems.push(wrong(&entry.key, &why, Some(place(&shown, &text, &entry.value)), None)),
        }
    }
    given
}

/// A value that is text by nature: taken as text if that fits, else as number or boolean.
fn from_text(key: &str, text: &str, origin: Origin, from: &str, problems: &mut Vec<Diagnostic>) -> Option<Given> {
    if let Some(problem) = unknown(key, "key") {
        problems.push(problem.note(format!("set by {from}")));
        return None;
    }
    let number = text.parse::<i64>().ok().map(Value::from);
    let boolean = text.parse::<bool>().ok().map(Value::from);
    let table = TABLES.contains(&key).then(|| value_at(&format!("v = {text}"), "v")).flatten();
    let candidates = [Some(Value::from(text)), number, boolean, table];
    let fitting = candidates.into_iter().flatten().find(|value| misfit(key, value).is_none());
    if fitting.is_none() {
        let why = misfit(key, &Value::from(text)).unwrap_or_default();
        problems.push(wrong(key, &why, None, Some(from)));
    }
    fitting.map(|value| Given { key: key.to_owned(), value, origin, place: None })
}

/// The value of `key` or `section.key` in a TOML text that can be read.
fn value_at(text: &str, key: &str) -> Option<Value> {
    let table = text.parse::<toml::Table>().ok()?;
    let value = match key.split_once('.') {
        Some((section, key)) => table.get(section)?.get(key)?,
        None => table.get(key)?,
    };
    Some(Value::serialize(value).expect("TOML values are plain data"))
}

/// Why a value cannot be the key's; the value of a secret key is not quoted.
fn misfit(key: &str, value: &Value) -> Option<String> {
    let tried = defaults(EngineKind::Embedded).merge((key, value.clone())).extract::<Settings>();
    tried.err().map(|e| {
        if SECRET_KEYS.contains(&key) { "text is expected".to_owned() } else { e.kind.to_string().replace("``", "`") }
    })
}

fn wrong(key: &str, why: &str, at: Option<Place>, from: Option<&str>) -> Diagnostic {
    let mut problem = Diagnostic::error("AAM-C002", format!("`{key}`: {why}"));
    problem.place = at;
    problem.notes.extend(from.map(|from| format!("set by {from}")));
    problem
}

/// The problem of a key that does not exist, with the nearest one that does.
fn unknown(key: &str, what: &str) -> Option<Diagnostic> {
    let known: Vec<String> = flat(&Settings::default()).into_iter().map(|(key, _)| key).collect();
    if known.iter().any(|k| k == key) {
        return None;
    }
    let sections = known.iter().filter_map(|k| k.split_once('.').map(|(section, _)| section));
    let candidates = known.iter().map(String::as_str).chain(sections);
    let escaped: String = key.chars().flat_map(char::escape_debug).collect();
    let problem = Diagnostic::error("AAM-C001", format!("unknown {what} `{escaped}`"));
    let nearest = candidates
        .map(|k| (strsim::jaro_winkler(k, key), k))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Some(match nearest {
        Some((_, k)) => problem.help(format!("did you mean `{k}`?")),
        None => problem.help("config/aam.toml of the sample repository lists every key"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &[Flag]) -> Result<(Settings, Origins), String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("config")).unwrap();
        std::fs::write(root.path().join("config/aam.toml"), file).unwrap();
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Settings::load(root.path(), None, environment, flags).map_err(|problems| {
            let line = |d: &Diagnostic| {
                let at = d.place.as_ref().map_or(String::new(), |p| format!("{}:{}:{} ", p.file, p.line, p.column));
                let rest: Vec<&str> = d.notes.iter().chain(&d.help).map(String::as_str).collect();
                format!("{at}{} {} [{}]", d.code, d.message, rest.join("; "))
            };
            problems.iter().map(line).collect::<Vec<_>>().join("\n")
        })
    }

    fn set(origins: &Origins) -> String {
        let set = origins.iter().filter(|s| s.origin != Origin::Default);
        set.map(|s| format!("{} = {} ({})", s.key, s.value, s.origin)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn layers_win_in_order_and_say_so() {
        let file = "[drift]\nmax_open = 7\ncheck = \"5m\"\n[registry]\nurl = \"postgres://u:s3cret@h/d\"\n[log]\nlevel = \"warn\"\n";
        let environment = [
            ("AAM_DRIFT__MAX_OPEN", "9"),
            ("AAM_REPOSITORY__BRANCH", "3"),
            ("AAM_LOG__LEVEL", "debug"),
            ("AAM_CONFIG", "not a setting"),
        ];
        let flag = Flag { key: "log.level", value: "trace".into(), name: "--log-level" };
        let (settings, origins) = load(file, &environment, &[flag]).unwrap();
        insta::assert_snapshot!(set(&origins), @r"
        drift.check = 5m (config/aam.toml:3)
        drift.max_open = 9 (env AAM_DRIFT__MAX_OPEN)
        log.level = trace (flag --log-level)
        registry.url = *** (config/aam.toml:5)
        repository.branch = 3 (env AAM_REPOSITORY__BRANCH)
        ");
        assert_eq!((settings.drift.max_open, settings.repository.branch.as_str()), (9, "3"));
        assert!(!format!("{settings:?} {origins:?}").contains("s3cret"));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let file = "[drift]\nmax_opne = 7\ncheck = \"soon\"\n[engin]\nkind = 1\n[log]\nformat = \"xml\"\n[safety]\nchange_budget_min = -1\n";
        let environment = [("AAM_DAEMON__TICK", "1"), ("AAM_DAEMON__TOCK", "1s")];
        insta::assert_snapshot!(load(file, &environment, &[]).unwrap_err(), @r#"
        config/aam.toml:2:1 AAM-C001 unknown key `drift.max_opne` [did you mean `drift.max_open`?]
        config/aam.toml:3:9 AAM-C002 `drift.check`: "soon" is no duration; write 150ms, 30s, 15m, 6h or 1d []
        config/aam.toml:4:2 AAM-C001 unknown key `engin` [did you mean `engine`?]
        config/aam.toml:7:10 AAM-C002 `log.format`: unknown variant: found `xml`, expected `human` or `json` []
        config/aam.toml:9:21 AAM-C002 `safety.change_budget_min`: invalid value signed int `-1`, expected u32 []
        AAM-C002 `daemon.tick`: "1" is no duration; write 150ms, 30s, 15m, 6h or 1d [set by variable AAM_DAEMON__TICK]
        AAM-C001 unknown key `daemon.tock` [set by variable AAM_DAEMON__TOCK; did you mean `daemon.tick`?]
        "#);
    }

    #[test]
    fn broken_toml_has_a_place_and_a_secret_is_not_shown() {
        insta::assert_snapshot!(load("[log]\nlevel = \n", &[], &[]).unwrap_err(), @"config/aam.toml:2:9 AAM-C003 no TOML: string values must be quoted, expected literal string []");
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("x.toml"), "[registry]\nurl = 'postgres://u:s3cret@h/d' x\n").unwrap();
        let problems = Settings::load(root.path(), Some(Path::new("x.toml")), [], &[]).unwrap_err();
        assert!(!format!("{problems:?}").contains("s3cret"), "{problems:?}");
        assert!(Settings::load(root.path(), Some(Path::new("gone.toml")), [], &[]).is_err());
        assert_eq!(Settings::load(root.path(), None, [], &[]).unwrap().0, Settings::default());
    }

    #[test]
    fn what_nobody_sets_follows_the_engine() {
        let file = "[engine]\nkind = \"airbyte\"\n[airbyte]\nurl = \"http://localhost:8000\"\n";
        let shown = |settings: &Settings| (settings.engine.mode, settings.drift.check.as_secs());
        let (settings, origins) = load(file, &[], &[]).unwrap();
        assert_eq!(shown(&settings), (crate::spec::Mode::Observe, 86_400));
        let mode = origins.iter().find(|s| s.key == "engine.mode").unwrap();
        assert_eq!((mode.value.as_str(), &mode.origin), ("observe", &Origin::Default));
        let (settings, _) = load(file, &[("AAM_ENGINE__MODE", "manage"), ("AAM_DRIFT__CHECK", "1h")], &[]).unwrap();
        assert_eq!(shown(&settings), (crate::spec::Mode::Manage, 3600));
        let environment = [("AAM_ENGINE__KIND", "airbyte"), ("AAM_AIRBYTE__URL", "https://airbyte.example.com/a")];
        assert_eq!(shown(&load("", &environment, &[]).unwrap().0), (crate::spec::Mode::Observe, 86_400));
        assert_eq!(shown(&load("", &[], &[]).unwrap().0), (crate::spec::Mode::Manage, 900));
    }

    #[test]
    fn what_airbyte_needs_is_named_at_once() {
        let said = |file: &str| load(file, &[], &[]).map(|_| ()).err().unwrap_or_default();
        let kind = "[engine]\nkind = \"airbyte\"\n[airbyte]\n";
        insta::assert_snapshot!(said(kind), @r#"
        config/aam.toml:2:8 AAM-C004 the engine is Airbyte, and `airbyte.url` is not set [the address of the web page, for example `url = "http://localhost:8000"` (`abctl local status` shows it)]
        config/aam.toml:2:8 AAM-C004 the engine is Airbyte, and `airbyte.client_id` is not set [`abctl local credentials` shows client id and secret; the web page makes more under Settings, Applications; leave both out if authentication is switched off]
        config/aam.toml:2:8 AAM-C004 the engine is Airbyte, and `airbyte.client_secret` is not set [as `client_secret = "${env:AIRBYTE_CLIENT_SECRET}"`; `abctl local credentials` shows client id and secret; the web page makes more under Settings, Applications]
        "#);
        insta::assert_snapshot!(said(&format!("{kind}url = 'http://a:8000'\nclient_id = 'x'\n")), @r#"config/aam.toml:2:8 AAM-C004 the engine is Airbyte, and `airbyte.client_secret` is not set [as `client_secret = "${env:AIRBYTE_CLIENT_SECRET}"`; `abctl local credentials` shows client id and secret; the web page makes more under Settings, Applications]"#);
        let wrong = "url = 'localhost:8000'\nclient_id = 'x'\nclient_secret = 'hunter2'\ntag = 'a tag that is longer than Airbyte takes'\nslots = 0\n";
        insta::assert_snapshot!(said(&format!("{kind}{wrong}")), @"config/aam.toml:8:9 AAM-C002 `airbyte.slots`: invalid value signed int `0`, expected a nonzero u32 []");
        let wrong =
            wrong.replace("slots = 0\n", "[airbyte.workspaces]\n\"a b\" = '0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11'\n");
        insta::assert_snapshot!(said(&format!("{kind}{wrong}")), @r#"
        config/aam.toml:4:7 AAM-C002 `airbyte.url`: an address that begins with http:// or https:// is expected [for example `http://localhost:8000`]
        config/aam.toml:8:1 AAM-C002 `airbyte.workspaces`: tenant "a b": may hold only ASCII letters, digits, `.`, `_` and `-` []
        config/aam.toml:7:7 AAM-C002 `airbyte.tag`: Airbyte's tags have at most 30 characters []
        config/aam.toml:6:17 AAM-C005 `airbyte.client_secret`: a secret stands here in plain text [write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed]
        "#);
        assert_eq!(said(&format!("{kind}url = 'http://a:8000'\n")), "", "authentication may be switched off");
    }

    #[test]
    fn what_a_forge_needs_is_named_at_once() {
        let said = |file: &str| load(&format!("[forge]\n{file}"), &[], &[]).map(|_| ()).err().unwrap_or_default();
        let all = [
            "kind = 'github'\n",
            "kind = 'gitea'\nproject = 'config'\ntoken = 'hunter2'\nlabels = ['a,b']\n",
            "kind = 'github'\nproject = 'a/b'\nprivate_key = '${env:K}'\n",
            "kind = 'gitlab'\nproject = 'a/b/c'\napp_id = '1'\nurl = 'gitlab.example.org'\n",
            "project = 'a/b'\ntoken = '${env:T}'\n",
            "kind = 'github'\nproject = 'a/../b'\ntoken = '${env:T}'\napp_id = '1'\nurl = 'https://u@h/'\n",
            "kind = 'svn'\n",
        ];
        insta::assert_snapshot!(all.map(said).join("\n\n"), @r#"
        config/aam.toml:2:8 AAM-C004 `forge.project` is not set, which a forge needs [as in the address of its page, `project = "acme/data-config"`; [repository] remote tells it, too, if it is there]
        config/aam.toml:2:8 AAM-C004 `forge.token` is not set, which a forge needs [as `token = "${env:AAM_FORGE_TOKEN}"`; GitHub makes one under Settings, Developer settings, Fine-grained tokens: this repository, with Contents, Pull requests and Commit statuses for reading and writing; or set app_id, installation_id and private_key of an app]

        config/aam.toml:2:8 AAM-C004 `forge.url` is not set, which a forge needs [the address of its web page, `url = "https://forge.example.com"`]
        config/aam.toml:3:11 AAM-C002 `forge.project`: `owner/name` is expected, as in the address of its page []
        config/aam.toml:5:10 AAM-C002 `forge.labels`: a label is a text without commas []
        config/aam.toml:4:9 AAM-C005 `forge.token`: a secret stands here in plain text [write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed]

        config/aam.toml:2:8 AAM-C004 `forge.app_id` is not set, which a forge needs [the app's page under Settings, Developer settings, GitHub Apps shows it]
        config/aam.toml:2:8 AAM-C004 `forge.installation_id` is not set, which a forge needs [the number at the end of the address of the installation's page]

        config/aam.toml:5:7 AAM-C002 `forge.url`: an address that begins with http:// or https:// is expected [for example `https://forge.example.com`]
        config/aam.toml:4:10 AAM-C002 `forge.app_id`: only GitHub has apps [GitLab makes one in the project's Settings, Access tokens: the role Developer and the scope `api`]

        config/aam.toml:2:11 AAM-C004 `forge.kind` is not set, which a forge needs ["github", "gitlab" or "gitea"]

        config/aam.toml:6:7 AAM-C002 `forge.url`: an address without a user is expected [GitHub makes one under Settings, Developer settings, Fine-grained tokens: this repository, with Contents, Pull requests and Commit statuses for reading and writing]
        config/aam.toml:3:11 AAM-C002 `forge.project`: `owner/name` is expected, as in the address of its page []
        config/aam.toml:4:9 AAM-C002 `forge.token`: either a token or an app signs in, not both []

        config/aam.toml:2:8 AAM-C002 `forge.kind`: unknown variant: found `svn`, expected `one of `github`, `gitlab`, `gitea` []
        "#);
        for good in [
            "kind = 'github'\nproject = 'a/b'\ntoken = '${env:T}'\n",
            "kind = 'gitlab'\nproject = 'a/b/c'\ntoken = '${file:/t}'\nurl = 'https://gitlab.example.org/git'\n",
            "kind = 'github'\nproject = 'a/b'\napp_id = '1'\ninstallation_id = 2\nprivate_key = '${credential:k}'\n",
        ] {
            assert_eq!(said(good), "", "{good}");
        }
    }

    #[test]
    fn workspaces_are_a_table_wherever_they_are_set() {
        let id = "0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11";
        let inline = format!("[airbyte]\nworkspaces = {{default = \"{id}\", \"acme.eu\" = \"{id}\"}}\n");
        let header = format!("[airbyte.workspaces]\ndefault = \"{id}\"\n\"acme.eu\" = \"{id}\"\n");
        let variable = format!("{{default = \"{id}\", \"acme.eu\" = \"{id}\"}}");
        let read =
            |file: &str, environment: &[(&str, &str)]| load(file, environment, &[]).unwrap().0.airbyte.workspaces;
        let expected = read(&inline, &[]);
        assert_eq!(expected.keys().collect::<Vec<_>>(), ["acme.eu", "default"]);
        assert_eq!(read(&header, &[]), expected);
        assert_eq!(read("", &[("AAM_AIRBYTE__WORKSPACES", &variable)]), expected);
        assert!(load("[airbyte]\nworkspaces = {default = \"x\"}\n", &[], &[]).is_err());
    }

    #[test]
    fn who_may_approve_is_a_list_of_tables() {
        let rule = "[[approval.rules]]\ntenants = [\"acme\"]\nseverity = \"breaking_for_mapping\"\napprovers = [\"*@example.com\"]\n";
        let (settings, origins) = load(rule, &[], &[]).unwrap();
        assert_eq!(settings.approval.rules[0].tenants, ["acme"]);
        insta::assert_snapshot!(set(&origins), @r#"approval.rules = [{"approvers":["*@example.com"],"severity":"breaking_for_mapping","tenants":["acme"]}] (config/aam.toml:1)"#);
        let said = |file: &str| load(file, &[], &[]).map(|_| ()).err().unwrap_or_default();
        insta::assert_snapshot!(said("[[approval.rules]]\ntenants = [\"acme\"]\n"), @"config/aam.toml:1:1 AAM-C002 `approval.rules`: a rule names no `approvers` []");
        insta::assert_snapshot!(said("[[approval.rules]]\npaths = [\"a[\"]\n"), @"config/aam.toml:1:1 AAM-C002 `approval.rules`: error parsing glob 'a[': unclosed character class; missing ']' []");
        insta::assert_snapshot!(said("[[approval.rules]]\nseverity = \"bad\"\n"), @"config/aam.toml:1:1 AAM-C002 `approval.rules`: unknown variant: found `bad`, expected `one of `none`, `additive`, `breaking_for_mapping`, `breaking_for_sync` []");
        insta::assert_snapshot!(said("[[approval.rules]]\napprover = [\"x\"]\n"), @"config/aam.toml:1:1 AAM-C002 `approval.rules`: unknown field: found `approver`, expected `one of `tenants`, `paths`, `severity`, `approvers` []");
        let variable = ("AAM_APPROVAL__RULES", "[{approvers = [\"x\"]}]");
        assert_eq!(load("", &[variable], &[]).unwrap().0.approval.rules.len(), 1);
    }

    #[test]
    fn the_secret_of_airbyte_is_never_shown() {
        let file = "[airbyte]\nclient_id = 'x'\nclient_secret = '${env:S}'\n";
        let (settings, origins) = load(file, &[], &[]).unwrap();
        assert!(!format!("{settings:?} {origins:?}").contains("${env:S}"));
        let environment = [("AAM_AIRBYTE__CLIENT_SECRET", "hunter2")];
        let (settings, origins) = load("", &environment, &[]).unwrap();
        assert_eq!(settings.airbyte.client_secret.as_deref(), Some("hunter2"));
        assert!(!format!("{settings:?} {origins:?}").contains("hunter2"));
        let root = tempfile::tempdir().unwrap();
        for line in
            ["client_secret = 'hunter2'", "client_secret = ['hunter2']", "client_secret = 'a${env:S}hunter2${x}'"]
        {
            std::fs::write(root.path().join("x.toml"), format!("[airbyte]\n{line}\n")).unwrap();
            let problems = Settings::load(root.path(), Some(Path::new("x.toml")), [], &[]).unwrap_err();
            assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn the_sample_file_documents_every_key_with_its_default() {
        let file = include_str!("../../config/aam.toml");
        let (settings, origins) = load(file, &[], &[]).unwrap();
        assert_eq!(settings, Settings::default());
        for Setting { key, origin, .. } in origins {
            let (_, name) = key.split_once('.').unwrap();
            let commented = file.lines().any(|line| line.starts_with(&format!("# {name} = ")));
            assert!(origin != Origin::Default || commented, "config/aam.toml does not name {key}");
        }
    }
}
