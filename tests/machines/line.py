"""A slow line between network namespaces, for kernels without `sch_netem`.

    line.py SEED NAMESPACE=ADDRESS…

Each namespace gets a device `eth0` (TUN) with its address; what one sends comes out of another. A
line `up` on standard output says that all devices are there. Orders come on standard input, and
each is repeated when it is done: after `line SECONDS LOSS` a packet takes so long, or, with the
chance LOSS, never arrives; `down ADDRESS` and `up ADDRESS` cut a machine off, silently, and join it
again. It ends with standard input, and says then how many bytes it carried to each machine.
"""

import collections
import ctypes
import fcntl
import heapq
import os
import random
import selectors
import socket
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
CLONE_NEWNET = 0x40000000
# More than a machine may have under way: a queue that is full drops, as routers do.
N_PACKETS_MAX = 20_000


def enter(file):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


def open_device(namespace):
    """The device of a namespace; it stays there although we leave."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter(there)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TUN_WITHOUT_HEADER))
        return device
    finally:
        enter(home)
        os.close(there)
        os.close(home)


class Line:
    def __init__(self, seed):
        self.seconds, self.loss, self.random = 0.0, 0.0, random.Random(seed)
        self.devices, self.down, self.queue = {}, set(), []
        self.n_sent, self.n_bytes = 0, collections.Counter()

    def take(self, device):
        """Puts what a device has to send under way."""
        while True:
            try:
                packet = os.read(device, 65_536)
            except (BlockingIOError, OSError):
                return
            if len(packet) < 20 or packet[0] >> 4 != 4:
                continue
            if self.random.random() < self.loss or len(self.queue) >= N_PACKETS_MAX:
                continue
            self.n_sent += 1
            due = time.monotonic() + self.seconds
            heapq.heappush(self.queue, (due, self.n_sent, packet))

    def deliver(self):
        """Hands over what has arrived; gives the time until the next, if there is one."""
        while self.queue:
            wait = self.queue[0][0] - time.monotonic()
            if wait > 0:
                return wait
            packet = heapq.heappop(self.queue)[2]
            ends = packet[12:16], packet[16:20]
            if ends[1] in self.devices and not self.down.intersection(ends):
                self.n_bytes[socket.inet_ntoa(ends[1])] += len(packet)
                try:
                    os.write(self.devices[ends[1]], packet)
                except OSError:
                    pass
        return None

    def obey(self, order):
        what, *arguments = order.split()
        if what == "line":
            self.seconds, self.loss = map(float, arguments)
        elif what == "down":
            self.down.add(socket.inet_aton(*arguments))
        else:
            self.down.discard(socket.inet_aton(*arguments))
        print(order, flush=True)


def main():
    line = Line(int(sys.argv[1]))
    selector = selectors.DefaultSelector()
    for machine in sys.argv[2:]:
        namespace, address = machine.split("=")
        device = open_device(namespace)
        subprocess.run(["ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0"],
                       check=True)
        subprocess.run(["ip", "-n", namespace, "link", "set", "eth0", "up"], check=True)
        line.devices[socket.inet_aton(address)] = device
        selector.register(device, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("up", flush=True)
    while True:
        for key, _ in selector.select(line.deliver()):
            if key.fileobj is not sys.stdin:
                line.take(key.fileobj)
                continue
            order = sys.stdin.readline()
            if not order:
                print(dict(line.n_bytes), file=sys.stderr)
                return
            line.obey(order.strip())


main()
