"""The inventory in Ansible's form, with the variables of the roles.

The argument_specs of the roles (hack/ansible/roles/*/meta/argument_specs.yml) describe the variables: `cluster` is the
same for every host, `node` is particular to a host, `vpn` contains its keys.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from maas import components, paths
from maas.errors import BundleError
from maas.hosts import ssh

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maas.bundle import Bundle, Item
    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Host, Inventory
    from maas.hosts.network_plan import Plan
    from maas.hosts.pki import Pki

CARRIED = "/var/lib/maas/bundle"
"""Directory of a bundle that was transferred from the controller."""

_RUNTIME = ("containerd", "containerd-shim-runc-v2", "ctr", "crictl", "runc")
_KUBERNETES = {"control-plane": ("kubelet", "kubeadm", "kubectl"), "worker": ("kubelet", "kubeadm")}
_STAGES = {"control-plane": ("control-plane", "node", "workload"), "worker": ("node", "workload")}
_IMAGES = {
    "pause": "pause",
    "kube_proxy": "kube-proxy",
    "local_path": "local-path-provisioner",
    "helper": "busybox",
}


def ansible_inventory(
    inventory: Inventory,
    *,
    plan: Plan,
    facts: Mapping[str, HostFacts],
    bundle: Bundle | None = None,
    pki: Pki | None = None,
    known_hosts: Path,
) -> dict[str, Any]:
    """Return the inventory in Ansible's form. It contains the private keys of the hosts.

    A reset needs neither the bundle nor the keys of the VPN.

    Raises:
        BundleError: The bundle lacks a component that hosts need.
    """
    groups: dict[str, dict[str, Any]] = {"control_plane": {"hosts": {}}, "workers": {"hosts": {}}}
    for host in inventory.hosts:
        group = "control_plane" if host.role == "control-plane" else "workers"
        groups[group]["hosts"][host.name] = {
            **_connection(inventory, host, known_hosts),
            "node": _node(host, plan, facts[host.name])
            | ({} if bundle is None else _contents(host, facts[host.name], bundle)),
            **({} if pki is None else {"vpn": _vpn(host, plan, pki)}),
        }
    cluster = _cluster(inventory, plan) | ({} if bundle is None else _versions(bundle))
    return {"all": {"vars": {"cluster": cluster}, "children": groups}}


def _connection(inventory: Inventory, host: Host, known_hosts: Path) -> dict[str, Any]:
    control = ssh.control_path(inventory.cluster)
    options = ssh.options(known_hosts=known_hosts, control_path=control, key=host.key)
    return {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_become": host.user != "root",
        "ansible_ssh_args": shlex.join(options),
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _cluster(inventory: Inventory, plan: Plan) -> dict[str, Any]:
    timers = plan.model_dump(
        mode="json", include={"keepalive", "connect_retry", "etcd", "timers", "tun_mtu", "pod_mtu"}
    )
    return {
        **timers,
        "name": plan.cluster,
        "control_plane": plan.hub,
        "hub_port": plan.hub_port,
        "networks": {"vpn": str(plan.vpn), "pods": str(plan.pods), "services": str(plan.services)},
        "nodes": {
            host.name: {"vpn_address": str(plan.hosts[host.name].vpn_address), "labels": host.labels}
            for host in inventory.hosts
        },
        "containers": any(host.container for host in plan.hosts.values()),
    }


def _versions(bundle: Bundle) -> dict[str, Any]:
    return {
        "kubernetes_version": _item(bundle, "kubelet").version,
        "images": {key: _item(bundle, name).reference for key, name in _IMAGES.items()},
        "bundle": {"digest": bundle.digest},
    }


def _node(host: Host, plan: Plan, facts: HostFacts) -> dict[str, Any]:
    own = plan.hosts[host.name]
    return {
        **own.model_dump(mode="json"),
        "name": host.name,
        "joined": facts.joined,
        "authority": facts.authority,
        "vpn_unit": f"openvpn-{'server' if host.name == plan.hub else 'client'}@maas.service",
        # kubeadm requires cgroup v2 and a readable kernel configuration, which containers and old hosts do not have.
        "ignore_preflight": ["SystemVerification"] if own.cgroup_version == 1 or own.container else [],
    }


def _contents(host: Host, facts: HostFacts, bundle: Bundle) -> dict[str, Any]:
    return {
        "packages": _packages(facts, bundle),
        "packages_missing": list(facts.packages_missing),
        "bundle": str(host.bundle or CARRIED),
        "bundle_source": None if host.bundle else str(bundle.directory),
        "programs": {
            "containerd": [*_programs(bundle, _RUNTIME), *_plugins(bundle)],
            "kubernetes": _programs(bundle, _KUBERNETES[host.role]),
        },
        "images": {stage: _stage(bundle, stage, host) for stage in _STAGES[host.role]},
    }


def _vpn(host: Host, plan: Plan, pki: Pki) -> dict[str, Any]:
    hub = host.name == plan.hub
    files = {name: content.decode() for name, content in pki.files_for(host.name).items()}
    kind = "server" if hub else "client"
    keys: dict[str, Any] = {
        "ca": files["ca.crt"],
        "certificate": files[f"{kind}.crt"],
        "key": files[f"{kind}.key"],
        "tls_crypt": files["tls-crypt-v2.key"],
    }
    if not hub:
        return keys
    netmask = plan.vpn.netmask
    return keys | {
        "network": str(plan.vpn.network_address),
        "netmask": str(netmask),
        "nodes": {
            name: f"ifconfig-push {node.vpn_address} {netmask}\n"
            for name, node in plan.hosts.items()
            if name != plan.hub
        },
        "revoked": {name.removeprefix("revoked/"): "" for name in files if name.startswith("revoked/")},
    }


def _packages(facts: HostFacts, bundle: Bundle) -> list[str]:
    """Return the package files for the host's distribution release.

    Raises:
        BundleError: Packages are missing on the host, and the bundle has none for its release.
    """
    folder = f"packages/{facts.os}-{facts.codename}/"
    found = [item.path for item in bundle.items if item.path.startswith(folder)]
    if facts.packages_missing and not found:
        raise BundleError(
            f"the bundle has no packages for {facts.os_name}, and a host needs {', '.join(facts.packages_missing)}",
            hint="install them on the host, or build the bundle on a machine with that release",
            command=f"apt-get install {' '.join(facts.packages_missing)}",
            code="BundleIncomplete",
        )
    return found


def _item(bundle: Bundle, name: str) -> Item:
    for item in bundle.items:
        if item.name == name:
            return item
    raise BundleError(
        f"the bundle at {bundle.directory} has no {name}",
        command=paths.command("bundle", "--list"),
        code="BundleIncomplete",
    )


def _programs(bundle: Bundle, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Return programs of the bundle. runc can also be a Debian package."""
    found = {item.name: item.path for item in bundle.items if item.path.startswith("bin/")}
    missing = [name for name in names if name not in found and name != "runc"]
    if missing:
        raise BundleError(
            f"the bundle at {bundle.directory} has no {', '.join(missing)}",
            command=paths.command("bundle"),
            code="BundleIncomplete",
        )
    return [
        {"path": found[name], "dest": f"/usr/local/bin/{found[name].removeprefix('bin/')}"}
        for name in names
        if name in found
    ]


def _plugins(bundle: Bundle) -> list[dict[str, str]]:
    paths = [item.path for item in bundle.items if item.path.startswith("cni/")]
    return [{"path": path, "dest": f"/opt/cni/bin/{path.removeprefix('cni/')}"} for path in paths]


def _stage(bundle: Bundle, stage: str, host: Host) -> list[str]:
    """Return the image archives of a stage, in the order of import."""
    images = [item for item in bundle.images if item.on == stage]
    if stage == "workload":
        known = components.load().images()
        early = {image.name for image in known if image.early}
        tolerant = {image.name for image in known if image.tolerates == "control-plane"}
        images.sort(key=lambda item: item.name not in early)
        return [item.path for item in images if host.role == "worker" or item.name in tolerant]
    # First, because every pod needs it.
    pause = _item(bundle, "pause").path
    return [pause, *(item.path for item in images if item.path != pause)]
