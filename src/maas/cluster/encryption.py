"""The encryption of Secrets in a cluster that exists: which keys its API servers use, and a change of the key."""

from __future__ import annotations

import json
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maas.errors import ClusterError
from maas.hosts import encryption

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Protocol

    from maas.cluster.client import Cluster
    from maas.cluster.host_programs import Hosts
    from maas.console import Phase
    from maas.hosts.encryption import Keys

    class Servers(Protocol):
        """The API servers of a cluster."""

        def write(self, configuration: str) -> None:
            """Replace the EncryptionConfiguration of every API server."""

        def loaded(self) -> dict[str, str]:
            """Return the digest of the configuration that each API server has loaded, empty if it is unknown."""


_METRIC = "apiserver_encryption_config_controller_last_config_info"
_LOADED = re.compile(rf'^{_METRIC}\{{.*\bhash="(?P<digest>[^"]+)".*\}} 1$', re.MULTILINE)
_LOAD_SECONDS = 150
"""An API server looks for a change of its configuration every minute."""
_PAGE = 100
_ATTEMPTS = 5


@dataclass(frozen=True)
class ControlPlanes:
    """The API servers on the control planes of a cluster, reached over SSH.

    Attributes:
        hosts: The hosts of the cluster.
        addresses: The VPN address of each host, by name.
    """

    hosts: Hosts
    addresses: Mapping[str, str]

    def write(self, configuration: str) -> None:
        """Replace the EncryptionConfiguration of every control plane.

        Raises:
            ClusterError: A control plane does not answer.
        """
        path = encryption.CONFIGURATION
        script = shlex.quote(f"umask 077; cat > {path}.new && mv {path}.new {path}")
        answers = self._run(f"sh -c {script}", configuration)
        failed = {name: error for name, (status, error) in answers.items() if status}
        if failed:
            raise ClusterError(
                f"cannot write the keys on {', '.join(failed)}",
                context=[f"{name}: {error.strip()}" for name, error in failed.items()],
                hint="every control plane must have a key before it is used; start the host, then run the same command again",
                code="HostUnreachable",
            )

    def loaded(self) -> dict[str, str]:
        """Return the digest of the configuration that each API server has loaded, empty if it is unknown."""
        # The metrics of an API server are megabytes, so they are searched there.
        read = "/usr/local/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://ADDRESS:6443 get --raw /metrics"
        answers = self._run(f"sh -c {shlex.quote(f'{read} | grep {_METRIC}')}")
        return {name: "" if status else loaded_digest(text) for name, (status, text) in answers.items()}

    def _run(self, command: str, text: str = "") -> dict[str, tuple[int, str]]:
        """Run a command on every control plane; return its exit status with the output, or the errors if it failed."""
        own = [host for host in self.hosts.inventory.hosts if host.name in self.hosts.control_planes]
        with ThreadPoolExecutor(len(own)) as pool:
            done = pool.map(
                lambda host: self.hosts.run(host, command.replace("ADDRESS", self.addresses[host.name]), input=text),
                own,
            )
        return {
            host.name: (one.returncode, one.stderr if one.returncode else one.stdout)
            for host, one in zip(own, done, strict=True)
        }


def loaded_digest(metrics: str) -> str:
    """Return the digest of the configuration that an API server has loaded from its metrics, empty without one."""
    match = _LOADED.search(metrics)
    return match["digest"] if match else ""


def rewrite(cluster: Cluster, step: Phase) -> int:
    """Write every Secret again, so that etcd has it encrypted with the first key, and return their number.

    A Secret that etcd has with that key already is not changed.

    Raises:
        ClusterError: A Secret could not be written.
    """
    from kubernetes.client.exceptions import ApiException

    names: list[tuple[str, str]] = []
    token = ""
    while True:
        page = cluster.core.list_secret_for_all_namespaces(limit=_PAGE, _continue=token or None)
        names += [(item.metadata.namespace, item.metadata.name) for item in page.items]
        token = page.metadata._continue  # noqa: SLF001 - the name of the field
        if not token:
            break
    for number, (namespace, name) in enumerate(names, start=1):
        step.note(f"{number} of {len(names)} Secrets")
        for attempt in range(_ATTEMPTS):
            try:
                # As it was sent: the client's own class loses fields that it does not know.
                read = cluster.core.read_namespaced_secret(name, namespace, _preload_content=False)
                cluster.core.replace_namespaced_secret(name, namespace, json.loads(read.data))
                break
            except ApiException as error:
                if error.status == 404:  # noqa: PLR2004 - it was deleted meanwhile
                    break
                if error.status != 409 or attempt == _ATTEMPTS - 1:  # noqa: PLR2004 - it was changed meanwhile
                    raise ClusterError(
                        f"cannot write the Secret {namespace}/{name} again",
                        context=[str(error).splitlines()[0], str(error.body)[:200]],
                        hint="run the same command again; the key is kept until every Secret is written",
                    ) from error
    return len(names)


def wait_loaded(servers: Servers, keys: Keys, step: Phase, *, seconds: float = _LOAD_SECONDS) -> None:
    """Wait until every API server has loaded the keys.

    Raises:
        ClusterError: An API server did not load them in time, or does not answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = servers.loaded()
        waiting = [name for name, digest in found.items() if digest != keys.digest]
        step.note(f"{len(found) - len(waiting)} of {len(found)} API servers have the keys {', '.join(keys.names)}")
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the API server on {', '.join(waiting)} did not load the keys within {seconds:.0f} s",
                hint="nothing was lost: all keys are still in use; look at the log of kube-apiserver, then run the same command "
                "again to continue",
                code="Timeout",
            )
        time.sleep(min(2.0, seconds / 10))


def advance(state: Path, keys: Keys, cluster: Cluster, servers: Servers, step: Phase) -> Keys:
    """Carry out what the present phase of a rotation requires, and store and return the keys of the next one.

    It can be repeated after an interruption.

    Raises:
        ClusterError: A control plane does not answer, or a Secret could not be written.
    """
    if keys.phase != "complete":
        servers.write(keys.configuration())
        wait_loaded(servers, keys, step)
    if keys.phase == "promoted":
        rewrite(cluster, step)
    keys = encryption.following(keys)
    encryption.save(state, keys)
    return keys
