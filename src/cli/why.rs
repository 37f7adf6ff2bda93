//! `why`: argv -> [`WhyRequest`].

use super::args::{RunFlags, WhyArgs};
use super::run;
use crate::engine::{WhyQuestion, WhyRequest};
use crate::error::{Error, Kind, Result};
use crate::image::ImageName;
use crate::image::quote::quoted;
use crate::plan::seccomp::Arch;
use crate::plan::seccomp::words;
use crate::policy::CAPABILITIES;
use std::net::IpAddr;

/// The longest question.
const MAX_QUESTION: usize = 4096;

/// Reads the question and the flags of a run.
///
/// # Errors
/// `Usage`: a question that is none, or a flag that says what becomes of a run; else as
/// [`run::request`].
pub fn request(args: WhyArgs) -> Result<WhyRequest> {
    of_a_run(&args.flags)?;
    let named = args.image.is_some();
    let image = match &args.image {
        Some(image) => run::image_name(image)?,
        // Any will do: the engine asks for none.
        None => ImageName::parse("builtin:probe")?,
    };
    let question = question(&args.question)?;
    // What an image runs is not asked.
    let run = run::flags(args.flags, image, vec!["true".to_owned()])?;
    Ok(WhyRequest {
        text: args.question,
        question,
        run,
        named,
    })
}

/// Refuses what speaks of a run that takes place.
fn of_a_run(flags: &RunFlags) -> Result<()> {
    match run::of_what_is_kept(flags) {
        None => Ok(()),
        Some(flag) => Err(usage(format!("{flag}: nothing runs")).hint(
            "flags of `run` that say what a cell is are taken: -v, --cap-add, --network, ...",
        )),
    }
}

fn usage(cause: String) -> Error {
    Error::new(Kind::Usage, cause)
}

/// What a question is about. Paths begin with `/`, `~` or `.`, so that `mount` is the call and
/// `./mount` a file; capabilities are in capitals, so that `KILL` is one and `kill` the call.
fn question(text: &str) -> Result<WhyQuestion> {
    if text.is_empty() || text.len() > MAX_QUESTION || text.contains('\0') {
        return Err(usage(
            "an empty question, or one that is too long".to_owned(),
        ));
    }
    if let Some(socket) = text.strip_prefix("unix:") {
        return socket_of(socket);
    }
    if text.starts_with(['/', '~', '.']) {
        let (path, write) = match (text.strip_suffix(":rw"), text.strip_suffix(":ro")) {
            (Some(path), _) => (path, true),
            (_, Some(path)) => (path, false),
            _ => (text, false),
        };
        return match path.starts_with('/') {
            true => Ok(WhyQuestion::Path {
                path: inside(path)?,
                write,
            }),
            false => Ok(WhyQuestion::HostPath {
                path: path.to_owned(),
                write,
            }),
        };
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        return network(text, host, port);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_");
    if bare.is_some() || text == upper && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let name = bare.unwrap_or(&upper);
        return match CAPABILITIES.contains(&name) {
            true => Ok(WhyQuestion::Capability(name.to_owned())),
            false => Err(usage(format!("no capability is called {}", quoted(text)))
                .hint("capabilities(7) has their names; system calls are in small letters")),
        };
    }
    words::read(Arch::native(), text)
        .map(WhyQuestion::Call)
        .map_err(|error| match error.hint {
            Some(_) => error,
            None => error.hint(
                "a system call, a CAPABILITY, a path that begins with / ~ or ., HOST:PORT, or \
                 unix:/PATH",
            ),
        })
}

/// An absolute path without what means nothing in it.
fn inside(path: &str) -> Result<String> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    match parts.contains(&"..") {
        true => Err(usage(format!("{}: name it without ..", quoted(path)))),
        false => Ok(format!("/{}", parts.join("/"))),
    }
}

fn socket_of(socket: &str) -> Result<WhyQuestion> {
    match (socket.strip_prefix('@'), socket.starts_with('/')) {
        (Some(name), _) if !name.is_empty() => Ok(WhyQuestion::Abstract(name.to_owned())),
        (_, true) => Ok(WhyQuestion::Socket(inside(socket)?)),
        _ => Err(usage(format!("unix:{socket} is no socket"))
            .hint("write unix:/PATH, or unix:@NAME for an abstract one")),
    }
}

fn network(text: &str, host: &str, port: &str) -> Result<WhyQuestion> {
    let wrong = || {
        usage(format!("{} is no HOST:PORT", quoted(text)))
            .hint("write registry.example:443, 127.0.0.1:80 or [::1]:53")
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    port.parse::<u16>()
        .ok()
        .filter(|port| *port > 0 && digits)
        .ok_or_else(wrong)?;
    let address = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']').ok_or_else(wrong)?;
            Some(address.parse::<IpAddr>().map_err(|_| wrong())?)
        }
        None => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv4),
    };
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if address.is_none() && (host.is_empty() || !host.bytes().all(letters)) {
        return Err(wrong());
    }
    // 0.0.0.0 and :: connect to this very machine.
    let own = |address: IpAddr| {
        let canonical = address.to_canonical();
        canonical.is_loopback() || canonical.is_unspecified()
    };
    let named = host == "localhost" || host.ends_with(".localhost");
    Ok(WhyQuestion::Network {
        host: text.to_owned(),
        loopback: address.map_or(named, own),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about() {
        let path = |path: &str, write| WhyQuestion::Path {
            path: path.to_owned(),
            write,
        };
        let host = |path: &str, write| WhyQuestion::HostPath {
            path: path.to_owned(),
            write,
        };
        let net = |host: &str, loopback| WhyQuestion::Network {
            host: host.to_owned(),
            loopback,
        };
        for (text, want) in [
            ("/etc//./shadow", path("/etc/shadow", false)),
            ("/", path("/", false)),
            ("/a:rw", path("/a", true)),
            ("/a:ro", path("/a", false)),
            ("~/x:rw", host("~/x", true)),
            ("./mount", host("./mount", false)),
            ("../x", host("../x", false)),
            ("NET_ADMIN", WhyQuestion::Capability("NET_ADMIN".to_owned())),
            ("cap_bpf", WhyQuestion::Capability("BPF".to_owned())),
            ("KILL", WhyQuestion::Capability("KILL".to_owned())),
            ("a.example:443", net("a.example:443", false)),
            ("127.0.0.1:80", net("127.0.0.1:80", true)),
            ("0.0.0.0:80", net("0.0.0.0:80", true)),
            ("[::1]:53", net("[::1]:53", true)),
            ("[::ffff:127.0.0.1]:53", net("[::ffff:127.0.0.1]:53", true)),
            ("localhost:80", net("localhost:80", true)),
            ("[2001:db8::1]:80", net("[2001:db8::1]:80", false)),
            (
                "unix:/run/x.sock",
                WhyQuestion::Socket("/run/x.sock".to_owned()),
            ),
            ("unix:@bus", WhyQuestion::Abstract("bus".to_owned())),
        ] {
            assert_eq!(question(text).unwrap(), want, "{text}");
        }
        for text in [
            "mount",
            "kill",
            "165",
            "socket(AF_PACKET)",
            "ioctl(TIOCSTI)",
        ] {
            assert!(matches!(question(text), Ok(WhyQuestion::Call(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_question() {
        for text in [
            "",
            "nosuch",
            "NOSUCH",
            "CAP_NOSUCH",
            "/a/../b",
            "a:0",
            "a:65536",
            "a:+1",
            ":80",
            "::1:80",
            "[::1]",
            "[x]:1",
            "a b:1",
            "unix:",
            "unix:@",
            "unix:x",
            "mount(",
            "\0",
        ] {
            assert_eq!(question(text).unwrap_err().kind, Kind::Usage, "{text}");
        }
    }
}
