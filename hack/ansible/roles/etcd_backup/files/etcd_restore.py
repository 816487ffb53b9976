#!/usr/bin/python3
"""Restore a backup of etcd on this control plane: etcd-restore inspect | etcd-restore run NAME < archive.

`maas etcd restore` decrypts a backup on the controller, and runs this as the transient unit maas-etcd-restore.service: there is
only one at a time, it continues when the connection to the controller is lost, and the clear text is in its runtime directory,
which is in memory and which systemd deletes when the unit ends in any way.

The data of before are kept, in the directory before-TIME beside them. Every step can be repeated: after an interruption, the
same command continues. The revision of etcd is increased, and all older ones are marked as compacted: otherwise the caches of
API servers and kubelets, which may have seen later revisions than the backup has, would not notice that they are outdated
(etcd-io/etcd#16028).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # a reset does not remove bytecode files
from maas_containers import container, run

KUBERNETES = Path("/etc/kubernetes")
MANIFESTS = KUBERNETES / "manifests"
ASIDE = KUBERNETES / "etcd-restore"
"""The static pods while they are stopped."""
ENCRYPTION = KUBERNETES / "encryption" / "config.yaml"
PLANNED = Path("/etc/maas/etcd.json")
"""The members of etcd in the plan."""
STATE = Path("/var/lib/maas/etcd-restore.json")
"""The restore that was begun and is not finished."""
ETCDCTL = "/usr/local/bin/etcdctl"
ETCDUTL = "/usr/local/bin/etcdutl"
KUBECTL = "/usr/local/bin/kubectl"

COMPONENTS = ("kube-controller-manager", "kube-scheduler", "kube-apiserver", "etcd")
SNAPSHOT = "etcd.db"
KEYS = "kubernetes/encryption/config.yaml"
BUMP = 1_000_000_000
"""More revisions than a cluster makes between two backups."""
MARGIN = 256 << 20
"""Bytes that have to stay free on the disk of etcd, which allocates 64 MB for its log at once."""
STOP_SECONDS, KILL_SECONDS, READY_SECONDS = 120, 40, 300
BLOCK = 1 << 20


class RestoreError(Exception):
    """The restore stops, and why."""


def say(text):
    """Report a step, also to the journal: the controller may be listening no more."""
    subprocess.run(["logger", "--tag", "maas-etcd-restore", text], check=False)
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def member():
    """Return the settings of etcd, from its static pod."""
    for directory in (MANIFESTS, ASIDE):
        path = directory / "etcd.yaml"
        if path.is_file():
            return dict(re.findall(r"^\s*- --([a-z-]+)=(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    raise RestoreError("this host has no etcd")


def members(settings):
    """Return the number of etcd's members: of the plan, of the static pod, and of etcd itself, while it answers.

    A static pod can list this member alone, so that an etcd without data does not start, see etcd_guard.py.
    """
    pki = KUBERNETES / "pki" / "etcd"
    words = [ETCDCTL, "member", "list", "--endpoints", "https://127.0.0.1:2379", "--cacert", str(pki / "ca.crt")]
    words += ["--cert", str(pki / "healthcheck-client.crt"), "--key", str(pki / "healthcheck-client.key")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    listed = done.stdout.splitlines() if done.returncode == 0 else []
    planned = json.loads(PLANNED.read_text(encoding="utf-8"))["members"] if PLANNED.is_file() else ()
    return max(len(listed), len(planned), len(settings["initial-cluster"].split(",")))


def authority():
    """Return the sha256 of the cluster's CA."""
    path = KUBERNETES / "pki" / "ca.crt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def unfinished():
    """Return the restore that was begun and is not finished, or None."""
    return json.loads(STATE.read_text(encoding="utf-8")) if STATE.is_file() else None


def save(state):
    """Store the state of the restore."""
    fresh = STATE.with_suffix(".new")
    fresh.write_text(json.dumps(state), encoding="utf-8")
    fresh.replace(STATE)


def inspect():
    """Return what the controller shows before a restore."""
    settings = member()
    return {
        "authority": authority(),
        "members": members(settings),
        "data": settings["data-dir"],
        "free": shutil.disk_usage(settings["data-dir"]).free,
        "unfinished": unfinished(),
    }


def receive(stream, directory):
    """Unpack what a restore needs of a backup, and return what the backup says about itself."""
    description, digests = None, {}
    with tarfile.open(fileobj=stream, mode="r|gz") as tar:
        for entry in tar:
            if entry.name == "backup.json":
                description = json.load(tar.extractfile(entry))
            elif entry.name in (SNAPSHOT, KEYS):
                digest = hashlib.sha256()
                path = directory / entry.name.replace("/", "-")
                source = tar.extractfile(entry)
                with path.open("wb") as target:
                    while block := source.read(BLOCK):
                        digest.update(block)
                        target.write(block)
                digests[entry.name] = digest.hexdigest()
    if description is None or SNAPSHOT not in digests:
        raise RestoreError("the backup did not arrive completely")
    for name, digest in digests.items():
        if description["files"].get(name) != digest:
            raise RestoreError(f"{name} of the backup differs from its digest")
    return description


def refuse(description, settings, snapshot):
    """Refuse a backup that must not or cannot be restored here."""
    if description["authority"] != authority():
        raise RestoreError(f"the backup is of another cluster, {description['cluster']}")
    if members(settings) > 1:
        raise RestoreError("etcd has several members, and this restores only one")
    needed = 2 * snapshot.stat().st_size + MARGIN
    free = shutil.disk_usage(settings["data-dir"]).free
    if free < needed:
        raise RestoreError(f"{settings['data-dir']} needs {needed >> 20} MiB and has {free >> 20} MiB")


def begin(name, settings, now):
    """Return the state of this restore: the one that was interrupted, or a new one."""
    state = unfinished()
    if state and state["backup"] == name:
        return state
    if state:
        shutil.rmtree(restored(settings, state), ignore_errors=True)
    state = {"backup": name, "id": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))}
    save(state)
    return state


def restored(settings, state):
    """Return the directory of the restored data until they replace those of before."""
    return Path(settings["data-dir"]) / f"restored-{state['id']}"


def before(settings, state):
    """Return the directory of the data of before."""
    return Path(settings["data-dir"]) / f"before-{state['id']}"


def prepare(settings, state, snapshot):
    """Restore the snapshot into a directory of its own, while etcd still runs."""
    target = restored(settings, state)
    shutil.rmtree(target, ignore_errors=True)
    words = [ETCDUTL, "snapshot", "restore", str(snapshot), "--data-dir", str(target)]
    for name in ("name", "initial-cluster", "initial-advertise-peer-urls"):
        words += [f"--{name}", settings[name]]
    words += ["--initial-cluster-token", f"maas-{state['id']}", "--bump-revision", str(BUMP), "--mark-compacted"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise RestoreError(f"etcdutl: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")


def stop():
    """Stop the static pods and wait until none of them runs."""
    ASIDE.mkdir(mode=0o700, exist_ok=True)
    for name in COMPONENTS:
        path = MANIFESTS / f"{name}.yaml"
        if path.is_file():
            path.replace(ASIDE / path.name)
    began = time.monotonic()
    while left := [name for name in COMPONENTS if container(name)]:
        passed = time.monotonic() - began
        if passed > STOP_SECONDS:
            raise RestoreError(f"timed out after {STOP_SECONDS} s waiting for {', '.join(left)} to stop")
        if passed > KILL_SECONDS:  # the kubelet does not do it
            for name in left:
                run("/usr/local/bin/crictl", "stop", "--timeout", "20", container(name))
        time.sleep(0.5)


def sync(directory):
    """Write the entries of a directory to disk."""
    handle = os.open(directory, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def swap(settings, state):
    """Replace the data of etcd by the restored ones, and keep those of before."""
    data, fresh, old = Path(settings["data-dir"]), restored(settings, state), before(settings, state)
    if (fresh / "member").is_dir():
        old.mkdir(mode=0o700, exist_ok=True)
        if (data / "member").is_dir():
            (data / "member").replace(old / "member")
        (fresh / "member").replace(data / "member")
        shutil.rmtree(fresh)
        sync(data)
    if not (data / "member").is_dir():
        raise RestoreError(f"{data} has no data; run the same command again")


def keys(settings, state, directory):
    """Give the API server the keys that the Secrets of the backup are encrypted with."""
    source = directory / KEYS.replace("/", "-")
    if not source.is_file() or (ENCRYPTION.is_file() and source.read_bytes() == ENCRYPTION.read_bytes()):
        return
    old = before(settings, state) / "encryption.yaml"
    if ENCRYPTION.is_file() and not old.exists():
        shutil.copy(ENCRYPTION, old)
    fresh = ENCRYPTION.with_suffix(".new")
    fresh.write_bytes(source.read_bytes())
    fresh.chmod(0o600)
    fresh.replace(ENCRYPTION)


def start(names):
    """Let the kubelet start static pods."""
    for name in names:
        path = ASIDE / f"{name}.yaml"
        if path.is_file():
            path.replace(MANIFESTS / path.name)


def wait_ready():
    """Wait until the API server is ready."""
    words = [KUBECTL, "--kubeconfig", str(KUBERNETES / "admin.conf"), "get", "--raw", "/readyz"]
    deadline = time.monotonic() + READY_SECONDS
    while subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise RestoreError(f"timed out after {READY_SECONDS} s waiting for kube-apiserver to be ready")
        time.sleep(1)


def restore(name, stream, directory, now):
    """Restore a backup, or continue to do so, and return the directory of the data of before."""
    say("receiving the backup")
    description = receive(stream, directory)
    settings, snapshot = member(), directory / SNAPSHOT
    refuse(description, settings, snapshot)
    state = begin(name, settings, now)
    kept, present = before(settings, state) / "member", Path(settings["data-dir"]) / "member"
    if not (kept.is_dir() and present.is_dir()):
        if not kept.is_dir():  # else it was interrupted between the two halves of the swap
            say("restoring the snapshot")
            prepare(settings, state, snapshot)
        say("stopping the API server and etcd")
        stop()
        say("replacing the data of etcd")
        swap(settings, state)
    keys(settings, state, directory)
    say("starting etcd and the API server")
    start(("etcd", "kube-apiserver"))
    wait_ready()
    start(COMPONENTS)
    with contextlib.suppress(OSError):
        ASIDE.rmdir()
    STATE.unlink()
    return before(settings, state)


def main():
    if sys.argv[1:] == ["inspect"]:
        try:
            sys.stdout.write(f"{json.dumps(inspect())}\n")
        except RestoreError as error:
            sys.exit(str(error))
        return
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    if not runtime or sys.argv[1:2] != ["run"]:
        sys.exit("this is run by `maas etcd restore`")
    try:
        old = restore(sys.argv[2], sys.stdin.buffer, Path(runtime), time.time())
    except (RestoreError, tarfile.TarError, EOFError, OSError, subprocess.CalledProcessError) as error:
        say(f"failed: {error}")
        sys.exit(1)
    say(f"kept: {old}")


if __name__ == "__main__":
    main()
