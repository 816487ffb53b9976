"""The server of the dashboards' viewer: who may see what, what is passed on, and how pages are served."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.support.control_plane import free_port

from maas import components, console, paths
from maas.bundle import golang, web
from maas.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

USERS = {
    "viewer": ("ada", {"prometheuses", "alertmanagers"}),
    "metrics": ("bob", {"prometheuses"}),
    "stranger": ("eve", set[str]()),
    "member": ("zoe", {"shop"}),
    "members": ("max", {"shop", "billing"}),
}
"""What each token may get: kinds of the platform, or the metrics of pods in a namespace of a team."""

RULES = [
    {"type": "alerting", "name": "Down", "labels": {"namespace": name}, "alerts": [], "query": "up"}
    for name in ("shop", "billing", "monitoring")
]


def _content(path: str) -> Any:
    """Return what Prometheus or Alertmanager answers."""
    if path.startswith("/api/v2/"):
        return [{"id": path}]
    groups = [{"name": "a", "file": "a", "rules": RULES}]
    return {"status": "success", "data": {"groups": groups} if path.startswith("/api/v1/rules") else {"path": path}}


@dataclass
class Upstream:
    """The API server, Prometheus and Alertmanager in one: it records requests, and answers reviews."""

    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    refuse_reviews: bool = False
    url: str = ""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.requests.append((method, path, headers, body))
        if not path.startswith("/apis/"):
            return 200, _content(path)
        if self.refuse_reviews:
            return 500, {}
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in USERS:
            return 401, {}
        name, allowed = USERS[token]
        if path.endswith("/selfsubjectreviews"):
            return 201, {"status": {"userInfo": {"username": name}}}
        asked = json.loads(body)["spec"]["resourceAttributes"]
        own = asked["namespace"] != "monitoring"
        resource = "pods" if own else asked["resource"]
        group = "metrics.k8s.io" if own else "monitoring.coreos.com"
        assert asked == asked | {"verb": "get", "group": group, "resource": resource}
        return 201, {"status": {"allowed": (asked["namespace"] if own else resource) in allowed}}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    state = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document = state.answer(self.command, self.path, dict(self.headers), body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Set-Cookie", "upstream=1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name that the base class looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def program() -> Path:
    package = "maas.dev/build/perses-viewer"
    with console.phase("perses-viewer") as phase:
        return golang.build(components.load().components["perses"], [package], phase=phase)[package]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Reply]


@pytest.fixture
def ask(program: Path, upstream: Upstream, tmp_path: Path) -> Iterator[Ask]:
    (tmp_path / "assets").mkdir()
    for name, text in (("index.html", "<!doctype html>"), ("assets/main.js", "1"), ("dashboards.json", "[]")):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    port = free_port()
    arguments = [
        *(f"-listen=127.0.0.1:{port}", f"-static={tmp_path}", f"-api-server={upstream.url}", "-namespace=monitoring"),
        *(f"-prometheus={upstream.url}", f"-alertmanager={upstream.url}", "-scrape-interval=15s"),
        "-team-namespaces=billing,shop",
    ]

    def request(path: str, method: str = "GET", *, token: str = "", body: bytes | None = None, **headers: str) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, given, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read())

    with subprocess.Popen([program, *arguments], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                try:
                    request("/healthz")
                    break
                except OSError:
                    time.sleep(0.05)
            yield request
        finally:
            process.terminate()


def log_in(ask: Ask, token: str, **headers: str) -> Reply:
    body = json.dumps({"token": token}).encode()
    return ask("/api/login", "POST", body=body, **{"Content_Type": "application/json", **headers})


QUERY = "/prometheus/api/v1/query?query=up"


def passed_on(upstream: Upstream) -> list[str]:
    return [path for _, path, _, _ in upstream.requests if not path.startswith("/apis/")]


@pytest.mark.parametrize("path", [QUERY, "/prometheus/api/v1/rules", "/alertmanager/api/v2/alerts", "/api/session"])
def test_without_a_valid_token_nothing_is_passed_on(ask: Ask, upstream: Upstream, path: str) -> None:
    assert ask(path).status == HTTPStatus.UNAUTHORIZED
    assert ask(path, token="unknown").status == HTTPStatus.UNAUTHORIZED  # noqa: S106 - not one
    assert ask(path, Cookie="perses-viewer=guessed").status == HTTPStatus.UNAUTHORIZED
    assert passed_on(upstream) == []


def test_a_token_without_the_permission_is_refused_by_name(ask: Ask, upstream: Upstream) -> None:
    refused = log_in(ask, "stranger")
    assert refused.status == HTTPStatus.FORBIDDEN
    assert "eve is not allowed" in refused.document["error"]
    assert "Set-Cookie" not in refused.headers
    assert ask(QUERY, token="stranger").status == HTTPStatus.FORBIDDEN  # noqa: S106
    assert passed_on(upstream) == []


def test_each_api_needs_its_own_permission(ask: Ask) -> None:
    assert ask(QUERY, token="metrics").status == HTTPStatus.OK  # noqa: S106
    assert ask("/alertmanager/api/v2/alerts", token="metrics").status == HTTPStatus.FORBIDDEN  # noqa: S106
    assert ask("/api/session", token="metrics").document == {  # noqa: S106
        "user": "bob",
        "prometheus": True,
        "alertmanager": False,
        "scrapeInterval": "15s",
    }


def sent(upstream: Upstream) -> list[dict[str, list[str]]]:
    """Return the parameters that were passed on, of URLs and of forms."""
    return [
        parse_qs(urlsplit(path).query + "&" + body.decode())
        for _, path, _, body in upstream.requests
        if not path.startswith("/apis/")
    ]


def test_the_session_of_a_member_names_the_namespaces_of_the_team(ask: Ask) -> None:
    assert ask("/api/session", token="member").document == {  # noqa: S106
        "user": "zoe",
        "prometheus": True,
        "alertmanager": True,
        "namespaces": ["shop"],
        "scrapeInterval": "15s",
    }
    assert "namespaces" not in ask("/api/session", token="viewer").document  # noqa: S106


@pytest.mark.parametrize(
    ("query", "limited"),
    [
        ("up", 'up{namespace="shop"}'),
        ('up{namespace="billing"}', 'up{namespace="shop"}'),
        ('up{namespace=~".+"} or vector(1)', 'up{namespace="shop"} or vector(1)'),
        ('{__name__=~".+"}', '{__name__=~".+",namespace="shop"}'),
        ("sum(rate(a[5m])) / on () max_over_time(b[1h:1m])",
         'sum(rate(a{namespace="shop"}[5m])) / on () max_over_time(b{namespace="shop"}[1h:1m])'),
        ("absent(up)", 'absent(up{namespace="shop"})'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_of_a_member_reads_the_namespace_of_the_team(
    ask: Ask, upstream: Upstream, query: str, limited: str, method: str
) -> None:
    form = urlencode({"query": query, "time": "1"})
    get = method == "GET"
    for path in ("query", "query_range"):
        target = f"/prometheus/api/v1/{path}" + (f"?{form}" if get else "")
        body = None if get else form.encode()
        answer = ask(target, method, token="member", body=body, Content_Type="application/x-www-form-urlencoded")  # noqa: S106
        assert answer.status == HTTPStatus.OK
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [entry["query"] for entry in sent(upstream)] == [[limited], [limited]]
    assert all("Authorization" not in headers for _, path, headers, _ in upstream.requests if "/apis/" not in path)


def test_two_places_of_a_query_are_both_limited(ask: Ask, upstream: Upstream) -> None:
    target = "/prometheus/api/v1/query?query=up&query=secret"
    kind = "application/x-www-form-urlencoded"
    ask(target, "POST", token="member", body=b"query=down", Content_Type=kind)  # noqa: S106
    ((_, path, _, body),) = [entry for entry in upstream.requests if "/apis/" not in entry[1]]
    assert parse_qs(urlsplit(path).query)["query"] == ['up{namespace="shop"}']
    assert parse_qs(body.decode())["query"] == ['down{namespace="shop"}']


def test_names_of_series_and_labels_are_those_of_the_team(ask: Ask, upstream: Upstream) -> None:
    for path in ("labels", "label/pod/values", "series"):
        assert ask(f"/prometheus/api/v1/{path}", token="members").status == HTTPStatus.OK  # noqa: S106
    assert [entry["match[]"] for entry in sent(upstream)] == [['{namespace=~"billing|shop"}']] * 3
    ask("/prometheus/api/v1/series?match[]=up", token="member")  # noqa: S106
    assert sent(upstream)[-1]["match[]"] == ['{__name__="up",namespace="shop"}']


def test_alerts_rules_and_silences_are_those_of_the_team(ask: Ask, upstream: Upstream) -> None:
    document = ask("/prometheus/api/v1/rules", token="member").document  # noqa: S106
    rules = [rule["labels"]["namespace"] for group in document["data"]["groups"] for rule in group["rules"]]
    assert rules == ["shop"]
    upstream.requests.clear()
    ask("/alertmanager/api/v2/alerts?filter=severity=critical", token="members")  # noqa: S106
    assert sent(upstream) == [{"filter": ['namespace=~"billing|shop"', "severity=critical"]}]
    upstream.requests.clear()
    assert len(ask("/alertmanager/api/v2/silences", token="members").document) == 2  # noqa: S106
    assert sent(upstream) == [{"filter": ['namespace="billing"']}, {"filter": ['namespace="shop"']}]


@pytest.mark.parametrize("path", ["/prometheus/api/v1/metadata", "/alertmanager/api/v2/status"])
def test_what_belongs_to_the_platform_is_refused_to_members_by_name(ask: Ask, upstream: Upstream, path: str) -> None:
    refused = ask(path, token="member")  # noqa: S106
    assert refused.status == HTTPStatus.FORBIDDEN
    assert refused.document["error"] == "zoe may read the namespaces shop only"
    assert passed_on(upstream) == []
    assert ask(path, token="viewer").status == HTTPStatus.OK  # noqa: S106


def test_a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use(ask: Ask, upstream: Upstream) -> None:
    entered = log_in(ask, "viewer")
    assert entered.document["user"] == "ada"
    cookie, *attributes = entered.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert "Secure" not in attributes
    assert "viewer" not in cookie.partition("=")[2]
    assert "Secure" in log_in(ask, "viewer", X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert ask(QUERY, Cookie=cookie).status == HTTPStatus.OK
    # Neither the token nor the cookie reaches Prometheus, and its cookies do not reach the visitor.
    ((_, _, headers, _),) = [entry for entry in upstream.requests if entry[1].startswith("/api/v1")]
    assert {"Authorization", "Cookie"} & headers.keys() == set()
    assert "Set-Cookie" not in ask(QUERY, Cookie=cookie).headers
    assert ask("/api/logout", "POST", Cookie=cookie).status == HTTPStatus.NO_CONTENT
    assert ask(QUERY, Cookie=cookie).status == HTTPStatus.UNAUTHORIZED


def test_a_form_of_another_site_cannot_log_in(ask: Ask) -> None:
    body = json.dumps({"token": "viewer"}).encode()
    refused = ask("/api/login", "POST", body=body, Content_Type="text/plain")
    assert refused.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "jeton é"])
def test_what_cannot_be_a_token_is_not_sent(ask: Ask, upstream: Upstream, token: str) -> None:
    assert log_in(ask, token).status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/prometheus/api/v1/query", "POST", 200),
        ("/prometheus/api/v1/query_range", "POST", 200),
        ("/prometheus/api/v1/label/namespace/values", "GET", 200),
        ("/prometheus/api/v1/rules", "POST", 405),
        ("/prometheus/api/v1/series", "DELETE", 405),
        ("/prometheus/api/v1/admin/tsdb/delete_series", "POST", 404),
        ("/prometheus/api/v1/status/config", "GET", 404),
        ("/prometheus/api/v1/label/../../../-/reload", "POST", 307),
        ("/prometheus/api/v1/label/%2e%2e%2fadmin/values", "GET", 404),
        ("/prometheus/-/quit", "POST", 404),
        ("/prometheus/federate", "GET", 404),
        ("/alertmanager/api/v2/silences", "GET", 200),
        ("/alertmanager/api/v2/silences", "POST", 405),
        ("/alertmanager/api/v2/silence/1", "DELETE", 404),
        ("/alertmanager/-/reload", "POST", 404),
    ],
)
def test_only_reading_requests_are_passed_on(ask: Ask, upstream: Upstream, path: str, method: str, status: int) -> None:
    body = b"query=up" if method == "POST" else None
    found = ask(path, method, token="viewer", body=body, Content_Type="application/x-www-form-urlencoded")  # noqa: S106
    assert found.status == status
    assert bool(passed_on(upstream)) is (status == HTTPStatus.OK)


def test_the_answer_of_the_api_server_is_used_for_a_minute_and_an_outage_lets_nobody_in(
    ask: Ask, upstream: Upstream
) -> None:
    for _ in range(5):
        assert ask(QUERY, token="viewer").status == HTTPStatus.OK  # noqa: S106
    assert sum(path.startswith("/apis/") for _, path, _, _ in upstream.requests) == 3
    upstream.refuse_reviews = True
    assert ask(QUERY, token="viewer").status == HTTPStatus.OK  # noqa: S106
    assert ask(QUERY, token="metrics").status == HTTPStatus.BAD_GATEWAY  # noqa: S106


def test_pages_are_served_compressed_with_a_strict_policy(ask: Ask) -> None:
    for path in ("/", "/alerts", "/d/maas-overview"):
        page = ask(path, Accept_Encoding="gzip")
        assert gzip.decompress(page.body) == b"<!doctype html>"
        assert page.headers["Content-Encoding"] == "gzip"
        rules = dict(rule.strip().split(" ", 1) for rule in page.headers["Content-Security-Policy"].split(";"))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
        assert rules["script-src"] == rules["connect-src"] == "'self'"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert ask("/assets/main.js").body == b"1"
    assert "immutable" in ask("/assets/main.js").headers["Cache-Control"]
    assert ask("/dashboards.json").headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/missing.js", "/../../etc/passwd.conf", "/assets/%2e%2e/%2e%2e/x.json"])
def test_other_files_are_not_served(ask: Ask, path: str) -> None:
    assert ask(path).status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}


def test_pages_need_node_and_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"Node\.js and npm are not installed") as caught:
        web.check()
    assert "install Node.js" in str(caught.value.hint)
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.19.0\n")
    old.chmod(0o755)
    (tmp_path / "npm").symlink_to(old)
    with pytest.raises(BundleError, match=r"v18\.19\.0 is too old"):
        web.check()


def test_the_key_of_the_pages_follows_their_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    component = components.load().components["perses"]
    sources = tmp_path / "hack" / "build" / "perses" / "web"
    sources.mkdir(parents=True)
    monkeypatch.setattr(paths, "content", lambda: tmp_path)

    def key(text: str) -> str:
        (sources / "main.jsx").write_text(text)
        return web.key(component, "web")

    first = key("1")
    assert key("2") != first
    (sources / "node_modules").mkdir()
    (sources / "node_modules" / "react.js").write_text("")
    assert key("1") == first
