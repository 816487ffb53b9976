"""Short-lived access to a cluster: tokens of service accounts that are bound to a role."""

from __future__ import annotations

import http
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas.errors import ClusterError, UsageError
from maas.helm import NAMESPACE, RELEASE

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

    @property
    def account(self) -> str:
        """The name of its service account; there is one per role and namespace."""
        return f"maas-{self.role}" + (f"-{self.namespace}" if self.namespace else "")

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


def issue(cluster: Cluster, grant: Grant, *, seconds: int) -> Token:
    """Request a token of a grant's service account, which is created when it is missing.

    Args:
        cluster: The cluster.
        grant: What the token allows.
        seconds: Its lifetime.

    Raises:
        ClusterError: The release's cluster roles are missing.
    """
    from kubernetes import client

    roles = client.RbacAuthorizationV1Api(cluster.client)
    role = f"{RELEASE}-{grant.role}"
    if role not in {item.metadata.name for item in roles.list_cluster_role().items}:
        raise ClusterError(
            f'the cluster has no ClusterRole "{role}"',
            hint="it is part of the release: set dashboard.enabled and dashboard.roles.create to true",
            code="RoleNotFound",
        )
    metadata = {"name": grant.account, "labels": {"app.kubernetes.io/managed-by": _MANAGER}}
    binding = {
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": grant.account, "namespace": NAMESPACE}],
    }
    _create(lambda: cluster.core.create_namespaced_service_account(NAMESPACE, {"metadata": metadata}))
    if grant.namespace is None:
        _bind(
            role,
            create=lambda: roles.create_cluster_role_binding(binding),
            read=lambda: roles.read_cluster_role_binding(grant.account),
            delete=lambda: roles.delete_cluster_role_binding(grant.account),
        )
    else:
        where = grant.namespace
        _bind(
            role,
            create=lambda: roles.create_namespaced_role_binding(where, binding),
            read=lambda: roles.read_namespaced_role_binding(grant.account, where),
            delete=lambda: roles.delete_namespaced_role_binding(grant.account, where),
        )
    request = {"spec": {"expirationSeconds": seconds}}
    status = cluster.core.create_namespaced_service_account_token(grant.account, NAMESPACE, request).status
    return Token(status.token, status.expiration_timestamp)


def _bind(role: str, *, create: Callable[[], Any], read: Callable[[], Any], delete: Callable[[], Any]) -> None:
    """Create a binding; one to another role, as an older release had, is replaced, because roleRef is immutable."""
    if not _create(create) and read().role_ref.name != role:
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


def revoke(cluster: Cluster, grant: Grant | None) -> list[str]:
    """Revoke every token of a grant, or all tokens, by deleting their service accounts and bindings.

    A token is invalid without its account: the API server looks it up at each request.

    Returns:
        The names of the deleted service accounts.
    """
    from kubernetes import client

    roles = client.RbacAuthorizationV1Api(cluster.client)

    def matching(found: Any) -> list[Any]:
        return [item for item in found.items if grant is None or item.metadata.name == grant.account]

    for item in matching(roles.list_cluster_role_binding(label_selector=_MANAGED)):
        roles.delete_cluster_role_binding(item.metadata.name)
    for item in matching(roles.list_role_binding_for_all_namespaces(label_selector=_MANAGED)):
        roles.delete_namespaced_role_binding(item.metadata.name, item.metadata.namespace)
    accounts = matching(cluster.core.list_namespaced_service_account(NAMESPACE, label_selector=_MANAGED))
    for item in accounts:
        cluster.core.delete_namespaced_service_account(item.metadata.name, NAMESPACE)
    return [str(item.metadata.name) for item in accounts]
