//! Resolves references to secrets: environment, files, systemd credentials.

mod key;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Number, Value};
use sha2::Sha256;

use crate::ports::{ResolvedConfig, SecretError, Secrets};
use crate::spec::{Config, ConfigValue, SecretRef, TemplatePart};

pub use source::resolve_text;

/// The secrets of this process.
pub struct LocalSecrets {
    root: PathBuf,
    environment: BTreeMap<String, SecretString>,
    key: SecretString,
}

impl std::fmt::Debug for LocalSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalSecrets(***)")
    }
}

impl LocalSecrets {
    /// Takes the environment as it is now; a relative `${file:…}` is read below `root`. The key of fingerprints lies in
    /// `<state>/fingerprint.key` and is made there once; without it every secret counts as unknown, so it is never
    /// silently replaced.
    pub fn open(
        root: &Path,
        state_dir: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SecretError> {
        Ok(Self {
            root: root.to_owned(),
            environment: environment.into_iter().map(|(name, value)| (name, value.into())).collect(),
            key: key::read_or_make(&state_dir.join("fingerprint.key"))?,
        })
    }

    fn get(&self, reference: &SecretRef) -> Result<SecretString, SecretError> {
        source::read(reference, &self.root, |name| self.environment.get(name).cloned())
    }

    /// HMAC-SHA-256 in hex.
    fn fingerprint(&self, value: &Value) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes())
            .expect("HMAC takes a key of any length");
        // an object's keys are sorted, so the same settings always give the same text
        mac.update(value.to_string().as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

impl Secrets for LocalSecrets {
    fn resolve(&self, config: &Config) -> Result<ResolvedConfig, SecretError> {
        let mut work = Work { from: self, used: Vec::new(), missing: BTreeMap::new() };
        let value = Value::Object(work.map(config));
        match work.missing.len() {
            0 => Ok(ResolvedConfig::new(value.clone(), work.used, self.fingerprint(&value))),
            1 => Err(work.missing.into_values().next().expect("there is one")),
            _ => Err(SecretError {
                reference: work.missing.keys().cloned().collect::<Vec<_>>().join(", "),
                why: work.missing.values().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            }),
        }
    }
}

/// One configuration on its way: the secrets that went into it, and all that could not be had.
struct Work<'a> {
    from: &'a LocalSecrets,
    used: Vec<SecretString>,
    missing: BTreeMap<String, SecretError>,
}

impl Work<'_> {
    fn map(&mut self, config: &Config) -> Map<String, Value> {
        config.iter().map(|(name, value)| (name.clone(), self.value(value))).collect()
    }

    fn value(&mut self, value: &ConfigValue) -> Value {
        match value {
            ConfigValue::Null => Value::Null,
            ConfigValue::Plain(text) => plain(text),
            ConfigValue::Text(text) => Value::String(text.clone()),
            ConfigValue::Template(parts) => Value::String(parts.iter().map(|part| self.part(part)).collect()),
            ConfigValue::List(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            ConfigValue::Map(map) => Value::Object(self.map(map)),
        }
    }

    fn part(&mut self, part: &TemplatePart) -> String {
        let reference = match part {
            TemplatePart::Text(text) => return text.clone(),
            TemplatePart::Secret(reference) => reference,
        };
        match self.from.get(reference) {
            Ok(secret) => {
                let text = secret.expose_secret().to_owned();
                self.used.push(secret);
                text
            }
            Err(error) => {
                self.missing.insert(error.reference.clone(), error);
                String::new()
            }
        }
    }
}

/// A bare YAML scalar as JSON: a boolean or number only if JSON writes it so (`01234`, `NO` and `1_000` are text), and a
/// number with all its digits.
fn plain(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => serde_json::from_str::<Number>(text)
            .ok()
            .filter(|number| number.to_string() == text)
            .map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(dir: &Path, environment: &[(&str, &str)]) -> LocalSecrets {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        LocalSecrets::open(dir, &dir.join("state"), environment).unwrap()
    }

    fn template(parts: &[TemplatePart]) -> Config {
        Config::from([("password".to_owned(), ConfigValue::Template(parts.to_vec()))])
    }

    fn env(name: &str) -> TemplatePart {
        TemplatePart::Secret(SecretRef::Env(name.to_owned()))
    }

    #[test]
    fn plain_values_become_what_json_writes_alike() {
        let texts = ["true", "NO", "01234", "5432", "1e3", "1.10", "12345678901234567890123456789", " 1", "~", "-0"];
        insta::assert_snapshot!(
            serde_json::to_string(&texts.map(plain)).unwrap(),
            @r#"[true,"NO","01234",5432,"1e3",1.10,12345678901234567890123456789," 1","~",-0]"#
        );
    }

    #[test]
    fn references_are_filled_and_masked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "t0ken\n").unwrap();
        let file = TemplatePart::Secret(SecretRef::File("token".to_owned()));
        let config = template(&[env("USER_X"), TemplatePart::Text(":".to_owned()), file]);
        let resolved = secrets(dir.path(), &[("USER_X", "alice")]).resolve(&config).unwrap();
        assert_eq!(resolved.expose().to_string(), r#"{"password":"alice:t0ken"}"#);
        assert_eq!(resolved.mask("no t0ken for alice"), "no *** for ***");
    }

    #[test]
    fn everything_missing_is_named_at_once_and_no_value_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = TemplatePart::Secret(SecretRef::File("/nowhere/at/all".to_owned()));
        let config = template(&[env("HERE"), env("GONE"), file]);
        let error = secrets(dir.path(), &[("HERE", "s3cret")]).resolve(&config).unwrap_err().to_string();
        assert!(error.contains("${env:GONE}") && error.contains("${file:/nowhere/at/all}"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_fingerprint_tells_changed_from_same_and_needs_its_key() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = template(&[env("P")]);
        let of = |dir: &Path, value| secrets(dir, &[("P", value)]).resolve(&config).unwrap().fingerprint().to_owned();
        let one = of(dir.path(), "one");
        assert_eq!(one, of(dir.path(), "one"));
        assert_ne!(one, of(dir.path(), "two"));
        assert_ne!(one, of(other.path(), "one"), "another installation has another key");
        assert_eq!(one.len(), 64);
    }
}
