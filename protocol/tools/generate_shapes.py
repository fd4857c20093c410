#!/usr/bin/env python3
"""Writes protocol/src/shape/tables.rs from the message schemas inside a kafka-clients jar.

    python3 protocol/tools/generate_shapes.py path/to/kafka-clients-4.3.1.jar \
        > protocol/src/shape/tables.rs
    cargo fmt -p antiphon-protocol

The jar of any Kafka distribution from 4.1 on will do; it is only read. A schema describes every
version of a message, and versions never change once released, so a newer jar gives the same tables
plus what is new. What is new is then cut off at the versions that the kafka-protocol crate decodes
(CRATE_MAX), because the shape check exists to protect that decoder; a test compares the ranges.
"""

import json
import re
import sys
import zipfile

# The highest request version that kafka-protocol 0.18 decodes, where the jar has more.
CRATE_MAX = {
    "ListOffsets": 10,
    "OffsetCommit": 9,
    "OffsetFetch": 9,
    "InitProducerId": 5,
    "WriteTxnMarkers": 1,
    "DescribeLogDirs": 4,
    "ShareFetch": 1,
    "ShareAcknowledge": 1,
    "AddRaftVoter": 0,
    "WriteShareGroupState": 0,
    "ReadShareGroupStateSummary": 0,
    "DescribeShareGroupOffsets": 0,
}
# Requests that kafka-protocol 0.18 does not have at all.
NOT_IN_CRATE = {"StreamsGroupHeartbeat", "StreamsGroupDescribe"}
# Messages that travel inside other messages, by the names their tables get.
EMBEDDED = {
    "ConsumerProtocolSubscription": "CONSUMER_SUBSCRIPTION",
    "ConsumerProtocolAssignment": "CONSUMER_ASSIGNMENT",
}

# Size on the wire, which for these types is also the size in memory.
FIXED = {
    "bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8,
    "float64": 8, "uuid": 16,
}
# Size in memory of the types kafka-protocol uses on 64-bit machines: `Bytes` (with room for null),
# `Vec`, and the `BTreeMap` of unknown tagged fields that ends every struct.
BYTES, VEC, UNKNOWN_TAGS = 32, 24, 24
END = 32767


def schema(jar, path):
    """Kafka's schemas are JSON with comment lines."""
    text = jar.read(path).decode()
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))


def versions(text):
    """'3-5', '3', '3+' or 'none' as (first, last); an empty range is (1, 0)."""
    if text in (None, "none"):
        return 1, 0
    if text.endswith("+"):
        return int(text[:-1]), END
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def constant(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


class Tables:
    """The structs of one message, written once each."""

    def __init__(self, prefix, message):
        self.prefix, self.lines, self.sizes = prefix, [], {}
        self.common = {s["name"]: s["fields"] for s in message.get("commonStructs", [])}

    def struct(self, name, fields):
        """Writes a struct after those it contains and returns its constant."""
        label = f"{self.prefix}_{constant(name)}" if name else self.prefix
        if label in self.sizes:
            return label
        rows = [self.field(f) for f in fields]
        size = sum(self.memory(f) for f in fields) + UNKNOWN_TAGS
        self.sizes[label] = (size + 7) // 8 * 8
        self.lines.append(f"const {label}: &[Field] = &[")
        self.lines += [f"    {row}," for row in rows]
        self.lines.append("];")
        return label

    def fields_of(self, kind, field):
        return field.get("fields") or self.common[kind]

    def element(self, kind, field):
        """The kind of a value, and its size in memory."""
        if kind in FIXED:
            return f"Fixed({FIXED[kind]})", FIXED[kind]
        if kind == "string":
            return "Text", BYTES
        if kind in ("bytes", "records"):
            return "Blob", BYTES
        label = self.struct(kind, self.fields_of(kind, field))
        return f"Struct({label})", self.sizes[label]

    def kind(self, field):
        if not field["type"].startswith("[]"):
            return self.element(field["type"], field)[0]
        element, size = self.element(field["type"][2:], field)
        return f"Array(&{element}, {size})"

    def memory(self, field):
        if field["type"].startswith("[]"):
            return VEC
        return self.element(field["type"], field)[1]

    def field(self, field):
        first, last = versions(field["versions"])
        row = f'field("{field["name"]}", {first}, {bound(last)}, {self.kind(field)})'
        null_first, null_last = versions(field.get("nullableVersions"))
        if null_first <= null_last:
            row += f".nullable({null_first}, {bound(null_last)})"
        if "tag" in field:
            assert versions(field["taggedVersions"]) == (first, last), field["name"]
            row += f".tagged({field['tag']})"
        return row


def bound(last):
    return "END" if last == END else str(last)


def message(schema_, name, label):
    first, last = versions(schema_["validVersions"])
    last = min(last, CRATE_MAX.get(name, last))
    tables = Tables(label, schema_)
    fields = tables.struct("", schema_["fields"])
    flexible = versions(schema_["flexibleVersions"])[0]
    if schema_["flexibleVersions"] == "none":
        flexible = "END"
    key = schema_.get("apiKey", -1)
    row = f'message({key}, "{name}", {first}, {last}, {flexible}, {fields})'
    return key, row, tables.lines


def requests(jar):
    for path in jar.namelist():
        if not re.fullmatch(r"common/message/\w+Request\.json", path):
            continue
        request = schema(jar, path)
        name = request["name"].removesuffix("Request")
        if "broker" in request.get("listeners", []) and name not in NOT_IN_CRATE:
            yield message(request, name, constant(name))


def main():
    with zipfile.ZipFile(sys.argv[1]) as jar:
        found = sorted(requests(jar))
        embedded = [
            (label, message(schema(jar, f"common/message/{name}.json"), name, label + "_FIELDS"))
            for name, label in EMBEDDED.items()
        ]
    out = [
        "//! Generated by `protocol/tools/generate_shapes.py` from Kafka's message schemas.",
        "//! Do not edit; run the script again.",
        "",
        "use super::schema::Kind::{Array, Blob, Fixed, Struct, Text};",
        "use super::schema::{END, Field, Message, field, message};",
        "",
        "/// Every request of the broker listener, sorted by API key.",
        "pub(super) static REQUESTS: &[Message] = &[",
        *(f"    {row}," for _, row, _ in found),
        "];",
    ]
    for label, (_, row, _) in embedded:
        out += ["", f"pub(super) static {label}: Message =", f"    {row};"]
    for _, _, lines in found + [table for _, table in embedded]:
        out += ["", *lines]
    print("\n".join(out))


main()
