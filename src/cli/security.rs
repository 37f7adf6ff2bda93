//! `--cap-add`, `--cap-drop` and `--security-opt` as docker spells them.

use crate::error::{Context, Error, Kind, Result};
use crate::image::quote::quoted;
use crate::plan::seccomp::{JsonProfile, MAX_JSON};
use crate::policy::{CAPABILITIES, CapsAsk};

/// docker's spellings: any case, with or without `CAP_`, and `ALL`.
///
/// # Errors
/// `Usage`: no capability of that name.
pub fn capabilities(add: &[String], drop: &[String]) -> Result<CapsAsk> {
    let (add, add_all) = named("--cap-add", add)?;
    let (drop, drop_all) = named("--cap-drop", drop)?;
    Ok(CapsAsk {
        add,
        add_all,
        drop,
        drop_all,
    })
}

/// The names, each once, and whether `ALL` is among them.
fn named(flag: &str, texts: &[String]) -> Result<(Vec<String>, bool)> {
    let (mut names, mut all): (Vec<String>, bool) = (Vec::new(), false);
    for text in texts {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if upper == "ALL" {
            all = true;
        } else if !CAPABILITIES.contains(&bare) {
            let what = format!("{flag} {}: no capability is called that", quoted(text));
            return Err(Error::new(Kind::Usage, what).hint(
                "names are those of capabilities(7), one for each flag: CHOWN, NET_BIND_SERVICE",
            ));
        } else if !names.iter().any(|have| have == bare) {
            names.push(bare.to_owned());
        }
    }
    Ok((names, all))
}

/// The profile of `seccomp=FILE`, if any; other options are taken where they are so already, and
/// refused else. As with docker, `:` does for `=`.
///
/// # Errors
/// `Policy`, `Unsupported`: an option that is refused; `Usage`: one that is none; `Io`: a file that
/// cannot be read; else as [`JsonProfile::parse`].
pub fn options(texts: &[String]) -> Result<Option<JsonProfile>> {
    let mut seccomp = None;
    for text in texts {
        let split = text.split_once('=').or_else(|| text.split_once(':'));
        let (key, value) = match split {
            Some((key, value)) => (key, Some(value)),
            None => (text.as_str(), None),
        };
        match (key, value) {
            ("seccomp", Some(value)) => {
                if seccomp.is_some() {
                    let what = "--security-opt seccomp is given twice";
                    return Err(Error::new(Kind::Usage, what));
                }
                seccomp = Some(profile(value)?);
            }
            ("no-new-privileges", None | Some("true")) => {}
            _ => return Err(refusal(text, key, value)),
        }
    }
    Ok(seccomp.flatten())
}

/// `builtin` is the policy's own set: nothing narrows it.
fn profile(value: &str) -> Result<Option<JsonProfile>> {
    match value {
        "builtin" => Ok(None),
        "unconfined" => Err(Error::new(
            Kind::Policy,
            "--security-opt seccomp=unconfined is refused",
        )
        .hint(
            "without a filter the whole kernel is open to the cell; no policy can allow it. Name \
             the call that is missing instead: `lazaret run --dry-run --format json` lists those \
             that there are",
        )),
        "" => Err(
            Error::new(Kind::Usage, "--security-opt seccomp= names no file")
                .hint("write --security-opt seccomp=./profile.json"),
        ),
        file => {
            let bytes = read(file).map_err(|e| e.context("--security-opt seccomp"))?;
            let read = JsonProfile::parse(&bytes, file);
            read.map(Some)
                .map_err(|e| e.context("--security-opt seccomp"))
        }
    }
}

fn read(file: &str) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let opened = std::fs::File::open(file).or_call(|| format!("open {file:?}"))?;
    let mut bytes = Vec::new();
    // One more than is read at most, so that the reader says that it is too many.
    let read = opened.take(MAX_JSON + 1).read_to_end(&mut bytes);
    read.or_call(|| format!("read {file:?}"))?;
    Ok(bytes)
}

fn refusal(text: &str, key: &str, value: Option<&str>) -> Error {
    let shown = quoted(text);
    let why = match (key, value) {
        ("no-new-privileges", Some("false")) => {
            "a setuid file of the image would gain privileges; no policy can allow it"
        }
        ("no-new-privileges", _) => {
            let what = format!("--security-opt {shown}: it is true, always");
            return Error::new(Kind::Usage, what).hint("leave it out, or write no-new-privileges");
        }
        ("apparmor", _) => {
            "profiles of AppArmor are root's to load; what one would hold, Landlock and the mounts \
             of the cell hold"
        }
        ("label", _) => {
            "labels of SELinux are root's to give; what they would hold, Landlock and the mounts of \
             the cell hold"
        }
        ("systempaths" | "unmask", _) => {
            "the masks of /proc hide what acts on the host or tells of it; no policy can take them \
             away"
        }
        ("mask", _) => "the masks of /proc are lazaret's own, and cover what docker's cover",
        ("writable-cgroups", _) => "a cell sees no cgroup file system at all",
        ("proc-opts", _) => "/proc is mounted as every cell's is",
        ("seccomp", None) => {
            return Error::new(Kind::Usage, "--security-opt seccomp names no file")
                .hint("write --security-opt seccomp=./profile.json");
        }
        _ => {
            let what = format!("--security-opt {shown} is not known");
            return Error::new(Kind::Usage, what)
                .hint("there are seccomp=FILE, seccomp=builtin and no-new-privileges");
        }
    };
    Error::new(Kind::Policy, format!("--security-opt {shown} is refused")).hint(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn capabilities_in_dockers_spellings() {
        let add = strings(&["chown", "CAP_SETUID", "cap_SetGid", "CHOWN"]);
        let asked = capabilities(&add, &strings(&["all", "Kill"])).unwrap();
        assert_eq!(asked.add, ["CHOWN", "SETUID", "SETGID"]);
        assert!(!asked.add_all && asked.drop_all);
        assert_eq!(asked.drop, ["KILL"]);
        assert!(capabilities(&strings(&["ALL"]), &[]).unwrap().add_all);
        for text in [
            "",
            "CAP_",
            "CAP_ALL",
            "CHMOD",
            "CHOWN,SETUID",
            " CHOWN",
            "*",
            "ﬁ",
        ] {
            let error = capabilities(&strings(&[text]), &[]).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{text}");
            assert!(capabilities(&[], &strings(&[text])).is_err(), "{text}");
        }
    }

    #[test]
    fn options_that_hold_anyway() {
        for texts in [
            &[][..],
            &["no-new-privileges"],
            &["no-new-privileges=true", "no-new-privileges:true"],
            &["seccomp=builtin"],
            &["seccomp:builtin", "no-new-privileges"],
        ] {
            assert_eq!(options(&strings(texts)).unwrap(), None, "{texts:?}");
        }
    }

    #[test]
    fn options_that_are_refused_by_name() {
        for (text, kind) in [
            ("seccomp=unconfined", Kind::Policy),
            ("seccomp:unconfined", Kind::Policy),
            ("no-new-privileges=false", Kind::Policy),
            ("no-new-privileges:false", Kind::Policy),
            ("no-new-privileges=1", Kind::Usage),
            ("apparmor=unconfined", Kind::Policy),
            ("label=disable", Kind::Policy),
            ("label:type:x", Kind::Policy),
            ("systempaths=unconfined", Kind::Policy),
            ("unmask=ALL", Kind::Policy),
            ("writable-cgroups=true", Kind::Policy),
            ("seccomp", Kind::Usage),
            ("seccomp=", Kind::Usage),
            ("seccomp=/no/such/file", Kind::Io),
            ("seccomp=/", Kind::Io),
            ("what=ever", Kind::Usage),
            ("", Kind::Usage),
        ] {
            assert_eq!(options(&strings(&[text])).unwrap_err().kind, kind, "{text}");
        }
        let twice = strings(&["seccomp=builtin", "seccomp=builtin"]);
        assert_eq!(options(&twice).unwrap_err().kind, Kind::Usage);
    }
}
