from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from maas.errors import PreflightError
from maas.hosts import facts
from maas.hosts.inventory import Hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Inventory

    Inventories = Callable[..., Inventory]

# A program in place of ssh: it notes its words and runs the command on this machine.
LOCAL = """\
#!/bin/sh
printf '%s\\n' "$*" | head -n 1 >> "${0%/*}/calls"
for command; do :; done
BODY
"""
RUN = "echo 'a greeting of the host'\nexec sh -c \"$command\""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def make(body: str) -> Path:
        program = tmp_path / "ssh"
        program.write_text(LOCAL.replace("BODY", body))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return tmp_path / "calls"

    return make


def examined(inventory: Inventory, directory: Path) -> dict[str, HostFacts]:
    return facts.gather(inventory, known_hosts=directory / "known_hosts")


def test_every_host_is_looked_at_in_one_round(
    ssh: Callable[[str], Path], inventory_of: Inventories, tmp_path: Path
) -> None:
    calls = ssh(RUN)
    found = examined(inventory_of("node1", hub=Hub(endpoint="127.0.0.1")), tmp_path)
    assert list(found) == ["master", "node1"]
    assert len(calls.read_text().splitlines()) == 2
    assert found["master"].kernel == os.uname().release
    assert found["master"].to_hubs == {}
    assert found["node1"].to_hubs["master"].address == "127.0.0.1"
    assert abs(found["node1"].clock_offset) < 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 93", "python3 is not installed; on the host run: apt-get install python3"),
        ("echo 'root@203.0.113.10: Permission denied (publickey).' >&2; exit 255", "Permission denied (publickey)."),
        ("exit 255", "ssh exited with status 255 without a message"),
        ("echo 'maas-facts:{}'", "invalid answer"),
        ("echo 'maas-facts:{\"time\": 1}'", "invalid answer"),
        ("echo 'maas-facts:['", "invalid answer"),
        ("echo hello", "ssh exited with status 0 without a message"),
    ],
)
def test_all_hosts_without_facts_are_reported_with_the_reason(
    ssh: Callable[[str], Path], inventory_of: Inventories, tmp_path: Path, body: str, reason: str
) -> None:
    ssh(body)
    with pytest.raises(PreflightError) as caught:
        examined(inventory_of("node1"), tmp_path)
    assert caught.value.code == "FactsUnavailable"
    assert [line.split(":")[0] for line in caught.value.context] == ["master", "node1"]
    assert all(reason in line for line in caught.value.context)


def test_a_host_without_python_is_reported_by_its_shell(
    ssh: Callable[[str], Path], inventory_of: Inventories, tmp_path: Path
) -> None:
    ssh("PATH=/nowhere exec /bin/sh -c \"$(printf '%s' \"$command\" | /bin/sed 's/\\bsh -c/\\/bin\\/sh -c/g')\"")
    with pytest.raises(PreflightError) as caught:
        examined(inventory_of(), tmp_path)
    assert "python3 is not installed" in caught.value.context[0]


def test_a_program_runs_on_a_host_and_prints_nothing_if_it_cannot(
    ssh: Callable[[str], Path], inventory_of: Inventories, tmp_path: Path
) -> None:
    ssh(RUN)
    host = inventory_of().control_plane
    printed = facts.run_program(host, "print(6 * 7)\n", known_hosts=tmp_path / "known_hosts")
    assert printed.splitlines()[-1] == "42"
    ssh("exit 255")
    assert facts.run_program(host, "print(6 * 7)\n", known_hosts=tmp_path / "known_hosts") == ""


def test_facts_that_version_0_1_saved_are_read(facts_of: Callable[..., HostFacts]) -> None:
    known = facts_of()
    saved = known.model_dump(mode="json")
    del saved["to_hubs"]
    saved["to_hub"] = {"address": "203.0.113.1", "rtt_ms": 1.0, "path_mtu": 1500}
    assert facts.HostFacts.model_validate(saved) == known
