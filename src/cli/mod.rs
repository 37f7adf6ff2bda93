//! argv -> a request value; no environment probing, no work.
//!
//! [`main`] is the table of contents: one line per verb, from clap's type through a request to the
//! engine's function of that name, and every error to `report`.

mod account;
mod args;
mod complete;
mod completion;
mod env;
mod instant;
mod learn;
mod limits;
mod listing;
mod man;
mod mounts;
mod objects;
mod policy;
mod refused;
mod run;
mod security;
mod tool;
mod usage;
mod values;
mod why;

use crate::engine::{self, Prune, PullWhen};
use crate::error::{Error, Result};
use crate::report::{self, Format};
use args::{
    Cli, ContainerVerb, FormatArg, ImageVerb, KindArg, PolicyVerb, PullArg, ReceiptVerb, RunArgs,
    SystemVerb, Verb,
};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    // A caller that ignores its children's end passes that on, and no end of ours would be seen
    // (wait(2), "ECHILD"): not a helper's, and not pid 1's of the payload.
    if let Err(errno) = crate::sys::default_signal(libc::SIGCHLD) {
        let error = Error::call("sigaction SIGCHLD", errno.raw_os_error());
        return ExitCode::from(fail("start", Format::Text, error));
    }
    // What is made here is the caller's alone, and the caller can open it: a umask of 0777 would
    // shut the store's own folders. Cell and workers have theirs.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let argv: Vec<OsString> = std::env::args_os().collect();
    // Asked by completion scripts alone, and so no verb that clap would offer.
    if argv.get(1).is_some_and(|verb| verb == "__complete") {
        let words = argv
            .iter()
            .skip(2)
            .map(|w| w.to_string_lossy().into_owned());
        return ExitCode::from(complete::complete(&words.collect::<Vec<_>>()));
    }
    ExitCode::from(match Cli::try_parse_from(&argv) {
        Ok(Cli { version: true, .. }) => finish("version", Format::Text, engine::version::short()),
        Ok(Cli { verb: Some(v), .. }) => dispatch(v),
        Ok(Cli { verb: None, .. }) => {
            let help = Cli::command().render_help().to_string();
            finish("help", Format::Text, report::stdout(&help).map(|()| 0))
        }
        Err(error) => wrong(&error, &argv),
    })
}

fn dispatch(verb: Verb) -> u8 {
    match verb {
        Verb::Run(args) => run_verb(*args),
        Verb::Tool(args) => tool_verb(*args),
        Verb::Images(args) => images(args),
        Verb::Load(args) => load(args),
        Verb::Save(args) => save(args),
        Verb::Pull(args) => pull(args),
        Verb::Push(args) => push(args),
        Verb::Tag(args) => tag(args),
        Verb::Lock(args) => lock(args),
        Verb::Search(args) => search(args),
        Verb::Login(args) => login(args),
        Verb::Logout(args) => logout(&args),
        Verb::Verify(args) => verify(args),
        Verb::Trust(args) => trust(args),
        Verb::Rmi(args) => rmi(args),
        Verb::Ps(args) => ps(args),
        Verb::Rm(args) => rm(args),
        Verb::Inspect(args) => inspect(args),
        Verb::Policy(args) => policy_verb(args.verb),
        Verb::Receipt(args) => receipt_verb(args.verb),
        Verb::Doctor(args) => doctor(args),
        Verb::Why(args) => why_verb(*args),
        Verb::Learn(args) => {
            let done = learn::request(args).and_then(|r| engine::learn::learn(&r));
            finish("learn", TEXT, done)
        }
        Verb::ExplainReport(args) => explain_report(args),
        Verb::Version(args) => version(args),
        Verb::Completion(args) => finish("completion", TEXT, completion::completion(args.shell)),
        Verb::Man(args) => finish("man", TEXT, man::man(&args)),
        Verb::Image(args) => match args.verb {
            ImageVerb::Ls(args) => images(args),
            ImageVerb::Load(args) => load(args),
            ImageVerb::Save(args) => save(args),
            ImageVerb::Pull(args) => pull(args),
            ImageVerb::Push(args) => push(args),
            ImageVerb::Tag(args) => tag(args),
            ImageVerb::Rm(args) => rmi(args),
            ImageVerb::Inspect(args) if args.remote => remote(args),
            ImageVerb::Inspect(args) => inspect(args.here()),
            ImageVerb::Prune(args) => prune("image prune", listing::prune(Prune::Images, args)),
        },
        Verb::Container(args) => match args.verb {
            ContainerVerb::Run(args) => run_verb(*args),
            ContainerVerb::Ls(args) => ps(args),
            ContainerVerb::Rm(args) => rm(args),
            ContainerVerb::Inspect(args) => inspect(args.of(KindArg::Container)),
            ContainerVerb::Prune(args) => prune("container prune", listing::container_prune(args)),
        },
        Verb::System(args) => match args.verb {
            SystemVerb::Df(args) => df(args),
            SystemVerb::Prune(args) => prune("system prune", listing::prune(Prune::All, args)),
        },
    }
}

const TEXT: Format = Format::Text;

fn images(args: args::ImagesArgs) -> u8 {
    let request = listing::images(args);
    finish(
        "images",
        TEXT,
        request.and_then(|r| engine::images::images(&r)),
    )
}

fn load(args: args::LoadArgs) -> u8 {
    let request = objects::load(args);
    finish("load", TEXT, request.and_then(|r| engine::load::load(&r)))
}

fn save(args: args::SaveArgs) -> u8 {
    let request = objects::save(args);
    finish("save", TEXT, engine::save::save(&request))
}

fn pull(args: args::PullArgs) -> u8 {
    let action = format!("pull {}", args.name);
    let request = objects::pull(args);
    finish(&action, TEXT, request.and_then(|r| engine::pull::pull(&r)))
}

fn push(args: args::PushArgs) -> u8 {
    let action = format!("push {}", args.name);
    let request = account::push(args);
    finish(&action, TEXT, request.and_then(|r| engine::push::push(&r)))
}

fn tag(args: args::TagArgs) -> u8 {
    let request = account::tag(args);
    finish("tag", TEXT, request.and_then(|r| engine::tag::tag(&r)))
}

fn lock(args: args::LockArgs) -> u8 {
    let request = objects::lock(args);
    finish("lock", TEXT, request.and_then(|r| engine::lock::lock(&r)))
}

fn search(args: args::SearchArgs) -> u8 {
    let request = account::search(args);
    finish(
        "search",
        TEXT,
        request.and_then(|r| engine::search::search(&r)),
    )
}

fn login(args: args::LoginArgs) -> u8 {
    let request = account::login(args);
    finish(
        "login",
        TEXT,
        request.and_then(|r| engine::login::login(&r)),
    )
}

fn logout(args: &args::LogoutArgs) -> u8 {
    let request = account::logout(args);
    let done = request.and_then(|r| engine::login::logout(&r));
    finish("logout", TEXT, done)
}

fn remote(args: args::ImageInspectArgs) -> u8 {
    let request = account::remote(args);
    let done = request.and_then(|r| engine::remote::remote(&r));
    finish("inspect", TEXT, done)
}

fn verify(args: args::VerifyArgs) -> u8 {
    let request = objects::verify(args);
    finish("verify", request.format, engine::verify::verify(&request))
}

fn trust(args: args::TrustArgs) -> u8 {
    let action = format!("trust {}", args.image);
    let request = objects::trust(args);
    finish(&action, request.format, engine::trust::trust(&request))
}

fn rmi(args: args::RmiArgs) -> u8 {
    finish("rmi", TEXT, engine::rmi::rmi(&objects::rmi(args)))
}

fn ps(args: args::PsArgs) -> u8 {
    let request = listing::ps(args);
    finish("ps", TEXT, request.and_then(|r| engine::ps::ps(&r)))
}

fn rm(args: args::RmArgs) -> u8 {
    finish("rm", TEXT, engine::rm::rm(&objects::rm(args)))
}

fn inspect(args: args::InspectArgs) -> u8 {
    let request = objects::inspect(args);
    finish(
        "inspect",
        TEXT,
        request.and_then(|r| engine::inspect::inspect(&r)),
    )
}

fn df(args: args::DfArgs) -> u8 {
    let request = listing::df(args);
    finish("system df", TEXT, request.and_then(|r| engine::df::df(&r)))
}

fn prune(action: &str, request: Result<engine::PruneRequest>) -> u8 {
    finish(action, TEXT, request.and_then(|r| engine::prune::prune(&r)))
}

fn policy_verb(verb: PolicyVerb) -> u8 {
    match verb {
        PolicyVerb::Show(args) => {
            let request = policy::show(args);
            finish(
                "policy show",
                request.format,
                engine::policy::show(&request),
            )
        }
        PolicyVerb::Check(args) => {
            let request = policy::check(args);
            let done = engine::policy::check(&request);
            finish("policy check", request.format, done)
        }
        PolicyVerb::Explain(args) => {
            let format = args.flags.format.map_or(Format::Text, Format::from);
            let done = run::request(*args).and_then(|r| engine::policy::explain(&r));
            finish("policy explain", format, done)
        }
        PolicyVerb::Test(args) => {
            let format = args.format.map_or(Format::Text, Format::from);
            let done = policy::test(args).and_then(|r| engine::policy::test(&r));
            finish("policy test", format, done)
        }
        PolicyVerb::Diff(args) => {
            let request = policy::diff(args);
            finish(
                "policy diff",
                request.format,
                engine::policy::diff(&request),
            )
        }
        PolicyVerb::Import(args) => {
            let request = policy::import(args);
            finish("policy import", TEXT, engine::policy::import(&request))
        }
        PolicyVerb::Init(args) => {
            let request = policy::init(&args);
            finish("policy init", TEXT, engine::policy::init(request))
        }
        PolicyVerb::Trust(args) => {
            let request = policy::trust(args);
            finish("policy trust", TEXT, engine::policy::trust(&request))
        }
    }
}

fn receipt_verb(verb: ReceiptVerb) -> u8 {
    match verb {
        ReceiptVerb::Verify(args) => {
            let format = args.format.map_or(Format::Text, Format::from);
            let action = format!("receipt verify {}", args.file.display());
            let done = objects::receipt(args).and_then(|r| engine::receipt::verify(&r));
            finish(&action, format, done)
        }
        ReceiptVerb::Key(_) => finish("receipt key", TEXT, engine::receipt::key()),
    }
}

fn doctor(args: args::DoctorArgs) -> u8 {
    let request = objects::doctor(args);
    finish("doctor", request.format, engine::doctor::doctor(&request))
}

fn why_verb(args: args::WhyArgs) -> u8 {
    let format = args.flags.format.map_or(Format::Text, Format::from);
    let done = why::request(args).and_then(|r| engine::why::why(&r));
    finish("why", format, done)
}

fn explain_report(args: args::ExplainReportArgs) -> u8 {
    let request = objects::explain_report(args);
    let done = engine::explain_report::explain_report(&request);
    finish("explain-report", TEXT, done)
}

fn version(args: args::VersionArgs) -> u8 {
    let request = objects::version(args.format);
    finish(
        "version",
        TEXT,
        request.and_then(|r| engine::version::version(&r)),
    )
}

fn run_verb(args: RunArgs) -> u8 {
    let args::ImageAndCommand::Words(words) = &args.image;
    let typed = words.first().cloned().unwrap_or_default();
    let format = args.flags.format.map_or(Format::Text, Format::from);
    match run::request(args) {
        Ok(request) => {
            let done = engine::run::run(&request);
            // The name is spelled out for errors only.
            match done {
                Ok(code) => code,
                Err(e) => fail(&format!("run {}", request.request.image), format, e),
            }
        }
        Err(e) => fail(&format!("run {typed}"), format, e),
    }
}

fn tool_verb(args: args::ToolArgs) -> u8 {
    let args::ProgramAndArgs::Words(words) = &args.program;
    let action = format!("tool {}", words.first().cloned().unwrap_or_default());
    let format = args.format.map_or(Format::Text, Format::from);
    let request = tool::request(args);
    finish(
        &action,
        format,
        request.and_then(|r| engine::tool::tool(&r)),
    )
}

fn finish(action: &str, format: Format, done: Result<u8>) -> u8 {
    done.unwrap_or_else(|error| fail(action, format, error))
}

fn fail(action: &str, format: Format, error: Error) -> u8 {
    let error = match error.action {
        Some(_) => error,
        None => error.action(action),
    };
    report::error(&error, format);
    error.exit_code()
}

/// What clap did not take for a request: help, or a mistake. docker's code for the latter is 125.
fn wrong(error: &clap::Error, argv: &[OsString]) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if !usage::lacks_image(error, argv) =>
        {
            let help = error.render();
            let help = if report::Screen::stdout().colour {
                help.ansi().to_string()
            } else {
                help.to_string()
            };
            finish("help", Format::Text, report::stdout(&help).map(|()| 0))
        }
        _ => {
            let error = usage::explain(error, argv);
            report::error(&error, usage::format_of(argv));
            error.exit_code()
        }
    }
}

impl From<PullArg> for PullWhen {
    fn from(when: PullArg) -> Self {
        match when {
            PullArg::Missing => Self::Missing,
            PullArg::Always => Self::Always,
            PullArg::Never => Self::Never,
        }
    }
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Text => Self::Text,
            FormatArg::Json => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap's own check of every verb, whose options are otherwise built only when typed.
    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// A flag that is both built and refused would never be refused.
    #[test]
    fn nothing_is_both_built_and_refused() {
        let mut cli = Cli::command();
        cli.build();
        for verb in cli.get_subcommands() {
            assert!(
                refused::verb(verb.get_name()).is_none(),
                "{}",
                verb.get_name()
            );
            for argument in verb.get_arguments() {
                for long in argument.get_long().iter() {
                    let spelled = format!("--{long}");
                    assert!(
                        refused::flag(verb.get_name(), &spelled).is_none(),
                        "{spelled}"
                    );
                }
                for short in argument.get_short().iter() {
                    let spelled = format!("-{short}");
                    assert!(
                        refused::flag(verb.get_name(), &spelled).is_none(),
                        "{spelled}"
                    );
                }
            }
        }
    }
}
