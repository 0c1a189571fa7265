"""Blocks, calls, errors and bytes, as nodes speak of them."""

from dataclasses import dataclass, field
from hashlib import blake2b


def hashed(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def hex_of(data: bytes) -> str:
    return "0x" + data.hex()


def bytes_of(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def compact(number: int) -> bytes:
    for n_bytes, kind in ((1, 0), (2, 1), (4, 2)):
        if number < 1 << (8 * n_bytes - 2):
            return (number << 2 | kind).to_bytes(n_bytes, "little")
    raise ValueError(number)


class Refusal(Exception):
    """An error that a request is answered with."""

    def __init__(self, code: int, message: str, data=None):
        super().__init__(message)
        self.error = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


@dataclass
class Call:
    """A call that has arrived, as the official codec reads it."""

    name: tuple[str, str]
    arguments: dict
    signer: str
    nonce: int
    # Why it would not be taken by a real node, if so.
    trouble: str | None
    bytes: bytes


@dataclass
class Block:
    number: int
    parent: bytes
    body: list[bytes] = field(default_factory=list)
    # What differs from the storage that all blocks share.
    own: dict[bytes, bytes] = field(default_factory=dict)

    def header(self) -> dict:
        return {
            "parentHash": hex_of(self.parent), "number": hex(self.number),
            "stateRoot": hex_of(bytes(32)), "extrinsicsRoot": hex_of(hashed(b"".join(self.body))),
            "digest": {"logs": []},
        }  # fmt: skip

    def hash(self) -> bytes:
        roots = bytes(32) + hashed(b"".join(self.body))
        return hashed(self.parent + compact(self.number) + roots + b"\0")
