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
