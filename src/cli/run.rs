//! `run`: argv -> [`RunRequest`].

use super::args::{FormatArg, ImageAndCommand, RunArgs, RunFlags, VerifyArg};
use super::mounts::{self, Mount};
use super::{env, limits, security, values};
use crate::engine::{PullWhen, RunRequest};
use crate::error::{Error, Kind, Result};
use crate::image::{ImageName, Platform};
use crate::policy::{Request, VerifyMode};

/// Checks and converts the flags of `run`.
///
/// # Errors
/// `Usage`, `Malformed`: a value that is none; `Unsupported`: a network; `Io`: an env file.
pub fn request(args: RunArgs) -> Result<RunRequest> {
    let ImageAndCommand::Words(mut words) = args.image;
    // clap calls it a subcommand only if there is one.
    let command = words.split_off(words.len().min(1));
    let image = words.pop().unwrap_or_default();
    flags(args.flags, image_name(&image)?, command)
}

/// The flags of `run`, about an image and a command.
///
/// # Errors
/// As [`request`].
pub fn flags(args: RunFlags, image: ImageName, command: Vec<String>) -> Result<RunRequest> {
    let (mut binds, mut tmpfs) = (Vec::new(), Vec::new());
    for text in &args.volume {
        binds.push(mounts::volume(text)?);
    }
    for text in &args.mount {
        match mounts::mount(text)? {
            Mount::Bind(ask) => binds.push(ask),
            Mount::Tmpfs(ask) => tmpfs.push(ask),
        }
    }
    for text in &args.tmpfs {
        tmpfs.push(mounts::tmpfs(text)?);
    }
    let inherit = |name: &str| std::env::var(name).ok();
    let pull = pull(args.pull.map_or(PullWhen::Missing, PullWhen::from), &image)?;
    Ok(RunRequest {
        request: Request {
            image,
            command,
            entrypoint: args.entrypoint,
            env: env::collect(&args.env_file, &args.env, &inherit)?,
            workdir: args.workdir.as_deref().map(values::workdir).transpose()?,
            user: args.user,
            read_only: args.read_only,
            tmpfs,
            binds,
            network: args.network.as_deref().map(values::network).transpose()?,
            keep_id: args.userns.as_deref().map_or(Ok(false), values::keep_id)?,
            devices: args
                .device
                .iter()
                .map(|text| mounts::device(text))
                .collect::<Result<_>>()?,
            caps: security::capabilities(&args.cap_add, &args.cap_drop)?,
            seccomp: security::options(&args.security_opt)?,
            hostname: args.hostname.as_deref().map(values::hostname).transpose()?,
            timeout: args
                .timeout
                .as_deref()
                .map(|text| values::duration("--timeout", text))
                .transpose()?,
            pids_limit: args.pids_limit.as_deref().map(limits::pids).transpose()?,
            resources: limits::resources(&args.resources)?,
            ulimits: limits::ulimits(&args.ulimit)?,
            rm: args.rm,
            tool: None,
            tty: args.tty,
            interactive: args.interactive,
            stop_signal: args
                .stop_signal
                .as_deref()
                .map(values::signal)
                .transpose()?,
            stop_timeout: match args.stop_timeout.as_deref() {
                Some(text) => values::stop_timeout(text)?,
                None => None,
            },
            explain: args.explain.as_deref().map(values::explain).transpose()?,
            verify: args.verify.map(|mode| match mode {
                VerifyArg::Stat => VerifyMode::Stat,
                VerifyArg::Full => VerifyMode::Full,
            }),
        },
        name: args
            .name
            .as_deref()
            .map(values::container_name)
            .transpose()?,
        labels: args
            .label
            .iter()
            .map(|text| values::label(text))
            .collect::<Result<_>>()?,
        cidfile: args.cidfile,
        profile: args.profile,
        locked: values::lock_place(args.locked, args.lock_file),
        pull,
        quiet: args.quiet,
        platform: args.platform.as_deref().map(Platform::parse).transpose()?,
        dry_run: args.dry_run,
        timings: args.timings,
        report: args.report,
        receipt: args.receipt,
        format: args.format.unwrap_or(FormatArg::Text).into(),
    })
}

/// The first flag that says what becomes of a run, not what its cell is.
pub fn of_what_is_kept(flags: &RunFlags) -> Option<&'static str> {
    let given = [
        ("--name", flags.name.is_some()),
        ("--label", !flags.label.is_empty()),
        ("--cidfile", flags.cidfile.is_some()),
        ("--locked", flags.locked),
        ("--dry-run", flags.dry_run),
        ("--timings", flags.timings),
        ("--explain", flags.explain.is_some()),
        ("--report", flags.report.is_some()),
        ("--receipt", flags.receipt.is_some()),
    ];
    given
        .iter()
        .find_map(|(flag, given)| given.then_some(*flag))
}

/// When to fetch. What is no registry's cannot be fetched, which `always` would have it.
fn pull(pull: PullWhen, image: &ImageName) -> Result<PullWhen> {
    match (pull, image) {
        (PullWhen::Always, ImageName::Registry(_)) | (PullWhen::Missing | PullWhen::Never, _) => {
            Ok(pull)
        }
        (PullWhen::Always, _) => Err(Error::new(
            Kind::Usage,
            format!("--pull always: {image} is no registry's image"),
        )
        .hint("what lies on disk is read anew each time")),
    }
}

/// The image's name; a path is told apart from a mistake.
pub fn image_name(text: &str) -> Result<ImageName> {
    ImageName::parse(text).map_err(|error| {
        if text.starts_with(['.', '/']) {
            error.hint(format!(
                "a layout folder is named oci:{text}[:TAG], an archive docker-archive:{text} or \
                 oci-archive:{text}"
            ))
        } else {
            error
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Verb};
    use super::*;
    use clap::Parser as _;

    fn parse(line: &[&str]) -> Result<RunRequest> {
        match Cli::try_parse_from(["lazaret", "run"].iter().chain(line))
            .unwrap()
            .verb
        {
            Some(Verb::Run(args)) => request(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_after_the_image_is_the_commands() {
        for (line, command) in [
            (
                &["--rm", "img", "sh", "-c", "-d"][..],
                &["sh", "-c", "-d"][..],
            ),
            (&["img", "-e", "--rm", "--help"], &["-e", "--rm", "--help"]),
            (&["img", "a", "--", "-x"], &["a", "--", "-x"]),
            (&["img", "--", "-x"], &["--", "-x"]),
            (&["--", "img", "-x"], &["-x"]),
            (&["-it", "img"], &[]),
            (&["img", ""], &[""]),
        ] {
            let request = parse(line).unwrap().request;
            assert_eq!(request.command, command, "{line:?}");
            assert_eq!(request.image, ImageName::parse("img").unwrap());
        }
    }

    #[test]
    fn flags_become_the_request() {
        let line = "-it --rm -e A=1 --env=B=2 -w /w -u 1:2 --entrypoint= --read-only --tmpfs /t:size=1m \
                    --hostname old -h new --timeout 10s --dry-run --timings --name web --verify full \
                    --network none --net=host --format json --pull always -q --platform arm64 busybox true";
        let got = parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let asked = &got.request;
        assert!(asked.tty && asked.interactive && asked.rm && asked.read_only);
        assert_eq!(asked.env.len(), 2);
        assert_eq!(asked.workdir.as_deref(), Some("/w"));
        assert_eq!(asked.user.as_deref(), Some("1:2"));
        assert_eq!(asked.entrypoint.as_deref(), Some(""));
        assert_eq!(asked.tmpfs[0].size, Some(1 << 20));
        // As with docker, the last one counts.
        assert_eq!(asked.hostname.as_deref(), Some("new"));
        assert_eq!(asked.timeout, Some(std::time::Duration::from_secs(10)));
        assert_eq!(asked.verify, Some(VerifyMode::Full));
        assert_eq!(asked.network, Some(crate::policy::Network::Host));
        assert_eq!(asked.command, ["true"]);
        assert!(got.dry_run && got.timings && got.quiet);
        assert_eq!(got.pull, PullWhen::Always);
        assert_eq!(got.platform.unwrap().to_string(), "linux/arm64");
        assert_eq!(got.name.as_deref(), Some("web"));
        assert_eq!(got.format, crate::report::Format::Json);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (line, kind) in [
            (&["--network", "bridge", "img"][..], Kind::Unsupported),
            (&["-e", "=x", "img"], Kind::Usage),
            (&["-w", "rel", "img"], Kind::Usage),
            (&["--timeout", "0", "img"], Kind::Usage),
            (&["--name", "a b", "img"], Kind::Usage),
            (&["Upper"], Kind::Usage),
            (&["--pull", "always", "oci:x"], Kind::Usage),
            (&["--platform", "amd64/linux/x/y", "img"], Kind::Usage),
            (&["--env-file", "/nonexistent", "img"], Kind::Io),
        ] {
            assert_eq!(parse(line).unwrap_err().kind, kind, "{line:?}");
        }
    }
}
