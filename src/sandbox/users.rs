//! `USER` looked up in the image's own /etc/passwd and /etc/group (passwd(5), group(5)), which are
//! hostile bytes: malformed lines match nothing.

use crate::plan::UserSpec;

/// Who the payload becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups inside, at most [`MAX_GROUPS`].
    pub groups: Vec<u32>,
    /// The home folder, where passwd names one.
    pub home: Option<String>,
}

/// As many supplementary groups as are taken from an image; the kernel's own bound is 65,536.
pub const MAX_GROUPS: usize = 64;

/// The largest /etc/passwd or /etc/group that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// An id; 4294967295 is none: setresuid(2) takes it for "as it is", and its bearer would stay root.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or("");
        Some(Entry {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// Whether passwd has a line for `uid`.
pub fn knows(passwd: &str, uid: u32) -> bool {
    entries(passwd).any(|e| e.uid == uid)
}

/// Looks `spec` up. As docker does: a name must exist; a number need not, and has group 0 then.
/// `Err` is what was not found: `user` or `group`.
pub fn look_up(spec: &UserSpec, passwd: &str, group: &str) -> Result<User, &'static str> {
    let wanted = if spec.user.is_empty() {
        "0"
    } else {
        spec.user.as_str()
    };
    let by_name = entries(passwd).find(|e| e.name == wanted);
    let number = id(wanted);
    let entry = by_name.or_else(|| number.and_then(|n| entries(passwd).find(|e| e.uid == n)));
    let (uid, mut gid, name, home) = match (&entry, number) {
        (Some(e), _) => (e.uid, e.gid, Some(e.name), Some(e.home.to_owned())),
        (None, Some(n)) => (n, 0, None, None),
        (None, None) => return Err("user"),
    };
    let mut supplementary = Vec::new();
    if let Some(wanted) = &spec.group {
        gid = groups(group)
            .find(|(name, ..)| name == wanted)
            .map(|(_, gid, _)| gid)
            .or_else(|| id(wanted))
            .ok_or("group")?;
    } else if let Some(name) = name {
        supplementary = groups(group)
            .filter(|(.., members)| members.split(',').any(|m| m == name))
            .map(|(_, gid, _)| gid)
            .filter(|g| *g != gid)
            .take(MAX_GROUPS)
            .collect();
    }
    Ok(User {
        uid,
        gid,
        groups: supplementary,
        home: home.filter(|h| h.starts_with('/')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:5:5::/:\nana:x:1000:100:Ana:/home/ana:/bin/sh\nrel:x:7:7::home:\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:ana\naudio:x:29:bob,ana\nbad:x:z:ana\n";

    fn user(user: &str, group: Option<&str>) -> Result<User, &'static str> {
        let spec = UserSpec {
            user: user.into(),
            group: group.map(Into::into),
        };
        look_up(&spec, PASSWD, GROUP)
    }

    #[test]
    fn names_numbers_and_groups() {
        let ana = User {
            uid: 1000,
            gid: 100,
            groups: vec![29],
            home: Some("/home/ana".into()),
        };
        assert_eq!(user("ana", None), Ok(ana.clone()));
        assert_eq!(user("1000", None), Ok(ana.clone()));
        assert_eq!(
            user("ana", Some("audio")),
            Ok(User {
                gid: 29,
                groups: vec![],
                ..ana
            })
        );
        let nobody = User {
            uid: 4242,
            gid: 0,
            groups: vec![],
            home: None,
        };
        assert_eq!(user("4242", None), Ok(nobody.clone()));
        assert_eq!(
            user("4242", Some("4243")),
            Ok(User {
                gid: 4243,
                ..nobody
            })
        );
        assert_eq!(user("", None).map(|u| u.uid), Ok(0));
        assert_eq!(user("rel", None).map(|u| u.home), Ok(None));
        assert_eq!(user("eve", None), Err("user"));
        assert_eq!(user("ana", Some("eve")), Err("group"));
        assert_eq!(user("-1", None), Err("user"));
        // All ones mean "as it is" to the kernel: uid 0.
        assert_eq!(user("4294967295", None), Err("user"));
        assert_eq!(user("0", Some("4294967295")), Err("group"));
        let minus = "eve:x:4294967295:0:::\nbob:x:1000:4294967295:::\n";
        for name in ["eve", "bob"] {
            let spec = UserSpec {
                user: name.into(),
                group: None,
            };
            assert_eq!(look_up(&spec, minus, "all:x:4294967295:\n"), Err("user"));
        }
        assert!(knows(PASSWD, 1000) && !knows(PASSWD, 5));
    }
}
