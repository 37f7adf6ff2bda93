//! What is kept of a run while it goes: how long its stages take, and, only where `--report` or
//! `--receipt` asks for it, what becomes known.

use crate::container::meter::{Holder, Meter, What};
use crate::container::supervise::{Ended, Exit};
use crate::error::{Error, Kind, Result};
use crate::host::receipt_key;
use crate::plan::Plan;
use crate::policy::{Grants, HostFacts, Policy};
use crate::report::{
    self, Container, Denial, Destination, Image, Known, Layer, Lock, PolicyInForce, Report, Took,
};
use crate::store::source::SourceImage;
use crate::trust::seal_receipt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The journal of one run.
pub(super) struct Journal {
    last: Instant,
    stages: Vec<(&'static str, Duration)>,
    /// What the run is held to, whoever wants to know.
    lock: Option<Box<Lock>>,
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
            lock: None,
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

    /// The lock that was asked for, and what it says of the image once that is known.
    pub(super) fn locked(&mut self, lock: Lock) {
        self.lock = Some(Box::new(lock));
    }

    pub(super) fn lock(&self) -> Option<&Lock> {
        self.lock.as_deref()
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

    /// The digests, which take longest: to be called while there is nothing else to do.
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

    /// What was refused, where that was told.
    pub(super) fn denials(&mut self, denials: Vec<Denial>) {
        if let Some(kept) = &mut self.kept {
            kept.known.denials = Some(denials);
        }
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

    /// The report and, where it is wanted, the receipt of it.
    fn texts(
        mut self,
        verb: &'static str,
        stages: &[(&'static str, Duration)],
        done: std::result::Result<u8, &Error>,
        receipt: bool,
    ) -> (Result<String>, Option<Result<String>>) {
        self.digest_policy();
        let took = Took {
            started: self.started,
            wall: self.since.elapsed(),
            stages,
        };
        let report = Report::of(verb, &self.known, took, done);
        let text = report.text();
        let receipt = receipt.then(|| match &text {
            Ok(text) => {
                let key = receipt_key::signing()?;
                seal_receipt(text, report.subject(), &key)
            }
            Err(error) => Err(error.clone()),
        });
        (text, receipt)
    }
}

/// Where a run is reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// `--report`.
    pub(super) report: Option<&'a Path>,
    /// `--receipt`.
    pub(super) receipt: Option<&'a Path>,
}

/// The places of what is wanted, found writable, and a key.
struct Places {
    report: Option<Destination>,
    receipt: Option<Destination>,
}

impl Places {
    fn open(wanted: Wanted<'_>) -> Result<Self> {
        let open = |flag, path: Option<&Path>| {
            let opened = path.map(|path| Destination::open(flag, path));
            opened.transpose()
        };
        // From each on no earlier run's is there to be taken for this one's, whatever the other's way is.
        let report = open("--report", wanted.report)?;
        let receipt = open("--receipt", wanted.receipt);
        if let (Some(report), Ok(Some(receipt))) = (&report, &receipt)
            && report.is_same(receipt)?
        {
            let cause = "--report and --receipt name one place";
            return Err(Error::new(Kind::Usage, cause).hint("give each a file of its own"));
        }
        report.as_ref().map_or(Ok(()), Destination::make_way)?;
        let receipt = receipt?;
        receipt.as_ref().map_or(Ok(()), Destination::make_way)?;
        if receipt.is_some() {
            let own = receipt_key::ready()?;
            if own.made {
                report::note(&format!(
                    "a key for receipts was made, {}; its public half is {}",
                    own.key.fingerprint,
                    own.file.display()
                ));
            }
        }
        Ok(Self { report, receipt })
    }
}

/// Does `go` and reports on it where `wanted` says, whether it succeeds or not. Nothing is begun
/// where that could not be written, or a receipt not be signed.
///
/// # Errors
/// Those of `go`; `Usage`, `Io`: report and receipt; as [`receipt_key::ready`].
pub(super) fn reported(
    verb: &'static str,
    wanted: Wanted<'_>,
    go: impl FnOnce(&mut Journal) -> Result<u8>,
) -> Result<u8> {
    if wanted.report.is_none() && wanted.receipt.is_none() {
        return go(&mut Journal::start());
    }
    let mut journal = Journal::reported();
    let Places { report, receipt } = Places::open(wanted)?;
    let done = go(&mut journal);
    let Journal {
        stages, lock, kept, ..
    } = journal;
    let Some(mut kept) = kept else {
        return done;
    };
    kept.known.lock = lock.map(|lock| *lock);
    let (text, sealed) = kept.texts(verb, &stages, done.as_ref().copied(), receipt.is_some());
    let written = [
        ("report", report.map(|to| to.write(&text?))),
        (
            "receipt",
            receipt.zip(sealed).map(|(to, text)| to.write(&text?)),
        ),
    ];
    let mut failed = None;
    for (what, written) in written {
        match written {
            // Why the command did not run is what the caller waits for.
            Some(Err(error)) if done.is_err() || failed.is_some() => report::stderr(&format!(
                "lazaret: the {what} could not be written: {error}\n"
            )),
            Some(Err(error)) => failed = Some(error),
            Some(Ok(())) | None => {}
        }
    }
    match (failed, done) {
        (Some(error), Ok(code)) => {
            Err(error.hint(format!("the command was run and its exit code was {code}")))
        }
        (_, done) => done,
    }
}
