//! GitHub Apps: the proof is checked with an independent program, and its token opens requests.

use std::process::Command;

use aam::forge::{Credentials, Kind};
use aam::ports::ForgeError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::tool::{Bed, adapter, draft};

fn openssl(dir: &std::path::Path, args: &[&str]) {
    let out = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A key as GitHub hands it out (PKCS#1), and as other tools write it (PKCS#8).
fn keys(dir: &std::path::Path) -> [String; 2] {
    let file = dir.join("key.pem");
    openssl(dir, &["genrsa", "-traditional", "-out", "key.pem", "2048"]);
    openssl(dir, &["pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-out", "key8.pem"]);
    [file, dir.join("key8.pem")].map(|file| std::fs::read_to_string(file).unwrap())
}

/// Holds a proof against the public key, by another program than the one that signed it.
fn verify(dir: &std::path::Path, proof: &str) {
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let plain = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    std::fs::write(dir.join("signed"), signed).unwrap();
    std::fs::write(dir.join("signature"), plain(signature)).unwrap();
    openssl(dir, &["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    openssl(dir, &["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "signed"]);
    let (head, claims) = signed.split_once('.').unwrap();
    assert_eq!(String::from_utf8(plain(head)).unwrap(), r#"{"alg":"RS256","typ":"JWT"}"#);
    let claims: serde_json::Value = serde_json::from_slice(&plain(claims)).unwrap();
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    let now = chrono::Utc::now().timestamp();
    assert!(claims["iss"] == "7" && issued < now && expires > now && expires - issued <= 600, "{claims}");
}

#[tokio::test]
async fn an_app_signs_in_with_its_key_and_opens_requests() {
    let dir = tempfile::tempdir().unwrap();
    for key in keys(dir.path()) {
        let bed = Bed::new(Kind::GitHub).await;
        let app = Credentials::App { id: "7".to_owned(), installation: 9, key: key.into() };
        let forge = adapter(Kind::GitHub, &bed.standin.url, app);
        forge.open(&draft("one")).await.unwrap();
        let access = forge.access().await.unwrap();
        assert_eq!((access.login.as_deref(), access.may_write), (Some("aam[bot]"), None));
        let proof = bed.standin.edit(|state| state.proofs[0].clone());
        verify(dir.path(), &proof);
        let tokens = bed.standin.calls("POST /app/installations/9/access_tokens");
        assert_eq!(tokens, 1, "one token serves for a while");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_told_without_showing_it() {
    let bed = Bed::new(Kind::GitHub).await;
    let app = Credentials::App { id: "7".to_owned(), installation: 9, key: "hunter22hunter22".to_owned().into() };
    let error = adapter(Kind::GitHub, &bed.standin.url, app).open(&draft("one")).await.unwrap_err();
    assert!(matches!(error, ForgeError::Credentials { .. }), "{error}");
    assert!(error.to_string().contains("no PEM file") && !error.to_string().contains("hunter22"), "{error}");
    assert_eq!(bed.standin.calls(""), 0);
}
