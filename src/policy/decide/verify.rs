//! How strictly the layers are checked.

use super::Judge;
use crate::policy::grants::{Granted, Origin, Reason, VerifyMode};
use crate::policy::request::Request;

impl Judge<'_> {
    /// The strictest of all levels; a flag may ask for more and not for less.
    pub(super) fn verify(&mut self, request: &Request) -> Granted<VerifyMode> {
        let mut verify = Granted {
            value: VerifyMode::Stat,
            origin: Origin::Always("nothing runs unverified"),
        };
        let mut strictest = None;
        for level in &self.policy.levels {
            for rule in level.require(self.subject) {
                if let Some((mode, line)) = rule.verify
                    && (strictest.is_none() || mode > verify.value)
                {
                    verify = Granted {
                        value: mode,
                        origin: rule.head.at(line),
                    };
                    strictest = Some((level.whose, rule));
                }
            }
        }
        match request.verify {
            Some(asked) if asked > verify.value => {
                verify = Granted {
                    value: asked,
                    origin: Origin::Flag("--verify"),
                };
            }
            Some(asked) if asked < verify.value => {
                if let Some((whose, rule)) = strictest {
                    self.reasons.push(Reason {
                        asked: "--verify stat".to_owned(),
                        rule: "require verify = \"full\"".to_owned(),
                        origin: verify.origin.clone(),
                        why: rule.head.reason.clone(),
                        cure: self.policy.require_cure(whose, &verify.origin),
                    });
                }
            }
            _ => {}
        }
        verify
    }
}
