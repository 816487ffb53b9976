"""gunicorn's threaded worker, with requests received before they get a thread.

gunicorn gives a connection to a thread that then waits for the request's bytes: as many clients as there are threads,
each sending one byte now and then, keep everybody else from being served. Here the worker's main loop receives requests
from all connections without waiting for any, and a thread gets what is complete.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import ThreadWorker

#: Seconds in which a request must arrive.
ARRIVAL_SECONDS = 30.0
#: Seconds for which the client of a connection that was ended may still send.
LINGER_SECONDS = 2.0
#: Bytes of a head that is refused by gunicorn's parser, and so needs no more of it.
LARGEST_HEAD = 64 * 1024
#: Bytes of a body up to which a request is received first; the application refuses longer ones by their length.
LARGEST_BODY = 256 * 1024
#: Bytes held for all connections together.
LARGEST_TOTAL = 32 * 1024 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_LAST_CHUNK = re.compile(rb"\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n\Z")
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Arrival(Enum):
    """How much of a request has arrived."""

    PARTLY = auto()
    WHOLE = auto()
    TOO_LARGE = auto()
    """A part of it, which is enough to refuse it."""


def arrival(received: bytes | bytearray) -> Arrival:
    """Whether a thread can answer what was received without waiting for more."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return Arrival.TOO_LARGE if len(received) > LARGEST_HEAD else Arrival.PARTLY
    head, body = bytes(received[: end + 2]), len(received) - end - 4
    if _CHUNKED.search(head):
        if _LAST_CHUNK.search(received, max(end + 2, len(received) - 8192)):
            return Arrival.WHOLE
        return Arrival.TOO_LARGE if body > 2 * LARGEST_BODY else Arrival.PARTLY
    found = _LENGTH.search(head)
    length = int(found[1]) if found is not None else 0
    if body >= length:
        return Arrival.WHOLE
    return Arrival.TOO_LARGE if length > LARGEST_BODY else Arrival.PARTLY


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no type information
    """The threaded worker whose threads never wait for a client to send."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._received: dict[Any, bytearray] = {}

    def enqueue_req(self, conn: Any) -> None:
        """Called by gunicorn for a new connection, and for one that has another request."""
        # What a client sends ahead of a reply was read with the request before.
        ahead = conn.parser.unreader.take_buffered() if conn.parser is not None else b""
        self._received[conn] = bytearray(ahead)
        conn.lingering = False
        conn.sock.setblocking(False)
        if not self._receive(conn):
            self._wait(conn, ARRIVAL_SECONDS)

    def finish_request(self, conn: Any, fs: Future[bool]) -> None:
        """Called by gunicorn after a request; to end a connection, it would wait for its client in the main loop."""
        try:
            keep = fs.result()
        except Exception:  # what failed is logged already
            keep = False
        if keep:
            super().finish_request(conn, fs)
            return
        # Whatever the client still sends is taken for a moment: unread, it would make the kernel reset the connection
        # and the reply be lost.
        conn.lingering = True
        conn.sock.setblocking(False)
        with suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        self._wait(conn, LINGER_SECONDS)

    def murder_pending(self) -> None:
        """Called by gunicorn every second: close connections whose request has not arrived in time.

        The oldest go as well when all together hold too much, and those without a byte when the worker stops.
        """
        held, at = sum(map(len, self._received.values())), time.monotonic()
        for conn in list(self.pending_conns):
            received = self._received[conn]
            if at >= conn.timeout or held > LARGEST_TOTAL or not (self.alive or received or conn.lingering):
                held -= len(received)
                self._forget(conn)
                self.nr_conns -= 1
                conn.close()

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        # The rest of a request that was refused for its size is not waited for.
        return bool(conn.whole and super()._keepalive_after(conn, keepalive))

    def _wait(self, conn: Any, seconds: float) -> None:
        conn.timeout = time.monotonic() + seconds
        self._received.setdefault(conn, bytearray())
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._readable, conn))

    def _readable(self, conn: Any, _sock: Any) -> None:
        self._receive(conn)

    def _forget(self, conn: Any) -> None:
        del self._received[conn]
        if conn in self.pending_conns:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)

    def _receive(self, conn: Any) -> bool:
        """Read what has arrived; whether nothing more is to be waited for."""
        received = self._received[conn]
        asked, ended = bool(_EXPECT.search(received)), False
        while (state := arrival(received)) is Arrival.PARTLY and not ended:
            try:
                part = conn.sock.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            ended = not part
            if not conn.lingering:
                received += part
        if ended:
            self._forget(conn)
            self.nr_conns -= 1
            conn.close()
            return True
        if state is Arrival.PARTLY:
            if not asked and _EXPECT.search(received):
                conn.sock.send(_CONTINUE)
            return False
        self._forget(conn)
        conn.initialized, conn.data_ready, conn.whole = True, True, state is Arrival.WHOLE
        conn.sock.setblocking(True)
        if conn.parser is None:
            conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
        conn.parser.unreader.unread(bytes(received))
        super().enqueue_req(conn)
        return True
