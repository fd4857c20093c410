//! Segment files over a longer life: rolling, trimming, recycling, limits of disk and memory.

mod kit;

use std::fs;

use antiphon_common::{ByteCount, Lsn};
use antiphon_wal::conformance::{Outcomes, payload};
use antiphon_wal::{Ending, Finding, HeaderState, Stop, Wal, inspect};
use kit::*;

/// Writes many times the log's capacity, trimming behind, and checks that files are reused, that
/// the disk limit holds, and that only what was not trimmed comes back.
#[test]
fn trimmed_segments_are_recycled_and_their_stale_frames_stay_dead() {
    let live = folder();
    let mut small = options(live.path(), 1);
    small.capacity_bytes = ByteCount(8 * SEGMENT);
    let (wal, ..) = open_with(small).expect("opens");
    let outcomes = Outcomes::default();
    let mut next = 1;
    while next <= 1500 {
        match outcomes.append(&wal, next, &payload(next)) {
            Ok(lsn) => {
                assert_eq!(lsn, Lsn(next));
                next += 1;
            }
            Err(refused) => assert!(refused.kind().is_retryable(), "{refused}"),
        }
        wal.trim(Lsn(wal.durable().get().saturating_sub(20)));
        assert!(wal.stats().disk_bytes <= 8 * SEGMENT, "{:?}", wal.stats());
    }
    for tag in 1..next {
        assert_eq!(outcomes.next_durable().0, tag);
    }
    let copy = crash_copy(live.path());
    let files = fs::read_dir(copy.path()).expect("listed").count();
    assert!(files <= 8, "{files} files");
    let mut again = options(copy.path(), 2);
    again.expected_start = Lsn(next - 20);
    let (_, report, found) = open_with(again).expect("opens");
    assert_eq!(numbers(&found), (next - 20..next).collect::<Vec<_>>());
    assert_ne!(report.ending, Ending::Clean);
}

/// A first segment is merely allocated, and each write to it waits for the file system's journal.
#[test]
fn the_first_segment_is_left_as_soon_as_a_zero_filled_one_is_ready() {
    let live = folder();
    let mut roomy = options(live.path(), 1);
    roomy.leaves_raw_segments = true;
    roomy.segment_bytes = ByteCount(64 * SEGMENT);
    roomy.capacity_bytes = ByteCount(4 * 64 * SEGMENT);
    let (wal, ..) = open_with(roomy).expect("opens");
    let mut last = 0;
    while wal.stats().segments < 2 {
        last += 1;
        append_groups(&wal, last..=last);
    }
    append_groups(&wal, last + 1..=last + 20);
    let copy = crash_copy(live.path());
    let starts: Vec<_> = segments(copy.path()).iter().map(|(_, first)| first.get()).collect();
    assert_eq!(starts, [1, last], "no more than once: the second one is zero-filled");
    let blocks = 64 * SEGMENT / 4096;
    assert!(last < blocks - 1, "frame {last} would have needed another segment anyway");
}

#[test]
fn frames_larger_than_a_slab_and_rolls_in_every_place_survive() {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    let outcomes = Outcomes::default();
    let sizes: Vec<usize> = (0..80).map(|number| number * 7001 % 50_000).collect();
    for (tag, size) in sizes.iter().enumerate() {
        let body = vec![tag as u8; *size];
        while outcomes.append(&wal, tag as u64, &body).is_err() {
            std::thread::yield_now();
        }
    }
    for (tag, size) in sizes.iter().enumerate() {
        let (completed, bytes) = outcomes.next_durable();
        assert_eq!((completed, bytes.len()), (tag as u64, *size));
        assert!(bytes.iter().all(|byte| *byte == tag as u8));
    }
    drop(wal);
    let (_, _, found) = open(live.path(), 2);
    let found: Vec<_> = found.iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(found, sizes);
}

#[test]
fn readers_pin_slabs_and_give_them_back() {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    let outcomes = Outcomes::default();
    let mut held = Vec::new();
    for tag in 0..40 {
        outcomes.append(&wal, tag, &[tag as u8; 2000]).expect("room");
        held.push(outcomes.next_durable().1);
    }
    let slab = 16 << 10;
    assert!(wal.stats().slab_bytes >= 40 * 4096, "each group takes a block: {:?}", wal.stats());
    for (tag, bytes) in held.iter().enumerate() {
        assert!(bytes.iter().all(|byte| *byte == tag as u8), "frame {tag} was overwritten");
    }
    held.clear();
    assert!(wal.stats().slab_bytes <= slab, "only the one being filled: {:?}", wal.stats());
    wal.close();
    assert_eq!(outcomes.append(&wal, 0, b"").expect_err("closed").to_string(), "the log is closed");
}

#[test]
fn an_idle_log_gives_its_memory_back() {
    let live = folder();
    let mut eager = options(live.path(), 1);
    eager.slab_reserve_idle = std::time::Duration::from_millis(1);
    let (wal, ..) = open_with(eager).expect("opens");
    append_groups(&wal, 1..=20);
    while wal.stats().slab_bytes + wal.stats().slab_free_bytes > 0 {
        std::thread::yield_now();
    }
    append_groups(&wal, 21..=22);
}

#[test]
fn openings_without_writes_do_not_pile_up_files() {
    let live = folder();
    for epoch in 1..20 {
        let (wal, report, _) = open(live.path(), epoch);
        assert_eq!(report.next_lsn, Lsn::FIRST);
        wal.close();
    }
    // The housekeeper of the last opening may have stopped before it cleaned up.
    let files = fs::read_dir(live.path()).expect("listed").count();
    assert!(files <= 19, "{files} files");
    let (wal, ..) = open(live.path(), 20);
    append_groups(&wal, 1..=3);
    while wal.stats().disk_bytes > 4 * SEGMENT {
        std::thread::yield_now();
    }
    drop(wal);
    assert_eq!(numbers(&open(live.path(), 21).2), [1, 2, 3]);
}

#[test]
fn inspection_shows_segments_frames_and_verdicts() {
    let log = crashed_log(5);
    let (path, position, _) = frames(log.path()).remove(3);
    let mut seen = Vec::new();
    inspect(log.path(), &mut |finding| seen.push(finding)).expect("readable");
    let Finding::Segment { header: HeaderState::Valid(header), file_bytes, .. } = &seen[0] else {
        panic!("{:?}", seen[0])
    };
    assert_eq!((header.first_lsn, *file_bytes), (Lsn::FIRST, SEGMENT));
    let verdict = |seen: &[Finding]| {
        seen.iter().find_map(|finding| match finding {
            Finding::End { verdict, .. } => Some((verdict.frames, verdict.stop)),
            _ => None,
        })
    };
    assert_eq!(verdict(&seen), Some((5, Stop::Blank)));
    flip(&path, position + 42);
    seen.clear();
    inspect(log.path(), &mut |finding| seen.push(finding)).expect("readable");
    assert_eq!(verdict(&seen), Some((3, Stop::Torn)));
}

/// Waits until `holds`, for at most ten seconds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{what}");
}

fn summaries(folder: &std::path::Path) -> usize {
    let entries =
        fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "summary")).count()
}

#[test]
fn summaries_go_with_their_segments() {
    let live = folder();
    let wal = open_deferring(summarising(live.path(), 1)).expect("opens").wal;
    append_groups(&wal, 1..=60);
    await_summaries(live.path());
    assert!(summaries(live.path()) >= 2);
    wal.trim(Lsn(60));
    eventually("trimmed segments leave no summary", || summaries(live.path()) == 0);
    // The files were used again under other numbers, and get summaries of their own.
    append_groups(&wal, 61..=120);
    await_summaries(live.path());
    assert!(summaries(live.path()) >= 2);
}

#[test]
fn a_segment_of_many_small_frames_has_no_summary() {
    let live = folder();
    let wal = open_deferring(summarising(live.path(), 1)).expect("opens").wal;
    let outcomes = Outcomes::default();
    for number in 1..=3_000 {
        outcomes.append(&wal, number, &[number as u8; 20]).expect("room");
    }
    for _ in 1..=3_000 {
        outcomes.next_durable();
    }
    wal.close();
    let sealed = segments(live.path()).len() - 1;
    assert!(summaries(live.path()) < sealed, "{sealed} segments");
    drop(wal);
    // They are read whole, and nothing is missing.
    let opened = open_deferring(summarising(live.path(), 2)).expect("opens");
    let lsns: Vec<_> = opened.survivors.iter().map(|survivor| survivor.lsn().get()).collect();
    assert_eq!(lsns, (1..=3_000).collect::<Vec<_>>());
}
