//! TLS to a PostgreSQL that really speaks it: every mode, with the right and the wrong authority, name and rules.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;

use aam::connector::Settings;
use aam::connector::postgres::{COMMON_KEYS, connect, options};
use aam::engine::embedded::check_destination;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;

use super::harness::{handle, pool, run};
use crate::support::{cluster, start_cluster, write};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A server whose rules differ by database, and certificates.
struct Server {
    port: u16,
    socket: PathBuf,
    ca: String,
    other_ca: String,
    /// Certificate and key of the user `aam`.
    client: (String, String),
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for a host or a user.
fn signed(ca: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

/// The server that the tests of this process share; its certificate is for `localhost`.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (ca, other_ca) = (authority(), authority());
        let (certificate, key) = signed(&ca, "localhost");
        let files = tempfile::tempdir().unwrap();
        write(files.path(), "server.crt", &certificate);
        write(files.path(), "server.key", &key);
        write(files.path(), "ca.crt", &ca.pem());
        let rules = "local all all trust\nhostssl only_tls all all trust\nhostnossl only_plain all all trust\n\
                     hostssl only_certified all all cert\nhost either all all trust\n";
        write(files.path(), "pg_hba.conf", rules);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port_option = format!("port={port}");
        let options = ["ssl=on", "ssl_ca_file=ca.crt", "listen_addresses=127.0.0.1", &port_option];
        let socket = start_cluster(files.path(), &options.map(|o| ["-c", o]).concat());
        Server { port, socket, ca: ca.pem(), other_ca: other_ca.pem(), client: signed(&ca, "aam") }
    })
}

/// Makes the databases and the user, once.
async fn prepared() -> &'static Server {
    static PREPARED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let server = server();
    let make = async {
        let admin = PgConnectOptions::new_without_pgpass().socket(&server.socket).port(server.port);
        let admin = pool(&admin.username("postgres").database("postgres")).await;
        run(&admin, "CREATE ROLE aam SUPERUSER LOGIN").await;
        for name in ["either", "only_tls", "only_plain", "only_certified"] {
            run(&admin, &format!("CREATE DATABASE {name}")).await;
        }
        admin.close().await;
    };
    PREPARED.get_or_init(|| make).await;
    server
}

/// Connects with these settings: `TLS`, `plain`, or what went wrong.
async fn tried(host: &str, port: u16, database: &str, ssl_mode: &Value) -> String {
    let username = if host.starts_with('/') { "postgres" } else { "aam" };
    let config = json!({
        "host": host, "port": port, "username": username, "password": "hunter2secret", "database": database,
        "ssl_mode": ssl_mode,
    });
    let endpoint = handle("crm", "postgres", config);
    let connected = async {
        let options = options(&Settings::open(&endpoint, COMMON_KEYS)?)?;
        connect(&endpoint, &options).await
    };
    let mut connection = match connected.await {
        Ok(connection) => connection,
        Err(error) => {
            let text = format!("{error} ({:?})", error.remedy);
            assert!(!text.contains("hunter2") && !text.contains("BEGIN"), "{text}");
            return text.replace(&port.to_string(), "PORT");
        }
    };
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let is_tls: bool = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    if is_tls { "TLS" } else { "plain" }.to_owned()
}

#[tokio::test]
async fn every_mode_meets_every_kind_of_server() {
    let server = prepared().await;
    let mut lines = Vec::new();
    for database in ["either", "only_tls", "only_plain"] {
        for mode in ["disable", "allow", "prefer", "require"] {
            let outcome = tried("localhost", server.port, database, &json!(mode)).await;
            lines.push(format!("{database} {mode}: {outcome}"));
        }
    }
    for mode in ["allow", "prefer", "require", "verify-full"] {
        let outcome = tried(cluster().to_str().unwrap(), 5432, "postgres", &json!(mode)).await;
        lines.push(format!("no TLS {mode}: {outcome}"));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    either disable: plain
    either allow: plain
    either prefer: TLS
    either require: TLS
    only_tls disable: connecting to crm: no pg_hba.conf entry for host "127.0.0.1", user "aam", database "only_tls", no encryption (28000); if the server wants TLS, set `ssl_mode` to `require` or stricter (Person)
    only_tls allow: TLS
    only_tls prefer: TLS
    only_tls require: TLS
    only_plain disable: plain
    only_plain allow: plain
    only_plain prefer: plain
    only_plain require: connecting to crm: no pg_hba.conf entry for host "127.0.0.1", user "aam", database "only_plain", SSL encryption (28000) (Person)
    no TLS allow: plain
    no TLS prefer: plain
    no TLS require: connecting to crm: the server takes no TLS: turn `ssl` on there, or set `ssl_mode` to `prefer` (Person)
    no TLS verify-full: connecting to crm: the server takes no TLS: turn `ssl` on there, or set `ssl_mode` to `prefer` (Person)
    "#);
}

#[tokio::test]
async fn certificates_are_verified_as_the_mode_says() {
    let server = prepared().await;
    let mut lines = Vec::new();
    for (named, ca) in [("none", None), ("right", Some(&server.ca)), ("wrong", Some(&server.other_ca))] {
        for mode in ["require", "verify-ca", "verify-full"] {
            for host in ["localhost", "127.0.0.1"] {
                let ssl_mode = json!({"mode": mode, "ca_certificate": ca});
                let outcome = tried(host, server.port, "only_tls", &ssl_mode).await;
                lines.push(format!("{named} CA, {mode}, {host}: {outcome}"));
            }
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    none CA, require, localhost: TLS
    none CA, require, 127.0.0.1: TLS
    none CA, verify-ca, localhost: connecting to crm: the server's certificate is refused: invalid peer certificate: UnknownIssuer; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    none CA, verify-ca, 127.0.0.1: connecting to crm: the server's certificate is refused: invalid peer certificate: UnknownIssuer; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    none CA, verify-full, localhost: connecting to crm: the server's certificate is refused: invalid peer certificate: UnknownIssuer; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    none CA, verify-full, 127.0.0.1: connecting to crm: the server's certificate is refused: invalid peer certificate: UnknownIssuer; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    right CA, require, localhost: TLS
    right CA, require, 127.0.0.1: TLS
    right CA, verify-ca, localhost: TLS
    right CA, verify-ca, 127.0.0.1: TLS
    right CA, verify-full, localhost: TLS
    right CA, verify-full, 127.0.0.1: connecting to crm: the server's certificate is refused: invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost"); set `host` to a name in it, or `ssl_mode` to `verify-ca` (Person)
    wrong CA, require, localhost: connecting to crm: the server's certificate is refused: invalid peer certificate: BadSignature; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    wrong CA, require, 127.0.0.1: connecting to crm: the server's certificate is refused: invalid peer certificate: BadSignature; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    wrong CA, verify-ca, localhost: connecting to crm: the server's certificate is refused: invalid peer certificate: BadSignature; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    wrong CA, verify-ca, 127.0.0.1: connecting to crm: the server's certificate is refused: invalid peer certificate: BadSignature; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    wrong CA, verify-full, localhost: connecting to crm: the server's certificate is refused: invalid peer certificate: BadSignature; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    wrong CA, verify-full, 127.0.0.1: connecting to crm: the server's certificate is refused: invalid peer certificate: BadSignature; no authority that is trusted here has signed it: set `ca_certificate` of `ssl_mode` to the right one's (Person)
    "#);
}

#[tokio::test]
async fn a_client_certificate_stands_for_a_password() {
    let server = prepared().await;
    let (certificate, key) = &server.client;
    let with = |certificate: Option<&str>, key: Option<&str>| {
        json!({
            "mode": "verify-full", "ca_certificate": server.ca, "client_certificate": certificate, "client_key": key,
        })
    };
    let mut lines = Vec::new();
    for ssl_mode in [
        with(Some(certificate), Some(key)),
        with(None, None),
        with(Some(certificate), None),
        with(Some("/path/to/it.pem"), Some(key)),
    ] {
        lines.push(tried("localhost", server.port, "only_certified", &ssl_mode).await);
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    TLS
    connecting to crm: connection requires a valid client certificate (28000) (Person)
    settings of crm: `ssl_mode` needs `client_certificate` and `client_key` together (Person)
    settings of crm: `client_certificate` of `ssl_mode` holds no PEM text: write ${file:/path/to/it.pem} (Person)
    ");
}

#[tokio::test]
async fn source_and_destination_take_the_same_settings() {
    let server = prepared().await;
    for (ca, good) in [(&server.ca, true), (&server.other_ca, false)] {
        let config = json!({
            "host": "localhost", "port": server.port, "username": "aam", "database": "only_tls",
            "ssl_mode": {"mode": "verify-full", "ca_certificate": ca},
        });
        let endpoint = handle("crm", "postgres", config);
        let source = aam::connector::open(&endpoint, &aam::connector::Programs::default()).unwrap().check().await;
        assert_eq!((source.is_ok(), check_destination(&endpoint).await.is_ok()), (good, good));
    }
}
