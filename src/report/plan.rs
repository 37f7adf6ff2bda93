//! `--dry-run`: the very steps that the child would walk.

use super::Format;
use super::clean::{clean, json_pretty_of};
use super::out::{Screen, stdout};
use super::wrap::wrap;
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::plan::{Actor, Plan};
use std::fmt::Write as _;

/// Lines of a plan that is not shown on a terminal.
const NARROW: usize = 60;

/// Prints `plan` on standard output: each step with who takes it and where its setting comes from.
///
/// # Errors
/// Standard output cannot be written.
pub fn plan(plan: &Plan, format: Format) -> Result<()> {
    match format {
        Format::Text => {
            let width = Screen::stdout().columns.unwrap_or(NARROW).min(100);
            stdout(&as_text(plan, width))
        }
        Format::Json => stdout(&as_json(plan)?),
    }
}

/// sha256 of what [`plan`] prints as JSON.
///
/// # Errors
/// `Unsupported`: a value that JSON has no word for.
pub fn plan_digest(plan: &Plan) -> Result<Digest> {
    Ok(Digest::of(as_json(plan)?.as_bytes()))
}

fn as_json(plan: &Plan) -> Result<String> {
    let text = json_pretty_of(plan)
        .map_err(|e| Error::new(Kind::Unsupported, format!("plan as JSON: {e}")))?;
    Ok(text + "\n")
}

fn as_text(plan: &Plan, width: usize) -> String {
    let mut out = String::new();
    for (at, planned) in plan.steps().iter().enumerate() {
        let actor = match planned.actor {
            Actor::Supervisor => "supervisor",
            Actor::Init => "init",
            Actor::Verifier => "verifier",
            Actor::Payload => "payload",
        };
        let number = (at + 1).to_string();
        let pad = 3usize.saturating_sub(number.len());
        let line = format!("{number} {actor}: {}", planned.step.describe());
        let words = wrap(&clean(&line), width, pad, 6);
        let origin = planned.origin.to_string();
        // Writing to a String cannot fail.
        let _infallible = write!(
            out,
            "{:pad$}{words}\n      <- {}\n",
            "",
            wrap(&clean(&origin), width, 9, 9)
        );
        for (part, origin) in planned.step.parts() {
            let _infallible = write!(
                out,
                "      {}\n         <- {}\n",
                wrap(&clean(&part), width, 6, 9),
                wrap(&clean(&origin.to_string()), width, 12, 12)
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Planned, Step, Tmpfs, Variable};
    use crate::policy::Origin;

    fn sample() -> Plan {
        let step = |actor, step, origin| Planned {
            actor,
            step,
            origin,
        };
        Plan::new(vec![
            step(
                Actor::Supervisor,
                Step::CloseInherited,
                Origin::Always("no host file is reachable through an fd that leaked in"),
            ),
            step(
                Actor::Init,
                Step::MountTmpfs(Tmpfs {
                    path: "/tmp\x1b[2J".to_owned(),
                    size: 1 << 29,
                    inodes: 65536,
                    mode: 0o1777,
                    no_exec: false,
                    read_only: false,
                }),
                Origin::Flag("--tmpfs"),
            ),
            step(
                Actor::Payload,
                Step::Execute {
                    path: None,
                    argv: vec!["sh".to_owned()],
                    env: vec![
                        Variable {
                            name: "PATH".to_owned(),
                            value: "/bin".to_owned(),
                            origin: Origin::Image("config.Env"),
                        },
                        Variable {
                            name: "A\x1b[2J".to_owned(),
                            value: "b\n\u{202e}c\"".to_owned(),
                            origin: Origin::Flag("-e"),
                        },
                    ],
                },
                Origin::Flag("COMMAND"),
            ),
            step(
                Actor::Payload,
                Step::NoNewPrivileges,
                Origin::Rule {
                    file: "strict.toml".to_owned(),
                    line: 29,
                    builtin: true,
                },
            ),
        ])
    }

    #[test]
    fn text_fits_sixty_columns() {
        let text = as_text(&sample(), NARROW);
        insta::assert_snapshot!(text, @r#"
        1 supervisor: close every inherited fd
            <- always: no host file is reachable through an fd
               that leaked in
        2 init: mount tmpfs on "/tmp\u{1b}[2J": 536870912 bytes,
            65536 inodes, mode 1777
            <- flag --tmpfs
        3 payload: execute ["sh"] with these variables
            <- flag COMMAND
            PATH="/bin"
               <- image config.Env
            "A\u{1b}[2J"="b\n\u{202e}c\""
               <- flag -e
            HOME, the user's own, from the image's passwd
               <- always: a home for the user
        4 payload: no new privileges
            <- strict.toml:29 (built in)
        "#);
        assert!(text.lines().all(|line| line.chars().count() <= NARROW));
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn json_has_every_step_with_its_origin() {
        let value = serde_json::to_value(sample()).unwrap();
        let steps = value.as_array().unwrap();
        assert_eq!(steps[0]["actor"], "supervisor");
        assert!(steps[0].get("close_inherited").is_some());
        assert_eq!(steps[1]["mount_tmpfs"]["size"], 1 << 29);
        assert_eq!(steps[1]["origin"]["flag"], "--tmpfs");
        assert_eq!(
            steps[2]["execute"]["env"][0]["origin"]["image"],
            "config.Env"
        );
        assert_eq!(steps[3]["origin"]["rule"]["line"], 29);
    }
}
