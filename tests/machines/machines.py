"""The network of `tests/machines/run`: what befalls its machines, and what must be true afterwards.

    machines.py AGON WORK PREFIX AWAY_BLOCKS DELAY_SECONDS

The hub is away for AWAY_BLOCKS, and a packet takes DELAY_SECONDS. Namespaces are named
PREFIX-MACHINE; whoever calls deletes them, with everything that runs in them. The exit code is 77
where some of it could not be tried.
"""

import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import time

AGON, WORK, PREFIX = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
# 300 blocks are an hour.
AWAY_BLOCKS = int(sys.argv[4])
DELAY_SECONDS, LOSS = float(sys.argv[5]), 0.05
HERE = pathlib.Path(__file__).resolve().parent
NET = WORK / "net"

# One block stands for the 12 s of Bittensor's, so that a second here is 30 s of the chain's clock.
# A faster one would make more blocks than can be looked through over such a line.
BLOCK_SECONDS = 0.4
SCALE = 12 / BLOCK_SECONDS
BLOCK_TIME = f"{BLOCK_SECONDS * 1000:.0f}ms"
BLOCKS_PER_ROUND = 60
# More than the 50 blocks that are 10 minutes: after 20 s by any clock a client gives an answer up,
# and is to say so.
PARTITION_BLOCKS = AWAY_BLOCKS * 9 // 10
# A machine that is off says nothing: the client of the hub gives up after five silences.
HUB_SILENCE_SECONDS = 5
SEED = int(os.environ.get("AGON_MACHINES_SEED", "1"))

VALIDATORS = ["validator-1", "validator-2", "validator-3"]
MINERS = ["miner-1", "miner-2"]
SERVICES = VALIDATORS + MINERS
CUT = "validator-2"
ADDRESSES = {"node": "10.77.0.1", "hub": "10.77.0.2"} | {
    name: f"10.77.0.{11 + number}" for number, name in enumerate(SERVICES)}
CHAIN, HUB = f"ws://{ADDRESSES['node']}:9944", f"https://{ADDRESSES['hub']}"
STAKES_TAO = {"validator-1": 5000, "validator-2": 3000, "validator-3": 2000}

# What services write when a trouble begins and when it ends (crates/cli/src/service/story.rs).
TROUBLES = {
    "head": ("no newest block is to be had", "blocks are heard of again"),
    "chain": ("trouble with the chain", "the chain answers again"),
    "round": ("a round waits or is given up", "rounds go on"),
    "records": ("records wait to be published", "records are published again"),
    "hub": ("trouble with the hub", "the hub answers again"),
    "demands": ("the chain would refuse them", "weights are what the subnet demands again"),
    "another": ("another process uses this hotkey", "this hotkey is ours alone again"),
}

failures = 0
started = time.monotonic()


def report(is_true, what, why=""):
    global failures
    failures += not is_true
    told = f"ok  machines: {what}" if is_true else f"FAILED machines: {what}: {why}"
    print(told, flush=True)
    return is_true


def tell(what):
    print(f"    {time.monotonic() - started:5.1f} s, block {height()}: {what}", flush=True)


def give_up(what, why):
    report(False, what, why)
    sys.exit(1)


def inside(machine, *command):
    return ["ip", "netns", "exec", f"{PREFIX}-{machine}", *command]


def environment():
    """Nothing of the caller's; the hub's certificate is believed."""
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LANG") if key in os.environ}
    return kept | {"HOME": str(WORK), "SSL_CERT_FILE": str(WORK / "ca.pem"),
                   "HF_HUB_DOWNLOAD_TIMEOUT": str(HUB_SILENCE_SECONDS)}


# --- Machines and lines.


class Line:
    """What lies between the machines: `tc`, `tun` or `plain`."""

    def __init__(self):
        wanted = os.environ.get("AGON_MACHINES_LINE", "tc tun plain").split()
        for machine in ADDRESSES:
            run("ip", "netns", "add", f"{PREFIX}-{machine}")
            run("ip", "-n", f"{PREFIX}-{machine}", "link", "set", "lo", "up")
        self.process, self.kind = None, None
        if "tc" in wanted and self.has_netem():
            self.kind = "tc"
        elif "tun" in wanted and os.path.exists("/dev/net/tun") and self.begin_tun():
            self.kind = "tun"
        if self.kind != "tun":
            self.kind = self.kind or "plain"
            self.begin_bridge()

    def worsen(self):
        """From now on packets take their time, and some are lost."""
        line = f"{DELAY_SECONDS * 1000:.0f} ms and a loss of {LOSS:.0%} from machine to machine"
        if self.kind == "tc":
            for machine in ADDRESSES:
                run("tc", "-n", f"{PREFIX}-{machine}", "qdisc", "add", "dev", "eth0", "root",
                    *self.netem())
            tell(f"{line}, by tc netem")
        elif self.kind == "tun":
            self.order(f"line {DELAY_SECONDS} {LOSS}\n")
            tell(f"{line}, by line.py with seed {SEED}: this kernel has no sch_netem")
        else:
            print("skipped: machines: latency and loss: there is neither sch_netem nor TUN")

    def order(self, order):
        self.process.stdin.write(order)
        self.process.stdin.flush()
        if self.process.stdout.readline() != order:
            give_up("the line obeys", last_line(WORK / "line.log"))

    @staticmethod
    def netem():
        return ["netem", "delay", f"{DELAY_SECONDS * 1000:.0f}ms", "loss", f"{LOSS:.0%}"]

    def has_netem(self):
        command = ["tc", "-n", f"{PREFIX}-node", "qdisc", "add", "dev", "lo", "root"]
        try:
            found = subprocess.run([*command, *self.netem()], capture_output=True).returncode == 0
        except FileNotFoundError:
            return False
        if found:
            run("tc", "-n", f"{PREFIX}-node", "qdisc", "del", "dev", "lo", "root")
        return found

    def begin_tun(self):
        ends = [f"{PREFIX}-{machine}={address}" for machine, address in ADDRESSES.items()]
        command = inside("switch", sys.executable, str(HERE / "line.py"), str(SEED), *ends)
        # It enters the other namespaces from there, and ends with them.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(WORK / "line.log", "w"), text=True)
        return self.process.stdout.readline() == "up\n"

    def begin_bridge(self):
        switch = f"{PREFIX}-switch"
        run("ip", "-n", switch, "link", "add", "bridge0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "bridge0", "up")
        for machine, address in ADDRESSES.items():
            namespace = f"{PREFIX}-{machine}"
            run("ip", "-n", switch, "link", "add", machine, "type", "veth", "peer", "name", "eth0",
                "netns", namespace)
            run("ip", "-n", switch, "link", "set", machine, "master", "bridge0", "up")
            run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", namespace, "link", "set", "eth0", "up")

    def set(self, machine, state):
        """Cuts a machine off, `down`, or joins it again, `up`. Nobody is told."""
        if self.kind == "tun":
            self.order(f"{state} {ADDRESSES[machine]}\n")
        else:
            run("ip", "-n", f"{PREFIX}-switch", "link", "set", machine, state)


def run(*command, timeout=60):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                          env=environment())
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        give_up(" ".join(command[:6]), said[-1] if said else f"exit code {done.returncode}")
    return done.stdout


def last_line(path):
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


class Process:
    """A program on its machine; its log goes on after a start anew."""

    everyone = []

    def __init__(self, name, machine, *command):
        self.name, self.machine, self.command = name, machine, command
        self.log = WORK / f"{name}.log"
        self.is_wanted = False
        Process.everyone.append(self)

    def start(self):
        with open(self.log, "a") as log:
            ready = subprocess.PIPE
            self.process = subprocess.Popen(inside(self.machine, *self.command), stdout=ready,
                                            stderr=log, text=True, env=environment())
        self.is_wanted = True
        return self

    def wait_until_ready(self):
        if not self.process.stdout.readline():
            give_up(f"{self.name} starts", last_line(self.log))

    def tell_to_end(self, how):
        self.is_wanted = False
        if self.process.poll() is None:
            self.process.send_signal(how)

    def wait(self, within=15):
        """Its exit code; `None` if it does not end in time, and is killed then."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def end(self, how):
        self.tell_to_end(how)
        return self.wait()


def check_alive():
    for process in Process.everyone:
        if process.is_wanted and process.process.poll() is not None:
            process.is_wanted = False
            report(False, f"{process.name} lives",
                   f"exit code {process.process.returncode}: {last_line(process.log)}")


# --- The chain as its file tells it.


def ask(database, question, *values):
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    except sqlite3.OperationalError:
        return []
    try:
        return connection.execute(question, values).fetchall()
    finally:
        connection.close()


def height():
    if not (NET / "node/chain.db").exists():
        return 0
    found = ask(NET / "node/chain.db", "SELECT max(number) FROM blocks")
    return found[0][0] or 0 if found else 0


def wait_for_block(number, patience=180):
    deadline = time.monotonic() + patience
    while height() < number:
        check_alive()
        if time.monotonic() > deadline:
            give_up(f"block {number} comes", f"block {height()} is the newest")
        time.sleep(0.1)


# --- Before: folders, certificate, node, hub, slots and stakes.


def make_folder():
    run(AGON, "network", "new", str(NET), "--competitions", "nano", "--validators", "3",
        "--miners", "2", "--block-time", BLOCK_TIME, "--blocks-per-round", str(BLOCKS_PER_ROUND))
    # From the first round on, so that nobody waits for the second.
    rules = NET / "competitions/nano/competition.toml"
    text = re.sub(r"(?m)^from_block = .*", f"from_block = {BLOCKS_PER_ROUND}", rules.read_text())
    rules.write_text(text)
    for name in SERVICES:
        path = NET / "config" / f"{name}.toml"
        text = path.read_text()
        text = re.sub(r'(?m)^network = .*', f'network = "{CHAIN}"', text)
        text = re.sub(r'(?m)^hub = .*', f'hub = "{HUB}"', text)
        if name in MINERS:
            # Small, because a lossy line carries some ten kilobytes a second.
            text = re.sub(r"(?m)^steps_per_block = .*", "steps_per_block = 6", text)
            text += "\nhidden = 16\nlayers = 1\nbatch = 4\nsteps_unpublished = 100\n"
            text += "blocks_per_measure = 25\n"
            text += f"seed = {MINERS.index(name) + 1}\n"
        path.write_text(text)


def make_certificate():
    extension = WORK / "leaf.ext"
    extension.write_text(f"subjectAltName=IP:{ADDRESSES['hub']}\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *key, "-keyout", str(WORK / "ca.key"), "-out",
        str(WORK / "ca.pem"), "-subj", "/CN=agon test", "-days", "2")
    run("openssl", "req", *key, "-keyout", str(WORK / "hub.key"), "-out", str(WORK / "hub.csr"),
        "-subj", "/CN=hub")
    run("openssl", "x509", "-req", "-in", str(WORK / "hub.csr"), "-CA", str(WORK / "ca.pem"),
        "-CAkey", str(WORK / "ca.key"), "-CAcreateserial", "-days", "2", "-extfile",
        str(extension), "-out", str(WORK / "hub.pem"))


def on_chain(wallet, *command):
    """A command of `agon chain`, on the node's own machine."""
    return inside("node", AGON, "chain", *command, "--netuid", "1", "--network", CHAIN, "--wallet",
                  wallet, "--wallet-path", str(NET / "wallets"), "--yes", "--json")


def all_at_once(commands):
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                text=True, env=environment()) for command in commands]
    for process in running:
        said = process.communicate(timeout=60)[1]
        if process.returncode != 0:
            give_up("slots are bought and stakes put", said.strip().splitlines()[-1])


def start_everything():
    make_folder()
    make_certificate()
    node = Process("node", "node", AGON, "node", "--json", "--listen",
                   f"{ADDRESSES['node']}:9944", "--home", str(NET / "node"), "--spec",
                   str(NET / "chain.toml"), "--block-time", BLOCK_TIME)
    hub = Process("hub", "hub", AGON, "hub", "--json", "--listen", "127.0.0.1:9950", "--dir",
                  str(NET / "hub"), "--url", HUB)
    tls = Process("tls", "hub", sys.executable, str(HERE / "tls.py"), ADDRESSES["hub"], "443",
                  str(WORK / "hub.pem"), str(WORK / "hub.key"), "9950")
    for process in (node, hub, tls):
        process.start()
    for process in (node, hub, tls):
        process.wait_until_ready()
    all_at_once([on_chain(name, "register") for name in SERVICES])
    all_at_once([on_chain(name, "stake", str(tao)) for name, tao in STAKES_TAO.items()])
    roles = [("validator", name) for name in VALIDATORS] + [("miner", name) for name in MINERS]
    services = [Process(name, name, AGON, role, "run", "--json", "--config",
                        str(NET / "config" / f"{name}.toml")).start() for role, name in roles]
    for service in services:
        service.wait_until_ready()
    return node, hub


# --- What validators say.


def status(name):
    said = run(AGON, "validator", "status", "--json", "--config",
               str(NET / "config" / f"{name}.toml"))
    return json.loads(said)


def rounds(name):
    said = run(AGON, "validator", "export", "--config", str(NET / "config" / f"{name}.toml"))
    return [json.loads(line) for line in said.splitlines()]


def metagraph():
    return json.loads(run(*inside("node", AGON, "chain", "metagraph", "--netuid", "1", "--network",
                                  CHAIN, "--json")))["neurons"]


def hotkey_of(name):
    return json.loads((NET / "wallets" / name / "hotkeys/defaultpub.txt").read_text())


def address_of(name):
    return hotkey_of(name)["ss58Address"]


def public_key_of(name):
    return bytes.fromhex(hotkey_of(name)["publicKey"].removeprefix("0x"))


def decided(name):
    """Blocks of the rounds that a validator has decided."""
    path = NET / name / "journal.db"
    if not path.exists():
        return []
    return [row[0] for row in ask(path, "SELECT block FROM entries WHERE kind = 'decided'")]


def wait_for(what, patience, is_so):
    """Waits until something is so."""
    deadline = time.monotonic() + patience
    while not is_so():
        check_alive()
        if time.monotonic() > deadline:
            report(False, what, f"not within {patience} s; rounds "
                   f"{ {name: decided(name) for name in VALIDATORS} }")
            return
        time.sleep(0.5)
    report(True, what)


def champion_of(name):
    (found,) = status(name)["competitions"]
    return (found["champion"] or {}).get("hotkey")


def is_settled(since):
    """Whether each has handed weights over, and the chain has opened those for its champion."""
    if not all(weights_set_after(name, since) for name in VALIDATORS):
        return False
    time.sleep(2)
    neurons = {neuron["hotkey"]: neuron for neuron in metagraph()}
    uids = {hotkey: neuron["uid"] for hotkey, neuron in neurons.items()}
    champions = {name: champion_of(name) for name in VALIDATORS}
    return len(set(champions.values())) == 1 and all(
        champion in uids and best(neurons[address_of(name)]) == uids[champion]
        for name, champion in champions.items())


def best(neuron):
    """The slot to which a validator gives most."""
    return max(neuron["weights"], key=lambda weight: weight[1], default=[None, 0])[0]


def weights_set_after(name, after):
    path = NET / name / "journal.db"
    rows = ask(path, "SELECT body FROM entries WHERE kind = 'weights-settled'")
    blocks = [json.loads(body)["weights-settled"].get("set") for (body,) in rows]
    return [block for block in blocks if block and block > after]


# --- What must be true afterwards.


def check_champions():
    champions, seeds = {}, {}
    for name in VALIDATORS:
        champions[name] = champion_of(name)
        for line in rounds(name):
            seen = seeds.setdefault(line["seed"]["block"], {})
            seen[name] = (line["champion"] or {}).get("hotkey")
    hotkeys = set(champions.values())
    report(len(hotkeys) == 1 and None not in hotkeys, "all validators name one champion",
           json.dumps(champions))
    shared = {seed: seen for seed, seen in seeds.items() if len(seen) > 1}
    differing = {seed: seen for seed, seen in shared.items() if len(set(seen.values())) > 1}
    print(f"    {len(shared)} rounds of several validators, {len(differing)} of which ended apart")
    return champions[VALIDATORS[0]]


def check_weights(champion, since):
    neurons = {neuron["hotkey"]: neuron for neuron in metagraph()}
    uid = (neurons.get(champion) or {}).get("uid")
    for name in VALIDATORS:
        mine = neurons[address_of(name)]
        report(uid is not None and best(mine) == uid and mine["last_update"] > since,
               f"the weights of {name} are on the chain, newer than the trouble, for the champion",
               f"{mine['weights']} of block {mine['last_update']}, trouble until {since}, "
               f"champion {uid}")


def signer(extrinsic):
    start = {0: 1, 1: 2, 2: 4}.get(extrinsic[0] & 3, 5)
    return extrinsic[start + 2:start + 34]


def check_calls():
    """Each call of a validator is one that its journal signed, once, and each is for a reason."""
    calls = ask(NET / "node/chain.db", "SELECT block, hash, bytes, refusal FROM extrinsics "
                "ORDER BY block, position")
    for name in VALIDATORS:
        key = public_key_of(name)
        made = [call for call in calls if signer(call[2]) == key]
        entries = ask(NET / name / "journal.db",
                      "SELECT block, kind, body FROM entries ORDER BY seq")
        signed, lost, reasons, repeated = {}, [], 1, []
        on_chain_by_hash = {bytes(call[1]): call for call in made}
        for block, kind, body in entries:
            entry = json.loads(body).get(kind) if kind.startswith("weights") else None
            if kind == "decided" or (entry or {}).get("again"):
                reasons += 1
            elif kind == "weights-signed":
                hash_ = bytes(entry["signed"]["id"])
                signed[hash_] = block
                if hash_ not in on_chain_by_hash:
                    continue
                if reasons == 0:
                    repeated.append(block)
                reasons = 0
            elif kind == "root-signed":
                # What it says of records and models is a call of the same key.
                signed[bytes(json.loads(body)[kind]["signed"]["id"])] = block
            elif kind == "weights-settled" and entry.get("set"):
                if not any(call[0] == entry["set"] for call in made):
                    lost.append(entry["set"])
        strange = [call[0] for call in made if bytes(call[1]) not in signed]
        twice = len(made) - len(on_chain_by_hash)
        refused = [(call[0], call[3]) for call in made if call[3]]
        report(bool(made) and not (lost or strange or twice or repeated),
               f"{name} lost no weights and set none twice: {len(made)} calls, "
               f"{len(refused)} of them refused",
               f"said to be set but not there {lost}, not of the journal {strange}, "
               f"twice {twice}, without a reason {repeated}")


def check_logs():
    counted = {}
    for name in SERVICES:
        text = (WORK / f"{name}.log").read_text(errors="replace")
        report("panicked" not in text, f"{name} never panicked", "see its log")
        for what, (begins, ends) in TROUBLES.items():
            begun, ended = text.count(begins), text.count(ends)
            counted[name, what] = begun
            if begun != ended:
                report(False, f"{name} tells the begin and the end of `{what}`",
                       f"{begun} begins and {ended} ends")
        counted[name, "away"] = text.count("the hub is not available")
    told = counted[CUT, "head"] + counted[CUT, "chain"] + counted[CUT, "round"]
    report(told > 0, f"{CUT} told that it was cut off, and that it was back", "it did not")
    told = {name: counted[name, "away"] + counted[name, "round"] + counted[name, "hub"]
            for name in SERVICES}
    # Who asks nothing of the hub has nothing to tell; within an hour all do that reach the chain.
    within_an_hour = [name for name in VALIDATORS if name != CUT]
    asked = within_an_hour if AWAY_BLOCKS >= 300 else [max(told, key=told.get)]
    for name in asked:
        report(told[name] > 0, f"{name} told that the hub was away", "it did not")
    print("    troubles told, and ended: " + ", ".join(
        f"{name} {what} {n}" for (name, what), n in counted.items() if n))


# --- The story.


def main():
    print(f"    {len(ADDRESSES)} machines; a block is {BLOCK_SECONDS} s, which stands for 12 s: "
          f"times are {SCALE:.0f} times as short")
    line = Line()
    node, hub = start_everything()
    tell("everything is up")
    # A model counts a round after its bytes were heard of, and miners that train on a busy machine
    # may miss one or two.
    wait_for("each validator has a champion, and has handed weights over",
             5 * BLOCKS_PER_ROUND * BLOCK_SECONDS,
             lambda: all(weights_set_after(name, 0) and champion_of(name) for name in VALIDATORS))
    line.worsen()

    line.set("hub", "down")
    away = height()
    hub.end(signal.SIGKILL)
    tell("the hub is switched off")
    line.set(CUT, "down")
    cut = height()
    tell(f"{CUT} is cut off")
    wait_for_block(away + AWAY_BLOCKS // 2)
    code = node.end(signal.SIGTERM)
    report(code == 0, "the node ends when told to", f"exit code {code}")
    stopped = height()
    time.sleep(2)
    node.start()
    node.wait_until_ready()
    tell(f"the node is started again where it was, at block {stopped}")

    wait_for_block(cut + PARTITION_BLOCKS)
    line.set(CUT, "up")
    tell(f"{CUT} is joined again, after {(height() - cut) * 12 / 60:.0f} minutes of its clock")
    wait_for_block(away + AWAY_BLOCKS)
    hub.start()
    hub.wait_until_ready()
    line.set("hub", "up")
    since = height()
    tell(f"the hub is back, after {(since - away) * 12 / 60:.0f} minutes of the chain's clock")

    wait_for("each validator measures again, and its weights are opened, for one champion", 100,
             lambda: is_settled(since))
    tell("the end")
    check_alive()
    champion = check_champions()
    check_weights(champion, since)
    # Services first: what they talk to is there until they have ended.
    by_role = [[p for p in Process.everyone if p.name in SERVICES], [hub], [node]]
    for processes in by_role:
        for process in processes:
            process.tell_to_end(signal.SIGTERM)
        for process in processes:
            code = process.wait()
            report(code == 0, f"{process.name} never crashed, and ends when told to",
                   f"exit code {code}" if code else "it does not end")
    check_calls()
    check_logs()
    if failures:
        for name in SERVICES:
            print(f"-- {name}:")
            print("\n".join((WORK / f"{name}.log").read_text().splitlines()[-12:]))
    # 77: some of it was not tried.
    sys.exit(1 if failures else 77 if line.kind == "plain" else 0)


main()
