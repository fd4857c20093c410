//! Clients that stand still, and clients in great numbers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use antiphon_tests::{
    Batch, Fetch, Kafka, RawClient, alone, eventually, fetch_request, figure, produce_request,
};
use kafka_protocol::messages::{FetchRequest, MetadataRequest};

use crate::siege::Siege;

/// As many connections as wanted, or a clear word about the machine.
fn connections(siege: &Siege, count: usize) -> Vec<TcpStream> {
    let address = siege.broker.address();
    let connect = |_| TcpStream::connect(address).expect("is `ulimit -n` below 4096?");
    (0..count).map(connect).collect()
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let _turn = alone();
    let mut siege = Siege::begin("bytewise");
    let mut streams = connections(&siege, 50);
    // Metadata v1 for all topics.
    let request = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for byte in request {
        for stream in &mut streams {
            stream.write_all(&[byte]).expect("the broker is patient");
        }
        thread::sleep(Duration::from_millis(10));
    }
    siege.canary_sings();
    for stream in &mut streams {
        let mut head = [0; 8];
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.read_exact(&mut head).expect("an answer");
        assert_eq!(head[4..], [0, 0, 0, 9]);
    }
    drop(streams);
    siege.survived("slow writers");
}

#[test]
fn a_started_frame_that_stands_still_is_cut_off() {
    let _turn = alone();
    let mut siege = Siege::begin("stalled");
    let mut raw = siege.raw();
    raw.send_bytes(&[0, 0, 0, 100, 0, 3]).expect("sent");
    // The limit is 30 seconds.
    assert!(raw.is_closed_within(Duration::from_secs(45)), "a stalled frame lives on");
    siege.survived("a stalled frame");
}

#[test]
fn a_thousand_idle_connections() {
    let _turn = alone();
    let mut siege = Siege::begin("idle");
    let streams = connections(&siege, 1_000);
    siege.canary_sings();
    let with_all = siege.broker.footprint();
    assert!(with_all.descriptors > 1_000);
    figure(&format!("memory with 1000 idle connections: {} bytes", with_all.resident));
    drop(streams);
    siege.survived("idle connections");
}

#[test]
fn claims_of_large_frames_cost_nothing() {
    let _turn = alone();
    let mut siege = Siege::begin("claims");
    let mut streams = connections(&siege, 200);
    for stream in &mut streams {
        // 100 MiB of Produce are coming, says the client, and sends nothing of them.
        let size: i32 = 100 << 20;
        stream.write_all(&[&size.to_be_bytes()[..], &[0, 0, 0, 9]].concat()).expect("sent");
    }
    // An ordinary produce needs no place in the budget of the large ones.
    siege.canary_sings();
    let claimed = siege.broker.footprint().resident;
    figure(&format!("memory with 200 claims of 100 MiB: {claimed} bytes"));
    drop(streams);
    siege.survived("claims of large frames");
}

/// Twenty clients, each of which has asked for all of a topic.
fn ask_for_everything(siege: &Siege) -> Vec<(RawClient, i32)> {
    let ask = |_| {
        let mut raw = siege.raw();
        let id = raw.send(12, &fetch_request("t", &[(0, 0)], Fetch::default())).expect("sent");
        (raw, id)
    };
    (0..20).map(ask).collect()
}

#[test]
fn large_answers_that_nobody_reads() {
    let _turn = alone();
    let mut siege = Siege::begin("unread");
    let mut client = siege.broker.client();
    for _ in 0..40 {
        client.produce("t", 0, &Batch::of_size(1_000_000));
    }
    // Its records are in objects and no longer in memory.
    siege.broker.restart();
    // The same number of clients that do read their answers fill caches and the allocator's lists.
    for (mut raw, id) in ask_for_everything(&siege) {
        raw.receive::<FetchRequest>(12, id).expect("an answer");
    }
    let mut siege = Siege::renewed(siege);
    let clients = ask_for_everything(&siege);
    thread::sleep(Duration::from_secs(1));
    siege.canary_sings();
    let resident = siege.broker.footprint().resident;
    figure(&format!("memory with 20 unread answers of 40 MiB: {resident} bytes"));
    // The budget of responses is 256 MiB; each of these alone asks for 50.
    assert!(resident < 600 << 20, "{resident}");
    drop(clients);
    siege.survived("unread answers");
}

/// Long polls hold no memory, however much they might once be answered with.
#[test]
fn waiting_readers_do_not_delay_another() {
    let _turn = alone();
    let mut siege = Siege::begin("waiting");
    let how = Fetch { wait_ms: 8_000, ..Fetch::default() };
    let waiting: Vec<(RawClient, i32)> = (0..50)
        .map(|_| {
            let mut raw = siege.raw();
            let id = raw.send(12, &fetch_request("t", &[(0, 0)], how)).expect("sent");
            (raw, id)
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    siege.canary_sings();
    siege.broker.client().produce("t", 0, &Batch::of(&["for all"]));
    for (mut raw, id) in waiting {
        let answer = raw.receive::<FetchRequest>(12, id).expect("an answer");
        let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        assert_eq!(antiphon_tests::stored(&records).len(), 1);
    }
    siege.survived("waiting readers");
}

#[test]
fn requests_are_sent_and_nobody_waits_for_the_answers() {
    let _turn = alone();
    let mut siege = Siege::begin("hit-and-run");
    for round in 0..300 {
        let mut raw = siege.raw();
        if round % 2 == 0 {
            let batch = Batch::of_size(50_000).bytes();
            raw.send(9, &produce_request("t", 0, batch, -1)).expect("sent");
        } else {
            raw.send(9, &MetadataRequest::default().with_topics(None)).expect("sent");
        }
    }
    siege.survived("hit and run");
    // The last of the requests may still be at work.
    let mut client: Kafka = siege.broker.client();
    eventually("a log without gaps", || {
        let records = client.read_all("t", 0).len() as i64;
        (records == client.end_offset("t", 0)).then_some(())
    });
}
