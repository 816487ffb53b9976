"""Inventories, facts of hosts and a bundle, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maas.bundle import Bundle, Manifest
from maas.hosts.facts import HostFacts
from maas.hosts.inventory import Host, Hub, Inventory

PROGRAMS = (
    *("kubelet", "kubeadm", "kubectl"),
    *("containerd", "containerd-shim-runc-v2", "ctr", "crictl"),
    *("age", "etcdctl", "etcdutl"),
)
IMAGES = {
    "kube-apiserver": "control-plane",
    "kube-proxy": "node",
    "pause": "node",
    "coredns": "workload",
    "restaurant": "workload",
    "busybox": "workload",
    "local-path-provisioner": "workload",
}
INVENTORY = Inventory(
    file=Path("/hosts.yaml"),
    cluster="shop",
    hub=Hub(endpoint="vpn.example.org"),
    hosts=(
        Host(name="master", address="203.0.113.10", role="control-plane"),
        Host(name="node1", address="203.0.113.11", role="worker", user="admin", port=2222, labels={"site": "paris"}),
    ),
)


def inventory_of(*workers: str, **changes: Any) -> Inventory:
    hosts = (
        Host(name="master", address="203.0.113.10", role="control-plane"),
        *(Host(name=name, address=f"203.0.113.{n}", role="worker") for n, name in enumerate(workers, start=11)),
    )
    known = {"file": Path("/hosts.yaml"), "cluster": "shop", "hub": Hub(endpoint="vpn.example.org"), "hosts": hosts}
    return Inventory(**{**known, **changes})


def facts_of(**changes: Any) -> HostFacts:
    """Return the facts of a Debian host that passes every check."""
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
            "devices": ("eth0", "lo"),
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
            "to_hubs": {},
            "clock_offset": 0.1,
            **changes,
        }
    )


def item(name: str, kind: str, on: str, path: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": "v1.37.2",
        "license": "Apache-2.0",
        "kind": kind,
        "path": path,
        "sha256": "0" * 64,
        "size": 1,
        "origin": {"source": "build", "from": "a module"},
        "on": on,
        "key": "k",
        **({"reference": f"registry.example.org/{name}:v1"} if kind == "image" else {}),
    }


def bundle_of(tmp_path: Path, *, without: str = "") -> Bundle:
    items = [item(name, "binary", "node", f"bin/{name}") for name in PROGRAMS if name != without]
    items += [item("cni-bridge", "binary", "node", "cni/bridge")]
    items += [item(name, "image", on, f"images/{name}.tar") for name, on in IMAGES.items()]
    items += [item("socat", "packages", "node", "packages/debian-bookworm/socat_1_amd64.deb")]
    manifest = Manifest.model_validate({"schema": 1, "items": items})
    (tmp_path / "manifest.json").write_text(manifest.text())
    return Bundle.load(tmp_path)
