//! What the store keeps of an image's signatures, sent behind the image that was pushed.

use crate::engine::{PushRequest, evidence, online};
use crate::error::{Context, Error, Kind, Result};
use crate::image::quote::quoted;
use crate::image::{Digest, Reference};
use crate::registry::{Attached, Client, Options};
use crate::report;
use crate::store::{KeptSignatures, Store};
use crate::trust::{Carried, Over, carried_from};
use rustix::fs::MemfdFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, RawFd};

/// What goes along.
pub(super) struct Signatures<'a> {
    all: Vec<Carried<'a>>,
    /// The repository of the same registry that has each blob.
    from: BTreeMap<Digest, String>,
    subject: Digest,
    /// An index that has signatures of its own.
    over_index: Option<Digest>,
}

impl<'a> Signatures<'a> {
    /// Those that are about the manifest that is pushed: first what comes from where it goes.
    ///
    /// # Errors
    /// `Store`: a part of one is not kept, so that it cannot be sent as it came.
    pub(super) fn of(
        kept: &'a [KeptSignatures],
        reference: &Reference,
        subject: &Digest,
    ) -> Result<Self> {
        let own = evidence::place_of(reference);
        let mut places: Vec<&KeptSignatures> = kept.iter().collect();
        places.sort_by_key(|place| place.from != own);
        let attached = places.iter().map(|place| &place.attached);
        let carried =
            carried_from(attached, Over::Manifest, subject).map_err(|(which, fault)| {
                let cause = format!("the signature {which} cannot be sent as it came: {fault}");
                Error::new(Kind::Store, cause).hint(
                    "nothing was sent; `lazaret pull IMAGE` fetches all of it again, and \
                 --remove-signatures leaves signatures out",
                )
            })?;
        let mut from = BTreeMap::new();
        let own_registry = format!("{}/", reference.domain);
        for (place, one) in &carried {
            let there = places.get(*place).map(|place| place.from.as_str());
            let path = there.and_then(|there| there.strip_prefix(&own_registry));
            if let Some(path) = path.filter(|path| *path != reference.path) {
                let blobs = one.blobs.iter();
                from.extend(blobs.map(|(blob, _)| (blob.digest, path.to_owned())));
            }
        }
        let indexed = places.iter().rev().find(|place| {
            let mut found = place.attached.found.iter();
            found.any(|one| one.over == Over::Index)
        });
        let index = indexed.and_then(|place| place.attached.index.as_ref());
        Ok(Self {
            all: carried.into_iter().map(|(_, one)| one).collect(),
            from,
            subject: *subject,
            over_index: index.map(|index| Digest::of(&index.0)),
        })
    }

    /// Sends them, and says what was sent, and what of it proves less than it did.
    ///
    /// # Errors
    /// The registry's, in words that say that the image itself is there.
    pub(super) fn send(
        &self,
        store: &Store,
        options: &Options,
        request: &PushRequest,
    ) -> Result<()> {
        if let Some(index) = &self.over_index {
            report::note(&format!(
                "signatures over the index {index} stay here: the index itself is not pushed"
            ));
        }
        if self.all.is_empty() {
            return Ok(());
        }
        let reference = &request.reference;
        let done = self.sent(store, options, reference).map_err(|e| {
            e.context("the image is pushed, and its signatures are not, or not all of them")
        })?;
        if !request.quiet {
            report::stderr(&format!("Signatures: {}\n", words(&done)));
        }
        let repository = evidence::place_of(reference);
        for one in &self.all {
            for other in one.names_other_than(&repository) {
                report::note(&format!(
                    "a signature is in the name of {}, and proves nothing under {repository}",
                    quoted(&other)
                ));
            }
        }
        Ok(())
    }

    fn sent(&self, store: &Store, options: &Options, reference: &Reference) -> Result<Attached> {
        let mut files = BTreeMap::new();
        for (blob, bytes) in self.all.iter().flat_map(|one| &one.blobs) {
            files.insert(blob.digest, in_memory(bytes)?);
        }
        let keep: Vec<RawFd> = files.values().map(File::as_raw_fd).collect();
        let file = |digest: &Digest| {
            let from = self.from.get(digest).map(String::as_str);
            files.get(digest).map(|file| (file, from))
        };
        online::ask_with(store, &keep, || {
            let mut client = Client::new(options)?;
            client.send_attached(reference, &self.subject, &self.all, &file)
        })
    }
}

/// A file without a name that holds these bytes.
fn in_memory(bytes: &[u8]) -> Result<File> {
    let fd = rustix::fs::memfd_create("signature", MemfdFlags::CLOEXEC)
        .or_call(|| "memfd_create \"signature\"")?;
    let mut file = File::from(fd);
    file.write_all(bytes).or_call(|| "write to a memfd")?;
    Ok(file)
}

fn words(done: &Attached) -> String {
    let parts = [
        (done.tagged, "under cosign's tag"),
        (done.listed, "among the registry's referrers"),
        (done.fallback, "in the list of referrers under its tag"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(n, where_)| format!("{n} {where_}")).collect();
    let there = match done.there {
        0 => String::new(),
        there => format!(" ({there} there already)"),
    };
    parts.join(", ") + &there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_counted_by_where_it_is() {
        let done = Attached {
            tagged: 1,
            listed: 0,
            fallback: 2,
            there: 1,
        };
        assert_eq!(
            words(&done),
            "1 under cosign's tag, 2 in the list of referrers under its tag (1 there already)"
        );
    }
}
