//! containers' policy.json, read as strictly as its own readers do (containers-policy.json(5)): an
//! unknown field, a field twice, an empty list or two sources of keys refuse the whole file.

use super::super::words;
use crate::error::{Error, Kind, Result};
use crate::image::json::{self, Document};
use crate::policy::MAX_FILE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Scopes and requirements differ in case as their writer likes; every object is held against its
/// own fields afterwards.
const POLICY: Document = Document {
    what: "policy.json",
    max_bytes: MAX_FILE as u64,
    names: &["default", "transports"],
    objects: &["transports"],
    list: false,
    free: &["transports"],
};

/// A policy.json.
#[derive(Debug)]
pub struct PolicyJson {
    /// What it is called.
    pub(super) file: String,
    pub(super) default: Vec<Requirement>,
    pub(super) transports: Vec<Transport>,
}

/// What a policy says of one transport.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) name: String,
    /// Each scope with what it requires; `""` is the transport's default.
    pub(super) scopes: Vec<(String, Vec<Requirement>)>,
}

/// A requirement: all of a scope's must hold.
#[derive(Debug)]
pub(super) enum Requirement {
    Accept,
    Reject,
    Sigstore(Sigstore),
    /// Of a sort that lazaret has nothing for.
    Foreign {
        kind: &'static str,
        why: &'static str,
    },
}

/// `sigstoreSigned`.
#[derive(Debug)]
pub(super) struct Sigstore {
    /// Any of these must have signed.
    pub(super) keys: Vec<KeySource>,
    pub(super) identity: Identity,
    /// What it asks for beside keys, which nothing here does.
    pub(super) beside: Option<&'static str>,
}

/// Where a key is.
#[derive(Debug)]
pub(super) enum KeySource {
    Path(String),
    Data(Vec<u8>),
}

/// `signedIdentity`: what a signature must name.
#[derive(Debug)]
pub(super) enum Identity {
    MatchExact,
    MatchRepoDigestOrExact,
    MatchRepository,
    ExactReference(String),
    ExactRepository(String),
    Remap,
}

const GPG: &str = "signatures by GPG are not read";

impl PolicyJson {
    /// Reads a policy.json.
    ///
    /// # Errors
    /// `Malformed`, `Limit`: containers' own readers would not take it either.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let gated = json::gate(bytes, &POLICY).map_err(|e| e.context(file))?;
        let value: Value = gated.read().map_err(|e| e.context(file))?;
        let read = Reader { file };
        let top = read.object("the file", &value, &["default", "transports"])?;
        let default = top
            .get("default")
            .ok_or_else(|| read.bad("the file", "it has no default"))?;
        let default = read.requirements("default", default)?;
        let mut transports = Vec::new();
        for (name, scopes) in read.optional(top, "transports")?.into_iter().flatten() {
            let at = format!("transports.{}", words::shown(name));
            let scopes = scopes
                .as_object()
                .ok_or_else(|| read.bad(&at, "it is no object of scopes"))?;
            let scopes = scopes.iter().map(|(scope, requirements)| {
                let at = place(name, scope);
                Ok((scope.clone(), read.requirements(&at, requirements)?))
            });
            transports.push(Transport {
                name: name.clone(),
                scopes: scopes.collect::<Result<_>>()?,
            });
        }
        Ok(Self {
            file: file.to_owned(),
            default,
            transports,
        })
    }

    /// The paths of the keys that it names, each once, in its own words.
    pub fn key_paths(&self) -> Vec<&str> {
        let scopes = self.transports.iter().flat_map(|one| &one.scopes);
        let all = scopes.flat_map(|(_, requirements)| requirements);
        let all = self.default.iter().chain(all);
        let mut paths: Vec<&str> = all
            .filter_map(|requirement| match requirement {
                Requirement::Sigstore(sigstore) => Some(&sigstore.keys),
                _ => None,
            })
            .flatten()
            .filter_map(|key| match key {
                KeySource::Path(path) => Some(path.as_str()),
                KeySource::Data(_) => None,
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

/// How a scope is called: `transports.docker["docker.io/library"]`.
pub(super) fn place(transport: &str, scope: &str) -> String {
    let scope = match scope {
        "" => "\"\"".to_owned(),
        scope => words::toml(scope),
    };
    format!("transports.{}[{scope}]", words::shown(transport))
}

struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn bad(&self, at: &str, why: &str) -> Error {
        let cause = format!("{}: {at}: {why}", self.file);
        Error::new(Kind::Malformed, cause)
            .hint("containers' own programs refuse the whole file for this: see containers-policy.json(5)")
    }

    /// An object that has these fields and no others.
    fn object<'v>(
        &self,
        at: &str,
        value: &'v Value,
        known: &[&str],
    ) -> Result<&'v Map<String, Value>> {
        let map = value
            .as_object()
            .ok_or_else(|| self.bad(at, "it is no object"))?;
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(map),
            Some(key) => {
                let why = format!(
                    "unknown field {}: there is {}",
                    words::shown(key),
                    known.join(", ")
                );
                Err(self.bad(at, &why))
            }
        }
    }

    fn optional<'v>(
        &self,
        map: &'v Map<String, Value>,
        key: &str,
    ) -> Result<Option<&'v Map<String, Value>>> {
        let value = map.get(key);
        let object = value.map(|value| {
            let why = format!("{key} is no object");
            value.as_object().ok_or_else(|| self.bad("the file", &why))
        });
        object.transpose()
    }

    fn text<'v>(&self, at: &str, map: &'v Map<String, Value>, key: &str) -> Result<&'v str> {
        let text = map.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| self.bad(at, &format!("{key} is no text, or empty")))
    }

    fn texts<'v>(&self, at: &str, map: &'v Map<String, Value>, key: &str) -> Result<Vec<&'v str>> {
        let list = map.get(key).and_then(Value::as_array);
        let texts =
            list.and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        texts
            .filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()))
            .ok_or_else(|| self.bad(at, &format!("{key} is no list of texts, or empty")))
    }

    fn requirements(&self, at: &str, value: &Value) -> Result<Vec<Requirement>> {
        let list = value
            .as_array()
            .ok_or_else(|| self.bad(at, "it is no list of requirements"))?;
        if list.is_empty() {
            return Err(self.bad(at, "the list of requirements is empty"));
        }
        let list = list.iter().enumerate();
        list.map(|(number, one)| self.requirement(&format!("{at}[{number}]"), one))
            .collect()
    }

    fn requirement(&self, at: &str, value: &Value) -> Result<Requirement> {
        let kind = value.get("type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| self.bad(at, "it has no type"))?;
        match kind {
            "insecureAcceptAnything" | "reject" => {
                self.object(at, value, &["type"])?;
                Ok(match kind {
                    "reject" => Requirement::Reject,
                    _ => Requirement::Accept,
                })
            }
            "signedBy" => {
                let known = [
                    "type",
                    "keyType",
                    "keyPath",
                    "keyPaths",
                    "keyData",
                    "signedIdentity",
                ];
                let map = self.object(at, value, &known)?;
                self.text(at, map, "keyType")?;
                self.keys(at, map, &["keyPath", "keyPaths", "keyData"])?;
                self.identity(at, map)?;
                Ok(Requirement::Foreign {
                    kind: "signedBy",
                    why: GPG,
                })
            }
            "signedBaseLayer" => {
                self.object(at, value, &["type", "baseLayerIdentity"])?;
                Ok(Requirement::Foreign {
                    kind: "signedBaseLayer",
                    why: GPG,
                })
            }
            "sigstoreSigned" => self.sigstore(at, value),
            other => {
                let why = format!("no requirement is of type {}", words::shown(other));
                Err(self.bad(at, &why))
            }
        }
    }

    fn sigstore(&self, at: &str, value: &Value) -> Result<Requirement> {
        const KEYS: [&str; 4] = ["keyPath", "keyPaths", "keyData", "keyDatas"];
        const REKOR: [&str; 4] = [
            "rekorPublicKeyPath",
            "rekorPublicKeyPaths",
            "rekorPublicKeyData",
            "rekorPublicKeyDatas",
        ];
        let mut known = vec!["type", "fulcio", "pki", "signedIdentity"];
        known.extend(KEYS.iter().chain(&REKOR));
        let map = self.object(at, value, &known)?;
        let others = ["fulcio", "pki"].map(|key| map.contains_key(key));
        let keys = match others {
            [false, false] => self.keys(at, map, &KEYS)?,
            _ if KEYS.iter().any(|key| map.contains_key(*key)) || others == [true, true] => {
                return Err(self.bad(at, "there is one of keys, fulcio and pki"));
            }
            _ => Vec::new(),
        };
        let rekor = REKOR.iter().filter(|key| map.contains_key(**key)).count();
        if rekor > 1 || (others[0] && rekor == 0) {
            return Err(self.bad(at, "there is one rekorPublicKey..., and fulcio needs it"));
        }
        let beside = match (others, rekor) {
            ([true, _], _) => Some(
                "fulcio: a trust root here also has the keys of a certificate log, which this does \
                 not name, and identities are read from bundles alone; by hand: { signed = [{ \
                 issuer = \"...\", identity = \"...\", root = \"trusted_root.json\" }] }",
            ),
            ([_, true], _) => Some("pki: certificates of an authority are not read"),
            (_, 1) => Some("rekorPublicKey: no log is asked about signatures by keys"),
            _ => None,
        };
        Ok(Requirement::Sigstore(Sigstore {
            keys,
            identity: self.identity(at, map)?,
            beside,
        }))
    }

    /// The keys of the one field of these that there is.
    fn keys(&self, at: &str, map: &Map<String, Value>, fields: &[&str]) -> Result<Vec<KeySource>> {
        let mut there = fields.iter().filter(|key| map.contains_key(**key));
        let (Some(field), None) = (there.next(), there.next()) else {
            let why = format!("there is exactly one of {}", fields.join(", "));
            return Err(self.bad(at, &why));
        };
        let texts = match field.ends_with('s') {
            true => self.texts(at, map, field)?,
            false => vec![self.text(at, map, field)?],
        };
        let keys = texts.into_iter().map(|text| {
            if field.contains("Path") {
                return Ok(KeySource::Path(text.to_owned()));
            }
            let bytes = STANDARD.decode(text);
            let bytes = bytes.map_err(|_| self.bad(at, &format!("{field} is not base64")))?;
            Ok(KeySource::Data(bytes))
        });
        keys.collect()
    }

    fn identity(&self, at: &str, map: &Map<String, Value>) -> Result<Identity> {
        let Some(value) = map.get("signedIdentity") else {
            return Ok(Identity::MatchRepoDigestOrExact);
        };
        let at = &format!("{at}.signedIdentity");
        let kind = value.get("type").and_then(Value::as_str);
        let own: &[&str] = match kind {
            Some("exactReference") => &["dockerReference"],
            Some("exactRepository") => &["dockerRepository"],
            Some("remapIdentity") => &["prefix", "signedPrefix"],
            _ => &[],
        };
        let known: Vec<&str> = ["type"].iter().chain(own).copied().collect();
        let map = self.object(at, value, &known)?;
        let texts = own.iter().map(|key| self.text(at, map, key));
        let mut texts = texts.collect::<Result<Vec<_>>>()?.into_iter();
        let mut text = || texts.next().unwrap_or_default().to_owned();
        Ok(match kind {
            Some("matchExact") => Identity::MatchExact,
            Some("matchRepoDigestOrExact") => Identity::MatchRepoDigestOrExact,
            Some("matchRepository") => Identity::MatchRepository,
            Some("exactReference") => Identity::ExactReference(text()),
            Some("exactRepository") => Identity::ExactRepository(text()),
            Some("remapIdentity") => Identity::Remap,
            _ => return Err(self.bad(at, "no identity is of this type")),
        })
    }
}
