from __future__ import annotations

from tests.support.hosts import INVENTORY, facts_of

from maas.bundle.manifest import Unavailable
from maas.cluster import platform_values
from maas.helm import values_files
from maas.hosts import network_plan
from maas.hosts.inventory import Host, Hub


def unavailable(*names: str) -> list[Unavailable]:
    return [Unavailable(name=name, version="1.0", reason="no registry can be reached") for name in names]


def test_a_component_whose_image_is_missing_is_disabled_with_the_reason() -> None:
    (found,) = platform_values.missing_components(unavailable("headlamp", "curl"))
    assert found.switch.values_off == {"dashboard": {"engine": "none"}}
    assert "headlamp 1.0 is disabled: no registry can be reached" in str(found)
    assert "dashboard.engine: headlamp" in str(found)


def test_without_the_image_of_grafana_the_viewer_takes_its_place() -> None:
    (found,) = platform_values.missing_components(unavailable("grafana"))
    assert found.switch.values_off == {"kube-prometheus": {"dashboards": {"engine": "perses"}}}
    assert "grafana 1.0 is replaced by perses-viewer: no registry can be reached" in str(found)
    assert "kube-prometheus.dashboards.engine: grafana" in str(found)


def test_without_both_images_no_dashboards_are_shown() -> None:
    grafana, viewer = platform_values.missing_components(unavailable("grafana", "perses-viewer"))
    assert "grafana 1.0 is disabled" in str(grafana)
    off = values_files.merge(grafana.switch.values_off, viewer.switch.values_off)
    assert off == {"kube-prometheus": {"dashboards": {"engine": "none"}}}


def test_without_the_image_of_the_dashboard_its_roles_stay() -> None:
    (found,) = platform_values.missing_components(unavailable("headlamp", "kubernetes-dashboard"))
    assert found.switch.values_off == {"dashboard": {"engine": "none"}}


def test_the_pod_network_reaches_the_api_server_without_kube_proxy() -> None:
    plan = network_plan.compute(INVENTORY, {host.name: facts_of() for host in INVENTORY.hosts})
    api = platform_values.platform_values(plan, INVENTORY)["calico"]["apiServer"]
    assert f"{api['host']}:{api['port']}" == plan.control_plane_endpoint


def test_prometheus_scrapes_a_hub_that_is_not_a_node() -> None:
    hub = Host(name="hub.paris", address="203.0.113.9", role="hub", hub=Hub(endpoint="203.0.113.9"))
    inventory = INVENTORY.model_copy(update={"hosts": (*INVENTORY.hosts, hub)})
    plan = network_plan.compute(inventory, {host.name: facts_of() for host in inventory.hosts})
    assert platform_values.platform_values(plan, inventory)["kube-prometheus"]["scrapeTargets"] == {
        "hub-hub-paris": {"job": "node-exporter", "targets": ["10.90.0.3:9100"], "labels": {"node": "hub.paris"}}
    }
    assert "kube-prometheus" not in platform_values.platform_values(
        network_plan.compute(INVENTORY, {host.name: facts_of() for host in INVENTORY.hosts}), INVENTORY
    )
