"""The CIS Kubernetes Benchmark on a cluster that MaaS made: every control with its result."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Literal

from maas.cluster import host_programs
from maas.cluster.cis import _host_script, api, catalog
from maas.cluster.cis.hosts import HostState
from maas.hosts.facts import program_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from maas.cluster.cis.catalog import Control
    from maas.cluster.client import Cluster
    from maas.cluster.host_programs import Hosts

Outcome = Literal["pass", "waiver", "fail"]


@dataclass(frozen=True)
class Result:
    """The result of a control.

    Attributes:
        id: Its number in the benchmark.
        title: What must hold.
        outcome: `fail` if there is a finding without a waiver.
        findings: What contradicts the control; with `waiver`, what is accepted.
        reasons: Why the findings are accepted.
        remediation: What to do; empty unless the control fails.
    """

    id: str
    title: str
    outcome: Outcome
    findings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    remediation: str = ""


def check(cluster: Cluster, hosts: Hosts, addresses: Mapping[str, str]) -> list[Result]:
    """Check every control, on all hosts and in the cluster. Makes no changes.

    Args:
        cluster: The cluster.
        hosts: Its hosts.
        addresses: The VPN address of each host, by name.

    Raises:
        ClusterError: The API server or a host does not answer.
    """
    states = {
        name: HostState(report, control_plane=name in hosts.control_planes, address=addresses[name])
        for name, report in host_programs.run(hosts, *program()).items()
    }
    return evaluate(catalog.load(), states, api.read(cluster))


def program() -> tuple[str, str]:
    """Return the program that reports what the checks need to know of a host, and what its answer starts with."""
    checks = [control.file for control in catalog.load() if control.file is not None]
    settings = [control.settings for control in catalog.load() if control.settings is not None]
    parameters = {
        "files": sorted({path for check in checks for path in check.paths}),
        "programs": sorted({check.program for check in settings}),
    }
    source = resources.files("maas.cluster.cis").joinpath("_host_script.py").read_text(encoding="utf-8")
    return program_text(source, parameters), _host_script.MARK


def evaluate(controls: Iterable[Control], hosts: Mapping[str, HostState], objects: api.Objects) -> list[Result]:
    """Return the result of each control for what hosts and the API server reported."""
    return [_result(control, hosts, objects) for control in controls]


def _result(control: Control, hosts: Mapping[str, HostState], objects: api.Objects) -> Result:
    found = [(f"{name}: {text}", state.address) for name, state in hosts.items() for text in state.problems(control)]
    found += [(text, "") for text in api.problems(control, objects)]
    open_findings = [text for text, address in found if _waived(control, text, address) is None]
    if open_findings:
        return Result(control.id, control.title, "fail", _unique(open_findings), remediation=control.advice)
    if found:
        reasons = [reason for text, address in found if (reason := _waived(control, text, address)) is not None]
        return Result(control.id, control.title, "waiver", _unique([text for text, _ in found]), _unique(reasons))
    return Result(control.id, control.title, "pass")


def _waived(control: Control, text: str, address: str) -> str | None:
    return next((waiver.reason for waiver in control.waivers if waiver.accepts(text, address)), None)


def _unique(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
