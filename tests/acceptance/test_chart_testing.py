"""chart-testing (`ct install`) on a lab: installed with each Helm, waited for, tested by the release's own tests, gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.acceptance import labs
from tests.charts.helpers import HELMS, copied_umbrella

from maas.bundle import tools
from maas.helm import NAMESPACE, RELEASE
from maas.helm.client import Helm
from maas.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.cluster.client import Cluster
    from maas.helm.client import Major

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

NAME = "charts"
VALUES = Path(__file__).parent / "chart-testing-values.yaml"
SQLITE = "restaurant: {database: {type: sqlite}, autoscaling: {enabled: false}, namespaceOverride: ''}\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with labs.lab(NAME) as found:
        yield found


def copied(directory: Path) -> Path:
    """The charts with two profiles for `ct`, which takes every one that it finds in ci/."""
    chart = copied_umbrella(directory)
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


def chart_testing(cluster: Cluster, directory: Path, major: Major) -> str:
    """What `ct install` says, which puts each profile in a namespace of its own and takes that away again."""
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


@pytest.mark.parametrize("major", HELMS)
def test_chart_testing_installs_each_profile_tests_it_and_takes_it_away(
    cluster: Cluster, tmp_path: Path, major: Major
) -> None:
    before = releases(cluster)
    assert f"{NAMESPACE}/{RELEASE}" in before
    said = chart_testing(cluster, tmp_path, major)
    assert said.count("Succeeded") >= 2
    assert releases(cluster) == before, "the release beside it was there all the time, and nothing came to it"
