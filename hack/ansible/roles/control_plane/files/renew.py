#!/usr/bin/python3
"""Renew the control plane's certificates before they end, and let its programs take them: renew [--now].

kubeadm makes them for a year and renews them only when it upgrades the cluster or is told to. A timer runs this every
week; it does nothing while all of them hold for more than three months. The kubelets renew their own.

Each program is restarted on its own, after the one before it runs again; the API is away for some seconds.
"""

from __future__ import annotations

import subprocess
import sys
import time

sys.dont_write_bytecode = True  # a reset would not know of it
from maas_certificates import control_plane

MARGIN = 90 * 86400
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
PATIENCE = 120
"""Seconds for a program to run again."""


def ending(now):
    """The files whose certificates end within the margin; authorities are not kubeadm's to renew."""
    return [path for path, end, authority in control_plane() if not authority and end - now < MARGIN]


def run(*words):
    """Run a program and return what it said."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def container(name):
    """The running container of a program, empty while there is none."""
    return run("/usr/local/bin/crictl", "ps", "--quiet", "--state", "running", "--name", f"^{name}$").strip()


def restart(name):
    """Stop a program, and wait until the kubelet has started it again."""
    before, deadline = container(name), time.monotonic() + PATIENCE
    if before:
        run("/usr/local/bin/crictl", "stop", "--timeout", "20", before)
    while container(name) in ("", before):
        if time.monotonic() > deadline:
            sys.exit(f"{name} does not run again after {PATIENCE} s")
        time.sleep(0.5)


def main():
    files = ending(time.time())
    if not files and sys.argv[1:] != ["--now"]:
        return
    sys.stdout.write(run("/usr/local/bin/kubeadm", "certs", "renew", "all"))
    for name in PROGRAMS:
        restart(name)
    if left := ending(time.time()):
        sys.exit(f"not renewed: {', '.join(map(str, left))}")


if __name__ == "__main__":
    main()
