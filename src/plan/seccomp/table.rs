//! Architectures and their system call numbers.

use std::str::FromStr;

/// An architecture whose numbers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86_64, without i386 and x32.
    X86_64,
    /// aarch64, without 32-bit arm.
    Aarch64,
}

/// Numbers from here on are x32's on x86_64 (`__X32_SYSCALL_BIT`); no other architecture has any.
pub const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// The architecture that this program was built for.
    pub const fn native() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self::X86_64;
        #[cfg(target_arch = "aarch64")]
        return Self::Aarch64;
    }

    /// `AUDIT_ARCH_*` (linux/audit.h), as the kernel tells it to a filter.
    pub const fn audit(self) -> u32 {
        // EM_X86_64 and EM_AARCH64 with __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE.
        match self {
            Self::X86_64 => 62 | 0xc000_0000,
            Self::Aarch64 => 183 | 0xc000_0000,
        }
    }

    /// As Go and docker call it.
    pub const fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// As libseccomp and OCI call it.
    pub const fn scmp_name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
        }
    }

    /// The name as the tables spell it, if any architecture has such a call.
    pub fn canonical(name: &str) -> Option<&'static str> {
        let common = syscalls::x86_64::Sysno::from_str(name).map(|s| s.name());
        common
            .or_else(|()| syscalls::aarch64::Sysno::from_str(name).map(|s| s.name()))
            .ok()
    }

    /// The number of a system call, if this architecture has it.
    pub fn number(self, name: &str) -> Option<u32> {
        let id = match self {
            Self::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
            Self::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok()?.id(),
        };
        u32::try_from(id).ok()
    }

    /// The name of a number, if this architecture has such a call.
    pub fn name(self, nr: u32) -> Option<&'static str> {
        let nr = usize::try_from(nr).ok()?;
        match self {
            Self::X86_64 => syscalls::x86_64::Sysno::new(nr).map(|s| s.name()),
            Self::Aarch64 => syscalls::aarch64::Sysno::new(nr).map(|s| s.name()),
        }
    }

    /// The highest number in the table.
    pub const fn last(self) -> u32 {
        let id = match self {
            Self::X86_64 => syscalls::x86_64::Sysno::last().id(),
            Self::Aarch64 => syscalls::aarch64::Sysno::last().id(),
        };
        id.unsigned_abs()
    }
}
