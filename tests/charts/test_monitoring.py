"""The monitoring stack: its rights, its receivers, and the values that it refuses."""

from __future__ import annotations

import configparser
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.charts import Object, containers, environment, of_profile, one, pod_spec
from tests.support.fake_cluster import FakeCluster, make, serve

from maas import process
from maas.bundle import tools
from maas.codegen import lint
from maas.errors import ChartError, ProcessError
from maas.helm import NAMESPACE, RELEASE, render
from maas.helm.client import Helm
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.charts import Rendered

CHART = render.umbrella() / "charts" / "kube-prometheus"


def arguments(workload: Object) -> dict[str, str]:
    (container,) = containers(workload)
    return dict(word.removeprefix("--").partition("=")[::2] for word in container["args"])


def alertmanager(objects: tuple[Object, ...]) -> dict[str, Any]:
    text = one(objects, "Secret", "alertmanager-configuration")["stringData"]["alertmanager.yaml"]
    configuration: dict[str, Any] = yaml.safe_load(text)
    return configuration


def test_every_monitor_and_rule_of_every_namespace_is_selected() -> None:
    # With a selector, a monitor without the label is silently ignored.
    spec = one(of_profile("default"), "Prometheus", "maas")["spec"]
    for kind in ("serviceMonitor", "podMonitor", "probe", "scrapeConfig", "rule"):
        assert spec[f"{kind}Selector"] == {}
        assert spec[f"{kind}NamespaceSelector"] == {}


def test_a_monitor_cannot_send_prometheus_own_token_elsewhere() -> None:
    spec = one(of_profile("default"), "Prometheus", "maas")["spec"]
    assert spec["arbitraryFSAccessThroughSMs"] == {"deny": True}


def test_components_of_kubernetes_are_scraped_with_a_token_and_their_certificates_verified() -> None:
    objects = of_profile("default")
    (way,) = one(objects, "Prometheus", "maas")["spec"]["scrapeClasses"]
    assert set(way["tlsConfig"]) == {"caFile"}
    for name in ("apiserver", "kubelet", "kubelet-cadvisor", "kubelet-probes", "kube-scheduler"):
        spec = one(objects, "ScrapeConfig", name)["spec"]
        assert (spec["scheme"], spec["scrapeClass"]) == ("HTTPS", way["name"])
        assert "tlsConfig" not in spec


def test_self_signed_certificates_of_kubelets_are_accepted_only_if_enabled(rendered: Rendered) -> None:
    objects = rendered("kube-prometheus", scrapes__kubelet__insecureTLS="true")
    for name in ("kubelet", "kubelet-cadvisor", "kubelet-probes"):
        assert one(objects, "ScrapeConfig", name)["spec"]["tlsConfig"] == {"insecureSkipVerify": True}


def test_nothing_is_created_in_kube_system() -> None:
    # The operator's Service for the kubelets would stay after the release, and double their targets.
    options = arguments(one(of_profile("default"), "Deployment", "prometheus-operator"))
    assert options["kubelet-service"] == ""
    assert options["kubelet-endpoints"] == "false"
    assert not [
        entry
        for entry in of_profile("default")
        if entry["metadata"].get("namespace") == "kube-system" and entry["kind"] != "RoleBinding"
    ]


def test_the_operator_reads_single_secrets_and_lists_its_own_namespace_alone() -> None:
    rules = one(of_profile("default"), "ClusterRole", "maas-prometheus-operator")["rules"]
    (secrets,) = (rule for rule in rules if "secrets" in rule["resources"])
    assert secrets["verbs"] == ["get"]
    options = arguments(one(of_profile("default"), "Deployment", "prometheus-operator"))
    for kind in ("prometheus-instance", "alertmanager-instance", "alertmanager-config", "thanos-ruler-instance"):
        assert options[f"{kind}-namespaces"] == "monitoring"


def test_kube_state_metrics_can_read_what_it_exports_and_no_secret() -> None:
    exported = arguments(one(of_profile("default"), "Deployment", "kube-state-metrics"))["resources"].split(",")
    rules = one(of_profile("default"), "ClusterRole", "maas-kube-state-metrics")["rules"]
    assert sorted(exported) == sorted(name for rule in rules for name in rule["resources"])
    assert not {"secrets", "configmaps"} & {*exported}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}


def test_node_exporter_mounts_the_host_read_only() -> None:
    workload = one(of_profile("default"), "DaemonSet", "node-exporter")
    (container,) = containers(workload)
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert not {"hostPID", "hostIPC"} & pod_spec(workload).keys()
    # Not on all addresses of the host.
    assert "--web.listen-address=$(HOST_IP):9100" in container["args"]
    assert workload["metadata"]["namespace"] == "node-exporter"


def test_systemd_is_queried_over_the_hosts_bus_if_enabled(rendered: Rendered) -> None:
    enabled = {"nodeExporter__systemd__enabled": "true", "nodeExporter__systemd__units": json.dumps("kubelet.*")}
    (container,) = containers(one(rendered("kube-prometheus", **enabled), "DaemonSet", "node-exporter"))
    assert "--collector.systemd.unit-include=kubelet.*" in container["args"]
    # Without it the number of restarts is not exported, and NodeSystemdServiceCrashlooping never fires.
    assert "--collector.systemd.enable-restarts-metrics" in container["args"]
    assert environment(container)["DBUS_SYSTEM_BUS_ADDRESS"] == "unix:path=/host/run/dbus/system_bus_socket"
    (container,) = containers(one(of_profile("default"), "DaemonSet", "node-exporter"))
    assert not [word for word in container["args"] if "systemd" in word]
    assert "DBUS_SYSTEM_BUS_ADDRESS" not in environment(container)


def test_every_target_of_a_pod_has_the_label_of_its_node(rendered: Rendered) -> None:
    # By that label the alert of a lost node inhibits those of its pods.
    enabled = {"serviceMonitor__enabled": "true", "database__postgresql__metrics__enabled": "true"}
    objects = of_profile("default") + rendered("restaurant", **enabled)
    objects += rendered("dashboard", headlamp__serviceMonitor__enabled="true")
    monitors = [entry for entry in objects if entry["kind"] == "ServiceMonitor"]
    names = {monitor["metadata"]["name"] for monitor in monitors}
    assert names >= {"prometheus", "maas-restaurant", "maas-restaurant-database", "headlamp"}
    for monitor in monitors:
        for endpoint in monitor["spec"]["endpoints"]:
            relabelings = [rule for rule in endpoint["relabelings"] if rule.get("targetLabel") == "node"]
            # The metrics of kube-state-metrics are about objects, which are not on its own node.
            about_objects = (monitor["metadata"]["name"], endpoint["port"]) == ("kube-state-metrics", "http")
            wanted = [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}]
            assert relabelings == ([] if about_objects else wanted), monitor["metadata"]["name"]


@pytest.mark.parametrize(
    ("size", "kept"), [("10Gi", "8192MiB"), ("500Mi", "400MiB"), ("1.5Gi", "1228MiB"), ("1Ti", "838860MiB")]
)
def test_samples_leave_a_fifth_of_the_volume_free(rendered: Rendered, size: str, kept: str) -> None:
    spec = one(rendered("kube-prometheus", prometheus__storage__size=json.dumps(size)), "Prometheus", "maas")["spec"]
    assert spec["retentionSize"] == kept


def test_without_a_volume_samples_are_limited_by_time_alone(rendered: Rendered) -> None:
    spec = one(rendered("kube-prometheus", prometheus__storage__enabled="false"), "Prometheus", "maas")["spec"]
    assert "retentionSize" not in spec
    assert spec["storage"] == {"emptyDir": {}}


def test_images_that_the_operator_starts_come_from_the_mirror_too() -> None:
    # Images in custom resources and arguments are easily missed in a mirror.
    objects = of_profile("airgap")
    found = [one(objects, kind, "maas")["spec"]["image"] for kind in ("Prometheus", "Alertmanager")]
    found.append(arguments(one(objects, "Deployment", "prometheus-operator"))["prometheus-config-reloader"])
    assert all(image.startswith("mirror.example.org:5000/") for image in found)
    images = set(lint.images_of(list(objects)))
    assert images >= set(found)


def test_remote_write_and_labels_reach_prometheus() -> None:
    spec = one(of_profile("airgap"), "Prometheus", "maas")["spec"]
    assert spec["remoteWrite"] == [{"url": "https://metrics.example.org/api/v1/write"}]
    assert spec["externalLabels"] == {"cluster": "north"}


ROUTES = [
    ({"alertname": "Watchdog", "severity": "none"}, ["dead-mans-switch"]),
    ({"alertname": "InfoInhibitor", "severity": "none"}, ["nobody"]),
    ({"alertname": "KubeNodeNotReady", "severity": "critical"}, ["on-call", "team"]),
    ({"alertname": "KubePodCrashLooping", "severity": "warning"}, ["team"]),
]


def test_alertmanager_accepts_its_configuration(tmp_path: Path) -> None:
    for name in ("default", "airgap"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(alertmanager(of_profile(name))), encoding="utf-8")
        assert "SUCCESS" in process.run([tools.tool("amtool"), "check-config", file]).stdout


@pytest.mark.parametrize(("labels", "receivers"), ROUTES, ids=lambda value: str(value)[:40])
def test_alerts_are_routed_to_their_receivers(tmp_path: Path, labels: dict[str, str], receivers: list[str]) -> None:
    file = tmp_path / "alertmanager.yaml"
    file.write_text(yaml.safe_dump(alertmanager(of_profile("airgap"))), encoding="utf-8")
    matching = [f"{name}={value}" for name, value in labels.items()]
    output = process.run([tools.tool("amtool"), "config", "routes", "test", f"--config.file={file}", *matching]).stdout
    assert output.strip().split(",") == receivers


def test_a_lost_node_inhibits_the_alerts_of_its_pods() -> None:
    rules = alertmanager(of_profile("default"))["inhibit_rules"]
    (node,) = (rule for rule in rules if rule["equal"] == ["cluster", "node"])
    assert node["source_matchers"] == ['alertname=~"KubeNodeNotReady|KubeNodeUnreachable"']
    # It does not inhibit itself.
    assert 'alertname!~"KubeNodeNotReady|KubeNodeUnreachable"' in node["target_matchers"]


def test_credentials_of_receivers_are_read_from_mounted_secrets() -> None:
    objects = of_profile("airgap")
    text = json.dumps(alertmanager(objects)["receivers"])
    files = re.findall(r"/etc/alertmanager/secrets/([^/]+)/([^\"]+)", text)
    assert sorted(files) == [("heartbeat", "url"), ("on-call", "routing-key"), ("team", "url")]
    assert one(objects, "Alertmanager", "maas")["spec"]["secrets"] == ["heartbeat", "on-call", "team"]


def ini(objects: tuple[Object, ...]) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(one(objects, "ConfigMap", "grafana")["data"]["grafana.ini"])
    return parser


def test_grafana_requires_an_account() -> None:
    settings = ini(of_profile("default"))
    assert settings["auth.anonymous"]["enabled"] == "false"
    assert settings["users"]["allow_sign_up"] == "false"
    workload = one(of_profile("default"), "Deployment", "grafana")
    assert pod_spec(workload)["automountServiceAccountToken"] is False


def test_the_data_sources_of_grafana_are_the_services() -> None:
    objects = of_profile("default")
    sources = yaml.safe_load(one(objects, "ConfigMap", "grafana")["data"]["datasources.yaml"])["datasources"]
    for source in sources:
        name, namespace, port = re.fullmatch(r"http://([\w-]+)\.([\w-]+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
        service = one(objects, "Service", name)
        assert service["metadata"]["namespace"] == namespace
        assert int(port) in {entry["port"] for entry in service["spec"]["ports"]}
    assert [source["name"] for source in sources if source.get("isDefault")] == ["Prometheus"]


def test_every_folder_of_dashboards_is_mounted_at_its_provisioned_path() -> None:
    objects = of_profile("default")
    configuration = yaml.safe_load(one(objects, "ConfigMap", "grafana")["data"]["dashboards.yaml"])
    looked = {provider["options"]["path"] for provider in configuration["providers"]}
    workload = one(objects, "Deployment", "grafana")
    mounted = {mount["mountPath"]: mount["name"] for mount in next(containers(workload))["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_spec(workload)["volumes"]}
    assert looked
    for path in looked:
        one(objects, "ConfigMap", volumes[mounted[path]]["configMap"]["name"])


def test_the_client_secret_is_not_in_the_configuration() -> None:
    objects = of_profile("airgap")
    settings = ini(objects)["auth.generic_oauth"]
    assert settings["client_secret"] == "$__file{/etc/grafana/oidc/client-secret}"  # noqa: S105 - where it is
    assert settings["use_pkce"] == "true"
    assert ini(objects)["security"]["cookie_secure"] == "true"


def test_settings_of_the_user_override_the_defaults(rendered: Rendered) -> None:
    objects = rendered("kube-prometheus", grafana__settings='{"users": {"default_theme": "light"}}')
    assert dict(ini(objects)["users"]) == {
        "allow_sign_up": "false",
        "allow_org_create": "false",
        "default_theme": "light",
    }


def verified(entry: Object, name: str, namespace: str) -> None:
    """Assert that a client uses https, and verifies the name and the CA of the certificate."""
    authority = {"secret": {"name": f"{name}-certificate", "key": "ca.crt"}}
    assert entry["scheme"] == "https"
    assert entry["tlsConfig"] == {"ca": authority, "serverName": f"{name}.{namespace}.svc"}


def test_a_component_with_a_certificate_is_scraped_by_https_and_its_certificate_verified() -> None:
    objects = of_profile("airgap")
    for name in ("prometheus", "alertmanager", "kube-state-metrics"):
        for endpoint in one(objects, "ServiceMonitor", name)["spec"]["endpoints"]:
            verified(endpoint, name, "monitoring")
        ports = one(objects, "Service", name)["spec"]["ports"]
        assert {port["appProtocol"] for port in ports} == {"https"}
    (endpoint,) = one(objects, "PodMonitor", "node-exporter")["spec"]["podMetricsEndpoints"]
    verified(endpoint, "node-exporter", "node-exporter")
    (endpoint_of_alertmanager,) = one(objects, "Prometheus", "maas")["spec"]["alerting"]["alertmanagers"]
    verified(endpoint_of_alertmanager, "alertmanager", "monitoring")
    for kind, name in (("Prometheus", "prometheus"), ("Alertmanager", "alertmanager")):
        spec = one(objects, kind, "maas")["spec"]
        secret = f"{name}-certificate"
        assert spec["web"]["tlsConfig"]["cert"]["secret"] == {"name": secret, "key": "tls.crt"}
        assert spec["web"]["tlsConfig"]["keySecret"] == {"name": secret, "key": "tls.key"}
        assert spec["externalUrl"].startswith("https://")


def test_grafana_verifies_the_certificates_of_its_data_sources() -> None:
    objects = of_profile("airgap")
    mounts = {mount["mountPath"] for mount in next(containers(one(objects, "Deployment", "grafana")))["volumeMounts"]}
    for source in yaml.safe_load(one(objects, "ConfigMap", "grafana")["data"]["datasources.yaml"])["datasources"]:
        name = source["type"]
        assert source["url"].startswith(f"https://{name}.monitoring:")
        assert source["jsonData"]["tlsAuthWithCACert"] is True
        assert source["jsonData"]["serverName"] == f"{name}.monitoring.svc"
        assert source["secureJsonData"]["tlsCACert"] == f"$__file{{/etc/grafana/authorities/{name}/ca.crt}}"
        assert f"/etc/grafana/authorities/{name}" in mounts


def test_keda_trusts_the_ca_of_prometheus(rendered: Rendered) -> None:
    enabled = {"keda__enabled": "true", "prometheus__tls__existingSecret": json.dumps("certificate")}
    workload = one(rendered("kube-prometheus", **enabled), "Deployment", "keda-operator")
    (container,) = containers(workload)
    assert "/custom/ca" in {mount["mountPath"] for mount in container["volumeMounts"]}
    secrets = [volume["secret"] for volume in pod_spec(workload)["volumes"]]
    assert {"secretName": "certificate", "items": [{"key": "ca.crt", "path": "ca.crt"}]} in secrets


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "kube-state-metrics"), ("DaemonSet", "node-exporter")])
def test_an_exporter_serves_the_mounted_certificate(kind: str, name: str, tmp_path: Path) -> None:
    objects = of_profile("airgap")
    workload = one(objects, kind, name)
    (container,) = containers(workload)
    assert [word for word in container["args"] if word.endswith("=/certificate/web.yaml")]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    (volume,) = (volume for volume in pod_spec(workload)["volumes"] if volume["name"] == "certificate")
    configuration, secret = volume["projected"]["sources"]
    text = one(objects, "ConfigMap", configuration["configMap"]["name"])["data"]["web.yaml"]
    mounted = {item["path"] for item in secret["secret"]["items"]}
    certify(tmp_path, f"{name}.svc")
    assert {file.name for file in tmp_path.iterdir()} == mounted
    (tmp_path / "web.yaml").write_text(text.replace("/certificate", str(tmp_path)), encoding="utf-8")
    process.run([tools.tool("promtool"), "check", "web-config", tmp_path / "web.yaml"])


@pytest.mark.parametrize(("kind", "name"), [("Prometheus", "prometheus"), ("Alertmanager", "alertmanager")])
def test_the_config_reloader_beside_a_certificate_is_probed_with_tls(kind: str, name: str, rendered: Rendered) -> None:
    # The operator configures its certificate, too, but probes it by http (seen with 0.93): it would restart forever.
    (container,) = one(of_profile("airgap"), kind, "maas")["spec"]["containers"]
    probe = {"httpGet": {"path": "/healthz", "port": "reloader-web", "scheme": "HTTPS"}}
    probes = dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), probe)
    assert container == {"name": "config-reloader", **probes}
    assert "containers" not in one(of_profile("default"), kind, "maas")["spec"]
    values = {f"{name}__tls__existingSecret": '"own"', f"{name}__securityContext__runAsGroup": "65534"}
    both = one(rendered("kube-prometheus", **values), kind, "maas")["spec"]["containers"]
    assert [container["name"] for container in both] == [name, "config-reloader"]


def certify(directory: Path, name: str) -> None:
    """Write a self-signed certificate and its key, as the files of a Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (directory / "tls.crt").write_bytes(made.public_bytes(pem))
    (directory / "tls.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


HOOK = {"name": "hook", "type": "webhook", "existingSecret": "hook"}
REFUSED = [
    (
        {"alertmanager.receivers": [{"name": "hook", "type": "webhook"}]},
        ["receiver hook needs a Secret", "receivers[0].existingSecret", "kubectl -n maas create secret"],
    ),
    ({"alertmanager.receivers": [HOOK, HOOK]}, ["name of the receiver hook is already used", "alertmanager.receivers"]),
    ({"alertmanager.receivers": [{**HOOK, "type": "pigeon"}]}, ["/alertmanager/receivers/0/type"]),
    (
        {"alertmanager.receivers": [HOOK], "alertmanager.existingSecret": "own"},
        ["alertmanager.existingSecret is the whole", "receivers: []"],
    ),
    ({"grafana.oidc.enabled": True}, ["needs grafana.oidc.clientId"]),
    ({"grafana.ingress.enabled": True}, ["grafana.ingress.hosts: [grafana.example.org]"]),
    ({"prometheus.httpRoute.enabled": True}, ["prometheus.httpRoute.parentRefs"]),
    ({"prometheus.scrapeInterval": "30"}, ["/prometheus/scrapeInterval"]),
    ({"prometheus.retention": "two weeks"}, ["/prometheus/retention"]),
    ({"prometheus.retentionSize": "8Gi"}, ["/prometheus/retentionSize"]),
    ({"prometheus.storage.size": "10"}, ["/prometheus/storage/size"]),
    ({"prometheus.replicas": 0}, ["/prometheus/replicas"]),
    ({"scrapes.etcd": False}, ["/scrapes/etcd", "want object"]),
    ({"nodeExporter.textfileDirectory": "metrics"}, ["/nodeExporter/textfileDirectory"]),
    ({"kubeStateMetrics.labels": ["pods=team"]}, ["/kubeStateMetrics/labels/0"]),
    ({"prometheus.serviceMonitorSelector": {}}, ["additional properties 'serviceMonitorSelector' not allowed"]),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=lambda value: str(value)[:50])
def test_bad_input_is_refused_with_the_value_and_the_fix(settings: dict[str, Any], words: list[str]) -> None:
    pairs = tuple((path, json.dumps(value)) for path, value in settings.items())
    with pytest.raises(ChartError) as refused:
        render.render_uncached(Request(CHART, settings=pairs))
    message = "\n".join(refused.value.context)
    for word in words:
        assert word in message


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    render.copy_with_libraries(CHART, tmp_path / CHART.name)
    with serve(tmp_path) as found:
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        found.objects.append(make("storage.k8s.io/v1/StorageClass", "fast", annotations=default))
        found.objects += [make("v1/Namespace", "kube-system"), make("v1/Namespace", "maas")]
        yield found


def refusal(cluster: FakeCluster, setting: str = f"alertmanager.receivers={json.dumps([HOOK])}") -> str:
    options = [f"--namespace={NAMESPACE}", f"--kubeconfig={cluster.kubeconfig}", "--dry-run=server"]
    options += ["--disable-openapi-validation", f"--set-json={setting}"]
    try:
        chart = cluster.kubeconfig.parent / CHART.name
        process.run([Helm.pinned("4").executable, "template", RELEASE, chart, *options], timeout=60)
    except ProcessError as error:
        return error.stderr
    return ""


def test_a_receivers_secret_must_be_in_the_cluster(cluster: FakeCluster) -> None:
    # Otherwise Alertmanager's pod would wait for it forever.
    message = refusal(cluster)
    assert "The receiver hook needs the Secret hook, which does not exist in the namespace maas" in message
    assert "kubectl -n maas create secret generic hook --from-file=url=FILE" in message


def test_a_receiver_in_a_first_installation_is_refused_with_the_second_step(cluster: FakeCluster) -> None:
    cluster.objects.pop()
    message = refusal(cluster)
    assert "the namespace maas, which only the first installation creates" in message
    assert "upgrade with it" in message


def test_a_receivers_secret_must_have_its_key(cluster: FakeCluster) -> None:
    cluster.objects.append(make("v1/Secret", "hook", namespace="maas", data={"address": "eA=="}))
    message = refusal(cluster)
    assert "needs the key url in the Secret hook" in message
    assert "has these keys: address." in message


def test_a_receiver_with_its_secret_is_accepted(cluster: FakeCluster) -> None:
    cluster.objects.append(make("v1/Secret", "hook", namespace="maas", data={"url": "eA=="}))
    assert refusal(cluster) == ""


@pytest.mark.parametrize("component", ["prometheus", "alertmanager", "nodeExporter", "kubeStateMetrics"])
def test_a_certificate_must_be_in_the_cluster_with_its_ca(cluster: FakeCluster, component: str) -> None:
    setting = f"{component}.tls.existingSecret={json.dumps('own')}"
    message = refusal(cluster, setting)
    assert f"the Secret own, which does not exist in the namespace maas ({component}.tls.existingSecret)" in message
    cluster.objects.append(make("v1/Secret", "own", namespace="maas", data={"tls.crt": "eA==", "tls.key": "eA=="}))
    message = refusal(cluster, setting)
    assert "needs the key ca.crt in the Secret own" in message
    assert "has these keys: tls.crt, tls.key." in message
    cluster.objects[-1]["data"]["ca.crt"] = "eA=="
    assert refusal(cluster, setting) == ""
