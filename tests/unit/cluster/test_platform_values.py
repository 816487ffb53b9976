from __future__ import annotations

from maas.bundle.manifest import Unavailable
from maas.cluster import platform_values


def unavailable(*names: str) -> list[Unavailable]:
    return [Unavailable(name=name, version="1.0", reason="no registry can be reached") for name in names]


def test_a_component_whose_image_is_missing_is_disabled_with_the_reason() -> None:
    (found,) = platform_values.missing_components(unavailable("grafana", "curl"))
    assert found.switch.values_off == {"kube-prometheus": {"grafana": {"enabled": False}}}
    assert "grafana 1.0 is disabled: no registry can be reached" in str(found)
    assert "kube-prometheus.grafana.enabled: true" in str(found)


def test_without_the_image_of_the_dashboard_its_roles_stay() -> None:
    (found,) = platform_values.missing_components(unavailable("headlamp", "kubernetes-dashboard"))
    assert found.switch.values_off == {"dashboard": {"engine": "none"}}
