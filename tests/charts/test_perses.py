"""The viewer of the dashboards in a browser, with a real API server that knows the chart's roles, and a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.support import browser
from tests.support.charts import helm
from tests.support.control_plane import control_plane, free_port

from maas import components, console
from maas.bundle import golang, web
from maas.cluster import credentials
from maas.cluster.client import Cluster
from maas.cluster.credentials import Grant
from maas.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser
    from tests.support.browser import Viewer

pytestmark = pytest.mark.timeout(1800)

RULES = """
groups:
  - name: test
    rules:
      - alert: TargetDown
        expr: up == 0
        labels: {severity: warning}
        annotations: {summary: A target is down., runbook_url: "https://example.org/TargetDown"}
"""
"""One alert, which fires: a target is missing."""


def wait(url: str) -> None:
    """Wait until a server answers."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """The viewer's server and pages, and Prometheus, built if they are not in the cache."""
    every = components.load().components
    viewer, prometheus = "maas.dev/build/perses-viewer", "github.com/prometheus/prometheus/cmd/prometheus"
    with console.phase("Viewer") as phase:
        return {
            "server": golang.build(every["perses"], [viewer], phase=phase)[viewer],
            "prometheus": golang.build(every["prometheus"], [prometheus], phase=phase)[prometheus],
            "pages": web.build(every["perses"], "web", phase=phase),
        }


@pytest.fixture(scope="module")
def prometheus(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    scrapes = [
        {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]},
        {"job_name": "missing", "static_configs": [{"targets": ["127.0.0.1:1"]}]},
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": scrapes}
    (directory / "prometheus.yaml").write_text(json.dumps(config))
    (directory / "rules.yaml").write_text(RULES)
    arguments = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen([programs["prometheus"], *arguments], cwd=directory, stderr=subprocess.DEVNULL) as process:
        wait(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server with the roles of the dashboard chart."""
    directory = tmp_path_factory.mktemp("control-plane")
    with control_plane(directory) as kubeconfig:
        found = Cluster(kubeconfig)
        chart = render.copy_with_libraries(render.umbrella() / "charts" / "dashboard", directory / "dashboard")
        helm(found, "4", "install", "maas", chart, "--namespace=maas", "--create-namespace", "--set=engine=none")
        yield found
        found.client.rest_client.pool_manager.clear()


@pytest.fixture(scope="module")
def url(programs: dict[str, Path], prometheus: str, cluster: Cluster) -> Iterator[str]:
    """The address of the viewer, which trusts the API server's own certificate."""
    configuration = cluster.client.configuration
    port = free_port()
    arguments = [
        *(f"-listen=127.0.0.1:{port}", f"-static={programs['pages']}", "-namespace=monitoring", "-scrape-interval=1s"),
        *(f"-api-server={configuration.host}", f"-api-server-ca={configuration.ssl_ca_cert}"),
        f"-prometheus={prometheus}",
    ]
    with subprocess.Popen([programs["server"], *arguments]) as process:
        wait(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def viewer(chromium: Browser, url: str, cluster: Cluster) -> Iterator[Viewer]:
    """The viewer after a login with a token of `maas credentials`."""
    with browser.visit(chromium, url) as running:
        running.log_in(credentials.issue(cluster, Grant("viewer"), seconds=3600).value)
        running.settle()
        running.problems.clear()  # before the login, there was no session
        yield running


def test_home_shows_the_health_and_what_is_wrong(viewer: Viewer) -> None:
    viewer.open("/")
    viewer.page.get_by_role("heading", name="Overview").wait_for()
    viewer.page.get_by_test_id("alert-summary").get_by_text("1 warning").wait_for()
    assert viewer.failed() == []
    assert "Targets down" not in viewer.empty()


def test_a_dashboard_shows_the_data_of_prometheus(viewer: Viewer) -> None:
    viewer.problems.clear()
    never = {"Service discovery", "Alerts sent", "Failed notifications", "Dropped"}
    deadline = time.monotonic() + 120
    while True:
        viewer.open("/d/maas-prometheus", since="30m")
        if {*viewer.empty()} <= never or time.monotonic() > deadline:
            break  # Prometheus has run long enough for a rate
    assert viewer.panels() > 20
    assert viewer.failed() == []
    assert {*viewer.empty()} <= never
    table = viewer.page.get_by_role("table").filter(has_text="Availability")
    table.get_by_role("row").filter(has_text="missing").get_by_text("0%").wait_for()
    table.get_by_role("row").filter(has_text="prometheus").get_by_text("100%").wait_for()
    # Scripts, styles and requests are those that the content security policy allows.
    assert [problem for problem in viewer.problems if "alertmanager" not in problem and "404" not in problem] == []


def test_a_query_is_answered_and_a_broken_one_says_why(viewer: Viewer) -> None:
    viewer.open("/explore")
    editor = viewer.page.locator(".cm-content").first
    editor.fill('up{job="missing"}')
    viewer.page.get_by_role("button", name="Run Query").click()
    viewer.page.get_by_text('instance="127.0.0.1:1"').first.wait_for()
    editor.fill("up{")
    viewer.page.get_by_role("button", name="Run Query").click()
    viewer.page.get_by_text("parse error").first.wait_for()


def test_alerts_are_listed_with_their_runbooks(viewer: Viewer) -> None:
    viewer.open("/alerts")
    row = viewer.page.get_by_role("row").filter(has_text="TargetDown")
    assert row.get_by_role("link", name="Runbook").get_attribute("href") == "https://example.org/TargetDown"
    assert row.get_by_text("Firing").count() == 1
    viewer.page.get_by_label("Search").fill("no such alert")
    viewer.page.get_by_text("No alert matches").wait_for()


@pytest.mark.parametrize("uid", ["maas-node", "maas-cluster", "maas-node-loss"])
def test_a_dashboard_without_data_has_no_error(viewer: Viewer, uid: str) -> None:
    viewer.open(f"/d/{uid}")
    assert viewer.panels() > 5
    assert viewer.failed() == []


def test_an_account_without_the_role_sees_nothing(chromium: Browser, url: str, cluster: Cluster) -> None:
    wanted = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    token = cluster.core.create_namespaced_service_account_token("default", "default", wanted).status.token
    with browser.visit(chromium, url, height=1000) as stranger:
        stranger.log_in(token)
        stranger.page.get_by_text("may not read the monitoring").wait_for()
        stranger.log_in("no token")
        stranger.page.get_by_text("does not accept this token").wait_for()
        status = "fetch('/prometheus/api/v1/query?query=up').then((answer) => answer.status)"
        assert stranger.page.evaluate(status) == 401
        assert stranger.panels() == 0


def test_it_speaks_french_and_forgets_the_session_at_logout(chromium: Browser, url: str, cluster: Cluster) -> None:
    with browser.visit(chromium, url, height=1000, locale="fr-FR") as french:
        french.page.goto(url)
        french.page.get_by_label("Jeton").fill(credentials.issue(cluster, Grant("viewer"), seconds=3600).value)
        french.page.get_by_role("button", name="Se connecter").click()
        french.page.get_by_text("Accueil").first.wait_for()
        french.page.get_by_label("Se déconnecter").click()
        french.page.get_by_label("Jeton").wait_for()
        assert french.page.evaluate("fetch('/api/session').then((answer) => answer.status)") == 401
