"""KEDA as it is installed: with its own roles on a real API server, and in a lab where the restaurant's threads are busy.

Building KEDA for the first time takes about ten minutes on two cores.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from tests.support import labs
from tests.support.charts import containers, environment, helm, of_profile, one
from tests.support.control_plane import control_plane, free_port
from tests.support.monitoring import Monitoring
from tests.support.restaurant import load

from maas import components, console
from maas.bundle import cache, golang
from maas.cluster.client import Cluster
from maas.helm import NAMESPACE, RELEASE, render

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "tests" / "acceptance" / "saturation-values.yaml"
REPORT = ROOT / "proof" / "saturation.md"
NAME = "saturation"
ADAPTER = "github.com/kedacore/keda/v2/cmd/adapter"
OPERATOR = "github.com/kedacore/keda/v2/cmd/operator"
API = "v1beta1.external.metrics.k8s.io"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]


def scaled_objects(cluster: Cluster) -> list[dict[str, Any]]:
    api = client.CustomObjectsApi(cluster.client)
    found: list[dict[str, Any]] = api.list_cluster_custom_object("keda.sh", "v1alpha1", "scaledobjects")["items"]
    return found


def autoscalers(cluster: Cluster) -> list[str]:
    api = client.AutoscalingV2Api(cluster.client)
    return [entry.metadata.name for entry in api.list_namespaced_horizontal_pod_autoscaler("restaurant").items]


def state_of(cluster: Cluster, kind: str) -> str:
    """Return a condition of the restaurant's ScaledObject: True, False or Unknown."""
    (found,) = scaled_objects(cluster)
    conditions = {entry["type"]: entry["status"] for entry in found.get("status", {}).get("conditions", [])}
    return str(conditions.get(kind, "Unknown"))


def api_service(cluster: Cluster) -> Any:
    return client.ApiregistrationV1Api(cluster.client).read_api_service(API)


def account(cluster: Cluster, name: str, directory: Path) -> Path:
    """Write a kubeconfig with the rights of one of the release's service accounts."""
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600))
    made = cluster.core.create_namespaced_service_account_token(name, "monitoring", request)
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"]["token"] = made.status.token
    file = directory / f"{name}-kubeconfig"
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


class Answers(BaseHTTPRequestHandler):
    """A Prometheus that returns one number for every query, and records the queries."""

    queries: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.queries.append(parse_qs(urlsplit(self.path).query).get("query", [""])[0])
        data = {"resultType": "vector", "result": [{"metric": {}, "value": [time.time(), "1.5"]}]}
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""


class Operator:
    """The operator as a process, with the arguments and the service account of its pod; this class does the kubelet's part."""

    def __init__(self, cluster: Cluster, program: Path, directory: Path) -> None:
        self._cluster, self._program, self._directory = cluster, program, directory
        self.log, self.port, self.mounted = directory / "operator.log", free_port(), directory / "mounted"
        self.mounted.mkdir()
        self._kubeconfig = account(cluster, "keda-operator", directory)
        self._process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        """Update the mounted certificates, and restart the process if it exited, as the kubelet does."""
        mounted = self.mounted
        secret = self._cluster.core.read_namespaced_secret("keda-certificates", "monitoring")
        for name, content in (secret.data or {}).items():
            (mounted / name).write_bytes(base64.b64decode(content))
        if self._process is None or self._process.poll() is not None:
            (container,) = containers(one(of_profile("production"), "Deployment", "keda-operator"))
            variables = {name: value for name, value in environment(container).items() if isinstance(value, str)}
            own = {"POD_NAMESPACE": "monitoring", "KEDA_CLUSTER_OBJECT_NAMESPACE": "monitoring"}
            words = [*container["args"], f"--cert-dir={mounted}", f"--kubeconfig={self._kubeconfig}"]
            words += [f"--{what}-bind-address=127.0.0.1:0" for what in ("metrics", "health-probe")]
            words += [f"--metrics-service-bind-address=127.0.0.1:{self.port}"]
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [self._program, *words], env={**os.environ, **variables, **own}, stdout=log, stderr=log
                )

    def wait(self, what: str, wanted: Any, *, seconds: float = 120) -> None:
        began = time.monotonic()
        while not wanted():
            assert time.monotonic() - began < seconds, f"timed out waiting for {what}: {self.log.read_text()[-3000:]}"
            self.tend()
            time.sleep(1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def built(package: str) -> Path:
    component, _ = components.load().find("keda")
    with cache.lock("bundle"), console.phase(package.rpartition("/")[2]) as step:
        return golang.build(component, [package], phase=step)[package]


@pytest.fixture(scope="module")
def program() -> Path:
    return built(OPERATOR)


@contextlib.contextmanager
def operated(directory: Path, program: Path) -> Iterator[tuple[Cluster, Operator]]:
    """Run an API server with the release, KEDA's operator, and a Prometheus that the ScaledObject queries."""
    with control_plane(directory) as kubeconfig, ThreadingHTTPServer(("127.0.0.1", 0), Answers) as prometheus:
        threading.Thread(target=prometheus.serve_forever, daemon=True).start()
        cluster = Cluster(kubeconfig)
        options = ("--namespace", NAMESPACE, "--create-namespace", "--values", VALUES)
        # Nothing provisions volumes here.
        keepers = ("restaurant.database.postgresql", "kube-prometheus.prometheus")
        volumes = [word for path in keepers for word in ("--set", f"{path}.storage.className=none")]
        address = f"restaurant.autoscaling.saturation.prometheus=http://127.0.0.1:{prometheus.server_port}"
        helm(cluster, "4", "install", RELEASE, render.umbrella(), *options, *volumes, "--set", address)
        operator = Operator(cluster, program, directory)
        try:
            yield cluster, operator
        finally:
            operator.stop()
            prometheus.shutdown()
            cluster.client.rest_client.pool_manager.clear()


def test_the_operator_works_with_its_rights_and_leaves_nothing(tmp_path: Path, program: Path) -> None:
    with operated(tmp_path, program) as (cluster, operator):
        operator.wait("an autoscaler", lambda: autoscalers(cluster) == ["keda-hpa-restaurant"])
        operator.wait("the authority in the APIService", lambda: api_service(cluster).spec.ca_bundle)
        scaler = client.AutoscalingV2Api(cluster.client).read_namespaced_horizontal_pod_autoscaler(
            "keda-hpa-restaurant", "restaurant"
        )
        assert {metric.type for metric in scaler.spec.metrics} == {"External", "Resource"}
        assert scaler.spec.scale_target_ref.name == "restaurant"
        assert float(served(cluster, operator, tmp_path)) == 1.5
        assert any("restaurant_http_saturation_ratio" in query for query in Answers.queries)
        assert "orbidden" not in operator.log.read_text(encoding="utf-8")
        # While KEDA runs, as it does until Helm deletes it: without it, the finalizers of its objects would stay.
        helm(cluster, "4", "uninstall", RELEASE, "--namespace", NAMESPACE, "--timeout", "60s")
        assert scaled_objects(cluster) == []
        cluster.wait(lambda: autoscalers(cluster), what="the autoscaler to go", timeout=120)


def served(cluster: Cluster, operator: Operator, directory: Path) -> str:
    """Return the metric as the metrics server serves it, with the certificate and the service account of its pod."""
    program = built(ADAPTER)
    operator.wait("certificates", (operator.mounted / "tls.key").exists)
    (container,) = containers(one(of_profile("production"), "Deployment", "keda-metrics-apiserver"))
    kubeconfig, port = account(cluster, "keda-metrics-apiserver", directory), free_port()
    words = [word.replace("/certs", str(operator.mounted)) for word in container["args"]]
    words += [f"--secure-port={port}", "--bind-address=127.0.0.1", f"--port={free_port()}"]
    words += [f"--metrics-service-address=127.0.0.1:{operator.port}"]
    words += ["--metrics-service-grpc-authority=keda-operator.monitoring.svc"]
    words += [f"--{who}-kubeconfig={kubeconfig}" for who in ("lister", "authentication", "authorization")]
    variables = {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": "monitoring", "WATCH_NAMESPACE": ""}
    admin = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]["token"]
    url = f"https://127.0.0.1:{port}/apis/external.metrics.k8s.io/v1beta1/namespaces/restaurant/s1-prometheus"
    chosen, headers = {"labelSelector": "scaledobject.keda.sh/name=restaurant"}, {"Authorization": f"Bearer {admin}"}
    authority = ssl.create_default_context(cafile=operator.mounted / "ca.crt")
    with (directory / "adapter.log").open("wb") as log:
        process = subprocess.Popen([program, *words], env={**os.environ, **variables}, stdout=log, stderr=log)
    answers: list[httpx.Response] = []

    def answered() -> bool:
        with contextlib.suppress(httpx.TransportError), httpx.Client(verify=authority) as asking:
            # The certificate is for the name of its Service, which does not resolve here.
            name = {"sni_hostname": "keda-metrics-apiserver.monitoring.svc"}
            request = asking.build_request("GET", url, params=chosen, headers=headers, extensions=name)
            answers.append(asking.send(request))
        return bool(answers) and answers[-1].status_code == 200

    try:
        operator.wait("the metric", answered)
    finally:
        process.kill()
        process.wait()
    return str(answers[-1].json()["items"][0]["value"])


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    """Run a lab with KEDA, where the CPU alone never adds a second pod."""
    with labs.running(NAME, "--values", str(VALUES)) as running:
        yield running.cluster


def test_in_a_lab_node_exporter_exports_the_state_of_the_hosts_services(lab: Cluster) -> None:
    monitoring = Monitoring(lab)

    def missing() -> set[str]:
        active = 'node_systemd_unit_state{name="kubelet.service", state="active"} == 1'
        return {"master", "node1", "node2"} - {labels["node"] for labels, _ in monitoring.query(active)}

    monitoring.wait("the kubelets' services", missing, seconds=180)
    restarts = {labels["node"] for labels, _ in monitoring.query("node_systemd_service_restart_total")}
    assert restarts == {"master", "node1", "node2"}
    assert {value for _, value in monitoring.query('node_scrape_collector_success{collector="systemd"}')} == {1.0}


def external(cluster: Cluster) -> float:
    """Return the metric as the autoscaler gets it from the API server: busy threads, as a number of pods."""
    name = "s1-prometheus"
    scaler = client.AutoscalingV2Api(cluster.client).read_namespaced_horizontal_pod_autoscaler(
        "keda-hpa-restaurant", "restaurant"
    )
    assert [m.external.metric.name for m in scaler.spec.metrics if m.type == "External"] == [name]
    path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/restaurant/{name}"
    status, body = cluster.raw(path, labelSelector="scaledobject.keda.sh/name=restaurant")
    assert status == 200, body
    text = str(json.loads(body)["items"][0]["value"])
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def answers(cluster: Cluster) -> bool:
    try:
        external(cluster)
    except (ApiException, AssertionError, ValueError):
        return False
    return True


def test_in_a_lab_the_restaurant_scales_by_its_busy_threads(lab: Cluster) -> None:
    monitoring = Monitoring(lab)
    began = time.monotonic()
    # KEDA writes its certificates, the kubelet mounts them, and Prometheus needs samples.
    monitoring.wait("external metrics", lambda: not answers(lab), seconds=420)
    served = time.monotonic() - began
    available = {entry.type: entry.status for entry in api_service(lab).status.conditions}
    assert available["Available"] == "True"
    assert api_service(lab).spec.ca_bundle
    assert not api_service(lab).spec.insecure_skip_tls_verify
    monitoring.wait("KEDA to be ready", lambda: state_of(lab, "Ready") != "True", seconds=120)
    jobs = {"keda-operator", "keda-metrics-apiserver"}
    monitoring.wait(
        "KEDA's metrics",
        lambda: jobs - {t["labels"]["job"] for t in monitoring.targets() if t["health"] == "up"},
        seconds=180,
    )
    series = {job: monitoring.value(f'count({{job="{job}"}})') for job in jobs}
    memory = monitoring.value('sum(container_memory_working_set_bytes{pod=~"keda-.+", container!=""})') / 2**20

    idle = external(lab)
    result = load(lab, rate=200, orders=0.5, seconds=240, node="node1")
    rows = [f"| {s.second} | {s.ready} | {s.desired} |" for s in result.samples[::10]]
    assert result.most >= 2, "\n".join(rows)
    # Helm deletes the release, and no finalizer waits for KEDA.
    helm(lab, "4", "uninstall", RELEASE, "--namespace", NAMESPACE, "--timeout", "180s")
    assert scaled_objects(lab) == []
    assert autoscalers(lab) == []
    text = [
        "# The restaurant scales by its busy threads",
        "",
        f"External metrics were served {served:.0f} s after `up`; at rest they say {idle:.3f}.",
        f"200 guests a second for 240 s, a target of 20 %, CPU of no account: {result.most} pods at most.",
        f"KEDA takes {memory:.0f} MiB; series: {', '.join(f'{job} {count:.0f}' for job, count in sorted(series.items()))}.",
        "",
        "| second | Ready | desired |",
        "|---|---|---|",
        *rows,
    ]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(text) + "\n", encoding="utf-8")
