//! The image `builtin:probe`: this very executable as an OCI image of one layer.
//!
//! Made in memory, the same bytes for the same executable (no times, no names of this machine), so
//! that the store knows it again. From here on it is an image like any other: its bytes go into an
//! archive (OCI image-layout.md) that is read, checked, unpacked and recorded by the code that
//! does so for images nobody trusts.

use crate::error::{Context, Error, Kind, Result};
use crate::image::{Digest, ImageName};
use crate::store::source::{Source, scan_archive};
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io::Write;

/// Where the executable stands in the image.
pub const PROGRAM: &str = "/probe";

/// ELF (elf(5)): PT_INTERP, the request for a dynamic loader.
const PT_INTERP: u32 = 3;

/// An image in memory.
#[derive(Debug)]
pub struct BuiltIn {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The layer: a plain tar.
    pub layer: Vec<u8>,
    /// The digest of `manifest`: what the store knows the image by.
    pub digest: Digest,
    config_digest: Digest,
    layer_digest: Digest,
}

/// The image of the running executable. `Host` if that is no static program: inside, its loader
/// and libraries would be missing.
pub fn image() -> Result<BuiltIn> {
    let program = std::fs::read("/proc/self/exe").or_call(|| "read \"/proc/self/exe\"")?;
    pack(&program)
}

/// The image of the running executable as a source, for the code that reads sources nobody trusts.
/// Its name is `builtin:probe`; errors as of [`image`].
pub fn source() -> Result<Source> {
    let file = image()?.archive()?;
    let members = scan_archive(&file)?;
    Source::archive(&ImageName::Builtin("probe".to_owned()), file, members)
}

fn pack(program: &[u8]) -> Result<BuiltIn> {
    check_static(program)?;
    let layer = layer(program).map_err(|e| Error::io("write a tar to memory", &e))?;
    let layer_digest = Digest::of(&layer);
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/"],
            "Entrypoint": [PROGRAM, super::ARGUMENT],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "lazaret probe",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.description":
                    "prints what an intruder would find and try inside a cell",
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest.to_string()] },
        "history": [{ "created_by": "lazaret builtin:probe" }],
    })
    .to_string()
    .into_bytes();
    let config_digest = Digest::of(&config);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest.to_string(),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer_digest.to_string(),
            "size": layer.len(),
        }],
    })
    .to_string()
    .into_bytes();
    Ok(BuiltIn {
        digest: Digest::of(&manifest),
        manifest,
        config,
        layer,
        config_digest,
        layer_digest,
    })
}

/// GOARCH's name of this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl BuiltIn {
    /// The image as an OCI archive: a tar of an image layout, in a sealed memfd, for
    /// `store::source::Source::archive`.
    pub fn archive(&self) -> Result<File> {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": self.digest.to_string(),
                "size": self.manifest.len(),
            }],
        })
        .to_string();
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("builtin:probe", flags)
            .or_call(|| "memfd_create \"builtin:probe\"")?;
        let mut archive = tar::Builder::new(File::from(fd));
        let written = file(
            &mut archive,
            "oci-layout",
            0o644,
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .and_then(|()| file(&mut archive, "index.json", 0o644, index.as_bytes()))
        .and_then(|()| file(&mut archive, &blob(&self.digest), 0o644, &self.manifest))
        .and_then(|()| {
            file(
                &mut archive,
                &blob(&self.config_digest),
                0o644,
                &self.config,
            )
        })
        .and_then(|()| file(&mut archive, &blob(&self.layer_digest), 0o644, &self.layer))
        .and_then(|()| archive.into_inner());
        let archive = written.map_err(|e| Error::io("write to a memfd", &e))?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&archive, seals).or_call(|| "seal a memfd")?;
        Ok(archive)
    }
}

/// Refuses a program that needs a dynamic loader.
fn check_static(program: &[u8]) -> Result<()> {
    let strange = || Error::new(Kind::Host, "this executable is no 64-bit ELF file");
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return Err(strange());
    }
    let short = |at: usize| {
        let bytes: [u8; 2] = program.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(bytes)))
    };
    // e_phoff, e_phentsize, e_phnum
    let table: [u8; 8] = program
        .get(32..40)
        .and_then(|b| b.try_into().ok())
        .ok_or_else(strange)?;
    let table = usize::try_from(u64::from_le_bytes(table)).map_err(|_| strange())?;
    let (size, count) = short(54).zip(short(56)).ok_or_else(strange)?;
    for n in 0..count {
        let at = size.checked_mul(n).and_then(|skip| table.checked_add(skip));
        let kind: [u8; 4] = at
            .and_then(|at| program.get(at..at.checked_add(4)?))
            .and_then(|b| b.try_into().ok())
            .ok_or_else(strange)?;
        if u32::from_le_bytes(kind) == PT_INTERP {
            return Err(Error::new(
                Kind::Host,
                "this lazaret is not a static executable, so it cannot run inside its own image",
            )
            .hint(
                "RUSTFLAGS in the environment replaces the project's flags: \
                 unset it, and build again",
            ));
        }
    }
    Ok(())
}

fn layer(program: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::with_capacity(program.len() + 16_384));
    for (name, mode) in [
        ("dev/", 0o755),
        ("etc/", 0o755),
        ("proc/", 0o555),
        ("sys/", 0o555),
        ("tmp/", 0o1777),
    ] {
        entry(&mut layer, name, tar::EntryType::Directory, mode, &[])?;
    }
    let passwd = b"root:x:0:0:root:/:/probe\nnobody:x:65534:65534:nobody:/:/probe\n";
    file(&mut layer, "etc/passwd", 0o644, passwd)?;
    file(
        &mut layer,
        "etc/group",
        0o644,
        b"root:x:0:\nnobody:x:65534:\n",
    )?;
    file(&mut layer, &PROGRAM[1..], 0o755, program)?;
    layer.into_inner()
}

fn file<W: Write>(
    to: &mut tar::Builder<W>,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    entry(to, name, tar::EntryType::Regular, mode, bytes)
}

/// An entry of root's, from 1970.
fn entry<W: Write>(
    to: &mut tar::Builder<W>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(bytes.len()).map_err(std::io::Error::other)?);
    header.set_cksum();
    to.append(&header, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    /// An ELF file of one program header.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.resize(64 + 56, 0);
        bytes
    }

    #[test]
    fn a_dynamic_executable_is_refused_with_the_remedy() {
        pack(&elf(1)).unwrap();
        let error = pack(&elf(PT_INTERP)).unwrap_err();
        assert_eq!(error.kind, Kind::Host);
        assert!(error.hint.unwrap().contains("RUSTFLAGS"));
        for bad in [&b""[..], b"#!/bin/sh\n", &elf(1)[..40], &elf(1)[..66]] {
            assert_eq!(pack(bad).unwrap_err().kind, Kind::Host, "{}", bad.len());
        }
        let mut beyond = elf(1);
        beyond[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(pack(&beyond).unwrap_err().kind, Kind::Host);
    }

    #[test]
    fn the_test_program_itself_is_static() {
        let packed = image().unwrap();
        assert!(packed.layer.len() > 1 << 20);
        let named = source().unwrap();
        let found = named.image(&crate::image::Platform::native()).unwrap();
        assert_eq!(found.manifest.digest, packed.digest);
    }

    #[test]
    fn the_same_program_is_the_same_image() {
        let (one, two) = (pack(&elf(1)).unwrap(), pack(&elf(1)).unwrap());
        assert_eq!(one.digest, two.digest);
        assert_ne!(one.digest, pack(&elf(2)).unwrap().digest);
        let mut archives = [one.archive().unwrap(), two.archive().unwrap()];
        let bytes = archives.each_mut().map(|file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(bytes[0], bytes[1]);
        // Sealed: nobody changes it between check and use.
        assert!(archives[0].write_all(b"x").is_err());
    }

    #[test]
    fn it_goes_the_way_of_every_archive() {
        use crate::image::Platform;
        let packed = pack(&elf(1)).unwrap();
        let file = packed.archive().unwrap();
        let members = scan_archive(&file).unwrap();
        let name = ImageName::Builtin("probe".to_owned());
        let source = Source::archive(&name, file, members).unwrap();
        let image = source.image(&Platform::native()).unwrap();
        assert_eq!(image.manifest.digest, packed.digest);
        assert_eq!(image.canonical_name, "builtin:probe");
        let blob = image.layers[0].open().unwrap();
        assert_eq!(blob.length, packed.layer.len() as u64);
        let mut bytes = vec![0; packed.layer.len()];
        rustix::io::pread(&blob.file, &mut bytes, blob.offset).unwrap();
        assert_eq!(bytes, packed.layer);
    }

    #[test]
    fn the_documents_read_back_as_a_verified_image() {
        let packed = pack(&elf(1)).unwrap();
        let manifest = crate::image::Manifest::parse(
            &packed.manifest,
            Some("application/vnd.oci.image.manifest.v1+json"),
        )
        .unwrap();
        assert_eq!(manifest.layers[0].size, packed.layer.len() as u64);
        assert_eq!(manifest.layers[0].digest, Digest::of(&packed.layer));
        let config = crate::image::ImageConfig::parse(&packed.config).unwrap();
        assert_eq!(config.entrypoint, [PROGRAM, "probe-inside"]);
        assert_eq!(config.diff_ids[0].0, Digest::of(&packed.layer));
    }
}
