//! Unpacks a gzipped tar into an empty folder the way the worker does, and says how long it took:
//! `unpack_speed LAYER.tar.gz FOLDER [DIFF-ID]`. For a comparison with `tar -xz` by hand.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for measuring by hand"
)]

use lazaret::image::{Compression, DiffId, Digest, Hasher};
use lazaret::store::unpack::{Expect, Limits, OwnerMode, unpack};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut hasher = Hasher::default();
    let mut file = File::open(&args[1]).unwrap();
    let mut buffer = vec![0; 1 << 20];
    while let n @ 1.. = file.read(&mut buffer).unwrap() {
        hasher.update(&buffer[..n]);
    }
    let digest = hasher.finish();
    drop(buffer);
    let wanted = args.get(3).map_or(digest, |d| Digest::parse(d).unwrap());
    let blob = File::open(&args[1]).unwrap();
    let expect = Expect {
        compression: Compression::Gzip,
        digest,
        size: blob.metadata().unwrap().len(),
        hashed: false,
        diff_id: DiffId(wanted),
    };
    let into = File::open(&args[2]).unwrap();
    let start = Instant::now();
    let done = unpack(
        blob,
        &expect,
        into.as_fd(),
        OwnerMode::Record,
        &Limits::default(),
    );
    let took = start.elapsed();
    match done {
        Ok(done) => println!(
            "{took:?}: {} files, list {} bytes",
            done.facts.files,
            done.list.len()
        ),
        Err(e) => println!("{took:?}: {e}"),
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!(
        "{}",
        status.lines().find(|l| l.starts_with("VmHWM")).unwrap()
    );
}
