//! Signs in as a GitHub App: a short-lived proof, signed with the app's key, buys a token of its installation for an hour.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

/// GitHub takes a proof of at most ten minutes; one of nine lets its clock be a minute behind.
const LIFE: TimeDelta = TimeDelta::minutes(9);
/// GitHub's own advice: begin a minute early, for a clock that runs ahead.
const EARLIER: TimeDelta = TimeDelta::seconds(60);

/// A JSON Web Token (RS256) that says "I am this app". The error never repeats the key.
pub(super) fn proof(id: &str, key: &SecretString, now: DateTime<Utc>) -> Result<SecretString, String> {
    let der = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|_| "the private key is no PEM file with a private key".to_owned())?;
    let key = any_supported_type(&der).map_err(|_| "the private key is not one that can sign".to_owned())?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or("the private key is no RSA key")?;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (issued, expires) = ((now - EARLIER).timestamp(), (now + LIFE).timestamp());
    let claims = json!({"iat": issued, "exp": expires, "iss": id});
    let signed = format!("{}.{}", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims));
    let signature = signer.sign(signed.as_bytes()).map_err(|_| "the private key does not sign".to_owned())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
}
