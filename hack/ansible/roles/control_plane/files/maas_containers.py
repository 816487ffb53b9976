"""The containers of the control plane on this host, for programs that restart them."""

from __future__ import annotations

import subprocess
import sys
import time

RESTART_SECONDS = 120
"""Time limit for the restart of a component."""


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
