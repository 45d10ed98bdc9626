//! Connections that can be cut from within the call that they carry, and bodies that stall or break.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The scissors of one connection.
#[derive(Debug, Clone, Default)]
pub struct Scissors(Arc<AtomicBool>);

impl Scissors {
    /// Nothing more is written: the connection ends at the next try.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A TCP connection with scissors.
pub struct Wire {
    stream: TcpStream,
    scissors: Scissors,
}

/// Accepts such connections.
pub struct Door(pub TcpListener);

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        (Wire { stream, scissors: Scissors::default() }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Scissors {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().scissors.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if self.scissors.0.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body that comes byte by byte, with a pause before each.
pub fn drip(body: Vec<u8>, pause: Duration) -> Body {
    Body::from_stream(futures_util::stream::iter(body).then(move |byte| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, io::Error>(Bytes::copy_from_slice(&[byte]))
    }))
}

/// The first bytes of a body; then it stalls, or breaks.
pub fn partial(body: &[u8], bytes: usize, breaks: bool) -> Body {
    let start = Bytes::copy_from_slice(&body[..bytes.min(body.len())]);
    let start = futures_util::stream::iter([Ok::<_, io::Error>(start)]);
    // the first bytes must leave before the connection ends
    let end = futures_util::stream::once(async move {
        if breaks {
            tokio::time::sleep(Duration::from_millis(50)).await;
        } else {
            std::future::pending::<()>().await;
        }
        Err(io::ErrorKind::ConnectionReset.into())
    });
    Body::from_stream(start.chain(end))
}
