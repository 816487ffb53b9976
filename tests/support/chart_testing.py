"""`ct install` on a cluster: each of two profiles in a namespace of its own, tested by the release's own tests, and removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.charts import copied_umbrella

from maas.bundle import tools
from maas.helm.client import Helm
from maas.process import run

if TYPE_CHECKING:
    from maas.cluster.client import Cluster
    from maas.helm.client import Major

VALUES = Path(__file__).parent / "chart-testing-values.yaml"
SQLITE = "restaurant: {database: {type: sqlite}, autoscaling: {enabled: false}, namespaceOverride: ''}\n"


def copied(directory: Path) -> Path:
    """Copy the charts, with two profiles for `ct`, which installs every one that it finds in ci/."""
    chart = copied_umbrella(directory)
    (chart / "ci").mkdir()
    text = VALUES.read_text(encoding="utf-8")
    (chart / "ci" / "postgresql-values.yaml").write_text(text, encoding="utf-8")
    without = text.partition("restaurant:")[0]
    (chart / "ci" / "sqlite-values.yaml").write_text(without + SQLITE, encoding="utf-8")
    return chart


def releases(cluster: Cluster) -> set[str]:
    """Return the releases of every namespace, by what Helm stores."""
    found = cluster.core.list_secret_for_all_namespaces(label_selector="owner=helm").items
    return {f"{item.metadata.namespace}/{item.metadata.labels['name']}" for item in found}


def install(cluster: Cluster, directory: Path, major: Major) -> str:
    """Run `ct install` and return its output."""
    chart = copied(directory)
    path = (Helm.pinned(major).executable.parent, tools.tool("kubectl").parent, os.environ["PATH"])
    environment = {f"HELM_{what}_HOME": str(directory / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
    environment |= {"PATH": os.pathsep.join(map(str, path)), "KUBECONFIG": str(cluster.kubeconfig)}
    argv: list[str | Path] = [tools.tool("ct"), "install", "--charts", chart, "--chart-dirs", directory]
    argv += ["--helm-extra-args", "--timeout 300s"]
    done = run(argv, cwd=directory, env=environment, timeout=1200, check=False)
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    return done.stdout
