"""The status page of the viewer: what it shows of the objectives, to everyone, and that visitors do not reach Prometheus."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.control_plane import free_port

from maas import components, console
from maas.bundle import golang

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = time.time()
DAY = 86400


def sample(name: str, value: str, **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": name, **labels}, "value": [NOW, value]}


def objective(slo: str, *, bad: str = "0.001", budget: str = "0.8") -> list[dict[str, Any]]:
    return [
        sample("slo:objective:ratio", "0.995", slo=slo),
        sample("slo:window:days", "14", slo=slo),
        sample("slo:error_ratio:rate5m", bad, slo=slo),
        sample("slo:error_ratio:window", bad, slo=slo),
        sample("slo:error_budget_remaining:ratio", budget, slo=slo),
    ]


RECORDED = [
    *objective("api"),
    *objective("orders", bad="0.02", budget="-3"),
    *objective("mail"),
    # Without traffic there is no ratio.
    sample("slo:objective:ratio", "0.99", slo="quiet"),
    sample("slo:window:days", "7", slo="quiet"),
    sample("slo:error_ratio:window", "NaN", slo="quiet"),
]
FIRING = [
    sample("ALERTS", "1", slo="orders", severity="warning"),
    sample("ALERTS", "1", slo="orders", severity="critical"),
    sample("ALERTS", "1", slo="mail", severity="warning"),
]


class Prometheus:
    """The answers to the queries of the page."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def answer(self, path: str) -> Any:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.queries.append(query["query"])
        if parts.path.endswith("/query_range"):
            end = float(query["end"])
            values = [[end - 2 * DAY, "0.001"], [end - DAY, "0.5"], [end, "0"]]
            result: list[Any] = [{"metric": {"slo": "api"}, "values": values}]
        else:
            result = FIRING if query["query"].startswith("ALERTS") else RECORDED
        return {"status": "success", "data": {"result": result}}


@pytest.fixture(scope="module")
def program() -> Path:
    package = "maas.dev/build/perses-viewer"
    with console.phase("perses-viewer") as phase:
        return golang.build(components.load().components["perses"], [package], phase=phase)[package]


@pytest.fixture(scope="module")
def prometheus() -> Iterator[tuple[Prometheus, str]]:
    state = Prometheus()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

        def do_GET(self) -> None:
            content = json.dumps(state.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(url: str, language: str = "en") -> tuple[int, str, dict[str, str]]:
    request = urllib.request.Request(url, headers={"Accept-Language": language})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


@pytest.fixture(scope="module")
def url(program: Path, prometheus: tuple[Prometheus, str]) -> Iterator[str]:
    port = free_port()
    words = [
        str(program),
        f"-listen=127.0.0.1:{port}",
        f"-prometheus={prometheus[1]}",
        "-api-server=http://127.0.0.1:1",
        "-status",
    ]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                if json.loads(fetch(f"http://127.0.0.1:{port}/status.json")[1])["objectives"]:
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_states_follow_the_alerts_of_the_error_budget(url: str) -> None:
    status, text, headers = fetch(f"{url}/status.json")
    document = json.loads(text)
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == "*"
    states = {entry["name"]: entry["state"] for entry in document["objectives"]}
    assert states == {"api": "operational", "mail": "degraded", "orders": "disrupted", "quiet": "unknown"}
    assert document["state"] == "disrupted"
    orders = next(entry for entry in document["objectives"] if entry["name"] == "orders")
    assert (orders["objective"], orders["good"], orders["errorBudgetRemaining"]) == (99.5, 98, -300)
    quiet = next(entry for entry in document["objectives"] if entry["name"] == "quiet")
    assert (quiet["good"], quiet["windowDays"]) == (None, 7)
    api = next(entry for entry in document["objectives"] if entry["name"] == "api")
    assert api["days"] == [None] * 11 + [99.9, 50, 100]


def test_the_page_needs_no_login_and_no_script(url: str) -> None:
    status, text, headers = fetch(f"{url}/status")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert '<html lang="en">' in text
    assert "<script" not in text
    assert "<title>Status \u2013 Disrupted</title>" in text
    assert '<span class="state disrupted">Disrupted</span>' in text
    assert text.count("<li class=") == 14 * 4
    assert [part.split('"')[0] for part in text.split('<li class="')[1:15]][-3:] == [
        "operational",
        "disrupted",
        "operational",
    ]
    assert fetch(f"{url}/prometheus/api/v1/query?query=up")[0] == 401


def test_the_page_is_french_for_a_french_browser(url: str) -> None:
    text = fetch(f"{url}/status", "fr-FR,fr;q=0.9")[1]
    assert '<html lang="fr">' in text
    assert "<title>État des services \u2013 Perturbé</title>" in text
    assert "<dd>99,5\u202f%</dd>" in text


def test_visitors_do_not_reach_prometheus(url: str, prometheus: tuple[Prometheus, str]) -> None:
    before = len(prometheus[0].queries)
    for _ in range(20):
        fetch(f"{url}/status")
    assert len(prometheus[0].queries) - before <= 3
