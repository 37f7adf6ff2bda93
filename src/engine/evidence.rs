//! What an image's signatures are worth, verified again each time that somebody asks.

use super::place;
use crate::error::Result;
use crate::image::{ImageName, Reference};
use crate::policy::{Admit, Policy, Reason, Seen, WantedSigners, admit};
use crate::store::source::SourceImage;
use crate::store::{KeptSignatures, Store};
use crate::trust::{Against, Attachments, Evidence, Failure, Fault, Key, Root};

/// Whom the rules about an image want to have signed it.
pub(super) struct Signers {
    name: ImageName,
    wanted: WantedSigners,
}

/// Where a registry's image comes from, whatever its tag: `docker.io/library/redis`.
pub(super) fn place_of(reference: &Reference) -> String {
    format!("{}/{}", reference.domain, reference.path)
}

impl Signers {
    /// Those of an image by its registry's name.
    pub(super) fn of(policy: &Policy, reference: &Reference) -> Self {
        Self::named(policy, &ImageName::Registry(reference.clone()))
    }

    /// Those of an image by any name.
    pub(super) fn named(policy: &Policy, name: &ImageName) -> Self {
        Self {
            name: name.clone(),
            wanted: policy.wanted_signers(name),
        }
    }

    /// Whether signatures need be looked for at all.
    pub(super) fn are_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// What is attached to an image with this manifest, held against them; `None`: nothing was asked
    /// for.
    pub(super) fn evidence(&self, attached: Option<&Attachments>, manifest: &[u8]) -> Evidence {
        let keys: Vec<&Key> = self.wanted.keys.iter().map(|key| &**key).collect();
        let roots: Vec<&Root> = self.wanted.roots.iter().map(|root| &**root).collect();
        let against = Against {
            keys: &keys,
            roots: &roots,
        };
        let reference = match &self.name {
            ImageName::Registry(reference) => Some(reference),
            _ => None,
        };
        attached.map_or_else(Evidence::default, |attached| {
            attached.evidence(manifest, reference, &against)
        })
    }

    /// As [`Signers::evidence`], of everything that is kept: what comes from where the name says
    /// first, then what the same image has elsewhere. `None`: nothing is kept.
    pub(super) fn of_kept(
        &self,
        kept: Option<&[KeptSignatures]>,
        manifest: &[u8],
    ) -> Option<Evidence> {
        let own = match &self.name {
            ImageName::Registry(reference) => place_of(reference),
            other => other.to_string(),
        };
        let mut places: Vec<&KeptSignatures> = kept?.iter().collect();
        places.sort_by_key(|place| place.from != own);
        let mut all = Evidence::default();
        for place in places {
            let evidence = self.evidence(Some(&place.attached), manifest);
            let (proofs, failures) = (evidence.proofs, evidence.failures);
            all.index = all.index.or(evidence.index);
            // The same signature in two places is one.
            for proof in proofs {
                if !all.proofs.contains(&proof) {
                    all.proofs.push(proof);
                }
            }
            for failure in failures {
                if !all.failures.contains(&failure) {
                    all.failures.push(failure);
                }
            }
        }
        Some(all)
    }
}

/// The evidence for an image under a name, by what is kept and what lies beside it. Nothing is read where no rule
/// wants a signature.
///
/// # Errors
/// As [`kept`].
pub(super) fn of(
    policy: &Policy,
    name: &ImageName,
    image: &SourceImage,
    store: &Store,
) -> Result<Evidence> {
    let signers = Signers::named(policy, name);
    if !signers.are_wanted() {
        return Ok(Evidence::default());
    }
    let kept = kept(image, store)?;
    let evidence = signers.of_kept(kept.as_deref(), &image.manifest_bytes);
    Ok(evidence.unwrap_or_else(|| none_kept(name)))
}

/// What the rules say of an image under a name, and by what.
pub(super) struct Judged {
    /// What its tag meant, if that is recorded.
    pub(super) seen: Option<Seen>,
    pub(super) evidence: Evidence,
    /// Why it is not let in; none: it is.
    pub(super) reasons: Vec<Reason>,
}

/// Decides on an image as it is here.
///
/// # Errors
/// As [`of`] and [`Store::seen`].
pub(super) fn judged(
    policy: &Policy,
    name: &ImageName,
    image: &SourceImage,
    store: &Store,
) -> Result<Judged> {
    let seen = place::seen(store, name)?;
    let evidence = of(policy, name, image, store)?;
    let (manifest, config, now) = (&image.manifest, &image.config, place::now());
    let admitted = admit(
        policy,
        name,
        manifest,
        config,
        seen.as_ref(),
        &evidence,
        now,
    );
    Ok(Judged {
        seen,
        evidence,
        reasons: match admitted {
            Admit::Go => Vec::new(),
            Admit::Deny(reasons) => reasons,
        },
    })
}

/// What the store keeps of an image's signatures, and what lies beside it on disk; `None`: neither.
///
/// # Errors
/// As [`Store::signatures`] and [`SourceImage::attached`].
pub(super) fn kept(image: &SourceImage, store: &Store) -> Result<Option<Vec<KeptSignatures>>> {
    let mut kept = store.signatures(&image.manifest.digest)?;
    if let Some(attached) = image.attached()? {
        kept.get_or_insert_default().push(KeptSignatures {
            from: image.canonical_name.clone(),
            fetched: place::now(),
            attached,
        });
    }
    Ok(kept)
}

/// What is to be said where nothing is kept.
pub(super) fn none_kept(name: &ImageName) -> Evidence {
    let mut evidence = Evidence::default();
    if matches!(name, ImageName::Registry(_)) {
        evidence.failures.push(Failure {
            which: None,
            fault: Fault::NotKept,
        });
    }
    evidence
}
