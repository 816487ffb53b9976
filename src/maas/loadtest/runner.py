"""Run the load generator as a pod inside the cluster, and record load and scaling."""

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
from typing import TYPE_CHECKING, Any, Literal

from maas.cluster.client import connection_errors
from maas.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster.client import Cluster
    from maas.console import Phase

NAMESPACE = "maas-load"
GENERATOR = Path(__file__).with_name("generator.py")
USER = "load"
"""The user that the load generator logs in as."""

_PASSWORD_SECONDS = 30.0
"""Seconds in which a pod of the restaurant must have set a password."""
_START = 120.0
"""Seconds that the pod of the load generator may take to start."""

_SILENT = 60.0
"""Seconds without output after which the load generator is considered lost; it reports every second."""

Profile = Literal["menu", "friday"]
"""What arrivals do, see `generator.py`."""


@dataclass(frozen=True)
class Sample:
    """The scale of the restaurant at one moment.

    Attributes:
        second: Seconds since the load began.
        replicas: Number of pods.
        desired: Number of pods that the HorizontalPodAutoscaler wants.
        ready: Number of pods that are Ready.
        utilization: Average CPU usage in percent of the request; None before the first measurement.
    """

    second: float
    replicas: int
    desired: int
    ready: int
    utilization: int | None


@dataclass
class Result:
    """The result of a load test.

    Attributes:
        report: The generator's last line: sent, answered, failed, failures by kind, latencies in ms, accepted orders.
        samples: The scale of the restaurant during the test.
    """

    report: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def orders(self) -> list[str]:
        """References of the orders that were accepted."""
        return list(self.report.get("orders", []))

    @property
    def most(self) -> int:
        """The largest number of pods that were Ready at once."""
        return max((sample.ready for sample in self.samples), default=0)


def scale(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant", since: float) -> Sample:
    """Return the current scale of the restaurant.

    Args:
        cluster: The cluster.
        namespace: The restaurant's namespace.
        name: The name of its Deployment.
        since: When the load began, on the monotonic clock.
    """
    from kubernetes import client

    # By its target: KEDA chooses the names of the autoscalers that it creates.
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
    profile: Profile = "menu",
) -> Result:
    """Send a bounded load from inside the cluster, and wait until it ends.

    Args:
        cluster: The cluster.
        url: The restaurant's URL inside the cluster.
        image: An image with Python 3 that the nodes have.
        rate: Arrivals per second.
        seconds: Duration of the load.
        orders: The share of arrivals that place an order, 0 to 1, with the profile `menu`.
        seed: The seed of the arrivals; the same one repeats them.
        node: The node that the load generator runs on; None leaves it to the scheduler.
        step: The phase that shows progress.
        profile: What arrivals do.

    Raises:
        ClusterError: The load generator did not start, or stopped without reporting results.
    """
    arguments = ["--url", url, "--profile", profile, "--rate", str(rate), "--seconds", str(seconds)]
    arguments += ["--orders", str(orders), "--seed", str(seed)]
    arguments += ["--username", USER, "--password-file", "/run/secrets/load/password"]
    result, began, ended = Result(), time.monotonic(), threading.Event()

    def sample() -> None:
        while not ended.wait(1.0):
            # A sample that fails (a busy API server, a missing metric) is skipped.
            with contextlib.suppress(Exception):
                result.samples.append(scale(cluster, since=began))

    with ExitStack() as stack:
        password = stack.enter_context(_temporary_password(cluster))
        pod = stack.enter_context(_generator(cluster, image, arguments, node, seconds, password=password))
        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            for line in log_lines(cluster, pod):
                reported = json.loads(line)
                if "second" not in reported:
                    result.report = reported
                    break
                now = result.samples[-1] if result.samples else None
                scaled = f", {now.ready} of {now.desired} pods Ready, CPU {now.utilization} %" if now else ""
                step.note(
                    f"{reported['second']} of {seconds:.0f} s, {reported['sent']} sent, "
                    f"{reported['failed']} failed{scaled}"
                )
        finally:
            ended.set()
            sampler.join()
        if not result.report:
            raise ClusterError(
                "the load generator stopped without reporting results",
                context=_end(cluster, pod),
                hint="its node may have been lost; choose another one with --node",
                code="LoadTestFailed",
            )
    return result


def _end(cluster: Cluster, pod: str) -> list[str]:
    """Return why a pod has ended, as the API server reports it."""
    try:
        status = cluster.core.read_namespaced_pod(pod, NAMESPACE).status
    except connection_errors() as error:
        return [f"cannot read its pod: {str(error)[:160]}"]
    ended = [one.state.terminated for one in status.container_statuses or () if one.state.terminated]
    reasons = [f"its pod is {status.phase}", status.reason, status.message]
    return [text for text in reasons if text] + [f"{one.reason}, exit code {one.exit_code}" for one in ended]


@contextlib.contextmanager
def _temporary_password(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant") -> Iterator[str]:
    """Set the password of the administrator `load` of the restaurant, and replace it by an unknown one at the end.

    Raises:
        ClusterError: No pod of the restaurant can set it.
    """
    password = new_password(cluster, namespace=namespace, name=name)
    try:
        yield password
    finally:
        # A new password ends the sessions of the old one.
        new_password(cluster, namespace=namespace, name=name)


def new_password(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant") -> str:
    """Give the administrator `load` of the restaurant a new password, and return it.

    Raises:
        ClusterError: No pod of the restaurant can set it.
    """
    command = ["python3", "-m", "restaurant", "create-admin", "--username", USER]
    until = time.monotonic() + _PASSWORD_SECONDS
    while True:
        said = [f"no pod of the restaurant in namespace {namespace} is Ready"]
        # The node of a pod may have just been lost, and a pod may end while the command runs in it.
        for pod in _ready_pods(cluster, namespace, name):
            try:
                _, output = cluster.exec(namespace, pod, *command, container="restaurant")
            except connection_errors() as error:
                said = [f"{pod}: {str(error)[:160]}"]
                continue
            found = re.search(r"^password: +(\S+)$", output, re.MULTILINE)
            if found is not None:
                return found[1]
            said = [f"{pod}: {line}" for line in output.splitlines()[-3:] or ["it printed nothing"]]
        if time.monotonic() > until:
            raise ClusterError("the restaurant did not create an administrator", context=said)
        time.sleep(1)


def _ready_pods(cluster: Cluster, namespace: str, name: str) -> list[str]:
    pods = cluster.core.list_namespaced_pod(namespace, label_selector=f"app.kubernetes.io/name={name}").items
    return [
        pod.metadata.name
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or ())
    ]


@contextlib.contextmanager
def _generator(
    cluster: Cluster, image: str, arguments: list[str], node: str | None, seconds: float, *, password: str
) -> Iterator[str]:
    """Run the load generator in a temporary namespace; yields the name of its pod once it runs."""
    from kubernetes.client.exceptions import ApiException

    def terminating() -> list[str]:
        try:
            found = cluster.core.read_namespace(NAMESPACE)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return []
            raise
        return ["it is terminating"] if found.metadata.deletion_timestamp else []

    cluster.wait(terminating, what=f"namespace {NAMESPACE} of an earlier load test to be deleted", timeout=_START)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    try:
        cluster.core.create_namespace({"metadata": {"name": NAMESPACE, "labels": labels}})
    except ApiException as error:
        raise ClusterError(
            f"cannot create namespace {NAMESPACE}",
            context=[str(error.reason)],
            hint="a load test is already running; wait until it ends",
            code="LoadTestRunning",
        ) from error
    try:
        code = {"metadata": {"name": "load"}, "data": {GENERATOR.name: GENERATOR.read_text(encoding="utf-8")}}
        cluster.core.create_namespaced_config_map(NAMESPACE, code)
        secret = {"metadata": {"name": "load"}, "stringData": {"password": password}}
        cluster.core.create_namespaced_secret(NAMESPACE, secret)
        cluster.core.create_namespaced_pod(NAMESPACE, _pod(image, arguments, node, seconds))

        def missing() -> list[str]:
            pod = cluster.core.read_namespaced_pod("load", NAMESPACE)
            return [] if pod.status.phase in {"Running", "Succeeded", "Failed"} else [f"it is {pod.status.phase}"]

        cluster.wait(missing, what="the pod of the load generator to run", timeout=_START)
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
        # The load ends even if the tool does not stop it.
        "activeDeadlineSeconds": int(seconds) + 300,
        "volumes": [
            {"name": "code", "configMap": {"name": "load"}},
            {"name": "password", "secret": {"secretName": "load"}},
        ],
        "containers": [
            {
                "name": "load",
                "image": image,
                "command": ["python3", "-u", f"/load/{GENERATOR.name}", *arguments],
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


def log_lines(cluster: Cluster, pod: str) -> Iterator[str]:
    """Yield the output of the load generator line by line; a stream that breaks is opened again."""
    yielded, running, latest = 0, True, time.monotonic()
    while running and time.monotonic() - latest < _SILENT:
        with contextlib.suppress(*connection_errors()):
            running = cluster.core.read_namespaced_pod(pod, NAMESPACE).status.phase == "Running"
            for number, line in enumerate(_follow(cluster, pod)):
                if number == yielded:
                    yielded, latest = yielded + 1, time.monotonic()
                    yield line
        time.sleep(1)


def _follow(cluster: Cluster, pod: str) -> Iterator[str]:
    response = cluster.core.read_namespaced_pod_log(pod, NAMESPACE, follow=True, _preload_content=False)
    rest = b""
    # The caller stops at the report, before the stream has ended.
    with contextlib.closing(response):
        for chunk in response.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if not text.startswith("{"):
                    raise ClusterError("the load generator stopped", context=[text], code="LoadTestFailed")
                yield text


def image(cluster: Cluster, *, namespace: str = "restaurant", name: str = "restaurant") -> str:
    """Return the restaurant's image, which every node has and which contains Python.

    Raises:
        ClusterError: The restaurant is not installed.
    """
    from kubernetes.client.exceptions import ApiException

    try:
        deployment = cluster.apps.read_namespaced_deployment(name, namespace)
    except ApiException as error:
        raise ClusterError(
            f"the restaurant is not installed in namespace {namespace}", context=[str(error.reason)]
        ) from error
    return str(deployment.spec.template.spec.containers[0].image)
