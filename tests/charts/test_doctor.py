"""`maas doctor` on a real API server: every check, and the charts' own at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maas.cluster import doctor
from maas.cluster.releases import Release
from maas.commands import doctor as command
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from maas.cluster.client import Cluster

pytestmark = [
    pytest.mark.xdist_group("api"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_a_cluster_without_storage_fails_the_check_and_the_command(
    api: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ClusterError) as failed:
        command.doctor(api.kubeconfig)
    assert failed.value.code == "ClusterConflict"
    findings = {item.about: item for item in doctor.check(api)}
    assert findings["Kubernetes"].state == "ok"
    assert findings["StorageClass"].state == "failed"
    assert "no default StorageClass" in findings["chart"].found
    assert findings["metrics API"].found == "not served"
    assert findings["pod network"].advice.startswith("calico.enabled: true")
    shown = capsys.readouterr()
    assert "className" in shown.out + shown.err


def test_values_of_the_installation_are_checked(api: Cluster, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    fast = "{storage: {className: fast}}"
    text = f"restaurant: {{database: {{postgresql: {fast}}}}}\nkube-prometheus: {{prometheus: {fast}}}\n"
    values.write_text(text, encoding="utf-8")
    assert doctor.chart(api, [values]).state == "ok"
    assert doctor.chart(api, [values], Release("shop", "platform")).state == "ok"
    assert doctor.storage(api, [values]).state == "ok"


def test_every_volume_that_would_take_the_default_class_is_named(api: Cluster, tmp_path: Path) -> None:
    assert doctor.storage(api).advice.splitlines() == [
        "kube-prometheus.prometheus.storage.className: NAME",
        "restaurant.database.postgresql.storage.className: NAME",
        "or set a default StorageClass",
    ]
    values = tmp_path / "values.yaml"
    kept = "{storage: {enabled: true}}"
    text = "restaurant: {database: {type: sqlite}, autoscaling: {enabled: false}}\n"
    text += f"kube-prometheus: {{alertmanager: {kept}, grafana: {kept}}}\n"
    values.write_text(text, encoding="utf-8")
    named = [line.partition(".storage")[0] for line in doctor.storage(api, [values]).advice.splitlines()[:-1]]
    keepers = ("alertmanager", "grafana", "prometheus")
    assert named == [*(f"kube-prometheus.{name}" for name in keepers), "restaurant.database.sqlite"]
    refused = tmp_path / "refused.yaml"
    refused.write_text("restaurant: {nothing: 1}\n", encoding="utf-8")
    assert doctor.storage(api, [refused]).state == "note", "the charts report invalid values themselves"


def test_existing_components_are_reported_with_their_names(api: Cluster) -> None:
    labels = {"app.kubernetes.io/name": "prometheus-operator"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    operator = {
        "metadata": {"name": "theirs", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    }
    network = {"metadata": {"name": "cilium"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}
    api.apps.create_namespaced_deployment("default", operator)
    api.apps.create_namespaced_daemon_set("kube-system", network)
    api.core.create_namespace(
        {"metadata": {"name": "monitoring", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    )
    api.core.create_namespace(
        {"metadata": {"name": "node-exporter", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    )
    try:
        found = {item.about: item for item in doctor.check(api)}
        assert found["prometheus-operator"].found.startswith("default/theirs")
        assert found["pod network"].found == "cilium: DaemonSet kube-system/cilium"
        assert found["namespace monitoring"].advice == "namespaces.create: false"
        assert "enforces baseline, but needs privileged" in found["namespace node-exporter"].found
    finally:
        api.apps.delete_namespaced_deployment("theirs", "default")
        api.apps.delete_namespaced_daemon_set("cilium", "kube-system")
        for name in ("monitoring", "node-exporter"):
            api.core.delete_namespace(name)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        command.doctor(tmp_path / "nowhere")
    assert caught.value.context == (str(tmp_path / "nowhere"),)
