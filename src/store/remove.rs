//! Taking away: images, what nobody refers to, and how much there is.

use super::layers::remover;
use super::source::LayerSource;
use super::staging::{Staged, fresh};
use super::{Ref, Store, files};
use crate::error::{Error, Kind, Result};
use crate::image::{Digest, LayerId};
use crate::plan::IdMap;
use rustix::fs::FlockOperation;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names.
    pub untagged: Vec<String>,
    /// Manifests, configs and layer blobs.
    pub deleted: Vec<Digest>,
    /// Bytes of blobs, and of files of unpacked layers.
    pub bytes: u64,
}

/// How many things, and of how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What the store holds: `system df`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Names, and the bytes of what they refer to.
    pub images: Tally,
    /// Blobs.
    pub blobs: Tally,
    /// Of those, the ones that no name refers to.
    pub unused_blobs: Tally,
    /// Unpacked layers, one for each map.
    pub layers: Tally,
    /// Of those, the ones that no name refers to.
    pub unused_layers: Tally,
    /// Of the layers, those that something holds now.
    pub leased_layers: Tally,
}

/// Everything that names refer to.
#[derive(Debug, Default)]
struct Used {
    /// Images, by their manifests.
    manifests: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<LayerId>,
    /// The documents of an image are damaged or missing: nobody knows what else it refers to.
    in_doubt: bool,
}

/// An unpacked layer that is to go: nobody holds it, and nobody can take it meanwhile.
struct Doomed {
    map_name: String,
    name: String,
    folder: OwnedFd,
    bytes: u64,
}

impl Store {
    /// What `refs` refer to. An image whose documents are damaged refers to its manifest only; one
    /// that cannot be read just now is an error, because what it needs would be taken away.
    fn used_by(&self, refs: &[Ref]) -> Result<Used> {
        let mut used = Used::default();
        for reference in refs {
            used.blobs.insert(reference.manifest);
            if used.manifests.insert(reference.manifest) {
                match self.signature_blobs(&reference.manifest) {
                    Ok(blobs) => used.blobs.extend(blobs),
                    Err(e) if e.kind == Kind::Store => used.in_doubt = true,
                    Err(e) => return Err(e),
                }
            }
            match self.image(reference) {
                Ok(image) => {
                    used.blobs.insert(image.manifest.config.digest);
                    used.blobs
                        .extend(image.manifest.layers.iter().map(|l| l.digest));
                    used.layers.extend(image.layers.iter().map(LayerSource::id));
                }
                Err(e) if matches!(e.kind, Kind::Integrity | Kind::Malformed | Kind::Store) => {
                    used.in_doubt = true;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(used)
    }

    /// Removes the name `name`, and, if no other name refers to them, the image's documents, blobs
    /// and layers; the name alone while another image's documents are damaged.
    ///
    /// Errors: `NotFound`; `Busy` when a running container holds a layer that would go: then
    /// nothing was removed; `Io`, `Host` when a part of a layer stays, in `staging`.
    pub fn rmi(&self, name: &str, map: &IdMap) -> Result<Removed> {
        let Some(target) = self.get_ref(name)? else {
            return Err(Error::new(
                Kind::NotFound,
                format!("no image is named {name:?}"),
            ));
        };
        let _no_new_names = self.lock_names(FlockOperation::LockExclusive)?;
        let mut others = self.refs()?;
        others.retain(|r| r.name != name);
        let (going, staying) = (self.used_by(&[target])?, self.used_by(&others)?);
        let mut removed = Removed::default();
        if staying.in_doubt {
            // A damaged image may share anything: `gc` takes the rest, once that one is mended.
            if self.remove_ref(name)? {
                removed.untagged.push(name.to_owned());
            }
            return Ok(removed);
        }
        let layers = going.layers.difference(&staying.layers);
        let doomed = self.doom(layers.copied(), true)?;
        // The name first: killed after this, nothing refers to what is left, and `gc` takes it.
        if self.remove_ref(name)? {
            removed.untagged.push(name.to_owned());
        }
        for manifest in going.manifests.difference(&staying.manifests) {
            self.forget_signatures(manifest)?;
        }
        for digest in going.blobs.difference(&staying.blobs) {
            if let Some(bytes) = self.remove_blob(digest)? {
                removed.deleted.push(*digest);
                removed.bytes = removed.bytes.saturating_add(bytes);
            }
        }
        let mut done = Ok(());
        for layer in doomed {
            removed.bytes = removed.bytes.saturating_add(layer.bytes);
            done = done.and(self.remove_doomed(layer, map));
        }
        done.map(|()| removed)
    }

    /// Removes these layers as far as no name refers to them and nobody holds them.
    pub fn forget(&self, layers: &[LayerId], map: &IdMap) -> Result<()> {
        if layers.is_empty() {
            return Ok(());
        }
        let used = self.used_by(&self.refs()?)?;
        if used.in_doubt {
            return Ok(());
        }
        let unused = layers.iter().filter(|id| !used.layers.contains(id));
        for layer in self.doom(unused.copied(), false)? {
            self.remove_doomed(layer, map)?;
        }
        Ok(())
    }

    /// Removes blobs and layers that no name refers to, and leftovers. Layers that something holds
    /// stay, and all do while an image's documents are damaged.
    ///
    /// Errors: the first of what could not be removed; the rest is gone.
    pub fn gc(&self, map: &IdMap) -> Result<Removed> {
        let collected = self.collect(map);
        let _no_new_names = self.lock_names(FlockOperation::LockExclusive)?;
        let used = self.used_by(&self.refs()?)?;
        let mut removed = Removed::default();
        if used.in_doubt {
            return collected.map(|()| removed);
        }
        for manifest in self.signed_manifests()? {
            if !used.manifests.contains(&manifest) {
                self.forget_signatures(&manifest)?;
            }
        }
        for digest in self.all_blobs()? {
            if !used.blobs.contains(&digest)
                && let Some(bytes) = self.remove_blob(&digest)?
            {
                removed.deleted.push(digest);
                removed.bytes = removed.bytes.saturating_add(bytes);
            }
        }
        let unused: BTreeSet<LayerId> = self
            .all_layers()?
            .into_iter()
            .map(|(_, id)| id)
            .filter(|id| !used.layers.contains(id))
            .collect();
        let mut done = collected;
        for layer in self.doom(unused.into_iter(), false)? {
            removed.bytes = removed.bytes.saturating_add(layer.bytes);
            done = done.and(self.remove_doomed(layer, map));
        }
        done.map(|()| removed)
    }

    /// Bytes of the blobs, and of the files of unpacked layers, that these images need.
    ///
    /// # Errors
    /// As [`Self::usage`].
    pub fn needed_by(&self, refs: &[Ref]) -> Result<(u64, u64)> {
        let used = self.used_by(refs)?;
        let mut blobs = 0u64;
        for digest in &used.blobs {
            blobs = blobs.saturating_add(self.blob_size(digest)?.unwrap_or(0));
        }
        let mut layers = 0u64;
        for (map_name, id) in self.all_layers()? {
            if used.layers.contains(&id)
                && let Some(held) = self.layer(&map_name, &id)?
            {
                layers = layers.saturating_add(held.record.facts.size);
            }
        }
        Ok((blobs, layers))
    }

    /// What the store holds.
    pub fn usage(&self) -> Result<Usage> {
        let refs = self.refs()?;
        let used = self.used_by(&refs)?;
        let mut usage = Usage::default();
        for entry in self.images()? {
            usage.images.add(entry.size);
        }
        for digest in self.all_blobs()? {
            let bytes = self.blob_size(&digest)?.unwrap_or(0);
            usage.blobs.add(bytes);
            if !used.blobs.contains(&digest) {
                usage.unused_blobs.add(bytes);
            }
        }
        for (map_name, id) in self.all_layers()? {
            let bytes = match self.layer(&map_name, &id)? {
                Some(held) => held.record.facts.size,
                None => 0,
            };
            usage.layers.add(bytes);
            if !used.layers.contains(&id) {
                usage.unused_layers.add(bytes);
            }
            let path = format!("layers/{map_name}/{}", id.name());
            if let Some(folder) = files::open_folder(self.root(), &path)?
                && !files::lock(folder.as_fd(), FlockOperation::NonBlockingLockExclusive)?
            {
                usage.leased_layers.add(bytes);
            }
        }
        Ok(usage)
    }

    /// Every unpacked layer: its map's name and which it is.
    pub(super) fn all_layers(&self) -> Result<Vec<(String, LayerId)>> {
        let mut all = Vec::new();
        for map_name in self.map_names()? {
            let Some(folder) = files::open_folder(self.root(), &format!("layers/{map_name}"))?
            else {
                continue;
            };
            for name in files::names(folder.as_fd())? {
                let id = std::str::from_utf8(&name).ok().and_then(LayerId::from_name);
                if let Some(id) = id {
                    all.push((map_name.clone(), id));
                }
            }
        }
        Ok(all)
    }

    /// Locks all unpacked forms of these layers for removal. One that is held is `Busy` where that
    /// matters, else left out.
    fn doom(&self, layers: impl Iterator<Item = LayerId>, all: bool) -> Result<Vec<Doomed>> {
        let maps = self.map_names()?;
        let mut doomed = Vec::new();
        for id in layers {
            for map_name in &maps {
                let bytes = match self.layer(map_name, &id)? {
                    Some(held) => held.record.facts.size,
                    None => 0,
                };
                let path = format!("layers/{map_name}/{}", id.name());
                let Some(folder) = files::open_folder(self.root(), &path)? else {
                    continue;
                };
                let lock = FlockOperation::NonBlockingLockExclusive;
                if files::lock(folder.as_fd(), lock)? {
                    doomed.push(Doomed {
                        map_name: map_name.clone(),
                        name: id.name(),
                        folder,
                        bytes,
                    });
                } else if all {
                    return Err(Error::new(
                        Kind::Busy,
                        format!("layer {} is in use", id.diff_id.0.short()),
                    )
                    .hint("stop the containers that run the image (lazaret ps), then try again"));
                }
            }
        }
        Ok(doomed)
    }

    fn remove_doomed(&self, layer: Doomed, map: &IdMap) -> Result<()> {
        // Without the record the layer is none, whatever happens to the rest.
        files::unlink(layer.folder.as_fd(), "layer.json")?;
        // The folder moves as a whole, its lock with it: what is in it may be another id's, and a
        // folder of another's cannot be moved by itself.
        let staged = self.stage_layer(layer)?;
        staged.discard(&mut remover(map))
    }

    fn stage_layer(&self, layer: Doomed) -> Result<Staged> {
        let from = self.folder(&format!("layers/{}", layer.map_name))?;
        let staging = self.folder("staging")?;
        let name = fresh(&layer.map_name);
        files::rename(from.as_fd(), &layer.name, staging.as_fd(), &name)?;
        Ok(Staged {
            staging,
            name,
            fd: layer.folder,
        })
    }

    /// Removes what stands in the place of a layer that cannot be used, before it is made again.
    /// Errors: `Busy` when somebody holds it.
    pub(super) fn remove_layer(&self, map_name: &str, id: &LayerId, map: &IdMap) -> Result<()> {
        let path = format!("layers/{map_name}/{}", id.name());
        let Some(folder) = files::open_folder(self.root(), &path)? else {
            return Ok(());
        };
        if !files::lock(folder.as_fd(), FlockOperation::NonBlockingLockExclusive)? {
            return Err(Error::new(
                Kind::Busy,
                format!("layer {} is damaged and in use", id.diff_id.0.short()),
            )
            .hint("stop the containers that run the image (lazaret ps), then try again"));
        }
        let doomed = Doomed {
            map_name: map_name.to_owned(),
            name: id.name(),
            folder,
            bytes: 0,
        };
        self.remove_doomed(doomed, map)
    }
}
