//! Records of real clients, header by header and byte by byte, as their sources send them (the
//! places in those sources stand at the profiles), and what is made of them.

mod kit;

use antiphon_common::PartitionIndex;
use antiphon_reply::{Clash, CorrelationId, Detection, Profiles, Role};
use kit::{Sent, with_record};

const UUID_TEXT: &str = "9b2e6f3c-41d7-4e0a-8c55-0f1e2d3c4b5a";
const UUID: [u8; 16] = [
    0x9b, 0x2e, 0x6f, 0x3c, 0x41, 0xd7, 0x4e, 0x0a, 0x8c, 0x55, 0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a,
];

/// What a test says about a record: profiles, role, id, reply topic and partition.
type Summary = (String, Role, String, Option<String>, Option<i32>);

fn detect<T>(sent: Sent<'_>, act: impl FnOnce(&Detection<'_>) -> T) -> T {
    let profiles = Profiles::built_in();
    with_record(Some(b"k"), sent, |record| act(&profiles.detect(record.headers(), record.key)))
}

fn summary(detection: &Detection<'_>) -> Summary {
    assert_eq!(detection.clash, None);
    let first = detection.readings.first().expect("a message");
    assert_eq!(first.misfits, []);
    let names: Vec<_> = detection.readings.iter().map(|one| one.profile.name()).collect();
    let topic = first.reply_topic.map(str::to_owned);
    let partition = first.reply_partition.map(|PartitionIndex(index)| index);
    (names.join("|"), first.role, first.correlation.to_string(), topic, partition)
}

fn seen(sent: Sent<'_>) -> Summary {
    detect(sent, summary)
}

fn expected(
    names: &str,
    role: Role,
    id: &str,
    topic: Option<&str>,
    partition: Option<i32>,
) -> Summary {
    (names.to_owned(), role, id.to_owned(), topic.map(str::to_owned), partition)
}

fn clash(sent: Sent<'_>) -> String {
    detect(sent, |detection| detection.clash.as_ref().expect("a clash").to_string())
}

#[test]
fn spring_sends_raw_bytes_and_a_big_endian_partition() {
    let request = seen(&[
        ("kafka_replyTopic", b"orders.replies"),
        ("kafka_replyPartition", &[0, 0, 0, 2]),
        ("kafka_correlationId", &UUID),
    ]);
    let topic = Some("orders.replies");
    assert_eq!(request, expected("spring", Role::Request, UUID_TEXT, topic, Some(2)));
    let reply = seen(&[("kafka_correlationId", &UUID)]);
    assert_eq!(reply, expected("spring", Role::Reply, UUID_TEXT, None, None));
}

#[test]
fn spring_sends_text_when_told_so() {
    let request = seen(&[
        ("kafka_replyTopic", b"orders.replies"),
        ("kafka_replyPartition", &[0, 0, 1, 0]),
        ("kafka_correlationId", UUID_TEXT.as_bytes()),
    ]);
    let topic = Some("orders.replies");
    assert_eq!(request, expected("spring", Role::Request, UUID_TEXT, topic, Some(256)));
}

#[test]
fn nest_sends_decimal_text_under_the_same_names() {
    for (partition, index) in [(&b"2"[..], 2), (b"1234", 1234)] {
        let request = seen(&[
            ("kafka_correlationId", b"7f3a9c01d2e4b5f60718c"),
            ("kafka_replyTopic", b"orders.reply"),
            ("kafka_replyPartition", partition),
        ]);
        let (id, topic) = ("7f3a9c01d2e4b5f60718c", Some("orders.reply"));
        assert_eq!(request, expected("nest", Role::Request, id, topic, Some(index)));
    }
}

#[test]
fn nest_marks_errors_and_the_end() {
    let error: Sent<'_> = &[
        ("kafka_correlationId", b"7f3a9c01d2e4b5f60718c"),
        ("kafka_nest-err", br#"{"status":"error","message":"no stock"}"#),
        ("kafka_nest-is-disposed", &[0]),
    ];
    assert_eq!(seen(error).0, "nest");
    let signs = |sent| detect(sent, |d| (d.readings[0].is_error, d.readings[0].ends_stream));
    assert_eq!(signs(error), (true, true));
    let end: Sent<'_> = &[("kafka_correlationId", b"a"), ("kafka_nest-is-disposed", &[0])];
    assert_eq!(signs(end), (false, true));
}

#[test]
fn where_only_text_is_known_both_are_named() {
    let reply = seen(&[("kafka_correlationId", UUID_TEXT.as_bytes())]);
    assert_eq!(reply, expected("spring|nest", Role::Reply, UUID_TEXT, None, None));
}

#[test]
fn smallrye_requests_carry_a_reply_topic_and_replies_do_not() {
    let request = seen(&[
        ("REPLY_CORRELATION_ID", UUID_TEXT.as_bytes()),
        ("REPLY_TOPIC", b"quotes-replies"),
        ("REPLY_PARTITION", &[0, 0, 0, 7]),
    ]);
    let topic = Some("quotes-replies");
    assert_eq!(request, expected("smallrye", Role::Request, UUID_TEXT, topic, Some(7)));
    let twelve = [0xd1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let reply = seen(&[("REPLY_CORRELATION_ID", &twelve)]);
    let id = "hex:d102030405060708090a0b0c";
    assert_eq!(reply, expected("smallrye", Role::Reply, id, None, None));
}

#[test]
fn zilla_copies_http_headers() {
    let id = "a3c5b1c2-idempotent-0b4e7d0e5fe84ad35fb5f95b9ceeac79";
    let request = seen(&[
        (":scheme", b"http"),
        (":method", b"POST"),
        ("idempotency-key", b"a3c5b1c2-idempotent"),
        ("zilla:reply-to", b"items-responses"),
        ("zilla:correlation-id", id.as_bytes()),
    ]);
    assert_eq!(request, expected("zilla", Role::Request, id, Some("items-responses"), None));
    for (status, is_error) in [(&b"200"[..], false), (b"404", true), (b"503", true)] {
        let reply: Sent<'_> = &[("zilla:correlation-id", id.as_bytes()), (":status", status)];
        assert_eq!(seen(reply), expected("zilla", Role::Reply, id, None, None));
        assert_eq!(detect(reply, |d| d.readings[0].is_error), is_error);
    }
}

#[test]
fn our_own_name_the_end_of_an_operation() {
    let request: Sent<'_> = &[("rr-correlation-id", b"op-1"), ("rr-reply-to", b"answers")];
    assert_eq!(seen(request), expected("rr", Role::Request, "op-1", Some("answers"), None));
    let role = |kind: &'static [u8]| seen(&[("rr-correlation-id", b"op-1"), ("rr-type", kind)]).1;
    assert_eq!(role(b"timeout"), Role::Terminal);
    assert_eq!(role(b"progress"), Role::Reply);
}

/// `DeadLetterPublishingRecoverer` keeps the record's headers and adds its own.
#[test]
fn a_request_put_aside_is_a_dead_letter() {
    let dead = seen(&[
        ("kafka_replyTopic", b"orders.replies"),
        ("kafka_correlationId", &UUID),
        ("kafka_dlt-original-topic", b"orders"),
        ("kafka_dlt-original-partition", &[0, 0, 0, 1]),
        ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 0, 42]),
    ]);
    let topic = Some("orders.replies");
    assert_eq!(dead, expected("spring", Role::DeadLetter, UUID_TEXT, topic, None));
}

#[test]
fn of_headers_sent_twice_the_last_counts() {
    let reply = seen(&[("kafka_correlationId", b"first"), ("kafka_correlationId", &UUID)]);
    assert_eq!(reply, expected("spring", Role::Reply, UUID_TEXT, None, None));
}

#[test]
fn records_without_an_id_are_no_messages() {
    let too_long = [b'x'; 1025];
    for sent in [
        &[("traceparent", &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..])][..],
        &[("kafka_correlationId", b"")],
        &[("kafka_replyTopic", b"orders.replies")],
        &[("kafka_correlationId", &too_long)],
        &[("KAFKA_CORRELATIONID", &UUID)],
    ] {
        assert!(detect(sent, |detection| detection.readings.is_empty()), "{sent:?}");
    }
}

#[test]
fn a_long_value_is_shown_in_part() {
    let long = [b'/'; 4096];
    let sent: Sent<'_> = &[("REPLY_CORRELATION_ID", b"1"), ("REPLY_TOPIC", &long)];
    let told = detect(sent, |detection| detection.readings[0].misfits[0].to_string());
    let start = "/".repeat(64);
    let expected = format!("REPLY_TOPIC ({start}...) is text, which smallrye does not send");
    assert_eq!(told, expected);
}

/// A Spring requester behind something that rewrites addresses as Nest does, or the reverse.
#[test]
fn headers_of_both_conventions_clash_by_name() {
    let text = clash(&[
        ("kafka_correlationId", &UUID),
        ("kafka_replyTopic", b"orders.reply"),
        ("kafka_replyPartition", b"2"),
    ]);
    assert!(text.contains("kafka_replyPartition (2) is decimal text, which spring"), "{text}");
    assert!(text.contains("is raw bytes, which nest does not send"), "{text}");
}

/// What NestJS makes of Spring's 16 bytes: `Buffer.from(buffer.toString())`.
#[test]
fn an_id_that_went_through_utf8_is_reported() {
    let echoed = String::from_utf8_lossy(&UUID);
    let text = clash(&[("kafka_correlationId", echoed.as_bytes())]);
    assert!(text.starts_with("kafka_correlationId holds replacement characters"), "{text}");
}

#[test]
fn two_libraries_with_two_ids_clash_and_both_ids_are_found() {
    let sent: Sent<'_> = &[("kafka_correlationId", &UUID), ("REPLY_CORRELATION_ID", b"other")];
    detect(sent, |detection| {
        assert!(matches!(detection.clash, Some(Clash::Disagreement(_))));
        let ids: Vec<_> = detection.readings.iter().map(|one| one.correlation.clone()).collect();
        assert_eq!(ids, ["9b2e6f3c-41d7-4e0a-8c55-0f1e2d3c4b5a", "other"].map(id));
    });
    let text =
        format!("by spring it is a reply of {UUID_TEXT}, by smallrye it is a reply of other");
    assert_eq!(clash(sent), text);
}

#[test]
fn two_libraries_that_agree_do_not_clash() {
    let both =
        seen(&[("kafka_correlationId", &UUID), ("REPLY_CORRELATION_ID", UUID_TEXT.as_bytes())]);
    assert_eq!(both, expected("spring|smallrye", Role::Reply, UUID_TEXT, None, None));
}

#[test]
fn a_damaged_address_is_a_misfit_of_a_request() {
    for (header, value) in [
        ("REPLY_PARTITION", &[0, 0, 2][..]),
        ("REPLY_PARTITION", &[0xff, 0xff, 0xff, 0xff]),
        ("REPLY_TOPIC", b"no such/topic"),
        ("REPLY_TOPIC", b""),
    ] {
        let sent: Sent<'_> =
            &[("REPLY_CORRELATION_ID", b"1"), ("REPLY_TOPIC", b"replies"), (header, value)];
        detect(sent, |detection| {
            let message = &detection.readings[0];
            assert_eq!((message.role, &detection.clash), (Role::Request, &None));
            let misfits: Vec<_> = message.misfits.iter().map(|m| (m.header, m.value)).collect();
            assert_eq!(misfits, [(header, value)]);
        });
    }
}

#[test]
fn a_profile_of_ones_own_reads_other_headers_or_the_key() {
    let renamed = "correlation=x-id,reply-topic=x-to,reply-partition=x-part,error=x-err";
    let profiles = Profiles::built_in().with(renamed.parse().unwrap());
    let sent: Sent<'_> = &[("x-id", &UUID), ("x-to", b"answers"), ("x-part", b"3"), ("x-err", b"")];
    with_record(None, sent, |record| {
        let detection = profiles.detect(record.headers(), record.key);
        let topic = Some("answers");
        let request = expected("custom", Role::Request, UUID_TEXT, topic, Some(3));
        assert_eq!(summary(&detection), request);
        assert!(detection.readings[0].is_error);
    });
    let by_key = Profiles::built_in().with("correlation=@key".parse().unwrap());
    with_record(Some(b"order-1"), &[], |record| {
        let found = summary(&by_key.detect(record.headers(), record.key));
        assert_eq!(found, expected("custom", Role::Unknown, "order-1", None, None));
    });
}

fn id(text: &str) -> CorrelationId {
    text.parse().unwrap()
}
