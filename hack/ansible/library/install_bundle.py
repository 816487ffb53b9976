#!/usr/bin/python
"""Install programs from a bundle, each verified against the bundle's manifest."""

from __future__ import annotations

DOCUMENTATION = """
module: install_bundle
short_description: Installs verified files of a bundle
description:
  - Reads the bundle's manifest.json, which must have the digest that the controller expects, and trusts the sha256
    that it gives for every file and nothing else.
  - Copies each named file to its place, verified while it is copied. A file already in place is hashed again only
    when its size or time changed since it was verified.
  - The action plugin of the same name carries files that the host's bundle directory lacks over from the controller.
options:
  directory:
    description: The bundle's directory on the host.
    type: path
    required: true
  digest:
    description: The sha256 that manifest.json must have.
    type: str
    required: true
  files:
    description: What to install.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Path inside the bundle., type: str, required: true}
      dest: {description: Where it goes., type: path, required: true}
  need:
    description: Paths inside the bundle that must be in the directory though they are not installed.
    type: list
    elements: str
    default: []
  source:
    description: The bundle's directory on the controller; without it, the bundle must be on the host already.
    type: path
  received:
    description: Set by the action plugin. Path inside the bundle and the temporary file that carries it.
    type: dict
    default: {}
author: MaaS maintainers (@maas)
"""

EXAMPLES = """
- name: Install the kubelet
  install_bundle:
    directory: /mnt/bundle
    digest: "{{ cluster.bundle }}"
    files:
      - path: bin/kubelet
        dest: /usr/local/bin/kubelet
"""

RETURN = """
changes:
  description: What was done, or would be done, to which path.
  returned: always
  type: list
  elements: str
missing:
  description: Paths that the host's bundle directory lacks; nothing is installed while there are any.
  returned: always
  type: list
  elements: str
"""

import hashlib
import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.maas_bundle import CHUNK, RefusedError, manifest, sha256
from ansible.module_utils.maas_record import Record


def copy(source, dest, expected):
    """Copy a program into place while hashing it; nothing is left behind when the digest is wrong."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=dest.parent, prefix=f".{dest.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink, source.open("rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
                sink.write(block)
        if digest.hexdigest() != expected:
            raise RefusedError(f"{source} has sha256 {digest.hexdigest()}, the manifest says {expected}")
        part.chmod(0o755)
        part.replace(dest)  # a program that runs keeps its old file
    finally:
        part.unlink(missing_ok=True)


def receive(directory, received, digest, record):
    """Move files that came from the controller into the bundle directory, each verified; note what they are."""
    carried = record.data.setdefault("carried", {})
    for path, source in received.items():
        dest = directory / path
        record.directory(dest.parent)
        expected = digest if path == "manifest.json" else manifest(directory, digest)[path]
        copy(Path(source), dest, expected)
        dest.chmod(0o644)
        carried[path] = expected
    if "manifest.json" in received:
        # What only an earlier bundle had.
        for path in set(carried) - {"manifest.json", *manifest(directory, digest)}:
            (directory / path).unlink(missing_ok=True)
            del carried[path]


def lacking(directory, wanted, digests, record, *, carry):
    """The wanted files that are not there; of those that the controller carries, also those of an earlier bundle."""
    carried = record.data.get("carried", {})
    return [
        path for path in wanted if not (directory / path).is_file() or (carry and carried.get(path) != digests[path])
    ]


def current(dest, expected, entry):
    """Whether a program in place is the wanted one; `entry` is the record of its last verification."""
    try:
        status = dest.stat()
    except FileNotFoundError:
        return False
    if status.st_mode & 0o7777 != 0o755:
        return False
    known = (entry.get("sha256"), entry.get("size"), entry.get("mtime"))
    if known == (expected, status.st_size, status.st_mtime_ns):
        return True
    return sha256(dest) == expected


def install(directory, files, digests, record, check_mode):
    """Bring the programs into place; return the changes."""
    changes = []
    for entry in files:
        dest, expected = Path(entry["dest"]), digests[entry["path"]]
        if not current(dest, expected, record.data["files"].get(str(dest), {})):
            changes.append(f"{'change' if dest.exists() else 'create'} {dest}")
            if check_mode:
                continue
            record.directory(dest.parent)
            record.own(dest)
            copy(directory / entry["path"], dest, expected)
        if not check_mode:
            status = dest.stat()
            record.own(dest, sha256=expected, size=status.st_size, mtime=status.st_mtime_ns)
    return changes


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "digest": {"type": "str", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "dest": {"type": "path", "required": True},
                },
            },
            "need": {"type": "list", "elements": "str", "default": []},
            "source": {"type": "path"},
            "received": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given = module.params
    directory, digest, files = Path(given["directory"]), given["digest"], given["files"]
    record, changes = Record(), []
    try:
        receive(directory, given["received"], digest, record)
        changes += [f"receive {path}" for path in given["received"]]
        if given["source"] and record.data.get("carried", {}).get("manifest.json") != digest:
            missing = ["manifest.json"]
        else:
            digests = manifest(directory, digest)
            wanted = [*(entry["path"] for entry in files), *given["need"]]
            if unknown := [path for path in wanted if path not in digests]:
                module.fail_json(msg=f"the bundle's manifest does not name {', '.join(unknown)}")
            missing = lacking(directory, wanted, digests, record, carry=bool(given["source"]))
            if not missing:
                changes += install(directory, files, digests, record, module.check_mode)
    except RefusedError as refusal:
        module.fail_json(msg=str(refusal))
    finally:
        if not module.check_mode:
            record.save()
    module.exit_json(changed=bool(changes), changes=changes, missing=missing)


if __name__ == "__main__":
    main()
