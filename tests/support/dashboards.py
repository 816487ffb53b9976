"""The dashboards of a lab in its viewer: what people see of them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support import browser

from maas.cluster import credentials, status
from maas.cluster.credentials import Grant
from maas.dashboards import probe
from maas.dashboards.probe import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.support.browser import Viewer
    from tests.support.labs import Lab


@contextmanager
def viewer(lab: Lab) -> Iterator[Viewer]:
    """Open the viewer at the address that `maas status` prints, with a token of `maas credentials`."""
    url = status.dashboards_url(lab.name, lab.cluster)
    assert url is not None, "the lab has no viewer"
    with browser.chromium() as running, browser.visit(running, url) as found:
        found.log_in(credentials.issue(lab.cluster, Grant("viewer"), seconds=3600).value)
        found.settle()
        found.problems.clear()  # before the login, there was no session
        yield found


def first_paint(found: Viewer) -> float:
    """Return the seconds until a user who is logged in sees the heading of the home page; the best of three visits."""

    def visit() -> float:
        began = time.monotonic()
        found.page.goto(found.url)
        found.page.get_by_role("heading", name="Overview").wait_for()
        return time.monotonic() - began

    return min(visit() for _ in range(3))


def faults(lab: Lab, found: Viewer, dashboards: Iterable[Mapping[str, Any]], pictures: Path) -> list[str]:
    """Open dashboards, save a picture of each, and return their errors and the panels that lack data without a reason."""
    prometheus, known = Prometheus.of(lab.cluster), probe.settings()
    every: list[str] = []
    for dashboard in dashboards:
        uid = dashboard["uid"]
        began = time.monotonic()
        found.open(f"/d/{uid}", _chosen(prometheus, dashboard, known), since="30m")
        print(f"{uid}: {found.panels()} panels in {time.monotonic() - began:.1f} s")
        found.picture(pictures / f"{uid}.png", height=3000)
        every += [f"{uid}: {said}" for said in found.failed()]
        every += [f"{uid} / {title}: no data" for title in sorted({*found.empty()} - _may_be_empty(dashboard, known))]
        drawn = sum(panel["type"] != "row" for panel in dashboard["panels"])
        if found.panels() != drawn:
            every.append(f"{uid}: {found.panels()} of {drawn} panels")
    return every + found.problems


def _chosen(prometheus: Prometheus, dashboard: Mapping[str, Any], known: probe.Settings) -> dict[str, str]:
    """Return the values of the variables of which one value is chosen."""
    values, _ = prometheus.choose(dashboard, known.choices)
    every = {variable["name"] for variable in dashboard["templating"]["list"] if variable.get("includeAll")}
    return {name: value for name, value in values.items() if name not in every}


def _may_be_empty(dashboard: Mapping[str, Any], known: probe.Settings) -> set[str]:
    """Return the titles of the panels with a query that has a documented reason to have no data."""
    values = dict.fromkeys((variable["name"] for variable in dashboard["templating"]["list"]), "x")
    return {query.where.partition(" / ")[2] for query in probe.panels(dashboard, values) if known.reason(query)}
