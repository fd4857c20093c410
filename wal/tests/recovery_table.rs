//! One test for each row of the two tables in `docs/formats/wal.md`, under the row's name. `crash.rs`
//! has the finer points; the combinations are walked in `src/recovery/classify.rs`.

mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_common::Lsn;
use antiphon_wal::{
    Corruption, Ending, Finding, LoadError, OpenError, Stop, Survivor, Wal, inspect,
};
use kit::*;
use tempfile::TempDir;

/// Makes a test of each row, and the list of rows.
macro_rules! rows {
    ($($label:literal $test:ident $body:block)*) => {
        $(#[test] fn $test() $body)*

        const ROWS: &[&str] = &[$($label),*];
    };
}

rows! {
    "continues" continues {
        let log = long_log();
        assert_eq!(ended(log.path(), 2), (Ending::Unclean, (1..=60).collect()));
    }

    "sealed-here" sealed_here {
        let log = crashed_log(3);
        let (wal, ..) = open(log.path(), 2);
        append_groups(&wal, 4..=6);
        let copy = crash_copy(log.path());
        // Void: the first opening's frame 4 was never there, now something is, and it is not read.
        let (path, at, head) = frames(copy.path()).remove(2);
        let behind = (at + 40 + u64::from(head.length)).next_multiple_of(4096);
        overwrite(&path, behind, &[0xab; 4096]);
        assert_eq!(ended(copy.path(), 3), (Ending::Unclean, (1..=6).collect()));
    }

    "sealed-later" sealed_later {
        let log = crashed_log(3);
        drop(open(log.path(), 2));
        let (path, at, _) = frames(log.path()).remove(2);
        flip(&path, at + 45);
        assert_eq!(stops(log.path())[0], Stop::Torn);
        assert_eq!(refused(log.path()), (Corruption::RecoveredFrameLost, Lsn(3)));
    }

    "overlap" overlap {
        let log = long_log();
        let (second, first) = segments(log.path()).remove(1);
        rewrite_header(&second, |head| put_u64(head, 32, first.get() - 1));
        assert_eq!(refused(log.path()), (Corruption::SegmentsOverlap, first));
    }

    "acknowledged-lost" acknowledged_lost {
        // Frame 6 says that everything up to 5 was durable when it was written.
        let places = frames(crashed_log(6).path());
        for (lost, (_, at, head)) in places.iter().enumerate().take(5) {
            let lsn = Lsn(lost as u64 + 1);
            let (flipped, name) = copy_of_six();
            flip(&flipped.path().join(&name), at + 45);
            assert_eq!(refused(flipped.path()), (Corruption::AcknowledgedFrameLost, lsn));
            // A write that the disk said it had done.
            let (zeroed, name) = copy_of_six();
            overwrite(&zeroed.path().join(&name), *at, &vec![0; 40 + head.length as usize]);
            assert_eq!(stops(zeroed.path())[0], Stop::Blank);
            assert_eq!(refused(zeroed.path()), (Corruption::AcknowledgedFrameLost, lsn));
        }
        let missing = long_log();
        let (path, first) = segments(missing.path()).remove(1);
        fs::remove_file(path).expect("removed");
        assert_eq!(refused(missing.path()), (Corruption::AcknowledgedFrameLost, first));
        // The end mark vouches for the very last frame.
        let closed = closed_log(3);
        let (path, at, _) = frames(closed.path()).remove(2);
        flip(&path, at + 41);
        assert_eq!(refused(closed.path()), (Corruption::AcknowledgedFrameLost, Lsn(3)));
    }

    "clean" clean {
        let closed = closed_log(3);
        assert_eq!(stops(closed.path())[0], Stop::EndMark);
        assert_eq!(ended(closed.path(), 2), (Ending::Clean, vec![1, 2, 3]));
    }

    "after-end-mark" after_end_mark {
        let closed = closed_log(3);
        // A segment of the same opening that claims to begin at frame 6, and holds nothing.
        add_segment(closed.path(), 2, 6);
        assert_eq!(refused(closed.path()), (Corruption::FramesAfterEndMark, Lsn(4)));
    }

    "between-writes" between_writes {
        let zeros = crashed_log(3);
        assert_eq!(last_stop(zeros.path()), Stop::Blank);
        assert_eq!(ended(zeros.path(), 2), (Ending::Unclean, vec![1, 2, 3]));

        let cut = crashed_log(3);
        let (path, behind) = behind_last(cut.path());
        let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
        file.set_len(behind).expect("cut");
        assert_eq!(last_stop(cut.path()), Stop::EndOfSegment);
        assert_eq!(ended(cut.path(), 2), (Ending::Unclean, vec![1, 2, 3]));

        // What a recycled file still holds behind the last group: an intact frame, but an old one.
        let recycled = crashed_log(3);
        let (path, behind) = behind_last(recycled.path());
        let old = fs::read(&path).expect("read")[4096..8192].to_vec();
        overwrite(&path, behind, &old);
        assert_eq!(last_stop(recycled.path()), Stop::Stale);
        assert_eq!(ended(recycled.path(), 2), (Ending::Unclean, vec![1, 2, 3]));
    }

    "torn-tail" torn_tail {
        let half = crashed_log(4);
        let (path, at, head) = frames(half.path()).remove(3);
        let from = at + 40 + u64::from(head.length) / 2;
        overwrite(&path, from, &vec![0; (SEGMENT - from) as usize]);
        assert_eq!(ended(half.path(), 2), (Ending::TornTail, vec![1, 2, 3]));

        let noise = crashed_log(3);
        let (path, behind) = behind_last(noise.path());
        overwrite(&path, behind, &[0xab; 4096]);
        assert_eq!(last_stop(noise.path()), Stop::Torn);
        assert_eq!(ended(noise.path(), 2), (Ending::TornTail, vec![1, 2, 3]));

        // The next frame, intact, of an opening with another salt: another log's file.
        let foreign = crashed_log(3);
        let (path, behind) = behind_last(foreign.path());
        let other = crashed_log(4);
        let (from, at, _) = frames(other.path()).remove(3);
        let frame = fs::read(from).expect("read")[at as usize..][..4096].to_vec();
        overwrite(&path, behind, &frame);
        assert_eq!(last_stop(foreign.path()), Stop::Torn);
        assert_eq!(ended(foreign.path(), 2), (Ending::TornTail, vec![1, 2, 3]));

        // The only segment's header, half-written, and no frame that says it was whole once.
        let header = folder();
        drop(open(header.path(), 1));
        let path = segments(header.path()).remove(0).0;
        overwrite(&path, 16, &[0xff; 100]);
        overwrite(&path, 4096, &[0; 4096]);
        assert_eq!(ended(header.path(), 2), (Ending::TornTail, vec![]));
    }

    "torn-before-intact" torn_before_an_intact_segment {
        // Frame 4 fills the rest of the segment and never arrived; frame 5 opened another and did.
        let copy = torn_before_intact(SEGMENT, 40 << 10);
        let firsts: Vec<_> = segments(copy.path()).iter().map(|(_, first)| first.get()).collect();
        assert_eq!(firsts, [1, 5]);
        for epoch in 2..4 {
            assert_eq!(ended(copy.path(), epoch).1, [1, 2, 3], "opening {epoch}");
        }
    }

    "empty" empty {
        let fresh = folder();
        let mut told = options(fresh.path(), 1);
        (told.expected_start, told.first_lsn_if_empty) = (Lsn(7), Lsn(7));
        let (_, report, found) = open_with(told).expect("opens");
        assert_eq!((report.ending, report.next_lsn, found.len()), (Ending::Empty, Lsn(7), 0));
    }

    "behind" behind_the_store {
        let log = crashed_log(5);
        let mut flushed = options(log.path(), 2);
        flushed.expected_start = Lsn(50);
        let (wal, report, found) = open_with(flushed).expect("opens");
        assert_eq!((found.len(), report.next_lsn, wal.durable()), (0, Lsn(50), Lsn(49)));
    }

    "fenced" fenced {
        let log = crashed_log(3);
        drop(open(log.path(), 7));
        for epoch in [1, 7] {
            let refused = open_with(options(log.path(), epoch)).expect_err("refused");
            assert!(matches!(refused, OpenError::Fenced { .. }), "{refused}");
        }
        assert_eq!(ended(log.path(), 8).1, [1, 2, 3]);
    }

    "epochs-back" epochs_back {
        let log = folder();
        drop(open(log.path(), 5));
        let stray = log.path().join("00000000000000000002.wal");
        let old = crashed_log(3);
        fs::copy(&segments(old.path())[0].0, &stray).expect("copied");
        rewrite_header(&stray, |head| put_u64(head, 16, 2));
        assert_eq!(refused(log.path()).0, Corruption::EpochsOutOfOrder);
    }

    "gap" gap {
        let log = long_log();
        let all = segments(log.path());
        fs::remove_file(&all[0].0).expect("removed");
        match open_with(options(log.path(), 2)).expect_err("refused") {
            OpenError::Gap { expected, found } => assert_eq!((expected, found), (Lsn(1), all[1].1)),
            other => panic!("{other}"),
        }
    }

    "header-lost" header_lost {
        let log = long_log();
        flip(&segments(log.path())[0].0, 20);
        assert_eq!(refused(log.path()), (Corruption::AcknowledgedFrameLost, Lsn(1)));
    }

    "newer-format" newer_format {
        let log = crashed_log(3);
        rewrite_header(&segments(log.path())[0].0, |head| head[8] = 2);
        let refused = open_with(options(log.path(), 2)).expect_err("refused");
        assert!(matches!(refused, OpenError::NewerFormat { found: 2, .. }), "{refused}");
    }

    "summary-intact" summary_intact {
        let log = summarised_log();
        let sealed = summarised(log.path());
        // Nothing of their frames is looked at yet: the same with all payloads damaged.
        for (path, at, head) in frames(log.path()) {
            if head.length > 0 && sealed.contains(&path) {
                flip(&path, at + 40);
            }
        }
        let opened = open_deferring(summarising(log.path(), 2)).expect("opens");
        let lsns: Vec<_> = opened.survivors.iter().map(|survivor| survivor.lsn().get()).collect();
        assert_eq!(lsns, (1..=60).collect::<Vec<_>>());
        assert_eq!(opened.report.segments_deferred, sealed.len() as u64);
        assert_eq!(opened.report.segments_read, 1);
    }

    "summary-lost" summary_lost {
        let none: &dyn Fn(&Path) = &|summary| fs::remove_file(summary).expect("removed");
        let torn: &dyn Fn(&Path) = &|summary| {
            let half = fs::metadata(summary).expect("there").len() / 2;
            fs::OpenOptions::new().write(true).open(summary).expect("opens").set_len(half).expect("cut");
        };
        let rotten: &dyn Fn(&Path) = &|summary| flip(summary, 70);
        let foreign: &dyn Fn(&Path) = &|summary| {
            let other = summarised_log();
            let theirs = other.path().join(summary.file_name().expect("a name"));
            fs::copy(theirs, summary).expect("copied");
        };
        for lose in [none, torn, rotten, foreign] {
            let log = summarised_log();
            let victim = summarised(log.path()).remove(1);
            let summary = victim.with_extension("summary");
            lose(&summary);
            let opened = open_deferring(summarising(log.path(), 2)).expect("opens");
            assert_eq!(opened.report.segments_read, 2, "the victim and the last one");
            assert_eq!(read_all(opened), (1..=60).collect::<Vec<_>>());
        }
    }

    "summary-short" summary_of_more_than_there_is {
        let log = summarised_log();
        let victim = summarised(log.path()).remove(1);
        let file = fs::OpenOptions::new().write(true).open(&victim).expect("opens");
        file.set_len(SEGMENT / 2).expect("cut");
        let refused = open_deferring(summarising(log.path(), 9)).err().expect("refused");
        assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
    }

    "summary-alone" summary_alone {
        let log = summarised_log();
        let victim = summarised(log.path()).remove(1);
        fs::remove_file(&victim).expect("removed");
        let refused = open_deferring(summarising(log.path(), 9)).err().expect("refused");
        let lost = Corruption::AcknowledgedFrameLost;
        assert!(matches!(refused, OpenError::Corrupt { reason, .. } if reason == lost), "{refused}");
        // Where nothing else is missing, it goes.
        let stray = log.path().join("00000000000000000099.summary");
        fs::rename(victim.with_extension("summary"), &stray).expect("renamed");
        for path in fs::read_dir(log.path()).expect("listed").map(|entry| entry.expect("an entry").path()) {
            if path != stray {
                fs::remove_file(path).expect("removed");
            }
        }
        drop(open_deferring(summarising(log.path(), 9)).expect("opens"));
        assert!(!stray.exists());
    }

    "summary-belied" summary_belied {
        let log = summarised_log();
        let (path, at, _) = frames(log.path()).remove(5);
        flip(&path, at + 45);
        let mut opened = open_deferring(summarising(log.path(), 2)).expect("opens");
        append_groups(&opened.wal, 61..=61);
        match drain(&mut opened.backlog).expect_err("damaged") {
            LoadError::Corrupt { lsn, .. } => assert_eq!(lsn, Lsn(6)),
            other => panic!("{other}"),
        }
        drop(opened);
        // As after any later opening that went on behind what is gone now; and so it stays.
        for epoch in [3, 4] {
            let refused = open_deferring(summarising(log.path(), epoch)).err().expect("refused");
            let lost = Corruption::RecoveredFrameLost;
            assert!(
                matches!(refused, OpenError::Corrupt { reason, lsn: Lsn(6), .. } if reason == lost),
                "{refused}"
            );
        }
    }

    "summary-late" summary_late {
        // The last segment of a process that was killed gets its summary from the next one.
        let log = summarised_log();
        let last = segments(log.path()).pop().expect("a segment").0;
        let second = open_deferring(summarising(log.path(), 2)).expect("opens");
        append_groups(&second.wal, 61..=63);
        await_summaries(log.path());
        assert!(summarised(log.path()).contains(&last));
        drop(second);
        let third = open_deferring(summarising(log.path(), 3)).expect("opens");
        assert_eq!(third.report.segments_read, 1);
        assert_eq!(read_all(third), (1..=63).collect::<Vec<_>>());
    }
}

#[test]
fn every_row_of_the_page_has_its_test() {
    let page = include_str!("../../docs/formats/wal.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Recovery"));
    let lines = section.expect("the page has a section on recovery").lines();
    let labels = lines.filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let written: BTreeSet<_> = labels.map(|(label, _)| label).collect();
    assert_eq!(written, ROWS.iter().copied().collect());
}

/// How a log ended that opens, and its frames.
fn ended(folder: &Path, epoch: u64) -> (Ending, Vec<u64>) {
    let copy = crash_copy(folder);
    let (_, report, found) = open(copy.path(), epoch);
    (report.ending, numbers(&found))
}

/// All frames in order, once the deferred ones are read.
fn read_all(mut opened: Deferring) -> Vec<u64> {
    let mut loaded = drain(&mut opened.backlog).expect("intact").into_iter();
    let mut all = Vec::new();
    for survivor in opened.survivors {
        all.push(match survivor {
            Survivor::Frame(frame) => frame,
            Survivor::Deferred(known) => {
                let frame = loaded.next().expect("what was deferred is loaded");
                assert_eq!((frame.lsn, frame.epoch), (known.lsn, known.epoch));
                assert_eq!(frame.payload.len(), known.payload_bytes);
                assert_eq!(known.prefix, frame.payload[..known.payload_bytes.min(PREFIX)]);
                frame
            }
        });
    }
    assert_eq!(loaded.next(), None);
    numbers(&all)
}

/// Why a log does not open, and which frame it misses. Refusing must not change a byte.
fn refused(folder: &Path) -> (Corruption, Lsn) {
    let before = contents(folder);
    let refused = open_with(options(folder, 9)).expect_err("refused");
    assert_eq!(before, contents(folder), "a refusal changes nothing");
    match refused {
        OpenError::Corrupt { reason, lsn, .. } => (reason, lsn),
        other => panic!("not corrupt: {other}"),
    }
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    let mut all: Vec<_> =
        entries.map(|path| (path.clone(), fs::read(path).expect("read"))).collect();
    all.sort();
    all
}

/// What stands behind the last intact frame of each segment in use.
fn stops(folder: &Path) -> Vec<Stop> {
    let mut stops = Vec::new();
    let mut note = |finding| {
        if let Finding::End { verdict, .. } = finding {
            stops.push(verdict.stop);
        }
    };
    inspect(folder, &mut note).expect("readable");
    stops
}

fn last_stop(folder: &Path) -> Stop {
    *stops(folder).last().expect("a segment")
}

/// The segment of the last frame, and where a next group would start.
fn behind_last(folder: &Path) -> (PathBuf, u64) {
    let (path, at, head) = frames(folder).pop().expect("a frame");
    (path, (at + 40 + u64::from(head.length)).next_multiple_of(4096))
}

fn closed_log(frames: u64) -> TempDir {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    append_groups(&wal, 1..=frames);
    wal.close();
    crash_copy(live.path())
}

/// Six frames, and the name of the one segment they are in.
fn copy_of_six() -> (TempDir, PathBuf) {
    let log = crashed_log(6);
    let name = segments(log.path())[0].0.file_name().expect("a name").into();
    (log, name)
}

/// Adds a segment without frames that says it belongs to the opening of the first one.
fn add_segment(folder: &Path, number: u64, first_lsn: u64) {
    let path = folder.join(format!("{number:020}.wal"));
    let mut bytes = fs::read(&segments(folder)[0].0).expect("read");
    bytes[64..].fill(0);
    fs::write(&path, bytes).expect("written");
    rewrite_header(&path, |head| {
        put_u64(head, 16, number);
        put_u64(head, 32, first_lsn);
    });
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
