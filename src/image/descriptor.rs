//! A content descriptor: OCI image-spec, descriptor.md, and the media types of media-types.md with
//! docker's (distribution, manifest-v2-2.md).

#![forbid(unsafe_code)]

use super::quote::quoted;
use super::{Digest, Platform};
use crate::error::{Error, Kind, Result};
use oci_spec::image::Descriptor as Wire;
use std::collections::BTreeMap;

/// The most bytes a manifest, an index or a config may have: OCI distribution-spec asks registries
/// for 4 MiB manifests, and docker hub refuses larger ones.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// The longest media type: RFC 6838, section 4.2 (two names of 127 characters and a slash).
const MAX_MEDIA_TYPE: usize = 255;

/// What a manifest or an index says about a blob. `urls` and `data` are never followed or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type, as written.
    pub media_type: String,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The platform, where the descriptor stands in an index and names one.
    pub platform: Option<Platform>,
    /// Annotations (`org.opencontainers.image.ref.name` names a tag inside an OCI layout).
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Takes over what is used of the wire form (whose decoder has refused a negative size). `urls`
    /// and `data` end here: bytes come from where the image came from, or not at all.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let media_type: &str = wire.media_type().as_ref();
        if media_type.len() > MAX_MEDIA_TYPE || !media_type.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new(
                Kind::Malformed,
                format!("{} is not a media type", quoted(media_type)),
            ));
        }
        let digest = Digest::parse(wire.digest().as_ref())?;
        // Files, offsets and Go's readers count with signed 64 bits.
        if i64::try_from(wire.size()).is_err() {
            return Err(Error::new(
                Kind::Malformed,
                format!("{digest} cannot have {} bytes", wire.size()),
            ));
        }
        Ok(Self {
            media_type: media_type.to_owned(),
            digest,
            size: wire.size(),
            platform: wire.platform().as_ref().map(|platform| Platform {
                os: platform.os().to_string(),
                architecture: platform.architecture().to_string(),
                variant: platform.variant().clone().filter(|v| !v.is_empty()),
            }),
            annotations: annotations(wire.annotations().as_ref()),
        })
    }

    /// What the bytes claim to be.
    pub fn kind(&self) -> MediaKind {
        MediaKind::of(&self.media_type)
    }

    /// Refuses (`Limit`) a descriptor of more than `max` bytes before a byte is read.
    pub fn at_most(&self, max: u64, what: &str) -> Result<()> {
        match self.size > max {
            true => Err(Error::new(
                Kind::Limit,
                format!(
                    "the {what} {} has {} bytes, more than {max}",
                    self.digest, self.size
                ),
            )),
            false => Ok(()),
        }
    }

    /// The tag that this descriptor has inside an OCI layout (OCI image-spec, annotations.md).
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations
            .get(oci_spec::image::ANNOTATION_REF_NAME)
            .map(String::as_str)
    }
}

/// Annotations in a fixed order.
pub(super) fn annotations(
    wire: Option<&std::collections::HashMap<String, String>>,
) -> BTreeMap<String, String> {
    wire.into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// What the bytes behind a descriptor claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// An OCI index or a docker manifest list.
    Index,
    /// An OCI or docker (schema 2) manifest.
    Manifest,
    /// An OCI or docker image config.
    Config,
    /// A layer.
    Layer(LayerMedia),
    /// A docker manifest of schema 1, whose layers carry no diff ids: refused with a hint.
    Schema1,
    /// Anything else; refused with its name where it stands in a place that matters.
    Other,
}

/// A layer's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerMedia {
    /// How the tar stream is compressed.
    pub compression: Compression,
    /// A non-distributable or foreign layer: its bytes must be present, its `urls` are ignored.
    pub foreign: bool,
}

/// How a layer's tar stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952; several members are one stream, trailing garbage is refused.
    Gzip,
    /// zstd, RFC 8878; several frames are one stream.
    Zstd,
}

impl MediaKind {
    /// What a media type stands for. Exact: parameters and other cases are `Other`.
    pub fn of(media_type: &str) -> Self {
        let layer = |compression, foreign| {
            Self::Layer(LayerMedia {
                compression,
                foreign,
            })
        };
        let Some(rest) = media_type.strip_prefix("application/vnd.") else {
            return Self::Other;
        };
        match rest {
            "oci.image.index.v1+json" | "docker.distribution.manifest.list.v2+json" => Self::Index,
            "oci.image.manifest.v1+json" | "docker.distribution.manifest.v2+json" => Self::Manifest,
            "oci.image.config.v1+json" | "docker.container.image.v1+json" => Self::Config,
            "docker.distribution.manifest.v1+json"
            | "docker.distribution.manifest.v1+prettyjws" => Self::Schema1,
            "oci.image.layer.v1.tar" | "docker.image.rootfs.diff.tar" => {
                layer(Compression::None, false)
            }
            "oci.image.layer.v1.tar+gzip" | "docker.image.rootfs.diff.tar.gzip" => {
                layer(Compression::Gzip, false)
            }
            "oci.image.layer.v1.tar+zstd" | "docker.image.rootfs.diff.tar.zstd" => {
                layer(Compression::Zstd, false)
            }
            "oci.image.layer.nondistributable.v1.tar" | "docker.image.rootfs.foreign.diff.tar" => {
                layer(Compression::None, true)
            }
            "oci.image.layer.nondistributable.v1.tar+gzip"
            | "docker.image.rootfs.foreign.diff.tar.gzip" => layer(Compression::Gzip, true),
            "oci.image.layer.nondistributable.v1.tar+zstd"
            | "docker.image.rootfs.foreign.diff.tar.zstd" => layer(Compression::Zstd, true),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(json: &str) -> Result<Descriptor> {
        let wire: Wire =
            serde_json::from_str(json).map_err(|e| Error::new(Kind::Malformed, e.to_string()))?;
        Descriptor::parse(&wire)
    }

    #[test]
    fn media_types_of_oci_and_docker() {
        let layer = |compression, foreign| {
            MediaKind::Layer(LayerMedia {
                compression,
                foreign,
            })
        };
        use Compression::{Gzip, None, Zstd};
        for (media_type, kind) in [
            ("application/vnd.oci.image.index.v1+json", MediaKind::Index),
            (
                "application/vnd.docker.distribution.manifest.list.v2+json",
                MediaKind::Index,
            ),
            (
                "application/vnd.oci.image.manifest.v1+json",
                MediaKind::Manifest,
            ),
            (
                "application/vnd.docker.distribution.manifest.v2+json",
                MediaKind::Manifest,
            ),
            (
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                MediaKind::Schema1,
            ),
            (
                "application/vnd.oci.image.config.v1+json",
                MediaKind::Config,
            ),
            (
                "application/vnd.docker.container.image.v1+json",
                MediaKind::Config,
            ),
            ("application/vnd.oci.image.layer.v1.tar", layer(None, false)),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                layer(Gzip, false),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                layer(Zstd, false),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                layer(Gzip, true),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                layer(Gzip, false),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                layer(Gzip, true),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar",
                layer(None, false),
            ),
            ("application/vnd.oci.empty.v1+json", MediaKind::Other),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                MediaKind::Other,
            ),
            ("APPLICATION/vnd.oci.image.index.v1+json", MediaKind::Other),
            (
                "application/vnd.oci.image.index.v1+json; charset=utf-8",
                MediaKind::Other,
            ),
            ("", MediaKind::Other),
        ] {
            assert_eq!(MediaKind::of(media_type), kind, "{media_type}");
        }
    }

    #[test]
    fn an_ordinary_descriptor_keeps_what_is_used() {
        let descriptor = parse(&format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{DIGEST}","size":7,
            "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}},
            "annotations":{{"org.opencontainers.image.ref.name":"stable"}},
            "urls":["http://169.254.169.254/"],"data":"e30="}}"#
        ))
        .unwrap();
        assert_eq!(descriptor.size, 7);
        assert_eq!(descriptor.digest, Digest::of(b""));
        assert_eq!(descriptor.kind(), MediaKind::Manifest);
        assert_eq!(descriptor.ref_name(), Some("stable"));
        assert_eq!(descriptor.platform.unwrap().variant.as_deref(), Some("v8"));
    }

    #[test]
    fn bad_sizes_digests_and_media_types_are_refused() {
        let with = |media_type: &str, digest: &str, size: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
        };
        assert!(parse(&with("a/b", DIGEST, "9223372036854775807")).is_ok());
        for size in [
            "-1",
            "9223372036854775808",
            "18446744073709551616",
            "1.5",
            "\"1\"",
            "null",
        ] {
            let error = parse(&with("a/b", DIGEST, size)).expect_err(size);
            assert_eq!(error.kind, Kind::Malformed, "{size}");
        }
        for digest in [
            "sha256:00",
            "../../etc/passwd",
            "sha256:../x",
            &DIGEST.replace('e', "E"),
        ] {
            assert!(parse(&with("a/b", digest, "1")).is_err(), "{digest}");
        }
        let sha512 = format!("sha512:{}", "0".repeat(128));
        assert_eq!(
            parse(&with("a/b", &sha512, "1")).unwrap_err().kind,
            Kind::Unsupported
        );
        for media_type in ["a b", "a\\u001b[0m", &"x".repeat(256)] {
            assert!(
                parse(&with(media_type, DIGEST, "1")).is_err(),
                "{media_type}"
            );
        }
    }

    #[test]
    fn a_size_beyond_the_cap_is_a_limit() {
        let descriptor = parse(&format!(
            r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":{}}}"#,
            MAX_DOCUMENT
        ))
        .unwrap();
        assert!(descriptor.at_most(MAX_DOCUMENT, "config").is_ok());
        let error = descriptor.at_most(MAX_DOCUMENT - 1, "config").unwrap_err();
        assert_eq!(error.kind, Kind::Limit);
    }
}
