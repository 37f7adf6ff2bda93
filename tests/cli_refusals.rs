//! docker's flags and commands that are not built: each is refused by its name, with code 125, and
//! nothing is done. What is behind the image is never looked at.

mod support;

use support::{Home, Ran};

fn run(home: &Home, line: &[&str]) -> Ran {
    home.lazaret(line).run()
}

/// Every option of `docker run --help` (28.2) that lazaret does not have, with a value where docker
/// wants one.
const NOT_BUILT: &str = "--add-host=a:1.2.3.4 --annotation=a=b -a=stdout --attach=stdout \
    --blkio-weight=100 --blkio-weight-device=/dev/sda:1 \
    --cgroup-parent=/x --cgroupns=host --cpu-count=1 --cpu-percent=1 --cpu-period=1 \
    --cpu-quota=1 --cpu-rt-period=1 --cpu-rt-runtime=1 -c=1 --cpu-shares=1 \
    --cpuset-cpus=0 --cpuset-mems=0 -d --detach --detach-keys=a \
    --device-cgroup-rule=c --device-read-bps=a:1 --device-read-iops=a:1 --device-write-bps=a:1 \
    --device-write-iops=a:1 --disable-content-trust --dns=1.1.1.1 --dns-option=x --dns-search=x \
    --domainname=x --expose=80 --gpus=all --group-add=audio --health-cmd=x --health-interval=1s \
    --health-retries=1 --health-start-interval=1s --health-start-period=1s --health-timeout=1s \
    --io-maxbandwidth=1 --io-maxiops=1 --ip=1.2.3.4 --ip6=::1 --ipc=host --isolation=x \
    --kernel-memory=1g --label-file=x --link=x --link-local-ip=1.2.3.4 \
    --log-driver=none --log-opt=a=b --mac-address=x --memory-reservation=1g \
    --memory-swappiness=1 --net-alias=x --network-alias=x \
    --no-healthcheck --oom-kill-disable --oom-score-adj=1 --pid=host\
    --privileged -p=80:80 --publish=80:80 -P --publish-all \
    --restart=always --runtime=runc --shm-size=1g \
    --sig-proxy=false --storage-opt=size=1g --sysctl=a=b \
    --use-api-socket --uts=host \
    --volume-driver=x --volumes-from=x";

#[test]
fn each_flag_of_docker_run_is_refused_by_name() {
    let home = Home::new();
    let mut count = 0;
    for word in NOT_BUILT.split_whitespace() {
        let (flag, value) = word.split_once('=').unwrap_or((word, ""));
        // Both ways of writing a value; a short flag's stands behind it.
        let mut ways = vec![vec!["run", "--rm", flag, "oci:nowhere", "true"]];
        if !value.is_empty() {
            ways.push(vec!["run", "-it", flag, value, "oci:nowhere"]);
            if flag.starts_with("--") {
                ways.push(vec!["container", "run", word, "oci:nowhere"]);
            }
        }
        for way in ways {
            let ran = run(&home, &way).exits(125).complains(flag);
            let text = ran.err();
            assert!(
                text.contains("is not built yet") || text.contains("is refused"),
                "{ran}"
            );
            assert!(!text.contains("nowhere"), "the image was looked at\n{ran}");
            assert!(ran.stdout.is_empty(), "{ran}");
            count += 1;
        }
    }
    assert!(count > 180, "only {count} were tried");
    assert!(!home.store().exists(), "a refusal made a store");
}

#[test]
fn flags_in_a_bundle_and_with_their_value_attached() {
    let home = Home::new();
    for (line, flag) in [
        (&["run", "-itd", "oci:x"][..], "-d (--detach)"),
        (&["run", "-p8080:80", "oci:x"], "-p (--publish)"),
        (&["run", "-itvdata:/x", "oci:x"], "-v \"data:/x\""),
    ] {
        run(&home, line).exits(125).complains(flag);
    }
}

#[test]
fn privileged_and_engine_sockets_are_refused_with_the_reason() {
    let home = Home::new();
    run(&home, &["run", "--privileged", "oci:x"])
        .exits(125)
        .complains("--privileged is refused")
        .complains("no policy can allow it");
    for line in [
        &[
            "run",
            "-v",
            "/var/run/docker.sock:/var/run/docker.sock",
            "oci:x",
        ][..],
        &[
            "run",
            "--volume=/run/user/1000/podman/podman.sock:/s",
            "oci:x",
        ],
        &[
            "run",
            "--mount",
            "type=bind,source=/run/containerd/containerd.sock,target=/s",
            "oci:x",
        ],
    ] {
        run(&home, line)
            .exits(125)
            .complains("a container engine's socket stays outside")
            .complains("is root on this machine");
    }
}

#[test]
fn commands_and_global_flags_of_docker() {
    let home = Home::new();
    for verb in [
        "attach",
        "build",
        "builder",
        "buildx",
        "commit",
        "compose",
        "context",
        "cp",
        "create",
        "diff",
        "events",
        "exec",
        "export",
        "history",
        "import",
        "info",
        "kill",
        "logs",
        "manifest",
        "network",
        "node",
        "pause",
        "plugin",
        "port",
        "rename",
        "restart",
        "secret",
        "service",
        "stack",
        "start",
        "stats",
        "stop",
        "swarm",
        "top",
        "unpause",
        "update",
        "volume",
        "wait",
        "checkpoint",
        "config",
    ] {
        let ran = run(&home, &[verb, "x"]).exits(125).complains(verb);
        let text = ran.err();
        assert!(
            text.contains("is not built yet") || text.contains("is refused"),
            "{ran}"
        );
    }
    for line in [
        &["image", "history", "x"][..],
        &["container", "exec", "x"],
        &["system", "info"],
    ] {
        run(&home, line)
            .exits(125)
            .complains(&format!("`{} {}` is not built yet", line[0], line[1]));
    }
    run(&home, &["-H", "tcp://127.0.0.1:1", "ps"])
        .exits(125)
        .complains("-H (--host) is refused")
        .complains("no daemon");
    for (line, flag) in [
        (&["ps", "-s"][..], "-s (--size)"),
        (&["container", "ls", "--size"], "--size"),
        (&["rm", "-v", "x"], "-v (--volumes)"),
        (&["rmi", "--no-prune", "x"], "--no-prune"),
        (&["inspect", "-s", "x"], "-s (--size)"),
        (&["system", "prune", "--volumes"], "--volumes"),
        (&["load", "--platform", "linux/arm64"], "--platform"),
        (&["push", "-a", "x"], "-a (--all-tags)"),
        (&["search", "-f", "stars=3", "x"], "-f (--filter)"),
    ] {
        run(&home, line)
            .exits(125)
            .complains(&format!("{flag} is not built yet"));
    }
}

#[test]
fn docker_host_is_ignored() {
    let home = Home::new();
    home.lazaret(["--version"])
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .run()
        .ok()
        .says("lazaret version ");
}

#[test]
fn only_the_network_that_there_is() {
    let home = Home::new();
    for network in ["bridge", "container:x", "my-net"] {
        run(&home, &["run", "--network", network, "oci:nowhere"])
            .exits(125)
            .complains(&format!("--network {network} is not built yet"));
    }
    run(&home, &["run", "--network", "none", "oci:nowhere"])
        .exits(125)
        .complains("run oci:nowhere");
}

#[test]
fn mistakes_are_125_with_a_suggestion() {
    let home = Home::new();
    for (line, complaint) in [
        (&["run"][..], "run: missing IMAGE"),
        (&["run", "--rm"], "run: missing IMAGE"),
        (&["run", "--nosuch", "x"], "unknown flag: --nosuch"),
        (
            &["run", "--entrypiont", "x", "y"],
            "did you mean --entrypoint?",
        ),
        (&["run", "--timeout", "5x", "x"], "\"5x\" is not a duration"),
        (&["run", "--timeout", "0s", "x"], "no time at all"),
        (
            &["run", "--verify", "maybe", "x"],
            "\"maybe\" is not a value of --verify",
        ),
        (&["run", "--rm=true", "x"], "--rm takes no value"),
        (
            &["run", "-w", "here", "x"],
            "\"here\" is not an absolute path",
        ),
        (&["run", "-e", "=x", "x"], "the variable has no name"),
        (&["run", "-e", "", "x"], "the variable has no name"),
        (&["run", "--hostname=-x-", "x"], "is not a host name"),
        (&["run", "--name", "a/b", "x"], "is not a container's name"),
        (
            &["run", "--tmpfs", "/x:uid=7", "x"],
            "\"uid=7\" is not built yet",
        ),
        (&["run", "--env-file", "absent", "x"], "open \"absent\""),
        (&["run", "UPPER"], "run UPPER:"),
        (
            &["run", "./img"],
            "a layout folder is named oci:./img[:TAG]",
        ),
        (&["run", "/x.tar"], "docker-archive:/x.tar"),
        (&["run", "--rm=true", "x"], "--rm alone switches it on"),
        (&["verfiy", "x"], "did you mean verify or version?"),
        (&["imagse"], "did you mean image or images?"),
        (&["images", "a", "b"], "\"b\" is one argument too many"),
        (&["images", "--format", "{{.ID"], "--format: {{ without }}"),
        (
            &["ps", "--filter", "status=paused"],
            "no container is ever paused",
        ),
        (&["rmi"], "rmi: missing IMAGE"),
        (&["load", "-i", "a", "oci:b"], "exclude each other"),
        (&["completion", "tcsh"], "\"tcsh\" is not a value of"),
    ] {
        run(&home, line).exits(125).complains(complaint);
    }
}

#[test]
fn a_wrong_command_line_is_json_where_json_was_asked_for() {
    let home = Home::new();
    let ran = run(&home, &["run", "--format", "json", "-d", "x"]).exits(125);
    let value: serde_json::Value = serde_json::from_slice(&ran.stderr).unwrap();
    assert_eq!(value["action"], "run");
    assert_eq!(value["kind"], "unsupported");
    assert_eq!(value["exit_code"], 125);
    assert!(
        value["cause"]
            .as_str()
            .unwrap()
            .starts_with("-d (--detach)"),
        "{value}"
    );
}

#[test]
fn nothing_of_a_command_line_reaches_a_terminal_raw() {
    let home = Home::new();
    for line in [
        &["run", "--\x1b[2J", "x"][..],
        &["run", "x\x1b[2J"],
        &["\x1b[2J"],
        &["run", "-e", "=\x1b[2J", "x"],
        &["run", "--timeout", "\x1b[2J", "x"],
        &["images", "--format", "{{.\x1b[2J}}"],
        &["run", "--env-file", "\x1b[2J", "x"],
    ] {
        let ran = run(&home, line).exits(125);
        assert!(!ran.err().contains('\x1b'), "{:?}", ran.err());
    }
}
