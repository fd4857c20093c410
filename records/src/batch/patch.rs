//! Patching a batch in place.
//!
//! What the leader assigns to every batch (base offset, leader epoch) lies outside the CRC and costs
//! two stores. What only some topics need (the append time, a corrected max timestamp) lies inside
//! it and costs one pass over the batch.
//!
//! The CRC is CRC-32C (Castagnoli), catalogued as CRC-32/ISCSI, over everything from the attributes
//! to the end. `crc-fast` picks PCLMULQDQ, VPCLMULQDQ or NEON at run time. Measured on a Xeon with
//! AVX-512, optimised: 20 ns for 200 bytes, 55 ns for 1 KiB, 20 us for 1 MiB (53 GB/s; the `crc32c`
//! crate: 21 ns, 87 ns, 45 us).

use antiphon_common::{LeaderEpoch, Offset, Timestamp};

use super::header::{
    ATTRIBUTES, Attributes, BASE_OFFSET, BatchHeader, CRC, HeaderError, MAX_TIMESTAMP,
    PARTITION_LEADER_EPOCH,
};

/// The CRC that the batch in `batch` should carry. `batch` is exactly one batch; of fewer bytes than
/// a header the CRC is that of nothing.
pub fn compute_crc(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(batch.get(ATTRIBUTES..).unwrap_or_default())
}

/// One whole batch, borrowed for patching. Having one proves that the bytes are a batch from the
/// first to the last, so no patch can fail or miss.
#[derive(Debug)]
pub struct BatchMut<'a> {
    header: BatchHeader,
    bytes: &'a mut [u8],
}

impl<'a> BatchMut<'a> {
    /// The batch at the start of `bytes`; what follows it is left alone.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and [`HeaderError::TooShort`] if the batch is not all there.
    pub fn first_in(bytes: &'a mut [u8]) -> Result<Self, HeaderError> {
        let header = BatchHeader::parse(bytes)?;
        let available = bytes.len();
        let bytes =
            bytes.get_mut(..header.size_in_bytes()).ok_or(HeaderError::TooShort { available })?;
        Ok(Self { header, bytes })
    }

    /// The header as it stands after the patches so far.
    pub fn header(&self) -> BatchHeader {
        self.header
    }

    /// Assigns the offset of the first record. Outside the CRC.
    pub fn set_base_offset(&mut self, offset: Offset) {
        self.header.base_offset = offset;
        self.put(BASE_OFFSET, offset.get().to_be_bytes());
    }

    /// Assigns the epoch of the appending leader. Outside the CRC.
    pub fn set_partition_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.header.partition_leader_epoch = epoch;
        self.put(PARTITION_LEADER_EPOCH, epoch.get().to_be_bytes());
    }

    /// Makes the broker's clock the time of every record (KIP-32): sets the timestamp type bit and
    /// the max timestamp, and computes the CRC anew. The records stay as they are: readers take the
    /// max timestamp for each of them.
    pub fn stamp_log_append_time(&mut self, now: Timestamp) {
        self.header.attributes = self.header.attributes.with(Attributes::LOG_APPEND_TIME);
        self.put(ATTRIBUTES, self.header.attributes.0.to_be_bytes());
        self.set_max_timestamp(now);
    }

    /// Corrects the max timestamp, and computes the CRC anew.
    pub fn set_max_timestamp(&mut self, max: Timestamp) {
        self.header.max_timestamp = max;
        self.put(MAX_TIMESTAMP, max.get().to_be_bytes());
        self.header.crc = compute_crc(self.bytes);
        self.put(CRC, self.header.crc.to_be_bytes());
    }

    /// In bounds for every field: `first_in` admits no batch shorter than its header.
    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }
}
