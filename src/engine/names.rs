//! The names that the store has, for completion: quick, and silent about whatever is wrong.

use super::{place, rmi};

/// Images, as people write them. No document of any is read.
pub fn images() -> Vec<String> {
    let store = place::look_at_store().ok().flatten();
    let refs = store.and_then(|store| store.refs().ok());
    let refs = refs.into_iter().flatten();
    refs.map(|r| rmi::familiar(&r.name)).collect()
}

/// Containers.
pub fn containers() -> Vec<String> {
    let store = place::look_at_store().ok().flatten();
    let containers = super::containers(store.as_ref()).ok().flatten();
    let all = containers.and_then(|containers| containers.list().ok());
    let all = all.into_iter().flatten();
    all.map(|container| container.record.name).collect()
}
