//! `-v`, `--mount`, `--tmpfs` and `--device`: docker's spellings. Pure.
//!
//! What always holds may be said (nosuid, nodev, private propagation); what is not built, or not to
//! be had, is refused by its name and never passed over.

use super::values::size;
use crate::error::{Error, Kind, Result};
use crate::policy::{BindAsk, DeviceAsk, TmpfsAsk};

/// Sockets of container engines.
const ENGINES: [&str; 4] = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock"];

fn usage(what: String) -> Error {
    Error::new(Kind::Usage, what)
}

/// What a `--mount` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// `type=bind`.
    Bind(BindAsk),
    /// `type=tmpfs`.
    Tmpfs(TmpfsAsk),
}

/// A path inside.
fn target(path: &str, wrong: &dyn Fn(String) -> Error) -> Result<String> {
    if !path.starts_with('/') {
        return Err(wrong(format!("the path inside, {path:?}, is not absolute")));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(wrong("the path inside must not contain `..`".to_owned()));
    }
    Ok(path.to_owned())
}

/// A path outside: docker takes anything without a slash in front for a volume's name.
fn source(path: &str, wrong: &dyn Fn(String) -> Error) -> Result<String> {
    let name = path.rsplit('/').next().unwrap_or_default();
    if ENGINES.contains(&name) {
        // The policy denies them where they are; this also says so where they are not.
        return Err(
            wrong("a container engine's socket stays outside".to_owned())
                .kind(Kind::Policy)
                .hint(
                    "whoever can speak to that socket is root on this machine; no policy can allow \
                 it. lazaret itself needs no daemon",
                ),
        );
    }
    if path.starts_with('/') || path == "." || path == ".." {
        return Ok(path.to_owned());
    }
    if path.starts_with("./") || path.starts_with("../") {
        return Ok(path.to_owned());
    }
    if path.starts_with('~') {
        return Err(wrong(format!("{path:?}: ~ is the shell's to expand"))
            .hint("write it at the beginning of a word, or write $HOME"));
    }
    Err(wrong(format!(
        "{path:?} is a volume's name, and volumes are not built yet"
    ))
    .kind(Kind::Unsupported)
    .hint(format!(
        "a folder of yours is written with a slash: ./{path}"
    )))
}

/// `-v SOURCE:TARGET[:OPTION,...]`; without `ro` it may be written, as with docker.
pub fn volume(text: &str) -> Result<BindAsk> {
    let wrong = |what: String| usage(format!("-v {text:?}: {what}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, options) = match parts[..] {
        [from, to] => (from, to, ""),
        [from, to, options] => (from, to, options),
        [_] => {
            return Err(wrong("a volume without a name is not built yet".to_owned())
                .kind(Kind::Unsupported)
                .hint("write ./FOLDER:/TARGET, or --tmpfs /TARGET for an empty folder"));
        }
        _ => {
            return Err(wrong("more than two colons".to_owned())
                .hint("--mount type=bind,source=...,target=... takes paths with colons"));
        }
    };
    if from.is_empty() {
        return Err(wrong("no path outside".to_owned()));
    }
    let mut ask = BindAsk {
        flag: "-v",
        source: source(from, &wrong)?,
        subpath: None,
        target: target(to, &wrong)?,
        read_only: false,
        no_exec: false,
    };
    let mut written = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "rw" => {
                if written.is_some_and(|before| before != option) {
                    return Err(wrong("both ro and rw".to_owned()));
                }
                written = Some(option);
                ask.read_only = option == "ro";
            }
            "noexec" => ask.no_exec = true,
            "nosuid" | "nodev" | "private" | "rprivate" | "rbind" => {}
            option if COHERENT.contains(&option) => {}
            _ => return Err(no_option(&wrong, option)),
        }
    }
    Ok(ask)
}

/// `--device SOURCE[:TARGET][:PERMISSIONS]`, which are `rw`: nothing here could let a device be read
/// and not written, or the other way round.
pub fn device(text: &str) -> Result<DeviceAsk> {
    let wrong = |what: String| usage(format!("--device {text:?}: {what}"));
    let is_mode = |part: &str| !part.is_empty() && part.bytes().all(|b| b"rwm".contains(&b));
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, mode) = match parts[..] {
        [from] => (from, from, "rw"),
        [from, mode] if is_mode(mode) => (from, from, mode),
        [from, to] => (from, to, "rw"),
        [from, to, mode] => (from, to, mode),
        _ => return Err(wrong("more than two colons".to_owned())),
    };
    let has = |letter| mode.contains(letter);
    if has('m') {
        return Err(wrong("m would let devices be made".to_owned())
            .kind(Kind::Policy)
            .hint("no policy can allow it; leave the m out"));
    }
    if !(is_mode(mode) && has('r') && has('w')) {
        return Err(wrong(format!("permissions {mode:?} cannot be enforced"))
            .kind(Kind::Unsupported)
            .hint("rw is what can be had, where the policy allows the device"));
    }
    if !from.starts_with('/') {
        return Err(wrong("not an absolute path".to_owned()).hint("it is one below /dev"));
    }
    Ok(DeviceAsk {
        source: from.to_owned(),
        target: target(to, &wrong)?,
    })
}

/// How late a write may be seen on the other side, where a virtual machine lies between: nowhere
/// later than at once here, which is more than any of them asks for.
const COHERENT: [&str; 4] = ["consistent", "default", "cached", "delegated"];

const NO_VOLUMES: &str = "volumes are not built yet; a folder of yours has no such option";
const NO_PASSING: &str = "mounts that are made later never pass between the cell and the host; \
                          private is what always holds";
const NO_LABELS: &str =
    "labels of the host's files are never changed; leave it out where nothing asks for labels";
const NO_OWNERS: &str =
    "owners of the host's files are never changed; --userns keep-id runs as you";
const NO_PART: &str = "what is mounted below a folder comes along, because the kernel lets nobody \
                       uncover what it hides; name a folder without mounts below it";

/// Why docker's and podman's other options and keys are not to be had; `KEY` or `KEY=VALUE`.
fn why_not(option: &str) -> Option<&'static str> {
    Some(match option.split_once('=') {
        Some(("bind-propagation", _)) => NO_PASSING,
        Some(("bind-recursive", "writable")) => {
            "read-only holds for all that is mounted below, too; bind-recursive=readonly says so"
        }
        Some(("bind-recursive", _)) => NO_PART,
        _ => match option.split('=').next().unwrap_or(option) {
            "shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable" => NO_PASSING,
            "z" | "Z" | "relabel" => NO_LABELS,
            "U" | "chown" | "idmap" => NO_OWNERS,
            "bind" | "bind-nonrecursive" => NO_PART,
            "suid" | "dev" => "nosuid and nodev always hold",
            "copy" | "nocopy" | "volume-nocopy" | "volume-driver" | "volume-opt"
            | "volume-label" => NO_VOLUMES,
            _ => return None,
        },
    })
}

fn no_option(wrong: &dyn Fn(String) -> Error, option: &str) -> Error {
    let error = wrong(format!("option {option:?} is not built")).kind(Kind::Unsupported);
    error.hint(
        why_not(option).unwrap_or("ro, rw and noexec are; nosuid, nodev and private always hold"),
    )
}

/// `--mount type=bind|tmpfs,KEY[=VALUE],...`, of which `ro` and `readonly` need no value.
pub fn mount(text: &str) -> Result<Mount> {
    let wrong = |what: String| usage(format!("--mount {text:?}: {what}"));
    let fields: Vec<(&str, Option<&str>)> = text
        .split(',')
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field, None),
        })
        .collect();
    let kind = fields.iter().rev().find(|(key, _)| *key == "type");
    let bind = match kind.and_then(|(_, value)| *value) {
        Some("bind") => true,
        Some("tmpfs") => false,
        None | Some("volume") => {
            return Err(wrong("volumes are not built yet".to_owned())
                .kind(Kind::Unsupported)
                .hint("type=bind mounts a folder of yours, type=tmpfs an empty one"));
        }
        Some(other) => {
            return Err(wrong(format!("type={other} is not built"))
                .kind(Kind::Unsupported)
                .hint("type=bind and type=tmpfs are"));
        }
    };
    let mut recursive = false;
    let (mut from, mut to, mut read_only, mut bytes, mut mode) = (None, None, false, None, None);
    let mut below = None;
    for (key, value) in fields {
        let needed = || {
            let value = value.filter(|value| !value.is_empty());
            value.ok_or_else(|| wrong(format!("{key} has no value")))
        };
        match key {
            "type" => {}
            "source" | "src" if bind => from = Some(source(needed()?, &wrong)?),
            // docker has it for its volumes, podman by the shorter name.
            "volume-subpath" | "subpath" if bind => below = Some(subpath(needed()?, &wrong)?),
            "target" | "destination" | "dst" => to = Some(target(needed()?, &wrong)?),
            "readonly" | "ro" => {
                read_only = match value {
                    None | Some("true" | "1") => true,
                    Some("false" | "0") => false,
                    Some(_) => return Err(wrong(format!("{key} is true or false"))),
                };
            }
            "tmpfs-size" if !bind => match size(needed()?) {
                Some(0) | None => {
                    return Err(
                        wrong("tmpfs-size is not a size".to_owned()).hint("write 64m, 1g or bytes")
                    );
                }
                size => bytes = size,
            },
            "tmpfs-mode" if !bind => {
                mode = Some(bits(needed()?).ok_or_else(|| {
                    wrong("tmpfs-mode is no mode".to_owned()).hint("write 1777 or 0700")
                })?);
            }
            "bind-propagation" if bind => match needed()? {
                "private" | "rprivate" => {}
                other => return Err(no_key(&wrong, &format!("{key}={other}"))),
            },
            "bind-recursive" if bind => match needed()? {
                "enabled" => {}
                // As it always is; docker wants both to be said.
                "readonly" => recursive = true,
                other => return Err(no_key(&wrong, &format!("{key}={other}"))),
            },
            "consistency" if bind => match needed()? {
                value if COHERENT.contains(&value) => {}
                other => return Err(no_key(&wrong, &format!("{key}={other}"))),
            },
            _ => return Err(no_key(&wrong, key)),
        }
    }
    if recursive && !read_only {
        return Err(wrong("bind-recursive=readonly without readonly".to_owned()));
    }
    let target = to.ok_or_else(|| wrong("no target=".to_owned()))?;
    if !bind {
        return Ok(Mount::Tmpfs(TmpfsAsk {
            flag: "--mount",
            path: target,
            size: bytes,
            mode,
            read_only,
        }));
    }
    Ok(Mount::Bind(BindAsk {
        flag: "--mount",
        source: from.ok_or_else(|| wrong("no source=".to_owned()))?,
        subpath: below,
        target,
        read_only,
        no_exec: false,
    }))
}

/// A path below the source.
fn subpath(path: &str, wrong: &dyn Fn(String) -> Error) -> Result<String> {
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        let cause = format!("the subpath {path:?} is not below the source");
        return Err(wrong(cause).hint("it is relative, and without `..`"));
    }
    Ok(path.to_owned())
}

/// Permission bits in octal, the sticky one too.
fn bits(text: &str) -> Option<u32> {
    let bits = u32::from_str_radix(text, 8).ok()?;
    (bits <= 0o1777 && !text.starts_with('+')).then_some(bits)
}

fn no_key(wrong: &dyn Fn(String) -> Error, key: &str) -> Error {
    let error = wrong(format!("{key} is not built")).kind(Kind::Unsupported);
    error.hint(
        why_not(key)
            .unwrap_or("type, source, subpath, target, readonly, tmpfs-size and tmpfs-mode are"),
    )
}

/// `--tmpfs PATH[:OPTION,...]`. What a cell's tmpfs always is may be said; other options are
/// refused by name.
pub fn tmpfs(text: &str) -> Result<TmpfsAsk> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let wrong = |what: &str| usage(format!("--tmpfs {text:?}: {what}"));
    if !path.starts_with('/') || path == "/" {
        return Err(wrong("the path must be absolute and below /"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(wrong("the path must not contain `..`"));
    }
    let mut ask = TmpfsAsk {
        flag: "--tmpfs",
        path: path.to_owned(),
        size: None,
        mode: None,
        read_only: false,
    };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => match size(value) {
                Some(0) | None => {
                    return Err(wrong("size= is not a size").hint("write 64m, 1g or bytes"));
                }
                size => ask.size = size,
            },
            Some(("mode", value)) => match bits(value) {
                None => return Err(wrong("mode= is no mode").hint("write 1777 or 0700")),
                mode => ask.mode = mode,
            },
            None if option == "ro" => ask.read_only = true,
            None if matches!(option, "rw" | "nosuid" | "nodev" | "noexec") => {}
            _ => {
                return Err(wrong(&format!("option {option:?} is not built yet"))
                    .hint("size=N, mode=N and ro are; nosuid, nodev and noexec always hold"));
            }
        }
    }
    Ok(ask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is written is understood or refused, and what is understood stays inside.
        #[test]
        fn any_text_is_an_answer(text in "[a-z/.:,=~ 0-9\\PC]{0,60}") {
            for ask in [volume(&text), volume(&format!("./x:/{text}"))].into_iter().flatten() {
                prop_assert!(ask.target.starts_with('/') && !ask.target.contains("/../"));
            }
            for text in [&text, &format!("type=bind,source=/x,{text}"), &format!("type=tmpfs,{text}")] {
                let target = match mount(text) {
                    Ok(Mount::Bind(ask)) => ask.target,
                    Ok(Mount::Tmpfs(ask)) => ask.path,
                    Err(error) => {
                        prop_assert!(error.hint.is_some() || !error.cause.is_empty());
                        continue;
                    }
                };
                prop_assert!(target.starts_with('/') && !target.contains("/../"));
            }
            if let Ok(ask) = device(&format!("/dev/{text}")) {
                prop_assert!(ask.source.starts_with("/dev/"));
            }
        }
    }

    #[test]
    fn tmpfs_options_are_taken_or_refused_by_name() {
        assert_eq!(
            tmpfs("/x:rw,size=64m").unwrap(),
            TmpfsAsk {
                flag: "--tmpfs",
                path: "/x".to_owned(),
                size: Some(64 << 20),
                mode: None,
                read_only: false,
            }
        );
        assert_eq!(tmpfs("/x").unwrap().size, None);
        let closed = tmpfs("/x:mode=0700,ro,noexec").unwrap();
        assert_eq!((closed.mode, closed.read_only), (Some(0o700), true));
        for text in [
            "",
            "x",
            "/",
            "/a/../b",
            "/x:size=0",
            "/x:size=50%",
            "/x:mode=4755",
            "/x:mode=",
            "/x:mode=+7",
            "/x:uid=5",
            "/x:exec",
            "/x:suid",
        ] {
            assert_eq!(tmpfs(text).unwrap_err().kind, Kind::Usage, "{text}");
        }
        assert!(tmpfs("/x:uid=5").unwrap_err().cause.contains("uid=5"));
    }

    fn bind(text: &str) -> BindAsk {
        match mount(text).unwrap() {
            Mount::Bind(ask) => ask,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn volumes() {
        let plain = volume("./x:/y").unwrap();
        assert_eq!(
            plain,
            BindAsk {
                flag: "-v",
                source: "./x".to_owned(),
                subpath: None,
                target: "/y".to_owned(),
                read_only: false,
                no_exec: false
            }
        );
        let narrow = volume("/a/b:/y:ro,nosuid,noexec").unwrap();
        assert!(narrow.read_only && narrow.no_exec);
        assert!(!volume("..:/y:rw,nodev,rprivate,cached").unwrap().read_only);
        for (text, word) in [
            ("", "without a name"),
            ("/x", "without a name"),
            ("data:/x", "volumes are not built"),
            ("~/x:/x", "shell"),
            (":/x", "no path outside"),
            ("./x:", "not absolute"),
            ("./x:y", "not absolute"),
            ("./x:/a/../b", ".."),
            ("./x:/y:ro,rw", "both"),
            ("./x:/y:z", "\"z\""),
            ("./x:/y:shared", "\"shared\""),
            ("./x:/y:exec", "\"exec\""),
            ("./x:/y:ro:z", "two colons"),
        ] {
            let error = volume(text).unwrap_err();
            assert!(error.cause.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn devices() {
        let ask = |text: &str| {
            let ask = device(text).unwrap();
            (ask.source, ask.target)
        };
        let x = || "/dev/x".to_owned();
        for text in ["/dev/x", "/dev/x:rw", "/dev/x:/dev/x", "/dev/x:/dev/x:wr"] {
            assert_eq!(ask(text), (x(), x()), "{text}");
        }
        assert_eq!(ask("/dev/x:/dev/y:rw"), (x(), "/dev/y".to_owned()));
        for (text, kind) in [
            ("", Kind::Usage),
            ("x", Kind::Usage),
            ("/dev/x:y", Kind::Usage),
            ("/dev/x:/dev/../y", Kind::Usage),
            ("/dev/x:/dev/y:rw:z", Kind::Usage),
            ("/dev/x:rwm", Kind::Policy),
            ("/dev/x:/dev/y:m", Kind::Policy),
            ("/dev/x:r", Kind::Unsupported),
            ("/dev/x:/dev/y:w", Kind::Unsupported),
            ("/dev/x:/dev/y:", Kind::Unsupported),
            ("/dev/x:/dev/y:rx", Kind::Unsupported),
        ] {
            assert_eq!(device(text).unwrap_err().kind, kind, "{text}");
        }
    }

    #[test]
    fn mounts() {
        let ask = bind("type=bind,source=/a:b,destination=/y,readonly");
        assert_eq!((ask.source.as_str(), ask.target.as_str()), ("/a:b", "/y"));
        assert!(ask.read_only && ask.flag == "--mount");
        assert!(!bind("type=bind,src=./x,dst=/y,ro=false,bind-propagation=rprivate").read_only);
        let below = bind("type=bind,source=./x,volume-subpath=a/b,target=/y,consistency=cached");
        assert_eq!(below.subpath.as_deref(), Some("a/b"));
        assert_eq!(
            mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=0700,ro").unwrap(),
            Mount::Tmpfs(TmpfsAsk {
                flag: "--mount",
                path: "/t".to_owned(),
                size: Some(64 << 20),
                mode: Some(0o700),
                read_only: true,
            })
        );
        for (text, word) in [
            ("", "volumes are not built"),
            ("source=data,target=/x", "volumes are not built"),
            ("type=volume,target=/x", "volumes are not built"),
            ("type=npipe,target=/x", "npipe"),
            ("type=bind,target=/x", "no source="),
            ("type=bind,source=./x", "no target="),
            ("type=bind,source=x,target=/x", "volume's name"),
            ("type=bind,source=,target=/x", "no value"),
            ("type=bind,source=./x,target=x", "not absolute"),
            ("type=bind,source=./x,target=/x,readonly=maybe", "readonly"),
            (
                "type=bind,source=./x,target=/x,consistency=sometimes",
                "consistency=sometimes",
            ),
            (
                "type=bind,source=./x,target=/x,bind-propagation=shared",
                "=shared",
            ),
            (
                "type=bind,source=./x,target=/x,bind-nonrecursive",
                "bind-nonrecursive",
            ),
            ("type=bind,source=./x,target=/x,tmpfs-size=1m", "tmpfs-size"),
            ("type=bind,source=./x,target=/x,", "is not built"),
            ("type=bind,source=./x,target=/x,subpath=../y", "not below"),
            ("type=bind,source=./x,target=/x,subpath=/y", "not below"),
            ("type=bind,source=./x,target=/x,subpath", "no value"),
            ("type=tmpfs,target=/x,subpath=y", "subpath"),
            ("type=tmpfs,source=./x,target=/x", "source"),
            ("type=tmpfs,target=/x,tmpfs-size=0", "not a size"),
            ("type=tmpfs,target=/x,tmpfs-mode=4777", "no mode"),
            ("type=tmpfs,target=/x,volume-nocopy", "volume-nocopy"),
        ] {
            let error = mount(text).unwrap_err();
            assert!(error.cause.contains(word), "{text}: {error}");
        }
    }

    /// What docker and podman have besides says why it is not to be had.
    #[test]
    fn each_option_has_a_reason() {
        for (option, word) in [
            ("z", "labels"),
            ("Z", "labels"),
            ("U", "keep-id"),
            ("shared", "never pass"),
            ("rslave", "never pass"),
            ("nocopy", "volumes"),
            ("suid", "always hold"),
            ("bind", "comes along"),
            ("what", "noexec are"),
        ] {
            let error = volume(&format!("./x:/y:{option}")).unwrap_err();
            assert_eq!(error.kind, Kind::Unsupported);
            assert!(error.hint.unwrap().contains(word), "{option}");
        }
        for (key, word) in [
            ("bind-propagation=rshared", "never pass"),
            ("bind-recursive=disabled", "comes along"),
            ("bind-nonrecursive", "comes along"),
            ("bind-recursive=writable", "holds for all"),
            ("volume-driver=x", "volumes"),
            ("relabel=shared", "labels"),
            ("U=true", "keep-id"),
            ("what=x", "subpath"),
        ] {
            let error = mount(&format!("type=bind,source=./x,target=/y,{key}")).unwrap_err();
            assert_eq!(error.kind, Kind::Unsupported);
            assert!(error.hint.unwrap().contains(word), "{key}");
        }
    }
}
