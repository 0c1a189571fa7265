"""How fast and how small `agon hub`, `agon upload` and `agon download` are, beside curl and a plain static server.

    python tests/compat/throughput.py AGON [--full] [--size MIB] [--runs N] [--interruptions N] [--clients N]
                                           [--sockets N] [--seed N] [--folder DIR]

AGON is the program. Everything is started by this script, on free ports and in a folder of its own, and is gone
afterwards. Standard library and curl only. Without --full the figures are small enough for every change: 64 MiB,
3 interruptions, 50 clients, 500 sockets; with it those of docs/benchmarks.md. Prints a line for each measurement and
ends with 1 if a bar is missed. Times are bars with --full alone: a transfer of a tenth of a second on a machine that
does other work says nothing about them.

The static server is the one at the end of this file: a process that answers GET with sendfile(2) and writes what is
PUT to a file, in pieces of a mebibyte, with no hash and no check. `curl, synced` is the same where the server syncs
the file before it answers, and where what was downloaded is synced, as the hub and `agon download` do.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import resource
import secrets
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

MIB = 1 << 20
TOKEN = "hf_" + secrets.token_hex(17)
# Bars.
RATIO_MIN = 0.6
CLIENT_MIB_MAX, HUB_MIB_MAX = 200, 256
# What an attack may add to the median of ordinary requests, to their 99th percentile, and to the hub's memory: as much
# as four commits with a file of 8 MiB each hold, which a writer may send at any time.
MEDIAN_MS_MAX, P99_MS_MAX, ATTACK_MIB_MAX = 5, 50, 64
# Attackers come from addresses of their own; all of 127.0.0.0/8 is this machine.
ATTACKER, ATTACKERS = "127.0.0.2", [f"127.0.1.{n}" for n in range(1, 101)]

missed = []


def bar(holds, what):
    if not holds:
        missed.append(what)
    return what if holds else f"MISSED {what}"


def time_bar(place, holds, what):
    return bar(holds or not place.args.full, what)


def say(name, *facts):
    print(f"{name:38} " + "  ".join(facts), flush=True)


# --- Processes.


def high_water_mib(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024


def reset_high_water(pid):
    """From here on the most is counted anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def server(command):
    """A process that says in its first line, as JSON, where it is."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Place:
    """The program, the hub, the static server, and folders to work in."""

    def __init__(self, args, folder, hub, static):
        self.args, self.folder, self.random = args, folder, random.Random(args.seed)
        (self.hub, self.url), (self.static, self.static_url) = hub, static
        self.size = args.size * MIB
        self.model = folder / "model"
        self.file = self.model / "model.safetensors"
        self.model.mkdir()
        # The order of random bytes does not matter to a hub, only that there are no two files alike.
        block = self.random.randbytes(MIB)
        with open(self.file, "wb") as file:
            for _ in range(args.size):
                file.write(block)
        self.change()
        self.environment = os.environ | {"HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN}

    def change(self):
        """Makes the file one that the hub has not seen."""
        with open(self.file, "r+b") as file:
            file.write(self.random.randbytes(64))
            os.fsync(file.fileno())

    def digest(self):
        return digest_of(self.file)

    def agon(self, *words):
        command = [self.args.agon, *map(str, words), "--json"]
        output = open(self.folder / "agon.log", "w")
        with output:
            return subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)

    def said(self):
        return (self.folder / "agon.log").read_text()[-600:]


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def timed(process):
    """Waits for a process: seconds since it was started, and its most memory in MiB."""
    started = time.monotonic()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.monotonic() - started, usage.ru_maxrss / 1024


def curl(*words):
    command = ["curl", "--silent", "--show-error", "--fail", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def finished(process, place):
    seconds, mib = timed(process)
    if process.returncode:
        raise AssertionError(f"`{' '.join(process.args)}` ended with {process.returncode}: {place.said()}")
    return seconds, mib


# --- One file up and down.


def one_run(place, n):
    """Seconds of curl, of curl with syncs, and of agon, and the most memory of agon, for upload and download."""
    place.change()
    expected = place.digest()
    copy, ours = place.folder / "copy", place.folder / "ours"
    up, down = {}, {}

    def settled():
        # What one left to be written is not for the next to pay.
        os.sync()
        # Nor is memory that a virtual machine has given back: each finds as much as it needs that was just in use.
        warm = place.folder / "warm"
        with open(warm, "wb", buffering=0) as file:
            for _ in range(place.args.size):
                file.write(bytes(MIB))
        warm.unlink()

    def sync(path):
        with open(path, "rb") as file:
            os.fsync(file.fileno())

    for name, target in (("curl", "up"), ("synced", "up?sync")):
        settled()
        # An address without a slash at its end: curl would add the name of the file.
        up[name], _ = finished(curl("-T", place.file, f"{place.static_url}/{target}"), place)
    settled()
    up["agon"], up["mib"] = finished(place.agon("upload", place.model, f"alice/run-{n}"), place)
    for name in ("curl", "synced"):
        copy.unlink(missing_ok=True)
        settled()
        started = time.monotonic()
        finished(curl("-o", copy, f"{place.static_url}/up"), place)
        if name == "synced":
            sync(copy)
        down[name] = time.monotonic() - started
    if digest_of(copy) != expected:
        raise AssertionError("the static server has other bytes")
    copy.unlink()
    settled()
    down["agon"], down["mib"] = finished(place.agon("download", f"alice/run-{n}", ours), place)
    if digest_of(ours / place.file.name) != expected:
        raise AssertionError("agon has other bytes")
    remove(ours)
    return up, down


def remove(folder):
    if folder.exists():
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()


def throughput(place):
    runs = [one_run(place, n) for n in range(place.args.runs)]
    for name, results in (("upload", [up for up, _ in runs]), ("download", [down for _, down in runs])):
        speeds = {who: statistics.median(place.size / MIB / r[who] for r in results)
                  for who in ("curl", "synced", "agon")}
        ratio = statistics.median(r["curl"] / r["agon"] for r in results)
        synced = statistics.median(r["synced"] / r["agon"] for r in results)
        mib = max(r["mib"] for r in results)
        facts = [f"curl {speeds['curl']:.0f} MiB/s", f"curl, synced {speeds['synced']:.0f} MiB/s",
                 f"agon {speeds['agon']:.0f} MiB/s"]
        say(f"{name} of {place.args.size} MiB", *facts,
            time_bar(place, ratio >= RATIO_MIN, f"ratio {ratio:.2f},"), f"synced {synced:.2f}",
            bar(mib < CLIENT_MIB_MAX, f"peak {mib:.0f} MiB"))
    mib = high_water_mib(place.hub.pid)
    say("the hub meanwhile", bar(mib < HUB_MIB_MAX, f"peak {mib:.0f} MiB"))


# --- Interruptions.


def interrupted(place, name, start, check, again):
    """Starts something over and over, ends it at random points, and checks it whenever it comes to its end."""
    started = time.monotonic()
    finished(start(), place)
    longest, n_interrupted, n_whole = time.monotonic() - started, 0, 0
    while True:
        check()
        n_whole += 1
        if n_interrupted >= place.args.interruptions:
            break
        again()
        while True:
            process = start()
            if n_interrupted >= place.args.interruptions:
                finished(process, place)
                break
            try:
                process.wait(place.random.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(place.random.choice([signal.SIGKILL, signal.SIGINT]))
                process.wait()
                # It may have come to its end just before.
                n_interrupted += process.returncode != 0
                if process.returncode:
                    continue
            if process.returncode:
                raise AssertionError(f"{name} ended with {process.returncode}: {place.said()}")
            break
    say(f"{name}, interrupted", f"{n_interrupted} times", f"{n_whole} whole, identical bytes")


def interruptions(place):
    repo, ours = "alice/interrupted", place.folder / "ours"

    def is_there():
        path = f"{place.url}/{repo}/resolve/main/{place.file.name}"
        finished(curl("-o", place.folder / "copy", path), place)
        if digest_of(place.folder / "copy") != place.digest():
            raise AssertionError("the hub has other bytes")

    def is_here():
        if digest_of(ours / place.file.name) != place.digest():
            raise AssertionError("agon has other bytes")
        if [path.name for path in ours.iterdir()] != [place.file.name]:
            raise AssertionError("something was left behind")

    interrupted(place, "upload", lambda: place.agon("upload", place.model, repo), is_there, place.change)
    interrupted(place, "download", lambda: place.agon("download", repo, ours), is_here, lambda: remove(ours))
    remove(ours)


# --- Many at once.


def connect(place, source="127.0.0.1", timeout=60):
    return http.client.HTTPConnection(urlsplit(place.url).netloc, timeout=timeout, source_address=(source, 0))


def fetch_in_pieces(place, path, size, generator):
    """Gets a file, breaking off at random points and going on from there; its digest."""
    digest, done = hashlib.sha256(), 0
    while done < size:
        connection = connect(place)
        connection.request("GET", path, headers={"Range": f"bytes={done}-"} if done else {})
        answer = connection.getresponse()
        if answer.status != (206 if done else 200):
            raise AssertionError(f"the hub answers {answer.status} from {done} on")
        until = size if generator.random() < 0.3 else generator.randrange(done, size + 1)
        while done < until:
            piece = answer.read(min(until - done, 256 << 10))
            if not piece:
                raise AssertionError(f"the hub broke off at {done} of {size}")
            digest.update(piece)
            done += len(piece)
        connection.close()
    return digest.hexdigest()


def crowd(place):
    """Downloads with resumes by many at once, and an upload meanwhile."""
    shared = place.folder / "shared"
    shared.mkdir()
    size = max(MIB, place.size // 64)
    (shared / "model.safetensors").write_bytes(place.random.randbytes(size))
    finished(place.agon("upload", shared, "alice/shared"), place)
    expected, errors = digest_of(shared / "model.safetensors"), []

    def one(seed):
        try:
            path = "/alice/shared/resolve/main/model.safetensors"
            if fetch_in_pieces(place, path, size, random.Random(seed)) != expected:
                errors.append("other bytes")
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=one, args=(place.random.random(),)) for _ in range(place.args.clients)]
    place.change()
    reset_high_water(place.hub.pid)
    started = time.monotonic()
    uploader = place.agon("upload", place.model, "alice/meanwhile")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    finished(uploader, place)
    mib = high_water_mib(place.hub.pid)
    say(f"{place.args.clients} downloads of {size // MIB} MiB, 1 upload", f"{seconds:.1f} s",
        bar(not errors, f"{len(errors)} errors {errors[:1] or ''}"), bar(mib < HUB_MIB_MAX, f"hub {mib:.0f} MiB"))


# --- Attacks.


def latencies(place, seconds):
    """Milliseconds of ordinary requests, each over a connection of its own: median and 99th percentile."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.monotonic()
        connection = connect(place, timeout=10)
        connection.request("GET", "/alice/shared/resolve/main/model.safetensors", headers={"Range": "bytes=0-999"})
        answer = connection.getresponse()
        if answer.status != 206 or len(answer.read()) != 1000:
            raise AssertionError(f"the hub answers {answer.status}")
        connection.close()
        found.append((time.monotonic() - started) * 1000)
        time.sleep(0.01)
    return statistics.median(found), statistics.quantiles(found, n=100)[98]


def attack(place, name, words):
    """Ordinary requests before and during an attack by another process."""
    seconds = 12 if place.args.full else 2
    before, before_p99 = latencies(place, seconds / 2)
    reset_high_water(place.hub.pid)
    memory = high_water_mib(place.hub.pid)
    port = str(urlsplit(place.url).port)
    attacker = subprocess.Popen([sys.executable, __file__, "--attack", port, *words], stdout=subprocess.PIPE, text=True)
    try:
        attacker.stdout.readline()
        during, during_p99 = latencies(place, seconds)
    finally:
        attacker.terminate()
        said = attacker.communicate()[0].strip()
    mib = high_water_mib(place.hub.pid)
    say(name, f"median {before:.1f} ms,",
        time_bar(place, during < before + MEDIAN_MS_MAX, f"then {during:.1f};"), f"p99 {before_p99:.1f} ms,",
        time_bar(place, during_p99 < before_p99 + P99_MS_MAX, f"then {during_p99:.1f};"),
        f"hub {memory:.0f} MiB,", bar(mib < min(HUB_MIB_MAX, memory + ATTACK_MIB_MAX), f"then {mib:.0f};"), said)


def attacks(place):
    n = str(place.args.sockets)
    attack(place, f"{n} slow sockets, one address", ["loris", n, ATTACKER])
    attack(place, f"{n} slow sockets, {len(ATTACKERS)} addresses", ["loris", n, *ATTACKERS])
    attack(place, "oversized heads and bodies", ["oversized", TOKEN, ATTACKER])


def stop_on_term():
    def stop(*_):
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)


def loris(port, n, sources):
    """Keeps `n` sockets that each send a byte of a head that never ends now and then, and come again when hung up on."""
    n_sent, n_hung_up, sockets = 0, 0, [None] * n
    try:
        announced = False
        while True:
            for i in range(n):
                if sockets[i] is None:
                    sockets[i] = socket.socket()
                    sockets[i].bind((sources[i % len(sources)], 0))
                    sockets[i].settimeout(1)
                    first = b"GET / HTTP/1.1\r\nhost: hub\r\nx: "
                else:
                    first = b"x"
                try:
                    if first != b"x":
                        sockets[i].connect(("127.0.0.1", port))
                    sockets[i].send(first)
                    n_sent += 1
                except OSError:
                    n_hung_up += 1
                    sockets[i].close()
                    sockets[i] = None
                # A byte of each every five seconds, once all are there.
                if announced and i % 50 == 49:
                    time.sleep(5 * 50 / n)
            if not announced:
                announced = True
                print("there", flush=True)
    finally:
        print(f"{n_sent} pieces sent, hung up on {n_hung_up} times", flush=True)


def oversized(port, token, source):
    """Sends heads, headers and bodies that are too large, one after the other, four at a time."""
    counts, lock = {}, threading.Lock()
    host = f"host: hub\r\nauthorization: Bearer {token}\r\n"
    api, json_type = "POST /api/repos/create HTTP/1.1\r\n", "content-type: application/json\r\n"
    heads = [
        f"GET /{'a' * (8 * MIB)} HTTP/1.1\r\nhost: hub\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: hub\r\n" + "x: y\r\n" * MIB + "\r\n",
        f"GET / HTTP/1.1\r\nhost: hub\r\nx: {'a' * (8 * MIB)}\r\n\r\n",
        f"{api}{host}{json_type}content-length: {1 << 40}\r\n\r\n" + "a" * (16 * MIB),
        f"{api}{host}{json_type}transfer-encoding: chunked\r\n\r\n1000000\r\n" + "a" * (16 * MIB),
        f"POST /api/models/alice/shared/commit/main HTTP/1.1\r\n{host}content-length: {1 << 30}\r\n\r\n" + "a" * (128 * MIB),
    ]
    heads = [head.encode() for head in heads]

    def one(number):
        while True:
            for head in heads[number:] + heads[:number]:
                with socket.socket() as sender:
                    sender.bind((source, 0))
                    sender.settimeout(5)
                    try:
                        sender.connect(("127.0.0.1", port))
                        sender.sendall(head)
                        status = sender.recv(64)[9:12].decode() or "hung up"
                    except OSError:
                        status = "hung up"
                with lock:
                    counts[status] = counts.get(status, 0) + 1
                # An attacker without end would measure how many cores there are.
                time.sleep(0.05)

    for number in range(4):
        threading.Thread(target=one, args=(number,), daemon=True).start()
    print("there", flush=True)
    try:
        threading.Event().wait()
    finally:
        answers = ", ".join(f"{n} times {status}" for status, n in sorted(counts.items()))
        print(f"answers: {answers}", flush=True)


# --- The static server.


def serve_static(folder):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=answer, args=(stream, Path(folder)), daemon=True).start()


def answer(stream, folder):
    with stream:
        head = b""
        while b"\r\n\r\n" not in head:
            head += stream.recv(4096)
        head, rest = head.split(b"\r\n\r\n", 1)
        method, target = head.split(b" ")[:2]
        name, _, query = target.decode().strip("/").partition("?")
        path = folder / re.sub(r"\W", "", name)
        if method == b"GET":
            with open(path, "rb") as file:
                size, done = os.fstat(file.fileno()).st_size, 0
                stream.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % size)
                while done < size:
                    done += os.sendfile(stream.fileno(), file.fileno(), done, size - done)
            return
        left = int(re.search(rb"(?i)content-length: *(\d+)", head)[1]) - len(rest)
        if re.search(rb"(?i)expect: *100", head):
            stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        path.unlink(missing_ok=True)
        with open(path, "wb", buffering=0) as file:
            file.write(rest)
            buffer = memoryview(bytearray(MIB))
            while left:
                n = stream.recv_into(buffer)
                file.write(buffer[:n])
                left -= n
            if query:
                os.fsync(file.fileno())
        stream.sendall(b"HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")


def main():
    if sys.argv[1:2] == ["--static"]:
        return serve_static(sys.argv[2])
    # Sockets of the slow ones, and of the hub that we start.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.argv[1:2] == ["--attack"]:
        stop_on_term()
        port, kind, *words = sys.argv[2:]
        if kind == "loris":
            return loris(int(port), int(words[0]), words[1:])
        return oversized(int(port), *words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agon")
    parser.add_argument("--full", action="store_true")
    for name, small, full in (("size", 64, 1024), ("runs", 1, 5), ("interruptions", 3, 30), ("clients", 50, 200),
                              ("sockets", 500, 5000)):
        parser.add_argument(f"--{name}", type=int, default=full if "--full" in sys.argv else small)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--folder", help="where to make the folder to work in", default=None)
    parser.add_argument("--only", choices=["throughput", "interruptions", "crowd", "attacks"])
    args = parser.parse_args()
    say("seed", str(args.seed))
    with tempfile.TemporaryDirectory(prefix="agon-throughput.", dir=args.folder) as folder:
        folder = Path(folder)
        (folder / "static").mkdir()
        hub = [args.agon, "hub", "--json", "--listen", "127.0.0.1:0", "--dir", folder / "hub",
               f"--user=alice:{TOKEN}:write"]
        with server(hub) as hub, server([sys.executable, __file__, "--static", folder / "static"]) as static:
            place = Place(args, folder, hub, static)
            if args.only in (None, "throughput"):
                throughput(place)
            if args.only in (None, "interruptions"):
                interruptions(place)
            if args.only in (None, "crowd", "attacks"):
                crowd(place)
            if args.only in (None, "attacks"):
                attacks(place)
            if hub[0].poll() is not None:
                bar(False, f"the hub ended with {hub[0].returncode}")
    print(f"{len(missed)} bars missed: {'; '.join(missed)}" if missed else "all bars hold", flush=True)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
