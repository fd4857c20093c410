//! Files in sectors. What is not synced may or may not survive, each sector for itself.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::Path;

use antiphon_common::Entropy;

use crate::file::directory;
use crate::format::segment::SegmentId;

/// What a disk writes in one piece (NVMe and SATA guarantee no more; ATA8-ACS, NVMe AWUPF).
const SECTOR_BYTES: usize = 512;
/// Writes that a disk which does not sync still holds back; the kernel has written older ones.
const HELD_BACK_MAX: usize = 24;

/// A write that power loss may undo.
#[derive(Clone, Debug)]
struct Unsynced {
    file: u64,
    position: usize,
    before: Vec<u8>,
}

/// What is on the disk, byte for byte. A value: a copy is a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    files: BTreeMap<u64, Vec<u8>>,
    unsynced: VecDeque<Unsynced>,
}

impl SimulatedDisk {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Turns over one bit, as a disk does that rots.
    pub fn flip_bit(&mut self, file: u64, position: usize, bit: u8) {
        if let Some(byte) = self.files.get_mut(&file).and_then(|bytes| bytes.get_mut(position)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Power fails: every sector that was not synced is as it was, or as it should be.
    pub(super) fn lose_power(&mut self, dice: &dyn Entropy) {
        while let Some(write) = self.unsynced.pop_back() {
            let Some(file) = self.files.get_mut(&write.file) else { continue };
            // A whole write that never arrived is as likely as a torn one.
            let all = dice.u64().is_multiple_of(3);
            for (number, old) in write.before.chunks(SECTOR_BYTES).enumerate() {
                let start = write.position + number * SECTOR_BYTES;
                if (all || dice.u64().is_multiple_of(2))
                    && let Some(sector) = file.get_mut(start..start + old.len())
                {
                    sector.copy_from_slice(old);
                }
            }
        }
    }

    pub(super) fn create(&mut self, file: u64, bytes: usize) {
        self.files.insert(file, vec![0; bytes]);
    }

    /// Gives a file another number; its bytes stay.
    pub(super) fn rename(&mut self, from: u64, to: u64) {
        if let Some(bytes) = self.files.remove(&from) {
            self.files.insert(to, bytes);
        }
        self.unsynced.retain(|write| write.file != from);
    }

    pub(super) fn remove(&mut self, file: u64) {
        self.files.remove(&file);
        self.unsynced.retain(|write| write.file != file);
    }

    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.files.keys().copied()
    }

    /// Writes; durable only after [`Self::sync`].
    pub(super) fn write(&mut self, file: u64, position: usize, bytes: &[u8]) {
        let Some(target) = self.files.get_mut(&file) else { return };
        let Some(place) = target.get_mut(position..position + bytes.len()) else { return };
        let before = place.to_vec();
        place.copy_from_slice(bytes);
        self.unsynced.push_back(Unsynced { file, position, before });
        if self.unsynced.len() > HELD_BACK_MAX {
            self.unsynced.pop_front();
        }
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// Puts the files into `folder`, and nothing else.
    pub(super) fn put_into(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            fs::remove_file(entry?.path())?;
        }
        for (number, bytes) in &self.files {
            fs::write(directory::segment_path(folder, SegmentId(*number)), bytes)?;
        }
        Ok(())
    }
}
