"""Clients that send or take a byte now and then hold no thread, and readiness says when all threads are held."""

from __future__ import annotations

import http.client
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from restaurant.http.worker import LARGEST_BODY, Arrival, arrival
from support import get, make_settings, serving

THREADS = 4


@pytest.fixture(scope="module")
def ports(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of a service with few threads, and of its probes. No test changes anything in it."""
    directory = tmp_path_factory.mktemp("service")
    settings = make_settings(f"sqlite:///{shutil.copy(sqlite_template, directory)}")
    environment = {"RESTAURANT_THREADS": str(THREADS), "RESTAURANT_FAULT_INJECTION": "true"}
    with serving(settings, directory / "log", **environment) as (_process, port, probes):
        yield port, probes


def connect(stack: ExitStack, port: int, start: bytes) -> socket.socket:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
    client.sendall(start)
    return client


@pytest.mark.parametrize(
    "start",
    [
        b"G",
        b"POST /langue HTTP/1.1\r\nHost: a\r\n",
        b"POST /langue HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        b"POST /langue HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /langue HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /langue HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    ],
    ids=["a byte", "a part of the head", "a part of the body", "a huge body", "a chunked body", "expect"],
)
def test_clients_that_send_one_byte_keep_nobody_waiting(ports: tuple[int, int], start: bytes) -> None:
    port, probes = ports
    with ExitStack() as stack:
        slow = [connect(stack, port, start) for _ in range(3 * THREADS)]
        for _ in range(3):
            for client in slow:
                try:
                    client.sendall(b"1")
                except OSError:
                    assert b"99999999" in start, "only a request that is refused is ended"
            before = time.monotonic()
            assert get(port, "/")[0] == 200
            assert time.monotonic() - before < 4, "somebody waited for slow clients"
            assert get(probes, "/readyz")[0] == 200


def test_clients_that_take_nothing_keep_nobody_waiting(ports: tuple[int, int]) -> None:
    port, _probes = ports
    with ExitStack() as stack:
        for _ in range(3 * THREADS):
            connect(stack, port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        before = time.monotonic()
        assert get(port, "/")[0] == 200
        assert time.monotonic() - before < 4


def test_a_request_in_pieces_is_answered_like_a_whole_one(ports: tuple[int, int]) -> None:
    port, _probes = ports
    head = b"POST /langue HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    request = head + b"Content-Length: 7\r\n\r\nlang=en"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n7\r\nlang=en\r\n0\r\n\r\n"
    with ExitStack() as stack:
        client = connect(stack, port, b"")
        for whole in (request, chunked, request):  # on one connection
            for place in range(0, len(whole), 20):
                client.sendall(whole[place : place + 20])
                time.sleep(0.01)
            reply = http.client.HTTPResponse(client)
            reply.begin()
            assert (reply.status, reply.read() != b"") == (303, True)
            assert "lang=en" in reply.headers["Set-Cookie"]
        client.sendall(request + request)  # the second ahead of the first's reply
        text = b""
        while text.count(b"HTTP/1.1 303") < 2:
            text += client.recv(65536)


def test_readiness_tells_that_every_thread_is_held(ports: tuple[int, int]) -> None:
    port, probes = ports
    assert get(probes, "/faults?slow=12")[0] == 200
    with ExitStack() as stack:
        for _ in range(THREADS):
            connect(stack, port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        deadline = time.monotonic() + 11
        while (answer := get(probes, "/readyz"))[0] == 200 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert answer[0] == 503
        assert b"saturated" in answer[1]
        assert get(probes, "/healthz")[0] == 200
        get(probes, "/faults")
        deadline = time.monotonic() + 30
        while get(probes, "/readyz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("received", "state"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Arrival.WHOLE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", Arrival.PARTLY),
        (b"x" * 70_000, Arrival.TOO_LARGE),
        (b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\na", Arrival.PARTLY),
        (b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nab", Arrival.WHOLE),
        (b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\nab" % (LARGEST_BODY + 1), Arrival.TOO_LARGE),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", Arrival.PARTLY),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", Arrival.WHOLE),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", Arrival.WHOLE),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"x" * 3 * LARGEST_BODY, Arrival.TOO_LARGE),
    ],
)
def test_how_much_of_a_request_has_arrived_is_seen_from_its_bytes(received: bytes, state: Arrival) -> None:
    assert arrival(received) is state
