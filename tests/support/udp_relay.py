"""A relay that delays UDP datagrams in both directions: a stand-in for long paths where the kernel has no netem.

    udp_relay.py DELAY PORT ADDRESS:PORT...

DELAY is a file with the seconds that a datagram waits in each direction; it is read again every half second. The first
target has PORT of loopback, and each further one the port after that. The relay marks what it sends, so that a rule of the
firewall can redirect only what others send to it. The order of datagrams is kept.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import sys
import time
from pathlib import Path

MARK = 0x4D61
REREAD = 0.5
_SO_MARK = 36


class Tunnel:
    """One target, and the client that sends to it."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(("127.0.0.1", port))
        self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.far.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
        self.far.connect(target)
        self.client: tuple[str, int] | None = None

    def receive(self, source: socket.socket) -> bytes:
        if source is self.far:
            return self.far.recv(65535)
        data, self.client = self.near.recvfrom(65535)
        return data

    def send(self, source: socket.socket, data: bytes) -> None:
        if source is self.near:
            self.far.send(data)
        elif self.client is not None:
            self.near.sendto(data, self.client)


def main() -> None:
    file, first, *targets = sys.argv[1:]
    selector = selectors.DefaultSelector()
    for port, target in enumerate(targets, start=int(first)):
        address, _, number = target.rpartition(":")
        tunnel = Tunnel(port, (address, int(number)))
        for end in (tunnel.near, tunnel.far):
            selector.register(end, selectors.EVENT_READ, tunnel)
    waiting: list[tuple[float, int, Tunnel, socket.socket, bytes]] = []
    order, delay, reread = itertools.count(), 0.0, 0.0
    while True:
        now = time.monotonic()
        if now >= reread:
            delay, reread = float(Path(file).read_text(encoding="ascii")), now + REREAD
        next_event = min([reread, *(entry[0] for entry in waiting[:1])])
        for key, _ in selector.select(max(0.0, next_event - now)):
            source = key.fileobj
            assert isinstance(source, socket.socket)
            try:
                data = key.data.receive(source)
            except ConnectionError:  # nobody listens there at the moment
                continue
            heapq.heappush(waiting, (time.monotonic() + delay, next(order), key.data, source, data))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, to, source, data = heapq.heappop(waiting)
            try:
                to.send(source, data)
            except OSError:  # the same, or no route at the moment: a datagram may be lost
                continue


if __name__ == "__main__":
    main()
