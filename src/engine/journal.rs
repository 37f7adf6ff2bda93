//! What is kept of a run while it goes: how long its stages take, and, only where `--report` asks
//! for it, what becomes known.

use crate::container::meter::{Holder, Meter, What};
use crate::container::supervise::{Ended, Exit};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::policy::{Grants, HostFacts, Policy};
use crate::report::{
    self, Container, Destination, Image, Known, Layer, PolicyInForce, Report, Took,
};
use crate::store::source::SourceImage;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The journal of one run.
pub(super) struct Journal {
    last: Instant,
    stages: Vec<(&'static str, Duration)>,
    kept: Option<Box<Kept>>,
}

/// What is kept for a report.
struct Kept {
    started: jiff::Timestamp,
    since: Instant,
    known: Known,
    policy: Option<(Rc<Policy>, Option<String>)>,
    /// As `--dry-run` would print it, where that is not the plan that is walked.
    plan: Option<Plan>,
}

impl Journal {
    /// Of a run that nobody wants a report of.
    pub(super) fn start() -> Self {
        Self {
            last: Instant::now(),
            stages: Vec::with_capacity(16),
            kept: None,
        }
    }

    fn reported() -> Self {
        let journal = Self::start();
        let kept = Kept {
            started: jiff::Timestamp::now(),
            since: journal.last,
            known: Known::default(),
            policy: None,
            plan: None,
        };
        Self {
            kept: Some(Box::new(kept)),
            ..journal
        }
    }

    pub(super) fn stages(&self) -> &[(&'static str, Duration)] {
        &self.stages
    }

    pub(super) fn stage(&mut self, name: &'static str) {
        let now = Instant::now();
        self.stages.push((name, now - self.last));
        self.last = now;
    }

    /// A part of the last stage.
    pub(super) fn part(&mut self, name: &'static str, time: Duration) {
        self.stages.push((name, time));
    }

    /// Whether a report is wanted.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    pub(super) fn host(&mut self, host: &HostFacts) {
        if let Some(kept) = &mut self.kept {
            kept.known.host = Some(host.clone());
        }
    }

    /// `asked`: the name as it was asked for.
    pub(super) fn image(&mut self, asked: &str, image: &SourceImage) {
        if let Some(kept) = &mut self.kept {
            let layers = image.layers.iter().map(|layer| Layer {
                digest: layer.descriptor.digest,
                diff_id: layer.diff_id,
                size: layer.descriptor.size,
            });
            kept.known.image = Some(Image {
                asked: asked.to_owned(),
                canonical: image.canonical_name.clone(),
                manifest: image.manifest.digest,
                config: image.manifest.config.digest,
                layers: layers.collect(),
            });
        }
    }

    pub(super) fn policy(&mut self, policy: &Rc<Policy>, profile: Option<&str>, notes: &[String]) {
        if let Some(kept) = &mut self.kept {
            kept.policy = Some((Rc::clone(policy), profile.map(str::to_owned)));
            kept.known.notes.extend_from_slice(notes);
        }
    }

    pub(super) fn grants(&mut self, grants: &Grants) {
        if let Some(kept) = &mut self.kept {
            kept.known.grants = Some(grants.clone());
        }
    }

    /// What `--dry-run` would have printed, where another plan is walked.
    pub(super) fn shown(&mut self, plan: Plan) {
        if let Some(kept) = &mut self.kept {
            kept.plan = Some(plan);
        }
    }

    pub(super) fn container(&mut self, id: &str, name: &str) {
        if let Some(kept) = &mut self.kept {
            kept.known.container = Some(Container {
                id: id.to_owned(),
                name: name.to_owned(),
            });
        }
    }

    /// The digests, which take longest: to be called while the cell is being made.
    ///
    /// # Errors
    /// As [`report::plan_digest`].
    pub(super) fn digest(&mut self, plan: &Plan) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            kept.digest_policy();
            let plan = kept.plan.as_ref().unwrap_or(plan);
            kept.known.plan = Some(report::plan_digest(plan)?);
        }
        Ok(())
    }

    pub(super) fn exit(&mut self, exit: &Exit) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        let known = &mut kept.known;
        known.how = Some(exit.how);
        known.meters.clone_from(&exit.meters);
        // Who is killed with pid 1 is waited for by nobody, and then counted by nobody.
        if !matches!(exit.how, Ended::Code(_) | Ended::Signal(_)) {
            return;
        }
        known.usage = Some(exit.usage);
        // A sampler sees nothing of a command that ends before its first look.
        let counted = |meter: &Meter| meter.what == What::Memory && meter.used.is_some();
        if !known.meters.iter().any(counted) {
            let used = Some(exit.usage.largest);
            known.meters.push(Meter {
                error: "of the largest process alone, and lazaret's own memory before it was \
                        executed counts: of small commands it is too much, of many processes too \
                        little"
                    .to_owned(),
                ..Meter::exact(What::Memory, Holder::Rusage, None, used)
            });
        }
    }
}

impl Kept {
    fn digest_policy(&mut self) {
        if let Some((policy, profile)) = self.policy.take() {
            self.known.policy = Some(PolicyInForce {
                digest: policy.digest(),
                profile,
                levels: policy.levels(),
            });
        }
    }

    fn text(
        mut self,
        verb: &'static str,
        stages: &[(&'static str, Duration)],
        done: std::result::Result<u8, &Error>,
    ) -> Result<String> {
        self.digest_policy();
        let took = Took {
            started: self.started,
            wall: self.since.elapsed(),
            stages,
        };
        Report::of(verb, &self.known, took, done).text()
    }
}

/// Does `go` and reports on it where `to` says, whether it succeeds or not. Nothing is begun where
/// the report could not be written.
///
/// # Errors
/// Those of `go`; `Usage`, `Io`: the report.
pub(super) fn reported(
    verb: &'static str,
    to: Option<&Path>,
    go: impl FnOnce(&mut Journal) -> Result<u8>,
) -> Result<u8> {
    let Some(to) = to else {
        return go(&mut Journal::start());
    };
    let mut journal = Journal::reported();
    let to = Destination::open(to)?;
    let done = go(&mut journal);
    let Journal { stages, kept, .. } = journal;
    let Some(kept) = kept else {
        return done;
    };
    let text = kept.text(verb, &stages, done.as_ref().copied());
    match (text.and_then(|text| to.write(&text)), done) {
        (Ok(()), done) => done,
        (Err(error), Ok(code)) => {
            Err(error.hint(format!("the command was run and its exit code was {code}")))
        }
        // Why the command did not run is what the caller waits for.
        (Err(error), Err(first)) => {
            report::stderr(&format!(
                "lazaret: the report could not be written: {error}\n"
            ));
            Err(first)
        }
    }
}
