"""confluent-kafka (librdkafka): idempotent producer, group consumer, admin."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

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
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=TOPIC_CONFIG)])[topic].result(30)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    configs = admin.describe_configs([resource])[resource].result(30)
    got = {name: configs[name].value for name in TOPIC_CONFIG}
    assert got == TOPIC_CONFIG, f"configs {got}"


def produce(bootstrap, topic, ledger, indexes):
    for codec, run in by_codec(indexes):
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 20,
            }
        )
        delivered = []

        def on_delivery(error, message):
            assert error is None, error
            delivered.append((message.partition(), message.offset()))

        for i in run:
            partition, _, timestamp, key, value, headers = ledger.record(i)
            producer.produce(
                topic,
                value,
                key,
                partition,
                on_delivery=on_delivery,
                timestamp=timestamp,
                headers=headers,
            )
        assert producer.flush(30) == 0, "records were left unsent"
        assert sorted(delivered) == sorted(ledger.record(i)[:2] for i in run), "acked offsets"


def consumer_of(bootstrap, group):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )


def read(consumer, wanted, seconds=30):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < wanted and time.monotonic() < deadline:
        for message in consumer.consume(500, 1):
            assert message.error() is None, message.error()
            records.append(
                (
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    message.headers(),
                )
            )
    return records


def partitions_at(topic, offset):
    return [TopicPartition(topic, p, offset) for p in range(PARTITIONS)]


def phase1(bootstrap, topic, ledger):
    with step("creates a topic with its own settings"):
        create_topic(bootstrap, topic)
    with step("produces with every codec, idempotently"):
        produce(bootstrap, topic, ledger, BEFORE_RESTART)
    consumer = consumer_of(bootstrap, f"{topic}-group")
    with step("a group reads everything back"):
        consumer.subscribe([topic])
        ledger.expect(read(consumer, len(BEFORE_RESTART)), BEFORE_RESTART)
    with step("commits half of each partition"):
        consumer.commit(offsets=partitions_at(topic, COMMITTED_OFFSET), asynchronous=False)
    with step("seeks by time"):
        times = [TopicPartition(topic, p, ledger.timestamp(SOUGHT)) for p in range(PARTITIONS)]
        found = consumer.offsets_for_times(times, timeout=30)
        assert [p.offset for p in found] == [SOUGHT // PARTITIONS] * PARTITIONS, found
        for partition in found:
            consumer.seek(partition)
        rest = range(SOUGHT, BEFORE_RESTART.stop)
        ledger.expect(read(consumer, len(rest)), rest)
    consumer.close()


def phase2(bootstrap, topic, ledger):
    consumer = consumer_of(bootstrap, f"{topic}-group")
    with step("finds its committed offsets after the restart"):
        committed = consumer.committed(partitions_at(topic, 0), timeout=30)
        assert [p.offset for p in committed] == [COMMITTED_OFFSET] * PARTITIONS, committed
    with step("produces after the restart"):
        produce(bootstrap, topic, ledger, AFTER_RESTART)
    with step("reads on from the committed offsets"):
        consumer.subscribe([topic])
        rest = range(FIRST_UNCOMMITTED, AFTER_RESTART.stop)
        ledger.expect(read(consumer, len(rest)), rest)
    consumer.close()


if __name__ == "__main__":
    tell("confluent-kafka", phase1, phase2)
