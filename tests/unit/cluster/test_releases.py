"""Releases of any name and namespace, on an API server of the loopback address."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from maas.cluster import credentials, doctor, releases
from maas.cluster.client import Cluster
from maas.cluster.credentials import Grant
from maas.cluster.releases import Release
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RBAC = "/apis/rbac.authorization.k8s.io/v1"
APPS = "/apis/apps/v1"
KINDS = {"clusterroles": "ClusterRole", "clusterrolebindings": "ClusterRoleBinding", "rolebindings": "RoleBinding"}
KINDS |= {"deployments": "Deployment", "daemonsets": "DaemonSet", "statefulsets": "StatefulSet"}
KINDS |= {"serviceaccounts": "ServiceAccount", "customresourcedefinitions": "CustomResourceDefinition"}
KINDS |= {"namespaces": "Namespace", "apiservices": "APIService", "nodes": "Node"}
POD = {"selector": {}, "template": {"spec": {"containers": [{"name": "x"}]}}}

Key = tuple[str, str, str]
"""The plural, namespace and name of an object."""


class Api:
    """Objects of an API server."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}

    def add(self, plural: str, name: str, *, namespace: str = "", **more: Any) -> None:
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
        self.objects[plural, namespace, name] = {"metadata": metadata, **more}

    def listed(self, plural: str, namespace: str, selector: str) -> dict[str, Any]:
        wanted = dict(term.split("=") for term in selector.split(",") if term)
        found = [
            item
            for (kind, where, _), item in self.objects.items()
            if kind == plural
            and namespace in {"", where}
            and wanted.items() <= item["metadata"].get("labels", {}).items()
        ]
        return {"kind": f"{KINDS[plural]}List", "metadata": {}, "items": found}


def parse(path: str) -> tuple[str, str, str, str]:
    """Return the plural, namespace, name and subresource of a path."""
    words = path.strip("/").split("/")
    words = words[2:] if words[0] == "api" else words[3:]
    namespace = ""
    if words[0] == "namespaces" and len(words) > 2:
        namespace, words = words[1], words[2:]
    return words[0], namespace, words[1] if len(words) > 1 else "", words[2] if len(words) > 2 else ""


class Handler(BaseHTTPRequestHandler):
    """Answer requests from the objects of a subclass's state."""

    state: Api

    def reply(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, code: int, reason: str) -> None:
        self.reply(code, {"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/version":
            self.reply(200, {"gitVersion": "v1.37.2"})
            return
        plural, namespace, name, _ = parse(url.path)
        if not name:
            self.reply(200, self.state.listed(plural, namespace, parse_qs(url.query).get("labelSelector", [""])[0]))
        elif (key := (plural, namespace, name)) in self.state.objects:
            self.reply(200, self.state.objects[key])
        else:
            self.refuse(404, "NotFound")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        plural, namespace, name, subresource = parse(urlsplit(self.path).path)
        if subresource == "token":
            status = {"token": f"token of {namespace}/{name}", "expirationTimestamp": "2026-11-28T12:00:00Z"}
            self.reply(201, {"spec": {"audiences": []}, "status": status})
            return
        key = plural, namespace, body["metadata"]["name"]
        if key in self.state.objects:
            self.refuse(409, "AlreadyExists")
            return
        body["metadata"] |= {"namespace": namespace} if namespace else {}
        self.state.objects[key] = body
        self.reply(201, body)

    def do_DELETE(self) -> None:
        plural, namespace, name, _ = parse(urlsplit(self.path).path)
        del self.state.objects[plural, namespace, name]
        self.reply(200, {"kind": "Status", "status": "Success"})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[Api, Cluster]]:
    served = Api()

    class Own(Handler):
        state = served

    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        file = tmp_path / "kubeconfig"
        document = {
            "clusters": [{"name": "shop", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "shop", "context": {"cluster": "shop"}}],
            "current-context": "shop",
        }
        file.write_text(json.dumps(document))
        cluster = Cluster(file)
        yield served, cluster
        cluster.client.close()
        server.shutdown()
        thread.join()


def owned(name: str, namespace: str, labels: dict[str, str] | None = None, *, by_helm: bool = True) -> dict[str, Any]:
    """Return the labels of a release's objects, and Helm's annotations."""
    annotations = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}
    own = {"app.kubernetes.io/part-of": "maas", "app.kubernetes.io/instance": name, **(labels or {})}
    return {"labels": own, "annotations": annotations if by_helm else {}}


def install(state: Api, name: str, namespace: str, *, by_helm: bool = True) -> None:
    metadata = owned(name, namespace, by_helm=by_helm)
    for role in ("viewer", "operator", "admin"):
        state.add("clusterroles", f"{name}-{role}", metadata=metadata, rules=[])
    operator = metadata | {"labels": metadata["labels"] | {"app.kubernetes.io/name": "prometheus-operator"}}
    state.add("deployments", f"{name}-operator", namespace="monitoring", metadata=operator, spec=POD)


NAMES = [
    ("maas", "maas"),
    ("shop", "platform"),
    ("maas", "platform"),
    ("shop", "maas"),
    ("my-shop-viewer", "kube-system"),
]


@pytest.mark.parametrize(("name", "namespace"), NAMES)
def test_a_token_is_of_the_release_that_the_cluster_has(name: str, namespace: str, api: tuple[Api, Cluster]) -> None:
    state, cluster = api
    install(state, name, namespace)
    assert credentials.issue(cluster, Grant("viewer"), seconds=600).value == f"token of {namespace}/{name}-viewer"
    binding = state.objects["clusterrolebindings", "", f"{name}-viewer"]
    assert binding["roleRef"]["name"] == f"{name}-viewer"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": f"{name}-viewer", "namespace": namespace}]
    credentials.issue(cluster, Grant("admin", "web"), seconds=600)
    assert state.objects["rolebindings", "web", f"{name}-admin-web"]["roleRef"]["name"] == f"{name}-admin"
    assert credentials.revoke(cluster, Grant("viewer")) == [f"{name}-viewer"]
    assert credentials.revoke(cluster, None) == [f"{name}-admin-web"]
    assert not [key for key in state.objects if key[0] in {"serviceaccounts", "rolebindings", "clusterrolebindings"}]


def test_one_of_several_releases_is_chosen_by_its_name(api: tuple[Api, Cluster]) -> None:
    state, cluster = api
    install(state, "shop", "platform")
    install(state, "cafe", "other")
    with pytest.raises(ClusterError) as caught:
        credentials.issue(cluster, Grant("viewer"), seconds=600)
    assert caught.value.code == "ReleaseAmbiguous"
    assert caught.value.context == ("cafe in namespace other", "shop in namespace platform")
    for name, namespace in (("shop", "platform"), ("cafe", "other")):
        token = credentials.issue(cluster, Grant("viewer"), seconds=600, release=name)
        assert token.value == f"token of {namespace}/{name}-viewer"
    assert credentials.revoke(cluster, None, release="shop") == ["shop-viewer"]
    assert credentials.revoke(cluster, Grant("viewer"), release="cafe") == ["cafe-viewer"]


def test_without_the_roles_the_error_names_the_value_to_set(api: tuple[Api, Cluster]) -> None:
    state, cluster = api
    for release, role in ((None, "maas-viewer"), ("shop", "shop-viewer")):
        with pytest.raises(ClusterError, match=f'no ClusterRole "{role}"') as caught:
            credentials.issue(cluster, Grant("viewer"), seconds=600, release=release)
        assert caught.value.code == "RoleNotFound"
    install(state, "cafe", "platform")
    del state.objects["clusterroles", "", "cafe-viewer"]
    with pytest.raises(ClusterError, match='no ClusterRole "cafe-viewer"'):
        credentials.issue(cluster, Grant("viewer"), seconds=600)


def test_a_release_that_helm_did_not_install_is_found_by_its_labels(api: tuple[Api, Cluster]) -> None:
    state, cluster = api
    install(state, "shop", "platform", by_helm=False)
    assert releases.find(cluster) == Release("shop", "monitoring")
    assert list(doctor.monitoring(cluster, Release("shop", "monitoring"))) == [
        doctor.Finding("monitoring CRDs", "ok", "none yet", "Helm installs them with the first installation")
    ]


@pytest.mark.parametrize(("name", "namespace"), NAMES)
def test_the_operator_of_the_release_is_not_foreign(name: str, namespace: str, api: tuple[Api, Cluster]) -> None:
    state, cluster = api
    install(state, name, namespace)
    found = releases.find(cluster)
    assert found == Release(name, namespace)
    assert [item.state for item in doctor.monitoring(cluster, found)] == ["ok"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"app.kubernetes.io/name": "prometheus-operator"}},
        owned("prom", "platform", {"app.kubernetes.io/name": "prometheus-operator", "app.kubernetes.io/part-of": "x"}),
        owned("shop", "elsewhere", {"app.kubernetes.io/name": "kube-prometheus-operator"}),
        owned("cafe", "", {"app.kubernetes.io/name": "prometheus-operator"}, by_helm=False),
    ],
)
def test_any_other_operator_is_foreign(metadata: dict[str, Any], api: tuple[Api, Cluster]) -> None:
    state, cluster = api
    state.add("deployments", "operator", namespace="monitoring", metadata=metadata, spec=POD)
    found = list(doctor.monitoring(cluster, Release("shop", "platform")))
    assert (found[0].state, found[0].found) == ("failed", "monitoring/operator watches every namespace")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, Release("shop", "platform")),
        ({"release": "shop"}, Release("shop", "platform")),
        ({"release": "new"}, Release("new", "maas")),
        ({"release": "new", "namespace": "web"}, Release("new", "web")),
        ({"namespace": "web"}, Release("shop", "web")),
    ],
)
def test_the_doctor_checks_the_release_that_is_or_will_be_installed(
    words: dict[str, str], expected: Release, api: tuple[Api, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, cluster = api
    install(state, "shop", "platform")
    seen: list[Release] = []
    finding = doctor.Finding("x", "ok", "")

    def note(*given: object) -> list[doctor.Finding]:
        seen.extend(item for item in given if isinstance(item, Release))
        return []

    for name in ("kubernetes", "network", "metrics_api", "monitoring", "namespaces"):
        monkeypatch.setattr(doctor, name, note)
    monkeypatch.setattr(doctor, "storage", lambda *_: finding)
    monkeypatch.setattr(doctor, "chart", lambda *given: note(*given) or finding)
    doctor.check(cluster, **words)  # type: ignore[arg-type]
    assert seen == [expected] * 6


def test_the_namespace_of_the_release_itself_is_not_foreign(
    api: tuple[Api, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, cluster = api
    monkeypatch.setattr(doctor, "_namespaces", lambda: [("monitoring", "restricted"), ("restaurant", "restricted")])
    state.add("namespaces", "monitoring")
    state.add("namespaces", "restaurant", metadata=owned("shop", "monitoring"))
    found = list(doctor.namespaces(cluster, Release("shop", "monitoring")))
    assert [item.state for item in found] == ["ok", "ok"]
    other = list(doctor.namespaces(cluster, Release("shop", "platform")))
    assert [item.state for item in other] == ["failed", "failed"]
