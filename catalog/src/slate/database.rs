//! Rows in, rows out: the only place that reads from and writes to the database.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use antiphon_common::{ObjectId, Offset, PartitionId, Timestamp};
use slatedb::config::{CloseOptions, FlushOptions, FlushType, ScanOptions};
use slatedb::{Db, DbStatus, WriteBatch};
use tokio::sync::{Notify, watch};
use tracing::warn;

use super::settings::TABLES_WAITING_MAX;
use crate::rows::Row;
use crate::{CatalogError, DeletionRow, ObjectRow, RowKind, SegmentRow};

/// How much a scan reads ahead. Rows are some hundred bytes, so this is thousands of them.
pub(crate) const BULK_READ: usize = 256 << 10;
/// What a row of the most numerous kind takes, a segment's, with its key.
const ROW_BYTES: usize = 160;
/// After so many changes the database's log is folded into a table, which bounds how many log files
/// a restart has to read one by one. SlateDB's own bound is 4,096 files.
const CHANGES_PER_TABLE: u64 = 256;
/// The same when closing: a few files are read faster than a table is written.
const CHANGES_PER_TABLE_AT_CLOSE: u64 = 32;

/// The database and what is known about its durability.
pub(super) struct Database {
    db: Db,
    status: watch::Receiver<DbStatus>,
    /// The newest change that was written, durable or not.
    written: AtomicU64,
    /// Held while uploading the log, so that changes arriving meanwhile share the next upload.
    uploading: tokio::sync::Mutex<()>,
    /// Whether a table is being written.
    folding: AtomicBool,
    table_written: Arc<Notify>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("written", &self.written).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn new(db: Db) -> Self {
        Self {
            status: db.subscribe(),
            db,
            written: AtomicU64::new(0),
            uploading: tokio::sync::Mutex::new(()),
            folding: AtomicBool::new(false),
            table_written: Arc::default(),
        }
    }

    pub(super) async fn get<R: Row>(
        &self,
        operation: &'static str,
        key: Vec<u8>,
    ) -> Result<Option<R>, CatalogError> {
        let value = self.db.get(&key).await;
        let value = value.map_err(|source| CatalogError::from_database(operation, source))?;
        value.map(|value| decode(&key, &value)).transpose()
    }

    /// At most `limit` rows of one kind in the order of their keys.
    pub(super) async fn scan<R: Row>(
        &self,
        operation: &'static str,
        range: Range<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<R>, CatalogError> {
        let mut rows = Vec::new();
        if range.is_empty() {
            return Ok(rows);
        }
        let failed = |source| CatalogError::from_database(operation, source);
        let options = scan_options(limit);
        let mut stored = self.db.scan_with_options(range, &options).await.map_err(failed)?;
        while rows.len() < limit {
            let Some(row) = stored.next().await.map_err(failed)? else { break };
            rows.push(decode(&row.key, &row.value)?);
        }
        Ok(rows)
    }

    /// Writes a change so that reads see it; it is not durable yet.
    pub(super) async fn write(
        &self,
        operation: &'static str,
        batch: WriteBatch,
    ) -> Result<(), CatalogError> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.db.write(batch).await;
        let written = written.map_err(|source| CatalogError::from_database(operation, source))?;
        self.written.fetch_max(written.seqnum(), Ordering::AcqRel);
        Ok(())
    }

    /// Waits until everything that was written so far is durable.
    pub(super) async fn wait_until_durable(
        self: &Arc<Self>,
        operation: &'static str,
    ) -> Result<(), CatalogError> {
        let target = self.written.load(Ordering::Acquire);
        let _uploading = self.uploading.lock().await;
        if self.status.borrow().durable_seq >= target {
            return Ok(());
        }
        let upload = self.db.flush().await;
        upload.map_err(|source| CatalogError::from_database(operation, source))?;
        if self.changes_in_log() >= CHANGES_PER_TABLE && !self.folding.swap(true, Ordering::AcqRel)
        {
            tokio::spawn(Arc::clone(self).write_table());
        }
        Ok(())
    }

    /// Changes, also of earlier runs, that are in no table yet. The database counts them: every batch
    /// gets the next sequence number.
    fn changes_in_log(&self) -> u64 {
        let in_tables = self.status.borrow().current_manifest.last_l0_seq();
        self.written.load(Ordering::Acquire).saturating_sub(in_tables)
    }

    /// Told after each table that was written.
    pub(super) fn table_written(&self) -> Arc<Notify> {
        Arc::clone(&self.table_written)
    }

    async fn write_table(self: Arc<Self>) {
        let options = FlushOptions { flush_type: FlushType::MemTable };
        if let Err(error) = self.db.flush_with_options(options).await {
            warn!(%error, "the catalog's log was not folded into a table; restarts take longer");
        }
        self.folding.store(false, Ordering::Release);
        self.table_written.notify_one();
    }

    /// Whether a table can be written without waiting for the compactor.
    fn has_room_for_table(&self) -> bool {
        self.status.borrow().current_manifest.l0().len() + 2 < TABLES_WAITING_MAX
    }

    pub(super) async fn close(&self, operation: &'static str) -> Result<(), CatalogError> {
        let fold = self.changes_in_log() >= CHANGES_PER_TABLE_AT_CLOSE && self.has_room_for_table();
        let last = if fold { FlushType::MemTable } else { FlushType::Wal };
        let options = CloseOptions::default().with_flush_type(Some(last));
        let closed = self.db.close_with_options(options).await;
        match closed.map_err(|source| CatalogError::from_database(operation, source)) {
            Err(CatalogError::Closed { .. }) => Ok(()),
            result => result,
        }
    }
}

/// Short scans are looks that come again, at the same place or next to it; long ones pass once, and would
/// only push the others' blocks out.
fn scan_options(limit: usize) -> ScanOptions {
    let wanted = limit.saturating_mul(ROW_BYTES);
    ScanOptions {
        read_ahead_bytes: wanted.clamp(1, BULK_READ),
        cache_blocks: wanted <= BULK_READ,
        ..ScanOptions::default()
    }
}

fn decode<R: Row>(key: &[u8], value: &[u8]) -> Result<R, CatalogError> {
    R::decode(key, value).map_err(|source| CatalogError::CorruptRow {
        kind: R::KIND,
        key: hexadecimal(key),
        source,
    })
}

/// Bytes as people read them in a log.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every key that starts with `prefix`.
pub(crate) fn prefix_range(prefix: Vec<u8>) -> Range<Vec<u8>> {
    let end = after_prefix(prefix.clone());
    prefix..end
}

/// The first key after all that start with `prefix`. Kind bytes are small, so there always is one.
fn after_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            break;
        }
    }
    prefix
}

pub(super) fn segments_at_or_after(partition_id: PartitionId, offset: Offset) -> Range<Vec<u8>> {
    let all = prefix_range(SegmentRow::prefix_of(partition_id));
    SegmentRow::key_of(partition_id, offset)..all.end
}

/// Segments that end below `offset`.
pub(super) fn segments_below(partition_id: PartitionId, offset: Offset) -> Range<Vec<u8>> {
    SegmentRow::prefix_of(partition_id)..SegmentRow::key_of(partition_id, offset)
}

pub(super) fn deletions_due_at(now: Timestamp) -> Range<Vec<u8>> {
    let all = prefix_range(vec![RowKind::Deletion.tag()]);
    let later = Timestamp(now.get().saturating_add(1));
    let end = DeletionRow { due_at: later, object_id: ObjectId(0) }.key();
    all.start..end
}

pub(super) fn objects_after(after: Option<ObjectId>) -> Range<Vec<u8>> {
    let all = prefix_range(vec![RowKind::Object.tag()]);
    let start = after.map_or(all.start, |id| {
        // One zero byte more is the next key that can exist.
        let mut key = ObjectRow::key_of(id);
        key.push(0);
        key
    });
    start..all.end
}
