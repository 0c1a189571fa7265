"""A subnet with 256 slots as values, and as the storage that a runtime keeps of it.

The values are made here, and encoded by the official codec for the runtime at hand; what `agon`
says is compared with the values. What a runtime does not keep is left out.
"""

import json
import random
import time
from dataclasses import dataclass, field

from bittensor_core import ss58_encode

from metadata import Real

NETUID = 9
# Beside it, so that what belongs to others is there to be taken for ours.
OTHER = 10
SLOTS = 256
VALIDATORS = 16
# Storage of a second mechanism of a subnet lies under this many times its number.
MECHANISM = 4_096
BASE = 5_000_000
LAST_EPOCH = BASE - 120
EPOCH = 13_888
RAO = 10**9
# When the beacon began that opens what is locked by time; a round is three seconds.
DRAND_GENESIS = 1_692_803_367
SLOT_PRICE = 123_456_789
NETWORK_PRICE = 1_234_567_890_123
PRUNED = "no slot any more"
ZERO_ACCOUNT = ss58_encode(bytes(32))

# Rules as our command line names them, with the items that hold them.
RULES = {
    "tempo": ("Tempo", 360),
    "max_uids": ("MaxAllowedUids", 256),
    "max_validators": ("MaxAllowedValidators", 64),
    "immunity_period": ("ImmunityPeriod", 4_096),
    "min_burn_rao": ("MinBurn", 500_000),
    "max_burn_rao": ("MaxBurn", 100 * RAO),
    "adjustment_interval": ("AdjustmentInterval", 112),
    "target_registrations": ("TargetRegistrationsPerInterval", 3),
    "max_registrations_per_block": ("MaxRegistrationsPerBlock", 2),
    "weights_rate_limit": ("WeightsSetRateLimit", 101),
    "min_weights": ("MinAllowedWeights", 5),
    "max_weight_limit": ("MaxWeightsLimit", 65_534),
    "weights_version": ("WeightsVersionKey", 20_251_130),
    "kappa": ("Kappa", 32_767),
    "bonds_moving_average": ("BondsMovingAverage", 900_000),
    "bonds_penalty": ("BondsPenalty", 65_533),
    "activity_cutoff": ("ActivityCutoff", 5_001),
    "reveal_period": ("RevealPeriodEpochs", 3),
    "registration_allowed": ("NetworkRegistrationAllowed", True),
    "commit_reveal": ("CommitRevealWeightsEnabled", False),
    "yuma3": ("Yuma3On", True),
}


def account(name: str) -> str:
    """An address of nobody."""
    return ss58_encode(random.Random(name).randbytes(32))


@dataclass
class Subnet:
    """What the chain holds, in the words of `agon chain metagraph --json`."""

    neurons: list[dict] = field(default_factory=list)
    # Field of a commitment, its block, and what `agon` is to read of it, by hotkey.
    commitments: dict[str, tuple[dict, int, bytes]] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    owner: str = account("owner")


def made(real: Real, seed: int = 17) -> Subnet:
    """A subnet of values that differ wherever they can."""
    chance = random.Random(f"{seed} {real.spec}")
    short = lambda: chance.randrange(1, 65_536)

    def row(uid: int, is_sparse: bool) -> list[list[int]]:
        if uid >= VALIDATORS:
            return []
        others = [other for other in range(VALIDATORS, SLOTS) if not is_sparse or other % 3 == 0]
        return [[other, short()] for other in others]

    subnet = Subnet()
    for uid in range(SLOTS):
        subnet.neurons.append(dict(
            uid=uid, hotkey=account(f"hotkey {uid}"), coldkey=account(f"coldkey {uid // 3}"),
            stake_rao=chance.randrange(1, 2**53), validator_permit=uid < VALIDATORS,
            active=uid % 5 != 0, last_update=BASE - 1_000 + uid,
            block_at_registration=BASE - 500_000 + 7 * uid, consensus=short(), incentive=short(),
            dividends=short(), validator_trust=short(), emission_rao=chance.randrange(2**40),
            weights=row(uid, is_sparse=False), bonds=row(uid, is_sparse=True),
        ))  # fmt: skip
    fields = fields_of(real)
    for uid, neuron in enumerate(subnet.neurons):
        if uid % 5 == 3:
            continue
        length = (0, 1, 128, uid % 128)[uid % 4]
        raw = bytes(chance.randrange(32, 127) for _ in range(length))
        if uid % 50 == 7:
            raw = chance.randbytes(length)
        commitment = ({f"Raw{length}": raw}, raw)
        if uid in (0, 1, 2):
            commitment = fields[uid % len(fields)]
        kind, read = commitment
        subnet.commitments[neuron["hotkey"]] = (kind, BASE - 90_000 + 11 * uid, read)
    lost = account(PRUNED)
    subnet.commitments[lost] = ({"Raw3": b"old"}, BASE - 100_000, b"old")
    subnet.balances = {account("rich"): 2**53 + 1, account("poor"): 1}
    return subnet


def fields_of(real: Real) -> list[tuple[dict, bytes]]:
    """Fields of commitments that not all runtimes have: what they are, and what is read of them."""
    known = json.dumps(real.codec.registry_json())
    found = [({"Sha256": bytes(range(32))}, b"")]
    if "BigRaw" in known:
        found.append(({"BigRaw": b"b" * 300}, b"b" * 300))
    if "TimelockEncrypted" in known:
        locked = {"encrypted": b"\7" * 500, "reveal_round": 32_399_849}
        found.append(({"TimelockEncrypted": locked}, b""))
    return found


class Storage:
    """Keys and values of one runtime, by the official codec."""

    def __init__(self, real: Real):
        self.real, self.entries = real, {}

    def has(self, pallet: str, item: str) -> bool:
        try:
            self.real.codec.storage_entry(pallet, item)
        except KeyError:
            return False
        return True

    def put(self, pallet: str, item: str, keys: list, value) -> None:
        """Puts a value where the runtime has such an item."""
        if self.has(pallet, item):
            key, encoded = self.encoded(pallet, item, keys, value)
            self.entries[key] = encoded

    def encoded(self, pallet: str, item: str, keys: list, value) -> tuple[bytes, bytes]:
        codec = self.real.codec
        entry = codec.storage_entry(pallet, item)
        key = bytes(codec.storage_key(pallet, item, keys))
        return key, bytes(codec.encode(entry.value_type, value))


def stored(real: Real, subnet: Subnet) -> dict[bytes, bytes]:
    """The storage that holds the subnet, and a little that is not to be mistaken for it."""
    storage = Storage(real)
    of_subnet = lambda item, keys, value: storage.put("SubtensorModule", item, keys, value)
    for netuid, is_there in ((0, True), (1, True), (NETUID, True), (OTHER, True), (11, False)):
        of_subnet("NetworksAdded", [netuid], is_there)
    put_lists(of_subnet, subnet)
    put_slots(of_subnet, subnet)
    put_rules(of_subnet, subnet)
    for hotkey, (raw, block, _) in subnet.commitments.items():
        put_commitment(storage, NETUID, hotkey, raw, block)
    put_commitment(storage, OTHER, subnet.neurons[3]["hotkey"], {"Raw5": b"other"}, BASE - 7)
    for address, rao in subnet.balances.items():
        put_account(storage, address, rao, nonce=0)
    storage.put("Commitments", "RateLimit", [], 100)
    storage.put("Drand", "LastStoredRound", [], int((time.time() - DRAND_GENESIS) / 3))
    storage.put("SubtensorModule", "StakeThreshold", [], 1_000 * RAO)
    return storage.entries


def put_commitment(storage: Storage, netuid: int, hotkey: str, raw: dict, block: int) -> None:
    value = {"deposit": 0, "block": block, "info": {"fields": [raw]}}
    storage.put("Commitments", "CommitmentOf", [netuid, hotkey], value)
    storage.put("Commitments", "LastCommitment", [netuid, hotkey], block)


def put_account(storage: Storage, address: str, rao: int, nonce: int) -> None:
    entry = storage.real.codec.storage_entry("System", "Account")
    value = storage.real.codec.decode(entry.value_type, entry.default_bytes)
    value |= {"nonce": nonce, "providers": 1}
    value["data"] |= {"free": rao}
    storage.put("System", "Account", [address], value)


def put_lists(put, subnet: Subnet) -> None:
    column = lambda name: [neuron[name] for neuron in subnet.neurons]
    for item, name in {
        "ValidatorPermit": "validator_permit", "Active": "active", "LastUpdate": "last_update",
        "Consensus": "consensus", "Incentive": "incentive", "Dividends": "dividends",
        "ValidatorTrust": "validator_trust", "Emission": "emission_rao",
    }.items():  # fmt: skip
        put(item, [NETUID], column(name))
        put(item, [OTHER], [])
    for item in ("LastUpdate", "Incentive"):
        put(item, [MECHANISM + NETUID], [1] * SLOTS)


def put_slots(put, subnet: Subnet) -> None:
    for neuron in subnet.neurons:
        uid, hotkey = neuron["uid"], neuron["hotkey"]
        put("Keys", [NETUID, uid], hotkey)
        put("Uids", [NETUID, hotkey], uid)
        put("IsNetworkMember", [hotkey, NETUID], True)
        put("BlockAtRegistration", [NETUID, uid], neuron["block_at_registration"])
        put("Owner", [hotkey], neuron["coldkey"])
        put("TotalHotkeyStake", [hotkey], neuron["stake_rao"])
        for item in ("Weights", "Bonds"):
            if row := neuron[item.lower()]:
                put(item, [NETUID, uid], row)
                put(item, [MECHANISM + NETUID, uid], [[0, 1]])
    put("Keys", [OTHER, 0], subnet.neurons[3]["hotkey"])
    put("Uids", [OTHER, subnet.neurons[3]["hotkey"]], 0)
    put("Weights", [OTHER, 0], [[0, 65_535]])


def put_rules(put, subnet: Subnet) -> None:
    for item, value in RULES.values():
        put(item, [NETUID], value)
    put("Burn", [NETUID], SLOT_PRICE)
    put("SubnetOwner", [NETUID], subnet.owner)
    put("SubnetworkN", [NETUID], SLOTS)
    put("SubnetworkN", [OTHER], 1)
    put("RegistrationsThisInterval", [NETUID], 2)
    put("MechanismCountCurrent", [NETUID], 2)
    put("LastMechansimStepBlock", [NETUID], LAST_EPOCH)
    # Epochs as runtimes of 2026 count them.
    put("LastEpochBlock", [NETUID], LAST_EPOCH)
    put("PendingEpochAt", [NETUID], 0)
    put("SubnetEpochIndex", [NETUID], EPOCH)
    put("BlocksSinceLastStep", [NETUID], BASE - LAST_EPOCH)
    put("CommitRevealWeightsVersion", [], 4)


def type_of(real: Real, name: str) -> str:
    """How the codec calls the type whose path ends so."""
    types = json.loads(real.codec.registry_json())["types"]
    number = next(each["id"] for each in types if each["type"].get("path", [])[-1:] == [name])
    return f"scale_info::{number}"


class Zero:
    """The value of any type that is all zeros and as short as can be, to be filled in."""

    def __init__(self, real: Real):
        types = json.loads(real.codec.registry_json())["types"]
        self.types = {entry["id"]: entry["type"] for entry in types}

    def of(self, number: int):
        if self.types[number].get("path", [])[-1:] == ["AccountId32"]:
            return ZERO_ACCOUNT
        (kind, what), *_ = self.types[number]["def"].items()
        if kind == "primitive":
            return {"bool": False, "str": ""}.get(what, 0)
        if kind == "composite":
            return self.of_fields(what.get("fields", []))
        if kind == "variant":
            first = min(what["variants"], key=lambda variant: variant["index"])
            if first["name"] == "None":
                return None
            fields = first.get("fields", [])
            return {first["name"]: self.of_fields(fields)} if fields else first["name"]
        if kind == "array":
            return [self.of(what["type"])] * what["len"]
        if kind == "tuple":
            return tuple(self.of(part) for part in what)
        return self.of(what["type"]) if kind == "compact" else []

    def of_fields(self, fields: list):
        if fields and all("name" in each for each in fields):
            return {each["name"]: self.of(each["type"]) for each in fields}
        values = tuple(self.of(each["type"]) for each in fields)
        return values[0] if len(values) == 1 else values


def metagraph(real: Real, subnet: Subnet) -> bytes:
    """What the runtime's own `get_metagraph` gives of the subnet, by the type that it has there."""
    output = real.codec.runtime_api_map()["SubnetInfoRuntimeApi"]["get_metagraph"]["output"]
    zero = Zero(real)
    some = zero.types[int(output.split("::")[1])]["def"]["variant"]["variants"][1]
    whole = zero.of(some["fields"][0]["type"])
    column = lambda name: [neuron[name] for neuron in subnet.neurons]
    value = lambda rule: RULES[rule][1]
    said = {
        "netuid": NETUID, "owner_coldkey": subnet.owner, "block": BASE, "tempo": value("tempo"),
        "last_step": LAST_EPOCH, "blocks_since_last_step": BASE - LAST_EPOCH, "num_uids": SLOTS,
        "max_uids": value("max_uids"), "burn": SLOT_PRICE, "kappa": value("kappa"),
        "weights_rate_limit": value("weights_rate_limit"), "name": list(b"agon"),
        "hotkeys": column("hotkey"), "coldkeys": column("coldkey"), "active": column("active"),
        "validator_permit": column("validator_permit"), "last_update": column("last_update"),
        "emission": column("emission_rao"), "dividends": column("dividends"),
        "incentives": column("incentive"), "consensus": column("consensus"),
        "block_at_registration": column("block_at_registration"),
        "total_stake": column("stake_rao"), "alpha_stake": [1] * SLOTS, "tao_stake": [2] * SLOTS,
        "trust": [0] * SLOTS, "rank": [0] * SLOTS, "pruning_score": [3] * SLOTS,
    }  # fmt: skip
    whole |= {name: each for name, each in said.items() if name in whole}
    return bytes(real.codec.encode(output, whole))
