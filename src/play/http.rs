//! As much of HTTP as one browser on this machine asks for.
//!
//! Guarantees: only requests that name this very host and port are answered, so that no page from elsewhere can play
//! (DNS rebinding); a request is bounded in size and time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const MAX_HEAD_BYTES: u64 = 16 * 1024;
const MAX_BODY_BYTES: u64 = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// What was asked.
#[derive(Debug)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Without what follows a question mark.
    pub path: String,
    /// Bytes.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    kind: &'static str,
    /// The text.
    pub body: String,
}

impl Answer {
    /// HTML.
    pub fn page(body: String) -> Answer {
        Answer {
            status: 200,
            kind: "text/html; charset=utf-8",
            body,
        }
    }

    /// JSON.
    pub fn json(value: &serde_json::Value) -> Answer {
        Answer {
            status: 200,
            kind: "application/json",
            body: value.to_string(),
        }
    }

    /// Words, mostly about what went wrong.
    pub fn text(status: u16, words: &str) -> Answer {
        Answer {
            status,
            kind: "text/plain; charset=utf-8",
            body: format!("{words}\n"),
        }
    }
}

/// Reads a request, answers it, and closes.
pub fn serve_one(mut stream: TcpStream, port: u16, answer: impl FnOnce(Request) -> Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let answer = match read(&stream, port)? {
        Ok(request) => answer(request),
        Err(refused) => refused,
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        answer.status,
        if answer.status == 200 { "OK" } else { "Refused" },
        answer.kind,
        answer.body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(answer.body.as_bytes())?;
    stream.flush()
}

fn read(stream: impl Read, port: u16) -> io::Result<Result<Request, Answer>> {
    let mut reader = BufReader::new(stream);
    let mut head = (&mut reader).take(MAX_HEAD_BYTES);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(Err(Answer::text(400, "that is no request")));
    };
    let (method, path) = (method.to_owned(), path.split('?').next().unwrap_or_default().to_owned());
    let (mut host, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(Err(Answer::text(400, "the request has no end")));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "host" => host = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap_or(u64::MAX),
            _ => {}
        }
    }
    if !["127.0.0.1", "localhost"]
        .iter()
        .any(|name| host == format!("{name}:{port}"))
    {
        return Ok(Err(Answer::text(403, "only pages of this very address may play")));
    }
    if length > MAX_BODY_BYTES {
        return Ok(Err(Answer::text(413, "that is too much")));
    }
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body)?;
    Ok(Ok(Request { method, path, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Request, Answer> {
        read(text.as_bytes(), 8000).expect("a string is read")
    }

    #[test]
    fn a_request_is_read_whole() {
        let text = "POST /run?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\ncontent-length: 5\r\n\r\nhello";
        let request = asked(text).expect("good");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/run"));
        assert_eq!(request.body, b"hello");
    }

    #[test]
    fn who_names_another_host_is_refused_and_so_is_too_much() {
        let refused = |text: &str| asked(text).expect_err("refused").status;
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: evil.example:8000\r\n\r\n"), 403);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n"), 403);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 403);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: localhost:8000\r\n"), 400);
        assert_eq!(refused("nonsense"), 400);
        let much = "POST /run HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 99999999999\r\n\r\n";
        assert_eq!(refused(much), 413);
    }
}
