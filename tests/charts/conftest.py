from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.charts.helpers import PROFILES, Object, Rendered, of_profile

from maas.charts import render
from maas.charts.render import Request

if TYPE_CHECKING:
    from maas.charts.helm import Major


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
