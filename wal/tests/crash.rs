//! What recovery makes of damaged files. Goal: acknowledged frames are replayed or their loss is
//! reported; what was never acknowledged is dropped once and for all. Method: write a log, damage a
//! copy of its files, open the copy, and open it again.

mod kit;

use std::fs;
use std::path::Path;

use antiphon_common::{ErrorKind, Lsn};
use antiphon_wal::conformance::Outcomes;
use antiphon_wal::{Corruption, Ending, FileWal, OpenError, Wal};
use kit::*;

fn refusal(folder: &Path, epoch: u64) -> OpenError {
    open_with(options(folder, epoch)).expect_err("refused")
}

fn corruption(folder: &Path) -> (Corruption, Lsn) {
    match refusal(folder, 9) {
        OpenError::Corrupt { reason, lsn, .. } => (reason, lsn),
        other => panic!("not corrupt: {other}"),
    }
}

/// Opens the folder twice more, appending in between, and expects frames `1..=last` plus the new.
fn assert_settled(folder: &Path, last: u64) {
    let (wal, report, found) = open(folder, 100);
    assert_eq!(numbers(&found), (1..=last).collect::<Vec<_>>());
    assert_eq!(report.next_lsn, Lsn(last + 1));
    append_groups(&wal, last + 1..last + 3);
    drop(wal);
    let (_, report, found) = open(folder, 101);
    assert_eq!(numbers(&found), (1..last + 3).collect::<Vec<_>>());
    assert_eq!(report.ending, Ending::Clean);
}

/// Every 512-byte step of the last three groups, with a bit flipped, with everything behind it
/// zeroed, and with the file cut off there.
#[test]
fn damage_at_every_sector_of_the_last_groups_is_judged_right() {
    const FRAMES: u64 = 6;
    let log = crashed_log(FRAMES);
    let places = frames(log.path());
    let (path, start, _) = &places[places.len() - 3];
    let name = path.file_name().expect("a name");
    let (_, last_start, last) = &places[places.len() - 1];
    let end = last_start + 40 + u64::from(last.length);
    for position in (*start..end).step_by(512) {
        let frame_at = |(_, at, head): &&(_, u64, antiphon_wal::FrameHeader)| {
            (*at..*at + 40 + u64::from(head.length)).contains(&position)
        };
        let hit = places.iter().filter(|(other, ..)| other == path).find(frame_at);
        let whole_before =
            places.iter().filter(|(_, at, head)| at + 40 + u64::from(head.length) <= position);
        let whole_before = whole_before.count() as u64;

        let flipped = crash_copy(log.path());
        flip(&flipped.path().join(name), position);
        match hit.map(|(_, _, head)| head.lsn.get()) {
            Some(lsn) if lsn < FRAMES => {
                let expected = (Corruption::AcknowledgedFrameLost, Lsn(lsn));
                assert_eq!(corruption(flipped.path()), expected, "at {position}");
            }
            Some(_) => assert_settled(flipped.path(), FRAMES - 1),
            None => assert_settled(flipped.path(), FRAMES),
        }

        let zeroed = crash_copy(log.path());
        overwrite(&zeroed.path().join(name), position, &vec![0; (SEGMENT - position) as usize]);
        assert_settled(zeroed.path(), whole_before);

        let cut = crash_copy(log.path());
        let file = fs::OpenOptions::new().write(true).open(cut.path().join(name)).expect("opens");
        file.set_len(position).expect("cut");
        assert_settled(cut.path(), whole_before);
    }
}

/// The frames behind the torn one are void for ever, over repeated crashes with and without writes.
fn assert_never_resurrected(copy: &Path, segment_bytes: u64) {
    for epoch in 2..5 {
        let mut options = options(copy, epoch);
        options.segment_bytes.0 = segment_bytes;
        let (_, report, found) = open_with(options).expect("a torn tail is no corruption");
        assert_eq!(numbers(&found), [1, 2, 3], "epoch {epoch}");
        assert_eq!(report.next_lsn, Lsn(4));
    }
    assert_settled(copy, 3);
}

#[test]
fn an_intact_group_behind_a_torn_one_is_dropped_for_good() {
    let copy = torn_before_intact(SEGMENT, 100);
    assert_never_resurrected(copy.path(), SEGMENT);
}

#[test]
fn a_half_written_group_before_an_intact_one_is_dropped_for_good() {
    let copy = torn_before_intact(SEGMENT, 6000);
    let (path, position, head) = frames(copy.path()).pop().expect("frame 3");
    let next = (position + 40 + u64::from(head.length)).next_multiple_of(4096);
    overwrite(&path, next, &[0xab; 4096]);
    assert_never_resurrected(copy.path(), SEGMENT);
}

#[test]
fn an_intact_group_in_the_next_segment_is_dropped_for_good() {
    // Frame 4 fills the rest of the segment, so that frame 5 opens another.
    let copy = torn_before_intact(SEGMENT, 40 << 10);
    let opened = segments(copy.path());
    assert_eq!(opened.iter().map(|(_, first)| first.get()).collect::<Vec<_>>(), [1, 5]);
    assert_never_resurrected(copy.path(), SEGMENT);
}

#[test]
fn a_seal_outlives_the_torn_frame_becoming_readable() {
    let copy = torn_before_intact(SEGMENT, 100);
    let torn = crash_copy(copy.path());
    drop(open(copy.path(), 2));
    // The old segment comes back with frame 4 intact: recovery has decided already.
    let intact = crashed_log(6);
    let name = segments(torn.path())[0].0.file_name().expect("a name").to_owned();
    fs::copy(intact.path().join(&name), copy.path().join(&name)).expect("copied");
    let (_, _, found) = open(copy.path(), 3);
    assert_eq!(numbers(&found), [1, 2, 3]);
}

#[test]
fn a_missing_segment_in_the_middle_is_corruption() {
    let log = long_log();
    let all = segments(log.path());
    fs::remove_file(&all[1].0).expect("removed");
    assert_eq!(corruption(log.path()), (Corruption::AcknowledgedFrameLost, all[1].1));
}

#[test]
fn a_missing_first_segment_is_a_gap_unless_it_is_flushed() {
    let log = long_log();
    let all = segments(log.path());
    fs::remove_file(&all[0].0).expect("removed");
    let refused = refusal(log.path(), 2);
    assert!(matches!(refused, OpenError::Gap { found, .. } if found == all[1].1), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    let mut flushed = options(log.path(), 2);
    flushed.expected_start = all[1].1;
    let (_, report, found) = open_with(flushed).expect("nothing needed is missing");
    assert_eq!(numbers(&found), (all[1].1.get()..=60).collect::<Vec<_>>());
    assert_eq!(report.first_lsn, Some(all[1].1));
}

#[test]
fn what_is_flushed_is_not_read_and_may_be_damaged() {
    let log = long_log();
    let all = segments(log.path());
    flip(&all[0].0, 4096 + 50);
    let mut flushed = options(log.path(), 2);
    flushed.expected_start = Lsn(all[1].1.get() + 3);
    let (_, report, found) = open_with(flushed).expect("the damage is in what nobody needs");
    assert_eq!(report.segments_skipped, 1);
    assert_eq!(numbers(&found), (all[1].1.get() + 3..=60).collect::<Vec<_>>());
}

#[test]
fn a_log_behind_the_catalog_goes_on_where_the_catalog_is() {
    let log = crashed_log(5);
    let mut flushed = options(log.path(), 2);
    flushed.expected_start = Lsn(50);
    let (wal, report, found) = open_with(flushed).expect("opens");
    assert_eq!((found.len(), report.next_lsn, wal.durable()), (0, Lsn(50), Lsn(49)));
    append_groups(&wal, [50]);
    drop(wal);
    let mut again = options(log.path(), 3);
    again.expected_start = Lsn(50);
    assert_eq!(numbers(&open_with(again).expect("opens").2), [50]);
}

#[test]
fn a_frame_lost_after_a_recovery_is_corruption() {
    let log = crashed_log(5);
    drop(open(log.path(), 2));
    let (path, position, _) = frames(log.path()).remove(4);
    flip(&path, position + 45);
    assert_eq!(corruption(log.path()), (Corruption::RecoveredFrameLost, Lsn(5)));
}

#[test]
fn after_a_clean_close_even_the_last_frame_is_vouched_for() {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    append_groups(&wal, 1..=3);
    wal.close();
    let (path, position, _) = frames(live.path()).pop().expect("frame 3");
    flip(&path, position + 41);
    assert_eq!(corruption(live.path()), (Corruption::AcknowledgedFrameLost, Lsn(3)));
}

#[test]
fn a_damaged_header_is_a_torn_tail_only_on_a_segment_without_acknowledged_frames() {
    let log = long_log();
    let all = segments(log.path());
    let known_durable = frames(log.path()).iter().map(|(_, _, head)| head.durable).max();
    let proven = all[1..].iter().filter(|(_, first)| Some(*first) <= known_durable);
    assert!(proven.clone().count() > 1);
    for (path, first) in proven {
        let copy = crash_copy(log.path());
        flip(&copy.path().join(path.file_name().expect("a name")), 20);
        assert_eq!(corruption(copy.path()).1, *first);
    }
    let fresh = folder();
    drop(open(fresh.path(), 1));
    overwrite(&segments(fresh.path())[0].0, 0, &[0xff; 512]);
    overwrite(&fresh.path().join("00000000000000000001.wal"), 4096, &[0; 4096]);
    let (_, report, found) = open(fresh.path(), 2);
    assert_eq!((report.ending, found.len()), (Ending::TornTail, 0));
}

#[test]
fn an_older_epoch_is_fenced_out() {
    let log = crashed_log(3);
    let refused = refusal(log.path(), 1);
    assert!(matches!(refused, OpenError::Fenced { .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Fenced);
}

#[test]
fn a_segment_of_an_older_epoch_behind_a_newer_one_is_corruption() {
    let (old, new) = (crashed_log(3), folder());
    drop(open(new.path(), 5));
    let strayed = fs::read(&segments(old.path())[0].0).expect("read");
    let mut header = strayed.clone();
    // The same segment under number 2, checksum and all.
    header[16] = 2;
    let covered: Vec<u8> = [&header[..12], &header[16..64]].concat();
    header[12..16].copy_from_slice(&crc32c(&covered).to_le_bytes());
    fs::write(new.path().join("00000000000000000002.wal"), header).expect("written");
    assert_eq!(corruption(new.path()).0, Corruption::EpochsOutOfOrder);
}

#[test]
fn a_newer_format_is_named_not_mistaken_for_damage() {
    let log = crashed_log(3);
    let path = segments(log.path()).remove(0).0;
    let mut bytes = fs::read(&path).expect("read");
    bytes[8] = 2;
    let covered: Vec<u8> = [&bytes[..12], &bytes[16..64]].concat();
    bytes[12..16].copy_from_slice(&crc32c(&covered).to_le_bytes());
    fs::write(&path, bytes).expect("written");
    let refused = refusal(log.path(), 2);
    assert!(matches!(refused, OpenError::NewerFormat { found: 2, .. }), "{refused}");
}

#[test]
fn a_payload_that_looks_like_frames_is_no_evidence() {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    append_groups(&wal, 1..=2);
    let (path, position, _) = frames(live.path()).pop().expect("frame 2");
    // A client sends a copy of a frame that claims all is durable, aligned like a group. It cannot
    // know the salt; here it is off by one bit.
    let mut forged = vec![0; 4096 - 40];
    let mut frame = fs::read(&path).expect("read")[position as usize..][..4096].to_vec();
    frame[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    frame[16..24].copy_from_slice(&9u64.to_le_bytes());
    frame[32] ^= 1;
    let length = u32::from_le_bytes(frame[4..8].try_into().expect("four bytes")) as usize;
    let sum = crc32c(&frame[4..40 + length]);
    frame[..4].copy_from_slice(&sum.to_le_bytes());
    forged.extend(frame);
    let outcomes = Outcomes::default();
    outcomes.append(&wal, 3, &forged).expect("room");
    outcomes.next_durable();
    let torn = crash_copy(live.path());
    let (path, position, _) = frames(torn.path()).pop().expect("frame 3");
    flip(&path, position + 45);
    let (_, report, found) = open(torn.path(), 2);
    assert_eq!((report.ending, numbers(&found)), (Ending::TornTail, vec![1, 2]));
}

#[test]
fn an_empty_folder_starts_where_it_is_told() {
    let fresh = folder();
    let mut told = options(&fresh.path().join("made/below"), 1);
    (told.expected_start, told.first_lsn_if_empty) = (Lsn(7), Lsn(7));
    let (wal, report, found) = open_with(told).expect("opens");
    assert_eq!((report.ending, report.next_lsn, found.len()), (Ending::Empty, Lsn(7), 0));
    let outcomes = Outcomes::default();
    assert_eq!(outcomes.append(&wal, 7, b"x").expect("room"), Lsn(7));
}

#[test]
fn a_folder_that_cannot_be_is_an_error_with_its_path() {
    let fresh = folder();
    fs::write(fresh.path().join("file"), b"").expect("written");
    let refused = FileWal::open(options(&fresh.path().join("file/log"), 1), &mut |_| {});
    let refused = refused.expect_err("not a folder");
    assert!(refused.to_string().contains("file/log"), "{refused}");
}
