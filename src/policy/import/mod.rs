//! A policy of containers' programs (podman, skopeo, buildah) as one of lazaret's: policy.json
//! (containers-policy.json(5)) and registries.d (containers-registries.d(5)) to TOML.
//!
//! What comes out lets in nothing that its source would not. What lazaret has no word for becomes
//! `reject` for its scope, and is named. Pure: who calls brings the files.
//!
//! A scope's requirements must all hold; a rule is written for each, because of equally specific rules
//! all that speak of signatures hold. `insecureAcceptAnything` becomes `tofu` and not `any`, which
//! would be less than lazaret asks for where there is no policy at all.

mod registries;
mod scope;
mod source;

pub use registries::Registries;
pub use source::PolicyJson;

use super::signed::{MAX_SIGNERS, Names};
use super::words;
use crate::error::Result;
use crate::trust::Key;
use scope::Scope;
use source::{Identity, KeySource, Requirement, Sigstore};
use std::collections::BTreeMap;

/// The bytes of key files by their paths, or why there are none.
pub type KeyFiles = BTreeMap<String, std::result::Result<Vec<u8>, String>>;

/// A policy that was made out of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The policy file.
    pub toml: String,
    /// What is good to know, a line each.
    pub notes: Vec<String>,
    /// What could not be said in lazaret's words and was rejected or left out, a line each.
    pub unmapped: Vec<String>,
}

/// Transports of containers' programs whose images lazaret takes from disk.
const FILES: [&str; 3] = ["oci", "oci-archive", "docker-archive"];

const TOFU: &str = "insecureAcceptAnything is written as accept = \"tofu\": a tag means one digest \
                    until somebody here accepts another";

const OTHER_TAG: &str = "matchRepository is written as names = \"repository\", which takes less: a \
                         signature that names another tag of the repository is not taken";

const NAMES: &str = "where a rule says names, only signatures that name an image count (cosign's \
                     simple signing): sigstore's bundles name none. A signature over an index counts \
                     for the images that it names; containers' programs want one over each image";

/// What a scope comes to.
enum Effect {
    Tofu,
    Reject,
    /// In the words of `accept`, one for each requirement.
    Signed(Vec<String>),
}

/// Where images come from that a rule is about.
#[derive(Clone, Copy, PartialEq)]
enum From<'s> {
    /// A registry; the one repository and tag that they all have, if so.
    Registry(Option<&'s (String, String)>),
    /// A folder or an archive.
    Disk,
}

/// Writes what `policy` says as a policy of lazaret's.
///
/// # Errors
/// `Malformed`: a scope that containers' programs refuse.
pub fn import(policy: &PolicyJson, registries: &Registries, keys: &KeyFiles) -> Result<Imported> {
    let mut importer = Importer {
        file: words::shown(&policy.file),
        registries,
        keys,
        rules: String::new(),
        notes: registries.notes.clone(),
        unmapped: Vec::new(),
    };
    let default_of = |name: &str| {
        let transport = policy.transports.iter().find(|one| one.name == name)?;
        let mut scopes = transport.scopes.iter();
        Some(&scopes.find(|(scope, _)| scope.is_empty())?.1)
    };
    // lazaret has words of its own for images on disk, which must not be what counts.
    let (said, unsaid): (Vec<&str>, Vec<&str>) =
        FILES.iter().partition(|name| default_of(name).is_some());
    if default_of("docker").is_none() {
        importer.rule(
            &["**".to_owned()],
            From::Registry(None),
            "default",
            "",
            &policy.default,
        );
    }
    if !unsaid.is_empty() {
        let patterns: Vec<String> = unsaid.iter().map(|name| format!("{name}:**")).collect();
        importer.rule(&patterns, From::Disk, "default", "", &policy.default);
    }
    for transport in &policy.transports {
        let name = transport.name.as_str();
        let on_disk = FILES.contains(&name);
        if !on_disk && name != "docker" {
            let name = words::shown(name);
            importer.notes.push(format!(
                "transports.{name}: lazaret takes no images from there, so nothing is written"
            ));
            continue;
        }
        for (scope, requirements) in &transport.scopes {
            let cite = source::place(name, scope);
            let found = match (scope.as_str(), on_disk) {
                ("", true) => {
                    debug_assert!(said.contains(&name));
                    let patterns = vec![format!("{name}:**")];
                    Scope::Of {
                        patterns,
                        tag: None,
                    }
                }
                ("", false) => {
                    let patterns = vec!["**".to_owned()];
                    Scope::Of {
                        patterns,
                        tag: None,
                    }
                }
                (scope, false) => scope::docker(scope),
                (_, true) if name == "docker-archive" => {
                    let why = "docker-archive has no scope but the default \"\"";
                    return Err(importer.bad(&cite, why));
                }
                (scope, true) => {
                    let of_path = scope::path(name, scope);
                    of_path.map_err(|e| e.context(format!("{}: {cite}", importer.file)))?
                }
            };
            match found {
                Scope::Of { patterns, tag } => {
                    let from = match on_disk {
                        true => From::Disk,
                        false => From::Registry(tag.as_ref()),
                    };
                    importer.rule(&patterns, from, &cite, scope, requirements);
                }
                Scope::Nothing(why) => {
                    importer
                        .notes
                        .push(format!("{cite}: {why}, so nothing is written"));
                }
                Scope::Wider { patterns, why } => {
                    importer.unmapped(&cite, &format!("{why}: rejected, whatever it says"));
                    importer.put(&patterns, "\"reject\"", &cite, why);
                }
            }
        }
    }
    Ok(importer.done())
}

struct Importer<'a> {
    /// As it is cited.
    file: String,
    registries: &'a Registries,
    keys: &'a KeyFiles,
    rules: String,
    notes: Vec<String>,
    unmapped: Vec<String>,
}

impl Importer<'_> {
    fn bad(&self, cite: &str, why: &str) -> crate::error::Error {
        let cause = format!("{}: {cite}: {why}", self.file);
        crate::error::Error::new(crate::error::Kind::Malformed, cause)
    }

    fn unmapped(&mut self, cite: &str, why: &str) {
        self.unmapped.push(format!("{cite}: {why}"));
    }

    fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|note| note == text) {
            self.notes.push(text.to_owned());
        }
    }

    /// A rule as TOML.
    fn put(&mut self, patterns: &[String], accept: &str, cite: &str, says: &str) {
        let images = words::toml_array(patterns.iter().map(String::as_str));
        let reason = words::toml(&format!("{}, {cite}: {says}", self.file));
        self.rules.push_str(&format!(
            "\n[[trust]]\nimage = {images}\naccept = {accept}\nreason = {reason}\n"
        ));
    }

    /// The rules of a scope.
    fn rule(
        &mut self,
        patterns: &[String],
        from: From<'_>,
        cite: &str,
        scope: &str,
        requirements: &[Requirement],
    ) {
        let says: Vec<&str> = requirements.iter().map(Requirement::kind).collect();
        let mut says = says.join(" and ");
        match self.effect(from, cite, requirements) {
            Ok(Effect::Tofu) => {
                self.note(TOFU);
                self.put(patterns, "\"tofu\"", cite, &says);
            }
            Ok(Effect::Reject) => self.put(patterns, "\"reject\"", cite, &says),
            Ok(Effect::Signed(all)) if from == From::Disk => {
                debug_assert!(!all.is_empty());
                self.note(
                    "sigstoreSigned rejects images on disk, beside which containers' programs find \
                     no signatures: so it does here",
                );
                says.push_str(", and images on disk have no signatures");
                self.put(patterns, "\"reject\"", cite, &says);
            }
            Ok(Effect::Signed(all)) => {
                self.note(NAMES);
                if !self.registries.attachments(scope) {
                    self.notes.push(format!(
                        "{cite}: registries.d does not say use-sigstore-attachments: true for it, so \
                         containers' programs find no signatures there and refuse; lazaret looks for \
                         them"
                    ));
                }
                for accept in all {
                    self.put(patterns, &accept, cite, &says);
                }
            }
            Err(why) => {
                self.unmapped(cite, &format!("{why}: rejected instead"));
                let says = format!("{says}, rejected because this cannot be said here: {why}");
                self.put(patterns, "\"reject\"", cite, &says);
            }
        }
    }

    /// What requirements come to together; an error: what of them cannot be said.
    fn effect(
        &mut self,
        from: From<'_>,
        cite: &str,
        requirements: &[Requirement],
    ) -> std::result::Result<Effect, String> {
        if requirements
            .iter()
            .any(|one| matches!(one, Requirement::Reject))
        {
            return Ok(Effect::Reject);
        }
        let mut signed = Vec::new();
        for requirement in requirements {
            match requirement {
                Requirement::Accept | Requirement::Reject => {}
                Requirement::Foreign { kind, why } => return Err(format!("{kind}: {why}")),
                // Nothing is found beside them, whoever should have signed.
                Requirement::Sigstore(_) if from == From::Disk => signed.push(String::new()),
                Requirement::Sigstore(one) => {
                    let accept = self.signed(from, cite, one)?;
                    if !signed.contains(&accept) {
                        signed.push(accept);
                    }
                }
            }
        }
        Ok(match signed.is_empty() {
            true => Effect::Tofu,
            false => Effect::Signed(signed),
        })
    }

    /// `{ signed = [...], names = "exact" }`.
    fn signed(
        &mut self,
        from: From<'_>,
        cite: &str,
        sigstore: &Sigstore,
    ) -> std::result::Result<String, String> {
        if let Some(why) = sigstore.beside {
            return Err(why.to_owned());
        }
        let names = names(from, &sigstore.identity)?;
        let mut known = Vec::new();
        let mut texts = Vec::new();
        let mut bad = Vec::new();
        for source in &sigstore.keys {
            let (key, text) = match self.key(source) {
                Ok(found) => found,
                Err(why) => {
                    bad.push(why);
                    continue;
                }
            };
            if !known.contains(&key.fingerprint) {
                known.push(key.fingerprint);
                texts.push(text);
            }
        }
        match texts.len() {
            0 => return Err(bad.join("; ")),
            1..=MAX_SIGNERS => {}
            count => return Err(format!("{count} keys, more than {MAX_SIGNERS}")),
        }
        // Of several keys any is enough: without one there are fewer.
        for why in bad {
            self.unmapped(cite, &format!("{why}: this key is left out"));
        }
        if names == Names::Repository {
            self.note(OTHER_TAG);
        }
        let names = names.written();
        Ok(format!("{{ signed = [{}]{names} }}", texts.join(", ")))
    }

    /// A key, and how a policy names it.
    fn key(&self, source: &KeySource) -> std::result::Result<(Key, String), String> {
        let (name, bytes, path) = match source {
            KeySource::Data(bytes) => ("keyData", bytes, None),
            KeySource::Path(path) => {
                let shown = words::shown(path);
                let clean = |part: &str| !matches!(part, "" | "." | "..");
                let rest = path.strip_prefix('/');
                if !rest.is_some_and(|rest| rest.split('/').all(clean)) {
                    return Err(format!(
                        "key {shown}: it is no absolute path without . and .., and would be another \
                         file from another folder"
                    ));
                }
                match self.keys.get(path) {
                    Some(Ok(bytes)) => (path.as_str(), bytes, Some(path)),
                    Some(Err(why)) => return Err(format!("key {shown}: {why}")),
                    None => return Err(format!("key {shown}: it was not read")),
                }
            }
        };
        let key = Key::from_pem(&words::shown(name), bytes).map_err(|e| e.cause)?;
        let text = match path {
            Some(path) => words::toml(path),
            None => format!("\"\"\"\n{}\"\"\"", pem(bytes)),
        };
        Ok((key, text))
    }

    fn done(self) -> Imported {
        let mut toml = format!("# Made out of {} by `lazaret policy import`.\n", self.file);
        for (word, lines) in [("note", &self.notes), ("not mapped", &self.unmapped)] {
            for line in lines {
                toml.push_str(&format!("# {word}: {}\n", words::comment(line)));
            }
        }
        toml.push_str("\nversion = 1\nextends = \"strict\"\n");
        toml.push_str(&self.rules);
        Imported {
            toml,
            notes: self.notes,
            unmapped: self.unmapped,
        }
    }
}

impl Requirement {
    fn kind(&self) -> &'static str {
        match self {
            Self::Accept => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::Sigstore(_) => "sigstoreSigned",
            Self::Foreign { kind, .. } => kind,
        }
    }
}

/// What a signature must name, where there is a word for it: the image that is asked for.
fn names(from: From<'_>, identity: &Identity) -> std::result::Result<Names, String> {
    let tag = match from {
        From::Registry(tag) => tag,
        From::Disk => None,
    };
    let another = |what: &str| {
        Err(format!(
            "signedIdentity {what}: a signature names the image that is asked for, and no other"
        ))
    };
    match (identity, tag) {
        (Identity::MatchRepoDigestOrExact, _) => Ok(Names::Exact),
        (Identity::MatchRepository, _) => Ok(Names::Repository),
        // A rule about one tag is asked about by no digest alone.
        (Identity::MatchExact, Some(_)) => Ok(Names::Exact),
        (Identity::MatchExact, None) => Err(
            "signedIdentity matchExact: names = \"exact\" takes any tag of the repository where a \
             digest is asked for"
                .to_owned(),
        ),
        (Identity::ExactReference(name), Some((repository, tag)))
            if *name == format!("{repository}:{tag}") =>
        {
            Ok(Names::Exact)
        }
        (Identity::ExactRepository(name), Some((repository, _))) if name == repository => {
            Ok(Names::Repository)
        }
        (Identity::ExactReference(_), _) => another("exactReference"),
        (Identity::ExactRepository(_), _) => another("exactRepository"),
        (Identity::Remap, _) => another("remapIdentity"),
    }
}

/// A key that was read, as a PEM block of lines.
fn pem(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let text = words.join("\n");
    let text = text.replace("-----BEGIN\nPUBLIC\nKEY-----", "-----BEGIN PUBLIC KEY-----");
    let text = text.replace("-----END\nPUBLIC\nKEY-----", "-----END PUBLIC KEY-----");
    text + "\n"
}
