//! What a registry holds that takes what is pushed to it.

use super::{Answer, Asked, Registry, sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// The shelf; clones are the same one.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Held>>);

/// Repositories are `lab/img`, digests `sha256:...`.
#[derive(Default)]
pub struct Held {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Which repositories have a blob.
    pub has: BTreeSet<(String, String)>,
    /// By repository and tag or digest: media type and bytes.
    pub manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    /// It keeps the list of referrers by itself.
    pub api: bool,
    sessions: usize,
}

impl Shelf {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    /// A registry that holds this, except where `instead` answers.
    pub fn registry(
        &self,
        instead: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Registry {
        let shelf = self.clone();
        Registry::new(move |asked, count| {
            instead(asked, count).unwrap_or_else(|| shelf.answer(asked))
        })
    }

    /// What a registry that means well answers (OCI distribution-spec, "Push" and "Pull").
    pub fn answer(&self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let of = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.replace("%3A", ":"))
        };
        let gone = || Answer::new(404, &["Content-Type: application/json"], "{}");
        let Some(rest) = path.strip_prefix("/v2/") else {
            return gone();
        };
        if rest.is_empty() {
            return Answer::new(200, &[], "{}");
        }
        let mut held = self.held();
        if let Some((repository, name)) = rest.split_once("/manifests/") {
            return match asked.method.as_str() {
                "PUT" => held.take(repository, name, asked),
                _ => held.document(repository, name),
            };
        }
        let Some((repository, what)) = rest.split_once("/blobs/") else {
            return gone();
        };
        let has = |held: &Held, repository: &str, digest: &str| {
            held.has
                .contains(&(repository.to_owned(), digest.to_owned()))
        };
        match (asked.method.as_str(), of("digest"), of("mount"), of("from")) {
            ("POST", _, Some(digest), Some(from)) if has(&held, &from, &digest) => {
                held.has.insert((repository.to_owned(), digest.clone()));
                Answer::new(201, &[&format!("Docker-Content-Digest: {digest}")], "")
            }
            ("POST", ..) => {
                held.sessions += 1;
                let to = format!("/v2/{repository}/blobs/uploads/{}?s=1", held.sessions);
                Answer::new(202, &[&format!("Location: {to}")], "")
            }
            ("PUT", Some(digest), ..) if sha256(&asked.bytes) == digest => {
                held.has.insert((repository.to_owned(), digest.clone()));
                held.blobs.insert(digest.clone(), asked.bytes.clone());
                Answer::new(201, &[&format!("Docker-Content-Digest: {digest}")], "")
            }
            ("PUT", ..) => Answer::new(400, &[], "{}"),
            ("HEAD", ..) if has(&held, repository, what) => Answer::head(
                200,
                &[&format!("Content-Length: {}", held.blobs[what].len())],
            ),
            ("GET", ..) if has(&held, repository, what) => Answer::new(200, &[], &held.blobs[what]),
            _ => gone(),
        }
    }
}

impl Held {
    fn take(&mut self, repository: &str, name: &str, asked: &Asked) -> Answer {
        let parsed: serde_json::Value = serde_json::from_slice(&asked.bytes).unwrap();
        // A list names manifests, which may be elsewhere.
        let layers = parsed["layers"].as_array().into_iter().flatten();
        let config = parsed.get("config");
        let whole = layers.chain(config).all(|blob| {
            let digest = blob["digest"].as_str().unwrap().to_owned();
            self.has.contains(&(repository.to_owned(), digest))
        });
        if !whole {
            return Answer::new(400, &[], r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#);
        }
        let media = asked.header("content-type").unwrap().to_owned();
        let digest = sha256(&asked.bytes);
        for name in [name, &digest] {
            let kept = (media.clone(), asked.bytes.clone());
            self.manifests
                .insert((repository.to_owned(), name.to_owned()), kept);
        }
        let mut headers = vec![format!("Docker-Content-Digest: {digest}")];
        if let Some(subject) = parsed["subject"]["digest"].as_str().filter(|_| self.api) {
            headers.push(format!("OCI-Subject: {subject}"));
        }
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        Answer::new(201, &headers, "")
    }

    fn document(&self, repository: &str, name: &str) -> Answer {
        match self
            .manifests
            .get(&(repository.to_owned(), name.to_owned()))
        {
            None => Answer::new(404, &[], "{}"),
            Some((media, bytes)) => Answer::new(200, &[&format!("Content-Type: {media}")], bytes),
        }
    }
}
