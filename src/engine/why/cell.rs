//! The cell that is asked about: what a run would be granted, and its plan.

use crate::engine::journal::Journal;
use crate::engine::run::{self, Decision, Looks};
use crate::engine::{RunRequest, WhyRequest, limits, place, tool};
use crate::error::{Error, Kind, Result};
use crate::image::ImageName;
use crate::plan::{Merged, Plan, Step, plain_path};
use crate::policy::{
    BindAsk, DeviceAsk, DeviceFacts, FileKind, Grants, HostFacts, ImageFacts, Outside, Policy,
    Reason, Request, SourceFacts, Verdict, decide, wanted_devices,
};
use crate::report::{self, Answer};
use crate::store::RootFs;
use std::path::PathBuf;
use std::rc::Rc;

/// The merged tree of [`Cell::lists`].
///
/// # Errors
/// `Store`: a list is damaged.
pub(super) fn merged(lists: Option<&[Vec<u8>]>) -> Result<Option<Merged<'_>>> {
    lists
        .map(|lists| {
            let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
            Merged::of(&lists)
        })
        .transpose()
}

/// What stands for an image that no rule names: `.invalid` is no registry's (RFC 2606).
const NAMELESS: &str = "image.invalid/that-no-rule-names";

/// What is asked for beside, on the way to a cure.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beside {
    /// Nothing of this machine.
    Nothing,
    /// The last of the binds; where this machine lacks it, it is judged by its name as such a file.
    Bind(FileKind),
    /// The last of the devices; where this machine lacks it, it is judged by its name.
    Device,
}

/// What `decide` said to the same run with something beside.
pub(super) struct Asked {
    /// The first reason against it, if there is one.
    pub(super) refused: Option<Reason>,
    /// What a person should know, where it is granted.
    pub(super) notes: Vec<String>,
    /// This machine has what was named.
    pub(super) there: bool,
}

/// The cell.
pub(in crate::engine) struct Cell {
    pub(super) policy: Rc<Policy>,
    /// The run, its image as rules name it.
    pub(super) request: Request,
    pub(super) grants: Grants,
    pub(super) plan: Plan,
    /// The image's layers; `None`: no image was named.
    pub(super) rootfs: Option<RootFs>,
    facts: ImageFacts,
    host: HostFacts,
    store: PathBuf,
}

impl Cell {
    /// Decides as `run` does, and plans.
    ///
    /// # Errors
    /// As `run`, up to the plan; with reasons where the policy refuses the run itself.
    pub(super) fn of(request: &WhyRequest) -> Result<Self> {
        match request.named {
            true => Self::of_image(&request.run),
            false => Self::of_none(&request.run),
        }
    }

    fn of_image(request: &RunRequest) -> Result<Self> {
        let mut journal = Journal::start();
        let looks = Looks {
            who: "why",
            ear: None,
        };
        let Decision {
            name,
            facts,
            grants,
            policy,
            store,
            host,
            map,
            rootfs,
            ..
        } = run::decision(request, &mut journal, Some(looks))?;
        Ok(Self {
            plan: run::plan_of(&grants, &rootfs.lowers, map, &host, None)?,
            store: store.path().to_owned(),
            rootfs: Some(rootfs),
            request: Request {
                image: name,
                ..request.request.clone()
            },
            policy,
            facts,
            grants,
            host,
        })
    }

    /// The cell of a run that was decided on, as it was; `request` names the image as rules do.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the stages of a run have made, each once"
    )]
    pub(in crate::engine) fn of_run(
        policy: Rc<Policy>,
        request: Request,
        facts: ImageFacts,
        grants: Grants,
        host: HostFacts,
        plan: Plan,
        rootfs: Option<RootFs>,
        store: PathBuf,
    ) -> Self {
        Self {
            policy,
            request,
            grants,
            plan,
            rootfs,
            facts,
            host,
            store,
        }
    }

    /// The image's layers as lists, to be merged; none without an image.
    ///
    /// # Errors
    /// `Store`, `Integrity`: a list is damaged.
    pub(super) fn lists(&self) -> Result<Option<Vec<Vec<u8>>>> {
        self.rootfs.as_ref().map(RootFs::lists).transpose()
    }

    /// Why there are no subordinate ids, and what gives some.
    pub(super) fn no_subids(&self) -> &str {
        &self.host.no_subids
    }

    fn of_none(request: &RunRequest) -> Result<Self> {
        let store = place::look_at_store()?;
        let host = place::host(store.as_ref())?;
        let force = crate::host::policy(request.profile.as_deref())?;
        for note in &force.notes {
            report::note(note);
        }
        let mut cell = Request {
            image: ImageName::parse(NAMELESS)?,
            ..request.request.clone()
        };
        cell.command = vec!["true".to_owned()];
        let store = place::store_path()?;
        let devices = wanted_devices(&force.policy, &cell.image, &cell.devices);
        let (outside, _open) = crate::host::outside(&cell.binds, &devices, &store)?;
        let host = limits::with_cgroup(HostFacts { outside, ..host }, &force.policy, &cell, true);
        let facts = tool::no_image(&force.policy, &cell.image);
        let grants = match decide(&force.policy, &cell, &facts, &host)? {
            Verdict::Allow(grants) => *grants,
            Verdict::Deny(reasons) => return Err(run::refused(reasons)),
        };
        let own = place::map_of(&host);
        let map = match cell.keep_id {
            true => place::keeping_map_of(&host).unwrap_or(own),
            false => own,
        };
        Ok(Self {
            plan: run::plan_of(&grants, &[], map, &host, None)?,
            policy: Rc::new(force.policy),
            request: cell,
            grants,
            rootfs: None,
            facts,
            host,
            store,
        })
    }

    /// What would be decided on the same run, changed.
    ///
    /// # Errors
    /// As `decide`; `Io`: this machine's files cannot be looked at.
    pub(super) fn ask(&self, beside: Beside, change: impl FnOnce(&mut Request)) -> Result<Asked> {
        let mut request = self.request.clone();
        change(&mut request);
        let (outside, there) = self.outside(&request, beside)?;
        let host = HostFacts {
            outside,
            ..self.host.clone()
        };
        Ok(match decide(&self.policy, &request, &self.facts, &host)? {
            Verdict::Allow(grants) => Asked {
                refused: None,
                notes: grants.notes,
                there,
            },
            Verdict::Deny(reasons) => Asked {
                refused: reasons.into_iter().next(),
                notes: Vec::new(),
                there,
            },
        })
    }

    /// What of this machine the request names, and whether all of it is there.
    fn outside(&self, request: &Request, beside: Beside) -> Result<(Outside, bool)> {
        let of = |binds: &[BindAsk], devices: &[DeviceAsk]| {
            let devices = wanted_devices(&self.policy, &request.image, devices);
            let found = crate::host::outside(binds, &devices, &self.store)?;
            Ok::<_, Error>(found.0)
        };
        let error = match of(&request.binds, &request.devices) {
            Ok(outside) => return Ok((outside, true)),
            Err(error) => error,
        };
        let nobody_can_say = matches!(error.kind, Kind::NotFound | Kind::Io);
        match (
            beside,
            request.binds.split_last(),
            request.devices.split_last(),
        ) {
            (Beside::Bind(kind), Some((last, others)), _) if nobody_can_say => {
                let binds: Vec<BindAsk> = others.iter().cloned().chain([root()]).collect();
                let mut outside = of(&binds, &request.devices)?;
                outside.sources.pop();
                outside.sources.push(SourceFacts {
                    path: real(&last.source, &outside),
                    kind,
                    uid: self.host.uid,
                    gid: self.host.gid,
                    mode: 0o755,
                    mounts: Vec::new(),
                    through: None,
                });
                Ok((outside, false))
            }
            (Beside::Device, _, Some((last, others))) if nobody_can_say => {
                let binds: Vec<BindAsk> = request.binds.iter().cloned().chain([root()]).collect();
                let mut outside = of(&binds, others)?;
                outside.sources.pop();
                let device = DeviceFacts {
                    path: last.source.clone(),
                    character: true,
                    major: 0,
                    minor: 0,
                    name: last.source.strip_prefix("/dev/").map(str::to_owned),
                    uid: 0,
                    gid: 0,
                    mode: 0o666,
                };
                // Those that are asked for stand before those that are given.
                outside.devices.insert(others.len(), device);
                Ok((outside, false))
            }
            _ => Err(error),
        }
    }

    /// A path with `~` as what it stands for.
    pub(super) fn expanded(&self, path: &str) -> String {
        let home = std::env::var("HOME").unwrap_or_default();
        match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => path.to_owned(),
        }
    }

    /// Where a path of this machine leads; by its name where it is not there.
    ///
    /// # Errors
    /// `Io`: there is no current folder.
    pub(super) fn real(&self, path: &str) -> Result<String> {
        let ask = BindAsk {
            source: self.expanded(path),
            ..root()
        };
        let found = crate::host::outside(std::slice::from_ref(&ask), &[], &self.store);
        let path = match found {
            Ok((outside, _open)) => outside.sources.into_iter().next().map(|found| found.path),
            Err(_) => None,
        };
        match path {
            Some(path) => Ok(path),
            None => {
                let (outside, _open) = crate::host::outside(&[root()], &[], &self.store)?;
                Ok(real(&ask.source, &outside))
            }
        }
    }

    /// The first step of the plan that `pick` takes, with where it comes from.
    pub(super) fn step<'a, T>(
        &'a self,
        pick: impl Fn(&'a Step) -> Option<T>,
    ) -> Result<(T, &'a crate::policy::Origin)> {
        let steps = self.plan.steps().iter();
        let mut found = steps.filter_map(|planned| Some((pick(&planned.step)?, &planned.origin)));
        found
            .next()
            .ok_or_else(|| Error::new(Kind::Malformed, "the plan lacks a step that every plan has"))
    }

    /// A rule for the image that stands for any would be a rule for none: whoever copies it names one.
    pub(super) fn nameless(&self, answer: &mut Answer) {
        if self.rootfs.is_some() {
            return;
        }
        let line = format!("image = {:?}", self.request.image.to_string());
        for cure in answer.cure.iter_mut().flatten() {
            if *cure == line {
                *cure = "image = \"...\" # the image's full name".to_owned();
            }
        }
    }
}

/// What is there on every machine, so that the folders are known that rules speak from.
fn root() -> BindAsk {
    BindAsk {
        flag: "-v",
        source: "/".to_owned(),
        subpath: None,
        target: "/".to_owned(),
        read_only: true,
        no_exec: false,
    }
}

/// A path that is not there, from the root and without `.` and `..`.
fn real(path: &str, outside: &Outside) -> String {
    plain_path(&match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", outside.cwd),
    })
}
