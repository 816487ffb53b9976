"""CPU and memory for the autoscaler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.charts import containers, of_profile, one, pod_spec

if TYPE_CHECKING:
    from tests.support.charts import Object, Rendered


def arguments(objects: tuple[Object, ...]) -> list[str]:
    (container,) = containers(one(objects, "Deployment", "metrics-server"))
    found: list[str] = container["args"]
    return found


def test_kubelets_are_scraped_every_15_seconds_at_their_vpn_address() -> None:
    given = arguments(of_profile("default"))
    assert "--metric-resolution=15s" in given
    assert "--kubelet-preferred-address-types=InternalIP" in given


def test_the_certificates_of_kubelets_are_verified_by_default(rendered: Rendered) -> None:
    assert "--kubelet-insecure-tls" not in arguments(of_profile("default"))
    assert "--kubelet-insecure-tls" in arguments(rendered("kube-prometheus", metricsServer__kubeletInsecureTLS="true"))


def test_the_metrics_api_is_served_by_the_service() -> None:
    objects = of_profile("default")
    api = one(objects, "APIService", "v1beta1.metrics.k8s.io")["spec"]
    service = one(objects, "Service", "metrics-server")
    assert api["service"]["name"] == service["metadata"]["name"]
    assert api["service"]["namespace"] == service["metadata"]["namespace"] == "monitoring"
    assert api["service"]["port"] == service["spec"]["ports"][0]["port"]


def test_it_can_be_disabled(rendered: Rendered) -> None:
    objects = rendered("kube-prometheus", metricsServer__enabled="false")
    assert not [entry for entry in objects if "metrics-server" in entry["metadata"]["name"]]
    assert not [entry for entry in objects if entry["kind"] == "APIService"]


def test_it_writes_only_its_certificate() -> None:
    workload = one(of_profile("default"), "Deployment", "metrics-server")
    (container,) = containers(workload)
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]  # noqa: S108 - a pod's own
    assert pod_spec(workload)["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]
