//! `lazaret trust`: who signed an image, what was found and proves nothing, and which rule lets it in.

use super::documents::{Believed, Documents};
use super::evidence::{self, Signers};
use super::policy::{answers, width};
use super::{TrustRequest, find, online, place, source};
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::image::{Digest, ImageConfig, ImageName, Manifest, Platform, Reference};
use crate::policy::{Admit, Ear, Heard, Reason, admit, time};
use crate::registry::{Client, Options};
use crate::report::{self, Format, clean, wrap};
use crate::store::source::SourceImage;
use crate::store::{KeptSignatures, Store};
use crate::trust::{Attachments, Evidence, Proof, Signer};
use std::fmt::Write as _;

/// Prints who signed an image of the store or on disk, and what each rule says to that. Exit code 0 if it may
/// come in, 1 if not. With `--fetch` the image is what its registry has: its signatures are kept
/// where the image is.
///
/// # Errors
/// `NotFound`: there is no such image here; `Store`, `Integrity`: what is kept is damaged; with
/// `--fetch` as `pull`.
pub fn trust(request: &TrustRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let looked = match request.fetch {
        true => fetched(request, store.as_ref())?,
        false => kept(&request.image, store.as_ref())?,
    };
    let policy = host::policy(None)?.policy;
    let signers = Signers::named(&policy, &looked.name);
    let evidence = signers.of_kept(looked.kept.as_deref(), &looked.manifest_bytes);
    let evidence = evidence.unwrap_or_else(|| evidence::none_kept(&looked.name));
    let seen = match &store {
        Some(store) => place::seen(store, &looked.name)?,
        None => None,
    };
    let ear = Ear::default();
    let policy = policy.heard_by(&ear);
    let admitted = admit(
        &policy,
        &looked.name,
        &looked.manifest,
        &looked.config,
        seen.as_ref(),
        &evidence,
        place::now(),
    );
    let reasons = match admitted {
        Admit::Go => Vec::new(),
        Admit::Deny(reasons) => reasons,
    };
    let told = Told {
        looked,
        wanted: signers.are_wanted(),
        evidence,
        heard: ear.take(),
        reasons,
    };
    report::stdout(&match request.format {
        Format::Text => told.text(),
        Format::Json => report::json_pretty(&told.json()) + "\n",
    })?;
    Ok(u8::from(!told.reasons.is_empty()))
}

/// An image with all that is attached to it.
struct Looked {
    name: ImageName,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    config: ImageConfig,
    /// `None`: nobody has asked.
    kept: Option<Vec<KeptSignatures>>,
}

fn kept(text: &str, store: Option<&Store>) -> Result<Looked> {
    let none = |e: Error| match e.kind {
        Kind::NotFound => e.hint(format!(
            "lazaret trust --fetch {text} asks its registry, and fetches no layer"
        )),
        _ => e,
    };
    let named = ImageName::parse(text).ok();
    if let Some(
        name @ (ImageName::OciDir { .. }
        | ImageName::OciArchive { .. }
        | ImageName::DockerArchive { .. }),
    ) = &named
    {
        let store = place::open_store()?;
        let map = place::own_map(Some(&store))?;
        let image = source::resolve(name, &Platform::native(), &store, &map)?;
        let meant = source::meant(name, &image)?;
        return looked(meant.unwrap_or_else(|| name.clone()), image, &store);
    }
    let found = find::image(store, text).map_err(none)?;
    let (Some(store), Some(entry)) = (store, found.entries.first()) else {
        return Err(Error::new(Kind::NotFound, "there is no such image"));
    };
    let image = store.image(&entry.reference)?;
    let name = match named.filter(|_| found.by_name) {
        Some(name @ ImageName::Registry(_)) => name,
        _ => ImageName::parse(&entry.reference.name)?,
    };
    looked(name, image, store)
}

fn looked(name: ImageName, image: SourceImage, store: &Store) -> Result<Looked> {
    Ok(Looked {
        name,
        kept: evidence::kept(&image, store)?,
        manifest: (*image.manifest).clone(),
        manifest_bytes: image.manifest_bytes,
        config: (*image.config).clone(),
    })
}

/// What the worker found out, not yet believed.
#[derive(serde::Serialize, serde::Deserialize)]
struct There {
    documents: Documents,
    attached: Attachments,
}

/// In the worker.
fn ask(options: &Options, name: &Reference) -> Result<There> {
    let mut client = Client::new(options)?;
    let (documents, manifest) = Documents::fetch(&mut client, name, &Platform::native())?;
    let index = documents.index.as_ref().map(|index| index.0.clone());
    Ok(There {
        attached: client.signatures(name, &manifest.digest, index)?,
        documents,
    })
}

fn fetched(request: &TrustRequest, store: Option<&Store>) -> Result<Looked> {
    let reference = match ImageName::parse(&request.image)? {
        ImageName::Registry(reference) => reference,
        other => {
            let cause = format!("{other} is no name of a registry's image");
            return Err(Error::new(Kind::Usage, cause).hint("leave out --fetch"));
        }
    };
    let options = online::options(&reference.domain, &reference.path, &request.insecure)?;
    let there: There = online::ask(|| ask(&options, &reference))?;
    let Believed {
        manifest, config, ..
    } = there.documents.believed(&reference)?;
    let (from, now) = (evidence::place_of(&reference), place::now());
    if let Some(store) = store
        && store.refs()?.iter().any(|r| r.manifest == manifest.digest)
    {
        store.keep_signatures(&manifest.digest, &from, &there.attached, now)?;
    }
    Ok(Looked {
        name: ImageName::Registry(reference),
        config: (*config).clone(),
        manifest,
        manifest_bytes: there.documents.manifest.0,
        kept: Some(vec![KeptSignatures {
            from,
            fetched: now,
            attached: there.attached,
        }]),
    })
}

/// What is printed.
struct Told {
    looked: Looked,
    /// A rule wants signatures of this image.
    wanted: bool,
    evidence: Evidence,
    heard: Vec<Heard>,
    reasons: Vec<Reason>,
}

impl Told {
    fn json(&self) -> serde_json::Value {
        let failures = self.evidence.failures.iter();
        let failures = failures.map(|failure| {
            serde_json::json!({ "which": failure.which, "why": failure.fault.to_string() })
        });
        let places = self.looked.kept.iter().flatten();
        let places = places.map(|place| {
            let found: Vec<_> = place
                .attached
                .found
                .iter()
                .map(|one| {
                    serde_json::json!({
                        "manifest": Digest::of(&one.manifest.0), "over": one.over, "how": one.how,
                    })
                })
                .collect();
            serde_json::json!({ "from": place.from, "fetched": place.fetched, "found": found })
        });
        serde_json::json!({
            "image": self.looked.name.to_string(),
            "manifest": self.looked.manifest.digest,
            "index": self.evidence.index,
            "fetched": self.looked.kept.is_some(),
            "places": places.collect::<Vec<_>>(),
            "wanted": self.wanted,
            "proofs": self.evidence.proofs,
            "failures": failures.collect::<Vec<_>>(),
            "rules": self.heard.iter().flat_map(|one| &one.answers).collect::<Vec<_>>(),
            "accepted": self.reasons.is_empty(),
            "reasons": self.reasons,
        })
    }

    fn text(&self) -> String {
        let width = width();
        // Writing to a String cannot fail.
        let mut out = format!(
            "image     {}\nmanifest  {}\n",
            clean(&self.looked.name.to_string()),
            self.looked.manifest.digest
        );
        if let Some(index) = self.evidence.index {
            let _infallible = writeln!(out, "index     {index}");
        }
        let kept = self.looked.kept.iter().flatten();
        for place in kept {
            let _infallible = writeln!(
                out,
                "asked     {} on {}",
                clean(&place.from),
                time(place.fetched)
            );
        }
        let mut line = |text: &str| {
            let _infallible = writeln!(out, "  {}", wrap(&clean(text), width, 2, 6));
        };
        if self.looked.kept.is_none() {
            let name = clean(&self.looked.name.to_string()).into_owned();
            line(&format!(
                "no signatures are kept: lazaret trust --fetch {name} asks for them"
            ));
        } else if !self.wanted {
            line("no rule wants it signed, so there is no key to hold a signature against");
        }
        out.push_str("\nsigned by\n");
        list(
            &mut out,
            width,
            self.evidence.proofs.iter().map(|proof| self.proof(proof)),
        );
        let failures = self.evidence.failures.iter();
        let failures: Vec<String> = failures
            .filter(|_| self.looked.kept.is_some())
            .map(ToString::to_string)
            .collect();
        if !failures.is_empty() {
            out.push_str("\nfound, and proves nothing\n");
            list(&mut out, width, failures.into_iter());
        }
        out.push_str("\nrules\n");
        for heard in &self.heard {
            answers(&mut out, &heard.answers, width);
        }
        out.push_str(match self.reasons.is_empty() {
            true => "\naccepted\n",
            false => "\nnot accepted:\n",
        });
        for reason in &self.reasons {
            let text = format!("{} ({}): {}", reason.asked, reason.origin, reason.why);
            let _infallible = writeln!(out, "  {}", wrap(&clean(&text), width, 2, 4));
            for cure in &reason.cure {
                let _infallible = writeln!(out, "    {}", clean(cure));
            }
        }
        out
    }

    fn proof(&self, proof: &Proof) -> String {
        let who = match &proof.signer {
            Signer::Key { name, fingerprint } => format!("the key {name} ({fingerprint})"),
            Signer::Identity {
                issuer, identity, ..
            } => format!("{} of {issuer}", identity.as_str()),
        };
        let over = match proof.about == self.looked.manifest.digest {
            true => "manifest",
            false => "index",
        };
        let mut text = format!("{who}: {}, about the {over}", proof.form);
        if let Some(reference) = &proof.reference {
            text.push_str(&format!(", for {reference}"));
        }
        if let Some(kind) = &proof.attests {
            text.push_str(&format!(", attests {kind}"));
        }
        match proof.when {
            Some(when) => text.push_str(&format!(", on {}", time(when))),
            None => text.push_str(", nobody vouches when"),
        }
        text
    }
}

/// A line for each, or that there is none.
fn list(out: &mut String, width: usize, lines: impl Iterator<Item = String>) {
    let before = out.len();
    for line in lines {
        let _infallible = writeln!(out, "  {}", wrap(&clean(&line), width, 2, 6));
    }
    if out.len() == before {
        out.push_str("  nobody\n");
    }
}
