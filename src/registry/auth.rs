//! Who we are to a registry: `WWW-Authenticate`, tokens (distribution, docs/spec/auth) and Basic
//! (RFC 7617).
//!
//! Credentials go to the registry that they are for, or to a token server that is the registry's
//! own: the same host, one below it, or one that it is itself below (`registry.gitlab.com` and
//! `gitlab.com`; whoever owns the name above owns the one below it anyway). A sibling
//! (`evil.github.io` for `good.github.io`) is somebody else. docker.io's pair is known.

use super::failure::{self, Trouble};
use super::http::{Http, Reply, origin};
use super::options::{Auth, Options};

use super::origin::{Origin, address, is_below};
use super::retry::{Retries, retry_after};
use crate::error::{Error, Kind, Result};
use crate::host::Credential;
use crate::image::json::{self, Document};
use crate::image::quote::quoted;
use base64::Engine as _;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use ureq::http::{HeaderMap, Request, Uri};

/// The longest challenge that is looked at.
const MAX_CHALLENGE: usize = 4096;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token, which `realm` hands out for `service`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
    /// A name and a password.
    Basic,
}

/// What is fixed about authentication.
#[derive(Debug)]
pub(super) struct Authentication {
    auths: Vec<Auth>,
    realms: Vec<String>,
    max_token: u64,
}

impl Authentication {
    /// Errors: `Usage` for credentials that cannot be sent.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let auths: Vec<Auth> = options
            .auth
            .iter()
            .chain(&options.mirror_auths)
            .cloned()
            .collect();
        let bad = |user: &str| user.contains(':') || user.chars().any(char::is_control);
        if auths
            .iter()
            .any(|auth| matches!(&auth.credential, Credential::Basic { user, .. } if bad(user)))
        {
            return Err(Error::new(
                Kind::Usage,
                "a registry's user name has no colon and no control character",
            ));
        }
        Ok(Self {
            auths,
            realms: options.realms.clone(),
            max_token: options.limits.token,
        })
    }

    fn credential(&self, domain: &str) -> Option<&Credential> {
        let auth = self.auths.iter().find(|auth| auth.registry == domain);
        auth.map(|auth| &auth.credential)
    }

    /// The `Authorization` that answers a registry's 401, for no more than `scope`. None: there is
    /// nothing to answer with. `registry` is where `domain` is spoken to.
    pub(super) fn answer(
        &self,
        http: &Http,
        domain: &str,
        registry: &Origin,
        scope: &Scope,
        headers: &HeaderMap,
        retries: &mut Retries,
    ) -> Result<Option<String>> {
        let credential = self.credential(domain);
        match challenge(headers).map_err(|e| e.context(registry))? {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(match credential {
                Some(Credential::Basic { user, password }) => Some(basic(user, password)),
                Some(Credential::Token(_)) | None => None,
            }),
            Some(Challenge::Bearer { realm, service }) => {
                let (url, at) = self.realm(registry, &realm)?;
                let wanted = Wanted {
                    service: service.as_deref(),
                    scope,
                    credential,
                };
                loop {
                    let (error, wait) = match self.token(http, &url, &at, &wanted) {
                        Ok(reply) if reply.status == 200 => {
                            let bytes = match reply.read(self.max_token, "token") {
                                Ok(bytes) => bytes,
                                Err(Trouble::Broken(e)) => {
                                    retries.or(e, None)?;
                                    continue;
                                }
                                Err(other) => return Err(other.error()),
                            };
                            return bearer(&bytes).map(Some).map_err(|e| e.context(&at));
                        }
                        Ok(reply) => {
                            let again = matches!(reply.status, 429 | 500 | 502 | 503 | 504);
                            let wait = retry_after(&reply.headers);
                            let (status, html) = (reply.status, reply.is_page());
                            let what = format!("a token for {}", scope.of(domain));
                            let error = failure::status(
                                &at,
                                domain,
                                &what,
                                status,
                                html,
                                &reply.explanation(),
                            );
                            if !again {
                                return Err(error);
                            }
                            (error, wait)
                        }
                        Err(Trouble::Broken(e)) => (e, None),
                        Err(other) => return Err(other.error()),
                    };
                    retries.or(error, wait)?;
                }
            }
        }
    }

    /// A token server's address, if it may be asked.
    fn realm(&self, registry: &Origin, realm: &str) -> Result<(Uri, Origin)> {
        let refused = |why: String| {
            Error::new(
                Kind::Credentials,
                format!("{registry}: it wants a token from {why}"),
            )
        };
        let url: Uri = realm
            .parse()
            .map_err(|_| refused(format!("{}, which is no address", quoted(realm))))?;
        let at = Origin::of(&url)
            .ok_or_else(|| refused(format!("{}, which is no http address", quoted(realm))))?;
        let configured = self.realms.contains(&at.domain());
        match is_own(registry, &at) || configured && (at.https || !registry.https) {
            true => Ok((url, at)),
            false => Err(refused(format!(
                "{}, which is not its own: credentials stay here",
                quoted(&at.to_string())
            ))
            .hint("if that is really where it hands out tokens, name it as a token realm")),
        }
    }

    /// Asks for a token once; redirects are answers like others.
    fn token(
        &self,
        http: &Http,
        url: &Uri,
        at: &Origin,
        wanted: &Wanted<'_>,
    ) -> std::result::Result<Reply, Trouble> {
        if let Some(Credential::Token(token)) = wanted.credential {
            let form = [
                "grant_type=refresh_token&client_id=lazaret".to_owned(),
                wanted.form(),
                format!("refresh_token={}", escaped(token)),
            ];
            let form = form.into_iter().filter(|part| !part.is_empty());
            let form = form.collect::<Vec<_>>().join("&");
            let request = Request::post(url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(ACCEPT, "application/json")
                .body(form);
            return http.send(at, request, true, None);
        }
        let query = wanted.query();
        let joint = match (url.query().is_some(), query.is_empty()) {
            (_, true) => "",
            (true, false) => "&",
            (false, false) => "?",
        };
        let url: Uri = format!("{url}{joint}{query}").parse().map_err(|_| {
            Error::new(
                Kind::Registry,
                format!("{at}: its token address is too long"),
            )
        })?;
        let mut request = Request::get(&url).header(ACCEPT, "application/json");
        if let Some(Credential::Basic { user, password }) = wanted.credential {
            request = request.header(AUTHORIZATION, basic(user, password));
        }
        http.send(&origin(&url)?, request.body(()), true, None)
    }
}

/// What is to be done at a registry (distribution, docs/spec/auth/scope.md): our own words,
/// whatever a challenge says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// To be known there, and no more.
    Login,
    /// Read a repository.
    Pull(String),
    /// Read and write a repository, and read another one whose blobs it is to have too.
    Push { path: String, from: Option<String> },
    /// List the registry's repositories.
    Catalog,
}

impl Scope {
    /// What it is about, in the words of an error.
    fn of(&self, domain: &str) -> String {
        match self {
            Self::Login | Self::Catalog => domain.to_owned(),
            Self::Pull(path) | Self::Push { path, .. } => format!("{domain}/{path}"),
        }
    }

    fn words(&self) -> Vec<String> {
        let pull = |path: &str| format!("repository:{}:pull", escaped_path(path));
        match self {
            Self::Login => Vec::new(),
            Self::Pull(path) => vec![pull(path)],
            Self::Push { path, from } => [pull(path) + ",push"]
                .into_iter()
                .chain(from.as_deref().map(pull))
                .collect(),
            Self::Catalog => vec!["registry:catalog:*".to_owned()],
        }
    }
}

/// What a token is asked for, and with what.
struct Wanted<'a> {
    service: Option<&'a str>,
    scope: &'a Scope,
    credential: Option<&'a Credential>,
}

impl Wanted<'_> {
    fn service(&self) -> Option<String> {
        let service = self.service?;
        Some(format!("service={}", escaped(service)))
    }

    /// As an address has it: each scope a parameter of its own.
    fn query(&self) -> String {
        let scopes = self.scope.words().into_iter();
        let scopes = scopes.map(|scope| format!("scope={scope}"));
        let all = self.service().into_iter().chain(scopes);
        all.collect::<Vec<_>>().join("&")
    }

    /// As a form has it (distribution, docs/spec/auth/oauth.md): all scopes in one.
    fn form(&self) -> String {
        let scopes = self.scope.words().join("%20");
        let scope = (!scopes.is_empty()).then(|| format!("scope={scopes}"));
        let all = self.service().into_iter().chain(scope);
        all.collect::<Vec<_>>().join("&")
    }
}

/// Whether a token server is the registry's own.
fn is_own(registry: &Origin, realm: &Origin) -> bool {
    if realm == registry {
        return true;
    }
    // Another port of the same machine may be another user's: only a certificate says that it is
    // not, and 443 is root's.
    if !realm.https || realm.port != 443 && realm.port != registry.port {
        return false;
    }
    let (own, other) = (registry.host.as_str(), realm.host.as_str());
    let names = address(own).is_none() && address(other).is_none();
    own == other
        || (own, other) == ("registry-1.docker.io", "auth.docker.io")
        || names && (is_below(other, own) || other.contains('.') && is_below(own, other))
}

fn basic(user: &str, password: &str) -> String {
    let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {both}")
}

/// RFC 3986, section 2.3: everything but the unreserved characters.
pub(super) fn escaped(text: &str) -> String {
    escape(text, b"-._~")
}

/// The same with what scopes are written with left as it is.
fn escaped_path(text: &str) -> String {
    escape(text, b"-._~/")
}

fn escape(text: &str, also: &[u8]) -> String {
    let each = |byte: u8| match byte.is_ascii_alphanumeric() || also.contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(each).collect()
}

const TOKEN: Document = Document {
    what: "token",
    max_bytes: 1 << 20,
    names: &["token", "access_token", "expires_in", "issued_at"],
    objects: &[],
    list: false,
    free: &[],
};

#[derive(serde::Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` in a token server's answer.
fn bearer(bytes: &[u8]) -> Result<String> {
    let answer: Token = json::gate(bytes, &TOKEN)?.read()?;
    let token = answer.token.filter(|token| !token.is_empty());
    match token.or(answer.access_token) {
        Some(token) if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(format!("Bearer {token}"))
        }
        _ => Err(Error::new(Kind::Malformed, "its token is none")),
    }
}

/// The challenge to answer, of all that were sent: a token before a password.
fn challenge(headers: &HeaderMap) -> Result<Option<Challenge>> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let text = value
            .to_str()
            .ok()
            .filter(|text| text.len() <= MAX_CHALLENGE);
        let Some(text) = text else {
            return Err(malformed());
        };
        for (scheme, parameters) in challenges(text).ok_or_else(malformed)? {
            let get = |name: &str| {
                let found = parameters.iter().find(|(n, _)| n == name);
                found.map(|(_, value)| value.clone())
            };
            match scheme.as_str() {
                "bearer" => {
                    return Ok(Some(Challenge::Bearer {
                        realm: get("realm").ok_or_else(malformed)?,
                        service: get("service"),
                    }));
                }
                "basic" => basic = Some(Challenge::Basic),
                _ => {}
            }
        }
    }
    Ok(basic)
}

fn malformed() -> Error {
    Error::new(
        Kind::Malformed,
        "what it wants to see (WWW-Authenticate) cannot be read",
    )
}

type Parameters = Vec<(String, String)>;

/// `scheme name=value, name="value", scheme ...` (RFC 9110, section 11.6.1), names in lower case.
/// None: not of this form, or one name twice, which two readers may read as two.
fn challenges(text: &str) -> Option<Vec<(String, Parameters)>> {
    let mut out: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        let word = word.to_ascii_lowercase();
        let after = after.trim_start();
        rest = match after.strip_prefix('=') {
            None => {
                out.push((word, Vec::new()));
                after
            }
            Some(after) => {
                let (value, after) = value(after.trim_start())?;
                let (_, parameters) = out.last_mut()?;
                if parameters.iter().any(|(name, _)| *name == word) {
                    return None;
                }
                parameters.push((word, value));
                match after.trim_start() {
                    "" => "",
                    after => after.strip_prefix(',')?,
                }
            }
        }
        .trim_start_matches([' ', '\t', ',']);
    }
    Some(out)
}

fn word(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(c))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = word(text)?;
        return Some((value.to_owned(), rest));
    };
    let mut out = String::new();
    let mut chars = quoted.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some((out, &quoted[i + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests;
