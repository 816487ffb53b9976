from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.support.charts import PROFILES, Object, Rendered, of_profile
from tests.support.control_plane import control_plane

from maas.cluster.client import Cluster
from maas.helm import render
from maas.helm.render import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maas.helm.client import Major

# Helm and the API server are Go programs that run for seconds here: garbage collection at the default rate takes a quarter
# of their time.
os.environ.setdefault("GOGC", "400")
os.environ.setdefault("GOMEMLIMIT", "768MiB")


@pytest.fixture(params=sorted(PROFILES))
def profile(request: pytest.FixtureRequest) -> str:
    """Return each of the values files of ci/."""
    return str(request.param)


@pytest.fixture
def objects(profile: str) -> tuple[Object, ...]:
    """Return the objects of each profile, for the newest Kubernetes."""
    return of_profile(profile)


@pytest.fixture
def rendered() -> Rendered:
    """Return a function that renders a chart with single values, given by path with `__` for a dot, as JSON."""

    def call(chart: str = "", helm: Major = "4", **settings: str) -> tuple[Object, ...]:
        directory = render.umbrella() / "charts" / chart if chart else render.umbrella()
        pairs = tuple((path.replace("__", "."), value) for path, value in settings.items())
        return render.objects(Request(directory, settings=pairs, helm=helm))

    return call


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a real API server without nodes, for all tests with `pytest.mark.xdist_group("api")`."""
    with control_plane(tmp_path_factory.mktemp("control-plane")) as kubeconfig:
        cluster = Cluster(kubeconfig)
        yield cluster
        # The client itself closes no connection.
        cluster.client.rest_client.pool_manager.clear()
