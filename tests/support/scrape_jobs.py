"""Which targets Prometheus should have: from the monitors in a cluster, and the pods, Services and nodes they select."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.labs import Lab

Object = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """What one endpoint of a monitor selects.

    Attributes:
        job: The value of the label `job`.
        targets: How many targets it has.
        https: Whether they are scraped by https.
        on_nodes: Whether each of them is on a node: a pod or a kubelet.
    """

    job: str
    targets: int
    https: bool
    on_nodes: bool


@dataclass(frozen=True)
class Objects:
    """The objects of a cluster, read once."""

    by_kind: dict[str, list[Object]]

    @classmethod
    def of(cls, lab: Lab) -> Objects:
        """Read what monitors are, and what they select."""
        kinds = "servicemonitors,podmonitors,scrapeconfigs,services,pods,nodes,endpointslices"
        found: dict[str, list[Object]] = defaultdict(list)
        for item in json.loads(lab.kubectl("get", kinds, "--all-namespaces", "--output=json"))["items"]:
            found[item["kind"]].append(item)
        return cls(found)

    def selected(self, kind: str, namespaces: list[str], labels: dict[str, str]) -> list[Object]:
        """Return the objects of a kind in some namespaces, or in all, that have labels."""
        return [
            item
            for item in self.by_kind[kind]
            if (not namespaces or item["metadata"]["namespace"] in namespaces)
            and labels.items() <= item["metadata"].get("labels", {}).items()
            and item.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]

    def addresses(self, namespace: str, service: str, port: str) -> int:
        """Return how many addresses a Service has for a port."""
        slices = self.selected("EndpointSlice", [namespace], {"kubernetes.io/service-name": service})
        return sum(
            len(endpoint["addresses"])
            for entry in slices
            if port in {one["name"] for one in entry["ports"]}
            for endpoint in entry["endpoints"]
        )

    def endpoints(self) -> Iterator[Endpoint]:
        """Yield every endpoint of every monitor."""
        for monitor in self.by_kind["ServiceMonitor"]:
            yield from self._services(monitor)
        for monitor in self.by_kind["PodMonitor"]:
            yield from self._pods(monitor)
        for config in self.by_kind["ScrapeConfig"]:
            yield self._scrape_config(config)

    def _services(self, monitor: Object) -> Iterator[Endpoint]:
        spec, namespace = monitor["spec"], monitor["metadata"]["namespace"]
        for service in self.selected("Service", [namespace], spec["selector"]["matchLabels"]):
            for endpoint in spec["endpoints"]:
                job = _relabeled(endpoint) or service["metadata"]["labels"][spec["jobLabel"]]
                count = self.addresses(namespace, service["metadata"]["name"], endpoint["port"])
                yield Endpoint(job, count, https=endpoint.get("scheme") == "https", on_nodes=True)

    def _pods(self, monitor: Object) -> Iterator[Endpoint]:
        spec = monitor["spec"]
        pods = self.selected("Pod", [monitor["metadata"]["namespace"]], spec["selector"]["matchLabels"])
        for endpoint in spec["podMetricsEndpoints"]:
            for job in {pod["metadata"]["labels"][spec["jobLabel"]] for pod in pods}:
                yield Endpoint(job, len(pods), https=endpoint.get("scheme") == "https", on_nodes=True)

    def _scrape_config(self, config: Object) -> Endpoint:
        spec = config["spec"]
        https = spec.get("scheme") == "HTTPS"
        if "staticConfigs" in spec:
            count = sum(len(entry["targets"]) for entry in spec["staticConfigs"])
            return Endpoint(spec["jobName"], count, https=https, on_nodes=False)
        (discovery,) = spec["kubernetesSDConfigs"]
        role, namespaces = discovery["role"], discovery.get("namespaces", {}).get("names", [])
        labels = dict(entry["label"].split("=") for entry in discovery.get("selectors", []))
        found = self.selected(role, namespaces, labels)
        count = (
            sum(len(one["addresses"]) for entry in found for one in entry["endpoints"])
            if role == "EndpointSlice"
            else len(found)
        )
        return Endpoint(spec["jobName"], count, https=https, on_nodes=role in ("Pod", "Node"))


def _relabeled(endpoint: Object) -> str | None:
    return next(
        (rule["replacement"] for rule in endpoint.get("relabelings", []) if rule.get("targetLabel") == "job"), None
    )
