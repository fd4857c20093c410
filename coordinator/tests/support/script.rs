//! The little language of the transcripts. `README` of the folder explains it.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex};
use antiphon_coordinator::*;
use bytes::{BufMut, Bytes, BytesMut};

use super::World;
use super::text;

/// One line of a script: `@token verb word word key=value key=value`.
struct Line<'a> {
    token: ReplyToken,
    verb: &'a str,
    words: Vec<String>,
    options: BTreeMap<&'a str, String>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let mut parts = line.split_whitespace().peekable();
        let token = parts.next_if(|part| part.starts_with('@'));
        let token = token.map_or(0, |token| token[1..].parse().expect("a token's number"));
        let verb = parts.next().expect("a verb");
        let (mut words, mut options) = (Vec::new(), BTreeMap::new());
        for part in parts {
            match part.split_once(':').filter(|(key, _)| key.chars().all(char::is_alphabetic)) {
                Some((key, value)) => drop(options.insert(key, text::long(value))),
                None => words.push(text::long(part)),
            }
        }
        Self { token: ReplyToken(token), verb, words, options }
    }

    fn word(&self, position: usize) -> &str {
        self.words.get(position).map(String::as_str).expect("a word is missing")
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        let parse = |text: &str| text.parse().ok().expect("a number");
        self.option(key).map_or(default, parse)
    }

    fn group(&self) -> GroupId {
        self.word(0).into()
    }

    fn member(&self) -> MemberId {
        self.option("member").unwrap_or_default().into()
    }

    fn instance(&self) -> Option<InstanceId> {
        self.option("instance").map(InstanceId::from)
    }

    fn generation(&self) -> Generation {
        Generation(self.number("generation", -1))
    }
}

/// Runs one line and says what happened, a line each.
pub(crate) fn run(world: &mut World, line: &str) -> Vec<String> {
    let line = Line::parse(line);
    let now = world.now();
    match line.verb {
        "wait" => return wait(world, line.word(0)),
        "durable" => {
            let id = AppendId(line.word(0).parse().expect("an append's number"));
            return text::effects(&world.succeed(id));
        }
        "lost" => {
            let id = AppendId(line.word(0).parse().expect("an append's number"));
            return text::effects(&world.fail(id, AppendError::NotLeader));
        }
        "crash" => return text::effects(&world.restart()),
        "heartbeat" => {
            return vec![match world.shard.heartbeat(&heartbeat(&line), now) {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("{error:?}"),
            }];
        }
        "describe" => {
            return vec![match world.shard.describe(&line.group()) {
                Ok(group) => text::description(&group),
                Err(error) => format!("{error:?}"),
            }];
        }
        "fetch" => return fetch(world, &line),
        _ => {}
    }
    let effects = request(world, &line);
    text::effects(&world.take(effects))
}

fn request(world: &mut World, line: &Line<'_>) -> Effects {
    let now = world.now();
    if line.verb == "topic-deleted" {
        return world.shard.topics_deleted(&[line.word(0).into()], now);
    }
    let token = world.ask(line.token);
    match line.verb {
        "join" => {
            let request = join(world, line);
            world.shard.join(token, &request, now)
        }
        "sync" => world.shard.sync(token, sync(line), now),
        "leave" => world.shard.leave(token, &leave(line), now),
        "commit" => world.shard.commit_offsets(token, commit(line), now),
        "delete" => world.shard.delete_group(token, &line.group(), now),
        "delete-offsets" => world.shard.delete_offsets(token, delete_offsets(line), now),
        verb => panic!("unknown verb {verb}"),
    }
}

fn wait(world: &mut World, duration: &str) -> Vec<String> {
    let (number, unit_ms) = match duration {
        text if text.ends_with("ms") => (text.trim_end_matches("ms"), 1),
        text if text.ends_with('s') => (text.trim_end_matches('s'), 1_000),
        text if text.ends_with('d') => (text.trim_end_matches('d'), 86_400_000),
        text => panic!("no unit in {text}"),
    };
    let number: u64 = number.parse().expect("a duration");
    let start = world.elapsed;
    let happened = world.advance(Duration::from_millis(number * unit_ms));
    let lines = happened.iter().flat_map(|(at, effects)| {
        let after_ms = (*at - start).as_millis();
        text::effects(effects).into_iter().map(move |line| format!("+{after_ms}ms {line}"))
    });
    lines.collect()
}

/// `range=metadata,sticky=metadata`; metadata `[a+b]` is a subscription to topics a and b.
fn protocols(text: &str) -> Vec<Protocol> {
    let protocol = |part: &str| {
        let (name, metadata) = part.split_once('=').unwrap_or((part, ""));
        Protocol { name: name.to_owned(), metadata: metadata_bytes(metadata) }
    };
    text.split(',').map(protocol).collect()
}

fn metadata_bytes(text: &str) -> Bytes {
    let topics = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let Some(topics) = topics else { return Bytes::copy_from_slice(text.as_bytes()) };
    let topics: Vec<&str> = topics.split('+').collect();
    let mut buffer = BytesMut::new();
    buffer.put_i16(0);
    buffer.put_i32(topics.len() as i32);
    for topic in topics {
        buffer.put_i16(topic.len() as i16);
        buffer.put_slice(topic.as_bytes());
    }
    buffer.put_i32(-1);
    buffer.freeze()
}

fn join(world: &mut World, line: &Line<'_>) -> JoinGroup {
    let version = line.number("version", 9);
    JoinGroup {
        group_id: line.group(),
        member_id: line.member(),
        group_instance_id: line.instance(),
        client_id: line.word(1).to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: line.number("session", 10_000),
        rebalance_timeout_ms: line.number("rebalance", 60_000),
        protocol_type: line.option("type").unwrap_or("consumer").to_owned(),
        protocols: protocols(line.option("protocols").unwrap_or("range")),
        require_known_member_id: version >= 4,
        skip_assignment_supported: version >= 9,
        fresh_uuid: world.fresh_uuid(),
    }
}

fn sync(line: &Line<'_>) -> SyncGroup {
    let assignments = line.words.iter().skip(1).map(|word| {
        let (member, assignment) = word.split_once('=').expect("member=assignment");
        (MemberId::from(member), Bytes::copy_from_slice(assignment.as_bytes()))
    });
    SyncGroup {
        group_id: line.group(),
        member_id: line.member(),
        group_instance_id: line.instance(),
        generation: line.generation(),
        protocol_type: line.option("type").map(str::to_owned),
        protocol_name: line.option("protocol").map(str::to_owned),
        assignments: assignments.collect(),
    }
}

fn heartbeat(line: &Line<'_>) -> Heartbeat {
    Heartbeat {
        group_id: line.group(),
        member_id: line.member(),
        group_instance_id: line.instance(),
        generation: line.generation(),
    }
}

/// Members by id, `instance/id` or `instance/`.
fn leave(line: &Line<'_>) -> LeaveGroup {
    let members = line.words.iter().skip(1).map(|word| match word.split_once('/') {
        Some((instance, id)) => {
            LeavingMember { member_id: id.into(), group_instance_id: Some(instance.into()) }
        }
        None => LeavingMember { member_id: word.as_str().into(), group_instance_id: None },
    });
    LeaveGroup { group_id: line.group(), members: members.collect() }
}

fn partition(text: &str) -> TopicPartition {
    let (topic, partition) = text.rsplit_once('-').expect("topic-partition");
    let partition = PartitionIndex(partition.parse().expect("a partition's number"));
    TopicPartition { topic: topic.into(), partition }
}

fn commit(line: &Line<'_>) -> OffsetCommit {
    let offsets = line.words.iter().skip(1).map(|word| {
        let (name, offset) = word.split_once('=').expect("topic-partition=offset");
        OffsetToCommit {
            partition: partition(name),
            offset: Offset(offset.parse().expect("an offset")),
            leader_epoch: LeaderEpoch(line.number("epoch", -1)),
            metadata: line.option("metadata").unwrap_or_default().to_owned(),
        }
    });
    OffsetCommit {
        group_id: line.group(),
        member_id: line.member(),
        group_instance_id: line.instance(),
        generation: line.generation(),
        retention_ms: line.option("retention").map(|_| line.number("retention", 0)),
        offsets: offsets.collect(),
    }
}

fn delete_offsets(line: &Line<'_>) -> OffsetDelete {
    let partitions = line.words.iter().skip(1).map(|word| partition(word)).collect();
    OffsetDelete { group_id: line.group(), partitions }
}

fn fetch(world: &World, line: &Line<'_>) -> Vec<String> {
    let offsets = world.shard.fetch_all_offsets(&line.group()).expect("a loaded shard");
    offsets.iter().map(|(partition, value)| text::offset(partition, value)).collect()
}
