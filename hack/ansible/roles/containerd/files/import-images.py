#!/usr/bin/python3
"""Import one stage of the bundle's images into containerd: import-images STAGE.

/etc/maas/images.json has the bundle's directory, the sha256 of its manifest, and the archives of each stage. The sha256
of an archive is verified before its import. Existing images are skipped, so running this at every boot is cheap, and
restores images that were removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path

CTR = ("/usr/local/bin/ctr", "--namespace", "k8s.io", "images")
IMPORTED = Path("/var/lib/maas/images")
"""One file per imported image, named after its archive's sha256."""


def sha256(path):
    """Return the digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def import_image(item, directory):
    """Verify and import an archive, and pin its image: the kubelet must not remove it, as no registry has it."""
    archive = directory / item["path"]
    if sha256(archive) != item["sha256"]:
        sys.exit(f"{archive} does not have the sha256 of the manifest; it was not imported")
    subprocess.run([*CTR, "import", "--local", str(archive)], check=True, stdout=subprocess.DEVNULL)
    labels = [*CTR, "label", item["reference"], "io.cri-containerd.pinned=pinned"]
    subprocess.run(labels, check=True, stdout=subprocess.DEVNULL)
    (IMPORTED / item["sha256"]).touch()


def main():
    wanted = json.loads(Path("/etc/maas/images.json").read_text(encoding="utf-8"))
    directory = Path(wanted["directory"])
    manifest = directory / "manifest.json"
    if sha256(manifest) != wanted["digest"]:
        sys.exit(f"{manifest} does not have the sha256 in /etc/maas/images.json; run bootstrap again")
    items = {item["path"]: item for item in json.loads(manifest.read_text(encoding="utf-8"))["items"]}
    IMPORTED.mkdir(parents=True, exist_ok=True)
    with (IMPORTED / "lock").open("w", encoding="ascii") as lock:
        # One stage at a time: parallel imports only compete for the disk.
        fcntl.flock(lock, fcntl.LOCK_EX)
        listing = subprocess.run([*CTR, "list", "--quiet"], check=True, capture_output=True, text=True)
        present = set(listing.stdout.split())
        for path in wanted["stages"][sys.argv[1]]:
            item = items[path]
            if item["reference"] not in present or not (IMPORTED / item["sha256"]).exists():
                import_image(item, directory)


if __name__ == "__main__":
    main()
