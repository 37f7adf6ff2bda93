//! What of a plan is a tool's alone: a root without an image.

use super::{ProgramCopy, Step};
use crate::image::Digest;
use crate::policy::{BindMount, Grants, Origin, TOOL_HOME};

/// Which bind is copied and hashed, and what it must be.
pub fn hashed(grants: &Grants) -> Option<(usize, Digest)> {
    grants.tool.as_ref().and_then(|tool| tool.value.sha256)
}

/// What is known of the program that is executed; `None` for a cell that has an image.
pub fn origin(grants: &Grants) -> Option<Origin> {
    let tool = grants.tool.as_ref()?;
    Some(Origin::Always(match tool.value.sha256 {
        Some(_) => "the copy whose sha256 was checked",
        None => "the program of that name; no digest of it is checked",
    }))
}

/// The bind as the copy that it is in the plan, if it is that one.
pub fn copy(grants: &Grants, bind: &BindMount) -> Option<ProgramCopy> {
    let (number, sha256) = hashed(grants)?;
    (bind.number == number).then(|| ProgramCopy {
        source: bind.source.clone(),
        number,
        path: bind.target.clone(),
        sha256,
    })
}

/// What an image would have: links, folders to write in, a user database of two or three lines.
/// Empty for a cell that has an image.
pub fn skeleton(grants: &Grants) -> Vec<(Step, Origin)> {
    let Some(tool) = &grants.tool else {
        return Vec::new();
    };
    let root = (0, 0);
    let user = numbers(&grants.user.value);
    let folder = |path: &str, mode, owner| Step::MakeFolder {
        path: path.to_owned(),
        mode,
        owner,
    };
    let file = |path: &str, content: String| Step::WriteFile {
        path: path.to_owned(),
        content,
    };
    let mut steps: Vec<(Step, Origin)> = Vec::new();
    for (path, target) in &tool.value.links {
        let (path, target) = (path.clone(), target.clone());
        let why = Origin::Always("the root is laid out as the host's");
        steps.push((Step::MakeLink { path, target }, why));
    }
    let memory = Origin::Always("what is written in memory goes with the run");
    for path in ["/tmp", "/var/tmp"] {
        steps.push((folder(path, 0o1777, root), memory.clone()));
    }
    steps.push((folder(TOOL_HOME, 0o700, user), memory));
    let (passwd, group) = databases(user);
    let own = Origin::Always("nobody of the host is named");
    steps.push((file("/etc/passwd", passwd), own.clone()));
    steps.push((file("/etc/group", group), own));
    steps
}

/// `UID:GID` as two numbers; anything else is root, who is the one user of such a cell then.
fn numbers(user: &str) -> (u32, u32) {
    let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => (uid, gid),
        _ => (0, 0),
    }
}

/// passwd(5) and group(5).
fn databases((uid, gid): (u32, u32)) -> (String, String) {
    let (mut passwd, mut group) = (String::new(), String::new());
    let home = if uid == 0 { TOOL_HOME } else { "/" };
    passwd.push_str(&format!("root:x:0:0:root:{home}:/bin/sh\n"));
    group.push_str("root:x:0:\ntty:x:5:\n");
    if uid != 0 {
        passwd.push_str(&format!("tool:x:{uid}:{gid}:tool:{TOOL_HOME}:/bin/sh\n"));
    }
    if !matches!(gid, 0 | 5) {
        group.push_str(&format!("tool:x:{gid}:\n"));
    }
    passwd.push_str("nobody:x:65534:65534:nobody:/:/bin/false\n");
    group.push_str("nogroup:x:65534:\n");
    (passwd, group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_name_who_runs() {
        let (passwd, group) = databases((1001, 1002));
        assert!(passwd.contains("tool:x:1001:1002:tool:/home/tool:"));
        assert!(group.contains("tool:x:1002:"));
        let (passwd, group) = databases((0, 0));
        assert!(passwd.starts_with("root:x:0:0:root:/home/tool:"));
        assert!(!passwd.contains("tool:x") && !group.contains("tool:x"));
        assert_eq!(numbers("1:2"), (1, 2));
        assert_eq!(numbers(""), (0, 0));
        assert_eq!(numbers("ana"), (0, 0));
    }
}
