//! Credentials that are kept and forgotten, where docker, podman and lazaret read them.
//!
//! Kept is what will be found again: in the first file of the reading order that already speaks of
//! the registry, because an older word there would hide a newer one elsewhere; else in docker's own
//! file, which all three read. Forgotten is what is in any of them. A program that `credHelpers` or
//! `credsStore` names keeps the secret itself, and the file only says that there is one, as docker
//! does it.

use super::credentials::{
    Credential, File, files, helper, in_file, keys_of, malformed, names_of, read, read_bytes,
};
use super::project::write_new;
use crate::error::{Context, Error, Kind, Result};
use base64::Engine as _;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde_json::{Map, Value, json};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where a credential is kept now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a file, where anybody who can read it can read the password.
    File(PathBuf),
    /// By a helper: `docker-credential-NAME`.
    Helper(String),
}

/// Keeps a user's name and password for a registry (`docker.io`, `registry.example:5000`).
///
/// # Errors
/// As [`credential`](super::credential); `Host`: a helper does not keep it; `Usage`: nothing says
/// where files are.
pub fn keep(registry: &str, user: &str, password: &str) -> Result<Kept> {
    let path = place(registry)?;
    // The real file: a link to it stays one.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let _lock = lock(&path)?;
    let file = read(&path)?.unwrap_or_default();
    let name = names_of(registry)[0];
    let own = helper_of(&file, registry);
    if let Some(helper_name) = &own {
        let secret = json!({ "ServerURL": name, "Username": user, "Secret": password });
        let said = helper(helper_name, "store", secret.to_string().as_bytes())?;
        if let Some(status) = said.failed {
            // What it says may repeat what it was told.
            let cause = format!("{} does not keep it ({status})", said.program);
            return Err(Error::new(Kind::Host, cause).hint(format!(
                "the helper's own service may be locked; {} names it",
                path.display()
            )));
        }
    }
    let entry = match own {
        Some(_) => json!({}),
        None => {
            let both = format!("{user}:{password}");
            json!({ "auth": base64::engine::general_purpose::STANDARD.encode(both) })
        }
    };
    edit(&path, |auths| {
        remove(auths, registry);
        auths.insert(name.to_owned(), entry);
        true
    })?;
    Ok(match own {
        Some(name) => Kept::Helper(format!("docker-credential-{name}")),
        None => Kept::File(path),
    })
}

/// What came of forgetting.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Something was kept, and is not any more.
    pub found: bool,
    /// What is kept all the same, for repositories of that registry: `r.example/team`.
    pub below: Vec<String>,
}

/// Forgets what is kept for a registry.
///
/// # Errors
/// As [`keep`].
pub fn forget(registry: &str) -> Result<Forgotten> {
    let mut done = Forgotten::default();
    for path in files(&|name| std::env::var_os(name)) {
        let Some(file) = read(&path)? else { continue };
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        if let Some(name) = helper_of(&file, registry) {
            for url in names_of(registry) {
                // Not every helper says so of what it does not have.
                if in_helper(&file, registry, url)? {
                    let said = helper(&name, "erase", url.as_bytes())?;
                    if let Some(status) = said.failed.filter(|_| !said.knows_none()) {
                        let cause = format!("{} does not forget it ({status})", said.program);
                        return Err(Error::new(Kind::Host, cause));
                    }
                    done.found = true;
                }
            }
        }
        let _lock = lock(&path)?;
        done.found |= edit(&path, |auths| {
            let changed = remove(auths, registry);
            let below = |key: &&String| {
                key.strip_prefix(registry)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            done.below.extend(auths.keys().filter(below).cloned());
            changed
        })?;
    }
    Ok(done)
}

/// The file that is written.
fn place(registry: &str) -> Result<PathBuf> {
    let all = files(&|name| std::env::var_os(name));
    for path in &all {
        let Some(file) = read(path)? else { continue };
        let named = names_of(registry);
        let has_own = named.iter().any(|name| file.helpers.contains_key(*name));
        if has_own || in_file(&file, registry, "")?.is_some() {
            return Ok(path.clone());
        }
    }
    all.into_iter().next_back().ok_or_else(|| {
        Error::new(Kind::Usage, "nothing says where credentials are kept")
            .hint("set HOME, or REGISTRY_AUTH_FILE to the file")
    })
}

/// The helper that a file names for a registry.
fn helper_of(file: &File, registry: &str) -> Option<String> {
    let names = names_of(registry);
    let own = names.iter().find_map(|name| file.helpers.get(*name));
    let store = file.store.as_ref().filter(|store| !store.is_empty());
    own.or(store).cloned()
}

/// Whether a file's helper has something by this name.
fn in_helper(file: &File, registry: &str, url: &str) -> Result<bool> {
    let Some(name) = helper_of(file, registry) else {
        return Ok(false);
    };
    let said = helper(&name, "get", url.as_bytes())?;
    Ok(said.failed.is_none())
}

/// Takes a registry's own entries away; those of repositories below it stay.
fn remove(auths: &mut Map<String, Value>, registry: &str) -> bool {
    let before = auths.len();
    let names = names_of(registry);
    let keys: Vec<String> = names.into_iter().flat_map(keys_of).collect();
    auths.retain(|key, _| !keys.contains(key));
    auths.len() < before
}

/// Changes a file's `auths` and leaves everything else as it is; `change` says whether it did.
fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<bool> {
    let mut whole = match read_bytes(path)? {
        None => json!({}),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| malformed(path, &e))?,
    };
    let auths = whole.as_object_mut().map(|whole| {
        let auths = whole.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        auths
    });
    let Some(auths) = auths.and_then(Value::as_object_mut) else {
        let cause = format!("{} is no file of credentials", path.display());
        return Err(Error::new(Kind::Malformed, cause));
    };
    if !change(auths) {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut out = serde_json::Serializer::with_formatter(&mut bytes, tabs);
    serde::Serialize::serialize(&whole, &mut out).map_err(|e| malformed(path, &e))?;
    write_new(path, &bytes, true)?;
    Ok(true)
}

/// Two of lazaret's own do not lose each other's words; the folder is made where it is missing.
fn lock(path: &Path) -> Result<OwnedFd> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(folder)
        .or_call(|| format!("mkdir {}", folder.display()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(folder, flags, Mode::empty())
        .or_call(|| format!("open {}", folder.display()))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive))
        .or_call(|| format!("lock {}", folder.display()))?;
    Ok(fd)
}

impl Credential {
    /// The user's name, where it is one with a password.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Basic { user, .. } => Some(user),
            Self::Token(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("lazaret-accounts-{name}-{id}"));
        std::fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn what_else_a_file_says_stays() {
        let folder = folder("edit");
        let path = folder.join("config.json");
        let text = r#"{"psFormat":"table","auths":{"https://r.example":{"auth":"eDp5"},
            "r.example/team":{"auth":"eDp5"},"other.example":{"auth":"eDp5","email":"a@b"}},"big":12345678901234567890}"#;
        std::fs::write(&path, text).unwrap();
        let put = |auths: &mut Map<String, Value>| {
            assert!(remove(auths, "r.example"));
            auths.insert("r.example".into(), json!({"auth": "bmV3"}));
            true
        };
        assert!(edit(&path, put).unwrap());
        let wanted = json!({
            "psFormat": "table",
            "big": 12345678901234567890u64,
            "auths": {
                "r.example": {"auth": "bmV3"},
                "r.example/team": {"auth": "eDp5"},
                "other.example": {"auth": "eDp5", "email": "a@b"},
            },
        });
        let read = || std::fs::read(&path).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&read()).unwrap(), wanted);
        let before = read();
        assert!(!edit(&path, |auths| remove(auths, "none.example")).unwrap());
        assert_eq!(read(), before);
        for bad in ["[]", "{", r#"{"auths":[]}"#] {
            std::fs::write(&path, bad).unwrap();
            assert!(edit(&path, |_| true).is_err(), "{bad}");
            assert_eq!(read(), bad.as_bytes(), "a file that is none is left alone");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn docker_io_has_several_names() {
        let mut auths = Map::new();
        for key in [
            "docker.io",
            "index.docker.io",
            "https://index.docker.io/v1/",
            "https://docker.io",
            "docker.io/me",
        ] {
            auths.insert(key.into(), json!({}));
        }
        assert!(remove(&mut auths, "docker.io"));
        assert_eq!(auths.keys().collect::<Vec<_>>(), ["docker.io/me"]);
    }
}
