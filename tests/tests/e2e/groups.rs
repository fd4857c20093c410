//! Consumer groups over the wire.

use antiphon_protocol::ErrorCode;
use antiphon_tests::{BrokerSetup, Kafka, TestBroker, eventually, shared, text};
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

const GROUP: &str = "readers";

fn broker(name: &str) -> TestBroker {
    BrokerSetup::named(name).flag("--group-initial-rebalance-delay-ms", 0).start()
}

fn join_request(member: &str, instance: Option<&str>) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"subscription"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
        .with_reason(None)
}

/// Joins with an empty member id, as a new consumer does, answering what the coordinator asks.
fn join(client: &mut Kafka, instance: Option<&str>) -> JoinGroupResponse {
    client.find_coordinator(GROUP);
    let first = eventually("the coordinator", || {
        let answer = client.call(9, &join_request("", instance));
        let loading = ErrorCode(answer.error_code).is_retriable();
        (!loading).then_some(answer)
    });
    if ErrorCode(first.error_code) != ErrorCode::MEMBER_ID_REQUIRED {
        return first;
    }
    client.call(9, &join_request(&first.member_id, instance))
}

fn sync(client: &mut Kafka, joined: &JoinGroupResponse, instance: Option<&str>) -> Bytes {
    let leads = joined.leader == joined.member_id;
    let assign = |member: &StrBytes| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.clone())
            .with_assignment(Bytes::from(format!("for {member}")))
    };
    let assignments =
        joined.members.iter().filter(|_| leads).map(|member| assign(&member.member_id)).collect();
    let request = SyncGroupRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments);
    let answer = client.call(5, &request);
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::NONE);
    answer.assignment
}

fn heartbeat(client: &mut Kafka, joined: &JoinGroupResponse, instance: Option<&str>) -> ErrorCode {
    let request = HeartbeatRequest::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_group_instance_id(instance.map(text));
    ErrorCode(client.call(4, &request).error_code)
}

fn leave(client: &mut Kafka, member: &str, instance: Option<&str>) -> ErrorCode {
    let member = MemberIdentity::default()
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_reason(None);
    let request =
        LeaveGroupRequest::default().with_group_id(GroupId(text(GROUP))).with_members(vec![member]);
    let answer = client.call(5, &request);
    assert_eq!(answer.error_code, 0);
    ErrorCode(answer.members[0].error_code)
}

#[test]
fn members_join_sync_beat_and_leave() {
    let _turn = shared();
    let broker = broker("members");
    let mut first = broker.client();
    let joined = join(&mut first, None);
    assert_eq!(joined.error_code, 0);
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(sync(&mut first, &joined, None), format!("for {}", joined.member_id));
    assert_eq!(heartbeat(&mut first, &joined, None), ErrorCode::NONE);

    // A second member makes the first one join again; the leader assigns to both.
    let (rejoined, second_joined) = std::thread::scope(|scope| {
        let second = scope.spawn(|| join(&mut broker.client(), None));
        eventually("the rebalance", || {
            let beat = heartbeat(&mut first, &joined, None);
            (beat == ErrorCode::REBALANCE_IN_PROGRESS).then_some(())
        });
        let rejoined = first.call(9, &join_request(&joined.member_id, None));
        (rejoined, second.join().expect("the second member failed"))
    });
    assert_eq!((rejoined.error_code, second_joined.error_code), (0, 0));
    assert_eq!(rejoined.generation_id, joined.generation_id + 1);
    assert_eq!(rejoined.members.len(), 2);
    assert_eq!(second_joined.leader, rejoined.member_id);
    assert_eq!(sync(&mut first, &rejoined, None), format!("for {}", rejoined.member_id));
    let mut second = broker.client();
    let assigned = sync(&mut second, &second_joined, None);
    assert_eq!(assigned, format!("for {}", second_joined.member_id));

    // The old generation is over.
    assert_eq!(heartbeat(&mut first, &joined, None), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(leave(&mut second, &second_joined.member_id, None), ErrorCode::NONE);
    assert_eq!(heartbeat(&mut second, &second_joined, None), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(heartbeat(&mut first, &rejoined, None), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let _turn = shared();
    let broker = broker("static");
    let mut client = broker.client();
    let instance = Some("desk-1");
    let joined = join(&mut client, instance);
    let assignment = sync(&mut client, &joined, instance);
    let again = join(&mut broker.client(), instance);
    assert_eq!(again.generation_id, joined.generation_id, "no rebalance");
    assert_ne!(again.member_id, joined.member_id);
    assert_eq!(sync(&mut broker.client(), &again, instance), assignment);
    assert_eq!(heartbeat(&mut client, &joined, instance), ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(heartbeat(&mut client, &again, instance), ErrorCode::NONE);
    assert_eq!(leave(&mut client, "", instance), ErrorCode::NONE);
}

#[test]
fn commits_survive_kill_9_at_once() {
    let _turn = shared();
    let mut broker = broker("commits");
    broker.client().create_topic("t", 2);
    for round in 1..=5 {
        broker.client().commit(GROUP, "t", 0, round * 10);
        broker.client().commit("another group / with: odd\u{7f} name", "t", 1, round);
        broker.kill_9();
        broker.start_again();
        let mut client = broker.client();
        assert_eq!(client.committed(GROUP, "t", 0), round * 10);
        assert_eq!(client.committed("another group / with: odd\u{7f} name", "t", 1), round);
        assert_eq!(client.committed(GROUP, "t", 1), -1);
    }
    broker.restart();
    assert_eq!(broker.client().committed(GROUP, "t", 0), 50);
}

#[test]
fn members_and_generations_survive_kill_9() {
    let _turn = shared();
    let mut broker = broker("generations");
    let joined = join(&mut broker.client(), None);
    sync(&mut broker.client(), &joined, None);
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    let beat = eventually("the group", || {
        let code = heartbeat(&mut client, &joined, None);
        (!code.is_retriable() || code == ErrorCode::REBALANCE_IN_PROGRESS).then_some(code)
    });
    assert_eq!(beat, ErrorCode::NONE, "a stable group's members carry on after a restart");
}
