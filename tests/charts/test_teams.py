"""Teams on a real API server: what the chart renders for them, and that no border of a team can be crossed."""

from __future__ import annotations

import copy
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.charts import Object, helm, of_profile, one, refusal
from tests.support.control_plane import control_plane
from yaml import safe_load

from maas.cluster.client import Cluster
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHART = render.umbrella() / "charts" / "kube-prometheus"
TEAMS = {
    "shop": {
        "view": {"groups": ["sales"]},
        "edit": {"users": ["marie"]},
        "limits": {"seriesPerMonitor": 500, "monitors": 1},
    },
    "billing": {"edit": {"users": ["paul"]}, "podSecurity": "baseline", "quota": {"requests.cpu": "2"}},
}
MONITORS = "apis/monitoring.coreos.com/v1/namespaces/shop"


def rendered(teams: Any = TEAMS, **more: Any) -> tuple[Object, ...]:
    settings = {"teams.namespaces": teams} | {path.replace("__", "."): value for path, value in more.items()}
    return render.objects(Request(CHART, settings=tuple((path, json.dumps(value)) for path, value in settings.items())))


def kinds(objects: tuple[Object, ...], namespace: str) -> dict[str, Object]:
    return {entry["kind"]: entry for entry in objects if entry["metadata"].get("namespace") == namespace}


def test_without_teams_nothing_is_limited() -> None:
    objects = of_profile("default")
    assert not [entry for entry in objects if entry["kind"].startswith("ValidatingAdmissionPolicy")]
    assert "enforcedNamespaceLabel" not in one(objects, "Prometheus", "maas")["spec"]
    (web,) = [
        rule
        for rule in one(objects, "NetworkPolicy", "prometheus")["spec"]["ingress"]
        if "from" not in rule and rule["ports"][0]["port"] == "web"
    ]
    assert web


def test_a_team_has_a_namespace_members_and_a_quota() -> None:
    objects = rendered()
    namespace = one(objects, "Namespace", "shop")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["annotations"] == {"helm.sh/resource-policy": "keep"}
    billing = one(objects, "Namespace", "billing")["metadata"]
    assert billing["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    hard = kinds(objects, "shop")["ResourceQuota"]["spec"]["hard"]
    assert hard["count/servicemonitors.monitoring.coreos.com"] == 1
    assert hard["count/alertmanagerconfigs.monitoring.coreos.com"] == 2
    assert kinds(objects, "billing")["ResourceQuota"]["spec"]["hard"]["requests.cpu"] == "2"


def test_the_platform_alone_reads_all_namespaces() -> None:
    objects = rendered(teams__trustedNamespaces=["infrastructure"], nodeExporter__namespaceOverride="node-exporter")
    spec = one(objects, "Prometheus", "maas")["spec"]
    assert spec["enforcedNamespaceLabel"] == "namespace"
    excluded = {entry["namespace"] for entry in spec["excludedFromEnforcement"]}
    assert excluded == {"maas", "node-exporter", "infrastructure"}
    spec = one(objects, "Alertmanager", "maas")["spec"]
    assert spec["alertmanagerConfigMatcherStrategy"] == {"type": "OnNamespaceExceptForAlertmanagerNamespace"}
    (selected,) = spec["alertmanagerConfigNamespaceSelector"]["matchExpressions"]
    assert selected["values"] == ["maas", "billing", "shop"]
    arguments = one(objects, "Deployment", "prometheus-operator")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--alertmanager-config-namespaces=maas,billing,shop" in arguments
    role = kinds(objects, "shop")["Role"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list", "watch"]}
    ]


def test_pods_of_teams_reach_neither_prometheus_nor_alertmanager() -> None:
    objects = rendered(global__apiServer__addresses=["10.90.0.1/32"])
    for name in ("prometheus", "alertmanager"):
        rules = one(objects, "NetworkPolicy", name)["spec"]["ingress"]
        assert all("from" in rule for rule in rules)
        everyone = [peer for rule in rules for peer in rule["from"] if "podSelector" not in peer]
        expression = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["billing", "shop"]}
        assert everyone == [
            {"namespaceSelector": {"matchExpressions": [expression]}},
            {"ipBlock": {"cidr": "10.90.0.1/32"}},
        ]


def test_alerts_of_teams_neither_keep_the_watchdog_alive_nor_inhibit_others() -> None:
    config = safe_load(one(rendered(), "Secret", "alertmanager-configuration")["stringData"]["alertmanager.yaml"])
    assert 'namespace!~"billing|shop"' in config["route"]["routes"][0]["matchers"]
    lost = [rule for rule in config["inhibit_rules"] if "node" in rule["equal"]]
    assert all('namespace!~"billing|shop"' in rule["source_matchers"] for rule in lost)
    assert all("namespace" in rule["equal"] for rule in config["inhibit_rules"] if rule not in lost)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"teams__namespaces": {"shop": {}}}, "has no members"),
        ({"teams__namespaces": {"maas": {"edit": {"users": ["a"]}}}}, "belongs to the platform or is trusted"),
        ({"teams__namespaces": {"kube-system": {"edit": {"users": ["a"]}}}}, "belongs to the platform or is trusted"),
        ({"teams__namespaces": {"Shop": {"edit": {"users": ["a"]}}}}, "Shop"),
        ({"teams__namespaces": {"shop": {"edit": {"users": []}}}}, "users"),
        ({"teams__namespaces": {"shop": {"edit": {}}}}, "edit"),
        ({"teams__namespaces": {"shop": {"editors": {"users": ["a"]}}}}, "editors"),
        ({"teams__namespaces": {"shop": {"edit": {"accounts": ["deployer"]}}}}, "accounts"),
        ({"teams__namespaces": {"shop": {"edit": {"users": ["a"]}, "podSecurity": "privileged"}}}, "podSecurity"),
        (
            {"teams__namespaces": {"shop": {"edit": {"users": ["a"]}, "podSecurity": "baseline", "create": False}}},
            "has no effect on a namespace that exists",
        ),
        ({"teams__namespaces": {"shop": {"edit": {"users": ["a"]}, "limits": {"monitors": 0}}}}, "monitors"),
        (
            {
                "teams__namespaces": {
                    "shop": {
                        "edit": {"users": ["a"]},
                        "quota": {"count/probes.monitoring.coreos.com": 1},
                    }
                }
            },
            "teams.namespaces.shop.limits sets",
        ),
        (
            {
                "teams__namespaces": {"shop": {"edit": {"users": ["a"]}}},
                "grafana__oidc": {
                    "enabled": True, "clientId": "a", "existingSecret": "a",
                    "authUrl": "https://a", "tokenUrl": "https://a",
                },
                "grafana__externalUrl": "https://a/",
            },
            "Grafana shows all namespaces to everyone who logs in",
        ),
    ],
)  # fmt: skip
def test_a_wrong_team_is_refused(values: dict[str, Any], complaint: str) -> None:
    assert complaint in refusal("4", CHART, **values)


def test_a_namespace_of_another_chart_is_refused() -> None:
    settings: dict[str, Any] = {"kube-prometheus.teams.namespaces": {"restaurant": {"edit": {"users": ["a"]}}}}
    message = refusal("4", **settings)
    assert "kube-prometheus.teams.namespaces.restaurant: the namespace restaurant belongs to the platform" in message


class Api:
    """The API server, as any user."""

    def __init__(self, cluster: Cluster) -> None:
        config = safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
        context = ssl.create_default_context(cafile=cluster.client.configuration.ssl_ca_cert)
        self._token = config["users"][0]["user"]["token"]
        self.http = httpx.Client(base_url=config["clusters"][0]["cluster"]["server"], verify=context)

    def _headers(self, user: str, group: str) -> dict[str, str]:
        as_user = {"Impersonate-User": user} | ({"Impersonate-Group": group} if group else {})
        return {"Authorization": f"Bearer {self._token}"} | (as_user if user else {})

    def post(self, path: str, body: Any, *, user: str = "", dry: bool = True) -> tuple[int, str]:
        """Create an object, by default without keeping it, and return status and message."""
        query = {"dryRun": "All"} if dry else {}
        answer = self.http.post(f"/{path}", json=body, params=query, headers=self._headers(user, ""), timeout=30)
        return answer.status_code, answer.json().get("message", "")

    def may(self, user: str, permission: tuple[str, str, str], namespace: str, *, member: str = "") -> bool:
        """Whether a user may: verb, API group and resource."""
        verb, group, resource = permission
        name, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": name, "subresource": subresource}
        body = {"spec": {"resourceAttributes": {**attributes, "namespace": namespace}}}
        headers = self._headers(user, member)
        answer = self.http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body, headers=headers)
        return bool(answer.raise_for_status().json()["status"]["allowed"])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A real API server with two teams, with the controller of quotas."""
    directory: Path = tmp_path_factory.mktemp("control-plane")
    controllers = ("namespace-controller", "resourcequota-controller", "serviceaccount-controller")
    with control_plane(directory, controllers=controllers) as kubeconfig:
        cluster = Cluster(kubeconfig)
        chart = render.copy_with_libraries(CHART, directory / "kube-prometheus")
        values = directory / "values.yaml"
        off = {"enabled": False}
        values.write_text(
            json.dumps(
                {
                    "teams": {"namespaces": TEAMS},
                    "rules": off,
                    "metricsServer": off,
                    "dashboards": {"enabled": False, "engine": "none"},
                }
            )
        )
        helm(cluster, "4", "install", "maas", chart, "--namespace=maas", "--create-namespace", f"--values={values}",
             "--set=prometheus.storage.enabled=false")  # fmt: skip
        client = Api(cluster)
        # Policies and quotas take effect a moment after their creation.
        deadline = time.monotonic() + 120
        for body, wanted in ((monitor(scrapeClass="a"), 422), (monitor(), 201), (pods(), 201), (rules(**ALERT), 201)):
            path = f"{MONITORS}/{body['kind'].lower()}s"
            while (found := client.post(path, body))[0] != wanted:
                assert time.monotonic() < deadline, found
                time.sleep(0.5)
        yield client
        client.http.close()
        cluster.client.rest_client.pool_manager.clear()


def monitor(**spec: Any) -> dict[str, Any]:
    """A ServiceMonitor that a team may have."""
    endpoint = {
        "port": "metrics",
        "followRedirects": False,
        "relabelings": [{"targetLabel": "job", "replacement": "shop/web"}],
    }
    own = {
        "selector": {"matchLabels": {"app": "web"}}, "endpoints": [endpoint],
        "sampleLimit": 100, "targetLimit": 5, "bodySizeLimit": "1MB",
    }  # fmt: skip
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "web"},
        "spec": own | spec,
    }


def endpoint(**fields: Any) -> dict[str, Any]:
    """The same, with other fields of its endpoint."""
    made = copy.deepcopy(monitor())
    made["spec"]["endpoints"][0] |= fields
    return made


def pods(**spec: Any) -> dict[str, Any]:
    """A PodMonitor that a team may have."""
    own = {
        "selector": {"matchLabels": {"app": "web"}}, "podMetricsEndpoints": [{"port": "metrics", "followRedirects": False}],
        "sampleLimit": 100, "targetLimit": 5, "bodySizeLimit": "512KB",
    }  # fmt: skip
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": "web"},
        "spec": own | spec,
    }


def rules(limit: int = 20, interval: str = "1m", **rule: Any) -> dict[str, Any]:
    """A PrometheusRule with one rule."""
    group = {"name": "web", "limit": limit, "interval": interval, "rules": [rule]}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "web"},
        "spec": {"groups": [group]},
    }


JOB = {"targetLabel": "job", "replacement": "shop/web"}
ALERT: dict[str, Any] = {"alert": "Down", "expr": "up == 0"}


@pytest.mark.parametrize(
    "accepted",
    [
        monitor(),
        monitor(namespaceSelector={"matchNames": ["shop"]}),
        endpoint(metricRelabelings=[{"action": "drop", "sourceLabels": ["__name__"], "regex": "go_.*"}]),
        endpoint(relabelings=[JOB, {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}]),
        endpoint(interval="1m", scrapeTimeout="10s"),
        pods(),
        rules(**ALERT),
        rules(alert="Slow", expr='rate(seconds_sum{namespace="shop"}[5m]) > 1', annotations={"summary": "A query of {{ $labels.pod }} is slow."}),
        rules(record="team_shop:requests:rate5m", expr="sum(rate(requests_total{exported_namespace='x'}[5m]))"),
        rules(record="team_shop:one:sum", expr=1),
    ],
)  # fmt: skip
def test_what_a_team_needs_is_accepted(api: Api, accepted: dict[str, Any]) -> None:
    path = f"{MONITORS}/{accepted['kind'].lower()}s"
    assert api.post(path, accepted, user="marie") == (201, "")


@pytest.mark.parametrize(
    ("refused", "complaint"),
    [
        (monitor(namespaceSelector={"any": True}), "selects in its own namespace only"),
        (monitor(namespaceSelector={"matchNames": ["shop", "billing"]}), "selects in its own namespace only"),
        (monitor(sampleLimit=0), "set sampleLimit"),
        (monitor(targetLimit=0), "and targetLimit"),
        (monitor(sampleLimit=101), "is 505, but a monitor of this team may have 500 series"),
        (monitor(endpoints=monitor()["spec"]["endpoints"] * 2), "is 1000, but a monitor of this team may have 500"),
        (monitor(bodySizeLimit="11MB"), "set bodySizeLimit"),
        (monitor(bodySizeLimit="0.5GB"), "set bodySizeLimit"),
        (monitor(bodySizeLimit="0"), "set bodySizeLimit"),
        (monitor(scrapeNativeHistograms=True), "nativeHistogramBucketLimit"),
        (monitor(scrapeClass="kubernetes"), "scrapeClass"),
        (monitor(jobLabel="app"), "jobLabel"),
        (monitor(targetLabels=["job"]), "targetLabels"),
        (endpoint(followRedirects=True), "set followRedirects: false"),
        (endpoint(proxyUrl="http://kube-state-metrics.monitoring:8080"), "they lead out of the namespace"),
        (endpoint(proxyFromEnvironment=True), "they lead out of the namespace"),
        (endpoint(oauth2={"clientId": {"secret": {"name": "a", "key": "a"}}, "clientSecret": {"name": "a", "key": "a"}, "tokenUrl": "http://a"}), "they lead out"),
        (endpoint(honorLabels=True), "honorLabels"),
        (endpoint(interval="1s"), "at least 15s"),
        (endpoint(interval="14s999ms"), "at least 15s"),
        (endpoint(relabelings=[JOB, {"targetLabel": "__address__", "replacement": "kube-state-metrics.monitoring:8080"}]), "they change the address"),
        (endpoint(relabelings=[JOB, {"targetLabel": "__metrics_path__", "replacement": "/federate"}]), "they change the address"),
        (endpoint(relabelings=[JOB, {"targetLabel": "${1}", "sourceLabels": ["a"], "replacement": "x"}]), "they change the address"),
        (endpoint(relabelings=[JOB, {"action": "labelmap", "regex": "__meta_kubernetes_service_label_(.*)"}]), "no labelmap"),
        (endpoint(relabelings=[JOB, {"action": "LabelMap", "regex": "(.*)"}]), "no labelmap"),
        (endpoint(relabelings=[]), "relabelings: [{targetLabel: job, replacement: shop/NAME}]"),
        (endpoint(relabelings=[{"targetLabel": "job", "replacement": "apiserver"}]), "a replacement that begins with shop/"),
        (endpoint(relabelings=[JOB, {"targetLabel": "job", "sourceLabels": ["a"], "replacement": "shop/x"}]), "a replacement that begins with shop/"),
        (endpoint(metricRelabelings=[{"targetLabel": "job", "replacement": "apiserver"}]), "a replacement that begins with shop/"),
        (endpoint(metricRelabelings=[{"targetLabel": "a$1", "sourceLabels": ["a"]}]), "no $ in targetLabel"),
        (endpoint(metricRelabelings=[{"action": "labelmap", "regex": "exported_(.*)"}]), "no labelmap"),
        (pods(namespaceSelector={"any": True}), "selects in its own namespace only"),
        (pods(jobLabel="app"), "jobLabel"),
        (pods(podMetricsEndpoints=[{"port": "metrics"}]), "set followRedirects: false"),
        (pods(podMetricsEndpoints=[{"port": "a", "followRedirects": False, "relabelings": [{"targetLabel": "__address__", "replacement": "a"}]}]), "they change the address"),
        (rules(alert="A", expr='up{namespace="billing"} == 0'), 'or use namespace="shop"'),
        (rules(alert="A", expr='up{a="b", namespace =~ "shop|billing"} == 0'), "a team reads its own namespace only"),
        (rules(alert="A", expr="up{namespace!='shop'} == 0"), "a team reads its own namespace only"),
        (rules(alert="A", expr="up{namespace=`billing`} == 0"), "a team reads its own namespace only"),
        (rules(record="up", expr="vector(1)"), "the names of a team begin with team_shop:"),
        (rules(record="team_billing:a:b", expr="vector(1)"), "the names of a team begin with team_shop:"),
        (rules(**ALERT, annotations={"text": '{{ "}" }} {{ range query "up" }}{{ . }}{{ end }}'}), "no query in a template"),
        (rules(**ALERT, labels={"text": '{{ with query "up" }}{{ end }}'}), "no query in a template"),
        (rules(limit=0, **ALERT), "set limit"),
        (rules(limit=201, **ALERT), "at most 200"),
        (rules(interval="5s", **ALERT), "at least 15s"),
        ({**rules(), "spec": {"groups": [{"name": "a", "limit": 1, "rules": [ALERT] * 51}]}}, "at most 50 rules"),
    ],
)  # fmt: skip
def test_what_reaches_beyond_a_team_is_refused_with_its_reason(
    api: Api, refused: dict[str, Any], complaint: str
) -> None:
    for user in ("marie", ""):  # the policies are the same for everyone
        status, message = api.post(f"{MONITORS}/{refused['kind'].lower()}s", refused, user=user)
        assert (status, complaint in message) == (422, True), message


def test_objects_that_reach_every_address_are_refused_even_for_an_administrator(api: Api) -> None:
    probe = {
        "apiVersion": "monitoring.coreos.com/v1", "kind": "Probe", "metadata": {"name": "a"},
        "spec": {"prober": {"url": "a:80"}, "targets": {"staticConfig": {"static": ["a"]}}},
    }  # fmt: skip
    scrape = {"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "ScrapeConfig", "metadata": {"name": "a"}, "spec": {"staticConfigs": [{"targets": ["a:1"]}]}}  # fmt: skip
    alpha = MONITORS.replace("/v1/", "/v1alpha1/")
    assert "which reach every address" in api.post(f"{MONITORS}/probes", probe)[1]
    assert "which reach every address" in api.post(f"{alpha}/scrapeconfigs", scrape)[1]
    elsewhere = f"{MONITORS}/probes".replace("/shop/", "/maas/")
    assert api.post(elsewhere, probe) == (201, "")


def test_services_and_pods_cannot_take_what_is_the_platforms(api: Api) -> None:
    def service(**spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}], **spec}}

    assert api.post("api/v1/namespaces/shop/services", service(), user="marie") == (201, "")
    status, message = api.post("api/v1/namespaces/shop/services", service(externalIPs=["10.96.0.1"]), user="marie")
    assert status == 422
    assert "externalIPs" in message

    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    safe = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}

    def pod(**spec: Any) -> dict[str, Any]:
        container = {"name": "a", "image": "a", "securityContext": secure}
        return {"metadata": {"name": "a"}, "spec": {"containers": [container], "securityContext": safe, **spec}}

    pods = "api/v1/namespaces/shop/pods"
    assert api.post(pods, pod(), user="marie") == (201, "")
    status, message = api.post(pods, pod(priorityClassName="system-node-critical"), user="marie")
    assert status == 422
    assert "priorityClassName" in message
    status, message = api.post(pods, pod(hostNetwork=True), user="marie")
    assert status == 403
    assert "PodSecurity" in message


def test_a_member_acts_in_the_namespace_of_the_team_and_in_no_other(api: Api) -> None:
    everything = [
        ("get", "", "pods"), ("get", "", "secrets"), ("create", "apps", "deployments"),
        ("create", "monitoring.coreos.com", "servicemonitors"), ("get", "metrics.k8s.io", "pods"),
        ("create", "monitoring.coreos.com", "alertmanagerconfigs"),
    ]  # fmt: skip
    for what in everything:
        assert api.may("marie", what, "shop"), what
        for namespace in ("billing", "maas", "kube-system", ""):
            assert not api.may("marie", what, namespace), (what, namespace)
    assert api.may("anna", ("get", "", "pods"), "shop", member="sales")
    for what in (("get", "", "secrets"), ("create", "apps", "deployments"), ("get", "", "pods/exec")):
        assert not api.may("anna", what, "shop", member="sales")
    beyond = [
        ("create", "", "endpoints"), ("create", "discovery.k8s.io", "endpointslices"),
        ("create", "monitoring.coreos.com", "probes"), ("create", "monitoring.coreos.com", "scrapeconfigs"),
        ("create", "monitoring.coreos.com", "prometheuses"), ("update", "", "resourcequotas"),
        ("update", "", "namespaces"), ("create", "rbac.authorization.k8s.io", "rolebindings"),
        ("update", "", "pods/status"), ("create", "", "services/proxy"), ("get", "", "pods/proxy"),
        ("create", "networking.k8s.io", "ingressclasses"), ("create", "keda.sh", "scaledobjects"),
    ]  # fmt: skip
    for what in beyond:
        assert not api.may("marie", what, "shop"), what


def test_the_quota_counts_monitors(api: Api) -> None:
    assert api.post(f"{MONITORS}/servicemonitors", monitor(), user="marie", dry=False) == (201, "")
    second = {**monitor(), "metadata": {"name": "second"}}
    status, message = api.post(f"{MONITORS}/servicemonitors", second, user="marie")
    assert status == 403
    assert "exceeded quota: maas-team" in message
