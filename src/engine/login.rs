//! `lazaret login` and `lazaret logout`.

use super::{LoginRequest, LogoutRequest, online};
use crate::error::{Error, Kind, Result};
use crate::host::{self, Credential, Kept, prompt};
use crate::registry::{Auth, Client, Known, Options};
use crate::report;

/// Shows a registry who one is, and keeps that where docker, podman and lazaret find it again; what
/// the registry does not take is not kept.
///
/// # Errors
/// `Credentials`: they are not taken; `Usage`: nobody can be asked for them; `Registry` and others:
/// the registry does not answer; `Host`, `Io`: they cannot be kept.
pub fn login(request: &LoginRequest) -> Result<u8> {
    online::no_core()?;
    let registry = &request.registry;
    let mut before = None;
    if request.user.is_none() {
        before = host::credential(registry, "")?;
        if let Some(credential) = before.clone() {
            report::stderr("Authenticating with existing credentials...\n");
            match known(request, credential) {
                Err(e) if e.kind == Kind::Credentials && prompt::can_ask() => {
                    report::note(&format!("they are not taken any more: {e}"));
                }
                done => return succeeded(registry, done?),
            }
        }
    }
    if !request.password_stdin && !prompt::can_ask() {
        return Err(Error::new(
            Kind::Usage,
            "standard input is no terminal, so nobody can be asked for a password",
        )
        .hint(format!(
            "lazaret login -u USER --password-stdin {registry} < FILE"
        )));
    }
    let user = match &request.user {
        Some(user) => user.clone(),
        None => {
            let known = before.as_ref().and_then(Credential::user);
            let shown = known.map_or(String::new(), |user| format!(" ({user})"));
            report::stderr(&format!("Username{}: ", report::clean(&shown)));
            let typed = prompt::line()?;
            match (typed.trim(), known) {
                ("", Some(known)) => known.to_owned(),
                (typed, _) => typed.to_owned(),
            }
        }
    };
    if user.is_empty() {
        return Err(Error::new(
            Kind::Usage,
            "there is no user of that name: \"\"",
        ));
    }
    let password = match request.password_stdin {
        true => prompt::all_of_stdin()?,
        false => {
            let typed = prompt::hidden(|| report::stderr("Password: "));
            report::stderr("\n");
            typed?
        }
    };
    if password.is_empty() {
        return Err(Error::new(Kind::Usage, "the password is empty"));
    }
    let credential = Credential::Basic {
        user: user.clone(),
        password: password.clone(),
    };
    let known = known(request, credential)?;
    if let Kept::File(path) = host::keep(registry, &user, &password)? {
        report::note(&format!(
            "the password lies in {} for whoever can read that file; a credential helper \
             (credHelpers there) would keep it better",
            path.display()
        ));
    }
    succeeded(registry, known)
}

fn succeeded(registry: &str, known: Known) -> Result<u8> {
    if known == Known::NotAsked {
        report::note(&format!(
            "{registry} asks nobody who they are, so it did not look at the password"
        ));
    }
    report::stdout("Login Succeeded\n")?;
    Ok(0)
}

/// Asks the registry, by the worker.
fn known(request: &LoginRequest, credential: Credential) -> Result<Known> {
    let registry = &request.registry;
    let options = Options {
        auth: Some(Auth {
            registry: registry.clone(),
            credential,
        }),
        ..online::anonymous(registry, &request.insecure)?
    };
    online::ask(|| Client::new(&options)?.known(registry)).map_err(|e| match e.kind {
        Kind::Credentials => e.hint("check the name and the password; some registries want a token made for this in a password's place"),
        _ => e,
    })
}

/// Forgets what `login`, docker or podman kept for a registry.
///
/// # Errors
/// `Host`, `Io`, `Malformed`: a file or a helper stands in the way.
pub fn logout(request: &LogoutRequest) -> Result<u8> {
    let registry = &request.registry;
    let shown = match registry.as_str() {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    };
    let done = host::forget(registry)?;
    for name in &done.below {
        report::note(&format!("what is kept for {name} alone stays"));
    }
    report::stdout(&match done.found {
        true => format!("Removing login credentials for {shown}\n"),
        false => format!("Not logged in to {shown}\n"),
    })?;
    Ok(0)
}
