"""The releases of MaaS in a cluster, whatever their names and namespaces, and what belongs to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maas.errors import ClusterError
from maas.helm import NAMESPACE, RELEASE

if TYPE_CHECKING:
    from maas.cluster.client import Cluster

_INSTANCE = "app.kubernetes.io/instance"
_PART_OF = "app.kubernetes.io/part-of"
_OWNER = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
_SELECTOR = f"{_PART_OF}=maas"


@dataclass(frozen=True, order=True)
class Release:
    """A release of the umbrella chart.

    Attributes:
        name: Its name.
        namespace: Its namespace.
    """

    name: str = RELEASE
    namespace: str = NAMESPACE

    def owns(self, metadata: Any) -> bool:
        """Return whether an object belongs to the release.

        Helm annotates what it installs. Argo CD and `kubectl apply` do not; then the chart's labels identify the release.
        """
        annotations, labels = metadata.annotations or {}, metadata.labels or {}
        if _OWNER[0] in annotations:
            return tuple(annotations.get(key) for key in _OWNER) == (self.name, self.namespace)
        return (labels.get(_PART_OF), labels.get(_INSTANCE)) == ("maas", self.name)


def find(cluster: Cluster, name: str | None = None) -> Release | None:
    """Return the release of a name, or the only one; None if there is none.

    Raises:
        ClusterError: There are several, and no name was passed.
    """
    from kubernetes import client

    roles = client.RbacAuthorizationV1Api(cluster.client)
    objects = [
        item.metadata
        for call in (
            roles.list_cluster_role,
            cluster.apps.list_deployment_for_all_namespaces,
            cluster.apps.list_daemon_set_for_all_namespaces,
            cluster.apps.list_stateful_set_for_all_namespaces,
        )
        for item in call(label_selector=_SELECTOR).items
    ]
    found: dict[str, str] = {}
    # Objects with Helm's annotations first: only they name the namespace of the release.
    for metadata in sorted(objects, key=lambda item: _OWNER[0] not in (item.annotations or {})):
        annotations, labels = metadata.annotations or {}, metadata.labels or {}
        owner = annotations.get(_OWNER[0]) or labels.get(_INSTANCE)
        if owner:
            found[owner] = found.get(owner) or annotations.get(_OWNER[1]) or metadata.namespace or ""
    releases = sorted(Release(owner, namespace or NAMESPACE) for owner, namespace in found.items())
    if name is not None:
        return next((release for release in releases if release.name == name), None)
    if len(releases) > 1:
        raise ClusterError(
            f"the cluster has {len(releases)} releases of MaaS",
            context=[f"{release.name} in namespace {release.namespace}" for release in releases],
            hint=f"choose one with --release, such as --release {releases[0].name}",
            code="ReleaseAmbiguous",
        )
    return releases[0] if releases else None
