//! An object as a local file, read piece by piece: the table, then one block at a time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use antiphon_storage::object::{BlockEntry, FOOTER_BYTES, Footer, ObjectLayout, TABLE_BYTES_MAX};

/// The longest block that is read into memory. Blocks are cut at 1 MiB, between batches; one is
/// longer only if a single batch is, and those stay below 100 MiB (Kafka's
/// `socket.request.max.bytes`).
const BLOCK_BYTES_MAX: u64 = 128 << 20;

/// An open object whose footer is sound.
pub(super) struct ObjectFile {
    file: File,
    footer: Footer,
}

impl ObjectFile {
    /// Opens the object at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let split = size.checked_sub(FOOTER_BYTES as u64).ok_or("too short to be an object")?;
        let bytes = read(&file, split, FOOTER_BYTES as u64, FOOTER_BYTES as u64)?;
        let footer = Footer::decode(&bytes, size).map_err(|error| format!("footer: {error}"))?;
        Ok(Self { file, footer })
    }

    /// The object's footer.
    pub(super) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Reads the table.
    pub(super) fn layout(&self) -> Result<ObjectLayout, String> {
        let Footer { table_position, table_length, .. } = self.footer;
        let table = read(&self.file, table_position, table_length, TABLE_BYTES_MAX)?;
        ObjectLayout::decode(self.footer, &table).map_err(|error| format!("table: {error}"))
    }

    /// Reads a block. Its checksum is not verified.
    pub(super) fn block(&self, block: &BlockEntry) -> Result<Vec<u8>, String> {
        read(&self.file, block.position, block.length, BLOCK_BYTES_MAX)
    }
}

fn read(file: &File, position: u64, length: u64, limit: u64) -> Result<Vec<u8>, String> {
    let failed = |reason: String| format!("{length} bytes at {position}: {reason}");
    if length > limit {
        return Err(failed(format!("at most {limit} are read at once")));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, position).map_err(|error| failed(error.to_string()))?;
    Ok(bytes)
}
