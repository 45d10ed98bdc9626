//! Puts the layers together and says where each value came from.
//!
//! Each value is first tried alone on top of the defaults: so every wrong one is found, not only the first, and serde
//! alone decides what fits.

use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::Value;

use super::Settings;
use super::place::{entries, place};
use crate::diag::{Diagnostic, Place};

/// The only key whose value is never shown.
const SECRET_KEY: &str = "registry.url";

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
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(at) => f.write_str(at),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
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
        let figment = given.iter().fold(defaults(), |figment, g| figment.merge((g.key.as_str(), g.value.clone())));
        let settings: Self = figment.extract().map_err(|e| vec![Diagnostic::error("AAM-C002", e.kind.to_string())])?;
        let origins = origins(&settings, &given);
        Ok((settings, origins))
    }
}

fn defaults() -> Figment {
    Figment::from(Serialized::defaults(Settings::default()))
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
            _ if key == SECRET_KEY => "***".to_owned(),
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
        let value = text.get(entry.value.clone()).unwrap_or_default();
        let Ok(table) = format!("v = {value}").parse::<toml::Table>() else { continue };
        let value = Value::serialize(&table["v"]).expect("TOML values are plain data");
        match misfit(&entry.key, &value) {
            None => {
                let origin = Origin::File(format!("{shown}:{}", at().line));
                given.push(Given { key: entry.key, value, origin });
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
    let candidates = [Some(Value::from(text)), number, boolean];
    let fitting = candidates.into_iter().flatten().find(|value| misfit(key, value).is_none());
    if fitting.is_none() {
        let why = misfit(key, &Value::from(text)).unwrap_or_default();
        problems.push(wrong(key, &why, None, Some(from)));
    }
    fitting.map(|value| Given { key: key.to_owned(), value, origin })
}

/// Why a value cannot be the key's; the value of the secret key is not quoted.
fn misfit(key: &str, value: &Value) -> Option<String> {
    let tried = defaults().merge((key, value.clone())).extract::<Settings>();
    tried
        .err()
        .map(|e| if key == SECRET_KEY { "text is expected".to_owned() } else { e.kind.to_string().replace("``", "`") })
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
