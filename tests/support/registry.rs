//! A small registry of our own on loopback: honest by default, and wrong in any one place on
//! demand. It speaks HTTP/1.1, one request per connection, and remembers what it was asked.

use super::{Layout, sha256};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As text, where it is.
    pub body: String,
    pub bytes: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }

    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// What is written, piece by piece, before the connection is closed.
#[derive(Debug, Clone, Default)]
pub struct Answer(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// The same bytes until the other side hangs up.
    Endless(Vec<u8>),
    /// Nothing until the other side hangs up, or the test ends.
    Hang,
}

impl Answer {
    /// An answer without anything.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Status, headers (`Name: value`) and body, with its length.
    pub fn new(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Self {
        let length = format!("Content-Length: {}", body.as_ref().len());
        Self::head(status, &[headers, &[&length]].concat()).bytes(body)
    }

    /// Status and headers alone.
    pub fn head(status: u16, headers: &[&str]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        Self::nothing().bytes(head + "\r\n")
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(307, &[&format!("Location: {to}")], "")
    }

    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push(Piece::Bytes(bytes.as_ref().to_vec()));
        self
    }

    pub fn pause(mut self, time: Duration) -> Self {
        self.0.push(Piece::Pause(time));
        self
    }

    pub fn endless(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push(Piece::Endless(bytes.as_ref().to_vec()));
        self
    }

    pub fn hang(mut self) -> Self {
        self.0.push(Piece::Hang);
        self
    }

    fn write(&self, to: &mut TcpStream, over: &AtomicBool) -> std::io::Result<()> {
        let done = || over.load(Ordering::Relaxed);
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => to.write_all(bytes)?,
                Piece::Pause(time) => std::thread::sleep(*time),
                Piece::Endless(bytes) => {
                    while !done() {
                        to.write_all(bytes)?;
                    }
                }
                Piece::Hang => {
                    while !done() {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        }
        // Whatever is still unread would turn the close into a reset.
        to.shutdown(std::net::Shutdown::Write)?;
        to.set_read_timeout(Some(Duration::from_millis(200)))?;
        while to.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }
}

/// The registry; it ends with the value.
pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
}

impl Registry {
    /// Answers each request as `answer` says; its second argument counts the requests before.
    pub fn new(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let registry = Self {
            address,
            asked: asked.clone(),
            over: over.clone(),
        };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (answer, asked, over) = (answer.clone(), asked.clone(), over.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    if let Some(request) = read(&mut stream) {
                        let count = {
                            let mut asked = asked.lock().unwrap();
                            asked.push(request.clone());
                            asked.len() - 1
                        };
                        // Hostile answers end when the client has had enough.
                        drop(answer(&request, count).write(&mut stream, &over));
                    }
                });
            }
        });
        registry
    }

    /// Serves `layout` under the name `img` and its tag, except where `instead` answers.
    pub fn of(
        layout: &Layout,
        instead: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let layout = layout.clone();
        Self::new(move |asked, count| {
            instead(asked, count).unwrap_or_else(|| honest(&layout, asked))
        })
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// `ADDRESS/img:test`.
    pub fn image(&self) -> String {
        format!("{}/img:test", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.address));
    }
}

/// A request; None: none (a TLS hello).
fn read(from: &mut TcpStream) -> Option<Asked> {
    from.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte).ok()? == 0 || byte[0] == 0x16 && head.is_empty() {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, l)| l.parse().unwrap())];
    from.read_exact(&mut body).ok()?;
    Some(Asked {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body,
    })
}

/// What a registry that means well answers, byte ranges included.
pub fn honest(layout: &Layout, asked: &Asked) -> Answer {
    let gone = || {
        Answer::new(
            404,
            &["Content-Type: application/json"],
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}"#,
        )
    };
    let Some(rest) = asked.path.strip_prefix("/v2/img/") else {
        return gone();
    };
    let Some((what, name)) = rest.split_once('/') else {
        return gone();
    };
    let digest = match Some(name) == layout.tag.as_deref() {
        true => top(layout),
        false => name.to_owned(),
    };
    let Some(bytes) = layout.blobs.get(&digest) else {
        return gone();
    };
    if what == "manifests" {
        let media = serde_json::from_slice::<Value>(bytes).unwrap()["mediaType"].clone();
        return Answer::new(
            200,
            &[
                &format!("Content-Type: {}", media.as_str().unwrap()),
                &format!("Docker-Content-Digest: {digest}"),
            ],
            bytes,
        );
    }
    let octets = "Content-Type: application/octet-stream";
    let from = asked.header("range").map(|range| {
        let range = range.strip_prefix("bytes=").unwrap();
        range.strip_suffix('-').unwrap().parse::<usize>().unwrap()
    });
    match from {
        Some(from) => {
            let range = format!(
                "Content-Range: bytes {from}-{}/{}",
                bytes.len() - 1,
                bytes.len()
            );
            Answer::new(206, &[octets, &range], &bytes[from..])
        }
        None => Answer::new(200, &[octets], bytes),
    }
}

/// The digest that the layout's index lists first.
fn top(layout: &Layout) -> String {
    let index: Value = serde_json::from_str(&layout.index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// Puts `bytes` in as what the tag names.
pub fn retag(layout: &mut Layout, bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    let digest = sha256(&bytes);
    layout.index = serde_json::json!({"manifests": [{"digest": digest}]}).to_string();
    layout.blobs.insert(digest.clone(), bytes);
    digest
}
