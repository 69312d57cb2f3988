//! `/metrics` over HTTP: as much of HTTP as a Prometheus asks for, and no more.

use super::event::Event;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Longer requests are none of ours.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// A request that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers for ever, one request at a time.
pub async fn serve(listener: TcpListener, events: mpsc::UnboundedSender<Event>) {
    loop {
        let answered = match listener.accept().await {
            Ok((stream, _)) => tokio::time::timeout(PATIENCE, answer(stream, &events)).await,
            Err(error) => {
                tokio::time::sleep(PATIENCE / 50).await;
                Ok(Err(error))
            }
        };
        if let Ok(Err(error)) = answered {
            tracing::debug!("a request for metrics failed: {error}");
        }
    }
}

async fn answer(mut stream: TcpStream, events: &mpsc::UnboundedSender<Event>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&request);
    let line = line.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let (method, path) = (words.next(), words.next());
    let (status, body) = match (method, path.map(|path| path.split('?').next().unwrap_or(path))) {
        (Some("GET"), Some("/metrics")) => match scrape(events).await {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "the node is stopping\n".to_owned()),
        },
        (Some("GET"), _) => ("404 Not Found", "only /metrics is here\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is answered\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn scrape(events: &mpsc::UnboundedSender<Event>) -> Option<String> {
    let (sender, receiver) = oneshot::channel();
    events.send(Event::Scrape(sender)).ok()?;
    receiver.await.ok()
}
