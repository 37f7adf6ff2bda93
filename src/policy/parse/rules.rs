//! What each of the five words may say.

use super::reader::{COMMON, Common, Reader, Value, nearest};
use super::{Accept, Entry, Key, Parsed, Require, Rule, Trust};
use crate::policy::caps::NAMES as CAPABILITIES;
use crate::policy::grants::VerifyMode;
use crate::policy::limit::{Limit, Unit};
use crate::policy::require::{self, Facts, NoneWord};
use crate::policy::signed::{Names, Signed};
use crate::policy::{devices, mounts, tool, words};
use std::ops::Range;
use std::rc::Rc;
use toml::de::{DeTable, DeValue};

const ACCEPTS: &[(&str, Accept)] = &[
    ("any", Accept::Any),
    ("tofu", Accept::Tofu),
    ("pinned", Accept::Pinned),
    ("reject", Accept::Reject),
];

/// Which lists a word has; `limits` and `facts` are no lists.
const GIVE: &[Key] = &[
    Key::Caps,
    Key::Syscalls,
    Key::Devices,
    Key::Network,
    Key::Env,
    Key::Etc,
    Key::Explain,
];
const ALLOW: &[Key] = &[
    Key::Caps,
    Key::Syscalls,
    Key::Devices,
    Key::Network,
    Key::Mounts,
    Key::Env,
    Key::Userns,
    Key::Etc,
];
const DENY: &[Key] = &[
    Key::Caps,
    Key::Syscalls,
    Key::Devices,
    Key::Network,
    Key::Mounts,
    Key::Targets,
    Key::Env,
    Key::Userns,
    Key::Etc,
];

const FACTS: [&str; 13] = [
    "max_layers",
    "max_size",
    "max_files",
    "setuid",
    "file_caps",
    "special",
    "world_writable",
    "absent",
    "present",
    "users",
    "labels",
    "max_age",
    "base",
];

impl Reader<'_> {
    pub(super) fn rule(
        &mut self,
        parsed: &mut Parsed,
        word: &str,
        table: &DeTable<'_>,
        span: &Range<usize>,
    ) {
        match word {
            "trust" => {
                if let Some(rule) = self.trust(parsed, table, span) {
                    parsed.trust.push(Rc::new(rule));
                }
            }
            "require" => {
                if let Some(rule) = self.require(parsed, table, span) {
                    parsed.require.push(Rc::new(rule));
                }
            }
            "give" => {
                let rule = self.lists(parsed, ("give", GIVE), table, span);
                parsed.give.extend(rule.map(Rc::new));
            }
            "allow" => {
                let rule = self.lists(parsed, ("allow", ALLOW), table, span);
                parsed.allow.extend(rule.map(Rc::new));
            }
            _ => {
                let rule = self.lists(parsed, ("deny", DENY), table, span);
                parsed.deny.extend(rule.map(Rc::new));
            }
        }
    }

    fn trust(
        &mut self,
        parsed: &mut Parsed,
        table: &DeTable<'_>,
        span: &Range<usize>,
    ) -> Option<Trust> {
        let mut common = Common::default();
        let mut accept = None;
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            if self.common(&mut common, word, value) {
                continue;
            }
            match word {
                "accept" => accept = Some(self.accept(parsed, value)),
                other => {
                    let known = ["accept", COMMON[0], COMMON[1], COMMON[2]];
                    self.unknown(&key.span(), other, "[[trust]]", &known);
                }
            }
        }
        if accept.is_none() {
            let hint = "accept = \"tofu\", \"pinned\", \"any\" or \"reject\"";
            self.problem(
                span,
                "a trust rule that accepts nothing and rejects nothing",
                hint,
            );
        }
        if !table.contains_key("image") {
            let hint = "image = \"registry.example/**\", or \"**\" for all";
            self.problem(span, "a trust rule about no image", hint);
        }
        let mut accept = accept??;
        if matches!(accept, Accept::Signed(_)) && self.outlives(&mut common) {
            accept = Accept::Reject;
        }
        let head = self.head(common, "trust", span, parsed)?;
        Some(Trust { head, accept })
    }

    fn accept(&mut self, parsed: &mut Parsed, value: &Value<'_>) -> Option<Accept> {
        let hint = "accept is \"any\", \"tofu\", \"pinned\", \"reject\" or { signed = [...] }";
        let span = value.span();
        match value.get_ref() {
            DeValue::String(word) => {
                let known = ACCEPTS.iter().find(|(name, _)| name == word);
                if known.is_none() {
                    let cause = format!("accept = {} means nothing", words::toml(word));
                    // The widest is never a cure.
                    let names = ["tofu", "pinned", "reject"];
                    let hint = match (nearest(word, &names), word.as_ref()) {
                        (Some(near), _) => format!("did you mean \"{near}\"?"),
                        (None, "none") => "did you mean \"reject\"?".to_owned(),
                        _ => hint.to_owned(),
                    };
                    self.problem(&span, cause, hint);
                }
                known.map(|(_, accept)| accept.clone())
            }
            DeValue::Table(table) if table.contains_key("signed") => {
                let (mut signed, mut names) = (None, Some(Names::Any));
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        "signed" => signed = self.signed(parsed, value),
                        "names" => names = self.names(value),
                        other => {
                            self.unknown(&key.span(), other, "accept", &["signed", "names"]);
                            return None;
                        }
                    }
                }
                let (signed, names) = (signed?, names?);
                let signed = Rc::unwrap_or_clone(signed);
                Some(Accept::Signed(Rc::new(Signed { names, ..signed })))
            }
            _ => {
                self.problem(&span, "accept means nothing so", hint);
                None
            }
        }
    }

    fn require(
        &mut self,
        parsed: &mut Parsed,
        table: &DeTable<'_>,
        span: &Range<usize>,
    ) -> Option<Require> {
        let mut common = Common::default();
        let mut verify = None;
        let mut limits = Vec::new();
        let mut facts = None;
        let mut attested = Vec::new();
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            if self.common(&mut common, word, value) {
                continue;
            }
            let line = self.line(&value.span());
            match word {
                "verify" => verify = self.verify(value).map(|mode| (mode, line)),
                "limits" => limits = self.limit_names(value),
                "facts" => facts = Some((self.facts(value), line)),
                "attested" => attested = self.attested(parsed, value),
                other => {
                    let own = ["verify", "limits", "facts", "attested"];
                    let known: Vec<&str> = own.into_iter().chain(COMMON).collect();
                    self.unknown(&key.span(), other, "[[require]]", &known);
                }
            }
        }
        let head = self.head(common, "require", span, parsed)?;
        let (facts, facts_line) = facts.unwrap_or((Facts::default(), head.line));
        Some(Require {
            head,
            verify,
            limits,
            facts,
            facts_line,
            attested,
        })
    }

    fn verify(&mut self, value: &Value<'_>) -> Option<VerifyMode> {
        match self.string(value, "verify")?.as_str() {
            "stat" => Some(VerifyMode::Stat),
            "full" => Some(VerifyMode::Full),
            other => {
                let cause = format!("verify = {} means nothing", words::toml(other));
                let hint = "verify is \"stat\" or \"full\"; nothing runs unverified";
                self.problem(&value.span(), cause, hint);
                None
            }
        }
    }

    fn limit_names(&mut self, value: &Value<'_>) -> Vec<(Limit, usize)> {
        let line = self.line(&value.span());
        let names = self.strings(value, "limits").unwrap_or_default();
        let mut limits = Vec::new();
        for name in names {
            match Limit::ALL.into_iter().find(|l| l.name() == name) {
                Some(limit) => limits.push((limit, line)),
                None => self.no_limit(&value.span(), &name),
            }
        }
        limits
    }

    fn no_limit(&mut self, span: &Range<usize>, name: &str) {
        let known = Limit::ALL.map(Limit::name);
        let cause = format!("no limit is called {}", words::toml(name));
        let hint = match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("limits are {}", known.join(", ")),
        };
        self.problem(span, cause, hint);
    }

    fn facts(&mut self, value: &Value<'_>) -> Facts {
        let mut facts = Facts::default();
        let Some(table) = value.get_ref().as_table() else {
            let hint = "facts = { max_layers = 100, setuid = \"none\" }";
            self.problem(&value.span(), "facts is no table", hint);
            return facts;
        };
        for (key, value) in table {
            let (word, span) = (key.get_ref().as_ref(), value.span());
            match word {
                "max_layers" => facts.max_layers = self.number(value, word),
                "max_files" => facts.max_files = self.number(value, word),
                "max_size" => facts.max_size = self.amount_of(value, word, require::size),
                "max_age" => facts.max_age = self.amount_of(value, word, require::age),
                "setuid" => facts.setuid = self.none(value, word),
                "file_caps" => facts.file_caps = self.none(value, word),
                "special" => facts.special = self.none(value, word),
                "world_writable" => facts.world_writable = self.none(value, word),
                "absent" => facts.absent = self.paths(value, word),
                "present" => facts.present = self.paths(value, word),
                "users" => facts.users = self.strings(value, word),
                "labels" => facts.labels = self.labels(value),
                "base" => {
                    for text in self.strings(value, word).unwrap_or_default() {
                        match require::base(&text) {
                            Some(digest) => facts.base.push(digest),
                            None => {
                                let cause = format!("{} is no diff id", words::toml(&text));
                                let hint = "a diff id is sha256: and 64 hex digits; `lazaret \
                                            inspect IMAGE` lists those of an image";
                                self.problem(&span, cause, hint);
                            }
                        }
                    }
                }
                other => self.unknown(&key.span(), other, "facts", &FACTS),
            }
        }
        facts
    }

    fn amount_of(
        &mut self,
        value: &Value<'_>,
        key: &str,
        read: fn(&str) -> Option<(u64, String)>,
    ) -> Option<(u64, String)> {
        let text = self.string(value, key)?;
        let amount = read(&text);
        if amount.is_none() {
            let (what, example) = match key {
                "max_age" => ("duration", "max_age = \"90d\""),
                _ => ("size", "max_size = \"2GiB\""),
            };
            let cause = format!("{key} = {} is no {what}", words::toml(&text));
            self.problem(&value.span(), cause, example);
        }
        amount
    }

    fn none(&mut self, value: &Value<'_>, key: &str) -> Option<NoneWord> {
        if self.string(value, key)? != "none" {
            let hint = format!("{key} = \"none\" refuses them; leave it out to take them");
            self.problem(&value.span(), format!("{key} can be \"none\" only"), hint);
            return None;
        }
        Some(NoneWord::None)
    }

    fn paths(&mut self, value: &Value<'_>, key: &str) -> Vec<String> {
        let paths = self.strings(value, key).unwrap_or_default();
        for path in paths.iter().filter(|path| !require::is_path(path)) {
            let cause = format!("{key} = {} is no path", words::toml(path));
            let hint = "a path of an image begins with / or ** and has no part . or ..";
            self.problem(&value.span(), cause, hint);
        }
        paths
    }

    fn labels(&mut self, value: &Value<'_>) -> Vec<(String, String)> {
        let Some(table) = value.get_ref().as_table() else {
            let hint = "labels = { \"org.opencontainers.image.vendor\" = \"lab\" }";
            self.problem(&value.span(), "labels is no table", hint);
            return Vec::new();
        };
        let mut labels = Vec::new();
        for (key, value) in table {
            if let Some(pattern) = self.string(value, key.get_ref()) {
                labels.push((key.get_ref().to_string(), pattern));
            }
        }
        labels
    }

    fn lists(
        &mut self,
        parsed: &mut Parsed,
        (word, keys): (&'static str, &[Key]),
        table: &DeTable<'_>,
        span: &Range<usize>,
    ) -> Option<Rule> {
        let mut common = Common::default();
        let mut lists = Vec::new();
        let mut limits = Vec::new();
        let mut empty = true;
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if self.common(&mut common, name, value) {
                continue;
            }
            empty = false;
            if let Some(key) = keys.iter().find(|k| k.name() == name) {
                lists.extend(self.list(word, *key, value));
            } else if name == "limits" {
                limits = self.limits(value);
            } else {
                let place = format!("[[{word}]]");
                let mut known: Vec<&str> = keys.iter().map(|k| k.name()).collect();
                known.push("limits");
                known.extend(COMMON);
                self.unknown(&key.span(), name, &place, &known);
            }
        }
        if empty {
            let cause = format!(
                "a rule that {}s nothing",
                if word == "deny" { "denie" } else { word }
            );
            let known: Vec<&str> = keys.iter().map(|k| k.name()).collect();
            self.problem(span, cause, format!("it speaks of {}", known.join(", ")));
        }
        // As a person would look for them: in the order in which they stand.
        lists.sort_by_key(|entry| entry.line);
        let head = self.head(common, word, span, parsed)?;
        Some(Rule {
            word,
            head,
            lists,
            limits,
        })
    }

    fn list(&mut self, word: &str, key: Key, value: &Value<'_>) -> Option<Entry<Key>> {
        let mut values = self.strings(value, key.name())?;
        let span = value.span();
        let single = matches!(key, Key::Network | Key::Syscalls | Key::Explain);
        if word == "give" && single && values.len() != 1 {
            let hint = match key {
                Key::Network => "network = \"none\"",
                Key::Explain => "explain = \"off\"",
                _ => "syscalls = \"default\"",
            };
            self.problem(&span, format!("a cell has one {}", key.name()), hint);
        }
        for value in &mut values {
            if key == Key::Caps {
                *value = value.strip_prefix("CAP_").unwrap_or(value).to_owned();
            }
            let given = if word == "give" {
                ungiven(key, value)
            } else {
                None
            };
            if let Some((cause, hint)) = mistaken(key, value).or(given) {
                self.problem(&span, cause, hint);
            }
        }
        Some(self.entry(key, values, value))
    }

    fn limits(&mut self, value: &Value<'_>) -> Vec<Entry<Limit>> {
        let Some(table) = value.get_ref().as_table() else {
            let hint = "limits = { pids = 512, tmp = \"512MiB\" }";
            self.problem(&value.span(), "limits is no table", hint);
            return Vec::new();
        };
        let line = self.line(&value.span());
        let mut entries = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let Some(limit) = Limit::ALL.into_iter().find(|l| l.name() == name) else {
                self.no_limit(&key.span(), name);
                continue;
            };
            let text = match value.get_ref() {
                DeValue::Integer(number) => number.to_string(),
                DeValue::String(text) => text.to_string(),
                DeValue::Float(number) => number.to_string(),
                _ => String::new(),
            };
            let is_text = value.get_ref().is_str();
            let fits = match limit.unit() {
                Unit::Pieces => !is_text && text.parse::<u64>().is_ok_and(|n| n > 0),
                Unit::Bytes => is_text && words::parse_size(&text, 100).is_some_and(|n| n > 0),
                Unit::Seconds => is_text && words::parse_duration(&text).is_some(),
                Unit::Millicpus => !is_text && words::parse_cpus(&text).is_some(),
            };
            if !fits {
                let (example, what) = match limit.unit() {
                    Unit::Pieces => ("512", "number from 1 on"),
                    Unit::Bytes => ("\"512MiB\"", "size, or part of the memory as \"25%\""),
                    Unit::Seconds => ("\"90s\"", "duration"),
                    Unit::Millicpus => ("1.5", "number of processors from 0.01 on"),
                };
                let written = match is_text {
                    true => words::toml(&text),
                    false => words::shown(&text),
                };
                let cause = format!("{name} = {written} is no amount: it takes a {what}");
                self.problem(&value.span(), cause, format!("{name} = {example}"));
                continue;
            }
            entries.push(Entry {
                key: limit,
                values: vec![text],
                line,
            });
        }
        entries
    }
}

/// A value that cannot be had unasked, and what to write instead.
fn ungiven(key: Key, value: &str) -> Option<(String, String)> {
    const VARIABLES: [&str; 4] = ["PATH", "HOME", "TERM", "LANG"];
    let written = words::toml(value);
    if key == Key::Env && !VARIABLES.contains(&value) {
        return Some((
            format!("give env {written} is not built yet"),
            "PATH, HOME, TERM and LANG can be given; allow others, and ask with -e".to_owned(),
        ));
    }
    // Of /etc there is what there is: versions are in names.
    (key != Key::Etc && value.contains('*')).then(|| {
        (
            format!("give {} {written} names nothing", key.name()),
            "what is given is named; a pattern can be allowed, and asked for".to_owned(),
        )
    })
}

/// A value that could never speak of anything, and what to write instead.
fn mistaken(key: Key, value: &str) -> Option<(String, String)> {
    let written = words::toml(value);
    let of = |known: &[&str], what: &str| {
        let near = nearest(value, known);
        let hint = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there is {}", known.join(", ")),
        };
        (!known.contains(&value)).then(|| (format!("no {what} is called {written}"), hint))
    };
    match key {
        Key::Caps | Key::Network | Key::Userns if value == "*" => None,
        Key::Caps => of(&CAPABILITIES, "capability").map(|(cause, hint)| {
            let hint = match hint.starts_with("did") {
                true => hint,
                false => "capabilities(7) lists them; CAP_ in front may be left out".to_owned(),
            };
            (cause, hint)
        }),
        Key::Network => of(&["none", "host"], "network"),
        Key::Userns => of(&["keep-id"], "kind of user namespace"),
        Key::Explain => of(&["off", "calls", "full"], "kind of explanation"),
        Key::Mounts if !mounts::is_pattern(value) => Some((
            format!("mounts = {written} is no path"),
            "a path begins with /, ./ (where you stand), ~/ (your home) or **, has no part that is \
             empty, . or .., and ends with :ro or :rw where it is mounted"
                .to_owned(),
        )),
        Key::Targets if !mounts::is_target(value) => Some((
            format!("targets = {written} is no path"),
            "a path inside begins with / or **, has no part that is empty, . or .., and no mode \
             behind it"
                .to_owned(),
        )),
        Key::Etc if !tool::is_name(value) => Some((
            format!("etc = {written} is no name"),
            "names are below /etc: etc = [\"ssl/certs\", \"java-*\"]".to_owned(),
        )),
        Key::Env if value.is_empty() || value.contains(['=', '\0']) => Some((
            format!("env = {written} is no variable's name"),
            "name variables without values; -e sets them".to_owned(),
        )),
        Key::Devices if !devices::is_pattern(value) => Some((
            format!("devices = {written} is no device"),
            "a device is a path below /dev, or a name there: /dev/dri/card0, dri/card0".to_owned(),
        )),
        Key::Syscalls if value.is_empty() => Some((
            format!("syscalls = {written} is no name"),
            String::new(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::limit::Limit;

    /// lazaret-policy(5) knows each word of the language.
    #[test]
    fn the_manual_page_knows_every_word() {
        let page = include_str!("../../cli/man/lazaret-policy.5").replace('\\', "");
        let keys = DENY.iter().chain(ALLOW).chain(GIVE).map(|key| key.name());
        let limits = Limit::ALL.iter().map(|limit| limit.name());
        let accepts = ACCEPTS.iter().map(|(word, _)| *word);
        for word in keys.chain(limits).chain(accepts).chain(FACTS) {
            let whole = |at: usize, end: usize| {
                let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
                !page[..at].ends_with(letter) && !page[end..].starts_with(letter)
            };
            let mut found = page.match_indices(word);
            assert!(found.any(|(at, _)| whole(at, at + word.len())), "{word}");
        }
    }
}
