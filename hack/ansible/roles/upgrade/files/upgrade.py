#!/usr/bin/python3
"""Upgrade the control plane of this host with kubeadm: upgrade VERSION (apply | node) CONTROL-PLANES.

`apply` is for the first control plane, which upgrades what the cluster has once, `node` for the others. With several control
planes, the host does not announce the address of the API meanwhile, so that clients use another one. kubeadm writes the static
pod of etcd again, so the guard of its data follows at once.

It prints what it changed. After an interruption, the next run starts again, which kubeadm supports; once the upgrade is
complete, it does nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_containers import run, wait_ready

SETTINGS = "/etc/maas/kubernetes/kubeadm.yaml"
CONFIGURATION = "/etc/maas/kubernetes/upgrade.yaml"
MANIFESTS = Path("/etc/kubernetes/manifests")
BACKUPS = Path("/etc/kubernetes/tmp")
"""Where kubeadm keeps the data of etcd and the static pods of before, for itself."""
DONE = Path("/var/lib/maas/upgraded")
LOCK = Path("/run/maas/kubeadm.lock")
ADDRESS = "maas-api-address.service"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
LIBRARY = "/usr/local/lib/maas"
ADMIN = Path("/etc/kubernetes/admin.conf")
ANNOUNCE_SECONDS = 60
"""Time limit for the address of the API to be on this host again."""


def complete(version):
    """Return whether the last upgrade was to this version, and its static pods have it."""
    if not DONE.is_file() or DONE.read_text(encoding="utf-8").strip() != version:
        return False
    image = re.compile(rf"^\s+image: \S+:{re.escape(version)}$", re.MULTILINE)
    return all(image.search((MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")) for name in COMPONENTS)


@contextlib.contextmanager
def others_answer(*, several):
    """Withdraw the address of the API from this host, if others have it too, and let it return after that."""
    active = subprocess.run(["systemctl", "is-active", "--quiet", ADDRESS], check=False).returncode == 0
    if not (several and active):
        yield
        return
    run("systemctl", "stop", ADDRESS)
    try:
        yield
    finally:
        run("systemctl", "start", ADDRESS)
    wait_announced()


def wait_announced():
    """Wait until this host has the address of the API again: the next host withdraws it."""
    api = re.search(r"server: https://(\S+):6443", ADMIN.read_text(encoding="utf-8"))[1]
    deadline = time.monotonic() + ANNOUNCE_SECONDS
    while f" {api}/32 " not in run("/usr/sbin/ip", "-oneline", "address", "show", "dev", "lo"):
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {ANNOUNCE_SECONDS} s waiting for the address of the API on this host")
        time.sleep(0.5)


def upgrade(version, action, *, several):
    """Upgrade the control plane, and note that it is complete."""
    with others_answer(several=several):
        # kubeadm reads the settings of this host, such as the addresses of its servers, from the cluster, where the last host
        # has left its own.
        run("/usr/local/bin/kubeadm", "init", "phase", "upload-config", "kubeadm", "--config", SETTINGS)
        words = ["--yes"] if action == "apply" else []
        sys.stdout.write(run("/usr/local/bin/kubeadm", "upgrade", action, "--config", CONFIGURATION, *words))
        wait_ready()
        if several:
            sys.stdout.write(run(f"{LIBRARY}/etcd-guard"))
            wait_ready()
    run(f"{LIBRARY}/static-pods", "--record")
    shutil.rmtree(BACKUPS, ignore_errors=True)  # with all Secrets of the cluster, and as large as etcd
    with tempfile.NamedTemporaryFile("w", dir=DONE.parent, delete=False, encoding="utf-8") as file:
        file.write(f"{version}\n")
    Path(file.name).replace(DONE)


def main():
    version, action, control_planes = sys.argv[1:]
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w", encoding="ascii") as lock:
        # A run that lost its controller may still be at work on this host.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete(version):
            upgrade(version, action, several=int(control_planes) > 1)


if __name__ == "__main__":
    main()
