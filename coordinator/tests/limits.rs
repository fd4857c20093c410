//! What is refused, and what survives it.

mod support;

use std::time::Duration;

use antiphon_coordinator::*;
use bytes::Bytes;
use support::{World, script, text};

fn run(world: &mut World, lines: &[&str]) -> Vec<String> {
    lines.iter().flat_map(|line| script::run(world, line)).collect()
}

#[test]
fn a_full_group_takes_nobody_more_but_keeps_whom_it_has() {
    let options = GroupOptions { group_size_max: 1, ..GroupOptions::default() };
    let mut world = World::new(options);
    run(&mut world, &["@1 join g a version:3 instance:one", "wait 3s"]);
    let refused = run(&mut world, &["@2 join g b version:3"]);
    assert_eq!(refused, ["@2 join refused GroupMaxSizeReached member="]);
    let replaced = run(&mut world, &["@3 join g a version:3 instance:one"]);
    assert_eq!(
        replaced,
        ["@3 joined one#03 generation=2 protocol=range leader=one#03 members=[one#03(one)=-]"]
    );
}

#[test]
fn a_group_loaded_beyond_its_size_shrinks() {
    let mut world = World::new(GroupOptions::default());
    run(&mut world, &["@1 join g a version:3", "@2 join g b version:3", "wait 6s"]);
    run(&mut world, &["@3 sync g member:a#01 generation:1", "durable 1"]);
    world.options.group_size_max = 1;
    run(&mut world, &["crash"]);
    assert_eq!(run(&mut world, &["heartbeat g member:a#01 generation:1"]), ["RebalanceInProgress"]);
    let joined = run(&mut world, &["@4 join g b member:b#02", "@5 join g a member:a#01"]);
    assert_eq!(
        joined,
        [
            "@4 joined b#02 generation=2 protocol=range leader=b#02 members=[b#02=-]",
            "@5 join refused GroupMaxSizeReached member=a#01"
        ]
    );
}

#[test]
fn metadata_is_bounded() {
    let mut world = World::new(GroupOptions::default());
    let mut request = JoinGroup {
        group_id: "g".into(),
        member_id: MemberId::default(),
        group_instance_id: None,
        client_id: "a".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol {
            name: "range".to_owned(),
            metadata: Bytes::from(vec![0; limits::MEMBER_METADATA_BYTES_MAX]),
        }],
        require_known_member_id: false,
        skip_assignment_supported: true,
        fresh_uuid: world.fresh_uuid(),
    };
    assert_eq!(refusal(&mut world, 1, &request), Some(GroupError::PolicyViolation));
    request.protocols[0].metadata.truncate(limits::MEMBER_METADATA_BYTES_MAX - 5);
    let mut members = 0;
    while refusal(&mut world, 10 + members, &request).is_none() {
        members += 1;
        request.fresh_uuid = world.fresh_uuid();
    }
    assert_eq!(
        members as usize,
        limits::GROUP_METADATA_BYTES_MAX / limits::MEMBER_METADATA_BYTES_MAX
    );
    request.group_id = "x".repeat(limits::NAME_BYTES_MAX + 1).as_str().into();
    assert_eq!(refusal(&mut world, 2, &request), Some(GroupError::InvalidGroupId));
    request.group_id = GroupId::default();
    assert_eq!(refusal(&mut world, 3, &request), Some(GroupError::InvalidGroupId));
    request.group_id = "h".into();
    request.client_id = "x".repeat(limits::NAME_BYTES_MAX + 1);
    assert_eq!(refusal(&mut world, 4, &request), Some(GroupError::InvalidRequest));
    assert_eq!(world.shard.group_count(), 1);
}

fn refusal(world: &mut World, token: u64, request: &JoinGroup) -> Option<GroupError> {
    let token = world.ask(ReplyToken(token));
    let effects = world.shard.join(token, request, world.now());
    match world.take(effects).replies.pop() {
        Some((_, Reply::Join(Err(refused)))) => Some(refused.error),
        _ => None,
    }
}

#[test]
fn offset_metadata_is_bounded_partition_by_partition() {
    let mut world = World::new(GroupOptions::default());
    let fits = "m".repeat(4_096);
    let committed = run(&mut world, &[&format!("@1 commit g t-0=1 metadata:{fits}"), "durable 1"]);
    assert_eq!(committed.last().map(String::as_str), Some("@1 committed ok"));
    let refused = run(&mut world, &[&format!("@2 commit h t-0=1 metadata:{fits}m")]);
    assert_eq!(refused, ["@2 committed OffsetMetadataTooLarge"]);
    assert_eq!(run(&mut world, &["describe h"]), ["GroupIdNotFound"]);
}

#[test]
fn a_shard_that_loads_serves_nobody() {
    let mut world = World::new(GroupOptions::default());
    world.shard = GroupShard::new(GroupOptions::default());
    let answers = run(
        &mut world,
        &[
            "@1 join g a",
            "@2 sync g member:a generation:1",
            "@3 commit g t-0=1",
            "@4 leave g a",
            "@5 delete g",
            "heartbeat g member:a generation:1",
            "describe g",
        ],
    );
    assert!(
        answers.iter().all(|answer| answer.contains("CoordinatorLoadInProgress")),
        "{answers:?}"
    );
    assert_eq!(answers.len(), 7);
    assert_eq!(world.shard.next_deadline(), None);
}

#[test]
fn records_that_cannot_be_understood_are_counted_and_skipped() {
    let mut shard = GroupShard::new(GroupOptions::default());
    let group_key = Bytes::from_static(b"\0\x02\0\x01g");
    let records = [
        (Bytes::from_static(b"\0\x03\0\x01g"), Some("\0\0\0\0\0\x01"), Replayed::Unknown),
        (group_key.clone(), Some("\0\x09"), Replayed::Unknown),
        (group_key, Some("\0\x03\0\x50"), Replayed::Corrupt),
        (Bytes::new(), None, Replayed::Corrupt),
        (Bytes::from_static(b"\0\x01\0\x01g\0\x01t\0\0\0\0"), None, Replayed::Applied),
    ];
    for (key, value, expected) in records {
        let value = value.map(Bytes::from);
        assert_eq!(shard.replay(&key, value.as_ref()), expected);
    }
    assert_eq!(shard.replay_stats(), ReplayStats { applied: 1, unknown: 2, corrupt: 2 });
    assert_eq!(shard.group_count(), 0);
}

#[test]
fn a_shard_that_resigns_answers_everybody() {
    let mut world = World::new(GroupOptions::default());
    run(&mut world, &["@1 join g a version:3", "@2 join g b version:3", "wait 6s"]);
    run(&mut world, &["@3 sync g member:a#01 generation:1", "@4 sync g member:b#02 generation:1"]);
    run(&mut world, &["@5 commit h t-0=1", "@6 join i c version:3"]);
    let shard = std::mem::replace(&mut world.shard, GroupShard::new(GroupOptions::default()));
    let effects = shard.resign(world.now());
    let effects = world.take(effects);
    assert!(world.waiting.is_empty());
    assert!(effects.appends.is_empty());
    let answers = text::effects(&effects);
    assert!(answers.iter().all(|answer| answer.contains("NotCoordinator")), "{answers:?}");
}

#[test]
fn large_groups_are_deleted_in_several_appends() {
    let mut world = World::new(GroupOptions::default());
    let count = limits::TOMBSTONES_PER_APPEND_MAX + 1;
    let offsets: Vec<String> = (0..count).map(|index| format!("t-{index}=1")).collect();
    run(&mut world, &[&format!("@1 commit g {}", offsets.join(" ")), "durable 1"]);
    let token = world.ask(ReplyToken(2));
    let effects = world.shard.delete_group(token, &"g".into(), world.now());
    let effects = world.take(effects);
    let sizes: Vec<usize> = effects.appends.iter().map(|append| append.records.len()).collect();
    assert_eq!(sizes, [count - 1, 2]);
    assert_eq!(run(&mut world, &["durable 2", "durable 3"]), ["@2 group deleted"]);
    assert_eq!((world.shard.group_count(), world.shard.offset_count()), (0, 0));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut world = World::new(GroupOptions::default());
    run(&mut world, &["@1 join busy a version:3", "@2 commit idle t-0=1", "durable 1"]);
    let list = |states: &[&str], types: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let filter = ListFilter { states: owned(states), types: owned(types) };
        let listed = world.shard.list(&filter).expect("a loaded shard");
        listed.into_iter().map(|group| group.group_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[], &[]), ["busy", "idle"]);
    assert_eq!(list(&["empty"], &["Classic"]), ["idle"]);
    assert_eq!(list(&["PreparingRebalance", "Stable"], &[]), ["busy"]);
    assert!(list(&[], &["consumer"]).is_empty());
}

#[test]
fn deadlines_are_told_in_advance() {
    let mut world = World::new(GroupOptions::default());
    run(&mut world, &["@1 join g a version:3"]);
    assert_eq!(world.shard.next_deadline(), Some(Duration::from_secs(3)));
}
