//! Platforms: OCI image-spec, image-index.md ("platform"), with GOARCH names.

#![forbid(unsafe_code)]

use super::quote::quoted;
use crate::error::{Error, Kind, Result};
use std::fmt;

/// What platform an image or an index entry is for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ... (GOARCH names).
    pub architecture: String,
    /// `v7`, `v8`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// What this binary was built for.
    pub fn native() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// Reads `os/arch[/variant]`, or an architecture alone, under Go's names or `uname -m`'s.
    /// `Usage`: anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(Kind::Usage, format!("{} is no platform", quoted(text)))
                .hint("it is OS/ARCHITECTURE[/VARIANT]: linux/amd64, linux/arm64, linux/arm/v7")
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => return Err(wrong()),
        };
        let word = |word: &str| {
            let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b);
            (1..=32).contains(&word.len()) && word.bytes().all(known)
        };
        let alone = parts.len() == 1 && matches!(architecture, "linux" | "windows" | "darwin");
        if alone || !parts.iter().all(|part| word(part)) {
            return Err(wrong());
        }
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "i386" => "386",
            other => other,
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant,
        })
    }

    /// How well an image for `self` serves a machine that is `wanted`: `None` not at all, else the
    /// higher the better. A machine of variant v7 runs v6 and v5, never v8.
    pub fn level_for(&self, wanted: &Self) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        match (self.level(), wanted.level()) {
            (Some(own), Some(wanted)) => (own <= wanted).then_some(own),
            _ => (self.variant == wanted.variant).then_some(0),
        }
    }

    /// The variant as a number, with the one that its absence means (containerd, platforms.md).
    fn level(&self) -> Option<u32> {
        let written = self.variant.as_deref();
        let variant = match (self.architecture.as_str(), written) {
            ("amd64", None) => "v1",
            ("arm64", None) => "v8",
            ("arm", None) => "v7",
            ("amd64" | "arm64" | "arm", Some(variant)) => variant,
            _ => return None,
        };
        let (major, minor) = match variant.strip_prefix('v')?.split_once('.') {
            Some((major, minor)) => (major, minor.parse::<u8>().ok()?),
            None => (variant.strip_prefix('v')?, 0),
        };
        Some(u32::from(major.parse::<u8>().ok()?) * 256 + u32::from(minor))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        Platform {
            os: parts.next().unwrap(),
            architecture: parts.next().unwrap(),
            variant: parts.next(),
        }
    }

    fn runs(image: &str, machine: &str) -> bool {
        platform(image).level_for(&platform(machine)).is_some()
    }

    #[test]
    fn a_machine_runs_its_own_and_lower_variants_only() {
        for (image, machine) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64/v8.1", "linux/arm64/v8.2"),
            ("linux/arm/v6", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert!(runs(image, machine), "{image} on {machine}");
        }
        for (image, machine) in [
            ("linux/amd64", "linux/arm64"),
            ("windows/amd64", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64"),
            ("linux/arm/v8", "linux/arm/v7"),
            ("linux/arm64/v8.2", "linux/arm64"),
            ("linux/amd64/x", "linux/amd64"),
            ("linux/riscv64/rva23", "linux/riscv64"),
        ] {
            assert!(!runs(image, machine), "{image} on {machine}");
        }
        let best = |text: &str| platform(text).level_for(&platform("linux/arm/v7"));
        assert!(best("linux/arm/v7") > best("linux/arm/v6"));
    }

    #[test]
    fn what_is_written_is_read() {
        for (text, same) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("arm64", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), same);
        }
        for wrong in [
            "",
            "/",
            "linux",
            "linux/",
            "linux/a/b/c",
            "Linux/amd64",
            "linux/a\n",
            "a b",
        ] {
            assert_eq!(
                Platform::parse(wrong).unwrap_err().kind,
                Kind::Usage,
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn this_machine_is_linux_under_gos_names() {
        let native = Platform::native().to_string();
        assert!(native.starts_with("linux/"));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(native, "linux/amd64");
        }
    }
}
