"""The output of the load generator is read to its end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import ProtocolError

from maas.errors import ClusterError
from maas.loadtest import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = [b'{"second": 1}\n', b'{"second": 2}\n{"sec', b'ond": 3}\n', b'{"orders": []}\n']


class Answer:
    """A log as it comes over a connection, which stays open until it is closed."""

    def __init__(self, content: list[bytes | Exception]) -> None:
        self.content = content
        self.closed = False

    def stream(self) -> Iterator[bytes]:
        for chunk in self.content:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed = True


def cluster(*answers: Answer, phases: list[str]) -> Any:
    given, left = iter(answers), iter(phases)
    core = SimpleNamespace(
        read_namespaced_pod_log=lambda *_, **__: next(given),
        read_namespaced_pod=lambda *_: SimpleNamespace(status=SimpleNamespace(phase=next(left))),
    )
    return SimpleNamespace(core=core)


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def test_a_stream_that_breaks_is_opened_again_and_no_line_is_repeated() -> None:
    broken = cluster(Answer([*LINES[:2], ProtocolError("gone")]), Answer([*LINES]), phases=["Running", "Succeeded"])
    assert list(runner.log_lines(broken, "load")) == [
        '{"second": 1}',
        '{"second": 2}',
        '{"second": 3}',
        '{"orders": []}',
    ]


def test_the_connection_is_closed_after_the_last_line() -> None:
    answer = Answer([*LINES, b'{"more": 1}\n'])
    for line in runner.log_lines(cluster(answer, phases=["Running"]), "load"):
        if "orders" in line:
            break
    assert answer.closed


def test_a_generator_without_output_for_a_minute_is_lost() -> None:
    silent = cluster(*[Answer([ProtocolError("gone")])] * 100, phases=["Running"] * 100)
    assert list(runner.log_lines(silent, "load")) == []


def test_a_generator_that_stops_is_an_error_with_its_output() -> None:
    stopped = cluster(Answer([b"Traceback (most recent call last):\n"]), phases=["Failed"])
    with pytest.raises(ClusterError, match="load generator stopped"):
        list(runner.log_lines(stopped, "load"))
