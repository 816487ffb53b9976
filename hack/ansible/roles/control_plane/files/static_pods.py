#!/usr/bin/python3
"""Apply the settings of the control plane that have changed since its static pods were written: static-pods [--record].

kubeadm writes the static pods once. Later, this writes them again from the same configuration, and waits until the kubelet
has restarted those that differ. It prints what it changed. etcd is left alone: its static pod lists the members at the time
of its start.

With --record it only notes that the static pods have the present settings, as they do after `kubeadm init`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_containers import container, restart, run, wait_ready, wait_replaced

CONFIGURATION = Path("/etc/maas/kubernetes/kubeadm.yaml")
POLICY = Path("/etc/kubernetes/audit/policy.yaml")
MANIFESTS = Path("/etc/kubernetes/manifests")
APPLIED = Path("/var/lib/maas/static-pods.json")
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def digests():
    """Return the digest of each file that the components read when they start."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (CONFIGURATION, POLICY)}


def record(found):
    """Note the settings that the static pods have."""
    with tempfile.NamedTemporaryFile("w", dir=APPLIED.parent, delete=False, encoding="utf-8") as file:
        json.dump(found, file)
    Path(file.name).replace(APPLIED)


def apply(applied, wanted):
    """Write the static pods again, and return the names of those that were restarted."""
    before = {name: (MANIFESTS / f"{name}.yaml").read_bytes() for name in COMPONENTS}
    running = {name: container(name) for name in COMPONENTS}
    run("/usr/local/bin/kubeadm", "init", "phase", "control-plane", "all", "--config", str(CONFIGURATION))
    changed = [name for name in COMPONENTS if (MANIFESTS / f"{name}.yaml").read_bytes() != before[name]]
    for name in changed:
        wait_replaced(name, running[name])
    # A host of an earlier release has no record, and its API server reads a policy only since its static pod names it.
    if applied.get(str(POLICY), wanted[str(POLICY)]) != wanted[str(POLICY)] and "kube-apiserver" not in changed:
        restart("kube-apiserver")
        changed.append("kube-apiserver")
    wait_ready()
    # Other control planes, and upgrades, read the settings from the cluster.
    run("/usr/local/bin/kubeadm", "init", "phase", "upload-config", "kubeadm", "--config", str(CONFIGURATION))
    return changed


def main():
    wanted = digests()
    applied = json.loads(APPLIED.read_text(encoding="utf-8")) if APPLIED.is_file() else {}
    if applied == wanted:
        return
    changed = [] if sys.argv[1:] == ["--record"] else apply(applied, wanted)
    record(wanted)
    for name in changed:
        sys.stdout.write(f"restarted {name}\n")


if __name__ == "__main__":
    main()
