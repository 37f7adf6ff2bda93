//! Paths that were used, as few patterns.

use std::collections::{BTreeMap, BTreeSet};

/// A folder of which so many files were used is learnt whole.
const MANY: usize = 4;

/// Whether a path is a folder or below it.
pub(super) fn below(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Paths as few patterns: a folder of which many files or folders were used is taken whole, and so is
/// what is temporary. Each with how many files it stands for, and the first of them.
pub(super) fn generalised<'a>(
    paths: impl Iterator<Item = &'a str>,
) -> Vec<(String, usize, String)> {
    const TEMPORARY: [&str; 3] = ["/tmp", "/dev/shm", "/var/tmp"];
    /// Folders of everything are never taken whole.
    const LEAST_DEPTH: usize = 2;
    /// What lies deeper is taken whole there.
    const DEEPEST: usize = 12;
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for path in paths.map(without_number).map(|path| at_most(path, DEEPEST)) {
        let path = path.as_str();
        let folder = TEMPORARY.iter().find(|folder| below(path, folder));
        let pattern = folder.map_or_else(|| path.to_owned(), |folder| format!("{folder}/**"));
        let entry = found.entry(pattern).or_insert((0, path.to_owned()));
        entry.0 += 1;
    }
    let stem = |pattern: &str| pattern.strip_suffix("/**").unwrap_or(pattern).to_owned();
    let depth = |folder: &str| folder.matches('/').count();
    let deepest = found
        .keys()
        .map(|pattern| depth(pattern))
        .max()
        .unwrap_or(0);
    for level in (LEAST_DEPTH..deepest).rev() {
        let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pattern in found.keys() {
            let whole = stem(pattern);
            let ends = whole.match_indices('/').nth(level).map(|(at, _)| at);
            if let Some((folder, rest)) = ends.and_then(|at| whole.split_at_checked(at)) {
                let child = rest.split('/').nth(1).unwrap_or_default();
                let all = children.entry(folder.to_owned()).or_default();
                all.insert(child.to_owned());
            }
        }
        for (folder, _) in children.into_iter().filter(|(_, all)| all.len() >= MANY) {
            let inside: Vec<String> = found
                .range(folder.clone()..)
                .map(|(pattern, _)| pattern.clone())
                .take_while(|pattern| pattern.starts_with(&folder))
                .filter(|pattern| below(&stem(pattern), &folder))
                .collect();
            let all: Vec<(usize, String)> = inside
                .iter()
                .filter_map(|pattern| found.remove(pattern))
                .collect();
            let files = all.iter().map(|(files, _)| files).sum();
            let first = all
                .into_iter()
                .map(|(_, such)| such)
                .min()
                .unwrap_or_default();
            found.insert(format!("{folder}/**"), (files, first));
        }
    }
    let found = found.into_iter();
    found
        .map(|(pattern, (files, such))| (pattern, files, such))
        .collect()
}

/// A path of no more than `most` parts.
fn at_most(path: String, most: usize) -> String {
    match path.match_indices('/').nth(most) {
        Some((end, _)) => format!("{}/**", path.get(..end).unwrap_or_default()),
        None => path,
    }
}

/// A path of /proc without the number of a process, which is another one each time.
fn without_number(path: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match path
        .strip_prefix("/proc/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((first, rest)) if number(first) => format!("/proc/*/{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_of_a_folder_are_the_folder() {
        let mut paths: Vec<String> = (0..5).map(|n| format!("/usr/lib/py/{n}.py")).collect();
        paths.extend((0..3).map(|n| format!("/usr/bin/{n}")));
        paths.extend(["/tmp/a/b", "/tmp/c", "/etc/x", "/usr/lib/py/deep/er/y"].map(str::to_owned));
        let found = generalised(paths.iter().map(String::as_str));
        let found: Vec<(&str, usize)> = found.iter().map(|(p, n, _)| (p.as_str(), *n)).collect();
        assert_eq!(
            found,
            [
                ("/etc/x", 1),
                ("/tmp/**", 2),
                ("/usr/bin/0", 1),
                ("/usr/bin/1", 1),
                ("/usr/bin/2", 1),
                ("/usr/lib/py/**", 6),
            ]
        );
        // Never everything, however much was used of it.
        let many: Vec<String> = (0..9).map(|n| format!("/{n}")).collect();
        assert_eq!(generalised(many.iter().map(String::as_str)).len(), 9);
    }
}
