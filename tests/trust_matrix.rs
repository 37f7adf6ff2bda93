//! Signatures, through the binary: each form by each key by each place where they are kept by each
//! fault, as one table. `cargo test --test trust_matrix -- --nocapture` prints it.
//!
//! Each combination of form, storage and fault is in exactly one line of [`RULES`], which says what
//! comes of it or why there is no such thing. Faults are tried with P-256; what each fault does to
//! each other kind of key is in `src/trust/tests/matrix.rs`, where storage plays no part.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail by panicking"
)]

#[allow(
    dead_code,
    reason = "made for the tests of `trust`, and used here in part"
)]
#[path = "support/authority.rs"]
mod authority;
#[path = "signed_images/beside.rs"]
mod beside;
#[path = "trust_matrix/made.rs"]
mod made;
#[allow(
    dead_code,
    reason = "made for the tests of signed images, and used here in part"
)]
#[path = "signed_images/scene.rs"]
mod scene;
#[allow(
    dead_code,
    reason = "made for the tests of `trust`, and used here in part"
)]
#[path = "support/signing.rs"]
mod signing;
#[path = "trust_matrix/stage.rs"]
mod stage;
mod support;

use Fault::*;
use Outcome::*;
use stage::Stage;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::need;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Simple,
    /// A bundle over the manifest itself.
    Message,
    /// A bundle over a statement.
    Statement,
    /// A bundle with a certificate.
    Keyless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    P256,
    P384,
    Ed25519,
    Rsa,
    /// RSA of 512 bits.
    Weak,
    /// Of a certificate.
    Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    /// cosign's tag in the registry.
    Tag,
    /// The referrers API.
    Referrers,
    /// The referrers' tag of a registry without that API.
    Fallback,
    Layout,
    /// What an earlier pull has kept; nobody is asked.
    Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    WrongKey,
    WrongRepository,
    WrongDigest,
    NothingAttached,
    /// Two, of which one is good.
    OneOfTwo,
    Expired,
    NoLogEntry,
    ForgedLogEntry,
    /// Other bytes in the place of the ones that are named.
    Swapped,
    /// The issuer is right.
    WrongIdentity,
    /// The identity contains the one that is wanted.
    Containing,
    Huge,
    TenThousand,
    WeakKey,
    /// The same numbers in BER.
    Malleable,
    /// A name twice in what is signed.
    Twice,
    LockEdited,
}

const FORMS: [Form; 4] = [Form::Simple, Form::Message, Form::Statement, Form::Keyless];
const KEYED: &[Form] = &[Form::Simple, Form::Message, Form::Statement];
const BUNDLES: &[Form] = &[Form::Message, Form::Statement, Form::Keyless];
const SIMPLE: &[Form] = &[Form::Simple];
const KEYLESS: &[Form] = &[Form::Keyless];

const STORAGES: [Storage; 5] = [
    Storage::Tag,
    Storage::Referrers,
    Storage::Fallback,
    Storage::Layout,
    Storage::Kept,
];
const READ: &[Storage] = &[
    Storage::Tag,
    Storage::Referrers,
    Storage::Fallback,
    Storage::Layout,
];
const NOT_ON_DISK: &[Storage] = &[
    Storage::Tag,
    Storage::Referrers,
    Storage::Fallback,
    Storage::Kept,
];
const LAYOUT: &[Storage] = &[Storage::Layout];
const KEPT: &[Storage] = &[Storage::Kept];

const FAULTS: [Fault; 18] = [
    Nothing,
    WrongKey,
    WrongRepository,
    WrongDigest,
    NothingAttached,
    OneOfTwo,
    Expired,
    NoLogEntry,
    ForgedLogEntry,
    Swapped,
    WrongIdentity,
    Containing,
    Huge,
    TenThousand,
    WeakKey,
    Malleable,
    Twice,
    LockEdited,
];

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It runs, and `lazaret trust` names these.
    Accepted(&'static str),
    /// It does not, in these words.
    Refused(&'static str),
    /// There is no such thing, and why.
    None(&'static str),
}

/// What comes of what, of everything that there is.
#[rustfmt::skip]
const RULES: &[(Fault, &[Form], &[Storage], Outcome)] = &[
    (Nothing,         KEYED,   &STORAGES, Accepted("the key")),
    (Nothing,         KEYLESS, &STORAGES, Accepted("the identity")),
    (WrongKey,        KEYED,   &STORAGES, Refused("/lab.pub\" made it, or what it signs was changed since")),
    (WrongKey,        KEYLESS, &STORAGES, Refused("no authority of the trust root issued its certificate")),
    (WrongRepository, SIMPLE,  &STORAGES, Refused("it signs \"registry.lab.example/other\", and this is")),
    (WrongRepository, BUNDLES, &STORAGES, None("a bundle names no repository")),
    (WrongDigest,     KEYED,   &STORAGES, Refused("it signs \"sha256:")),
    (WrongDigest,     KEYLESS, &STORAGES, Refused("it signs \"another digest\", and this is sha256:")),
    (NothingAttached, &FORMS,  READ,      Refused("no signature was found")),
    (NothingAttached, &FORMS,  KEPT,      Refused("its registry was not asked for signatures yet")),
    (OneOfTwo,        KEYED,   &STORAGES, Accepted("the key, and the other one that proves nothing")),
    (OneOfTwo,        KEYLESS, &STORAGES, Accepted("the identity, and the other one that proves nothing")),
    (Expired,         KEYLESS, &STORAGES, Refused("its certificate was not valid then")),
    (Expired,         KEYED,   &STORAGES, None("a key does not expire: the rule's `until` does")),
    (NoLogEntry,      KEYLESS, &STORAGES, Refused("it comes without a proof that it is in a log")),
    (NoLogEntry,      KEYED,   &STORAGES, None("a key's signature needs no log")),
    (ForgedLogEntry,  KEYLESS, &STORAGES, Refused("its log entry is not one of the trust root's logs about this signature")),
    (ForgedLogEntry,  KEYED,   &STORAGES, None("a key's signature needs no log")),
    (Swapped,         &FORMS,  READ,      Refused("and the bytes are")),
    (Swapped,         &FORMS,  KEPT,      Refused("is damaged: its bytes have another digest")),
    (WrongIdentity,   KEYLESS, &STORAGES, Refused("the issuer is right, and the identity is another")),
    (WrongIdentity,   KEYED,   &STORAGES, None("a key has no identity")),
    (Containing,      KEYLESS, &STORAGES, Refused("its identity only contains the one that is wanted")),
    (Containing,      KEYED,   &STORAGES, None("a key has no identity")),
    (Huge,            &FORMS,  &STORAGES, Refused("the signature has 786432 bytes, more than 1024")),
    (TenThousand,     &FORMS,  READ,      Refused("10000 signatures, of which no more than 64 are looked at")),
    (TenThousand,     &FORMS,  KEPT,      None("a pull that finds so many keeps none")),
    (WeakKey,         KEYED,   &STORAGES, Refused("RSA of 512 bits can be forged")),
    (WeakKey,         KEYLESS, &STORAGES, None("no policy names a certificate's key")),
    (Malleable,       &FORMS,  &STORAGES, Refused("the signature is not DER")),
    (Twice,           KEYED,   &STORAGES, Refused("appears twice")),
    (Twice,           KEYLESS, &STORAGES, Refused("duplicate field `subject`")),
    (LockEdited,      &FORMS,  NOT_ON_DISK, Refused("of whom no signature proves that now: it is gone, or the lock was edited")),
    (LockEdited,      &FORMS,  LAYOUT,    None("only images of registries are locked")),
];

/// One row.
#[derive(Debug, Clone, Copy)]
struct Case {
    form: Form,
    key: Key,
    storage: Storage,
    fault: Fault,
}

impl Case {
    /// The line of [`RULES`] that it is in.
    fn outcome(&self) -> Outcome {
        let is = |(fault, forms, storages, _): &&(Fault, &[Form], &[Storage], Outcome)| {
            *fault == self.fault && forms.contains(&self.form) && storages.contains(&self.storage)
        };
        let lines: Vec<_> = RULES.iter().filter(is).collect();
        assert_eq!(lines.len(), 1, "{self:?} is in {lines:?}");
        lines[0].3
    }

    fn row(&self, outcome: &str, words: &str) -> String {
        let cells = [
            format!("{:?}", self.form),
            format!("{:?}", self.key),
            format!("{:?}", self.storage),
            format!("{:?}", self.fault),
        ];
        let [form, key, storage, fault] = cells;
        format!("{form:<9} | {key:<8} | {storage:<9} | {fault:<15} | {outcome:<8} | {words}\n")
    }
}

/// The keys that a form is tried with.
fn keys(form: Form, fault: Fault) -> &'static [Key] {
    match (form, fault) {
        (Form::Keyless, _) => &[Key::Identity],
        (_, Nothing) => &[Key::P256, Key::P384, Key::Ed25519, Key::Rsa],
        (_, WeakKey) => &[Key::Weak],
        _ => &[Key::P256],
    }
}

fn cases(storage: Storage) -> Vec<Case> {
    let mut cases = Vec::new();
    for fault in FAULTS {
        for form in FORMS {
            cases.extend(keys(form, fault).iter().map(|key| Case {
                form,
                key: *key,
                storage,
                fault,
            }));
        }
    }
    cases
}

/// The rows of one storage, and how many of them were tried and went wrong.
#[derive(Default)]
struct Told {
    rows: String,
    tried: usize,
    bad: Vec<String>,
}

fn told(storage: Storage) -> Told {
    let stage = Stage::new(storage);
    let mut told = Told::default();
    for case in cases(storage) {
        let outcome = case.outcome();
        let (word, words) = match outcome {
            Accepted(words) => ("accepted", words),
            Refused(words) => ("refused", words),
            None(why) => {
                told.rows += &case.row("-", why);
                continue;
            }
        };
        told.tried += 1;
        let tried = catch_unwind(AssertUnwindSafe(|| stage.tries(&case, outcome)));
        let word = match tried {
            Ok(()) => word,
            Err(_) => {
                told.bad.push(format!("{case:?}"));
                stage.afresh();
                "BAD"
            }
        };
        told.rows += &case.row(word, words);
    }
    told
}

#[test]
fn form_by_key_by_storage_by_fault() {
    need!("userns", "overlay", "landlock");
    let start = std::time::Instant::now();
    let all: Vec<Told> = std::thread::scope(|scope| {
        let threads = STORAGES.map(|storage| scope.spawn(move || told(storage)));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    let mut table =
        "form      | key      | storage   | fault           | outcome  | words\n".to_owned();
    all.iter().for_each(|told| table.push_str(&told.rows));
    let tried: usize = all.iter().map(|told| told.tried).sum();
    let rows = table.lines().count() - 1;
    let seconds = start.elapsed().as_secs();
    writeln!(
        table,
        "{rows} rows: {tried} tried in {seconds} s, {} that there are not",
        rows - tried
    )
    .unwrap();
    println!("{table}");
    let bad: Vec<&String> = all.iter().flat_map(|told| &told.bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(tried > 250, "{tried}");
}
