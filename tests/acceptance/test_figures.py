"""The documented figures, measured: medians of three runs for each phase, written to a report.

Not timed tests: a slow machine makes the figures worse, not the run red. What must hold is asserted (a second run changes
nothing, the machine is as before); how fast it was is in proof/figures.md.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from tests.support import labs

from maas import paths
from maas.bundle import Bundle

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "proof" / "figures.md"
NAME = "proof"
RUNS = 3

_PHASE = re.compile(r"^✓ (?P<title>.+?)  .*?(?:(?P<minutes>\d+) min )?(?P<seconds>[\d.]+) s$")
_READY = re.compile(r"everything Ready after (?:(?P<minutes>\d+) min )?(?P<seconds>[\d.]+) s")
_WHOLE = re.compile(r"cluster verified after (?:(?P<minutes>\d+) min )?(?P<seconds>[\d.]+) s")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]


def timed(*arguments: str) -> tuple[str, float]:
    began = time.monotonic()
    return labs.maas(*arguments).stderr, time.monotonic() - began


def phases(transcript: str) -> dict[str, float]:
    found = {}
    for line in transcript.splitlines():
        if match := _PHASE.match(line.strip()):
            found[match["title"]] = int(match["minutes"] or 0) * 60 + float(match["seconds"])
    for title, pattern in (("hosts to verified cluster", _WHOLE), ("hosts to everything Ready", _READY)):
        match = pattern.search(transcript)
        assert match is not None
        found[title] = int(match["minutes"] or 0) * 60 + float(match["seconds"])
    return found


def machine() -> dict[str, list[str]]:
    """Return what a lab could change on the machine, without counters."""

    def lines(*words: str) -> list[str]:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return sorted(line for line in done.stdout.splitlines() if not line.startswith("#"))

    return {
        "links": [line.split()[0] for line in lines("ip", "-brief", "link")],
        "rules": [re.sub(r"\[\d+:\d+\]", "", line) for line in lines("iptables-save")],
        "containers": lines("docker", "ps", "--all", "--quiet"),
    }


class Memory:
    """The maximum of memory in use while something runs, in bytes above what was in use before."""

    def __init__(self) -> None:
        self._before = self._used()
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _used(self) -> int:
        meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return (int(meminfo["MemTotal"].split()[0]) - int(meminfo["MemAvailable"].split()[0])) * 1024

    def _watch(self) -> None:
        while not self._ended.wait(1):
            self.most = max(self.most, self._used() - self._before)

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return self.most


def test_up_a_second_up_and_down_three_times() -> None:
    before = machine()
    first: dict[str, list[float]] = defaultdict(list)
    second: dict[str, list[float]] = defaultdict(list)
    memory = 0
    for _ in range(RUNS):
        watch = Memory()
        transcript, seconds = timed("up", "--name", NAME, "--yes")
        first["command to summary"].append(seconds)
        for title, value in phases(transcript).items():
            first[title].append(value)
        memory = max(memory, watch.end())
        transcript, seconds = timed("up", "--name", NAME, "--yes")
        assert "0 changed tasks on the hosts" in transcript
        second["command to summary"].append(seconds)
        for title, value in phases(transcript).items():
            second[title].append(value)
        _, seconds = timed("down", "--name", NAME)
        first["down"].append(seconds)
    assert machine() == before, "the machine is unchanged"
    report(first, second, memory)


def report(first: dict[str, list[float]], second: dict[str, list[float]], memory: int) -> None:
    bundle = Bundle.load(paths.cache() / "bundle")
    rows = ["| phase | first run, s | second run, s |", "|---|---|---|"]
    for title, values in first.items():
        again = f"{statistics.median(second[title]):.1f}" if title in second else ""
        rows.append(f"| {title} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) | {again} |")
    rows += ["", f"Peak memory above the idle machine: {memory / 2**30:.2f} GiB. Bundle: {bundle.size / 1e6:.0f} MB."]
    text = f"# Figures\n\nMedians of {RUNS} runs with a warm cache; smallest and largest behind.\n\n" + "\n".join(rows)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text + "\n", encoding="utf-8")
    print(text)
    print(json.dumps({"first": first, "second": second}))
