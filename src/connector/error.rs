//! Failures of connectors and of the databases behind them, as [`EngineError`]s: masked, on one line, with a remedy.

use crate::ports::{EndpointHandle, EngineError, Remedy};

/// The text with control characters escaped and cut at 2,000 characters: what came from outside is data.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars().take(2000) {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A failure with the endpoint's secrets taken out of its text.
pub fn failure(endpoint: &EndpointHandle, what: String, why: &str, remedy: Remedy) -> EngineError {
    EngineError { what, why: clean(&endpoint.config.mask(why)), remedy, retry_after: None }
}

/// A failure of a PostgreSQL connection. Time heals what the network, a restart or a full server caused.
pub fn database_error(endpoint: &EndpointHandle, what: String, error: &sqlx::Error) -> EngineError {
    let (why, remedy) = match error {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default().into_owned();
            // 08 connection, 40 rollback, 53 resources, 55P03 lock, 57 operator, 58 system
            let heals = ["08", "40", "53", "57", "58"].iter().any(|c| code.starts_with(c)) || code == "55P03";
            let detail = e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.detail());
            let why = match detail {
                Some(detail) => format!("{} ({code}; {detail})", e.message()),
                None => format!("{} ({code})", e.message()),
            };
            let why = if code == "28000" && e.message().contains("no encryption") {
                format!("{why}; if the server wants TLS, set `ssl_mode` to `require` or stricter")
            } else {
                why
            };
            (why, if heals { Remedy::Retry } else { Remedy::Person })
        }
        sqlx::Error::Configuration(e) => (e.to_string(), Remedy::Person),
        other => match tls_problem(other) {
            Some(why) => (why, Remedy::Person),
            None => (other.to_string(), Remedy::Retry),
        },
    };
    failure(endpoint, what, &why, remedy)
}

/// What keeps two ends from speaking TLS with each other, and the setting that mends it.
fn tls_problem(error: &sqlx::Error) -> Option<String> {
    use rustls::CertificateError::{BadSignature, NotValidForName, NotValidForNameContext, UnknownIssuer};
    use rustls::Error::InvalidCertificate;

    let error = match error {
        sqlx::Error::Tls(e) if e.to_string().contains("not support TLS") => {
            return Some("the server takes no TLS: turn `ssl` on there, or set `ssl_mode` to `prefer`".to_owned());
        }
        sqlx::Error::Tls(e) => return Some(e.to_string()),
        sqlx::Error::Io(e) => e.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    let mend = match error {
        InvalidCertificate(UnknownIssuer | BadSignature) => {
            "; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's"
        }
        InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "; set `host` to a name in it, or `ssl_mode` to `verify-ca`"
        }
        _ => "",
    };
    Some(match error {
        InvalidCertificate(_) => format!("the server's certificate is refused: {error}{mend}"),
        rustls::Error::AlertReceived(_) => {
            format!("the server refuses TLS with us: {error}; does it trust the `client_certificate` of `ssl_mode`?")
        }
        _ => format!("no TLS with the server: {error}"),
    })
}
