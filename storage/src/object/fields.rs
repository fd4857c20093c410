//! Reading big-endian fields at fixed offsets from bytes that came from outside.

use super::DecodeObjectError;

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], DecodeObjectError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(DecodeObjectError::Truncated { needed: (at + N) as u64, found: bytes.len() as u64 })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DecodeObjectError> {
    field(bytes, at).map(u16::from_be_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DecodeObjectError> {
    field(bytes, at).map(u32::from_be_bytes)
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Result<i32, DecodeObjectError> {
    field(bytes, at).map(i32::from_be_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, DecodeObjectError> {
    field(bytes, at).map(u64::from_be_bytes)
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> Result<i64, DecodeObjectError> {
    field(bytes, at).map(i64::from_be_bytes)
}

pub(super) fn u128_at(bytes: &[u8], at: usize) -> Result<u128, DecodeObjectError> {
    field(bytes, at).map(u128::from_be_bytes)
}
