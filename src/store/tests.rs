//! The store among several processes, some of which die.

use super::source::{Source, SourceImage};
use super::unpack::Limits;
use super::unpack::tests::support::{Scratch, Tar, gzip};
use super::*;
use crate::image::{Digest, ImageName, Platform};
use crate::plan::IdMap;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

mod naming;
mod signatures;

fn platform() -> Platform {
    Platform {
        os: "linux".into(),
        architecture: "amd64".into(),
        variant: None,
    }
}

fn map() -> IdMap {
    IdMap::Single {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// An OCI layout whose image has these layers; the path to name it by.
fn layout(scratch: &Scratch, name: &str, layers: &[Vec<u8>]) -> String {
    packed(scratch, name, layers, gzip)
}

/// As [`layout`], with layers compressed by `gzip`.
fn packed(
    scratch: &Scratch,
    name: &str,
    layers: &[Vec<u8>],
    gzip: impl Fn(&[u8]) -> Vec<u8>,
) -> String {
    let dir = scratch.0.join(name);
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(dir.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    let diff_ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = blob(
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let layers: Vec<_> = layers
        .iter()
        .map(|l| blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(l)))
        .collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
    });
    let manifest = blob(media_type, manifest.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn image(path: &str) -> SourceImage {
    let name = ImageName::OciDir {
        path: path.to_owned(),
        tag: None,
        digest: None,
    };
    Source::open(&name).unwrap().image(&platform()).unwrap()
}

fn layer(n: u8) -> Vec<u8> {
    let mut tar = Tar::default();
    for file in 0..30 {
        tar.file(&format!("d{n}/{file}"), &vec![n; 5000]);
    }
    tar.end()
}

fn ensure(store: &Store, image: &SourceImage) -> crate::error::Result<(RootFs, Vec<LayerState>)> {
    let mut states = Vec::new();
    for round in 0..200 {
        states.clear();
        let mut note = |event: Event| states.push(event.state);
        match store.ensure_layers(image, &map(), &Limits::default(), true, &mut note) {
            // See `collected`.
            Err(e) if e.kind == Kind::Busy && round < 199 => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done.map(|root| (root, states)),
        }
    }
    unreachable!()
}

fn staging(store: &Store) -> Vec<String> {
    let entries = fs::read_dir(store.path().join("staging")).unwrap();
    entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".lock"))
        .collect()
}

/// Collects until `left` leftovers are left. Other tests of this process start children, and a
/// child holds copies of our locks until it executes.
#[track_caller]
fn collected(store: &Store, left: usize) -> Vec<String> {
    for _ in 0..200 {
        if staging(store).len() == left {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        store.collect(&map()).unwrap();
    }
    let names = staging(store);
    assert_eq!(names.len(), left, "{names:?}");
    names
}

/// As `gc`, until no layer is left; waits as [`collected`] does.
fn gc(store: &Store, map: &IdMap) -> Removed {
    let mut all = Removed::default();
    for _ in 0..200 {
        let removed = store.gc(map).unwrap();
        all.deleted.extend(removed.deleted);
        all.bytes += removed.bytes;
        if store.all_layers().unwrap().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    all
}

/// Nothing was left in staging to begin with.
#[track_caller]
fn clean(store: &Store) {
    assert_eq!(staging(store), [""; 0]);
}

/// As `rmi`; waits for children of other tests as [`collected`] does.
fn rmi(store: &Store, name: &str) -> Result<Removed> {
    for _ in 0..200 {
        match store.rmi(name, &map()) {
            Err(e) if e.kind == Kind::Busy => std::thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
    store.rmi(name, &map())
}

#[test]
fn layers_are_unpacked_once_and_leased() {
    let scratch = Scratch::new("store");
    let path = layout(&scratch, "image", &[layer(1), layer(2), layer(1)]);
    let store = Store::open(&scratch.0.join("a/b/store")).unwrap();
    let image = image(&path);
    let (root, states) = ensure(&store, &image).unwrap();
    use LayerState::{Cached, Done, Unpacking};
    assert_eq!(states, [Unpacking, Done, Unpacking, Done, Cached]);
    assert_eq!(root.facts.layers, 3);
    assert_eq!(
        root.lowers.len(),
        2,
        "a layer that appears twice is mounted once"
    );
    assert!(
        root.lowers[0].path.join("d1/0").is_file(),
        "uppermost first"
    );
    assert!(root.lowers[1].path.join("d2/0").is_file());
    assert_eq!(
        Digest::of(&fs::read(&root.lowers[0].list).unwrap()).hex(),
        root.lowers[0].list_sha256
    );
    store.put_ref("docker.io/library/x:1", &image).unwrap();
    let busy = || {
        let busy = store.rmi("docker.io/library/x:1", &map()).unwrap_err();
        assert_eq!(busy.kind, Kind::Busy);
        assert!(store.get_ref("docker.io/library/x:1").unwrap().is_some());
    };
    // Whether it unpacked the layers or found them: it holds them.
    busy();
    let (again, states) = ensure(&store, &image).unwrap();
    assert_eq!(states, [Cached; 3]);
    assert_eq!(again.lowers, root.lowers);
    clean(&store);
    drop(root);
    busy();
    drop(again);
    let removed = rmi(&store, "docker.io/library/x:1").unwrap();
    assert_eq!(removed.untagged, ["docker.io/library/x:1"]);
    assert_eq!(removed.deleted.len(), 4, "manifest, config, two blobs");
    assert_eq!(store.usage().unwrap(), Usage::default());
    clean(&store);
    let gone = store.rmi("docker.io/library/x:1", &map()).unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);
}

#[test]
fn what_another_name_needs_stays() {
    let scratch = Scratch::new("store");
    let one = image(&layout(&scratch, "one", &[layer(1), layer(2)]));
    let two = image(&layout(&scratch, "two", &[layer(1), layer(3)]));
    let store = Store::open(&scratch.0.join("store")).unwrap();
    for (name, image) in [("one", &one), ("uno", &one), ("two", &two)] {
        drop(ensure(&store, image).unwrap());
        store.put_ref(name, image).unwrap();
    }
    let removed = rmi(&store, "one").unwrap();
    assert_eq!((removed.deleted.len(), removed.bytes), (0, 0));
    let removed = rmi(&store, "uno").unwrap();
    assert_eq!(
        removed.deleted.len(),
        3,
        "manifest, config, and the layer that two has not"
    );
    let usage = store.usage().unwrap();
    assert_eq!((usage.layers.count, usage.unused_layers.count), (2, 0));

    // The image comes back out of the store's own blobs, verified again.
    let found = store.get_ref("two").unwrap().unwrap();
    let stored = store.image(&found).unwrap();
    assert_eq!(stored.manifest.digest, two.manifest.digest);
    let (_, states) = ensure(&store, &stored).unwrap();
    assert_eq!(states, [LayerState::Cached; 2]);
    fs::remove_dir_all(scratch.0.join("two")).unwrap();
    let map = IdMap::Single { uid: 4, gid: 4 };
    let limits = Limits::default();
    let root = store
        .ensure_layers(&stored, &map, &limits, true, &mut |_| {})
        .unwrap();
    assert!(root.lowers[0].path.to_str().unwrap().contains("single-4-4"));
    drop(root);

    let images = store.images().unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!((images[0].layers, images[0].size), (2, 300_000));
    store.remove_ref("two").unwrap();
    let swept = gc(&store, &map);
    assert_eq!((swept.deleted.len(), swept.bytes > 600_000), (4, true));
    assert_eq!(store.usage().unwrap(), Usage::default());
}

#[test]
fn names_never_become_paths() {
    let scratch = Scratch::new("store");
    let image = image(&layout(&scratch, "image", &[]));
    let store = Store::open(&scratch.0.join("store")).unwrap();
    for name in [
        "../../x",
        "/etc/passwd",
        "a/../b",
        ".",
        "x\0y",
        &"n".repeat(5000),
    ] {
        store.put_ref(name, &image).unwrap();
        assert_eq!(store.get_ref(name).unwrap().unwrap().name, name);
    }
    assert_eq!(store.refs().unwrap().len(), 6);
    let mut names: Vec<_> = fs::read_dir(&scratch.0)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["image", "store"]);
}

#[test]
fn a_foreign_folder_is_not_made_a_store() {
    let scratch = Scratch::new("store");
    let open = |name: &str| Store::open(&scratch.0.join(name)).map(|_| ());
    fs::create_dir(scratch.0.join("full")).unwrap();
    fs::write(scratch.0.join("full/thesis.txt"), "mine").unwrap();
    let err = open("full").unwrap_err();
    assert_eq!(err.kind, Kind::Store);
    assert!(err.hint.is_some());

    for (version, word) in [("2\n", "version 2"), ("99", "version 99"), ("x", "unknown")] {
        open("new").unwrap();
        fs::write(scratch.0.join("new/version"), version).unwrap();
        let err = open("new").unwrap_err();
        assert_eq!(err.kind, Kind::Store);
        assert!(err.cause.contains(word), "{err}");
        assert!(err.hint.is_some());
        assert_eq!(
            fs::read_to_string(scratch.0.join("new/version")).unwrap(),
            version
        );
        fs::write(scratch.0.join("new/version"), "1\n").unwrap();
    }

    fs::set_permissions(scratch.0.join("new"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(open("new").unwrap_err().kind, Kind::Store);

    fs::write(scratch.0.join("file"), "").unwrap();
    let err = open("file/store").unwrap_err();
    assert_eq!(err.kind, Kind::Io);
    assert!(err.hint.is_some());
    assert_eq!(
        Store::open(Path::new("relative")).unwrap_err().kind,
        Kind::Usage
    );
    assert!(
        Store::open_existing(&scratch.0.join("nowhere"))
            .unwrap()
            .is_none()
    );
    assert!(!scratch.0.join("nowhere").exists());

    // Killed before the version was written: the next one goes on.
    fs::create_dir_all(scratch.0.join("half/blobs")).unwrap();
    open("half").unwrap();
}

#[test]
fn a_hostile_layer_leaves_nothing() {
    let scratch = Scratch::new("store");
    let bad = Tar::default()
        .file("d/x", &[1; 9000])
        .file("../x", b"")
        .end();
    let image = image(&layout(&scratch, "image", &[layer(1), bad]));
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let err = ensure(&store, &image).unwrap_err();
    assert_eq!(err.kind, Kind::Malformed);
    clean(&store);
    let usage = store.usage().unwrap();
    let left = (usage.layers.count, usage.blobs.count);
    assert_eq!(left, (0, 0), "not even the honest layer");
}

#[test]
fn a_damaged_record_is_made_again_and_damaged_files_are_named() {
    let scratch = Scratch::new("store");
    let image = image(&layout(&scratch, "image", &[layer(1)]));
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let (root, _) = ensure(&store, &image).unwrap();
    let reference = store.put_ref("x", &image).unwrap();
    let fs_dir = root.lowers[0].path.clone();
    drop(root);
    let whole = store.verify_image(&image, &[map()]).unwrap();
    assert_eq!((whole.blobs, whole.layers, whole.findings.len()), (3, 1, 0));

    fs::write(fs_dir.join("d1/3"), "other").unwrap();
    fs::write(fs_dir.join("d1/more"), "").unwrap();
    let found = store.verify_image(&image, &[map()]).unwrap().findings;
    let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["/d1/3", "/d1/more"]);

    for spoilt in ["", "{}", "{\"diff_id\":"] {
        fs::write(fs_dir.join("../layer.json"), spoilt).unwrap();
        let (_, states) = ensure(&store, &image).unwrap();
        assert_eq!(states, [LayerState::Unpacking, LayerState::Done]);
    }
    assert!(
        store
            .verify_image(&image, &[map()])
            .unwrap()
            .findings
            .is_empty()
    );
    clean(&store);

    let blob = store
        .path()
        .join("blobs/sha256")
        .join(image.layers[0].descriptor.digest.hex());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[50] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let found = store.verify_image(&image, &[map()]).unwrap().findings;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest, image.layers[0].descriptor.digest);

    let config = store
        .path()
        .join("blobs/sha256")
        .join(image.manifest.config.digest.hex());
    fs::write(&config, "{}").unwrap();
    assert_eq!(store.image(&reference).unwrap_err().kind, Kind::Integrity);
    let read = store.blob(&image.manifest.config.digest);
    assert_eq!(read.unwrap_err().kind, Kind::Integrity);
    store.put_ref("x", &image).unwrap();
    assert!(store.image(&reference).is_ok(), "loading again heals");
}

#[test]
fn leftovers_are_collected_when_their_lock_is_free() {
    let scratch = Scratch::new("store");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let folder = store.stage_folder("single-0-0").unwrap();
    let closed = store
        .path()
        .join("staging")
        .join(&folder.name)
        .join("fs/closed");
    fs::create_dir_all(closed.join("deep")).unwrap();
    fs::write(closed.join("deep/x"), "").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let file = store.stage_file().unwrap();
    store.collect(&map()).unwrap();
    assert_eq!(staging(&store).len(), 2, "held");
    drop(file);
    assert_eq!(collected(&store, 1), [folder.name.as_str()]);
    drop(folder);
    collected(&store, 0);
}

#[test]
fn trees_are_removed_without_following_anything() {
    let scratch = Scratch::new("remove");
    fs::create_dir_all(scratch.0.join("kept")).unwrap();
    fs::write(scratch.0.join("kept/file"), "").unwrap();
    let mut deep = scratch.0.join("tree");
    for _ in 0..300 {
        fs::create_dir(&deep).unwrap();
        std::os::unix::fs::symlink(scratch.0.join("kept"), deep.join("l")).unwrap();
        deep.push("d");
    }
    let at = fs::File::open(&scratch.0).unwrap();
    remove_tree(at.as_fd(), b"tree").unwrap();
    remove_tree(at.as_fd(), b"tree").unwrap();
    assert!(scratch.0.join("kept/file").exists());
    assert!(!scratch.0.join("tree").exists());
    std::os::unix::fs::symlink("kept", scratch.0.join("link")).unwrap();
    remove_tree(at.as_fd(), b"link").unwrap();
    assert!(scratch.0.join("kept/file").exists());
}

#[test]
fn a_worker_that_lies_is_found() {
    let scratch = Scratch::new("store");
    let image = image(&layout(&scratch, "image", &[layer(1)]));
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let (root, _) = ensure(&store, &image).unwrap();
    let base = root.lowers[0].path.parent().unwrap();
    let folder = fs::File::open(base).unwrap();
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(base.join("layer.json")).unwrap()).unwrap();
    let expect = super::unpack::Expect {
        compression: image.layers[0].media.compression,
        digest: image.layers[0].descriptor.digest,
        size: 0,
        hashed: false,
        diff_id: image.layers[0].diff_id,
    };
    let accept = |facts: &serde_json::Value| {
        let facts = facts.to_string();
        let limits = Limits::default();
        super::layers::accept(folder.as_fd(), facts.as_bytes(), &expect, &limits).map(|_| ())
    };
    let honest = record["facts"].clone();
    // As the worker leaves it: our own record comes later, and must not be waited for.
    fs::remove_file(base.join("layer.json")).unwrap();
    accept(&honest).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(&folder, "layer.json", kind, 0o600.into(), 0).unwrap();
    assert_eq!(accept(&honest).unwrap_err().kind, Kind::Worker);
    fs::remove_file(base.join("layer.json")).unwrap();
    for (key, value) in [("size", json!(1)), ("files", json!(1)), ("more", json!(1))] {
        let mut lie = honest.clone();
        lie[key] = value;
        assert_eq!(accept(&lie).unwrap_err().kind, Kind::Worker);
    }
    let stat = fs::read(base.join("stat")).unwrap();
    fs::write(base.join("stat"), &stat[..stat.len() - 40]).unwrap();
    assert_eq!(accept(&honest).unwrap_err().kind, Kind::Worker);
    fs::write(base.join("list"), "nonsense").unwrap();
    assert_eq!(accept(&honest).unwrap_err().kind, Kind::Worker);
    fs::remove_file(base.join("list")).unwrap();
    assert_eq!(accept(&honest).unwrap_err().kind, Kind::Worker);
}

/// A worker that was taken over may leave folders that only its own ids can empty, by any name.
#[test]
fn leftovers_of_any_name_are_removed_by_their_own_map() {
    let scratch = Scratch::new("store");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let left = scratch.0.join("store/staging/some-map+1-1-1-1");
    fs::create_dir_all(left.join("evil/folder")).unwrap();
    let mut asked = Vec::new();
    let mut remove = |label: &str, folder: std::os::fd::BorrowedFd<'_>| {
        asked.push(label.to_owned());
        remove_tree(folder, b"evil")
    };
    store.collect_with(&mut remove).unwrap();
    assert_eq!(asked, ["some-map"]);
    assert!(!left.exists());
}

/// Not a test of its own: what the processes of the tests below do. They are this test binary
/// again, with the store's and the image's path in the environment.
#[test]
fn child_process() {
    let (Ok(store), Ok(path)) = (std::env::var("STORE_CHILD"), std::env::var("STORE_IMAGE")) else {
        return;
    };
    let image = image(&path);
    let forever = std::env::var("STORE_FOREVER").is_ok();
    loop {
        let store = Store::open(Path::new(&store)).unwrap();
        let (root, states) = ensure(&store, &image).unwrap();
        for lower in &root.lowers {
            assert!(lower.path.is_dir());
        }
        store.put_ref("name", &image).unwrap();
        if !forever {
            let unpacked = states.iter().filter(|s| **s == LayerState::Unpacking);
            println!("unpacked={}", unpacked.count());
            return;
        }
        drop(root);
        rmi(&store, "name").unwrap();
    }
}

fn child(store: &Path, image: &str, forever: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "store::tests::child_process", "--nocapture"])
        .env("STORE_CHILD", store)
        .env("STORE_IMAGE", image)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if forever {
        command.env("STORE_FOREVER", "1");
    }
    command.spawn().unwrap()
}

#[test]
fn several_processes_unpack_each_layer_once() {
    let scratch = Scratch::new("store");
    let path = layout(&scratch, "image", &[layer(1), layer(2), layer(3)]);
    let store = scratch.0.join("store");
    let children: Vec<Child> = (0..6).map(|_| child(&store, &path, false)).collect();
    let mut unpacked = 0;
    for child in children {
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let (_, count) = text.split_once("unpacked=").unwrap();
        unpacked += count
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<usize>()
            .unwrap();
    }
    assert_eq!(unpacked, 3);
    let store = Store::open(&store).unwrap();
    store.collect(&map()).unwrap();
    clean(&store);
    assert!(
        store
            .verify_image(&image(&path), &[map()])
            .unwrap()
            .findings
            .is_empty()
    );
}

#[test]
fn a_store_whose_users_are_killed_verifies() {
    let scratch = Scratch::new("store");
    let path = layout(&scratch, "image", &[layer(1), layer(2), layer(3)]);
    let root = scratch.0.join("store");
    let image = image(&path);
    let mut seed = u64::from(std::process::id());
    for round in 0..40 {
        let mut child = child(&root, &path, true);
        // From before the store exists to several times around.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(seed >> 33 & 0xffff));
        child.kill().unwrap();
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(!text.contains("panicked"), "round {round}: {text}");
        let store = Store::open(&root).unwrap();
        store.collect(&map()).unwrap();
        collected(&store, 0);
        let found = store.verify_image(&image, &[map()]).unwrap();
        assert_eq!(found.findings, [], "round {round}");
        for reference in store.refs().unwrap() {
            let stored = store.image(&reference).unwrap();
            let missing = |digest| store.blob_size(digest).unwrap().is_none();
            assert!(!stored.manifest.layers.iter().any(|l| missing(&l.digest)));
        }
        if round % 5 == 4 {
            ensure(&store, &image).unwrap();
            store.put_ref("name", &image).unwrap();
            rmi(&store, "name").unwrap();
            gc(&store, &map());
            assert_eq!(store.usage().unwrap(), Usage::default(), "round {round}");
        }
    }
}

/// Who can take an unpacking over chooses the blob, and what another blob unpacks to stays out of
/// reach, whatever diff id the two claim.
#[test]
fn a_layer_serves_no_image_that_has_another_blob_for_it() {
    let scratch = Scratch::new("same-tree");
    let store = Store::open(&scratch.0.join("store")).unwrap();
    let one = image(&layout(&scratch, "one", &[layer(1)]));
    let two = image(&packed(&scratch, "two", &[layer(1)], |plain| {
        let mut twice = gzip(&plain[..512]);
        twice.extend(gzip(&plain[512..]));
        twice
    }));
    assert_eq!(one.config.diff_ids, two.config.diff_ids);
    let (first, _) = ensure(&store, &one).unwrap();
    let (second, states) = ensure(&store, &two).unwrap();
    assert_eq!(states, [LayerState::Unpacking, LayerState::Done]);
    assert_ne!(first.lowers[0].path, second.lowers[0].path);
    let (_, states) = ensure(&store, &one).unwrap();
    assert_eq!(states, [LayerState::Cached]);
    // Nor does one that says of itself that it comes from elsewhere.
    let record = first.lowers[0].path.with_file_name("layer.json");
    let other = second.lowers[0].path.with_file_name("layer.json");
    drop((first, second));
    fs::copy(other, record).unwrap();
    let (_, states) = ensure(&store, &one).unwrap();
    assert_eq!(states, [LayerState::Unpacking, LayerState::Done]);
}
