//! Image names: no panic, and what is printed means the same when it is read again.
#![no_main]

use lazaret::image::{ImageName, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = ImageName::parse(text) {
        assert_eq!(ImageName::parse(&name.to_string()).ok(), Some(name));
    }
    if let Ok(reference) = Reference::parse(text) {
        let full = Reference::parse(&reference.to_string()).ok();
        assert_eq!(full.as_ref(), Some(&reference));
        // Neither form may become a transport's or another registry's name.
        let named = Some(ImageName::Registry(reference.clone()));
        assert_eq!(ImageName::parse(&reference.to_string()).ok(), named);
        assert_eq!(ImageName::parse(&reference.familiar()).ok(), named);
    }
});
