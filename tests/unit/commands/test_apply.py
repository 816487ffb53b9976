from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from maas.commands._apply import _Background
from maas.errors import ClusterError


def test_a_background_function_runs_once_and_beside_the_caller() -> None:
    calls: list[str] = []
    started = threading.Event()

    def function() -> int:
        calls.append(threading.current_thread().name)
        started.set()
        return len(calls)

    with ThreadPoolExecutor(1) as pool:
        task = _Background(pool, function)
        assert calls == []
        task.start()
        task.start()
        assert started.wait(5)
        assert (task.result(), task.result()) == (1, 1)
    assert calls != [threading.current_thread().name]
    assert len(calls) == 1


def test_the_result_of_a_function_that_nothing_has_started_is_waited_for() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert _Background(pool, lambda: "done").result() == "done"


def test_an_error_in_the_background_is_raised_where_the_result_is_needed() -> None:
    def function() -> None:
        raise ClusterError("no API")

    with ThreadPoolExecutor(1) as pool:
        task = _Background(pool, function)
        task.start()
        with pytest.raises(ClusterError, match="no API"):
            task.result()
