"""What every client writes and must read back, and how a story reports its steps.

The ledger: record `i` goes to partition `i % 3` and so gets offset `i // 3`; its key, value, header
and timestamp all tell `i`, so that any mix-up of records, partitions or offsets shows. The first 300
records come 60 per codec; the 60 from 300 on are written after the broker's restart.
"""

import sys
from contextlib import contextmanager

PARTITIONS = 3
BEFORE_RESTART = range(0, 300)
AFTER_RESTART = range(300, 360)
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS_PER_CODEC = 60
# The group commits the first half of each partition; reading on begins at this record.
COMMITTED_OFFSET = 50
FIRST_UNCOMMITTED = COMMITTED_OFFSET * PARTITIONS
SOUGHT = 150
TOPIC_CONFIG = {"retention.ms": "864000000", "max.message.bytes": "1500000"}


class Ledger:
    def __init__(self, base_ms):
        self.base_ms = base_ms

    def timestamp(self, i):
        return self.base_ms + i * 1000

    def record(self, i):
        """(partition, offset, timestamp, key, value, headers) of record `i`."""
        return (
            i % PARTITIONS,
            i // PARTITIONS,
            self.timestamp(i),
            b"k-%d" % i,
            b"v-%d" % i,
            [("n", b"%d" % i)],
        )

    def expect(self, got, indexes):
        """`got` must be exactly the records `indexes`, in order within each partition."""
        wanted = [self.record(i) for i in indexes]
        for partition in range(PARTITIONS):
            ours = [r for r in wanted if r[0] == partition]
            theirs = [r for r in got if r[0] == partition]
            for want, have in zip(ours, theirs):
                assert want == have, f"wanted {want}, got {have}"
            assert len(ours) == len(theirs), (
                f"partition {partition}: wanted {len(ours)} records, got {len(theirs)}"
            )
        assert len(got) == len(wanted), f"wanted {len(wanted)} records, got {len(got)}"


def by_codec(indexes):
    """Runs of indexes that share a codec, in order."""
    for start in range(indexes.start, indexes.stop, RECORDS_PER_CODEC):
        codec = CODECS[start // RECORDS_PER_CODEC % len(CODECS)]
        yield codec, range(start, min(start + RECORDS_PER_CODEC, indexes.stop))


@contextmanager
def step(name):
    """One line of verdict; a story ends at its first broken step, since the rest builds on it."""
    try:
        yield
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        sys.exit(1)
    print(f"ok {name}", flush=True)


def tell(client, phase1, phase2):
    """Command line of a story: `PROGRAM phase1|phase2 BOOTSTRAP PREFIX BASE_MS`."""
    phase, bootstrap, prefix, base_ms = sys.argv[1:5]
    story = {"phase1": phase1, "phase2": phase2}[phase]
    return story(bootstrap, f"{prefix}-{client}", Ledger(int(base_ms)))
