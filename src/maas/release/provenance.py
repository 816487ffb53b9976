"""The statement about a build: in-toto, with SLSA provenance version 1.

It contains the digests of the built files, the commit, and everything else that determines the build. It contains neither a
time nor a machine, so a rebuild gives the same bytes and can be compared with the signed statement. The format
(https://slsa.dev/spec/v1.0/provenance) is a few lines of JSON; the libraries for it depend on protobuf and check less than
`problems` does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from maas import components
from maas.bundle import cache
from maas.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maas.release.checkout import Checkout

FILE = "provenance.intoto.json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
_LOCKS = ("hack/build/components.yaml", "requirements/release.txt", "requirements/maas.txt", "app/requirements.txt")
"""Files of the commit that pin all external content."""


def write(source: Checkout, directory: Path, subjects: Mapping[str, str], materials: Mapping[str, str]) -> Path:
    """Write the statement.

    Args:
        source: The checkout.
        directory: Directory for the statement.
        subjects: SHA-256 of everything that was built, by name.
        materials: SHA-256 of external content, by URL.
    """
    repository = {"uri": f"git+{source.home}", "digest": {"gitCommit": source.commit}}
    tools = {"helm": components.load().components["helm"].version}
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{source.home}/blob/main/docs/releasing.md#what-is-built",
                "externalParameters": {"version": str(source.version), "source": repository},
                "internalParameters": {"sourceDateEpoch": source.epoch, "tools": tools},
                "resolvedDependencies": [
                    repository,
                    *(
                        {"uri": f"git+{source.home}#{file}", "digest": {"sha256": cache.sha256(source.root / file)}}
                        for file in _LOCKS
                    ),
                    *({"uri": uri, "digest": {"sha256": digest}} for uri, digest in sorted(materials.items())),
                ],
            },
            "runDetails": {
                "builder": {"id": f"{source.home}/blob/main/docs/releasing.md#who-builds"},
                "metadata": {"invocationId": f"{source.home}/tree/{source.commit}"},
            },
        },
    }
    file = directory / FILE
    file.write_text(json.dumps(statement, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return file


def read(file: Path) -> dict[str, Any]:
    """Read a statement.

    Raises:
        VerificationError: The file is not a statement about a build.
    """
    try:
        statement = json.loads(file.read_text(encoding="utf-8"))
        kinds = statement["_type"], statement["predicateType"]
        subjects(statement)
        commit(statement), version_of(statement)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise VerificationError(f"{file.name} is not a statement about a build", context=[repr(error)]) from error
    if kinds != (STATEMENT, PREDICATE):
        raise VerificationError(f"{file.name} is a statement of another type", context=kinds)
    return dict(statement)


def subjects(statement: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of a statement's subjects, by name."""
    return {str(entry["name"]): str(entry["digest"]["sha256"]) for entry in statement["subject"]}


def commit(statement: Mapping[str, Any]) -> str:
    """Return the commit in a statement."""
    return str(statement["predicate"]["buildDefinition"]["externalParameters"]["source"]["digest"]["gitCommit"])


def problems(statement: Mapping[str, Any], sums: Mapping[str, str], *, version: str) -> list[str]:
    """Return the differences between a statement and the files of a release, one sentence each."""
    about = subjects(statement)
    named = version_of(statement)
    found = [] if named == version else [f"it describes version {named}, but the release is {version}"]
    for name, digest in sums.items():
        if name == FILE:
            continue
        if name not in about:
            found.append(f"it does not list {name}")
        elif about[name] != digest:
            found.append(f"it lists another {name}: {about[name][:12]}…, but the release has {digest[:12]}…")
    return found


def version_of(statement: Mapping[str, Any]) -> str:
    """Return the version in a statement."""
    return str(statement["predicate"]["buildDefinition"]["externalParameters"]["version"])
