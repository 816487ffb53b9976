"""Two teams on the cluster: each border is tried from inside of a team, with the rights of its members."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.control_plane import free_port

from maas.bundle import tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.labs import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

OWN = "team-a"
OTHER = "team-b"
SERVER = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b'team_value{job="apiserver",namespace="monitoring"} 7\\n')
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""
REACH = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print("reached")
    except OSError:
        print("not reached")
"""


QUOTA_SECONDS = 330
"""The controller of quotas looks every five minutes whether it knows the kinds that a quota counts."""


def member(lab: Lab, *arguments: str, stdin: str = "", team: str = OWN) -> str:
    """Run kubectl as a member of a team and return its output, or its error."""
    try:
        return lab.kubectl(f"--as={team}-member", *arguments, stdin=stdin)
    except ValueError as refused:
        return str(refused)


def objects(namespace: str, image: str) -> list[dict[str, Any]]:
    """A program with metrics, its monitor, a rule and a route."""
    labels = {"app": "web"}
    safe = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "web", "image": image, "command": ["python3", "-c", SERVER],
        "ports": [{"name": "metrics", "containerPort": 8000}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    monitor = {
        "selector": {"matchLabels": labels}, "sampleLimit": 20, "targetLimit": 2, "bodySizeLimit": "64KB",
        "podMetricsEndpoints": [{"port": "metrics", "followRedirects": False, "interval": "15s"}],
    }  # fmt: skip
    rule = {"alert": "TeamValue", "expr": "team_value > 0", "labels": {"severity": "info"}}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "metadata": {"name": "web", "namespace": namespace}}
    route = {"receiver": "none", "groupBy": ["alertname"]}
    return [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace, "labels": labels},
            "spec": {"automountServiceAccountToken": False, "securityContext": safe, "containers": [container], "terminationGracePeriodSeconds": 0},
        },
        {**kind, "kind": "PodMonitor", "spec": monitor},
        {**kind, "kind": "PrometheusRule", "spec": {"groups": [{"name": "web", "limit": 5, "rules": [rule]}]}},
        {**kind, "apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig", "spec": {"route": route, "receivers": [{"name": "none"}]}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def image(lab: Lab) -> str:
    return lab.kubectl(
        "get", "deployment", "restaurant", "-n", "restaurant",
        "--output=jsonpath={.spec.template.spec.containers[0].image}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def teams(lab: Lab, image: str) -> Iterator[None]:
    """What both teams deploy, as their members."""
    for team in (OWN, OTHER):
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(team, image)})
        until = time.monotonic() + QUOTA_SECONDS
        while "status unknown for quota" in (said := member(lab, "apply", "--filename=-", stdin=manifest, team=team)):
            assert time.monotonic() < until, said
            time.sleep(5)
        assert said.count("created") + said.count("unchanged") == 4, said
        lab.kubectl("wait", "pod/web", "-n", team, "--for=condition=Ready", "--timeout=120s")
    yield
    for team in (OWN, OTHER):
        lab.kubectl("delete", "pod,podmonitor,prometheusrule,alertmanagerconfig", "web", "-n", team, "--wait=false")


def query(lab: Lab, expression: str) -> list[dict[str, Any]]:
    """Run a query with the rights of the platform."""
    path = "/api/v1/namespaces/monitoring/services/prometheus:web/proxy/api/v1/query"
    found = lab.kubectl("get", "--raw", f"{path}?query={urllib.parse.quote(expression)}")
    result: list[dict[str, Any]] = json.loads(found)["data"]["result"]
    return result


@pytest.mark.usefixtures("teams")
def test_series_and_alerts_of_a_team_have_its_namespace_whatever_its_program_says(lab: Lab) -> None:
    deadline = time.monotonic() + 240
    while len(found := query(lab, 'ALERTS{alertname="TeamValue",alertstate="firing"}')) < 2:
        assert time.monotonic() < deadline, "the rules of the teams have no alerts"
        time.sleep(3)
    assert {alert["metric"]["namespace"] for alert in found} == {OWN, OTHER}
    series = [entry["metric"] for entry in query(lab, "team_value")]
    assert {(entry["namespace"], entry["job"]) for entry in series} == {(team, f"{team}/web") for team in (OWN, OTHER)}


@pytest.mark.usefixtures("teams")
def test_a_route_of_a_team_gets_the_alerts_of_its_namespace_only(lab: Lab) -> None:
    deadline = time.monotonic() + 120
    path = "/api/v1/namespaces/monitoring/services/alertmanager:web/proxy/api/v2/status"
    while f"{OWN}/web/none" not in (config := json.loads(lab.kubectl("get", "--raw", path))["config"]["original"]):
        assert time.monotonic() < deadline, "Alertmanager does not have the team's route"
        time.sleep(3)
    routes = config.split("routes:")[1].split("- receiver:")
    (own,) = [route for route in routes if route.strip().startswith(f"{OWN}/web/none")]
    assert f'namespace="{OWN}"' in own


@pytest.mark.usefixtures("teams")
def test_pods_of_a_team_reach_neither_prometheus_nor_alertmanager(lab: Lab) -> None:
    targets = ["prometheus.monitoring:9090", "alertmanager.monitoring:9093", "kube-state-metrics.monitoring:8080"]
    listed = member(lab, "exec", "web", "-n", OWN, "--", "python3", "-c", REACH, "localhost:8000", *targets)
    assert listed.splitlines() == ["reached", *["not reached"] * 3]


@pytest.mark.usefixtures("teams")
def test_a_member_neither_sees_nor_changes_another_namespace(lab: Lab) -> None:
    for words in (("get", "pods"), ("delete", "pod", "web"), ("get", "secrets"), ("exec", "web", "--", "true")):
        for namespace in (OTHER, "monitoring", "kube-system"):
            assert "forbidden" in member(lab, "-n", namespace, *words).lower(), (words, namespace)
    monitor = objects(OWN, "")[1]
    beyond = {**monitor, "metadata": {"name": "beyond", "namespace": OWN}, "spec": {**monitor["spec"], "namespaceSelector": {"any": True}}}  # fmt: skip
    assert "selects in its own namespace only" in member(lab, "create", "--filename=-", stdin=json.dumps(beyond))


@pytest.fixture
def viewer(lab: Lab) -> Iterator[Callable[[str], tuple[int, Any]]]:
    """Requests to the viewer as a member."""
    account = "member"
    lab.kubectl("create", "serviceaccount", account, "-n", OWN)
    token = lab.kubectl("create", "token", account, "-n", OWN, "--duration=10m").strip()
    port = free_port()
    words = [str(tools.tool("kubectl")), f"--kubeconfig={lab.cluster.kubeconfig}", "-n", "monitoring"]
    command = [*words, "port-forward", "service/perses", f"{port}:80"]

    def ask(path: str) -> tuple[int, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as forward:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    ask("/api/session")
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.5)
            yield ask
        finally:
            forward.terminate()
            lab.kubectl("delete", "serviceaccount", account, "-n", OWN)


@pytest.mark.usefixtures("teams")
def test_the_viewer_shows_a_member_the_namespace_of_the_team_only(
    lab: Lab, viewer: Callable[[str], tuple[int, Any]]
) -> None:
    assert query(lab, f'up{{namespace="{OTHER}"}}'), "without series of others, an answer without them means nothing"
    assert viewer("/api/session")[1]["namespaces"] == [OWN]
    for expression in ("up", f'up{{namespace="{OTHER}"}}', '{__name__=~".+"}', 'count by (namespace) ({job!=""})'):
        status, document = viewer(f"/prometheus/api/v1/query?query={urllib.parse.quote(expression)}")
        assert status == 200
        namespaces = {entry["metric"]["namespace"] for entry in document["data"]["result"]}
        assert namespaces == {OWN}, expression
    assert viewer("/prometheus/api/v1/label/namespace/values")[1]["data"] == [OWN]
    rules = viewer("/prometheus/api/v1/rules?type=alert")[1]["data"]["groups"]
    shown = {alert["labels"]["namespace"] for group in rules for rule in group["rules"] for alert in rule["alerts"]}
    assert shown <= {OWN}
    alerts = viewer("/alertmanager/api/v2/alerts")[1]
    assert {alert["labels"]["namespace"] for alert in alerts} <= {OWN}
    assert viewer("/alertmanager/api/v2/status")[0] == 403
