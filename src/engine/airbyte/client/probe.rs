//! What an instance is: where its API lies, its version, and which of the two APIs answer. Asked once.

use reqwest::{Method, Url};
use serde_json::Value;

use super::answer::decode;
use super::{Api, Client, Instance, Kind, Request};
use crate::engine::airbyte::error::{ApiError, Fate, shown};

impl Client {
    /// Finds the base path: below the URL as given, with or without `/api`.
    pub(super) async fn probe(&self) -> Result<Instance, ApiError> {
        self.admit("GET /v1/health")?;
        let found = self.find_base().await;
        self.hear(found.as_ref().err());
        if let Ok(Instance { version, .. }) = &found {
            tracing::info!(airbyte.version = %version, "Airbyte at {} is version {version}", self.access.url);
        }
        found
    }

    async fn find_base(&self) -> Result<Instance, ApiError> {
        let given = self.access.url.as_str().trim_end_matches('/');
        let root = ["/public/v1", "/v1"].iter().find_map(|end| given.strip_suffix(end)).unwrap_or(given);
        let candidates =
            if root.ends_with("/api") { vec![root.to_owned()] } else { vec![format!("{root}/api"), root.to_owned()] };
        let mut first = None;
        for candidate in candidates {
            let Ok(base) = Url::parse(&candidate) else { continue };
            match self.health(&base).await {
                Ok(()) => return self.describe(base).await,
                // nobody there: another path is no other server
                Err(e) if matches!(e.fate, Fate::NotSent | Fate::Unknown) => return Err(first.unwrap_or(e)),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or_else(|| ApiError::new("GET /v1/health", Fate::NotSent, "the URL cannot be used")))
    }

    async fn health(&self, base: &Url) -> Result<(), ApiError> {
        let request = get("/v1/health");
        let answer = self.raw(base, "", &request, None, self.access.manners.quick).await?;
        let health: Value = decode(&request, &answer)?;
        match health.get("available").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            Some(false) => Err(ApiError::new(&request.name(), Fate::Answered(503), "Airbyte says it is not available")),
            None => Err(ApiError::new(&request.name(), Fate::Garbled, "the answer is not that of Airbyte's health")),
        }
    }

    async fn describe(&self, base: Url) -> Result<Instance, ApiError> {
        let quick = self.access.manners.quick;
        let request = get("/v1/instance_configuration");
        let said = match self.raw(&base, "", &request, None, quick).await {
            Ok(answer) => decode(&request, &answer)?,
            Err(e) if matches!(e.fate, Fate::Answered(401 | 403 | 404)) => Value::Null,
            Err(e) => return Err(e),
        };
        let public = self.raw(&base, "/public/v1", &get("/health"), None, quick).await;
        let public = match public {
            Ok(body) => !body.starts_with(b"<"),
            Err(e) if e.is_transient() => return Err(e),
            Err(_) => false,
        };
        let word = |value: &Value| value.as_str().map(shown).filter(|word| !word.is_empty());
        Ok(Instance {
            base,
            version: word(&said["version"]).unwrap_or_else(|| "unknown".into()),
            edition: word(&said["edition"]).unwrap_or_default(),
            auth: word(&said["auth"]["mode"]).unwrap_or_default(),
            public,
        })
    }
}

fn get(path: &str) -> Request<'_> {
    Request { api: Api::Config, method: Method::GET, path, query: &[], body: None, kind: Kind::Read }
}
