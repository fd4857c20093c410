"""The oracle: `read_confluent.py BOOTSTRAP TOPIC GROUP RECORDS [TIMES_FILE]`.

Reads the topic with a group, prints its fingerprint and commits. With TIMES_FILE it also checks that the
flights' timestamps are their scheduled hours, and writes what a search by time finds, after comparing
that with what the records themselves say.
"""

import json
import sys
import time
from datetime import datetime, timezone

from confluent_kafka import Consumer, TopicPartition

from fingerprint import Fingerprint
from flights import time_of

PATIENCE_S = 180
# Half past the hour: no flight's timestamp, so that "the first record not older" has one answer.
SOUGHT = [
    int(datetime(2013, month, 15, 12, 30, tzinfo=timezone.utc).timestamp()) * 1000
    for month in (1, 3, 6, 9, 12)
]


def read(consumer, wanted):
    deadline, count = time.monotonic() + PATIENCE_S, 0
    while count < wanted and time.monotonic() < deadline:
        for message in consumer.consume(2000, 1):
            assert message.error() is None, message.error()
            count += 1
            yield message


def check_time(message):
    if any(name == "flight" for name, _ in message.headers()):
        scheduled = time_of(json.loads(message.value()))
        assert message.timestamp()[1] == scheduled, (
            f"{message.partition()}/{message.offset()} is at {message.timestamp()}, not {scheduled}"
        )


def note_first(found, message):
    for sought in SOUGHT:
        place = (sought, message.partition())
        if place not in found and message.timestamp()[1] >= sought:
            found[place] = message.offset()


def search(consumer, topic, partitions):
    found = {}
    for sought in SOUGHT:
        asked = [TopicPartition(topic, p, sought) for p in partitions]
        for answer in consumer.offsets_for_times(asked, timeout=30):
            found[(sought, answer.partition)] = answer.offset
    return found


def main(bootstrap, topic, group, wanted, times_file=None):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    fingerprint, first_at = Fingerprint(), {}
    for message in read(consumer, int(wanted)):
        fingerprint.add(
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key(),
            message.value(),
            message.headers() or [],
        )
        if times_file:
            check_time(message)
            note_first(first_at, message)
    print("\n".join(fingerprint.lines()))
    if times_file:
        found = search(consumer, topic, sorted(fingerprint.partitions))
        assert found == first_at, f"search by time: wanted {first_at}, got {found}"
        with open(times_file, "w") as out:
            out.writelines(f"{sought} {p} {o}\n" for (sought, p), o in sorted(found.items()))
    consumer.commit(asynchronous=False)
    consumer.close()


main(*sys.argv[1:])
