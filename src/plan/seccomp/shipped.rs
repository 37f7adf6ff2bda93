//! The built-in profiles: source, programs and the rules as JSON, side by side in `policies/syscalls`.
//!
//! After a change of a source: `LAZARET_BLESS=1 cargo test --lib seccomp` compiles it again.

use super::{Arch, Instruction};
use crate::error::{Error, Kind, Result};

/// A profile as it is built in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shipped {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    /// Of what a cell's plan shows: the rules of a process without capabilities as JSON, indented by four
    /// spaces. To read the source for that takes longer than all else of a plan's digest.
    pub(super) json: Option<&'static str>,
    /// The capabilities that its source has groups for.
    pub(super) caps: &'static [&'static str],
    x86_64: &'static [u8],
    aarch64: &'static [u8],
    /// The programs that tell of refusals, where a cell may have them: x86_64's and aarch64's.
    told: Option<[&'static [u8]; 2]>,
}

impl Shipped {
    /// The compiled program: instructions of 8 bytes, as `struct sock_filter` in little endian.
    pub(super) fn program(&self, arch: Arch) -> &'static [u8] {
        match arch {
            Arch::X86_64 => self.x86_64,
            Arch::Aarch64 => self.aarch64,
        }
    }

    /// As [`Shipped::program`], but it tells of refusals.
    pub(super) fn told(&self, arch: Arch) -> Option<&'static [u8]> {
        let [x86_64, aarch64] = self.told?;
        Some(match arch {
            Arch::X86_64 => x86_64,
            Arch::Aarch64 => aarch64,
        })
    }
}

macro_rules! shipped {
    ($name:literal, $caps:expr, $told:expr, $json:expr) => {
        Shipped {
            told: $told,
            name: $name,
            caps: $caps,
            source: include_str!(concat!("../../../policies/syscalls/", $name, ".toml")),
            json: $json,
            x86_64: include_bytes!(concat!("../../../policies/syscalls/", $name, ".x86_64.bpf")),
            aarch64: include_bytes!(concat!(
                "../../../policies/syscalls/",
                $name,
                ".aarch64.bpf"
            )),
        }
    };
}

pub(super) static ALL: [Shipped; 4] = [
    shipped!(
        "default",
        &["SYS_CHROOT"],
        Some([
            include_bytes!("../../../policies/syscalls/default.told.x86_64.bpf"),
            include_bytes!("../../../policies/syscalls/default.told.aarch64.bpf"),
        ]),
        Some(include_str!("../../../policies/syscalls/default.json"))
    ),
    shipped!(
        "init",
        &[],
        None,
        Some(include_str!("../../../policies/syscalls/init.json"))
    ),
    shipped!("worker", &[], None, None),
    shipped!("fetch", &[], None, None),
];

/// Instructions from their bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Instruction>> {
    let (records, []) = bytes.as_chunks::<8>() else {
        return Err(Error::new(
            Kind::Malformed,
            "a built-in system call program is cut off",
        ));
    };
    let program: Vec<_> = records
        .iter()
        .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
            code: u16::from_le_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_le_bytes([k0, k1, k2, k3]),
        })
        .collect();
    if program.is_empty() {
        return Err(Error::new(
            Kind::Malformed,
            "a built-in system call program is empty",
        ));
    }
    Ok(program)
}

/// The bytes of instructions.
#[cfg(test)]
pub(super) fn encode(program: &[Instruction]) -> Vec<u8> {
    program
        .iter()
        .flat_map(|i| {
            let [c0, c1] = i.code.to_le_bytes();
            let [k0, k1, k2, k3] = i.k.to_le_bytes();
            [c0, c1, i.jt, i.jf, k0, k1, k2, k3]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;

    /// As it is shown: serde_json's own indentation is two spaces.
    fn pretty(rules: &impl serde::Serialize) -> String {
        let mut bytes = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
        rules.serialize(&mut serializer).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn shipped_rules_are_what_their_sources_say() {
        for (shipped, json) in ALL.iter().filter_map(|s| Some((s, s.json?))) {
            let profile = Profile::builtin(shipped.name, []).unwrap();
            let rules = pretty(&profile.rules().unwrap());
            if std::env::var_os("LAZARET_BLESS").is_some() {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/syscalls");
                std::fs::write(format!("{folder}/{}.json", shipped.name), rules).unwrap();
                continue;
            }
            assert!(
                json == rules,
                "{}.json is old: LAZARET_BLESS=1 cargo test --lib seccomp",
                shipped.name
            );
            // What is added to the rules is not in the ready text.
            let shown = serde_json::to_value(&profile).unwrap();
            assert_eq!(
                shown,
                serde_json::from_str::<serde_json::Value>(json).unwrap()
            );
            let told = Profile {
                told: true,
                ..profile.clone()
            };
            let told = serde_json::to_value(&told).unwrap();
            assert_eq!(told["rules"], shown["rules"]);
            assert!(told["told_but"].is_object() && shown["told_but"].is_null());
        }
        let held = Profile::builtin("default", ["SYS_CHROOT"]).unwrap();
        let held = serde_json::to_value(&held).unwrap();
        assert_eq!(held["rules"]["chroot"], "allow");
        let none = Profile::builtin("default", []).unwrap();
        assert_ne!(
            serde_json::to_value(&none).unwrap()["rules"]["chroot"],
            "allow"
        );
    }
}
