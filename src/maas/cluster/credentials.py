"""Short-lived access to a cluster: tokens of service accounts that are bound to a role."""

from __future__ import annotations

import http
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas.cluster import access, releases
from maas.cluster.releases import Release
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from maas.cluster.client import Cluster

ROLES = ("viewer", "operator", "admin")
"""The roles of the dashboard chart. Each also has the permissions of those before it."""

_MANAGER = "maas-credentials"
_MANAGED = f"app.kubernetes.io/managed-by={_MANAGER}"
"""The label selector of the service accounts and bindings that are created here."""

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_SHORTEST, _LONGEST = 600, 7 * 86400
"""Seconds. The API server rejects lifetimes under ten minutes; a token of more than a week is not short-lived."""


def parse_ttl(ttl: str) -> int:
    """Return a lifetime such as `30m`, `8h` or `2d` in seconds.

    Raises:
        UsageError: It is not a duration, or not between ten minutes and seven days.
    """
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", ttl)
    total = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _SHORTEST <= total <= _LONGEST:
        raise UsageError(f"--ttl {ttl} is not a duration between 10m and 7d", hint="write it like 30m, 8h or 2d")
    return total


@dataclass(frozen=True)
class Grant:
    """A role in the whole cluster or in one namespace.

    Attributes:
        role: `viewer`, `operator` or `admin`.
        namespace: The namespace; None for the whole cluster.

    Raises:
        UsageError: There is no such role.
    """

    role: str
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f'no role "{self.role}"', hint=f"choose one of {', '.join(ROLES)}")

    def account(self, release: str) -> str:
        """Return the name of its service account; there is one per release, role and namespace."""
        return f"{release}-{self.role}" + (f"-{self.namespace}" if self.namespace else "")

    def __str__(self) -> str:
        return f"the role {self.role} in {self.namespace or 'the whole cluster'}"


@dataclass(frozen=True)
class Token:
    """A token of a service account.

    Attributes:
        value: The token, which is a secret.
        expires: When it expires, UTC.
    """

    value: str
    expires: datetime


def issue(cluster: Cluster, grant: Grant, *, seconds: int, release: str | None = None) -> Token:
    """Request a token of a grant's service account, which is created when it is missing.

    Args:
        cluster: The cluster.
        grant: What the token allows.
        seconds: Its lifetime.
        release: Name of the release whose roles are granted; by default the only one in the cluster.

    Raises:
        UsageError: The administrator's kubeconfig is missing or not valid.
        ClusterError: The release's cluster roles are missing, or the API server cannot be used.
    """
    with access.explained(cluster):
        return _issue(cluster, grant, seconds=seconds, release=releases.find(cluster, release) or _missing(release))


def _missing(release: str | None) -> Release:
    """Return the release to look for where none was found, so that the error names its ClusterRole."""
    return Release() if release is None else Release(release)


def _issue(cluster: Cluster, grant: Grant, *, seconds: int, release: Release) -> Token:
    from kubernetes import client

    roles = client.RbacAuthorizationV1Api(cluster.client)
    role = f"{release.name}-{grant.role}"
    if role not in {item.metadata.name for item in roles.list_cluster_role().items}:
        raise ClusterError(
            f'the cluster has no ClusterRole "{role}"',
            hint="it is part of the release: set dashboard.enabled and dashboard.roles.create to true",
            code="RoleNotFound",
        )
    account, home = grant.account(release.name), release.namespace
    metadata = {"name": account, "labels": {"app.kubernetes.io/managed-by": _MANAGER}}
    binding = {
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
    }
    _create(lambda: cluster.core.create_namespaced_service_account(home, {"metadata": metadata}))
    if grant.namespace is None:
        _bind(
            binding,
            create=lambda: roles.create_cluster_role_binding(binding),
            read=lambda: roles.read_cluster_role_binding(account),
            delete=lambda: roles.delete_cluster_role_binding(account),
        )
    else:
        where = grant.namespace
        _bind(
            binding,
            create=lambda: roles.create_namespaced_role_binding(where, binding),
            read=lambda: roles.read_namespaced_role_binding(account, where),
            delete=lambda: roles.delete_namespaced_role_binding(account, where),
        )
    request = {"spec": {"expirationSeconds": seconds}}
    status = cluster.core.create_namespaced_service_account_token(account, home, request).status
    return Token(status.token, status.expiration_timestamp)


def _bind(
    wanted: dict[str, Any], *, create: Callable[[], Any], read: Callable[[], Any], delete: Callable[[], Any]
) -> None:
    """Create a binding; a different one, as an older release had, is replaced, because roleRef is immutable."""
    if _create(create):
        return
    found = read()
    homes = [subject.namespace for subject in found.subjects or ()]
    if (found.role_ref.name, homes) != (wanted["roleRef"]["name"], [wanted["subjects"][0]["namespace"]]):
        delete()
        create()


def _create(create: Callable[[], Any]) -> bool:
    """Create an object unless it exists, and return whether it was created."""
    from kubernetes.client.exceptions import ApiException

    try:
        create()
    except ApiException as error:
        if error.status != http.HTTPStatus.CONFLICT:
            raise
        return False
    return True


def revoke(cluster: Cluster, grant: Grant | None, *, release: str | None = None) -> list[str]:
    """Revoke every token of a grant, or all tokens, by deleting their service accounts and bindings.

    A token is invalid without its account: the API server looks it up at each request.

    Args:
        cluster: The cluster.
        grant: The grant; None for all.
        release: Name of the release of the grant; by default the only one in the cluster.

    Returns:
        The names of the deleted service accounts.
    """
    with access.explained(cluster):
        return _revoke(cluster, grant, release=release)


def _revoke(cluster: Cluster, grant: Grant | None, *, release: str | None) -> list[str]:
    from kubernetes import client

    roles = client.RbacAuthorizationV1Api(cluster.client)
    wanted = None if grant is None else grant.account(release or (releases.find(cluster) or Release()).name)
    prefix = tuple(f"{release}-{role}" for role in ROLES) if release else ""

    def matching(found: Any) -> list[Any]:
        names = [(item, item.metadata.name) for item in found.items]
        return [item for item, name in names if (name.startswith(prefix) if wanted is None else name == wanted)]

    for item in matching(roles.list_cluster_role_binding(label_selector=_MANAGED)):
        roles.delete_cluster_role_binding(item.metadata.name)
    for item in matching(roles.list_role_binding_for_all_namespaces(label_selector=_MANAGED)):
        roles.delete_namespaced_role_binding(item.metadata.name, item.metadata.namespace)
    accounts = matching(cluster.core.list_service_account_for_all_namespaces(label_selector=_MANAGED))
    for item in accounts:
        cluster.core.delete_namespaced_service_account(item.metadata.name, item.metadata.namespace)
    return [str(item.metadata.name) for item in accounts]
