"""Hands out short-lived access to a cluster: a token, or a kubeconfig around one."""

from __future__ import annotations

import http
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from maas import console, files, paths
from maas.cluster import tunnel
from maas.cluster.client import Cluster
from maas.cluster.helm_release import RELEASE
from maas.codegen.roles import ROLES
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMESPACE = "maas"
"""Where the release is, and the accounts that tokens are of."""

_MANAGER = "maas-credentials"
_MANAGED = f"app.kubernetes.io/managed-by={_MANAGER}"
"""What the accounts and bindings made here are found by."""

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_SHORTEST, _LONGEST = 600, 7 * 86400
"""Seconds. The API server refuses tokens under ten minutes; what lasts longer than a week is no short-lived token."""


def seconds(ttl: str) -> int:
    """A duration such as `30m`, `8h` or `2d`, in seconds.

    Raises:
        UsageError: It is none, or outside ten minutes to seven days.
    """
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", ttl)
    total = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _SHORTEST <= total <= _LONGEST:
        raise UsageError(f"--ttl {ttl} is not a duration between 10m and 7d", hint="write it as 30m, 8h or 2d")
    return total


@dataclass(frozen=True)
class Grant:
    """A role, and where it holds.

    Attributes:
        role: `viewer`, `operator` or `admin`.
        namespace: The only namespace in which it holds; None for the whole cluster.

    Raises:
        UsageError: There is no such role.
    """

    role: str
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f"there is no role {self.role}", hint=f"one of {', '.join(ROLES)}")

    @property
    def account(self) -> str:
        """The service account that its tokens are of, one for each role and place."""
        return f"maas-{self.role}" + (f"-{self.namespace}" if self.namespace else "")

    def __str__(self) -> str:
        return f"the role {self.role} in {self.namespace or 'the whole cluster'}"


def credentials(
    name: str, grant: Grant, *, ttl: str, kubeconfig: Path | None, token: bool, admin: Path | None = None
) -> None:
    """Give access to a cluster in the form that was asked for; without a form, say what there is to ask for.

    Args:
        name: A cluster that bootstrap made.
        grant: What is given.
        ttl: How long it lasts, such as `8h`.
        kubeconfig: The file to write, which must not exist.
        token: Print the bare token.
        admin: An administrator's kubeconfig of any other cluster with the release, in the place of a name.

    Raises:
        UsageError: An unknown duration, both forms at once, or a file that exists already.
        ClusterError: The release's roles are not there.
    """
    lasting = seconds(ttl)
    if token and kubeconfig is not None:
        raise UsageError("--token and --kubeconfig are two forms of the same; ask for one")
    if kubeconfig is not None and kubeconfig.exists():
        raise UsageError(f"{kubeconfig} exists already and is not overwritten", hint="name another file, or remove it")
    if not token and kubeconfig is None:
        _offer(name, admin)
        return
    cluster = reached(name, admin)
    issued = issue(cluster, grant, lasting=lasting)
    if kubeconfig is None:
        console.data(issued)
        return
    text = wrap(cluster, token=issued, cluster_name=name, user=grant.account)
    files.write_private(kubeconfig, text.encode())
    console.line(f"{kubeconfig} gives {grant} for {ttl}; it holds a secret and only you can read it")


def _offer(name: str, admin: Path | None) -> None:
    """Say what can be asked for."""
    own = admin or tunnel.state_of(name) / "kubeconfig"
    where = f"--name {name}" if admin is None else f"--from {admin}"
    rows = [
        ("kubectl as administrator, on this machine", f"export KUBECONFIG={own}"),
        ("a kubeconfig for somebody", paths.command("credentials", f"{where} --role viewer --kubeconfig FILE")),
        ("a token for a login page", paths.command("credentials", f"{where} --role viewer --token")),
        ("take all of it back", paths.command("credentials", f"revoke {where}")),
    ]
    console.table(f"access to {name if admin is None else admin}", ("for", "command"), rows)


def reached(name: str, admin: Path | None) -> Cluster:
    """The cluster of a name, or the one that a kubeconfig leads to.

    Raises:
        UsageError: There is no such cluster, or no such file.
    """
    if admin is None:
        return tunnel.connect(name)
    if not admin.is_file():
        raise UsageError(f"{admin} is not there")
    return Cluster(admin)


def issue(cluster: Cluster, grant: Grant, *, lasting: int) -> str:
    """A token of the grant's service account, valid for `lasting` seconds; the account is made when it is missing.

    Raises:
        ClusterError: The release's roles are not there.
    """
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    roles = client.RbacAuthorizationV1Api(cluster.client)
    role = f"{RELEASE}-{grant.role}"
    if role not in {item.metadata.name for item in roles.list_cluster_role().items}:
        raise ClusterError(
            f"the cluster has no role {role}",
            hint="the release makes it: set dashboard.enabled and dashboard.roles.create to true",
        )
    metadata = {"name": grant.account, "labels": {"app.kubernetes.io/managed-by": _MANAGER}}
    binding = {
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": grant.account, "namespace": _NAMESPACE}],
    }
    _once(lambda: cluster.core.create_namespaced_service_account(_NAMESPACE, {"metadata": metadata}))
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
    request = {"spec": {"expirationSeconds": lasting}}
    answer = cluster.core.create_namespaced_service_account_token(grant.account, _NAMESPACE, request)
    return str(answer.status.token)


def _bind(role: str, *, create: Callable[[], Any], read: Callable[[], Any], delete: Callable[[], Any]) -> None:
    """Make a binding; one to another role, as an older release had, is replaced, because it cannot be changed."""
    if not _once(create) and read().role_ref.name != role:
        delete()
        create()


def _once(make: Callable[[], Any]) -> bool:
    """Make an object of the API unless it is there already; whether it was made."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - see maas.cluster

    try:
        make()
    except ApiException as error:
        if error.status != http.HTTPStatus.CONFLICT:
            raise
        return False
    return True


def revoke(cluster: Cluster, grant: Grant | None) -> list[str]:
    """Take back every token of a grant, or of all, by removing their accounts and bindings; return what was removed.

    A token dies with its account: the API server asks for it at each request.
    """
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    roles = client.RbacAuthorizationV1Api(cluster.client)

    def mine(found: Any) -> list[Any]:
        return [item for item in found.items if grant is None or item.metadata.name == grant.account]

    for item in mine(roles.list_cluster_role_binding(label_selector=_MANAGED)):
        roles.delete_cluster_role_binding(item.metadata.name)
    for item in mine(roles.list_role_binding_for_all_namespaces(label_selector=_MANAGED)):
        roles.delete_namespaced_role_binding(item.metadata.name, item.metadata.namespace)
    accounts = mine(cluster.core.list_namespaced_service_account(_NAMESPACE, label_selector=_MANAGED))
    for item in accounts:
        cluster.core.delete_namespaced_service_account(item.metadata.name, _NAMESPACE)
    return [str(item.metadata.name) for item in accounts]


def wrap(cluster: Cluster, *, token: str, cluster_name: str, user: str) -> str:
    """A kubeconfig for a token, with the cluster's address and authority taken from its own kubeconfig."""
    own: dict[str, Any] = YAML(typ="safe").load(cluster.kubeconfig)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster_name, "cluster": own["clusters"][0]["cluster"]}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": cluster_name, "context": {"cluster": cluster_name, "user": user}}],
        "current-context": cluster_name,
    }
    text = io.StringIO()
    YAML().dump(config, text)
    return text.getvalue()
