//! The one error type: what was being done, what went wrong with which arguments, and what to do.
//!
//! An [`Error`] is made where the failure is seen, keeps the errno and the arguments of the failed
//! call, gains its `action` from the verb that was running, and is printed once, in `report`, as
//! `lazaret: <action>: <cause>` and `hint: <what to do>`.

use std::borrow::Cow;
use std::fmt;

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure an [`Error`] is. Stable: `--format json` prints it in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The command line or an environment variable asks for something impossible or not built.
    Usage,
    /// The thing that was named is not there.
    NotFound,
    /// A policy rule said no.
    Policy,
    /// Bytes are not what their digest, size or diff id says.
    Integrity,
    /// Bytes break the format that they claim to be in.
    Malformed,
    /// Bytes are well-formed and more than a limit allows.
    Limit,
    /// Valid, and something lazaret does not do.
    Unsupported,
    /// The image is for another operating system or architecture.
    Platform,
    /// This kernel or machine does not provide what is needed.
    Host,
    /// A system call on files failed.
    Io,
    /// Somebody else holds a lock.
    Busy,
    /// The store itself is damaged, foreign or of another version.
    Store,
    /// A registry cannot be reached, or answers something other than what was asked for.
    Registry,
    /// A registry wants other credentials than it was given, or may not be given any.
    Credentials,
    /// A confined worker died or broke the protocol.
    Worker,
    /// A step of the plan failed in the child.
    Launch,
    /// Somebody pressed ^C (exit 130).
    Interrupted,
    /// A signal asked for the end (exit 143, as for SIGTERM).
    Terminated,
    /// The command was not found inside (exit 127).
    CommandNotFound,
    /// The command was found inside and cannot be executed (exit 126).
    CommandNotExecutable,
}

/// A failure with everything that a person needs to act on it.
#[derive(Debug, Clone)]
pub struct Error {
    /// What sort of failure.
    pub kind: Kind,
    /// What lazaret was doing, in the user's words: `run docker.io/library/redis:7`.
    pub action: Option<String>,
    /// What failed, with its arguments: `open "/x/y": permission denied`.
    pub cause: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The errno of the failed system call, where there was one.
    pub errno: Option<i32>,
    /// Preformatted detail lines printed between cause and hint (a refusal's asked, rule, why).
    pub detail: Vec<String>,
    /// The refusal's reasons, for `--format json`; empty for other kinds.
    pub reasons: Vec<crate::policy::Reason>,
}

impl Error {
    /// An error of `kind` whose cause is `cause`.
    pub fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            action: None,
            cause: cause.into(),
            hint: None,
            errno: None,
            detail: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// A failed system call: `call` is its name with its arguments (`open "/etc/passwd"`), `errno`
    /// what the kernel answered.
    pub fn call(call: impl Into<String>, errno: impl Into<i32>) -> Self {
        let errno = errno.into();
        Self {
            errno: Some(errno),
            ..Self::new(Kind::Io, format!("{}: {}", call.into(), strerror(errno)))
        }
    }

    /// A failed operation of the standard library; as [`Error::call`].
    pub fn io(call: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::call(call, errno),
            None => Self::new(Kind::Io, format!("{}: {error}", call.into())),
        }
    }

    /// The same error as another kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with what was being done; the outermost action wins, so verbs set it last.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// The same error with a word about where put in front of its cause.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.cause = format!("{context}: {}", self.cause);
        self
    }

    /// docker's exit code for this failure: 127 not found, 126 not executable, 130
    /// interrupted, 143 terminated, 125 all else.
    /// `verify` and `probe` have exit codes of their own, which their verbs return.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::CommandNotFound => 127,
            Kind::CommandNotExecutable => 126,
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
            _ => 125,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(action) = &self.action {
            write!(f, "{action}: ")?;
        }
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}

/// The kernel's words for an errno, in lower case and without the number.
pub fn strerror(errno: i32) -> Cow<'static, str> {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text[first.len_utf8()..].starts_with(|c: char| c.is_uppercase()) => {
            Cow::Owned(first.to_lowercase().chain(chars).collect())
        }
        _ => Cow::Owned(text),
    }
}

/// Attaches words to foreign errors on their way into [`Error`].
pub trait Context<T> {
    /// Turns the error into an [`Error::call`] or [`Error::io`] whose call is made by `call`.
    fn or_call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn or_call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::io(call(), &e))
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn or_call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::call(call(), e.raw_os_error()))
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn or_call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::call(call(), e as i32))
    }
}
