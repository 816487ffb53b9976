"""The checks of a cluster's objects: roles, ServiceAccounts, pods and namespaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas.cluster.client import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maas.cluster.cis.catalog import AccessCheck, Control
    from maas.cluster.client import Cluster

Object = dict[str, Any]

_BOOTSTRAPPED = "kubernetes.io/bootstrapping"
"""The label of the roles and bindings that the API server creates itself."""

_ENFORCE = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Objects:
    """The objects of a cluster that the checks read, as the API server sends them."""

    cluster_roles: Sequence[Object]
    roles: Sequence[Object]
    cluster_bindings: Sequence[Object]
    bindings: Sequence[Object]
    accounts: Sequence[Object]
    pods: Sequence[Object]
    namespaces: Sequence[Object]

    def role_of(self, binding: Object) -> Object | None:
        """Return the role of a binding, or None if it does not exist or comes with Kubernetes."""
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        namespace = binding["metadata"].get("namespace")
        candidates = self.cluster_roles if kind == "ClusterRole" else self.roles
        for role in candidates:
            metadata = role["metadata"]
            if metadata["name"] == name and (kind == "ClusterRole" or metadata["namespace"] == namespace):
                return role
        return None


def read(cluster: Cluster) -> Objects:
    """Read the objects of a cluster."""
    from kubernetes import client

    roles = client.RbacAuthorizationV1Api(cluster.client)
    return Objects(
        cluster_roles=listed(roles.list_cluster_role),
        roles=listed(roles.list_role_for_all_namespaces),
        cluster_bindings=listed(roles.list_cluster_role_binding),
        bindings=listed(roles.list_role_binding_for_all_namespaces),
        accounts=listed(cluster.core.list_service_account_for_all_namespaces),
        pods=listed(cluster.core.list_pod_for_all_namespaces),
        namespaces=listed(cluster.core.list_namespace),
    )


def problems(control: Control, objects: Objects) -> Iterator[str]:
    """Yield what contradicts a control in a cluster; nothing for a control of hosts."""
    if control.access is not None:
        yield from _access(control.access, objects)
    if control.api is not None:
        yield from _CHECKS[control.api](objects)


def _access(check: AccessCheck, objects: Objects) -> Iterator[str]:
    """Yield the subjects that have permissions in the whole cluster, except those that come with Kubernetes."""
    for binding in objects.cluster_bindings:
        role = objects.role_of(binding)
        if role is None or _bootstrapped(binding) or binding["roleRef"]["name"] == "cluster-admin":
            continue  # `administrators` reports the last
        for rule in role.get("rules") or ():
            given = _permissions(rule, check)
            if given is not None:
                for subject in _subjects(binding):
                    yield f"{subject} may {given} through ClusterRole {role['metadata']['name']}"


def _permissions(rule: Mapping[str, Any], check: AccessCheck) -> str | None:
    """Return the permissions of a rule that a check looks for, or None."""
    has, verbs = rule.get("resources") or (), rule["verbs"]
    if rule.get("resourceNames"):
        return None
    wanted = check.resources if "*" not in check.resources else tuple(has)
    resources = [name for name in wanted if name in has or "*" in has]
    found = [verb for verb in check.verbs if verb in verbs or "*" in verbs]
    return f"{', '.join(found)} {', '.join(resources)}" if found and resources else None


def _administrators(objects: Objects) -> Iterator[str]:
    for binding in (*objects.cluster_bindings, *objects.bindings):
        if binding["roleRef"]["name"] == "cluster-admin" and not _bootstrapped(binding):
            for subject in _subjects(binding):
                where = binding["metadata"].get("namespace")
                yield f"{subject} has cluster-admin {f'in {where}' if where else 'in the whole cluster'}"


def _wildcards(objects: Objects) -> Iterator[str]:
    kinds = [("ClusterRole", role) for role in objects.cluster_roles] + [("Role", role) for role in objects.roles]
    for kind, role in kinds:
        if _bootstrapped(role):
            continue
        for rule in role.get("rules") or ():
            fields = [
                name for name in ("apiGroups", "resources", "verbs", "nonResourceURLs") if "*" in rule.get(name, ())
            ]
            if fields:
                yield f"{kind} {_path(role['metadata'])} has a wildcard in {', '.join(fields)}"


def _default_accounts(objects: Objects) -> Iterator[str]:
    for binding in (*objects.cluster_bindings, *objects.bindings):
        for subject in binding.get("subjects") or ():
            if subject["kind"] == "ServiceAccount" and subject["name"] == "default":
                yield f"ServiceAccount {subject['namespace']}/default has {binding['roleRef']['name']}"
    for pod in _with_token(objects):
        if pod["spec"].get("serviceAccountName", "default") == "default":
            yield f"pod {_path(pod['metadata'])} has a token of ServiceAccount {pod['metadata']['namespace']}/default"


def _idle_tokens(objects: Objects) -> Iterator[str]:
    bound = {
        (subject.get("namespace"), subject["name"])
        for binding in (*objects.cluster_bindings, *objects.bindings)
        for subject in binding.get("subjects") or ()
        if subject["kind"] == "ServiceAccount"
    }
    for pod in _with_token(objects):
        namespace, account = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
        if (namespace, account) not in bound and account != "default":  # `_default_accounts` reports the last
            yield f"pod {_path(pod['metadata'])} has a token of ServiceAccount {namespace}/{account}, which has no role"


def _with_token(objects: Objects) -> Iterator[Object]:
    """Yield the pods that have a token of their ServiceAccount, except those that have ended and static pods."""
    accounts = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in objects.accounts}
    for pod in objects.pods:
        metadata, spec = pod["metadata"], pod["spec"]
        static = "kubernetes.io/config.mirror" in metadata.get("annotations", {})
        if static or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        account = accounts.get((metadata["namespace"], spec.get("serviceAccountName", "default")), {})
        if spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
            yield pod


def _pod_security(objects: Objects) -> Iterator[str]:
    used = {pod["metadata"]["namespace"] for pod in objects.pods}
    for namespace in objects.namespaces:
        metadata = namespace["metadata"]
        level = metadata.get("labels", {}).get(_ENFORCE)
        if metadata["name"] in used and level not in {"baseline", "restricted"}:
            yield f"namespace {metadata['name']} enforces {level or 'no level'}"


_CHECKS: dict[str, Callable[[Objects], Iterator[str]]] = {
    "administrators": _administrators,
    "wildcards": _wildcards,
    "default_accounts": _default_accounts,
    "idle_tokens": _idle_tokens,
    "pod_security": _pod_security,
}


def _bootstrapped(item: Object) -> bool:
    return _BOOTSTRAPPED in item["metadata"].get("labels", {})


def _path(metadata: Mapping[str, Any]) -> str:
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def _subjects(binding: Object) -> list[str]:
    return [f"{one['kind']} {_path(one)}" for one in binding.get("subjects") or ()]
