//! `load`, `save`, `pull`, `lock`, `inspect`, `explain-report`, `rmi`, `rm`, `verify`, `trust`, `receipt`, `doctor`,
//! `version`: argv -> requests.

use super::args::{
    DoctorArgs, ExplainReportArgs, InspectArgs, KindArg, LoadArgs, RmArgs, RmiArgs, TrustArgs,
    VerifyArgs,
};
use super::args::{ReceiptVerifyArgs, SaveFormatArg};
use super::values;
use crate::engine::{
    DoctorRequest, ExplainReportRequest, RmRequest, RmiRequest, TrustRequest, VerifyRequest,
};
use crate::engine::{InspectKind, InspectRequest, LoadRequest, LoadSource, VersionRequest};
use crate::engine::{LockPlace, LockRequest, LockWhat, PullWhen};
use crate::engine::{ReceiptVerifyRequest, SaveFormat, SaveRequest, WantedImage};
use crate::error::{Error, Kind, Result};
use crate::image::{Digest, ImageName, Platform, Reference};
use crate::report::{Format, Template};
use std::path::Path;

/// `load`.
///
/// # Errors
/// `Usage`, `Malformed`: a name that is none, or one that is no transport's.
pub fn load(args: LoadArgs) -> Result<LoadRequest> {
    let source = match (args.input, args.image) {
        (Some(file), _) if file == Path::new("-") => LoadSource::Stdin,
        (Some(file), _) => LoadSource::File(file),
        (None, None) => LoadSource::Stdin,
        (None, Some(text)) => {
            let image = ImageName::parse(&text)?;
            if matches!(image, ImageName::Registry(_)) {
                let error = Error::new(Kind::Usage, format!("{text:?} is not an image on disk"));
                return Err(
                    if Path::new(&text).components().count() > 1 || text.contains(".tar") {
                        error.hint(format!(
                            "an archive is loaded with -i {text}, a layout folder with oci:{text}"
                        ))
                    } else {
                        error.hint(
                            "write -i FILE, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE",
                        )
                    },
                );
            }
            LoadSource::Named {
                image: Box::new(image),
                name: args.name.as_deref().map(name_to_give).transpose()?,
            }
        }
    };
    Ok(LoadRequest {
        source,
        quiet: args.quiet,
    })
}

/// `save`.
pub(super) fn save(args: super::args::SaveArgs) -> SaveRequest {
    SaveRequest {
        images: args.images,
        output: args.output,
        format: match args.format {
            SaveFormatArg::OciArchive => SaveFormat::OciArchive,
            SaveFormatArg::OciDir => SaveFormat::OciDir,
        },
        signatures: !args.remove_signatures,
    }
}

/// What is refused where only a registry's image will do.
pub(super) fn no_registrys(name: &ImageName, hint: &str) -> Error {
    let cause = format!("{name} is no name of a registry's image");
    Error::new(Kind::Usage, cause).hint(hint)
}

/// A name that an image can be given: one with a digest already says what it must mean.
pub(super) fn name_to_give(text: &str) -> Result<Reference> {
    let name = Reference::parse(text)?;
    match name.digest {
        None => Ok(name),
        Some(_) => Err(
            Error::new(Kind::Usage, format!("{text:?} cannot be given as a name"))
                .hint("write it without the digest: NAME[:TAG]"),
        ),
    }
}

/// `inspect`.
///
/// # Errors
/// `Usage`: a template that is none.
pub fn inspect(args: InspectArgs) -> Result<InspectRequest> {
    Ok(InspectRequest {
        names: args.names,
        kind: match args.kind {
            None => InspectKind::Any,
            Some(KindArg::Container) => InspectKind::Container,
            Some(KindArg::Image) => InspectKind::Image,
        },
        format: template(args.format)?,
    })
}

/// `explain-report`.
pub fn explain_report(args: ExplainReportArgs) -> ExplainReportRequest {
    ExplainReportRequest { file: args.file }
}

/// `rmi`.
pub fn rmi(args: RmiArgs) -> RmiRequest {
    RmiRequest {
        images: args.images,
        force: args.force,
    }
}

/// `rm`.
pub fn rm(args: RmArgs) -> RmRequest {
    RmRequest {
        containers: args.containers,
        force: args.force,
    }
}

/// `verify`.
pub fn verify(args: VerifyArgs) -> VerifyRequest {
    VerifyRequest {
        images: args.images,
        format: args.format.map_or(Format::Text, Format::from),
    }
}

/// `receipt verify`.
///
/// # Errors
/// `Malformed`, `Unsupported`: an image's name or digest that is none.
pub fn receipt(args: ReceiptVerifyArgs) -> Result<ReceiptVerifyRequest> {
    let image = |text: &String| match text.starts_with("sha256:") {
        true => Digest::parse(text).map(WantedImage::Digest),
        false => ImageName::parse(text).map(|name| WantedImage::Name(Box::new(name))),
    };
    Ok(ReceiptVerifyRequest {
        file: args.file,
        keys: args.key,
        image: args.image.as_ref().map(image).transpose()?,
        format: args.format.map_or(Format::Text, Format::from),
    })
}

/// `trust`.
pub fn trust(args: TrustArgs) -> TrustRequest {
    TrustRequest {
        image: args.image,
        fetch: args.fetch,
        format: args.format.map_or(Format::Text, Format::from),
        insecure: args.insecure_registry,
    }
}

/// `doctor`.
pub fn doctor(args: DoctorArgs) -> DoctorRequest {
    DoctorRequest {
        registry: args.registry,
        format: args.format.map_or(Format::Text, Format::from),
    }
}

/// `version`.
///
/// # Errors
/// `Usage`: a template that is none.
pub fn version(format: Option<String>) -> Result<VersionRequest> {
    Ok(VersionRequest {
        format: template(format)?,
    })
}

/// docker's `--format` of single objects: `json` is short for `{{json .}}`.
pub(super) fn template(format: Option<String>) -> Result<Option<Template>> {
    match format.as_deref() {
        None | Some("") => Ok(None),
        Some("json") => Template::parse("{{json .}}").map(Some),
        Some(text) => Template::parse(text).map(Some),
    }
}

/// A registry's name: what else there is lies here already.
///
/// # Errors
/// `Usage`: a place on disk, or no name.
pub(super) fn pull(args: super::args::PullArgs) -> Result<crate::engine::PullRequest> {
    match ImageName::parse(&args.name)? {
        ImageName::Registry(reference) => Ok(crate::engine::PullRequest {
            reference,
            platform: args.platform.as_deref().map(Platform::parse).transpose()?,
            accept: args.accept,
            locked: values::lock_place(args.locked, args.lock_file),
            quiet: args.quiet,
            insecure: args.insecure_registry,
        }),
        other => Err(no_registrys(
            &other,
            "what lies on disk is run, or loaded, as it is",
        )),
    }
}

/// `lock`.
///
/// # Errors
/// `Usage`: a place on disk, or no name.
pub(super) fn lock(args: super::args::LockArgs) -> Result<LockRequest> {
    const ON_DISK: &str =
        "what lies on disk has no name that could mean something else: there is nothing to lock";
    let name = |text: &String| match ImageName::parse(text)? {
        ImageName::Registry(reference) => Ok(reference),
        other => Err(no_registrys(&other, ON_DISK)),
    };
    let images = args.images.iter().map(name).collect::<Result<Vec<_>>>()?;
    let unasked = match args.update {
        true => PullWhen::Always,
        false => PullWhen::Missing,
    };
    let platform = args.platform.as_deref().map(Platform::parse);
    let what = match images.is_empty() {
        true => LockWhat::Check,
        false => LockWhat::Write {
            images,
            update: args.update,
            platform: platform.transpose()?,
            pull: args.pull.map_or(unasked, PullWhen::from),
            quiet: args.quiet,
            insecure: args.insecure_registry,
        },
    };
    Ok(LockRequest {
        what,
        place: args.lock_file.map_or(LockPlace::Project, LockPlace::At),
        profile: args.profile,
    })
}
