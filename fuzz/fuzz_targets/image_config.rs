//! Image configs: no panic, and what is let through can become argv, environment and a path.
#![no_main]

use lazaret::image::ImageConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ImageConfig::parse(bytes) else {
        return;
    };
    for (name, value) in &config.env {
        assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
    }
    for word in config.entrypoint.iter().chain(&config.cmd) {
        assert!(!word.contains('\0'));
    }
    let vector: usize = config.env.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
    assert!(vector <= 256 << 10);
    assert!(config.diff_ids.len() <= 512);
    assert!(config.user.split(':').count() <= 2 && !config.user.starts_with('-'));
    for volume in &config.volumes {
        let first = volume.split('/').find(|part| !matches!(*part, "" | "."));
        assert!(volume.starts_with('/') && !volume.split('/').any(|part| part == ".."));
        assert!(!matches!(first, None | Some("proc" | "sys" | "dev")));
    }
    let dir = &config.working_dir;
    assert!(dir.is_empty() || dir.starts_with('/'));
    assert!(!dir.split('/').any(|part| part == ".."));
});
