//! docker's and OCI's seccomp profiles: JSON -> [`JsonProfile`] -> [`Rules`] for one cell.
//!
//! What the fields mean is moby's `profiles/seccomp` and runc's reading of it (OCI runtime-spec,
//! "Seccomp"): several rules for one call mean or; a rule without conditions makes those with
//! conditions pointless; a rule that says what the default says is passed over; names of other
//! architectures and kernels are dropped. Where readers differ, or libseccomp depends on the order
//! of its own list, the reading that lets less pass is taken, because such a profile only narrows:
//!
//! - Of several conditions with different answers that hold together, the strictest answers.
//! - libseccomp compares all 64 bits, of which the kernel drops half for an `int`: `arg0 == 40` is
//!   stepped around with a bit set above them (CVE-2019-7303). A condition of a rule that refuses
//!   holds where the low half alone fulfils it, one of a rule that allows must hold for both.
//! - Two conditions on one argument are or to runc and and to others: refused.

use super::{Arch, Case, Condition, Rule, Rules, Verdict, parse};
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::image::json::{Document, gate};
use crate::image::quote::{listed, quoted};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The largest JSON profile that is read, in bytes; docker's own has 18 thousand.
pub const MAX_JSON: u64 = 1 << 20;
/// More groups than this are no profile.
const MAX_GROUPS: usize = 2048;
/// More names than this in all groups together.
const MAX_NAMES: usize = 16_384;
/// More conditional rules than this for one call.
const MAX_CASES: usize = 64;
/// MAX_ERRNO: the kernel cuts larger ones.
const MAX_ERRNO: u64 = 4095;

const DOCUMENT: Document = Document {
    what: "seccomp profile",
    max_bytes: MAX_JSON,
    names: &[
        "defaultAction",
        "defaultErrnoRet",
        "defaultErrno",
        "architectures",
        "archMap",
        "architecture",
        "subArchitectures",
        "flags",
        "syscalls",
        "name",
        "names",
        "action",
        "errnoRet",
        "errno",
        "args",
        "index",
        "value",
        "valueTwo",
        "op",
        "comment",
        "includes",
        "excludes",
        "caps",
        "arches",
        "minKernel",
    ],
    objects: &["includes", "excludes"],
    list: false,
    free: &[],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Text {
    default_action: String,
    default_errno_ret: Option<u64>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchText>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<GroupText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ArchText {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GroupText {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u64>,
    errno: Option<String>,
    args: Option<Vec<ArgText>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<FilterText>,
    excludes: Option<FilterText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ArgText {
    index: u8,
    value: u64,
    value_two: Option<u64>,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FilterText {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// A JSON profile, read and not yet made for a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonProfile {
    /// The file, as it was named.
    pub file: String,
    /// Its digest.
    pub digest: Digest,
    default: Verdict,
    groups: Vec<Group>,
    /// It speaks of programs of other architectures than the first (i386, x32), which die here.
    foreign: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    names: Vec<String>,
    then: Verdict,
    when: When,
    includes: Filter,
    excludes: Filter,
}

/// When a rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    Always,
    Never,
    All(Vec<Condition>),
}

/// Which cells a group is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    /// Without `CAP_`.
    caps: Vec<String>,
    /// GOARCH names.
    arches: Vec<String>,
    kernel: Option<(u32, u32)>,
}

type Read<T> = std::result::Result<T, String>;

impl JsonProfile {
    /// Reads a profile. `file` is its name, for errors and for the plan.
    ///
    /// # Errors
    /// `Limit`: too large; `Unsupported`: an action or flag that lazaret has not; else `Malformed`.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self> {
        let named = |error: Error| error.context(quoted(file));
        let text: Text = gate(bytes, &DOCUMENT)
            .and_then(|gated| gated.read())
            .map_err(named)?;
        let fault = |kind| move |cause: String| named(Error::new(kind, cause));
        counted(&text).map_err(fault(Kind::Limit))?;
        built(&text).map_err(fault(Kind::Unsupported))?;
        let malformed = fault(Kind::Malformed);
        let architectures = architectures(&text).map_err(malformed)?;
        let default = action(
            &text.default_action,
            text.default_errno_ret,
            text.default_errno.as_deref(),
        )
        .map_err(malformed)?;
        let groups = text.syscalls.unwrap_or_default().into_iter();
        let groups = groups.map(group).collect::<Read<_>>().map_err(malformed)?;
        Ok(Self {
            file: file.to_owned(),
            digest: Digest::of(bytes),
            default,
            groups,
            foreign: architectures > 1,
        })
    }

    /// The file as it stands in sentences: its name, quoted.
    pub fn quoted(&self) -> String {
        quoted(&self.file)
    }

    /// It lets programs of a second architecture in, which die here whatever it says.
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// What the profile says to a process of this architecture and kernel that holds `caps`
    /// (without `CAP_`). `unknown` is the default's answer too, and never asked for.
    ///
    /// # Errors
    /// `Limit`: more rules for one call than anybody needs.
    pub(super) fn rules(&self, arch: Arch, caps: &[&str], kernel: (u32, u32)) -> Result<Rules> {
        #[derive(Default)]
        struct Gathered {
            always: Option<Verdict>,
            cases: Vec<Case>,
        }
        let mut calls: BTreeMap<&'static str, Gathered> = BTreeMap::new();
        for group in &self.groups {
            let fits = group.includes.includes(arch, caps, kernel)
                && !group.excludes.excludes(arch, caps, kernel);
            if !fits || group.then == self.default {
                continue;
            }
            let known = group.names.iter().filter_map(|name| Arch::canonical(name));
            for name in known {
                let call = calls.entry(name).or_default();
                match &group.when {
                    When::Never => {}
                    When::Always => {
                        let both = [call.always, Some(group.then)].into_iter().flatten();
                        call.always = both.min_by_key(|verdict| leniency(*verdict));
                    }
                    When::All(conditions) => call.cases.push(Case {
                        when: conditions.clone(),
                        then: group.then,
                    }),
                }
                if call.cases.len() > MAX_CASES {
                    let cause = format!("more than {MAX_CASES} rules for {name}");
                    return Err(Error::new(Kind::Limit, cause).context(self.quoted()));
                }
            }
        }
        let rule = |call: Gathered| match call.always {
            Some(verdict) => Rule {
                cases: Vec::new(),
                otherwise: verdict,
                reason: 0,
            },
            None => {
                let mut cases = call.cases;
                cases.sort_by_key(|case| leniency(case.then));
                Rule {
                    cases,
                    otherwise: self.default,
                    reason: 0,
                }
            }
        };
        Ok(Rules {
            name: self.file.clone(),
            refused: self.default,
            unknown: self.default,
            rules: calls.into_iter().map(|(name, c)| (name, rule(c))).collect(),
            reasons: vec![format!("{} says so", self.quoted())],
            lines: Vec::new(),
        })
    }

    /// Names that stand in no table of ours, where a typing error would leave a call open: in a
    /// profile that allows what it does not name.
    pub(super) fn strange_names(&self) -> BTreeSet<&str> {
        let names = self.groups.iter().flat_map(|group| &group.names);
        let strange = names
            .map(String::as_str)
            .filter(|name| self.default.passes() && Arch::canonical(name).is_none());
        strange.collect()
    }
}

/// How much an answer lets pass.
fn leniency(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Kill => 0,
        Verdict::Trap => 1,
        Verdict::Errno(_) | Verdict::Ignore | Verdict::Tell => 2,
        Verdict::Log => 3,
        Verdict::Allow | Verdict::Watch => 4,
    }
}

impl Filter {
    /// As `includes`: everything that it names must be so.
    fn includes(&self, arch: Arch, caps: &[&str], kernel: (u32, u32)) -> bool {
        (self.arches.is_empty() || self.arches.iter().any(|a| a == arch.go_name()))
            && self.caps.iter().all(|cap| caps.contains(&cap.as_str()))
            && self.kernel.is_none_or(|least| kernel >= least)
    }

    /// As `excludes`: anything that it names suffices.
    fn excludes(&self, arch: Arch, caps: &[&str], kernel: (u32, u32)) -> bool {
        self.arches.iter().any(|a| a == arch.go_name())
            || self.caps.iter().any(|cap| caps.contains(&cap.as_str()))
            || self.kernel.is_some_and(|least| kernel >= least)
    }
}

fn counted(text: &Text) -> Read<()> {
    let groups = text.syscalls.as_deref().unwrap_or_default();
    if groups.len() > MAX_GROUPS {
        return Err(format!("more than {MAX_GROUPS} groups of system calls"));
    }
    let names = groups.iter().flat_map(|group| &group.names);
    if names.map(Vec::len).sum::<usize>() > MAX_NAMES {
        return Err(format!("more than {MAX_NAMES} names of system calls"));
    }
    Ok(())
}

/// What is valid and not to be had.
fn built(text: &Text) -> Read<()> {
    // With one thread there is nothing to synchronise.
    let flag = |flag: &&String| *flag != "SECCOMP_FILTER_FLAG_TSYNC";
    if let Some(flag) = text.flags.iter().flatten().find(flag) {
        return Err(format!("the flag {} is not built", quoted(flag)));
    }
    let groups = text.syscalls.iter().flatten();
    for action in groups.map(|g| &g.action).chain([&text.default_action]) {
        let why = match action.as_str() {
            "SCMP_ACT_NOTIFY" => "nobody outside answers for a cell's system calls",
            "SCMP_ACT_TRACE" => "no tracer watches a cell",
            _ => continue,
        };
        return Err(format!("{action} is not built: {why}"));
    }
    Ok(())
}

/// How many architectures the profile is for; the native one is always among them.
fn architectures(text: &Text) -> Read<usize> {
    let list = text.architectures.as_deref().unwrap_or_default();
    let map = text.arch_map.as_deref().unwrap_or_default();
    if !list.is_empty() && !map.is_empty() {
        return Err("it has both architectures and archMap".to_owned());
    }
    let subs = |arch: &ArchText| arch.sub_architectures.clone().unwrap_or_default();
    let all = map.iter().flat_map(|arch| {
        let first = [arch.architecture.clone()].into_iter();
        first.chain(subs(arch))
    });
    if let Some(bad) = all
        .chain(list.iter().cloned())
        .find(|name| !name.starts_with("SCMP_ARCH_"))
    {
        return Err(format!("no architecture is called {}", quoted(&bad)));
    }
    let native = Arch::native().scmp_name();
    let mine = map.iter().find(|arch| arch.architecture == native);
    let others = list.iter().filter(|name| *name != native).count();
    Ok(1 + others + mine.map_or(0, |arch| subs(arch).len()))
}

fn action(word: &str, number: Option<u64>, name: Option<&str>) -> Read<Verdict> {
    let verdict = match word {
        "SCMP_ACT_ALLOW" => Verdict::Allow,
        "SCMP_ACT_LOG" => Verdict::Log,
        "SCMP_ACT_TRAP" => Verdict::Trap,
        // A process without one of its threads is in nobody's interest: all of it goes.
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_KILL_PROCESS" => Verdict::Kill,
        "SCMP_ACT_ERRNO" => return errno(number, name),
        other => return Err(format!("no action is called {}", quoted(other))),
    };
    // Some writers put a 0 everywhere.
    if number.is_some_and(|n| n != 0) || name.is_some_and(|n| !n.is_empty()) {
        return Err(format!("{word} answers no errno"));
    }
    Ok(verdict)
}

/// `errnoRet`, and podman's `errno` beside it, which must agree.
fn errno(number: Option<u64>, name: Option<&str>) -> Read<Verdict> {
    if let Some(name) = name.filter(|name| !name.is_empty())
        && parse::errno(name).map(u64::from) != Some(number.unwrap_or(1))
    {
        let number = number.unwrap_or(1);
        return Err(format!("errno {} is not errnoRet {number}", quoted(name)));
    }
    match number {
        None => Ok(Verdict::Errno(1)),
        Some(0) => Ok(Verdict::Ignore),
        Some(n) => match u16::try_from(n) {
            Ok(small) if n <= MAX_ERRNO => Ok(Verdict::Errno(small)),
            _ => Err(format!("errnoRet {n} is no errno")),
        },
    }
}

fn group(text: GroupText) -> Read<Group> {
    let name = text.name.filter(|name| !name.is_empty());
    let names = match (name, text.names.unwrap_or_default()) {
        (Some(name), names) if names.is_empty() => vec![name],
        (Some(_), _) => return Err("a group has both name and names".to_owned()),
        (None, names) => names,
    };
    let then = action(&text.action, text.errno_ret, text.errno.as_deref())?;
    let when = when(text.args.unwrap_or_default(), then).map_err(|why| {
        let names = listed(names.iter().map(String::as_str), 3);
        format!("the group of {names}: {why}")
    })?;
    Ok(Group {
        names,
        then,
        when,
        includes: filter(text.includes)?,
        excludes: filter(text.excludes)?,
    })
}

fn filter(text: Option<FilterText>) -> Read<Filter> {
    let text = text.unwrap_or_default();
    let caps = text.caps.unwrap_or_default().into_iter();
    let bare = |cap: String| cap.strip_prefix("CAP_").map_or(cap.clone(), str::to_owned);
    let version = |text: String| {
        let split = text.split_once('.');
        let numbers = split.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        numbers.ok_or_else(|| format!("minKernel {} is no version", quoted(&text)))
    };
    let kernel = text.min_kernel.filter(|text| !text.is_empty());
    Ok(Filter {
        caps: caps.map(bare).collect(),
        arches: text.arches.unwrap_or_default(),
        kernel: kernel.map(version).transpose()?,
    })
}

fn when(args: Vec<ArgText>, then: Verdict) -> Read<When> {
    let mut conditions: Vec<Condition> = Vec::new();
    let mut never = false;
    for arg in args {
        if arg.index > 5 {
            return Err(format!("index {}: arguments are 0 to 5", arg.index));
        }
        if conditions.iter().any(|have| have.arg == arg.index) {
            return Err(format!(
                "two conditions on argument {}: some runtimes want both, some either",
                arg.index
            ));
        }
        never |= condition(&arg, then, &mut conditions)?;
    }
    Ok(match (never, conditions.is_empty()) {
        (true, _) => When::Never,
        (false, true) => When::Always,
        (false, false) => When::All(conditions),
    })
}

/// Adds the condition; `true`: it never holds.
fn condition(arg: &ArgText, then: Verdict, to: &mut Vec<Condition>) -> Read<bool> {
    let (value, two) = (arg.value, arg.value_two.unwrap_or(0));
    let masked = arg.op == "SCMP_CMP_MASKED_EQ";
    if two != 0 && !masked {
        return Err(format!("{} has no valueTwo", arg.op));
    }
    if masked && two & !value != 0 {
        return Err(format!(
            "{two:#x} has bits outside of the mask {value:#x}: it never holds"
        ));
    }
    // Where the halves can disagree: see the head of this file.
    let upward = matches!(
        arg.op.as_str(),
        "SCMP_CMP_NE" | "SCMP_CMP_GE" | "SCMP_CMP_GT"
    );
    let fits = u32::try_from(value).is_ok();
    let wide = !(fits && upward == then.passes());
    let most = match wide {
        true => u64::MAX,
        false => u64::from(u32::MAX),
    };
    let plain = Condition {
        arg: arg.index,
        wide,
        ..Condition::default()
    };
    let (below, above) = (value.checked_sub(1), value.checked_add(1));
    let condition = match arg.op.as_str() {
        "SCMP_CMP_EQ" => Condition {
            is: vec![value],
            ..plain
        },
        "SCMP_CMP_NE" => Condition {
            not: vec![value],
            ..plain
        },
        "SCMP_CMP_LE" => Condition {
            at_most: Some(value),
            ..plain
        },
        "SCMP_CMP_GE" => Condition {
            at_least: Some(value),
            ..plain
        },
        "SCMP_CMP_LT" => Condition {
            at_most: Some(below.unwrap_or(0)),
            ..plain
        },
        "SCMP_CMP_GT" => Condition {
            at_least: Some(above.filter(|above| *above <= most).unwrap_or(most)),
            ..plain
        },
        "SCMP_CMP_MASKED_EQ" => Condition {
            wide: !fits,
            mask: Some(value),
            is: vec![two],
            ..plain
        },
        other => return Err(format!("no comparison is called {}", quoted(other))),
    };
    to.push(condition);
    Ok(match arg.op.as_str() {
        "SCMP_CMP_LT" => value == 0,
        "SCMP_CMP_GT" => value == most,
        _ => false,
    })
}
