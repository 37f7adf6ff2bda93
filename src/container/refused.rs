//! What a verifier's refusal says.

use crate::error::{Error, Kind};
use crate::sandbox::Finding;

/// The verifier's refusal.
pub(super) fn refused(findings: &[Finding]) -> Error {
    if findings.is_empty() {
        // Nobody accuses an image of what somebody else did to the verifier.
        return Error::new(
            Kind::Launch,
            "the check of the layers ended before it was done; nothing was run",
        )
        .hint("it may have been killed from outside, or by the kernel for want of memory");
    }
    let mut error = Error::new(
        Kind::Integrity,
        "a layer is not what was unpacked; nothing was run",
    );
    for finding in findings {
        match finding {
            Finding::Differs { lines, .. } => {
                error
                    .detail
                    .extend(lines.iter().take(10).map(|l| format!("differs {l}")));
                if lines.len() > 10 {
                    error.detail.push(format!("and {} more", lines.len() - 10));
                }
            }
            Finding::Broken { cause, .. } => error.detail.push(format!("broken  {cause}")),
            Finding::Touched { .. } => {}
        }
    }
    error.hint("remove the image with `lazaret rmi` and load it again; `lazaret verify` lists everything that differs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_that_was_killed_accuses_nobody() {
        assert_eq!(refused(&[]).kind, Kind::Launch);
        let (layer, cause) = (0, "why".to_owned());
        let broken = refused(&[Finding::Broken { layer, cause }]);
        assert_eq!(broken.kind, Kind::Integrity);
        assert_eq!(broken.detail, ["broken  why"]);
    }
}
