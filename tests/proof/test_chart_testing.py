"""chart-testing (`ct install`) on a lab: installed with each Helm, waited for, tested by the release's own tests, gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.charts.helpers import HELMS

from maas import access, deploy
from maas.bundle import tools
from maas.charts import render
from maas.charts.helm import Helm
from maas.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.charts.helm import Major
    from maas.cluster import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

NAME = "charts"
VALUES = Path(__file__).parent / "chart-testing-values.yaml"
SQLITE = "restaurant: {database: {type: sqlite}, autoscaling: {enabled: false}, namespaceOverride: ''}\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A lab of its own, unless MAAS_KEEP_LAB names one that is there."""
    kept = os.environ.get("MAAS_KEEP_LAB", "")

    def maas(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "maas", *words], cwd=render.umbrella(), check=True, stdin=subprocess.DEVNULL
        )

    if not kept:
        maas("up", "--name", NAME, "--yes")
    try:
        yield access.connect(kept or NAME)
    finally:
        if not kept:
            maas("down", "--name", NAME)


def copied(directory: Path) -> Path:
    """The charts with two profiles for `ct`, which takes every one that it finds in ci/."""
    chart = directory / "maas"
    chart.mkdir()
    for name in render._PARTS:
        source = render.umbrella() / name
        if source.is_dir():
            shutil.copytree(source, chart / name)
        elif source.is_file():
            shutil.copy(source, chart / name)
    (chart / "ci").mkdir()
    text = VALUES.read_text(encoding="utf-8")
    (chart / "ci" / "postgresql-values.yaml").write_text(text, encoding="utf-8")
    without = text.partition("restaurant:")[0]
    (chart / "ci" / "sqlite-values.yaml").write_text(without + SQLITE, encoding="utf-8")
    return chart


def releases(cluster: Cluster) -> set[str]:
    """What Helm keeps of releases, in every namespace."""
    found = cluster.core.list_secret_for_all_namespaces(label_selector="owner=helm").items
    return {f"{item.metadata.namespace}/{item.metadata.labels['name']}" for item in found}


@pytest.mark.parametrize("major", HELMS)
def test_chart_testing_installs_each_profile_tests_it_and_takes_it_away(
    cluster: Cluster, tmp_path: Path, major: Major
) -> None:
    before = releases(cluster), {item.metadata.name for item in cluster.core.list_namespace().items}
    chart = copied(tmp_path)
    path = (Helm.pinned(major).executable.parent, tools.tool("kubectl").parent, os.environ["PATH"])
    environment = {f"HELM_{what}_HOME": str(tmp_path / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
    environment |= {"PATH": os.pathsep.join(map(str, path)), "KUBECONFIG": str(cluster.kubeconfig)}
    argv: list[str | Path] = [tools.tool("ct"), "install", "--charts", chart, "--chart-dirs", tmp_path]
    done = run([*argv, "--helm-extra-args", "--timeout 300s"], cwd=tmp_path, env=environment, timeout=1200, check=False)
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert done.stdout.count("Succeeded") >= len(list((chart / "ci").iterdir()))
    gone = {item.metadata.name for item in cluster.core.list_namespace().items} - before[1]
    cluster.wait(lambda: sorted(gone & _namespaces(cluster)), what="the namespaces of chart-testing to go", timeout=120)
    assert releases(cluster) == before[0]
    assert f"{deploy.NAMESPACE}/{deploy.RELEASE}" in before[0], "the release beside it was there all the time"


def _namespaces(cluster: Cluster) -> set[str]:
    return {item.metadata.name for item in cluster.core.list_namespace().items}
