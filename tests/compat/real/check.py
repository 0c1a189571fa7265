"""Checks that `agon` reads and calls Bittensor's runtimes, by their metadata and official codec.

    check.py AGON [SPEC…]

For each runtime a fake node (fake.py) serves its real metadata and storage made for it by the
official codec. What `agon chain` says is compared with the values that were encoded; each call that
it makes is decoded by that codec, and its signature verified over the official payload. A line says
"ok" or "FAILED", the runtime and what was looked at, and how many requests a command took.
"""

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import bittensor_core

import subnet as made
from blocks import bytes_of, hashed, hex_of
from fake import Fake
from metadata import runtimes

AGON, *SPECS = sys.argv[1:]
NETUID = made.NETUID
OTHERS = made.account("receiver")
LONG = "a text of as many bytes as fit into one field: ".ljust(128, "x")

# More requests than this are too many for a public endpoint, which lets one a second pass. A wait
# for a call takes some with each block, and blocks come fast here.
REQUESTS_MAX = {
    ("metagraph", "commitments"): 40,
    ("rules",): 20,
    ("call",): 35,
    ("hidden weights",): 50,
}

# Rules of a subnet by the names of our command line: the call of AdminUtils, its argument, a value.
RULE_CALLS = {
    "weights_version": ("sudo_set_weights_version_key", "weights_version_key", 2**60 + 1),
    "weights_rate_limit": ("sudo_set_weights_set_rate_limit", "weights_set_rate_limit", 99),
    "adjustment_interval": ("sudo_set_adjustment_interval", "adjustment_interval", 113),
    "immunity_period": ("sudo_set_immunity_period", "immunity_period", 7_200),
    "min_weights": ("sudo_set_min_allowed_weights", "min_allowed_weights", 8),
    "max_uids": ("sudo_set_max_allowed_uids", "max_allowed_uids", 255),
    "kappa": ("sudo_set_kappa", "kappa", 65_535),
    "activity_cutoff": ("sudo_set_activity_cutoff", "activity_cutoff", 5_003),
    "registration_allowed": (
        "sudo_set_network_registration_allowed", "registration_allowed", False,
    ),
    "target_registrations": (
        "sudo_set_target_registrations_per_interval", "target_registrations_per_interval", 4,
    ),
    "min_burn_rao": ("sudo_set_min_burn", "min_burn", 500_001),
    "max_burn_rao": ("sudo_set_max_burn", "max_burn", 10**11 + 1),
    "max_validators": ("sudo_set_max_allowed_validators", "max_allowed_validators", 63),
    "bonds_moving_average": ("sudo_set_bonds_moving_average", "bonds_moving_average", 900_001),
    "max_registrations_per_block": (
        "sudo_set_max_registrations_per_block", "max_registrations_per_block", 6,
    ),
    "tempo": ("sudo_set_tempo", "tempo", 361),
    "commit_reveal": ("sudo_set_commit_reveal_weights_enabled", "enabled", True),
    "reveal_period": ("sudo_set_commit_reveal_weights_interval", "interval", 2),
    "bonds_penalty": ("sudo_set_bonds_penalty", "bonds_penalty", 65_532),
    "yuma3": ("sudo_set_yuma3_enabled", "enabled", True),
}  # fmt: skip


# What an owner says of a subnet: arguments of the call, and options of our command line.
IDENTITY = {
    "subnet_name": "agon", "github_repo": "https://example.com/agon", "subnet_contact": "",
    "subnet_url": "https://example.com", "discord": "", "description": "übt", "logo_url": "",
    "additional": "",
}  # fmt: skip
IDENTITY_WORDS = [
    "--name", IDENTITY["subnet_name"], "--github", IDENTITY["github_repo"],
    "--url", IDENTITY["subnet_url"], "--description", IDENTITY["description"],
]  # fmt: skip


class Failed(Exception):
    """What a check found wrong."""


def equal(what: str, got, wanted) -> None:
    if got != wanted:
        raise Failed(f"{what} is {str(got)[:300]} instead of {str(wanted)[:300]}")


def ensure(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


@dataclass
class Keys:
    """A wallet of our own command line's making."""

    path: str
    coldkey: str
    hotkey: str


@dataclass
class Case:
    """A command and the call that it means; `instead` where the runtime lacks that call."""

    words: list[str]
    call: tuple[str, str]
    arguments: dict
    signer: str = "coldkey"
    instead: "Case | None" = None
    # What `--json` tells beside the call.
    told: dict | None = None


def as_hex(value) -> str:
    """Bytes as hexadecimal text, however the codec shows them."""
    if isinstance(value, str):
        return value if value.startswith("0x") else hex_of(value.encode())
    return hex_of(bytes(value))


def subtensor(words: list[str], name: str, arguments: dict, **more) -> Case:
    return Case(words, ("SubtensorModule", name), arguments, **more)


def cases(keys: Keys) -> list[Case]:
    """All calls that our command line makes. What is new is added here."""
    on_ours = ["--netuid", str(NETUID)]
    slot = {"netuid": NETUID, "hotkey": keys.hotkey}
    got = {"netuid": NETUID, "uid": 77}
    burned = subtensor(["register", *on_ours], "burned_register", slot, told=got)
    limited = ["register", *on_ours, "--limit", "2"]
    staked = {"hotkey": keys.hotkey, "netuid": NETUID}
    found = [
        Case(["transfer", "--to", OTHERS, "1.000000001"], ("Balances", "transfer_keep_alive"),
             {"dest": OTHERS, "value": 1_000_000_001}),
        burned,
        subtensor(limited, "register_limit", slot | {"limit_price": 2 * 10**9}, told=got,
                  instead=subtensor(limited, "burned_register", slot, told=got)),
        subtensor(["stake", *on_ours, "3.5"], "add_stake",
                  staked | {"amount_staked": 3_500_000_000}),
        subtensor(["unstake", *on_ours, "0.000000002"], "remove_stake",
                  staked | {"amount_unstaked": 2}),
        subtensor(["set-weights", *on_ours, "--version-key", "2025", "3=0.7", "200=0.3"],
                  "set_weights", {"netuid": NETUID, "dests": [3, 200], "weights": [65_535, 28_086],
                   "version_key": 2_025}, signer="hotkey"),
        subtensor(["set-weights", *on_ours, "--mechid", "1", "--version-key", "7", "3=1"],
                  "set_mechanism_weights", {"netuid": NETUID, "mecid": 1, "dests": [3],
                   "weights": [65_535], "version_key": 7}, signer="hotkey"),
        subtensor(["subnet", "create"], "register_network", {"hotkey": keys.hotkey},
                  told={"netuid": 42}),
        subtensor(["subnet", "start", *on_ours], "start_call", {"netuid": NETUID}),
        subtensor(["subnet", "identity", *on_ours, *IDENTITY_WORDS], "set_subnet_identity",
                  {"netuid": NETUID} | {part: hex_of(text.encode())
                                        for part, text in IDENTITY.items()}),
    ]  # fmt: skip
    for text in ("me:my-model:0123456789abcdef", "ü", LONG):
        n_bytes = len(text.encode())
        raw = {f"Raw{n_bytes}": hex_of(text.encode())}
        arguments = {"netuid": NETUID, "info": {"fields": [raw]}}
        found.append(Case(["commit", *on_ours, text], ("Commitments", "set_commitment"), arguments,
                          signer="hotkey"))  # fmt: skip
    for rule, (name, argument, value) in RULE_CALLS.items():
        words = ["subnet", "set", *on_ours, f"{rule}={json.dumps(value)}"]
        found.append(Case(words, ("AdminUtils", name), {"netuid": NETUID, argument: value}))
    return found


class Runtime:
    """One runtime behind a fake node, and the checks against it."""

    def __init__(self, real, keys: Keys):
        self.real, self.keys = real, keys
        self.fake = Fake(real)
        self.url = self.fake.start()
        self.subnet = self.fake.subnet
        self.passed = True
        self.taken: dict[str, int] = {}

    def say(self, verdict: str, text: str) -> None:
        print(f"{verdict:<3} runtime {self.real.spec}: {text}", flush=True)

    def agon(self, name: str, *words: str) -> subprocess.CompletedProcess:
        """Runs a command; counts its requests under a name."""
        self.fake.requests.clear()
        done = subprocess.run(
            [AGON, "chain", *words, "--chain", self.url, "--json"],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.taken[name] = max(self.taken.get(name, 0), self.fake.requests.total())
        ensure("panicked" not in done.stderr, f"`{words[0]}` panics: {done.stderr}")
        return done

    def read(self, name: str, *words: str):
        done = self.agon(name, *words)
        ensure(done.returncode == 0, f"exit status {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def refused(self, name: str, part: str, *words: str) -> None:
        """The command must end with an error that names the part."""
        done = self.agon(name, *words)
        shown = " ".join(done.stderr.split())
        ensure(done.returncode != 0, f"`{' '.join(words)}` passes, though {part} was due")
        ensure(part in shown, f"`{part}` is not in: {shown[:400]}")

    def run(self) -> bool:
        steps = [self.info, self.metagraph, self.commitments, self.balances, self.rules, self.sdk,
                 self.calls, self.refusals, self.hides, self.busy, self.requests]  # fmt: skip
        for step in steps:
            try:
                self.say("ok", step())
            except Exception as error:
                self.passed = False
                self.say("FAILED", f"{step.__name__}: {type(error).__name__}: {error}")
        return self.passed

    # --- Reads.

    def info(self) -> str:
        info = self.read("info", "info")
        equal("the spec version", info["spec_version"], self.real.spec)
        equal("the list of subnets", info["subnets"], [1, NETUID, made.OTHER])
        genesis = self.fake.chain_getBlockHash(0).removeprefix("0x")
        equal("the genesis", info["genesis"].removeprefix("0x"), genesis)
        return f"is told of by `info` (metadata of version {self.real.version})"

    def metagraph(self) -> str:
        graph = self.read("metagraph", "metagraph", "--netuid", str(NETUID))
        for name, value in {
            "netuid": NETUID, "tempo": made.RULES["tempo"][1], "last_epoch": made.LAST_EPOCH,
            "weights_rate_limit": made.RULES["weights_rate_limit"][1],
        }.items():  # fmt: skip
            equal(f"`{name}`", graph[name], value)
        equal("the number of slots", len(graph["neurons"]), made.SLOTS)
        for got, wanted in zip(graph["neurons"], self.subnet.neurons):
            for name, value in wanted.items():
                equal(f"`{name}` of uid {wanted['uid']}", got[name], value)
        block = self.read("metagraph of a block", "metagraph", "--netuid", str(NETUID),
                          "--block", str(made.BASE))  # fmt: skip
        equal("the metagraph of an older block", block["neurons"], graph["neurons"])
        self.mechanism(graph)
        nowhere = ["metagraph", "--netuid", "11"]
        self.refused("metagraph of nothing", "subnet `11` does not exist", *nowhere)
        cells = sum(len(n["weights"]) + len(n["bonds"]) for n in graph["neurons"])
        return f"gives its metagraph: {made.SLOTS} slots, {cells} weights and bonds, as encoded"

    def mechanism(self, first: dict) -> None:
        """The second mechanism: its weights and incentive, and all else of the subnet."""
        words = ["metagraph", "--netuid", str(NETUID), "--mechid"]
        n = 2 if made.Storage(self.real).has("SubtensorModule", "MechanismCountCurrent") else 1
        lacks = f"has no mechanism `{n}`: it has {n}, numbered from 0"
        self.refused("metagraph of nothing", lacks, *words, str(n))
        if n == 1:
            return
        graph = self.read("metagraph of a mechanism", *words, "1")
        for got, other in zip(graph["neurons"], first["neurons"], strict=True):
            own = {"incentive": 1, "last_update": 1}
            own |= {row: [[0, 1]] if other[row] else [] for row in ("weights", "bonds")}
            equal(f"uid {other['uid']} of the second mechanism", got, other | own)

    def commitments(self) -> str:
        found = self.read("commitments", "commitments", "--netuid", str(NETUID))
        wanted = []
        for neuron in self.subnet.neurons:
            if neuron["hotkey"] not in self.subnet.commitments:
                continue
            _, block, data = self.subnet.commitments[neuron["hotkey"]]
            wanted.append({
                "hotkey": neuron["hotkey"], "uid": neuron["uid"], "block": block,
                "registered": neuron["block_at_registration"], "data": list(data),
                "block_hash": self.fake.chain_getBlockHash(block).removeprefix("0x"),
            })  # fmt: skip
        equal("the number of commitments", len(found), len(wanted))
        for got, each in zip(found, wanted):
            got["block_hash"] = got["block_hash"].removeprefix("0x")
            for name, value in each.items():
                equal(f"`{name}` of uid {each['uid']}", got[name], value)
        kinds = ", ".join(sorted({
            "".join(filter(str.isalpha, kind))
            for fields, _, _ in self.subnet.commitments.values() for kind in fields
        }))  # fmt: skip
        return f"gives its commitments: {len(found)}, as encoded ({kinds})"

    def balances(self) -> str:
        accounts = self.subnet.balances | {made.account("never seen"): 0}
        for address, rao in accounts.items():
            said = self.read("balance", "balance", "--account", address)
            equal(f"the balance of {address}", said, {"account": address, "balance_rao": rao})
        return f"gives balances: {len(accounts)}, as encoded"

    def rules(self) -> str:
        shown = self.read("rules", "subnet", "show", "--netuid", str(NETUID))
        equal("the owner", shown["owner"], self.subnet.owner)
        equal("the price of a slot", shown["slot_price_rao"], made.SLOT_PRICE)
        equal("the slots taken", shown["slots"], made.SLOTS)
        storage = made.Storage(self.real)
        has = lambda item: storage.has("SubtensorModule", item)
        wanted = {rule: value for rule, (item, value) in made.RULES.items() if has(item)}
        if storage.has("Commitments", "RateLimit"):
            wanted["commitment_rate_limit"] = 100
        got = {rule["name"]: rule["value"] for rule in shown["rules"]}
        equal("the list of rules", got, wanted)
        lacks = sorted(set(made.RULES) - set(wanted))
        return f"gives the rules of the subnet: {len(wanted)}" + (
            f"; it lacks {', '.join(lacks)}" if lacks else ""
        )

    # --- Calls.

    def signing(self, words: list[str]) -> list[str]:
        return [*words, "--wallet", "ours", "--wallet-path", self.keys.path, "--yes"]

    def call(self, case: Case) -> str:
        """Makes one call; says how it ended."""
        words = self.signing(case.words)
        name = ".".join(case.call)
        if case.call not in self.real.calls and case.instead:
            return self.call(case.instead)
        if case.call not in self.real.calls:
            self.refused("call", name, *words)
            return f"{name} is lacking"
        if case.words == ["subnet", "create"] and not self.real.codec.runtime_api_map():
            # What it costs is asked of the runtime, whose metadata of version 14 say no APIs.
            self.refused("call", "SubnetRegistrationRuntimeApi", *words)
            return f"{name} has no price"
        n_before = len(self.fake.calls)
        done = self.read("call", *words)
        equal(f"the number of calls that {name} makes", len(self.fake.calls), n_before + 1)
        made_call = self.fake.calls[-1]
        equal(f"what is wrong with {name}", made_call.trouble, None)
        equal("the call", made_call.name, case.call)
        # Runtimes of 2024 have fewer arguments, none by another name.
        wanted = {each: case.arguments[each] for each in self.real.calls[case.call]}
        ensure(self.real.spec < 300 or wanted == case.arguments, f"{name} lacks arguments")
        said = dict(made_call.arguments)
        for part in IDENTITY.keys() & said.keys():
            said[part] = as_hex(said[part])
        equal(f"the arguments of {name}", said, wanted)
        signer = getattr(self.keys, case.signer)
        equal(f"the signer of {name}", made_call.signer, signer)
        equal("the signer as told", done["signer"], signer)
        equal("the call as told", done["call"], hex_of(hashed(made_call.bytes)))
        body = self.fake.blocks[done["block"]].body
        ensure(made_call.bytes in body, f"{name} is told to be in a block that does not have it")
        for field, value in (case.told or {}).items():
            equal(f"`{field}` as told of {name}", done.get(field), value)
        return "ok"

    def calls(self) -> str:
        # Only the owner starts a subnet, and says what it is.
        self.fake.put("SubtensorModule", "SubnetOwner", [NETUID], self.keys.coldkey)
        told = [self.call(case) for case in cases(self.keys)]
        lacks = sorted({text for text in told if text != "ok"})
        return f"decodes {told.count('ok')} calls, their signatures valid" + (
            f"; refused plainly: {', '.join(lacks)}" if lacks else ""
        )

    def hides(self) -> str:
        """Weights on a subnet that hides them: sealed, and opened when the official client says."""
        uid, version = 0, made.RULES["weights_version"][1]
        weights = [(16 + i, 65_535 - i) for i in range(5)]
        for item, keys, value in (
            ("CommitRevealWeightsEnabled", [NETUID], True),
            ("Keys", [NETUID, uid], self.keys.hotkey),
            ("Uids", [NETUID, self.keys.hotkey], uid),
        ):
            self.fake.put("SubtensorModule", item, keys, value)
        words = ["set-weights", "--netuid", str(NETUID), "--version-key", str(version)]
        words = self.signing(words + [f"{uid}={weight}" for uid, weight in weights])
        name = ("SubtensorModule", "commit_timelocked_mechanism_weights")
        wanted = {"netuid": NETUID, "mecid": 0, "commit_reveal_version": 4}
        if name not in self.real.calls:
            # The first runtimes that hid weights took no version of what is sealed, so that nobody
            # can tell whether they hold the hotkey in it against the signer: no weights go there.
            try:
                self.read("hidden weights", *words)
            except Failed as error:
                ensure(name[1] in str(error), f"another error: {error}")
                return f"says plainly that it has no {name[1]}"
            raise Failed("weights were hidden by an older call")
        first, start = self.fake.newest.number, time.time()
        done = self.read("hidden weights", *words)
        sealed = self.fake.calls[-1]
        equal("what is wrong with hidden weights", sealed.trouble, None)
        equal("the call that hides weights", sealed.name, name)
        said = dict(sealed.arguments)
        # Hotkey, uids and weights with their lengths, the version; and what sealing adds.
        commit = bytes_of(said.pop("commit"))
        equal("the bytes of hidden weights", len(commit), 33 + 2 * 11 + 8 + 244)
        ensure(commit.endswith(b"AES_GCM_"), "hidden weights do not end with their scheme")
        round_ = said.pop("reveal_round")
        equal("the other arguments", said, wanted)
        equal("the round as told", done["reveal"]["round"], round_)
        if not made.Storage(self.real).has("SubtensorModule", "LastEpochBlock"):
            return f"hides weights for round {round_}"
        passed = int((time.time() - start) / 3) + 1
        last = self.official_round(self.fake.newest.number, weights) - passed
        latest = self.official_round(first, weights) + 1
        ensure(last <= round_ <= latest, f"round {round_} is not from {last} to {latest}")
        return f"hides weights for round {round_}, as the official client would"

    def official_round(self, head: int, weights: list) -> int:
        """The round that the official client reckons at a block, now."""
        uids, values = map(list, zip(*weights))
        slot_seconds = self.real.codec.constant("Aura", "SlotDuration") / 1_000
        _, found = bittensor_core.get_encrypted_commit_v2(
            uids=uids, weights=values, version_key=0, last_epoch_block=made.LAST_EPOCH,
            pending_epoch_at=0, subnet_epoch_index=made.EPOCH, tempo=made.RULES["tempo"][1],
            blocks_since_last_step=made.BASE - made.LAST_EPOCH, current_block=head,
            subnet_reveal_period_epochs=made.RULES["reveal_period"][1], block_time=slot_seconds,
            hotkey=bytes(bittensor_core.ss58_decode(self.keys.hotkey)),
        )  # fmt: skip
        return found

    def sdk(self) -> str:
        """Bittensor's own client reads the same, so that the fake node is one to clients."""
        if self.real.version != 15 or not importlib.util.find_spec("bittensor"):
            return "is not for Bittensor's SDK, which reads version 15"
        self.fake.requests.clear()
        graph, listed = asyncio.run(asyncio.wait_for(self.read_by_sdk(), 60))
        self.taken["the SDK's metagraph and commitments"] = self.fake.requests.total()
        equal("the SDK's hotkeys", graph.hotkeys, [n["hotkey"] for n in self.subnet.neurons])
        stakes = [n["stake_rao"] for n in self.subnet.neurons]
        equal("the SDK's stakes", graph.raw["total_stake"], stakes)
        blocks = {hotkey: block for hotkey, (_, block, _) in self.subnet.commitments.items()}
        equal("the SDK's blocks", {hotkey: each.block for hotkey, each in listed.items()}, blocks)
        return "gives Bittensor's SDK the same metagraph and commitments"

    async def read_by_sdk(self):
        import bittensor

        async with bittensor.Client(
            self.url, fallback_endpoints=[], archive_endpoints=[]
        ) as client:
            return await client.subnets.metagraph(NETUID), await client.subnets.commitments(NETUID)

    def refusals(self) -> str:
        """Errors come as numbers, which are others in each runtime; we tell their names."""
        error = "CommitRevealEnabled"
        number = next(i for i in range(256) if self.error_name(7, i) == error)
        if self.real.spec == 461:
            equal(f"the number of {error}", number, 53)
        self.fake.fails = (7, number)
        words = ["set-weights", "--netuid", str(NETUID), "3=1"]
        self.refused("refusal", error, *self.signing(words))
        return f"refuses a call with Module {{7, {number}}}, which is told as {error}"

    def error_name(self, pallet: int, error: int) -> str | None:
        try:
            return self.real.codec.module_error(pallet, error)[0]
        except Exception:
            return None

    def busy(self) -> str:
        """An endpoint that wants patience: no panic, and a word of it if it is given up."""
        self.fake.refused_requests = 1
        done = self.agon("busy", "info")
        ensure(done.returncode == 0 or "rate limit" in done.stderr, done.stderr)
        self.fake.refused_requests, self.fake.refused_handshakes = 0, 1
        done = self.agon("busy", "info")
        ensure(done.returncode == 0 or "429" in done.stderr, done.stderr)
        self.fake.refused_handshakes = 0
        return "may refuse a request or a handshake for a while"

    def requests(self) -> str:
        for names, most in REQUESTS_MAX.items():
            taken = sum(self.taken.get(name, 0) for name in names)
            ensure(taken <= most, f"{' and '.join(names)}: {taken} requests, more than {most}")
        counts = (f"{name} {n}" for name, n in self.taken.items() if name != "busy")
        return f"is asked, at most, per command: {', '.join(counts)}"


def wallet(folder: str) -> Keys:
    words = ["wallet", "create", "--wallet-path", folder, "--wallet", "ours", "--no-password"]
    done = subprocess.run(
        [AGON, *words, "--json"], capture_output=True, text=True, check=True, timeout=60
    )
    said = json.loads(done.stdout)
    return Keys(folder, said["coldkey"], said["hotkey"])


def main() -> None:
    wanted = [real for real in runtimes() if not SPECS or str(real.spec) in SPECS]
    print(f"    bittensor_core {importlib.metadata.version('bittensor-core')}, runtimes "
          + ", ".join(str(real.spec) for real in wanted), flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        keys = wallet(folder)
        passed = [Runtime(real, keys).run() for real in reversed(wanted)]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
