//! Starts that serve before they have read their log.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use antiphon_common::{ByteCount, Environment, ErrorKind, Lsn, Offset, WalEpoch};
use antiphon_wal::{Backlog, FileWal, FileWalOptions, Survivor, Wal};

use super::loading::{Loader, Missing, Source};
use super::{FatalReport, TailLost};
use crate::log::TailRead;
use crate::merge::tests::kit::{Process, World};

const BATCHES: usize = 20;
const BATCH_BYTES: usize = 3_000;

/// Twenty batches that nobody has flushed, in two partitions by turns; then a crash.
async fn crashed() -> World {
    let world = World::in_memory();
    let process = world.open().await;
    for number in 0..BATCHES {
        process.append(number % 2, number, BATCH_BYTES).await;
    }
    world.crash(process);
    world
}

/// Everything that consumers see of a partition.
async fn contents(process: &Process, partition: usize) -> Vec<u8> {
    let log = &process.logs[partition];
    let (mut next, mut found) = (Offset::ZERO, Vec::new());
    while next < log.positions().high_watermark {
        let runs = match log.read_tail(next, 1, true) {
            TailRead::Batches(runs) => runs,
            TailRead::Cold => log.read_cold(next, 1, true).await.expect("readable"),
            TailRead::OutOfRange => panic!("{next} is in range"),
        };
        let last = runs.last().and_then(|run| crate::cold::last_offset_of_run(run));
        next = last.expect("a batch").next();
        runs.iter().for_each(|run| found.extend_from_slice(run));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_start_knows_all_positions_at_once_and_its_readers_wait_for_the_bytes() {
    let mut world = crashed().await;
    let whole = world.open().await;
    let expected = [contents(&whole, 0).await, contents(&whole, 1).await];
    let positions: Vec<_> = whole.logs.iter().map(|log| log.positions().high_watermark).collect();
    world.crash(whole);
    for deferred in [1, BATCHES / 2, BATCHES] {
        world.deferred = deferred;
        let process = world.open().await;
        assert!(!process.storage.context.loading.is_over());
        let found: Vec<_> = process.logs.iter().map(|log| log.positions().high_watermark).collect();
        assert_eq!(found, positions);
        let first = process.logs[0].read_tail(Offset::ZERO, 1, true);
        assert!(matches!(first, TailRead::Cold), "{first:?}");
        // What is appended meanwhile stands behind, and is there at once.
        process.append(0, BATCHES, BATCH_BYTES).await;
        let appended = process.logs[0].read_tail(positions[0], 1, true);
        assert!(matches!(appended, TailRead::Batches(batches) if batches.len() == 1));
        for (partition, expected) in expected.iter().enumerate() {
            assert!(contents(&process, partition).await.starts_with(expected), "{deferred}");
        }
        assert!(process.storage.context.loading.is_over());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_it_takes_and_makes_no_small_objects() {
    let mut world = crashed().await;
    world.deferred = BATCHES;
    let process = world.open().await;
    process.storage.flush().await.expect("the flush succeeds");
    assert_eq!(process.storage.stats().unflushed_bytes, 0);
    for partition in 0..2 {
        assert_eq!(process.segments(partition).await.len(), 1);
        let flushed = process.logs[partition].positions().flushed_end;
        assert_eq!(flushed, process.logs[partition].positions().high_watermark);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tail_larger_than_its_budget_comes_into_memory_as_flushes_make_room() {
    let mut world = crashed().await;
    world.deferred = BATCHES;
    world.tail_bytes_max = 6 * BATCH_BYTES as u64;
    let process = world.open().await;
    let context = Arc::clone(&process.storage.context);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!context.loading.is_over(), "nothing was flushed");
    let missing = context.loading.missing_bytes.load(Ordering::Relaxed);
    let held = context.budget.used() - missing;
    let limit = world.tail_bytes_max;
    assert!((limit..limit + 2 * BATCH_BYTES as u64).contains(&held), "{held} of {limit}");
    assert!(!context.budget.has_room(), "producers wait as they would have before");
    // A reader gets what it asks for all the same.
    let end = process.logs[1].positions().high_watermark;
    let last = process.logs[1].read_cold(end.prev(), 1, true).await.expect("readable");
    assert_eq!(last.len(), 1);
    process.storage.flush().await.expect("the flush succeeds");
    assert!(context.loading.is_over());
    assert_eq!(process.storage.stats().unflushed_bytes, 0);
    assert!(context.budget.has_room());
}

/// A log on disk whose sealed segments are left for later, with a flipped bit in the payload of `lsn`.
fn damaged(folder: &Path, lsn: usize) -> (FileWal, Backlog, VecDeque<Missing>) {
    let options = |epoch| FileWalOptions {
        segment_bytes: ByteCount(64 << 10),
        leaves_raw_segments: false,
        summary_prefix_bytes: Some(8),
        ..FileWalOptions::new(folder, WalEpoch(epoch), Environment::system())
    };
    let (log, ..) = FileWal::open_deferring(options(1), &mut |_| {}).expect("opens");
    for number in 1..=50_u8 {
        let completion = Box::new(|written: Result<_, _>| drop(written.expect("written")));
        log.append(4_000, &mut |payload| payload.fill(number), completion).expect("appended");
    }
    log.close();
    drop(log);
    let segment = folder.join("00000000000000000001.wal");
    let file = OpenOptions::new().read(true).write(true).open(segment).expect("opens");
    let mut bytes = vec![0; 64 << 10];
    file.read_exact_at(&mut bytes, 0).expect("read");
    let pattern = [lsn as u8; 16];
    let at = bytes.windows(16).position(|window| window == pattern).expect("the payload") + 20;
    file.write_all_at(&[lsn as u8 ^ 1], at as u64).expect("written");
    let mut missing = VecDeque::new();
    let mut keep = |survivor| {
        if let Survivor::Deferred(frame) = survivor {
            missing.push_back(Missing { lsn: frame.lsn, bytes: Arc::default(), cost: 0 });
        }
    };
    let (log, _, backlog) = FileWal::open_deferring(options(2), &mut keep).expect("opens");
    (log, backlog, missing)
}

#[tokio::test]
async fn damage_that_is_found_while_serving_ends_the_broker_and_fails_whoever_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_log, backlog, missing) = damaged(folder.path(), 5);
    assert!(missing.len() > 5);
    let world = World::in_memory();
    let process = world.open().await;
    let fatal = Arc::clone(&world.fatal);
    let loader = Loader {
        context: Arc::clone(&process.storage.context),
        source: Source::File(backlog),
        missing,
        on_fatal: FatalReport(Arc::new(move |reason| fatal.lock().push(reason.to_owned()))),
    };
    let _running = loader.start().expect("something to read");
    let loading = &process.storage.context.loading;
    assert_eq!(loading.wait_for(Lsn(50)).await, Err(TailLost));
    assert_eq!(loading.wait_for(Lsn(5)).await, Err(TailLost));
    while world.fatal.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(world.fatal.lock()[0].contains("frame 5 is missing or damaged"));
    process.append(0, 0, BATCH_BYTES).await;
    let refused = process.storage.flush().await.expect_err("nothing may be flushed");
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
}
