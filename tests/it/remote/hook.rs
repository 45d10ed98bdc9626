//! The port for webhooks is there only when it is switched on, and takes no more than it must.

use std::sync::Arc;
use std::time::Duration;

use aam::http::{Hook, serve_hook};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::story::world;

#[tokio::test]
async fn what_is_too_large_is_not_read_and_an_unreadable_secret_hears_nobody() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = place.local_addr().unwrap();
    drop(place);
    let (look, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let hook = Hook { listen, secret: Arc::new(|| Err("gone".into())) };
    let serving = tokio::spawn(serve_hook(hook, look.clone(), stop.clone()));
    let ask = async |head: &str| {
        let mut stream = loop {
            match tokio::net::TcpStream::connect(listen).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        stream.write_all(format!("POST /hooks/git HTTP/1.1\r\nHost: evil\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(
        ask("Content-Length: 99999999999").await,
        "HTTP/1.1 401",
        "without a signature not even its size counts"
    );
    assert_eq!(ask("Content-Length: 99999999999\r\nX-Gitlab-Token: gone").await, "HTTP/1.1 413");
    assert_eq!(ask("Content-Length: 0\r\nX-Gitlab-Token: gone").await, "HTTP/1.1 500");
    let woken = tokio::time::timeout(Duration::from_millis(50), look.notified()).await;
    assert!(woken.is_err(), "nobody was heard");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_is_no_port() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = place.local_addr().unwrap();
    drop(place);
    let (mut world, _) = world("").await;
    world.env.push(("AAM_HTTP__LISTEN".to_owned(), listen.to_string()));
    let daemon = world.daemon().await;
    assert!(std::net::TcpStream::connect(listen).is_err());
    daemon.stop().await;
}

/// A port whose secret is `s3cret`; it ends when the token is cancelled.
fn serve() -> (std::net::SocketAddr, Arc<Notify>, CancellationToken) {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = place.local_addr().unwrap();
    drop(place);
    let (look, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let hook = Hook { listen, secret: Arc::new(|| Ok("s3cret".to_owned().into())) };
    tokio::spawn(serve_hook(hook, look.clone(), stop.clone()));
    (listen, look, stop)
}

async fn connect(listen: std::net::SocketAddr) -> tokio::net::TcpStream {
    loop {
        match tokio::net::TcpStream::connect(listen).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test]
async fn those_who_only_wait_keep_no_good_webhook_away() {
    let (listen, look, stop) = serve();
    // Some say nothing, some begin a request, some promise a body with a signature that is none, and never send it.
    let mut waiting = Vec::new();
    for n in 0..200 {
        let mut stream = connect(listen).await;
        let head = "POST /hooks/git HTTP/1.1\r\nHost: h\r\n";
        let begun =
            [String::new(), head.to_owned(), format!("{head}X-Gitea-Signature: 00\r\nContent-Length: 1000\r\n\r\n")];
        stream.write_all(begun[n % 3].as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let mut good = connect(listen).await;
    good.write_all(b"POST /hooks/git HTTP/1.1\r\nHost: h\r\nX-Gitlab-Token: s3cret\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    good.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    look.notified().await;
    // The oldest gave way.
    let mut rest = Vec::new();
    assert!(matches!(waiting[0].read_to_end(&mut rest).await, Ok(0) | Err(_)));
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn whose_request_does_not_come_is_cut_off() {
    let (listen, _, stop) = serve();
    let mut slow = connect(listen).await;
    slow.write_all(b"POST /hooks/git HTTP/1.1\r\nHost: h\r\n").await.unwrap();
    let mut rest = Vec::new();
    assert!(matches!(slow.read_to_end(&mut rest).await, Ok(0) | Err(_)), "{rest:?}");
    stop.cancel();
}
