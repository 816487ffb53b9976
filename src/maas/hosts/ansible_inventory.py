"""The inventory in Ansible's form, with the variables of the roles.

The argument_specs of the roles (hack/ansible/roles/*/meta/argument_specs.yml) describe the variables: `cluster` is the
same for every host, `node` is particular to a host, `vpn` contains its keys.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from maas import components, paths
from maas.errors import BundleError
from maas.hosts import host_firewall, ssh
from maas.hosts._inventory_checks import GROUPS
from maas.hosts.network_plan import VPN_DEVICES, primary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from maas.bundle import Bundle, Item
    from maas.hosts.facts import HostFacts
    from maas.hosts.inventory import Host, Inventory
    from maas.hosts.network_plan import Plan
    from maas.hosts.pki import Pki

CARRIED = "/var/lib/maas/bundle"
"""Directory of a bundle that was transferred from the controller."""

_ESCALATION_SECONDS = 15
"""How long Ansible waits for a login and for sudo's answer, on a host that is not slow."""
_RUNTIME = ("containerd", "containerd-shim-runc-v2", "ctr", "crictl", "runc")
_KUBERNETES = {"control-plane": ("kubelet", "kubeadm", "kubectl"), "worker": ("kubelet", "kubeadm")}
_GROUP = {"control-plane": "control_plane", "worker": "workers", "hub": "hubs"}
_ETCD_BACKUP = ("age", "etcdctl", "etcdutl")
_BACKUP_MINUTES = 30
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
    encryption: str = "",
    without: Collection[str] = (),
    known_hosts: Path,
) -> dict[str, Any]:
    """Return the inventory in Ansible's form. It contains the private keys of the hosts.

    A reset needs neither the bundle, nor the keys of the VPN and of etcd.

    Args:
        inventory: The hosts.
        plan: Their network plan.
        facts: Their facts.
        bundle: The components to install.
        pki: The keys of the VPN.
        encryption: The EncryptionConfiguration of the API servers.
        without: Names of the hosts that are left out this time.
        known_hosts: The host keys to trust.

    Raises:
        BundleError: The bundle lacks a component that hosts need.
    """
    first = primary(inventory, facts, without=without).name
    groups: dict[str, dict[str, Any]] = {name: {"hosts": {}} for name in GROUPS}
    for host in inventory.hosts:
        groups[_GROUP[host.role]]["hosts"][host.name] = {
            **_connection(inventory, host, known_hosts, plan.timeouts.factor),
            "node": _node(host, plan, facts[host.name], first)
            | {"firewall_rules": host_firewall.additions(facts[host.name], inventory, host)}
            | ({} if bundle is None else _contents(host, facts[host.name], bundle)),
            **({} if pki is None else {"vpn": _vpn(host, plan, pki)}),
            **({"encryption": encryption} if host.role == "control-plane" and encryption else {}),
        }
    planes = [host.name for host in inventory.control_planes]
    if len(planes) > 1:
        groups["further_control_planes"]["hosts"] = {name: {} for name in planes if name != first}
        # While one is down, the restart of another one would be the end of the majority.
        complete = not set(planes) & set(without)
        groups["guarded_control_planes"]["hosts"] = {name: {} for name in planes if complete}
    cluster = _cluster(inventory, plan, first) | ({} if bundle is None else _versions(bundle))
    return {"all": {"vars": {"cluster": cluster}, "children": groups}}


def reset_inventory(inventory: Inventory, facts: HostFacts, *, factor: int, known_hosts: Path) -> dict[str, Any]:
    """Return a single host in Ansible's form, for its reset: it need not be in a network plan.

    Args:
        inventory: The cluster with this host alone.
        facts: The facts of the host.
        factor: How many times as long as by default to wait for it.
        known_hosts: The host keys to trust.
    """
    (host,) = inventory.hosts
    node = {"name": host.name, "container": facts.container is not None}
    own = {**_connection(inventory, host, known_hosts, factor), "node": node}
    return {
        "all": {
            "vars": {"cluster": {"name": inventory.cluster}},
            "children": {"workers": {"hosts": {host.name: own}}},
        }
    }


def _connection(inventory: Inventory, host: Host, known_hosts: Path, factor: int) -> dict[str, Any]:
    control = ssh.control_path(inventory.cluster, host)
    options = ssh.options(host, known_hosts=known_hosts, control_path=control, factor=factor)
    return {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_become": host.user != "root",
        "ansible_ssh_args": shlex.join(options),
        "ansible_ssh_timeout": _ESCALATION_SECONDS * factor,
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _cluster(inventory: Inventory, plan: Plan, control_plane: str) -> dict[str, Any]:
    timers = plan.model_dump(
        mode="json", include={"keepalive", "connect_retry", "etcd", "timers", "tun_mtu", "pod_mtu"}
    )
    return {
        **timers,
        "timeouts": {"factor": plan.timeouts.factor, "kubeadm": plan.timeouts.for_kubeadm()},
        "name": plan.cluster,
        "control_plane": control_plane,
        "control_planes": [host.name for host in inventory.control_planes],
        "api_address": str(plan.api_address),
        "networks": {name: str(getattr(plan, name)) for name in ("vpn", "transit", "pods", "services")},
        "nodes": {
            host.name: {"vpn_address": str(plan.hosts[host.name].vpn_address), "labels": host.labels}
            for host in inventory.nodes
        },
        "containers": any(host.container for host in plan.hosts.values()),
        "backup": _backup(inventory),
    }


def _backup(inventory: Inventory) -> dict[str, Any]:
    """Return the settings of etcd's backups: control planes make them one after the other, so that one is always recent."""
    if inventory.backup is None:
        return {}
    members = [host.name for host in inventory.hosts if host.role == "control-plane"]
    minutes = {name: number * _BACKUP_MINUTES // len(members) for number, name in enumerate(members)}
    return {**inventory.backup.model_dump(mode="json"), "minutes": minutes}


def _versions(bundle: Bundle) -> dict[str, Any]:
    return {
        "kubernetes_version": _item(bundle, "kubelet").version,
        "images": {key: _item(bundle, name).reference for key, name in _IMAGES.items()},
        "bundle": {"digest": bundle.digest},
    }


def _node(host: Host, plan: Plan, facts: HostFacts, first: str) -> dict[str, Any]:
    own, name = plan.hosts[host.name], host.name
    server, links, tunnels = _server(plan, name), _links(plan, name), _tunnels(plan, name)
    return {
        **own.model_dump(mode="json", exclude={"servers"}),
        "name": name,
        "swap_units": list(facts.swap_units),
        "firewalls": list(facts.firewalls),
        "server": server,
        "links": links,
        "tunnels": tunnels,
        "neighbors": _neighbors(plan, name),
        "announces_api": name in plan.announcers(),
        # A control plane that did not finish to join starts again, except the first one, which kubeadm continues.
        "joined": facts.joined and (facts.etcd == "member" or name == first or own.role == "worker"),
        "etcd": facts.etcd,
        "authority": facts.authority,
        "vpn_units": [unit["unit"] for unit in [*([server] if server else []), *links, *tunnels]],
        # kubeadm requires cgroup v2 and a readable kernel configuration, which containers and old hosts do not have.
        "ignore_preflight": ["SystemVerification"] if own.cgroup_version == 1 or own.container else [],
    }


def _contents(host: Host, facts: HostFacts, bundle: Bundle) -> dict[str, Any]:
    contents = {
        "packages": _packages(facts, bundle),
        "packages_missing": list(facts.packages_missing),
        "bundle": str(host.bundle or CARRIED),
        "bundle_source": None if host.bundle else str(bundle.directory),
    }
    if host.role == "hub":
        return {**contents, "programs": {}, "images": {}}
    return {
        **contents,
        "programs": {
            "containerd": [*_programs(bundle, _RUNTIME), *_plugins(bundle)],
            "kubernetes": _programs(bundle, _KUBERNETES[host.role]),
            **({"etcd_backup": _programs(bundle, _ETCD_BACKUP)} if host.role == "control-plane" else {}),
        },
        "images": {stage: _stage(bundle, stage, host) for stage in _STAGES[host.role]},
    }


def _server(plan: Plan, name: str) -> dict[str, Any] | None:
    """Return the OpenVPN server of a host, or None if the host is not a hub."""
    if name not in plan.hubs:
        return None
    hub = plan.hubs[name]
    return {
        "unit": "openvpn-server@maas.service",
        "device": f"{VPN_DEVICES}{hub.index}",
        "port": hub.port,
        "address": str(plan.transit_address(name, name)),
        "netmask": str(hub.network.netmask),
        # One file for each node, named after its certificate. OpenVPN drops packets from other addresses than these.
        "clients": {
            node: f"ifconfig-push {plan.transit_address(node, name)} {hub.network.netmask}\n"
            f"iroute {own.vpn_address} 255.255.255.255\n"
            + (f"iroute {plan.api_address} 255.255.255.255\n" if node in plan.announcers() else "")
            for node, own in plan.hosts.items()
            if node not in plan.hubs
        },
    }


def _tunnels(plan: Plan, name: str) -> list[dict[str, Any]]:
    """Return the tunnels of a host to the OpenVPN servers of all hubs; none for a hub, which has links to the others."""
    if name in plan.hubs:
        return []
    return [
        {
            # The first one has the name that the only one had in version 0.1.
            "unit": f"openvpn-client@maas{hub.index or ''}.service",
            "config": f"maas{hub.index or ''}",
            "device": f"{VPN_DEVICES}{hub.index}",
            "hub": hub_name,
            "endpoint": plan.hosts[name].servers[hub_name].endpoint,
            "port": plan.hosts[name].servers[hub_name].port,
            "address": str(plan.transit_address(name, hub_name)),
        }
        for hub_name, hub in plan.hubs.items()
    ]


def _links(plan: Plan, name: str) -> list[dict[str, Any]]:
    """Return the tunnels of a hub to the other hubs."""
    links = []
    for link in plan.links():
        if name not in {link.listens, link.connects}:
            continue
        listens = name == link.listens
        peer = link.connects if listens else link.listens
        device = f"{VPN_DEVICES}{plan.hubs[link.listens].index}-{plan.hubs[link.connects].index}"
        own, other = link.addresses if listens else link.addresses[::-1]
        entry = {
            "unit": f"openvpn-{'server' if listens else 'client'}@{device}.service",
            "directory": "server" if listens else "client",
            "config": device,
            "device": device,
            "hub": peer,
            "listens": listens,
            "port": link.port,
            "address": str(own),
            "peer_address": str(other),
        }
        if not listens:
            # The links of a hub use the ports after that of its server, also at a forwarded address.
            server = plan.hosts[name].servers[peer]
            entry |= {"endpoint": server.endpoint, "port": server.port + link.port - plan.hubs[peer].port}
        links.append(entry)
    return links


def _neighbors(plan: Plan, name: str) -> list[dict[str, Any]]:
    """Return the BGP neighbors of a host. A hub accepts from a node only the addresses of that node."""
    if name not in plan.hubs:
        return [
            {
                "name": hub,
                "kind": "hub",
                "host": str(plan.hosts[hub].vpn_address),
                "address": str(plan.transit_address(hub, hub)),
                "own_address": str(plan.transit_address(name, hub)),
                "device": f"{VPN_DEVICES}{plan.hubs[hub].index}",
                "preference": len(plan.hubs) - order,
            }
            for order, hub in enumerate(plan.hubs)
        ]
    nodes = [
        {
            "name": node,
            "kind": "node",
            "host": str(own.vpn_address),
            "address": str(plan.transit_address(node, name)),
            "own_address": str(plan.transit_address(name, name)),
            "device": "",
            "announces_api": node in plan.announcers(),
        }
        for node, own in plan.hosts.items()
        if node not in plan.hubs
    ]
    links = [
        {
            "name": link["hub"],
            "kind": "link",
            "host": str(plan.hosts[link["hub"]].vpn_address),
            "address": link["peer_address"],
            "own_address": link["address"],
            "device": link["device"],
            "passive": link["listens"],
        }
        for link in _links(plan, name)
    ]
    return [*nodes, *links]


def _vpn(host: Host, plan: Plan, pki: Pki) -> dict[str, Any]:
    files = {name: content.decode() for name, content in pki.files_for(host.name).items()}
    return {
        "ca": files["ca.crt"],
        "certificate": files["node.crt"],
        "key": files["node.key"],
        "tls_crypt": {hub: files[f"hubs/{hub}.key"] for hub in plan.hubs if hub != host.name},
        "tls_crypt_server": files.get("tls-crypt-v2-server.key", ""),
        "revoked": {name.removeprefix("revoked/"): text for name, text in files.items() if name.startswith("revoked/")},
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
            hint="install them on the host",
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
