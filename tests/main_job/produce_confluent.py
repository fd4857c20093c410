"""Produces confluent-kafka's shares: `produce_confluent.py BOOTSTRAP TOPIC DIR`.

One idempotent producer per codec, keys by Kafka's own partitioner, the flight's scheduled hour as the
record's timestamp.
"""

import json
import pathlib
import sys

from confluent_kafka import Producer

from flights import CODECS, headers_of, share_name, time_of


def produce_share(bootstrap, topic, folder, codec):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
        }
    )
    failures = []

    def on_delivery(error, _message):
        if error is not None:
            failures.append(error)

    sent = 0
    for line in (folder / share_name("confluent", codec, None)).open():
        key, value = line.rstrip("\n").split("\t")
        flight = json.loads(value)
        record = {
            "timestamp": time_of(flight),
            "headers": headers_of(flight, "confluent", codec),
            "on_delivery": on_delivery,
        }
        while True:
            try:
                producer.produce(topic, value, key, **record)
                break
            except BufferError:
                producer.poll(0.5)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    assert left == 0 and not failures, f"{codec}: {left} unsent, failures {failures[:3]}"
    print(f"{codec}: {sent} records")


if __name__ == "__main__":
    for name in CODECS:
        produce_share(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), name)
