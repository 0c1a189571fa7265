"""The metadata of Bittensor's runtimes, as the repository keeps them, each with its official codec.

The files lie in crates/substrate/testdata/bittensor; their README says where they come from. The
codec is that of the package `bittensor_core`, which reads the versions 14 and 15: what a node of
today also gives, version 16, is turned into 15 for it, and served as it is.
"""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import bittensor_core

FOLDER = Path(__file__).parents[3] / "crates/substrate/testdata/bittensor"


@dataclass
class Real:
    """One runtime: what is served of it, and what reads and writes for it."""

    spec: int
    version: int
    bytes: bytes
    codec: bittensor_core.Runtime
    transaction_version: int
    # Arguments of each call by the names of pallet and call, in order.
    calls: dict[tuple[str, str], list[str]]


def runtimes() -> list[Real]:
    """All runtimes, the oldest first."""
    found = []
    for path in sorted(FOLDER.glob("metadata-*.scale.gz")):
        spec, version = map(int, re.findall(r"-(\d+)-\w+-v(\d+)", path.name)[0])
        found.append(of_file(spec, version, gzip.decompress(path.read_bytes())))
    return found


def of_file(spec: int, version: int, served: bytes) -> Real:
    readable = version_15(served) if version == 16 else served
    # What signs covers this number, too, which stands in the metadata themselves.
    said = bittensor_core.Runtime(readable, spec, 1).constant("System", "Version")
    assert said["spec_version"] == spec, f"the metadata of {spec} say {said['spec_version']}"
    codec = bittensor_core.Runtime(readable, spec, said["transaction_version"])
    calls = {
        (pallet["name"], call["name"]): [argument["name"] for argument in call["args"]]
        for pallet in codec.metadata_ir()["pallets"]
        for call in pallet["calls"]
    }
    return Real(spec, version, served, codec, said["transaction_version"], calls)


class Reader:
    """Metadata from front to back. Each method gives the bytes of what it has passed over."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, n_bytes: int) -> bytes:
        self.at += n_bytes
        assert self.at <= len(self.data), "the metadata end too early"
        return self.data[self.at - n_bytes : self.at]

    def byte(self) -> bytes:
        return self.take(1)

    def length(self) -> tuple[int, bytes]:
        """A number in SCALE's compact form, and its bytes."""
        first = self.data[self.at]
        n_bytes = [1, 2, 4, (first >> 2) + 5][first & 3]
        taken = self.take(n_bytes)
        if first & 3 == 3:
            return int.from_bytes(taken[1:], "little"), taken
        return int.from_bytes(taken, "little") >> 2, taken

    def ty(self) -> bytes:
        return self.length()[1]

    def text(self) -> bytes:
        n_bytes, taken = self.length()
        return taken + self.take(n_bytes)

    def many(self, *parts) -> bytes:
        n, taken = self.length()
        return taken + b"".join(part() for _ in range(n) for part in parts)

    def maybe(self, *parts) -> bytes:
        there = self.byte()
        return there + b"".join(part() for part in parts if there == b"\1")

    def texts(self) -> bytes:
        return self.many(self.text)

    def fields(self) -> bytes:
        return self.many(lambda: self.maybe(self.text), self.ty, lambda: self.maybe(self.text),
                         self.texts)

    def definition(self) -> bytes:
        kind = self.byte()
        parts = [
            [self.fields],
            [lambda: self.many(self.text, self.fields, self.byte, self.texts)],
            [self.ty],
            [lambda: self.take(4), self.ty],
            [lambda: self.many(self.ty)],
            [self.byte],
            [self.ty],
            [self.ty, self.ty],
        ][kind[0]]
        return kind + b"".join(part() for part in parts)

    def registry(self) -> bytes:
        parameters = lambda: self.many(self.text, lambda: self.maybe(self.ty))
        return self.many(self.ty, self.texts, parameters, self.definition, self.texts)

    def storage_type(self) -> bytes:
        kind = self.byte()
        if kind == b"\0":
            return kind + self.ty()
        return kind + self.many(self.byte) + self.ty() + self.ty()

    # What version 16 adds, passed over.

    def dropped_note(self) -> bytes:
        """Whether an item is deprecated."""
        if self.byte() == b"\2":
            self.text()
            self.maybe(self.text)
        return b""

    def dropped_notes(self) -> bytes:
        """Which variants of an enumeration are."""
        self.many(self.byte, self.dropped_note)
        return b""

    def dropped_associated(self) -> bytes:
        self.many(self.text, self.ty, self.texts)
        return b""

    def dropped_views(self) -> bytes:
        inputs = lambda: self.many(self.text, self.ty)
        self.many(lambda: self.take(32), self.text, inputs, self.ty, self.texts, self.dropped_note)
        return b""

    def pallet(self) -> bytes:
        entry = [self.text, self.byte, self.storage_type, self.text, self.texts, self.dropped_note]
        enumeration = lambda: self.maybe(self.ty, self.dropped_notes)
        constants = lambda: self.many(self.text, self.ty, self.text, self.texts, self.dropped_note)
        parts = [
            self.text, lambda: self.maybe(self.text, lambda: self.many(*entry)),
            enumeration, enumeration, constants, enumeration,
            self.dropped_associated, self.dropped_views, self.byte, self.texts, self.dropped_note,
        ]  # fmt: skip
        return b"".join(part() for part in parts)

    def extrinsic(self) -> tuple[bytes, bytes]:
        """As version 15 has it, and the type of calls, which stands for types that are gone."""
        self.text()  # Versions: bytes with their number before them, as in a text.
        address, call, signature = self.ty(), self.ty(), self.ty()
        self.many(self.byte, lambda: self.many(self.ty))
        extensions = self.many(self.text, self.ty, self.ty)
        return b"\4" + address + call + signature + call + extensions, call

    def apis(self) -> bytes:
        def dropped_version() -> bytes:
            self.ty()
            return b""

        inputs = lambda: self.many(self.text, self.ty)
        methods = lambda: self.many(self.text, inputs, self.ty, self.texts, self.dropped_note)
        return self.many(self.text, methods, self.texts, dropped_version, self.dropped_note)


def version_15(version_16: bytes) -> bytes:
    """The same runtime as version 15 says it."""
    assert version_16[:5] == b"meta\x10", "not metadata of version 16"
    reader = Reader(version_16[5:])
    types, pallets = reader.registry(), reader.many(reader.pallet)
    extrinsic, call = reader.extrinsic()
    apis = reader.apis()
    rest = reader.data[reader.at :]
    return b"meta\x0f" + types + pallets + extrinsic + call + apis + rest
