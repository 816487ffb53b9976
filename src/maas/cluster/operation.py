"""An operation that changes a cluster: one at a time, on whatever controller it runs.

On one controller, a lock of the kernel rejects a second run (maas.hosts.lock). Those on other controllers see the Lease
`maas-operation` in the cluster. A run acquires it before it changes anything, or once the API answers, and renews it in a
thread until it ends. Its times are those of the API servers, so the clocks of controllers need not agree.

A cluster whose API does not answer can still be repaired: the Lease then rejects nobody. The package
kubernetes.leaderelection is for programs that wait until they lead: it refuses nobody, does not release, and stops when it
cannot renew during the restart of an API server.
"""

from __future__ import annotations

import contextlib
import http
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from maas import console, paths
from maas.cluster import access, tunnel
from maas.cluster.client import Cluster
from maas.errors import LockError, MaasError
from maas.hosts import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.files import Owner

NAMESPACE, NAME = "kube-system", "maas-operation"
DURATION = 60
"""Seconds after which a Lease that is not renewed has ended: its run was killed."""

_RENEWAL, _RETRY = 10.0, 2.0
"""Seconds between two renewals, and until the next attempt after one that failed."""
_TIMEOUT = (5.0, 10.0)
_JOIN = 15.0
"""Seconds that the end of a run waits for an API server that does not answer."""
_ATTEMPTS = 3
"""How often to read the Lease again because another client wrote it meanwhile."""


@contextlib.contextmanager
def hold(state: Path, *, command: str) -> Iterator[Operation]:
    """Be the only run that changes a cluster until the end of the block.

    Args:
        state: The cluster's state directory.
        command: What this run does, for others that want to change the cluster meanwhile.

    Raises:
        LockError: Another run works on the cluster. Later too, from the next `console.phase`, if the Lease was lost.
    """
    before = lock.owner(state)
    with lock.hold(state, command=command) as own:
        operation = Operation(state, own, before)
        if (state / tunnel.KUBECONFIG).is_file():
            operation.begin()
        with operation.renewed(), console.checked(operation.check):
            yield operation


class Operation:
    """The Lease of a run.

    Args:
        state: The cluster's state directory.
        own: The run.
        before: The run on this controller that was killed, and whose Lease need not be waited for.
    """

    def __init__(self, state: Path, own: Owner, before: Owner | None) -> None:
        self._state = state
        self._own = own
        self._before = before
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewal: datetime | None = None
        self._pause = _RETRY
        self._lost: LockError | None = None

    def begin(self) -> None:
        """Acquire the Lease of a cluster that exists, or warn that its API does not allow it yet.

        Raises:
            LockError: Another run holds it. Nothing was changed.
        """
        with console.phase("Lock") as step:
            try:
                tunnel.reopen(self._state)
                reason = self.acquire()
            except LockError:
                raise
            except (MaasError, OSError) as error:
                reason = str(error)
            step.note("not held" if reason else f"Lease {NAMESPACE}/{NAME}")
        if reason:
            console.warn(f"the lock that other controllers see is not held yet: {reason}")

    def acquire(self) -> str:
        """Acquire or renew the Lease; return why the API does not allow it, empty if it did.

        Raises:
            LockError: Another run holds it.
        """
        # The file, as the command may have replaced it meanwhile.
        cluster = Cluster(self._state / tunnel.KUBECONFIG)
        try:
            with self._lock, access.explained(cluster), access.once(cluster) as api:
                self._write(api)
        except LockError:
            raise
        except MaasError as error:
            return error.message
        return ""

    def check(self) -> None:
        """Stop the run if another one holds the Lease.

        Raises:
            LockError: Another one does.
        """
        if self._lost is not None:
            raise self._lost

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the Lease while the block runs, acquire it as soon as the API answers, and release it at the end."""
        thread = threading.Thread(target=self._keep, name=NAME, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(_JOIN)

    def _keep(self) -> None:
        while not self._ended.wait(self._pause):
            try:
                self._pause = _RETRY if self.acquire() else _RENEWAL
            except LockError as error:
                self._lost = LockError(
                    "another run holds the lease of this cluster",
                    context=error.context,
                    hint="this run has stopped before its next phase; once the other one has ended, the same command continues",
                    command=paths.same_command(),
                    code="LeaseLost",
                )
                return
        if self._renewal is not None:
            self._release()

    def _release(self) -> None:
        """Delete the Lease if it is that of this run; a failure only means that it ends by itself."""
        cluster = Cluster(self._state / tunnel.KUBECONFIG)
        with contextlib.suppress(MaasError), access.explained(cluster), access.once(cluster) as api:
            found, _ = _read(api)
            if found is not None and _is(found.spec, self._own):
                same = {"preconditions": {"resourceVersion": found.metadata.resource_version}}
                _leases(api).delete_namespaced_lease(NAME, NAMESPACE, body=same, _request_timeout=_TIMEOUT)

    def _write(self, api: Any) -> None:
        """Create or update the Lease.

        Raises:
            LockError: Another run holds it.
            ApiException: The API server refused.
        """
        from kubernetes.client.exceptions import ApiException  # a quarter of a second that most commands do not need

        for attempt in range(_ATTEMPTS):
            found, now = _read(api)
            if found is not None and self._is_held(found.spec, now):
                raise _held(found.spec, now)
            lease = self._lease(found, now)
            try:
                if found is None:
                    _leases(api).create_namespaced_lease(NAMESPACE, lease, _request_timeout=_TIMEOUT)
                else:
                    _leases(api).replace_namespaced_lease(NAME, NAMESPACE, lease, _request_timeout=_TIMEOUT)
            except ApiException as error:
                if error.status != http.HTTPStatus.CONFLICT or attempt == _ATTEMPTS - 1:
                    raise
            else:
                self._renewal = now
                return

    def _lease(self, found: Any, now: datetime) -> dict[str, Any]:
        before = found.spec if found else None
        changes = (before.lease_transitions or 0) + (not _is(before, self._own)) if before else 0
        version = {} if found is None else {"resourceVersion": found.metadata.resource_version}
        return {
            "metadata": {"name": NAME, **version},
            "spec": {
                "holderIdentity": _identity(self._own),
                "leaseDurationSeconds": DURATION,
                "acquireTime": _micro_time(self._own.since),
                "renewTime": _micro_time(now),
                "leaseTransitions": changes,
            },
        }

    def _is_held(self, spec: Any, now: datetime) -> bool:
        """Return whether a run that may still live holds a Lease, other than this one."""
        if not (spec and spec.holder_identity and spec.renew_time and spec.lease_duration_seconds):
            return False
        if _is(spec, self._own) or _is(spec, self._before):
            return False
        if self._renewal is not None and spec.renew_time <= self._renewal:
            return False  # etcd was restored from a backup of before
        lives: bool = abs(now - spec.renew_time) < timedelta(seconds=spec.lease_duration_seconds)
        return lives


def _leases(api: Any) -> Any:
    from kubernetes import client

    return client.CoordinationV1Api(api)


def _read(api: Any) -> tuple[Any | None, datetime]:
    """Return the Lease, None if there is none, and the time by the clock of the API server."""
    from kubernetes.client.exceptions import ApiException

    try:
        found, _, headers = _leases(api).read_namespaced_lease_with_http_info(
            NAME, NAMESPACE, _request_timeout=_TIMEOUT
        )
    except ApiException as error:
        if error.status != http.HTTPStatus.NOT_FOUND:
            raise
        found, headers = None, error.headers
    try:
        return found, parsedate_to_datetime(headers.get("Date"))
    except ValueError:  # a proxy has removed it
        return found, datetime.now(UTC)


def _identity(owner: Owner) -> str:
    return f"{owner.user}@{owner.host} (PID {owner.pid}, {owner.command})"


def _is(spec: Any, owner: Owner | None) -> bool:
    """Return whether a run holds a Lease. Process IDs and names of hosts are not unique, the time when it began is."""
    if owner is None or spec is None:
        return False
    return (spec.holder_identity, spec.acquire_time) == (_identity(owner), _micro_time(owner.since))


def _micro_time(time: datetime) -> datetime:
    """Return a time with a fraction of a second: the client leaves it out if it is 0, and the API server refuses that.

    https://github.com/kubernetes/kubernetes/issues/89156
    """
    return time.replace(microsecond=time.microsecond or 1)


def _held(spec: Any, now: datetime) -> LockError:
    left = spec.renew_time + timedelta(seconds=spec.lease_duration_seconds) - now
    since = f", since {spec.acquire_time:%F %T} UTC" if spec.acquire_time else ""
    return LockError(
        "another run is in progress",
        context=[f"{spec.holder_identity}{since}"],
        hint=f"wait until it ends; if it was killed, its lease ends by itself in {left.total_seconds():.0f} s",
        command=paths.same_command(),
    )
