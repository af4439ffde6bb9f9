//! The metrics, for Prometheus: one answer to `GET /metrics` and the end of the connection.
//!
//! Invariant: a loopback address alone; nothing that a caller sends is kept or believed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::error::NetError;
use crate::metrics::Metrics;

/// How long a caller may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request, in bytes.
const REQUEST: usize = 8192;
/// What is sent, as the format says.
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens; where, too, as the port may have been the system's to choose.
pub(crate) async fn listen(at: SocketAddr) -> Result<(TcpListener, SocketAddr), NetError> {
    if !at.ip().is_loopback() {
        return Err(NetError::Metrics(at));
    }
    crate::peer::listen(at).await
}

/// Answers for ever.
pub(crate) async fn serve(metrics: Rc<Metrics>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = Rc::clone(&metrics);
                spawn_local(async move {
                    // A caller that does not listen has itself to blame.
                    let _ = timeout(PATIENCE, answer(&metrics, stream)).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn answer(metrics: &Metrics, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            n => request.extend_from_slice(&piece[..n]),
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", metrics.text())
    } else {
        ("404 Not Found", "the metrics are at /metrics\n".to_owned())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
