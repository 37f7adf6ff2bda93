//! Static programs of `tests/programs`, compiled once and kept by the hash of their source.

use super::sha256;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The static executable made of `tests/programs/NAME.c`. Needs a C compiler and static libc.
pub fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let source = folder.join(format!("{name}.c"));
    let mut text = std::fs::read(&source).unwrap();
    // What the hostile ones share is a part of each.
    text.extend(std::fs::read(folder.join("hostile/hostile.h")).unwrap());
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "{}-{}",
        name.replace('/', "-"),
        &sha256(&text)["sha256:".len()..][..12]
    ));
    if out.exists() {
        return out;
    }
    // Others may be at it too: each compiles beside and renames into place.
    let mine = out.with_extension(format!(
        "{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let done = Command::new("cc")
        .args(["-O1", "-static", "-s", "-Wall", "-Wextra", "-o"])
        .arg(&mine)
        .arg(&source)
        .output()
        .expect("the tests need a C compiler: cc");
    assert!(
        done.status.success(),
        "cc -static {name}.c: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    std::fs::rename(&mine, &out).unwrap();
    out
}

/// The bytes of the toolbox.
pub fn toolbox() -> Vec<u8> {
    std::fs::read(program("toolbox")).unwrap()
}
