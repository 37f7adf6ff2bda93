//! A disk that is full: what was begun is told, nothing of it is left, and with room it succeeds.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use support::{Entry, Home, Image, Ran, Registry, find, need};

/// Bytes that do not compress.
fn random(n: usize) -> Vec<u8> {
    let mut seed = 88_172_645_463_325_252_u64;
    (0..n)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[4]
        })
        .collect()
}

fn big() -> Image {
    Image::toolbox().with(&[Entry::file("big", random(6 << 20))])
}

/// Runs `line` with a store on a disk of 4 MB, shows what is left of it, gives it more room, and runs
/// it again, and then a command in the image.
fn with_little_and_then_with_room(home: &Home, line: &str, image: &str) -> Ran {
    let small = home.root().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m tmpfs {small} && export LAZARET_STORE={small}/store
         {line}; echo code $?
         ls -A $LAZARET_STORE/staging | grep -v 'lock$' | sed 's/^/left: /'
         $L images -q
         $L doctor | grep 'store: .* are free there'
         mount -o remount,size=64m {small}
         {line} || exit
         $L run --rm {image} echo it runs",
        small = small.display(),
    );
    home.program(&find("unshare").unwrap(), ["-m", "sh", "-c", &script])
        .env("L", env!("CARGO_BIN_EXE_lazaret"))
        .run()
        .ok()
}

fn told(ran: &Ran) {
    let (out, err) = (ran.out(), ran.err());
    assert!(out.contains("code 125\n"), "{ran}");
    assert!(err.contains("no space left on device"), "{ran}");
    assert!(!err.contains("panicked"), "{ran}");
    assert!(!out.contains("left: "), "{ran}");
    // No name of it, before there was room.
    assert!(
        out.contains("code 125\nPROBLEM store: ") || out.contains("code 125\nnote    store: "),
        "{ran}"
    );
    assert!(out.ends_with("it runs\n"), "{ran}");
}

#[test]
fn load() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let source = big().layout(&home, "img");
    told(&with_little_and_then_with_room(
        &home,
        &format!("$L load -q {source} big:1"),
        "big:1",
    ));
}

#[test]
fn load_of_an_archive() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    big().docker_archive(&home, "saved.tar");
    let ran =
        with_little_and_then_with_room(&home, "$L load -i saved.tar", "docker-archive:saved.tar");
    told(&ran);
}

#[test]
fn pull() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let registry = Registry::of(&big().build(), |_, _| None);
    let name = registry.image();
    told(&with_little_and_then_with_room(
        &home,
        &format!("$L pull -q {name}"),
        &name,
    ));
}

#[test]
fn run() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let source = big().layout(&home, "img");
    let ran =
        with_little_and_then_with_room(&home, &format!("$L run --name job {source} true"), &source);
    told(&ran);
}

/// Not even the folder that the fetch worker sees has room.
#[test]
fn a_fetch_that_cannot_begin() {
    need!("userns", "overlay", "root", "unshare");
    let home = Home::new();
    let registry = Registry::of(&Image::toolbox().build(), |_, _| None);
    let small = home.root().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {small} && export LAZARET_STORE={small}/store
         $L pull -q 127.0.0.1:1/none 2>{small}/said; head -c 100k /dev/zero 2>/dev/null > {small}/full
         $L pull -q {image}; echo code $?; ls -A $LAZARET_STORE/staging",
        small = small.display(),
        image = registry.image(),
    );
    home.program(&find("unshare").unwrap(), ["-m", "sh", "-c", &script])
        .env("L", env!("CARGO_BIN_EXE_lazaret"))
        .run()
        .ok()
        .prints("code 125\n")
        .complains("write the store's etc/")
        .complains("no space left on device");
    home.clean();
}
