from __future__ import annotations

import json
from typing import TYPE_CHECKING

from maas import paths, process
from maas.cluster import hubs
from maas.cluster.hubs import Hub

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

METRICS = """\
# TYPE openvpn_up gauge
openvpn_up{{name="{name}",role="{role}"}} 1
openvpn_peer_connected{{peer="node1"}} 1
openvpn_peer_connected{{peer="node2"}} 0
openvpn_certificate_not_after_seconds{{name="master",kind="node"}} 1826954251
vpn_api_address_announced {announced}
"""


def test_a_hub_is_read_from_its_metrics() -> None:
    found = hubs.parse(METRICS.format(name="master", role="hub", announced=1))
    assert found == Hub("master", {"node1": True, "node2": False}, announces_api=True)
    assert found.missing == ["node2"]
    assert hubs.parse(METRICS.format(name="node1", role="node", announced=0)) is None
    assert hubs.parse("") is None


def test_every_hub_is_returned_also_one_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    hosts = {name: ["ssh", name] for name in ("two", "three")}
    access = {"ssh": ["ssh", "one"], "api": "10.90.0.254:6443", "hubs": hosts}
    (paths.state("shop") / "access.json").write_text(json.dumps(access))
    answers = {
        "two": METRICS.format(name="two", role="hub", announced=0),
        "three": "",
    }

    def run(argv: list[str], **_: object) -> process.Completed:
        return process.Completed(tuple(argv), 0, answers[argv[1]], "", 0.0)

    monkeypatch.setattr(process, "run", run)
    assert [(hub.name, hub.answers) for hub in hubs.gather("shop")] == [("three", False), ("two", True)]
