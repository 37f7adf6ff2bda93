//! The image config: OCI image-spec config.md. What the author wrote is data; what would be
//! ambiguous or dangerous downstream is refused here, so that no later room meets it.

#![forbid(unsafe_code)]

use super::descriptor::MAX_DOCUMENT;
use super::json::{self, Document};
use super::manifest::MAX_LAYERS;
use super::quote::quoted;
use super::{DiffId, Digest, Manifest, Platform};
use crate::error::{Error, Kind, Result};
use oci_spec::image::{Config as WireConfig, ImageConfiguration};
use std::collections::BTreeMap;

/// The most bytes that `Env`, and `Entrypoint` with `Cmd`, may each take on the new stack (strings,
/// NULs and pointers). execve(2) gives arguments and environment together a quarter of the stack
/// limit, 2 MiB of the usual 8, and never promises more than 128 KiB with a small one; an eighth of
/// 2 MiB each leaves the larger part to the command line. Over it, E2BIG would be the user's
/// riddle instead of the image's fault.
pub const MAX_VECTOR: usize = 256 << 10;

/// The longest single string that execve takes: MAX_ARG_STRLEN, 32 pages, with its NUL.
pub const MAX_STRING: usize = (128 << 10) - 1;

/// The longest path: PATH_MAX of limits.h, with its NUL.
const MAX_PATH: usize = 4095;

/// The longest user or group name taken (useradd(8) allows 256).
const MAX_USER: usize = 256;

const CONFIG: Document = Document {
    what: "image config",
    max_bytes: MAX_DOCUMENT,
    names: &[
        "architecture",
        "os",
        "variant",
        "config",
        "rootfs",
        "history",
        "diff_ids",
        "created",
        "created_by",
        "empty_layer",
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
    ],
    objects: &["config", "rootfs", "ExposedPorts", "Volumes", "Labels"],
    list: false,
    free: &["ExposedPorts", "Volumes", "Labels", "annotations"],
};

/// What an image says of itself; every string is checked for NUL on parsing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The platform.
    pub platform: Platform,
    /// `config.User`, as written; empty means root.
    pub user: String,
    /// `config.Env`, in order; names are not empty and hold no `=`.
    pub env: Vec<(String, String)>,
    /// `config.Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `config.Cmd`.
    pub cmd: Vec<String>,
    /// `config.WorkingDir`: empty, or absolute and without `..`.
    pub working_dir: String,
    /// `config.Volumes`: absolute paths inside, sorted, without `..`, none at or under `/proc`,
    /// `/sys` or `/dev`.
    pub volumes: Vec<String>,
    /// `config.ExposedPorts`, as written, sorted.
    pub exposed_ports: Vec<String>,
    /// `config.StopSignal`, as written.
    pub stop_signal: Option<String>,
    /// `config.Labels`. Never select policy.
    pub labels: BTreeMap<String, String>,
    /// `rootfs.diff_ids`, lowest first; as many as the manifest has layers.
    pub diff_ids: Vec<DiffId>,
    /// `created`, as written (RFC 3339).
    pub created: Option<String>,
    /// `history[].created_by`, oldest first.
    pub history: Vec<String>,
}

impl ImageConfig {
    /// Reads a config. `Platform` where it is not for linux, `Limit` for sizes and counts, else
    /// `Malformed`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wire: ImageConfiguration = json::gate(bytes, &CONFIG)?.read()?;
        let platform = platform(&wire)?;
        if wire.rootfs().typ() != "layers" {
            return Err(malformed(format!(
                "rootfs.type is {}, not \"layers\"",
                quoted(wire.rootfs().typ())
            )));
        }
        let diff_ids = wire.rootfs().diff_ids();
        if diff_ids.len() > MAX_LAYERS {
            return Err(limit(format!(
                "the image config has {} diff ids, more than {MAX_LAYERS}",
                diff_ids.len()
            )));
        }
        let diff_ids = diff_ids
            .iter()
            .map(|text| Digest::parse(text).map(DiffId))
            .collect::<Result<Vec<_>>>()?;
        let history = wire.history().as_deref().unwrap_or_default();
        let history = history
            .iter()
            .map(|entry| entry.created_by().clone().unwrap_or_default())
            .collect();
        let config = wire.config().clone().unwrap_or_default();
        let entrypoint = config.entrypoint().clone().unwrap_or_default();
        let cmd = config.cmd().clone().unwrap_or_default();
        vector("Entrypoint and Cmd", entrypoint.iter().chain(&cmd))?;
        Ok(Self {
            platform,
            user: user(config.user().as_deref().unwrap_or_default())?,
            env: env(config.env().as_deref().unwrap_or_default())?,
            entrypoint,
            cmd,
            working_dir: working_dir(config.working_dir().as_deref().unwrap_or_default())?,
            volumes: volumes(&config)?,
            exposed_ports: sorted(config.exposed_ports().as_deref()),
            stop_signal: config.stop_signal().clone().filter(|s| !s.is_empty()),
            labels: config
                .labels()
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            diff_ids,
            created: wire.created().clone(),
            history,
        })
    }

    /// Refuses a config whose diff ids are not one for each layer of `manifest`: which bytes a
    /// diff id vouches for would be a guess.
    pub fn check_layers(&self, manifest: &Manifest) -> Result<()> {
        let (ids, layers) = (self.diff_ids.len(), manifest.layers.len());
        match ids == layers {
            true => Ok(()),
            false => Err(malformed(format!(
                "the image config has {ids} diff ids, the manifest {layers} layers"
            ))),
        }
    }

    /// Refuses (`Platform`) an image that this machine does not run. An index that lied is met here.
    pub fn check_platform(&self, wanted: &Platform) -> Result<()> {
        match self.platform.level_for(wanted) {
            Some(_) => Ok(()),
            None => Err(Error::new(
                Kind::Platform,
                format!("the image is for {}, not for {wanted}", self.platform),
            )),
        }
    }
}

fn malformed(cause: impl Into<String>) -> Error {
    Error::new(Kind::Malformed, cause)
}

fn limit(cause: impl Into<String>) -> Error {
    Error::new(Kind::Limit, cause)
}

fn sorted(texts: Option<&[String]>) -> Vec<String> {
    let mut texts = texts.unwrap_or_default().to_vec();
    texts.sort_unstable();
    texts
}

/// The platform; its words are a GOOS, a GOARCH and a variant, nothing with other characters.
fn platform(wire: &ImageConfiguration) -> Result<Platform> {
    let platform = Platform {
        os: wire.os().to_string(),
        architecture: wire.architecture().to_string(),
        variant: wire.variant().clone().filter(|v| !v.is_empty()),
    };
    let words = [
        Some(&platform.os),
        Some(&platform.architecture),
        platform.variant.as_ref(),
    ];
    for word in words.into_iter().flatten() {
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if word.is_empty() || word.len() > 64 || !word.bytes().all(known) {
            return Err(malformed(format!("{} is not a platform", quoted(word))));
        }
    }
    match platform.os == "linux" {
        true => Ok(platform),
        false => Err(Error::new(
            Kind::Platform,
            format!("the image is for {platform}, not for linux"),
        )),
    }
}

/// Refuses strings that execve would refuse.
fn vector<'a>(what: &str, strings: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut total = 0;
    for string in strings {
        if string.len() > MAX_STRING {
            return Err(limit(format!(
                "a string of {} bytes in {what}, more than {MAX_STRING}: {}",
                string.len(),
                quoted(string)
            )));
        }
        total += string.len() + 1 + size_of::<usize>();
        if total > MAX_VECTOR {
            return Err(limit(format!("{what} take more than {MAX_VECTOR} bytes")));
        }
    }
    Ok(())
}

fn env(entries: &[String]) -> Result<Vec<(String, String)>> {
    vector("Env", entries.iter())?;
    entries
        .iter()
        .map(|entry| match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(malformed(format!(
                "Env entry {} is not NAME=VALUE",
                quoted(entry)
            ))),
        })
        .collect()
}

/// `user`, `uid`, `user:group` and the mixtures (config.md, "User"). Numbers are below 2^31, as in
/// runc: the kernel takes -1 for "leave it", which must not come out of an image.
fn user(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let refused = |why: &str| Err(malformed(format!("User {}: {why}", quoted(text))));
    let mut parts = text.split(':');
    let (user, group, more) = (parts.next(), parts.next(), parts.next());
    if more.is_some() {
        return refused("more than user:group");
    }
    for part in [user, group].into_iter().flatten() {
        if part.is_empty() {
            return refused("a part is empty");
        }
        if part.len() > MAX_USER {
            return refused("too long");
        }
        if part.starts_with(['-', '+']) {
            return refused("a part starts with a sign");
        }
        if part.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | ',')) {
            return refused("a character that no name has");
        }
        let number = part.bytes().all(|b| b.is_ascii_digit());
        if number && part.parse::<i32>().is_err() {
            return refused("a number beyond 2147483647");
        }
    }
    Ok(text.to_owned())
}

fn working_dir(path: &str) -> Result<String> {
    if !path.is_empty() {
        inside("WorkingDir", path)?;
    }
    Ok(path.to_owned())
}

/// An absolute path without `..`: joined below a root, it stays there.
fn inside(what: &str, path: &str) -> Result<()> {
    if path.len() > MAX_PATH {
        return Err(malformed(format!(
            "{what} is longer than a path can be: {}",
            quoted(path)
        )));
    }
    if !path.starts_with('/') {
        return Err(malformed(format!(
            "{what} {} is not absolute",
            quoted(path)
        )));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(malformed(format!("{what} {} has a \"..\"", quoted(path))));
    }
    Ok(())
}

fn volumes(config: &WireConfig) -> Result<Vec<String>> {
    let volumes = sorted(config.volumes().as_deref());
    for volume in &volumes {
        inside("volume", volume)?;
        let first = volume.split('/').find(|part| !matches!(*part, "" | "."));
        if matches!(first, None | Some("proc" | "sys" | "dev")) {
            return Err(malformed(format!(
                "volume {} lies over the root, /proc, /sys or /dev",
                quoted(volume)
            )));
        }
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests;
