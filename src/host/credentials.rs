//! Credentials for registries, from where docker and podman keep them: first hit counts.
//!
//! `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
//! `$XDG_CONFIG_HOME/containers/auth.json` (containers-auth.json(5)), `$DOCKER_CONFIG/config.json` or
//! `~/.docker/config.json`. `credHelpers` and `credsStore` name a program `docker-credential-NAME`,
//! which is asked here and never by the worker that speaks to the registry.

use crate::error::{Context, Error, Kind, Result};
use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The largest file of credentials that is read, in bytes.
pub(super) const MAX_FILE: u64 = 1 << 20;
/// The longest answer of a helper, in bytes.
const MAX_ANSWER: usize = 1 << 16;

/// What docker calls its own registry in these files.
pub(super) const DOCKER: [&str; 3] = [
    "https://index.docker.io/v1/",
    "docker.io",
    "index.docker.io",
];

/// What opens a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that a token server takes for a password (`identitytoken`).
    Token(String),
}

// A secret is printed nowhere.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic {{ user: {user:?}, .. }}"),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct File {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credHelpers")]
    pub(super) helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    pub(super) store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: String,
    identitytoken: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The credential for a repository (`library/redis`) of a registry (`docker.io`,
/// `registry.example:5000`); `None`: nobody has one, and it is tried without.
///
/// # Errors
/// A file that is there and cannot be read or is not understood; a helper that fails.
pub fn credential(registry: &str, repository: &str) -> Result<Option<Credential>> {
    for path in files(&|name| std::env::var_os(name)) {
        let Some(file) = read(&path)? else { continue };
        let told = |error: Error| error.context(path.display());
        if let Some(found) = in_file(&file, registry, repository).map_err(told)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Each file of credentials that is there, with the helpers that it names, or why it cannot be used.
pub(super) fn kept(
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
) -> Vec<(PathBuf, Result<Vec<String>>)> {
    let mut kept = Vec::new();
    for path in files(env) {
        match read(&path) {
            Ok(None) => {}
            Ok(Some(file)) => {
                let helpers = file.helpers.into_values().chain(file.store);
                kept.push((path, Ok(helpers.collect())));
            }
            Err(e) => kept.push((path, Err(e))),
        }
    }
    kept
}

/// Where credentials may lie, the first first.
pub(super) fn files(env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(named) = env("REGISTRY_AUTH_FILE").filter(|name| !name.is_empty()) {
        return vec![named.into()];
    }
    let home = folder("HOME");
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let docker = folder("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    [
        folder("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn read(path: &Path) -> Result<Option<File>> {
    // What it holds stands in no message.
    let parsed = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(|e| malformed(path, &e));
    read_bytes(path)?.map(parsed).transpose()
}

pub(super) fn malformed(path: &Path, error: &serde_json::Error) -> Error {
    let line = error.line();
    let cause = format!("{} is no file of credentials (line {line})", path.display());
    Error::new(Kind::Malformed, cause)
}

/// The bytes of a file of credentials; `None` where there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(format!("open {}", path.display()), &e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .or_call(|| format!("read {}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        let cause = format!("{} has more than {MAX_FILE} bytes", path.display());
        return Err(Error::new(Kind::Limit, cause));
    }
    Ok(Some(bytes))
}

/// What a registry is called in these files and by helpers, the best first.
pub(super) fn names_of(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => DOCKER.into(),
        other => vec![other],
    }
}

/// The keys that mean a registry in a file's `auths`: old files name it by an address.
pub(super) fn keys_of(name: &str) -> [String; 3] {
    [
        name.to_owned(),
        format!("https://{name}"),
        format!("https://{name}/v1/"),
    ]
}

pub(super) fn in_file(file: &File, registry: &str, repository: &str) -> Result<Option<Credential>> {
    let names = names_of(registry);
    for name in &names {
        if let Some(helper) = file.helpers.get(*name) {
            return ask(helper, name);
        }
    }
    // The longest name that the repository lies below (containers-auth.json(5)).
    let mut scopes: Vec<String> = vec![format!("{registry}/{repository}")];
    while let Some((above, _)) = scopes.last().and_then(|s| s.rsplit_once('/')) {
        scopes.push(above.to_owned());
    }
    let keys = scopes.iter().map(String::as_str).chain(names.clone());
    for key in keys {
        if let Some(auth) = keys_of(key).iter().find_map(|key| file.auths.get(key))
            && let Some(credential) = opened(auth)?
        {
            return Ok(Some(credential));
        }
    }
    if let Some(store) = &file.store {
        for name in names {
            if let Some(found) = ask(store, name)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn opened(auth: &Auth) -> Result<Option<Credential>> {
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credential::Token(auth.identitytoken.clone())));
    }
    if auth.auth.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::new(Kind::Malformed, "an `auth` is not base64 of USER:PASSWORD");
    let text = base64::engine::general_purpose::STANDARD
        .decode(auth.auth.trim_end_matches('\0'))
        .map_err(|_| wrong())?;
    let text = String::from_utf8(text).map_err(|_| wrong())?;
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Some(Credential::Basic {
        user: user.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

/// What a helper said.
pub(super) struct Said {
    pub(super) program: String,
    pub(super) bytes: Vec<u8>,
    /// How it ended, where it ended badly.
    pub(super) failed: Option<std::process::ExitStatus>,
}

/// Runs `docker-credential-NAME VERB` with `input` on its standard input, and nothing of it in its
/// arguments or environment.
pub(super) fn helper(name: &str, verb: &str, input: &[u8]) -> Result<Said> {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || !name.bytes().all(letters) {
        let cause = "a credential helper with a name that is none";
        return Err(Error::new(Kind::Malformed, cause));
    }
    let program = format!("docker-credential-{name}");
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .or_call(|| format!("start {program}"))
        .map_err(|e| e.hint("install it, or remove it from the file of credentials"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // One that ended already says so below.
        let _said = pipe.write_all(input).is_ok();
    }
    let output = child
        .wait_with_output()
        .or_call(|| format!("wait for {program}"))?;
    if output.stdout.len() > MAX_ANSWER {
        return Err(Error::new(Kind::Limit, format!("{program}: a long answer")));
    }
    Ok(Said {
        program,
        bytes: output.stdout,
        failed: (!output.status.success()).then_some(output.status),
    })
}

impl Said {
    /// Whether it says that it knows none (docker-credential-helpers, credentials/error.go).
    pub(super) fn knows_none(&self) -> bool {
        self.failed.is_some()
            && String::from_utf8_lossy(&self.bytes).contains("credentials not found")
    }
}

/// Asks `docker-credential-NAME get`; `None`: it knows none.
fn ask(name: &str, registry: &str) -> Result<Option<Credential>> {
    let said = helper(name, "get", registry.as_bytes())?;
    let program = &said.program;
    if said.knows_none() {
        return Ok(None);
    }
    if let Some(status) = said.failed {
        return Err(
            Error::new(Kind::Host, format!("{program} failed ({status})"))
                .hint(format!("try it: echo {registry} | {program} get")),
        );
    }
    let answer: Answer = serde_json::from_slice(&said.bytes)
        .map_err(|_| Error::new(Kind::Malformed, format!("{program} answered no credential")))?;
    Ok(Some(match answer.user.as_str() {
        "<token>" => Credential::Token(answer.secret),
        _ => Credential::Basic {
            user: answer.user,
            password: answer.secret,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        serde_json::from_str(text).unwrap()
    }

    fn basic(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn the_longest_name_counts() {
        let encode = |text| base64::engine::general_purpose::STANDARD.encode(text);
        let text = format!(
            r#"{{"auths":{{"r.example":{{"auth":"{}"}},"r.example/a/b":{{"auth":"{}"}},"t.example":{{"identitytoken":"tok"}},
            "https://index.docker.io/v1/":{{"auth":"{}"}},"empty.example":{{}}}},"other":1}}"#,
            encode("u:p:q"),
            encode("v:w"),
            encode("d:k"),
        );
        let file = file(&text);
        let ask = |registry, repository| in_file(&file, registry, repository).unwrap();
        assert_eq!(ask("r.example", "a/b/c"), basic("v", "w"));
        assert_eq!(ask("r.example", "a/bc"), basic("u", "p:q"));
        assert_eq!(ask("r.example:5000", "a/b"), None);
        assert_eq!(ask("docker.io", "library/x"), basic("d", "k"));
        assert_eq!(ask("t.example", "x"), Some(Credential::Token("tok".into())));
        assert_eq!(ask("empty.example", "x"), None);
        assert!(!format!("{:?}", basic("u", "secret")).contains("secret"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for auth in ["!!!", "bm9jb2xvbg==", "/w=="] {
            let file = file(&format!(
                r#"{{"auths":{{"r.example":{{"auth":"{auth}"}}}}}}"#
            ));
            let error = in_file(&file, "r.example", "x").unwrap_err();
            assert_eq!(error.kind, Kind::Malformed);
            assert!(!error.cause.contains(auth), "{error}");
        }
        let helper = file(r#"{"credHelpers":{"r.example":"../../evil"}}"#);
        assert!(in_file(&helper, "r.example", "x").is_err());
        let helper = file(r#"{"credHelpers":{"r.example":"no-such-helper"}}"#);
        let error = in_file(&helper, "r.example", "x").unwrap_err();
        assert!(
            error.cause.contains("docker-credential-no-such-helper"),
            "{error}"
        );
    }

    #[test]
    fn places_in_their_order() {
        let env = |name: &str| {
            Some(match name {
                "REGISTRY_AUTH_FILE" => return None,
                "XDG_RUNTIME_DIR" => "/run/u".into(),
                "XDG_CONFIG_HOME" => "relative".into(),
                "HOME" => "/home/ana".into(),
                _ => return None,
            })
        };
        let shown: Vec<_> = files(&env);
        assert_eq!(
            shown,
            [
                "/run/u/containers/auth.json",
                "/home/ana/.config/containers/auth.json",
                "/home/ana/.docker/config.json"
            ]
            .map(PathBuf::from)
        );
        let named = |name: &str| (name == "REGISTRY_AUTH_FILE").then(|| "/x".into());
        assert_eq!(files(&named), [PathBuf::from("/x")]);
    }
}
