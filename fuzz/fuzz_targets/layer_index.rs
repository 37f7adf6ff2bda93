//! Tree lists and stat records: any bytes give entries or an error, and a list that is read has
//! exactly one spelling (writing the entries again gives the same bytes).
#![no_main]

use lazaret::plan::tree::{Stats, Tree, Writer, summary};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(stats) = Stats::new(bytes) {
        let expected = stats.len();
        assert_eq!(stats.count(), expected);
    }
    let Ok(mut tree) = Tree::new(bytes) else {
        return;
    };
    let mut writer = Writer::default();
    let mut entries = 0;
    loop {
        match tree.next_entry() {
            Ok(Some(entry)) => {
                let xattrs: Vec<_> = entry.xattrs.iter().collect();
                writer.push(&entry, &xattrs);
                entries += 1;
            }
            Ok(None) => break,
            Err(_) => return,
        }
    }
    assert_eq!(writer.finish(), bytes);
    assert_eq!(summary(bytes).map(|s| s.entries).ok(), Some(entries));
});
