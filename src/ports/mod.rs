//! The doors to the world, as traits. Planning holds readers only; doing holds writers too.

mod canonical;
mod engine;
pub mod failpoint;
mod forge;
mod mask;
mod registry;
mod repo;
mod sampler;

use chrono::{DateTime, Utc};

pub use canonical::*;
pub use engine::*;
pub use failpoint::{applied, point, recorded, sent, written};
pub use forge::*;
pub use mask::mask;
pub use registry::*;
pub use repo::*;
pub use sampler::*;

use crate::spec::Config;

/// The wall clock, handed in so that tests can turn it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> DateTime<Utc>;
}

/// Resolves references to secrets.
pub trait Secrets: Send + Sync {
    /// Fills every `${…}` of a configuration. Errors name the reference, never a value.
    fn resolve(&self, config: &Config) -> Result<ResolvedConfig, SecretError>;
}

/// A configuration with its secrets in place. Has no `Debug`, `Display` or `Serialize` that would show them.
#[derive(Clone)]
pub struct ResolvedConfig {
    value: serde_json::Value,
    secrets: Vec<secrecy::SecretString>,
    fingerprint: String,
}

impl ResolvedConfig {
    /// Joins the filled-in value with the secrets that went into it and their keyed fingerprint
    /// (HMAC-SHA-256 in hex; changed, same or unknown is all it tells).
    pub fn new(value: serde_json::Value, secrets: Vec<secrecy::SecretString>, fingerprint: String) -> Self {
        Self { value, secrets, fingerprint }
    }

    /// Of what needs no settings, because the engine keeps them.
    pub fn nothing() -> Self {
        Self::new(serde_json::json!({}), Vec::new(), String::new())
    }

    /// The same with another value in place of its own.
    pub fn with(&self, value: serde_json::Value) -> Self {
        Self { value, ..self.clone() }
    }

    /// The value with secrets. Only connectors and engines call this, at the moment of use.
    pub fn expose(&self) -> &serde_json::Value {
        &self.value
    }

    /// The keyed fingerprint of the whole configuration.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether a text holds one of the secrets.
    pub fn has_secret(&self, text: &str) -> bool {
        use secrecy::ExposeSecret as _;
        self.secrets.iter().any(|secret| !secret.expose_secret().is_empty() && text.contains(secret.expose_secret()))
    }

    /// Replaces every secret that occurs in `text`, plain or encoded, by `***`: for error texts from outside.
    pub fn mask(&self, text: &str) -> String {
        mask(&self.secrets, text)
    }
}

impl std::fmt::Debug for ResolvedConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResolvedConfig(***)")
    }
}

/// A secret that could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[error("secret {reference}: {why}")]
pub struct SecretError {
    /// As written in the spec, `${env:CRM_PASSWORD}`.
    pub reference: String,
    /// What went wrong, and how to mend it.
    pub why: String,
}

/// What a caller may do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Time may heal it: try again later.
    Retry,
    /// A person must act first.
    Person,
    /// It may have happened all the same: look before it is tried again.
    Look,
}
