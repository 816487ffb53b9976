from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from tests.unit.ansible.conftest import Host

UNITS = ["openvpn-server@maas.service", "openvpn-server@maas0-1.service", "openvpn-client@maas1.service"]


@pytest.fixture
def module(host: Host, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module on a host with a server, a link, a tunnel, and files that are no tunnels of MaaS."""
    loaded = host.module("remove_tunnels")
    etc = host.home / "etc"
    monkeypatch.setattr(loaded, "OPENVPN", f"{etc}/openvpn")
    monkeypatch.setattr(loaded, "SYSTEMD", f"{etc}/systemd")
    names = ["server/maas.conf", "server/maas0-1.conf", "client/maas1.conf", "client/office.conf"]
    installed = [etc / "openvpn" / name for name in names] + [
        etc / "systemd" / f"{unit}.d" / "maas.conf" for unit in UNITS
    ]
    for path in installed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = {str(path): {"before": None} for path in installed}
    (host.home / "record.json").write_text(json.dumps({"files": files, "made": [], "sysctl": {}, "packages": []}))
    (host.home / "units.json").write_text(json.dumps({unit: [] for unit in UNITS}))
    state = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nLoadState=loaded\n"
    host.answer = lambda command: (0, "\n".join([state] * len(command[4:])) if command[1] == "show" else "", "")
    return loaded


def installed(host: Host) -> set[str]:
    return {str(path.relative_to(host.home / "etc")) for path in (host.home / "etc").rglob("*.conf")}


def test_a_tunnel_to_a_hub_that_is_gone_is_stopped_and_forgotten(host: Host, module: ModuleType) -> None:
    answer = host.run(module, keep=UNITS[:1])
    assert answer["changes"] == [f"remove {unit}" for unit in UNITS[1:]]
    stopped = [command[-1] for command in host.commands if command[1] == "disable"]
    assert stopped == UNITS[1:]
    assert installed(host) == {
        "openvpn/server/maas.conf",
        "openvpn/client/office.conf",
        f"systemd/{UNITS[0]}.d/maas.conf",
    }
    assert len(json.loads((host.home / "record.json").read_text())["files"]) == 3
    assert set(json.loads((host.home / "units.json").read_text())) == {UNITS[0]}
    assert not host.run(module, keep=UNITS[:1])["changed"]


def test_check_mode_changes_nothing(host: Host, module: ModuleType) -> None:
    before = installed(host)
    assert host.run(module, check_mode=True, keep=[])["changed"]
    assert installed(host) == before
    assert not host.commands
