//! The client against what is broken below JSON: hosts without an address, certificates that nobody knows, bodies of another
//! length than was said, and JSON that is none of Airbyte's.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aam::engine::airbyte::api::Airbyte;
use aam::engine::airbyte::client::{Access, Client, Kind, Manners};
use aam::engine::airbyte::error::{ApiError, Fate};
use aam::ports::ObjectKind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a call is answered with, byte for byte, and what becomes of the connection then.
#[derive(Clone)]
struct Raw {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    /// It stays open for the next call.
    Stay,
    /// It ends.
    End,
    /// It stays open, and nothing comes any more.
    Stall,
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

/// Header and body as they should be.
fn whole(body: &str) -> Raw {
    raw(&format!("{OK}content-length: {}\r\n\r\n{body}", body.len()), Then::Stay)
}

fn raw(text: &str, then: Then) -> Raw {
    Raw { bytes: text.as_bytes().to_vec(), then }
}

/// A server that answers each call but those of the probe by the script, and `{}` after its end.
struct Server {
    url: String,
    script: Arc<Mutex<VecDeque<Raw>>>,
    /// The header of the last call.
    asked: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (script, asked) = (Arc::<Mutex<VecDeque<Raw>>>::default(), Arc::<Mutex<String>>::default());
        let (scripted, heard) = (script.clone(), asked.clone());
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.spawn(serve(stream, scripted.clone(), heard.clone()));
            }
        });
        Self { url, script, asked, task }
    }

    fn will(&self, answers: impl IntoIterator<Item = Raw>) {
        *self.script.lock().unwrap() = answers.into_iter().collect();
    }

    fn client(&self) -> Client {
        client(&self.url)
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<VecDeque<Raw>>>, asked: Arc<Mutex<String>>) {
    while let Some(head) = request(&mut stream).await {
        let probed = ["/v1/health", "/v1/instance_configuration"].iter().any(|end| head.contains(end));
        let answer = match probed {
            true => whole(&json!({"available": true, "version": "1.8.0"}).to_string()),
            false => {
                *asked.lock().unwrap() = head;
                script.lock().unwrap().pop_front().unwrap_or_else(|| whole("{}"))
            }
        };
        if stream.write_all(&answer.bytes).await.is_err() {
            return;
        }
        match answer.then {
            Then::Stay => {}
            Then::End => return,
            Then::Stall => std::future::pending().await,
        }
    }
}

/// The header of the next request, whose body is read too; `None` at the end of the connection.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(head);
        }
    }
}

fn client(url: &str) -> Client {
    aam::wiring::install_tls();
    let manners = Manners { quick: Duration::from_millis(700), calls_per_second: 1000, ..Manners::default() };
    Client::new(Access { url: url.parse().unwrap(), credentials: None, manners }).unwrap()
}

/// Asks once, and does not try again.
async fn once(client: &Client) -> Result<Value, ApiError> {
    client.config(Kind::Write, "/v1/things", &json!({})).await
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_by_a_word_and_without_the_url() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let secret = "?token=c4nary";
    let mut said = Vec::new();
    for url in [
        format!("https://localhost:{}/c4nary/{secret}", strangers_certificate()),
        format!("https://localhost:{}/c4nary/{secret}", no_tls()),
        format!("http://c4nary.invalid:8000/{secret}"),
        format!("http://127.0.0.1:{free}/c4nary/{secret}"),
    ] {
        let error = once(&client(&url)).await.unwrap_err();
        assert_eq!(error.fate, Fate::NotSent, "{error}");
        assert!(!format!("{error} {error:?}").contains("c4nary"), "{error:?}");
        said.push(format!("{}: {error}", error.code));
    }
    insta::assert_snapshot!(said.join("\n"), @"
    certificate: GET /v1/health: no connection to Airbyte: invalid peer certificate: UnknownIssuer
    tls: GET /v1/health: no connection to Airbyte: received corrupt message of type InvalidContentType (tls)
    dns: GET /v1/health: no connection to Airbyte: failed to lookup address information: Name or service not known (dns)
    refused: GET /v1/health: no connection to Airbyte: Connection refused (os error 111)
    ");
}

/// The port of a server with a certificate that nobody signed but itself.
fn strangers_certificate() -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    greet(move |mut stream| {
        let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
        let _ = session.complete_io(&mut stream);
    })
}

/// The port of a server that speaks something else.
fn no_tls() -> u16 {
    greet(|mut stream| drop(stream.write_all(b"220 mail.example.org ESMTP\r\n")))
}

/// Does this once with the next who connects, on a thread that ends then.
fn greet(meet: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.accept().map(|(stream, _)| meet(stream)));
    port
}

#[tokio::test]
async fn of_two_addresses_of_a_host_the_one_that_answers_is_used() {
    let server = Server::start().await;
    // `localhost` is ::1, where nobody listens, and 127.0.0.1
    let client = client(&server.url.replace("127.0.0.1", "localhost"));
    assert_eq!(once(&client).await.unwrap(), json!({}));
}

#[tokio::test]
async fn a_body_of_another_length_than_was_said_is_no_answer() {
    let server = Server::start().await;
    let client = server.client();
    let body = json!({"a": [1, 2, 3]}).to_string();
    let of = |length: usize, then| raw(&format!("{OK}content-length: {length}\r\n\r\n{body}"), then);
    let chunks = |text: &str| raw(&format!("{OK}transfer-encoding: chunked\r\n\r\n{text}"), Then::End);
    let answers = [
        ("more was promised", of(body.len() + 9, Then::End), Fate::Unknown),
        ("less was promised", of(body.len() - 3, Then::Stay), Fate::Garbled),
        ("cut within a chunk", chunks("20\r\n{\"a\": [1"), Fate::Unknown),
        ("cut between chunks", chunks("8\r\n{\"a\": [1\r\n"), Fate::Unknown),
        ("a chunk without a length", chunks("x\r\n{}\r\n0\r\n\r\n"), Fate::Unknown),
        ("no header", raw("{\"a\": 1}", Then::End), Fate::Unknown),
    ];
    for (what, answer, fate) in answers {
        server.will([answer]);
        let error = once(&client).await.unwrap_err();
        assert_eq!((error.fate, error.may_have_happened()), (fate, true), "{what}: {error}");
        // what was left of it is not taken for the next answer
        server.will([whole("{\"b\": 1}")]);
        assert_eq!(once(&client).await.unwrap(), json!({"b": 1}), "{what}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_at_any_byte_is_over_with_the_deadline() {
    let server = Server::start().await;
    let clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    let body = json!({"a": [1, 2, 3]}).to_string();
    for client in &clients {
        client.instance().await.unwrap();
    }
    let stalls = [0, 1, body.len() / 2, body.len() - 1];
    server.will(stalls.map(|n| raw(&format!("{OK}content-length: {}\r\n\r\n{}", body.len(), &body[..n]), Then::Stall)));
    for outcome in futures_util::future::join_all(clients.iter().map(once)).await {
        let error = outcome.unwrap_err();
        assert_eq!((error.fate, error.code.as_str()), (Fate::Unknown, "deadline"), "{error}");
    }
}

#[tokio::test]
async fn compression_is_never_asked_for_and_never_undone() {
    let server = Server::start().await;
    let client = server.client();
    // `{}`
    let small = hex::decode("1f8b0800000000000003abae050043bfa6a302000000").unwrap();
    let bomb = [&small[..], &[0; 1 << 20]].concat();
    for body in [small.clone(), small[..9].to_vec(), bomb] {
        let head = format!("{OK}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
        server.will([Raw { bytes: [head.as_bytes(), &body].concat(), then: Then::Stay }]);
        let error = once(&client).await.unwrap_err();
        assert_eq!(error.fate, Fate::Garbled);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"POST /v1/things: the answer is compressed (gzip), which was not asked for: a proxy in between?");
        }
        assert!(!server.asked.lock().unwrap().contains("accept-encoding"));
    }
    let page = "HTTP/1.1 503 Unavailable\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x0b\x08\x01";
    server.will([raw(page, Then::Stay)]);
    insta::assert_snapshot!(once(&client).await.unwrap_err(), @"POST /v1/things: 503 Airbyte does not answer behind its proxy");
}

#[tokio::test]
async fn json_that_is_none_of_airbytes_is_a_typed_error_and_told_without_its_values() {
    let server = Server::start().await;
    let api = Airbyte::new(server.client());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let id = "0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11";
    let source =
        json!({"sourceId": id, "sourceDefinitionId": id, "workspaceId": id, "name": "c4nary", "createdAt": "c4nary"});
    let connection =
        json!({"connectionId": id, "name": "c4nary", "sourceId": id, "destinationId": 7, "status": "active"});
    let job = json!({"job": {"id": "42", "status": "c4nary", "createdAt": "1"}, "attempts": []});
    let bodies = [
        "null".to_owned(),
        "[]".to_owned(),
        "\"c4nary\"".to_owned(),
        "{}".to_owned(),
        format!("{{\"sources\": {deep}, \"connections\": {deep}, \"jobs\": {deep}}}"),
        format!("{{\"sources\": [{deep}], \"connections\": [{deep}], \"jobs\": [{deep}]}}"),
        deep,
        json!({"sources": null, "connections": null, "jobs": null}).to_string(),
        json!({"sources": [source], "connections": [connection], "jobs": [job]}).to_string(),
        json!({"sources": [{"name": "c4nary"}], "connections": [{"name": "c4nary"}], "jobs": [{}]}).to_string(),
    ];
    for body in bodies {
        let of: uuid::Uuid = id.parse().unwrap();
        server.will(std::iter::repeat_n(whole(&body), 3));
        let errors = [
            api.actors(ObjectKind::Source, of).await.map(drop).unwrap_err(),
            api.connections(of).await.map(drop).unwrap_err(),
            api.jobs(of, 1).await.map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.fate, Fate::Garbled, "{error}");
            assert!(!error.to_string().contains("c4nary"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_error_of_any_depth_is_told_cut() {
    let server = Server::start().await;
    let client = server.client();
    let body = "[".repeat(10_000);
    server.will([raw(&format!("HTTP/1.1 400 Bad\r\ncontent-length: 10000\r\n\r\n{body}"), Then::Stay)]);
    let error = once(&client).await.unwrap_err();
    assert_eq!(error.to_string(), format!("POST /v1/things: 400 {}", &body[..500]));
}

#[tokio::test]
async fn a_host_that_takes_no_connection_was_sent_nothing() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    // once its queue is full, what comes is dropped without a word
    let (mut queue, mut dropped) = (Vec::new(), 0);
    while dropped < 3 {
        match tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(at)).await {
            Ok(stream) => queue.push(stream.unwrap()),
            Err(_) => dropped += 1,
        }
    }
    aam::wiring::install_tls();
    let url = format!("http://{at}").parse().unwrap();
    let client = Client::new(Access { url, credentials: None, manners: Manners::default() }).unwrap();
    let error = once(&client).await.unwrap_err();
    // which of the two ends first, the time for a connection or that for all, is the machine's affair
    assert!(error.fate == Fate::NotSent && ["deadline", "unreachable"].contains(&error.code.as_str()), "{error}");
}
