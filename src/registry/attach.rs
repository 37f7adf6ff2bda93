//! What is attached to an image to a registry, behind the image itself (OCI distribution-spec 1.1,
//! "Pushing Manifests with Subject"): cosign's tag as it came, and referrers by their digests. A
//! registry that does not say `OCI-Subject` keeps no list of them, so the list under the fallback tag
//! is ours to extend.
//!
//! What somebody else has put under either tag is never dropped: two that extend the list at the
//! same moment may lose one's entry, as the specification knows, and then a second push adds it.

use super::{Client, Digest, MediaKind, Reference};
use crate::error::{Error, Kind, Result};
use crate::image::Descriptor;
use crate::trust::{self, Carried, Keeping, REFERRERS_LIST, There};
use std::fs::File;

/// What a registry that keeps the list of referrers says (lower case, as headers are compared).
const SUBJECT: &str = "oci-subject";

/// What became of what was to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attached {
    /// Manifests under cosign's tag.
    pub tagged: usize,
    /// Manifests that the registry lists by itself.
    pub listed: usize,
    /// Manifests in the list under the fallback tag.
    pub fallback: usize,
    /// Of all these, those that were there already, under the tag or in the list.
    pub there: usize,
}

/// The bytes of a blob, and a repository of the same registry that may have it.
pub type Bytes<'a> = (&'a File, Option<&'a str>);

impl Client {
    /// Sends what is attached to the manifest `subject`, which `to`'s repository has. `file` finds the
    /// bytes of a blob.
    ///
    /// # Errors
    /// `Registry`: under cosign's tag are signatures that would be lost, or what is under the fallback
    /// tag is no list; else as [`Client::send_blob`]. What was sent before stays.
    pub fn send_attached<'f>(
        &mut self,
        to: &Reference,
        subject: &Digest,
        all: &[Carried<'_>],
        file: &dyn Fn(&Digest) -> Option<Bytes<'f>>,
    ) -> Result<Attached> {
        let mut done = Attached::default();
        let mut unlisted = Vec::new();
        for one in all {
            if one.keeping == Keeping::Tag {
                done.tagged += 1;
                done.there += usize::from(!self.send_tagged(to, subject, one, file)?);
                continue;
            }
            self.send_parts(to, one, file)?;
            let reply = self.put(
                to,
                &one.digest.to_string(),
                one.manifest,
                &one.parts.media_type,
            )?;
            match reply.header(SUBJECT) == subject.to_string() {
                true => done.listed += 1,
                false => unlisted.push(one),
            }
        }
        if !unlisted.is_empty() {
            done.fallback = unlisted.len();
            done.there += self.extend_list(to, subject, &unlisted)?;
        }
        Ok(done)
    }

    /// Puts what is kept under cosign's tag there; `false`: all of it is there already.
    fn send_tagged<'f>(
        &mut self,
        to: &Reference,
        subject: &Digest,
        one: &Carried<'_>,
        file: &dyn Fn(&Digest) -> Option<Bytes<'f>>,
    ) -> Result<bool> {
        let tag = trust::signature_tag(subject);
        let old = self.own(to, &tag)?;
        match old.map(|(old, _)| trust::there(&old, &one.parts)) {
            Some(There::Covers) => return Ok(false),
            Some(There::Other) => return Err(would_be_lost(to, &tag)),
            Some(There::Less) | None => {}
        }
        self.send_parts(to, one, file)?;
        self.put(to, &tag, one.manifest, &one.parts.media_type)?;
        Ok(true)
    }

    fn send_parts<'f>(
        &mut self,
        to: &Reference,
        one: &Carried<'_>,
        file: &dyn Fn(&Digest) -> Option<Bytes<'f>>,
    ) -> Result<()> {
        for (blob, _) in &one.blobs {
            let blob: &Descriptor = blob;
            let (bytes, from) = file(&blob.digest).ok_or_else(|| {
                let cause = format!("the blob {} was not handed in", blob.digest);
                Error::new(Kind::Worker, cause)
            })?;
            self.send_blob(to, blob, from, bytes, &mut |_| {})?;
        }
        Ok(())
    }

    /// How many the list had already.
    fn extend_list(
        &mut self,
        to: &Reference,
        subject: &Digest,
        new: &[&Carried<'_>],
    ) -> Result<usize> {
        let tag = trust::referrers_tag(subject);
        let old = self.own(to, &tag)?;
        let wrong = |why: String| {
            let cause = format!(
                "the list of referrers {}/{}:{tag}: {why}",
                to.domain, to.path
            );
            Error::new(Kind::Registry, cause).hint("it is left as it is")
        };
        if let Some((_, media_type)) = &old
            && MediaKind::of(media_type) != MediaKind::Index
        {
            return Err(wrong("it is no list".to_owned()));
        }
        let old = old.map(|(bytes, _)| bytes);
        let had = |one: &&&Carried<'_>| {
            let digest = one.digest.to_string();
            let listed = old.as_deref().map(String::from_utf8_lossy);
            listed.is_some_and(|list| list.contains(&digest))
        };
        let before = new.iter().filter(had).count();
        match trust::list_with(old.as_deref(), new) {
            Err(fault) => Err(wrong(fault.to_string())),
            Ok(None) => Ok(before),
            Ok(Some(list)) => {
                self.put(to, &tag, &list, REFERRERS_LIST)?;
                Ok(before)
            }
        }
    }

    /// What the registry itself has under a tag: what is written there is compared with that, and not
    /// with a mirror's.
    fn own(&mut self, to: &Reference, tag: &str) -> Result<Option<(Vec<u8>, String)>> {
        let named = Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..to.clone()
        };
        match self.document(&named, None) {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn would_be_lost(to: &Reference, tag: &str) -> Error {
    let cause = format!(
        "{}/{}:{tag} has signatures that are not kept here, and would be lost",
        to.domain, to.path
    );
    Error::new(Kind::Registry, cause).hint(
        "pull the image from there under a rule that wants signatures, and push again; or leave \
         signatures out: --remove-signatures",
    )
}
