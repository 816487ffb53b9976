#!/usr/bin/python3
"""Keep the etcd of this host from starting a second cluster if its data is lost: etcd-guard [--boot].

kubeadm starts etcd with `--initial-cluster-state=new`, and a member that joins with the list of all members. With these
flags, an etcd whose data directory is lost would start an empty cluster, or return as a member that has forgotten what it
voted for. etcd reads them only while it has no data. So this replaces them in the static pod, as soon as this host is a
member: with the state `existing` and no other member to ask, etcd without data exits with an error.

It also sets the timers in /etc/maas/etcd.json, and waits until etcd is healthy again. Meanwhile the other control planes answer
at the address of the API. It prints what it changed.

With --boot, before the kubelet starts, it changes nothing while etcd runs, which a change would restart. It says if the
data is lost.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_etcd import RefusedError, call

MANIFEST = Path("/etc/kubernetes/manifests/etcd.yaml")
MEMBER = Path("/var/lib/maas/initialised")
DATA = Path("/var/lib/etcd/member/wal")
"""Unlike the directories around it, an etcd that fails to start does not create it."""
TIMERS = Path("/etc/maas/etcd.json")
API_ADDRESS = "maas-api-address.service"
KUBELET = "kubelet.service"
CRICTL = "/usr/local/bin/crictl"
METRICS = 2381
SECONDS = 120
"""Time limit for etcd to be healthy, before and after its restart."""


def flag(manifest, name):
    """Return the value of a flag of etcd."""
    return re.search(rf"^    - --{name}=(.*)$", manifest, re.MULTILINE)[1]


def guarded(manifest, timers):
    """Return a static pod of etcd with the flags of a member that has data."""
    own = f"{flag(manifest, 'name')}={flag(manifest, 'initial-advertise-peer-urls')}"
    wanted = {"initial-cluster": own, "initial-cluster-state": "existing", **timers}
    for name, value in wanted.items():
        line = f"    - --{name}={value}\n"
        manifest, count = re.subn(rf"^    - --{name}=.*\n", line, manifest, flags=re.MULTILINE)
        if not count:
            # kubeadm names the state only in the static pod of a member that joined.
            manifest = manifest.replace("    - etcd\n", f"    - etcd\n{line}", 1)
    return manifest


def health(address):
    """Return whether the etcd at an address is healthy, and has a leader."""
    connection = http.client.HTTPConnection(address, METRICS, timeout=3)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status == http.client.OK and json.loads(answer.read())["health"] == "true"
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_healthy(members):
    """Wait until all members are healthy."""
    deadline = time.monotonic() + SECONDS
    while sick := [name for name, address in members.items() if not health(address)]:
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {SECONDS} s waiting for etcd on {', '.join(sick)} to be healthy")
        time.sleep(0.5)


def container():
    """Return the running container of etcd, empty if there is none."""
    words = [CRICTL, "ps", "--quiet", "--state", "running", "--name", "^etcd$"]
    return subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True).stdout.strip()


def hand_over():
    """Let another member lead, if this one does; otherwise the others would have to elect one when it has stopped."""
    with contextlib.suppress(OSError, RefusedError):
        status = call("maintenance/status", {})
        own = status["header"]["member_id"]
        if status["leader"] == own:
            members = call("cluster/member/list", {})["members"]
            other = next(member["ID"] for member in members if member["ID"] != own and not member.get("isLearner"))
            call("maintenance/transfer-leadership", {"targetID": other})


def stop(running):
    """Stop a container. An etcd that is asked to stop waits 9 s for watches of the API server, which do not end."""
    if running:
        subprocess.run([CRICTL, "stop", "--timeout", "1", running], check=True, stdout=subprocess.DEVNULL)


def write(text):
    """Replace the static pod. The kubelet reads every file in its directory, so the new one is made elsewhere."""
    with tempfile.NamedTemporaryFile("w", dir=MANIFEST.parents[1], delete=False, encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o600)
    Path(file.name).replace(MANIFEST)


@contextlib.contextmanager
def kubelet_stopped():
    """Stop the kubelet, whose containers continue, and start it again.

    A kubelet that runs starts a changed static pod only after it has forgotten the one before, which it looks at every 10 to
    15 s, and its connection to the address of the API that has just left this host is dead for 10 s.
    """
    systemctl("stop", KUBELET)
    try:
        yield
    finally:
        systemctl("start", KUBELET)


@contextlib.contextmanager
def others_answer():
    """Withdraw the address of the API from this host, so that no request waits for its etcd, and let it return after that."""
    systemctl("stop", API_ADDRESS)
    try:
        yield
    finally:
        systemctl("start", API_ADDRESS)


def systemctl(action, unit):
    """Start or stop a unit. That of the address of the API exists only on hubs."""
    subprocess.run(["systemctl", action, unit], check=False, stderr=subprocess.DEVNULL)


def main():
    if not MEMBER.exists() or not MANIFEST.exists():
        return
    boot = sys.argv[1:] == ["--boot"]
    settings = json.loads(TIMERS.read_text(encoding="utf-8"))
    before = MANIFEST.read_text(encoding="utf-8")
    after = guarded(before, settings["flags"])
    if boot:
        if not DATA.is_dir():
            sys.stderr.write(
                f"the data of etcd in {DATA.parent} is lost: etcd does not start here, so that it cannot start a second cluster; "
                "run bootstrap to join the other members again, or restore a backup\n"
            )
        if after != before and not health("127.0.0.1"):
            write(after)
        return
    if after == before:
        return
    # While a member restarts, the others must be a majority.
    members = settings["members"]
    wait_healthy(members)
    running = container()
    with others_answer():
        hand_over()
        with kubelet_stopped():
            stop(running)
            write(after)
        deadline = time.monotonic() + SECONDS
        while container() in ("", running):
            if time.monotonic() > deadline:
                sys.exit(f"timed out after {SECONDS} s waiting for etcd to restart")
            time.sleep(0.5)
        wait_healthy(members)
    sys.stdout.write("etcd can no longer start a cluster of its own\n")


if __name__ == "__main__":
    main()
