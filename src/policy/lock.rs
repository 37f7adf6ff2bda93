//! `lazaret.lock`: what images' names meant when they were let in, who had signed them, and by which
//! rules. Read and written here; where it lies and who may have written it is `host`'s affair.
//!
//! One fact stands on one line and everything is sorted, so that a change of a lock reads as what
//! has changed. What a file says is believed only as far as it can be held against something: the
//! digest against the bytes, the signers against their signatures, the policy's digest against the
//! rules of today. Nothing in it lets in what policy does not.

use super::compose::Policy;
use super::parse::Accept;
use super::signed::Attested;
use super::subject::Subject;
use super::view::required;
use super::words::toml as quoted_toml;
use crate::error::{Error, Kind, Result};
use crate::image::quote::{plain, quoted};
use crate::image::{Digest, ImageName, Platform, Reference};
use crate::trust::{Evidence, San, Signer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::Spanned;

/// The format that is written and read here.
const VERSION: i64 = 1;

/// The largest lock, in bytes: some two thousand images.
pub const MAX_LOCK: usize = 1 << 20;

const HEADER: &str = "\
# lazaret.lock: what the names of images mean here, who signed them, and by which rules they came in.
# `lazaret lock IMAGE...` writes it, and `lazaret run --locked` runs nothing else. Not made to be edited.
";

/// A lock: its images by name and platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    images: BTreeMap<(String, String), Locked>,
}

/// An image as it was locked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Locked {
    /// The name that it is asked for by.
    #[serde(serialize_with = "shown")]
    pub reference: Reference,
    /// What it is for, as its config says.
    #[serde(serialize_with = "shown")]
    pub platform: Platform,
    /// What the name meant: a manifest's digest, or that of an index.
    pub digest: Digest,
    /// The manifest for this platform; the same digest where it is a manifest.
    pub manifest: Digest,
    /// Of the rules that let it in: [`Policy::admitting`].
    pub policy: Digest,
    /// Who was proven to have signed it; others may have as well.
    pub signers: BTreeSet<LockedSigner>,
}

/// Who signed, whatever their keys' files are called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockedSigner {
    /// Whoever has the key of this fingerprint: sha256 of its SubjectPublicKeyInfo.
    Key(Digest),
    /// Whom the provider `issuer` calls so.
    Identity {
        /// The provider.
        issuer: String,
        /// The name there, and of which kind it is.
        identity: San,
    },
}

fn shown<T: fmt::Display, S: serde::Serializer>(
    value: &T,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// The version alone: keys of a newer format are not this one's mistakes.
#[derive(serde::Deserialize)]
struct Version {
    version: Option<i64>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[expect(dead_code, reason = "read before, as Version")]
    version: i64,
    #[serde(default)]
    image: Vec<Spanned<Entry>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reference: String,
    platform: String,
    digest: String,
    manifest: String,
    policy: String,
    signers: Vec<EntrySigner>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EntrySigner {
    key: Option<String>,
    issuer: Option<String>,
    email: Option<String>,
    uri: Option<String>,
}

impl Lock {
    /// Reads a lock; `name` is what errors call it.
    ///
    /// # Errors
    /// `Limit`: more than [`MAX_LOCK`] bytes; `Unsupported`: a newer lazaret's; `Malformed`: anything
    /// that no lazaret would have written so far as it bears a meaning: an unknown key, a name that
    /// is not written out, two entries for one name and platform.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_LOCK {
            let cause = format!("{name}: more than {MAX_LOCK} bytes");
            return Err(Error::new(Kind::Limit, cause));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::new(Kind::Malformed, format!("{name}: no UTF-8")))?;
        let wrong = |e: toml::de::Error| match e.span() {
            Some(span) => malformed(name, text, span.start, e.message()),
            None => Error::new(Kind::Malformed, format!("{name}: {}", plain(e.message()))),
        };
        let Version { version } = toml::from_str(text).map_err(wrong)?;
        match version {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                let cause =
                    format!("{name}: a lock of version {newer}; this lazaret knows {VERSION}");
                return Err(Error::new(Kind::Unsupported, cause).hint("use the newer lazaret"));
            }
            Some(other) => {
                let cause = format!("{name}: no lazaret has written version {other}");
                return Err(Error::new(Kind::Malformed, cause));
            }
            None => {
                let cause = format!("{name}: it says no version");
                return Err(Error::new(Kind::Malformed, cause)
                    .hint(format!("a lock begins with version = {VERSION}")));
            }
        }
        let file: File = toml::from_str(text).map_err(wrong)?;
        let mut lock = Self::default();
        for entry in file.image {
            let at = entry.span().start;
            let locked = entry
                .into_inner()
                .read()
                .map_err(|cause| malformed(name, text, at, &cause))?;
            if lock.same_place(&locked).is_some() {
                let cause = format!("a second entry for {locked}");
                return Err(malformed(name, text, at, &cause)
                    .hint("which of them counts would be a guess: take one out"));
            }
            lock.put(locked);
        }
        Ok(lock)
    }

    /// The file's text: the same for the same images, sorted by name and platform.
    pub fn text(&self) -> String {
        let mut out = format!("{HEADER}version = {VERSION}\n");
        for locked in self.images.values() {
            locked.write(&mut out);
        }
        out
    }

    /// All of them, sorted by name and platform.
    pub fn images(&self) -> impl Iterator<Item = &Locked> {
        self.images.values()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// What is locked under a name, for each platform.
    pub fn of(&self, reference: &Reference) -> impl Iterator<Item = &Locked> {
        let name = reference.to_string();
        let from = self.images.range((name.clone(), String::new())..);
        let named = from.take_while(move |((other, _), _)| *other == name);
        named.map(|(_, one)| one)
    }

    /// What a name means for a machine that is `wanted`: of several that serve it, the best.
    pub fn find(&self, reference: &Reference, wanted: &Platform) -> Option<&Locked> {
        let levels = self.of(reference);
        let levels = levels.filter_map(|one| Some((one.platform.level_for(wanted)?, one)));
        levels.max_by_key(|(level, _)| *level).map(|(_, one)| one)
    }

    /// What is locked under the same name for the same platform, however that is written.
    pub fn same_place(&self, locked: &Locked) -> Option<&Locked> {
        let serves = |one: &Platform, other: &Platform| one.level_for(other).is_some();
        self.of(&locked.reference).find(|one| {
            serves(&one.platform, &locked.platform) && serves(&locked.platform, &one.platform)
        })
    }

    /// Adds an image, in the place of what was locked there.
    pub fn put(&mut self, locked: Locked) {
        if let Some(place) = self.same_place(&locked).map(Locked::place) {
            self.images.remove(&place);
        }
        self.images.insert(locked.place(), locked);
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reference, self.platform)
    }
}

/// An error at an offset of the text.
fn malformed(name: &str, text: &str, at: usize, cause: &str) -> Error {
    let before = text.get(..at).unwrap_or_default();
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let cause = format!("{name}:{line}: {}", plain(cause.trim_end()));
    Error::new(Kind::Malformed, cause)
}

impl Entry {
    fn read(self) -> std::result::Result<Locked, String> {
        let digest = |what: &str, text: &str| {
            Digest::parse(text).map_err(|_| format!("{what} {} is no digest", quoted(text)))
        };
        let reference = match Reference::parse(&self.reference) {
            Ok(reference) if reference.to_string() == self.reference => reference,
            Ok(reference) => return Err(format!("a name is written out here: {reference}")),
            Err(error) => return Err(error.cause),
        };
        let platform = match Platform::parse(&self.platform) {
            Ok(platform) if platform.to_string() == self.platform => platform,
            _ => return Err(format!("{} is no platform", quoted(&self.platform))),
        };
        let locked = Locked {
            digest: digest("digest", &self.digest)?,
            manifest: digest("manifest", &self.manifest)?,
            policy: digest("policy", &self.policy)?,
            signers: BTreeSet::new(),
            reference,
            platform,
        };
        let named = locked.reference.digest;
        if named.is_some_and(|named| named != locked.digest) {
            return Err(format!(
                "{} cannot mean {}",
                locked.reference, locked.digest
            ));
        }
        let mut signers = BTreeSet::new();
        for signer in self.signers {
            if !signers.insert(signer.read(&digest)?) {
                return Err("a signer stands here twice".to_owned());
            }
        }
        Ok(Locked { signers, ..locked })
    }
}

impl EntrySigner {
    fn read(
        self,
        digest: &dyn Fn(&str, &str) -> std::result::Result<Digest, String>,
    ) -> std::result::Result<LockedSigner, String> {
        let identity = |issuer, identity| LockedSigner::Identity { issuer, identity };
        match (self.key, self.issuer, self.email, self.uri) {
            (Some(key), None, None, None) => digest("key", &key).map(LockedSigner::Key),
            (None, Some(issuer), Some(email), None) => Ok(identity(issuer, San::Email(email))),
            (None, Some(issuer), None, Some(uri)) => Ok(identity(issuer, San::Uri(uri))),
            _ => Err("a signer is a key, or an issuer with an email or a uri".to_owned()),
        }
    }
}

impl Locked {
    fn place(&self) -> (String, String) {
        (self.reference.to_string(), self.platform.to_string())
    }

    /// The name together with what it meant.
    pub fn pinned(&self) -> Reference {
        Reference {
            digest: Some(self.digest),
            ..self.reference.clone()
        }
    }

    /// What is another thing in `now`: which fact, what it was and what it is, in words.
    pub fn changes(&self, now: &Self) -> Vec<Drift> {
        let change = |fact, was: String, is: String| (was != is).then_some(Drift { fact, was, is });
        let digest = |digest: &Digest| digest.to_string();
        let changes = [
            change(
                "platform",
                self.platform.to_string(),
                now.platform.to_string(),
            ),
            change("digest", digest(&self.digest), digest(&now.digest)),
            change("manifest", digest(&self.manifest), digest(&now.manifest)),
            change("signers", listed(&self.signers), listed(&now.signers)),
            change("policy", digest(&self.policy), digest(&now.policy)),
        ];
        changes.into_iter().flatten().collect()
    }

    /// Those of its signers whose signatures prove nothing now.
    pub fn unproven(&self, evidence: &Evidence) -> Vec<&LockedSigner> {
        let proven = LockedSigner::proven(evidence, &self.manifest);
        let signers = self.signers.iter();
        signers.filter(|one| !proven.contains(one)).collect()
    }

    fn write(&self, out: &mut String) {
        let Self {
            reference,
            platform,
            digest,
            manifest,
            policy,
            signers,
        } = self;
        // Names and platforms have no letter that TOML would want escaped, nor have digests.
        out.push_str(&format!(
            "\n[[image]]\nreference = \"{reference}\"\nplatform = \"{platform}\"\n\
             digest = \"{digest}\"\nmanifest = \"{manifest}\"\npolicy = \"{policy}\"\n"
        ));
        if signers.is_empty() {
            out.push_str("signers = []\n");
            return;
        }
        out.push_str("signers = [\n");
        for signer in signers {
            out.push_str(&format!("  {{ {} }},\n", signer.written()));
        }
        out.push_str("]\n");
    }
}

/// A fact that is another one now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// `platform`, `digest`, `manifest`, `signers` or `policy`.
    pub fact: &'static str,
    /// As it is locked.
    pub was: String,
    /// As it is.
    pub is: String,
}

fn listed(signers: &BTreeSet<LockedSigner>) -> String {
    match signers.is_empty() {
        true => "none".to_owned(),
        false => {
            let signers: Vec<String> = signers.iter().map(ToString::to_string).collect();
            signers.join(", ")
        }
    }
}

impl LockedSigner {
    /// Who has signed a manifest, or the index that it was taken out of. Whoever attests something of an
    /// image has not signed it.
    pub fn proven(evidence: &Evidence, manifest: &Digest) -> BTreeSet<LockedSigner> {
        let plain = evidence.proofs.iter().filter(|proof| {
            let about = proof.about == *manifest || evidence.index == Some(proof.about);
            about && proof.attests.is_none()
        });
        let signers = plain.map(|proof| match &proof.signer {
            Signer::Key { fingerprint, .. } => LockedSigner::Key(*fingerprint),
            Signer::Identity {
                issuer, identity, ..
            } => LockedSigner::Identity {
                issuer: issuer.clone(),
                identity: identity.clone(),
            },
        });
        signers.collect()
    }

    fn written(&self) -> String {
        match self {
            Self::Key(fingerprint) => format!("key = \"{fingerprint}\""),
            Self::Identity { issuer, identity } => {
                let kind = match identity {
                    San::Email(_) => "email",
                    San::Uri(_) => "uri",
                };
                let (issuer, name) = (quoted_toml(issuer), quoted_toml(identity.as_str()));
                format!("issuer = {issuer}, {kind} = {name}")
            }
        }
    }
}

impl fmt::Display for LockedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(f, "the key {fingerprint}"),
            Self::Identity { issuer, identity } => {
                write!(f, "{} of {}", quoted(identity.as_str()), quoted(issuer))
            }
        }
    }
}

impl Policy {
    /// Whether what a tag meant here before counts for this name: some level's `tofu`.
    pub fn counts_on_record(&self, name: &ImageName) -> bool {
        let subject = Subject::of(name);
        let mut trusts = self.levels.iter().flat_map(|level| level.trusts(&subject));
        trusts.any(|rule| rule.accept == Accept::Tofu)
    }

    /// sha256 over what must hold for an image to come in under a name: what the trust rules that
    /// count for it accept, and what every requirement about it wants. All levels must agree, so it
    /// is one set, whichever level says what. Rules about other images and about what a cell may have
    /// change nothing in it, nor does where a rule stands or why. Keys and trust roots count by their
    /// bytes. A rule whose last day is over is not in force.
    pub fn admitting(&self, name: &ImageName) -> Digest {
        let subject = Subject::of(name);
        let mut wanted = BTreeSet::new();
        for level in &self.levels {
            let trusts = level.trusts(&subject);
            if trusts.is_empty() {
                wanted.insert("trust nobody\n".to_owned());
            }
            for rule in trusts.iter().filter(|rule| rule.accept != Accept::Any) {
                wanted.insert(format!("trust {}\n", rule.accept.identified()));
            }
            for rule in level.require(&subject) {
                wanted.extend(
                    required(rule)
                        .iter()
                        .map(|line| format!("require {line}\n")),
                );
                let attested = rule.attested.iter().map(Attested::identified);
                wanted.extend(attested.map(|line| format!("require {line}\n")));
            }
        }
        Digest::of(wanted.into_iter().collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests;
