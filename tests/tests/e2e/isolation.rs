//! Replay beside live traffic: where connections run, which memory is charged, and what of it is
//! refused.

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, BrokerSetup, Fetch, Kafka, TestBroker, eventually, shared};

use crate::fetching::into_history;

fn fetch_all(client: &mut Kafka, topic: &str) -> usize {
    client.read_all(topic, 0).len()
}

#[test]
fn a_connection_that_replays_moves_until_it_has_caught_up() {
    let _turn = shared();
    let mut broker = BrokerSetup::named("moving").with_http().start();
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["a", "b", "c"]));
    into_history(&mut broker);
    let mut live = broker.client();
    live.produce("t", 0, &Batch::of(&["d"]));
    assert_eq!(live.fetch("t", 0, 3).stored().len(), 1, "the tail alone");
    assert_eq!(broker.metric("antiphon_history_connections"), 0);

    let mut replay = broker.client();
    assert_eq!(replay.fetch("t", 0, 0).stored().len(), 3, "history");
    assert_eq!(broker.metric("antiphon_history_connections"), 1);
    assert_eq!(replay.end_offset("t", 0), 4, "other requests are served where it is");
    for _ in 0..3 {
        assert_eq!(replay.fetch("t", 0, 3).stored().len(), 1);
    }
    eventually("the move back", || {
        (broker.metric("antiphon_history_connections") == 0).then_some(())
    });
    assert_eq!(broker.metric("antiphon_history_connections_moved_total"), 1);
    replay.produce("t", 0, &Batch::of(&["e"]));
    assert_eq!(fetch_all(&mut replay, "t"), 5, "and it can go again");
    assert_eq!(broker.metric("antiphon_history_connections_moved_total"), 2);
    assert_eq!(broker.metric("antiphon_response_bytes"), 0, "all room is given back");
    assert_eq!(broker.metric("antiphon_request_bytes"), 0);
}

#[test]
fn a_damaged_object_harms_its_own_partition_only() {
    let _turn = shared();
    let setup = BrokerSetup::named("damaged").expect_log("history could not be read");
    let mut broker = setup.start();
    let mut client = broker.client();
    client.create_topic("t", 3);
    for partition in 0..3 {
        client.produce("t", partition, &Batch::of_size(300_000));
    }
    into_history(&mut broker);
    break_one_object(&broker, 300_000);
    let wide =
        Fetch { wait_ms: 500, min_bytes: 1, max_bytes: 8 << 20, partition_max_bytes: 1 << 20 };
    let found = broker.client().fetch_many("t", &[(0, 0), (1, 0), (2, 0)], wide);
    let errors: Vec<ErrorCode> = found.iter().map(|one| one.error).collect();
    let damaged = found.iter().filter(|one| one.error != ErrorCode::NONE).count();
    assert_eq!(damaged, 1, "{errors:?}");
    for one in &found {
        if one.error == ErrorCode::NONE {
            assert!(one.records.len() >= 300_000, "partition {} is unharmed", one.partition);
        } else {
            assert_eq!(one.error, ErrorCode::KAFKA_STORAGE_ERROR);
            assert!(one.error.is_retriable());
        }
    }
}

/// Flips a bit in the first partition's data, which an object starts with.
fn break_one_object(broker: &TestBroker, at_least: u64) {
    let objects = broker.data_dir().join("store").join("objects");
    let mut folders = vec![objects];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the store can be listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if entry.metadata().expect("a file has a size").len() > at_least {
                let mut bytes = std::fs::read(&path).expect("the object can be read");
                bytes[100_000] ^= 1;
                std::fs::write(&path, bytes).expect("the object can be written");
                return;
            }
        }
    }
    panic!("no object to break");
}

#[test]
fn budgets_that_the_machine_does_not_have_are_refused_in_one_line() {
    let setup = BrokerSetup::named("too-much").flag("--tail-memory", "900TiB");
    let refused = setup.prepare().refused_start();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(refused.stderr.trim().lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("lower --tail-memory"), "{}", refused.stderr);
}

#[test]
fn small_budgets_make_wait_and_lose_nothing() {
    let _turn = shared();
    let setup = BrokerSetup::named("small-budgets")
        .with_http()
        .flag("--tail-memory", "16MiB")
        .flag("--request-memory", "4MiB")
        .flag("--response-memory", "4MiB")
        .flag("--cache-memory", "4MiB");
    let mut broker = setup.start();
    broker.client().create_topic_with("t", 4, &[("max.message.bytes", "4000000")]);
    std::thread::scope(|scope| {
        for partition in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = broker.client();
                for _ in 0..12 {
                    client.produce("t", partition, &Batch::of_size(1 << 20));
                }
            });
        }
    });
    // The limit is soft by what each connection had read when it was reached.
    let (held, limit) = (broker.metric("antiphon_tail_bytes"), 16 << 20);
    assert!(held < limit + 4 * (5 << 18), "{held} bytes of tail after 48 MiB");
    into_history(&mut broker);
    std::thread::scope(|scope| {
        for partition in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                assert_eq!(broker.client().read_all("t", partition).len(), 12);
            });
        }
    });
    assert!(broker.metric("antiphon_history_cache_bytes") <= 4 << 20);
    assert_eq!(broker.metric("antiphon_response_bytes"), 0);
    assert_eq!(broker.metric("antiphon_response_limit_bytes"), 4 << 20);
}

/// A thread inherits the niceness of whoever starts it, and cannot lower it again: the log's writers
/// once started on history's runtime, and every acknowledgement waited for replays.
#[test]
fn only_the_threads_of_history_give_way() {
    let _turn = shared();
    let broker = BrokerSetup::named("niceness").start();
    // A thread takes its name when it first runs.
    let threads = eventually("the names of the log's writers", || {
        let threads = niceness_of_threads(broker.pid());
        let writers = threads.iter().filter(|(name, _)| name == "wal-writer").count();
        (writers == 2).then_some(threads)
    });
    let of = |name: &str| -> Vec<i64> {
        threads.iter().filter(|(thread, _)| thread == name).map(|(_, nice)| *nice).collect()
    };
    // The main thread, and threads of its that have not taken their names yet.
    let own = of("antiphon");
    assert!(own.iter().all(|nice| *nice == own[0]), "{threads:?}");
    assert_eq!(of("wal-writer"), [own[0], own[0]], "{threads:?}");
    let (live, history) = (of("live"), of("history"));
    assert!(!live.is_empty() && live.iter().all(|nice| *nice == own[0]), "{threads:?}");
    assert!(!history.is_empty() && history.iter().all(|nice| *nice > own[0]), "{threads:?}");
}

/// Name and niceness (`proc(5)`, field 19 of `stat`) of each thread.
fn niceness_of_threads(pid: u32) -> Vec<(String, i64)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the broker runs");
    let read = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (start, end) = (stat.find('(')?, stat.rfind(')')?);
        let nice = stat[end + 1..].split_ascii_whitespace().nth(16)?;
        Some((stat[start + 1..end].to_owned(), nice.parse().ok()?))
    };
    tasks.flatten().filter_map(read).collect()
}
