"""Scaling by the restaurant's saturation: KEDA, its rights and its configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.charts import Object, containers, environment, of_profile, one

from maas.helm import render

if TYPE_CHECKING:
    from tests.support.charts import Rendered

WITH_IT = "production"


def scaled_objects() -> tuple[Object, Object]:
    """Return the ScaledObject of the release, and the one that replaces it before Helm deletes the release."""
    found = [entry for entry in of_profile(WITH_IT) if entry["kind"] == "ScaledObject"]
    kept, last = sorted(found, key=lambda entry: "annotations" in entry["metadata"])
    return kept, last


def test_it_is_disabled_by_default() -> None:
    objects = of_profile("default")
    assert not [entry for entry in objects if entry["metadata"]["name"].startswith("keda")]
    assert [entry["metadata"]["name"] for entry in objects if entry["kind"] == "APIService"] == [
        "v1beta1.metrics.k8s.io"
    ]
    one(objects, "HorizontalPodAutoscaler", "restaurant")


def test_it_serves_external_metrics_and_the_api_server_verifies_its_certificate() -> None:
    spec = one(of_profile(WITH_IT), "APIService", "v1beta1.external.metrics.k8s.io")["spec"]
    assert spec["service"] == {"name": "keda-metrics-apiserver", "namespace": "monitoring", "port": 443}
    assert "insecureSkipTLSVerify" not in spec
    (operator,) = containers(one(of_profile(WITH_IT), "Deployment", "keda-operator"))
    assert "--enable-cert-rotation=true" in operator["args"]


def test_the_operator_reads_secrets_of_its_own_namespace_alone_and_creates_no_pods() -> None:
    objects = of_profile(WITH_IT)
    rules = one(objects, "ClusterRole", "maas-keda-operator")["rules"]
    assert not [rule for rule in rules if {"secrets", "*"} & {*rule["resources"]} or "*" in rule["apiGroups"]]
    (jobs,) = (rule for rule in rules if "jobs" in rule["resources"])
    assert set(jobs["verbs"]) == {"get", "list", "watch"}
    (operator,) = containers(one(objects, "Deployment", "keda-operator"))
    # Otherwise the operator lists the Secrets of every namespace, and waits forever for those that it cannot read.
    assert ("KEDA_RESTRICT_SECRET_ACCESS", "true") in environment(operator).items()


def test_the_operator_writes_no_secret_except_its_certificates() -> None:
    rules = one(of_profile(WITH_IT), "Role", "keda-operator")["rules"]
    writing = [rule for rule in rules if "secrets" in rule["resources"] and {"update", "patch"} & {*rule["verbs"]}]
    assert [rule["resourceNames"] for rule in writing] == [["keda-certificates"]]
    assert not [rule for rule in rules if "secrets" in rule["resources"] and {"create", "delete"} & {*rule["verbs"]}]


def test_the_metrics_server_of_keda_reads_no_object() -> None:
    bindings = [entry for entry in of_profile(WITH_IT) if entry["kind"] in {"ClusterRoleBinding", "RoleBinding"}]
    own = [b["roleRef"]["name"] for b in bindings if b["subjects"][0]["name"] == "keda-metrics-apiserver"]
    assert sorted(own) == ["extension-apiserver-authentication-reader", "system:auth-delegator"]


def test_the_restaurant_has_a_scaled_object_or_an_autoscaler_and_never_both() -> None:
    objects = of_profile(WITH_IT)
    assert not [entry for entry in objects if entry["kind"] == "HorizontalPodAutoscaler"]
    kept, _ = scaled_objects()
    assert kept["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "restaurant"}
    assert "replicas" not in one(objects, "Deployment", "restaurant")["spec"]


def test_it_scales_by_cpu_as_before_and_by_the_share_of_busy_threads() -> None:
    spec = scaled_objects()[0]["spec"]
    before = one(of_profile("default"), "HorizontalPodAutoscaler", "restaurant")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, before["maxReplicas"])
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == before["behavior"]
    cpu, saturation = spec["triggers"]
    target = before["metrics"][0]["resource"]["target"]
    assert (cpu["type"], cpu["metricType"]) == ("cpu", target["type"])
    assert int(cpu["metadata"]["value"]) == target["averageUtilization"]
    # The sum over all pods, and a target for each pod: so many pods that each is at the target.
    assert saturation["metricType"] == "AverageValue"
    assert saturation["metadata"]["query"].startswith("sum(")
    assert float(saturation["metadata"]["threshold"]) == 0.6


def test_it_queries_a_metric_of_the_application_at_the_address_of_prometheus() -> None:
    trigger = scaled_objects()[0]["spec"]["triggers"][1]["metadata"]
    (metric,) = re.findall(r"restaurant_[a-z_]+", trigger["query"])
    assert f'"{metric}"' in (render.umbrella() / "app" / "src" / "restaurant" / "metrics.py").read_text(
        encoding="utf-8"
    )
    assert 'namespace="restaurant"' in trigger["query"]
    service = one(of_profile(WITH_IT), "Service", "prometheus")
    port = service["spec"]["ports"][0]["port"]
    assert trigger["serverAddress"] == f"http://prometheus.{service['metadata']['namespace']}:{port}"
    # No sample does not mean no guests: the pods stay.
    assert trigger["ignoreNullValues"] == "false"


def test_the_scaled_object_is_deleted_before_keda() -> None:
    # KEDA removes its finalizer; Helm would delete it after KEDA, and it would stay forever.
    kept, last = scaled_objects()
    assert "annotations" not in kept["metadata"]
    assert last["metadata"]["name"] == kept["metadata"]["name"]
    assert last["metadata"]["namespace"] == kept["metadata"]["namespace"]
    annotations = last["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-delete"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    # With `helm template`, both are applied, and are the same object.
    assert last["spec"] == kept["spec"]


@pytest.mark.parametrize(("percent", "threshold"), [(1, 0.01), (60, 0.6), (75, 0.75), (100, 1.0)])
def test_the_target_is_given_in_percent(rendered: Rendered, percent: int, threshold: float) -> None:
    settings = {"autoscaling__saturation__enabled": "true", "autoscaling__saturation__targetPercent": str(percent)}
    found = [entry for entry in rendered("restaurant", **settings) if entry["kind"] == "ScaledObject"]
    kept = next(entry for entry in found if "annotations" not in entry["metadata"])
    assert float(kept["spec"]["triggers"][1]["metadata"]["threshold"]) == threshold
