"""chart-testing (`ct install`) on a lab, with each Helm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import chart_testing, labs
from tests.support.charts import HELMS

from maas.helm import NAMESPACE, RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maas.cluster.client import Cluster
    from maas.helm.client import Major

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

NAME = "charts"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with labs.running(NAME) as lab:
        yield lab.cluster


@pytest.mark.parametrize("major", HELMS)
def test_chart_testing_installs_tests_and_removes_each_profile(cluster: Cluster, tmp_path: Path, major: Major) -> None:
    before = chart_testing.releases(cluster)
    assert f"{NAMESPACE}/{RELEASE}" in before
    output = chart_testing.install(cluster, tmp_path, major)
    assert output.count("Succeeded") >= 2
    assert chart_testing.releases(cluster) == before, "the release beside it stays, and no other is left"
