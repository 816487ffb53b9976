"""An API server with given objects, for the requests of Helm's `lookup`: discovery, get and list."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from maas.helm import NAMESPACE, RELEASE, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind as discovery reports it."""

    api: str
    kind: str
    plural: str
    namespaced: bool


CLUSTER_WIDE = [
    "v1/Namespace",
    "v1/Node",
    "rbac.authorization.k8s.io/v1/ClusterRole",
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
    "apiextensions.k8s.io/v1/CustomResourceDefinition",
    "apiregistration.k8s.io/v1/APIService",
    "storage.k8s.io/v1/StorageClass",
    "crd.projectcalico.org/v1/IPPool",
    "operator.tigera.io/v1/Installation",
]
NAMESPACED = [
    "v1/ConfigMap",
    "v1/PersistentVolumeClaim",
    "v1/Pod",
    "v1/Secret",
    "v1/Service",
    "v1/ServiceAccount",
    "apps/v1/DaemonSet",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "batch/v1/Job",
    "keda.sh/v1alpha1/ScaledObject",
    "monitoring.coreos.com/v1/Alertmanager",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/Prometheus",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1alpha1/ScrapeConfig",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
]


def _kind(path: str, *, namespaced: bool) -> Kind:
    api, _, kind = path.rpartition("/")
    lower = kind.lower()
    plural = f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}es" if lower.endswith("s") else f"{lower}s"
    return Kind(api, kind, plural, namespaced=namespaced)


KINDS = (
    *(_kind(path, namespaced=False) for path in CLUSTER_WIDE),
    *(_kind(path, namespaced=True) for path in NAMESPACED),
)

OWNED = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
"""The annotations by which Helm recognizes the objects of the tests' release."""


def make(path: str, name: str, *, namespace: str | None = None, owned: bool = False, **more: Any) -> Object:
    """Return an object of the cluster, given its API version and kind as one path.

    Args:
        path: As `apps/v1/DaemonSet`.
        name: Its name.
        namespace: Its namespace, for kinds that have one.
        owned: Whether it belongs to the tests' release.
        more: The other fields; `annotations` are added to the metadata.
    """
    api, _, kind = path.rpartition("/")
    metadata: Object = {"name": name, "annotations": more.pop("annotations", {})}
    if namespace is not None:
        metadata["namespace"] = namespace
    if owned:
        metadata["annotations"] = metadata["annotations"] | OWNED
        metadata["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


@dataclass
class FakeCluster:
    """The objects of the cluster, and the answers to Helm's requests."""

    kubeconfig: Path
    objects: list[Object] = field(default_factory=list)

    def answer(self, path: str) -> Object | None:
        """Return the body of the answer to a GET, None for an unknown path."""
        groups = sorted({kind.api.partition("/")[0] for kind in KINDS if "/" in kind.api})
        major, minor, _ = render.KUBERNETES[-1].split(".")
        fixed: dict[str, Object] = {
            "version": {"major": major, "minor": minor, "gitVersion": f"v{render.KUBERNETES[-1]}"},
            "api": {"kind": "APIVersions", "versions": ["v1"]},
            "apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups]},
        }
        match path.strip("/").split("/"):
            case [word]:
                return fixed.get(word)
            case ["api", version, *rest]:
                return self._find(version, rest) if rest else _resources(version)
            case ["apis", group, version, *rest]:
                api = f"{group}/{version}"
                return self._find(api, rest) if rest else _resources(api)
        return None

    def _find(self, api: str, rest: list[str]) -> Object | None:
        namespace = None
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = next((kind for kind in KINDS if (kind.api, kind.plural) == (api, rest[0])), None)
        if kind is None:
            return None
        found = [
            entry
            for entry in self.objects
            if (entry["apiVersion"], entry["kind"]) == (api, kind.kind)
            and (namespace is None or entry["metadata"].get("namespace") == namespace)
        ]
        if len(rest) == 1:
            return {"apiVersion": api, "kind": f"{kind.kind}List", "metadata": {}, "items": found}
        return next((entry for entry in found if entry["metadata"]["name"] == rest[1]), None)


def _group(name: str) -> Object:
    versions = sorted({kind.api for kind in KINDS if kind.api.startswith(f"{name}/")})
    entries = [{"groupVersion": api, "version": api.partition("/")[2]} for api in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _resources(api: str) -> Object | None:
    resources = [
        {"name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced, "verbs": ["get", "list"]}
        for kind in KINDS
        if kind.api == api
    ]
    return {"kind": "APIResourceList", "groupVersion": api, "resources": resources} if resources else None


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[FakeCluster]:
    """Serve a cluster on loopback while the block runs."""
    cluster = FakeCluster(directory / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = cluster.answer(self.path.partition("?")[0])
            status = 200
            if body is None:
                status, body = (
                    404,
                    {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404},
                )
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    class Server(ThreadingHTTPServer):
        # Helm 4 requests the resources of all groups at once; a connection beyond the queue is retried after 1 s.
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        context = {"cluster": "fake", "user": "fake"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": context}],
            "current-context": "fake",
        }
        cluster.kubeconfig.write_text(json.dumps(config), encoding="utf-8")
        yield cluster
        server.shutdown()
