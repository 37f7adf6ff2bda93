//! What `accept = { signed = ... }` and `attested = { ... }` want, and whether proofs meet it.

use super::admit::Admitted;
use super::compose::{Level, Policy, Whose};
use super::grants::Reason;
use super::parse::{Accept, Require, Trust};
use super::pattern::matches;
use super::subject::Subject;
use super::words;
use crate::error::Result;
use crate::image::quote::quoted;
use crate::image::{Digest, ImageName, Reference};
use crate::trust::{Evidence, Failure, Fault, Key, Proof, Root, San, Signer as Made};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The most signers that a rule names.
pub(super) const MAX_SIGNERS: usize = 64;

/// The most signatures whose words stand in a refusal.
const TOLD: usize = 5;

/// Who must have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// How many of them.
    pub(super) need: Need,
    /// Each differs from the others.
    pub(super) of: Vec<Signer>,
    /// What their signatures must name.
    pub(super) names: Names,
}

/// What a signature must name to count. Of the forms that are read only simple signing names
/// anything; a bundle never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Nothing, or what is asked for.
    Any,
    /// The repository of the image.
    Repository,
    /// The very name that is asked for: its tag too, but where a digest is asked for alone
    /// (containers-policy.json(5), matchRepoDigestOrExact).
    Exact,
}

impl Names {
    /// As it stands behind `signed = [...]`; nothing where nothing is said.
    pub(super) fn written(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Repository => ", names = \"repository\"",
            Self::Exact => ", names = \"exact\"",
        }
    }

    /// Whether what a signature names is enough for the image that is asked for.
    fn fits(self, named: Option<&str>, asked: &ImageName) -> bool {
        if self == Self::Any {
            return true;
        }
        let (Some(named), ImageName::Registry(asked)) = (named, asked) else {
            return false;
        };
        let Ok(reference) = Reference::as_written(named) else {
            return false;
        };
        let same = (&reference.domain, &reference.path) == (&asked.domain, &asked.path);
        same && (self == Self::Repository || asked.tag.is_none() || reference.tag == asked.tag)
    }
}

/// How many signers are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Any,
    All,
    AtLeast(usize),
}

/// A signer as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signer {
    /// A key and how the rule gives it: an absolute path, or the PEM text itself.
    Key { text: String, key: Rc<Key> },
    /// A file that has not been read: nobody.
    Unread { path: String },
    /// Patterns of an identity and its provider, and who vouches for both.
    Identity {
        issuer: String,
        identity: String,
        /// The file; `None`: sigstore's public instance.
        path: Option<String>,
        root: Rc<Root>,
    },
}

/// A predicate type that must be attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attested {
    /// As the rule writes it.
    pub(super) kind: String,
    pub(super) signed: Rc<Signed>,
    pub(super) line: usize,
}

/// Short names of predicate types, and the patterns that they stand for.
pub(super) const KINDS: [(&str, &str); 3] = [
    ("slsa", "https://slsa.dev/provenance/**"),
    ("spdx", "https://spdx.dev/Document/**"),
    ("cyclonedx", "https://cyclonedx.org/bom/**"),
];

impl Attested {
    fn is(&self, predicate: &str) -> bool {
        let short = KINDS.iter().find(|(name, _)| *name == self.kind);
        matches(short.map_or(&self.kind, |(_, pattern)| pattern), predicate)
    }

    /// What it wants, whatever the files of its keys are called.
    pub(super) fn identified(&self) -> String {
        let kind = words::toml(&self.kind);
        format!("attested {kind} {}", self.signed.identified())
    }

    /// As it is written: `slsa = [{ key = "/etc/lazaret/ci.pub" }]`.
    pub(super) fn written(&self) -> String {
        let plain = |b: u8| b.is_ascii_lowercase();
        let key = match self.kind.bytes().all(plain) {
            true => self.kind.clone(),
            false => words::toml(&self.kind),
        };
        format!("{key} = {}", self.signed.written())
    }
}

impl Signer {
    fn written(&self) -> String {
        match self {
            Self::Key { text, .. } | Self::Unread { path: text } => {
                format!("{{ key = {} }}", words::toml(text))
            }
            Self::Identity {
                issuer,
                identity,
                path,
                ..
            } => {
                let (issuer, identity) = (words::toml(issuer), words::toml(identity));
                let root = path.as_ref().map(|path| words::toml(path));
                let root = root.map_or(String::new(), |root| format!(", root = {root}"));
                format!("{{ issuer = {issuer}, identity = {identity}{root} }}")
            }
        }
    }

    /// As it is written, with digests in the place of files.
    fn identified(&self) -> String {
        match self {
            Self::Key { key, .. } => format!("key {}", key.fingerprint),
            Self::Unread { path } => format!("unread {}", words::toml(path)),
            Self::Identity {
                issuer,
                identity,
                root,
                ..
            } => {
                let (issuer, identity) = (words::toml(issuer), words::toml(identity));
                format!("issuer {issuer} identity {identity} root {}", root.digest)
            }
        }
    }

    /// As a refusal calls it.
    fn shown(&self) -> String {
        match self {
            Self::Key { key, .. } => format!("the key {}", words::shown(&key.name)),
            Self::Unread { path } => format!("the key {}", words::shown(path)),
            Self::Identity {
                issuer, identity, ..
            } => format!("{} of {}", words::shown(identity), words::shown(issuer)),
        }
    }

    /// Whether it is who made a signature.
    fn is(&self, made: &Made) -> bool {
        match (self, made) {
            (Self::Key { key, .. }, Made::Key { fingerprint, .. }) => {
                key.fingerprint == *fingerprint
            }
            (
                Self::Identity {
                    issuer,
                    identity,
                    root,
                    ..
                },
                Made::Identity {
                    issuer: is_issuer,
                    identity: is_identity,
                    root: by,
                },
            ) => {
                root.digest == *by
                    && matches(issuer, is_issuer)
                    && matches(identity, is_identity.as_str())
            }
            _ => false,
        }
    }

    /// Whether both name the same: a second signature by it is no second signer.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key { key, .. }, Self::Key { key: other, .. }) => {
                key.fingerprint == other.fingerprint
            }
            (one, other) => one.written() == other.written(),
        }
    }
}

impl Signed {
    fn count(&self) -> usize {
        match self.need {
            Need::Any => 1,
            Need::All => self.of.len(),
            Need::AtLeast(count) => count,
        }
    }

    /// As it is written: a list, or a table of `any_of`, `all_of`, `at_least`.
    pub(super) fn written(&self) -> String {
        self.as_text(Signer::written)
    }

    /// What it takes, whatever the files of its keys are called.
    pub(super) fn identified(&self) -> String {
        self.as_text(Signer::identified)
    }

    fn as_text(&self, signer: fn(&Signer) -> String) -> String {
        let of: Vec<String> = self.of.iter().map(signer).collect();
        let of = format!("[{}]", of.join(", "));
        match self.need {
            Need::Any => of,
            Need::All => format!("{{ all_of = {of} }}"),
            Need::AtLeast(count) => format!("{{ at_least = {count}, of = {of} }}"),
        }
    }

    /// As a refusal calls it: `the key lab.pub or ana@lab.example of https://...`.
    fn shown(&self) -> String {
        let of: Vec<String> = self.of.iter().map(Signer::shown).collect();
        match self.need {
            Need::Any => of.join(" or "),
            Need::All => of.join(" and "),
            Need::AtLeast(count) => format!("{count} of {}", of.join(", ")),
        }
    }

    /// How many of the signers have signed, each by another one's signature: whoever fits two
    /// patterns is still one.
    fn met(&self, proofs: &[&Proof]) -> usize {
        let made: BTreeSet<&Made> = proofs.iter().map(|proof| &proof.signer).collect();
        let made: Vec<&Made> = made.into_iter().collect();
        let mut by: Vec<Option<usize>> = vec![None; made.len()];
        let mut count = 0;
        for at in 0..self.of.len() {
            let mut seen = vec![false; made.len()];
            count += usize::from(self.assign(at, &made, &mut by, &mut seen));
        }
        count
    }

    /// Finds the signer `at` somebody of its own, if need be by moving others (a bipartite matching
    /// by augmenting paths; at most 64 by 64).
    fn assign(
        &self,
        at: usize,
        made: &[&Made],
        by: &mut [Option<usize>],
        seen: &mut [bool],
    ) -> bool {
        for (who, made_by) in made.iter().enumerate() {
            if seen[who] || !self.of[at].is(made_by) {
                continue;
            }
            seen[who] = true;
            let free = match by[who] {
                None => true,
                Some(other) => self.assign(other, made, by, seen),
            };
            if free {
                by[who] = Some(at);
                return true;
            }
        }
        false
    }
}

/// Keys and trust roots that rules about an image name: what its signatures are held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedSigners {
    /// Each once.
    pub keys: Vec<Rc<Key>>,
    /// Each once.
    pub roots: Vec<Rc<Root>>,
}

impl WantedSigners {
    /// No rule wants a signature: none need be looked for.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.roots.is_empty()
    }

    fn add(&mut self, signed: &Signed) {
        for signer in &signed.of {
            match signer {
                Signer::Key { key, .. } => {
                    if !self.keys.iter().any(|k| k.fingerprint == key.fingerprint) {
                        self.keys.push(Rc::clone(key));
                    }
                }
                Signer::Identity { root, .. } => {
                    if !self.roots.iter().any(|r| r.digest == root.digest) {
                        self.roots.push(Rc::clone(root));
                    }
                }
                Signer::Unread { .. } => {}
            }
        }
    }
}

impl Policy {
    /// The signers that [`super::admit`] will ask for of this image.
    pub fn wanted_signers(&self, name: &ImageName) -> WantedSigners {
        let subject = Subject::of(name);
        let mut wanted = WantedSigners::default();
        for level in &self.levels {
            for rule in level.trusts(&subject) {
                if let Accept::Signed(signed) = &rule.accept {
                    wanted.add(signed);
                }
            }
            for rule in level.require(&subject) {
                rule.attested.iter().for_each(|one| wanted.add(&one.signed));
            }
        }
        wanted
    }
}

impl Policy {
    /// Whether the trust roots that rules name could vouch for anybody. A run finds out when a
    /// signature needs one; this is for whoever wants to know before.
    ///
    /// # Errors
    /// `Malformed`: one cannot, with its rule and what is the matter.
    pub fn check_roots(&self) -> Result<()> {
        let mut known = BTreeSet::new();
        for rules in self.levels.iter().map(|level| &level.rules) {
            let trust = rules.trust.iter().filter_map(|rule| match &rule.accept {
                Accept::Signed(signed) => Some((rule.head.at(rule.head.line), signed)),
                _ => None,
            });
            let attested = rules.require.iter().flat_map(|rule| {
                let all = rule.attested.iter();
                all.map(|one| (rule.head.at(one.line), &one.signed))
            });
            for (origin, signed) in trust.chain(attested) {
                for signer in &signed.of {
                    if let Signer::Identity { root, .. } = signer
                        && known.insert(root.digest)
                    {
                        root.check()
                            .map_err(|error| error.context(format!("policy {origin}")))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Why an image is not signed as a trust rule wants it; `None`: it is.
pub(super) fn unsigned(
    policy: &Policy,
    level: &Level,
    rule: &Trust,
    signed: &Signed,
    asked: &Admitted<'_>,
) -> Option<Reason> {
    // An attestation says something of an image, and not that it may run.
    let plain = |proof: &&Proof| proof.attests.is_none();
    let lacking = lacking(signed, "signed", asked, &plain)?;
    let origin = rule.head.at(rule.head.line);
    Some(Reason {
        asked: lacking,
        rule: super::trust::written(rule),
        why: rule.head.reason.clone(),
        cure: cure(policy, level, signed, asked, &origin),
        origin,
    })
}

/// Why the attestations of a requirement are not there, a reason for each.
pub(super) fn unattested(
    policy: &Policy,
    level: &Level,
    rule: &Require,
    asked: &Admitted<'_>,
) -> Vec<Reason> {
    let reasons = rule.attested.iter().filter_map(|one| {
        let of_kind = |proof: &&Proof| proof.attests.as_deref().is_some_and(|kind| one.is(kind));
        let what = format!("attested {}", words::shown(&one.kind));
        let lacking = lacking(&one.signed, &what, asked, &of_kind)?;
        let origin = rule.head.at(one.line);
        Some(Reason {
            asked: lacking,
            rule: format!("require attested = {{ {} }}", one.written()),
            why: rule.head.reason.clone(),
            cure: cure(policy, level, &one.signed, asked, &origin),
            origin,
        })
    });
    reasons.collect()
}

/// What is lacking, in words, with what each signature says of itself; `None`: nothing.
fn lacking(
    signed: &Signed,
    what: &str,
    asked: &Admitted<'_>,
    of_kind: &dyn Fn(&&Proof) -> bool,
) -> Option<String> {
    let evidence = asked.evidence;
    let about = |proof: &&Proof| is_about(evidence, proof, &asked.manifest.digest);
    let proofs: Vec<&Proof> = evidence
        .proofs
        .iter()
        .filter(about)
        .filter(of_kind)
        .filter(|proof| signed.names.fits(proof.reference.as_deref(), asked.name))
        .collect();
    let (met, need) = (signed.met(&proofs), signed.count());
    if met >= need {
        return None;
    }
    let name = words::shown(&asked.subject.full);
    let mut text = format!("{name} is not {what} by {}", signed.shown());
    if met > 0 {
        text.push_str(&format!(" ({met} of {need})"));
    }
    let mut told: Vec<String> = evidence
        .proofs
        .iter()
        .map(|proof| of_proof(signed, proof, of_kind, asked))
        .collect();
    told.extend(evidence.failures.iter().map(Failure::to_string));
    let more = told.len().saturating_sub(TOLD);
    told.truncate(TOLD);
    match told.is_empty() {
        true => text.push_str(": no signature was found"),
        false => text.push_str(&format!(": {}", told.join("; "))),
    }
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    Some(text)
}

/// Whether a proof is about the manifest, or about the index that it was taken out of.
fn is_about(evidence: &Evidence, proof: &Proof, manifest: &Digest) -> bool {
    proof.about == *manifest || evidence.index == Some(proof.about)
}

/// What a proof that is not enough says of itself.
fn of_proof(
    signed: &Signed,
    proof: &Proof,
    of_kind: &dyn Fn(&&Proof) -> bool,
    asked: &Admitted<'_>,
) -> String {
    let who = match &proof.signer {
        Made::Key { name, .. } => format!("the key {}", words::shown(name)),
        Made::Identity {
            issuer, identity, ..
        } => format!("{} of {}", quoted(identity.as_str()), quoted(issuer)),
    };
    if !is_about(asked.evidence, proof, &asked.manifest.digest) {
        return format!("{who} signed {}", proof.about);
    }
    if !of_kind(&proof) {
        return match &proof.attests {
            Some(kind) => format!("{who} attested {}", quoted(kind)),
            None => format!("{who} signed it"),
        };
    }
    if signed.of.iter().any(|signer| signer.is(&proof.signer)) {
        return match &proof.reference {
            named if signed.names.fits(named.as_deref(), asked.name) => format!("{who} did"),
            Some(named) => format!("{who} did, and names {}", words::shown(named)),
            None => format!("{who} did, and names no image"),
        };
    }
    match &proof.signer {
        Made::Key { .. } => format!("{who} did, whom this rule does not name"),
        Made::Identity {
            issuer,
            identity,
            root,
        } => format!(
            "{who} did{}",
            nearly(signed, issuer, identity, root).unwrap_or(", whom this rule does not name")
        ),
    }
}

/// What of an identity is as a rule wants it, where that misleads.
fn nearly(
    signed: &Signed,
    is_issuer: &str,
    is_identity: &San,
    by: &Digest,
) -> Option<&'static str> {
    signed.of.iter().find_map(|signer| {
        let Signer::Identity {
            issuer,
            identity,
            root,
            ..
        } = signer
        else {
            return None;
        };
        let contains = !identity.contains('*') && is_identity.as_str().contains(identity.as_str());
        let name = matches(identity, is_identity.as_str());
        match (matches(issuer, is_issuer), name) {
            (true, true) if root.digest != *by => Some(": by another trust root"),
            (true, false) if contains => {
                Some(": its identity only contains the one that is wanted")
            }
            (true, false) => Some(": the issuer is right, and the identity is another"),
            (false, true) => Some(": the identity is right, and the issuer is another"),
            _ => None,
        }
    })
}

/// What would help: never a rule in words that come from a signature.
fn cure(
    policy: &Policy,
    level: &Level,
    signed: &Signed,
    asked: &Admitted<'_>,
    origin: &super::grants::Origin,
) -> Vec<String> {
    let evidence = asked.evidence;
    let elsewhere = |failure: &Failure| {
        matches!(
            failure.fault,
            Fault::WrongKey(_)
                | Fault::NoKey
                | Fault::NoRoot
                | Fault::TooMany(_)
                | Fault::Unsupported(_)
                | Fault::Untrusted(_)
                | Fault::Untaken(_)
                | Fault::NotKept
        )
    };
    let forged = evidence.proofs.is_empty()
        && !evidence.failures.is_empty()
        && !evidence.failures.iter().any(elsewhere);
    if forged {
        return vec![
            "no policy allows this: what was signed is not what this is, or not as it was signed"
                .to_owned(),
        ];
    }
    let digest = asked.manifest.digest;
    let not_kept = |failure: &Failure| failure.fault == Fault::NotKept;
    let unasked = evidence.failures.iter().any(not_kept);
    let fetch = unasked.then(|| format!("lazaret pull {} fetches its signatures", asked.name));
    let mut cure = fetch.into_iter().collect::<Vec<_>>();
    cure.push(format!(
        "it comes in once {} has signed {digest}",
        signed.shown()
    ));
    match level.whose {
        Whose::User => cure.push(format!("or change your own rule ({origin})")),
        _ => cure.extend(policy.require_cure(level.whose, origin)),
    }
    cure
}
