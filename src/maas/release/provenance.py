"""Where a release came from: an in-toto statement with SLSA's provenance, version 1.

It names what was built by its digest, the commit, and what decides the rest. It says no time and no machine, so that a
rebuild gives the same bytes and can be compared with the signed one. The two documents are a few lines of JSON by
https://slsa.dev/spec/v1.0/provenance; the libraries for them bring protobuf and check less than `problems` does.
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

    from maas.release.checkout import Source

FILE = "provenance.intoto.json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
_LOCKS = ("hack/build/components.yaml", "requirements/release.txt", "requirements/maas.txt", "app/requirements.txt")
"""Files of the commit that pin everything that comes from elsewhere."""


def write(source: Source, directory: Path, subjects: Mapping[str, str], materials: Mapping[str, str]) -> Path:
    """Write the statement.

    Args:
        source: The commit.
        directory: Where it goes.
        subjects: SHA-256 of everything that was built, by name.
        materials: SHA-256 of what came from elsewhere and is in it, by its package URL or address.
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
    """A statement.

    Raises:
        VerificationError: It is none, or of another kind.
    """
    try:
        statement = json.loads(file.read_text(encoding="utf-8"))
        kinds = statement["_type"], statement["predicateType"]
        subjects(statement)
        commit(statement), version_of(statement)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise VerificationError(f"{file.name} is no statement about a build", context=[repr(error)]) from error
    if kinds != (STATEMENT, PREDICATE):
        raise VerificationError(f"{file.name} is a statement of another kind", context=kinds)
    return dict(statement)


def subjects(statement: Mapping[str, Any]) -> dict[str, str]:
    """What a statement is about: digests by name."""
    return {str(entry["name"]): str(entry["digest"]["sha256"]) for entry in statement["subject"]}


def commit(statement: Mapping[str, Any]) -> str:
    """The commit that a statement names."""
    return str(statement["predicate"]["buildDefinition"]["externalParameters"]["source"]["digest"]["gitCommit"])


def problems(statement: Mapping[str, Any], sums: Mapping[str, str], *, version: str) -> list[str]:
    """What in a statement does not fit the files of a release, one sentence each."""
    about = subjects(statement)
    named = version_of(statement)
    found = [] if named == version else [f"it is about the version {named}, and the release is {version}"]
    for name, digest in sums.items():
        if name == FILE:
            continue
        if name not in about:
            found.append(f"it does not tell of {name}")
        elif about[name] != digest:
            found.append(f"it is about another {name}: {about[name][:12]}…, and the release has {digest[:12]}…")
    return found


def version_of(statement: Mapping[str, Any]) -> str:
    """The version that a statement is about."""
    return str(statement["predicate"]["buildDefinition"]["externalParameters"]["version"])
