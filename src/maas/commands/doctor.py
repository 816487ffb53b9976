"""`maas doctor`: check an existing cluster for conflicts before installing MaaS."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from maas import console, paths
from maas.cluster import doctor as checks
from maas.cluster.client import Cluster
from maas.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
            command=paths.command("doctor", f"--kubeconfig {kubeconfig} --values FILE"),
            code="ClusterConflict",
        )
