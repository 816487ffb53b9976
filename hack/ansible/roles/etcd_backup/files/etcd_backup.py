#!/usr/bin/python3
"""Back up etcd of this control plane. Started by maas-etcd-backup.service, which a timer starts every half hour.

A backup is one file that only the owners of the recipients' private keys can read: a tar archive with a snapshot of etcd, the
keys and certificates of the control plane, the keys that encrypt Secrets and kubeadm's configuration. The host has no private
key. The snapshot is in clear text only in the runtime directory of the service, which is in memory and which systemd deletes
when the service ends in any way.

/etc/maas/etcd-backup/settings.json has the settings; without recipients it does not exist, and there is no backup.
/var/lib/maas/etcd-backup.json has the outcome, which the program `metrics` exports.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

CONFIGURATION = Path("/etc/maas/etcd-backup/settings.json")
BACKUPS = Path("/var/lib/maas/etcd-backups")
OUTCOME = Path("/var/lib/maas/etcd-backup.json")
KUBERNETES = Path("/etc/kubernetes")
KUBEADM = Path("/etc/maas/kubernetes/kubeadm.yaml")
PROGRAMS = Path("/usr/local/bin")

SNAPSHOT = "etcd.db"
SUFFIX = ".tar.gz.age"
MARGIN = 64 << 20
"""Bytes that have to stay free in memory and on disk."""
LIMIT = 4 << 30
"""Bytes of all backups together, beyond which old ones are deleted before their number is reached."""
ALWAYS = 2
"""Number of backups that are kept whatever their size."""


class BackupError(Exception):
    """There is no backup, and why."""


def run(*words):
    """Run a program of MaaS and return its output."""
    words = [str(PROGRAMS / words[0]), *words[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}"]
        raise BackupError(f"{Path(words[0]).name} {' '.join(words[1:3])}: {lines[-1]}")
    return done.stdout


def etcdctl(*words):
    """Run etcdctl on the member of this host and return its output."""
    pki = KUBERNETES / "pki" / "etcd"
    access = [
        "--cacert",
        pki / "ca.crt",
        "--cert",
        pki / "healthcheck-client.crt",
        "--key",
        pki / "healthcheck-client.key",
    ]
    return run("etcdctl", *words, "--endpoints", "https://127.0.0.1:2379", *map(str, access))


def require(directory, needed, what):
    """Refuse to write more to a directory than it can hold."""
    free = shutil.disk_usage(directory).free
    if free < needed + MARGIN:
        raise BackupError(f"{what} needs {needed >> 20} MiB in {directory}, which has {free >> 20} MiB")


def take(runtime):
    """Take a snapshot, verify it, and return its path and status."""
    (status,) = json.loads(etcdctl("endpoint", "status", "--write-out", "json"))
    require(runtime, status["Status"]["dbSize"], "the snapshot")
    path = runtime / SNAPSHOT
    etcdctl("snapshot", "save", str(path))
    return path, json.loads(run("etcdutl", "snapshot", "status", str(path), "--write-out", "json"))


def digest(path):
    """Return the sha256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def members(snapshot):
    """Return the files of a backup by their names in the archive."""
    own = sorted(path for path in (KUBERNETES / "pki").rglob("*") if path.is_file())
    own += [path for path in (KUBERNETES / "encryption" / "config.yaml",) if path.is_file()]
    return {
        SNAPSHOT: snapshot,
        **{f"kubernetes/{path.relative_to(KUBERNETES)}": path for path in own},
        "kubeadm.yaml": KUBEADM,
    }


def describe(settings, status, files, now):
    """Return what a backup says about itself."""
    return {
        "format": 1,
        "cluster": settings["cluster"],
        "host": settings["host"],
        "authority": digest(KUBERNETES / "pki" / "ca.crt"),
        "taken": now,
        "kubernetes": settings["kubernetes"],
        "revision": status["revision"],
        "keys": status["totalKey"],
        "files": {name: digest(path) for name, path in files.items()},
    }


def archive(description, files, target):
    """Write the archive of a backup to a stream."""
    text = json.dumps(description, indent=1).encode()
    head = tarfile.TarInfo("backup.json")
    head.size, head.mode = len(text), 0o600
    packed = gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6)
    with packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        tar.addfile(head, io.BytesIO(text))
        for name, path in files.items():
            tar.add(path, arcname=name, recursive=False)


def encrypt(recipients, path, write):
    """Write a file that only the owners of the recipients' private keys can read."""
    words = [str(PROGRAMS / "age"), "--encrypt", *(word for one in recipients for word in ("--recipient", one))]
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as target:
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=target, stderr=subprocess.PIPE) as age:
            try:
                write(age.stdin)
                age.stdin.close()
            except BrokenPipeError:
                pass  # age says why
            reason = age.stderr.read().decode("utf-8", "replace").strip()
        if age.returncode != 0:
            raise BackupError(f"age: {reason.splitlines()[0] if reason else f'status {age.returncode}'}")
        os.fsync(target.fileno())


def expired(sizes, keep):
    """Return the names of the backups to delete; `sizes` has those that exist, by name, the newest first."""
    total, kept = 0, 0
    names = []
    for name, size in sizes.items():
        total += size
        if kept < ALWAYS or (kept < keep and total <= LIMIT):
            kept += 1
        else:
            names.append(name)
    return names


def backups():
    """Return the sizes of the backups by name, the newest first. Their names begin with the time."""
    return {path.name: path.stat().st_size for path in sorted(BACKUPS.glob(f"*{SUFFIX}"), reverse=True)}


def back_up(settings, runtime, now):
    """Make a backup and return its path."""
    BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in BACKUPS.glob(".*.partial"):
        left.unlink()
    snapshot, status = take(runtime)
    files = members(snapshot)
    # It cannot be larger than this, because it is compressed.
    require(BACKUPS, sum(path.stat().st_size for path in files.values()), "the backup")
    description = describe(settings, status, files, now)
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{settings['cluster']}-{settings['host']}{SUFFIX}"
    partial = BACKUPS / f".{name}.partial"
    try:
        encrypt(settings["recipients"], partial, lambda target: archive(description, files, target))
        partial.replace(BACKUPS / name)
    finally:
        partial.unlink(missing_ok=True)
    directory = os.open(BACKUPS, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    for old in expired(backups(), settings["keep"]):
        (BACKUPS / old).unlink()
    return BACKUPS / name


def record(changes):
    """Store the outcome of this run, and keep what it does not say from the last one."""
    outcome = json.loads(OUTCOME.read_text(encoding="utf-8")) if OUTCOME.is_file() else {}
    fresh = OUTCOME.with_suffix(".new")
    fresh.write_text(json.dumps({**outcome, **changes}), encoding="utf-8")
    fresh.replace(OUTCOME)


def main():
    settings = json.loads(CONFIGURATION.read_text(encoding="utf-8"))
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    if not runtime:
        sys.exit("this runs as a service: systemctl start maas-etcd-backup.service")
    now, began = int(time.time()), time.monotonic()
    try:
        path = back_up(settings, Path(runtime), now)
    except (BackupError, OSError) as error:
        record({"failed": True})
        sys.exit(str(error))
    size, seconds = path.stat().st_size, time.monotonic() - began
    record({"failed": False, "succeeded": now, "size": size, "seconds": round(seconds, 3), "count": len(backups())})
    sys.stdout.write(f"{path.name}: {size} bytes in {seconds:.1f} s\n")


if __name__ == "__main__":
    main()
