"""A node that is none: it serves a real runtime's metadata, and storage that was made for it.

    fake.py [--spec N] [--port N] [--refuse TIMES] [--refuse-handshakes TIMES] [--retry-after S]

JSON-RPC over WebSocket, as Bittensor's nodes speak it. There is no ledger behind it: a call that
arrives is decoded by the official codec, its signature is verified over the official payload, and
it stands in the next block with the events that it would have had. Requests are counted.
"""

import argparse
import asyncio
import bisect
import itertools
import json
import threading
import time
from collections import Counter

from bittensor_core import ss58_decode, verify
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

import subnet as made
from blocks import Block, Call, Refusal, bytes_of, compact, hashed, hex_of
from metadata import Real, runtimes

GENESIS = hashed(b"the genesis of a fake")
BLOCK_SECONDS = 0.2
# Blocks by which the newest final one is behind.
FINAL_BLOCKS = 1
# States that are held, as light nodes do.
STATE_BLOCKS = 300


class Fake:
    """One runtime behind one address of this machine. Everything in it may be set while it runs."""

    def __init__(self, real: Real, port: int = 0):
        self.real, self.codec, self.port = real, real.codec, port
        self.subnet = made.made(real)
        self.storage = made.stored(real, self.subnet)
        self.keys = sorted(self.storage)
        self.requests: Counter[str] = Counter()
        self.calls: list[Call] = []
        # The next call fails so: number of the pallet and of the error.
        self.fails: tuple[int, int] | None = None
        # How many requests, and handshakes, are refused from now on, and what they are told.
        self.refused_requests = self.refused_handshakes = 0
        self.retry_after = 1
        self.pool: list[Call] = []
        self.nonces: dict[str, int] = {}
        self.lines: dict = {}
        self.numbers = itertools.count(1)
        self.started = threading.Event()
        first = Block(made.BASE, hashed(b"the block before"))
        self.blocks = {first.number: first}
        self.by_hash = {first.hash(): first}
        self.newest = first
        self.describe(first, [])

    # --- Blocks.

    def encoded(self, item: str, value) -> dict[bytes, bytes]:
        pallet, name = item.split(".")
        entry = self.codec.storage_entry(pallet, name)
        key = bytes(self.codec.storage_key(pallet, name, []))
        return {key: bytes(self.codec.encode(entry.value_type, value))}

    def put(self, pallet: str, item: str, keys: list, value) -> None:
        """Changes the storage of all blocks, from now on."""
        key, encoded = made.Storage(self.real).encoded(pallet, item, keys, value)
        self.storage[key] = encoded
        self.keys = sorted(self.storage)

    def describe(self, block: Block, events: list) -> None:
        """Number, time and events of a block."""
        now = int(time.time() * 1_000)
        for item, value in (("Number", block.number), ("Events", events)):
            block.own |= self.encoded(f"System.{item}", value)
        block.own |= self.encoded("Timestamp.Now", now)

    def record(self, position: int, pallet: str, name: str, fields) -> dict:
        phase = {"ApplyExtrinsic": position}
        return {"phase": phase, "event": {pallet: {name: fields}}, "topics": []}

    def events(self, calls: list[Call]) -> list:
        weight = {"ref_time": 1_000, "proof_size": 0}
        info = {"weight": weight, "class": "Normal", "pays_fee": "Yes"}
        # The first is the time's.
        fine = {"dispatch_info": info}
        found = [self.record(0, "System", "ExtrinsicSuccess", fine)]
        for position, call in enumerate(calls, 1):
            if self.fails:
                pallet, error = self.fails
                why = {"Module": {"index": pallet, "error": [error, 0, 0, 0]}}
                fields = {"dispatch_error": why, "dispatch_info": info}
                found.append(self.record(position, "System", "ExtrinsicFailed", fields))
                self.fails = None
                continue
            if effect := self.effect(call):
                found.append(self.record(position, *effect))
            found.append(self.record(position, "System", "ExtrinsicSuccess", fine))
        return found

    def effect(self, call: Call) -> tuple | None:
        name, said = call.name[1], call.arguments
        if name in ("burned_register", "register_limit"):
            return "SubtensorModule", "NeuronRegistered", (said["netuid"], 77, said["hotkey"])
        if name == "register_network":
            return "SubtensorModule", "NetworkAdded", (42, 1)
        return None

    def make_block(self) -> Block:
        calls, self.pool = self.pool, []
        parent = self.newest
        block = Block(parent.number + 1, parent.hash())
        now = {"now": int(time.time() * 1_000)}
        inherent = bytes(self.codec.compose_call("Timestamp", "set", now))
        unsigned = compact(len(inherent) + 1) + b"\4" + inherent
        block.body = [unsigned, *(call.bytes for call in calls)]
        # Accounts stay as they were left; the rest is of the block.
        account = self.codec.storage_prefix("System", "Account")
        block.own = {key: value for key, value in parent.own.items() if key.startswith(account)}
        for call in calls:
            storage = made.Storage(self.real)
            made.put_account(storage, call.signer, 10**15, self.nonces[call.signer])
            block.own |= storage.entries
        self.describe(block, self.events(calls))
        self.blocks[block.number] = block
        self.by_hash[block.hash()] = block
        self.newest = block
        if old := self.blocks.pop(block.number - STATE_BLOCKS, None):
            self.by_hash.pop(old.hash())
        return block

    def final(self) -> Block:
        return self.blocks.get(self.newest.number - FINAL_BLOCKS, self.newest)

    def hash_of(self, number: int) -> bytes | None:
        if number in self.blocks:
            return self.blocks[number].hash()
        if number > self.newest.number:
            return None
        return GENESIS if number == 0 else hashed(b"old %d" % number)

    def at(self, hash_text: str | None) -> Block:
        if hash_text is None:
            return self.newest
        if block := self.by_hash.get(bytes_of(hash_text)):
            return block
        gone = f"UnknownBlock: State already discarded for {hash_text}"
        raise Refusal(4003, f"Client error: {gone}")

    def value(self, key: bytes, block: Block) -> bytes | None:
        return block.own.get(key, self.storage.get(key))

    # --- Calls.

    def submitted(self, data: bytes) -> Call:
        """Reads a call as a real node would before it takes it."""
        said = self.codec.decode_extrinsic(data)
        name = (said["call"]["call_module"], said["call"]["call_function"])
        arguments = {each["name"]: each["value"] for each in said["call"]["call_args"]}
        signer, nonce = said["address"], said["nonce"]
        call = Call(name, arguments, signer, nonce, None, data)
        call.trouble = self.trouble(call, said)
        return call

    def trouble(self, call: Call, said: dict) -> str | None:
        composed = bytes(self.codec.compose_call(*call.name, call.arguments))
        if not call.bytes.endswith(composed):
            return f"the official codec writes the call as {composed.hex()}"
        era, birth = "00", GENESIS
        if said["era"] != "00":
            period, phase = said["era"]
            head = self.newest.number
            era = {"period": period, "phase": phase}
            birth = self.hash_of(head - (head - phase) % period)
        of_era = dict(era=era, nonce=call.nonce, tip=said["tip"], tip_asset_id=None)
        payload = bytes(self.codec.signature_payload(
            composed, **of_era, genesis_hash=GENESIS, era_block_hash=birth
        ))  # fmt: skip
        (kind, signature), *_ = said["signature"].items()
        signature = bytes_of(signature)
        if kind != "Sr25519" or not verify(payload, signature, call.signer, 1):
            return "bad signature"
        rebuilt, _ = self.codec.encode_signed_extrinsic(
            composed, public_key=bytes(ss58_decode(call.signer)), signature=signature,
            signature_version=1, **of_era,
        )  # fmt: skip
        if bytes(rebuilt) != call.bytes:
            return f"the official codec writes the extrinsic as {bytes(rebuilt).hex()}"
        if call.nonce != self.nonces.get(call.signer, 0):
            return f"the nonce is {call.nonce}"
        return None

    def author_submitExtrinsic(self, data: str) -> str:
        try:
            call = self.submitted(bytes_of(data))
        except Exception as error:
            call = Call(("?", "?"), {}, "?", 0, f"does not decode: {error}", bytes_of(data))
        self.calls.append(call)
        if call.trouble:
            raise Refusal(1010, "Invalid Transaction", call.trouble)
        self.nonces[call.signer] = call.nonce + 1
        self.pool.append(call)
        return hex_of(hashed(call.bytes))

    def author_pendingExtrinsics(self) -> list:
        return [hex_of(call.bytes) for call in self.pool]

    # --- The other methods.

    def system_name(self) -> str:
        return "Fake Node"

    def system_version(self) -> str:
        return "0.1.0"

    def system_chain(self) -> str:
        return f"Fake of {self.real.spec}"

    def system_properties(self) -> dict:
        return {"isEthereum": False, "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO"}

    def system_health(self) -> dict:
        return {"peers": 8, "isSyncing": False, "shouldHavePeers": True}

    def system_accountNextIndex(self, address: str) -> int:
        return self.nonces.get(address, 0)

    def chain_getFinalizedHead(self) -> str:
        return hex_of(self.final().hash())

    def chain_getBlockHash(self, number=None):
        if isinstance(number, list):
            return [self.chain_getBlockHash(each) for each in number]
        if isinstance(number, str):
            number = int(number, 16)
        found = self.hash_of(self.newest.number if number is None else number)
        return found and hex_of(found)

    def chain_getHead(self) -> str:
        return hex_of(self.newest.hash())

    def chain_getHeader(self, block=None):
        if block is not None and bytes_of(block) == GENESIS:
            return Block(0, bytes(32)).header()
        found = self.newest if block is None else self.by_hash.get(bytes_of(block))
        return found and found.header()

    def chain_getBlock(self, block=None):
        found = self.newest if block is None else self.by_hash.get(bytes_of(block))
        if found is None:
            return None
        body = {"header": found.header(), "extrinsics": [hex_of(each) for each in found.body]}
        return {"block": body, "justifications": None}

    def state_getRuntimeVersion(self, _block=None) -> dict:
        said = self.codec.constant("System", "Version")
        camel = lambda name: name.split("_")[0] + "".join(
            part.capitalize() for part in name.split("_")[1:]
        )
        version = {camel(name): value for name, value in said.items() if name != "apis"}
        return version | {"apis": [list(api) for api in said["apis"]], "stateVersion": 1}

    def state_getMetadata(self, _block=None) -> str:
        return hex_of(self.real.bytes)

    def state_getStorage(self, key: str, block=None):
        found = self.value(bytes_of(key), self.at(block))
        return found if found is None else hex_of(found)

    def state_queryStorageAt(self, keys: list, block=None) -> list:
        at = self.at(block)
        found = ((key, self.value(bytes_of(key), at)) for key in keys)
        changes = [[key, value if value is None else hex_of(value)] for key, value in found]
        return [{"block": hex_of(at.hash()), "changes": changes}]

    def state_getKeysPaged(self, prefix: str, count: int, start=None, block=None) -> list:
        at, prefix = self.at(block), bytes_of(prefix)
        if count > 1_000:
            raise Refusal(4002, f"count exceeds maximum value. value: {count}, max: 1000")
        own = [key for key in at.own if key not in self.storage]
        keys = sorted([*self.keys, *own]) if own else self.keys
        first = bisect.bisect_left(keys, prefix)
        if start is not None:
            first = max(first, bisect.bisect_right(keys, bytes_of(start)))
        page = itertools.takewhile(lambda key: key.startswith(prefix), keys[first:])
        return [hex_of(key) for key in itertools.islice(page, count)]

    def state_call(self, method: str, arguments: str, block=None) -> str:
        self.at(block)
        return hex_of(self.runtime_call(method, bytes_of(arguments)))

    def runtime_call(self, method: str, arguments: bytes) -> bytes:
        with_length = compact(len(self.real.bytes)) + self.real.bytes
        if method == "Metadata_metadata_versions":
            return compact(1) + self.real.version.to_bytes(4, "little")
        if method == "Metadata_metadata_at_version":
            wanted = int.from_bytes(arguments, "little")
            return b"\1" + with_length if wanted == self.real.version else b"\0"
        if method == "Core_version":
            said = self.codec.constant("System", "Version")
            return bytes(self.codec.encode(made.type_of(self.real, "RuntimeVersion"), said))
        if method == "Metadata_metadata":
            return with_length
        if method == "SubnetInfoRuntimeApi_get_metagraph":
            is_ours = int.from_bytes(arguments, "little") == made.NETUID
            return made.metagraph(self.real, self.subnet) if is_ours else b"\0"
        if method == "SubnetRegistrationRuntimeApi_get_network_registration_cost":
            return made.NETWORK_PRICE.to_bytes(8, "little")
        if method == "AccountNonceApi_account_nonce":
            address = self.codec.decode("AccountId", arguments)
            return self.nonces.get(address, 0).to_bytes(4, "little")
        raise Refusal(4003, f"Execution failed: Exported method {method} is not found")

    METHODS = [
        "author_pendingExtrinsics", "author_submitExtrinsic", "chain_getBlock",
        "chain_getBlockHash", "chain_getFinalizedHead", "chain_getHead", "chain_getHeader",
        "state_call", "state_getKeysPaged", "state_getMetadata", "state_getRuntimeVersion",
        "state_getStorage", "state_queryStorageAt", "system_accountNextIndex", "system_chain",
        "system_health",
        "system_name", "system_properties", "system_version",
    ]  # fmt: skip

    # By the method: what ends it, and what the notes are called.
    SUBSCRIPTIONS = {
        "chain_subscribeFinalizedHeads": ("chain_unsubscribeFinalizedHeads", "chain_finalizedHead"),
        "chain_subscribeNewHeads": ("chain_unsubscribeNewHeads", "chain_newHead"),
        "chain_subscribeAllHeads": ("chain_unsubscribeAllHeads", "chain_allHead"),
        "state_subscribeRuntimeVersion": (
            "state_unsubscribeRuntimeVersion", "state_runtimeVersion",
        ),
    }  # fmt: skip

    # --- The line.

    async def answer(self, line, request: dict) -> dict:
        method, params = request.get("method", ""), request.get("params") or []
        self.requests[method] += 1
        said = {"jsonrpc": "2.0", "id": request.get("id")}
        ends = {end: (method, note) for method, (end, note) in self.SUBSCRIPTIONS.items()}
        try:
            if self.refused_requests > 0:
                self.refused_requests -= 1
                data = {"policy": "storage-work", "reason": "rate", "retry_after": self.retry_after}
                raise Refusal(-32004, "Storage work rate limit exceeded", data)
            if method in self.SUBSCRIPTIONS:
                number = f"subscription {next(self.numbers)}"
                self.lines[line][number] = method
                # The first note comes after the answer.
                asyncio.get_running_loop().call_soon(
                    lambda: asyncio.ensure_future(self.note(line, number, method))
                )
                return said | {"result": number}
            if method in ends:
                return said | {"result": self.lines[line].pop(params[0], None) is not None}
            if method == "rpc_methods":
                return said | {"result": {"methods": [*self.METHODS, *self.SUBSCRIPTIONS, *ends]}}
            if method not in self.METHODS:
                raise Refusal(-32601, "Method not found")
            return said | {"result": getattr(self, method)(*params)}
        except Refusal as refusal:
            return said | {"error": refusal.error}
        except Exception as error:
            return said | {"error": {"code": -32602, "message": f"{method}: {error!r}"}}

    async def note(self, line, number: str, method: str) -> None:
        name = self.SUBSCRIPTIONS[method][1]
        if method == "state_subscribeRuntimeVersion":
            result = self.state_getRuntimeVersion()
        else:
            is_final = method == "chain_subscribeFinalizedHeads"
            result = (self.final() if is_final else self.newest).header()
        params = {"subscription": number, "result": result}
        try:
            await line.send(json.dumps({"jsonrpc": "2.0", "method": name, "params": params}))
        except ConnectionClosed:
            self.lines.pop(line, None)

    async def serve_line(self, line) -> None:
        self.lines[line] = {}
        try:
            async for text in line:
                said = json.loads(text)
                if isinstance(said, list):
                    answers = [await self.answer(line, request) for request in said]
                    await line.send(json.dumps(answers))
                else:
                    await line.send(json.dumps(await self.answer(line, said)))
        except ConnectionClosed:
            # Whoever has its answer goes without a word.
            pass
        finally:
            self.lines.pop(line, None)

    async def handshake(self, _line, _request):
        if self.refused_handshakes <= 0:
            return None
        self.refused_handshakes -= 1
        headers = Headers({
            "Retry-After": str(self.retry_after), "X-RateLimit-Policy": "connections",
            "X-RateLimit-Reason": "rate", "Content-Length": "0", "Connection": "close",
        })  # fmt: skip
        return Response(429, "Too Many Requests", headers, b"")

    async def run(self) -> None:
        server = serve(self.serve_line, "127.0.0.1", self.port, process_request=self.handshake,
                       max_size=2**24, compression=None)  # fmt: skip
        async with server as listening:
            self.port = listening.sockets[0].getsockname()[1]
            self.started.set()
            while True:
                await asyncio.sleep(BLOCK_SECONDS)
                self.make_block()
                for line, subscriptions in list(self.lines.items()):
                    for number, method in list(subscriptions.items()):
                        if method.endswith("Heads"):
                            await self.note(line, number, method)

    def start(self) -> str:
        """Serves from a thread of its own until the process ends; gives the address."""
        threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True).start()
        assert self.started.wait(10), "the fake node does not start"
        return self.url()

    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spec", type=int, default=461)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--refuse", type=int, default=0, metavar="TIMES",
                        help="answer so many requests with -32004")  # fmt: skip
    parser.add_argument("--refuse-handshakes", type=int, default=0, metavar="TIMES",
                        help="answer so many handshakes with 429")  # fmt: skip
    parser.add_argument("--retry-after", type=int, default=1, metavar="SECONDS")
    args = parser.parse_args()
    real = next(real for real in runtimes() if real.spec == args.spec)
    fake = Fake(real, args.port)
    fake.refused_requests, fake.refused_handshakes = args.refuse, args.refuse_handshakes
    fake.retry_after = args.retry_after
    print(json.dumps({"url": fake.start(), "spec": real.spec, "netuid": made.NETUID}), flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        print(json.dumps(dict(fake.requests)))


if __name__ == "__main__":
    main()
