"""The keys that encrypt Secrets in etcd.

They are made on the controller, in the file encryption.json of the cluster's state directory, and written to every control
plane as the EncryptionConfiguration of its API server. The first key encrypts, all of them decrypt. A rotation changes them in
phases, so that every API server can always read what any of them has written:

    added      the new key is the second one; every API server must know it before one encrypts with it
    promoted   the new key is the first one; then every Secret is written again
    dropped    the old key is gone
    complete   one key, and every Secret is encrypted with it

A cluster that was made without encryption starts with `promoted`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from maas import files
from maas.errors import PkiError
from maas.hosts.preflight import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maas.hosts.facts import HostFacts

CONFIGURATION = "/etc/kubernetes/encryption/config.yaml"
"""The EncryptionConfiguration on control planes. It is JSON, which is YAML too."""

_FILE = "encryption.json"
_KEY_BYTES = 32  # of XSalsa20 and Poly1305, which secretbox uses

Phase = Literal["added", "promoted", "dropped", "complete"]


class Key(BaseModel):
    """A key; its name is stored with everything that it encrypted.

    Attributes:
        name: A name that no other key has.
        secret: The key in base64.
        created: When it was made, UTC; None if it was read from a host.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    secret: str
    created: datetime | None = None

    def __repr__(self) -> str:
        return f"Key(name={self.name!r})"


class Keys(BaseModel):
    """The keys of a cluster.

    Attributes:
        keys: The first one encrypts.
        phase: Where a rotation is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...]
    phase: Phase = "complete"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, the first one encrypts."""
        return tuple(key.name for key in self.keys)

    def configuration(self) -> str:
        """Return the EncryptionConfiguration of the API servers. It contains the keys."""
        own = [{"name": key.name, "secret": key.secret} for key in self.keys]
        # The last provider reads what was written before the cluster encrypted.
        providers = [{"secretbox": {"keys": own}}, {"identity": {}}]
        document = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": providers}],
        }
        return json.dumps(document, indent=1) + "\n"

    @property
    def digest(self) -> str:
        """The digest of the configuration, as API servers report the one that they have loaded."""
        return f"sha256:{hashlib.sha256(self.configuration().encode()).hexdigest()}"


def load(state: Path) -> Keys | None:
    """Return the keys in a cluster's state directory, or None if there are none.

    Raises:
        PkiError: The file is damaged.
    """
    path = state / _FILE
    try:
        return Keys.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise PkiError(
            f"{path} is damaged",
            hint="move it away and run `bootstrap` again: the keys are read from the control plane",
        ) from error


def save(state: Path, keys: Keys) -> None:
    """Store the keys in a cluster's state directory."""
    files.write_private(state / _FILE, keys.model_dump_json(indent=1) + "\n")


def new_key(now: datetime | None = None) -> Key:
    """Return a new random key."""
    created = (now or datetime.now(UTC)).replace(microsecond=0)
    name = f"{created:%Y%m%d}-{secrets.token_hex(4)}"
    return Key(name=name, secret=base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(), created=created)


def ensure(state: Path, *, exists: bool, found: str) -> Keys:
    """Return the keys of a cluster, and store them if the state directory has none.

    Args:
        state: The cluster's state directory.
        exists: Whether the cluster exists already.
        found: The EncryptionConfiguration on its control plane, empty if there is none.

    Raises:
        PkiError: The configuration on the control plane is not one of MaaS.
    """
    keys = load(state)
    if keys is None:
        keys = read(found) if found else Keys(keys=(new_key(),), phase="promoted" if exists else "complete")
        save(state, keys)
    return keys


def read(text: str) -> Keys:
    """Return the keys of an EncryptionConfiguration that MaaS wrote.

    Raises:
        PkiError: It is another one.
    """
    try:
        (resource,) = json.loads(text)["resources"]
        own = resource["providers"][0]["secretbox"]["keys"]
        keys = tuple(Key(name=key["name"], secret=key["secret"]) for key in own)
    except (ValueError, KeyError, TypeError) as error:
        raise PkiError(
            f"{CONFIGURATION} on the control plane is not a configuration of MaaS",
            hint="without its keys, no Secret of the cluster can be read; restore the file from a backup of the host",
        ) from error
    # With two keys, nobody knows which Secrets have the second one: they are written again.
    return Keys(keys=keys, phase="complete" if len(keys) == 1 else "promoted")


def problems(facts: Mapping[str, HostFacts], state: Path) -> list[Problem]:
    """Return an error for each control plane with a key that the controller does not have: it would be lost."""
    keys = load(state)
    if keys is None or keys.phase == "dropped":
        return []
    return [
        Problem(
            host=name,
            severity="error",
            message=f"it encrypts Secrets with keys that this controller does not have: {', '.join(unknown)}",
            fix=f"another controller has changed them; move {state / _FILE} away, and the keys are read from the host",
        )
        for name, host in facts.items()
        if (unknown := [key for key in host.encryption_keys if key not in keys.names])
    ]


def following(keys: Keys) -> Keys:
    """Return the keys of the next phase of a rotation; the first phase makes a key."""
    next_phases: dict[Phase, Any] = {
        "complete": lambda: ("added", (*keys.keys, new_key())),
        "added": lambda: ("promoted", (keys.keys[-1], *keys.keys[:-1])),
        "promoted": lambda: ("dropped" if len(keys.keys) > 1 else "complete", keys.keys[:1]),
        "dropped": lambda: ("complete", keys.keys),
    }
    phase, own = next_phases[keys.phase]()
    return Keys(keys=own, phase=phase)
