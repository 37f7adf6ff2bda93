//! Names for containers that nobody named.

/// Words of the field, twice sixteen; with a number they are unlikely to meet.
const FIRST: [&str; 16] = [
    "brisk", "calm", "clear", "distant", "even", "fair", "grey", "heavy", "idle", "keen", "late",
    "mild", "quiet", "steady", "tidal", "wary",
];
const SECOND: [&str; 16] = [
    "anchor", "barge", "beacon", "brig", "buoy", "cutter", "dhow", "ferry", "galley", "harbour",
    "jetty", "ketch", "lugger", "mole", "quay", "sloop",
];

/// A name that follows from the id, so that nothing has to be looked up: `calm_brig_3f2a`.
pub fn made_up(id: &str) -> String {
    let digit = |at: usize| {
        let digit = id.as_bytes().get(at).copied().unwrap_or(b'0');
        usize::from(match digit {
            b'a'..=b'f' => digit - b'a' + 10,
            _ => digit.wrapping_sub(b'0') & 15,
        })
    };
    let tail: String = id.chars().skip(14).take(4).collect();
    format!("{}_{}_{tail}", FIRST[digit(12)], SECOND[digit(13)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_ids() {
        let id = "0123456789ab3f2a77".to_owned() + &"0".repeat(46);
        assert_eq!(made_up(&id), "distant_sloop_2a77");
        assert_eq!(made_up(""), "brisk_anchor_");
    }
}
