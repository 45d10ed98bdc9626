//! Tokens: one fetch for all who wait, renewed before it expires, and never asked for in a loop by refused credentials.

use std::time::Duration;

use base64::Engine as _;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::decode;
use super::{Api, Client, Kind, Request};
use crate::engine::airbyte::error::{ApiError, Fate};
use crate::ports::mask;

/// A token is renewed when this share of its life is over.
const TOKEN_SHARE: f64 = 0.8;
/// Assumed life of a token that does not tell its own: the shortest that any version gives.
const TOKEN_LIFE: Duration = Duration::from_secs(180);
/// How long a token is waited for: it is a row of a database for the server.
const TOKEN_DEADLINE: Duration = Duration::from_secs(20);
/// Characters of a refusal of the credentials that are shown.
const REFUSAL_SHOWN: usize = 300;
/// How the paths end that give tokens.
pub(super) const TOKEN_PATH: &str = "/applications/token";

/// A bearer token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: SecretString,
    /// From when on it is renewed.
    stale: Instant,
}

impl Client {
    /// A token that is good for now; another one than `refused`. One fetch at a time. `None` without credentials.
    pub(super) async fn token(&self, refused: Option<&Token>) -> Result<Option<Token>, ApiError> {
        let Some((id, secret)) = &self.access.credentials else { return Ok(None) };
        let asked = Instant::now();
        let mut kept = self.token.lock().await;
        let same = |a: &Token, b: &Token| a.value.expose_secret() == b.value.expose_secret();
        if let Some(token) = kept.as_ref()
            && Instant::now() < token.stale
            && !refused.is_some_and(|refused| same(refused, token))
        {
            return Ok(Some(token.clone()));
        }
        if let Some(error) = self.fetched.since(asked).or_else(|| self.fetched.refusal()) {
            return Err(error);
        }
        *kept = None;
        let token = self.fetched.note(self.fetch_token(id, secret).await)?;
        *kept = Some(token.clone());
        Ok(Some(token))
    }

    async fn fetch_token(&self, id: &str, secret: &SecretString) -> Result<Token, ApiError> {
        let instance = self.instance.get().expect("probed before");
        // Both spellings of the grant: the document requires the one and declares the other.
        let mut body = json!({"client_id": id, "client_secret": secret.expose_secret()});
        let (api, prefix) = if instance.public { (Api::Public, "/public/v1") } else { (Api::Config, "") };
        let path = if instance.public { "/applications/token" } else { "/v1/applications/token" };
        if instance.public {
            body["grant_type"] = json!("client_credentials");
            body["grant-type"] = json!("client_credentials");
        }
        let request = Request { api, method: Method::POST, path, query: &[], body: Some(&body), kind: Kind::Read };
        let asked = Instant::now();
        let deadline = self.access.manners.quick.min(TOKEN_DEADLINE);
        let answer = self.raw(&instance.base, prefix, &request, None, deadline).await;
        self.hear(answer.as_ref().err());
        let answer = answer.map_err(|e| refusal(&e, secret))?;
        let granted: Granted = decode(&request, &answer)?;
        let life = granted.life();
        Ok(Token { value: granted.access_token.into(), stale: asked + life.mul_f64(TOKEN_SHARE) })
    }
}

/// The token endpoint's refusal; it may repeat what was sent.
fn refusal(error: &ApiError, secret: &SecretString) -> ApiError {
    let error = error.masked(|text| mask(std::slice::from_ref(secret), text));
    // what is ours comes after it, and stays
    let sentence: String = error.sentence.chars().take(REFUSAL_SHOWN).collect();
    match error.fate {
        // Bad credentials are answered with 400, 401 or 500, depending on the version.
        Fate::Answered(400 | 401 | 403 | 422) => ApiError {
            fate: Fate::Refused,
            sentence: format!(
                "the credentials were refused: {sentence}; `abctl local credentials` shows client id and secret"
            ),
            ..error
        },
        Fate::Answered(500) => ApiError {
            sentence: format!("{sentence}; some versions of Airbyte refuse wrong credentials like this"),
            ..error
        },
        _ => error,
    }
}

/// The token endpoint's answer.
#[derive(serde::Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; the Config API does not say.
    expires_in: Option<u64>,
}

impl Granted {
    /// As told, else as the token itself says, else the shortest that any version gives.
    fn life(&self) -> Duration {
        let told = self.expires_in.map(Duration::from_secs);
        told.or_else(|| jwt_life(&self.access_token)).unwrap_or(TOKEN_LIFE)
    }
}

/// `exp` − now of a JSON Web Token, by the machine's clock; `exp` − `iat` if that clock is off by more than the life.
fn jwt_life(token: &str) -> Option<Duration> {
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let expires = claims.get("exp")?.as_i64()?;
    let life = claims.get("iat").and_then(Value::as_i64).map(|issued| expires - issued);
    let left = expires - chrono::Utc::now().timestamp();
    let seconds = match life {
        Some(life) if left <= 0 || left > life => life,
        _ => left,
    };
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    fn life(granted: &Value) -> Duration {
        Granted::deserialize(granted).unwrap().life()
    }

    #[test]
    fn the_life_of_a_token_is_first_as_told_then_as_it_says_itself_then_the_shortest_of_all() {
        let now = chrono::Utc::now().timestamp();
        let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        let token = |claims: Value| format!("{}.{}.c2ln", part(json!({"alg": "HS256"})), part(claims));
        let quarter = token(json!({"iat": now, "exp": now + 900}));
        assert_eq!(life(&json!({"access_token": quarter, "expires_in": 60})).as_secs(), 60);
        assert!((890..=900).contains(&life(&json!({"access_token": quarter})).as_secs()));
        let other_clock = token(json!({"iat": now - 7200, "exp": now - 6300}));
        assert_eq!(life(&json!({"access_token": other_clock})).as_secs(), 900);
        for opaque in ["opaque".to_owned(), "a.b.c".to_owned(), token(json!({}))] {
            assert_eq!(life(&json!({"access_token": opaque})), TOKEN_LIFE);
        }
    }
}
