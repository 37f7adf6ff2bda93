//! Patterns of names and paths: `*` is anything but `/`, `**` anything at all; `/x/**` is `/x` too.

/// Whether all of `text` fits `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    if let Some(folder) = pattern.strip_suffix("/**")
        && glob(folder.as_bytes(), text.as_bytes())
    {
        return true;
    }
    glob(pattern.as_bytes(), text.as_bytes())
}

/// Whether `pattern` could match something below the folder `text`: whether some path that begins
/// with `text/` fits. Time is at most the product of the lengths.
pub fn matches_below(pattern: &str, text: &str) -> bool {
    let pattern = pattern.as_bytes();
    // The places of the pattern where a match of what was read so far can stand. A star lets the
    // place behind it be one too.
    let stars = |at: &mut [bool]| {
        for p in 0..pattern.len() {
            if at[p] && pattern[p] == b'*' {
                let many = pattern[p..].starts_with(b"**");
                at[p + 1 + usize::from(many)] = true;
            }
        }
    };
    let mut at = vec![false; pattern.len() + 1];
    let mut next = at.clone();
    at[0] = true;
    stars(&mut at);
    for byte in text.bytes().chain(*b"/") {
        next.fill(false);
        let (mut p, mut any) = (0, false);
        while p < pattern.len() {
            let many = pattern[p..].starts_with(b"**");
            let to = match pattern[p] {
                b'*' if many || byte != b'/' => Some(p),
                literal if literal == byte => Some(p + 1),
                _ => None,
            };
            if let Some(to) = to.filter(|_| at[p]) {
                (next[to], any) = (true, true);
            }
            p += 1 + usize::from(many);
        }
        if !any {
            return false;
        }
        std::mem::swap(&mut at, &mut next);
        stars(&mut at);
    }
    // What is left of the pattern fits some rest.
    true
}

/// How much of a pattern is literal: of two patterns that match, the larger is the more specific.
pub fn specificity(pattern: &str) -> usize {
    pattern.bytes().filter(|b| *b != b'*').count()
}

/// Backtracks to the last `*` and the last `**` only, which suffices: what an earlier star could
/// take more of, the last one can take too. Time is at most the product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut one: Option<(usize, usize)> = None;
    let mut many: Option<(usize, usize)> = None;
    loop {
        if pattern[p..].starts_with(b"**") {
            p += 2;
            (many, one) = (Some((p, t)), None);
            continue;
        }
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                p += 1;
                one = Some((p, t));
                continue;
            }
            (Some(want), Some(have)) if want == have => {
                p += 1;
                t += 1;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        if let Some((after, from)) = one
            && text.get(from).is_some_and(|b| *b != b'/')
        {
            one = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else if let Some((after, from)) = many
            && from < text.len()
        {
            many = Some((after, from + 1));
            one = None;
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars() {
        for (pattern, text) in [
            ("**", ""),
            ("**", "docker.io/library/redis:7"),
            ("docker.io/**", "docker.io/library/redis:7"),
            ("docker.io/*/redis:*", "docker.io/library/redis:7"),
            ("**/*.sock", "/run/user/1000/podman.sock"),
            ("/etc/**", "/etc"),
            ("/etc/**", "/etc/shadow"),
            ("oci:**", "oci:../debian:stable"),
            ("a*b**c", "axbyy/zc"),
            ("**a*b", "a/aab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("*", "a/b"),
            ("/etc/**", "/etcetera"),
            ("docker.io/*", "docker.io/library/redis"),
            ("builtin:*", "builtin:a/b"),
            ("**/*.sock", "x.sock.old"),
            ("oci:**", "docker.io/library/oci:latest"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_could_lie_below() {
        for (pattern, folder) in [
            ("/home/ana/.ssh/**", "/home"),
            ("/home/ana/.ssh/**", "/home/ana"),
            ("/home/*/.ssh", "/home/ana"),
            ("~/.*/**", "~"),
            ("/srv/**/secret", "/srv/x/y"),
            ("**/*.sock", "/x"),
        ] {
            assert!(matches_below(pattern, folder), "{pattern} {folder}");
        }
        for (pattern, folder) in [
            ("/", "/x"),
            ("/etc/**", "/home"),
            ("/home/ana/.ssh/**", "/home/an"),
            ("/home/ana/.ssh", "/home/ana/.ssh"),
            ("~/.*/**", "~/src"),
            ("/a/*/b", "/a/x/c"),
        ] {
            assert!(!matches_below(pattern, folder), "{pattern} {folder}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let text = "a".repeat(2000);
        let started = std::time::Instant::now();
        assert!(!matches(&format!("{}b", "**a".repeat(200)), &text));
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &text));
        assert!(started.elapsed().as_secs() < 5);
    }

    /// The obvious recursion.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=text.len()).any(|n| slow(rest, &text[n..])),
            [b'*', rest @ ..] => (0..=text.len())
                .take_while(|n| !text[..*n].contains(&b'/'))
                .any(|n| slow(rest, &text[n..])),
            [c, rest @ ..] => text.first() == Some(c) && slow(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn as_the_obvious_recursion(pattern in "[ab/*]{0,8}", text in "[ab/]{0,10}") {
            prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), slow(pattern.as_bytes(), text.as_bytes()), "{} {}", pattern, text);
        }

        #[test]
        fn below_is_never_missed(pattern in "[ab/*]{0,8}", text in "/[ab]{1,4}", rest in "[ab/]{0,8}") {
            if glob(pattern.as_bytes(), format!("{text}/{rest}").as_bytes()) {
                prop_assert!(matches_below(&pattern, &text), "{} {} {}", pattern, text, rest);
            }
        }
    }
}
