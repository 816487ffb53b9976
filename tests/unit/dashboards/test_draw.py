from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from maas.dashboards import draw, probe
from maas.dashboards.probe import Prometheus


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.1234, "percentunit", 1, "12.3 %"),
        (12.0, "percentunit", None, "1200 %"),
        (0.0, "s", None, "0 s"),
        (0.0042, "s", None, "4.2 ms"),
        (7200, "s", None, "2 h"),
        (3 * 2**20, "bytes", None, "3 MiB"),
        (1500, "reqps", None, "1.5 kreq/s"),
        (7, "short", None, "7"),
        (1, "bool_yes_no", None, "yes"),
        (float("nan"), "short", None, "-"),
    ],
)
def test_values_are_formatted_in_their_unit(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert draw.format_value(value, unit, decimals) == text


def answer(_self: Prometheus, path: str, **parameters: str) -> Any:
    """Three things with a value that changes, and one that was not there all the time."""
    if parameters["query"].startswith("group by"):
        return {"resultType": "vector", "result": [{"metric": {"namespace": "restaurant"}, "value": [0, "1"]}]}
    labels = [{"node": name, "peer": name, "alertname": name} for name in ("master", "north", "south")]
    if path == "query":
        return {"resultType": "vector", "result": [{"metric": one, "value": [0, "0.85"]} for one in labels]}
    start, end, step = (float(parameters[key]) for key in ("start", "end", "step"))
    moments = [start + step * number for number in range(int((end - start) / step))]
    return {
        "resultType": "matrix",
        "result": [
            {"metric": one, "values": [[at, str(number % 2)] for number, at in enumerate(moments[skipped:])]}
            for skipped, one in enumerate(labels)
        ],
    }


@pytest.mark.parametrize("uid", ["maas-node-loss", "maas-overview"])
def test_a_picture_shows_all_panels_of_a_dashboard_in_a_small_file(uid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get(self: Prometheus, path: str, **parameters: str) -> Any:
        asked.extend([parameters["query"]] if "query" in parameters else [])
        return answer(self, path, **parameters)

    monkeypatch.setattr(Prometheus, "get", get)
    dashboard = next(one for one in probe.dashboards() if one["uid"] == uid)
    drawn = draw.picture(Prometheus(None, ""), dashboard, span=1800)  # type: ignore[arg-type]
    assert len(drawn) < 150_000
    image = Image.open(io.BytesIO(drawn))
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    assert image.width == pytest.approx(24 * draw.COLUMN * draw.DPI, rel=0.05)
    assert image.height == pytest.approx((bottom + 2) * draw.ROW * draw.DPI, rel=0.05)
    assert len(image.convert("RGB").getcolors(100_000) or []) > 10
    values = dict.fromkeys((variable["name"] for variable in dashboard["templating"]["list"]), ".*")
    assert [expr for expr in asked if not expr.startswith("group by")] == [
        query.expr for query in probe.panels(dashboard, values)
    ]


def test_every_picture_belongs_to_a_dashboard() -> None:
    assert set(draw.PICTURES) <= {dashboard["uid"] for dashboard in probe.dashboards()}
