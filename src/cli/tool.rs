//! `tool`: argv -> [`ToolRequest`].

use super::args::{FormatArg, ProgramAndArgs, ToolArgs};
use super::{env, limits, values};
use crate::engine::ToolRequest;
use crate::error::{Error, Kind, Result};
use crate::image::Digest;

/// Checks and converts the flags of `tool`.
///
/// # Errors
/// `Usage`, `Malformed`: a value that is none; `Unsupported`: a network; `Io`: an env file.
pub fn request(args: ToolArgs) -> Result<ToolRequest> {
    let ProgramAndArgs::Words(mut words) = args.program;
    // clap calls it a subcommand only if there is one.
    let rest = words.split_off(words.len().min(1));
    let inherit = |name: &str| std::env::var(name).ok();
    Ok(ToolRequest {
        program: words.pop().unwrap_or_default(),
        args: rest,
        rw: args.rw,
        sha256: args.sha256.as_deref().map(sha256).transpose()?,
        env: env::collect(&args.env_file, &args.env, &inherit)?,
        workdir: args.workdir.as_deref().map(values::workdir).transpose()?,
        network: args.network.as_deref().map(values::network).transpose()?,
        timeout: args
            .timeout
            .as_deref()
            .map(|text| values::duration("--timeout", text))
            .transpose()?,
        pids_limit: args.pids_limit.as_deref().map(limits::pids).transpose()?,
        resources: limits::resources(&args.resources)?,
        ulimits: limits::ulimits(&args.ulimit)?,
        explain: args.explain.as_deref().map(values::explain).transpose()?,
        profile: args.profile,
        tty: args.tty,
        interactive: args.interactive,
        dry_run: args.dry_run,
        timings: args.timings,
        report: args.report,
        receipt: args.receipt,
        format: args.format.unwrap_or(FormatArg::Text).into(),
    })
}

/// 64 hex digits, with or without the word in front.
fn sha256(text: &str) -> Result<Digest> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    Digest::parse(&format!("sha256:{}", hex.to_ascii_lowercase())).map_err(|_| {
        Error::new(Kind::Usage, format!("--sha256 {text:?} is no sha256"))
            .hint("64 hex digits, as sha256sum prints them")
    })
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Verb};
    use super::*;
    use clap::Parser as _;

    fn parse(line: &[&str]) -> Result<ToolRequest> {
        match Cli::try_parse_from(["lazaret", "tool"].iter().chain(line))
            .unwrap()
            .verb
        {
            Some(Verb::Tool(args)) => request(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_after_the_program_is_its_own() {
        for (line, program, args) in [
            (&["--", "ls", "-l"][..], "ls", &["-l"][..]),
            (&["ls", "--rw", "x"], "ls", &["--rw", "x"]),
            (&["--rw", "x", "ls", "--", "-l"], "ls", &["--", "-l"]),
            (&["--network", "ls", "--help"], "ls", &["--help"]),
            (&["--network=none", "./x"], "./x", &[]),
        ] {
            let got = parse(line).unwrap();
            assert_eq!(
                (got.program.as_str(), got.args.as_slice()),
                (
                    program,
                    &args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{line:?}"
            );
        }
    }

    #[test]
    fn flags_become_the_request() {
        let hex = "Ab".repeat(32);
        let got = parse(&[
            "--rw",
            "out",
            "--rw=/x",
            "--sha256",
            &hex,
            "-e",
            "A=1",
            "-w",
            "/w",
            "--network",
            "--timeout",
            "3s",
            "--pids-limit",
            "9",
            "--dry-run",
            "--format",
            "json",
            "--",
            "cc",
        ])
        .unwrap();
        assert_eq!(got.rw, ["out", "/x"]);
        assert_eq!(got.sha256.unwrap().hex(), hex.to_ascii_lowercase());
        assert_eq!(got.network, Some(crate::policy::Network::Host));
        assert_eq!(got.env, [("A".to_owned(), "1".to_owned())]);
        assert!(got.dry_run && !got.timings && !got.tty && !got.interactive);
        for bad in ["", "12", &"g".repeat(64), &format!("sha512:{hex}")] {
            assert_eq!(
                parse(&["--sha256", bad, "ls"]).unwrap_err().kind,
                Kind::Usage
            );
        }
        let kind = parse(&["--network=bridge", "ls"]).unwrap_err().kind;
        assert_eq!(kind, Kind::Unsupported);
    }
}
