//! What storage puts into a frame of the write-ahead log.
//!
//! ```text
//! offset  size  field
//!      0     8  partition id, big-endian
//!      8     n  one record batch, as stored and served
//! ```

use antiphon_common::PartitionId;
use bytes::Bytes;

const PARTITION_ID: std::ops::Range<usize> = 0..8;

/// Bytes before the batch.
pub(crate) const HEADER_LENGTH: usize = 8;

/// How much of a payload a start needs before it has the rest: whose it is, and the batch's header.
pub(crate) const SUMMARY_PREFIX_BYTES: usize = HEADER_LENGTH + antiphon_records::HEADER_BYTES;

/// Writes the payload for `batch` into `frame`, whose length must be exactly right, and returns the
/// part that holds the batch.
pub(crate) fn write<'a>(frame: &'a mut [u8], partition: PartitionId, batch: &[u8]) -> &'a mut [u8] {
    let (header, stored) = frame.split_at_mut(HEADER_LENGTH);
    header[PARTITION_ID].copy_from_slice(&partition.0.to_be_bytes());
    stored.copy_from_slice(batch);
    stored
}

/// The partition that a payload belongs to, or `None` if it is too short to be one of ours.
pub(crate) fn partition_of(payload: &[u8]) -> Option<PartitionId> {
    let id = payload.get(PARTITION_ID)?;
    Some(PartitionId(u64::from_be_bytes(id.try_into().ok()?)))
}

/// The batch in a payload, without copying.
pub(crate) fn batch_of(payload: &Bytes) -> Bytes {
    payload.slice(HEADER_LENGTH.min(payload.len())..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_its_partition_and_holds_its_batch() {
        let mut frame = [0; HEADER_LENGTH + 5];
        write(&mut frame, PartitionId(77), b"batch");
        let payload = Bytes::copy_from_slice(&frame);
        assert_eq!(partition_of(&payload), Some(PartitionId(77)));
        assert_eq!(&batch_of(&payload)[..], b"batch");
        assert_eq!(partition_of(b"short"), None);
    }
}
