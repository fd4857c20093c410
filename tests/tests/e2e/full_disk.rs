//! A disk that fills up under a broker, in mid-produce and across a kill -9, and is then enlarged.
//!
//! The disk is a `tmpfs` of a given size, which takes the right to mount: root, or a namespace of one's
//! own (`unshare --mount --map-root-user tests/run e2e`).

use std::path::{Path, PathBuf};
use std::process::Command;

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Appended, Batch, BrokerSetup, Kafka, RawClient, TestBroker, alone, within};
use std::time::Duration;

/// Two segments of the write-ahead log (64 MiB each) and some change: the third does not fit.
const SMALL_MIB: u32 = 144;
const LARGE_MIB: u32 = 1024;
/// A record is its own key, so that a batch is twice this.
const VALUE_BYTES: usize = 400 << 10;
/// More than the small disk holds, several times.
const BATCHES_MAX: usize = 1000;

/// A file system of limited size, mounted while it lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir_all(&at).expect("a folder to mount on");
        let disk = Self(at);
        disk.call(&["mount", "-t", "tmpfs", "-o", &format!("size={SMALL_MIB}m"), "tmpfs"]);
        disk
    }

    fn enlarge(&self) {
        self.call(&["mount", "-o", &format!("remount,size={LARGE_MIB}m")]);
    }

    fn call(&self, command: &[&str]) {
        let done = Command::new(command[0]).args(&command[1..]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "{command:?}: may we mount?");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the broker, which is dropped later, still has files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Produces until the broker says that it has no room; how many batches it acked.
fn fill(broker: &TestBroker) -> usize {
    let mut client = broker.client();
    for acked in 0..BATCHES_MAX {
        let appended = produce(&mut client, acked);
        if appended.error != ErrorCode::NONE {
            assert_eq!(appended.error, ErrorCode::KAFKA_STORAGE_ERROR);
            return acked;
        }
        assert_eq!(appended.base_offset, acked as i64);
    }
    panic!("the disk never filled");
}

fn produce(client: &mut Kafka, number: usize) -> Appended {
    client.try_produce("t", 0, batch(number).bytes()).expect("an answer, even without room")
}

fn batch(number: usize) -> Batch {
    let mut value = vec![b'x'; VALUE_BYTES];
    value[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Batch::of_bytes(vec![value])
}

fn expect_all(broker: &TestBroker, acked: usize) {
    let stored = broker.client().read_all("t", 0);
    assert_eq!(stored.len(), acked);
    for (number, record) in stored.iter().enumerate() {
        let value = &record.value;
        assert_eq!(value[..8], (number as u64).to_be_bytes(), "at offset {number}");
        assert_eq!(value.len(), VALUE_BYTES);
    }
}

fn small_broker(disk: &Path) -> BrokerSetup {
    let store = tempfile::tempdir_in(disk).expect("a folder for the store").keep();
    BrokerSetup::named("full-disk")
        .flag("--store", format!("file://{}", store.display()))
        .expect_log("no space")
        .expect_log("No space left on device")
        .expect_log("flush failed")
}

#[test]
fn a_full_disk_refuses_producers_serves_readers_and_survives_kill_9() {
    let _turn = alone();
    let home = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(home.path().join("disk"));
    let mut broker = small_broker(&disk.0).prepare();
    broker.use_data_dir(disk.0.join("data"));
    broker.start_again();
    broker.client().create_topic("t", 1);
    let acked = fill(&broker);
    expect_all(&broker, acked);

    for _ in 0..2 {
        broker.kill_9();
        broker.start_again();
        expect_all(&broker, acked);
        assert_eq!(produce(&mut broker.client(), acked).error, ErrorCode::KAFKA_STORAGE_ERROR);
    }

    disk.enlarge();
    within(Duration::from_secs(30), "room again", || {
        let mut client = Kafka::new(RawClient::connect(broker.address()).ok()?);
        (produce(&mut client, acked).error == ErrorCode::NONE).then_some(())
    });
    expect_all(&broker, acked + 1);
    assert!(broker.terminate().success(), "with room, everything is uploaded");
    assert_eq!(broker.journal().count("the store is complete"), 1);
    broker.delete_data_dir();
    broker.start_again();
    expect_all(&broker, acked + 1);
}
