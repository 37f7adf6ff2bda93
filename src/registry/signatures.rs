//! What a registry keeps beside an image: signatures by cosign's tag, by the referrers API of OCI's
//! distribution-spec 1.1, and by its fallback tag. A registry that knows none of them has none.
//!
//! What is about one signature, a wrong digest or too many bytes, is that one's failure and brings
//! the others nevertheless; what keeps the registry from answering is an error.

use super::exchange::{Errand, To};
use super::http::Ask;
use super::retry::Retries;
use super::{Client, Scope};
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest, MediaKind, Reference};
use crate::trust::{
    self, Attachments, Collector, Fault, How, MAX_SIGNATURES, Over, REFERRERS_LIST,
};
use ureq::http::header::LINK;

/// The most pages of one list.
const MAX_PAGES: usize = 16;

/// What one thing came to: it is there, it is none that is taken, or there is none.
type Taken<T> = Option<std::result::Result<T, Fault>>;

impl Client {
    /// Brings what is attached to an image's manifest, and to the index that it was taken out of.
    ///
    /// # Errors
    /// `Credentials`, `Registry`: there is no answer, which is not the same as no signature.
    pub fn signatures(
        &mut self,
        from: &Reference,
        manifest: &Digest,
        index: Option<Vec<u8>>,
    ) -> Result<Attachments> {
        let mut collected = Collector::default();
        self.attached(from, Over::Manifest, manifest, &mut collected)?;
        if let Some(index) = &index {
            self.attached(from, Over::Index, &Digest::of(index), &mut collected)?;
        }
        Ok(collected.finish(index))
    }

    /// The bytes of an index or manifest by its digest.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn by_digest(&mut self, from: &Reference, digest: &Digest) -> Result<Vec<u8>> {
        let named = Reference {
            digest: Some(*digest),
            ..from.clone()
        };
        let (bytes, _) = self.anywhere(&named, |client, at| client.document(at, None))?;
        Ok(bytes)
    }

    fn attached(
        &mut self,
        from: &Reference,
        over: Over,
        digest: &Digest,
        collected: &mut Collector,
    ) -> Result<()> {
        match self.tagged(from, trust::signature_tag(digest))? {
            None => {}
            Some(Err(fault)) => collected.untaken(None, &fault),
            Some(Ok(bytes)) => {
                self.take(from, (over, How::Tag), bytes, collected)?;
            }
        }
        let (how, listed) = match self.referrers(from, digest)? {
            Some(listed) => (How::Referrers, Some(listed)),
            None => {
                let list = self.tagged(from, trust::referrers_tag(digest))?;
                let listed = list.map(|list| list.and_then(|list| trust::referrers(&list)));
                (How::Fallback, listed)
            }
        };
        let listed = match listed {
            None => Vec::new(),
            Some(Ok(listed)) => listed,
            Some(Err(fault)) => {
                collected.untaken(None, &fault);
                Vec::new()
            }
        };
        for entry in &listed {
            let named = |client: &mut Self, at: &Reference| client.document(at, Some(entry));
            match itself(self.anywhere(from, named))? {
                Err(fault) => collected.untaken(Some(entry.digest), &fault),
                Ok((bytes, _)) => self.take(from, (over, how), bytes, collected)?,
            }
        }
        collected.end(over);
        Ok(())
    }

    /// Takes in an attached manifest with the signatures that it names.
    fn take(
        &mut self,
        from: &Reference,
        (over, how): (Over, How),
        manifest: Vec<u8>,
        collected: &mut Collector,
    ) -> Result<()> {
        collected.take(over, how, manifest, |blob| {
            let mut bytes = Vec::new();
            let brought = self.blob(from, blob, &mut bytes, &mut |_| {});
            Ok(itself(brought)?.map(|()| bytes))
        })
    }

    /// The document under a tag of the same repository.
    fn tagged(&mut self, from: &Reference, tag: String) -> Result<Taken<Vec<u8>>> {
        let named = Reference {
            tag: Some(tag),
            digest: None,
            ..from.clone()
        };
        match self.anywhere(&named, |client, at| client.document(at, None)) {
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            other => Ok(Some(itself(other)?.map(|(bytes, _)| bytes))),
        }
    }

    /// What the referrers API lists; `None`: the registry has no such API.
    fn referrers(&mut self, from: &Reference, digest: &Digest) -> Result<Taken<Vec<Descriptor>>> {
        let listed = self.anywhere(from, |client, at| {
            let listed = client.referrers_at(at, digest)?;
            let own = at.domain == from.domain && at.path == from.path;
            // A mirror that knows of none has perhaps never asked.
            let none = listed.as_ref().is_ok_and(Vec::is_empty);
            match none && !own {
                true => Err(Error::new(Kind::NotFound, "it lists nothing")),
                false => Ok(listed),
            }
        });
        match listed {
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
            Ok(listed) => Ok(Some(listed)),
        }
    }

    fn referrers_at(
        &mut self,
        from: &Reference,
        digest: &Digest,
    ) -> Result<std::result::Result<Vec<Descriptor>, Fault>> {
        let what = format!("signatures of {from}");
        let path = format!("/v2/{}/referrers/{digest}", from.path);
        let scope = Scope::Pull(from.path.clone());
        let (mut all, mut query) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let path = format!("{path}{query}");
            let errand = Errand {
                domain: &from.domain,
                what: &what,
                scope: &scope,
                to: To::Path(&path),
                aside: false,
                // How registries say that they do not know it.
                answers: |status| matches!(status, 200 | 400 | 404 | 405 | 501),
            };
            let mut retries = Retries::new(&self.limits);
            let reply = self.exchange(&errand, &mut retries, &mut |http, at, authorization| {
                let ask = Ask {
                    accept: REFERRERS_LIST,
                    authorization,
                    ..Ask::default()
                };
                http.get(&at.url, ask)
            })?;
            if reply.status != 200 || MediaKind::of(reply.media_type()) != MediaKind::Index {
                return Err(Error::new(Kind::NotFound, "it has no referrers API"));
            }
            let next = next_page(reply.header(LINK));
            let list = reply.read(self.limits.manifest, "list of referrers");
            let list = match itself(list.map_err(super::failure::Trouble::error))? {
                Ok(list) => list,
                Err(fault) => return Ok(Err(fault)),
            };
            match trust::referrers(&list) {
                Ok(listed) => all.extend(listed),
                Err(fault) => return Ok(Err(fault)),
            }
            if all.len() > MAX_SIGNATURES {
                return Ok(Err(Fault::TooMany(all.len())));
            }
            match next {
                Some(next) => query = next,
                None => return Ok(Ok(all)),
            }
        }
        let cause = format!("the list of referrers has more than {MAX_PAGES} pages");
        Ok(Err(Fault::Malformed(cause)))
    }
}

/// Parts what is wrong with the bytes of one thing, which is its own failure, from what keeps the
/// registry from answering.
fn itself<T>(done: Result<T>) -> Result<std::result::Result<T, Fault>> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(e) => match e.kind {
            Kind::Integrity
            | Kind::Malformed
            | Kind::Limit
            | Kind::NotFound
            | Kind::Unsupported
            | Kind::Platform => Ok(Err(Fault::Untaken(e.cause))),
            _ => Err(e),
        },
    }
}

/// The query of the next page (RFC 8288): where it is asked for we say ourselves; a link may lead
/// anywhere.
fn next_page(link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = rest.split(';').any(|parameter| {
        let parameter = parameter.trim().replace('"', "");
        parameter.eq_ignore_ascii_case("rel=next")
    });
    let (_, query) = target.split_once('?')?;
    let plain = query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    (is_next && plain).then(|| format!("?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_link_only_its_query_is_followed() {
        for (link, query) in [
            (
                "</v2/x/referrers/d?n=5&last=a>; rel=\"next\"",
                Some("?n=5&last=a"),
            ),
            (
                "<https://evil.example/y?token=1>; rel=next",
                Some("?token=1"),
            ),
            ("</v2/x/referrers/d?n=5>; rel=\"prev\"", None),
            ("</v2/x/referrers/d>; rel=\"next\"", None),
            ("</v2/x?a b>; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(link).as_deref(), query, "{link}");
        }
    }
}
