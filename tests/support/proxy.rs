//! A proxy on loopback that knows one place: wherever it is asked to lead, it leads there.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The proxy; it ends with the value.
pub struct Proxy {
    /// `127.0.0.1:PORT`.
    pub address: String,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    /// Leads everybody to `target`: by CONNECT (RFC 9110, section 9.3.6), or by handing a request
    /// for an absolute address on as it is.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            asked: Arc::default(),
            over: Arc::default(),
        };
        let (asked, over) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.over));
        let target = target.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (asked, target) = (Arc::clone(&asked), target.clone());
                // Either side may hang up at any time.
                std::thread::spawn(move || lead(stream.unwrap(), &target, &asked).ok());
            }
        });
        proxy
    }

    /// The first line of every request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.address));
    }
}

fn lead(mut from: TcpStream, target: &str, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(line.clone());
    let mut to = TcpStream::connect(target)?;
    if line.starts_with("CONNECT ") {
        from.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    } else {
        // `GET http://host/path` becomes `GET /path`.
        let path = line.splitn(4, '/').nth(3).unwrap_or_default();
        let method = line.split(' ').next().unwrap_or_default();
        let rest = text.split_once("\r\n").map_or("", |(_, rest)| rest);
        to.write_all(format!("{method} /{path}\r\n{rest}").as_bytes())?;
    }
    let (mut back, mut forth) = (to.try_clone()?, from.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut back, &mut forth));
        drop(forth.shutdown(Shutdown::Write));
    });
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
