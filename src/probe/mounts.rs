//! /proc/self/mountinfo (proc_pid_mountinfo(5)).

use crate::error::{Context, Result};

/// One mount, as far as the probe cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path inside its file system that is mounted: host paths of binds show here.
    pub root: String,
    /// Where.
    pub point: String,
    /// Whether what is mounted below it reaches other namespaces.
    pub shared: bool,
    /// Its type.
    pub kind: String,
    /// What was given as device.
    pub source: String,
    /// Its own options: overlays show their layers here.
    pub options: String,
}

/// The mounts of this process.
pub fn mounts() -> Result<Vec<Mount>> {
    let text = std::fs::read("/proc/self/mountinfo").or_call(|| "read \"/proc/self/mountinfo\"")?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Parses mountinfo; lines of another shape are dropped.
fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let front: Vec<&str> = front.split(' ').collect();
    let mut back = back.splitn(3, ' ');
    Some(Mount {
        root: (*front.get(3)?).to_owned(),
        point: (*front.get(4)?).to_owned(),
        shared: front.iter().skip(6).any(|tag| tag.starts_with("shared:")),
        kind: back.next()?.to_owned(),
        source: back.next()?.to_owned(),
        options: back.next().unwrap_or_default().to_owned(),
    })
}

/// Device nodes that a cell binds from the host's /dev, also as masks over files of /proc.
const BOUND_NODES: &[&str] = &["/null", "/zero", "/full", "/random", "/urandom", "/tty"];

/// Folders of the cell's own tmpfs, and where they are mounted; the empty one also covers folders of
/// /proc.
const OWN_FOLDERS: &[(&str, &str)] = &[
    ("/dev", "/dev"),
    ("/shm", "/dev/shm"),
    ("/empty", "/sys"),
    ("/empty", "/proc/"),
];

impl Mount {
    /// What this line tells of the host, if anything: a path of its file systems.
    pub fn leak(&self) -> Option<String> {
        let node = self.kind == "devtmpfs" || self.kind == "tmpfs";
        // A part of /proc that is mounted onto itself, to be read-only.
        let itself = self.kind == "proc" && self.point == format!("/proc{}", self.root);
        let bound = node && BOUND_NODES.contains(&self.root.as_str());
        let own = self.kind == "tmpfs"
            && OWN_FOLDERS.iter().any(|(root, point)| {
                let below = point.ends_with('/') && self.point.starts_with(point);
                self.root == *root && (below || self.point == *point)
            });
        let plain_root = self.root == "/" || itself || bound || own;
        if !plain_root {
            return Some(format!("{} is {}", self.point, self.root));
        }
        if self.source.starts_with('/') {
            return Some(format!("{} is from {}", self.point, self.source));
        }
        let layers = self.options.split(',').find(|option| {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            ["lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir"].contains(&key)
                && value.split(':').any(is_host_path)
        });
        layers.map(|option| format!("{} has {option}", self.point))
    }
}

/// An absolute path, unless it names a descriptor, which tells nothing.
fn is_host_path(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("/proc/self/fd/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_paths_are_found_wherever_a_line_shows_them() {
        let leaks = |line: &str| parse(line)[0].leak();
        assert_eq!(
            leaks("1 2 0:5 / / rw - overlay overlay rw,lowerdir=1:2,upperdir=upper,userxattr"),
            None
        );
        assert_eq!(
            leaks("1 2 0:5 /null /proc/kcore ro - devtmpfs dev rw"),
            None
        );
        assert_eq!(leaks("1 2 0:5 /shm /dev/shm rw - tmpfs none rw"), None);
        assert_eq!(leaks("1 2 0:5 /empty /proc/irq ro - tmpfs none rw"), None);
        for bad in [
            "1 2 0:5 /shm /data rw - tmpfs none rw",
            "1 2 0:5 /empty /proc/irq rw - ext4 none rw",
            "1 2 0:5 / / rw - overlay overlay rw,lowerdir=/home/ana/x:y",
            "1 2 0:5 / / rw - overlay overlay rw,lowerdir=a:/home/ana/x",
            "1 2 0:5 /home/ana/x /data rw shared:1 - ext4 none rw",
            "1 2 0:5 / /data rw master:1 - ext4 /dev/vda1 rw",
            "1 2 0:5 /sda /dev/sda rw - devtmpfs dev rw",
        ] {
            assert!(leaks(bad).is_some(), "{bad}");
        }
        assert!(parse("1 2 0:5 / /x rw,nosuid shared:7 - tmpfs t rw")[0].shared);
        assert_eq!(parse("nonsense\n"), []);
    }
}
