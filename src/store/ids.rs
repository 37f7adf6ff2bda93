//! The range of ids that real root was given once, and the archive scan that runs in a worker.

use super::layers::in_worker;
use super::source::{Member, scan_archive};
use super::{Store, files};
use crate::error::{Error, Kind, Result};
use crate::plan::IdMap;
use crate::policy::SubIds;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

const NAME: &str = "ids.json";
/// The most bytes that the record may have.
const MAX: usize = 4096;

impl Store {
    /// The range of user and group ids that was recorded, if any. Errors: `Store` for a record that
    /// is none.
    pub fn ids(&self) -> Result<Option<(SubIds, SubIds)>> {
        match files::read(self.root(), NAME, MAX)? {
            None => Ok(None),
            Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
                Error::new(Kind::Store, format!("the store's {NAME} is damaged: {e}"))
                    .hint("remove it; layers unpacked for the lost range are unpacked again")
            }),
        }
    }

    /// Records the range, so that every later run unpacks and maps alike.
    pub fn record_ids(&self, ids: (SubIds, SubIds)) -> Result<()> {
        let json = serde_json::to_vec(&ids)
            .map_err(|e| Error::new(Kind::Store, format!("write {NAME}: {e}")))?;
        let staged = self.stage_file()?;
        files::write_to(staged.fd.as_fd(), &json, || {
            format!("write the store's {NAME}")
        })?;
        rustix::fs::fdatasync(&staged.fd)
            .map_err(|e| Error::call(format!("sync the store's {NAME}"), e.raw_os_error()))?;
        staged.publish(self.root(), NAME)
    }

    /// The members of an archive that nobody trusts, scanned by a confined worker.
    pub fn scan_archive(&self, file: &File, map: &IdMap) -> Result<Vec<Member>> {
        let staged = self.stage_folder("scan")?;
        let bytes = in_worker(map, staged.fd.as_fd(), &[file.as_raw_fd()], |_| {
            let members = scan_archive(file)?;
            serde_json::to_vec(&members)
                .map_err(|e| Error::new(Kind::Worker, format!("write the members: {e}")))
        });
        staged.discard(&mut |_, _| Ok(()))?;
        serde_json::from_slice(&bytes?)
            .map_err(|e| Error::new(Kind::Worker, format!("a worker's members: {e}")))
    }
}
