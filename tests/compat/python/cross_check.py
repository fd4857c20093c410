"""Reads with confluent-kafka what other clients wrote: `cross_check.py BOOTSTRAP PREFIX BASE_MS CLIENT...`."""

import sys

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from confluent_kafka_client import consumer_of, read
from ledger import AFTER_RESTART, PARTITIONS, Ledger


def cross_check(consumer, topic, ledger):
    known = consumer.list_topics(topic, timeout=10).topics[topic]
    assert known.error is None, known.error
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    everything = range(AFTER_RESTART.stop)
    ledger.expect(read(consumer, len(everything), seconds=8), everything)


def main(bootstrap, prefix, base_ms, *clients):
    failures = 0
    consumer = consumer_of(bootstrap, f"{prefix}-cross-check")
    for client in clients:
        try:
            cross_check(consumer, f"{prefix}-{client}", Ledger(int(base_ms)))
            print(f"ok {client}", flush=True)
        except Exception as error:
            print(f"FAIL {client}: {type(error).__name__}: {error}", flush=True)
            failures += 1
    consumer.close()
    sys.exit(1 if failures else 0)


main(*sys.argv[1:])
