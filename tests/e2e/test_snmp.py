"""The exporter with the configuration of the chart, and Debian's snmpd as a switch and a UPS."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.support import debian_programs
from tests.support.charts import of_profile, one
from tests.support.control_plane import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LOGINS = {
    "SNMP_POWER_RACK_COMMUNITY": "rack: #1",
    "SNMP_SWITCHES_USERNAME": "maas",
    "SNMP_SWITCHES_PASSWORD": "12345678",
    "SNMP_SWITCHES_PRIV_PASSWORD": "{password",
}
AGENT = """\
agentAddress udp:127.0.0.1:{port}
rocommunity "rack: #1" 127.0.0.1
createUser maas SHA-256 12345678 AES "{{password"
rouser maas priv
override 1.3.6.1.2.1.33.1.2.3.0 integer 7
override 1.3.6.1.2.1.33.1.4.1.0 integer 5
override 1.3.6.1.2.1.33.1.4.4.1.5.1 integer 42
"""


@contextmanager
def running(log: Path, directory: Path, *words: str, **environment: str) -> Iterator[None]:
    """Run a program of a directory while the block runs."""
    variables = os.environ | debian_programs.environment(directory) | environment
    with (
        log.open("wb") as file,
        subprocess.Popen([directory / words[0], *words[1:]], env=variables, stdout=file, stderr=file) as process,
    ):
        try:
            yield
        finally:
            process.kill()


class Devices:
    """A device and the exporter that reads it."""

    def __init__(self, exporter: int, agent: int) -> None:
        self._exporter, self._agent = exporter, agent

    def read(self, module: str) -> dict[str, float]:
        """Return the samples of a module. Waits until both programs answer."""
        url = f"http://127.0.0.1:{self._exporter}/snmp?target=127.0.0.1:{self._agent}&module={module}"
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    lines = answer.read().decode().splitlines()
                return {
                    name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")
                }
            except urllib.error.HTTPError as error:
                reason = error.read().decode()
                if time.monotonic() > deadline:
                    raise AssertionError(reason) from error
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devices]:
    home = tmp_path_factory.mktemp("snmp")
    programs = home / "programs"
    debian_programs.unpack(programs, "prometheus-snmp-exporter", "snmpd")
    exporter, agent = free_port(), free_port()
    (home / "snmpd.conf").write_text(AGENT.format(port=agent))
    template = one(of_profile("probes"), "ConfigMap", "snmp-exporter")["data"]["snmp.yml"]
    # As the config-reloader replaces them.
    (home / "snmp.yml").write_text(re.sub(r"\$\((\w+)\)", lambda found: LOGINS[found[1]], template))
    with ExitStack() as stack:
        state = {"SNMP_PERSISTENT_DIR": str(home / "state")}
        device = ("usr/sbin/snmpd", "-f", "-C", "-c", str(home / "snmpd.conf"), "-Lo")
        stack.enter_context(running(home / "snmpd.log", programs, *device, **state))
        words = (
            "usr/bin/prometheus-snmp-exporter",
            f"--config.file={home / 'snmp.yml'}",
            f"--web.listen-address=127.0.0.1:{exporter}",
        )
        stack.enter_context(running(home / "exporter.log", programs, *words))
        yield Devices(exporter, agent)


def test_interfaces_are_read_with_authentication_and_encryption(devices: Devices) -> None:
    found = devices.read("switches.if_mib")
    port = '{ifAlias="",ifIndex="1",ifName="lo"}'
    assert found[f"ifOperStatus{port}"] == found[f"ifAdminStatus{port}"] == 1
    assert found[f"ifHCInOctets{port}"] > 0
    assert found["sysUpTime"] >= 0


def test_storage_is_read(devices: Devices) -> None:
    found = devices.read("switches.host_resources")
    memory = next(name for name in found if "hrStorageSize" in name and "Physical memory" in name)
    assert found[memory] * found[memory.replace("Size", "AllocationUnits")] > 1e8
    assert found["hrSystemProcesses"] > 0  # snmpd reports the load of processors only after a minute


def test_a_ups_is_read_by_its_community(devices: Devices) -> None:
    found = devices.read("power-rack.ups_mib")
    assert (found["upsOutputSource"], found["upsEstimatedMinutesRemaining"]) == (5, 7)
    assert found['upsOutputPercentLoad{upsOutputLineIndex="1"}'] == 42
