#!/usr/bin/python
"""Take from a host what MaaS put there."""

from __future__ import annotations

DOCUMENTATION = """
module: reset_host
short_description: Takes a host out of its cluster and removes everything that MaaS put there
description:
  - Goes by the record that the other modules keep on the host. Files that were there before are put back, kernel
    parameters get the values that they had, packages that were installed are removed.
  - Of the firewall only the rules of Kubernetes, Calico and MaaS are removed, in one step with no moment without
    rules. ssh is never touched.
  - The mark of the cluster goes last, so that a reset that was interrupted can be run again.
options:
  cluster:
    description: Name of the cluster. A host of another one is refused, a host of none is left alone.
    type: str
    required: true
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Reset the host
  reset_host:
    cluster: shop
"""

RETURN = """
changes:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
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

MARK = Path("/etc/maas/cluster")
SHIM = "/usr/local/bin/containerd-shim-runc-v2"
# What programs that MaaS installed wrote themselves.
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
FELIX = "80"  # the protocol number that Felix writes into its routes


def keep(rules):
    """The rules of `iptables-save` without those of Kubernetes and Calico: chains, jumps into them, rules that they signed."""
    return "".join(line for line in rules.splitlines(keepends=True) if not CHAINS.search(line))


def mounted():
    """What is mounted below the directories of the cluster's programs, in the order of mounting."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [mount for mount in (line.split()[1] for line in lines) if mount.startswith(MOUNTS)]


def containers():
    """The processes of all containers: the shims' children, theirs in turn, and the shims."""
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
    """The steps of a reset, each noting what it does."""

    def __init__(self, module):
        self.module = module
        self.record = Record()
        self.changes = []

    def does(self, change):
        """Note a change; true when it is to be made."""
        self.changes.append(change)
        return not self.module.check_mode

    def run(self, *command, data=None):
        """Run a program and return its output; a failure is for a later step to notice."""
        return self.module.run_command(list(command), data=data)[1]

    def stop(self):
        """Stop everything: the kubelet first, the VPN and the firewall last, and what containerd left running."""
        units = (
            [*json.loads((HOME / "units.json").read_text(encoding="utf-8"))] if (HOME / "units.json").exists() else []
        )
        if units and self.does(f"stop {', '.join(units)}"):
            self.run("systemctl", "disable", "--quiet", "--now", *reversed(units))
        # Not by way of the kubelet and the CNI plugins, as `kubeadm reset` does: they ask an API server that is going
        # away at the same time, and what they would tidy up is removed below.
        processes = containers()
        if processes and self.does(f"kill {len(processes)} processes of containers"):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def network(self):
        """Remove devices, routes, rules and sets of the pod network."""
        links = json.loads(self.run("ip", "-json", "link") or "[]")
        for name in (link["ifname"] for link in links if DEVICES.match(link["ifname"])):
            if self.does(f"remove the device {name}"):
                self.run("ip", "link", "delete", name)
        if self.run("ip", "route", "show", "proto", FELIX).strip() and self.does("remove the routes of pods"):
            self.run("ip", "route", "flush", "proto", FELIX)
        for program in ("iptables", "ip6tables"):
            rules = self.run(f"{program}-save", "-c") if shutil.which(f"{program}-save") else ""
            kept = keep(rules)
            if kept != rules and self.does(f"remove the rules of Kubernetes and Calico from {program}"):
                self.run(f"{program}-restore", "-c", data=kept)
        names = self.run("ipset", "list", "-name").split() if shutil.which("ipset") else []
        for name in filter(SETS.match, names):
            if self.does(f"remove the set {name}"):
                self.run("ipset", "destroy", name)

    def data(self):
        """Unmount and remove what the cluster's programs wrote."""
        for mount in reversed(mounted()):
            if self.does(f"unmount {mount}"):
                self.run("umount", "--lazy", mount)
        if not self.module.check_mode and (left := mounted()):
            # To remove a directory with something mounted in it would be to remove what is mounted.
            self.module.fail_json(msg=f"still mounted: {', '.join(left)}", changes=self.changes)
        for name in (*DATA, *PLUGINS):
            path = Path(name)
            if path.exists() and self.does(f"remove {path}"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in Path("/run/netns").glob("cni-*"):
            if self.does(f"remove {path}"):
                path.unlink()

    def settings(self):
        """Give kernel parameters and swap back as they were."""
        for key, value in self.record.data["sysctl"].items():
            path = Path("/proc/sys", *key.split("."))
            if path.exists() and self.does(f"set {key} to {value}"):
                path.write_text(value, encoding="ascii")

    def files(self):
        """Remove our files and put back those that were there before; all but the mark."""
        for name in [name for name in self.record.data["files"] if name != str(MARK)]:
            self.remove(name)
        if not self.module.check_mode and self.record.data.get("swap"):
            self.run("systemctl", "daemon-reload")
            self.run("swapon", "--all")

    def remove(self, name):
        """Remove one file of ours."""
        if self.does(f"remove {name}"):
            self.record.disown(Path(name))
            self.record.save()

    def packages(self):
        """Remove the packages that were installed for the cluster."""
        names = self.record.data["packages"]
        if names and self.does(f"remove the packages {', '.join(names)}"):
            self.run("dpkg", "--purge", *names)

    def mark(self):
        """Remove the mark, and with it the last trace; what was interrupted before can be run again."""
        self.remove(str(MARK))
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
    mark = MARK.read_text(encoding="utf-8").strip() if MARK.is_file() else ""
    if mark != module.params["cluster"]:
        if mark:
            module.fail_json(msg=f"this host belongs to the cluster {mark!r}; it is left alone")
        module.exit_json(changed=False, changes=[])
    reset = Reset(module)
    reset.stop()
    reset.network()
    reset.data()
    reset.settings()
    reset.files()
    reset.packages()
    reset.mark()
    module.exit_json(changed=True, changes=reset.changes)


if __name__ == "__main__":
    main()
