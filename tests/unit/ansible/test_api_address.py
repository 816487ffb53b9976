"""The program that announces the address of the API on a control plane."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.ansible_content import CONTENT, load_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PATIENCE = 6.0


@pytest.fixture
def program() -> ModuleType:
    return load_file(CONTENT / "roles" / "routing" / "files" / "api_address.py", "api_address")


class Host:
    """A host with a clock: from which second until which one its API server, or only the leader of etcd, is away."""

    def __init__(self, program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.end = 0.0, 0.0
        self.away = self.leaderless = (float("inf"), float("inf"))
        self.etcd_runs = True
        self.changes: list[tuple[float, bool]] = []
        self.main = program.main
        monkeypatch.setattr(program.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(program.time, "sleep", self.sleep)
        monkeypatch.setattr(program.sys, "argv", ["api-address", "10.90.0.1", "10.90.0.254", str(PATIENCE)])
        monkeypatch.setattr(program, "ready", self.ready)
        monkeypatch.setattr(program, "lacks_at_most_leader", lambda _: self.etcd_runs and not self.stopped)
        monkeypatch.setattr(program, "announce", lambda _, wanted: self.changes.append((self.now, wanted)))

    @property
    def without_leader(self) -> bool:
        return self.leaderless[0] <= self.now < self.leaderless[1]

    @property
    def stopped(self) -> bool:
        return self.away[0] <= self.now < self.away[1]

    def ready(self, _: str) -> bool:
        if self.without_leader:
            self.now += 1  # the API server waits for etcd
            return False
        return not self.stopped

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.end:
            raise InterruptedError

    def run(self, seconds: float) -> list[tuple[float, bool]]:
        self.end = seconds
        with pytest.raises(InterruptedError):
            self.main()
        return self.changes


@pytest.fixture
def host(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(program, monkeypatch)


def test_the_address_follows_an_api_server(host: Host) -> None:
    host.away = (5.5, 9)
    changes = host.run(20)
    assert [wanted for _, wanted in changes] == [True, False, True]
    _, (withdrawn, _), (again, _) = changes
    assert 5.5 < withdrawn < 7.5
    assert 9 <= again < 9.5


def test_a_single_slow_answer_moves_nothing(host: Host) -> None:
    host.away = (5, 5.1)
    assert host.run(20) == [(0, True)]


def test_the_address_stays_while_etcd_elects_a_leader(host: Host) -> None:
    # Otherwise all control planes withdraw it at the same time, and no request is answered until it is back.
    host.leaderless = (5, 9)
    assert host.run(20) == [(0, True)]


def test_a_host_that_is_cut_off_from_the_other_members_withdraws_it(host: Host) -> None:
    host.leaderless = (5, 100)
    _, (withdrawn, wanted) = host.run(30)
    assert not wanted
    assert 5 + PATIENCE - 1 <= withdrawn < 5 + PATIENCE + 3


def test_a_host_whose_etcd_does_not_run_withdraws_it_at_once(host: Host) -> None:
    host.leaderless, host.etcd_runs = (5, 100), False
    _, (withdrawn, wanted) = host.run(30)
    assert not wanted
    assert withdrawn < 8


@pytest.fixture
def server(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """The status of each path of an API server and an etcd; both are one server here."""
    status: dict[str, int] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status.get(self.path, 404))
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    monkeypatch.setattr(program, "PORT", listening.server_port)
    monkeypatch.setattr(program, "ETCD_PORT", listening.server_port)
    monkeypatch.setattr(program, "INTERVAL", 30.0)
    monkeypatch.setattr(program.ssl, "create_default_context", lambda **_: None)
    monkeypatch.setattr(
        program.http.client,
        "HTTPSConnection",
        lambda host, port, *, timeout, **_: program.http.client.HTTPConnection(host, port, timeout=timeout),
    )
    yield status
    listening.shutdown()
    listening.server_close()


EXCLUDED = "/readyz?exclude=etcd&exclude=etcd-readiness"


@pytest.mark.parametrize(
    ("status", "ready", "lacks_at_most_leader"),
    [
        ({"/readyz": 200, EXCLUDED: 200, "/livez": 200}, True, True),
        ({"/readyz": 500, EXCLUDED: 200, "/livez": 200}, False, True),
        ({"/readyz": 500, EXCLUDED: 500, "/livez": 200}, False, False),
        ({"/readyz": 500, EXCLUDED: 200, "/livez": 503}, False, False),
    ],
)
def test_only_etcd_may_lack_and_must_run(
    program: ModuleType, server: dict[str, int], status: dict[str, int], *, ready: bool, lacks_at_most_leader: bool
) -> None:
    server |= status
    assert program.ready("127.0.0.1") is ready
    assert program.lacks_at_most_leader("127.0.0.1") is lacks_at_most_leader


def test_without_the_cas_certificate_nothing_is_ready(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "AUTHORITY", "/nonexistent/ca.crt")
    assert not program.ready("127.0.0.1")
