"""Checks that Bittensor's Python SDK, or `btcli`, works with a running node.

    sdk.py sdk URL GENESIS AGON      the SDK: registers, commits, sets weights, reads the metagraph
    sdk.py btcli URL GENESIS AGON    `btcli` next to this interpreter: shows the metagraph

Each check prints a line: "ok" or "FAILED", the client, what was looked at. The first failure of a
step ends the step, because what follows needs what it did; the exit status says if all passed.

What a client shows is compared with what was sent, and with what our own command line, given as
AGON, says about the same block: two independent readers of one chain.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

NETUID = 1
RAO = 10**9
# Accounts that a new chain starts with, by their public development keys.
RICH = "//Bob"
FUNDS_TAO = 2_000
STAKE_TAO = 1_000
# Two epochs of the subnet's 21 blocks at four blocks a second, and time to spare on a slow machine.
EPOCH_SECONDS = 60

CLIENT, URL, GENESIS, AGON = sys.argv[1:5]


class Failed(Exception):
    """What a check found wrong."""


def say(verdict: str, text: str) -> None:
    print(f"{verdict:<3} {CLIENT}: {text}", flush=True)


def equal(what: str, got, wanted) -> None:
    if got != wanted:
        raise Failed(f"{what} is {got!r} instead of {wanted!r}")


def ensure(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def command(*words: str) -> str:
    """Runs a command and gives its output; its error text becomes ours."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=90)
    if done.returncode != 0:
        text = " ".join((done.stderr or done.stdout).split())
        raise Failed(f"`{' '.join(words)}` exited with {done.returncode}: {text}")
    return done.stdout


def agon(*words: str):
    """What our own command line says, as JSON."""
    return json.loads(command(AGON, "chain", *words, "--chain", URL, "--json"))


def our_metagraph(block: int) -> dict:
    return agon("metagraph", "--netuid", str(NETUID), "--block", str(block))


def our_commitments() -> list[dict]:
    return agon("commitments", "--netuid", str(NETUID))


def columns(graph: dict) -> dict:
    """What SDK and `btcli` can both show of our own metagraph, by uid."""
    names = {
        "hotkeys": "hotkey",
        "coldkeys": "coldkey",
        "total_stake": "stake_rao",
        "validator_permit": "validator_permit",
        "active": "active",
        "last_update": "last_update",
        "block_at_registration": "block_at_registration",
        "consensus": "consensus",
        "incentives": "incentive",
        "dividends": "dividends",
        "emission": "emission_rao",
    }
    return {theirs: [n[ours] for n in graph["neurons"]] for theirs, ours in names.items()}


def same_metagraph(theirs: dict) -> dict:
    """Compares a metagraph, as the chain's runtime API gives it, with our own of the same block."""
    ours = our_metagraph(theirs["block"])
    equal("the tempo", theirs["tempo"], ours["tempo"])
    equal("the number of slots", theirs["num_uids"], len(ours["neurons"]))
    equal("the uids", [n["uid"] for n in ours["neurons"]], list(range(len(ours["neurons"]))))
    for name, column in columns(ours).items():
        equal(f"the column {name} of block {theirs['block']}", theirs[name], column)
    return ours


async def sdk() -> None:
    import bittensor as bt
    from bittensor.sp_core import Keypair

    # No other nodes: the SDK must not go on with somebody else's if ours went away.
    async with bt.Client(URL, fallback_endpoints=[], archive_endpoints=[]) as client:
        rich = Keypair.create_from_uri(RICH)
        rich = SimpleNamespace(coldkey=rich, coldkeypub=rich, hotkey=rich)

        # Of the SDK's own making, in files: our command line must read them as its own.
        wallets = [bt.Wallet(name) for name in ("validator", "miner-a", "miner-b")]
        for wallet in wallets:
            wallet.create_new_coldkey(use_password=False, suppress=True)
            wallet.create_new_hotkey(suppress=True)
        validator, *miners = wallets
        uids: dict[str, int] = {}

        async def call(wallet, composed, **options):
            result = await client.submit_call(composed, wallet, **options)
            result.raise_for_failure()
            return result

        async def refused(name: str, wallet, composed, **options) -> None:
            """The call must reach a block and fail there, and the SDK must say why by name."""
            result = await client.submit_call(composed, wallet, **options)
            ensure(not result.success, f"the call passed, though {name} was due")
            equal("the name of the error", result.error.name, name)

        def block_of(result) -> int:
            return int(result.extrinsic_id.split("-")[0])

        async def connects() -> str:
            equal("the genesis hash", (await client.block_info(0)).hash, GENESIS)
            first = await client.block()
            header = await client.wait_for_block(first + 2, timeout=30)
            ensure(header.number >= first + 2, "the chain does not grow")
            info = agon("info")
            equal("the spec version", await client.spec_version(), info["spec_version"])
            now = (await client.timestamp()).timestamp()
            off = now - time.time()
            ensure(abs(off) < 60, f"the chain's clock is off by {off} s")
            return f"connects, and follows new blocks (spec version {info['spec_version']})"

        async def shares_wallets() -> str:
            listed = json.loads(command(AGON, "wallet", "list", "--json"))
            listed = {
                (w["wallet"], h["name"]): (w["coldkey"], h["address"])
                for w in listed
                for h in w["hotkeys"]
            }
            for w in wallets:
                keys = (w.coldkeypub.ss58_address, w.hotkey.ss58_address)
                equal(f"wallet {w.name} in our list", listed.get((w.name, "default")), keys)
            return "makes wallets that our command line reads"

        async def transfers() -> str:
            amount = bt.tao(FUNDS_TAO)
            for wallet in wallets:
                address = wallet.coldkeypub.ss58_address
                before = await client.balances.get(rich.coldkey.ss58_address)
                transfer = bt.Transfer(dest_ss58=address, amount_tao=amount)
                (await client.execute(transfer, rich)).raise_for_failure()
                equal("what the receiver has", (await client.balances.get(address)).rao, amount.rao)
                after = await client.balances.get(rich.coldkey.ss58_address)
                equal("what left the sender", before.rao - after.rao, amount.rao)
                ours = agon("balance", "--account", address)
                equal("our balance of the receiver", ours["balance_rao"], amount.rao)
            return f"transfers {amount} to each of {len(wallets)} accounts"

        async def registers() -> str:
            for wallet in wallets:
                hotkey, coldkey = wallet.hotkey.ss58_address, wallet.coldkeypub.ss58_address
                price = await client.subnets.burn(NETUID)
                before = await client.balances.get(coldkey)
                await call(
                    wallet,
                    bt.calls.SubtensorModule.burned_register(netuid=NETUID, hotkey=hotkey),
                )
                paid = before.rao - (await client.balances.get(coldkey)).rao
                equal("what the slot cost", paid, price.rao)
                uids[hotkey] = await client.read("uid", hotkey_ss58=hotkey, netuid=NETUID)
                owner = await client.read("hotkey_owner", hotkey_ss58=hotkey)
                equal("the owner of the hotkey", owner, coldkey)
            # Uid 0 is the subnet owner's.
            equal("the uids", list(uids.values()), [1, 2, 3])
            await refused(
                "HotKeyAlreadyRegisteredInSubNet",
                validator,
                bt.calls.SubtensorModule.burned_register(
                    netuid=NETUID, hotkey=validator.hotkey.ss58_address
                ),
            )
            return "registers three hotkeys; a second time is refused by name"

        def commitment(text: bytes):
            field = {f"Raw{len(text)}": text}
            return bt.calls.Commitments.set_commitment(netuid=NETUID, info={"fields": [field]})

        async def commits() -> str:
            for miner in miners:
                hotkey = miner.hotkey.ss58_address
                nothing = await client.read("commitment", netuid=NETUID, hotkey_ss58=hotkey)
                equal("the commitment before any", nothing, None)
                # One of the longest that fit, and one of a usual length.
                text = f"made by {miner.name}:".ljust(128 if miner is miners[0] else 40, "x")
                block = block_of(await call(miner, commitment(text.encode()), signer="hotkey"))
                seen = await client.read("commitment", netuid=NETUID, hotkey_ss58=hotkey)
                equal("the commitment", (seen.data, seen.block), (text, block))
                listed = (await client.subnets.commitments(NETUID))[hotkey]
                equal(
                    "the commitment in the subnet's list",
                    (listed.value, listed.block, listed.uid, listed.status),
                    (text, block, uids[hotkey], "plain"),
                )
                ours = next(c for c in our_commitments() if c["hotkey"] == hotkey)
                equal("our view of it", (ours["text"], ours["block"]), (text, block))
            await refused(
                "CommitmentSetRateLimitExceeded", miners[1], commitment(b"again"), signer="hotkey"
            )
            await refused("AccountNotAllowedCommit", rich, commitment(b"no slot"), signer="hotkey")
            return "sets commitments and reads them with their blocks; two are refused by name"

        async def stakes() -> str:
            amount = STAKE_TAO * RAO
            hotkey = validator.hotkey.ss58_address
            before = await client.balances.get(validator.coldkeypub.ss58_address)
            stake = bt.AddStake(hotkey_ss58=hotkey, netuid=NETUID, amount_tao=STAKE_TAO)
            result = await client.execute(stake, validator)
            result.raise_for_failure()
            after = await client.balances.get(validator.coldkeypub.ss58_address)
            equal("what left the balance", before.rao - after.rao, amount)
            graph = await client.subnets.metagraph(NETUID)
            staked = graph.by_hotkey(hotkey).total_stake.rao
            # An epoch may have paid dividends since, for the blocks since the one before as well: no
            # more than a TAO is minted in a block.
            since = await client.block() - block_of(result)
            minted = (since + our_metagraph(block_of(result))["tempo"] + 1) * RAO
            ensure(amount <= staked <= amount + minted, f"the stake is {staked}, not {amount} and dividends")
            return f"stakes {STAKE_TAO} TAO"

        async def until(what: str, holds):
            """The first metagraph for which `holds` is true."""
            end = time.monotonic() + EPOCH_SECONDS
            while time.monotonic() < end:
                graph = await client.subnets.metagraph(NETUID)
                if holds(graph):
                    return graph
                await client.wait_for_block(timeout=30)
            raise Failed(f"{what} did not come about in {EPOCH_SECONDS} s")

        async def sets_weights() -> str:
            hotkey = validator.hotkey.ss58_address
            await until(
                "the validator's permit", lambda graph: graph.by_hotkey(hotkey).validator_permit
            )
            # Before the weights: what they pay the miners is stake, which brings permits.
            await refused(
                "NeuronNoValidatorPermit",
                miners[0],
                bt.calls.SubtensorModule.set_mechanism_weights(
                    netuid=NETUID, mecid=0, dests=[0], weights=[65_535], version_key=0
                ),
                signer="hotkey",
            )
            targets = [uids[miner.hotkey.ss58_address] for miner in miners]
            weights = dict(zip(targets, (0.75, 0.25)))
            result = await client.execute(bt.SetWeights(netuid=NETUID, weights=weights), validator)
            result.raise_for_failure()
            # The largest becomes 65,535, the others keep their ratio to it.
            wanted = [(targets[0], 65_535), (targets[1], round(65_535 / 3))]
            row = await client.query(bt.storage.SubtensorModule.Weights, [NETUID, uids[hotkey]])
            equal("the row on the chain", [tuple(pair) for pair in row], wanted)
            shares = (await client.weights.weights(NETUID))[uids[hotkey]]
            for uid, weight in weights.items():
                ensure(abs(shares[uid] - weight) < 1e-4, f"the share of {uid} is {shares[uid]}")
            block = block_of(result)
            ours = our_metagraph(block)["neurons"][uids[hotkey]]
            equal("our view of the row", [tuple(pair) for pair in ours["weights"]], wanted)
            equal("our view of its block", ours["last_update"], block)
            return "sets weights and reads them back; without a permit it is refused by name"

        async def reads_metagraph() -> str:
            hotkey = validator.hotkey.ss58_address
            first, second = (miner.hotkey.ss58_address for miner in miners)
            graph = await until(
                "pay for the miners", lambda graph: graph.by_hotkey(second).incentive > 0
            )
            ours = same_metagraph(graph.raw)
            equal("the hotkeys", graph.hotkeys, [n["hotkey"] for n in ours["neurons"]])
            for wallet in wallets:
                neuron = graph.by_hotkey(wallet.hotkey.ss58_address)
                equal("the uid", neuron.uid, uids[neuron.hotkey])
                equal("the coldkey", neuron.coldkey, wallet.coldkeypub.ss58_address)
                text = None if wallet is validator else f"made by {wallet.name}:"
                seen = neuron.commitment and neuron.commitment.data.rstrip("x")
                equal("the commitment", seen, text)
            # One validator has stake, so that its weights are the consensus.
            paid = [graph.by_hotkey(hotkey).incentive for hotkey in (first, second)]
            close = all(abs(a - b) < 1e-3 for a, b in zip(paid, (0.75, 0.25)))
            ensure(close, f"the incentives are {paid}")
            neuron = graph.by_hotkey(hotkey)
            equal("the validator's dividends", neuron.dividends, 1.0)
            ensure(neuron.total_stake.rao > STAKE_TAO * RAO, "the validator's stake does not grow")
            rows = await client.query_map(
                bt.storage.SubtensorModule.Weights, [NETUID], block=graph.block
            )
            rows = {int(uid): [tuple(pair) for pair in row] for uid, row in rows}
            wanted = {
                n["uid"]: [tuple(pair) for pair in n["weights"]]
                for n in ours["neurons"]
                if n["weights"]
            }
            equal("the matrix of weights", rows, wanted)
            return f"reads the metagraph of block {graph.block}, the same that we read"

        async def hides_weights() -> str:
            def owner(*words: str):
                return agon(*words, "--netuid", str(NETUID), "--wallet", "//Alice")

            # Slow enough that nothing here is late.
            for rule in ("tempo=40", "commit_reveal=true"):
                owner("subnet", "set", rule)
            targets = [uids[miner.hotkey.ss58_address] for miner in miners]
            hotkey = validator.hotkey.ss58_address
            before = await client.query(bt.storage.SubtensorModule.Weights, [NETUID, uids[hotkey]])
            weights = bt.SetWeights(netuid=NETUID, weights=dict(zip(targets, (0.1, 0.9))))
            result = await client.execute(weights, validator)
            result.raise_for_failure()
            waiting = await client.query_map(
                bt.storage.SubtensorModule.TimelockedWeightCommits, [NETUID]
            )
            rows = [row for _, rows in waiting for row in rows]
            who = [(str(row[0]), int(row[1])) for row in rows]
            ensure((hotkey, block_of(result)) in who, f"its commit is not among {who}")
            after = await client.query(bt.storage.SubtensorModule.Weights, [NETUID, uids[hotkey]])
            equal("the row while the weights are hidden", after, before)
            # Ours are opened, because they are encrypted to the node's own beacon.
            done = owner("set-weights", "--wait", *(f"{uid}=1" for uid in (0, *targets)))
            reveal, seen = done["reveal"], done["revealed"]
            ensure(reveal["from"] <= seen <= reveal["until"] + 1, f"opened in block {seen}: {reveal}")
            shares = (await client.weights.weights(NETUID))[0]
            for uid in (0, *targets):
                ensure(abs(shares[uid] - 1 / 3) < 1e-4, f"the share of {uid} is {shares[uid]}")
            for rule in ("commit_reveal=false", "tempo=20"):
                owner("subnet", "set", rule)
            return "hides weights, which are taken and not read; ours are opened, and it reads them"

        steps = [
            connects, shares_wallets, transfers, registers, commits, stakes, sets_weights,
            reads_metagraph, hides_weights,
        ]  # fmt: skip
        for step in steps:
            try:
                say("ok", await step())
            except Exception as error:
                # Later steps need what this one was to do.
                say("FAILED", f"{step.__name__}: {type(error).__name__}: {error}")
                raise SystemExit(1) from None


def btcli() -> None:
    program = str(Path(sys.executable).with_name("btcli"))
    # Wide, so that no address is cut; and without the wallets of the step before, because btcli
    # shows the names of hotkeys that it knows in place of their addresses.
    os.environ |= {
        "BT_NETWORK": URL,
        "BT_FALLBACK_ENDPOINTS": "none",
        "BT_ARCHIVE_ENDPOINTS": "none",
        "BT_WALLET_PATH": str(Path.home() / "no-wallets"),
        "COLUMNS": "200",
    }

    def metagraph() -> str:
        theirs = json.loads(command(program, "--json", "subnets", "metagraph", str(NETUID)))
        ours = same_metagraph(theirs)
        block, slots = theirs["block"], len(ours["neurons"])
        return f"reads the metagraph of block {block}, the same that we read ({slots} slots)"

    def table() -> str:
        shown = command(program, "subnets", "metagraph", str(NETUID))
        hotkeys = columns(agon("metagraph", "--netuid", str(NETUID)))["hotkeys"]
        missing = [hotkey for hotkey in hotkeys if hotkey not in shown]
        equal("what its table lacks", missing, [])
        return "shows the metagraph as a table, with every hotkey"

    def commitments() -> str:
        theirs = json.loads(
            command(program, "--json", "query", "commitments", "--netuid", str(NETUID))
        )
        ours = our_commitments()
        ensure(len(ours) > 0, "there is no commitment")
        theirs = sorted((c["hotkey"], c["commitment"], c["block"]) for c in theirs)
        equal("the list", theirs, sorted((c["hotkey"], c["text"], c["block"]) for c in ours))
        return f"lists the commitments ({len(ours)})"

    passed = True
    reads = ((step.__name__, step) for step in (metagraph, table, commitments))
    # The wallets of the second come into being after the first, which must not know them.
    for name, step in itertools.chain(reads, everyday(program)):
        try:
            say("ok", step())
        except Exception as error:
            passed = False
            say("FAILED", f"{name}: {type(error).__name__}: {error}")
    if not passed:
        raise SystemExit(1)


def everyday(program: str):
    """The commands of btcli.json with a wallet of their own, each as a name and a check."""
    import bittensor as bt

    path = str(Path.home() / "btcli-wallets")
    os.environ["BT_WALLET_PATH"] = path
    for hotkey in ("default", "second"):
        wallet = bt.Wallet("rich", hotkey, path=path)
        if hotkey == "default":
            wallet.create_new_coldkey(use_password=False, suppress=True)
        wallet.create_new_hotkey(suppress=True)
    wallet = bt.Wallet("rich", path=path)
    poor = json.loads(command(AGON, "wallet", "create", "--wallet-path", path, "--wallet", "poor",
                              "--no-password", "--json"))["coldkey"]
    ours = ["--wallet", "rich", "--wallet-path", path]
    agon("transfer", "--wallet", RICH, "--to", wallet.coldkeypub.ss58_address, "1000")
    agon("register", *ours, "--netuid", str(NETUID))
    names = {"hotkey": wallet.hotkey.ss58_address, "poor": poor}

    def check(entry: dict) -> str:
        words = entry["words"].format(**names).split()
        done = subprocess.run(
            [program, "--json", *words, "--wallet", "rich"],
            capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
        )
        shown = " ".join((done.stdout + done.stderr).split())
        works = "works" in entry
        ensure((done.returncode == 0) == works, f"exit status {done.returncode}: {shown[-300:]}")
        part = entry["works" if works else "refused"].format(**names)
        ensure(part in shown, f"`{part}` is not in: {shown[-300:]}")
        return f"`{entry['words']}` {'works' if works else 'is refused plainly'}"

    table = json.loads((Path(__file__).parent / "btcli.json").read_text())
    for entry in table["commands"]:
        yield entry["words"], lambda entry=entry: check(entry)


if CLIENT == "sdk":
    asyncio.run(sdk())
else:
    btcli()
