//! The plan of the cell that the hostile programs run in.

use super::{HOST_NAME, RANGE, Row};
use lazaret::plan::{Ground, IdMap, IdRange, Lower, Plan, Step, build};
use lazaret::policy::{
    BindMount, Granted, Grants, IdMapKind, Network, Origin, Resources, Ulimit, VerifyMode, Which,
};
use std::path::{Path, PathBuf};

/// A descriptor of a source, as the supervisor has it.
pub fn open(path: &Path) -> std::os::fd::OwnedFd {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// The default cell's plan, without the check of layers, which have no record here.
pub fn plan(row: &Row, folder: &Path, argv: Vec<String>) -> Plan {
    fn granted<T>(value: T) -> Granted<T> {
        Granted {
            value,
            origin: Origin::Always("test"),
        }
    }
    let ranged = row.needs.contains(&"root");
    let nodes = ["null", "zero", "full", "random", "urandom", "tty"];
    let grants = Grants {
        id_map: granted(if ranged {
            IdMapKind::Range
        } else {
            IdMapKind::Single
        }),
        network: granted(match row.name.starts_with("host network") {
            true => Network::Host,
            false => Network::None,
        }),
        caps: granted(match row.program {
            "caps" => ["CHOWN", "SETGID", "SETUID"]
                .map(|name| granted(name.to_owned()))
                .to_vec(),
            _ => Vec::new(),
        }),
        syscalls: granted("default".to_owned()),
        narrowed: None,
        devices: granted(nodes.map(str::to_owned).to_vec()),
        env: Vec::new(),
        argv: granted(argv),
        workdir: granted("/".to_owned()),
        user: granted(if row.program == "user" || row.args == ["setuid"] {
            "1000:1000".to_owned()
        } else {
            String::new()
        }),
        hostname: granted(HOST_NAME.to_owned()),
        read_only: granted(false),
        ephemeral: granted(true),
        tmp: granted(64 << 20),
        tmpfs: Vec::new(),
        binds: match row.program {
            "bind" => vec![granted(BindMount {
                source: folder.join("bound").to_str().unwrap().to_owned(),
                target: "/bound".to_owned(),
                folder: true,
                read_only: true,
                no_exec: row.args == ["exec"],
                number: 0,
            })],
            _ => Vec::new(),
        },
        host_devices: Vec::new(),
        pids: granted(512),
        ulimits: vec![granted(Ulimit {
            which: Which::Nofile,
            soft: 1024,
            hard: 1024,
        })],
        tool: None,
        timeout: None,
        resources: Resources::default(),
        stop_signal: None,
        stop_timeout: None,
        explain: None,
        verify: granted(VerifyMode::Stat),
        tty: false,
        interactive: false,
        downgrades: Vec::new(),
        notes: Vec::new(),
    };
    let range = IdRange {
        inside: 0,
        outside: RANGE,
        count: 65_536,
    };
    let id_map = if ranged {
        IdMap::Range {
            uid: range,
            gid: range,
            helpers: false,
        }
    } else {
        IdMap::Single {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    };
    let ground = Ground {
        lowers: vec![Lower {
            path: folder.join("layer"),
            list: PathBuf::new(),
            list_sha256: String::new(),
            stat: PathBuf::new(),
        }],
        disk: None,
        id_map,
        landlock_abi: landlock_abi(),
        resolv_conf: String::new(),
    };
    let plan = build(&grants, &ground).unwrap();
    let steps = plan.steps().iter();
    let unchecked = steps.filter(|planned| !matches!(planned.step, Step::CheckLayers { .. }));
    Plan::new(unchecked.cloned().collect())
}

/// This kernel's Landlock ABI (landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION).
fn landlock_abi() -> u32 {
    let (none, version) = (std::ptr::null::<u8>(), 1);
    // SAFETY: with the version flag the kernel takes neither attributes nor size.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, version) };
    u32::try_from(abi).unwrap_or(0)
}
