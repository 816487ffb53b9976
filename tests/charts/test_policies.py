"""Network policies: exactly those of the flow table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.charts import PROFILES, Object, of_profile, one, pod_labels, pod_spec, workloads

from maas.codegen import flows
from maas.errors import ChartError
from maas.helm import render

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.charts import Rendered

TABLE = flows.load()
GUARDED = sorted(set(PROFILES) - {"minimal"})
"""The profiles with policies; the minimal one has none."""


def policies(objects: tuple[Object, ...]) -> list[Object]:
    return [entry for entry in objects if entry["kind"] == "NetworkPolicy"]


def selects(selector: Object, labels: Object) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def component(policy: Object) -> str:
    name: str = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
    return name


@pytest.mark.parametrize("name", GUARDED)
def test_every_pod_on_the_pod_network_has_a_policy_for_both_directions(name: str) -> None:
    objects = of_profile(name)
    for workload in workloads(objects):
        labels = pod_labels(workload)
        if pod_spec(workload).get("hostNetwork") or "helm.sh/hook" in workload["metadata"].get("annotations", {}):
            continue
        found = {
            direction
            for policy in policies(objects)
            if policy["metadata"]["namespace"] == workload["metadata"]["namespace"]
            and selects(policy["spec"]["podSelector"], labels)
            for direction in policy["spec"]["policyTypes"]
        }
        assert found == {"Ingress", "Egress"}, f"{workload['kind']}/{workload['metadata']['name']}"


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_policy_is_for_a_component_of_the_table(name: str) -> None:
    objects = of_profile(name)
    assert {component(policy) for policy in policies(objects)} <= TABLE.components.keys()


def peers(rule: Object, side: str) -> set[str]:
    """Return the components in a rule; the table's names for other peers are left out."""
    return {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for peer in rule.get(side, [])
        if "app.kubernetes.io/name" in peer.get("podSelector", {}).get("matchLabels", {})
    }


def allowed(objects: tuple[Object, ...]) -> set[tuple[str, str, str]]:
    """Return what the policies allow between components: direction, source and target."""
    found = set()
    for policy in policies(objects):
        own = component(policy)
        for rule in policy["spec"].get("ingress", []):
            found |= {("in", peer, own) for peer in peers(rule, "from")}
        for rule in policy["spec"].get("egress", []):
            found |= {("out", own, peer) for peer in peers(rule, "to")}
    return found


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_nothing_is_allowed_between_components_that_is_not_in_the_table(name: str) -> None:
    wanted = {(flow.source, flow.target) for flow in TABLE.flows}
    assert {(source, target) for _, source, target in allowed(of_profile(name))} <= wanted


def test_a_flow_between_components_is_allowed_at_both_ends() -> None:
    # With a policy at one end alone, every packet is dropped at the other.
    found = allowed(of_profile("bootstrap"))
    replicated = allowed(of_profile("production"))
    guarded, confined = (
        {
            component(policy)
            for policy in policies(of_profile("bootstrap"))
            if direction in policy["spec"]["policyTypes"]
        }
        for direction in ("Ingress", "Egress")
    )
    for flow in TABLE.flows:
        if flow.source not in TABLE.components or flow.target not in guarded:
            continue
        if flow.when is not None and flow.when.path.endswith("database.postgresql.replicas"):
            assert {("in", flow.source, flow.target), ("out", flow.source, flow.target)} <= replicated, flow.source
            continue
        assert ("in", flow.source, flow.target) in found, f"{flow.source} -> {flow.target}"
        if flow.source in confined:
            assert ("out", flow.source, flow.target) in found or _open(flow.source), f"{flow.source} -> {flow.target}"


def _open(source: str) -> bool:
    """Whether a component may connect to every address, so that its flows need no rule each."""
    return any(flow.source == source and flow.target == "anywhere" and flow.port is None for flow in TABLE.flows)


def test_a_conditional_flow_is_allowed_only_with_its_condition(rendered: Rendered) -> None:
    def egress(**settings: str) -> list[Any]:
        policy = one(rendered("restaurant", **settings), "NetworkPolicy", "maas-restaurant")
        ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        return sorted(map(str, ports))

    assert egress() == ["53", "53", "postgresql"]
    external = egress(
        database__type='"external"',
        database__existingSecret='"x"',
        database__external__host='"db"',
        database__external__port="5433",
    )
    assert external == ["53", "53", "5433"]


def test_egress_to_the_api_server_can_be_limited_to_its_addresses(rendered: Rendered) -> None:
    objects = rendered("calico", global__apiServer='{"ports": [6443], "addresses": ["10.90.0.1/32"]}')
    (rule,) = one(objects, "NetworkPolicy", "calico-kube-controllers")["spec"]["egress"]
    assert rule == {"ports": [{"port": 6443, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.90.0.1/32"}}]}


def test_rules_of_the_user_are_added_to_the_charts(rendered: Rendered) -> None:
    rule = '[{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]'
    policy = one(
        rendered("calico", kubeControllers__networkPolicy__ingress=rule), "NetworkPolicy", "calico-kube-controllers"
    )
    assert policy["spec"]["ingress"] == [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]
    assert len(policy["spec"]["egress"]) == 1


def test_a_component_can_have_its_policy_disabled(rendered: Rendered) -> None:
    objects = rendered(restaurant__networkPolicy__enabled="false")
    guarded = {component(policy) for policy in policies(objects)}
    assert "metrics-server" in guarded
    assert not [name for name in guarded if name.startswith("restaurant")]


COMPONENTS = "server: {role: server, values: server}\nagent: {role: agent, why: Its node's network.}\n"


@pytest.mark.parametrize(
    ("components", "table", "message"),
    [
        # An unquoted comma ends the text and begins a key.
        (COMPONENTS, "[{from: server, to: dns, why: Names, and addresses.}]", "and addresses"),
        (COMPONENTS, "[{from: server, to: nowhere, why: Something.}]", "unknown components: nowhere"),
        (COMPONENTS, "[{from: server, to: dns}]", "why"),
        (COMPONENTS, "[{from: server, to: dns, why: No full stop}]", "why"),
        (COMPONENTS, "[{from: server, to: agent, protocol: ICMP, why: Something.}]", "protocol"),
        (COMPONENTS, "[", "is not valid YAML"),
        ("server: {role: server}\n", "[]", "either values or why"),
        ("server: {values: server}\n", "[]", "role"),
        ("server: {role: server, values: server, size: big}\n", "[]", "size"),
    ],
)
def test_a_table_with_a_mistake_is_refused(
    components: str, table: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "components.yaml").write_text(components, encoding="utf-8")
    (tmp_path / "files" / "flows.yaml").write_text(table, encoding="utf-8")
    monkeypatch.setattr(render, "subcharts", list)
    monkeypatch.setattr(render, "umbrella", lambda: tmp_path)
    with pytest.raises(ChartError) as refused:
        flows.load()
    assert message in f"{refused.value} {refused.value.context}"
