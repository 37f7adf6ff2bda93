//! `lazaret doctor`: what holds each promise on this machine, and what would mend the rest.

mod around;

use super::{DoctorRequest, place};
use crate::error::{Error, Kind, Result};
use crate::host::{Check, Checkup, Level, Line, Status};
use crate::report::{self, Format};

/// Prints each property with what holds it, each problem with its cure, and what lies around: name
/// resolution, certificates, clock, credentials, store. A registry is spoken to where one is named,
/// else nobody is. Exit code 0 if cells can run here and the registry answers, 1 if not.
///
/// # Errors
/// `Host`: the machine cannot be looked at; `Io`: standard output.
pub fn doctor(request: &DoctorRequest) -> Result<u8> {
    // A store that cannot be opened is no reason not to look at the machine.
    let store = place::look_at_store();
    let opened = store.as_ref().ok().and_then(Option::as_ref);
    let mut checkup = crate::host::doctor(&place::host(opened)?);
    checkup.around = around::checks(&store, request.registry.as_deref());
    let text = match request.format {
        Format::Text => {
            let width = report::Screen::stdout().columns.unwrap_or(60);
            as_text(&checkup, width.min(100))
        }
        Format::Json => as_json(&checkup)? + "\n",
    };
    report::stdout(&text)?;
    let well = checkup.is_well() && around::answered(&checkup.around);
    Ok(u8::from(!well))
}

fn as_text(checkup: &Checkup, width: usize) -> String {
    let mut out = String::new();
    for line in &checkup.lines {
        property(&mut out, line, width);
    }
    if !checkup.problems.is_empty() {
        out.push('\n');
    }
    for problem in &checkup.problems {
        let mark = if problem.blocks {
            "BLOCKS  "
        } else {
            "note    "
        };
        put(&mut out, mark, &problem.what, width);
        put(&mut out, "    fix: ", &problem.fix, width);
    }
    if !checkup.around.is_empty() {
        out.push('\n');
    }
    for check in &checkup.around {
        surrounding(&mut out, check, width);
    }
    out.push('\n');
    let all = checkup.lines.len();
    let held = checkup
        .lines
        .iter()
        .filter(|l| l.status == Status::Held)
        .count();
    let verdict = if checkup.is_well() {
        format!("containers run here; {held} of {all} promises are held wholly")
    } else {
        format!("containers do not run here; {held} of {all} promises could be held wholly")
    };
    put(&mut out, "", &verdict, width);
    out
}

fn surrounding(out: &mut String, check: &Check, width: usize) {
    let mark = match check.level {
        Level::Ok => "ok      ",
        Level::Note => "note    ",
        Level::Problem => "PROBLEM ",
    };
    put(
        out,
        mark,
        &format!("{}: {}", check.about, check.what),
        width,
    );
    if !check.fix.is_empty() {
        put(out, "    fix: ", &check.fix, width);
    }
}

fn property(out: &mut String, line: &Line, width: usize) {
    let mark = match line.status {
        Status::Held => "ok      ",
        Status::Weaker => "weaker  ",
        Status::NotHeld => "open    ",
        Status::Refused => "MISSING ",
    };
    put(out, mark, line.promise, width);
    for holder in &line.holders {
        put(out, "        - ", &holder.by, width);
    }
    if !line.remedy.is_empty() {
        put(out, "    fix: ", &line.remedy, width);
    }
}

/// A line of `text` behind `lead`; further ones stand below its beginning. What a fix sets out in
/// lines of its own stays as it is, because it is to be copied.
fn put(out: &mut String, lead: &str, text: &str, width: usize) {
    let indent = lead.chars().count();
    out.push_str(lead);
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
        let line = report::clean(line);
        if line.starts_with(' ') {
            out.push_str(&line);
        } else {
            out.push_str(&report::wrap(&line, width, indent, indent));
        }
    }
    out.push('\n');
}

fn as_json(checkup: &Checkup) -> Result<String> {
    let mut value = serde_json::to_value(checkup)
        .map_err(|e| Error::new(Kind::Unsupported, format!("the checkup as JSON: {e}")))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("well".to_owned(), checkup.is_well().into());
    }
    Ok(report::json_pretty(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Problem;
    use crate::policy::property::{Holder, Strength};

    fn checkup() -> Checkup {
        let line = |id, promise, status, holders: &[&str], remedy: &str| Line {
            id,
            promise,
            status,
            holders: holders
                .iter()
                .map(|by| Holder {
                    by: (*by).to_owned(),
                    strength: Strength::Full,
                })
                .collect(),
            remedy: remedy.to_owned(),
        };
        Checkup {
            lines: vec![
                line("signals", "no signal gets out", Status::Held, &["pid namespace", "Landlock scope"], ""),
                line(
                    "ids",
                    "no process inside is the caller",
                    Status::Weaker,
                    &["one id inside, which is the caller's: quotas are shared, and so is what only the caller may read"],
                    "no line for ana in /etc/subuid; as root: usermod --add-subuids 100000-165535 ana",
                ),
                line("memory", "memory is bounded", Status::NotHeld, &[], ""),
                line("host-binary", "the host's lazaret can be neither changed nor run", Status::Refused, &[], "\u{1b}[2J"),
            ],
            problems: vec![Problem {
                what: "AppArmor lets only programs with a profile use user namespaces".to_owned(),
                fix: "as root, give lazaret a profile: write /etc/apparmor.d/lazaret with the two lines\n  abi <abi/4.0>,\n  profile lazaret /usr/{local/,}bin/lazaret flags=(unconfined) { userns, }".to_owned(),
                blocks: true,
            }],
            around: vec![
                Check::ok("names", "names are asked of 10.0.2.3 (/etc/resolv.conf)"),
                Check::note("clock", "nobody keeps it right\u{1b}", "timedatectl set-ntp true"),
                Check::problem("proxy", "HTTPS_PROXY is no address", "unset it"),
            ],
        }
    }

    #[test]
    fn sixty_columns() {
        let text = as_text(&checkup(), 60);
        insta::assert_snapshot!(text, @"
        ok      no signal gets out
                - pid namespace
                - Landlock scope
        weaker  no process inside is the caller
                - one id inside, which is the caller's: quotas are
                  shared, and so is what only the caller may read
            fix: no line for ana in /etc/subuid; as root: usermod
                 --add-subuids 100000-165535 ana
        open    memory is bounded
        MISSING the host's lazaret can be neither changed nor run
            fix: \u{fffd}[2J

        BLOCKS  AppArmor lets only programs with a profile use user
                namespaces
            fix: as root, give lazaret a profile: write
                 /etc/apparmor.d/lazaret with the two lines
                   abi <abi/4.0>,
                   profile lazaret /usr/{local/,}bin/lazaret flags=(unconfined) { userns, }

        ok      names: names are asked of 10.0.2.3
                (/etc/resolv.conf)
        note    clock: nobody keeps it right\u{fffd}
            fix: timedatectl set-ntp true
        PROBLEM proxy: HTTPS_PROXY is no address
            fix: unset it

        containers do not run here; 1 of 4 promises could be held
        wholly
        ");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn the_same_as_json() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&checkup()).unwrap()).unwrap();
        assert_eq!(value["well"], false);
        assert_eq!(value["lines"][1]["status"], "weaker");
        assert_eq!(value["lines"][0]["holders"][1]["by"], "Landlock scope");
        assert_eq!(value["problems"][0]["blocks"], true);
        assert_eq!(value["around"][2]["level"], "problem");
        assert_eq!(value["around"][0]["about"], "names");
    }
}
