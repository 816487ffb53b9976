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

# Helm and the API server are programs in Go that live for seconds here: collecting their garbage as often as in a
# service is a quarter of their time.
os.environ.setdefault("GOGC", "400")
os.environ.setdefault("GOMEMLIMIT", "768MiB")


@pytest.fixture(params=sorted(PROFILES))
def profile(request: pytest.FixtureRequest) -> str:
    """Each of the values files of ci/."""
    return str(request.param)


@pytest.fixture
def objects(profile: str) -> tuple[Object, ...]:
    """The objects of each profile, for the newest Kubernetes."""
    return of_profile(profile)


@pytest.fixture
def rendered() -> Rendered:
    """Renders a chart with single values by path, as JSON text."""

    def call(chart: str = "", helm: Major = "4", **settings: str) -> tuple[Object, ...]:
        directory = render.umbrella() / "charts" / chart if chart else render.umbrella()
        pairs = tuple((path.replace("__", "."), value) for path, value in settings.items())
        return render.objects(Request(directory, settings=pairs, helm=helm))

    return call


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server, without nodes; tests that use it carry `pytest.mark.xdist_group("api")` and share one."""
    with control_plane(tmp_path_factory.mktemp("control-plane")) as kubeconfig:
        cluster = Cluster(kubeconfig)
        yield cluster
        # The client itself closes no connection.
        cluster.client.rest_client.pool_manager.clear()
