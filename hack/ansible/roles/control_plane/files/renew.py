#!/usr/bin/python3
"""Renew the certificates of the control plane before they expire, and restart its components: renew [--before TIME].

kubeadm issues them for a year and renews them only on an upgrade or on request. A timer runs this every week; it does
nothing while all of them are valid for more than three months. With --before, those that were issued before a Unix time are
renewed too. The kubelets renew their own certificates.

The components are restarted one after the other; this API server is unavailable for some seconds. Meanwhile the host does
not announce the address of the API, so that clients use another control plane, if there is one. After an interruption, the
next run restarts the components that may still have the old certificates.
"""

from __future__ import annotations

import argparse
import fcntl
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_certificates import control_plane
from maas_containers import ready, restart, run, wait_ready

MARGIN = 90 * 86400
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONFIGURATION = "/etc/maas/kubernetes/kubeadm.yaml"
RESTARTING = Path("/var/lib/maas/renewal")
"""Exists until every component has been restarted after a renewal."""
LOCK = Path("/run/maas/renewal.lock")
ADDRESS = "maas-api-address.service"


def due(now, before=0):
    """Return the files whose certificates expire within the margin or were issued before a time. kubeadm does not renew CAs."""
    return [
        path
        for path, end, authority in control_plane()
        if not authority and (end - now < MARGIN or (before and path.stat().st_mtime < before))
    ]


def restart_all():
    """Restart the components, and wait for the API server if it was ready, which expired certificates can prevent."""
    was_ready = ready()
    announces = subprocess.run(["systemctl", "is-active", "--quiet", ADDRESS], check=False).returncode == 0
    if announces:
        run("systemctl", "stop", ADDRESS)
    try:
        for name in COMPONENTS:
            restart(name)
        if was_ready:
            wait_ready()
    finally:
        if announces:
            run("systemctl", "start", ADDRESS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=int, default=0)
    before = parser.parse_args().before
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w", encoding="ascii") as lock:
        # The timer, or a run that lost its controller, may be at work on this host.
        fcntl.flock(lock, fcntl.LOCK_EX)
        renew(before)


def renew(before):
    """Renew what is due, and restart the components if they may have the old certificates."""
    files = due(time.time(), before)
    if not files and not RESTARTING.exists():
        return
    RESTARTING.touch()
    if files:
        # Without its configuration, kubeadm reads it from the API, which expired certificates make unavailable.
        sys.stdout.write(run("/usr/local/bin/kubeadm", "certs", "renew", "all", "--config", CONFIGURATION))
    restart_all()
    RESTARTING.unlink()
    if left := due(time.time(), before):
        sys.exit(f"not renewed: {', '.join(map(str, left))}")
    sys.stdout.write(f"restarted {', '.join(COMPONENTS)}\n")


if __name__ == "__main__":
    main()
