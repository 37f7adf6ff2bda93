//! What stands at a path inside: read off the steps, in the order in which they are taken.

use super::{Bind, HostBind, HostDevice, Plan, Planned, ProgramCopy, Shared, Step, Tmpfs, Upper};

/// What a path of a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// The root: the layers, and what is written over them.
    Root { upper: &'a Upper },
    /// A file that is written into the root before the command starts.
    Written,
    /// A folder or link that is made in the root.
    Made,
    /// A node of the small /dev.
    Node(&'a Bind),
    /// /dev itself, its terminals, and its links to the standard streams.
    Dev,
    /// A name below /dev where nothing is.
    NoDevice,
    /// A device of the host.
    Device(&'a HostDevice),
    /// A folder of the cell's own tmpfs.
    Shared(&'a Shared),
    /// A tmpfs of its own.
    Tmpfs(&'a Tmpfs),
    /// A folder or file of the host.
    Bind(&'a HostBind),
    /// A program of the host, as a copy.
    Program(&'a ProgramCopy),
    /// Of /proc, and hidden below something empty.
    Hidden,
    /// Of /proc, and nobody writes it.
    ReadOnlyProc,
    /// Of /proc: the cell's own processes, and what the kernel tells everybody.
    Proc,
}

/// A path, the step that decides what it is, and the one that closes the root to writing, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// What it is.
    pub what: What<'a>,
    /// The step behind it.
    pub by: &'a Planned,
    /// The step that makes the root read-only, where this is of the root.
    pub read_only: Option<&'a Planned>,
}

impl Place<'_> {
    /// Whether the image decides what is there.
    pub fn is_root(&self) -> bool {
        matches!(self.what, What::Root { .. })
    }
}

/// The names in /dev beside the nodes.
const DEV: &[&str] = &["pts", "ptmx", "fd", "stdin", "stdout", "stderr"];

/// What of `path` lies below `folder`: empty for the folder itself.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    match path.strip_prefix(folder.trim_end_matches('/'))? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

/// A path from the root without `.`, `..` and double slashes, by its words alone; another as it is.
pub fn plain_path(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Plan {
    /// What is at `path`, which is absolute, without `.`, `..`, double slashes and links; the last
    /// step that speaks of it decides. `None`: the plan mounts no root.
    pub fn place(&self, path: &str) -> Option<Place<'_>> {
        let mut found: Option<(What<'_>, &Planned)> = None;
        let mut read_only = None;
        for planned in self.steps() {
            if matches!(planned.step, Step::ReadOnlyRoot) {
                read_only = Some(planned);
            }
            found = what(&planned.step, path)
                .map(|what| (what, planned))
                .or(found);
        }
        let (what, by) = found?;
        let of_root = matches!(what, What::Root { .. } | What::Written | What::Made);
        Some(Place {
            what,
            by,
            read_only: read_only.filter(|_| of_root),
        })
    }
}

/// What a step makes of a path, if it speaks of it.
fn what<'a>(step: &'a Step, path: &str) -> Option<What<'a>> {
    let is_at = |place: &str| below(path, place).is_some();
    match step {
        Step::MountRoot { upper, .. } => Some(What::Root { upper }),
        Step::MountDev { nodes, .. } => {
            let name = below(path, "/dev")?;
            let first = name.split('/').next().unwrap_or_default();
            let node = nodes.iter().find(|node| node.name == name);
            Some(match node {
                Some(node) => What::Node(node),
                None if name.is_empty() || DEV.contains(&first) => What::Dev,
                None => What::NoDevice,
            })
        }
        Step::MountDevice(device) => (device.path == path).then_some(What::Device(device)),
        Step::MountShared(shared) => is_at(&shared.path).then_some(What::Shared(shared)),
        Step::MountTmpfs(tmpfs) => is_at(&tmpfs.path).then_some(What::Tmpfs(tmpfs)),
        Step::MountBind(bind) => is_at(&bind.path).then_some(What::Bind(bind)),
        Step::MountProgram(copy) => (copy.path == path).then_some(What::Program(copy)),
        Step::MountProc(masks) => {
            let name = below(path, "/proc")?;
            let lies = |place: &String| below(name, place).is_some();
            Some(match () {
                () if masks.hidden.iter().chain(&masks.hidden_folders).any(lies) => What::Hidden,
                () if masks.read_only.iter().any(lies) => What::ReadOnlyProc,
                () => What::Proc,
            })
        }
        Step::WriteFile { path: at, .. } => (at == path).then_some(What::Written),
        Step::MakeFolder { path: at, .. } | Step::MakeLink { path: at, .. } => {
            (at == path).then_some(What::Made)
        }
        Step::MakeCgroup(_)
        | Step::Clone
        | Step::MapIds(_)
        | Step::HideCgroup
        | Step::CloseInherited
        | Step::PlainProcess
        | Step::DieWithSupervisor
        | Step::ScrubMemory
        | Step::OpenLayers
        | Step::OpenSource { .. }
        | Step::BecomeContainerRoot { .. }
        | Step::Undumpable
        | Step::JoinKeyring
        | Step::StartVerifier
        | Step::CheckLayers { .. }
        | Step::PrivateMounts
        | Step::MountMemory { .. }
        | Step::NameUser { .. }
        | Step::MakeWorkdir { .. }
        | Step::ReadOnlyRoot
        | Step::Pivot
        | Step::SetHostname { .. }
        | Step::MakeNetwork
        | Step::JoinNetwork
        | Step::LoopbackUp
        | Step::Landlock { .. }
        | Step::StartPayload
        | Step::ConfineInit { .. }
        | Step::NewSession(_)
        | Step::SetRlimits(_)
        | Step::BoundCapabilities { .. }
        | Step::BecomeUser { .. }
        | Step::ChangeDirectory { .. }
        | Step::SetCapabilities { .. }
        | Step::NoNewPrivileges
        | Step::CloseFiles
        | Step::WaitForGo
        | Step::AwaitObserver
        | Step::Seccomp(_)
        | Step::Execute { .. }
        | Step::StopBy { .. }
        | Step::Supervise { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Masks};
    use super::*;
    use crate::policy::Origin;

    fn plan() -> Plan {
        let tmpfs = |path: &str| {
            Step::MountTmpfs(Tmpfs {
                path: path.to_owned(),
                size: 1,
                inodes: 1,
                mode: 0o1777,
                no_exec: true,
                read_only: false,
            })
        };
        let steps = [
            Step::MountRoot {
                lowers: Vec::new(),
                upper: Upper::Memory,
            },
            Step::MountDev {
                nodes: vec![Bind {
                    name: "null".to_owned(),
                    major: 1,
                    minor: 3,
                }],
                terminal_group: true,
            },
            Step::MountShared(Shared {
                folder: "shm".to_owned(),
                path: "/dev/shm".to_owned(),
                mode: 0o1777,
                read_only: false,
            }),
            Step::MountProc(Masks {
                hidden: vec!["kcore".to_owned()],
                hidden_folders: vec!["bus".to_owned()],
                read_only: vec!["sys".to_owned()],
            }),
            Step::WriteFile {
                path: "/etc/hosts".to_owned(),
                content: String::new(),
            },
            tmpfs("/a"),
            tmpfs("/a/b"),
            Step::ReadOnlyRoot,
        ];
        let steps = steps.into_iter().map(|step| Planned {
            actor: Actor::Init,
            step,
            origin: Origin::Always("a test"),
        });
        Plan::new(steps.collect())
    }

    #[test]
    fn paths_are_plain() {
        for (path, is) in [
            ("/a/./b//../c/", "/a/c"),
            ("/../..", "/"),
            ("relative/../x", "relative/../x"),
        ] {
            assert_eq!(plain_path(path), is);
        }
    }

    #[test]
    fn the_last_step_that_speaks_of_a_path_decides() {
        let plan = plan();
        for (path, want) in [
            ("/", "Root"),
            ("/etc/passwd", "Root"),
            ("/devices", "Root"),
            ("/etc/hosts", "Written"),
            ("/dev", "Dev"),
            ("/dev/null", "Node"),
            ("/dev/null/x", "NoDevice"),
            ("/dev/pts/0", "Dev"),
            ("/dev/kvm", "NoDevice"),
            ("/dev/shm/x", "Shared"),
            ("/proc", "Proc"),
            ("/proc/self/mem", "Proc"),
            ("/proc/kcore", "Hidden"),
            ("/proc/bus/pci", "Hidden"),
            ("/proc/sys/kernel", "ReadOnlyProc"),
            ("/a", "\"/a\""),
            ("/a/bc", "\"/a\""),
            ("/a/b/c", "\"/a/b\""),
        ] {
            let place = plan.place(path).unwrap();
            let told = format!("{:?}", place.what);
            assert!(told.contains(want), "{path}: {told}");
            let of_root = matches!(want, "Root" | "Written");
            assert_eq!(place.read_only.is_some(), of_root, "{path}");
        }
        assert_eq!(Plan::new(Vec::new()).place("/"), None);
    }
}
