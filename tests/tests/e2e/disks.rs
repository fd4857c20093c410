//! A disk that fails under a running broker.
//!
//! How a failing disk is made without one, and without privileges: the kernel itself refuses the
//! write. With `RLIMIT_FSIZE` lowered under the running process, a write of the log that reaches
//! beyond the limit is cut off there and the rest gets `EFBIG`, from the same system call, on the same
//! real file, as an I/O error would. The log writes with `O_DSYNC`, so a write is also its sync: for
//! the broker there is no difference between a write that fails and a sync that fails. (A device whose
//! `fdatasync` alone fails takes a device mapper and root; `wal/tests/faults.rs` injects that one.)

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, BrokerSetup, bytes_written, eventually, limit_file_size, shared};

/// The limit's signal is ignored, as `EFBIG` is then all that happens; ignoring is inherited.
const IGNORING_THE_SIGNAL: [&str; 3] = ["sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#];
/// In the middle of a segment of 64 MiB, behind what a few records take.
const LIMIT: u64 = (1 << 20) + 4096;
/// The log fills the next segment with zeros ahead of need.
const PREPARED_BYTES: u64 = 64 << 20;
const FATAL: u8 = 3;

#[test]
fn a_write_that_the_disk_refuses_ends_the_process_and_loses_nothing_acked() {
    let _turn = shared();
    let setup = BrokerSetup::named("failing-disk").through(&IGNORING_THE_SIGNAL);
    let mut broker = setup
        .flag("--flush-interval", "3600")
        .expect_log("cannot go on")
        .expect_log("write-ahead log failed")
        .start();
    let mut client = broker.client();
    client.create_topic("t", 1);
    let mut acked: Vec<_> =
        (0..3).map(|_| client.produce("t", 0, &Batch::of(&["before"]))).collect();
    // So that the limit meets a write of records, not the preparation of a file (which is as fatal).
    let pid = broker.pid();
    eventually("a spare segment", || (bytes_written(pid) >= PREPARED_BYTES).then_some(()));
    limit_file_size(pid, LIMIT);
    // Larger than what is left of the file, if each is acknowledged.
    for _ in 0..40 {
        let answer = client.try_produce("t", 0, Batch::of_size(100_000).bytes());
        let Ok(answer) = answer else { break };
        if answer.error != ErrorCode::NONE {
            break;
        }
        acked.push(answer.base_offset);
    }
    assert_eq!(broker.await_end().code(), Some(i32::from(FATAL)), "the exit code");
    assert_eq!(broker.journal().count("cannot go on"), 1);
    assert!(acked.len() < 40, "the limit of the disk was never reached");

    // The next process has a disk that works, and finds a torn tail.
    broker.start_again();
    let offsets: Vec<_> =
        broker.client().read_all("t", 0).iter().map(|record| record.offset).collect();
    assert!(offsets.len() >= acked.len(), "{} of {} are there", offsets.len(), acked.len());
    assert_eq!(offsets[..acked.len()], acked);
    assert!(broker.client().produce("t", 0, &Batch::of(&["after"])) >= offsets.len() as i64);
    assert!(broker.terminate().success());
}
