"""kafka-python: idempotent producer, group consumer, admin."""

import time

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from ledger import (
    AFTER_RESTART,
    BEFORE_RESTART,
    COMMITTED_OFFSET,
    FIRST_UNCOMMITTED,
    PARTITIONS,
    SOUGHT,
    TOPIC_CONFIG,
    by_codec,
    step,
    tell,
)


def create_topic(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics(
        [NewTopic(topic, PARTITIONS, 1, topic_configs=TOPIC_CONFIG)], wait_for_metadata=True
    )
    assert topic in admin.list_topics(), "the new topic is not listed"
    admin.close()


def produce(bootstrap, topic, ledger, indexes):
    for codec, run in by_codec(indexes):
        producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            linger_ms=20,
        )
        acks = []
        for i in run:
            partition, _, timestamp, key, value, headers = ledger.record(i)
            acks.append(producer.send(topic, value, key, headers, partition, timestamp))
        producer.flush(30)
        for i, ack in zip(run, acks):
            metadata = ack.get(10)
            got = (metadata.partition, metadata.offset)
            assert got == ledger.record(i)[:2], f"record {i} was acked at {got}"
        producer.close()


def consumer_of(bootstrap, topic):
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=f"{topic}-group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


def read(consumer, wanted, seconds=30):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < wanted and time.monotonic() < deadline:
        for batch in consumer.poll(1000).values():
            records += [
                (r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch
            ]
    return records


def partitions_of(topic):
    return [TopicPartition(topic, p) for p in range(PARTITIONS)]


def phase1(bootstrap, topic, ledger):
    with step("creates a topic with its own settings"):
        create_topic(bootstrap, topic)
    with step("produces with every codec, idempotently"):
        produce(bootstrap, topic, ledger, BEFORE_RESTART)
    consumer = consumer_of(bootstrap, topic)
    with step("a group reads everything back"):
        consumer.subscribe([topic])
        ledger.expect(read(consumer, len(BEFORE_RESTART)), BEFORE_RESTART)
    with step("commits half of each partition"):
        consumer.commit(
            {p: OffsetAndMetadata(COMMITTED_OFFSET, "half", -1) for p in partitions_of(topic)}
        )
    with step("seeks by time"):
        found = consumer.offsets_for_times(
            {p: ledger.timestamp(SOUGHT) for p in partitions_of(topic)}
        )
        for partition, place in found.items():
            assert place.offset == SOUGHT // PARTITIONS, found
            consumer.seek(partition, place.offset)
        rest = range(SOUGHT, BEFORE_RESTART.stop)
        ledger.expect(read(consumer, len(rest)), rest)
    consumer.close(autocommit=False)


def phase2(bootstrap, topic, ledger):
    consumer = consumer_of(bootstrap, topic)
    with step("finds its committed offsets after the restart"):
        committed = [consumer.committed(p) for p in partitions_of(topic)]
        assert committed == [COMMITTED_OFFSET] * PARTITIONS, committed
    with step("produces after the restart"):
        produce(bootstrap, topic, ledger, AFTER_RESTART)
    with step("reads on from the committed offsets"):
        consumer.subscribe([topic])
        rest = range(FIRST_UNCOMMITTED, AFTER_RESTART.stop)
        ledger.expect(read(consumer, len(rest)), rest)
    consumer.close(autocommit=False)


tell("kafka-python", phase1, phase2)
