#!/usr/bin/python3
"""Renew the certificates of the control plane before they expire, and restart its components: renew [--now].

kubeadm issues them for a year and renews them only on an upgrade or on request. A timer runs this every week; it does
nothing while all of them are valid for more than three months. The kubelets renew their own certificates.

The components are restarted one after the other; the API is unavailable for some seconds.
"""

from __future__ import annotations

import sys
import time

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_certificates import control_plane
from maas_containers import restart, run

MARGIN = 90 * 86400
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def expiring(now):
    """Return the files whose certificates expire within the margin. kubeadm does not renew CAs."""
    return [path for path, end, authority in control_plane() if not authority and end - now < MARGIN]


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
