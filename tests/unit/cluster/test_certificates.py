from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.hosts import facts_of, inventory_of

from maas import paths, process
from maas.cluster import certificates, tunnel
from maas.commands import revoke as command
from maas.errors import PkiError, ProcessError
from maas.hosts import network_plan, pki

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = """\
# TYPE kubernetes_certificate_not_after_seconds gauge
kubernetes_certificate_not_after_seconds{name="pki/apiserver",kind="leaf"} 1826954251
kubernetes_certificate_not_after_seconds{name="pki/etcd/peer",kind="leaf"} 1826954000
kubernetes_certificate_not_after_seconds{name="pki/ca",kind="ca"} 1000
"""


class Hub:
    """A control-plane host that answers SSH commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.answer = SAMPLES
        self.status = 0

    def run(self, argv: list[str], *, check: bool = True, **_: str) -> process.Completed:
        self.commands.append(argv[-1])
        if self.status and check:
            raise ProcessError(argv, returncode=self.status, stderr="node2 is still connected")
        return process.Completed(tuple(argv), self.status, "" if self.status else self.answer, "", 0.0)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(process, "run", made.run)
    monkeypatch.setattr(tunnel, "ssh", lambda _: ["ssh", "hub"])
    return made


@pytest.fixture
def state(hub: Hub) -> Path:
    assert not hub.commands
    inventory = inventory_of("node1", "node2")
    directory = paths.state("shop")
    (directory / "access.json").write_text(json.dumps({"ssh": ["ssh", "hub"], "api": "10.90.0.1:6443"}))
    made = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts})
    (directory / "plan.json").write_text(made.to_json())
    pki.ensure(directory / "pki", "shop", ["master", "node1", "node2"], hubs=["master"])
    return directory


@pytest.mark.usefixtures("state")
def test_of_each_kind_the_certificate_that_expires_first_is_returned() -> None:
    found = certificates.expiring("shop")
    assert [item.name for item in found[:1]] == ["CA of the VPN"]
    assert found[1].name.startswith("VPN certificate of ")
    assert found[2].name == "control plane, pki/etcd/peer"
    assert found[2].expires == datetime.fromtimestamp(1826954000, UTC)


@pytest.mark.usefixtures("state")
def test_without_the_control_plane_host_the_local_certificates_are_returned(hub: Hub) -> None:
    hub.status = 255
    assert len(certificates.expiring("shop")) == 2


def test_a_revoked_node_is_rejected_by_the_vpn_server_and_its_keys_are_deleted(state: Path, hub: Hub) -> None:
    command.revoke("shop", "node2", yes=True)
    (serial,) = (path.name for path in (state / "pki" / "revoked").iterdir())
    assert f"exec /usr/local/lib/maas/revoke node2 {serial} 10.90.0.3" in hub.commands[-1]
    assert not (state / "pki" / "nodes" / "node2.crt").exists()
    assert (state / "pki" / "nodes" / "node1.crt").exists()


@pytest.mark.usefixtures("state")
def test_a_node_that_is_still_connected_is_an_error(hub: Hub) -> None:
    hub.status = 1
    with pytest.raises(PkiError) as caught:
        command.revoke("shop", "node2", yes=True)
    assert caught.value.code == "RevocationFailed"
    assert "node2 is still connected" in caught.value.context


def test_the_vpn_server_is_not_revoked(state: Path, hub: Hub) -> None:
    with pytest.raises(PkiError, match="VPN server"):
        command.revoke("shop", "master", yes=True)
    assert hub.commands == []
    assert not list((state / "pki" / "revoked").iterdir())


@pytest.mark.usefixtures("state")
def test_an_unknown_node_is_not_revoked() -> None:
    with pytest.raises(PkiError, match="node9 has no certificate"):
        command.revoke("shop", "node9", yes=True)
