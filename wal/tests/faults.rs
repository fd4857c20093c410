//! Disks that fail, fill up, or are slow, and callers that panic.

mod kit;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use antiphon_common::{ByteCount, ErrorKind, Lsn};
use antiphon_wal::conformance::{Outcomes, payload};
use antiphon_wal::{
    AppendError, AppendFailed, DiskOperation, Ending, FatalFault, MemoryWal, MemoryWalOptions,
    Shortage, Wal,
};
use kit::*;
use parking_lot::Mutex;

#[test]
fn a_failed_write_is_final_for_it_and_everything_behind() {
    let live = folder();
    let (report, reported) = channel();
    let mut options = options(live.path(), 1);
    options.on_fatal = Some(Box::new(move |fault| report.send(fault).expect("the test waits")));
    options.disk_hook = Some(Arc::new(|operation| match operation {
        DiskOperation::WriteGroup { first_lsn: Lsn(4), .. } => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    }));
    let (wal, ..) = open_with(options).expect("opens");
    append_groups(&wal, 1..=3);
    let outcomes = Outcomes::default();
    outcomes.append(&wal, 4, &payload(4)).expect("room");
    let (tag, result) = outcomes.next();
    let refused = result.expect_err("not durable");
    assert!(matches!(refused, AppendFailed::Failed { lsn: Lsn(4), .. }), "{refused}");
    assert_eq!((tag, wal.durable()), (4, Lsn(3)));
    let fault = reported.recv_timeout(Duration::from_secs(60)).expect("reported");
    assert!(matches!(fault, FatalFault::Write { .. }), "{fault}");
    let late = outcomes.append(&wal, 5, b"late").expect_err("failed");
    assert!(matches!(late, AppendError::Failed(_)) && late.kind() == ErrorKind::Internal);
    assert!(wal.failure().is_some());
    wal.close();
    drop(wal);
    let (_, report, found) = open(live.path(), 2);
    assert_eq!(numbers(&found), [1, 2, 3]);
    assert_ne!(report.ending, Ending::Clean, "a failed log has no end mark");
}

/// Frame 5 reaches the disk while frame 4 is stuck; then frame 4 fails. Neither may be acknowledged.
#[test]
fn a_group_written_behind_a_failed_one_is_not_acknowledged() {
    let live = folder();
    let ((at_disk, reached), (fail, failing)) = (channel(), channel::<()>());
    let failing = Mutex::new(failing);
    let mut options = options(live.path(), 1);
    options.disk_hook = Some(Arc::new(move |operation| match operation {
        DiskOperation::WriteGroup { first_lsn: Lsn(4), .. } => {
            at_disk.send(()).map_err(io::Error::other)?;
            failing.lock().recv().map_err(io::Error::other)?;
            Err(io::Error::from_raw_os_error(5))
        }
        _ => Ok(()),
    }));
    let (wal, ..) = open_with(options).expect("opens");
    append_groups(&wal, 1..=3);
    let outcomes = Outcomes::default();
    outcomes.append(&wal, 4, &payload(4)).expect("room");
    reached.recv().expect("frame 4 reaches the disk");
    let groups = wal.stats().groups;
    outcomes.append(&wal, 5, &payload(5)).expect("room");
    while wal.stats().groups == groups {
        std::thread::yield_now();
    }
    outcomes.append(&wal, 6, &payload(6)).expect("room");
    fail.send(()).expect("the writer waits");
    for expected in 4..=6 {
        let (tag, result) = outcomes.next();
        assert!(tag == expected && result.is_err(), "{tag}: {result:?}");
    }
    assert_eq!(wal.durable(), Lsn(3));
}

#[test]
fn a_full_file_system_refuses_and_recovers() {
    let live = folder();
    let full = Arc::new(AtomicBool::new(false));
    let mut options = options(live.path(), 1);
    options.spare_segments = 1;
    let (disk, no_space) = (Arc::clone(&full), io::ErrorKind::StorageFull);
    options.disk_hook = Some(Arc::new(move |operation| match operation {
        DiskOperation::PrepareSegment { .. } if disk.load(Ordering::SeqCst) => Err(no_space.into()),
        _ => Ok(()),
    }));
    let (wal, ..) = open_with(options).expect("opens");
    full.store(true, Ordering::SeqCst);
    let (outcomes, mut accepted) = (Outcomes::default(), 0);
    let refused = loop {
        match outcomes.append(&wal, accepted, &payload(accepted + 1)) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    let shortage = match &refused {
        AppendError::Full { shortage, .. } => *shortage,
        other => panic!("{other}"),
    };
    assert!(matches!(shortage, Shortage::FileSystem | Shortage::Capacity), "{refused}");
    assert!(wal.failure().is_none(), "no space is no failure");
    full.store(false, Ordering::SeqCst);
    let next = loop {
        match outcomes.append(&wal, accepted, &payload(accepted + 1)) {
            Ok(lsn) => break lsn,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry),
        }
        std::thread::yield_now();
    };
    assert_eq!(next, Lsn(accepted + 1));
    for tag in 0..=accepted {
        assert_eq!(outcomes.next_durable().0, tag);
    }
    drop(wal);
    assert_eq!(numbers(&open(live.path(), 2).2), (1..=accepted + 1).collect::<Vec<_>>());
}

/// Frames were let into a segment on credit, then the disk turns out to be full and the log closes.
#[test]
fn closing_answers_frames_that_wait_for_space() {
    let live = folder();
    let full = Arc::new(AtomicBool::new(false));
    let mut options = options(live.path(), 1);
    let disk = Arc::clone(&full);
    options.disk_hook = Some(Arc::new(move |operation| match operation {
        DiskOperation::PrepareSegment { .. } if disk.load(Ordering::SeqCst) => {
            Err(io::ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    }));
    let (wal, ..) = open_with(options).expect("opens");
    full.store(true, Ordering::SeqCst);
    let (outcomes, mut accepted) = (Outcomes::default(), 0);
    while outcomes.append(&wal, accepted, &vec![1; 8 << 10]).is_ok() {
        accepted += 1;
    }
    wal.close();
    let answers: Vec<_> = (0..accepted).map(|_| outcomes.next().1).collect();
    let durable = answers.iter().take_while(|answer| answer.is_ok()).count();
    let closed = |answer: &Result<_, _>| matches!(answer, Err(AppendFailed::Closed { .. }));
    assert!(durable > 0 && answers[durable..].iter().all(closed), "{durable} of {accepted}");
    drop(wal);
    assert_eq!(open(live.path(), 2).2.len(), durable);
}

/// A broker that was killed on a full disk starts, serves what it has, and goes on when there is room.
#[test]
fn opening_on_a_full_file_system_recovers_and_waits_for_room() {
    let left = crashed_log(5);
    let full = Arc::new(AtomicBool::new(true));
    let open_full = |epoch| {
        let (mut options, disk) = (options(left.path(), epoch), Arc::clone(&full));
        options.disk_hook = Some(Arc::new(move |operation| match operation {
            DiskOperation::PrepareSegment { .. } if disk.load(Ordering::SeqCst) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }));
        open_with(options).expect("opens")
    };
    let (outcomes, no_room) = (Outcomes::default(), Shortage::FileSystem);
    for epoch in 2..=3 {
        let (wal, report, found) = open_full(epoch);
        assert_eq!(numbers(&found), [1, 2, 3, 4, 5], "in epoch {epoch}");
        assert_eq!(report.next_lsn, Lsn(6));
        let refused = outcomes.append(&wal, 6, &payload(6)).expect_err("there is no room");
        assert!(
            matches!(refused, AppendError::Full { shortage, .. } if shortage == no_room),
            "{refused}"
        );
        wal.close();
    }
    let (wal, ..) = open_full(4);
    full.store(false, Ordering::SeqCst);
    while let Err(refused) = outcomes.append(&wal, 6, &payload(6)) {
        assert_eq!(refused.kind(), ErrorKind::Retry, "{refused}");
        std::thread::yield_now();
    }
    assert_eq!(outcomes.next_durable().0, 6);
    drop(wal);
    assert_eq!(numbers(&open(left.path(), 5).2), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_panicking_completion_fails_the_log_but_everyone_is_answered() {
    let live = folder();
    let ((at_disk, reached), (release, released)) = (channel(), channel::<()>());
    let released = Mutex::new(released);
    let mut options = options(live.path(), 1);
    options.writers = 1;
    options.disk_hook = Some(Arc::new(move |operation| {
        if let DiskOperation::WriteGroup { first_lsn: Lsn(1), .. } = operation {
            at_disk.send(()).map_err(io::Error::other)?;
            released.lock().recv().map_err(io::Error::other)?;
        }
        Ok(())
    }));
    let (wal, ..) = open_with(options).expect("opens");
    wal.append(0, &mut |_| {}, Box::new(|_| panic!("a defect of the caller"))).expect("room");
    reached.recv().expect("frame 1 reaches the disk");
    let outcomes = Outcomes::default();
    outcomes.append(&wal, 2, b"behind").expect("room");
    release.send(()).expect("the writer waits");
    let (tag, result) = outcomes.next();
    assert!(tag == 2 && result.is_err(), "{result:?}");
    assert!(matches!(wal.failure(), Some(FatalFault::Panicked { .. })));
}

#[test]
fn a_panicking_fill_claims_nothing() {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    let panicking = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wal.append(10, &mut |_| panic!("a defect of the caller"), Box::new(|_| {}))
    }));
    assert!(panicking.is_err());
    append_groups(&wal, 1..=3);
    drop(wal);
    assert_eq!(numbers(&open(live.path(), 2).2), [1, 2, 3]);
}

#[test]
fn closing_from_a_completion_does_not_wait_for_itself() {
    let live = folder();
    let (wal, ..) = open(live.path(), 1);
    let (wal, (sender, receiver)) = (Arc::new(wal), channel());
    let inner = Arc::clone(&wal);
    let close = move |_: Result<_, _>| {
        inner.close();
        sender.send(()).expect("the test waits");
    };
    wal.append(1, &mut |space| space.fill(1), Box::new(close)).expect("room");
    receiver.recv_timeout(Duration::from_secs(60)).expect("closed");
    wal.close();
}

#[test]
fn the_backlog_is_bounded() {
    let live = folder();
    let ((at_disk, reached), (release, released)) = (channel(), channel::<()>());
    let released = Mutex::new(released);
    let mut options = options(live.path(), 1);
    (options.writers, options.backlog_bytes) = (1, ByteCount(10 << 10));
    options.disk_hook = Some(Arc::new(move |operation| {
        if let DiskOperation::WriteGroup { first_lsn: Lsn(1), .. } = operation {
            at_disk.send(()).map_err(io::Error::other)?;
            released.lock().recv().map_err(io::Error::other)?;
        }
        Ok(())
    }));
    let (wal, ..) = open_with(options).expect("opens");
    let outcomes = Outcomes::default();
    outcomes.append(&wal, 0, b"stuck").expect("room");
    reached.recv().expect("frame 1 reaches the disk");
    let mut accepted = 0;
    let refused = loop {
        match outcomes.append(&wal, 1, &[0; 1000]) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    let AppendError::Full { shortage, .. } = refused else { panic!("{refused}") };
    assert_eq!((shortage, accepted), (Shortage::Backlog, 9));
    release.send(()).expect("the writer waits");
    (0..=accepted).for_each(|_| drop(outcomes.next_durable()));
    outcomes.append(&wal, 2, &[0; 1000]).expect("room again");
}

#[test]
fn the_memory_log_holds_releases_and_crashes_on_demand() {
    let wal = MemoryWal::new(MemoryWalOptions::default());
    let outcomes = Outcomes::default();
    wal.hold();
    for tag in 1..=5 {
        outcomes.append(&wal, tag, &payload(tag)).expect("room");
    }
    assert!(outcomes.is_empty() && wal.durable() == Lsn::ZERO);
    wal.release(2);
    assert_eq!((outcomes.next_durable().0, outcomes.next_durable().0), (1, 2));
    assert!(outcomes.is_empty() && wal.durable() == Lsn(2));
    let survivors = wal.crash();
    assert!((3..=5).all(|tag| matches!(outcomes.next(), (t, Err(_)) if t == tag)));
    let mut found = Vec::new();
    let options = MemoryWalOptions { epoch: antiphon_common::WalEpoch(2), ..Default::default() };
    let again = MemoryWal::reopen(options, survivors, &mut |frame| found.push(frame));
    assert_eq!(numbers(&found), [1, 2]);
    assert_eq!(outcomes.append(&again, 3, &payload(3)).expect("room"), Lsn(3));
}
