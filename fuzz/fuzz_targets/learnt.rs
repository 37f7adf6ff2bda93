//! Policies that were learnt: any text is one or is refused, never a panic; what is read is written so
//! that it is read as the same.
#![no_main]

use lazaret::policy::Learnt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(learnt) = Learnt::parse(text, "l") else {
        return;
    };
    let written = learnt.text("p", "p.seccomp.json");
    let again = Learnt::parse(&written, "l").expect("what is written is read");
    assert_eq!(again.broader(), learnt.broader());
    // What was seen is cut off at a number of lines, and how many are missing is said once.
    if !written.contains("\n# and ") {
        assert_eq!(again.text("p", "p.seccomp.json"), written);
    }
});
