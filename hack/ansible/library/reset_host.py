#!/usr/bin/python
"""Remove everything that MaaS installed on a host."""

from __future__ import annotations

DOCUMENTATION = """
module: reset_host
short_description: Removes a host from its cluster, and everything that MaaS installed on it
description:
  - Uses the record that the other modules keep on the host. Restores files and kernel parameters, removes packages.
  - Removes only the firewall rules of Kubernetes, Calico and MaaS, atomically. Does not change SSH.
  - Removes /etc/maas/cluster last, so that an interrupted reset can be repeated.
options:
  cluster:
    description: Name of the cluster. Fails on a host of another cluster, and skips a host of none.
    type: str
    required: true
author: MaaS maintainers (@maas)
"""

import contextlib
import json
import os
import re
import shutil
import signal
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_record import HOME, Record

CLUSTER = Path("/etc/maas/cluster")
SHIM = "/usr/local/bin/containerd-shim-runc-v2"
# Data of the programs that MaaS installed.
DATA = (
    "/etc/cni/net.d",
    "/etc/kubernetes",
    "/opt/containerd",
    "/var/lib/calico",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/calico",
    "/var/log/containers",
    "/var/log/kubernetes",
    "/var/log/pods",
    "/run/calico",
    "/run/containerd",
    "/run/maas",
)
PARENTS = ("/etc/cni", "/opt/cni")
PLUGINS = ("/opt/cni/bin/calico", "/opt/cni/bin/calico-ipam")
MOUNTS = ("/var/lib/kubelet/", "/run/containerd/", "/var/lib/containerd/", "/run/netns/cni-", "/run/calico/")
DEVICES = re.compile(r"^(cali[0-9a-f]{11}|vxlan\.calico)$")
CHAINS = re.compile(r'(^:| -[Ajg] |^-A |--comment ")(KUBE-|cali[-:])')
SETS = re.compile(r"^(KUBE-|cali)")
FELIX = "80"  # the protocol number of Felix's routes


def without_cluster(rules):
    """Return the rules of `iptables-save` without the chains and rules of Kubernetes and Calico."""
    return "".join(line for line in rules.splitlines(keepends=True) if not CHAINS.search(line))


def mounted():
    """Return the mount points in the directories of the cluster's programs, in the order of mounting."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [mount for mount in (line.split()[1] for line in lines) if mount.startswith(MOUNTS)]


def containers():
    """Return the processes of all containers: the descendants of the shims, then the shims."""
    parents, shims = {}, []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            process = int(directory.name)
            parents[process] = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            if (directory / "cmdline").read_bytes().split(b"\0")[0] == SHIM.encode():
                shims.append(process)
    found, level = [], shims
    while level:
        found = level + found
        level = [process for process, parent in parents.items() if parent in level]
    return found


class Reset:
    """The steps of a reset."""

    def __init__(self, module):
        self.module = module
        self.record = Record()
        self.changes = []

    def note(self, change):
        """Note a change; return whether to make it."""
        self.changes.append(change)
        return not self.module.check_mode

    def run(self, *command, data=None):
        """Run a program and return its output. Ignores its status: later steps check the result."""
        return self.module.run_command(list(command), data=data)[1]

    def stop(self):
        """Stop all units, the kubelet first, the VPN and the firewall last; then kill the containers."""
        units = (
            [*json.loads((HOME / "units.json").read_text(encoding="utf-8"))] if (HOME / "units.json").exists() else []
        )
        if units and self.note(f"stop {', '.join(units)}"):
            self.run("systemctl", "disable", "--quiet", "--now", *reversed(units))
        # Unlike `kubeadm reset`, without the kubelet and the CNI plugins: they need an API server that is being removed,
        # and the steps below remove what they would clean up.
        processes = containers()
        if processes and self.note(f"kill {len(processes)} container processes"):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def network(self):
        """Remove devices, routes, firewall rules and IP sets of the pod network."""
        links = json.loads(self.run("ip", "-json", "link") or "[]")
        for name in (link["ifname"] for link in links if DEVICES.match(link["ifname"])):
            if self.note(f"remove the device {name}"):
                self.run("ip", "link", "delete", name)
        if self.run("ip", "route", "show", "proto", FELIX).strip() and self.note("remove the routes of pods"):
            self.run("ip", "route", "flush", "proto", FELIX)
        for program in ("iptables", "ip6tables"):
            rules = self.run(f"{program}-save", "-c") if shutil.which(f"{program}-save") else ""
            kept = without_cluster(rules)
            if kept != rules and self.note(f"remove the rules of Kubernetes and Calico from {program}"):
                self.run(f"{program}-restore", "-c", data=kept)
        names = self.run("ipset", "list", "-name").split() if shutil.which("ipset") else []
        for name in filter(SETS.match, names):
            if self.note(f"remove the IP set {name}"):
                self.run("ipset", "destroy", name)

    def data(self):
        """Unmount and remove the data of the cluster's programs."""
        for mount in reversed(mounted()):
            if self.note(f"unmount {mount}"):
                self.run("umount", "--lazy", mount)
        if not self.module.check_mode and (left := mounted()):
            # Removing a directory with a mount point would delete the mounted data.
            self.module.fail_json(msg=f"still mounted: {', '.join(left)}", changes=self.changes)
        for name in (*DATA, *PLUGINS):
            path = Path(name)
            if path.exists() and self.note(f"remove {path}"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in Path("/run/netns").glob("cni-*"):
            if self.note(f"remove {path}"):
                path.unlink()

    def settings(self):
        """Restore kernel parameters."""
        for key, value in self.record.data["sysctl"].items():
            path = Path("/proc/sys", *key.split("."))
            if path.exists() and self.note(f"set {key} to {value}"):
                path.write_text(value, encoding="ascii")

    def files(self):
        """Remove the installed files and restore the original ones, except for the name of the cluster."""
        for name in [name for name in self.record.data["files"] if name != str(CLUSTER)]:
            self.remove(name)
        if not self.module.check_mode and self.record.data.get("swap"):
            self.run("systemctl", "daemon-reload")
            self.run("swapon", "--all")

    def remove(self, name):
        """Remove an installed file."""
        if self.note(f"remove {name}"):
            self.record.disown(Path(name))
            self.record.save()

    def packages(self):
        """Remove the packages that MaaS installed."""
        names = self.record.data["packages"]
        if names and self.note(f"remove the packages {', '.join(names)}"):
            self.run("dpkg", "--purge", *names)

    def membership(self):
        """Remove the name of the cluster, empty directories and the record."""
        self.remove(str(CLUSTER))
        if self.module.check_mode:
            return
        for name in (*sorted(self.record.data["made"], key=len, reverse=True), *PARENTS):
            path = Path(name)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "reset-failed")
        shutil.rmtree(HOME, ignore_errors=True)


def main():
    module = AnsibleModule(argument_spec={"cluster": {"type": "str", "required": True}}, supports_check_mode=True)
    cluster = CLUSTER.read_text(encoding="utf-8").strip() if CLUSTER.is_file() else ""
    if cluster != module.params["cluster"]:
        if cluster:
            module.fail_json(msg=f"this host belongs to another cluster, {cluster!r}; nothing was changed on it")
        module.exit_json(changed=False, changes=[])
    reset = Reset(module)
    reset.stop()
    reset.network()
    reset.data()
    reset.settings()
    reset.files()
    reset.packages()
    reset.membership()
    module.exit_json(changed=True, changes=reset.changes)


if __name__ == "__main__":
    main()
