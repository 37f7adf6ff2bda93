//! Images to unpack, and the memory of who unpacks them.
//!
//! Whoever unpacks gets a folder of its own each time, and nothing is removed before the end: ext4
//! passes over inodes that were freed within the last minute one by one
//! (fs/ext4/ialloc.c, `recently_deleted`), and what makes files after 30,000 were removed waits for that search.

use crate::support::{Entry, Image, Layer};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// 30,000 files of a few kilobytes in 10 layers, about 120 MB; contents compress like sources do.
pub fn many_files() -> Image {
    let mut layers = Vec::new();
    let mut seed = 7_u64;
    for layer in 0..10 {
        let mut entries = Vec::new();
        for file in 0..3000 {
            let path = format!("usr/lib/p{layer}/m{:02}/f{file:04}.py", file / 60);
            let mut text = format!("# {layer} {file}\n");
            while text.len() < 4000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (a, b) = (seed >> 60, seed >> 40 & 0xffff);
                text.push_str(&format!(
                    "    def method_{a}(self, value): return self.table[{b}] + value\n"
                ));
            }
            entries.push(Entry::file(path, text));
        }
        layers.push(Layer::of(&entries));
    }
    Image::new(layers)
}

/// The blobs of these digests in a layout.
pub fn layer_files(layout: &Path, digests: &[String]) -> Vec<PathBuf> {
    let file = |d: &String| layout.join("blobs").join(d.replacen(':', "/", 1));
    digests.iter().map(file).collect()
}

/// The layer blobs of the first manifest of a layout's index.
pub fn layers_of(layout: &Path) -> Vec<PathBuf> {
    let read = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let index = read(layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = read(layer_files(layout, &[digest]).remove(0));
    let digests: Vec<String> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["digest"].as_str().unwrap().to_owned())
        .collect();
    layer_files(layout, &digests)
}

/// Extracts layers, one after the other, into a new folder; milliseconds.
#[track_caller]
pub fn extract(layers: &[PathBuf], into: &Path) -> f64 {
    std::fs::create_dir(into).unwrap();
    let start = Instant::now();
    for layer in layers {
        let done = Command::new("tar")
            .args(["--exclude=./dev/*", "--exclude=dev/*", "-xzf"])
            .arg(layer)
            .arg("-C")
            .arg(into)
            .status()
            .unwrap();
        assert!(done.success());
    }
    start.elapsed().as_secs_f64() * 1e3
}

/// Bytes of files.
pub fn size_of(files: &[PathBuf]) -> u64 {
    let size = |file: &PathBuf| std::fs::metadata(file).unwrap().len();
    files.iter().map(size).sum()
}

/// Runs a command to its good end; kilobytes of the most memory that it and its descendants had,
/// each by itself.
#[track_caller]
pub fn watched(command: &mut Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    let mut peak = 0;
    let status = loop {
        // The sum over the whole family, as the kernel keeps each one's peak.
        peak = peak.max(family_peak(pid));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(status.success(), "{command:?}: {status}");
    peak
}

/// Kilobytes of peak resident memory, summed over a process and its descendants.
fn family_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    own + super::children(pid)
        .into_iter()
        .map(family_peak)
        .sum::<u64>()
}
