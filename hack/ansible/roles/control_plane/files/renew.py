#!/usr/bin/python3
"""Renew the certificates of the control plane before they expire, and restart its components: renew [--now].

kubeadm issues them for a year and renews them only on an upgrade or on request. A timer runs this every week; it does
nothing while all of them are valid for more than three months. The kubelets renew their own certificates.

The components are restarted one after the other; the API is unavailable for some seconds.
"""

from __future__ import annotations

import subprocess
import sys
import time

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_certificates import control_plane

MARGIN = 90 * 86400
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
RESTART_SECONDS = 120
"""Time limit for the restart of a component."""


def expiring(now):
    """Return the files whose certificates expire within the margin. kubeadm does not renew CAs."""
    return [path for path, end, authority in control_plane() if not authority and end - now < MARGIN]


def run(*words):
    """Run a program and return its output."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def container(name):
    """Return the running container of a component, empty if there is none."""
    return run("/usr/local/bin/crictl", "ps", "--quiet", "--state", "running", "--name", f"^{name}$").strip()


def restart(name):
    """Stop a component and wait until the kubelet has restarted it."""
    before, deadline = container(name), time.monotonic() + RESTART_SECONDS
    if before:
        run("/usr/local/bin/crictl", "stop", "--timeout", "20", before)
    while container(name) in ("", before):
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {RESTART_SECONDS} s waiting for {name} to restart")
        time.sleep(0.5)


def main():
    files = expiring(time.time())
    if not files and sys.argv[1:] != ["--now"]:
        return
    sys.stdout.write(run("/usr/local/bin/kubeadm", "certs", "renew", "all"))
    for name in COMPONENTS:
        restart(name)
    if left := expiring(time.time()):
        sys.exit(f"not renewed: {', '.join(map(str, left))}")


if __name__ == "__main__":
    main()
