//! From a key to the newest offset that has it, in a fixed number of bytes.
//!
//! Keys are not kept, only their 128-bit hashes, as Kafka does with MD5. The hash is SipHash with a
//! random key: two keys of one map collide with a probability of about 10^-27 (700,000 keys, birthday
//! bound), and nobody who does not know the key can make two that do. Collisions would lose a record.
//!
//! Open addressing with linear probing; at most nine tenths of the slots are used, so that a look-up
//! ends after a few steps (Kafka's `log.cleaner.io.buffer.load.factor`).

use std::hash::Hasher;

use antiphon_common::Offset;
use siphasher::sip128::{Hasher128, SipHasher13};

/// 16 bytes of hash and 8 of offset; an offset of zero marks a free slot, so offsets are kept plus
/// one.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: [u64; 2],
    next_offset: i64,
}

const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
const _: () = assert!(SLOT_BYTES == 24);

/// The map has no room for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The newest offset of each key that was put.
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    hash_key: (u64, u64),
}

impl OffsetMap {
    /// A map for `records` records, or for as many as fit `bytes_max` if that is less.
    pub(super) fn for_records(records: u64, bytes_max: u64, hash_key: (u64, u64)) -> Self {
        let wanted = records.saturating_mul(10) / 9 + 2;
        let slots = wanted.min(bytes_max / SLOT_BYTES).max(2) as usize;
        // At least one slot stays free, or a look-up for an absent key would not end.
        let used_max = (slots * 9 / 10).clamp(1, slots - 1);
        Self { slots: vec![Slot::default(); slots], used: 0, used_max, hash_key }
    }

    /// Notes that `key` is at `offset`. Offsets are put in ascending order.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        let hash = self.hash(key);
        let at = self.find(hash);
        let slot = self.slots.get_mut(at).ok_or(Full)?;
        if slot.next_offset == 0 {
            if self.used == self.used_max {
                return Err(Full);
            }
            self.used += 1;
        }
        *slot = Slot { hash, next_offset: offset.next().get() };
        Ok(())
    }

    /// The newest offset of `key`, if it was put.
    pub(super) fn newest(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.find(self.hash(key)))?;
        (slot.next_offset != 0).then(|| Offset(slot.next_offset).prev())
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key.0, self.hash_key.1);
        hasher.write(key);
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    /// The slot that holds `hash`, or the free one where it belongs.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        // The hash as a fraction, times the number of slots: no division (Lemire 2016).
        let mut at = ((u128::from(hash[0]) * count as u128) >> 64) as usize;
        while self.slots.get(at).is_some_and(|slot| slot.next_offset != 0 && slot.hash != hash) {
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_map_refuses_new_keys_and_keeps_following_known_ones() {
        let mut map = OffsetMap::for_records(1000, 10 * SLOT_BYTES, (1, 2));
        let key = |number: i64| number.to_be_bytes();
        let taken = (0..20).take_while(|n| map.put(&key(*n), Offset(*n)).is_ok()).count();
        assert_eq!(taken, 9, "nine tenths of ten slots");
        assert_eq!(map.put(&key(3), Offset(50)), Ok(()));
        assert_eq!(map.newest(&key(3)), Some(Offset(50)));
        assert_eq!(map.newest(&key(15)), None);
    }

    #[test]
    fn memory_follows_the_records_up_to_the_limit() {
        let bytes =
            |records| OffsetMap::for_records(records, 1 << 20, (0, 0)).slots.len() as u64 * 24;
        assert!(bytes(0) < 100);
        assert!(bytes(1000) < 30_000);
        assert!(bytes(u64::MAX) <= 1 << 20);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(keys in prop::collection::vec(0..200u16, 0..500), seed: u64) {
            let mut map = OffsetMap::for_records(keys.len() as u64, 1 << 20, (seed, !seed));
            let mut model = HashMap::new();
            for (offset, key) in keys.iter().enumerate() {
                prop_assert_eq!(map.put(&key.to_be_bytes(), Offset(offset as i64)), Ok(()));
                model.insert(*key, Offset(offset as i64));
            }
            for key in 0..200u16 {
                prop_assert_eq!(map.newest(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }
}
