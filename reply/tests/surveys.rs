//! Encodings that are right one by one and do not go together; and any bytes at all.

mod kit;

use antiphon_common::Offset;
use antiphon_reply::{CorrelationId, Profiles, Survey};
use kit::{Sent, with_record};
use proptest::prelude::*;

fn observe(survey: &mut Survey, offset: i64, sent: Sent<'_>) {
    let profiles = Profiles::built_in();
    with_record(None, sent, |record| {
        survey.observe(Offset(offset), &profiles.detect(record.headers(), record.key));
    });
}

fn request<'a>(id: &'a [u8], partition: &'a [u8]) -> [(&'a str, &'a [u8]); 3] {
    [
        ("kafka_correlationId", id),
        ("kafka_replyTopic", b"replies"),
        ("kafka_replyPartition", partition),
    ]
}

#[test]
fn one_convention_is_no_mixture() {
    let mut survey = Survey::new();
    for offset in 0..10 {
        observe(&mut survey, offset, &request(&[0x9b; 16], &[0, 0, 0, 1]));
        observe(&mut survey, offset, &[("unrelated", b"1")]);
    }
    assert_eq!(survey.mixtures().count(), 0);
    assert_eq!((survey.clashes(), survey.first_clash()), (0, None));
}

#[test]
fn spring_and_nest_on_one_topic_are_reported_by_header_and_place() {
    let mut survey = Survey::new();
    observe(&mut survey, 3, &request(&[0x9b; 16], &[0, 0, 0, 1]));
    observe(&mut survey, 4, &request(&[0x9c; 16], &[0, 0, 0, 2]));
    observe(&mut survey, 9, &request(b"a1", b"1"));
    observe(&mut survey, 12, &request(b"a2", b"2"));
    let mixtures: Vec<_> = survey.mixtures().map(|mixture| mixture.to_string()).collect();
    assert_eq!(
        mixtures,
        [
            "kafka_correlationId is raw bytes at offset 3 and text at offset 9",
            "kafka_replyPartition is a big-endian int32 at offset 3 and decimal text at offset 9",
        ]
    );
}

#[test]
fn three_encodings_are_two_mixtures() {
    let mut survey = Survey::new();
    for (value, offset) in [(&[0x9b; 16][..], 1), (b"text", 2), ("\u{fffd}".as_bytes(), 3)] {
        observe(&mut survey, offset, &[("kafka_correlationId", value)]);
    }
    assert_eq!(survey.mixtures().count(), 2);
    assert_eq!(survey.clashes(), 1);
    assert_eq!(survey.first_clash().map(|(offset, _)| offset), Some(Offset(3)));
}

/// The names that profiles look for, and others.
fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = prop_oneof![
        Just("kafka_correlationId"),
        Just("kafka_replyTopic"),
        Just("kafka_replyPartition"),
        Just("kafka_nest-err"),
        Just("REPLY_CORRELATION_ID"),
        Just("REPLY_TOPIC"),
        Just("REPLY_PARTITION"),
        Just("zilla:correlation-id"),
        Just(":status"),
        Just("rr-correlation-id"),
        Just("rr-type"),
        Just("kafka_dlt-original-topic"),
        Just("x"),
    ];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[0-9]{1,12}".prop_map(String::into_bytes),
        any::<[u8; 16]>().prop_map(Vec::from),
        any::<[u8; 4]>().prop_map(Vec::from),
    ];
    (names.prop_map(str::to_owned), value)
}

proptest! {
    /// Whatever a client sends: no panic, printable reports, and an id that can be looked up again.
    #[test]
    fn any_headers_are_read(headers in prop::collection::vec(header(), 0..8), offset in 0..1_000_i64) {
        let sent: Vec<_> = headers.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
        let profiles = Profiles::built_in();
        with_record(None, &sent, |record| {
            let detection = profiles.detect(record.headers(), record.key);
            for message in &detection.readings {
                let again = message.correlation.to_string().parse::<CorrelationId>();
                prop_assert_eq!(again.as_ref(), Ok(&message.correlation));
                for misfit in &message.misfits {
                    prop_assert!(misfit.to_string().is_ascii());
                }
            }
            let alone = detection.readings.len() <= 1 || detection.clash.is_some();
            let agree = detection.readings.windows(2).all(|two| {
                (&two[0].correlation, two[0].role) == (&two[1].correlation, two[1].role)
            });
            prop_assert!(alone || agree, "{detection:?}");
            let mut survey = Survey::new();
            survey.observe(Offset(offset), &detection);
            prop_assert_eq!(survey.clashes(), u64::from(detection.clash.is_some()));
            if let Some(clash) = detection.clash {
                prop_assert!(clash.to_string().is_ascii());
            }
            Ok(())
        })?;
    }
}
