"""Charts in a cluster that is not empty: what they detect, refuse and keep.

Helm's `lookup` queries an API server of the tests; both Helms send it the same requests.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import fake_cluster
from tests.support.charts import HELMS
from tests.support.fake_cluster import KINDS, FakeCluster, make

from maas import process
from maas.errors import ProcessError
from maas.helm import NAMESPACE, RELEASE, render
from maas.helm.client import Helm, Major

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALICO = ("--set", "calico.enabled=true")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster.serve(tmp_path) as running:
        yield running


@pytest.fixture(params=HELMS)
def helm(request: pytest.FixtureRequest) -> Major:
    major: Major = request.param
    return major


def render_in(cluster: FakeCluster, helm: Major, *options: str) -> list[Any]:
    """Return the objects of an installation into the cluster."""
    done = process.run(
        [
            *(Helm.pinned(helm).executable, "template", RELEASE, render.umbrella()),
            *(f"--namespace={NAMESPACE}", f"--kubeconfig={cluster.kubeconfig}"),
            # Query the cluster, which has no OpenAPI schemas; Helm 3 does not query its API versions.
            *("--dry-run=server", "--disable-openapi-validation"),
            *(f"--api-versions={kind.api}/{kind.kind}" for kind in KINDS),
            # Nine tenths of the manifests, and the same in every cluster.
            *("--set=kube-prometheus.dashboards.enabled=false", "--set=kube-prometheus.rules.enabled=false"),
            *options,
        ],
        timeout=60,
    )
    return render.parse(done.stdout)


def refusal(cluster: FakeCluster, helm: Major, *options: str) -> str:
    """Return the error of a refused installation into the cluster."""
    with pytest.raises(ProcessError) as refused:
        render_in(cluster, helm, *options)
    return refused.value.stderr


def names(objects: list[Any], kind: str) -> set[str]:
    return {entry["metadata"]["name"] for entry in objects if entry["kind"] == kind}


@pytest.mark.parametrize(
    ("name", "namespace", "network"),
    [
        ("kube-flannel-ds", "kube-flannel", "flannel"),
        ("kube-flannel-ds-amd64", "kube-system", "flannel"),
        ("cilium", "kube-system", "cilium"),
        ("weave-net", "kube-system", "weave"),
        ("canal", "kube-system", "canal"),
        ("kube-router", "kube-system", "kube-router"),
        ("antrea-agent", "kube-system", "antrea"),
        ("calico-node", "kube-system", "calico"),
        ("aws-node", "kube-system", "aws-vpc-cni"),
    ],
)
def test_calico_is_not_installed_over_another_network(
    cluster: FakeCluster, name: str, namespace: str, network: str
) -> None:
    cluster.objects.append(make("apps/v1/DaemonSet", name, namespace=namespace))
    message = refusal(cluster, "4", *CALICO)
    assert f"{network}: DaemonSet {namespace}/{name}" in message
    assert "calico:\n      enabled: false" in message
    assert "calico.existingNetwork: none" in message


def test_a_network_that_left_only_annotations_is_detected(cluster: FakeCluster, helm: Major) -> None:
    annotations = {"flannel.alpha.coreos.com/backend-type": "vxlan"}
    cluster.objects += [make("v1/Node", name, annotations=annotations) for name in ("one", "two")]
    message = refusal(cluster, helm, *CALICO)
    assert "flannel: annotation flannel.alpha.coreos.com/backend-type on node one" in message
    assert "on node two" in message


def test_calico_of_the_tigera_operator_is_detected(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("operator.tigera.io/v1/Installation", "default"))
    assert "calico: Installation default of the Tigera operator" in refusal(cluster, helm, *CALICO)


def test_leftovers_of_a_network_can_be_ignored(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("v1/Node", "one", annotations={"flannel.alpha.coreos.com/backend-type": "vxlan"}))
    objects = render_in(cluster, helm, *CALICO, "--set", "calico.existingNetwork=none")
    assert "calico-node" in names(objects, "DaemonSet")


def test_an_upgrade_ignores_the_releases_own_calico(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects += [
        make("apps/v1/DaemonSet", "calico-node", namespace="calico-system", owned=True),
        make("apps/v1/DaemonSet", "kube-proxy", namespace="kube-system"),
        make("v1/Node", "one", annotations={"projectcalico.org/IPv4Address": "10.90.0.1/24"}),
        make("crd.projectcalico.org/v1/IPPool", "default-ipv4-ippool", owned=True, spec={"cidr": "10.91.0.0/16"}),
    ]
    assert "calico-node" in names(render_in(cluster, helm, *CALICO, "--is-upgrade"), "DaemonSet")


def test_without_calico_any_network_is_accepted(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("apps/v1/DaemonSet", "cilium", namespace="kube-system"))
    assert "calico-node" not in names(render_in(cluster, helm), "DaemonSet")


def test_the_pool_must_be_the_pod_network_of_the_cluster(cluster: FakeCluster, helm: Major) -> None:
    configuration = (
        "networking:\n  dnsDomain: cluster.local\n  podSubnet: 10.244.0.0/16\n  serviceSubnet: 10.96.0.0/12\n"
    )
    config = make(
        "v1/ConfigMap", "kubeadm-config", namespace="kube-system", data={"ClusterConfiguration": configuration}
    )
    cluster.objects.append(config)
    message = refusal(cluster, helm, *CALICO)
    assert "pod subnet is 10.244.0.0/16, but calico.ipPool.cidr is 10.91.0.0/16" in message
    assert "calico.ipPool.cidr: 10.244.0.0/16" in message
    objects = render_in(cluster, helm, *CALICO, "--set", "calico.ipPool.cidr=10.244.0.0/16")
    assert names(objects, "IPPool") == {"default-ipv4-ippool"}


def test_a_pool_in_use_keeps_its_range(cluster: FakeCluster, helm: Major) -> None:
    pool = make("crd.projectcalico.org/v1/IPPool", "default-ipv4-ippool", owned=True)
    cluster.objects.append(pool | {"spec": {"cidr": "10.91.0.0/16"}})
    message = refusal(cluster, helm, *CALICO, "--set", "calico.ipPool.cidr=10.99.0.0/16")
    assert "Pods already have addresses in 10.91.0.0/16" in message


def metrics_api(**more: Any) -> dict[str, Any]:
    service = {"namespace": "kube-system", "name": "metrics-server"}
    return make("apiregistration.k8s.io/v1/APIService", "v1beta1.metrics.k8s.io", spec={"service": service}, **more)


def test_another_provider_of_the_metrics_api_is_kept(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(metrics_api())
    objects = render_in(cluster, helm)
    assert names(objects, "APIService") == set()
    assert "metrics-server" not in names(objects, "Deployment") | names(objects, "Service")


def test_a_second_provider_of_the_metrics_api_is_refused_if_enabled_explicitly(
    cluster: FakeCluster, helm: Major
) -> None:
    cluster.objects.append(metrics_api())
    message = refusal(cluster, helm, "--set", "kube-prometheus.metricsServer.enabled=true")
    assert "kube-system/metrics-server already serves the metrics API" in message
    assert "kube-prometheus.metricsServer.enabled: auto" in message


def test_an_upgrade_keeps_its_own_metrics_server(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(metrics_api(owned=True))
    assert names(render_in(cluster, helm, "--is-upgrade"), "APIService") == {"v1beta1.metrics.k8s.io"}


KEDA = ("--set", "kube-prometheus.keda.enabled=true")
SATURATION = ("--set", "restaurant.autoscaling.saturation.enabled=true")


def external_metrics(**more: Any) -> dict[str, Any]:
    service = {"namespace": "adapters", "name": "prometheus-adapter"}
    name = "v1beta1.external.metrics.k8s.io"
    return make("apiregistration.k8s.io/v1/APIService", name, spec={"service": service}, **more)


def test_a_second_provider_of_external_metrics_is_refused(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(external_metrics())
    message = refusal(cluster, helm, *KEDA)
    assert "adapters/prometheus-adapter already serves the external metrics API" in message
    assert "kube-prometheus.keda.enabled: false" in message


def test_an_upgrade_keeps_its_own_keda(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(external_metrics(owned=True))
    assert "v1beta1.external.metrics.k8s.io" in names(render_in(cluster, helm, "--is-upgrade", *KEDA), "APIService")


def test_scaling_by_saturation_needs_a_provider_of_external_metrics(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects += [SYSTEM, DEFAULT_CLASS]
    message = refusal(cluster, helm, *SATURATION)
    assert "kube-prometheus.keda.enabled: true" in message
    assert "restaurant.autoscaling.saturation.enabled: false" in message
    cluster.objects.append(external_metrics())
    assert names(render_in(cluster, helm, *SATURATION), "ScaledObject") == {"restaurant"}


def test_keda_is_not_removed_while_its_objects_have_finalizers(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("apps/v1/Deployment", "keda-operator", namespace="monitoring", owned=True))
    render_in(cluster, helm, "--is-upgrade")
    cluster.objects.append(make("keda.sh/v1alpha1/ScaledObject", "shop", namespace="sales"))
    message = refusal(cluster, helm, "--is-upgrade")
    assert "kubectl -n sales delete scaledobject shop" in message
    assert "kube-prometheus.keda.enabled: true" in message


def test_scaled_objects_of_another_keda_are_ignored(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("keda.sh/v1alpha1/ScaledObject", "shop", namespace="sales"))
    cluster.objects.append(make("apps/v1/Deployment", "keda-operator", namespace="keda"))
    assert names(render_in(cluster, helm), "HorizontalPodAutoscaler") == {"restaurant"}


def test_generated_secrets_are_kept_over_upgrades(cluster: FakeCluster, helm: Major) -> None:
    kept = {"restaurant-key": "secret-key", "restaurant-database": "password"}
    for name, key in kept.items():
        data = {key: base64.b64encode(f"made once for {name}".encode()).decode()}
        cluster.objects.append(make("v1/Secret", name, namespace="restaurant", owned=True, data=data))
    secrets = {entry["metadata"]["name"]: entry for entry in render_in(cluster, helm) if entry["kind"] == "Secret"}
    for name, key in kept.items():
        assert base64.b64decode(secrets[name]["data"][key]).decode() == f"made once for {name}"


def test_a_namespace_of_another_owner_is_refused(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("v1/Namespace", "monitoring"))
    message = refusal(cluster, helm)
    assert "namespace monitoring exists and does not belong to the release maas" in message
    assert "namespaces:\n      create: false" in message
    objects = render_in(cluster, helm, "--set", "namespaces.create=false")
    assert names(objects, "Namespace") == set()


def test_a_namespace_kept_from_an_earlier_installation_is_used_again(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(make("v1/Namespace", "monitoring", owned=True))
    assert "monitoring" in names(render_in(cluster, helm), "Namespace")


def test_a_second_release_needs_namespaces_of_its_own(cluster: FakeCluster, helm: Major) -> None:
    other = {"meta.helm.sh/release-name": "first", "meta.helm.sh/release-namespace": "elsewhere"}
    cluster.objects.append(make("v1/Namespace", "restaurant", annotations=other))
    message = refusal(cluster, helm)
    assert "namespace restaurant belongs to the release first" in message
    assert "restaurant:\n      namespaceOverride: maas-restaurant" in message


SYSTEM = make("v1/Namespace", "kube-system")
"""A namespace of every cluster, by which the charts detect that `lookup` works."""

DEFAULT_CLASS = make(
    "storage.k8s.io/v1/StorageClass", "fast", annotations={"storageclass.kubernetes.io/is-default-class": "true"}
)


VOLUMES = {
    "kube-prometheus.prometheus": "prometheus",
    "kube-prometheus.alertmanager": "alertmanager",
    "kube-prometheus.grafana": "grafana",
    "restaurant.database.postgresql": "the database",
}
"""Every component with a volume, by its value, and its name in messages."""

SMALL = ["--values", str(render.umbrella() / "ci" / "minimal-values.yaml")]
KEPT = [word for path in list(VOLUMES)[:3] for word in ("--set", f"{path}.storage.enabled=true")]


def test_a_volume_without_a_storage_class_is_refused(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects += [SYSTEM, make("storage.k8s.io/v1/StorageClass", "slow")]
    message = refusal(cluster, helm, *KEPT)
    assert "no default StorageClass" in message
    assert "StorageClasses in the cluster: slow." in message
    # Each chart has one message for all of its volumes.
    named = [path for path in VOLUMES if f"    {path}.storage.className: NAME" in message]
    assert named in (list(VOLUMES)[:3], list(VOLUMES)[3:])
    assert f"the volume of {', '.join(VOLUMES[path] for path in named)}." in message
    classes = [word for path in VOLUMES for word in ("--set", f"{path}.storage.className=slow")]
    assert render_in(cluster, helm, *KEPT, *classes)
    cluster.objects.append(DEFAULT_CLASS)
    assert render_in(cluster, helm, *KEPT)


@pytest.mark.parametrize("path", VOLUMES)
def test_each_volume_without_a_class_is_named(cluster: FakeCluster, path: str) -> None:
    cluster.objects.append(SYSTEM)
    others = [word for other in VOLUMES if other != path for word in ("--set", f"{other}.storage.className=slow")]
    message = refusal(cluster, "4", *KEPT, *others)
    assert f"the volume of {VOLUMES[path]}." in message
    assert "StorageClasses in the cluster: none." in message
    assert f"    {path}.storage.className: NAME" in message


def test_the_volume_of_sqlite_needs_a_class_too(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects.append(SYSTEM)
    message = refusal(cluster, helm, *SMALL)
    assert "restaurant.database.sqlite.storage.className: NAME" in message
    cluster.objects.append(make("v1/PersistentVolumeClaim", "restaurant-data", namespace="restaurant", owned=True))
    assert render_in(cluster, helm, *SMALL)


def test_existing_volumes_need_no_class(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects += [
        SYSTEM,
        make("apps/v1/StatefulSet", "restaurant-database", namespace="restaurant", owned=True),
        make("apps/v1/StatefulSet", "prometheus-maas", namespace="monitoring"),
        make("apps/v1/StatefulSet", "alertmanager-maas", namespace="monitoring"),
        make("v1/PersistentVolumeClaim", "grafana", namespace="monitoring", owned=True),
    ]
    assert render_in(cluster, helm, *KEPT)


def claim(name: str, namespace: str, size: str, storage_class: str = "fast") -> Any:
    spec = {"resources": {"requests": {"storage": size}}, "storageClassName": storage_class}
    return make("v1/PersistentVolumeClaim", name, namespace=namespace, owned=True, spec=spec)


CLAIMS = {
    "kube-prometheus.prometheus": ("monitoring", "prometheus-maas-db-prometheus-maas-0"),
    "kube-prometheus.alertmanager": ("monitoring", "alertmanager-maas-db-alertmanager-maas-0"),
    "kube-prometheus.grafana": ("monitoring", "grafana"),
    "restaurant.database.postgresql": ("restaurant", "data-restaurant-database-0"),
    "restaurant.database.sqlite": ("restaurant", "restaurant-data"),
}
"""A claim of every component with a volume, by its value."""
OWN = ("kube-prometheus.grafana", "restaurant.database.sqlite")
"""The values of volumes whose claims the charts create themselves."""
ENLARGEABLE = {**DEFAULT_CLASS, "allowVolumeExpansion": True}


def with_volume(path: str) -> list[str]:
    """Return the options of a release that has this volume."""
    return SMALL if "sqlite" in path else KEPT


def database_set(size: str) -> Any:
    template = {"spec": {"resources": {"requests": {"storage": size}}}}
    spec = {"volumeClaimTemplates": [template]}
    return make("apps/v1/StatefulSet", "restaurant-database", namespace="restaurant", owned=True, spec=spec)


@pytest.mark.parametrize("path", CLAIMS)
def test_a_volume_whose_class_cannot_enlarge_it_keeps_its_size(cluster: FakeCluster, path: str) -> None:
    namespace, name = CLAIMS[path]
    cluster.objects += [SYSTEM, DEFAULT_CLASS, claim(name, namespace, "64Gi")]
    bigger = (*with_volume(path), "--set", f"{path}.storage.size=128Gi")
    message = refusal(cluster, "4", *bigger)
    assert f"has 64Gi, but {path}.storage.size is 128Gi" in message
    assert "StorageClass fast cannot enlarge volumes" in message
    assert f"    {path}.storage.size: 64Gi" in message
    assert "docs/runbooks/KubePersistentVolumeFillingUp.md" in message


@pytest.mark.parametrize("path", [path for path in CLAIMS if path not in OWN])
def test_a_volume_of_a_stateful_set_is_enlarged_by_commands(cluster: FakeCluster, helm: Major, path: str) -> None:
    namespace, name = CLAIMS[path]
    cluster.objects += [SYSTEM, ENLARGEABLE, claim(name, namespace, "64Gi"), database_set("2Gi")]
    bigger = (*KEPT, "--set", f"{path}.storage.size=128Gi")
    if "database" in path:
        cluster.objects[-1] = database_set("64Gi")
    message = refusal(cluster, helm, *bigger)
    patch = '{"spec": {"resources": {"requests": {"storage": "128Gi"}}}}'
    assert f"    kubectl -n {namespace} patch persistentvolumeclaim {name} --patch '{patch}'" in message
    removal = "    kubectl -n restaurant delete statefulset restaurant-database --cascade=orphan"
    assert (removal in message) == ("database" in path)
    cluster.objects[-2] = claim(name, namespace, "128Gi")
    if "database" in path:
        message = refusal(cluster, helm, *bigger)
        assert removal in message
        assert "patch" not in message
        cluster.objects.pop()
    assert render_in(cluster, helm, *bigger)


@pytest.mark.parametrize("path", OWN)
def test_a_volume_of_the_chart_itself_is_enlarged_by_helm(cluster: FakeCluster, helm: Major, path: str) -> None:
    namespace, name = CLAIMS[path]
    cluster.objects += [SYSTEM, ENLARGEABLE, claim(name, namespace, "1Gi")]
    objects = render_in(cluster, helm, *with_volume(path), "--set", f"{path}.storage.size=1.5Gi")
    (found,) = [entry for entry in objects if entry["kind"] == "PersistentVolumeClaim"]
    assert (found["metadata"]["namespace"], found["metadata"]["name"]) == CLAIMS[path]
    assert found["spec"]["resources"]["requests"]["storage"] == "1536Mi"


@pytest.mark.parametrize("path", [*OWN, "restaurant.database.postgresql"])
def test_a_volume_cannot_shrink(cluster: FakeCluster, path: str) -> None:
    namespace, name = CLAIMS[path]
    cluster.objects += [SYSTEM, ENLARGEABLE, claim(name, namespace, "8Gi")]
    if "database" in path:
        cluster.objects.append(database_set("8Gi"))
    message = refusal(cluster, "4", *with_volume(path), "--set", f"{path}.storage.size=3Gi")
    assert "A volume cannot shrink" in message
    assert f"    {path}.storage.size: 8Gi" in message


@pytest.mark.parametrize("path", CLAIMS)
def test_a_volume_keeps_its_class(cluster: FakeCluster, path: str) -> None:
    namespace, name = CLAIMS[path]
    cluster.objects += [SYSTEM, ENLARGEABLE, claim(name, namespace, "64Gi")]
    options = (*with_volume(path), "--set", f"{path}.storage.size=64Gi,{path}.storage.className=other")
    message = refusal(cluster, "4", *options)
    assert f"    {path}.storage.className: fast" in message


def test_a_volume_that_was_enlarged_by_hand_is_left_alone(cluster: FakeCluster, helm: Major) -> None:
    cluster.objects += [
        SYSTEM,
        ENLARGEABLE,
        database_set("2Gi"),
        claim("data-restaurant-database-0", "restaurant", "9Gi"),
    ]
    assert render_in(cluster, helm)


def test_a_second_operator_is_refused_and_the_first_one_named(cluster: FakeCluster, helm: Major) -> None:
    other = make("apps/v1/Deployment", "kps-operator", namespace="observability")
    other["metadata"]["labels"] = {"app.kubernetes.io/name": "kube-prometheus-stack-prometheus-operator"}
    cluster.objects += [SYSTEM, DEFAULT_CLASS, other]
    message = refusal(cluster, helm)
    assert "observability/kps-operator" in message
    assert "kube-prometheus.prometheusOperator.enabled: false" in message
    assert render_in(cluster, helm, "--set", "kube-prometheus.prometheusOperator.enabled=false")


@pytest.mark.parametrize(("version", "accepted"), [("0.80.0", False), ("0.93.1", True), ("0.99.0", True)])
def test_older_monitoring_crds_are_refused_and_newer_ones_are_not(
    cluster: FakeCluster, version: str, *, accepted: bool
) -> None:
    kind = make(
        "apiextensions.k8s.io/v1/CustomResourceDefinition",
        "prometheuses.monitoring.coreos.com",
        annotations={"operator.prometheus.io/version": version},
    )
    kind["metadata"]["managedFields"] = [{"manager": "terraform"}]
    cluster.objects += [SYSTEM, DEFAULT_CLASS, kind]
    if accepted:
        assert render_in(cluster, "4")
        return
    message = refusal(cluster, "4")
    assert f"CRDs in this cluster are version {version} (managed by terraform)" in message
    assert "kubectl apply --server-side --force-conflicts" in message


def test_a_namespace_with_a_stricter_pod_security_level_than_a_component_is_refused(
    cluster: FakeCluster, helm: Major
) -> None:
    strict = make("v1/Namespace", "calico-system")
    strict["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.objects.append(strict)
    message = refusal(cluster, helm, *CALICO, "--set", "namespaces.create=false")
    assert "calico-system enforces the Pod Security level restricted, but calico needs privileged" in message
