//! Where signatures are kept, and what lazaret says to them there.

use super::beside;
use super::made::{self, CAST, Layer, WANTED};
use super::scene::{BUNDLE, Scene, Words as _};
use super::support::{Home, Layout, list, sha256};
use super::{Case, Fault, Form, Outcome, Storage};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TOO_MANY: usize = 10_000;
/// The artifact type of cosign's own form as a referrer.
const SIMPLE_REFERRER: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// What a layout is loaded as.
const LOADED: &str = "lab:1";
const EARLIER: &str = "[\"earlier.pub\"]";

/// A registry, a layout and a store for all rows of one storage.
pub struct Stage {
    scene: Scene,
    storage: Storage,
    /// What the registry has while nothing is attached.
    bare: BTreeMap<(String, String), (String, Vec<u8>)>,
}

/// Whom the rule wants in a case.
fn wanted(case: &Case) -> String {
    match case.form {
        Form::Keyless => format!(
            "{{ issuer = \"https://accounts.lab.example\", identity = \"{WANTED}\", root = \
             \"root.json\" }}"
        ),
        _ => "\"lab.pub\"".to_owned(),
    }
}

/// `lazaret trust` says the same as a refusal.
#[track_caller]
fn not_accepted(told: &Value, words: &str) {
    assert_eq!(told["accepted"], false, "{told:#}");
    let why = told["reasons"][0]["asked"].as_str().unwrap();
    assert!(why.contains(words), "wanted {words:?}\n{told:#}");
}

impl Stage {
    pub fn new(storage: Storage) -> Self {
        let scene = Scene::new(matches!(storage, Storage::Referrers | Storage::Kept));
        let bare = scene.shelf.held().manifests.clone();
        scene.key("earlier.pub", &CAST.earlier);
        Self {
            scene,
            storage,
            bare,
        }
    }

    /// Nothing is attached, and nothing is in the store.
    pub fn afresh(&self) {
        self.scene.shelf.held().manifests = self.bare.clone();
        for name in [&self.scene.name, LOADED] {
            self.scene.home.lazaret(["rmi", name]).run();
        }
    }

    /// Tries a case.
    pub fn tries(&self, case: &Case, outcome: Outcome) {
        self.scene.shelf.held().manifests = self.bare.clone();
        if let Some(signer) = CAST.signer(case.key) {
            self.scene.key("lab.pub", signer);
        }
        let root = CAST.root(case.fault).to_string();
        self.scene.file("root.json", root.as_bytes());
        self.rule(&format!("[{}]", wanted(case)));
        match (case.fault, self.storage) {
            (Fault::LockEdited, _) => self.locked(case, outcome),
            (_, Storage::Layout) => self.on_disk(case, outcome),
            (_, Storage::Kept) => self.kept(case, outcome),
            _ => self.fetched(case, outcome),
        }
    }

    /// The policy wants images signed so, wherever they come from.
    fn rule(&self, signed: &str) {
        self.scene.policy(&format!(
            "[[trust]]\nimage = [\"{}\", \"oci:**\", \"docker.io/library/lab\"]\n\
             accept = {{ signed = {signed} }}\nreason = \"the lab signs\"\n",
            self.scene.repository()
        ));
    }

    fn made(&self, case: &Case) -> Vec<Layer> {
        made::made(case, &self.scene.manifest(), &self.scene.repository())
    }

    /// The registry keeps what is made in the case; the digest of the first of it.
    fn attach(&self, case: &Case) -> Option<String> {
        let layers = self.made(case);
        let blobs = layers.iter();
        let mut blobs: Vec<Value> = blobs
            .map(|layer| layer.describe(self.scene.blob(&layer.bytes)))
            .collect();
        let first = sha256(&layers.first()?.bytes);
        if case.fault == Fault::TenThousand {
            blobs = vec![blobs[0].clone(); TOO_MANY];
        }
        let digest = &self.scene.layout.manifest;
        match (self.storage, case.form) {
            (Storage::Tag, _) => self.scene.under_tag(digest, &blobs),
            (_, Form::Simple) => {
                self.scene.attach_all(digest, &blobs, Some(SIMPLE_REFERRER));
            }
            _ => {
                self.scene.attach_all(digest, &blobs, Some(BUNDLE));
            }
        }
        if case.fault == Fault::Swapped && self.storage != Storage::Kept {
            let mut held = self.scene.shelf.held();
            held.blobs.get_mut(&first).unwrap()[20] ^= 1;
        }
        Some(first)
    }

    /// Who is told to have signed, where, and what else was found.
    #[track_caller]
    fn names(&self, case: &Case, told: &Value) {
        assert_eq!(told["accepted"], true, "{told:#}");
        let proofs = told["proofs"].as_array().unwrap();
        assert_eq!(proofs.len(), 1, "{told:#}");
        let form = match case.form {
            Form::Simple => "simple_signing",
            Form::Message => "bundle_message",
            Form::Statement | Form::Keyless => "bundle_statement",
        };
        assert_eq!(proofs[0]["form"], form, "{told:#}");
        assert_eq!(proofs[0]["about"], told["manifest"], "{told:#}");
        let signer = &proofs[0]["signer"];
        match case.form {
            Form::Keyless => {
                assert_eq!(signer["identity"]["identity"]["email"], WANTED, "{told:#}")
            }
            _ => {
                let name = signer["key"]["name"].as_str().unwrap();
                assert!(name.ends_with("/lab.pub"), "{told:#}");
            }
        }
        let others = usize::from(case.fault == Fault::OneOfTwo);
        assert_eq!(
            told["failures"].as_array().unwrap().len(),
            others,
            "{told:#}"
        );
        let how = match self.storage {
            Storage::Tag => "tag",
            Storage::Referrers | Storage::Kept => "referrers",
            Storage::Fallback => "fallback",
            Storage::Layout => "layout",
        };
        assert_eq!(told["places"][0]["found"][0]["how"], how, "{told:#}");
    }

    /// Nothing is in the store.
    #[track_caller]
    fn empty(&self) {
        let images = ["images", "-q"];
        self.scene.home.lazaret(images).run().ok().prints("");
        let kept = list(&self.scene.home.store().join("signatures"));
        assert_eq!(kept, [""; 0]);
    }

    /// Out of the registry.
    fn fetched(&self, case: &Case, outcome: Outcome) {
        self.attach(case);
        match outcome {
            Outcome::Refused(words) => {
                self.scene.pull().exits(125).says_in_words(words);
            }
            _ => {
                self.scene.pull().ok();
                self.names(case, &self.scene.trust(0));
                let rmi = ["rmi", &self.scene.name];
                self.scene.home.lazaret(rmi).run().ok();
            }
        }
        self.empty();
    }

    /// Beside an image in a layout.
    fn on_disk(&self, case: &Case, outcome: Outcome) {
        let mut layout = self.scene.layout.clone();
        self.put(case, &mut layout);
        let name = layout.folder(&self.scene.home, "layout");
        let trust = |code| {
            let line = ["trust", "--format", "json", &name];
            let told = self.scene.home.lazaret(line).run().exits(code).out();
            serde_json::from_str::<Value>(&told)
        };
        match (outcome, case.fault) {
            // A layout is no repository: what it is loaded as is.
            (Outcome::Refused(words), Fault::WrongRepository) => {
                let load = ["load", "-q", &name, LOADED];
                let ran = self.scene.home.lazaret(load).run().exits(125);
                ran.says_in_words(words);
            }
            (Outcome::Refused(words), _) => {
                let run = ["run", "--rm", &name, "cat", "/marker"];
                let ran = self.scene.home.lazaret(run).run().exits(125);
                ran.says_in_words(words);
                // With a weak key the policy itself is refused.
                if case.fault != Fault::WeakKey {
                    not_accepted(&trust(1).unwrap(), words);
                }
            }
            _ => {
                let run = ["run", "--rm", &name, "cat", "/marker"];
                self.scene.home.lazaret(run).run().ok().prints("first");
                self.names(case, &trust(0).unwrap());
            }
        }
        std::fs::remove_dir_all(self.scene.home.path("layout")).unwrap();
    }

    /// The layout has what is made in the case.
    fn put(&self, case: &Case, layout: &mut Layout) {
        let digest = layout.manifest.clone();
        let layers = self.made(case);
        let mut blobs: Vec<Value> = layers
            .iter()
            .map(|layer| layer.describe(beside::add(layout, layer.media, &layer.bytes)))
            .collect();
        match case.fault {
            Fault::NothingAttached => return,
            Fault::TenThousand => blobs = vec![blobs[0].clone(); TOO_MANY],
            _ => {}
        }
        if case.form == Form::Simple {
            let manifest = beside::attached(layout, blobs, None);
            let tag = format!("{}.sig", digest.replace(':', "-"));
            beside::list(layout, manifest, Some(&tag));
        } else {
            let mut manifest = beside::attached(layout, blobs, Some(&digest));
            manifest["artifactType"] = json!(BUNDLE);
            beside::list(layout, manifest, None);
        }
        if case.fault == Fault::Swapped {
            let named = sha256(&layers[0].bytes);
            layout.blobs.get_mut(&named).unwrap()[20] ^= 1;
        }
    }

    /// Out of the store: pulled while another rule let it in, and run when its registry is not asked.
    fn kept(&self, case: &Case, outcome: Outcome) {
        let rule = format!("[{}]", wanted(case));
        let first = self.attach(case);
        let Outcome::Refused(words) = outcome else {
            self.scene.pull().ok();
            let asked = self.scene.asked().len();
            self.scene.run().ok().prints("first");
            self.scene.run().ok().prints("first");
            self.names(case, &self.scene.trust(0));
            assert_eq!(self.scene.asked().len(), asked);
            return;
        };
        match case.fault {
            Fault::Swapped => {
                self.scene.pull().ok();
                let named = first.unwrap().replacen(':', "/", 1);
                let path = self.scene.home.store().join("blobs").join(named);
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[20] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
            Fault::NothingAttached => {
                self.afresh();
                self.scene.policy("");
                self.scene.pull().ok();
            }
            _ => {
                let earlier = made::earlier(&self.scene.manifest());
                self.scene.attach_bundle(&earlier, Some(BUNDLE));
                self.rule(EARLIER);
                self.scene.pull().ok();
                self.scene.run().ok().prints("first");
            }
        }
        self.rule(&rule);
        let asked = self.scene.asked().len();
        self.scene.run().exits(125).says_in_words(words);
        // A policy or a store that is refused itself says nothing of signatures.
        if !matches!(case.fault, Fault::WeakKey | Fault::Swapped) {
            not_accepted(&self.scene.trust(1), words);
        }
        assert_eq!(self.scene.asked().len(), asked);
        if case.fault == Fault::Swapped {
            // A pull would mend it; the next row is to begin with nothing.
            self.afresh();
        }
    }

    /// Locked as signed by whoever signed it, and edited to be signed by somebody else.
    fn locked(&self, case: &Case, outcome: Outcome) {
        let Outcome::Refused(words) = outcome else {
            panic!("{case:?}")
        };
        self.attach(&Case {
            fault: Fault::Nothing,
            ..*case
        });
        let (here, there) = (self.home(), self.home());
        here.lazaret(["lock", "-q", &self.scene.name]).run().ok();
        let text = std::fs::read_to_string(here.path("lazaret.lock")).unwrap();
        let (before, rest) = text.split_once("signers = [\n").unwrap();
        let (signer, after) = rest.split_once("\n]").unwrap();
        assert!(signer.contains(match case.form {
            Form::Keyless => WANTED,
            _ => "key = \"sha256:",
        }));
        let nobody = format!("  {{ key = \"{}\" }},", sha256(b"nobody"));
        let edited = format!("{before}signers = [\n{nobody}\n]{after}");
        // Fetched by its digest elsewhere, and kept here.
        let at = match self.storage {
            Storage::Kept => &here,
            _ => &there,
        };
        let asked = self.scene.asked().len();
        let run = |text: &str| {
            std::fs::write(at.path("lazaret.lock"), text).unwrap();
            let line = [
                "run",
                "-q",
                "--rm",
                "--locked",
                &self.scene.name,
                "cat",
                "/marker",
            ];
            at.lazaret(line).run()
        };
        run(&edited).exits(125).says_in_words(words);
        run(&text).ok().prints("first");
        if self.storage == Storage::Kept {
            assert_eq!(self.scene.asked().len(), asked);
        }
    }

    /// Another home with the same policy.
    fn home(&self) -> Home {
        let home = Home::new();
        let (from, to) = (self.scene.home.root(), home.root());
        let (from, to) = (from.join("config/lazaret"), to.join("config/lazaret"));
        std::fs::create_dir_all(&to).unwrap();
        for name in list(&from) {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
        home
    }
}
