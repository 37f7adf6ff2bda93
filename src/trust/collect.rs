//! Taking together what is attached to one image, within bounds.

use super::{Attachment, Attachments, Bytes, Fault, How, MAX_ATTACHED, MAX_SIGNATURES, Over};
use super::{EMPTY_CONFIG, MAX_ATTACHED_CONFIG, Untaken, attached, parts};
use crate::image::{Descriptor, Digest};

/// What has been found of one image so far.
#[derive(Debug)]
pub struct Collector {
    all: Attachments,
    /// Bytes that may still come.
    left: u64,
    /// Signatures over what is looked at now.
    count: usize,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            all: Attachments::default(),
            left: MAX_ATTACHED,
            count: 0,
        }
    }
}

impl Collector {
    /// Says that something is not taken.
    pub fn untaken(&mut self, which: Option<Digest>, fault: &Fault) {
        self.all.untaken.push(Untaken {
            which,
            why: fault.to_string(),
        });
    }

    /// Takes in an attached manifest with the signatures that it names, which `bring` brings.
    ///
    /// # Errors
    /// `bring`'s, where it cannot go on; what is about one blob is a fault.
    pub fn take<E>(
        &mut self,
        over: Over,
        how: How,
        manifest: Vec<u8>,
        mut bring: impl FnMut(&Descriptor) -> Result<Result<Vec<u8>, Fault>, E>,
    ) -> Result<(), E> {
        let which = Digest::of(&manifest);
        let known = |one: &Attachment| one.over == over && one.manifest.0 == manifest;
        if self.all.found.iter().any(known) || !self.fits(which, manifest.len() as u64) {
            return Ok(());
        }
        let attached = match attached(&manifest) {
            Ok(attached) => attached,
            Err(fault) => {
                self.untaken(Some(which), &fault);
                return Ok(());
            }
        };
        let here = attached.blobs().count();
        if here == 0 && how == How::Tag {
            let none = "there is no signature where cosign keeps them".to_owned();
            self.untaken(Some(which), &Fault::Malformed(none));
        }
        self.count += here;
        if here == 0 || self.count > MAX_SIGNATURES {
            return Ok(());
        }
        let mut blobs = Vec::with_capacity(here);
        for blob in attached.blobs() {
            if !self.fits(blob.digest, blob.size) {
                continue;
            }
            match bring(blob)? {
                Ok(bytes) => blobs.push(Bytes(bytes)),
                Err(fault) => self.untaken(Some(blob.digest), &fault),
            }
        }
        // Nobody needs the config to verify anything, and nobody can carry the manifest on without it.
        if let Ok(parts) = parts(&manifest)
            && parts.config.digest != Digest::of(EMPTY_CONFIG)
            && parts.config.size <= MAX_ATTACHED_CONFIG.min(self.left)
        {
            self.left -= parts.config.size;
            if let Ok(bytes) = bring(&parts.config)? {
                blobs.push(Bytes(bytes));
            }
        }
        self.all.found.push(Attachment {
            over,
            how,
            manifest: Bytes(manifest),
            blobs,
        });
        Ok(())
    }

    /// Ends what is over the one or the other: of too many none is looked at, and which ones came
    /// first is a stranger's choice.
    pub fn end(&mut self, over: Over) {
        let count = std::mem::take(&mut self.count);
        if count > MAX_SIGNATURES {
            self.all.found.retain(|one| one.over != over);
            self.untaken(None, &Fault::TooMany(count));
        }
    }

    /// All of it; `index`: what the image was taken out of.
    pub fn finish(mut self, index: Option<Vec<u8>>) -> Attachments {
        self.all.index = index.map(Bytes);
        self.all
    }

    /// Counts bytes that are about to come. Whether they may.
    fn fits(&mut self, which: Digest, bytes: u64) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                let why = format!("all signatures together have more than {MAX_ATTACHED} bytes");
                self.untaken(Some(which), &Fault::Malformed(why));
                false
            }
        }
    }
}
