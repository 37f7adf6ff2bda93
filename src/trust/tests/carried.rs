//! What is carried elsewhere: whole or not at all, and nothing of others is lost.

use super::*;
use crate::image::Digest;
use crate::trust::{Attachment, Attachments, Bytes, Carried, Keeping, Over, There};
use crate::trust::{How as Found, MAX_SIGNATURES, SIGNATURE_LAYER, list_with, parts, there};
use serde_json::{Value, json};

fn named(media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes).to_string();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// A manifest with this config and these payloads, about a subject.
fn manifest(config: &[u8], payloads: &[&str], subject: Option<&Digest>) -> Vec<u8> {
    let layers = payloads.iter().map(|payload| {
        let mut layer = named(SIGNATURE_LAYER, payload.as_bytes());
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": "AA=="});
        layer
    });
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": named("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.collect::<Vec<_>>(), "annotations": {"by": "the lab"},
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!({"mediaType": "a/b", "digest": subject.to_string(), "size": 1});
    }
    manifest.to_string().into_bytes()
}

fn attachment(how: Found, manifest: Vec<u8>, blobs: &[&[u8]]) -> Attachment {
    Attachment {
        over: Over::Manifest,
        how,
        manifest: Bytes(manifest),
        blobs: blobs.iter().map(|blob| Bytes(blob.to_vec())).collect(),
    }
}

#[test]
fn only_what_is_whole_and_about_it_is_carried() {
    let (image, other) = (Digest::of(b"image"), Digest::of(b"other"));
    let blobs: [&[u8]; 2] = [b"p", b"config"];
    let carried = |how, manifest, blobs: &[&[u8]]| {
        let one = attachment(how, manifest, blobs);
        let carried = Carried::of(&one, &image)?;
        Ok::<_, Fault>(carried.map(|one| (one.keeping, one.blobs.len())))
    };
    let plain = || manifest(b"config", &["p", "p"], None);
    let about = |subject| manifest(b"config", &["p"], Some(subject));
    let tag = Some((Keeping::Tag, 2));
    let referrer = Some((Keeping::Referrers, 2));
    for (how, of, is) in [
        (Found::Tag, plain(), tag),
        (Found::Layout, plain(), tag),
        (Found::Fallback, plain(), referrer),
        (Found::Layout, about(&image), referrer),
        (Found::Referrers, about(&other), None),
        (Found::Tag, about(&other), None),
    ] {
        assert_eq!(carried(how, of, &blobs), Ok(is));
    }
    for lacking in [&blobs[..1], &blobs[1..], &[]] {
        let fault = carried(Found::Tag, plain(), lacking).unwrap_err();
        assert!(fault.to_string().contains("is not kept"), "{fault}");
    }
    // The empty config is everybody's.
    let empty = manifest(b"{}", &["p"], None);
    assert_eq!(carried(Found::Tag, empty, &[b"p"]), Ok(tag));
    // Twice found is once carried.
    let one = attachment(Found::Tag, plain(), &blobs);
    let all = Attachments {
        found: vec![one.clone(), one],
        ..Attachments::default()
    };
    assert_eq!(all.carried(Over::Manifest, &image).0.len(), 1);
    assert_eq!(all.carried(Over::Index, &image).0.len(), 0);
}

#[test]
fn a_list_is_extended_up_to_what_is_read() {
    let image = Digest::of(b"image");
    let several: Vec<Attachment> = (0..=MAX_SIGNATURES)
        .map(|number| {
            let payload = number.to_string();
            let manifest = manifest(b"{}", &[&payload], Some(&image));
            attachment(Found::Referrers, manifest, &[payload.as_bytes()])
        })
        .collect();
    let carried = several.iter().map(|one| {
        let mut one = Carried::of(one, &image).unwrap().unwrap();
        one.parts.artifact_type = String::new();
        one
    });
    let carried: Vec<Carried<'_>> = carried.collect();
    let carried: Vec<&Carried<'_>> = carried.iter().collect();
    let one = list_with(None, &carried[..1]).unwrap().unwrap();
    assert_eq!(list_with(Some(&one), &carried[..1]), Ok(None));
    let most = list_with(Some(&one), &carried[..MAX_SIGNATURES]);
    let most = most.unwrap().unwrap();
    let read: Value = serde_json::from_slice(&most).unwrap();
    assert_eq!(read["manifests"][0]["annotations"]["by"], "the lab");
    assert_eq!(read["manifests"].as_array().unwrap().len(), MAX_SIGNATURES);
    let more = list_with(Some(&most), &carried);
    assert_eq!(more, Err(Fault::TooMany(MAX_SIGNATURES + 1)));
    for bad in [
        &b"{}"[..],
        b"[]",
        b"{\"manifests\":null}",
        b"{\"a\":1,\"a\":1}",
    ] {
        assert!(list_with(Some(bad), &carried[..1]).is_err());
    }
}

#[test]
fn a_tag_is_taken_only_by_what_has_all_of_it() {
    let new = parts(&manifest(b"{}", &["a", "b"], None)).unwrap();
    for (old, is) in [
        (&["a", "b"][..], There::Covers),
        (&["b", "c", "a"], There::Covers),
        (&["a"], There::Less),
        (&[], There::Less),
        (&["a", "c"], There::Other),
        (&["c"], There::Other),
    ] {
        assert_eq!(there(&manifest(b"x", old, None), &new), is, "{old:?}");
    }
    assert_eq!(there(b"what is this", &new), There::Other);
}
