"""The containers of the control plane on this host, for programs that restart them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

RESTART_SECONDS = 120
"""Time limit for the restart of a component."""
READY_SECONDS = 120
"""Time limit for the API server to be ready."""
ADMIN = "/etc/kubernetes/admin.conf"
HOST = Path("/etc/maas/host.json")


def run(*words):
    """Run a program and return its output."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def container(name):
    """Return the running container of a component, empty if there is none."""
    return run("/usr/local/bin/crictl", "ps", "--quiet", "--state", "running", "--name", f"^{name}$").strip()


def wait_replaced(name, before):
    """Wait until the kubelet has started a component in another container than `before`."""
    deadline = time.monotonic() + RESTART_SECONDS
    while container(name) in ("", before):
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {RESTART_SECONDS} s waiting for {name} to restart")
        time.sleep(0.5)


def restart(name):
    """Stop a component and wait until the kubelet has restarted it."""
    before = container(name)
    if before:
        run("/usr/local/bin/crictl", "stop", "--timeout", "20", before)
    wait_replaced(name, before)


def ready():
    """Return whether the API server of this host answers that it is ready; others answer at the address of the API."""
    server = f"https://{json.loads(HOST.read_text(encoding='utf-8'))['address']}:6443"
    words = ["/usr/local/bin/kubectl", "--kubeconfig", ADMIN, "--server", server, "get", "--raw", "/readyz"]
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def wait_ready():
    """Wait until the API server of this host answers that it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {READY_SECONDS} s waiting for kube-apiserver to be ready")
        time.sleep(0.5)
