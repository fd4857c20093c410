//! Making one object of many segments, a few megabytes at a time.

use antiphon_catalog::SegmentRow;
use antiphon_common::Offset;
use tokio::sync::watch;

use super::Merger;
use super::error::MergeError;
use super::source::{Piece, pieces_of, read_piece};
use crate::object::{BuiltObject, StreamedObject, WriterIdentity};
use crate::store::{PutObjectError, Store, StreamedPut};
use crate::traffic::TrafficClass;

/// Up to this length an object is put whole, created if absent; longer ones go in pieces. Most merges
/// are of this kind: it saves two requests of three.
pub(super) const WHOLE_PUT_BYTES_MAX: u64 = 16 << 20;

/// Where a merged object goes while it is built.
enum Sink<'a> {
    /// Nowhere yet.
    Whole,
    /// Into the bucket.
    Streamed(StreamedPut<'a>),
}

impl<'a> Sink<'a> {
    async fn open(
        store: &'a Store,
        bytes: u64,
        identity: WriterIdentity,
    ) -> Result<Self, PutObjectError> {
        match bytes <= WHOLE_PUT_BYTES_MAX {
            true => Ok(Self::Whole),
            false => Ok(Self::Streamed(store.begin_put(identity.object).await?)),
        }
    }

    async fn take(&mut self, object: &mut StreamedObject) -> Result<(), PutObjectError> {
        let Self::Streamed(put) = self else { return Ok(()) };
        for bytes in object.take_bytes() {
            put.write(bytes).await?;
        }
        Ok(())
    }

    async fn finish(self, store: &Store, built: &BuiltObject) -> Result<(), PutObjectError> {
        match self {
            Self::Whole => store.put_object(built).await,
            Self::Streamed(put) => put.finish(built).await,
        }
    }

    async fn abort(self) {
        if let Self::Streamed(put) = self {
            put.abort().await;
        }
    }
}

impl Merger {
    /// Puts one object that holds what `rows` hold, under the name that `identity` gives it. After an
    /// error it may be there.
    pub(super) async fn write(
        &self,
        rows: &[SegmentRow],
        identity: WriterIdentity,
        stop: &watch::Receiver<bool>,
    ) -> Result<BuiltObject, MergeError> {
        let mut sink = Sink::open(&self.store, bytes_of(rows), identity).await?;
        let built = match self.fill(rows, identity, &mut sink, stop).await {
            Ok(built) => built,
            Err(error) => {
                sink.abort().await;
                return Err(error);
            }
        };
        sink.finish(&self.store, &built).await?;
        Ok(built)
    }

    async fn fill(
        &self,
        rows: &[SegmentRow],
        identity: WriterIdentity,
        sink: &mut Sink<'_>,
        stop: &watch::Receiver<bool>,
    ) -> Result<BuiltObject, MergeError> {
        let partition =
            rows.first().map_or(antiphon_common::PartitionId(0), |row| row.partition_id);
        let mut object = StreamedObject::new(identity, partition);
        for row in rows {
            for piece in pieces_of(&*self.store.history, row).await? {
                self.yield_to_flushes(stop).await?;
                self.copy(row, &piece, &mut object).await?;
                sink.take(&mut object).await?;
            }
        }
        let built = object.finish()?;
        check_same(rows, &built)?;
        Ok(built)
    }

    async fn copy(
        &self,
        row: &SegmentRow,
        piece: &Piece,
        object: &mut StreamedObject,
    ) -> Result<(), MergeError> {
        // Charged once, for reading: what is written is the same bytes again.
        let admitted = self.context.traffic.admit(TrafficClass::Compaction, piece.bytes()).await;
        let batches = read_piece(&*self.store.history, row, piece).await?;
        drop(admitted);
        for batch in batches {
            object.push(batch)?;
        }
        Ok(())
    }
}

pub(super) fn bytes_of(rows: &[SegmentRow]) -> u64 {
    rows.iter().map(|row| row.length).sum()
}

/// The pair of the blocks' checksums: what was read is complete, too.
fn check_same(rows: &[SegmentRow], built: &BuiltObject) -> Result<(), MergeError> {
    let expected_records = rows.iter().map(|row| row.record_count).sum();
    let expected_last = rows.last().map_or(Offset::NONE, |row| row.last_offset);
    let expected_bytes = bytes_of(rows);
    let found = built.sections.first();
    let (records, bytes, last) = found.map_or((0, 0, Offset::NONE), |section| {
        (section.record_count, section.length, section.last_offset)
    });
    if (records, bytes, last) == (expected_records, expected_bytes, expected_last) {
        return Ok(());
    }
    let differs = MergeError::Differs {
        expected_records,
        expected_bytes,
        expected_last,
        records,
        bytes,
        last,
    };
    Err(differs)
}
