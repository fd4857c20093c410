"""aiokafka: asyncio producer (idempotent), group consumer, admin."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

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


async def create_topic(bootstrap, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        reply = await admin.create_topics(
            [NewTopic(topic, PARTITIONS, 1, topic_configs=TOPIC_CONFIG)]
        )
        assert all(error[1] == 0 for error in reply.topic_errors), reply
        await asyncio.wait_for(listed(admin, topic), 30)
    finally:
        await admin.close()


async def listed(admin, topic):
    # Creation is acknowledged before every broker has heard of it.
    while topic not in await admin.list_topics():
        await asyncio.sleep(0.1)


async def produce(bootstrap, topic, ledger, indexes):
    for codec, run in by_codec(indexes):
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            linger_ms=20,
        )
        await producer.start()
        try:
            acks = []
            for i in run:
                partition, _, timestamp, key, value, headers = ledger.record(i)
                acks.append(
                    await producer.send(topic, value, key, partition, timestamp, headers)
                )
            for i, ack in zip(run, acks):
                metadata = await asyncio.wait_for(ack, 30)
                got = (metadata.partition, metadata.offset)
                assert got == ledger.record(i)[:2], f"record {i} was acked at {got}"
        finally:
            await producer.stop()


async def consumer_of(bootstrap, topic):
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"{topic}-group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    return consumer


async def read(consumer, wanted, seconds=30):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < wanted and time.monotonic() < deadline:
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            records += [
                (r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch
            ]
    return records


def partitions_of(topic):
    return [TopicPartition(topic, p) for p in range(PARTITIONS)]


async def phase1(bootstrap, topic, ledger):
    with step("creates a topic with its own settings"):
        await create_topic(bootstrap, topic)
    with step("produces with every codec, idempotently"):
        await produce(bootstrap, topic, ledger, BEFORE_RESTART)
    consumer = await consumer_of(bootstrap, topic)
    try:
        with step("a group reads everything back"):
            ledger.expect(await read(consumer, len(BEFORE_RESTART)), BEFORE_RESTART)
        with step("commits half of each partition"):
            await consumer.commit({p: (COMMITTED_OFFSET, "half") for p in partitions_of(topic)})
        with step("seeks by time"):
            found = await consumer.offsets_for_times(
                {p: ledger.timestamp(SOUGHT) for p in partitions_of(topic)}
            )
            for partition, place in found.items():
                assert place.offset == SOUGHT // PARTITIONS, found
                consumer.seek(partition, place.offset)
            rest = range(SOUGHT, BEFORE_RESTART.stop)
            ledger.expect(await read(consumer, len(rest)), rest)
    finally:
        await consumer.stop()


async def phase2(bootstrap, topic, ledger):
    with step("produces after the restart"):
        await produce(bootstrap, topic, ledger, AFTER_RESTART)
    consumer = await consumer_of(bootstrap, topic)
    try:
        with step("finds its committed offsets after the restart"):
            committed = [await consumer.committed(p) for p in partitions_of(topic)]
            assert committed == [COMMITTED_OFFSET] * PARTITIONS, committed
        with step("reads on from the committed offsets"):
            rest = range(FIRST_UNCOMMITTED, AFTER_RESTART.stop)
            ledger.expect(await read(consumer, len(rest)), rest)
    finally:
        await consumer.stop()


asyncio.run(tell("aiokafka", phase1, phase2))
