"""The fingerprint of a topic, which every reader computes in its own language and prints alike.

Two hashes, because they catch different faults:

- per partition, SHA-256 over all records in order: {partition i32, offset i64, timestamp i64} and the
  content, so that a record moved, changed, lost or repeated shows;
- over the whole topic, the sum modulo 2^64 of the first eight bytes of each content's SHA-256, which
  ignores order and place, and so can be computed from the source data too.

Content: key, value, number of headers i32, then each header's name and value. A byte string is its
length i32 (-1 when null) and its bytes. All integers are big-endian.
"""

import hashlib
import struct

MASK = (1 << 64) - 1


def sized(data):
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def content(key, value, headers):
    parts = [sized(key), sized(value), struct.pack(">i", len(headers))]
    for name, header_value in headers:
        parts += (sized(name.encode()), sized(header_value))
    return b"".join(parts)


class ContentSum:
    def __init__(self):
        self.records = 0
        self.sum = 0

    def add(self, data):
        self.records += 1
        self.sum += int.from_bytes(hashlib.sha256(data).digest()[:8], "big")

    def line(self, name="content"):
        return f"{name} records {self.records} sum {self.sum & MASK:016x}"


class Fingerprint:
    def __init__(self):
        self.partitions = {}
        self.whole = ContentSum()

    def add(self, partition, offset, timestamp, key, value, headers):
        data = content(key, value, headers)
        state = self.partitions.setdefault(partition, [hashlib.sha256(), 0, offset, 0])
        state[0].update(struct.pack(">iqq", partition, offset, timestamp) + data)
        state[1] += 1
        state[3] = offset + 1
        self.whole.add(data)

    def lines(self):
        for partition, (digest, records, first, after) in sorted(self.partitions.items()):
            yield (
                f"partition {partition} records {records} first {first} next {after}"
                f" sha256 {digest.hexdigest()}"
            )
        yield self.whole.line()
