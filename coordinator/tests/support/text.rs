//! Requests and effects as lines of text.

use antiphon_coordinator::*;
use bytes::Bytes;

const UUID_ZEROS: &str = "-00000000-0000-0000-0000-0000000000";

/// Member ids are `name-uuid`; the first twenty-odd UUIDs of a world are small numbers, shown as
/// `name#07`.
pub(crate) fn short(text: &str) -> String {
    text.replace(UUID_ZEROS, "#")
}

pub(crate) fn long(text: &str) -> String {
    text.replace('#', UUID_ZEROS)
}

pub(crate) fn bytes(bytes: &Bytes) -> String {
    if bytes.is_empty() { "-".to_owned() } else { bytes.escape_ascii().to_string() }
}

fn error(error: &GroupError) -> String {
    format!("{error:?}")
}

fn optional(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

fn results(results: &[Result<(), GroupError>]) -> String {
    let words = results.iter().map(|result| match result {
        Ok(()) => "ok".to_owned(),
        Err(refusal) => error(refusal),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn joined(joined: &JoinedGroup) -> String {
    let mut text = format!(
        "joined {} generation={} protocol={} leader={}",
        joined.member_id,
        joined.generation,
        optional(joined.protocol_name.as_deref()),
        joined.leader,
    );
    if joined.skip_assignment {
        text.push_str(" skip-assignment");
    }
    if !joined.members.is_empty() {
        let members = joined.members.iter();
        let members = members.map(|member| {
            let instance = member.group_instance_id.as_ref().map(|id| format!("({id})"));
            let instance = instance.unwrap_or_default();
            format!("{}{instance}={}", member.member_id, bytes(&member.metadata))
        });
        text.push_str(&format!(" members=[{}]", members.collect::<Vec<_>>().join(" ")));
    }
    text
}

pub(crate) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Join(Ok(group)) => joined(group),
        Reply::Join(Err(refused)) => {
            format!("join refused {} member={}", error(&refused.error), refused.member_id)
        }
        Reply::Sync(Ok(synced)) => format!(
            "synced protocol={} assignment={}",
            optional(synced.protocol_name.as_deref()),
            bytes(&synced.assignment)
        ),
        Reply::Sync(Err(refusal)) => format!("sync refused {}", error(refusal)),
        Reply::Leave(Ok(left)) => format!("left {}", results(left)),
        Reply::Leave(Err(refusal)) => format!("leave refused {}", error(refusal)),
        Reply::OffsetCommit(committed) => format!("committed {}", results(committed)),
        Reply::OffsetDelete(Ok(deleted)) => format!("offsets deleted {}", results(deleted)),
        Reply::OffsetDelete(Err(refusal)) => format!("offset delete refused {}", error(refusal)),
        Reply::DeleteGroup(Ok(())) => "group deleted".to_owned(),
        Reply::DeleteGroup(Err(refusal)) => format!("group delete refused {}", error(refusal)),
    }
}

pub(crate) fn offset(partition: &TopicPartition, value: &CommittedOffset) -> String {
    let metadata = Some(&value.metadata).filter(|metadata| !metadata.is_empty());
    let metadata = metadata.map(|metadata| format!(" {metadata:?}")).unwrap_or_default();
    format!("{}-{}={}{metadata}", partition.topic, partition.partition, value.offset)
}

pub(crate) fn record(record: &GroupRecord) -> String {
    match record {
        GroupRecord::OffsetCommit { key, value: Some(value) } => {
            format!("offset {} {}", key.group_id, offset(&key.partition, value))
        }
        GroupRecord::OffsetCommit { key, value: None } => {
            let TopicPartition { topic, partition } = &key.partition;
            format!("offset {} {topic}-{partition} tombstone", key.group_id)
        }
        GroupRecord::GroupMetadata { group_id, value: Some(value) } => {
            let members = value.members.iter();
            let members = members
                .map(|m| format!("{}={}", m.member_id, bytes(&m.assignment)))
                .collect::<Vec<_>>();
            format!(
                "group {group_id} generation={} protocol={} leader={} members=[{}]",
                value.generation,
                optional(value.protocol.as_deref()),
                optional(value.leader.as_ref().map(MemberId::as_str)),
                members.join(" ")
            )
        }
        GroupRecord::GroupMetadata { group_id, value: None } => {
            format!("group {group_id} tombstone")
        }
    }
}

/// One line per reply and per record.
pub(crate) fn effects(effects: &Effects) -> Vec<String> {
    let replies =
        effects.replies.iter().map(|(token, answer)| format!("@{} {}", token.0, reply(answer)));
    let appends = effects.appends.iter().flat_map(|append| {
        append.records.iter().map(|entry| format!("append {}: {}", append.id.0, record(entry)))
    });
    replies.chain(appends).map(|line| short(&line)).collect()
}

pub(crate) fn description(group: &GroupDescription) -> String {
    let members = group.members.iter();
    let members =
        members.map(|m| format!("{}={}", m.member_id, bytes(&m.assignment))).collect::<Vec<_>>();
    let text = format!(
        "{} {} generation={} type={} protocol={} members=[{}]",
        group.group_id,
        group.state.name(),
        group.generation,
        group.protocol_type,
        group.protocol_name,
        members.join(" ")
    );
    short(&text)
}
