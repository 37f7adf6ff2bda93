//! Locks: any bytes are one or are refused, never a panic; what is read is written so that it is read
//! as the same, and in one way only.
#![no_main]

use lazaret::policy::{Lock, MAX_LOCK};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lock = match Lock::parse("l", bytes) {
        Ok(lock) => lock,
        Err(error) => {
            assert!(!error.cause.chars().any(char::is_control), "{error:?}");
            return;
        }
    };
    assert!(bytes.len() <= MAX_LOCK);
    for locked in lock.images() {
        assert_eq!(lock.find(&locked.reference, &locked.platform), Some(locked));
        assert_eq!(lock.same_place(locked), Some(locked));
    }
    let text = lock.text();
    // Escapes may make it longer than what was read.
    if text.len() <= MAX_LOCK {
        let again = Lock::parse("l", text.as_bytes()).expect("what is written is read");
        assert_eq!(again, lock);
        assert_eq!(again.text(), text);
    }
});
