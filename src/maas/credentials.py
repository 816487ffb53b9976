"""Hands out short-lived access to a cluster: a token, or a kubeconfig around one."""

from __future__ import annotations

import http
import io
import re
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from maas import access, console, paths
from maas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maas.cluster import Cluster

_NAMESPACE = "maas"
_ROLES = {"viewer": "view", "operator": "edit", "admin": "cluster-admin"}
"""Our roles and the cluster roles that every Kubernetes has for them."""

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


def credentials(name: str, *, role: str, ttl: str, kubeconfig: Path | None, token: bool) -> None:
    """Give access to a cluster in the form that was asked for; without a form, say what there is to ask for.

    Raises:
        UsageError: An unknown role or duration, both forms at once, or a file that exists already.
    """
    if role not in _ROLES:
        raise UsageError(f"there is no role {role}", hint=f"one of {', '.join(_ROLES)}")
    lasting = seconds(ttl)
    if token and kubeconfig is not None:
        raise UsageError("--token and --kubeconfig are two forms of the same; ask for one")
    if kubeconfig is not None and kubeconfig.exists():
        raise UsageError(f"{kubeconfig} exists already and is not overwritten", hint="name another file, or remove it")
    state = access.state_of(name)
    if not token and kubeconfig is None:
        console.table(
            f"access to {name}",
            ("for", "command"),
            [
                ("kubectl as administrator, on this machine", f"export KUBECONFIG={state / 'kubeconfig'}"),
                (
                    "a kubeconfig for somebody",
                    paths.command("credentials", f"--name {name} --role viewer --kubeconfig FILE"),
                ),
                ("a token for a login page", paths.command("credentials", f"--name {name} --role viewer --token")),
            ],
        )
        return
    cluster = access.connect(name)
    issued = issue(cluster, role=role, lasting=lasting)
    if kubeconfig is None:
        console.data(issued)
        return
    paths.write_private(kubeconfig, wrap(cluster, token=issued, cluster_name=name, user=f"maas-{role}").encode())
    console.line(f"{kubeconfig} gives the role {role} on {name} for {ttl}; it holds a secret and only you can read it")


def issue(cluster: Cluster, *, role: str, lasting: int) -> str:
    """A token of the role's service account, valid for `lasting` seconds; the account is made when it is missing."""
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    account = f"maas-{role}"
    binding = {
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ROLES[role]},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": _NAMESPACE}],
    }
    _once(lambda: cluster.core.create_namespaced_service_account(_NAMESPACE, {"metadata": {"name": account}}))
    _once(lambda: client.RbacAuthorizationV1Api(cluster.client).create_cluster_role_binding(binding))
    request = {"spec": {"expirationSeconds": lasting}}
    answer = cluster.core.create_namespaced_service_account_token(account, _NAMESPACE, request)
    return str(answer.status.token)


def _once(make: Callable[[], Any]) -> None:
    """Make an object of the API unless it is there already."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - see maas.cluster

    try:
        make()
    except ApiException as error:
        if error.status != http.HTTPStatus.CONFLICT:
            raise


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
