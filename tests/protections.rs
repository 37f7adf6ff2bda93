//! Every protection, taken away once: with it the hostile program says `held`, without it
//! `ESCAPED`. A row that is not red without its protection proves nothing, and fails.
//!
//! The plan is the default cell's, made by the product's own code, less one step. Where two
//! protections hold one property, the other one is absent on both sides (`beside`). A launch needs
//! a process of one thread, so this file has no libtest harness: it runs itself again as the
//! launcher (`--cell ROW held|gone FOLDER ...`), as an ordinary user if it is root.
//!
//! Not here, because no single step can be taken away or nothing shows it: the user, mount, pid,
//! ipc, uts and cgroup namespaces (one clone, `tests/hostile_cell.rs`); PrivateMounts (the kernel makes
//! mounts of a less privileged namespace slaves); DieWithSupervisor (pid 1 also watches its socket).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test without harness prints its own lines, and fails by panicking"
)]

#[path = "protections/cell.rs"]
mod cell;
#[path = "protections/scene.rs"]
mod scene;
mod support;
#[path = "protections/worker.rs"]
mod worker;

use lazaret::plan::{Bind, HostBind, Masks, Plan, Planned, Resource, Securebits, Step};
use lazaret::{container, sandbox, sys};
use scene::Scene;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// Subordinate ids for the rows that need a range.
const RANGE: u32 = 500_000;
const HOST_NAME: &str = "a-cell";

/// What becomes of a step; `None` takes it away.
type Change = fn(Step) -> Option<Step>;

struct Row {
    /// The protection.
    name: &'static str,
    /// The program, and its arguments after what the scene gives it.
    program: &'static str,
    args: &'static [&'static str],
    /// Other protections of the same property: absent both times.
    beside: &'static [Change],
    /// The protection: absent the second time.
    gone: &'static [Change],
    /// What the machine must have.
    needs: &'static [&'static str],
}

const fn row(name: &'static str, program: &'static str, gone: &'static [Change]) -> Row {
    Row {
        name,
        program,
        args: &[],
        beside: &[],
        gone,
        needs: &["userns", "overlay"],
    }
}

macro_rules! without {
    ($($name:ident: $step:pat,)*) => {
        $(fn $name(step: Step) -> Option<Step> {
            (!matches!(step, $step)).then_some(step)
        })*
    };
}

without! {
    seccomp: Step::Seccomp(_),
    landlock: Step::Landlock { .. },
    close_inherited: Step::CloseInherited,
    close_files: Step::CloseFiles,
    plain_process: Step::PlainProcess,
    scrub: Step::ScrubMemory,
    undumpable: Step::Undumpable,
    keyring: Step::JoinKeyring,
    pivot: Step::Pivot,
    hostname: Step::SetHostname { .. },
    confine_init: Step::ConfineInit { .. },
    bound_set: Step::BoundCapabilities { .. },
    no_new_privileges: Step::NoNewPrivileges,
    set_capabilities: Step::SetCapabilities { .. },
    become_user: Step::BecomeUser { .. },
    session: Step::NewSession(_),
}

/// The host's network, whose lo is up and not ours to touch.
fn network(step: Step) -> Option<Step> {
    let network = matches!(
        step,
        Step::MakeNetwork | Step::JoinNetwork | Step::LoopbackUp
    );
    (!network).then_some(step)
}

/// The one holder of the property where the network is the host's.
fn scope(step: Step) -> Option<Step> {
    Some(match step {
        Step::Landlock {
            abi,
            rules,
            scope_signals,
            logged,
            ..
        } => Step::Landlock {
            abi,
            rules,
            scope_signals,
            scope_abstract_sockets: false,
            logged,
        },
        step => step,
    })
}

fn masks(step: Step) -> Option<Step> {
    Some(match step {
        Step::MountProc(masks) => Step::MountProc(Masks {
            hidden: Vec::new(),
            hidden_folders: Vec::new(),
            ..masks
        }),
        step => step,
    })
}

fn read_only_settings(step: Step) -> Option<Step> {
    Some(match step {
        Step::MountProc(masks) => Step::MountProc(Masks {
            read_only: Vec::new(),
            ..masks
        }),
        step => step,
    })
}

fn limit(step: Step, resource: Resource) -> Option<Step> {
    Some(match step {
        Step::SetRlimits(limits) => Step::SetRlimits(
            limits
                .into_iter()
                .filter(|l| l.resource != resource)
                .collect(),
        ),
        step => step,
    })
}

fn core_limit(step: Step) -> Option<Step> {
    limit(step, Resource::Core)
}

fn process_limit(step: Step) -> Option<Step> {
    limit(step, Resource::Processes)
}

fn file_limit(step: Step) -> Option<Step> {
    limit(step, Resource::Files)
}

/// The plan's limit is never above the caller's own, which may be as low as it likes: a lower one
/// shows the same step.
fn few_files(step: Step) -> Option<Step> {
    Some(match step {
        Step::SetRlimits(mut limits) => {
            for limit in &mut limits {
                if limit.resource == Resource::Files {
                    (limit.soft, limit.hard) = (1000, 1000);
                }
            }
            Step::SetRlimits(limits)
        }
        step => step,
    })
}

fn image_groups(step: Step) -> Option<Step> {
    Some(match step {
        Step::BecomeUser { user, .. } => Step::BecomeUser {
            user,
            set_groups: false,
        },
        step => step,
    })
}

fn clear_groups(step: Step) -> Option<Step> {
    Some(match step {
        Step::BecomeContainerRoot { .. } => Step::BecomeContainerRoot {
            clear_groups: false,
        },
        step => step,
    })
}

/// A node whose number is not its name's: what a host's /dev could hold instead.
fn wrong_node(step: Step) -> Option<Step> {
    Some(match step {
        Step::MountDev {
            mut nodes,
            terminal_group,
        } => {
            nodes.push(Bind {
                name: "kmsg".to_owned(),
                major: 1,
                minor: 3,
            });
            Step::MountDev {
                nodes,
                terminal_group,
            }
        }
        step => step,
    })
}

/// A change of how the host's folder is mounted.
fn bound(step: Step, change: fn(&mut HostBind)) -> Option<Step> {
    Some(match step {
        Step::MountBind(mut bind) => {
            change(&mut bind);
            Step::MountBind(bind)
        }
        step => step,
    })
}

/// The image has a link to /proc there.
fn stray_target(step: Step) -> Option<Step> {
    bound(step, |bind| bind.path = "/stray/sys".to_owned())
}

/// Who leaves uid 0 takes along what it holds.
fn no_setuid_fixup(step: Step) -> Option<Step> {
    Some(match step {
        Step::BoundCapabilities { keep, securebits } => Step::BoundCapabilities {
            keep,
            securebits: Securebits {
                no_setuid_fixup: true,
                ..securebits
            },
        },
        step => step,
    })
}

fn bind_read_only(step: Step) -> Option<Step> {
    bound(step, |bind| bind.read_only = false)
}

fn bind_no_suid(step: Step) -> Option<Step> {
    bound(step, |bind| bind.no_suid = false)
}

fn bind_no_dev(step: Step) -> Option<Step> {
    bound(step, |bind| bind.no_dev = false)
}

fn bind_no_exec(step: Step) -> Option<Step> {
    bound(step, |bind| bind.no_exec = false)
}

const RANGED: &[&str] = &["userns", "overlay", "root"];
const LANDLOCKED: &[&str] = &["userns", "overlay", "landlock"];

fn rows() -> Vec<Row> {
    vec![
        row("network namespace", "tcp", &[network]),
        Row {
            beside: &[landlock],
            ..row(
                "network namespace: abstract sockets",
                "abstract",
                &[network],
            )
        },
        Row {
            beside: &[network],
            needs: &["userns", "overlay", "landlock-6"],
            ..row("Landlock scope: abstract sockets", "abstract", &[landlock])
        },
        Row {
            needs: &["userns", "overlay", "landlock-6"],
            ..row("host network: abstract sockets", "abstract", &[scope])
        },
        Row {
            beside: &[close_files],
            ..row("inherited fds: closed by pid 1", "fds", &[close_inherited])
        },
        Row {
            beside: &[close_inherited],
            ..row("inherited fds: closed at exec", "fds", &[close_files])
        },
        row("umask and personality", "inherited", &[plain_process]),
        row("pid 1's arguments scrubbed", "init_args", &[scrub]),
        row("pid 1 not dumpable", "init_files", &[undumpable]),
        row("pid 1 confined", "init_powers", &[confine_init]),
        Row {
            beside: &[seccomp],
            ..row("session keyring of its own", "keyring", &[keyring])
        },
        row("/proc masked", "proc_masks", &[masks]),
        row("/proc/sys read-only", "proc_sys", &[read_only_settings]),
        row("pivot", "host_file", &[pivot]),
        row("host name", "hostname", &[hostname]),
        row("session of its own", "outsiders", &[session]),
        Row {
            needs: &["userns", "overlay", "landlock-5"],
            ..row("Landlock: devices", "device_ioctl", &[landlock])
        },
        Row {
            beside: &[seccomp],
            needs: LANDLOCKED,
            ..row("Landlock: making devices", "whiteout", &[landlock])
        },
        Row {
            beside: &[seccomp, bound_set, set_capabilities],
            args: &["old"],
            needs: LANDLOCKED,
            ..row("Landlock: mounts", "mounts", &[landlock])
        },
        Row {
            needs: LANDLOCKED,
            ..row(
                "Landlock: the host's program",
                "/proc/self/exe",
                &[landlock],
            )
        },
        row("limit: core", "core", &[core_limit]),
        Row {
            args: &["700"],
            ..row("limit: processes", "forks", &[process_limit])
        },
        Row {
            args: &["2000"],
            beside: &[few_files],
            ..row("limit: descriptors", "files_open", &[file_limit])
        },
        row("bounding set and securebits", "powers", &[bound_set]),
        Row {
            beside: &[bound_set],
            args: &["effective"],
            ..row("capabilities dropped", "powers", &[set_capabilities])
        },
        Row {
            beside: &[landlock, seccomp],
            ..row("no_new_privs", "new_privileges", &[no_new_privileges])
        },
        Row {
            beside: &[landlock, seccomp, no_new_privileges],
            args: &["more"],
            ..row("granted capabilities: bounding set", "caps", &[bound_set])
        },
        Row {
            beside: &[bound_set],
            args: &["more", "effective"],
            ..row(
                "granted capabilities: no others kept",
                "caps",
                &[set_capabilities],
            )
        },
        Row {
            args: &["leave"],
            needs: RANGED,
            ..row(
                "granted capabilities: gone with uid 0",
                "caps",
                &[no_setuid_fixup],
            )
        },
        Row {
            args: &["ambient"],
            needs: RANGED,
            ..row("granted capabilities: none ambient", "caps", &[bound_set])
        },
        row("seccomp: io_uring", "io_uring", &[seccomp]),
        row("seccomp: namespaces", "new_namespaces", &[seccomp]),
        row("seccomp: ptrace", "ptrace", &[seccomp]),
        row("seccomp: i386 and x32", "other_entry", &[seccomp]),
        row("seccomp: terminal requests", "terminal", &[seccomp]),
        row("seccomp: socket families", "sockets", &[seccomp]),
        row("seccomp: kernel calls", "kernel_calls", &[seccomp]),
        row("seccomp: RLIMIT_CORE stays", "core", &[seccomp]),
        Row {
            beside: &[landlock],
            ..row("seccomp: making devices", "whiteout", &[seccomp])
        },
        Row {
            beside: &[landlock, bound_set, set_capabilities],
            ..row("seccomp: mounts", "mounts", &[seccomp])
        },
        Row {
            args: &["write"],
            ..row("bind: read-only", "bind", &[bind_read_only])
        },
        Row {
            args: &["exec"],
            ..row("bind: noexec", "bind", &[bind_no_exec])
        },
        Row {
            args: &["device"],
            needs: RANGED,
            ..row("bind: nodev", "bind", &[bind_no_dev])
        },
        Row {
            args: &["setuid"],
            beside: &[seccomp, landlock, no_new_privileges, bound_set],
            needs: RANGED,
            ..row("bind: nosuid", "bind", &[bind_no_suid])
        },
        Row {
            beside: &[image_groups],
            needs: RANGED,
            ..row("supplementary groups cleared", "groups", &[clear_groups])
        },
        Row {
            args: &["1000"],
            needs: RANGED,
            ..row("USER", "user", &[become_user])
        },
    ]
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--cell") => launcher(&args[1..]),
        Some("--worker") => worker::run(&args[1..]),
        // What /proc/self/exe is, until the payload's exec (CVE-2019-5736).
        Some("--inside") => {
            println!("ESCAPED: the host's program runs inside");
            ExitCode::from(1)
        }
        Some("--list") => {
            for row in rows() {
                println!("{}: test", row.name);
            }
            ExitCode::SUCCESS
        }
        // Flags of the harness that this is not; `--test-threads 2` is no filter.
        _ => table(
            args.iter()
                .find(|arg| !arg.starts_with('-') && arg.parse::<u32>().is_err()),
        ),
    }
}

fn table(filter: Option<&String>) -> ExitCode {
    let chosen: Vec<Row> = rows()
        .into_iter()
        .filter(|row| filter.is_none_or(|f| row.name.contains(f.as_str())))
        .filter(|row| {
            let test = format!("protections::{}", row.name);
            row.needs.iter().all(|need| support::have(&test, need))
        })
        .collect();
    if chosen.is_empty() {
        println!("test result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let scene = Scene::new();
    let mut failed = 0;
    for row in &chosen {
        let verdict = judge(&scene, row);
        let said = verdict.as_ref().unwrap_or_else(|why| {
            failed += 1;
            why
        });
        let word = if verdict.is_ok() { "ok" } else { "FAILED" };
        println!("test {} ... {word} ({said})", row.name);
    }
    type Check = fn(&Scene) -> Result<(), String>;
    let checks: [(&str, Check); 4] = [
        ("a device node that is another device", refuses_a_wrong_node),
        (
            "a target that an image's link leads astray",
            refuses_a_stray_target,
        ),
        (
            "a source that is not what was judged",
            refuses_another_source,
        ),
        ("a command that was not let go", waits_for_the_release),
    ];
    for (name, check) in checks.iter().filter(|_| filter.is_none()) {
        match check(&scene) {
            Ok(()) => println!("test {name} ... ok (refused)"),
            Err(why) => {
                failed += 1;
                println!("test {name} ... FAILED ({why})");
            }
        }
    }
    if filter.is_none() && support::have("protections::worker", "landlock") {
        for name in worker::ATTEMPTS {
            match worker::judge(&scene, name) {
                Ok(said) => println!("test worker: {name} ... ok ({said})"),
                Err(why) => {
                    failed += 1;
                    println!("test worker: {name} ... FAILED ({why})");
                }
            }
        }
    }
    let passed = chosen.len().saturating_sub(failed);
    println!("\ntest result: {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// The way out that the program found without the protection, or what is wrong with the row.
fn judge(scene: &Scene, row: &Row) -> Result<String, String> {
    let with = scene.run(row, "held");
    // The host's program cannot say anything where it is not executed.
    let refused = row.program.starts_with('/') && with.status.code() == Some(126);
    if !(refused || last_line(&with) == "held" && with.status.code() == Some(0)) {
        return Err(format!("with it: {}", words(&with)));
    }
    let without = scene.run(row, "gone");
    // Without a session step nobody connects the program's streams; its exit code remains.
    let silent = row.name == "session of its own" && without.status.code() == Some(1);
    let line = last_line(&without);
    match line.strip_prefix("ESCAPED: ") {
        Some(how) if without.status.code() == Some(1) => Ok(format!("without it: {how}")),
        _ if silent && line.is_empty() => Ok("without it: exit code 1".to_owned()),
        _ => Err(format!("without it: {}", words(&without))),
    }
}

fn last_line(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().to_owned()
}

fn words(output: &std::process::Output) -> String {
    format!(
        "{}, stdout {:?}, stderr {:?}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The launcher: a process of one thread with something to lose.
fn launcher(args: &[String]) -> ExitCode {
    match launch(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let text = format!("{error} {:?} {:?}\n", error.detail, error.hint);
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            ExitCode::from(error.exit_code())
        }
    }
}

fn launch(args: &[String]) -> lazaret::error::Result<u8> {
    let [name, which, folder, rest @ ..] = args else {
        panic!("--cell ROW held|gone FOLDER ARG...");
    };
    let rows = rows();
    let wrong = Row {
        beside: &[wrong_node],
        ..row("wrong node", "fds", &[])
    };
    let swapped = row("wrong source", "bind", &[]);
    let stray = Row {
        beside: &[stray_target],
        ..row("wrong target", "bind", &[])
    };
    let row = rows
        .iter()
        .chain([&wrong, &swapped, &stray])
        .find(|row| row.name == name)
        .expect("a row of that name");
    let folder = Path::new(folder);
    if row.needs.contains(&"root") {
        // adm and audio, say: groups that a login has.
        let groups = [4, 29].map(rustix::process::Gid::from_raw);
        rustix::thread::set_thread_groups(&groups).unwrap();
    }
    be_odd();
    leak_a_file(&folder.join("secret"));
    give_a_key();
    let mut argv = vec![
        folder
            .join("programs")
            .join(row.program)
            .to_str()
            .unwrap()
            .to_owned(),
    ];
    argv.extend_from_slice(rest);
    let mut plan = cell::plan(row, folder, argv);
    let mut changes = row.beside.to_vec();
    if which == "gone" {
        changes.extend_from_slice(row.gone);
    }
    for change in changes {
        let before = plan.steps().to_vec();
        let steps: Vec<Planned> = before
            .iter()
            .filter_map(|planned| {
                Some(Planned {
                    step: change(planned.step.clone())?,
                    ..planned.clone()
                })
            })
            .collect();
        assert_ne!(steps, before, "the plan has no such step");
        plan = Plan::new(steps);
    }
    let one = sys::SingleThread::check()?;
    let signals = container::supervise::Signals::take()?;
    let judged = match (row.program, row.name) {
        ("bind", "wrong source") => vec![cell::open(&folder.join("programs"))],
        ("bind", _) => vec![cell::open(&folder.join("bound"))],
        _ => Vec::new(),
    };
    let mut running = sandbox::spawn(sandbox::prepare(plan, judged, false)?, one)?;
    if which == "unreleased" {
        // The layers are checked and pid 1 is confined long before.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let waits = matches!(running.next_told()?, sandbox::Told::Nothing)
            && matches!(running.next_payload_told()?, sandbox::Told::Nothing);
        return Ok(if waits { 42 } else { 1 });
    }
    running.release()?;
    let exit = container::supervise::supervise(&mut running, &signals, None, &mut ())?;
    Ok(exit.how.exit_code())
}

/// A descriptor of a host file that survives exec: a caller's carelessness.
fn leak_a_file(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    let copy = rustix::io::dup(&file).unwrap();
    std::mem::forget(copy);
}

/// A caller who closes its files to others, and is being debugged.
fn be_odd() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // SAFETY: ADDR_NO_RANDOMIZE takes effect on later execs only.
    unsafe { libc::personality(0x0004_0000) };
}

/// A session keyring with a key, as logins make.
fn give_a_key() {
    sys::join_new_session_keyring().unwrap();
    // SAFETY: the strings are NUL-terminated and outlive the call; -3 is the session keyring.
    let key = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"lazaret-secret".as_ptr(),
            c"hunter2".as_ptr(),
            7,
            -3,
        )
    };
    assert!(key > 0, "add_key: {}", std::io::Error::last_os_error());
}

/// Not a step, but a check inside one: a node of the host's /dev that is not what its name says.
fn refuses_a_wrong_node(scene: &Scene) -> Result<(), String> {
    let mut row = row("wrong node", "fds", &[]);
    row.beside = &[wrong_node];
    refuses(scene, &row, "not the device")
}

/// As above: between the decision and the mount another folder came to be where the source was.
fn refuses_another_source(scene: &Scene) -> Result<(), String> {
    refuses(scene, &row("wrong source", "bind", &[]), "not what it was")
}

/// As above: an image's link leads the mount into the cell's own /proc.
fn refuses_a_stray_target(scene: &Scene) -> Result<(), String> {
    refuses(scene, &row("wrong target", "bind", &[]), "the cell's own")
}

fn refuses(scene: &Scene, row: &Row, why: &str) -> Result<(), String> {
    let output = scene.run(row, "held");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() == Some(125) && said.contains(why) {
        true => Ok(()),
        false => Err(words(&output)),
    }
}

/// As above: a command that the supervisor does not let go.
fn waits_for_the_release(scene: &Scene) -> Result<(), String> {
    let output = scene.run(&rows()[0], "unreleased");
    let waited = output.status.code() == Some(42);
    waited.then_some(()).ok_or_else(|| words(&output))
}
