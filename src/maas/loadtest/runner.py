"""Runs `worker.py` as a Job inside the cluster and keeps the account of load and scaling."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maas import console
from maas.cluster import tunnel
from maas.cluster.client import connection_errors
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster.client import Cluster
    from maas.console import Phase

NAMESPACE = "maas-load"
_WORKER = Path(__file__).with_name("worker.py")
_USER = "load"
"""Whom the load is in the house, with the profile `friday`."""

_START = 120.0
"""Seconds that the load's own pod may take to start."""

_SILENT = 60.0
"""Seconds without a word from a running load after which it is given up; it speaks every second."""


@dataclass(frozen=True)
class Sample:
    """The restaurant's scale at one moment.

    Attributes:
        second: Seconds since the load began.
        replicas: Pods that there are.
        desired: Pods that the HPA wants.
        ready: Pods that are Ready.
        utilization: CPU in percent of the request, averaged over the pods; None before the first measurement.
    """

    second: float
    replicas: int
    desired: int
    ready: int
    utilization: int | None


@dataclass
class Result:
    """What a load did.

    Attributes:
        account: The worker's last line: sent, answered, failed, failures by kind, latencies in ms, accepted orders.
        samples: The scale of the restaurant while it ran.
    """

    account: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def orders(self) -> list[str]:
        """References of the orders that were accepted."""
        return list(self.account.get("orders", []))

    @property
    def most(self) -> int:
        """The most Ready pods that there were at once."""
        return max((sample.ready for sample in self.samples), default=0)


def scale(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant", since: float) -> Sample:
    """The restaurant's scale now.

    Args:
        cluster: The cluster.
        namespace: The restaurant's namespace.
        name: The name of its Deployment.
        since: The moment that second 0 means, on the monotonic clock.
    """
    from kubernetes import client  # noqa: PLC0415 - see maas.cluster

    # By what it scales: KEDA gives the autoscalers that it makes names of its own.
    found = client.AutoscalingV2Api(cluster.client).list_namespaced_horizontal_pod_autoscaler(namespace).items
    autoscaler = next(entry for entry in found if entry.spec.scale_target_ref.name == name)
    deployment = cluster.apps.read_namespaced_deployment(name, namespace)
    metrics = autoscaler.status.current_metrics or []
    cpu = next((m.resource.current.average_utilization for m in metrics if m.type == "Resource"), None)
    return Sample(
        second=round(time.monotonic() - since, 1),
        replicas=deployment.status.replicas or 0,
        desired=autoscaler.status.desired_replicas or 0,
        ready=deployment.status.ready_replicas or 0,
        utilization=cpu,
    )


def run(
    cluster: Cluster,
    *,
    url: str,
    image: str,
    rate: float,
    seconds: float,
    orders: float,
    seed: int,
    node: str | None,
    step: Phase,
    profile: str = "menu",
) -> Result:
    """Send a bounded load from inside the cluster and wait for its end.

    Args:
        cluster: The cluster.
        url: The restaurant as a pod reaches it.
        image: An image with Python 3 that the nodes have.
        profile: What arrivals do: `menu` or `friday`, see `worker.py`.
        rate: Arrivals per second.
        seconds: How long arrivals go on.
        orders: The share of arrivals that place an order, 0 to 1, with the profile `menu`.
        seed: Makes the same guests again.
        node: The node that the load runs on; None leaves it to the scheduler.
        step: The phase that says how far it is.

    Raises:
        ClusterError: The load could not be started, or ended without its account.
    """
    arguments = ["--url", url, "--profile", profile, "--rate", str(rate), "--seconds", str(seconds)]
    arguments += ["--orders", str(orders)]
    result, began, ended = Result(), time.monotonic(), threading.Event()

    def sample() -> None:
        while not ended.wait(1.0):
            with contextlib.suppress(
                Exception
            ):  # a sample that fails (an API server busy, a metric not there) is left out
                result.samples.append(scale(cluster, since=began))

    with ExitStack() as house:
        password = house.enter_context(_somebody(cluster)) if profile == "friday" else ""
        arguments += ["--seed", str(seed), "--username", _USER, "--password-file", "/run/secrets/load/password"]
        pod = house.enter_context(_job(cluster, image, arguments, node, seconds, password=password))
        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            for line in _log(cluster, pod):
                told = json.loads(line)
                if "second" not in told:
                    result.account = told
                    break
                now = result.samples[-1] if result.samples else None
                scaled = f", {now.ready} pods Ready of {now.desired}, CPU {now.utilization} %" if now else ""
                step.note(f"{told['second']} of {seconds:.0f} s, {told['sent']} sent, {told['failed']} failed{scaled}")
        finally:
            ended.set()
            sampler.join()
        if not result.account:
            raise ClusterError(
                "the load ended without its account",
                context=_end(cluster, pod),
                hint="was its node lost? name another with --node",
            )
    return result


def _end(cluster: Cluster, pod: str) -> list[str]:
    """Why a pod has ended, as the cluster knows it."""
    try:
        status = cluster.core.read_namespaced_pod(pod, NAMESPACE).status
    except connection_errors() as error:
        return [f"its pod cannot be asked: {str(error)[:160]}"]
    ended = [one.state.terminated for one in status.container_statuses or () if one.state.terminated]
    said = [f"its pod is {status.phase}", status.reason, status.message]
    return [text for text in said if text] + [f"{one.reason}, exit code {one.exit_code}" for one in ended]


@contextlib.contextmanager
def _somebody(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant") -> Iterator[str]:
    """A password of somebody who may do everything in the house; nobody knows it any more afterwards."""
    yield _new_password(cluster, namespace, name)
    # A new password ends the sessions of the old one; this one is shown to nobody.
    _new_password(cluster, namespace, name)


def _new_password(cluster: Cluster, namespace: str, name: str) -> str:
    pods = cluster.core.list_namespaced_pod(namespace, label_selector=f"app.kubernetes.io/name={name}").items
    ready = [
        pod.metadata.name
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or ())
    ]
    if not ready:
        raise ClusterError(f"no pod of the restaurant in the namespace {namespace} is Ready")
    command = ["python3", "-m", "restaurant", "create-admin", "--username", _USER]
    _, said = cluster.exec(namespace, ready[0], *command, container="restaurant")
    found = re.search(r"^password: +(\S+)$", said, re.MULTILINE)
    if found is None:
        raise ClusterError("the restaurant gave nobody a password", context=said.splitlines()[-3:])
    return found[1]


@contextlib.contextmanager
def _job(
    cluster: Cluster, image: str, arguments: list[str], node: str | None, seconds: float, *, password: str
) -> Iterator[str]:
    """The load as a pod in a namespace of its own; gives the pod's name once it runs, and removes all of it."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - see maas.cluster

    def leaving() -> list[str]:
        try:
            found = cluster.core.read_namespace(NAMESPACE)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return []
            raise
        return ["it is being removed"] if found.metadata.deletion_timestamp else []

    cluster.wait(leaving, what=f"the end of an earlier load in the namespace {NAMESPACE}", timeout=_START)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    try:
        cluster.core.create_namespace({"metadata": {"name": NAMESPACE, "labels": labels}})
    except ApiException as error:
        raise ClusterError(
            f"the namespace {NAMESPACE} cannot be made",
            context=[str(error.reason)],
            hint="a load is already running; wait for its end",
        ) from error
    try:
        code = {"metadata": {"name": "load"}, "data": {"worker.py": _WORKER.read_text(encoding="utf-8")}}
        cluster.core.create_namespaced_config_map(NAMESPACE, code)
        secret = {"metadata": {"name": "load"}, "stringData": {"password": password}}
        cluster.core.create_namespaced_secret(NAMESPACE, secret)
        cluster.core.create_namespaced_pod(NAMESPACE, _pod(image, arguments, node, seconds))

        def missing() -> list[str]:
            pod = cluster.core.read_namespaced_pod("load", NAMESPACE)
            return [] if pod.status.phase in {"Running", "Succeeded", "Failed"} else [f"it is {pod.status.phase}"]

        cluster.wait(missing, what="the pod of the load to run", timeout=_START)
        yield "load"
    finally:
        cluster.core.delete_namespace(NAMESPACE, propagation_policy="Background")


def _pod(image: str, arguments: list[str], node: str | None, seconds: float) -> dict[str, Any]:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        # Whatever happens to the tool, the load ends.
        "activeDeadlineSeconds": int(seconds) + 300,
        "volumes": [
            {"name": "code", "configMap": {"name": "load"}},
            {"name": "password", "secret": {"secretName": "load"}},
        ],
        "containers": [
            {
                "name": "load",
                "image": image,
                "command": ["python3", "-u", "/load/worker.py", *arguments],
                "securityContext": security,
                "volumeMounts": [
                    {"name": "code", "mountPath": "/load"},
                    {"name": "password", "mountPath": "/run/secrets/load", "readOnly": True},
                ],
            }
        ],
    }
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"metadata": {"name": "load"}, "spec": spec}


def _log(cluster: Cluster, pod: str) -> Iterator[str]:
    """What the load tells, line by line; a stream that breaks off while the load goes on is opened again."""
    told, running, heard = 0, True, time.monotonic()
    while running and time.monotonic() - heard < _SILENT:
        with contextlib.suppress(*connection_errors()):
            running = cluster.core.read_namespaced_pod(pod, NAMESPACE).status.phase == "Running"
            for number, line in enumerate(_follow(cluster, pod)):
                if number == told:
                    told, heard = told + 1, time.monotonic()
                    yield line
        time.sleep(1)


def _follow(cluster: Cluster, pod: str) -> Iterator[str]:
    response = cluster.core.read_namespaced_pod_log(pod, NAMESPACE, follow=True, _preload_content=False)
    rest = b""
    # Whoever reads stops at the account, before the stream has ended.
    with contextlib.closing(response):
        for chunk in response.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if not text.startswith("{"):
                    raise ClusterError("the load stopped", context=[text])
                yield text


def image(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant") -> str:
    """The restaurant's image, which every node has and which has Python.

    Raises:
        ClusterError: The restaurant is not installed.
    """
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - see maas.cluster

    try:
        deployment = cluster.apps.read_namespaced_deployment(name, namespace)
    except ApiException as error:
        raise ClusterError(
            f"there is no restaurant in the namespace {namespace}", context=[str(error.reason)]
        ) from error
    return str(deployment.spec.template.spec.containers[0].image)


def report(name: str, *, profile: str, rate: float, seconds: float, orders: float, seed: int, node: str | None) -> None:
    """Send a load to the restaurant of a cluster and show how it scaled.

    Raises:
        ClusterError: The load could not be run.
    """
    cluster = tunnel.connect(name)
    with console.phase(f"{rate:g} guests a second for {seconds:g} s") as step:
        result = run(
            cluster,
            url="http://restaurant.restaurant",
            image=image(cluster),
            profile=profile,
            rate=rate,
            seconds=seconds,
            orders=orders,
            seed=seed,
            node=node,
            step=step,
        )
    rows, shown = [], None
    for sample in result.samples:
        if (sample.ready, sample.desired) != shown:
            shown = (sample.ready, sample.desired)
            rows.append((f"{sample.second:.0f} s", sample.ready, sample.desired, f"{sample.utilization} %"))
    console.table("scale", ("after", "pods Ready", "pods wanted", "CPU of request"), rows)
    listed = ("orders", "paid", "bookings")
    account = {key: value for key, value in result.account.items() if key not in listed}
    counts = [(f"accepted {key}" if key == "orders" else key, len(result.account.get(key, ()))) for key in listed]
    console.table("guests", ("what", "value"), [*account.items(), *counts])
