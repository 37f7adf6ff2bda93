//! When to try again, and how long to wait before.

use super::options::Limits;
use crate::error::{Error, Result};
use std::time::{Duration, SystemTime};
use ureq::http::HeaderMap;
use ureq::http::header::RETRY_AFTER;

/// The attempts that are left for one thing.
pub(super) struct Retries {
    left: u32,
    pause: Duration,
    first: Duration,
    all: u32,
    longest: Duration,
    /// What may be tried again, where no attempt was left: with the pause that was wanted.
    given_up: Option<Option<Duration>>,
}

impl Retries {
    /// No further attempt: whoever asks begins again elsewhere, see [`Retries::given_up`].
    pub(super) fn none(limits: &Limits) -> Self {
        Self {
            left: 0,
            ..Self::new(limits)
        }
    }

    /// Whether the last error is one that another attempt may mend, and the pause that the other
    /// side wants before it.
    pub(super) fn given_up(&self) -> Option<Option<Duration>> {
        self.given_up
    }

    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            left: limits.retries,
            pause: limits.pause,
            first: limits.pause,
            all: limits.retries,
            longest: limits.longest_pause,
            given_up: None,
        }
    }

    /// As at the start: the last attempt brought something.
    pub(super) fn refresh(&mut self) {
        (self.left, self.pause) = (self.all, self.first);
    }

    /// Waits before the next attempt, or gives `error` back where there is none: all are used up,
    /// or the other side wants (`Retry-After`) a pause longer than any.
    pub(super) fn or(&mut self, error: Error, wanted: Option<Duration>) -> Result<()> {
        if self.left == 0 {
            self.given_up = Some(wanted);
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted > self.longest) {
            let asks = match wanted.as_secs() {
                seconds @ ..=86_400 => format!("it asks to be left alone for {seconds} seconds"),
                _ => "it asks to be left alone for more than a day".to_owned(),
            };
            let hint = error.hint.as_ref().map(|hint| format!("{hint}; {asks}"));
            return Err(error.hint(hint.unwrap_or(asks)));
        }
        if self.left == 0 {
            return Err(error);
        }
        self.left -= 1;
        std::thread::sleep(wanted.unwrap_or(self.pause).min(self.longest));
        self.pause = self.pause.saturating_mul(2).min(self.longest);
        Ok(())
    }
}

/// What `Retry-After` says (RFC 9110, section 10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are longer than any pause that is made.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(
        SystemTime::from(at)
            .duration_since(SystemTime::now())
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn after(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            after("99999999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(after("Fri, 31 Dec 2100 23:59:59 GMT") > Some(Duration::from_secs(1 << 30)));
        for none in ["", "-1", "1.5", "soon"] {
            assert_eq!(after(none), None, "{none}");
        }
    }

    #[test]
    fn attempts_end() {
        let limits = Limits {
            retries: 3,
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
            ..Limits::default()
        };
        let error = || Error::new(Kind::Registry, "x");
        let mut retries = Retries::new(&limits);
        let attempts = std::iter::from_fn(|| retries.or(error(), None).ok()).take(10);
        assert_eq!(attempts.count(), 3);
        retries.refresh();
        assert!(retries.or(error(), Some(Duration::from_secs(1))).is_err());
        assert!(retries.or(error(), Some(Duration::ZERO)).is_ok());
    }
}
