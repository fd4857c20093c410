//! Reading an object's table: one GET of its tail, a second one if the table is long.

use std::sync::Arc;

use antiphon_common::{ObjectId, PartitionId};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::crc32c;
use super::error::{DecodeObjectError, LoadLayoutError};
use super::footer::{FOOTER_BYTES, Footer};
use super::index::SectionIndex;
use super::section::{SectionKind, SectionSummary};

/// The longest table that is written or read: 16 MiB, some 130,000 sections of one block each.
pub const TABLE_BYTES_MAX: u64 = 16 << 20;

/// How much of the tail the first GET asks for: the table of 500 small sections, or of a single
/// section of 1.6 GiB, comes with it.
const TAIL_BYTES_GUESS: u64 = 64 << 10;

const _: () = assert!(TAIL_BYTES_GUESS > FOOTER_BYTES as u64);

/// An object's footer and the indexes of all its records sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLayout {
    footer: Footer,
    /// In the order of their positions.
    sections: Vec<Arc<SectionIndex>>,
}

impl ObjectLayout {
    /// Loads the layout of `object`, which is `object_size` bytes long and lies at `path`.
    pub async fn load(
        store: &dyn ObjectStore,
        path: &Path,
        object: ObjectId,
        object_size: u64,
    ) -> Result<Self, LoadLayoutError> {
        let corrupt = |source| LoadLayoutError::Corrupt { object, source };
        let failed = |source| LoadLayoutError::Store { object, source: Arc::new(source) };

        let tail_start = object_size.saturating_sub(TAIL_BYTES_GUESS);
        let tail = get(store, path, tail_start, object_size).await.map_err(failed)?;
        let footer = footer_of_tail(&tail, object_size).map_err(corrupt)?;
        if footer.writer.object != object {
            return Err(LoadLayoutError::WrongObject { object, found: footer.writer.object });
        }
        let table_end = footer.table_position + footer.table_length;
        let table = match footer.table_position.checked_sub(tail_start) {
            Some(start) => tail.slice(start as usize..(table_end - tail_start) as usize),
            None => get(store, path, footer.table_position, table_end).await.map_err(failed)?,
        };
        Self::decode(footer, &table).map_err(corrupt)
    }

    /// Decodes `table`, which `footer` describes.
    pub fn decode(footer: Footer, table: &[u8]) -> Result<Self, DecodeObjectError> {
        check_table(&footer, table)?;
        let table_end = footer.table_position.saturating_add(footer.table_length);
        let mut sections = Vec::new();
        let (mut rest, mut free_from) = (table, 0);
        while !rest.is_empty() {
            let index_position = table_end - rest.len() as u64;
            let (summary, index, after) = SectionSummary::decode(rest, index_position)?;
            free_from = check_place(&summary, free_from, footer.table_position)?;
            if summary.kind == SectionKind::RECORDS {
                sections.push(Arc::new(SectionIndex::decode(summary, index)?));
            }
            rest = after;
        }
        Ok(Self { footer, sections })
    }

    /// The object's footer.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The records sections, in the order of their positions.
    pub fn sections(&self) -> &[Arc<SectionIndex>] {
        &self.sections
    }

    /// The records section of `partition`.
    pub fn section_of(&self, partition: PartitionId) -> Option<&Arc<SectionIndex>> {
        self.sections.iter().find(|section| section.summary().partition == partition)
    }

    /// The records section that starts at `position`.
    pub fn section_at(&self, position: u64) -> Option<&Arc<SectionIndex>> {
        let found = self.sections.binary_search_by_key(&position, |s| s.summary().position);
        found.ok().and_then(|index| self.sections.get(index))
    }

    /// The memory this layout takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let sections: u64 = self.sections.iter().map(|section| section.memory_bytes()).sum();
        size_of::<Self>() as u64 + sections
    }
}

async fn get(
    store: &dyn ObjectStore,
    path: &Path,
    start: u64,
    end: u64,
) -> object_store::Result<Bytes> {
    store.get_range(path, start..end).await
}

/// Decodes the footer at the end of `tail`, the last bytes of an object, and refuses a table that
/// would not fit in memory.
pub(crate) fn footer_of_tail(tail: &[u8], object_size: u64) -> Result<Footer, DecodeObjectError> {
    let bytes = tail.last_chunk::<FOOTER_BYTES>().ok_or(DecodeObjectError::Truncated {
        needed: FOOTER_BYTES as u64,
        found: tail.len() as u64,
    })?;
    let footer = Footer::decode(bytes, object_size)?;
    if footer.table_length > TABLE_BYTES_MAX {
        return Err(DecodeObjectError::OutOfBounds {
            structure: "section table",
            position: footer.table_position,
            length: footer.table_length,
            limit: TABLE_BYTES_MAX,
        });
    }
    Ok(footer)
}

fn check_table(footer: &Footer, table: &[u8]) -> Result<(), DecodeObjectError> {
    let (needed, found) = (footer.table_length, table.len() as u64);
    if needed != found {
        return Err(DecodeObjectError::Truncated { needed, found });
    }
    let (expected, found) = (footer.table_crc, crc32c(table));
    if expected != found {
        return Err(DecodeObjectError::Checksum { structure: "section table", expected, found });
    }
    Ok(())
}

/// Checks that the section lies after the one before it and before the table; returns its end.
fn check_place(
    summary: &SectionSummary,
    free_from: u64,
    limit: u64,
) -> Result<u64, DecodeObjectError> {
    match summary.end() {
        Some(end) if summary.position >= free_from && end <= limit => Ok(end),
        _ => Err(DecodeObjectError::OutOfBounds {
            structure: "section",
            position: summary.position,
            length: summary.length,
            limit,
        }),
    }
}
