//! What happens to every produced batch allocates nothing, however many records it holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_common::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    BatchBuilder, BatchMut, Batches, Check, ContentRules, Header, NewRecord, ProduceRules,
    ProducerStateLimits, ProducerStates, Sequence, TimestampRules, validate_produced,
};

/// The system's allocator, counting what the current thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

const RULES: ProduceRules = ProduceRules {
    batch_bytes_max: 1 << 20,
    zstd_allowed: true,
    contents: ContentRules {
        timestamps: TimestampRules::CreateTime {
            now: NOW,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        },
        key_required: true,
        decompressed_bytes_max: 1 << 20,
    },
};

fn batch(first_sequence: i32) -> Vec<u8> {
    let headers = [Header { key: b"correlation-id", value: Some(b"42") }; 3];
    let mut builder =
        BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), Sequence(first_sequence));
    for _ in 0..1000 {
        let (key, value) = (Some(&b"key"[..]), Some(&b"value"[..]));
        let record = NewRecord { timestamp: NOW, key, value, headers: &headers };
        builder.push(record).expect("fits");
    }
    builder.build().expect("builds").to_vec()
}

/// From the client's bytes to the bytes that go to the log.
fn produce(bytes: &mut [u8], states: &mut ProducerStates, base_offset: Offset) {
    validate_produced(bytes, &RULES).expect("valid");
    let mut batch = BatchMut::first_in(bytes).expect("a batch");
    batch.set_base_offset(base_offset);
    batch.set_partition_leader_epoch(LeaderEpoch(1));
    batch.stamp_log_append_time(NOW);
    let header = batch.header();
    assert_eq!(states.check(&header, NOW), Ok(Check::Append));
    states.record_append(&header, base_offset, NOW);
    assert_eq!(Batches::whole(bytes).count(), 1);
}

#[test]
fn producing_a_batch_allocates_nothing() {
    let mut states = ProducerStates::new(ProducerStateLimits::default());
    let (mut first, mut second) = (batch(0), batch(1000));
    // The first batch of a producer allocates its entry.
    produce(&mut first, &mut states, Offset(0));
    let before = ALLOCATIONS.get();
    produce(&mut second, &mut states, Offset(1000));
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
