//! What the image and the command line say together: command, environment, folder, user, name.
//! Docker's rules, and its words where it has some.

use super::facts::ImageFacts;
use super::grants::{Granted, Origin};
use super::request::Request;
use super::tool::TOOL_HOME;
use super::words;
use crate::error::{Error, Kind, Result};

/// PATH where neither the image nor a flag sets one (OCI images expect docker's).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest user, group and folder names that are looked at.
const MAX_WORD: usize = 4096;

fn usage(cause: impl Into<String>) -> Error {
    Error::new(Kind::Usage, cause)
}

/// The whole command line. `--entrypoint` replaces the image's entrypoint and drops its command;
/// an empty one removes it.
pub(super) fn argv(request: &Request, image: &ImageFacts) -> Result<Granted<Vec<String>>> {
    let config = &image.config;
    let (head, own_entrypoint) = match request.entrypoint.as_deref() {
        None => (config.entrypoint.as_slice(), true),
        Some("") => (&[][..], false),
        Some(_) => (request.entrypoint.as_slice(), false),
    };
    let tail = match own_entrypoint && request.command.is_empty() {
        true => &config.cmd,
        false => &request.command,
    };
    let argv: Vec<String> = head.iter().chain(tail).cloned().collect();
    let origin = if !own_entrypoint {
        Origin::Flag("--entrypoint")
    } else if !request.command.is_empty() {
        Origin::Flag("COMMAND")
    } else if config.entrypoint.is_empty() {
        Origin::Image("config.Cmd")
    } else {
        Origin::Image("config.Entrypoint")
    };
    if argv.is_empty() {
        return Err(
            usage("no command: the image has none and none was given").hint(format!(
                "lazaret run {} COMMAND",
                words::shown(&request.image.to_string())
            )),
        );
    }
    if let Some(bad) = argv.iter().find(|arg| arg.contains('\0')) {
        return Err(usage(format!(
            "the command holds a NUL byte: {}",
            words::shown(bad)
        )));
    }
    Ok(Granted {
        value: argv,
        origin,
    })
}

/// The environment: what the policy gives, the image's own, then the flags'; a later value takes an
/// earlier one's place. `allowed` says where a variable of a flag is allowed, or refuses it.
pub(super) fn env(
    request: &Request,
    image: &ImageFacts,
    given: &[(String, Origin)],
) -> Result<Vec<Granted<(String, String)>>> {
    let mut env: Vec<Granted<(String, String)>> = Vec::new();
    for (name, origin) in given {
        let value = match name.as_str() {
            "PATH" => PATH,
            // Whose home it is, is looked up inside, when the payload becomes that user.
            "HOME" if request.tool.is_some() => TOOL_HOME,
            "HOME" => match user(request, image)?.value.split(':').next() {
                Some("" | "0" | "root") => "/root",
                _ => continue,
            },
            "TERM" if request.tty => "xterm",
            "TERM" => continue,
            "LANG" => "C.UTF-8",
            _ => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("{origin}: give env {} is not built yet", words::shown(name)),
                )
                .hint("PATH, HOME, TERM and LANG can be given; ask for others with -e"));
            }
        };
        set(&mut env, name, value, origin.clone())?;
    }
    for (name, value) in &image.config.env {
        set(&mut env, name, value, Origin::Image("config.Env"))?;
    }
    for (name, value) in &request.env {
        set(&mut env, name, value, Origin::Flag("-e"))?;
    }
    Ok(env)
}

fn set(
    env: &mut Vec<Granted<(String, String)>>,
    name: &str,
    value: &str,
    origin: Origin,
) -> Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(usage(format!(
            "{} is no variable's name",
            words::shown(name)
        )));
    }
    let granted = Granted {
        value: (name.to_owned(), value.to_owned()),
        origin,
    };
    match env.iter_mut().find(|have| have.value.0 == name) {
        Some(have) => *have = granted,
        None => env.push(granted),
    }
    Ok(())
}

/// `-w`, else the image's, else `/`.
pub(super) fn workdir(request: &Request, image: &ImageFacts) -> Result<Granted<String>> {
    let tool = request.tool.as_ref().map(|tool| tool.cwd.as_str());
    let own = image.config.working_dir.as_str();
    let (value, origin) = match (request.workdir.as_deref().or(tool), own) {
        (Some(cwd), _) if request.workdir.is_none() => {
            let why = "relative arguments mean the same";
            (cwd, Origin::Always(why))
        }
        (Some(flag), _) => (flag, Origin::Flag("-w")),
        (None, "") => ("/", Origin::Always("a folder to start in")),
        (None, own) => (own, Origin::Image("config.WorkingDir")),
    };
    if !inside(value) {
        return Err(usage(format!(
            "{origin}: {} is no absolute path without \"..\"",
            words::shown(value)
        )));
    }
    Ok(Granted {
        value: value.to_owned(),
        origin,
    })
}

/// An absolute path that stays where it says.
pub(super) fn inside(path: &str) -> bool {
    path.starts_with('/')
        && path.len() < MAX_WORD
        && !path.contains('\0')
        && path.split('/').all(|part| part != "..")
}

/// `-u`, else the image's: `NAME|UID[:GROUP|GID]`, and nothing else.
pub(super) fn user(request: &Request, image: &ImageFacts) -> Result<Granted<String>> {
    let (value, origin) = match &request.user {
        Some(flag) => (flag.as_str(), Origin::Flag("-u")),
        None => (image.config.user.as_str(), Origin::Image("config.User")),
    };
    let parts: Vec<&str> = value.split(':').collect();
    let bad = |part: &&str| {
        part.chars().any(|c| c.is_control() || c.is_whitespace() || "/,\\".contains(c))
            // Numbers that no id is: -1, and what does not fit; names do not start so.
            || part.starts_with(['-', '+'])
            || (part.starts_with(|c: char| c.is_ascii_digit())
                && part.parse::<u32>().is_ok_and(|n| n == u32::MAX))
            || (!part.is_empty()
                && part.bytes().all(|b| b.is_ascii_digit())
                && part.parse::<u32>().is_err())
    };
    let empty_group = matches!(parts[..], [_, ""]);
    if parts.len() > 2 || empty_group || value.len() > MAX_WORD || parts.iter().any(bad) {
        return Err(
            usage(format!("{origin}: {} is no user", words::shown(value))).hint(
                "a user is NAME or UID, and may be followed by : and GROUP or GID; -u 0 is root",
            ),
        );
    }
    Ok(Granted {
        value: value.to_owned(),
        origin,
    })
}

/// Whether a user is container root with its own group: the one id of a `Single` map.
pub fn is_root(user: &str) -> bool {
    let (name, group) = user.split_once(':').unwrap_or((user, "0"));
    matches!(name, "" | "0" | "root") && matches!(group, "0" | "root")
}

/// `--hostname`, else `lazaret`: letters, digits, `-`, `_` and dots between, as docker; at most 64
/// (HOST_NAME_MAX).
pub(super) fn hostname(request: &Request) -> Result<Granted<String>> {
    let Some(name) = &request.hostname else {
        return Ok(Granted {
            value: "lazaret".to_owned(),
            origin: Origin::Always("the host's name is not told"),
        });
    };
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(letters)
        && name
            .split('.')
            .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    if !fits {
        return Err(usage(format!("{} is no host name", words::shown(name)))
            .hint("at most 64 of A-Z a-z 0-9 - _ and dots between them"));
    }
    Ok(Granted {
        value: name.clone(),
        origin: Origin::Flag("--hostname"),
    })
}
