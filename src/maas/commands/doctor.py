"""`maas doctor`: check an existing cluster for conflicts before installing MaaS, or its security with the CIS benchmark."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import cis
from maas.cluster import doctor as checks
from maas.cluster.client import Cluster
from maas.commands import _hosts
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from maas.cluster.cis import Result


def doctor(
    kubeconfig: Path, *, values: Sequence[Path] = (), release: str | None = None, namespace: str | None = None
) -> None:
    """Show everything in a cluster that conflicts with an installation, or that an installation adapts to.

    Args:
        kubeconfig: An administrator's kubeconfig.
        values: Values files of the installation.
        release: Name of the release; by default the one in the cluster, or else `maas`.
        namespace: Namespace of a release that is not installed yet.

    Raises:
        UsageError: A file is missing, or the kubeconfig is not valid.
        ClusterError: The API server cannot be used, or a check failed.
    """
    if missing := [str(file) for file in (kubeconfig, *values) if not file.is_file()]:
        raise UsageError("no such file", context=missing, code="FileNotFound")
    findings = checks.check(Cluster(kubeconfig), values=values, release=release, namespace=namespace)
    if console.json_requested():
        console.document({"kubeconfig": str(kubeconfig), "findings": [asdict(item) for item in findings]})
    else:
        rows = [(item.about, item.state, item.found, item.advice) for item in findings]
        console.table(str(kubeconfig), ("check", "result", "found", "what to set or do"), rows)
    if failed := [item for item in findings if item.state == "failed"]:
        raise ClusterError(
            f"{len(failed)} of {len(findings)} checks failed: MaaS cannot be installed with these values",
            context=[f"{item.about}: {item.found}" for item in failed],
            hint="the last column shows what to set; then run the checks again with the new values",
            command=paths.command("doctor", "--kubeconfig", kubeconfig, "--values", "FILE"),
            code="ClusterConflict",
        )


def benchmark(name: str, file: Path | None, *, become_password: str | None = None) -> None:
    """Show the result of each control of the CIS benchmark on a cluster of MaaS.

    Args:
        name: Name of the lab.
        file: The inventory; by default that of the lab.
        become_password: The password for sudo on the hosts.

    Raises:
        UsageError: There is no such cluster, or the inventory lacks one of its nodes.
        ClusterError: A host or the API server does not answer, or a control fails.
    """
    members = _hosts.connect(name, file, become_password=become_password)
    with console.phase("CIS benchmark") as step:
        results = cis.check(members.cluster, members.hosts, members.addresses)
        counts = {outcome: sum(one.outcome == outcome for one in results) for outcome in ("pass", "waiver", "fail")}
        step.note(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if console.json_requested():
        document = {"cluster": members.hosts.inventory.cluster, "counts": counts}
        console.document({**document, "controls": [asdict(item) for item in results]})
    else:
        console.table(
            f"CIS benchmark, {members.hosts.inventory.cluster}",
            ("control", "result", "must hold", "found", "reason or remediation"),
            [_row(item) for item in results],
        )
    if failed := [item for item in results if item.outcome == "fail"]:
        raise ClusterError(
            f"{len(failed)} of {len(results)} controls of the CIS benchmark fail",
            context=[f"{item.id} {finding}" for item in failed for finding in item.findings],
            hint=f"for {failed[0].id}: {failed[0].remediation}",
            command=paths.command("doctor", "--cis", "--inventory", members.hosts.inventory.file),
            code="BenchmarkFailed",
        )


def _row(item: Result) -> tuple[str, ...]:
    return (item.id, item.outcome, item.title, "\n".join(item.findings), item.remediation or "\n".join(item.reasons))
