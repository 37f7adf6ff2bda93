//! `lazaret receipt verify` and `lazaret receipt key`.

use super::{ReceiptVerifyRequest, WantedImage};
use crate::error::{Context, Error, Kind, Result};
use crate::host::receipt_key;
use crate::image::quote::{listed, plain, quoted};
use crate::image::{Digest, ImageName};
use crate::report::{self, Format};
use crate::trust::{Fault, Key, MAX_RECEIPT, Receipt, Told, ToldEnd, ToldImage, read_receipt};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Words of a command line that are shown.
const SHOWN: usize = 8;

/// Tells who signed a receipt and what it says. Exit code 0 if one of the keys signed it, and it is
/// about the image that is asked for, if any; 1 if not.
///
/// # Errors
/// `NotFound`, `Io`: the receipt or a key; `NotFound`: there is no key of one's own, and none is
/// named; `Malformed` and others: what is named is no key for receipts.
pub fn verify(request: &ReceiptVerifyRequest) -> Result<u8> {
    let bytes = match request.file.as_os_str() == "-" {
        true => all(std::io::stdin().lock(), "read standard input")?,
        false => {
            let call = format!("open {:?}", request.file);
            let file = match File::open(&request.file) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::io(call, &e).kind(Kind::NotFound));
                }
                opened => opened.or_call(|| call)?,
            };
            all(file, &format!("read {:?}", request.file))?
        }
    };
    let keys = keys(&request.keys)?;
    let keys: Vec<&Key> = keys.iter().collect();
    let (receipt, why) = match read_receipt(&bytes, &keys) {
        Ok(receipt) => {
            let why = request.image.as_ref().and_then(|w| other(&receipt.told, w));
            (Some(receipt), why)
        }
        Err(fault) => (None, Some(words(&fault))),
    };
    let text = match request.format {
        Format::Json => report::json_pretty(&as_json(receipt.as_ref(), why.as_deref())) + "\n",
        Format::Text => as_text(&request.file, receipt.as_ref(), why.as_deref()),
    };
    report::stdout(&text)?;
    Ok(u8::from(why.is_some()))
}

/// Prints the public half of the caller's key, and on standard error its fingerprint. Makes none.
///
/// # Errors
/// `NotFound`: there is none; as [`receipt_key::public`].
pub fn key() -> Result<u8> {
    let own = receipt_key::public()?.ok_or_else(no_key)?;
    report::stdout(&own.pem)?;
    report::note(&format!("{} {}", own.key.fingerprint, own.file.display()));
    Ok(0)
}

fn no_key() -> Error {
    Error::new(Kind::NotFound, "you have no key for receipts").hint(
        "the first run with --receipt FILE makes one; what others signed is checked with --key FILE",
    )
}

fn keys(files: &[std::path::PathBuf]) -> Result<Vec<Key>> {
    if files.is_empty() {
        let own = receipt_key::public()?.ok_or_else(no_key)?;
        return Ok(vec![own.key]);
    }
    files.iter().map(|f| receipt_key::read_public(f)).collect()
}

/// All that a receipt may have, and one byte more, which the reader refuses.
fn all(from: impl Read, call: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_RECEIPT as u64 + 1)
        .read_to_end(&mut bytes)
        .or_call(|| call)?;
    Ok(bytes)
}

/// A fault in the words of receipts, where those of images would mislead.
fn words(fault: &Fault) -> String {
    match fault {
        Fault::TooLarge {
            what: "receipt", ..
        } => {
            format!("it has more than {MAX_RECEIPT} bytes")
        }
        fault => fault.to_string(),
    }
}

/// Why a receipt is about another image than the one that is asked for.
fn other(told: &Told, wanted: &WantedImage) -> Option<String> {
    let shown = match wanted {
        WantedImage::Digest(digest) => digest.to_string(),
        WantedImage::Name(name) => name.to_string(),
    };
    match &told.image {
        Some(image) if is(image, wanted) => None,
        Some(image) => Some(format!(
            "it is about {} {}, not {shown}",
            quoted(&image.asked),
            plain(&image.manifest)
        )),
        None => Some(format!("it is about no image, and so not about {shown}")),
    }
}

fn is(image: &ToldImage, wanted: &WantedImage) -> bool {
    let manifest = |digest: &Digest| image.manifest == digest.to_string();
    match wanted {
        WantedImage::Digest(digest) => manifest(digest),
        WantedImage::Name(name) => [&image.asked, &image.canonical].iter().any(|told| {
            let reference = match &**name {
                ImageName::Registry(reference) => reference,
                other => return other.to_string() == **told,
            };
            let Ok(ImageName::Registry(told)) = ImageName::parse(told) else {
                return false;
            };
            // A tag that is not asked for may be any; a digest is the manifest's own.
            told.domain == reference.domain
                && told.path == reference.path
                && (reference.tag.is_none() || told.tag == reference.tag)
                && reference.digest.as_ref().is_none_or(manifest)
        }),
    }
}

fn as_text(file: &Path, receipt: Option<&Receipt<'_>>, why: Option<&str>) -> String {
    // A name with a line feed in it would word a verdict of its own.
    let file = file.to_string_lossy();
    let file = report::clean(&file);
    let mut out = match why {
        Some(why) => format!("{file}: NOT VALID: {why}\n"),
        None => format!("{file}: valid\n"),
    };
    let Some(Receipt { key, told, .. }) = receipt else {
        return report::clean_lines(&out).into_owned();
    };
    let mut line = |name: &str, text: String| {
        out.push_str(&format!("  {name:<8} {text}\n"));
    };
    line(
        "signed",
        format!("{} ({})", key.fingerprint, quoted(&key.name)),
    );
    match (&told.image, &told.program) {
        (Some(image), _) => line(
            "image",
            format!("{} {}", quoted(&image.asked), plain(&image.manifest)),
        ),
        (None, Some(program)) => line(
            "program",
            match &program.sha256 {
                Some(sha256) => format!("{} {}", quoted(&program.path), plain(sha256)),
                None => format!("{}, of no known digest", quoted(&program.path)),
            },
        ),
        (None, None) => line("image", "none was known by the end".to_owned()),
    }
    if let Some(command) = told.command() {
        line("command", listed(command.into_iter(), SHOWN));
    }
    if let Some(policy) = &told.policy {
        line("policy", plain(&policy.digest));
    }
    if let Some(plan) = &told.plan {
        line("plan", plain(plan));
    }
    let seconds = std::time::Duration::from_micros(told.wall_us()).as_secs_f64();
    line(
        "began",
        format!("{}, took {seconds:.3} s", plain(told.started())),
    );
    line("ended", ended(&told.end));
    line(
        "by",
        format!("lazaret {} {}", plain(&told.lazaret), plain(&told.verb)),
    );
    report::clean_lines(&out).into_owned()
}

fn ended(end: &ToldEnd) -> String {
    let mut out = plain(&end.ended);
    if let Some(code) = end.code {
        out.push_str(&format!(" with {code}"));
    }
    if let Some(signal) = end.signal {
        out.push_str(&format!(" {signal}"));
    }
    out.push_str(&format!(", exit code {}", end.exit_code));
    if let Some(error) = &end.error {
        out.push_str(&format!(": {}", plain(&error.cause)));
    }
    out
}

fn as_json(receipt: Option<&Receipt<'_>>, why: Option<&str>) -> Value {
    let told = receipt.map(|r| &r.told);
    json!({
        "valid": why.is_none(),
        "why": why,
        "key": receipt.map(|r| json!({
            "fingerprint": r.key.fingerprint.to_string(),
            "name": r.key.name,
        })),
        "subject": receipt.map(|r| json!({
            "name": r.subject.0,
            "digest": r.subject.1.to_string(),
        })),
        "lazaret": told.map(|t| &t.lazaret),
        "verb": told.map(|t| &t.verb),
        "image": told.map(|t| &t.image),
        "program": told.map(|t| &t.program),
        "command": told.map(Told::command),
        "policy": told.and_then(|t| t.policy.as_ref()).map(|p| &p.digest),
        "plan": told.map(|t| &t.plan),
        "started": told.map(Told::started),
        "wall_us": told.map(Told::wall_us),
        "end": told.map(|t| &t.end),
    })
}
