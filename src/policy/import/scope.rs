//! Scopes of policy.json as patterns of images, with the same precedence.
//!
//! There the most specific scope counts: a name with its tag or digest, then its repository, the
//! namespaces around that, the host, `*.` domains from the longest to the shortest, the transport's
//! default, the default. Here the pattern with the most literal characters counts. Both agree: each of
//! these patterns contains the literal characters of the next and at least one more.

use crate::error::{Error, Kind, Result};
use crate::image::Reference;

/// Which images a scope is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of these patterns.
    Of {
        patterns: Vec<String>,
        /// `domain/path` and the tag, where it is about one tag alone.
        tag: Option<(String, String)>,
    },
    /// None, for containers' programs either.
    Nothing(&'static str),
    /// No pattern says the same: these are about more images.
    Wider {
        patterns: Vec<String>,
        why: &'static str,
    },
}

fn of(patterns: &[String]) -> Scope {
    Scope::Of {
        patterns: patterns.to_vec(),
        tag: None,
    }
}

/// A scope of `docker`.
pub(super) fn docker(scope: &str) -> Scope {
    const NAMES_NONE: &str = "no registry's image is called so in full";
    let host = scope.split('/').next().unwrap_or_default();
    let lower = host.to_ascii_lowercase();
    if lower != host {
        return match docker(&scope.replacen(host, &lower, 1)) {
            Scope::Of { patterns, .. } => Scope::Wider {
                patterns,
                why: "hosts are compared in lower case",
            },
            other => other,
        };
    }
    if let Some(domain) = scope.strip_prefix("*.") {
        let whole = !domain.contains(['/', ':']) && is_host(&format!("a.{domain}"));
        return match whole {
            true => of(&[format!("*.{domain}/**"), format!("*.{domain}:*/**")]),
            false => Scope::Nothing(NAMES_NONE),
        };
    }
    if !is_host(host) {
        return Scope::Nothing(NAMES_NONE);
    }
    let Some((_, path)) = scope.split_once('/') else {
        return of(&[format!("{host}/**")]);
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    if !last.contains([':', '@']) {
        // `docker.io/library` is no repository, and the longest one has nothing below.
        let is = |text: &str, path: &str| {
            let name = Reference::parse(text);
            name.is_ok_and(|name| name.domain == host && name.path == path)
        };
        let below = is(&format!("{scope}/a"), &format!("{path}/a"));
        return match below || is(scope, path) {
            true => of(&[format!("{scope}/**")]),
            false => Scope::Nothing(NAMES_NONE),
        };
    }
    let Ok(name) = Reference::parse(scope) else {
        return Scope::Nothing(NAMES_NONE);
    };
    let repository = format!("{}/{}", name.domain, name.path);
    match (name.tag, name.digest) {
        (Some(tag), None) if format!("{repository}:{tag}") == scope => Scope::Of {
            patterns: vec![scope.to_owned()],
            tag: Some((repository, tag)),
        },
        // Beside a tag the digest decides: podman leaves the tag out.
        (None, Some(digest)) if format!("{repository}@{digest}") == scope => {
            of(&[scope.to_owned(), format!("{repository}:*@{digest}")])
        }
        _ => Scope::Nothing(NAMES_NONE),
    }
}

/// Whether a word is the host of some image's name.
fn is_host(word: &str) -> bool {
    let name = Reference::parse(&format!("{word}/a/a"));
    name.is_ok_and(|name| name.domain == word && name.path == "a/a")
}

/// A scope of a transport whose images are files or folders: a path, and all that is below it.
///
/// # Errors
/// `Malformed`: a path that containers' programs refuse, and the whole file with it.
pub(super) fn path(transport: &str, scope: &str) -> Result<Scope> {
    // oci's scopes may have a tag, which no image is looked up by.
    let (path, tag) = match scope.split_once(':') {
        Some((path, tag)) if transport == "oci" => (path, Some(tag)),
        _ => (scope, None),
    };
    let clean = |part: &str| !matches!(part, "" | "." | "..");
    let rest = path.strip_prefix('/');
    if !rest.is_some_and(|rest| rest.split('/').all(clean)) {
        return Err(Error::new(
            Kind::Malformed,
            "a scope is an absolute path without . and .., and not / itself",
        ));
    }
    let patterns = vec![format!("{transport}:{path}/**")];
    Ok(match (tag, path.contains('*')) {
        (Some(_), _) => Scope::Wider {
            patterns,
            why: "the manual speaks of tags in such a scope, and containers' programs find no image \
                  by one",
        },
        (None, true) => Scope::Wider {
            patterns,
            why: "a star in a path stands for anything here",
        },
        (None, false) => of(&patterns),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pattern::specificity;

    fn patterns(scope: &str) -> Vec<String> {
        match docker(scope) {
            Scope::Of { patterns, .. } => patterns,
            other => panic!("{scope}: {other:?}"),
        }
    }

    #[test]
    fn each_scope_has_its_patterns() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (scope, wanted) in [
            ("docker.io", vec!["docker.io/**".to_owned()]),
            ("docker.io/library", vec!["docker.io/library/**".to_owned()]),
            ("localhost:5000", vec!["localhost:5000/**".to_owned()]),
            ("a.example/b/c", vec!["a.example/b/c/**".to_owned()]),
            ("a.example/b:1", vec!["a.example/b:1".to_owned()]),
            (
                "*.example",
                vec!["*.example/**".to_owned(), "*.example:*/**".to_owned()],
            ),
            (
                &format!("a.example/b@{digest}"),
                vec![
                    format!("a.example/b@{digest}"),
                    format!("a.example/b:*@{digest}"),
                ],
            ),
        ] {
            assert_eq!(patterns(scope), wanted, "{scope}");
        }
        let longest = format!("a.example/{}", "b".repeat(255 - 10));
        assert_eq!(patterns(&longest), [format!("{longest}/**")]);
        for scope in [
            "busybox",
            "busybox:latest",
            "docker.io/busybox:latest",
            "index.docker.io/library/x",
            "example*.com",
            "*.example.com/ns",
            "*.*.example.com",
            "*",
            "*.",
            "a.example/B",
            "a.example//b",
            "a.example/b/",
            "a.example/*",
            "a.example/b:1@sha256:aa",
            "https://a.example",
            " a.example",
        ] {
            assert!(
                matches!(docker(scope), Scope::Nothing(_)),
                "{scope}: {:?}",
                docker(scope)
            );
        }
        for (scope, wanted) in [("A.example/b", "a.example/b/**"), ("*.A.b", "*.a.b/**")] {
            let found = docker(scope);
            let Scope::Wider { patterns, .. } = &found else {
                panic!("{scope}: {found:?}")
            };
            assert_eq!(patterns[0], wanted);
        }
    }

    #[test]
    fn what_is_more_specific_there_is_more_specific_here() {
        let chains: [&[&str]; 3] = [
            &[
                "a.b.io/n/r:t",
                "a.b.io/n/r",
                "a.b.io/n",
                "a.b.io",
                "*.b.io",
                "*.io",
            ],
            &[
                "a.b.io:5/n/r:t",
                "a.b.io:5/n/r",
                "a.b.io:5/n",
                "a.b.io:5",
                "*.b.io",
                "*.io",
            ],
            &["x.y/r:1", "x.y/r", "x.y", "*.y"],
        ];
        for chain in chains {
            let of_host = |scope: &str| {
                let all = patterns(scope);
                // Of two, the one that fits a host with a port.
                let ported = chain[0].contains(":5");
                let fit = all
                    .iter()
                    .find(|one| !scope.starts_with('*') || one.contains(':') == ported);
                specificity(fit.unwrap())
            };
            for pair in chain.windows(2) {
                assert!(of_host(pair[0]) > of_host(pair[1]), "{pair:?}");
            }
        }
    }

    #[test]
    fn paths_are_whole() {
        let of_oci = |scope: &str| path("oci", scope).unwrap();
        assert_eq!(of_oci("/srv/x"), of(&["oci:/srv/x/**".to_owned()]));
        assert!(matches!(of_oci("/srv/x:1"), Scope::Wider { .. }));
        assert!(matches!(of_oci("/srv/*"), Scope::Wider { .. }));
        for scope in ["/", "srv", "/srv/", "/srv//x", "/srv/../x", "."] {
            assert!(path("oci", scope).is_err(), "{scope}");
        }
    }
}
