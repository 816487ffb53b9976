from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maas.hosts.inventory import Host, Hub, Inventory
from maas.hosts.preflight import HostFacts


def inventory_of(*workers: str, **changes: Any) -> Inventory:
    hosts = (
        Host(name="master", address="203.0.113.10", role="control-plane"),
        *(Host(name=name, address=f"203.0.113.{n}", role="worker") for n, name in enumerate(workers, start=11)),
    )
    known = {"file": Path("/hosts.yaml"), "cluster": "shop", "hub": Hub(endpoint="vpn.example.org"), "hosts": hosts}
    return Inventory(**{**known, **changes})


def facts_of(**changes: Any) -> HostFacts:
    """The facts of an ordinary Debian host with nothing against it."""
    return HostFacts.model_validate(
        {
            "os": "debian",
            "codename": "bookworm",
            "os_name": "Debian GNU/Linux 12 (bookworm)",
            "architecture": "x86_64",
            "kernel": "6.1.0-40-amd64",
            "systemd": True,
            "container": None,
            "uid": 0,
            "cpus": 2,
            "memory": 4 << 30,
            "disk_free": 40 << 30,
            "swap": (),
            "cgroup_version": 2,
            "capabilities_missing": (),
            "tun": True,
            "addresses": ({"device": "eth0", "address": "203.0.113.10/24"},),
            "routes": ({"device": "eth0", "network": "203.0.113.0/24"},),
            "listeners": (),
            "firewalls": (),
            "kubernetes": (),
            "runtimes": {},
            "cluster": None,
            "joined": False,
            "authority": "",
            "resolver": {"path": "/etc/resolv.conf", "servers": ("203.0.113.1",)},
            "packages_missing": (),
            "to_hub": None,
            "clock_offset": 0.1,
            **changes,
        }
    )


@pytest.fixture(name="inventory_of")
def _inventory_of() -> Any:
    return inventory_of


@pytest.fixture(name="facts_of")
def _facts_of() -> Any:
    return facts_of
