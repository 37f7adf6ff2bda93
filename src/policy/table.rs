//! Tables of requests with the verdicts that are expected of a policy: `policy test`.
//!
//! ```toml
//! version = 1
//!
//! [[case]]
//! name   = "the database may write its data and nothing else"
//! run    = "-v ~/data/db:/data registry.lab.example/db/pg:16"
//! expect = "allow"
//!
//! [[case]]
//! run     = ["-v", "/etc:/x", "registry.lab.example/db/pg:16"]
//! expect  = "deny"
//! because = "never.toml"
//! host    = { subids = false }
//! image   = { user = "postgres", setuid = ["/bin/su"] }
//! files   = { "/etc" = "folder" }
//! ```
//!
//! Nothing is run and nothing of this machine is looked at: a case says what it is about, and the
//! rest is an ordinary machine and an ordinary image.

use super::facts::{DeviceFacts, FileKind, HostFacts, ImageFacts, Outside, SourceFacts, SubIds};
use super::grants::{Reason, Verdict};
use super::request::{DeviceAsk, Request};
use super::signed::{KINDS, WantedSigners};
use super::tree::{FactsWanted, TreeFacts};
use super::words;
use super::{Admit, Policy, admit, decide, wanted_devices};
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform};
use crate::trust::{Evidence, Failure, Fault, Form, Proof, San, Signer};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A table of cases.
#[derive(Debug, Clone)]
pub struct Table {
    /// In the order in which they stand.
    pub cases: Vec<Case>,
}

/// A request and the verdict that is expected.
#[derive(Debug, Clone)]
pub struct Case {
    /// Counted from 1.
    pub line: usize,
    /// What a person calls it; else its command line.
    pub name: String,
    /// The words after `lazaret run`.
    pub run: Vec<String>,
    /// It is allowed.
    pub allow: bool,
    /// A word of one of the refusal's reasons: of its rule, place or why.
    pub because: Option<String>,
    image: ImageText,
    host: HostText,
    files: BTreeMap<String, KindText>,
}

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Otherwise: what was found instead.
    Failed(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    version: u32,
    #[serde(default)]
    host: HostText,
    #[serde(default)]
    case: Vec<toml::Spanned<CaseText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: Option<String>,
    run: RunText,
    expect: Expect,
    because: Option<String>,
    #[serde(default)]
    image: ImageText,
    host: Option<HostText>,
    #[serde(default)]
    files: BTreeMap<String, KindText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RunText {
    Line(String),
    Words(Vec<String>),
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ImageText {
    user: String,
    layers: Option<u64>,
    size: u64,
    files: u64,
    setuid: Vec<String>,
    file_caps: Vec<String>,
    special: Vec<String>,
    world_writable: Vec<String>,
    /// Paths that the image has beside those.
    paths: Vec<String>,
    labels: BTreeMap<String, String>,
    /// How long ago it was made: `90d`; without it, now.
    age: Option<String>,
    /// The lowest layer's diff id.
    base: Option<String>,
    /// Who has signed it: keys as rules name them, or identities.
    signed: Vec<SignerText>,
    /// The image that these signatures name; without it, none.
    named: Option<String>,
    /// What has been attested of it, by whom.
    attested: BTreeMap<String, Vec<SignerText>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SignerText {
    Key(String),
    Identity(IdentityText),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityText {
    issuer: String,
    identity: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HostText {
    subids: bool,
    root: bool,
    landlock: u32,
    memory: String,
    home: String,
    cwd: String,
}

impl Default for HostText {
    fn default() -> Self {
        Self {
            subids: true,
            root: false,
            landlock: 7,
            memory: "8GiB".to_owned(),
            home: "/home/ana".to_owned(),
            cwd: "/home/ana/work".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindText {
    Folder,
    File,
    Device,
    Fifo,
    Socket,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// `Malformed`, with the line: it is not understood.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let malformed = |line: usize, cause: String| {
            Error::new(Kind::Malformed, format!("{name}:{line}: {cause}"))
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|e| malformed(1, format!("this is no text: {e}")))?;
        let line_of = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
        let file: FileText = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            malformed(line, words::one_line(e.message()))
        })?;
        if file.version != 1 {
            let error = malformed(1, format!("version = {}", file.version));
            return Err(error.hint("this lazaret reads version = 1"));
        }
        let cases = file.case.into_iter().map(|case| {
            let line = line_of(case.span().start);
            let case = case.into_inner();
            let run = match case.run {
                RunText::Words(words) => words,
                RunText::Line(text) => text.split_whitespace().map(str::to_owned).collect(),
            };
            let host = case.host.unwrap_or_else(|| file.host.clone());
            // What the shell would have done.
            let expanded = run.iter().map(|word| match word.strip_prefix("~/") {
                Some(rest) => format!("{}/{rest}", host.home),
                None => word.clone(),
            });
            let name = case.name.unwrap_or_else(|| run.join(" "));
            Case {
                line,
                name,
                run: expanded.collect(),
                allow: case.expect == Expect::Allow,
                because: case.because,
                image: case.image,
                host,
                files: case.files,
            }
        });
        let cases: Vec<Case> = cases.collect();
        if cases.is_empty() {
            return Err(malformed(1, "a table without a case".to_owned())
                .hint("a case begins with a line [[case]]"));
        }
        Ok(Self { cases })
    }
}

impl SignerText {
    /// Who it is in a proof: a key by its file or the end of its path.
    fn made(&self, wanted: &WantedSigners) -> Vec<Signer> {
        match self {
            Self::Key(text) => {
                let named = |name: &str| name == text || name.ends_with(&format!("/{text}"));
                let keys = wanted.keys.iter().filter(|key| named(&key.name));
                keys.map(|key| Signer::Key {
                    fingerprint: key.fingerprint,
                    name: key.name.clone(),
                })
                .collect()
            }
            Self::Identity(of) => {
                let identity = match of.identity.contains(':') {
                    true => San::Uri(of.identity.clone()),
                    false => San::Email(of.identity.clone()),
                };
                let roots = wanted.roots.iter().map(|root| Signer::Identity {
                    issuer: of.issuer.clone(),
                    identity: identity.clone(),
                    root: root.digest,
                });
                roots.collect()
            }
        }
    }
}

impl Case {
    /// Puts `request`, which [`Case::run`] means, to both decisions of `policy`. `now`: seconds since
    /// 1970.
    pub fn verdict(&self, policy: &Policy, request: &Request, now: i64) -> Outcome {
        let (reasons, error) = match self.reasons(policy, request, now) {
            Ok(reasons) => (reasons, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if let Some(error) = error {
            return Outcome::Failed(format!("neither allowed nor denied: {error}"));
        }
        let told = |reason: &Reason| {
            format!(
                "{}: {} ({}): {}",
                reason.asked, reason.rule, reason.origin, reason.why
            )
        };
        match (self.allow, reasons.as_slice()) {
            (true, []) => Outcome::Passed,
            (true, [first, ..]) => Outcome::Failed(format!("denied: {}", told(first))),
            (false, []) => Outcome::Failed("allowed".to_owned()),
            (false, [first, ..]) => match &self.because {
                Some(word) if !reasons.iter().any(|r| told(r).contains(word.as_str())) => {
                    Outcome::Failed(format!("denied for another reason: {}", told(first)))
                }
                _ => Outcome::Passed,
            },
        }
    }

    /// How the case went where its command line is refused whatever a policy says.
    pub fn refused(&self, why: &str) -> Outcome {
        match (self.allow, &self.because) {
            (true, _) => Outcome::Failed(format!("denied: {why}")),
            (false, Some(word)) if !why.contains(word.as_str()) => {
                Outcome::Failed(format!("denied for another reason: {why}"))
            }
            (false, _) => Outcome::Passed,
        }
    }

    fn reasons(&self, policy: &Policy, request: &Request, now: i64) -> Result<Vec<Reason>> {
        let config = self.config(now)?;
        let manifest = self.manifest();
        let evidence = self.evidence(policy, request, manifest.digest);
        // A table has no memory of what a tag meant.
        let admitted = admit(
            policy,
            &request.image,
            &manifest,
            &config,
            None,
            &evidence,
            now,
        );
        if let Admit::Deny(reasons) = admitted {
            return Ok(reasons);
        }
        let mut image = ImageFacts {
            manifest: manifest.digest,
            config,
            layers: self.image.layers.unwrap_or(1),
            size: self.image.size,
            files: self.image.files,
            setuid: self.image.setuid.clone(),
            file_caps: self.image.file_caps.clone(),
            special: self.image.special.clone(),
            tree: None,
        };
        let wanted = policy.facts_wanted(&request.image, &image);
        if !wanted.is_empty() {
            image.tree = Some(self.tree(&wanted));
        }
        let devices = wanted_devices(policy, &request.image, &request.devices);
        match decide(policy, request, &image, &self.machine(request, &devices)?)? {
            Verdict::Allow(_) => Ok(Vec::new()),
            Verdict::Deny(reasons) => Ok(reasons),
        }
    }

    /// What the signatures that the case tells of would prove, by the keys and roots that rules name.
    fn evidence(&self, policy: &Policy, request: &Request, about: Digest) -> Evidence {
        let wanted = policy.wanted_signers(&request.image);
        let mut evidence = Evidence::default();
        let attested = self.image.attested.iter();
        let attested = attested.flat_map(|(kind, by)| by.iter().map(move |one| (Some(kind), one)));
        let plain = self.image.signed.iter().map(|one| (None, one));
        for (kind, by) in plain.chain(attested) {
            let short = kind.and_then(|kind| KINDS.iter().find(|(name, _)| name == kind));
            let full = short.map(|(_, pattern)| pattern.trim_end_matches("/**").to_owned());
            let attests = full.or_else(|| kind.cloned());
            let made = by.made(&wanted).into_iter().map(|signer| Proof {
                signer,
                form: Form::BundleStatement,
                about,
                reference: self.image.named.clone(),
                when: None,
                attests: attests.clone(),
            });
            let before = evidence.proofs.len();
            evidence.proofs.extend(made);
            if evidence.proofs.len() == before {
                evidence.failures.push(Failure {
                    which: None,
                    fault: Fault::NoKey,
                });
            }
        }
        evidence
    }

    /// What is found of what rules look for: all that the case says of the image's files.
    fn tree(&self, wanted: &FactsWanted) -> TreeFacts {
        let image = &self.image;
        let mut tree = wanted.nothing_found();
        for (found, paths) in [
            (&mut tree.setuid, &image.setuid),
            (&mut tree.file_caps, &image.file_caps),
            (&mut tree.special, &image.special),
            (&mut tree.world_writable, &image.world_writable),
        ] {
            if let Some(found) = found {
                paths.iter().for_each(|path| found.note(path));
            }
        }
        let made = image.setuid.iter().chain(&image.file_caps);
        let made = made.chain(&image.world_writable).chain(&image.paths);
        for (pattern, found) in &mut tree.paths {
            let fits = |path: &&String| FactsWanted::matches(pattern, path);
            made.clone()
                .filter(fits)
                .for_each(|path| found.note(path, true));
            image
                .special
                .iter()
                .filter(fits)
                .for_each(|path| found.note(path, false));
        }
        tree
    }

    fn config(&self, now: i64) -> Result<ImageConfig> {
        let malformed = |what: &str, value: &str| {
            let cause = format!("{what} = {} is none", words::toml(value));
            Error::new(Kind::Malformed, cause)
        };
        let age = match &self.image.age {
            None => 0,
            Some(text) => words::parse_duration(text)
                .ok_or_else(|| malformed("age", text))?
                .as_secs(),
        };
        let created = i64::try_from(age)
            .ok()
            .and_then(|age| now.checked_sub(age))
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let base = match &self.image.base {
            None => None,
            Some(text) => Some(DiffId(
                Digest::parse(text).map_err(|_| malformed("base", text))?,
            )),
        };
        Ok(ImageConfig {
            platform: Platform::native(),
            user: self.image.user.clone(),
            env: Vec::new(),
            entrypoint: Vec::new(),
            // A request without a command means the image's.
            cmd: vec!["command".to_owned()],
            working_dir: String::new(),
            volumes: Vec::new(),
            exposed_ports: Vec::new(),
            stop_signal: None,
            labels: self.image.labels.clone(),
            diff_ids: base.into_iter().collect(),
            created: created.map(|at| at.to_string()),
            history: Vec::new(),
        })
    }

    fn manifest(&self) -> Manifest {
        let digest = Digest::of(b"");
        let blob = |size| Descriptor {
            media_type: String::new(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        };
        let layers = self.image.layers.unwrap_or(1);
        Manifest {
            digest,
            media_type: String::new(),
            config: blob(0),
            layers: (0..layers.min(10_000)).map(|_| blob(0)).collect(),
            annotations: BTreeMap::new(),
        }
    }

    fn machine(&self, request: &Request, devices: &[DeviceAsk]) -> Result<HostFacts> {
        let host = &self.host;
        let ids = SubIds {
            base: 100_000,
            count: 65536,
        };
        let uid = if host.root { 0 } else { 1000 };
        let memory = words::parse_size(&host.memory, 0).ok_or_else(|| {
            let cause = format!("memory = {} is no size", words::toml(&host.memory));
            Error::new(Kind::Malformed, cause)
        })?;
        let source = |path: &str| {
            let real = self.real(path);
            let kind = self.files.get(path).or_else(|| self.files.get(&real));
            SourceFacts {
                kind: match kind {
                    None | Some(KindText::Folder) => FileKind::Folder,
                    Some(KindText::File) => FileKind::File,
                    Some(KindText::Device) => FileKind::Device,
                    Some(KindText::Fifo) => FileKind::Fifo,
                    Some(KindText::Socket) => FileKind::Socket,
                },
                path: real,
                uid,
                gid: uid,
                mode: 0o755,
                mounts: Vec::new(),
                through: None,
            }
        };
        let device = |ask: &DeviceAsk| DeviceFacts {
            path: ask.source.clone(),
            character: true,
            major: 226,
            minor: 128,
            name: ask.source.strip_prefix("/dev/").map(str::to_owned),
            uid: 0,
            gid: 0,
            mode: 0o666,
        };
        Ok(HostFacts {
            kernel: (6, 18),
            architecture: "amd64",
            uid,
            gid: uid,
            groups: Vec::new(),
            root: host.root,
            landlock_abi: host.landlock,
            subids: host.subids.then_some((ids, ids)),
            no_subids: "apt install uidmap, and add subordinate ids".to_owned(),
            hard_limits: Vec::new(),
            cgroup: None,
            no_cgroup: "no cgroup is delegated".to_owned(),
            memory,
            outside: Outside {
                cwd: host.cwd.clone(),
                homes: vec![host.home.clone()],
                own: vec![
                    format!("{}/.local/share/lazaret", host.home),
                    format!("{}/.config/lazaret", host.home),
                    "/etc/lazaret".to_owned(),
                ],
                sources: request.binds.iter().map(|b| source(&b.source)).collect(),
                devices: devices.iter().map(device).collect(),
            },
        })
    }

    /// A path as it would be without links: from the root, without `.` and `..`.
    fn real(&self, path: &str) -> String {
        let from = match path.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", self.host.home),
            None if path.starts_with('/') => path.to_owned(),
            None => format!("{}/{path}", self.host.cwd),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in from.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }
}
